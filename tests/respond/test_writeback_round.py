"""There and back: alerts that are really pulled, changed here and there, and written back, by both stages together."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiohttp import web
from tests.ingest.conftest import Lake
from tests.respond.ticketing import LIMIT_S, TENANT, Desk, System, Tickets, connections_of, serving, working

from bartizan.app.assembly import declared, fed
from bartizan.auth import audit
from bartizan.auth.accounts import Accounts
from bartizan.extend import relations
from bartizan.extend.connectors import Batch, Pulled, Stream
from bartizan.ingest.directory import Directory
from bartizan.ingest.pipeline import Pipeline
from bartizan.ingest.pull import PullStage, Times
from bartizan.store import Store, open_store

pytestmark = pytest.mark.anyio
QUICK = Times(look=0.02, all=30.0, least=0.02, page=5.0, first=0.02, most=0.1, slow=0.05, slowest=0.1)
MANY = 5


class Followed(System):
    """A system that tells what has changed since a number."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0
        self.last: dict[str, int] = {}
        self.asked_since: list[int] = []

    def write(self, id: str, words: Any, who: str) -> None:
        super().write(id, words, who)
        self.number += 1
        self.last[id] = self.number

    async def changes(self, request: web.Request) -> web.Response:
        after = int(request.query["after"])
        self.asked_since.append(after)
        ids = [id for id, number in sorted(self.last.items(), key=lambda pair: pair[1]) if number > after]
        return web.json_response({"number": self.number, "alerts": [self.shown(id) for id in ids]})

    def shown(self, id: str) -> dict[str, Any]:
        there = {name: value for name, value in self.objects[id].items() if name in ("status", "assignedTo")}
        return {
            "@odata.type": "#microsoft.graph.security.alert",
            **{"id": id, "providerAlertId": id, "title": "Mimikatz", "severity": "high"},
            **{"serviceSource": "microsoftDefenderForEndpoint", "createdDateTime": "2026-11-23T04:00:00Z"},
            **{"lastUpdateDateTime": self.stamp(id), "evidence": []},
            **there,
        }


class Polled(Tickets):
    name = "test-polled"
    owns: ClassVar[tuple[tuple[str, str], ...]] = ()
    streams: ClassVar = {"alerts": Stream("Its alerts.", every_s=0.05)}

    async def pull(self, stream: str, cursor: str | None) -> AsyncIterator[Batch]:
        answer = await self.outside.ask("GET", f"{self.set.url}/changes", params={"after": cursor or "0"})
        records = [Pulled("graph_security_alert_v2", json.dumps(each).encode()) for each in answer.data["alerts"]]
        yield Batch(cursor=str(answer.data["number"]), records=records)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(tmp_path, declared())
    await store.start()
    await Accounts(store).add_tenant("one", "one.example", id=TENANT, actor=audit.OPERATOR)
    yield store
    await store.close()


async def test_there_and_back(store: Store) -> None:
    """A change in the source shows here with the next poll and is not sent back; ours arrives there once and comes back
    without an echo; after both have changed everything, both say the same."""
    connections = connections_of(store)
    desk = Desk(store, connections)
    pipeline = Pipeline(store, Lake(), collections=fed())
    pull = PullStage(store, connections, pipeline, Directory(store, fed(), relations()), times=QUICK)

    async def shows(alert: str, **wanted: Any) -> None:
        async with asyncio.timeout(LIMIT_S):
            while True:
                row = await desk.here.get("alerts_v2", alert)
                if row is not None and wanted.items() <= (await desk.alert(alert)).items():
                    return
                await asyncio.sleep(0.02)

    async with serving(Followed()) as system:
        for n in range(MANY):
            system.write(f"a{n}", {"status": "new"}, "sensor")
        await desk.connect(system.url, connector="test-polled", streams=("alerts",))
        pulling = asyncio.create_task(pull.run())
        try:
            async with asyncio.timeout(LIMIT_S):
                while len(page := await desk.alerts()) < MANY:  # noqa: ASYNC110 - the store is what changes
                    await asyncio.sleep(0.02)
            alerts = [page[f"a{n}"] for n in range(MANY)]
            async with working(store, connections):
                for alert in alerts:
                    await desk.change(alert, status="resolved", assignedTo="ann@contoso.example")
                await desk.settled(MANY)
                system.write("a0", {"status": "inProgress"}, "mallory")
                await shows(alerts[0], status="inProgress", assignedTo="ann@contoso.example")
                await desk.change(alerts[0], status="resolved")
                await desk.settled(MANY + 1)
                polls = len(system.asked_since)
                await system.wait(lambda: len(system.asked_since) > polls + 2)
                found = await desk.settled(MANY + 1)
        finally:
            pulling.cancel()
            await asyncio.gather(pulling, return_exceptions=True)
    assert [each.state for each in found] == ["done"] * (MANY + 1)
    assert len(system.sent) == MANY + 1
    for n, alert in enumerate(alerts):
        here, there = await desk.alert(alert), system.objects[f"a{n}"]
        assert (here["status"], here["assignedTo"]) == (there["status"], there["assignedTo"])
        assert there["status"] == "resolved"
