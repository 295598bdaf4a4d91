"""What holds for every request: ids, errors, methods, bodies, compression, bounds."""

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.conftest import A, World

from bartizan.api.wire.graph import Bounds
from bartizan.api.wire.limits import GRAPH, Limit, limits_of
from bartizan.settings import RATE_AREAS, BadSettings, load

pytestmark = pytest.mark.anyio
ALERTS = "/v1.0/security/alerts_v2"


async def test_ids_are_echoed(world: World) -> None:
    """request-id is ours; client-request-id is the client's, or ours if it is not fit to be echoed."""
    answer = await world.call("GET", ALERTS, client_request_id="abc-1")
    assert answer.headers["client-request-id"] == "abc-1"
    assert len(answer.headers["request-id"]) == 36
    for unfit in ("x" * 129, "a\tb"):
        answer = await world.call("GET", ALERTS, client_request_id=unfit)
        assert answer.headers["client-request-id"] == answer.headers["request-id"]
    assert answer.headers["date"].endswith("GMT")


@pytest.mark.parametrize(
    ("method", "path", "by", "status", "code"),
    [
        ("GET", ALERTS, None, 401, "InvalidAuthenticationToken"),
        ("GET", ALERTS, "none", 403, "Forbidden"),
        ("GET", "/v1.0/nope", "admin", 404, "BadRequest"),
        ("GET", f"{ALERTS}/nope", "admin", 404, "ResourceNotFound"),
        ("PUT", f"{ALERTS}/nope", "admin", 405, "MethodNotAllowed"),
        ("GET", f"{ALERTS}?$filter=(", "admin", 400, "BadRequest"),
        ("POST", ALERTS, "admin", 400, "BadRequest"),
        ("GET", "/v1.0/security/collaboration/analyzedEmails", "admin", 501, "NotImplemented"),
    ],
)
async def test_errors_have_one_shape(
    world: World, method: str, path: str, by: str | None, status: int, code: str
) -> None:
    answer = await world.call(method, path, by=by, client_request_id="mine")
    assert answer.status_code == status
    problem = answer.json()["error"]
    assert problem["code"] == code
    assert problem["message"]
    assert problem["innerError"] == {
        "date": "2026-11-23T04:50:30",
        "request-id": answer.headers["request-id"],
        "client-request-id": "mine",
    }


async def test_unknown_segment_is_named(world: World) -> None:
    for path, segment in {
        "/v1.0/security/nope/x": "nope",
        "/v1.0/security": "security",
        f"{ALERTS}/x/y": "y",
        f"{ALERTS}/$count/x": "x",
        "/v1.0/%ff": "",
    }.items():
        problem = (await world.call("GET", path)).json()["error"]
        assert segment in problem["message"], problem


async def test_head_and_options(world: World) -> None:
    """HEAD is GET without the body; OPTIONS names the verbs."""
    get, head = await world.call("GET", ALERTS), await world.call("HEAD", ALERTS)
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == get.headers["content-length"]
    options = await world.call("OPTIONS", ALERTS)
    assert (options.status_code, options.headers["allow"]) == (204, "GET, POST, HEAD, OPTIONS")


@pytest.mark.parametrize(
    ("accept", "json", "text"),
    [
        ("application/json", 200, 200),
        ("application/json;odata.metadata=none", 200, 200),
        ("text/html, application/json;q=0.5", 200, 200),
        ("*/*", 200, 200),
        ("text/html, image/gif, *; q=.2", 200, 200),
        ("application/*", 200, 200),
        ("", 200, 200),
        ("text/plain", 406, 200),
        ("text/*", 406, 200),
        ("application/xml", 406, 406),
        ("application/json;q=0", 406, 406),
        ("text/html,application/xhtml+xml", 406, 406),
    ],
)
async def test_accept(world: World, accept: str, json: int, text: int) -> None:
    """406, in JSON, where the client takes nothing that we could answer; nothing is changed then."""
    answer = await world.call("GET", ALERTS, accept=accept)
    assert answer.status_code == json
    assert (await world.call("GET", f"{ALERTS}/$count", accept=accept)).status_code == text
    if json == 406:
        assert answer.json()["error"]["code"] == "NotAcceptable"
        await world.refused("POST", ALERTS, {"title": "T"}, accept=accept, status=406)
        assert await world.every(ALERTS) == []


async def test_without_metadata(world: World) -> None:
    """Links and count stay; what takes documents with metadata too gets these."""
    for number in range(3):
        await world.post("/v1.0/groups", {"id": f"g{number}", "displayName": f"Group {number}"})
    link = {"@odata.id": "https://graph.microsoft.com/v1.0/directoryObjects/g1"}
    await world.call("POST", "/v1.0/groups/g0/members/$ref", link)
    path, bare = "/v1.0/groups?$top=2&$count=true&$select=id", "application/json;odata.metadata=none"
    answer = await world.call("GET", path, accept=bare, consistencylevel="eventual")
    assert "odata.metadata=none" in answer.headers["content-type"]
    body = answer.json()
    assert (body.keys(), body["value"]) == (
        {"@odata.count", "@odata.nextLink", "value"}, [{"id": "g0"}, {"id": "g1"}],
    )  # fmt: skip
    one = await world.get("/v1.0/groups/g0", accept="application/json; odata.metadata=None")
    assert one["displayName"] == "Group 0" and not any(name.startswith("@") for name in one)
    assert (await world.get("/v1.0/groups/g0/members/$ref", accept=bare))["value"][0]["@odata.id"]
    (member,) = (await world.get("/v1.0/groups/g0/members", accept=bare))["value"]
    assert member["id"] == "g1" and "@odata.type" not in member
    both = f"{bare};q=0.5,application/json;odata.metadata=minimal"
    assert "@odata.context" in await world.get("/v1.0/groups/g0", accept=both)
    await world.refused("GET", "/v1.0/groups/none", status=404, accept=bare)
    assert (await world.call("GET", "/v1.0/groups/$count", accept="*/*", consistencylevel="eventual")).text == "3"


async def test_bodies(world: World) -> None:
    """Not JSON, too deep, of another type, in another coding: 4xx that says so; no Content-Type is fine."""
    await world.refused("POST", ALERTS, b"{", status=400, says="JSON")
    await world.refused("POST", ALERTS, b"[" * 100_000, status=400, says="JSON")
    await world.refused("POST", ALERTS, b'{"title":' + b"[" * 70 + b"]" * 70 + b"}", status=400, says="deeper")
    await world.refused("POST", ALERTS, b"a=b", status=415, content_type="application/x-www-form-urlencoded")
    await world.refused("POST", ALERTS, b"{}", status=415, content_encoding="br")
    await world.refused("POST", ALERTS, b'{"title":"\xff"}', status=400)
    answer = await world.http.post(
        ALERTS, content=b'\xef\xbb\xbf{"title":"x"}', headers={"authorization": "Bearer admin"}
    )
    assert answer.status_code == 201


async def test_gzip_both_ways(world: World) -> None:
    """Compressed bodies are read, large answers are compressed where that is accepted."""
    body = gzip.compress(json.dumps([{"title": f"t{n}"} for n in range(5)]).encode())
    assert (await world.call("POST", ALERTS, body, content_encoding="gzip")).status_code == 201
    await world.refused("POST", ALERTS, body[:40], status=400, content_encoding="gzip")
    await world.refused("POST", ALERTS, b"{}", status=400, content_encoding="gzip")
    packed = await world.call("GET", ALERTS, accept_encoding="gzip")
    plain = await world.call("GET", ALERTS, accept_encoding="gzip;q=0, identity")
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json()


class TestSmallBounds:
    @pytest.fixture
    def bounds(self) -> Bounds:
        return Bounds(body_bytes=1000)

    async def test_large_bodies_are_refused(self, world: World) -> None:
        """413 by Content-Length, by what arrives, and by what it inflates to."""
        await world.refused("POST", ALERTS, b'"' + b"x" * 1000 + b'"', status=413)
        bomb = gzip.compress(b" " * 10_000_000)[:900]
        await world.refused("POST", ALERTS, bomb, status=413, content_encoding="gzip")


class TestLimits:
    @pytest.fixture
    def limits(self) -> dict[str, Limit]:
        return {"alert": Limit(3, 60)}

    async def test_too_many_requests(self, world: World) -> None:
        """429 with Retry-After for this application and tenant alone, inside a batch too."""
        for _ in range(3):
            await world.get(ALERTS)
        answer = await world.call("GET", ALERTS)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 21
        await world.get(ALERTS, by="other")
        await world.get("/v1.0/users")
        batch = await world.post(
            "/v1.0/$batch", {"requests": [{"id": "1", "method": "GET", "url": "/security/alerts_v2"}]}
        )
        assert batch["responses"][0]["status"] == 429
        assert "Retry-After" in batch["responses"][0]["headers"]


def test_limits_of_the_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off unless asked for; Graph's own; one's own, also beside Graph's. What is none stops the start."""
    assert set(RATE_AREAS.split()) == GRAPH.keys()
    assert limits_of(load(str(tmp_path)).rate_limits) == {}
    for text, wanted in {
        "graph": GRAPH,
        "off": {},
        "alert=600/60": {"alert": Limit(600, 60)},
        "graph,identityProtection=5/2": {**GRAPH, "identityProtection": Limit(5, 2, "tenant")},
    }.items():
        monkeypatch.setenv("BARTIZAN_RATE_LIMITS", text)
        assert limits_of(load(str(tmp_path)).rate_limits) == wanted
    for text in ("on", "alert=0/1", "alert=5", "nothing=5/5", "graph,"):
        monkeypatch.setenv("BARTIZAN_RATE_LIMITS", text)
        with pytest.raises(BadSettings, match="rate_limits"):
            load(str(tmp_path))


async def test_unexpected_errors_tell_nothing(world: World) -> None:
    """500 with the ids, without what broke."""

    class Broken(Exception):
        pass

    def broken(path: str) -> None:
        raise Broken("secret")

    world.graph.router.resolve = broken  # type: ignore[assignment]
    answer = await world.call("GET", ALERTS)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert answer.json()["error"]["innerError"]["request-id"] == answer.headers["request-id"]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.lists(
        st.one_of(
            st.sampled_from(
                [
                    "security",
                    "alerts_v2",
                    "alerts",
                    "users",
                    "me",
                    "$count",
                    "$ref",
                    "$value",
                    "a('b')",
                    "users('x')",
                    "%2f",
                ]
            ),
            st.text(max_size=12),
        ),
        max_size=6,
    ),
    query=st.text(max_size=40),
)
async def test_no_path_breaks_the_server(world: World, path: list[str], query: str) -> None:
    """Whatever the address, the answer is not an internal error."""
    from urllib.parse import quote

    raw = "/v1.0/" + "/".join(quote(each, safe="$()'=%") for each in path) + "?" + quote(query, safe="$=&'()")
    answer = await world.call("GET", raw)
    assert answer.status_code in (200, 204, 400, 404, 405, 501), (raw, answer.text)


async def test_store_is_of_the_caller(world: World) -> None:
    """What one tenant stores is in its own store."""
    await world.post(ALERTS, {"id": "x", "title": "t"})
    assert await world.store.tenant(A).get("alerts_v2", "x") is not None
