"""The one writer of a process: a thread that takes requests from a queue and commits many at a time.

Each request runs behind a savepoint, so that one that fails undoes itself and nothing else; all of a group become
durable by one commit, and only then are their callers told.

Source: group commit, as in Gray and Reuter, "Transaction Processing", section 11.
"""

import asyncio
import contextlib
import itertools
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

import structlog
from msgspec import Struct

from bartizan.errors import BartizanError, StorageFull, Unavailable
from bartizan.store.sql import Db
from bartizan.store.tx import Clock

T = TypeVar("T")
Work = Callable[[Db, Clock], T]

LANE_SHARE = 4  # one lane may fill this part of the queue

log = structlog.get_logger(__name__)


class Busy(Unavailable):
    """The lock that orders writers was not to be had in time."""


class Unknown(Exception):
    """The connection was lost while a commit was under way."""


class Pen(Protocol):
    """The writing connection of an engine. Methods raise the engine's own errors; `explain` makes ours of them."""

    @property
    def db(self) -> Db: ...

    def lock(self) -> None:
        """Opens a transaction, holding the lock that orders all writers of all processes."""
        ...

    def begin(self) -> Clock:
        """The same, and reads the counters."""
        ...

    def savepoint(self) -> None: ...

    def release(self) -> None: ...

    def undo(self) -> None:
        """Back to the savepoint, and ends it."""
        ...

    def commit(self, clock: Clock) -> bool:
        """Durable when it returns; whether the feed has grown. Unknown if the outcome cannot be told."""
        ...

    def abort(self) -> None:
        """Rolls back and makes the connection usable again, or drops it; never raises."""
        ...

    def explain(self, error: BaseException) -> tuple[BartizanError | None, bool]:
        """What an engine's error means to the caller (None: it is none of the engine's); whether it ends the group."""
        ...

    def close(self) -> None: ...


class Bounds(Struct, frozen=True, kw_only=True):
    group_requests: int = 256
    group_s: float = 0.020
    bulk_s: float = 0.200  # of bulk work, for as long as nothing else waits
    queue: int = 10_000


class _Job(Generic[T]):
    __slots__ = ("done", "error", "future", "loop", "result", "work")

    def __init__(self, work: Work[T], loop: asyncio.AbstractEventLoop, future: "asyncio.Future[T]") -> None:
        self.work = work
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


_Lanes = OrderedDict[str, deque[_Job[Any]]]  # none is empty


class Writer:
    """`grown` is called in the writer's thread after a commit that wrote to the feed."""

    def __init__(self, pen: Pen, bounds: Bounds, grown: Callable[[], None]) -> None:
        self._pen = pen
        self._bounds = bounds
        self._grown = grown
        self._quick: _Lanes = OrderedDict()
        self._bulk: _Lanes = OrderedDict()
        self._bulk_next = False
        self._waiting = 0
        self._wake = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="bartizan-writer", daemon=True)
        self._thread.start()

    async def run(self, work: Work[T], lane: str = "", *, bulk: bool = False) -> T:
        """Lanes take turns, so that a tenant with many requests does not hold up the others. Bulk work, which takes
        long by itself, takes turns with the rest. What comes while one of it runs is committed with that one: it waits
        for the rest of it, and not for a commit more."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        with self._wake:
            if self._closing:
                raise Unavailable("the store is closed")
            lanes = self._bulk if bulk else self._quick
            queue = lanes.get(lane)
            full = queue is not None and len(queue) >= max(1, self._bounds.queue // LANE_SHARE)
            if full or self._waiting >= self._bounds.queue:
                raise Unavailable(f"{self._waiting} writes are waiting; try again", retry_after_s=5)
            if queue is None:
                queue = lanes[lane] = deque()
            queue.append(_Job(work, loop, future))
            self._waiting += 1
            self._wake.notify()
        return await future

    def close(self) -> None:
        """Finishes what is queued."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive() and not self._closing

    # ------------------------------------------------------------ the thread

    def _run(self) -> None:
        while True:
            with self._wake:
                while not self._quick and not self._bulk and not self._closing:
                    self._wake.wait()
                if not self._quick and not self._bulk:
                    break
                bulk = bool(self._bulk) and (self._bulk_next or not self._quick)
                self._bulk_next = not bulk
            jobs: list[_Job[Any]] = []
            try:
                self._group(jobs, self._bulk_work() if bulk else self._quick_work())
            except Exception as error:  # the edge: callers must hear of it, and the thread must live on
                log.exception("store.writer", jobs=len(jobs))
                self._pen.abort()
                for job in jobs:
                    job.error = job.error or Unavailable(f"the store failed: {error}")
            _tell(jobs)
        self._pen.close()

    def _take(self, lanes: _Lanes) -> _Job[Any] | None:
        """The next request of the lane whose turn it is."""
        with self._wake:
            while lanes:
                lane, queue = lanes.popitem(last=False)
                job = queue.popleft()
                self._waiting -= 1
                if queue:
                    lanes[lane] = queue
                if not job.future.cancelled():
                    return job
            return None

    def _quick_work(self) -> Iterator[_Job[Any]]:
        """What waits, within the bounds of time."""
        end = time.monotonic() + self._bounds.group_s
        while (job := self._take(self._quick)) is not None:
            yield job
            if time.monotonic() > end:
                return

    def _bulk_work(self) -> Iterator[_Job[Any]]:
        """Bulk work for as long as nothing else waits, then what does."""
        end = time.monotonic() + self._bounds.bulk_s
        while (job := self._take(self._bulk)) is not None:
            yield job
            if self._quick or time.monotonic() > end:
                break
        yield from self._quick_work()

    def _group(self, jobs: list[_Job[Any]], source: Iterator[_Job[Any]]) -> None:
        """One transaction over these requests, within the bounds. `jobs` receives those that were taken."""
        error, again = self._attempt(source, jobs)
        if error is None:
            return
        # The group failed as a whole: each request alone, so that one cannot take the others down with it.
        for job in jobs:
            job.result, job.error = None, error
        if len(jobs) == 1 and isinstance(error, StorageFull):
            return
        for job in jobs:
            if not again:
                job.error = error
                continue
            job.error = None
            error, again = self._attempt(iter([job]), [])
            job.error = error or job.error

    def _attempt(self, source: Iterator[_Job[Any]], jobs: list[_Job[Any]]) -> tuple[BartizanError | None, bool]:
        """Runs and commits. What ended it all, or None, and whether trying again is safe and of use."""
        pen = self._pen
        try:
            clock = pen.begin()
        except Exception as error:  # noqa: BLE001 - each engine has errors of its own; what is not one is raised again
            pen.abort()
            jobs.extend(itertools.islice(source, self._bounds.group_requests))
            return self._explained(error), False
        try:
            for job in itertools.islice(source, self._bounds.group_requests):
                jobs.append(job)
                self._one(job, clock)
            if pen.commit(clock):
                self._grown()
        except Unknown as error:
            pen.abort()
            return Unavailable(str(error)), False
        except Exception as error:  # noqa: BLE001 - as above
            pen.abort()
            return self._explained(error), True
        return None, True

    def _one(self, job: _Job[Any], clock: Clock) -> None:
        """Behind a savepoint. What the work raises is kept for its caller; what the engine dies of is raised."""
        pen, feed = self._pen, clock.feed
        pen.savepoint()
        try:
            job.result = job.work(pen.db, clock)
            pen.release()
        except BaseException as error:
            ours, fatal = pen.explain(error)
            if fatal:
                raise
            pen.undo()
            clock.feed = feed
            job.error = ours or error

    def _explained(self, error: BaseException) -> BartizanError:
        ours, _ = self._pen.explain(error)
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
