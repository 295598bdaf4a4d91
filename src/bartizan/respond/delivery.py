"""The delivery engine: follows the change feed, asks each subscription's filter, and sends what matches.

There is no row for each notification. Each subscription has its own place in the feed, saved in batches after its
endpoint has answered; one reader hands new changes to bounded queues in memory. A subscription whose queue is full
lags: it drops out of the reader's round and reads the feed again from its own place, so that a dead endpoint costs
nothing but its own delay. After a crash each goes on from its saved place: a notification may come twice, with
the same id, and none is lost. One process at a time delivers; it holds a lease.

The feed's retention waits for the slowest subscription, but not beyond the horizon: what is older then becomes a dead
letter, and a `missed` lifecycle notification says so.

Source: Microsoft Graph, "Receive change notifications through webhooks" and "Reduce missing subscriptions and change
notifications".
"""

import asyncio
import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import msgspec
import structlog

from bartizan.auth.keys import SYSTEM
from bartizan.errors import BadRequest, BartizanError, Gone
from bartizan.model.edm import Version
from bartizan.model.times import instant, to_datetime
from bartizan.respond import lines
from bartizan.respond.lines import Lanes, Letter, LetterLine, Line, Outage, Times, Watch, WatchLine
from bartizan.respond.notifications import Event, LifecycleEvent, Subscription, lifecycle, subscription
from bartizan.respond.outbound import Outbound
from bartizan.respond.states import State, filters, matches, states
from bartizan.respond.subscriptions import DEAD_LETTERS, LIFECYCLE, SUBSCRIPTIONS
from bartizan.respond.tally import TOLD, Tally, Told, last_told, told_now
from bartizan.respond.watched import WATCHABLE
from bartizan.store import FEED_PLACE, Change, LeaseLost, Query, Store, Tx, draft

log = structlog.get_logger(__name__)

CURSOR = "notifications"
LEASE = "notification-delivery"  # not the name that a runner of stages may lease for it
READ_ROWS = 1000
REFILL_ROWS = 500
REFILLS_AT_ONCE = 4
BASE_S = 2.0  # between two moves of the cursor that holds back retention
IDLE_SAVE_S = 15.0  # between two saves of the places of subscriptions for which nothing came
SAVE_ROWS = 500  # of one save
TELL_S = 2.0  # between two looks at whether there is something new to tell the metrics
TOLD_S = 30.0  # after which the same is told again, so that silence means that nothing delivers
REAUTHORIZE = timedelta(hours=1)  # before the end; of a shorter life, half of it
_ACTOR = "notifications"

Tenants = Callable[[], Awaitable[Iterable[str]]]
MayRead = Callable[[str, str, str | None, str], Awaitable[bool]]  # (tenant, app, user, resource)
T = TypeVar("T")
_Place = tuple[str, str]  # tenant, id of the subscription


def _now() -> datetime:
    return datetime.now(UTC)


class Delivery:
    """`run` is the stage. `outbound` has been entered. `may_read` is asked now and then; None: everyone may."""

    def __init__(
        self,
        store: Store,
        outbound: Outbound,
        tenants: Tenants,
        may_read: MayRead | None = None,
        *,
        times: Times | None = None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._store = store
        self._outbound = outbound
        self._tenants = tenants
        self._may_read = may_read
        self.times = times or Times()
        self._clock = clock
        self._owner = store.owner()
        self._collections = [SUBSCRIPTIONS.name, *(each.collection for each in WATCHABLE)]
        self._reset()

    def _reset(self) -> None:
        self.live = 0  # the reader has come so far
        self.base = -1
        self.watches: dict[_Place, Watch] = {}
        self._sets: defaultdict[tuple[str, str], dict[str, Watch]] = defaultdict(dict)
        self._lines: dict[tuple[str, str, str], WatchLine] = {}
        self._letters: dict[tuple[str, str, str], LetterLine] = {}
        self._tasks: dict[Line, asyncio.Task[None]] = {}
        self._gone: dict[_Place, None] = {}
        self._standing_asked: dict[_Place, float] = {}
        self._lanes = Lanes()
        self._refills = asyncio.Semaphore(REFILLS_AT_ONCE)
        self._refreshing = asyncio.Lock()
        self._tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self._told: Told | None = None

    def count(self, watch: Watch, *, delivered: int = 0, failed: int = 0, lost: int = 0) -> None:
        tally = self._tallies[watch.of.what.set.collection]
        tally.delivered += delivered
        tally.failed += failed
        tally.lost += lost

    async def _tell(self) -> None:
        letters = sum(len(line.letters) for line in self._letters.values())
        now, last = told_now(instant(self._clock()), self._tallies, self.watches.values(), letters), self._told
        same = last is not None and last.resources == now.resources and last.letters == now.letters
        if last is not None and same and to_datetime(now.at) - to_datetime(last.at) < timedelta(seconds=TOLD_S):
            return
        await self._write(SYSTEM, lambda tx: tx.set_value(TOLD, msgspec.json.encode(now)))
        self._told = now

    def stats(self) -> dict[str, int]:
        """For metrics: subscriptions, those that lag, changes that wait, endpoints in trouble, letters."""
        watches = self.watches.values()
        return {
            "subscriptions": len(self.watches),
            "lagging": sum(watch.lagging for watch in watches),
            "waiting": sum(len(watch.queue) for watch in watches),
            "failing": sum(line.failures > 0 for line in [*self._lines.values(), *self._letters.values()]),
            "letters": sum(len(line.letters) for line in self._letters.values()),
        }

    # ------------------------------------------------------------ life

    async def run(self) -> None:
        """Until cancelled. Delivers while it holds the lease, otherwise waits for it."""
        while True:
            if await self._leased():
                try:
                    await self._work()
                except* LeaseLost:
                    log.warning("notification lease lost")
                finally:
                    await self._stop()
            await asyncio.sleep(self.times.lease_s / 3)

    async def _leased(self) -> bool:
        try:
            return await self._store.lease(LEASE, self._owner, seconds=self.times.lease_s)
        except BartizanError as problem:
            log.warning("no notification lease", why=problem.message)
            return False

    async def _work(self) -> None:
        self._reset()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._keep_lease())
            await self._retried(self._start)
            group.create_task(self._repeated(self._read, 0))
            group.create_task(self._repeated(self._save, self.times.save_s))
            group.create_task(self._repeated(self._save_base, BASE_S))
            group.create_task(self._repeated(self._save_idle, IDLE_SAVE_S))
            group.create_task(self._repeated(self._tell, TELL_S))
            group.create_task(self._repeated(self._tend, self.times.tend_s))
            group.create_task(self._repeated(self._reconcile, self.times.reconcile_s))

    async def _stop(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks = {}
        with contextlib.suppress(
            BartizanError, LeaseLost
        ):  # the store may be what failed; the saved places are old, not wrong
            await self._save()
            await self._tell()
            await self._store.release(LEASE, self._owner)

    async def _keep_lease(self) -> None:
        held = time.monotonic()
        while True:
            await asyncio.sleep(self.times.lease_s / 3)
            if await self._leased():
                held = time.monotonic()
            elif time.monotonic() - held > self.times.lease_s * 0.8:
                raise LeaseLost(LEASE)

    async def _write(self, tenant: str, work: Callable[[Tx], T]) -> T:
        """Nothing once another process delivers: this one may have slept for longer than its lease."""

        def held(tx: Tx) -> T:
            tx.hold(LEASE, self._owner)
            return work(tx)

        return await self._store.tenant(tenant).write(held, actor=_ACTOR)

    async def _repeated(self, step: Callable[[], Awaitable[None]], pause_s: float) -> None:
        """The edge of the stage: what fails is logged and tried again."""
        while True:
            await asyncio.sleep(pause_s)
            await self._retried(step)

    async def _retried(self, step: Callable[[], Awaitable[None]]) -> None:
        delay = 0.2
        while True:
            try:
                return await step()
            except LeaseLost:
                raise
            except BartizanError as problem:
                log.warning("notifications wait for the store", step=step.__name__, why=problem.message)
            except Exception:
                log.exception("notifications failed", step=step.__name__)
            await asyncio.sleep(delay)
            delay = min(delay * 2, 10.0)

    # ------------------------------------------------------------ subscriptions

    async def _start(self) -> None:
        before = await last_told(self._store)
        for name, tally in () if before is None else before.resources.items():
            self._tallies[name] = Tally(tally.delivered, tally.failed, tally.lost)
        base = await self._store.cursor(CURSOR)
        self.live = await self._store.head()
        if base is None:
            base = self.live
            await self._store.advance(CURSOR, base)
        self.base = base
        await self._reconcile()
        for tenant in await self._tenants():
            await self._load_letters(tenant)

    async def _reconcile(self) -> None:
        """Takes in what the feed did not tell: subscriptions from before this process, and tenants that were erased."""
        found: set[_Place] = set()
        for tenant in await self._tenants():
            query = Query(top=500)
            while True:
                page = await self._store.tenant(tenant).page(SUBSCRIPTIONS.name, query)
                for row in page.rows:
                    found.add((tenant, row.id))
                    if (tenant, row.id) not in self.watches:
                        await self._refresh(tenant, row.id, None)
                if not page.more:
                    break
                query = msgspec.structs.replace(query, after=page.last)
        for place in [place for place in self.watches if place not in found]:
            if await self._store.tenant(place[0]).get(SUBSCRIPTIONS.name, place[1]) is None:
                self._drop(place)
        for line in self._lines.values():
            line.wake.set()  # what waits for somebody without standing is given up there, in time

    async def _refresh(self, tenant: str, id: str, born: int | None) -> None:
        """Reads a subscription that is new or changed. `born`: the reader stands at the change that created it."""
        async with self._refreshing:
            row = await self._store.tenant(tenant).get(SUBSCRIPTIONS.name, id)
            if row is None:
                return self._drop((tenant, id))
            try:
                of = subscription(tenant, row)
            except BadRequest as problem:
                log.warning("subscription cannot be served", subscription=id, why=problem.message)
                return self._drop((tenant, id))
            known = self.watches.get((tenant, id))
            if known is None:
                self._add(await self._watch(of, born))
            elif known.of.touched != of.touched:
                known.of = of
                self._standing_asked.pop((tenant, id), None)
                self._line(of).hurry()
        return None

    async def _watch(self, of: Subscription, born: int | None) -> Watch:
        saved = await self._saved(of.tenant, of.id)
        if saved is not None:
            watch = Watch(of, saved[0])
            watch.saved, watch.asked = saved
        elif born is not None:
            watch = Watch(of, born)
            watch.lagging = False
        else:
            watch = Watch(of, of.seq if of.touched == of.created else self.base)
        return watch

    def _add(self, watch: Watch) -> None:
        of = watch.of
        line = self._line(of)
        self.watches[of.tenant, of.id] = watch
        self._sets[of.tenant, of.what.set.collection][of.id] = watch
        line.watches[of.id] = watch
        line.hurry()
        line.wake.set()

    async def _saved(self, tenant: str, id: str) -> tuple[int, str] | None:
        value = await self._store.tenant(tenant).value(_key(id))
        if value is None:
            return None
        told = json.loads(value)
        return int(told["seq"]), str(told.get("asked", ""))

    def _drop(self, place: _Place) -> None:
        watch = self.watches.pop(place, None)
        if watch is None:
            return
        tenant, id = place
        self._sets[tenant, watch.of.what.set.collection].pop(id, None)
        self._standing_asked.pop(place, None)
        self._gone[place] = None
        line = self._line(watch.of)
        line.watches.pop(id, None)
        if not line.watches:
            self._lines.pop((tenant, watch.of.app, watch.of.url), None)
            self._end(line)

    def _line(self, of: Subscription) -> WatchLine:
        key = (of.tenant, of.app, of.url)
        line = self._lines.get(key)
        if line is None:
            line = WatchLine(of.url, self._outbound, self._lanes, self.times, self, self._cutoff)
            self._lines[key] = line
            self._begin(line)
        return line

    def _begin(self, line: Line) -> None:
        self._tasks[line] = asyncio.get_running_loop().create_task(line.run())

    def _end(self, line: Line) -> None:
        if task := self._tasks.pop(line, None):
            task.cancel()

    def _cutoff(self) -> str:
        return instant(self._clock() - timedelta(seconds=self.times.horizon_s))

    # ------------------------------------------------------------ the feed

    async def _read(self) -> None:
        """One batch for all who do not lag."""
        head = await self._store.head()
        batch = await self._store.changes(self.live, limit=READ_ROWS, collections=self._collections)
        for change in batch:
            if change.collection == SUBSCRIPTIONS.name:
                await self._refresh(change.tenant, change.id, change.seq if change.op == "created" else None)
        if self.watches:
            found = await states(self._store, batch, self._asked(batch))
            for change in batch:
                if change.collection != SUBSCRIPTIONS.name:
                    self._hand_out(change, found)
        reached = batch[-1].seq if batch else 0
        self.live = max(self.live, reached if len(batch) == READ_ROWS else max(head, reached))
        if not batch:
            await self._store.changed()

    def _asked(self, batch: list[Change]) -> Mapping[tuple[str, str], frozenset[Version]]:
        """Which documents the filters need."""
        return {
            key: versions
            for key in {(c.tenant, c.collection) for c in batch}
            if (versions := frozenset(w.of.version for w in self._sets[key].values() if filters(w)))
        }

    def _hand_out(self, change: Change, found: Mapping[tuple[int, Version], State]) -> None:
        event = Event(change.seq, change.at, change.op, change.id)
        for watch in self._sets[change.tenant, change.collection].values():
            if watch.lagging or not watch.wants(change):
                continue
            if filters(watch) and change.op != "deleted" and (change.seq, watch.of.version) not in found:
                watch.lagging = True  # it was not live yet when the documents were read
                watch.evaluated = max(watch.evaluated, change.seq - 1)
            elif not matches(watch, change, found):
                continue
            elif not watch.offer(event):
                watch.evaluated = max(watch.evaluated, change.seq - 1)
            self._line(watch.of).wake.set()

    async def refill(self, watch: Watch) -> None:
        async with self._refills:
            try:
                head = await self._store.head()
                batch = await self._store.changes(
                    watch.evaluated, limit=REFILL_ROWS, collections=[watch.of.what.set.collection]
                )
            except Gone:
                return await self._cut_off(watch)
            own = [c for c in batch if c.tenant == watch.of.tenant and watch.wants(c)]
            needed = {(watch.of.tenant, watch.of.what.set.collection): frozenset([watch.of.version])}
            found = await states(self._store, own, needed if filters(watch) else {})
        reached = batch[-1].seq if batch else 0
        end = reached if len(batch) == REFILL_ROWS else max(head, reached)
        for change in own:
            if matches(watch, change, found) and not watch.offer(Event(change.seq, change.at, change.op, change.id)):
                end = change.seq - 1
                break
        watch.evaluated = max(watch.evaluated, end)
        if watch.evaluated >= self.live and len(watch.queue) < lines.MAX_QUEUE:
            watch.lagging = False
        return None

    async def _cut_off(self, watch: Watch) -> None:
        """The feed was cut before this subscription had read it: this process was away for longer than it is kept."""
        head = await self._store.head()
        lost = Event(watch.evaluated + 1, instant(self._clock()), "updated", "")
        await self.bury(watch, [lost], "the change feed was cut before it was read")
        watch.evaluated = head

    # ------------------------------------------------------------ places

    async def _save(self) -> None:
        """The places of those that have delivered something, or are new."""
        moved = [w for w in self.watches.values() if w.moved or w.saved < 0]
        await self._write_places(moved[:SAVE_ROWS])

    async def _save_idle(self) -> None:
        behind = sorted((w for w in self.watches.values() if self._place(w) > w.saved), key=lambda w: w.saved)
        await self._write_places(behind[:SAVE_ROWS])

    def _place(self, watch: Watch) -> int:
        return watch.position(self.live)

    async def _write_places(self, watches: Iterable[Watch]) -> None:
        by_tenant: defaultdict[str, list[Watch]] = defaultdict(list)
        for watch in watches:
            by_tenant[watch.of.tenant].append(watch)
        gone, self._gone = self._gone, {}
        for tenant in {*by_tenant, *(tenant for tenant, _ in gone)}:
            told = [(w, self._place(w), w.asked) for w in by_tenant[tenant] if (tenant, w.of.id) in self.watches]
            dropped = [id for at, id in gone if at == tenant and (at, id) not in self.watches]

            def work(tx: Tx, told: list[Any] = told, dropped: list[str] = dropped) -> None:
                for watch, place, asked in told:
                    tx.set_value(_key(watch.of.id), _told(place, asked))
                for id in dropped:
                    tx.set_value(_key(id), None)

            for watch, _, _ in told:
                watch.moved = False
            try:
                await self._write(tenant, work)
            except BaseException:
                self._gone |= gone
                for watch, _, _ in told:
                    watch.moved = True
                raise
            for watch, place, _ in told:
                watch.saved = max(watch.saved, place)

    async def _save_base(self) -> None:
        """Retention of the feed may go so far as all saved places. A watch that has none yet is not done with all that
        it has read."""
        base = min((w.saved if w.saved >= 0 else self._place(w) for w in self.watches.values()), default=self.live)
        if base > self.base:
            await self._store.advance(CURSOR, base)
            self.base = base

    # ------------------------------------------------------------ dead letters and lifecycle

    async def bury(self, watch: Watch, lost: list[Event], reason: str) -> None:
        of, now = watch.of, instant(self._clock())
        first = watch.outage is None
        outage = (watch.outage or Outage(lost[0].seq, lost[0].at)).grown(lost)
        body = outage.dead_letter(of, reason, now)
        letter = self._letter(of, "missed", str(outage.first)) if first else None

        def work(tx: Tx) -> None:
            tx.put(draft(DEAD_LETTERS, body, str(body["id"])))
            if letter is not None:
                _put_letter(tx, letter)

        await self._write(of.tenant, work)
        watch.outage, watch.moved = outage, True
        self.count(watch, lost=len(lost))
        log.warning("notifications given up", subscription=of.id, count=len(lost), why=reason)
        self._post(letter)

    def _letter(self, of: Subscription, event: LifecycleEvent, cause: str) -> Letter | None:
        """None where the subscription does not want to be told."""
        if of.lifecycle_url is None:
            return None
        body = lifecycle(of, event, cause)
        return Letter(str(body["id"]), of.tenant, of.app, of.lifecycle_url, instant(self._clock()), body)

    def _post(self, letter: Letter | None) -> None:
        if letter is None:
            return
        key = (letter.tenant, letter.app, letter.url)
        line = self._letters.get(key)
        if line is None:
            line = LetterLine(letter.url, self._outbound, self._lanes, self.times, self._forget, self._cutoff)
            self._letters[key] = line
            self._begin(line)
        line.add(letter)

    async def _forget(self, letters: list[Letter]) -> None:
        def work(tx: Tx) -> None:
            for letter in letters:
                tx.delete(LIFECYCLE.name, letter.id)

        if letters:
            await self._write(letters[0].tenant, work)

    async def _load_letters(self, tenant: str) -> None:
        query = Query(top=500)
        while True:
            page = await self._store.tenant(tenant).page(LIFECYCLE.name, query)
            for row in page.rows:
                self._post(msgspec.json.decode(row.doc, type=Letter))
            if not page.more:
                return
            query = msgspec.structs.replace(query, after=page.last)

    # ------------------------------------------------------------ expiry and standing

    async def _tend(self) -> None:
        now = self._clock()
        for watch in list(self.watches.values()):
            await self._tend_one(watch, now)
        for line in [line for line in self._letters.values() if not line.letters]:
            self._letters = {key: each for key, each in self._letters.items() if each is not line}
            self._end(line)

    async def _tend_one(self, watch: Watch, now: datetime) -> None:
        of = watch.of
        left = of.expires_at - now
        if left <= timedelta():
            done = not watch.queue and self._place(watch) >= self.live
            if done or left < -timedelta(seconds=self.times.drain_s):
                await self._expire(watch, now)
            return
        if self._may_read is not None:
            await self._check_standing(watch, self._may_read)
        life = of.expires_at - to_datetime(of.touched)
        if left <= min(REAUTHORIZE, life / 2) and watch.asked != of.expires:
            await self._ask(watch, of.expires)

    async def _ask(self, watch: Watch, cause: str) -> None:
        """Asks for reauthorization, once for each cause."""
        letter = self._letter(watch.of, "reauthorizationRequired", cause)
        if watch.saved < 0:
            await self._write_places([watch])
        before, watch.asked = watch.asked, cause
        key, told = _key(watch.of.id), _told(watch.saved, cause)

        def work(tx: Tx) -> None:
            if letter is not None:
                _put_letter(tx, letter)
            tx.set_value(key, told)

        try:
            await self._write(watch.of.tenant, work)
        except BaseException:
            watch.asked = before
            raise
        self._post(letter)

    async def _check_standing(self, watch: Watch, may_read: MayRead) -> None:
        of, place, now = watch.of, (watch.of.tenant, watch.of.id), time.monotonic()
        if now < self._standing_asked.get(place, -1.0):
            return
        self._standing_asked[place] = now + self.times.reconcile_s
        allowed = await may_read(of.tenant, of.app, of.user, of.resource)
        if allowed and watch.paused:
            watch.paused = False
            self._line(of).wake.set()
        elif not allowed and not watch.paused:
            watch.paused = True
            log.warning("subscription paused: its application may not read the resource", subscription=of.id)
            await self._ask(watch, f"standing {of.touched}")

    async def _expire(self, watch: Watch, now: datetime) -> None:
        of = watch.of
        if watch.queue:
            await self.bury(watch, list(watch.queue), "the subscription expired")
        letter = self._letter(of, "subscriptionRemoved", of.expires)
        still = instant(now)

        def work(tx: Tx) -> bool:
            row = tx.get(SUBSCRIPTIONS.name, of.id)
            if row is not None and subscription(of.tenant, row).expires > still:
                return False  # it was renewed at the last moment
            tx.set_value(_key(of.id), None)
            if letter is not None:
                _put_letter(tx, letter)
            tx.delete(SUBSCRIPTIONS.name, of.id)
            return True

        if await self._write(of.tenant, work):
            self._drop((of.tenant, of.id))
            self._post(letter)


def _key(id: str) -> str:
    return f"{FEED_PLACE}{CURSOR}:{id}"


def _told(place: int, asked: str) -> bytes:
    return json.dumps({"seq": place, "asked": asked}).encode()


def _put_letter(tx: Tx, letter: Letter) -> None:
    tx.put(draft(LIFECYCLE, msgspec.to_builtins(letter), letter.id), unless_exists=True)
