"""An open video: its frames by index, only those decoded that are needed.

A frame's index is its place among the frames that a decoder presents when it plays the file from its beginning, in
whatever order they are coded, at whatever times they are shown, and less those that an edit list leaves out. Where the
index that the packets tell does not hold while decoding, the file is decoded from its beginning instead.

The only module that imports av (PyAV, which is FFmpeg's libraries).
"""

from __future__ import annotations

import contextlib
import io
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

from assetmgr.datasets.containers import missing_bytes

if TYPE_CHECKING:
    import numpy

# FFmpeg would also follow playlists and scripts, to any file or host that they name.
_FORMATS = "asf,avi,flv,gif,matroska,mov,mpeg,mpegts,mpegvideo,mxf,nut,ogg,h264,hevc,ivf,m4v,rm"
# What a Matroska file may say to be longer than its last frame is, in seconds and as a share.
_SHORT, _SHARE = 0.3, 0.02
# The containers that know where each packet is and when it is shown. In others, what is told after a jump is a guess.
_SEEKABLE = ("mov", "matroska", "avi")
# The codecs that have frames for reference alone, each in a packet of its own.
_HIDING = ("vp8", "libvpx")


class VideoInfo(NamedTuple):
    """What a video's container says of it.

    Attributes
    ----------
    frames
        How many frames it has.
    rate
        Frames a second, on average.
    width, height
        Of its frames as they are coded, in pixels; `Video.frames` turns them where the file says so.
    duration
        In seconds.
    codec
        FFmpeg's name of it.
    """

    frames: int
    rate: float
    width: int
    height: int
    duration: float
    codec: str


class DamageError(Exception):
    """The file is no video, or not whole."""


class AdriftError(Exception):
    """Decoding presents other frames than the packets told."""


class _Key(NamedTuple):
    """Where decoding can begin: a packet that needs none before it."""

    shown: int
    coded: int


@contextlib.contextmanager
def opened(file: BinaryIO) -> Iterator[Film]:
    """Open a video.

    Raises
    ------
    DamageError
        When it is none, or not whole; in what is done with it, too.
    OSError
        When the file cannot be read.
    """
    import av

    if not file.seek(0, io.SEEK_END):
        raise DamageError("cannot be decoded: the file is empty")
    try:
        with contextlib.closing(Film(file)) as film:
            yield film
    except av.FFmpegError as error:
        raise DamageError(f"cannot be decoded: {error.strerror or error}") from None


class Film:
    """An open video: the times of its frames, in order, and where decoding can begin."""

    def __init__(self, file: BinaryIO) -> None:
        if lacking := missing_bytes(file):
            raise DamageError(f"truncated: {lacking:,} bytes are missing at its end")
        self._file = file
        self._open()
        self.count = 0
        # By time, in order of presentation; empty where only counting tells.
        self._places: dict[int, int] = {}
        self._times: list[int] = []
        self._keys: list[_Key] = []
        self._look_through()

    def _open(self) -> None:
        import av

        self._file.seek(0)
        self._container = av.open(self._file, options={"format_whitelist": _FORMATS}, metadata_errors="replace")
        try:
            self._stream: Any = self._container.streams.best("video")
        except ValueError:
            self._stream = None
        if self._stream is None:
            self._container.close()
            raise DamageError("it has no video")
        self._stream.thread_type = "AUTO"

    def close(self) -> None:
        self._container.close()

    def _is_kind(self, *formats: str) -> bool:
        return not set(formats).isdisjoint(self._container.format.name.split(","))

    def _reopen(self) -> None:
        self.close()
        self._open()

    def _look_through(self) -> None:
        """Read every packet, decode none."""
        stream, times, packets, ends = self._stream, [], 0, 0.0
        whole = self._is_kind("matroska")
        hiding = stream.codec_context.name in _HIDING
        for packet in self._container.demux() if whole else self._container.demux(stream):
            if whole and packet.pts is not None:
                ends = max(ends, float((packet.pts + (packet.duration or 0)) * packet.time_base))
            if packet.stream_index != stream.index:
                continue
            packets += packet.dts is not None  # the last that is given is none, but the end
            if not packet.size:
                continue  # in AVI, for a frame that is shown for longer
            if packet.is_corrupt and not packet.is_discard:
                raise DamageError("truncated, or a part of it is missing")
            if packet.is_keyframe and packet.pts is not None:
                self._keys.append(_Key(packet.pts, packet.pts if packet.dts is None else packet.dts))
            # What an edit list leaves out is decoded and not shown; VP8 has frames that are for reference alone.
            if not packet.is_discard and not (hiding and not bytes(packet)[0] & 0x10):
                times.append(packet.pts)
        if self._is_kind("mov", "avi") and packets < stream.frames:
            raise DamageError(f"truncated: of {stream.frames} frames, {packets} are there")
        declared = (self._container.duration or 0) / 1e6 if whole else 0.0
        if declared - ends > max(_SHORT, _SHARE * declared):
            raise DamageError(f"truncated, or a part of it is missing: of {declared:.1f} s, {ends:.1f} s are there")
        if not times:
            raise DamageError("it has no frames")
        self._keys.sort()
        self.count = len(times)
        if None in times or len(set(times)) < len(times):
            self.recount()
        else:
            self._times = sorted(times)
            self._places = {time: place for place, time in enumerate(self._times)}

    @property
    def info(self) -> VideoInfo:
        stream, coded = self._stream, self._stream.codec_context
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        if stream.duration is not None:
            duration = float(stream.duration * stream.time_base)
        else:
            duration = self._container.duration / 1e6 if self._container.duration else self.count / (rate or 1)
        return VideoInfo(self.count, rate, coded.width, coded.height, duration, coded.name)

    def recount(self) -> None:
        """Decode all of it to tell how many frames there are; from now on, they are counted from the beginning."""
        told = set(self._places)
        self._reopen()
        presented, interlaced = [], False
        for frame in self._decoded():
            presented.append(frame.pts)
            interlaced = interlaced or frame.interlaced_frame
        if not presented:
            raise DamageError("it has no frames")
        # Frames before the first beginning cannot be decoded where a film was cut there. Two fields may be one frame.
        lost = {time for time in told.difference(presented) if presented[0] is None or time > presented[0]}
        hiding = interlaced or self._stream.codec_context.name in _HIDING
        if lost and not hiding and self._is_kind("mov", "matroska"):
            raise DamageError(f"a part of it is damaged: {len(lost)} of {len(told)} frames are not presented")
        self._times, self._places = [], {}
        self.count = len(presented)

    def pictures(self, indices: Sequence[int], height: int | None, width: int | None) -> numpy.ndarray[Any, Any]:
        """The frames of these indices, in this order."""
        import numpy

        chosen = [index + self.count if index < 0 else index for index in indices]
        for index, place in zip(indices, chosen, strict=True):
            if not 0 <= place < self.count:
                raise IndexError(f"no frame {index} among {self.count}")
        wanted = sorted(set(chosen))
        pictures: Any = None
        found: dict[int, int] = {place: number for number, place in enumerate(wanted)}
        painter = _Painter(height, width)
        for place, frame in self._sought(wanted) if self._times else self._counted(wanted):
            picture = painter.picture(frame)
            if pictures is None:
                pictures = numpy.empty((len(wanted), *picture.shape), numpy.uint8)
            pictures[found[place]] = picture
        if pictures is None:
            return numpy.empty((0, height or 0, width or 0, 3), numpy.uint8)
        ordered: numpy.ndarray[Any, Any] = (
            pictures[[found[place] for place in chosen]] if chosen != wanted else pictures
        )
        return ordered

    def _sought(self, wanted: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """The frames of these places, each decoded from the nearest beginning before it."""
        keys = self._keys if self._is_kind(*_SEEKABLE) else []
        if not keys:
            self._reopen()
        frames, following = self._decoded(), 0 if not keys else None
        for number, place in enumerate(wanted):
            key = keys[max(bisect_right(keys, (self._times[place], float("inf"))) - 1, 0)] if keys else None
            if key and (number == 0 or (following is not None and self._is_later(key, following))):
                # AVI's index knows when packets are decoded, not when their frames are shown.
                self._container.seek(key.coded if self._is_kind("avi") else key.shown, stream=self._stream)
                frames, following = self._decoded(), None
            for frame in frames:
                reached = self._places.get(frame.pts)
                if reached is None or reached > place or (following is not None and reached != following):
                    raise AdriftError
                following = reached + 1
                if reached == place:
                    yield place, frame
                    break
            else:
                raise AdriftError

    def _is_later(self, key: _Key, following: int) -> bool:
        """Whether a beginning lies after the next frame that would be decoded."""
        return following < self.count and key.shown > self._times[following]

    def _counted(self, wanted: Sequence[int]) -> Iterator[tuple[int, Any]]:
        """The frames of these places, all decoded from the first."""
        self._reopen()
        places = set(wanted)
        for place, frame in enumerate(self._decoded()):
            if place in places:
                yield place, frame
            if place >= wanted[-1]:
                return
        raise DamageError("it has fewer frames than before")

    def _decoded(self) -> Iterator[Any]:
        for packet in self._container.demux(self._stream):
            for frame in packet.decode():
                if frame.is_corrupt:
                    raise DamageError("a part of it is damaged")
                yield frame


class _Painter:
    """Frames to pixels: RGB, turned as the file says, all of one size."""

    def __init__(self, height: int | None, width: int | None) -> None:
        self._height, self._width = height, width
        self._size: tuple[int, int] | None = None
        self._graph: Any = None

    def picture(self, frame: Any) -> Any:
        import numpy

        turns = round(frame.rotation / 90) % 4
        if self._size is None:
            height, width = (frame.width, frame.height) if turns % 2 else (frame.height, frame.width)
            self._size = (self._height or height, self._width or width)
        height, width = reversed(self._size) if turns % 2 else self._size
        if (frame.height, frame.width) == (height, width):
            pixels = frame.to_ndarray(format="rgb24")
        else:
            pixels = self._scaled(frame, height, width)
        return numpy.rot90(pixels, turns) if turns else pixels

    def _scaled(self, frame: Any, height: int, width: int) -> Any:
        """By FFmpeg's own filter: it places the colours of subsampled pixels as decord's does."""
        import av

        shape = (frame.format.name, frame.width, frame.height)
        if self._graph is None or self._graph[0] != shape:
            graph = av.filter.Graph()
            source = graph.add_buffer(
                width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
            )
            scale = graph.add("scale", f"{width}:{height}:flags=bilinear")
            form, sink = graph.add("format", "rgb24"), graph.add("buffersink")
            source.link_to(scale)
            scale.link_to(form)
            form.link_to(sink)
            graph.configure()
            self._graph = (shape, graph)
        self._graph[1].push(frame)
        return self._graph[1].pull().to_ndarray()
