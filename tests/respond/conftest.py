"""A store of alerts, users and groups, a receiver on loopback, a caller and a delivery engine."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bartizan import api
from bartizan.auth import audit
from bartizan.auth.caller import Caller
from bartizan.extend import Context
from bartizan.model.edm import Version, edm
from bartizan.model.times import instant
from bartizan.respond.addresses import Rules
from bartizan.respond.delivery import Delivery
from bartizan.respond.lines import Times
from bartizan.respond.outbound import Outbound, Policy
from bartizan.respond.subscriptions import COLLECTIONS, Subscriptions
from bartizan.store import Collection, Column, Store, Stored, draft, inner, open_store
from bartizan.store.alerts import ALERTS
from bartizan.store.alerts import COLLECTIONS as ALERT_COLLECTIONS

TENANT = "11111111-1111-4111-8111-111111111111"
OTHER = "22222222-2222-4222-8222-222222222222"
APP = "aaaaaaaa-1111-4111-8111-111111111111"
api.load()  # it adds columns to the audit; here, so that which tests ran before makes no difference
USERS = Collection("users", "microsoft.graph.user", (Column("userPrincipalName", fold=True, unique=True),))
GROUPS = Collection("groups", "microsoft.graph.group")
api.load()  # resources say what columns audit entries have: before they are declared to a store
EVERY = (*ALERT_COLLECTIONS, *COLLECTIONS, USERS, GROUPS, audit.declared())
LAB = Policy(Rules(allow_private=True))
QUICK = Times(
    backoff_s=0.05, backoff_max_s=0.2, linger_s=0.01, save_s=0.05, tend_s=0.05, reconcile_s=0.3, lease_s=1.0, post_s=2.0
)
PERMISSIONS = frozenset(
    {
        "SecurityEvents.Read.All",
        "SecurityAlert.Read.All",
        "SecurityIncident.Read.All",
        "User.Read.All",
        "Group.Read.All",
    }
)
LIMIT_S = 20.0


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(tmp_path, EVERY)
    await store.start()
    yield store
    await store.close()


class Receiver:
    """An endpoint: answers handshakes, keeps what it is sent, misbehaves as told."""

    def __init__(self) -> None:
        self.root = ""
        self.posts: list[tuple[str, list[dict[str, Any]]]] = []  # path and query, notifications of one POST
        self.at: list[float] = []
        self.asked: list[web.Request] = []
        self.status: dict[str, int] = {}  # by path
        self.delay_s: dict[str, float] = {}
        self.changed = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append(request)
        body = await request.read()
        await asyncio.sleep(self.delay_s.get(request.path, 0))
        status = self.status.get(request.path, 202)
        if token := request.query.get("validationToken"):
            return web.Response(text=token, status=200 if status == 202 else status)
        if status == 202:
            self.posts.append((request.path_qs, json.loads(body)["value"]))
            self.at.append(time.time())
            async with self.changed:
                self.changed.notify_all()
        return web.Response(status=status)

    def sent(self, path: str = "") -> list[dict[str, Any]]:
        return [each for where, items in self.posts if where.startswith(path) for each in items]

    async def wait(self, ready: Callable[[], bool], limit_s: float = LIMIT_S) -> None:
        async with asyncio.timeout(limit_s), self.changed:
            await self.changed.wait_for(ready)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    made = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", made.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.root = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


def caller(tenant: str = TENANT, app: str = APP, **more: Any) -> Caller:
    return Caller(tenant, app, "an app", **{"permissions": PERMISSIONS, **more})


def context(
    store: Store,
    who: Caller | None = None,
    *,
    version: Version = "v1.0",
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Context:
    who = who or caller()
    return Context(
        caller=who,
        store=store.tenant(who.tenant),
        engine=store,
        version=version,
        edm=edm(version),
        root="https://localhost/v1.0",
        request_id="r",
        headers={},
        clock=clock,
    )


def soon(**delta: float) -> str:
    return instant(datetime.now(UTC) + timedelta(**(delta or {"hours": 6})))


def body(url: str, resource: str = "security/alerts", **more: Any) -> dict[str, Any]:
    return {
        "changeType": "created,updated",
        "notificationUrl": url,
        "resource": resource,
        "expirationDateTime": soon(),
        "clientState": "secret",
        **more,
    }


async def subscribe(
    store: Store, url: str, resource: str = "security/alerts", who: Caller | None = None, **more: Any
) -> dict[str, Any]:
    ctx = context(store, who)
    rows = await Subscriptions(LAB).create(
        ctx, [ctx.edm.accept("microsoft.graph.subscription", body(url, resource, **more))]
    )
    return inner(rows[0])


async def put_alert(store: Store, id: str, tenant: str = TENANT, **more: Any) -> Stored:
    """A legacy alert, put as the store's own writers do: an update says what it changed."""

    def work(tx: Any) -> Stored:
        old = tx.get("alerts", id)
        before = {} if old is None else inner(old)
        after = {**before, "title": f"alert {id}", **more}
        changed = None if old is None else {k: (before.get(k), v) for k, v in more.items() if before.get(k) != v}
        return tx.put(draft(ALERTS, after, id), changed=changed)  # type: ignore[no-any-return]

    return await store.tenant(tenant).write(work, actor="test")


async def put(store: Store, collection: Collection, id: str, inside: dict[str, Any], **how: Any) -> Stored:
    stored = await store.tenant(TENANT).write(lambda tx: tx.put(draft(collection, inside, id), **how), actor="test")
    assert stored is not None
    return stored


async def delete(store: Store, collection: str, id: str) -> None:
    await store.tenant(TENANT).write(lambda tx: tx.delete(collection, id), actor="test")


@contextlib.asynccontextmanager
async def delivering(
    store: Store,
    times: Times = QUICK,
    *,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    may_read: Callable[[str, str, str | None, str], Awaitable[bool]] | None = None,
) -> AsyncIterator[Delivery]:
    async def tenants() -> list[str]:
        return [TENANT, OTHER]

    async with Outbound(LAB) as outbound:
        engine = Delivery(store, outbound, tenants, may_read, times=times, clock=clock)
        task = asyncio.create_task(engine.run())
        try:
            yield engine
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def until(ready: Callable[[], Awaitable[bool]], limit_s: float = LIMIT_S) -> None:
    async with asyncio.timeout(limit_s):
        while not await ready():  # noqa: ASYNC110 - the store is what changes
            await asyncio.sleep(0.02)


async def life(module: str, folder: Path, seconds: float) -> None:
    """One process of a module of this folder, killed in the midst of its work."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"tests.respond.{module}", str(folder)),
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "PYTHONWARNINGS": ""},
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    try:
        await asyncio.sleep(seconds)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.wait()
