"""Videos: a name until frames are asked for. Which frames are chosen is LAVIS's own rule, or the caller's."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

from assetmgr.datasets.films import AdriftError, DamageError, Film, VideoInfo, opened
from assetmgr.datasets.frames import Sampling, sampled
from assetmgr.datasets.media import DamagedError, Media
from assetmgr.errors import IntegrityError, MissingExtraError

if TYPE_CHECKING:
    import numpy


class Video(str):
    """A video that nothing has been read of. As a text it is its path, which is what LAVIS's samples have.

    So it may be given to whatever takes a path, where it is a file of its own; one in an archive has a path that no
    file has. It is small to pickle, and torch's DataLoader collates several into a list.

    Attributes
    ----------
    media
        Where it is.
    name
        Its name there.
    sample
        Which sample it is of, as errors say it.
    mend
        What to do when it is damaged.
    """

    media: Media
    name: str
    sample: str
    mend: str

    def __new__(cls, media: Media, name: str, sample: str, mend: str) -> Video:
        made = super().__new__(cls, media.shown(name))
        made.media, made.name, made.sample, made.mend = media, name, sample, mend
        return made

    def __reduce__(self) -> tuple[object, ...]:
        return Video, (self.media, self.name, self.sample, self.mend)

    def __fspath__(self) -> str:
        return str(self)

    @property
    def path(self) -> str:
        """Its path, as a plain text."""
        return str(self)

    def open(self) -> BinaryIO:
        """Its bytes.

        Raises
        ------
        IntegrityError
            When it is missing or cannot be read.
        """
        try:
            return self.media.open(self.name)
        except (FileNotFoundError, NotADirectoryError):
            raise self.fault("no such file") from None
        except DamagedError as error:
            raise self.fault(str(error)) from None
        except OSError as error:
            raise self.fault(f"cannot be read: {error.strerror or error}") from None

    @functools.cached_property
    def info(self) -> VideoInfo:
        """What its container says of it. Its packets are looked through; nothing is decoded.

        Raises
        ------
        IntegrityError
            When it is missing, truncated or no video.
        MissingExtraError
            When PyAV is not installed.
        """
        with self._opened() as film:
            return film.info

    def frames(
        self,
        n: int | None = None,
        *,
        sampling: Sampling = "uniform",
        start: int = 0,
        end: int | None = None,
        height: int | None = None,
        width: int | None = None,
        seed: int | None = None,
    ) -> numpy.ndarray[Any, Any]:
        """Some of its frames; see `assetmgr.datasets.frames.sampled` for which.

        Parameters
        ----------
        height, width
            What they are scaled to (bilinearly, as LAVIS's decord does); by None, as they are.

        Returns
        -------
        numpy.ndarray
            RGB, uint8, of shape (frames, height, width, 3). LAVIS's own layout, (3, frames, height, width) in floats,
            is ``torch.from_numpy(frames).permute(3, 0, 1, 2).float()``.

        Raises
        ------
        IntegrityError
            When it is missing, truncated or damaged.
        UsageError
            When no frame would be chosen.
        MissingExtraError
            When PyAV is not installed.
        """
        with self._opened() as film:
            choice = functools.partial(sampled, n=n, sampling=sampling, start=start, end=end, seed=seed)
            try:
                return film.pictures(choice(film.count), height, width)
            except AdriftError:
                film.recount()
                return film.pictures(choice(film.count), height, width)

    def at(
        self, indices: Sequence[int], *, height: int | None = None, width: int | None = None
    ) -> numpy.ndarray[Any, Any]:
        """The frames of these indices, in this order. Otherwise as `frames`; raises IndexError where there is none."""
        with self._opened() as film:
            try:
                return film.pictures(indices, height, width)
            except AdriftError:
                film.recount()
                return film.pictures(indices, height, width)

    def fault(self, what: str) -> IntegrityError:
        """An error about this video, to be raised."""
        return IntegrityError(f"{self.sample}: {self.path}: {what}", mend=self.mend)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[Film]:
        if importlib.util.find_spec("av") is None:
            what = "PyAV, which decodes its videos, is not installed"
            raise MissingExtraError(f"{self.sample}: {what}", mend="pip install 'assetmgr[video]'")
        with self.open() as file:
            try:
                with opened(file) as film:
                    yield film
            except DamageError as error:
                raise self.fault(str(error)) from None
            except OSError as error:
                raise self.fault(f"cannot be read: {error.strerror or error}") from None

    def __repr__(self) -> str:
        return f"Video({self.path!r})"
