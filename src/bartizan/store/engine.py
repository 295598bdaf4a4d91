"""The store on an SQL engine, but for what an engine does its own way: connections, locks, errors."""

import asyncio
import contextlib
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from msgspec import Struct

from bartizan.errors import BartizanError, Timeout
from bartizan.odata.tree import Expr
from bartizan.store import entities, learned, read, schema, upkeep
from bartizan.store.interface import Ahead, Change, Collection, Page, Query, Span, Stored, Tx
from bartizan.store.owners import Owners
from bartizan.store.schema import Release
from bartizan.store.sql import Db, Dialect, tables
from bartizan.store.tail import Tail
from bartizan.store.tx import Clock, SqlTx, advance, wall
from bartizan.store.writer import Bounds, Pen, Work, Writer

T = TypeVar("T")

SLOW_READ = (
    "the query took longer than {limit:g} s: "
    "filter by an indexed property (such as createdDateTime) or ask for fewer rows"
)
POLL_S = 0.15  # how long a commit of another process may go unnoticed
MAX_FEED_ROWS = 10_000  # of one answer of changes()
AHEAD_IDS = 20  # documents of one read with all their texts: some half a millisecond of the event loop


class Limits(Struct, frozen=True):
    """Bounds of a store. Times in seconds."""

    read_s: float = 10.0  # a read that takes longer is a Timeout
    inline_ms: float = 4.0  # SQLite: a read that takes longer moves from the event loop to a thread
    work_s: float = 10.0  # the statements of one write
    lock_s: float = 15.0  # waiting for another process's write
    connect_s: float = 10.0  # PostgreSQL: a connection
    readers: int = 4  # threads and connections for reads that do not end at once
    group_requests: int = 256  # writes of one commit
    group_ms: float = 20.0
    queue: int = 10_000  # writes that may wait; of one tenant a quarter of it
    synced: bool = True  # False: a commit may be lost to a power cut, with all later ones; one that is synced saves it
    learns: bool = True  # False: orders that are learned are not used, and none is begun (see `store.learned`)
    feed_keep: timedelta = timedelta(days=7)  # changes are kept that long, and until every cursor has passed them


class SqlStore(ABC):
    """A `Store`. Start it before anything else; close it at the end."""

    def __init__(
        self,
        dialect: Dialect,
        collections: Sequence[Collection],
        limits: Limits,
        owners: Owners,
        now: Callable[[], int] = wall,
        release: Release | None = None,
    ) -> None:
        self.dialect = dialect
        self.limits = limits
        self.now = now
        self._owners = owners
        self._release = release or Release()
        self.tables = tables(collections, dialect)
        self.sets = {name: read.read_set(table, learns=limits.learns) for name, table in self.tables.items()}
        self._writer: Writer | None = None
        self.learner = learned.Learner(self)
        self._tail = Tail()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._waiting_lock = threading.Lock()

    # ------------------------------------------------------------ what an engine does its own way

    @abstractmethod
    def _open_pen(self) -> Pen:
        """The writing connection. Unavailable where there is no database to be had."""

    @abstractmethod
    def explained(self, error: BaseException) -> BartizanError | None:
        """The engine's errors as ours; None for what is not the engine's, or a fault of the program."""

    @abstractmethod
    async def read(self, work: Callable[[Db], T]) -> T:
        """Runs a read within the bounds. Timeout, Unavailable."""

    @abstractmethod
    def snapshot(self) -> contextlib.AbstractContextManager[Db]:
        """A connection that sees one moment, for the thread that opens it."""

    @abstractmethod
    async def backup(self, path: str) -> None: ...

    @abstractmethod
    def _close_readers(self) -> None: ...

    # ------------------------------------------------------------ life

    async def start(self) -> None:
        self._writer, pairs = await asyncio.to_thread(self._start)
        self.learner.resume(pairs)

    def _start(self) -> tuple[Writer, list[learned.Pair]]:
        pen: Pen | None = None
        try:
            pen = self._open_pen()
            schema.prepare(pen, self.dialect, self.tables.values(), self._release)
            pairs = learned.pairs(pen.db)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again, as ours where it is an engine's
            if pen is not None:
                pen.close()
            raise self.explained(error) or error from None
        limits = self.limits
        bounds = Bounds(group_requests=limits.group_requests, group_s=limits.group_ms / 1000, queue=limits.queue)
        return Writer(pen, bounds, self._grown), pairs

    async def close(self) -> None:
        await self.learner.close()
        writer, self._writer = self._writer, None
        if writer is not None:
            await asyncio.to_thread(writer.close)
        self._grown()
        self._owners.close()
        await asyncio.to_thread(self._close_readers)

    async def ready(self) -> bool:
        if self._writer is None or not self._writer.alive:
            return False
        await self.read(read.head)
        return True

    def tenant(self, tenant: str) -> "SqlTenant":
        return SqlTenant(self, tenant)

    async def write(self, work: Work[T], lane: str = "", *, bulk: bool = False) -> T:
        """For the rooms of the store: any tenant's rows. Lanes take turns."""
        if self._writer is None:
            raise RuntimeError("the store has not been started")
        return await self._writer.run(work, lane, bulk=bulk)

    # ------------------------------------------------------------ feed

    async def changes(
        self, after: int, *, limit: int, collections: Sequence[str] | None = None, tenant: str | None = None
    ) -> list[Change]:
        wanted = min(limit, MAX_FEED_ROWS)
        return await self.read(lambda db: read.changes(db, after, wanted, collections, tenant, self._tail))

    async def place(self, cursor: str) -> tuple[int | None, int]:
        return await self.read(lambda db: read.place(db, cursor))

    async def head(self) -> int:
        return await self.read(read.head)

    async def floor(self) -> int:
        return await self.read(read.floor)

    async def changed(self) -> None:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        entry = (loop, future)
        with self._waiting_lock:
            self._waiting.append(entry)
        try:
            await asyncio.wait([future], timeout=POLL_S)
        finally:
            with self._waiting_lock, contextlib.suppress(ValueError):
                self._waiting.remove(entry)

    def _grown(self) -> None:
        with self._waiting_lock:
            waiting, self._waiting = self._waiting, []
        for loop, future in waiting:
            with contextlib.suppress(RuntimeError):  # a loop that has been closed waits no more
                loop.call_soon_threadsafe(_resolve, future)

    async def cursor(self, name: str) -> int | None:
        rows = await self.read(lambda db: db.rows("SELECT seq FROM cursors WHERE name = $?", (name,)))
        return int(rows[0][0]) if rows else None

    async def advance(self, name: str, seq: int) -> None:
        await self.write(lambda db, clock: advance(db, name, seq))

    async def drop_cursor(self, name: str) -> None:
        await self.write(lambda db, clock: db.run("DELETE FROM cursors WHERE name = $?", (name,)))

    def owner(self) -> str:
        return self._owners.new()

    async def lease(self, name: str, owner: str, *, seconds: float) -> bool:
        now = self.dialect.clock_s
        asked = f"SELECT owner, until > {now} FROM leases WHERE name = $?"
        found = await self.read(lambda db: db.rows(asked, (name,)))  # who waits takes no lock
        ended = owner
        if found and found[0][0] != owner and found[0][1]:
            ended = found[0][0]
            if not self._owners.ended(ended):
                return False

        def take(db: Db, clock: Clock) -> bool:
            return (
                db.run(
                    f"INSERT INTO leases (name, owner, until) VALUES ($?, $?, {now} + $?) ON CONFLICT (name) DO UPDATE "
                    "SET owner = excluded.owner, until = excluded.until "
                    f"WHERE leases.owner IN (excluded.owner, $?) OR leases.until <= {now}",
                    (name, owner, seconds, ended),
                )
                > 0
            )

        return await self.write(take)

    async def release(self, name: str, owner: str) -> None:
        await self.write(lambda db, clock: db.run("DELETE FROM leases WHERE name = $? AND owner = $?", (name, owner)))

    # ------------------------------------------------------------ upkeep

    async def learn(self, collection: str, filtered: str, ordered: str) -> None:
        of = self.sets.get(collection)
        if of is None:
            raise ValueError(f"no collection is named '{collection}'")
        await self.learner.learn(of, filtered, ordered)

    async def retain(self, now: datetime) -> int:
        return await upkeep.retain(self, now)

    def export(self, tenant: str) -> AsyncIterator[bytes]:
        return upkeep.export(self, tenant)

    async def restore(self, tenant: str, lines: Iterable[bytes]) -> int:
        return await upkeep.restore(self, tenant, lines)

    async def erase(self, tenant: str) -> int:
        return await upkeep.erase(self, tenant)


class SqlTenant:
    """A `TenantStore`: the tenant goes into every statement."""

    def __init__(self, store: SqlStore, tenant: str) -> None:
        if not tenant or "\0" in tenant:
            raise ValueError("a tenant has a name")
        self.tenant = tenant
        self._store = store
        self._sets = store.sets

    async def get(self, collection: str, id: str) -> Stored | None:
        of, tenant = self._sets[collection], self.tenant
        if "\0" in id:
            return None
        return await self._store.read(lambda db: read.get(db, of, tenant, id))

    async def ahead(self, collection: str, ids: Sequence[str]) -> dict[str, Ahead]:
        of, tenant = self._sets[collection], self.tenant
        found: dict[str, Ahead] = {}
        for start in range(0, len(ids), AHEAD_IDS):
            some = ids[start : start + AHEAD_IDS]
            found |= await self._store.read(partial(read.ahead, of=of, tenant=tenant, ids=some))
        return found

    async def lookup(self, collection: str, column: str, value: str) -> Stored | None:
        of, tenant = self._sets[collection], self.tenant
        return await self._store.read(lambda db: read.lookup(db, of, tenant, column, value))

    async def page(self, collection: str, query: Query) -> Page:
        of, tenant = self._sets[collection], self.tenant
        try:
            return await self._store.read(lambda db: read.page(db, of, tenant, query))
        except Timeout as error:
            raise self._too_slow(of) from error
        finally:
            self._store.learner.heed(of)

    async def count(self, collection: str, filter: Expr | None = None) -> int:
        of, tenant, query = self._sets[collection], self.tenant, Query(0, filter)
        try:
            return await self._store.read(lambda db: read.count(db, of, tenant, query))
        except Timeout as error:
            raise self._too_slow(of) from error

    def _too_slow(self, of: read.Set) -> Timeout:
        columns = of.table.columns
        times = [column.path for column in columns if column.index and column.kind == "instant"]
        first = next((path for path, _ in of.table.collection.order if path in times), next(iter(times), None))
        ways = [f"narrow it by time ({first} ge 2026-01-31T00:00:00Z)"] if first else []
        others = sorted(column.path for column in columns if column.index and column.path not in times)
        ways += [f"filter by more of {', '.join(others)}"] if others else []
        asked = "; or ".join([*ways, "leave out the order and the count"])
        return Timeout(f"the query took longer than {self._store.limits.read_s:g} s: {asked}")

    async def related(
        self, relation: str, source: str, *, limit: int, after: tuple[str, str] | None = None
    ) -> list[tuple[str, str]]:
        tenant = self.tenant
        return await self._store.read(lambda db: read.related(db, tenant, relation, source, limit, after))

    async def relating(
        self, relation: str, target_collection: str, target: str, *, limit: int, after: str | None = None
    ) -> list[str]:
        tenant = self.tenant
        return await self._store.read(
            lambda db: read.relating(db, tenant, relation, target_collection, target, limit, after)
        )

    async def attachment(self, collection: str, id: str, name: str) -> bytes | None:
        tenant = self.tenant
        return await self._store.read(lambda db: read.attachment(db, tenant, collection, id, name))

    async def entity(
        self,
        kind: str,
        value: str,
        *,
        collection: str | None = None,
        limit: int = 1000,
        since: str | None = None,
        before: str | None = None,
    ) -> list[tuple[str, str, str, str]]:
        tenant, dialect = self.tenant, self._store.dialect
        among = list(self._sets) if collection is None else [collection]
        return await self._store.read(
            lambda db: entities.entity(db, dialect, tenant, kind, value, among, limit, since, before)
        )

    async def entities_of(self, collection: str, ids: Sequence[str]) -> dict[str, list[tuple[str, str, str]]]:
        tenant, table = self.tenant, self._sets[collection].table
        return await self._store.read(lambda db: entities.entities_of(db, table, tenant, ids))

    async def spans(
        self, asked: Sequence[tuple[str, str]], *, collections: Sequence[str], most: int
    ) -> list[Mapping[str, Span]]:
        tenant, dialect = self.tenant, self._store.dialect
        return await self._store.read(lambda db: entities.spans(db, dialect, tenant, asked, collections, most))

    async def there(self, asked: Sequence[tuple[str, str]], *, collections: Sequence[str]) -> set[tuple[str, str]]:
        tenant = self.tenant
        return await self._store.read(lambda db: entities.there(db, tenant, asked, collections))

    async def values(
        self, kind: str, *, collections: Sequence[str], prefix: str = "", after: str = "", limit: int = 100
    ) -> list[str]:
        tenant = self.tenant
        return await self._store.read(lambda db: entities.values(db, tenant, kind, collections, prefix, after, limit))

    async def value(self, key: str) -> bytes | None:
        tenant = self.tenant
        return await self._store.read(lambda db: read.value(db, tenant, key))

    async def write(self, work: Callable[[Tx], T], *, actor: str, bulk: bool = False) -> T:
        sets, tenant = self._sets, self.tenant

        def step(db: Db, clock: Clock) -> T:
            tx = SqlTx(db, clock, sets, tenant, actor)
            result = work(tx)
            tx.finish()
            return result

        return await self._store.write(step, tenant, bulk=bulk)


def _resolve(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
