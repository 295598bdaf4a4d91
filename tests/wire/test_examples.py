"""Every request and response that the vendor's documentation shows, on the paths that are served.

What an example needs is there before it is sent: its own response goes in by POST with the ingestion scope, or into the
store where no client may create. Then the documented request must have the documented status, every name and type of
our answer must be the schema's, and every property of the documented answer must be there, of the same JSON type.
"""

import json
import re
import threading
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from msgspec.structs import replace
from tests.api.conftest import World as Place
from tests.api.conftest import bounds, kept_at, limits, world  # noqa: F401
from tests.wire.known_slips import KNOWN

from bartizan.api.wire.route import Router, Target
from bartizan.errors import BadRequest, BartizanError
from bartizan.extend import Can, Navigation, Resource
from bartizan.model.edm import Property, StructuredType, edm
from bartizan.store.draft import draft
from bartizan.store.interface import Collection, Draft, Tx

pytestmark = [pytest.mark.anyio, pytest.mark.shared]

LEAST_TRIED = 270
LEAST_COMPARED = 1_500  # properties of documented answers found in ours
ID = "11112222-3333-4444-5555-666677778888"  # where an example has only {id}
OTHER = "99998888-7777-6666-5555-444433332222"  # ... and what is linked to it
LATER = "2026-11-24T00:00:00.0000000Z"  # after the world's clock
NOT_OURS = frozenset({"@odata.context", "@odata.nextlink", "@odata.count"})

# What a minimal object needs, where the documented answer was cut down by $select.
NEEDED: dict[str, Any] = {
    "displayName": "a name",
    "userPrincipalName": "someone@contoso.example",
    "title": "a title",
    "vendorInformation": {"vendor": "Contoso", "provider": "Contoso"},
    "createdDateTime": "2026-11-20T00:00:00Z",
    "riskEventType": "unfamiliarFeatures",
    "servicePrincipalId": OTHER,
    "appId": OTHER,
    "deviceId": OTHER,
    "parameters": [{"name": "a", "value": "b"}],
    "changeType": "updated",
    "notificationUrl": "https://hooks.contoso.example/",
    "resource": "security/alerts",
    "expirationDateTime": LATER,
    "state": "disabled",
    "name": "a name",
    "value": "a value",
    "kind": "actor",
    "domain": "contoso.com",
    "port": 443,
    "recordType": "A",
    **{name: {"id": "contoso.com"} for name in ("host", "parentHost", "childHost", "artifact", "sslCertificate")},
    **dict.fromkeys(("articleId", "intelligenceProfileId"), ID),
    "conditions": {"applications": {"includeApplications": ["All"]}, "users": {"includeUsers": ["All"]}},
}
INDICATOR = {
    "action": "alert",
    "description": "a",
    "expirationDateTime": LATER,
    "targetProduct": "Azure Sentinel",
    "threatType": "WatchList",
    "tlpLevel": "green",
    "domainName": "c2.example",
}
# What the documented filter asks for and the documented answer, cut down by $select, does not show.
ALSO: dict[str, dict[str, Any]] = {
    "hasMembersWithLicenseErrors": {"hasMembersWithLicenseErrors": True},
    "membershipRuleProcessingState eq 'On'": {"membershipRuleProcessingState": "On"},
    "assignedLicenses/any()": {"assignedLicenses": [{"skuId": ID, "disabledPlans": []}]},
    "userType eq 'guest'": {"userType": "Guest"},
    "contoso.onmicrosoft.com": {
        "identities": [{"issuer": "contoso.onmicrosoft.com", "issuerAssignedId": "j.smith@yahoo.com"}]
    },
    "My B2C tenant": {"identities": [{"issuer": "My B2C tenant", "issuerAssignedId": "j.smith@yahoo.com"}]},
}


# ---------------------------------------------------------------- an example and what became of it


@dataclass
class Example:
    number: int
    raw: dict[str, Any]

    @property
    def request(self) -> dict[str, Any]:
        return dict(self.raw["request"])

    @property
    def response(self) -> dict[str, Any]:
        return dict(self.raw["response"] or {})

    @property
    def name(self) -> str:
        return f"{self.raw['version']} {self.raw['api']}"

    @property
    def path(self) -> str:
        return str(self.request["path"]).partition("?")[0]

    @property
    def query(self) -> str:
        return str(self.request["path"]).partition("?")[2]

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The objects of the documented answer."""
        body = self.response.get("body")
        if not isinstance(body, dict) or "error" in body:
            return []
        inside = body.get("value", body)
        return [each for each in (inside if isinstance(inside, list) else [inside]) if isinstance(each, dict)]


@dataclass
class Found:
    """Causes by example; `compared` counts properties that the documents show and we have."""

    wrong: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    statuses: Counter[str] = field(default_factory=Counter)
    compared: int = 0

    def add(self, cause: str, example: Example) -> None:
        self.wrong[cause].append(f"{example.number} {example.name}")


def examples(shared: Path, router: Router) -> Iterator[tuple[Example, Target]]:
    """Those whose path and verb the router serves."""
    for number, line in enumerate((shared / "graph" / "examples.jsonl").read_text(encoding="utf-8").splitlines()):
        raw = json.loads(line)
        if not raw["request"] or raw["request"]["path"] == "/$batch" or "raw" in raw["request"]:
            continue
        one = Example(number, raw)
        try:
            target = router.resolve(f"/{raw['version']}{_filled(one.path, _id(one.path))}")
        except BartizanError:
            continue
        if raw["request"]["method"] in target.served:
            yield one, target


def _id(path: str) -> str:
    """What stands for `{id}`: a host is known by its name."""
    return "contoso.com" if "/threatIntelligence/hosts/" in path else ID


def _filled(text: str, id: str) -> str:
    return re.sub(r"\{[^{}]+\}", id, text)


# ---------------------------------------------------------------- seeding


class Seed:
    """Puts there what one example needs, in a tenant of its own."""

    def __init__(self, place: Place, example: Example, target: Target, found: Found) -> None:
        self.world, self.example, self.target, self.found = place, example, target, found
        self.tenant = str(uuid.uuid4())
        self.by = f"example {example.number}"
        place.known[self.by] = replace(place.known["admin"], tenant=self.tenant)
        if example.path.startswith("/me"):
            place.known[self.by] = replace(place.known["analyst"], tenant=self.tenant, user=ID)
        self.refused: set[str] = set()  # properties that our schema does not take, in lower case
        self.ids: dict[str, str] = {}  # as sent, as stored: some the server makes
        self.inside: list[tuple[str, dict[str, Any]]] = []  # what stands in navigations of what was put there

    async def run(self) -> None:
        target, example = self.target, self.example
        if target.via is not None:
            await self.related()
        elif target.kind == "action":
            await self.operands()
        elif example.request["method"] == "POST":
            for bind, addresses in (example.request.get("body") or {}).items():
                if bind.endswith("@odata.bind"):
                    for address in addresses:
                        await self.create(self.resource_of("users"), {"id": address.rpartition("/")[2]})
        elif target.resource is not None and example.request["method"] != "POST":
            key = "" if target.key is None else unquote(target.key.value)
            for each in example.shown or [{}]:
                self.inside.clear()
                await self.create(target.resource, {**each, **({"id": key} if key else {})})
                for name, item in self.inside:
                    await self.link(target.resource.navigations[name.lower()], str(each["id"]), item)
        elif target.kind == "refs":
            raise AssertionError("a reference without a navigation")

    async def related(self) -> None:
        link, navigation = self.target.via, self.target.navigation
        while link is not None and link.kind != "object":  # users/{id}/manager has the user, history/{id} the history
            navigation, link = link.navigation or navigation, link.via
        assert link is not None and link.resource is not None and link.key is not None and navigation is not None
        parent = ID if link.key.own else unquote(link.key.value)
        await self.create(link.resource, {"id": parent})
        if self.example.request["method"] == "POST":
            await self.create(self.resource_of("users"), {"id": OTHER})
            return
        for each in self.example.shown:
            await self.link(navigation, parent, each)

    async def link(self, navigation: Navigation, parent: str, shown: dict[str, Any]) -> None:
        key = "" if self.target.key is None else unquote(self.target.key.value)
        if navigation.made is not None:
            return  # made when it is asked for: nothing can be put there
        item = {**shown, **({"id": key} if key else {})}
        item.setdefault("id", str(uuid.uuid4()))
        marked = str(item.get("@odata.type", "")).removeprefix("#")
        to = next((to for to in navigation.to if to.type == marked), navigation.to[0])
        if navigation.column is not None:
            of = self.declared(to)
            item[navigation.column] = parent
            await (self.put(to, item) if of is None else self.create(of, item))
            return
        await self.create(self.resource_of(to.name), item)
        assert navigation.relation is not None
        edge = (parent, to.name, item["id"])
        if navigation.reverse:
            edge = (item["id"], navigation.of[0], parent)
        await self.write(partial(_relate, navigation.relation, edge))

    async def operands(self) -> None:
        """What the ids of an action's body, or of its path, name."""
        target, body = self.target, self.example.request.get("body")
        assert target.resource is not None
        if target.key is not None and target.resource.can:  # nothing is stored of a container
            await self.create(target.resource, {"id": unquote(target.key.value)})
        for ids in (body if isinstance(body, dict) else {}).values():
            if not isinstance(ids, list):
                continue
            for each in ids:
                if isinstance(each, str):
                    external = "externalId" if self.example.path.endswith("ByExternalId") else "id"
                    await self.create(target.resource, {external: each})

    def resource_of(self, collection: str) -> Resource:
        return next(each for each in self.world.graph.router.resources if each.collection.name == collection)

    def declared(self, collection: Collection) -> Resource | None:
        routes = self.world.graph.router.resources
        return next((each for each in routes if each.collection.name == collection.name), None)

    async def create(self, resource: Resource, shown: dict[str, Any]) -> None:
        """By POST where clients may, into the store otherwise."""
        body = self.complete(resource, shown)
        if Can.CREATE not in resource.can or resource.path == "subscriptions":
            await self.put(resource.collection, self.taken(resource, body))
            return
        version = self.target.version if self.target.version in resource.versions else resource.versions[0]
        path = f"/{version}/{resource.path}"
        answer = await self.world.call("POST", path, body, by=self.by)
        if answer.status_code == 400:
            body = self.complete(resource, self.taken(resource, body))
            answer = await self.world.call("POST", path, body, by=self.by)
        if answer.is_success:
            self.ids[str(body.get("id"))] = answer.json()["id"]
        else:
            self.found.add(f"cannot create {resource.path}: {answer.json()['error']['message']}", self.example)

    def complete(self, resource: Resource, shown: dict[str, Any]) -> dict[str, Any]:
        also = [more for text, more in ALSO.items() if text in unquote(self.example.query).replace("+", " ")]
        body = {name: value for name, value in shown.items() if name.lower() not in NOT_OURS and value is not None}
        of = edm(resource.versions[-1]).structured(resource.type)
        for name in [
            name for name in body if name in of.navigation and name not in resource.inline
        ]:  # shown by $expand
            self.inside += [(name, each) for each in body.pop(name) if isinstance(each, dict)]
        if resource.type.endswith("RiskEvent"):
            kind = str(body.get("@odata.type", resource.type)).rpartition(".")[2]
            kind = {"locatedRiskEvent": "suspiciousIpRiskEvent"}.get(kind, kind)  # the one is abstract
            body = {"@odata.type": f"#microsoft.graph.{kind}", "riskEventType": kind[0].upper() + kind[1:], **body}
        for more in also:
            body = {**more, **body}
        if resource.path.endswith("tiIndicators"):
            body = {**INDICATOR, **body}
        if resource.type.endswith("namedLocation"):
            body.setdefault("@odata.type", "#microsoft.graph.ipNamedLocation")
            if body["@odata.type"].endswith("ipNamedLocation"):
                body.setdefault(
                    "ipRanges", [{"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": "9.9.9.0/24"}]
                )
        for name in resource.required:
            if body.get(name) is None:
                body[name] = str(uuid.uuid4()) if name in ("id", "appId", "deviceId") else NEEDED[name]
                if name == "userPrincipalName":
                    body[name] = f"{uuid.uuid4()}@contoso.example"
        return body

    def taken(self, resource: Resource, body: dict[str, Any]) -> dict[str, Any]:
        """The properties that our schema takes; the others are remembered, with why."""
        schema, kept = edm(self.target.version if self.target.version in resource.versions else "beta"), {}
        marks = {name: value for name, value in body.items() if name == "@odata.type"}
        for name, value in body.items():
            try:
                kept.update(schema.accept(resource.type, {**marks, name: value}, partial=True))
            except BadRequest as problem:
                self.refused.add(name.lower())
                if not self.example.raw.get("placeholders"):
                    self.found.add(f"refused {resource.path}: {_brief(problem.message)}", self.example)
        return kept

    async def put(self, collection: Collection, body: dict[str, Any]) -> None:
        clean = {name: value for name, value in body.items() if name.lower() not in NOT_OURS}
        id = str(clean.get("id") or ID)
        if collection.name == "subscriptions":
            clean |= {"applicationId": self.world.known[self.by].app, "expirationDateTime": LATER}
        await self.write(partial(_put, draft(collection, {**clean, "id": id}, id)))

    async def write(self, work: Any) -> None:
        await self.world.store.tenant(self.tenant).write(work, actor="examples")


def _brief(message: str) -> str:
    return re.split(r"; |, not |/messages'", message)[0][:170]


def _put(made: Draft, tx: Tx) -> None:
    tx.put(made)


def _relate(relation: str, edge: tuple[str, str, str], tx: Tx) -> None:
    tx.relate(relation, *edge)


# ---------------------------------------------------------------- sending


class _Receiver(BaseHTTPRequestHandler):
    """Answers the handshake of a subscription."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        token = parse_qs(urlsplit(self.path).query).get("validationToken", [""])[0].encode()
        self.send_response(200)
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(token)))
        self.end_headers()
        self.wfile.write(token)

    def log_message(self, *args: object) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def receiver() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/notify"
    server.shutdown()
    server.server_close()


def body_of(example: Example, receiver: str) -> Any:
    """As documented; but a subscription's endpoint is one that answers and its end is in the future."""
    body = example.request.get("body")
    if example.path == "/subscriptions" and isinstance(body, dict):
        return {**body, "notificationUrl": receiver, "expirationDateTime": LATER}
    return json.loads(_filled(json.dumps(body), OTHER)) if example.path.endswith("$ref") else body


async def tried(place: Place, example: Example, target: Target, receiver: str, found: Found) -> None:
    seed = Seed(place, example, target, found)
    await seed.run()
    headers = {name: value for name, value in example.request["headers"].items() if name.lower() != "content-length"}
    path = f"/{example.raw['version']}{_filled(example.path, _id(example.path))}" + (
        f"?{example.query}" if example.query else ""
    )
    body = json.dumps(body_of(example, receiver))
    for sent, stored in seed.ids.items():
        path, body = path.replace(sent, stored), body.replace(f'"{sent}"', f'"{stored}"')
    answer = await place.call(example.request["method"], path, json.loads(body), by=seed.by, **headers)
    wanted = example.response.get("status")
    found.statuses[f"{example.request['method']} {answer.status_code}"] += 1
    if answer.status_code != wanted if wanted is not None else not answer.is_success:
        said = answer.json()["error"]["message"] if answer.content and not answer.is_success else ""
        found.add(f"{answer.status_code} instead of {wanted}: {_brief(said)}", example)
        return
    if answer.is_success and answer.content and answer.headers["content-type"].startswith("application/json"):
        for cause in compared(example, target, answer.json(), seed, found):
            found.add(cause, example)


def type_of(target: Target) -> str:
    if target.action is not None:
        returns = (target.action.returns or "").removesuffix("!")
        return returns.removeprefix("Collection(").removesuffix(")")
    if target.resource is not None:
        return target.resource.type
    assert target.navigation is not None
    return target.navigation.type


def compared(example: Example, target: Target, body: dict[str, Any], seed: Seed, found: Found) -> Iterator[str]:
    many = target.kind in ("set", "related", "delta") and example.request["method"] == "GET"
    many = many or (target.action is not None and (target.action.returns or "").startswith("Collection("))
    items = body["value"] if many else [body]
    kind = type_of(target)
    schema = edm(target.version)
    for each in items:
        yield from misnamed(schema.structured(kind), each, target.version, kind)
    sent = example.request.get("body")
    for shown in example.shown:
        if isinstance(sent, dict) and example.request["method"] == "POST":
            shown = echoed(shown, sent)
        ours = counterpart(shown, items, many and sent is None)
        if ours is None:
            yield f"not given back: {example.path}?{unquote(example.query)}"
            continue
        yield from missing(shown, ours, kind, seed.refused, example.raw.get("placeholders", False), found)


def echoed(shown: Any, sent: Any) -> Any:
    """What the service filled in by itself is its own: of that only the names stay."""
    if isinstance(shown, dict) and isinstance(sent, dict):
        return {name: echoed(value, sent.get(name)) for name, value in shown.items()}
    if isinstance(shown, list) and isinstance(sent, list):
        return [echoed(one, other) for one, other in zip(shown, sent, strict=False)]
    return None if sent is None else shown


def counterpart(shown: dict[str, Any], items: list[dict[str, Any]], many: bool) -> dict[str, Any] | None:
    """Ours of the same id; without an id, the one that says the most of the same."""
    if not many:
        return items[0] if items else None
    if shown.get("id") is not None:
        return next((each for each in items if each.get("id") == shown["id"]), None)
    says = {name: value for name, value in shown.items() if value is not None and name in {n for i in items for n in i}}
    scores = [(sum(each.get(name) == value for name, value in says.items()), at) for at, each in enumerate(items)]
    best, at = max(scores, default=(0, 0))
    return items[at] if best or (items and not says) else None


# ---------------------------------------------------------------- names and types


def missing(shown: Any, ours: Any, at: str, refused: set[str], marks: bool, found: Found) -> Iterator[str]:
    """What the documents show and our answer lacks, or has with another JSON type. `marks`: values are placeholders."""
    if isinstance(shown, dict) and isinstance(ours, dict):
        names = {name.casefold(): name for name in ours}
        for key, value in shown.items():
            if "@odata." in key or key.lower() in refused:
                continue
            if key.casefold() not in names:
                yield f"lacks {at}/{key}"
                continue
            found.compared += 1
            yield from missing(value, ours[names[key.casefold()]], f"{at}/{key}", set(), marks, found)
    elif isinstance(shown, list) and isinstance(ours, list):
        for one, other in zip(shown, ours, strict=False):
            yield from missing(one, other, at, set(), marks, found)
        if len(ours) < len(shown) and not marks:
            yield f"{at}: {len(shown)} elements became {len(ours)}"
    elif shown is not None and not marks and json_kind(shown) != json_kind(ours):
        yield f"{at} is {json_kind(ours)}, documented as {json_kind(shown)}"


def json_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "null" if value is None else {"str": "string", "list": "array", "dict": "object"}[type(value).__name__]


_STRINGS = {
    "Edm.DateTimeOffset": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z"),
    "Edm.Date": re.compile(r"\d{4}-\d\d-\d\d"),
    "Edm.TimeOfDay": re.compile(r"\d\d:\d\d:\d\d\.\d{7}"),
    "Edm.Guid": re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "Edm.Duration": re.compile(r"-?P[0-9DTHMS.]+"),
}
_NUMBERS = ("Edm.Byte", "Edm.SByte", "Edm.Int16", "Edm.Int32", "Edm.Int64", "Edm.Single", "Edm.Double", "Edm.Decimal")


def misnamed(kind: StructuredType, ours: dict[str, Any], version: Any, at: str) -> Iterator[str]:
    """What our answer has that the schema does not have, or has with another type."""
    schema = edm(version)
    mark = schema.type_name(str(ours.get("@odata.type", "")).removeprefix("#"))
    if mark is not None:
        kind = schema.structured(mark)
    for name, value in ours.items():
        if "@odata." in name:
            continue
        known = kind.properties.get(name)
        if known is None:
            if not kind.open and not kind.dictionary and name not in kind.navigation:
                yield f"our {at}/{name} is not in the schema of {kind.name}"
        elif known.collection:
            if not isinstance(value, list):
                yield f"our {at}/{name} is not an array"
                continue
            for each in value:
                yield from mistyped(known, each, version, f"{at}/{name}")
        elif value is not None:
            yield from mistyped(known, value, version, f"{at}/{name}")


def mistyped(known: Property, value: Any, version: Any, at: str) -> Iterator[str]:
    schema = edm(version)
    right: bool
    if not known.type.startswith("Edm."):
        enum = schema.enum(known.type)
        if enum is not None:
            right = isinstance(value, str) and (enum.find(value) is not None or value == "unknownFutureValue")
        elif isinstance(value, dict):
            yield from misnamed(schema.structured(known.type), value, version, at)
            return
        else:
            right = False
    elif known.type == "Edm.Boolean":
        right = isinstance(value, bool)
    elif known.type in _NUMBERS:
        right = isinstance(value, int | float) and not isinstance(value, bool)
        right = right or (known.type in ("Edm.Int64", "Edm.Decimal") and isinstance(value, str))
    else:
        pattern = _STRINGS.get(known.type)
        right = isinstance(value, str) and (pattern is None or pattern.fullmatch(value) is not None)
    if not right:
        yield f"our {at} is {str(value)[:40]!r}, which is not {known.type}"


# ---------------------------------------------------------------- the test


async def test_documented_requests_are_answered_as_documented(world: Place, shared: Path, receiver: str) -> None:  # noqa: F811
    """The status, our names and types, every documented property; but for what KNOWN says."""
    found = Found()
    number = 0
    for example, target in examples(shared, world.graph.router):
        number += 1
        await tried(world, example, target, receiver, found)
    report(number, found)
    assert number >= LEAST_TRIED and found.compared >= LEAST_COMPARED
    known = {cause for causes in KNOWN.values() for cause in causes}
    assert set(found.wrong) - known == set(), "wrong, and not for a reason that is known"
    assert known - set(found.wrong) == set(), "right by now: take it off the list"


def report(number: int, found: Found) -> None:
    """What -s or a failure shows: a table of causes."""
    wrong = {each for names in found.wrong.values() for each in names}
    print(f"\ntried {number}, right {number - len(wrong)}, wrong {len(wrong)}; properties compared {found.compared}")
    print("statuses:", dict(sorted(found.statuses.items())))
    reasons = {cause: reason for reason, causes in KNOWN.items() for cause in causes}
    by_reason: dict[str, set[str]] = defaultdict(set)
    for cause, names in found.wrong.items():
        by_reason[reasons.get(cause, f"NOT KNOWN: {cause}")] |= set(names)
    for reason, names_of in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        print(f"{len(names_of):4} {reason}  [{'; '.join(sorted(names_of)[:3])}]")


async def test_references_that_come_with_a_new_object(world: Place) -> None:  # noqa: F811
    """As documented for groups: they are there with it, or nothing is."""
    for id in ("u1", "u2", "x'y"):
        await world.post("/v1.0/users", {"id": id, "userPrincipalName": f"{id}@contoso.example"})
    at = "https://graph.microsoft.com/v1.0/users"
    bound = {"owners@odata.bind": [f"{at}/u1"], "Members@odata.bind": [f"{at}/u1", f"{at}('u2')", f"{at}/x%27y"]}
    group = await world.post("/v1.0/groups", {"displayName": "with", **bound})
    for name, ids in (("owners", ["u1"]), ("members", ["u1", "u2", "x'y"])):
        assert [each["id"] for each in await world.every(f"/v1.0/groups/{group['id']}/{name}")] == ids
    member = await world.get(f"/v1.0/groups/{group['id']}/members/u2")
    assert (member["@odata.type"], member["id"]) == ("#microsoft.graph.user", "u2")
    await world.refused("GET", f"/v1.0/groups/{group['id']}/owners/u2", status=404)
    for wrong, says in (
        ({"members@odata.bind": [f"{at}/nobody"]}, "nobody"),
        ({"members@odata.bind": f"{at}/u1"}, "expected addresses"),
        ({"members@odata.bind": [1]}, "expected addresses"),
        ({"members@odata.bind": [f"{at}/u1"] * 21}, "at most 20"),
        ({"memberOf@odata.bind": [f"{at}/u1"]}, "binding is not supported"),
        ({"members": [{"id": "u1"}]}, "members: objects of their own"),
    ):
        await world.refused("POST", "/v1.0/groups", {"displayName": "without", **wrong}, status=400, says=says)
    incident = {"displayName": "one", "alerts": [{"id": "a", "title": "t"}]}
    await world.refused("POST", "/v1.0/security/incidents", incident, status=400, says="alerts")
    assert [each["displayName"] for each in await world.every("/v1.0/groups")] == ["with"]
