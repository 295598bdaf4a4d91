"""The store on SQLite: one file, write-ahead log, durable at each commit unless `Limits.synced` says otherwise.

A read runs on the event loop's own thread as long as it is short (a page of 100 costs less than handing it to a
thread); one that is not is interrupted and starts again in a thread.

Source: SQLite "Write-Ahead Logging", "PRAGMA synchronous"; apsw.
"""

import asyncio
import contextlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any, Literal, TypeVar

import apsw
import structlog

from bartizan.errors import BartizanError, Conflict, InvalidQuery, StorageFull, Timeout, Unavailable
from bartizan.store.compile import SQLITE_FUNCTIONS
from bartizan.store.engine import SLOW_READ, Limits, SqlStore
from bartizan.store.interface import Collection
from bartizan.store.owners import LockedOwners
from bartizan.store.schema import Release
from bartizan.store.sql import SQLITE, Db, Params, cleaned
from bartizan.store.tx import Clock, wall
from bartizan.store.writer import Busy

T = TypeVar("T")

FILE = "state.db"
PAGE_BYTES = 8_192
WAL_PAGES = 2_000  # the log is written back at 16 MB, beside the writer ...
WAL_MOST_PAGES = 6_000  # ... which does it itself at 48 MB, where that does not keep up
WAL_ROUNDS = 4  # of writing back; what was written during one is little for the next
WAL_KEEP_BYTES = 64 * 2**20  # the log's file is cut to this
# Readers that overlap without end keep the log from starting anew. Beyond the size above writers wait for those at
# work, while new ones read the file itself; not longer than this, and not again before ...
WAL_WAIT_S = 0.25
WAL_AGAIN_S = 2.0
# Of the writer, as far as it is used: the pages that a bulk of 600 alerts changes, some 15 MB, and those that it finds
# its places in. What does not fit is written before the commit, and again with it.
WRITER_CACHE_KIB = 49_152
CACHE_KIB = 16_384  # of reads on the event loop, as far as it is used; the system caches the file
SLOW_CACHE_KIB = 4_096  # of a connection for reads that take longer
STEPS = 500  # virtual machine steps between two looks at the clock: some 10 us of plain work

_HINT = re.compile(r' INDEXED BY "\w+"')

log = structlog.get_logger(__name__)


class SqliteDb:
    """One connection; statements past `deadline` (monotonic seconds) are interrupted."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection
        self.deadline = float("inf")
        connection.set_progress_handler(self._late, STEPS)

    def _late(self) -> bool:
        return time.monotonic() > self.deadline

    def rows(self, sql: str, params: Params = ()) -> list[tuple[Any, ...]]:
        try:
            return self.connection.execute(SQLITE.native(sql), cleaned(params)).fetchall()
        except apsw.SQLError as error:
            if not str(error).startswith("no such index"):
                raise
        # a newer program has replaced the index meanwhile: slower until this one is replaced too, but right
        return self.connection.execute(_HINT.sub("", SQLITE.native(sql)), cleaned(params)).fetchall()

    def rows_within(self, sql: str, params: Params, seconds: float) -> list[tuple[Any, ...]] | None:
        outer = self.deadline
        self.deadline = min(outer, time.monotonic() + seconds)
        try:
            return self.rows(sql, params)
        except apsw.InterruptError:
            if time.monotonic() > outer:
                raise
            return None
        finally:
            self.deadline = outer

    def run(self, sql: str, params: Params = ()) -> int:
        self.connection.execute(SQLITE.native(sql), params)
        return self.connection.changes()

    def post(self, sql: str, params: Params = ()) -> None:
        self.connection.execute(SQLITE.native(sql), params)

    def many(self, sql: str, params: Iterable[Params]) -> None:
        self.connection.executemany(SQLITE.native(sql), params)

    def unhurried(self) -> None:
        self.deadline = float("inf")


def connect(
    path: Path, *, writes: bool, lock_s: float, cache_kib: int = SLOW_CACHE_KIB, synced: bool = True
) -> SqliteDb:
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE if writes else apsw.SQLITE_OPEN_READONLY
    connection = apsw.Connection(str(path), flags=flags, statementcachesize=256)
    connection.set_busy_handler(_Patience(lock_s))
    # Nothing is ever analysed, so what is bound cannot make a plan better; SQLite would prepare anew for each value.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    for name, (function, arguments) in SQLITE_FUNCTIONS.items():
        connection.create_scalar_function(name, function, arguments, deterministic=True)
    if writes:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        _make_log(connection, lock_s)
        connection.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
        connection.wal_autocheckpoint(WAL_PAGES)
        connection.execute(f"PRAGMA journal_size_limit = {WAL_KEEP_BYTES}").fetchall()
    connection.execute(f"PRAGMA cache_size = -{cache_kib}")
    return SqliteDb(connection)


def _private(path: Path) -> None:
    """It holds secrets: its owner's alone, and so are the log and the index that SQLite puts beside it."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _make_log(connection: apsw.Connection, lock_s: float) -> None:
    """SQLite does not wait by itself while another process makes the same new file."""
    patience = _Patience(lock_s)
    for tries in count():
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
        except apsw.BusyError:
            if not patience(tries):
                raise
        else:
            return


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


class _Checkpoints:
    """Writes the log back in a thread of its own: it takes some 5 to 60 ms, and whoever commits is not to wait for it.
    The log begins anew only when all of it is written back, which is why there is more than one round."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._due = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self.pages = 0  # of the log, after the last commit

    def committed(self, connection: apsw.Connection, database: str, pages: int) -> int:
        """SQLite's hook of a commit that wrote to the log."""
        self.pages = pages
        if pages >= WAL_PAGES:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="bartizan-checkpoint", daemon=True)
                self._thread.start()
            self._due.set()
        return apsw.SQLITE_OK

    def close(self) -> None:
        self._closing.set()
        self._due.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        connection: apsw.Connection | None = None
        while self._due.wait() and not self._closing.is_set():
            self._due.clear()
            try:
                if connection is None:
                    connection = apsw.Connection(str(self._path), flags=apsw.SQLITE_OPEN_READWRITE)
                    connection.execute("PRAGMA synchronous = FULL")
                _written_back(connection)
            except apsw.Error as error:
                # A full disk, say: the log stays, and what is written next tells its caller.
                log.warning("store.sqlite.checkpoint", error=str(error))
                self._closing.wait(WAL_AGAIN_S)
        if connection is not None:
            with contextlib.suppress(apsw.Error):
                connection.close(True)


def _written_back(connection: apsw.Connection) -> None:
    for _ in range(WAL_ROUNDS):
        try:
            pages, done = connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            return  # another process is at it
        if done >= pages:
            return


class SqlitePen:
    """The writing connection; opened again after an error that leaves it in doubt."""

    def __init__(self, path: Path, limits: Limits, now: Callable[[], int]) -> None:
        self._path = path
        self._lock_s = limits.lock_s
        self._work_s = limits.work_s
        self._synced = limits.synced
        self._now = now
        self._log = path.with_name(path.name + "-wal")
        self._log_due = 0.0
        self._checkpoints: _Checkpoints | None = None
        self._db: SqliteDb | None = None
        self._aside = ""  # where SQLite puts what it needs for a while
        self._open()

    def _open(self) -> SqliteDb:
        if self._db is None:
            self._aside = ""
            self._db = connect(
                self._path, writes=True, lock_s=self._lock_s, cache_kib=WRITER_CACHE_KIB, synced=self._synced
            )
            self._checkpoints = _Checkpoints(self._path)
            self._db.connection.set_wal_hook(self._checkpoints.committed)
        return self._db

    @property
    def db(self) -> Db:
        return self._open()

    def lock(self) -> None:
        """For the schema: what the index of a large table is sorted in may be any size."""
        self._lock("FILE")

    def _lock(self, aside: Literal["FILE", "MEMORY"]) -> None:
        db = self._open()
        if aside != self._aside:
            db.run(f"PRAGMA temp_store = {aside}")
            self._aside = aside
        db.deadline = float("inf")
        if self._checkpoints is not None and self._checkpoints.pages >= WAL_MOST_PAGES:
            self._checkpoints.pages = 0
            _written_back(db.connection)
        self._bound_log(db)
        db.run("BEGIN IMMEDIATE")

    def _bound_log(self, db: SqliteDb) -> None:
        now = time.monotonic()
        if now < self._log_due or _bytes_of(self._log) <= WAL_KEEP_BYTES:
            return
        self._log_due = now + WAL_AGAIN_S
        db.connection.set_busy_handler(_Patience(WAL_WAIT_S))
        try:
            # For readers SQLite waits as it is told to; while another connection writes the log back it says at once
            # that it is busy.
            patience = _Patience(WAL_WAIT_S)
            for tries in count():
                (busy, _, _), *_ = db.rows("PRAGMA wal_checkpoint(TRUNCATE)")
                if not busy or not patience(tries):
                    break
        except apsw.Error as error:
            log.warning("store.sqlite.checkpoint", error=str(error))  # what is written next says what is wrong
        finally:
            db.connection.set_busy_handler(_Patience(self._lock_s))

    def begin(self) -> Clock:
        """What a savepoint would bring back is bounded by one request: it stays in memory."""
        self._lock("MEMORY")
        return Clock(self._open(), self._now)

    def savepoint(self) -> None:
        db = self._open()
        db.run("SAVEPOINT request")
        db.deadline = time.monotonic() + self._work_s

    def release(self) -> None:
        db = self._open()
        db.deadline = float("inf")
        db.run("RELEASE request")

    def undo(self) -> None:
        db = self._open()
        db.deadline = float("inf")
        db.run("ROLLBACK TO request; RELEASE request")

    def commit(self, clock: Clock) -> bool:
        db = self._open()
        grown = clock.save(db)
        db.run("COMMIT")
        return grown

    def abort(self) -> None:
        db = self._db
        if db is None:
            return
        db.deadline = float("inf")
        try:
            if db.connection.in_transaction:
                db.run("ROLLBACK")
        except apsw.Error:
            log.warning("store.sqlite.reopen", exc_info=True)
            self.close()

    def explain(self, error: BaseException) -> tuple[BartizanError | None, bool]:
        ours = explained(error, self._work_s)
        if ours is None:
            return None, False
        fatal = not isinstance(error, apsw.ConstraintError | apsw.InterruptError | BartizanError)
        if fatal and not isinstance(error, apsw.FullError | apsw.BusyError | apsw.SQLError):
            self.close()  # an I/O error may have left it in doubt: the next transaction opens the file anew
        return ours, fatal

    def close(self) -> None:
        checkpoints, self._checkpoints = self._checkpoints, None
        if checkpoints is not None:
            checkpoints.close()
        db, self._db = self._db, None
        if db is not None:
            with contextlib.suppress(apsw.Error):
                db.connection.close(True)


def _bytes_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0


def explained(error: BaseException, limit_s: float) -> BartizanError | None:
    """SQLite's errors as ours; None for what is not SQLite's or a fault of the program."""
    if isinstance(error, BartizanError):
        return error
    if isinstance(error, apsw.FullError) or (isinstance(error, apsw.IOError) and _no_space(error)):
        return StorageFull("the disk is full: nothing was stored; free some space, no repair is needed")
    if isinstance(error, apsw.InterruptError):
        return Timeout(SLOW_READ.format(limit=limit_s))
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return Busy("another process is writing for too long; try again", retry_after_s=2)
    if isinstance(error, apsw.ReadOnlyError | apsw.CantOpenError | apsw.PermissionsError):
        return Unavailable("the database cannot be written: check its folder and permissions", retry_after_s=30)
    if isinstance(error, apsw.IOError):
        return Unavailable("the disk answered with an error; nothing was stored", retry_after_s=10)
    if isinstance(error, apsw.CorruptError | apsw.NotADBError):
        return Unavailable(f"the database file is damaged ({error}): restore a backup", retry_after_s=3600)
    if isinstance(error, apsw.SQLError) and "overflow" in str(error):
        return InvalidQuery(f"Invalid filter clause: it cannot be computed on what is stored: {error}")
    if isinstance(error, apsw.ConstraintError):
        return Conflict(f"another object has the same unique value ({error})")
    return None


def _no_space(error: apsw.Error) -> bool:
    return "full" in str(error).lower() or "space" in str(error).lower()


class SqliteStore(SqlStore):
    """`path` is the database file; its folder is made if it is missing."""

    def __init__(
        self,
        path: Path,
        collections: Sequence[Collection],
        limits: Limits | None = None,
        now: Callable[[], int] = wall,
        release: Release | None = None,
    ) -> None:
        owners = LockedOwners(path.with_name(path.name + "-owners"))
        super().__init__(SQLITE, collections, limits or Limits(), owners, now, release)
        self.path = path
        self._local = threading.local()
        self._readers: list[SqliteDb] = []
        self._guard = threading.Lock()
        self._threads = ThreadPoolExecutor(self.limits.readers, "bartizan-read")

    def _open_pen(self) -> SqlitePen:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            _private(self.path)
        except OSError as error:
            raise Unavailable(f"the database cannot be written: {error}", retry_after_s=30) from error
        return SqlitePen(self.path, self.limits, self.now)

    def explained(self, error: BaseException) -> BartizanError | None:
        return explained(error, self.limits.read_s)

    def _reader(self, cache_kib: int) -> SqliteDb:
        """This thread's connection."""
        db: SqliteDb | None = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = connect(self.path, writes=False, lock_s=self.limits.lock_s, cache_kib=cache_kib)
            with self._guard:
                self._readers.append(db)
        return db

    async def read(self, work: Callable[[Db], T]) -> T:
        try:
            return self._bounded(work, self.limits.inline_ms / 1000, CACHE_KIB)
        except apsw.InterruptError:
            pass
        except apsw.Error as error:
            raise self.explained(error) or error from error
        limit = self.limits.read_s
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self._threads, self._bounded, work, limit, SLOW_CACHE_KIB
            )
        except apsw.Error as error:
            raise self.explained(error) or error from error

    def _bounded(self, work: Callable[[Db], T], seconds: float, cache_kib: int) -> T:
        db = self._reader(cache_kib)
        db.deadline = time.monotonic() + seconds
        try:
            return work(db)
        except (apsw.IOError, apsw.CorruptError, apsw.CantOpenError):
            self._drop_reader()
            raise

    def _drop_reader(self) -> None:
        db: SqliteDb | None = getattr(self._local, "db", None)
        if db is not None:
            self._local.db = None
            with self._guard:
                self._readers.remove(db)
            with contextlib.suppress(apsw.Error):
                db.connection.close(True)

    def _close_readers(self) -> None:
        self._threads.shutdown()
        with self._guard:
            readers, self._readers = self._readers, []
        for db in readers:
            db.connection.close(True)
        self._local = threading.local()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[Db]:
        db = connect(self.path, writes=False, lock_s=self.limits.lock_s)
        try:
            db.run("BEGIN")
            db.rows("SELECT seq FROM clock")  # the moment is fixed by the first read
            yield db
        finally:
            db.connection.close(True)

    async def backup(self, path: str) -> None:
        """A consistent copy of the file, made in one go beside `path` and moved there when it is durable."""
        try:
            await asyncio.to_thread(self._backup, Path(path))
        except apsw.Error as error:
            raise self.explained(error) or error from error
        except OSError as error:
            raise Unavailable(f"the backup could not be written: {error}") from error

    def _backup(self, path: Path) -> None:
        partial = path.with_name(path.name + ".partial")
        partial.unlink(missing_ok=True)
        _private(partial)
        source = connect(self.path, writes=False, lock_s=self.limits.lock_s)
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
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the new name too
        finally:
            os.close(folder)
