"""How a reference comes to its name and its pin, decided without I/O."""

from __future__ import annotations

import dataclasses
import os

import pytest

from assetmgr.asked import Holder, Way, choose_name, decide
from assetmgr.references import Details, asset_of, parse_reference


@pytest.mark.parametrize(
    ("held", "moving", "locked", "offline", "way"),
    [
        (False, False, False, False, Way.RESOLVE),
        (False, True, False, False, Way.RESOLVE),
        (False, True, False, True, Way.RESOLVE),  # a local file needs no network, and the hub says why it cannot
        (False, True, True, False, Way.REFUSE),
        (False, False, True, True, Way.REFUSE),
        (True, False, False, False, Way.KEEP),
        (True, False, False, True, Way.KEEP),
        (True, True, False, False, Way.ASK),
        (True, True, False, True, Way.KEEP),
        (True, True, True, False, Way.KEEP),
    ],
)
def test_a_pin_is_kept_and_what_moves_is_asked_for(
    held: bool, moving: bool, locked: bool, offline: bool, way: Way
) -> None:
    assert decide(held=held, moving=moving, locked=locked, offline=offline) is way


WHOLE, PART = Details(), Details(include=["*.json"])


@pytest.mark.parametrize(
    ("text", "details", "has", "plain"),
    [
        ("hub:o/n", WHOLE, None, True),
        ("hub:o/n", PART, None, True),
        ("hub:o/n", WHOLE, ("hub:o/n", WHOLE, "model o/n"), True),
        ("hub:o/n", PART, ("hub:o/n", PART, "model o/n"), True),
        ("hub:o/n", WHOLE, ("hub:o/n", PART, "model o/n"), True),  # the whole goes before its part
        ("hub:o/n", PART, ("hub:o/n", WHOLE, "model o/n"), False),
        ("hub:o/n@v1", WHOLE, ("hub:o/n", WHOLE, "model o/n"), False),
        ("hub:o/n", WHOLE, ("hub:o/n@v1", WHOLE, "model o/n"), True),
        ("hub:o/n@v2", WHOLE, ("hub:o/n@v1", WHOLE, "model o/n"), False),
        ("hub:o/n", WHOLE, ("hub-dataset:o/n", WHOLE, "dataset o/n"), False),
        ("hub:o/n", WHOLE, ("hub:o/n", WHOLE, ""), True),  # a manifest declares the very same
        ("hub:o/n", WHOLE, ("hub:o/n", PART, ""), False),  # a manifest's name means what it says there
        ("https://h/w.pt", WHOLE, ("https://h/w.pt", Details(size=3), "model https://h/w.pt"), True),
        ("https://h/w.pt", WHOLE, ("https://i/w.pt", WHOLE, "model https://i/w.pt"), False),
    ],
)
def test_the_plain_name_is_the_whole_repos_and_nobody_elses(
    text: str, details: Details, has: tuple[str, Details, str] | None, plain: bool
) -> None:
    reference = parse_reference(text, details)
    asset = asset_of(reference, os.sep)
    holder = Holder(asset_of(parse_reference(has[0], has[1]), os.sep).digest(), has[2]) if has else None
    name = choose_name(reference, asset, {reference.name: holder}.get)
    assert name == reference.name if plain else name == f"{reference.name}+{asset.digest()[:8]}"
    again = choose_name(reference, dataclasses.replace(asset, name=name), {reference.name: holder}.get)
    assert again == name
