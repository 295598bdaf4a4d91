"""Databases for tests. Each test finds one as new; what the program declares is made once and copied from then on.

On PostgreSQL a test's database is cleared and lent again: DROP DATABASE waits for a checkpoint of the whole server,
which takes seconds while other tests write. One that is not as it was made after clearing is dropped all the same.

A run of pytest has several processes. All that they make on the server carries the run's name, and each process holds
a lock of that name: whoever gets the lock alone knows that the run is over, and drops what it left.

Source: PostgreSQL 15, CREATE DATABASE (TEMPLATE, ALLOW_CONNECTIONS), TRUNCATE, COPY, 9.27.10 (advisory locks end with
their session); src/backend/commands/dbcommands.c (dropdb requests a checkpoint).
"""

import asyncio
import atexit
import contextlib
import functools
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg

    Connection = psycopg.Connection[tuple[Any, ...]]

RUNS, TEMPLATES = 0x62727431, 0x62727432  # advisory locks: of a run's processes, of who makes its template
LOCALE = "encoding 'UTF8' lc_collate 'C' lc_ctype 'C.UTF-8'"
LOCK_MS = 5_000
MOST_LOANS = 40  # of one database: what is made and dropped in it leaves dead rows in its catalogs
_OURS = re.compile(r"bartizan_([0-9a-f]{7})_\w+")


def declare(target: str | Path) -> None:
    """Makes all tables that the program declares, of store and lake, in an empty place; as a started program does."""
    from bartizan.app.assembly import declared  # here: it imports the whole program, which most test files need not
    from bartizan.lake import open_lake
    from bartizan.store import open_store

    async def made() -> None:
        for opened in (open_store(target, declared()), open_lake(target)):
            await opened.start()
            await opened.close()

    with ThreadPoolExecutor(1) as thread:  # the caller may be within an event loop
        thread.submit(asyncio.run, made()).result()


@functools.cache
def _files() -> Path:
    """A folder with SQLite's files and a master key, made once by each process."""
    from bartizan.auth.keys import Vault
    from bartizan.settings import Settings

    folder = Path(tempfile.mkdtemp(prefix="bartizan-declared-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    declare(folder)
    Vault.open(Settings(data=str(folder)))
    return folder


def lay(folder: Path) -> Path:
    """SQLite: an empty store and lake, and a key, in a folder that has none; what is there already stays."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in _files().iterdir():
        if not (folder / file.name).exists():
            shutil.copy(file, folder / file.name)
    return folder


# What is in a database, but for rows: relations with their columns, statistics, settings, what else a test might make.
_SHAPE = """
    select md5(string_agg(concat_ws(' ', c.relname, c.relkind, a.attnum, a.attname, a.atttypid, a.attnotnull), ','
               order by c.relname, a.attnum)),
           (select count(*) from pg_statistic where starelid >= 16384),
           (select count(*) from pg_db_role_setting s join pg_database d on d.oid = s.setdatabase
            where d.datname = current_database()),
           (select string_agg(nspname, ' ' order by nspname) from pg_namespace where nspname !~ '^pg_'),
           (select count(*) from pg_proc where oid >= 16384), (select count(*) from pg_trigger where oid >= 16384)
    from pg_class c join pg_attribute a on a.attrelid = c.oid where c.oid >= 16384 and c.relkind in ('r', 'i', 'S', 'v')
"""
_ANEW = """
    drop schema public cascade; create schema public authorization pg_database_owner;
    grant usage on schema public to public
"""


@dataclass
class Kind:
    """Databases that were made alike: how, what they look like when new, and those that nobody uses."""

    how: str
    shape: tuple[Any, ...] = ()
    rows: dict[str, bytes] = field(default_factory=dict)  # of all tables; in the form of COPY
    free: list[str] = field(default_factory=list)


class Databases:
    """Those of this run on a PostgreSQL server, for one of its processes."""

    def __init__(self, server: str, run: str = "") -> None:
        """`run` is 32 hex digits; without it the run that this process belongs to, the same in all its processes."""
        import psycopg

        told = run or os.environ.get("PYTEST_XDIST_TESTRUNUID") or uuid.uuid4().hex
        self._run = told[:7]
        self._base = server.rpartition("/")[0]
        self._admin: Connection = psycopg.connect(server, autocommit=True)
        self._empty = Kind(f"template template0 {LOCALE}")
        self._declared = Kind("")
        self._loans: dict[str, int] = {}
        self._ask("pg_advisory_lock_shared(%s, %s)", RUNS, _key(self._run))
        for run in sorted({run for run, _ in self._found()} - {self._run}):
            self._sweep(run)

    def close(self) -> None:
        """Drops its own; the last process of a run drops what is still there."""
        for name in self._loans:
            self._drop(name)
        self._ask("pg_advisory_unlock_shared(%s, %s)", RUNS, _key(self._run))
        self._sweep(self._run)
        self._admin.close()

    @contextlib.contextmanager
    def empty(self) -> Iterator[str]:
        """The DSN of an empty one, for as long as it lasts."""
        with self._lent(self._empty) as dsn:
            yield dsn

    @contextlib.contextmanager
    def declared(self) -> Iterator[str]:
        """The same with all that the program declares."""
        if not self._declared.how:
            self._declared.how = f"template {self._template()}"
        with self._lent(self._declared) as dsn:
            yield dsn

    @contextlib.contextmanager
    def _lent(self, kind: Kind) -> Iterator[str]:
        name = kind.free.pop() if kind.free else self._made(kind)
        self._loans[name] = self._loans.get(name, 0) + 1
        try:
            yield f"{self._base}/{name}"
        finally:
            if self._loans[name] < MOST_LOANS and self._cleared(name, kind):
                kind.free.append(name)
            else:
                del self._loans[name]
                self._drop(name)

    def _made(self, kind: Kind) -> str:
        name = f"bartizan_{self._run}_{uuid.uuid4().hex[:8]}"
        self._do(f"create database {name} {kind.how}")
        if not kind.shape:
            with self._within(name) as database:
                kind.shape = _shape(database)
                kind.rows = {table: _copied(database, table) for table in _tables(database)}
        return name

    def _cleared(self, name: str, kind: Kind) -> bool:
        """Whether it is as new again."""
        self._admin.execute("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s", (name,))
        import psycopg

        with contextlib.suppress(psycopg.errors.LockNotAvailable), self._within(name) as database:
            database.execute(f"set lock_timeout = {LOCK_MS}".encode())  # somebody may have come back
            if kind is self._empty:
                database.execute(_ANEW)
            if _shape(database) == kind.shape:
                _fill(database, kind.rows)
                return True
        return False

    def _template(self) -> str:
        """Made once in a run; whole when it takes no connections any more."""
        name = f"bartizan_{self._run}_declared"
        self._ask("pg_advisory_lock(%s, %s)", TEMPLATES, _key(self._run))
        try:
            if not self._ask("exists (select from pg_database where datname = %s and not datallowconn)", name):
                self._drop(name)
                self._do(f"create database {name} {self._empty.how}")
                declare(f"{self._base}/{name}")
                self._do(f"alter database {name} allow_connections false")
        finally:
            self._ask("pg_advisory_unlock(%s, %s)", TEMPLATES, _key(self._run))
        return name

    def _sweep(self, run: str) -> None:
        """Drops what a run has left, unless a process of it lives."""
        if self._ask("pg_try_advisory_lock(%s, %s)", RUNS, _key(run)):
            for each, name in self._found():
                if each == run:
                    self._drop(name)
            self._ask("pg_advisory_unlock(%s, %s)", RUNS, _key(run))

    def _found(self) -> list[tuple[str, str]]:
        """Databases of runs: the run, and the name."""
        rows = self._admin.execute("select datname from pg_database").fetchall()
        return [(found[1], found[0]) for (name,) in rows if (found := _OURS.fullmatch(name))]

    def _within(self, name: str) -> "Connection":
        import psycopg

        return psycopg.connect(f"{self._base}/{name}")

    def _ask(self, expression: str, *values: Any) -> Any:
        row = self._admin.execute(f"select {expression}".encode(), values).fetchone()
        assert row is not None
        return row[0]

    def _drop(self, name: str) -> None:
        self._do(f"drop database if exists {name} with (force)")

    def _do(self, statement: str) -> None:
        self._admin.execute(statement.encode())


def _key(run: str) -> int:
    return int(run, 16)


def _shape(database: "Connection") -> tuple[Any, ...]:
    row = database.execute(_SHAPE).fetchone()
    assert row is not None
    return row


def _tables(database: "Connection") -> list[str]:
    rows = database.execute("select tablename from pg_tables where schemaname = 'public' order by 1").fetchall()
    return [name for (name,) in rows]


def _copied(database: "Connection", table: str) -> bytes:
    from psycopg import sql

    with database.cursor().copy(sql.SQL("copy {} to stdout").format(sql.Identifier(table))) as copy:
        return b"".join(bytes(part) for part in copy)


def _fill(database: "Connection", rows: dict[str, bytes]) -> None:
    """Takes out what tables hold, and puts in what they held."""
    from psycopg import sql

    tables = {name: sql.Identifier(name) for name in rows}
    if tables:
        asked = [sql.SQL("select {} where exists (select from {})").format(name, of) for name, of in tables.items()]
        held = [tables[name] for (name,) in database.execute(sql.SQL(" union all ").join(asked)).fetchall()]
        if held:
            database.execute(sql.SQL("truncate {} restart identity").format(sql.SQL(", ").join(held)))
    for name, content in rows.items():
        if content:
            with database.cursor().copy(sql.SQL("copy {} from stdin").format(tables[name])) as copy:
                copy.write(content)
