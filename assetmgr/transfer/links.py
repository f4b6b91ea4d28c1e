"""The Link header (RFC 8288), by which an API says where its next page is."""

from __future__ import annotations

import re
from urllib.parse import urljoin

_TARGET = re.compile(r"<([^<>]*)>")
# A value in single quotes is none by the RFC, and sent all the same.
_PARAMETER = re.compile(
    r"""[ \t]*;[ \t]*(?:([^\s"',;=<>]+)[ \t]*(?:=[ \t]*(?:"((?:[^"\\]|\\.)*)"|'([^']*)'|([^\s"',;<>]*)))?)?"""
)
_COMMAS = re.compile(r"[ \t,]*")
_END = re.compile(r"[ \t]*(?:,|\Z)")


def next_link(header: str, base: str) -> str | None:
    """The absolute URL of the one link that is related as ``next``; None where the header names no such link.

    Parameters
    ----------
    base
        The URL whose answer has the header: a relative target is joined to it.

    Raises
    ------
    ValueError
        When it is no Link header, or names several next ones: to take it for the last page would lose the rest.
    """
    found = set()
    at = _skip(_COMMAS, header, 0)
    while at < len(header):
        target = _TARGET.match(header, at)
        if target is None:
            raise ValueError("a link without a target")
        at, relation = target.end(), None
        while parameter := _PARAMETER.match(header, at):
            at = parameter.end()
            name, *values = parameter.groups()
            if relation is None and (name or "").lower() == "rel":  # of several, the first counts
                relation = next((value for value in values if value is not None), "")
        if _END.match(header, at) is None:
            raise ValueError("a link that does not end")
        at = _skip(_COMMAS, header, at)
        if relation is not None and "next" in relation.lower().split():
            found.add(urljoin(base, target[1].strip()))
    if len(found) > 1:
        raise ValueError("several next pages")
    return found.pop() if found else None


def _skip(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at
