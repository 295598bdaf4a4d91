"""Any record: a JSON object becomes an event by the key names that are common, a line of text by its syslog header.

It serves records of no known format, and what a known source cannot place.
Source: RFC 3164, section 4.3.3 (facility and severity of a line without them); Elastic Common Schema (names of fields).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from bartizan.extend import SOURCES, Event, GraphObject, Record, Source
from bartizan.model.alert import Alert
from bartizan.sources import cef, device_lines, envelopes, leef, syslog
from bartizan.sources.entities import addresses, domain
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.tables import event
from bartizan.sources.times import first_time

MAX_LINE_CHARS = 32_768  # of a line of text that are kept in a row; the raw record holds it whole
MAX_LINE_ADDRESSES = 20

_TIME = (
    "@timestamp", "timestamp", "time", "event.created", "eventTime", "event_time", "_time", "ts", "datetime", "date",
    "TimeGenerated", "CreationTime", "createdDateTime", "createdAt", "created_at", "created", "published",
    "detection_timestamp", "occurred_at", "startTime", "start_time", "p_event_time", "UTCTimestamp", "receivedAt",
    "date_create", "create_time",
)  # fmt: skip
_HOST = (
    "host.name", "host.hostname", "hostname", "host", "computer_name", "computerName", "computer", "deviceName",
    "device_name", "device.hostname", "device.name", "device", "agent.hostname", "agent.name", "endpoint.name",
    "machineName", "dvchost", "shost",
)  # fmt: skip
_USER = (
    "user.name", "user.email", "user.id", "username", "userName", "user_name", "user", "user_email",
    "userPrincipalName", "upn", "email", "accountName", "account_name", "actor.alternateId", "actor.email", "actor",
    "principal", "suser", "srcuser",
)  # fmt: skip
_SOURCE = (
    "source.ip", "src_ip", "srcip", "sourceIp", "source_ip", "sourceAddress", "client.ip", "client.ipAddress",
    "client_ip", "clientIp", "sourceIPAddress", "callerIp", "remote_ip", "remoteIp", "ipAddress", "ip_address", "ip",
    "src", "id.orig_h",
)  # fmt: skip
_TARGET = (
    "destination.ip", "dest_ip", "dstip", "destinationIp", "destination_ip", "destIp", "dst_ip", "server.ip", "dst",
    "id.resp_h",
)  # fmt: skip
_SOURCE_PORT = ("source.port", "src_port", "srcport", "sourcePort", "spt", "id.orig_p")
_TARGET_PORT = ("destination.port", "dest_port", "dstport", "destinationPort", "dpt", "id.resp_p")
_COMMAND = ("process.command_line", "commandLine", "command_line", "cmdline", "cmdLine")
_IMAGE = ("process.executable", "process.name", "processName", "process_name", "image", "exe")
_HASHES = ("file.hash.sha256", "sha256", "SHA256String", "file.hash.sha1", "sha1", "file.hash.md5", "md5", "hash")
_URL = ("url.full", "url.original", "url", "request_url", "requestUrl", "uri")
_DOMAIN = ("dns.question.name", "domain", "domainName", "query", "destination.domain", "url.domain")
_KIND = (
    "event.action",
    "eventType",
    "event_type",
    "eventName",
    "event_name",
    "type",
    "action",
    "operation",
    "category",
    "name",
)
_TEXT = ("message", "msg", "displayMessage", "description", "summary", "title", "text", "log")
_ID = ("event.id", "uuid", "id", "eventId", "event_id", "eventID")
_LISTS = ("related.ip", "all_recent_ips", "ips", "ipAddresses")

_IPV4 = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])", re.ASCII)


def guess_event(
    fields: Fields, table: str, evidence: Evidence | None = None, columns: Mapping[str, Any] | None = None
) -> Event:
    """An event of a table of ours, from the key names that are common; a source that knows better gives the entities,
    or some columns."""
    if evidence is None:
        evidence = guess_entities(fields)
    guessed = {
        "EventId": fields.text(*_ID),
        "EventType": fields.text(*_KIND),
        "Message": fields.text(*_TEXT),
        "Severity": fields.text("severity", "level", "priority", "log.level"),
        "HostName": fields.text(*_HOST),
        "UserName": fields.text(*_USER),
        "SourceIP": fields.text(*_SOURCE),
        "SourcePort": fields.integer(*_SOURCE_PORT),
        "DestinationIP": fields.text(*_TARGET),
        "DestinationPort": fields.integer(*_TARGET_PORT),
        "Protocol": fields.text("network.transport", "proto", "protocol"),
        "ProcessName": fields.text(*_IMAGE),
        "ProcessCommandLine": fields.text(*_COMMAND),
        "SHA256": fields.text("file.hash.sha256", "sha256"),
        "Url": fields.text(*_URL),
        "DomainName": domain(fields.text(*_DOMAIN)),
    }
    known = {name: value for name, value in (columns or {}).items() if value is not None}
    at = known.get("Timestamp") or first_time(fields, *_TIME)
    return event(table, at, guessed | known, evidence, fields.rest())


def guess_entities(fields: Fields) -> Evidence:
    """The entities under the key names that are common."""
    evidence = Evidence()
    evidence.host(fields.text(*_HOST))
    evidence.user(fields.text(*_USER))
    evidence.ip(fields.text(*_SOURCE), ("source",))
    evidence.ip(fields.text(*_TARGET), ("destination",))
    for text in addresses(text for path in _LISTS for text in fields.texts(path)):
        evidence.ip(text)
    evidence.process(fields.text(*_COMMAND), path=fields.text(*_IMAGE))
    evidence.file(hashes=[fields.text(path) for path in _HASHES])
    evidence.url(fields.text(*_URL))
    evidence.domain(fields.text(*_DOMAIN))
    return evidence


def line_event(text: str, table: str) -> Event:
    """An event from a line of text: of Syslog where it has such a header, else of `table`."""
    evidence = Evidence()
    shown = text[:MAX_LINE_CHARS]
    rest: dict[str, Any] = {"cutFields": ["Message"]} if len(text) > MAX_LINE_CHARS else {}
    for match in list(_IPV4.finditer(shown))[:MAX_LINE_ADDRESSES]:
        evidence.ip(match[0])
    line = syslog.read(shown)
    if line.priority is None and line.app is None:
        return event(table, line.time, {"Message": shown}, evidence, rest)
    evidence.host(line.host)
    columns = {
        "Computer": line.host,
        "HostName": line.host,
        "EventTime": line.time,
        "Facility": line.facility or "user",
        "SeverityLevel": line.level or "notice",
        "ProcessName": line.app,
        "ProcessID": int(line.pid) if line.pid and line.pid.isdecimal() and len(line.pid) < 10 else None,
        "SyslogMessage": line.message,
    }
    if line.structured:
        rest["StructuredData"] = line.structured
    return event("Syslog", line.time, columns, evidence, rest)


def unread(record: Record, table: str) -> Iterator[Alert | Event | GraphObject]:
    """A record in which a source finds nothing of its own form: what it says in CEF or LEEF, as products that ship JSON
    do as well where a collector asks for it, or in words that are read as CEF; else the line as an event of the table.
    """
    packed = envelopes.packs(record.data)
    if ("CEF:" in record.text or packed) and cef.records(record):
        yield from SOURCES["cef_generic"].normalise(record)
    elif ("LEEF:" in record.text or packed) and leef.records(record):
        yield from SOURCES["leef_generic"].normalise(record)
    elif record.data is None and device_lines.read(record.text):
        yield from SOURCES["cef_generic"].normalise(record)
    elif isinstance(record.data, dict):
        yield guess_event(Fields(record.data), table)
    else:
        yield line_event(record.text, table)


def unplaced(record: Record, table: str) -> Iterator[Alert | Event | GraphObject]:
    """A record that a source cannot read at all, as events of its table."""
    items = record.data if isinstance(record.data, list) else [record.data]
    for item in items or [None]:
        if isinstance(item, dict):
            yield guess_event(Fields(item), table)
        else:
            yield from unread(record, table)


class Generic(Source):
    name = "generic"
    vendor = "Unknown"
    product = "Unknown"

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        yield from unplaced(record, "GenericEvents")
