"""Alerts of monitoring products that speak JSON webhooks of their own: one reader by the names that they share.

Among them CloudWatch (over SNS and EventBridge), Google Cloud Monitoring, Azure Monitor, Grafana, Sentry, Datadog,
Zabbix, Checkmk, LibreNMS, Graylog, SignalFx, Axiom, Checkly, Dash0, Coralogix, Uptime Kuma, Pingdom, Opsgenie, Netdata
and PagerDuty.
Source: the webhook documentation of these products.
"""

import re
from collections.abc import Iterable
from typing import Any

from bartizan.extend import Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources.entities import address
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, as_text, objects_of
from bartizan.sources.shape import Paths, Shape, Status
from bartizan.sources.times import when

_WORDS: dict[str, Severity] = {
    "availability": "high",  # as Dynatrace says what a problem is of
    "performance": "medium",
    "resource_contention": "medium",
    "custom_alert": "medium",
    **dict.fromkeys(("p1", "p2", "fatal", "disaster", "error", "alarm", "alert", "down", "sev0", "sev1"), "high"),
    **dict.fromkeys(("p3", "average", "sev2", "problem"), "medium"),
    **dict.fromkeys(("p4", "sev3"), "low"),
    **dict.fromkeys(("p5", "sev4", "ok", "up", "recovery", "success"), "informational"),
    **dict.fromkeys(("unknown", "not classified"), "unknown"),
}
_STATUSES: dict[str, Status] = {
    **dict.fromkeys(("open", "trigger", "triggered", "alarm", "problem", "fired", "create"), "new"),
    **dict.fromkeys(("acknowledge", "snooze"), "inProgress"),
    **dict.fromkeys(
        (
            "ok up resolve recovery recovered alertrecovery alertresolved manuallyresolved stopped close end "
            "incidentresolved"
        ).split(),
        "resolved",
    ),
}
# Words that say so in any of the fields of state, whatever the others say.
_OVER = frozenset(
    {"ok", "up", "resolved", "closed", "recovery", "recovered", "success", "end", "close", "resolve"}
    | {"alert_recovery", "alert.resolved", "incident.resolved", "manually resolved"}
)
_STATES = (
    "alert_transition", "current_state", "monitorCondition", "status", "state", "state.value", "alert_action", "action",
    "severity", "alert_type", "notification_type", "NewStateValue", "kind", "statusExtended",
)  # fmt: skip
# Where the alert itself lies inside its envelope, from the outside in.
_ENVELOPES = (
    "payload", "payload.inputs", "data", "data.issue", "data.essentials", "data.event", "incident", "issue", "alert",
    "monitor", "heartbeat", "event", "event.data", "detail", "Message",
)  # fmt: skip
_NAMES = (
    "title", "name", "summary", "subject", "message", "messageBody", "messageTitle", "msg", "AlarmName", "rule",
    "alertRule", "policy_name", "event_title", "timestamp",
)  # fmt: skip
_OF_MESSAGE = frozenset(("alerts", "title", "message", "state", "status", "grouplabels", "commonlabels"))
_PLACEHOLDERS = ("*insert", "$", "{{", "multiple ips")
_MAX_TEXT = 4_096
_IN_TEXT = re.compile(r"\bat ((?:\w{3}, )?\d{1,2} \w{3} \d{4} \d\d:\d\d:\d\d (?:GMT|UTC|[+-]\d{4}))")


class MonitoringMisc(Shape):
    name = "monitoring_misc"
    vendor = "Monitoring"
    product = "Webhook"
    marks = (
        "AlarmName+NewStateValue Type=notification+TopicArn+Message detail-type=CloudWatch*+detail "
        "incident.incident_id+incident.policy_name incident.condition_name "
        "schemaId=azureMonitorCommonAlertSchema+data.essentials data.essentials.alertRule "
        "receiver+alerts+title+state receiver+alerts+status+title+message orgId+alerts+title+state "
        "monitor_id+alert_type+title alert_type+priority+last_updated alert_transition+title "
        "event.event_type=incident.*+event.data project+culprit+event culprit+level+project_name "
        "heartbeat+monitor+msg check_id+check_name+current_state check_id+check_type+alert_type "
        "check_name+check_result_id hostName+triggerExpression+severity detector+detectorUrl+incidentId "
        "payload.detectorUrl payload.incidentId+payload.messageBody detectOnCondition+incidentId "
        "alert.alertId+action+alert.message alert_url+chart+alert event.monitorID+action event.matchedEvent "
        "check_command+notification_type+host notification_type+what event_definition_id+event "
        "event_definition_title+backlog data.issue.issueIdentifier type=alert.*+data.issue "
        "action+installation+data.issue ruleName+ruleUrl+evalMatches trigger+hostname+severity+status "
        "rule_id+device_id+alert_id+hostname alert_id+rule+faults sysName+device_id+rule "
        "alert_action+log_url+alert_id alert_action+alert_url eventid+trigger+host "
        "problem_id+problem_title+state ProblemID+ProblemTitle MONITORNAME+STATUS+INCIDENT_REASON"
    )
    sourcetypes = (
        "monitoring:*", "aws:cloudwatch:alarm", "aws:sns:alarm", "grafana:alert*", "datadog:*", "zabbix:*",
        "sentry:*", "graylog:*", "pagerduty:*", "opsgenie:*", "checkmk:*", "librenms:*", "signalfx:*", "pingdom:*",
    )  # fmt: skip
    table = "MonitoringEvents"
    columns = {"MonitorId": "monitorID check_id rule_id detectorId monitor_id"}
    alert = Paths(
        id=(
            "fingerprint AlarmArn incident_id incidentId alert_id alertId check_id+check_name id event_id "
            "issueIdentifier uuid check_id ProblemID PID"
        ),
        title=(
            "annotations.summary title AlarmName event_title messageTitle event_definition_title alertRule check_name "
            "labels.alertname alertname rule_name ruleName summary subject name policy_name event message rule output "
            "msg body description trigger ProblemTitle"
        ),
        description=(
            "annotations.description description AlarmDescription NewStateReason state.reason messageBody msg body "
            "summary output long_output check_error_message documentation.content text message"
        ),
        severity=(
            "labels.severity severity priority priority.summary urgency severityLowercase Severity level "
            "alert_priority state_name NewStateValue state.value importance_level ProblemSeverity status current_state"
        ),
        words=_WORDS,
        vendor_category="alert_type type event_definition_type what eventType category",
        detector=(
            "event_definition_id rule_id monitorID check_id detector rule AlarmName policy_name alert_id name "
            "labels.alertname"
        ),
        first=(
            "StateChangeTime state.timestamp firedDateTime startsAt started_at startedAt start timestamp occurred_at "
            "time date_happened last_updated timestampISO short_date_time dateCreated lastSeen firstSeen event_time "
            "created_at createdAt lastReceived state_changed_timestamp date event.occurred_at"
        ),
        last="resolvedDateTime ended_at endedAt endsAt end timestampISO",
        status=" ".join(_STATES),
        statuses=_STATUSES,
        url="url link alert_url detectorUrl permalink web_url html_url incident_url",
        tags="tags",
        fold="host hostname check_name device_id service",
        detection_source="scheduledAlerts",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        found = []
        for message in objects_of(record):
            alerts = message.objects("alerts")
            around = {name: value for name, value in message.data.items() if str(name).lower() not in _OF_MESSAGE}
            found += [Fields({**around, **one.data}) for one in alerts] if alerts else [_flat(message)]
        return found

    def is_alert(self, fields: Fields) -> bool:
        return fields.text(*(self.alert or Paths()).title.split()) is not None

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        for path in (
            "host hostname host_name hostName hostAlias device computer instance source sysName entity ImpactedEntity "
            "resource.labels.instance_id resource.label.instance_id labels.host labels.instance "
            "Trigger.Dimensions.value tags.server_name check_params.hostname"
        ).split():
            for text in fields.texts(path):
                _host(text, evidence)
        for path in ("address", "ip", "ipAddress", "ip_address", "host_ip", "hostIp", "src_ip"):
            evidence.ip(fields.text(path))
        evidence.url(fields.text("check_url", "request.url", "monitor.url", "url_monitored", "culprit_url"))
        evidence.domain(fields.text("ssl_check_domain", "domain"))
        evidence.user(fields.text("user.email", "user.username", "user.ip_address"))
        for text in fields.texts("alertTargetIDs"):
            evidence.azure(text)
        for named in (
            "service service.summary service_name service.name application project project.name project_slug "
            "check_name event_definition_title rule_name rule AlarmName policy_name scopingProjectId "
            "resource_display_name name title"
        ).split():
            if not evidence.items and (found := fields.text(named)) is not None and _real(found):
                evidence.app(found)

    def finish(self, fields: Fields, alert: Alert) -> None:
        words = {(fields.text(path) or "").lower() for path in _STATES}
        beat = fields.integer("heartbeat.status")  # 0 down, 1 up, 2 pending, 3 maintenance
        if beat == 0:
            alert.severity = "high"
        if words & _OVER or beat == 1 or alert.title.lower().startswith("manually resolved"):
            alert.status = "resolved"
            if alert.severity == "unknown":
                alert.severity = "informational"
        number = fields.integer("priority", "severity")
        if alert.severity == "unknown" and number is not None:
            alert.severity = "high" if number >= 3 else "medium" if number == 2 else "low"
        said = _IN_TEXT.search((fields.text("messageBody") or alert.description or "")[:_MAX_TEXT])
        if alert.first_activity is None and said is not None:
            alert.first_activity = alert.last_activity = when(said[1])


def _flat(message: Fields) -> Fields:
    """The envelope and what lies in it as one object, the inside first; pairs of key and value become members."""
    flat: dict[str, Any] = dict(message.data)
    for path in _ENVELOPES:
        inside = message.object(path)
        if inside.has(*_NAMES):
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
    head, colon, port = name.rpartition(":")
    host = head if colon and port.isdigit() else name
    if not _real(host) or " " in host:
        return
    if address(host) is not None:
        evidence.ip(host)
    else:
        evidence.host(host)
