"""GitHub: alerts of code scanning, secret scanning and Dependabot, and advisories, as webhooks or from the API.

Source: GitHub Docs, "Webhook events and payloads" (code_scanning_alert, secret_scanning_alert, dependabot_alert,
repository_vulnerability_alert, security_advisory, repository_advisory), "REST API endpoints" for the same alerts.
"""

from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources import github
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.shape import Paths, Shape

_MAX_PARTS = 50
_ADVISORY = "advisory"
# Severity of a rule that has no security severity.
_RULES: dict[str, Severity] = {"note": "low", "warning": "medium", "error": "high", "none": "informational"}


class GitHubSecurityAlerts(Shape):
    name = "github_security_alerts"
    vendor = "GitHub"
    product = "Advanced Security"
    marks = (
        "security_advisory+action alert+repository+action event+alert.html_url+action+repository "
        "event=*_alert+alert+action security_vulnerability+security_advisory secret_type+html_url+state "
        "rule+most_recent_instance securityVulnerability+securityAdvisory dependency.package+security_advisory "
        "alert.external_identifier+action+event alert.secret_type+action+repository alert+action+event "
        "repository_advisory+action+repository"
    )
    sourcetypes = (
        "github:*:security*", "github:code_scanning:*", "github:dependabot:*", "github:secret_scanning:*",
        "github:enterprise:security*",
    )  # fmt: skip
    table = "GitHubEvents"
    wrappers = ("alerts", "_source")
    alert = Paths(
        id="alert.html_url alert.url security_advisory.ghsa_id repository_advisory.ghsa_id alert.id",
        title="alert.rule.description alert.rule.name alert.security_advisory.summary security_advisory.summary"
        " repository_advisory.summary alert.secret_type_display_name alert.secret_type alert.affected_package_name",
        description="alert.rule.full_description alert.most_recent_instance.message.text"
        " alert.security_advisory.description security_advisory.description repository_advisory.description",
        severity="alert.rule.security_severity_level alert.security_advisory.severity"
        " alert.security_vulnerability.severity alert.severity security_advisory.severity repository_advisory.severity"
        " alert.rule.severity",
        words=_RULES,
        vendor_category="alert.tool.name event",
        detector="alert.rule.id alert.secret_type alert.security_advisory.ghsa_id alert.ghsa_id"
        " security_advisory.ghsa_id repository_advisory.ghsa_id alert.external_identifier",
        first="alert.created_at security_advisory.published_at repository_advisory.published_at"
        " repository_advisory.created_at",
        last="alert.updated_at security_advisory.updated_at repository_advisory.updated_at",
        created="alert.created_at security_advisory.published_at",
        updated="alert.updated_at alert.fixed_at alert.dismissed_at alert.resolved_at security_advisory.updated_at",
        status="alert.state action",
        statuses=github.STATUSES,
        verdict="alert.dismissed_reason alert.dismiss_reason alert.resolution",
        verdicts=github.VERDICTS,
        assigned="alert.assignees.login",
        actions="alert.rule.help",
        sub_provider="alert.tool.name",
        version="alert.tool.version",
        url="alert.html_url security_advisory.html_url repository_advisory.html_url",
        cves="alert.security_advisory.cve_id security_advisory.cve_id repository_advisory.cve_id"
        " alert.external_identifier",
        tags="alert.rule.tags",
        fold="repository.full_name alert.most_recent_instance.location.path alert.dependency.package.name"
        " alert.affected_package_name",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        for fields in objects_of(record, *self.wrappers):
            if not fields.has("alert") and fields.has("number") and fields.has("state"):
                repository = fields.object("repository").data  # in answers for a whole organisation
                yield Fields({"alert": fields.data, "repository": repository})
            else:
                yield fields

    def is_alert(self, fields: Fields) -> bool:
        return kind_of(fields) is not None

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        alert = fields.object("alert")
        name = github.repository(fields, evidence)
        if name is None:
            evidence.repository(_from_address(alert.text("html_url", "url")))
        for place in (alert.object("most_recent_instance"), *alert.objects("instances")[:_MAX_PARTS]):
            evidence.file(None, place.text("location.path"))
        evidence.file(None, alert.text("dependency.manifest_path", "first_location_detected.path"))
        for path in ("push_protection_bypassed_by.login", "publicly_leaked_by.login"):
            evidence.github_user(alert.text(path))
        advisory = fields.object("security_advisory", "repository_advisory")
        for item in advisory.objects("vulnerabilities")[:_MAX_PARTS]:  # the package, as the file that it is
            evidence.file(item.text("package.name"), publisher=item.text("package.ecosystem"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        kind, body = kind_of(fields) or _ADVISORY, fields.object("alert")
        alert.provider = github.PROVIDER
        where = fields.text("repository.full_name") or _from_address(body.text("html_url", "url"))
        alert.provider_alert_id = github.alert_id(where, kind, body.text("number")) or alert.provider_alert_id
        alert.category = github.CATEGORIES.get(kind, "Vulnerability")
        alert.categories = [alert.category]
        if kind == github.SECRET:
            alert.title = f"Secret found: {alert.title}"
            alert.severity = "high"
        elif body.has("affected_package_name"):
            alert.title = f"Vulnerable dependency: {alert.title}"
        found = [*alert.vulnerabilities, *_identifiers(fields)]
        alert.vulnerabilities = [text for text in dict.fromkeys(found) if text.startswith("CVE-")]
        if fields.has("security_advisory.withdrawn_at"):
            alert.status = "resolved"
        kept = alert.additional.get("alert")
        if isinstance(kept, dict):
            kept.pop("secret", None)  # the raw record has it; nothing else shall


def kind_of(fields: Fields) -> str | None:
    alert = fields.object("alert")
    if alert.has("rule") and alert.has("tool", "instances", "most_recent_instance"):
        return github.CODE
    if alert.has("secret_type", "secret_type_display_name"):
        return github.SECRET
    if alert.has("dependency", "security_advisory", "affected_package_name", "external_identifier"):
        return github.PACKAGE
    advisory = fields.object("security_advisory", "repository_advisory")
    return _ADVISORY if advisory.has("summary", "ghsa_id") else None


def _identifiers(fields: Fields) -> list[str]:
    return fields.texts("security_advisory.identifiers.value") + fields.texts(
        "alert.security_advisory.identifiers.value"
    )


def _from_address(text: str | None) -> str | None:
    """ "owner/name" of the address of an alert, on the site or in the API."""
    parts = (text or "").split("/")
    if len(parts) < 5 or "://" not in (text or ""):
        return None
    start = parts.index("repos") + 1 if "repos" in parts else 3
    return "/".join(parts[start : start + 2]) if len(parts) > start + 1 else None
