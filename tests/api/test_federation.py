"""Reads of alerts that ask connected systems live: merged with what is stored, within a limit, with consent alone."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import structlog
from msgspec import Struct
from msgspec.structs import replace
from structlog.testing import capture_logs
from tests.api.conftest import A, World

from bartizan.api.wire.federate import Federation
from bartizan.auth import audit
from bartizan.auth.accounts import PROVIDERS, Accounts
from bartizan.extend import SOURCES
from bartizan.extend.connections import Connection, Connections
from bartizan.extend.connectors import CONNECTORS, Away, Connector, ConnectorError, Denied, Pulled, Read, Rejected
from bartizan.ingest.pipeline import Pipeline
from bartizan.respond.queue import WRITE_BACKS
from bartizan.store import draft

pytestmark = pytest.mark.anyio
V2, OLD = "/v1.0/security/alerts_v2", "/v1.0/security/alerts"


class Nothing(Struct, frozen=True):
    """No settings."""


class Double:
    """What the systems of a test hold, how they fail, and what they were asked."""

    def __init__(self) -> None:
        self.alerts: dict[str, list[dict[str, Any]]] = {}
        self.problem: dict[str, ConnectorError | Exception] = {}
        self.slow: set[str] = set()
        self.asked: list[tuple[str, Read]] = []
        self.raws: dict[str, list[bytes]] = {}
        self.now = 0.0


def system(double: Double, name: str) -> type[Connector]:
    class System(Connector):
        vendor, product, doc, settings, reads = "Contoso", name.upper(), "A system of a test.", Nothing, True

        async def read(self, asked: Read) -> Sequence[Pulled]:
            double.asked.append((name, asked))
            if name in double.slow:
                await asyncio.sleep(3600)
            if name in double.problem:
                raise double.problem[name]
            rows = sorted(double.alerts.get(name, []), key=lambda each: str(each["createdDateTime"]), reverse=True)
            if asked.id is not None:
                rows = [each for each in rows if each["id"] == asked.id]
            at = "createdDateTime"
            rows = [each for each in rows if (asked.since or "") <= wide(each[at]) <= (asked.until or "9")]
            raws = [json.dumps(each).encode() for each in rows[: asked.top]]
            return [Pulled("graph_security_alert_v2", raw) for raw in [*raws, *double.raws.get(name, [])]]

    System.name = name
    CONNECTORS[name] = System
    return System


def wide(at: Any) -> str:
    return f"{str(at).removesuffix('Z')}.0000000Z"


def alert(id: str, hour: int, **more: Any) -> dict[str, Any]:
    at = f"2026-11-20T{hour:02}:00:00Z"
    return {
        "@odata.type": "#microsoft.graph.security.alert",
        "id": id,
        "title": f"live {id}",
        "severity": "medium",
        "status": "new",
        "serviceSource": "microsoftDefenderForEndpoint",
        "createdDateTime": at,
        "lastUpdateDateTime": at,
        **more,
    }


@pytest.fixture
async def double(world: World) -> AsyncIterator[Double]:
    """Two systems, "one" and "two", that are federated and that App A may ask."""
    made = Double()
    connections = world.graph.parts[Connections]
    for name in ("one", "two"):
        system(made, name)
        await connections.set(A, Connection(id=name, connector=name, federate=True), {}, actor="operator", new=True)
    await consent(world, "one", "two")
    parts = {**world.graph.parts, Federation: Federation(connections, limit_s=20.0)}
    world.graph.parts = parts
    yield made
    for name in ("one", "two"):
        CONNECTORS.pop(name)


async def consent(world: World, *connections: str, how: Any = "replace", app: str = "app-a") -> None:
    await Accounts(world.store).grant(A, app, PROVIDERS, connections, actor=audit.OPERATOR, how=how)


def titles(page: dict[str, Any]) -> list[str]:
    return [each["title"] for each in page["value"]]


async def stored(world: World, *titles: str) -> list[dict[str, Any]]:
    return [await world.post(V2, {"title": title, "severity": "high"}) for title in titles]


# ---------------------------------------------------------------- lists


async def test_live_and_stored_alerts_are_one_list(world: World, double: Double) -> None:
    await stored(world, "stored")
    double.alerts = {"one": [alert("a", 1), alert("c", 3)], "two": [alert("b", 2)]}
    page = await world.get(V2)
    assert titles(page) == ["stored", "live c", "live b", "live a"]
    old = await world.get(OLD)
    assert titles(old) == ["stored", "live c", "live b", "live a"]
    assert [each["id"] for each in old["value"]] == [each["id"] for each in page["value"]]
    live = page["value"][1]
    assert (live["createdDateTime"], live["providerAlertId"], live["tenantId"]) == (
        "2026-11-20T03:00:00.0000000Z",
        "c",
        A,
    )
    assert live["@odata.etag"].startswith('W/"')
    assert await world.store.tenant(A).count("alerts_v2") == 1
    chosen = await world.get(f"{V2}?$select=title&$top=2&$count=true")
    assert (titles(chosen), chosen["@odata.count"], set(chosen["value"][1]) & {"severity"}) == (
        ["stored", "live c"],
        4,
        set(),
    )


async def test_what_is_stored_is_answered_as_it_is_stored(world: World, double: Double) -> None:
    """The id is derived alike, so that an alert is never there twice."""
    double.alerts = {"one": [alert("a", 1)], "two": [alert("a", 1)]}
    (live,) = (await world.get(V2))["value"]

    class Sink:
        async def append(self, tenant: str, rows: Any, *, once: str) -> None: ...
        async def forget(self, tenant: str, stage: str) -> None: ...

    pipeline = Pipeline(world.store, Sink())
    raw = json.dumps(alert("a", 1)).encode()
    receipt = await pipeline.take(A, SOURCES["graph_security_alert_v2"], [raw], actor="x")
    assert receipt.ids == [live["id"]]
    await world.patch(f"{V2}/{live['id']}", {"status": "resolved"})
    double.alerts["one"] = [alert("a", 1, lastUpdateDateTime="2026-11-21T00:00:00Z")]
    (kept,) = (await world.get(V2))["value"]
    assert (kept["id"], kept["status"]) == (live["id"], "resolved")
    assert (await world.get(f"{V2}?$filter=status eq 'new'"))["value"] == []
    assert (await world.get(f"{V2}/a"))["status"] == "resolved"


async def test_a_live_alert_has_no_marks_of_this_server(world: World, double: Double) -> None:
    double.alerts = {"one": [alert("a", 1, additionalData={"suppressionId": "x", "lane": "y"})]}
    (live,) = (await world.get(V2))["value"]
    assert "suppressionId" not in live["additionalData"] and live["additionalData"]["lane"] == "y"


async def test_the_newest_version_of_two_is_shown(world: World, double: Double) -> None:
    later = alert("a", 1, title="later", lastUpdateDateTime="2026-11-21T00:00:00Z")
    double.alerts = {"one": [later], "two": [alert("a", 1)]}
    assert titles(await world.get(V2)) == ["later"]


async def test_the_same_filter_and_order_hold_for_both(world: World, double: Double) -> None:
    await stored(world, "high one")
    double.alerts = {"one": [alert("a", 1, severity="high"), alert("b", 2, severity="low")], "two": [alert("c", 3)]}
    assert titles(await world.get(f"{V2}?$filter=severity eq 'high'")) == ["high one", "live a"]
    assert titles(await world.get(f"{OLD}?$filter=severity eq 'high'")) == ["high one", "live a"]
    assert titles(await world.get(f'{V2}?$search="live"&$orderby=title desc')) == ["live c", "live b", "live a"]
    assert titles(await world.get(f"{V2}?$orderby=severity,title")) == ["high one", "live a", "live b", "live c"]
    within = "createdDateTime ge 2026-11-20T02:00:00Z and createdDateTime lt 2026-11-20T03:00:00Z"
    assert titles(await world.get(f"{V2}?$filter={within}")) == ["live b"]
    assert double.asked[-1][1] == Read(
        since="2026-11-20T02:00:00.0000000Z", until="2026-11-20T03:00:00.0000000Z", top=150
    )
    problem = await world.refused("GET", f"{V2}?$filter=nothing eq 1", status=400)
    assert "nothing" in problem["message"]


async def test_what_is_expanded_stands_in_both(world: World, double: Double) -> None:
    """As it does where nothing is federated; a live alert has none."""
    (mine,) = await stored(world, "mine")
    row = draft(WRITE_BACKS, {"subject": "alert", "subjectId": mine["id"], "state": "waiting"}, "one")
    await world.store.tenant(A).write(lambda tx: tx.put(row), actor="test")
    double.alerts["one"] = [alert("a", 1)]
    page = await world.get("/beta/security/alerts_v2?$expand=writeBacks")
    assert [(each["title"], [one["id"] for one in each["writeBacks"]]) for each in page["value"]] == [
        ("mine", ["one"]),
        ("live a", []),
    ]


@pytest.mark.parametrize(
    "query",
    [
        "$top=3",
        "$top=2&$orderby=severity desc",
        "$top=3&$orderby=createdDateTime",
        "$top=2&$orderby=assignedTo,title desc",
        "$top=4&$skip=3",
        "$top=3&$filter=severity ne 'low'",
    ],
)
async def test_pages_hold_each_alert_once_in_one_order(world: World, double: Double, query: str) -> None:
    await stored(world, *(f"stored {number}" for number in range(5)))
    kinds = ["low", "medium", "high"]
    double.alerts = {
        "one": [alert(f"a{hour}", hour, severity=kinds[hour % 3], assignedTo=None) for hour in range(8)],
        "two": [alert(f"b{hour}", hour, severity=kinds[hour % 2], assignedTo="bob") for hour in range(4)],
    }
    whole = await world.get(f"{V2}?{re.sub('top=[0-9]', 'top=100', query)}")
    found = await world.every(f"{V2}?{query}")
    assert [each["id"] for each in found] == [each["id"] for each in whole["value"]]
    assert len({each["id"] for each in found}) == len(found)
    assert "@odata.nextLink" not in whole


async def test_a_list_goes_on_as_it_began(world: World, double: Double) -> None:
    await stored(world, "s1", "s2", "s3")
    double.alerts = {"one": [alert("a", 1)]}
    connections = world.graph.parts[Connections]
    first = await world.get(f"{V2}?$top=2")
    for name in ("one", "two"):
        await connections.set(A, Connection(id=name, connector=name), {}, actor="operator", new=False)
    forget(world)
    rest = await world.get(first["@odata.nextLink"])
    assert (titles(first), titles(rest)) == (["s3", "s2"], ["s1"])
    first = await world.get(f"{V2}?$top=2")
    await connections.set(A, Connection(id="one", connector="one", federate=True), {}, actor="operator", new=False)
    forget(world)
    assert titles(await world.get(first["@odata.nextLink"])) == ["s1"]
    assert titles(await world.get(V2)) == ["s3", "s2", "s1", "live a"]
    link = (await world.get(f"{V2}?$top=2"))["@odata.nextLink"]
    await world.refused("GET", link.replace("live.", ""), status=400, says="not valid")


def forget(world: World, limit_s: float = 20.0) -> None:
    """The time after which the connections are looked at again."""
    connections = world.graph.parts[Connections]
    federation = Federation(connections, limit_s=limit_s)
    world.graph.parts = {**world.graph.parts, Federation: federation}


async def test_skip_is_bounded(world: World, double: Double) -> None:
    await world.refused("GET", f"{V2}?$skip=1001", status=400, says="follow nextLink")


async def test_a_provider_with_more_than_was_looked_at_is_told(world: World, double: Double) -> None:
    """Only where the page might be another: what is older than its last row changes nothing."""
    double.alerts = {"one": [alert(f"a{hour}", hour) for hour in range(9)]}
    assert (await world.call("GET", f"{V2}?$top=3")).status_code == 200
    double.alerts["one"] = [alert(f"a{number}", 1) | {"createdDateTime": at(number)} for number in range(1_001)]
    answer = await world.call("GET", f"{V2}?$top=3&$orderby=title")
    assert (answer.status_code, warned(answer)) == (206, ["Contoso/ONE/413"])
    answer = await world.call("GET", f"{V2}?$top=3&$count=true")
    assert (answer.status_code, warned(answer)) == (206, ["Contoso/ONE/413"])
    assert titles(await world.get(f"{V2}?$top=3")) == ["live a1000", "live a999", "live a998"]
    double.alerts["one"] = [alert(f"a{number}", 1) for number in range(80)]  # all of one instant
    answer = await world.call("GET", f"{V2}?$top=3")
    assert (answer.status_code, warned(answer)) == (206, ["Contoso/ONE/413"])


async def test_pages_by_time_reach_all_that_a_provider_has(world: World, double: Double) -> None:
    double.alerts = {
        "one": [alert(f"a{number}", 1) | {"createdDateTime": at(number // 3)} for number in range(200)],
        "two": [alert(f"b{number}", 1) | {"createdDateTime": at(number)} for number in range(90)],
    }
    await stored(world, "s1", "s2")
    found = await world.every(f"{V2}?$top=25")
    assert len(found) == len({each["id"] for each in found}) == 292
    times = [each["createdDateTime"] for each in found]
    assert times == sorted(times, reverse=True)


def at(number: int) -> str:
    return f"2026-11-20T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z"


# ---------------------------------------------------------------- what fails


def warned(answer: Any) -> list[str]:
    """Vendor/Provider/Status of each entry; the latency is a number."""
    found = []
    for entry in answer.headers["warning"].split(", "):
        code, _, text = entry.partition(" - ")
        vendor, provider, status, ms = text.strip('"').split("/")
        assert (code, ms.isdigit()) == ("199", True)
        found.append(f"{vendor}/{provider}/{status}")
    return found


@pytest.mark.parametrize(
    ("problem", "status"),
    [
        (Away("away"), 503),
        (Away("busy", status=429), 429),
        (Denied("no", status=401), 403),
        (Rejected("bad"), 500),
        (Rejected("gone", status=410), 410),
        (ValueError("a fault"), 500),
    ],
)
async def test_who_fails_is_listed_beside_what_the_others_gave(
    world: World, double: Double, problem: Exception, status: int
) -> None:
    double.alerts = {"one": [alert("a", 1)]}
    double.problem["two"] = problem
    answer = await world.call("GET", V2)
    assert (answer.status_code, warned(answer)) == (206, [f"Contoso/TWO/{status}"])
    assert titles(answer.json()) == ["live a"]


async def test_who_does_not_answer_in_time_is_504(world: World, double: Double) -> None:
    double.alerts = {"one": [alert("a", 1)]}
    double.slow = {"two"}
    forget(world, 0.2)
    answer = await world.call("GET", OLD)
    assert (answer.status_code, warned(answer)) == (206, ["Contoso/TWO/504"])
    assert titles(answer.json()) == ["live a"]
    double.slow = {"one", "two"}
    answer = await world.call("GET", OLD)
    assert (answer.status_code, warned(answer)) == (206, ["Contoso/ONE/504", "Contoso/TWO/504"])
    assert answer.json()["value"] == []


async def test_not_mine_is_no_failure(world: World, double: Double) -> None:
    double.problem = {"one": Rejected("not here", status=404), "two": Rejected("not here", status=404)}
    assert (await world.call("GET", V2)).status_code == 200


async def test_an_alert_that_cannot_be_read_is_told(world: World, double: Double) -> None:
    double.alerts = {"one": [alert("a", 1)]}
    for raw in (b"\xff", b"[]", json.dumps({"value": [alert("x", 1)] * 1_001}).encode()):
        double.raws = {"one": [raw]}
        answer = await world.call("GET", V2)
        assert (warned(answer), titles(answer.json())) == (["Contoso/ONE/500"], ["live a"])


async def test_consent_is_of_an_application_and_a_provider(world: World, double: Double) -> None:
    double.alerts = {"one": [alert("a", 1)], "two": [alert("b", 2)]}
    await consent(world, "two", how="withdraw")
    answer = await world.call("GET", V2)
    assert (answer.status_code, warned(answer), titles(answer.json())) == (206, ["Contoso/TWO/403"], ["live a"])
    answer = await world.call("GET", V2, by="second")
    assert (warned(answer), titles(answer.json())) == (["Contoso/ONE/403", "Contoso/TWO/403"], [])
    assert {name for name, _ in double.asked} == {"one"}
    assert titles(await world.get(V2, by="other")) == []
    assert await world.refused("GET", V2, by="none", status=403)


async def test_a_tenant_can_switch_a_provider_off(world: World, double: Double) -> None:
    double.alerts = {"one": [alert("a", 1)], "two": [alert("b", 2)]}
    setting = {"vendor": "contoso", "provider": "Two", "enabled": False}
    await world.post("/beta/security/providerTenantSettings", setting)
    assert titles(await world.get(V2)) == ["live a"]


async def test_what_is_not_federated_is_not_asked(world: World, double: Double) -> None:
    connections = world.graph.parts[Connections]
    await stored(world, "s")
    for made in (Connection(id="one", connector="one"), Connection(id="two", connector="two", enabled=False)):
        await connections.set(A, replace(made, federate=not made.enabled), {}, actor="operator", new=False)
    assert titles(await world.get(V2)) == ["s"]
    federation = world.graph.parts[Federation]
    assert federation.off(A)
    assert double.asked == []


# ---------------------------------------------------------------- one alert


async def test_one_alert_by_its_id_here_or_there(world: World, double: Double) -> None:
    double.alerts = {"one": [alert("a", 1)], "two": [alert("b", 2)]}
    live = (await world.get(V2))["value"][0]
    forget(world)  # another process has not answered it yet
    for face in (V2, OLD, "/beta/security/alerts_v2"):
        for key in (live["id"], "b"):
            found = await world.get(f"{face}/{key}")
            assert (found["id"], found["title"]) == (live["id"], "live b")
    answer = await world.call("GET", f"{V2}/{live['id']}?$select=title")
    assert answer.headers["etag"] == answer.json()["@odata.etag"]
    assert (await world.call("GET", f"{V2}/b", If_None_Match=answer.headers["etag"])).status_code == 304
    double.asked.clear()
    await world.get(f"{V2}/{live['id']}")
    assert ("two", Read(id="b", top=1)) in double.asked


async def test_found_with_one_is_200_and_with_none_404_that_says_who_failed(world: World, double: Double) -> None:
    double.alerts = {"one": [alert("a", 1)]}
    double.problem["two"] = Away("away", status=502)
    answer = await world.call("GET", f"{V2}/a")
    assert (answer.status_code, "warning" in answer.headers) == (200, False)
    answer = await world.call("GET", f"{V2}/nobody")
    assert (answer.status_code, warned(answer)) == (404, ["Contoso/TWO/502"])
    double.problem.clear()
    answer = await world.call("GET", f"{V2}/nobody")
    assert (answer.status_code, "warning" in answer.headers) == (404, False)


async def test_what_is_stored_asks_nobody(world: World, double: Double) -> None:
    (made,) = await stored(world, "s")
    assert (await world.get(f"{V2}/{made['id']}"))["title"] == "s"
    assert double.asked == []
    await world.refused("PATCH", f"{V2}/nobody", {"status": "resolved"}, status=404)


async def test_batches_carry_the_warning(world: World, double: Double) -> None:
    double.problem["one"] = Away("away")
    body = {"requests": [{"id": "1", "method": "GET", "url": "/security/alerts_v2"}]}
    (inside,) = (await world.post("/v1.0/$batch", body))["responses"]
    assert inside["status"] == 206
    assert "Contoso/ONE/503" in {name.lower(): value for name, value in inside["headers"].items()}["warning"]


def test_names_of_providers_cannot_break_the_header() -> None:
    from bartizan.api.wire.federate import Failed, warning

    assert str(Failed('A"/b', "p\r\nx: y,z", 504, 7)) == '199 - "A__b/p__x: y_z/504/7"'
    many = warning([Failed("v", "p", 500)] * 60)
    assert len(many.split(", ")) == 51
    assert many.endswith('199 - "Bartizan/and 10 more/500/0"')


async def test_who_waits_for_a_provider_holds_up_nobody(world: World, double: Double) -> None:
    """Also while several tenants ask, when each has one turn for reads at a time."""
    double.slow = {"one"}
    waiting = asyncio.create_task(world.call("GET", V2))
    while not double.asked:  # noqa: ASYNC110 - until the read has begun
        await asyncio.sleep(0)
    await world.get("/v1.0/security/incidents", by="other")
    await world.get("/v1.0/security/incidents")
    assert not waiting.done()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_the_log_holds_no_text_that_may_be_a_secret(world: World, double: Double) -> None:
    """What a connector says itself is there; of anything else its kind, and where it came from."""
    double.problem = {"one": Away("one did not answer"), "two": ValueError("token=s3cr3t")}
    quiet = structlog.get_config()["wrapper_class"]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(30))
    try:
        with capture_logs() as lines:
            await world.get(V2)
    finally:
        structlog.configure(wrapper_class=quiet)
    said = {line["connection"]: line for line in lines if line["event"] == "federation.failed"}
    assert said["one"]["detail"] == "one did not answer"
    assert said["two"]["kind"] == "ValueError" and "in read" in said["two"]["at"]
    assert "s3cr3t" not in str(said)
