"""The lake's buffer on PostgreSQL 15 or later, for several machines: the same tables and promises as on SQLite.

Every writing transaction first takes one advisory lock and holds it until it has committed, so that batches become
visible in the order of their numbers, from however many processes they come.

Source: PostgreSQL 15, 9.27.10 (advisory locks: a transaction's are released after it has become visible), 13.2.1
(Read Committed: each statement sees what was committed before it began); psycopg 3.
"""

import contextlib
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

import structlog

from bartizan.errors import BartizanError, NotServed, StorageFull, Timeout, Unavailable
from bartizan.lake.engine import FORMAT, OLDER, Limits, SqlLake
from bartizan.lake.writer import Clock, Db, Params, Unknown

try:
    import psycopg
    from psycopg import errors as pg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo
except ImportError as missing:  # an extra: SQLite needs none
    raise ImportError("PostgreSQL needs an extra package: pip install 'bartizan[postgres]'") from missing

T = TypeVar("T")

OLDEST = 150_000  # PostgreSQL 15
WRITERS = 0x6C616B65  # the advisory lock that orders all writers of a buffer; the store has its own
RETRY_S = 0.2
FORGET_S = 86_400  # a writer that has been silent for so long asks no more what became of its commit

_TABLES = (
    """CREATE TABLE IF NOT EXISTS lake_clock (
        one int PRIMARY KEY CHECK (one = 1), format int NOT NULL, seq bigint NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS lake_batches (
        seq bigint PRIMARY KEY, tenant text COLLATE "C" NOT NULL, name text COLLATE "C" NOT NULL,
        row_count int NOT NULL, first_time text COLLATE "C", last_time text COLLATE "C",
        plain_bytes bigint NOT NULL, data bytea NOT NULL)""",
    "ALTER TABLE lake_batches ALTER COLUMN data SET STORAGE EXTERNAL",  # it is compressed already
    "CREATE INDEX IF NOT EXISTS lake_batches_tenant ON lake_batches (tenant, name, seq)",
    """CREATE TABLE IF NOT EXISTS lake_marks (
        tenant text COLLATE "C" NOT NULL, stage text COLLATE "C" NOT NULL,
        position bigint NOT NULL, seq bigint NOT NULL, PRIMARY KEY (tenant, stage))""",
    "CREATE TABLE IF NOT EXISTS lake_writers (owner text PRIMARY KEY, last bigint NOT NULL, at timestamptz NOT NULL)",
    "ALTER TABLE lake_batches ADD COLUMN IF NOT EXISTS fields text",
    'CREATE TABLE IF NOT EXISTS lake_cursors (name text COLLATE "C" PRIMARY KEY, position bigint NOT NULL)',
    """CREATE TABLE IF NOT EXISTS lake_files (
        path text COLLATE "C" PRIMARY KEY, tenant text COLLATE "C" NOT NULL, name text COLLATE "C" NOT NULL,
        day text COLLATE "C" NOT NULL, level int NOT NULL, first_us bigint, last_us bigint, row_count bigint NOT NULL,
        bytes bigint NOT NULL, through bigint NOT NULL, written_s bigint NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS lake_files_tenant ON lake_files (tenant, name, day)",
    'CREATE TABLE IF NOT EXISTS lake_gone (path text COLLATE "C" PRIMARY KEY, due_s bigint NOT NULL)',
)

# A server that falls silent is noticed within 25 s, as by the store; the DSN may say otherwise.
NOTICE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}

log = structlog.get_logger(__name__)

Connection = psycopg.Connection[tuple[Any, ...]]


@lru_cache(maxsize=256)
def _text(sql: str) -> bytes:
    """psycopg takes bytes where the statement is not a literal of the program."""
    return sql.replace("?", "%s").encode()


class PostgresDb:
    """One connection. Each statement is a transaction of its own unless one has been begun."""

    def __init__(self, dsn: str, limits: Limits, *, writes: bool) -> None:
        statement_s = limits.work_s if writes else limits.read_s
        settings = {
            "statement_timeout": f"{int(statement_s * 1000)}",
            "lock_timeout": f"{int(limits.lock_s * 1000)}",
            "default_transaction_read_only": "off" if writes else "on",
            "default_transaction_isolation": "'read committed'",
            "synchronous_commit": "on",
            "client_encoding": "'UTF8'",
            "client_min_messages": "warning",
        }
        told = conninfo_to_dict(dsn)
        bounds = {"connect_timeout": max(2, int(limits.connect_s)), **NOTICE}
        full = make_conninfo(dsn, **{name: value for name, value in bounds.items() if name not in told})
        self.connection: Connection = psycopg.connect(full, autocommit=True)
        try:
            self.run("; ".join(f"SET {name} = {value}" for name, value in settings.items()))
        except BaseException:
            self.connection.close()
            raise

    def rows(self, sql: str, params: Params = ()) -> list[tuple[Any, ...]]:
        with self.connection.cursor(binary=True) as cursor:
            return cursor.execute(_text(sql), params or None).fetchall()

    def run(self, sql: str, params: Params = ()) -> int:
        with self.connection.cursor() as cursor:
            return cursor.execute(_text(sql), params or None).rowcount

    def many(self, sql: str, params: Sequence[Params]) -> None:
        if params:
            with self.connection.cursor() as cursor:
                cursor.executemany(_text(sql), params)


class PostgresPen:
    """The writing connection; opened again when it was lost."""

    def __init__(self, dsn: str, limits: Limits) -> None:
        self._dsn = dsn
        self._limits = limits
        self._db: PostgresDb | None = None
        self._owner = uuid.uuid4().hex
        self._group = 0

    @property
    def db(self) -> PostgresDb:
        if self._db is not None and self._db.connection.closed:
            self._db = None
        if self._db is None:
            self._db = PostgresDb(self._dsn, self._limits, writes=True)
        return self._db

    @property
    def db_lost(self) -> bool:
        return self._db is not None and bool(self._db.connection.closed)

    def create(self) -> None:
        """The tables, unless they are there. Of several processes one makes them and the others wait."""
        version = self.db.connection.info.server_version
        if version < OLDEST:
            raise Unavailable(f"PostgreSQL {OLDEST // 10_000} or later is needed; this is {version}")
        self._lock()
        for statement in _TABLES:
            self.db.run(statement)
        self.db.run("INSERT INTO lake_clock VALUES (1, ?, 0) ON CONFLICT (one) DO NOTHING", (FORMAT,))
        self.db.run("DELETE FROM lake_writers WHERE at < now() - make_interval(secs => ?)", (FORGET_S,))
        self.db.run("UPDATE lake_clock SET format = ? WHERE format = ?", (FORMAT, OLDER))
        known = self.db.rows("SELECT format FROM lake_clock")[0][0]
        self.db.run("COMMIT")
        if known != FORMAT:
            raise Unavailable(f"the lake's buffer has format {known}; this program knows {FORMAT}: update it")

    def _lock(self) -> None:
        """The lock first, in a statement of its own: the next one sees what its last holder has committed."""
        self.db.run(f"BEGIN; SELECT pg_advisory_xact_lock({WRITERS})")

    def begin(self) -> Clock:
        """A connection that was lost while nothing was under way is opened again."""
        try:
            self._lock()
        except (psycopg.OperationalError, psycopg.InterfaceError):
            if not self.db_lost:
                raise
            self._lock()
        return Clock(self.db.rows("SELECT seq FROM lake_clock")[0][0])

    def commit(self, clock: Clock) -> None:
        """If the connection is lost under way, a row that the transaction writes tells whether it was committed."""
        db = self.db
        self._group += 1
        db.run("UPDATE lake_clock SET seq = ? WHERE seq <> ?", (clock.seq, clock.seq))
        db.run(
            "INSERT INTO lake_writers (owner, last, at) VALUES (?, ?, now()) "
            "ON CONFLICT (owner) DO UPDATE SET last = excluded.last, at = excluded.at",
            (self._owner, self._group),
        )
        try:
            db.run("COMMIT")
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            if not db.connection.closed or not self._committed(error):
                raise

    def _committed(self, error: psycopg.Error) -> bool:
        """Asked under the lock: the lost transaction held it, so that it has ended when we have it."""
        log.warning("lake.postgres.commit_lost", error=str(error))
        end = time.monotonic() + self._limits.lock_s
        while True:
            try:
                self._lock()
                rows = self.db.rows("SELECT last FROM lake_writers WHERE owner = ?", (self._owner,))
                self.abort()
                return bool(rows) and int(rows[0][0]) == self._group
            except psycopg.Error as again:
                self.abort()
                if time.monotonic() > end:
                    told = "the database was lost while events were being stored: they may or may not be there"
                    raise Unknown(told) from again
                time.sleep(RETRY_S)

    def abort(self) -> None:
        db = self._db
        if db is None:
            return
        try:
            if not db.connection.closed:
                db.run("ROLLBACK")
                return
        except psycopg.Error:
            log.warning("lake.postgres.reopen", exc_info=True)
        self.close()

    def explain(self, error: BaseException) -> BartizanError | None:
        return explained(error)

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(psycopg.Error):
                db.connection.close()


def explained(error: BaseException) -> BartizanError | None:
    """PostgreSQL's errors as ours; None for what is not PostgreSQL's or a fault of the program."""
    if isinstance(error, BartizanError):
        return error
    if isinstance(error, pg.DiskFull):
        return StorageFull("the database's disk is full: nothing was stored; free some space, no repair is needed")
    if isinstance(error, pg.QueryCanceled):
        return Timeout("the lake's buffer took too long: ask for fewer rows")
    if isinstance(error, pg.LockNotAvailable):
        return Unavailable("another process is writing for too long; try again", retry_after_s=2)
    if isinstance(error, pg.ReadOnlySqlTransaction):
        return Unavailable("the database is read-only for the moment", retry_after_s=10)
    if isinstance(error, pg.InsufficientPrivilege):
        return Unavailable(f"the database's user may not do that: {error.diag.message_primary}", retry_after_s=60)
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return Unavailable("the database cannot be reached for the moment", retry_after_s=2)
    return None


class PostgresLake(SqlLake):
    """`dsn` is a libpq connection string or URI; the database may be the store's."""

    def __init__(self, dsn: str, limits: Limits | None = None) -> None:
        super().__init__(limits or Limits())
        self._dsn = dsn
        self._readers: list[PostgresDb] = []
        self._guard = threading.Lock()

    def _open_pen(self) -> PostgresPen:
        pen = PostgresPen(self._dsn, self.limits)
        try:
            pen.create()
        except (psycopg.Error, Unavailable) as error:
            pen.abort()
            pen.close()
            raise explained(error) or error from error
        return pen

    def _bounded(self, work: Callable[[Db], T]) -> T:
        """A read whose connection was lost runs once more."""
        try:
            db: PostgresDb | None = getattr(self._local, "db", None)
            if db is not None:
                try:
                    return work(db)
                except psycopg.Error:
                    if not db.connection.closed:
                        raise
                    self._drop(db)
            return work(self._connected())
        except psycopg.Error as error:
            raise explained(error) or error from error

    def _connected(self) -> PostgresDb:
        db = self._local.db = PostgresDb(self._dsn, self.limits, writes=False)
        with self._guard:
            self._readers.append(db)
        return db

    def _drop(self, db: PostgresDb) -> None:
        self._local.db = None
        with self._guard:
            self._readers.remove(db)
        db.connection.close()

    async def backup(self, path: str) -> None:
        raise NotServed("a PostgreSQL database is backed up by its own tools: pg_dump, or a base backup with its log")

    def _close_readers(self) -> None:
        with self._guard:
            readers, self._readers = self._readers, []
        for db in readers:
            db.connection.close()
