"""Files of Kaggle's datasets and competitions.

``kaggle:OWNER/DATASET/PATH``, ``kaggle:OWNER/DATASET/versions/N/PATH`` and ``kaggle:c/COMPETITION/PATH``. The kaggle
library knows the user's key and whom it is for; it says where the bytes are, a signed address that wants no login.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

from assetmgr.errors import AccessError, AssetError, MissingExtraError, OriginError
from assetmgr.transfer.connection import Answer
from assetmgr.transfer.elsewhere import Ask
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.retry import PASSING, PassingError
from assetmgr.transfer.urls import clean

_KEY = "make a key at https://www.kaggle.com/settings (API), and put the kaggle.json that it gives into ~/.kaggle/"
# The child sees exactly the parent's import path, and never the working folder.
_START = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from assetmgr.transfer import kaggle_child
kaggle_child.main()
"""


class KaggleFile:
    """See `elsewhere.Elsewhere`."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._url = url
        self._owner, self._name, path = url.partition(":")[2].split("/", 2)
        self._path = unquote(path)
        self._limits = limits
        self._found = ""
        self._lock = threading.Lock()

    def open(self, ask: Ask) -> Answer:
        found = self._locate("")
        answer = ask(found)
        if answer.status in (400, 401, 403, 404, 410):  # a signed address lives for minutes or hours
            again = self._locate(found)
            if again != found:
                answer.close()
                answer = ask(again)
        return answer

    def _locate(self, expired: str) -> str:
        """The address of the bytes; not the one that has expired."""
        with self._lock:
            if not self._found or self._found == expired:
                answer = self._asked()
                if "url" not in answer:
                    raise self._refused(answer)
                found = str(answer["url"])
                self._refuse_packed(found)
                self._found = found
            return self._found

    def _asked(self) -> dict[str, Any]:
        """What the library says, see `kaggle_child`."""
        seconds = self._limits.connect_timeout + self._limits.read_timeout
        paths = json.dumps([os.path.abspath(path) for path in sys.path])
        wanted = json.dumps([self._owner, self._name, self._path, self._url])
        try:
            done = subprocess.run(
                [sys.executable, "-c", _START, paths, wanted],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise PassingError(f"Kaggle says nothing for {seconds:.0f} s") from None
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            words = done.stderr.decode(errors="replace").strip().splitlines()
            raise OriginError(
                f"{self._url}: the kaggle library fails: {clean(words[-1])[:300] if words else done.returncode}",
                mend="pip install --upgrade 'assetmgr[kaggle]'",
            ) from None
        return answer

    def _refused(self, answer: dict[str, Any]) -> AssetError | PassingError:
        if "missing" in answer:
            return MissingExtraError(
                f"{self._url}: Kaggle's files need the kaggle library, version 2 or newer ({answer['missing']})",
                mend="pip install --upgrade 'assetmgr[kaggle]', with Python 3.11 or newer",
            )
        if "key" in answer:
            return AccessError(f"{self._url}: no key for Kaggle is here", mend=_KEY)
        if "passing" in answer:
            return PassingError(f"Kaggle: {clean(answer['passing'])}")
        if "refused" in answer:
            return OriginError(answer["refused"], mend=answer["mend"])
        status = answer["status"]
        if status in PASSING:
            return PassingError(f"Kaggle: HTTP {status}", answer["retry_after"])
        is_competition = self._owner == "c"
        page = f"https://www.kaggle.com/{'competitions' if is_competition else f'datasets/{self._owner}'}/{self._name}"
        said = " ".join(clean(answer["message"]).split())[:300]
        told = f"{self._url}: Kaggle: HTTP {status}" + (f": {said}" if said else "")
        if status == 401:
            return AccessError(told, mend=_KEY)
        if status == 403:
            terms = f"{page}/rules" if is_competition else page
            return AccessError(told, mend=f"accept the terms at {terms} as the user of the key, and repeat the command")
        return OriginError(told, mend=f"correct the url: {page} lists what there is; {self._path!r} was asked for")

    def _refuse_packed(self, found: str) -> None:
        name = self._path.rpartition("/")[2]
        if unquote(urlsplit(found).path).rpartition("/")[2] == f"{name}.zip":
            raise OriginError(
                f"{self._url}: Kaggle gives it packed, as {name}.zip: those are other bytes",
                mend="fetch and unpack it by hand, and say so with `ask:` in the manifest",
            )
