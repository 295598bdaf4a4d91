"""Claroty: alerts and events of industrial and medical networks, from xDome (Medigate) as CEF or JSON and CTD as CEF.

Source: Claroty, "xDome syslog integration", "CTD CEF format", xDome API, "Get alerted devices".
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import cef, common_security_log
from bartizan.sources.entities import address
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape

_LISTED = re.compile(r"'([^']{1,200})'")
_FIRST = (
    "alert_info.detected_time event_timestamp alert_detected_time detected_time device_alert_detected_time "
    "detection_time "
    "start rt deviceCustomDate1 syslogTime"
)

# CTD's own keys, as later versions write them -> those of CEF or of xDome.
_CTD: Mapping[str, str] = {
    "CtdSourceIp": "src",
    "CtdDestinationIp": "dst",
    "CtdSourceMac": "smac",
    "CtdDestinationMac": "dmac",
    "CtdSourceHost": "shost",
    "CtdDestinationHost": "dhost",
    "CtdMessage": "msg",
    "CtdTimeGenerated": "start",
    "CtdExternalId": "externalId",
    "CtdCategory": "cat",
    "CtdAlertLink": "alert_url",
    "CtdAlertStatus": "alert_status",
    "CtdResolvedAs": "alert_status",
    "CtdAssignedTo": "alert_assignees",
    "CtdMitreAttackTacticNames": "mitre_tactic_names",
    "CtdSignatureName": "signature_name",
    "CtdSignatureId": "signature_id",
    "CtdUser": "suser",
    "CtdInsightUser": "suser",
    "CtdFilePath": "filePath",
    "CtdCveId": "cve",
}


# Of an activity in an industrial network, as xDome's API tells it -> keys of CEF.
_ACTIVITY: Mapping[str, str] = {
    "event_type": "name",
    "event_id": "externalId",
    "description": "msg",
    "source_ip": "src",
    "source_port": "spt",
    "source_device_name": "shost",
    "source_username": "suser",
    "dest_ip": "dst",
    "dest_port": "dpt",
    "dest_device_name": "dhost",
    "ip_protocol": "proto",
    "protocol": "app",
}


class Claroty(Shape):
    name = "claroty"
    vendor = "Claroty"
    product = "xDome"
    marks = (
        "alert_info+device_category alert_info+asset_id+uid alert_type_name+alert_class+detected_time "
        "alert_type_name+device_uid+device_alert_detected_time alert_name+device_uid+detection_time "
        "device_alert_status+device_uid alert_info+uid event_type+source_asset_id+dest_asset_id+detection_time"
    )
    pattern = re.compile(r"CEF:\s?\d{1,2}\|Claroty\|")
    sourcetypes = ("claroty:*",)
    wrappers = ("devices_alerts", "alerts", "device_alerts", "ot_activity_events")
    alert = Paths(
        id="alert_id event_alert_id externalId event_id alert_info.id+uid id",
        title="alert_info.alert_type_name alert_name alert_type_name event_type name",
        description="alert_info.description event_description alert_description description msg",
        severity="deviceSeverity",
        score="deviceSeverity",
        scale=of_cef,
        vendor_category="alert_info.category alert_category event_type cat",
        tactics="mitre_tactic mitre_tactic_names",
        techniques="mitre_technique_enterprise_names",
        detector="alert_info.alert_type_name signature_id alert_type_name event_type deviceEventClassId",
        first=_FIRST,
        tags="alert_labels",
        last=(
            "alert_info.updated_time alert_updated_time device_alert_updated_time updated_time end event_timestamp "
            "rt start deviceCustomDate1 syslogTime"
        ),
        version="deviceVersion",
        status="alert_info.status alert_status device_alert_status status",
        assigned="alert_assignees",
        url="alert_url CTDlink",
        threat="signature_name",
        cves="cve",
        fold="src_ip dst_ip src dst device_uid uid",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        lines = [_named(line.fields) for line in cef.records(record)]
        return lines or [
            _named(fields)
            for fields in objects_of(record, *self.wrappers)
            if fields.has("alert_info") or _is_told(fields) or _is_activity(fields)
        ]

    def is_alert(self, fields: Fields) -> bool:
        """Every line tells of something found; CTD also sends its own health and audit so."""
        kind = f"{fields.text('name', 'alert_info.category') or ''} {fields.text('cat') or ''}".lower()
        if _is_activity(fields) or (fields.text("deviceEventClassId") or "").lower() in ("activitylog", "healthcheck"):
            return False
        return not any(word in kind for word in ("health", "audit", "system status"))

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        if fields.has("alert_info"):
            _device(fields, evidence)
            return
        for side in ("device", "other_device"):
            addresses, macs = _listed(fields, f"{side}_ip_list"), _listed(fields, f"{side}_mac_list")
            evidence.iot(
                fields.text(f"{side}_name"),
                device_id=fields.text(f"{side}_uid", f"{side}_asset_id"),
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
        for side in ("source", "dest") if _is_activity(fields) else ():
            said = fields.text(f"{side}_device_name")
            evidence.iot(
                None if address(said) else said,
                device_id=fields.text(f"{side}_asset_id"),
                address=fields.text(f"{side}_ip"),
                kind=fields.text(f"{side}_device_type"),
                zone=fields.text(f"{side}_site_name"),
            )
        source, target = fields.text("src_ip", "source_ip"), fields.text("dst_ip", "dest_ip")
        ports = fields.integer("src_port", "source_port"), fields.integer("dst_port", "dest_port", "server_port")
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


def _is_told(fields: Fields) -> bool:
    """An alert, an alert of a device or a communication of the API's own lists."""
    return fields.has("alert_type_name", "alert_name") and fields.has(
        "detected_time", "device_alert_detected_time", "detection_time"
    )


def _is_activity(fields: Fields) -> bool:
    """What somebody did to a controller: a download, a change of its configuration."""
    return fields.has("source_asset_id") and fields.has("dest_asset_id") and fields.has("detection_time")


def _listed(fields: Fields, key: str) -> list[str]:
    """Of "['10.0.0.1', None]", as Python prints a list; or of a list."""
    return [part for text in fields.texts(key) for part in (_LISTED.findall(text) if text[0] == "[" else [text])][:50]


def _named(fields: Fields) -> Fields:
    spelt = _ACTIVITY if _is_activity(fields) else _CTD
    names = {key: fields.raw(name) for name, key in spelt.items() if fields.has(name) and not fields.has(key)}
    if spelt is _ACTIVITY:
        names |= {"deviceVendor": Claroty.vendor, "deviceProduct": Claroty.product}
    return fields.also(names) if names else fields


_NAMES = ("windows_last_seen_hostname", "dhcp_last_seen_hostname", "http_last_seen_hostname", "snmp_last_seen_hostname")


def _device(fields: Fields, evidence: Evidence) -> None:
    """A device that an alert is about, as the API tells the pair of both."""
    addresses = fields.texts("ip_list")
    names = [fields.text(path) for path in ("device_name", *_NAMES, "local_name")]
    evidence.ip(fields.text("device_name"))  # of one that has no name
    evidence.iot(
        next((name for name in names if name is not None and address(name) is None), None),
        device_id=fields.text("uid", "asset_id"),
        address=next(iter(addresses), None),
        mac=next(iter(fields.texts("mac_list")), None),
        kind=fields.text("device_type"),
        vendor=fields.text("manufacturer"),
        model=fields.text("model"),
        os=fields.text("combined_os"),
        zone=fields.text("site_name"),
    )
    for text in addresses[:50]:
        evidence.ip(text)
    for name in [*fields.texts("windows_hostnames", "dhcp_hostnames", "other_hostnames")[:10], *names[1:]]:
        evidence.host(name)
    evidence.user(fields.text("last_domain_user"))
