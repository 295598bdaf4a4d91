"""Run as a program: holds the lease "work" of a store for an hour, says so, and lives until its input ends."""

import asyncio
import sys

from bartizan.store import open_store


async def hold(target: str) -> None:
    store = open_store(target, ())
    await store.start()
    assert await store.lease("work", store.owner(), seconds=3_600)
    print("held", flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1]))
