"""What the world does to a store: full disks, read-only folders, lost connections, damaged files."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Disk, immutable, small_disk
from tests.store.conftest import COLLECTIONS, Opener, alert, note, putting

from bartizan.errors import Conflict, StorageFull, Unavailable
from bartizan.store import Limits, Query, Store, Tx, open_store, sqlite
from bartizan.store.sql import Db
from bartizan.store.writer import Bounds, Unknown, Writer

pytestmark = pytest.mark.anyio

DISK = "6m"  # of the small file system


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", DISK) as made:
        yield made


async def fill_up(store: Store) -> int:
    """Writes until the disk is full; returns how many writes were acknowledged."""
    tenant, stored = store.tenant("t"), 0
    with pytest.raises(StorageFull, match="disk is full"):
        for number in range(1_000):
            await tenant.write(putting(note(f"n{number}", x="x" * 50_000), alert(f"a{number}")), actor="me")
            stored += 1
    return stored


async def whole(store: Store) -> int:
    """How many writes are there; each has both its documents and both its changes."""
    tenant = store.tenant("t")
    notes, alerts = await tenant.count("notes"), await tenant.count("alerts")
    changes = await store.changes(0, limit=10_000)
    assert notes == alerts and len({(change.collection, change.id) for change in changes}) == 2 * notes
    return notes


async def test_a_full_disk(disk: Disk) -> None:
    """507 and nothing half there; reads go on; when there is space again writes go on, without repair or restart."""
    ballast = disk.path / "ballast"
    ballast.write_bytes(b"x" * 2_000_000)
    store = open_store(disk.path / "data", COLLECTIONS)
    await store.start()
    stored = await fill_up(store)
    assert stored > 3 and await whole(store) == stored
    results = await asyncio.gather(
        *(
            store.tenant("t").write(putting(note(f"m{i}", x="x" * 50_000), alert(f"m{i}")), actor="me")
            for i in range(20)
        ),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, BaseException)]
    assert refused and all(isinstance(result, StorageFull) for result in refused)
    stored += 20 - len(refused)
    assert await whole(store) == stored
    assert (await store.tenant("t").page("notes", Query(3))).rows and await store.ready()
    ballast.unlink()
    await store.tenant("t").write(putting(note("after"), alert("after")), actor="me")
    assert await whole(store) == stored + 1
    await store.close()
    again = open_store(disk.path / "data", COLLECTIONS)
    await again.start()
    assert await whole(again) == stored + 1
    await again.close()


async def test_a_full_disk_at_the_checkpoint(disk: Disk) -> None:
    """The log fits, the file that it is written back to does not: what was acknowledged stays."""
    store = open_store(disk.path / "data", COLLECTIONS)
    await store.start()
    stored = await fill_up(store)
    await store.close()
    again = open_store(disk.path / "data", COLLECTIONS)
    await again.start()
    assert await whole(again) == stored
    await again.close()


async def test_a_bound_on_the_file(tmp_path: Path) -> None:
    """Without a file system of its own: SQLite's bound on the file is met like a full disk, and is as harmless."""
    store = open_store(tmp_path, COLLECTIONS)
    await store.start()

    def bound(db: Db, _: Any) -> None:
        [(pages,)] = db.rows("PRAGMA page_count")
        db.rows(f"PRAGMA max_page_count = {pages + 100}")

    await store.write(bound)  # type: ignore[attr-defined]
    stored = await fill_up(store)
    assert stored > 3 and await whole(store) == stored
    await store.write(lambda db, _: db.rows("PRAGMA max_page_count = 1000000"))  # type: ignore[attr-defined]
    await store.tenant("t").write(putting(note("after"), alert("after")), actor="me")
    assert await whole(store) == stored + 1
    await store.close()


async def test_one_that_does_not_fit_does_not_take_others_down(disk: Disk) -> None:
    """Of writes that come together only those that do not fit are refused."""
    store = open_store(disk.path / "data", COLLECTIONS)
    await store.start()
    tenant = store.tenant("t")
    results = await asyncio.gather(
        tenant.write(putting(note("small1")), actor="me"),
        tenant.write(putting(note("huge", x="x" * 8_000_000)), actor="me"),
        tenant.write(putting(note("small2")), actor="me"),
        return_exceptions=True,
    )
    assert [isinstance(result, StorageFull) for result in results] == [False, True, False]
    assert [row.id for row in (await tenant.page("notes", Query(5))).rows] == ["small1", "small2"]
    await store.close()


async def test_files_that_turn_read_only(tmp_path: Path) -> None:
    """503 with Retry-After for writes, reads go on, and writes again when they are writable, without a restart."""
    store = open_store(tmp_path, COLLECTIONS)
    await store.start()
    tenant = store.tenant("t")
    await tenant.write(putting(note("n1")), actor="me")
    with immutable(tmp_path):
        for _ in range(3):
            with pytest.raises(Unavailable, match="cannot be written") as caught:
                await tenant.write(putting(note("n2")), actor="me")
            assert caught.value.headers["Retry-After"]
            assert await tenant.get("notes", "n1") is not None and await store.ready()
    await tenant.write(putting(note("n3")), actor="me")
    assert await tenant.get("notes", "n2") is None and await tenant.get("notes", "n3") is not None
    await store.close()


async def test_a_folder_that_cannot_be_written(disk: Disk) -> None:
    """A store on a read-only file system does not start, and says why."""
    (disk.path / "data").mkdir()
    if not disk.remount(f"ro,size={DISK}"):
        pytest.skip("the file system cannot be made read-only")
    with pytest.raises(Unavailable, match="cannot be written"):
        await open_store(disk.path / "data", COLLECTIONS).start()


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    """Damaged or foreign: an error that says to restore a backup, and the file is not touched."""
    file = tmp_path / "state.db"
    file.write_bytes(b"not a database at all" * 1_000)
    with pytest.raises(Unavailable, match="damaged"):
        await open_store(tmp_path, COLLECTIONS).start()
    assert file.read_bytes() == b"not a database at all" * 1_000


async def test_the_file_is_private(tmp_path: Path) -> None:
    """Neither the database nor its log nor a copy can be read by others."""
    store = open_store(tmp_path / "data", COLLECTIONS)
    await store.start()
    await store.tenant("t").write(putting(note("n")), actor="me")
    await store.backup(str(tmp_path / "data" / "copy.db"))
    files = list((tmp_path / "data").iterdir())
    assert len(files) >= 3 and all(file.stat().st_mode & 0o077 == 0 for file in files)
    await store.close()


async def test_the_log_is_bounded_under_constant_readers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers that overlap without end, as those of a busy server, do not keep the log growing."""
    keep = 2**20
    monkeypatch.setattr(sqlite, "WAL_KEEP_BYTES", keep)
    monkeypatch.setattr(sqlite, "WAL_PAGES", 50)
    monkeypatch.setattr(sqlite, "WAL_AGAIN_S", 0.0)
    store = sqlite.SqliteStore(tmp_path / sqlite.FILE, COLLECTIONS)
    await store.start()
    over = threading.Event()
    holding = [threading.Semaphore(1), threading.Semaphore(0)]

    def read(number: int) -> None:
        """Begins before the other ends."""
        while not over.is_set():
            with store.snapshot():
                holding[1 - number].release()
                holding[number].acquire(timeout=0.02)

    readers = [threading.Thread(target=read, args=(number,)) for number in (0, 1)]
    for reader in readers:
        reader.start()
    largest = 0
    for number in range(300):
        await store.tenant("t").write(putting(note(f"n{number}", x="x" * 50_000)), actor="me")
        largest = max(largest, (tmp_path / "state.db-wal").stat().st_size)
    over.set()
    for reader in readers:
        await asyncio.to_thread(reader.join)
    assert largest < 4 * keep, largest
    assert await store.tenant("t").count("notes") == 300
    await store.close()


async def test_the_log_is_written_back_beside_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by whoever commits; and by nobody once the store is closed."""
    monkeypatch.setattr(sqlite, "WAL_PAGES", 50)
    threads: set[str] = set()
    inner = sqlite._written_back

    def told(connection: Any) -> None:
        threads.add(threading.current_thread().name)
        inner(connection)

    monkeypatch.setattr(sqlite, "_written_back", told)
    store = sqlite.SqliteStore(tmp_path / sqlite.FILE, COLLECTIONS)
    await store.start()
    for number in range(40):
        await store.tenant("t").write(putting(note(f"n{number}", x="x" * 50_000)), actor="me")
    end = time.monotonic() + 20
    while (tmp_path / sqlite.FILE).stat().st_size < 30 * 50_000:
        assert time.monotonic() < end
        await asyncio.sleep(0.02)
    assert threads == {"bartizan-checkpoint"}
    await store.close()
    assert "bartizan-checkpoint" not in {each.name for each in threading.enumerate()}


async def test_where_that_does_not_keep_up_the_writer_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "WAL_PAGES", 10**9)
    monkeypatch.setattr(sqlite, "WAL_MOST_PAGES", 50)
    store = sqlite.SqliteStore(tmp_path / sqlite.FILE, COLLECTIONS)
    await store.start()
    for number in range(40):
        await store.tenant("t").write(putting(note(f"n{number}", x="x" * 50_000)), actor="me")
    assert (tmp_path / sqlite.FILE).stat().st_size > 30 * 50_000
    assert (tmp_path / "state.db-wal").stat().st_size < 20 * 50_000
    await store.close()


async def test_an_index_that_another_program_has_replaced(tmp_path: Path) -> None:
    """A process of the old program answers on, without the index."""
    store = open_store(tmp_path, COLLECTIONS)
    await store.start()
    await store.tenant("t").write(putting(alert("a1"), alert("a2")), actor="me")

    def drop(db: Db, _: Any) -> None:
        for (name,) in db.rows("SELECT name FROM sqlite_schema WHERE name GLOB 'ix_alerts_*'"):
            db.run(f'DROP INDEX "{name}"')

    await store.write(drop)  # type: ignore[attr-defined]
    assert [row.id for row in (await store.tenant("t").page("alerts", Query(5))).rows] == ["a2", "a1"]
    await store.close()


def test_postgresql_is_an_extra() -> None:
    """Without its package the error says what to install."""
    code = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from bartizan.store import open_store\n"
        "open_store('postgresql://localhost/x', ())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1 and "pip install 'bartizan[postgres]'" in done.stderr


async def test_a_writer_that_waits_too_long(opened: Opener) -> None:
    """While another process holds the lock beyond the bound: 503, then all goes on."""
    store, other = await opened(), await opened(lock_s=0.2)
    begun, go_on = threading.Event(), threading.Event()

    def slow(tx: Tx) -> None:
        begun.set()
        assert go_on.wait(20)

    task = asyncio.create_task(store.tenant("t").write(slow, actor="a"))
    await asyncio.to_thread(begun.wait, 10)
    with pytest.raises(Unavailable, match="another process"):
        await other.tenant("t").write(putting(note("n1")), actor="b")
    go_on.set()
    await task
    await other.tenant("t").write(putting(note("n2")), actor="b")
    assert await store.tenant("t").get("notes", "n1") is None


async def test_a_unique_value_that_the_index_refuses(opened: Opener) -> None:
    """The index is the last guard: a row that slips past the check is a Conflict, for its writer alone."""
    store = await opened()
    tenant = store.tenant("t")
    await tenant.write(putting(note("n1")), actor="me")

    def past_the_check(db: Db, _: Any) -> None:
        db.run("INSERT INTO c_notes SELECT * FROM c_notes")

    results = await asyncio.gather(
        store.write(past_the_check),  # type: ignore[attr-defined]
        tenant.write(putting(note("n2")), actor="me"),
        return_exceptions=True,
    )
    assert isinstance(results[0], Conflict) and not isinstance(results[1], BaseException)


# ---------------------------------------------------------------- PostgreSQL


def backends(dsn: str, query: str) -> int:
    """Ends server processes by what they are doing."""
    import psycopg

    with psycopg.connect(dsn, autocommit=True) as admin:
        sql = f"select count(pg_terminate_backend(pid)) from pg_stat_activity where {query} and pid <> pg_backend_pid()"
        row = admin.execute(sql.encode()).fetchone()
    assert row is not None
    return int(row[0])


HERE = "datname = current_database()"


@pytest.mark.postgres
async def test_a_lost_connection_is_replaced(postgres_dsn: str) -> None:
    """Reads and writes go on after the server has ended every connection, while idle or at work."""
    store = open_store(postgres_dsn, COLLECTIONS)
    await store.start()
    tenant = store.tenant("t")
    await tenant.write(putting(note("n1")), actor="me")
    assert await tenant.get("notes", "n1") is not None
    assert await asyncio.to_thread(backends, postgres_dsn, HERE) >= 2
    assert await tenant.get("notes", "n1") is not None
    await tenant.write(putting(note("n2")), actor="me")
    tries = []

    def cut(tx: Tx) -> None:
        tx.put(note("n3"))
        tries.append(1)
        if len(tries) == 1:
            assert backends(postgres_dsn, f"{HERE} and state = 'idle in transaction'") == 1
        tx.put(note("n4"))

    others = [tenant.write(putting(note(f"m{i}")), actor="me") for i in range(10)]
    await asyncio.gather(tenant.write(cut, actor="me"), *others)
    assert len(tries) == 2 and await tenant.count("notes") == 14
    changes = await store.changes(0, limit=99)
    assert len(changes) == 14
    await store.close()


@pytest.mark.postgres
async def test_a_commit_whose_answer_is_lost(postgres_dsn: str) -> None:
    """Whether it was committed is found out: it is neither run twice nor reported as failed."""
    from bartizan.store.postgres import PostgresDb, PostgresPen, PostgresStore

    for lost in ("before", "after"):

        class Cut(PostgresDb):
            """A connection whose server goes away around the next commit."""

            armed = True

            def run(self, sql: str, params: Any = ()) -> int:
                if sql == "COMMIT" and Cut.armed:
                    Cut.armed = False
                    if lost == "after":  # noqa: B023 - used within the turn
                        super().run(sql)
                    backends(postgres_dsn, f"pid = {self.connection.info.backend_pid}")
                return super().run(sql, params)

        store = PostgresStore(postgres_dsn, COLLECTIONS)
        await store.start()
        assert store._writer is not None
        pen = store._writer._pen
        assert isinstance(pen, PostgresPen)
        pen._db = Cut(pen._open().connection)
        runs: list[int] = []

        def count(tx: Tx) -> int:
            runs.append(1)  # noqa: B023 - used within the turn
            before = int(tx.value("count") or b"0")
            tx.set_value("count", str(before + 1).encode())
            return before + 1

        before = int(await store.tenant("t").value("count") or b"0")
        answer = await store.tenant("t").write(count, actor="me")
        assert not Cut.armed and answer == before + 1
        assert int(await store.tenant("t").value("count") or b"0") == before + 1
        assert len(runs) == (1 if lost == "after" else 2)
        await store.close()


@pytest.mark.postgres
def test_a_silent_server_is_noticed(postgres_dsn: str) -> None:
    """Connections ask whether the other side is still there; the DSN may say how."""
    from bartizan.store.postgres import connect

    for more, idle in (("", "10"), ("?keepalives_idle=77", "77")):
        db = connect(postgres_dsn + more, Limits(), writes=False, statement_s=1)
        found = db.connection.info.get_parameters()
        db.connection.close()
        assert (found["keepalives_idle"], found["tcp_user_timeout"]) == (idle, "25000")


@pytest.mark.postgres
async def test_a_server_that_is_away(postgres_dsn: str) -> None:
    """503 for reads, writes and start, not a hang; the same store works when the server is back."""
    nowhere = "postgresql://postgres@127.0.0.1:1/none"
    with pytest.raises(Unavailable, match="cannot be reached"):
        await open_store(nowhere, COLLECTIONS, connect_s=1).start()
    store = open_store(postgres_dsn, COLLECTIONS, connect_s=1)
    await store.start()
    kept, store._dsn = store._dsn, nowhere  # type: ignore[attr-defined]
    pen = store._writer._pen  # type: ignore[attr-defined]
    pen._dsn = nowhere
    await asyncio.to_thread(backends, postgres_dsn, HERE)
    with pytest.raises(Unavailable):
        await store.tenant("t").count("notes")
    with pytest.raises(Unavailable):
        await store.tenant("t").write(putting(note("n1")), actor="me")
    store._dsn = pen._dsn = kept  # type: ignore[attr-defined]
    await store.tenant("t").write(putting(note("n2")), actor="me")
    assert await store.tenant("t").count("notes") == 1
    await store.close()


async def test_an_outcome_that_cannot_be_told_is_not_tried_again() -> None:
    """Better one honest 503 than a change made twice."""

    class Pen:
        db: Any = None
        runs = 0

        def lock(self) -> None: ...
        def begin(self) -> Any:
            return type("Clock", (), {"feed": 0})()

        def savepoint(self) -> None: ...
        def release(self) -> None: ...
        def undo(self) -> None: ...
        def commit(self, clock: Any) -> bool:
            raise Unknown("it may or may not be there")

        def abort(self) -> None: ...
        def explain(self, error: BaseException) -> tuple[None, bool]:
            return None, False

        def close(self) -> None: ...

    pen = Pen()
    writer = Writer(pen, Bounds(), lambda: None)

    def work(db: Db, clock: Any) -> None:
        pen.runs += 1

    with pytest.raises(Unavailable, match="may or may not"):
        await writer.run(work)
    assert pen.runs == 1
    await asyncio.to_thread(writer.close)
