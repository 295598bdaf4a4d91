"""How long a change takes from being stored to being posted: 50 subscriptions, one dead endpoint, 100 changes a second.

    python -m bench.bench_notify [--seconds 30] [--rate 100] [--subscriptions 50]

The receiver runs in a process of its own. Latency is from the commit of the change (the write has returned) to the
arrival of its notification. Every second subscription has a filter that half of the changes match.
"""

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from typing import Any

from aiohttp import web

from bartizan.auth import audit
from bartizan.auth.caller import Caller
from bartizan.extend import Context
from bartizan.model.edm import edm
from bartizan.model.times import instant
from bartizan.respond.addresses import Rules
from bartizan.respond.delivery import Delivery
from bartizan.respond.outbound import Outbound, Policy
from bartizan.respond.subscriptions import COLLECTIONS, Quota, Subscriptions
from bartizan.store import Store, draft, open_store
from bartizan.store.alerts import ALERTS
from bartizan.store.alerts import COLLECTIONS as ALERT_COLLECTIONS

TENANT = "11111111-1111-4111-8111-111111111111"
POLICY = Policy(Rules(allow_private=True))
TARGET_S = 2.0


def receiver(pipe: Connection) -> None:
    """Notes when each notification arrives; `/dead` never answers but to the handshake."""
    arrived: list[tuple[float, str, str]] = []
    posts = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal posts
        if token := request.query.get("validationToken"):
            return web.Response(text=token)
        body = await request.read()
        if request.path == "/dead":
            await asyncio.sleep(60)
        now = time.time()
        posts += 1
        arrived.extend((now, each["subscriptionId"], each["resourceData"]["id"]) for each in json.loads(body)["value"])
        return web.Response(status=202)

    async def main() -> None:
        app = web.Application(client_max_size=2**24)
        app.router.add_post("/{tail:.*}", handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        pipe.send(runner.addresses[0][1])
        while await asyncio.to_thread(pipe.recv) == "how many":
            pipe.send(len(arrived))
        pipe.send((arrived, posts))
        await asyncio.Event().wait()

    asyncio.run(main())


async def subscribe(store: Store, root: str, count: int) -> None:
    who = Caller(TENANT, "bench", "bench", permissions=frozenset({"SecurityEvents.Read.All"}))
    ctx = Context(who, store.tenant(TENANT), store, "v1.0", edm("v1.0"), root, "r", {}, lambda: datetime.now(UTC))
    hooks = Subscriptions(POLICY, Quota(app=count, tenant=count))
    until = instant(datetime.now(UTC) + timedelta(days=1))
    for n in range(count):
        filter = "?$filter=severity eq 'high'" if n % 2 else ""
        path = "dead" if n == count - 1 else f"hook{n}"
        await hooks.create(
            ctx,
            [
                {
                    "changeType": "created",
                    "resource": f"security/alerts{filter}",
                    "notificationUrl": f"{root}/{path}",
                    "expirationDateTime": until,
                }
            ],
        )


async def write(store: Store, rate: int, seconds: float) -> dict[str, float]:
    """Alerts at a steady rate; id -> when its write returned."""
    stored: dict[str, float] = {}
    filling = [{"fqdn": f"host{n}.example.org", "netBiosName": f"HOST{n}"} for n in range(5)]

    async def one(n: int) -> None:
        severity = "high" if n % 2 else "low"
        made = draft(ALERTS, {"title": f"alert {n}", "severity": severity, "hostStates": filling}, f"a{n}")
        await store.tenant(TENANT).write(lambda tx: tx.put(made), actor="bench")
        stored[f"a{n}"] = time.time()

    started = time.monotonic()
    async with asyncio.TaskGroup() as group:
        for n in range(int(rate * seconds)):
            await asyncio.sleep(max(0.0, started + n / rate - time.monotonic()))
            group.create_task(one(n))
    return stored


def quantile(values: Sequence[float], q: float) -> float:
    return sorted(values)[min(int(len(values) * q), len(values) - 1)]


async def measure(rate: int, seconds: float, count: int) -> dict[str, Any]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=receiver, args=(theirs,), daemon=True)
    process.start()
    root = f"http://127.0.0.1:{await asyncio.to_thread(ours.recv)}"
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(folder, (*ALERT_COLLECTIONS, *COLLECTIONS, audit.declared()))
        await store.start()
        await subscribe(store, root, count)

        async def tenants() -> list[str]:
            return [TENANT]

        async with Outbound(POLICY) as outbound:
            engine = Delivery(store, outbound, tenants)
            task = asyncio.create_task(engine.run())
            await asyncio.sleep(1.5)
            cpu, began = time.process_time(), time.monotonic()
            stored = await write(store, rate, seconds)
            lasted = time.monotonic() - began
            wanted = _wanted(len(stored), count)
            for _ in range(200):
                await asyncio.to_thread(ours.send, "how many")
                if await asyncio.to_thread(ours.recv) >= wanted:
                    break
                await asyncio.sleep(0.05)
            cpu = time.process_time() - cpu
            await asyncio.to_thread(ours.send, "all")
            arrived, posts = await asyncio.to_thread(ours.recv)
            stats = engine.stats()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await store.close()
    process.kill()
    process.join()
    late = [at - stored[id] for at, _, id in arrived]
    return {
        "changes/s": round(len(stored) / lasted, 1),
        "subscriptions": count,
        "notifications": len(arrived),
        "distinct": len({(sub, id) for _, sub, id in arrived}),
        "wanted": _wanted(len(stored), count),
        "posts": posts,
        "stored-to-POST p50 s": round(quantile(late, 0.5), 3),
        "stored-to-POST p99 s": round(quantile(late, 0.99), 3),
        "stored-to-POST max s": round(max(late), 3),
        "CPU of writer and delivery, s per s": round(cpu / lasted, 2),
        "target p99 s": TARGET_S,
        **stats,
    }


def _wanted(changes: int, count: int) -> int:
    """All but the dead endpoint: those without filter want every change, those with one every second."""
    filtered = sum(n % 2 for n in range(count - 1))
    return (count - 1 - filtered) * changes + filtered * (changes // 2)


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--seconds", type=float, default=30)
    ask.add_argument("--rate", type=int, default=100)
    ask.add_argument("--subscriptions", type=int, default=50)
    given = ask.parse_args()
    found = asyncio.run(measure(given.rate, given.seconds, given.subscriptions))
    for name, value in found.items():
        print(f"{name:40} {value}")


if __name__ == "__main__":
    main()
