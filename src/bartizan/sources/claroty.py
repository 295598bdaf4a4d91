"""Claroty: alerts and events of industrial and medical networks, from xDome (Medigate) and CTD, as CEF.

Source: Claroty, "xDome syslog integration", "CTD CEF format".
"""

import re
from collections.abc import Iterable, Iterator

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import cef, common_security_log
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape

_LISTED = re.compile(r"'([^']{1,200})'")
_FIRST = "event_timestamp alert_detected_time detected_time start rt deviceCustomDate1 syslogTime"


class Claroty(Shape):
    name = "claroty"
    vendor = "Claroty"
    product = "xDome"
    alert = Paths(
        id="alert_id event_alert_id externalId event_id",
        title="alert_name alert_type_name event_type name",
        description="event_description alert_description description msg",
        severity="deviceSeverity",
        score="deviceSeverity",
        scale=of_cef,
        vendor_category="alert_category event_type cat",
        tactics="mitre_tactic mitre_tactic_names",
        detector="signature_id alert_type_name event_type deviceEventClassId",
        first=_FIRST,
        last="alert_updated_time end event_timestamp rt start deviceCustomDate1 syslogTime",
        version="deviceVersion",
        status="alert_status status",
        assigned="alert_assignees",
        url="alert_url CTDlink",
        threat="signature_name",
        fold="src_ip dst_ip src dst device_uid",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        return [event.fields for event in cef.records(record)]

    def is_alert(self, fields: Fields) -> bool:
        """Every line tells of something found; CTD also sends its own health and audit so."""
        kind = f"{fields.text('name') or ''} {fields.text('cat') or ''}".lower()
        return not any(word in kind for word in ("health", "audit", "system status"))

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        for side in ("device", "other_device"):
            addresses, macs = _listed(fields, f"{side}_ip_list"), _listed(fields, f"{side}_mac_list")
            evidence.iot(
                fields.text(f"{side}_name", f"{side}_asset_id"),
                device_id=fields.text(f"{side}_uid"),
                address=next(iter(addresses), None),
                mac=next(iter(macs), None),
                kind=fields.text(f"{side}_type"),
                vendor=fields.text(f"{side}_manufacturer"),
                model=fields.text(f"{side}_model"),
                os=fields.text(f"{side}_os"),
                zone=fields.text(f"{side}_site_name"),
            )
            for text in addresses:
                evidence.ip(text)
        source, target = fields.text("src_ip"), fields.text("dst_ip")
        ports = fields.integer("src_port"), fields.integer("dst_port", "server_port")
        if evidence.flow(source, ports[0], target, ports[1], fields.text("ip_protocol")) is None:
            evidence.ip(source, ("source",))
            evidence.ip(target, ("destination",))
        common_security_log.entities(fields, evidence)
        evidence.file(fields.text("file_name"), None, [fields.text("file_hash", "file_md5", "file_sha256")])
        evidence.domain(fields.text("domain", "src_domain"))
        evidence.url(fields.text("url"))
        evidence.user(fields.text("user_name", "username", "PrimaryUser"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        signature = fields.text("signature_name")
        if signature is not None and signature not in alert.title:
            alert.title = f"{alert.title}: {signature}"
        product = fields.text("deviceProduct")
        alert.product = product if product and product != self.vendor else self.product
        common_security_log.acted(alert, fields.text("act"))

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        yield from common_security_log.told(fields, self.entities, _FIRST.split())


def _listed(fields: Fields, key: str) -> list[str]:
    """Of "['10.0.0.1', None]", as Python prints a list; or of a list."""
    return [part for text in fields.texts(key) for part in (_LISTED.findall(text) if text[0] == "[" else [text])][:50]
