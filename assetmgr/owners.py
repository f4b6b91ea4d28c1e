"""Whose something is, and who may change it: a store may be shared by the users of a machine."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from assetmgr.errors import AccessError


def user_name() -> str:
    """The user that this process runs as, whatever the environment says."""
    if os.name == "nt":
        return os.environ.get("USERNAME", "unknown")
    return _user(os.geteuid())


def _user(uid: int) -> str:
    import pwd

    with contextlib.suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return str(uid)


def _group(gid: int) -> str:
    import grp

    with contextlib.suppress(KeyError):
        return grp.getgrgid(gid).gr_name
    return str(gid)


def owner(path: str) -> str:
    """Whose a file or folder is, in words."""
    try:
        status = os.stat(path)
    except OSError:
        return "nobody may look at it"
    mode = f"mode {stat.S_IMODE(status.st_mode):o}"
    return mode if os.name == "nt" else f"it is of user {_user(status.st_uid)}, group {_group(status.st_gid)}, {mode}"


def is_shared(root: str) -> bool:
    """Whether a store is for a group: its root has the setgid bit."""
    with contextlib.suppress(OSError):
        return os.name != "nt" and bool(os.stat(root).st_mode & stat.S_ISGID)
    return False


def is_refusal(error: OSError) -> bool:
    """Whether the system refused something that another user may do, or this one on another machine."""
    return isinstance(error, PermissionError) or error.errno == errno.EROFS


def refused(error: OSError, name: str = "") -> AccessError:
    """What the system refused to this user, and who may do it."""
    path = _path(error.filename)
    if (to := _path(error.filename2)) and not os.access(os.path.dirname(to), os.W_OK | os.X_OK):
        path = to  # of a rename: where it was to go
    seen = path
    while seen and not os.path.exists(seen) and os.path.dirname(seen) != seen:
        seen = os.path.dirname(seen)
    where = path if seen == path else f"{path}, in {seen}"
    whose = f" ({owner(seen)}; you are {user_name()})" if seen else ""
    mend = "have it done by who may, or be let in (`assetmgr doctor` looks at a store that users share)"
    if error.errno == errno.EROFS:
        mend = "have it done where this is not mounted read-only"
    return AccessError(
        f"{name}{where or 'the system'}: {error.strerror or error}{whose}",
        mend=f"{mend}, or name another store: --root, or ASSETMGR_ROOT",
    )


def _path(name: object) -> str:
    return name if isinstance(name, str) else os.fspath(name) if isinstance(name, os.PathLike) else ""


def give(descriptor: int, folder: str | os.PathLike[str] | int) -> None:
    """Let what root has just made be of the user whose folder it is in: who ran a command by sudo locks nobody out.

    It goes by descriptor, and only for what is root's and has no other name: nothing else can be put in its place.
    """
    if os.name == "nt" or os.geteuid() != 0:
        return
    around, made = os.stat(folder), os.fstat(descriptor)
    if around.st_uid == 0 or made.st_uid != 0 or (stat.S_ISREG(made.st_mode) and made.st_nlink != 1):
        return
    with contextlib.suppress(OSError):  # a file system, or a container, that has no such thing
        os.fchown(descriptor, around.st_uid, around.st_gid)
        if stat.S_ISDIR(made.st_mode):
            os.fchmod(descriptor, stat.S_IMODE(made.st_mode))  # which chown may have taken bits of
