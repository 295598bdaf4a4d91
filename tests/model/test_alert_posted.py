"""Alerts that clients send in the shape of either face."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from tests.model.test_edm_properties import inner_objects

from bartizan.errors import BadRequest
from bartizan.model import evidence, faces, posted, workflow
from bartizan.model.edm import Version, edm

T0, T1 = "2026-11-23T00:00:00.0000000Z", "2026-11-23T01:00:00.0000000Z"
VERSIONS: list[Version] = ["v1.0", "beta"]
NS = "#microsoft.graph.security."


def from_today(**body: Any) -> faces.AlertState:
    return posted.from_today(edm("beta").accept(faces.TODAY, body), "tenant-1", T1)


def from_old(**body: Any) -> faces.AlertState:
    return posted.from_old(edm("beta").accept(faces.LEGACY, body), "tenant-1", T1)


def test_a_body_of_todays_face_gives_the_legacy_one() -> None:
    state = from_today(
        title="T",
        severity="high",
        serviceSource="microsoftDefenderForEndpoint",
        productName="Microsoft Defender for Endpoint",
        status="resolved",
        classification="falsePositive",
        mitreTechniques=["T1059"],
        systemTags=["x"],
        comments=[{"comment": "hm"}],
        threatDisplayName="Emotet",
        firstActivityDateTime=T0,
        createdDateTime=T0,
        incidentId="i1",
        evidence=[
            {"@odata.type": NS + "deviceEvidence", "deviceDnsName": "pc1.example.org"},
            {"@odata.type": NS + "userEvidence", "userAccount": {"userPrincipalName": "ann@example.org"}},
        ],
    )
    old = faces.of_old(state)
    expected = {
        "azureTenantId": "tenant-1",
        "status": "dismissed",
        "feedback": "falsePositive",
        "hostStates": [{"fqdn": "pc1.example.org", "netBiosName": "pc1"}],
        "userStates": [{"accountName": "ann", "userPrincipalName": "ann@example.org"}],
        "malwareStates": [{"name": "Emotet"}],
        "vendorInformation": {"vendor": "Microsoft", "provider": "Microsoft Defender ATP"},
        "tags": ["x", "T1059"],
        "comments": ["hm"],
        "incidentIds": ["i1"],
        "closedDateTime": T1,
        "eventDateTime": T0,
        "severity": "high",
        "title": "T",
    }
    assert {name: old[name] for name in expected} == expected
    today = faces.today(state)
    assert today["tenantId"] == "tenant-1"
    assert today["evidence"][0]["verdict"] == "unknown"
    assert today["additionalData"] == {"sourceCreatedDateTime": T0}
    assert today["systemTags"] == ["x"]
    assert {one.value for one in state.entities} >= {"pc1.example.org", "ann@example.org"}


def test_a_body_of_the_legacy_face_gives_todays() -> None:
    state = from_old(
        title="T",
        severity="medium",
        status="dismissed",
        feedback="benignPositive",
        category="Vendor word",
        vendorInformation={"vendor": "Microsoft", "provider": "IPC"},
        eventDateTime=T0,
        tags=["T1110", "x"],
        comments=["a", "b"],
        incidentIds=["i1"],
        sourceMaterials=["https://a.example/1"],
        recommendedActions=["one", "two"],
        detectionIds=["d1"],
        confidence=7,
        malwareStates=[{"name": "Emotet", "family": "Emo"}],
        vulnerabilityStates=[{"cve": "CVE-2026-1"}],
        securityResources=[{"resource": "thing", "resourceType": "attacked"}],
        hostStates=[{"fqdn": "pc1.example.org", "privateIpAddress": "10.0.0.1"}],
    )
    today = faces.today(state)
    expected = {
        "status": "resolved",
        "classification": "informationalExpectedActivity",
        "category": "Vendor word",
        "productName": "Microsoft IPC",
        "serviceSource": "azureAdIdentityProtection",
        "mitreTechniques": ["T1110"],
        "systemTags": ["x"],
        "incidentId": "i1",
        "alertWebUrl": "https://a.example/1",
        "recommendedActions": "one\ntwo",
        "detectorId": "d1",
        "threatDisplayName": "Emotet",
        "threatFamilyName": "Emo",
        "firstActivityDateTime": T0,
        "resolvedDateTime": T1,
    }
    assert {name: today[name] for name in expected} == expected
    assert [one["comment"] for one in today["comments"]] == ["a", "b"]
    assert [one["@odata.type"] for one in today["evidence"]] == [NS + "deviceEvidence", NS + "malwareEvidence"]
    assert today["additionalData"] == {
        "confidence": 7,
        "securityResources": [{"resource": "thing", "resourceType": "attacked"}],
        "vulnerabilities": ["CVE-2026-1"],
    }


def test_the_legacy_face_of_a_legacy_body_is_what_it_said() -> None:
    given: dict[str, Any] = {
        "title": "T",
        "incidentIds": ["i1", "i2"],
        "historyStates": [{"appId": "x", "status": "dismissed"}],
        "hostStates": [{"fqdn": "pc1.example.org", "privateIpAddress": "10.0.0.1"}],
        "riskScore": "7",
    }
    state = from_old(**given)
    assert given.items() <= faces.of_old(state).items()
    assert faces.of_old(faces.move(state, "i3"))["incidentIds"] == ["i3"]


def test_an_id_that_the_client_gives_is_kept() -> None:
    assert from_today(id="my-alert_1", title="T").id == "my-alert_1"
    assert from_old(id="my-alert_1", title="T").id == "my-alert_1"


@pytest.mark.parametrize("bad", ["a/b", "", "x" * 257, " a", "a'b", "a\nb"])
def test_an_id_that_no_address_could_hold_is_refused(bad: str) -> None:
    with pytest.raises(BadRequest, match="'id'"):
        from_old(id=bad, title="T")


def test_without_an_id_the_same_body_gives_the_same_alert() -> None:
    assert from_today(title="T").id == from_today(title="T").id != from_today(title="U").id
    assert from_old(title="T").id == from_old(title="T").id != from_old(title="U").id


def test_a_minimal_body_has_what_the_contract_requires() -> None:
    today, old = faces.today(from_today(title="T")), faces.of_old(from_old(title="T"))
    assert (today["severity"], today["status"], today["serviceSource"]) == ("unknown", "new", "unknown")
    assert today["firstActivityDateTime"] == T1
    assert today["additionalData"] == {"timeSource": "received"}
    assert (old["severity"], old["status"], old["eventDateTime"]) == ("unknown", "newAlert", T1)
    assert old["vendorInformation"] == {"provider": "custom", "vendor": "custom"}


def test_too_much_evidence_is_refused() -> None:
    item = {"@odata.type": NS + "ipEvidence", "ipAddress": "192.0.2.1"}
    with pytest.raises(BadRequest, match="evidence"):
        from_today(title="T", evidence=[item] * (evidence.MAX_EVIDENCE + 1))
    with pytest.raises(BadRequest, match="hostStates"):
        from_old(title="T", hostStates=[{"fqdn": "a"}] * (evidence.MAX_EVIDENCE + 1))


def _holds(state: faces.AlertState) -> None:
    assert workflow.agree(state.now)
    assert faces.encode(faces.decode(faces.encode(state))) == faces.encode(state)
    for version in VERSIONS:
        for name, face in ((faces.TODAY, faces.today(state)), (faces.LEGACY, faces.of_old(state))):
            edm(version).accept(name, json.loads(json.dumps(edm(version).render(name, face))))


@settings(max_examples=120, deadline=None)
@given(inner_objects(edm("beta"), faces.TODAY))
def test_any_body_of_todays_face_has_both(body: dict[str, Any]) -> None:
    body.pop("id", None)
    _holds(posted.from_today(body, "t", T1))


@settings(max_examples=120, deadline=None)
@given(inner_objects(edm("beta"), faces.LEGACY))
def test_any_body_of_the_legacy_face_has_both(body: dict[str, Any]) -> None:
    body.pop("id", None)
    _holds(posted.from_old(body, "t", T1))
