"""Values that do not fit, sent to every set that takes any: each is refused precisely in Graph's envelope, or taken as
what it may mean; nothing is an internal error."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.api.conftest import World

from bartizan import api
from bartizan.extend import RESOURCES, Can, Resource
from bartizan.model.edm import Version, edm
from bartizan.model.schema import Property

api.load()
pytestmark = pytest.mark.anyio

TAKING = [each for each in RESOURCES if Can.CREATE in each.can]
CHANGING = [each for each in RESOURCES if (Can.PATCH | Can.PUT) & each.can]
ACTING = [each for each in RESOURCES if any(not action.function for action in each.actions.values())]
LISTING = [each for each in RESOURCES if Can.LIST in each.can]
_GOOD: dict[str, Any] = {
    "Edm.Boolean": True,
    "Edm.DateTimeOffset": "2026-11-01T00:00:00Z",
    "Edm.Guid": "11111111-1111-4111-8111-111111111111",
    "Edm.String": "x",
}
_LONG = "x" * 100_000

# Bodies that are not the JSON of an object of anything.
_ANYTHING: tuple[Any, ...] = (None, "x", 7, [], [None], [[]], {"a": 1}, _LONG)
BODIES: dict[str, bytes] = {
    "nothing": b"",
    "null": b"null",
    "text": b'"x"',
    "number": b"7",
    "cut": b'{"id":',
    "empty-list": b"[]",
    "list-of-null": b"[null]",
    "list-of-lists": b"[[]]",
    "deep": b'{"a":' * 400 + b"1" + b"}" * 400,
    "deep-list": b"[" * 400 + b"]" * 400,
    "not-a-number": b'{"id":NaN}',
    "huge-number": b'{"id":1e999}',
    "surrogate": b'{"id":"\\ud800"}',
    "no-utf8": b'{"id":"\xff"}',
}


def _name(resource: Resource) -> str:
    return f"{resource.path}-{resource.versions[0]}"


def _precise(answer: httpx.Response, sent: str) -> None:
    """Success, or a refusal that a client can read. 501 is what is known and not served."""
    if answer.is_success:
        return
    assert 400 <= answer.status_code < 500 or answer.status_code == 501, f"{sent}\n{answer.status_code} {answer.text}"
    problem = answer.json()["error"]
    assert problem["code"] and problem["message"] and problem["innerError"]["request-id"], answer.text
    assert len(answer.content) < 4_000, f"{sent}: what was sent comes back at length"


def _wrong(version: Version, prop: Property) -> Iterator[Any]:
    """Values that a property of this type cannot have."""
    enum = edm(version).enum(prop.type)
    if prop.collection:
        yield from ([None], "x", {"a": 1}, [[]])
    elif enum is not None:
        yield from ("noSuchMember", 7, {"a": 1}, ["x"])
    elif prop.type == "Edm.String":
        yield from ({"a": 1}, ["x"], _LONG)
    elif prop.type in ("Edm.Int16", "Edm.Int32", "Edm.Int64", "Edm.Double"):
        yield from ("x", 2**70, True, [])
    elif prop.type == "Edm.Boolean":
        yield from ("perhaps", 2, [])
    elif prop.type.startswith("Edm."):
        yield from ("x", -1, {"a": 1})
    else:
        yield from ("x", 7, [], {"@odata.type": "#microsoft.graph.noSuchType"})


def _least(resource: Resource) -> dict[str, Any]:
    """An object with what the set requires."""
    kind = edm(resource.versions[0]).structured(resource.type)
    return {name: _GOOD.get(kind.properties[name].type, "x") for name in resource.required if name in kind.properties}


@pytest.mark.parametrize("resource", TAKING, ids=_name)
async def test_new_objects(world: World, resource: Resource) -> None:
    """Each property with each value that it cannot have, and twice over what is no object."""
    version, path = resource.versions[0], f"/{resource.versions[0]}/{resource.path}"
    least = _least(resource)
    for name, body in BODIES.items():
        answer = await world.call("POST", path, body)
        assert answer.status_code == 400, f"{path} {name}: {answer.text}"
        _precise(answer, name)
    for name, prop in edm(version).structured(resource.type).properties.items():
        for value in _wrong(version, prop):
            _precise(await world.call("POST", path, {**least, name: value}), f"{path} {name}={str(value)[:60]}")
    for more in ({"nope": 1}, {"@odata.type": "#microsoft.graph.noSuchType"}, {"id": _LONG}, {"ID": "a", "id": "b"}):
        _precise(await world.call("POST", path, {**least, **more}), f"{path} {str(more)[:60]}")
    twice = json.dumps({**least, "id": "twice"})[:-1].encode() + b',"id":"again"}'
    _precise(await world.call("POST", path, twice), f"{path}: a name twice")
    for kind in ("text/plain", "text/xml", "application/x-www-form-urlencoded", "application/json;charset=utf-16"):
        answer = await world.call("POST", path, b"<a/>", **{"content-type": kind})
        assert answer.status_code in (400, 415), f"{path} {kind}: {answer.text}"
        _precise(answer, kind)


@pytest.mark.parametrize("resource", CHANGING, ids=_name)
async def test_changes(world: World, resource: Resource) -> None:
    """Of an object that nobody has, and with tags that match nothing."""
    path = f"/{resource.versions[0]}/{resource.path}/nobody"
    for verb, flag in (("PATCH", Can.PATCH), ("PUT", Can.PUT)):
        if flag not in resource.can:
            continue
        for name, body in BODIES.items():
            _precise(await world.call(verb, path, body), f"{verb} {path} {name}")
        for tag in ("*", '"x"', 'W/"1", W/"2"', "x" * 3_000, '"'):
            answer = await world.call(verb, path, {}, **{"if-match": tag})
            _precise(answer, f"{verb} {path} if-match {tag[:20]}")


@pytest.mark.parametrize("resource", ACTING, ids=_name)
async def test_actions(world: World, resource: Resource) -> None:
    """With every parameter of a kind that it is not."""
    version = resource.versions[0]
    for action in resource.actions.values():
        if action.function:
            continue
        path = f"/{version}/{resource.path}" + ("" if action.on_set or resource.singleton else "/nobody")
        for name, body in BODIES.items():
            _precise(await world.call("POST", f"{path}/{action.name}", body), f"{action.name} {name}")
        for parameter in action.parameters or {}:
            for value in _ANYTHING:
                sent = f"{action.name} {parameter}={str(value)[:40]}"
                _precise(await world.call("POST", f"{path}/{action.name}", {parameter: value}), sent)


QUERIES = (
    "$filter=nope eq 'x'",
    "$filter=id eq 7",
    "$filter=id gt null",
    "$filter=id in ()",
    "$filter=id/any(a:a eq 'x')",
    "$filter=contains(id)",
    "$filter=id eq 'x' and",
    "$orderby=nope",
    "$orderby=id,id,id",
    "$select=nope",
    "$select=,",
    "$expand=nope",
    "$expand=*($select=id)",
    "$top=0",
    "$top=x",
    "$skip=-1",
    "$skip=100000",
    "$count=2",
    '$search="',
    "$skiptoken=x",
    "$nope=1",
    "$apply=aggregate($count as c)",
    "$levels=3",
)


@pytest.mark.parametrize("resource", LISTING, ids=_name)
async def test_queries(world: World, resource: Resource) -> None:
    path = f"/{resource.versions[0]}/{resource.path}"
    for query in QUERIES:
        for end in ("", "/$count" if "filter" in query or "search" in query else "/nobody"):
            _precise(
                await world.call("GET", f"{path}{end}?{query}", consistencylevel="eventual"), f"{path}{end} {query}"
            )


BATCHES: list[Any] = [
    {"requests": {}},
    {"requests": [{"id": 1.5, "method": "GET", "url": "/users"}]},
    {"requests": [{"id": True, "method": "GET", "url": "/users"}]},
    {"requests": [{"id": "1", "method": 7, "url": "/users"}]},
    {"requests": [{"id": "1", "method": "GET", "url": ["/users"]}]},
    {"requests": [{"id": "1", "method": "GET", "url": "/users", "headers": []}]},
    {"requests": [{"id": "1", "method": "GET", "url": "/users", "headers": {"a": 1}}]},
    {"requests": [{"id": "1", "method": "GET", "url": "/users", "dependsOn": "2"}]},
    {"requests": [{"id": "1", "method": "GET", "url": "/users", "dependsOn": [None]}]},
    {"requests": [{"id": "1", "method": "GET", "url": "/users", "dependsOn": ["1"]}]},
    {"requests": [{"id": "1", "method": "GET", "url": "//"}]},
    {"requests": [{"id": "1", "method": "GET", "url": "https://graph.microsoft.com/v1.0/users"}]},
    {"requests": [{"id": "a", "method": "GET", "url": "/users"}, {"id": "A", "method": "GET", "url": "/users"}]},
    {"requests": [{"id": "", "method": "GET", "url": "/users"}]},
    {"requests": [{"method": "GET", "url": "/users"}]},
]


@pytest.mark.parametrize("body", BATCHES, ids=lambda body: json.dumps(body["requests"])[:70])
async def test_batches(world: World, body: Any) -> None:
    """The batch as a whole is refused; nothing of it is done."""
    answer = await world.call("POST", "/v1.0/$batch", body)
    assert answer.status_code == 400, answer.text
    _precise(answer, str(body))


async def test_bodies_within_batches(world: World) -> None:
    """A part whose body does not fit its type fails alone."""
    bodies: list[Any] = [None, "x", "!!", 7, [], {"displayName": 7}, {"userPrincipalName": {"a": 1}}]
    headers = [
        {"Content-Type": "application/json"},
        {"content-type": "text/plain"},
        {"Content-Type": "image/png"},
        None,
    ]
    sent = [(body, head) for body in bodies for head in headers]
    for start in range(0, len(sent), 20):
        parts = [
            {"id": str(at), "method": "POST", "url": "/users", "body": body, "headers": head}
            for at, (body, head) in enumerate(sent[start : start + 20])
        ]
        answer = await world.call("POST", "/v1.0/$batch", {"requests": parts})
        if answer.status_code == 400:  # neither JSON nor base64: the batch itself cannot be read
            assert "base64" in answer.json()["error"]["message"], answer.text
            parts = [part for part in parts if not isinstance(part["body"], str)]
            answer = await world.call("POST", "/v1.0/$batch", {"requests": parts})
        assert answer.status_code == 200, answer.text
        for each in answer.json()["responses"]:
            assert each["status"] in (400, 415), each
            assert each["body"]["error"]["message"], each


async def test_names_that_come_twice(world: World) -> None:
    """An object says each thing once, at any depth and however it is spelt; texts may hold what looks like a name."""
    for body, says in (
        (b'{"displayName": "a", "displayName": "b"}', "property 'displayName' twice"),
        (b'{"displayName": "a", "extra": [{"x" :1,"x":2}]}', "property 'x' twice"),
        (b'{"displayName": "a", "DisplayName": "b"}', "given twice"),
    ):
        await world.refused("POST", "/v1.0/groups", body, status=400, says=says)
    assert (await world.get("/v1.0/groups"))["value"] == []
    named = await world.post("/v1.0/groups", b'{"displayName": "a", "description": "\\"displayName\\": \\"b\\":"}')
    assert named["description"] == '"displayName": "b":'
    path = "/v1.0/identityProtection/riskyUsers/dismiss"
    await world.refused("POST", path, {"userIds": ["a"], "UserIds": ["b"]}, status=400, says="twice")
    twice = {"id": "1", "method": "GET", "url": "/users", "Url": "/groups"}
    await world.refused("POST", "/v1.0/$batch", {"requests": [twice]}, status=400, says="twice")
    deep = b'{"displayName": "a", "extra": %b1%b}' % (b'{"a":' * 62, b"}" * 62)
    assert "64 levels" not in (await world.call("POST", "/v1.0/groups", deep)).text
    await world.refused("POST", "/v1.0/groups", deep.replace(b"1", b"[[]]"), status=400, says="64 levels")
