"""Lines to endpoints: each posts to one URL, one request at a time and in order, and backs off while that fails.

A slow or dead endpoint holds only its own line: those that are in trouble share a lane of their own, so that they
never take the places of the others.
"""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Protocol

import structlog
from msgspec import Struct

from bartizan.extend.connectors import backed_off
from bartizan.model.ids import stable_id
from bartizan.respond.notifications import Event, Subscription, collection, notification
from bartizan.respond.outbound import Outbound, Reply, without_query
from bartizan.store import Change

log = structlog.get_logger(__name__)

MAX_BATCH = 100  # notifications of one POST
MAX_QUEUE = 1000  # changes that wait in memory for one subscription; further ones are read from the feed again
_NAMED_IDS = 100  # of objects, in a dead letter
_RETRY_AT_ONCE_S = 5.0  # after an error of our own


class Times(Struct, frozen=True):
    """Seconds."""

    horizon_s: float = 4 * 3600.0  # a notification that cannot be delivered for so long is given up
    backoff_s: float = 1.0  # before the first retry; each further one waits twice as long
    backoff_max_s: float = 300.0
    post_s: float = 10.0  # for an answer
    slow_s: float = 3.0  # an endpoint that takes longer moves to the slow lane
    linger_s: float = 0.1  # between two posts to one endpoint, so that changes gather
    save_s: float = 0.2  # positions of what was delivered
    tend_s: float = 1.0  # expiry, reauthorization
    reconcile_s: float = 60.0  # subscriptions against the store, and the standing of those who made them
    lease_s: float = 6.0
    drain_s: float = 60.0  # for what was waiting when a subscription expired


class Lanes:
    """How many requests there are at once: for endpoints that answer, and for those that are in trouble."""

    def __init__(self, sound: int = 256, suspect: int = 64) -> None:
        self._sound = asyncio.Semaphore(sound)
        self._suspect = asyncio.Semaphore(suspect)

    def of(self, trouble: bool) -> asyncio.Semaphore:
        return self._suspect if trouble else self._sound


class Line(ABC):
    """Subclasses say what is to be sent (`take`) and what happens once it is (`delivered`)."""

    def __init__(self, url: str, outbound: Outbound, lanes: Lanes, times: Times) -> None:
        self.url = url
        self.wake = asyncio.Event()
        self._hurried = asyncio.Event()
        self.failures = 0
        self.error = ""  # of the last attempt
        self._slow = False
        self._batch = MAX_BATCH
        self._outbound = outbound
        self._lanes = lanes
        self._times = times

    @abstractmethod
    async def take(self, limit: int) -> list[dict[str, Any]]:
        """What is next, up to `limit`; nothing: the line sleeps until it is woken."""

    @abstractmethod
    async def delivered(self) -> None:
        """What was taken last has arrived."""

    async def run(self) -> None:
        while True:
            await self.wake.wait()
            self.wake.clear()
            while True:
                pause = await self._guarded()
                if pause is None:
                    break
                await self._rest(pause)

    async def _rest(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._hurried.wait(), seconds)
        self._hurried.clear()

    def hurry(self) -> None:
        """There is reason to believe that the endpoint answers now: the next attempt is made at once."""
        if self.failures:
            self._hurried.set()

    async def _guarded(self) -> float | None:
        try:
            return await self._step()
        except Exception:  # the edge of the stage: the line goes on, nothing was marked as delivered
            log.exception("notification line failed", endpoint=without_query(self.url))
            return _RETRY_AT_ONCE_S

    async def _step(self) -> float | None:
        """Seconds until the next step; None where there is nothing to do."""
        items = await self.take(self._batch)
        if not items:
            return None
        async with self._lanes.of(self._slow or self.failures > 0):
            reply = await self._outbound.post(
                self.url, collection(items), content_type="application/json", limit_s=self._times.post_s
            )
        self._slow = reply.seconds > self._times.slow_s
        if reply.ok:
            if self.failures:
                log.info("endpoint answers again", endpoint=without_query(self.url), failures=self.failures)
            self.failures, self.error = 0, ""
            self._batch = min(self._batch * 2, MAX_BATCH)
            await self.delivered()
            return self._times.linger_s
        return self._failed(reply)

    def _failed(self, reply: Reply) -> float:
        self.failures += 1
        self.error = reply.error or f"status {reply.status}"
        self._batch = max(self._batch // 2, 1)  # one that cannot be taken shall not hold up the others for long
        if self.failures == 1:
            log.warning("endpoint failed", endpoint=without_query(self.url), why=self.error)
        top = min(self._times.backoff_max_s, self._times.horizon_s / 4)
        wait_s = backed_off(self.failures - 1, self._times.backoff_s, top)
        return max(wait_s, min(reply.retry_after_s or 0.0, top))


class Outage(Struct, frozen=True):
    """What one subscription has lost since its endpoint failed."""

    first: int
    first_at: str
    last: int = 0
    last_at: str = ""
    count: int = 0
    ids: tuple[str, ...] = ()

    def grown(self, lost: list[Event]) -> "Outage":
        ids = (*self.ids, *(event.id for event in lost))[:_NAMED_IDS]
        return Outage(self.first, self.first_at, lost[-1].seq, lost[-1].at, self.count + len(lost), ids)

    def dead_letter(self, of: Subscription, reason: str, now: str) -> dict[str, Any]:
        """One document for each outage; it grows while that lasts."""
        return {
            "id": stable_id("dead letter", of.id, str(self.first)),
            "subscriptionId": of.id,
            "applicationId": of.app,
            "resource": of.resource,
            "endpoint": without_query(of.url),
            "firstChange": self.first,
            "firstChangeDateTime": self.first_at,
            "lastChange": self.last,
            "lastChangeDateTime": self.last_at,
            "count": self.count,
            "objectIds": list(self.ids),
            "reason": reason,
            "lastLostDateTime": now,
        }


class Watch:
    """A subscription at work. Up to `evaluated` its filter has been asked; what matched and was not delivered waits in
    `queue`. A lagging one is not told of new changes: it reads the feed itself from there.
    """

    def __init__(self, of: Subscription, position: int) -> None:
        self.of = of
        self.evaluated = position
        self.lagging = True
        self.queue: deque[Event] = deque()
        self.saved = -1  # the position that the store knows
        self.moved = False  # something was delivered since
        self.asked = ""  # the expiry for which reauthorization was asked for
        self.paused = False  # whoever made it may not read the resource now
        self.outage: Outage | None = None

    def wants(self, change: Change) -> bool:
        """All but the filter."""
        of = self.of
        if change.op not in of.changes or (of.key is not None and change.id != of.key):
            return False
        if change.seq <= self.evaluated or not of.created < change.at <= of.expires:
            return False
        relation = of.what.relation
        if relation is None or change.changed is None:
            return relation is None or change.op == "updated"
        return any(name.lower().partition("@")[0] == relation for name in change.changed)

    def offer(self, event: Event) -> bool:
        """False where the queue is full: from here on the watch lags."""
        if len(self.queue) >= MAX_QUEUE:
            self.lagging = True
            return False
        self.queue.append(event)
        return True

    def position(self, live: int) -> int:
        """Everything up to here is done with. `live` is how far those have come that do not lag."""
        if self.queue:
            return self.queue[0].seq - 1
        return self.evaluated if self.lagging else max(self.evaluated, live)


class Feeder(Protocol):
    """What a line asks the engine for."""

    async def refill(self, watch: Watch) -> None:
        """Reads on for a lagging watch: it then has something in its queue, has come further, or lags no more."""
        ...

    async def bury(self, watch: Watch, lost: list[Event], reason: str) -> None:
        """Stores durably what is given up."""
        ...

    def count(self, watch: Watch, *, delivered: int = 0, failed: int = 0) -> None:
        """So many notifications arrived, or were tried and did not."""
        ...


class WatchLine(Line):
    """To one endpoint of one application in one tenant; several subscriptions share a POST."""

    def __init__(
        self, url: str, outbound: Outbound, lanes: Lanes, times: Times, feeder: Feeder, cutoff: Callable[[], str]
    ) -> None:
        super().__init__(url, outbound, lanes, times)
        self.watches: dict[str, Watch] = {}
        self._feeder = feeder
        self._cutoff = cutoff
        self._taken: list[tuple[Watch, int]] = []

    async def take(self, limit: int) -> list[dict[str, Any]]:
        for watch in list(self.watches.values()):
            await self._prune(watch)
            while watch.lagging and not watch.queue and self.watches.get(watch.of.id) is watch:
                await self._feeder.refill(watch)
                await self._prune(watch)
        heads = [(e.seq, e, w) for w in self._sound() for e in islice(w.queue, limit)]
        heads.sort(key=lambda head: (head[0], head[2].of.id))
        chosen = heads[:limit]
        counts: dict[str, int] = {}
        for _, _, watch in chosen:
            counts[watch.of.id] = counts.get(watch.of.id, 0) + 1
        self._taken = [(self.watches[id], count) for id, count in counts.items()]
        return [notification(watch.of, event) for _, event, watch in chosen]

    def _sound(self) -> Iterable[Watch]:
        return [watch for watch in self.watches.values() if not watch.paused]

    async def _prune(self, watch: Watch) -> None:
        """What has waited longer than the horizon becomes a dead letter."""
        cutoff = self._cutoff()
        lost = [event for event in watch.queue if event.at < cutoff]
        if lost:
            reason = (
                "the application may not read the resource" if watch.paused else self.error or "not delivered in time"
            )
            await self._feeder.bury(watch, lost, reason)
            for _ in lost:
                watch.queue.popleft()

    async def delivered(self) -> None:
        for watch, count in self._taken:
            for _ in range(count):
                watch.queue.popleft()
            watch.outage, watch.moved = None, True
            self._feeder.count(watch, delivered=count)
        self._taken = []

    def _failed(self, reply: Reply) -> float:
        for watch, count in self._taken:
            self._feeder.count(watch, failed=count)
        return super()._failed(reply)


class Letter(Struct, frozen=True):
    """A lifecycle notification that is stored until it has arrived."""

    id: str
    tenant: str
    app: str
    url: str
    at: str
    body: dict[str, Any]


class LetterLine(Line):
    """Lifecycle notifications to one endpoint."""

    def __init__(
        self,
        url: str,
        outbound: Outbound,
        lanes: Lanes,
        times: Times,
        forget: Callable[[list[Letter]], Any],
        cutoff: Callable[[], str],
    ) -> None:
        super().__init__(url, outbound, lanes, times)
        self.letters: dict[str, Letter] = {}
        self._forget = forget
        self._cutoff = cutoff
        self._taken: list[Letter] = []

    def add(self, letter: Letter) -> None:
        self.letters.setdefault(letter.id, letter)
        self.wake.set()

    async def take(self, limit: int) -> list[dict[str, Any]]:
        cutoff = self._cutoff()
        if old := [letter for letter in self.letters.values() if letter.at < cutoff]:
            log.warning("lifecycle notifications given up", endpoint=without_query(self.url), count=len(old))
            await self._drop(old)
        self._taken = list(islice(self.letters.values(), limit))
        return [letter.body for letter in self._taken]

    async def delivered(self) -> None:
        await self._drop(self._taken)

    async def _drop(self, letters: list[Letter]) -> None:
        await self._forget(letters)
        for letter in letters:
            self.letters.pop(letter.id, None)
