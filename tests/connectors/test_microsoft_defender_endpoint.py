"""Microsoft Defender for Endpoint: a double with tokens of Entra, OData filters, machine actions and indicators."""

import base64
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import msgspec
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from tests.connectors.double_server import pulled, serving
from tests.connectors.doubles import Double, alerts, raws

from bartizan.connectors.http import Http
from bartizan.connectors.microsoft_defender_endpoint import DefenderSettings, MicrosoftDefenderEndpoint
from bartizan.extend.connections import checked, secret_fields
from bartizan.extend.connectors import Away, Denied, Order, Push, Read, Rejected
from bartizan.model.security import AlertDetermination

MACHINE = "1e5bc9d7e413ddd7902c2932e418702b84d0cc07"
SHA1 = "c" * 40
DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=3)


class Defender(Double):
    token_path = "/contoso/oauth2/v2.0/token"

    def __init__(self) -> None:
        super().__init__()
        self.alerts: dict[str, dict[str, Any]] = {}
        self.machines = [{"id": MACHINE, "computerDnsName": "laptop-7.corp.example", "healthStatus": "Active"}]
        self.actions: dict[str, dict[str, Any]] = {}
        self.indicators: dict[str, dict[str, Any]] = {}
        self.pages: list[int] = []  # how many alerts each answer had

    def token(self, form: dict[str, str]) -> web.StreamResponse:
        proven = form.get("client_secret") == "s3cret" or "client_assertion" in form
        if form.get("scope") != "https://api.securitycenter.microsoft.com/.default" or not proven:
            return web.json_response(
                {"error": "invalid_client", "error_description": "AADSTS7000215: Invalid client secret.\r\nTrace"},
                status=401,
            )
        return super().token(form)

    def refused(self) -> web.StreamResponse:
        return _error(401, "Unauthorized", "token")

    def served(self, request: web.Request, body: Any) -> web.StreamResponse:
        path, query = request.path, request.query
        first, _, rest = path.removeprefix("/api/").partition("/")
        match (request.method, first):
            case ("GET", "alerts") if not rest:
                found = [one for one in self.alerts.values() if _within(one, query.get("$filter", ""))]
                skip, top = int(query.get("$skip", 0)), int(query.get("$top", 10_000))
                page = found[skip : skip + top]
                self.pages.append(len(page))
                return web.json_response({"@odata.context": "x", "value": page})
            case ("GET" | "PATCH", "alerts"):
                return self._alert(request.method, rest, body)
            case ("GET", "machines"):
                return web.json_response({"value": [one for one in self.machines if _within(one, query["$filter"])]})
            case ("POST", "machines"):
                return self._act(rest, body)
            case (_, "machineactions"):
                return self._action(request, rest)
            case (_, "indicators"):
                return self._indicator(request, rest, body)
        return _error(404, "NotFound", path)

    def _alert(self, method: str, id: str, body: Any) -> web.StreamResponse:
        found = self.alerts.get(id)
        if found is None:
            return _error(404, "ResourceNotFound", "no alert")
        if method == "PATCH":
            if (comment := body.pop("comment", None)) is not None:
                found["comments"].append(
                    {"comment": comment, "createdBy": "app", "createdTime": "2026-03-02T00:00:00Z"}
                )
            assert body.keys() <= {"status", "assignedTo", "classification", "determination"}
            found |= body
        return web.json_response(found)

    def _act(self, path: str, body: Any) -> web.StreamResponse:
        machine, _, verb = path.partition("/")
        types = {"isolate": "Isolate", "unisolate": "Unisolate", "runAntiVirusScan": "RunAntiVirusScan"}
        made = {
            "id": f"action-{len(self.actions) + 1}",
            "type": types.get(verb, verb),
            "machineId": machine,
            "status": "Pending",
            "requestorComment": body["Comment"],
            "asked": body,
        }
        self.actions[str(made["id"])] = made
        return web.json_response(made, status=201)

    def _action(self, request: web.Request, path: str) -> web.StreamResponse:
        if not path:
            found = [one for one in self.actions.values() if _within(one, request.query["$filter"])]
            return web.json_response({"value": found})
        action = self.actions[path.partition("/")[0]]
        if path.endswith("/cancel"):
            action["status"] = "Cancelled"
        return web.json_response(action)

    def _indicator(self, request: web.Request, id: str, body: Any) -> web.StreamResponse:
        if request.method == "DELETE":
            del self.indicators[id]
            return web.Response(status=204)
        if request.method == "GET":
            found = [one for one in self.indicators.values() if _within(one, request.query["$filter"])]
            return web.json_response({"value": found})
        assert {"indicatorValue", "indicatorType", "action", "title", "description"} <= body.keys()
        id = str(len(self.indicators) + 1)
        self.indicators[id] = {"id": id, **body}
        return web.json_response(self.indicators[id])


def _error(status: int, code: str, message: str) -> web.StreamResponse:
    return web.json_response({"error": {"code": code, "message": message, "target": "t"}}, status=status)


def _within(one: dict[str, Any], wanted: str) -> bool:
    for part in filter(None, wanted.split(" and ")):
        if match := re.fullmatch(r"startswith\((\w+),'(.*)'\)", part):
            if not str(one[match[1]]).startswith(match[2]):
                return False
            continue
        name, sign, value = part.split(" ", 2)
        value = value.strip("'").replace("''", "'")
        has = str(one[name])
        if not {"eq": has == value, "ge": has >= value, "lt": has < value, "le": has <= value}[sign]:
            return False
    return True


def at(minutes: float) -> str:
    return (DAY + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.%f") + "0Z"


def alert(number: int, updated: str, **more: Any) -> dict[str, Any]:
    return {
        "id": f"da63{number:04}_-200",
        "incidentId": 7,
        "investigationId": None,
        "assignedTo": None,
        "severity": "Medium",
        "status": "New",
        "classification": None,
        "determination": None,
        "investigationState": "Queued",
        "detectionSource": "WindowsDefenderAtp",
        "detectorId": "17e10bbc",
        "category": "Execution",
        "threatFamilyName": None,
        "title": "Suspicious script",
        "description": "A script ran.",
        "alertCreationTime": at(0),
        "firstEventTime": at(0),
        "lastEventTime": at(1),
        "lastUpdateTime": updated,
        "resolvedTime": None,
        "machineId": MACHINE,
        "computerDnsName": "laptop-7.corp.example",
        "rbacGroupName": "A",
        "aadTenantId": "11111111-1253-6432-9bf6-94542403f21c",
        "mitreTechniques": ["T1059"],
        "relatedUser": {"userName": "eve", "domainName": "CORP"},
        "comments": [],
        "evidence": [
            {"entityType": "Process", "fileName": "wscript.exe", "processId": 7, "processCommandLine": "wscript a.js"}
        ],
        **more,
    }


@asynccontextmanager
async def connected(defender: Defender, **given: Any) -> AsyncIterator[MicrosoftDefenderEndpoint]:
    async with serving(defender.answer) as url:
        proof = {} if "client_key" in given else {"client_secret": "s3cret"}
        settings = msgspec.convert(
            {"tenant": "contoso", "client_id": "c1", "address": url, "authority": url, **proof, **given},
            DefenderSettings,
        )
        outside = Http()
        try:
            yield MicrosoftDefenderEndpoint(settings, outside)
        finally:
            await outside.close()


def filled(*updated: str, **more: Any) -> Defender:
    defender = Defender()
    for number, when in enumerate(updated):
        made = alert(number, when, **more)
        defender.alerts[made["id"]] = made
    return defender


def push(defender: Defender, words: dict[str, Any], **more: Any) -> Push:
    (id,) = defender.alerts
    given = {"now": {}, "by": "ada@corp.example", "at": "2026-03-02T00:00:00.0000000Z", "key": "k1", **more}
    return Push(subject="alert", id=id, words=words, **given)


def order(name: str, target: str, **parameters: Any) -> Order:
    return Order(name=name, target=target, parameters=parameters, by="ada@corp.example", reason="INC 7", key="o1")


@pytest.mark.asyncio
async def test_pull() -> None:
    """Every alert comes once, whatever order the API has; then what has changed, and what shows late."""
    defender = filled(*(at(n * 37 % 11) for n in range(11)))
    async with connected(defender, page_rows=3) as connector:
        first = await pulled(connector, "alerts")
        assert len(raws(first)) == 11
        assert {one["id"] for one in raws(first)} == set(defender.alerts)
        assert raws(await pulled(connector, "alerts", first[-1].cursor)) == []
        changed = defender.alerts["da630003_-200"]
        changed["lastUpdateTime"] = at(60)
        late = alert(99, at(5.5))
        defender.alerts[late["id"]] = late
        again = raws(await pulled(connector, "alerts", first[-1].cursor))
        assert sorted(one["id"] for one in again) == [changed["id"], late["id"]]
        for number, batch in enumerate(first):
            rest = raws(await pulled(connector, "alerts", batch.cursor))
            seen = {one["id"] for one in raws(first[: number + 1])}
            assert seen | {one["id"] for one in rest} == set(defender.alerts)
    assert secret_fields(DefenderSettings) == {"client_secret", "client_key"}


@pytest.mark.asyncio
async def test_one_second() -> None:
    """More alerts of one second than a page holds come all."""
    defender = filled(*[at(1)] * 7)
    async with connected(defender, page_rows=2) as connector:
        assert {one["id"] for one in raws(await pulled(connector, "alerts"))} == set(defender.alerts)


@pytest.mark.parametrize("machine", [MACHINE, None])
@pytest.mark.asyncio
async def test_alert_is_complete(machine: str | None) -> None:
    """What is pulled becomes an alert whose id is the one that a push needs, with a machine and without."""
    more = {"status": "Resolved", "classification": "FalsePositive", "determination": "InsufficientData"}
    defender = filled(at(1), machineId=machine, computerDnsName=machine and "laptop-7.corp.example", **more)
    async with connected(defender) as connector:
        (made,) = alerts(await pulled(connector, "alerts"))
    assert [made.provider_alert_id] == list(defender.alerts)
    assert (made.title, made.severity, made.status) == ("Suspicious script", "medium", "resolved")
    assert (made.classification, made.determination) == ("falsePositive", "notEnoughDataToValidate")
    assert made.product == ("Microsoft Defender for Endpoint" if machine else "Microsoft Defender XDR")
    assert made.source_updated == defender.alerts["da630000_-200"]["lastUpdateTime"]
    assert made.evidence


@pytest.mark.asyncio
async def test_certificate() -> None:
    """The application proves itself by a key: a signed assertion that names the certificate, and no secret."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "bartizan")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + timedelta(days=1))
    ).sign(key, hashes.SHA256())  # fmt: skip
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ) + certificate.public_bytes(serialization.Encoding.PEM)
    defender = filled(at(1))
    async with connected(defender, client_key=pem.decode()) as connector:
        assert len(raws(await pulled(connector, "alerts"))) == 1
    head, claims, _ = defender.tokens[0]["client_assertion"].split(".")
    decoded = [json.loads(base64.urlsafe_b64decode(part + "==")) for part in (head, claims)]
    assert decoded[0]["alg"] == "PS256"
    digest = base64.urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())).decode().rstrip("=")
    assert decoded[0]["x5t#S256"] == digest
    assert (decoded[1]["iss"], decoded[1]["sub"]) == ("c1", "c1")
    assert "client_secret" not in defender.tokens[0]
    async with connected(defender, client_key="no key") as connector:
        with pytest.raises(Denied, match="cannot be read"):
            await connector.check()


@pytest.mark.asyncio
async def test_faults() -> None:
    """A wrong secret, a permission that is missing, throttling, an end of the token."""
    defender = filled(at(1))
    async with connected(defender, client_secret="wr0ng") as connector:
        with pytest.raises(Denied, match="AADSTS7000215") as refused:
            await connector.check()
        assert "wr0ng" not in refused.value.message
    async with connected(defender) as connector:
        await connector.check()
        defender.valid.clear()
        assert "shows an alert" in await connector.check()
        assert len(defender.tokens) == 2
        defender.faults = [_error(429, "TooManyRequests", "slow down")]
        defender.faults[0].headers["Retry-After"] = "23"
        with pytest.raises(Away) as throttled:
            await pulled(connector, "alerts")
        assert throttled.value.retry_after_s == 23.0
        defender.faults = [_error(403, "MissingRoles", "API required roles: Alert.Read.All")]
        with pytest.raises(Denied, match=r"Alert\.Read\.All"):
            await pulled(connector, "alerts")


@pytest.mark.asyncio
async def test_push() -> None:
    """Words arrive in Defender's own, once."""
    defender = filled(at(1))
    (there,) = defender.alerts.values()
    words = {
        "status": "resolved",
        "classification": "informationalExpectedActivity",
        "determination": "confirmedActivity",
        "assignedTo": "ada@corp.example",
        "comments": [{"comment": "asked her", "createdByDisplayName": "Ada"}, {"comment": "closing"}],
        "tags": ["x"],
    }
    async with connected(defender) as connector:
        for _ in range(2):
            done = await connector.push(push(defender, words))
            assert (done.overwrote, done.left_out) == (None, ("tags",))
        assert (there["status"], there["assignedTo"]) == ("Resolved", "ada@corp.example")
        assert (there["classification"], there["determination"]) == (
            "InformationalExpectedActivity",
            "ConfirmedActivity",
        )
        assert [one["comment"] for one in there["comments"]] == ["Ada: asked her", "closing"]
        assert len([each for each in defender.asked if each[0] == "PATCH"]) == 2
        (made,) = alerts(await pulled(connector, "alerts"))
        assert (made.status, made.classification) == ("resolved", "informationalExpectedActivity")
        await connector.push(push(defender, {"status": "new", "assignedTo": None}))
        assert (there["status"], there["assignedTo"]) == ("New", "")


@pytest.mark.parametrize("determination", get_args(AlertDetermination))
@pytest.mark.asyncio
async def test_determinations(determination: str) -> None:
    """What is said here is read back as the same, or was told to have no place."""
    defender = filled(at(1), determination="Malware")
    async with connected(defender) as connector:
        done = await connector.push(push(defender, {"determination": determination}))
        (made,) = alerts(await pulled(connector, "alerts"))
    if done.left_out:
        assert (done.left_out, made.determination) == (("determination",), "malware")
    else:
        assert made.determination == (None if determination == "unknown" else determination)


@pytest.mark.asyncio
async def test_push_meets_another() -> None:
    """What somebody had changed there since is told, with the last one who is named."""
    comments = [
        {"comment": "mine", "createdBy": "eve@corp.example", "createdTime": "2026-03-01T00:00:00Z"},
        {"comment": "old", "createdBy": "bob@corp.example", "createdTime": "2026-02-01T00:00:00Z"},
    ]
    defender = filled(at(5), status="InProgress", comments=comments)
    async with connected(defender) as connector:
        done = await connector.push(push(defender, {"status": "resolved"}, known=at(1)))
        assert (done.overwrote, done.last_writer) == ({"status": "inProgress"}, "eve@corp.example")
        with pytest.raises(Rejected, match="no alert"):
            await connector.push(msgspec.structs.replace(push(defender, {"status": "new"}), id="none"))


@pytest.mark.asyncio
async def test_machine_actions() -> None:
    """A machine is found by its name, an order makes one action however often it is tried, and is followed."""
    defender = Defender()
    async with connected(defender) as connector:
        done = await connector.act(order("isolateDevice", "LAPTOP-7", isolationType="selective"))
        again = await connector.act(order("isolateDevice", "laptop-7.corp.example"))
        assert (done.state, again.handle) == ("running", done.handle)
        (action,) = defender.actions.values()
        assert (action["machineId"], action["asked"]["IsolationType"]) == (MACHINE, "Selective")
        action["status"] = "Succeeded"
        assert (await connector.follow(str(done.handle))).state == "completed"
        released = await connector.act(order("releaseDevice", MACHINE))
        assert (await connector.cancel(str(released.handle))).state == "failed"
        scan = await connector.act(order("runAntivirusScan", MACHINE, scanType="Full"))
        assert defender.actions[str(scan.handle)]["asked"]["ScanType"] == "Full"
        defender.actions[str(scan.handle)]["status"] = "TimeOut"
        assert (await connector.follow(str(scan.handle))).state == "failed"
        stopped = await connector.act(order("quarantineFile", SHA1, deviceId="laptop-7"))
        assert defender.actions[str(stopped.handle)]["asked"]["Sha1"] == SHA1
        with pytest.raises(Rejected, match="isolationType is one of"):
            await connector.act(msgspec.structs.replace(order("isolateDevice", MACHINE, isolationType="x"), key="o2"))
        with pytest.raises(Rejected, match="knows no machine"):
            await connector.act(order("isolateDevice", "nobody"))
        with pytest.raises(Rejected, match="no name of a machine"):
            await connector.act(order("isolateDevice", "x' or 1 eq 1"))
        defender.machines.append({**defender.machines[0], "id": "f" * 40})
        with pytest.raises(Rejected, match="several machines"):
            await connector.act(order("isolateDevice", "laptop-7"))
        defender.machines[0]["healthStatus"] = "Inactive"
        last = await connector.act(order("releaseDevice", "laptop-7"))
        assert defender.actions[str(last.handle)]["machineId"] == "f" * 40


@pytest.mark.parametrize(
    ("name", "target", "kind", "action"),
    [
        ("blockFile", "d" * 64, "FileSha256", "BlockAndRemediate"),
        ("blockFile", "d" * 32, "FileMd5", "BlockAndRemediate"),
        ("blockAddress", "203.0.113.7", "IpAddress", "Block"),
        ("blockDomain", "bad.example", "DomainName", "Block"),
        ("blockUrl", "https://bad.example/it's", "Url", "Block"),
    ],
)
@pytest.mark.asyncio
async def test_indicators(name: str, target: str, kind: str, action: str) -> None:
    """An indicator is made once, deleted by its undo, and never replaces what allows."""
    defender = Defender()
    async with connected(defender) as connector:
        for _ in range(2):
            assert (await connector.act(order(name, target))).state == "completed"
        (made,) = defender.indicators.values()
        assert (made["indicatorType"], made["indicatorValue"], made["action"]) == (kind, target, action)
        undo = connector.offers[name].undo
        assert undo == f"unb{name[1:]}"
        for _ in range(2):
            assert (await connector.act(order(undo, target))).state == "completed"
        assert not defender.indicators
        defender.indicators["9"] = {"id": "9", "indicatorValue": target, "indicatorType": kind, "action": "Allowed"}
        with pytest.raises(Rejected, match="says Allowed"):
            await connector.act(order(name, target))
        await connector.act(order(undo, target))
        assert "9" in defender.indicators


@pytest.mark.asyncio
async def test_read() -> None:
    """A live read narrows by id and by time, and gives the newest where there are more."""
    defender = filled(at(1), at(2))
    first, second = defender.alerts.values()
    second["alertCreationTime"] = at(600)
    async with connected(defender) as connector:
        assert [msgspec.json.decode(one.raw) for one in await connector.read(Read(id=first["id"]))] == [first]
        assert await connector.read(Read(id="none")) == []
        found = await connector.read(Read(since=at(300), until=at(700)))
        assert [msgspec.json.decode(one.raw) for one in found] == [second]
    defender = filled(*[at(9_000)] * 9)
    for number, one in enumerate(defender.alerts.values()):
        one["alertCreationTime"] = at(number * 5 % 9 * -800)
    async with connected(defender, page_rows=3) as connector:
        for top, until in ((9, None), (4, None), (3, at(-1_600))):
            found = await connector.read(Read(top=top, until=until))
            made = sorted((one["alertCreationTime"] for one in defender.alerts.values()), reverse=True)
            made = [one for one in made if until is None or one <= until][:top]
            assert [msgspec.json.decode(one.raw)["alertCreationTime"] for one in found] == made


def test_settings() -> None:
    """One proof, not none and not two."""
    for given in ({}, {"client_secret": "a", "client_key": "b"}):
        with pytest.raises(Exception, match="either client_secret or client_key"):
            checked(MicrosoftDefenderEndpoint, {"tenant": "t", "client_id": "c", **given})
