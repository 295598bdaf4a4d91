"""Which Parquet files there are: kept in the database of the buffer, so that one transaction moves a cursor and names
the files that stand for what lies behind it.

A file is written and durable first, named then, and never changed. What replaces it takes its name away; the file
itself goes when its grace is over, since somebody may be reading it. A file that nothing names belongs to a process
that died, and goes when it is old enough not to be under way.

Source: design of events in ARCHITECTURE.md.
"""

import asyncio
import contextlib
import hashlib
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from bartizan.lake.buffer import Lake
from bartizan.lake.readers import FLUSHER, move, position
from bartizan.lake.writer import Clock, Db

GRACE_S = 900  # for which a file that was replaced stays: longer than a hunt may run
ORPHAN_S = 3_600  # the age at which a file that nothing names is nobody's
SWEEP_FILES = 1_000  # of one step
PARTS = ".parts"  # folder of files under way
SUFFIX = ".parquet"

_PLAIN = re.compile(r"[0-9a-z][0-9a-z-]{0,63}", re.ASCII)
_FILE = "path, tenant, name, day, level, first_us, last_us, row_count, bytes, through, written_s"


class File(Struct, frozen=True):
    """A Parquet file. Times in microseconds since 1970, None in a table without time."""

    path: str  # below the lake's folder
    tenant: str
    table: str
    day: str  # 2026-11-23; OTHER_DAYS for what is spread too thin; NO_DAY for a table without time
    level: int  # how often its rows were put together
    first_us: int | None
    last_us: int | None
    rows: int
    bytes: int
    through: int  # the highest number of a flush in it
    written_s: int  # seconds since 1970


class Group(Struct, frozen=True):
    """Batches of one flush that became files together: (tenant, table) and how many batches there were."""

    tenant: str
    table: str
    batches: int


class Extent(Struct, frozen=True):
    """What a tenant's table holds."""

    table: str
    files: int
    rows: int
    bytes: int


OTHER_DAYS = "other"
NO_DAY = "all"


def folder_of(tenant: str) -> str:
    """The name of a tenant's folder: its id where that is plain, as of all tenants that we make; else a digest."""
    if _PLAIN.fullmatch(tenant):
        return tenant
    return "_" + hashlib.sha256(tenant.encode()).hexdigest()[:40]


class Manifest:
    """`folder` holds the files; every process that reads or writes them has it."""

    def __init__(self, lake: Lake, folder: Path, *, grace_s: int = GRACE_S) -> None:
        self._lake = lake
        self.folder = folder
        self.grace_s = grace_s

    # ------------------------------------------------------------ the flush

    async def position(self) -> int:
        """Up to where the buffer is in files."""
        return await self._lake.read(lambda db: position(db, FLUSHER))

    async def commit(self, after: int, through: int, groups: Sequence[tuple[Group, Sequence[File]]]) -> set[str]:
        """Names the files of a flush of (after, through] and moves the cursor; returns the paths that are named now.

        The files of a group whose batches have been erased while it was written are left out; all are, where another
        process has moved the cursor meanwhile. Such files are nobody's.
        """

        def work(db: Db, clock: Clock) -> set[str]:
            named: set[str] = set()
            if position(db, FLUSHER) != after:
                return named
            for group, files in groups:
                count = "SELECT count(*) FROM lake_batches WHERE seq > ? AND seq <= ? AND tenant = ? AND name = ?"
                found = db.rows(count, (after, through, group.tenant, group.table))[0][0]
                if found == group.batches:
                    _name(db, files)
                    named.update(file.path for file in files)
            move(db, FLUSHER, through)
            return named

        return await self._lake.write(work)

    # ------------------------------------------------------------ compaction and retention

    async def replace(self, old: Sequence[File], new: Sequence[File]) -> bool:
        """`new` in place of `old`; False where one of `old` is not named any more: nothing is changed then."""

        def work(db: Db, clock: Clock) -> bool:
            if any(not db.rows("SELECT 1 FROM lake_files WHERE path = ?", (file.path,)) for file in old):
                return False
            self._forsake(db, [file.path for file in old])
            _name(db, new)
            return True

        return await self._lake.write(work)

    def _forsake(self, db: Db, paths: Sequence[str]) -> None:
        due = int(time.time()) + self.grace_s
        db.many("DELETE FROM lake_files WHERE path = ?", [(path,) for path in paths])
        db.many("INSERT INTO lake_gone (path, due_s) VALUES (?, ?)", [(path, due) for path in paths])

    async def crowded(self, many: int, quiet_since_s: int) -> list[tuple[str, str, str]]:
        """(tenant, table, day) of days that have `many` files, or several and none since then; those with most first.
        At most 1,000."""
        sql = (
            "SELECT tenant, name, day FROM lake_files GROUP BY tenant, name, day "
            "HAVING count(*) >= ? OR (count(*) > 1 AND max(written_s) <= ?) "
            "ORDER BY count(*) DESC, tenant, name, day LIMIT 1000"
        )
        found = await self._lake.read(lambda db: db.rows(sql, (many, quiet_since_s)))
        return [(str(tenant), str(name), str(day)) for tenant, name, day in found]

    async def expire(self, tables: Mapping[str, int], default_s: int) -> int:
        """Forgets files whose every row is older than its table allows, in seconds (0: for ever); returns how many.
        A table without time counts from when a file was written."""
        now = int(time.time())

        def work(db: Db, clock: Clock) -> int:
            gone: list[str] = []
            for (name,) in db.rows("SELECT DISTINCT name FROM lake_files"):
                kept_s = tables.get(name, default_s)
                if kept_s:
                    old = (
                        "SELECT path FROM lake_files WHERE name = ? "
                        "AND (last_us < ? OR (last_us IS NULL AND written_s < ?)) LIMIT ?"
                    )
                    params = (name, (now - kept_s) * 1_000_000, now - kept_s, SWEEP_FILES)
                    gone += [path for (path,) in db.rows(old, params)]
            self._forsake(db, gone)
            return len(gone)

        return await self._lake.write(work)

    async def sweep(self) -> int:
        """Removes files whose grace is over; returns how many."""
        sql = "SELECT path FROM lake_gone WHERE due_s <= ? ORDER BY due_s LIMIT ?"
        params = (int(time.time()), SWEEP_FILES)
        paths = [str(path) for (path,) in await self._lake.read(lambda db: db.rows(sql, params))]
        if paths:
            for path in paths:
                self.remove(path)
            params_of = [(path,) for path in paths]
            await self._lake.write(lambda db, clock: db.many("DELETE FROM lake_gone WHERE path = ?", params_of))
        return len(paths)

    async def erase(self, tenant: str) -> int:
        """All of a tenant, after which its folder is gone too; returns how many rows there were in buffer and files."""
        rows = await self._lake.erase(tenant)
        await asyncio.to_thread(shutil.rmtree, self.folder / folder_of(tenant), ignore_errors=True)
        while await self.sweep():
            pass
        return rows

    async def sweep_orphans(self) -> int:
        """Removes files that nothing names and that are old enough not to be under way; returns how many."""
        before = time.time() - ORPHAN_S
        old = [path for path in self._there() if path.stat().st_mtime < before]
        removed = 0
        for path in old:
            name = path.relative_to(self.folder).as_posix()
            if not await self._lake.read(partial(_named, path=name)):
                self.remove(name)
                removed += 1
        return removed

    def _there(self) -> Iterator[Path]:
        for path in self.folder.rglob("*"):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    yield path

    def remove(self, path: str) -> None:
        """A file, and the folders that it leaves empty."""
        file = self.folder / path
        file.unlink(missing_ok=True)
        for parent in list(file.parents)[: len(Path(path).parts) - 1]:
            with contextlib.suppress(OSError):  # not empty
                parent.rmdir()

    # ------------------------------------------------------------ reading

    async def files(self, tenant: str, table: str | None = None, day: str | None = None) -> tuple[int, list[File]]:
        """What a tenant has, and the cursor of the flush, as of one moment."""
        where = "tenant = ?" + (" AND name = ?" if table is not None else "") + (" AND day = ?" if day else "")
        params = [each for each in (tenant, table, day) if each is not None]
        sql = (
            f"SELECT {', '.join(f'f.{name}' for name in _FILE.split(', '))}, c.position FROM "
            "(SELECT coalesce(max(position), 0) AS position FROM lake_cursors WHERE name = ?) c "
            f"LEFT JOIN (SELECT * FROM lake_files WHERE {where}) f ON 1 = 1 ORDER BY f.path"
        )
        found = await self._lake.read(lambda db: db.rows(sql, [FLUSHER, *params]))
        return int(found[0][-1]), [File(*row[:-1]) for row in found if row[0] is not None]

    async def extents(self, tenant: str | None = None) -> list[Extent]:
        """Sizes by table, of one tenant or of all."""
        where, params = ("WHERE tenant = ?", [tenant]) if tenant is not None else ("", [])
        sql = f"SELECT name, count(*), sum(row_count), sum(bytes) FROM lake_files {where} GROUP BY name ORDER BY name"
        found = await self._lake.read(lambda db: db.rows(sql, params))
        return [Extent(str(name), int(files), int(rows), int(size)) for name, files, rows, size in found]


def _name(db: Db, files: Sequence[File]) -> None:
    marks = ", ".join("?" * len(_FILE.split(", ")))
    sql = f"INSERT INTO lake_files ({_FILE}) VALUES ({marks})"
    db.many(sql, [_row(file) for file in files])


def _row(file: File) -> tuple[Any, ...]:
    return tuple(getattr(file, name) for name in File.__struct_fields__)


def _named(db: Db, path: str) -> bool:
    live = "SELECT 1 FROM lake_files WHERE path = ? UNION ALL SELECT 1 FROM lake_gone WHERE path = ?"
    return bool(db.rows(live, (path, path)))
