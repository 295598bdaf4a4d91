"""Push Security: webhook events of its browser agent. What its controls detected, and its findings, are alerts.

Source: Push Security, "Webhooks" (events of the categories entity, activity, control and audit).
"""

from collections.abc import Mapping

from bartizan.model.alert import Alert
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape

# Words in the name of an object that make it a detection -> category.
_DETECTED: Mapping[str, str] = {
    "PHISHING": "Phishing",
    "CLONED_LOGIN_PAGE": "Phishing",
    "THEFT": "CredentialAccess",
    "STOLEN": "CredentialAccess",
    "MALICIOUS": "Malware",
}
_TITLES = {"PASSWORD_PHISHING": "Password entered on a page that is not its application's"}
_FINDING = "FINDING"
_STOPPED = frozenset({"BLOCK", "BLOCKED"})


class PushSecurity(Shape):
    name = "push_security"
    vendor = "Push Security"
    product = "Push"
    marks = (
        "new.employeeId+category object+new+timestamp+version "
        "object+type+new object+new+old type+object+id+timestamp+version"
    )
    sourcetypes = ("push_security", "pushsecurity:*", "push:*")
    table = "PushSecurityEvents"
    also_events = True
    columns = {
        "EventId": "id",
        "EventType": "object",
        "Action": "type",
        "Category": "category",
        "UserName": "new.employee.email new.email old.email",
        "EmployeeId": "new.employee.id new.employeeId",
        "Application": "new.appType new.app.type",
        "Mode": "new.mode",
        "SourceIP": "new.sourceIpAddress",
        "Url": "new.url",
        "ReferrerUrl": "new.referrerUrl",
        "UserAgent": "new.userAgent",
        "Browser": "new.browser",
        "OperatingSystem": "new.os",
        "MfaMethods": "list new.mfaMethods",
        "Message": "description friendlyName",
    }
    alert = Paths(
        id="id",
        description="description",
        detector="object",
        vendor_category="object",
        first="timestamp",
        status="new.state",
        fold="new.employee.id new.employeeId new.url",
    )

    def is_alert(self, fields: Fields) -> bool:
        kind = (fields.text("object") or "").upper()
        return kind == _FINDING or _category(fields) is not None

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        for said in (fields.object("new"), fields.object("old")):
            who = said.object("employee")
            evidence.user(
                who.text("email") or said.text("email"),
                object_id=who.text("id") or said.text("employeeId"),
                display=" ".join(filter(None, (who.text("firstName"), who.text("lastName")))) or None,
            )
            evidence.ip(said.text("sourceIpAddress"), ("source",))
            evidence.url(said.text("url"))
            evidence.url(said.text("referrerUrl"))
            evidence.app(said.text("appType", "app.name"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        kind, said = (fields.text("object") or "").upper(), fields.object("new") or fields.object("old")
        if kind == _FINDING:
            self._finding(fields, said, alert)
            return
        kind = (said.text("detectionType") or (said.text("type") if kind == "DETECTION" else None) or kind).upper()
        alert.title = fields.text("friendlyName") or _TITLES.get(kind) or kind.replace("_", " ").capitalize()
        if not alert.title:
            alert.title = (fields.text("type") or "Detection").replace("_", " ").capitalize()
        alert.category = _category(fields) or "SuspiciousActivity"
        alert.categories = [alert.category]
        stopped = (said.text("mode") or "").upper() in _STOPPED
        alert.severity = "medium" if stopped else "high"
        for item in alert.evidence:
            item.remediationStatus = "blocked" if stopped else item.remediationStatus

    def _finding(self, fields: Fields, said: Fields, alert: Alert) -> None:
        """Its id is the finding's, so that a later event about it is an update."""
        alert.provider_alert_id = said.text("id") or alert.provider_alert_id
        what = said.text("findingType", "type", "name") or "FINDING"
        alert.title = f"Finding: {what.replace('_', ' ').lower()}"
        alert.category, alert.categories, alert.severity = "Misconfiguration", ["Misconfiguration"], "low"
        alert.detector_id, alert.source_updated = what, alert.last_activity
        if (fields.text("type") or "").upper() == "DELETE":
            alert.status = "resolved"


def _category(fields: Fields) -> str | None:
    """Of a detection; None where the event is none."""
    kind = (fields.text("object") or "").upper()
    named = next((category for word, category in _DETECTED.items() if word in kind), None)
    called = kind == "DETECTION" or (fields.text("category") or "").upper() == "DETECTION"
    return named or ("SuspiciousActivity" if called else None)
