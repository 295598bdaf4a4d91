"""Hits of Sigma rules: what Hayabusa, Chainsaw and Zircolite write, and Windows events that a rule has picked.

Source: Hayabusa, "JSON output profiles"; Chainsaw, "hunt --json"; Zircolite, "detected_events.json"; Sigma, "Rules".
"""

from collections.abc import Iterator

from bartizan.extend import Event, GraphObject, Record, Source
from bartizan.model.alert import Alert, Severity
from bartizan.sources import attack, severity, sysmon, windows_event, windows_log
from bartizan.sources.entities import hashes_in
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, content_id, objects_of
from bartizan.sources.generic import unplaced
from bartizan.sources.times import first_time

_RULE = ("RuleTitle", "rule.title", "title", "name", "rule_title", "detections")
_LEVELS = ("Level", "rule.level", "level", "rule_level")
_HAYABUSA: dict[str, Severity] = {"crit": "high", "med": "medium", "info": "informational"}
# What the commonest events of Sysmon and of the security log tell, for hits that come without their rule.
_TOLD = {
    1: "Process created",
    3: "Network connection",
    7: "Image loaded",
    8: "Remote thread created",
    10: "Process accessed",
    11: "File created",
    12: "Registry key changed",
    13: "Registry value set",
    14: "Registry object renamed",
    15: "File stream created",
    17: "Pipe created",
    18: "Pipe connected",
    22: "DNS query",
    23: "File deleted",
    4624: "Account logged on",
    4625: "Logon failed",
    4688: "Process created",
    4697: "Service installed",
    4698: "Scheduled task created",
    4720: "User account created",
    4732: "Member added to a group",
    5145: "Network share object checked",
    7045: "Service installed",
}
# How Hayabusa abbreviates tactics, where `attack` does not know the word.
_TACTICS = {
    "resdev": "Resource Development",
    "initaccess": "Initial Access",
    "exec": "Execution",
    "persis": "Persistence",
    "privesc": "Privilege Escalation",
    "evas": "Defense Evasion",
    "credaccess": "Credential Access",
    "disc": "Discovery",
    "latmov": "Lateral Movement",
    "collect": "Collection",
    "exfil": "Exfiltration",
}
_OBJECTS = ("Image", "TargetFilename", "TargetObject", "QueryName", "NewProcessName", "ServiceName", "TaskName")


class SigmaHits(Source):
    name = "sigma_hits"
    vendor = "Sigma"
    product = "Sigma"
    marks = (
        "RuleTitle+RuleID+Level RuleTitle+Level+Computer+Channel+EventID+Details group+kind+document "
        "title+rule_level+matches"
    )
    sourcetypes = ("sigma", "sigma:*", "chainsaw*", "hayabusa*", "zircolite*")

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        found = False
        for fields in objects_of(record):
            for hit, event in _hits(fields):
                found = True
                yield _alert(self, record, hit, event)
        if not found:
            yield from unplaced(record, "GenericEvents")


def _hits(fields: Fields) -> Iterator[tuple[Fields, Fields]]:
    """(rule, event): of Zircolite every match, of Chainsaw the document, of Hayabusa the line, else the event alone."""
    matches = fields.objects("matches")
    if matches:
        for match in matches:
            yield fields, match
        return
    document = fields.object("document.data", "document")
    if document:
        yield fields, document
    elif fields.has("Event", "EventData", "System", "EventID", "RuleTitle"):
        yield fields, fields


def _alert(source: Source, record: Record, hit: Fields, event: Fields) -> Alert:
    data = event.object("Event.EventData", "EventData", "Details", "AllFieldInfo") or event
    number = event.integer("Event.System.EventID", "EventID", "System.EventID")
    at = first_time(
        event, "Event.System.TimeCreated.#attributes.SystemTime", "SystemTime", "Timestamp", "UtcTime", "timestamp"
    )
    at = at or first_time(event, "Event.System.TimeCreated_attributes.SystemTime") or first_time(data, "UtcTime")
    at = at or first_time(hit, "timestamp", "Timestamp")
    computer = event.text("Event.System.Computer", "Computer", "System.Computer")
    evidence = _evidence(event, at, computer)
    rule = hit.text(*_RULE)
    word = hit.text(*_LEVELS)
    level = _HAYABUSA.get((word or "").lower()) or severity.of_word(word)
    tags = [*hit.texts("MitreTags"), *hit.texts("tags"), *hit.texts("MitreTactics"), *hit.texts("rule.tags")]
    found = attack.tactics(*(_TACTICS.get(tag.lower(), tag) for tag in tags))
    what = next((text for path in _OBJECTS if (text := data.text(path)) is not None), None)
    told = _TOLD.get(number or -1, f"Windows event {number}" if number is not None else "Event")
    rule_id = hit.text("RuleID", "rule.id", "id", "rule_id") if rule else None
    return Alert(
        vendor=source.vendor,
        product=source.product,
        provider_alert_id=_id(event, rule_id or rule, computer),
        title=rule or (f"{told}: {what}" if what else told),
        description=hit.text("description", "rule.description"),
        severity="medium" if level == "unknown" else level,
        vendor_severity=word,
        category=found[0] if found else "SuspiciousActivity",
        categories=found or ["SuspiciousActivity"],
        techniques=sorted(
            {*attack.techniques(record, event.data), *(name for tag in tags for name in attack.techniques_in(tag))}
        ),
        detector_id=rule_id or rule,
        detection_source="customDetection",
        first_activity=at,
        last_activity=at,
        evidence=evidence.items,
        entities=list(evidence.observed),
        additional=hit.rest() | evidence.unsaid,
        fingerprint=(rule_id or rule or told, computer or "", data.text("User", "Image") or ""),
    )


def _evidence(event: Fields, at: str | None, computer: str | None) -> Evidence:
    evidence = Evidence(at)
    for each in windows_log.read(Record(raw=b"", text="", data=event.data)):
        if sysmon.is_sysmon(each):
            sysmon.row(each, evidence)
        else:
            windows_event.entities(each, evidence)
    evidence.host(computer)
    if not event.has("Event", "Channel"):
        _bare(event, evidence)
    details = event.object("Details")
    if details:
        _shortened(details, evidence)
    return evidence


def _bare(event: Fields, evidence: Evidence) -> None:
    """A match that names no log of Windows: one of Sysmon for Linux, auditd or another log, in its own names."""
    evidence.host(event.text("host", "hostname", "node"))
    user = evidence.user(event.text("User", "user", "UID", "AUID", "username"))
    evidence.process(
        event.text("CommandLine", "cmdline", "command", "proctitle"),
        path=event.text("Image", "exe"),
        pid=event.integer("ProcessId", "pid"),
        hashes=hashes_in([event.text("Hashes")]).values(),
        user=user,
        parent_path=event.text("ParentImage"),
    )
    source, target = event.text("SourceIp", "src_ip", "c-ip"), event.text("DestinationIp", "dst_ip")
    evidence.ip(source, ("source",))
    evidence.ip(target, ("destination",))
    evidence.file(None, event.text("TargetFilename"))


def _shortened(details: Fields, evidence: Evidence) -> None:
    """The details of Hayabusa's lines, whose keys are abbreviated."""
    user = evidence.user(details.text("User", "SrcUser"))
    evidence.user(details.text("TgtUser"))
    evidence.process(
        details.text("Cmdline"),
        path=details.text("Proc", "SrcProc"),
        pid=details.integer("PID"),
        hashes=hashes_in([details.text("Hashes")]).values(),
        user=user,
    )
    evidence.process(path=details.text("TgtProc"))
    evidence.process(details.text("ParentCmdline"))
    source, target = details.text("SrcIP"), details.text("TgtIP")
    evidence.flow(source, details.integer("SrcPort"), target, details.integer("TgtPort"), details.text("Proto"))
    evidence.ip(source, ("source",))
    evidence.ip(target, ("destination",))
    evidence.host(details.text("SrcComp", "SrcHost"))
    evidence.file(None, details.text("Path"))
    evidence.registry(details.text("TgtObj"))
    evidence.domain(details.text("Query"))


def _id(event: Fields, rule: str | None, computer: str | None) -> str:
    """What rule hit which record of which log; without a record's number the hash of both."""
    number = event.text("Event.System.EventRecordID", "RecordID", "EventRecordID")
    if number is None:
        return content_id({**event.data, "sigmaRule": rule})
    return ":".join(filter(None, (rule, computer, event.text("Event.System.Channel", "Channel"), number)))
