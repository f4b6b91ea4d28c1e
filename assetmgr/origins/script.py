"""The `script` origin: a download script of LAVIS, run as it is, and judged by the files that it leaves.

The script asks `lavis.common.utils` for archives and paths; here that are the transfer engine, safe extraction, and an
empty folder in the place of LAVIS's cache root. What it prints and how it exits decides about nothing: it calls a
folder that exists a success, and a download that failed too.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assetmgr.archives import ListedMember, extract, listing
from assetmgr.digests import hash_file, in_parallel, sha256_text
from assetmgr.errors import AssetError, IntegrityError, OfflineError, OriginError, UsageError, about, named
from assetmgr.lock import LockedFile
from assetmgr.manifest import Asset, FileSource, ScriptSource
from assetmgr.manifest_urls import url_fault
from assetmgr.names import is_digest
from assetmgr.origins import script_worker as worker
from assetmgr.origins.child import Child
from assetmgr.origins.made import Ingredients, Job, MadeFile, Outcome
from assetmgr.placing import make_folder, write_document
from assetmgr.receipt import Stamp
from assetmgr.transfer.engine import Engine
from assetmgr.transfer.source import Source, Task
from assetmgr.transfer.urls import local_path, safe_url

PYTHON = "ASSETMGR_LAVIS_PYTHON"
_CONFIG = re.compile(r"""["'](configs/[\w./-]+\.ya?ml)["']""")
# LAVIS's scripts have their digests in comments: "url",  # md5: ...
_COMMENTED = re.compile(r"""["'](https?://[^"'\s]+)["'][^\n]*#[^\n]*\bmd5:?\s*([0-9a-f]{32})\b""")
_LARGEST_SCRIPT = 1 << 20


class ScriptMaker:
    """Runs scripts; the engine moves what they ask for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def ingredients(self, asset: Asset) -> Ingredients:
        """The script, and the configurations in the checkout that it names."""
        source = asset.source
        assert isinstance(source, ScriptSource)
        try:
            with open(os.path.join(source.folder, *source.script.split("/")), encoding="utf-8") as file:
                text = file.read(_LARGEST_SCRIPT)
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or error
            raise UsageError(
                f"{asset.name}: {source.folder} has no {source.script}: {why}",
                mend=f"git clone https://github.com/salesforce/LAVIS '{source.folder}', or correct `checkout:` of "
                f"{asset.name} in {asset.declared_at}",
            ) from None
        named = [f"lavis/{found}" for found in dict.fromkeys(_CONFIG.findall(text)) if ".." not in found]
        there = [path for path in named if os.path.isfile(os.path.join(source.folder, *path.split("/")))]
        return Ingredients(tuple(_pinned(source, path) for path in (source.script, *there)), "lavis", {})

    def make(self, job: Job) -> Outcome:
        entry = job.entry
        script = next(file for file in entry.files if file.extract is not None)
        if job.context.offline:
            raise OfflineError(
                f"{entry.name}: {script.path} fetches, and --offline (or HF_HUB_OFFLINE) forbids it",
                mend=f"assetmgr pull {entry.name}",
            )
        run = _Run(self._engine, job, script)
        return run.outcome()


def _pinned(source: ScriptSource, path: str) -> FileSource:
    local = os.path.join(source.folder, *path.split("/"))
    written = f"{source.checkout.rstrip('/')}/{path}"
    if url_fault(written) and not url_fault(f"./{written}"):
        written = f"./{written}"
    if url_fault(written) or "$" in written:
        written = Path(local).as_uri()
    return FileSource((Path(local).as_uri(),), path, written=(written,))


@dataclass(frozen=True, slots=True)
class _Archive:
    """An archive that a script asked for, and what came out of it."""

    url: str
    size: int
    sha256: str
    members: tuple[ListedMember, ...]


@dataclass(slots=True)
class _Run:
    """One run of a script: what it asks for is done, and noted."""

    engine: Engine
    job: Job
    script: LockedFile
    archives: list[_Archive] = field(default_factory=list)
    errors: list[AssetError] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    downloads: set[str] = field(default_factory=set)

    @property
    def name(self) -> str:
        return self.job.entry.name

    @property
    def root(self) -> str:
        """What the script takes for LAVIS's cache root. It is empty when the script begins."""
        return os.path.join(self.job.folder, "root")

    def outcome(self) -> Outcome:
        shutil.rmtree(self.root, ignore_errors=True)
        make_folder(self.root)
        code, words = self._run()
        if self.errors:
            raise self.errors[0]
        files = self._judged(words)
        if code:
            self.job.context.reporter.say(f"{self.name}: {self.script.path} ended with code {code}, and all is there")
        facts = {
            "script": self.script.path,
            "exit_code": code,
            "archives": [
                {"url": each.url, "size": each.size, "sha256": each.sha256, "files": len(each.members)}
                for each in self.archives
            ],
        }
        return Outcome(files, facts)

    # --- the conversation ------------------------------------------------------------------------------------------

    def _run(self) -> tuple[int, str]:
        job, python = self.job, os.environ.get(PYTHON) or sys.executable
        script, work = job.at(self.script), os.path.join(job.folder, "cwd")
        make_folder(work)
        pinned = script[: -len(self.script.path)]
        checkout = self._checkout() or pinned
        task = {"script": script, "root": self.root, "checkout": checkout, "libraries": [os.path.join(pinned, "lavis")]}
        write_document(os.path.join(job.folder, "job.json"), json.dumps(task).encode())
        command = [python, worker.__file__, os.path.join(job.folder, "job.json")]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            log = os.path.join(job.folder, "log.txt")
            with Child(command, folder=work, environment=environment, log=log, piped=True) as child:
                for line in child.output:
                    error = self._answer(json.loads(line))
                    child.input.write(json.dumps({"error": error}).encode() + b"\n")
                    child.input.flush()
                while not child.is_done(0.2):
                    pass
                return child.process.returncode, child.last_words()
        except FileNotFoundError as error:
            if error.filename != python:
                raise
            raise UsageError(f"{self.name}: there is no {python}", mend=f"correct {PYTHON}, or unset it") from None

    def _checkout(self) -> str | None:
        """The checkout that the script was pinned from, where it is on this machine: it may import more from there."""
        for url in self.job.sources(self.script):
            path = local_path(url) if url.startswith("file:") else ""
            if os.path.isfile(path) and path.replace(os.sep, "/").endswith(f"/{self.script.path}"):
                return path[: -len(self.script.path) - 1]
        return None

    def _answer(self, question: Mapping[str, Any]) -> str:
        """Do what the script asks for; return what went wrong."""
        if question["what"] == "path":
            self.asked.add(question["path"])
            return ""
        try:
            self._bring(question)
        except AssetError as error:
            self.errors.append(about(error, self.name))
            return error.message
        return ""

    def _bring(self, question: Mapping[str, Any]) -> None:
        url, folder = str(question["url"]), str(question["extract_root"])
        for path in (folder, str(question["download_root"])):
            if os.path.commonpath([os.path.realpath(path), os.path.realpath(self.root)]) != os.path.realpath(self.root):
                raise UsageError(f"{self.script.path} wants to write to {path}, outside of LAVIS's cache root")
        if url_fault(url) or not url.startswith(("http:", "https:")):
            raise UsageError(f"{self.script.path} asks for {safe_url(url)[:200]!r}, which is no URL")
        self.downloads.add(str(question["download_root"]))
        make_folder(str(question["download_root"]))
        label = os.path.basename(question["filename"] or url.partition("?")[0])
        path, size, digests = self._fetched(url, label, question["md5"])
        reporter, commented = self.job.context.reporter, self._commented().get(url, digests["md5"])
        if digests["md5"] != commented:
            # No more than a word: a comment is no pin, and LAVIS's are known to be wrong in places.
            reporter.say(f"{self.name}: {label} has md5 {digests['md5']}, and the script's comment says {commented}")
        try:
            with reporter.progress(f"listing {self.name}: {label}", size) as bar:
                members = listing(path, name=label, progress=bar.add)
            with reporter.progress(f"unpacking {self.name}: {label}", sum(member.size for member in members)) as bar:
                make_folder(folder)
                extract(path, folder, members, name=label, progress=bar.add)
        except IntegrityError as error:
            os.unlink(path)  # it is no archive, and the next run is to ask for another
            raise IntegrityError(f"{safe_url(url)}: {error.message}", mend=self._again()) from None
        self.archives.append(_Archive(url, size, digests["sha256"], members))

    def _fetched(self, url: str, label: str, md5: str | None) -> tuple[str, int, Mapping[str, str]]:
        """An archive's path, size and digests; what an interrupted run has brought is gone on with."""
        key = sha256_text(url)[:32]
        partial, whole = os.path.join(self.job.folder, key), os.path.join(self.job.folder, f"{key}.whole")
        if not os.path.exists(whole):
            task = Task(
                label=f"{self.name}: {label}",
                sources=(Source(url),),
                partial=partial,
                algorithms=("sha256", "md5"),
                pins={"md5": md5} if md5 and is_digest(md5, "md5") else {},
            )
            with self.job.context.reporter.progress(task.label, 0) as bar:
                (outcome,) = self.engine.fetch([task], bar.add)
            if outcome.fetched is None:
                error = outcome.error
                assert error is not None
                if isinstance(error, (OriginError, IntegrityError)):  # no manifest names that URL
                    error = type(error)(error.message, mend=self._again())
                raise named(error, self.name, label)
            self.job.context.mirrors.count_origin(outcome.fetched.size, url)
            os.replace(partial, whole)
            return whole, outcome.fetched.size, outcome.fetched.digests
        size, digests = hash_file(whole, ("sha256", "md5"))
        if md5 not in (None, digests["md5"]):
            os.unlink(whole)
            return self._fetched(url, label, md5)
        return whole, size, digests

    def _again(self) -> str:
        return f"the script asks for that URL; when it is well again: assetmgr pull {self.name}"

    def _commented(self) -> dict[str, str]:
        """The md5s that the script's comments give; one that is said of two URLs is wrong for one of them."""
        with open(self.job.at(self.script), encoding="utf-8", errors="replace") as file:
            found = dict(_COMMENTED.findall(file.read(_LARGEST_SCRIPT)))
        said = list(found.values())
        return {url: md5 for url, md5 in found.items() if said.count(md5) == 1}

    # --- the verdict -----------------------------------------------------------------------------------------------

    def _judged(self, words: str) -> tuple[MadeFile, ...]:
        """The files that the script left, where they are all that it should have.

        Each folder that it asked LAVIS for must hold some, and of each folder of an archive all files must be there, or
        none, and not none of all its folders.
        """
        paths = dict(self._left())
        with self.job.context.reporter.progress(
            f"proving {self.name}", sum(map(os.path.getsize, paths.values()))
        ) as bar:
            made = [
                _made(path, at, *found)
                for (path, at), found in in_parallel(lambda item: hash_with_stamp(item[1], bar.add), paths.items())
            ]
        for folder in sorted(self.asked):
            below = os.path.relpath(folder, self.root).replace(os.sep, "/")
            if not any(file.path == below or file.path.startswith(f"{below}/") for file in made):
                raise self._fault(f"no file is in {below}, where it puts them", words)
        there = {file.sha256 for file in made}
        for archive in self.archives:
            lacking = partly_there(archive.members, there)
            if lacking:
                raise self._fault(f"of {safe_url(archive.url)} files are missing where it put them: {lacking}", words)
        if not made:
            raise self._fault("it put no file into LAVIS's cache root", words)
        return tuple(sorted(made, key=lambda file: file.path))

    def _fault(self, what: str, words: str) -> OriginError:
        return OriginError(
            f"{self.name}: {self.script.path}: {what}; its last words: {words}",
            mend=f"what it printed is in {os.path.join(self.job.folder, 'log.txt')}; to run it again: "
            f"assetmgr pull {self.name}",
        )

    def _left(self) -> Iterator[tuple[str, str]]:
        """Every file below the root by its path there, but what was only on its way."""
        for at, folders, names in os.walk(self.root):
            folders[:] = [each for each in folders if os.path.join(at, each) not in self.downloads]
            for name in names:
                path = os.path.join(at, name)
                if os.path.islink(path) or not os.path.isfile(path):
                    self.job.context.reporter.say(f"{self.name}: {path} is no plain file, and is left out")
                else:
                    yield os.path.relpath(path, self.root).replace(os.sep, "/"), path


def partly_there(members: tuple[ListedMember, ...], there: set[str]) -> str:
    """What of an archive is missing among contents that are there, or nothing.

    A script may leave whole folders of it behind, but not parts of one, and not all of them.
    """
    folders: dict[str, list[bool]] = {}
    for member in members:
        folders.setdefault(member.path.rpartition("/")[0], []).append(member.sha256 in there)
    if members and not any(any(found) for found in folders.values()):
        return f"all {len(members)}"
    for folder, found in folders.items():
        if any(found) and not all(found):
            return f"{found.count(False)} of the {len(found)} in {folder or 'its first folder'}"
    return ""


def hash_with_stamp(path: str, progress: Any) -> tuple[int, str, Stamp]:
    """The size and sha256 of a file, and its stamp as it was hashed."""
    status = os.stat(path)
    size, digests = hash_file(path, progress=progress)
    return size, digests["sha256"], Stamp.of(status)


def _made(path: str, at: str, size: int, sha256: str, stamp: Stamp) -> MadeFile:
    return MadeFile(path, size, sha256, at, stamp if stamp.size == size else None)
