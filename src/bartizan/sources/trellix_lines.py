"""Lines of Trellix (McAfee) that are neither XML nor CEF, by the names of ePO's events: what Network Security Manager
forwards by syslog, and rows of ePO's table of events as a database connector writes them.

Source: Trellix Network Security Manager, "Syslog notification" (variables of a message); IBM QRadar, "McAfee Network
Security Platform" (the message with bars); Splunk Add-on for McAfee NSP, "Format specifications"; Splunk Add-on for
McAfee ePO, its query of the table EPOEvents.
"""

import re
from typing import Any

from bartizan.sources import pairs, syslog
from bartizan.sources.fields import Fields, as_text
from bartizan.sources.firewall import says

MANAGER = "Network Security Manager"
_MAX_CHARS = 16_384
_FORWARDER = re.compile(r"\bSyslog(?:Alert|Audit\w{0,8}|Fault|Firewall\w{0,8})Forwarder\b")
# The message with bars, as QRadar asks for it.
_BARS = (
    "alert_id alert_type attack_time attack_name attack_id severity alert_signature confidence admin_domain "
    "device_name interface src_ip src_port dest_ip dest_port direction category"
).split()
_MIN_BARS = 12
# The message that the manager has where nobody made another.
_SENTENCE = re.compile(
    r"(?:Attack )?(?P<attack_name>\S.{2,300}?) \(severity = (?P<severity>[\w ]{1,20})\)\.?\s+"
    r"(?P<src_ip>[0-9A-Fa-f.:]{2,45}?):(?P<src_port>\d{1,5}) -> (?P<dest_ip>[0-9A-Fa-f.:]{2,45}?):(?P<dest_port>\d+)"
    r"(?:,? \(result = (?P<result>[^)]{1,80})\))?"
)
# Names of the manager's variables -> those of ePO's events.
_OF_MANAGER = {
    "alert_id": "alertId",
    "attack_name": "ThreatName",
    "attack_id": "ThreatEventID",
    "attack_time": "DetectedUTC",
    "severity": "threatSeverity",
    "category": "threatType",
    "result": "action",
    "src_ip": "sourceIp",
    "src_port": "SourcePort",
    "dest_ip": "destIp",
    "dest_port": "TargetPort",
    "dest_name": "TargetHostName",
    "src_name": "SourceHostName",
    "file_name": "TargetFileName",
    "file_hash": "md5",
    "virus_name": "malware_name",
    "protocol": "TargetProtocol",
    "user": "User",
    "audit_time": "Timestamp",
    "fault_time": "Timestamp",
}
# Names of the query -> columns of the table.
_OF_TABLE = {
    "AutoID": "id",
    "signature": "ThreatName",
    "threat_type": "ThreatType",
    "signature_id": "ThreatEventID",
    "category": "ThreatCategory",
    "severity_id": "ThreatSeverity",
    "event_description": "NaturalLangDescription",
    "detected_timestamp": "DetectedUTC",
    "file_name": "TargetFileName",
    "vendor_action": "ThreatActionTaken",
    "logon_user": "TargetUserName",
    "user": "UserName",
    "dest_dns": "TargetHostName",
    "fqdn": "MachineName",
    "dest_nt_host": "NodeName",
    "dest_ip": "IPAddress",
    "os": "OSName",
    "process": "SourceProcessName",
    "src_ip": "SourceIPV4",
    "src_dns": "SourceHostName",
    "source_logon_user": "SourceUserName",
    "url": "SourceURL",
    "product": "AnalyzerName",
    "product_version": "AnalyzerVersion",
    "detection_method": "AnalyzerDetectionMethod",
}
_NOTHING = frozenset({"_", "0"})  # beside what no firewall means


def read(text: str) -> Fields | None:
    """What a line says, under its own names and ePO's; None where it is neither kind of line."""
    text = text[:_MAX_CHARS]
    if _FORWARDER.search(text) is not None or "attack_name=" in text:
        line = syslog.read(text)
        said = _of_manager(_FORWARDER.split(line.message)[-1].strip(" :"))
        return _named(said, _OF_MANAGER, of_product=MANAGER, Timestamp=line.time) if said else None
    if "signature_id=" in text and "detected_timestamp=" in text:
        return _named(pairs.read(syslog.read(text).message), _OF_TABLE)
    return None


def _of_manager(message: str) -> dict[str, Any]:
    """In pairs, with bars, or as a sentence."""
    if message.startswith("|"):
        cells = [cell.strip().strip('"') for cell in message.strip("|").split("|")]
        return dict(zip(_BARS, cells, strict=False)) if len(cells) >= _MIN_BARS else {}
    found = _SENTENCE.search(message)
    return found.groupdict() if found is not None else pairs.read(message)


def _named(said: dict[str, Any], names: dict[str, str], **more: str | None) -> Fields:
    told = {name: value for name, value in said.items() if says(value) and as_text(value) not in _NOTHING}
    given = {ours: told[name] for name, ours in names.items() if name in told}
    return Fields(told, {**{name: value for name, value in more.items() if value is not None}, **given})
