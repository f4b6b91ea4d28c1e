"""Where a URL is really asked, while the tests serve a catalog's own URLs on this machine.

The variable holds a JSON object, ``{"https://host/folder": "http://127.0.0.1:8000/folder"}``: a URL that begins with a
key is asked at its value instead. No login goes along, and whatever is told or written down names the URL that was
declared. It is for tests: nobody else has a reason to set it.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
from collections.abc import Mapping

from assetmgr.errors import UsageError
from assetmgr.transfer.source import Source

VARIABLE = "ASSETMGR_TEST_DETOURS"


def detour(source: Source) -> Source:
    """The source as it is asked: itself, or without any login at the place that the variable says."""
    said = os.environ.get(VARIABLE)
    if not said:
        return source
    url = detoured(source.url, _detours(said))
    return source if url == source.url else dataclasses.replace(source, url=url, token=None, logins=False)


def detoured(url: str, detours: Mapping[str, str]) -> str:
    """A URL with its longest known beginning replaced."""
    known = max((start for start in detours if url.startswith(start)), key=len, default=None)
    return url if known is None else detours[known] + url[len(known) :]


@functools.cache
def _detours(said: str) -> Mapping[str, str]:
    try:
        detours = json.loads(said)
    except ValueError:
        detours = None
    if not isinstance(detours, dict) or not all(isinstance(to, str) for to in detours.values()):
        raise UsageError(f"{VARIABLE} is no JSON object of URLs", mend=f"unset {VARIABLE}: it is for tests")
    return detours
