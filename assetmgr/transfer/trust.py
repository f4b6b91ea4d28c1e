"""Whose certificates are believed, and what is said where one is not."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from assetmgr.errors import OriginError
from assetmgr.transfer.urls import safe_url

if TYPE_CHECKING:
    import ssl  # a good part of the start-up, and no matter of plain http

_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")


def authorities() -> str:
    """The file or folder of certificates that are believed: what the environment names, else certifi's.

    Raises
    ------
    OriginError
        When a variable names what is not there.
    """
    for name in _VARIABLES:
        where = os.environ.get(name)
        if not where:
            continue
        if not os.path.exists(where):
            raise OriginError(
                f"{name} names {where}, which is not there",
                mend=f"correct {name}, or unset it to believe the usual",
            )
        return where
    import certifi

    return certifi.where()


def trusting_context() -> ssl.SSLContext:
    """A client's context that believes the `authorities`.

    Raises
    ------
    OriginError
        When they cannot be read.
    """
    return _context(authorities())


@functools.cache
def _context(where: str) -> ssl.SSLContext:
    import ssl

    folder = os.path.isdir(where)
    try:
        return ssl.create_default_context(cafile=None if folder else where, capath=where if folder else None)
    except OSError as error:  # ssl's own errors are of that kind
        raise OriginError(
            f"{where}: holds no certificates that can be read: {error.strerror or error}",
            mend="REQUESTS_CA_BUNDLE and SSL_CERT_FILE name files in PEM form",
        ) from None


def certificate_error(url: str, error: BaseException) -> OriginError | None:
    """What to tell where a server's certificate was the reason of a failure; None where it was not."""
    import ssl

    seen: BaseException | None = error
    while seen is not None and not isinstance(seen, ssl.SSLCertVerificationError):
        seen = seen.__cause__ or seen.__context__ or _inner(seen)
    if seen is None:
        return None
    return OriginError(
        f"{safe_url(url)}: the server's certificate is not good: {seen.verify_message}",
        mend="if your network has its own authority, let REQUESTS_CA_BUNDLE or SSL_CERT_FILE name its certificate",
    )


def _inner(error: BaseException) -> BaseException | None:
    """What requests and urllib3 wrap without chaining it."""
    reason = getattr(error, "reason", None)
    inner = (reason, *error.args)
    return next((one for one in inner if isinstance(one, BaseException) and one is not error), None)
