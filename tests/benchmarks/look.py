"""Looking at a large store: each look command on 200 assets with 100,000 files, against `hf cache ls`."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

from assetmgr.lock import Lock, LockedAsset, LockedFile, dump_lock
from assetmgr.manifest import load_manifest
from assetmgr.receipt import Receipt, Stamp
from assetmgr.store import Layout, Store
from assetmgr.summaries import SETTLED
from assetmgr.verify import tree_cache
from tests.benchmarks.runner import Bench, Row, alternate, process, seconds
from tests.benchmarks.workplace import ASSETMGR, HF
from tests.support import Project

BOUND = 0.15
ASSETS = 200


def look(bench: Bench) -> Iterator[Row]:
    """`list`, `status`, `show`, `diff` and `whereis`, as whole processes."""
    count = 2_000 if bench.quick else 100_000
    project = large_store(bench.place / "project", count)
    env = project.environment(HF_HUB_CACHE=str(project.root / "hub"), HF_HUB_DISABLE_UPDATE_CHECK="1")
    commands = {
        "list": ["list"],
        "status": ["status"],
        "show": ["show", "model-000"],
        "diff": ["diff"],
        "whereis": ["whereis", "model-000"],
    }
    # What changed a moment ago is looked at in full: the store is to be as one finds it on another day.
    time.sleep(SETTLED + 0.5)
    first = process(ASSETMGR, "status", cwd=project.folder, env=env)()
    sides = {name: process(ASSETMGR, *words, cwd=project.folder, env=env) for name, words in commands.items()}
    took = alternate(bench.rounds(11), **sides, peer=process(HF, "cache", "ls", cwd=project.folder, env=env))
    for name in commands:
        ours, peer = took[name], took["peer"]
        what = f"{name}, {ASSETS} assets, {count:,} files / hf cache ls"
        bound = f"<= {BOUND * 1000:g} ms"
        yield Row(what, seconds(ours), seconds(peer), f"{ours / peer:.3f}", bound, ours <= BOUND)
    bench.note(f"the first look after a change is at every file: status took {seconds(first)}")


def large_store(place: Path, count: int) -> Project:
    """A project whose store holds 200 assets, half of them hub repos, as pulls would have left it."""
    project = Project(place)
    names = [f"{'model' if number % 2 == 0 else 'data'}-{number:03}" for number in range(ASSETS)]
    models = "".join(
        f'  {name}:\n    hub: org/{name}\n    allow_patterns: ["*.json", "*.txt"]\n    groups: [a]\n'
        for name in names[::2]
    )
    datasets = "".join(
        f"  {name}:\n    files:\n      - {{url: 'https://example.org/{name}.tar', md5: '{'0' * 32}'}}\n"
        f"    requires: {required}\n    splits: {{val: a.json}}\n    samples: caption\n"
        for required, name in zip(names[::2], names[1::2], strict=True)
    )
    project.write(f"version: 1\nmodels:\n{models}datasets:\n{datasets}")
    declared = {asset.name: asset for asset in load_manifest(place / "assets.yaml").assets}
    store, entries = Store(project.root), {}
    for name in names:
        files = tuple(_file(name, number, is_hub=name.startswith("model")) for number in range(count // ASSETS))
        asset = declared[name]
        entry = LockedAsset(asset.kind, "files", asset.digest(), files, name, requires=asset.requires)
        if name.startswith("model"):
            rows = [{"path": file.path, "size": file.size, "git_sha1": file.git_sha1} for file in files]
            listing = json.dumps(rows).encode()
            digest = store.write_listing(listing)
            entry = LockedAsset(
                asset.kind, "hub", asset.digest(), files, name, (), f"org/{name}", "c" * 40, "main", listing=digest
            )
            _write(Path(store.at(Layout(entry).tree)), tree_cache(listing))
            _write(Path(store.at(Layout(entry).ref or "")), entry.commit.encode())
        entries[name] = entry
        _install(store, entry, place / "assets.yaml")
    project.lock_file.write_bytes(dump_lock(Lock(entries)))
    return project


def _content(name: str, number: int) -> bytes:
    return f"{name} {number}\n".encode()


def _file(name: str, number: int, *, is_hub: bool) -> LockedFile:
    data, path = _content(name, number), f"train/{number:06}.txt"
    sha256 = hashlib.sha256(data).hexdigest()
    if is_hub:
        return LockedFile(path, len(data), sha256, hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest())
    return LockedFile(path, len(data), sha256, place="files")


def _install(store: Store, entry: LockedAsset, manifest: Path) -> None:
    layout, stamps, now = Layout(entry), [], int(time.time())
    for number, file in enumerate(entry.files):
        path, name = Path(store.at(layout.bytes(file))), Path(store.at(layout.name(file)))
        _write(path, _content(entry.name, number))
        if path != name:
            name.parent.mkdir(parents=True, exist_ok=True)
            name.symlink_to(os.path.relpath(path, name.parent))
        stamps.append(Stamp.of(path.stat(), now))
    tree = Stamp.of(os.stat(store.at(layout.tree)), now) if layout.repo else None
    store.save_receipt(Receipt(entry, tuple(stamps), now, wanted_by=(str(manifest),), tree=tree))


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    path.chmod(0o444)
