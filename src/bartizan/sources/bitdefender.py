"""Bitdefender GravityZone: what its event push service sends, as CEF lines or as JSON.

Source: Bitdefender, "GravityZone API", Event Push Service, "Event types"; "GravityZone syslog and CEF".
"""

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
# Modules that keep house: nothing was found.
_HOUSEKEEPING = frozenset(
    "task-status modules registration sva sva-load supa-update-status install uninstall troubleshooting-activity "
    "hwid-change endpoint-moved-in endpoint-moved-out partner-changed".split()
)
_CATEGORIES: Mapping[str, str] = {
    "av": "Malware",
    "exchange-malware": "Malware",
    "storage-antimalware": "Malware",
    "hd": "Malware",
    "avc": "SuspiciousActivity",
    "network-sandboxing": "Malware",
    "ransomware-mitigation": "Ransomware",
    "aph": "Phishing",
    "antiexploit": "Exploit",
    "network-monitor": "Exploit",
    "dp": "Exfiltration",
    "login": "InitialAccess",
}
# What is found, or where: it makes the title of one event differ from that of another.
_WHAT = (
    "BitdefenderGZMalwareName malware_name BitdefenderGZDetectionName detection_name exploit_type "
    "BitdefenderGZExploitType BitdefenderGZThreatName threatName BitdefenderGZAttackTechnique attack_technique "
    "BitdefenderGZAphType aph_type virusName"
)
# JSON's names -> those of CEF.
_CEF = {
    "computer_name": "dvchost",
    "computer_ip": "dvc",
    "file_path": "filePath",
    "filePath": "filePath",
    "exploit_path": "filePath",
    "url": "request",
    "source_ip": "src",
    "sourceIp": "src",
    "victim_ip": "dst",
    "attacker_ip": "src",
    "local_ip": "dst",
    "remote_ip": "src",
    "final_status": "act",
    "main_action": "act",
    "action_taken": "act",
    "process_path": "sproc",
    "parent_process_path": "dproc",
    "port": "spt",
    "hash": "fileHash",
    "last_blocked": "rt",
}


class Bitdefender(Shape):
    name = "bitdefender"
    vendor = "Bitdefender"
    product = "GravityZone"
    alert = Paths(
        id="BitdefenderGZIncidentId incident_id BitdefenderGZDetectionId detection_id",
        title="name event_name taskName module",
        description="msg detection_description BitdefenderGZDetectionDescription",
        severity="severity_word",
        score="BitdefenderGZSeverityScore severity_score severityScore",
        scale=of_hundred,
        vendor_category="BitdefenderGZModule module",
        categories=_CATEGORIES,
        detector="deviceEventClassId module",
        first="BitdefenderGZDetectionTime start created timestamp BitdefenderGZTimestamp detection_time rt syslogTime",
        last="end last_updated rt BitdefenderGZDetectionTime start timestamp",
        version="deviceVersion",
        threat="BitdefenderGZMalwareName malware_name BitdefenderGZDetectionName detection_name",
        fold="dvchost suser filePath",
        status="BitdefenderGZIncidentStatus incident_status",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        lines = cef.records(record)
        return [line.fields for line in lines] if lines else list(_objects(record))

    def is_alert(self, fields: Fields) -> bool:
        module = fields.text("BitdefenderGZModule", "module")
        return fields.has("name", "module") and (module or "").lower() not in _HOUSEKEEPING

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        fqdn = fields.text("BitdefenderGZComputerFQDN", "computer_fqdn")
        evidence.host(
            fqdn,
            addresses=fields.texts("dvc"),
            os=fields.text("BitdefenderGZOS", "os", "BitdefenderGZLoginOS"),
            device_id=fields.text("BitdefenderGZEndpointId", "endpointId", "deviceExternalId", "host_id"),
        )
        common_security_log.entities(fields, evidence)
        user = fields.object("user")
        evidence.user(
            user.text("name") or fields.text("userName", "user_name", "last_user", "BitdefenderGZUserName"),
            sid=user.text("sid", "userSid") or fields.text("userSid", "user_sid"),
        )
        evidence.malware(
            fields.text("BitdefenderGZMalwareName", "malware_name", "BitdefenderGZDetectionName", "detection_name"),
            fields.text("BitdefenderGZMalwareType", "malware_type"),
        )
        path = common_security_log.single_slashes(
            fields.text("BitdefenderGZProcessPath", "BitdefenderGZParentPath", "process_path", "parent_process_path")
        )
        evidence.process(
            fields.text("BitdefenderGZProcessCommandLine", "process_command_line"),
            path=path,
            pid=fields.integer("BitdefenderGZProcessPid", "BitdefenderGZParentPid", "process_pid", "parent_process_id"),
        )
        for hit in fields.objects("urls", "detectionsList"):
            evidence.url(hit.text("url"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        what = fields.text(*_WHAT.split())
        if what is not None and what not in alert.title:
            alert.title = f"{alert.title}: {what}"
        if not fields.has("BitdefenderGZSeverityScore", "severity_score", "severityScore"):
            alert.severity = of_cef(fields.number("deviceSeverity", "severity"))
            alert.vendor_severity = fields.text("deviceSeverity", "severity")
        common_security_log.acted(alert, fields.text("act", "BitdefenderGZMainAction", "main_action"))

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        yield from common_security_log.told(fields, self.entities)


def _objects(record: Record) -> Iterator[Fields]:
    """Events of the push service's JSON, which can be read by CEF's keys as well."""
    for outer in objects_of(record):
        inner = outer.objects("params.events", "events", "event") or [outer]
        for fields in inner:
            beside: dict[str, Any] = {key: fields.raw(name) for name, key in _CEF.items() if fields.has(name)}
            yield Fields(fields.data, beside)
