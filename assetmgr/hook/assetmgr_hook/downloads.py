"""Offline, what is not in the store is missing: it is said, and not fetched behind the user's back.

huggingface_hub, transformers and datasets have variables for that. These have none.
"""

from __future__ import annotations

import os
import sys
import urllib.error
from types import ModuleType, SimpleNamespace
from typing import Any, NoReturn


def _refuse(url: object) -> NoReturn:
    # What these libraries, and those that use them, expect where there is no network.
    raise urllib.error.URLError(
        f"{url} is not in the store, and `assetmgr run` is offline: `assetmgr pull` what has it, "
        "or `assetmgr run --online`"
    )


def refuse_torch(hub: ModuleType) -> None:
    """``torch.hub`` fetches what is not in ``TORCH_HOME``; timm and LAVIS fetch by it."""

    def download_url_to_file(url: str, dst: object, *_: object, **__: object) -> NoReturn:
        _refuse(url)

    hub.download_url_to_file = download_url_to_file  # type: ignore[attr-defined]


def refuse_torchvision(utils: ModuleType) -> None:
    """LAVIS fetches annotations by torchvision's ``download_url``, which looks first whether the file is there."""

    def refused(url: str, *_: object, **__: object) -> NoReturn:
        _refuse(url)

    for name in ("_get_redirect_url", "_urlretrieve"):
        if hasattr(utils, name):
            setattr(utils, name, refused)


def refuse_urlopen(module: ModuleType) -> None:
    """CLIP fetches by ``urllib.request.urlopen``: the module gets one that refuses, in place of its own ``urllib``."""

    def urlopen(url: Any, *_: object, **__: object) -> NoReturn:
        _refuse(getattr(url, "full_url", url))

    if hasattr(module, "urllib"):
        module.urllib = SimpleNamespace(  # type: ignore[attr-defined]
            request=SimpleNamespace(urlopen=urlopen), error=urllib.error
        )


def leave_out_spice(spice: ModuleType) -> None:
    """COCO's evaluation fetches Stanford CoreNLP (some 400 MB) into its own package before its first score.

    Where it is not there, SPICE is not a number, and the other scores are had.
    """
    jar = os.path.join(os.path.dirname(str(spice.__file__)), "lib", "stanford-corenlp-3.6.0.jar")
    if os.path.exists(jar):
        return

    def get_stanford_models() -> None:
        sys.stderr.write(
            f"assetmgr run: SPICE is left out, offline: {jar} and its models are not there. The other scores are had.\n"
        )

    def compute_score(self: object, gts: Any, res: Any) -> Any:
        return float("nan"), [float("nan") for _ in gts]

    spice.get_stanford_models = get_stanford_models  # type: ignore[attr-defined]
    spice.Spice.compute_score = compute_score
