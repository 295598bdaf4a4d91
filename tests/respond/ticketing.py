"""A system that owns alerts and users, over HTTP, and a connector for it; it misbehaves as it is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, TypeVar

from aiohttp import web
from msgspec import Meta, Struct

from bartizan import api
from bartizan.auth import audit
from bartizan.auth.keys import Vault
from bartizan.connectors.http import http_of
from bartizan.extend.connections import CONNECTION_STREAMS, CONNECTIONS, Connection, Connections
from bartizan.extend.connectors import Connector, Outside, Push, Pushed, Rejected, Secret, Subject
from bartizan.extend.ownership import note_pulled
from bartizan.model.alert import Alert
from bartizan.model.faces import AlertState, provider_faces
from bartizan.model.times import instant
from bartizan.model.workflow import Who
from bartizan.respond.queue import WRITE_BACKS, WriteBack, read
from bartizan.respond.writeback import Pace, Writeback
from bartizan.store import Collection, Store, draft, inner
from bartizan.store.alerts import ALERTS_V2, Kept, change_alert, prepare, store_alerts
from bartizan.store.alerts import COLLECTIONS as ALERT_COLLECTIONS
from bartizan.store.interface import Query, Tx

api.load()
TENANT = "11111111-1111-1111-1111-111111111111"
ANN = Who("console", "ann@contoso.example", "Ann")
BOB = Who("console", "bob@contoso.example", "Bob")
RECEIVED = "2026-11-23T04:00:00.0000000Z"
RISKY_USERS = Collection("riskyUsers", "microsoft.graph.riskyUser")
RISK_DETECTIONS = Collection("riskDetections", "microsoft.graph.riskDetection")
USERS = Collection("users", "microsoft.graph.user")
EVERY = (
    *ALERT_COLLECTIONS,
    CONNECTIONS,
    CONNECTION_STREAMS,
    WRITE_BACKS,
    RISKY_USERS,
    RISK_DETECTIONS,
    USERS,
    audit.declared(),
)
QUICK = Pace(
    ask_s=5.0, claim_s=0.6, backoff_s=0.02, backoff_max_s=0.1, denied_s=0.1, lane_max_s=0.1, look_s=0.02, at_once=4
)
LIMIT_S = 30.0
S = TypeVar("S", bound="System")


class TicketSettings(Struct, frozen=True, forbid_unknown_fields=True):
    url: Annotated[str, Meta(description="Where the system is.")]
    token: Annotated[Secret, Meta(description="What it knows us by.")]


class Tickets(Connector):
    name = "test-tickets"
    vendor = "Northwall"
    product = "Tickets"
    doc = "A system of the tests that owns alerts and users."
    settings = TicketSettings
    owns: ClassVar[tuple[tuple[str, str], ...]] = (("Northwall", "Sensor"),)
    pushes: ClassVar[Mapping[Subject, frozenset[str]]] = {
        "alert": frozenset({"status", "classification", "assignedTo", "comments", "tags"}),
        "incident": frozenset({"status", "classification", "comments", "tags"}),
        "riskyUser": frozenset({"riskState", "riskDetail"}),
    }

    def __init__(self, settings: TicketSettings, outside: Outside) -> None:
        super().__init__(settings, outside)
        self._headers = {"Authorization": f"Bearer {settings.token}"}

    async def push(self, change: Push) -> Pushed:
        if change.id.startswith("broken"):
            raise ZeroDivisionError(f"a mistake in the connector, which knows the {self._headers}")
        body = {"key": change.key, "words": change.words, "by": change.by, "known": change.known, "at": change.at}
        answer = await self.outside.ask(
            "POST", f"{self.set.url}/{change.subject}/{change.id}", headers=self._headers, json=body
        )
        if answer.data.get("refused"):
            raise Rejected(f"{change.subject} {change.id}: it is archived")
        return Pushed(
            overwrote=answer.data.get("overwrote"),
            last_writer=answer.data.get("writer"),
            left_out=tuple(answer.data.get("left_out", ())),
        )


class Wide(Tickets):
    name = "test-wide"
    product = "Everything"
    doc = "The same, which speaks for more products."
    owns: ClassVar[tuple[tuple[str, str], ...]] = (("Northwall", "Sensor"), ("Northwall", "Mail"))


class ReadOnly(Tickets):
    name = "test-read-only"
    owns: ClassVar[tuple[tuple[str, str], ...]] = ()
    pushes: ClassVar[Mapping[Subject, frozenset[str]]] = {}


class System:
    """What the other side has: by id the words, a version, and who wrote last; and all that it was sent, in order."""

    def __init__(self) -> None:
        self.url = ""
        self.token = "right"
        self.answer = 200  # other than 200: what it answers to everything
        self.headers: dict[str, str] = {}
        self.delay_s = 0.0
        self.objects: dict[str, dict[str, Any]] = {}
        self.version: dict[str, int] = {}
        self.writer: dict[str, str] = {}
        self.archived: set[str] = set()
        self.sent: list[tuple[str, dict[str, Any]]] = []  # id, body
        self.keys: dict[str, int] = {}
        self.asked = 0
        self.at_once = 0
        self.most_at_once = 0
        self._here = 0
        self.changed = asyncio.Condition()

    async def handle(self, request: web.Request) -> web.Response:
        self.asked += 1
        self._here += 1
        self.most_at_once = max(self.most_at_once, self._here)
        try:
            await asyncio.sleep(self.delay_s)
            return await self._answered(request)
        finally:
            self._here -= 1
            async with self.changed:
                self.changed.notify_all()

    async def _answered(self, request: web.Request) -> web.Response:
        if self.answer != 200:
            return web.Response(status=self.answer, headers=self.headers, text="not now")
        if request.headers["Authorization"] != f"Bearer {self.token}":
            return web.Response(status=401)
        id, body = request.match_info["id"], await request.json()
        if id in self.archived:
            return web.json_response({"refused": True})
        there = self.objects.setdefault(id, {"status": "new", "comments": []})
        said: dict[str, Any] = {}
        if body["key"] not in self.keys:
            moved = body["known"] is not None and body["known"] != self.stamp(id)
            said = {
                "overwrote": {w: there.get(w) for w in body["words"] if w != "comments"} if moved else None,
                "writer": self.writer.get(id),
            }
            comments = [
                *there["comments"],
                *(f"{c['createdByDisplayName']}: {c['comment']}" for c in body["words"].get("comments", [])),
            ]
            self.write(id, {**body["words"], "comments": comments}, "bartizan")
        self.keys[body["key"]] = self.keys.get(body["key"], 0) + 1
        self.sent.append((id, body))
        return web.json_response(said)

    async def follow(self, request: web.Request) -> web.Response:
        """What has changed since; nothing here, where the tests bring changes themselves."""
        answer = await self.changes(request)
        async with self.changed:
            self.changed.notify_all()
        return answer

    async def changes(self, request: web.Request) -> web.Response:
        return web.json_response({"number": 0, "alerts": []})

    def write(self, id: str, words: Mapping[str, Any], who: str) -> None:
        self.objects.setdefault(id, {"status": "new", "comments": []}).update(words)
        self.version[id] = self.version.get(id, 0) + 1
        self.writer[id] = who

    def stamp(self, id: str) -> str:
        """Its own update time."""
        return instant(datetime(2026, 11, 23, 5, tzinfo=UTC) + timedelta(seconds=self.version.get(id, 0)))

    def words(self, id: str) -> list[dict[str, Any]]:
        """What each change brought, once each."""
        seen: set[str] = set()
        found = []
        for each, body in self.sent:
            if each == id and body["key"] not in seen:
                seen.add(body["key"])
                found.append(body["words"])
        return found

    async def wait(self, ready: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S), self.changed:
            await self.changed.wait_for(ready)


@contextlib.asynccontextmanager
async def serving(system: S) -> AsyncIterator[S]:
    app = web.Application()
    app.router.add_get("/changes", system.follow)
    app.router.add_post("/{subject}/{id}", system.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    system.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield system
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def answering() -> AsyncIterator[System]:
    async with serving(System()) as made:
        yield made


class Clock:
    """A clock that stands, and is set forward by the test."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **delta: float) -> None:
        self.now += timedelta(**delta)


def connections_of(store: Store) -> Connections:
    return Connections(store, Vault(b"m" * 32), http_of)


class Desk:
    """What the tests do to one tenant of a store."""

    def __init__(self, store: Store, connections: Connections | None = None) -> None:
        self.store = store
        self.here = store.tenant(TENANT)
        self.connections = connections or connections_of(store)

    async def connect(
        self, url: str, id: str = "tickets", connector: str = "test-tickets", *, new: bool = True, **more: Any
    ) -> Connection:
        settings = {"url": url, "token": more.pop("token", "right")}
        made = Connection(id=id, connector=connector, **more)
        await self.connections.set(TENANT, made, settings, actor="operator", new=new)
        return await self.connections.get(TENANT, id)

    async def pull(self, of: Connection | None, id: str, version: str | None = None, **said: Any) -> str:
        """As a record of the provider comes, over a connection or by another way."""
        state = provider(id, version, **said)

        def work(tx: Tx) -> None:
            store_alerts(tx, [prepare(state)])
            if of is not None:
                note_pulled(tx, of, [state.id])

        await self.here.write(work, actor="sender" if of is None else of.actor)
        return state.id

    async def come_back(self, of: Connection, system: System, id: str) -> None:
        """The next poll: the alert as the system has it."""
        there = system.objects[id]
        words = {"status": there["status"], "legacy": {"comments": list(there["comments"])}}
        for name, word in (("classification", "classification"), ("assignedTo", "assigned_to"), ("tags", "tags")):
            if there.get(name) is not None:
                words[word] = there[name]
        await self.pull(of, id, system.stamp(id), **words)

    async def change(self, alert: str, by: Who = ANN, **patch: Any) -> Kept:
        return await self.here.write(lambda tx: change_alert(tx, alert, patch, "v2", by), actor=by.user or by.app)

    async def alert(self, id: str) -> dict[str, Any]:
        row = await self.here.get(ALERTS_V2.name, id)
        assert row is not None
        return inner(row)

    async def alerts(self) -> dict[str, str]:
        """The ids here of all alerts, by those of the provider."""
        page = await self.here.page(ALERTS_V2.name, Query(top=1000, version="beta"))
        return {inner(row)["providerAlertId"]: row.id for row in page.rows}

    async def put(self, collection: Collection, id: str, body: Mapping[str, Any], actor: str, **changed: Any) -> None:
        made = draft(collection, {"id": id, **body}, id)
        await self.here.write(lambda tx: tx.put(made, changed=changed or None), actor=actor)

    async def queue(self) -> list[WriteBack]:
        """In the order of the changes."""
        page = await self.here.page(WRITE_BACKS.name, Query(top=1000, version="beta"))
        rows = [await self.here.get(WRITE_BACKS.name, row.id) for row in page.rows]
        return sorted((read(row) for row in rows if row is not None), key=lambda each: each.change_number)

    async def states(self) -> list[str]:
        return [each.state for each in await self.queue()]

    async def until(self, ready: Callable[[list[WriteBack]], bool]) -> list[WriteBack]:
        async with asyncio.timeout(LIMIT_S):
            while not ready(found := await self.queue()):  # noqa: ASYNC110 - the store is what changes
                await asyncio.sleep(0.02)
        return found

    async def settled(self, count: int) -> list[WriteBack]:
        """Once so many changes are in the queue and none is open."""
        return await self.until(lambda found: len(found) >= count and not any(each.open for each in found))


def provider(id: str, version: str | None = None, **said: Any) -> AlertState:
    words = {"vendor": "Northwall", "product": "Sensor", "title": f"alert {id}", "severity": "high", **said}
    return provider_faces(Alert(provider_alert_id=id, source_updated=version, **words), TENANT, RECEIVED)


@contextlib.asynccontextmanager
async def working(
    store: Store,
    connections: Connections | None = None,
    *,
    pace: Pace = QUICK,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncIterator[Writeback]:
    async def tenants() -> list[str]:
        return [TENANT]

    own = connections or connections_of(store)
    stage = Writeback(store, own, tenants, pace=pace, clock=clock)
    await stage.register()
    task = asyncio.create_task(stage.run())
    try:
        yield stage
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await own.close()
