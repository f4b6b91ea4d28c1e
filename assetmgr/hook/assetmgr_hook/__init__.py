"""What has no variable, put right inside other people's Pythons (3.8 or newer) without editing their code.

Nothing is imported here but the standard library, and nothing is done before the library that it is for is imported.
Whatever goes wrong is told on stderr in a line, and the program goes on.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

from .on_import import Watcher

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from .on_import import Action


def start() -> None:
    """Watch for the libraries; nothing is done where no store is named."""
    root = os.environ.get("ASSETMGR_ROOT")
    if not root:
        return
    watcher = Watcher()
    watcher.before("transformers.utils.hub", _action("folders", "mark_hub", root))
    watcher.after("transformers.modeling_utils", _action("quantization", "translate_flags"))
    watcher.after("torchvision.extension", _action("without_cuda", "declare_operators"))
    watcher.before("spacy", _action("folders", "show_packages", root))
    watcher.after("lavis", _action("folders", "move_lavis", root))
    watcher.after("lavis.models.clip_models.pretrained", _action("folders", "move_lavis_clip", root))
    watcher.after("clip.clip", _action("folders", "move_clip", root))
    watcher.after("lavis.datasets.data_utils", _action("without_cuda", "leave_batches_here"))
    watcher.after("lavis.datasets.datasets.dataloader_utils", _action("without_cuda", "load_plainly"))
    for name in ("runner_base", "runner_iter"):
        watcher.after(f"lavis.runners.{name}", _action("without_cuda", "run_alone"))
    watcher.after("lavis.runners.runner_base", _action("without_cuda", "take_the_model"))
    # As huggingface_hub reads it.
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        watcher.after("torch.hub", _action("downloads", "refuse_torch"))
        watcher.after("torchvision.datasets.utils", _action("downloads", "refuse_torchvision"))
        watcher.after("lavis.models.clip_models.pretrained", _action("downloads", "refuse_urlopen"))
        watcher.after("clip.clip", _action("downloads", "refuse_urlopen"))
        watcher.after("pycocoevalcap.spice.spice", _action("downloads", "leave_out_spice"))
    sys.meta_path.insert(0, watcher)


def _action(file: str, name: str, *arguments: str) -> Action:
    """A function of this package, whose file is imported when it is needed: every Python that starts runs this."""

    def act(module: ModuleType) -> None:
        getattr(import_module("." + file, __name__), name)(module, *arguments)

    return act
