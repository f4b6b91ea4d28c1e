"""What is asked of a transfer, and what comes out."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from assetmgr.errors import AssetError
from assetmgr.transfer.evidence import Headers

if TYPE_CHECKING:
    from assetmgr.transfer.admission import Admission
    from assetmgr.transfer.connection import Answer
    from assetmgr.transfer.limits import Limits


class Watch(Protocol):
    """Follows a place that serves many files through a run. Called from any thread."""

    def is_wanted(self) -> bool:
        """Whether it is asked at all: looked at before each attempt."""

    def gave(self, size: int) -> None:
        """A whole and proved file came from it."""

    def failed(self, error: AssetError) -> None:
        """It did not give a file: an `OriginError` that ``is_absent`` where it has none."""


class Opener(Protocol):
    """Opens what no http, https or file URL names, and answers as a server would, from ``start`` to before ``end``."""

    def __call__(self, start: int, end: int | None, stop: threading.Event, limits: Limits, /) -> Answer:
        """Raise `PassingError` or an `AssetError` where it cannot be; `StoppedError` soon after ``stop`` is set."""


@dataclass(frozen=True, slots=True)
class Source:
    """One way to get one file.

    Attributes
    ----------
    url
        ``http:``, ``https:`` or ``file:``; with an ``opener``, only a name.
    token
        A bearer token for the URL's own scheme, host and port. No redirect takes it elsewhere.
    logins
        Whether the user's logins (``.netrc``) may be sent. Not to a mirror.
    refusal
        What a final refusal means (its status and headers), in the words of who publishes the file.
    limits
        How patient to be with it, where that is not as the run is. Its rate and its counts of jobs and connections are
        not looked at: those are the run's.
    opener
        Opens it, where ``url`` is no URL that is asked.
    accept
        The types of document that are understood, where a server gives others to who does not say.
    admission
        To the registry that the URL is of. What it lets in with goes to the registry's own scheme, host and port.
    watch
        Is told how it does, and says whether it is asked on. It is for the watch to tell what went wrong with a source
        that has one: nothing is said as it happens.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    logins: bool = True
    refusal: Callable[[int, Headers], Exception] | None = field(default=None, compare=False)
    limits: Limits | None = field(default=None, repr=False, compare=False)
    opener: Opener | None = field(default=None, repr=False, compare=False)
    accept: str = "*/*"
    admission: Admission | None = field(default=None, repr=False, compare=False)
    watch: Watch | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Task:
    """One file to fetch.

    Attributes
    ----------
    label
        The asset and the file, for messages.
    sources
        Tried in order.
    partial
        Where the bytes are gathered, and stand when whole. Its journal is beside it.
    size, sha256
        What the lock says, or None. More than the size is never written; other bytes never come out.
    algorithms
        Which digests are wanted.
    pins
        What else is known of the bytes: digests of ``algorithms`` that must come out, or the beginnings of digests.
    guard
        Held while the file is worked at: who else would write the same partial waits.
    key
        The caller's own; not looked at.
    """

    label: str
    sources: tuple[Source, ...]
    partial: str
    size: int | None = None
    sha256: str | None = None
    algorithms: tuple[str, ...] = ("sha256",)
    pins: Mapping[str, str] = field(default_factory=dict)
    guard: Callable[[], contextlib.AbstractContextManager[object]] = contextlib.nullcontext
    key: object = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """What arrived.

    Attributes
    ----------
    size
        Bytes of the whole file.
    digests
        By algorithm, over those bytes.
    evidence
        What the server said of them, and what was computed does not contradict: ``sha256``, ``md5``, ``crc32c``,
        ``etag``.
    url
        The source that gave the last of them; empty where all were there.
    status
        The partial's `os.fstat` after the last write: while it fits, the digests are those of the file.
    """

    size: int
    digests: Mapping[str, str]
    evidence: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    status: os.stat_result | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """A task, and either what arrived or why it did not."""

    task: Task
    fetched: Fetched | None
    error: AssetError | None = None
