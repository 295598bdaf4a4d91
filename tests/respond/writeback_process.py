"""Forks a process that writes back from the store at an address, for each line that it reads, and says its pid; run it
as a module. A fork has imported everything already, so that many can be killed in little time."""

import asyncio
import os
import signal
import sys

from tests.respond.ticketing import EVERY, working

from bartizan.store import open_store


async def main() -> None:
    store = open_store(sys.argv[1], EVERY)
    await store.start()
    async with working(store):
        print(os.getpid(), flush=True)
        await asyncio.Event().wait()


signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for _ in sys.stdin:
    if os.fork() == 0:
        asyncio.run(main())
