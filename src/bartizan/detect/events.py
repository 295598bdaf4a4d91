"""Indicators against events: a stage that reads the lake's buffer behind a cursor of its own.

Of most rows no value is known to any indicator: a sieve in memory says so, and nothing more is done with them. What is
left is looked up as alerts and sign-ins are. An alert's id derives from the indicator, the day and whom it is about, so
a part of the buffer that is read again raises nothing twice.

Source: design of events in ARCHITECTURE.md; Microsoft Graph beta, resource tiIndicator.
"""

import asyncio
import io
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any

import msgspec
import structlog

from bartizan.detect.columns import evidence_of, instants
from bartizan.detect.indicators import Sighting
from bartizan.detect.match import IndicatorStage
from bartizan.detect.named import Column, Entity, columns_of, decoder_of, named
from bartizan.detect.sieve import Looks, Sieve
from bartizan.errors import BartizanError
from bartizan.lake.buffer import Batch, Lake
from bartizan.lake.readers import Reader
from bartizan.lake.tables import Table, table
from bartizan.model import entities
from bartizan.model.ids import stable_id
from bartizan.store.follow import PASSING

READER = "indicators"  # of the lake's buffer, which waits for it: see `lake.readers`
STEP_ROWS, STEP_BYTES = 20_000, 16 * 2**20  # of the buffer that one step takes
MAX_LOOKS = 16  # tenants of which is remembered what says nothing
AT_ONCE = 500  # sightings that are looked up together
PAUSE_S = 0.5  # after everything was read
AGAIN_S = 2.0  # after an error that passes
# Whom an event is about: rows of one of them and of one day that name the same are one sighting.
_ABOUT = "DeviceId DeviceName Computer HostName AccountObjectId AccountUpn UserId UserPrincipalName AccountName".split()
_ABOUT_SENSED = "SourceHostName SourceUserName SourceIP DestinationHostName DestinationIP".split()
_SENSOR = "DeviceVendor"  # a table with this column calls the sensor a device

_PLAIN = {str, type(None)}  # types of most columns' values
_NOTHING = {None, ""}

log = structlog.get_logger(__name__)
_decode = msgspec.json.Decoder(dict[str, Any]).decode

Row = Mapping[str, Any]


class EventStage:
    """One process at a time, under a lease; a second one does no harm."""

    def __init__(self, lake: Lake, matching: IndicatorStage) -> None:
        self._lake = lake
        self._matching = matching
        self._reader = Reader(lake, READER)
        self._looks: dict[str, Looks] = {}

    async def run(self) -> None:
        """Until cancelled. Waits out what passes; other errors are raised."""
        while True:
            try:
                taken = await self.step()
            except PASSING as error:
                log.warning("stage.waits", stage=READER, error=error.message)
                await asyncio.sleep(AGAIN_S)
                continue
            if taken < STEP_ROWS // 2:
                await asyncio.sleep(PAUSE_S)

    async def step(self) -> int:
        """Takes a bounded part of the buffer; returns how many rows, 0 if there were none."""
        after, head, tenants = await self._reader.before()
        if head <= after:
            return 0
        sieves = {each: await self._matching.sieves.of(each) for each in tenants}
        watched = {each: sieve for each, sieve in sieves.items() if sieve.held}
        if not watched:
            await self._reader.passed(head)
            return 0
        found = await self._lake.read_after(after, limit_rows=STEP_ROWS, limit_bytes=STEP_BYTES)
        for tenant, sieve in watched.items():
            await self._take(tenant, sieve, [batch for batch in found if batch.tenant == tenant])
        await self._reader.passed(found[-1].seq if found else head)
        return sum(batch.count for batch in found)

    async def _take(self, tenant: str, sieve: Sieve, batches: Sequence[Batch]) -> None:
        networks = await self._matching.networks(tenant)
        looks = self._looks.get(tenant)
        if looks is None or not looks.still(sieve, networks):
            self._looks.pop(tenant, None)
            while len(self._looks) >= MAX_LOOKS:
                del self._looks[next(iter(self._looks))]
            looks = self._looks[tenant] = Looks(sieve, networks)
        found: dict[tuple[Any, ...], Sighting] = {}
        for batch in batches:
            try:
                found |= await asyncio.to_thread(sightings, batch, looks)
            except (msgspec.MsgspecError, ValueError, TypeError) as error:  # rows hold whatever the world writes
                log.error("indicators.unreadable", tenant=tenant, table=batch.table, batch=batch.seq, exc_info=error)
        waiting = list(found.values())
        for start in range(0, len(waiting), AT_ONCE):
            await self._match(tenant, waiting[start : start + AT_ONCE])

    async def _match(self, tenant: str, waiting: Sequence[Sighting]) -> None:
        try:
            await self._matching.raise_of_events(tenant, await self._matching.hits(tenant, waiting))
        except PASSING:
            raise
        except (BartizanError, ValueError, KeyError, TypeError) as error:
            if len(waiting) == 1:  # it is in the lake; only what indicators say of it is missing
                log.error("indicators.unreadable", tenant=tenant, table=waiting[0].collection, exc_info=error)
                return
            for each in waiting:
                await self._match(tenant, [each])


# ---------------------------------------------------------------- from rows to sightings; pure


def sightings(batch: Batch, looks: Looks) -> dict[tuple[Any, ...], Sighting]:
    """Rows that name something which an indicator may know, by what tells one sighting from another."""
    of = table(batch.table)
    if of is None:
        return {}
    here = None if batch.fields is None else set(batch.fields.split(","))
    columns = tuple(each for each in columns_of(of) if here is None or each.name in here)
    if not columns:
        return {}
    lines = batch.lines()
    rows = _decoder(columns).decode_lines(lines)
    known: set[int] = set()
    for number, column in enumerate(columns):
        known |= _known(column, list(map(attrgetter(f"c{number}"), rows)), looks)
    if not known:
        return {}
    return keyed(of, (_decode(line) for at, line in enumerate(io.BytesIO(lines)) if at in known))


@lru_cache(maxsize=1_024)
def _decoder(columns: tuple[Column, ...]) -> msgspec.json.Decoder[Any]:
    return decoder_of(columns)


def _known(column: Column, values: Sequence[Any], looks: Looks) -> set[int]:
    """The places of values of which an indicator may know something. Each different text is looked at once."""
    types = set(map(type, values))
    texts = set(values) if types <= _PLAIN else {value for value in values if type(value) is str}
    texts -= _NOTHING
    bad = looks.known(column, texts)
    found = {at for at, value in enumerate(values) if type(value) is str and value in bad} if bad else set[int]()
    if column.several and not types <= _PLAIN:
        odd = ((at, value) for at, value in enumerate(values) if isinstance(value, list | dict))
        found |= {at for at, value in odd if looks.odd(column, value)}
    return found


def keyed(of: Table, rows: Iterable[Row]) -> dict[tuple[Any, ...], Sighting]:
    """Each row as a sighting, but of those of one day about the same that name the same the first alone."""
    found: dict[tuple[Any, ...], Sighting] = {}
    columns = columns_of(of)
    about = _ABOUT_SENSED if _SENSOR in of.columns else _ABOUT
    for row in rows:
        names = tuple(dict.fromkeys(each for column in columns for each in named(column, row.get(column.name))))
        whom = tuple(str(row.get(each) or "") for each in about)
        at = str(row.get(of.time) or "") if of.time is not None else ""
        key = (of.name, at[:10], whom, names)
        if key not in found:
            found[key] = _sighting(of, row, names, about)
    return found


def _sighting(of: Table, row: Row, names: Sequence[Entity], about: Sequence[str]) -> Sighting:
    evidence, _ = evidence_of([row], [])
    around = entities.of_alert(msgspec.to_builtins(item) for item in evidence)
    every = dict.fromkeys([*names, *((each.kind, each.value.lower(), each.role) for each in around)])
    whom = next((str(row[each]).lower() for each in about if row.get(each)), "")
    subject = whom or next((value for kind, value, _ in every if kind in ("host", "user", "mailbox")), of.name)
    times = instants([row])
    id = stable_id("event", of.name, str(row.get(of.time or "")), subject, *(value for _, value, _ in names))
    return Sighting(of.name, id, row, list(every), times[1] if times else "", subject, seen=tuple(names))
