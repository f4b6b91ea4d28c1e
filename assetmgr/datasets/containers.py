"""How long a video file says that it is: a file that ends before is truncated, though its container may open.

FFmpeg, which decodes them, gives the frames of what is there and does not say that some are missing.

Sources of the layouts: ISO/IEC 14496-12, 4.2 (boxes); RFC 8794, 4 and 6.2 (EBML); Microsoft's RIFF (chunks).
"""

from __future__ import annotations

import io
from typing import BinaryIO

# Boxes and chunks that a file of some megabytes has at its top; a hostile one has millions.
_BOXES = 100_000
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


def missing_bytes(file: BinaryIO) -> int:
    """How many bytes a file lacks at its end, by what its container says; 0 where it says nothing.

    The file is left at its beginning.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] == b"RIFF":
        end = 8 + int.from_bytes(head[4:8], "little")
    elif head[:4] == _EBML:
        end = _end_of_segment(file)
    elif head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        end = _end_of_boxes(file, size)
    else:
        end = 0
    file.seek(0)
    return max(0, end - size)


def _end_of_boxes(file: BinaryIO, size: int) -> int:
    at = 0
    for _ in range(_BOXES):
        file.seek(at)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:
            length = int.from_bytes(head[8:16], "big")
        if at >= size or len(head) < 8 or length < 8:  # a length of 0: up to the end of the file, whatever that is
            break
        at += length
    return at


def _end_of_segment(file: BinaryIO) -> int:
    at = 0
    for wanted in (_EBML, _SEGMENT):
        file.seek(at)
        head = file.read(12)
        if head[:4] != wanted or len(head) < 5:
            break
        width = 9 - head[4].bit_length()
        length = int.from_bytes(head[4 : 4 + width], "big") & ((1 << 7 * width) - 1)
        if width > 8 or length == (1 << 7 * width) - 1:  # unknown, as in what was streamed
            return 0
        at += 4 + width + length
    return at
