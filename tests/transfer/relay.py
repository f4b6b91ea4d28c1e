"""A relay before a server on loopback: it encrypts, or holds each connection to a rate, as a distant server would.

``python -m tests.transfer.relay TARGET_PORT BYTES_A_SECOND`` prints the port that it listens on.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import sys
import threading
import time

_CHUNK = 64 * 1024


class Relay:
    """Listens on a port of its own until `close`; every connection is carried to the target port of this machine.

    With ``cut_after``, which may be changed at any time, each is cut after so many bytes of answers.
    """

    def __init__(
        self,
        target: int,
        *,
        rate: float | None = None,
        context: ssl.SSLContext | None = None,
        cut_after: int | None = None,
    ) -> None:
        self._target, self._rate, self._context = target, rate, context
        self.cut_after = cut_after
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = []
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.accepted += 1
                threading.Thread(target=self._carry, args=(connection,), daemon=True).start()

    def _carry(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
            if self._rate is not None:
                # Else the buffers of the system would carry megabytes at any speed.
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _CHUNK)
            there = socket.create_connection(("127.0.0.1", self._target))
            if self._rate is not None:
                there.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _CHUNK)
            for end in (connection, there):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as servers do, for a body's last bytes
            self._open += [connection, there]
            threading.Thread(target=self._pump, args=(connection, there, False), daemon=True).start()
            self._pump(there, connection, True)

    def _pump(self, source: socket.socket, sink: socket.socket, is_answer: bool) -> None:
        rate = self._rate if is_answer else None
        paid, carried = time.monotonic(), 0
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                carried += len(data)
                if is_answer and self.cut_after is not None and carried > self.cut_after:
                    break
                if rate is not None:
                    # A burst of a twentieth of a second, and then not a byte faster.
                    paid = max(paid, time.monotonic() - 0.05) + len(data) / rate
                    time.sleep(max(0.0, paid - time.monotonic()))
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        for end in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


if __name__ == "__main__":
    print(Relay(int(sys.argv[1]), rate=float(sys.argv[2])).port, flush=True)
    sys.stdin.read()
