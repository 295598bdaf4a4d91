"""Mimecast email security: receipt, process, delivery, spam, antivirus and threat protection logs.

Source: Mimecast, "Threats, security events and data for CG: SIEM events", "Enhanced logging", "Cloud Integrated
events"; API 1.0, "Get TTP URL logs", "Get TTP attachment protection logs", "Get TTP impersonation protect logs".
"""

import re
from collections.abc import Iterable
from typing import Any

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources import common_security_log, pairs
from bartizan.sources.entities import addresses_in
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, lines_of, objects_of, opened
from bartizan.sources.shape import Paths, Shape

# Kinds of log that are written because something was found.
_FOUND = {
    "av": "Malware",
    "virus": "Malware",
    "attachment protect": "Malware",
    "impersonation protect": "Phishing",
    "url protect": "Phishing",
    "internal email protect": "Phishing",
    "email_antivirus": "Malware",
    "email_ttp_ap": "Malware",
    "email_ttp_impersonation": "Phishing",
    "email_ttp_url": "Phishing",
    "email_ttp_iep": "Phishing",
}
# What Cloud Integrated found in a mail; the rest it only let pass or calls spam.
_THREATS = {"malware": "Malware", "phishing": "Phishing", "untrustworthy": "Phishing"}
_MAX_ATTACHMENTS = 20
_CLEAN = frozenset({"clean", "safe"})
_UNJUDGED = frozenset({"timeout", "error", "unknown", "none"})  # results of a sandbox that are no verdict
_HELD = frozenset({"rej", "hld", "block", "blocked", "hold", "bnc"})


_SENDING = ("senderIp", "IP", "sourceIp", "senderIpAddress", "sendingIp")


class Mimecast(Shape):
    name = "mimecast"
    vendor = "Mimecast"
    product = "Email Security"
    marks = (
        "aggregateId+processingId accountId+aggregateId processingId+senderEnvelope acc+datetime+aCode "
        "userEmailAddress+ttpDefinition+scanResult recipientAddress+actionTriggered+definition "
        "recipientAddress+taggedMalicious+impersonationResults data.clickLogs data.attachmentLogs "
        "data.impersonationLogs acc+urlCategory+route auditType+eventInfo senderAddress+recipientAddress+policy+route"
    )
    pattern = re.compile(r"\bacc=\w+\|.{0,200}?\b(?:aCode|SourceIP|Sender|IP)=|datetime=[^|]{10,40}\|(?:aCode|acc)=")
    sourcetypes = ("mimecast:*", "mimecast")
    table = "MimecastEvents"
    columns = {"EventType": "type", "Subtype": "subtype", "Action": "action", "Direction": "direction Dir Route"}
    wrappers = ("value", "data", "clickLogs", "attachmentLogs", "impersonationLogs")
    alert = Paths(
        id="processingId aggregateId aCode+Virus id",
        title="virusFound Virus fileName url RejInfo subject type",
        description="threatDictionary definition ttpDefinition details",
        vendor_category="type eventType subtype",
        detector="virusFound Virus definition ttpDefinition type eventType",
        first="timestamp datetime eventTime date",
        threat="virusFound Virus",
        fold="recipients senderEnvelope virusFound",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        """Objects, or the older lines of `key=value` between bars."""
        record = opened(record)
        found = _lines(record)
        if found or record.data is None:
            return found
        inner = [key for key in self.wrappers[2:] if Fields(record.data).has(f"data.{key}")]
        return objects_of(record, *(f"data.{key}" for key in inner), *self.wrappers)

    def is_alert(self, fields: Fields) -> bool:
        if (fields.text("scanResult", "result") or "").lower() in _CLEAN:
            return False
        if fields.has("actionTriggered") and (fields.text("result") or "").lower() in _UNJUDGED:
            return False
        if _found(fields) is not None or fields.text("virusFound", "Virus") is not None:
            return True
        return "virus" in (fields.text("RejType", "rejectionType") or "").lower()

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        for text in addresses_in(fields.text("eventInfo"), 5):  # the sentence of an audit event
            evidence.ip(text, ("source",))
        to = fields.texts("recipients", "recipient", "Rcpt", "recipientAddress", "userEmailAddress")
        for recipient in [part.strip() for text in to for part in text.split(",")][:50]:
            evidence.message(
                None,
                internet_id=fields.text("messageId", "MsgId"),
                sender=fields.text("senderHeader", "headerFrom", "fromAddress"),
                envelope_sender=fields.text(
                    "senderEnvelope", "sender", "Sender", "senderAddress", "fromUserEmailAddress"
                ),
                recipient=recipient,
                sender_ip=fields.text(*_SENDING),
                subject=fields.text("subject", "Subject"),
                urls=[fields.text("url", "URL")],
                action=fields.text("action", "Act", "actionTriggered"),
                direction=fields.text("direction"),
            )
            evidence.mailbox(recipient)
        evidence.ip(fields.text(*_SENDING, "sourceIP"), ("source",))
        evidence.ip(fields.text("destinationIp", "receivedIp"), ("destination",))
        evidence.url(fields.text("url", "URL"))
        evidence.domain(fields.text("senderDomain", "urlDomain", "destination"))
        hashes = [fields.text("sha256", "fileHash"), fields.text("sha1"), fields.text("md5")]
        evidence.file(fields.text("fileName", "attachments") if any(hashes) else None, None, hashes)
        if not any(hashes) and _found(fields) == "Malware":
            for name in fields.texts("attachments")[:_MAX_ATTACHMENTS]:
                evidence.file(name)
        evidence.malware(fields.text("virusFound", "Virus"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        kind = _kind(fields)
        alert.category = _found(fields) or "Malware"
        alert.categories = [alert.category]
        held = any((fields.text(path) or "").lower() in _HELD for path in ("action", "Act", "actions", "threatState"))
        alert.severity = "low" if held else "high" if alert.category == "Malware" else "medium"
        common_security_log.acted(alert, "blocked" if held else None)
        alert.title = f"{(kind or 'mail').capitalize()}: {alert.title}"


def _lines(record: Record) -> list[Fields]:
    found: list[dict[str, Any]] = [dict(pairs.separated(text.strip(), "|")) for text in lines_of(record)]
    return [Fields(each) for each in found if len(each) > 1]


def _kind(fields: Fields) -> str:
    """Its own word; the logs of threat protection are apart by what they hold, those of Cloud Integrated by what it
    found."""
    if fields.has("ttpDefinition"):
        return "url protect"
    if fields.has("impersonationResults"):
        return "impersonation protect"
    if fields.has("actionTriggered"):
        return "attachment protect"
    if fields.has("ScanResultInfo") and fields.has("URL"):  # the lines of its log service, which name no kind
        return "url protect"
    if fields.has("TaggedMalicious") and fields.has("Definition"):
        return "impersonation protect"
    if fields.has("urlCategory") and fields.has("url") and not fields.has("type", "eventType"):  # its older log
        return "url protect"
    kind = (fields.text("type", "eventType") or "").lower()
    return (fields.text("threatType", "subtype") or kind).lower() if kind == "entities" else kind


def _found(fields: Fields) -> str | None:
    kind = _kind(fields)
    return _THREATS.get(kind) if fields.has("threatState") else _FOUND.get(kind)
