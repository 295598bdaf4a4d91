"""Two tenants on one server: with the ids of the other, no path gives anything back and none changes anything."""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace
from tests.api.conftest import A, B, bounds, kept_at, limits, world  # noqa: F401
from tests.api.conftest import World as Place

from bartizan import api
from bartizan.api.documents.coverage import known_paths
from bartizan.api.policies import ONLY
from bartizan.api.wire.route import Router
from bartizan.errors import BartizanError
from bartizan.extend import RESOURCES, Action, Resource, Verb, collections
from bartizan.model.edm import Version, edm
from bartizan.store.draft import draft
from bartizan.store.interface import Collection, Draft, Tx

pytestmark = pytest.mark.anyio
api.load()

SECRET = "only-of-tenant-a"  # every id and text of tenant A
HOST = f"{SECRET}.example"
UNIT = f"/administrativeUnits/{SECRET}"  # what a role is held over
OWNER = "app-a"  # the application that both tenants have granted
LEAST_PATHS = 250
CORRELATED = {  # what correlation keeps beside an incident of its own
    "priority": {"detectors": [], "severity": 0.0, "company": 0.0, "bits": 0.0},
    "entities": [{"kind": "user", "value": SECRET}],
    **dict.fromkeys(("tactics", "reasons"), ()),
    **dict.fromkeys(("follows", "firstActivityDateTime", "lastActivityDateTime")),
}


@dataclass(frozen=True)
class Asked:
    """One request; `one`: it names an object by key, which must not be found."""

    verb: Verb
    path: str
    one: bool
    action: Action | None = None

    def body(self) -> Any:
        """That names objects of tenant A wherever the operation takes ids."""
        if self.path.endswith("/$ref"):
            return {"@odata.id": f"https://graph.test:8443/v1.0/users/{SECRET}"}
        takes = self.action.parameters or {} if self.action is not None else {}
        many = {name: [SECRET, "nobody"] for name, type in takes.items() if type.startswith("Collection(Edm.String)")}
        single = {name: SECRET for name, type in takes.items() if type.startswith("Edm.String")}
        if "query" in single:  # no id, but what a hunt names
            single["query"] = "database('another').SigninLogs | take 5"
        return None if self.verb in ("GET", "DELETE") else {**many, **single}

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


def paths(router: Router) -> Iterator[Asked]:
    """What the router serves of the known surface and of the declarations, with tenant A's ids for keys."""
    shapes: dict[Version, set[str]] = {"v1.0": set(), "beta": set()}
    for version, known in known_paths().items():
        shapes[version] |= set(known)
    for each in router.resources:
        for path, versions in {each.path: each.versions, **each.aliases}.items():
            for version in versions:
                shapes[version] |= set(shapes_of(each, f"/{path}", version))
    for version, paths_of in shapes.items():
        for shape in sorted(paths_of):
            yield from filled(router, version, shape)


def shapes_of(resource: Resource, root: str, version: Version) -> Iterator[str]:
    one = root if resource.singleton else f"{root}/{{}}"
    yield from (root, f"{root}/$count", one, f"{one}/id")
    for action in resource.actions.values():
        if version in action.versions:
            yield f"{root if action.on_set else one}/{action.name}"
    for navigation in resource.navigations.values():
        if version in navigation.versions:
            yield from (f"{one}/{navigation.name}{end}" for end in ("", "/$count", "/$ref", "/{}", "/{}/$ref"))


def filled(router: Router, version: Version, shape: str) -> Iterator[Asked]:
    try:
        target = router.resolve(f"/{version}{shape.replace('{}', 'key')}")
    except BartizanError:
        return
    wanted = shape.strip("/").lower()
    if target.kind in ("root", "metadata", "batch") or target.hidden not in (wanted, wanted.replace("/$", "$")):
        return
    entity = target.resource is not None and target.resource.path == "security/entities"
    path = f"/{version}{shape.replace('{}', f'user:{SECRET}' if entity else SECRET)}"
    path += f"(to='user:{SECRET}')" if shape.lower().endswith("/shortestpath") else ""
    for verb in target.served:
        if (target.kind, verb) != ("set", "POST"):  # which makes an object of one's own
            stored = target.resource is not None and target.resource.singleton and bool(target.resource.can)
            names = "{}" in shape or verb == "POST" or stored
            yield Asked(verb, path, names, target.action)


# ---------------------------------------------------------------- tenant A has one of each, linked with all others


def body_of(of: Collection) -> dict[str, Any]:
    kind = of.type or "microsoft.graph.user"
    body: dict[str, Any] = {"@odata.type": f"#{kind}", "applicationId": OWNER, "@bartizan.owner": OWNER}
    body["riskEventType"] = "AnonymousIpRiskEvent"  # what a set of one kind of them shows
    for name in ("displayName", "title", "userPrincipalName", "clientState", "description"):
        body[name] = SECRET
    return body


def put(made: list[Draft], edges: list[tuple[str, str, str, str]], tx: Tx) -> None:
    for each in made:
        tx.put(each)
    for relation, source, collection, target in edges:
        tx.relate(relation, source, collection, target)


def planted(of: Resource, name: str) -> Any:
    """What stands inside an object: one other, or a list of them. Hosts have names with a dot."""
    declared = edm(of.versions[-1]).structured(of.type).find(name)
    if declared is None or declared.collection:
        return [{"id": SECRET}]
    is_host = name in ("host", "parentHost", "childHost", "artifact")
    return {"@odata.type": "#microsoft.graph.security.hostname", "id": HOST} if is_host else {"id": SECRET}


def stocked() -> tuple[list[Draft], list[tuple[str, str, str, str]]]:
    made, edges = [], []
    columns: dict[str, dict[str, Any]] = {}
    for each in RESOURCES:
        its = columns.setdefault(each.collection.name, {})
        its |= {name: planted(each, name) for name in each.inline}
        for navigation in each.navigations.values():
            if navigation.key is not None:
                its[navigation.key] = UNIT if navigation.key == "directoryScopeId" else SECRET
                continue
            for to in navigation.to:
                if navigation.column is not None:
                    head, _, inside = navigation.column.partition("/")
                    its = columns.setdefault(to.name, {})
                    its[head] = {**its.get(head, {}), inside: SECRET} if inside else SECRET
                elif navigation.reverse:
                    edges.append((str(navigation.relation), SECRET, each.collection.name, SECRET))
                else:
                    edges.append((str(navigation.relation), SECRET, to.name, SECRET))
    for of in collections():
        body = {**body_of(of), **columns.get(of.name, {})}
        if of.name == "subscriptions":
            body |= {"expirationDateTime": "2026-12-24T00:00:00.0000000Z", "resource": "security/alerts"}
        if of.name == "writeBacks":
            body |= {"subject": "alert"}  # who may read those sees them
        if of.name == "vulnerabilities":
            body |= {"articleIds": [SECRET]}
        if of.name == "incidents":
            body |= {"priorityScore": 0, "@bartizan.correlation": CORRELATED}
        made.append(draft(of, body, SECRET))
        if of.name in ONLY:
            made.append(draft(of, body, ONLY[of.name]))
    return made, sorted(set(edges))


@pytest.fixture
async def two(world: Place) -> AsyncIterator[Place]:  # noqa: F811
    """Tenant A is full; tenant B has the same application with every permission, and an analyst with the same ids."""
    await world.store.tenant(A).write(partial(put, *stocked()), actor="test")
    world.known["analyst of b"] = replace(world.known["analyst"], tenant=B, user=SECRET, upn=SECRET)
    yield world


def test_the_stock_is_real() -> None:
    made, edges = stocked()
    assert len(made) > 25 and len(edges) > 10


async def shown(place: Place) -> dict[str, bytes]:
    """Everything that tenant A has."""
    tenant = place.store.tenant(A)
    found = {}
    for of in collections():
        row = await tenant.get(of.name, SECRET)
        found[of.name] = b"" if row is None else row.doc
    return found


async def test_ids_of_another_tenant_lead_nowhere(two: Place) -> None:
    """Of every served path: 404 (or a refusal that does not depend on the id) for one object, and lists without a word
    of the other tenant; afterwards that has all it had.
    """
    before = await shown(two)
    assert all(before.values())
    seen: dict[str, int] = {}
    asked = list(dict.fromkeys(paths(two.graph.router)))
    assert len(asked) > LEAST_PATHS
    for each in asked:
        headers = {"ConsistencyLevel": "eventual"} if each.path.endswith("/$count") else {}
        for by in ("other", "analyst of b"):
            answer = await two.call(each.verb, each.path, each.body(), by=by, **headers)
            text = answer.text.replace(answer.request.url.path, "")
            seen[f"{each.verb} {answer.status_code}"] = seen.get(f"{each.verb} {answer.status_code}", 0) + 1
            if answer.is_success and each.verb == "GET":
                assert SECRET not in answer.text, f"{each} by {by}: {answer.text[:500]}"
                assert not each.one, f"{each} by {by}: {answer.status_code} {text[:500]}"
            if each.one:
                said = {answer.status_code}
                if answer.status_code == 206:  # one result for each id
                    said = {result["code"] for result in answer.json()["value"]}
                assert said <= {400, 403, 404}, f"{each} by {by}: {answer.status_code} {text}"
    print(len(asked), dict(sorted(seen.items())))
    assert await shown(two) == before


async def test_the_same_paths_lead_somewhere_at_home(two: Place) -> None:
    """So that the 404s above say something: in its own tenant each object and list is there."""
    missing = []
    for each in dict.fromkeys(paths(two.graph.router)):
        kind = each.path.split("/")[2]
        if kind.endswith("RiskEvents") and kind not in ("identityRiskEvents", "anonymousIpRiskEvents"):
            continue  # rows of another kind
        if "/photo" in each.path or (each.path.count("/") > 5 and "/authentication/" in each.path):
            continue  # no photos are kept, and a single method has an id of Graph's or of the server's own
        if "/transitive" in each.path:
            continue  # nothing is a member of itself, and here all have one id
        if "/relatedHosts/" in each.path:
            continue  # a host's id is its name, which is another one here
        if any(own.lists is not None and f"/{own.path}/" in each.path for own in two.graph.router.resources):
            continue  # the program's own, the same for every tenant
        if each.verb == "GET" and "/$" not in each.path and each.one:
            answer = await two.call("GET", each.path, by="admin")
            if not answer.is_success:
                missing.append(f"{each} {answer.status_code} {answer.text[:100]}")
    assert not missing, "\n".join(missing)


async def test_queries_do_not_reach_over(two: Place) -> None:
    """$filter, $search, $expand, batches and page tokens of the one tenant, sent by the other."""
    for path in (
        f"/v1.0/users?$filter=startswith(displayName,'{SECRET}')",
        f'/v1.0/users?$search="displayName:{SECRET}"&$count=true',
        "/v1.0/security/incidents?$expand=alerts",
        "/v1.0/groups?$expand=members",
    ):
        home = await two.get(path, ConsistencyLevel="eventual")
        assert SECRET in json.dumps(home["value"]), path
        away = await two.get(path, by="other", ConsistencyLevel="eventual")
        assert away["value"] == [], path
    requests = [{"id": "1", "method": "GET", "url": f"/users/{SECRET}"}]
    (answer,) = (await two.post("/v1.0/$batch", {"requests": requests}, by="other"))["responses"]
    assert answer["status"] == 404
    await two.post("/v1.0/security/alerts_v2", [{"title": f"{SECRET} {n}"} for n in range(3)])
    link = (await two.get("/v1.0/security/alerts_v2?$top=1"))["@odata.nextLink"]
    await two.refused("GET", link, by="other", status=400)
