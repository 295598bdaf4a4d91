"""Write-back that is killed: every change arrives, in order for each object; twice only what was in flight."""

import asyncio
import contextlib
import os
import random
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.respond.ticketing import EVERY, QUICK, Desk, answering

from bartizan.store import open_store

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

KILLS = 16
ALERTS = 8
CHANGES = 200
LIMIT_S = 120.0


class Lives:
    """Processes that write back, one after the other."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def begin(self) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(b"\n")
        while not (line := await self._process.stdout.readline()).strip().isdigit():
            assert line, "the process ended"
        return int(line)


@contextlib.asynccontextmanager
async def lives(target: str) -> AsyncIterator[Lives]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.respond.writeback_process", target),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONWARNINGS": ""},
    )
    try:
        yield Lives(process)
    finally:
        process.kill()
        await process.wait()


@pytest.mark.parametrize("engine", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_kill_while_writing_back(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Killed again and again while analysts go on, and while the system fails now and then."""
    target = request.getfixturevalue("postgres_dsn") if engine == "postgres" else str(tmp_path)
    kills, changes = (KILLS, CHANGES) if engine == "sqlite" else (KILLS // 4, CHANGES // 4)
    store = open_store(target, EVERY)
    await store.start()
    desk, chance = Desk(store), random.Random(11)
    made: dict[str, list[str]] = {f"a{n}": [] for n in range(ALERTS)}

    async def work(alerts: dict[str, str]) -> None:
        while _count(made) < changes:
            id = chance.choice(list(made))
            made[id].append(f"p{len(made[id])}")
            await desk.change(alerts[id], assignedTo=made[id][-1])
            await asyncio.sleep(0.015)

    async with answering() as system, lives(target) as processes, asyncio.timeout(LIMIT_S):
        system.delay_s = 0.02
        tickets = await desk.connect(system.url)
        alerts = {id: await desk.pull(tickets, id, "2026-11-23T05:00:00.0000000Z") for id in made}
        analysts = asyncio.create_task(work(alerts))
        for n in range(kills):
            system.answer = 503 if n % 5 == 4 else 200
            process = await processes.begin()
            await asyncio.sleep(chance.uniform(0.05, 0.3))
            os.kill(process, signal.SIGKILL)
        system.answer = 200
        last = await processes.begin()
        await analysts
        await desk.until(lambda found: not any(each.open for each in found) and len(found) == changes)
        os.kill(last, signal.SIGKILL)
    twice = sum(times > 1 for times in system.keys.values())
    print(f"{changes} changes, {kills} kills, {twice} arrived again")
    for id, people in made.items():
        assert [each["assignedTo"] for each in system.words(id)] == people
    assert max(system.keys.values()) <= kills + 1
    assert twice <= kills * QUICK.at_once, "only what was in flight at a kill"
    await store.close()


def _count(made: dict[str, list[str]]) -> int:
    return sum(len(people) for people in made.values())
