"""Bitdefender GravityZone: what its event push service sends, as CEF lines or as JSON.

In CEF a name such as "computer_fqdn" of the JSON is written "BitdefenderGZComputerFQDN"; both are read by the former.
Source: Bitdefender, "GravityZone API", Event Push Service, "Push event JSON RPC messages", "CEF messages".
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import cef, common_security_log
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.severity import of_cef, of_hundred
from bartizan.sources.shape import Paths, Shape

_PREFIX = "BitdefenderGZ"
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# Modules that keep house: nothing was found.
_HOUSEKEEPING = frozenset(
    "task-status modules registration sva sva-load supa-update-status install uninstall troubleshooting-activity "
    "adcloud hwid-change endpoint-moved-in endpoint-moved-out partner-changed exchange-user-credentials "
    "security-container-update-available".split()
)
_CATEGORIES: Mapping[str, str] = {
    "av": "Malware",
    "exchange-malware": "Malware",
    "storage-antimalware": "Malware",
    "hd": "Malware",
    "network-sandboxing": "Malware",
    "ransomware-mitigation": "Ransomware",
    "aph": "Phishing",
    "antiexploit": "Exploit",
    "network-monitor": "Exploit",
    "dp": "Exfiltration",
    "login": "InitialAccess",
}
_HANDLED = frozenset("blocked deleted disinfected quarantined cleaned restored killed kill".split())
# Modules that enforce a rule of the company's own.
_RULES = frozenset({"uc", "device-control"})
_TITLES: Mapping[str, str] = {
    "av": "AntiMalware",
    "aph": "AntiPhishing",
    "avc": "Advanced Threat Control",
    "hd": "HyperDetect",
    "fw": "Firewall",
    "dp": "Data Protection",
    "uc": "Content Control",
    "antiexploit": "Advanced Anti-Exploit",
    "network-monitor": "Network Attack Defense",
    "network-sandboxing": "Sandbox Analyzer Detection",
    "ransomware-mitigation": "Ransomware detection",
    "device-control": "Device Control",
    "new-incident": "New Incident",
    "new-extended-incident": "New Extended Incident",
    "exchange-malware": "Exchange malware detection",
    "storage-antimalware": "Storage malware detection",
    "login": "Login from new device",
}
# What was found, or how: it makes the title of one event differ from that of another.
_WHAT = (
    "malware_name detection_name detection_threat_name exploit_type threat_name threat_type attack_technique aph_type "
    "virus_name fw_application_path"
)
# JSON's names -> keys of CEF.
_CEF = {
    "computer_name": "dvchost",
    "computer_ip": "dvc",
    "file_path": "filePath",
    "exploit_path": "filePath",
    "url": "request",
    "source_ip": "src",
    "attacker_ip": "src",
    "remote_ip": "src",
    "attack_source": "src",
    "victim_ip": "dst",
    "local_ip": "dst",
    "local_port": "dpt",
    "final_status": "act",
    "main_action": "act",
    "action_taken": "act",
    "status": "act",
    "process_path": "sproc",
    "detection_path": "sproc",
    "detection_pid": "spid",
    "detection_username": "suser",
    "detection_action": "act",
    "port": "spt",
    "hash": "fileHash",
    "file_hash_sha256": "fileHash",
    "file_hash_md5": "oldFileHash",
}
_ATTACKS = (("ransom", "Ransomware"), ("malware", "Malware"), ("phish", "Phishing"), ("exploit", "Exploit"))
_MAX_RECIPIENTS = 100
_FIRST = "detection_time start created timestamp last_blocked detected_on request_time date rt syslogTime"


class Bitdefender(Shape):
    name = "bitdefender"
    vendor = "Bitdefender"
    product = "GravityZone"
    marks = (
        "module+computer_name+computer_ip module+computer_name module=exchange-malware+sender "
        "params.events+method=addEvents companyId+module"
    )
    pattern = re.compile(r"CEF:\s?\d{1,2}\|Bitdefender\|")
    sourcetypes = ("bitdefender:*",)
    alert = Paths(
        id="incident_id detection_id",
        title="name event_name module",
        description="msg detection_description",
        severity="",
        score="severity_score",
        scale=of_hundred,
        vendor_category="module",
        categories=_CATEGORIES,
        tactics="detection_attack_technique",
        detector="deviceEventClassId module",
        first=_FIRST,
        last=f"end last_updated rt {_FIRST}",
        cves="detection_cve",
        version="deviceVersion",
        threat="malware_name detection_name detection_threat_name malware.malware_name",
        fold="dvchost suser filePath",
        status="incident_status",
        statuses={"falsepositive": "resolved"},
        verdict="incident_status",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        lines = cef.records(record)
        return [_named(line.fields) for line in lines] if lines else [_named(fields) for fields in _objects(record)]

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("name", "module") and (fields.text("module") or "").lower() not in _HOUSEKEEPING

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        whole = fields.text("computer_fqdn")
        evidence.host(
            (None if whole == "undefined" else whole) or fields.text("dvchost"),
            addresses=fields.texts("dvc"),
            os=fields.text("os", "login_os", "operating_system"),
            device_id=fields.text("endpoint_id", "computer_id", "deviceExternalId"),
        )
        common_security_log.entities(fields, evidence)
        user = fields.object("user")
        evidence.user(
            user.text("name", "userName") or fields.text("user_name", "last_user", "username"),
            sid=user.text("id", "sid", "userSid") or fields.text("user_sid"),
        )
        found = fields.text("malware_name", "detection_name", "detection_threat_name")
        evidence.malware(found, fields.text("malware_type"))
        _programs(fields, evidence)
        _mail(fields, evidence)
        for path in fields.texts("file_paths"):
            evidence.file(None, path)
        for hit in fields.objects("urls", "detections_list"):
            evidence.url(hit.text("url"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        module, what = (fields.text("module") or "").lower(), fields.text(*_WHAT.split())
        if alert.title.lower() == module:
            alert.title = _TITLES.get(module, f"GravityZone {module}")
        state = (fields.text("status") or "").replace("_", " ")
        if what is None and " " in state:  # portscan_blocked, uc_site_blocked
            what = state.removeprefix(f"{module} ")
        if what is not None and what not in alert.title:
            alert.title = f"{alert.title}: {what}"
        if alert.category == "SuspiciousActivity" and (kinds := fields.texts("attack_types")):
            words = " ".join(kinds).lower()
            alert.category = next((ours for word, ours in _ATTACKS if word in words), alert.category)
            alert.categories = [alert.category]
        if fields.has("severity_score"):
            alert.vendor_severity = f"{fields.text('severity_score')}/100"  # an incident's; other events have CEF's
        else:
            alert.severity = of_cef(fields.number("deviceSeverity", "severity"))
            alert.vendor_severity = fields.text("deviceSeverity", "severity")
            if alert.vendor_severity is None:  # events of the push service have none
                act = (fields.text("act") or "").lower().rpartition("_")[2]
                alert.severity = "low" if module in _RULES else "medium" if act in _HANDLED else "high"
        done = fields.text("act", "malware.actionTaken") or ""  # of a mail by each malware in it
        common_security_log.acted(alert, done.replace("_", " "))

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        yield from common_security_log.told(fields, self.entities)


def _programs(fields: Fields, evidence: Evidence) -> None:
    path = fields.text("process_path", "process_info_path", "detection_path", "fw_application_path")
    parent = fields.text("parent_process_path", "parent_path", "detection_parent_path")
    pid, parent_pid = (
        fields.integer("process_pid", "process_id", "detection_pid"),
        fields.integer("parent_process_pid", "parent_pid", "parent_process_id", "detection_parent_pid"),
    )
    command = fields.text("process_command_line", "process_info_command_line", "command_line")
    if path is None and command is None:
        path, parent, pid, parent_pid = parent, None, parent_pid, None
        command = fields.text("parent_process_command_line")
    evidence.process(
        command,
        path=common_security_log.single_slashes(path),
        pid=pid,
        parent_path=common_security_log.single_slashes(parent),
        parent_pid=parent_pid,
    )


def _mail(fields: Fields, evidence: Evidence) -> None:
    """What Exchange protection found, by recipient, and the malware in it."""
    if fields.has("recipients"):
        for recipient in fields.texts("recipients")[:_MAX_RECIPIENTS]:
            evidence.message(sender=fields.text("sender"), recipient=recipient, subject=fields.text("subject"))
    for hit in fields.objects("malware"):
        evidence.malware(hit.text("malwareName"), hit.text("malwareType"))


def _objects(record: Record) -> Iterator[Fields]:
    """Events of the push service: one, several in a call of "addEvents", or in Splunk's envelope."""
    for outer in objects_of(record):
        yield from outer.objects("params.events", "events", "event") or [outer]


def _named(fields: Fields) -> Fields:
    """The same, which can be read by the names of the JSON, and by those of CEF."""
    names: dict[str, Any] = {}
    for key, value in fields.data.items():
        if isinstance(key, str) and (key.startswith(_PREFIX) or not fields.has("deviceVendor")):
            names.setdefault(_HUMP.sub("_", key.removeprefix(_PREFIX)).lower(), value)
    for name, key in _CEF.items():
        if name in names and not fields.has(key) and names[name] not in (None, ""):
            names.setdefault(key, names[name])
    return fields.also(names)
