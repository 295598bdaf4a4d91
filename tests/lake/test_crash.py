"""Writers that are killed: nothing acknowledged is lost, nothing is half there."""

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

import pytest
from tests.lake.writer_process import ROWS

from bartizan.lake.buffer import open_lake

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

KILLS = 30
LIMIT_S = 600.0
LIFE_S = (0.03, 0.5)  # how long a writer may live


def killed_writers(target: str, acks: Path) -> int:
    """Starts writers one after the other and kills each at some moment; returns how many."""
    script = Path(__file__).with_name("writer_process.py")
    chance, kills, end = random.Random(7), 0, time.monotonic() + LIMIT_S
    with subprocess.Popen(
        [sys.executable, str(script), target, str(acks)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    ) as nursery:
        assert nursery.stdin is not None and nursery.stdout is not None
        while time.monotonic() < end and kills < KILLS:
            print(f"r{kills:03}", file=nursery.stdin, flush=True)
            pid = int(nursery.stdout.readline())
            time.sleep(chance.uniform(*LIFE_S))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            kills += 1
        nursery.stdin.close()
    return kills


async def test_kill_at_any_moment(tmp_path: Path) -> None:
    """Every acknowledged append is there whole and once, numbers have no gap, and marks say what is there."""
    acks = tmp_path / "acks"
    target = str(tmp_path / "data")
    kills = await asyncio.to_thread(killed_writers, target, acks)
    lines = acks.read_bytes().split(b"\n")
    acknowledged = {line.decode() for line in lines[:-1]}  # a line may be cut off by the kill, but only the last
    lake = open_lake(target)
    await lake.start()
    try:
        found: Counter[str] = Counter()
        position = 0
        while batches := await lake.read_after(position, limit_rows=10_000, limit_bytes=2**26):
            assert [batch.seq for batch in batches] == list(range(position + 1, position + 1 + len(batches)))
            position = batches[-1].seq
            for batch in batches:
                found.update(row["UserId" if batch.table == "SigninLogs" else "DeviceId"] for row in batch.rows())
        assert position == await lake.head()
        assert acknowledged <= found.keys(), sorted(acknowledged - found.keys())[:5]
        assert set(found.values()) <= {ROWS}
        lanes = Counter(id.rsplit("-", 1)[0] for id in found)
        for lane, appends in lanes.items():
            run, number = lane.split("-")
            assert await lake.appended(f"t{int(number)}", f"{run}-{int(number)}") == appends
    finally:
        await lake.close()
    print(f"{kills} kills, {len(acknowledged)} acknowledged appends, {len(found)} there")
    assert kills >= KILLS // 2 and len(acknowledged) >= 200, (kills, len(acknowledged))
