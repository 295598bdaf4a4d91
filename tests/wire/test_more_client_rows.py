"""Further published clients, beside those of `test_client_rows`: SIEM add-ons, SOAR playbooks, hunters, infrastructure
as code, forensic readers. What each sends, letter by letter, and what must hold of the answer.

`<tenant>`, `<user>`, `<upn>`, `<app>` and `<host>` stand for what the client was told or has read before.

Source: the clients' own repositories, read in 2026: Splunk's add-on and SOAR app for Graph Security, stix-shifter,
InsightConnect, hamilton (Terraform azuread 2), Azure CLI, Untitled Goose Tool, Microsoft-Extractor-Suite, CIPP,
elastic/beats entityanalytics, demisto/content, Sentinel playbooks, the MicrosoftGraphSecurity module and cmdlets of
PowerShell, TruSTAR, EclecticIQ and Luminar feeds, Microsoft's documentation of tiIndicator, Google SecOps' response
integrations, Sentinel's triage assistant, Power BI's feed, the custom connector for Identity Protection, the CLI for
Microsoft 365, Maester, portals and dashboards of tenants.
"""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.wire.conftest import Running, says_why
from tests.wire.test_client_rows import Row, check

_NOW = datetime.now(UTC)
_AGO = (_NOW - timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
_LATER = (_NOW + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
_DAY, _TOMORROW = _AGO[:10], _LATER[:10]
_LEGACY = ["id", "title", "severity", "status", "vendorInformation", "userStates", "hostStates", "fileStates"]
_V2 = ["id", "title", "severity", "status", "createdDateTime", "evidence", "serviceSource"]
_SIGN_IN = ["id", "createdDateTime", "userPrincipalName", "ipAddress", "status", "location"]
_AUDIT = ["id", "activityDateTime", "activityDisplayName", "category", "initiatedBy", "targetResources"]
_RISK = ["id", "riskEventType", "riskLevel", "riskState", "detectedDateTime", "userPrincipalName"]
_EVENTUAL = {"ConsistencyLevel": "eventual"}
_GLOBAL_ADMINISTRATOR = "62e90394-69f5-4237-9190-012177145e10"

ROWS = [
    # Splunk: the add-on's first run and those that follow; the SOAR app's list
    Row("splunk-addon-first", "/v1.0/security/alerts?%24filter=", _LEGACY),
    Row(
        "splunk-addon-window",
        f"/v1.0/security/alerts?%24filter=lastModifiedDateTime+gt+{_AGO[:-1]}.000Z+and+lastModifiedDateTime+lt+"
        f"{_LATER[:-1]}.000Z+and+vendorInformation%2Fprovider+eq+%27Suricata%27",
        _LEGACY,
    ),
    Row(
        "splunk-soar-list",
        "/v1.0/security/alerts?$filter=status eq 'newAlert' or status eq 'inProgress' and "
        "vendorInformation/provider eq 'Suricata'&$top=100",
        _LEGACY,
    ),
    # PowerShell: the MicrosoftGraphSecurity module (a slash before ?, half of the blanks as +), and cmdlets
    Row("graph-security-default", "/v1.0/security/alerts/?$top=100&$filter=", _LEGACY),
    Row(
        "graph-security-filters",
        "/Beta/security/alerts/?$top=50&$filter=severity+eq+'high' and userStates/any(d:d/accountName+eq+'nobody') "
        "and vendorInformation/provider+eq+'ASC'&$skip=5&$orderBy=eventDateTime",
        some=False,
    ),
    Row(
        "mg-incidents-expanded",
        f"/v1.0/security/incidents?%24filter=(severity eq 'high' or severity eq 'medium') and createdDateTime ge {_AGO}"
        "&%24expand=Alerts",
        ["id", "displayName", "alerts"],
    ),
    Row(
        "mg-sign-ins-upper-case-and",
        "/beta/auditLogs/signIns?%24filter=CreatedDateTime lt 2036-01-01T00:00:00Z AND CreatedDateTime gt "
        f"{_AGO} AND (signInEventTypes/any(t: t eq 'interactiveuser'))",
        _SIGN_IN,
    ),
    Row("mg-detections", f"/v1.0/identityProtection/riskDetections?%24filter=detectedDateTime%20ge%20{_DAY}", _RISK),
    Row(
        "mg-detections-names-in-any-case",
        "/v1.0/identityProtection/riskDetections?%24filter=UserDisplayName eq 'User01' and Risklevel eq 'high'",
        some=False,
    ),
    # stix-shifter: patterns made filters
    Row(
        "stix-shifter-addresses",
        "/v1.0/security/alerts?$filter=(networkConnections/any(query1:contains(tolower(query1/sourceAddress), '10.')) "
        "or networkConnections/any(query1:contains(tolower(query1/destinationAddress), '203.'))) and "
        f"(eventDateTime ge 2019-01-01T08:43:10.003Z and eventDateTime le {_LATER})&$top=50&$skip=0",
        _LEGACY,
    ),
    Row(
        "stix-shifter-process",
        "/v1.0/security/alerts?$filter=(processes/any(query1:tolower(query1/name) eq 'svchost.exe')) and "
        f"(eventDateTime ge {_AGO} and eventDateTime le {_LATER})",
        some=False,
    ),
    # the tenant in the path: InsightConnect, hamilton, Azure CLI
    Row("insightconnect-risks", "/beta/<tenant>/riskDetections?$filter=riskLevel eq 'high'", _RISK),
    Row(
        "hamilton-role",
        f"/v1.0/<tenant>/directoryRoles/roleTemplateId={_GLOBAL_ADMINISTRATOR}/members",
        ["id", "@odata.type"],
    ),
    Row("azure-cli-users", "/v1.0/myorganization/users?$filter=startswith(userPrincipalName,'ada')", ["id"]),
    # forensic readers
    *(
        Row(
            f"goose-sign-ins-{source}",
            f"/beta/auditLogs/signIns?api-version=beta&$orderby=createdDateTime&$filter=(createdDateTime+ge+{_DAY}"
            f"T00:00:00.000000Z+and+createdDateTime+lt+{_TOMORROW}T23:59:59.999999Z)&source={source}",
            _SIGN_IN,
        )
        for source in ("adfs", "rt")
    ),
    Row(
        "goose-audits",
        "/beta/auditLogs/directoryAudits?api-version=beta&$orderby=activityDateTime&$filter=(activityDateTime ge "
        f"{_DAY}T00:00:00.000000Z and activityDateTime lt {_TOMORROW}T23:59:59.999999Z)",
        _AUDIT,
    ),
    Row("extractor-alerts", f"/v1.0/security/alerts_v2?$filter=createdDateTime ge {_DAY}T00:00:00Z", _V2),
    Row(
        "az-rest-failed-sign-ins",
        "/v1.0/auditLogs/signins?$filter=userPrincipalName eq '<upn>' and status/errorCode ne 0 and IsInteractive eq "
        "true&$select=UserPrincipalName,createdDateTime,location,ipAddress,isInteractive&$top=1",
        ["userPrincipalName", "isInteractive"],
    ),
    Row(
        "guest-report-last-sign-in",
        "/beta/auditLogs/signIns?$filter=userID eq '<user>' and status/errorCode eq 0&$top=1&$orderBy=createdDateTime "
        "desc",
        ["createdDateTime"],
    ),
    Row(
        "b2c-audits",
        "/v1.0/auditLogs/directoryAudits?$filter=loggedByService eq 'B2C' and activityDateTime gt 2019-09-10T02:28:17Z",
        some=False,
    ),
    Row(
        "role-changes",
        "/v1.0/auditLogs/directoryAudits?$filter=(category eq 'RoleManagement' or category ne 'x') and "
        f"(activityDateTime ge {_AGO})&$top=50&$orderby=activityDateTime desc"
        "&$select=id,activityDateTime,activityDisplayName,initiatedBy,targetResources,result,category",
        _AUDIT,
    ),
    Row(
        "audits-of-a-user",
        "/v1.0/auditLogs/directoryAudits?$filter=(initiatedBy/user/id eq 'x') and targetResources/any(t:t/id eq 'y')",
        some=False,
    ),
    # dashboards and managed service tools
    Row("cipp-new-alerts", "/v1.0/security/alerts_v2?$top=50&$filter=status eq 'new'", _V2),
    Row("purview-alerts-typed-upper", "/v1.0/security/alerts_V2?$top=5&$orderby=createdDateTime desc", _V2),
    Row(
        "risky-users-typed-literal",
        "/v1.0/identityProtection/riskyUsers?$filter=riskLevel%20eq%20microsoft.graph.riskLevel'high'",
        ["riskLevel"],
    ),
    Row("xsoar-capital-risky-users", "/beta/RiskyUsers?$top=50&$filter=riskLevel eq 'high'", ["id", "riskState"]),
    Row(
        "xsoar-risky-since",
        f"/beta/RiskyUsers?%24top=50&%24filter=riskLastUpdatedDateTime+gt+{_AGO[:-1]}.000000",
        ["riskLastUpdatedDateTime"],
    ),
    Row(
        "xsoar-user-list",
        "/v1.0/users?$filter=&$select=id,displayName,jobTitle,mobilePhone,mail&$count=true",
        ["id", "displayName", "mail"],
        headers=_EVENTUAL,
    ),
    Row(
        "sentinel-playbook-mfa",
        "/beta/reports/credentialUserRegistrationDetails?$filter=userPrincipalName  eq '<upn>'",
        ["userPrincipalName", "isMfaRegistered"],
    ),
    Row("dashboard-organization", "/v1.0/organization?$select=id,displayName,verifiedDomains", ["id", "displayName"]),
    Row("dashboard-policies", "/v1.0/policies/conditionalAccessPolicies?$select=id,displayName,state", ["state"]),
    Row("dashboard-score-profiles", "/v1.0/security/secureScoreControlProfiles?$top=20&$orderby=rank", ["rank"]),
    Row("users-count-without-header", "/v1.0/users?$count=true&$top=1", ["id"]),
    # Google SecOps: every term in brackets, microseconds, severity by order
    Row(
        "google-secops-alerts",
        "/v1.0/security/alerts?%24filter=%28%28vendorInformation%2Fprovider+eq+%27Suricata%27%29+or+%28"
        "vendorInformation%2Fprovider+eq+%27MCAS%27%29%29+and+%28%28severity+eq+%27high%27%29+or+%28severity+eq+"
        f"%27low%27%29%29+and+createdDateTime+ge+{_AGO[:-1].replace(':', '%3A')}.123456Z"
        "&%24orderby=createdDateTime+asc",
        _LEGACY,
    ),
    Row(
        "google-secops-incidents",
        "/v1.0/security/incidents?%24filter=contains%28displayName%2C+%27Attack%27%29&%24orderby=createdDateTime+asc",
        ["id", "displayName", "incidentWebUrl", "assignedTo"],
    ),
    Row(
        "google-secops-detections",
        f"/v1.0/identityProtection/riskDetections?$filter=detectedDateTime ge {_AGO[:-1]}.123456Z and riskLevel ge "
        "'medium' and (riskState eq 'atRisk' or riskState eq 'confirmedCompromised')&$top=100",
        _RISK,
    ),
    # Sentinel's triage assistant, dashboards, flows of Logic Apps
    Row(
        "sentinel-triage-detections",
        f"/v1.0/identityProtection/riskDetections?$filter=userId eq '<risky>' and activityDateTime ge {_AGO}&$select="
        "riskEventType,riskState,riskLevel,riskDetail,detectionTimingType,ipAddress,activityDateTime,userPrincipalName,"
        "additionalInfo",
        ["riskEventType", "detectionTimingType", "additionalInfo"],
    ),
    Row(
        "dashboard-incidents-of-999",
        "/v1.0/security/incidents?$filter=status eq 'active'&$select=id,severity,status,createdDateTime,assignedTo,"
        "classification&$top=999",
        ["id", "severity", "assignedTo"],
    ),
    Row(
        "dashboard-risky-of-two-levels",
        "/v1.0/identityProtection/riskyUsers?$filter=riskLevel in ('high','medium') and riskState eq 'atRisk'"
        "&$select=id,userPrincipalName,riskLevel",
        ["id", "riskLevel"],
    ),
    Row(
        "logic-app-seven-digits",
        f"/v1.0/auditLogs/signIns?$filter=createdDateTime ge {_AGO[:-1]}.1234567Z",
        _SIGN_IN,
    ),
    # command lines, assessments and portals of tenants
    Row(
        "cli-microsoft365-owners",
        "/v1.0/groups?$top=5&$select=id,displayName,memberOf&$expand=memberof($select=id),memberof($select=displayName)",
        ["id", "memberOf"],
    ),
    Row(
        "cli-microsoft365-registration",
        "/v1.0/reports/authenticationMethods/userRegistrationDetails?$filter=isMfaCapable eq true and "
        "userPreferredMethodForSecondaryAuthentication ne 'voiceMobile'",
        ["userPrincipalName", "isMfaCapable"],
    ),
    Row(
        "mobile-phone-of-a-user",
        "/v1.0/users/<upn>/authentication/phoneMethods?$filter=phoneType eq 'office'",
        some=False,
    ),
    Row("methods-of-a-portal", "/v1.0/users/<upn>/authentication/methods?$top=99&$select=id", ["id", "@odata.type"]),
    Row(
        "maester-guest-sessions",
        "/v1.0/identity/conditionalAccess/policies?$filter=state eq 'disabled' or state eq "
        "'enabledForReportingButNotEnforced' or state eq 'enabled'&$select=id,displayName,conditions,sessionControls",
        ["id", "conditions"],
    ),
    Row(
        "secops-incidents-above",
        "/v1.0/security/incidents?$filter=severity ge 'low' and status ne 'redirected'&$expand=alerts($count=true;"
        "$top=3;$orderby=createdDateTime desc;$select=id,title,severity)&$orderby=lastUpdateDateTime desc&$top=5",
        ["id", "alerts", "alerts@odata.count"],
    ),
    Row(
        "sync-of-members",
        "/v1.0/groups?$top=20&$select=id&$expand=members($filter=startswith(displayName,'a');$select=id,displayName)",
        ["id", "members"],
    ),
    Row(
        "power-bi-feed",
        f"/v1.0/security/alerts_v2?$filter=createdDateTime ge {_DAY}",
        _V2,
        headers={
            "Accept": "application/json;odata.metadata=minimal;q=1.0,application/json;odata=minimalmetadata;q=0.9,"
            "application/atomsvc+xml;q=0.8,application/atom+xml;q=0.8,application/xml;q=0.7,text/plain;q=0.7",
            "OData-MaxVersion": "4.0",
            "MaxDataServiceVersion": "3.0",
        },
    ),
]


@pytest.fixture(scope="module")
def names(server: Running, api: httpx.Client) -> dict[str, str]:
    """What stands for the placeholders: a user with failed sign-ins, an application, a machine."""
    failed = api.get("/v1.0/auditLogs/signIns?$filter=status/errorCode ne 0").json()["value"]
    user = next(each for each in failed if each["userPrincipalName"] and each["userId"])
    assert api.get(f"/v1.0/users/{user['userId']}").status_code == 200
    app = api.get("/v1.0/servicePrincipals?$top=1").json()["value"][0]["appId"]
    host = api.get("/v1.0/devices?$top=1").json()["value"][0]["id"]
    detection = api.get("/v1.0/identityProtection/riskDetections?$orderby=detectedDateTime desc&$top=1").json()["value"]
    mine = {"user": user["userId"], "upn": user["userPrincipalName"], "app": app, "host": host}
    mine["risky"] = detection[0]["userId"]
    return {"tenant": server.tenant, **mine}


def told(url: str, names: dict[str, str]) -> str:
    for name, value in names.items():
        url = url.replace(f"<{name}>", value)
    assert "<" not in url, url
    return url


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.client)
def test_list(api: httpx.Client, names: dict[str, str], row: Row) -> None:
    """The client's own query is answered, with every field that it reads."""
    check(api, Row(row.client, told(row.url, names), row.keys, row.some, row.headers))


@pytest.mark.parametrize(
    ("client", "url", "keys"),
    [
        ("insightconnect-user", "/v1.0/<tenant>/users/<upn>", "id accountEnabled displayName"),
        ("azure-cli-application", "/v1.0/myorganization/servicePrincipals(appId='<app>')", "id appId"),
        ("hamilton-application", "/v1.0/<tenant>/servicePrincipals/appId=<app>", "id appId"),
        ("hamilton-object", "/v1.0/<tenant>/directoryObjects/<user>", "@odata.type id"),
        ("sentinel-playbook-risk", "/v1.0/identityProtection/riskyUsers/<risky>/", "riskLevel riskState riskDetail"),
        ("sentinel-playbook-manager", "/beta/users/<upn>/", "id jobTitle"),
        ("tenant-probe", "/v1.0/organization/<tenant>", "id displayName verifiedDomains"),
    ],
)
def test_one(api: httpx.Client, names: dict[str, str], client: str, url: str, keys: str) -> None:
    answer = api.get(told(url, names))
    assert answer.status_code == 200, f"{client}: {answer.text}"
    assert set(keys.split()) <= answer.json().keys()


@pytest.mark.parametrize(
    ("set", "select"),
    [
        (
            "users",
            "accountEnabled,userPrincipalName,mail,displayName,givenName,surname,jobTitle,officeLocation,mobilePhone,"
            "businessPhones",
        ),
        ("groups", "displayName,members"),
        (
            "devices",
            "accountEnabled,deviceId,displayName,operatingSystem,operatingSystemVersion,physicalIds,"
            "extensionAttributes,alternativeSecurityIds",
        ),
    ],
)
def test_elastic_entity_analytics(api: httpx.Client, set: str, select: str) -> None:
    """Reads to the delta link, which must come, and asks it again; ids are UUIDs, members say their type."""
    link = f"/v1.0/{set}/delta?$select={select}"
    rows: list[dict[str, Any]] = []
    for _ in range(100):
        page = api.get(link)
        assert page.status_code == 200, page.text
        rows += page.json()["value"]
        if "@odata.deltaLink" in page.json():
            break
        link = page.json()["@odata.nextLink"]
    assert rows and all(len(row["id"]) == 36 for row in rows)
    members = [each for row in rows for each in row.get("members@delta", [])]
    assert bool(members) == (set == "groups")
    assert all(each["@odata.type"].startswith("#microsoft.graph.") for each in members)
    again = api.get(page.json()["@odata.deltaLink"])
    assert again.status_code == 200, again.text
    assert again.json()["@odata.deltaLink"]


def test_registered_owners_of_a_device(api: httpx.Client, names: dict[str, str]) -> None:
    """Elastic asks for them device by device and reads `value` whether or not there are any."""
    for name in ("registeredOwners", "registeredUsers"):
        answer = api.get(told(f"/v1.0/devices/<host>/{name}", names))
        assert answer.status_code == 200, answer.text
        assert isinstance(answer.json()["value"], list)


def test_levels_are_ordered(api: httpx.Client) -> None:
    """Google SecOps asks for a lowest risk level, and means it and those above."""
    seen: dict[str, set[str]] = {}
    for level in ("low", "medium", "high"):
        page = api.get("/v1.0/identityProtection/riskDetections", params={"$filter": f"riskLevel ge '{level}'"})
        assert page.status_code == 200, page.text
        seen[level] = {row["riskLevel"] for row in page.json()["value"]}
    assert {"low", "medium", "high"} <= seen["low"]
    assert "low" not in seen["medium"] and {"medium", "high"} <= seen["medium"]
    assert not {"low", "medium"} & seen["high"] and "high" in seen["high"]


def test_custom_connector_of_identity_protection(api: httpx.Client, names: dict[str, str]) -> None:
    """Its paths have no identityProtection; the decision appears in the history that it reads."""
    answer = api.post("/beta/riskyUsers/confirmCompromised", json={"userIds": [names["risky"]]})
    assert answer.status_code == 204, answer.text
    user = api.get(told("/beta/riskyUsers/<risky>", names))
    assert user.json()["riskState"] == "confirmedCompromised", user.text
    history = api.get(told("/beta/riskyUsers/<risky>/history", names))
    assert history.status_code == 200, history.text
    last = history.json()["value"][0]
    assert (last["userId"], last["riskState"]) == (names["risky"], "confirmedCompromised")
    assert {"initiatedBy", "activity"} <= last.keys()


def test_google_secops_updates_an_alert(api: httpx.Client) -> None:
    """A comment whose type has no #, then the change; the older API is sent vendorInformation as it was read."""
    id = api.get("/v1.0/security/alerts_v2?$top=1").json()["value"][0]["id"]
    comment = {"@odata.type": "microsoft.graph.security.alertComment", "comment": "of a playbook"}
    answer = api.post(f"/v1.0/security/alerts_v2/{id}/comments", json=comment)
    assert answer.status_code == 200, answer.text
    prefer = {"Prefer": "return=representation", "Content-type": "application/json"}
    change = {"assignedTo": "soc@sample.example", "status": "inProgress", "classification": "falsePositive"}
    answer = api.patch(f"/v1.0/security/alerts_v2/{id}", json=change, headers=prefer)
    assert answer.status_code == 200, answer.text
    assert {name: answer.json()[name] for name in change} == change
    assert answer.json()["comments"][-1]["comment"] == "of a playbook"
    vendor = api.get(f"/v1.0/security/alerts/{id}").json()["vendorInformation"]
    older = {"status": "resolved", "feedback": "truePositive", "tags": ["HVA"], "vendorInformation": vendor}
    older |= {"comments": ["closed"], "closedDateTime": "2026-01-01T00:00:00Z"}
    answer = api.patch(f"/v1.0/security/alerts/{id}", json=older, headers=prefer)
    assert answer.status_code == 200, answer.text
    assert (answer.json()["status"], answer.json()["feedback"]) == ("resolved", "truePositive")
    assert "closed" in answer.json()["comments"]


def test_parameters_beside_a_link(api: httpx.Client) -> None:
    """Many scripts send their parameters again beside nextLink."""
    asked = {"$filter": f"createdDateTime ge {_AGO}", "$top": "20", "$orderby": "createdDateTime desc"}
    first = api.get("/v1.0/security/alerts_v2", params=asked).json()
    token = httpx.URL(first["@odata.nextLink"]).params["$skiptoken"]
    second = api.get("/v1.0/security/alerts_v2", params={**asked, "$skiptoken": token})
    assert second.status_code == 200, second.text
    ids = [{row["id"] for row in page["value"]} for page in (first, second.json())]
    assert len(ids[0]) == len(ids[1]) == 20 and not ids[0] & ids[1]


def _indicator(**more: Any) -> dict[str, Any]:
    """The example of Microsoft's page, but for its date, which has passed."""
    return {
        "activityGroupNames": [],
        "confidence": 0,
        "description": "This is a canary indicator for demo purpose. Take no action on any observables set in this "
        "indicator.",
        "expirationDateTime": f"{_LATER[:-1]}.5031462+00:00",
        "externalId": "Test--8586509942679764298MS501",
        "fileHashType": "sha256",
        "fileHashValue": "aa64428647b57bf51524d1756b2ed746e5a3f31b67cf7fe5b5d8a9daf07ca313",
        "killChain": [],
        "malwareFamilyNames": [],
        "severity": 0,
        "tags": [],
        "targetProduct": "Azure Sentinel",
        "threatType": "WatchList",
        "tlpLevel": "green",
        **more,
    }


@pytest.mark.parametrize(
    ("client", "more"),
    [
        ("documentation", {"action": "alert"}),
        ("luminar-own-key", {"action": "alert", "SourceSystem": "Cognyte Luminar", "threatType": "Malware"}),
        ("eclecticiq-no-zone", {"action": "alert", "expirationDateTime": "2117-12-21T16:19:16", "tlpLevel": "amber"}),
        ("form-capital-domain", {"action": "alert", "DomainName": "canary.example", "severity": 0}),
        ("twitter-feed-empty-names", {"action": "alert", "activityGroupNames": [""], "networkIPv4": "203.0.113.8"}),
        ("sdk-with-types", {"@odata.type": "#microsoft.graph.tiIndicator", "action": "Alert", "id": None}),
    ],
)
def test_indicators_of_feeds(api: httpx.Client, client: str, more: dict[str, Any]) -> None:
    """201 with what was sent; the page's description is one character longer than it says that may be."""
    answer = api.post("/beta/security/tiIndicators", json=_indicator(**more))
    assert answer.status_code == 201, f"{client}: {answer.text}"
    made = answer.json()
    assert made["description"] == _indicator()["description"]
    assert (made["action"], made["azureTenantId"] != "") == ("alert", True)
    assert {name: made[name] for name in ("SourceSystem",) if name in more} == {
        name: more[name] for name in ("SourceSystem",) if name in more
    }
    assert api.delete(f"/beta/security/tiIndicators/{made['id']}").status_code == 204


def test_indicators_of_the_documentation(api: httpx.Client) -> None:
    """submitTiIndicators of the page: no action is sent, and null comes back; PowerShell writes names in capitals."""
    sent = [_indicator(externalId=f"canary-{at}") for at in range(2)]
    sent.append({name[0].upper() + name[1:]: value for name, value in _indicator(externalId="canary-2").items()})
    for name in ("submitTiIndicators", "microsoft.graph.submitTiIndicators"):
        answer = api.post(f"/beta/security/tiIndicators/{name}", json={"Value": sent})
        assert answer.status_code == 200, answer.text
        assert [each["action"] for each in answer.json()["value"]] == [None] * 3
    names = [f"canary-{at}" for at in range(3)]
    gone = api.post("/beta/security/tiIndicators/deleteTiIndicatorsByExternalId", json={"value": names})
    assert gone.status_code == 200, gone.text
    left = api.get("/beta/security/tiIndicators?$filter=startswith(externalId,'canary-')").json()
    assert left["value"] == []


def test_sdks_that_cannot_patch(api: httpx.Client) -> None:
    """Java's HttpURLConnection has no PATCH: the SDK sends POST that says so."""
    alert = api.get("/v1.0/security/alerts?$top=1").json()["value"][0]
    body = {
        "@odata.type": "microsoft.graph.alert",
        "assignedTo": "analyst@contoso.example",
        "closedDateTime": None,
        "tags": ["HVA"],
        "feedback": "TruePositive",
        "status": "InProgress",
        "vendorInformation": {
            "@odata.type": "microsoft.graph.securityVendorInformation",
            "provider": alert["vendorInformation"]["provider"],
            "vendor": alert["vendorInformation"]["vendor"],
        },
    }
    headers = {"X-HTTP-Method-Override": "PATCH", "X-HTTP-Method": "PATCH", "Prefer": "return=representation"}
    answer = api.post(f"/v1.0/security/alerts/{alert['id']}", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    changed = answer.json()
    assert (changed["status"], changed["feedback"], changed["tags"]) == ("inProgress", "truePositive", ["HVA"])


def test_batches_of_scripts(api: httpx.Client, names: dict[str, str]) -> None:
    """PowerShell counts its requests with numbers and names the tenant or the version in some addresses."""
    urls = [
        f"/auditLogs/signIns?$filter=conditionalAccessStatus eq 'failure' and createdDateTime ge {_AGO}&$top=999",
        f"/v1.0/users/{names['upn']}",
        f"{names['tenant']}/identityProtection/riskyUsers?$top=1",
        "/users/nobody@contoso.example",
    ]
    parts = [{"id": at, "method": "GET", "url": url} for at, url in enumerate(urls, 1)]
    answer = api.post("/v1.0/$batch", json={"requests": parts})
    assert answer.status_code == 200, answer.text
    found = {each["id"]: each for each in answer.json()["responses"]}
    assert [found[str(at)]["status"] for at in (1, 2, 3, 4)] == [200, 200, 200, 404]
    assert found["4"]["body"]["error"]["code"] == "Request_ResourceNotFound"


def test_token_and_calls_of_insightconnect(server: Running, names: dict[str, str]) -> None:
    """The first version's token endpoint with `resource` without a slash, then the tenant in each path."""
    form = {
        "grant_type": "client_credentials",
        "client_id": server.client_id,
        "resource": "https://graph.microsoft.com",
        "client_secret": server.secret,
    }
    with server.http() as client:
        answer = client.post(f"/{server.tenant}/oauth2/token", data=form)
        assert answer.status_code == 200, answer.text
        head = {"Content-type": "application/json", "Authorization": f"Bearer {answer.json()['access_token']}"}
        one = client.get(told("/v1.0/<tenant>/users/<user>", names), headers=head)
        assert one.status_code == 200, one.text
        blocked = client.patch(
            told("/v1.0/<tenant>/users/<user>", names), headers=head, content=json.dumps({"accountEnabled": False})
        )
        assert blocked.status_code == 501, blocked.text
        assert "disableUser" in blocked.json()["error"]["message"]


@pytest.mark.parametrize(
    ("client", "resource"),
    [
        ("tines-slash-before-query", "security/alerts/?$filter=status eq 'NewAlert'"),
        ("documentation-leading-slash", "/security/alerts?$filter=status eq 'newAlert'"),
        ("secamo-all-alerts", "security/alerts_v2"),
    ],
)
def test_resources_of_subscriptions(api: httpx.Client, client: str, resource: str) -> None:
    """They come as far as the handshake, which nobody answers here."""
    body = {
        "changeType": "updated",
        "clientState": "SecretClientState",
        "expirationDateTime": f"{_LATER[:-1]}.1048290Z",
        "notificationUrl": "http://localhost:9/webhook",
        "resource": resource,
    }
    answer = api.post("/v1.0/subscriptions", json=body)
    assert answer.status_code == 400, f"{client}: {answer.text}"
    assert answer.json()["error"]["message"].startswith("Subscription validation request failed."), answer.text


@pytest.mark.parametrize(
    ("client", "method", "url", "status", "says"),
    [
        ("splunk-soar-two-tags", "GET", "/v1.0/security/alerts?$filter=tags eq 'a' or  and tags eq 'b'", 400, "tags"),
        ("graph-security-order", "GET", "/v1.0/security/alerts/?$filter=&$orderBy=userStates", 400, "collection"),
        ("too-many-risky-users", "GET", "/v1.0/identityProtection/riskyUsers?$top=999", 400, "500"),
        ("candidates", "GET", "/beta/security/identities/sensorCandidates", 501, "sensors"),
        ("compliance-policies", "GET", "/v1.0/deviceManagement/deviceCompliancePolicies", 501, "device inventory"),
        ("reset-password", "POST", "/v1.0/users/<user>/authentication/methods/x/resetPassword", 501, "authentication"),
        ("assign-manager", "PUT", "/v1.0/users/<user>/manager/$ref", 501, "manager"),
        ("delete-alert", "DELETE", "/v1.0/security/alerts/x", 405, "DELETE"),
        ("indicators-of-v1", "GET", "/v1.0/security/tiIndicators?$top=1", 404, "tiIndicators"),
        ("purview-source", "GET", "/v1.0/security/alerts_v2?$filter=serviceSource eq 'nope'", 400, "azureAdIdentity"),
    ],
)
def test_what_is_refused_says_why(
    api: httpx.Client, names: dict[str, str], client: str, method: str, url: str, status: int, says: str
) -> None:
    """In Graph's envelope, with what would be right."""
    answer = api.request(method, told(url, names), json={} if method != "GET" else None)
    says_why(answer, client, status, says)
