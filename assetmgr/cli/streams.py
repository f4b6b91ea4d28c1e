"""The standard streams as this process finds them: closed, full, gone, or of an encoding that lacks our characters."""

from __future__ import annotations

import codecs
import os
import sys
from typing import TextIO


def steady() -> None:
    """Have three streams that can be written to, so that no file of the store is opened in a closed one's place."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # The lowest free number is this one. Nothing can be written to this standard output: what is lost is told.
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
    if sys.stdout is None:  # as Python has it where it found none
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    codecs.register_error("assetmgr", _as_it_can_be)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="assetmgr")


def _as_it_can_be(error: UnicodeError) -> tuple[bytes | str, int]:
    """What an encoding lacks: a byte of a file's name as it is on disk, any other character by its number."""
    assert isinstance(error, UnicodeEncodeError)
    shown = b""
    for character in error.object[error.start : error.end]:
        number = ord(character)
        is_byte = 0xDC80 <= number <= 0xDCFF  # as os.fsdecode leaves it
        shown += bytes([number - 0xDC00]) if is_byte else character.encode("ascii", "backslashreplace")
    return shown, error.end


def silence(number: int) -> None:
    """Let nothing more be written to a stream whose reader is gone: not what is buffered either, at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def is_terminal(stream: TextIO) -> bool:
    """Whether a person sees what is written there."""
    try:
        return stream.isatty()
    except (OSError, ValueError):
        return False


def obeys_codes(stream: TextIO) -> bool:
    """Whether a stream is a terminal that moves its cursor as it is told."""
    return is_terminal(stream) and os.environ.get("TERM", "").lower() not in ("dumb", "unknown")


def takes_colours(stream: TextIO) -> bool:
    """Whether a stream is a terminal whose user wants colours: ``NO_COLOR`` and ``CLICOLOR=0`` say no."""
    return obeys_codes(stream) and not os.environ.get("NO_COLOR") and os.environ.get("CLICOLOR") != "0"


def size(stream: TextIO) -> os.terminal_size | None:
    """How large the screen is that a stream goes to; None where it goes to none, or one that does not tell."""
    try:
        size = os.get_terminal_size(stream.fileno())
    except (OSError, ValueError):
        return None
    return None if 0 in size else size
