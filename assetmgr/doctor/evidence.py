"""What several checks look at, found out once: what is installed, how imports end, which GPUs there are."""

from __future__ import annotations

import contextlib
import functools
import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from assetmgr.doctor.machine import Machine, text_of
from assetmgr.doctor.packages import Packages
from assetmgr.doctor.probe import Probes, last_line

# Each row is imported by one child, one after the other; the rows side by side. All but torch need torch.
_ROWS = (("torch", "torchvision", "transformers", "accelerate"), ("bitsandbytes",))
_WORKER = Path(__file__).with_name("import_worker.py")
_SMI = ("nvidia-smi", "--query-gpu=driver_version,compute_cap,name", "--format=csv,noheader")
_SMI_SECONDS = 5.0

Result = TypeVar("Result")


class Imported(NamedTuple):
    """How the import of a library ended. ``fault`` is empty where it went well."""

    facts: Mapping[str, Any]
    fault: str = ""


class Gpus(NamedTuple):
    """What nvidia-smi says: a row (driver, compute capability, name) for each GPU; or why it says nothing."""

    rows: tuple[tuple[str, str, str], ...]
    fault: str = ""
    is_there: bool = False


class TorchBuild(NamedTuple):
    """What torch was built for, by its own version file. ``cuda`` is None for a build without."""

    version: str
    cuda: str | None
    hip: str | None


class Evidence(contextlib.AbstractContextManager["Evidence"]):
    """A machine, and what was found out about it. The slow questions are asked in the background from the beginning.

    At the end of the context no child is left.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self._probes = Probes()
        self.packages = Packages(machine.paths)
        self._imports = _later(self._import_all)
        self._gpus = _later(self._ask_gpus)

    def __exit__(self, *exception: object) -> None:
        self._probes.__exit__(*exception)

    @property
    def imports(self) -> Mapping[str, Imported]:
        """The libraries that are installed, with how their import ended."""
        return self._imports.result()

    @property
    def gpus(self) -> Gpus:
        return self._gpus.result()

    @functools.cached_property
    def torch(self) -> TorchBuild | None:
        """Torch's build; None where torch is not installed."""
        folder, package = self.packages.module("torch"), self.packages.get("torch")
        if folder is None:
            return None
        text = text_of(f"{folder}/version.py") or ""
        said = dict(re.findall(r"^(__version__|cuda|hip)\b[^=\n]*=\s*['\"]([^'\"]*)['\"]", text, re.MULTILINE))
        version = said.get("__version__") or (package.version if package else "")
        return TorchBuild(version, said.get("cuda") or None, said.get("hip") or None)

    def _import_all(self) -> Mapping[str, Imported]:
        rows = [[name for name in row if self.packages.module(name)] for row in _ROWS]
        found: dict[str, Imported] = {}
        for answers in _side_by_side([functools.partial(self._import, row) for row in rows if row]):
            found |= answers
        # One that fails takes those behind it along: they get a child each.
        left = [name for row in rows for name in row if name not in found]
        if "torch" in found and found["torch"].fault:
            left = [name for name in left if name == "transformers"]
        for answers in _side_by_side([functools.partial(self._import, [name]) for name in left]):
            found |= answers
        return found

    def _import(self, names: Sequence[str]) -> dict[str, Imported]:
        machine = self.machine
        job = json.dumps({"names": names, "paths": machine.paths}).encode() + b"\n"
        environ = {**machine.environ, "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "PYTHONIOENCODING": "utf-8"}
        ended = self._probes.run(
            [machine.python, "-B", "-c", _WORKER.read_text(encoding="utf-8")],
            seconds=machine.seconds,
            environ=environ,
            given=job,
        )
        begun: list[str] = []
        found: dict[str, Imported] = {}
        for line in ended.answer.splitlines():
            try:
                answer = json.loads(line)
                name = str(answer["name"])
            except (ValueError, KeyError, TypeError):
                continue
            facts = answer.get("facts")
            if isinstance(facts, dict):
                found[name] = Imported(facts, str(facts.get("error", "")))
            else:
                begun.append(name)
        for name in begun or names[:1]:
            if name not in found:
                words = last_line(ended.words)
                fault = ended.fault or "ends without an answer"
                found[name] = Imported({}, f"the import {fault}" + (f": {words}" if words else ""))
        return found

    def _ask_gpus(self) -> Gpus:
        ended = self._probes.run(_SMI, seconds=min(_SMI_SECONDS, self.machine.seconds), environ=self.machine.environ)
        text = ended.answer.decode("utf-8", "replace")
        if ended.code is None and not ended.answer and ended.fault.startswith("cannot be run"):
            return Gpus(())
        if ended.fault:
            said = last_line(text) or last_line(ended.words)
            return Gpus((), f"{ended.fault}: {said}" if said else ended.fault, True)
        rows = [[cell.strip() for cell in line.split(",", 2)] for line in text.splitlines()]
        return Gpus(tuple((row[0], row[1], row[2]) for row in rows if len(row) == 3), "", True)


def _later(work: Callable[[], Result]) -> Future[Result]:
    future: Future[Result] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - who asks for the result gets it
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def _side_by_side(works: Sequence[Callable[[], Result]]) -> list[Result]:
    return [future.result() for future in [_later(work) for work in works]]
