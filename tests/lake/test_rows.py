"""Sign-ins and audits as rows of Microsoft's tables."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.lake.test_coerce import values

from bartizan.lake.coerce import coerce
from bartizan.lake.rows import audit_rows, sign_in_rows
from bartizan.lake.tables import TABLES

TENANT = "11111111-2222-3333-4444-555555555555"
SIGN_IN: dict[str, Any] = {
    "id": "s-1",
    "createdDateTime": "2026-11-23T04:50:30.1234567Z",
    "userId": "u-1",
    "userDisplayName": "Ann Example",
    "userPrincipalName": "ann@example.org",
    "userType": "guest",
    "homeTenantId": "other",
    "resourceTenantId": TENANT,
    "appId": "a-1",
    "appDisplayName": "Portal",
    "ipAddress": "203.0.113.7",
    "clientAppUsed": "Browser",
    "correlationId": "c-1",
    "conditionalAccessStatus": "notApplied",
    "isInteractive": True,
    "resourceId": "r-1",
    "resourceDisplayName": "Mail",
    "riskLevelAggregated": "high",
    "riskState": "atRisk",
    "riskDetail": "none",
    "riskEventTypes_v2": ["unfamiliarFeatures"],
    "autonomousSystemNumber": 64_500,
    "tokenIssuerType": "AzureAD",
    "status": {"errorCode": 50_126, "failureReason": "Invalid password", "additionalDetails": None},
    "location": {
        "city": "Bern",
        "state": "BE",
        "countryOrRegion": "CH",
        "geoCoordinates": {"latitude": 46.9, "longitude": 7.4},
    },
    "deviceDetail": {"deviceId": "d-1", "displayName": "pc1", "operatingSystem": "Windows", "isManaged": True},
    "appliedConditionalAccessPolicies": [{"id": "p", "result": "success"}],
    "signInEventTypes": ["interactiveUser"],
    "privateLinkDetails": {"policyId": "x"},
}


def rows_of(inner: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: coerce(name, row) for name, row in sign_in_rows(inner, TENANT)}


def test_a_sign_in_is_a_row_of_the_log() -> None:
    row = rows_of(SIGN_IN)["SigninLogs"]
    expected = {
        "TimeGenerated": SIGN_IN["createdDateTime"],
        "CreatedDateTime": SIGN_IN["createdDateTime"],
        "Id": "s-1",
        "UserPrincipalName": "ann@example.org",
        "Identity": "Ann Example",
        "IPAddress": "203.0.113.7",
        "ResultType": "50126",
        "ResultDescription": "Invalid password",
        "Status": SIGN_IN["status"],
        "Location": "CH",
        "LocationDetails": SIGN_IN["location"],
        "DeviceDetail": SIGN_IN["deviceDetail"],
        "ConditionalAccessPolicies": SIGN_IN["appliedConditionalAccessPolicies"],
        "AppliedConditionalAccessPolicies": '[{"id":"p","result":"success"}]',
        "ResourceIdentity": "r-1",
        "RiskEventTypes_V2": '["unfamiliarFeatures"]',
        "AutonomousSystemNumber": "64500",
        "AADTenantId": TENANT,
        "Category": "SignInLogs",
        "OperationName": "Sign-in activity",
        "Type": "SigninLogs",
        "_Extra": {"signInEventTypes": ["interactiveUser"], "privateLinkDetails": {"policyId": "x"}},
    }
    assert {name: row.get(name) for name in expected} == expected
    assert "ResourceId" not in row  # the log's own resource, not the one that was signed in to


def test_a_sign_in_is_a_row_of_advanced_hunting_with_its_numbers() -> None:
    rows = rows_of(SIGN_IN)
    assert set(rows) == {"SigninLogs", "EntraIdSignInEvents", "IdentityLogonEvents"}
    logon = rows["IdentityLogonEvents"]
    assert (logon["ActionType"], logon["LogonType"], logon["FailureReason"]) == (
        "LogonFailed",
        "Interactive",
        "Invalid password",
    )
    assert (logon["AccountName"], logon["AccountDomain"], logon["Location"]) == ("ann", "example.org", "CH")
    expected = {
        "Timestamp": SIGN_IN["createdDateTime"],
        "Application": "Portal",
        "LogonType": '["interactiveUser"]',
        "ErrorCode": 50_126,
        "AccountUpn": "ann@example.org",
        "IsExternalUser": 1,
        "IsGuestUser": True,
        "EntraIdDeviceId": "d-1",
        "IsManaged": 1,
        "RiskLevelAggregated": 100,
        "RiskState": 4,
        "RiskDetails": 0,
        "TokenIssuerType": 0,
        "ConditionalAccessStatus": 2,
        "Country": "CH",
        "Latitude": "46.9",
        "RequestId": "s-1",
    }
    row = rows["EntraIdSignInEvents"]
    assert {name: row.get(name) for name in expected} == expected


def test_what_is_unset_says_so() -> None:
    row = rows_of({"id": "s", "createdDateTime": SIGN_IN["createdDateTime"], "status": None, "location": None})
    assert "ResultType" not in row["SigninLogs"]
    assert row["EntraIdSignInEvents"]["IsExternalUser"] == -1
    assert row["EntraIdSignInEvents"]["RiskLevelAggregated"] == 0


@pytest.mark.parametrize(
    ("given", "log"),
    [
        ({"signInEventTypes": ["interactiveUser"]}, "SigninLogs"),
        ({"signInEventTypes": ["nonInteractiveUser"]}, "AADNonInteractiveUserSignInLogs"),
        ({"signInEventTypes": ["servicePrincipal"]}, "AADServicePrincipalSignInLogs"),
        ({"signInEventTypes": ["managedIdentity"]}, "AADManagedIdentitySignInLogs"),
        ({"signInEventTypes": [], "isInteractive": False, "userId": "u"}, "AADNonInteractiveUserSignInLogs"),
        ({"isInteractive": True}, "SigninLogs"),
        ({}, "SigninLogs"),
        ({"servicePrincipalId": "sp"}, "AADServicePrincipalSignInLogs"),
        ({"servicePrincipalId": "", "userId": "u"}, "SigninLogs"),
    ],
)
def test_each_kind_of_sign_in_has_its_log(given: dict[str, Any], log: str) -> None:
    names = [name for name, _ in sign_in_rows(given, TENANT)]
    assert names[0] == log
    workload = log in ("AADServicePrincipalSignInLogs", "AADManagedIdentitySignInLogs")
    assert ("EntraIdSpnSignInEvents" in names) is workload and ("EntraIdSignInEvents" in names) is not workload


def test_an_audit_is_a_row_of_audit_logs() -> None:
    inner = {
        "@odata.type": "#microsoft.graph.directoryAudit",
        "id": "a-1",
        "activityDateTime": "2026-11-23T04:50:30.1234567Z",
        "activityDisplayName": "Add member to role",
        "category": "RoleManagement",
        "operationType": "Assign",
        "result": "success",
        "loggedByService": "Core Directory",
        "initiatedBy": {"app": None, "user": {"id": "u", "userPrincipalName": "ann@example.org", "displayName": None}},
        "targetResources": [{"id": "t", "modifiedProperties": [{"displayName": "Role", "newValue": '"Admin"'}]}],
        "additionalDetails": [{"key": "k", "value": "v"}],
        "userAgent": "curl",
    }
    ((name, raw),) = audit_rows(inner, TENANT)
    row = coerce(name, raw)
    expected = {
        "TimeGenerated": inner["activityDateTime"],
        "OperationName": "Add member to role",
        "ActivityDisplayName": "Add member to role",
        "AADOperationType": "Assign",
        "Category": "RoleManagement",
        "Identity": "ann@example.org",
        "InitiatedBy": inner["initiatedBy"],
        "TargetResources": inner["targetResources"],
        "AdditionalDetails": inner["additionalDetails"],
        "Result": "success",
        "AADTenantId": TENANT,
        "_Extra": {"userAgent": "curl"},
    }
    assert name == "AuditLogs" and {key: row.get(key) for key in expected} == expected


properties = st.sampled_from([*SIGN_IN, "operationType", "initiatedBy", "activityDateTime", "unheardOf"])


@given(st.dictionaries(properties, values, max_size=8))
def test_any_document_becomes_rows_with_documented_columns(inner: dict[str, Any]) -> None:
    """Whatever stands in it: no error, no undocumented column, and every property is in the first row."""
    for made in (sign_in_rows(inner, TENANT), audit_rows(inner, TENANT)):
        for name, row in made:
            assert set(row) <= {*TABLES[name].columns, "_Extra"}
            coerce(name, row)
        kept = [*made[0][1].values(), *made[0][1].get("_Extra", {}).values()]
        for value in inner.values():
            assert value is None or value == [] or any(value is one or value == one for one in kept)


@pytest.mark.shared
def test_shared_sign_ins(shared: Path) -> None:
    """Only what the log has no column for is left over, and every row has its own time."""
    left: set[str] = set()
    with (shared / "identity" / "sample" / "signins.jsonl").open() as lines:
        for line in lines:
            for name, row in sign_in_rows(json.loads(line), TENANT):
                made = coerce(name, row)
                assert made[TABLES[name].time or ""] < "2027" and "timeSource" not in made.get("_Extra", {})
                if name == "SigninLogs":
                    left |= set(made.get("_Extra", {}))
    assert left <= {"signInEventTypes", "servicePrincipalCredentialKeyId", "timeSource"}
