"""The server, put together from its parts."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import ipaddress
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from assetmgr.errors import AccessError, BusyError, UsageError
from assetmgr.lock import LockedAsset
from assetmgr.server.access_log import AccessLog
from assetmgr.server.catalog import Catalogs
from assetmgr.server.exchange import Exchange
from assetmgr.server.limits import Limits
from assetmgr.server.loop import Loop
from assetmgr.server.metrics import Metrics
from assetmgr.server.pull_through import PullThrough
from assetmgr.server.routes import Outlook
from assetmgr.store import Store
from assetmgr.uses import stay

PORT = 8470


@dataclass(frozen=True)
class Settings:
    """How a store is served.

    Attributes
    ----------
    host, port
        Where to listen. Port 0: any that is free.
    token
        Without which nothing is given out; None: to everybody who can connect.
    tls_certificate, tls_key
        PEM files; None: plain HTTP. The key may be in the certificate's file.
    access_log
        A file, or ``-`` for standard output.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    token: str | None = field(default=None, repr=False)
    tls_certificate: str | None = None
    tls_key: str | None = None
    access_log: str | None = None
    limits: Limits = field(default_factory=Limits)


class Server:
    """Listens from the moment it is made; `run` serves until `stop`.

    Parameters
    ----------
    pinned, pull
        For pulling through, as `assetmgr.server.pull_through.PullThrough` has them; None: only what is here.
    report
        Told what who runs the server should know.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        *,
        pinned: Callable[[], Iterable[LockedAsset]] | None = None,
        pull: Callable[[str], None] | None = None,
        report: Callable[[str], None] = lambda words: None,
    ) -> None:
        limits = _within_files(settings.limits)
        tls = _tls(settings)
        listener = _listen(settings.host, settings.port)
        self.port: int = listener.getsockname()[1]
        self.scheme = "https" if tls else "http"
        self.address = f"{self.scheme}://{_in_url(settings.host)}:{self.port}"
        metrics = Metrics()
        catalogs = Catalogs(store)
        log = AccessLog(settings.access_log, report) if settings.access_log else None
        through = (
            PullThrough(pinned, pull, metrics, report, patience=limits.flight_seconds) if pinned and pull else None
        )

        def told() -> str:
            gauges = {
                "connections_open": ("Connections that are open.", float(self.connections())),
                "connections_busy": ("Connections that are being answered.", float(self.connections("busy"))),
                "assets": ("Assets that are given out.", float(len(catalogs.now().assets))),
            }
            return metrics.text(gauges)

        outlook = Outlook(settings.token, self.scheme, self.address, told)
        exchange = Exchange(catalogs, outlook, limits, metrics, log, through, report)
        self._loop = Loop(listener, exchange, limits, metrics, log, tls)
        self._thread: threading.Thread | None = None
        self._store = store

    def connections(self, state: str | None = None) -> int:
        """How many connections there are, or are in a state: see `assetmgr.server.connection.Connection`."""
        return self._loop.connections(state)

    def run(self) -> None:
        """Serve until `stop`, and then for as long as who is being answered needs, within limits."""
        with contextlib.closing(stay(self._store)):
            self._loop.run()

    def stop(self) -> None:
        """Let `run` end. From any thread or signal handler."""
        self._loop.stop()

    def __enter__(self) -> Server:
        self._thread = threading.Thread(target=self.run, name="serve", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        assert self._thread is not None
        self._thread.join()


def is_loopback(host: str) -> bool:
    """Whether a host to listen at is only to be reached from this machine."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _in_url(host: str) -> str:
    """How clients name a host that is listened at: of all addresses, this machine's own name."""
    if host in ("", "0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        return socket.gethostname()
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server(
            (host, port), family=family, backlog=1024, dualstack_ipv6=host == "::" and socket.has_dualstack_ipv6()
        )
    except PermissionError:
        raise AccessError(f"port {port} may not be listened at", mend="choose one above 1023: --port 8470") from None
    except (OSError, UnicodeError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        kind = BusyError if isinstance(error, OSError) and error.errno == errno.EADDRINUSE else UsageError
        raise kind(
            f"{host}:{port} cannot be listened at: {words}", mend="choose another with --host or --port"
        ) from None


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if settings.tls_certificate is None:
        if settings.tls_key is not None:
            raise UsageError("a TLS key needs its certificate", mend="name it too: --tls-cert FILE")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key, password=_no_password)
    except (OSError, ssl.SSLError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(
            f"{settings.tls_certificate}: no certificate with its key can be read: {words}",
            mend="name PEM files: --tls-cert CERTIFICATE --tls-key KEY",
        ) from None
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted")


def _within_files(limits: Limits) -> Limits:
    """As many connections as this process may have open files for; it is allowed all that the system lets it have."""
    try:
        import resource
    except ImportError:
        return limits
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * limits.connections + 128
    if soft != resource.RLIM_INFINITY and soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    most = limits.connections if soft == resource.RLIM_INFINITY else max(1, min(limits.connections, (soft - 128) // 2))
    return dataclasses.replace(limits, connections=most)
