"""Slack: the audit logs of an Enterprise organisation. What Slack itself calls an anomaly or
malicious is an alert.

Source: Slack, "Audit Logs API", "Audit logs actions", "Audit logs anomaly events".
"""

from collections.abc import Mapping

from bartizan.model.alert import Alert, Severity
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape

# Actions that are a finding of Slack's -> (title, severity, category).
_FOUND: Mapping[str, tuple[str, Severity, str]] = {
    "anomaly": ("Anomalous activity", "medium", "SuspiciousActivity"),
    "file_malicious_content_detected": ("Malicious file shared", "high", "Malware"),
}


class SlackAudit(Shape):
    name = "slack_audit"
    vendor = "Slack"
    product = "Audit Logs"
    marks = (
        "action+actor.user+context.location action+actor+entity+context context.ua+action+actor "
        "actor.user.team+action date_create+action+entity+actor context.ip_address+actor+action "
        "p_log_type=slack.auditlogs"
    )
    sourcetypes = ("slack:audit*", "slack:enterprise*", "slack")
    table = "SlackAuditEvents"
    also_events = True
    wrappers = ("entries",)
    columns = {
        "EventType": "action",
        "UserName": "actor.user.email actor.user.name",
        "UserId": "actor.user.id",
        "ActorType": "actor.type",
        "EntityType": "entity.type",
        "EntityName": "entity.user.email entity.file.name entity.channel.name entity.app.name entity.workspace.name "
        "entity.usergroup.name entity.enterprise.name",
        "SourceIP": "context.ip_address",
        "UserAgent": "context.ua",
        "SessionId": "context.session_id",
        "Workspace": "context.location.name",
        "DomainName": "context.location.domain",
        "Reason": "details.reason",
    }
    alert = Paths(
        id="id",
        first="date_create",
        detector="action",
        vendor_category="action",
        fold="actor.user.id context.ip_address",
    )

    def is_alert(self, fields: Fields) -> bool:
        return (fields.text("action") or "").lower() in _FOUND

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        _user(fields.object("actor.user"), evidence)
        evidence.ip(fields.text("context.ip_address"), ("source",))
        evidence.ip(fields.text("details.previous_ip_address"), ("contextual",))
        entity = fields.object("entity")
        _user(entity.object("user"), evidence)
        evidence.file(entity.text("file.name", "file.title"), hashes=[fields.text("details.sha256", "details.md5")])
        evidence.app(entity.text("app.name"))
        evidence.group(entity.text("usergroup.name"), group_id=entity.text("usergroup.id"))
        for path in ("channel.name", "workspace.name"):
            evidence.observe("resource", entity.text(path))
        evidence.url(fields.text("details.url", "details.url_private"))
        evidence.session(fields.text("context.session_id"), user_agent=fields.text("context.ua"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        title, alert.severity, alert.category = _FOUND[(fields.text("action") or "").lower()]
        reasons = fields.texts("details.reason")
        alert.title = f"{title}: {', '.join(reasons)}" if reasons else title
        alert.categories = [alert.category]
        alert.description = fields.text("details.description")


def _user(who: Fields, evidence: Evidence) -> None:
    evidence.user(who.text("email"), object_id=who.text("id"), display=who.text("name"))
