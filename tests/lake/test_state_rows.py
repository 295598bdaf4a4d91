"""Alerts, incidents, risk, users and indicators as rows of Microsoft's tables."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lake.test_coerce import values

from bartizan.lake import alert_rows as alerts
from bartizan.lake import identity_rows as identity
from bartizan.lake.coerce import coerce
from bartizan.lake.tables import TABLES

TENANT = "11111111-2222-3333-4444-555555555555"
AT = "2026-11-23T05:00:00.0000000Z"
_TYPE = "#microsoft.graph.security."
ALERT: dict[str, Any] = {
    "id": "a-1",
    "title": "Suspicious PowerShell",
    "createdDateTime": "2026-11-23T04:50:30.1234567Z",
    "firstActivityDateTime": "2026-11-23T04:00:00.0000000Z",
    "severity": "high",
    "status": "inProgress",
    "category": "Execution",
    "serviceSource": "microsoftDefenderForEndpoint",
    "detectionSource": "antivirus",
    "detectorId": "d-1",
    "providerAlertId": "p-1",
    "mitreTechniques": ["T1059.001", "T1059"],
    "recommendedActions": "Look",
    "additionalData": {"ruleId": "7"},
    "evidence": [
        {
            "@odata.type": f"{_TYPE}userEvidence",
            "roles": ["compromised"],
            "userAccount": {"accountName": "ann", "userPrincipalName": "ann@example.org", "userSid": "S-1-5"},
        },
        {"@odata.type": f"{_TYPE}deviceEvidence", "mdeDeviceId": "m-1", "hostName": "pc1", "lastIpAddress": "10.0.0.1"},
        {
            "@odata.type": f"{_TYPE}processEvidence",
            "processId": 7,
            "processCommandLine": "powershell -enc x",
            "imageFile": {"fileName": "powershell.exe", "filePath": "C:\\Windows", "sha1": "00", "fileSize": 5},
        },
        {"@odata.type": f"{_TYPE}ipEvidence", "ipAddress": "203.0.113.7", "roles": ["source"]},
        {"@odata.type": f"{_TYPE}newKindEvidence", "thing": "x"},
    ],
}


def by_table(rows: list[tuple[str, dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    made: dict[str, list[dict[str, Any]]] = {}
    for name, row in rows:
        assert set(row) <= {*TABLES[name].columns, "_Extra"}
        fitted = coerce(name, row)
        assert "_Extra" not in fitted or "_Extra" in row, fitted  # each value fits its column
        made.setdefault(name, []).append(fitted)
    return made


def has(row: dict[str, Any], expected: dict[str, Any]) -> None:
    assert {name: row.get(name) for name in expected} == expected


def test_a_new_alert_is_a_row_of_each_table() -> None:
    rows = by_table(alerts.alert_rows(ALERT, TENANT, AT))
    (info,), (state,) = rows["AlertInfo"], rows["SecurityAlert"]
    has(
        info,
        {
            "Timestamp": ALERT["createdDateTime"],
            "AlertId": "a-1",
            "Severity": "High",
            "ServiceSource": "Microsoft Defender for Endpoint",
            "DetectionSource": "Antivirus",
            "AttackTechniques": '["T1059.001","T1059"]',
        },
    )
    has(
        state,
        {
            "TimeGenerated": AT,
            "SystemAlertId": "a-1",
            "AlertSeverity": "High",
            "Status": "InProgress",
            "Tactics": "Execution",
            "Techniques": '["T1059"]',
            "SubTechniques": '["T1059.001"]',
            "CompromisedEntity": "ann@example.org",
            "StartTime": ALERT["firstActivityDateTime"],
            "ProductName": "Microsoft Defender for Endpoint",
            "ExtendedProperties": '{"ruleId":"7"}',
        },
    )
    kinds = [each["Type"] for each in json.loads(state["Entities"])]
    assert kinds == ["account", "host", "process", "ip", "newKind"]


def test_entities_have_the_names_of_sentinel() -> None:
    """What queries over SecurityAlert.Entities look for, by kind of evidence; of unknown kinds what it says."""
    space = "#microsoft.graph.security."
    address = {"@odata.type": f"{space}ipEvidence", "ipAddress": "203.0.113.7", "countryLetterCode": "BR"}
    image = {"fileName": "cmd.exe", "filePath": "C:\\Windows", "sha256": "ff", "fileSize": 9}
    evidence = [
        {"@odata.type": f"{space}fileHashEvidence", "algorithm": "sha256", "value": "ff"},
        {"@odata.type": f"{space}dnsEvidence", "domainName": "c2.example", "ipAddresses": [address]},
        {"@odata.type": f"{space}networkConnectionEvidence", "destinationAddress": address, "destinationPort": 443},
        {"@odata.type": f"{space}registryValueEvidence", "registryHive": "HKEY_LOCAL_MACHINE", "registryKey": "Run",
         "registryValueName": "x", "registryValue": "y"},
        {"@odata.type": f"{space}analyzedMessageEvidence", "recipientEmailAddress": "ann@example.org",
         "p2Sender": {"emailAddress": "eve@evil.example"}, "subject": "Pay", "urls": []},
        {"@odata.type": f"{space}processEvidence", "processId": 7, "processCommandLine": "cmd /c x", "imageFile": image,
         "userAccount": {"accountName": "ann", "domainName": "CORP"}, "parentProcessId": 4},
        {"@odata.type": f"{space}mailboxEvidence", "primaryAddress": "ann@example.org", "upn": "ann@example.org"},
        {"@odata.type": f"{space}securityGroupEvidence", "displayName": "Admins", "securityGroupId": "g-1"},
        {"@odata.type": f"{space}userEvidence", "userAccount": {}},
        {"@odata.type": f"{space}kubernetesPodEvidence", "name": "web"},
        "odd",
    ]  # fmt: skip
    rows = by_table(alerts.alert_rows({**ALERT, "evidence": evidence}, TENANT, AT))
    found = json.loads(rows["SecurityAlert"][0]["Entities"])
    ip = {"Type": "ip", "Address": "203.0.113.7", "Location": {"CountryCode": "BR"}}
    file = {"Type": "file", "Name": "cmd.exe", "Directory": "C:\\Windows", "SizeInBytes": 9,
            "FileHashes": [{"Type": "filehash", "Algorithm": "SHA256", "Value": "ff"}]}  # fmt: skip
    assert [{name: value for name, value in each.items() if name != "$id"} for each in found] == [
        {"Type": "filehash", "Algorithm": "SHA256", "Value": "ff"},
        {"Type": "dns", "DomainName": "c2.example", "IpAddress": [ip]},
        {"Type": "network-connection", "DestinationAddress": ip, "DestinationPort": 443},
        {"Type": "registry-value", "Name": "x", "Value": "y",
         "Key": {"Type": "registry-key", "Hive": "HKEY_LOCAL_MACHINE", "Key": "Run"}},
        {"Type": "mail-message", "Recipient": "ann@example.org", "Sender": "eve@evil.example", "Subject": "Pay"},
        {"Type": "process", "ProcessId": "7", "CommandLine": "cmd /c x", "ImageFile": file,
         "Account": {"Type": "account", "Name": "ann", "NTDomain": "CORP"},
         "ParentProcess": {"Type": "process", "ProcessId": "4"}},
        {"Type": "mailbox", "MailboxPrimaryAddress": "ann@example.org", "Upn": "ann@example.org"},
        {"Type": "security-group", "ObjectGuid": "g-1", "DisplayName": "Admins"},
        {"Type": "account"},
        {"Type": "kubernetesPod", "@odata.type": f"{space}kubernetesPodEvidence", "name": "web"},
        {"Type": "unknown", "Value": "odd"},
    ]  # fmt: skip
    assert [each["$id"] for each in found] == [str(number) for number in range(1, len(evidence) + 1)]


def test_evidence() -> None:
    """The kind says which columns are filled; who was struck is impacted; all of it stands in AdditionalFields."""
    evidence = by_table(alerts.alert_rows(ALERT, TENANT, AT))["AlertEvidence"]
    roles = [(each["EntityType"], each["EvidenceRole"], each.get("EvidenceDirection")) for each in evidence]
    assert roles == [
        ("User", "Impacted", None),
        ("Machine", "Impacted", None),
        ("Process", "Related", None),
        ("Ip", "Related", "Source"),
        ("NewKind", "Related", None),
    ]
    user, device, process, ip, _ = evidence
    has(user, {"AccountUpn": "ann@example.org", "AccountSid": "S-1-5", "AlertId": "a-1", "Categories": '["Execution"]'})
    has(device, {"DeviceId": "m-1", "DeviceName": "pc1", "LocalIP": "10.0.0.1"})
    has(process, {"ProcessCommandLine": "powershell -enc x", "FileName": "powershell.exe", "SHA1": "00", "FileSize": 5})
    has(ip, {"RemoteIP": "203.0.113.7"})
    assert json.loads(ip["AdditionalFields"])["ipAddress"] == "203.0.113.7"


def test_a_changed_alert_is_a_further_row_of_its_states() -> None:
    rows = by_table(alerts.alert_state_rows({**ALERT, "status": "resolved"}, TENANT, AT))
    assert set(rows) == {"SecurityAlert"} and rows["SecurityAlert"][0]["Status"] == "Resolved"


def test_an_incident() -> None:
    incident = {
        "id": "42",
        "displayName": "Several",
        "severity": "medium",
        "status": "resolved",
        "classification": "truePositive",
        "determination": "malware",
        "assignedTo": "ann@example.org",
        "createdDateTime": "2026-11-23T04:50:30.1234567Z",
        "customTags": ["vip"],
        "comments": [{"comment": "done", "createdByDisplayName": "Ann", "createdDateTime": AT}],
        "priorityScore": 7,
        "@bartizan.correlation": {
            "firstActivityDateTime": "2026-11-23T01:00:00.0000000Z",
            "lastActivityDateTime": "2026-11-23T02:00:00.0000000Z",
        },
    }
    (row,) = by_table(alerts.incident_rows(incident, TENANT, AT, ["a-1", "a-2"]))["SecurityIncident"]
    has(
        row,
        {
            "TimeGenerated": AT,
            "IncidentName": "42",
            "IncidentNumber": 42,
            "FirstActivityTime": "2026-11-23T01:00:00.0000000Z",
            "LastActivityTime": "2026-11-23T02:00:00.0000000Z",
            "Status": "Closed",
            "ClosedTime": AT,
            "Classification": "TruePositive",
            "AlertIds": ["a-1", "a-2"],
            "Labels": [{"labelName": "vip", "labelType": "User"}],
            "Owner": {"userPrincipalName": "ann@example.org", "assignedTo": "ann@example.org"},
            "AdditionalData": {"priorityScore": 7, "alertsCount": 2},
        },
    )
    open_one = {**incident, "status": "active", "id": "inc-x"}
    (row,) = by_table(alerts.incident_rows(open_one, TENANT, AT))["SecurityIncident"]
    has(row, {"Status": "New", "Classification": None, "ClosedTime": None, "AlertIds": []})


def test_each_incident_has_a_number_of_its_own_that_stays() -> None:
    def number(id: str, **more: str) -> int:
        (row,) = by_table(alerts.incident_rows({"id": id, **more}, TENANT, AT))["SecurityIncident"]
        assert isinstance(row["IncidentNumber"], int) and 0 <= row["IncidentNumber"] < 2**31
        return row["IncidentNumber"]

    ids = [f"10c50d44-e5e2-88b7-8c68-{n:012x}" for n in range(1000)]
    assert len({number(id) for id in ids}) == len(ids)
    assert number(ids[7]) == number(ids[7], status="resolved")


def test_risk() -> None:
    detection = {"id": "r-1", "riskEventType": "unlikelyTravel", "location": {"city": "Bern"}, "riskType": "x"}
    (row,) = by_table(identity.risk_detection_rows(detection, TENANT, AT))["AADUserRiskEvents"]
    has(row, {"TimeGenerated": AT, "RiskEventType": "unlikelyTravel", "Location": {"city": "Bern"}, "Id": "r-1"})
    assert row["_Extra"] == {"riskType": "x"}
    user = {"id": "u-1", "riskLevel": "high", "riskLastUpdatedDateTime": AT, "isDeleted": False}
    (row,) = by_table(identity.risky_user_rows(user, TENANT, AT))["AADRiskyUsers"]
    has(row, {"Id": "u-1", "RiskLevel": "high", "IsDeleted": False, "RiskLastUpdatedDateTime": AT})
    (row,) = by_table(identity.risky_user_gone("u-1", TENANT, AT))["AADRiskyUsers"]
    has(row, {"Id": "u-1", "IsDeleted": True})


def test_a_user_has_both_spellings() -> None:
    user = {
        "id": "u-1",
        "userPrincipalName": "ann@example.org",
        "displayName": "Ann",
        "accountEnabled": True,
        "department": "IT",
        "proxyAddresses": ["SMTP:ann@example.org", "sip:ann@example.org"],
        "employeeHireDate": AT,
    }
    (row,) = by_table(identity.user_rows(user, TENANT, AT))["IdentityInfo"]
    has(
        row,
        {
            "AccountUpn": "ann@example.org",
            "AccountUPN": "ann@example.org",
            "AccountName": "ann",
            "AccountDomain": "example.org",
            "Department": "IT",
            "IsAccountEnabled": True,
            "SipProxyAddress": "ann@example.org",
            "Timestamp": AT,
            "TimeGenerated": AT,
        },
    )
    assert set(row["_Extra"]) == {"proxyAddresses", "employeeHireDate"}
    (row,) = by_table(identity.user_gone("u-1", TENANT, AT))["IdentityInfo"]
    has(row, {"AccountObjectId": "u-1", "DeletedDateTime": AT, "IsAccountEnabled": False})


def test_an_indicator() -> None:
    indicator = {
        "id": "i-1",
        "action": "alert",
        "networkIPv6": "2001:db8::1",
        "killChain": ["C2", "Delivery"],
        "isActive": True,
        "confidence": 80,
        "severity": 4,
        "tlpLevel": "amber",
        "tags": ["x"],
        "malwareFamilyNames": ["y"],
        "knownFalsePositives": "none",
    }
    (row,) = by_table(identity.indicator_rows(indicator, TENANT, AT))["ThreatIntelligenceIndicator"]
    has(
        row,
        {
            "IndicatorId": "i-1",
            "NetworkIP": "2001:db8::1",
            "KillChainC2": True,
            "KillChainActions": False,
            "Active": True,
            "ConfidenceScore": 80.0,
            "ThreatSeverity": 4,
            "TrafficLightProtocolLevel": "amber",
            "Tags": '["x"]',
            "MalwareNames": '["y"]',
            "KnownFalsePositives": "none",
        },
    )
    (row,) = by_table(identity.indicator_gone("i-1", TENANT, AT))["ThreatIntelligenceIndicator"]
    has(row, {"IndicatorId": "i-1", "Active": False})


makers: list[Callable[[dict[str, Any], str, str], list[tuple[str, dict[str, Any]]]]] = [
    alerts.alert_rows,
    alerts.incident_rows,
    identity.risk_detection_rows,
    identity.risky_user_rows,
    identity.user_rows,
    identity.indicator_rows,
]


MORE = (
    "location tags killChain comments customTags assignedTo classification determination proxyAddresses otherMails "
    "businessPhones userPrincipalName userType networkIPv4 networkIPv6 knownFalsePositives customDetails"
).split()


@given(st.sampled_from(makers), st.dictionaries(st.sampled_from([*ALERT, *MORE]), values, max_size=8))
def test_any_document_becomes_rows(maker: Any, inner: dict[str, Any]) -> None:
    """Whatever its properties hold: no error, and no column that is not documented."""
    for name, row in maker(inner, TENANT, AT):
        assert set(row) <= {*TABLES[name].columns, "_Extra"}
        coerce(name, row)


@pytest.mark.shared
def test_shared_alerts(shared: Path) -> None:
    """Every shared alert in Graph's form: each value fits its column."""
    count = 0
    with (shared / "alerts" / "graph_security_alert_v2" / "events.jsonl").open() as lines:
        for line in lines:
            raw = json.loads(line)["raw"]
            raw = json.loads(raw) if isinstance(raw, str) else raw
            for each in raw.get("value", [raw]):
                rows = by_table(alerts.alert_rows(each, TENANT, AT))
                assert len(rows.get("AlertEvidence", [])) == len(each.get("evidence") or [])
                count += 1
    assert count > 0
