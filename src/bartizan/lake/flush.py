"""From the buffer to Parquet: batches behind a cursor become files by tenant, table and day; the same transaction names
the files and moves the cursor, and then the buffer lets go of the batches (`readers` says when).

A process that dies at any moment leaves files that nothing names, or batches that are in files already: the first are
swept, the second are behind the cursor and are dropped by the next flush. So every row is in one file once.

Source: design of events in ARCHITECTURE.md.
"""

import asyncio
import time
import uuid
from collections.abc import Sequence
from datetime import date, timedelta

import duckdb
import structlog
from msgspec import Struct

from bartizan.lake.buffer import Batch, Lake
from bartizan.lake.columns import quoted
from bartizan.lake.duck import Duck, Ends, day_of
from bartizan.lake.manifest import NO_DAY, OTHER_DAYS, SUFFIX, File, Group, Manifest, folder_of
from bartizan.lake.readers import passed_by_all
from bartizan.lake.tables import FLUSH, INGESTED, TABLES
from bartizan.model.times import ticks, to_datetime

FLUSH_ROWS = 200_000  # of one flush: what comes of it must be seen within two seconds
FLUSH_BYTES = 96 * 2**20  # of JSON lines
PAUSE_S = 0.8  # from one flush to the next, so that files do not become too small
MAX_DAYS = 31  # files of one table that one flush makes; the rows of further days share one
LOOK_S = 0.2  # between two looks at a buffer that was empty

_EPOCH = date(1970, 1, 1)

log = structlog.get_logger(__name__)

Groups = dict[tuple[str, str], list[Batch]]


class _Place(Struct, frozen=True):
    """What a flush writes together."""

    tenant: str
    table: str
    through: int


class _Day(Struct, frozen=True):
    """The day, counted from 1970, of rows that have one only, and their first and last time."""

    number: int
    first_us: int
    last_us: int


class Flusher:
    """One at a time, under a lease; a second one does no harm: its files are left out."""

    def __init__(self, lake: Lake, manifest: Manifest, duck: Duck, *, pause_s: float = PAUSE_S) -> None:
        self._lake = lake
        self._pause_s = pause_s
        self._manifest = manifest
        self._duck = duck

    async def run(self, idle_s: float = float("inf")) -> None:
        """Until nothing has come for so long."""
        await self._lake.drop_through(await passed_by_all(self._lake))
        came = time.monotonic()
        while True:
            began = time.monotonic()
            taken = await self.step()
            if taken:
                came = began
            elif began - came >= idle_s:
                return
            rest_s = self._pause_s - (time.monotonic() - began) if taken else min(LOOK_S, self._pause_s)
            await asyncio.sleep(max(0.0, rest_s))

    async def step(self) -> int:
        """Takes what is next, within bounds; returns how many batches that were."""
        after, head = await self._manifest.position(), await self._lake.head()
        batches = await self._lake.read_after(after, limit_rows=FLUSH_ROWS, limit_bytes=FLUSH_BYTES)
        if not batches:
            if head > after:  # what was there has been erased: nobody is to wait for it
                await self._manifest.commit(after, head, [])
            return 0
        through = batches[-1].seq
        groups: Groups = {}
        for batch in batches:
            groups.setdefault((batch.tenant, batch.table), []).append(batch)
        made = await asyncio.to_thread(self._write, groups, through)
        named = await self._manifest.commit(after, through, made)
        for _, files in made:
            for file in files:
                if file.path not in named:
                    log.info("lake.file_left_out", path=file.path)  # erased, or another process was first
                    self._manifest.remove(file.path)
        await self._lake.drop_through(await passed_by_all(self._lake))
        return len(batches)

    def _write(self, groups: Groups, through: int) -> list[tuple[Group, list[File]]]:
        made: list[tuple[Group, list[File]]] = []
        for (tenant, table), batches in groups.items():
            files = self._files(_Place(tenant, table, through), batches)
            count = sum(batch.count for batch in batches)
            if sum(file.rows for file in files) != count:
                raise RuntimeError(f"{count} rows of {table} became {sum(file.rows for file in files)}")
            made.append((Group(tenant, table, len(batches)), files))
        return made

    def _files(self, place: _Place, batches: Sequence[Batch]) -> list[File]:
        now_us = time.time_ns() // 1_000
        added = f"{place.through}::BIGINT AS {quoted(FLUSH)}, make_timestamp({now_us}) AS {quoted(INGESTED)}"
        try:
            with self._duck.reading(place.table, batches, added) as (select, columns):
                return self._by_day(place, select, columns, _day_of(batches))
        except (duckdb.ConversionException, duckdb.InvalidInputException):  # what made the rows was at fault
            log.exception("lake.kept_as_text", table=place.table, flush=place.through)
            with self._duck.reading_text(place.table, batches, added) as (select, columns):
                return self._by_day(place, select, columns, None)

    def _by_day(self, place: _Place, select: str, columns: Sequence[str], day: _Day | None) -> list[File]:
        of = TABLES.get(place.table)
        at = of.stored(of.time) if of is not None and of.time is not None else None
        if at is None or at not in columns:
            return [self._file(place, select, None, NO_DAY)]
        if day is not None:
            return [self._file(place, select, at, day_name(day.number), (day.first_us, day.last_us))]
        with self._duck.held(select) as held:
            days = self._duck.days(held, at)
            alone = days if len(days) <= MAX_DAYS else days[: MAX_DAYS - 1]
            parts = {day_name(each): f"{day_of(at)} = {each}" for each in alone}
            rest = [f"{day_of(at)} NOT IN ({', '.join(map(str, alone))})"] if len(alone) < len(days) else []
            rest += [f"{quoted(at)} IS NULL"]
            if self._duck.rows(f"SELECT 1 FROM {held} WHERE {' OR '.join(rest)} LIMIT 1"):
                parts[OTHER_DAYS] = " OR ".join(rest)
            return [self._file(place, f"SELECT * FROM {held} WHERE {where}", at, name) for name, where in parts.items()]

    def _file(self, place: _Place, select: str, at: str | None, day: str, ends: Ends | None = None) -> File:
        name = f"{place.through:016}-{uuid.uuid4().hex[:8]}{SUFFIX}"
        path = f"{folder_of(place.tenant)}/{place.table}/{day}/{name}"
        done = self._duck.write(select, at, path, ends)
        return File(
            path, place.tenant, place.table, day, 0,
            done.first_us, done.last_us, done.rows, done.bytes, place.through, int(time.time()),
        )  # fmt: skip


def _day_of(batches: Sequence[Batch]) -> _Day | None:
    """The one day of all rows; None if there are several, or none is known."""
    first = min((batch.first or "" for batch in batches), default="")
    last = max(batch.last or "" for batch in batches)
    if not first or first[:10] != last[:10]:
        return None
    begin = to_datetime(first)
    number = (begin.date() - _EPOCH).days
    return _Day(number, ticks(begin) // 10, ticks(to_datetime(last)) // 10)


def day_name(day: int) -> str:
    """Such as 2026-11-23, of a day counted from 1970."""
    return (_EPOCH + timedelta(days=day)).isoformat()
