"""assetmgr: a lockfile for model weights and datasets.

A YAML manifest says which models and datasets a machine needs; a lock pins them to exact bytes; `pull` brings those
bytes into one store, proved; and code asks for them by name::

    import assetmgr

    captions = assetmgr.load_dataset("coco_caption")
    blip2 = assetmgr.load_model("blip2-opt-2.7b", dtype="float16")

The names below are imported when they are first used, so that ``import assetmgr`` costs next to nothing.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # as type checkers know it, without importing `typing`
if TYPE_CHECKING:
    from assetmgr.errors import AssetError as AssetError
    from assetmgr.loading import load_dataset as load_dataset
    from assetmgr.loading import load_model as load_model
    from assetmgr.loading import load_model_and_preprocess as load_model_and_preprocess
    from assetmgr.workspace import Workspace as Workspace
    from assetmgr.zoo import dataset_zoo as dataset_zoo
    from assetmgr.zoo import model_zoo as model_zoo

_HOMES = {
    "AssetError": "assetmgr.errors",
    "Workspace": "assetmgr.workspace",
    "dataset_zoo": "assetmgr.zoo",
    "load_dataset": "assetmgr.loading",
    "load_model": "assetmgr.loading",
    "load_model_and_preprocess": "assetmgr.loading",
    "model_zoo": "assetmgr.zoo",
}

__all__ = [
    "AssetError",
    "Workspace",
    "__version__",
    "dataset_zoo",
    "load_dataset",
    "load_model",
    "load_model_and_preprocess",
    "model_zoo",
]


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'assetmgr' has no attribute {name!r}")
    import importlib

    value: object = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
