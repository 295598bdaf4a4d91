"""What a directory tells of the sample organisation beside who is in it: its policies, who may activate roles, its
managed devices, the health of its sensors."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from bartizan.demo.organisation import DOMAIN, Organisation, Person, sample_id
from bartizan.demo.telemetry import stamp

Batch = tuple[str, list[dict[str, Any]]]  # path of a set, objects to create there

_ROLES = "/v1.0/roleManagement/directory"
_GROUPS = "/v1.0/identityGovernance/privilegedAccess/group"
_PARTNER = sample_id("tenant", "partner")
_RULES = "#microsoft.graph.unifiedRoleManagementPolicy"


def only() -> Iterator[tuple[str, dict[str, Any]]]:
    """Policies of which a tenant has one: path, object."""
    yield (
        "/v1.0/policies/authorizationPolicy",
        {
            "displayName": "Authorization Policy",
            "allowInvitesFrom": "adminsAndGuestInviters",
            "allowedToSignUpEmailBasedSubscriptions": True,
            "allowedToUseSSPR": True,
            "allowEmailVerifiedUsersToJoinOrganization": False,
            "blockMsolPowerShell": False,
            "guestUserRoleId": "10dae51f-b6af-4016-8d66-8c2a99b929b3",
            "defaultUserRolePermissions": {
                "allowedToCreateApps": True,
                "allowedToCreateSecurityGroups": True,
                "allowedToCreateTenants": False,
                "allowedToReadOtherUsers": True,
                "permissionGrantPoliciesAssigned": ["ManagePermissionGrantsForSelf.microsoft-user-default-low"],
            },
        },
    )
    yield (
        "/v1.0/policies/identitySecurityDefaultsEnforcementPolicy",
        {"displayName": "Security Defaults", "isEnabled": False},
    )
    yield "/v1.0/policies/authenticationMethodsPolicy", _ways_to_sign_in()
    yield from _smaller()


def _smaller() -> Iterator[tuple[str, dict[str, Any]]]:
    yield "/v1.0/policies/authenticationFlowsPolicy", {"selfServiceSignUp": {"isEnabled": False}}
    yield (
        "/v1.0/policies/adminConsentRequestPolicy",
        {"isEnabled": True, "notifyReviewers": True, "remindersEnabled": True, "requestDurationInDays": 30},
    )
    yield (
        "/v1.0/policies/deviceRegistrationPolicy",
        {
            "displayName": "Device Registration Policy",
            "userDeviceQuota": 20,
            "multiFactorAuthConfiguration": "required",
        },
    )
    yield (
        "/v1.0/policies/defaultAppManagementPolicy",
        {"displayName": "Default app management tenant policy", "isEnabled": False},
    )
    yield "/v1.0/policies/crossTenantAccessPolicy", {"displayName": "CrossTenantAccessPolicy"}
    yield (
        "/v1.0/policies/crossTenantAccessPolicy/default",
        {"isServiceDefault": True, "inboundTrust": {"isMfaAccepted": False, "isCompliantDeviceAccepted": False}},
    )
    yield (
        "/beta/policies/externalIdentitiesPolicy",
        {"displayName": "External Identities Policy", "allowExternalIdentitiesToLeave": True},
    )


def _ways_to_sign_in() -> dict[str, Any]:
    everyone = [{"targetType": "group", "id": "all_users", "isRegistrationRequired": False}]
    return {
        "displayName": "Authentication Methods Policy",
        "policyVersion": "1.5",
        "policyMigrationState": "migrationComplete",
        "authenticationMethodConfigurations": [
            {
                "@odata.type": f"#microsoft.graph.{kind}AuthenticationMethodConfiguration",
                "id": f"{kind[0].upper()}{kind[1:]}",
                "state": state,
                "includeTargets": everyone,
            }
            for kind, state in (
                ("fido2", "enabled"),
                ("microsoftAuthenticator", "enabled"),
                ("sms", "disabled"),
                ("temporaryAccessPass", "enabled"),
                ("softwareOath", "disabled"),
                ("voice", "disabled"),
                ("email", "enabled"),
                ("x509Certificate", "disabled"),
            )
        ],
    }


def sets(org: Organisation, now: datetime) -> Iterator[Batch]:
    yield from _policies()
    yield from _roles(org, now)
    yield from _groups(org, now)
    yield "/v1.0/deviceManagement/managedDevices", [_managed(person, now) for person in org.people]
    yield from _sensors(now)
    yield from _asked(org, now)
    yield from _gone(now)
    yield from _used(org, now)


def _policies() -> Iterator[Batch]:
    path = "/v1.0/policies"
    yield f"{path}/crossTenantAccessPolicy/partners", [{"tenantId": _PARTNER, "inboundTrust": {"isMfaAccepted": True}}]
    for name, shown, rule in (
        ("activityBasedTimeoutPolicies", "Idle sessions end", '{"ActivityBasedTimeoutPolicy":{"Version":1}}'),
        ("claimsMappingPolicies", "Employee number in tokens", '{"ClaimsMappingPolicy":{"Version":1}}'),
        (
            "homeRealmDiscoveryPolicies",
            "No federation",
            '{"HomeRealmDiscoveryPolicy":{"AccelerateToFederatedDomain":false}}',
        ),
        ("tokenIssuancePolicies", "Signed responses", '{"TokenIssuancePolicy":{"Version":1}}'),
        ("tokenLifetimePolicies", "An hour", '{"TokenLifetimePolicy":{"Version":1,"AccessTokenLifetime":"1:00:00"}}'),
    ):
        yield f"{path}/{name}", [{"id": sample_id("policy", name), "displayName": shown, "definition": [rule]}]
    yield f"{path}/appManagementPolicies", [{"id": sample_id("policy", "apps"), "displayName": "No secrets of a year"}]
    rollout = {"displayName": "Staged rollout", "feature": "passwordHashSync", "isEnabled": False}
    yield f"{path}/featureRolloutPolicies", [{"id": sample_id("policy", "rollout"), **rollout}]
    low = {"id": sample_id("conditions", "low"), "permissionType": "delegated", "permissionClassification": "low"}
    yield (
        f"{path}/permissionGrantPolicies",
        [{"id": "microsoft-user-default-low", "displayName": "Default user low risk policy", "includes": [low]}],
    )
    strength = {"policyType": "builtIn", "requirementsSatisfied": "mfa", "displayName": "Phishing-resistant MFA"}
    combinations = ["windowsHelloForBusiness", "fido2", "x509CertificateMultiFactor"]
    yield (
        f"{path}/authenticationStrengthPolicies",
        [{"id": "00000000-0000-0000-0000-000000000004", **strength, "allowedCombinations": combinations}],
    )
    yield (
        "/v1.0/identity/conditionalAccess/authenticationContextClassReferences",
        [{"id": "c1", "displayName": "Managed devices only", "isAvailable": True}],
    )
    features = {"passwordSyncEnabled": True, "blockSoftMatchEnabled": True}
    synchronised = {"id": sample_id("tenant", "synchronised"), "features": features}
    yield "/v1.0/directory/onPremisesSynchronization", [synchronised]
    values = [{"name": "EnableAdminConsentRequests", "value": "true"}]
    setting = {"displayName": "Consent Policy Settings", "templateId": "dffd5d46-495d-40a9-8e21-954ff55e198a"}
    for name in ("/v1.0/groupSettings", "/beta/settings"):
        yield name, [{"id": sample_id("setting", name), **setting, "values": values}]


def _roles(org: Organisation, now: datetime) -> Iterator[Batch]:
    """One of the administrators may activate the highest role, and has activated the other one for today."""
    (highest, holders), (reader, _) = org.roles()
    who = next(each for each in org.people if each.department == "IT" and each not in holders)
    may = {"principalId": who.id, "roleDefinitionId": highest["roleTemplateId"], "directoryScopeId": "/"}
    is_now = {**may, "roleDefinitionId": reader["roleTemplateId"], "assignmentType": "Activated"}
    since, until = stamp(now - timedelta(days=20)), stamp(now + timedelta(hours=8))
    for name, said in (("Eligibility", may), ("Assignment", is_now)):
        id = sample_id("schedule", name)
        lasting = {"createdDateTime": since, "memberType": "Direct", "status": "Provisioned"}
        yield f"{_ROLES}/role{name}Schedules", [{"id": id, **said, **lasting}]
        instance = {"id": f"{id}-i", **said, "memberType": "Direct", "startDateTime": since}
        instance[f"role{name}ScheduleId"] = id
        yield f"{_ROLES}/role{name}ScheduleInstances", [{**instance, "endDateTime": until if said is is_now else None}]
    rules = [
        {
            "@odata.type": f"{_RULES}EnablementRule",
            "id": "Enablement_EndUser_Assignment",
            "enabledRules": ["Justification"],
        },
        {
            "@odata.type": f"{_RULES}ExpirationRule",
            "id": "Expiration_EndUser_Assignment",
            "isExpirationRequired": True,
            "maximumDuration": "PT8H",
        },
    ]
    scope = {"scopeId": "/", "scopeType": "DirectoryRole"}
    policy = {"displayName": "DirectoryRole", "rules": rules, "effectiveRules": rules}
    for role, _ in org.roles():
        id = f"DirectoryRole_{sample_id('policy', role['id'])}"
        yield "/v1.0/policies/roleManagementPolicies", [{"id": id, **scope, **policy}]
        of_role = {"id": f"{id}_{role['roleTemplateId']}", "policyId": id, "roleDefinitionId": role["roleTemplateId"]}
        yield "/v1.0/policies/roleManagementPolicyAssignments", [{**of_role, **scope}]


def _groups(org: Organisation, now: datetime) -> Iterator[Batch]:
    group, members = next(iter(org.groups()))
    said = {"groupId": group["id"], "principalId": members[0].id, "accessId": "member", "memberType": "direct"}
    since = stamp(now - timedelta(days=20))
    for word in ("assignment", "eligibility"):
        kind = {**said, **({"assignmentType": "assigned"} if word == "assignment" else {})}
        id = sample_id("group schedule", word)
        yield f"{_GROUPS}/{word}Schedules", [{"id": id, **kind, "createdDateTime": since, "status": "Provisioned"}]
        yield f"{_GROUPS}/{word}ScheduleInstances", [{"id": f"{id}-i", **kind, "startDateTime": since}]


def _asked(org: Organisation, now: datetime) -> Iterator[Batch]:
    """Requests that led to the schedules above."""
    (highest, _), _ = org.roles()
    group, members = next(iter(org.groups()))
    who = members[0].id
    decided = {"status": "Provisioned", "action": "adminAssign", "principalId": who, "justification": "On call"}
    decided["createdDateTime"] = decided["completedDateTime"] = stamp(now - timedelta(days=20))
    for name in ("Assignment", "Eligibility"):
        of_role = {"roleDefinitionId": highest["roleTemplateId"], "directoryScopeId": "/"}
        id = sample_id("request", name)
        yield f"{_ROLES}/role{name}ScheduleRequests", [{"id": id, **decided, **of_role}]
        of_group = {"id": f"{id}-g", **decided, "groupId": group["id"], "accessId": "member"}
        yield f"{_GROUPS}/{name.lower()}ScheduleRequests", [of_group]


def _gone(now: datetime) -> Iterator[Batch]:
    """What was deleted a week ago and may still be restored in its directory."""
    since = stamp(now - timedelta(days=7))
    for kind in ("user", "group", "application", "servicePrincipal", "administrativeUnit", "device"):
        gone: dict[str, Any] = {
            "id": sample_id("deleted", kind),
            "displayName": f"Former {kind}",
            "deletedDateTime": since,
        }
        if kind == "user":
            gone |= {"userPrincipalName": f"former@{DOMAIN}", "accountEnabled": False}
        yield f"/v1.0/directory/deletedItems/microsoft.graph.{kind}", [gone]


def _used(org: Organisation, now: datetime) -> Iterator[Batch]:
    """When applications, and their credentials, were used last: some have not been for long."""
    rows, keys = [], []
    for number, (app_id, name) in enumerate(org.applications):
        last = {"lastSignInDateTime": stamp(now - timedelta(days=30 * number, hours=1))}
        rows.append({"id": sample_id("use of application", name), "appId": app_id, "lastSignInActivity": last})
        key = {"keyId": sample_id("key", name), "keyType": "clientSecret", "credentialOrigin": "application"}
        keys.append({"id": sample_id("use of credential", name), "appId": app_id, **key, "signInActivity": last})
    yield "/beta/reports/servicePrincipalSignInActivities", rows
    yield "/beta/reports/appCredentialSignInActivities", keys


def _managed(person: Person, now: datetime) -> dict[str, Any]:
    machine = person.machine
    return {
        "id": sample_id("managed", machine.id),
        "deviceName": machine.name,
        "azureADDeviceId": sample_id("deviceId", machine.id),
        "userId": person.id,
        "userPrincipalName": person.upn,
        "userDisplayName": person.name,
        "emailAddress": person.upn,
        "operatingSystem": machine.system,
        "osVersion": machine.version,
        "complianceState": "noncompliant" if int(person.employee[1:]) % 9 == 0 else "compliant",
        "isEncrypted": True,
        "managedDeviceOwnerType": "company",
        "managementAgent": "mdm",
        "enrolledDateTime": stamp(now - timedelta(days=200)),
        "lastSyncDateTime": stamp(now.replace(hour=0, minute=0, second=0, microsecond=0)),
    }


def _sensors(now: datetime) -> Iterator[Batch]:
    name = f"dc1.{DOMAIN}"
    yield (
        "/v1.0/security/identities/sensors",
        [
            {
                "id": sample_id("sensor", name),
                "displayName": "DC1",
                "domainName": DOMAIN,
                "sensorType": "domainControllerIntegrated",
                "deploymentStatus": "upToDate",
                "healthStatus": "notHealthyMedium",
                "serviceStatus": "running",
                "openHealthIssuesCount": 1,
                "createdDateTime": stamp(now - timedelta(days=90)),
                "version": "2.240.18224",
            }
        ],
    )
    yield (
        "/v1.0/security/identities/healthIssues",
        [
            {
                "id": sample_id("health", name),
                "displayName": "Directory Services Advanced Auditing is not enabled as required",
                "description": "Some events that the sensor needs are not written.",
                "healthIssueType": "global",
                "severity": "medium",
                "status": "open",
                "domainNames": [DOMAIN],
                "sensorDNSNames": [name],
                "recommendations": ["Enable the auditing that the sensor asks for."],
                "createdDateTime": stamp(now - timedelta(days=3)),
            }
        ],
    )
