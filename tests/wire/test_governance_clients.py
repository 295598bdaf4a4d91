"""Clients that read how a tenant is governed: who may activate which role, its policies, its managed devices, what
reports say of it in sum. What each sends, letter by letter, and what must hold of the answer.

`<user>`, `<group>` and their like stand for what the client was told or has read before.

Source: the clients' own repositories, read in 2026: AzureHound, ScubaGear, Maester, Microsoft365DSC, CIPP, Monkey365,
Prowler, Steampipe's plugin, ROADtools, hamilton (Terraform azuread), XSOAR's packs of Graph (users, groups, devices,
applications), scripts and dashboards around Privileged Identity Management, playbooks of Logic Apps.
"""

import httpx
import pytest
from tests.wire.conftest import Running, says_why
from tests.wire.test_client_rows import Row, check
from tests.wire.test_more_client_rows import told

_ADMINISTRATOR = "62e90394-69f5-4237-9190-012177145e10"
_EVENTUAL = {"ConsistencyLevel": "eventual"}
_HELD = ["id", "principalId", "roleDefinitionId", "directoryScopeId"]
_INSTANCE = [*_HELD, "memberType", "startDateTime", "endDateTime"]
_DEVICE = ["id", "deviceName", "userId", "operatingSystem", "osVersion", "complianceState", "lastSyncDateTime"]
_ROLES = "roleManagement/directory"
_OF_ROLES = "policies/roleManagementPolicyAssignments"

ROWS = [
    # who holds a role, who may
    Row("dashboard-holders", f"/v1.0/{_ROLES}/roleAssignments?$expand=roleDefinition&$top=999", ["roleDefinition"]),
    Row("audit-holders", f"/v1.0/{_ROLES}/roleAssignments?$expand=principal&$top=999", ["principal"]),
    Row(
        "azurehound-holders-of-a-role",
        f"/beta/{_ROLES}/roleAssignments?$filter=roleDefinitionId eq '{_ADMINISTRATOR}'&$top=999",
        _HELD,
    ),
    Row(
        "maester-holders-of-a-role",
        f"/beta/{_ROLES}/roleAssignments?$expand=principal&$filter=roleDefinitionId eq '{_ADMINISTRATOR}'",
        ["principal"],
        headers=_EVENTUAL,
    ),
    Row("cipp-eligible", f"/beta/{_ROLES}/roleEligibilitySchedules?$expand=roleDefinition,principal", ["principal"]),
    Row(
        "assessment-eligible",
        f"/beta/{_ROLES}/roleEligibilitySchedules?$select=id,directoryScopeId,memberType,scheduleInfo,status&$filter="
        "status eq 'Provisioned'&$expand=principal($select=id),roleDefinition($select=id,templateId,displayName)",
        ["status", "scheduleInfo", "principal", "roleDefinition"],
    ),
    Row("mg-expand-all", f"/v1.0/{_ROLES}/roleEligibilitySchedules?%24expand=*", ["principal", "roleDefinition"]),
    Row("azurehound-eligible", f"/v1.0/{_ROLES}/roleEligibilityScheduleInstances?$top=999", _INSTANCE),
    Row(
        "script-eligible-of-one",
        f"/v1.0/{_ROLES}/roleEligibilityScheduleInstances?$filter=principalId eq '<eligible>'&$expand=roleDefinition",
        ["roleDefinition"],
    ),
    Row(
        "extension-active-of-one",
        f"/v1.0/{_ROLES}/roleAssignmentScheduleInstances?$select=endDateTime,roleDefinition&$expand=roleDefinition("
        "$select=templateId)&$filter=(principalId eq '<eligible>')",
        ["endDateTime", "roleDefinition"],
    ),
    Row(
        "console-active",
        f"/v1.0/{_ROLES}/roleAssignmentScheduleInstances?$expand=principal,roleDefinition",
        [*_INSTANCE, "assignmentType", "principal"],
    ),
    Row("scuba-active", f"/beta/{_ROLES}/roleAssignmentScheduleInstances", _INSTANCE),
    Row("maester-active", f"/beta/{_ROLES}/roleAssignmentSchedules?$expand=principal", _HELD, headers=_EVENTUAL),
    Row("steampipe-schedules", f"/v1.0/{_ROLES}/roleAssignmentSchedules?$top=999", _HELD),
    Row(
        "scuba-eligible-in-groups",
        "/beta/identityGovernance/privilegedAccess/group/eligibilityScheduleInstances?%24filter=groupId+eq+%27<joined>%27",
        ["principalId", "groupId", "accessId", "memberType"],
    ),
    Row(
        "pim-groups",
        "/v1.0/identityGovernance/privilegedAccess/group/eligibilitySchedules?$expand=group,principal",
        ["group", "principal"],
    ),
    Row("maester-privileged-roles", f"/beta/{_ROLES}/roleDefinitions?$filter=isPrivileged eq true", some=False),
    Row("steampipe-templates", "/v1.0/directoryRoleTemplates", ["id", "displayName"]),
    Row("mg-scopes", f"/v1.0/{_ROLES}/roleAssignments?%24expand=directoryScope", ["directoryScope"]),
    # rules of roles
    Row(
        "monkey365-rules-of-roles",
        f"/beta/{_OF_ROLES}?$filter=scopeId eq '/' and scopeType eq 'DirectoryRole'",
        ["policyId", "roleDefinitionId"],
    ),
    Row(
        "microsoft365dsc-rules-of-a-group",
        f"/v1.0/{_OF_ROLES}?filter=scopeId eq '<group>' and scopeType eq 'Group'&$expand=policy($expand=rules)",
        some=False,
    ),
    Row(
        "extension-rules-of-a-role",
        f"/v1.0/{_OF_ROLES}?$filter=scopeId eq '/' and scopeType eq 'DirectoryRole' and roleDefinitionId eq "
        f"'{_ADMINISTRATOR}'&$expand=policy($expand=rules)",
        ["policy"],
    ),
    Row(
        "mg-rules",
        "/v1.0/policies/roleManagementPolicies?$filter=scopeId eq '/' and scopeType eq 'DirectoryRole'&$expand=rules,"
        "effectiveRules",
        ["rules", "effectiveRules"],
    ),
    # policies
    Row("cipp-authorization", "/beta/policies/authorizationPolicy", ["allowInvitesFrom", "defaultUserRolePermissions"]),
    Row("maester-consent-settings", "/beta/settings", ["values", "templateId"]),
    Row("prowler-settings", "/v1.0/groupSettings", ["values"]),
    Row("maester-partners", "/beta/policies/crossTenantAccessPolicy/partners", ["tenantId", "inboundTrust"]),
    Row("maester-grants", "/v1.0/policies/permissionGrantPolicies", ["id", "includes"]),
    Row("m365dsc-strengths", "/v1.0/policies/authenticationStrengthPolicies", ["allowedCombinations"]),
    Row(
        "mg-strengths",
        "/beta/policies/authenticationStrengthPolicies?$filter=policyType eq 'custom'&$expand="
        "combinationConfigurations",
        some=False,
    ),
    Row("m365dsc-contexts", "/v1.0/identity/conditionalAccess/authenticationContextClassReferences", ["isAvailable"]),
    *(
        Row(f"roadrecon-{name}", f"/v1.0/policies/{name}", ["id", "displayName"])
        for name in (
            "activityBasedTimeoutPolicies",
            "appManagementPolicies",
            "claimsMappingPolicies",
            "featureRolloutPolicies",
            "homeRealmDiscoveryPolicies",
            "tokenIssuancePolicies",
            "tokenLifetimePolicies",
        )
    ),
    Row("scuba-synchronisation", "/beta/directory/onPremisesSynchronization", ["id", "features"]),
    Row("agents-at-risk", "/beta/identityProtection/riskyAgents?$filter=riskLevel eq 'high'", some=False),
    Row("agents-risk-detections", "/beta/identityProtection/agentRiskDetections?$top=500", some=False),
    Row("roadrecon-units-of-beta", "/beta/administrativeUnits", some=False),
    # devices, sensors
    Row("azurehound-devices", "/beta/deviceManagement/managedDevices?$top=1000", _DEVICE),
    Row("xsoar-devices", "/v1.0/deviceManagement/managedDevices", [*_DEVICE, "imei", "meid", "serialNumber"]),
    Row(
        "laps-console-device",
        "/beta/deviceManagement/managedDevices?$filter=(contains(deviceName,'<machine>') or contains(azureADDeviceId,"
        "'<machine>')) and operatingSystem eq '<system>'&$select=id,deviceName,azureADDeviceId,operatingSystem",
        ["azureADDeviceId"],
    ),
    Row(
        "console-logged-on",
        "/beta/deviceManagement/managedDevices?$select=id,deviceName,usersLoggedOn&$top=999",
        ["id"],
    ),
    Row("devices-of-a-user", "/v1.0/users/<user>/managedDevices?$select=id,deviceName", ["deviceName"]),
    Row("prowler-health", "/v1.0/security/identities/healthIssues", ["severity", "status", "domainNames"]),
    Row("prowler-sensors", "/v1.0/security/identities/sensors", ["displayName", "healthStatus"]),
    # what several types have in common
    Row(
        "xsoar-members-filtered",
        "/v1.0/groups/<group>/members?$top=5&$filter=startswith(userPrincipalName,'<first>')",
        ["@odata.type", "id"],
    ),
    Row(
        "documentation-members",
        '/v1.0/groups/<group>/transitiveMembers?$count=true&$search="displayName:<first>"&$select=displayName,id',
        ["displayName"],
        headers=_EVENTUAL,
    ),
    Row(
        "playbook-groups-by-name",
        "/v1.0/users/<user>/memberOf?$filter=displayName eq '<named>'&$select=displayName",
        ["displayName"],
    ),
]


@pytest.fixture(scope="module")
def names(server: Running, api: httpx.Client) -> dict[str, str]:
    """What stands for the placeholders: a user with a machine, the group that it is in, who is eligible for a role."""
    user = api.get("/v1.0/users?$filter=startswith(userPrincipalName,'ada')").json()["value"][0]
    group = api.get(f"/v1.0/users/{user['id']}/memberOf/microsoft.graph.group").json()["value"][0]
    machine = api.get(f"/v1.0/users/{user['id']}/managedDevices").json()["value"][0]
    eligible = api.get(f"/v1.0/{_ROLES}/roleEligibilityScheduleInstances").json()["value"][0]
    joined = api.get("/v1.0/identityGovernance/privilegedAccess/group/eligibilitySchedules").json()["value"][0]
    return {
        "user": user["id"],
        "first": "ada",
        "group": group["id"],
        "named": group["displayName"],
        "machine": machine["deviceName"],
        "system": machine["operatingSystem"],
        "eligible": eligible["principalId"],
        "joined": joined["groupId"],
    }


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.client)
def test_list(api: httpx.Client, names: dict[str, str], row: Row) -> None:
    """The client's own query is answered, with every field that it reads."""
    check(api, Row(row.client, told(row.url, names), row.keys, row.some, row.headers))


@pytest.mark.parametrize(
    ("client", "url", "keys"),
    [
        ("monkey365-authorization", "/v1.0/policies/authorizationPolicy", "guestUserRoleId allowInvitesFrom"),
        (
            "adinternals-authorization",
            "/beta/policies/authorizationPolicy/authorizationPolicy",
            "permissionGrantPolicyIdsAssignedToDefaultUserRole",
        ),
        ("cipp-defaults", "/beta/policies/identitySecurityDefaultsEnforcementPolicy", "isEnabled"),
        ("steampipe-methods", "/v1.0/policies/authenticationMethodsPolicy", "authenticationMethodConfigurations"),
        (
            "maester-one-method",
            "/beta/policies/authenticationMethodsPolicy/authenticationMethodConfigurations('MicrosoftAuthenticator')",
            "id state includeTargets",
        ),
        (
            "terraform-one-method",
            "/v1.0/policies/authenticationMethodsPolicy/authenticationMethodConfigurations/fido2",
            "id state",
        ),
        ("adinternals-lower-case", "/beta/policies/authenticationmethodspolicy", "policyVersion"),
        ("monkey365-registration", "/v1.0/policies/deviceRegistrationPolicy", "userDeviceQuota azureADJoin"),
        ("steampipe-consent", "/v1.0/policies/adminConsentRequestPolicy", "isEnabled notifyReviewers"),
        ("monkey365-other-tenants", "/v1.0/policies/crossTenantAccessPolicy/default", "inboundTrust isServiceDefault"),
        ("steampipe-other-tenants", "/v1.0/policies/crossTenantAccessPolicy", "id"),
        ("steampipe-external", "/beta/policies/externalIdentitiesPolicy", "allowExternalIdentitiesToLeave"),
        ("maester-apps", "/beta/policies/defaultAppManagementPolicy", "isEnabled"),
        ("m365dsc-flows", "/v1.0/policies/authenticationFlowsPolicy", "selfServiceSignUp"),
        (
            "dashboard-methods",
            "/v1.0/reports/authenticationMethods/usersRegisteredByMethod(includedUserTypes='all',includedUserRoles='all')",
            "totalUserCount userRegistrationMethodCounts userTypes userRoles",
        ),
        (
            "dashboard-features",
            "/beta/reports/authenticationMethods/usersRegisteredByFeature",
            "totalUserCount userRegistrationFeatureCounts",
        ),
    ],
)
def test_one(api: httpx.Client, names: dict[str, str], client: str, url: str, keys: str) -> None:
    answer = api.get(told(url, names))
    assert answer.status_code == 200, f"{client}: {answer.text}"
    assert set(keys.split()) <= answer.json().keys()


def test_rules_of_a_role_are_read_rule_by_rule(api: httpx.Client) -> None:
    """Extensions of browsers look for the rule that says what an activation needs."""
    of_role = f"scopeId eq '/' and roleDefinitionId eq '{_ADMINISTRATOR}'"
    (found,) = api.get(f"/v1.0/{_OF_ROLES}?$filter={of_role}&$expand=policy($expand=rules)").json()["value"]
    kinds = {rule["@odata.type"].rpartition(".")[2]: rule for rule in found["policy"]["rules"]}
    assert kinds["unifiedRoleManagementPolicyEnablementRule"]["enabledRules"] == ["Justification"]
    assert kinds["unifiedRoleManagementPolicyExpirationRule"]["maximumDuration"] == "PT8H"
    rules = api.get(f"/beta/policies/roleManagementPolicies/{found['policyId']}/rules")
    assert {rule["id"] for rule in rules.json()["value"]} == {rule["id"] for rule in kinds.values()}


@pytest.mark.parametrize(
    ("client", "method", "url", "status", "says"),
    [
        (
            "cipp-standard",
            "PATCH",
            "/beta/policies/authorizationPolicy/authorizationPolicy",
            501,
            "nothing performs it",
        ),
        ("pim-activation", "POST", f"/v1.0/{_ROLES}/roleAssignmentScheduleRequests", 400, "nothing carries out"),
        ("xsoar-wipe", "POST", "/v1.0/deviceManagement/managedDevices/x/wipe", 501, "device inventory"),
        ("agent-decision", "POST", "/beta/identityProtection/riskyAgents/dismiss", 501, "scores no agents"),
        ("retired-pim", "GET", "/beta/privilegedAccess/aadRoles/roleAssignments", 405, "retired"),
        ("custom-scope", "GET", f"/v1.0/{_ROLES}/roleAssignments?$expand=appScope", 400, "principal"),
        ("members-skipped", "GET", "/v1.0/groups/<group>/members?$skip=1", 400, "one type"),
        ("members-of-no-such", "GET", "/v1.0/groups/<group>/members?$filter=nope eq 'x'", 400, "nope"),
    ],
)
def test_what_is_refused_says_why(
    api: httpx.Client, names: dict[str, str], client: str, method: str, url: str, status: int, says: str
) -> None:
    """In Graph's envelope, and never as if it had been done."""
    answer = api.request(method, told(url, names), json={} if method != "GET" else None)
    says_why(answer, client, status, says)
