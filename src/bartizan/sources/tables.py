"""Tables of the lake that sources of ours fill beside Microsoft's: name -> column -> Kusto type; and how a row is made.

Sources of other tables (DeviceProcessEvents, OfficeActivity, ...) use Microsoft's names and columns.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from bartizan.extend import Event, GraphObject, Record
from bartizan.sources import leftover
from bartizan.sources.entities import file_name
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, clean, inner_json, whole
from bartizan.sources.keys import MAX_DECLARED, paths_of
from bartizan.sources.times import carried, first_time

_COMMON = {
    "Timestamp": "datetime",
    "EventId": "string",
    "EventType": "string",
    "Message": "string",
    "Severity": "string",
    "Outcome": "string",
    "HostName": "string",
    "UserName": "string",
    "SourceIP": "string",
    "SourcePort": "int",
    "DestinationIP": "string",
    "DestinationPort": "int",
    "Protocol": "string",
    "ProcessName": "string",
    "ProcessCommandLine": "string",
    "FileName": "string",
    "SHA256": "string",
    "Url": "string",
    "DomainName": "string",
}
_REST = {"AdditionalFields": "dynamic"}

TABLES: dict[str, dict[str, str]] = {
    "GenericEvents": _COMMON | _REST,
    "SuricataEvents": _COMMON
    | {
        "FlowId": "long",
        "CommunityId": "string",
        "Interface": "string",
        "AppProtocol": "string",
        "HttpMethod": "string",
        "HttpStatus": "int",
        "UserAgent": "string",
        "DnsType": "string",
        "DnsAnswers": "dynamic",
        "TlsSubject": "string",
        "TlsIssuer": "string",
        "Ja3": "string",
        "BytesToServer": "long",
        "BytesToClient": "long",
    }
    | _REST,
    "WazuhEvents": _COMMON | {"AgentId": "string", "Decoder": "string", "Location": "string"} | _REST,
    "CrowdStrikeEvents": _COMMON | {"AgentId": "string", "CustomerId": "string", "Operation": "string"} | _REST,
    "SentinelOneEvents": _COMMON | {"AgentId": "string", "SiteName": "string", "ThreatId": "string"} | _REST,
    "GuardDutyEvents": _COMMON | {"AccountId": "string", "Region": "string"} | _REST,
    "DefenderEvents": _COMMON | {"Category": "string", "TenantId": "string"} | _REST,
    "OktaSystemLog": _COMMON
    | {
        "LegacyEventType": "string",
        "Reason": "string",
        "ActorId": "string",
        "ActorType": "string",
        "ActorDisplayName": "string",
        "TargetNames": "dynamic",
        "City": "string",
        "State": "string",
        "Country": "string",
        "Latitude": "real",
        "Longitude": "real",
        "AsNumber": "int",
        "IsProxy": "bool",
        "UserAgent": "string",
        "SessionId": "string",
        "TransactionId": "string",
        "Risk": "string",
    }
    | _REST,
    "FalcoEvents": _COMMON | {"ContainerId": "string", "PodName": "string", "Namespace": "string"} | _REST,
}

_TYPES = {
    "int": "int",
    "long": "long",
    "real": "real",
    "time": "datetime",
    "flag": "bool",
    "list": "dynamic",
    "dynamic": "dynamic",
}
_MAX_DEPTH = 64  # of a record's JSON, as ingest takes it


def declare_table(name: str, spec: Mapping[str, str]) -> None:
    """A table of one source: the common columns and those of `spec`, whose readers give their types."""
    own = {column: _TYPES.get(words.split(maxsplit=1)[0], "string") for column, words in spec.items()}
    TABLES[name] = {**TABLES.get(name, _COMMON), **own, **_REST}


# Microsoft's tables of Log Analytics have TimeGenerated alone; those of Defender have both.
_TIME_GENERATED_ONLY = frozenset(
    """
    OfficeActivity DnsEvents Syslog CommonSecurityLog SecurityEvent Event AADUserRiskEvents AADRiskyUsers
    AADServicePrincipalRiskEvents AADRiskyServicePrincipals MicrosoftGraphActivityLogs SigninLogs AuditLogs
    IntuneAuditLogs IntuneDevices SecurityAlert SecurityIncident
    AWSCloudTrail AzureActivity AzureDiagnostics StorageBlobLogs StorageFileLogs
    """.split()
)


_READERS: dict[str, Callable[..., Any]] = {
    "text": Fields.text,
    "int": lambda fields, *paths: _small(fields.integer(*paths)),
    "long": Fields.integer,
    "list": lambda fields, *paths: fields.texts(*paths) or None,
    "real": Fields.number,
    "time": first_time,
    "flag": Fields.flag,
    "name": lambda fields, *paths: file_name(fields.text(*paths)),
    "dynamic": lambda fields, *paths: _whole(fields.raw(*paths)),
    "json": lambda fields, *paths: _json(fields.raw(*paths)),
}


_OBJECTS = ("json ", "dynamic ")  # columns that hold an object as it came


def _encoded(value: Any) -> bytes | None:
    """None of nothing."""
    return None if value is None or value in ("", [], {}) else msgspec.json.encode(clean(inner_json(value), _MAX_DEPTH))


def _whole(value: Any) -> Any:
    """A list or object as it came, also one written as JSON in a text."""
    text = _encoded(value)
    return None if text is None else msgspec.json.decode(text)


def _json(value: Any) -> str | None:
    """Its JSON, for columns of Microsoft's that are texts; a text as it is."""
    if isinstance(value, str):
        return whole(value)
    text = _encoded(value)
    return None if text is None else text.decode()


def _small(value: int | None) -> int | None:
    """Kusto's int has 32 bits."""
    return value if value is not None and -(2**31) <= value < 2**31 else None


def columns(fields: Fields, spec: Mapping[str, str]) -> dict[str, Any]:
    """Columns from a table such as {"RemotePort": "int dst.port.number dstPort"}: how to read (else as text), paths."""
    return {name: _read(fields, words)[0] for name, words in spec.items()}


@lru_cache(maxsize=MAX_DECLARED)
def _way(words: str) -> tuple[Callable[..., Any], tuple[str, ...]]:
    """The reader that the first word names, else that of texts, and the paths."""
    paths = paths_of(words)
    return (_READERS[paths[0]], paths[1:]) if paths[0] in _READERS else (Fields.text, paths)


def _read(fields: Fields, words: str) -> tuple[Any, str]:
    """The value of a column, and the path at which it stands."""
    reader, paths = _way(words)
    for path in fields.leading(paths):
        value = reader(fields, path)
        if value is not None:
            return value, path
    return None, ""


def unmade(fields: Fields, spec: Mapping[str, str]) -> dict[str, Any]:
    """The object that a row of `spec`'s columns was made of, as far as its columns tell."""
    made: dict[str, Any] = {}
    for column, words in spec.items():
        value = fields.raw(column)
        if value in (None, ""):
            continue
        *steps, last = _way(words)[1][0].split(".")
        at: Any = made
        for step in steps:
            at = at.setdefault(step, {}) if isinstance(at, dict) else None
        if isinstance(at, dict):
            at.setdefault(last, inner_json(value))
    return made


def row_event(
    table: str, at: str | None, fields: Fields, spec: Mapping[str, str], evidence: Evidence, **more: Any
) -> Event:
    """A row of `spec`'s columns and of `more`, and what they leave of the object under the vendor's names."""
    read = {name: _read(fields, words) for name, words in spec.items()}
    row = {name: value for name, (value, _) in read.items()}
    leftover.observe({name: row[name] for name, words in spec.items() if words.startswith(_OBJECTS)}, evidence)
    shown = {path.lower() for _, path in read.values()}
    return event(table, at, row | more, evidence, fields.rest(frozenset(shown)))


def event(
    table: str,
    at: str | None,
    columns: Mapping[str, Any],
    evidence: Evidence,
    rest: dict[str, Any] | None = None,
) -> Event:
    """A row without its empty columns. Without `at` it has no time: whoever stores it gives it the time of receipt."""
    row = {name: value for name, value in columns.items() if value is not None and value != ""}
    row |= _timed(table, at)
    if rest:
        row["AdditionalFields"] = rest
        leftover.observe(rest, evidence)
    return Event(table=table, row=row, entities=evidence.observed)


def _timed(table: str, at: str | None) -> dict[str, str]:
    """The columns of the time that a table has; none without a time."""
    if at is None:
        return {}
    found = {} if table in _TIME_GENERATED_ONLY else {"Timestamp": at}
    return found if table in TABLES else found | {"TimeGenerated": at}


def came(item: Event | GraphObject, record: Record) -> Event | GraphObject:
    """The row with the time of what carried the record, where it has none of its own."""
    if isinstance(item, Event) and item.row.keys().isdisjoint(("Timestamp", "TimeGenerated")):
        item.row.update(_timed(item.table, carried(record)))
    return item
