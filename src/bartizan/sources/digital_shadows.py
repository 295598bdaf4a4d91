"""ReliaQuest Digital Shadows SearchLight: alerts and incidents about what of an organisation shows outside.

Source: SearchLight API, "Alerts", "Incidents".
"""

import re

from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape

_MAX_TEXT = 16_384
_DOMAIN = re.compile(r"(?:Impersonating Domain|Domain|Hostname):?\s+([\w-]+(?:\.[\w-]+)+)", re.IGNORECASE)
_ADDRESS = re.compile(r"^A{1,4}\s+-\s+(\S{3,45})\s*$", re.MULTILINE)
_MAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}", re.ASCII)
_URL = re.compile(r"https?://[^\s\"'<>]{3,2048}")
_MAX_FOUND = 50
_CATEGORIES = {
    "impersonating-domain-alert": "Phishing",
    "impersonating-subdomain-alert": "Phishing",
    "phishing-webpage-alert": "Phishing",
    "exposed-credential-alert": "CredentialAccess",
    "credential-exposure-alert": "CredentialAccess",
    "exposed-access-key-alert": "CredentialAccess",
    "vulnerability": "Vulnerability",
    "exposed-port-alert": "Misconfiguration",
}


class DigitalShadows(Shape):
    name = "digital_shadows"
    vendor = "Digital Shadows"
    product = "SearchLight"
    marks = (
        "portal-id+classification+risk-assessment portal-id+title entity-summary+severity+title "
        "entitySummary+severity+title "
        "risk-assessment+risk-factors risk-type+risk-level+classification content.risk-type+content.classification"
    )
    sourcetypes = ("digital_shadows", "digitalshadows:*", "searchlight:*")
    table = "DigitalShadowsEvents"
    wrappers = ("content",)
    columns = {"Classification": "classification", "PortalId": "portal-id"}
    alert = Paths(
        id="id portal-id",
        title="title",
        description="description summary",
        url="portal-link",
        severity="risk-assessment.risk-level risk-level severity",
        vendor_category="classification type",
        categories=_CATEGORIES,
        category="Reconnaissance",
        detector="classification type",
        first="raised published occurred",
        last="updated raised",
        updated="updated",
        status="state.status status",
        statuses={"rejected": "resolved", "mitigated": "resolved"},
        tags="risk-factors",
    )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        text = "\n".join([*fields.texts("title"), *fields.texts("description")])[:_MAX_TEXT]
        for match in list(_DOMAIN.finditer(text))[:_MAX_FOUND]:
            evidence.domain(match[1], roles=("suspicious",))
        evidence.domain(fields.text("domain", "domain-name"), roles=("suspicious",))
        for match in list(_ADDRESS.finditer(text))[:_MAX_FOUND]:
            evidence.ip(match[1])
        if fields.has("entity-summary"):
            evidence.url(fields.text("entity-summary.source", "entity-summary.domain"))
        for match in list(_URL.finditer(text))[:_MAX_FOUND]:
            if "digitalshadows.com" not in match[0]:  # the portal's own link
                evidence.url(match[0].rstrip(".,)"))
        if "credential" in (fields.text("classification") or ""):
            for match in list(_MAIL.finditer(text))[:_MAX_FOUND]:
                evidence.user(match[0].rstrip("."))
        if not evidence.items:  # then what of one's own it is about
            for asset in fields.texts("assets.display-value")[:_MAX_FOUND]:
                if evidence.domain(asset) is None and evidence.ip(asset) is None:
                    evidence.mailbox(asset)
