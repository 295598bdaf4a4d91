"""Microsoft Entra ID Protection: risk detections and risky users, of people and of workloads.

Each is an alert and a row of its table. A detection that an administrator dismissed or confirmed, or whose user has
since changed the password, is an update of the same alert.
Source: Microsoft Graph, resources riskDetection, riskyUser, servicePrincipalRiskDetection, riskyServicePrincipal;
identityRiskEvent (2018); Azure Monitor reference, tables AADUserRiskEvents and AADRiskyUsers; Microsoft Entra, "What
are risk detections?".
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bartizan.extend import Event, GraphObject, Record, Source
from bartizan.model.alert import Alert
from bartizan.sources import attack, severity
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields, clean, content_id, inner_json, objects_of, whole
from bartizan.sources.generic import guess_event, unread
from bartizan.sources.microsoft_alerts import PROVIDER
from bartizan.sources.shape import Status
from bartizan.sources.tables import declare_table, event
from bartizan.sources.times import first_time, when

PRODUCT = "Microsoft Entra ID Protection"
EVENTS = "EntraEvents"  # of logs that have no table of Microsoft's
declare_table(EVENTS, {"Category": "category", "TenantId": "tenantId"})
MAX_COLUMNS = 200  # of one row
# riskEventType -> (what the portal calls it, the tactic that it is a sign of).
_TYPES: Mapping[str, tuple[str, str]] = {
    "adminConfirmedUserCompromised": ("Admin confirmed user compromised", "InitialAccess"),
    "anomalousServicePrincipalActivity": ("Anomalous service principal activity", "Persistence"),
    "anomalousToken": ("Anomalous token", "CredentialAccess"),
    "anomalousUserActivity": ("Anomalous user activity", "Persistence"),
    "anonymizedIPAddress": ("Anonymous IP address", "InitialAccess"),
    "attackerinTheMiddle": ("Attacker in the middle", "CredentialAccess"),
    "attemptedPrtAccess": ("Possible attempt to access Primary Refresh Token", "CredentialAccess"),
    "generic": ("Additional risk detected", "InitialAccess"),
    "impossibleTravel": ("Impossible travel", "InitialAccess"),
    "investigationsThreatIntelligence": ("Microsoft Entra threat intelligence", "InitialAccess"),
    "leakedCredentials": ("Leaked credentials", "CredentialAccess"),
    "maliciousApplication": ("Malicious application", "Persistence"),
    "maliciousIPAddress": ("Malicious IP address", "InitialAccess"),
    "malwareInfectedIPAddress": ("Malware linked IP address", "InitialAccess"),
    "mcasFinSuspiciousFileAccess": ("Mass access to sensitive files", "Collection"),
    "mcasImpossibleTravel": ("Impossible travel", "InitialAccess"),
    "mcasSuspiciousInboxManipulationRules": ("Suspicious inbox manipulation rules", "DefenseEvasion"),
    "nationStateIP": ("Verified threat actor IP", "InitialAccess"),
    "newCountry": ("New country", "InitialAccess"),
    "passwordSpray": ("Password spray", "CredentialAccess"),
    "riskyIPAddress": ("Activity from anonymous IP address", "InitialAccess"),
    "suspiciousAPITraffic": ("Suspicious API traffic", "Discovery"),
    "suspiciousApplication": ("Suspicious application", "Persistence"),
    "suspiciousBrowser": ("Suspicious browser", "InitialAccess"),
    "suspiciousInboxForwarding": ("Suspicious inbox forwarding", "Collection"),
    "suspiciousIPAddress": ("Suspicious IP address", "InitialAccess"),
    "suspiciousSendingPatterns": ("Suspicious sending patterns", "InitialAccess"),
    "suspiciousSignins": ("Suspicious sign-ins", "InitialAccess"),
    "tokenIssuerAnomaly": ("Token issuer anomaly", "CredentialAccess"),
    "unfamiliarFeatures": ("Unfamiliar sign-in properties", "InitialAccess"),
    "unlikelyTravel": ("Atypical travel", "InitialAccess"),
    "userReportedSuspiciousActivity": ("User reported suspicious activity", "InitialAccess"),
    # The names of 2018.
    "AnonymousIpRiskEvent": ("Anonymous IP address", "InitialAccess"),
    "ImpossibleTravelRiskEvent": ("Impossible travel", "InitialAccess"),
    "LeakedCredentialsRiskEvent": ("Leaked credentials", "CredentialAccess"),
    "MalwareRiskEvent": ("Malware linked IP address", "InitialAccess"),
    "SuspiciousIpRiskEvent": ("Suspicious IP address", "InitialAccess"),
    "UnfamiliarLocationRiskEvent": ("Unfamiliar sign-in properties", "InitialAccess"),
}
_FOLDED = {name.lower(): both for name, both in _TYPES.items()}
# riskState, or the riskEventStatus of 2018 -> the alert's status and classification.
_STATES: Mapping[str, tuple[Status, str | None]] = {
    "none": ("resolved", None),
    "confirmedsafe": ("resolved", "falsePositive"),
    "dismissedasfalsepositive": ("resolved", "falsePositive"),
    "dismissed": ("resolved", "informationalExpectedActivity"),
    "dismissedasignore": ("resolved", "informationalExpectedActivity"),
    "dismissedasfixed": ("resolved", "truePositive"),
    "remediated": ("resolved", None),
    "confirmedcompromised": ("inProgress", "truePositive"),
}
_TABLES = {  # by (is it a detection, is it of a workload)
    (True, False): "AADUserRiskEvents",
    (False, False): "AADRiskyUsers",
    (True, True): "AADServicePrincipalRiskEvents",
    (False, True): "AADRiskyServicePrincipals",
}
_ENVELOPE = frozenset({"properties", "resourceid"})  # the tenant's resource, where sign-ins have another resourceId
_USED = frozenset(
    """
    id risktype riskeventtype risklevel riskstate activitydatetime detecteddatetime lastupdateddatetime
    userdisplayname userprincipalname ipaddress location requestid risklastupdateddatetime additionalinfo
    """.split()
)


class EntraIdProtection(Source):
    name = "entra_id_protection"
    vendor = "Microsoft"
    product = PRODUCT
    marks = (
        "category=*RiskEvents+properties.riskLevel category=Risky*+properties.riskLevel "
        "riskEventType+riskEventStatus riskEventType+riskLevel riskEventType+riskState+riskLevel "
        "riskState+riskLevel+riskLastUpdatedDateTime category=UserRiskEvents+properties+operationName+time "
        "category=RiskyUsers+properties+operationName+time "
        "category=*RiskEvents+properties+operationName+time category=Risky*+properties+operationName+time"
    )
    sourcetypes = ("azure:aad:risk*", "azure:aad:identity_protection:*", "ms:aad:risk*")

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        found = objects_of(record, "records", "value")
        if not found:
            yield from unread(record, EVENTS)
        for fields in found:
            row = unwrapped(fields)
            if is_risk(row):
                yield from risk(record, row)
            else:
                yield guess_event(row, EVENTS)


def unwrapped(fields: Fields) -> Fields:
    """What a diagnostic setting wraps: the properties, with what only the envelope says beside them."""
    inner = fields.object("properties")
    if not inner:
        return fields
    outer = {key: value for key, value in fields.data.items() if key.lower() not in _ENVELOPE and not inner.has(key)}
    return Fields({**outer, **inner.data})


def is_risk(row: Fields) -> bool:
    """A risk detection has a type of risk; a risky user or workload a level and when it last changed. A sign-in has
    neither under these names."""
    return row.has("riskEventType", "riskType") or (row.has("riskLastUpdatedDateTime") and row.has("riskLevel"))


def risk(record: Record, row: Fields) -> Iterator[Alert | Event]:
    """`row` is what `is_risk` takes."""
    of_workload = row.has("servicePrincipalId", "servicePrincipalDisplayName", "servicePrincipalType", "agentId")
    detected = row.has("riskEventType", "riskType")
    first = first_time(row, "activityDateTime", "riskEventDateTime", "detectedDateTime", "createdDateTime") or (
        first_time(row, "riskLastUpdatedDateTime", "time", "TimeGenerated")
    )
    evidence = Evidence(first)
    _entities(row, evidence, of_workload, detected)
    yield _alert(record, row, evidence, first, detected)
    table = _TABLES[detected, of_workload]
    yield table_row(table, row, evidence, first_time(row, "TimeGenerated", "time") or first)


def table_row(table: str, row: Fields, evidence: Evidence, at: str | None, skip: Iterable[str] = ()) -> Event:
    """A row of a table that has the log's own properties as columns, their names with a capital."""
    columns: dict[str, Any] = {}
    left_out = {"tenantid", *skip}
    for name, value in list(row.data.items())[:MAX_COLUMNS]:
        if name and value not in (None, "", []) and name.lower() not in left_out:
            timed = name.lower().endswith("datetime") or name.lower() == "timegenerated"
            columns[whole(name[0].upper() + name[1:])] = (when(value) if timed else None) or clean(inner_json(value))
    if len(row.data) > MAX_COLUMNS:
        beyond = list(row.data)[MAX_COLUMNS : 2 * MAX_COLUMNS]
        columns["AdditionalFields"] = {"cutFields": [whole(name) for name in beyond]}
    return event(table, at, columns, evidence)


def _alert(record: Record, row: Fields, evidence: Evidence, first: str | None, detected: bool) -> Alert:
    kind = row.text("riskEventType", "riskType") if detected else None
    own_id = row.text("id") or content_id(row.data)
    who = row.text("userPrincipalName", "userDisplayName", "servicePrincipalDisplayName", "displayName") or own_id
    title, tactic = _FOLDED.get((kind or "").lower(), (kind or f"Risk of {who}", "InitialAccess"))
    status, classification = _STATES.get(_member(row, "riskState", "riskEventStatus").lower(), ("new", None))
    level = _member(row, "riskLevel")
    info = _info(row)
    return Alert(
        vendor="Microsoft",
        product=PRODUCT,
        provider=PROVIDER,
        provider_alert_id=own_id if detected else f"risky:{own_id}",
        title=title,
        description=_reasons(info),
        severity=severity.of_word(level),
        vendor_severity=level or None,
        category=tactic,
        categories=[tactic],
        vendor_category=kind or "riskyUser",
        techniques=attack.techniques(record, row.data),
        detector_id=kind,
        detection_source="azureAdIdentityProtection",
        service_source="azureAdIdentityProtection",
        first_activity=first,
        last_activity=first,
        source_created=first_time(row, "detectedDateTime", "createdDateTime"),
        source_updated=first_time(row, "lastUpdatedDateTime", "riskLastUpdatedDateTime", "closedDateTime"),
        status=status,
        classification=classification,
        evidence=evidence.items,
        additional=row.rest(_USED) | ({"additionalInfo": info} if info else {}) | evidence.unsaid,
        fingerprint=(kind or "risky", row.text("userId", "servicePrincipalId") or own_id, row.text("requestId") or ""),
    )


def _member(row: Fields, *paths: str) -> str:
    """A word of an enumeration, in which "none" is one; empty where there is none."""
    value = row.raw(*paths)
    return whole(value) if isinstance(value, str) else ""


def _info(row: Fields) -> dict[str, Any]:
    """additionalInfo, which is a list of {"Key", "Value"} in a string, as one object."""
    pairs = {key: pair.raw("Value") for pair in row.objects("additionalInfo") if (key := pair.text("Key"))}
    return Fields({key: value for key, value in pairs.items() if value is not None}).rest()


def _reasons(info: Mapping[str, Any]) -> str | None:
    reasons = info.get("riskReasons")
    words = [word for word in reasons if isinstance(word, str)] if isinstance(reasons, list) else []
    return ", ".join(words) or None


def _entities(row: Fields, evidence: Evidence, of_workload: bool, detected: bool) -> None:
    if of_workload:
        evidence.service_principal(
            row.text("servicePrincipalDisplayName", "displayName"),
            app_id=row.text("appId"),
            object_id=row.text("servicePrincipalId", "agentId") or (None if detected else row.text("id")),
        )
    else:
        evidence.user(
            row.text("userPrincipalName"),
            object_id=row.text("userId") or (None if detected else row.text("id")),
            display=row.text("userDisplayName"),
        )
    evidence.ip(row.text("ipAddress", "callerIpAddress"), ("source",), place_of(row))
    evidence.logon_request(row.text("requestId"))


def place_of(row: Fields) -> Place:
    """Of Graph's signInLocation."""
    where = row.object("location", "LocationDetails")
    return Place(
        country=where.text("countryOrRegion"),
        city=where.text("city"),
        state=where.text("state"),
        latitude=where.number("geoCoordinates.latitude"),
        longitude=where.number("geoCoordinates.longitude"),
    )
