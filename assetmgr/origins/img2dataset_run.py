"""img2dataset as a child: what it is given, how it is watched, and what of an interrupted run is gone on with."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar

import msgspec

from assetmgr.errors import AssetError, MissingExtraError, UsageError
from assetmgr.origins import img2dataset_worker as worker
from assetmgr.origins.child import Child
from assetmgr.placing import make_folder, write_document
from assetmgr.reporting import Reporter

_Document = TypeVar("_Document")

PYTHON = "ASSETMGR_IMG2DATASET_PYTHON"
# Seconds between two looks at what is done.
_PACE = 0.2


class Stats(msgspec.Struct):
    """What img2dataset says of a shard that is done."""

    count: int
    successes: int
    failed_to_download: int
    failed_to_resize: int
    status_dict: dict[str, int]


class Plan(msgspec.Struct):
    """How a list is cut into shards."""

    rows: int
    shard_size: int
    engine: str

    def names(self) -> Iterator[str]:
        """The shards, without their endings."""
        return (f"{number:05d}" for number in range(-(-self.rows // self.shard_size)))

    def rows_of(self, name: str) -> int:
        return min(self.shard_size, self.rows - int(name) * self.shard_size)


class _Report(msgspec.Struct):
    kind: Literal["done", "list", "missing", "failed"]
    message: str = ""


def stats_of(folder: str, name: str) -> Stats | None:
    """What is said of a shard, where all of that is there."""
    return _read(os.path.join(folder, "shards", f"{name}_stats.json"), Stats)


def plan_of(folder: str) -> Plan | None:
    """How the list was cut, where that is known."""
    return _read(os.path.join(folder, "plan.json"), Plan)


def _read(path: str, kind: type[_Document]) -> _Document | None:
    """A document that a child wrote, where it is there and whole."""
    with contextlib.suppress(OSError, msgspec.DecodeError, UnicodeDecodeError), open(path, "rb") as file:
        return msgspec.json.decode(file.read(), type=kind)
    return None


def forget(folder: str, name: str) -> None:
    """Have a shard made anew by the next run."""
    for ending in (".tar", ".tar.ordered", ".parquet", "_stats.json"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(os.path.join(folder, "shards", f"{name}{ending}"))


def run(
    folder: str,
    *,
    asset: str,
    listed: str,
    name: str,
    recipe: Mapping[str, Any],
    tuning: Mapping[str, Any],
    have: Mapping[str, int],
    reporter: Reporter,
) -> Plan:
    """Have img2dataset fetch a list into ``folder/shards``, but the shards of which it has some already.

    Parameters
    ----------
    listed, name
        Where the list is, and what it is called.
    have
        Shards that are elsewhere, and are not to be made: their rows.

    Returns
    -------
    Plan
        What there should be; whether it is, the files tell.

    Raises
    ------
    UsageError
        When the list is not what the recipe says.
    MissingExtraError
        When img2dataset, or what its distributor needs, is not installed.
    """
    shards = os.path.join(folder, "shards")
    make_folder(shards)
    _clear(folder, have)
    python = os.environ.get(PYTHON) or sys.executable
    tuned = {"distributor": "multiprocessing", "processes": os.cpu_count() or 1, "threads": 32, "timeout": 10}
    job = {"asset": asset, "list": listed, "name": name, "recipe": recipe, "tuning": {**tuned, "retries": 1, **tuning}}
    write_document(os.path.join(folder, "job.json"), msgspec.json.encode(job))
    shutil.copyfile(worker.__file__, os.path.join(folder, f"{worker.MODULE}.py"))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, "report.json"))
    command = [python, "-c", f"import {worker.MODULE} as images; images.main()"]
    try:
        with (
            _alive(folder),
            Child(
                command, folder=folder, environment=_environment(folder, python), log=os.path.join(folder, "log.txt")
            ) as child,
        ):
            _watch(child, folder, asset, have, reporter)
            words = child.last_words()
    except FileNotFoundError:
        raise UsageError(f"{asset}: there is no {python}", mend=f"correct {PYTHON}, or unset it") from None
    return _plan(folder, asset, python, words)


def _watch(child: Child, folder: str, asset: str, have: Mapping[str, int], reporter: Reporter) -> None:
    """Follow it, shard by shard, until it ends."""
    plan = None
    while plan is None:
        plan = plan_of(folder)
        if child.is_done(_PACE):
            return
    known: set[str] = set()
    with reporter.progress(f"fetching the images of {asset}", plan.rows, unit="image") as bar:
        bar.add(sum(have.values()))
        is_done = False
        while not is_done:
            is_done = child.is_done(_PACE)
            with os.scandir(os.path.join(folder, "shards")) as found:
                done = {entry.name[:-11] for entry in found if entry.name.endswith("_stats.json")}
            for name in done - known - have.keys():
                if name.isdigit():
                    bar.add(plan.rows_of(name))
            known |= done


def _plan(folder: str, asset: str, python: str, words: str) -> Plan:
    report = _read(os.path.join(folder, "report.json"), _Report) or _Report("done")
    if report.kind == "list":
        raise UsageError(f"{asset}: its list: {report.message}", mend=f"correct `url_list:` of {asset} in the manifest")
    if report.kind == "missing":
        raise MissingExtraError(
            f"{asset}: {python} has no {report.message}, which is to fetch its images",
            mend=f"pip install 'assetmgr[url-list]' (and pyspark or ray where the manifest asks for it), or name a "
            f"Python that has it by {PYTHON}",
        )
    plan = plan_of(folder)
    if plan is None:
        raise AssetError(
            f"{asset}: img2dataset ended before it began: {words}",
            mend=f"{python} -m pip check; what it printed is in {os.path.join(folder, 'log.txt')}",
        )
    return plan


def _clear(folder: str, have: Mapping[str, int]) -> None:
    """Leave only what a run can go on with: img2dataset takes a shard for done by its statistics alone."""
    shards = os.path.join(folder, "shards")
    for name in {entry.partition(".")[0].partition("_stats")[0] for entry in os.listdir(shards)}:
        is_whole = stats_of(folder, name) is not None and os.path.isfile(os.path.join(shards, f"{name}.tar"))
        if name.isdigit() and name not in have and not is_whole:
            forget(folder, name)
    for name, rows in have.items():
        if stats_of(folder, name) is None:
            known = Stats(rows, 0, 0, 0, {})
            write_document(os.path.join(shards, f"{name}_stats.json"), msgspec.json.encode(known), sync=False)
    shutil.rmtree(os.path.join(shards, "_tmp"), ignore_errors=True)


def _environment(folder: str, python: str) -> dict[str, str]:
    paths = [folder, *([os.environ["PYTHONPATH"]] if python == sys.executable and "PYTHONPATH" in os.environ else [])]
    return {
        **os.environ,
        worker.VARIABLE: folder,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        # Spark's workers are to be of the same environment; and nobody is to be told that images are fetched.
        "PYSPARK_PYTHON": python,
        "PYSPARK_DRIVER_PYTHON": python,
        "NO_ALBUMENTATIONS_UPDATE": "1",
        "WANDB_MODE": "disabled",
    }


@contextlib.contextmanager
def _alive(folder: str) -> Iterator[None]:
    """Hold what every process of the job waits for: the system lets go of it however this one ends."""
    if os.name == "nt":
        yield
        return
    import fcntl

    with open(os.path.join(folder, "alive"), "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
