"""The other end of `img2dataset_run`: img2dataset at work, in a Python of the user's choice, without assetmgr.

This file is copied into the folder that a list is worked at in, and imported from there, under the name of `MODULE`, by
img2dataset's every process: it imports nothing of assetmgr. What img2dataset lacks is put in its place here: images and
their downloads have bounds, only http and https are asked, robots.txt is heeded, what is cut short is no image, and the
bytes of a shard depend on its images alone.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import http.client
import io
import json
import math
import os
import signal
import sys
import tarfile
import threading
import time
import traceback
import urllib.error
import urllib.parse
import urllib.request
import urllib.robotparser
import zlib
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module, metadata
from multiprocessing.pool import Pool
from typing import Any

# What names the job's folder to all processes, and this file there.
VARIABLE = "ASSETMGR_IMAGES"
MODULE = "assetmgr_images"

# Bytes of an image, and of a robots.txt, at most.
_LARGEST, _LARGEST_ROBOTS = 64 << 20, 500 << 10
# How many timeouts one image may take in all, however slowly it drips.
_TIMEOUTS = 6
# The name by which img2dataset is known to robots.txt and X-Robots-Tag.
_AGENT = "img2dataset"
_BATCH = 100_000


class ListError(Exception):
    """The list is not what the recipe says of it."""


# --- the list ---------------------------------------------------------------------------------------------------------


def read_rows(path: str, recipe: Mapping[str, Any], name: str) -> Iterator[tuple[str, str | None, str | None]]:
    """The rows of a list: URL, caption, the image's name in the annotation."""
    wanted = [recipe.get("url_col") or "url", recipe.get("caption_col"), recipe.get("image_col")]
    kind = recipe["format"]
    if kind == "parquet":
        yield from _parquet(path, wanted)
        return
    opened = gzip.open if name.lower().endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8-sig", newline="") as file:
        try:
            if kind == "txt":
                yield from ((line.strip(), None, None) for line in file if line.strip())
            elif kind in ("csv", "tsv"):
                yield from _table(file, kind, recipe.get("columns"), wanted)
            else:
                yield from _picked(_objects(file, kind, recipe.get("rows")), wanted)
        except UnicodeDecodeError:
            raise ListError("it is not UTF-8") from None
        except (csv.Error, gzip.BadGzipFile, zlib.error, EOFError) as error:
            raise ListError(f"it is no {kind}: {error}") from None


def _table(
    file: Iterable[str], kind: str, columns: list[str] | None, wanted: list[str | None]
) -> Iterator[tuple[str, str | None, str | None]]:
    csv.field_size_limit(1 << 20)
    # A tab in a caption has no way to be written: quotes are text there.
    tabs = kind == "tsv"
    reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(file)
    names = columns or next(reader, [])
    places = [None if column is None else _find(column, names) for column in wanted]
    for row in reader:
        if row:
            url, caption, image = (None if at is None else row[at] if at < len(row) else "" for at in places)
            yield url or "", caption, image


def _objects(file: Any, kind: str, rows: str | None) -> Iterator[Any]:
    try:
        if kind == "jsonl":
            yield from (json.loads(line) for line in file if line.strip())
            return
        data = json.load(file)
    except (ValueError, RecursionError) as error:
        raise ListError(f"it is no {kind}: {error}") from None
    if rows is not None:
        if not isinstance(data, dict) or rows not in data:
            raise ListError(f"it has no key {rows!r}, which `rows` names" + _known(data))
        data = data[rows]
    if not isinstance(data, list):
        raise ListError("its rows are no list; `rows` may name the key that holds them" + _known(data))
    yield from data


def _picked(rows: Iterable[Any], wanted: list[str | None]) -> Iterator[tuple[str, str | None, str | None]]:
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise ListError(f"its row {number} is no object")
        for column in wanted:
            if column is not None and column not in row and not number:
                _find(column, list(row))
        url, caption, image = (None if column is None else row.get(column) for column in wanted)
        yield "" if url is None else str(url), _text(caption), _text(image)


def _parquet(path: str, wanted: list[str | None]) -> Iterator[tuple[str, str | None, str | None]]:
    import pyarrow
    import pyarrow.parquet

    try:
        file = pyarrow.parquet.ParquetFile(path)
        columns = [column for column in wanted if column is not None]
        for column in columns:
            _find(column, file.schema_arrow.names)
        for batch in file.iter_batches(columns=columns):
            yield from _picked(batch.to_pylist(), wanted)
    except pyarrow.ArrowException as error:
        raise ListError(f"it is no parquet: {error}") from None


def _find(column: str, names: list[str]) -> int:
    if column not in names:
        raise ListError(f"it has no column {column!r}; it has {', '.join(map(repr, names[:20])) or 'none'}")
    return names.index(column)


def _known(data: object) -> str:
    return f"; its keys are {', '.join(map(repr, list(data)[:20]))}" if isinstance(data, dict) else ""


def _text(value: object) -> str | None:
    """A caption may be a list of them."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return None if value is None else str(value)


def write_table(rows: Iterable[tuple[str, str | None, str | None]], recipe: Mapping[str, Any], path: str) -> int:
    """Write rows as the table that img2dataset reads; return how many there are."""
    import pyarrow
    import pyarrow.parquet

    names = [
        "url",
        *(["caption"] if recipe.get("caption_col") else []),
        *(["image"] if recipe.get("image_col") else []),
    ]
    at = {"url": 0, "caption": 1, "image": 2}
    schema = pyarrow.schema([(name, pyarrow.string()) for name in names])
    count = 0

    def flush(batch: list[tuple[str, str | None, str | None]]) -> None:
        columns = [[_writable(row[at[name]]) for row in batch] for name in names]
        writer.write_table(
            pyarrow.Table.from_arrays([pyarrow.array(each, pyarrow.string()) for each in columns], schema=schema)
        )

    with pyarrow.parquet.ParquetWriter(f"{path}.part", schema) as writer:
        batch: list[tuple[str, str | None, str | None]] = []
        for row in rows:
            batch.append(row)
            count += 1
            if len(batch) == _BATCH:
                flush(batch)
                batch = []
        flush(batch)
    os.replace(f"{path}.part", path)
    return count


def _writable(text: str | None) -> str | None:
    """JSON may hold halves of surrogate pairs, which UTF-8 cannot."""
    return None if text is None else text.encode(errors="replace").decode()


def shard_size(rows: int) -> int:
    """How many rows make a shard: 100 to 10,000, so that a list has tens of shards to go on by after a kill."""
    return min(max(10 ** math.ceil(math.log10(max(rows, 1) / 64)) if rows > 64 else 100, 100), 10_000)


# --- downloads: what `urllib.request.urlopen` does in img2dataset's processes -----------------------------------------


class _Bounded:
    """An answer whose body has an end, in bytes and in time."""

    def __init__(self, answer: Any, most: int, until: float) -> None:
        self._answer, self._most, self._until = answer, most, until
        self.headers = answer.headers

    def __enter__(self) -> _Bounded:
        return self

    def __exit__(self, *exception: object) -> None:
        self._answer.close()

    def read(self) -> bytes:
        parts, size = [], 0
        while data := self._answer.read1(1 << 16):
            size += len(data)
            if size > self._most:
                raise OSError(f"larger than {self._most} bytes")
            if time.monotonic() > self._until:
                raise OSError("timed out: it drips")
            parts.append(data)
        if self._answer.length:
            raise http.client.IncompleteRead(b"", self._answer.length)
        return b"".join(parts)


def escaped(url: str) -> str:
    """A URL as it goes over the wire: lists have blanks and letters of all scripts in them, as browsers take them."""
    if url.isascii() and " " not in url:
        return url
    parts = urllib.parse.urlsplit(url)
    path, query = (urllib.parse.quote(part, safe="!$%&'()*+,/:;=?@[]~") for part in (parts.path, parts.query))
    return urllib.parse.urlunsplit(parts._replace(path=path, query=query))


class _Opener:
    """Asks http and https alone, and no host more than its robots.txt lets."""

    def __init__(self) -> None:
        self._inner = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler,
            urllib.request.UnknownHandler,
            urllib.request.HTTPHandler,
            urllib.request.HTTPSHandler,
            urllib.request.HTTPDefaultErrorHandler,
            urllib.request.HTTPRedirectHandler,
            urllib.request.HTTPErrorProcessor,
        ):
            self._inner.add_handler(handler())
        self._robots: dict[str, urllib.robotparser.RobotFileParser] = {}
        self._lock = threading.Lock()

    def open(self, request: urllib.request.Request, data: bytes | None = None, timeout: float = 10.0) -> _Bounded:
        if request.type not in ("http", "https"):
            raise urllib.error.URLError("only http and https are asked")
        request.full_url = escaped(request.full_url)
        if not self._rules(request, timeout).can_fetch(_AGENT, request.full_url):
            raise urllib.error.URLError("disallowed by robots.txt")
        return self._ask(request, timeout, _LARGEST)

    def _ask(self, request: urllib.request.Request, timeout: float, most: int) -> _Bounded:
        until = time.monotonic() + _TIMEOUTS * timeout
        return _Bounded(self._inner.open(request, timeout=timeout), most, until)

    def _rules(self, request: urllib.request.Request, timeout: float) -> urllib.robotparser.RobotFileParser:
        """The rules of a host, asked for once. One that has none, or cannot tell them, allows everything."""
        host = f"{request.type}://{request.host}"
        with self._lock:
            known = self._robots.get(host)
        if known is None:
            known = urllib.robotparser.RobotFileParser()
            agent = {"User-Agent": request.get_header("User-agent") or _AGENT}
            lines: list[str] = []
            with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
                asked = urllib.request.Request(f"{host}/robots.txt", headers=agent)  # noqa: S310 - http or https
                with self._ask(asked, timeout, _LARGEST_ROBOTS) as answer:
                    lines = answer.read().decode("utf-8", "replace").splitlines()
            known.parse(lines)
            with self._lock:
                self._robots[host] = known
        return known


# --- images -----------------------------------------------------------------------------------------------------------


def is_cut_short(data: bytes) -> bool:
    """Whether an image ends before its end; decoders give such a one a grey rest, and say nothing."""
    if data[:2] == b"\xff\xd8":
        return data.find(b"\xff\xd9", _scan(data)) < 0
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return data.rfind(b"IEND\xaeB`\x82") < 0
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return len(data) < int.from_bytes(data[4:8], "little") + 8
    return False


def _scan(data: bytes) -> int:
    """Where a JPEG's own scan begins: before it, a thumbnail may have an end of its own."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        if data[at + 1] == 0xDA:
            return at
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def _make_classes() -> tuple[type, type]:
    import numpy
    from img2dataset.resizer import ResizeMode, Resizer, SuppressStdoutStderr
    from img2dataset.writer import WebDatasetSampleWriter

    class CheckedResizer(Resizer):  # type: ignore[misc]
        """img2dataset's, that refuses what is cut short; without resizing it keeps an image's very bytes."""

        def __call__(self, img_stream: Any, blurring_bbox_list: Any = None) -> Any:
            import cv2

            data = img_stream.getvalue()
            if is_cut_short(data):
                return None, None, None, None, None, "image is cut short"
            if self.resize_mode is not ResizeMode.no:
                return super().__call__(img_stream, blurring_bbox_list)
            try:
                with SuppressStdoutStderr():
                    cv2.setNumThreads(1)
                    image = cv2.imdecode(numpy.frombuffer(data, numpy.uint8), cv2.IMREAD_UNCHANGED)
            except cv2.error:
                image = None
            if image is None:
                return None, None, None, None, None, "Image decoding error"
            height, width = image.shape[:2]
            return data, width, height, width, height, None

    class OrderedWriter(WebDatasetSampleWriter):  # type: ignore[misc]
        """img2dataset's, whose shards have their members sorted, without times and owners."""

        def __init__(self, shard_id: int, output_folder: str, *rest: Any) -> None:
            super().__init__(shard_id, output_folder, *rest)
            self._stem = os.path.join(output_folder, f"{shard_id:0{self.oom_shard_count}d}")
            self._is_broken = False

        def write(self, *sample: Any) -> None:
            try:
                super().write(*sample)
            except BaseException:
                self._is_broken = True  # img2dataset would count the image, and go on without it
                raise

        def close(self) -> None:
            if self._is_broken:
                raise OSError(f"{self._stem}.tar could not be written")
            super().close()
            order_shard(f"{self._stem}.tar")
            with contextlib.suppress(OSError):
                os.unlink(f"{self._stem}.parquet")

    for made in (CheckedResizer, OrderedWriter):
        made.__module__, made.__qualname__ = MODULE, made.__name__
    return CheckedResizer, OrderedWriter


def order_shard(path: str) -> None:
    """Write a shard anew so that its bytes depend on its members alone."""
    with tarfile.open(path) as shard, tarfile.open(f"{path}.ordered", "w", format=tarfile.USTAR_FORMAT) as ordered:
        for member in sorted(shard.getmembers(), key=lambda member: member.name):
            plain = tarfile.TarInfo(member.name)
            plain.size, plain.mode = member.size, 0o444
            ordered.addfile(plain, shard.extractfile(member))
    os.replace(f"{path}.ordered", path)


# --- the work ---------------------------------------------------------------------------------------------------------


def main() -> None:
    """Do the job in the folder that the environment names. Whatever becomes of it is told in ``report.json``."""
    folder = os.environ[VARIABLE]
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        report = _work(folder)
    except ListError as error:
        report = {"kind": "list", "message": str(error)}
    except ModuleNotFoundError as error:
        report = {"kind": "missing", "message": str(error.name)}
    except Exception as error:  # noqa: BLE001 - whatever img2dataset raises, the parent is told
        report = {"kind": "failed", "message": f"{type(error).__name__}: {error}"[:500]}
        with contextlib.suppress(OSError):
            traceback.print_exc()
    with contextlib.suppress(OSError), open(os.path.join(folder, "report.json"), "w", encoding="utf-8") as file:
        json.dump(report, file)
    if report["kind"] != "done":
        _end()  # img2dataset's own processes would wait for each other for ever


def _work(folder: str) -> dict[str, Any]:
    with open(os.path.join(folder, "job.json"), encoding="utf-8") as file:
        job = json.load(file)
    engine = import_module("img2dataset.main")  # in the package itself, that name is a function
    recipe, tuning = job["recipe"], job["tuning"]
    if tuning["distributor"] != "multiprocessing":
        import_module(tuning["distributor"])  # without it, img2dataset does nothing and says nothing
    table, plan = os.path.join(folder, "rows.parquet"), os.path.join(folder, "plan.json")
    if not os.path.exists(plan):
        count = write_table(read_rows(job["list"], recipe, job["name"]), recipe, table)
        planned = {"rows": count, "shard_size": recipe.get("shard_size") or shard_size(count)}
        with open(f"{plan}.part", "w", encoding="utf-8") as file:
            json.dump({**planned, "engine": f"img2dataset {metadata.version('img2dataset')}"}, file)
        os.replace(f"{plan}.part", plan)
    with open(plan, encoding="utf-8") as file:
        planned = json.load(file)
    if not planned["rows"]:
        raise ListError("it names nothing")
    module = sys.modules[MODULE]
    Pool._join_exited_workers = staticmethod(_joined)  # type: ignore[attr-defined]
    vars(engine).update(
        Resizer=module.CheckedResizer, WebDatasetSampleWriter=module.OrderedWriter, LoggerProcess=_NoLogger
    )
    with _session(job) if tuning["distributor"] == "pyspark" else contextlib.nullcontext():
        engine.download(
            url_list=table,
            input_format="parquet",
            url_col="url",
            caption_col="caption" if recipe.get("caption_col") else None,
            save_additional_columns=["image"] if recipe.get("image_col") else None,
            output_folder=os.path.join(folder, "shards"),
            output_format="webdataset",
            processes_count=tuning["processes"],
            thread_count=tuning["threads"],
            timeout=tuning["timeout"],
            retries=tuning["retries"],
            resize_mode=recipe.get("resize_mode") or "no",
            image_size=recipe.get("image_size") or 256,
            number_sample_per_shard=planned["shard_size"],
            extract_exif=False,
            compute_hash="sha256",
            distributor=tuning["distributor"],
            incremental_mode="incremental",
            user_agent_token=_AGENT,
        )
    return {"kind": "done"}


class _NoLogger:
    """In the place of img2dataset's logger, a process of which nothing is wanted: the parent looks by itself."""

    def __init__(self, *_: object) -> None:
        self.done_shards: set[int] = set()

    def start(self) -> None: ...

    def join(self) -> None: ...

    def terminate(self) -> None: ...


class _Quiet(io.TextIOBase):
    """Where words go: on a full disk there are none, and img2dataset, which would hang over that, goes on."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
            self._stream.flush()
        return len(text)

    def flush(self) -> None:
        return None

    def fileno(self) -> int:
        return int(self._stream.fileno())


def _joined(workers: list[Any], joined: Any = Pool._join_exited_workers) -> bool:  # type: ignore[attr-defined]
    """What a pool does now and then; a worker that was killed takes its shard along, and the pool would wait for it."""
    killed = [worker.exitcode for worker in workers if worker.exitcode not in (None, 0)]
    if killed:
        with contextlib.suppress(OSError):
            print(f"a process of img2dataset ended with code {killed[0]}", flush=True)  # noqa: T201 - into the log
        _end()
    return bool(joined(workers))


@contextlib.contextmanager
def _session(job: Mapping[str, Any]) -> Iterator[None]:
    """The Spark session that img2dataset takes: on this machine, unless Spark's own configuration names a master."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName(f"assetmgr {job['asset']}").config("spark.ui.enabled", "false")
    for name in (VARIABLE, "PYTHONPATH", "NO_ALBUMENTATIONS_UPDATE", "WANDB_MODE"):
        builder = builder.config(f"spark.executorEnv.{name}", os.environ.get(name, ""))
    master = os.environ.get("ASSETMGR_SPARK_MASTER") or f"local[{job['tuning']['processes']}]"
    if master.startswith("local["):
        builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
    session = builder.master(master).getOrCreate()
    try:
        yield
    finally:
        session.stop()


def _end_with_parent() -> None:
    """End this process and all that it started as soon as the parent is gone, however it went."""
    with contextlib.suppress(OSError):
        while os.read(0, 1 << 10):
            pass
    _end()


def _end_with_job(folder: str) -> None:
    """End this process once nobody holds the job any more: also one that a cluster's own daemon started."""
    import fcntl

    with contextlib.suppress(OSError), open(os.path.join(folder, "alive"), "rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        os._exit(9)


def _end() -> None:
    if hasattr(os, "killpg"):
        os.killpg(0, signal.SIGKILL)
    os._exit(9)


def __getattr__(name: str) -> Any:
    """The classes for img2dataset's processes, made when the first is asked for: unpickling does so in each of them."""
    if name in ("CheckedResizer", "OrderedWriter"):
        resizer, writer = _make_classes()
        globals().update(CheckedResizer=resizer, OrderedWriter=writer)
        return globals()[name]
    raise AttributeError(name)


if __name__ == MODULE and VARIABLE in os.environ:
    sys.stdout, sys.stderr = _Quiet(sys.stdout), _Quiet(sys.stderr)
    urllib.request.install_opener(_Opener())  # type: ignore[arg-type]
    if os.name != "nt":
        threading.Thread(target=_end_with_job, args=[os.environ[VARIABLE]], daemon=True).start()
