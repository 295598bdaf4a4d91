"""Vectra AI: detections, scorings, campaigns and audits of Cognito and Respond UX, as JSON in syslog or as CEF.

Source: Vectra, "Syslog guide", "REST API v3: detections".
"""

import re
from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources import cef
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.shape import Paths, Shape

_CATEGORIES = {
    "command & control": "CommandAndControl",
    "command_and_control": "CommandAndControl",
    "reconnaissance": "Discovery",
    "lateral movement": "LateralMovement",
    "lateral_movement": "LateralMovement",
    "exfiltration": "Exfiltration",
    "botnet activity": "Impact",
    "botnet_activity": "Impact",
}
_MAX = 50  # addresses, hosts of one list
_SCORINGS = frozenset({"hsc", "asc"})  # of CEF, which have the id of the host or account
_AUDITS = (("role", "result"), ("user_role", "result_status"))  # keys of an entry of the audit log, older and newer


def of_score(score: float | None) -> Severity:
    """0 to 100."""
    if score is None or score < 0:
        return "unknown"
    return "high" if score >= 80 else "medium" if score >= 50 else "low" if score >= 20 else "informational"


_SAAS = re.compile(r"(?:O365|M365|AzureAD|Azure|AWS|GCP):(?=[^:@/\\\s]{1,128}@)")  # where an account is of
_LOCKDOWN = "LOCKDOWN"
# Where the other end of a connection stands, by address and by name.
_OUTER = (
    "dd_dst_ip", "dst_ip", "dest_ip", "detail.dst_ip", "detail.external_target.ip", "summary.dst_ips",
    "grouped_details.dst_ips",
)  # fmt: skip
_OUTER_NAMES = (
    "dd_dst_dns", "detail.dst_dns", "detail.external_target.name", "dst_dns", "dest_name", "dest_hostname",
    "proxied_dst",
)  # fmt: skip


class Vectra(Shape):
    name = "vectra"
    vendor = "Vectra"
    product = "Cognito"
    marks = (
        "detection_id+d_type_vname d_type_vname+category entity_uid+certainty+threat headend_addr+dvchost "
        "vectra_timestamp d_type+threat+certainty host_name+quadrant account_uid+quadrant "
        "version+result+source_ip+role detection_id+detection_href audit_type+headend_addr "
        "detection_category+threat+certainty detection_type+threat+certainty "
        "event_action+user_role+result_status urgency_score+is_prioritized entity_name+lock_event_timestamp"
    )
    pattern = re.compile(r"CEF:\d\|Vectra")
    sourcetypes = ("vectra:*", "vectra")
    table = "VectraEvents"
    columns = {"DetectionType": "d_type d_type_vname", "Threat": "int threat", "Certainty": "int certainty"}
    wrappers = ("results", "events")
    alert = Paths(
        id="detection_id+d_type_vname detection_id+detection_type id+detection_type detection_id event_id id",
        title="d_type_vname detection_type d_type type category reason message",
        description="message summary.description campaign_name",
        severity="quadrant",
        score="threat threat_score urgency_score severity",
        scale=of_score,
        vendor_category="category detection_category",
        categories=_CATEGORIES,
        detector="d_type detection_type d_type_vname type category",
        first="detail.first_timestamp first_timestamp vectra_timestamp event_timestamp timestamp "
        "last_detection_timestamp",
        last="detail.last_timestamp last_timestamp event_timestamp vectra_timestamp",
        status="state status",
        statuses={"active": "new", "inactive": "resolved", "fixed": "resolved"},
        url="href url detection_href detection_url",
        confidence="certainty",
        version="version",
        tags="tags",
        fold="host_name host_ip account_uid dd_dst_ip entity_id",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        found = [_of_cef(event) for event in cef.records(record)] or objects_of(record, "results", "events")
        locked = ((one, one.raw("lock_event_timestamp")) for one in found)
        return [one if at is None else one.also({"timestamp": at}) for one, at in locked]

    def is_alert(self, fields: Fields) -> bool:
        if fields.has("urgency_score", "is_prioritized") and not fields.has("d_type", "detection_type", "detection_id"):
            return fields.flag("is_prioritized") is not False  # how urgent an entity is
        return fields.has("category", "d_type", "detection_type", "campaign_id", "message", "headend_addr")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        own = fields.text("host_ip", "src_ip", "entity_ip")
        evidence.host(fields.text("host_name", "src_name"), addresses=[own])
        evidence.ip(own, ("source",))
        host = fields.object("src_host")
        evidence.host(host.text("name"), addresses=[host.text("ip")])
        for path in ("account_uid", "locked_by", "unlocked_by", "user", "username", "account_name", "src_account.name"):
            evidence.user(fields.text(path))
        for name in (fields.text("accounts") or "").split(",")[:_MAX]:
            evidence.user(name.strip() or None)
        for path in _OUTER:
            for text in fields.texts(path)[:_MAX]:
                evidence.ip(text, ("destination",))
        for path in _OUTER_NAMES:
            evidence.domain(fields.text(path))
        evidence.flow(
            own,
            None,
            fields.text("dd_dst_ip", "dest_ip", "dst_ip"),
            fields.integer("dd_dst_port", "dst_port", "dest_port"),
            fields.text("dd_proto", "proto"),
        )
        evidence.ip(fields.text("source_ip"), ("source",))
        evidence.ip(fields.text("headend_addr"))
        _targets(fields.object("summary"), evidence)
        for part in fields.objects("grouped_details")[:_MAX]:
            _targets(part, evidence)
            for item in part.objects("dst_hosts")[:_MAX]:
                evidence.host(item.text("name"), addresses=[item.text("ip")], roles=("destination",))
        for item in fields.objects("host_access_history")[:_MAX]:
            evidence.host(item.text("name"))
        entity = fields.text("entity_uid", "entity_name") or (
            fields.text("name") if fields.has("urgency_score") else None
        )
        entity = _SAAS.sub("", entity or "") or None
        if fields.text("entity_type", "type") == "account":
            evidence.user(entity)
        else:
            evidence.host(entity)

    def finish(self, fields: Fields, alert: Alert) -> None:
        older = fields.number("severity")
        if older is not None and not fields.has("threat", "threat_score", "urgency_score"):
            alert.severity = of_score(older * 10)  # it counts to 10
        if any(all(fields.has(name) for name in names) for names in _AUDITS):
            alert.title = f"Audit: {(fields.text('message') or alert.title)[:200]}"
            alert.severity = "informational"
        if (fields.text("category") or "").upper() == _LOCKDOWN:
            alert.title = f"Lockdown: {fields.text('action') or 'changed'}"
            alert.severity = "informational"  # what the product or somebody did about an entity
        elif (entity := _scored(fields)) is not None:
            alert.title = f"{entity} scored {alert.vendor_severity or alert.severity}"
        if fields.flag("triaged", "is_triaged") is True:
            alert.classification = "informationalExpectedActivity"


def _targets(part: Fields, evidence: Evidence) -> None:
    """Where outside a host went, as the API sums it up."""
    for text in part.texts("target_domains")[:_MAX]:
        evidence.domain(text)
    for item in part.objects("external_target")[:_MAX]:
        evidence.ip(item.text("ip"), ("destination",))
        evidence.domain(item.text("name"))


def _scored(fields: Fields) -> str | None:
    """The host or account of which the record says how it scores."""
    category = (fields.text("category") or "").upper().replace("_", " ")
    if category not in ("HOST SCORING", "ACCOUNT SCORING") and not fields.has("urgency_score", "is_prioritized"):
        return None
    if fields.has("d_type", "detection_type", "detection_id"):
        return None
    return fields.text("host_name", "account_uid", "entity_uid", "name")


def _of_cef(event: cef.Cef) -> Fields:
    """By the names of the JSON: how a host or an account scores, a detection, a campaign, an entry of the audit log."""
    said, kind = event.fields, event.signature
    is_audit = "audit" in kind.lower()
    names = {
        "d_type": kind,
        "d_type_vname": event.name,
        "detection_id": said.raw("externalId") if kind not in _SCORINGS else None,
        "host_name": said.raw("shost"),
        "host_ip": said.raw("src") if not is_audit else None,
        "source_ip": said.raw("src") if is_audit else None,
        "account_uid": said.raw("suser"),
        "dd_dst_ip": said.raw("dst") if said.raw("dst") != said.raw("src") else None,
        "dd_dst_dns": said.raw("dhost"),
        "headend_addr": said.raw("dvc"),
        "category": said.raw("cat"),
        "href": said.raw("Vectra Event URL"),
        "first_timestamp": said.raw("start", "rt"),
        "last_timestamp": said.raw("end", "rt"),
        "message": said.raw("msg", "reason"),
        "severity": event.severity,
    }
    if is_audit:
        names |= {"role": said.raw("spriv") or "unknown", "result": said.raw("outcome") or "unknown"}
    return Fields({**said.data, **{name: value for name, value in names.items() if value is not None}})
