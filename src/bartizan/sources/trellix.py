"""Trellix (McAfee, FireEye): events of ePolicy Orchestrator as XML, of network security as CEF, of others as JSON.

Source: Trellix ePolicy Orchestrator, "Common Event Format: EPOevent"; Trellix Network Security, "CEF notifications";
Trellix Endpoint Security (HX) and Insights, alerts of the API.
"""

import re
from collections.abc import Iterable
from typing import Any

from bartizan.extend import Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources import cef, common_security_log, xml_records
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, lines_of, objects_of
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape

_WORDS: dict[str, Severity] = {"notice": "low", "alert": "high", "info": "informational", "warning": "low"}
# ePO counts a threat's severity from 0 (emergency) to 7 (debug)...
_THREAT: dict[int, Severity] = {0: "high", 1: "high", 2: "high", 3: "medium", 4: "low", 5: "low", 6: "informational"}
# ...and that of an event, of no threat, from 0 upwards.
_EVENT: dict[int, tuple[str, Severity]] = {
    0: ("information", "informational"),
    1: ("warning", "low"),
    2: ("minor", "low"),
    3: ("major", "medium"),
    4: ("critical", "high"),
}
_CATEGORIES = {"av": "Malware", "hip": "Exploit", "ops": "SuspiciousActivity", "fw": "SuspiciousActivity"}
_HASHES = ("TargetHash", "FileSHA256", "FileSHA1", "FileMD5", "md5", "sha256", "fileHash")
_CLASSES = {
    "malware-callback": "CommandAndControl",
    "malware-object": "Malware",
    "infection-match": "Malware",
    "web-infection": "Malware",
    "domain-match": "CommandAndControl",
    "ips-event": "Exploit",
    "riskware-object": "UnwantedSoftware",
    "riskware-callback": "CommandAndControl",
}


class Trellix(Shape):
    name = "trellix"
    vendor = "Trellix"
    product = "ePolicy Orchestrator"
    marks = (
        "Client+User+Action+Timestamp MsgId+Client+User Action+Client+User attributes.threatname "
        "_eventType+_deviceId+_eventId"
    )
    pattern = re.compile(
        r"<EPOevent>|<EPOEvent>|<UpdateEvents>|<UpdateEvent>"
        r"|CEF:\d\|(?:Trellix|FireEye|McAfee|Musarubra)[^|]{0,40}\||fenotify-"
        r"|LEEF:[\d.]+\|(?:FireEye|Trellix|McAfee)\|"
    )
    sourcetypes = ("mcafee:*", "trellix:*", "fireeye:*", "fe_*", "hx_*", "epo:*")
    table = "TrellixEvents"
    columns = {"EventId": "EventID deviceEventClassId", "Analyzer": "AnalyzerName deviceProduct"}
    wrappers = ("data", "alert", "alerts")
    alert = Paths(
        id="devicePayloadId externalId+deviceEventClassId uuid alertId id EventUUID",
        title="ThreatName sname name threatName displayName Action ThreatCategory type EventID",
        description="NaturalLangDescription msg description explanation",
        severity="threatSeverity severity",
        words=_WORDS,
        vendor_category="ThreatCategory name threatType type",
        detector="ThreatEventID EventID deviceEventClassId sid ruleId",
        first="DetectedUTC Timestamp GMTTime start rt eventDate detectionDate timestamp receivedUtc event_at",
        last="rt GMTTime eventDate timestamp",
        url="link url alertUrl",
        threat="ThreatName sname threatName",
        version="AnalyzerVersion deviceVersion",
        fold="MachineName src ThreatName sname",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        events = cef.records(record)
        if events:
            return [event.fields for event in events]
        if lines := lines_of(record):
            found = (xml_records.read(text) for text in lines)
            return [Fields(_flat(each)) for each in found if each] or objects_of(record)
        return [Fields({**one.data, **one.object("attributes").data}) for one in objects_of(record, *self.wrappers)]

    def is_alert(self, fields: Fields) -> bool:
        """Also an entry of a manager's audit log, which comes by the same way; not what EDR saw on a device."""
        if fields.has("_eventType", "_deviceId"):
            return False
        return fields.has(
            "EventID", "deviceEventClassId", "ThreatName", "threatName", "name", "ThreatCategory", "Action"
        )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        if fields.has("deviceVendor"):
            common_security_log.entities(fields, evidence)
            evidence.domain(fields.text("cncHost"))
            evidence.ip(fields.text("cncHost"), ("commandAndControl",))
            evidence.malware(fields.text("sname"))
            return
        own = fields.text("IPAddress", "host_ip", "agentIpAddress", "AnalyzerIPV4")
        evidence.host(
            fields.text("MachineName", "TargetHostName", "hostname", "host_name", "entityName", "AnalyzerHostName"),
            addresses=[own],
            os=fields.text("OSName", "os"),
            device_id=(fields.text("AgentGUID", "agentGuid") or "").strip("{}") or None,
        )
        evidence.ip(own)
        user = None
        for path in ("UserName", "SourceUserName", "TargetUserName", "User", "userName"):
            user = (
                evidence.user(fields.text(path), domain=fields.text("userDomain"), sid=fields.text("userSid")) or user
            )
        source = fields.text("SourceIPV4", "SourceIPV6", "sourceIp", "sourceAddress")
        target = fields.text("TargetIPV4", "TargetIPV6", "destIp", "destAddress")
        evidence.flow(source, fields.integer("SourcePort"), target, fields.integer("TargetPort", "destPort"))
        evidence.ip(source, ("source",))
        evidence.ip(target, ("destination",))
        evidence.host(fields.text("SourceHostName"))
        evidence.ip(fields.text("Client"), ("source",))
        hashes = [fields.text(name) for name in _HASHES]
        evidence.file(fields.text("TargetName"), fields.text("TargetFileName", "TargetPath", "filePath"), hashes)
        evidence.process(fields.text("cmdLine"), pid=fields.integer("pid"), user=user)
        for text in [*fields.texts("dnsName"), *fields.texts("dnsNames")]:
            evidence.domain(text)
        for path in ("SourceProcessName", "TargetProcessName", "processName"):
            evidence.process(None, path=fields.text(path), user=user, hashes=[fields.text("SourceHash")])
        link = fields.text("SourceURL", "URL", "url", "httpUrl")
        evidence.url(link if link is not None and "://" in link else None)
        name = fields.text("ThreatName", "threatName")
        if (fields.text("ThreatCategory") or "").lower().startswith("av") and name != "_":
            evidence.malware(name, fields.text("ThreatType"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        if fields.has("deviceVendor"):
            alert.vendor_severity = fields.text("deviceSeverity")
            alert.severity = of_cef(fields.number("deviceSeverity"))
            alert.category = _CLASSES.get((fields.text("name") or "").lower(), "SuspiciousActivity")
            alert.product = fields.text("deviceProduct") or self.product
        else:
            kind = (fields.text("ThreatCategory") or "").partition(".")[0]
            alert.category = _CATEGORIES.get(kind, "SuspiciousActivity")
            _grade(fields, alert)
        common_security_log.acted(alert, fields.text("ThreatActionTaken", "act"))
        alert.categories = [alert.category]
        if alert.title in ("None", "_"):
            alert.title = fields.text("ThreatCategory") or f"Event {fields.text('EventID')}"


def _grade(fields: Fields, alert: Alert) -> None:
    """By the threat's severity, else by the event's."""
    threat, event = fields.integer("ThreatSeverity"), fields.integer("Severity")
    if threat in _THREAT:
        alert.severity, alert.vendor_severity = _THREAT[threat], str(threat)
    elif alert.severity == "unknown" and event in _EVENT:
        alert.vendor_severity, alert.severity = _EVENT[event]
    elif alert.severity == "unknown":
        alert.severity = "informational"


def _flat(tree: dict[str, Any]) -> dict[str, Any]:
    """The leaves of ePO's tree by their names; the first of each stands."""
    flat: dict[str, Any] = {}
    level: list[dict[str, Any]] = [tree]
    while level:
        deeper: list[dict[str, Any]] = []
        for each in level:
            for name, value in each.items():
                if isinstance(value, dict):
                    deeper.append(value)
                elif isinstance(value, list):
                    deeper += [item for item in value if isinstance(item, dict)]
                elif isinstance(value, str) and value.strip():
                    flat.setdefault(name, value.strip())
        level = deeper[:500]
    return flat
