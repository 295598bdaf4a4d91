"""Risk detections, and the risk events of 2018 that each of them also is."""

import json
from typing import Any

import pytest
from tests.api.conftest import World

pytestmark = pytest.mark.anyio
DETECTIONS = "/v1.0/identityProtection/riskDetections"
RISKY = "/v1.0/identityProtection/riskyUsers"
KINDS = {
    "anonymizedIPAddress": "anonymousIp",
    "unlikelyTravel": "impossibleTravel",
    "leakedCredentials": "leakedCredentials",
    "malwareInfectedIPAddress": "malware",
    "maliciousIPAddress": "suspiciousIp",
    "unfamiliarFeatures": "unfamiliarLocation",
    "passwordSpray": "identity",
}


def detection(kind: str, **more: Any) -> dict[str, Any]:
    return {
        "id": f"d-{kind}",
        "riskEventType": kind,
        "riskLevel": "medium",
        "riskState": "atRisk",
        "riskDetail": "none",
        "activityDateTime": "2026-11-22T04:05:06Z",
        "detectedDateTime": "2026-11-22T05:05:06Z",
        "ipAddress": "203.0.113.9",
        "location": {"city": "Oslo", "countryOrRegion": "NO"},
        "userId": "u1",
        "userDisplayName": "Ada",
        "userPrincipalName": "Ada@contoso.example",
        **more,
    }


async def test_each_detection_is_a_risk_event(world: World) -> None:
    """Single or in bulk; one set has all, six have their kind, locatedRiskEvents gives by id what has a place."""
    first, *others = [detection(kind) for kind in KINDS]
    assert (await world.call("POST", DETECTIONS, first)).status_code == 201
    await world.post(DETECTIONS, others)
    for version in ("v1.0", "beta"):
        whole = await world.get(f"/{version}/identityRiskEvents?$count=true")
        assert whole["@odata.count"] == len(KINDS)
        for today, kind in KINDS.items():
            if kind == "identity":
                continue
            (event,) = (await world.get(f"/{version}/{kind}RiskEvents"))["value"]
            assert event["id"] == f"d-{today}"
            assert (event["riskEventStatus"], event["closedDateTime"]) == ("active", None)
            assert event["riskEventDateTime"] == "2026-11-22T04:05:06.0000000Z"
            assert event["createdDateTime"] == "2026-11-22T05:05:06.0000000Z"
            one = await world.get(f"/{version}/{kind}RiskEvents/{event['id']}")
            assert (one["riskLevel"], one["userPrincipalName"]) == ("medium", "Ada@contoso.example")
            if kind == "leakedCredentials":
                assert "ipAddress" not in event
                await world.refused("GET", f"/{version}/locatedRiskEvents/{event['id']}", status=404)
            else:
                located = await world.get(f"/{version}/locatedRiskEvents/{event['id']}")
                assert (located["ipAddress"], located["location"]["city"]) == ("203.0.113.9", "Oslo")
    await world.refused("GET", "/v1.0/malwareRiskEvents/d-passwordSpray", status=404)
    assert (await world.get("/v1.0/identityRiskEvents/d-passwordSpray"))["riskEventType"] == "passwordSpray"


async def test_all_or_nothing(world: World) -> None:
    """A bulk with one wrong object stores none; the same again is taken, other values are not."""
    await world.refused("POST", DETECTIONS, [detection("passwordSpray"), {"id": "x"}], status=400, says="[1]")
    await world.refused("POST", DETECTIONS, [detection("newCountry")] * 2, status=400, says="same id")
    assert (await world.get("/v1.0/identityRiskEvents"))["value"] == []
    body = {"id": "x", "riskEventType": "newCountry", "userId": "u1"}
    one = await world.post(DETECTIONS, body)
    assert one["activityDateTime"] == "2026-11-23T04:50:30.1234560Z"
    assert await world.post(DETECTIONS, body) == one
    await world.refused("POST", DETECTIONS, [detection("generic"), {**body, "userId": "u2"}], status=409, says="'x'")
    assert len((await world.get("/v1.0/identityRiskEvents"))["value"]) == 1
    await world.refused("POST", DETECTIONS, {**body, "nope": 1}, status=400, says="nope")


async def test_what_the_detection_says_beside(world: World) -> None:
    """additionalInfo is a JSON text of keys and values; what is none of that is kept and left alone."""
    said = json.dumps([{"Key": "userAgent", "Value": "curl"}, {"Key": "malwareName", "Value": "Conficker"}])
    await world.post(DETECTIONS, detection("impossibleTravel", additionalInfo=said))
    await world.post(DETECTIONS, detection("malwareInfectedIPAddress", additionalInfo=said))
    assert (await world.get("/beta/impossibleTravelRiskEvents"))["value"][0]["userAgent"] == "curl"
    assert (await world.get("/beta/malwareRiskEvents"))["value"][0]["malwareName"] == "Conficker"
    for number, odd in enumerate(("not json", "{}", "[1]", '[{"Key":1,"Value":null}]')):
        kept = await world.post(DETECTIONS, detection("unlikelyTravel", id=f"odd{number}", additionalInfo=odd))
        assert kept["additionalInfo"] == odd


@pytest.mark.parametrize(
    ("decision", "state", "status"),
    [
        ("dismiss", "dismissed", "dismissedAsIgnore"),
        ("confirmSafe", "confirmedSafe", "dismissedAsFalsePositive"),
    ],
)
async def test_decisions_close_detections(world: World, decision: str, state: str, status: str) -> None:
    """A user's standing detections follow the decision, however many there are, and their risk events with them."""
    await world.post("/v1.0/users", [{"id": f"u{n}", "userPrincipalName": f"u{n}@x.example"} for n in (1, 2)])
    await world.post(DETECTIONS, [detection("newCountry", id=f"d{n}") for n in range(120)])
    await world.post(DETECTIONS, detection("newCountry", id="past", riskState="remediated"))
    await world.post(DETECTIONS, detection("newCountry", id="other", userId="u2"))
    assert (await world.call("POST", f"{RISKY}/{decision}", {"userIds": ["u1"]})).status_code == 204
    assert (await world.call("GET", f"{DETECTIONS}/$count?$filter=riskState eq '{state}'")).text == "120"
    assert (await world.get(f"{DETECTIONS}/past"))["riskState"] == "remediated"
    assert (await world.get(f"{DETECTIONS}/other"))["riskState"] == "atRisk"
    event = await world.get("/v1.0/identityRiskEvents/d7")
    assert (event["riskEventStatus"], event["closedDateTime"] is None) == (status, False)
    before = await world.get(f"{DETECTIONS}/d7")
    await world.call("POST", f"{RISKY}/{decision}", {"userIds": ["u1"]})
    assert await world.get(f"{DETECTIONS}/d7") == before


async def test_confirming_is_an_event_too(world: World) -> None:
    """confirmCompromised adds a detection, once; it leaves those that stand."""
    await world.post("/v1.0/users", {"id": "u1", "userPrincipalName": "u1@x.example"})
    await world.post(DETECTIONS, detection("newCountry"))
    for _ in range(2):
        await world.call("POST", "/beta/riskyUsers/confirmCompromised", {"userIds": ["u1"]})
    events = (await world.get("/v1.0/identityRiskEvents"))["value"]
    assert {(each["riskEventType"], each["riskEventStatus"]) for each in events} == {
        ("adminConfirmedUserCompromised", "active"),
        ("newCountry", "active"),
    }
    assert (await world.get(f"{DETECTIONS}/d-newCountry"))["riskState"] == "atRisk"


async def test_decisions_on_sign_ins_reach_their_detections(world: World) -> None:
    await world.post("/v1.0/auditLogs/signIns", {"id": "s1", "createdDateTime": "2026-11-22T04:05:06Z", "userId": "u1"})
    await world.post(DETECTIONS, [detection("newCountry", requestId="s1"), detection("generic", requestId="s2")])
    for decision, state in (
        ("confirmCompromised", "confirmedCompromised"),
        ("confirmSafe", "confirmedSafe"),
    ):
        answer = await world.call("POST", f"/v1.0/auditLogs/signIns/{decision}", {"requestIds": ["s1"]})
        assert answer.status_code == 204
        assert (await world.get(f"{DETECTIONS}/d-newCountry"))["riskState"] == state
    assert (await world.get(f"{DETECTIONS}/d-generic"))["riskState"] == "atRisk"
    assert (await world.get("/v1.0/identityRiskEvents/d-newCountry"))["riskEventStatus"] == "dismissedAsFalsePositive"


async def test_lists_of_detections(world: World) -> None:
    """20 in a page, at most 500; the filters, orders and the root alias of connectors."""
    await world.post(
        DETECTIONS,
        [detection("newCountry", id=f"d{n:02}", detectedDateTime=f"2026-11-22T05:{n:02}:00Z") for n in range(25)],
    )
    page = await world.get(DETECTIONS)
    assert ([each["id"] for each in page["value"]][:2], len(page["value"])) == (["d24", "d23"], 20)
    assert "$skiptoken=" in page["@odata.nextLink"]
    assert len(await world.every(DETECTIONS)) == 25
    await world.refused("GET", f"{DETECTIONS}?$top=501", status=400, says="500")
    for wanted, count in (
        ("detectedDateTime ge 2026-11-22T05:20:00Z", 5),
        ("activityDateTime lt 2026-11-22T04:05:06Z", 0),
        ("riskState eq 'atRisk' and riskLevel eq microsoft.graph.riskLevel'medium'", 25),
        ("riskEventType eq 'newCountry' and userPrincipalName eq 'ADA@contoso.example'", 25),
        ("location/countryOrRegion eq 'SE'", 0),
    ):
        found = await world.get(f"/beta/riskDetections?$filter={wanted}&$top=500&$select=id,riskState")
        assert len(found["value"]) == count, wanted
    ordered = (await world.get(f"{DETECTIONS}?$orderby=detectedDateTime&$top=1"))["value"]
    assert ordered[0]["id"] == "d00"


async def test_filters_of_risk_events(world: World) -> None:
    """As connectors of those years asked."""
    await world.post(DETECTIONS, [detection(kind) for kind in KINDS])
    for wanted, count in (
        ("createdDateTime gt 2026-11-22T00:00:00Z", 7),
        ("riskEventStatus eq 'active' and riskLevel eq 'medium'", 7),
        ("riskEventType eq 'AnonymousIpRiskEvent'", 1),
        ("userPrincipalName eq 'ada@CONTOSO.example'", 7),
    ):
        assert len((await world.get(f"/beta/identityRiskEvents?$filter={wanted}"))["value"]) == count, wanted
    await world.refused("GET", "/v1.0/identityRiskEvents", status=403, by="none")
    await world.refused("POST", "/v1.0/identityRiskEvents", {}, status=405)


async def test_history_by_id(world: World) -> None:
    """Each decision is an item, newest first, readable by its id; by the root alias of beta as well."""
    await world.post("/v1.0/users", {"id": "u1", "userPrincipalName": "u1@x.example", "displayName": "U"})
    await world.call("POST", f"{RISKY}/confirmCompromised", {"userIds": ["u1"]}, by="analyst")
    await world.call("POST", f"{RISKY}/dismiss", {"userIds": ["u1"]}, by="operator")
    items = (await world.get(f"{RISKY}/u1/history"))["value"]
    assert [each["riskState"] for each in items] == ["dismissed", "confirmedCompromised"]
    for root in ("/v1.0/identityProtection/riskyUsers", "/beta/identityProtection/riskyUsers", "/beta/riskyUsers"):
        one = await world.get(f"{root}/u1/history/{items[1]['id']}")
        assert (one["userId"], one["riskLevel"], one["initiatedBy"]) == ("u1", "high", "id-of-analyst")
        assert one["activity"]["detail"] == "adminConfirmedUserCompromised"
        assert (await world.get(f"{root}/u1/history?$top=1"))["value"][0]["id"] == items[0]["id"]
    await world.refused("GET", "/v1.0/riskyUsers", status=404)
