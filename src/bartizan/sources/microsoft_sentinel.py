"""Microsoft Sentinel: incidents and alerts of its API, of playbooks, and of its tables.

An incident is an alert (its alerts come apart, with ids of their own); where a playbook's body holds the incident's
alerts and entities, they are read from there.
Source: Microsoft Sentinel REST API, "Incidents"; "Security alert schema"; Microsoft Defender for Cloud REST API,
"Alerts"; Azure Monitor reference, tables SecurityIncident and SecurityAlert; "Azure Logic Apps connector for Microsoft
Sentinel".
"""

from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model import security as graph
from bartizan.model.alert import Alert
from bartizan.sources import attack
from bartizan.sources.collector import MAX_EVIDENCE
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.microsoft_alerts import detection_source, product_of
from bartizan.sources.microsoft_entities import read_entities
from bartizan.sources.severity import of_word
from bartizan.sources.shape import Paths, Shape

_OWNER = "owner.userPrincipalName owner.user_principal_name owner.email owner.assignedTo owner.assigned_to"
_INCIDENT = Paths(
    id="name IncidentName id",
    title="title",
    description="description",
    severity="severity",
    category="SuspiciousActivity",
    tactics="tactics additionalData.tactics additional_data.tactics",
    detector="relatedAnalyticRuleIds related_analytic_rule_ids",
    first="firstActivityTimeUtc first_activity_time_utc FirstActivityTime createdTimeUtc created_time_utc CreatedTime",
    last="lastActivityTimeUtc last_activity_time_utc LastActivityTime",
    created="createdTimeUtc created_time_utc CreatedTime",
    updated="lastModifiedTimeUtc last_modified_time_utc LastModifiedTime",
    status="status",
    statuses={"active": "inProgress"},
    verdict="classification",
    assigned=_OWNER,
    sub_provider="providerName",
    url="incidentUrl incident_url",
    tags="labels.labelName labels.label_name",
    detection_source="scheduledAlerts",
)
_ALERT = Paths(
    id="SystemAlertId name",
    title="AlertDisplayName DisplayName AlertName",
    description="Description",
    severity="AlertSeverity severity reportedSeverity",
    vendor_category="AlertType",
    detector="AlertType AlertName",
    first="StartTime StartTimeUtc detectedTimeUtc timeGeneratedUtc TimeGenerated",
    last="EndTime EndTimeUtc timeGeneratedUtc",
    created="timeGeneratedUtc TimeGenerated reportedTimeUtc",
    updated="ProcessingEndTime processingEndTimeUtc",
    status="Status state",
    actions="RemediationSteps",
    sub_provider="ProductComponentName",
    confidence="ConfidenceScore",
    url="AlertLink alertUri",
    fold="CompromisedEntity",
)

DEFENDER = "Microsoft Defender for Cloud"
_ATTACKER = ("attacker source IP", "client IP address", "attackerSourceIP")  # among the properties of an alert


class MicrosoftSentinel(Shape):
    name = "microsoft_sentinel"
    vendor = "Microsoft"
    product = "Microsoft Sentinel"
    marks = (
        "incident_number+incident_url+related_analytic_rule_ids "
        "properties.incidentNumber+properties.incidentUrl properties.incidentNumber+properties.severity "
        "type=Microsoft.SecurityInsights/* object.properties.incidentNumber "
        "SystemAlertId+AlertName+ProviderName IncidentNumber+IncidentUrl "
        "AlertType+SystemAlertId+ProductName type=*SecurityInsights/* object.properties.incidentUrl "
        "workspaceId+object.properties kind=SecurityAlert+properties "
        "TenantId+AlertSeverity+AlertDisplayName AlertDisplayName+SystemAlertId "
        "type=Microsoft.Security/*+properties.alertDisplayName properties.systemAlertId+properties.alertDisplayName"
    )
    sourcetypes = ("ms:sentinel:*", "azure:sentinel:*", "mscs:azure:security:alert", "microsoft:sentinel:*")
    table = "SentinelEvents"
    columns = {"WorkspaceId": "workspaceId", "Category": "category"}
    alert = _INCIDENT

    def read(self, record: Record) -> Iterable[Fields]:
        for fields in objects_of(record, "value", "records"):
            incident = flat(fields.object("object") or fields)
            alerts = [found for inside in incident.objects("alerts") if _is_alert(found := flat(inside))]
            if len(alerts) == 1 and not alerts[0].has("Entities"):  # then those of the incident are its own
                alerts = [alerts[0].also({"Entities": incident.raw("relatedEntities")})]
            yield from alerts
            yield incident

    def is_alert(self, fields: Fields) -> bool:
        incident = fields.has("severity", "incidentNumber", "incident_number") and fields.has("title")
        return incident or _is_alert(fields)

    def made(self, record: Record, fields: Fields) -> Alert:
        if _is_alert(fields):
            return SECURITY_ALERT.made(record, fields)
        return _with_analyst(fields, super().made(record, fields))

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        read_entities(fields.objects("relatedEntities", "Entities"), evidence)
        evidence.observe("user", fields.text(*_OWNER.split()), "assignedTo")

    def finish(self, fields: Fields, alert: Alert) -> None:
        alert.service_source = "microsoftSentinel"
        rules = fields.texts("relatedAnalyticRuleIds", "related_analytic_rule_ids")
        alert.detector_id = (rules[0] if rules else "").rpartition("/")[2] or None
        alert.fingerprint = (alert.provider_alert_id,)


def _with_analyst(fields: Fields, alert: Alert) -> Alert:
    """Where evidence is the account of who works on the incident, it is context."""
    own = {text.lower() for path in _OWNER.split() if (text := fields.text(path)) is not None}
    for item in alert.evidence:
        account = item.userAccount if isinstance(item, graph.UserEvidence) else None
        if account is not None and (account.userPrincipalName or "").lower() in own:
            item.roles = ["contextual"]
    return alert


def flat(fields: Fields) -> Fields:
    """The properties, with the name, which is the id, and the type beside them."""
    inner = fields.object("properties")
    beside = ("name", "id", "etag", "type", "kind")
    own = {key: item for key, item in fields.data.items() if key.lower() in beside}
    return Fields({**own, **inner.data}) if inner else fields


def _is_alert(fields: Fields) -> bool:
    return fields.has("SystemAlertId", "AlertSeverity") or (
        fields.has("AlertDisplayName") and fields.has("ProductName", "AlertType")
    )


class _SecurityAlert(Shape):
    """What Sentinel calls SecurityAlert, of whichever product raised it, and an alert of Defender for Cloud's API."""

    vendor = "Microsoft"
    product = "Microsoft Sentinel"
    table = "SentinelEvents"
    alert = _ALERT

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        items = fields.objects("Entities")
        read_entities(items, evidence)
        for one in fields.objects("ResourceIdentifiers")[:MAX_EVIDENCE]:
            evidence.azure(one.text("azureResourceId", "id"), roles=("attacked",))
        evidence.azure(fields.text("AzureResourceId"), roles=("attacked",))
        evidence.azure(fields.text("associatedResource"), roles=("attacked",))
        more = fields.object("extendedProperties")
        for name in _ATTACKER:
            evidence.ip(more.text(name), ("attacker",))
        _named_in(more, evidence)
        if not evidence.items:
            evidence.host(fields.text("CompromisedEntity"), roles=("attacked",))

    def finish(self, fields: Fields, alert: Alert) -> None:
        own = DEFENDER if (fields.text("type") or "").lower().startswith("microsoft.security/") else None
        service, product = product_of(fields.text("ProductName"), fields.text("ProviderName"), own)
        alert.service_source, alert.product = service, product
        alert.vendor = fields.text("VendorName") or "Microsoft"
        alert.detection_source = "scheduledAlerts" if service == "microsoftSentinel" else detection_source(product)
        tactics = [word for text in fields.texts("Tactics", "Intent") for word in text.split(",")]
        alert.categories = attack.tactics(*tactics) or alert.categories
        alert.category = alert.categories[0] if alert.categories else alert.category
        named = {word for text in fields.texts("techniques") for word in attack.techniques_in(text)}
        alert.techniques = sorted({*alert.techniques, *named})
        alert.severity = of_word(fields.text("AlertSeverity", "severity", "reportedSeverity"))
        alert.recommended_actions = "\n".join(fields.texts("RemediationSteps")) or None
        if (fields.text("Status", "state") or "").lower() == "dismissed":
            alert.classification = alert.classification or "falsePositive"


def _named_in(more: Fields, evidence: Evidence) -> None:
    """What the properties of an alert of Defender for Cloud name, where no entity does."""
    known = {type(item) for item in evidence.items}
    who = more.text("user name", "userName", "account name", "accountName")
    user = None
    if graph.UserEvidence not in known:
        user = evidence.user(who, domain=None if "\\" in (who or "") else more.text("domain name", "domainName"))
    if graph.ProcessEvidence not in known:
        evidence.process(
            more.text("command line", "commandLine", "process command line"),
            path=more.text("process name", "processName", "suspicious process"),
            pid=more.integer("process id", "processId", "suspicious process id"),
            user=user,
            parent_path=more.text("parent process", "parentProcess"),
        )


SECURITY_ALERT = _SecurityAlert()
