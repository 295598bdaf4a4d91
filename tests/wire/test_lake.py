"""What a started server takes in is in Parquet a moment later."""

import asyncio
import contextlib
import json
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
from tests.conftest import immutable
from tests.wire.conftest import Running, stop
from tests.wire.test_survival import ALERTS, placed

from bartizan.app.handover import handover
from bartizan.lake.buffer import open_lake
from bartizan.lake.manifest import Manifest
from bartizan.lake.sqlite import FILE
from bartizan.lake.storage import Storage, view
from bartizan.settings import load

LIMIT_S = 60.0
LOG = "lake.log"
NOW = "2026-11-23T04:50:30.0000000Z"


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
    held = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    with lake_process(tmp_path) as process:
        until(lambda: has_open(process.pid, tmp_path / FILE))
        process.terminate()
        time.sleep(0.2)
        held.execute("ROLLBACK")
    held.close()


def test_told_to_stop_while_it_writes(tmp_path: Path) -> None:
    """Again and again, at another moment of its work."""
    for number in range(6):
        appended(tmp_path, 5_000)
        with lake_process(tmp_path) as process:
            until(lambda: has_open(process.pid, tmp_path / FILE))
            time.sleep(0.15 * number)  # from its first look at the buffer to files that are there
            process.terminate()


def test_a_buffer_that_cannot_be_written_for_a_while(tmp_path: Path) -> None:
    """It waits, says so without a trace, and goes on."""
    appended(tmp_path, 10)
    with contextlib.ExitStack() as held:
        held.enter_context(immutable(tmp_path))
        with lake_process(tmp_path) as process:
            until(lambda: "stage.waits" in (tmp_path / LOG).read_text())
            assert process.poll() is None
            held.close()
            until(lambda: any((tmp_path / "lake").glob("*/Syslog/*/*.parquet")))
            process.terminate()


@contextlib.contextmanager
def lake_process(data: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The process that makes files, which the block tells to stop: then it ends well, and without a trace."""
    command = (sys.executable, "-m", "bartizan.app", "lake")
    with (
        (data / LOG).open("w") as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log) as process,
    ):
        assert process.stdin is not None
        process.stdin.write(handover(load(str(data))))
        process.stdin.flush()
        try:
            yield process
            assert process.wait(LIMIT_S) == 0
            assert "Traceback" not in (data / LOG).read_text()
        finally:
            process.kill()


def appended(data: Path, count: int) -> None:
    """Rows into the buffer."""

    async def append() -> None:
        lake = open_lake(data)
        await lake.start()
        try:
            await lake.append("t", [("Syslog", {"TimeGenerated": NOW, "SyslogMessage": str(n)}) for n in range(count)])
        finally:
            await lake.close()

    asyncio.run(append())


def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


def has_open(pid: int, file: Path) -> bool:
    found = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it is closed meanwhile
            found.add(each.readlink())
    return file.resolve() in found
