"""The path of a bulk: split, normalise, recognise repeats, store; it returns once everything is durable.

Events go to the lake first and the marks that recognise their repeats to the store after that. The lake keeps the name
of what it appended until the marks are stored, so that the same bulk, sent again after a crash between the two, appends
nothing twice; records that come back in another order or company may then be appended twice, but none is ever lost.
Alerts, Graph objects and marks of up to TURN_RECORDS records are one write.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple, Protocol, TypeAlias

import structlog
from msgspec import Struct

from bartizan.errors import BadRequest, NotFound, TooLarge
from bartizan.extend import SOURCES, Said, Source
from bartizan.ingest import records
from bartizan.ingest.made import Brought, Given, Made, described, generic, known_key, named_in
from bartizan.ingest.makers import Makers, made_of
from bartizan.model.times import instant
from bartizan.store.alerts import Kept, store_alerts
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Collection, Draft, Query, Store, TenantStore, Tx
from bartizan.store.said import revised

WRITE_RECORDS = 600  # made and written at once, in one commit where nothing else waits ...
TURN_RECORDS = 150  # ... for which the writer looks after so many: at some 0.3 ms an alert that is under 50 ms
MADE_AHEAD = 6  # parts of all bulks that are made and not yet written, so that many bulks at once take no more memory
CROWDED_RECORDS = 1  # while other tenants ask: what they wait for is to be no longer than a change of their own
KEEP_MARKS = timedelta(days=7)  # how long a repeat of an event is recognised

MARKS = Collection(name="ingested", order=(("id", False),), feed=False, keep=KEEP_MARKS)
_MARK = b"{}"
Also: TypeAlias = Callable[[Tx, Sequence[str]], None]
"""What else is done in each write, with the ids of the alerts that it stored or knew."""

_log = structlog.get_logger(__name__)


class EventSink(Protocol):
    """Where events go: the lake. What has been appended is durable when this returns."""

    async def append(self, tenant: str, rows: Sequence[tuple[str, dict[str, Any]]], *, once: str) -> object:
        """Nothing where a part of this name, "stage/1", was appended before and not forgotten since."""
        ...

    async def forget(self, tenant: str, stage: str) -> None: ...


class Pace(Protocol):
    """How fast a bulk may go (`auth.turns.Turn`)."""

    def crowded(self) -> bool: ...

    async def pause(self) -> None: ...


class Receipt(Struct):
    """What became of a bulk. Every record is either accepted or a repeat: `accepted + repeats` is their number."""

    accepted: int = 0  # records that were new, or a new version of an alert or object that is known
    repeats: int = 0  # records that changed nothing, since all that they say is stored already
    events: int = 0  # rows of event tables that were added
    ids: list[str] = []  # of the alerts that the records stand for, in their order; a repeat's too
    warnings: int = 0  # records that could not be read and are kept as text

    def add(self, other: "Receipt") -> None:
        self.accepted += other.accepted
        self.repeats += other.repeats
        self.events += other.events
        self.ids += other.ids
        self.warnings += other.warnings

    def answer(self) -> dict[str, Any]:
        return {"accepted": self.accepted, "repeats": self.repeats, "events": self.events, "ids": self.ids}


def find_source(name: str, sources: Mapping[str, Source] = SOURCES) -> Source:
    source = sources.get(name)
    if source is None:
        raise NotFound(f"there is no source '{name[:100]}'; there are: {', '.join(sorted(sources))}")
    return source


class _Into(NamedTuple):
    """Where a part of a bulk goes."""

    tenant: str
    store: TenantStore
    actor: str
    received: str
    also: Also | None


_Ahead: TypeAlias = tuple[str, list[Made], ExitStack]  # the time of receipt, what was made, the room that it takes


class Pipeline:
    """`collections` are those that sources may fill beside alerts (signIns). The store must know them, MARKS and
    `store.alerts.COLLECTIONS`. `arrived` is told of each write."""

    def __init__(
        self,
        store: Store,
        sink: EventSink,
        *,
        collections: Mapping[str, Collection] | None = None,
        sources: Mapping[str, Source] = SOURCES,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        arrived: Callable[[str, str, Receipt], None] = lambda tenant, source, receipt: None,
        makers: Makers | None = None,
    ) -> None:
        self._store = store
        self._arrived = arrived
        self._sink = sink
        self._collections = collections or {}
        self._clock = clock
        self._making = asyncio.Semaphore(1)  # one thread makes at a time: more would only fight for the interpreter
        self._makers = makers
        self._room = asyncio.Semaphore(MADE_AHEAD)
        self.sources = sources

    async def receive(self, tenant: str, source: str, body: bytes, *, actor: str, pace: Pace | None = None) -> Receipt:
        """A body as it came, uncompressed. NotFound for an unknown source, BadRequest and TooLarge for one that cannot
        be read; what the store and the lake raise passes, and a second try of the same body then finishes it."""
        known = find_source(source, self.sources)
        raws = await asyncio.to_thread(records.split, body)
        return await self.take(tenant, known, raws, actor=actor, pace=pace)

    async def take(
        self,
        tenant: str,
        source: Source,
        raws: Sequence[bytes],
        *,
        actor: str,
        said: Sequence[Said | None] | None = None,
        pace: Pace | None = None,
        also: Also | None = None,
    ) -> Receipt:
        """Raw records, WRITE_RECORDS at a time. While one is written the next is made; where that would hold up
        other tenants, one after another in smaller parts. `said` stands beside them."""
        receipt = Receipt()
        given: list[Given] = list(zip(raws, said or [None] * len(raws), strict=True))
        begun = 0

        def cut() -> Sequence[Given]:
            nonlocal begun
            size = CROWDED_RECORDS if pace is not None and pace.crowded() else WRITE_RECORDS
            first, begun = begun, begun + size
            return given[first:begun]

        def begin() -> asyncio.Task[_Ahead] | None:
            return asyncio.create_task(self._make(source, cut, tenant, len(given))) if begun < len(given) else None

        ahead = begin()
        try:
            while ahead is not None:
                received, made, room = await ahead
                crowded = pace is not None and pace.crowded()
                ahead = None if crowded else begin()
                into = _Into(tenant, self._store.tenant(tenant), actor, received, also)
                with room:
                    for name in dict.fromkeys(one.source for one in made):
                        part = made if name == source.name else [one for one in made if one.source == name]
                        kept = await self._keep(into, part)
                        self._arrived(tenant, name, kept)
                        receipt.add(kept)
                if crowded and pace is not None and begun < len(given):
                    await pace.pause()
                    ahead = begin()
        finally:
            if ahead is not None and not ahead.cancel() and not ahead.cancelled() and ahead.exception() is None:
                ahead.result()[2].close()  # it is made, and nobody writes it
        return receipt

    async def _make(self, source: Source, cut: Callable[[], Sequence[Given]], tenant: str, records: int) -> _Ahead:
        """What is cut off when there is room for it; whoever has written it closes the room. `records` are those of the
        whole bulk."""
        with ExitStack() as room:
            await self._room.acquire()
            room.callback(self._room.release)
            received, made = await self._made(source, cut(), tenant, records)
            return received, made, room.pop_all()

    async def _made(self, source: Source, chunk: Sequence[Given], tenant: str, records: int) -> tuple[str, list[Made]]:
        if self._makers is not None and self._makers.ready(source, records):
            received = instant(self._clock())
            return received, await self._makers.make(source, chunk, tenant, received)
        async with self._making:
            received = instant(self._clock())
            return received, await asyncio.to_thread(made_of, source, chunk, tenant, received, self._collections)

    async def _keep(self, into: _Into, made: Sequence[Made]) -> Receipt:
        known = await self._known(into.store, made)
        new = _unknown(made, known)
        try:
            stage = await self._append(into.tenant, new)
        except TooLarge:  # records may grow to more rows or bytes than the lake takes at once
            if len(made) < 2:
                raise
            half = len(made) // 2
            receipt = await self._keep(into, made[:half])
            receipt.add(await self._keep(into, made[half:]))
            return receipt
        receipt = await self._write(into, made, known)
        await self._forget(into.tenant, stage)
        receipt.events = sum(len(one.rows) for one in new)
        odd = [one for one in new if one.warning]
        receipt.warnings = len(odd)
        if odd:
            first = {"sha256": odd[0].sha256, "error": odd[0].warning}
            _log.warning(
                "ingest.records_kept_as_text", source=odd[0].source, tenant=into.tenant, records=len(odd), **first
            )
        return receipt

    async def _append(self, tenant: str, new: Sequence[Made]) -> str | None:
        """The name under which the rows went to the lake; the same records in the same order have the same one."""
        if not new:
            return None
        keys = "".join(known_key(one) for one in new)
        stage = f"ingest.{sha256(keys.encode()).hexdigest()[:32]}"
        await self._sink.append(tenant, [row for one in new for row in one.rows], once=f"{stage}/1")
        return stage

    async def _forget(self, tenant: str, stage: str | None) -> None:
        """The marks of the store now recognise what was appended."""
        if stage is not None:
            await self._sink.forget(tenant, stage)

    async def _known(self, store: TenantStore, made: Sequence[Made]) -> frozenset[str]:
        """Marks of those records whose events are in the lake already."""
        keys = tuple(dict.fromkeys(known_key(one) for one in made if one.rows))
        if not keys:
            return frozenset()
        page = await store.page(MARKS.name, Query(top=len(keys), ids=keys))
        return frozenset(row.id for row in page.rows)

    async def _write(self, into: _Into, made: Sequence[Made], known: frozenset[str]) -> Receipt:
        """In turns, each all or nothing. `known` are marks of events; those of a turn are known to the next ones."""
        written = []
        for start in range(0, len(made), TURN_RECORDS):
            turn = made[start : start + TURN_RECORDS]
            written.append(self._turn(into, turn, known))
            known |= {known_key(one) for one in turn if one.rows}
        receipt = Receipt()
        for one in await asyncio.gather(*written, return_exceptions=True):
            if isinstance(one, BaseException):
                raise one
            receipt.add(one)
        return receipt

    async def _turn(self, into: _Into, made: Sequence[Made], known: frozenset[str]) -> Receipt:
        """All in one write. If the store refuses it for what it holds, record by record, so that only the one at fault
        is kept as text."""
        try:
            return await into.store.write(
                lambda tx: _put(tx, made, known, self._collections, into.also),
                actor=into.actor,
                bulk=len(made) > CROWDED_RECORDS,
            )
        except (BadRequest, TooLarge) as error:
            if len(made) == 1:
                return await self._keep_as_text(into, made[0], described(error))
        receipt = Receipt()
        for one in made:
            receipt.add(await self._turn(into, [one], known))
        return receipt

    async def _keep_as_text(self, into: _Into, one: Made, why: str) -> Receipt:
        kept = generic(records.record(one.raw), one.sha256, one.source, into.received, why)
        _log.warning("ingest.record_refused_by_store", source=one.source, sha256=one.sha256, error=why)
        known = await self._known(into.store, [kept])
        stage = await self._append(into.tenant, _unknown([kept], known))
        receipt = await into.store.write(lambda tx: _put(tx, [kept], known, self._collections), actor=into.actor)
        await self._forget(into.tenant, stage)
        return receipt


def _unknown(made: Sequence[Made], known: frozenset[str]) -> list[Made]:
    """Those with events that are to be appended, each once."""
    seen = set(known)
    new = []
    for one in made:
        key = known_key(one)
        if one.rows and key not in seen:
            seen.add(key)
            new.append(one)
    return new


def _put_object(tx: Tx, one: Brought, collections: Mapping[str, Collection]) -> bool:
    """False where it changes nothing."""
    name, id = one.draft.collection, one.draft.id
    stored = None if one.version is None else tx.get(name, id)
    if one.version is None or stored is None:
        return tx.put(one.draft, unless_exists=True) is not None
    later = revised(collections[name], inner(stored), one.item.body, one.version)
    if later is None:
        return False
    after, changed = later
    tx.put(draft(collections[name], after, id, entities=named_in(one.item)), changed=changed)
    return True


def _put(
    tx: Tx,
    made: Sequence[Made],
    known: frozenset[str],
    collections: Mapping[str, Collection],
    also: Also | None = None,
) -> Receipt:
    receipt = Receipt()
    kept = iter(store_alerts(tx, [alert for one in made for alert in one.alerts]))
    seen = set(known)
    for one in made:
        alerts: list[Kept] = [next(kept) for _ in one.alerts]
        fresh = [not alert.repeat for alert in alerts] + [_put_object(tx, each, collections) for each in one.objects]
        if one.rows:
            key = known_key(one)
            fresh.append(key not in seen)
            if key not in seen:
                seen.add(key)
                tx.put(Draft(collection=MARKS.name, id=key, doc=_MARK), unless_exists=True)
        receipt.ids += [alert.v2.id for alert in alerts]
        if any(fresh):
            receipt.accepted += 1
        else:
            receipt.repeats += 1
    if also is not None:
        also(tx, receipt.ids)
    return receipt
