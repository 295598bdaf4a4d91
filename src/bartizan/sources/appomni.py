"""AppOmni: threat detections and audit of SaaS applications, in the Elastic Common Schema that it exports.

Source: AppOmni documentation, "Threat detection events"; Elastic Common Schema 8.
"""

from bartizan.model.alert import Alert
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape


class AppOmni(Shape):
    name = "appomni"
    vendor = "AppOmni"
    product = "SaaS Security"
    marks = "appomni+event event.module=appomni appomni+event+event.dataset"
    sourcetypes = ("appomni", "appomni:*")
    table = "AppOmniEvents"
    columns = {"Dataset": "event.dataset", "ServiceType": "appomni.service.type"}
    alert = Paths(
        id="appomni.alert.id event.id appomni.event.id",
        title="rule.name message event.reason event.code event.action",
        description="message rule.description",
        severity="appomni.alert.severity rule.severity event.severity",
        score="event.severity event.risk_score",
        vendor_category="event.category",
        tactics="rule.threat.tactic.name threat.tactic.name threat.tactic.id",
        techniques="rule.threat.technique.name threat.technique.name",
        detector="rule.uuid rule.id event.code",
        first="timestamp @timestamp event.created",
        created="event.created",
        url="event.url rule.reference",
        tags="event.type",
        fold="user.email user.id source.ip appomni.service.name",
    )

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("appomni") and fields.has("event")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        for who in ("user", "related.user", "user.target"):
            one = fields.object(who)
            evidence.user(one.text("email", "name"), object_id=one.text("id"), display=one.text("full_name"))
        for name in fields.texts("related.user"):
            evidence.user(name)
        source = fields.object("source")
        where = source.object("geo")
        place = Place(country=where.text("country_iso_code", "country_name"), city=where.text("city_name"))
        evidence.ip(source.text("ip", "address"), ("source",), place)
        for text in fields.texts("related.ip"):
            evidence.ip(text)
        evidence.host(fields.text("host.hostname", "host.name"))
        evidence.app(fields.text("appomni.service.name", "appomni.service.type"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        """An event of the audit log that the same feed brings states no severity."""
        if alert.severity == "unknown" and (fields.text("event.kind") or "").lower() == "event":
            alert.severity = "informational"
