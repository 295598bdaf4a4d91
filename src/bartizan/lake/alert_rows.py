"""Alerts and incidents as rows of the tables in which Defender and Sentinel show them. Pure.

An alert is a row of AlertInfo and its evidence rows of AlertEvidence once, when it is made; SecurityAlert and
SecurityIncident get a row with each change, as the object is then: the latest by time is how it stands.

Source: advanced hunting, tables AlertInfo and AlertEvidence; Azure Monitor reference, tables SecurityAlert and
SecurityIncident; Microsoft Sentinel, "entity types reference"; Microsoft Graph, resources alert, incident and
alertEvidence (microsoft.graph.security).
"""

from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

from bartizan.lake.coerce import find
from bartizan.lake.entities import entity, host_or_user, kind_of
from bartizan.lake.plain import json_text
from bartizan.lake.rows import Inner, TableRow, documented, first, fitting, list_of, object_of
from bartizan.model.faces import CORRELATION

_SERVICES = {
    "microsoftDefenderForEndpoint": "Microsoft Defender for Endpoint",
    "microsoftDefenderForIdentity": "Microsoft Defender for Identity",
    "microsoftDefenderForCloudApps": "Microsoft Defender for Cloud Apps",
    "microsoftDefenderForOffice365": "Microsoft Defender for Office 365",
    "microsoft365Defender": "Microsoft 365 Defender",
    "azureAdIdentityProtection": "AAD Identity Protection",
    "microsoftAppGovernance": "App Governance",
    "dataLossPrevention": "Microsoft Data Loss Prevention",
    "microsoftDefenderForCloud": "Microsoft Defender for Cloud",
    "microsoftSentinel": "Microsoft Sentinel",
    "microsoftInsiderRiskManagement": "Microsoft Purview Insider Risk Management",
    "microsoftThreatIntelligence": "Microsoft Threat Intelligence",
}
_DETECTORS = {
    **_SERVICES,
    "antivirus": "Antivirus",
    "smartScreen": "SmartScreen",
    "customTi": "Custom TI",
    "automatedInvestigation": "Automated investigation",
    "microsoftThreatExperts": "Microsoft Threat Experts",
    "customDetection": "Custom detection",
    "cloudAppSecurity": "Microsoft Defender for Cloud Apps",
    "manual": "Manual",
    "microsoftDefenderForEndpoint": "EDR",
    "scheduledAlerts": "Scheduled alerts",
    "nrtAlerts": "NRT alerts",
    "builtInMl": "Built-in ML",
}
_SEVERITIES = {"high": "High", "medium": "Medium", "low": "Low", "informational": "Informational"}
_STATES = {"new": "New", "active": "New", "inProgress": "InProgress", "awaitingAction": "InProgress"}
_ALERT_STATES = {**_STATES, "resolved": "Resolved"}
_INCIDENT_STATES = {**_STATES, "resolved": "Closed", "redirected": "Closed"}
_CLASSES = {
    "truePositive": "TruePositive",
    "falsePositive": "FalsePositive",
    "informationalExpectedActivity": "BenignPositive",
}
_KINDS = {  # of evidence -> EntityType of AlertEvidence
    "user": "User",
    "device": "Machine",
    "file": "File",
    "ip": "Ip",
    "process": "Process",
    "url": "Url",
    "mailbox": "Mailbox",
    "mailCluster": "MailCluster",
    "analyzedMessage": "MailMessage",
    "cloudApplication": "CloudApplication",
    "oauthApplication": "OAuthApplication",
    "registryKey": "RegistryKey",
    "registryValue": "RegistryValue",
    "securityGroup": "SecurityGroup",
    "azureResource": "CloudResource",
    "amazonResource": "CloudResource",
    "googleCloudResource": "CloudResource",
}
_MAILS = ("analyzedMessage", "mailbox")  # have the name of an account themselves
_ASSETS = ("User", "Machine", "Mailbox")
_DOERS = ("attacker", "commandAndControl", "source")
_PLATFORMS = {"azureResource": "Azure", "amazonResource": "Amazon Web Services", "googleCloudResource": "Google Cloud"}


def alert_rows(inner: Inner, tenant: str, at: str) -> list[TableRow]:
    """Of a new alert (today's face in inner form), stored at `at`."""
    info = {
        "Timestamp": inner.get("createdDateTime") or at,
        "AlertId": inner.get("id"),
        "Title": inner.get("title"),
        "Category": inner.get("category"),
        "Severity": _of(_SEVERITIES, inner.get("severity")),
        "ServiceSource": _service(inner),
        "DetectionSource": _named(_DETECTORS, inner.get("detectionSource")),
        "AttackTechniques": _listed(inner.get("mitreTechniques")),
        "TenantId": tenant,
        "Type": "AlertInfo",
    }
    return [documented("AlertInfo", info), *_evidence(inner, info), *alert_state_rows(inner, tenant, at)]


def alert_state_rows(inner: Inner, tenant: str, at: str) -> list[TableRow]:
    """Of an alert that was made or changed at `at`."""
    techniques = [str(each) for each in list_of(inner.get("mitreTechniques"))]
    more = {**object_of(inner, "additionalData"), **object_of(inner, "customDetails")}
    evidence = list_of(inner.get("evidence"))
    steps = inner.get("recommendedActions")
    product = _service(inner)
    row = {
        "TimeGenerated": at,
        "DisplayName": inner.get("title"),
        "AlertName": inner.get("title"),
        "AlertSeverity": _of(_SEVERITIES, inner.get("severity")),
        "Description": inner.get("description"),
        "ProviderName": product,
        "VendorName": more.get("vendor") or ("Microsoft" if _of(_SERVICES, inner.get("serviceSource")) else None),
        "VendorOriginalId": inner.get("providerAlertId"),
        "SystemAlertId": inner.get("id"),
        "AlertType": first(inner, "detectorId", "title"),
        "IsIncident": False,
        "StartTime": first(inner, "firstActivityDateTime", "createdDateTime"),
        "EndTime": first(inner, "lastActivityDateTime", "createdDateTime"),
        "ProcessingEndTime": inner.get("createdDateTime"),
        "RemediationSteps": json_text([steps]) if steps else None,
        "ExtendedProperties": json_text(more) if more else None,
        "Entities": json_text([entity(number, each) for number, each in enumerate(evidence, 1)]),
        "ProductName": product,
        "AlertLink": inner.get("alertWebUrl"),
        "Status": _of(_ALERT_STATES, inner.get("status")),
        "CompromisedEntity": next((name for name in map(host_or_user, evidence) if name), None),
        "Tactics": inner.get("category"),
        "Techniques": _listed(sorted({each.partition(".")[0] for each in techniques})),
        "SubTechniques": _listed([each for each in techniques if "." in each]),
        "Type": "SecurityAlert",
    }
    return [documented("SecurityAlert", row)]


def incident_rows(inner: Inner, tenant: str, at: str, alerts: Sequence[str] = ()) -> list[TableRow]:
    """Of an incident that was made or changed at `at`; `alerts`: the ids of its alerts then."""
    owner, id = inner.get("assignedTo"), inner.get("id")
    status = _of(_INCIDENT_STATES, inner.get("status"))
    status = "Active" if status == "InProgress" else status
    judged = _of(_CLASSES, inner.get("classification")) or "Undetermined"
    redirected = inner.get("redirectIncidentId")
    correlated = object_of(inner, CORRELATION)
    more = {name: inner[name] for name in ("priorityScore", "summary", "systemTags") if inner.get(name)}
    comments = [
        {
            "message": each.get("comment"),
            "author": {"name": each.get("createdByDisplayName")},
            "createdTimeUtc": each.get("createdDateTime"),
        }
        for each in list_of(inner.get("comments"))
        if isinstance(each, dict)
    ]
    row = {
        "TimeGenerated": at,
        "TenantId": tenant,
        "IncidentName": id,
        "Title": inner.get("displayName"),
        "Description": inner.get("description"),
        "Severity": _of(_SEVERITIES, inner.get("severity")),
        "Status": status,
        "Classification": judged if status == "Closed" else None,
        "ClassificationComment": inner.get("resolvingComment"),
        "ClassificationReason": inner.get("determination") if status == "Closed" else None,
        "Owner": {"userPrincipalName": owner, "assignedTo": owner} if owner else None,
        "ProviderName": "Bartizan",
        "ProviderIncidentId": id,
        "FirstActivityTime": correlated.get("firstActivityDateTime"),
        "LastActivityTime": correlated.get("lastActivityDateTime"),
        "FirstModifiedTime": inner.get("createdDateTime"),
        "LastModifiedTime": at,
        "CreatedTime": inner.get("createdDateTime"),
        "ClosedTime": at if status == "Closed" else None,
        "IncidentNumber": _number(id) if isinstance(id, str) else None,
        "AlertIds": list(alerts),
        "Comments": comments,
        "Labels": [{"labelName": each, "labelType": "User"} for each in list_of(inner.get("customTags"))],
        "IncidentUrl": inner.get("incidentWebUrl"),
        "AdditionalData": {**more, "alertsCount": len(alerts), **({"redirectedTo": redirected} if redirected else {})},
        "ModifiedBy": inner.get("lastModifiedBy"),
        "Type": "SecurityIncident",
    }
    return [documented("SecurityIncident", row)]


def _number(id: str) -> int:
    """Hunters group the rows of an incident by its number: the id where that is one, else what follows from the id
    alone. Of 10,000 incidents two have the same number once in 40 tenants; IncidentName tells them apart."""
    return int(id) if id.isdecimal() and int(id) < 2**31 else crc32(id.encode()) % 2**31


# ---------------------------------------------------------------- evidence


def _evidence(inner: Inner, info: Inner) -> list[TableRow]:
    of = find("AlertEvidence")
    columns = {
        **{name: info[name] for name in ("Timestamp", "AlertId", "Title", "ServiceSource", "DetectionSource")},
        **{name: info[name] for name in ("AttackTechniques", "Severity", "TenantId")},
        "Categories": _listed([info["Category"]] if info["Category"] else []),
        "ThreatFamily": inner.get("threatFamilyName"),
        "Type": "AlertEvidence",
    }
    shared = fitting(of, columns)
    made: list[TableRow] = []
    for each in list_of(inner.get("evidence")):
        if isinstance(each, dict):
            kind = kind_of(each)
            named = _KINDS.get(kind) or kind[:1].upper() + kind[1:]
            row = {**shared, "EntityType": named, **_roles(each, named)}
            row |= fitting(of, _columns(kind, each))
            made.append((of.name, row))
    return made


def _roles(evidence: Inner, entity: str) -> dict[str, str]:
    roles = list_of(evidence.get("roles"))
    if not roles:
        return {"EvidenceRole": "Impacted" if entity in _ASSETS else "Related"}
    does = any(word in roles for word in _DOERS)
    struck = "compromised" in roles or "attacked" in roles or (entity in _ASSETS and not does)
    said = {"EvidenceRole": "Impacted" if struck else "Related"}
    if "source" in roles or "destination" in roles:
        said["EvidenceDirection"] = "Source" if "source" in roles else "Destination"
    return said


def _columns(kind: str, evidence: Inner) -> dict[str, Any]:
    """Those that the kind of evidence fills; all that it says stands in AdditionalFields."""
    user = object_of(evidence, "userAccount")
    made = _account(user) if user or kind in _MAILS else {}
    if file := object_of(evidence, "fileDetails") or object_of(evidence, "imageFile"):
        made |= _file(file)
    made["AdditionalFields"] = json_text(evidence)
    made["DeviceId"] = evidence.get("mdeDeviceId")
    if kind == "device":
        made["DeviceName"] = first(evidence, "deviceDnsName", "hostName")
        made["LocalIP"] = evidence.get("lastIpAddress")
    elif kind == "ip":
        made["RemoteIP"] = evidence.get("ipAddress")
    elif kind == "url":
        made["RemoteUrl"] = evidence.get("url")
    elif kind == "process":
        made["ProcessCommandLine"] = evidence.get("processCommandLine")
    elif kind in ("registryKey", "registryValue"):
        hive, key = evidence.get("registryHive"), evidence.get("registryKey")
        made["RegistryKey"] = "\\".join(str(part) for part in (hive, key) if part) or None
        made["RegistryValueName"] = evidence.get("registryValueName")
        made["RegistryValueData"] = evidence.get("registryValue")
    elif kind == "analyzedMessage":
        made["NetworkMessageId"], made["EmailSubject"] = evidence.get("networkMessageId"), evidence.get("subject")
        made["AccountUpn"] = evidence.get("recipientEmailAddress")
    elif kind == "mailbox":
        made["AccountUpn"] = first(evidence, "upn", "primaryAddress") or made.get("AccountUpn")
    elif kind == "cloudApplication":
        made["Application"] = evidence.get("displayName")
        made["ApplicationId"] = evidence.get("appId") or evidence.get("saasAppId")
    elif kind == "oauthApplication":
        made["Application"], made["OAuthApplicationId"] = evidence.get("displayName"), evidence.get("appId")
    elif kind in _PLATFORMS:
        made["CloudPlatform"], made["ResourceType"] = _PLATFORMS[kind], evidence.get("resourceType")
        made["CloudResource"] = evidence.get("resourceName")
        made["ResourceID"] = first(evidence, "resourceId", "amazonResourceId", "fullResourceName")
    return made


def _account(user: Inner) -> dict[str, Any]:
    return {
        "AccountName": user.get("accountName"),
        "AccountDomain": user.get("domainName"),
        "AccountSid": user.get("userSid"),
        "AccountObjectId": user.get("azureAdUserId"),
        "AccountUpn": user.get("userPrincipalName"),
    }


def _file(file: Inner) -> dict[str, Any]:
    return {
        "FileName": file.get("fileName"),
        "FolderPath": file.get("filePath"),
        "SHA1": file.get("sha1"),
        "SHA256": file.get("sha256"),
        "FileSize": file.get("fileSize"),
    }


# ---------------------------------------------------------------- small


def _service(inner: Inner) -> str | None:
    """Of what is no product of Microsoft's, the product's own name."""
    named = _of(_SERVICES, inner.get("serviceSource"))
    return named or inner.get("productName") or _named(_SERVICES, inner.get("serviceSource"))


def _of(names: Mapping[str, str], word: Any) -> str | None:
    return names.get(word) if isinstance(word, str) else None


def _named(names: Mapping[str, str], word: Any) -> str | None:
    """An enum's member as the product says it; a new one as it is."""
    return None if word in (None, "unknown", "unknownFutureValue") else _of(names, word) or word


def _listed(value: Any) -> str | None:
    """As JSON in a string column."""
    return json_text(value) if isinstance(value, list) and value else None
