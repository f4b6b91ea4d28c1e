"""Files of Kaggle's datasets and competitions. The only module that imports the kaggle library.

``kaggle:OWNER/DATASET/PATH``, ``kaggle:OWNER/DATASET/versions/N/PATH`` and ``kaggle:c/COMPETITION/PATH``. The library
knows the user's key and whom it is for; it says where the bytes are, a signed address that wants no login.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import io
import re
import threading
from typing import Any
from urllib.parse import unquote, urlsplit

from assetmgr.errors import AccessError, AssetError, MissingExtraError, OriginError
from assetmgr.transfer.connection import Answer, reason
from assetmgr.transfer.elsewhere import Ask
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.retry import PASSING, PassingError
from assetmgr.transfer.trust import certificate_error
from assetmgr.transfer.urls import clean

_VERSION = re.compile(r"versions/([0-9]{1,9})/(.+)", re.S)
_KEY = "make a key at https://www.kaggle.com/settings (API), and put the kaggle.json that it gives into ~/.kaggle/"
# One at a time: the library is not made for threads, and speaks on stdout.
_LIBRARY = threading.Lock()


class KaggleFile:
    """See `elsewhere.Elsewhere`."""

    def __init__(self, url: str, limits: Limits) -> None:
        self._url = url
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
                self._found = self._in_time()
            return self._found

    def _in_time(self) -> str:
        """What the library says, which itself would wait for ever."""
        result: list[str | BaseException] = []

        def work() -> None:
            try:
                result.append(self._asked())
            except BaseException as error:  # noqa: BLE001 - raised below
                result.append(error)

        thread = threading.Thread(target=work, name="assetmgr-kaggle", daemon=True)
        thread.start()
        seconds = self._limits.connect_timeout + self._limits.read_timeout
        thread.join(seconds)
        if not result:
            raise PassingError(f"Kaggle says nothing for {seconds:.0f} s")
        if isinstance(result[0], BaseException):
            raise result[0]
        self._refuse_packed(result[0])
        return result[0]

    def _asked(self) -> str:
        with _LIBRARY, contextlib.redirect_stdout(io.StringIO()):
            api = self._library()
            import requests

            try:
                with api.build_kaggle_client() as client:
                    response = self._request(client)
                    response.close()
                    return str(response.url)
            except requests.HTTPError as error:
                raise self._refused(error.response) from None
            except (requests.RequestException, OSError) as error:
                raise certificate_error(self._url, error) or PassingError(f"Kaggle: {reason(error)}") from None

    def _library(self) -> Any:
        try:
            return _authenticated()
        except ImportError as error:
            raise MissingExtraError(
                f"{self._url}: Kaggle's files need the kaggle library, version 2 or newer ({error})",
                mend="pip install --upgrade 'assetmgr[kaggle]', with Python 3.11 or newer",
            ) from None
        except (SystemExit, ValueError, KeyError):
            raise AccessError(f"{self._url}: no key for Kaggle is here", mend=_KEY) from None
        except OSError as error:
            raise PassingError(f"Kaggle: {reason(error)}") from None

    def _request(self, client: Any) -> Any:
        owner, name, path = self._parts()
        if owner == "c":
            from kagglesdk.competitions.types.competition_api_service import ApiDownloadDataFileRequest

            wanted = ApiDownloadDataFileRequest()
            wanted.competition_name, wanted.file_name = name, path
            return client.competitions.competition_api_client.download_data_file(wanted)
        from kagglesdk.datasets.types.dataset_api_service import ApiDownloadDatasetRequest

        wanted = ApiDownloadDatasetRequest()
        version = _VERSION.fullmatch(path)
        wanted.owner_slug, wanted.dataset_slug = owner, name
        wanted.file_name = version[2] if version else path
        wanted.dataset_version_number = int(version[1]) if version else None
        return client.datasets.dataset_api_client.download_dataset(wanted)

    def _parts(self) -> tuple[str, str, str]:
        owner, name, path = self._url.partition(":")[2].split("/", 2)
        return owner, name, unquote(path)

    def _refused(self, response: Any) -> AssetError | PassingError:
        owner, name, path = self._parts()
        page = f"https://www.kaggle.com/{'competitions' if owner == 'c' else f'datasets/{owner}'}/{name}"
        status = response.status_code
        said = " ".join(clean(_message(response)).split())[:300]
        told = f"{self._url}: Kaggle: HTTP {status}" + (f": {said}" if said else "")
        if status in PASSING:
            return PassingError(f"Kaggle: HTTP {status}", response.headers.get("Retry-After"))
        if status == 401:
            return AccessError(told, mend=_KEY)
        if status == 403:
            rules = f"{page}/rules" if owner == "c" else page
            return AccessError(told, mend=f"accept the terms at {rules} as the user of the key, and repeat the command")
        return OriginError(
            told, mend=f"correct the url: {page} lists what there is, and {path!r} is what was asked for"
        )

    def _refuse_packed(self, found: str) -> None:
        name = self._parts()[2].rpartition("/")[2]
        if unquote(urlsplit(found).path).rpartition("/")[2] == f"{name}.zip":
            raise OriginError(
                f"{self._url}: Kaggle gives it packed, as {name}.zip: those are other bytes",
                mend="fetch and unpack it by hand, and say so with `ask:` in the manifest",
            )


def _message(response: Any) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return ""


@functools.cache
def _authenticated() -> Any:
    # Absent (an ImportError) where kaggle is so old that it would read all of a file to tell where it is.
    importlib.metadata.version("kagglesdk")
    from kaggle.api.kaggle_api_extended import KaggleApi

    api = KaggleApi()
    api.authenticate()
    return api
