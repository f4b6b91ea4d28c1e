"""Every failure has its exit code, says what mends it, and survives a trip between processes."""

from __future__ import annotations

import copy
import pickle
import re

import pytest

from assetmgr import errors
from assetmgr.errors import (
    AccessError,
    AssetError,
    BusyError,
    DiskSpaceError,
    IntegrityError,
    ManifestError,
    NotInstalledError,
    OriginError,
    Problem,
    SeveralErrors,
    UsageError,
    raise_all,
)


def leaves(kind: type[AssetError] = AssetError) -> list[type[AssetError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in leaves(child))]


def make(kind: type[AssetError]) -> AssetError:
    if issubclass(kind, ManifestError):
        return kind([Problem("assets.yaml", 3, 5, "unknown key")])
    if issubclass(kind, SeveralErrors):
        return kind([OriginError("a", mend="b"), IntegrityError("c")])
    return kind("it went wrong", mend="assetmgr pull")


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = {}
    parents: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"    ([\u2500-\u257f\s]*)(\w+)\s+(\d|-)", line)
        if match:
            depth = len(match[1]) // 4
            parents[depth:] = [match[2]]
            drawn[match[2]] = (parents[depth - 1] if depth else "Exception", match[3])
    real = {
        kind.__name__: (kind.__base__.__name__, "-" if kind is SeveralErrors else str(kind.exit_code))
        for kind in leaves()
        if kind.__base__
    }
    assert drawn == real


@pytest.mark.parametrize("kind", leaves(), ids=lambda kind: str(kind.__name__))
def test_an_error_survives_pickling_and_copying(kind: type[AssetError]) -> None:
    error = make(kind)
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is kind
        assert str(again) == str(error)
        assert (again.code, again.mend, again.args) == (error.code, error.mend, error.args)


def test_what_mends_it_is_said_in_a_line_of_its_own() -> None:
    assert str(OriginError("no such host", mend="try again")) == "no such host\n  mend: try again"
    assert str(OriginError("no such host")) == "no such host"


def test_a_manifest_error_tells_every_mistake_with_its_place() -> None:
    error = ManifestError([Problem("a.yaml", 1, 2, "one"), Problem("a.yaml", 30, 4, "two")])
    assert str(error) == "a.yaml:1:2: one\na.yaml:30:4: two"
    assert len(error.problems) == 2


def several(*codes: int) -> SeveralErrors:
    kinds = {2: UsageError, 3: IntegrityError, 4: NotInstalledError, 5: OriginError, 6: DiskSpaceError}
    kinds |= {1: AssetError, 7: AccessError, 8: BusyError}
    return SeveralErrors([kinds[code](f"error {code}") for code in codes])


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ((4, 8), 8),
        ((8, 5, 4), 5),
        ((5, 6), 6),
        ((6, 7), 7),
        ((7, 3, 5), 3),
        ((4, 8, 5, 6, 7, 3), 3),
        ((5, 5), 5),
        ((1, 5), 5),
        ((2, 1), 1),
        ((), 1),
    ],
)
def test_several_errors_have_the_code_of_the_gravest(codes: tuple[int, ...], code: int) -> None:
    error = several(*codes)
    assert error.code == code
    assert all(f"error {one}" in str(error) for one in codes)


def test_several_errors_within_several_keep_the_gravest() -> None:
    assert SeveralErrors([several(8, 3), OriginError("x")]).code == 3


def test_raise_all_raises_none_one_or_all() -> None:
    raise_all([])
    one = OriginError("alone")
    with pytest.raises(OriginError) as caught:
        raise_all([one])
    assert caught.value is one
    with pytest.raises(SeveralErrors) as both:
        raise_all([one, IntegrityError("two")])
    assert both.value.errors[0] is one
