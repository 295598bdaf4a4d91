"""What the world does to a lake: full disks, read-only folders, lost connections, damaged files."""

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from tests.conftest import Disk, immutable, small_disk
from tests.lake.test_buffer import event, numbers

from bartizan.errors import StorageFull, Unavailable
from bartizan.lake.buffer import Lake, open_lake

pytestmark = pytest.mark.anyio

DISK = "6m"  # of the small file system


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    with small_disk(tmp_path / "disk", DISK) as made:
        yield made


def noise(size: int) -> str:
    return os.urandom(size // 2).hex()


async def there(lake: Lake) -> list[int]:
    return numbers(await lake.read_after(0, limit_rows=1_000_000, limit_bytes=2**40))


async def fill_up(lake: Lake) -> int:
    """Appends until the disk is full; returns how many were acknowledged."""
    with pytest.raises(StorageFull, match="disk is full"):
        for number in range(1_000):
            await lake.append("t", [event(number, ActionType=noise(100_000))])
    return number


async def test_a_full_disk(disk: Disk) -> None:
    """507 and nothing half there; reads go on; when there is space again appends go on, without repair or restart."""
    ballast = disk.path / "ballast"
    ballast.write_bytes(b"x" * 2_000_000)
    lake = open_lake(disk.path / "data")
    await lake.start()
    stored = await fill_up(lake)
    assert stored > 3 and await there(lake) == list(range(stored)) and await lake.head() == stored
    results = await asyncio.gather(
        *(lake.append("t", [event(1_000 + n, ActionType=noise(100_000))]) for n in range(20)), return_exceptions=True
    )
    refused = [result for result in results if isinstance(result, BaseException)]
    assert refused and all(isinstance(result, StorageFull) for result in refused)
    ballast.unlink()
    assert await lake.append("t", [event(2_000)]) == stored + 20 - len(refused) + 1
    await lake.close()
    again = open_lake(disk.path / "data")
    await again.start()
    left = await there(again)
    assert left[:stored] == list(range(stored)) and left[-1] == 2_000 and len(left) == await again.head()
    await again.close()


async def test_one_that_does_not_fit_does_not_take_others_down(disk: Disk) -> None:
    lake = open_lake(disk.path / "data")
    await lake.start()
    results = await asyncio.gather(
        lake.append("t", [event(1)]),
        lake.append("t", [event(n, ActionType=noise(4_000_000)) for n in (2, 3, 4)]),
        lake.append("t", [event(5)]),
        return_exceptions=True,
    )
    assert [isinstance(result, StorageFull) for result in results] == [False, True, False]
    assert sorted(await there(lake)) == [1, 5]
    await lake.close()


async def test_files_that_turn_read_only(tmp_path: Path) -> None:
    """503 with Retry-After for appends, reads go on, and appends again when it is writable."""
    lake = open_lake(tmp_path)
    await lake.start()
    await lake.append("t", [event(1)])
    with immutable(tmp_path):
        for _ in range(3):
            with pytest.raises(Unavailable, match="cannot be written") as caught:
                await lake.append("t", [event(2)])
            assert caught.value.headers["Retry-After"] and await there(lake) == [1]
    await lake.append("t", [event(3)])
    assert await there(lake) == [1, 3]
    await lake.close()


def test_the_file_is_private(tmp_path: Path) -> None:
    """Events are for the owner of the data folder alone."""

    async def made() -> None:
        lake = open_lake(tmp_path / "data")
        await lake.start()
        await lake.append("t", [event(1)])
        await lake.close()

    asyncio.run(made())
    assert [file.stat().st_mode & 0o077 for file in (tmp_path / "data", *(tmp_path / "data").iterdir())] == [0, 0]


async def test_a_folder_that_cannot_be_written(disk: Disk) -> None:
    (disk.path / "data").mkdir()
    if not disk.remount(f"ro,size={DISK}"):
        pytest.skip("the file system cannot be made read-only")
    for target in (disk.path / "data", disk.path / "other"):
        with pytest.raises(Unavailable, match="cannot be written"):
            await open_lake(target).start()


async def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    file = tmp_path / "buffer.db"
    file.write_bytes(b"not a database at all, " * 1_000)
    with pytest.raises(Unavailable, match="damaged"):
        await open_lake(tmp_path).start()
    assert file.read_bytes().startswith(b"not a database")


async def test_a_buffer_of_a_newer_program(tmp_path: Path) -> None:
    lake = open_lake(tmp_path)
    await lake.start()
    await lake.close()
    file = apsw.Connection(str(tmp_path / "buffer.db"))
    file.execute("UPDATE lake_clock SET format = 99")
    file.close()
    with pytest.raises(Unavailable, match="format 99"):
        await open_lake(tmp_path).start()


async def test_another_process_that_writes_for_too_long(tmp_path: Path) -> None:
    lake = open_lake(tmp_path, lock_s=0.05)
    await lake.start()
    other = apsw.Connection(str(tmp_path / "buffer.db"))
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="another process"):
        await lake.append("t", [event(1)])
    other.execute("ROLLBACK")
    other.close()
    assert await lake.append("t", [event(2)]) == 1
    await lake.close()


@pytest.mark.postgres
async def test_a_database_that_is_not_there(postgres_dsn: str) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await open_lake(f"{postgres_dsn}_missing", connect_s=2.0).start()


@pytest.mark.postgres
async def test_connections_that_are_lost(postgres_dsn: str) -> None:
    """Appends and reads open new ones; nothing is lost and nothing is there twice."""
    import psycopg

    lake = open_lake(postgres_dsn)
    await lake.start()
    await lake.append("t", [event(1)])
    assert await there(lake) == [1]
    with psycopg.connect(postgres_dsn, autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await asyncio.gather(*(lake.append("t", [event(n)]) for n in range(2, 20)))
    assert sorted(await there(lake)) == list(range(1, 20))
    await lake.close()


@pytest.mark.postgres
async def test_a_database_whose_tables_are_locked(postgres_dsn: str) -> None:
    import psycopg

    lake = open_lake(postgres_dsn, lock_s=0.2)
    await lake.start()
    await lake.append("t", [event(1)])
    with psycopg.connect(postgres_dsn) as admin:
        admin.execute("LOCK TABLE lake_batches IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(Unavailable, match="another process"):
            await lake.append("t", [event(2)])
        admin.rollback()
    assert await lake.append("t", [event(3)]) == 2 and await there(lake) == [1, 3]
    await lake.close()
