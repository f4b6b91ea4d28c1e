"""Many files at once: the jobs of a run, which share connections, the rate and the word to stop."""

from __future__ import annotations

import contextlib
import errno
import queue
import threading
from collections.abc import Callable, Iterable, Iterator

from assetmgr.errors import AssetError, DiskSpaceError
from assetmgr.owners import is_refusal, refused
from assetmgr.reporting import Reporter, Silent
from assetmgr.transfer.crew import Crew
from assetmgr.transfer.documents import Document, published_size, read_document
from assetmgr.transfer.fetch import fetch_task
from assetmgr.transfer.limits import Limits
from assetmgr.transfer.remote import RemoteFile
from assetmgr.transfer.small import is_small
from assetmgr.transfer.source import Outcome, Source, Task
from assetmgr.transfer.wire import StoppedError, Wire

_END = object()


class Engine(contextlib.AbstractContextManager["Engine"]):
    """Fetches files for one run. Connections live from one `fetch` to the next, until the engine is closed."""

    def __init__(self, limits: Limits, reporter: Reporter | None = None) -> None:
        self._limits = limits
        self._reporter = reporter or Silent()
        self._wire = Wire(limits)

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop what is under way. What has arrived stays, and is gone on with."""
        self._wire.close()

    def fetch(self, tasks: Iterable[Task], progress: Callable[[int], object] | None = None) -> Iterator[Outcome]:
        """Fetch files, up to ``limits.jobs`` at once; each task comes out once, as it is done.

        Leaving early (Ctrl-C, an error, ``break``) stops all of it: within a moment nothing is written any more, and
        every partial can be gone on with. Further calls begin with fresh connections.

        Parameters
        ----------
        tasks
            Taken one by one as there is room for them.
        progress
            Called, from any thread, with bytes as they come, and with less than 0 where some did not count.
        """
        source = iter(tasks)
        taking = threading.Lock()
        # Bounded: a consumer that is slower than the wire holds it up, rather than memory.
        done: queue.Queue[Outcome | BaseException | object] = queue.Queue(maxsize=4 * self._limits.jobs)
        wire = self._wire
        stop = wire.stop
        report = progress or (lambda count: None)

        def put(item: Outcome | BaseException | object) -> None:
            while not stop.is_set():
                with contextlib.suppress(queue.Full):
                    done.put(item, timeout=0.2)
                    return

        def work() -> None:
            try:
                while not stop.is_set():
                    with taking:
                        task = next(source, None)
                    if task is None:
                        break
                    if not is_small(task, self._limits):
                        crew.grow()  # it spends its time outside of the interpreter
                    put(self._one(task, wire, report))
            except StoppedError:
                pass
            except BaseException as error:  # noqa: BLE001 - raised where the outcomes are taken
                put(error)
            put(_END)

        crew = Crew(self._limits.jobs, work)
        crew.grow()
        ended = 0
        try:
            while ended < len(crew):
                try:
                    item = done.get(timeout=crew.patience)  # a bounded wait: Ctrl-C gets through on every system
                except queue.Empty:
                    wire.check()
                    crew.nothing_came()
                    continue
                if item is _END:
                    ended += 1
                elif isinstance(item, BaseException):
                    raise item
                else:
                    assert isinstance(item, Outcome)
                    crew.one_came(are_others_waiting=not done.empty())
                    yield item
        finally:
            if ended < len(crew):
                wire.close()
                self._wire = Wire(self._limits)
                crew.join(0.5)

    def in_parts(self, source: Source, size: int) -> RemoteFile:
        """A file of a known size on a server, to be read in parts."""
        return RemoteFile(self._wire, source, size)

    def read(self, source: Source, *, most: int, label: str) -> Document:
        """A small document into memory; see `read_document`."""
        return read_document(source, self._wire, most=most, label=label, say=self._reporter.say)

    def size_of(self, source: Source, label: str) -> int | None:
        """The size of a file, asked without its bytes; see `published_size`."""
        return published_size(source, self._wire, label=label, say=self._reporter.say)

    def _one(self, task: Task, wire: Wire, progress: Callable[[int], object]) -> Outcome:
        def say(text: str) -> None:
            if not wire.stop.is_set():  # connections that we cut ourselves are no news
                self._reporter.say(text)

        try:
            with self._reporter.file(task.label, task.size or 0) as line:

                def count(amount: int) -> None:
                    progress(amount)
                    line.add(amount)

                fetched = fetch_task(task, wire, progress=count, say=say, sleep=wire.stop.wait)
            return Outcome(task, fetched)
        except AssetError as error:
            return Outcome(task, None, error)
        except OSError as error:
            return Outcome(task, None, disk_error(task.label or task.partial, error))


def disk_error(name: str, error: OSError) -> AssetError:
    """A failure of the disk, as one of ours, with that one as its cause."""
    where = error.filename or "the store"
    fault: AssetError
    if error.errno == errno.EFBIG:
        fault = DiskSpaceError(
            f"{name}: {where}: too large a file for this file system, or for this user's limit",
            mend="choose a place on another file system (FAT32 takes no file of 4 GiB), or see `ulimit -f`",
        )
    elif error.errno in (errno.ENOSPC, errno.EDQUOT):
        fault = DiskSpaceError(
            f"{name}: {where}: {error.strerror}", mend="free some space and pull again: it goes on where it was"
        )
    elif is_refusal(error):
        fault = refused(error, f"{name}: ")
    else:
        fault = AssetError(
            f"{name}: {where}: {error.strerror or error}", mend="see who owns the store's folders and may write there"
        )
    fault.__cause__ = error
    return fault
