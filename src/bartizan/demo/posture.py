"""What stands still in the sample organisation: directory, policies, scores, indicators, risk records of the past."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from bartizan.demo.organisation import DOMAIN, OFFICES, Organisation, Person, sample_id
from bartizan.demo.telemetry import stamp

Batch = tuple[str, list[dict[str, Any]]]  # path of a set, objects to create there (one atomic POST)

LOADER = "9f2c1d4e7b6a5083c1e2f3a4b5c6d7e8f90112233445566778899aabbccddee0"  # SHA-256 of the story's file
LICENSE = sample_id("license", DOMAIN)
_CONTROLS = (
    ("MFARegistrationV2", "Require multifactor authentication for all users", "Identity", 9.0, "moderate", "Core"),
    ("BlockLegacyAuthentication", "Block legacy authentication", "Identity", 8.0, "low", "Core"),
    ("EndpointProtection", "Turn on tamper protection", "Device", 6.0, "low", "Defense in Depth"),
    ("SafeLinks", "Check links at the time of click", "Apps", 5.0, "low", "Defense in Depth"),
    ("BackupEncryption", "Encrypt backups", "Data", 7.0, "moderate", "Advanced"),
)


def directory(org: Organisation) -> Iterator[Batch]:
    yield "/v1.0/users", list(org.users())
    yield "/v1.0/devices", list(org.devices())
    yield "/v1.0/groups", [group for group, _ in org.groups()]
    yield "/v1.0/directoryRoles", [role for role, _ in org.roles()]
    yield "/v1.0/servicePrincipals", list(org.service_principals())
    yield from _grants(org)


def _grants(org: Organisation) -> Iterator[Batch]:
    """What people and applications were given."""
    served, client = (sample_id("servicePrincipal", name) for _, name in org.applications[:2])
    yield (
        "/v1.0/appRoleAssignments",
        [
            {
                "id": sample_id("appRoleAssignment", person.id),
                "appRoleId": "00000000-0000-0000-0000-000000000000",  # access as such, without a role
                "principalId": person.id,
                "principalDisplayName": person.name,
                "principalType": "User",
                "resourceId": served,
                "resourceDisplayName": org.applications[0][1],
            }
            for person in org.people
        ],
    )
    grant = {"clientId": client, "resourceId": served, "consentType": "AllPrincipals", "scope": "User.Read"}
    yield "/v1.0/oauth2PermissionGrants", [{"id": sample_id("grant", client), **grant}]
    license = {"id": LICENSE, "skuId": LICENSE, "skuPartNumber": "SAMPLE_SECURITY_SUITE", "servicePlans": []}
    yield "/v1.0/licenseDetails", [license]


def memberships(org: Organisation) -> Iterator[tuple[str, str]]:
    """Path of a $ref collection and the path of the object that joins it."""
    for group, people in org.groups():
        for person in people:
            yield f"/v1.0/groups/{group['id']}/members/$ref", f"users/{person.id}"
    for role, people in org.roles():
        for person in people:
            yield f"/v1.0/directoryRoles/{role['id']}/members/$ref", f"users/{person.id}"
    for person in org.people:
        for name in ("registeredOwners", "registeredUsers"):
            yield f"/v1.0/devices/{person.machine.id}/{name}/$ref", f"users/{person.id}"
    heads: dict[str, Person] = {}
    for person in org.people:
        yield f"/v1.0/users/{person.id}/licenseDetails/$ref", f"licenseDetails/{LICENSE}"
        head = heads.setdefault(person.department, person)
        if head is not person:
            yield f"/v1.0/users/{person.id}/manager/$ref", f"users/{head.id}"


def registrations(org: Organisation) -> Iterator[Batch]:
    details, credentials = [], []
    for number, person in enumerate(org.people):
        registered = number % 6 != 5
        details.append(
            {
                "id": person.id,
                "userPrincipalName": person.upn,
                "userDisplayName": person.name,
                "isAdmin": person.department == "IT",
                "isMfaRegistered": registered,
                "isMfaCapable": registered,
                "methodsRegistered": ["microsoftAuthenticatorPush"] if registered else [],
            }
        )
        credentials.append(
            {
                "id": person.id,
                "userPrincipalName": person.upn,
                "userDisplayName": person.name,
                "isRegistered": registered,
                "isEnabled": registered,
                "isCapable": registered,
                "isMfaRegistered": registered,
                "authMethods": ["appNotification"] if registered else [],
            }
        )
    yield "/v1.0/reports/authenticationMethods/userRegistrationDetails", details
    yield "/beta/reports/credentialUserRegistrationDetails", credentials


def policies() -> Iterator[Batch]:
    yield (
        "/v1.0/identity/conditionalAccess/namedLocations",
        [
            {
                "@odata.type": "#microsoft.graph.ipNamedLocation",
                "displayName": f"Office {office.city}",
                "isTrusted": True,
                "ipRanges": [
                    {"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": f"{office.address}/32"},
                ],
            }
            for office in OFFICES
        ],
    )
    yield (
        "/v1.0/identity/conditionalAccess/policies",
        [
            {
                "displayName": "Require MFA at medium or high sign-in risk",
                "state": "enabledForReportingButNotEnforced",
                "conditions": {
                    "signInRiskLevels": ["high", "medium"],
                    "clientAppTypes": ["all"],
                    "applications": {"includeApplications": ["All"]},
                    "users": {"includeUsers": ["All"]},
                },
                "grantControls": {"operator": "OR", "builtInControls": ["mfa"]},
            }
        ],
    )


_VENDOR = {"vendor": "Bartizan", "provider": "SecureScore"}


def scores(org: Organisation, now: datetime) -> Iterator[Batch]:
    yield (
        "/v1.0/security/secureScoreControlProfiles",
        [
            {
                "id": name,
                "title": title,
                "controlCategory": category,
                "maxScore": most,
                "rank": rank + 1,
                "tier": tier,
                "implementationCost": cost,
                "userImpact": "low",
                "actionType": "Config",
                "service": "Sample",
                "deprecated": False,
                "threats": ["Account breach"],
                "vendorInformation": _VENDOR,
            }
            for rank, (name, title, category, most, cost, tier) in enumerate(_CONTROLS)
        ],
    )
    yield "/v1.0/security/secureScores", [_score(org, now, back) for back in range(30, -1, -1)]


def _score(org: Organisation, now: datetime, back: int) -> dict[str, Any]:
    """The score of a day: it has grown slowly for a month."""
    day = (now - timedelta(days=back)).replace(hour=0, minute=0, second=0, microsecond=0)
    reached = {
        control[0]: control[3] * min(1.0, 0.4 + (30 - back) / 60 + i / 20) for i, control in enumerate(_CONTROLS)
    }
    return {
        "id": f"{DOMAIN}_{day:%Y-%m-%d}",
        "createdDateTime": stamp(day),
        "currentScore": round(sum(reached.values()), 2),
        "maxScore": sum(control[3] for control in _CONTROLS),
        "activeUserCount": len(org.people),
        "licensedUserCount": len(org.people),
        "enabledServices": ["HasIdentity"],
        "vendorInformation": _VENDOR,
        "controlScores": [
            {"controlName": name, "controlCategory": category, "score": round(reached[name], 2), "description": title}
            for name, title, category, _, _, _ in _CONTROLS
        ],
        "averageComparativeScores": [{"basis": "AllTenants", "averageScore": 19.5}],
    }


_RISKS = (
    ("unfamiliarFeatures", "medium", "realtime"),
    ("unlikelyTravel", "low", "offline"),
    ("leakedCredentials", "high", "offline"),
    ("anonymizedIPAddress", "medium", "realtime"),
    ("maliciousIPAddress", "medium", "offline"),
    ("malwareInfectedIPAddress", "low", "offline"),
)


def risks(org: Organisation, now: datetime) -> Iterator[Batch]:
    """Risk records of the past weeks, as an identity provider would have sent them."""
    chosen = [(person, now - timedelta(days=2 + n, hours=n), _RISKS[n]) for n, person in enumerate(org.people[3:21:3])]
    yield "/v1.0/identityProtection/riskDetections", [_detection(*each) for each in chosen]
    yield "/v1.0/identityProtection/riskyUsers", [_risky_user(*each) for each in chosen]
    app_id, name = org.applications[4]
    yield (
        "/v1.0/identityProtection/riskyServicePrincipals",
        [
            {
                "id": sample_id("servicePrincipal", name),
                "appId": app_id,
                "displayName": name,
                "isEnabled": True,
                "isProcessing": False,
                "riskLevel": "low",
                "riskState": "atRisk",
                "riskDetail": "none",
                "riskLastUpdatedDateTime": stamp(now - timedelta(days=1)),
                "servicePrincipalType": "Application",
            }
        ],
    )
    yield "/v1.0/identityProtection/servicePrincipalRiskDetections", [_workload_detection(app_id, name, now)]


def _detection(person: Person, at: datetime, risk: tuple[str, str, str]) -> dict[str, Any]:
    kind, level, timing = risk
    place = person.office
    return {
        "id": sample_id("riskDetection", person.id),
        "requestId": sample_id("request", person.id),
        "correlationId": sample_id("riskCorrelation", person.id),
        "riskEventType": kind,
        "riskState": "atRisk",
        "riskLevel": level,
        "riskDetail": "none",
        "source": "IdentityProtection",
        "detectionTimingType": timing,
        "activity": "user" if kind == "leakedCredentials" else "signin",
        "tokenIssuerType": "AzureAD",
        "ipAddress": person.home_address,
        "activityDateTime": stamp(at),
        "detectedDateTime": stamp(at + timedelta(minutes=2)),
        "lastUpdatedDateTime": stamp(at + timedelta(minutes=2)),
        "userId": person.id,
        "userDisplayName": person.name,
        "userPrincipalName": person.upn,
        "location": {"city": place.city, "state": place.state, "countryOrRegion": place.country},
    }


def _workload_detection(app_id: str, name: str, now: datetime) -> dict[str, Any]:
    at = now - timedelta(days=1)
    return {
        "id": sample_id("servicePrincipalRiskDetection", name),
        "riskEventType": "suspiciousSignins",
        "riskLevel": "low",
        "riskState": "atRisk",
        "riskDetail": "none",
        "source": "IdentityProtection",
        "detectionTimingType": "offline",
        "activity": "servicePrincipal",
        "tokenIssuerType": "AzureAD",
        "ipAddress": "203.0.113.66",
        "activityDateTime": stamp(at - timedelta(minutes=3)),
        "detectedDateTime": stamp(at),
        "lastUpdatedDateTime": stamp(at),
        "servicePrincipalId": sample_id("servicePrincipal", name),
        "servicePrincipalDisplayName": name,
        "appId": app_id,
    }


def profiles(org: Organisation, now: datetime) -> Iterator[Batch]:
    """What providers know of machines, people, addresses, files and apps that the story touches."""
    person = org.people[0]
    seen = {"firstSeenDateTime": stamp(now - timedelta(days=30)), "lastSeenDateTime": stamp(now - timedelta(days=1))}
    known: dict[str, dict[str, Any]] = {
        "fileSecurityProfile": {
            **seen,
            "names": ["sync-helper.exe"],
            "hashes": [{"hashType": "sha256", "hashValue": LOADER}],
            "fileType": "Portable executable",
            "size": 218_624,
            "riskScore": "90",
        },
        "hostSecurityProfile": {
            **seen,
            "fqdn": person.machine.fqdn,
            "netBiosName": person.machine.name,
            "os": person.machine.system,
            "osVersion": person.machine.version,
            "riskScore": "20",
        },
        "ipSecurityProfile": {**seen, "address": "203.0.113.99", "countHits": 2, "countHosts": 1, "riskScore": "80"},
        "userSecurityProfile": {"userPrincipalName": person.upn, "displayName": person.name, "riskScore": "10"},
        "domainSecurityProfile": {**seen, "name": "cdn-sync.sample-c2.example", "countInOrg": 1, "riskScore": "95"},
        "cloudAppSecurityProfile": {"name": org.applications[0][1], "publisher": "Northwall", "isSigned": True},
    }
    for name, body in known.items():
        yield f"/beta/security/{name}s", [{"id": sample_id(name, DOMAIN), "vendorInformation": _VENDOR, **body}]
    setting = {"id": sample_id("providerTenantSetting", DOMAIN), "provider": "Suricata", "vendor": "OISF"}
    yield "/beta/security/providerTenantSettings", [{**setting, "enabled": True}]


def _risky_user(person: Person, at: datetime, risk: tuple[str, str, str]) -> dict[str, Any]:
    return {
        "id": person.id,
        "isDeleted": False,
        "isProcessing": False,
        "riskLevel": risk[1],
        "riskState": "atRisk",
        "riskDetail": "none",
        "riskLastUpdatedDateTime": stamp(at + timedelta(minutes=2)),
        "userDisplayName": person.name,
        "userPrincipalName": person.upn,
    }


def containment() -> dict[str, Any]:
    """An action that somebody asked for; nobody performs it, and it says so."""
    return {
        "id": sample_id("securityAction", DOMAIN),
        "name": "BlockIp",
        "actionReason": "Address of a command and control server",
        "parameters": [{"name": "ip", "value": "203.0.113.99"}],
        "vendorInformation": _VENDOR,
    }


def indicators(now: datetime) -> list[dict[str, Any]]:
    """Bodies for submitTiIndicators."""
    common = {
        "action": "alert",
        "expirationDateTime": stamp(now + timedelta(days=60)),
        "targetProduct": "Azure Sentinel",
        "tlpLevel": "green",
        "confidence": 80,
    }
    return [
        {
            **common,
            "description": "Sample command and control host",
            "threatType": "C2",
            "domainName": "cdn-sync.sample-c2.example",
        },
        {
            **common,
            "description": "Sample command and control address",
            "threatType": "C2",
            "networkIPv4": "203.0.113.99",
        },
        {
            **common,
            "description": "Sample loader",
            "threatType": "Malware",
            "fileHashType": "sha256",
            "fileHashValue": LOADER,
        },
    ]
