"""Splunk's collector: forms of bodies and tokens, answers by its codes, acknowledgements, nothing half taken."""

import json
from collections.abc import AsyncIterator, Sequence

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from tests.ingest.conftest import NOW, PLAIN, SIGN_INS, TENANT, Lake

from bartizan.auth.caller import Caller
from bartizan.errors import Unauthenticated, Unavailable
from bartizan.ingest.hec import Acknowledgements, hec_routes
from bartizan.ingest.pipeline import Pipeline
from bartizan.sources.detect import Auto
from bartizan.store import Store
from bartizan.store.alerts import ALERTS_V2
from bartizan.store.interface import Query

pytestmark = pytest.mark.anyio
CHANNEL = "FE0ECFAD-13D5-401B-847D-77833BD77131"
EVENT = "/services/collector/event"


async def authenticate(request: Request) -> tuple[Caller, Sequence[str]]:
    """The token names the sources."""
    token = request.headers["authorization"].rpartition(" ")[2]
    if token == "nobody":
        raise Unauthenticated("no such token")
    return Caller(tenant=TENANT, app="source-token:1", app_name="Sender"), token.split(",")


@pytest.fixture
async def client(store: Store, lake: Lake) -> AsyncIterator[httpx.AsyncClient]:
    sources = {"plain_test": PLAIN, "auto": Auto()}
    pipeline = Pipeline(store, lake, collections={"signIns": SIGN_INS}, sources=sources, clock=lambda: NOW)
    app = Starlette(routes=hec_routes(pipeline, authenticate, max_body_bytes=5_000))
    headers = {"authorization": "Splunk plain_test"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://test", headers=headers) as made:
        yield made


@pytest.mark.parametrize("path", [EVENT, "/services/collector", "/services/collector/event/1.0"])
async def test_events_one_after_another(client: httpx.AsyncClient, store: Store, lake: Lake, path: str) -> None:
    """With or without space between them; an object and a text are events alike, and each gets its envelope's time."""
    body = (
        '{"event":{"id":1,"title":"a"},"time":1700000000.25}{"event":"text","host":"h"}\n{"event":{"id":2,"title":"b"}}'
    )
    found = await client.post(path, content=body)
    assert (found.status_code, found.json()) == (200, {"text": "Success", "code": 0})
    rows = await store.tenant(TENANT).count(ALERTS_V2.name)
    assert (rows, [row["Message"] for _, _, row in lake.rows]) == (2, ["text"])
    alerts = await store.tenant(TENANT).page(ALERTS_V2.name, _all())
    times = {json.loads(row.doc)["title"]: json.loads(row.doc)["firstActivityDateTime"] for row in alerts.rows}
    assert times["a"] == "2023-11-14T22:13:20.2500000Z"


def _all() -> Query:
    return Query(top=10)


async def test_lines_as_they_are(client: httpx.AsyncClient, lake: Lake) -> None:
    found = await client.post("/services/collector/raw?time=1700000000&host=web", content="one\ntwo\n")
    assert found.json()["code"] == 0
    assert [(row["Message"], row["Timestamp"][:10]) for _, _, row in lake.rows] == [
        ("one", "2023-11-14"),
        ("two", "2023-11-14"),
    ]


@pytest.mark.parametrize(
    ("body", "status", "code", "number"),
    [
        ("", 400, 5, None),
        ("  \n", 400, 5, None),
        ("{", 400, 6, None),
        ("[1]", 400, 6, 0),
        ('{"event":{"id":1,"title":"a"}}{"host":"x"}', 400, 12, 1),
        ('{"event":""}', 400, 13, 0),
        ('{"event":null}', 400, 12, 0),
    ],
)
async def test_bad_bodies_store_nothing(
    client: httpx.AsyncClient, store: Store, lake: Lake, body: str, status: int, code: int, number: int | None
) -> None:
    """Splunk's code and the number of the event at fault; the good ones before it are not taken either."""
    found = await client.post(EVENT, content=body)
    assert (found.status_code, found.json()["code"], found.json().get("invalid-event-number")) == (status, code, number)
    assert await store.tenant(TENANT).count(ALERTS_V2.name) == 0 and not lake.rows


async def test_too_large(client: httpx.AsyncClient) -> None:
    assert (await client.post(EVENT, content='{"event":"' + "x" * 6_000 + '"}')).status_code == 413


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [("", 401, 2), ("Splunk nobody", 403, 4), ("Other nobody", 401, 3), ("Bearer plain_test", 200, 0)],
)
async def test_tokens(client: httpx.AsyncClient, header: str, status: int, code: int) -> None:
    found = await client.post(EVENT, content='{"event":"x"}', headers={"authorization": header})
    assert (found.status_code, found.json()["code"]) == (status, code)


async def test_acknowledgements(client: httpx.AsyncClient) -> None:
    """What a channel was given is true at once, since it was durable; other numbers and channels are unknown."""
    headers = {"x-splunk-request-channel": CHANNEL}
    given = [(await client.post(EVENT, content='{"event":"x"}', headers=headers)).json()["ackId"] for _ in range(2)]
    assert given == [0, 1]
    asked = await client.post(f"/services/collector/ack?channel={CHANNEL}", json={"acks": [0, 1, 2]})
    assert asked.json() == {"acks": {"0": True, "1": True, "2": False}}
    assert (await client.post("/services/collector/ack", json={"acks": [0]})).json()["code"] == 10
    bad = await client.post(EVENT, content='{"event":"x"}', headers={"x-splunk-request-channel": "x"})
    assert (bad.status_code, bad.json()["code"]) == (400, 11)
    assert (await client.post("/services/collector/ack", content="{", headers=headers)).json()["code"] == 6


async def test_a_busy_store_makes_senders_wait(client: httpx.AsyncClient, lake: Lake) -> None:
    """503 with code 9 and Retry-After, as senders know it; the same again is stored."""
    lake.down = Unavailable("not now", retry_after_s=3)
    found = await client.post(EVENT, content='{"event":"x"}')
    assert (found.status_code, found.json()["code"], found.headers["retry-after"]) == (503, 9, "3")
    lake.down = None
    assert (await client.post(EVENT, content='{"event":"x"}')).status_code == 200
    assert len(lake.rows) == 1


async def test_health(client: httpx.AsyncClient) -> None:
    assert (await client.get("/services/collector/health")).json()["code"] == 17


def test_channels_are_bounded() -> None:
    acks = Acknowledgements()
    for number in range(2_000):
        acks.give("app", str(number))
    assert not acks.known("app", "0", 0) and acks.known("app", "1999", 0) and not acks.known("other", "1999", 0)
