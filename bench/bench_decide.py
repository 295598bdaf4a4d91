"""Decisions of conditional access at a steady pace, against a bare ASGI application that answers as many bytes.

100 policies, 10,000 users, 500 groups in groups; 200 requests a second are sent when they are due, whether or not
earlier ones are answered, and each is timed from when it was due. Meanwhile a policy changes each second.

`python -m bench.bench_decide [--seconds S] [--rate N]`
"""

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import structlog

from bartizan.app.assembly import declared
from bartizan.store import open_store
from bartizan.store.draft import draft
from bartizan.store.interface import Collection, Tx
from bench.bench_api import bartizan, free_port, running, serve_command, signed_in, verdict

USERS, GROUPS, POLICIES = 10_000, 500, 100
NESTED = 10  # groups in one group above them
BAR_MS = 20.0
WARM_S = 2.0
SETTLE_S = 50.0  # in which the worker looks at a directory that is new to it

_ECHO = """
import json, sys
told = json.load(sys.stdin)
BODY = b"x" * told["bytes"]
HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]

async def app(scope, receive, send):
    if scope["type"] != "http":
        while True:
            event = await receive()
            await send({"type": event["type"] + ".complete"})
            if event["type"].endswith("shutdown"):
                return
    while scope["method"] == "POST" and (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})

import uvicorn
uvicorn.run(app, port=told["port"], loop="uvloop", http="httptools", access_log=False, log_level="error",
            server_header=False, date_header=False)
"""


def policy(n: int) -> dict[str, Any]:
    """A mix: by group, by risk, by place, for all; a third of them for reporting."""
    conditions: dict[str, Any] = {"applications": {"includeApplications": ["All"]}}
    kind = n % 5
    users: dict[str, Any] = {"includeUsers": ["All"], "excludeGroups": [f"group-{n % GROUPS}"]}
    if kind == 0:
        users = {"includeGroups": [f"group-{n * 5 % GROUPS}"]}
    elif kind == 1:
        conditions["signInRiskLevels"] = ["high"]
    elif kind == 2:
        conditions["locations"] = {"includeLocations": ["All"], "excludeLocations": ["AllTrusted"]}
    elif kind == 3:
        rule = {"mode": "include", "rule": 'device.trustType -ne "ServerAD" -and device.isCompliant -ne True'}
        conditions |= {"clientAppTypes": ["browser"], "devices": {"deviceFilter": rule}}
    state = ("enabled", "enabled", "enabledForReportingButNotEnforced")[n % 3]
    grant = {"operator": "OR", "builtInControls": ["mfa"]}
    return {"displayName": f"Policy {n}", "state": state, "conditions": {**conditions, "users": users},
            "grantControls": grant}  # fmt: skip


async def fill(data: Path, tenant: str) -> None:
    """The directory, straight into the store."""
    kinds: dict[str, Collection] = {each.name: each for each in declared()}
    store = open_store(data, declared())
    await store.start()

    def users(tx: Tx, start: int) -> None:
        for n in range(start, start + 500):
            body = {"userPrincipalName": f"user{n}@northwall.example", "userType": "Member"}
            tx.put(draft(kinds["users"], body, f"user-{n}"))
            for group in {n % GROUPS, n * 7 % GROUPS}:
                tx.relate("members", f"group-{group}", "users", f"user-{n}")

    def groups(tx: Tx) -> None:
        for n in range(GROUPS):
            tx.put(draft(kinds["groups"], {"displayName": f"Group {n}"}, f"group-{n}"))
            if n >= NESTED:
                tx.relate("members", f"group-{n // NESTED}", "groups", f"group-{n}")

    try:
        await store.tenant(tenant).write(groups, actor="bench", bulk=True)
        for start in range(0, USERS, 500):
            await store.tenant(tenant).write(partial(users, start=start), actor="bench", bulk=True)
    finally:
        await store.close()


async def paced(session: aiohttp.ClientSession, url: str, rate: int, seconds: float) -> tuple[list[float], bytes]:
    """Milliseconds from when each request was due until its answer was read; and one of the answers."""
    took: list[float] = []
    last = b""

    async def ask(n: int, due: float) -> None:
        nonlocal last
        sign_in = {
            "userId": f"user-{n * 7919 % USERS}",
            "appId": "00000002-0000-0ff1-ce00-000000000000",
            "ipAddress": f"203.0.113.{n % 250}",
            "clientAppUsed": "Browser",
            "deviceDetail": {"operatingSystem": "Windows10"},
        }
        async with session.post(url, json={"signIn": sign_in}) as answer:
            last = await answer.read()
            assert answer.status == 200, last
        took.append((time.perf_counter() - due) * 1e3)

    began = time.perf_counter()
    tasks = []
    for n in range(round(rate * seconds)):
        due = began + n / rate
        wait = due - time.perf_counter()
        if wait > 0:
            await asyncio.sleep(wait)
        tasks.append(asyncio.create_task(ask(n, due)))
    await asyncio.gather(*tasks)
    return took, last


async def changing(session: aiohttp.ClientSession, url: str) -> None:
    """A policy changes each second: everything compiled is made again."""
    n = 0
    while True:
        await asyncio.sleep(1)
        n += 1
        async with session.patch(url, json={"displayName": f"Policy, change {n}"}) as answer:
            assert answer.status == 204, await answer.text()


async def measure(data: Path, rate: int, seconds: float) -> None:
    app = bartizan("app", "add", "bench", "--all", data=data)
    await fill(data, app["tenantId"])
    port, bare_port = free_port(), free_port()
    root = f"http://127.0.0.1:{port}"
    with running(serve_command(data, port), port):
        async with signed_in(root, app) as session:
            path = f"{root}/v1.0/identity/conditionalAccess/policies"
            async with session.post(path, json=[policy(n) for n in range(POLICIES)]) as answer:
                made = await answer.json()
                assert answer.status == 201, made
            decide = f"{root}/beta/identity/conditionalAccess/decide"
            await asyncio.sleep(SETTLE_S)
            await paced(session, decide, rate, WARM_S)
            writer = asyncio.create_task(changing(session, f"{path}/{made['value'][0]['id']}"))
            own, body = await paced(session, decide, rate, seconds)
            writer.cancel()
        with running([sys.executable, "-c", _ECHO], bare_port, json.dumps({"port": bare_port, "bytes": len(body)})):
            async with aiohttp.ClientSession() as session:
                await paced(session, f"http://127.0.0.1:{bare_port}/", rate, WARM_S)
                floor, _ = await paced(session, f"http://127.0.0.1:{bare_port}/", rate, seconds)
    told = [(statistics.median(each), statistics.quantiles(each, n=100)[98], max(each)) for each in (own, floor)]
    lines = [f"p50 {p50:.1f}, p99 {p99:.1f}, most {most:.1f} ms" for p50, p99, most in told]
    shown = f"{len(own)} at {rate}/s, {len(body)} bytes each: {lines[0]}; bare {lines[1]}"
    verdict("decision at sign-in time, p99 in ms", told[0][1], BAR_MS, told=shown)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=200)
    asked = parser.parse_args()
    os.environ["BARTIZAN_TLS"] = "off"
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    with tempfile.TemporaryDirectory(prefix="bartizan-bench-") as folder:
        print(f"{time.strftime('%Y-%m-%d')} on {os.cpu_count()} cores, SQLite, {USERS} users, {GROUPS} groups")
        asyncio.run(measure(Path(folder), asked.rate, asked.seconds))


if __name__ == "__main__":
    main()
