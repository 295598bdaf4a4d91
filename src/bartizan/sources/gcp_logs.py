"""Entries of Cloud Logging that are no audit logs: of networks, names, load balancers, Cloud IDS, and lines of text.

Source: Google Cloud, "VPC Flow Logs records", "Firewall Rules Logging", "Cloud DNS logging", "Cloud NAT logging",
"Cloud IDS logging", "Cloud Armor request logging", "LogEntry", "HttpRequest".
"""

from collections.abc import Mapping
from typing import NamedTuple

from bartizan.extend import Event
from bartizan.model.alert import Alert
from bartizan.sources import common_security_log
from bartizan.sources import entities as names
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.tables import columns, event
from bartizan.sources.times import first_time

_MAX_LINE_CHARS = 8_192
_MAX_ADDRESSES = 20
_SOURCE = "connection.src_ip sourceIP source_ip_address src_ip".split()
_TARGET = "connection.dest_ip destination_ip_address destinationIP dest_ip".split()
_USED = frozenset({"insertid", "logname", "severity", "timestamp"})


class _Entry(Shape):
    """An entry that tells of an attack."""

    vendor = "Google"

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        entities(fields, evidence)


class _Ids(_Entry):
    """A threat that Cloud IDS found in the traffic."""

    product = "Cloud IDS"
    alert = Paths(
        id="insertId",
        title="jsonPayload.name jsonPayload.threat_id",
        description="jsonPayload.details",
        severity="jsonPayload.alert_severity",
        category="Exploit",
        vendor_category="jsonPayload.type",
        categories={
            "spyware": "CommandAndControl",
            "virus": "Malware",
            "wildfire-virus": "Malware",
            "vulnerability": "Exploit",
        },
        detector="jsonPayload.threat_id",
        first="jsonPayload.alert_time timestamp",
        cves="jsonPayload.cves",
        fold="jsonPayload.source_ip_address jsonPayload.destination_ip_address",
    )


class _Armor(_Entry):
    """A request that Cloud Armor denied by a rule for known attacks."""

    product = "Cloud Armor"
    alert = Paths(
        id="insertId",
        title="jsonPayload.enforcedSecurityPolicy.name",
        category="Exploit",
        vendor_category="jsonPayload.statusDetails",
        detector="jsonPayload.enforcedSecurityPolicy.preconfiguredExprIds jsonPayload.enforcedSecurityPolicy.name",
        first="timestamp",
        fold="httpRequest.remoteIp jsonPayload.enforcedSecurityPolicy.name",
    )

    def finish(self, fields: Fields, alert: Alert) -> None:
        rules = fields.texts("jsonPayload.enforcedSecurityPolicy.preconfiguredExprIds")
        alert.title = f"Request denied by {', '.join(rules[:3])}"
        alert.severity = "low"  # it was denied
        common_security_log.acted(alert, "blocked")


_IDS = _Ids()
_ARMOR = _Armor()


def reader(fields: Fields) -> Shape | None:
    """Who reads an entry that says that an attack was found; None for all others."""
    payload = fields.object("jsonPayload")
    if payload.has("threat_id") and payload.has("alert_severity"):
        return _IDS
    policy = payload.object("enforcedSecurityPolicy")
    denied = (policy.text("outcome") or "").upper() == "DENY"
    return _ARMOR if denied and policy.has("preconfiguredExprIds") else None


class _Flow(NamedTuple):
    source: str | None
    source_port: int | None
    target: str | None
    target_port: int | None
    protocol: str | None


def _flow(payload: Fields, request: Fields) -> _Flow:
    """Who spoke with whom, of each kind of log in its own words."""
    connection = payload.object("connection")
    return _Flow(
        payload.text(*_SOURCE) or request.text("remoteIp"),
        connection.integer("src_port") or payload.integer("source_port"),
        payload.text(*_TARGET),
        connection.integer("dest_port") or payload.integer("destination_port"),
        connection.text("protocol") or payload.text("ip_protocol", "protocol"),
    )


def entities(fields: Fields, evidence: Evidence) -> None:
    """What an entry names in the keys that Google's logs share."""
    payload, request = fields.object("jsonPayload"), fields.object("httpRequest")
    flow = _flow(payload, request)
    evidence.flow(*flow)
    evidence.ip(flow.source, ("source",))
    evidence.ip(flow.target or request.text("serverIp"), ("destination",))
    for path in ("instance", "src_instance", "dest_instance", "endpoint"):
        evidence.host(payload.text(f"{path}.vm_name"))
    evidence.host((payload.text("vmInstanceName") or "").rpartition(".")[2] or None)
    answer = (payload.text("rdata") or "").split()
    evidence.domain((payload.text("queryName") or "").rstrip(".") or None, answer[-1:])
    evidence.url(request.text("requestUrl"))
    labels = fields.object("resource.labels")
    evidence.observe("resource", labels.text("project_id"), "project")
    evidence.observe("resource", labels.text("instance_id", "cluster_name"), fields.text("resource.type") or "")
    evidence.pod(labels.text("pod_name"), labels.text("namespace_name"), cluster=labels.text("cluster_name"))
    for text in names.addresses_in((fields.text("textPayload") or "")[:_MAX_LINE_CHARS], _MAX_ADDRESSES):
        evidence.ip(text)


def row(fields: Fields, table: str, spec: Mapping[str, str]) -> Event:
    """A row of the table of audit logs: the entry's own columns, and who spoke with whom."""
    payload, request, evidence = fields.object("jsonPayload"), fields.object("httpRequest"), Evidence()
    entities(fields, evidence)
    flow = _flow(payload, request)
    said = columns(fields, spec) | {
        "EventId": fields.text("insertId"),
        "EventType": (fields.text("logName") or "").rpartition("/")[2] or None,
        "Message": fields.text("textPayload") or payload.text("message", "msg"),
        "Outcome": payload.text("disposition", "responseCode", "statusDetails") or request.text("status"),
        "HostName": payload.text("instance.vm_name", "src_instance.vm_name", "dest_instance.vm_name"),
        "SourceIP": names.address(flow.source),
        "SourcePort": flow.source_port,
        "DestinationIP": names.address(flow.target),
        "DestinationPort": flow.target_port,
        "Protocol": flow.protocol,
        "DomainName": names.domain((payload.text("queryName") or "").rstrip(".") or None),
        "Url": request.text("requestUrl"),
        "UserAgent": request.text("userAgent"),
    }
    at = first_time(fields, "timestamp", "receiveTimestamp")
    return event(table, at, said, evidence, fields.rest(_USED))
