"""The files of a project that a scan reads: bounded in number and size, and none of what others installed there."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from assetmgr.errors import UsageError

_ENDINGS = (".py", ".pyw", ".md", ".markdown", ".mdx", ".qmd", ".rmd", ".ipynb", ".yaml", ".yml")
_NOT_OURS = frozenset(["node_modules", "__pycache__", "site-packages"])
_MOST_BYTES = 4 << 20
_MOST_NOTEBOOK = 32 << 20
_MOST_FILES = 20_000


class Found(NamedTuple):
    """A file's name as it is shown, with its text, or why it has none."""

    name: str
    path: str
    text: str
    fault: str = ""


def read_files(paths: Sequence[str]) -> Iterator[Found]:
    """The readable files at and below some paths, each once, in a settled order. Links to folders are not followed.

    Raises
    ------
    UsageError
        When there is nothing at a path.
    """
    seen: set[str] = set()
    for path in paths:
        if not os.path.lexists(path):
            raise UsageError(f"{path}: there is no such file or folder", mend="name what is to be read: --scan PATH")
    for path in paths:
        for each in _below(path):
            real = os.path.realpath(each)
            if real in seen:
                continue
            seen.add(real)
            if len(seen) > _MOST_FILES:
                yield Found(path, path, "", f"it has more than {_MOST_FILES:,} files: the rest was not read")
                return
            found = _read(each)
            if found is not None:
                yield found


def _below(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
        return
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(name for name in folders if _is_ours(folder, name))
        for name in sorted(files):
            if name.lower().endswith(_ENDINGS) and not name.startswith("."):
                yield os.path.join(folder, name)


def _is_ours(folder: str, name: str) -> bool:
    if name.startswith(".") or name in _NOT_OURS or name.lower().endswith(".egg-info"):
        return False
    return not os.path.lexists(os.path.join(folder, name, "pyvenv.cfg"))  # a virtual environment


def _read(path: str) -> Found | None:
    name = os.path.normpath(path).replace(os.sep, "/")
    most = _MOST_NOTEBOOK if path.lower().endswith(".ipynb") else _MOST_BYTES
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return None
        if status.st_size > most:
            return Found(name, path, "", f"it is larger than {most >> 20} MiB, and was not read")
        with open(path, "rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        return Found(name, path, "", f"it cannot be read: {error.strerror}")
    return Found(name, path, data.decode("utf-8-sig", errors="replace"))
