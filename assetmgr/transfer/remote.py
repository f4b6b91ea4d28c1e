"""A file where it is published, read in parts: for who wants a little of much, as one member of a zip."""

from __future__ import annotations

import io

from assetmgr.errors import OriginError
from assetmgr.transfer.evidence import validator
from assetmgr.transfer.parts import part_fault
from assetmgr.transfer.rate import Pace
from assetmgr.transfer.retry import Attempts, PassingError
from assetmgr.transfer.source import Source
from assetmgr.transfer.urls import safe_url
from assetmgr.transfer.wire import Wire


class RemoteFile:
    """Seeks and reads as a file does; a read is a request for that range, and is tried again as any transfer is.

    What comes is as good as the server's word: who uses it proves it.

    Parameters
    ----------
    size
        Of the whole file, in bytes. A server that has another one has another file.
    """

    def __init__(self, wire: Wire, source: Source, size: int) -> None:
        self._wire, self._source, self._size = wire, source, size
        self._at = 0
        self._valid = ""
        self._last = (0, b"")
        self.name = safe_url(source.url)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        begin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = begin + offset
        return self._at

    def read(self, size: int = -1, /) -> bytes:
        """The next bytes.

        Raises
        ------
        OriginError
            When the server gives no parts, gives those of another file, or does not answer.
        AccessError
            When it wants a login.
        """
        end = self._size if size < 0 else min(self._at + size, self._size)
        if self._at >= end:
            return b""
        begin, last = self._last  # a zip's directory is mostly in the end of it, which was looked at before
        if begin <= self._at and end <= begin + len(last):
            data = last[self._at - begin : end - begin]
            self._at = end
            return data
        attempts = Attempts(self._wire.limits)
        while True:
            try:
                data = self._part(self._at, end)
            except PassingError as error:
                wait = attempts.failed(0, error.asked)
                if wait is None:
                    raise OriginError(
                        f"{self.name}: {error}", mend="repeat the command when the server is well again"
                    ) from None
                self._wire.stop.wait(wait)
            else:
                self._last = (self._at, data)
                self._at = end
                return data

    def _part(self, start: int, end: int) -> bytes:
        wire = self._wire
        answer = wire.ask(self._source, start, end, self._valid)
        try:
            if fault := part_fault(answer, start, end, self._size, self._valid):
                raise OriginError(f"{self.name}: cannot be read in parts: {fault}")
            self._valid = self._valid or validator(answer.headers)
            data = bytearray(end - start)
            view = memoryview(data)
            pace = Pace(wire.limits)
            done = 0
            while done < len(data):
                count = answer.receive(view[done : done + wire.bucket.portion(len(data) - done)])
                if not count:
                    raise PassingError("the body ended early")
                wire.check()
                pace.count(count, wire.bucket.take(count))
                done += count
            return bytes(data)
        finally:
            answer.close()
