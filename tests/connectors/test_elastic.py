"""Elasticsearch, OpenSearch and Kibana: a double that pages, sorts and filters as they do, and fails as they fail."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web
from tests.connectors.double_server import pulled, serving

import bartizan.sources  # noqa: F401 - registers them
from bartizan.connectors.elastic import (
    ElasticSecurity,
    ElasticSettings,
    SearchIndex,
    SearchSettings,
    WazuhIndexer,
    WazuhSettings,
)
from bartizan.connectors.http import Http
from bartizan.extend import SOURCES, Record
from bartizan.extend.connections import secret_fields
from bartizan.extend.connectors import Away, Batch, Denied, Push, Read, Rejected
from bartizan.model.alert import Alert

NOW = 1_770_000_000_000  # ms, of the system's own clock
DAY = 86_400_000


class Engine:
    """One index. `documents` are in no order; a point in time is a copy of them."""

    def __init__(self, distribution: str = "elasticsearch", *, points: bool = True) -> None:
        self.distribution = distribution
        self.points = points
        self.documents: list[dict[str, Any]] = []
        self.open: dict[str, list[dict[str, Any]]] = {}
        self.faults: list[web.Response] = []  # to searches, before they work
        self.asked: list[tuple[str, str, Any]] = []
        self.authorization = "ApiKey a2V5"
        self._points = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = json.loads(await request.text() or "null")
        self.asked.append((request.method, request.path, body))
        if request.headers.get("Authorization") != self.authorization:
            return web.json_response({"error": {"reason": "unable to authenticate"}}, status=401)
        match (request.method, request.path.rpartition("/")[2]):
            case ("GET", ""):
                version = {"number": "2.19.0", "distribution": "opensearch"}
                return web.json_response(
                    {"version": version if self.distribution == "opensearch" else {"number": "8.17.0"}}
                )
            case ("POST", "_pit") if self.points and self.distribution == "elasticsearch":
                return web.json_response({"id": self._point()})
            case ("POST", "point_in_time") if self.points and self.distribution == "opensearch":
                assert request.query["allow_partial_pit_creation"] == "false", "else shards are missing in silence"
                return web.json_response({"pit_id": self._point()})
            case ("DELETE", "_pit"):
                return web.json_response({"succeeded": self.open.pop(body["id"], None) is not None})
            case ("DELETE", "point_in_time"):
                return web.json_response({"pits": [self.open.pop(each, None) is not None for each in body["pit_id"]]})
            case ("POST", "_search"):
                return self.faults.pop(0) if self.faults else self._search(body)
            case ("POST", "_update_by_query"):
                return self._update(body)
            case ("POST", "status"):
                return self._status(request, body)
        return web.json_response({"error": {"reason": "no handler"}}, status=400)

    def _point(self) -> str:
        self._points += 1
        name = f"point-{self._points}"
        self.open[name] = list(self.documents)
        return name

    def _search(self, body: dict[str, Any]) -> web.Response:
        documents, point = self.documents, body.get("pit", {}).get("id")
        if point is not None:
            if point not in self.open:
                return web.json_response({"error": {"type": "search_context_missing_exception"}}, status=404)
            documents = self.open[point]
            self._points += 1  # a later name of the same, as the API may give
            self.open[f"point-{self._points}"] = self.open.pop(point)
            point = f"point-{self._points}"
        order = [next(iter(each.items())) for each in body.get("sort", [])]
        if point is not None and order and order[-1][0] != "_shard_doc" and self.distribution == "elasticsearch":
            order.append(("_shard_doc", {"order": "asc"}))
        found = [
            (self._keys(document, number, order), document)
            for number, document in enumerate(documents)
            if _matches(document, body["query"])
        ]
        found.sort(key=lambda each: each[0], reverse=bool(order) and order[0][1].get("order") == "desc")
        after = body.get("search_after")
        if after is not None:
            assert len(after) == len(order), "all sort values are given back"
            found = [each for each in found if each[0] > after]
        hits = [{"_id": document["_id"], "_source": document["_source"], "sort": keys} for keys, document in found]
        answer = {"timed_out": False, "_shards": {"failed": 0}, "hits": {"hits": hits[: body["size"]]}}
        if body.get("track_total_hits"):
            answer["hits"]["total"] = {"value": len(hits), "relation": "eq"}  # type: ignore[index]
        return web.json_response(answer | ({"pit_id": point} if point is not None else {}))

    def _keys(self, document: dict[str, Any], number: int, order: list[tuple[str, Any]]) -> list[Any]:
        keys: list[Any] = []
        for name, _ in order:
            if name == "_shard_doc":
                keys.append(number)
            elif name == "_id":
                keys.append(document["_id"])
            else:
                keys.append(document["_source"][name])
        return keys

    def _update(self, body: dict[str, Any]) -> web.Response:
        found = [each for each in self.documents if _matches(each, body["query"])]
        for each in found:
            each["_source"]["kibana.alert.workflow_status"] = body["script"]["params"]["status"]
        return web.json_response({"updated": len(found), "noops": 0, "version_conflicts": 0, "failures": []})

    def _status(self, request: web.Request, body: dict[str, Any]) -> web.Response:
        if "kbn-xsrf" not in request.headers:
            return web.json_response({"message": "Request must contain a kbn-xsrf header."}, status=400)
        found = [each for each in self.documents if each["_source"]["kibana.alert.uuid"] in body["signal_ids"]]
        for each in found:
            each["_source"]["kibana.alert.workflow_status"] = body["status"]
        return web.json_response({"updated": len(found), "version_conflicts": 0, "failures": []})

    def searches(self) -> list[Any]:
        return [body for method, path, body in self.asked if path.endswith("_search") and method == "POST"]


def _at(value: Any) -> int:
    if isinstance(value, int):
        return value
    assert value.startswith("now")
    return NOW - int(value[4:-1] or 0) * DAY if value != "now" else NOW


def _matches(document: dict[str, Any], query: dict[str, Any]) -> bool:
    source: dict[str, Any] = document["_source"]
    ((kind, inside),) = query.items()
    if kind == "bool":
        return all(_matches(document, each) for each in inside["filter"])
    if kind == "exists":
        return str(inside["field"]) in source
    if kind == "term":
        ((name, value),) = inside.items()
        return bool(source.get(name) == value)
    if kind == "query_string":
        name, _, value = inside["query"].partition(":")
        return bool(str(source.get(name)) == value)
    ((name, bounds),) = inside.items()
    at = source[name]
    return bool(at >= _at(bounds.get("gte", 0)) and at <= _at(bounds.get("lte", "now")))


def document(number: int, at: int, **more: Any) -> dict[str, Any]:
    return {"_id": f"d{number:04}", "_source": {"@timestamp": at, "n": number, **more}}


@asynccontextmanager
async def searching(engine: Engine, kind: type[SearchIndex] = SearchIndex, **given: Any) -> AsyncIterator[SearchIndex]:
    async with serving(engine.answer) as url:
        if given.get("kibana_url") == "":
            given["kibana_url"] = f"{url}/s/soc"
        settings = msgspec.convert(
            {"url": url, "api_key": "a2V5", **({"index": "logs-*"} if kind is SearchIndex else {}), **given},
            kind.settings,
        )
        outside = Http()
        try:
            yield kind(settings, outside)
        finally:
            await outside.close()


def numbers(batches: list[Batch]) -> list[int]:
    return [json.loads(one.raw)["n"] for batch in batches for one in batch.records]


@pytest.mark.parametrize(
    ("distribution", "points"), [("elasticsearch", True), ("opensearch", True), ("opensearch", False)]
)
@pytest.mark.asyncio
async def test_every_document_once(distribution: str, points: bool) -> None:
    """Documents of one time that fill pages come each once, in order, also while others are being written; a point in
    time is given back."""
    engine = Engine(distribution, points=points)
    engine.documents = [document(n, NOW - 5_000 + n // 40) for n in reversed(range(100))]
    async with searching(engine, page_rows=7) as connector:
        batches = []
        async for batch in connector.pull("documents", None):
            batches.append(batch)
            engine.documents.insert(0, document(1_000 + len(batches), NOW - 10_000))
    assert sorted(numbers(batches)) == list(range(100))
    assert [n // 40 for n in numbers(batches)] == [n // 40 for n in range(100)]
    assert [len(batch.records) for batch in batches] == [7] * 14 + [2]
    assert not engine.open


@pytest.mark.asyncio
async def test_goes_on_from_the_cursor() -> None:
    """The next look begins a little before where the last one ended, so that what was found late is not missed; what is
    older than that is not asked for again."""
    engine = Engine()
    engine.documents = [document(1, NOW - 600_000), document(2, NOW - 100_000)]
    async with searching(engine, overlap_s=300) as connector:
        first = await pulled(connector, "documents")
        engine.documents += [document(3, NOW - 200_000), document(4, NOW - 1_000)]
        second = await pulled(connector, "documents", first[-1].cursor)
        third = await pulled(connector, "documents", second[-1].cursor)
    assert numbers(first) == [1, 2]
    assert numbers(second) == [3, 2, 4]
    assert third[-1].cursor == second[-1].cursor
    assert json.loads(second[-1].cursor) == {"at": NOW - 1_000}


@pytest.mark.asyncio
async def test_first_look_and_the_future() -> None:
    """The first look goes back as far as is set; a document from the future waits and leaves the cursor alone."""
    engine = Engine()
    engine.documents = [document(1, NOW - 8 * DAY), document(2, NOW - 6 * DAY), document(3, NOW + DAY)]
    async with searching(engine) as connector:
        assert numbers(await pulled(connector, "documents")) == [2]
    async with searching(engine, since_days=0) as connector:
        batches = await pulled(connector, "documents")
        assert numbers(batches) == [1, 2]
        assert json.loads(batches[-1].cursor) == {"at": NOW - 6 * DAY}


@pytest.mark.asyncio
async def test_filter_and_check() -> None:
    """Only what the query of the settings matches is read; the check says how much that is."""
    engine = Engine("opensearch")
    engine.documents = [document(n, NOW - n, level=n % 3) for n in range(9)]
    async with searching(engine, filter="level:2") as connector:
        assert await connector.check() == "opensearch has 3 documents"
        assert numbers(await pulled(connector, "documents")) == [8, 5, 2]


@pytest.mark.parametrize(
    ("fault", "error", "said"),
    [
        (web.json_response({"error": "busy"}, status=429, headers={"Retry-After": "7"}), Away, "busy"),
        (web.json_response({"error": "no"}, status=503), Away, "503"),
        (web.json_response({"error": {"reason": "unauthorized for user"}}, status=403), Denied, "unauthorized"),
        (web.json_response({"_shards": {"failed": 1}, "hits": {"hits": []}}), Away, "1 shards failed"),
        (web.json_response({"timed_out": True, "hits": {"hits": []}}), Away, "incomplete"),
        (web.json_response({"error": {"type": "search_context_missing_exception"}}, status=404), Away, "point in time"),
        (web.json_response({"error": {"reason": "no mapping for [id]"}}, status=400), Rejected, "no mapping"),
        (web.json_response({"hello": "world"}), Rejected, "not that of a search"),
    ],
)  # fmt: skip
@pytest.mark.asyncio
async def test_faults(fault: web.Response, error: type[Exception], said: str) -> None:
    """What goes wrong on the second page is said for what it is, leaves the first page behind, and the point in time is
    given back; the next look goes on."""
    engine = Engine()
    engine.documents = [document(n, NOW - 100 + n) for n in range(5)]
    batches = []
    async with searching(engine, page_rows=3, overlap_s=0) as connector:
        with pytest.raises(error, match=said) as raised:
            async for batch in connector.pull("documents", None):
                batches.append(batch)
                engine.faults.append(fault)
        if fault.status == 429:
            assert isinstance(raised.value, Away)
            assert raised.value.retry_after_s == 7
        assert numbers(batches) == [0, 1, 2]
        assert not engine.open
        rest = await pulled(connector, "documents", batches[-1].cursor)
    assert numbers(rest) == [2, 3, 4]


@pytest.mark.asyncio
async def test_credentials() -> None:
    """A user and password are sent as such; wrong ones are Denied, and stand in no message."""
    engine = Engine()
    async with searching(engine, api_key="c2VjcmV0") as connector:
        with pytest.raises(Denied) as raised:
            await connector.check()
        assert "c2VjcmV0" not in raised.value.message
    engine.authorization = "Basic YWRhOnB3"
    async with searching(engine, api_key=None, user="ada", password="pw") as connector:
        assert await connector.check() == "elasticsearch has 0 documents"


def test_secrets_are_known() -> None:
    """What is to be sealed is declared, with a description beside it too."""
    for settings in (SearchSettings, ElasticSettings, WazuhSettings):
        assert secret_fields(settings) == {"api_key", "password"}


@pytest.mark.asyncio
async def test_wazuh() -> None:
    """Wazuh's alerts are followed by their own time and id, and read live by id and time."""
    engine = Engine("opensearch", points=False)
    rule = {"level": 10, "id": "5712", "description": "sshd: brute force"}
    engine.documents = [
        {"_id": f"x{n}", "_source": {"timestamp": NOW - n, "id": f"17.{n}", "n": n, "rule": rule, "agent": {"id": "1"}}}
        for n in range(4)
    ]
    async with searching(engine, WazuhIndexer, page_rows=3) as connector:
        batches = await pulled(connector, "alerts")
        assert numbers(batches) == [3, 2, 1, 0]
        assert {one.source for batch in batches for one in batch.records} == {"wazuh"}
        assert list(engine.searches()[-1]["sort"][1]) == ["id"]
        one = await connector.read(Read(id="17.2"))
        assert [json.loads(each.raw)["n"] for each in one] == [2]
        engine.documents = []
        await connector.read(Read(since="2026-01-01T00:00:00Z", top=20_000))
    body = engine.searches()[-1]
    assert body["size"] == 10_000
    assert {"range": {"timestamp": {"gte": "2026-01-01T00:00:00.0000000Z"}}} in body["query"]["bool"]["filter"]
    assert not connector.pushes


def alert(**more: Any) -> dict[str, Any]:
    source = {
        "@timestamp": NOW - 1_000,
        "kibana.alert.uuid": "u-1",
        "kibana.alert.rule.name": "Beacon",
        "kibana.alert.severity": "high",
        "kibana.alert.workflow_status": "open",
        "n": 1,
    }
    return {"_id": "u-1", "_source": source | more}


def change(**words: Any) -> Push:
    return Push(
        subject="alert", id="u-1", words=words, now={}, by="ada", at="2026-02-03T10:00:00.0000000Z", key="k",
        known="2026-02-03T08:00:00.0000000Z",
    )  # fmt: skip


@pytest.mark.parametrize("write_by", ["kibana", "index"])
@pytest.mark.asyncio
async def test_status_goes_back(write_by: str) -> None:
    """A status is set through Kibana or in the index, once; what somebody had changed meanwhile is told."""
    engine = Engine()
    engine.documents = [
        alert(
            **{
                "kibana.alert.workflow_status": "closed",
                "kibana.alert.workflow_status_updated_at": "2026-02-03T09:00:00Z",
                "kibana.alert.workflow_user": "eve",
            }
        )
    ]
    async with searching(engine, ElasticSecurity, write_by=write_by, kibana_url="") as connector:
        done = await connector.push(change(status="inProgress", comments=[]))
        assert engine.documents[0]["_source"]["kibana.alert.workflow_status"] == "acknowledged"
        assert done.overwrote == {"status": "closed"}
        assert done.last_writer == "eve"
        assert done.left_out == ("comments",)
        count = len(engine.asked)
        await connector.push(change(status="inProgress"))
        assert [path for _, path, _ in engine.asked[count:]] == ["/.alerts-security.alerts-default/_search"]
        engine.documents = []
        with pytest.raises(Rejected, match="has no alert u-1"):
            await connector.push(change(status="resolved"))
    wrote = "/s/soc/api/detection_engine/signals/status" if write_by == "kibana" else "_update_by_query"
    assert sum(path.endswith(wrote) for _, path, _ in engine.asked) == 1


@pytest.mark.asyncio
async def test_changes_are_pulled() -> None:
    """A status that was changed in Kibana comes by its own time, as an alert in that status."""
    engine = Engine()
    engine.documents = [
        alert(),
        alert(
            **{
                "@timestamp": NOW - 300 * DAY,
                "kibana.alert.uuid": "u-2",
                "kibana.alert.workflow_status": "closed",
                "kibana.alert.workflow_status_updated_at": NOW - 10,
                "n": 2,
            }
        ),
    ]
    async with searching(engine, ElasticSecurity) as connector:
        assert numbers(await pulled(connector, "alerts")) == [1]
        batches = await pulled(connector, "changes")
    assert numbers(batches) == [2]
    record = batches[0].records[0]
    data = json.loads(record.raw)
    (made,) = SOURCES[record.source].normalise(Record(raw=record.raw, text=record.raw.decode(), data=data))
    assert isinstance(made, Alert)
    assert (made.provider_alert_id, made.status) == ("u-2", "resolved")


@pytest.mark.asyncio
async def test_kibana_is_not_set() -> None:
    """Without Kibana's address a status cannot be written, and the message says what to set."""
    engine = Engine()
    engine.documents = [alert()]
    async with searching(engine, ElasticSecurity) as connector:
        with pytest.raises(Denied, match="kibana_url is not set"):
            await connector.push(change(status="resolved"))
