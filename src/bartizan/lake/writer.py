"""The one writer of a process: a thread that takes requests from a queue and commits many at a time.

All of a group become durable by one commit, and only then are their callers told. A request that fails takes no other
with it: the group is undone and each is tried alone.

Source: group commit, as in Gray and Reuter, "Transaction Processing", section 11.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import structlog
from msgspec import Struct

from bartizan.errors import BartizanError, Unavailable

T = TypeVar("T")
Params = Sequence[Any]

log = structlog.get_logger(__name__)


class Unknown(Exception):
    """The connection was lost while a commit was under way."""


class Db(Protocol):
    """One connection, used by one thread at a time; `?` stands for a parameter."""

    def rows(self, sql: str, params: Params = ()) -> list[tuple[Any, ...]]: ...

    def run(self, sql: str, params: Params = ()) -> int:
        """Returns how many rows were changed."""
        ...

    def many(self, sql: str, params: Sequence[Params]) -> None: ...


class Clock:
    """The number that was last given, as of the transaction that has read it."""

    __slots__ = ("seq",)

    def __init__(self, seq: int) -> None:
        self.seq = seq

    def next(self) -> int:
        self.seq += 1
        return self.seq


Work = Callable[[Db, Clock], T]


class Pen(Protocol):
    """The writing connection of an engine. Methods raise the engine's own errors; `explain` makes ours of them."""

    @property
    def db(self) -> Db: ...

    def begin(self) -> Clock:
        """Opens a transaction, holding the lock that orders all writers of all processes, and reads the number."""
        ...

    def commit(self, clock: Clock) -> None:
        """Durable when it returns. Unknown if the outcome cannot be told."""
        ...

    def abort(self) -> None:
        """Rolls back and makes the connection usable again, or drops it; never raises."""
        ...

    def explain(self, error: BaseException) -> BartizanError | None:
        """What an engine's error means to the caller; None: it is none of the engine's."""
        ...

    def close(self) -> None: ...


class Bounds(Struct, frozen=True):
    """Of a group that is committed together, and of what may wait."""

    group_requests: int
    group_s: float
    group_bytes: int
    queue: int
    queue_bytes: int


class _Job(Generic[T]):
    __slots__ = ("error", "future", "loop", "result", "size", "work")

    def __init__(self, work: Work[T], size: int, loop: asyncio.AbstractEventLoop, future: "asyncio.Future[T]") -> None:
        self.work = work
        self.size = size
        self.loop = loop
        self.future = future
        self.result: Any = None
        self.error: BaseException | None = None

    def settle(self) -> None:
        if self.future.done():
            return  # its caller has gone
        if self.error is not None:
            self.future.set_exception(self.error)
        else:
            self.future.set_result(self.result)


class Writer:
    def __init__(self, pen: Pen, bounds: Bounds) -> None:
        self._pen = pen
        self._bounds = bounds
        self._queue: deque[_Job[Any]] = deque()
        self._queued_bytes = 0
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="bartizan-lake-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Work[T], size: int = 0) -> T:
        """Runs `work` in a transaction and returns once that is durable. `size`: bytes that wait with it.

        What `work` raises comes here, and nothing of it is there. It may run more than once.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._wake:
            if self._closing:
                raise Unavailable("the lake is closed")
            full = self._queued_bytes and self._queued_bytes + size > self._bounds.queue_bytes
            if full or len(self._queue) >= self._bounds.queue:
                waiting = f"{len(self._queue)} appends with {self._queued_bytes} bytes are waiting"
                raise Unavailable(f"{waiting}; try again", retry_after_s=5)
            self._queue.append(_Job(work, size, loop, future))
            self._queued_bytes += size
            self._wake.notify()
        return await future

    def close(self) -> None:
        """Finishes what is queued."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._queue and not self._closing:
                    self._wake.wait()
                if not self._queue:
                    break
            jobs: list[_Job[Any]] = []
            try:
                self._group(jobs)
            except Exception as error:  # the stage's edge: callers must hear of it and the thread live on
                log.exception("lake.writer", jobs=len(jobs))
                self._pen.abort()
                for job in jobs:
                    job.error = job.error or Unavailable(f"the lake failed: {error}")
            _tell(jobs)
        self._pen.close()

    def _waiting(self) -> Iterator[_Job[Any]]:
        """Takes from the queue, within the bounds of a group."""
        size, end = 0, time.monotonic() + self._bounds.group_s
        for _ in range(self._bounds.group_requests):
            with self._wake:
                if not self._queue or (size and size + self._queue[0].size > self._bounds.group_bytes):
                    return
                job = self._queue.popleft()
                self._queued_bytes -= job.size
            size += job.size
            if not job.future.cancelled():
                yield job
            if time.monotonic() > end:
                return

    def _group(self, jobs: list[_Job[Any]]) -> None:
        """One transaction over what waits. `jobs` receives those that were taken."""
        error, again = self._attempt(self._waiting(), jobs)
        if error is None:
            return
        for job in jobs:
            job.result, job.error = None, error
        if len(jobs) == 1 and not isinstance(error, Unavailable):
            return  # it would end the same way
        for job in jobs:
            if not again:
                job.error = error
                continue
            error, again = self._attempt(iter([job]), [])
            job.error = error

    def _attempt(self, source: Iterator[_Job[Any]], jobs: list[_Job[Any]]) -> tuple[BaseException | None, bool]:
        """Runs and commits. What ended it all, or None, and whether trying again is safe and of use."""
        pen = self._pen
        try:
            clock = pen.begin()
        except Exception as error:  # noqa: BLE001 - each engine has errors of its own; what is not one is raised again
            pen.abort()
            jobs.extend(source)
            return self._explained(error), False
        try:
            for job in source:
                jobs.append(job)
                job.result = job.work(pen.db, clock)
            pen.commit(clock)
        except Unknown as error:
            pen.abort()
            return Unavailable(str(error)), False
        except Exception as error:  # noqa: BLE001 - as above; a fault of the program goes to the caller whose work it was
            pen.abort()
            return pen.explain(error) or error, True
        return None, True

    def _explained(self, error: BaseException) -> BartizanError:
        ours = self._pen.explain(error)
        if ours is None:
            raise error
        return ours


def _tell(jobs: Sequence[_Job[Any]]) -> None:
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job[Any]]] = {}
    for job in jobs:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, its in by_loop.items():
        with contextlib.suppress(RuntimeError):  # the caller's loop has been closed: nobody waits
            loop.call_soon_threadsafe(_settle, its)


def _settle(jobs: Sequence[_Job[Any]]) -> None:
    for job in jobs:
        job.settle()
