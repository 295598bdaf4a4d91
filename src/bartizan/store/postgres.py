"""The store on PostgreSQL 15 or later, for several machines: the same tables, texts and promises as on SQLite.

Every writing transaction first takes one advisory lock and holds it until it has committed, so that changes become
visible in the order of their numbers, from however many processes they come.

Source: PostgreSQL 15, 9.27.10 (advisory locks: a transaction's are released after it has become visible), 13.2.1
(Read Committed: each statement sees what was committed before it began); psycopg 3.
"""

import asyncio
import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import structlog

from bartizan.errors import BartizanError, Conflict, InvalidQuery, NotServed, StorageFull, Timeout, Unavailable
from bartizan.store.engine import SLOW_READ, Limits, SqlStore
from bartizan.store.interface import Collection
from bartizan.store.owners import ProcessOwners
from bartizan.store.schema import Release
from bartizan.store.sql import POSTGRES, Db, Params, cleaned
from bartizan.store.tx import Clock, wall
from bartizan.store.writer import Busy, Unknown

try:
    import psycopg
    from psycopg import errors as pg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
except ImportError as missing:  # an extra: SQLite needs none
    raise ImportError("PostgreSQL needs an extra package: pip install 'bartizan[postgres]'") from missing

T = TypeVar("T")

OLDEST = 150_000  # PostgreSQL 15
WRITERS = 0x6261727469  # the advisory lock that orders all writers of a database
RETRY_S = 0.2
SAVEPOINT = "SAVEPOINT request"
MAX_POSTED = 200  # statements of one round trip
# Each statement is made for one plan: along an index, in its order, by nested loops (see `store.plan`). Left to itself
# and without fresh statistics the planner sorts or hashes whole tables to answer a page. A plan for any tenant and any
# value is a bad one for most, so that none is kept.
PLANNER = {
    "plan_cache_mode": "force_custom_plan",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    **{
        f"enable_{way}": "off"
        for way in ("seqscan", "bitmapscan", "sort", "incremental_sort", "hashjoin", "mergejoin", "hashagg")
    },
}

# A server that falls silent (its machine or the way to it is gone) is noticed within 25 s, not after the hours that
# the system waits. The DSN may say otherwise.
NOTICE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}

log = structlog.get_logger(__name__)

Connection = psycopg.Connection[tuple[Any, ...]]


class PostgresDb:
    """One connection. Each statement is a transaction of its own unless one has been begun.

    Posted statements wait for the next one that has an answer and travel with it, in one round trip.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._posted: list[tuple[bytes, Params | None]] = []

    def rows(self, sql: str, params: Params = ()) -> list[tuple[Any, ...]]:
        return self._execute(sql, cleaned(params), binary=True).fetchall()

    def rows_within(self, sql: str, params: Params, seconds: float) -> list[tuple[Any, ...]] | None:
        """Within a transaction there is no bound of its own: what is cancelled would end it."""
        if self._posted or self.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            return self.rows(sql, params)
        self.post("BEGIN")
        self.post(f"SET LOCAL statement_timeout = {max(1, int(seconds * 1000))}")
        try:
            found = self.rows(sql, params)
        except pg.QueryCanceled:
            self.run("ROLLBACK")
            return None
        except psycopg.Error:
            if not self.connection.closed:
                self.run("ROLLBACK")
            raise
        self.run("COMMIT")
        return found

    def run(self, sql: str, params: Params = ()) -> int:
        return self._execute(sql, params, binary=False).rowcount

    def post(self, sql: str, params: Params = ()) -> None:
        self._posted.append((_text(sql), params or None))
        if len(self._posted) >= MAX_POSTED:
            self.run("SELECT 1")

    def many(self, sql: str, params: Iterable[Params]) -> None:
        for row in params:
            self.post(sql, row)

    def unhurried(self) -> None:
        self.post("SET LOCAL statement_timeout = 0")

    def forget(self, since: str = "") -> bool:
        """Drops what was posted and has not gone out; whether `since` was among it (then only from there on)."""
        places = [place for place, (text, _) in enumerate(self._posted) if text == since.encode()]
        del self._posted[places[-1] if places else 0 :]
        return bool(places)

    def _execute(self, sql: str, params: Params, *, binary: bool) -> psycopg.Cursor[tuple[Any, ...]]:
        posted, self._posted = self._posted, []
        cursor = self.connection.cursor(binary=binary)
        if not posted:
            return cursor.execute(_text(sql), params or None)
        with self.connection.pipeline():
            for text, values in posted:
                self.connection.execute(text, values)
            cursor.execute(_text(sql), params or None)
        return cursor


def _text(sql: str) -> bytes:
    """psycopg takes bytes where the statement is not a literal of the program."""
    return POSTGRES.native(sql).encode()


def connect(dsn: str, limits: Limits, *, writes: bool, statement_s: float) -> PostgresDb:
    settings = {
        **PLANNER,
        "statement_timeout": f"{int(statement_s * 1000)}",
        "lock_timeout": f"{int(limits.lock_s * 1000)}",
        "default_transaction_read_only": "off" if writes else "on",
        "default_transaction_isolation": "'read committed'",
        "synchronous_commit": "on" if limits.synced else "off",
        "client_encoding": "'UTF8'",
        "timezone": "'UTC'",
    }
    told = conninfo_to_dict(dsn)
    bounds = {"connect_timeout": max(2, int(limits.connect_s)), **NOTICE}
    full = make_conninfo(dsn, **{name: value for name, value in bounds.items() if name not in told})
    connection: Connection = psycopg.connect(full, autocommit=True)
    try:
        connection.execute(_text("; ".join(f"SET {name} = {value}" for name, value in settings.items())))
    except BaseException:
        connection.close()
        raise
    return PostgresDb(connection)


class PostgresPen:
    """The writing connection; opened again when it was lost."""

    def __init__(self, dsn: str, limits: Limits, now: Callable[[], int]) -> None:
        self._dsn = dsn
        self._limits = limits
        self._now = now
        self._db: PostgresDb | None = None
        self._owner = uuid.uuid4().hex
        self._group = 0
        self._check()

    def _check(self) -> None:
        connection = self._open().connection
        if connection.info.server_version < OLDEST:
            raise Unavailable(
                f"PostgreSQL {OLDEST // 10_000} or later is needed; this is {connection.info.server_version}"
            )
        encoding = self.db.rows("SHOW server_encoding")[0][0]
        if encoding != "UTF8":
            raise Unavailable(f"the database must have encoding UTF8; this one has {encoding}")

    def _open(self) -> PostgresDb:
        if self._db is not None and self._db.connection.closed:
            self._db = None
        if self._db is None:
            self._db = connect(self._dsn, self._limits, writes=True, statement_s=self._limits.work_s)
            with contextlib.suppress(pg.InvalidParameterValue):  # a server that was built without lz4
                self._db.run("SET default_toast_compression = 'lz4'")
        return self._db

    @property
    def db(self) -> Db:
        return self._open()

    def lock(self) -> None:
        """The lock first, in a statement of its own: the next one sees what its last holder has committed."""
        db = self._open()
        try:
            self._lock(db)
        except psycopg.Error:
            if not db.connection.closed:
                raise
            self._lock(self._open())  # it was lost while nothing was under way

    @staticmethod
    def _lock(db: PostgresDb) -> None:
        db.post("BEGIN")
        db.run(f"SELECT pg_advisory_xact_lock({WRITERS})")

    def begin(self) -> Clock:
        """In one round trip: statements begin one after the other, and each sees what is committed by then."""
        try:
            return self._begun(self._open())
        except psycopg.Error:
            if self._db is not None and not self._db.connection.closed:
                raise
            return self._begun(self._open())

    def _begun(self, db: PostgresDb) -> Clock:
        db.post("BEGIN")
        db.post(f"SELECT pg_advisory_xact_lock({WRITERS})")
        return Clock(db, self._now)

    def savepoint(self) -> None:
        self._open().post(SAVEPOINT)

    def release(self) -> None:
        self._open().run("RELEASE request")

    def undo(self) -> None:
        db = self._open()
        if not db.forget(SAVEPOINT):
            db.run("ROLLBACK TO request; RELEASE request")

    def commit(self, clock: Clock) -> bool:
        """If the connection is lost under way, a row that the transaction writes tells whether it was committed."""
        db = self._open()
        grown = clock.save(db)
        self._group += 1
        db.post(
            f"INSERT INTO writers (owner, last, at) VALUES ($?, $?, {POSTGRES.clock_s}) "
            "ON CONFLICT (owner) DO UPDATE SET last = excluded.last, at = excluded.at",
            (self._owner, self._group),
        )
        try:
            db.run("COMMIT")
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if not db.connection.closed or not self._committed(error):
                raise
        return grown

    def _committed(self, error: psycopg.Error) -> bool:
        """Asked under the lock: the lost transaction held it, so that it has ended when we have it."""
        log.warning("store.postgres.commit_lost", error=str(error))
        end = time.monotonic() + self._limits.lock_s
        while True:
            try:
                self.lock()
                rows = self.db.rows("SELECT last FROM writers WHERE owner = $?", (self._owner,))
                self.abort()
                return bool(rows) and int(rows[0][0]) == self._group
            except psycopg.Error as again:
                self.abort()
                if time.monotonic() > end:
                    told = "the database was lost while a change was being stored: it may or may not be there"
                    raise Unknown(told) from again
                time.sleep(RETRY_S)

    def abort(self) -> None:
        db = self._db
        if db is None:
            return
        db.forget()
        try:
            if not db.connection.closed:
                db.run("ROLLBACK")
                return
        except psycopg.Error:
            log.warning("store.postgres.reopen", exc_info=True)
        self.close()

    def explain(self, error: BaseException) -> tuple[BartizanError | None, bool]:
        lost = self._db is not None and self._db.connection.closed
        return explained(error, self._limits.work_s), bool(lost) and isinstance(error, psycopg.Error)

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(psycopg.Error):
                db.connection.close()


def explained(error: BaseException, limit_s: float) -> BartizanError | None:
    """PostgreSQL's errors as ours; None for what is not PostgreSQL's or a fault of the program."""
    if isinstance(error, BartizanError):
        return error
    if isinstance(error, pg.DiskFull):
        return StorageFull("the database's disk is full: nothing was stored; free some space, no repair is needed")
    if isinstance(error, pg.QueryCanceled):
        return Timeout(SLOW_READ.format(limit=limit_s))
    if isinstance(error, pg.LockNotAvailable):
        return Busy("another process is writing for too long; try again", retry_after_s=2)
    if isinstance(error, pg.ReadOnlySqlTransaction):
        return Unavailable("the database is read-only for the moment", retry_after_s=10)
    if isinstance(error, pg.UniqueViolation):
        return Conflict(f"another object has the same unique value ({error.diag.constraint_name})")
    if isinstance(error, pg.InsufficientPrivilege):
        return Unavailable(f"the database's user may not do that: {error.diag.message_primary}", retry_after_s=60)
    if isinstance(error, pg.DataError):
        return InvalidQuery(
            f"Invalid filter clause: it cannot be computed on what is stored: {error.diag.message_primary}"
        )
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return Unavailable("the database cannot be reached for the moment", retry_after_s=2)
    return None


class PostgresStore(SqlStore):
    """`dsn` is a libpq connection string or URI."""

    def __init__(
        self,
        dsn: str,
        collections: Sequence[Collection],
        limits: Limits | None = None,
        now: Callable[[], int] = wall,
        release: Release | None = None,
    ) -> None:
        super().__init__(POSTGRES, collections, limits or Limits(), ProcessOwners(), now, release)
        self._dsn = dsn
        self._local = threading.local()
        self._readers: list[PostgresDb] = []
        self._guard = threading.Lock()
        self._threads = ThreadPoolExecutor(self.limits.readers, "bartizan-read")

    def _open_pen(self) -> PostgresPen:
        return PostgresPen(self._dsn, self.limits, self.now)

    def explained(self, error: BaseException) -> BartizanError | None:
        return explained(error, self.limits.read_s)

    async def read(self, work: Callable[[Db], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._bounded, work)
        except psycopg.Error as error:
            raise self.explained(error) or error from error

    def _bounded(self, work: Callable[[Db], T]) -> T:
        """A read whose connection was lost runs once more."""
        db: PostgresDb | None = getattr(self._local, "db", None)
        if db is not None:
            try:
                return work(db)
            except psycopg.Error:
                if not db.connection.closed:
                    raise
                self._drop(db)
        return work(self._connected())

    def _connected(self) -> PostgresDb:
        db = connect(self._dsn, self.limits, writes=False, statement_s=self.limits.read_s)
        self._local.db = db
        with self._guard:
            self._readers.append(db)
        return db

    def _drop(self, db: PostgresDb) -> None:
        self._local.db = None
        with self._guard:
            self._readers.remove(db)
        db.connection.close()

    def _close_readers(self) -> None:
        self._threads.shutdown()
        with self._guard:
            readers, self._readers = self._readers, []
        for db in readers:
            db.connection.close()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Db]:
        db = connect(self._dsn, self.limits, writes=False, statement_s=0)
        try:
            db.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield db
        finally:
            db.connection.close()

    async def backup(self, path: str) -> None:
        raise NotServed("a PostgreSQL database is backed up by its own tools: pg_dump, or a base backup with its log")
