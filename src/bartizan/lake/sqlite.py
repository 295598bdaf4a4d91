"""The lake's buffer on SQLite: one file, write-ahead log, durable at each commit.

Source: SQLite "Write-Ahead Logging", "PRAGMA synchronous"; apsw.
"""

import asyncio
import contextlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import apsw
import structlog

from bartizan.errors import BartizanError, StorageFull, Timeout, Unavailable
from bartizan.lake.engine import FORMAT, OLDER, Limits, SqlLake
from bartizan.lake.writer import Clock, Db, Params

T = TypeVar("T")

FILE = "buffer.db"
PAGE_BYTES = 8_192
WAL_PAGES = 4_000  # the log is written back at 32 MB: batches are large, and most are read while still in it
WAL_KEEP_BYTES = 128 * 2**20
STEPS = 5_000  # virtual machine steps between two looks at the clock

_TABLES = """
CREATE TABLE lake_clock (one INTEGER PRIMARY KEY CHECK (one = 1), format INTEGER NOT NULL, seq INTEGER NOT NULL);
CREATE TABLE lake_batches (
    seq INTEGER PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, row_count INTEGER NOT NULL,
    first_time TEXT, last_time TEXT, plain_bytes INTEGER NOT NULL, data BLOB NOT NULL, fields TEXT);
CREATE INDEX lake_batches_tenant ON lake_batches (tenant, name, seq);
CREATE TABLE lake_marks (
    tenant TEXT NOT NULL, stage TEXT NOT NULL, position INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (tenant, stage)) WITHOUT ROWID;
"""
_OF_FILES = """
CREATE TABLE lake_cursors (name TEXT PRIMARY KEY, position INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE lake_files (
    path TEXT PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, day TEXT NOT NULL, level INTEGER NOT NULL,
    first_us INTEGER, last_us INTEGER, row_count INTEGER NOT NULL, bytes INTEGER NOT NULL, through INTEGER NOT NULL,
    written_s INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX lake_files_tenant ON lake_files (tenant, name, day);
CREATE TABLE lake_gone (path TEXT PRIMARY KEY, due_s INTEGER NOT NULL) WITHOUT ROWID;
"""

log = structlog.get_logger(__name__)


class SqliteDb:
    """One connection; statements past `deadline` (monotonic seconds) are interrupted."""

    def __init__(self, path: Path, *, writes: bool, lock_s: float) -> None:
        flags = apsw.SQLITE_OPEN_READWRITE if writes else apsw.SQLITE_OPEN_READONLY
        if writes:  # its owner's alone, and so are the log and the index that SQLite puts beside it
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self.connection = apsw.Connection(str(path), flags=flags)
        self.connection.set_busy_handler(_Patience(lock_s))
        self.deadline = float("inf")
        if writes:
            self.connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            self.connection.execute("PRAGMA journal_mode = WAL").fetchall()
            self.connection.execute("PRAGMA synchronous = FULL")
            self.connection.wal_autocheckpoint(WAL_PAGES)
            self.connection.execute(f"PRAGMA journal_size_limit = {WAL_KEEP_BYTES}").fetchall()
        else:
            self.connection.set_progress_handler(self._late, STEPS)

    def _late(self) -> bool:
        return time.monotonic() > self.deadline

    def rows(self, sql: str, params: Params = ()) -> list[tuple[Any, ...]]:
        return self.connection.execute(sql, params).fetchall()

    def run(self, sql: str, params: Params = ()) -> int:
        self.connection.execute(sql, params)
        return self.connection.changes()

    def many(self, sql: str, params: Sequence[Params]) -> None:
        self.connection.executemany(sql, params)


class _Patience:
    """Waits for another process's lock in short steps, up to a limit."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since = 0.0

    def __call__(self, tries: int) -> bool:
        now = time.monotonic()
        if tries == 0:
            self._since = now
        if now - self._since > self._limit_s:
            return False
        time.sleep(0.0005 if tries < 20 else 0.002)
        return True


class SqlitePen:
    """The writing connection; opened again after an error that leaves it in doubt."""

    def __init__(self, path: Path, lock_s: float) -> None:
        self._path = path
        self._lock_s = lock_s
        self._db: SqliteDb | None = None

    @property
    def db(self) -> SqliteDb:
        if self._db is None:
            self._db = SqliteDb(self._path, writes=True, lock_s=self._lock_s)
        return self._db

    def create(self) -> None:
        """The tables, unless they are there. Of several processes one makes them and the others wait."""
        self.db.run("BEGIN IMMEDIATE")
        if not self.db.rows("SELECT 1 FROM sqlite_schema WHERE name = 'lake_clock'"):
            self.db.connection.execute(_TABLES + _OF_FILES)
            self.db.run("INSERT INTO lake_clock VALUES (1, ?, 0)", (FORMAT,))
        known = self.db.rows("SELECT format FROM lake_clock")[0][0]
        if known == OLDER:
            self.db.connection.execute("ALTER TABLE lake_batches ADD COLUMN fields TEXT;" + _OF_FILES)
            self.db.run("UPDATE lake_clock SET format = ?", (FORMAT,))
            known = FORMAT
        self.db.run("COMMIT")
        if known != FORMAT:
            raise Unavailable(f"{self._path.name} has format {known}; this program knows {FORMAT}: update it")

    def begin(self) -> Clock:
        self.db.run("BEGIN IMMEDIATE")
        return Clock(self.db.rows("SELECT seq FROM lake_clock")[0][0])

    def commit(self, clock: Clock) -> None:
        self.db.run("UPDATE lake_clock SET seq = ? WHERE seq <> ?", (clock.seq, clock.seq))
        self.db.run("COMMIT")

    def abort(self) -> None:
        db = self._db
        if db is None:
            return
        try:
            if db.connection.in_transaction:
                db.run("ROLLBACK")
        except apsw.Error:
            log.warning("lake.sqlite.reopen", exc_info=True)
            self.close()

    def explain(self, error: BaseException) -> BartizanError | None:
        ours = explained(error)
        if ours is not None and not isinstance(error, BartizanError | apsw.FullError | apsw.BusyError):
            self.close()  # an I/O error may have left it in doubt: the next transaction opens the file anew
        return ours

    def close(self) -> None:
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(apsw.Error):
                db.connection.close(True)


def explained(error: BaseException) -> BartizanError | None:
    """SQLite's errors as ours; None for what is not SQLite's or a fault of the program."""
    if isinstance(error, BartizanError):
        return error
    if isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError) and _no_space(error)):
        return StorageFull("the disk is full: nothing was stored; free some space, no repair is needed")
    if isinstance(error, apsw.InterruptError):
        return Timeout("reading the lake's buffer took too long: ask for fewer rows")
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return Unavailable("another process is writing for too long; try again", retry_after_s=2)
    if isinstance(error, apsw.ReadOnlyError | apsw.CantOpenError | apsw.PermissionsError | OSError):
        return Unavailable("the lake's buffer cannot be written: check its folder and permissions", retry_after_s=30)
    if isinstance(error, apsw.IOError):
        return Unavailable("the disk answered with an error; nothing was stored", retry_after_s=10)
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return Unavailable(f"the lake's buffer is damaged ({error}): restore a backup", retry_after_s=3600)
    return None


def _no_space(error: apsw.Error) -> bool:
    return "full" in str(error).lower() or "space" in str(error).lower()


class SqliteLake(SqlLake):
    """`path` is a file; its folder is made."""

    def __init__(self, path: Path, limits: Limits | None = None) -> None:
        super().__init__(limits or Limits())
        self.path = path
        self._readers: list[SqliteDb] = []
        self._guard = threading.Lock()

    def _open_pen(self) -> SqlitePen:
        pen = SqlitePen(self.path, self.limits.lock_s)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # events are for its owner alone
            pen.create()
        except (apsw.Error, OSError, Unavailable) as error:
            pen.abort()
            pen.close()
            raise explained(error) or error from error
        return pen

    def _bounded(self, work: Callable[[Db], T]) -> T:
        try:
            db: SqliteDb | None = getattr(self._local, "db", None)
            if db is None:
                db = self._local.db = SqliteDb(self.path, writes=False, lock_s=self.limits.lock_s)
                with self._guard:
                    self._readers.append(db)
            db.deadline = time.monotonic() + self.limits.read_s
            return work(db)
        except apsw.Error as error:
            raise explained(error) or error from error

    def _close_readers(self) -> None:
        with self._guard:
            readers, self._readers = self._readers, []
        for db in readers:
            db.connection.close(True)

    async def backup(self, path: str) -> None:
        """A consistent copy of the file, made in one go beside `path` and moved there when it is durable."""
        try:
            await asyncio.to_thread(self._backup, Path(path))
        except (apsw.Error, OSError) as error:
            raise explained(error) or error from error

    def _backup(self, path: Path) -> None:
        partial = path.with_name(path.name + ".partial")
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_CREAT | os.O_RDWR, 0o600))
        source = SqliteDb(self.path, writes=False, lock_s=self.limits.lock_s)
        source.deadline = float("inf")
        target = apsw.Connection(str(partial))
        try:
            with target.backup("main", source.connection, "main") as copy:
                copy.step(-1)
            target.execute("PRAGMA journal_mode = DELETE").fetchall()  # one file, no log beside it
        finally:
            target.close(True)
            source.connection.close(True)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
