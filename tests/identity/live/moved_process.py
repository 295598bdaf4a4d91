"""All stages of a tenant in one process, which asks after each transaction whether to go on; tests kill it there."""

import asyncio
import sys
from typing import Any

from tests.identity.live.conftest import TENANT

from bartizan.app.assembly import declared, fed
from bartizan.identity.stage import IdentityStage
from bartizan.store import open_store


class Asking:
    """A store whose transactions are told of; `tenant` gives another one that is."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def tenant(self, tenant: str) -> "Asking":
        return Asking(self._inner.tenant(tenant))

    async def write(self, *args: Any, **named: Any) -> Any:
        done = await self._inner.write(*args, **named)
        print("written", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        return done


async def tenants() -> list[str]:
    return [TENANT]


async def work(target: str, shards: int) -> None:
    store = open_store(target, declared())
    await store.start()
    asking: Any = Asking(store)
    every = [IdentityStage(asking, fed(), shard=n, shards=shards, tenants=tenants) for n in range(shards)]
    while any([await each.step() for each in every]):
        pass
    print("done", flush=True)
    await store.close()


if __name__ == "__main__":
    asyncio.run(work(sys.argv[1], int(sys.argv[2])))
