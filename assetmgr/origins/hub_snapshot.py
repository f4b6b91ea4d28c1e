"""The `snapshot` transport of a hub: `snapshot_download`, run by the child into a staging cache of the store's own.

It alone speaks Xet. What has arrived there is promoted by rename, and is found again by the next run.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from assetmgr.errors import AssetError, BusyError, OriginError
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.mutex import held
from assetmgr.origins import Arrival, Context
from assetmgr.placing import make_folder, remove_file
from assetmgr.reporting import Progress
from assetmgr.store import repo_folder


class Staging:
    """The staging cache, and who fills it. ``ask`` has the child do a job."""

    def __init__(self, context: Context, ask: Callable[..., dict[str, Any]]) -> None:
        self._context = context
        self._ask = ask

    def held(self, entry: LockedAsset) -> contextlib.AbstractContextManager[None]:
        """Hold the repo's staging folder."""
        context = self._context
        key = f"staging-{repo_folder(entry.kind, entry.repo)}"
        return held(context.store.mutex(key), f"fetching {entry.repo}", wait=context.wait, say=context.reporter.say)

    def _folder(self, entry: LockedAsset) -> str:
        return os.path.join(self._context.store.partial("hub"), repo_folder(entry.kind, entry.repo))

    def staged(self, entry: LockedAsset, files: Sequence[LockedFile]) -> list[tuple[LockedFile, str]]:
        """The files that an earlier run has brought whole, as far as a look can tell, with their paths."""
        snapshot = os.path.join(self._folder(entry), "snapshots", entry.commit)
        if not os.path.isdir(snapshot):
            return []
        root = os.path.realpath(self._folder(entry))
        found = ((file, _staged(root, snapshot, file)) for file in files)
        return [(file, path) for file, path in found if path is not None]

    def bring(self, entry: LockedAsset, files: Sequence[LockedFile]) -> Generator[Arrival, None, None]:
        """Have the child fetch files of which none is staged."""
        failure: AssetError | None = None
        make_folder(self._context.store.partial("hub"))
        _remove_orphans(os.path.join(self._folder(entry), "blobs"), _UNIQUE)
        total = sum(file.size for file in {file.blob: file for file in files}.values())
        with self._watched(entry, files, total):
            try:
                self._ask(
                    entry.name,
                    entry.kind,
                    entry.repo,
                    do="fetch",
                    commit=entry.commit,
                    cache=self._context.store.partial("hub"),
                    files=[{"path": f.path, "size": f.size, "sha256": f.sha256, "git_sha1": f.git_sha1} for f in files],
                    whole=len(files) == len(entry.files),
                    allow=entry.allow_patterns,
                    ignore=entry.ignore_patterns,
                )
            except AssetError as error:
                failure = error
        arrived = {file.path: path for file, path in self.staged(entry, files)}
        for file in files:
            path = arrived.get(file.path)
            missing = OriginError(f"{entry.name}: {file.path}: {entry.repo} at {entry.commit[:12]} gave no file")
            yield Arrival(file, path, None if path else failure or missing)

    def finish(self, entry: LockedAsset) -> None:
        """Remove the staged snapshot, and the staging folder with it when nothing else of the repo is under way."""
        staging = self._folder(entry)
        if not os.path.isdir(staging):
            return
        key = f"staging-{os.path.basename(staging)}"
        with contextlib.suppress(BusyError), held(self._context.store.mutex(key), "tidying up", wait=0):
            shutil.rmtree(os.path.join(staging, "snapshots", entry.commit), ignore_errors=True)
            _remove_orphans(os.path.join(staging, "blobs"), _INCOMPLETE)
            for name in ("snapshots", "blobs"):
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.join(staging, name))
            if os.path.exists(os.path.join(staging, "blobs")):
                return
            shutil.rmtree(staging, ignore_errors=True)
            cache = self._context.store.partial("hub")
            shutil.rmtree(os.path.join(cache, ".locks", os.path.basename(staging)), ignore_errors=True)
            with contextlib.suppress(OSError):
                os.rmdir(os.path.join(cache, ".locks"))
            with contextlib.suppress(OSError):
                if os.listdir(cache) == ["CACHEDIR.TAG"]:  # which huggingface_hub makes with the folder
                    shutil.rmtree(cache)

    @contextlib.contextmanager
    def _watched(self, entry: LockedAsset, files: Sequence[LockedFile], total: int) -> Iterator[None]:
        """Show progress by what grows in the staging folder, whatever huggingface_hub's version tells."""
        by_blob = {file.blob: file for file in files}
        blobs = os.path.join(self._folder(entry), "blobs")
        before = sum(_sizes_in(blobs).values())
        done = threading.Event()
        with self._context.reporter.progress(entry.name, total) as bar:
            lines: dict[str, Progress] = {}

            def watch() -> None:
                pause = 0.25
                while not done.wait(pause):
                    started = time.monotonic()
                    sizes = _sizes_in(blobs)
                    bar.reach(min(total, max(0, sum(sizes.values()) - before)))
                    flying = {name: size for name, size in sizes.items() if _INCOMPLETE.fullmatch(name)}
                    for name in [name for name in lines if name not in flying]:
                        lines.pop(name).__exit__(None, None, None)
                    for name, size in flying.items():
                        file = by_blob.get(name.partition(".")[0])
                        if file is not None and name not in lines:
                            label = f"{entry.name}: {file.path}"
                            lines[name] = self._context.reporter.file(label, file.size)
                        if name in lines:
                            lines[name].reach(size)
                    # With 100,000 files a look takes long itself: at most a twentieth of the time goes into looking.
                    pause = max(0.25, 20 * (time.monotonic() - started))

            watcher = threading.Thread(target=watch, daemon=True)
            watcher.start()
            try:
                yield
            finally:
                done.set()
                watcher.join(1.0)
                for line in list(lines.values()):
                    line.__exit__(None, None, None)
            bar.reach(total)


def _staged(staging: str, snapshot: str, file: LockedFile) -> str | None:
    """The staged file that a name shows, or None. A link that leads out of the staging folder shows nothing.

    ``staging`` is that folder's real path.
    """
    path = os.path.join(snapshot, *file.path.split("/"))
    real = os.path.realpath(path)
    if not real.startswith(staging + os.sep) or not os.path.isfile(real):
        return None
    return real


# huggingface_hub 2.x gives each try a name of its own, which no later one uses; before, one name was gone on with.
_INCOMPLETE = re.compile(r".*\.incomplete")
_UNIQUE = re.compile(r".*\.[0-9a-f]{8}\.incomplete")


def _remove_orphans(folder: str, names: re.Pattern[str]) -> None:
    """Remove what killed downloads left. Only for who holds the staging folder: nobody writes there now."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):
            if names.fullmatch(name):
                remove_file(os.path.join(folder, name))


def _sizes_in(folder: str) -> dict[str, int]:
    sizes = {}
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                sizes[entry.name] = entry.stat(follow_symlinks=False).st_size
    return sizes
