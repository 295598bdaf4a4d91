"""Indicators against the floor of the same run: what matching costs beside ingest, and how fast it is, at a million.

`python -m bench.bench_indicators --indicators N --sightings N`, on its own or as a part of `make bench`.
Floors: the same sign-ins stored, and the same events appended, while nothing matches them; the same look-ups with no
indicators there.
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
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

from msgspec.structs import replace

from bartizan.app import NICENESS
from bartizan.app.assembly import declared, fed
from bartizan.detect.events import EventStage
from bartizan.detect.marks import INDICATORS, MARKS, marks_of
from bartizan.detect.match import IndicatorStage
from bartizan.extend import Context
from bartizan.lake.buffer import Lake, open_lake
from bartizan.model.times import instant
from bartizan.store import Draft, Entity, Store, Stored, Tx, draft, open_store
from bench import TURNS

TENANT = "11111111-1111-1111-1111-111111111111"
BATCH = 500
BLOCKS = 1_000  # of addresses
EVENTS_EACH = 80  # for each sign-in
STARTED_S = 20.0
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


def event(n: int, chance: random.Random) -> tuple[str, dict[str, Any]]:
    known = n % HIT_EVERY == 7
    host = f"pc{chance.randrange(3_000)}.contoso.example"
    return "DeviceNetworkEvents", {
        "Timestamp": instant(NOW), "DeviceId": f"id-{host}", "DeviceName": host, "ActionType": "ConnectionSuccess",
        "RemoteIP": address(10 * n + 1) if known else f"{chance.randrange(1, 99)}.{chance.randrange(256)}.8.7",
        "RemotePort": 443, "RemoteUrl": f"https://s{chance.randrange(9_000)}.fine.example/", "LocalIP": "10.1.2.3",
        "InitiatingProcessSHA1": f"{chance.randrange(2_000):040x}", "InitiatingProcessFileName": "browser.exe",
        "InitiatingProcessSHA256": f"{chance.randrange(2_000) + 2**200:064x}", "Protocol": "Tcp",
        "InitiatingProcessCommandLine": f"browser.exe --tab {n}", "InitiatingProcessAccountName": "ada",
    }  # fmt: skip


async def appended(lake: Lake, rows: Iterator[tuple[str, dict[str, Any]]]) -> tuple[int, float, float]:
    count, begun, cpu = 0, time.perf_counter(), time.process_time()
    while part := list(islice(rows, 4 * BATCH)):
        await lake.append(TENANT, part)
        count += len(part)
    return count, time.perf_counter() - begun, time.process_time() - cpu


async def events_matched(store: Store, lake: Lake) -> tuple[int, float, float]:
    stage, count = EventStage(lake, IndicatorStage(store, tenants, Nobody())), 0
    await stage.step()  # the sieve has been read
    begun, cpu = time.perf_counter(), time.process_time()
    while taken := await stage.step():
        count += taken
    return count, time.perf_counter() - begun, time.process_time() - cpu


def matching(folder: str, stop: Any) -> None:
    """A worker of its own, as the server has it."""
    os.nice(NICENESS)

    async def main() -> None:
        store, lake = open_store(Path(folder), declared()), open_lake(folder)
        await store.start()
        await lake.start()
        stage = IndicatorStage(store, tenants, Nobody())
        events = EventStage(lake, stage)
        tasks = [asyncio.create_task(each.run()) for each in (stage, events)]
        await asyncio.sleep(0.1)  # what a stage knew is forgotten when it begins
        await stage.sieves.of(TENANT)
        await asyncio.to_thread(stop.wait)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await lake.close()
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


async def beside(store: Store, lake: Lake, folder: str, first: int, count: int, stage: bool) -> tuple[float, float]:
    """Sign-ins, and events, a second while a worker matches them, or does not."""
    chance, context = random.Random(first), multiprocessing.get_context("spawn")  # the same in every run
    stop = context.Event()
    worker = context.Process(target=matching, args=(folder, stop)) if stage else None
    if worker is not None:
        worker.start()
        await asyncio.sleep(STARTED_S)  # it has read what there is, and waits
    done, wall, _ = await stored(store, "signIns", (sign_in(n, chance) for n in range(first, first + count)))
    seen, lasted, _ = await appended(lake, (event(n, chance) for n in range(EVENTS_EACH * count)))
    if worker is not None:
        stop.set()
        worker.join(60)
    return done / wall, seen / lasted


async def bench(folder: str, wanted: int, sightings: int) -> bool:
    store, lake = open_store(Path(folder), declared()), open_lake(folder)
    await store.start()
    await lake.start()
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
    rows = (event(n, chance) for n in range(EVENTS_EACH * sightings))
    said("events appended", *await appended(lake, rows))
    said("events matched, all indicators there", *await events_matched(store, lake))
    alerts = await store.tenant(TENANT).count("alerts_v2")
    print(f"alerts raised: {alerts}", flush=True)
    rates: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for turn, stage in enumerate(TURNS):
        rates[stage].append(await beside(store, lake, folder, (2 + turn) * sightings, sightings, stage))
        shown = " and ".join(f"{rate:,.0f}/s" for rate in rates[stage][-1])
        print(f"turn {turn + 1}, {'beside matching' if stage else 'without it'}: {shown}", flush=True)
    fine = alerts > 0
    for number, what in enumerate(("sign-ins", "events")):
        without, along = (fmean(rate[number] for rate in rates[each]) for each in (False, True))
        slower = 1 - along / without
        rate = f"without matching {without:,.0f}/s, beside it {along:,.0f}/s"
        print(f"{what} {rate}: {slower:+.1%} (most {MOST_SLOWER:.0%})")
        fine = fine and slower <= MOST_SLOWER
    await lake.close()
    await store.close()
    return fine


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
