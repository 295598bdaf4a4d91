"""`bartizan backup` beside a server that writes, and what comes of the copies in an empty folder."""

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from bartizan.cli import Surroundings, bartizan
from bartizan.errors import NotServed
from bartizan.lake import Lake, open_lake
from bartizan.lake.duck import Duck
from bartizan.lake.flush import Flusher
from bartizan.lake.manifest import Manifest
from bartizan.lake.storage import view
from bartizan.store import Collection, Draft, Store, open_store

pytestmark = pytest.mark.anyio
NOTES = Collection("notes")


def collections() -> tuple[Collection, ...]:
    return (*Surroundings().collections(), NOTES)


def cli(data: Path, *args: str) -> Any:
    done = CliRunner().invoke(bartizan, [*args, "--data", str(data)], prog_name="bartizan")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """With their size and what others than the owner may do."""
    return {str(each): (each.stat().st_size, each.stat().st_mode & 0o077) for each in folder.iterdir()}


async def write_on(store: Store, lake: Lake, told: list[int], begun: asyncio.Event, stop: asyncio.Event) -> None:
    """Notes and events, one after the other; `told` are those that were acknowledged."""
    n = 0
    while not stop.is_set():
        doc = Draft("notes", f"n{n:06}", b"{}")
        await lake.append("t", [("DeviceEvents", {"DeviceName": f"d{n:06}"})])
        await store.tenant("t").write(lambda tx, doc=doc: tx.put(doc), actor="me")  # type: ignore[misc]
        told.append(n)
        n += 1
        if n == 50:
            begun.set()


async def flushed(lake: Lake, folder: Path) -> int:
    duck = Duck(folder, threads=1)
    try:
        return await Flusher(lake, Manifest(lake, folder), duck).step()
    finally:
        duck.close()


async def filed(lake: Lake, folder: Path) -> list[str]:
    """The names in Parquet files."""
    source = (await view(Manifest(lake, folder), "t")).source("DeviceEvents")
    with duckdb.connect() as db:
        return [name for (name,) in db.execute(f"SELECT DeviceName FROM {source} ORDER BY 1").fetchall()]


def whole(copy: Path, said: Any) -> None:
    """The backup tells what it made, and that is there, for its owner alone."""
    assert [(Path(each["file"]).name, each["restoreAs"]) for each in said["copied"]] == [
        ("copy.db", "state.db"),
        ("copy.db.events", "buffer.db"),
        ("copy.db.lake", "lake"),
    ]
    there = files(copy.parent)
    assert there.pop(str(copy) + ".lake")[1] == 0 and said["copied"][2]["bytes"] > 0
    assert there == {each["file"]: (each["bytes"], 0) for each in said["copied"][:2]}


async def test_what_was_acknowledged_comes_back(tmp_path: Path) -> None:
    """A backup taken while others write, restored as the how-to page says: everything acknowledged before is there,
    state and events, and the secrets open."""
    data, copy, folder = tmp_path / "data", tmp_path / "kept" / "copy.db", tmp_path / "restored"
    copy.parent.mkdir()
    made = await asyncio.to_thread(cli, data, "app", "add", "sample")
    store, lake = open_store(data, collections()), open_lake(data)
    await store.start()
    await lake.start()
    told: list[int] = []
    begun, stop = asyncio.Event(), asyncio.Event()
    writing = asyncio.create_task(write_on(store, lake, told, begun, stop))
    await begun.wait()
    assert await flushed(lake, data / "lake") >= 50
    before = len(told)
    command = [sys.executable, "-m", "bartizan", "backup", str(copy), "--data", str(data)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    answer, _ = await process.communicate()
    assert process.returncode == 0
    said = json.loads(answer)
    stop.set()
    await writing
    await store.close()
    await lake.close()
    assert len(told) > before  # it was taken while others wrote
    whole(copy, said)
    assert said["keepWithIt"] == [str(data / "master.key"), str(data / "tls")] and "master key" in said["note"]
    assert (await asyncio.to_thread(cli, folder, "restore", str(copy)))["putBeside"] == ["master.key", "tls"]
    assert {mode for _, mode in files(folder).values()} == {0}
    shutil.copy(data / "master.key", folder)
    if (data / "tls").exists():
        shutil.copytree(data / "tls", folder / "tls")
    store, lake = open_store(folder, collections()), open_lake(folder)
    await store.start()
    await lake.start()
    notes = await store.tenant("t").count("notes")
    batches = await lake.read_after(0, limit_rows=100_000, limit_bytes=2**30)
    events = await filed(lake, folder / "lake")
    assert len(events) >= 50
    events += [row["DeviceName"] for batch in batches for row in batch.rows()]
    assert before <= notes <= len(told) + 1 and events == [f"d{n:06}" for n in range(len(events))]
    assert len(events) >= notes  # an event stands before the note that says it was taken in
    await lake.append("t", [("DeviceEvents", {"DeviceName": "more"})])
    await store.close()
    await lake.close()
    assert [app["clientId"] for app in await asyncio.to_thread(cli, folder, "app", "list")] == [made["clientId"]]
    assert await asyncio.to_thread(cli, folder, "key", "list") == await asyncio.to_thread(cli, data, "key", "list")
    assert (await asyncio.to_thread(cli, folder, "audit", "verify"))["ok"]


def refused(data: Path, *args: str) -> str:
    done = CliRunner().invoke(bartizan, [*args, "--data", str(data)], prog_name="bartizan")
    assert done.exit_code == 1 and "Traceback" not in done.output
    return done.output


def test_what_a_server_uses_is_never_replaced(tmp_path: Path) -> None:
    """No backup over the server's own files; no restore into a folder with a database, nor of half a copy."""
    data, copy, folder = tmp_path / "data", tmp_path / "copy.db", tmp_path / "new"
    cli(data, "app", "add", "sample")
    before = files(data)
    for name in ("state.db", "buffer.db", "state.db-wal", "master.key", "../data/state.db"):
        assert "the server's own files" in refused(data, "backup", str(data / name))
    assert files(data).keys() == before.keys() and cli(data, "app", "list")[0]["name"] == "sample"
    cli(data, "backup", str(copy))
    assert "holds buffer.db, state.db" in refused(data, "restore", str(copy))
    folder.mkdir()
    (folder / "buffer.db-wal").write_bytes(b"of another")
    assert "holds buffer.db-wal" in refused(folder, "restore", str(copy))
    (folder / "buffer.db-wal").unlink()
    (tmp_path / "copy.db.events").rename(tmp_path / "elsewhere")
    assert "both halves" in refused(folder, "restore", str(copy))
    (tmp_path / "copy.db.events").write_bytes(b"not a database")
    assert "is not a database" in refused(folder, "restore", str(copy))
    assert list(folder.iterdir()) == []


async def test_a_backup_that_fails_leaves_the_last_one(tmp_path: Path) -> None:
    """Where the events cannot be copied, FILE is as it was and nothing half made lies beside it."""
    data, copy = tmp_path / "data", tmp_path / "copy.db"
    await asyncio.to_thread(cli, data, "app", "add", "first")
    await asyncio.to_thread(cli, data, "backup", str(copy))
    was = copy.read_bytes()
    (tmp_path / "copy.db.events").unlink()
    (tmp_path / "copy.db.events").mkdir()
    await asyncio.to_thread(cli, data, "app", "add", "sample")
    done = await asyncio.to_thread(
        lambda: CliRunner().invoke(bartizan, ["backup", str(copy), "--data", str(data)], prog_name="bartizan")
    )
    assert done.exit_code == 1 and "Traceback" not in done.output and copy.read_bytes() == was
    assert not (tmp_path / "copy.db.made").exists()


@pytest.mark.postgres
async def test_postgresql_says_what_to_use(postgres_dsn: str, tmp_path: Path) -> None:
    """Both halves name pg_dump."""
    store, lake = open_store(postgres_dsn, (NOTES,)), open_lake(postgres_dsn)
    for each in (store, lake):
        await each.start()
        with pytest.raises(NotServed, match="pg_dump"):
            await each.backup(str(tmp_path / "copy"))
        await each.close()
