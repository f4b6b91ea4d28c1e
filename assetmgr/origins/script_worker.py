"""The other end of `script`: one of LAVIS's download scripts, run as it is, with what it asks LAVIS for answered by us.

It runs in a Python of the user's choice, by this file's path, and imports nothing of assetmgr. LAVIS itself need not be
installed: of `lavis.common.utils` the script gets the functions below, of everything else what its checkout has.
Omegaconf is used where it is, and where it is not, what the scripts want of it is here.
"""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import runpy
import shutil
import signal
import sys
import threading
import types
from collections.abc import Mapping
from typing import Any


class Parent:
    """Who does what the script wants done. One line asks, one line answers; when it is gone, so are we."""

    def __init__(self) -> None:
        self._answers: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._asking = os.fdopen(os.dup(1), "wb")
        self._answering = os.fdopen(os.dup(0), "rb")
        # What the script prints is words; what it reads, nothing.
        os.dup2(2, 1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._answering:
            self._answers.put(line)
        if hasattr(os, "killpg"):
            os.killpg(0, signal.SIGKILL)
        os._exit(9)

    def ask(self, **question: object) -> None:
        """Have something done; raise what went wrong, as LAVIS's own functions would."""
        self._asking.write(json.dumps(question).encode() + b"\n")
        self._asking.flush()
        answer = json.loads(self._answers.get())
        if answer["error"]:
            raise RuntimeError(answer["error"])


def utils_of(parent: Parent, root: str, libraries: list[str]) -> types.ModuleType:
    """What stands for `lavis.common.utils`."""
    module = types.ModuleType("lavis.common.utils", "What a download script asks LAVIS for, answered by assetmgr.")

    def get_cache_path(rel_path: str) -> str:
        path = os.path.join(root, rel_path)
        if os.path.commonpath([os.path.abspath(path), root]) != root:
            raise RuntimeError(f"{rel_path} is not in LAVIS's cache root")
        parent.ask(what="path", path=path)
        return path

    def get_abs_path(rel_path: str) -> str:
        paths = [os.path.join(library, rel_path) for library in libraries]
        return next(filter(os.path.exists, paths), paths[-1])

    def cleanup_dir(dir: str) -> None:
        if os.path.exists(dir):
            shutil.rmtree(dir)

    def download_and_extract_archive(
        url: str,
        download_root: str,
        extract_root: str | None = None,
        filename: str | None = None,
        md5: str | None = None,
        remove_finished: bool = False,
    ) -> None:
        folders = {"download_root": os.path.abspath(download_root)}
        folders["extract_root"] = os.path.abspath(extract_root or download_root)
        parent.ask(what="archive", url=url, filename=filename, md5=md5, **folders)

    def makedir(dir_path: str) -> bool:
        os.makedirs(dir_path, exist_ok=True)
        return True

    functions = (get_cache_path, get_abs_path, cleanup_dir, download_and_extract_archive, makedir)
    vars(module).update({function.__name__: function for function in functions})
    return module


class Config(dict[str, Any]):
    """A mapping of a YAML file, whose keys are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def configured(value: Any) -> Any:
    """A YAML value with every mapping as a `Config`."""
    if isinstance(value, Mapping):
        return Config({key: configured(item) for key, item in value.items()})
    return [configured(item) for item in value] if isinstance(value, list) else value


def omegaconf() -> types.ModuleType:
    """What stands for omegaconf where that is not installed."""
    import yaml

    class OmegaConf:
        @staticmethod
        def load(path: str) -> Any:
            with open(path, encoding="utf-8") as file:
                return configured(yaml.safe_load(file))

    module = types.ModuleType("omegaconf")
    vars(module).update(OmegaConf=OmegaConf)
    return module


def main() -> None:
    sys.path.pop(0)  # the folder of this file
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    package = os.path.join(job["checkout"], "lavis")
    for name, path in (("lavis", package), ("lavis.common", os.path.join(package, "common"))):
        module = types.ModuleType(name)
        module.__path__ = [path]
        sys.modules[name] = module
    parent = Parent()
    sys.modules["lavis.common.utils"] = utils_of(parent, job["root"], [*job["libraries"], package])
    if importlib.util.find_spec("omegaconf") is None:
        sys.modules["omegaconf"] = omegaconf()
    sys.argv = [job["script"]]
    runpy.run_path(job["script"], run_name="__main__")


if __name__ == "__main__":
    main()
