"""The child that has the `datasets` library read a hub dataset's files and write them as its Arrow files.

A process of its own, so that the library's settings, caches and memory are none of its parent's. It has no network:
whatever would open a connection is refused. It runs nothing that the dataset brings. Standard input is one JSON line,
the job; the outcome is a JSON file in the job's folder. When standard input closes, the parent is gone, and it ends.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import sys
import threading
import zipfile
from typing import Any

RESULT = "result.json"
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar", ".lz4")
# What a connection begins with.
_CALLS = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.sendmsg")


class NetworkRefusedError(Exception):
    """Something asked for the network."""


class _LastError(logging.Handler):
    """The library logs which file it could not read, and raises without the name."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.words = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.words = record.getMessage()


def main() -> None:
    job = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    sys.addaudithook(_refuse)
    try:
        outcome = _prepare(job)
    except Exception as error:  # noqa: BLE001 - the parent raises it, as one of its own
        outcome = {"error": _told(error)}
    with open(os.path.join(job["work"], RESULT), "w", encoding="utf-8") as file:
        json.dump(outcome, file)
    os._exit(0)  # none of the library's threads is waited for


def _end_with_the_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def _refuse(event: str, details: tuple[Any, ...]) -> None:
    if event not in _CALLS:
        return
    if os.name == "nt" and "127.0.0.1" in str(details):
        return  # how Python makes a pair of sockets there
    raise NetworkRefusedError(f"{event[7:]} {details[-1] if event != 'socket.getaddrinfo' else details[0]}")


_LOGGED = _LastError()


def _prepare(job: dict[str, Any]) -> dict[str, Any]:
    import datasets

    datasets.disable_progress_bars()
    logging.getLogger("datasets").addHandler(_LOGGED)
    folder, work = job["folder"], job["work"]
    how = {key: job[key] for key in ("data_files", "data_dir") if job[key] is not None}
    config = job["config_name"]
    if "data_files" not in how:
        known = datasets.get_dataset_config_names(folder, **how)
        if config not in known and (config is not None or (len(known) > 1 and "default" not in known)):
            chosen = None if config is not None else _default(datasets, folder)
            if chosen is None:
                return {"configs": known}
            config = chosen
    builder = datasets.load_dataset_builder(folder, name=config, cache_dir=os.path.join(work, "cache"), **how)
    builder.download_and_prepare(output_dir=os.path.join(work, "out"), verification_mode="no_checks")
    splits = {}
    for split, told in builder.info.splits.items():
        named = [str(file) for file in (builder.config.data_files or {}).get(split, [])]
        if not told.num_examples:
            files = [_empty(builder.info.features, os.path.join(work, f"{split}.arrow"))]
            splits[str(split)] = {"files": files, "data_files": named}
            continue
        made = builder.as_dataset(split)
        if builder.name != "webdataset" and any(name.lower().endswith(_ARCHIVES) for name in named):
            made = _with_bytes(made, os.path.join(work, f"{split}.arrow"))
        files = [file["filename"] for file in made.cache_files]
        splits[str(split)] = {"files": files, "data_files": named}
    return {"splits": splits}


def _default(datasets: Any, folder: str) -> str | None:
    """The configuration that the dataset's card marks as the default one."""
    find = getattr(datasets, "get_dataset_default_config_name", None)
    return find(folder) if find else None


def _with_bytes(made: Any, path: str) -> Any:
    """What is in an archive, or came out of one into the library's cache: its bytes go into the table.

    The library opens an archive anew for each medium that it decodes, and nobody keeps its cache.
    """
    import pyarrow as pa
    from datasets.table import embed_table_storage

    archives: dict[str, zipfile.ZipFile] = {}

    def embedded(table: Any) -> Any:
        for at, name in enumerate(table.column_names):
            values = table.column(name)
            if str(values.type) == "struct<bytes: binary, path: string>":
                rows = [_unzipped(value, archives) for value in values.to_pylist()]
                table = table.set_column(at, table.schema.field(at), [pa.array(rows, values.type)])
        return embed_table_storage(table)

    return made.with_format("arrow").map(embedded, batched=True, batch_size=100, cache_file_name=path)


def _unzipped(value: dict[str, Any] | None, archives: dict[str, zipfile.ZipFile]) -> dict[str, Any] | None:
    """A medium with its bytes, where the library says that it is in a zip: ``zip://MEMBER::ARCHIVE``."""
    if not value or value["bytes"] is not None or not (value["path"] or "").startswith("zip://"):
        return value
    member, _, archive = value["path"].removeprefix("zip://").partition("::")
    if archive not in archives:
        archives[archive] = zipfile.ZipFile(archive)
    return {"bytes": archives[archive].read(member), "path": member}


def _empty(features: Any, path: str) -> str:
    """A file for a split without a row."""
    from datasets.arrow_writer import ArrowWriter

    with ArrowWriter(path=path, features=features) as writer:
        writer.finalize()
    return path


def _told(error: BaseException) -> dict[str, Any]:
    """An exception as the parent can tell it: what kind it is, and in words what was at the root of it."""
    chain = []
    one: BaseException | None = error
    while one is not None and one not in chain:
        chain.append(one)
        one = one.__cause__ or one.__context__
    words = " ".join(f"{chain[-1]}".split()) or type(chain[-1]).__name__
    kind = "unreadable"
    for one in chain:
        name = type(one).__name__
        if isinstance(one, NetworkRefusedError) or "Offline" in name:
            kind, words = "network", str(one)
        elif isinstance(one, OSError) and (
            one.errno in (errno.ENOSPC, errno.EDQUOT) or "Not enough disk space" in str(one)
        ):
            kind = "disk"
        elif isinstance(one, ImportError):
            kind, words = "library", str(one)
        elif isinstance(one, StopIteration):
            kind, words = "no data", "its files have no rows"
        elif name in ("DataFilesNotFoundError", "EmptyDatasetError", "FileNotFoundDatasetsError"):
            kind, words = "no data", str(one)
        else:
            continue
        break
    with contextlib.suppress(Exception):
        if _LOGGED.words and kind == "unreadable":
            words = f"{words} ({_LOGGED.words})"
    return {"kind": kind, "type": type(chain[-1]).__name__, "words": words[:1000]}
