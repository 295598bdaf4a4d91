"""Google Cloud audit logs: rows of GCPAuditLogs; sign-ins and warnings of Google accounts that pass here besides.

Entries of other logs come by the same way: of networks, names, load balancers. What Cloud IDS finds and what Cloud
Armor denies as an attack are alerts.

Source: Google Cloud, "AuditLog", "LogEntry", "Push subscriptions", "Google Workspace audit logs"; Google Kubernetes
Engine, "Audit logging information"; Microsoft Sentinel, table GCPAuditLogs.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import entities as names
from bartizan.sources import envelopes, gcp_logs
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import MAX_INNER_JSON_CHARS, Fields, inner_json, objects_of
from bartizan.sources.generic import guess_event, unread
from bartizan.sources.google_activity import Activity, activities, alert, name_entities, signed_in, verdict
from bartizan.sources.shape import Shape
from bartizan.sources.tables import columns, event, unmade
from bartizan.sources.times import first_time

_MAX_BINDINGS = 50
_MAX_MEMBERS = 100
_NAMED = ("instance_id", "bucket_name", "cluster_name", "service_name", "dataset_id", "email_id", "disk_id")
_ACCOUNTS = frozenset({"user", "serviceAccount"})  # before the colon of a member; the others are groups and domains
_WORKSPACE = ("login.googleapis.com", "admin.googleapis.com")
# Besides GCPAuditLogs' own, the common columns hold who, whence and what.
_COLUMNS = {
    "InsertId": "insertId",
    "LogName": "logName",
    "Severity": "severity",
    "GCPResourceName": "protoPayload.resourceName",
    "GCPResourceType": "resource.type",
    "ProjectId": "resource.labels.project_id",
    "ServiceName": "protoPayload.serviceName",
    "MethodName": "protoPayload.methodName protoPayload.metadata.methodName",
    "PrincipalEmail": "protoPayload.authenticationInfo.principalEmail",
    "AuthenticationInfo": "dynamic protoPayload.authenticationInfo",
    "AuthorizationInfo": "dynamic protoPayload.authorizationInfo",
    "RequestMetadata": "dynamic protoPayload.requestMetadata",
    "ResourceLocation": "dynamic protoPayload.resourceLocation",
    "ResourceOriginalState": "dynamic protoPayload.resourceOriginalState",
    "Request": "dynamic protoPayload.request",
    "Response": "dynamic protoPayload.response",
    "Metadata": "dynamic protoPayload.metadata",
    "ServiceData": "dynamic protoPayload.serviceData",
    "NumResponseItems": "protoPayload.numResponseItems",
    "Status": "dynamic protoPayload.status",
    "StatusMessage": "protoPayload.status.message",
    "UserAgent": "protoPayload.requestMetadata.callerSuppliedUserAgent",
}
_USED = frozenset({"insertid", "logname", "severity", "timestamp"})


class GcpAudit(Shape):
    name = "gcp_audit"
    vendor = "Google"
    product = "Cloud Audit Logs"
    marks = (
        "message.data+message.messageId message.data+subscription protoPayload+resource "
        "protoPayload.methodName protoPayload.@type protoPayload+logName logName=*cloudaudit* "
        "jsonPayload+resource+logName textPayload+resource+logName logName+insertId+resource "
        "httpRequest+logName+resource p_log_type=gcp.* jsonPayload.enforcedSecurityPolicy "
        "PrincipalEmail+MethodName+LogName protoPayload+severity protoPayload+timestamp protoPayload.serviceName"
    )
    sourcetypes = ("google:gcp:pubsub:message", "google:gcp:pubsub:audit:*", "google:gcp:*audit*", "gcp:audit*")
    table = "GCPAuditLogs"
    columns = _COLUMNS
    wrappers = ("entries", "_source")

    def read(self, record: Record) -> Iterable[Fields]:
        return (_of_row(pushed(fields)) for fields in objects_of(record, *self.wrappers))

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        payload = fields.object("protoPayload")
        caller(payload, evidence)
        name, labels = payload.text("resourceName", "metadata.resourceName"), fields.object("resource.labels")
        kind, project = fields.text("resource.type"), labels.text("project_id")
        found = cluster_object(name) if payload.text("serviceName") == "k8s.io" else None
        if found is not None:
            evidence.kubernetes(found.kind, found.name, found.namespace, labels.text("cluster_name"))
        else:
            evidence.google(name, kind=kind, project=project, location=labels.text("location", "zone"))
        evidence.observe("resource", project, "project")
        for label in _NAMED:
            evidence.observe("resource", labels.text(label), kind or "")
        for path in ("request.policy.bindings", "serviceData.policyDelta.bindingDeltas", "metadata.iamDelta"):
            for binding in payload.objects(path)[:_MAX_BINDINGS]:
                for member in (*binding.texts("members")[:_MAX_MEMBERS], binding.text("member")):
                    _member(member, evidence)
        evidence.user(payload.text("request.service_account.email", "response.email"))
        for seen in _workspace(fields):
            name_entities(seen, evidence)

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        found = False
        for fields in self.read(record):
            found = True
            if (shape := gcp_logs.reader(fields)) is not None:
                yield shape.made(record, fields)
            for seen in _workspace(fields):
                if (said := verdict(seen)) is not None:
                    yield alert(record, seen, said, vendor=self.vendor, product="Google Workspace")
                yield from signed_in(seen, "google_workspace")  # the reports' own ids: the same sign-in is one
            yield from self.event(fields)
        if not found:
            yield from unread(record, self.table)

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        payload, evidence = fields.object("protoPayload"), Evidence()
        if not payload:
            yield (
                gcp_logs.row(fields, self.table, _COLUMNS) if fields.has("logName") else guess_event(fields, self.table)
            )
            return
        self.entities(fields, evidence)
        at = first_time(fields, "timestamp", "receiveTimestamp", "p_event_time") or first_time(payload, "timestamp")
        row = columns(fields, _COLUMNS) | {
            "EventId": fields.text("insertId"),
            "EventType": payload.text("methodName", "metadata.methodName"),
            "Outcome": _outcome(payload),
            "UserName": payload.text("authenticationInfo.principalEmail"),
            "SourceIP": names.address(payload.text("requestMetadata.callerIp", "metadata.requestMetadata.callerIp")),
        }
        rest = {name: value for name, value in fields.rest(_USED).items() if name.lower() != "protopayload"}
        yield event(self.table, at, row, evidence, rest)


def _of_row(fields: Fields) -> Fields:
    """A row of Sentinel's table GCPAuditLogs as the entry that it was made of; any other object as it is."""
    if not fields.has("GCPResourceName", "PrincipalEmail") or fields.has("protoPayload"):
        return fields
    return Fields({"timestamp": fields.raw("Timestamp", "TimeGenerated"), **unmade(fields, _COLUMNS)})


def pushed(fields: Fields) -> Fields:
    """The entry inside a push of Pub/Sub, whose data is JSON, in Base64 or as it is; any other object as it is."""
    text = fields.text("message.data")
    if text is None or len(text) > MAX_INNER_JSON_CHARS:
        return fields
    inner = inner_json(envelopes.decoded(text) or text)
    return Fields(inner) if isinstance(inner, dict) else fields


class ClusterObject(NamedTuple):
    kind: str
    name: str | None
    namespace: str | None


def cluster_object(path: str | None) -> ClusterObject | None:
    """Of "core/v1/namespaces/shop/pods/web-0/exec"; None of a path of another form."""
    parts = (path or "").strip("/").split("/")
    if len(parts) < 3:
        return None
    parts = parts[2:]  # without group and version
    if parts[0] == "namespaces" and len(parts) > 2:
        return ClusterObject(parts[2], parts[3] if len(parts) > 3 else None, parts[1])
    return ClusterObject(parts[0], parts[1] if len(parts) > 1 else None, None)


def caller(payload: Fields, evidence: Evidence) -> None:
    """Who called and whence, of the payload of an audit log."""
    who = payload.object("authenticationInfo")
    evidence.user(who.text("principalEmail"))
    _member(who.text("principalSubject"), evidence)
    for item in who.objects("serviceAccountDelegationInfo")[:10]:
        evidence.user(item.text("firstPartyPrincipal.principalEmail"))
    evidence.observe("resource", who.text("serviceAccountKeyName"), "key")
    evidence.ip(payload.text("requestMetadata.callerIp", "metadata.requestMetadata.callerIp"), ("source",))


def _member(text: str | None, evidence: Evidence) -> None:
    """A member of a policy, such as "user:ann@corp.example"."""
    kind, colon, name = (text or "").partition(":")
    if colon and kind in _ACCOUNTS:
        evidence.user(name)
    elif colon and kind == "group":
        evidence.group(name)


def _outcome(payload: Fields) -> str:
    code = payload.integer("status.code")
    return "Success" if not code else "Failure"


def _workspace(fields: Fields) -> Iterator[Activity]:
    """The events of a Workspace report that Cloud Logging shows as an audit log."""
    payload = fields.object("protoPayload")
    service, seen = payload.text("serviceName") or "", payload.object("metadata")
    if service not in _WORKSPACE or not seen.has("event"):
        return
    who = payload.text("authenticationInfo.principalEmail")
    yield from activities(
        seen.objects("event"),
        app=service.partition(".")[0],
        actor=Fields({"email": who} if who else {}),
        address=payload.text("requestMetadata.callerIp"),
        at=first_time(fields, "timestamp", "receiveTimestamp"),
        id=seen.text("activityId.uniqQualifier") or fields.text("insertId"),
        network=Fields(None),
    )
