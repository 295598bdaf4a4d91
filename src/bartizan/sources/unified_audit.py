"""Records of the Microsoft 365 unified audit log, as rows of OfficeActivity; their keys come in any case.

Source: Office 365 Management Activity API schema; Azure Monitor reference, "OfficeActivity".
"""

import json
import re

from bartizan.extend import Event
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.tables import event
from bartizan.sources.times import first_time

_MAX_PARAMETERS = 200
_MAILBOX_PARAMETERS = frozenset(
    """
    identity mailbox forwardto forwardingsmtpaddress forwardingaddress redirectto forwardasattachmentto user trustee
    """.split()
)
_ADDRESS = re.compile(r"[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9.-]{1,190}\.[A-Za-z]{2,24}")


def is_audit(fields: Fields) -> bool:
    return fields.has("Operation") and fields.has("Workload", "RecordType", "UserKey", "OrganizationId")


def audit_event(fields: Fields) -> Event:
    evidence = Evidence()
    user, client = fields.text("UserId"), fields.text("ClientIP", "ClientIPAddress", "ActorIpAddress")
    evidence.user(user, object_id=None)
    evidence.ip(client, ("source",))
    evidence.mailbox(fields.text("MailboxOwnerUPN"))
    evidence.url(fields.text("SiteUrl", "ObjectId"))
    target = fields.text("ObjectId")
    if target is not None and "@" in target and "/" not in target:
        evidence.user(target)
    for item in fields.objects("Parameters", "OperationProperties")[:_MAX_PARAMETERS]:
        if (item.text("Name") or "").lower() in _MAILBOX_PARAMETERS:
            for text in _ADDRESS.findall(item.text("Value") or "")[:20]:
                evidence.mailbox(text)
    for item in fields.objects("Target", "Actor")[:50]:
        if item.integer("Type") == 5:  # a user principal name
            evidence.user(item.text("ID"))
    columns = {
        "OfficeId": fields.text("Id"),
        "Operation": fields.text("Operation"),
        "OfficeWorkload": fields.text("Workload"),
        "RecordType": fields.text("RecordType"),
        "UserId": user,
        "UserKey": fields.text("UserKey"),
        "UserType": fields.text("UserType"),
        "ClientIP": client,
        "ResultStatus": fields.text("ResultStatus"),
        "OfficeObjectId": target,
        "OrganizationId": fields.text("OrganizationId"),
        "OrganizationName": fields.text("OrganizationName"),
        "OriginatingServer": fields.text("OriginatingServer"),
        "ExternalAccess": fields.text("ExternalAccess"),
        "UserAgent": fields.text("UserAgent"),
        "Site_Url": fields.text("SiteUrl"),
        "SourceFileName": fields.text("SourceFileName"),
        "MailboxOwnerUPN": fields.text("MailboxOwnerUPN"),
        "Client": fields.text("ClientInfoString"),
    }
    for name in ("Parameters", "ModifiedProperties", "ExtendedProperties", "Actor"):
        value = fields.raw(name)
        if isinstance(value, list | dict) and value:
            columns[name] = json.dumps(Fields({name: value}).rest().get(name), separators=(",", ":"))
    return event(
        "OfficeActivity", first_time(fields, "CreationTime", "TimeGenerated"), columns, evidence, fields.rest()
    )
