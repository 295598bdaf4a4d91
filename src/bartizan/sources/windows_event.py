"""Windows event log: rows of SecurityEvent and Event; what Defender Antivirus finds is an alert.

Logons and new processes are rows of Microsoft's tables for devices as well, events of Sysmon are those of `sysmon`.
Source: Windows, "Security auditing" (events 1102, 4624 to 5157); Microsoft Defender Antivirus, "Event IDs and error
codes"; AD FS, "Auditing enhancements"; Azure Monitor, "SecurityEvent", "Event".
"""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from bartizan.extend import Event, GraphObject, Record, Source
from bartizan.model import security as graph
from bartizan.model.alert import Alert, Severity
from bartizan.sources import attack, pairs, sysmon, windows_message, xml_records
from bartizan.sources.entities import file_name, is_sid
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, as_text, content_id
from bartizan.sources.generic import unplaced
from bartizan.sources.tables import event
from bartizan.sources.times import first_time
from bartizan.sources.windows_log import WindowsEvent, read

MAX_DATA_CHARS = 32_768  # of EventData as a row keeps it

_LEVELS = {0: "Information", 1: "Critical", 2: "Error", 3: "Warning", 4: "Information", 5: "Verbose"}
_LOGON_TYPES = {
    2: "Interactive",
    3: "Network",
    4: "Batch",
    5: "Service",
    7: "Unlock",
    8: "NetworkCleartext",
    9: "NewCredentials",
    10: "RemoteInteractive",
    11: "CachedInteractive",
}
_NOBODY = frozenset({"S-1-0-0", "S-1-0"})

# (name, domain, SID) of the accounts in EventData; what the same is called in the message stands after.
_ACCOUNTS = (
    ("SubjectUserName", "SubjectDomainName", "SubjectUserSid"),
    ("TargetUserName", "TargetDomainName", "TargetUserSid"),
    ("TargetUserName", "TargetDomainName", "TargetSid"),
    ("TargetOutboundUserName", "TargetOutboundDomainName", ""),
    ("User", "", ""),
    ("UserName", "UserDomain", "UserSid"),
    ("AccountName", "AccountDomain", "AccountSid"),
    ("param1", "", ""),
    ("MemberName", "", "MemberSid"),
    ("Requester", "", ""),
    ("UserContext", "", ""),  # of the task scheduler
    ("Detection User", "", ""),
    ("Account", "", ""),
    ("TargetAccount", "", ""),
    ("SubjectAccount", "", ""),
)
_LABELS = (("Account Name", "Account Domain", "Security ID"), ("User Name", "Domain", ""), ("Logon Account", "", ""))
_ADDRESSES = (
    "IpAddress", "ClientAddress", "SourceAddress", "DestAddress", "SourceIp", "DestinationIp", "ClientIPAddress",
    "Address", "IPString", "ClientIP", "Client Address", "Source Network Address", "Source Address",
    "Network Address", "ForwardedIpAddress", "ProxyIpAddress", "NetworkIpAddress",
)  # fmt: skip
_HOSTS = (
    "WorkstationName",
    "Workstation",
    "ClientName",
    "TargetServerName",
    "Workstation Name",
    "Source Workstation",
    "Client Name",
    "DeviceName",
)
_IMAGES = (
    "ProcessName", "Application", "CallerProcessName", "ImagePath", "ServiceFileName", "ActionName", "Process Name",
    "HostApplication", "param11", "AppPath", "FullFilePath", "FilePath",
)  # fmt: skip
_SENTENCE = re.compile(r"[\r\n\t]|\s{2,}|(?<=\.)\s")  # where the first of a message ends
_RAN = re.compile(
    r"(%\w+%\\[^\r\n*?\"<>|]{1,260}|[A-Za-z]:\\[^\r\n*?\"<>|]{1,260}) was (?:allowed|prevented)"
)  # AppLocker
_COMMAND = re.compile(r'"CommandLine":"((?:[^"\\]|\\.){1,8192})"')
_LOCKED_OUT = 4740
_LINK = re.compile(r"https?://[^\s'\"`<>|(){}\[\]]{4,2048}", re.IGNORECASE)
_ACTION = re.compile(r"<Command>([^<]{1,2048})</Command>")
_MAX_LINKS = 20
_EXECUTABLE = re.compile(
    r'"?(?:[A-Za-z]:\\|%\w+%\\|\\\\)[^"\r\n]{1,1024}?\.(?:exe|com|dll|sys|bat|cmd|ps1)\b', re.IGNORECASE
)


class WindowsLog(Source):
    name = "windows_event"
    vendor = "Microsoft"
    product = "Windows"
    marks = "winlog.event_id+winlog.channel Event.System EventID+Channel EventID+EventSourceName EventID+EventLog"
    pattern = re.compile(
        r"<Event[ >].{0,200}<System>|MSWinEventLog(?:\s|#011|<009>|\\t)|\AEventCode=|\nEventCode=\d", re.DOTALL
    )
    sourcetypes = ("wineventlog*", "xmlwineventlog*", "mswineventlog*")

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        events = read(record)
        for each in events:
            if sysmon.is_sysmon(each):
                yield sysmon.row(each)
                continue
            if _is_detection(each):
                yield _detection(record, each)
            yield from _rows(each)
        if not events:
            yield from unplaced(record, "GenericEvents")


# ---------------------------------------------------------------- entities


def entities(each: WindowsEvent, evidence: Evidence) -> None:
    """What one event names."""
    _entities(each, _data(each), evidence)


def _entities(each: WindowsEvent, data: Fields, evidence: Evidence) -> None:
    evidence.host(each.computer)
    for name, domain, sid in _ACCOUNTS:
        _user(evidence, data.text(name), data.text(domain), data.text(sid), strict=name == "param1")
    if not any(data.has(name) for name, _, _ in _ACCOUNTS if name != "User"):
        for name, domain, sid in _LABELS:
            for value in data.texts(name):
                _user(evidence, value, data.text(domain), data.text(sid))
    _user(evidence, each.raw.text("AccountName"), each.raw.text("Domain"), each.sid)
    evidence.user(each.sid)
    for key in _ADDRESSES:
        for text in data.texts(key):
            for part in re.split(r"[,;\s]+", text)[:20]:
                evidence.ip(part, ("source",) if key in ("IpAddress", "SourceAddress", "ClientAddress") else ())
    for key in _HOSTS:
        name = (data.text(key) or "").lstrip("\\")
        evidence.host(name)
        evidence.ip(name, ("source",))
    _programs(each, data, evidence)
    _told(each, data, evidence)
    evidence.url(data.text("url", "Url", "URL", "Server", "RelyingParty", "Destination"))
    evidence.domain(data.text("QueryName", "DnsHostName"))
    evidence.file(
        None, data.text("RelativeTargetName"), [data.text("Hashes"), data.text("FileHash"), data.text("Fqbn")]
    )


def _user(evidence: Evidence, name: str | None, domain: str | None, sid: str | None, *, strict: bool = False) -> None:
    sid = sid if is_sid(sid) and sid not in _NOBODY else None
    if name is not None and ((strict and "\\" not in name and "@" not in name) or len(name) > 256):
        return
    if name is not None or sid is not None:
        evidence.user(name, domain=None if "@" in (name or "") else domain, sid=sid)


def _programs(each: WindowsEvent, data: Fields, evidence: Evidence) -> None:
    new = data.text("NewProcessName", "New Process Name")
    if new is not None:
        evidence.process(
            data.text("CommandLine", "ProcessCommandLine", "Process Command Line"),
            path=new,
            pid=data.integer("NewProcessId", "New Process ID"),
            parent_path=data.text("ParentProcessName", "Creator Process Name"),
            parent_pid=data.integer("ProcessId", "Creator Process ID"),
        )
    for key in _IMAGES:
        path = data.text(key)
        if path is not None and (key != "param11" or each.provider == "Application Error"):
            image = _EXECUTABLE.match(path)
            evidence.process(
                path if image is not None and len(image[0].strip('"')) < len(path.strip('"')) else None,
                path=image[0].strip('"') if image is not None else path if re.search(r"[\\/]", path) else None,
            )
    command = _COMMAND.search((each.message or "")[:MAX_DATA_CHARS])
    evidence.process(command[1].replace('\\"', '"').replace("\\\\", "\\") if command else None)
    ran = _RAN.search((each.message or "")[:2_048])  # the message is one sentence
    evidence.process(path=ran[1] if ran else None)
    kind, name = (data.text("ObjectType") or "").lower(), data.text("ObjectName")
    if kind == "key" or (name or "").upper().startswith("\\REGISTRY\\"):
        evidence.registry(name, data.text("ObjectValueName"), data.text("NewValue"))
    elif kind == "file":
        evidence.file(None, name)


def _told(each: WindowsEvent, data: Fields, evidence: Evidence) -> None:
    """What an event says in a field of its own kind."""
    if each.event_id == _LOCKED_OUT:  # where the domain should stand is the machine from which the attempts came
        evidence.host((data.text("TargetDomainName") or "").lstrip("\\"))
    script = (data.text("ScriptBlockText") or "")[:MAX_DATA_CHARS]
    for link in list(_LINK.finditer(script))[:_MAX_LINKS]:
        evidence.url(link[0].rstrip(".,;"))
    if script:
        evidence.file(None, data.text("Path"))
    task = (data.text("TaskContent", "TaskContentNew") or "")[:MAX_DATA_CHARS]
    for program in _ACTION.findall(task)[:_MAX_LINKS]:
        evidence.process(path=unescape(program.strip()).strip('"'))


def _data(each: WindowsEvent) -> Fields:
    """EventData; beside it what the message says under its labels, and the XML in it (AD FS)."""
    if not each.message:
        return each.data
    said = pairs.labelled(each.message)[0] | windows_message.said(each.message, each.provider)
    inside = (
        Fields(xml_records.read(each.message)).object("AuditBase") if "<AuditBase" in each.message else Fields(None)
    )
    for part in inside.objects("ContextComponents.Component"):
        said |= part.data
    return Fields(each.data.data or {"Message": each.message}, said)


# ---------------------------------------------------------------- rows


def _rows(each: WindowsEvent) -> Iterator[Event]:
    data, evidence = _data(each), Evidence()
    _entities(each, data, evidence)
    if (each.channel or "").lower() == "security":
        yield _security(each, data, evidence)
    else:
        yield _plain(each, data, evidence)
    if each.event_id in (4624, 4625) and each.data:
        yield _logon(each, data)
    elif each.event_id == 4688 and each.data:
        yield _process(each, data)


def _full(domain: str | None, name: str | None) -> str | None:
    return f"{domain}\\{name}" if domain and name else name


def _xml(data: Fields) -> str | None:
    """EventData as the tables keep it, so that parse_xml reads it."""
    if not data:
        return None
    parts = "".join(
        f"<Data Name={quoteattr(str(key))}>{escape(as_text(value) or '')}</Data>" for key, value in data.data.items()
    )
    return f"<EventData>{parts}</EventData>"[:MAX_DATA_CHARS]


def _security(each: WindowsEvent, data: Fields, evidence: Evidence) -> Event:
    """SecurityEvent has a column for most names of EventData; those without one go to the rest."""
    kind = data.integer("LogonType")
    said = _SENTENCE.split((each.message or "").strip(), maxsplit=1)[0].rstrip(".")
    columns: dict[str, Any] = {key: as_text(value) for key, value in each.data.data.items() if " " not in key}
    columns |= {
        "Computer": each.computer,
        "EventSourceName": each.provider,
        "Channel": each.channel,
        "EventID": each.event_id,
        "Level": str(each.level) if each.level is not None else None,
        "Activity": f"{each.event_id} - {said}" if said else str(each.event_id),
        "EventData": _xml(each.data),
        "EventOriginId": each.record_id,
        "SubjectAccount": _full(data.text("SubjectDomainName"), data.text("SubjectUserName")),
        "TargetAccount": _full(data.text("TargetDomainName"), data.text("TargetUserName")),
        "Account": _full(data.text("TargetDomainName"), data.text("TargetUserName"))
        or _full(data.text("SubjectDomainName"), data.text("SubjectUserName")),
        "LogonType": kind,
        "LogonTypeName": f"{kind} - {_LOGON_TYPES[kind]}" if kind in _LOGON_TYPES else None,
        "Process": file_name(data.text("NewProcessName", "ProcessName")),
        "KeyLength": data.integer("KeyLength"),
    }
    return event("SecurityEvent", each.time, columns, evidence)


def _plain(each: WindowsEvent, data: Fields, evidence: Evidence) -> Event:
    columns = {
        "Source": each.provider,
        "EventLog": each.channel,
        "Computer": each.computer,
        "EventLevel": each.level,
        "EventLevelName": _LEVELS.get(each.level if each.level is not None else -1),
        "EventID": each.event_id,
        "EventData": _xml(each.data),
        "RenderedDescription": (each.message or "")[:MAX_DATA_CHARS] or None,
        "UserName": data.text("User") or each.raw.text("AccountName") or each.sid,
    }
    return event("Event", each.time, columns, evidence, {"EventRecordID": each.record_id} if each.record_id else None)


def _logon(each: WindowsEvent, data: Fields) -> Event:
    kind = data.integer("LogonType")
    columns = {
        "DeviceName": each.computer,
        "ActionType": "LogonSuccess" if each.event_id == 4624 else "LogonFailed",
        "LogonType": _LOGON_TYPES.get(kind if kind is not None else -1),
        "AccountDomain": data.text("TargetDomainName"),
        "AccountName": data.text("TargetUserName"),
        "AccountSid": data.text("TargetUserSid"),
        "Protocol": data.text("AuthenticationPackageName"),
        "FailureReason": data.text("SubStatus", "Status", "FailureReason"),
        "LogonId": data.integer("TargetLogonId"),
        "RemoteDeviceName": data.text("WorkstationName"),
        "RemoteIP": data.text("IpAddress"),
        "RemotePort": data.integer("IpPort"),
        "InitiatingProcessFolderPath": data.text("ProcessName"),
        "InitiatingProcessFileName": file_name(data.text("ProcessName")),
        "InitiatingProcessId": data.integer("ProcessId"),
        "ReportId": Fields({"id": each.record_id}).integer("id"),
    }
    return event("DeviceLogonEvents", each.time, columns, Evidence())


def _process(each: WindowsEvent, data: Fields) -> Event:
    image, parent = data.text("NewProcessName"), data.text("ParentProcessName")
    columns = {
        "DeviceName": each.computer,
        "ActionType": "ProcessCreated",
        "FileName": file_name(image),
        "FolderPath": image,
        "ProcessId": data.integer("NewProcessId"),
        "ProcessCommandLine": data.text("CommandLine"),
        "AccountDomain": data.text("SubjectDomainName"),
        "AccountName": data.text("SubjectUserName"),
        "AccountSid": data.text("SubjectUserSid"),
        "LogonId": data.integer("SubjectLogonId"),
        "InitiatingProcessId": data.integer("ProcessId"),
        "InitiatingProcessFileName": file_name(parent),
        "InitiatingProcessFolderPath": parent,
        "ReportId": Fields({"id": each.record_id}).integer("id"),
    }
    return event("DeviceProcessEvents", each.time, columns, Evidence())


# ---------------------------------------------------------------- Defender Antivirus

_FOUND = frozenset({1006, 1015, 1116})  # something was found...
_ACTED = frozenset({1007, 1117})  # ...and dealt with
_FAILED = frozenset({1008, 1118, 1119})  # ...or not
_SEVERITIES: dict[str, Severity] = {"1": "low", "2": "medium", "4": "high", "5": "high"}
_HARMLESS = frozenset({"allow", "not applicable", "no action", "ignore", "user defined"})
_RESOURCE = re.compile(r"(?:^|;\s*)([a-z]{2,20}):_", re.IGNORECASE)  # "file:_C:\\x; process:_pid:12,ProcessStart:1"


def _is_detection(each: WindowsEvent) -> bool:
    defender = "windows defender" in f"{each.channel} {each.provider}".lower()
    return defender and each.event_id in _FOUND | _ACTED | _FAILED and each.data.has("Threat Name", "ThreatName")


def _detection(record: Record, each: WindowsEvent) -> Alert:
    """All events of one detection are one alert: the id of the detection is theirs."""
    data = each.data
    threat = data.text("Threat Name", "ThreatName") or ""
    done = each.event_id in _ACTED and (data.text("Action Name", "Action") or "").lower() not in _HARMLESS
    done = done and data.integer("Error Code", "ErrorCode") in (None, 0)
    level = data.text("Severity ID", "SeverityID")
    word = data.text("Severity Name", "Severity")
    at = first_time(data, "Detection Time", "DetectionTime") or each.time
    state: graph.EvidenceRemediationStatus = "remediated" if done else "active"
    evidence = Evidence(at, "malicious", state)
    _detected(each, evidence, state)
    kind = (data.text("Category Name", "Category") or "").lower()
    return Alert(
        vendor="Microsoft",
        product="Defender Antivirus",
        provider_alert_id=data.text("Detection ID", "DetectionID") or content_id(each.raw.data),
        title=f"Malware found: {threat}",
        description=(each.message or "").strip()[:4_096] or None,
        severity=_SEVERITIES.get(level or "") or ("high" if word == "Severe" else "medium"),
        vendor_severity=word,
        category="Ransomware" if kind == "ransomware" else "Malware",
        categories=["Ransomware" if kind == "ransomware" else "Malware"],
        vendor_category=data.text("Category Name", "Category"),
        techniques=attack.techniques(record, data.data),
        detector_id=data.text("Threat ID", "ThreatID", "ID") or threat,
        detection_source="antivirus",
        product_version=data.text("Product Version"),
        first_activity=at,
        last_activity=each.time or at,
        source_updated=each.time,
        status="resolved" if done else "new",
        threat_name=threat,
        evidence=evidence.items,
        additional={"eventId": each.event_id}
        | data.rest(frozenset({"unused", "unused2", "unused3"}))
        | evidence.unsaid,
        fingerprint=(threat, each.computer or "", data.text("Path") or ""),
    )


def _detected(each: WindowsEvent, evidence: Evidence, state: graph.EvidenceRemediationStatus) -> None:
    data = each.data
    evidence.host(each.computer)
    user = evidence.user(data.text("Detection User", "User"))
    evidence.malware(data.text("Threat Name", "ThreatName"), data.text("Category Name", "Category"))
    status: graph.DetectionStatus = "prevented" if state == "remediated" else "detected"
    text = data.text("Path", "Threat Resource Path") or ""
    for part in re.split(r";\s*", text)[:50]:
        kind = _RESOURCE.match(part)
        value = part[kind.end() :] if kind is not None else part
        if kind is not None and kind[1].lower() in ("regkey", "regkeyvalue", "runkey"):
            evidence.registry(value)
        elif kind is None or kind[1].lower() in ("file", "containerfile", "webfile", "startup", "service"):
            path, _, url = value.partition("|")
            evidence.file(None, path.partition("->")[0], status=status)
            evidence.url(url.partition("|")[0] if url else None)
    process = data.text("Process Name", "ProcessName")
    evidence.process(path=None if (process or "").lower() == "unknown" else process, user=user)
