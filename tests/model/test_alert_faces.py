"""One alert, two faces: from a source's alert, from later records of it, and as bytes."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.model.test_alert_workflow import alert

from bartizan.model import faces
from bartizan.model import security as graph
from bartizan.model.alert import Alert, Observed
from bartizan.model.edm import Version, edm
from bartizan.model.faces import AlertState

T0, T1, T2 = (f"2026-11-23T0{hour}:00:00.0000000Z" for hour in range(3))
VERSIONS: list[Version] = ["v1.0", "beta"]


def made(received: str | None = T2, **more: Any) -> AlertState:
    return faces.provider_faces(alert(**more), "tenant-1", received)


FULL = Alert(
    vendor="OISF",
    product="Suricata",
    product_version="8.0",
    sub_provider="sensor-1",
    provider_alert_id="1",
    title="ET MALWARE Beacon",
    severity="high",
    description="d",
    vendor_severity="Critical",
    category="CommandAndControl",
    vendor_category="A Network Trojan was detected",
    techniques=["T1071.001"],
    detector_id="1:2:3",
    first_activity=T0,
    last_activity=T1,
    source_created=T0,
    recommended_actions="Block it.\nTell somebody.",
    threat_name="Emotet",
    threat_family="Emo",
    actor="APT 0",
    url="https://sensor.example/1",
    confidence=80,
    tags=["t"],
    vulnerabilities=["CVE-2026-0001"],
    evidence=[
        graph.IpEvidence(ipAddress="10.0.0.1", roles=["source"]),
        graph.IpEvidence(ipAddress="192.0.2.1", roles=["destination"]),
        graph.IpEvidence(ipAddress="192.0.2.1", roles=["commandAndControl"]),
        graph.AzureResourceEvidence(resourceId="/subscriptions/sub-1/x"),
    ],
    additional={"flow_id": 7, "@odata.type": "x"},
    entities=[Observed("domain", "c2.example", "commandAndControl"), Observed("host", "-")],
    legacy={"networkConnections": [{"sourceAddress": "10.0.0.1", "direction": "outbound"}]},
)


def test_todays_face_of_a_full_alert() -> None:
    face = faces.today(faces.provider_faces(FULL, "tenant-1", T2, raw_sha256="f00"))
    assert [one["ipAddress"] for one in face["evidence"] if "ipAddress" in one] == ["10.0.0.1", "192.0.2.1"]
    assert face["evidence"][1]["roles"] == ["destination", "commandAndControl"]
    expected = {
        "actorDisplayName": "APT 0",
        "additionalData": {
            "flow_id": 7,
            "type": "x",
            "vendorSeverity": "Critical",
            "sourceCreatedDateTime": T0,
            "vulnerabilities": ["CVE-2026-0001"],
            "rawSha256": "f00",
        },
        "alertWebUrl": "https://sensor.example/1",
        "categories": ["CommandAndControl"],
        "category": "CommandAndControl",
        "detectionSource": "unknown",
        "detectorId": "1:2:3",
        "firstActivityDateTime": T0,
        "lastActivityDateTime": T1,
        "mitreTechniques": ["T1071.001"],
        "productName": "OISF Suricata",
        "providerAlertId": "1",
        "recommendedActions": "Block it.\nTell somebody.",
        "serviceSource": "unknown",
        "severity": "high",
        "status": "new",
        "systemTags": ["t", "vendorSeverity:critical"],
        "tenantId": "tenant-1",
        "threatDisplayName": "Emotet",
        "threatFamilyName": "Emo",
        "title": "ET MALWARE Beacon",
        "incidentId": None,
        "classification": None,
    }
    assert {name: face[name] for name in expected} == expected


def test_the_legacy_face_of_a_full_alert() -> None:
    face = faces.of_old(faces.provider_faces(FULL, "tenant-1", T2))
    expected = {
        "activityGroupName": "APT 0",
        "azureTenantId": "tenant-1",
        "azureSubscriptionId": "sub-1",
        "category": "A Network Trojan was detected",
        "confidence": 80,
        "detectionIds": ["1:2:3"],
        "eventDateTime": T0,
        "lastEventDateTime": T1,
        "malwareStates": [{"name": "Emotet", "family": "Emo"}],
        "networkConnections": [
            {"sourceAddress": "10.0.0.1", "direction": "outbound"},
            {"destinationAddress": "192.0.2.1"},
        ],
        "recommendedActions": ["Block it.", "Tell somebody."],
        "severity": "high",
        "sourceMaterials": ["https://sensor.example/1"],
        "status": "newAlert",
        "tags": ["t", "vendorSeverity:critical", "T1071.001"],
        "title": "ET MALWARE Beacon",
        "vendorInformation": {
            "provider": "Suricata",
            "providerVersion": "8.0",
            "subProvider": "sensor-1",
            "vendor": "OISF",
        },
        "vulnerabilityStates": [{"cve": "CVE-2026-0001"}],
    }
    assert {name: face[name] for name in expected} == expected


def test_both_faces_share_one_id_that_derives_from_tenant_product_and_the_sources_id() -> None:
    one = made()
    assert faces.today(one)["id"] == faces.of_old(one)["id"] == one.id
    assert made(title="other").id == one.id
    assert made(provider_alert_id="2").id != one.id
    assert made(product="Q").id != one.id
    assert faces.provider_faces(alert(), "tenant-2", T2).id != one.id
    assert made(product="Q", provider="shared").id == made(product="R", provider="shared").id


def test_entities_come_from_evidence_from_the_source_and_from_its_own_states() -> None:
    found = faces.provider_faces(FULL, "t", T2).entities
    assert Observed("domain", "c2.example", "commandAndControl") in found
    assert Observed("address", "10.0.0.1", "source") in found
    assert all(one.value != "-" for one in found)


def test_without_a_time_the_time_of_receipt_stands_and_says_so() -> None:
    face = faces.today(made())
    assert face["firstActivityDateTime"] == face["lastActivityDateTime"] == T2
    assert face["additionalData"] == {"timeSource": "received"}
    assert faces.of_old(made())["eventDateTime"] == T2
    assert faces.today(made(last_activity=T0))["firstActivityDateTime"] == T0
    assert faces.today(made(last_activity=T0))["additionalData"] is None


@pytest.mark.parametrize(
    ("vendor", "product", "name"),
    [("OISF", "Suricata", "OISF Suricata"), ("Wazuh", "Wazuh", "Wazuh"), ("Microsoft", "Microsoft X", "Microsoft X")],
)
def test_productName_has_the_vendor_once(vendor: str, product: str, name: str) -> None:
    assert faces.today(made(vendor=vendor, product=product))["productName"] == name


def test_the_same_alert_gives_the_same_bytes() -> None:
    first, second = (faces.encode(faces.provider_faces(FULL, "t", T2)) for _ in range(2))
    assert first == second
    assert faces.decode(first) == faces.provider_faces(FULL, "t", T2)


def test_stored_bytes_are_the_inner_form_of_todays_face() -> None:
    state = faces.provider_faces(FULL, "t", T2)
    read = json.loads(faces.encode(state, {"createdDateTime": T1}))
    assert {**faces.today(state), "createdDateTime": T1}.items() <= read.items()
    assert faces.decode(json.dumps(read).encode()) == state


@pytest.mark.parametrize("version", VERSIONS)
def test_rendered_faces_are_what_the_contract_accepts(version: Version) -> None:
    state = faces.provider_faces(FULL, "t", T2)
    for name, face in ((faces.TODAY, faces.today(state)), (faces.LEGACY, faces.of_old(state))):
        wire = json.loads(json.dumps(edm(version).render(name, face)))
        edm(version).accept(name, wire)
        known = edm(version).structured(name).properties
        assert [key for key in wire if key not in known and not key.startswith("@")] == []


# ---------------------------------------------------------------- later records


def test_the_same_content_again_is_a_repeat_in_whatever_order_versions_come() -> None:
    first, second = made(received=T0), made(received=T1, description="more")
    both = faces.revise(first, second, T2)
    assert both is not first
    assert faces.revise(both, made(received=T2), T2) is both
    assert faces.revise(both, second, T2) is both


def test_a_later_record_adds_evidence_and_replaces_what_it_sets() -> None:
    before = made(
        description="first",
        severity="medium",
        first_activity=T1,
        techniques=["T1"],
        additional={"a": 1, "b": 1},
        evidence=[graph.IpEvidence(ipAddress="192.0.2.1")],
    )
    after = faces.revise(
        before,
        made(
            severity="unknown",
            first_activity=T0,
            last_activity=T2,
            techniques=["T2"],
            additional={"b": 2},
            evidence=[graph.UserEvidence(userAccount=graph.UserAccount(accountName="ann"))],
        ),
        T2,
    )
    face = faces.today(after)
    assert (face["description"], face["severity"]) == ("first", "medium")
    assert (face["firstActivityDateTime"], face["lastActivityDateTime"]) == (T0, T2)
    assert face["mitreTechniques"] == ["T1", "T2"]
    assert face["additionalData"] == {"a": 1, "b": 2}
    assert len(face["evidence"]) == 2
    old = faces.of_old(after)
    assert (old["eventDateTime"], old["lastEventDateTime"]) == (T0, T2)
    assert old["networkConnections"] == [{"sourceAddress": "192.0.2.1"}]
    assert old["userStates"] == [{"accountName": "ann"}]
    assert {one.value for one in after.entities} == {"192.0.2.1", "ann"}


def test_a_time_of_receipt_gives_way_to_one_that_a_record_names() -> None:
    after = faces.revise(made(received=T0), made(received=T2, first_activity=T1), T2)
    assert faces.today(after)["firstActivityDateTime"] == faces.today(after)["lastActivityDateTime"] == T1
    assert faces.today(after)["additionalData"] == {}
    back = faces.revise(made(first_activity=T1), made(received=T2, description="x"), T2)
    assert faces.today(back)["firstActivityDateTime"] == T1
    assert faces.today(back)["additionalData"] in (None, {})


def test_a_version_that_is_older_than_the_newest_only_fills_gaps() -> None:
    newest = made(source_updated=T1, title="new", status="resolved")
    after = faces.revise(newest, made(source_updated=T0, title="old", description="only here"), T2)
    face = faces.today(after)
    assert (face["title"], face["description"], face["status"]) == ("new", "only here", "resolved")
    assert after.version == T1


def test_parts_of_one_alert_join_in_any_order() -> None:
    parts = [
        made(first_activity=T0, severity="high", category="Malware"),
        made(first_activity=T1, severity="unknown", evidence=[graph.DeviceEvidence(hostName="pc1")]),
        made(first_activity=T2, severity="unknown", evidence=[graph.UrlEvidence(url="https://a.example/")]),
    ]
    results = []
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        whole = parts[order[0]]
        for index in order[1:]:
            whole = faces.revise(whole, parts[index], T2)
        face = faces.today(whole)
        results.append(
            (
                face["severity"],
                face["category"],
                face["firstActivityDateTime"],
                face["lastActivityDateTime"],
                sorted(one["@odata.type"] for one in face["evidence"]),
            )
        )
    assert results[0] == results[1] == results[2]
    assert results[0][:4] == ("high", "Malware", T0, T2)


def test_the_incident_of_an_alert_shows_in_both_faces() -> None:
    moved = faces.move(made(), "i1")
    assert (faces.today(moved)["incidentId"], faces.of_old(moved)["incidentIds"]) == ("i1", ["i1"])
    assert faces.move(moved, "i1") is moved
    assert faces.revise(moved, made(description="x"), T2).incident == "i1"
    assert faces.of_old(faces.move(moved, None))["incidentIds"] == []


TEXT = st.text(max_size=8)
ALERTS = st.builds(
    lambda **given: Alert(**given),
    vendor=TEXT,
    product=TEXT,
    provider_alert_id=TEXT,
    title=TEXT,
    severity=st.sampled_from(["unknown", "informational", "low", "medium", "high"]),
    description=st.none() | TEXT,
    vendor_severity=st.none() | TEXT | st.just("CRITICAL"),
    category=st.none() | TEXT,
    categories=st.lists(TEXT, max_size=2),
    techniques=st.lists(TEXT, max_size=2),
    first_activity=st.none() | st.just(T0),
    status=st.sampled_from(["new", "inProgress", "resolved"]),
    classification=st.none() | st.sampled_from(["falsePositive", "truePositive"]),
    tags=st.lists(TEXT, max_size=3),
    vulnerabilities=st.lists(TEXT, max_size=2),
    threat_name=st.none() | TEXT,
    additional=st.dictionaries(TEXT, st.none() | st.integers() | TEXT | st.lists(TEXT, max_size=2), max_size=3),
    entities=st.lists(st.builds(Observed, st.sampled_from(["host", "user", "x"]), TEXT, TEXT), max_size=3),
    evidence=st.lists(
        st.builds(lambda text: graph.UrlEvidence(url=text), TEXT)
        | st.builds(lambda text: graph.DeviceEvidence(hostName=text, lastIpAddress=text), TEXT)
        | st.builds(lambda text: graph.UserEvidence(userAccount=graph.UserAccount(accountName=text)), TEXT),
        max_size=4,
    ),
)


@settings(max_examples=150, deadline=None)
@given(ALERTS, ALERTS)
def test_any_alert_is_rendered_stored_read_back_and_joined(one: Alert, other: Alert) -> None:
    state = faces.provider_faces(one, "t", T2)
    for current in (state, faces.revise(state, faces.provider_faces(other, "t", T2), T2)):
        for version in VERSIONS:
            for name, face in ((faces.TODAY, faces.today(current)), (faces.LEGACY, faces.of_old(current))):
                edm(version).accept(name, json.loads(json.dumps(edm(version).render(name, face))))
        read = faces.decode(faces.encode(current))
        assert faces.encode(read) == faces.encode(current)
