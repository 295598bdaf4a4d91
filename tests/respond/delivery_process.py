"""A process that delivers notifications from the store in a folder until it is killed; run it as a module."""

import asyncio
import sys

from tests.respond.conftest import EVERY, delivering

from bartizan.store import open_store


async def main() -> None:
    store = open_store(sys.argv[1], EVERY)
    await store.start()
    async with delivering(store):
        print("ready", flush=True)
        await asyncio.Event().wait()


asyncio.run(main())
