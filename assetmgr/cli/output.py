"""The command line's one sink: data on stdout, words on stderr, colours and bars only on a terminal.

What comes from outside (names, paths, what servers say) drives no terminal: this is the one place that sees to it.
"""

from __future__ import annotations

import contextlib
import errno
import json as json_module
import re
import shlex
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from assetmgr.cli import streams
from assetmgr.errors import AssetError, DiskSpaceError, ManifestError
from assetmgr.reporting import NO_PROGRESS

if TYPE_CHECKING:
    from assetmgr.cli.bars import Bars
    from assetmgr.reporting import Progress

_CONTROLS = re.compile("[^ -~]+")


class LostOutputError(Exception):
    """What was asked for could not be written to where it was to go."""

    def __init__(self, error: OSError) -> None:
        kind = DiskSpaceError if error.errno in (errno.ENOSPC, errno.EDQUOT) else AssetError
        self.told = kind(f"standard output: {error.strerror or error}", mend="see where the output goes")
        super().__init__(str(self.told))


class Output:
    """Implements `assetmgr.reporting.Reporter` for a person at a terminal, or for a pipe.

    As a context manager it takes its bars off the screen at the end, however that came.
    """

    def __init__(
        self,
        *,
        json: bool = False,
        quiet: bool = False,
        verbose: bool = False,
        options: Sequence[str] = (),
        commands: Sequence[str] = (),
    ) -> None:
        self.json = json
        self._options = shlex.join(options)
        self._command = re.compile(rf"\bassetmgr (?=({'|'.join(commands)})\b)")
        self.quiet = quiet
        self.verbose = verbose
        self._colours = streams.takes_colours(sys.stderr)
        self._bars: Bars | None = None
        self._shows_bars = streams.obeys_codes(sys.stderr) and not quiet and not json
        self._lock = threading.Lock()

    def __enter__(self) -> Output:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._shows_bars = False
            bars, self._bars = self._bars, None
        if bars is not None:
            bars.close()

    # --- data ----------------------------------------------------------------------------------------------------

    def data(self, text: str, *, exact: bool = False) -> None:
        """Print what was asked for. What is ``exact`` is for a program: only a terminal has it made harmless."""
        if not exact or streams.is_terminal(sys.stdout):
            text = shown(text, lines=True)
        self._print(text)

    def document(self, value: object) -> None:
        """Print the one JSON document: of plain values, or of the frozen ones that describe it."""
        import msgspec

        value = msgspec.to_builtins(value, str_keys=True)
        text = _CONTROLS.sub(_as_json, json_module.dumps(value, indent=1, ensure_ascii=False))
        try:
            text.encode(sys.stdout.encoding or "utf-8")
        except UnicodeEncodeError:
            text = json_module.dumps(value, indent=1)  # JSON has its own way to write what an encoding lacks
        self._print(text)

    def _print(self, text: str) -> None:
        with self._aside():
            try:
                print(text)
            except BrokenPipeError:
                raise
            except OSError as error:
                streams.silence(1)
                raise LostOutputError(error) from error

    def flush(self) -> None:
        """See to it that what was printed is written.

        Raises
        ------
        LostOutputError, BrokenPipeError
            When it cannot be.
        """
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            streams.silence(1)
            raise LostOutputError(error) from error

    # --- words ---------------------------------------------------------------------------------------------------

    def words(self, text: str) -> None:
        """Tell a person, whatever is piped where."""
        self._tell(f"assetmgr: {shown(text, lines=True)}")

    def say(self, text: str) -> None:
        if not self.quiet:
            self.words(text)

    def _tell(self, text: str) -> None:
        """Words never stop the work: where they cannot be written, there are none."""
        with self._aside():
            try:
                print(text, file=sys.stderr, flush=True)
            except OSError:
                streams.silence(2)

    def fail(self, error: AssetError, *, documented: bool = False, **more: object) -> None:
        """Tell an error: words for a person, and a document for a program unless it has one already.

        ``more`` goes into the document.
        """
        for one in error.parts:
            told = f"\n  {self._coloured('mend:', '1')} {shown(self.typed(one.mend), lines=True)}" if one.mend else ""
            self._tell(f"{self._coloured('error:', '1;31')} {shown(one.message, lines=True)}{told}")
        if self.json and not documented:
            self.document({"code": error.code, "errors": [error_document(one) for one in error.parts], **more})

    def trace(self, error: BaseException) -> None:
        """Where an unexpected error came from, for who asked for details."""
        if self.verbose:
            import traceback

            self._tell(shown("".join(traceback.format_exception(error)).rstrip(), lines=True))

    def _coloured(self, text: str, code: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colours else text

    def typed(self, words: str) -> str:
        """Words that name a command of ours, as it must be typed to mean the same store and manifests."""
        if not self._options:
            return words
        return self._command.sub(lambda _: f"assetmgr {self._options} ", words)

    # --- bars ----------------------------------------------------------------------------------------------------

    def progress(self, label: str, total: int, *, unit: str = "B") -> Progress:
        bars = self._shown_bars()
        return bars.whole(shown(label), total, unit) if bars else NO_PROGRESS

    def file(self, label: str, total: int) -> Progress:
        bars = self._shown_bars()
        return bars.file(shown(label.partition(": ")[2] or label), total) if bars else NO_PROGRESS

    def _shown_bars(self) -> Bars | None:
        if not self._shows_bars:
            return None
        with self._lock:
            if self._bars is None and self._shows_bars:
                from assetmgr.cli.bars import Bars

                self._bars = Bars(sys.stderr)
            return self._bars

    def _aside(self) -> contextlib.AbstractContextManager[object]:
        """While something is written, bars that are up make room for it."""
        bars = self._bars
        return bars.aside() if bars else contextlib.nullcontext()


def shown(text: str, *, lines: bool = False) -> str:
    """A text as a terminal may have it: what it would obey, and marks that turn the direction of writing, as numbers.

    ``lines``: it may have several.
    """
    return _CONTROLS.sub(lambda found: "".join(_seen(one, lines) for one in found[0]), text)


def _seen(character: str, lines: bool) -> str:
    if character.isprintable() or (lines and character == "\n"):
        return character
    if 0xDC80 <= ord(character) <= 0xDCFF:  # a byte that is no character, as os.fsdecode leaves it
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def _as_json(found: re.Match[str]) -> str:
    """What a terminal would obey, as JSON writes it: the document says the same."""
    seen = ("\n" if one == "\n" else one if one.isprintable() else json_module.dumps(one)[1:-1] for one in found[0])
    return "".join(seen)


def error_document(error: AssetError) -> dict[str, Any]:
    """An error as ``--json`` tells it."""
    document: dict[str, Any] = {
        "type": type(error).__name__,
        "code": error.code,
        "message": error.message,
        "mend": error.mend,
    }
    if isinstance(error, ManifestError):
        document["problems"] = [problem._asdict() for problem in error.problems]
    return document


def size(count: int) -> str:
    """Bytes for a person: ``4.2 MB``."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < (1000 if unit == "B" else 999.95):
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"


def plural(count: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
