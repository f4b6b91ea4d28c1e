"""What LAVIS's own classes give for the files of `forms`, as one JSON document: form -> what is told, or why not.

    assetmgr run -- python -m tests.lavis.by_lavis FORM...

runs in LAVIS's environment, with the files in the store.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import sys
from typing import Any

from tests.lavis.every_form import FORMS
from tests.lavis.telling import told

# What chance decides in a sample is decided by this before each split's first.
SEED = 7


class Seeded:
    """A split whose first sample resets chance, so that two programs that draw alike draw the same."""

    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        if index == 0:
            random.seed(SEED)
        return self.samples[index]


def main(names: list[str]) -> None:
    root = os.environ["ASSETMGR_ROOT"]
    outcome: dict[str, Any] = {}
    with contextlib.redirect_stdout(sys.stderr):
        for name in names:
            try:
                splits = {split: Seeded(samples) for split, samples in _opened(name, root).items()}
                outcome[name] = {"told": told(splits, root), "beside": beside(splits, root)}
            except Exception as error:  # noqa: BLE001 - whatever it is, the test has to explain it
                outcome[name] = {"error": f"{type(error).__name__}: {error}"}
    json.dump(outcome, sys.stdout)


def _opened(name: str, root: str) -> Any:
    """The splits as LAVIS's own ``load_dataset`` builds them."""
    from lavis.common.registry import registry
    from lavis.datasets.builders import load_dataset

    base, _, variant = name.partition("/")
    builder = registry.get_builder_class(base)
    vis_path = FORMS[name].vis_path
    splits = load_dataset(
        base,
        cfg_path=builder.default_config_path(variant or "default"),
        vis_path=vis_path and os.path.join(root, vis_path),
    )
    if base == "avsd_dialogue":
        _process(splits, root)
    return splits


def _process(splits: Any, root: str) -> None:
    """Give dialogues the processors that they are made for: without, LAVIS's class raises.

    They read the tokenizer ``gpt2`` from the working folder, where there is one.
    """
    from lavis.processors.gpt_processors import GPTDialogueProcessor, GPTVideoFeatureProcessor

    os.chdir(os.path.join(root, "files"))
    features = GPTVideoFeatureProcessor(visual_ft=["i3d_flow", "i3d_rgb"], audio_ft=["vggish"])
    dialogues = GPTDialogueProcessor()
    for samples in splits.values():
        samples.set_processors(features, dialogues)


# What the evaluation classes have beside their samples, and their users read.
BESIDE = (
    "text",
    "image",
    "txt2img",
    "img2txt",
    "answer_list",
    "coco_fmt_qust_file",
    "coco_fmt_anno_file",
)


def beside(splits: dict[str, Seeded], root: str) -> dict[str, dict[str, str]]:
    """Those attributes, as text, by split."""
    return {
        split: {
            name: repr(getattr(seeded.samples, name)).replace(root, "{store}")
            for name in BESIDE
            if getattr(seeded.samples, name, None) is not None
        }
        for split, seeded in splits.items()
    }


if __name__ == "__main__":
    main(sys.argv[1:])
