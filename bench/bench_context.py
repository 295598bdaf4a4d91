"""The graph of entities over many alerts: what an analyst asks for while an incident is open, over the API in process.

`python -m bench.bench_context [--rows N] [--store DSN]`. Each question is asked of an entity like most, of one in
hundreds of alerts, and of one in nearly all of them; an incident is a small one, and one of 5,000 alerts.
"""

import argparse
import asyncio
import tempfile
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import msgspec

from bartizan.api.wire.graph import Graph
from bartizan.api.wire.route import Router
from bartizan.app.assembly import connections_of, declared, parts_of
from bartizan.auth.caller import Caller
from bartizan.extend import RESOURCES, permissions
from bartizan.settings import Settings
from bartizan.store import CREATED, ETAG, UPDATED, Draft, Entity, Store, Tx, draft, open_store
from bartizan.store.alerts import INCIDENTS
from bench.bench_store import chance, timed

TENANT = "11111111-1111-1111-1111-111111111111"
BATCH = 500
SMALL = 40  # alerts of an ordinary incident
LARGE = 5_000  # of the large one, the last of all
BUSY_EVERY = 700  # alerts that name the busy host
FILLING = "An alert's description, its evidence and its remediation steps take about three kilobytes. " * 30
_encode = msgspec.json.Encoder().encode


def entities(n: int, rows: int) -> Iterator[Entity]:
    victim = n // SMALL  # alerts of one incident are about one user on one host
    yield Entity("host", f"pc{victim % 5_000}.example.org")
    yield Entity("user", f"user{victim % 3_000}@example.org")
    yield Entity("address", f"10.{n % 4}.{chance(n, 1, 250)}.{chance(n, 2, 250)}", "source")
    yield Entity("hash", f"{chance(n, 3, 20_000):064x}")
    if n % 10:
        yield Entity("address", "198.51.100.1", "destination")
    if n % BUSY_EVERY == 0:
        yield Entity("host", "busy.example.org")
    if n % (rows // 20) == 7:
        yield Entity("domain", "c2.example.net")


def incident_of(n: int, rows: int) -> str:
    return "large" if n >= rows - LARGE else f"incident-{n // SMALL}"


def alert(n: int, rows: int) -> Draft:
    body = {
        "@odata.etag": f'W/"{ETAG}"',
        "id": f"alert-{n:08}",
        "createdDateTime": CREATED,
        "lastUpdateDateTime": UPDATED,
        "firstActivityDateTime": f"2026-11-{1 + n * 28 // rows:02}T{n % 24:02}:00:00.0000000Z",
        "severity": ("low", "medium", "high", "informational")[chance(n, 4, 4)],
        "status": "resolved" if chance(n, 5, 3) else "new",
        "title": f"Suspicious thing {n % 900}",
        "productName": "Bench",
        "detectorId": str(n % 900),
        "mitreTechniques": ["T1059"],
        "incidentId": incident_of(n, rows),
        "description": FILLING,
    }
    columns = {"createdDateTime": CREATED, "lastUpdateDateTime": UPDATED, "incidentId": str(body["incidentId"])}
    return Draft("alerts_v2", str(body["id"]), _encode(body), columns=columns, entities=tuple(entities(n, rows)))


def incident(id: str, numbers: range) -> Draft:
    detectors = [{"detector": f"bench/{n % 900}"} for n in numbers[:20]]
    own = {"@bartizan.correlation": {"priority": {"detectors": detectors}}}
    return draft(INCIDENTS, {"displayName": id, "severity": "high", "status": "resolved", **own}, id)


def put(drafts: list[Draft], tx: Tx) -> None:
    for one in drafts:
        tx.put(one)


async def load(store: Store, rows: int) -> float:
    """Seconds."""
    tenant, begun = store.tenant(TENANT), time.perf_counter()
    for first in range(0, rows, BATCH):
        drafts = [alert(n, rows) for n in range(first, min(first + BATCH, rows))]
        await tenant.write(partial(put, drafts), actor="bench")
    wanted = dict.fromkeys(incident_of(n, rows) for n in range(rows))
    made = [incident(id, range(at * SMALL, (at + 1) * SMALL)) for at, id in enumerate(wanted)]
    for first in range(0, len(made), BATCH):
        await tenant.write(partial(put, made[first : first + BATCH]), actor="bench")
    return time.perf_counter() - begun


QUESTIONS = {
    "entity": "entities('host:pc77.example.org')",
    "entity in hundreds": "entities('host:busy.example.org')",
    "entity in nearly all": "entities('address:198.51.100.1')",
    "hosts, a page": "entities?$filter=kind eq 'host'",
    "neighbors": "entities('host:pc77.example.org')/neighbors",
    "neighbors of neighbors": "entities('host:pc77.example.org')/neighbors(depth=2)",
    "neighbors, 3 steps, 500": "entities('host:pc77.example.org')/neighbors(depth=3,top=500)",
    "neighbors of a hub": "entities('address:198.51.100.1')/neighbors",
    "path, short": "entities('host:pc77.example.org')/shortestPath(to='user:user77@example.org')",
    "path, far": "entities('host:pc77.example.org')/shortestPath(to='host:pc4000.example.org')",
    "timeline": "entities('host:pc77.example.org')/timeline",
    "timeline of a hub": "entities('address:198.51.100.1')/timeline",
    "blast radius": "entities('user:user77@example.org')/blastRadius",
    "incident graph": "incidents('incident-77')/graph",
    "incident graph, 5,000 alerts": "incidents('large')/graph",
    "similar incidents": "incidents('incident-77')/similar",
    "incident, 20 of 40 alerts": "incidents('incident-77')?$expand=alerts($top=20)",
    "incident, 20 of 5,000 alerts": "incidents('large')?$expand=alerts($top=20)",
}


def client(store: Store, data: str) -> httpx.AsyncClient:
    every, _ = permissions()
    caller = Caller(TENANT, "bench", "Bench", permissions=every)

    async def authenticate(headers: Mapping[bytes, bytes]) -> Caller:
        return caller

    def base(host: str | None) -> str:
        return "https://bench.test"

    settings = Settings(data=data)
    parts = parts_of(settings, connections_of(settings, store))
    graph = Graph(Router(RESOURCES), store, authenticate, base, token_key=b"k" * 32, parts=parts)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app=graph), base_url="https://bench.test")


async def main(rows: int, dsn: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(dsn or Path(folder), declared())
        await store.start()
        try:
            print(f"{rows:,} alerts and their incidents loaded in {await load(store, rows):.0f} s")
            async with client(store, folder) as http:
                for name, path in QUESTIONS.items():
                    await ask(http, name, f"/beta/security/{path}")
        finally:
            await store.erase(TENANT)
            await store.close()


async def ask(http: httpx.AsyncClient, name: str, path: str) -> None:
    async def once() -> httpx.Response:
        answer = await http.get(path)
        answer.raise_for_status()
        return answer

    wall, cpu = await timed(once)
    body: dict[str, Any] = (await once()).json()
    told = [f"{body['observationsRead']:,} observations read"] if "observationsRead" in body else []
    told += [f"{len(body[each])} {each}" for each in ("nodes", "edges", "entries", "incidents") if each in body]
    told += [f"cut by {', '.join(body['truncatedBy'])}"] if body.get("truncatedBy") else []
    print(f"{name:30} {wall:8.1f} ms {cpu:8.1f} ms CPU  {'; '.join(told)}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--store", default=None, help="postgresql://... (default: SQLite in a temporary folder)")
    given = parser.parse_args()
    asyncio.run(main(given.rows, given.store))
