"""Nozomi Networks: alerts, assets and vulnerabilities of Guardian, the Central Management Console and Vantage.

Source: Nozomi Networks Open API, "Alerts"; "Data integration" (CEF, LEEF); Vantage webhooks.
"""

import re
from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources import common_security_log
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape

# The names of the JSON -> where CEF and LEEF say the same.
_CEF = {
    "name": "name,eventName,flexString3",
    "type_id": "deviceEventClassId",
    "risk": "deviceSeverity",
    "description": "msg,message",
    "time": "start,rt,end",
    "ip_src": "src",
    "ip_dst": "dst",
    "port_src": "spt",
    "port_dst": "dpt",
    "mac_src": "smac",
    "mac_dst": "dmac",
    "label_src": "shost",
    "label_dst": "dhost",
    "protocol": "app",
    "appliance_host": "dvchost",
}


class Nozomi(Shape):
    name = "nozomi"
    vendor = "Nozomi Networks"
    product = "Guardian"
    marks = (
        "event_type=alerts+appliance_host event_type=vulnerabilities+cve type_id+risk+ip_src "
        "mac_src+id_src+type_id event_type=vulnerabilities+matching_cpes trigger_id+risk+id_src "
        "event_type=assets+appliance_hosts event_type=alerts+risk type_id=*:*+type_name+risk "
        "event_type=*+appliance_host+mac_src"
    )
    pattern = re.compile(common_security_log.BEGINS + r"Nozomi[^|]{0,40}\|")
    sourcetypes = ("nozomi", "nozomi:*")
    table = "NozomiEvents"
    columns = {"EventKind": "event_type", "Sensor": "appliance_host"}
    wrappers = ("result", "data")
    alert = Paths(
        id="id alert_id cve+time",
        title="name type_name cve summary category event_type",
        description="description summary",
        score="risk properties.base_risk severity score",
        scale=of_cef,
        vendor_category="type_id category event_type",
        tactics="mitre_attack_tactics properties.mitre_attack_tactics",
        detector="type_id trigger_id name cve category",
        first="time created_time creation_time record_created_at",
        last="closed_time update_time time",
        created="created_time creation_time",
        updated="update_time",
        status="status",
        statuses={"ack": "inProgress"},
        sub_provider="appliance_host",
        version="properties.n2os_version",
        threat="threat_name",
        cves="cve",
        fold="ip_src ip_dst id_src id_dst mac_src",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        """Also of CEF and LEEF, by the names of the JSON."""
        return common_security_log.lines(record, _CEF) or super().read(record)

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("event_type", "type_id", "type_name") or (fields.has("id") and fields.has("risk"))

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        for end, role in (("src", "source"), ("dst", "destination")):
            evidence.iot(
                fields.text(f"label_{end}"),
                address=fields.text(f"ip_{end}"),
                mac=fields.text(f"mac_{end}"),
                kind=fields.text(f"types_{end}", f"{end}_roles"),
                zone=fields.text(f"zone_{end}"),
                roles=("source",) if role == "source" else ("destination",),
            )
        source, target = fields.text("ip_src"), fields.text("ip_dst")
        evidence.flow(
            source,
            fields.integer("port_src"),
            target,
            fields.integer("port_dst"),
            fields.text("transport_protocol", "protocol"),
        )
        evidence.ip(source, ("source",))
        evidence.ip(target, ("destination",))
        evidence.ip(fields.text("ip", "node_id"))
        evidence.host(fields.text("node_label", "label"), addresses=[fields.text("ip")])
        for text in fields.texts("matching_cpes")[:20]:
            evidence.app(text)

    def finish(self, fields: Fields, alert: Alert) -> None:
        if fields.has("cve"):
            alert.category, alert.categories = "Vulnerability", ["Vulnerability"]
        if fields.flag("ack") is True:
            alert.status = "inProgress"
        if (fields.integer("closed_time") or 0) > 0:
            alert.status = "resolved"
