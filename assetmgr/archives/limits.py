"""Every bound on what an archive may ask of this machine, as one field of one config."""

from __future__ import annotations

from dataclasses import dataclass

MEBI = 1 << 20


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much an archive may unpack to. Bytes are counted as they come out, whatever the headers say.

    Attributes
    ----------
    entries
        Files and folders in one archive.
    total_bytes
        All its files together, unpacked.
    member_bytes
        One file, unpacked.
    ratio
        Unpacked bytes for each byte of the archive. Text seldom packs better than 20 to 1; deflate cannot do better
        than 1,032 to 1, xz and zstd can, by far.
    ratio_from
        An archive that unpacks to no more than this is not refused for its ratio.
    memory_bytes
        What a decompressor may take for its window (xz, zstd).
    """

    entries: int = 5_000_000
    total_bytes: int = 4 << 40
    member_bytes: int = 1 << 40
    ratio: int = 200
    ratio_from: int = 64 * MEBI
    memory_bytes: int = 256 * MEBI
