"""Move a whole store to another folder: by a rename, or, to another file system, by a copy that is proved first.

A document says from where to where, from before the first change to after the last: in the old store, and in the new
one. Whatever interrupts a move, the same command goes on from there. A new root has no receipt before every byte in it
is proved, and an old one loses its documents before its first file: at no moment is there half a store that says that
it is whole.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal

import msgspec

from assetmgr.errors import AssetError, UsageError
from assetmgr.housekeeping.copying import (
    check_removable,
    check_room,
    copy_store,
    existing,
    files_of,
    remove_old,
    size_of,
)
from assetmgr.housekeeping.removing import refuse_damaged
from assetmgr.mutex import check_free, held
from assetmgr.owners import is_refusal, refused
from assetmgr.placing import link, make_folder, remove_file, write_document
from assetmgr.reporting import Reporter
from assetmgr.store import Store
from assetmgr.uses import check_movable
from assetmgr.view_records import all_views, write_view

Way = Literal["rename", "copy"]
Stage = Literal["begun", "copied", "renamed"]


class Step(Enum):
    """What is to be done next. ``FINISH`` is what is left when the new root has everything."""

    RENAME = "rename"
    COPY = "copy"
    FINISH = "finish"


class Marker(msgspec.Struct, frozen=True):
    """The document of a move that is under way. ``spelled`` are the names of the old root that links lead by."""

    old: str
    new: str
    stage: Stage = "begun"
    spelled: tuple[str, ...] = ()


class RootMove(msgspec.Struct, frozen=True):
    """What a move did, or would do.

    ``links`` counts links in folders outside the store, and absolute ones in it, that lead to the new root now.
    """

    old: str
    new: str
    way: Way
    files: int
    bytes: int
    links: int
    left: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Situation:
    """What a move finds. ``new`` is what stands at the new root; ``marked`` what a move to it says of itself."""

    old_is_store: bool
    old_is_link: bool
    is_inside: bool
    is_same: bool
    new: Literal["nothing", "empty", "folder", "file"]
    marked: Literal["", "begun", "copied", "renamed", "another"]
    on_one_disk: bool


def decide(found: Situation) -> Step | str:
    """What to do; or, in words, why nothing is done."""
    if found.is_same:
        return "that is where it is"
    if found.marked in ("copied", "renamed"):
        return Step.FINISH
    if found.old_is_link:
        return "the root is a link to another folder: name that folder with --root"
    if not found.old_is_store:
        return "there is no store to move"
    if found.is_inside:
        return "a store cannot be moved into itself"
    if found.marked == "begun":
        return Step.COPY
    if found.marked or found.new in ("folder", "file"):
        return "something else stands there"
    return Step.RENAME if found.on_one_disk else Step.COPY


def move(store: Store, new: str, reporter: Reporter, *, dry_run: bool) -> RootMove:
    """See `Workspace.move_root`."""
    new = os.path.abspath(os.path.expanduser(new))
    found, marker = _look(store.root, new)
    step = decide(found)
    if isinstance(step, str):
        mend = "name a folder that is empty or not there yet: assetmgr root move FOLDER"
        raise UsageError(f"{store.root} cannot be moved to {new}: {step}", mend=mend)
    if step is Step.FINISH:
        assert marker is not None
        return _finish(marker, dry_run=dry_run)
    if dry_run:
        return _foretell(store, new, step)
    with _quiet(store, reporter):
        if step is Step.RENAME and (done := _rename(store, new)) is not None:
            return done
        return _copy(store, new, reporter)


def _foretell(store: Store, new: str, step: Step) -> RootMove:
    refuse_damaged(store)
    for path in (store.mutex("housekeeping"), store.removing):
        check_free(path, f"moving {store.root}")
    _refuse_pulls(store)
    check_movable(store)
    if step is Step.COPY:
        check_removable(store.root)
        check_room(store, new)
    files, size = size_of(store.root)
    links = _repoint(store, _spelled(store), store.root, dry_run=True)
    return RootMove(store.root, new, "rename" if step is Step.RENAME else "copy", files, size, links)


# --- looks ------------------------------------------------------------------------------------------------------------


def _look(old: str, new: str) -> tuple[Situation, Marker | None]:
    real_old, real_new = os.path.realpath(old), os.path.realpath(new)
    marker = _read_marker(new)
    marked: Literal["", "begun", "copied", "renamed", "another"] = ""
    if marker is not None:
        marked = marker.stage if marker.old == old else "another"
    stands: Literal["nothing", "empty", "folder", "file"] = "nothing"
    if os.path.isdir(new):
        stands = "empty" if _is_bare(new) else "folder"
    elif os.path.lexists(new):
        stands = "file"
    situation = Situation(
        os.path.isdir(os.path.join(old, ".assetmgr")),
        os.path.islink(old),
        real_new.startswith(real_old.rstrip(os.sep) + os.sep),
        real_new == real_old,
        stands,
        marked,
        os.path.isdir(old)
        and os.stat(old).st_dev == os.stat(existing(new)).st_dev
        and not os.path.ismount(old)
        and not os.path.ismount(new),
    )
    return situation, marker


def _is_bare(folder: str) -> bool:
    """Whether there is nothing in a folder, but for what a move leaves that was killed before it wrote its document."""
    state = os.path.join(folder, ".assetmgr")
    begun = os.path.basename(_marker_path(folder))
    return set(os.listdir(folder)) <= {".assetmgr"} and all(
        at == state and begun in name for at, _, names in os.walk(state) for name in names
    )


def _marker_path(root: str) -> str:
    return os.path.join(root, ".assetmgr", "moving.json")


def _read_marker(root: str) -> Marker | None:
    with contextlib.suppress(OSError, msgspec.MsgspecError):
        return msgspec.json.decode(Path(_marker_path(root)).read_bytes(), type=Marker)
    return None


def _write_marker(root: str, marker: Marker) -> None:
    write_document(_marker_path(root), msgspec.json.encode(marker))


def _spelled(store: Store) -> tuple[str, ...]:
    """The names by which links in folders outside the store lead into its root: it may be reached by several."""
    real, found, seen = os.path.realpath(store.root), {store.root}, set[str]()
    for view in all_views(store):
        for own in view.files.values():
            folder = os.path.dirname(own.target)
            while folder and folder not in seen and folder != os.path.dirname(folder):
                seen.add(folder)
                if os.path.realpath(folder) == real:
                    found.add(folder)
                folder = os.path.dirname(folder)
    return tuple(sorted(found))


def _refuse_pulls(store: Store) -> None:
    """Raise the error of who changes the store. Who begins to later waits for the mover."""
    own = {"housekeeping.lock", store.removing.name}
    for path in sorted(Path(store.state, "mutex").glob("*.lock")):
        if path.name not in own:
            check_free(path, f"moving {store.root}")


@contextlib.contextmanager
def _quiet(store: Store, reporter: Reporter) -> Iterator[None]:
    """Let nobody pull into a store, or tidy it. Who begins to pull waits, and is told for whom."""
    purpose = "moving the store"
    refuse_damaged(store)
    with (
        held(store.mutex("housekeeping"), purpose, wait=0, say=reporter.say),
        held(store.removing, purpose, wait=0, say=reporter.say),
    ):
        _refuse_pulls(store)
        check_movable(store)
        yield


# --- by a rename ------------------------------------------------------------------------------------------------------


def _rename(store: Store, new: str) -> RootMove | None:
    """Rename the root; None where the system has no such thing between these two."""
    old = store.root
    files, size = size_of(old)
    make_folder(os.path.dirname(new))
    # It goes with the rename, and is the word then that there is something left to do.
    marker = Marker(old, new, "renamed", _spelled(store))
    _write_marker(old, marker)
    if os.path.isdir(new):
        shutil.rmtree(os.path.join(new, ".assetmgr"), ignore_errors=True)  # it was found bare
        os.rmdir(new)
    try:
        os.rename(old, new)
    except OSError as error:
        remove_file(_marker_path(old))
        if error.errno in (errno.EXDEV, errno.EBUSY):
            return None
        raise refused(error) if is_refusal(error) else AssetError(f"{old}: {error.strerror}") from None
    for note in Path(new, ".assetmgr", "mutex").glob("*.holder"):
        remove_file(os.fspath(note))
    return msgspec.structs.replace(_finish(marker, dry_run=False), files=files, bytes=size)


# --- by a copy --------------------------------------------------------------------------------------------------------


def _copy(store: Store, new: str, reporter: Reporter) -> RootMove:
    check_removable(store.root)
    check_room(store, new)
    files, size = size_of(store.root)
    copy_store(store, new, reporter, lambda: _write_marker(new, Marker(store.root, new)))
    check_movable(store)  # who has begun to use it meanwhile reads what is to go
    marker = Marker(store.root, new, "copied", _spelled(store))
    _write_marker(new, marker)
    return msgspec.structs.replace(_finish(marker, dry_run=False), files=files, bytes=size)


# --- the rest, when the new root has everything -----------------------------------------------------------------------


def _finish(marker: Marker, *, dry_run: bool) -> RootMove:
    """Let every link lead to the new root, and take away what is left of the old one."""
    old, new = marker.old, marker.new
    links = _repoint(Store(new), marker.spelled, new, dry_run=dry_run)
    left: tuple[str, ...] = ()
    if not dry_run:
        # What stands at the old root after a rename has come since.
        if marker.stage == "copied" and os.path.isdir(old):
            left = remove_old(old, new)
        remove_file(_marker_path(new))
    return RootMove(old, new, "copy" if marker.stage == "copied" else "rename", 0, 0, links, left)


def _led_to(shown: str, spelled: Iterable[str], new: str) -> str:
    """Where a link that led into the old root is to lead; empty for any other."""
    for root in spelled:
        begins = root.rstrip(os.sep) + os.sep
        if shown.startswith(begins):
            return os.path.join(new, shown[len(begins) :])
    return ""


def _repoint(store: Store, spelled: Iterable[str], new: str, *, dry_run: bool = False) -> int:
    """Let links that lead into the old root lead to the same name in the new one; return how many."""
    count = 0
    for view in all_views(store):
        files = dict(view.files)
        for name, own in view.files.items():
            if not (target := _led_to(own.target, spelled, new)):
                continue
            path = os.path.join(view.folder, *name.split("/"))
            if os.path.islink(path) and os.readlink(path) == own.target:
                count += 1
                if not dry_run:
                    link(target, path, "symlink")
            files[name] = msgspec.structs.replace(own, target=target)
        if files != view.files and not dry_run:
            write_view(store, msgspec.structs.replace(view, files=files))
    for path in files_of(store.root):
        if os.path.islink(path) and (target := _led_to(os.readlink(path), spelled, new)):
            count += 1
            if not dry_run:
                link(target, path, "symlink")
    return count
