"""Bytes come to a name whole or not at all, never through a link, as readable as their folder, and leave no litter."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from assetmgr.errors import AssetError, DiskSpaceError
from assetmgr.lock import LockedAsset, LockedFile
from assetmgr.placing import (
    LinkStyle,
    link,
    make_folder,
    place,
    remove_empty_folders,
    remove_file,
    sweep_unwritten,
    write_document,
)
from assetmgr.receipt import Receipt, receipt_name
from assetmgr.store import Store
from tests.support import Project, files_below

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")


@contextmanager
def umask(mask: int) -> Iterator[None]:
    previous = os.umask(mask)
    try:
        yield
    finally:
        os.umask(previous)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file of somebody's, to which hostile links lead."""
    path = tmp_path / "victim"
    path.write_bytes(b"precious")
    path.chmod(0o640)
    return path


def assert_untouched(victim: Path) -> None:
    assert victim.read_bytes() == b"precious"
    assert mode(victim) == 0o640


# --- documents ----------------------------------------------------------------------------------------------------


def test_a_document_is_written_replaced_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "deep" / "document"
    for text in (b"one", b"", b"three"):
        write_document(path, text)
        assert path.read_bytes() == text
        assert os.listdir(path.parent) == ["document"]


def test_a_link_planted_at_a_documents_name_is_replaced(tmp_path: Path, victim: Path) -> None:
    path = tmp_path / "folder" / "document"
    path.parent.mkdir()
    for target in (victim, tmp_path / "nowhere"):
        path.unlink(missing_ok=True)
        path.symlink_to(target)
        write_document(path, b"mine")
        assert not path.is_symlink()
        assert path.read_bytes() == b"mine"
    assert_untouched(victim)
    assert not (tmp_path / "nowhere").exists()


def test_another_name_of_a_documents_file_keeps_the_old_bytes(tmp_path: Path, victim: Path) -> None:
    os.link(victim, tmp_path / "document")
    write_document(tmp_path / "document", b"mine")
    assert_untouched(victim)


def refused(code: int) -> Callable[..., Any]:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("step", ["replace", "fsync", "chmod"])
def test_a_failure_keeps_the_old_document_and_no_half_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "folder" / "document"
    write_document(path, b"old")
    for code, kind in ((errno.EIO, OSError), (errno.ENOSPC, DiskSpaceError), (errno.EDQUOT, DiskSpaceError)):
        with monkeypatch.context() as patched:
            patched.setattr(os, step, refused(code))
            with pytest.raises(kind):
                write_document(path, b"new")
        assert path.read_bytes() == b"old"
        assert os.listdir(path.parent) == ["document"]


def test_an_interrupt_while_writing_leaves_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write_document(tmp_path / "folder" / "document", b"new")
    assert os.listdir(tmp_path / "folder") == []


# --- permissions --------------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o007])
@pytest.mark.parametrize(
    ("folder", "document", "placed"),
    [
        (0o700, 0o600, 0o400),
        (0o755, 0o644, 0o444),
        (0o750, 0o640, 0o440),
        (0o2770, 0o660, 0o440),
        (0o2775, 0o664, 0o444),
        (0o777, 0o664, 0o444),
    ],
    ids=lambda value: f"{value:o}",
)
def test_files_are_as_readable_as_their_folder_whatever_the_umask(
    tmp_path: Path, mask: int, folder: int, document: int, placed: int
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(folder)
    with umask(mask):
        write_document(home / "document", b"x")
        (tmp_path / "staged").write_bytes(b"x")
        place(str(tmp_path / "staged"), str(home / "placed"))
    assert (f"{mode(home / 'document'):o}", f"{mode(home / 'placed'):o}") == (f"{document:o}", f"{placed:o}")


@posix
@pytest.mark.parametrize(
    ("root", "made"),
    [(0o2770, 0o2770), (0o2775, 0o2775), (0o2750, 0o2750), (0o755, 0o700), (0o770, 0o700)],
    ids=lambda value: f"{value:o}",
)
def test_a_setgid_root_gives_its_openness_to_every_folder_below(tmp_path: Path, root: int, made: int) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root").chmod(root)
    with umask(0o077):
        make_folder(tmp_path / "root" / "a" / "b" / "c")
    for folder in ("a", "a/b", "a/b/c"):
        assert f"{mode(tmp_path / 'root' / folder):o}" == f"{made:o}"


@posix
def test_a_copy_in_place_of_a_refused_link_is_as_readable_as_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "target").write_bytes(b"x")
    (tmp_path / "root").mkdir()
    (tmp_path / "root").chmod(0o2770)
    monkeypatch.setattr(os, "symlink", refused(errno.EPERM))
    monkeypatch.setattr(os, "link", refused(errno.EPERM))
    with umask(0o077):
        assert link(str(tmp_path / "target"), str(tmp_path / "root" / "name"), "symlink") == "copy"
    assert mode(tmp_path / "root" / "name") & 0o040, "the group reads the folder, and may read the file"


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a").chmod(0o711)
    make_folder(tmp_path / "a")
    make_folder(tmp_path / "a")
    assert mode(tmp_path / "a") == 0o711


# --- placing ------------------------------------------------------------------------------------------------------


def test_a_placed_file_is_moved_and_read_only_and_its_status_is_told(tmp_path: Path) -> None:
    (tmp_path / "staged").write_bytes(b"bytes")
    inode = (tmp_path / "staged").stat().st_ino
    final = tmp_path / "new" / "final"
    status = place(str(tmp_path / "staged"), str(final))
    assert final.read_bytes() == b"bytes"
    assert (status.st_ino, status.st_size) == (inode, 5)
    assert not mode(final) & 0o222
    assert files_below(tmp_path) == {"new/final"}


def test_a_link_planted_at_the_final_name_is_replaced(tmp_path: Path, victim: Path) -> None:
    final = tmp_path / "final"
    final.symlink_to(victim)
    (tmp_path / "staged").write_bytes(b"mine")
    place(str(tmp_path / "staged"), str(final))
    assert not final.is_symlink()
    assert final.read_bytes() == b"mine"
    assert_untouched(victim)


def test_a_link_planted_at_the_staged_name_is_not_placed(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "staged").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"):
        place(str(tmp_path / "staged"), str(tmp_path / "final"))
    assert not (tmp_path / "final").exists()
    assert_untouched(victim)


def test_a_read_only_file_is_replaced(tmp_path: Path) -> None:
    for text in (b"one", b"two"):
        (tmp_path / "staged").write_bytes(text)
        place(str(tmp_path / "staged"), str(tmp_path / "final"))
        assert (tmp_path / "final").read_bytes() == text


def test_a_folder_at_the_final_name_is_an_error_and_stays(tmp_path: Path) -> None:
    (tmp_path / "final" / "mine").mkdir(parents=True)
    (tmp_path / "staged").write_bytes(b"x")
    with pytest.raises(IsADirectoryError) as caught:
        place(str(tmp_path / "staged"), str(tmp_path / "final"))
    assert caught.value.filename == str(tmp_path / "final")
    assert (tmp_path / "final" / "mine").is_dir()


# --- links --------------------------------------------------------------------------------------------------------

STYLES: list[LinkStyle] = ["symlink", "hardlink", "copy"]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "store" / "target"
    path.parent.mkdir()
    path.write_bytes(b"shared")
    path.chmod(0o444)
    return path


def style_of(name: Path, target: Path) -> LinkStyle:
    if name.is_symlink():
        return "symlink"
    return "hardlink" if name.samefile(target) else "copy"


@pytest.mark.parametrize("before", ["nothing", *STYLES, "planted"])
@pytest.mark.parametrize("style", STYLES)
def test_a_link_has_its_style_whatever_stood_there(
    tmp_path: Path, target: Path, victim: Path, style: LinkStyle, before: str
) -> None:
    name = tmp_path / "view" / "deep" / "name"
    if before == "planted":
        name.parent.mkdir(parents=True)
        name.symlink_to(victim)
    elif before != "nothing":
        link(str(target), str(name), before)  # type: ignore[arg-type]
    assert link(str(target), str(name), style) == style
    assert style_of(name, target) == style
    assert name.read_bytes() == b"shared"
    assert os.listdir(name.parent) == ["name"]
    assert_untouched(victim)


def test_a_copy_may_be_edited_and_the_store_is_not_changed_by_it(tmp_path: Path, target: Path) -> None:
    link(str(target), str(tmp_path / "name"), "copy")
    assert mode(tmp_path / "name") & 0o200
    (tmp_path / "name").write_bytes(b"edited")
    assert target.read_bytes() == b"shared"


def test_a_relative_link_survives_a_move_of_the_tree(tmp_path: Path) -> None:
    (tmp_path / "tree" / "blobs").mkdir(parents=True)
    (tmp_path / "tree" / "blobs" / "b").write_bytes(b"x")
    name = tmp_path / "tree" / "snapshots" / "c" / "sub" / "name"
    link(str(tmp_path / "tree" / "blobs" / "b"), str(name), "symlink", relative=True)
    assert os.readlink(name) == "../../../blobs/b"
    shutil.move(tmp_path / "tree", tmp_path / "moved")
    assert (tmp_path / "moved" / "snapshots" / "c" / "sub" / "name").read_bytes() == b"x"


def windows_refusal(*_: object, **__: object) -> None:
    error = OSError(errno.EINVAL, "A required privilege is not held by the client")
    error.winerror = 1314  # type: ignore[attr-defined]
    raise error


REFUSALS = {name: refused(getattr(errno, name)) for name in ("EPERM", "EACCES", "ENOTSUP", "EXDEV", "EMLINK", "ENOSYS")}
REFUSALS["winerror 1314"] = windows_refusal


@pytest.mark.parametrize("refusal", REFUSALS)
@pytest.mark.parametrize(
    ("style", "refuses", "got"),
    [
        ("symlink", ["symlink"], "hardlink"),
        ("symlink", ["symlink", "link"], "copy"),
        ("symlink", ["link"], "symlink"),
        ("hardlink", ["link"], "copy"),
        ("hardlink", ["symlink"], "hardlink"),
        ("copy", ["symlink", "link"], "copy"),
    ],
)
def test_where_the_platform_refuses_a_link_the_next_best_is_used(
    tmp_path: Path,
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    refusal: str,
    style: LinkStyle,
    refuses: list[str],
    got: LinkStyle,
) -> None:
    for function in refuses:
        monkeypatch.setattr(os, function, REFUSALS[refusal])
    name = tmp_path / "view" / "name"
    assert link(str(target), str(name), style) == got
    assert style_of(name, target) == got
    assert name.read_bytes() == b"shared"
    assert os.listdir(name.parent) == ["name"]


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_what_is_no_refusal_is_raised_and_leaves_no_litter(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch, style: LinkStyle, code: int
) -> None:
    monkeypatch.setattr(os, {"symlink": "symlink", "hardlink": "link", "copy": "replace"}[style], refused(code))
    name = tmp_path / "view" / "name"
    with pytest.raises(OSError, match=os.strerror(code)):
        link(str(target), str(name), style)
    assert list(tmp_path.glob("view/*")) == []


def test_a_copy_that_fills_the_disk_leaves_no_litter(
    tmp_path: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: str, name: str) -> None:
        Path(name).write_bytes(b"sha")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(DiskSpaceError):
        link(str(target), str(tmp_path / "view" / "name"), "copy")
    assert os.listdir(tmp_path / "view") == []


@pytest.mark.parametrize("style", STYLES)
def test_a_folder_at_a_links_name_is_an_error_and_stays(tmp_path: Path, target: Path, style: LinkStyle) -> None:
    (tmp_path / "view" / "name" / "mine").mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as caught:
        link(str(target), str(tmp_path / "view" / "name"), style)
    assert caught.value.filename == str(tmp_path / "view" / "name")
    assert os.listdir(tmp_path / "view") == ["name"]
    assert (tmp_path / "view" / "name" / "mine").is_dir()


@pytest.mark.parametrize("style", ["hardlink", "copy"])
def test_a_target_that_is_not_there_is_an_error(tmp_path: Path, style: LinkStyle) -> None:
    (tmp_path / "view").mkdir()
    with pytest.raises(FileNotFoundError):
        link(str(tmp_path / "gone"), str(tmp_path / "view" / "name"), style)
    assert os.listdir(tmp_path / "view") == []


# --- removing -----------------------------------------------------------------------------------------------------


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path, victim: Path) -> None:
    (tmp_path / "link").symlink_to(victim)
    remove_file(str(tmp_path / "link"))
    remove_file(str(tmp_path / "link"))
    assert not (tmp_path / "link").is_symlink()
    assert_untouched(victim)


@pytest.mark.parametrize(
    ("start", "left"),
    [("a/b/c", {"a", "a/kept"}), ("a/b", {"a", "a/b", "a/b/c", "a/kept"}), ("a", None), (".", None), ("..", None)],
)
def test_only_empty_folders_below_the_stop_are_removed(tmp_path: Path, start: str, left: set[str] | None) -> None:
    (tmp_path / "view" / "a" / "b" / "c").mkdir(parents=True)
    (tmp_path / "view" / "a" / "kept").mkdir()
    before = {str(path.relative_to(tmp_path / "view")) for path in (tmp_path / "view").rglob("*")}
    remove_empty_folders(str(tmp_path / "view" / start), str(tmp_path / "view"))
    assert {str(path.relative_to(tmp_path / "view")) for path in (tmp_path / "view").rglob("*")} == (left or before)


def test_the_stop_itself_stays_when_all_below_it_goes(tmp_path: Path) -> None:
    (tmp_path / "view" / "a" / "b").mkdir(parents=True)
    remove_empty_folders(str(tmp_path / "view" / "a" / "b"), str(tmp_path / "view"))
    assert os.listdir(tmp_path / "view") == []


# --- planted links, through the whole program ---------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Project:
    project = Project(tmp_path / "project")
    project.folder.mkdir()
    (project.folder / "source.txt").write_bytes(b"right")
    project.write("version: 1\nmodels:\n  m:\n    files: [{url: ./source.txt}]\n")
    project.run("lock")
    return project


def digest_of(project: Project) -> str:
    (partial,) = project.root.glob(".assetmgr/partial/*")
    return partial.name


@pytest.mark.parametrize("where", ["final", "partial", "lock"])
@pytest.mark.parametrize("content", [b"precious", b"right"], ids=["other bytes", "the right bytes"])
def test_a_planted_link_is_replaced_and_never_followed(
    project: Project, victim: Path, where: str, content: bytes
) -> None:
    victim.write_bytes(content)
    final = project.root / "files" / "m" / "source.txt"
    planted = {
        "final": final,
        "partial": project.root / ".assetmgr" / "partial" / digest_of(project),
        "lock": project.lock_file,
    }[where]
    if where == "lock":
        text = planted.read_bytes()
        planted.unlink()
        planted.symlink_to(victim)
        (project.root / ".assetmgr" / "partial").mkdir(exist_ok=True)
        done = project.run("lock", code=None)
        if done.code == 2:  # what the link leads to is no lock: said, and nothing is written through it
            planted.unlink()
            planted.write_bytes(text)
    else:
        planted.parent.mkdir(parents=True, exist_ok=True)
        planted.unlink(missing_ok=True)
        planted.symlink_to(victim)
    project.run("pull")
    assert victim.read_bytes() == content
    assert mode(victim) == 0o640
    assert final.read_bytes() == b"right"
    assert not final.is_symlink()
    assert not planted.is_symlink()
    project.run("verify", "--full")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or not shutil.which("setpriv"), reason="only root can be two users"
)
def test_what_one_user_staged_in_a_shared_store_does_not_keep_another_from_pulling(project: Project) -> None:
    group = 4000
    project.root.chmod(0o2770)
    partial = project.root / ".assetmgr" / "partial" / digest_of(project)
    for path in (project.root, *project.root.rglob("*")):
        os.chown(path, 3001, group)
        if path.is_dir():
            path.chmod(0o2770)
    assert not mode(partial) & 0o020, "staged files are their owner's"
    project.prefix = ("setpriv", "--groups", str(group), "--bounding-set=-dac_override,-dac_read_search,-fowner,-chown")
    project.run("pull")
    assert (project.root / "files" / "m" / "source.txt").read_bytes() == b"right"


def test_a_link_planted_at_a_receipts_name_is_replaced(tmp_path: Path, victim: Path) -> None:
    store = Store(tmp_path / "store")
    entry = LockedAsset("model", "files", "d", (LockedFile("a", 1, "a" * 64, place="files"),), "m")
    planted = Path(store.state, "receipts", receipt_name("m", entry.digest()))
    planted.parent.mkdir(parents=True)
    planted.symlink_to(victim)
    store.save_receipt(Receipt(entry, (None,), 1))
    assert not planted.is_symlink()
    assert store.read_receipt(entry) == Receipt(entry, (None,), 1)
    assert_untouched(victim)


def test_a_link_planted_at_a_listings_name_is_replaced(tmp_path: Path, victim: Path) -> None:
    store = Store(tmp_path / "store")
    digest = store.write_listing(b"[]")
    planted = Path(store.state, "listings", digest)
    planted.unlink()
    planted.symlink_to(victim)
    assert store.read_listing(digest) is None, "what it leads to is not the listing"
    assert store.write_listing(b"[]") == digest
    assert not planted.is_symlink()
    assert store.read_listing(digest) == b"[]"
    assert_untouched(victim)


def test_a_link_planted_at_a_mutex_is_not_followed(project: Project, victim: Path) -> None:
    project.run("pull")
    for lock in project.root.glob(".assetmgr/mutex/*.lock"):
        lock.unlink()
        lock.symlink_to(victim)
    (project.root / "files" / "m" / "source.txt").unlink()
    done = project.run("pull", code=None)
    assert_untouched(victim)
    if done.code:
        assert ".assetmgr/mutex" in done.err, "the error names the link"


def test_an_asset_error_is_no_os_error() -> None:
    # `link` and `write_document` turn some OSErrors into ours: what cleans up must catch both.
    assert not issubclass(AssetError, OSError)


def test_what_a_killed_writer_left_goes_and_that_of_other_documents_stays(tmp_path: Path) -> None:
    write_document(tmp_path / "a.json", b"1")
    for name in (".writing-a.json-x", ".writing-b.json-x"):
        (tmp_path / name).touch()
    sweep_unwritten(tmp_path / "a.json")
    assert files_below(tmp_path) == {"a.json", ".writing-b.json-x"}
