"""Trellix (McAfee, FireEye): events of ePolicy Orchestrator as XML, of network security as CEF, of others as JSON.

Lines of the Network Security Manager and of a connector to ePO's table are read by `trellix_lines`.
Source: Trellix ePolicy Orchestrator, "Common Event Format: EPOevent", and its table EPOEvents, as queries and the API
of ePO SaaS give it; Trellix Network Security, "CEF notifications" and "JSON notifications"; Trellix Endpoint Security
(HX), Helix and Insights, alerts of the API; Trellix EDR, "Threats" and "Alerts" of the API.
"""

import re
from collections.abc import Iterable
from typing import Any

from bartizan.extend import Record
from bartizan.model import security as graph
from bartizan.model.alert import Alert, Severity
from bartizan.sources import attack, cef, common_security_log, trellix_lines, xml_records
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import MAX_ITEMS, Fields, lines_of, objects_of
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape

_WORDS: dict[str, Severity] = {
    "notice": "low",
    "alert": "high",
    "info": "informational",
    "warning": "low",
    "crit": "high",
    "majr": "medium",
    "minr": "low",
    "s0": "informational",  # from here on of EDR
    "s1": "low",
    "s2": "low",
    "s3": "medium",
    "s4": "high",
    "s5": "high",
}
# How ePO's names of actions end, where its table holds them untranslated.
_TAKEN = {"DEL": "deleted", "CLE": "cleaned", "CLN": "cleaned", "MOV": "quarantined", "DEN": "denied", "BLK": "blocked"}
# What HX saw, by the end of the name under which it says so.
_SEEN = {
    "fullPath": "TargetPath",
    "processPath": "SourceProcessName",
    "username": "userName",
    "remoteIP": "destIp",
    "remotePort": "destPort",
    "localIP": "sourceIp",
    "processCmdLine": "cmdLine",
    "requestUrl": "url",
    "md5": "md5",
}
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
_CATEGORIES = {
    "av": "Malware",
    "hip": "Exploit",
    "hip.fw": "SuspiciousActivity",
    "ops": "SuspiciousActivity",
    "fw": "SuspiciousActivity",
}
# Of attacks that a network sensor saw, by a word of their category.
_ATTACKS = {
    "exploit": "Exploit",
    "execution": "Exploit",
    "overflow": "Exploit",
    "malware": "Malware",
    "virus": "Malware",
    "botnet": "CommandAndControl",
    "reconnaissance": "Discovery",
    "scan": "Discovery",
    "dos": "Impact",
    "brute": "CredentialAccess",
    "phishing": "Phishing",
}
_EDR = "Endpoint Detection and Response"
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_HASHES = ("TargetHash", "FileSHA256", "FileSHA1", "FileMD5", "md5", "sha1", "sha256", "fileHash")
_DIGESTS = ("sha256", "sha1", "md5")
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
        "_eventType+_deviceId+_eventId ThreatEventID+ThreatCategory+DetectedUTC ThreatEventID+AnalyzerName+ThreatName "
        "attributes.threateventid EPOEvents.ThreatEventID appliance-id+product+alert appliance+product+alert "
        "alert.alert-url+product event_values+indicator+agent+event_type alertTypeDetails+alertThreat "
        "attributes.firstDetected+attributes.rank firstDetected+lastDetected+rank "
        "attributes.detectionTags+attributes.traceId "
        "detectionTags+traceId+rank"
    )
    pattern = re.compile(
        r"<EPOevent>|<EPOEvent>|<UpdateEvents>|<UpdateEvent>"
        r"|CEF:\d\|(?:Trellix|FireEye|McAfee|Musarubra)[^|]{0,40}\||fenotify-"
        r"|LEEF:[\d.]+\|(?:FireEye|Trellix|McAfee)\||\bSyslog(?:Alert|Audit\w{0,8}|Fault|Firewall\w{0,8})Forwarder\b"
        r"|\battack_name=.{1,8000}\battack_time=|\bAutoID=.{1,2000}\bsignature_id=.{1,2000}\bdetected_timestamp="
    )
    sourcetypes = ("mcafee:*", "trellix:*", "fireeye:*", "fe_*", "hx_*", "epo:*")
    table = "TrellixEvents"
    columns = {"EventId": "EventID deviceEventClassId", "Analyzer": "AnalyzerName deviceProduct"}
    wrappers = ("data", "alerts", "entries")
    alert = Paths(
        id="devicePayloadId externalId+deviceEventClassId uuid alertId id EventUUID",
        title="ThreatName sname malware_name name threatName displayName message indicator_name Action ThreatCategory "
        "type EventID",
        description="NaturalLangDescription msg description explanation",
        severity="threatSeverity severity risk",
        words=_WORDS,
        vendor_category="ThreatCategory name threatType alertType event_type type",
        tactics="tactics",
        detector="ThreatEventID EventID deviceEventClassId sid ruleId",
        first="DetectedUTC Timestamp GMTTime start rt eventDate detectionDate timestamp receivedUtc event_at occurred "
        "firstEventAt firstDetected",
        last="rt GMTTime eventDate timestamp lastEventAt lastDetected",
        created="createdAt reported_at",
        status="state",
        url="link alert-url url alertUrl",
        threat="ThreatName sname threatName",
        version="AnalyzerVersion deviceVersion",
        fold="MachineName src sourceIp ThreatName sname",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        events = cef.records(record)
        if events:
            return [event.fields for event in events]
        if lines := lines_of(record):
            found = (xml_records.read(text) for text in lines)
            if events_of := [Fields(_flat(each)) for each in found if each]:
                return events_of
            if told := [said for text in lines if (said := trellix_lines.read(text)) is not None]:
                return told
        return [_flattened(one) for one in objects_of(record, *self.wrappers)]

    def is_alert(self, fields: Fields) -> bool:
        """Also an entry of a manager's audit log, which comes by the same way; not what EDR saw on a device."""
        if fields.has("_eventType", "_deviceId"):
            return False
        if fields.text("of_product") == trellix_lines.MANAGER:
            return fields.has("attack_name")
        return fields.has(
            "EventID",
            "deviceEventClassId",
            "ThreatName",
            "threatName",
            "name",
            "ThreatCategory",
            "Action",
            "indicator_name",
            "alertTypeDetails",
            "detectionTags",
        )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        if fields.has("deviceVendor"):
            common_security_log.entities(fields, evidence)
            evidence.domain(fields.text("cncHost"))
            evidence.ip(fields.text("cncHost"), ("commandAndControl",))
            evidence.malware(fields.text("sname"))
            if (fields.text("ThreatCategory") or "").lower().startswith("av"):
                evidence.malware(fields.text("ThreatName"), fields.text("ThreatType"))
            return
        own = fields.text("IPAddress", "host_ip", "agentIpAddress", "AnalyzerIPV4", "host.ip")
        evidence.host(
            fields.text(
                "MachineName",
                "TargetHostName",
                "NodeName",
                "hostname",
                "host_name",
                "host.hostname",
                "entityName",
                "AnalyzerHostName",
            ),
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
        source = fields.text("SourceIPV4", "SourceIPV6", "sourceIp", "sourceAddress", "src.ip", "srcipv4")
        target = fields.text("TargetIPV4", "TargetIPV6", "destIp", "destAddress", "dst.ip", "dstipv4")
        ports = fields.integer("SourcePort", "src.port"), fields.integer("TargetPort", "destPort", "dst.port")
        evidence.flow(source, ports[0], target, ports[1])
        evidence.ip(source, ("source",))
        evidence.ip(target, ("destination",))
        for path in ("AnalyzerIPV6", "SourceIPV6", "TargetIPV6"):
            evidence.ip((fields.text(path) or "").removeprefix("/"))  # as Java writes it
        from_host = fields.text("SourceHostName")
        evidence.host(None if from_host == "_" else from_host)
        evidence.ip(fields.text("Client"), ("source",))
        _what_ran(fields, evidence, user)
        _what_came(fields, evidence)

    def finish(self, fields: Fields, alert: Alert) -> None:
        if fields.has("deviceVendor"):
            alert.vendor_severity = fields.text("deviceSeverity")
            alert.severity = of_cef(fields.number("deviceSeverity"))
            of_class = _CLASSES.get((fields.text("name") or "").lower())
            alert.category = of_class or _of_epo(fields) or "SuspiciousActivity"
            alert.product = fields.text("deviceProduct") or self.product
        else:
            of_class = _CLASSES.get((fields.text("name") or "").lower())
            alert.category = _of_epo(fields) or of_class or alert.category
            alert.product = fields.text("of_product") or alert.product
            alert.threat_name = alert.threat_name or fields.text("malware_name")
            _grade(fields, alert)
        if fields.text("of_product") == _EDR:
            _of_edr(fields, alert)
        taken = fields.text("ThreatActionTaken", "act", "action") or ""
        common_security_log.acted(alert, _TAKEN.get(taken.rpartition("_TAK_")[2], taken))
        alert.categories = alert.categories if alert.category in alert.categories else [alert.category or ""]
        if fields.flag("is_false_positive"):
            alert.status, alert.classification = "resolved", "falsePositive"
        alert.threat_name = None if alert.threat_name in ("None", "_") else alert.threat_name
        if fields.has("attack_name"):
            said = f"{fields.text('category') or ''} {alert.title}".lower()
            alert.category = next((ours for word, ours in _ATTACKS.items() if word in said), alert.category)
            alert.categories, alert.threat_name = [alert.category or ""], fields.text("virus_name")
        if alert.title in ("None", "_"):
            alert.title = fields.text("ThreatCategory") or f"Event {fields.text('EventID')}"


def _of_edr(fields: Fields, alert: Alert) -> None:
    """Tags such as "@ATA.Execution" name the tactic, "@ATE.T1059" the technique, of an alert that has no name."""
    tags = fields.texts("detectionTags")[:MAX_ITEMS]
    if tags:
        alert.title = ": ".join(filter(None, (fields.text("eventType"), fields.text("processName")))) or alert.title
    parts = [tag.partition(".") for tag in tags]
    if found := attack.tactics(*(_HUMP.sub(" ", name) for kind, _, name in parts if kind == "@ATA")):
        alert.category, alert.categories = found[0], found
    said = [name for kind, _, text in parts if kind == "@ATE" for name in attack.techniques_in(text)]
    alert.techniques = sorted({*alert.techniques, *said})


def _of_epo(fields: Fields) -> str | None:
    """By the class of a threat, "av.detect", whose first part has the kind and whose first two may say more."""
    parts = (fields.text("ThreatCategory") or "").lower().split(".")
    return _CATEGORIES.get(".".join(parts[:2])) or _CATEGORIES.get(parts[0])


def _what_ran(fields: Fields, evidence: Evidence, user: graph.UserEvidence | None) -> None:
    hashes = [fields.text(name) for name in _HASHES]
    evidence.file(fields.text("TargetName"), fields.text("TargetFileName", "TargetPath", "filePath"), hashes)
    evidence.process(fields.text("cmdLine"), pid=fields.integer("pid"), user=user)
    for path in ("SourceProcessName", "TargetProcessName", "processName"):
        image = fields.text(path) or ""
        whole = "\\" in image or "/" in image
        # Endpoint Security's description of what acted is how it was called, where that names the program.
        told = fields.text("SourceDescription") if path == "SourceProcessName" else None
        base = image.replace("\\", "/").rpartition("/")[2].lower()
        evidence.process(
            told if told is not None and base and base in told.lower() else None,
            name=None if whole else image,
            path=image if whole else None,
            user=user,
            hashes=[fields.text("SourceHash", "SourceProcessHash")] if path == "SourceProcessName" else [],
        )


def _what_came(fields: Fields, evidence: Evidence) -> None:
    """Over the network, by mail or as malware."""
    for text in [*fields.texts("dnsName"), *fields.texts("dnsNames")]:
        evidence.domain(text)
    link = fields.text("SourceURL", "URL", "url", "httpUrl")
    evidence.url(link if link is not None and "://" in link else None)
    mail = fields.object("smtp-message")
    evidence.message(
        internet_id=fields.text("smtp_id"),
        sender=fields.text("src.smtp-mail-from"),
        recipient=fields.text("dst.smtp-to"),
        subject=mail.text("subject"),
    )
    evidence.ip(fields.text("cnc_address"), ("commandAndControl",))
    evidence.domain(fields.text("cnc_address"))
    evidence.malware(fields.text("malware_name"))
    name = fields.text("ThreatName", "threatName")
    if (fields.text("ThreatCategory") or "").lower().startswith("av") and name != "_":
        evidence.malware(name, fields.text("ThreatType"))


def _grade(fields: Fields, alert: Alert) -> None:
    """By the threat's severity, else by the event's."""
    threat, event = fields.integer("ThreatSeverity"), fields.integer("Severity")
    if threat in _THREAT:
        alert.severity, alert.vendor_severity = _THREAT[threat], str(threat)
    elif alert.severity == "unknown" and event in _EVENT:
        alert.vendor_severity, alert.severity = _EVENT[event]
    elif alert.severity == "unknown" and not fields.has("of_product"):
        alert.severity = "informational"


def _flattened(one: Fields) -> Fields:
    """An object with what the API, a query, an appliance or an agent says deeper in it."""
    held = one.object("alert")
    alert = held if one.has("product") and held else one
    flat: dict[str, Any] = {}
    for key in ("attributes", "EPOEvents", "EPOLeafNode", "EPOComputerProperties", "host", "alertTypeDetails.summary"):
        flat |= alert.object(key).data
    if alert is not one:
        flat["of_product"] = one.text("product")
        malware = alert.object("explanation.malware-detected.malware")
        flat["malware_name"] = malware.text("name")
        flat |= {key: malware.raw(key) for key in ("url", "sid") if malware.has(key)}
        flat["md5"], flat["sha256"] = malware.text("md5sum", "md5"), malware.text("sha256")
        flat["cnc_address"] = alert.text("explanation.cnc-services.cnc-service.address")
        flat["smtp_id"] = alert.text("smtp-message.id")
    elif alert.has("event_values", "indicator"):
        flat["of_product"], flat["indicator_name"] = "Endpoint Security", alert.text("indicator.name", "event_type")
        for key, value in list(alert.object("event_values").data.items())[:MAX_ITEMS]:
            if isinstance(key, str) and (name := _SEEN.get(key.rpartition("/")[2])):
                flat[name] = value
        flat["agentGuid"] = alert.text("agent._id")
    elif flat.keys() & {"firstDetected", "detectionTags"} or alert.has("firstDetected", "detectionTags"):
        flat["of_product"] = _EDR
        flat |= {
            key: value for key, value in alert.object("attributes.hashes", "hashes").data.items() if key in _DIGESTS
        }
    elif alert.has("alertTypeDetails"):
        flat["of_product"] = "Helix"
    flat = {key: value for key, value in flat.items() if value is not None}
    return alert.also(flat) if flat else alert


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
