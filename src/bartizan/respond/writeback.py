"""Write-back as a stage: changes of analysts go to the systems that own what they changed.

One loop follows the feed and puts each change that belongs to a connection into the queue (`queue`). For each
connection with something in the queue a lane tries it: of one object in order, several objects at once. A system that
is away or denies is asked by one try at a time, less and less often, and holds up no other lane; what has not arrived
within the limit has failed, and says so.

Whoever dies while a system is being asked leaves the change claimed for a while; then it is tried again, with the same
key. What a system told of itself (`Connection.actor`, or any record of a provider) is never written back to it.

Source: design of the feed and of cursors in ARCHITECTURE.md.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import uuid4

import msgspec
import structlog
from msgspec import Struct

from bartizan.errors import BartizanError, NotFound
from bartizan.extend.connections import Connection, Connections
from bartizan.extend.connectors import (
    CONNECTORS,
    Away,
    Denied,
    Push,
    Pushed,
    Rejected,
    Subject,
    backed_off,
    fault,
)
from bartizan.extend.ownership import PULLED_OVER, note_pulled, owner_of
from bartizan.model.faces import SUPPRESSED
from bartizan.model.times import instant, to_datetime
from bartizan.respond import queue
from bartizan.respond.lane import PASSING, Lane, kept_trying
from bartizan.respond.queue import SOONEST, WRITE_BACKS, WriteBack, later
from bartizan.store.alerts import (
    ALERTS_V2,
    ANALYST,
    FOLLOWING,
    INCIDENTS,
    RESOLVING,
    follow_head,
    following,
    resolve_members,
    resolving,
    say_again,
    state_of,
)
from bartizan.store.draft import inner
from bartizan.store.follow import Follower
from bartizan.store.interface import Change, Query, Store, TenantStore, Tx

NAME = "writeback"
SUBJECTS: Mapping[str, Subject] = {
    ALERTS_V2.name: "alert",
    INCIDENTS.name: "incident",
    "riskyUsers": "riskyUser",
    "riskDetections": "riskDetection",
}
SETS = {subject: name for name, subject in SUBJECTS.items()}
WATCHED = (*SUBJECTS, "users")
DECISIONS = frozenset({"confirmedCompromised", "confirmedSafe", "dismissed"})  # of people; other states are computed
GATHER_S = 0.1  # once it has caught up
STEP_CHANGES = 200
MAX_ORIGINS = 200  # connections that one object came over
ENTER_CHUNK = 50  # changes that one transaction queues: the writer's lock stays short
SCAN_ROWS = 500
_WORDS = {name: name for name in ("status", "classification", "determination", "assignedTo", "resolvingComment")}
_WORDS |= {"systemTags": "tags", "customTags": "tags"}  # of an alert, of an incident
_TOLD = ("status", "classification", "determination", "assignedTo")
_NOTHING: Mapping[str, Any] = {}
_PULLED = "connection:"  # what actors begin with that are connections

log = structlog.get_logger(__name__)

Tenants = Callable[[], Awaitable[Iterable[str]]]
T = TypeVar("T")


class Pace(Struct, frozen=True):
    """How often and how many; seconds."""

    at_once: int = 4  # objects of one connection whose changes are with its system
    everywhere: int = 64  # of all connections that answer together
    failing: int = 64  # of all connections that do not
    ask_s: float = 60.0  # for which one question to a system may last
    claim_s: float = 75.0  # after which a change is taken from a process that has died; longer than a question
    backoff_s: float = 2.0  # after the first try in vain; twice as long after each further one ...
    backoff_max_s: float = 300.0  # ... up to this
    denied_s: float = 600.0  # until credentials or a connection that is off are looked at again
    lane_max_s: float = 60.0  # the longest pause of a lane between two tries in vain, unless its system asks for more
    limit_s: float = 7 * 86_400.0  # for which a change is tried
    look_s: float = 10.0  # a lane looks this often, whatever it was told


class Held(Exception):
    """The connection is not to be used now."""


class Writeback:
    """`run` is the stage; `tenants` names those that exist. Several may run: each change is claimed by one."""

    def __init__(
        self,
        store: Store,
        connections: Connections,
        tenants: Tenants,
        *,
        pace: Pace | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._connections = connections
        self._tenants = tenants
        self.pace = pace or Pace()
        self._clock = clock
        self._feed = Follower(store, NAME, WATCHED, limit=STEP_CHANGES)
        self._me = str(uuid4())
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._turns = asyncio.Semaphore(self.pace.everywhere)
        self._probes = asyncio.Semaphore(self.pace.failing)

    async def register(self) -> int:
        """Before retention runs: it waits for this stage then."""
        return await self._feed.register()

    async def run(self) -> None:
        """Until cancelled."""
        self._lanes.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed.run(lambda: self._step(group), gather_s=GATHER_S), name="writeback queue")
            while True:
                await self._scan(group)
                await asyncio.sleep(self.pace.look_s)

    def _now(self) -> str:
        return instant(self._clock())

    # ------------------------------------------------------------ from the feed into the queue

    async def _step(self, group: asyncio.TaskGroup) -> int:
        taken, connections = await self._follow()
        for place in connections:
            self._wake(group, *place)
        return taken

    async def step(self) -> int:
        """Takes one bounded batch of changes into the queue; returns how many, 0 if there were none."""
        return (await self._follow())[0]

    async def _follow(self) -> tuple[int, list[tuple[str, str]]]:
        part = await self._feed.read()
        by_tenant: dict[str, list[Change]] = {}
        for change in part.changes:
            by_tenant.setdefault(change.tenant, []).append(change)
        places: list[tuple[str, str]] = []
        for tenant, changes in by_tenant.items():
            places += [(tenant, each) for each in await self._take(tenant, changes)]
        return await self._feed.taken(part), places

    async def _take(self, tenant: str, changes: Sequence[Change]) -> list[str]:
        """Puts what is to be written back into the queue, once however often it is called; to which connections."""
        here = self._store.tenant(tenant)
        if any("status" in (change.changed or {}) for change in changes):
            await self._resolve(here)
        connections = {each.id: each for each in await self._connections.every(tenant)}
        if not connections:
            return []
        made: list[WriteBack] = []
        for change in changes:
            of = self._of_alert if change.collection == ALERTS_V2.name else self._of_object
            try:
                made += await of(here, connections, change)
            except (ValueError, KeyError, TypeError) as error:  # one object that cannot be read holds up no other
                log.error("writeback.unreadable", tenant=tenant, set=change.collection, id=change.id, error=str(error))
        for start in range(0, len(made), ENTER_CHUNK):
            part = made[start : start + ENTER_CHUNK]
            await here.write(partial(queue.enter_each, made=part, now=self._now()), actor=NAME)
        return list(dict.fromkeys(each.connection for each in made))

    async def _resolve(self, here: TenantStore) -> None:
        """What was too much for the transaction that began it: alerts of resolved incidents, repeats of alerts."""
        while incidents := resolving(await here.value(RESOLVING)):
            await self._go_on(here, resolve_members, incidents[0])
        while heads := following(await here.value(FOLLOWING)):
            await self._go_on(here, follow_head, heads[0])

    async def _go_on(self, here: TenantStore, step: Callable[[Tx, T], object], of: T) -> None:
        await here.write(lambda tx: step(tx, of), actor=NAME)

    async def _of_alert(
        self, here: TenantStore, connections: Mapping[str, Connection], change: Change
    ) -> list[WriteBack]:
        changed = change.changed or {}
        if change.op != "updated":
            return []
        values, base = said(changed)
        if ANALYST not in changed:
            await self._echoed(here, change.id, {word: values[word] for word in _TOLD if word in values})
            return []
        stored = await here.get(ALERTS_V2.name, change.id) if values else None
        if stored is None:
            return []
        state = state_of(stored)
        connection = connections.get(await owner_of(here, state) or "")
        known, by = changed[ANALYST]
        source = str(state.v2.get("providerAlertId") or state.id)
        told = {name: getattr(state.provider, name) for name in _TOLD} if state.version == known else {}
        return self._queued(here, connection, "alert", change, source, values, base, told=told, known=known, by=by)

    async def _echoed(self, here: TenantStore, id: str, told: Mapping[str, Any]) -> None:
        """A poll may bring back what was written before, while a newer word still waits: the newer one stays shown."""
        query = Query(top=1, filter=queue.waiting_for(id), version="beta")
        if told and (await here.page(WRITE_BACKS.name, query)).rows:
            await here.write(lambda tx: say_again(tx, id, queue.newer(tx, id, told)), actor=NAME)

    async def _of_object(
        self, here: TenantStore, connections: Mapping[str, Connection], change: Change
    ) -> list[WriteBack]:
        """Incidents, and decisions on users and detections, that came over a connection; which ones did is noted as
        they come."""
        if change.actor.startswith(_PULLED):
            connection = connections.get(change.actor.removeprefix(_PULLED))
            touched = change.op == "updated" and change.changed == {}  # an incident, by one of its alerts
            if connection is not None and change.op != "deleted" and not touched:
                await self._came(here, connection, change)
            return []
        subject, changed = SUBJECTS.get(change.collection), change.changed or {}
        if subject is None or change.op == "deleted":
            return []
        values, base, known, by = arranged(changed) if subject == "incident" else decided(changed, change.actor)
        if not values:
            return []
        origins = {target for _, target in await here.related(PULLED_OVER, change.id, limit=MAX_ORIGINS)}
        owners = [each for each in connections.values() if each.origin in origins]
        for owner in sorted(owners, key=lambda each: (not each.enabled, each.id)):
            made = self._queued(here, owner, subject, change, change.id, values, base, known=known, by=by)
            if made:
                return made
        return []

    async def _came(self, here: TenantStore, connection: Connection, change: Change) -> None:
        ids = [change.id]
        if change.collection == "riskDetections":
            row = await here.get(change.collection, change.id)
            ids += [str(inner(row)["userId"])] if row is not None and inner(row).get("userId") else []
        here_by = {id: {target for _, target in await here.related(PULLED_OVER, id, limit=MAX_ORIGINS)} for id in ids}
        new = [id for id in ids if connection.origin not in here_by[id]]
        if new:
            await here.write(lambda tx: note_pulled(tx, connection, new), actor=NAME)

    def _queued(
        self,
        here: TenantStore,
        connection: Connection | None,
        subject: Subject,
        change: Change,
        source: str,
        values: Mapping[str, Any],
        base: Mapping[str, Any],
        *,
        told: Mapping[str, Any] = _NOTHING,
        known: str | None,
        by: str,
    ) -> list[WriteBack]:
        """Nothing where nobody owns the object, or its system takes no changes."""
        if connection is None or not connection.write_back or change.actor == connection.actor:
            return []
        kind = CONNECTORS.get(connection.connector)
        takes = frozenset[str]() if kind is None else kind.pushes.get(subject, frozenset())
        if not takes:
            return []
        of = (here.tenant, connection.id, subject, change.id, source)
        return [
            queue.write_back(
                *of,
                number=change.seq,
                at=change.at,
                by=by,
                values=values,
                base=base,
                told=told,
                known=known,
                takes=takes,
            )
        ]

    # ------------------------------------------------------------ lanes

    async def _scan(self, group: asyncio.TaskGroup) -> None:
        """Opens a lane where something may be tried: after a start, and where another process has queued it."""
        try:
            for tenant in await self._tenants():
                query = Query(top=SCAN_ROWS, filter=queue.heads(), order=SOONEST, version="beta")
                page = await self._store.tenant(tenant).page(WRITE_BACKS.name, query)
                found = {msgspec.json.decode(row.wire("beta"))["connection"] for row in page.rows}
                if page.more:
                    found.update(each.id for each in await self._connections.every(tenant))
                for connection in found:
                    self._wake(group, tenant, connection)
        except PASSING as error:
            log.warning("writeback.waits", error=error.message)

    def _wake(self, group: asyncio.TaskGroup, tenant: str, connection: str) -> None:
        lane = self._lanes.get((tenant, connection))
        if lane is not None:
            lane.woken.set()
            return
        self._lanes[tenant, connection] = lane = Lane(NAME, tenant, connection)
        group.create_task(self._work(lane), name=f"writeback {tenant} {connection}")

    async def _work(self, lane: Lane) -> None:
        """Ends when the connection has nothing in the queue."""
        try:
            pace = self.pace
            await lane.run(self._look, look_s=pace.look_s, passing_s=pace.backoff_s, fault_s=pace.lane_max_s)
        finally:
            self._lanes.pop((lane.tenant, lane.connection), None)

    async def _look(self, lane: Lane) -> float | None:
        """Begins what is due; seconds until something else may be, None where there is nothing else."""
        most = 1 if lane.failures else self.pace.at_once
        query = Query(top=most + len(lane.busy) + 1, filter=queue.heads(lane.connection), order=SOONEST, version="beta")
        page = await self._store.tenant(lane.tenant).page(WRITE_BACKS.name, query)
        now = self._clock()
        if lane.quiet_until is not None and lane.quiet_until > now and page.rows:
            return (lane.quiet_until - now).total_seconds()
        for row in page.rows:
            if row.id in lane.busy:
                continue
            due = to_datetime(msgspec.json.decode(row.wire("beta"))["nextTryDateTime"])
            if due > now:
                return (due - now).total_seconds()
            if len(lane.busy) >= most:
                return self.pace.look_s  # one that ends makes room
            lane.begin(row.id, self._try(lane, row.id))
        return None

    # ------------------------------------------------------------ one try

    async def _try(self, lane: Lane, id: str) -> None:
        async with self._probes if lane.failures else self._turns:
            now = self._now()
            until = later(now, self.pace.claim_s)
            tried = await self._written(lane, lambda tx: queue.claim(tx, id, self._me, now, until))
            if tried is None:
                return
            try:
                await self._arrived(lane, tried, await self._push(lane, tried))
            except Away as error:
                wait_s = max(self._wait(tried.tries - 1, self.pace.backoff_max_s), error.retry_after_s or 0.0)
                await self._in_vain(lane, tried, error.message, wait_s, asked_s=error.retry_after_s or 0.0)
            except Denied as error:
                await self._in_vain(lane, tried, error.message, self.pace.denied_s, state="denied")
            except Held as error:
                await self._in_vain(lane, tried, str(error), self.pace.denied_s, counted=False)
            except PASSING as error:  # our own store
                await self._in_vain(lane, tried, error.message, self.pace.backoff_s, counted=False)
            except Rejected as error:
                lane.answered()
                await self._failed(lane, tried, error.message)
            except NotFound as error:  # the connection is gone
                await self._failed(lane, tried, error.message)
            except Exception as problem:  # noqa: BLE001 - the edge of connectors; their text may hold anything
                log.error("writeback.connector_failed", connection=lane.connection, id=id, **fault(problem))
                await self._failed(lane, tried, f"the connector failed: {type(problem).__name__}")

    async def _push(self, lane: Lane, tried: WriteBack) -> Pushed:
        here = self._store.tenant(lane.tenant)
        connection = await self._connections.get(lane.tenant, lane.connection)
        if not connection.enabled or not connection.write_back:
            off = "is disabled" if not connection.enabled else "does not write back"
            raise Held(f"the connection '{connection.id}' {off}")
        row = await here.get(SETS[tried.subject], tried.subject_id)
        if row is None:
            raise Rejected(f"the {tried.subject} '{tried.subject_id[:100]}' is not here any more")
        try:
            connector = await self._connections.live(lane.tenant, connection)
        except BartizanError as error:  # settings or secrets that cannot be read
            raise Denied(error.message) from None
        push = Push(
            subject=tried.subject,
            id=tried.source_id,
            words=tried.own.values,
            now=msgspec.json.decode(row.wire("beta")),
            by=tried.changed_by,
            at=tried.changed_date_time,
            key=tried.id,
            known=tried.own.known,
        )
        try:
            async with asyncio.timeout(self.pace.ask_s):
                return await connector.push(push)
        except TimeoutError:
            raise Away(f"no answer within {self.pace.ask_s:g} s") from None

    async def _arrived(self, lane: Lane, tried: WriteBack, said: Pushed) -> None:
        lane.answered()
        state = await self._written(lane, lambda tx: queue.arrive(tx, tried, said, self._now()))
        if state == "conflict":
            log.warning("writeback.conflict", connection=lane.connection, id=tried.id, last_writer=said.last_writer)

    async def _in_vain(
        self,
        lane: Lane,
        tried: WriteBack,
        why: str,
        wait_s: float,
        *,
        asked_s: float = 0.0,
        state: queue.State = "waiting",
        counted: bool = True,
    ) -> None:
        """Later, unless its time is over; the lane is quiet for a while."""
        now = self._now()
        lane.unanswered(self._clock(), lambda failures: max(self._wait(failures, self.pace.lane_max_s), asked_s))
        log.info("writeback.in_vain", connection=lane.connection, id=tried.id, tries=tried.tries, why=why)
        if later(tried.own.since, self.pace.limit_s) <= now:
            await self._failed(lane, tried, f"given up after {tried.tries} tries: {why}")
            return
        at = later(now, wait_s)
        await self._written(lane, lambda tx: queue.again(tx, tried, why, at, state=state, counted=counted))

    async def _failed(self, lane: Lane, tried: WriteBack, why: str) -> None:
        log.warning("writeback.failed", connection=lane.connection, id=tried.id, why=why)
        await self._written(lane, lambda tx: queue.fail(tx, tried, why, self._now()))

    def _wait(self, failures: int, most_s: float) -> float:
        return backed_off(failures, self.pace.backoff_s, most_s)

    async def _written(self, lane: Lane, work: Callable[[Tx], T]) -> T:
        return await kept_trying(self._store.tenant(lane.tenant), work, actor=NAME, pause_s=self.pace.backoff_s)


def said(changed: Mapping[str, tuple[Any, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The words of a change of an alert or an incident as connectors take them, and what they were before; comments
    only the new ones."""
    values = {word: changed[name][1] for name, word in _WORDS.items() if name in changed}
    base = {word: changed[name][0] for name, word in _WORDS.items() if name in changed}
    for words in (values, base):
        if "tags" in words:
            words["tags"] = [tag for tag in words["tags"] or [] if tag != SUPPRESSED]
    if "comments" in changed:
        before, after = changed["comments"]
        values["comments"] = list(after or [])[len(before or []) :]
    return values, base


def arranged(changed: Mapping[str, tuple[Any, Any]]) -> tuple[dict[str, Any], dict[str, Any], str | None, str]:
    """Of an incident, what an analyst changed, unless it was merged: the incidents of a system are its own. With the
    version of the system's own that was known then, by which a later one of somebody else is seen to be a conflict."""
    if ANALYST not in changed or "redirectIncidentId" in changed:
        return {}, {}, None, ""
    known, by = changed[ANALYST]
    return *said(changed), known, str(by)


def decided(changed: Mapping[str, tuple[Any, Any]], by: str) -> tuple[dict[str, Any], dict[str, Any], str | None, str]:
    """Of a risky user or a detection, what somebody decided."""
    if changed.get("riskState", (None, None))[1] not in DECISIONS:
        return {}, {}, None, by
    words = {name: changed[name] for name in ("riskState", "riskDetail") if name in changed}
    moved = changed.get("riskLastUpdatedDateTime", changed.get("lastUpdatedDateTime", (None, None)))[0]
    values = {name: after for name, (_, after) in words.items()}
    return values, {name: before for name, (before, _) in words.items()}, moved, by
