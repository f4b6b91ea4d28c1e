"""What `-v` shows while a command runs: each request, as `assetmgr.transfer.trace` tells it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from assetmgr.cli.output import Output


@contextlib.contextmanager
def requests_told(output: Output) -> Iterator[None]:
    """Have every request told on the words' side, without tearing a bar."""
    import logging

    class ToOutput(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            output.words(record.getMessage())

    log, handler = logging.getLogger("assetmgr.http"), ToOutput()
    before = log.level
    log.addHandler(handler)
    log.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        log.setLevel(before)
        log.removeHandler(handler)
