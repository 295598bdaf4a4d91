"""The stage on a store, by itself: says each step, then that it is done. Its tests kill it."""

import asyncio
import sys

from bartizan.app.assembly import declared, fed
from bartizan.identity.stage import IdentityStage
from bartizan.store import open_store


async def work(target: str, step_changes: int, shard: int = 0, shards: int = 1) -> None:
    store = open_store(target, declared())
    await store.start()
    stage = IdentityStage(store, fed(), shard=shard, shards=shards, step_changes=step_changes)
    if shards > 1:
        await stage.run()  # until it is killed: it may have to wait for others
    while await stage.step():
        print("step", flush=True)
    print("done", flush=True)
    await store.close()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], *map(int, sys.argv[2:])))
