"""Rapid7 Threat Command (IntSights): alerts of external threat intelligence.

Source: Threat Command API, "Get alert complete".
"""

from bartizan.model.alert import Alert
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape

_CATEGORIES = {
    "attackindication": "Reconnaissance",
    "dataleakage": "Exfiltration",
    "exploitabledata": "Vulnerability",
    "brandsecurity": "Phishing",
    "vip": "Reconnaissance",
}


class ThreatCommand(Shape):
    name = "threat_command"
    vendor = "Rapid7"
    product = "Threat Command"
    marks = "Details.SubType+FoundDate Details.Title+Assets Details+FoundDate+Closed RelatedIocs+Assets"
    sourcetypes = ("threatcommand:*", "intsights:*", "rapid7:threat_command*")
    table = "ThreatCommandEvents"
    columns = {"SubType": "Details.SubType", "NetworkType": "Details.Source.NetworkType"}
    alert = Paths(
        id="_id id",
        title="Details.Title",
        description="Details.Description",
        severity="Details.Severity",
        vendor_category="Details.Type",
        categories=_CATEGORIES,
        detector="Details.SubType",
        first="Details.Source.Date FoundDate",
        last="UpdateDate",
        created="FoundDate",
        updated="UpdateDate",
        assigned="Assignees",
        tags="Details.Tags.Name Details.Tags",
        fold="Assets.Value",
    )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        for asset in fields.objects("Assets"):
            _named(asset.text("Type"), asset.text("Value"), evidence)
        evidence.url(fields.text("Details.Source.URL"))
        for each in fields.objects("RelatedIocs"):
            _named(each.text("Type"), each.text("Value"), evidence)
        for text in fields.texts("RelatedIocs"):
            _named(None, text, evidence)

    def finish(self, fields: Fields, alert: Alert) -> None:
        closed = fields.object("Closed", "IsClosed")
        if closed.flag("IsClosed") is True or fields.flag("IsClosed") is True:
            alert.status = "resolved"
            reason = (closed.text("Reason", "CloseReason") or "").lower()
            alert.classification = "falsePositive" if reason.startswith("false") else alert.classification


def _named(kind: str | None, value: str | None, evidence: Evidence) -> None:
    """By its form: address, hash, link, mail, domain; else a name of the organisation's."""
    if value is None or evidence.ip(value) is not None:
        return
    if "://" in value:
        evidence.url(value)
    elif "@" in value:
        evidence.mailbox(value)
    elif evidence.file(hashes=[value]) is None and evidence.domain(value) is None:
        evidence.app(value)
