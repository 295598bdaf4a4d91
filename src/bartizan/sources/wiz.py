"""Wiz: issues, threat detections, configuration and vulnerability findings are alerts; its audit log is events.

Source: Wiz documentation, "Issues", "Threat detections", "Cloud configuration findings", "Audit logs".
"""

from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape

_WORDS: dict[str, Severity] = {"none": "informational"}
_CATEGORIES = {
    "toxic_combination": "Misconfiguration",
    "cloud_configuration": "Misconfiguration",
    "threat_detection": "SuspiciousActivity",
    "generated_threat": "SuspiciousActivity",
    "vulnerability": "Vulnerability",
}
_IN_CLUSTER = {
    "deployment": "Deployment",
    "daemon_set": "DaemonSet",
    "stateful_set": "StatefulSet",
    "replica_set": "ReplicaSet",
    "pod": "Pod",
    "namespace": "Namespace",
    "kubernetes_cluster": "cluster",
    "kubernetes_service": "service",
    "service_account_kubernetes": "serviceaccount",
}
_HOSTS = frozenset({"virtual_machine", "endpoint", "host", "kubernetes_node"})
_PEOPLE = frozenset({"user_account", "user", "identity", "access_key_user"})
_ACCOUNTS = frozenset({"service_account", "service_principal"})

_FINDING = (
    "entitySnapshot", "sourceRule", "rule", "control", "ruleMatch", "primaryResource", "severity", "vulnerableAsset",
)  # fmt: skip


class Wiz(Shape):
    name = "wiz"
    vendor = "Wiz"
    product = "Cloud Security"
    marks = (
        "trigger.source+detection.severity entitySnapshot+sourceRule sourceRule+severity+status sourceRule.__typename "
        "action+requestId+actionParameters action+requestid+sourceip log_type=auditLogEntries "
        "action+serviceAccount+sourceIP ruleMatch+triggeringEvents ruleMatch.rule+severity "
        "vulnerableAsset+CVSSSeverity vulnerableAsset rule.__typename+resource "
        "rule.__typename=cloudconfigurationrule primaryActor+primaryResource rule+resource+result "
        "trigger+issue+control nodes.sourceRule action+user+userAgent+sourceIP action+actionParameters+user "
        "nodes.entitySnapshot p_log_type=wiz.* result+analyzedAt entitySnapshot+severity "
        "tdrId+severity mitreTactics+triggeringEvents+cloudAccounts tdrSource+mitreTechniques"
    )
    sourcetypes = ("wiz", "wiz:*")
    table = "WizEvents"
    columns = {
        "EventType": "action type",
        "UserName": "user.name user.id serviceAccount.name",
        "SourceIP": "sourceIP sourceip",
        "Outcome": "status",
        "RequestId": "requestId requestid",
        "UserAgent": "userAgent useragent",
    }
    wrappers = ("nodes",)
    alert = Paths(
        id="id",
        title="sourceRule.name ruleMatch.rule.name rule.name control.name ruleName name title description",
        description="description sourceRule.controlDescription rule.description sourceRule.description",
        severity="severity rule.severity vendorSeverity CVSSSeverity",
        words=_WORDS,
        vendor_category="type rule.__typename",
        categories=_CATEGORIES,
        tactics="mitreTactics sourceRule.mitreTactics ruleMatch.rule.securitySubCategories.category.name",
        detector="sourceRule.id ruleMatch.rule.id rule.id control.id ruleId tdrId",
        first="firstSeenAt firstDetectedAt triggeringEvents.nodes.timestamp triggeringEvents.eventTime "
        "createdAt analyzedAt created",
        last="lastSeenAt lastDetectedAt updatedAt analyzedAt createdAt",
        created="createdAt firstSeenAt",
        updated="updatedAt statusChangedAt analyzedAt",
        status="status result",
        statuses={"pass": "resolved", "fail": "new", "rejected": "resolved", "error": "new"},
        verdict="resolutionReason",
        verdicts={"issuefixed": "truePositive", "wontfix": "informationalExpectedActivity"},
        actions="sourceRule.resolutionRecommendation rule.remediationInstructions remediation",
        url="url wizUrl portalUrl detectionURL",
        fold="entitySnapshot.name resource.id primaryResource.id",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        """Also what a webhook of an automation rule holds: an issue, or a detection of threats."""
        for outer in super().read(record):
            inner = outer.object("detection", "issue")
            if not outer.has("trigger") or not inner.has("id", "severity"):
                yield outer
                continue
            # What the webhook has beside the issue stands within it elsewhere.
            beside = {name: outer.raw(name) for name in ("control", "resource", "sourceRule") if not inner.has(name)}
            yield inner.also({name: value for name, value in beside.items() if value is not None})

    def is_alert(self, fields: Fields) -> bool:
        if fields.has("action") and fields.has("timestamp"):
            return False  # of the audit log
        return fields.has(*_FINDING)

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        owner = fields.object("cloudAccounts")
        names = {
            "cloudProvider": owner.raw("cloudProvider", "cloudPlatform"),
            "subscriptionId": owner.raw("externalId"),
        }
        for path in ("entitySnapshot", "resource", "resources", "primaryResource", "vulnerableAsset"):
            for one in fields.objects(path):
                _resource(one.also({key: value for key, value in names.items() if value is not None}), evidence)
        for path in ("actors", "primaryActor"):
            for one in fields.objects(path):
                _actor(one, evidence)
        for each in fields.objects("cloudAccounts"):
            if (each.text("cloudProvider", "cloudPlatform") or "").upper() == "AWS":
                evidence.amazon(None, name=each.text("name"), account=each.text("externalId"), kind="Account")
        who = fields.object("user")
        evidence.user(who.text("email", "name", "id"))
        evidence.service_principal(fields.text("serviceAccount.name"))
        evidence.ip(fields.text("sourceIP", "sourceip"), ("source",))
        for event in fields.objects("triggeringEvents.nodes", "triggeringEvents"):
            evidence.ip(event.text("actorIP", "sourceIP"), ("source",))
            evidence.host(event.text("rawAuditLogRecord.common.hostInfo.hostname"))
            evidence.process(
                event.text("commandLine"),
                path=event.text("runtimeProgram.name"),
                parent_path=event.text("parentRuntimeProgram.name"),
            )

    def finish(self, fields: Fields, alert: Alert) -> None:
        if fields.has("resolvedAt"):
            alert.status = "resolved"
        if fields.has("CVSSSeverity", "vulnerableAsset"):
            alert.category, alert.categories = "Vulnerability", ["Vulnerability"]
            names = fields.texts("vulnerabilityExternalId", "name")
            alert.vulnerabilities = [name for name in names if name.startswith("CVE-")]
        elif fields.has("result") and alert.vendor_category in (None, "CloudConfigurationRule"):
            alert.category, alert.categories = "Misconfiguration", ["Misconfiguration"]


_SUBSCRIPTIONS = ("subscription.externalId", "subscriptionExternalId", "subscriptionId")


def _resource(one: Fields, evidence: Evidence) -> None:
    """By Wiz's type of it."""
    kind, name = (one.text("type", "nativeType") or "").lower(), one.text("name")
    full = one.text("providerUniqueId", "providerId", "externalId")
    cloud = (one.text("cloudPlatform", "subscription.cloudProvider", "cloudProvider") or "").upper()
    if kind in _PEOPLE:
        evidence.user(name)
    elif kind in _ACCOUNTS:
        evidence.service_principal(name, object_id=full)
    elif kind in _IN_CLUSTER:
        evidence.kubernetes(_IN_CLUSTER[kind], name, one.text("namespace"), one.text("kubernetesClusterName"))
    elif kind == "container":
        evidence.container(None, name)
    elif kind == "container_image":
        evidence.image(name)
    elif kind in _HOSTS:
        host, _, port = (name or "").rpartition(":")
        evidence.host(host if port.isdigit() else name, os=one.text("operatingSystem"))
        for text in one.texts("ipAddresses"):
            evidence.ip(text)
        if cloud and (full is not None or one.has(*_SUBSCRIPTIONS)):
            _in_cloud(cloud, one, evidence)
    else:
        _in_cloud(cloud, one, evidence)
    evidence.domain(name)


def _in_cloud(cloud: str, one: Fields, evidence: Evidence) -> None:
    kind, name = (one.text("type", "nativeType") or "").lower(), one.text("name")
    full = one.text("providerUniqueId", "providerId", "externalId")
    account = one.text(*_SUBSCRIPTIONS)
    if cloud == "AZURE" or (full or "").startswith("/subscriptions/"):
        evidence.azure(full, name=name, kind=kind)
    elif cloud == "GCP":
        evidence.google(full, name=name, kind=kind, project=account)
    else:
        evidence.amazon(full, name=name, kind=kind or None, account=account)


def _actor(one: Fields, evidence: Evidence) -> None:
    kind = (one.text("type") or "").upper()
    if kind == "UNKNOWN" and not one.has("email"):
        return
    if kind == "NETWORK_ADDRESS":
        evidence.ip(one.text("name", "externalId"), ("source",))
        return
    evidence.user(one.text("email", "name"), object_id=None)
    arn = one.text("providerUniqueId", "externalId")
    evidence.amazon(arn if (arn or "").startswith("arn:") else None, kind="IAMIdentity")
    evidence.amazon(None, name=one.text("accessKeyId"), kind="AccessKey")
