"""What waits between the two states outlives a process, however it ends."""

import asyncio

import msgspec
import pytest
from tests.identity.live.conftest import TENANT, bring
from tests.identity.streams import DAY, START, quiet, sign_in

from bartizan.app.assembly import fed
from bartizan.identity.shards import PLACE, Place
from bartizan.identity.stage import IdentityStage
from bartizan.store import Store

pytestmark = pytest.mark.anyio


async def place(store: Store) -> Place:
    return msgspec.json.decode(await store.tenant(TENANT).value(PLACE) or b"", type=Place)


async def test_a_backlog_that_is_due_is_settled_after_a_restart(store: Store) -> None:
    """Nothing new of the tenant need come for it."""
    early = [*quiet(50, 2)]
    first = IdentityStage(store, fed(), step_changes=500)
    for part in (early, [sign_in("tenth", START + 10 * DAY, "u0")]):
        await bring(store, part)
        await first.step()
    assert (await place(store)).behind
    assert (await place(store)).settled < (START + 2 * DAY, "")

    async def tenants() -> list[str]:
        return [TENANT]

    task = asyncio.create_task(IdentityStage(store, fed(), tenants=tenants).run())
    async with asyncio.timeout(60):
        while (await place(store)).behind:
            assert not task.done()
            await asyncio.sleep(0.01)
    task.cancel()
    newest = max((each["createdDateTime"], each["id"]) for each in early)
    assert (await place(store)).settled[1] == newest[1]
