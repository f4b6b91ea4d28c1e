"""The user's token: where it is, and for which hub. It is never shown."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from urllib.parse import urlsplit

from assetmgr.doctor.evidence import Evidence
from assetmgr.doctor.finding import Finding, some
from assetmgr.doctor.machine import Machine, text_of

_CHECK = "token"
_HUB = "https://huggingface.co"
_HUBS = ("huggingface.co", "hf.co")
_OFTEN = 10_000


def check_token(evidence: Evidence) -> Iterator[Finding]:
    """Is there a token, and is it for the hub that is asked?"""
    machine = evidence.machine
    endpoint = (machine.variable("HF_ENDPOINT") or _HUB).rstrip("/")
    place, token = _token(machine)
    others = {one: names for one, names in machine.wanted.endpoints.items() if one.rstrip("/") != endpoint}
    if not token:
        yield Finding(
            "note",
            _CHECK,
            f"none: what is private or gated on {_host(endpoint)} is not to be had",
            "HF_TOKEN, or: hf auth login",
        )
        return
    if not (token.isascii() and token.isprintable()):
        yield Finding(
            "error",
            _CHECK,
            f"that in {place} has characters that no token has",
            f"put it into {place} anew, copied whole and with nothing else",
        )
        return
    if machine.variable("HF_HUB_DISABLE_IMPLICIT_TOKEN").upper() in ("1", "ON", "YES", "TRUE"):
        yield Finding(
            "note",
            _CHECK,
            f"that in {place} is sent to nobody: HF_HUB_DISABLE_IMPLICIT_TOKEN is set",
            "unset HF_HUB_DISABLE_IMPLICIT_TOKEN",
        )
        return
    if token.startswith("hf_") and _host(endpoint) not in _HUBS:
        yield Finding(
            "warning",
            _CHECK,
            f"that in {place} looks like one of {_HUBS[0]}, and is sent to {_host(endpoint)}, which HF_ENDPOINT names",
            f"unset HF_ENDPOINT, or give the token of {_host(endpoint)} by HF_TOKEN",
        )
    elif not token.startswith("hf_") and _host(endpoint) in _HUBS:
        yield Finding(
            "warning",
            _CHECK,
            f"that in {place} does not begin with hf_, as those of {_HUBS[0]} do",
            f"put it into {place} anew, or name its hub by HF_ENDPOINT",
        )
    else:
        yield Finding("ok", _CHECK, f"that in {place} is for {_host(endpoint)}")
    for other, names in sorted(others.items()):
        yield Finding(
            "warning",
            _CHECK,
            f"it is for {_host(endpoint)}, and not sent to {_host(other)}, which is asked for {some(names)}",
            f"HF_ENDPOINT={other} with the token of that hub, where what is wanted there is private",
        )
    yield from _openness(machine, place)


def _token(machine: Machine) -> tuple[str, str]:
    """Where the token is, and the token. As `origins.hub_direct.user_token` looks for it."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if machine.variable(name):
            return name, "".join(machine.variable(name).split())
    path = _file(machine)
    return path, "".join((text_of(path, _OFTEN) or "").split())


def _file(machine: Machine) -> str:
    cache = machine.variable("XDG_CACHE_HOME") or os.path.join("~", ".cache")
    home = machine.variable("HF_HOME") or os.path.join(cache, "huggingface")
    path = machine.variable("HF_TOKEN_PATH") or os.path.join(home, "token")
    return os.path.expanduser(os.path.expandvars(path))


def _openness(machine: Machine, place: str) -> Iterator[Finding]:
    if machine.platform == "win32" or place != _file(machine):
        return
    try:
        mode = stat.S_IMODE(os.stat(place).st_mode)
    except OSError:
        return
    if mode & 0o077:
        yield Finding("warning", _CHECK, f"{place} may be read by others (mode {mode:o})", f"chmod 600 {place}")


def _host(endpoint: str) -> str:
    try:
        parts = urlsplit(endpoint)
        return f"{parts.hostname}:{parts.port}" if parts.port else parts.hostname or endpoint
    except ValueError:
        return endpoint
