"""Every limit of moving bytes, as one field of one config."""

from __future__ import annotations

import dataclasses
import os
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient and how bold a transfer is.

    Attributes
    ----------
    jobs
        How many files move at once.
    rate
        Bytes a second that a whole run may take; None is all there is.
    connect_timeout, read_timeout
        Seconds to wait for a connection, and for the next bytes on one.
    least_rate
        Bytes a second below which, over ``read_timeout`` seconds, a connection counts as stalled though it drips.
    attempts
        How often in a row one request is made in vain before its failure counts.
    attempts_most
        How often one source of one file is asked, however much each attempt brought.
    progress_least
        Bytes that an attempt must bring for ``attempts`` to count from the start again.
    backoff, backoff_most
        Seconds before the second attempt, doubled for each further one up to the most; each with jitter.
    retry_after_most
        The longest wait, in seconds, that a server may ask for by Retry-After. One that asks for more has said no.
    redirects
        How many redirects are followed.
    largest
        Bytes after which a file of unknown size is given up.
    resume_from
        Size in bytes from which a file keeps a journal, and is gone on with inside.
    split_from
        Size in bytes from which a file may come over several connections.
    connections
        The most connections for one file.
    connections_most
        The most connections for all files together; beyond it, no file is given a further one.
    slow
        Bytes a second below which a connection counts as slow, and a large file is given more of them.
    piece_least, piece_most
        What one connection takes of a shared file at a time, in bytes: at least, which is also how finely a journal
        notes what is there, and at most.
    idle
        Seconds after which a connection that nobody uses is not used again.
    mirror_connect_timeout, mirror_read_timeout, mirror_least_rate, mirror_attempts, mirror_backoff, \
mirror_retry_after_most
        The same for a mirror: behind it stands the origin, so less patience is right.
    mirror_misses
        How many files in a row a mirror may lack before it is asked after the origin.
    mirror_probe, mirror_gap
        A mirror that is asked after the origin is tried first again for each so many bytes that are wanted, and, where
        it ever had a file, after 1, 2, 4, ... files, ``mirror_gap`` at the most: a request in vain then costs little
        beside what it might spare.
    listing_largest
        Bytes after which a listing, whose size no lock names, is given up.
    push_timeout
        Seconds after which a push to a bucket of which nothing is heard is given up; before the first word of it,
        ``read_timeout``. What moves inside a part of a large file is not seen: it must be enough for one.
    """

    jobs: int = 8
    rate: float | None = None
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    least_rate: float = 256.0
    attempts: int = 5
    attempts_most: int = 50
    progress_least: int = 1 << 20
    backoff: float = 0.5
    backoff_most: float = 20.0
    retry_after_most: float = 300.0
    redirects: int = 10
    largest: int = 1 << 42
    resume_from: int = 1 << 20
    split_from: int = 16 << 20
    connections: int = 8
    connections_most: int = 32
    slow: float = 100e6
    piece_least: int = 1 << 19
    piece_most: int = 16 << 20
    idle: float = 20.0
    mirror_connect_timeout: float = 3.0
    mirror_read_timeout: float = 10.0
    mirror_least_rate: float = 4096.0
    mirror_attempts: int = 2
    mirror_backoff: float = 0.25
    mirror_retry_after_most: float = 5.0
    mirror_misses: int = 5
    mirror_probe: int = 16 << 20
    mirror_gap: int = 64
    listing_largest: int = 1 << 28
    push_timeout: float = 600.0

    def for_mirror(self) -> Limits:
        """How patient to be with a mirror."""
        return dataclasses.replace(
            self,
            connect_timeout=self.mirror_connect_timeout,
            read_timeout=self.mirror_read_timeout,
            least_rate=self.mirror_least_rate,
            attempts=self.mirror_attempts,
            backoff=self.mirror_backoff,
            retry_after_most=self.mirror_retry_after_most,
        )


RATE_FORM = "bytes a second, at least 1K: 500K, 20M or 1.5G, of 1024 each"
_RATE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?)([KMGT]?)", re.IGNORECASE | re.ASCII)
_POWERS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_rate(text: str) -> float:
    """Bytes a second from a text as curl, wget and aria2c have it: ``20M``, with suffixes that are powers of 1024.

    Raises
    ------
    ValueError
        When it is none, or less than 1K.
    """
    found = _RATE.fullmatch(text.strip())
    rate = float(found[1]) * _POWERS[found[2].upper()] if found else 0.0
    if rate < _POWERS["K"]:
        raise ValueError(f"{text[:40]!r} is no rate: {RATE_FORM}")
    return rate


def environment_rate() -> float | None:
    """The rate that ``ASSETMGR_LIMIT_RATE`` sets for every command, or None.

    Raises
    ------
    ValueError
        When it is set to what is no rate.
    """
    text = os.environ.get("ASSETMGR_LIMIT_RATE", "")
    return parse_rate(text) if text else None
