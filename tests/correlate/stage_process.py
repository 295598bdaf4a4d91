"""A process that correlates what is in a store, and says after each step how far it is; it may be killed at any time.

python -m tests.correlate.stage_process FOLDER
"""

import asyncio
import sys

from bartizan.correlate.stage import CorrelateStage
from bartizan.correlate.suppress import SUPPRESSIONS
from bartizan.store import open_store
from bartizan.store.alerts import COLLECTIONS

STEP = 5


async def main(folder: str) -> None:
    store = open_store(folder, (*COLLECTIONS, SUPPRESSIONS))
    await store.start()
    stage = CorrelateStage(store, step_changes=STEP)
    while taken := await stage.step():
        print(taken, flush=True)
    print("done", flush=True)
    await store.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
