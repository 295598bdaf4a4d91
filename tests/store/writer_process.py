"""Run as a program: forks writers that a test kills. Reads lines `mode number` from stdin, answers each with a pid.

A writer appends a line to the file of acknowledgements after a write has returned, never before.
"""

import asyncio
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bartizan.odata import evaluate  # noqa: F401 - imported before the fork, so that a writer starts at once
from bartizan.store import Collection, Column, Draft, Entity, Store, Tx, draft, open_store
from bartizan.store.tx import wall

JOBS = Collection(
    "jobs",
    columns=(Column("n", "int"), Column("createdDateTime", "instant"), Column("lastUpdateDateTime", "instant")),
    order=(("createdDateTime", True),),
    created="createdDateTime",
    updated="lastUpdateDateTime",
)
TENANT = "t1"
LANES = int(os.environ.get("LANES", "16"))  # writes under way at once
FOR_S = 60.0  # nobody may forget a writer
STEP_S = 3_600  # how far off a writer's clock may be, either way


def job(id: str, n: int) -> Draft:
    filling = "x" * (n * 37 % 3_000)
    return draft(JOBS, {"n": n, "filling": filling}, id, entities=(Entity("host", id), Entity("user", id)))


def step(id: str, n: int, counter: str) -> "object":
    """A document with two entities, an edge, an attachment and a count, put as one."""

    def work(tx: Tx) -> None:
        tx.put(job(id, n))
        tx.relate("made", counter, "jobs", id)
        tx.attach("jobs", id, "raw", id.encode())
        tx.set_value(counter, str(int(tx.value(counter) or b"0") + 1).encode())

    return work


async def lane(store: Store, run: str, number: int, acks: int) -> None:
    tenant, end, n = store.tenant(TENANT), time.monotonic() + FOR_S, 0
    while time.monotonic() < end:
        id = f"{run}-{number:02}-{n:05}"
        await tenant.write(step(id, n, f"count-{run}"), actor=run)  # type: ignore[arg-type]
        os.write(acks, f"{id}\n".encode())
        n += 1


def stepping() -> Callable[[], int]:
    """A clock that is set anew again and again, forward and back."""
    chance, offset = random.Random(os.getpid()), 0

    def now() -> int:
        nonlocal offset
        if chance.random() < 0.05:
            offset = chance.randrange(-STEP_S, STEP_S) * 10**7
        return wall() + offset

    return now


async def write(target: str, run: str, acks: int) -> None:
    store = open_store(target, (JOBS,), now=stepping())
    await store.start()
    await asyncio.gather(*(lane(store, run, number, acks) for number in range(LANES)))


def main(target: str, acks_file: str) -> None:
    acks = os.open(acks_file, os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    if target.startswith("postgresql://"):
        import bartizan.store.postgres
    else:
        import bartizan.store.sqlite  # noqa: F401
    Path(acks_file).touch()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.close(0)
            os.dup2(2, 1)  # the answers' pipe is the parent's
            asyncio.run(write(target, line.strip(), acks))
            os._exit(0)
        print(pid, flush=True)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
