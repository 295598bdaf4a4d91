"""Every declared route: nobody without a token, nobody without the scope, nobody from another tenant."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from tests.api.conftest import A, World

from bartizan import api
from bartizan.auth.caller import Access, Caller
from bartizan.extend import RESOURCES, Can, Resource, collections
from bartizan.model.edm import Version, edm
from bartizan.store.draft import draft
from bartizan.store.interface import Draft, Tx

pytestmark = pytest.mark.anyio
api.load()


@dataclass(frozen=True)
class Step:
    method: str
    path: str
    access: Access
    shared: bool = False  # answers 404 for another tenant's key, rather than an empty list
    body: Any = None
    ours: bool = False  # what the program itself has, and shows to every tenant
    mine: bool = False  # of the person who is signed in: an application has nothing of its own

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def steps(resource: Resource) -> Iterator[Step]:
    for path, versions in {resource.path: resource.versions, **resource.aliases}.items():
        for version in versions:
            yield from _steps(resource, f"/{version}/{path}", version)


def _steps(resource: Resource, root: str, version: Version) -> Iterator[Step]:
    one = root if resource.singleton else f"{root}/walked"
    if Can.LIST in resource.can and not resource.singleton:
        yield Step("GET", root, resource.read, ours=resource.lists is not None)
        yield Step("GET", f"{root}/$count", resource.read, ours=resource.lists is not None)
    if Can.GET in resource.can:
        yield Step("GET", one, resource.read, True)
        properties = edm(version).structured(resource.type).properties
        yield Step("GET", f"{one}/{'id' if 'id' in properties else next(iter(properties))}", resource.read, True)
    if Can.CREATE in resource.can:
        yield Step("POST", root, resource.create, body={})
    if Can.PATCH in resource.can:
        yield Step("PATCH", one, resource.write, True, body={})
    if Can.DELETE in resource.can:
        yield Step("DELETE", one, resource.delete, True)
    for action in resource.actions.values():
        if version in action.versions:
            path = f"{root if action.on_set else one}/{action.name}" + ("(on='principal')" if action.mine else "")
            asks = any(kind.endswith("!") for kind in (action.parameters or {}).values())
            # Nothing is stored of a container: what its functions answer without being asked anything is the program's.
            ours = action.function and resource.singleton and not resource.can and not asks
            verb = "GET" if action.function else "POST"
            yield Step(verb, path, action.access, not action.on_set, {}, ours, action.mine)
    for navigation in resource.navigations.values():
        if version in navigation.versions:
            yield Step("GET", f"{one}/{navigation.name}", navigation.access, True)
            if navigation.link is not None:
                yield Step("POST", f"{one}/{navigation.name}/$ref", navigation.link, True, body={"@odata.id": "x"})


STEPS = [step for resource in RESOURCES for step in steps(resource)]


def test_there_are_steps() -> None:
    assert len(STEPS) > 150


async def test_no_token_no_scope_no_tenant(world: World) -> None:
    """401 without a token; 403 with every scope but the right ones, as application and as user; 404 or nothing for
    another tenant.
    """
    for each in collections():
        made = draft(each, {"id": "walked", "@odata.type": f"#{each.type}"}, "walked")
        await world.store.tenant(A).write(partial(put, made), actor="test")
    every = frozenset().union(*(set(s.access.application) | set(s.access.delegated) for s in STEPS))
    for step in STEPS:
        await world.refused(step.method, step.path, step.body, by=None, status=401)
        world.known["lacking"] = Caller(A, "x", "X", permissions=every - set(step.access.application))
        await world.refused(step.method, step.path, step.body, by="lacking", status=403)
        world.known["lacking"] = Caller(A, "x", "X", "u", "u@x", "U", every - set(step.access.delegated))
        await world.refused(step.method, step.path, step.body, by="lacking", status=403)
        answer = await world.call(step.method, step.path, step.body, by="other", consistencylevel="eventual")
        if step.method == "POST" and answer.status_code == 201:  # what takes an empty body: of that tenant, and gone
            assert (await world.call("DELETE", f"{step.path}/{answer.json()['id']}", by="other")).status_code == 204
        if "transitiveRoleAssignments" in step.path and step.ours:
            assert answer.status_code == 400, step  # it wants a principal
        elif step.mine:
            assert answer.status_code == 400 and "delegated" in answer.text, step
        elif step.ours:
            assert answer.status_code == 200, step
        elif step.method == "GET" and not step.shared:
            assert answer.json() in (0,) if step.path.endswith("$count") else answer.json().get("value") == [], step
        elif step.shared:
            assert answer.status_code in (400, 404, 501), f"{step}: {answer.status_code} {answer.text}"


def put(made: Draft, tx: Tx) -> None:
    tx.put(made)


async def test_roles(world: World) -> None:
    """A reader reads, an operator changes, an administrator creates."""
    _, delegated = (await world.get("/v1.0/users"), world.known["reader"].permissions)
    assert delegated
    await world.post("/v1.0/security/alerts_v2", {"id": "a", "title": "t"}, by="analyst")
    for by in ("reader", "operator"):
        await world.refused(
            "POST", "/v1.0/security/alerts_v2", {"id": "b", "title": "t"}, by=by, status=403, says="role"
        )
    await world.refused("PATCH", "/v1.0/security/alerts_v2/a", {"status": "resolved"}, by="reader", status=403)
    await world.patch("/v1.0/security/alerts_v2/a", {"status": "resolved"}, by="operator")
    assert (await world.get("/v1.0/security/alerts_v2/a", by="reader"))["status"] == "resolved"
