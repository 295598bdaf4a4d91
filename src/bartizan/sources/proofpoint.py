"""Proofpoint TAP and Protection on Demand: messages and clicks that TAP judged are alerts, other mail logs events.

TAP also sends each as one line of syslog, with the names of its JSON as structured data.
Source: Proofpoint, "Threat Insight Dashboard: SIEM API" (also its syslog format), "Proofpoint on Demand: log API";
"Threat Response: incidents API".
"""

import re
from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources import pairs, syslog
from bartizan.sources.entities import addresses_in
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, lines_of, objects_of
from bartizan.sources.severity import of_word
from bartizan.sources.shape import Paths, Shape, Status

_LISTS = ("messagesDelivered", "messagesBlocked", "clicksPermitted", "clicksBlocked")
# MSGID of TAP's syslog -> the list of its JSON that holds the same.
_SYSLOG = {
    "MSGDLV": "messagesDelivered",
    "MSGBLK": "messagesBlocked",
    "CLKPER": "clicksPermitted",
    "CLKBLK": "clicksBlocked",
}
_TAP = re.compile(r"\[tap(?:msg|clk)@\d{1,10} ")
# Of the lines of its filters: the names of the JSON -> theirs.
_FILTER = {"sender": "from", "recipient": "to", "connection.ip": "ip", "messageID": "hdr_mid", "malware": "virusname"}
_FILTERED = re.compile(
    r"\b(?:rprt|info) s=\w+ .{0,120}?\bmod=\w+ |\bmod=(?:mail|session|av|spam|judge) .{0,200}?\bs=\w+"
)
_SCORES = ("malwareScore", "phishScore", "impostorScore", "spamScore")
_STATUSES: dict[str, Status] = {"cleared": "resolved", "falsepositive": "resolved", "active": "new"}
_KINDS = {"malware": "Malware", "phish": "Phishing", "impostor": "Phishing", "spam": "SuspiciousActivity"}
_HIGH, _MEDIUM, _LOW = 80, 50, 20
_MAX_PARTS = 50


class Proofpoint(Shape):
    name = "proofpoint"
    vendor = "Proofpoint"
    product = "TAP"
    marks = (
        "threatsInfoMap+spamScore part_uuid+guid threatsInfoMap+messageID phishScore+spamScore+messageID "
        "impostorScore+malwareScore clickIP+threatID+GUID clickTime+threatID msgParts+guid "
        "filter.disposition+guid envelope+msgParts guid+msg.parsedAddresses messageTime+phishScore "
        "GUID+QID+messageID sm.qid+id pps.agent+msg pps+filter incident_id+quarantine_results "
        "event_count+false_positive_count queryEndTime+clicksBlocked queryEndTime+messagesBlocked "
        "audit.user+audit.resourceType+guid"
    )
    pattern = re.compile(r"\[tap(?:msg|clk)@\d{1,10} .{0,4000}|CEF:\d\|Proofpoint\||" + _FILTERED.pattern)
    sourcetypes = ("pps_*", "proofpoint:*", "pps:*", "proofpoint")
    table = "ProofpointEvents"
    columns = {
        "Guid": "GUID guid",
        "Kind": "type eventType audit.action",
        "Disposition": "disposition",
        "UserName": "audit.user.email",
        "SourceIP": "audit.user.ipAddress",
    }
    wrappers = ("records", "data")
    alert = Paths(
        id="id+threatID id GUID+messageID messageID+recipient",
        title="subject url classification",
        vendor_category="classification threatsInfoMap.classification",
        categories=_KINDS,
        category="Phishing",
        detector="threatID threatsInfoMap.threatID quarantineRule",
        first="messageTime clickTime threatTime threatsInfoMap.threatTime",
        last="clickTime messageTime threatTime",
        updated="threatTime threatsInfoMap.threatTime",
        status="threatStatus threatsInfoMap.threatStatus",
        statuses=_STATUSES,
        verdict="threatStatus threatsInfoMap.threatStatus",
        url="threatsInfoMap.threatUrl threatURL",  # a page of the dashboard: no entity
        threat="threatsInfoMap.threat",
        fold="recipient sender",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        """An answer of the SIEM API has four lists, whose names say what became of the messages and clicks."""
        found = False
        for text in lines_of(record):
            found = found or bool(_TAP.search(text) or _FILTERED.search(text))
            if _TAP.search(text):
                line = syslog.read(text)
                kind = _SYSLOG.get(line.message_id or "")
                yield from (Fields(said, {"eventType": kind}) for said in line.structured.values())
            elif _FILTERED.search(text):
                line = syslog.read(text)
                said = pairs.read(line.message)
                names = {name: said.get(key) for name, key in _FILTER.items()}
                yield Fields(said, names | {"timestamp": line.time, "host": line.host})
        for one in [] if found else objects_of(record, *self.wrappers):
            if one.has(*_LISTS):
                for name in _LISTS:
                    yield from (each.also({"eventType": name}) for each in one.each(name))
            else:
                yield one

    def is_alert(self, fields: Fields) -> bool:
        if fields.has("mod"):  # a step of the filtering, of which the log has many to a message
            return False
        if _is_incident(fields):
            return True
        return fields.has(*_SCORES, "threatsInfoMap", "threatID", "classification")

    def made(self, record: Record, fields: Fields) -> Alert:
        return _INCIDENT.made(record, fields) if _is_incident(fields) else super().made(record, fields)

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        threats = fields.objects("threatsInfoMap")
        links = [one.text("threat") for one in threats if (one.text("threatType") or "").lower() == "url"]
        links.append(fields.text("url"))
        for recipient in _each(fields.texts("recipient", "toAddresses", "envelope.rcpts", "to")) or (
            [None] if fields.has("mod") else []
        ):
            evidence.message(
                fields.text("GUID", "guid"),
                internet_id=fields.text("messageID", "msg.header.message-id"),
                sender=fields.text("fromAddress", "headerFrom", "sender"),
                envelope_sender=fields.text("sender", "envelope.from"),
                recipient=recipient,
                sender_ip=fields.text("senderIP", "connection.ip"),
                subject=fields.text("subject"),
                urls=links,
                threats=fields.texts("threatsInfoMap.classification"),
            )
            evidence.mailbox(recipient, roles=("attacked",))
        evidence.ip(fields.text("senderIP", "connection.ip"), ("source",))
        evidence.ip(fields.text("clickIP"))
        for link in links:
            evidence.url(link, ("suspicious",))
        for one in threats:
            if (one.text("threatType") or "").lower() == "attachment":
                evidence.file(hashes=[one.text("threat")], roles=("suspicious",))
        for part in fields.objects("messageParts", "msgParts")[:_MAX_PARTS]:
            hashes = [part.text("sha256"), part.text("md5")]
            evidence.file(part.text("filename", "detectedName", "labeledName"), None, hashes)
            for each in part.objects("urls"):
                evidence.url(each.text("url"))
        evidence.malware(fields.text("malware"))
        for text in addresses_in(fields.text("data")):
            evidence.ip(text)

    def finish(self, fields: Fields, alert: Alert) -> None:
        kind, score = _worst(fields)
        word = fields.text("classification", "threatsInfoMap.classification")
        if word is None and kind is not None:
            alert.category = _KINDS[kind]
            alert.categories = [alert.category]
        alert.severity = _level(fields, (word or kind or "").lower(), score)
        name = (word or kind or "judged").capitalize()
        alert.title = f"{name} {'click' if fields.has('clickTime') else 'message'}: {alert.title}"


def _is_incident(fields: Fields) -> bool:
    return fields.has("event_count", "false_positive_count") and fields.has("summary", "name") and fields.has("state")


class _Incident(Shape):
    """An incident of Threat Response, with the mails that it is about."""

    vendor = "Proofpoint"
    product = "Threat Response"
    table = "ProofpointEvents"
    alert = Paths(
        id="id",
        title="summary name",
        description="description close_detail close_summary",
        severity="severity",
        vendor_category="type events.category",
        categories={**_KINDS, "phishing": "Phishing", "unsolicited bulk email": "SuspiciousActivity"},
        category="Phishing",
        detector="events.threatname type",
        first="events.received created_at",
        last="updated_at",
        created="created_at",
        updated="updated_at",
        status="state",
        statuses={"linked": "new", "unlinked": "resolved", "ignored": "resolved"},
        assigned="assignee",
        threat="events.threatname",
        fold="users",
    )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        for one in fields.objects("events")[:_MAX_PARTS]:
            for mail in one.objects("emails")[:_MAX_PARTS]:
                to = mail.text("recipient.email")
                evidence.message(
                    internet_id=mail.text("messageId"),
                    sender=mail.text("sender.email"),
                    recipient=to,
                    subject=mail.text("subject"),
                    urls=mail.texts("urls"),
                )
                evidence.mailbox(to, roles=("attacked",))
                for part in mail.objects("attachments")[:_MAX_PARTS]:
                    evidence.file(part.text("name"), None, [part.text("sha256"), part.text("md5")])
        for text in fields.texts("hosts.attacker", "hosts.forensics")[:_MAX_PARTS]:
            if evidence.ip(text, ("attacker",)) is None:
                evidence.domain(text)
        for name in fields.texts("users")[:_MAX_PARTS]:
            evidence.user(name)

    def finish(self, fields: Fields, alert: Alert) -> None:
        for one in fields.objects("incident_field_values")[:_MAX_PARTS]:  # what an organisation has analysts fill in
            word = of_word(one.text("value")) if one.text("name") == "Severity" else "unknown"
            if word != "unknown":
                alert.severity, alert.vendor_severity = word, one.text("value")
        if alert.assigned_to == "Unassigned":
            alert.assigned_to = None
        if (fields.integer("false_positive_count") or 0) >= max(1, fields.integer("event_count") or 1):
            alert.status, alert.classification = "resolved", "falsePositive"


_INCIDENT = _Incident()


def _each(texts: list[str]) -> list[str | None]:
    """Recipients: a list, in syslog one text with commas between."""
    return [part.strip() for text in texts[:_MAX_PARTS] for part in text.split(",")[:_MAX_PARTS] if part.strip()]


def _worst(fields: Fields) -> tuple[str | None, float]:
    scored = [(fields.number(name) or 0.0, name.removesuffix("Score")) for name in _SCORES if fields.has(name)]
    score, kind = max(scored, default=(0.0, ""))
    return (kind if kind and score >= _LOW else None), score


def _level(fields: Fields, kind: str, score: float) -> Severity:
    """What reached somebody weighs more than what was held back."""
    held = (
        fields.has("quarantineFolder", "quarantineRule")
        or bool(fields.flag("blocked"))
        or "blocked" in (fields.text("eventType", "type") or "").lower()
    )
    if kind in ("malware", "phish", "impostor"):
        sure = fields.has("threatsInfoMap", "threatID", "clickTime") or score >= _HIGH
        return "low" if held else "high" if sure else "medium" if score >= _MEDIUM else "low"
    return "informational"
