"""A `local_dir`: a folder outside the store that shows an asset as symlinks, hard links or copies.

What assetmgr put into a folder is recorded in the store, a document a folder, since ownership is a question about
the folder, whichever asset or revision filled it. A file that is not recorded, or no longer what was recorded, is
somebody's own: it is never changed and never removed.
"""

from __future__ import annotations

import contextlib
import os
import stat as stat_module
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from assetmgr.digests import hash_file
from assetmgr.errors import IntegrityError, UsageError
from assetmgr.lock import LockedAsset
from assetmgr.mutex import held
from assetmgr.placing import (
    LinkStyle,
    link,
    remove_empty_folders,
    remove_file,
    sweep_temporary,
)
from assetmgr.reporting import Reporter
from assetmgr.store import Layout, Store
from assetmgr.view_records import Shown, View, guard, read_view, write_view


class Found(NamedTuple):
    """What stands at a name now: a link's target, or a file's stamp."""

    target: str
    size: int = 0
    mtime_ns: int = 0
    inode: int = 0


class Wanted(NamedTuple):
    """What should stand at a name."""

    target: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Changes:
    """What to do in a folder, by name."""

    put: tuple[str, ...]
    remove: tuple[str, ...]
    """Names that an older revision left, as it was put there."""
    foreign: tuple[str, ...]
    """Wanted names at which somebody's own file stands: fine where the bytes are equal, else an error."""
    join: tuple[str, ...] = ()
    """Wanted names at which another asset shows the same bytes already."""
    adopt: tuple[str, ...] = ()
    """Wanted names at which the very link stands already, and the record does not know it."""
    left: tuple[str, ...] = ()
    """Names that an older revision put and somebody changed since: they stay."""

    def __bool__(self) -> bool:
        return bool(self.put or self.remove or self.foreign or self.join or self.adopt)


def decide(
    wanted: Mapping[str, Wanted],
    style: LinkStyle,
    asset: str,
    record: Mapping[str, Shown],
    found: Mapping[str, Found],
    yielding: Collection[str] = (),
) -> Changes:
    """Decide without I/O what to change. ``found`` names what exists among the wanted and the recorded names.

    ``yielding`` are assets that nobody wants in the folder any more: what they show gives way.
    """
    put, foreign, join, adopt = [], [], [], []
    for name, want in wanted.items():
        seen, own = found.get(name), record.get(name)
        if seen is None:
            put.append(name)
        elif own is not None and is_own(own, seen):
            others = own.owners - {asset} - set(yielding)
            if others and own.sha256 != want.sha256:
                foreign.append(name)
            elif others:
                if asset not in own.owners:
                    join.append(name)
            elif own.sha256 != want.sha256 or own.asked != style or own.target not in ("", want.target):
                put.append(name)
            elif asset not in own.owners:
                join.append(name)
        elif seen.target and seen.target == want.target:
            adopt.append(name)
        else:
            foreign.append(name)
    remove, left = leave(asset, {name: own for name, own in record.items() if name not in wanted}, found)
    return Changes(tuple(put), remove, tuple(foreign), tuple(join), tuple(adopt), left)


def leave(
    asset: str, record: Mapping[str, Shown], found: Mapping[str, Found]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Decide what goes of what an asset alone has put under names that it wants no more, and what stays: changed."""
    alone = [name for name, own in record.items() if own.owners == {asset} and name in found]
    remove = tuple(name for name in alone if is_own(record[name], found[name]))
    left = tuple(name for name in alone if not is_own(record[name], found[name]))
    return remove, left


def is_own(own: Shown, seen: Found) -> bool:
    """Whether what stands there is what was recorded."""
    if own.style == "symlink":
        return seen.target == own.target
    return not seen.target and (seen.size, seen.mtime_ns, seen.inode) == (own.size, own.mtime_ns, own.inode)


def wanted_files(store: Store, entry: LockedAsset) -> dict[str, Wanted]:
    """What a folder should show: each file at its path, and in place of an archive its members.

    Raises
    ------
    UsageError
        When two files of the asset would have one name there.
    """
    layout, contents = Layout(entry), store.contents(entry)
    archives = {id(each.archive) for each in contents.unpacked}
    wanted: dict[str, Wanted] = {}
    for file in contents.files:
        if id(file) in archives:
            continue
        name = file.path
        if file.place.startswith("files/"):
            name = f"{file.place[len('files/') :]}/{name}"
        want = Wanted(store.at(layout.name(file)), file.sha256 or "", file.size)
        if wanted.setdefault(name, want).sha256 != want.sha256:
            raise UsageError(
                f"{entry.name}: two files of it would be {name} in its local_dir: {wanted[name].target}, {want.target}",
                mend="extract one of them into a folder of its own, or leave local_dir out",
            )
    return wanted


def look(folder: str, names: Mapping[str, object]) -> dict[str, Found]:
    """What stands at the given names of a folder. What lies behind a link out of the folder is not in it."""
    found = {}
    root = os.path.realpath(folder)
    inside: dict[str, bool] = {}
    for name in names:
        path = os.path.join(folder, *name.split("/"))
        try:
            status = os.lstat(path)
        except OSError:
            continue
        parent = os.path.dirname(path)
        if parent not in inside:
            inside[parent] = _within(os.path.realpath(parent), root)
        if not inside[parent]:
            continue
        if stat_module.S_ISLNK(status.st_mode):
            found[name] = Found(os.readlink(path))
        else:
            found[name] = Found("", status.st_size, status.st_mtime_ns, status.st_ino)
    return found


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)


def changes_of(
    store: Store, entry: LockedAsset, folder: str, style: LinkStyle, yielding: Collection[str] = ()
) -> Changes:
    """What showing an asset would change in a folder, by a look at names and stamps."""
    wanted, record = wanted_files(store, entry), read_view(store, folder).files
    return decide(wanted, style, entry.name, record, look(folder, {**wanted, **record}), yielding)


def copy_bytes(store: Store, entry: LockedAsset, folder: str, style: LinkStyle, yielding: Collection[str] = ()) -> int:
    """Bytes that showing an asset will take: copies that are not there yet."""
    if style != "copy":
        return 0
    sizes = {name: want.size for name, want in wanted_files(store, entry).items()}
    return sum(sizes[name] for name in changes_of(store, entry, folder, style, yielding).put)


def is_shown(
    store: Store,
    entry: LockedAsset,
    folder: str,
    style: LinkStyle,
    by: str | None = None,
    yielding: Collection[str] = (),
) -> bool:
    """Whether a folder shows an asset as it should, and for whom, by a look at names and stamps."""
    view = read_view(store, folder)
    return not (
        changes_of(store, entry, folder, style, yielding) or view.intent or view.asked_by(entry.name, by) != view
    )


def problems(store: Store, entry: LockedAsset, folder: str, *, full: bool = False) -> list[tuple[str, str]]:
    """What is wrong with a folder that an asset was shown in: (name, what); ``full`` hashes its copies.

    A folder that is not there at all shows nothing and lacks nothing: it was removed, or the store came from another
    machine.
    """
    if not os.path.isdir(folder):
        return []
    view, wanted = read_view(store, folder), wanted_files(store, entry)
    record = {name: own for name, own in view.files.items() if entry.name in own.owners}
    found = look(folder, {**record, **wanted})
    wrong = []
    for name, own in record.items():
        if name not in wanted or wanted[name].sha256 != own.sha256:
            continue  # the folder shows another revision of the asset by now, or does not show this one yet
        if name not in found:
            wrong.append((name, "missing"))
        elif not is_own(own, found[name]):
            wrong.append((name, "altered"))
        elif full and own.style == "copy" and not _holds(folder, name, wanted[name]):
            wrong.append((name, f"altered: expected sha256 {own.sha256}"))
    told = {name for name, _ in wrong}
    for name, seen in found.items():
        # Whatever the record says of it: a link into the store that leads nowhere is no good to any revision.
        if name not in told and _within(seen.target, store.root) and not os.path.exists(seen.target):
            wrong.append((name, "broken link"))
            told.add(name)
    for name, sha256 in view.intent.items():
        put = name in record and record[name].sha256 == sha256
        if name not in told and not put and name in wanted and wanted[name].sha256 == sha256:
            wrong.append((name, "not shown: the run that was to put it did not end"))
    return wrong


def check_folder(store: Store, entry: LockedAsset, folder: str) -> None:
    """Refuse a folder that is none, or cannot be one: in the store, or where somebody's file stands.

    Raises
    ------
    UsageError
        Says what is in the way.
    """
    if _within(os.path.realpath(folder), os.path.realpath(store.root)):
        raise UsageError(
            f"{entry.name}: local_dir {folder} lies inside the store {store.root}", mend="choose a folder outside"
        )
    for path in (folder, *map(str, Path(folder).parents)):
        if os.path.isdir(path):
            return
        if os.path.lexists(path):
            what = "a link that leads nowhere" if os.path.islink(path) else "no folder"
            raise UsageError(
                f"{entry.name}: local_dir {folder}: {path} is {what}",
                mend="move that away, or choose another local_dir",
            )


def show(
    store: Store,
    entry: LockedAsset,
    folder: str,
    style: LinkStyle,
    reporter: Reporter,
    *,
    wait: float = 3600.0,
    by: str | None = None,
    yielding: Collection[str] = (),
) -> None:
    """Make a folder show an asset, whole and proved in the store, and take away what an older revision left.

    ``by`` is the manifest that wants it, or ``""`` where a command line does; None asks for nobody new.
    ``yielding`` are assets that nobody wants in the folder any more.

    Raises
    ------
    IntegrityError
        When somebody's own file, or another asset's, stands at a wanted name with other bytes. Nothing is changed then.
    """
    check_folder(store, entry, folder)
    inside = os.path.realpath(folder)
    with held(
        guard(store, folder),
        f"showing {entry.name} in {folder}",
        wait=wait,
        say=reporter.say,
    ):
        before = read_view(store, folder)
        view = with_interrupted(store, entry.name, folder, style, before).asked_by(entry.name, by)
        wanted = wanted_files(store, entry)
        found = look(folder, {**wanted, **view.files})
        changes = decide(wanted, style, entry.name, view.files, found, yielding)
        _refuse_foreign(entry, folder, wanted, changes, view.files, found)
        for name in changes.put:
            _check_inside(entry, folder, inside, name)
        files = dict(view.files)
        fallen: LinkStyle = style
        if changes.put:
            intent = {name: wanted[name].sha256 for name in changes.put}
            write_view(store, View(folder, files, intent, view.asked))
        try:
            for name in changes.join:
                files[name] = files[name].owned_by(files[name].owners | {entry.name}) or files[name]
            for name in changes.adopt:
                files[name] = Shown(entry.name, wanted[name].sha256, style, "symlink", wanted[name].target)
            for name in changes.remove:
                path = os.path.join(folder, *name.split("/"))
                remove_file(path)
                del files[name]
                remove_empty_folders(os.path.dirname(path), folder)
            for name in changes.put:
                want = wanted[name]
                path = os.path.join(folder, *name.split("/"))
                got = link(want.target, path, style)
                fallen = got if got != style else fallen
                status = os.lstat(path)
                files[name] = (
                    Shown(entry.name, want.sha256, style, got, want.target)
                    if got == "symlink"
                    else Shown(
                        entry.name,
                        want.sha256,
                        style,
                        got,
                        "",
                        status.st_size,
                        status.st_mtime_ns,
                        status.st_ino,
                    )
                )
            for name, own in view.files.items():
                if entry.name in own.owners and name not in wanted and name in files:
                    left = own.owned_by(own.owners - {entry.name})
                    files.pop(name)
                    if left is not None:
                        files[name] = left
        finally:
            if files != before.files or changes.put or view.intent or view.asked != before.asked:
                write_view(store, View(folder, files, {}, view.asked))
        if changes.left:
            names = ", ".join(changes.left[:5]) + (f", ... ({len(changes.left)} in all)" if changes.left[5:] else "")
            reporter.say(f"{entry.name}: {folder}: changed since it was put there, and left alone: {names}")
        if fallen != style:
            reporter.say(f"{entry.name}: {folder}: a {style} is refused here; used a {fallen} instead")


def _holds(folder: str, name: str, want: Wanted) -> bool:
    """Whether the wanted bytes stand at a name."""
    path = os.path.join(folder, *name.split("/"))
    with contextlib.suppress(OSError):
        return os.path.getsize(path) == want.size and hash_file(path)[1]["sha256"] == want.sha256
    return False


def with_interrupted(store: Store, asset: str, folder: str, style: LinkStyle, view: View) -> View:
    """Add to the record what an interrupted run has put, and remove what it was in the middle of."""
    files = dict(view.files)
    for name in {os.path.dirname(os.path.join(folder, *name.split("/"))) for name in view.intent}:
        sweep_temporary(name)
    for name, seen in look(folder, view.intent).items():
        sha256, own = view.intent[name], files.get(name)
        if own is not None and is_own(own, seen):
            continue  # the run did not come to it
        if seen.target:
            is_ours = _within(seen.target, store.root)
            shown = Shown(asset, sha256, style, "symlink", seen.target)
        else:
            is_ours = _holds(folder, name, Wanted("", sha256, seen.size))
            shown = Shown(asset, sha256, style, "copy", "", seen.size, seen.mtime_ns, seen.inode)
        if is_ours:
            files[name] = (shown.owned_by(own.owners) if own is not None else None) or shown
    return View(folder, files, view.intent, view.asked)


def _refuse_foreign(
    entry: LockedAsset,
    folder: str,
    wanted: Mapping[str, Wanted],
    changes: Changes,
    record: Mapping[str, Shown],
    found: Mapping[str, Found],
) -> None:
    differing = []
    for name in changes.foreign:
        if not _holds(folder, name, wanted[name]):
            differing.append(name)
    if differing:
        sample = ", ".join(differing[:5]) + (f", ... ({len(differing)} in all)" if len(differing) > 5 else "")
        if all(name in record and is_own(record[name], found[name]) for name in differing):
            others = sorted({owner for name in differing for owner in record[name].owners} - {entry.name})
            raise IntegrityError(
                f"{entry.name}: {folder} shows {' and '.join(others)}, with other bytes at the same names: {sample}",
                mend="give each a local_dir of its own; where only one is wanted there by now: assetmgr sync, "
                "or move these files away",
            )
        raise IntegrityError(
            f"{entry.name}: {folder} holds files that assetmgr did not put there, or that were changed since: {sample}",
            mend="move them away, then: assetmgr pull " + entry.name,
        )


def _check_inside(entry: LockedAsset, folder: str, inside: str, name: str) -> None:
    """A folder that is really a link out of the local_dir, or somebody's file, must not be written through."""
    parent = folder
    for part in name.split("/")[:-1]:
        parent = os.path.join(parent, part)
        if os.path.lexists(parent) and not os.path.isdir(parent):
            raise IntegrityError(
                f"{entry.name}: {parent} is a file that assetmgr did not put there, and {name} needs a folder",
                mend=f"move it away, then: assetmgr pull {entry.name}",
            )
    real = os.path.realpath(parent)
    if not _within(real, inside):
        raise IntegrityError(
            f"{entry.name}: {folder}: {name} would be written to {real}, outside of it", mend="remove that link"
        )
