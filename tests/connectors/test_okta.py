"""Okta: a double with its log in the order of keeping, links, rate limits, a directory and the life of accounts."""

import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web
from joserfc import jwt
from joserfc.jwk import RSAKey
from multidict import CIMultiDict
from tests.connectors.double_server import pulled, serving
from tests.connectors.doubles import Double, alerts, raws
from yarl import URL

from bartizan import api
from bartizan.connectors.http import Http
from bartizan.connectors.okta import EDGES, Okta, OktaSettings
from bartizan.extend import RESOURCES, SOURCES, GraphObject, Record
from bartizan.extend.connections import checked, secret_fields
from bartizan.extend.connectors import Away, Batch, ConnectorError, Denied, Edge, Order, Push, Rejected
from bartizan.store.draft import draft

api.load()
COLLECTIONS = {each.collection.name: each.collection for each in RESOURCES if each.collection is not None}


class Org(Double):
    token_path = "/oauth2/v1/token"

    def __init__(self) -> None:
        super().__init__()
        self.log: list[dict[str, Any]] = []  # in the order in which it is kept
        self.lost = False  # whether links of the log hold no longer
        self.users: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, list[str]] = {}  # id -> ids of members
        self.apps: list[dict[str, Any]] = []
        self.factors: dict[str, list[dict[str, str]]] = {}
        self.roles: dict[str, list[dict[str, str]]] = {}
        self.risk: dict[str, str] = {}
        self.done: list[str] = []  # what was done to users
        self.rows = 1_000  # of a page, at most
        self.throttled_after: int | None = None  # questions

    def knows(self, authorization: str) -> bool:
        return authorization == "SSWS t0ken" or super().knows(authorization)

    def refused(self) -> web.StreamResponse:
        return _error(401, "E0000011", "Invalid token provided")

    def served(self, request: web.Request, body: Any) -> web.StreamResponse:
        if self.throttled_after is not None:
            if self.throttled_after == 0:
                return web.json_response(
                    {"errorCode": "E0000047", "errorSummary": "API call exceeded rate limit due to too many requests."},
                    status=429,
                    headers={"X-Rate-Limit-Reset": "1772359245", "Date": "Sun, 01 Mar 2026 10:00:00 GMT"},
                )
            self.throttled_after -= 1
        parts = request.path.removeprefix("/api/v1/").split("/")
        match (request.method, *parts):
            case ("GET", "logs"):
                return self._logs(request)
            case ("GET", "users"):
                gone = request.query.get("filter") == 'status eq "DEPROVISIONED"'
                found = [one for one in self.users.values() if (one["status"] == "DEPROVISIONED") == gone]
                return self._page(request, found)
            case ("GET", "groups"):
                found = [
                    {"id": id, "created": "2026-01-01T00:00:00.000Z", "profile": {"name": id}} for id in self.groups
                ]
                return self._page(request, found)
            case ("GET", "groups", id, "users"):
                return self._page(request, [self.users[one] for one in self.groups[id]])
            case ("GET", "apps"):
                return self._page(request, self.apps)
            case ("GET", "iam", "assignees", "users"):
                return self._page(request, [{"id": id} for id in self.roles], lambda rows: {"value": rows})
            case (_, "users", who, *rest):
                return self._user(request.method, who, rest, body)
        return _error(404, "E0000007", "Not found")

    def _logs(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        assert "until" not in query, "a polling request is open"
        if "after" in query:
            if self.lost:
                return _error(400, "E0000031", "Invalid search criteria")
            begin = int(query["after"])
        else:
            begin = next(
                (n for n, one in enumerate(self.log) if one["published"] >= query.get("since", "")), len(self.log)
            )
        page = self.log[begin : begin + int(query["limit"])]
        link = request.url.update_query({"after": str(begin + len(page))})
        return web.json_response(page, headers=_links(request, link))

    def _page(self, request: web.Request, found: Sequence[Any], shape: Any = list) -> web.StreamResponse:
        """By id, since a link goes on behind the last one."""
        found = sorted(found, key=lambda one: str(one["id"]))
        found = [one for one in found if one["id"] > request.query.get("after", "")]
        rows = min(int(request.query["limit"]), self.rows)
        link = request.url.update_query({"after": found[rows - 1]["id"]}) if len(found) > rows else None
        return web.json_response(shape(found[:rows]), headers=_links(request, link))

    def _user(self, method: str, who: str, rest: list[str], body: Any) -> web.StreamResponse:
        user = next((one for one in self.users.values() if who in (one["id"], one["profile"]["login"])), None)
        if user is None:
            return _error(404, "E0000007", f"Not found: Resource not found: {who} (User)")
        match (method, *rest):
            case ("GET",):
                return web.json_response(user)
            case ("GET", "factors"):
                return web.json_response(self.factors.get(user["id"], []))
            case ("GET", "roles"):
                return web.json_response(self.roles.get(user["id"], []))
            case ("GET", "risk"):
                return web.json_response({"riskLevel": self.risk.get(user["id"], "NONE")})
            case ("PUT", "risk"):
                self.risk[user["id"]] = body["riskLevel"]
                return web.json_response(body, status=201)
            case ("DELETE", "sessions"):
                self.done.append("sessions")
                return web.Response(status=204)
            case ("POST", "lifecycle", name):
                wanted, after = {
                    "suspend": ("ACTIVE", "SUSPENDED"),
                    "unsuspend": ("SUSPENDED", "ACTIVE"),
                    "expire_password": ("ACTIVE", "PASSWORD_EXPIRED"),
                    "reset_password": ("ACTIVE", "RECOVERY"),
                }[name]
                if user["status"] != wanted:
                    return _error(400, "E0000001", f"Api validation failed: {name}")
                user["status"] = after
                self.done.append(name)
                return web.json_response({})
        return _error(404, "E0000007", "Not found")


def _links(request: web.Request, link: URL | None) -> CIMultiDict[str]:
    """Each in a header of its own."""
    found = CIMultiDict([("Link", f'<{request.url}>; rel="self"')])
    if link is not None:
        found.add("Link", f'<{link}>; rel="next"')
    return found


def _error(status: int, code: str, summary: str) -> web.StreamResponse:
    return web.json_response({"errorCode": code, "errorSummary": summary, "errorCauses": []}, status=status)


def user(id: str, login: str, status: str = "ACTIVE", **profile: Any) -> dict[str, Any]:
    names = {"firstName": login.partition("@")[0].title(), "lastName": "Example", "login": login, "email": login}
    return {
        "id": id,
        "status": status,
        "created": "2025-01-01T00:00:00.000Z",
        "lastLogin": "2026-03-01T08:00:00.000Z",
        "passwordChanged": None,
        "profile": {**names, **profile},
    }


def entry(number: int, published: str, kind: str = "user.session.start") -> dict[str, Any]:
    return {
        "uuid": f"e{number:04}",
        "published": published,
        "eventType": kind,
        "version": "0",
        "severity": "INFO",
        "displayMessage": "User login to Okta",
        "actor": {"id": "00u1", "type": "User", "alternateId": "ada@corp.example", "displayName": "Ada"},
        "client": {"ipAddress": "203.0.113.7", "userAgent": {"rawUserAgent": "Mozilla/5.0"}},
        "outcome": {"result": "SUCCESS"},
        "securityContext": {},
        "debugContext": {"debugData": {}},
    }


@asynccontextmanager
async def connected(org: Org, **given: Any) -> AsyncIterator[Okta]:
    async with serving(org.answer) as url:
        proof = {} if "client_key" in given else {"token": "t0ken"}
        settings = msgspec.convert({"url": url, "since_days": 90, **proof, **given}, OktaSettings)
        outside = Http()
        try:
            yield Okta(settings, outside)
        finally:
            await outside.close()


def order(name: str, target: str = "ada@corp.example") -> Order:
    return Order(name=name, target=target, parameters={}, by="eve@corp.example", reason="INC 7", key="o1")


async def until_it_fails(connector: Okta, stream: str, cursor: str | None) -> tuple[list[Batch], ConnectorError | None]:
    batches: list[Batch] = []
    try:
        async for batch in connector.pull(stream, cursor):
            batches.append(batch)
    except ConnectorError as error:
        return batches, error
    return batches, None


def objects(batches: Sequence[Batch]) -> dict[str, GraphObject]:
    found = {str(one.body["id"]): one for batch in batches for one in batch.objects}
    for one in found.values():
        draft(COLLECTIONS[one.collection], one.body, str(one.body["id"]))
    return found


def edges(batches: Sequence[Batch]) -> set[Edge]:
    return {edge for batch in batches for edge in batch.edges}


@pytest.mark.asyncio
async def test_log() -> None:
    """Every event comes once, over pages and looks, also one that was kept late with an older time."""
    org = Org()
    org.log = [entry(n, f"2099-03-01T10:0{n}:00.000Z") for n in range(7)]
    async with connected(org, page_rows=3) as connector:
        first = await pulled(connector, "logs")
        assert raws(first) == org.log
        assert raws(await pulled(connector, "logs", first[-1].cursor)) == []
        org.log.append(entry(9, "2099-03-01T09:00:00.000Z"))
        again = await pulled(connector, "logs", first[-1].cursor)
        assert raws(again) == org.log[7:]
        for number, batch in enumerate(first):
            rest = raws(await pulled(connector, "logs", batch.cursor))
            assert [*raws(first[: number + 1]), *rest] == org.log
        assert "an event" in await connector.check()


@pytest.mark.asyncio
async def test_log_without_link() -> None:
    """Where a link holds no longer, or the organisation has another address now, nothing is missed."""
    org = Org()
    org.log = [entry(n, f"2099-03-01T10:0{n}:00.000Z") for n in range(3)]
    async with connected(org) as connector:
        (first,) = await pulled(connector, "logs")
    org.log.append(entry(4, "2099-03-01T11:00:00.000Z"))
    async with connected(org) as connector:  # on another port: the token goes to no other address
        assert org.log[3] in raws(await pulled(connector, "logs", first.cursor))
        (second,) = await pulled(connector, "logs", first.cursor)
        org.lost = True
        org.log.append(entry(5, "2099-03-01T10:30:00.000Z"))
        assert org.log[4] in raws(await pulled(connector, "logs", second.cursor))


@pytest.mark.asyncio
async def test_records_are_read() -> None:
    """A sign-in becomes one, a threat an alert with the id of its event."""
    org = Org()
    org.log = [
        entry(1, "2099-03-01T10:00:00.000Z"),
        entry(2, "2099-03-01T10:01:00.000Z", "security.threat.detected"),
    ]
    async with connected(org) as connector:
        batches = await pulled(connector, "logs")
    (made,) = alerts(batches)
    assert (made.provider_alert_id, made.vendor) == ("e0002", "Okta")
    assert made.evidence
    raw = batches[0].records[0].raw
    found = list(SOURCES["okta"].normalise(Record(raw, raw.decode(), json.loads(raw))))
    (sign_in,) = [one for one in found if isinstance(one, GraphObject)]
    assert (sign_in.collection, sign_in.body["userId"]) == ("signIns", "00u1")


@pytest.mark.asyncio
async def test_faults() -> None:
    """Throttled as Okta says it, a token that is refused, a link to another address."""
    org = Org()
    org.throttled_after = 0
    async with connected(org) as connector:
        with pytest.raises(Away) as throttled:
            await pulled(connector, "logs")
        assert (throttled.value.status, throttled.value.retry_after_s) == (429, 45.0)
        org.throttled_after = None
        org.faults = [web.json_response([], headers={"Link": '<https://evil.example/api/v1/logs?after=1>; rel="next"'})]
        with pytest.raises(Rejected, match="another address"):
            await pulled(connector, "logs")
        org.faults = [_error(403, "E0000006", "You do not have permission")]
        with pytest.raises(Denied, match="You do not have permission"):
            await pulled(connector, "users")
    async with connected(org, token="wr0ng") as connector:
        with pytest.raises(Denied, match="Invalid token") as refused:
            await connector.check()
        assert "wr0ng" not in refused.value.message


@pytest.mark.asyncio
async def test_service_app() -> None:
    """A service app proves itself by a key, and asks for its scopes."""
    org, key = Org(), RSAKey.generate_key(2_048, {"kid": "k7"})
    private = json.dumps({**key.as_dict(private=True), "kid": "k7"})
    async with connected(org, client_key=private, client_id="0oa1") as connector:
        await connector.check()
    (form,) = org.tokens
    assert form["grant_type"] == "client_credentials"
    assert "okta.logs.read" in form["scope"].split()
    claims = jwt.decode(form["client_assertion"], key, algorithms=["RS256"]).claims
    assert (claims["iss"], claims["sub"]) == ("0oa1", "0oa1")
    assert claims["aud"].endswith("/oauth2/v1/token")
    head = form["client_assertion"].partition(".")[0]
    assert json.loads(base64.urlsafe_b64decode(head + "=="))["kid"] == "k7"


@pytest.mark.asyncio
async def test_users_and_apps() -> None:
    """Users come with what Graph has of them, deactivated ones too; apps under the id that the log names."""
    org = Org()
    org.rows = 2
    for number in range(5):
        org.users[f"00u{number}"] = user(f"00u{number}", f"u{number}@corp.example", title="Analyst", employeeNumber=7)
    org.users["00u1"]["status"] = "SUSPENDED"
    org.users["00u9"] = user("00u9", "gone@corp.example", "DEPROVISIONED")
    org.apps = [{"id": "0oa1", "name": "salesforce", "label": "CRM", "status": "ACTIVE", "signOnMode": "SAML_2_0"}]
    async with connected(org) as connector:
        batches = await pulled(connector, "users")
        found = objects(batches)
        assert found.keys() == org.users.keys()
        body = found["00u0"].body
        assert (body["userPrincipalName"], body["displayName"]) == ("u0@corp.example", "U0 Example")
        assert (body["jobTitle"], body["employeeId"], body["accountEnabled"]) == ("Analyst", "7", True)
        assert [found[id].body["accountEnabled"] for id in ("00u1", "00u9")] == [False, False]
        assert [batch.whole for batch in batches] == [()] * (len(batches) - 1) + [("users",)]
        assert objects(await pulled(connector, "users", batches[1].cursor)).keys() == {"00u4", "00u9"}
        assert objects(await pulled(connector, "users", batches[-1].cursor)).keys() == org.users.keys()
        (app,) = objects(await pulled(connector, "servicePrincipals")).values()
        assert (app.body["appId"], app.body["displayName"]) == ("0oa1", "CRM")


@pytest.mark.asyncio
async def test_groups_over_throttling() -> None:
    """Members come over pages of groups and of members; a round that Okta stops again and again goes on each time where
    it was, and ends with everything."""
    org = Org()
    org.rows = 2
    org.users = {f"00u{n}": user(f"00u{n}", f"u{n}@corp.example") for n in range(7)}
    org.groups = {"00g1": list(org.users), "00g2": [], "00g3": ["00u1"]}
    async with connected(org) as connector:
        batches: list[Batch] = []
        cursor = None
        for _ in range(20):
            org.throttled_after = 2
            some, error = await until_it_fails(connector, "groups", cursor)
            batches += some
            cursor = some[-1].cursor if some else cursor
            if error is None:
                break
            assert isinstance(error, Away)
        assert batches[-1].whole == ("groups",)
        assert objects(batches).keys() == org.groups.keys()
        wanted = {Edge("members", group, "users", one) for group, members in org.groups.items() for one in members}
        assert edges(batches) == wanted


@pytest.mark.asyncio
async def test_large_group() -> None:
    """The members of a large group come in several batches; behind each of them the rest follows."""
    org = Org()
    org.users = {f"00u{n:05}": user(f"00u{n:05}", f"u{n}@corp.example") for n in range(2 * EDGES + 1)}
    org.groups = {"00g0": ["00u00001"], "00g1": list(org.users), "00g2": []}
    async with connected(org) as connector:
        batches = await pulled(connector, "groups")
        assert [len(batch.edges) for batch in batches] == [EDGES + 1, EDGES, 1, 0]
        assert len(edges(batches)) == 2 * EDGES + 2
        rest = await pulled(connector, "groups", batches[1].cursor)
        assert [len(batch.edges) for batch in rest] == [1, 0]
        del org.groups["00g1"]  # between two looks
        rest = await pulled(connector, "groups", batches[1].cursor)
        assert objects(rest).keys() == {"00g2"}
        assert not edges(rest)


@pytest.mark.asyncio
async def test_factors_and_roles() -> None:
    """Who has which factors, and who administers."""
    org = Org()
    org.users = {"00u1": user("00u1", "ada@corp.example"), "00u2": user("00u2", "bob@corp.example")}
    org.factors = {
        "00u1": [
            {"factorType": "webauthn", "status": "ACTIVE"},
            {"factorType": "push", "status": "PENDING_ACTIVATION"},
        ],
        "00u2": [{"factorType": "question", "status": "ACTIVE"}],
    }
    role = {"id": "ra1", "type": "SUPER_ADMIN", "label": "Super Administrator", "status": "ACTIVE"}
    custom = {"id": "ra2", "type": "CUSTOM", "role": "cr0x", "label": "Helpdesk", "status": "ACTIVE"}
    org.roles = {"00u1": [role, custom], "00u2": [{**role, "id": "ra3"}]}
    async with connected(org) as connector:
        found = objects(await pulled(connector, "userRegistrationDetails"))
        ada, bob = found["00u1"].body, found["00u2"].body
        assert (ada["methodsRegistered"], ada["isMfaRegistered"], ada["isPasswordlessCapable"]) == (
            ["fido2SecurityKey"],
            True,
            True,
        )
        assert (bob["methodsRegistered"], bob["isMfaRegistered"]) == (["securityQuestion"], False)
        batches = await pulled(connector, "directoryRoles")
        names = {one.body["displayName"]: id for id, one in objects(batches).items()}
        assert edges(batches) == {
            Edge("members", names["Super Administrator"], "users", "00u1"),
            Edge("members", names["Super Administrator"], "users", "00u2"),
            Edge("members", names["Helpdesk"], "users", "00u1"),
        }


@pytest.mark.asyncio
async def test_actions() -> None:
    """What is done to an account is done once, and says how the account stands."""
    org = Org()
    org.users = {"00u1": user("00u1", "ada@corp.example")}
    async with connected(org) as connector:
        for name in ("disableUser", "enableUser"):
            for target in ("ada@corp.example", "00u1"):
                assert (await connector.act(order(name, target))).state == "completed"
        await connector.act(order("revokeSignInSessions"))
        await connector.act(order("resetPassword"))
        await connector.act(order("resetPassword"))
        assert org.done == ["suspend", "unsuspend", "sessions", "reset_password"]
        with pytest.raises(Rejected, match="Api validation failed"):
            await connector.act(order("disableUser"))
        with pytest.raises(Rejected, match="knows no user"):
            await connector.act(order("disableUser", "nobody@corp.example"))
        with pytest.raises(Rejected, match="no action"):
            await connector.act(order("isolateDevice"))
    org.users["00u1"]["status"] = "ACTIVE"
    async with connected(org, reset_by="expire") as connector:
        await connector.act(order("resetPassword"))
        await connector.act(order("expirePassword"))
        assert org.done[4:] == ["expire_password"]


@pytest.mark.asyncio
async def test_risk() -> None:
    """What was decided of a risky user becomes the user's risk in Okta."""
    org = Org()
    org.users = {"00u1": user("00u1", "ada@corp.example")}

    def push(state: str) -> Push:
        words = {"riskState": state, "riskDetail": "adminConfirmedUserCompromised"}
        return Push(subject="riskyUser", id="00u1", words=words, now={}, by="a", at="", key="k")

    async with connected(org) as connector:
        for state, level in (("confirmedCompromised", "HIGH"), ("dismissed", "LOW"), ("confirmedSafe", "LOW")):
            assert (await connector.push(push(state))).left_out == ("riskDetail",)
            assert org.risk == {"00u1": level}
        assert len([one for one in org.asked if one[0] == "PUT"]) == 2
        assert (await connector.push(push("atRisk"))).left_out == ("riskState", "riskDetail")


def test_settings() -> None:
    """One proof, not none and not two; secrets are known as such."""
    assert secret_fields(OktaSettings) == {"token", "client_key"}
    url = "https://corp.okta.com"
    for given in ({}, {"token": "a", "client_key": "b", "client_id": "c"}, {"client_key": "b"}):
        with pytest.raises(Exception, match="client_"):
            checked(Okta, {"url": url, **given})
