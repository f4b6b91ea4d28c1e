"""Looking at every stamp: quick `verify` of 100,000 files against a C program that stats them."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from assetmgr.archives import ListedMember, dump_listing, extracted_size
from assetmgr.lock import Lock, LockedAsset, LockedExtraction, LockedFile, dump_lock
from assetmgr.manifest import load_manifest
from assetmgr.receipt import Receipt, Stamp
from assetmgr.store import Layout, Store
from assetmgr.verify import tree_cache
from tests.benchmarks.runner import Bench, Row, alternate, at_most, process
from tests.benchmarks.workplace import ASSETMGR, NAME
from tests.support import Project, hub_manifest

BOUND = 3.0
FORMAT = "%s %T@ %i %p\n"


def verify_quick(bench: Bench) -> Iterator[Row]:
    """Quick `assetmgr verify` of 100,000 small files, against `find -printf` of the same."""
    count = 5_000 if bench.quick else 100_000
    for words, build in (("files", files_store), ("hub", hub_store), ("archive", archive_store)):
        project, folder = build(bench.place / words, count)
        took = alternate(
            bench.rounds(11),
            ours=process(ASSETMGR, "verify", cwd=project.folder, env=project.environment()),
            # A snapshot's names are links, and it is the status of what they lead to that counts.
            peer=process("find", *(["-L"] if words == "hub" else []), folder, "-printf", FORMAT),
        )
        yield at_most(f"verify, {count:,} files, {words} layout / find", took["ours"], took["peer"], BOUND)


def files_store(place: Path, count: int) -> tuple[Project, str]:
    """A project whose store holds one `files` asset, and the folder of its files.

    The manifest names one URL where the lock has them all: only what is read here need be as a pull would leave it.
    """
    project = Project(place)
    project.write(f"version: 1\ndatasets:\n  {NAME}:\n    files:\n      - url: https://example.org/all.tar\n")
    files = [
        LockedFile(_path(number), len(data), hashlib.sha256(data).hexdigest(), place="files")
        for number, data in enumerate(map(_content, range(count)))
    ]
    entry = LockedAsset("dataset", "files", _declared(project), tuple(files), NAME)
    return _installed(project, entry)


def hub_store(place: Path, count: int) -> tuple[Project, str]:
    """A project whose store holds one `hub` asset, and the folder of its snapshot."""
    project = Project(place)
    project.write(hub_manifest(NAME, "org/name", "datasets"))
    files = []
    for number in range(count):
        data = _content(number)
        git_sha1 = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
        files.append(LockedFile(_path(number), len(data), hashlib.sha256(data).hexdigest(), git_sha1))
    rows = [{"path": file.path, "size": file.size, "git_sha1": file.git_sha1} for file in files]
    listing = json.dumps(rows).encode()
    entry = LockedAsset(
        "dataset",
        "hub",
        _declared(project),
        tuple(files),
        NAME,
        repo="org/name",
        commit="c" * 40,
        revision="main",
        listing=Store(project.root).write_listing(listing),
    )
    return _installed(project, entry, listing)


def archive_store(place: Path, count: int) -> tuple[Project, str]:
    """A project whose store holds what came out of one archive, and the folder of it."""
    project = Project(place)
    url = "https://example.org/all.zip"
    how = "extract: files, keep_archive: false"
    project.write(f"version: 1\ndatasets:\n  {NAME}:\n    files:\n      - {{url: {url}, {how}}}\n")
    members = [
        ListedMember(_path(number), len(data), hashlib.sha256(data).hexdigest())
        for number, data in enumerate(map(_content, range(count)))
    ]
    listing = Store(project.root).write_listing(dump_listing(members))
    extract = LockedExtraction(
        "files", keep_archive=False, listing=listing, members=count, size=extracted_size(members)
    )
    archive = LockedFile("all.zip", 1, "0" * 64, place="files", urls=(url,), extract=extract)
    return _installed(project, LockedAsset("dataset", "files", _declared(project), (archive,), NAME))


def _path(number: int) -> str:
    return f"train/{number // 1000:03}/{number:06}.txt"


def _content(number: int) -> bytes:
    return b"caption %d\n" % number


def _declared(project: Project) -> str:
    (asset,) = load_manifest(project.folder / "assets.yaml").assets
    return asset.digest()


def _installed(project: Project, entry: LockedAsset, listing: bytes | None = None) -> tuple[Project, str]:
    """Write what a pull would leave: the files, the marks, the receipt; and the lock."""
    store, layout, now = Store(project.root), Layout(entry), int(time.time())
    stamps: list[Stamp] = []
    folders: set[Path] = set()
    for number, file in enumerate(store.contents(entry).files):
        path, name = Path(store.at(layout.bytes(file))), Path(store.at(layout.name(file)))
        for folder in {path.parent, name.parent} - folders:
            folder.mkdir(parents=True, exist_ok=True)
            folders.add(folder)
        path.write_bytes(_content(number))
        path.chmod(0o444)
        if path != name:
            name.symlink_to(os.path.relpath(path, name.parent))
        stamps.append(_stamp(path, now))
    tree = None
    if listing is not None and layout.ref is not None:
        for mark, data in ((layout.tree, tree_cache(listing)), (layout.ref, entry.commit.encode())):
            path = Path(store.at(mark))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        tree = _stamp(Path(store.at(layout.tree)), now)
    manifest = str(project.folder / "assets.yaml")
    store.save_receipt(Receipt(entry, tuple(stamps), now, wanted_by=(manifest,), tree=tree))
    project.lock_file.write_bytes(dump_lock(Lock({NAME: entry})))
    said = project.run("--json", "verify").json
    if said["hashed_bytes"] or said["findings"]:
        raise RuntimeError(f"the store that was built is not proved by stamps: {said}")
    return project, store.at(layout.folder)


def _stamp(path: Path, now: int) -> Stamp:
    status = path.stat()
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ino, now)
