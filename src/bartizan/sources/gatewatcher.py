"""Gatewatcher AIONIQ (GCenter): alerts of its engines and network metadata, in the Elastic Common Schema.

Source: Gatewatcher documentation, "GCenter: data export, ECS"; Elastic Common Schema 8.
"""

import re

from bartizan.model.alert import Alert, Severity
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape

_LEVELS: dict[int, Severity] = {1: "high", 2: "medium", 3: "low", 4: "informational"}
_CATEGORIES = {
    "malcore": "Malware",
    "malicious_powershell_detect": "Execution",
    "shellcode_detect": "Exploit",
    "dga_detect": "CommandAndControl",
    "beacon_detect": "CommandAndControl",
    "ransomware_detect": "Ransomware",
    "active_cti": "CommandAndControl",
    "retrohunt": "CommandAndControl",
}
_VERDICT = re.compile(r"^(?:Infected|Suspicious)\s*:\s*", re.IGNORECASE)


class Gatewatcher(Shape):
    name = "gatewatcher"
    vendor = "Gatewatcher"
    product = "AIONIQ"
    marks = "observer.vendor=gatewatcher+event observer.product=gcenter event.module=sigflow_* observer.gcap+event"
    sourcetypes = ("gatewatcher", "gatewatcher:*")
    table = "GatewatcherEvents"
    columns = {"Module": "event.module", "Dataset": "event.dataset", "FlowId": "network.flow_id"}
    alert = Paths(
        id="event.id",
        title="sigflow.signature malcore.detail_threat_found malcore.magic_details event.module event.dataset",
        description="malcore.detail_scan_name sigflow.category event.reason",
        vendor_category="event.module",
        categories=_CATEGORIES,
        detector="sigflow.signature_id event.module",
        first="network.timestamp event.created @timestamp",
        last="flow.end @timestamp",
        created="event.created",
        sub_provider="observer.gcap.hostname observer.hostname",
        version="observer.version",
        tactics="sigflow.metadata.mitre_tactic_id sigflow.metadata.mitre_tactic_name",
        techniques="sigflow.metadata.mitre_technique_name",
        actor="ioc.threat_actor",
        family="ioc.families",
        cves="ioc.vulnerabilities",
        fold="source.ip destination.ip",
    )

    def is_alert(self, fields: Fields) -> bool:
        """Everything that the export sends: metrics and metadata are informational."""
        return fields.has("event") and fields.has("observer", "network", "source")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        source, target = fields.object("source"), fields.object("destination")
        evidence.flow(
            source.text("ip"),
            source.integer("port"),
            target.text("ip"),
            target.integer("port"),
            fields.text("network.transport"),
            places=(_place(source), _place(target)),
        )
        evidence.ip(source.text("ip"), ("source",), _place(source))
        evidence.ip(target.text("ip"), ("destination",), _place(target))
        evidence.domain(fields.text("dns.name", "dns.question.name", "dga.dga_domain", "url.domain", "tls.sni"))
        evidence.domain(fields.text("http.hostname", "tls.client.server_name"))
        for asked in [*fields.texts("dns.query.rrname"), *fields.texts("dns.rrname")]:
            evidence.domain(asked)
        host, path = fields.text("url.domain", "http.hostname"), fields.text("url.path", "http.url") or ""
        evidence.url(fields.text("url.full", "http.url"))
        evidence.url(f"http://{host}{path}" if host and path.startswith("/") else None)
        for each in fields.objects("dns.answers.data"):
            evidence.ip(each.text("rdata", "data"))
        for found in (fields.object("file"), fields.object("malcore"), fields.object("fileinfo")):
            hashes = [found.text(path) for path in ("hash.sha256", "hash.md5", "sha256", "md5", "sha1")]
            name = found.text("name", "file_name", "filename")
            evidence.file(name, None, hashes, size=found.integer("size"))
        evidence.malware(fields.text("malcore.detail_threat_found"))
        for name in (fields.text("beacon.hostname_resolution"), *(fields.text("dga.top_DGA") or "").split(",")):
            evidence.domain((name or "").strip() or None)
        _indicator(fields.object("ioc"), evidence)
        evidence.user(fields.text("user.name", "smb.username", "kerberos.cname"))
        evidence.host(fields.text("host.name", "host.hostname"))
        if not evidence.items:  # a metric of the sensor itself
            evidence.host(fields.text("observer.gcap.hostname", "observer.hostname"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        kind = (fields.text("event.kind") or "").lower()
        level = fields.integer("event.severity")
        alert.vendor_severity = fields.text("event.severity")
        if kind and kind != "alert":
            alert.severity = "informational"
        elif level is not None:
            alert.severity = _LEVELS.get(level, "unknown")
        alert.threat_name = _threat(fields)
        if alert.title == fields.text("event.module"):
            words, found = alert.title.replace("sigflow_", "").replace("_", " "), fields.text("ioc.value")
            alert.title = f"Gatewatcher {words}{f': {found}' if found else ''}"


def _threat(fields: Fields) -> str | None:
    """The malware's name, without the verdict before it."""
    said = fields.text("malcore.detail_threat_found")
    return _VERDICT.sub("", said) if said is not None else None


def _indicator(known: Fields, evidence: Evidence) -> None:
    """What of the traffic is an indicator of compromise."""
    value = known.text("value")
    evidence.ip(value, ("commandAndControl",))
    evidence.domain(value)
    evidence.url(value if "/" in (value or "") else None, ("commandAndControl",))
    evidence.file(hashes=[value])


def _place(end: Fields) -> Place:
    where = end.object("geo")
    return Place(country=where.text("country_iso_code", "country_name"), city=where.text("city_name"))
