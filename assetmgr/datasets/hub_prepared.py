"""Hub datasets, as the `datasets` library reads them: its Arrow files, kept under the store's ``prepared/``.

They are made once for each lock entry and configuration, by a child without a network, of files that were hashed just
before. What is kept is proved by its stamps each time it is opened, and can always be made again.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import importlib.metadata
import json
import mimetypes
import os
import shutil
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple, NoReturn
from urllib.parse import quote

import msgspec

from assetmgr.datasets.hub_object import check_library
from assetmgr.datasets.hub_table import HubTable
from assetmgr.datasets.hub_worker import RESULT
from assetmgr.datasets.keeping import kept
from assetmgr.digests import hash_file
from assetmgr.errors import AssetError, DiskSpaceError, IntegrityError, MissingExtraError, UsageError
from assetmgr.manifest_reader import nearest
from assetmgr.origins.child import Child
from assetmgr.placing import link, make_folder, place, remove_file, write_document
from assetmgr.receipt import Stamp
from assetmgr.reporting import Silent
from assetmgr.verify import Installed, prove_many

FORMAT = 1

# The child sees exactly the parent's import path, however that came about, and never the working folder.
_START = """
import json, sys
sys.path[:] = json.loads(sys.argv.pop())
from assetmgr.datasets import hub_worker
hub_worker.main()
"""
# What would lead the library elsewhere, or show somebody a token.
_LEFT_OUT = ("HF_", "HUGGING_FACE_", "HUGGINGFACE_", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")


class HubSplit(NamedTuple):
    """A split: its rows, and the paths of the data files that they were read from."""

    table: HubTable
    data_files: tuple[str, ...]


class _File(msgspec.Struct, frozen=True):
    name: str
    sha256: str
    stamp: Stamp


class _Split(msgspec.Struct, frozen=True):
    files: tuple[_File, ...]
    data_files: tuple[str, ...]


class _Record(msgspec.Struct, frozen=True):
    """What is known of what was made: the files of each split, and the proof of their bytes."""

    format: int
    folder: str
    splits: dict[str, _Split]


@dataclasses.dataclass(frozen=True, slots=True)
class _Reading:
    """What is to be read, and how: everything that decides about the outcome."""

    found: Installed
    config_name: str | None
    data_files: Any
    data_dir: str | None

    @property
    def key(self) -> str:
        library = importlib.metadata.version("datasets").partition(".")[0]
        how = [self.config_name, self.data_files, self.data_dir]
        told = [FORMAT, self.found.entry.digest(), self.found.folder, how, library]
        return hashlib.sha256(msgspec.json.encode(told)).hexdigest()


def hub_splits(found: Installed, config_name: str | None = None) -> dict[str, HubSplit]:
    """The splits of a hub dataset, by the library's names and in its order.

    Parameters
    ----------
    config_name
        The configuration; else the manifest's ``load: {config_name: ...}``, else the dataset's own default.

    Raises
    ------
    UsageError
        When the library finds no data that it reads, or there are several configurations and none is chosen.
    IntegrityError
        When a file is not what the lock says, or the library cannot read it.
    MissingExtraError
        When the library is not installed.
    """
    check_library(found.name, "reads the hub's datasets")
    load = found.use.get("load", {})
    data_files = load.get("data_files")
    reading = _Reading(found, config_name or load.get("config_name"), data_files, load.get("data_dir"))
    return kept(
        found.store,
        f"prepared/datasets/{quote(found.name, safe='+')}/{reading.key[:16]}",
        reading.key,
        f"preparing {found.name}",
        lambda path: _proved(path),
        lambda path: _made(path, reading),
    )


def _proved(path: str) -> dict[str, HubSplit] | None:
    """What stands at a path, where all of it is what its record says; None where it is to be made."""
    try:
        with open(f"{path}.json", "rb") as file:
            record = msgspec.json.decode(file.read(), type=_Record)
        if record.format != FORMAT:
            return None
        fresh = {}
        for split, held in record.splits.items():
            files = tuple(_restamped(os.path.join(path, one.name), one) for one in held.files)
            fresh[split] = _Split(files, held.data_files)
        if fresh != record.splits:
            with contextlib.suppress(OSError, DiskSpaceError):
                _write(path, _Record(FORMAT, record.folder, fresh))
        return {split: _opened(path, record.folder, held) for split, held in fresh.items()}
    except (OSError, ValueError, msgspec.MsgspecError):
        return None


def _restamped(path: str, file: _File) -> _File:
    """A file's record once it is proved: by its stamp, or, of one that was copied, by its bytes."""
    status = os.stat(path)
    if file.stamp.fits(status):
        return file
    if hash_file(path)[1]["sha256"] != file.sha256:
        raise ValueError(f"{path} is not what was made")
    return _File(file.name, file.sha256, Stamp.of(status))


def _opened(path: str, folder: str, split: _Split) -> HubSplit:
    return HubSplit(HubTable([os.path.join(path, file.name) for file in split.files], folder), split.data_files)


def _write(path: str, record: _Record) -> None:
    write_document(f"{path}.json", msgspec.json.encode(record), sync=False)


def _made(path: str, reading: _Reading) -> dict[str, HubSplit]:
    """Have the library read it, and keep what it made. Only for who holds its lock."""
    found, work = reading.found, f"{path}.making"
    shutil.rmtree(work, ignore_errors=True)  # of a process that was killed
    remove_file(f"{path}.json")
    done = False
    try:
        make_folder(work)
        make_folder(path)
        _prove(found)
        folder = _folder(path, found)
        outcome = _asked(folder, work, reading)
        splits = {}
        for split, told in outcome["splits"].items():
            files = []
            for number, file in enumerate(told["files"]):
                name = f"{split}-{number:05d}.arrow"
                sha256 = hash_file(file)[1]["sha256"]
                files.append(_File(name, sha256, Stamp.of(place(file, os.path.join(path, name)))))
            splits[split] = _Split(tuple(files), tuple(name for name in told["data_files"] if not _is_medium(name)))
        record = _Record(FORMAT, folder, splits)
        opened = {split: _opened(path, folder, held) for split, held in splits.items()}
        _write(path, record)
        done = True
        return opened
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(found.name, path) from None
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
        if not done:
            shutil.rmtree(path, ignore_errors=True)


def _is_medium(name: str) -> bool:
    """Whether a file is an image, a sound or a film: a table has its path and not its bytes."""
    return (mimetypes.guess_type(name)[0] or "").startswith(("image/", "audio/", "video/"))


def _prove(found: Installed) -> None:
    """Hash what goes into the tables: what is damaged now would stay in them when it is long repaired."""
    read = [
        (file, os.path.join(found.folder, *file.path.split("/"))) for file in found.files if not _is_medium(file.path)
    ]
    for path, result in prove_many(read, f"proving {found.name}", Silent()).items():
        if not isinstance(result, Stamp):
            raise IntegrityError(
                f"{found.name}: {path}: {result[0]}: {result[1]}", mend=f"assetmgr verify {found.name} --full --repair"
            )


def _folder(path: str, found: Installed) -> str:
    """A folder with the entry's files alone: the snapshot, or, where others put more into it, one of links."""
    known = {file.path for file in found.files}
    there = {
        os.path.relpath(os.path.join(at, name), found.folder).replace(os.sep, "/")
        for at, _, names in os.walk(found.folder)
        for name in names
    }
    if there <= known:
        return found.folder
    folder = os.path.join(path, "files")
    for name in known:
        shown = os.path.join(folder, *name.split("/"))
        make_folder(os.path.dirname(shown))
        link(os.path.join(found.folder, *name.split("/")), shown, "symlink")
    return folder


def _asked(folder: str, work: str, reading: _Reading) -> dict[str, Any]:
    """The child's outcome, or its failure as an error."""
    job = {
        "folder": folder,
        "work": work,
        "config_name": reading.config_name,
        "data_files": reading.data_files,
        "data_dir": reading.data_dir,
    }
    paths = [os.path.abspath(entry) for entry in sys.path]
    command = [sys.executable, "-c", _START, json.dumps(paths)]
    with Child(command, folder=work, environment=_environment(work), log=os.path.join(work, "log")) as child:
        with contextlib.suppress(BrokenPipeError):
            child.input.write(json.dumps(job).encode() + b"\n")
            child.input.flush()
        while not child.is_done(0.05):
            pass
        try:
            with open(os.path.join(work, RESULT), "rb") as file:
                outcome: dict[str, Any] = json.loads(file.read())
        except (OSError, ValueError):
            raise AssetError(
                f"{reading.found.name}: the process that reads it by the datasets library ended with code "
                f"{child.process.returncode}: {child.last_words()}",
                mend="python -m pip check; see whether memory or disk ran out",
            ) from None
    if "configs" in outcome:
        _refuse_config(reading, outcome["configs"])
    if "error" in outcome:
        _refuse(reading, **outcome["error"])
    return outcome


def _environment(work: str) -> dict[str, str]:
    """The library keeps all it writes in the work folder, asks nobody, and imports no framework."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_LEFT_OUT)}
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"), "1")
    without = dict.fromkeys(("USE_TORCH", "USE_TF", "USE_JAX"), "0")
    return {**kept, **offline, **without, "HF_HOME": os.path.join(work, "home"), "TMPDIR": work}


def _refuse_config(reading: _Reading, known: Sequence[str]) -> NoReturn:
    name, chosen = reading.found.name, reading.config_name
    what = f"has no configuration {chosen!r}" if chosen else f"has {len(known)} configurations, and none is chosen"
    raise UsageError(
        f"{name} {what}{nearest(chosen or '', known)}",
        mend=f"load_dataset({name!r}, config_name={known[0]!r}), or `load: {{config_name: {known[0]}}}` of {name} in "
        "the manifest",
    )


def _refuse(reading: _Reading, kind: str, type: str, words: str) -> NoReturn:
    name = reading.found.name
    if kind == "disk":
        raise _full(name, words)
    if kind == "library":
        raise MissingExtraError(
            f"{name}: the datasets library lacks a library to read it with: {words}",
            mend="install what it names beside assetmgr",
        )
    if kind == "network":
        raise UsageError(
            f"{name}: its data are not all in the repo: the datasets library asks for the network ({words})",
            mend=f"name the files that are there: `load: {{data_files: ...}}` of {name} in the manifest",
        )
    scripts = [file.path for file in reading.found.files if file.path.endswith(".py")]
    if kind == "no data" and scripts:
        raise UsageError(
            f"{name}: its data come from a script, {scripts[0]}, and scripts of datasets are not run",
            mend=f"take the hub's own conversion: `revision: refs/convert/parquet` of {name} in the manifest",
        )
    if kind == "no data":
        raise UsageError(
            f"{name}: the datasets library finds no data that it reads: {words}",
            mend=f"let the patterns of {name} in the manifest include its data, name them by "
            "`load: {data_files: ...}`, or say `splits:` and `samples:`",
        )
    raise IntegrityError(
        f"{name}: the datasets library cannot read it: {type}: {words}",
        mend=f"assetmgr verify {name} --full --repair; if the files are whole, choose others by "
        f"`load: {{data_files: ...}}` of {name} in the manifest",
    )


def _full(name: str, where: str) -> DiskSpaceError:
    return DiskSpaceError(
        f"{name}: {where}: no room while its tables were prepared",
        mend="free some space and repeat it; nothing of it was kept",
    )
