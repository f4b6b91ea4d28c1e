"""Where in a tar each file lies: its headers are read once, and from then on each file in any order."""

from __future__ import annotations

from collections.abc import Mapping

from assetmgr.archives.limits import ArchiveLimits
from assetmgr.archives.source import Source, Stream
from assetmgr.archives.tar import tar_members

# Where a member begins, and its size.
Positions = Mapping[str, tuple[int, int]]


def tar_positions(source: Source, limits: ArchiveLimits | None = None) -> Positions:
    """The position of each file of a tar that is not compressed, by its path.

    Raises
    ------
    IntegrityError
        When it is no such tar, or holds more than files and folders.
    """
    stream = Stream(source)
    members = tar_members(stream, source.name, limits or ArchiveLimits())
    return {member.path: (stream.position, member.size or 0) for member in members}
