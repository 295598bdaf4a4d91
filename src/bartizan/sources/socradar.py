"""SOCRadar: alarms of its digital risk protection.

Source: SOCRadar API, "Incidents v4" and "Incidents v2"; the schema that Panther publishes for it.
"""

from bartizan.model.alert import Alert
from bartizan.sources.entities import addresses
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape

_CATEGORIES = {
    "vulnerability": "Vulnerability",
    "attack surface management": "Misconfiguration",
    "brand protection": "Phishing",
    "deep&dark web monitoring": "Reconnaissance",
    "credential exposure": "CredentialAccess",
}


_MAX = 50  # values of one kind
_MAILS = ("email", "username", "emails", "compromised_emails")


class SocRadar(Shape):
    name = "socradar"
    vendor = "SOCRadar"
    product = "Extended Threat Intelligence"
    marks = (
        "alarm_id+alarm_type_details alarm_id+alarm_risk_level alarm_asset+alarm_text "
        "alarm_risk_level+alarm_type_details"
    )
    sourcetypes = ("socradar", "socradar:*")
    table = "SocRadarEvents"
    columns = {"AlarmAsset": "alarm_asset", "MainType": "alarm_type_details.alarm_main_type"}
    wrappers = ("data",)
    alert = Paths(
        id="alarm_id id",
        title=(
            "alarm_notification_texts.alarm_title alarm_type_details.alarm_generic_title "
            "alarm_type_details.alarm_sub_type alarm_text"
        ),
        description="alarm_text alarm_notification_texts.alarm_text",
        severity="alarm_risk_level",
        vendor_category="alarm_type_details.alarm_main_type",
        categories=_CATEGORIES,
        detector="alarm_type_details.alarm_sub_type",
        first="date content.content_date content.content_insert_date insert_date",
        updated="update_date",
        status="status",
        statuses={
            "falsepositive": "resolved",
            "mitigated": "resolved",
            "onhold": "inProgress",
            "duplicate": "resolved",
        },
        verdict="status",
        actions="alarm_type_details.alarm_default_mitigation_plan alarm_mitigation",
        assigned="alarm_assignees.email alarm_assignees",
        tags="tags",
        fold="alarm_asset",
    )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        content = fields.object("content")
        for path in ("content_link", "url", "phishing_url", "phishing_domain_url", "effective_url", "repository_url"):
            evidence.url(content.text(path))
        for path in ("source", "domain", "domains", "phishing_domain", "potential_phishing_domain"):
            for text in content.texts(path):
                for name in text.split(",")[:_MAX]:
                    evidence.domain(name.strip())
        preview = content.object("content_preview")
        evidence.domain(preview.text("source", "domain"))
        said = [*content.texts("ip"), *content.texts("ip_address"), *fields.texts("alarm_related_entities.value")]
        for text in addresses([*said, *content.texts("dns_records.A"), *content.texts("dns_records.AAAA")])[:_MAX]:
            evidence.ip(text)
        for item in fields.objects("alarm_related_entities"):
            kind = (item.text("key") or "").lower()
            for text in item.texts("value")[:_MAX]:
                if kind in ("domain", "host", "hostname"):
                    evidence.domain(text)
                elif kind in ("url", "effective_url"):
                    evidence.url(text)
                elif kind == "hash":
                    evidence.file(hashes=[text])
                elif kind == "email":
                    evidence.mailbox(text)
        assets = [*fields.texts("alarm_asset", "alarm_assets"), *content.texts("matched_asset")]
        for asset in dict.fromkeys(assets):
            if evidence.ip(asset) is None and evidence.domain(asset) is None:
                evidence.app(asset, roles=("attacked",))
        for mail in [part for path in _MAILS for text in content.texts(path) for part in text.split(",")[:_MAX]]:
            evidence.user(mail.strip())

    def finish(self, fields: Fields, alert: Alert) -> None:
        if fields.flag("is_resolved") is True or fields.flag("is_false_positive") is True:
            alert.status = "resolved"
        if fields.flag("is_false_positive") is True:
            alert.classification = "falsePositive"
