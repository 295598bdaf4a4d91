"""Alerts in Microsoft's own forms: Graph's two faces, Defender for Endpoint's API, those inside Defender XDR incidents.

What is Graph's already passes through; what the schema does not know stays in additionalData.
Source: Microsoft Graph, `alert` and `microsoft.graph.security.alert`; Defender for Endpoint, "Alert resource type";
Defender XDR, "List incidents API"; advanced hunting, "AlertEvidence".
"""

from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from bartizan.extend import Record
from bartizan.model import from_legacy
from bartizan.model import graph as old
from bartizan.model import security as graph
from bartizan.model.alert import Alert
from bartizan.model.faces import SOURCE_INCIDENT
from bartizan.sources import attack, severity
from bartizan.sources.collector import MAX_EVIDENCE, Roles
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, content_id, inner_json
from bartizan.sources.graph_types import graph_evidence, lenient
from bartizan.sources.times import first_time

PROVIDER = "Microsoft Defender XDR"  # its products number their alerts together

Status = Literal["new", "inProgress", "resolved"]
_STATUS: dict[str, Status] = {
    "inprogress": "inProgress",
    "active": "new",
    "resolved": "resolved",
    "dismissed": "resolved",
}
_FEEDBACK = {
    "truepositive": "truePositive",
    "falsepositive": "falsePositive",
    "benignpositive": "informationalExpectedActivity",
    "informationalexpectedactivity": "informationalExpectedActivity",
}
_DETERMINATIONS = {  # as Defender for Endpoint's API says them, where Graph says otherwise
    "insufficientdata": "notEnoughDataToValidate",
    "compromiseduser": "compromisedAccount",
    "confirmeduseractivity": "confirmedActivity",
    "clean": "notMalicious",
}
# Names of products as records spell them, without spaces and in lower case -> (Graph's serviceSource, product).
_PRODUCTS = {
    "microsoftdefenderforendpoint": ("microsoftDefenderForEndpoint", "Microsoft Defender for Endpoint"),
    "microsoftdefenderatp": ("microsoftDefenderForEndpoint", "Microsoft Defender for Endpoint"),
    "windowsdefenderatp": ("microsoftDefenderForEndpoint", "Microsoft Defender for Endpoint"),
    "microsoftdefenderforidentity": ("microsoftDefenderForIdentity", "Microsoft Defender for Identity"),
    "azureatp": ("microsoftDefenderForIdentity", "Microsoft Defender for Identity"),
    "microsoftdefenderforcloudapps": ("microsoftDefenderForCloudApps", "Microsoft Defender for Cloud Apps"),
    "microsoftcloudappsecurity": ("microsoftDefenderForCloudApps", "Microsoft Defender for Cloud Apps"),
    "microsoftdefenderforoffice365": ("microsoftDefenderForOffice365", "Microsoft Defender for Office 365"),
    "officeatp": ("microsoftDefenderForOffice365", "Microsoft Defender for Office 365"),
    "microsoft365defender": ("microsoft365Defender", "Microsoft Defender XDR"),
    "microsoftdefenderxdr": ("microsoft365Defender", "Microsoft Defender XDR"),
    "microsoftthreatprotection": ("microsoft365Defender", "Microsoft Defender XDR"),
    "azureadidentityprotection": ("azureAdIdentityProtection", "Microsoft Entra ID Protection"),
    "aadidentityprotection": ("azureAdIdentityProtection", "Microsoft Entra ID Protection"),
    "azureactivedirectoryidentityprotection": ("azureAdIdentityProtection", "Microsoft Entra ID Protection"),
    "microsoftentraidprotection": ("azureAdIdentityProtection", "Microsoft Entra ID Protection"),
    "appgovernance": ("microsoftAppGovernance", "Microsoft App Governance"),
    "microsoftappgovernance": ("microsoftAppGovernance", "Microsoft App Governance"),
    "datalossprevention": ("dataLossPrevention", "Microsoft Data Loss Prevention"),
    "microsoftdatalossprevention": ("dataLossPrevention", "Microsoft Data Loss Prevention"),
    "microsoftdefenderforcloud": ("microsoftDefenderForCloud", "Microsoft Defender for Cloud"),
    "azuresecuritycenter": ("microsoftDefenderForCloud", "Microsoft Defender for Cloud"),
    "azureadvancedthreatprotection": ("microsoftDefenderForIdentity", "Microsoft Defender for Identity"),
    "microsoftdefenderadvancedthreatprotection": ("microsoftDefenderForEndpoint", "Microsoft Defender for Endpoint"),
    "office365advancedthreatprotection": ("microsoftDefenderForOffice365", "Microsoft Defender for Office 365"),
    "azuresentinel": ("microsoftSentinel", "Microsoft Sentinel"),
    "microsoftsentinel": ("microsoftSentinel", "Microsoft Sentinel"),
    "microsoftinsiderriskmanagement": ("microsoftInsiderRiskManagement", "Microsoft Insider Risk Management"),
    "mdatp": ("microsoftDefenderForEndpoint", "Microsoft Defender for Endpoint"),  # as the legacy API says them
    "mcas": ("microsoftDefenderForCloudApps", "Microsoft Defender for Cloud Apps"),
    "ipc": ("azureAdIdentityProtection", "Microsoft Entra ID Protection"),
    "asc": ("microsoftDefenderForCloud", "Microsoft Defender for Cloud"),
    "aatp": ("microsoftDefenderForIdentity", "Microsoft Defender for Identity"),
    "microsoftthreatintelligence": ("microsoftThreatIntelligence", "Microsoft Threat Intelligence"),
}
_DETECTION_SOURCES = {
    "edr": "microsoftDefenderForEndpoint",
    "windowsdefenderatp": "microsoftDefenderForEndpoint",
    "windowsdefenderav": "antivirus",
    "antivirus": "antivirus",
    "customerti": "customTi",
    "mtp": "microsoft365Defender",
    "officeatp": "microsoftDefenderForOffice365",
    "azureatp": "microsoftDefenderForIdentity",
    "mcas": "cloudAppSecurity",
    "microsoftcloudappsecurity": "cloudAppSecurity",
    "azureadidentityprotection": "azureAdIdentityProtection",
    "aadidentityprotection": "azureAdIdentityProtection",
    "scheduledalerts": "scheduledAlerts",
    "automatedinvestigation": "automatedInvestigation",
    "windowsdefendersmartscreen": "smartScreen",
}
_USED_V2 = frozenset(
    """
    id title description severity status classification determination category categories mitretechniques detectorid
    servicesource detectionsource productname recommendedactions threatdisplayname threatfamilyname actordisplayname
    alertweburl evidence assignedto createddatetime lastupdatedatetime firstactivitydatetime lastactivitydatetime
    systemtags additionaldata
    """.split()
)
_USED_V1 = frozenset(
    """
    id title description severity status feedback category eventdatetime lasteventdatetime createddatetime
    assignedto tags
    """.split()
)
_STATES: dict[str, type[Struct]] = {
    "cloudAppStates": old.CloudAppSecurityState,
    "fileStates": old.FileSecurityState,
    "hostStates": old.HostSecurityState,
    "malwareStates": old.MalwareState,
    "messageSecurityStates": old.MessageSecurityState,
    "networkConnections": old.NetworkConnection,
    "processes": old.Process,
    "registryKeyStates": old.RegistryKeyState,
    "securityResources": old.SecurityResource,
    "uriClickSecurityStates": old.UriClickSecurityState,
    "userStates": old.UserSecurityState,
    "vulnerabilityStates": old.VulnerabilityState,
}


def folded(text: str | None) -> str:
    return "".join(part for part in (text or "").lower() if part.isalnum())


def product_of(*names: str | None) -> tuple[str, str]:
    """(serviceSource, product) of the first name that is known; else unknown, and the first name that is there."""
    for name in names:
        if (found := _PRODUCTS.get(folded(name))) is not None:
            return found
    return "unknown", next((name for name in names if name), "Microsoft Defender XDR")


def detection_source(word: str | None) -> str:
    """Graph's member for what a record says, by name or by the short names of the products' own APIs."""
    plain = folded(word)
    members = {member.lower(): member for member in get_args(graph.DetectionSource)}
    named = members.get(plain) or _DETECTION_SOURCES.get(plain) or members.get(product_of(word)[0].lower())
    return named or "unknown"


def status_of(word: str | None) -> Status:
    return _STATUS.get(folded(word), "new")


def classification_of(word: str | None) -> str | None:
    return _FEEDBACK.get(folded(word))


def determination_of(word: str | None) -> str | None:
    members = {member.lower(): member for member in get_args(graph.AlertDetermination)}
    found = members.get(folded(word)) or _DETERMINATIONS.get(folded(word))
    return None if found == "unknown" else found


# ---------------------------------------------------------------- Graph's faces


def _passed_through(fields: Fields) -> tuple[list[graph.AlertEvidence], dict[str, Any]]:
    """Evidence of types that the schema has; and, for additionalData, the others and how many were beyond the bound."""
    given = inner_json(fields.raw("evidence"))
    items = given if isinstance(given, list) else []
    made = [(item, graph_evidence(item)) for item in items[:MAX_EVIDENCE]]
    strange = [item for item, found in made if found is None and isinstance(item, dict)]
    more: dict[str, Any] = Fields({"evidence": strange}).rest() if strange else {}
    if len(items) > MAX_EVIDENCE:
        more["evidenceOmitted"] = len(items) - MAX_EVIDENCE
    return [found for _, found in made if found is not None], more


def alert_v2(record: Record, fields: Fields) -> Alert:
    """`microsoft.graph.security.alert`."""
    evidence, strange = _passed_through(fields)
    service, product = product_of(fields.text("productName"), fields.text("serviceSource"))
    service = product_of(fields.text("serviceSource"))[0] if fields.has("serviceSource") else service
    created = first_time(fields, "createdDateTime")
    first = first_time(fields, "firstActivityDateTime", "createdDateTime")
    category = fields.text("category")
    own_id = fields.text("id", "providerAlertId") or content_id(fields.data)
    vendor = fields.text("vendorName") or ("Microsoft" if _is_microsoft(fields, service) else product)
    return Alert(
        vendor=vendor,
        product=product,
        provider=PROVIDER if vendor == "Microsoft" else None,
        provider_alert_id=own_id,
        title=fields.text("title") or category or "Microsoft alert",
        description=fields.text("description"),
        severity=severity.of_word(fields.text("severity")),
        vendor_severity=fields.text("severity"),
        category=category or "SuspiciousActivity",
        categories=fields.texts("categories") or ([category] if category else []),
        vendor_category=category,
        techniques=list(dict.fromkeys([*fields.texts("mitreTechniques"), *attack.techniques(record, fields.data)])),
        detector_id=fields.text("detectorId"),
        detection_source=detection_source(fields.text("detectionSource")),
        service_source=service,
        first_activity=first,
        last_activity=first_time(fields, "lastActivityDateTime") or first,
        source_created=created,
        source_updated=first_time(fields, "lastUpdateDateTime"),
        status=status_of(fields.text("status")),
        classification=classification_of(fields.text("classification")),
        determination=determination_of(fields.text("determination")),
        assigned_to=fields.text("assignedTo"),
        recommended_actions=fields.text("recommendedActions"),
        threat_name=fields.text("threatDisplayName"),
        threat_family=fields.text("threatFamilyName"),
        actor=fields.text("actorDisplayName"),
        url=fields.text("alertWebUrl"),
        tags=fields.texts("systemTags"),
        evidence=evidence,
        additional=fields.object("additionalData").rest()
        | fields.rest(_USED_V2)
        | _grouped(fields.text("incidentId"))
        | strange,
        fingerprint=(own_id,),
    )


def _is_microsoft(fields: Fields, service: str) -> bool:
    """Not where Graph says that the service is none of Microsoft's, and the product is none: that of another vendor,
    which only another server of this API gives."""
    name = fields.text("productName")
    foreign = service == "unknown" and fields.has("serviceSource") and name is not None
    return not foreign or folded(name).startswith(("microsoft", "azure", "office")) or folded(name) in _PRODUCTS


def _grouped(incident: str | None) -> dict[str, str]:
    """The incident there that the alert is in, by the id under which its own record is stored here."""
    return {SOURCE_INCIDENT: incident} if incident else {}


def alert_v1(record: Record, fields: Fields) -> Alert:
    """The legacy `alert`; its states are kept and become evidence."""
    states: dict[str, Any] = {}
    for name, cls in _STATES.items():
        found = [msgspec.to_builtins(lenient(cls, item.data)) for item in fields.objects(name)]
        if found:
            states[name] = found
    evidence = [item for data in from_legacy.evidence(states) if (item := graph_evidence(data)) is not None]
    vendor = fields.object("vendorInformation")
    service, product = product_of(vendor.text("provider"))
    first = first_time(fields, "eventDateTime", "createdDateTime")
    own_id = fields.text("id") or content_id(fields.data)
    status = fields.text("status")
    dismissed = "falsePositive" if folded(status) == "dismissed" else None
    return Alert(
        vendor=vendor.text("vendor") or "Microsoft",
        product=product,
        sub_provider=vendor.text("subProvider"),
        product_version=vendor.text("providerVersion"),
        provider_alert_id=own_id,
        title=fields.text("title", "category") or "Microsoft alert",
        description=fields.text("description"),
        severity=severity.of_word(fields.text("severity")),
        vendor_severity=fields.text("severity"),
        category=attack.tactic(fields.text("category")) or fields.text("category") or "SuspiciousActivity",
        vendor_category=fields.text("category"),
        techniques=attack.techniques(record, fields.data),
        detector_id=next(iter(fields.texts("detectionIds")), None),
        service_source=service,
        first_activity=first,
        last_activity=first_time(fields, "lastEventDateTime") or first,
        source_created=first_time(fields, "createdDateTime"),
        source_updated=first_time(fields, "lastModifiedDateTime"),
        status=status_of(status),
        classification=classification_of(fields.text("feedback")) or dismissed,
        assigned_to=fields.text("assignedTo"),
        recommended_actions="\n".join(fields.texts("recommendedActions")) or None,
        actor=fields.text("activityGroupName"),
        url=next(iter(fields.texts("sourceMaterials")), None),
        confidence=fields.integer("confidence"),
        tags=fields.texts("tags"),
        vulnerabilities=[
            text for item in fields.objects("vulnerabilityStates") if (text := item.text("cve")) is not None
        ],
        evidence=evidence,
        legacy=states,
        additional=fields.rest(_USED_V1 | {name.lower() for name in _STATES}),
        fingerprint=(own_id,),
    )


# ---------------------------------------------------------------- Defender's own APIs and tables


def alert_native(record: Record, fields: Fields, outer: Fields | None = None) -> Alert:
    """An alert of Defender for Endpoint's API, or one inside an incident (`outer`) of Defender XDR's."""
    first = first_time(fields, "firstActivity", "firstEventTime", "alertCreationTime", "creationTime")
    evidence = Evidence(first)
    _native_entities(fields, evidence)
    service, product = product_of(
        fields.text("serviceSource"), "Microsoft Defender for Endpoint" if fields.has("machineId") else None
    )
    own_id = fields.text("alertId", "id", "providerAlertId") or content_id(fields.data)
    category = fields.text("category")
    incident = fields.text("incidentId") or (outer.text("incidentId") if outer else None)
    more = fields.rest(
        frozenset("alertid id title description severity status category entities evidence devices".split())
    )
    return Alert(
        vendor="Microsoft",
        product=product,
        provider=PROVIDER,
        provider_alert_id=own_id,
        title=fields.text("title", "threatName") or category or "Microsoft Defender alert",
        description=fields.text("description"),
        severity=severity.of_word(fields.text("severity")),
        vendor_severity=fields.text("severity"),
        category=attack.tactic(category) or category or "SuspiciousActivity",
        categories=[name for word in fields.texts("categories", "category") if (name := attack.tactic(word) or word)],
        vendor_category=category,
        techniques=attack.techniques(record, fields.data),
        detector_id=fields.text("detectorId"),
        detection_source=detection_source(fields.text("detectionSource")),
        service_source=service,
        first_activity=first,
        last_activity=first_time(fields, "lastActivity", "lastEventTime", "lastUpdatedTime") or first,
        source_created=first_time(fields, "alertCreationTime", "creationTime"),
        source_updated=first_time(fields, "lastUpdateTime", "lastUpdatedTime"),
        status=status_of(fields.text("status")),
        classification=classification_of(fields.text("classification")),
        determination=determination_of(fields.text("determination")),
        assigned_to=fields.text("assignedTo"),
        threat_name=fields.text("threatName"),
        threat_family=fields.text("threatFamilyName"),
        actor=fields.text("actorName"),
        evidence=evidence.items,
        additional=more | ({"incidentId": incident} if incident else {}) | _grouped(incident) | evidence.unsaid,
        fingerprint=(own_id,),
    )


def incident_alert(record: Record, fields: Fields) -> Alert:
    """An incident that names no alerts, as the alert that it is."""
    first = first_time(fields, "createdDateTime", "createdTime", "creationTime")
    own_id = fields.text("id", "incidentId") or content_id(fields.data)
    return Alert(
        vendor="Microsoft",
        product="Microsoft Defender XDR",
        provider_alert_id=f"incident:{own_id}",
        title=fields.text("displayName", "incidentName", "title", "description") or f"Incident {own_id}",
        description=fields.text("description", "summary"),
        severity=severity.of_word(fields.text("severity")),
        vendor_severity=fields.text("severity"),
        category="SuspiciousActivity",
        techniques=attack.techniques(record, fields.data),
        service_source="microsoft365Defender",
        first_activity=first,
        last_activity=first_time(fields, "lastUpdateDateTime", "lastUpdateTime") or first,
        source_created=first,
        source_updated=first_time(fields, "lastUpdateDateTime", "lastUpdateTime"),
        status=status_of(fields.text("status")),
        classification=classification_of(fields.text("classification")),
        determination=determination_of(fields.text("determination")),
        assigned_to=fields.text("assignedTo"),
        url=fields.text("incidentWebUrl", "incidentUri"),
        tags=[*fields.texts("customTags"), *fields.texts("systemTags"), *fields.texts("tags")],
        additional=fields.rest(),
        fingerprint=(own_id,),
    )


def _native_entities(fields: Fields, evidence: Evidence) -> None:
    for device in fields.objects("devices")[:MAX_EVIDENCE]:
        _device(device, evidence)
    machine = fields.text("machineId")
    evidence.host(fields.text("computerDnsName"), device_id=machine, directory_id=fields.text("aadDeviceId"))
    user = fields.object("relatedUser")
    evidence.user(user.text("userName"), domain=user.text("domainName"))
    for item in fields.objects("entities", "evidence")[:MAX_EVIDENCE]:
        entity(item, evidence)
    for who in fields.objects("loggedOnUsers")[:20]:
        evidence.user(who.text("accountName"), domain=who.text("domainName"), roles=("contextual",))


def _device(device: Fields, evidence: Evidence) -> None:
    evidence.host(
        device.text("deviceDnsName", "hostName"),
        os=device.text("osPlatform"),
        version=device.text("version"),
        device_id=device.text("mdatpDeviceId", "deviceId", "mdeDeviceId"),
        directory_id=device.text("aadDeviceId"),
    )
    for who in device.objects("loggedOnUsers")[:20]:
        evidence.user(who.text("accountName"), domain=who.text("domainName"), roles=("contextual",))


_VERDICTS: dict[str, graph.EvidenceVerdict] = {
    "malicious": "malicious",
    "suspicious": "suspicious",
    "clean": "noThreatsFound",
    "nothreatsfound": "noThreatsFound",
}
_REMEDIATION: dict[str, graph.EvidenceRemediationStatus] = {
    "remediated": "remediated",
    "prevented": "prevented",
    "blocked": "blocked",
    "notfound": "notFound",
    "active": "active",
}


def entity(item: Fields, evidence: Evidence, roles: Roles = ()) -> None:
    """One entity of an alert, in the API's names (entityType, sha1, ...) or the table's (EntityType, SHA1, ...)."""
    kind = folded(item.text("entityType"))
    user = None
    if item.has(
        "accountName", "userPrincipalName", "accountUpn", "aadUserId", "accountObjectId", "userSid", "accountSid"
    ):
        user = evidence.user(
            item.text("accountName"),
            domain=item.text("domainName", "accountDomain"),
            upn=item.text("userPrincipalName", "accountUpn"),
            sid=item.text("userSid", "accountSid"),
            object_id=item.text("aadUserId", "accountObjectId"),
            roles=roles,
        )
    found: list[graph.AlertEvidence | None] = [user if kind == "user" else None]
    name, path = item.text("fileName"), item.text("filePath", "folderPath")
    hashes = [item.text("sha256"), item.text("sha1"), item.text("md5")]
    if kind == "process" or item.has("processCommandLine"):
        found.append(
            evidence.process(
                item.text("processCommandLine"),
                name=name,
                path=path,
                pid=item.integer("processId"),
                hashes=hashes,
                started=first_time(item, "processCreationTime"),
                user=user,
                parent_name=item.text("parentProcessFileName"),
                parent_path=item.text("parentProcessFilePath"),
                parent_pid=item.integer("parentProcessId"),
                parent_started=first_time(item, "parentProcessCreationTime"),
                roles=roles,
            )
        )
    elif any((name, path, *hashes)):
        found.append(evidence.file(name, path, hashes, size=item.integer("fileSize"), roles=roles))
    found += [_located(item, evidence, roles, kind), *_mail(item, evidence, kind)]
    verdict = _VERDICTS.get(folded(item.text("verdict")))
    remediation = _REMEDIATION.get(folded(item.text("remediationStatus")))
    for made in found:
        if made is not None:
            made.verdict = verdict or made.verdict
            made.remediationStatus = remediation or made.remediationStatus


def _located(item: Fields, evidence: Evidence, roles: Roles, kind: str) -> graph.AlertEvidence | None:
    """Addresses, names, keys of the registry, resources."""
    evidence.host(
        item.text("deviceName", "deviceDnsName"),
        addresses=[item.text("localIP")],
        device_id=item.text("deviceId"),
        roles=roles if kind in ("machine", "device") else (),
    )
    if not item.has("deviceName", "deviceDnsName", "deviceId"):
        evidence.ip(item.text("localIP"))
    made: graph.AlertEvidence | None = evidence.ip(item.text("ipAddress", "remoteIP"), roles)
    url = item.text("url", "remoteUrl")
    made = evidence.url(url, roles) or evidence.domain(url, roles=roles) or made
    hive, key = item.text("registryHive"), item.text("registryKey")
    full = f"{hive}\\{key}" if hive and key else key
    made = (
        evidence.registry(full, item.text("registryValueName"), item.text("registryValue", "registryValueData"), roles)
        or made
    )
    evidence.app(item.text("application", "applicationName"), item.integer("applicationId"))
    resource = item.text("resourceId", "cloudResource")
    if resource is not None and resource.lower().startswith("/subscriptions/"):
        evidence.observe("resource", resource)
        kept = graph.AzureResourceEvidence(
            resourceId=resource, resourceType=item.text("resourceType"), roles=list(roles)
        )
        made = evidence.add(kept, ("azure", resource.lower()))
    elif resource is not None:
        made = evidence.amazon(resource, kind=item.text("resourceType"), roles=roles)
    oauth = item.text("oAuthApplicationId")
    if oauth is not None:
        made = evidence.add(
            graph.OauthApplicationEvidence(appId=oauth, displayName=item.text("application")), ("oauth", oauth)
        )
    evidence.malware(item.text("threatFamily"))
    return made


def _mail(item: Fields, evidence: Evidence, kind: str) -> list[graph.AlertEvidence | None]:
    address = item.text("mailboxAddress") or (
        item.text("accountUpn", "userPrincipalName") if kind == "mailbox" else None
    )
    made: list[graph.AlertEvidence | None] = [evidence.mailbox(address, item.text("mailboxDisplayName"))]
    message = item.text("networkMessageId")
    if kind == "mailmessage" or message is not None:
        sender, recipient = item.text("sender", "senderFromAddress"), item.text("recipient", "recipientEmailAddress")
        mail = graph.AnalyzedMessageEvidence(
            networkMessageId=message,
            internetMessageId=item.text("internetMessageId"),
            subject=item.text("subject", "emailSubject"),
            p1Sender=graph.EmailSender(emailAddress=sender) if sender else None,
            recipientEmailAddress=recipient,
            senderIp=item.text("senderIp"),
            deliveryAction=item.text("deliveryAction"),
            urls=item.texts("urls")[:100],
        )
        for text, role in ((sender, "sender"), (recipient, "recipient")):
            evidence.observe("mailbox", text, role)
        made.append(evidence.add(mail, ("mail", message or "", recipient or "")))
    return made
