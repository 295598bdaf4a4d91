"""Workers that are killed while they have orders carried out: none is lost, and none is done under a second key."""

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.respond.conftest import TENANT, context, life, until
from tests.respond.system import System, system

from bartizan.app.assembly import connections_of, declared
from bartizan.extend.connections import Connection
from bartizan.respond.dispatch import Dispatch
from bartizan.respond.orders import SECURITY_ACTIONS
from bartizan.settings import Settings
from bartizan.store import inner, open_store

pytestmark = [pytest.mark.anyio, pytest.mark.slow]
KILLS = 4
ACTIONS, TARGETS = 4, 40
LIMIT_S = 60.0
KINDS = ("fine", "away-2", "lost", "slow-2", "fine")


async def test_kill_while_orders_are_carried_out(tmp_path: Path) -> None:
    store = open_store(tmp_path, declared())
    await store.start()
    connections = connections_of(Settings(data=str(tmp_path)), store)
    dispatch = Dispatch(connections)
    chance = random.Random(11)

    async def order(number: int) -> str:
        names = [f"{KINDS[n % len(KINDS)]}@{number}.{n}.example" for n in range(TARGETS)]
        given: dict[str, Any] = {
            "name": "disableUser",
            "parameters": [{"name": "upn", "value": name} for name in names],
            "vendorInformation": {"provider": "north" if number % 2 else "south"},
        }
        ctx = context(store, version="beta", clock=lambda: datetime.now(UTC))
        (row,) = await dispatch.create(ctx, [given])
        return row.id

    async def actions() -> list[dict[str, Any]]:
        rows = [await store.tenant(TENANT).get(SECURITY_ACTIONS.name, id) for id in ids]
        return [inner(row) for row in rows if row is not None]

    async def all_ended() -> bool:
        return all(each["status"] in ("Completed", "Failed") for each in await actions())

    async with system() as outside, asyncio.timeout(LIMIT_S):
        outside.delay_s = 0.02
        for id in ("north", "south"):
            made = Connection(id=id, connector="test-people")
            await connections.set(TENANT, made, {"url": outside.url, "token": "t"}, actor="test", new=True)
        ids = [await order(number) for number in range(ACTIONS // 2)]
        for kill in range(KILLS):
            if kill < ACTIONS - ACTIONS // 2:
                ids.append(await order(ACTIONS // 2 + kill))
            await life("carry_process", tmp_path, chance.uniform(0.05, 0.4))
        assert not await all_ended(), "the kills came too late to prove anything"
        last = asyncio.create_task(life("carry_process", tmp_path, LIMIT_S))
        try:
            await until(all_ended, LIMIT_S)
        finally:
            last.cancel()
            await asyncio.gather(last, return_exceptions=True)

    assert {each["status"] for each in await actions()} == {"Completed"}
    await connections.close()
    await store.close()
    check(outside)


def check(outside: System) -> None:
    """Each order done once, and asked for under one key."""
    keys = Counter(each["target"] for each in {each["key"]: each for each in outside.asked}.values())
    assert len(keys) == ACTIONS * TARGETS and set(keys.values()) == {1}
    assert Counter(outside.done.values()) == keys
    again = Counter(each["key"] for each in outside.asked)
    print(f"{len(outside.asked)} requests for {len(again)} orders, {max(again.values())} for one at most")
