"""From the buffer to Parquet: batches behind a cursor become files by tenant, table and day; the same transaction names
the files and moves the cursor, and then the buffer lets go of the batches.

A process that dies at any moment leaves files that nothing names, or batches that are in files already: the first are
swept, the second are behind the cursor and are dropped by the next flush. So every row is in one file once.

Source: design of events in ARCHITECTURE.md.
"""

import asyncio
import time
import uuid
from collections.abc import Sequence
from datetime import date, timedelta

import structlog

from bartizan.lake.buffer import Batch, Lake
from bartizan.lake.columns import quoted
from bartizan.lake.duck import Duck, day_of
from bartizan.lake.manifest import NO_DAY, OTHER_DAYS, SUFFIX, File, Group, Manifest, folder_of
from bartizan.lake.tables import TABLES

FLUSH_ROWS = 200_000  # of one flush: what comes of it must be seen within two seconds
FLUSH_BYTES = 96 * 2**20  # of JSON lines
PAUSE_S = 0.8  # from one flush to the next, so that files do not become too small
MAX_DAYS = 31  # files of one table that one flush makes; the rows of further days share one
LOOK_S = 0.2  # between two looks at a buffer that was empty

_EPOCH = date(1970, 1, 1)

log = structlog.get_logger(__name__)

Groups = dict[tuple[str, str], list[Batch]]


class Flusher:
    """One at a time, under a lease; a second one does no harm: its files are left out."""

    def __init__(self, lake: Lake, manifest: Manifest, duck: Duck, *, pause_s: float = PAUSE_S) -> None:
        self._lake = lake
        self._pause_s = pause_s
        self._manifest = manifest
        self._duck = duck

    async def run(self) -> None:
        """Until cancelled."""
        await self._lake.drop_through(await self._manifest.position())
        while True:
            began = time.monotonic()
            taken = await self.step()
            rest_s = self._pause_s - (time.monotonic() - began) if taken else min(LOOK_S, self._pause_s)
            await asyncio.sleep(max(0.0, rest_s))

    async def step(self) -> int:
        """Takes what is next, within bounds; returns how many batches that were."""
        after = await self._manifest.position()
        batches = await self._lake.read_after(after, limit_rows=FLUSH_ROWS, limit_bytes=FLUSH_BYTES)
        if not batches:
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
        await self._lake.drop_through(min(through, await self._manifest.position()))
        return len(batches)

    def _write(self, groups: Groups, through: int) -> list[tuple[Group, list[File]]]:
        made: list[tuple[Group, list[File]]] = []
        for (tenant, table), batches in groups.items():
            try:
                files = self._files(tenant, table, batches, through)
            finally:
                self._duck.drop()
            count = sum(batch.count for batch in batches)
            if sum(file.rows for file in files) != count:
                raise RuntimeError(f"{count} rows of {table} became {sum(file.rows for file in files)}")
            made.append((Group(tenant, table, len(batches)), files))
        return made

    def _files(self, tenant: str, table: str, batches: Sequence[Batch], through: int) -> list[File]:
        now = time.time_ns() // 1_000
        columns = self._duck.load(table, batches, through, now)
        of = TABLES.get(table)
        at = of.stored(of.time) if of is not None and of.time is not None else None
        every = "SELECT * FROM loaded"
        if at is None or at not in columns:
            return [self._file(every, None, tenant, table, NO_DAY, through)]
        days = [day for day, _ in self._duck.days(at)]
        alone = days if len(days) <= MAX_DAYS else days[: MAX_DAYS - 1]
        parts = [(day_name(day), f"{every} WHERE {day_of(at)} = {day}") for day in alone]
        rest = f"{quoted(at)} IS NULL" + (f" OR {day_of(at)} NOT IN ({', '.join(map(str, alone))})" if alone else "")
        if self._duck.rows(f"SELECT 1 FROM loaded WHERE {rest} LIMIT 1"):
            parts.append((OTHER_DAYS, f"{every} WHERE {rest}"))
        elif len(parts) == 1:
            parts = [(parts[0][0], every)]
        return [self._file(select, at, tenant, table, day, through) for day, select in parts]

    def _file(self, select: str, at: str | None, tenant: str, table: str, day: str, through: int) -> File:
        path = f"{folder_of(tenant)}/{table}/{day}/{through:016}-{uuid.uuid4().hex[:8]}{SUFFIX}"
        done = self._duck.write(select, at, path)
        return File(
            path, tenant, table, day, 0, done.first_us, done.last_us, done.rows, done.bytes, through, int(time.time())
        )


def day_name(day: int) -> str:
    """Such as 2026-11-23, of a day counted from 1970."""
    return (_EPOCH + timedelta(days=day)).isoformat()
