"""Alerts of monitoring products that speak JSON webhooks of their own: one reader by the names that they share.

Among them CloudWatch (over SNS), Google Cloud Monitoring, Azure Monitor, Grafana, Sentry, Datadog, Zabbix, Checkmk,
LibreNMS, Graylog, SignalFx, Axiom, Checkly, Dash0, Coralogix, Uptime Kuma, Pingdom and PagerDuty.
Source: the webhook documentation of these products.
"""

from collections.abc import Iterable
from typing import Any

from bartizan.extend import Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources.entities import address
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, as_text, objects_of
from bartizan.sources.shape import Paths, Shape

_WORDS: dict[str, Severity] = {
    "p1": "high",
    "p2": "high",
    "p3": "medium",
    "p4": "low",
    "p5": "informational",
    "fatal": "high",
    "disaster": "high",
    "error": "high",
    "alarm": "high",
    "down": "high",
    "sev0": "high",
    "sev1": "high",
    "sev2": "medium",
    "sev3": "low",
    "sev4": "informational",
    "average": "medium",
    "unknown": "unknown",
    "ok": "informational",
    "up": "informational",
    "recovery": "informational",
    "success": "informational",
    "not classified": "unknown",
}
_OVER = frozenset(
    {"ok", "up", "resolved", "closed", "recovery", "recovered", "alert_recovery", "alert.resolved", "end"}
)
# Where the alert itself lies inside its envelope.
_ENVELOPES = ("payload", "data.issue", "data.essentials", "data.event", "incident", "issue", "event", "Message", "data")
_NAMES = ("title", "name", "summary", "subject", "message", "alarmname", "rule", "policy_name", "event_title")
_PLACEHOLDERS = ("*insert", "$", "{{", "multiple ips")


class MonitoringMisc(Shape):
    name = "monitoring_misc"
    vendor = "Monitoring"
    product = "Webhook"
    table = "MonitoringEvents"
    columns = {"MonitorId": "monitorID check_id rule_id detectorId monitor_id"}
    alert = Paths(
        id=(
            "AlarmArn+StateChangeTime incident_id incidentId alert_id+uid alertId event.id id check_result_id "
            "event_id issueIdentifier"
        ),
        title=(
            "title AlarmName event_title messageTitle event_definition_title check_name alertname rule_name ruleName "
            "summary subject name policy_name event message rule output body description"
        ),
        description=(
            "description AlarmDescription NewStateReason messageBody msg body summary output long_output "
            "check_error_message documentation.content text message"
        ),
        severity="severity priority severityLowercase Severity level alert_priority state_name NewStateValue status",
        words=_WORDS,
        vendor_category="alert_type type event_definition_type what eventType category",
        detector="event_definition_id rule_id monitorID check_id detector rule AlarmName policy_name alert_id name",
        first=(
            "timestamp StateChangeTime started_at startedAt start startsAt date_happened last_updated timestampISO "
            "short_date_time dateCreated lastSeen firstSeen event_time created_at createdAt"
        ),
        last="ended_at endedAt end timestampISO timestamp StateChangeTime",
        status="status state alert_action action notification_type alert_type NewStateValue",
        statuses={
            "open": "new",
            "trigger": "new",
            "alarm": "new",
            "ok": "resolved",
            "up": "resolved",
            "resolve": "resolved",
            "recovery": "resolved",
            "alertrecovery": "resolved",
            "alertresolved": "resolved",
            "closed": "resolved",
        },
        url="url link alert_url detectorUrl permalink web_url incident_url",
        tags="tags",
        fold="host hostname check_name device_id service",
        detection_source="scheduledAlerts",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        found = []
        for message in objects_of(record):
            alerts = message.objects("alerts")
            found += [Fields({**message.data, **one.data}) for one in alerts] if alerts else [_flat(message)]
        return found

    def is_alert(self, fields: Fields) -> bool:
        return fields.has(*(self.alert or Paths()).title.split())

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        for path in (
            "host hostname host_name hostAlias device computer instance source sysName resource.labels.instance_id "
            "resource.label.instance_id labels.host labels.instance Trigger.Dimensions.value tags.server_name"
        ).split():
            for text in fields.texts(path):
                _host(text, evidence)
        for path in ("address", "ip", "ipAddress", "ip_address", "host_ip", "src_ip"):
            evidence.ip(fields.text(path))
        evidence.url(fields.text("check_url", "request.url", "monitor.url", "url_monitored", "culprit_url"))
        evidence.domain(fields.text("ssl_check_domain", "domain"))
        evidence.user(fields.text("user.email", "user.username", "user.ip_address"))
        for named in (
            "service service_name service.name application project project_slug check_name event_definition_title "
            "rule_name rule AlarmName policy_name scopingProjectId resource_display_name name title"
        ).split():
            if not evidence.items and (found := fields.text(named)) is not None and _real(found):
                evidence.app(found)

    def finish(self, fields: Fields, alert: Alert) -> None:
        words = {
            (fields.text(path) or "").lower()
            for path in ("status", "state", "severity", "alert_type", "notification_type", "NewStateValue", "kind")
        }
        if words & _OVER:
            alert.status = "resolved"
            if alert.severity == "unknown":
                alert.severity = "informational"
        number = fields.integer("priority", "severity")
        if alert.severity == "unknown" and number is not None:
            alert.severity = "high" if number >= 3 else "medium" if number == 2 else "low"


def _flat(message: Fields) -> Fields:
    """The envelope and what lies in it as one object, the inside first; pairs of key and value become members."""
    flat: dict[str, Any] = dict(message.data)
    for path in _ENVELOPES:
        inside = message.object(path)
        if inside.has(*_NAMES, "AlarmName", "messageTitle", "timestamp"):
            flat = {**flat, **{name: value for name, value in inside.data.items() if value not in (None, "")}}
    for pair in message.objects("fields", "labels", "data.issue.labels"):
        name, value = pair.text("key"), pair.raw("value.stringValue", "value")
        if name is not None and _real(as_text(value)):
            flat.setdefault(name, value)
    return Fields(flat)


def _real(text: str | None) -> bool:
    return bool(text) and not (text or "").lower().startswith(_PLACEHOLDERS)


def _host(text: str, evidence: Evidence) -> None:
    name = text.partition("://")[2].partition("/")[0] or text
    host = name.rpartition(":")[0] if name.rpartition(":")[2].isdigit() else name
    if not _real(host) or " " in host:
        return
    if address(host) is not None:
        evidence.ip(host)
    else:
        evidence.host(host)
