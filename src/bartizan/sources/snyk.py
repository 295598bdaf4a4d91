"""Snyk: issues from webhooks, the API and the command line are alerts; the audit log gives events.

Source: Snyk API documentation, "Webhooks" (project_snapshot), "Issues", "Audit logs"; Snyk CLI, `snyk test --json`.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.shape import Paths, Shape

_MAX_PARTS = 20  # of where an issue is
_AROUND = ("project", "org", "group")
_CODE = frozenset({"code", "sast", "custom"})
_MISCONFIGURED = frozenset({"config", "configuration", "cloud", "iac"})


class Snyk(Shape):
    name = "snyk"
    vendor = "Snyk"
    product = "Snyk"
    marks = (
        "event+groupId+userId event+orgId+created project+newIssues+org newIssues+removedIssues+org issueType+pkgName "
        "vulnerabilities+packageManager issueData+pkgName event+groupId+content "
        "attributes.effective_severity_level+relationships attributes.key+attributes.problems "
        "event+userId+orgId isFixed+introducedDate+projects issue.id+isFixed+projects"
    )
    sourcetypes = ("snyk", "snyk:*")
    table = "SnykEvents"
    columns = {
        "EventType": "event",
        "UserId": "userId user_id content.userPublicId",
        "OrgId": "orgId org_id",
        "GroupId": "groupId group_id",
        "ProjectId": "projectId project_id content.projectPublicId",
        "Content": "dynamic content",
    }
    wrappers = ("items", "results", "_source")
    alert = Paths(
        title="issue.issueData.title issue.attributes.title issue.title",
        description="issue.issueData.description issue.attributes.description issue.description",
        severity="issue.issueData.severity issue.attributes.effective_severity_level issue.severity",
        vendor_category="issue.issueType issue.attributes.type issue.type",
        detector="issue.issueData.id issue.attributes.key issue.id",
        first="issue.introducedDate introducedDate issue.attributes.created_at project.created created",
        last="issue.attributes.updated_at project.lastTestedDate",
        status="state issue.attributes.status",
        url="issue.issueData.url issue.url",
        cves="issue.issueData.identifiers.CVE issue.identifiers.CVE issue.attributes.problems.id",
        fold="project.id project.name issue.pkgName issue.packageName",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        for fields in objects_of(record, *self.wrappers):
            yield from list(_issues(fields)) or [fields]

    def is_alert(self, fields: Fields) -> bool:
        return bool(fields.object("issue"))

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        content = fields.object("content")
        evidence.user(content.text("email", "userEmail"), object_id=fields.text("userId", "user_id"))
        account = content.text("serviceAccountPublicId", "after.serviceAccountPublicId")
        evidence.service_principal(content.text("after.name", "name") if account else None, object_id=account)
        for path, role in (("orgId", "organization"), ("groupId", "group"), ("org.name", "organization")):
            evidence.observe("resource", fields.text(path), role)
        project, issue = fields.object("project"), fields.object("issue")
        if issue:
            for one in [project, *fields.objects("projects")[:_MAX_PARTS]]:  # several of the reporting API
                _project(one, evidence)
            evidence.file(None, project.text("targetFile") or issue.text("filePath"))
            evidence.observe("resource", issue.text("pkgName", "packageName", "package"), "package")
            for each in issue.objects("attributes.coordinates")[:_MAX_PARTS]:
                for part in each.objects("representations")[:_MAX_PARTS]:
                    evidence.observe("resource", part.text("dependency.package_name"), "package")
                    evidence.file(None, part.text("sourceLocation.file", "resourcePath"))
            scanned = issue.text("relationships.scan_item.data.id")
            evidence.observe("resource", scanned, "project")
            if not evidence.items:
                evidence.app(scanned or fields.text("org.name", "org.slug") or self.product)

    def finish(self, fields: Fields, alert: Alert) -> None:
        issue, project = fields.object("issue"), fields.object("project")
        scanned = issue.text("relationships.scan_item.data.id") or fields.text("projects.id")
        where = project.text("id", "name") or scanned or ""
        package = issue.text("pkgName", "packageName", "package") or ""
        rest = issue.text("id") if issue.has("attributes") else None
        alert.provider_alert_id = rest or ":".join((where, alert.detector_id or "", package))
        kind = (alert.vendor_category or "").lower()
        alert.category = "Misconfiguration" if kind in _MISCONFIGURED else "Vulnerability"
        alert.categories = [alert.category]
        alert.vulnerabilities = [text for text in alert.vulnerabilities if text.startswith("CVE-")]
        if package and kind not in _CODE:
            alert.title = f"{alert.title} in {package}"
        if True in (issue.flag("isPatched"), fields.flag("isFixed")):
            alert.status = "resolved"
        if issue.flag("isIgnored", "attributes.ignored") is True:
            alert.status = "resolved"
            alert.classification = "informationalExpectedActivity"


def _project(project: Fields, evidence: Evidence) -> None:
    """ "owner/name:manifest" of a repository, or the name of an image."""
    name, origin = project.text("name"), (project.text("origin", "source") or "").lower()
    if name is None:
        return
    base = name.partition(":")[0].partition("(")[0]
    if project.text("imageId", "imageTag", "imageBaseImage") is not None or "docker" in origin:
        evidence.image(f"{base}:{tag}" if (tag := project.text("imageTag")) else name)
    elif base.count("/") == 1 or "git" in origin:
        evidence.repository(base, url=project.text("remoteRepoUrl"))
    else:
        evidence.app(name)


def _issues(fields: Fields) -> Iterator[Fields]:
    """Each with its project around it; what a webhook says is gone is resolved."""
    around: dict[str, Any] = {name: fields.raw(name) for name in _AROUND if fields.has(name)}
    for name, state in (("newIssues", "new"), ("removedIssues", "resolved"), ("issues", None)):
        for issue in fields.each(name):
            yield Fields(around | {"issue": issue.data} | ({"state": state} if state else {}))
    if fields.has("vulnerabilities") and fields.has("projectName", "packageManager", "ok"):  # of the command line
        project = {"name": fields.text("projectName"), "targetFile": fields.text("displayTargetFile", "path")}
        if fields.has("docker"):
            project["origin"] = "docker"
        for issue in fields.each("vulnerabilities"):
            yield Fields({"issue": issue.data, "project": project})
    for item in fields.each("data") or [fields]:
        if item.has("attributes") and (item.text("type") or "") == "issue":
            yield Fields({"issue": item.data})
