"""Kubernetes audit: events of the API server, also as AKS, EKS and GKE export them, as rows of CloudAuditEvents.

Source: Kubernetes documentation, "Auditing", "kube-apiserver Audit Configuration (v1)"; Azure Monitor, "kube-audit";
Amazon EKS, "control plane logs"; GKE, "Audit logging information"; advanced hunting, table CloudAuditEvents.
"""

from collections.abc import Iterable, Iterator
from urllib.parse import parse_qs, urlsplit

from bartizan.extend import Event, GraphObject, Record
from bartizan.sources import entities as names
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, inner_json, objects_of
from bartizan.sources.gcp_audit import caller, cluster_object
from bartizan.sources.generic import guess_event
from bartizan.sources.shape import Shape
from bartizan.sources.tables import event
from bartizan.sources.times import first_time

_MAX_PARTS = 50
_MAX_URI_CHARS = 8_192
_SERVICE_ACCOUNT = "system:serviceaccount:"
_ACTIONS = {
    **dict.fromkeys(("get", "list", "watch", "proxy"), "Read"),
    **dict.fromkeys(("update", "patch"), "Update"),
    **dict.fromkeys(("delete", "deletecollection"), "Delete"),
    "create": "Create",
}
_TIMES = (
    "requestReceivedTimestamp",
    "stageTimestamp",
    "timestamp",
    "time",
    "p_event_time",
    "metadata.creationTimestamp",
)


class KubernetesAudit(Shape):
    name = "k8s_audit"
    vendor = "Kubernetes"
    product = "API server"
    marks = (
        "protoPayload.serviceName=k8s.io+protoPayload+resource+timestamp "
        "protoPayload.serviceName=k8s.io+resource.type=k8s_cluster+protoPayload kind=event+objectRef+verb "
        "apiVersion=audit.k8s.io/* auditID+verb+stage objectRef+responseStatus+verb requestURI+verb+user "
        "kind=event+verb p_log_type=amazon.eks.audit items.auditID category=kube-audit* "
        "properties.log+category=kube-audit* p_log_type=*.aks.audit p_log_type=*kubernetes*"
    )
    sourcetypes = (
        "kube:apiserver:audit", "kube:apiserver*", "kubernetes:audit", "kube:audit*", "aws:eks:audit*", "k8s:*audit*",
    )  # fmt: skip
    table = "KubernetesEvents"
    wrappers = ("items", "records", "entries", "Records", "_source")

    def read(self, record: Record) -> Iterable[Fields]:
        for fields in objects_of(record, *self.wrappers):
            logged = fields.each("logEvents")  # a subscription of CloudWatch Logs
            if logged:
                yield from (item for one in logged if (item := Fields(inner_json(one.raw("message")))))
                continue
            inner = fields.object("properties.log", "message", "log")
            yield inner if inner.has("verb", "objectRef", "auditID") else fields

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        payload = fields.object("protoPayload")
        if payload:
            caller(payload, evidence)
            found = cluster_object(payload.text("resourceName"))
            if found is not None:
                evidence.kubernetes(
                    found.kind, found.name, found.namespace, fields.text("resource.labels.cluster_name")
                )
            evidence.observe("resource", fields.text("resource.labels.project_id"), "project")
            _asked(payload.object("request"), evidence)
            return
        for path in ("user.username", "impersonatedUser.username"):
            _user(fields.text(path), evidence)
        for text in fields.texts("sourceIPs"):
            evidence.ip(text, ("source",))
        what = fields.object("objectRef")
        evidence.kubernetes(what.text("resource"), what.text("name"), what.text("namespace"))
        evidence.kubernetes("namespace", what.text("namespace"))
        if what.text("subresource") == "exec":
            asked = parse_qs(urlsplit((fields.text("requestURI") or "")[:_MAX_URI_CHARS]).query).get("command", [])
            evidence.process(name=next(iter(asked), None))
        _asked(fields.object("requestObject"), evidence)

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        payload, what = fields.object("protoPayload"), fields.object("objectRef")
        if not payload and not fields.has("verb", "objectRef", "auditID"):
            yield guess_event(fields, self.table)
            return
        evidence = Evidence()
        self.entities(fields, evidence)
        verb = fields.text("verb") or (payload.text("methodName") or "").rpartition(".")[2]
        parts = [what.text("namespace"), what.text("resource"), what.text("name"), what.text("subresource")]
        path = "/".join(part for part in parts if part)
        address = next(iter(fields.texts("sourceIPs")), None) or payload.text("requestMetadata.callerIp")
        kind = "/".join(part for part in (what.text("resource"), what.text("subresource")) if part)
        columns = {
            "ReportId": fields.text("auditID", "insertId"),
            "DataSource": "GKE" if payload else "Kubernetes",
            "ActionType": _ACTIONS.get(verb, "Other"),
            "OperationName": payload.text("methodName") or f"{verb} {kind}".strip(),
            "ResourceId": payload.text("resourceName") or path or None,
            "IPAddress": names.address(address),
            "UserAgent": fields.text("userAgent") or payload.text("requestMetadata.callerSuppliedUserAgent"),
            "RawEventData": fields.rest() or None,
        }
        rest = {
            "UserName": fields.text("user.username") or payload.text("authenticationInfo.principalEmail"),
            "ResponseCode": fields.integer("responseStatus.code"),
            "Decision": fields.object("annotations").text("authorization.k8s.io/decision"),
            "Stage": fields.text("stage"),
        }
        kept = {name: value for name, value in rest.items() if value is not None}
        yield event("CloudAuditEvents", first_time(fields, *_TIMES), columns, evidence, kept)


def _user(name: str | None, evidence: Evidence) -> None:
    """A service account is "system:serviceaccount:namespace:name"."""
    if name is not None and name.startswith(_SERVICE_ACCOUNT):
        namespace, _, account = name.removeprefix(_SERVICE_ACCOUNT).partition(":")
        evidence.kubernetes("ServiceAccount", account, namespace)
        evidence.observe("user", name)
    else:
        evidence.user(name)


def _asked(asked: Fields, evidence: Evidence) -> None:
    """What the body of a request names: containers, what runs in them, accounts that get a role."""
    spec = asked.object("spec")
    for pod in (spec, spec.object("template.spec")):
        for kind in ("containers", "initContainers", "ephemeralContainers"):
            for box in pod.objects(kind)[:_MAX_PARTS]:
                evidence.image(box.text("image"))
        evidence.observe("resource", pod.text("serviceAccountName"), "serviceAccount")
        evidence.host(pod.text("nodeName"))
        for volume in pod.objects("volumes")[:_MAX_PARTS]:
            evidence.observe("resource", volume.text("hostPath.path"), "hostPath")
    evidence.process(name=next(iter(asked.texts("command")), None))
    for subject in asked.objects("subjects")[:_MAX_PARTS]:
        if (subject.text("kind") or "") == "ServiceAccount":
            evidence.kubernetes("ServiceAccount", subject.text("name"), subject.text("namespace"))
        elif (subject.text("kind") or "") == "User":
            _user(subject.text("name"), evidence)
    evidence.kubernetes(asked.text("roleRef.kind"), asked.text("roleRef.name"))
