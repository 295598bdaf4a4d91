"""What services of Azure call an alert or an attack: Defender for Cloud, Azure Firewall, web application firewalls.

Source: Microsoft Defender for Cloud REST API, "Alerts"; Azure Monitor reference, tables AZFWIdpsSignature,
AZFWThreatIntel, AGWFirewallLogs; Azure Front Door, "Monitor metrics and logs: WAF logs".
"""

from bartizan.model.alert import Alert, Severity
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.microsoft_entities import read_entities
from bartizan.sources.severity import of_word
from bartizan.sources.shape import Paths, Shape

_MAX_RESOURCES = 20
_MALWARE = ("malware", "trojan", "c2", "command and control")
# Azure Firewall counts from the highest.
_LEVELS: dict[int, Severity] = {1: "high", 2: "medium", 3: "low"}
_STOPPED = frozenset({"block", "blocked", "deny", "drop", "alert and deny"})


class _DefenderForCloud(Shape):
    """An alert as the API of Defender for Cloud gives it, its properties beside its id."""

    vendor = "Microsoft"
    product = "Microsoft Defender for Cloud"
    table = "AzureEvents"
    alert = Paths(
        id="systemAlertId name",
        title="alertDisplayName alertType",
        description="description",
        severity="severity reportedSeverity",
        vendor_category="alertType",
        tactics="intent",
        detector="alertType alertName",
        first="startTimeUtc detectedTimeUtc timeGeneratedUtc",
        last="endTimeUtc timeGeneratedUtc",
        created="timeGeneratedUtc reportedTimeUtc",
        updated="processingEndTimeUtc",
        status="status state",
        actions="remediationSteps",
        sub_provider="productComponentName",
        url="alertUri",
        fold="compromisedEntity",
    )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        for one in fields.objects("resourceIdentifiers")[:_MAX_RESOURCES]:
            evidence.azure(one.text("azureResourceId", "id"), roles=("attacked",))
        read_entities(fields.objects("entities"), evidence)
        evidence.azure(fields.text("associatedResource"), roles=("attacked",))
        more = fields.object("extendedProperties")
        for name in ("attacker source IP", "client IP address", "Client IP Address", "attackerSourceIP"):
            evidence.ip(more.text(name), ("attacker",))
        if not evidence.items:
            evidence.host(fields.text("compromisedEntity"), roles=("attacked",))

    def finish(self, fields: Fields, alert: Alert) -> None:
        alert.service_source = "microsoftDefenderForCloud"
        alert.detection_source = "microsoftDefenderForCloud"
        words = {one.strip() for text in fields.texts("techniques") for one in text.split(",")}
        alert.techniques = sorted(
            {*alert.techniques, *(word for word in words if word[:1] == "T" and word[1:5].isdigit())}
        )
        steps = fields.texts("remediationSteps")
        alert.recommended_actions = "\n".join(steps) or None
        if (fields.text("status", "state") or "").lower() == "dismissed":
            alert.classification = alert.classification or "falsePositive"


class _Firewall(Shape):
    """A diagnostic log of a firewall, of a packet or a request that it calls an attack."""

    vendor = "Microsoft"
    product = "Azure Firewall"
    table = "AzureEvents"
    alert = Paths(
        id="properties.trackingReference+properties.ruleName properties.transactionId+properties.ruleId",
        title="properties.Description properties.ThreatDescription properties.message properties.details.msg"
        " properties.ruleName",
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
            level = more.text("Severity")
            alert.severity = _LEVELS.get(more.integer("Severity") or 0) or of_word(level)
            alert.vendor_severity = level
            if any(word in (more.text("Category") or "").lower() for word in _MALWARE):
                alert.category = "Malware"
        alert.categories = [alert.category] if alert.category else []
        for item in alert.evidence:
            item.remediationStatus = "blocked" if stopped else "none"


_DEFENDER = _DefenderForCloud()
_FIREWALL = _Firewall()


def reader(fields: Fields) -> tuple[Shape, Fields] | None:
    """Who reads a record that a service of Azure calls an alert or an attack, and what of it; None for all others."""
    inner = fields.object("properties")
    if inner.has("alertDisplayName") and inner.has("alertType", "systemAlertId"):
        beside = {key: item for key, item in fields.data.items() if key.lower() in ("id", "name", "type")}
        return _DEFENDER, Fields({**beside, **inner.data})
    kind = (fields.text("category") or "").lower()
    if kind in ("azfwidpssignature", "azfwthreatintel") and inner.has("SourceIp"):
        return _FIREWALL, fields
    web = kind in ("applicationgatewayfirewalllog", "frontdoorwebapplicationfirewalllog")
    if web and (inner.text("action") or "").lower() in _STOPPED and inner.has("message", "ruleName", "ruleId"):
        return _FIREWALL, fields
    return None
