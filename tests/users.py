"""Real users on one machine: processes of other user ids, in a group or not, each with a home of its own.

Only root can start them. Where Python itself lies in a folder that is root's alone, they see it through a mount.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import REPOSITORY, Done, clean_environment

GROUP = 64000

# Runs what it is asked for, each in a process of its own that is forked off: nothing has to be imported again.
_USER = """
import json, os, subprocess, sys, traceback
told = json.loads(sys.argv[1])
run = lambda *words: subprocess.run(words, check=True, stdout=2)
if told["closed"]:
    hold = told["hold"]
    run("mount", "-t", "tmpfs", "-o", "mode=755", "none", hold)
    for number, (closed, path) in enumerate(told["closed"]):
        os.mkdir(f"{hold}/{number}")
        run("mount", "--bind", path, f"{hold}/{number}")
    for closed in dict.fromkeys(closed for closed, _ in told["closed"]):
        run("mount", "-t", "tmpfs", "-o", "mode=755", "none", closed)
    for number, (closed, path) in enumerate(told["closed"]):
        os.makedirs(path, exist_ok=True)
        run("mount", "--bind", f"{hold}/{number}", path)
if told["uid"]:
    os.setgroups(told["groups"])
    os.setresgid(told["uid"], told["uid"], told["uid"])
    os.setresuid(told["uid"], told["uid"], told["uid"])
os.chdir(told["home"])
import assetmgr.cli.running, assetmgr.pull, assetmgr.workspace, assetmgr.origins.hub, filelock
print("ready", flush=True)
for line in sys.stdin:
    job = json.loads(line)
    names = [f"{told['home']}/said-{job['number']}.{stream}" for stream in ("out", "err")]
    pid = os.fork()
    if not pid:
        os.setsid()
        for number, name in enumerate(names, 1):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        os.umask(job["umask"])
        os.environ.update(job["env"])
        os.chdir(job["folder"])
        code = 1
        try:
            if "code" in job:
                exec(job["code"], {})
                code = 0
            else:
                from assetmgr.cli import main
                sys.argv = ["assetmgr", *job["words"]]
                code = main(job["words"])
        except SystemExit as done:
            code = done.code
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(code)
    print(json.dumps(pid), flush=True)
    status = os.waitpid(pid, 0)[1]
    print(json.dumps([os.waitstatus_to_exitcode(status), *(open(name).read() for name in names)]), flush=True)
"""


@dataclass
class User:
    """A user of this machine, who runs commands in a folder of their own, on a store.

    ``home`` is theirs alone; ``root`` and ``folder``, where their manifest is, are to be set.
    """

    uid: int
    home: Path
    _process: subprocess.Popen[str]
    root: Path = Path()
    folder: Path = Path()
    umask: int = 0o022
    _count: int = 0
    _running: int = 0

    def start(self, *words: str, code: str = "", **env: str) -> int:
        """Start `assetmgr` with these words, or Python ``code``; return the process's id. See `finish`."""
        job: dict[str, Any] = {"number": self._count, "umask": self.umask, "folder": str(self.folder)}
        job |= {"env": {"ASSETMGR_ROOT": str(self.root), **env}} | ({"code": code} if code else {"words": words})
        self._count += 1
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        self._running = int(self._line())
        return self._running

    def _line(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())

    def said(self) -> str:
        """What the command that runs has written so far."""
        names = [self.home / f"said-{self._count - 1}.{stream}" for stream in ("out", "err")]
        return "".join(name.read_text() for name in names if name.exists())

    def finish(self, expect: int | None = 0) -> Done:
        """Wait for what was started; fail unless it ends with the expected code (None: any)."""
        done, self._running = Done(*self._line()), 0
        assert "Traceback" not in done.err, done.err
        assert expect is None or done.code == expect, f"{done.code}\n{done.out}\n{done.err}"
        return done

    def run(self, *words: str, expect: int | None = 0, code: str = "", **env: str) -> Done:
        """Run `assetmgr`, or Python by ``code=``; fail unless it ends with the expected code (None: any)."""
        self.start(*words, code=code, **env)
        return self.finish(expect)

    def write(self, text: str) -> None:
        """Write ``assets.yaml``, for them alone to read."""
        path = self.folder / "assets.yaml"
        path.write_text(text)
        os.chown(path, self.uid, self.uid)
        path.chmod(0o600)

    def visit(self, root: Path) -> None:
        """Go to a store, with an empty folder to work in. What is still running is ended."""
        if self._running:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._running, 9)
            self.finish(None)
        self.root, self.umask = root, 0o022
        self.folder = self.home / str(len(os.listdir(self.home)))
        self.folder.mkdir(mode=0o700)
        os.chown(self.folder, self.uid, self.uid)


def _closed(path: str) -> tuple[str, str] | None:
    """The first folder on the way to a path that is closed to others, and the path."""
    for folder in reversed([*Path(path).parents, Path(path)]):
        if not folder.stat().st_mode & 0o001:
            return str(folder), path
    return None


@contextlib.contextmanager
def user(uid: int, folder: Path, *, groups: tuple[int, ...] = (), endpoint: str = "") -> Iterator[User]:
    """A user (0: root) with a home in a folder."""
    if os.name == "nt" or os.geteuid() != 0:
        pytest.skip("only root can be several users")
    home, hold = folder / f"home-{uid}", folder / f"hold-{uid}"
    home.mkdir(mode=0o700)
    hold.mkdir()
    os.chown(home, uid, uid)
    needed = dict.fromkeys(os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, REPOSITORY))
    closed = [found for path in needed if uid and (found := _closed(path))]
    told = {"uid": uid, "groups": groups, "home": str(home), "closed": closed, "hold": str(hold)}
    environment = clean_environment(HOME=str(home), XDG_CACHE_HOME=f"{home}/cache", HF_ENDPOINT=endpoint)
    process = subprocess.Popen(
        [*(("unshare", "--mount") if closed else ()), sys.executable, "-c", _USER, json.dumps(told)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        cwd="/",
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            pytest.skip("no right to be another user here, or to mount what they need to see")
        yield User(uid, home, process)
    finally:
        process.communicate(timeout=60)
