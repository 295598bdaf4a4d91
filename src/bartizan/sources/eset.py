"""ESET PROTECT: the JSON that its syslog export writes, among it detections of ESET Inspect.

Source: ESET PROTECT documentation, "Events exported to JSON format".
"""

from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, inner_json, objects_of
from bartizan.sources.shape import Paths, Shape

_WORDS: dict[str, Severity] = {
    "information": "informational",
    "notice": "informational",
    "warning": "medium",
    "error": "medium",
    "critical": "high",
    "fatal": "high",
}
_CATEGORIES = {
    "threat_event": "Malware",
    "filteredwebsites_event": "SuspiciousActivity",
    "enterpriseinspectoralert_event": "SuspiciousActivity",
}


class Eset(Shape):
    name = "eset"
    vendor = "ESET"
    product = "PROTECT"
    marks = "event_type=*_event+source_uuid+occured event_type+source_uuid+occured+severity source_uuid+eialarmid"
    sourcetypes = ("eset", "eset:*")
    table = "EsetEvents"
    columns = {"GroupName": "group_name", "EventKind": "event_type"}
    alert = Paths(
        id="eialarmid+source_uuid",
        title="threat_name rule_name rulename event rule_id detail event_type",
        description="detail circumstances event",
        severity="severity",
        words=_WORDS,
        vendor_category="event_type",
        categories=_CATEGORIES,
        detector="rule_name rulename rule_id threat_name event action",
        first="occured occurred",
        threat="threat_name",
        family="threat_type",
        url="eiconsolelink",
        fold="hostname username hash",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        """Also behind the syslog header that the export writes before the JSON."""
        found = objects_of(record)
        begin = record.text.find("{")
        if not found and begin > 0 and isinstance(inside := inner_json(record.text[begin:].rstrip()), dict):
            return [Fields(inside)]
        return found

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("event_type") and fields.has("occured", "occurred", "source_uuid")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        evidence.host(
            fields.text("hostname"),
            addresses=[fields.text("ipv4"), fields.text("ipv6")],
            device_id=fields.text("source_uuid"),
            os=fields.text("os_name"),
        )
        who = evidence.user(fields.text("username", "user", "account"))
        uri = fields.text("object_uri", "target_address") or ""
        path = uri.removeprefix("file:///") if uri.startswith("file:///") else None
        hashes = [fields.text("hash"), fields.text("sha1")]
        target = fields.text("target")
        operated = "hips" in (fields.text("event_type") or "").lower()
        evidence.process(
            None,
            path=fields.text("processname", "process_name") or (target if operated else None),
            hashes=hashes,
            user=who,
            parent_path=fields.text("application") if operated else None,
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
        evidence.ip(fields.text("source_address"), ("source",))
        evidence.ip(fields.text("target_address"), ("destination",))
        evidence.domain(fields.text("target_address", "hostname_target"))
        evidence.malware(fields.text("threat_name"), fields.text("threat_type"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        if fields.flag("threat_handled", "handled") is True:
            alert.tags = [*alert.tags, "handled"]
