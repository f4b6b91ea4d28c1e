"""Which frames of a video are meant: LAVIS's own rules of sampling, as indices."""

from __future__ import annotations

import random
from typing import Literal

from assetmgr.errors import UsageError

Sampling = Literal["uniform", "headtail"]


def sampled(
    count: int, n: int | None = None, sampling: Sampling = "uniform", *, start: int = 0, end: int | None = None,
    seed: int | None = None,
) -> list[int]:  # fmt: skip
    """The indices of ``n`` of a video's ``count`` frames, as LAVIS 1.0.2 chooses them.

    Parameters
    ----------
    count
        How many frames the video has.
    n
        How many are wanted; of a shorter video, and by None, all.
    sampling
        ``uniform``: at equal steps from the first. ``headtail``: half of them by chance from the first half of the
        frames, half from the second, each half in order; of an odd ``n``, one less.
    start, end
        Choose among these frames alone, from ``start`` to before ``end``.
    seed
        For chance that repeats; by None, Python's own ``random`` is asked, as LAVIS asks it: after ``random.seed(7)``
        both choose the same.

    Raises
    ------
    UsageError
        When no frame would be chosen.

    Notes
    -----
    Source: ``load_video`` in lavis/datasets/data_utils.py. By its rounding, LAVIS gives one frame more than was asked
    for in some cases (13 of 15: it gives 14), and asks for a frame that there is not in others (7 of 17); here these
    are 13 and 7.
    """
    end = count if end is None else min(end, count)
    length = end - start
    if start < 0 or length <= 0:
        raise UsageError(f"no frames from {start} to {end} in a video of {count}")
    n = length if n is None else min(n, length)
    if n < (2 if sampling == "headtail" else 1):
        raise UsageError(f"{n} frames of {length} with sampling {sampling!r}: that is none")
    if sampling == "uniform":
        step = length / n
        return [int(start + step * number) for number in range(n)]
    if sampling == "headtail":
        chance = random if seed is None else random.Random(seed)  # noqa: S311 - samples, not secrets
        middle = start + length // 2
        head = sorted(chance.sample(range(start, middle), n // 2))
        return head + sorted(chance.sample(range(middle, end), n // 2))
    raise UsageError(f"sampling={sampling!r} is not one of 'uniform', 'headtail'")
