"""Prepared weights: what `prepare:` asks for, as safetensors under the store's ``prepared/``.

A prepared file is tied to the sha256 of every file that it was made of and to how it was made: when one of these
changes it is another file. It is made by a child process, after a scan, appears whole or not at all, is made by one
process while others wait, and is proved by its stamp each time it is used. It can always be made again.

Of a model that transformers loads, it stands in a folder with links to all of the model's other files. Where the store
cannot be written by this user, it is kept in the user's own cache folder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import importlib.util
import json
import os
import secrets
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec

from assetmgr import errors
from assetmgr.digests import hash_file
from assetmgr.errors import AccessError, AssetError, DiskSpaceError, MissingExtraError
from assetmgr.lock import LockedFile
from assetmgr.models.weights.checkpoints import check_pickled
from assetmgr.models.weights.files import Located, is_weights, weight_files
from assetmgr.mutex import held
from assetmgr.origins.child import Child
from assetmgr.placing import link, make_folder, place, remove_file, write_document
from assetmgr.receipt import Stamp
from assetmgr.reporting import Reporter, Silent
from assetmgr.store import Layout, Store, user_cache
from assetmgr.verify import Installed

FORMAT = 1
FILE = "model.safetensors"
_MAKING = ".making"

_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
# What a conversion may take: a start, and so many bytes a second.
_PATIENCE, _RATE = 300.0, 2_000_000
# The child sees exactly this process's import path, and never the working folder. It ends when its parent does, also
# while it imports torch.
_START = """
import json, os, sys, threading
sys.path[:] = json.loads(sys.argv.pop())
job = json.loads(sys.stdin.buffer.readline())
threading.Thread(target=lambda: (sys.stdin.buffer.read(), os._exit(9)), daemon=True).start()
from assetmgr.models.weights import converting
converting.main(job)
"""
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT", "TEMP", "TMP", "USERPROFILE")
_SILENT = Silent()


class _Record(msgspec.Struct, frozen=True):
    """What is known of a prepared file: what it was made of, the proof of its bytes, and what it left out."""

    format: int
    key: str
    inputs: tuple[str, ...]
    sha256: str
    stamp: Stamp
    left_out: tuple[str, ...] = ()


class Prepared(NamedTuple):
    """Prepared weights, and the asset as who reads its folder finds it: with them in place of its own."""

    weights: Located
    asset: Installed


@dataclass(frozen=True, slots=True)
class _Recipe:
    """What is to be made of which files. ``others`` are shown beside it: of a whole folder, all that is not weights."""

    found: Installed
    files: tuple[Located, ...]
    dtype: str
    key: str | None
    others: tuple[LockedFile, ...]
    is_folder: bool

    @property
    def inputs(self) -> tuple[str, ...]:
        known = {file.path: file.sha256 or "" for file in self.found.files}
        return tuple(known[file.name] for file in self.files)

    @property
    def digest(self) -> str:
        others = [(file.path, file.sha256) for file in self.others]
        told = [FORMAT, self.dtype, self.key, self.is_folder, self.inputs, others]
        return hashlib.sha256(msgspec.json.encode(told)).hexdigest()

    @property
    def folder(self) -> str:
        """Where it goes, below a store's root."""
        return f"prepared/weights/{quote(self.found.name, safe='+')}/{self.digest[:16]}"


def has_torch() -> bool:
    """Whether what converts is installed. Nothing is imported for it."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "safetensors"))


def prepared(found: Installed, reporter: Reporter = _SILENT, *, wait: float = 3600.0) -> Prepared | None:
    """The prepared weights of an asset, made now where they are not there, or not what their record says.

    Returns
    -------
    Prepared | None
        None where nothing is asked for, or the asset's own weights are what is asked for.

    Raises
    ------
    IntegrityError
        When a file of weights is damaged, or more than tensors.
    MissingExtraError
        When torch is not installed.
    DiskSpaceError
        When there is no room for it.
    BusyError
        When another process makes it for longer than ``wait`` seconds.
    """
    recipe = _recipe(found)
    if recipe is None:
        return None
    stores = (found.store, Store(user_cache()))
    for one in stores:
        if _proved(one, recipe):
            return _result(one, recipe)
    if not has_torch():
        raise MissingExtraError(
            f"{found.name}: torch, which converts its weights, is not installed",
            mend="pip install 'assetmgr[transformers]'",
        )
    for file in recipe.files:
        if not file.is_safe:
            check_pickled(found.name, file.name, file.path)
    for one in stores:
        try:
            make_folder(one.at(recipe.folder))
            purpose = f"preparing the weights of {found.name}"
            with held(one.mutex(f"prepared-{recipe.digest}"), purpose, wait=wait, say=reporter.say):
                # Another process may have made it while this one waited.
                if not _proved(one, recipe):
                    _make(one, recipe, reporter)
            return _result(one, recipe)
        except OSError as error:
            if error.errno in _FULL:
                raise _full(recipe, one.at(recipe.folder)) from None
            if error.errno not in _DENIED and one is stores[0]:
                raise
            if one is stores[-1]:
                raise AccessError(
                    f"{found.name}: there is nowhere to keep its converted weights: not in {found.store.root}, which "
                    f"this user cannot write, and not in {one.root}: {error.strerror or error}",
                    mend=f"assetmgr pull {found.name}, by a user who may write {found.store.root}; or set HOME or "
                    "XDG_CACHE_HOME to a folder that can be written",
                ) from None
    raise AssertionError("the last store either serves or raises")


def _recipe(found: Installed) -> _Recipe | None:
    asked: Mapping[str, Any] = found.use.get("prepare") or {}
    if not asked:
        return None
    options: Mapping[str, Any] = found.use.get("load") or {}
    files = tuple(weight_files(found, options.get("weights")))
    dtype = asked.get("dtype", "auto")
    if dtype == "auto" and all(file.is_safe for file in files):
        return None
    is_folder = any(file.path == "config.json" for file in found.files)
    others = tuple(file for file in found.files if not is_weights(file.path)) if is_folder else ()
    return _Recipe(found, files, "" if dtype == "auto" else dtype, options.get("key"), others, is_folder)


def _result(store: Store, recipe: _Recipe) -> Prepared:
    folder = store.at(recipe.folder)
    record = _read(store, recipe)
    assert record is not None
    file = LockedFile(path=FILE, size=record.stamp.size, sha256=record.sha256)
    # Who loads a folder goes by the names of its files; where each lies is told by the folder.
    entry = msgspec.structs.replace(recipe.found.entry, files=(*recipe.others, file))
    return Prepared(
        Located(FILE, os.path.join(folder, FILE)), Installed(entry, folder, recipe.found.use, recipe.found.store)
    )


def _read(store: Store, recipe: _Recipe) -> _Record | None:
    with contextlib.suppress(OSError, msgspec.MsgspecError), open(store.at(f"{recipe.folder}.json"), "rb") as file:
        record = msgspec.json.decode(file.read(), type=_Record)
        if (record.format, record.key, record.inputs) == (FORMAT, recipe.digest, recipe.inputs):
            return record
    return None


def _proved(store: Store, recipe: _Recipe) -> bool:
    """Whether it is there, and is what its record says."""
    record, path = _read(store, recipe), store.at(f"{recipe.folder}/{FILE}")
    if record is None:
        return False
    try:
        status = os.stat(path)
        if not record.stamp.fits(status):
            # Copied, or altered: its bytes tell.
            if hash_file(path)[1]["sha256"] != record.sha256:
                return False
            with contextlib.suppress(OSError, DiskSpaceError):
                _write(store, recipe, msgspec.structs.replace(record, stamp=Stamp.of(status)))
        return all(os.path.samefile(source, shown) for source, shown in _links(store, recipe))
    except OSError:
        return False


def _links(store: Store, recipe: _Recipe) -> list[tuple[str, str]]:
    layout, own = Layout(recipe.found.entry), recipe.found.store
    return [(own.at(layout.name(file)), store.at(f"{recipe.folder}/{file.path}")) for file in recipe.others]


def _write(store: Store, recipe: _Recipe, record: _Record) -> None:
    write_document(store.at(f"{recipe.folder}.json"), msgspec.json.encode(record), sync=False)


def _make(store: Store, recipe: _Recipe, reporter: Reporter) -> None:
    """Convert, and show the other files beside it. Only for who holds its lock."""
    for source, shown in _links(store, recipe):
        make_folder(os.path.dirname(shown))
        link(os.path.realpath(source), shown, "symlink", relative=store.root == recipe.found.store.root)
    folder = store.at(recipe.folder)
    # A name of its own: the child of a process that was killed may live a moment longer, and never meets this one.
    target = os.path.join(folder, f"{FILE}.{secrets.token_hex(4)}{_MAKING}")
    size = sum(os.path.getsize(file.path) for file in recipe.files)
    name = recipe.found.name
    started = time.monotonic()
    try:
        for left in os.listdir(folder):  # by a process that was killed, perhaps another user's
            if left.endswith((_MAKING, f"{_MAKING}.log")):
                remove_file(os.path.join(folder, left))
        with open(target, "xb"):
            pass
        answer = _converted(recipe, target, size)
        sha256 = hash_file(target)[1]["sha256"]
        status = place(target, store.at(f"{recipe.folder}/{FILE}"))
        left_out = tuple(answer["left_out"])
        _write(store, recipe, _Record(FORMAT, recipe.digest, recipe.inputs, sha256, Stamp.of(status), left_out))
    finally:
        with contextlib.suppress(OSError):
            remove_file(target)
    without = f", without {', '.join(left_out[:6])}{', ...' if len(left_out) > 6 else ''}" if left_out else ""
    reporter.say(
        f"{name}: its weights are safetensors now, {size:,} bytes as {status.st_size:,}{without}; "
        f"{time.monotonic() - started:.1f} s"
    )


def _converted(recipe: _Recipe, target: str, size: int) -> dict[str, Any]:
    """Have the child do it; return its answer."""
    name = recipe.found.name
    job = {
        "asset": name,
        "files": [list(file) for file in recipe.files],
        "key": recipe.key,
        "dtype": recipe.dtype,
        "target": target,
        "aliases": not recipe.is_folder,
        "size": size,
    }
    environment = {key: value for key, value in os.environ.items() if key in _KEPT}
    paths = json.dumps([os.path.abspath(path) for path in sys.path])
    log = f"{target}.log"
    try:
        with Child(
            [sys.executable, "-c", _START, paths],
            folder=os.path.dirname(target),
            environment=environment,
            log=log,
            piped=True,
        ) as child:
            with contextlib.suppress(BrokenPipeError):
                child.input.write(json.dumps(job).encode() + b"\n")
                child.input.flush()
            done = child.is_done(_PATIENCE + size / _RATE)
            said = child.output.read() if done else b""
            words = child.last_words() if done else "it took too long"
    finally:
        remove_file(log)
    try:
        answer: dict[str, Any] = json.loads(said)
    except ValueError:
        raise AssetError(
            f"{name}: the process that converts its weights ended without an answer: {words}",
            mend=f"see that there is memory for twice its weights, then: assetmgr pull {name}",
        ) from None
    if "errno" in answer:
        raise OSError(answer["errno"], answer["message"])
    if "error" in answer:
        kind: type[AssetError] = getattr(errors, answer["error"], AssetError)
        raise kind(answer["message"], mend=answer["mend"])
    return answer


def _full(recipe: _Recipe, folder: str) -> DiskSpaceError:
    return DiskSpaceError(
        f"{recipe.found.name}: {folder}: no room while its weights were converted",
        mend="free some space and repeat it; nothing of it was kept",
    )


def prepare_after_pull(found: Sequence[Installed], reporter: Reporter, *, wait: float) -> list[AssetError]:
    """Prepare the weights of what was pulled; return what went wrong. Without torch it waits until they are loaded."""
    failed = []
    for one in found:
        try:
            prepared(one, reporter, wait=wait)
        except MissingExtraError:
            reporter.say(
                f"{one.name}: torch is not installed here; its weights are converted when they are first loaded, or "
                f"by: pip install 'assetmgr[transformers]' && assetmgr pull {one.name}"
            )
        except AssetError as error:
            failed.append(error)
        except OSError as error:
            failed.append(AssetError(f"{one.name}: its weights cannot be converted: {error}"))
    return failed
