"""A risk as an alert: what a sign-in, or a principal, is suspected of, in the one form that all alerts have.

One alert stands for one risky sign-in (or for one detection that names none); raised again it is the next version of
the same alert, and what takes the risk away resolves it.

Source: Microsoft Graph security, serviceSource and detectionSource of Microsoft Entra ID Protection; MITRE ATT&CK.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from bartizan.identity.risk import RANK, STANDING
from bartizan.model import security as graph
from bartizan.model.alert import Alert, Severity

PRODUCT = "Identity Protection"
VENDOR = "Bartizan"
_SOURCE = "azureAdIdentityProtection"
# riskEventType -> title, tactic, techniques.
TYPES: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "adminConfirmedServicePrincipalCompromised": ("Admin confirmed service principal compromised", "InitialAccess",
                                                  ("T1078.004",)),
    "adminConfirmedUserCompromised": ("Admin confirmed user compromised", "InitialAccess", ("T1078.004",)),
    "anomalousServicePrincipalActivity": ("Anomalous service principal activity", "Persistence", ("T1098",)),
    "anomalousToken": ("Anomalous token", "CredentialAccess", ("T1528", "T1550.001")),
    "anomalousUserActivity": ("Anomalous user activity", "Persistence", ("T1098",)),
    "anonymizedIPAddress": ("Anonymous IP address", "InitialAccess", ("T1078.004", "T1090.003")),
    "attackerinTheMiddle": ("Attacker in the middle", "CredentialAccess", ("T1557", "T1539")),
    "investigationsThreatIntelligence": ("Resembles a confirmed attack", "InitialAccess", ("T1078.004",)),
    "leakedCredentials": ("Leaked credentials", "CredentialAccess", ("T1589.001", "T1078.004")),
    "maliciousIPAddress": ("Malicious IP address", "InitialAccess", ("T1078.004",)),
    "mcasFinSuspiciousFileAccess": ("Mass access to sensitive files", "Collection", ("T1213",)),
    "mcasImpossibleTravel": ("Impossible travel", "InitialAccess", ("T1078.004",)),
    "mcasSuspiciousInboxManipulationRules": ("Suspicious inbox manipulation rules", "DefenseEvasion", ("T1564.008",)),
    "nationStateIP": ("Verified threat actor IP", "InitialAccess", ("T1078.004",)),
    "newCountry": ("New country", "InitialAccess", ("T1078.004",)),
    "passwordSpray": ("Password spray", "CredentialAccess", ("T1110.003",)),
    "riskyIPAddress": ("Activity from anonymous IP address", "InitialAccess", ("T1078.004", "T1090.003")),
    "suspiciousAPITraffic": ("Suspicious API traffic", "Discovery", ("T1087.004", "T1069.003")),
    "suspiciousApplication": ("Suspicious application", "CredentialAccess", ("T1528",)),
    "suspiciousBrowser": ("Suspicious browser", "InitialAccess", ("T1078.004",)),
    "suspiciousInboxForwarding": ("Suspicious inbox forwarding", "Collection", ("T1114.003",)),
    "suspiciousSendingPatterns": ("Suspicious sending patterns", "InitialAccess", ("T1566",)),
    "suspiciousSignins": ("Suspicious sign-ins of a workload", "InitialAccess", ("T1078.004",)),
    "unfamiliarFeatures": ("Unfamiliar sign-in properties", "InitialAccess", ("T1078.004",)),
    "unlikelyTravel": ("Atypical travel", "InitialAccess", ("T1078.004",)),
    "userReportedSuspiciousActivity": ("User reported suspicious activity", "CredentialAccess", ("T1621",)),
}  # fmt: skip
_SEVERITIES: tuple[Severity, ...] = ("low", "low", "medium", "high")  # by the rank of a level
_ENDED: Mapping[str, str | None] = {
    "confirmedSafe": "falsePositive",
    "dismissed": "informationalExpectedActivity",
    "remediated": "truePositive",
    "none": None,
}


def alert_of(
    key: str, level: str, detections: Sequence[Mapping[str, Any]], sign_in: Mapping[str, Any] | None, now: str
) -> Alert:
    """Of detections (inner form) of one sign-in, the most telling first. `key` is the sign-in's id, else the
    detection's. What takes a risk away does not make it less severe."""
    first = detections[0]
    kind = str(first["riskEventType"])
    title, tactic, _ = TYPES.get(kind, (kind, "InitialAccess", ()))
    techniques = [one for each in detections for one in TYPES.get(str(each["riskEventType"]), ("", "", ()))[2]]
    types = [str(each["riskEventType"]) for each in detections]
    standing = [each for each in detections if each.get("riskState") in STANDING]
    rank = max(RANK.get(each, 0) for each in (level, *(str(each.get("riskLevel")) for each in standing or detections)))
    state = str(first.get("riskState"))
    made = Alert(
        vendor=VENDOR,
        product=PRODUCT,
        provider_alert_id=key,
        title=title,
        description=", ".join(types),
        severity=_SEVERITIES[rank],
        category=tactic,
        categories=list(dict.fromkeys([tactic, *(TYPES[each][1] for each in types if each in TYPES)])),
        vendor_category=kind,
        techniques=list(dict.fromkeys(techniques)),
        detector_id=kind,
        detection_source=_SOURCE,
        service_source=_SOURCE,
        first_activity=first.get("activityDateTime"),
        last_activity=first.get("activityDateTime"),
        source_created=first.get("detectedDateTime"),
        source_updated=now,
        status="new" if standing else "resolved",
        evidence=_evidence(first, sign_in),
        additional={
            "riskEventTypes": types,
            "riskDetectionIds": [str(each["id"]) for each in detections],
            **({"signInId": sign_in["id"]} if sign_in is not None else {}),
        },
        fingerprint=(key,),
    )
    if state == "confirmedCompromised":
        made.classification = "truePositive"
        made.status = "inProgress"
    elif not standing:
        made.classification = None if first.get("riskDetail") == "none" else _ENDED.get(state)
    return made


def _evidence(first: Mapping[str, Any], sign_in: Mapping[str, Any] | None) -> list[graph.AlertEvidence]:
    of = sign_in or {}
    found: list[graph.AlertEvidence] = []
    if first.get("servicePrincipalId"):
        found.append(
            graph.ServicePrincipalEvidence(
                servicePrincipalObjectId=first.get("servicePrincipalId"),
                servicePrincipalName=first.get("servicePrincipalDisplayName"),
                appId=first.get("appId"),
            )
        )
    else:
        name = first.get("userPrincipalName") or ""
        local, _, domain = name.partition("@")
        account = graph.UserAccount(
            accountName=local or None,
            domainName=domain or None,
            userPrincipalName=name or None,
            azureAdUserId=first.get("userId"),
            displayName=first.get("userDisplayName"),
        )
        found.append(graph.UserEvidence(userAccount=account, roles=["compromised"]))
    if first.get("ipAddress"):
        found.append(_address(first))
    device = of.get("deviceDetail") or {}
    if device.get("displayName") or device.get("deviceId"):
        found.append(
            graph.DeviceEvidence(
                hostName=device.get("displayName") or None,
                azureAdDeviceId=device.get("deviceId") or None,
                osPlatform=device.get("operatingSystem") or None,
            )
        )
    if of.get("appDisplayName") or of.get("resourceDisplayName"):
        found.append(graph.CloudApplicationEvidence(displayName=of.get("appDisplayName") or of["resourceDisplayName"]))
    if of.get("id"):
        found.append(graph.CloudLogonRequestEvidence(requestId=of["id"]))
    return found


def _address(first: Mapping[str, Any]) -> graph.IpEvidence:
    where = first.get("location") or {}
    place = where.get("geoCoordinates") or {}
    country = where.get("countryOrRegion")
    return graph.IpEvidence(
        ipAddress=first["ipAddress"],
        roles=["source"],
        countryLetterCode=country if isinstance(country, str) and len(country) == 2 else None,
        location=graph.GeoLocation(
            city=where.get("city"),
            countryName=country,
            state=where.get("state"),
            latitude=place.get("latitude"),
            longitude=place.get("longitude"),
        )
        if where
        else None,
    )
