"""POST /ingest/{source}: who may, what comes back, what is refused, how much is in flight."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from tests.ingest.conftest import TENANT, Lake

from bartizan.auth.caller import Caller
from bartizan.errors import BartizanError, StorageFull, TooManyRequests, Unauthenticated, Unavailable
from bartizan.ingest.pipeline import Pipeline
from bartizan.ingest.web import ACCESS, PERMISSION, Flow, ingest_route
from bartizan.store import Store
from bartizan.store.alerts import ALERTS_V2

pytestmark = pytest.mark.anyio
URL = "/ingest/plain_test"
ALERT = b'{"id":1,"title":"a"}\n'


async def authenticate(request: Request) -> Caller:
    """The header says tenant and permission."""
    tenant, _, permission = request.headers.get("authorization", "").partition(" ")
    if not tenant:
        raise Unauthenticated("no token")
    caller = Caller(tenant=tenant, app="app-1", app_name="Sender", permissions=frozenset([permission]))
    caller.require(ACCESS)
    return caller


async def answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, BartizanError)
    return JSONResponse({"error": {"code": error.code, "message": error.message}}, error.status, dict(error.headers))


def client_of(pipeline: Pipeline, flow: Flow | None = None, max_body_bytes: int = 10_000) -> httpx.AsyncClient:
    route = ingest_route(pipeline, authenticate, flow=flow, max_body_bytes=max_body_bytes)
    app = Starlette(routes=[route], exception_handlers={BartizanError: answer})
    headers = {"authorization": f"{TENANT} {PERMISSION}"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="https://test", headers=headers)


@pytest.fixture
async def client(pipeline: Pipeline) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(pipeline) as client:
        yield client


async def test_the_answer_counts_what_was_stored(client: httpx.AsyncClient, store: Store) -> None:
    first = await client.post(URL, content=ALERT + b'{"event":"x"}')
    assert first.status_code == 200, first.text
    body = first.json()
    assert list(body) == ["accepted", "repeats", "events", "ids"]
    assert (body["accepted"], body["repeats"], body["events"]) == (2, 0, 1)
    row = await store.tenant(TENANT).get(ALERTS_V2.name, body["ids"][0])
    assert row is not None
    again = await client.post(URL, content=ALERT + b'{"event":"x"}')
    assert again.json() == {"accepted": 0, "repeats": 2, "events": 0, "ids": body["ids"]}


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b'[{"id":1,"title":"a"}]', {"content-type": "application/json"}),
        (ALERT, {"content-type": "application/x-ndjson"}),
        (gzip.compress(ALERT, mtime=0), {"content-encoding": "gzip"}),
        (gzip.compress(ALERT, mtime=0), {}),
        (b"\xef\xbb\xbf" + ALERT.replace(b"\n", b"\r\n"), {}),
    ],
)
async def test_forms_of_a_body(client: httpx.AsyncClient, content: bytes, headers: dict[str, str]) -> None:
    found = await client.post(URL, content=content, headers=headers)
    assert (found.status_code, found.json()["accepted"], len(found.json()["ids"])) == (200, 1, 1)


async def test_who_may_not(client: httpx.AsyncClient, store: Store) -> None:
    without = await client.post(URL, content=ALERT, headers={"authorization": ""})
    assert (without.status_code, without.json()["error"]["code"]) == (401, "InvalidAuthenticationToken")
    other = await client.post(URL, content=ALERT, headers={"authorization": f"{TENANT} SecurityAlert.Read.All"})
    assert (other.status_code, other.json()["error"]["code"]) == (403, "Forbidden")
    assert await store.tenant(TENANT).count(ALERTS_V2.name) == 0


async def test_the_tenant_is_that_of_the_token(client: httpx.AsyncClient, store: Store) -> None:
    await client.post(URL, content=ALERT, headers={"authorization": f"tenant-2 {PERMISSION}"})
    assert await store.tenant("tenant-2").count(ALERTS_V2.name) == 1
    assert await store.tenant(TENANT).count(ALERTS_V2.name) == 0


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b'[{"id":1', {}, 400),
        (b"\x1f\x8bbroken", {"content-encoding": "gzip"}, 400),
        (b"x" * 10_001, {}, 413),
        (gzip.compress(b"x" * 10_001, mtime=0), {"content-encoding": "gzip"}, 413),
        (ALERT, {"content-encoding": "br"}, 415),
    ],
)
async def test_what_is_refused_says_why_and_stores_nothing(
    client: httpx.AsyncClient, store: Store, lake: Lake, content: bytes, headers: dict[str, str], status: int
) -> None:
    found = await client.post(URL, content=content, headers=headers)
    assert (found.status_code, bool(found.json()["error"]["message"])) == (status, True)
    assert await store.tenant(TENANT).count(ALERTS_V2.name) == 0
    assert lake.rows == []


async def test_a_body_without_length_is_bounded_too(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 4_000

    assert (await client.post(URL, content=endless())).status_code == 413


async def test_an_unknown_source_lists_the_known(client: httpx.AsyncClient) -> None:
    found = await client.post("/ingest/nothing", content=ALERT)
    assert (found.status_code, "plain_test" in found.text) == (404, True)
    assert (await client.get(URL)).status_code == 405


async def test_failures_behind_pass_as_they_are(client: httpx.AsyncClient, lake: Lake) -> None:
    lake.down = StorageFull("full")
    assert (await client.post(URL, content=b'{"event":"x"}')).status_code == 507
    lake.down = Unavailable("away", retry_after_s=7)
    found = await client.post(URL, content=b'{"event":"x"}')
    assert (found.status_code, found.headers["retry-after"]) == (503, "7")


async def test_too_much_in_flight_is_told_to_come_later(pipeline: Pipeline) -> None:
    gate, inside = asyncio.Event(), asyncio.Event()

    class Slow(Pipeline):
        async def receive(self, *args: object, **named: object) -> object:  # type: ignore[override]
            inside.set()
            await gate.wait()
            return await pipeline.receive(*args, **named)  # type: ignore[arg-type]

    slow = Slow(None, None, sources=pipeline.sources)  # type: ignore[arg-type]
    flow = Flow(total_bytes=250, tenant_bytes=150)
    async with client_of(slow, flow) as client:
        first = asyncio.create_task(client.post(URL, content=ALERT * 5))
        await inside.wait()
        assert flow.in_flight == len(ALERT * 5)
        mine = await client.post(URL, content=ALERT * 5)
        assert (mine.status_code, mine.headers["retry-after"]) == (429, "2")
        inside.clear()
        other = asyncio.create_task(
            client.post(URL, content=ALERT * 6, headers={"authorization": f"tenant-2 {PERMISSION}"})
        )
        await inside.wait()
        third = await client.post(URL, content=ALERT * 5, headers={"authorization": f"tenant-3 {PERMISSION}"})
        assert (third.status_code, third.headers["retry-after"]) == (503, "2")
        gate.set()
        assert [(await one).status_code for one in (first, other)] == [200, 200]
        assert flow.in_flight == 0
        assert (await client.post(URL, content=ALERT)).status_code == 200


def test_what_was_reserved_is_given_back_after_an_error() -> None:
    flow = Flow(total_bytes=10, tenant_bytes=10)
    with pytest.raises(TooManyRequests), flow.request("a") as reserve:
        reserve(6)
        reserve(6)
    assert flow.in_flight == 0
    with flow.request("a") as reserve:
        reserve(10)


async def test_one_record_may_be_any_json_line(client: httpx.AsyncClient) -> None:
    for line in ("7", "null", '"text"', "true", "[]", '{"a":{}}'):
        found = await client.post(URL, content=line)
        assert found.status_code == 200, found.text
        count = found.json()
        assert count["accepted"] == (0 if line == "[]" else 1), json.dumps(count)
