"""An event of the Windows event log, whichever agent wrote it down: rendered XML, JSON of evtx tools, winlogbeat,
NXLog, Fluent Bit, Azure Monitor, Wazuh's agent, Splunk's forwarder, or Snare's lines.

Source: Windows Event Log, "Event schema"; Elastic, winlogbeat "exported fields"; NXLog, "im_msvistalog"; Azure Monitor,
"SecurityEvent", "Event"; Snare, "Windows event log format".
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from bartizan.extend import Record
from bartizan.sources import pairs, syslog, windows_message, xml_records
from bartizan.sources.fields import Fields, objects_of, opened, texts_of
from bartizan.sources.times import first_time, when

MAX_EVENTS = 1_000  # of one record

# Of flat JSON: what the system says, which is no part of the event's own data.
_SYSTEM = frozenset(
    """
    channel eventid event_id eventrecordid recordnumber record_id computer hostname computername computer_name host
    sourcename providername provider_name eventsourcename source_name source provider providerguid provider_guid
    eventtime timegenerated timecreated systemtime eventreceivedtime level eventlevel eventlevelname severity
    severityvalue eventtype keywords opcode opcodevalue task version message rendereddescription sourcemodulename
    sourcemoduletype threadid eventlog log_name category activityid _resourceid type tenantid sourcesystem
    managementgroupname storageaccount eventdata userdata stringinserts qualifiers activity timewritten correlation
    execution security
    """.split()
)


class WindowsEvent(NamedTuple):
    """Instants are wire texts. `data` are EventData and UserData; `raw` is the whole as it came."""

    channel: str | None
    provider: str | None
    event_id: int | None
    computer: str | None
    time: str | None
    record_id: str | None
    level: int | None  # 0 and 4 information, 1 critical, 2 error, 3 warning, 5 verbose
    message: str | None
    sid: str | None  # of the account under which it was written
    process_id: int | None  # of the process that wrote it
    data: Fields
    raw: Fields


def read(record: Record) -> list[WindowsEvent]:
    """The events of a record; none where it is no such event."""
    found = list(_found(record))[:MAX_EVENTS]
    return [_whole(event) for event in found if event.event_id is not None or event.channel is not None]


def _whole(event: WindowsEvent) -> WindowsEvent:
    """Of Sysmon, Defender and the audit of security the message says what EventData does; where that is missing, it
    stands for it."""
    about = (event.provider or "").lower().replace("-", " ")
    if event.message and any(word in about for word in _SAY_ALL) and not event.data.data.keys() - _OF_SNARE:
        said = windows_message.said(event.message, event.provider)
        return event._replace(data=Fields({**event.data.data, **said})) if said else event
    return event


def _found(record: Record) -> Iterator[WindowsEvent]:
    record = opened(record)
    if record.data is None:
        yield from _of_text(record.text)
        return
    objects = objects_of(record, "Records", "records", "events", "value")
    for fields in objects[:MAX_EVENTS]:
        event = _of_object(fields)
        if event is not None:
            yield event
    if not objects or all(_of_object(fields) is None for fields in objects):
        for text in texts_of(record, "EventData", "xml", "Xml", "event_xml"):
            yield from _of_text(text)


def _of_text(text: str) -> Iterator[WindowsEvent]:
    if "MSWinEventLog" in text[:2_048]:
        yield _of_snare(text)
        return
    if "EventCode=" in text[:2_048] and "LogName=" in text[:2_048]:
        yield _of_splunk(text)
        return
    if "<" not in text:
        return
    top = Fields(xml_records.read(text))
    for fields in top.objects("Event", "Events.Event"):
        yield _of_parts(fields.object("System"), fields, fields)


def _of_object(fields: Fields) -> WindowsEvent | None:
    for path in ("Event", "event", "data.win", "win", "winlog", "_source.winlog", "properties", "data"):
        inner = fields.object(path)
        if inner.has("System", "system"):
            return _of_parts(inner.object("System"), inner, fields)
        if path.endswith("winlog") and inner.has("event_id", "channel"):
            return _of_beat(inner, fields)
        if path == "properties" and inner.has("EventID", "EventId") and inner.has("Channel", "EventData", "Source"):
            return _of_flat(inner)
    if fields.has("System") and fields.object("System").has("EventID", "Channel"):
        return _of_parts(fields.object("System"), fields, fields)
    if "event_id" in fields.data and fields.has("event_data", "log_name"):  # as Beats spell it
        return _of_beat(fields, fields)
    if fields.has("EventID", "EventId") and fields.has(
        "Channel", "SourceName", "EventSourceName", "EventLog", "ProviderName", "EventData", "Computer", "Hostname"
    ):
        return _of_flat(fields)
    return None


def _of_parts(system: Fields, event: Fields, whole: Fields) -> WindowsEvent:
    """System and EventData apart, as in the XML."""
    provider = system.object("Provider")
    return WindowsEvent(
        channel=system.text("Channel"),
        provider=provider.text("Name", "#attributes.Name") or system.text("providerName", "Provider_attributes.Name"),
        event_id=system.integer("EventID", "EventID.#text", "EventID.Value"),
        computer=system.text("Computer"),
        time=first_time(
            system,
            "TimeCreated.SystemTime",
            "TimeCreated.#attributes.SystemTime",
            "TimeCreated_attributes.SystemTime",
            "systemTime",
            "TimeCreated",
        ),
        record_id=system.text("EventRecordID"),
        level=system.integer("Level"),
        message=event.text("RenderingInfo.Message", "Message") or system.text("message"),
        sid=system.text("Security.UserID", "Security.#attributes.UserID", "Security_attributes.UserID"),
        process_id=system.integer(
            "Execution.ProcessID", "Execution.#attributes.ProcessID", "Execution_attributes.ProcessID", "processID"
        ),
        data=_data(event, "EventData", "UserData", "eventdata"),
        raw=whole,
    )


def _of_beat(log: Fields, whole: Fields) -> WindowsEvent:
    return WindowsEvent(
        channel=log.text("channel", "log_name"),
        provider=log.text("provider_name", "source_name"),
        event_id=log.integer("event_id"),
        computer=log.text("computer_name") or whole.text("host.name", "host.hostname"),
        time=first_time(whole, "@timestamp", "event.created"),
        record_id=log.text("record_id", "record_number"),
        level=_LEVELS.get((whole.text("log.level", "level") or "").lower()),
        message=whole.text("message"),
        sid=log.text("user.identifier"),
        process_id=log.integer("process.pid", "process_id"),
        data=_data(log, "event_data", "user_data"),
        raw=whole,
    )


def _of_flat(fields: Fields) -> WindowsEvent:
    """Everything side by side, as NXLog, Fluent Bit and Azure Monitor write it."""
    # "ProcessID" is the process that wrote the event, "ProcessId" one of which it tells.
    data = {key: value for key, value in fields.data.items() if key.lower() not in _SYSTEM and key != "ProcessID"}
    inside = _data(fields, "EventData", "UserData").data
    if not inside and "<" in (text := fields.text("EventData", "ParameterXml") or ""):
        top = Fields(xml_records.read(text))
        inside = (top.object("DataItem.EventData") or top.object("EventData", "UserData")).data
    severity = fields.text("EventLevelName", "Level", "EventType", "Severity")
    return WindowsEvent(
        channel=fields.text("Channel", "EventLog"),
        provider=fields.text("SourceName", "ProviderName", "EventSourceName", "Source", "Provider"),
        event_id=fields.integer("EventID", "EventId"),
        computer=fields.text("Hostname", "Computer", "ComputerName"),
        time=first_time(fields, "EventTime", "TimeCreated", "SystemTime", "TimeGenerated"),
        record_id=fields.text("RecordNumber", "EventRecordID", "EventRecordId"),
        level=fields.integer("EventLevel", "Level") or _LEVELS.get((severity or "").lower()),
        message=fields.text("Message", "RenderedDescription"),
        sid=fields.text("UserID", "UserId"),
        process_id=fields.integer("ProcessID", "ExecutionProcessID"),
        data=Fields({**data, **inside}),
        raw=fields,
    )


_LEVELS = {
    "critical": 1,
    "error": 2,
    "audit_failure": 0,
    "warning": 3,
    "info": 4,
    "information": 4,
    "informational": 4,
    "audit_success": 0,
    "verbose": 5,
    "debug": 5,
}


# Snare's line where a relay made one space of each tab.
_SNARE = re.compile(
    r"(MSWinEventLog)\s+(\S+)\s+(\S.{0,100}?)\s+(\d{1,12})\s+([A-Z][a-z]{2} [A-Z][a-z]{2} +\d{1,2} [\d:]{8} \d{4})"
    r"\s+(\d{1,6})\s+(Service Control Manager|Microsoft-Windows-Windows Defender|\S.{0,120}?)\s+(N/A|\S.{0,120}?)\s+"
    r"(N/A|User|Group|Domain|Alias|Well[ -]Known Group|Deleted Account|Invalid|Unknown|Computer)\s+"
    r"((?:Success|Failure) Audit|Audit (?:Success|Failure)|Information|Warning|Error|Critical|Verbose)"
    r"\s+(\S+)(?:\s+(\S.{0,80}?(?=\s{2}|\t| (?:A|An|The|This|Special|Windows|User|Kerberos)\s)))?(\s{2,}|\t| )(.*)",
    re.ASCII | re.DOTALL,
)
_SAY_ALL = ("sysmon", "defender", "security auditing")  # providers
_OF_SNARE = frozenset({"User", "CategoryString", "DataString"})
_TAB = re.compile(r"#011|<009>|\\t(?=\S)")  # how relays write a tab that they do not pass on
_MAX_SNARE_CHARS = 65_536
_SNARE_TABS = 10  # of a line that has its own


def _of_snare(text: str) -> WindowsEvent:
    """Tabs between: MSWinEventLog, criticality, log, counter, time, id, provider, user, ..., computer, category, data,
    message."""
    line = syslog.read(text[: text.index("MSWinEventLog")])
    said = text[text.index("MSWinEventLog") :][:_MAX_SNARE_CHARS]
    if said.count("\t") < _SNARE_TABS:
        said = _TAB.sub("\t", said)
    flat = _SNARE.match(said) if said.count("\t") < _SNARE_TABS else None
    cells = [cell or "" for cell in flat.groups()] if flat is not None else said.split("\t")
    cells += [""] * 14
    data = {"User": cells[7], "CategoryString": cells[11], "DataString": cells[12].strip()}
    data = {name: value for name, value in data.items() if value and value != "N/A"}
    return WindowsEvent(
        channel=cells[2] or None,
        provider=cells[6] or None,
        event_id=Fields({"id": cells[5]}).integer("id"),
        computer=cells[10] or line.host,
        time=when(cells[4]) or line.time,
        record_id=cells[3] or None,
        level=_LEVELS.get(cells[9].strip().lower().replace(" ", "_")),
        message="\t".join(cells[13:]).strip() or None,
        sid=None,
        process_id=None,
        data=Fields(data),
        raw=Fields({"MSWinEventLog": text[:32_768]}),
    )


def _of_splunk(text: str) -> WindowsEvent:
    """`Key=value` line by line, the message last; Splunk's forwarder renders events so."""
    head, _, message = text.partition("\nMessage=")
    said = Fields(dict(pairs.separated(head.replace("\r", ""), "\n")))
    return WindowsEvent(
        channel=said.text("LogName"),
        provider=said.text("SourceName"),
        event_id=said.integer("EventCode"),
        computer=said.text("ComputerName"),
        time=when(head.strip().partition("\n")[0].strip()),
        record_id=said.text("RecordNumber"),
        level=_LEVELS.get((said.text("Type") or "").lower()),
        message=message.strip() or None,
        sid=said.text("Sid"),
        process_id=None,
        data=Fields({"User": name} if (name := said.text("User")) and name != "NOT_TRANSLATED" else None),
        raw=said,
    )


def _data(fields: Fields, *paths: str) -> Fields:
    """EventData and UserData as one: what lies in an inner element, or in a list of {Name, Value}, stands on top."""
    found: dict[str, Any] = {}
    for path in paths:
        for part in fields.objects(path):
            for key, value in part.data.items():
                inner = Fields(value)
                if key in ("Data", "data") and isinstance(value, list):
                    found |= _named(value)
                elif inner and path.lower().startswith("user"):
                    found |= inner.data
                elif not key.startswith(("#", "xmlns")):
                    found[key] = value
    return Fields(found)


def _named(items: list[Any]) -> dict[str, Any]:
    """`Data` elements that JSON writers left as a list: with names, or by number ("param1" is the first)."""
    found: dict[str, Any] = {}
    for number, item in enumerate(items, 1):
        one = Fields(item)
        name = one.text("Name", "@Name", "#attributes.Name")
        found[name or f"param{number}"] = one.raw("#text", "content", "Value", "text") if one else item
    return found
