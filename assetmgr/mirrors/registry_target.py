"""Pushing to an OCI registry: blobs that are not there yet, hashed as they are sent, then the tag that names them.

The tag comes last: a push that is killed leaves it as it was. It goes on naming what others pushed under it; with that,
the registry's garbage collection, which removes what no tag leads to, takes nothing of it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from assetmgr.carried import Carriage
from assetmgr.digests import Hasher, in_parallel
from assetmgr.errors import AssetError, BusyError, IntegrityError
from assetmgr.images import MANIFEST_MOST
from assetmgr.mirrors.pushing import HeldFile, PushReport, check_held, damaged, open_held, unique
from assetmgr.mirrors.registry import ACCEPT, foreign
from assetmgr.mirrors.tagged import Tagged, tagged
from assetmgr.mirrors.telling import in_image
from assetmgr.registry_urls import parse_repository
from assetmgr.reporting import Progress, Reporter
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.registry_upload import Uploads
from assetmgr.transfer.wire import Wire

_PIECE = 1 << 20
# How often the tag is given, where others give it too.
_TAGS_MOST = 8


class _Blob(NamedTuple):
    """A document as it is sent."""

    data: bytes
    sha256: str

    @property
    def size(self) -> int:
        return len(self.data)

    def pieces(self, start: int) -> Iterator[bytes]:
        yield self.data[start:]

    def prove(self) -> None:
        """It is what its digest was made of."""


class RegistryTarget:
    def __init__(self, text: str, limits: Limits, reporter: Reporter) -> None:
        self._text, self._limits, self._reporter = text, limits, reporter
        self._repository = parse_repository(text)
        # Of each asset that was to be pushed, the size of each blob.
        self._blobs: dict[str, dict[str, int]] = {}

    def put(self, files: Iterable[HeldFile], *, full: bool = False) -> PushReport:
        files = list(files)
        for file in files:
            self._blobs.setdefault(file.asset, {})[file.sha256] = file.size
        wanted = unique(files)
        sent: list[HeldFile] = []
        there: list[HeldFile] = []
        errors: list[AssetError] = []
        lacking: set[str] = set()
        total = sum(file.size for file in wanted)
        with (
            contextlib.closing(Wire(self._limits)) as wire,
            self._reporter.progress(f"pushing to {self._text}", total) as bar,
        ):
            uploads = Uploads(wire, self._repository)
            self._there(uploads)  # what cannot get the tag is not sent in vain

            def work(file: HeldFile) -> bool | IntegrityError:
                try:
                    return self._put_one(uploads, wire, file, bar, full=full)
                except IntegrityError as error:
                    return error

            # `waiting` keeps even one file in a thread: Ctrl-C gets through, and cuts what it waits for.
            for file, result in in_parallel(work, wanted, workers=self._limits.jobs, waiting=wire.check):
                if isinstance(result, IntegrityError):
                    errors.append(result)
                    lacking.add(file.sha256)
                else:
                    (sent if result else there).append(file)
        return PushReport(
            self._text,
            len(sent),
            sum(file.size for file in sent),
            len(there),
            sum(file.size for file in there),
            tuple(errors),
            frozenset(lacking),
        )

    def tell(self, told: Carriage) -> None:
        """A registry has no lock: who pushes under the same tag at this very moment is noticed, and both are named.

        Where the other's tag comes between the last look and ours, it is not: then his next push names his again.
        """
        with contextlib.closing(Wire(self._limits)) as wire:
            uploads = Uploads(wire, self._repository)
            named = None
            for _ in range(_TAGS_MOST):
                there = self._there(uploads)
                if named is not None and there.holds(told):
                    return
                blobs = {each.name: self._blobs.get(each.name, {}) for each in told.assets}
                made = there.joined(told, blobs, self._reporter.say, self._text)
                named = made.named
                if named.data == there.named:
                    return
                if uploads.held_size(made.config.sha256) is None:
                    uploads.send(_Blob(made.config.data, made.config.sha256))
                for manifest in made.manifests:
                    uploads.put_manifest(f"sha256:{manifest.sha256}", manifest.data, manifest.media_type)
                uploads.put_manifest(self._repository.tag, named.data, named.media_type)
            raise BusyError(
                f"mirror {self._text}: others push under its tag all the time; what was pushed is there without it",
                mend="repeat the command when they are done, or push under a tag of its own",
            )

    def _there(self, uploads: Uploads) -> Tagged:
        """What the tag names now."""
        repository = self._repository
        named = uploads.document(repository.manifest(repository.tag), MANIFEST_MOST, ACCEPT)
        if named is None:
            return Tagged()
        manifests = [named]

        def blob(digest: str, most: int) -> bytes | None:
            found = uploads.document(repository.blob(digest), most, "*/*")
            if found is None:
                found = uploads.document(repository.manifest(f"sha256:{digest}"), most, ACCEPT)
                manifests.extend([found] if found is not None else [])
            return found

        carriages = list(in_image(named, blob, self._text))
        if not carriages:
            raise foreign(self._text, repository.tag)
        return tagged(named, manifests, carriages)

    def _put_one(self, uploads: Uploads, wire: Wire, file: HeldFile, bar: Progress, *, full: bool) -> bool:
        """Send one file; False where it is there already."""
        size = uploads.held_size(file.sha256)
        if size is None:
            uploads.send(_Held(file, wire, bar))
            return True
        hasher = Hasher()
        for data in uploads.read(file.sha256) if full else ():
            hasher.update(data)
        if size not in (-1, file.size) or (full and hasher.digests()["sha256"] != file.sha256):
            raise IntegrityError(
                f"{file.label}: {self._text} has other bytes as sha256:{file.sha256}, and no registry replaces a blob",
                mend="let who keeps the registry remove that blob from its storage, and push again",
            )
        bar.add(file.size)
        return False


class _Held:
    """A file of the store as it is sent: hashed as it is read the first time, however often its parts are sent."""

    def __init__(self, file: HeldFile, wire: Wire, bar: Progress) -> None:
        self._file, self._wire, self._bar = file, wire, bar
        self.sha256, self.size = file.sha256, file.size
        self._hasher = Hasher()

    def pieces(self, start: int) -> Iterator[bytes]:
        file, bucket = self._file, self._wire.bucket
        with open(open_held(file), "rb", buffering=0) as source:
            at = start
            try:
                source.seek(start)
                while at < self.size:
                    data = source.read(bucket.portion(min(_PIECE, self.size - at)))
                    if not data:
                        raise damaged(file, f"{file.path}: expected {file.size} bytes, found {at}")
                    self._note(at, data)
                    at += len(data)
                    bucket.take(len(data))
                    self._wire.check()
                    yield data
            except OSError as error:
                raise damaged(file, f"{file.path}: {error.strerror}") from None

    def _note(self, at: int, data: bytes) -> None:
        """Hash what is new of it."""
        new = data[max(self._hasher.count - at, 0) :]
        self._hasher.update(new)
        self._bar.add(len(new))

    def prove(self) -> None:
        check_held(self._file, self._hasher)
