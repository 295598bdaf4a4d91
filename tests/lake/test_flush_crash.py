"""Processes that append and flush and are killed: every acknowledged row is in Parquet, once."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import duckdb
import pytest
from tests.lake.flush_process import ROWS, TENANTS

from bartizan.lake.buffer import open_lake
from bartizan.lake.duck import Duck
from bartizan.lake.flush import Flusher
from bartizan.lake.manifest import PARTS, Manifest
from bartizan.lake.storage import view

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

KILLS = 30
ENOUGH = 200  # acknowledged appends; a busy machine needs more kills for them
LIMIT_S = 600.0
LIFE_S = (0.1, 0.8)  # how long a process may live
START_S = 10.0  # that it may take until it appends


def wait_for_growth(acks: Path) -> None:
    """Until a process has appended: on a busy machine that may take a while."""
    before, end = acks.stat().st_size if acks.exists() else 0, time.monotonic() + START_S
    while time.monotonic() < end and (not acks.exists() or acks.stat().st_size == before):
        time.sleep(0.01)


def killed(target: str, folder: Path, acks: Path) -> int:
    script = Path(__file__).with_name("flush_process.py")
    chance, kills, end = random.Random(11), 0, time.monotonic() + LIMIT_S
    with subprocess.Popen(
        [sys.executable, str(script), target, str(folder), str(acks)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    ) as nursery:
        assert nursery.stdin is not None and nursery.stdout is not None
        while time.monotonic() < end and (kills < KILLS or (kills < 4 * KILLS and _lines(acks) < ENOUGH)):
            print(f"r{kills:03}", file=nursery.stdin, flush=True)
            pid = int(nursery.stdout.readline())
            if kills % 3:  # the others die while they start, as it comes
                wait_for_growth(acks)
            time.sleep(chance.uniform(*LIFE_S))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            kills += 1
        nursery.stdin.close()
    return kills


def _lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


async def test_kill_at_any_moment(target: str, tmp_path: Path) -> None:
    acks, folder = tmp_path / "acks", tmp_path / "files"
    kills = await asyncio.to_thread(killed, target, folder, acks)
    acknowledged = {line.decode() for line in acks.read_bytes().split(b"\n")[:-1]}
    lake = open_lake(target)
    await lake.start()
    duck = Duck(folder, threads=1, memory_mb=128)
    try:
        manifest = Manifest(lake, folder, grace_s=0)
        flusher = Flusher(lake, manifest, duck)
        while await flusher.step():
            pass
        await manifest.sweep()
        found: Counter[str] = Counter()
        named: set[str] = set()
        levels: Counter[int] = Counter()
        for number in range(TENANTS):
            storage = await view(manifest, f"t{number}")
            for table, column in (("DeviceEvents", "DeviceId"), ("SigninLogs", "UserId")):
                sql = f"SELECT {storage.column(table, column)} FROM {storage.source(table)}"
                with contextlib.closing(duckdb.connect()) as db:
                    found.update(id for (id,) in db.execute(sql).fetchall())
                named |= {file.path for file in storage.files[table]}
                levels.update(file.level for file in storage.files[table])
        assert acknowledged <= found.keys(), sorted(acknowledged - found.keys())[:5]
        assert set(found.values()) == {ROWS}
        assert (await lake.sizes()).batches == 0
        # What nothing names was under way when its process was killed: at most what one flush and one merge write.
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*.parquet") if PARTS not in path.parts}
        assert named <= there and len(there - named) <= kills * 16
    finally:
        duck.close()
        await lake.close()
    print(
        f"{kills} kills, {len(acknowledged)} acknowledged appends, {len(found)} there, {len(there - named)} left over"
    )
    print(f"files by level: {sorted(levels.items())}")
    assert kills >= KILLS // 2 and len(acknowledged) >= ENOUGH
