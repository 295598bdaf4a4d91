"""The stage of identity protection on a store, by one process and by several that share the principals.

Rates are per second of a process's own CPU time: of the slowest of them, that is what a machine with a processor for
each would reach, were there no waiting for the one who writes.

`python -m bench.bench_identity_stage [--users N] [--days N] [--shards 1 2]`
"""

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec

from bartizan.app.assembly import declared, fed
from bartizan.identity.events import seconds
from bartizan.identity.shards import Place, place_key
from bartizan.identity.stage import IdentityStage
from bartizan.identity.waiting import SETTLED_S, Position
from bartizan.store import Store, Tx, draft, open_store
from bench.bench_identity import sign_ins

TENANT = "bench"
AT_ONCE = 200


async def filled(folder: Path, documents: list[dict[str, Any]]) -> None:
    store = open_store(folder, declared())
    await store.start()
    for begin in range(0, len(documents), AT_ONCE):
        made = [draft(fed()["signIns"], each, each["id"]) for each in documents[begin : begin + AT_ONCE]]

        def work(tx: Tx, made: list[Any] = made) -> None:
            for each in made:
                tx.put(each)

        await store.tenant(TENANT).write(work, actor="bench", bulk=True)
    await store.close()


async def ended(store: Store, shards: int, end: Position) -> bool:
    """Whether all have settled all that is due."""
    kept = [await store.tenant(TENANT).value(place_key(shard)) for shard in range(shards)]
    return all(each is not None and msgspec.json.decode(each, type=Place).settled >= end for each in kept)


def worked(folder: Path, shard: int, shards: int, end: Position, answer: Any) -> None:
    async def work() -> None:
        store = open_store(folder, declared())
        await store.start()
        stage = IdentityStage(store, fed(), shard=shard, shards=shards)
        began = time.process_time()
        while not await ended(store, shards, end):
            for _ in range(20):
                if not await stage.step():
                    await store.changed()
        answer.put(time.process_time() - began)
        await store.close()

    asyncio.run(work())


def measured(documents: list[dict[str, Any]], shards: int) -> tuple[list[float], float]:
    """CPU seconds of each process, and seconds by the clock."""
    context = multiprocessing.get_context("spawn")
    times = [(seconds(each["createdDateTime"]), str(each["id"])) for each in documents]
    end = max(each for each in times if each[0] <= max(times)[0] - SETTLED_S)
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(filled(Path(folder), documents))
        answer = context.Queue()
        running = [context.Process(target=worked, args=(Path(folder), n, shards, end, answer)) for n in range(shards)]
        began = time.monotonic()
        for each in running:
            each.start()
        used = [answer.get() for _ in running]
        for each in running:
            each.join()
        return sorted(used), time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=400)
    parser.add_argument("--days", type=int, default=6)
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    documents = [json.loads(line) for line in sign_ins(given.users, given.days)]
    for shards in given.shards:
        used, wall = measured(documents, shards)
        rate = len(documents) / used[-1]
        print(
            f"{shards} shards, {len(documents)} sign-ins: {rate:,.0f} a second of the busiest process's CPU, "
            f"{sum(used):.1f} s of CPU in all, {wall:.1f} s by the clock"
        )


if __name__ == "__main__":
    main()
