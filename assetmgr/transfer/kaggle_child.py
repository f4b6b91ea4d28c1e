"""Asks the kaggle library where a file is. The only module that imports it.

It runs as a process of its own, for the library speaks on stdout, and waits for its service as long as that takes. The
answer is one JSON document: ``url``, or what went wrong as ``missing`` (no such library), ``key`` (none is here),
``status`` with ``message`` and ``retry_after`` (Kaggle's answer), ``refused`` with ``mend``, or ``passing``.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import sys
from typing import Any

from assetmgr.transfer.connection import reason
from assetmgr.transfer.trust import certificate_error

_VERSION = re.compile(r"versions/([0-9]{1,9})/(.+)", re.S)


def main() -> None:
    """Answer for the file that the last argument names, as JSON: owner, name, path, and the URL for messages."""
    owner, name, path, url = json.loads(sys.argv[-1])
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answer:
        os.dup2(2, 1)
        json.dump(_find(owner, name, path, url), answer)


def _find(owner: str, name: str, path: str, url: str) -> dict[str, Any]:
    try:
        # Absent (an ImportError) where kaggle is so old that it would read all of a file to tell where it is.
        importlib.metadata.version("kagglesdk")
        from kaggle.api.kaggle_api_extended import KaggleApi
    except ImportError as error:
        return {"missing": str(error)}
    except (SystemExit, ValueError):
        return {"key": None}
    import requests

    try:
        api = KaggleApi()
        api.authenticate()
    except (SystemExit, ValueError, KeyError):
        return {"key": None}
    except (requests.RequestException, OSError) as error:
        return _failed(error, url)
    try:
        with api.build_kaggle_client() as client:
            response = _ask(client, owner, name, path)
            response.close()
            return {"url": response.url}
    except requests.HTTPError as error:
        asked = error.response.headers.get("Retry-After")
        return {"status": error.response.status_code, "message": _message(error.response), "retry_after": asked}
    except (requests.RequestException, OSError) as error:
        return _failed(error, url)


def _ask(client: Any, owner: str, name: str, path: str) -> Any:
    """An answer of the storage that Kaggle's service led to, its body not read."""
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


def _message(response: Any) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def _failed(error: Exception, url: str) -> dict[str, Any]:
    refused = certificate_error(url, error)
    return {"refused": refused.message, "mend": refused.mend} if refused else {"passing": reason(error)}
