"""What stands still in the sample organisation: directory, policies, scores, indicators, risk records of the past."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from bartizan.demo.organisation import DOMAIN, OFFICES, Organisation, sample_id
from bartizan.demo.telemetry import stamp

Batch = tuple[str, list[dict[str, Any]]]  # path of a set, objects to create there (one atomic POST)

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


def memberships(org: Organisation) -> Iterator[tuple[str, str]]:
    """Path of a $ref collection and the path of the object that joins it."""
    for group, people in org.groups():
        for person in people:
            yield f"/v1.0/groups/{group['id']}/members/$ref", f"users/{person.id}"
    for role, people in org.roles():
        for person in people:
            yield f"/v1.0/directoryRoles/{role['id']}/members/$ref", f"users/{person.id}"
    for person in org.people:
        yield f"/v1.0/devices/{person.machine.id}/registeredOwners/$ref", f"users/{person.id}"


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


def scores(org: Organisation, now: datetime) -> Iterator[Batch]:
    vendor = {"vendor": "Bartizan", "provider": "SecureScore"}
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
                "vendorInformation": vendor,
            }
            for rank, (name, title, category, most, cost, tier) in enumerate(_CONTROLS)
        ],
    )
    days = []
    for back in range(30, -1, -1):
        day = (now - timedelta(days=back)).replace(hour=0, minute=0, second=0, microsecond=0)
        reached = {
            name: most * min(1.0, 0.4 + (30 - back) / 60 + i / 20)
            for i, (name, _, _, most, _, _) in enumerate(_CONTROLS)
        }
        days.append(
            {
                "id": f"{DOMAIN}_{day:%Y-%m-%d}",
                "createdDateTime": stamp(day),
                "currentScore": round(sum(reached.values()), 2),
                "maxScore": sum(c[3] for c in _CONTROLS),
                "activeUserCount": len(org.people),
                "licensedUserCount": len(org.people),
                "enabledServices": ["HasIdentity"],
                "vendorInformation": vendor,
                "controlScores": [
                    {
                        "controlName": name,
                        "controlCategory": category,
                        "score": round(reached[name], 2),
                        "description": title,
                    }
                    for name, title, category, _, _, _ in _CONTROLS
                ],
                "averageComparativeScores": [{"basis": "AllTenants", "averageScore": 19.5}],
            }
        )
    yield "/v1.0/security/secureScores", days


def risks(org: Organisation, now: datetime) -> Iterator[Batch]:
    """Risk records of the past weeks, as an identity provider would have sent them."""
    detections, users = [], []
    kinds = (
        ("unfamiliarFeatures", "medium", "realtime"),
        ("unlikelyTravel", "low", "offline"),
        ("leakedCredentials", "high", "offline"),
    )
    for number, person in enumerate(org.people[3:12:3]):
        kind, level, timing = kinds[number]
        at = now - timedelta(days=2 + number, hours=number)
        detections.append(
            {
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
                "location": {
                    "city": person.office.city,
                    "state": person.office.state,
                    "countryOrRegion": person.office.country,
                },
            }
        )
        users.append(
            {
                "id": person.id,
                "isDeleted": False,
                "isProcessing": False,
                "riskLevel": level,
                "riskState": "atRisk",
                "riskDetail": "none",
                "riskLastUpdatedDateTime": stamp(at + timedelta(minutes=2)),
                "userDisplayName": person.name,
                "userPrincipalName": person.upn,
            }
        )
    yield "/v1.0/identityProtection/riskDetections", detections
    yield "/v1.0/identityProtection/riskyUsers", users
    name = org.applications[4][1]
    yield (
        "/v1.0/identityProtection/riskyServicePrincipals",
        [
            {
                "id": sample_id("servicePrincipal", name),
                "appId": org.applications[4][0],
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
            "fileHashValue": "9f2c1d4e7b6a5083c1e2f3a4b5c6d7e8f90112233445566778899aabbccddee0",
        },
    ]
