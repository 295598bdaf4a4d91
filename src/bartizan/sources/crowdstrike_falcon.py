"""CrowdStrike Falcon: event stream, Falcon Data Replicator, objects of the Alerts, Detects and Incidents APIs.

Detections of any product become alerts; sensor telemetry, audit records and graph vertices become events.
Source: CrowdStrike documentation, "Streaming API Event Dictionary", "Falcon Data Replicator", "Alerts APIs",
"Detection and Prevention APIs".
"""

from collections.abc import Iterator
from typing import Literal

from bartizan.extend import Event, GraphObject, Record, Source
from bartizan.model import security as graph
from bartizan.model.alert import Alert, Severity
from bartizan.sources import crowdstrike_attack, crowdstrike_data, crowdstrike_lines, leftover, severity
from bartizan.sources.entities import file_name, is_sid
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, as_number, content_id, objects_of
from bartizan.sources.generic import guess_event, unread
from bartizan.sources.tables import columns, event
from bartizan.sources.times import first_time

MAX_CONNECTIONS = 50  # of one detection that become evidence; the rest stay in additionalData

# Types of the stream that are detections though their name does not say so.
_DETECTIONS = frozenset(
    {
        "IdentityProtectionEvent",
        "IncidentSummaryEvent",
        "AutomatedLeadSummaryEvent",
        "ReconNotificationSummaryEvent",
        "CSPMIOAStreamingEvent",
        "CSPMSearchStreamingEvent",
        "HashSpreadingEvent",
        "CustomerIOCEvent",
    }
)
# Kinds that have no name of their own.
_KINDS = {"IncidentSummaryEvent": "Falcon incident"}
# Words that stand where a tactic is expected -> category.
_STATUS: dict[str, Literal["new", "inProgress", "resolved"]] = {
    "in_progress": "inProgress",
    "in progress": "inProgress",
    "30": "inProgress",
    "closed": "resolved",
    "true_positive": "resolved",
    "false_positive": "resolved",
    "ignored": "resolved",
    "40": "resolved",
    "auto_closed": "resolved",
}
_CLASSIFICATION = {
    "true_positive": "truePositive",
    "false_positive": "falsePositive",
    "ignored": "informationalExpectedActivity",
}
_USED = frozenset(
    """
    compositeid composite_id detectid detection_id name detectname display_name description detectdescription
    severity severityname severity_name falconhostlink falcon_host_link commandline cmdline filename filepath
    sha256string sha1string md5string sha256 sha1 md5 hostname computername agentid agent_id sensorid username
    user_name processstarttime processendtime event tags
    """.split()
)

# FDR event -> (table, action). Names end in a version or platform at times, so that the longest prefix decides.
_TELEMETRY = {
    "ProcessRollup": ("DeviceProcessEvents", "ProcessCreated"),
    "SyntheticProcessRollup": ("DeviceProcessEvents", "ProcessCreated"),
    "ProcessBlocked": ("DeviceProcessEvents", "ProcessBlocked"),
    "EndOfProcess": ("DeviceProcessEvents", "ProcessTerminated"),
    "DnsRequest": ("DnsEvents", "DnsRequest"),
    "SuspiciousDnsRequest": ("DnsEvents", "DnsRequest"),
    "NetworkConnect": ("DeviceNetworkEvents", "ConnectionSuccess"),
    "NetworkReceiveAccept": ("DeviceNetworkEvents", "InboundConnectionAccepted"),
    "NetworkListen": ("DeviceNetworkEvents", "ListeningConnectionCreated"),
    "UserLogonFailed": ("DeviceLogonEvents", "LogonFailed"),
    "UserLogon": ("DeviceLogonEvents", "LogonSuccess"),
    "UserLogoff": ("DeviceLogonEvents", "Logoff"),
    "NewExecutableWritten": ("DeviceFileEvents", "FileCreated"),
    "PeFileWritten": ("DeviceFileEvents", "FileCreated"),
    "FileDelete": ("DeviceFileEvents", "FileDeleted"),
    "FileRename": ("DeviceFileEvents", "FileRenamed"),
    "ClassifiedModuleLoad": ("DeviceImageLoadEvents", "ImageLoaded"),
    "ImageHash": ("DeviceImageLoadEvents", "ImageLoaded"),
    "AsepValueUpdate": ("DeviceRegistryEvents", "RegistryValueSet"),
    "RegSystemConfigValueUpdate": ("DeviceRegistryEvents", "RegistryValueSet"),
    "RegGenericValueUpdate": ("DeviceRegistryEvents", "RegistryValueSet"),
}


# Columns of Defender's tables <- fields of FDR.
_SENSOR = {
    "DeviceId": "aid",
    "DeviceName": "ComputerName",
    "AccountName": "UserName",
    "AccountSid": "UserSid",
}
_IMAGE = {
    "FileName": "name ImageFileName TargetFileName",
    "FolderPath": "ImageFileName TargetFileName",
    "SHA1": "SHA1HashData",
    "SHA256": "SHA256HashData",
    "MD5": "MD5HashData",
}
_COLUMNS = {
    "DeviceProcessEvents": _IMAGE
    | {
        "ProcessId": "int RawProcessId",
        "ProcessCommandLine": "CommandLine",
        "ProcessCreationTime": "time ProcessStartTime",
        "LogonId": "int AuthenticationId",
        "InitiatingProcessFileName": "ParentBaseFileName",
    },
    "DeviceNetworkEvents": {
        "LocalIP": "LocalAddressIP4 LocalAddressIP6",
        "LocalPort": "int LocalPort",
        "RemoteIP": "RemoteAddressIP4 RemoteAddressIP6",
        "RemotePort": "int RemotePort",
        "Protocol": "Protocol",
        "InitiatingProcessFileName": "ContextBaseFileName",
    },
    "DeviceLogonEvents": {
        "AccountDomain": "LogonDomain",
        "LogonType": "LogonType",
        "RemoteIP": "RemoteAddressIP4 RemoteIP",
        "RemoteDeviceName": "RemoteHostName ClientComputerName",
        "FailureReason": "SubStatus LogonFailureReason",
    },
    "DeviceRegistryEvents": {
        "RegistryKey": "RegObjectName",
        "RegistryValueName": "RegValueName",
        "RegistryValueData": "RegStringValue RegNumericValue",
    },
    "DnsEvents": {
        "Computer": "ComputerName aid",
        "ClientIP": "LocalAddressIP4 aip",
        "Name": "DomainName",
        "IPAddresses": "IP4Records IP6Records",
        "QueryType": "RequestType",
    },
}
_AGENT = ("AgentId", "agent_id", "SensorId", "AgentIdString", "device.device_id", "aid")
# One pattern stands for all rules of correlation.
_DETECTORS = """
    correlation_rule_id PatternId pattern_id TemplateInstanceId RuleId rule_id PolicyId Policy.ID
""".split()
_IDS = """
    CompositeId composite_id DetectId detection_id IncidentID incident_id LeadId NotificationId
    IdentityProtectionIncidentId XdrDetectionId EventUUID
""".split()


class CrowdStrike(Source):
    name = "crowdstrike_falcon"
    vendor = "CrowdStrike"
    product = "Falcon"
    marks = (
        "unknown_payload.ExternalApiType+cid ExternalApiType+CustomerIdString metadata.eventType+event "
        "metadata.customerIDString+event aid+cid+event_platform aid+cid+event_simpleName "
        "event_simpleName+aid #event_simpleName+aid cid+device_id+severity cid+agent_id+severity "
        "cid+composite_id+product detection_id+behaviors incident_id+host_ids+cid fdr_event_type+aid fdr_event_type "
        "event.customer_id+event.device_id+event.object_id PatternDispositionValue+SHA256String "
        "p_log_type=crowdstrike.* composite_id+cid CompositeId+SeverityName"
    )
    sourcetypes = ("crowdstrike:*", "crowdstrike", "falcon:*")

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        found = [(fields, *_opened(fields)) for fields in objects_of(record, "resources")]
        if all(kind is None for _, kind, _ in found):
            found = [(fields, *_opened(fields)) for fields in crowdstrike_lines.said(record)] or found
        if not found:
            yield from unread(record, "CrowdStrikeEvents")
        for fields, kind, body in found:
            if kind is None:
                yield guess_event(body, "CrowdStrikeEvents")
            elif "Detection" in kind or kind in _DETECTIONS:
                yield leftover.proven(self._alert(record, kind, body, fields), body.data)
            else:
                yield _event(kind, body, fields)

    def _alert(self, record: Record, kind: str, body: Fields, outer: Fields) -> Alert:
        created = first_time(outer, "metadata.eventCreationTime", "created_timestamp", "p_event_time", "timestamp")
        first, last = _period(body, created)
        stopped = _disposition(body)
        evidence = Evidence(first, remediation=stopped)
        _entities(body, evidence, blocked=stopped != "none")
        category, categories = crowdstrike_attack.categories(body, kind)
        level, vendor_level = _severity(kind, body)
        behavior = body.object("behaviors")
        detector = body.text(*_DETECTORS) or behavior.text("pattern_id")
        where = body.text(*_AGENT, "Hostname", "ComputerName") or _user(body) or ""
        sha256 = (body.text("SHA256String", "sha256") or "").lower()
        own_id = body.text(*_IDS) or content_id(outer.data)
        status = (body.text("Status", "status", "State", "resolution") or "").lower()
        return Alert(
            vendor=self.vendor,
            product=self.product,
            sub_provider=body.text("SourceProducts", "product"),
            product_version=body.text("agent_version", "device.agent_version"),
            provider_alert_id=own_id,
            title=_title(kind, body),
            description=body.text("DetectDescription", "Description", "description", "IncidentDescription")
            or behavior.text("description", "ioc_description"),
            severity=level,
            vendor_severity=vendor_level,
            category=category,
            categories=categories,
            vendor_category=body.text("Tactic", "tactic", "Category") or behavior.text("tactic"),
            techniques=crowdstrike_attack.techniques(record, body),
            detector_id=detector,
            detection_source=_detection_source(kind, body),
            first_activity=first,
            last_activity=last,
            source_created=created,
            source_updated=first_time(body, "updated_timestamp", "SignalUpdatedTimestamp", "modified_timestamp"),
            status=_STATUS.get(status, "new"),
            classification=_classification(body, status),
            assigned_to=body.text("assigned_to_name", "assigned_to_uid", "AssignedTo"),
            url=body.text("FalconHostLink", "falcon_host_link"),
            confidence=body.integer("confidence", "Confidence"),
            actor=body.text("actor_names", "Adversaries"),
            tags=_tags(body),
            evidence=evidence.items,
            additional=body.rest(_USED) | {"eventType": kind} | evidence.unsaid,
            fingerprint=(detector, where, sha256) if detector and (where or sha256) else (own_id,),
        )


def _opened(fields: Fields) -> tuple[str | None, Fields]:
    """The type of a record without its "Event_" prefix, and the object that holds its facts."""
    inner = fields.object("event", "unknown_payload")
    kind = fields.text("metadata.eventType")
    if kind is not None:
        return kind.removeprefix("Event_"), inner
    body = Fields({**fields.data, **inner.data}) if inner else fields
    kind = fields.text("ExternalApiType") or inner.text("ExternalApiType")
    named = fields.text("fdr_event_type", "event_simpleName", "#event_simpleName")
    kind = named or kind or inner.text("event_simpleName", "EventType")
    if kind is None and body.has("composite_id", "detection_id", "behaviors"):
        kind = "DetectionApi"
    if kind is None and body.has("incident_id") and body.has("fine_score", "hosts"):
        kind = "IncidentSummaryEvent"
    return (None if kind is None else kind.removeprefix("Event_")), body


def _title(kind: str, body: Fields) -> str:
    behavior = body.object("behaviors")
    incident = body.text("IncidentType")  # a word, or the number of one
    found = body.text("DetectName", "display_name") or (None if as_number(incident) is not None else incident)
    found = found or (None if body.has("event_simpleName") and not body.has("Severity") else body.text("Name", "name"))
    found = found or behavior.text("display_name", "scenario", "tactic") or body.text("RuleName", "PolicyStatement")
    described = body.text("DetectDescription", "Description", "description", "IncidentDescription")
    if found is None and described is not None:
        found = described.partition(". ")[0][:200]
    if found is None and kind == "CustomerIOCEvent":
        seen = body.text("DomainName", "IPv4", "IPv6", "SHA256String", "MD5String")
        return f"Indicator of the customer seen: {seen}"
    return found or _KINDS.get(kind) or f"Falcon {kind}"


def _period(body: Fields, created: str | None) -> tuple[str | None, str | None]:
    exact = first_time(
        body, "StartTime", "start_time", "ContextTimeStamp", "context_timestamp", "first_behavior", "IncidentStartTime",
        "SignalStartTimestamp", "start", "ContextTimestamp", "behaviors.timestamp", "StartTimeEpoch",
        "MatchedTimestamp", "EventCreatedTimestamp", "SessionStartTimestamp",
    )  # fmt: skip
    exact = exact or first_time(body, "UTCTimestamp", "timestamp", "EventTimestamp", "@timestamp")
    started = first_time(body, "ProcessStartTime", "process_start_time")
    first = exact or started or created
    last = first_time(
        body, "EndTime", "end_time", "last_behavior", "IncidentEndTime", "SignalEndTimestamp", "end",
        "MostRecentActivityTimeStamp", "EndTimeEpoch", "SessionEndTimestamp",
    )  # fmt: skip
    last = last or exact or created or first
    return first, (max(first, last) if first and last else last)


def _severity(kind: str, body: Fields) -> tuple[Severity, str | None]:
    """By the word; a number is 1 to 5 in older events, else 0 to 100; an incident's score counts to 10 or 100."""
    word = body.text("SeverityName", "severity_name", "max_severity_displayname", "RulePriority")
    named = severity.of_word(word)
    if named != "unknown":
        return named, word
    number = body.number("Severity", "severity", "max_severity", "behaviors.severity")
    if number is not None:
        scale = severity.of_five if number <= 5 or kind == "DetectionSummaryEvent" else severity.of_hundred
        return scale(number), body.text("Severity", "severity", "max_severity", "behaviors.severity")
    if kind == "CustomerIOCEvent":  # it has none
        return "medium", None
    spoken = severity.of_word(body.text("Severity", "severity"))
    score = body.number("Score", "FineScore", "fine_score")
    if spoken == "unknown" and score is not None:
        return severity.of_hundred(score * 10 if score <= 10 and "FineScore" in body.data else score), f"{score:g}"
    return spoken, word or body.text("Severity", "severity")


def _detection_source(kind: str, body: Fields) -> str:
    tactic, technique = (
        (body.text("Tactic", "tactic") or "").lower(),
        (body.text("Technique", "technique") or "").lower(),
    )
    if kind == "CustomerIOCEvent":
        return "customTi"
    if tactic == "custom intelligence":
        return "customTi" if body.has("IOCType", "ioc_type", "IOCValue") else "customDetection"
    if tactic in ("machine learning", "malware", "nextgen av") or (body.text("Type", "type") or "") in (
        "ods",
        "quarantined_file",
    ):
        return "antivirus"
    return "manual" if "overwatch" in kind.lower() + tactic + technique else "unknown"


def _disposition(body: Fields) -> graph.EvidenceRemediationStatus:
    if crowdstrike_data.stopped(body):
        return "blocked"
    text = (body.text("PatternDispositionDescription", "pattern_disposition_description") or "").lower()
    flags = body.object("PatternDispositionFlags", "pattern_disposition_details")
    if flags.flag("QuarantineFile", "quarantine_file"):
        return "remediated"
    if flags.flag(
        "ProcessBlocked", "process_blocked", "OperationBlocked", "operation_blocked", "KillProcess", "kill_process"
    ):
        return "blocked"
    return "prevented" if text.startswith("prevention") else "none"


def _classification(body: Fields, status: str) -> str | None:
    """By the resolution; an alert of today's API has it as one of its tags."""
    words = [body.text("resolution") or status, *_tags(body)]
    return next((_CLASSIFICATION[word.lower()] for word in words if word.lower() in _CLASSIFICATION), None)


def _tags(body: Fields) -> list[str]:
    found = [part.strip() for text in body.texts("Tags", "tags") for part in text.split(",")]
    return [tag for tag in found if tag and not tag.isdecimal()]


def _user(body: Fields) -> str | None:
    return body.text(
        "UserName", "user_name", "SourceAccountName", "source_account_name", "UserId", "UserPrincipal", "user_principal"
    )


# ---------------------------------------------------------------- entities


def _entities(body: Fields, evidence: Evidence, *, blocked: bool = False) -> None:
    """Of a body in any of the spellings: PascalCase (stream, FDR), snake_case (APIs), a vertex's `properties`."""
    body = Fields({**body.object("properties").data, **body.data}) if body.has("properties") else body
    device = body.object("device", "hostinfo")
    evidence.host(
        body.text("Hostname", "ComputerName", "HostnameField", "EndpointName", "host_name") or device.text("hostname"),
        domain=body.text("MachineDomain") or device.text("machine_domain"),
        addresses=[
            body.text("LocalIP", "LocalAddressIP4", "local_ip"),
            body.text("LocalIPv6"),
            device.text("local_ip"),
            body.text("EndpointIp", "source_endpoint_address_ip4"),
        ],
        external=body.text("aip", "externalIpAddress") or device.text("external_ip"),
        os=device.text("platform_name", "os_version") or body.text("platform", "event_platform", "OSVersion"),
        version=device.text("os_version"),
        device_id=body.text("AgentId", "agent_id", "AgentIdString", "SensorId", "aid", "DeviceId", "HostID")
        or device.text("device_id"),
    )
    if not body.has(
        "Hostname", "ComputerName", "HostnameField", "AgentId", "agent_id", "AgentIdString", "SensorId", "aid", "device"
    ):
        for text in (body.text("aip"), body.text("LocalIP")):
            evidence.ip(text)
    user = _users(body, evidence)
    _processes(body, evidence, user, blocked=blocked)
    _network(body, evidence)
    _indicators(body, evidence)
    crowdstrike_data.destination(body, evidence)
    for host in [*body.objects("hosts"), *body.objects("ThreatgraphIndicators")][:50]:
        evidence.host(
            host.text("hostname"),
            addresses=[host.text("local_ip")],
            external=host.text("external_ip"),
            os=host.text("platform_name"),
            device_id=host.text("device_id", "HostId"),
        )
    _edges(body.object("edges"), evidence)
    if (body.text("CloudPlatform", "CloudProvider", "cloud_provider") or "").lower() == "aws":
        resource, account = body.text("ResourceId", "resource_id", "Resources"), body.text("AccountId", "account_id")
        kind = body.text("ResourceType", "CloudService") if resource else "Account"
        evidence.amazon(resource, account=account, kind=kind)


_OF_SIDE = {  # of one party of an event of identities
    "name": "{0}AccountName {1}_account_name {0}AccountSamAccountName {0}AccountUserName",
    "domain": "{0}AccountDomain {1}_account_domain",
    "upn": "{0}AccountUpn {1}_account_upn",
    "sid": "{0}AccountObjectSid {1}_account_object_sid",
    "host": "{0}EndpointHostName {1}_endpoint_host_name",
    "of host": "{0}EndpointIpAddress {0}EndpointAddressIP4 {1}_endpoint_address_ip4",
    "address": "{0}EndpointIpAddress {1}_ip_address",
}
_PARTIES: tuple[tuple[str, graph.EvidenceRole], ...] = (("Source", "source"), ("Target", "destination"))
_SIDES = [
    (role, {what: paths.format(begin, begin.lower()).split() for what, paths in _OF_SIDE.items()})
    for begin, role in _PARTIES
]
_OF_SIDES = tuple(path for _, side in _SIDES for paths in side.values() for path in paths)


def _users(body: Fields, evidence: Evidence) -> graph.UserEvidence | None:
    number = body.text("user_id", "behaviors.user_id")  # a SID on Windows, a number elsewhere
    sid = body.text("UserSid") or (number if is_sid(number) else None)
    mail = body.text("UserPrincipal", "user_principal")
    name = body.text("UserName", "user_name", "behaviors.user_name")
    first = evidence.user(name, upn=mail, sid=sid, domain=body.text("LogonDomain"))
    first = first or evidence.user(sid)
    for role, side in _SIDES if body.leading(_OF_SIDES) else ():  # most have none of them
        found = evidence.user(
            body.text(*side["name"]),
            domain=body.text(*side["domain"]),
            upn=body.text(*side["upn"]),
            sid=body.text(*side["sid"]),
            roles=(role,),
        )
        first = first or found
        evidence.host(body.text(*side["host"]), addresses=[body.text(*side["of host"])], roles=(role,))
        evidence.ip(body.text(*side["address"]), (role,))
    server = body.text("TargetDomainControllerHostName", "target_domain_controller_host_name", "TargetServerHostName")
    evidence.host(server)
    actors = body.leading(("UserId", "UserID", "UserUUID", "actor_user", "TaskAuthor"))
    for name in dict.fromkeys(map(body.text, actors)):
        first = evidence.user(name) or first
    for item in body.objects("AuditKeyValues")[:100]:
        if item.text("Key") in ("target_name", "actor_user", "target_user", "username"):
            evidence.user(item.text("ValueString"))
    for item in body.objects("users")[:50]:
        evidence.user(item.text("user_name", "username"), sid=item.text("user_id"))
    evidence.ip(body.text("UserIp", "SourceIp", "UserSourceIp", "OriginSourceIpAddress"), ("source",))
    return first


# Each under the names of stream, APIs and FDR.
_HASHES = tuple(
    "SHA256String sha256 SHA256HashData SHA1String sha1 SHA1HashData MD5String md5 MD5HashData ContentSha".split()
)


def _processes(body: Fields, evidence: Evidence, user: graph.UserEvidence | None, *, blocked: bool) -> None:
    status: graph.DetectionStatus = "prevented" if blocked else "detected"
    # A file found on disk by a scan, or one that left: nothing ran.
    scanned = body.text("Type", "type") == "ods" or body.has("ContentSha", "MobileAppsDetails")
    for part in [body, *body.objects("behaviors")[:20]]:
        image = part.text("ImageFileName")
        name = part.text("FileName", "filename", "ContextBaseFileName") or file_name(image)
        path = part.text("FilePath", "filepath") or image
        hashes, parent = [part.text(key) for key in part.leading(_HASHES)], part.object("parent_details")
        if (written := part.text("TargetFileName")) is not None:  # the hashes are of what the program wrote
            evidence.file(None, written, hashes, status=status)
            hashes = []
        parent_image = part.text("ParentImageFileName", "ParentImageFilePath")
        if not scanned:
            evidence.process(
                part.text("CommandLine", "cmdline", "TaskExecCommand"),
                name=name,
                path=path,
                pid=part.integer("RawProcessId", "local_process_id", "ProcessId", "process_id", "PID"),
                hashes=hashes,
                started=first_time(part, "ProcessStartTime", "process_start_time"),
                user=user,
                parent_name=part.text("ParentBaseFileName") or file_name(parent_image) or parent.text("filename"),
                parent_path=parent_image or parent.text("filepath"),
                parent_pid=part.integer("ParentProcessId", "parent_process_id") or parent.integer("local_process_id"),
                parent_hashes=[
                    *(parent.text(kind, f"parent_{kind}") for kind in ("sha256", "md5")),
                    part.text("parent_sha256"),
                ],
                status=status,
            )
        if any(hashes) or scanned:
            evidence.file(name, path, hashes, size=part.integer("DataVolume"), status=status)
    for found in body.objects("ScanResults")[:20]:
        evidence.malware(found.text("ResultName") if found.flag("Detected") else None)
    for item in body.objects("MobileAppsDetails")[:20]:
        evidence.file(
            item.text("AndroidAppLabel", "AppIdentifier"), None, [item.text("ImageFileHash", "AppInstallerHash")]
        )
    kinds = ("ExecutablesWritten", "QuarantineFiles", "AssociatedFiles", "FileWrites")
    for item in [item for kind in kinds for item in body.objects(kind)][:50]:
        path = item.text("FilePath", "ImageFileName", "filepath", "filename", "name")
        evidence.file(item.text("FileName", "filename"), path, [item.text("SHA256HashData", "sha256")])
    evidence.registry(body.text("RegObjectName"), body.text("RegValueName"), body.text("RegStringValue"))


_ENDS = (
    *("LocalAddress", "local_address", "LocalAddressIP4", "LocalAddressIP6"),
    *("RemoteAddress", "remote_address", "RemoteAddressIP4", "RemoteAddressIP6"),
)


def _network(body: Fields, evidence: Evidence) -> None:
    accesses = body.objects("NetworkAccesses", "network_accesses")
    for item in [each for each in (body, *accesses[:MAX_CONNECTIONS]) if each.leading(_ENDS)]:
        here = (
            item.text("LocalAddress", "local_address", "LocalAddressIP4", "LocalAddressIP6"),
            item.integer("LocalPort", "local_port"),
        )
        there = (
            item.text("RemoteAddress", "remote_address", "RemoteAddressIP4", "RemoteAddressIP6"),
            item.integer("RemotePort", "remote_port"),
        )
        inbound = item.text("ConnectionDirection", "connection_direction") == "1" or item.has("LogonType")
        start, end = (there, here) if inbound else (here, there)
        if evidence.flow(*start, *end, item.text("Protocol", "protocol")) is None:
            evidence.ip(there[0], ("source" if inbound else "destination",))
    for item in body.objects("DnsRequests", "dns_requests")[:MAX_CONNECTIONS]:
        evidence.domain(item.text("DomainName", "domain_name"))
    evidence.domain(body.text("DomainName"), body.texts("IP4Records"))
    evidence.url(body.text("HttpUrl", "Url", "WebDestination"))


def _indicators(body: Fields, evidence: Evidence) -> None:
    for item in [body, *body.objects("behaviors")[:20], *body.objects("ioc_context", "IOCContext")[:20]]:
        kind, value = (item.text("IOCType", "ioc_type") or "").lower(), item.text("IOCValue", "ioc_value")
        if kind == "domain":
            evidence.domain(value, roles=("suspicious",))
        elif kind.startswith(("ip", "ipv")):
            evidence.ip(value, ("suspicious",))
        elif kind.startswith(("hash", "sha", "md5")):
            evidence.file(hashes=[value])
    for give, paths in (  # of a detection across products (XDR), which names what it saw in lists
        (evidence.host, ("HostNames", "HostNamesList", "host_names", "source_hosts", "destination_hosts")),
        (evidence.user, ("Users", "UserNames", "user_names", "EmailAddresses")),
        (evidence.ip, ("IPV4Addresses", "IPV6Addresses", "IPv4", "IPv6", "source_ips", "destination_ips")),
        (evidence.domain, ("DomainNames",)),
    ):
        parts = [part for path in body.leading(paths) for text in body.texts(path) for part in text.split(",")]
        for part in parts[:50]:
            give(part.strip())
    for text in [*body.texts("SHA256Hashes"), *body.texts("MD5Hashes"), *body.texts("ContentSha")][:50]:
        evidence.file(hashes=[text])


def _edges(edges: Fields, evidence: Evidence) -> None:
    """Neighbours of a vertex: its addresses and the accounts that logged on."""
    for item in edges.objects("assigned_ipv4_address")[:20]:
        evidence.ip(item.text("properties.LocalAddressIP4"))
    for item in edges.objects("established_user_session")[:20]:
        evidence.user(item.text("properties.UserName"), sid=(item.text("object_id") or "").partition("|")[0])


# ---------------------------------------------------------------- events


def _event(kind: str, body: Fields, outer: Fields) -> Event:
    evidence = Evidence()
    _entities(body, evidence)
    at = first_time(outer, "metadata.eventCreationTime") or first_time(
        body, "ContextTimeStamp", "ContextTimestamp", "UTCTimestamp", "timestamp", "Timestamp", "p_event_time",
        "@timestamp",
    )  # fmt: skip
    found = max((prefix for prefix in _TELEMETRY if kind.startswith(prefix)), key=len, default=None)
    found = "PeFileWritten" if found is None and kind.endswith("FileWritten") else found  # of any format
    if found is not None:
        table, action = _TELEMETRY[found]
        row = columns(body, _SENSOR | _COLUMNS.get(table, _IMAGE)) | {"ActionType": action}
        if table == "DnsEvents":
            row = columns(body, _COLUMNS[table])
        return event(table, at, row, evidence, body.rest(frozenset({"event"})))
    here, there, inbound = "LocalAddress", "RemoteAddress", body.text("ConnectionDirection") == "1"
    row = {
        "EventType": kind,
        "EventId": body.text("id", "EventUUID", "ExecutionID") or outer.text("metadata.offset"),
        "Message": body.text("PatternDispositionDescription", "ReportName", "RuleName", "vertex_type"),
        "Severity": body.text("SeverityName") or outer.text("metadata.severity.name"),
        "Outcome": {True: "Success", False: "Failure"}.get(body.flag("Success")) if body.has("Success") else None,  # type: ignore[arg-type]
        "HostName": body.text("Hostname", "ComputerName", "HostnameField", "properties.ComputerName"),
        "UserName": _user(body) or body.text("UserID"),
        "SourceIP": body.text("UserIp", "SourceIp", there if inbound else here, "LocalIP"),
        "SourcePort": body.integer("RemotePort" if inbound else "LocalPort"),
        "DestinationIP": body.text(here if inbound else there),
        "DestinationPort": body.integer("LocalPort" if inbound else "RemotePort"),
        "Protocol": body.text("Protocol"),
        "ProcessName": file_name(body.text("ImageFileName", "properties.ImageFileName", "FileName")),
        "ProcessCommandLine": body.text("CommandLine", "properties.CommandLine"),
        "SHA256": body.text("SHA256String", "properties.SHA256HashData"),
        "DomainName": body.text("DomainName"),
        "AgentId": body.text("aid", "AgentIdString", "DeviceId", "device_id"),
        "CustomerId": body.text("cid", "CustomerId", "customer_id") or outer.text("metadata.customerIDString"),
        "Operation": body.text("OperationName"),
    }
    return event("CrowdStrikeEvents", at, row, evidence, body.rest(frozenset({"event"})))
