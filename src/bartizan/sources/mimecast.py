"""Mimecast email security: receipt, process, delivery, spam, antivirus and threat protection logs.

Source: Mimecast, "Threats, security events and data for CG: SIEM events", "Enhanced logging".
"""

import re
from collections.abc import Iterable
from typing import Any

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources import pairs
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of
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


class Mimecast(Shape):
    name = "mimecast"
    vendor = "Mimecast"
    product = "Email Security"
    marks = "aggregateId+processingId accountId+aggregateId processingId+senderEnvelope acc+datetime+aCode"
    pattern = re.compile(r"\bacc=\w+\|.{0,200}?\b(?:aCode|SourceIP|Sender|IP)=|datetime=[^|]{10,40}\|(?:aCode|acc)=")
    sourcetypes = ("mimecast:*", "mimecast")
    table = "MimecastEvents"
    columns = {"EventType": "type", "Subtype": "subtype", "Action": "action", "Direction": "direction Dir Route"}
    wrappers = ("value", "data")
    alert = Paths(
        id="processingId aggregateId aCode+Virus",
        title="virusFound Virus fileName url subject type",
        description="threatDictionary definition",
        vendor_category="type eventType subtype",
        detector="virusFound Virus definition type eventType",
        first="timestamp datetime eventTime",
        threat="virusFound Virus",
        fold="recipients senderEnvelope virusFound",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        """Objects, or the older lines of `key=value` between bars."""
        if record.data is not None:
            return objects_of(record, *self.wrappers)
        found: dict[str, Any] = dict(pairs.separated(record.text.strip(), "|"))
        return [Fields(found)] if len(found) > 1 else []

    def is_alert(self, fields: Fields) -> bool:
        return _kind(fields) in _FOUND or fields.text("virusFound", "Virus") is not None

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        text = fields.text("recipients", "recipient", "Rcpt", "recipientAddress") or ""
        for recipient in [part.strip() for part in text.split(",")][:50]:
            evidence.message(
                None,
                internet_id=fields.text("messageId", "MsgId"),
                sender=fields.text("senderHeader", "headerFrom", "fromAddress"),
                envelope_sender=fields.text("senderEnvelope", "sender", "Sender"),
                recipient=recipient,
                sender_ip=fields.text("senderIp", "IP", "sourceIp"),
                subject=fields.text("subject", "Subject"),
                urls=[fields.text("url", "URL")],
                action=fields.text("action", "Act"),
                direction=fields.text("direction"),
            )
            evidence.mailbox(recipient)
        evidence.ip(fields.text("senderIp", "IP", "sourceIp", "sourceIP"), ("source",))
        evidence.ip(fields.text("destinationIp", "receivedIp"), ("destination",))
        evidence.url(fields.text("url", "URL"))
        evidence.domain(fields.text("senderDomain", "urlDomain", "destination"))
        hashes = [fields.text("sha256"), fields.text("sha1"), fields.text("md5")]
        evidence.file(fields.text("fileName", "attachments") if any(hashes) else None, None, hashes)
        evidence.malware(fields.text("virusFound", "Virus"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        kind = _kind(fields)
        alert.category = _FOUND.get(kind, "Malware")
        alert.categories = [alert.category]
        held = (fields.text("action", "Act") or "").lower() in ("rej", "hld", "block", "blocked", "hold", "bnc")
        alert.severity = "low" if held else "high" if alert.category == "Malware" else "medium"
        alert.title = f"{(kind or 'mail').capitalize()}: {alert.title}"


def _kind(fields: Fields) -> str:
    return (fields.text("type", "eventType") or "").lower()
