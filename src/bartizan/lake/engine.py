"""The lake on an SQL engine, but for what an engine does its own way: connections, locks, errors."""

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

from msgspec import Struct

from bartizan.errors import BadRequest, Conflict, Unavailable
from bartizan.lake.buffer import Batch, Packed, Row, Sizes, Span, pack, span
from bartizan.lake.readers import FLUSHER, position
from bartizan.lake.writer import Bounds, Clock, Db, Pen, Writer
from bartizan.model.times import instant

T = TypeVar("T")

FORMAT = 2  # of the tables; a number that this program does not know is refused
OLDER = 1  # the format that is made this one at start: without fields of batches, and without files
MAX_READ_BATCHES = 10_000  # of one answer of read_after
DROP_BATCHES = 500  # of one transaction: the lock is held for some milliseconds

_INSERT = (
    "INSERT INTO lake_batches (seq, tenant, name, row_count, first_time, last_time, fields, plain_bytes, data) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_MARK = (
    "INSERT INTO lake_marks (tenant, stage, position, seq) VALUES (?, ?, ?, ?) ON CONFLICT (tenant, stage) DO UPDATE "
    "SET position = excluded.position, seq = excluded.seq"
)
_BATCH = "seq, tenant, name, row_count, first_time, last_time, fields, plain_bytes, data"


class Limits(Struct, frozen=True):
    """Bounds of a lake. Times in seconds."""

    read_s: float = 30.0  # a read that takes longer is a Timeout
    work_s: float = 30.0  # PostgreSQL: one statement of a write
    lock_s: float = 15.0  # waiting for another process's write
    connect_s: float = 10.0  # PostgreSQL: a connection
    readers: int = 2  # threads and connections for reads
    group_requests: int = 256  # appends of one commit
    group_ms: float = 40.0
    group_bytes: int = 32 * 2**20  # compressed
    queue: int = 10_000  # appends that may wait
    queue_bytes: int = 256 * 2**20  # compressed

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.group_requests, self.group_ms / 1_000, self.group_bytes, self.queue, self.queue_bytes)


class SqlLake(ABC):
    """A `Lake`. Reads and packing run in threads, writes in the writer's."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._writer: Writer | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._local = threading.local()

    # ------------------------------------------------------------ what an engine does its own way

    @abstractmethod
    def _open_pen(self) -> Pen:
        """The writing connection, with the tables in place. Raises ours."""

    @abstractmethod
    def _bounded(self, work: Callable[[Db], T]) -> T:
        """Runs a read on this thread's connection. Raises ours."""

    @abstractmethod
    async def backup(self, path: str) -> None: ...

    @abstractmethod
    def _close_readers(self) -> None: ...

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        self._writer = Writer(await asyncio.to_thread(self._open_pen), self.limits.bounds)
        self._threads = ThreadPoolExecutor(self.limits.readers, "bartizan-lake-read")

    async def close(self) -> None:
        writer, threads, self._writer, self._threads = self._writer, self._threads, None, None
        if writer is not None:
            await asyncio.to_thread(writer.close)
        if threads is not None:
            await asyncio.to_thread(threads.shutdown)
        self._close_readers()
        self._local = threading.local()

    async def read(self, work: Callable[[Db], T]) -> T:
        if self._threads is None:
            raise Unavailable("the lake is closed")
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._bounded, work)

    async def write(self, work: Callable[[Db, Clock], T], size: int = 0) -> T:
        if self._writer is None:
            raise Unavailable("the lake is closed")
        return await self._writer.run(work, size)

    # ------------------------------------------------------------ the buffer

    async def append(
        self, tenant: str, rows: Sequence[tuple[str, Row]], *, once: str | None = None, received: str | None = None
    ) -> int:
        _check_tenant(tenant)
        part = None if once is None else span(once)
        if not rows and part is None:
            return await self.head()
        packed = await asyncio.to_thread(pack, rows, received or instant(datetime.now(UTC)))

        def work(db: Db, clock: Clock) -> int:
            known = None if part is None else _known(db, tenant, part)
            if known is not None:
                return known
            params = [_params(clock.next(), tenant, one) for one in packed]
            db.many(_INSERT, params)
            if part is not None:
                db.run(_MARK, (tenant, part.stage, part.last, clock.seq))
            return clock.seq

        return await self.write(work, sum(len(one.data) for one in packed))

    async def appended(self, tenant: str, stage: str) -> int:
        found = await self.read(
            lambda db: db.rows("SELECT position FROM lake_marks WHERE tenant = ? AND stage = ?", (tenant, stage))
        )
        return int(found[0][0]) if found else 0

    async def forget(self, tenant: str, stage: str) -> None:
        params = (tenant, stage)
        await self.write(lambda db, clock: db.run("DELETE FROM lake_marks WHERE tenant = ? AND stage = ?", params))

    async def read_after(
        self, seq: int, *, limit_rows: int, limit_bytes: int, tenant: str | None = None, table: str | None = None
    ) -> list[Batch]:
        where = "seq > ?" + (" AND tenant = ?" if tenant is not None else "")
        where += " AND name = ?" if table is not None else ""
        params = (seq, *(each for each in (tenant, table) if each is not None))
        return await self.read(lambda db: _read_after(db, where, params, limit_rows, limit_bytes))

    async def drop_through(self, seq: int) -> int:
        dropped = 0
        while count := await self.write(lambda db, clock: _drop(db, seq)):
            dropped += count
        return dropped

    async def head(self) -> int:
        return await self.read(lambda db: int(db.rows("SELECT seq FROM lake_clock")[0][0]))

    async def erase(self, tenant: str) -> int:
        _check_tenant(tenant)
        await self.write(lambda db, clock: db.run("DELETE FROM lake_marks WHERE tenant = ?", (tenant,)))
        rows = 0
        while counts := await self.write(lambda db, clock: _erase(db, tenant)):
            rows += sum(counts)
        # The batches first: a flush that has read them finds them gone when it would name its files.
        return rows + await self.write(lambda db, clock: _forsake(db, tenant))

    async def sizes(self) -> Sizes:
        sums = ", ".join(f"coalesce(sum({what}), 0)" for what in ("1", "row_count", "plain_bytes", "length(data)"))
        sql = f"SELECT {sums} FROM lake_batches"
        found = await self.read(lambda db: db.rows(sql))
        return Sizes(*(int(number) for number in found[0]))


def _check_tenant(tenant: str) -> None:
    if not tenant or len(tenant) > 200 or "\0" in tenant:
        raise BadRequest("events belong to a tenant: its id has 1 to 200 characters")


def _params(seq: int, tenant: str, one: Packed) -> tuple[Any, ...]:
    return (seq, tenant, one.table, one.count, one.first, one.last, one.fields, one.plain_bytes, one.data)


def _known(db: Db, tenant: str, part: Span) -> int | None:
    """The number of then, if the stage has appended this part before."""
    found = db.rows("SELECT position, seq FROM lake_marks WHERE tenant = ? AND stage = ?", (tenant, part.stage))
    if not found or found[0][0] < part.first:
        return None
    position, seq = found[0]
    if position < part.last:
        raise Conflict(f"{part.stage} has appended up to {position}: leave out what stands before, from {part.first}")
    return int(seq)


def _read_after(db: Db, where: str, params: Sequence[Any], limit_rows: int, limit_bytes: int) -> list[Batch]:
    """Sizes first, so that no more is read than fits. What is dropped between the two statements is not missed.

    `where` is put together from the program's own words; values are parameters.
    """
    wanted = max(1, min(limit_rows, MAX_READ_BATCHES))
    sized = f"SELECT seq, row_count, plain_bytes FROM lake_batches WHERE {where} ORDER BY seq LIMIT ?"
    found = db.rows(sized, (*params, wanted))
    last, rows, size = None, 0, 0
    for seq, count, plain_bytes in found:
        rows, size = rows + count, size + plain_bytes
        if last is not None and (rows > limit_rows or size > limit_bytes):
            break
        last = seq
    if last is None:
        return []
    whole = f"SELECT {_BATCH} FROM lake_batches WHERE {where} AND seq <= ? ORDER BY seq"
    return [Batch(*row) for row in db.rows(whole, (*params, last))]


def _drop(db: Db, seq: int) -> int:
    return db.run(
        "DELETE FROM lake_batches WHERE seq IN (SELECT seq FROM lake_batches WHERE seq <= ? ORDER BY seq LIMIT ?)",
        (seq, DROP_BATCHES),
    )


def _forsake(db: Db, tenant: str) -> int:
    """The tenant's files are nobody's from now on; how many rows they hold."""
    rows = int(db.rows("SELECT coalesce(sum(row_count), 0) FROM lake_files WHERE tenant = ?", (tenant,))[0][0])
    db.run("INSERT INTO lake_gone (path, due_s) SELECT path, 0 FROM lake_files WHERE tenant = ?", (tenant,))
    db.run("DELETE FROM lake_files WHERE tenant = ?", (tenant,))
    return rows


def _erase(db: Db, tenant: str) -> list[int]:
    """Some of the tenant's batches; how many rows each had that are in no file."""
    found = db.rows(
        "SELECT seq, row_count FROM lake_batches WHERE tenant = ? ORDER BY seq LIMIT ?", (tenant, DROP_BATCHES)
    )
    if found:
        db.run("DELETE FROM lake_batches WHERE tenant = ? AND seq <= ?", (tenant, found[-1][0]))
    flushed = position(db, FLUSHER)
    return [int(count) if seq > flushed else 0 for seq, count in found]
