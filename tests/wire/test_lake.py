"""What a started server takes in is in Parquet a moment later."""

import asyncio
import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import duckdb
from tests.wire.conftest import Running, stop
from tests.wire.test_survival import ALERTS, placed

from bartizan.app.handover import handover
from bartizan.lake.buffer import open_lake
from bartizan.lake.manifest import Manifest
from bartizan.lake.sqlite import FILE
from bartizan.lake.storage import Storage, view
from bartizan.settings import load

LIMIT_S = 30.0


def stored(server: Running, table: str) -> Storage:
    """As soon as the table has rows."""

    async def look() -> Storage:
        lake = open_lake(server.data)
        await lake.start()
        try:
            manifest, end = Manifest(lake, server.data / "lake"), time.monotonic() + LIMIT_S
            while True:
                found = await view(manifest, server.tenant)
                if table in found.tables or time.monotonic() > end:
                    return found
                await asyncio.sleep(0.1)
        finally:
            await lake.close()

    return asyncio.run(look())


def test_an_alert_is_found_in_files(tmp_path: Path) -> None:
    """Through the API, the feed, the copy stage, the buffer and the process that makes files; a row once."""
    with placed(tmp_path) as place:
        server = place.up()
        with server.api() as api:
            made = api.post(ALERTS, content=json.dumps({"title": "into the lake", "severity": "high"}))
            assert made.status_code == 201, made.text
        storage = stored(server, "AlertInfo")
        assert {"AlertInfo", "SecurityAlert"} <= set(storage.tables)
        with duckdb.connect() as db:
            db.execute(f"SET allowed_directories = ['{storage.folder}']")
            db.execute("SET enable_external_access = false")  # its folder is enough
            columns = ", ".join(storage.column("AlertInfo", name) for name in ("AlertId", "Title", "Severity"))
            found = db.execute(f"SELECT {columns} FROM {storage.source('AlertInfo')}").fetchall()
        assert found == [(made.json()["id"], "into the lake", "High")]
        assert place.process is not None
        stop(place.process)
        assert "Traceback" not in (tmp_path / "server.log").read_text(errors="replace")


def test_told_to_stop_while_it_opens(tmp_path: Path) -> None:
    """The process that makes files ends quietly, also where it waits for the lock of the buffer."""
    with sqlite3.connect(tmp_path / FILE, isolation_level=None) as held:
        held.execute("BEGIN EXCLUSIVE")
        command = (sys.executable, "-m", "bartizan.app", "lake")
        with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdin is not None and process.stderr is not None
            process.stdin.write(handover(load(str(tmp_path))))
            process.stdin.flush()
            while not _waits(process.pid, tmp_path / FILE):
                assert process.poll() is None
                time.sleep(0.02)
            process.terminate()
            time.sleep(0.2)
            held.execute("ROLLBACK")
            assert process.wait(LIMIT_S) == 0
            assert "Traceback" not in process.stderr.read().decode()
    held.close()


def _waits(pid: int, file: Path) -> bool:
    """Whether the process has the file open."""
    return any(each.resolve() == file for each in Path(f"/proc/{pid}/fd").iterdir() if each.exists())
