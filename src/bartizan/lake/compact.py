"""Files into fewer: eight of a day into one as they come, and all of a day into one when the day is over and quiet.

A day's file is sorted by time. Hunts and rules ask for a range of time first, and what they fold (the latest of a
device, a series, a session) is in that order; a look-up of one value meets the bloom filters that DuckDB writes for
each group of rows.

Each row is rewritten once a level, and levels grow by eight: five times for a day of 32,768 flushes.

Source: log-structured merge by tiers, as in O'Neil et al., "The log-structured merge-tree"; DuckDB, "Parquet".
"""

import asyncio
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import structlog

from bartizan.lake.columns import quoted
from bartizan.lake.duck import Duck
from bartizan.lake.manifest import SUFFIX, File, Manifest, folder_of
from bartizan.lake.snapshots import SNAPSHOTS, kept
from bartizan.lake.tables import EXTRA, TABLES

FAN = 8  # files of one level that become one of the next
MOST = 64  # files of one step
MAX_BYTES = 1 << 30  # of one file; beyond, a day has several
QUIET_S = 3_600  # without a new file, after which a day that is over is put into one
LOOK_S = 2.0  # between two looks
EXPIRE_S = 60.0

log = structlog.get_logger(__name__)


def choose(files: Sequence[File], now: datetime) -> list[File]:
    """Which files of one table and day to put together now, in their order; none if none."""
    small = sorted((file for file in files if file.bytes < MAX_BYTES // 2), key=lambda file: file.path)
    if len(small) < 2:
        return []
    quiet = now.timestamp() - max(file.written_s for file in small) >= QUIET_S
    over = small[0].day < now.strftime("%Y-%m-%d") or not small[0].day[:1].isdigit()
    if quiet and over:
        return _bounded(small)
    for level in sorted({file.level for file in small}):
        # Lower levels are taken along: they are few, and would only come later.
        of_level = [file for file in small if file.level <= level]
        if sum(file.level == level for file in of_level) >= FAN:
            return _bounded(of_level)
    return []


def _bounded(files: Sequence[File]) -> list[File]:
    taken: list[File] = []
    for file in sorted(files, key=lambda file: file.bytes)[:MOST]:
        if sum(each.bytes for each in taken) + file.bytes > MAX_BYTES:
            break
        taken.append(file)
    return taken if len(taken) > 1 else []


class Upkeep:
    """Compaction, retention and the removal of files. `days`: table -> days that its rows are kept, 0 for ever."""

    def __init__(self, manifest: Manifest, duck: Duck, *, default_days: int, days: Mapping[str, int]) -> None:
        self._manifest = manifest
        self._duck = duck
        self._default_s = default_days * 86_400
        self._kept_s = {name: count * 86_400 for name, count in days.items()}

    async def run(self, idle_s: float = float("inf")) -> None:
        """Until there has been nothing to do for so long."""
        removed = await self._manifest.sweep_orphans()
        if removed:
            log.info("lake.orphans", removed=removed)
        expired, worked = 0.0, time.monotonic()
        while True:
            if time.monotonic() - expired > EXPIRE_S or not expired:
                expired = time.monotonic()
                await self._manifest.expire(self._kept_s, self._default_s)
            await self._manifest.sweep()
            if await self.step(datetime.now(UTC)):
                worked = time.monotonic()
            elif time.monotonic() - worked >= idle_s:
                return
            else:
                await asyncio.sleep(LOOK_S)

    async def step(self, now: datetime) -> int:
        """Puts the files of one day together; returns how many there were, 0 if there was nothing to do."""
        for tenant, table, day in await self._manifest.crowded(FAN, int(now.timestamp()) - QUIET_S):
            _, files = await self._manifest.files(tenant, table, day)
            chosen = choose(files, now)
            if chosen:
                await self._merge(chosen)
                return len(chosen)
        return 0

    async def _merge(self, files: Sequence[File]) -> None:
        made = await asyncio.to_thread(self._write, files)
        if not await self._manifest.replace(files, [made]):
            log.info("lake.file_left_out", path=made.path)  # one of them has been erased or has expired
            self._manifest.remove(made.path)

    def _write(self, files: Sequence[File]) -> File:
        first, through = files[0], max(file.through for file in files)
        of = TABLES.get(first.table)
        paths = [file.path for file in files]
        schema = self._duck.schema(paths)
        strings = {name for name, kind in of.kinds.items() if kind == "string"} if of is not None else set()
        columns = ", ".join(
            f"coalesce({quoted(name)}, '') AS {quoted(name)}" if name in strings else quoted(name) for name in schema
        )
        source = f"read_parquet({self._duck.listed(paths)}, union_by_name = true)"
        at = of.stored(of.time) if of is not None and of.time is not None and first.first_us is not None else None
        path = f"{folder_of(first.tenant)}/{first.table}/{first.day}/{through:016}-{uuid.uuid4().hex[:8]}{SUFFIX}"
        whole = first.table in SNAPSHOTS and EXTRA in schema
        where = f" WHERE {kept(source)}" if whole else ""
        rows = sum(file.rows for file in files)
        if whole:
            rows = int(self._duck.rows(f"SELECT count(*) FROM {source}{where}")[0][0])
        done = self._duck.write(f"SELECT {columns} FROM {source}{where}", at, path)
        if done.rows != rows:
            raise RuntimeError(f"{rows} rows of {first.table} became {done.rows}")
        return File(
            path, first.tenant, first.table, first.day, max(file.level for file in files) + 1,
            done.first_us, done.last_us, done.rows, done.bytes, through, int(time.time()),
        )  # fmt: skip
