"""``python -m tests.lavis.checkpoints FOLDER``: checkpoints that LAVIS's own classes write, with random weights.

Every parameter has its name and shape. The large ones are windows into one pool of random numbers, which a checkpoint
holds once: a file of the true architecture is some megabytes, and is loaded as the published one of 900 MB would be.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

_TYPES = (("blip_caption", "base_coco"), ("blip_vqa", "vqav2"), ("blip_feature_extractor", "base"))
# [SEP]
_END = 102


def main(folder: Path) -> None:
    """Write ``FOLDER/<architecture>-<type>`` for each type."""
    import torch
    from lavis.common.registry import registry
    from lavis.models import load_model  # noqa: F401 - registers the models
    from omegaconf import OmegaConf

    torch.manual_seed(0)
    folder.mkdir(parents=True)
    pool = 0.02 * torch.randn(1 << 20)

    def window(tensor: Any) -> Any:
        if tensor.dim() < 2 or not tensor.is_floating_point():
            return tensor
        rows, row = tensor.shape[0], tensor[0].numel()
        step = min(row, (len(pool) - row) // max(rows - 1, 1))
        inner = torch.empty(tensor.shape[1:], device="meta").stride()
        return pool.as_strided(tensor.shape, (step, *inner))

    for architecture, kind in _TYPES:
        built = registry.get_model_class(architecture)
        # Nothing is there to be loaded yet.
        built.load_checkpoint_from_config = lambda *_, **__: None
        config = OmegaConf.load(built.default_config_path(kind)).model
        config.pretrained = None
        state = built.from_config(config).state_dict()
        weights = {name: window(tensor) for name, tensor in state.items()}
        for name in weights:
            if name.endswith(("cls.predictions.bias", "cls.predictions.decoder.bias")):
                weights[name][_END] = 20  # a text ends as soon as it may, where chance would let it go on
        torch.save({"model": weights}, folder / f"{architecture}-{kind}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
