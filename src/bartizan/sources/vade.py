"""Vade for Microsoft 365 (Hornetsecurity): mails that it judged, and campaigns of remediation.

Source: Vade for M365 API, "Logs" (email logs, remediation logs).
"""

from bartizan.model.alert import Alert, Severity
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape

# The filter's status of a mail -> (severity where it reached the mailbox, category).
_STATUSES: dict[str, tuple[Severity, str]] = {
    "MALWARE": ("high", "Malware"),
    "PHISHING": ("high", "Phishing"),
    "SPEARPHISHING": ("high", "Phishing"),
    "SCAM": ("medium", "Phishing"),
    "SUSPECT": ("medium", "SuspiciousActivity"),
    "SPAM": ("low", "SuspiciousActivity"),
    "PUB": ("informational", "SuspiciousActivity"),
    "SOCIAL": ("informational", "SuspiciousActivity"),
    "LEGIT": ("informational", "SuspiciousActivity"),
}
_HELD = frozenset({"DELETE", "MOVE", "BLOCK", "QUARANTINE"})  # what kept a mail from the mailbox
_STEP_DOWN: dict[Severity, Severity] = {"high": "medium", "medium": "low"}


class Vade(Shape):
    name = "vade"
    vendor = "Vade"
    product = "Vade for M365"
    marks = (
        "nb_messages_remediated+date overdict+status+date from_header+to_header+message_id "
        "overdict+sender_ip nb_messages_remediated+actions result.overdict"
    )
    sourcetypes = ("vade", "vade:*", "vadesecure:*")
    table = "VadeEvents"
    columns = {"Status": "status", "Action": "action", "Direction": "direction", "Subject": "subject"}
    wrappers = ("result", "messages", "campaigns")
    alert = Paths(
        id="id",
        title="subject status id",
        severity="",
        vendor_category="status",
        detector="status",
        first="date",
        status="",
        fold="from to status",
    )

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("id") and fields.has("date") and fields.has("status", "actions", "nb_messages_remediated")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        evidence.message(
            None,
            internet_id=fields.text("message_id"),
            sender=_bare(fields.text("from_header")) or fields.text("from"),
            envelope_sender=fields.text("from"),
            recipient=fields.text("to"),
            sender_ip=fields.text("sender_ip"),
            subject=fields.text("subject"),
            received=None,
            urls=[*(item.text("url") for item in fields.objects("urls")), *fields.texts("urls")],
            threats=[fields.text("status") or ""] if fields.has("status") else [],
            action=fields.text("action"),
            direction=fields.text("direction"),
        )
        evidence.mailbox(fields.text("to"), roles=("attacked",))
        evidence.ip(fields.text("sender_ip"), ("source",))
        for item in fields.objects("attachments"):
            hashes = [item.text(path) for path in ("hashes.sha256", "hashes.md5", "sha256", "md5", "sha1")]
            evidence.file(item.text("filename", "name"), None, hashes, size=item.integer("size"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        status = (fields.text("status") or "").upper()
        alert.severity, category = _STATUSES.get(status, ("informational", "SuspiciousActivity"))
        acted = {*(word.upper() for word in fields.texts("actions.action")), (fields.text("action") or "").upper()}
        if acted & _HELD:
            alert.severity = _STEP_DOWN.get(alert.severity, alert.severity)
        alert.vendor_severity = None
        alert.category, alert.categories = category, [category]
        if fields.has("nb_messages_remediated"):
            alert.title = f"Remediation of {fields.text('nb_messages_remediated')} messages"
        else:
            alert.title = f"{status.capitalize() or 'Judged'} mail: {fields.text('subject') or 'without a subject'}"
        if (fields.text("overdict") or "").lower() not in ("", "clean"):
            alert.tags = [*alert.tags, f"overdict:{fields.text('overdict')}"]


def _bare(header: str | None) -> str | None:
    """The address of "Name <address>"."""
    if header and header.endswith(">") and "<" in header:
        return header.rpartition("<")[2].rstrip(">")
    return header
