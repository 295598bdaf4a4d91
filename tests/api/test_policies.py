"""Policies of a tenant, managed devices, and the health of sensors: kept as they are told, never made up."""

from typing import Any

import pytest
from tests.api.conftest import World

pytestmark = pytest.mark.anyio
DEFAULTS = "policies/identitySecurityDefaultsEnforcementPolicy"
ONE: dict[str, dict[str, Any]] = {  # path -> what an export of a tenant has there
    "policies/authorizationPolicy": {
        "id": "authorizationPolicy",
        "displayName": "Authorization Policy",
        "allowInvitesFrom": "adminsAndGuestInviters",
        "guestUserRoleId": "10dae51f-b6af-4016-8d66-8c2a99b929b3",
        "defaultUserRolePermissions": {"allowedToCreateApps": False},
    },
    DEFAULTS: {"displayName": "Security Defaults", "isEnabled": False},
    "policies/authenticationFlowsPolicy": {"selfServiceSignUp": {"isEnabled": True}},
    "policies/adminConsentRequestPolicy": {"isEnabled": True, "notifyReviewers": True, "requestDurationInDays": 30},
    "policies/deviceRegistrationPolicy": {
        "userDeviceQuota": 20,
        "multiFactorAuthConfiguration": "required",
        "azureADJoin": {
            "isAdminConfigurable": True,
            "allowedToJoin": {"@odata.type": "#microsoft.graph.allDeviceRegistrationMembership"},
        },
    },
    "policies/defaultAppManagementPolicy": {"isEnabled": True, "displayName": "Default app management tenant policy"},
    "policies/crossTenantAccessPolicy": {"allowedCloudEndpoints": ["microsoftonline.us"]},
    "policies/crossTenantAccessPolicy/default": {
        "isServiceDefault": True,
        "inboundTrust": {"isMfaAccepted": False},
        "b2bCollaborationInbound": {
            "usersAndGroups": {"accessType": "allowed", "targets": [{"target": "AllUsers", "targetType": "user"}]}
        },
    },
}


@pytest.mark.parametrize("path", ONE)
async def test_the_only_one(world: World, path: str) -> None:
    """404 until it is told; then what was told, under both versions, to this tenant alone; told again, the same."""
    body = ONE[path]
    problem = await world.refused("GET", f"/v1.0/{path}", status=404, says="nobody has told it")
    assert problem["code"] == "Request_ResourceNotFound"
    answer = await world.call("POST", f"/v1.0/{path}", body)
    assert (answer.status_code, answer.headers["location"]) == (201, f"https://graph.test:8443/v1.0/{path}")
    assert (await world.call("POST", f"/v1.0/{path}", body)).status_code == 200
    found = await world.get(f"/v1.0/{path}")
    assert found["@odata.context"].endswith(f"#{path}/$entity")
    for name, value in body.items():
        assert _within(value, found[name]), (name, found[name])
    if path != "policies/authorizationPolicy":
        assert (await world.get(f"/beta/{path}"))["id"] == found["id"]
    await world.refused("GET", f"/v1.0/{path}", status=404, by="other")
    await world.refused("PATCH", f"/v1.0/{path}", {"description": "x"}, status=501, says="nothing performs it")
    await world.refused("POST", f"/v1.0/{path}", {}, status=400, says="says nothing")
    await world.refused("POST", f"/v1.0/{path}", [body], status=400, says="not an array")
    await world.refused("POST", f"/v1.0/{path}", {**body, "id": "another"}, status=400, says="whose id is")
    await world.refused("POST", f"/v1.0/{path}", {"id": 1}, status=400, says="id")
    await world.refused("POST", f"/v1.0/{path}", body, status=403, by="reader")
    await world.refused("GET", f"/v1.0/{path}?$filter=id eq 'x'", status=400, says="$filter")


def _within(part: Any, whole: Any) -> bool:
    if isinstance(part, dict):
        return all(_within(value, whole[name]) for name, value in part.items())
    if isinstance(part, list):
        return len(part) == len(whole) and all(map(_within, part, whole))
    if isinstance(part, str) and isinstance(whole, str):  # members of enums in the schema's spelling
        return part.lower() == whole.lower()
    return bool(part == whole)


async def test_told_anew(world: World) -> None:
    """Other values are a conflict, unless whoever tells them wants them to take the place of those that are there."""
    await world.post(f"/v1.0/{DEFAULTS}", ONE[DEFAULTS])
    other = {**ONE[DEFAULTS], "isEnabled": True}
    await world.refused("POST", f"/v1.0/{DEFAULTS}", other, status=409)
    await world.post(f"/v1.0/{DEFAULTS}", other, Prefer="resolution=merge-duplicates")
    assert (await world.get(f"/v1.0/{DEFAULTS}?$select=isEnabled"))["isEnabled"] is True
    assert (await world.call("GET", f"/v1.0/{DEFAULTS}/isEnabled/$value")).text == "true"


async def test_authorization_policy_of_beta(world: World) -> None:
    """There it is a set of one: the same object as in v1.0."""
    assert (await world.get("/beta/policies/authorizationPolicy"))["value"] == []
    await world.post("/v1.0/policies/authorizationPolicy", ONE["policies/authorizationPolicy"])
    (found,) = (await world.get("/beta/policies/authorizationPolicy"))["value"]
    one = await world.get("/beta/policies/authorizationPolicy/authorizationPolicy")
    assert one["allowInvitesFrom"] == found["allowInvitesFrom"] == "adminsAndGuestInviters"
    await world.refused(
        "POST", "/beta/policies/authorizationPolicy", {"id": "second"}, status=400, says="'authorizationPolicy'"
    )


async def test_ways_to_sign_in(world: World) -> None:
    """The policy holds the configuration of each way; each is found by its id, in any case."""
    path = "policies/authenticationMethodsPolicy"
    fido = {
        "@odata.type": "#microsoft.graph.fido2AuthenticationMethodConfiguration",
        "id": "Fido2",
        "state": "enabled",
        "isAttestationEnforced": True,
        "keyRestrictions": {"isEnforced": False, "enforcementType": "block", "aaGuids": []},
        "includeTargets": [{"targetType": "group", "id": "all_users", "isRegistrationRequired": False}],
    }
    sms = {"@odata.type": "#microsoft.graph.smsAuthenticationMethodConfiguration", "id": "Sms", "state": "disabled"}
    body = {"policyVersion": "1.5", "authenticationMethodConfigurations": [fido, sms]}
    await world.post(f"/v1.0/{path}", body)
    for version in ("v1.0", "beta"):
        found = (await world.get(f"/{version}/{path}"))["authenticationMethodConfigurations"]
        assert [(each["id"], each["state"]) for each in found] == [("Fido2", "enabled"), ("Sms", "disabled")]
        one = await world.get(f"/{version}/{path}/authenticationMethodConfigurations/fido2")
        assert one["includeTargets"][0]["id"] == "all_users"
        assert one["@odata.type"] == fido["@odata.type"]
        inside = await world.get(f"/{version}/{path}/authenticationMethodConfigurations")
        assert [each["id"] for each in inside["value"]] == ["Fido2", "Sms"]
        await world.refused("GET", f"/{version}/{path}/authenticationMethodConfigurations/voice", status=404)
    count = await world.call("GET", f"/v1.0/{path}/authenticationMethodConfigurations/$count")
    assert count.text == "2"


async def test_partners_and_strengths(world: World) -> None:
    partners = "/v1.0/policies/crossTenantAccessPolicy/partners"
    tenant = "3d0f5dec-5d3d-455c-8016-e2af1ae4d31a"
    await world.post(partners, {"tenantId": tenant, "inboundTrust": {"isMfaAccepted": True}})
    assert (await world.get(f"{partners}/{tenant}"))["inboundTrust"]["isMfaAccepted"] is True
    assert [each["tenantId"] for each in (await world.get(partners))["value"]] == [tenant]
    strength = {
        "displayName": "Phishing-resistant MFA",
        "policyType": "builtIn",
        "requirementsSatisfied": "mfa",
        "allowedCombinations": ["windowsHelloForBusiness", "fido2"],
    }
    await world.post("/v1.0/policies/authenticationStrengthPolicies", {"id": "s", **strength})
    for path in (
        "v1.0/identity/conditionalAccess/authenticationStrength/policies",
        "beta/identity/conditionalAccess/authenticationStrengths/policies",
        "beta/policies/authenticationStrengthPolicies?$filter=policyType eq 'builtIn'",
    ):
        (found,) = (await world.get(f"/{path}"))["value"]
        assert found["allowedCombinations"] == strength["allowedCombinations"], path
    context = {"id": "c1", "displayName": "Trusted devices", "isAvailable": True}
    await world.post("/v1.0/identity/conditionalAccess/authenticationContextClassReferences", context)
    named = await world.get("/beta/identity/conditionalAccess/authenticationContextClassReferences?$filter=isAvailable")
    assert [each["id"] for each in named["value"]] == ["c1"]


async def test_settings_of_a_directory(world: World) -> None:
    setting = {
        "displayName": "Consent Policy Settings",
        "templateId": "dffd5d46-495d-40a9-8e21-954ff55e198a",
        "values": [{"name": "EnableAdminConsentRequests", "value": "true"}],
    }
    for path in ("/v1.0/groupSettings", "/beta/settings"):
        await world.post(path, setting)
        (found,) = (await world.get(path))["value"]
        assert found["values"][0]["name"] == "EnableAdminConsentRequests"


async def test_managed_devices(world: World) -> None:
    """By name in any case, by owner, by compliance; behind their user."""
    await world.post("/v1.0/users", {"id": "ada", "userPrincipalName": "ada@contoso.example"})
    device = {
        "id": "m1",
        "deviceName": "PC-17",
        "userId": "ada",
        "userPrincipalName": "ada@contoso.example",
        "operatingSystem": "Windows",
        "complianceState": "noncompliant",
        "isEncrypted": False,
        "lastSyncDateTime": "2026-11-20T08:00:00Z",
        "azureADDeviceId": "d-17",
        "wiFiMacAddress": None,
        "physicalMemoryInBytes": 17179869184,
    }
    await world.post("/v1.0/deviceManagement/managedDevices", device)
    for wanted in (
        "deviceName eq 'pc-17'",
        "startswith(deviceName,'PC')",
        "userPrincipalName eq 'ADA@contoso.example'",
        "complianceState eq 'noncompliant' and operatingSystem eq 'Windows'",
        "azureADDeviceId eq 'd-17'",
        "lastSyncDateTime le 2026-11-21T00:00:00Z",
    ):
        for version in ("v1.0", "beta"):
            (found,) = (await world.get(f"/{version}/deviceManagement/managedDevices?$filter={wanted}"))["value"]
            assert (found["id"], found["wiFiMacAddress"]) == ("m1", None)
            assert found["physicalMemoryInBytes"] == device["physicalMemoryInBytes"]
    assert [each["id"] for each in (await world.get("/v1.0/users/ada/managedDevices"))["value"]] == ["m1"]
    await world.refused(
        "POST", "/v1.0/deviceManagement/managedDevices/m1/remoteLock", {}, status=501, says="device inventory"
    )
    await world.refused("DELETE", "/v1.0/deviceManagement/managedDevices/m1", status=501, says="securityAction")


async def test_health_of_sensors(world: World) -> None:
    issue = {
        "id": "h1",
        "displayName": "Directory services advanced auditing is not enabled",
        "healthIssueType": "global",
        "severity": "medium",
        "status": "open",
        "domainNames": ["contoso.example"],
        "createdDateTime": "2026-11-01T00:00:00Z",
    }
    path = "/v1.0/security/identities/healthIssues"
    await world.post(path, issue)
    wanted = "status eq 'open' and domainNames/any(s:endswith(s,'contoso.example'))"
    (found,) = (await world.get(f"{path}?$filter={wanted}&$count=true"))["value"]
    assert (found["id"], found["recommendations"]) == ("h1", [])
    closed = await world.patch(f"{path}/h1", {"status": "closed"})
    assert closed["status"] == "closed"
    await world.refused("PATCH", f"{path}/h1", {"severity": "low"}, status=400, says="status")
    sensor = {"id": "s1", "displayName": "DC1", "domainName": "contoso.example", "healthStatus": "healthy"}
    await world.post("/v1.0/security/identities/sensors", sensor)
    (found,) = (await world.get("/beta/security/identities/sensors?$top=1"))["value"]
    assert (found["displayName"], found["healthStatus"]) == ("DC1", "healthy")


_FIDO = {
    "@odata.type": "#microsoft.graph.fido2AuthenticationMethodConfiguration",
    "id": "Fido2",
    "state": "enabled",
    "keyRestrictions": {"isEnforced": False, "enforcementType": "allow", "aaGuids": []},
    "includeTargets@odata.context": "https://graph.microsoft.com/v1.0/$metadata#x",
    "includeTargets": [{"targetType": "group", "id": "all_users", "isRegistrationRequired": False}],
}
_CAMPAIGN = {"snoozeDurationInDays": 1, "enforceRegistrationAfterAllowedSnoozes": True, "state": "default"}
_JOINS = {"@odata.type": "#microsoft.graph.enumeratedDeviceRegistrationMembership", "users": ["u1"], "groups": []}
_APPROVAL = {
    "@odata.type": "#microsoft.graph.unifiedRoleManagementPolicyApprovalRule",
    "id": "Approval_EndUser_Assignment",
    "setting": {
        "isApprovalRequired": True,
        "approvalMode": "SingleStage",
        "approvalStages": [
            {
                "approvalStageTimeOutInDays": 1,
                "primaryApprovers": [{"@odata.type": "#microsoft.graph.singleUser", "userId": "u1"}],
            }
        ],
    },
    "target": {"caller": "EndUser", "operations": ["All"], "level": "Assignment", "enforcedSettings": []},
}
_CONTEXT = {"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#x"}
EXPORTS: list[
    tuple[str, dict[str, Any]]
] = [  # what Graph answers, annotations included; under beta what v1.0 answers beyond its metadata
    (
        "beta/policies/authenticationMethodsPolicy",
        {
            "id": "authenticationMethodsPolicy",
            "registrationEnforcement": {"authenticationMethodsRegistrationCampaign": _CAMPAIGN},
            "authenticationMethodConfigurations@odata.context": "https://graph.microsoft.com/v1.0/$metadata#x",
            "authenticationMethodConfigurations": [_FIDO],
        },
    ),
    ("v1.0/policies/crossTenantAccessPolicy/default", {"isServiceDefault": True, "defaultConfiguration": None}),
    ("v1.0/policies/deviceRegistrationPolicy", {"azureADJoin": {"isAdminConfigurable": True, "allowedToJoin": _JOINS}}),
    (
        "beta/policies/permissionGrantPolicies",
        {
            "id": "grants",
            "displayName": "Grants",
            "includeAllPreApprovedApplications": False,
            "includes": [{"id": "i", "permissionType": "delegated", "certifiedClientApplicationsOnly": False}],
        },
    ),
    (
        "v1.0/policies/roleManagementPolicies",
        {
            "id": "p",
            "scopeId": "/",
            "scopeType": "DirectoryRole",
            "lastModifiedBy": {"displayName": None, "id": None},
            "rules": [_APPROVAL],
        },
    ),
    (
        "v1.0/policies/authenticationStrengthPolicies",
        {
            "id": "s",
            "displayName": "Keys",
            "policyType": "custom",
            "allowedCombinations": ["password,hardwareOath", "fido2"],
            "combinationConfigurations": [
                {
                    "@odata.type": "#microsoft.graph.fido2CombinationConfiguration",
                    "id": "c",
                    "appliesToCombinations": ["fido2"],
                    "allowedAAGUIDs": ["11111111-1111-4111-8111-111111111111"],
                }
            ],
        },
    ),
    (
        "v1.0/roleManagement/directory/roleDefinitions",
        {
            "id": "desk",
            "displayName": "Desk",
            "rolePermissions": [
                {"allowedResourceActions": ["microsoft.directory/users/basic/read"], "condition": None}
            ],
            "inheritsPermissionsFrom": [{"id": "88d8e3e3-8f55-4a1e-953a-9b9898b8876b"}],
        },
    ),
    (
        "v1.0/roleManagement/directory/roleEligibilitySchedules",
        {
            "id": "e",
            "principalId": "u1",
            "roleDefinitionId": "desk",
            "directoryScopeId": "/",
            "status": "Provisioned",
            "modifiedDateTime": "0001-01-01T08:00:00Z",
            "scheduleInfo": {
                "startDateTime": "2026-04-12T14:44:50.287Z",
                "recurrence": None,
                "expiration": {"type": "afterDateTime", "endDateTime": "2027-04-10T00:00:00Z", "duration": None},
            },
        },
    ),
    (
        "v1.0/deviceManagement/managedDevices",
        {
            "id": "m",
            "deviceName": "PC-18",
            "jailBroken": "Unknown",
            "enrolledDateTime": "2025-12-31T23:59:43.797191-08:00",
            "managementCertificateExpirationDate": "0001-01-01T00:00:00Z",
            "deviceHealthAttestationState": None,
            "nameOfNextYear": {"a": 1},
        },
    ),
]


@pytest.mark.parametrize(("path", "body"), EXPORTS, ids=[path for path, _ in EXPORTS])
async def test_what_graph_answered_is_taken_as_it_is(world: World, path: str, body: dict[str, Any]) -> None:
    """With its annotations, nulls, and what the metadata of the day lacks; everything that it said is said again."""
    made = await world.post(f"/{path}", {**_CONTEXT, **body})
    for name, value in body.items():
        if "@" not in name and value is not None and "Date" not in name and name != "scheduleInfo":
            assert _within(_plain(value), made[name]), (name, made[name])
    assert (await world.call("POST", f"/{path}", {**_CONTEXT, **body})).status_code == 200


def _plain(value: Any) -> Any:
    """Without the annotations that only an answer has."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items() if not name.endswith("@odata.context")}
    return [_plain(each) for each in value] if isinstance(value, list) else value


async def test_the_code_that_unlocks_a_device_is_not_kept(world: World) -> None:
    device = {"deviceName": "PC-19", "activationLockBypassCode": "s3cret"}
    assert "s3cret" not in str(await world.post("/v1.0/deviceManagement/managedDevices", device))
