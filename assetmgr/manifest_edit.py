"""Edits of a manifest that leave every other byte as it is: comments, order, quotes, ends of lines.

The text is cut and filled in where its outline says. Nothing is trusted to that: the new text is read again, and what
it says must be what the old one said and the edit, or the edit is refused.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from assetmgr.errors import ManifestError, Problem, UnknownAssetError, UsageError
from assetmgr.manifest import Kind, Manifest, parse_manifest
from assetmgr.manifest_page import Cut, Page, is_blank
from assetmgr.manifest_schema import VERSION
from assetmgr.references import field_lines


def add_asset(data: bytes, path: Path, kind: Kind, name: str, declaration: Mapping[str, object]) -> bytes:
    """The manifest's bytes with one more asset, after the others of its kind.

    Raises
    ------
    ManifestError
        When the manifest is not one to begin with.
    UsageError
        When the name is taken, or the text is written in a way that cannot be edited safely.
    """
    page = Page.read(data, path)
    section = f"{kind}s"
    taken = {asset.name: asset.declared_at for asset in page.manifest.assets}
    if name in taken:
        raise UsageError(
            f"{taken[name]}: the name {name!r} is taken",
            mend=f"give it another by --name, or take that one out: assetmgr remove {name}",
        )
    alone = f"version: {VERSION}\n{section}:\n" + "\n".join(field_lines(name, declaration, "  ")) + "\n"
    try:
        (asset,) = parse_manifest(alone, path).assets
    except ManifestError as error:
        raise UsageError(
            f"{name}: " + "; ".join(problem.message for problem in error.problems), mend="assetmgr add --help"
        ) from None
    return _changed(page, [page.insertion(section, name, declaration)], {asset.name: asset}, {}, f"add {name}")


def add_required(data: bytes, path: Path, name: str) -> bytes:
    """The manifest's bytes with one more name under its ``requires``. Raises as `add_asset`."""
    page = Page.read(data, path)
    if name in page.manifest.required_at:
        raise UsageError(f"{page.manifest.required_at[name]}: {name!r} is required already")
    return _changed(page, [page.insertion("requires", name, None)], {}, {name: True}, f"add {name}")


def remove(data: bytes, path: Path, name: str) -> bytes:
    """The manifest's bytes without what it declares, or requires, under a name: with its comments.

    Raises
    ------
    UnknownAssetError
        When the manifest has no such name.
    UsageError
        When something else in it needs the entry, or the text cannot be edited safely.
    """
    page = Page.read(data, path)
    sections = [f"{asset.kind}s" for asset in page.manifest.assets if asset.name == name]
    if not sections and name in page.manifest.required_at:
        sections = ["requires"]
    if not sections:
        raise UnknownAssetError(f"{path} has no {name!r}", mend="assetmgr status")
    cuts = page.removal(sections[0], name)
    gone = {name: None} if sections[0] != "requires" else {}
    left = _changed(page, cuts, gone, {} if gone else {name: False}, f"remove {name}")
    return remove(left, path, name) if gone and name in page.manifest.required_at else left


def write_back(path: Path, data: bytes) -> None:
    """Write a manifest atomically where it really lies, through any link, with the mode and owner it had."""
    from assetmgr.placing import write_document

    real = os.path.realpath(path)
    before = os.stat(real) if os.path.exists(real) else None
    if before is not None and not os.access(real, os.W_OK):
        raise UsageError(f"{path}: it is read-only", mend=f"make it writable: chmod u+w {path}")
    write_document(real, data, like=before)


def _changed(
    page: Page, cuts: list[Cut], assets: Mapping[str, object], required: Mapping[str, bool], doing: str
) -> bytes:
    """The text after the cuts, when it says the same but for ``assets`` and ``required``.

    ``assets`` has what is new under a name, None where it is gone; ``required`` whether a name is in or out.
    """
    text = page.text
    for cut in sorted(cuts, reverse=True):
        text = text[: cut.start] + cut.text + text[cut.end :]
    wanted = {asset.name: asset for asset in page.manifest.assets}
    names = [name for name in wanted if assets.get(name, True) is not None]
    expected = {**wanted, **assets}
    requires = [name for name in page.manifest.requires if required.get(name, True)]
    requires += [name for name, added in required.items() if added]
    line = text.count("\n", 0, min(cut.start for cut in cuts)) + 1
    try:
        after = parse_manifest(text, page.path)
    except ManifestError as error:
        page.refuse(line, f"{doing}: this place cannot be edited safely ({error.problems[0].message})")
    same = (
        {asset.name: asset for asset in after.assets}
        == {name: asset for name, asset in expected.items() if asset is not None}
        and [asset.name for asset in after.assets if asset.name in wanted] == names
        and list(after.requires) == requires
        and (after.cache_root, after.mirrors) == (page.manifest.cache_root, page.manifest.mirrors)
    )
    if not same:
        page.refuse(line, f"{doing}: this place cannot be edited without a change elsewhere")
    return (page.mark + text).encode()


def edited(path: Path, change: Callable[[bytes], bytes]) -> bytes:
    """What a change makes of a manifest's file; nothing is written yet. A file that is not there is empty."""
    return change(_bytes_of(path))


def read_manifest(path: Path) -> Manifest | None:
    """A manifest that may be edited; None where there is none yet, or nothing but comments in it."""
    data = _bytes_of(path)
    return None if is_blank(data.decode(errors="replace").removeprefix("\ufeff")) else parse_manifest(data, path)


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ManifestError([Problem(str(path), 1, 1, f"it cannot be read: {error.strerror}")]) from None
