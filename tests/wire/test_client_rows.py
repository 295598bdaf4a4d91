"""What real clients send, letter by letter, and the fields that they read from the answer.

One row per call that a published client makes (its name is the test's id). Paths keep the client's own spelling,
encoding, slashes and stray ampersands.
"""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.wire.conftest import Running
from tests.wire.test_demo import EMPTY

_NOW = datetime.now(UTC)
_DAY_AGO = (_NOW - timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
_LATER = (_NOW + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
_MICROS_AGO = (_NOW - timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%S.480823+00:00")
_MICROS_LATER = (_NOW + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%S.480823+00:00")

_LEGACY_KEYS = (
    "activityGroupName assignedTo azureTenantId category closedDateTime confidence createdDateTime description "
    "eventDateTime severity status title cloudAppStates fileStates hostStates malwareStates networkConnections "
    "processes triggers userStates vendorInformation vulnerabilityStates registryKeyStates comments"
).split()
_V2_KEYS = (
    "title id severity createdDateTime lastUpdateDateTime incidentId detectionSource serviceSource evidence".split()
)
_RISKY_USER_KEYS = "id userDisplayName userPrincipalName riskLevel riskState riskDetail riskLastUpdatedDateTime".split()
_SIGN_IN_KEYS = (
    "createdDateTime ipAddress appDisplayName clientAppUsed resourceDisplayName status riskLevelDuringSignIn "
    "deviceDetail location appliedConditionalAccessPolicies riskDetail riskEventTypes_v2 riskLevelAggregated riskState"
).split()


@dataclass(frozen=True)
class Row:
    """A list that a client reads."""

    client: str
    url: str
    keys: list[str] = field(default_factory=list)
    some: bool = True  # the sample organisation has rows that match
    headers: dict[str, str] = field(default_factory=dict)


_EVENTUAL = {"ConsistencyLevel": "eventual"}
ROWS = [
    Row("security-sample-top", "/v1.0/security/alerts/?$top=1", _LEGACY_KEYS),
    Row(
        "security-sample-filter",
        "/v1.0/security/alerts?$filter=category eq 'Malware Command and Control Activity Detected' and "
        "vendorInformation/provider eq 'Suricata' and Status eq 'newAlert' and Severity eq 'High' and "
        "networkConnections/any(a:a/destinationAddress eq '203.0.113.99')&$top=5",
        _LEGACY_KEYS,
    ),
    Row(
        "security-sample-host",
        "/v1.0/security/alerts?$filter=hostStates/any(a:a/fqdn eq 'nowhere.example')",
        some=False,
    ),
    Row(
        "security-sample-assigned", "/v1.0/security/alerts?$filter=assignedTo eq 'nobody@northwall.example'", some=False
    ),
    Row("security-sample-score", "/v1.0/security/secureScores?$top=1", ["currentScore", "maxScore", "controlScores"]),
    Row("security-sample-profiles", "/v1.0/security/secureScoreControlProfiles", ["id", "title", "maxScore"]),
    Row("security-sample-actions", "/beta/security/securityActions", ["id", "status", "parameters"]),
    Row("quickstart-severity", "/beta/security/alerts?$filter=severity eq 'high'", _LEGACY_KEYS),
    Row("misp-indicators", "/beta/security/tiindicators", ["id", "action", "threatType"]),
    Row(
        "msticpy-list",
        f"/v1.0/security/alerts?$filter=createdDateTime ge {_MICROS_AGO} and createdDateTime le {_MICROS_LATER}",
        _LEGACY_KEYS,
    ),
    Row(
        "msticpy-user",
        f"/v1.0/security/alerts?$filter=createdDateTime ge {_MICROS_AGO} and createdDateTime le {_MICROS_LATER} and "
        'userStates/any(d:tolower(d/userPrincipalName) eq tolower("Nobody@Northwall.Example"))',
        some=False,
    ),
    Row(
        "xsoar-fetch",
        f"/v1.0/security/alerts?$top=50&$skip=0&$filter=createdDateTime ge {_DAY_AGO} and createdDateTime le {_LATER}",
        _LEGACY_KEYS,
    ),
    Row(
        "xsoar-fetch-v2",
        f"/v1.0/security/alerts_v2?$filter=createdDateTime ge {_DAY_AGO} and createdDateTime le {_LATER} "
        "and severity eq 'high'&$top=50",
        _V2_KEYS,
    ),
    Row("xsoar-incidents", "/v1.0/security/incidents?$top=10", ["id", "displayName", "status", "severity"]),
    Row("xsoar-user-by-mail", "/v1.0/users?$filter=mail eq 'ada.abara@northwall.example'", ["id", "displayName"]),
    Row("xsoar-risky-bare-ampersand", "/v1.0/identityProtection/riskyUsers?$top=50&", _RISKY_USER_KEYS),
    Row("xsoar-detections", "/v1.0/identityProtection/riskDetections?$top=50&$filter=riskLevel eq 'high'", ["id"]),
    Row("xsoar-roles", "/v1.0/directoryRoles", ["id", "displayName", "roleTemplateId"]),
    Row("xsoar-locations", "/v1.0/identity/conditionalAccess/namedLocations", ["id", "displayName"]),
    Row(
        "xsoar-azure-risky-users",
        "/v1.0/identityProtection/riskyUsers?$top=50&$orderby=riskLastUpdatedDateTime desc&"
        f"$filter=riskState eq 'atRisk' and riskLevel eq 'high' and riskLastUpdatedDateTime le {_LATER}",
        _RISKY_USER_KEYS,
    ),
    Row(
        "xsoar-azure-detections",
        f"/v1.0/identityProtection/riskDetections?$top=50&$orderby=detectedDateTime desc&"
        f"$filter=riskState eq 'atRisk' and detectedDateTime le {_LATER}",
        ["id", "riskEventType", "detectedDateTime"],
    ),
    Row(
        "splunk-incidents",
        f"/v1.0/security/incidents?$expand=alerts&$filter=lastUpdateDateTime ge {_DAY_AGO}"
        "&$orderby=lastUpdateDateTime&$skip=0",
        ["id", "alerts", "lastUpdateDateTime"],
    ),
    Row(
        "elastic-alerts",
        f"/v1.0/security/alerts_v2?$top=2000&$skip=0&$filter=lastUpdateDateTime ge {_DAY_AGO}"
        "&$orderby=lastUpdateDateTime asc",
        _V2_KEYS,
        headers={"Prefer": "include-unknown-enum-members"},
    ),
    Row(
        "elastic-incidents",
        f"/v1.0/security/incidents?$expand=alerts&$top=50&$skip=0&$filter=lastUpdateDateTime ge {_DAY_AGO}"
        "&$orderby=lastUpdateDateTime asc",
        ["alerts"],
        headers={"Prefer": "include-unknown-enum-members"},
    ),
    Row(
        "wazuh-alerts",
        f"/v1.0/security/alerts_v2?$top=50&$filter=createdDateTime+ge+{_DAY_AGO}+and+createdDateTime+lt+{_LATER}",
        _V2_KEYS,
    ),
    Row(
        "wazuh-detections",
        f"/v1.0/identityProtection/riskDetections?$top=50&$filter=activityDateTime+ge+2020-01-01T00:00:00Z"
        f"+and+activityDateTime+lt+{_LATER}",
        ["id"],
    ),
    Row(
        "wazuh-service-principals",
        f"/v1.0/identityProtection/servicePrincipalRiskDetections?$top=50&$filter=activityDateTime+lt+{_LATER}",
        ["id", "activityDateTime", "riskEventType"],
    ),
    Row("tenzir-alerts", f"/v1.0/security/alerts_v2?$top=999&$filter=lastUpdateDateTime ge {_DAY_AGO}", _V2_KEYS),
    Row(
        "tenzir-detections",
        "/v1.0/identityProtection/riskDetections?$select=id,riskEventType,detectedDateTime&$top=500",
        ["id", "riskEventType", "detectedDateTime"],
    ),
    Row(
        "tenzir-incidents", f"/v1.0/security/incidents?$expand=alerts&$filter=lastUpdateDateTime ge {_DAY_AGO}&$top=999"
    ),
    Row("tenzir-risky", "/v1.0/identityProtection/riskyUsers?$select=id,riskLevel,riskState&$top=500", ["riskLevel"]),
    Row(
        "opencti-incidents",
        "/v1.0/security/incidents?$expand=alerts&$filter=lastUpdateDateTime gt 2024-01-01T00:00:00%2B00:00",
        ["id", "alerts"],
    ),
    Row("opencti-indicator", "/beta/security/tiIndicators?$filter=externalId eq 'none'", some=False),
    Row("google-scores", "/beta/security/secureScores", ["currentScore", "maxScore"]),
    Row(
        "google-mfa",
        "/beta/reports/credentialUserRegistrationDetails",
        ["userPrincipalName", "isMfaRegistered"],
    ),
    Row(
        "cortex-user",
        "/v1.0/users?$filter=(userPrincipalName eq 'ada.abara@northwall.example') or (mail eq 'x') or "
        "(onPremisesSamAccountName eq 'x') or (employeeId eq 'x')&$select=id&$count=true",
        ["id"],
        headers=_EVENTUAL,
    ),
    Row("cortex-audits", "/v1.0/auditLogs/directoryAudits?$top=12", ["activityDateTime"], headers=_EVENTUAL),
    Row("shuffle-top", "/v1.0/security/alerts?$top=5", _LEGACY_KEYS),
    Row("shuffle-provider", "/v1.0/security/alerts?$filter=vendorInformation/provider eq 'Suricata'", _LEGACY_KEYS),
    Row("n8n-profiles", "/v1.0/security/secureScoreControlProfiles?$count=true&$top=2&$filter=rank ge 1", ["id"]),
    Row("shuffle-severity", "/v1.0/security/alerts?$filter=Severity eq 'high'", _LEGACY_KEYS),
    Row("n8n-scores", "/v1.0/security/secureScores?$count=true&$top=5", ["controlScores"]),
    Row("sekoia-sign-ins", "/v1.0/auditLogs/signIns?$orderby=createdDateTime desc", _SIGN_IN_KEYS),
    Row(
        "sekoia-registration",
        "/v1.0/reports/authenticationMethods/userRegistrationDetails",
        ["userPrincipalName", "isMfaRegistered", "methodsRegistered"],
    ),
    Row("steampipe-policies", "/v1.0/identity/conditionalAccess/policies", ["id", "displayName", "state"]),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.client)
def test_list(api: httpx.Client, row: Row) -> None:
    """The client's own query is answered, with every field that it reads."""
    check(api, row)


def check(api: httpx.Client, row: Row) -> None:
    answer = api.get(row.url, headers=row.headers)
    assert answer.status_code == 200, f"{row.url}\n{answer.text}"
    body: dict[str, Any] = answer.json()
    assert isinstance(body["value"], list)
    assert bool(body["value"]) == row.some, f"{row.url}\n{answer.text[:2000]}"
    for item in body["value"]:
        missing = [key for key in row.keys if key not in item]
        assert not missing, f"{missing} missing in {item}"


@pytest.fixture(scope="module")
def ada(api: httpx.Client) -> str:
    """A user with a machine and a manager."""
    found = api.get("/v1.0/users?$filter=department ne null&$count=true&$expand=manager", headers=_EVENTUAL).json()
    return str(next(each for each in found["value"] if each["manager"])["userPrincipalName"])


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("", "id displayName userPrincipalName mail accountEnabled jobTitle"),
        ("/manager", "id displayName userPrincipalName"),
        ("/memberOf", "id displayName"),
        ("/licenseDetails", "id skuId skuPartNumber"),
        ("/registeredDevices", "id displayName"),
        ("/ownedDevices", "id displayName operatingSystem"),
    ],
)
def test_investigation_of_a_user(api: httpx.Client, ada: str, path: str, keys: str) -> None:
    """What the samples, Cortex and XSOAR ask of one user, by the name that it signs in with."""
    answer = api.get(f"/v1.0/users/{ada}{path}")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    items = body.get("value", [body])
    assert items
    for item in items:
        assert set(keys.split()) <= item.keys()


def test_sign_ins_of_a_user(api: httpx.Client, ada: str) -> None:
    """Cortex asks for the sign-ins of an id since a date."""
    id = api.get(f"/v1.0/users/{ada}?$select=id").json()["id"]
    url = f"/v1.0/auditLogs/signIns?$filter=userId eq '{id}' and createdDateTime ge {_DAY_AGO}&$top=12"
    check(api, Row("cortex-sign-ins", url, [*_SIGN_IN_KEYS, "status"]))


def test_containment_says_that_nobody_performs_it(api: httpx.Client, ada: str) -> None:
    """Cortex's responder disables a user and ends its sessions: 501 with the reason, never a success."""
    for answer in (
        api.patch(f"/v1.0/users/{ada}", json={"accountEnabled": False}),
        api.post(f"/v1.0/users/{ada}/revokeSignInSessions"),
    ):
        assert answer.status_code == 501, answer.text
        assert answer.json()["error"]["message"]
    body = {"name": "BlockIp", "parameters": [{"name": "ip", "value": "203.0.113.1"}]}
    made = api.post("/beta/security/securityActions", json=body)
    assert made.status_code == 201, made.text
    assert made.json()["status"] == "Failed"
    assert made.json()["errorInfo"]["message"]


def test_risky_user_decisions(api: httpx.Client) -> None:
    """XSOAR reads a user and its history and decides; 204."""
    id = api.get("/v1.0/identityProtection/riskyUsers?$top=1").json()["value"][0]["id"]
    for name in ("confirmCompromised", "dismiss"):
        answer = api.post(f"/v1.0/identityProtection/riskyUsers/{name}", json={"userIds": [id]})
        assert (answer.status_code, answer.content) == (204, b"")
    one = api.get(f"/v1.0/identityProtection/riskyUsers/{id}").json()
    assert set(_RISKY_USER_KEYS) <= one.keys()
    history = api.get(f"/v1.0/identityProtection/riskyUsers/{id}/history?$top=1").json()
    assert history["value"][0]["riskState"] == "dismissed"


def test_control_profile(api: httpx.Client) -> None:
    """n8n reads one profile and changes it under Prefer: return=representation."""
    first = api.get("/v1.0/security/secureScoreControlProfiles").json()["value"][0]
    path = f"/v1.0/security/secureScoreControlProfiles/{first['id']}"
    assert api.get(path).json()["title"] == first["title"]
    body = {"vendorInformation": first["vendorInformation"], "state": "Reviewed"}
    answer = api.patch(path, json=body, headers={"Prefer": "return=representation"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["controlStateUpdates"][-1]["state"] == "Reviewed"
    assert api.patch(path, json={**body, "state": "Ignored"}).status_code == 204
    score = api.get("/v1.0/security/secureScores?$top=1").json()["value"][0]
    assert api.get(f"/v1.0/security/secureScores/{score['id']}").json()["controlScores"] == score["controlScores"]


def test_indicator_of_opencti(api: httpx.Client) -> None:
    """Created (with passiveOnly as text), found by externalId, changed, deleted."""
    body = {
        "action": "alert",
        "description": "d",
        "externalId": "octi-1",
        "expirationDateTime": _LATER,
        "targetProduct": "Azure Sentinel",
        "threatType": "WatchList",
        "tlpLevel": "white",
        "url": "http://octi.example/",
        "passiveOnly": "false",
    }
    made = api.post("/beta/security/tiIndicators", json=body)
    assert made.status_code == 201, made.text
    (found,) = api.get("/beta/security/tiIndicators?$filter=externalId eq 'octi-1'").json()["value"]
    path = f"/beta/security/tiIndicators/{found['id']}"
    answer = api.patch(path, json={"confidence": 50}, headers={"Prefer": "return=representation"})
    assert (answer.status_code, answer.json()["confidence"], answer.json()["passiveOnly"]) == (200, 50, False)
    assert api.patch(path, json={"confidence": 60}).status_code == 204
    assert api.delete(path).status_code == 204
    assert api.get(path).status_code == 404


def test_refused_handshake(api: httpx.Client) -> None:
    """The security sample knows this one sentence."""
    body = {
        "changeType": "updated",
        "notificationUrl": "http://localhost:9/listen",
        "resource": "security/alerts?$filter=status eq 'newAlert'",
        "expirationDateTime": _LATER,
        "clientState": "s",
    }
    answer = api.post("/v1.0/subscriptions", json=body)
    assert answer.status_code == 400, answer.text
    said = "Subscription validation request failed. Must respond with 200 OK to this request."
    assert answer.json()["error"]["message"] == said


def test_every_list_of_the_sample_has_content(api: httpx.Client) -> None:
    """Whoever looks around in the sample organisation finds something in each set that is served."""
    for version in ("v1.0", "beta"):
        document = api.get(f"/openapi/{version}.json").json()
        for path in document["paths"]:
            if f"{path}/$count" not in document["paths"] or "{" in path or path[1:] in EMPTY:  # no list
                continue
            end = time.monotonic() + 30
            while not (answer := api.get(f"/{version}{path}?$top=1")).json().get("value"):
                assert answer.status_code == 200, f"{version}{path}\n{answer.text[:300]}"
                assert time.monotonic() < end, f"{version}{path}"
                time.sleep(0.5)  # what arrived is counted a few seconds later


def test_bare_token(server: Running) -> None:
    """OpenCTI sends the token without the word Bearer."""
    with server.http(Authorization=server.token()) as client:
        assert client.get("/v1.0/security/incidents?$top=1").status_code == 200


def test_legacy_nulls(api: httpx.Client) -> None:
    """Clients index documented keys without a default; lists are lists, and vendorInformation is an object."""
    for alert in api.get("/v1.0/security/alerts?$top=200").json()["value"]:
        assert isinstance(alert["comments"], list)
        assert {"provider", "providerVersion", "subProvider", "vendor"} <= alert["vendorInformation"].keys()
        for key, value in alert.items():
            if key.endswith("States") or key in ("networkConnections", "processes", "triggers", "tags"):
                assert isinstance(value, list), (key, value)
            if key.endswith("DateTime") and value is not None:
                assert len(value) == 28 and value.endswith("Z"), (key, value)


def test_skiptoken_can_be_taken_out_of_a_link(api: httpx.Client) -> None:
    """XSOAR parses $skiptoken out of nextLink and sends it alone."""
    first = api.get("/v1.0/identityProtection/riskyUsers?$top=1&$orderby=riskLastUpdatedDateTime desc").json()
    link = httpx.URL(first["@odata.nextLink"])
    token = link.params["$skiptoken"]
    second = api.get("/v1.0/identityProtection/riskyUsers", params={"$skiptoken": token})
    assert second.status_code == 200, second.text
    assert len(second.json()["value"]) == 1
    assert second.json()["value"][0]["id"] != first["value"][0]["id"]
    assert api.get(str(link)).json()["value"] == second.json()["value"]


def test_legacy_patch(api: httpx.Client) -> None:
    """204, or 200 with the alert under Prefer: return=representation."""
    alert = api.get("/v1.0/security/alerts?$top=1").json()["value"][0]
    body = {"vendorInformation": alert["vendorInformation"], "status": "inProgress", "comments": ["looking"]}
    assert api.patch(f"/v1.0/security/alerts/{alert['id']}", json=body).status_code == 204
    again = api.patch(f"/v1.0/security/alerts/{alert['id']}", json=body, headers={"Prefer": "return=representation"})
    assert again.status_code == 200, again.text
    assert again.json()["status"] == "inProgress"
    assert "looking" in again.json()["comments"]
    assert api.get(f"/v1.0/security/alerts_v2/{alert['id']}").json()["status"] == "inProgress"


def test_v2_patch_answers_the_object(api: httpx.Client) -> None:
    """alerts_v2 and incidents answer 200 with the object."""
    for path in ("/v1.0/security/alerts_v2", "/v1.0/security/incidents"):
        rows = api.get(f"{path}?$top=100").json()["value"]
        item = next(row for row in rows if row["status"] != "redirected")  # a merged incident names the other one
        answer = api.patch(f"{path}/{item['id']}", json={"assignedTo": "ada.abara@northwall.example"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["assignedTo"] == "ada.abara@northwall.example"


def test_misp_batch(api: httpx.Client) -> None:
    """MISP sends lower-case paths, unknown properties and batches; it reads value[].id and its own property back."""
    indicator = {
        "action": "alert",
        "description": "from MISP",
        "domainName": "misp.example",
        "expirationDateTime": _LATER,
        "targetProduct": "Azure Sentinel",
        "threatType": "WatchList",
        "tlpLevel": "white",
        "indicatorRequestHash": "abc",
    }
    answer = api.post("/beta/security/tiindicators/submitTiIndicators", json={"value": [indicator]})
    assert answer.status_code == 200, answer.text
    made = answer.json()["value"][0]
    assert made["indicatorRequestHash"] == "abc"
    gone = api.post("/beta/security/tiIndicators/deleteTiIndicators", json={"value": [made["id"]]})
    assert gone.status_code in (200, 204), gone.text
    assert api.get(f"/beta/security/tiIndicators/{made['id']}").status_code == 404


@pytest.mark.parametrize("parts", ["v1.0/me", "v1.0/nothing", "v1.0/security/alerts/none"])
def test_errors_have_the_envelope(api: httpx.Client, parts: str) -> None:
    """Every refusal has Graph's envelope with request ids."""
    answer = api.get(f"/{parts}", headers={"client-request-id": "3b1a9c6e-0000-4000-8000-000000000001"})
    assert answer.status_code in (400, 403, 404), answer.text
    inner = answer.json()["error"]["innerError"]
    assert inner["client-request-id"] == answer.headers["client-request-id"] == "3b1a9c6e-0000-4000-8000-000000000001"
    assert inner["request-id"] == answer.headers["request-id"]
    assert inner["date"]
