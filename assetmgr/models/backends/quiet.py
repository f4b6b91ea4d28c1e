"""transformers' own settings, changed for as long as something of ours takes."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator

import transformers


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without transformers' progress bars and warnings; its settings are as before afterwards."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()


@contextlib.contextmanager
def no_hub_kernels() -> Iterator[None]:
    """Keep models, as they are made, from fetching compiled code from the hub, as some do by the `kernels` library."""
    module = None
    with contextlib.suppress(ImportError):  # 4.40 has none
        module = importlib.import_module("transformers.integrations.hub_kernels")
    enabled = getattr(module, "_kernels_enabled", None)
    if enabled is None:
        yield
        return
    vars(module)["_kernels_enabled"] = False
    try:
        yield
    finally:
        vars(module)["_kernels_enabled"] = enabled
