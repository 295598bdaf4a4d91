"""Writers that are killed: nothing acknowledged is lost, nothing is half there."""

import asyncio
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from tests.store.writer_process import JOBS, TENANT

from bartizan.store import Query, open_store

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

KILLS = 50
ACKNOWLEDGED = 20_000
LIMIT_S = 900.0  # far above what it takes: only a test that stands still is ended
LINE = len("r000-00-00000\n")
YOUNG_S = 0.4  # the most that every third writer lives: it may die while it starts
LEAVES = 2 * ACKNOWLEDGED * 3 // (KILLS * 2)  # the most that the others have acknowledged when their end comes
MOMENT_S = 0.02  # and then it may come a little later: between two acknowledgements, at any point of a commit


def let_live(process: int, acks: Path, chance: random.Random, young: bool, end: float) -> None:
    """Until its end comes: by writes more than by time, so that a slow machine needs no more writers."""
    if young:
        time.sleep(chance.uniform(0, YOUNG_S))
        return
    enough = acks.stat().st_size + chance.randint(0, LEAVES) * LINE
    while acks.stat().st_size < enough and time.monotonic() < end and Path(f"/proc/{process}").exists():
        time.sleep(0.002)
    time.sleep(chance.uniform(0, MOMENT_S))


def killed_writers(target: str, acks: Path, limit_s: float) -> int:
    """Starts writers one after the other and kills each at some moment; returns how many."""
    script = Path(__file__).with_name("writer_process.py")
    chance, runs, kills, end = random.Random(11), 0, 0, time.monotonic() + limit_s
    with subprocess.Popen(
        [sys.executable, str(script), target, str(acks)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    ) as nursery:
        assert nursery.stdin is not None and nursery.stdout is not None
        while time.monotonic() < end:
            if kills >= KILLS and acks.stat().st_size > ACKNOWLEDGED * LINE:
                break
            print(f"r{runs:03}", file=nursery.stdin, flush=True)
            pid = int(nursery.stdout.readline())
            let_live(pid, acks, chance, runs % 3 == 0, end)
            with contextlib.suppress(ProcessLookupError):  # one that came to its own end was not killed
                os.kill(pid, signal.SIGKILL)
                kills += 1
            runs += 1
        nursery.stdin.close()
    return kills


async def test_kill_at_any_moment(target: str, tmp_path: Path) -> None:
    """At least 50 kills and 20,000 acknowledged writes. Every acknowledged document is there; every document that is
    there has its entities, its edge, its attachment, its change and its count, and none of these stands without it."""
    acks = tmp_path / "acks"
    kills = await asyncio.to_thread(killed_writers, target, acks, LIMIT_S)
    lines = acks.read_bytes().split(b"\n")
    acknowledged = {line.decode() for line in lines[:-1]}  # a line may be cut off by the kill, but only the last
    print(f"{kills} kills, {len(acknowledged)} acknowledged writes")
    store = open_store(target, (JOBS,))
    await store.start()
    try:
        tenant = store.tenant(TENANT)
        ids: dict[str, tuple[int, str]] = {}
        after = None
        while True:
            page = await tenant.page("jobs", Query(1_000, after=after))
            for row in page.rows:
                body = json.loads(row.doc)
                assert body["filling"] == "x" * (body["n"] * 37 % 3_000)
                ids[row.id] = (row.seq, row.created)
            if not page.more:
                break
            after = page.last
        assert acknowledged <= ids.keys(), sorted(acknowledged - ids.keys())[:5]
        runs = Counter(id.split("-")[0] for id in ids)
        for run, number in runs.items():
            assert int(await tenant.value(f"count-{run}") or b"0") == number
            edges = {target for _, target in await tenant.related("made", f"count-{run}", limit=100_000)}
            assert edges == {id for id in ids if id.startswith(run)}
        for id, (_, created) in ids.items():
            for kind in ("host", "user"):
                assert await tenant.entity(kind, id) == [("jobs", id, "", created)]
            assert await tenant.attachment("jobs", id, "raw") == id.encode()
        position, told = 0, {}
        while changes := await store.changes(position, limit=5_000):
            told.update({change.id: (change.seq, change.at) for change in changes})
            position = changes[-1].seq
        assert told == ids
        stamps = [ids[id][1] for id in sorted(ids, key=lambda id: ids[id][0])]
        assert stamps == sorted(set(stamps))
    finally:
        await store.close()
    assert kills >= KILLS and len(acknowledged) >= ACKNOWLEDGED, (kills, len(acknowledged))
