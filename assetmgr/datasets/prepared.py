"""Prepared tables: what a split's annotations say, as Arrow files under the store's ``prepared/``.

A prepared file is tied to the sha256 of every annotation file that it was made of, to its reader and the reader's
version: when one of these changes it is another file. It appears whole or not at all, is made by one process while
others wait, and is proved by its stamp each time it is opened. It can always be made again.

Where the store cannot be written by this user, the file is kept in the user's own cache folder.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import quote

import msgspec

from assetmgr.datasets.annotations import Annotation
from assetmgr.datasets.keeping import kept
from assetmgr.datasets.table import Batch, Shape, Table, WidenError, write
from assetmgr.digests import hash_file
from assetmgr.errors import DiskSpaceError
from assetmgr.placing import place, remove_file, write_document
from assetmgr.receipt import Stamp
from assetmgr.reporting import Reporter, Silent
from assetmgr.store import Store

FORMAT = 1

# The rows of some annotation files: what a sample is, and the values in pieces. Called again where it must start over.
Rows = tuple[Shape, Iterable[Batch]]
Reading = Callable[[Sequence[Annotation]], Rows]


class _Record(msgspec.Struct, frozen=True):
    """What is known of a prepared file: what it was made of, and the proof of its bytes."""

    format: int
    reader: str
    inputs: tuple[str, ...]
    sha256: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a split is read.

    Attributes
    ----------
    reader
        The reader's name and version, and whatever else changes what it gives.
    """

    asset: str
    split: str
    files: tuple[Annotation, ...]
    reader: str
    reading: Reading

    @property
    def key(self) -> str:
        told = [FORMAT, self.reader, [file.sha256 for file in self.files]]
        return hashlib.sha256(msgspec.json.encode(told)).hexdigest()

    @property
    def name(self) -> str:
        """Where the file goes, below a store's root."""
        return f"prepared/tables/{quote(self.asset, safe='+')}/{quote(self.split, safe='+')}-{self.key[:16]}.arrow"


_SILENT = Silent()


def opened(store: Store, recipe: Recipe, reporter: Reporter = _SILENT, *, wait: float = 3600.0) -> Table:
    """The prepared table of a split; made now where it is not there, or is not what its record says.

    Raises
    ------
    IntegrityError
        When an annotation file is not what its reader reads, or not what the lock says.
    DiskSpaceError
        When there is no room for it.
    BusyError
        When another process makes it for longer than ``wait`` seconds.
    """
    return kept(
        store,
        recipe.name,
        recipe.key,
        f"preparing {recipe.asset}, split {recipe.split}",
        lambda path: _proved(path, recipe),
        lambda path: _made(path, recipe),
        reporter,
        wait=wait,
    )


def _proved(path: str, recipe: Recipe) -> Table | None:
    """The table at a path, where it is what its record says; None where it is to be made."""
    try:
        with open(f"{path}.json", "rb") as file:
            record = msgspec.json.decode(file.read(), type=_Record)
        status = os.stat(path)
        if record.format != FORMAT or record.reader != recipe.reader:
            return None
        if not record.stamp.fits(status):
            # Copied, or altered: its bytes tell.
            if hash_file(path)[1]["sha256"] != record.sha256:
                return None
            with contextlib.suppress(OSError, DiskSpaceError):
                _record(path, recipe, record.sha256, status)
        return Table(path)
    except (OSError, ValueError, msgspec.MsgspecError):
        return None


def _record(path: str, recipe: Recipe, sha256: str, status: os.stat_result) -> None:
    inputs = tuple(file.sha256 for file in recipe.files)
    record = _Record(FORMAT, recipe.reader, inputs, sha256, Stamp.of(status))
    write_document(f"{path}.json", msgspec.json.encode(record), sync=False)


def _made(path: str, recipe: Recipe) -> Table:
    """Read the annotations and write the table. Only for who holds its lock."""
    temporary = f"{path}.making"
    json_columns: set[str] = set()
    try:
        while True:
            shape, batches = recipe.reading(recipe.files)
            fields = [
                msgspec.structs.replace(field, kind="json") if field.name in json_columns else field
                for field in shape.fields
            ]
            remove_file(temporary)  # of a process that was killed, perhaps another user's
            try:
                with open(temporary, "xb") as file:
                    write(file, msgspec.structs.replace(shape, fields=tuple(fields)), batches)
                break
            except WidenError as error:
                json_columns.add(error.name)
        sha256 = hash_file(temporary)[1]["sha256"]
        _record(path, recipe, sha256, place(temporary, path))
        return Table(path)
    except (OSError, DiskSpaceError) as error:
        if isinstance(error, OSError) and error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        remove_file(path)  # without its record it is nothing
        raise DiskSpaceError(
            f"{recipe.asset}, split {recipe.split}: {path}: no room while its table was prepared",
            mend="free some space and repeat it; nothing of it was kept",
        ) from None
    finally:
        with contextlib.suppress(OSError):
            remove_file(temporary)
