"""The parent's end of the hub child: started when first needed, one job at a time, ended at once."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from typing import IO, Any

from assetmgr.errors import AssetError
from assetmgr.transfer.limits import Limits

# The child sees exactly the parent's import path, however that came about, and never the working folder.
_START = """
import json, sys
sys.path[:] = json.loads(sys.argv.pop())
from assetmgr.origins import hub_worker
hub_worker.main()
"""


def _group_umask(root: str) -> int:
    """The umask that lets a setgid root's group into what the child makes; -1, the user's own, for any other root."""
    with contextlib.suppress(OSError):
        mode = os.stat(root).st_mode
        if os.name != "nt" and mode & stat.S_ISGID:
            return ~mode & 0o077
    return -1


class HubProcess:
    """The child, for a store at ``root``: what it stages there is as open to the group as the root is."""

    def __init__(self, limits: Limits, root: str) -> None:
        self._root = root
        self._limits = dataclasses.asdict(limits)
        self._process: subprocess.Popen[bytes] | None = None
        self._stderr: IO[bytes] | None = None

    def ask(self, job: Mapping[str, Any], on_event: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
        """Have the child do a job; return its last event, ``result`` or ``error``."""
        process = self._started()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({**job, "limits": self._limits}).encode() + b"\n")
            process.stdin.flush()
            for line in process.stdout:
                event: dict[str, Any] = json.loads(line)
                if event["event"] in ("result", "error"):
                    return event
                on_event(event)
        except BrokenPipeError:
            pass
        except BaseException:
            self.close()
            raise
        raise AssetError(
            f"the hub process ended with code {process.wait()}: {self._last_words()}",
            mend="python -m pip check, and report this if it finds nothing",
        )

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
            paths = [os.path.abspath(path) for path in sys.path]
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(paths)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                # Ctrl-C reaches the parent alone, which then ends the child.
                start_new_session=os.name != "nt",
                umask=_group_umask(self._root),
            )
        return self._process

    def _last_words(self) -> str:
        if self._stderr is None:
            return ""
        self._stderr.seek(0)
        lines = self._stderr.read().decode(errors="replace").strip().splitlines()
        return lines[-1][:500] if lines else "no word"

    def close(self) -> None:
        """End the child at once. What it has finished stays staged."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(OSError):
                if process.stdin:
                    process.stdin.close()
            process.wait()
            if process.stdout:
                process.stdout.close()
        if self._stderr is not None:
            self._stderr.close()
            self._stderr = None
