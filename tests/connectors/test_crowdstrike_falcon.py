"""CrowdStrike Falcon: a double with its tokens, FQL, pages, throttling and state."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web
from tests.connectors.double_server import pulled, serving
from tests.connectors.doubles import Double, alerts, raws

from bartizan.connectors.crowdstrike_falcon import CrowdStrikeFalcon, FalconSettings
from bartizan.connectors.http import Http
from bartizan.extend.connections import secret_fields
from bartizan.extend.connectors import Away, Denied, Order, Push, Read, Rejected

AID = "1234567890abcdef1234567890abcdef"
SHA256 = "a" * 64


class Falcon(Double):
    token_path = "/oauth2/token"

    def __init__(self) -> None:
        super().__init__()
        self.alerts: dict[str, dict[str, Any]] = {}
        self.devices: dict[str, dict[str, Any]] = {AID: {"device_id": AID, "hostname": "LAPTOP-7", "status": "normal"}}
        self.indicators: dict[str, dict[str, Any]] = {}
        self.between: Any = None  # called between ids and details

    def token(self, form: dict[str, str]) -> web.StreamResponse:
        if form.get("client_secret") != "s3cret":
            self.tokens.append(form)
            errors = [{"code": 403, "message": "access denied, invalid client"}]
            return web.json_response({"errors": errors}, status=403)
        return super().token(form)

    def served(self, request: web.Request, body: Any) -> web.StreamResponse:
        match (request.method, request.path):
            case ("GET", "/alerts/queries/alerts/v2"):
                return self._ids(request)
            case ("POST", "/alerts/entities/alerts/v2"):
                if self.between is not None:
                    self.between()
                return _found([self.alerts[id] for id in body["composite_ids"] if id in self.alerts])
            case ("PATCH", "/alerts/entities/alerts/v3"):
                for id in body["composite_ids"]:
                    for step in body["action_parameters"]:
                        self._changed(self.alerts[id], step["name"], step["value"])
                return _found([])
            case ("GET", "/devices/queries/devices/v1"):
                name = _quoted(request.query["filter"])["hostname"]
                return _found([id for id, each in self.devices.items() if each["hostname"] == name])
            case ("POST", "/devices/entities/devices/v2"):
                return _found([self.devices[id] for id in body["ids"] if id in self.devices])
            case ("POST", "/devices/entities/devices-actions/v2"):
                pending = {"contain": "containment_pending", "lift_containment": "lift_containment_pending"}
                for id in body["ids"]:
                    self.devices[id]["status"] = pending[request.query["action_name"]]
                return web.json_response({"resources": [{"id": id} for id in body["ids"]], "errors": []}, status=202)
            case (_, "/iocs/combined/indicator/v1" | "/iocs/entities/indicators/v1"):
                return self._iocs(request, body)
        return web.json_response({"errors": [{"code": 404, "message": "no such path"}]}, status=404)

    def _ids(self, request: web.Request) -> web.StreamResponse:
        field, direction = request.query["sort"].split("|") if "sort" in request.query else ("composite_id", "asc")
        found = list(self.alerts.values())
        for name, sign, at in re.findall(r"(\w+):(>=|<=)'([^']+)'", request.query.get("filter", "")):
            found = [each for each in found if (each[name] >= at if sign == ">=" else each[name] <= at)]
        found.sort(key=lambda each: (each[field], each["composite_id"]), reverse=direction == "desc")
        offset, limit = int(request.query.get("offset", 0)), int(request.query["limit"])
        ids = [each["composite_id"] for each in found[offset : offset + limit]]
        return web.json_response(
            {"resources": ids, "errors": [], "meta": {"pagination": {"total": len(found), "offset": offset}}}
        )

    def _changed(self, alert: dict[str, Any], name: str, value: str) -> None:
        match name:
            case "update_status":
                assert value in ("new", "in_progress", "closed", "reopened")
                alert["status"] = value
            case "add_tag":
                alert["tags"].append(value)
            case "remove_tag":
                alert["tags"].remove(value)
            case "append_comment":
                alert.setdefault("comments", []).append({"value": value})
            case "assign_to_user_id":
                alert["assigned_to_uid"] = value
            case "assign_to_name":
                alert["assigned_to_name"] = value
            case "unassign":
                alert.pop("assigned_to_uid", None)
            case _:
                raise AssertionError(name)

    def _iocs(self, request: web.Request, body: Any) -> web.StreamResponse:
        if request.method == "GET":
            wanted = _quoted(request.query["filter"])
            return _found([each for each in self.indicators.values() if wanted.items() <= each.items()])
        if request.method == "DELETE":
            for id in request.query.getall("ids"):
                del self.indicators[id]
            return _found([])
        for each in body["indicators"]:
            if each["type"] in ("domain", "ipv4", "ipv6") and each["action"] not in ("detect", "no_action"):
                return web.json_response({"errors": [{"code": 400, "message": "Invalid action"}]}, status=400)
            id = f"ioc-{len(self.indicators) + 1}"
            self.indicators[id] = {"id": id, **each}
        return web.json_response({"resources": list(self.indicators.values()), "errors": []}, status=201)


def _quoted(text: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+):'([^']*)'", text))


def _found(resources: list[Any]) -> web.StreamResponse:
    return web.json_response({"resources": resources, "errors": [], "meta": {}})


def alert(number: int, updated: str, **more: Any) -> dict[str, Any]:
    """As the API gives an endpoint alert."""
    return {
        "composite_id": f"cid1:ind:{AID}:{number:04}-100-200",
        "id": f"ind:{AID}:{number:04}-100-200",
        "cid": "cid1",
        "aggregate_id": f"aggind:{AID}:{number}",
        "agent_id": AID,
        "created_timestamp": "2026-03-01T10:00:00.123456789Z",
        "updated_timestamp": updated,
        "timestamp": "2026-03-01T09:59:59.000Z",
        "type": "ldt",
        "product": "epp",
        "name": "Ransomware",
        "display_name": "File encryption",
        "description": "A process encrypted files.",
        "severity": 70,
        "severity_name": "High",
        "status": "new",
        "tags": [],
        "tactic": "Impact",
        "tactic_id": "TA0040",
        "technique": "Data Encrypted for Impact",
        "technique_id": "T1486",
        "pattern_id": 10197,
        "filename": "locker.exe",
        "filepath": "\\Device\\HarddiskVolume2\\locker.exe",
        "cmdline": "locker.exe --all",
        "sha256": SHA256,
        "user_name": "eve",
        "falcon_host_link": "https://falcon.crowdstrike.com/activity-v2/detections/1",
        "device": {"device_id": AID, "hostname": "LAPTOP-7", "platform_name": "Windows", "local_ip": "10.0.0.7"},
        **more,
    }


@asynccontextmanager
async def connected(falcon: Falcon, **given: Any) -> AsyncIterator[CrowdStrikeFalcon]:
    async with serving(falcon.answer) as url:
        settings = msgspec.convert(
            {"client_id": "c1", "client_secret": "s3cret", "address": url, "since_days": 3_650, **given}, FalconSettings
        )
        outside = Http()
        try:
            yield CrowdStrikeFalcon(settings, outside)
        finally:
            await outside.close()


def push(falcon: Falcon, words: dict[str, Any], **more: Any) -> Push:
    (id,) = falcon.alerts
    given = {"now": {}, "by": "ada@corp.example", "at": "2026-03-02T00:00:00.0000000Z", "key": "k1", **more}
    return Push(subject="alert", id=id, words=words, **given)


def order(name: str, target: str) -> Order:
    return Order(name=name, target=target, parameters={}, by="ada@corp.example", reason="INC 7", key="o1")


def filled(*updated: str, **more: Any) -> Falcon:
    falcon = Falcon()
    for number, at in enumerate(updated):
        made = alert(number, at, **more)
        falcon.alerts[made["composite_id"]] = made
    return falcon


@pytest.mark.asyncio
async def test_pull() -> None:
    """Every alert comes once, oldest change first, page by page; a change comes again, and nothing else does."""
    falcon = filled(*(f"2026-03-01T10:{n:02}:00.000000001Z" for n in range(7)))
    async with connected(falcon, page_rows=3) as connector:
        first = await pulled(connector, "alerts")
        assert [one["updated_timestamp"] for one in raws(first)] == sorted(
            each["updated_timestamp"] for each in falcon.alerts.values()
        )
        (nothing,) = await pulled(connector, "alerts", first[-1].cursor)
        assert (nothing.cursor, nothing.records) == (first[-1].cursor, [])
        changed = list(falcon.alerts.values())[2]
        changed["updated_timestamp"] = "2026-03-01T11:00:00Z"
        assert raws(await pulled(connector, "alerts", first[-1].cursor)) == [changed]
        assert (await connector.check()).endswith(" has 7 alerts")
    assert len(falcon.tokens) == 1
    assert falcon.tokens[0] == {"client_id": "c1", "client_secret": "s3cret"}


@pytest.mark.asyncio
async def test_alert_is_complete() -> None:
    """What is pulled becomes an alert whose id is the one that a push needs."""
    falcon = filled(
        "2026-03-01T10:00:00Z", status="closed", tags=["false_positive", "vip"], assigned_to_uid="a@b.example"
    )
    async with connected(falcon) as connector:
        (made,) = alerts(await pulled(connector, "alerts"))
    assert [made.provider_alert_id] == list(falcon.alerts)
    assert (made.title, made.severity, made.status) == ("File encryption", "high", "resolved")
    assert (made.classification, made.assigned_to) == ("falsePositive", "a@b.example")
    assert made.source_updated == "2026-03-01T10:00:00.0000000Z"
    assert made.evidence


@pytest.mark.asyncio
async def test_late_and_crossing() -> None:
    """An alert that shows late is found; one that changes between ids and details takes the look over no other."""
    falcon = filled(*(f"2026-03-01T10:0{n}:00Z" for n in range(6)))
    by_number = list(falcon.alerts.values())

    def cross() -> None:
        by_number[1]["updated_timestamp"] = "2999-01-01T00:00:00Z"

    falcon.between = cross
    async with connected(falcon, page_rows=2) as connector:
        first = await pulled(connector, "alerts")
        assert {one["composite_id"] for one in raws(first)} == set(falcon.alerts)
        late = alert(9, "2026-03-01T10:04:30Z")
        falcon.alerts[late["composite_id"]] = late
        assert late in raws(await pulled(connector, "alerts", first[-1].cursor))


@pytest.mark.asyncio
async def test_one_instant() -> None:
    """More alerts of one instant than a page holds come all."""
    falcon = filled(*["2026-03-01T10:00:00Z"] * 7)
    async with connected(falcon, page_rows=2) as connector:
        assert len(raws(await pulled(connector, "alerts"))) == 7


@pytest.mark.asyncio
async def test_cursor_of_each_page() -> None:
    """After a crash behind any page the rest comes."""
    falcon = filled(*(f"2026-03-01T1{n}:00:00Z" for n in range(5)))
    async with connected(falcon, page_rows=2) as connector:
        batches = await pulled(connector, "alerts")
        for number, batch in enumerate(batches):
            rest = raws(await pulled(connector, "alerts", batch.cursor))
            seen = raws(batches[: number + 1])
            assert {one["composite_id"] for one in [*seen, *rest]} == set(falcon.alerts)
            assert not [one for one in rest if one in seen]


@pytest.mark.asyncio
async def test_token_is_renewed() -> None:
    """A token that ends early is renewed once; a secret that is wrong is Denied, and no secret is said."""
    falcon = filled("2026-03-01T10:00:00Z")
    async with connected(falcon) as connector:
        await connector.check()
        falcon.valid.clear()
        await connector.check()
        assert len(falcon.tokens) == 2
    async with connected(falcon, client_secret="wr0ng") as connector:
        with pytest.raises(Denied) as refused:
            await connector.check()
        assert "access denied" in refused.value.message
        assert "wr0ng" not in refused.value.message
    assert secret_fields(FalconSettings) == {"client_secret"}


@pytest.mark.asyncio
async def test_other_cloud() -> None:
    """A client of another cloud is told where it belongs."""
    falcon = Falcon()
    falcon.token = lambda form: web.Response(status=308, headers={"X-Cs-Region": "eu-1"})  # type: ignore[method-assign]
    async with connected(falcon) as connector:
        with pytest.raises(Denied, match="of another cloud: eu-1"):
            await connector.check()


@pytest.mark.asyncio
async def test_faults() -> None:
    """Throttled as Falcon says it, denied, failing: each is the error that its caller acts on."""
    falcon = filled("2026-03-01T10:00:00Z")
    async with connected(falcon) as connector:
        falcon.faults = [
            web.Response(
                status=429,
                headers={"X-RateLimit-RetryAfter": "1772359230", "Date": "Sun, 01 Mar 2026 10:00:00 GMT"},
            )
        ]
        with pytest.raises(Away) as throttled:
            await pulled(connector, "alerts")
        assert (throttled.value.status, throttled.value.retry_after_s) == (429, 30.0)
        falcon.faults = [web.json_response({"errors": [{"code": 403, "message": "access denied, scope"}]}, status=403)]
        with pytest.raises(Denied, match="access denied, scope"):
            await pulled(connector, "alerts")
        falcon.faults = [web.json_response({"resources": [], "errors": [{"code": 500, "message": "later"}]})]
        with pytest.raises(Away, match="later"):
            await pulled(connector, "alerts")
        falcon.faults = [web.Response(status=502)]
        with pytest.raises(Away):
            await connector.push(push(falcon, {"status": "resolved"}))
        assert len(raws(await pulled(connector, "alerts"))) == 1


@pytest.mark.asyncio
async def test_push() -> None:
    """Words arrive in Falcon's own, once; what has no place is told."""
    falcon = filled("2026-03-01T10:00:00Z", tags=["vip", "old"])
    (there,) = falcon.alerts.values()
    words = {
        "status": "resolved",
        "classification": "truePositive",
        "determination": "malware",
        "assignedTo": "ada@corp.example",
        "comments": [{"comment": "contained", "createdByDisplayName": "Ada"}],
        "tags": ["vip", "ransomware"],
    }
    async with connected(falcon) as connector:
        done = await connector.push(push(falcon, words))
        assert (done.overwrote, done.left_out) == (None, ("determination",))
        assert there["status"] == "closed"
        assert sorted(there["tags"]) == ["ransomware", "true_positive", "vip"]
        assert there["assigned_to_uid"] == "ada@corp.example"
        assert there["comments"] == [{"value": "Ada: contained"}]
        (made,) = alerts(await pulled(connector, "alerts"))
        assert (made.status, made.classification) == ("resolved", "truePositive")
        await connector.push(push(falcon, words))
        assert len(falcon.bodies("PATCH", "/alerts/entities/alerts/v3")) == 1
        await connector.push(push(falcon, {"status": "new", "classification": None, "assignedTo": None}))
        assert (there["status"], there["tags"]) == ("reopened", ["vip", "ransomware"])
        assert "assigned_to_uid" not in there


@pytest.mark.asyncio
async def test_push_meets_another() -> None:
    """What somebody had changed there since is told, and tags that they may have added stay."""
    falcon = filled("2026-03-01T10:00:00Z", status="in_progress", tags=["theirs"], assigned_to_uid="eve@corp.example")
    words = {"status": "resolved", "assignedTo": "ada@corp.example", "tags": []}
    async with connected(falcon) as connector:
        done = await connector.push(push(falcon, words, known="2026-03-01T09:00:00.0000000Z"))
        assert done.overwrote == {"status": "inProgress", "assignedTo": "eve@corp.example"}
        assert next(iter(falcon.alerts.values()))["tags"] == ["theirs"]
        with pytest.raises(Rejected, match="no alert"):
            await connector.push(msgspec.structs.replace(push(falcon, words), id="cid1:ind:none"))


@pytest.mark.asyncio
async def test_containment() -> None:
    """A host is contained by its name, runs until it is so, and is asked for once."""
    falcon = Falcon()
    path = "/devices/entities/devices-actions/v2"
    async with connected(falcon) as connector:
        done = await connector.act(order("isolateDevice", "laptop-7.corp.example".upper()))
        assert done.state == "running"
        assert done.handle is not None
        again = await connector.act(order("isolateDevice", AID))
        assert (again.state, again.handle) == ("running", done.handle)
        assert falcon.bodies("POST", path) == [{"ids": [AID]}]
        assert (await connector.follow(done.handle)).state == "running"
        falcon.devices[AID]["status"] = "contained"
        assert (await connector.follow(done.handle)).state == "completed"
        assert (await connector.act(order("isolateDevice", AID))).state == "completed"
        lifted = await connector.act(order("releaseDevice", "LAPTOP-7"))
        falcon.devices[AID]["status"] = "normal"
        assert (await connector.follow(str(lifted.handle))).state == "completed"
        with pytest.raises(Rejected, match="knows no host"):
            await connector.act(order("isolateDevice", "nobody"))
        with pytest.raises(Rejected, match="cannot be asked for"):
            await connector.act(order("isolateDevice", "x'+status:'normal"))
        falcon.devices["f" * 32] = {"device_id": "f" * 32, "hostname": "LAPTOP-7", "status": "normal"}
        with pytest.raises(Rejected, match="several hosts"):
            await connector.act(order("isolateDevice", "LAPTOP-7"))


@pytest.mark.parametrize(
    ("make", "undo", "target", "kind", "action"),
    [
        ("blockFile", "unblockFile", SHA256, "sha256", "prevent"),
        ("watchDomain", "unwatchDomain", "bad.example", "domain", "detect"),
        ("watchAddress", "unwatchAddress", "2001:db8::1", "ipv6", "detect"),
    ],
)
@pytest.mark.asyncio
async def test_indicators(make: str, undo: str, target: str, kind: str, action: str) -> None:
    """An indicator is made once and deleted by its undo."""
    falcon = Falcon()
    async with connected(falcon) as connector:
        assert connector.offers[make].undo == undo
        for _ in range(2):
            assert (await connector.act(order(make, target))).state == "completed"
        (made,) = falcon.indicators.values()
        assert (made["type"], made["value"], made["action"]) == (kind, target, action)
        for _ in range(2):
            assert (await connector.act(order(undo, target))).state == "completed"
        assert not falcon.indicators
        falcon.indicators["x"] = {
            "id": "x", "type": kind, "value": target, "action": "allow", "applied_globally": True
        }  # fmt: skip
        with pytest.raises(Rejected, match="to allow"):
            await connector.act(order(make, target))
        with pytest.raises(Rejected, match="SHA-1"):
            await connector.act(order("blockFile", "b" * 40))


@pytest.mark.asyncio
async def test_read() -> None:
    """A live read narrows by id and by time, newest first."""
    falcon = filled("2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z")
    first, second = falcon.alerts.values()
    second["created_timestamp"] = "2026-03-05T00:00:00Z"
    async with connected(falcon) as connector:
        found = await connector.read(Read(id=first["composite_id"]))
        assert [msgspec.json.decode(one.raw) for one in found] == [first]
        found = await connector.read(Read(since="2026-03-04T00:00:00.0000000Z"))
        assert [msgspec.json.decode(one.raw) for one in found] == [second]
        assert len(await connector.read(Read(top=1))) == 1
