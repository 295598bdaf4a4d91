"""Delivery that is killed: every change is told at least once, and in order."""

import asyncio
import random
from pathlib import Path

import pytest
from tests.respond.conftest import EVERY, Receiver, life, put_alert, subscribe

from bartizan.store import open_store

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

KILLS = 12
CHANGES = 600
LIMIT_S = 120.0


async def test_kill_during_delivery(tmp_path: Path, receiver: Receiver) -> None:
    """Killed again and again while changes come in and an endpoint fails now and then: each subscription has been told
    of every change that it wants, nothing else, and first tellings are in the order of the changes."""
    store = open_store(tmp_path, EVERY)
    await store.start()
    await subscribe(store, f"{receiver.root}/all")
    await subscribe(store, f"{receiver.root}/high", "security/alerts?$filter=severity eq 'high'")
    await subscribe(store, f"{receiver.root}/flaky")
    receiver.delay_s = {"/all": 0.02, "/high": 0.05}
    chance = random.Random(7)
    written: list[str] = []

    async def write() -> None:
        for n in range(CHANGES):
            await put_alert(store, f"a{n:03}", severity="high" if n % 3 == 0 else "low")
            written.append(f"a{n:03}")
            receiver.status["/flaky"] = 503 if n % 50 < 30 else 202
            await asyncio.sleep(0.02)

    expected = {
        "/all": [f"a{n:03}" for n in range(CHANGES)],
        "/high": [f"a{n:03}" for n in range(0, CHANGES, 3)],
        "/flaky": [f"a{n:03}" for n in range(CHANGES)],
    }

    def first_tellings(path: str) -> list[str]:
        return list(dict.fromkeys(each["resourceData"]["id"] for each in receiver.sent(path)))

    async with asyncio.timeout(LIMIT_S):
        writer = asyncio.create_task(write())
        for _ in range(KILLS):
            await life(
                "delivery_process", tmp_path, 1.1 + chance.uniform(0, 0.9)
            )  # a killed holder's lease ends after a second
        receiver.status.clear()
        last = asyncio.create_task(life("delivery_process", tmp_path, LIMIT_S))
        try:
            await writer
            await receiver.wait(lambda: all(len(first_tellings(p)) >= len(w) for p, w in expected.items()), LIMIT_S)
        finally:
            writer.cancel()
            last.cancel()
            await asyncio.gather(writer, last, return_exceptions=True)
    sent = {path: receiver.sent(path) for path in expected}
    print({path: f"{len(items)} sent, {len(expected[path])} wanted" for path, items in sent.items()})
    for path, wanted in expected.items():
        assert first_tellings(path) == wanted
        again = {each["id"]: each for each in sent[path]}
        assert len(again) == len(wanted), "a repeat has the id of the first telling"
    await store.close()
