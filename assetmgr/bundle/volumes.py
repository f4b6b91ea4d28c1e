"""Which file goes onto which volume. Pure: sizes in, sets out; what a volume has already stays on it where it fits.

A file is never cut in two: each volume is an image by itself, which any tool carries and any mirror gives from, and so
a volume must hold the largest file.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from assetmgr.errors import UsageError

# What a file takes besides its bytes: a file system's block, or a tar's header.
_BLOCK = 4096
# Of a manifest for each of its layers, and of all documents besides.
_LAYER, _DOCUMENTS = 160, 64 << 10


def split(
    sizes: Mapping[str, int],
    most: int,
    *,
    common: Collection[str] = (),
    documents: int = 0,
    before: Mapping[str, int] | None = None,
) -> list[set[str]]:
    """Which contents each volume has; at least one volume.

    Parameters
    ----------
    sizes
        By sha256.
    most
        Bytes of a volume.
    common
        Those that each volume has: listings, without which the rest cannot be used.
    documents
        Bytes of the carriage, which each volume has.
    before
        On which volume, from 0, a content is already.

    Raises
    ------
    UsageError
        When one does not fit on any volume.
    """
    shared = {sha256 for sha256 in common if sha256 in sizes}
    fixed = _DOCUMENTS + _taken(documents) + sum(_taken(sizes[sha256]) for sha256 in shared)
    room = most - fixed
    own = sorted((sha256 for sha256 in sizes if sha256 not in shared), key=lambda each: (-sizes[each], each))
    needed = _taken(sizes[own[0]]) if own else 0
    if needed > room or room < 0:
        what = f"the largest file has {sizes[own[0]]:,} bytes" if own else "nothing fits"
        raise UsageError(
            f"volumes of {most:,} bytes: {what}, and what each volume tells of the whole takes {fixed:,}",
            mend=f"--max-size {needed + fixed} or more; a file is not cut in two",
        )
    volumes: list[set[str]] = []
    left: list[int] = []

    def put(sha256: str, at: int) -> None:
        while len(volumes) <= at:
            volumes.append(set(shared))
            left.append(room)
        volumes[at].add(sha256)
        left[at] -= _taken(sizes[sha256])

    rest = []
    for sha256 in own:
        at = (before or {}).get(sha256)
        free = None if at is None else left[at] if at < len(left) else room
        if at is None or free is None or free < _taken(sizes[sha256]):
            rest.append(sha256)
        else:
            put(sha256, at)
    for sha256 in rest:
        fits = (at for at in range(len(volumes)) if left[at] >= _taken(sizes[sha256]))
        put(sha256, next(fits, len(volumes)))
    kept = [volume for volume in volumes if volume != shared]
    return kept or [set(shared)]


def _taken(size: int) -> int:
    return size + (-size % _BLOCK) + _BLOCK + _LAYER
