"""The `hub` origin: repos of a Hugging Face hub, asked through huggingface_hub in a child process."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from assetmgr.digests import hash_file
from assetmgr.errors import (
    AssetError,
    BusyError,
    IntegrityError,
    OfflineError,
    OriginError,
    PatternError,
    RevisionNotFoundError,
    UnsafeNameError,
    WrongKindError,
)
from assetmgr.lock import LockedAsset, LockedFile, check_entry
from assetmgr.manifest import Asset, HubSource
from assetmgr.mutex import held
from assetmgr.names import check_digest
from assetmgr.origins import Arrival, Context
from assetmgr.origins.fetching import Fetcher
from assetmgr.origins.hub_errors import as_error, default_endpoint
from assetmgr.origins.hub_process import HubProcess
from assetmgr.placing import make_folder, place, remove_file
from assetmgr.store import Layout, repo_folder
from assetmgr.transfer.urls import clean, safe_url


def tree_document(tree: Sequence[Mapping[str, Any]]) -> bytes:
    """A commit's listing as a document: the same commit, the same bytes."""
    rows = sorted(tree, key=lambda file: file["path"])
    body = ",\n".join(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows)
    return f"[\n{body}\n]\n".encode()


class HubOrigin(contextlib.AbstractContextManager["HubOrigin"]):
    """One hub, for one run."""

    def __init__(self, context: Context, endpoint: str | None, fetcher: Fetcher) -> None:
        self._context = context
        self._fetcher = fetcher
        self.endpoint = endpoint or default_endpoint()
        self._process = HubProcess(context.limits, context.store.root)

    def __exit__(self, *exception: object) -> None:
        self._process.close()

    # --- resolve -------------------------------------------------------------------------------------------------

    def resolve(self, asset: Asset, previous: LockedAsset | None, *, fetch: bool) -> LockedAsset:
        source = asset.source
        assert isinstance(source, HubSource)
        keep = previous is not None and (previous.repo, previous.revision) == (source.repo, source.revision)
        pinned = previous.commit if previous and keep else None
        try:
            answer = self._ask(
                asset.name,
                asset.kind,
                source.repo,
                do="resolve",
                revision=pinned or source.revision,
                allow=source.allow_patterns,
                ignore=source.ignore_patterns,
            )
        except RevisionNotFoundError:
            if pinned is None or pinned == source.revision:
                raise
            raise RevisionNotFoundError(
                f"{asset.name}: {source.repo} no longer has the locked commit {pinned} on {safe_url(self.endpoint)}",
                mend=f"take the newest of {source.revision!r}: assetmgr lock --upgrade {asset.name}",
            ) from None
        commit, tree = check_digest(answer["commit"], "git_sha1", f"{asset.name}: commit"), answer["tree"]
        chosen = set(answer["selected"])
        if not chosen:
            raise self._nothing_selected(asset, source, [row["path"] for row in tree])
        files = tuple(
            LockedFile(
                path=row["path"],
                size=row["size"],
                sha256=row.get("sha256"),
                git_sha1=None if row.get("sha256") else row["git_sha1"],
            )
            for row in sorted(tree, key=lambda row: row["path"])
            if row["path"] in chosen
        )
        entry = LockedAsset(
            name=asset.name,
            kind=asset.kind,
            origin="hub",
            declared=asset.digest(),
            files=files,
            requires=asset.requires,
            repo=source.repo,
            commit=commit,
            revision=source.revision,
            allow_patterns=source.allow_patterns,
            ignore_patterns=source.ignore_patterns,
            listing=self._context.store.write_listing(tree_document(tree)),
        )
        try:
            check_entry(entry)
        except AssetError as error:
            raise UnsafeNameError(
                f"{asset.name}: {source.repo} at {commit[:12]} ({safe_url(self.endpoint)}): {error.message}",
                mend="nothing was written; leave the file out with ignore_patterns, or do not use this repo",
            ) from None
        known = {file.git_sha1: file for file in previous.files if file.sha256} if previous else {}
        return self._with_sha256(entry, known, fetch=fetch)

    def _with_sha256(self, entry: LockedAsset, known: Mapping[str | None, LockedFile], *, fetch: bool) -> LockedAsset:
        """Take the sha256 of files of which the hub publishes a git sha1 only: from an older pin, or from the bytes."""
        digests: dict[str, str] = {}
        for file in entry.files:
            pin = known.get(file.git_sha1)
            if file.git_sha1 and pin and pin.sha256 and pin.size == file.size:
                digests[file.git_sha1] = pin.sha256
        missing = {file.git_sha1: file for file in entry.files if not file.sha256 and file.git_sha1 not in digests}
        if missing and fetch:
            store, layout = self._context.store, Layout(entry)
            with self.guard(entry):
                # What the store's hub cache holds is read, not fetched; git's own digest tells whether it is right.
                for file in list(missing.values()):
                    path = store.at(layout.bytes(file))
                    with contextlib.suppress(OSError):
                        size, found = hash_file(path, ("sha256", "git_sha1"), size=os.path.getsize(path))
                        if size == file.size and found["git_sha1"] == file.git_sha1:
                            digests[found["git_sha1"]] = found["sha256"]
                            del missing[file.git_sha1]
                self._fetch_unpinned(entry, list(missing.values()), digests)
            self.finish(entry)
        return LockedAsset(
            **{
                **{name: getattr(entry, name) for name in entry.__struct_fields__},
                "files": tuple(
                    file
                    if file.sha256
                    else LockedFile(file.path, file.size, digests.get(file.git_sha1 or ""), file.git_sha1)
                    for file in entry.files
                ),
            }
        )

    def _fetch_unpinned(self, entry: LockedAsset, files: Sequence[LockedFile], digests: dict[str, str]) -> None:
        """Fetch small files, check them against git's digest, and keep them as blobs: a pull fetches nothing twice."""
        store, layout = self._context.store, Layout(entry)
        todo = list(files)
        for final_try in (False, True):
            wrong: list[tuple[LockedFile, str]] = []
            for arrival in self.bring(entry, todo):
                if arrival.path is None:
                    raise arrival.error or OriginError(f"{entry.name}: {arrival.file.path} did not arrive")
                file = arrival.file
                size, found = hash_file(arrival.path, ("sha256", "git_sha1"), size=os.path.getsize(arrival.path))
                if size != file.size or found["git_sha1"] != file.git_sha1:
                    wrong.append((file, f"{size} bytes of git sha1 {found['git_sha1']}"))
                    remove_file(arrival.path)
                    continue
                digests[found["git_sha1"]] = found["sha256"]
                place(arrival.path, store.at(layout.bytes(file)))
            if not wrong:
                return
            if final_try:
                file, text = wrong[0]
                raise IntegrityError(
                    f"{entry.name}: {file.path}: the hub's listing says {file.size} bytes of git sha1 {file.git_sha1}, "
                    f"{safe_url(self.sources(entry, file)[0])} gave {text}, twice",
                    mend=f"repeat `assetmgr lock {entry.name}` later, or tell who runs {safe_url(self.endpoint)}",
                )
            todo = [file for file, _ in wrong]

    def _nothing_selected(self, asset: Asset, source: HubSource, paths: Sequence[str]) -> PatternError:
        patterns = f"allow_patterns {list(source.allow_patterns or ['*'])}"
        if source.ignore_patterns:
            patterns += f" and ignore_patterns {list(source.ignore_patterns)}"
        if not paths:
            return PatternError(
                f"{asset.declared_at}: {asset.name}: {source.repo} at {source.revision!r} holds no file"
            )
        sample = ", ".join(sorted(paths)[:8]) + (f", ... ({len(paths)} in all)" if len(paths) > 8 else "")
        return PatternError(
            f"{asset.declared_at}: {asset.name}: {patterns} match no file of {source.repo} at {source.revision!r}",
            mend=f"it holds: {sample}. `*` crosses folders; a folder is 'name/' or 'name/*'",
        )

    # --- bring ---------------------------------------------------------------------------------------------------

    def guard(self, entry: LockedAsset) -> contextlib.AbstractContextManager[None]:
        """Hold the repo's staging folder; one process at a time fetches from one repo."""
        context = self._context
        key = f"staging-{repo_folder(entry.kind, entry.repo)}"
        return held(context.store.mutex(key), f"fetching {entry.repo}", wait=context.wait, say=context.reporter.say)

    def sources(self, entry: LockedAsset, file: LockedFile) -> Sequence[str]:
        kind = "datasets/" if entry.kind == "dataset" else ""
        return (f"{self.endpoint}/{kind}{entry.repo}/resolve/{entry.commit}/{quote(file.path)}",)

    def _staging(self, entry: LockedAsset) -> str:
        return os.path.join(self._context.store.partial("hub"), repo_folder(entry.kind, entry.repo))

    def bring(self, entry: LockedAsset, files: Sequence[LockedFile]) -> Iterator[Arrival]:
        failure: AssetError | None = None
        snapshot = os.path.join(self._staging(entry), "snapshots", entry.commit)
        root = os.path.realpath(self._staging(entry))
        begun = os.path.isdir(snapshot)
        staged = {file.path: _staged(root, snapshot, file) if begun else None for file in files}
        missing = [file for file in files if staged[file.path] is None]
        mirrored: set[str] = set()
        for arrival in self._fetcher.bring_mirrored(entry, missing):
            mirrored.add(arrival.file.path)
            yield arrival
        missing = [file for file in missing if file.path not in mirrored]
        if missing:
            make_folder(self._context.store.partial("hub"))
            _remove_orphans(os.path.join(self._staging(entry), "blobs"), _UNIQUE)
            total = sum(file.size for file in {file.blob: file for file in missing}.values())
            with self._watched(entry, total):
                try:
                    self._ask(
                        entry.name,
                        entry.kind,
                        entry.repo,
                        do="fetch",
                        commit=entry.commit,
                        cache=self._context.store.partial("hub"),
                        files=[
                            {"path": f.path, "size": f.size, "sha256": f.sha256, "git_sha1": f.git_sha1}
                            for f in missing
                        ],
                        whole=len(missing) == len(entry.files),
                        allow=entry.allow_patterns,
                        ignore=entry.ignore_patterns,
                    )
                except AssetError as error:
                    failure = error
        staged |= {file.path: _staged(root, snapshot, file) for file in missing}
        for file in missing:
            if staged[file.path] is not None:
                self._context.mirrors.count_origin(file.size)
        lacking = [file for file in missing if staged[file.path] is None]
        for arrival in self._fetcher.bring_mirrored(entry, lacking, in_need=True):
            mirrored.add(arrival.file.path)
            yield arrival
        for file in files:
            if file.path in mirrored:
                continue
            path = staged[file.path]
            if path is None:
                url = safe_url(self.sources(entry, file)[0])
                yield Arrival(file, None, failure or OriginError(f"{entry.name}: {file.path}: {url} gave no file"))
            else:
                yield Arrival(file, path)

    def finish(self, entry: LockedAsset) -> None:
        """Remove the staged snapshot, and the staging folder with it when nothing else of the repo is under way."""
        staging = self._staging(entry)
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
    def _watched(self, entry: LockedAsset, total: int) -> Iterator[None]:
        """Show progress by what grows in the staging folder, whatever huggingface_hub's version tells."""
        blobs = os.path.join(self._staging(entry), "blobs")
        before = _bytes_in(blobs)
        done = threading.Event()
        with self._context.reporter.progress(entry.name, total) as bar:

            def watch() -> None:
                pause = 0.25
                while not done.wait(pause):
                    started = time.monotonic()
                    bar.reach(min(total, max(0, _bytes_in(blobs) - before)))
                    # With 100,000 files a look takes long itself: at most a twentieth of the time goes into looking.
                    pause = max(0.25, 20 * (time.monotonic() - started))

            watcher = threading.Thread(target=watch, daemon=True)
            watcher.start()
            try:
                yield
            finally:
                done.set()
                watcher.join(1.0)
            bar.reach(total)

    def listing(self, entry: LockedAsset) -> bytes | None:
        """The document of the commit's full listing, from the store, a mirror or the hub; None offline.

        Raises
        ------
        IntegrityError
            When the hub lists the commit otherwise than the lock says: a commit cannot change.
        """
        store = self._context.store
        if entry.listing is None:
            return None
        data = store.read_listing(entry.listing)
        if data is None:
            data = self._fetcher.mirrored_listing(entry, entry.listing)
        if data is not None or self._context.offline:
            return data
        tree = self._ask(entry.name, entry.kind, entry.repo, do="tree", commit=entry.commit)["tree"]
        data = tree_document(tree)
        if store.write_listing(data) != entry.listing:
            raise IntegrityError(
                f"{entry.name}: {safe_url(self.endpoint)} lists {entry.repo} at {entry.commit[:12]} unlike the lock",
                mend=f"if this hub is to be trusted: assetmgr lock --upgrade {entry.name}",
            )
        return data

    # --- the child -----------------------------------------------------------------------------------------------

    def _ask(self, name: str, kind: str, repo: str, **job: Any) -> dict[str, Any]:
        """Have the child do a job; raise its failure as one of ours."""
        if self._context.offline:
            raise OfflineError(
                f"{name}: {repo} is not all in the store, and --offline (or HF_HUB_OFFLINE) forbids to ask the hub",
                mend=f"repeat without --offline: assetmgr pull {name}",
            )

        def on_event(event: Mapping[str, Any]) -> None:
            where, why = safe_url(str(event["url"])), clean(str(event["why"]))
            self._context.reporter.say(f"{name}: {where}: {why}; again in {event['seconds']} s")

        answer = self._process.ask({"repo": repo, "kind": kind, "endpoint": self.endpoint, **job}, on_event)
        if answer["event"] == "result":
            return answer
        error = as_error(self.endpoint, name, kind, repo, job, answer)
        if answer["kind"] == "repo" and self._exists(name, "dataset" if kind == "model" else "model", repo):
            other = "dataset" if kind == "model" else "model"
            raise WrongKindError(
                f"{name}: {repo} is a {other} on {safe_url(self.endpoint)}, and the manifest asks for a {kind}",
                mend=f"move {name} from `{kind}s:` to `{other}s:` in the manifest",
            )
        raise error

    def _exists(self, name: str, kind: str, repo: str) -> bool:
        answer = self._process.ask(
            {"repo": repo, "kind": kind, "endpoint": self.endpoint, "do": "exists"}, lambda event: None
        )
        return answer["event"] == "result" or answer.get("kind") == "gated"


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


def _bytes_in(folder: str) -> int:
    total = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                total += entry.stat(follow_symlinks=False).st_size
    return total
