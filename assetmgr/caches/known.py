"""Which folders of this machine are caches that may hold an asset's files, by the rules of the tools that fill them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from string import Template
from typing import Literal, NamedTuple

VARIABLE = "ASSETMGR_LOCAL_CACHES"
OFF = ("off", "none", "no", "0")

# What fills it; ``any`` is a folder that the user names, which may have any of these layouts.
Kind = Literal["hub", "torch", "clip", "lavis", "any"]


class Cache(NamedTuple):
    """A folder, and how files are named in it."""

    folder: str
    kind: Kind


def known_caches(environ: Mapping[str, str], home: str, here: str) -> list[Cache]:
    """The caches to look into, in order, whether they exist or not.

    Parameters
    ----------
    environ
        ``ASSETMGR_LOCAL_CACHES`` names further folders, separated as in PATH, or is ``off``: then there are none.
    home, here
        The user's folder, and the working folder, where relative names begin.
    """
    said = environ.get(VARIABLE, "")
    if said.strip().lower() in OFF:
        return []

    def full(path: str) -> str:
        path = Template(path).safe_substitute(environ)  # as huggingface_hub reads its own
        if path == "~" or path.startswith("~/"):
            path = home + path[1:]
        return os.path.normpath(os.path.join(here, path))

    found = [Cache(full(path), "any") for path in said.split(os.pathsep) if path.strip()]
    usual = os.path.join(home, ".cache")
    bases = [*filter(None, [environ.get("XDG_CACHE_HOME")]), usual]
    hubs = [environ.get(name) for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "TRANSFORMERS_CACHE")]
    hubs += [os.path.join(folder, "hub") for folder in [environ.get("HF_HOME")] if folder]
    hubs += [os.path.join(base, "huggingface", "hub") for base in bases]
    torches = [environ.get("TORCH_HOME"), *(os.path.join(base, "torch") for base in bases)]
    found += [Cache(full(folder), "hub") for folder in hubs if folder]
    found += [Cache(full(folder), "torch") for folder in torches if folder]
    # These two ask no variable: CLIP's download_root, LAVIS's cache_root and what it is set to by most.
    found.append(Cache(os.path.join(usual, "clip"), "clip"))
    found += [Cache(folder, "lavis") for folder in (os.path.join(usual, "lavis"), "/export/home/.cache/lavis")]
    return list(dict.fromkeys(found))
