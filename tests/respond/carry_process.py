"""A process that has orders carried out from the store in a folder until it is killed; run it as a module."""

import asyncio
import sys

from tests.respond import system
from tests.respond.conftest import TENANT

from bartizan.app.assembly import connections_of, declared, fed
from bartizan.respond.carry import Carry, Pace
from bartizan.settings import Settings
from bartizan.store import open_store

QUICK = Pace(backoff_s=0.05, backoff_max_s=0.2, follow_s=0.05, follow_max_s=0.1)


async def main(folder: str) -> None:
    store = open_store(folder, declared())
    await store.start()
    assert system.Wall.name == "test-wall"  # its module has registered it

    async def tenants() -> list[str]:
        return [TENANT]

    stage = Carry(store, connections_of(Settings(data=folder), store), tenants, fed(), pace=QUICK)
    print("ready", flush=True)
    await stage.run()


asyncio.run(main(sys.argv[1]))
