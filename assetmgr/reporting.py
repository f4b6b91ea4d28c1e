"""What long work tells while it runs: words, and progress in bytes. The command line draws it; a library is silent."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol


class Progress(Protocol):
    """One bar. Used as a context manager, so that it is closed whatever happens."""

    def __enter__(self) -> Progress: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> object: ...
    def add(self, amount: int, /) -> None: ...
    def reach(self, amount: int, /) -> None: ...


class Reporter(Protocol):
    """Where words and bars go."""

    def say(self, text: str, /) -> None:
        """Tell a person something worth knowing now: a wait, a retry, a fallback."""

    def progress(self, label: str, total: int, /, *, unit: str = "B") -> Progress:
        """Begin a bar of ``total`` bytes, or of another unit; 0 where nobody knows how many."""

    def file(self, label: str, total: int, /) -> Progress:
        """Begin the line of one file in flight, whose bytes count in a bar, too. From any thread."""


class _NoProgress:
    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def add(self, amount: int, /) -> None:
        return None

    def reach(self, amount: int, /) -> None:
        return None


NO_PROGRESS: Progress = _NoProgress()


class Silent:
    """A reporter that tells nothing: the Python API's default."""

    def say(self, text: str, /) -> None:
        return None

    def progress(self, label: str, total: int, /, *, unit: str = "B") -> Progress:
        return NO_PROGRESS

    def file(self, label: str, total: int, /) -> Progress:
        return NO_PROGRESS
