"""What a test does to its database is gone before the next one gets it."""

import subprocess
import sys
import uuid
from pathlib import Path

import psycopg
import pytest
from tests.databases import Databases, lay

from bartizan.app.assembly import declared
from bartizan.store import Collection, open_store

pytestmark = [pytest.mark.anyio]
NOTES = Collection("notes_of_a_test")
ROOT = Path(__file__).resolve().parents[1]
KILLED = """
import os, signal, sys
from tests.databases import Databases
with Databases(*sys.argv[1:]).empty() as dsn:
    print(dsn.rpartition("/")[2], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def shown(dsn: str) -> list[tuple[str, int]]:
    """Tables and how many rows each has."""
    with psycopg.connect(dsn) as database:
        tables = database.execute("select tablename from pg_tables where schemaname = 'public' order by 1").fetchall()
        counted = [database.execute(f'select count(*) from "{name}"'.encode()).fetchone() for (name,) in tables]
        return [(name, rows[0]) for (name,), rows in zip(tables, counted, strict=True) if rows is not None]


async def noted(target: str | Path, *more: Collection) -> None:
    store = open_store(target, (*declared(), *more))
    await store.start()
    await store.tenant("contoso").write(lambda tx: tx.set_value("left", b"over"), actor="test")
    assert await store.tenant("contoso").value("left") == b"over"
    await store.close()


@pytest.mark.postgres
def test_an_empty_one_is_lent_empty(databases: Databases) -> None:
    with databases.empty() as dsn, psycopg.connect(dsn, autocommit=True) as database:
        database.execute("create table t (n int)")  # and the connection is still open when the loan ends
        with databases.empty() as another:
            assert another != dsn
    with databases.empty() as dsn:
        assert shown(dsn) == []


@pytest.mark.postgres
async def test_a_declared_one_is_lent_as_it_was_made(databases: Databases) -> None:
    with databases.declared() as dsn:
        before = shown(dsn)
        assert len(before) >= len(declared())
        await noted(dsn)
        assert shown(dsn) != before
    with databases.declared() as dsn:
        assert shown(dsn) == before


@pytest.mark.postgres
@pytest.mark.parametrize("how", ["create table t (n int)", "create schema s", "analyze"])
async def test_what_clearing_does_not_undo_is_not_lent_again(databases: Databases, how: str) -> None:
    with databases.declared() as dsn:
        await noted(dsn)
        with psycopg.connect(dsn, autocommit=True) as database:
            database.execute(how.encode())
    with databases.declared() as another:
        assert another != dsn


@pytest.mark.postgres
def test_what_a_killed_run_left_is_dropped_and_what_a_living_one_has_stays(
    databases: Databases, postgres_server: str
) -> None:
    command = [sys.executable, "-c", KILLED, postgres_server, uuid.uuid4().hex]
    killed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    left = killed.stdout.strip()
    assert killed.returncode == -9 and left, killed.stderr
    with databases.empty() as dsn:
        assert left in names(postgres_server)
        Databases(postgres_server, uuid.uuid4().hex).close()
        assert left not in names(postgres_server) and dsn.rpartition("/")[2] in names(postgres_server)


def names(server: str) -> set[str]:
    with psycopg.connect(server) as admin:
        return {name for (name,) in admin.execute("select datname from pg_database").fetchall()}


async def test_files_are_laid_where_there_are_none(tmp_path: Path) -> None:
    lay(tmp_path / "here")
    await noted(tmp_path / "here", NOTES)
    lay(tmp_path / "here")
    lay(tmp_path / "there")
    for folder, left in (("here", b"over"), ("there", None)):
        store = open_store(tmp_path / folder, declared())
        await store.start()
        assert await store.tenant("contoso").value("left") == left
        await store.close()
