"""Lookout Mobile Endpoint Security: threats, devices and audits of its Mobile Risk API.

Source: Lookout Mobile Risk API v1 and v2, "Events".
"""

from bartizan.model.alert import Alert, Severity
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape

_WORDS: dict[str, Severity] = {"advisory": "informational", "secured": "informational"}
_CATEGORIES = {
    "web_content": "Phishing",
    "application": "Malware",
    "file": "Malware",
    "os": "Vulnerability",
    "network": "SuspiciousActivity",
    "configuration": "Misconfiguration",
}


_WHAT = ("application_name", "file_name", "url")


class Lookout(Shape):
    name = "lookout"
    vendor = "Lookout"
    product = "Mobile Endpoint Security"
    marks = (
        "threat.classifications+target enterprise_guid+type threat+target+change_type "
        "target.guid+actor.guid change_type+device+type=device changeType+details+actor.type+target.type "
        "threat+device+change_type"
    )
    sourcetypes = ("lookout", "lookout:*")
    table = "LookoutEvents"
    columns = {"DeviceGuid": "target.guid actor.guid device.guid", "ChangeType": "change_type"}
    wrappers = ("events",)
    alert = Paths(
        id="threat.guid details.id id",
        title="threat.classifications threat.type details.classifications details.type type",
        severity="threat.severity details.severity device.security_status",
        words=_WORDS,
        vendor_category="threat.type details.type type",
        categories=_CATEGORIES,
        detector="threat.type details.type type",
        first="created_time event_time eventTime",
        status="threat.status details.state details.status changeType change_type",
        statuses={"ignored": "resolved", "dismissed": "resolved"},
        threat="threat.classifications details.classifications",
        fold="actor.guid threat.details.package_name threat.details.url",
    )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        device, threat = fields.object("device", "target"), fields.object("threat.details", "details", "threat")
        ids = [fields.text(f"{who}.guid") for who in ("actor", "target") if fields.text(f"{who}.type") != "USER"]
        evidence.host(
            device.text("name", "hardware_model"),
            device_id=device.text("guid") or next((each for each in ids if each), None),
            os=device.text("platform", "os.platform"),
            version=device.text("os_version", "os.version"),
        )
        evidence.user(
            device.text("email", "user_email", "email_address")
            or fields.text("user.email", "target.email_address", "actor.email")
        )
        evidence.url(threat.text("url") or fields.text("threat.url"))
        evidence.observe("url", threat.text("url"))
        evidence.domain(threat.text("url", "domain", "dns_name"))
        evidence.ip(threat.text("ip_address", "ip"), ("destination",))
        path = threat.text("path")
        evidence.file(
            threat.text("file_name"),
            None if path is None or path.startswith("package:") else path.removeprefix("file://"),
            [threat.text("package_sha", "sha256", "sha1", "file_hash")],
        )

    def finish(self, fields: Fields, alert: Alert) -> None:
        threat = fields.object("threat", "details")
        words = [word.replace("_", " ").capitalize() for word in threat.texts("classifications")]
        what = threat.text(*_WHAT, *(f"details.{name}" for name in _WHAT))
        if words:
            alert.title = f"{', '.join(words)}: {what}" if what else ", ".join(words)
        alert.threat_name = words[0] if words else None
        if (fields.text("type") or "").upper() == "AUDIT":
            alert.title = f"Audit: {threat.text('type') or 'change'}"
            alert.severity = "informational"
        if (threat.text("details.response", "response") or "").upper() == "BLOCKED":
            alert.tags = [*alert.tags, "blocked"]
