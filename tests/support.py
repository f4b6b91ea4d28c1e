"""What the tests share: a project folder, the command line as a user runs it, and ways to damage a file."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.hub import Hub

REPOSITORY = Path(__file__).resolve().parent.parent
# What a developer's own environment could leak into a test.
_LEAKS = ("PYTHON", "HF_", "HUGGING_FACE", "HUGGINGFACE_", "ASSETMGR_", "TRANSFORMERS_", "TORCH_HOME", "XDG_CACHE_HOME")


def clean_environment(**extra: str) -> dict[str, str]:
    """The environment of a fresh user: none of the variables that point tools at caches, hubs and tokens."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_LEAKS)}
    # On loopback no proxy is meant, and Xet's service cannot be there.
    kept |= {"NO_PROXY": "127.0.0.1,localhost", "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(REPOSITORY)}
    return kept | extra


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass
class Project:
    """A folder with an ``assets.yaml``, a store beside it, and the command line."""

    folder: Path
    endpoint: str = ""
    env: dict[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()

    @property
    def root(self) -> Path:
        return self.folder / "store"

    @property
    def lock_file(self) -> Path:
        return self.folder / "assets.lock.json"

    def write(self, text: str) -> None:
        """Write ``assets.yaml``; ``{endpoint}`` in it is the hub's address."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "assets.yaml").write_text(text.replace("{endpoint}", self.endpoint))

    def environment(self, **extra: str) -> dict[str, str]:
        home = str(self.folder / "home")
        os.makedirs(home, exist_ok=True)
        base = clean_environment(
            HOME=home, HF_HOME=f"{home}/hf", HF_ENDPOINT=self.endpoint, ASSETMGR_ROOT=str(self.root)
        )
        return base | self.env | extra

    def run(
        self, *arguments: str, code: int | None = 0, env: Mapping[str, str] | None = None, timeout: float = 120
    ) -> Done:
        """Run ``assetmgr`` as a user would; fail unless it ends with the expected code (None: any)."""
        done = subprocess.run(
            [*self.prefix, sys.executable, "-m", "assetmgr", *arguments],
            cwd=self.folder,
            env=self.environment(**(env or {})),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if code is not None:
            assert done.returncode == code, (
                f"assetmgr {' '.join(arguments)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            )
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def start(self, *arguments: str, **extra: str) -> subprocess.Popen[str]:
        """Start ``assetmgr`` without waiting for it."""
        return subprocess.Popen(
            [sys.executable, "-m", "assetmgr", *arguments],
            cwd=self.folder,
            env=self.environment(**extra),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def path(self, name: str) -> Path:
        return Path(self.run("path", name).out.strip())

    def python(self, code: str, *arguments: str, expect: int = 0, env: Mapping[str, str] | None = None) -> Done:
        """Run a Python program as a user of the store would, in this project's folder."""
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=self.folder,
            env=self.environment(**(env or {})),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == expect, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return Done(done.returncode, done.stdout, done.stderr)


@contextlib.contextmanager
def served(hub: Hub, folder: Path) -> Iterator[Project]:
    """A project whose environment's hub is the given one."""
    with hub.serve() as endpoint:
        folder.mkdir(parents=True, exist_ok=True)
        yield Project(folder, endpoint)


def hub_manifest(name: str = "m", repo: str = "org/name", section: str = "models", extra: Sequence[str] = ()) -> str:
    """The text of a manifest with one hub asset; ``extra`` are more lines of the asset."""
    lines = "".join(f"    {line}\n" for line in extra)
    return f"version: 1\n{section}:\n  {name}:\n    hub: {repo}\n{lines}"


def without_root_powers() -> tuple[str, ...]:
    """What to put before a command so that file permissions count, also where the tests run as root."""
    if os.name == "nt" or os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("the tests run as root, and there is no setpriv to do without its powers")
    return (setpriv, "--bounding-set=-dac_override,-dac_read_search")


def flip_byte(path: Path, at: int = 0, *, keep_time: bool = False) -> None:
    """Flip one bit of a file that may be read-only, through any link; ``keep_time`` leaves the stamp as it was."""
    real = Path(os.path.realpath(path))
    status = real.stat()
    real.chmod(0o644)
    with real.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1]))
    real.chmod(status.st_mode & 0o777)
    if keep_time:
        os.utime(real, ns=(status.st_atime_ns, status.st_mtime_ns))


def truncate(path: Path, size: int) -> None:
    """Cut a file that may be read-only, through any link."""
    real = Path(os.path.realpath(path))
    mode = real.stat().st_mode & 0o777
    real.chmod(0o644)
    os.truncate(real, size)
    real.chmod(mode)


def files_below(folder: Path) -> set[str]:
    """Every file and link below a folder, by relative name."""
    return {str(Path(at, name).relative_to(folder)) for at, _, names in os.walk(folder) for name in names}


def eventually(happened: Callable[[], bool], timeout: float = 30.0) -> bool:
    """Wait for something that another process does; False when it does not happen in time."""
    deadline = time.monotonic() + timeout
    while not happened():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True
