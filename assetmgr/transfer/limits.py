"""Every limit of moving bytes, as one field of one config."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient and how bold a transfer is.

    Attributes
    ----------
    jobs
        How many files move at once.
    connect_timeout, read_timeout
        Seconds to wait for a connection, and for the next bytes on one.
    attempts
        How often one request is made before its failure counts.
    backoff, backoff_most
        Seconds before the second attempt, doubled for each further one up to the most; each with jitter.
    retry_after_most
        The longest wait, in seconds, that a server may ask for by Retry-After. One that asks for more has said no.
    redirects
        How many redirects are followed.
    largest
        Bytes after which a file of unknown size is given up.
    """

    jobs: int = 8
    connect_timeout: float = 10.0
    read_timeout: float = 30.0
    attempts: int = 5
    backoff: float = 0.5
    backoff_most: float = 20.0
    retry_after_most: float = 120.0
    redirects: int = 10
    largest: int = 1 << 42
