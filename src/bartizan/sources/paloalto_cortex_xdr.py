"""Palo Alto Networks Cortex XDR: alerts and incidents of its API and of its syslog and webhook forwarding.

Source: Cortex XDR API, "Get alerts multi-events v2", "Get incident extra data"; Cortex XDR administrator's guide,
"Alert notification format" (CEF).
"""

import re
from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources import attack, common_security_log
from bartizan.sources.entities import domain
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape, Status

_STATUSES: dict[str, Status] = {"status010new": "new", "status020underinvestigation": "inProgress"}
# The names of the API -> the keys and labels under which CEF and LEEF say the same.
_CEF = {
    "source": "deviceEventClassId",
    "category": "cat",
    "alert_id": "externalId",
    "detection_timestamp": "end,rt",
    "host_name": "shost",
    "user_name": "suser",
    "actor_process_image_name": "Initiated by",
    "actor_process_command_line": "Initiator CMD",
    "actor_process_image_path": "initiatorPath",
    "actor_process_image_sha256": "initiatorSha256",
    "causality_actor_process_image_name": "CGO name",
    "causality_actor_process_command_line": "CGO CMD",
    "causality_actor_process_image_sha256": "cgoSha256",
    "action_file_path": "filePath",
    "action_file_sha256": "fileHash",
    "action_local_ip": "src",
    "action_local_port": "spt",
    "action_remote_ip": "dst",
    "action_remote_port": "dpt",
    "alert_link": "request",
}
_AUDIT = "Management Audit Logs"  # what administrators did, in the same form
_FALSE = ("FALSE_POSITIVE", "DUPLICATE", "KNOWN_ISSUE")
_EVENTS = 100
_MAX_TEXT = 16_384
_COMMAND = re.compile(r"Command line:\s+(\S.{0,8000})", re.DOTALL)
_QUOTED = re.compile(r"\"([^\"]{1,256})\"|'([^']{1,256})'")
_PROGRAM = re.compile(r"(?<![\\/\w.-])([\w-]{1,80}\.exe)\b", re.IGNORECASE)
_ADDRESS = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])", re.ASCII)


class CortexXdr(Shape):
    name = "paloalto_cortex_xdr"
    vendor = "Palo Alto Networks"
    product = "Cortex XDR"
    marks = (
        "alert_id+mitre_tactic_id_and_name alert_id+endpoint_id+matching_status "
        "alert_id+causality_actor_causality_id incident_id+xdr_url alert_id+action_pretty+source "
        "reply.alerts reply.incidents reply.incident+reply.alerts alert_id+external_id+host_name "
        "alert_id+actor_process_image_sha256 alert_id+actor_causality_id "
        "alert_id+detection_timestamp+severity incident_id+incident_name+hosts alert_id+events+endpoint_id "
        "alert_id+event_type+actor_process_image_name alert_id+action_local_ip+action_remote_ip "
        "alert_id+agent_install_type agent_hostname+agent_id+event_timestamp "
        "event_timestamp+event_type+os_actor_process_image_name"
    )
    pattern = re.compile(common_security_log.BEGINS + r"Palo Alto Networks\|Cortex XDR")
    sourcetypes = ("pan:xdr*", "cortex:xdr*", "pan:cortex*", "paloalto:cortex*")
    table = "CortexXdrEvents"
    columns = {
        "EndpointId": "endpoint_id agent_id",
        "CaseId": "case_id",
        "EventType": "event_type",
        "HostName": "agent_hostname",
        "UserName": "action_username os_actor_primary_username",
        "Timestamp": "time event_timestamp",
    }
    alert = Paths(
        id="alert_id external_id incident_id",
        title="name alert_name incident_name event_type description",
        description="description",
        severity="severity",
        words={"med": "medium", "sev_020_low": "low", "sev_030_medium": "medium"},
        score="deviceSeverity",
        scale=of_cef,
        vendor_category="category alert_type alert_categories",
        tactics="mitre_tactic_id_and_name mitre_tactics_ids_and_names",
        detector="matching_service_rule_id rule_id name",
        first="event_timestamp events.event_timestamp detection_timestamp creation_time source_insert_ts",
        last="detection_timestamp event_timestamp modification_time",
        created="local_insert_ts creation_time",
        updated="last_modified_ts modification_time",
        status="resolution_status status",
        statuses=_STATUSES,
        assigned="assigned_user_mail",
        sub_provider="source",
        version="agent_version",
        url="alert_link xdr_url",
        tags="tags",
        fold="endpoint_id host_name actor_process_image_sha256",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        events = common_security_log.lines(record, _CEF)
        for event in events:
            users = _QUOTED.findall(event.text("suser") or "")  # of several, a list as in JSON or Python, not escaped
            found = [double or single for double, single in users]
            yield event.also({"users": found, "user_name": None}) if found else event
        for page in [] if events else objects_of(record):
            inner = page.objects("reply.alerts", "alerts.data", "reply.incidents", "reply.data")
            yield from inner or [page]

    def is_alert(self, fields: Fields) -> bool:
        """Also an event of an alert that comes apart from it: it has the alert's id and adds to its evidence."""
        if fields.text("deviceEventClassId") == _AUDIT or _is_event(fields):
            return False
        return fields.has("alert_id", "external_id", "incident_id") or super().is_alert(fields)

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        os = fields.text("agent_os_sub_type", "agent_os_type")
        evidence.host(
            fields.text("agent_fqdn", "host_name", "agent_hostname", "endpoint_name"),
            domain=fields.text("agent_device_domain"),
            addresses=[*fields.texts("host_ip"), *fields.texts("agent_ip_addresses_v6")],
            os=None if os == "NO_HOST" else os,
            device_id=fields.text("endpoint_id"),
        )
        for text in fields.texts("hosts"):
            evidence.host(text.partition(":")[0])
        for text in [*fields.texts("users"), *fields.texts("user_name")]:
            evidence.user(text)
        for path in ("action_username", "os_actor_primary_username") if _is_event(fields) else ():
            evidence.user(fields.text(path))
        for text in fields.texts("host_ip"):
            evidence.ip(text)
        inside = fields.objects("events")[:_EVENTS]
        for event in [fields, *inside]:
            _happened(event, evidence)
        if not inside:
            _told((fields.text("description") or "")[:_MAX_TEXT], evidence)

    def finish(self, fields: Fields, alert: Alert) -> None:
        common_security_log.acted(alert, fields.text("act", "action_pretty", "action"))
        word = fields.text("resolution_status", "status") or ""
        if "RESOLVED" in word.upper():
            alert.status = "resolved"
            if any(reason in word.upper() for reason in _FALSE):
                alert.classification = "falsePositive"
            elif "TRUE_POSITIVE" in word.upper() or "THREAT_HANDLED" in word.upper():
                alert.classification = "truePositive"
        names = fields.texts("mitre_tactic_id_and_name", "mitre_tactics_ids_and_names")
        found = attack.tactics(*(part.strip() for name in names for part in name.split(" - ")))
        if found:
            alert.category, alert.categories = found[0], found


def _is_event(fields: Fields) -> bool:
    """Whether it is one of those that agents report and Cortex hands on, apart from any alert."""
    return fields.has("event_timestamp") and not fields.has(
        "alert_id", "external_id", "incident_id", "severity", "name"
    )


def _told(text: str, evidence: Evidence) -> None:
    """What the sentence of an analytics alert names, where the alert has no events with it."""
    command, program = _COMMAND.search(text), _PROGRAM.search(text)
    if command is not None:
        line = command[1].strip()
        path = line[1:].partition('"')[0] if line.startswith('"') else line.partition(" ")[0]
        evidence.process(line, path=path)
    if program is not None:
        evidence.process(name=program[1])
    for match in list(_ADDRESS.finditer(text.partition("Command line:")[0]))[:_EVENTS]:
        evidence.ip(match[0], ("destination",))


def _happened(event: Fields, evidence: Evidence) -> None:
    """One event of an alert; older alerts hold it flat. Values that are lists speak of several events."""
    user = evidence.user(event.text("user_name", "actor_effective_username"))
    for who in ("actor_process", "causality_actor_process", "os_actor_process", "action_process"):
        evidence.process(
            event.text(f"{who}_command_line", f"{who}_image_command_line"),
            name=event.text(f"{who}_image_name"),
            path=event.text(f"{who}_image_path"),
            pid=event.integer(f"{who}_os_pid"),
            hashes=[event.text(f"{who}_image_sha256"), event.text(f"{who}_image_md5")],
            user=user,
        )
    evidence.file(
        event.text("action_file_name"),
        event.text("action_file_path"),
        [event.text("action_file_sha256"), event.text("action_file_md5")],
    )
    evidence.registry(
        event.text("action_registry_full_key", "action_registry_key_name"),
        event.text("action_registry_value_name"),
        event.text("action_registry_data"),
    )
    here = [text for path in ("action_local_ip", "action_local_ip_v6") for text in event.texts(path)]
    there = [text for path in ("action_remote_ip", "action_remote_ip_v6") for text in event.texts(path)]
    local, remote = next(iter(here), None), next(iter(there), None)
    evidence.flow(local, event.integer("action_local_port"), remote, event.integer("action_remote_port"))
    for text in here[:_EVENTS]:
        evidence.ip(text, ("source",))
    for text in there[:_EVENTS]:
        evidence.ip(text, ("destination",))
    for text in event.texts("malicious_urls")[:_EVENTS]:
        evidence.url(text)
    for path in ("action_external_hostname", "dst_action_external_hostname", "dns_query_name", "fw_url_domain"):
        evidence.domain(domain(event.text(path)))
    evidence.message(
        None,
        sender=event.text("fw_email_sender"),
        recipient=event.text("fw_email_recipient"),
        subject=event.text("fw_email_subject"),
    )
    evidence.container(event.text("container_id"), event.text("container_name"))
    evidence.pod(event.text("pod_name"), event.text("namespace"), cluster=event.text("cluster_name"))
