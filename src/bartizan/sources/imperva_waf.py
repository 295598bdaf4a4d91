"""Imperva: Cloud WAF (Incapsula), Attack Analytics and SecureSphere, as CEF or LEEF; Cloud WAF as JSON by CEF's keys.

Source: Imperva, "Cloud WAF log file structure", "Attack Analytics SIEM integration", "SecureSphere CEF".
"""

import re
from collections.abc import Iterable, Iterator

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import common_security_log
from bartizan.sources.entities import addresses_in, domain
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape

_EXPLOITS = (
    "sql injection", "cross site scripting", "remote file inclusion", "illegal resource access", "code injection",
    "remote code execution", "backdoor", "path traversal", "file upload", "xxe", "ssrf", "cve-", "http verb",
    "shellshock",
)  # fmt: skip
_FIRST = "start rt deviceReceiptTime syslogTime"


def _of_cloud(fields: Fields) -> Fields:
    """An object of Cloud WAF by the names of its CEF."""
    said = {
        "name": fields.text("attackName", "Attack.Name"),
        "deviceSeverity": fields.text("attackSeverity", "Attack.Severity"),
    }
    named = {"deviceVendor": "Incapsula", "deviceProduct": "SIEMintegration", **said}
    return fields.also(named) if any(said.values()) else fields


class Imperva(Shape):
    name = "imperva_waf"
    vendor = "Imperva"
    product = "Cloud WAF"
    marks = "EventVendor=Imperva+EventProduct+src AttackName+AttackSeverity+SourceServiceName"
    pattern = re.compile(common_security_log.BEGINS + r"(?:Incapsula|Imperva[^|]{0,40})\|")
    sourcetypes = ("imperva:*", "incapsula:*")
    alert = Paths(
        id="fileId deviceExternalId+start externalId",
        title="name",
        description="msg",
        severity="deviceSeverity",
        score="deviceSeverity",
        scale=of_cef,
        vendor_category="ImpervaAAAttackType name",
        detector="ImpervaAAAttackType name",
        first=_FIRST,
        last="end rt start syslogTime",
        version="deviceVersion",
        cves="ImpervaAACves",
        fold="src sourceServiceName dhost act",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        """Of LEEF the event's id is what CEF has as its name."""
        found = common_security_log.lines(record, {"name": "name,eventId", "deviceSeverity": "deviceSeverity,sev"})
        return found or [_of_cloud(fields) for fields in objects_of(record)]

    def is_alert(self, fields: Fields) -> bool:
        """Requests that broke no rule are logged under the name "Normal", what SecureSphere does itself as such."""
        if (fields.text("cat") or "").lower() == "systemevent":
            return False
        name = (fields.text("name") or "").lower()
        return name not in ("", "normal", "none") and "audit" not in name

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        place = Place(
            country=fields.text("ccode", "ImpervaAACountry"),
            city=fields.text("cicode"),
            latitude=fields.number("latitude"),
            longitude=fields.number("longitude"),
        )
        source, target = fields.text("src", "caIP"), fields.text("dst", "sip")
        # Of Cloud WAF "cpt" is the client's port and "spt" the server's.
        ports = fields.integer("cpt", "spt"), fields.integer("dpt", "spt" if fields.has("cpt") else "dpt")
        if evidence.flow(source, ports[0], target, ports[1], "tcp", places=(place, None)) is None:
            evidence.ip(source, ("source",), place)
            evidence.ip(target, ("destination",))
        for text in (fields.text("ImpervaAADominantIps", "xff") or "").split(",")[:50]:
            evidence.ip(text.strip(), ("source",))
        request = fields.text("request")
        evidence.url(request)
        sites = ("sourceServiceName", "dhost", "ImpervaAASite")
        for name in (*(fields.text(key) for key in sites), (request or "").partition("/")[0]):
            evidence.domain(domain(name))
        for user in common_security_log.people(fields.texts("suser", "duser")):
            evidence.user(user)
        if (fields.text("cat") or "").lower() == "systemevent":
            for text in addresses_in(fields.text("name")):
                evidence.ip(text, ("source",))
        evidence.host(fields.text("dvchost"))
        evidence.observe("resource", fields.text("ServerGroup"), "serverGroup")

    def finish(self, fields: Fields, alert: Alert) -> None:
        product = fields.text("deviceProduct") or ""
        alert.product = self.product if product == "SIEMintegration" else product or self.product
        alert.vulnerabilities = [cve for text in alert.vulnerabilities for cve in text.split(",")][:100]
        kind = f"{alert.vendor_category} {alert.title}".lower()
        if any(word in kind for word in _EXPLOITS):
            alert.category = "Exploit"
            alert.categories = ["Exploit"]
        elif "ddos" in kind:
            alert.category = "Impact"
            alert.categories = ["Impact"]
        if not fields.has("deviceSeverity"):  # as in LEEF
            alert.severity = "medium"
        act = (fields.text("act") or "").upper()
        stopped = act.startswith(("REQ_BLOCKED", "REQ_BAD", "REQ_DOMAIN_BLACKLISTED", "REQ_DENIED"))
        common_security_log.acted(alert, "blocked" if stopped else act.replace("_", " "))

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        yield from common_security_log.told(fields, self.entities, _FIRST.split())
