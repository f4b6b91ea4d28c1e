"""Small real videos whose frames tell their own number, in whatever codec and container PyAV can write."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("av")
pytest.importorskip("numpy")

import numpy

WIDTH, HEIGHT, BITS = 64, 48, 8


def drawn(number: int) -> numpy.ndarray[Any, Any]:
    """A picture of a number: stripes, one a bit."""
    picture: numpy.ndarray[Any, Any] = numpy.full((HEIGHT, WIDTH, 3), 60, numpy.uint8)
    picture[..., 0] = numpy.linspace(0, 255, WIDTH).astype(numpy.uint8)
    for bit in range(BITS):
        picture[8:40, bit * 8 : bit * 8 + 8] = 235 if number >> bit & 1 else 16
    return picture


def numbers_of(frames: Any) -> list[int]:
    """The numbers that are drawn on frames of that size."""
    return [
        sum(1 << bit for bit in range(BITS) if frame[12:36, bit * 8 + 2 : bit * 8 + 6].mean() > 125) for frame in frames
    ]


def film(
    path: Path,
    count: int = 40,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    times: Sequence[int] | None = None,
    options: Mapping[str, str] | None = None,
    container: Mapping[str, str] | None = None,
    rate: int = 10,
) -> Path:
    """Write a video of so many frames; ``times`` are when they are shown, in milliseconds."""
    import av

    with av.open(str(path), "w", options=dict(container or {})) as out:
        stream = out.add_stream(codec, rate=rate, options=dict(options or {}))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, pixels
        stream.codec_context.gop_size = 12
        stream.codec_context.thread_count = 1
        if times is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(drawn(number), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def cut(source: Path, path: Path, seconds: float) -> Path:
    """Copy a video's packets from so many seconds on: an edit list leaves out what is before."""
    import av

    with av.open(str(source)) as given, av.open(str(path), "w") as out:
        stream = given.streams.video[0]
        copied = out.add_stream_from_template(stream)
        start = int(seconds / stream.time_base)
        given.seek(start, stream=stream)
        for packet in given.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - start, packet.dts - start, copied
                out.mux(packet)
    return path


def turned(source: Path, path: Path) -> Path:
    """Write into an MP4 that it is to be shown turned by a quarter."""
    data = bytearray(source.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    for number, value in enumerate((0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30)):
        data[matrix + 4 * number : matrix + 4 * number + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(data)
    return path


# Shown at uneven times.
UNEVEN = [sum(37 * (k % 5) + 20 for k in range(number)) for number in range(40)]
FILMS: Mapping[str, Mapping[str, Any]] = {
    "reordered.mp4": {"options": {"bf": "3", "b_strategy": "0"}},
    "fast.mp4": {"options": {"bf": "3"}, "container": {"movflags": "+faststart"}},
    "open.mov": {"options": {"bf": "2", "x264-params": "open-gop=1"}},
    "uneven.mp4": {"times": UNEVEN, "options": {"bf": "3"}},
    "uneven.mkv": {"times": UNEVEN, "options": {"bf": "3"}},
    "vp9.webm": {"codec": "libvpx-vp9"},
    "vp8.webm": {"codec": "libvpx", "options": {"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good"}},
    "plain.avi": {"codec": "mpeg4"},
    "reordered.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "stream.ts": {"options": {"bf": "2"}},
    "old.mpg": {"codec": "mpeg1video", "rate": 25, "options": {"bf": "2"}},
    "moving.gif": {"codec": "gif", "pixels": "rgb8"},
}
