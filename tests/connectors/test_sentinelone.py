"""SentinelOne: a double of its console with cursors, filters, mitigation that takes its time, and state."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web
from tests.connectors.double_server import pulled, serving
from tests.connectors.doubles import Double, alerts, raws

from bartizan.connectors.http import Http
from bartizan.connectors.sentinelone import SentinelOne, SentinelOneSettings
from bartizan.extend.connections import secret_fields
from bartizan.extend.connectors import Away, Denied, Order, Push, Read, Rejected

API = "/web/api/v2.1"
SHA1 = "c" * 40
SHA256 = "d" * 64
AGENT = "1100000000000000001"


class Console(Double):
    def __init__(self) -> None:
        super().__init__()
        self.threats: dict[str, dict[str, Any]] = {}
        self.agents = {AGENT: agent(AGENT, "LAPTOP-7")}
        self.notes: list[dict[str, Any]] = []
        self.timeline: list[dict[str, Any]] = []
        self.blocked: dict[str, dict[str, Any]] = {}
        self.between: Any = None  # called behind each page

    def knows(self, authorization: str) -> bool:
        return authorization == "ApiToken t0ken"

    def refused(self) -> web.StreamResponse:
        errors = [{"code": 4010010, "detail": None, "title": "Authentication Failed"}]
        return web.json_response({"errors": errors}, status=401)

    def served(self, request: web.Request, body: Any) -> web.StreamResponse:
        path = request.path.removeprefix(API)
        match (request.method, path):
            case ("GET", "/threats"):
                return self._threats(request)
            case ("GET", "/agents"):
                return self._agents(request)
            case ("GET", "/restrictions"):
                assert request.query["type"] == "black_hash"
                hash = request.query["query"]
                return _data(
                    [one for one in self.blocked.values() if hash in (one.get("value"), one.get("sha256Value"))]
                )
            case ("POST", "/restrictions"):
                id = str(len(self.blocked) + 1)
                self.blocked[id] = {"id": id, "scope": body["filter"], **body["data"]}
                return _data([self.blocked[id]])
            case ("DELETE", "/restrictions"):
                for id in body["data"]["ids"]:
                    del self.blocked[id]
                return _data({"affected": len(body["data"]["ids"])})
            case ("GET", _) if path.endswith("/notes"):
                return _data([one for one in self.notes if one["threatId"] in path])
            case ("GET", _) if path.endswith("/timeline"):
                return _data(self.timeline)
            case ("POST", _):
                return _data({"affected": self._changed(path, body)})
        return web.json_response({"errors": [{"code": 4040010, "title": "Not found"}]}, status=404)

    def _threats(self, request: web.Request) -> web.StreamResponse:
        asked = request.query
        found = list(self.threats.values())
        if "ids" in asked:
            found = [one for one in found if one["id"] in asked["ids"].split(",")]
        if "contentHash__contains" in asked:
            found = [one for one in found if asked["contentHash__contains"] in str(one["threatInfo"])]
        for name, field in (("updatedAt__gte", "updatedAt"), ("createdAt__gte", "createdAt")):
            if name in asked:
                found = [one for one in found if one["threatInfo"][field] >= asked[name]]
        field = asked.get("sortBy", "id")
        found.sort(key=lambda one: (one["threatInfo"].get(field), one["id"]), reverse=asked.get("sortOrder") == "desc")
        keys = [f"{one['threatInfo'].get(field)}|{one['id']}" for one in found]
        if "cursor" in asked:
            found = [one for one, key in zip(found, keys, strict=True) if key > asked["cursor"]]
        limit = int(asked.get("limit", 10))
        page = found[:limit]
        after = None
        if len(found) > limit:
            after = f"{page[-1]['threatInfo'].get(field)}|{page[-1]['id']}"
        answer = web.json_response({"data": page, "pagination": {"totalItems": len(keys), "nextCursor": after}})
        if self.between is not None:
            self.between()
        return answer

    def _agents(self, request: web.Request) -> web.StreamResponse:
        asked = request.query
        found = list(self.agents.values())
        if "ids" in asked:
            found = [one for one in found if one["id"] in asked["ids"].split(",")]
        for name in ("computerName", "uuid"):
            if name in asked:
                found = [one for one in found if one[name] == asked[name]]
        return _data(found)

    def _changed(self, path: str, body: Any) -> int:
        ids, data = body["filter"]["ids"], body.get("data")
        if path.startswith("/agents/"):
            for id in ids:
                name = path.rpartition("/")[2]
                if name == "initiate-scan":
                    self.agents[id]["scanStatus"] = "started"
                else:
                    self.agents[id]["networkStatus"] = f"{name}ing"
            return len(ids)
        found = [self.threats[id] for id in ids if id in self.threats]
        for one in found:
            if path == "/threats/notes":
                self.notes.append({"threatId": one["id"], "text": data["text"]})
            elif not path.startswith("/threats/mitigate/"):  # of that a report comes later
                assert path in ("/threats/incident", "/threats/analyst-verdict")
                one["threatInfo"] |= data
        return len(found)


def _data(data: Any) -> web.StreamResponse:
    return web.json_response({"data": data, "pagination": {"totalItems": 1, "nextCursor": None}})


def report(threat: dict[str, Any], action: str, status: str, at: str) -> None:
    threat["mitigationStatus"] = [one for one in threat["mitigationStatus"] if one["action"] != action]
    threat["mitigationStatus"].append({"action": action, "status": status, "lastUpdate": at})


def agent(id: str, name: str) -> dict[str, Any]:
    return {
        "id": id,
        "uuid": "0123456789abcdef0123456789abcdef",
        "computerName": name,
        "networkStatus": "connected",
        "scanStatus": "finished",
        "scanFinishedAt": "2026-01-01T00:00:00Z",
    }


def threat(number: int, updated: str, **more: Any) -> dict[str, Any]:
    id = f"12000000000000{number:05}"
    return {
        "id": id,
        "threatInfo": {
            "threatId": id,
            "threatName": "locker.exe",
            "classification": "Ransomware",
            "confidenceLevel": "malicious",
            "incidentStatus": "unresolved",
            "analystVerdict": "undefined",
            "mitigationStatus": "not_mitigated",
            "sha1": SHA1,
            "sha256": SHA256,
            "filePath": "C:\\Users\\eve\\locker.exe",
            "identifiedAt": "2026-03-01T09:59:00.000000Z",
            "createdAt": "2026-03-01T10:00:00.000000Z",
            "updatedAt": updated,
            "detectionEngines": [{"key": "pre_execution", "title": "On-Write Static AI"}],
            **more,
        },
        "agentDetectionInfo": {"agentIpV4": "10.0.0.7", "agentLastLoggedInUserName": "eve", "agentUuid": "u1"},
        "agentRealtimeInfo": {"agentComputerName": "LAPTOP-7", "agentOsType": "windows", "agentId": AGENT},
        "indicators": [],
        "mitigationStatus": [],
    }


@asynccontextmanager
async def connected(console: Console, **given: Any) -> AsyncIterator[SentinelOne]:
    async with serving(console.answer) as url:
        settings = msgspec.convert({"url": url, "token": "t0ken", "since_days": 3_650, **given}, SentinelOneSettings)
        outside = Http()
        try:
            yield SentinelOne(settings, outside)
        finally:
            await outside.close()


def filled(*updated: str, **more: Any) -> Console:
    console = Console()
    for number, at in enumerate(updated):
        made = threat(number, at, **more)
        console.threats[made["id"]] = made
    return console


def push(console: Console, words: dict[str, Any], **more: Any) -> Push:
    (id,) = console.threats
    given = {"now": {}, "by": "ada@corp.example", "at": "2026-03-02T00:00:00.0000000Z", "key": "k1", **more}
    return Push(subject="alert", id=id, words=words, **given)


def order(name: str, target: str) -> Order:
    return Order(name=name, target=target, parameters={}, by="ada@corp.example", reason="INC 7", key="o1")


@pytest.mark.asyncio
async def test_pull() -> None:
    """Every threat comes once, over pages; then what has changed, and what shows late."""
    console = filled(*(f"2026-03-01T10:0{n}:00.000000Z" for n in range(7)))
    async with connected(console, page_rows=3) as connector:
        first = await pulled(connector, "threats")
        assert [one["id"] for one in raws(first)] == list(console.threats)
        assert raws(await pulled(connector, "threats", first[-1].cursor)) == []
        changed = next(iter(console.threats.values()))
        changed["threatInfo"]["updatedAt"] = "2026-03-01T11:00:00.000000Z"
        late = threat(9, "2026-03-01T10:04:30.000000Z")
        console.threats[late["id"]] = late
        assert raws(await pulled(connector, "threats", first[-1].cursor)) == [late, changed]
        assert "threats" in await connector.check()
    assert secret_fields(SentinelOneSettings) == {"token"}


@pytest.mark.asyncio
async def test_changes_while_it_is_read() -> None:
    """What changes between two pages comes with its change, and takes nothing with it."""
    console = filled(*(f"2026-03-01T10:0{n}:00.000000Z" for n in range(6)))
    by_number = list(console.threats.values())

    def between() -> None:
        by_number[0]["threatInfo"]["updatedAt"] = "2026-03-01T12:00:00.000000Z"

    console.between = between
    async with connected(console, page_rows=2) as connector:
        batches = await pulled(connector, "threats")
        assert {one["id"] for one in raws(batches)} == set(console.threats)
        assert raws(batches)[-1] == by_number[0]
        for number, batch in enumerate(batches):
            rest = raws(await pulled(connector, "threats", batch.cursor))
            assert {one["id"] for one in [*raws(batches[: number + 1]), *rest]} == set(console.threats)


@pytest.mark.asyncio
async def test_alert_is_complete() -> None:
    """What is pulled becomes an alert whose id is the one that a push needs."""
    console = filled("2026-03-01T10:00:00Z", incidentStatus="resolved", analystVerdict="true_positive")
    async with connected(console) as connector:
        (made,) = alerts(await pulled(connector, "threats"))
    assert [made.provider_alert_id] == list(console.threats)
    assert (made.title, made.severity, made.status) == ("locker.exe", "high", "resolved")
    assert (made.classification, made.source_updated) == ("truePositive", "2026-03-01T10:00:00.0000000Z")
    assert made.evidence


@pytest.mark.asyncio
async def test_faults() -> None:
    """A token that is refused, a console that is throttled or broken."""
    console = filled("2026-03-01T10:00:00Z")
    async with connected(console, token="wr0ng") as connector:
        with pytest.raises(Denied, match="Authentication Failed") as refused:
            await connector.check()
        assert "wr0ng" not in refused.value.message
    async with connected(console) as connector:
        console.faults = [web.Response(status=429, headers={"Retry-After": "17"})]
        with pytest.raises(Away) as throttled:
            await pulled(connector, "threats")
        assert throttled.value.retry_after_s == 17.0
        console.faults = [web.Response(text="<html>", content_type="text/html")]
        with pytest.raises(Away, match="no page"):
            await pulled(connector, "threats")
        detail = [{"code": 4000010, "title": "Validation Error", "detail": "ids: Invalid value"}]
        console.faults = [web.json_response({"errors": detail}, status=400)]
        with pytest.raises(Rejected, match="ids: Invalid value"):
            await pulled(connector, "threats")


@pytest.mark.asyncio
async def test_push() -> None:
    """Words arrive in SentinelOne's own, once; what has no place is told."""
    console = filled("2026-03-01T10:00:00Z")
    (there,) = console.threats.values()
    words = {
        "status": "resolved",
        "classification": "falsePositive",
        "assignedTo": "ada@corp.example",
        "comments": [{"comment": "a tool of ours", "createdByDisplayName": "Ada"}],
    }
    async with connected(console) as connector:
        for _ in range(2):
            done = await connector.push(push(console, words))
            assert (done.overwrote, done.left_out) == (None, ("assignedTo",))
        assert there["threatInfo"]["incidentStatus"] == "resolved"
        assert there["threatInfo"]["analystVerdict"] == "false_positive"
        assert console.notes == [{"threatId": there["id"], "text": "Ada: a tool of ours"}]
        assert len([each for each in console.asked if each[0] == "POST"]) == 3
        done = await connector.push(push(console, {"classification": "informationalExpectedActivity"}))
        assert done.left_out == ("classification",)
        await connector.push(push(console, {"status": "inProgress", "classification": None}))
        assert there["threatInfo"]["incidentStatus"] == "in_progress"
        assert there["threatInfo"]["analystVerdict"] == "undefined"


@pytest.mark.asyncio
async def test_push_meets_another() -> None:
    """What somebody had changed there since is told, with who it was."""
    console = filled("2026-03-01T10:00:00Z", analystVerdict="suspicious")
    console.timeline = [
        {"activityType": 19, "data": {"username": None}},
        {"activityType": 2030, "data": {"username": "eve@corp.example"}},
    ]
    async with connected(console) as connector:
        words = {"classification": "truePositive"}
        done = await connector.push(push(console, words, known="2026-03-01T09:00:00.0000000Z"))
        assert (done.overwrote, done.last_writer) == ({"classification": "suspicious"}, "eve@corp.example")
        with pytest.raises(Rejected, match="no threat"):
            await connector.push(msgspec.structs.replace(push(console, words), id="404"))


@pytest.mark.asyncio
async def test_isolation() -> None:
    """A device is cut off by its name, asked for once, and done when the console says so."""
    console = Console()
    async with connected(console) as connector:
        done = await connector.act(order("isolateDevice", "LAPTOP-7.corp.example"))
        assert done.state == "running"
        again = await connector.act(order("isolateDevice", AGENT))
        assert again == done
        assert console.bodies("POST", f"{API}/agents/actions/disconnect") == [{"filter": {"ids": [AGENT]}, "data": {}}]
        assert (await connector.follow(str(done.handle))).state == "running"
        console.agents[AGENT]["networkStatus"] = "disconnected"
        assert (await connector.follow(str(done.handle))).state == "completed"
        assert (await connector.act(order("isolateDevice", console.agents[AGENT]["uuid"]))).state == "completed"
        assert (await connector.act(order("releaseDevice", AGENT))).state == "running"
        with pytest.raises(Rejected, match="knows no agent"):
            await connector.act(order("isolateDevice", "nobody"))
        console.agents["2"] = agent("2", "LAPTOP-7")
        with pytest.raises(Rejected, match="several agents"):
            await connector.act(order("isolateDevice", "LAPTOP-7"))


@pytest.mark.asyncio
async def test_scan() -> None:
    """A scan is done when one has ended since it was ordered."""
    console = Console()
    async with connected(console) as connector:
        done = await connector.act(order("runAntivirusScan", "LAPTOP-7"))
        console.agents[AGENT]["scanStatus"] = "finished"  # still the one before
        assert (await connector.follow(str(done.handle))).state == "running"
        console.agents[AGENT]["scanFinishedAt"] = "2026-03-02T00:00:00Z"
        assert (await connector.follow(str(done.handle))).state == "completed"
        done = await connector.act(order("runAntivirusScan", "LAPTOP-7"))
        console.agents[AGENT] |= {"scanStatus": "aborted", "scanAbortedAt": "2026-03-03T00:00:00Z"}
        assert (await connector.follow(str(done.handle))).state == "failed"


@pytest.mark.asyncio
async def test_quarantine() -> None:
    """A file is quarantined in every threat that holds it, and fails where one of them says so."""
    console = filled("2026-03-01T10:00:00Z", "2026-03-01T10:00:00Z")
    one, other = console.threats.values()
    report(one, "quarantine", "failed", "2026-03-01T11:00:00Z")
    async with connected(console) as connector:
        done = await connector.act(order("quarantineFile", SHA256))
        assert (await connector.follow(str(done.handle))).state == "running"
        report(one, "quarantine", "success", "2026-03-02T00:01:00Z")
        assert (await connector.follow(str(done.handle))).state == "running"
        report(other, "quarantine", "success", "2026-03-02T00:01:00Z")
        assert (await connector.follow(str(done.handle))).state == "completed"
        assert (await connector.act(order("quarantineFile", SHA1))).state == "completed"
        done = await connector.act(order("restoreFile", SHA1))
        report(other, "unquarantine", "failed", "2026-03-02T00:02:00Z")
        assert (await connector.follow(str(done.handle))).state == "failed"
        with pytest.raises(Rejected, match="no threat holds"):
            await connector.act(order("quarantineFile", "e" * 40))


@pytest.mark.parametrize("hash", [SHA1, SHA256])
@pytest.mark.asyncio
async def test_blocklist(hash: str) -> None:
    """A file is on the blocklist once for each system, within the scope, until it is taken off."""
    console = Console()
    async with connected(console, accounts=["a1"], systems=["windows", "linux"]) as connector:
        for _ in range(2):
            assert (await connector.act(order("blockFile", hash))).state == "completed"
        assert sorted(one["osType"] for one in console.blocked.values()) == ["linux", "windows"]
        assert all(one["scope"] == {"accountIds": ["a1"]} for one in console.blocked.values())
        assert (await connector.act(order("unblockFile", hash))).state == "completed"
        assert not console.blocked
        with pytest.raises(Rejected, match="MD5"):
            await connector.act(order("blockFile", "f" * 32))


@pytest.mark.asyncio
async def test_read() -> None:
    """A live read narrows by id and by time."""
    console = filled("2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z")
    first, second = console.threats.values()
    second["threatInfo"]["createdAt"] = "2026-03-05T00:00:00.000000Z"
    async with connected(console) as connector:
        assert [msgspec.json.decode(one.raw) for one in await connector.read(Read(id=first["id"]))] == [first]
        found = await connector.read(Read(since="2026-03-04T00:00:00.0000000Z"))
        assert [msgspec.json.decode(one.raw) for one in found] == [second]
