"""A bundle with any one byte, name, size or entry changed is refused.

Unsigned, a bundle can promise that it is as its index says: whoever changes one thing is found out. Who changes a thing
and all that names it makes another bundle, which a signature tells from the first; without one it must still be whole
in itself, and give what it says.
"""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from assetmgr.bundle.signing import sign
from assetmgr.digests import sha256_text
from assetmgr.errors import AssetError, IntegrityError
from assetmgr.images import SIGNATURE, signed_bytes
from tests.bundle.support import Site, faults, keygen, looked_at, machine, needs_keys
from tests.support import flip_byte

Edit = Callable[[Any], object]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    site = Site(folder, scale=1)
    site.create(folder / "plain", name="lab")
    site.create(folder / "plain.tar", name="lab")
    if shutil.which("ssh-keygen"):
        site.create(folder / "signed", name="lab", key=str(keygen(folder / "alice")))
        keygen(folder / "mallory")
    return site


@pytest.fixture
def plain(site: Site, tmp_path: Path) -> Path:
    return Path(shutil.copytree(site.folder / "plain", tmp_path / "bundle"))


def refuses(*codes: int) -> pytest.RaisesExc[AssetError]:
    """One error, or several: of integrity."""
    return pytest.raises(AssetError, check=lambda error: error.code in (codes or (3,)))


def is_found(path: Path) -> bool:
    """Whether `verify` finds anything, and says so in an error of integrity."""
    try:
        return bool(faults(path))
    except IntegrityError:
        return True


def documents(bundle: Path) -> list[Path]:
    index = json.loads((bundle / "index.json").read_bytes())
    manifest = bundle / "blobs/sha256" / index["manifests"][0]["digest"][7:]
    config = bundle / "blobs/sha256" / json.loads(manifest.read_bytes())["config"]["digest"][7:]
    return [bundle / "oci-layout", bundle / "index.json", manifest, config]


def test_any_byte_of_any_document_changed_is_refused(plain: Path, tmp_path: Path) -> None:
    looked_at(plain, tmp_path / "store")
    for path in documents(plain):
        path.chmod(0o644)
        before = path.read_bytes()
        for at in range(len(before)):
            for bit in (1, 0x20):
                path.write_bytes(before[:at] + bytes([before[at] ^ bit]) + before[at + 1 :])
                with refuses():
                    looked_at(plain, tmp_path / "store")
        for data in (b"", before[:-1], before + b"\n", b" " + before, before * 2):
            path.write_bytes(data)
            with refuses():
                looked_at(plain, tmp_path / "store")
        path.write_bytes(before)
    assert not faults(plain)


def test_any_byte_of_any_blob_changed_is_refused_by_verify_and_by_load(plain: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(set((plain / "blobs/sha256").iterdir()) - {*documents(plain)})):
        size = path.stat().st_size
        for at in {0, size // 2, size - 1}:
            flip_byte(path, at)
            assert is_found(plain), path
            if at == 0:
                there = machine(tmp_path / f"there-{number}")
                with refuses():
                    there.load_bundle([plain])
                assert any(each.state != "installed" for each in there.status()) or len(there.status()) < 3
            flip_byte(path, at)
    assert not faults(plain)


def test_any_file_gone_cut_longer_renamed_or_added_is_refused(plain: Path, tmp_path: Path) -> None:
    def refused() -> None:
        assert is_found(plain)
        with refuses():
            looked_at(plain, tmp_path / "store")

    for path in [*documents(plain)[:2], *sorted((plain / "blobs/sha256").iterdir())]:
        before = path.read_bytes()
        aside = tmp_path / "aside"
        path.rename(aside)
        refused()
        for data in (before[:-1], before + b"x"):
            path.write_bytes(data)
            refused()
            path.unlink()
        path.symlink_to(aside)
        refused()
        path.unlink()
        os.mkfifo(path)
        refused()
        path.unlink()
        path.mkdir()
        refused()
        path.rmdir()
        aside.rename(path.with_name(path.name.upper() if path.name.islower() else "x"))
        refused()
        path.with_name(path.name.upper() if path.name.islower() else "x").rename(path)
    for name in ("letter.txt", "blobs/letter.txt", "blobs/sha256/letter", f"blobs/sha256/{'0' * 64}", ".pushing/x"):
        (plain / name).parent.mkdir(exist_ok=True)
        (plain / name).write_bytes(b"more")
        refused()
        (plain / name).unlink()
    (plain / ".pushing").rmdir()
    assert not faults(plain)


def test_two_blobs_that_changed_places_are_refused(plain: Path, tmp_path: Path) -> None:
    layers = sorted(set((plain / "blobs/sha256").iterdir()) - {*documents(plain)})
    first, second = layers[0].read_bytes(), layers[1].read_bytes()
    for path, data in zip(layers, (second, first), strict=False):
        path.unlink()
        path.write_bytes(data)
    assert is_found(plain)
    with refuses():
        machine(tmp_path / "there").load_bundle([plain])


def test_any_byte_of_a_tar_changed_is_refused(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar"
    before = (site.folder / "plain.tar").read_bytes()
    path.write_bytes(before)
    assert not faults(path)
    changed = bytearray(before)
    for at in [*range(512), *range(512, len(before), 13)]:
        changed[at] ^= 1
        path.write_bytes(changed)
        assert is_found(path), at
        changed[at] ^= 1
    for data in (before[:-512], before[:-1], before + b"x", b"", before[512:]):
        path.write_bytes(data)
        assert is_found(path)


# --- who changes a thing, and all that names it -----------------------------------------------------------------------


def rewrite(bundle: Path, edit_config: Edit | None = None, edit_named: Edit | None = None) -> None:
    """Change what the config or the manifest says, and every digest and size that follows from it."""
    _, index, manifest, config = documents(bundle)
    named = json.loads(manifest.read_bytes())
    if edit_config is not None:
        plain = json.loads(config.read_bytes())
        edit_config(plain)
        data = json.dumps(plain, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode() + b"\n"
        config.unlink()
        (config.parent / sha256_text(data)).write_bytes(data)
        named["config"] |= {"digest": f"sha256:{sha256_text(data)}", "size": len(data)}
    if edit_named is not None:
        edit_named(named)
    data = json.dumps(named, separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode()
    manifest.unlink()
    (manifest.parent / sha256_text(data)).write_bytes(data)
    plain = json.loads(index.read_bytes())
    plain["manifests"][0] |= {"digest": f"sha256:{sha256_text(data)}", "size": len(data)}
    index.unlink()
    index.write_bytes(json.dumps(plain, separators=(",", ":"), sort_keys=True).encode())


def changes(value: Any) -> Iterator[tuple[str, Edit]]:
    """Every way to change one thing of a document: each as what it does, and a function that does it."""

    def at(path: tuple[Any, ...], change: Callable[[Any, Any], object]) -> Edit:
        def edit(document: Any) -> None:
            for key in path[:-1]:
                document = document[key]
            change(document, path[-1])

        return edit

    def walk(node: Any, path: tuple[Any, ...]) -> Iterator[tuple[str, Edit]]:
        where = "/".join(map(str, path))
        if path:
            yield f"{where} gone", at(path, lambda holder, key: holder.__delitem__(key))
        if isinstance(node, dict):
            yield f"{where} more", at((*path, "more"), lambda holder, key: holder.__setitem__(key, "x"))
            for key in node:
                yield from walk(node[key], (*path, key))
        elif isinstance(node, list):
            for number, each in enumerate(node[:3]):
                yield f"{where} twice {number}", at((*path, number), lambda holder, key: holder.append(holder[key]))
                yield from walk(each, (*path, number))
        else:
            for other in others(node):
                yield f"{where} = {other!r}"[:100], at(path, lambda holder, key, o=other: holder.__setitem__(key, o))  # type: ignore[misc]

    yield from walk(value, ())


def others(value: object) -> Iterator[object]:
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value + 1, -1)
    elif isinstance(value, str):
        yield from (("0" if value[:1] != "0" else "1") + value[1:], "../" + value, value.upper() + "x")
    else:
        yield "x"


def test_a_changed_entry_is_refused_or_leaves_a_bundle_that_is_whole_in_itself(site: Site, tmp_path: Path) -> None:
    config = json.loads(documents(site.folder / "plain")[3].read_bytes())
    passed = []
    for number, (what, edit) in enumerate(changes(config)):
        bundle = Path(shutil.copytree(site.folder / "plain", tmp_path / str(number)))
        rewrite(bundle, edit)
        try:
            assert not faults(bundle)
            looked_at(bundle, tmp_path / "store")
            passed.append((what, bundle))
        except (AssetError, AssertionError):
            continue
    # Names, uses and evidence can be others; never which bytes there are, how many, or where they would go.
    free = re.compile("declared|urls|/use/")
    for what, bundle in passed:
        assert free.search(what) or not re.search(r"sha256|size|\.\./|listing|version", what), what
        there = machine(bundle.with_suffix(".there"))
        try:
            there.load_bundle([bundle])
        except AssetError:
            continue
        assert all(each.state == "installed" for each in there.status()), what
    assert not (tmp_path / "words").exists()


def test_a_changed_manifest_is_refused(site: Site, tmp_path: Path) -> None:
    named = json.loads(documents(site.folder / "plain")[2].read_bytes())
    for number, (what, edit) in enumerate(changes(named)):
        bundle = Path(shutil.copytree(site.folder / "plain", tmp_path / str(number)))
        rewrite(bundle, edit_named=edit)
        if not re.search(r"vnd\.assetmgr\.(name|serial) (=|gone)", what) and what != "annotations gone":
            assert is_found(bundle), what
            with refuses():
                looked_at(bundle, tmp_path / "store")


# --- signed -----------------------------------------------------------------------------------------------------------


@needs_keys
def test_a_signed_bundle_is_refused_with_anything_changed_that_the_signature_is_over(
    site: Site, tmp_path: Path
) -> None:
    keys = str(site.folder / "alice.pub")
    looked_at(site.folder / "signed", tmp_path / "store", keys=keys)
    named, config = (json.loads(path.read_bytes()) for path in documents(site.folder / "signed")[2:])
    edits: list[tuple[Edit | None, Edit | None]] = []
    edits += [(None, edit) for what, edit in changes(named) if SIGNATURE not in what]
    edits += [(edit, None) for _, edit in [*changes(config)][::3]]
    bundle = tmp_path / "bundle"
    for edit_config, edit_named in edits:
        shutil.rmtree(bundle, ignore_errors=True)
        shutil.copytree(site.folder / "signed", bundle)
        rewrite(bundle, edit_config, edit_named)
        with refuses(2, 3):  # a newer version of the format is no fault of integrity
            looked_at(bundle, tmp_path / "store", keys=keys)


@needs_keys
def test_a_signature_that_is_stripped_damaged_or_anothers_is_refused(site: Site, tmp_path: Path) -> None:
    keys = str(site.folder / "alice.pub")
    signature = json.loads(documents(site.folder / "signed")[2].read_bytes())["annotations"][SIGNATURE]

    def by(key: str, over: Edit = lambda named: None, namespace: str = "assetmgr-bundle") -> Edit:
        def edit(named: Any) -> None:
            signed = copy.deepcopy(named)
            over(signed)
            named["annotations"][SIGNATURE] = sign(signed_bytes(signed), str(site.folder / key), namespace)

        return edit

    def put(text: str) -> Edit:
        return lambda named: named["annotations"].__setitem__(SIGNATURE, text)

    cases: list[tuple[str, Edit]] = [
        ("not signed", lambda named: named["annotations"].pop(SIGNATURE)),
        ("not signed", put("")),
        ("no SSH signature", put("x")),
        ("no SSH signature", put(signature * 2000)),
        ("changed after it was signed", put(signature.replace("\n", "", 2))),
        (
            "changed after it was signed",
            put(signature[:200] + chr(ord(signature[200]) ^ 1) + signature[201:]),
        ),
        ("not among the allowed signers", by("mallory")),
        ("changed after it was signed", by("alice", lambda named: named["annotations"].update(x="y"))),
        ("changed after it was signed", by("alice", namespace="git")),
    ]
    bundle = tmp_path / "bundle"
    for said, edit in cases:
        shutil.rmtree(bundle, ignore_errors=True)
        shutil.copytree(site.folder / "signed", bundle)
        rewrite(bundle, edit_named=edit)
        with pytest.raises(IntegrityError, match=said):
            looked_at(bundle, tmp_path / "store", keys=keys)
    rewrite(bundle, edit_named=by("alice"))
    looked_at(bundle, tmp_path / "store", keys=keys)
    with pytest.raises(IntegrityError, match="not signed"):
        looked_at(site.folder / "plain", tmp_path / "store", keys=keys)
