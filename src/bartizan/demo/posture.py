"""What stands still in the sample organisation: directory, policies, scores, indicators, risk records of the past."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from bartizan.demo.organisation import DOMAIN, LOADER_SHA256, OFFICES, Office, Organisation, Person, sample_id
from bartizan.demo.telemetry import stamp

Batch = tuple[str, list[dict[str, Any]]]  # path of a set, objects to create there (one atomic POST)
Risk = tuple[str, str, str]  # riskEventType, level, detectionTimingType

DETECTIONS = "/v1.0/identityProtection/riskDetections"
RISKY_USERS = "/v1.0/identityProtection/riskyUsers"

_CONTROLS = (
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
    """Path of a $ref collection and the path of the object that joins it, both below the version."""
    for group, people in org.groups():
        for person in people:
            yield f"/groups/{group['id']}/members/$ref", f"users/{person.id}"
            if person is not people[0]:
                yield f"/users/{person.id}/manager/$ref", f"users/{people[0].id}"
    for role, people in org.roles():
        for person in people:
            yield f"/directoryRoles/{role['id']}/members/$ref", f"users/{person.id}"
    for person in org.people:
        for relation in ("registeredOwners", "registeredUsers"):
            yield f"/devices/{person.machine.id}/{relation}/$ref", f"users/{person.id}"


def registrations(org: Organisation) -> Iterator[Batch]:
    details, credentials = [], []
    for number, person in enumerate(org.people):
        registered = number % 6 != 5
        details.append(
            {
                "id": person.id,
                "userPrincipalName": person.upn,
                "userDisplayName": person.name,
                "userType": "member",
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


_VENDOR = {"vendor": "Northwall", "provider": "Northwall posture"}  # identities: this server's own posture


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
        "enabledServices": ["HasExchange"],
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
    ("malwareInfectedIPAddress", "low", "offline"),
    ("maliciousIPAddress", "medium", "offline"),
)


def risks(org: Organisation, now: datetime) -> Iterator[Batch]:
    """Risk records of the past weeks, as an identity provider would have sent them."""
    chosen = [(person, now - timedelta(days=2 + n, hours=n), _RISKS[n]) for n, person in enumerate(org.people[3:21:3])]
    yield DETECTIONS, [detection(*each) for each in chosen]
    yield RISKY_USERS, [risky_user(*each) for each in chosen]
    yield from _workload_risks(org, now)


def _workload_risks(org: Organisation, now: datetime) -> Iterator[Batch]:
    app_id, name = org.applications[4]
    at = stamp(now - timedelta(days=1))
    yield (
        "/v1.0/identityProtection/servicePrincipalRiskDetections",
        [
            {
                "id": sample_id("workloadRisk", name),
                "servicePrincipalId": sample_id("servicePrincipal", name),
                "servicePrincipalDisplayName": name,
                "appId": app_id,
                "riskEventType": "suspiciousSignins",
                "riskLevel": "low",
                "riskState": "atRisk",
                "riskDetail": "none",
                "activity": "servicePrincipal",
                "detectionTimingType": "offline",
                "source": "IdentityProtection",
                "tokenIssuerType": "AzureAD",
                "ipAddress": "203.0.113.140",
                "activityDateTime": at,
                "detectedDateTime": at,
                "lastUpdatedDateTime": at,
            }
        ],
    )
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
                "riskLastUpdatedDateTime": at,
                "servicePrincipalType": "Application",
            }
        ],
    )


def detection(person: Person, at: datetime, risk: Risk, *, place: Office | None = None) -> dict[str, Any]:
    """From home and known for long, or from a place and just now."""
    kind, level, timing = risk
    apart = () if place is None else (stamp(at),)
    address = person.home_address if place is None else place.address
    place = place or person.office
    return {
        "id": sample_id("riskDetection", person.id, kind, *apart),
        "requestId": sample_id("request", person.id, kind),
        "correlationId": sample_id("riskCorrelation", person.id, kind),
        "riskEventType": kind,
        "riskState": "atRisk",
        "riskLevel": level,
        "riskDetail": "none",
        "source": "IdentityProtection",
        "detectionTimingType": timing,
        "activity": "user" if kind == "leakedCredentials" else "signin",
        "tokenIssuerType": "AzureAD",
        "ipAddress": address,
        "activityDateTime": stamp(at),
        "detectedDateTime": stamp(at + timedelta(minutes=2)),
        "lastUpdatedDateTime": stamp(at + timedelta(minutes=2)),
        "userId": person.id,
        "userDisplayName": person.name,
        "userPrincipalName": person.upn,
        "location": {"city": place.city, "state": place.state, "countryOrRegion": place.country},
    }


def risky_user(person: Person, at: datetime, risk: Risk) -> dict[str, Any]:
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


def response() -> Iterator[Batch]:
    """An action that somebody asked for; it has failed, since nothing here performs it."""
    yield (
        "/beta/security/securityActions",
        [
            {
                "name": "Block the command and control address",
                "actionReason": "Beacon from one machine",
                "parameters": [{"name": "IP", "value": "203.0.113.99"}],
                "vendorInformation": {"vendor": "Northwall", "provider": "Sample firewall"},
            }
        ],
    )


def suppressions(now: datetime) -> Iterator[Batch]:
    """What the security team knows, and does not want to see in incidents this quarter."""
    scanner = "evidence/any(e: e/microsoft.graph.security.ipEvidence/ipAddress eq '198.51.100.250')"
    yield (
        "/beta/security/suppressions",
        [
            {
                "displayName": "Our vulnerability scanner",
                "filter": scanner,
                "reason": "Scans every office each night; its findings come as a report",
                "owner": f"soc@{DOMAIN}",
                "expirationDateTime": stamp(now + timedelta(days=90)),
            }
        ],
    )


_ONE_ADDRESS = """
SigninLogs
| where ResultType != "0"
| summarize Accounts = dcount(UserPrincipalName), Timestamp = max(TimeGenerated) by IPAddress, bin(TimeGenerated, 1h)
| where Accounts > 10
| project Timestamp, IPAddress, Accounts
"""


def indicators(now: datetime) -> Iterator[Batch]:
    common = {
        "action": "alert",
        "expirationDateTime": stamp(now + timedelta(days=60)),
        "targetProduct": "Azure Sentinel",
        "tlpLevel": "green",
        "confidence": 80,
    }
    yield (
        "/beta/security/tiIndicators",
        [
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
                "fileHashValue": LOADER_SHA256,
            },
        ],
    )


def rules() -> Iterator[Batch]:
    yield (
        "/beta/security/rules/detectionRules",
        [
            {
                "displayName": "One address, many accounts",
                "isEnabled": True,
                "queryCondition": {"queryText": _ONE_ADDRESS},
                "schedule": {"period": "1H"},
                "detectionAction": {
                    "alertTemplate": {
                        "title": "Sign-ins of many accounts failed from one address",
                        "description": "Within an hour somebody tried passwords of more than ten accounts there.",
                        "severity": "medium",
                        "category": "CredentialAccess",
                        "mitreTechniques": ["T1110.003"],
                        "impactedAssets": [],
                    }
                },
            }
        ],
    )


def hunting() -> Iterator[Batch]:
    """What queries may name beside the tables, and a search of the audit."""
    yield (
        "/v1.0/security/auditLog/queries",
        [{"displayName": "Sign-ins that failed", "operationFilters": ["UserLoginFailed"]}],
    )
    yield (
        "/beta/security/watchlists",
        [
            {
                "watchlistAlias": "CriticalSystems",
                "displayName": "Systems that the company cannot do without",
                "itemsSearchKey": "DeviceName",
                "contentType": "text/csv",
                "rawContent": "DeviceName,Purpose\nNW-DC01,Directory\nNW-FILE01,Files\n",
            }
        ],
    )
    yield (
        "/beta/security/huntingFunctions",
        [
            {
                "name": "FailedSignIns",
                "description": "Sign-ins that failed, by person and address.",
                "parameters": "(back: timespan = 1d)",
                "body": "SigninLogs\n| where TimeGenerated > ago(back) and ResultType != '0'\n"
                "| summarize Count = count() by UserPrincipalName, IPAddress",
            }
        ],
    )
