"""ESET PROTECT: what its syslog export writes as JSON, CEF or LEEF, with detections of ESET Inspect; detections and
incidents of ESET Connect.

Source: ESET PROTECT documentation, "Events exported to JSON format", "...to LEEF format", "...to
CEF format"; ESET Connect API, "List detections", "List incidents".
"""

import re
from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources import common_security_log
from bartizan.sources.entities import file_name
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, inner_json, objects_of, texts_of
from bartizan.sources.severity import of_cef, of_word
from bartizan.sources.shape import Paths, Shape

_WORDS: dict[str, Severity] = {
    "information": "informational",
    "notice": "informational",
    "warning": "medium",
    "error": "medium",
    "critical": "high",
    "fatal": "high",
    "severity_level_diagnostic": "informational",
}
_CATEGORIES = {
    "threat_event": "Malware",
    "eset threat event": "Malware",
    "filteredwebsites_event": "SuspiciousActivity",
    "enterpriseinspectoralert_event": "SuspiciousActivity",
    "detection_category_antivirus": "Malware",
    "detection_category_network_intrusion": "Exploit",
    "detection_category_vulnerability": "Exploit",
}

_REASONS = {"TRUE_POSITIVE": "truePositive", "FALSE_POSITIVE": "falsePositive"}

# The names of the JSON -> where the exports as CEF and LEEF say the same.
_CEF = {
    "event_type": "cat,deviceEventClassId",
    "occured": "rt,syslogTime",
    "severity": "deviceSeverity",
    "hostname": "dvchost,shost,dhost",
    "ipv4": "dvc,deviceAddress,src",
    "source_uuid": "deviceExternalId",
    "username": "suser,accountName,duser",
    "processname": "processName,sproc,deviceProcessName",
    "object_uri": "objectUri,filePath,request",
    "hash": "hash,fileHash",
    "action_taken": "actionTaken,act",
    "threat_name": "threatName,Threat Name",
    "threat_type": "threatType,Threat Type",
    "rule_id": "ruleId,Rule ID,Rule Name",
    "rulename": "ruleName",
    "event": "event,msg",
    "source_address": "sourceAddress,src",
    "target_address": "targetAddress,dst",
    "source_port": "sourcePort,spt",
    "target_port": "targetPort,dpt",
    "protocol": "protocol,proto",
}
# Labels of a notification in words -> the names of the JSON.
_NOTICES = {
    "detection type": "threat_type",
    "detection name": "threat_name",
    "computer name": "hostname",
    "logged user": "username",
    "time of occurrence": "occured",
    "scanner": "scanner_id",
    "action performed": "action_taken",
    "object": "object_uri",
    "object uri": "object_uri",
    "hash": "hash",
    "process name": "processname",
    "circumstances": "circumstances",
}
_LABELS = re.compile(rf"(?:^|(?<=\s))({'|'.join(sorted(_NOTICES, key=len, reverse=True))}):\s", re.IGNORECASE)
_NOTICE = re.compile(r"\bDetection type: .{0,200}?\bDetection name: ", re.DOTALL)
_ENGLISH_TIME = re.compile(r"(\d{1,2}/\d{1,2}/\d{2}), (\d{1,2}:\d\d:\d\d) ?\s([AP]M)")  # 2/20/25, 4:27:59 PM UTC+1
_MAX_TEXT = 8_192
_UNNAMED = "nil"  # stands where ESET Connect has no name of a type
_CVE = re.compile(r"\bCVE-\d{4}-\d{4,7}\b", re.IGNORECASE)
_KEY = re.compile(r"(?:HK(?:LM|CU|U|CR|CC)|HKEY_[A-Z_]+)\\", re.IGNORECASE)
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")


class Eset(Shape):
    name = "eset"
    vendor = "ESET"
    product = "PROTECT"
    marks = (
        "event_type=*_event+source_uuid+occured event_type=*_event+hostname+occured "
        "event_type=*_event+source_uuid+occurred event_type=*_event+hostname+occurred "
        "event_type+source_uuid+occured+severity "
        "source_uuid+eialarmid severityLevel+occurTime+category "
        "severity=INCIDENT_SEVERITY_*+createTime"
    )
    pattern = re.compile(r"\bDetection type: .{1,80}? Detection name: .{1,200}? Computer name: ")
    sourcetypes = ("eset", "eset:*")
    table = "EsetEvents"
    wrappers = ("detections", "incidents")
    columns = {"GroupName": "group_name", "EventKind": "event_type"}
    alert = Paths(
        id="eialarmid+source_uuid detection_uuid uuid",
        title="threat_name rule_name rulename event rule_id detail cause displayName typeName event_type category",
        description="detail circumstances context.circumstances event",
        severity="severity severityLevel",
        words=_WORDS,
        vendor_category="event_type category",
        categories=_CATEGORIES,
        score="deviceSeverity",
        scale=of_cef,
        detector="rule_name rulename rule_id threat_name event typeName action",
        first="occured occurred occurTime createTime",
        threat="threat_name",
        family="threat_type",
        url="eiconsolelink",
        fold="hostname username hash",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        """Also behind the syslog header that the export writes before the JSON."""
        if lines := common_security_log.lines(record, _CEF):
            return lines
        if told := [_told(text) for text in texts_of(record) if _NOTICE.search(text)]:
            return told
        found = objects_of(record, *self.wrappers)
        begin = record.text.find("{")
        if not found and begin > 0 and isinstance(inside := inner_json(record.text[begin:].rstrip()), dict):
            return [Fields(inside)]
        return found

    def is_alert(self, fields: Fields) -> bool:
        if _is_incident(fields):
            return True
        return fields.has("event_type", "severityLevel") and fields.has(
            "occured", "occurred", "source_uuid", "occurTime"
        )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        evidence.host(
            fields.text("hostname"),
            addresses=[fields.text("ipv4"), fields.text("ipv6")],
            device_id=fields.text("source_uuid", "context.deviceUuid"),
            os=fields.text("os_name"),
        )
        who = evidence.user(fields.text("username", "user", "account", "context.userName"))
        if fields.text("action") == "Login attempt":
            evidence.user(fields.text("target"))
        uri = (fields.text("object_uri", "objectUrl", "target_address") or "").replace(
            "\\/", "/"
        )  # escaped once too often
        path = uri.removeprefix("file:///") if uri.startswith("file:///") else uri if _DRIVE.match(uri) else None
        hashes = [fields.text("hash", "sha1", "objectHashSha1")]
        target = fields.text("target")
        kind = (fields.text("event_type") or "").lower()
        operated = "hips" in kind
        if operated and target is not None and _KEY.match(target):
            evidence.registry(target)
            target = None
        evidence.process(
            fields.text("command_line"),
            path=fields.text("processname", "process_name", "context.process.path")
            or ((target or fields.text("application")) if operated else None),
            hashes=hashes if "inspector" in kind else (),  # elsewhere it is the object's, which stands apart
            user=who,
            parent_path=fields.text("application") if operated and target else None,
        )
        evidence.file(None, path, hashes)
        evidence.url(uri if "://" in uri and not path else None)
        evidence.flow(
            fields.text("source_address"),
            fields.integer("source_port"),
            fields.text("target_address"),
            fields.integer("target_port"),
            fields.text("protocol"),
        )
        _talked(fields.object("networkCommunication"), evidence)
        evidence.ip(fields.text("source_address"), ("source",))
        evidence.ip(fields.text("target_address"), ("destination",))
        evidence.domain(fields.text("target_address", "hostname_target"))
        evidence.malware(fields.text("threat_name"), fields.text("threat_type"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        if _is_incident(fields):
            alert.severity = of_word(fields.text("severity"))
            alert.vendor_category = "incident"
            state = (fields.text("status") or "").upper()
            alert.status = "resolved" if "CLOSED" in state else "inProgress" if "PROGRESS" in state else "new"
            reason = (fields.text("resolveReason") or "").upper()
            alert.classification = next((ours for word, ours in _REASONS.items() if word in reason), None)
        if alert.severity == "unknown" and fields.has("threat_name"):  # of a notification in words
            alert.severity = "medium"
        name = file_name(fields.text("object_uri"))
        if name is not None and alert.title.lower() in ("blocked by admin", "blockedfiles_event"):
            alert.title = f"Blocked file: {name}"
        if alert.title == _UNNAMED:
            alert.title = fields.text("context.circumstances") or alert.title
            alert.detector_id = alert.title
        kind = (fields.text("event_type") or "").lower()
        alert.vulnerabilities = [name.upper() for name in _CVE.findall(fields.text("threat_name") or "")]
        if alert.vulnerabilities and "firewall" in kind:
            alert.category, alert.categories = "Exploit", ["Exploit"]
        done = None if "audit" in kind else fields.text("action")  # there what somebody did
        common_security_log.acted(alert, fields.text("action_taken"), done)
        if fields.flag("threat_handled", "handled") is True:
            alert.tags = [*alert.tags, "handled"]


def _told(text: str) -> Fields:
    """A notification in words, as one line: "Detection type: Trojan Detection name: X Computer name: ..."."""
    found = _LABELS.split(text[:_MAX_TEXT])
    data: dict[str, str] = {"event_type": "Threat_Event"}
    for label, value in zip(found[1::2], found[2::2], strict=False):
        data.setdefault(_NOTICES[label.lower()], value.strip().rstrip("."))
    data["occured"] = _ENGLISH_TIME.sub(r"\1 \2 \3", data.get("occured", ""))
    return Fields(data)


def _is_incident(fields: Fields) -> bool:
    """Of ESET Connect: what Inspect has put together."""
    return (fields.text("severity") or "").startswith("INCIDENT_SEVERITY") and fields.has("createTime")


def _talked(said: Fields, evidence: Evidence) -> None:
    """A connection as ESET Connect tells it: of this end and the other, and who called."""
    own = said.text("localIpAddress"), said.integer("localPort")
    other = said.text("remoteIpAddress"), said.integer("remotePort")
    inbound = (said.text("direction") or "").endswith("INBOUND")
    start, end = (other, own) if inbound else (own, other)
    if evidence.flow(*start, *end) is None:
        evidence.ip(start[0], ("source",))
        evidence.ip(end[0], ("destination",))
