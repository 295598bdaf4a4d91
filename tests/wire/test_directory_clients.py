"""Clients that read a whole tenant: collectors of evidence, auditors of configuration, inventories, dashboards,
assistants. What each sends, letter by letter, and what must hold of the answer.

`<tenant>`, `<user>` and their like stand for what the client was told or has read before.

Source: the clients' own repositories and Microsoft's documentation of signInActivity, read in 2026: DFIR-O365RC,
MSIdentityTools, ROADrecon, ScubaGear, Maester, Zero Trust Assessment, CIPP (its alerts and standards), Prowler,
Cartography, Steampipe, cloudsploit, Microsoft-Extractor-Suite, Google SecOps' ingestion scripts, XSOAR's Graph User,
Hawk and scripts of its kind, Microsoft 365 CLI, GraphRunner, GraphSpy, M365Permissions, tutorials on applications and
extensions, playbooks of Logic Apps, notebooks and agents of the Sentinel assistant, connectors in Rust, Go, Python and
TypeScript.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from tests.wire.conftest import Running, says_why
from tests.wire.test_client_rows import Row, check
from tests.wire.test_more_client_rows import told

_NOW = datetime.now(UTC)
_AGO = (_NOW - timedelta(days=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
_LATER = (_NOW + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
_DAY = _AGO[:10]
_EVENTUAL = {"ConsistencyLevel": "eventual"}
_SIGN_IN = ["id", "createdDateTime", "userPrincipalName", "ipAddress", "status", "location"]
_AUDIT = ["id", "activityDateTime", "activityDisplayName", "category", "initiatedBy", "targetResources"]
_RISK = ["id", "riskEventType", "riskLevel", "riskState", "detectedDateTime", "userPrincipalName"]
_V2 = ["id", "title", "severity", "status", "createdDateTime", "evidence", "serviceSource"]
_ADMINISTRATOR = "62e90394-69f5-4237-9190-012177145e10"
_KINDS = "signInEventTypes/any(t: t eq 'interactiveUser' or t eq 'nonInteractiveUser')"

ROWS = [
    # collectors of evidence
    Row(
        "dfir-o365rc-sign-ins-of-an-hour",
        f"/v1.0/auditLogs/signIns?$filter=createdDateTime gt {_AGO} and createdDateTime lt {_LATER}",
        _SIGN_IN,
    ),
    Row(
        "dfir-o365rc-sign-ins-of-a-huge-tenant",
        f"/v1.0/auditLogs/signIns?$filter=createdDateTime gt {_AGO} and createdDateTime lt {_LATER} and "
        "status/errorCode eq 0 and (appId eq '00000002-0000-0ff1-ce00-000000000000' or appId eq "
        "'1b730954-1685-4b74-9bfd-dac224a7b894'  or appId eq '04b07795-8ddb-461a-bbee-02f9e1bf7b46')",
        some=False,
    ),
    Row(
        "dfir-o365rc-device-events",
        "/v1.0/auditLogs/directoryAudits?$filter=(activityDisplayName eq 'Add device' or activityDisplayName eq 'Device"
        " no longer compliant') and activityDateTime gt "
        f"{_AGO} and activityDateTime lt {_LATER}",
        _AUDIT,
    ),
    Row("dfir-o365rc-deleted", "/v1.0/directory/deletedItems/microsoft.graph.user", ["id", "deletedDateTime"]),
    Row("dfir-o365rc-owners", "/v1.0/devices/<device>/registeredOwners/", some=False),
    Row(
        "extractor-sign-ins",
        f"/beta/auditLogs/signIns?$filter=createdDateTime+ge+{_DAY}T00%3a00%3a00Z+and+createdDateTime+le+{_LATER[:10]}"
        "T00%3a00%3a00Z+and+(startsWith(userPrincipalName%2c+%27ada%27))+and+(signInEventTypes%2fany(t%3a+t+eq+"
        "%27interactiveUser%27+or+t+eq+%27nonInteractiveUser%27))",
        _SIGN_IN,
    ),
    Row("hawk-grants", "/v1.0/users/<upn>/oauth2PermissionGrants?$top=100", some=False),
    Row(
        "business-e-mail-compromise",
        f"/v1.0/auditLogs/signIns?$filter=createdDateTime+ge+{_DAY}T00%3a00%3a00Z+and+(status%2ferrorCode+ne+0+or+"
        "riskLevelAggregated+ne+%27none%27)&$top=1000",
        _SIGN_IN,
    ),
    Row(
        "legacy-tls-report",
        f"/beta/auditLogs/signIns?$filter=createdDateTime ge {_AGO} and signInEventTypes/any(t: t eq "
        "'nonInteractiveUser') and (authenticationProcessingDetails/any(x: x/key eq 'legacy tls (tls 1.0, 1.1, 3des)' "
        "and x/value eq '1'))",
        some=False,
    ),
    Row(
        "token-protection-workbook",
        "/beta/auditLogs/signIns?$filter=(signInEventTypes/any(t: t eq 'nonInteractiveUser') and resourceDisplayName eq"
        " 'Azure Resource Manager' and (tokenProtectionStatusDetails/signInSessionStatusCode eq 1003 or "
        "tokenProtectionStatusDetails/signInSessionStatusCode eq 1004))",
        some=False,
    ),
    Row(
        "rust-collector-all-kinds",
        f"/beta/auditLogs/signIns?$top=500&$filter=createdDateTime%20ge%20{_AGO}%20and%20(signInEventTypes/any(t:%20t"
        "%20eq%20'interactiveUser'%20or%20t%20eq%20'nonInteractiveUser'%20or%20t%20eq%20'servicePrincipal'))",
        _SIGN_IN,
    ),
    Row(
        "secops-ingestion-script",
        f"/beta/auditLogs/signIns?%24filter=createdDateTime+ge+{_DAY}T00%3A00%3A00.000000%2B00%3A00+and+"
        "signInEventTypes%2Fany%28t%3At+eq+%27nonInteractiveUser%27%29&%24top=100",
        some=False,
    ),
    # auditors of configuration
    Row("scuba-users", "/beta/users?$top=999", ["id", "userPrincipalName"]),
    Row("scuba-roles", "/beta/directoryRoles", ["id", "displayName", "roleTemplateId"]),
    Row("scuba-members", "/beta/directoryRoles/<role>/members", ["id", "@odata.type"]),
    Row("scuba-domains", "/beta/domains", ["id", "isDefault", "passwordValidityPeriodInDays"]),
    Row("maester-policies", "/beta/identity/conditionalAccess/policies?", ["conditions"], headers=_EVENTUAL),
    Row(
        "maester-role-members",
        "/v1.0/directoryRoles/<role>/members?%24select=id%2CuserPrincipalName%2CuserType",
        ["id"],
        headers=_EVENTUAL,
    ),
    Row(
        "zero-trust-platforms",
        "/beta/identity/conditionalAccess/policies?$filter=conditions/platforms/includePlatforms/any(p:p eq 'windows')",
        some=False,
    ),
    Row(
        "zero-trust-workloads",
        "/beta/servicePrincipals?$select=id,appId,displayName,appOwnerOrganizationId,publisherName,signInAudience,"
        "passwordCredentials,keyCredentials,servicePrincipalType&$filter=servicePrincipalType eq 'Application'",
        ["appId", "keyCredentials"],
        headers=_EVENTUAL,
    ),
    Row(
        "cipp-administrators-without-mfa",
        "/beta/reports/authenticationMethods/userRegistrationDetails?$top=999&filter=IsAdmin eq true and "
        "isMfaRegistered eq false and userType eq 'member'&$select=id,userPrincipalName,isMfaRegistered,IsAdmin",
        ["id", "userPrincipalName", "isMfaRegistered", "isAdmin"],
    ),
    Row("cipp-smtp", "/v1.0/auditLogs/signIns?$filter=clientAppUsed eq 'SMTP' and status/errorCode eq 0", some=False),
    Row(
        "cipp-locations",
        f"/beta/auditLogs/signIns?$filter=createdDateTime ge {_AGO}&$orderby=createdDateTime desc&$top=500",
        _SIGN_IN,
    ),
    Row("policy-by-name", "/v1.0/identity/conditionalAccess/policies?$filter=displayName eq 'x'", some=False),
    Row(
        "ip-locations",
        "/v1.0/identity/conditionalAccess/namedLocations?$filter=isof('microsoft.graph.ipNamedLocation')",
    ),
    # inventories
    *(
        Row(f"roadrecon-{path}", f"/v1.0/{path}", keys)
        for path, keys in (
            ("Organization", ["id", "verifiedDomains"]),
            ("servicePrincipals", ["id", "appId"]),
            ("devices", ["id", "deviceId"]),
            ("roleManagement/directory/roleDefinitions", ["id", "displayName", "isBuiltIn"]),
            ("roleManagement/directory/roleAssignments", ["id", "principalId", "roleDefinitionId"]),
            ("oauth2PermissionGrants", ["id", "clientId", "scope"]),
            ("servicePrincipals?$select=keyCredentials,id", ["id", "keyCredentials"]),
            ("devices?$expand=registeredOwners", ["registeredOwners"]),
            ("servicePrincipals?$expand=owners", ["owners"]),
        )
    ),
    # what the sample does not tell of: an empty list, as of a tenant without any
    Row(
        "graphspy-groups",
        "/v1.0/groups?$top=999&$expand=transitiveMembers($select=id,displayName,userPrincipalName)",
        ["transitiveMembers"],
    ),
    Row(
        "m365permissions-users",
        "/v1.0/users?$select=id,userPrincipalName,displayName&$expand=transitiveMemberOf/microsoft.graph.group",
        ["userPrincipalName", "transitiveMemberOf"],
    ),
    Row(
        "m365permissions-service-principals",
        "/v1.0/servicePrincipals?$expand=transitiveMemberOf",
        ["transitiveMemberOf"],
    ),
    Row(
        "tutorial-ownerless",
        "/v1.0/servicePrincipals?$filter=owners/$count eq 0 or owners/$count eq 1&$count=true",
        ["id", "displayName"],
        headers=_EVENTUAL,
    ),
    Row(
        "tutorial-own-devices",
        "/v1.0/devices?$filter=extensionAttributes/extensionAttribute1 eq 'BYOD-Device'&$count=true",
        some=False,
        headers=_EVENTUAL,
    ),
    Row("roadrecon-applications", "/v1.0/applications?$expand=owners", some=False),
    Row("roadrecon-credentials", "/v1.0/applications?$select=keyCredentials,id", some=False),
    Row("cartography-applications", "/v1.0/applications?$top=999", some=False),
    Row("cartography-units", "/v1.0/directory/administrativeUnits?$top=999", some=False),
    Row(
        "zero-trust-private-access",
        "/v1.0/applications?$filter=tags/any(t:t eq 'PrivateAccessNonWebApplication')&$count=true&$select=id,appId",
        some=False,
        headers=_EVENTUAL,
    ),
    Row("scuba-licences", "/beta/subscribedSkus", some=False),
    Row(
        "roadrecon-holders-of-a-role",
        f"/v1.0/roleManagement/directory/roleAssignments?$filter=roleDefinitionId eq '{_ADMINISTRATOR}'",
        ["principalId"],
    ),
    Row(
        "cartography-users",
        "/v1.0/users?$expand=manager($select%3Did)&$select=id,userPrincipalName,displayName,givenName,surname,mail,"
        "mobilePhone,businessPhones,jobTitle,department,officeLocation,city,country,companyName,preferredLanguage,"
        "employeeId,employeeType,accountEnabled,ageGroup,assignedPlans&$top=999",
        ["id", "manager", "assignedPlans"],
    ),
    Row(
        "cartography-groups",
        "/v1.0/groups?$expand=members($select%3Did)&$select=id,displayName,description,mail,mailNickname,mailEnabled,"
        "securityEnabled,groupTypes,visibility,isAssignableToRole,createdDateTime,deletedDateTime&$top=999",
        ["id", "members"],
    ),
    Row("steampipe-sign-ins", "/v1.0/auditLogs/signIns?$top=999", _SIGN_IN),
    Row("dashboard-licensed", "/v1.0/users?$select=id,assignedLicenses&$top=999", ["assignedLicenses"]),
    Row(
        "dashboard-guests",
        "/v1.0/users/?$filter=userType eq 'Guest'&$select=id,createdDateTime,externalUserState",
        some=False,
    ),
    # who has not signed in for long: all of them have in the sample, within a few days
    Row(
        "msidentitytools-inactive",
        f"/v1.0/users?$filter=(signInActivity/lastSignInDateTime le {_LATER[:10]}T00:00:00Z)&$select=signInActivity,"
        "UserPrincipalName,Id,DisplayName,mail,userType,createdDateTime,accountEnabled",
        ["signInActivity", "userPrincipalName"],
    ),
    Row(
        "cipp-inactive-guests",
        f"/beta/users?$filter=(signInActivity/lastSuccessfulSignInDateTime le {_LATER[:-1]}.0000000Z)&$select=id,"
        "UserPrincipalName,signInActivity,mail,userType,accountEnabled",
        ["signInActivity"],
    ),
    Row(
        "inactive-users-report",
        f"/beta/users?$filter=signInActivity/lastSuccessfulSignInDateTime lt {_LATER[:-1]}.0000000Z&$select="
        "accountEnabled,id,userType,signInActivity,userprincipalname",
        ["signInActivity", "userPrincipalName"],
    ),
    Row(
        "stale-accounts-of-an-auditor",
        f"/v1.0/users?$filter=signInActivity/lastSignInDateTime le {_LATER} and accountEnabled eq true&$select=id,"
        "signInActivity",
        ["signInActivity"],
    ),
    Row(
        "laravel-without-dollar",
        "/beta/users?%24select=id%2CdisplayName&filter=signInActivity%2FlastSignInDateTime+le+2019-06-01T00%3A00%3A00Z",
        some=False,
    ),
    # playbooks, assistants, connectors
    Row(
        "logic-app-detections",
        "/v1.0/identityProtection/riskDetections?$filter=userPrincipalName eq '<risky-upn>' and detectedDateTime ge "
        f"{_AGO[:-1]}.1234567Z&$top=10&$orderby=detectedDateTime desc",
        _RISK,
    ),
    Row(
        "assistant-detections",
        "/v1.0/identityProtection/riskDetections?$filter=userId eq '<risky>'&$select=id,detectedDateTime,riskEventType,"
        "riskLevel,riskState,riskDetail,ipAddress,location,activity,activityDateTime&$orderby=detectedDateTime desc"
        "&$top=10",
        ["riskDetail", "location", "activity"],
    ),
    Row(
        "triage-connector",
        f"/v1.0/identityProtection/riskDetections?$top=100&$filter=detectedDateTime%20ge%20{_AGO.replace(':', '%3A')}"
        "&$orderby=detectedDateTime desc",
        _RISK,
    ),
    Row(
        "two-types",
        "/v1.0/identityProtection/riskDetections?$filter=riskEventType in ('leakedCredentials','unlikelyTravel')",
        _RISK,
    ),
    Row(
        "two-states",
        "/v1.0/identityProtection/riskyUsers?$filter=riskState eq 'atRisk' or riskState eq 'confirmedCompromised'",
        ["id", "riskLevel"],
    ),
    Row(
        "any-level-but-hidden",
        "/v1.0/identityProtection/riskyUsers?$filter=riskLevel ne 'none' and riskLevel ne 'hidden'&$select="
        "userDisplayName,userPrincipalName,riskLevel,riskState,riskLastUpdatedDateTime&$top=50",
        ["riskLevel"],
    ),
    Row(
        "incidents-expanded-and-selected",
        "/v1.0/security/incidents?$filter=status eq 'active'&$orderby=createdDateTime desc&$top=25&$expand=alerts("
        "$select=id,title,severity,createdDateTime,category)",
        ["alerts", "displayName"],
    ),
    Row("incidents-from-a-severity", "/v1.0/security/incidents?$top=25&$filter=severity ge 'medium'", ["severity"]),
    Row("incidents-not-assigned", "/v1.0/security/incidents?$filter=assignedTo eq null&$top=50", ["assignedTo"]),
    Row("alerts-not-resolved", "/v1.0/security/alerts_v2?$filter=status ne 'resolved'&$top=50", _V2),
    Row(
        "alerts-of-a-host",
        "/v1.0/security/alerts_v2?$filter=evidence/any(e: e/microsoft.graph.security.deviceEvidence/deviceDnsName eq "
        "'pc123.contoso.com')",
        some=False,
    ),
    Row(
        "alerts-of-loss-prevention",
        "/v1.0/security/alerts_v2?$filter=serviceSource eq 'dataLossPrevention'",
        some=False,
    ),
    Row("alerts-with-words", "/v1.0/security/alerts?$filter=contains(description, 'nothing like it')", some=False),
    Row(
        "audits-of-an-actor",
        "/v1.0/auditLogs/directoryAudits?$filter=result eq 'Success' and initiatedBy/user/userPrincipalName eq 'x' and "
        "category eq 'UserManagement'&$orderby=activityDateTime desc",
        some=False,
    ),
    Row(
        "audits-of-a-target",
        "/v1.0/auditLogs/directoryAudits?$filter=targetResources/any(x: startswith(x/displayName, 'nothing'))",
        some=False,
    ),
    Row(
        "registered-without-a-second-factor",
        "/v1.0/reports/authenticationMethods/userRegistrationDetails?$filter=isMfaCapable eq false",
        ["userPrincipalName", "methodsRegistered"],
    ),
    Row("scores-of-a-quarter", "/v1.0/security/secureScores?$top=90", ["currentScore", "maxScore"]),
    Row(
        "latest-score",
        "/v1.0/security/secureScores?$top=1&$select=currentScore,maxScore,createdDateTime,controlScores&$orderby="
        "createdDateTime desc",
        ["controlScores"],
    ),
]


@pytest.fixture(scope="module")
def names(server: Running, api: httpx.Client) -> dict[str, str]:
    """What stands for the placeholders."""

    def first(path: str) -> dict[str, Any]:
        answer = api.get(f"/v1.0/{path}")
        assert answer.status_code == 200, answer.text
        return dict(answer.json()["value"][0])

    user = first("users?$filter=startswith(userPrincipalName,'ada')")
    risky = first("identityProtection/riskDetections?$orderby=detectedDateTime desc&$top=1")
    return {
        "tenant": server.tenant,
        "user": user["id"],
        "upn": user["userPrincipalName"],
        "role": first(f"directoryRoles?$filter=roleTemplateId eq '{_ADMINISTRATOR}'")["id"],
        "device": next(
            row["id"]
            for row in api.get("/v1.0/devices?$expand=registeredOwners").json()["value"]
            if not row["registeredOwners"]
        ),
        "risky": risky["userId"],
        "risky-upn": risky["userPrincipalName"],
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.client)
def test_list(api: httpx.Client, names: dict[str, str], row: Row) -> None:
    """The client's own query is answered, with every field that it reads."""
    check(api, Row(row.client, told(row.url, names), row.keys, row.some, row.headers))


@pytest.mark.parametrize(
    ("client", "url", "keys"),
    [
        (
            "msidentitytools-mfa",
            "/v1.0/reports/authenticationMethods/userRegistrationDetails/<user>",
            "isMfaRegistered",
        ),
        ("roadrecon-mfa", "/v1.0/reports/authenticationMethods/userRegistrationDetails/<user>", "methodsRegistered"),
        ("hawk-user", "/v1.0/users/<upn>?$select=displayName,lastPasswordChangeDateTime", "lastPasswordChangeDateTime"),
        ("who-is", "/v1.0/users/<user>?$select=id,displayName,signInActivity", "signInActivity"),
        ("portal-activity", "/beta/users/<user>/signInActivity", "lastSignInDateTime lastSuccessfulSignInRequestId"),
        ("azure-cli-role", f"/v1.0/roleManagement/directory/roleDefinitions/{_ADMINISTRATOR}", "id displayName"),
        ("terraform-domain", "/v1.0/organization/<tenant>?$select=id,verifiedDomains", "verifiedDomains"),
    ],
)
def test_one(api: httpx.Client, names: dict[str, str], client: str, url: str, keys: str) -> None:
    answer = api.get(told(url, names))
    assert answer.status_code == 200, f"{client}: {answer.text}"
    assert set(keys.split()) <= answer.json().keys()


COUNTS = {
    "scuba-count": "/beta/users/$count",
    "guests": "/v1.0/users/$count?$filter=userType eq 'guest'",
    "inactive": f"/v1.0/users/$count?$filter=signInActivity/lastSignInDateTime le {_LATER}",
    "incidents": "/v1.0/security/incidents/$count",
    "risky": "/v1.0/identityProtection/riskyUsers/$count",
    "holders": "/v1.0/roleManagement/directory/roleAssignments/$count",
}


@pytest.mark.parametrize("client", COUNTS)
def test_count(api: httpx.Client, client: str) -> None:
    """By name: the tests of two processes are called the same, whatever time it is."""
    answer = api.get(COUNTS[client], headers=_EVENTUAL)
    assert answer.status_code == 200, f"{client}: {answer.text}"
    assert answer.text.isdigit()


def test_activity_is_that_of_the_sign_ins(api: httpx.Client, names: dict[str, str]) -> None:
    """What users tell of themselves and what their sign-ins tell is the same."""
    last = api.get(told(f"/beta/auditLogs/signIns?$filter=userId eq '<user>' and {_KINDS}&$top=1", names)).json()[
        "value"
    ]
    user = api.get(told("/v1.0/users/<user>?$select=signInActivity", names)).json()["signInActivity"]
    assert last[0]["createdDateTime"] in (user["lastSignInDateTime"], user["lastNonInteractiveSignInDateTime"])
    assert last[0]["id"] in (user["lastSignInRequestId"], user["lastNonInteractiveSignInRequestId"])


def test_holders_of_roles_are_their_members(api: httpx.Client) -> None:
    """Both forms of directory roles name the same principals."""
    held = {
        (role["roleTemplateId"], member["id"])
        for role in api.get("/v1.0/directoryRoles").json()["value"]
        for member in api.get(f"/v1.0/directoryRoles/{role['id']}/members").json()["value"]
    }
    found = api.get("/v1.0/roleManagement/directory/roleAssignments").json()["value"]
    assert {(each["roleDefinitionId"], each["principalId"]) for each in found} == held != set()


def test_batch_of_maester(api: httpx.Client, names: dict[str, str]) -> None:
    """Its ids count from 0, its addresses have no slash in front, each part has a header."""
    urls = ["users/<user>", "directoryRoles/<role>/members?%24select=id%2CuserPrincipalName", "users/<user>/memberOf"]
    parts = [{"id": at, "method": "GET", "url": told(url, names), "headers": _EVENTUAL} for at, url in enumerate(urls)]
    answer = api.post("/v1.0/$batch", json={"requests": parts})
    assert answer.status_code == 200, answer.text
    found = {each["id"]: each for each in answer.json()["responses"]}
    assert [found[str(at)]["status"] for at in range(3)] == [200, 200, 200]
    assert found["1"]["body"]["value"]


def test_hunts_with_a_span(api: httpx.Client) -> None:
    """Connectors send Timespan, some of them null."""
    for span in ("P1D", "P7D", None):
        body = {"Query": "AlertInfo | take 1", "Timespan": span}
        answer = api.post("/v1.0/security/runHuntingQuery", json=body)
        assert answer.status_code == 200, answer.text
        assert {"schema", "results"} <= answer.json().keys()


def test_device_code_of_the_first_version(server: Running) -> None:
    """GraphRunner and its kin send `resource`, then `code` where RFC 8628 has `device_code`."""
    with server.http() as client:
        form = {"client_id": server.client_id, "resource": "https://graph.microsoft.com"}
        asked = client.post("/common/oauth2/devicecode?api-version=1.0", data=form)
        assert asked.status_code == 200, asked.text
        assert {"user_code", "device_code", "verification_url", "message"} <= asked.json().keys()
        grant = "urn:ietf:params:oauth:grant-type:device_code"
        again = {"client_id": server.client_id, "grant_type": grant, "code": asked.json()["device_code"]}
        answer = client.post("/Common/oauth2/token?api-version=1.0", data=again)
        assert (answer.status_code, answer.json()["error"]) == (400, "authorization_pending")


@pytest.mark.parametrize(
    ("client", "method", "url", "status", "says"),
    [
        ("roadrecon-contacts", "GET", "/v1.0/contacts", 501, "directory"),
        ("graphrunner-secret", "POST", "/v1.0/applications/x/addPassword", 501, "nothing performs it"),
        ("airbyte-providers", "GET", "/v1.0/identity/identityProviders/availableProviderTypes", 501, "directory"),
        ("xsoar-managed-device", "POST", "/v1.0/deviceManagement/managedDevices/x/rebootNow", 501, "device inventory"),
        ("hawk-rules", "GET", "/v1.0/users/<user>/mailFolders/inbox/messageRules", 405, "mail"),
        ("kinds-in-v1", "GET", f"/v1.0/auditLogs/signIns?$filter={_KINDS}", 400, "signInEventTypes"),
        ("inactive-sorted", "GET", "/v1.0/users?$orderby=signInActivity/lastSignInDateTime", 400, "sorted"),
        ("script-of-2019", "GET", "/beta/auditLogs/signIns?$top=5000", 400, "1000"),
        ("bracket-too-many", "GET", "/v1.0/auditLogs/signIns?$filter=userPrincipalName eq 'x')", 400, "position 24"),
        (
            "legacy-words",
            "GET",
            "/v1.0/security/alerts_v2?$filter=userStates/any(u:u/userPrincipalName eq 'x')",
            400,
            "userStates",
        ),
    ],
)
def test_what_is_refused_says_why(
    api: httpx.Client, names: dict[str, str], client: str, method: str, url: str, status: int, says: str
) -> None:
    """In Graph's envelope, and never an empty list for what is not kept."""
    answer = api.request(method, told(url, names), json={} if method != "GET" else None)
    says_why(answer, client, status, says)
