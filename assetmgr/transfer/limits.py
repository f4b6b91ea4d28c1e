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
    retry_after_most: float = 120.0
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
