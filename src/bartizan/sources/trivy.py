"""Trivy: vulnerabilities, misconfigurations, secrets and licences of a report, each an alert of its artifact.

Reports come from the command line, for a cluster too, from the operator as custom resources, or cut into findings.
Source: Trivy documentation, "Reporting" (JSON, schema version 2), "Kubernetes"; Trivy Operator, "Custom Resource
Definitions".
"""

from collections.abc import Iterable, Iterator
from typing import Any

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.shape import Paths, Shape

# List of findings in a result -> category.
_KINDS = {
    "Vulnerabilities": "Vulnerability",
    "Misconfigurations": "Misconfiguration",
    "Secrets": "CredentialAccess",
    "Licenses": "Misconfiguration",
    "checks": "Misconfiguration",  # from here on of the operator's resources
}
_AROUND = ("ArtifactName", "ArtifactType", "CreatedAt", "Metadata", "ClusterName")
_LABEL = "trivy-operator.resource."  # labels of the operator's resources: kind, name, namespace


class Trivy(Shape):
    name = "trivy"
    vendor = "Aqua Security"
    product = "Trivy"
    marks = (
        "ClusterName+Resources ArtifactName+ArtifactType SchemaVersion+ArtifactName+Results "
        "Finding+FindingKind Results.Vulnerabilities VulnerabilityID+PkgName report.vulnerabilities+kind "
        "report.checks+kind report.secrets+kind apiVersion=aquasecurity.github.io*+report"
    )
    sourcetypes = ("trivy", "trivy:*", "aqua:trivy*")
    table = "TrivyEvents"
    alert = Paths(
        title="Finding.Title Finding.VulnerabilityID Finding.ID Finding.Name Finding.RuleID",
        description="Finding.Description Finding.Message Finding.Match",
        severity="Finding.Severity",
        vendor_category="FindingKind",
        detector="Finding.VulnerabilityID Finding.AVDID Finding.ID Finding.checkID Finding.RuleID Finding.Name",
        first="CreatedAt",
        actions="Finding.Resolution Finding.remediation",
        sub_provider="Class",
        url="Finding.PrimaryURL Finding.primaryLink",
        fold="ArtifactName Target Finding.PkgName Finding.resource",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        for report in objects_of(record, "_source"):
            if report.has("Finding"):
                yield report
                continue
            yield from list(_findings(report)) or [report]

    def is_alert(self, fields: Fields) -> bool:
        return bool(fields.object("Finding")) and fields.has("FindingKind")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        artifact, kind = fields.text("ArtifactName"), (fields.text("ArtifactType") or "").lower()
        finding, where = fields.object("Finding"), fields.object("Resource")
        if kind == "container_image":
            evidence.image(artifact, fields.text("Registry"))
        elif artifact is not None and "://" in artifact:
            evidence.repository("/".join(artifact.removesuffix(".git").rstrip("/").split("/")[-2:]), url=artifact)
        elif not where.has("Kind"):
            evidence.file(None, artifact)
        evidence.cluster(fields.text("ClusterName"))
        evidence.kubernetes(where.text("Kind"), where.text("Name"), where.text("Namespace"))
        target = fields.text("Target")
        in_file = (fields.text("Class") or "") in ("config", "secret", "lang-pkgs", "license-file")
        if in_file and not (where.has("Kind") and fields.text("Type") == "kubernetes"):  # that is the object itself
            evidence.file(None, finding.text("PkgPath", "FilePath") or target)
        cause = finding.object("CauseMetadata")
        evidence.observe("resource", cause.text("Resource"), cause.text("Service") or "")

    def finish(self, fields: Fields, alert: Alert) -> None:
        finding, kind = fields.object("Finding"), fields.text("FindingKind") or ""
        package, installed = finding.text("PkgName", "resource"), finding.text("InstalledVersion")
        place = finding.text("StartLine") or finding.text("CauseMetadata.StartLine")
        parts = [fields.text("ArtifactName"), fields.text("Target"), alert.detector_id, package, installed, place]
        alert.provider_alert_id = ":".join(part or "" for part in parts)
        alert.category = _KINDS.get(kind, alert.category)
        alert.categories = [alert.category or "Vulnerability"]
        cve = alert.detector_id or ""
        alert.vulnerabilities = [cve] if cve.startswith("CVE-") else []
        if kind == "Vulnerabilities" and cve not in alert.title:
            alert.title = f"{cve}: {alert.title}"
        fixed = finding.text("FixedVersion")
        if fixed and package:
            alert.recommended_actions = f"Update {package} from {installed} to {fixed}"
        passed = (finding.text("Status") or "").upper() == "PASS" or finding.flag("success") is True
        if kind in ("Misconfigurations", "checks") and passed:
            alert.status = "resolved"


def _findings(report: Fields) -> Iterator[Fields]:
    """Each with what the report says around it: {"ArtifactName", ..., "Target", "Class", "FindingKind", "Finding"}."""
    around: dict[str, Any] = {name: report.raw(name) for name in _AROUND if report.has(name)}
    if report.object("report"):
        yield from _of_operator(report)
    parts = [report] if report.has("Target") else []  # the first schema was a list of results
    for part in parts + report.each("Results"):
        yield from _of_result(part, around)
    for owner in report.each("Resources") + report.each("Findings"):  # of a cluster
        resource = {name: owner.raw(name) for name in ("Kind", "Name", "Namespace")}
        for part in owner.each("Results"):
            name = f"{owner.text('Kind')}/{owner.text('Name')}"
            yield from _of_result(part, {"ArtifactName": name, "Resource": resource} | around)


def _of_result(result: Fields, around: dict[str, Any]) -> Iterator[Fields]:
    shared = {name: result.raw(name) for name in ("Target", "Class", "Type") if result.has(name)}
    for kind in _KINDS:
        for finding in result.each(kind):
            yield Fields(around | shared | {"FindingKind": kind, "Finding": finding.data})


def _of_operator(resource: Fields) -> Iterator[Fields]:
    """A VulnerabilityReport, ConfigAuditReport, ExposedSecretReport, ...: what it is about stands in its labels."""
    report, meta = resource.object("report"), resource.object("metadata")
    labels = meta.object("labels")
    artifact = report.object("artifact")
    name, tag = artifact.text("repository"), artifact.text("tag", "digest")
    around = {
        "ArtifactName": f"{name}:{tag}" if name and tag else name or meta.text("name"),
        "ArtifactType": "container_image" if name else "kubernetes",
        "Registry": report.text("registry.server"),
        "CreatedAt": report.raw("updateTimestamp") or meta.raw("creationTimestamp"),
        "Resource": {
            "Kind": labels.text(f"{_LABEL}kind"),
            "Name": labels.text(f"{_LABEL}name"),
            "Namespace": labels.text(f"{_LABEL}namespace") or meta.text("namespace"),
        },
        "Target": labels.text("trivy-operator.container.name"),
    }
    yield from _of_result(report, {key: value for key, value in around.items() if value is not None})
