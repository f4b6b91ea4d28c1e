"""What chance does to a sample each time it is asked for, where LAVIS's own class lets it."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

Sample = dict[str, Any]


def sides(sample: Sample) -> Sample:
    """Every second time, exchange the two images, and left and right in the sentence that is about them.

    One draw of ``random`` a sample, as LAVIS 1.0.2 (lavis/datasets/datasets/nlvr_datasets.py): who seeds it alike, and
    torch does in each worker, has the same samples.
    """
    if random.random() < 0.5:  # noqa: S311 - chance, not secrecy
        if "text_input" in sample:
            words = sample["text_input"].split("left")
            sample["text_input"] = "right".join(word.replace("right", "left") for word in words)
        if "image0" in sample and "image1" in sample:
            sample["image0"], sample["image1"] = sample["image1"], sample["image0"]
    return sample


CHANCES: Mapping[str, Callable[[Sample], Sample]] = {"sides": sides}
