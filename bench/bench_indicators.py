"""Indicators against the floor of the same run: what matching costs beside ingest, and how fast it is, at a million.

`python -m bench.bench_indicators --indicators N --sightings N`, on its own or as a part of `make bench`.
Floors: the same sign-ins stored while nothing matches them; the same look-ups with no indicators there.
"""

import argparse
import asyncio
import multiprocessing
import os
import random
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from bartizan.app.assembly import declared, fed
from bartizan.app.work import NICENESS
from bartizan.detect.marks import INDICATORS, MARKS, marks_of
from bartizan.detect.match import IndicatorStage
from bartizan.extend import Context
from bartizan.model.times import instant
from bartizan.store import Draft, Entity, Store, Stored, Tx, draft, open_store

TENANT = "11111111-1111-1111-1111-111111111111"
BATCH = 500
BLOCKS = 1_000  # of addresses
LOOKED_BACK = 50_000  # indicators: a million take as long as that many times so many
HIT_EVERY = 1_000  # sightings
MOST_SLOWER = 0.10
NOW = datetime.now(UTC)


class Nobody:
    """Takes no orders: nothing here blocks."""

    async def create(self, ctx: Context, given: list[dict[str, Any]]) -> list[Stored]:
        raise NotImplementedError


async def tenants() -> list[str]:
    return [TENANT]


def address(n: int) -> str:
    """Of the upper half of IPv4, each number another."""
    mixed = (n * 2_654_435_761) % 2**30 + 2**31 + 2**29
    return ".".join(str(mixed >> shift & 255) for shift in (24, 16, 8, 0))


def indicator(n: int) -> dict[str, Any]:
    kinds: list[dict[str, Any]] = [
        *[{"networkIPv4": address(n)}] * 6,
        *[{"domainName": f"c{n}.bad{n % 9_000}.example"}] * 2,
        {"fileHashType": "sha256", "fileHashValue": f"{n:064x}"},
        {"url": f"http://h{n}.example/{n}/x.php"},
    ]
    own = {"networkCidrBlock": f"100.{n % 256}.{n // 256 % 256}.0/24"} if n < BLOCKS else kinds[n % 10]
    return {
        "id": f"i-{n:08}", "action": "alert", "description": "bench", "targetProduct": "Azure Sentinel", "severity": 3,
        "expirationDateTime": "2099-01-01T00:00:00.0000000Z", "threatType": "C2", "tlpLevel": "white", "isActive": True,
        "passiveOnly": False, "ingestedDateTime": instant(NOW), **own, MARKS: marks_of(own),
    }  # fmt: skip


def sign_in(n: int, chance: random.Random) -> dict[str, Any]:
    known = n % HIT_EVERY == 7
    ip = (
        address(10 * n + 1) if known else f"{chance.randrange(1, 99)}.{chance.randrange(256)}.{chance.randrange(256)}.7"
    )
    user = f"user{chance.randrange(5_000)}"
    return {
        "id": f"s-{n:08}", "createdDateTime": instant(NOW), "ipAddress": ip, "userId": f"id-{user}",
        "userPrincipalName": f"{user}@contoso.example", "userDisplayName": user, "appDisplayName": "Mail",
        "clientAppUsed": "Browser", "status": {"errorCode": 0}, "location": {"city": "Oslo", "countryOrRegion": "NO"},
        "deviceDetail": {"displayName": f"pc-{user}", "operatingSystem": "Windows 11"},
    }  # fmt: skip


def put(drafts: list[Draft], tx: Tx) -> None:
    for one in drafts:
        tx.put(one)


async def stored(store: Store, collection: str, bodies: Iterator[dict[str, Any]]) -> tuple[int, float, float]:
    """How many, and wall and CPU seconds, rendering included."""
    sets, tenant = fed(), store.tenant(TENANT)
    count, begun, cpu = 0, time.perf_counter(), time.process_time()
    while part := [body for _, body in zip(range(BATCH), bodies, strict=False)]:
        drafts = [draft(sets[collection], body, str(body["id"])) for body in part]
        await tenant.write(partial(put, drafts), actor="bench", bulk=True)
        count += len(part)
    return count, time.perf_counter() - begun, time.process_time() - cpu


def matching(folder: str, stop: Any) -> None:
    """A worker of its own, as the server has it."""
    os.nice(NICENESS)

    async def main() -> None:
        store = open_store(Path(folder), declared())
        await store.start()
        task = asyncio.create_task(IndicatorStage(store, tenants, Nobody()).run())
        await asyncio.to_thread(stop.wait)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.close()

    asyncio.run(main())


async def many_stored(store: Store, wanted: int) -> tuple[int, float, float]:
    """As `stored`, but each kind is rendered once and its bytes are filled in: half the time, with a million."""
    made, tenant, sets = fed()[INDICATORS], store.tenant(TENANT), dict[tuple[str, ...], Draft]()

    def filled(n: int) -> Draft:
        body = indicator(n)
        values = {kind: each[0] for kind, each in body[MARKS].items()}
        if tuple(values) not in sets:
            sets[tuple(values)] = draft(made, body, str(body["id"]))
        like = sets[tuple(values)]
        old = {kind: each for kind, each in ((one.kind, one.value) for one in like.entities) if kind in values}
        changes = [(like.id, str(body["id"])), *((old[kind], value) for kind, value in values.items())]

        def put_in(text: bytes) -> bytes:
            for before, after in changes:
                text = text.replace(before.encode(), after.encode())
            return text

        entities = tuple(Entity(one.kind, values.get(one.kind, one.value)) for one in like.entities)
        columns = {name: dict(changes).get(value, value) if isinstance(value, str) else value
                   for name, value in like.columns.items()}  # fmt: skip
        beta = None if like.beta is None else put_in(like.beta)
        text = {"doc": put_in(like.doc), "beta": beta, "state": put_in(like.state)}
        return replace(like, id=str(body["id"]), columns=columns, entities=entities, **text)

    begun, cpu = time.perf_counter(), time.process_time()
    for first in range(0, wanted, 2_000):
        drafts = [filled(n) for n in range(first, min(first + 2_000, wanted))]
        await tenant.write(partial(put, drafts), actor="bench", bulk=True)
    return wanted, time.perf_counter() - begun, time.process_time() - cpu


async def matched(store: Store, most: int = 10**9) -> tuple[int, float, float]:
    """The feed from where the stage stands, `most` changes of it: how many, wall and CPU seconds."""
    stage, count = IndicatorStage(store, tenants, Nobody()), 0
    begun, cpu = time.perf_counter(), time.process_time()
    while count < most and (taken := await stage.step()):
        count += taken
    return count, time.perf_counter() - begun, time.process_time() - cpu


def said(name: str, count: int, wall: float, cpu: float) -> None:
    if count:
        print(f"{name:44} {count:>9,} {count / wall:>10,.0f}/s {cpu / count * 1e6:>8.0f} us CPU each", flush=True)


async def beside(store: Store, folder: str, first: int, count: int, stage: bool) -> float:
    """Sign-ins a second while a worker matches them, or does not."""
    chance, context = random.Random(first), multiprocessing.get_context("spawn")  # the same in every run
    stop = context.Event()
    worker = context.Process(target=matching, args=(folder, stop)) if stage else None
    if worker is not None:
        worker.start()
        await asyncio.sleep(4)  # it has started, and waits
    done, wall, _ = await stored(store, "signIns", (sign_in(n, chance) for n in range(first, first + count)))
    if worker is not None:
        stop.set()
        worker.join(60)
    return done / wall


async def bench(folder: str, wanted: int, sightings: int) -> bool:
    store = open_store(Path(folder), declared())
    await store.start()
    await IndicatorStage(store, tenants, Nobody()).register()
    chance = random.Random(1)  # the same in every run
    said("sign-ins stored", *await stored(store, "signIns", (sign_in(n, chance) for n in range(sightings))))
    said("matched, no indicators there", *await matched(store))
    said("indicators stored", *await many_stored(store, wanted))
    said("indicators looked back", *await matched(store, LOOKED_BACK))
    await store.advance("indicators", await store.head())
    more = (sign_in(n, chance) for n in range(sightings, 2 * sightings))
    said("sign-ins stored, all indicators there", *await stored(store, "signIns", more))
    said("matched, all indicators there", *await matched(store))
    alerts = await store.tenant(TENANT).count("alerts_v2")
    print(f"alerts raised: {alerts}", flush=True)
    rates: dict[bool, list[float]] = {False: [], True: []}
    for turn in range(6):  # by turns, so that what else the machine does falls on both
        rates[turn % 2 == 1].append(await beside(store, folder, (2 + turn) * sightings, sightings, turn % 2 == 1))
    without, along = (sorted(rates[each])[1] for each in (False, True))
    slower = 1 - along / without
    print(f"ingest without matching {without:,.0f}/s, beside it {along:,.0f}/s: {slower:+.1%} (most {MOST_SLOWER:.0%})")
    await store.close()
    return slower <= MOST_SLOWER and alerts > 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--indicators", type=int, default=1_000_000)
    parser.add_argument("--sightings", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-indicators-") as folder:
        if not asyncio.run(bench(folder, given.indicators, given.sightings)):
            raise SystemExit("matching slows ingest by more than it may, or found nothing")


if __name__ == "__main__":
    main()
