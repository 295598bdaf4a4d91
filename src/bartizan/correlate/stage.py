"""Correlation as a stage on the change feed: alerts of each tenant into incidents, back into the store.

What the engine made of a batch, the batch itself and the position in the feed are written in one transaction, so that
a crash at any moment leaves either none or all of it. The engine lives in memory; a snapshot and the inputs since
then (the journal) bring it back as it was.

Source: design of the feed and of cursors in ARCHITECTURE.md.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import structlog

from bartizan.auth.audit import AUDITS, SIGN_IN
from bartizan.correlate.engine import Engine
from bartizan.correlate.facts import Held, Named, Names, facts_of, group_of, seconds
from bartizan.correlate.incident import Closed, Handled, Judged, Moved, Pass, Seen, Step, Take, Told
from bartizan.correlate.memory import Memory
from bartizan.correlate.suppress import SUPPRESSIONS, Suppressions, suppressions
from bartizan.correlate.write import ACTOR, Batch, follow
from bartizan.errors import Conflict
from bartizan.model import entities, faces
from bartizan.model.ids import stable_id
from bartizan.store.alerts import ALERTS_V2, CORRELATE, INCIDENTS
from bartizan.store.follow import Follower, Part
from bartizan.store.interface import FEED_PLACE, Ahead, Change, Query, Store, TenantStore, Tx

WATCHED = (ALERTS_V2.name, INCIDENTS.name, "signIns", "users", "devices", SUPPRESSIONS.name)
# Of one step at most. Each alert is put again inside the writer, whose lock is held about so long: steps grow and
# shrink with what a change takes here. The larger a step, the less an alert costs: an incident that several of its
# alerts belong to is written once.
STEP_CHANGES = 600
READ_OF_ONE = 3  # changes that are read for one by others: this stage itself makes up to two of most alerts
HOLD_S = 0.15
ATTENDED_HOLD_S = 0.04  # while somebody works
CROWDED_HOLD_S = 0.004  # while several tenants write; between two steps others have as long
CHANGE_S = 0.0004  # what a change takes inside the writer, before any was measured
ATTENDED_S = 30.0  # somebody who changed something within this time works
LATEST_CHANGES = 20  # at the feed's end, by whose tenants a stage that is behind sees who writes now
RECENT_S = 1.0  # a tenant that wrote within this time counts as writing
GATHER_S = 0.1  # between two steps once it has caught up: what comes meanwhile is one commit, and others wait less
# A snapshot is made when the journal has grown to the last one's size, so that all of them together cost no more than
# the journal does; a restart goes through so much again.
SNAPSHOT_BYTES = 8 * 2**20  # of some 10,000 alerts, which take a second to go through
MAX_ENTRIES = 4_096
SWEPT = 64  # entries of the journal that a write removes when a snapshot has made them needless
MAX_TENANTS = 64  # whose engines are in memory

POSITION = f"{FEED_PLACE}correlate/position"
STATE, JOURNAL = "correlate/state", "correlate/journal"

_decode = msgspec.json.Decoder(dict[str, Any]).decode

log = structlog.get_logger(__name__)


class _Audit(msgspec.Struct):
    operationType: str | None = None


_audited = msgspec.json.Decoder(_Audit).decode


class _Entry(msgspec.Struct):
    """One batch, in the order in which it was taken: first the names that it brought, then the rest."""

    seq: int
    heard: list[Named | Held]
    told: list[Take | Pass | Seen | Moved | Handled | Closed | Judged]


class _State(msgspec.Struct):
    entry: int  # the journal's first entry that is not in it
    memory: bytes
    names: bytes
    swept: int = 0  # and the first that is not removed yet


class _Live:
    """What is known of one tenant: all of it follows from what is stored."""

    def __init__(self, tenant: str) -> None:
        self.names = Names()
        self.engine = Engine(named=lambda alert: stable_id("incident", tenant, alert))
        self.position = 0
        self.first = 0  # entries of the journal that are not in the snapshot: first to next, without next
        self.next = 0
        self.swept = 0  # the first that is stored
        self.journal_bytes = 0
        self.snapshot_bytes = 0
        self.fed = time.monotonic()
        self.suppressions: Suppressions | None = None  # None: to be read
        self.hidden: list[tuple[str, str]] = []  # alerts of this batch, and the suppressions that match them
        self.read: dict[str, Ahead] = {}  # alerts of this batch, as they were when the engine was told of them

    def estimate(self) -> float:
        """What time it is for alerts: theirs, and what has passed since the last came. Records of last year are
        correlated as of last year."""
        return self.engine.memory.now + time.monotonic() - self.fed


class CorrelateStage:
    """One at a time for each `name`, under a lease; a second one finds that the position has moved, and reads anew."""

    def __init__(self, store: Store, *, name: str = CORRELATE, step_changes: int | None = None) -> None:
        self._store = store
        self._step_changes = step_changes  # None: as many as the writer's lock has time for
        self._feed = Follower(store, name, WATCHED, limit=step_changes or READ_OF_ONE * STEP_CHANGES)
        self._behind = False  # whether the last step left something
        self._change_s = CHANGE_S  # what a change takes inside the writer, lately
        self._attended = float("-inf")  # when somebody was last seen at work ...
        self._audited = 0  # ... up to this place in the feed
        self._heard: dict[str, float] = {}  # tenant -> when it was last heard of
        self._live: OrderedDict[str, _Live] = OrderedDict()

    async def run(self) -> None:
        """Until cancelled."""
        await self._feed.run(self._step_or_silence)

    async def register(self) -> int:
        """Before retention runs: it waits for this stage then."""
        return await self._feed.register()

    async def _step_or_silence(self) -> int:
        began = time.monotonic()
        taken = await self.step()
        if not taken:
            await self.silence()
        elif not self._behind:
            await asyncio.sleep(max(0.0, began + GATHER_S - time.monotonic()))
        elif self._crowded():
            await asyncio.sleep(CROWDED_HOLD_S)
        return taken

    async def step(self, size: int | None = None) -> int:
        """Takes one bounded batch of changes, at most `size` by others; returns how many, 0 if there were none."""
        size = size or self._size()
        limit = self._step_changes or READ_OF_ONE * size
        read = await self._feed.read(limit)
        part = _within(read, size)
        self._behind = part is not read or len(part.changes) >= limit
        by_tenant: dict[str, list[Change]] = {}
        for change in part.changes:
            by_tenant.setdefault(change.tenant, []).append(change)
        await self._look(part, by_tenant)
        moved = False
        for left, (tenant, its) in zip(range(len(by_tenant) - 1, -1, -1), by_tenant.items(), strict=True):
            moved = await self._take(tenant, its, None if left else part.end)
        return self._feed.noted(part) if moved else await self._feed.taken(part)

    async def _look(self, part: Part, taken: Iterable[str]) -> None:
        """Who writes now, also where this stage is far behind them, and whether people do: what they change is
        audited."""
        latest: list[Change] = []
        if part.changes and part.head - part.end > LATEST_CHANGES:
            latest = await self._store.changes(part.head - LATEST_CHANGES, limit=LATEST_CHANGES)
        audits: list[Change] = []
        if 0 < self._audited < part.head:
            audits = await self._store.changes(self._audited, limit=LATEST_CHANGES, collections=[AUDITS])
        works = await self._works(audits)
        now, self._audited = time.monotonic(), part.head
        if works:
            self._attended = now
        self._heard.update((tenant, now) for tenant in (*taken, *(each.tenant for each in (*latest, *audits))))

    async def _works(self, audits: Sequence[Change]) -> bool:
        """Whether one of them tells of more than a sign-in, which collectors and connectors make all day."""
        for tenant in {each.tenant for each in audits}:
            ids = tuple(each.id for each in audits if each.tenant == tenant)
            page = await self._store.tenant(tenant).page(AUDITS, Query(top=len(ids), ids=ids))
            if any(_audited(row.doc).operationType != SIGN_IN for row in page.rows):
                return True
        return False

    def _crowded(self) -> bool:
        """Whether several tenants write: then each is to notice little of what is done for the others."""
        now = time.monotonic()
        self._heard = {tenant: at for tenant, at in self._heard.items() if now - at < RECENT_S}
        return len(self._heard) > 1

    def _size(self) -> int:
        """Changes by others of one step, so that the writer's lock is held no longer than it should be."""
        attended = time.monotonic() - self._attended < ATTENDED_S
        hold_s = CROWDED_HOLD_S if self._crowded() else ATTENDED_HOLD_S if attended else HOLD_S
        return self._step_changes or max(1, min(STEP_CHANGES, round(hold_s / self._change_s)))

    async def silence(self, now: float | None = None) -> int:
        """What silence brings about, in the tenants that are in memory: incidents settle and end. Returns in how
        many. `now` stands for the estimate, in tests."""
        done = 0
        for tenant, live in list(self._live.items()):
            at = live.estimate() if now is None else now
            if live.engine.due() <= at:
                await self._write(tenant, live, live.position, [Pass(at)])
                done += 1
        return done

    # ------------------------------------------------------------ one tenant

    async def _take(self, tenant: str, changes: Sequence[Change], cursor: int | None) -> bool:
        """Whether something was written, and the stage's `cursor`, if one is told, moved with it."""
        live = await self._of(tenant)
        ahead = [change for change in changes if change.seq > live.position]
        if not ahead:
            return False
        live.names.heard.clear()
        live.hidden, live.read = [], {}
        told = await self._told(tenant, live, ahead)
        if not (told or live.names.heard or live.hidden):
            return False
        await self._write(tenant, live, ahead[-1].seq, told, cursor)
        return True

    async def _of(self, tenant: str) -> _Live:
        live = self._live.get(tenant)
        if live is None:
            live = await self._restored(tenant)
            self._live[tenant] = live
        self._live.move_to_end(tenant)
        if len(self._live) > MAX_TENANTS:
            self._live.popitem(last=False)
        return live

    async def _restored(self, tenant: str) -> _Live:
        store, live = self._store.tenant(tenant), _Live(tenant)
        state, journal = await _kept(store)
        if state is not None:
            live.engine = Engine(named=live.engine.named, memory=Memory.load(state.memory))
            live.first, live.swept = state.entry, state.swept
            live.snapshot_bytes = len(state.memory) + len(state.names)
        live.next = live.first + len(journal)
        live.journal_bytes = sum(map(len, journal))
        entries = [msgspec.msgpack.decode(raw, type=_Entry) for raw in journal]
        live.names = _heard(state, entries)
        for entry in entries:
            for told in entry.told:
                live.engine.tell(told)
        live.position = int(await store.value(POSITION) or b"0")
        await follow(store)
        return live

    async def _write(self, tenant: str, live: _Live, seq: int, told: Sequence[Told], cursor: int | None = None) -> None:
        """All that follows from this, at once. Whatever goes wrong, memory is made anew from what is stored."""
        store = self._store.tenant(tenant)
        entry = msgspec.msgpack.encode(_Entry(seq, list(live.names.heard), list(told)))
        live.names.heard.clear()
        number, before = live.next, live.position
        try:
            steps: list[Step] = [step for each in told for step in live.engine.tell(each)]
            live.next += 1
            live.journal_bytes += len(entry)
            due = live.journal_bytes >= max(SNAPSHOT_BYTES, live.snapshot_bytes)
            state = self._snapshot(live) if due or live.next - live.first >= MAX_ENTRIES else None
            batch = Batch(tenant, live.engine, live.names, steps, live.hidden)
            read, live.hidden, live.read = live.read, [], {}
            await batch.read(store, read)
            stale = range(live.swept, min(live.swept + SWEPT, live.first))

            def work(tx: Tx) -> bool:
                if int(tx.value(POSITION) or b"0") != before or tx.value(f"{JOURNAL}/{number}") is not None:
                    return False  # another process has taken over
                began = time.monotonic()
                batch.write(tx)
                tx.set_value(POSITION, str(seq).encode())
                if cursor is not None:
                    tx.advance(self._feed.name, cursor)
                if state is None:
                    tx.set_value(f"{JOURNAL}/{number}", entry)
                else:
                    tx.set_value(STATE, state)
                for each in stale:
                    tx.set_value(f"{JOURNAL}/{each}", None)
                if told:
                    self._change_s += ((time.monotonic() - began) / len(told) - self._change_s) / 4
                return True

            if not await store.write(work, actor=ACTOR):
                raise Conflict("the position of correlation has moved: another process is at work")
        except BaseException:
            self._live.pop(tenant, None)
            raise
        live.position, live.swept = seq, max(live.swept, stale.stop)
        if state is not None:
            live.first, live.journal_bytes, live.snapshot_bytes = live.next, 0, len(state)
        if any(isinstance(each, Take) for each in told):
            live.fed = time.monotonic()
        await follow(store)

    @staticmethod
    def _snapshot(live: _Live) -> bytes:
        names = msgspec.msgpack.encode(live.names.dump())
        return msgspec.msgpack.encode(_State(live.next, live.engine.memory.dump(), names, live.swept))

    # ------------------------------------------------------------ changes into what the engine is told

    async def _told(self, tenant: str, live: _Live, changes: Sequence[Change]) -> list[Told]:
        changes = [change for change in changes if change.actor != ACTOR]  # what it wrote itself it knows
        bodies = await self._bodies(self._store.tenant(tenant), live, changes)
        told: list[Told] = []
        if any(change.collection == SUPPRESSIONS.name for change in changes):
            live.suppressions = None
        if live.suppressions is None:
            live.suppressions = await suppressions(self._store.tenant(tenant))
        for change in changes:
            raw = bodies.get((change.collection, change.id))
            if raw is None or change.collection == SUPPRESSIONS.name:
                continue
            body = _decode(raw)  # one after another: a batch of them at once is more than a processor has at hand
            try:
                told += self._of_change(live, change, body)
            except (ValueError, KeyError, TypeError) as error:
                # The alert is stored and shown; only its incident is missing.
                log.error("correlate.unreadable", tenant=tenant, set=change.collection, id=change.id, error=str(error))
        return told

    async def _bodies(self, store: TenantStore, live: _Live, changes: Iterable[Change]) -> dict[tuple[str, str], bytes]:
        ids: dict[str, list[str]] = {}
        for change in changes:
            if change.op == "created" or change.collection in (ALERTS_V2.name, INCIDENTS.name):
                ids.setdefault(change.collection, []).append(change.id)
        found: dict[tuple[str, str], bytes] = {}
        live.read = await store.ahead(ALERTS_V2.name, list(dict.fromkeys(ids.pop(ALERTS_V2.name, []))))
        for id, one in live.read.items():
            if one.stored is not None:
                found[ALERTS_V2.name, id] = one.stored.wire("beta")
        for collection, its in ids.items():
            page = await store.page(collection, Query(top=len(its), ids=tuple(dict.fromkeys(its)), version="beta"))
            for row in page.rows:
                found[collection, row.id] = row.wire("beta")
        return found

    def _of_change(self, live: _Live, change: Change, body: Mapping[str, Any]) -> list[Told]:
        if change.collection == ALERTS_V2.name:
            return self._of_alert(live, change, body)
        if change.collection == INCIDENTS.name:
            return [*_of_incident(change), *_verdict(live.engine, change)]
        if change.collection == "signIns":
            return _of_sign_in(live, body)
        live.names.directory(change.collection, body, seconds(change.at))
        return []

    def _of_alert(self, live: _Live, change: Change, body: Mapping[str, Any]) -> list[Told]:
        """A new one; or one that somebody moved. One that came with its incident, or was put into one before we saw it,
        is where it belongs."""
        if change.op == "created":
            if (body.get("additionalData") or {}).get(faces.SUPPRESSION) is not None:
                return []  # an indicator that allows has hidden it already
            if not body.get("incidentId") and not _left_alone(body):
                assert live.suppressions is not None
                hides = live.suppressions.match(body, change.at)
                if hides is not None:
                    live.hidden.append((change.id, hides))
                    return []
            facts = facts_of(body, live.names)
            if body.get("incidentId"):
                return [Moved(facts, "", str(body["incidentId"]))]
            return [Take(facts)] if facts.group or not _left_alone(body) else []
        changed, now = change.changed or {}, body.get("incidentId")
        before, after = changed.get("incidentId", (None, None))
        told = _of_handling(live, changed, body)
        if _regrouped(changed, body):
            return [*told, Take(facts_of(body, live.names))]
        if before != after:
            return [*told, Moved(facts_of(body, live.names), before or "", after or "")]
        if now and ("evidence" in changed or "severity" in changed):  # a later record of its provider
            return [*told, Moved(facts_of(body, live.names), str(now), str(now))]
        if not now and _seen_again(changed) and not _left_alone(body):
            return [*told, Take(facts_of(body, live.names))]
        return told


def _within(part: Part, most: int) -> Part:
    """Its beginning, with at most so many changes by others: what this stage wrote itself it knows."""
    others = 0
    for place, change in enumerate(part.changes):
        others += change.actor != ACTOR
        if others > most:
            return Part(part.after, part.head, part.changes[:place])
    return part


async def names_of(store: TenantStore) -> Names:
    """Who is who in a tenant, as this stage has it in the store: its snapshot, and what it heard since then."""
    state, journal = await _kept(store)
    return await asyncio.to_thread(lambda: _heard(state, (msgspec.msgpack.decode(raw, type=_Entry) for raw in journal)))


async def _kept(store: TenantStore) -> tuple[_State | None, list[bytes]]:
    """The snapshot, and the entries of the journal that are not in it. Read anew where a later snapshot has taken
    entries away meanwhile."""
    while True:
        kept = await store.value(STATE)
        state = None if kept is None else msgspec.msgpack.decode(kept, type=_State)
        number, journal = 0 if state is None else state.entry, list[bytes]()
        while (raw := await store.value(f"{JOURNAL}/{number}")) is not None:
            journal.append(raw)
            number += 1
        if await store.value(STATE) == kept:
            return state, journal


def _heard(state: _State | None, entries: Iterable[_Entry]) -> Names:
    names = Names()
    if state is not None:
        names.load(msgspec.msgpack.decode(state.names))
    for entry in entries:
        for heard in entry.heard:
            names.hear(heard)
    return names


def _left_alone(body: Mapping[str, Any]) -> bool:
    """What its provider has closed already, or does not want to have correlated."""
    more = body.get("additionalData")
    return body.get("status") == "resolved" or (
        isinstance(more, dict) and more.get("isExcludedFromCorrelation") is True
    )


def _seen_again(changed: Mapping[str, tuple[Any, Any]]) -> bool:
    """Somebody has taken the mark of a suppression from it."""
    before, after = ((each or {}).get(faces.SUPPRESSION) for each in changed.get("additionalData", (None, None)))
    return before is not None and after is None


def _regrouped(changed: Mapping[str, tuple[Any, Any]], body: Mapping[str, Any]) -> bool:
    """Its source has put it into another incident of its own."""
    before = group_of(changed.get("additionalData", (None, None))[0])
    return "additionalData" in changed and group_of(body.get("additionalData")) not in ("", before)


def _of_handling(live: _Live, changed: Mapping[str, tuple[Any, Any]], body: Mapping[str, Any]) -> list[Told]:
    """A verdict, or the end of work on it. Repeats follow their head, and count no second time."""
    told: list[Told] = []
    if "classification" in changed and not (body.get("additionalData") or {}).get(faces.FOLDED_INTO):
        facts = facts_of(body, live.names)
        kind = live.engine.place_of(facts)[0]
        told.append(Judged(facts.detector, kind, *changed["classification"]))
    if changed.get("status", (None, None))[1] == "resolved":
        told.append(Closed(str(body["id"])))
    return told


def _of_incident(change: Change) -> list[Told]:
    changed = change.changed or {}
    into = changed.get("redirectIncidentId", (None, None))[1]
    if into:
        return [Handled(change.id, "merged", str(into))]
    if "status" not in changed:
        return []
    return [Handled(change.id, "resolved" if changed["status"][1] == "resolved" else "open")]


def _verdict(engine: Engine, change: Change) -> list[Told]:
    """On an incident: it counts once for each of its detectors."""
    verdicts, incident = (change.changed or {}).get("classification"), engine.known(change.id)
    if verdicts is None or incident is None:
        return []
    return [Judged(each.detector, each.kind, *verdicts) for each in incident.evidence.values()]


def _of_sign_in(live: _Live, body: Mapping[str, Any]) -> list[Told]:
    """An address from which people sign in all day is shared, and links nothing. The names of who signed in are one
    person's."""
    if not body.get("createdDateTime"):
        return []
    at = seconds(str(body["createdDateTime"]))
    live.names.account(body.get("userId"), body.get("userPrincipalName"), at)
    address = entities.address(str(body.get("ipAddress") or ""))
    if address is None:
        return []
    node = ("address", address)
    return [] if live.engine.seen(node, at) else [Seen(node, at)]
