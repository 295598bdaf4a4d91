"""What services of Azure call an alert or an attack: Defender for Cloud, Azure Firewall, web application firewalls.

Source: Microsoft Defender for Cloud REST API, "Alerts", "Assessments"; Azure Monitor reference, tables
AZFWIdpsSignature, AZFWThreatIntel, AGWFirewallLogs, SecurityRecommendation; Azure Front Door, "Monitor metrics and
logs: WAF logs".
"""

import re

from bartizan.model.alert import Alert
from bartizan.sources import azure_network, common_security_log
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.microsoft_sentinel import DEFENDER, SECURITY_ALERT, flat
from bartizan.sources.severity import of_suricata, of_word
from bartizan.sources.shape import Paths, Shape

_MALWARE = ("malware", "trojan", "c2", "command and control")
_STOPPED = frozenset({"block", "blocked", "deny", "drop", "alert and deny"})


class _Firewall(Shape):
    """A diagnostic log of a firewall, of a packet or a request that it calls an attack."""

    vendor = "Microsoft"
    product = "Azure Firewall"
    table = "AzureEvents"
    alert = Paths(
        id="properties.trackingReference+properties.ruleName properties.transactionId+properties.ruleId",
        title="properties.Description properties.ThreatDescription properties.message properties.details.msg"
        " properties.details_msg properties.ruleName",
        category="Exploit",
        vendor_category="properties.Category category",
        detector="properties.SignatureId properties.ruleId properties.ruleName category",
        first="time TimeGenerated",
        fold="properties.SourceIp properties.clientIp properties.clientIP resourceId",
    )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        more = fields.object("properties")
        source = more.text("SourceIp", "clientIp", "clientIP")
        target = more.text("DestinationIp")
        port = more.integer("SourcePort", "clientPort")
        evidence.flow(source, port, target, more.integer("DestinationPort"), more.text("Protocol"))
        evidence.ip(source, ("source",))
        evidence.ip(target, ("destination",))
        host, path = more.text("hostname", "host"), more.text("requestUri") or ""
        evidence.url(
            f"https://{host}{path}" if host and path.startswith("/") else path or more.text("TargetUrl", "Url")
        )
        evidence.domain(host or more.text("Fqdn"))
        evidence.azure(fields.text("resourceId"), roles=("attacked",))

    def finish(self, fields: Fields, alert: Alert) -> None:
        more = fields.object("properties")
        kind = (fields.text("category") or "").lower()
        stopped = (more.text("action") or "").lower() in _STOPPED
        if "firewalllog" in kind:
            alert.product = "Azure Web Application Firewall"
            alert.severity = "low" if stopped else "medium"
        elif "threatintel" in kind:
            alert.severity, alert.category = "medium" if stopped else "high", "CommandAndControl"
        else:
            level, number = more.text("Severity"), more.integer("Severity")
            alert.severity = of_word(level) if number is None else of_suricata(number)
            alert.vendor_severity = level
            if any(word in (more.text("Category") or "").lower() for word in _MALWARE):
                alert.category = "Malware"
        alert.categories = [alert.category] if alert.category else []
        common_security_log.acted(alert, "blocked" if stopped else None)


class _Assessment(Shape):
    """What Defender for Cloud recommends for a resource: a finding until the resource is healthy."""

    vendor = "Microsoft"
    product = DEFENDER
    table = "AzureEvents"
    alert = Paths(
        id="properties.resourceDetails.id+name id",
        title="properties.displayName properties.metadata.displayName",
        description="properties.metadata.description properties.status.description",
        severity="properties.metadata.severity",
        category="Misconfiguration",
        vendor_category="properties.metadata.categories",
        detector="name",
        first="properties.status.statusChangeDate properties.status.firstEvaluationDate time TimeGenerated",
        created="properties.status.firstEvaluationDate",
        updated="properties.status.statusChangeDate",
        status="properties.status.code",
        statuses={"unhealthy": "new", "healthy": "resolved", "notapplicable": "resolved"},
        actions="properties.metadata.remediationDescription",
        fold="properties.resourceDetails.id",
    )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        evidence.azure(fields.text("properties.resourceDetails.id"), roles=("attacked",))

    def finish(self, fields: Fields, alert: Alert) -> None:
        if alert.severity == "unknown":
            alert.severity = "medium"  # it comes with the metadata, which an export may leave out


_FIREWALL = _Firewall()
_ASSESSMENT = _Assessment()


def _assessed(fields: Fields) -> Fields | None:
    """An assessment of the API and of exports, or a row of SecurityRecommendation, where it tells of something: what is
    healthy from its first evaluation on ends nothing.
    """
    known = fields
    if (fields.text("Type") or "").lower() == "securityrecommendation":
        status = {"code": fields.text("RecommendationState"), "statusChangeDate": fields.text("StatusChangeDate")}
        about = {
            "displayName": fields.text("RecommendationDisplayName", "RecommendationName"),
            "metadata": {
                "severity": fields.text("RecommendationSeverity"),
                "description": fields.text("Description"),
                "remediationDescription": fields.text("RemediationDescription"),
            },
            "resourceDetails": {"id": fields.text("AssessedResourceId")},
            "status": {**status, "firstEvaluationDate": fields.text("FirstEvaluationDate")},
        }
        known = Fields({**fields.data, "name": fields.text("RecommendationId"), "properties": about})
    state = known.object("properties.status")
    code, since = (state.text("code") or "").lower(), state.text("firstEvaluationDate")
    changed = since is not None and state.text("statusChangeDate") not in (None, since)
    return known if code == "unhealthy" or (code in ("healthy", "notapplicable") and changed) else None


# Tables of Log Analytics whose rows hold as columns what a diagnostic log holds under `properties`.
_TABLES = {
    "azfwidpssignature": "AZFWIdpsSignature",
    "azfwthreatintel": "AZFWThreatIntel",
    "agwfirewalllogs": "ApplicationGatewayFirewallLog",
}


_WEB = frozenset({"applicationgatewayfirewalllog", "frontdoorwebapplicationfirewalllog"})
_SUFFIX = re.compile(r"_[sdgbt]$")  # of a column, for its type


def as_logged(fields: Fields) -> Fields:
    """A row of a table of its own, or of a web firewall in AzureDiagnostics, as the diagnostic log has it.

    Anything else stays as it is.
    """
    table, category = (fields.text("Type") or "").lower(), fields.text("Category")
    if fields.has("properties"):
        return fields
    if table in _TABLES:
        category, inner = _TABLES[table], dict(fields.data)
    elif table == "azurediagnostics" and (category or "").lower() in _WEB:
        inner = {_SUFFIX.sub("", name): value for name, value in fields.data.items()}
    else:
        return fields
    path = fields.text("_ResourceId", "ResourceId")
    said = {"category": category, "time": fields.text("TimeGenerated"), "resourceId": path}
    return Fields({**said, "properties": inner})


def reader(fields: Fields) -> tuple[Shape, Fields] | None:
    """Who reads a record that a service of Azure calls an alert or an attack, and what of it; None for all others."""
    inner = fields.object("properties")
    if inner.has("alertDisplayName") and inner.has("alertType", "systemAlertId"):
        return SECURITY_ALERT, flat(fields).also({"ProductName": DEFENDER})
    if (fields.text("type") or "").lower() in ("microsoft.security/assessments", "securityrecommendation"):
        assessed = _assessed(fields)
        return (_ASSESSMENT, assessed) if assessed is not None else None
    kind = (fields.text("category") or "").lower()
    if kind in ("azfwidpssignature", "azfwthreatintel") and inner.has("SourceIp"):
        return _FIREWALL, fields
    if (known := azure_network.threat(fields)) is not None:
        return _FIREWALL, known
    if kind in _WEB and (inner.text("action") or "").lower() in _STOPPED and inner.has("message", "ruleName", "ruleId"):
        return _FIREWALL, fields
    return None
