"""Features of videos, as LAVIS's processor joins them: several arrays, each in a folder of its own, side by side.

Source: ``GPTVideoFeatureProcessor`` in lavis/processors/gpt_processors.py of LAVIS 1.0.2. Its defaults are ``i3d_rgb``
and ``vggish``; its one model that reads features has been trained with ``i3d_flow`` before them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, BinaryIO

from assetmgr.datasets.media import Media

FLOW = "i3d_flow"
PARTS = ("i3d_rgb", "vggish")


def names_of(stem: str, *, flow: bool) -> list[str]:
    """The files that a video's features are joined from."""
    return [f"{part}/{stem}.npy" for part in ((FLOW, *PARTS) if flow else PARTS)]


def has_flow(media: Media, stem: str) -> bool:
    """Whether there is flow beside the others: of one video, which stands for all."""
    return media.has(f"{FLOW}/{stem}.npy")


def whole(media: Media, stems: Sequence[str]) -> list[str]:
    """Those of some videos whose features are all there."""
    names = {stem: names_of(stem, flow=has_flow(media, stems[0])) for stem in stems}
    there = media.present([name for several in names.values() for name in several])
    return [stem for stem in stems if there.issuperset(names[stem])]


def joined(files: Sequence[BinaryIO], fill: int | None = None) -> Any:
    """Arrays of (time, features) side by side, as long as the shortest: float32; or what is wrong with them.

    With ``fill``, that number for each time, int64, and no array is read beyond its header.
    """
    import numpy

    try:
        if fill is not None:
            return numpy.full(min(_shape(file)[0] for file in files), fill, numpy.int64)
        arrays = [numpy.load(file, allow_pickle=False) for file in files]
        length = min(len(array) for array in arrays)
        return numpy.concatenate([array[:length] for array in arrays], axis=1).astype(numpy.float32)
    except (ValueError, TypeError, LookupError, EOFError) as error:
        return f"cannot be read as arrays: {error}"


def _shape(file: BinaryIO) -> Any:
    import numpy.lib.format

    read = {(1, 0): numpy.lib.format.read_array_header_1_0, (2, 0): numpy.lib.format.read_array_header_2_0}
    return read[numpy.lib.format.read_magic(file)](file)[0]
