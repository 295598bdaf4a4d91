"""Suppressions: what they would have hidden, what they keep out of incidents, and how long."""

from datetime import UTC, datetime, timedelta
from math import isclose
from typing import Any

import pytest
from tests.api.conftest import A, World
from tests.api.test_correlated import alert, attack, correlated, device, incident_of
from tests.api.test_correlation import V2, marks

from bartizan.correlate.stage import CorrelateStage
from bartizan.correlate.suppress import MAX_SUPPRESSIONS, SUPPRESSIONS
from bartizan.store.draft import draft

pytestmark = pytest.mark.anyio
SUPPRESS = "/beta/security/suppressions"


@pytest.fixture
def world(world: World) -> World:
    """With the system's clock, which stamps what is stored: suppressions end by it."""
    world.graph.clock = lambda: datetime.now(UTC)
    return world


def later(days: float = 30) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat().replace("+00:00", "Z")


def suppression(filter: str, **more: Any) -> dict[str, Any]:
    return {"displayName": "Scanner", "filter": filter, "reason": "our own scanner", "expirationDateTime": later(),
            **more}  # fmt: skip


async def scans(world: World, count: int = 6) -> list[str]:
    await attack(world)
    return [
        await alert(world, f"Scan {n}", f"0{n}:00", device(f"h{n}.example"), detectorId="scan", severity="high")
        for n in range(count)
    ]


SCANS = "detectorId eq 'scan'"


async def test_a_preview_says_what_would_have_been_hidden(world: World) -> None:
    ids = await scans(world)
    told = await world.post(f"{SUPPRESS}/preview", {"filter": SCANS})
    assert (told["matched30Days"], told["ofTotal"], told["examined"]) == (6, 11, 6)
    assert isclose(told["share"], 6 / 11)
    assert told["bySeverity"] == [{"value": "high", "alerts": 6}]
    assert told["byDetector"] == [{"value": "Acme EDR/scan", "alerts": 6}]
    assert set(told["sampleAlertIds"]) == set(ids)
    assert (await world.get(SUPPRESS))["value"] == []
    evidence = "evidence/any(e: e/microsoft.graph.security.deviceEvidence/deviceDnsName eq 'h1.example')"
    told = await world.post(f"{SUPPRESS}/preview", {"filter": f"{SCANS} and {evidence}"})
    assert told["sampleAlertIds"] == [ids[1]]
    problem = await world.refused("POST", f"{SUPPRESS}/preview", {"filter": "colour eq 'red'"}, status=400)
    assert "colour" in problem["message"]


async def test_a_filter_that_hides_most_needs_a_word(world: World) -> None:
    await scans(world)
    says = "6 of 11 alerts of the last 30 days (54.5%)"
    await world.refused("POST", SUPPRESS, suppression(SCANS), status=400, says=says)
    made = await world.post(SUPPRESS, suppression(SCANS, acknowledged=True))
    assert made["preview"]["matched30Days"] == 6 and made["isEnabled"] is True
    assert (made["createdBy"], made["owner"], made["suppressedAlerts"]) == ("app-a", "app-a", 0)
    wider = {"filter": "severity ne 'low'"}
    await world.refused("PATCH", f"{SUPPRESS}/{made['id']}", wider, status=400, says="acknowledged")
    small = await world.patch(f"{SUPPRESS}/{made['id']}", {"filter": f"{SCANS} and severity eq 'low'"})
    assert small["preview"]["matched30Days"] == 0 and small["acknowledged"] is False


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"filter": "title eq"}, ""),
        ({"filter": "x" * 5_000}, "5000 characters"),
        ({"expirationDateTime": None}, "expirationDateTime"),
        ({"expirationDateTime": later(-1)}, "within the next 365 days"),
        ({"expirationDateTime": later(400)}, "within the next 365 days"),
        ({"reason": " "}, "reason"),
        ({"displayName": "x" * 1_001}, "1001 characters"),
        ({"reason": None}, "reason"),
    ],
)
async def test_a_bad_suppression_is_refused(world: World, change: dict[str, Any], says: str) -> None:
    await world.refused("POST", SUPPRESS, {**suppression(SCANS), **change}, status=400, says=says)
    made = await world.post(SUPPRESS, suppression(SCANS))
    await world.refused("PATCH", f"{SUPPRESS}/{made['id']}", change, status=400, says=says)
    assert (await world.get(f"{SUPPRESS}/{made['id']}"))["lastModifiedDateTime"] == made["lastModifiedDateTime"]


async def test_a_suppressed_alert_is_kept_marked_and_out_of_incidents(world: World) -> None:
    await world.post(SUPPRESS, suppression(SCANS))
    (rule,) = (await world.get(SUPPRESS))["value"]
    ids = await scans(world, 2)
    await correlated(world.store)
    for each in ids:
        found = await world.get(f"/v1.0/security/alerts_v2/{each}")
        assert found["incidentId"] is None and found["status"] == "new"
        assert found["additionalData"]["suppressionId"] == rule["id"] and "suppressed" in found["systemTags"]
        assert "suppressed" in (await world.get(f"/v1.0/security/alerts/{each}"))["tags"]
    rule = await world.get(f"{SUPPRESS}/{rule['id']}")
    assert rule["suppressedAlerts"] == 2 and rule["lastSuppressedDateTime"]
    hidden = await world.get(f"{SUPPRESS}/{rule['id']}/alerts?$select=id")
    assert {each["id"] for each in hidden["value"]} == set(ids)
    assert len(await world.every(f"{V2}?$filter=additionalData/suppressionId eq null")) == 5
    assert len(await world.every("/v1.0/security/incidents")) == 1


async def test_only_new_alerts_are_suppressed_and_only_while_it_lasts(world: World) -> None:
    """Those stored before it was made, after it was disabled, deleted or changed are not; each restart knows it."""

    async def hidden(title: str, stage: CorrelateStage) -> bool:
        id = await alert(world, title, "10:00", device(f"{title}.example"), detectorId="scan")
        await correlated(world.store, stage)
        return "suppressionId" in await marks(world, id)

    before = await alert(world, "Before", "10:00", device("b.example"), detectorId="scan")
    made = await world.post(SUPPRESS, suppression(SCANS, acknowledged=True))
    stage = await correlated(world.store)
    assert await incident_of(world, before) is not None
    assert await hidden("one", stage)
    assert await hidden("two", CorrelateStage(world.store))
    await world.patch(f"{SUPPRESS}/{made['id']}", {"isEnabled": False})
    assert not await hidden("three", stage := CorrelateStage(world.store))
    await world.patch(f"{SUPPRESS}/{made['id']}", {"isEnabled": True, "acknowledged": True})
    assert await hidden("four", stage)
    await world.patch(f"{SUPPRESS}/{made['id']}", {"filter": "detectorId eq 'other'"})
    assert not await hidden("five", stage)
    assert (await world.call("DELETE", f"{SUPPRESS}/{made['id']}")).status_code == 204
    assert not await hidden("six", stage)
    stored = await world.store.tenant(A).get(SUPPRESSIONS.name, made["id"])
    assert stored is None


@pytest.mark.parametrize("change", [{"expirationDateTime": "2020-01-01T00:00:00.0000000Z"}, {"filter": "gone eq 1"}])
async def test_one_that_has_expired_or_cannot_be_read_hides_nothing(world: World, change: dict[str, Any]) -> None:
    """A property may be gone from the schema of a later version."""
    until = "2999-01-01T00:00:00.0000000Z"
    body = {**suppression(SCANS), "isEnabled": True, "expirationDateTime": until, **change}
    await world.store.tenant(A).write(lambda tx: tx.put(draft(SUPPRESSIONS, body, "old")), actor="test")
    id = await alert(world, "Scan", "10:00", device("h.example"), detectorId="scan")
    await correlated(world.store)
    assert await incident_of(world, id) is not None


async def test_what_was_hidden_is_seen_again_when_somebody_says_so(world: World) -> None:
    """The newest so many, be the suppression there still or not; nothing else is rewritten."""
    made = await world.post(SUPPRESS, suppression(SCANS))
    ids = await scans(world, 4)
    stage = await correlated(world.store)
    await world.call("DELETE", f"{SUPPRESS}/{made['id']}")
    await correlated(world.store, stage)
    assert [await incident_of(world, each) for each in ids] == [None] * 4
    body = {"suppressionId": made["id"], "count": 3}
    assert (await world.post(f"{SUPPRESS}/reopen", body))["value"] == 3
    await correlated(world.store, stage)
    assert [await incident_of(world, each) is None for each in ids] == [True, False, False, False]
    found = await world.get(f"{V2}/{ids[1]}")
    assert "suppressed" not in found["systemTags"] and "suppressionId" not in (found["additionalData"] or {})
    assert (await world.post(f"{SUPPRESS}/reopen", body))["value"] == 1
    await world.refused("POST", f"{SUPPRESS}/reopen", {**body, "count": 0}, status=400, says="1 to 1000")


async def test_suppressions_are_bounded_audited_and_of_one_tenant(world: World) -> None:
    made = await world.post(SUPPRESS, [suppression("title eq 'x'") for _ in range(MAX_SUPPRESSIONS)])
    await world.refused("POST", SUPPRESS, suppression("title eq 'y'"), status=409, says="at most 200")
    unread = [suppression("nothing eq 'y'")] * 1_000  # refused before any of them is tried on the alerts
    await world.refused("POST", SUPPRESS, unread, status=409, says="at most 200")
    id = made["value"][0]["id"]
    await world.refused("GET", f"{SUPPRESS}/{id}", status=404, by="other")
    theirs = {"title": "x", "severity": "high", "evidence": [device("h.example")]}
    hidden = (await world.post(V2, theirs))["id"]
    seen = (await world.post(V2, theirs, by="other"))["id"]
    await correlated(world.store)
    assert (await marks(world, hidden))["suppressionId"] in [each["id"] for each in made["value"]]
    assert (await world.get(f"{V2}/{seen}", by="other"))["incidentId"] is not None
    await world.refused("POST", SUPPRESS, suppression("title eq 'y'"), status=403, by="reader")
    await world.patch(f"{SUPPRESS}/{id}", {"owner": "soc@contoso.example"}, by="operator")
    await world.refused("PATCH", f"{SUPPRESS}/{id}", {"owner": "z"}, status=412, if_match='W/"1"')
    entries = await world.every("/v1.0/auditLogs/directoryAudits")
    assert {"Add suppression", "Update suppression"} <= {each["activityDisplayName"] for each in entries}
    await world.refused("GET", "/v1.0/security/suppressions", status=404)
