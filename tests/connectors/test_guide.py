"""The guide "Add a connector", followed by somebody new: its file is saved, a connection is made at the command line,
and it pulls from a double of the system, writes back and acts."""

import asyncio
import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner
from tests.connectors.test_http import serving

from bartizan.app.assembly import connections_of, declared, fed, lake_of
from bartizan.auth.accounts import Accounts
from bartizan.cli import bartizan
from bartizan.connectors.http import http_of
from bartizan.extend import relations
from bartizan.extend.connectors import CONNECTORS, Away, Connector, Denied, Order, Push, Rejected
from bartizan.ingest.directory import Directory
from bartizan.ingest.pipeline import Pipeline
from bartizan.ingest.pull import PullStage, Times
from bartizan.settings import Settings
from bartizan.store import open_store
from bartizan.store.alerts import ALERTS_V2
from bartizan.store.interface import Query

pytestmark = pytest.mark.anyio
GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "add-a-connector.md"
TOKEN = "watchdesk-token"
WITHIN_S = 15.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    made = tmp_path / "watchdesk.py"
    made.write_text(code)
    return made


@pytest.fixture
def watchdesk(file: Path) -> Iterator[type[Connector]]:
    spec = importlib.util.spec_from_file_location("watchdesk_of_the_guide", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield CONNECTORS["watchdesk"]
    del CONNECTORS["watchdesk"], sys.modules[spec.name]


class Double:
    """The system: alerts with the number of their last change, and what it was told."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        self.people: list[dict[str, Any]] = [
            {"id": "p1", "mail": "ann@example.org", "name": "Ann"},
            {"id": "p2", "mail": "bob@example.org"},
        ]
        self.told: list[tuple[str, str, Any]] = []
        self.notes: dict[str, str] = {}
        self.busy = 1  # answers of 429 before the first page

    def alert(self, id: str, **more: Any) -> None:
        at = "2026-03-01T10:00:00Z"
        body = {"id": id, "title": f"Alert {id}", "severity": "high", "status": "new", "productName": "Watchdesk"}
        self.alerts.append({**body, "createdDateTime": at, "lastUpdateDateTime": at, "evidence": [], **more})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"error": {"message": f"not {request.headers.get('Authorization')}"}}, status=401)
        if request.method == "GET":
            return self._read(request)
        body = await request.json()
        self.told.append((request.method, request.path, body))
        if request.path.endswith("/notes"):
            self.notes[request.headers["Idempotency-Key"]] = body["text"]
        return web.Response(status=404 if "/alerts/gone/" in request.path else 204)

    def _read(self, request: web.Request) -> web.StreamResponse:
        if request.path == "/me":
            return web.json_response(self.people[0])
        if request.path == "/people":
            return web.json_response(self.people)
        if self.busy:
            self.busy -= 1
            return web.Response(status=429, headers={"Retry-After": "0"})
        after, limit = int(request.query["after"]), int(request.query["limit"])
        numbered = list(enumerate(self.alerts, 1))[after : after + limit]
        return web.json_response([{"change": number, "alert": alert} for number, alert in numbered])


@pytest.fixture
async def double() -> AsyncIterator[tuple[str, Double]]:
    made = Double()
    async with serving(made.answer) as at:
        yield at, made


async def run(data: Path, *arguments: str, given: str = "") -> Any:
    """A command, beside the double that answers it."""
    command = [*arguments, "--data", str(data)]
    done = await asyncio.to_thread(CliRunner().invoke, bartizan, command, input=given, prog_name="bartizan")
    assert TOKEN not in done.output
    return done.output if done.exit_code else json.loads(done.stdout)


def test_the_file_is_as_it_should_be(file: Path) -> None:
    """It passes what `make check` asks of it."""
    for check in (["ruff", "check", "--quiet"], ["ruff", "format", "--check", "--quiet"]):
        command = [sys.executable, "-m", *check, "--config", str(GUIDE.parents[2] / "pyproject.toml"), str(file)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


async def test_the_guide(tmp_path: Path, watchdesk: type[Connector], double: tuple[str, Double]) -> None:
    at, system = double
    for number in range(5):
        system.alert(f"A-{number}")
    data = tmp_path / "data"
    options = ("--set", f"url={at}", "--set", "page_rows=2", "--secrets-stdin")
    made = await run(data, "connection", "add", "watch-1", "watchdesk", *options, given=f"token={TOKEN}")
    assert made["streams"] == ["alerts", "people"]
    assert (await run(data, "connection", "check", "watch-1"))["found"] == "signed in as ann@example.org"
    await run(data, "connection", "rotate", "watch-1", given="token=wrong-token")
    refused = await run(data, "connection", "check", "watch-1")
    assert "Denied" in refused and "wrong-token" not in refused and "***" in refused
    await run(data, "connection", "rotate", "watch-1", given=f"token={TOKEN}")

    settings = Settings(data=str(data))
    store, lake = open_store(data, declared()), lake_of(settings)
    await store.start()
    await lake.start()
    tenant = (await Accounts(store).first_tenant()).id
    connections = connections_of(settings, store)
    directory = Directory(store, fed(), relations())
    pipeline = Pipeline(store, lake, collections=fed())
    stage = PullStage(store, connections, pipeline, directory, times=Times(look=0.05, first=0.05, least=0.05))
    task = asyncio.create_task(stage.run())

    async def there(collection: str, count: int) -> None:
        async with asyncio.timeout(WITHIN_S):
            while await store.tenant(tenant).count(collection) < count:
                await store.changed()

    try:
        await there(ALERTS_V2.name, 5)
        await there("users", 2)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    page = await store.tenant(tenant).page(ALERTS_V2.name, Query(top=10))
    assert sorted(json.loads(row.doc)["providerAlertId"] for row in page.rows) == [f"A-{n}" for n in range(5)]
    assert system.busy == 0
    live = await connections.live(tenant, await connections.get(tenant, "watch-1"))
    await writes_back_and_acts(live, system)
    await connections.close()
    await lake.close()
    await store.close()


async def writes_back_and_acts(live: Connector, system: Double) -> None:
    words = {"status": "resolved", "comments": [{"comment": "done"}], "tags": ["x"]}
    change = Push(subject="alert", id="A-1", words=words, now={}, by="ann@example.org", at="", key="k1")
    assert (await live.push(change)).left_out == ("tags",)
    await live.push(change)
    assert system.notes == {"k1.0": "done"}, "asked twice, noted once"
    assert system.told[0] == ("PUT", "/alerts/A-1/status", {"status": "resolved", "by": "ann@example.org"})
    with pytest.raises(Rejected):
        await live.push(Push(subject="alert", id="gone", words={"status": "new"}, now={}, by="", at="", key="k2"))
    done = await live.act(
        Order(name="blockAddress", target="2001:db8::1", parameters={}, by="ann", reason="c2", key="k3")
    )
    assert done.state == "completed" and system.told[-1][2] == {"reason": "c2"}


async def test_what_it_does_when_the_system_does_not(watchdesk: type[Connector], double: tuple[str, Double]) -> None:
    at, system = double

    def connector(**settings: Any) -> Connector:
        whole = watchdesk.settings(**{"url": at, "token": TOKEN, **settings})
        return watchdesk(whole, http_of(whole))

    async def pulled(of: Connector, stream: str) -> int:
        try:
            return len([batch async for batch in of.pull(stream, None)])
        finally:
            await of.outside.close()

    with pytest.raises(Away):
        await pulled(connector(), "alerts")
    assert await pulled(connector(), "alerts") == 0
    with pytest.raises(Denied):
        await pulled(connector(token="other"), "people")
    system.people[0] = {"id": 7}
    with pytest.raises(Rejected, match="not what Watchdesk's API says"):
        await pulled(connector(), "people")
