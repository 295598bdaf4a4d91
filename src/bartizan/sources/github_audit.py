"""GitHub: the audit log of organisations and enterprises as rows of CloudAppEvents; webhooks of workflows likewise.

Actions by which GitHub opens or closes an alert of its own are that alert too.
Source: GitHub Docs, "Reviewing the audit log for your organization", "Audit log events for your enterprise",
"Streaming the audit log", "Log forwarding" (Enterprise Server), "workflow_run", "workflow_job".
"""

from collections.abc import Iterable, Iterator

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources import entities as names
from bartizan.sources import github
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields, inner_json, objects_of
from bartizan.sources.generic import guess_event
from bartizan.sources.shape import Paths, Shape
from bartizan.sources.tables import row_event
from bartizan.sources.times import first_time

_MARK = "github_audit: {"  # before the JSON in a line of syslog
# Before the dot of an action -> what kind of alert it is about, what it is called, how grave it is by itself.
_ALERTS: dict[str, tuple[str, str, Severity]] = {
    "secret_scanning_alert": (github.SECRET, "Secret found", "high"),
    "repository_vulnerability_alert": (github.PACKAGE, "Vulnerable dependency", "unknown"),
    "code_scanning": (github.CODE, "Code scanning alert", "unknown"),
}
_TIMES = ("created_at", "@timestamp", "at_sign_timestamp", "workflow_run.updated_at", "workflow_job.completed_at")
_COLUMNS = {
    "ActionType": "action",
    "AccountDisplayName": "actor sender.login",
    "AccountId": "actor_id sender.id",
    "IPAddress": "actor_ip",
    "CountryCode": "actor_location.country_code",
    "UserAgent": "user_agent",
    "ActivityType": "operation_type",
    "ReportId": "_document_id",
}


class GitHubAudit(Shape):
    name = "github_audit"
    vendor = "GitHub"
    product = "Audit log"
    table = "GitHubEvents"
    wrappers = ("_source",)
    alert = Paths(
        id="_document_id",
        title="action",
        description="data.title alert_title title",
        severity="severity security_severity_level",
        vendor_category="action",
        detector="ghsa_id secret_type rule_id data.ghsa_id data.secret_type",
        first="created_at @timestamp at_sign_timestamp",
        updated="created_at @timestamp",
        verdict="resolution dismiss_reason data.resolution",
        verdicts=github.VERDICTS,
        cves="cve_id data.cve_id",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        found = objects_of(record, *self.wrappers)
        for fields in found or [Fields({"message": record.text})]:
            line = fields.text("message") or ""
            start = line.find(_MARK)
            inner = Fields(inner_json(line[start + len(_MARK) - 1 :])) if start >= 0 else fields.object("event")
            if inner.has("action"):
                yield inner
            elif found:
                yield fields

    def is_alert(self, fields: Fields) -> bool:
        kind, _, verb = (fields.text("action") or "").partition(".")
        return kind in _ALERTS and verb.replace("_", "") in github.STATUSES

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        for part in (fields, fields.object("data")):
            actor = names.named(part.text("actor", "sender.login", "workflow_run.actor.login"))
            evidence.github_user(actor, user_id=part.text("actor_id", "sender.id"), roles=("contextual",))
            evidence.observe("user", part.text("actor_id") if actor else None, "actor")
            evidence.user(names.named(part.text("external_identity_nameid", "actor_email")))
            for path in ("user", "blocked_user", "invitee", "email", "workflow_run.triggering_actor.login"):
                name = names.named(part.text(path))
                if name is not None and "@" in name:
                    evidence.user(name)
                else:
                    evidence.github_user(name, user_id=part.text("user_id") if path == "user" else None)
            country = part.text("actor_location.country_code")
            evidence.ip(part.text("actor_ip"), ("source",), Place(country=country))
            github.repository(part, evidence)
        evidence.oauth_app(
            fields.text("oauth_application_name", "integration"), app_id=fields.text("oauth_application_id")
        )
        evidence.observe("resource", names.named(fields.text("team")), "team")
        run = fields.object("workflow_run", "workflow_job")
        evidence.repository(run.text("head_repository.full_name"))
        for pull in run.objects("pull_requests")[:20]:
            evidence.repository(pull.text("head.repo.full_name"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        group, _, verb = (fields.text("action") or "").partition(".")
        kind, title, level = _ALERTS[group]
        where = github.repository(fields, Evidence())
        number = fields.text("alert_number", "number", "data.alert_number", "data.number", "alert_id")
        alert.provider = github.PROVIDER
        alert.provider_alert_id = github.alert_id(where, kind, number) or alert.provider_alert_id
        alert.title = f"{title}: {alert.detector_id or alert.description or where or 'unknown'}"
        if alert.severity == "unknown":
            alert.severity = level
        alert.category = github.CATEGORIES[kind]
        alert.categories = [alert.category]
        alert.status = github.STATUSES[verb.replace("_", "")]

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        if not fields.has("action"):
            yield guess_event(fields, self.table)
            return
        evidence = Evidence()
        self.entities(fields, evidence)
        where = github.repository(fields, Evidence())
        run = fields.object("workflow_run", "workflow_job")
        made = row_event(
            "CloudAppEvents", first_time(fields, *_TIMES), fields, _COLUMNS, evidence, Application="GitHub"
        )
        said = {
            "ObjectName": where or fields.text("org"),
            "ObjectType": "Repository" if where else None,
            "ReportId": run.text("id"),
        }
        made.row.update({name: text for name, text in said.items() if text and name not in made.row})
        yield made
