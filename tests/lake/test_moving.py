"""A tenant's events leave one server and come back in another; files of a backup."""

import contextlib
from pathlib import Path
from typing import Any

import apsw
import duckdb
import pytest

from bartizan.errors import BadRequest, Conflict
from bartizan.lake.buffer import Lake, open_lake
from bartizan.lake.duck import Duck
from bartizan.lake.flush import Flusher
from bartizan.lake.manifest import Manifest
from bartizan.lake.moving import copy_files, export_events, restore_events
from bartizan.lake.storage import view
from bartizan.lake.tables import declare

pytestmark = pytest.mark.anyio

MOVED = declare(
    "LakeMovedEvents",
    {"Timestamp": "datetime", "Text": "string", "Lasted": "timespan", "Id": "guid", "More": "dynamic", "more": "real"},
)
ROWS: list[dict[str, Any]] = [
    {"Timestamp": "2026-11-23T04:50:30.1234560Z", "Text": "é", "Lasted": "-1.00:00:00.0000001", "More": {"a": [1.5]}},
    {"Timestamp": "2026-11-24T00:00:00.0000000Z", "Id": "11111111-2222-3333-4444-555555555555", "more": 2.0},
    {"Timestamp": "2026-11-25T00:00:00.0000000Z", "More": "text", "Stray": {"b": None}},
]


async def flushed(lake: Lake, folder: Path) -> Manifest:
    manifest, duck = Manifest(lake, folder, grace_s=0), Duck(folder, threads=1, memory_mb=128)
    await Flusher(lake, manifest, duck).step()
    duck.close()
    return manifest


async def content(manifest: Manifest, tenant: str) -> list[tuple[Any, ...]]:
    storage = await view(manifest, tenant)
    columns = ", ".join([storage.column(MOVED.name, name) for name in MOVED.columns] + ["_Extra"])
    with contextlib.closing(duckdb.connect()) as db:
        return list(db.execute(f"SELECT {columns} FROM {storage.source(MOVED.name)} ORDER BY 1, 2").fetchall())


async def test_events_move_with_their_tenant(lake: Lake, tmp_path: Path) -> None:
    """Those in files, those in the buffer still; types, names that differ in case, and the rest."""
    await lake.append("t", [(MOVED.name, row) for row in ROWS])
    await lake.append("other", [(MOVED.name, ROWS[0])])
    manifest = await flushed(lake, tmp_path / "files")
    await lake.append("t", [(MOVED.name, {"Timestamp": "2026-11-26T00:00:00.0000000Z", "Text": "late"})])
    lines = [line async for line in export_events(lake, manifest, "t")]
    assert lines[-1] == b'{"kind":"eventsEnd","rows":4}\n'
    there = open_lake(tmp_path / "there")
    await there.start()
    try:
        assert await restore_events(there, "t", lines) == 4
        moved = await flushed(there, tmp_path / "there-files")
        await flushed(lake, tmp_path / "files")
        found = await content(moved, "t")
        assert found == await content(manifest, "t") and len(found) == 4
        assert await restore_events(there, "t", []) == 0  # of a program that exported none
        with pytest.raises(BadRequest, match="cut off"):
            await restore_events(there, "t", lines[:-1])
        with pytest.raises(BadRequest, match="not a line"):
            await restore_events(there, "t", [b'{"kind":"document"}'])
    finally:
        await there.close()


async def test_files_of_a_backup(tmp_path: Path) -> None:
    """A copy is brought up to date, holds what its database names and nothing else, and says what it lacks."""
    data, copy = tmp_path / "data", tmp_path / "copy.lake"
    lake = open_lake(data)
    await lake.start()
    for row in ROWS:
        await lake.append("t", [(MOVED.name, row)])
        manifest = await flushed(lake, data / "lake")
    await lake.backup(str(tmp_path / "copy.events"))
    size = copy_files(tmp_path / "copy.events", data / "lake", copy)
    names = {path.name for path in copy.rglob("*.parquet")}
    assert len(names) == 3 and size == sum(path.stat().st_size for path in copy.rglob("*.parquet"))
    (stray := copy / "t" / "old.parquet").write_bytes(b"of an earlier copy")
    await lake.append("t", [(MOVED.name, ROWS[0])])
    await flushed(lake, data / "lake")
    await lake.backup(str(tmp_path / "copy.events"))
    assert copy_files(tmp_path / "copy.events", data / "lake", copy) > size and not stray.exists()
    assert len(list(copy.rglob("*.parquet"))) == 4
    await manifest.erase("t")
    with pytest.raises(Conflict, match="again"):
        copy_files(tmp_path / "copy.events", data / "lake", tmp_path / "elsewhere")
    await lake.close()
    older = apsw.Connection(str(tmp_path / "older"))
    older.execute("CREATE TABLE t (a)")
    older.close()
    assert copy_files(tmp_path / "older", data / "lake", tmp_path / "none") == 0
