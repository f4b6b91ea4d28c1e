"""Where libraries look without a variable: LAVIS's cache root, CLIP's downloads, a hub cache's mark, spaCy's models."""

from __future__ import annotations

import os
import sys
from types import FunctionType, ModuleType


def move_lavis(lavis: ModuleType, root: str) -> None:
    """LAVIS's configs/default.yaml names one folder for everybody: it is the store's instead."""
    lavis.registry.mapping["paths"]["cache_root"] = os.path.join(root, "lavis")


def move_lavis_clip(module: ModuleType, root: str) -> None:
    """LAVIS's copy of CLIP names its folder as a default of a function."""
    _set_default(module.download_pretrained, "root", os.path.join(root, "clip"))


def move_clip(module: ModuleType, root: str) -> None:
    """OpenAI's CLIP, and no other package called so, names its folder where ``clip.load`` is given none."""
    if hasattr(module, "_download"):
        _set_default(module.load, "download_root", os.path.join(root, "clip"))


def show_packages(_: ModuleType, root: str) -> None:
    """SpaCy looks for its models among the installed packages: after those, it finds the store's."""
    folder = os.path.join(root, "files", "en_core_web_sm")
    if os.path.isdir(folder) and folder not in sys.path:
        sys.path.append(folder)


def _set_default(function: FunctionType, name: str, value: object) -> None:
    """Give a positional parameter another default, in place: who has imported the function has it too."""
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    defaults = list(function.__defaults__ or ())
    defaults[names.index(name) - len(names)] = value
    function.__defaults__ = tuple(defaults)


def mark_hub(_: ModuleType, root: str) -> None:
    """Transformers 4.22 to 4.35 take a cache without this mark for one of 2021, and say that nothing in it will work.

    They leave the mark themselves a moment later. Where the store may not be written, they are kept from saying it.
    """
    import transformers

    release = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    hub = os.path.join(root, "hub")
    if not (4, 22) <= release < (4, 36) or not os.path.isdir(hub):
        return
    try:
        with open(os.path.join(hub, "version.txt"), "x") as file:
            file.write("1")
    except FileExistsError:
        pass
    except OSError:
        import logging

        logging.getLogger("transformers.utils.hub").addFilter(lambda record: not record.getMessage().startswith(_FALSE))


_FALSE = ("You are offline and the cache", "There was a problem when trying to write in your cache folder")
