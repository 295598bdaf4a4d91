"""Sublime Security: flagged messages, and the audit log of its console.

Source: Sublime Platform API, "Message groups", "Audit log events"; its export of message events.
"""

from bartizan.model.alert import Alert
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.severity import highest, of_word
from bartizan.sources.shape import Paths, Shape

_ATTACKS = {
    "bec/fraud": "Phishing",
    "callback phishing": "Phishing",
    "credential phishing": "Phishing",
    "extortion": "Phishing",
    "malware/ransomware": "Malware",
    "spam": "SuspiciousActivity",
    "reconnaissance": "Reconnaissance",
}


class Sublime(Shape):
    name = "sublime"
    vendor = "Sublime Security"
    product = "Sublime Platform"
    marks = (
        "flagged_rules+message data.flagged_rules+data.message type+created_by+data.request "
        "type=message.flagged+data.message created_by.email_address+data.request.path "
        "canonical_id+message_source_id+attack_score_verdict"
    )
    sourcetypes = ("sublime", "sublime:*", "sublime_security*")
    table = "SublimeEvents"
    columns = {"AuditType": "type", "RequestPath": "data.request.path"}
    alert = Paths(
        id="data.message.canonical_id data.message.id id",
        title="data.flagged_rules.name flagged_rules.name type",
        description="data.flagged_rules.description data.request.path",
        severity="data.flagged_rules.severity flagged_rules.severity severity",
        vendor_category="data.flagged_rules.attack_types flagged_rules.attack_types type",
        categories=_ATTACKS,
        detector="data.flagged_rules.id flagged_rules.id type",
        first="created_at data.message.created_at timestamp",
        verdict="data.review.classification",
        verdicts={"malicious": "truePositive", "unwanted": "truePositive", "benign": "falsePositive"},
        tags="data.flagged_rules.tags",
        fold="created_by.email_address data.message.mailbox.email_address",
    )

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("type", "flagged_rules") and fields.has("created_at", "data", "message")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        who, request = fields.object("created_by"), fields.object("data.request")
        name = " ".join(part for part in (who.text("first_name"), who.text("last_name")) if part)
        evidence.user(who.text("email_address"), object_id=None, display=name or None)
        evidence.ip(request.text("ip"), ("source",))
        message = fields.object("data.message", "message")
        theirs = message.text("mailbox.external_id") or ""  # of the mail service: often the address itself
        mailbox = (
            message.text("mailbox.email_address", "mailbox")
            or (theirs if "@" in theirs else None)
            or message.text("recipients.email", "recipients")
        )
        foreign = message.text("external_id") or ""  # of the mail service: its own id or that of the message
        evidence.message(
            message.text("id", "message_source_id") if message else None,
            internet_id=message.text("internet_message_id", "headers.message_id")
            or (foreign if "@" in foreign else None),
            sender=message.text("sender.email_address", "sender.email"),
            recipient=mailbox,
            subject=message.text("subject", "subject.subject"),
            urls=message.texts("links.href_url.url", "links.url"),
        )
        evidence.mailbox(mailbox, roles=("attacked",))
        for item in message.objects("attachments"):
            hashes = [item.text(path) for path in ("sha256", "sha1", "md5")]
            evidence.file(item.text("file_name"), None, hashes, size=item.integer("size"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        rules = fields.objects("data.flagged_rules", "flagged_rules")
        alert.severity = highest(alert.severity, *(of_word(rule.text("severity")) for rule in rules))
        worst = next((rule for rule in rules if of_word(rule.text("severity")) == alert.severity), Fields(None))
        if worst.has("name"):  # of several rules the most serious one tells what it is
            alert.title, alert.detector_id = worst.text("name") or alert.title, worst.text("id") or alert.detector_id
            alert.vendor_severity = worst.text("severity")
        if not fields.has("data.flagged_rules", "flagged_rules"):  # a change of the console itself
            alert.title = f"Audit: {alert.title}"
            alert.severity = "informational" if alert.severity == "unknown" else alert.severity
