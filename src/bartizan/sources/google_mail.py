"""What Gmail's log says of a mail: rows of EmailEvents, one to each recipient, of EmailAttachmentInfo and of
UrlClickEvents, and the alert where Gmail judged that it is phishing or malware.

The same records come from the Reports API, and as rows of BigQuery: those of the export of Gmail alone have
`event_info` and `message_info` at their top, those of all of Workspace have them under the name of the record's type.
Source: Google Workspace, "Schema for Gmail logs in BigQuery", "Schema for Workspace logs in BigQuery"; Reports API,
"Gmail audit events"; Microsoft advanced hunting, the tables' columns.
"""

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from bartizan.extend import Event
from bartizan.model.alert import Severity
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.tables import event
from bartizan.sources.times import first_time

MAX_PARTS = 50  # recipients, attachments, links of one mail
# event_info.mail_event_type
_WORDS = {
    1: "sent", 2: "received", 3: "classified by user", 4: "classified after delivery", 5: "quarantined",
    6: "released from quarantine", 7: "opened", 8: "marked unread", 9: "replied", 10: "forwarded",
    11: "forwarded automatically", 12: "moved to inbox", 13: "moved to trash", 14: "removed from trash",
    15: "link clicked", 16: "link in attachment clicked", 17: "attachment downloaded", 18: "attachment saved",
    19: "shared item saved",
}  # fmt: skip
# message_info.action_type, where the kind of event is not told
_STEPS = {
    1: "received by server", 2: "accepted", 3: "delivered", 10: "sent by server", 14: "delayed", 18: "bounced",
    19: "dropped", 69: "classified by user", 70: "classified after delivery", 71: "handled by user",
}  # fmt: skip
_CLICKS = frozenset({15, 16})
_QUARANTINED = 5
_DROPPED = frozenset({18, 19})
_LATE_EVENTS, _LATE_STEPS = frozenset({3, 4}), frozenset({69, 70})  # who got the mail had it before it was judged
_SPAM, _PHISHING, _MALWARE = 2, 3, 5  # message_info.spam_info.disposition
_THREATS = {_SPAM: "Spam", _PHISHING: "Phish", _MALWARE: "Malware"}


class Judgement(Struct, frozen=True):
    """What Gmail found a mail to be."""

    title: str
    severity: Severity
    category: str
    late: bool  # after whoever it was sent to had it
    id: str | None  # one mail is judged once, though each step of its way is a record


def found_in(fields: Fields) -> Fields | None:
    """A row of BigQuery as the report's record that it is made of; None of anything else."""
    if fields.has("record_type") and fields.has("time_usec"):
        kind = fields.text("record_type") or ""
        return fields.also(
            {
                "id": {
                    "applicationName": kind,
                    "time": fields.raw("time_usec"),
                    "uniqueQualifier": fields.raw("unique_identifier"),
                },
                "actor": {"email": fields.text("email"), "profileId": fields.text("actor.profile_id")},
                "ipAddress": fields.text("ip_address"),
                "name": fields.text("event_name"),
                "type": fields.text("event_type"),
                "parameters": fields.object(kind).data,
            }
        )
    if fields.has("message_info") and fields.has("event_info") and not fields.has("parameters", "id"):
        info = {"event_info": fields.object("event_info").data, "message_info": fields.object("message_info").data}
        at = fields.raw("event_info.timestamp_usec")
        return Fields({"id": {"applicationName": "gmail", "time": at}, "name": "delivery", "parameters": info})
    return None


def judged(parameters: Fields) -> Judgement | None:
    mail = parameters.object("message_info")
    disposition = mail.integer("spam_info.disposition")
    if disposition not in (_PHISHING, _MALWARE):
        return None
    late = (
        parameters.integer("event_info.mail_event_type") in _LATE_EVENTS or mail.integer("action_type") in _LATE_STEPS
    )
    word = "Phishing" if disposition == _PHISHING else "Malware"
    title = f"{word} found after delivery" if late else f"{word} kept from the inbox"
    own = mail.text("rfc2822_message_id")
    return Judgement(
        title=f"{title}: {mail.text('subject') or 'mail without subject'}"[:300],
        severity="high" if late else "low",
        category=word,
        late=late,
        id=f"{own}:{word.lower()}" if own else None,
    )


def rows(
    parameters: Fields,
    *,
    name: str,
    id: str | None,
    at: str | None,
    owner: str | None,
    address: str | None,
    evidence: Evidence,
) -> Iterator[Event]:
    """`evidence` is what the record names; `owner` has the mailbox."""
    mail = parameters.object("message_info")
    kind = parameters.integer("event_info.mail_event_type") or 0
    at = at or first_time(parameters, "event_info.timestamp_usec")
    if kind in _CLICKS:
        yield _click(parameters, kind, at, owner, address, evidence)
        return
    shared = _shared(parameters, mail, kind, name, id, address)
    given, rest = mail.objects("destination")[:MAX_PARTS] or [Fields(None)], {"parameters": parameters.rest()}
    for to in given:
        columns = {**shared, "RecipientEmailAddress": to.text("address") or owner}
        yield event("EmailEvents", at, columns, evidence, rest)
    for item in mail.objects("attachment")[:MAX_PARTS]:
        if item.has("sha256"):
            columns = {
                **{key: shared[key] for key in ("SenderFromAddress", "SenderDisplayName", "ReportId")},
                "RecipientEmailAddress": given[0].text("address") or owner,
                "FileName": item.text("file_name"),
                "FileType": item.text("file_extension_type"),
                "SHA256": item.text("sha256"),
                "ThreatTypes": "Malware" if item.has("malware_family") else None,
            }
            yield event("EmailAttachmentInfo", at, columns, evidence)


def _shared(
    parameters: Fields, mail: Fields, kind: int, name: str, id: str | None, address: str | None
) -> dict[str, Any]:
    """What a mail says whoever gets it."""
    header, envelope = mail.text("source.from_header_address"), mail.text("source.address")
    link = mail.object("connection_info")
    client = link.text("client_ip") or address or ""
    checks = {
        check.upper(): "pass" if passed else "fail"
        for check in ("spf", "dkim", "dmarc")
        if (passed := link.flag(f"{check}_pass")) is not None
    }
    step = mail.integer("action_type") or 0
    harmful = any(one.has("malware_family") for one in mail.objects("attachment"))
    threat = "Malware" if harmful else _THREATS.get(mail.integer("spam_info.disposition") or 0)
    threat = threat or ("Spam" if mail.flag("is_spam") is True else None)
    return {
        "InternetMessageId": mail.text("rfc2822_message_id"),
        "ReportId": id,
        "SenderFromAddress": header,
        "SenderDisplayName": mail.text("source.from_header_displayname"),
        "SenderMailFromAddress": envelope,
        "SenderFromDomain": (header or "").rpartition("@")[2] or None,
        "SenderMailFromDomain": (envelope or "").rpartition("@")[2] or None,
        "SenderIPv4": client if ":" not in client else None,
        "SenderIPv6": client if ":" in client else None,
        "Subject": mail.text("subject"),
        "EmailAction": _WORDS.get(kind) or _STEPS.get(step) or name,
        "DeliveryAction": _delivery(parameters, kind, step, threat),
        "ThreatTypes": threat,
        "AttachmentCount": mail.integer("num_message_attachments"),
        "AuthenticationDetails": ", ".join(f"{check}={word}" for check, word in checks.items()) or None,
    }


def _delivery(parameters: Fields, kind: int, step: int, threat: str | None) -> str | None:
    succeeded = parameters.flag("event_info.success")
    if succeeded is None:
        return None
    if not succeeded or kind == _QUARANTINED or step in _DROPPED:
        return "Blocked"
    by_verdict = parameters.integer("message_info.spam_info.disposition") in _THREATS
    return "Junked" if threat is not None and by_verdict else "Delivered"


def _click(
    parameters: Fields, kind: int, at: str | None, owner: str | None, address: str | None, evidence: Evidence
) -> Event:
    link = parameters.text("message_info.post_delivery_info.interaction.link_url")
    evidence.url(link)
    columns = {
        "ActionType": "ClickAllowed",
        "Url": link,
        "AccountUpn": owner,
        "Workload": "Email" if kind == min(_CLICKS) else "Attachment",
        "IPAddress": address,
        "IsClickedThrough": True,
    }
    return event("UrlClickEvents", at, columns, evidence, {"parameters": parameters.rest()})
