"""Sophos Central: events and alerts of its SIEM API, and detections of its Data Lake.

Its script for SIEMs writes the events as JSON, as CEF or as `key="value"`; what it takes out of the sentence of an
event, the name of a threat, stands in CEF where the name of the event is meant.
Source: Sophos Central SIEM Integration API, "alerts", "events"; Sophos, "Sophos-Central-SIEM-Integration" (README,
CEF mapping); "Threat Analysis Center: detections".
"""

import re
from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model import security as graph
from bartizan.model.alert import Alert
from bartizan.sources import attack, common_security_log, leftover, pairs
from bartizan.sources.entities import file_name
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, lines_of
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape

_GROUPS = {
    "malware": "Malware",
    "pua": "UnwantedSoftware",
    "runtime_detections": "Execution",
    "web": "SuspiciousActivity",
    "mitigation": "Exploit",
    "ransomware": "Ransomware",
    "threat": "SuspiciousActivity",
}
# In the type of an event ("Event::Endpoint::Threat::Detected"), where nothing else says of which kind it is.
_KINDS = (
    ("Pua", "UnwantedSoftware"),
    ("CommandAndControl", "CommandAndControl"),
    ("CryptoGuard", "Ransomware"),
    ("Exploit", "Exploit"),
    ("::Threat::", "Malware"),
    ("CoreDetection", "Malware"),
)
_AT = re.compile(r"'([^']{1,256})' (?:at|in) '([^']{1,1024})'")
_NOBODY = "n/a"
_PAIRS = re.compile(r'\b(?:endpoint_id|customer_id|datastream)="')
# The names of the JSON -> where CEF says the same.
_CEF = {
    "type": "deviceEventClassId",
    "severity": "deviceSeverity",
    "when": "end,rt",
    "created_at": "rt",
    "location": "dhost,shost",
    "source": "suser",
    "source_info.ip": "source_info_ip,src",
    "threat": "threat,detection_identity_name",
}
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NO_SEVERITY = "none"  # of what is done by the product itself; else the word says that nothing is said

_SITE = re.compile(
    r"'([^'\s]{4,2048})' (?:was )?(?:blocked|allowed|warned)|Access was blocked to \"?([^\"\s]{4,2048})"
)  # of web control


class Sophos(Shape):
    name = "sophos"
    vendor = "Sophos"
    product = "Central"
    marks = (
        "endpoint_id+customer_id endpoint_id+endpoint_type+rt datastream+endpoint_id "
        "customer_id+detection_id_dedup source_info+endpoint_id+type type=event::*+id "
        "sensor.type+severity+detectionRule managedAgent+raisedAt "
        "endpoint_id+detection_id_dedup ioc_detection_id+endpoint_id initialDetection+managedBy"
    )
    pattern = re.compile(
        r"CEF:\s?\d{1,2}\|sophos\|sophos central\|"
        r'|\b(?:endpoint_id|customer_id|datastream)="[^"]{0,80}";.{0,2000}?\btype="Event::[^"]{1,80}"',
        re.IGNORECASE,
    )
    sourcetypes = ("sophos:central:*", "sophos_events", "sophos_alerts", "sophos:edr*", "sophos:xdr*")
    table = "SophosEvents"
    columns = {"EventType": "type", "Group": "group ioc_detection_category", "EndpointId": "endpoint_id"}
    wrappers = ("items",)
    alert = Paths(
        id="id detection_id_dedup ioc_detection_id+unix_time record_identifier",
        title="name ioc_detection_description detectionRule ruleName description threat type",
        description="description detectionDescription ioc_detection_description",
        severity="severity",
        score="ioc_severity ioc_detection_weight severity",
        scale=of_cef,
        vendor_category="group category ioc_detection_category ioc_attack_type type",
        categories=_GROUPS,
        techniques="mitreAttacks.tactic.techniques.name ioc_detection_mitre_attack.tactic.techniques.name",
        detector="ioc_detection_id detectionRule ruleId type",
        first="when raisedAt detectionTime sensorGeneratedAt time created_at end calendar_time unix_time rt",
        last="end rt unix_time created_at when time",
        created="created_at ingestion_timestamp rt",
        threat="threat",
        status="status",
        assigned="assignee.name",
        fold="endpoint_id dhost meta_hostname type",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        texts = [text for text in lines_of(record) if _PAIRS.search(text)]
        said = [Fields({key: _bare(value) for key, value in pairs.read(text).items()}) for text in texts]
        return common_security_log.lines(record, _CEF) or said or super().read(record)

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("name", "type", "ioc_detection_id", "threat", "detectionRule", "ruleName") and fields.has(
            "endpoint_id", "id", "severity"
        )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        own = fields.text("source_info.ip", "source_info_ip", "meta_ip_address", "data.source_info.ip")
        external = fields.text("meta_public_ip")
        evidence.host(
            fields.text("dhost", "location", "meta_hostname", "data.endpoint_hostname", "managedAgent.name")
            or fields.text("device.entity", "rawData.meta_hostname"),
            addresses=[own],
            external=external,
            os=fields.text("meta_os_name"),
            version=fields.text("meta_os_version"),
            device_id=fields.text("endpoint_id", "data.endpoint_id", "meta_eid", "managedAgent.id"),
        )
        evidence.ip(own)
        evidence.ip(external)
        named = fields.text("source") or ""
        account = "\\" in named or "@" in named
        user = evidence.user(
            named if account else None,
            object_id=fields.text("user_id"),
            display=None if account or named.lower() == _NOBODY else named or None,
        )
        evidence.file(None, fields.text("filePath"), [fields.text("appSha256", "fileHash")])
        for path in ("suser", "meta_username", "username", "target_username", "subject_username"):
            name = fields.text(path)
            if name is not None and name.lower() != _NOBODY:
                user = evidence.user(name) or user
        evidence.user(fields.text("person.name"))
        evidence.user(fields.text("rawData.meta_username", "rawData.username"))
        evidence.observe("user", fields.text("duid"))
        raw = fields.object("rawData")
        _ran(raw, evidence)
        leftover.collect(raw.data, evidence)
        evidence.process(
            fields.text("cmdline", "cmd_line"),
            name=fields.text("process_name", "ioc_worker_name" if not fields.has("path") else "name_of_process"),
            path=fields.text("path", "process_path"),
            pid=fields.integer("pid"),
            hashes=[fields.text("sha256", "appSha256"), fields.text("sha1")],
            user=user,
            parent_name=fields.text("parent_name"),
            parent_path=fields.text("parent_path"),
        )
        _sentences(fields, evidence)
        evidence.malware(fields.text("threat"))
        _guards(fields, own, evidence)
        for each in fields.objects("core_remedy_items.items", "data.core_remedy_items.items"):
            evidence.file(None, each.text("descriptor"))
        for path in ("remote_ip", "destination_ip", "remote_address"):
            evidence.ip(fields.text(path), ("destination",))

    def finish(self, fields: Fields, alert: Alert) -> None:
        if fields.has("deviceVendor") and fields.has("threat"):
            alert.title = f"{_sentence(alert.detector_id)}: {fields.text('threat')}"
        if fields.raw("severity") == _NO_SEVERITY:
            alert.severity, alert.vendor_severity = "informational", _NO_SEVERITY
        found = attack.tactics(
            *fields.texts("ioc_detection_mitre_attack.tactic.name"), *fields.texts("mitreAttacks.tactic.name")
        )
        if found:
            alert.category, alert.categories = found[0], found
        elif alert.category == "SuspiciousActivity":
            kind = fields.text("type") or ""
            alert.category = next((ours for word, ours in _KINDS if word in kind), alert.category)
            alert.categories = [alert.category]
        if alert.threat_name is None:
            said = next((item for item in alert.evidence if isinstance(item, graph.MalwareEvidence)), None)
            alert.threat_name = said.name if said is not None else None


def _sentences(fields: Fields, evidence: Evidence) -> None:
    """What the title and the description say of files and sites."""
    told = (fields.text(path) or "" for path in ("name", "description"))
    match = next((found for text in told if (found := _AT.search(text)) is not None), None)
    if match is not None:
        evidence.file(file_name(match[2]), match[2])
        evidence.malware(match[1])
    site = _SITE.match(fields.text("name") or "")
    where = None if site is None else site[1] or site[2]
    if evidence.url(where) is None:
        evidence.domain(where)


def _ran(raw: Fields, evidence: Evidence) -> None:
    """The process in the raw data of a detection."""
    evidence.process(
        raw.text("cmdline", "cmd_line"),
        name=raw.text("process_name"),
        path=raw.text("path", "process_path"),
        pid=raw.integer("pid"),
        hashes=[raw.text("sha256")],
        parent_name=raw.text("parent_name"),
        parent_path=raw.text("parent_path"),
    )


def _bare(value: object) -> object:
    """`key="value"; ` leaves the mark at the end of a value that is not quoted."""
    return value.rstrip("; ") if isinstance(value, str) else value


def _sentence(kind: str | None) -> str:
    """Event::Endpoint::Threat::CleanupFailed in words: "Threat cleanup failed"."""
    said = [_HUMP.sub(" ", part) for part in (kind or "").split("::")[2:]]
    return " ".join(said).capitalize() or "Event"


def _guards(fields: Fields, own: str | None, evidence: Evidence) -> None:
    """What exploit mitigation, intrusion prevention and AMSI say of the program and of the other end."""
    exploit = fields.object("data.hmpa_exploit")
    evidence.process(
        path=exploit.text("process_path"), pid=exploit.integer("process_pid"), hashes=[exploit.text("thumbprint")]
    )
    network = fields.object("data.ips_threat", "ips_threat_data")
    evidence.process(path=network.text("executable_path"), pid=network.integer("executable_pid"))
    evidence.flow(own, network.integer("local_port"), network.text("remote_ip"), network.integer("remote_port"))
    script = fields.object("data.amsi_threat", "amsi_threat_data")
    evidence.process(
        path=script.text("process_path"),
        pid=script.integer("process_id"),
        parent_path=script.text("parent_process_path"),
    )
