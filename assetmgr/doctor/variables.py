"""Variables that say otherwise than the store: programs that are started without `assetmgr run` obey them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from assetmgr.doctor.evidence import Evidence
from assetmgr.doctor.finding import Finding
from assetmgr.environment import PLACES, RIVALS

_CHECK = "variables"
_RUN = 'start programs by `assetmgr run -- COMMAND`, or: eval "$(assetmgr env)"'
_TRUE = ("1", "ON", "YES", "TRUE")


def check_caches(evidence: Evidence) -> Iterator[Finding]:
    """Do variables send other libraries elsewhere than to the store?"""
    machine = evidence.machine
    if machine.store is None:
        return
    wrong = False
    for name, place in PLACES.items():
        value = machine.variable(name)
        if value and not _same(value, os.path.join(machine.store, place)):
            wrong = True
            yield Finding(
                "warning",
                _CHECK,
                f"{name}={value} is not the store's {place}: programs look there",
                f"unset {name}; {_RUN}",
            )
    for name in RIVALS:
        value = machine.variable(name)
        if value and not _same(value, os.path.join(machine.store, "hub")):
            wrong = True
            yield Finding(
                "warning",
                _CHECK,
                f"{name}={value} wins over HF_HUB_CACHE in the libraries that know it: they do not find the store",
                f"unset {name}",
            )
    home = machine.variable("HF_HOME")
    if home and not any(machine.variable(name) for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")):
        yield Finding("note", _CHECK, f"HF_HOME={home}: programs look there, in hub, and not in the store", _RUN)
    if evidence.packages.get("salesforce-lavis"):
        yield Finding(
            "note",
            _CHECK,
            "LAVIS's cache is /export/home/.cache/lavis, which no variable moves",
            "start it by `assetmgr run -- COMMAND`: its cache is the store's then",
        )
    chosen, declared = machine.variable("ASSETMGR_ROOT"), machine.wanted.cache_root
    if chosen and declared and not _same(chosen, declared):
        yield Finding(
            "note",
            _CHECK,
            f"ASSETMGR_ROOT={chosen} goes before the manifest's cache_root, {declared}",
            "unset one of them",
        )
    if not wrong:
        yield Finding("ok", _CHECK, "none sends another library to a cache beside the store")


def _same(one: str, other: str) -> bool:
    one, other = (os.path.realpath(os.path.expanduser(os.path.expandvars(path))) for path in (one, other))
    return os.path.normcase(one) == os.path.normcase(other)


def check_network_variables(evidence: Evidence) -> Iterator[Finding]:
    """Do variables keep assetmgr or the libraries from the network, or send them to a place that is none?"""
    machine = evidence.machine
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        if machine.variable(name).upper() in _TRUE:
            yield Finding(
                "warning" if machine.wanted.fetches else "note",
                _CHECK,
                f"{name}={machine.variable(name)}: assetmgr too asks no network"
                + (", and assets are still to be pulled" if machine.wanted.fetches else ""),
                f"unset {name}",
            )
    endpoint = machine.variable("HF_ENDPOINT")
    if endpoint and not _is_address(endpoint):
        yield Finding(
            "error",
            _CHECK,
            f"HF_ENDPOINT={endpoint} is no http(s) address",
            "HF_ENDPOINT=https://huggingface.co, or unset it",
        )
    if machine.variable("HF_HUB_ENABLE_HF_TRANSFER").upper() in _TRUE:
        yield from _hf_transfer(evidence)
    for folder in machine.folders_in("ASSETMGR_LOCAL_CACHES"):
        if folder != "off" and not os.path.isdir(os.path.expanduser(folder)):
            yield Finding("note", _CHECK, f"ASSETMGR_LOCAL_CACHES names {folder}, which is not there", "take it out")


def _hf_transfer(evidence: Evidence) -> Iterator[Finding]:
    hub = evidence.packages.get("huggingface-hub")
    if hub is not None and re.match(r"0\.", hub.version):
        if evidence.packages.get("hf-transfer") is None:
            yield Finding(
                "error",
                _CHECK,
                f"HF_HUB_ENABLE_HF_TRANSFER is set, and hf_transfer is not installed: {hub} fails at every download",
                "unset HF_HUB_ENABLE_HF_TRANSFER, or pip install hf_transfer",
            )
    elif hub is not None:
        yield Finding(
            "note", _CHECK, f"HF_HUB_ENABLE_HF_TRANSFER means nothing to {hub}", "unset HF_HUB_ENABLE_HF_TRANSFER"
        )


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        return False
