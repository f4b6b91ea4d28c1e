"""The environment in which other libraries find the store: variables, and a start-up hook for what has none.

``HF_HOME`` is left alone: the user's token, and code that a model brings with it, stay where they are.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from assetmgr.errors import UsageError

HOOK = str(Path(__file__).with_name("hook"))
"""The folder whose ``sitecustomize`` a Python runs when it starts with the folder on its ``PYTHONPATH``."""

# The caches in the store. HUGGINGFACE_HUB_CACHE is what transformers before 4.36 reads.
PLACES = {"HF_HUB_CACHE": "hub", "HUGGINGFACE_HUB_CACHE": "hub", "TORCH_HOME": "torch"}
# What `datasets` makes of the store's files, which can always be made again.
_PREPARED = {"HF_DATASETS_CACHE": "prepared/datasets"}
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE")
# Older names of caches, that would win over those above.
RIVALS = (
    "TRANSFORMERS_CACHE",
    "PYTORCH_TRANSFORMERS_CACHE",
    "PYTORCH_PRETRAINED_BERT_CACHE",
    "SENTENCE_TRANSFORMERS_HOME",
)

Changes = Mapping[str, str | None]
"""Variables and their values; None: the variable must not be set."""


def changes(
    root: str,
    environ: Mapping[str, str],
    *,
    manifests: Sequence[str] = (),
    writable: bool = True,
    online: bool = False,
    hook: bool = False,
) -> Changes:
    """What must change in an environment so that other libraries use the store.

    Parameters
    ----------
    root
        The store's root.
    manifests
        Manifests that `assetmgr` itself is to use there, where they were chosen.
    writable
        Whether libraries may keep in the store what they derive from it; else they keep it where they always did.
        They may not where users share it: they shut the others out of what they make.
    online
        Whether the network may be used too.
    hook
        Whether Pythons are to run the start-up hook.

    Raises
    ------
    UsageError
        When huggingface_hub would understand the root as another folder.
    """
    if os.path.expandvars(root) != root:
        raise UsageError(
            f"the store's path {root} holds the name of a variable, which huggingface_hub would replace by its value",
            mend="give the store a path without $NAME in it",
        )
    found: dict[str, str | None] = {"ASSETMGR_ROOT": root}
    if manifests:
        found["ASSETMGR_MANIFEST"] = os.pathsep.join(manifests)
    for name, place in {**PLACES, **(_PREPARED if writable else {})}.items():
        found[name] = os.path.join(root, *place.split("/"))
    found |= {name: None for name in RIVALS if name in environ}
    found |= {name: None if online else "1" for name in _OFFLINE if not online or name in environ}
    if hook:
        others = [path for path in environ.get("PYTHONPATH", "").split(os.pathsep) if path != HOOK]
        found["PYTHONPATH"] = os.pathsep.join([HOOK, *others] if any(others) else [HOOK])
    return found


def applied(environ: Mapping[str, str], wanted: Changes) -> dict[str, str]:
    """An environment with changes made."""
    return {name: value for name, value in {**environ, **wanted}.items() if value is not None}


def script(wanted: Changes, shell: str) -> str:
    """The lines that make the changes in a shell: one of `SHELLS`."""
    assign, remove, quote = _SHELLS[shell]
    return "\n".join(
        remove.format(name) if value is None else assign.format(name, quote(value)) for name, value in wanted.items()
    )


def _quote_fish(text: str) -> str:
    return "'" + re.sub(r"([\\'])", r"\\\1", text) + "'"


def _quote_powershell(text: str) -> str:
    # PowerShell takes typographic quotes for quotes.
    return "'" + re.sub("(['\u2018-\u201b])", r"\1\1", text) + "'"


_SHELLS: Mapping[str, tuple[str, str, Callable[[str], str]]] = {
    "sh": ("export {}={}", "unset {}", shlex.quote),
    "fish": ("set -gx {} {}", "set -e {}", _quote_fish),
    "powershell": ("$env:{} = {}", "Remove-Item Env:{} -ErrorAction SilentlyContinue", _quote_powershell),
}
SHELLS = tuple(_SHELLS)
