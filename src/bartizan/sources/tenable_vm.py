"""Tenable Vulnerability Management and Security Center: what their scanners found, one alert for each asset and plugin.

What a plugin only tells of an asset (severity "info") is an event.
Source: Tenable developer portal, "Vulnerability export: properties"; Tenable Security Center API, "Analysis"
(vulndetails).
"""

from collections.abc import Iterator

from bartizan.extend import Event, GraphObject
from bartizan.model.alert import Alert
from bartizan.sources.entities import addresses
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape

_WORDS = frozenset({"info", "none", "informational", "0"})
_MAX_CVES = 100


class TenableVm(Shape):
    name = "tenable_vm"
    vendor = "Tenable"
    product = "Vulnerability Management"
    marks = (
        "plugin.id+asset+severity_id plugin+asset+first_found+state plugin.family+asset+scan "
        "pluginID+pluginName+repository pluginID+pluginName+severity.name "
        "vulnerabilities.plugin.id+vulnerabilities.asset+vulnerabilities.severity_id"
    )
    sourcetypes = ("tenable:io:vuln*", "tenable:sc:vuln*", "tenable_vm*", "nessus:scan")
    table = "TenableFindings"
    columns = {
        "PluginId": "plugin.id pluginID",
        "PluginFamily": "plugin.family family.name",
        "State": "state",
        "Port": "int port.port port",
        "Output": "output pluginText",
        "Cves": "list plugin.cve cve",
    }
    wrappers = ("vulnerabilities", "response.results", "results", "findings")
    alert = Paths(
        title="plugin.name pluginName plugin.synopsis",
        description="plugin.description description plugin.synopsis",
        severity="severity.name severity",
        vendor_category="plugin.family family.name",
        category="Vulnerability",
        detector="plugin.id pluginID",
        first="first_found firstSeen",
        last="last_found lastSeen",
        updated="last_fixed indexed last_found lastSeen",
        status="state",
        statuses={"fixed": "resolved"},
        actions="plugin.solution solution",
        cves="plugin.cve cve",
        url="plugin.see_also",
    )

    def is_alert(self, fields: Fields) -> bool:
        word = (fields.text("severity.name", "severity") or "").lower()
        return fields.has("plugin.id", "pluginID") and word not in _WORDS

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        asset = fields.object("asset")
        own = addresses([*asset.texts("ipv4"), *asset.texts("ipv6"), fields.text("ip")])
        evidence.host(
            asset.text("fqdn", "hostname", "netbios_name") or _bare(fields.text("dnsName", "netbiosName")),
            addresses=own,
            os=asset.text("operating_system") or fields.text("operatingSystem"),
            device_id=asset.text("uuid") or fields.text("hostUUID", "uuid"),
            roles=("attacked",),
        )
        for text in own:
            evidence.ip(text, ("attacked",))

    def finish(self, fields: Fields, alert: Alert) -> None:
        where = fields.text("asset.uuid", "hostUUID", "uuid", "asset.ipv4", "ip") or ""
        port = fields.text("port.port", "port") or "0"
        protocol = (fields.text("port.protocol", "protocol") or "").lower()
        plugin = alert.detector_id or alert.title
        alert.provider_alert_id = fields.text("finding_id") or ":".join((where, plugin, port, protocol))
        if not fields.has("plugin"):
            alert.product = "Security Center"
        found = [name.strip() for text in alert.vulnerabilities for name in text.split(",")]
        alert.vulnerabilities = [name for name in found if name.startswith("CVE-")][:_MAX_CVES]
        if (fields.text("severity_modification_type") or "").upper() == "ACCEPTED":
            alert.status, alert.classification = "resolved", "informationalExpectedActivity"

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        yield from super().event(fields.also({"timestamp": fields.raw("last_found", "lastSeen")}))


def _bare(name: str | None) -> str | None:
    """Without the group before the NetBIOS name."""
    return name.rpartition("\\")[2] if name else None
