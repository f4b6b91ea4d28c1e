"""The `hub` origin: repos of a Hugging Face hub, asked through huggingface_hub in a child process."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assetmgr.digests import hash_file, sha256_text
from assetmgr.errors import (
    AssetError,
    IntegrityError,
    OfflineError,
    OriginError,
    PatternError,
    RevisionNotFoundError,
    UnsafeNameError,
    WrongKindError,
)
from assetmgr.lock import LockedAsset, LockedFile, check_entry
from assetmgr.manifest import Asset, HubSource, Transport
from assetmgr.names import check_digest, is_digest
from assetmgr.origins import Arrival, Context
from assetmgr.origins.fetching import Fetcher
from assetmgr.origins.hub_direct import Direct, xet_is_there
from assetmgr.origins.hub_errors import as_error, default_endpoint
from assetmgr.origins.hub_license import stated_license
from assetmgr.origins.hub_listing import HubListing
from assetmgr.origins.hub_process import HubProcess
from assetmgr.origins.hub_snapshot import Staging
from assetmgr.placing import place, remove_file
from assetmgr.store import Layout
from assetmgr.transfer import trace
from assetmgr.transfer.urls import clean, safe_url

if TYPE_CHECKING:
    from assetmgr.archives import Seekable


# What a file system can count; that a disk is too small is for who pulls.
_SIZES = 1 << 63


def tree_document(tree: Sequence[Mapping[str, Any]]) -> bytes:
    """A commit's listing as a document: the same commit, the same bytes."""
    rows = sorted(tree, key=lambda file: file["path"])
    body = ",\n".join(json.dumps(row, sort_keys=True, ensure_ascii=False) for row in rows)
    return f"[\n{body}\n]\n".encode()


def listed_rows(data: bytes) -> list[dict[str, Any]]:
    """The rows of a commit's listing, out of huggingface_hub's document of it (``trees/<commit>.json``)."""
    rows = []
    for path, file in json.loads(data)["files"].items():
        row = {"path": path, "size": file["size"], "git_sha1": file["blob_id"]}
        if file.get("lfs_sha256"):
            row |= {"sha256": file["lfs_sha256"], "size": file.get("lfs_size", file["size"])}
        rows.append(row)
    return rows


class HubOrigin(contextlib.AbstractContextManager["HubOrigin"]):
    """One hub, for one run."""

    def __init__(self, context: Context, endpoint: str | None, transport: Transport, fetcher: Fetcher) -> None:
        self._context = context
        self._fetcher = fetcher
        self.endpoint = endpoint or default_endpoint()
        self._transport = transport
        self._process = HubProcess(context.limits, context.store.root)
        self._direct = Direct(context, self.endpoint, fetcher)
        self._staging = Staging(context, self._ask)

    def __exit__(self, *exception: object) -> None:
        self._process.close()

    def look(self, asset: Asset) -> LockedAsset:
        """See `Origin.look`."""
        return self.resolve(asset, None, fetch=False)

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
        self._check_pin(asset.name, source.repo, pinned or source.revision, commit)
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
            listing=self._context.store.write_listing(self._document(asset.name, source.repo, tree)),
            license=asset.license or stated_license(answer["card"], answer["tags"]),
        )
        try:
            for file in files:
                if not 0 <= file.size < _SIZES:
                    raise IntegrityError(f"{file.path}: a size of {file.size:,} bytes, which no file has")
            check_entry(entry)
        except AssetError as error:
            raise UnsafeNameError(
                f"{asset.name}: {source.repo} at {commit[:12]} ({safe_url(self.endpoint)}): {error.message}",
                mend="nothing was written; leave the file out with ignore_patterns, or do not use this repo",
            ) from None
        known = {file.git_sha1: file for file in previous.files if file.sha256} if previous else {}
        return self._with_sha256(entry, known, fetch=fetch)

    def _check_pin(self, name: str, repo: str, asked: str, commit: str) -> None:
        """A commit names itself: a hub that answers with another one would have its bytes locked in the place of it."""
        if is_digest(asked.lower(), "git_sha1") and commit != asked.lower():
            raise IntegrityError(
                f"{name}: {safe_url(self.endpoint)} was asked for commit {asked} of {repo}, and answers with {commit}",
                mend="nothing was written; check HF_ENDPOINT (or `endpoint:`), or tell who runs this hub",
            )

    def _document(self, name: str, repo: str, tree: Sequence[Mapping[str, Any]]) -> bytes:
        try:
            return tree_document(tree)
        except UnicodeEncodeError:
            raise UnsafeNameError(
                f"{name}: {repo} ({safe_url(self.endpoint)}): its listing has a name that is no text",
                mend="nothing was written; do not use this repo",
            ) from None

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
                    cached = self._context.caches.candidates(entry, file)
                    for path in (store.at(layout.bytes(file)), *(one.path for one in cached)):
                        with contextlib.suppress(OSError):
                            size, found = hash_file(path, ("sha256", "git_sha1"), size=os.path.getsize(path))
                            if size == file.size and found["git_sha1"] == file.git_sha1:
                                digests[found["git_sha1"]] = found["sha256"]
                                del missing[file.git_sha1]
                                break
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
            failed: list[AssetError] = []
            for arrival in self.bring(entry, todo):
                file = arrival.file
                if arrival.path is None:
                    failed.append(arrival.error or OriginError(f"{entry.name}: {file.path} did not arrive"))
                    continue
                size, found = os.path.getsize(arrival.path), arrival.digests
                if not found:
                    size, found = hash_file(arrival.path, ("sha256", "git_sha1"), size=size)
                if size != file.size or found["git_sha1"] != file.git_sha1:
                    wrong.append((file, f"{size} bytes of git sha1 {found['git_sha1']}"))
                    remove_file(arrival.path)
                    continue
                digests[found["git_sha1"]] = found["sha256"]
                place(arrival.path, store.at(layout.bytes(file)))
            if failed:
                raise failed[0]
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
        return self._staging.held(entry)

    def sources(self, entry: LockedAsset, file: LockedFile) -> Sequence[str]:
        return (self._direct.url(entry, file),)

    def bring(self, entry: LockedAsset, files: Sequence[LockedFile]) -> Generator[Arrival, None, None]:
        """Bring files: what an earlier run has staged, the rest by the transport that is best for each."""
        staged = self._staging.staged(entry, files)
        yield from (Arrival(file, path) for file, path in staged)
        have = {file.path for file, _ in staged}
        missing = [file for file in files if file.path not in have]
        # Who holds a mirror is not to be kept waiting for a hub that may be away: that is asked for the rest only.
        for arrival in self._fetcher.bring_mirrored(entry, self._may_come_by_xet(missing)):
            have.add(arrival.file.path)
            yield arrival
        missing = [file for file in missing if file.path not in have]
        by_xet = self._by_xet(entry, missing)
        direct = [file for file in missing if file.path not in by_xet]
        if direct:
            yield from self._direct.bring(entry, direct)
        if by_xet:
            yield from self._snapshot(entry, [file for file in missing if file.path in by_xet])

    def _snapshot(self, entry: LockedAsset, files: Sequence[LockedFile]) -> Generator[Arrival, None, None]:
        """Bring files by `snapshot_download`; what fails, from mirrors that are asked in need only."""
        failed = {}
        for arrival in self._staging.bring(entry, files):
            if arrival.path is None:
                failed[arrival.file.path] = arrival
                continue
            self._context.mirrors.count_origin(arrival.file.size, self.endpoint)
            yield arrival
        lacking = [arrival.file for arrival in failed.values()]
        for arrival in self._fetcher.bring_mirrored(entry, lacking, in_need=True):
            del failed[arrival.file.path]
            yield arrival
        yield from failed.values()

    def _may_come_by_xet(self, files: Sequence[LockedFile]) -> Sequence[LockedFile]:
        """The files that may be for `snapshot_download`, as far as can be told without asking the hub."""
        if self._transport == "snapshot":
            return files
        is_limited = self._context.limits.rate is not None  # which the engine alone keeps to
        if self._transport == "direct" or self._context.offline or is_limited or not xet_is_there():
            return ()
        return self._direct.large(files)

    def _by_xet(self, entry: LockedAsset, files: Sequence[LockedFile]) -> set[str]:
        """The paths that `snapshot_download` is to fetch."""
        candidates = self._may_come_by_xet(files)
        if self._transport == "snapshot":
            if candidates and self._context.limits.rate is not None:
                self._context.reporter.say(f"{entry.name}: snapshot_download does not keep to --limit-rate")
            return {file.path for file in candidates}
        return self._direct.over_xet(entry, candidates) if candidates else set()

    def mirrored(self, entry: LockedAsset, files: Sequence[LockedFile]) -> Generator[Arrival, None, None]:
        return self._fetcher.bring_mirrored(entry, files)

    def mirrored_listing(self, entry: LockedAsset, digest: str) -> bytes | None:
        return self._fetcher.mirrored_listing(entry, digest)

    def in_parts(self, entry: LockedAsset, file: LockedFile) -> Iterator[str | Seekable]:
        return iter(())  # a hub file is not extracted

    def finish(self, entry: LockedAsset) -> None:
        self._staging.finish(entry)

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
            data = self._cached_listing(entry) or self._fetcher.mirrored_listing(entry, entry.listing)
        if data is not None or self._context.offline:
            return data
        tree = self._ask(entry.name, entry.kind, entry.repo, do="tree", commit=entry.commit)["tree"]
        data = self._document(entry.name, entry.repo, tree)
        if store.write_listing(data) != entry.listing:
            raise IntegrityError(
                f"{entry.name}: {safe_url(self.endpoint)} lists {entry.repo} at {entry.commit[:12]} unlike the lock",
                mend=f"if this hub is to be trusted: assetmgr lock --upgrade {entry.name}",
            )
        return data

    def _cached_listing(self, entry: LockedAsset) -> bytes | None:
        """The listing out of huggingface_hub's own, where a cache has that: the lock's digest tells whether it is."""
        for path in self._context.caches.tree_listings(entry):
            with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
                data = tree_document(listed_rows(Path(path).read_bytes()))
                if sha256_text(data) == entry.listing:
                    self._context.store.write_listing(data)
                    return data
        return None

    # --- asking --------------------------------------------------------------------------------------------------

    def _ask(self, name: str, kind: str, repo: str, **job: Any) -> dict[str, Any]:
        """Have the API, or the child, do a job; raise its failure as one of ours."""
        if self._context.offline:
            # What is not locked cannot be pulled.
            verb = "pull" if job["do"] == "tree" else "lock"
            raise OfflineError(
                f"{name}: {repo} is not all in the store, and --offline (or HF_HUB_OFFLINE) forbids to ask the hub",
                mend=f"repeat without --offline: assetmgr {verb} {name}",
            )

        answer = self._answer(name, {"repo": repo, "kind": kind, **job})
        if answer["event"] == "result":
            return answer
        error = as_error(self.endpoint, name, kind, repo, job, answer)
        other = "dataset" if kind == "model" else "model"
        if answer["kind"] == "repo" and self._exists(name, other, repo):
            raise WrongKindError(
                f"{name}: {repo} is a {other} on {safe_url(self.endpoint)}, and the manifest asks for a {kind}",
                mend=f"move {name} from `{kind}s:` to `{other}s:` in the manifest",
            )
        raise error

    def _exists(self, name: str, kind: str, repo: str) -> bool:
        answer = self._answer(name, {"repo": repo, "kind": kind, "do": "exists"})
        return answer["event"] == "result" or answer.get("kind") == "gated"

    def _answer(self, name: str, job: dict[str, Any]) -> dict[str, Any]:
        """What the hub says to a job: through huggingface_hub where its transport was asked for or is needed."""

        def on_event(event: Mapping[str, Any]) -> None:
            if event["event"] == "request":
                trace.tell(**{key: event[key] for key in ("method", "url", "came", "size", "seconds")}, whose="origin")
                return
            where, why = safe_url(str(event["url"])), clean(str(event["why"]))
            self._context.reporter.say(f"{name}: {where}: {why}; again in {event['seconds']} s")

        self._context.mirrors.asked_origin(self.endpoint)
        token = self._direct.token(name)  # the child reads its own: what is wrong with it is told here
        if job["do"] == "fetch" or self._transport == "snapshot":
            asked = {**job, "endpoint": self.endpoint, "trace": trace.is_wanted()}
            return self._process.ask(asked, on_event)
        return HubListing(self.endpoint, token, self._fetcher.read).answer(name, job)
