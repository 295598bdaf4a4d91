"""New indicators against the events of the last two weeks: queries over the lake's files, some indicators at a time.

Between the buffer and the files nothing is missed: an indicator's marks are in the sieve first, so that what arrives
later is matched as it arrives; then this waits until the files hold what was there before.

Source: design of events in ARCHITECTURE.md; Microsoft Graph beta, resource tiIndicator.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

import structlog
from msgspec import Struct

from bartizan.detect import indicators
from bartizan.detect.events import keyed
from bartizan.detect.indicators import Hit, Sighting
from bartizan.detect.marks import INDICATORS, Pair
from bartizan.detect.match import LOOK_BACK, IndicatorStage, begins, bodies_of, borne_by
from bartizan.detect.named import columns_of
from bartizan.detect.sought import MAX_FOUND, MAX_QUERY_CHARS, parts_of, query_of
from bartizan.detect.stage import PASSING, Queries
from bartizan.errors import BartizanError, Unavailable
from bartizan.lake.buffer import Lake
from bartizan.lake.manifest import Manifest
from bartizan.lake.storage import view
from bartizan.lake.tables import Table, table
from bartizan.model.times import instant
from bartizan.store.follow import Follower
from bartizan.store.interface import Change, Store

STEP_CHANGES = 2_000  # indicators of one look, of which each table is asked at least once
GATHER_S = 1.0  # so that those that are told of one by one are looked up together
LOOK_S, WAIT_S = 0.2, 60.0  # for the files to hold what the buffer held
PAUSES_S = (1.0, 5.0, 0.0)  # after a hunt that could not be run
AT_ONCE = 500
AHEAD = timedelta(days=1)  # clocks of sources may be fast
LEAST_SPAN = timedelta(hours=1)  # of a query that is more than a hunt may take

log = structlog.get_logger(__name__)


class LookBack:
    """One process at a time, the one that matches what arrives."""

    def __init__(
        self,
        store: Store,
        lake: Lake,
        manifest: Manifest,
        matching: IndicatorStage,
        queries: Queries,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        name: str = "indicators.lake",
    ) -> None:
        self._store = store
        self._lake = lake
        self._manifest = manifest
        self._matching = matching
        self._queries = queries
        self._clock = clock
        self._feed = Follower(store, name, (INDICATORS,), limit=STEP_CHANGES)

    async def register(self) -> int:
        return await self._feed.register()

    async def run(self) -> None:
        """Until cancelled."""
        await self._feed.run(self.step, gather_s=GATHER_S)

    async def step(self) -> int:
        """Takes one bounded batch of indicators; returns how many changes that were, 0 if there were none."""
        part = await self._feed.read()
        by_tenant: dict[str, list[Change]] = {}
        for change in part.changes:
            if begins(change):
                by_tenant.setdefault(change.tenant, []).append(change)
        for tenant, changes in by_tenant.items():
            await self._look(tenant, [change.id for change in changes])
        return await self._feed.taken(part)

    async def _look(self, tenant: str, told: Sequence[str]) -> None:
        store, now = self._store.tenant(tenant), self._clock()
        bodies = await bodies_of(store, INDICATORS, told)
        ids = {id for id, body in bodies.items() if indicators.counts(body, instant(now))}
        borne = await borne_by(store, list(ids))
        pairs = sorted({pair for its in borne.values() for pair in its})
        if not pairs:
            return
        self._matching.begun(tenant, pairs)
        await self._until_in_files(await self._lake.head())
        for of in await self._tables(tenant):
            async for found in self._found(tenant, of, pairs, now):
                for start in range(0, len(found), AT_ONCE):
                    hits = await self._matching.hits(tenant, found[start : start + AT_ONCE])
                    await self._matching.raise_of_events(tenant, [hit for hit in hits if _concerns(hit, ids)])

    async def _until_in_files(self, head: int) -> None:
        for _ in range(round(WAIT_S / LOOK_S)):
            if await self._manifest.position() >= head:
                return
            await asyncio.sleep(LOOK_S)
        raise Unavailable("indicators look back later: the buffer is not in files yet")

    async def _tables(self, tenant: str) -> list[Table]:
        """Those with events that name something."""
        names = (await view(self._manifest, tenant)).files
        return [of for name in sorted(names) if (of := table(name)) is not None and columns_of(of)]

    async def _found(
        self, tenant: str, of: Table, pairs: Sequence[Pair], now: datetime
    ) -> AsyncIterator[list[Sighting]]:
        """Of each query. Where it was too much for one, of shorter spans; where it found too much, of fewer marks."""
        end = now + AHEAD
        waiting = [_Sought(part, now - LOOK_BACK, end) for part in parts_of(pairs)]
        while waiting:
            sought = waiting.pop()
            query = query_of(of, sought.pairs)
            if query is None:
                continue
            if len(query) > MAX_QUERY_CHARS and len(sought.pairs) > 1:  # a table of many columns
                waiting += sought.by_mark()
                continue
            rows = await self._rows(tenant, query, now, sought)
            if rows is None and sought.until - sought.since > LEAST_SPAN:
                waiting += sought.by_time()
            elif rows is not None and len(rows) > MAX_FOUND and len(sought.pairs) > 1:
                waiting += sought.by_mark()
            elif rows is None or len(rows) > MAX_FOUND:
                told = {"table": of.name, "mark": sought.pairs[0], "since": instant(sought.since)}
                log.warning("indicators.look_back", tenant=tenant, newest=MAX_FOUND if rows else 0, **told)
            if rows and (len(rows) <= MAX_FOUND or len(sought.pairs) == 1):
                yield list(keyed(of, rows[:MAX_FOUND]).values())

    async def _rows(self, tenant: str, query: str, now: datetime, sought: "_Sought") -> list[dict[str, object]] | None:
        """None where it was more than a hunt may take. Unavailable where it may be asked again later."""
        for pause_s in PAUSES_S:
            try:
                told = await self._queries.table(tenant, query, now, since=sought.since, until=sought.until)
            except Unavailable as error:  # also where the memory of the hunt's process did not do
                log.warning("indicators.look_back", tenant=tenant, error=error.message)
                await asyncio.sleep(pause_s)
            except PASSING as error:
                raise Unavailable(f"indicators look back later: {error.message}") from error
            except BartizanError as error:
                if getattr(error, "phase", "run") != "run":
                    raise
                log.warning("indicators.look_back", tenant=tenant, error=error.message)
                return None
            else:
                names = [head.name for head in told.schema]
                return [dict(zip(names, each, strict=True)) for each in told.results]
        return None


class _Sought(Struct, frozen=True):
    """What one query looks for, and when."""

    pairs: Sequence[Pair]
    since: datetime
    until: datetime

    def by_time(self) -> "list[_Sought]":
        middle = self.since + (self.until - self.since) / 2
        return [_Sought(self.pairs, self.since, middle), _Sought(self.pairs, middle, self.until)]

    def by_mark(self) -> "list[_Sought]":
        half = len(self.pairs) // 2
        return [_Sought(each, self.since, self.until) for each in (self.pairs[:half], self.pairs[half:])]


def _concerns(hit: Hit, told: Iterable[str]) -> bool:
    """What the new indicators say, and what others allow."""
    return hit.indicator["id"] in told or hit.action == "allow"
