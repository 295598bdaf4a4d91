"""From the buffer to Parquet and back, on both engines of the database."""

import asyncio
import contextlib
import os
import time
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import pytest
from tests.lake.conftest import Opener

from bartizan.lake.buffer import Lake
from bartizan.lake.compact import FAN, QUIET_S, Upkeep, choose
from bartizan.lake.duck import Duck
from bartizan.lake.flush import MAX_DAYS, Flusher
from bartizan.lake.manifest import OTHER_DAYS, File, Manifest, folder_of
from bartizan.lake.readers import expected, passed
from bartizan.lake.storage import Storage, view
from bartizan.lake.tables import declare
from bartizan.lake.writer import Clock, Db

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
KINDS = declare(
    "LakeFilesEvents",
    {
        "Timestamp": "datetime",
        "Text": "string",
        "Flag": "bool",
        "Small": "int",
        "Large": "long",
        "Share": "real",
        "Lasted": "timespan",
        "Id": "guid",
        "More": "dynamic",
        "more": "dynamic",
        "_flush": "string",
    },
)


def naive(text: str) -> datetime:
    """As DuckDB gives a TIMESTAMP."""
    return datetime.fromisoformat(text)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "files"


@pytest.fixture
def duck(folder: Path) -> Iterator[Duck]:
    made = Duck(folder, threads=1, memory_mb=256)
    yield made
    made.close()


@pytest.fixture
def manifest(lake: Lake, folder: Path) -> Manifest:
    return Manifest(lake, folder, grace_s=0)


@pytest.fixture
def flusher(lake: Lake, manifest: Manifest, duck: Duck) -> Flusher:
    return Flusher(lake, manifest, duck)


def rows(
    storage: Storage, table: str, *columns: str, order: str = "1", extra: bool = False, **times: datetime
) -> list[tuple[Any, ...]]:
    names = [storage.column(table, column) for column in columns] + ["_Extra"] * extra
    wanted = ", ".join(names) or "count(*)"
    with contextlib.closing(duckdb.connect()) as db:
        found = db.execute(f"SELECT {wanted} FROM {storage.source(table, **times)} ORDER BY {order}").fetchall()
    return list(found)


async def altered(lake: Lake, name: str, table: str, fields: str, line: bytes) -> None:
    """The batch of a table as another version of the program might have made it."""
    sql = "UPDATE lake_batches SET name = ?, fields = ?, data = ? WHERE name = ?"
    params = (table, fields, zlib.compress(line), name)
    await lake.write(lambda db, clock: db.run(sql, params))


def there(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet")}


def at(day: int, second: int = 0) -> str:
    return f"2026-11-{day:02}T00:{second // 60:02}:{second % 60:02}.0000000Z"


async def test_each_type_is_stored_as_promised(lake: Lake, flusher: Flusher, manifest: Manifest) -> None:
    row = {
        "Timestamp": "2026-11-23T04:50:30.1234567Z",
        "Text": "a\u0000é'\"",
        "Flag": True,
        "Small": -(2**31),
        "Large": 2**63 - 1,
        "Share": 0.1,
        "Lasted": "-1.02:03:04.0000005",
        "Id": "{11111111-2222-3333-4444-55555555555A}",
        "More": {"a": [1, None, "x"], "b": 1.5},
        "more": "plain",
        "_flush": "mine",
        "Stray": 1,
    }
    await lake.append("t", [(KINDS.name, row), (KINDS.name, {"Timestamp": "0001-01-01T00:00:00Z"})])
    assert await flusher.step() == 1
    storage = await view(manifest, "t")
    first, second = rows(storage, KINDS.name, *KINDS.columns, order='"Timestamp"')
    assert first == (naive("0001-01-01"), "", None, None, None, None, None, None, None, None, "")
    assert second == (
        naive("2026-11-23T04:50:30.123456"),
        row["Text"],
        True,
        -(2**31),
        2**63 - 1,
        0.1,
        -(93_784 * 10**7 + 5),
        UUID("11111111-2222-3333-4444-55555555555a"),
        '{"a":[1,null,"x"],"b":1.5}',
        '"plain"',
        "mine",
    )
    with contextlib.closing(duckdb.connect()) as db:
        kinds = {name: kind for name, kind, *_ in db.execute(f"DESCRIBE FROM {storage.source(KINDS.name)}").fetchall()}
        nothing = Storage("t", Path(), Path(), 0, 0.0, {})
        assert kinds == {
            name: kind for name, kind, *_ in db.execute(f"DESCRIBE FROM {nothing.source(KINDS.name)}").fetchall()
        }
        extra = db.execute(f"SELECT _Extra, _Flush FROM {storage.source(KINDS.name)} ORDER BY 1").fetchall()
    assert extra == [('{"Stray":1}', 1), (None, 1)]
    assert kinds["Lasted"] == "BIGINT" and kinds["Id"] == "UUID" and kinds["more_2"] == "VARCHAR"
    assert (await lake.sizes()).batches == 0 and storage.through == 1


async def test_files_are_by_tenant_table_and_day(
    lake: Lake, flusher: Flusher, manifest: Manifest, folder: Path
) -> None:
    await lake.append("t1", [("DeviceEvents", {"Timestamp": at(day), "DeviceId": str(day)}) for day in (3, 1, 2, 1)])
    await lake.append("../x", [("SigninLogs", {"TimeGenerated": at(1)}), ("ExposureGraphNodes", {"NodeId": "n"})])
    await flusher.step()
    day = {"/".join(path.split("/")[:3]) for path in there(folder)}
    other = folder_of("../x")
    assert day == {f"t1/DeviceEvents/2026-11-0{n}" for n in (1, 2, 3)} | {
        f"{other}/SigninLogs/2026-11-01",
        f"{other}/ExposureGraphNodes/all",
    }
    storage = await view(manifest, "t1")
    assert rows(storage, "DeviceEvents", "DeviceId") == [("1",), ("1",), ("2",), ("3",)]
    assert storage.tables == ["DeviceEvents"] and rows(storage, "SigninLogs") == [(0,)]
    assert all(path.startswith("t1/") for path in (file.path for file in storage.files["DeviceEvents"]))
    since, until = datetime(2026, 11, 2, tzinfo=UTC), datetime(2026, 11, 2, 23, tzinfo=UTC)
    assert rows(storage, "DeviceEvents", "DeviceId", since=since, until=until) == [("2",)]
    assert (await view(manifest, "../x")).tables == ["ExposureGraphNodes", "SigninLogs"]
    assert [(each.table, each.rows) for each in await manifest.extents("t1")] == [("DeviceEvents", 4)]


async def test_rows_of_many_days_share_a_file(lake: Lake, flusher: Flusher, manifest: Manifest, folder: Path) -> None:
    """Whatever times a source sends, a flush makes a bounded number of files."""
    times = [f"{year}-01-01T00:00:00Z" for year in range(1901, 2000)]
    await lake.append("t", [("DeviceEvents", {"Timestamp": each}) for each in times])
    await flusher.step()
    assert len(there(folder)) == MAX_DAYS and any(f"/{OTHER_DAYS}/" in path for path in there(folder))
    storage = await view(manifest, "t")
    assert len(rows(storage, "DeviceEvents", "Timestamp")) == len(times)


async def test_what_the_catalogue_does_not_know_is_kept(lake: Lake, flusher: Flusher, manifest: Manifest) -> None:
    """A batch of a newer program: its rows are there, whole, as the rest."""
    line = b'{"Timestamp":"2026-11-01T00:00:00.0000000Z","DeviceId":"d","FromTheFuture":[1]}\n'
    await lake.append("t", [("DeviceEvents", {"Timestamp": at(1)}), ("DeviceInfo", {"Timestamp": at(1)})])
    await altered(lake, "DeviceEvents", "DeviceEvents", "Timestamp,DeviceId,FromTheFuture", line)
    await altered(lake, "DeviceInfo", "Unheard", "Timestamp,DeviceId,FromTheFuture", line)
    await flusher.step()
    storage = await view(manifest, "t")
    found = rows(storage, "DeviceEvents", "Timestamp", "DeviceId", extra=True)
    assert found == [(naive("2026-11-01"), "d", '{"FromTheFuture":[1]}')]
    (file,) = storage.files["Unheard"]
    with contextlib.closing(duckdb.connect()) as db:
        assert db.execute(f"SELECT _Extra FROM '{manifest.folder / file.path}'").fetchall() == [(line.decode()[:-1],)]


async def test_rows_that_fit_no_type_are_kept_as_text(lake: Lake, flusher: Flusher, manifest: Manifest) -> None:
    """A fault in what made them neither loses them nor stops the flush."""
    await lake.append("t", [("DeviceInfo", {"Timestamp": at(1)})])
    line = b'{"Timestamp":"2026-11-01T00:00:00.0000000Z","OSBuild":"not a number"}\n'
    await altered(lake, "DeviceInfo", "DeviceInfo", "Timestamp,OSBuild", line)
    await flusher.step()
    found = rows(await view(manifest, "t"), "DeviceInfo", "Timestamp", "OSBuild", extra=True)
    assert found == [(naive("2026-11-01"), None, line.decode()[:-1])]


async def test_a_view_shows_the_rows_of_another_table(lake: Lake, flusher: Flusher, manifest: Manifest) -> None:
    await lake.append("t", [("EntraIdSignInEvents", {"Timestamp": at(1), "EntraIdDeviceId": "d"})])
    await flusher.step()
    storage = await view(manifest, "t")
    assert storage.tables == ["AADSignInEventsBeta", "EntraIdSignInEvents"]
    assert rows(storage, "AADSignInEventsBeta", "AadDeviceId") == [("d",)]
    assert storage.columns("AADSignInEventsBeta")["AadDeviceId"] == "string"
    assert "EntraIdDeviceId" not in storage.columns("AADSignInEventsBeta")


async def test_two_flushers_write_each_row_once(
    opened: Opener, folder: Path, duck: Duck, flusher: Flusher, lake: Lake, manifest: Manifest
) -> None:
    """One that has lost its lease and does not know it leaves nothing behind."""
    await lake.append("t", [("DeviceEvents", {"Timestamp": at(1), "DeviceId": "d"})])

    class Slow(Flusher):
        def _write(self, groups: Any, through: int) -> Any:
            made = super()._write(groups, through)
            asyncio.run_coroutine_threadsafe(flusher.step(), loop).result(30)
            return made

    loop = asyncio.get_running_loop()
    other = Duck(folder, threads=1, memory_mb=256)
    await Slow(lake, manifest, other).step()
    other.close()
    assert rows(await view(manifest, "t"), "DeviceEvents") == [(1,)] and len(there(folder)) == 1


async def test_erasing_a_tenant_takes_its_files(lake: Lake, flusher: Flusher, manifest: Manifest, folder: Path) -> None:
    for tenant in ("t1", "t2"):
        await lake.append(tenant, [("DeviceEvents", {"Timestamp": at(1)})] * 3)
    await flusher.step()
    await lake.append("t1", [("DeviceEvents", {"Timestamp": at(1)})])
    assert await lake.erase("t1") == 4
    await manifest.sweep()
    assert [path.split("/")[0] for path in there(folder)] == ["t2"] and not (folder / "t1").exists()
    assert (await view(manifest, "t1")).tables == [] and (await view(manifest, "t2")).tables == ["DeviceEvents"]


async def test_what_is_erased_while_it_is_written_stays_erased(
    lake: Lake, manifest: Manifest, folder: Path, duck: Duck
) -> None:
    class Late(Flusher):
        def _write(self, groups: Any, through: int) -> Any:
            made = super()._write(groups, through)
            asyncio.run_coroutine_threadsafe(lake.erase("t1"), loop).result(30)
            return made

    loop = asyncio.get_running_loop()
    for tenant in ("t1", "t2"):
        await lake.append(tenant, [("DeviceEvents", {"Timestamp": at(1)})])
    await Late(lake, manifest, duck).step()
    assert [path.split("/")[0] for path in there(folder)] == ["t2"]
    assert (await view(manifest, "t1")).tables == []


async def test_small_files_become_one_sorted_file(
    lake: Lake, flusher: Flusher, manifest: Manifest, folder: Path, duck: Duck
) -> None:
    for number in range(FAN):
        more = {"DeviceName": "n"} if number % 2 else {"ProcessId": 1}
        row = {"Timestamp": at(1, (number * 5) % FAN), "DeviceId": str(number), **more}
        await lake.append("t", [("DeviceProcessEvents", row)])
        await flusher.step()
    before = await view(manifest, "t")
    upkeep = Upkeep(manifest, duck, default_days=0, days={})
    assert await upkeep.step(NOW) == FAN and await upkeep.step(NOW) == 0
    after = await view(manifest, "t")
    (file,) = after.files["DeviceProcessEvents"]
    assert (file.rows, file.level) == (FAN, 1)
    columns = ("DeviceId", "DeviceName", "ProcessId", "FileName", "Timestamp")
    assert rows(before, "DeviceProcessEvents", *columns) == rows(after, "DeviceProcessEvents", *columns)
    with contextlib.closing(duckdb.connect()) as db:
        times = db.execute(f"SELECT Timestamp FROM '{folder / file.path}'").fetchall()
        assert times == sorted(times)
    assert await manifest.sweep() == FAN and len(there(folder)) == 1


async def test_files_that_were_replaced_stay_for_their_grace(
    lake: Lake, flusher: Flusher, folder: Path, duck: Duck
) -> None:
    manifest = Manifest(lake, folder, grace_s=900)
    for _ in range(FAN):
        await lake.append("t", [("DeviceEvents", {"Timestamp": at(1)})])
        await flusher.step()
    before = await view(manifest, "t")
    await Upkeep(manifest, duck, default_days=0, days={}).step(NOW)
    assert await manifest.sweep() == 0
    assert rows(before, "DeviceEvents") == rows(await view(manifest, "t"), "DeviceEvents") == [(FAN,)]


async def test_a_replacement_of_what_is_gone_is_left_out(
    lake: Lake, flusher: Flusher, manifest: Manifest, duck: Duck, folder: Path
) -> None:
    for _ in range(FAN):
        await lake.append("t", [("DeviceEvents", {"Timestamp": at(1)})])
        await flusher.step()

    class Late(Upkeep):
        def _write(self, files: Any) -> Any:
            made = super()._write(files)
            asyncio.run_coroutine_threadsafe(lake.erase("t"), loop).result(30)
            return made

    loop = asyncio.get_running_loop()
    await Late(manifest, duck, default_days=0, days={}).step(NOW)
    await manifest.sweep()
    assert (await view(manifest, "t")).tables == [] and there(folder) == set()


async def test_retention_by_table(lake: Lake, flusher: Flusher, manifest: Manifest) -> None:
    now = datetime.now(UTC)
    old, new = (f"{now - timedelta(days=days):%Y-%m-%dT%H:%M:%SZ}" for days in (40, 1))
    for table in ("DeviceEvents", "DeviceInfo", "DeviceFileEvents"):
        await lake.append("t", [(table, {"Timestamp": when}) for when in (old, new)])
    await flusher.step()
    await manifest.expire({"DeviceInfo": 0, "DeviceFileEvents": 86_400 * 100}, 86_400 * 30)
    storage = await view(manifest, "t")
    counts = {extent.table: extent.rows for extent in storage.extents()}
    assert counts == {"DeviceEvents": 1, "DeviceInfo": 2, "DeviceFileEvents": 2}


async def test_files_of_nobody_are_swept_when_they_are_old(
    lake: Lake, flusher: Flusher, manifest: Manifest, folder: Path
) -> None:
    await lake.append("t", [("DeviceEvents", {"Timestamp": at(1)})])
    await flusher.step()
    (kept,) = there(folder)
    old, fresh = folder / "t/DeviceEvents/2026-11-01/old.parquet", folder / ".parts" / "fresh.parquet"
    for path in (old, fresh):
        path.write_bytes(b"x")
    for path in (old, folder / kept):
        os.utime(path, (time.time() - 86_400,) * 2)
    assert await manifest.sweep_orphans() == 1
    assert there(folder) == {kept, ".parts/fresh.parquet"}


async def test_a_file_of_an_older_catalogue_reads_as_the_table_is_now(
    lake: Lake, flusher: Flusher, manifest: Manifest, folder: Path
) -> None:
    """A column that was an int or is missing; one that the table has no more is passed over."""
    await lake.append("t", [("DeviceProcessEvents", {"Timestamp": at(1), "DeviceId": "d", "ProcessId": 5})])
    await flusher.step()
    (path,) = there(folder)
    with contextlib.closing(duckdb.connect()) as db:
        old = "SELECT Timestamp, DeviceId, ProcessId::INTEGER AS ProcessId, 'x' AS Dropped"
        db.execute(f"CREATE TABLE t AS {old} FROM '{folder / path}'")
        db.execute(f"COPY t TO '{folder / path}' (FORMAT parquet)")
    columns = ("Timestamp", "DeviceId", "ProcessId", "FileName", "FileSize")
    storage = await view(manifest, "t")
    assert rows(storage, "DeviceProcessEvents", *columns, extra=True) == [(naive("2026-11-01"), "d", 5, "", None, None)]
    with contextlib.closing(duckdb.connect()) as db:
        kinds = db.execute(f"SELECT typeof(ProcessId) FROM {storage.source('DeviceProcessEvents')}").fetchall()
    assert kinds == [("BIGINT",)]


async def test_a_buffer_of_the_format_before_is_taken_over(opened: Opener, folder: Path, duck: Duck) -> None:
    """Its batches do not say which columns they have."""
    old = await opened()
    await old.append("t", [("IdentityInfo", {"TimeGenerated": at(1), "AccountUpn": "a", "AccountUPN": "b"})])

    def back(db: Db, clock: Clock) -> None:
        for table in ("lake_cursors", "lake_files", "lake_gone"):
            db.run(f"DROP TABLE {table}")
        db.run("ALTER TABLE lake_batches DROP COLUMN fields")
        db.run("UPDATE lake_clock SET format = 1")

    await old.write(back)
    await old.close()
    lake = await opened()
    manifest = Manifest(lake, folder)
    assert await Flusher(lake, manifest, duck).step() == 1
    assert rows(await view(manifest, "t"), "IdentityInfo", "AccountUpn", "AccountUPN") == [("a", "b")]


def file(level: int, *, day: str = "2026-11-29", size: int = 1_000, written: datetime = NOW, number: int = 0) -> File:
    return File(f"{number:03}", "t", "T", day, level, 0, 1, 10, size, number, int(written.timestamp()))


def test_what_is_put_together() -> None:
    """Eight of a level; all of a day that is over and quiet; never more than fits a file."""
    some = [file(0, number=n) for n in range(FAN - 1)]
    assert choose(some, NOW) == []
    assert len(choose([*some, file(0, number=99)], NOW)) == FAN
    assert choose([*some, file(1, number=99)], NOW) == []
    assert len(choose([file(1, number=n) for n in range(FAN)] + [file(0, number=99)], NOW)) == FAN + 1
    quiet = NOW - timedelta(seconds=QUIET_S)
    over = [file(3, day="2026-11-28", written=quiet), file(0, day="2026-11-28", written=quiet, number=1)]
    assert len(choose(over, NOW)) == 2
    assert choose([*over, file(0, day="2026-11-28", number=2)], NOW) == []
    assert choose([file(0, day="2026-11-28", written=quiet)], NOW) == []
    large = [file(0, day="2026-11-28", written=quiet, size=2**30 // 2 - 1, number=n) for n in range(5)]
    assert len(choose(large, NOW)) == 2


async def test_the_buffer_keeps_what_a_reader_has_not_passed(lake: Lake, tmp_path: Path) -> None:
    """Files are made of it all the same; erased, it counts once."""
    await expected(lake, ["reader", "early"])
    await lake.append("a", [("DeviceEvents", {"DeviceId": "1"})])
    first = await lake.head()
    await passed(lake, "early", 10)
    await lake.append("a", [("DeviceEvents", {"DeviceId": "2"})])
    duck = Duck(tmp_path, threads=1, memory_mb=128)
    try:
        flusher = Flusher(lake, Manifest(lake, tmp_path), duck)
        assert await flusher.step() == 2
        assert (await lake.sizes()).batches == 2
        await passed(lake, "reader", first)
        await passed(lake, "reader", 0)  # never backwards
        await lake.append("a", [("DeviceEvents", {"DeviceId": "3"})])
        await flusher.step()
        assert [batch.seq for batch in await lake.read_after(0, limit_rows=10, limit_bytes=10**6)] == [
            first + 1,
            first + 2,
        ]
        assert await lake.erase("a") == 3
    finally:
        duck.close()


async def test_what_no_flush_has_seen_stays(lake: Lake, tmp_path: Path) -> None:
    """A reader that is ahead of the first flush takes nothing from it."""
    await lake.append("a", [("DeviceEvents", {"DeviceId": "1"})])
    await passed(lake, "reader", await lake.head())
    duck = Duck(tmp_path, threads=1, memory_mb=128)
    try:
        manifest = Manifest(lake, tmp_path)
        await Flusher(lake, manifest, duck, pause_s=0.0).run(idle_s=0.0)
        (file,) = (await view(manifest, "a")).files["DeviceEvents"]
        assert file.rows == 1 and (await lake.sizes()).batches == 0
    finally:
        duck.close()


async def test_a_reader_that_is_no_more_holds_nothing(lake: Lake, manifest: Manifest, flusher: Flusher) -> None:
    """Those that are expected keep their places."""
    await expected(lake, ["old", "reader"])
    await lake.append("a", [("DeviceEvents", {"DeviceId": "1"})])
    await flusher.step()
    await passed(lake, "reader", await lake.head())
    await flusher.run(idle_s=0.0)
    assert (await lake.sizes()).batches == 1
    await expected(lake, ["reader"])
    await flusher.run(idle_s=0.0)
    assert (await lake.sizes()).batches == 0
    assert await manifest.position() == await lake.head()


async def test_what_was_erased_before_its_flush_is_not_waited_for(
    lake: Lake, manifest: Manifest, flusher: Flusher
) -> None:
    """Else a process would be kept that has nothing to do."""
    await lake.append("a", [("DeviceEvents", {"DeviceId": "1"})])
    await manifest.erase("a")
    assert await flusher.step() == 0
    assert await manifest.position() == await lake.head()
    await lake.append("a", [("DeviceEvents", {"DeviceId": "2"})])
    assert await flusher.step() == 1
