"""Alerts through both faces, comments, moves; incidents, their alerts, merging."""

from typing import Any

import pytest
from tests.api.conftest import World

pytestmark = pytest.mark.anyio
V2, OLD, INCIDENTS = "/v1.0/security/alerts_v2", "/v1.0/security/alerts", "/v1.0/security/incidents"
VENDOR: dict[str, Any] = {"vendorInformation": {"vendor": "Microsoft", "provider": "Azure Sentinel"}}
EVIDENCE = [
    {
        "@odata.type": "#microsoft.graph.security.deviceEvidence",
        "deviceDnsName": "host1.contoso.example",
        "verdict": "suspicious",
        "roles": ["attacked"],
    },
    {"@odata.type": "#microsoft.graph.security.ipEvidence", "ipAddress": "203.0.113.9"},
]


@pytest.fixture
async def one(world: World) -> World:
    await world.post(V2, {"id": "a1", "title": "Mimikatz", "severity": "high", "evidence": EVIDENCE})
    return world


async def test_one_alert_has_two_faces(one: World) -> None:
    """What is posted as today's alert is a legacy alert with the same id, its states rendered from the evidence."""
    v2, old = await one.get(f"{V2}/a1"), await one.get(f"{OLD}/a1")
    assert (v2["status"], old["status"]) == ("new", "newAlert")
    assert v2["evidence"][0]["@odata.type"] == "#microsoft.graph.security.deviceEvidence"
    assert old["hostStates"][0]["fqdn"] == "host1.contoso.example"
    assert old["vendorInformation"]["provider"]
    assert old["comments"] == [] and old["azureTenantId"]


@pytest.mark.parametrize("method", ["v2", "old"])
async def test_a_patch_shows_in_both(one: World, method: str) -> None:
    """Status, verdict and assignee set through either face show in both."""
    if method == "v2":
        body: dict[str, Any] = {
            "status": "resolved",
            "classification": "TruePositive",
            "assignedTo": "ada",
            "determination": "malware",
        }
        answer = await one.call("PATCH", f"{V2}/a1", body)
        assert (answer.status_code, answer.json()["classification"]) == (200, "truePositive")
    else:
        body = {"status": "resolved", "feedback": "truePositive", "assignedTo": "ada", "id": "a1", **VENDOR}
        answer = await one.call("PATCH", f"{OLD}/a1", body)
        assert (answer.status_code, answer.content) == (204, b"")
    v2, old = await one.get(f"{V2}/a1"), await one.get(f"{OLD}/a1")
    assert (v2["status"], v2["classification"], v2["assignedTo"]) == ("resolved", "truePositive", "ada")
    assert (old["status"], old["feedback"], old["assignedTo"]) == ("resolved", "truePositive", "ada")
    assert v2["resolvedDateTime"] is not None
    assert v2["lastUpdateDateTime"] > v2["createdDateTime"]


async def test_legacy_patch_rules(one: World) -> None:
    """vendorInformation is needed; the answer is 200 with the alert under return=representation."""
    await one.refused("PATCH", f"{OLD}/a1", {"status": "resolved"}, status=400, says="vendorInformation")
    answer = await one.call("PATCH", f"{OLD}/a1", {"tags": ["x"], **VENDOR}, prefer="return=representation")
    assert (answer.status_code, answer.json()["tags"]) == (200, ["x"])
    await one.refused("PATCH", f"{OLD}/a1", {"title": "x", **VENDOR}, status=400, says="feedback")


async def test_if_match_of_either_face(one: World) -> None:
    etag = (await one.get(f"{OLD}/a1"))["@odata.etag"]
    await one.patch(f"{V2}/a1", {"status": "inProgress"})
    await one.refused("PATCH", f"{OLD}/a1", {"status": "resolved", **VENDOR}, status=412, if_match=etag)


async def test_comments(one: World) -> None:
    """One object or a bare array; the answer is the whole list, signed by the caller; the legacy face has the texts."""
    body: Any = {"@odata.type": "microsoft.graph.security.alertComment", "comment": "first"}
    one_comment = await one.post(f"{V2}/a1/comments", body, by="analyst")
    assert [each["comment"] for each in one_comment["value"]] == ["first"]
    assert one_comment["value"][0]["createdByDisplayName"] == "Analyst"
    more = await one.post(f"{V2}/a1/microsoft.graph.security.comments", [{"comment": "second"}, {"comment": "third"}])
    assert [each["comment"] for each in more["value"]] == ["first", "second", "third"]
    assert (await one.get(f"{OLD}/a1"))["comments"] == ["first", "second", "third"]
    read = await one.get(f"{V2}/a1/comments")
    assert read["@odata.context"].endswith("#security/alerts_v2('a1')/comments")
    assert [each["comment"] for each in read["value"]] == ["first", "second", "third"]
    assert (await one.call("OPTIONS", f"{V2}/a1/comments")).headers["allow"] == "GET, POST, HEAD, OPTIONS"
    assert (await one.call("GET", f"{V2}/a1/comments/$count")).text == "3"
    await one.refused("GET", f"{V2}/a1/comments", status=403, by="none")
    await one.refused("GET", f"{V2}/nope/comments", status=404)
    bad: list[Any] = [[], {}, {"comment": ""}, {"comment": 1}, "x", None]
    for wrong in bad:
        await one.refused("POST", f"{V2}/a1/comments", wrong, status=400)
    await one.refused("POST", f"{V2}/nope/comments", {"comment": "x"}, status=404)


async def test_update_alerts(one: World) -> None:
    """Beta: all of them or none; each needs id and vendorInformation."""
    await one.post(V2, {"id": "a2", "title": "Other"})
    path = "/beta/security/alerts/updateAlerts"
    body = {"value": [{"id": key, "status": "resolved", **VENDOR} for key in ("a1", "a2")]}
    answer = await one.post(path, body)
    assert [each["status"] for each in answer["value"]] == ["resolved", "resolved"]
    await one.refused(
        "POST", path, {"value": [{"id": "a1", "status": "newAlert"}]}, status=400, says="vendorInformation"
    )
    missing = {"value": [{"id": key, "status": "newAlert", **VENDOR} for key in ("a1", "nope")]}
    await one.refused("POST", path, missing, status=404)
    assert (await one.get(f"{OLD}/a1"))["status"] == "resolved"
    await one.refused("POST", "/v1.0/security/alerts/updateAlerts", body, status=405)


async def test_create_alert(world: World) -> None:
    """Beta createAlert: a provider's alert, wrapped or not, linked to an incident where it says so."""
    await world.post(INCIDENTS, {"id": "42", "displayName": "x"})
    path = "/beta/security/alerts_v2/microsoft.graph.security.createAlert"
    given = {"title": "T", "severity": "High", "mitreTechniques": ["T1078"], "linkToIncident": 42}
    made = await world.post(path, {"createAlertInput": given})
    assert (made["title"], made["severity"], made["incidentId"]) == ("T", "high", "42")
    assert (await world.post(path, {"title": "U", "severity": "low"}))["incidentId"] is None
    await world.refused("POST", path, {"createAlertInput": {**given, "linkToIncident": 7}}, status=404)
    await world.refused("POST", path, {"title": "U"}, status=400, says="severity")


async def test_created_alert_joins_an_incident(one: World) -> None:
    """linkToIncident takes an id of ours, which is text, and the number that the type has."""
    made = await one.post("/v1.0/security/incidents", {"displayName": "I"})
    await one.post("/v1.0/security/incidents", {"displayName": "J", "id": "2972395"})
    for link in (made["id"], 2972395, "2972395"):
        given = {"title": "T", "severity": "high", "linkToIncident": link}
        found = await one.post("/beta/security/alerts_v2/createAlert", {"createAlertInput": given})
        assert found["incidentId"] == str(link)
    body = {"title": "T", "severity": "high", "LinkToIncident": "nope"}
    await one.refused("POST", "/beta/security/alerts_v2/createAlert", body, status=404, says="nope")


@pytest.mark.parametrize("name", ["status", "classification"])
async def test_the_sentinel_is_no_value(one: World, name: str) -> None:
    """unknownFutureValue stands for what a reader does not know; nobody can set it."""
    (alert,) = await one.every("/v1.0/security/alerts_v2")
    body = {name: "unknownFutureValue"}
    await one.refused("PATCH", f"/v1.0/security/alerts_v2/{alert['id']}", body, status=400, says="unknownFutureValue")


async def test_incident_with_alerts(one: World) -> None:
    """moveAlerts without an incident makes one; $expand, navigation and count show its alerts."""
    answer = await one.post(
        f"{V2}/moveAlerts", {"AlertIds": ["a1"], "newCorrelationReasons": ["sameActor", "timeFrame"]}
    )
    key = answer["targetIncidentId"]
    assert (await one.get(f"{V2}/a1"))["incidentId"] == key
    page = await one.get(f"{INCIDENTS}?$expand=alerts")
    assert [each["id"] for each in page["value"][0]["alerts"]] == ["a1"]
    assert (await one.get(f"{INCIDENTS}/{key}?$expand=Alerts($select=title)"))["alerts"][0]["title"] == "Mimikatz"
    assert "alerts" not in (await one.get(INCIDENTS))["value"][0]
    related = await one.get(f"{INCIDENTS}/{key}/alerts?$filter=severity eq 'high'&$select=id")
    assert [each["id"] for each in related["value"]] == ["a1"]
    assert (await one.call("GET", f"{INCIDENTS}/{key}/alerts/$count")).text == "1"
    assert (await one.get(f"{INCIDENTS}/{key}/alerts/a1"))["title"] == "Mimikatz"
    assert (await one.post(f"{INCIDENTS}/{key}/alerts/a1/comments", {"comment": "x"}))["value"]
    await one.post(V2, {"id": "stray", "title": "x"})
    await one.refused("GET", f"{INCIDENTS}/{key}/alerts/stray", status=404)


async def test_an_incident_moves_with_its_alerts(one: World) -> None:
    """An incident's lastUpdateDateTime moves when one of its alerts changes."""
    key = (await one.post(f"{V2}/moveAlerts", {"alertIds": ["a1"]}))["targetIncidentId"]
    before = (await one.get(f"{INCIDENTS}/{key}"))["lastUpdateDateTime"]
    await one.patch(f"{V2}/a1", {"status": "inProgress"})
    assert (await one.get(f"{INCIDENTS}/{key}"))["lastUpdateDateTime"] > before
    found = await one.get(f"{INCIDENTS}?$filter=lastUpdateDateTime gt {before}")
    assert [each["id"] for each in found["value"]] == [key]


async def test_incident_patch_and_comments(world: World) -> None:
    await world.post(INCIDENTS, {"id": "i", "displayName": "x", "severity": "medium"})
    made = await world.patch(
        f"{INCIDENTS}/i",
        {"classification": "TruePositive", "determination": "MultiStagedAttack", "customTags": ["Demo"]},
        by="analyst",
    )
    assert (made["classification"], made["determination"], made["customTags"]) == (
        "truePositive",
        "multiStagedAttack",
        ["Demo"],
    )
    assert made["lastModifiedBy"] == "analyst@contoso.example"
    await world.refused("PATCH", f"{INCIDENTS}/i", {"status": "redirected"}, status=400)
    await world.refused("PATCH", f"{INCIDENTS}/i", {"redirectIncidentId": "x"}, status=400)
    answer = await world.post(f"{INCIDENTS}/i/comments", {"comment": "Demo for docs"})
    assert [each["comment"] for each in answer["value"]] == ["Demo for docs"]
    assert (await world.get(f"{INCIDENTS}/i"))["comments"] == answer["value"]


async def test_merging_redirects(world: World) -> None:
    """The loser is redirected to the survivor and stays readable; its alerts follow; a second call changes nothing."""
    for key in ("i1", "i2", "i3"):
        await world.post(INCIDENTS, {"id": key, "displayName": key})
    await world.post(V2, [{"id": f"a{n}", "title": "t"} for n in range(120)])
    await world.post(f"{V2}/moveAlerts", {"alertIds": [f"a{n}" for n in range(120)], "incidentId": "i2"})
    path = f"{INCIDENTS}/microsoft.graph.security.mergeIncidents"
    body = {"incidentIds": ["i2", "i1"], "incidentComment": "one attack", "mergeReasons": "sameActor,timeFrame"}
    for _ in range(2):
        assert (await world.post(path, body))["targetIncidentId"] == "i1"
        loser = await world.get(f"{INCIDENTS}/i2")
        assert (loser["status"], loser["redirectIncidentId"]) == ("redirected", "i1")
        assert (await world.call("GET", f"{INCIDENTS}/i1/alerts/$count")).text == "120"
        assert (await world.call("GET", f"{INCIDENTS}/i2/alerts/$count")).text == "0"
    assert (await world.get(f"{INCIDENTS}/i1"))["comments"][0]["comment"] == "one attack"
    await world.refused("PATCH", f"{INCIDENTS}/i2", {"status": "active"}, status=400, says="'i1'")
    await world.post(f"{V2}/moveAlerts", {"alertIds": ["a5"], "incidentId": "i2"})
    assert (await world.get(f"{V2}/a5"))["incidentId"] == "i1"
    await world.refused("POST", path, {"incidentIds": ["i1"]}, status=400)
    await world.refused("POST", path, {"incidentIds": ["i1", "nope"]}, status=404)
    await world.refused("POST", path, {"incidentIds": ["i2", "i3"]}, status=400, says="'i1'")


async def test_expand_serves_many_parents(world: World) -> None:
    """Each incident of a page has exactly its own alerts, also where they need several queries."""
    await world.post(INCIDENTS, [{"id": f"i{n:03}", "displayName": "x"} for n in range(120)])
    await world.post(V2, [{"id": f"a{n:03}", "title": "t", "incidentId": f"i{n % 120:03}"} for n in range(360)])
    page = await world.get(f"{INCIDENTS}?$top=120&$expand=alerts($select=id,incidentId;$top=2)&$select=id")
    assert len(page["value"]) == 120
    for incident in page["value"]:
        assert {each["incidentId"] for each in incident["alerts"]} == {incident["id"]}
        assert len(incident["alerts"]) == 2
        rest = await world.get(incident["alerts@odata.nextLink"].replace("https://graph.test:8443", ""))
        assert len(rest["value"]) == 1
