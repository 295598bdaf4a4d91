"""Google Workspace: activity reports become events, their sign-ins signIns; alerts of the Alert Center are alerts.

A report's event is an alert too where Google, or a rule of the customer's, says that something is wrong.
Source: Google Admin SDK, Reports API, "Activity reports"; Google Workspace Alert Center API, "Alert types"; Microsoft
advanced hunting, tables CloudAppEvents and EmailEvents.
"""

from collections.abc import Iterator

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import google_mail
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.generic import guess_event, unread
from bartizan.sources.google_activity import Activity, activities, alert, name_entities, signed_in, verdict
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.tables import event
from bartizan.sources.times import first_time

_MAX_PARTS = 50
# Where the data of an alert name an account.
_PEOPLE = (
    "email", "actorEmail", "affectedUserEmails", "ruleViolationInfo.triggeringUserEmail",
    "requestInfo.appDeveloperEmail", "primaryAdminChangedEvent.updatedAdminEmail",
    "primaryAdminChangedEvent.previousAdminEmail", "superAdminPasswordResetEvent.userEmail",
)  # fmt: skip
_PRODUCT = "Google Workspace"
# Part of a type of alert, in lower case -> category.
_CATEGORIES = {
    "phishing": "Phishing",
    "malware": "Malware",
    "leaked password": "CredentialAccess",
    "login": "InitialAccess",
    "government": "InitialAccess",
    "exfiltration": "Exfiltration",
    "data export": "Exfiltration",
    "data loss prevention": "Exfiltration",
    "takeout": "Exfiltration",
    "granted admin": "PrivilegeEscalation",
    "spam": "SuspiciousActivity",
}


class GoogleWorkspace(Shape):
    name = "google_workspace"
    vendor = "Google"
    product = _PRODUCT
    marks = (
        "actor+id.applicationName kind=*reports#activity+id id.applicationName+events id.uniqueQualifier "
        "actor+id+ipAddress+parameters actor+id+name+parameters alertId+customerId+source+type "
        "customerId+alertId+data alertId+type+source+data alertId+data.@type p_log_type=gsuite.* "
        "actor.email+id.applicationName+name event_info.timestamp_usec+message_info "
        "record_type+time_usec+unique_identifier+event_name"
    )
    sourcetypes = ("gws:*", "google:workspace:*", "gapps:*", "google:gsuite:*")
    table = "GoogleWorkspaceEvents"
    wrappers = ("items", "alerts", "_source")
    alert = Paths(
        id="alertId",
        title="data.title data.displayName data.ruleViolationInfo.ruleInfo.displayName type",
        description="data.description",
        severity="metadata.severity severity",
        vendor_category="type",
        detector="data.ruleViolationInfo.ruleInfo.resourceName data.name type",
        first="startTime createTime",
        last="endTime updateTime",
        created="createTime",
        updated="metadata.updateTime updateTime",
        status="metadata.status status",
        statuses={"notstarted": "new"},
        assigned="metadata.assignee",
        sub_provider="source",
        url="securityInvestigationToolLink",
        fold="data.email data.maliciousEntity.fromHeader data.ruleViolationInfo.triggeringUserEmail",
    )

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("alertId") and fields.has("type")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        """Of an alert of the Alert Center."""
        data = fields.object("data")
        for path in _PEOPLE:
            for text in data.texts(path)[:_MAX_PARTS]:
                evidence.user(text)
        evidence.ip(data.text("loginDetails.ipAddress", "sourceIp"), ("source",))
        sender = data.text("maliciousEntity.fromHeader", "maliciousEntity.entity.emailAddress")
        mails = data.objects("messages")[:_MAX_PARTS]
        for mail in mails:
            evidence.message(
                internet_id=mail.text("messageId"),
                sender=sender,
                recipient=mail.text("recipient"),
                subject=mail.text("subjectText"),
                received=first_time(mail, "date", "sentTime"),
            )
            for digest in mail.texts("attachmentsSha256Hash"):
                evidence.file(hashes=[digest])
        if not mails:
            evidence.mailbox(sender)
        evidence.mailbox(data.text("maliciousEntity.entity.emailAddress"))
        for seen in data.objects("events")[:_MAX_PARTS]:
            evidence.host(device_id=seen.text("deviceId", "serialNumber"), os=seen.text("deviceType"))
            evidence.observe("resource", seen.text("serialNumber"), "device")
        where = data.object("ruleViolationInfo.resourceInfo")
        evidence.observe("resource", where.text("documentId"), "document")
        for text in data.texts("ruleViolationInfo.recipients")[:_MAX_PARTS]:
            evidence.mailbox(text)
        if not evidence.items:
            evidence.app(_PRODUCT)

    def finish(self, fields: Fields, alert: Alert) -> None:
        words = f"{fields.text('type')} {fields.text('source')}".lower()
        alert.category = next((ours for part, ours in _CATEGORIES.items() if part in words), alert.category)
        alert.categories = [alert.category or "SuspiciousActivity"]
        if alert.severity == "unknown":  # an answer without metadata
            alert.severity = "high" if "government" in words else "medium"
        if fields.flag("deleted") is True:
            alert.status = "resolved"
        if "rule" in words or fields.has("data.ruleViolationInfo"):
            alert.detection_source = "customDetection"

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        found = False
        for fields in self.read(record):
            found = True
            if self.is_alert(fields):
                yield self.made(record, fields)
                continue
            fields = google_mail.found_in(fields) or fields
            if not fields.has("events", "name", "id.applicationName"):
                yield guess_event(fields, self.table)
                continue
            for item in _activities(fields):
                if (said := verdict(item)) is not None:
                    yield alert(record, item, said, vendor=self.vendor, product=self.product)
                yield from signed_in(item, self.name)
                yield from _rows(item, fields)
        if not found:
            yield from unread(record, self.table)


def _activities(fields: Fields) -> Iterator[Activity]:
    """Of a record with its events in a list, one alone, or flattened into the record."""
    yield from activities(
        fields.each("events") or fields.objects("events") or [fields],
        app=fields.text("id.applicationName", "applicationName") or "",
        actor=fields.object("actor"),
        address=fields.text("ipAddress"),
        at=first_time(fields, "id.time", "p_event_time", "time"),
        id=fields.text("id.uniqueQualifier", "id.uniqQualifier"),
        network=fields.object("networkInfo"),
    )


def _rows(item: Activity, fields: Fields) -> Iterator[Event]:
    evidence, more = Evidence(), item.parameters
    name_entities(item, evidence)
    if item.app == "gmail" and more.object("message_info"):
        yield from google_mail.rows(
            more,
            name=item.name,
            id=item.id,
            at=item.at,
            owner=item.actor.text("email"),
            address=item.address,
            evidence=evidence,
        )
        return
    columns = {
        "ActionType": item.name,
        "ActivityType": item.kind,
        "Application": _PRODUCT,
        "AccountId": item.actor.text("profileId"),
        "AccountDisplayName": item.actor.text("email"),
        "IsAdminOperation": item.app == "admin",
        "IPAddress": item.address,
        "CountryCode": item.place.country,
        "UserAgent": more.text("user_agent"),
        "ObjectName": more.text("doc_title", "resource_title", "app_name", "APPLICATION_NAME", "event_title"),
        "ObjectType": more.text("doc_type", "resource_type"),
        "ObjectId": more.text("doc_id", "resource_id", "event_id"),
        "OAuthAppId": more.text("client_id"),
        "ReportId": item.id,
    }
    rest = {"applicationName": item.app, "customerId": fields.text("id.customerId"), "parameters": more.rest()}
    yield event("CloudAppEvents", item.at, columns, evidence, {key: value for key, value in rest.items() if value})
