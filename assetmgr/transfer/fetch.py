"""One file from one or several sources into a partial file, hashed while it is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from assetmgr.errors import AccessError, AssetError, IntegrityError, MissingExtraError, OriginError
from assetmgr.transfer.evidence import expects_html, looks_like_html
from assetmgr.transfer.gather import Gatherer
from assetmgr.transfer.judging import ChangedError, WrongBytesError, page_error
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.retry import Attempts, PassingError
from assetmgr.transfer.small import SmallFile, is_small
from assetmgr.transfer.source import Fetched, Source, Task, Watch
from assetmgr.transfer.urls import safe_url
from assetmgr.transfer.wire import Wire

# How often a source may begin anew for having changed.
_CHANGES = 3

Say = Callable[[str], object]


def fetch(
    urls: Sequence[str],
    partial: str,
    *,
    algorithms: Sequence[str] = ("sha256",),
    size: int | None = None,
    sha256: str | None = None,
    limits: Limits,
    progress: Callable[[int], object] = lambda count: None,
    say: Say = lambda text: None,
    sleep: Callable[[float], object] = time.sleep,
) -> Fetched:
    """Fetch one file into ``partial``; the first URL that answers wins.

    For more than one file, `engine.Engine` shares connections.

    Parameters
    ----------
    urls
        ``http:``, ``https:`` and ``file:`` URLs, tried in order.
    size, sha256
        What the lock names. More than the size is never written, and less is a failure.

    Raises
    ------
    AccessError, OriginError, IntegrityError
        The last URL's failure, when none gave the file.
    """
    wire = Wire(limits)
    task = Task("", tuple(Source(url) for url in urls), partial, size, sha256, tuple(algorithms))
    try:
        return fetch_task(task, wire, progress=progress, say=say, sleep=sleep)
    finally:
        wire.close()


def fetch_task(
    task: Task,
    wire: Wire,
    *,
    progress: Callable[[int], object],
    say: Say,
    sleep: Callable[[float], object],
) -> Fetched:
    """Fetch one file of a run. See `fetch`; an `OSError` of the disk goes to the caller as it is."""
    small = is_small(task, wire.limits)
    with (
        task.guard(),
        SmallFile(task, wire, progress) if small else Gatherer(task, wire, progress, say) as gatherer,
    ):
        held = gatherer.held()
        if held is not None:
            return held
        result = _from_any(task, gatherer, wire.limits, say, sleep)
        if (task.sha256 or task.pins) and isinstance(result, IntegrityError) and _asked(task):
            say(f"{result.message}; fetching it once more")
            result = _from_any(task, gatherer, wire.limits, say, sleep)
            if isinstance(result, IntegrityError):
                result = IntegrityError(f"{result.message}, twice", mend=result.mend)
        if isinstance(result, Fetched):
            return result
        gatherer.forget_count()
        raise result


def _from_any(
    task: Task, gatherer: Gatherer | SmallFile, limits: Limits, say: Say, sleep: Callable[[float], object]
) -> Fetched | AssetError:
    """The file from the first source that gives it, or why the last one does not.

    What goes wrong with a source that is watched (a mirror) is not told in place of what the origin says.
    """
    failure: AssetError = OriginError(_named(task, "no URL to fetch from"))
    failed: Source | None = None
    for source in task.sources:
        if source.watch is not None:
            result = _from_watched(task, source, source.watch, gatherer, limits, sleep)
        else:
            if failed is not None and failed.watch is None:
                say(f"{failure.message}; trying {safe_url(source.url)}")
            result = _from_source(task, source, gatherer, limits, say, sleep)
        if isinstance(result, Fetched):
            return result
        if result is not None and (failed is None or failed.watch is not None or source.watch is None):
            failure, failed = result, source
    return failure


def _asked(task: Task) -> list[Source]:
    """The sources that may be asked now."""
    return [source for source in task.sources if source.watch is None or source.watch.is_wanted()]


def _from_watched(
    task: Task,
    source: Source,
    watch: Watch,
    gatherer: Gatherer | SmallFile,
    limits: Limits,
    sleep: Callable[[float], object],
) -> Fetched | AssetError | None:
    """The file from a source that stands or falls as a whole; None where it is not asked."""
    if not watch.is_wanted():
        return None
    result = _from_source(task, source, gatherer, source.limits or limits, lambda text: None, sleep, watch)
    if isinstance(result, Fetched):
        watch.gave(result.size)
    else:
        watch.failed(result)
    return result


def _from_source(
    task: Task,
    source: Source,
    gatherer: Gatherer | SmallFile,
    limits: Limits,
    say: Say,
    sleep: Callable[[float], object],
    watch: Watch | None = None,
) -> Fetched | AssetError:
    """All attempts at one source: the file, or why there is none."""
    attempts = Attempts(limits)
    changes = 0
    mixed = False  # bytes of before were among wrong ones once: that is not held against the source
    where = safe_url(source.url)
    while True:
        before = gatherer.gained
        try:
            return gatherer.attempt(source)
        except PassingError as error:
            wait = attempts.failed(gatherer.gained - before, error.asked)
            if wait is None or (watch is not None and not watch.is_wanted()):
                final = attempts.given_up(error)
                return OriginError(_named(task, f"{where}: {final.message}"), mend=final.mend)
            say(_named(task, f"{where}: {error}; again in {wait:.1f} s"))
            sleep(wait)
        except ChangedError as error:
            changes += 1
            if changes > _CHANGES:
                return OriginError(
                    _named(task, f"{where}: changes while it is fetched ({error})"), mend="repeat the command later"
                )
            say(_named(task, f"{where}: {error}; starting over"))
        except WrongBytesError as error:
            page = looks_like_html(error.start) and not expects_html(source.url, task.label)
            gatherer.start_over()
            if page:
                page_fault = page_error(source.url)
                return OriginError(_named(task, page_fault.message), mend=page_fault.mend)
            if mixed or error.is_fresh:
                return IntegrityError(_named(task, f"{where}: {error}"))
            mixed = True
            say(_named(task, f"{where}: {error}, bytes of before among them; fetching it once more"))
        except (OriginError, AccessError, IntegrityError, MissingExtraError) as error:
            if isinstance(error, IntegrityError):
                gatherer.start_over()
            told = type(error)(_named(task, error.message), mend=error.mend)
            if isinstance(error, OriginError) and isinstance(told, OriginError):
                told.is_absent = error.is_absent
            return told


def _named(task: Task, text: str) -> str:
    return f"{task.label}: {text}" if task.label and not text.startswith(task.label) else text
