"""osquery: results of scheduled queries and the status log are events; hits of YARA and of its attack packs alerts.

Source: osquery documentation, "Logging" (event, snapshot and batch formats), "Remote settings" (TLS logger), "Schema"
(yara, yara_events); packs shipped with osquery.
"""

import re
from collections.abc import Iterable, Iterator

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.shape import Paths, Shape

# Packs of which each row is an artefact of an attack; those named "incident-response" gather facts.
_PACK = re.compile(
    r"pack[_/](?:osx-attacks|windows-attacks|ossec-rootkit|unwanted-chrome-extensions)[_/]", re.IGNORECASE
)
_HASHES = ("sha256", "sha1", "md5", "binary_sha256", "sha256_hash")


class Osquery(Shape):
    name = "osquery"
    vendor = "osquery"
    product = "osquery"
    marks = (
        "name+columns+action hostIdentifier+columns hostIdentifier+calendarTime+unixTime "
        "name+hostIdentifier+snapshot name+diffResults columns+decorations"
    )
    sourcetypes = ("osquery", "osquery:*", "osquery_results", "osquery_info")
    table = "OsqueryEvents"
    wrappers = ("data", "_source")
    columns = {
        "EventType": "Name",  # "name" is how a column reads a path
        "Action": "action",
        "HostName": "decorations.hostname hostIdentifier host_identifier",
        "UserName": "columns.username columns.user decorations.username",
        "Columns": "dynamic columns",
        "Decorations": "dynamic decorations",
        "ProcessName": "columns.path columns.name",
        "ProcessCommandLine": "columns.cmdline columns.command",
        "SourceIP": "columns.local_address",
        "SourcePort": "int columns.local_port",
        "DestinationIP": "columns.remote_address",
        "DestinationPort": "int columns.remote_port",
        "SHA256": "columns.sha256",
    }
    alert = Paths(
        title="name",
        detector="name",
        first="unixTime columns.time calendarTime",
        fold="hostIdentifier columns.path",
        detection_source="customDetection",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        for fields in objects_of(record, *self.wrappers):
            at = fields.raw("unixTime", "calendarTime")
            yield from (row.also({"timestamp": at}) for row in _rows(fields))

    def is_alert(self, fields: Fields) -> bool:
        if (fields.text("action") or "added").lower() == "removed":
            return False
        matches = fields.integer("columns.count") or 0
        return (matches > 0 and fields.has("columns.matches")) or _PACK.match(fields.text("name") or "") is not None

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        row, more = fields.object("columns"), fields.object("decorations")
        identifier = fields.text("hostIdentifier", "host_identifier")
        evidence.host(more.text("hostname") or identifier, device_id=more.text("host_uuid", "uuid"))
        user = evidence.user(row.text("username", "user"), sid=row.text("sid"))
        path, command = row.text("path", "directory"), row.text("cmdline", "command")
        hashes = [row.text(name) for name in _HASHES]
        if row.has("pid", "cmdline", "command"):
            evidence.process(
                command,
                name=row.text("name") if row.has("pid") else None,
                path=path if row.has("pid") else None,
                pid=row.integer("pid"),
                hashes=hashes,
                user=user,
                parent_pid=row.integer("parent"),
            )
        else:
            evidence.file(None, path, hashes)
        near = row.text("local_address"), row.integer("local_port")
        far = row.text("remote_address"), row.integer("remote_port")
        if evidence.flow(*near, *far, row.text("protocol")) is None:
            evidence.ip(far[0], ("destination",))
        evidence.ip(row.text("address", "host"))
        evidence.url(row.text("url"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        rule = fields.text("columns.matches")
        alert.severity = "medium"  # neither the packs nor YARA say one
        alert.category = "Malware"
        alert.categories = ["Malware"]
        if rule is not None:
            alert.title = f"YARA match: {rule}"
            alert.threat_name = rule
            alert.detector_id = rule
            alert.detection_source = "customTi"
            alert.fingerprint = (rule, *alert.fingerprint[1:])


def _rows(fields: Fields) -> Iterator[Fields]:
    """One object a row: a snapshot holds many, a batch those that came and those that went."""
    around = {key: value for key, value in fields.data.items() if key not in ("snapshot", "diffResults")}
    many = [("snapshot", row) for row in fields.each("snapshot")]
    for action in ("added", "removed"):
        many += [(action, row) for row in fields.each(f"diffResults.{action}")]
    for action, row in many:
        yield Fields(around | {"action": action, "columns": row.data})
    if not many:
        yield fields
