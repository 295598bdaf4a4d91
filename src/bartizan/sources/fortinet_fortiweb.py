"""Fortinet FortiWeb: attack logs of the web application firewall, and its traffic and event logs.

Source: Fortinet, "FortiWeb Log Message Reference".
"""

import re
from typing import Any

from bartizan.model.alert import Alert, Severity
from bartizan.sources.entities import addresses_in
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, as_text
from bartizan.sources.firewall import Firewall
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths

_WORDS: dict[str, Severity] = {"notice": "low", "alert": "medium", "information": "informational"}


class FortiWeb(Firewall):
    name = "fortinet_fortiweb"
    vendor = "Fortinet"
    product = "FortiWeb"
    pattern = re.compile(
        r"\bdevice_id=\S{1,60} log_id=\d{6,12} type=\"?(?:attack|traffic|event)\b.{0,120}?\b(?:msg_id|vd)="
        r"|\blog_id=\d{6,12} msg_id=\d{1,20} device_id=|FortiWeb"
    )
    sourcetypes = ("fortiweb*", "fwb_log", "fwb_*", "fortinet:fortiweb*")
    prefix = "FTNTFWB"
    keys = {
        "src_port": "spt",
        "dst_port": "dpt",
        "trans_src": "sourceTranslatedAddress",
        "trans_dst": "destinationTranslatedAddress",
        "user": "suser",
        "http_host": "dhost",
        "http_url": "request",
        "http_method": "requestMethod",
        "http_agent": "requestClientApplication",
        "user_agent": "requestClientApplication",
        "service": "app",
        "action": "act",
        "devname": "dvchost",
        "device_id": "deviceExternalId",
        "msg_id": "externalId",
        "log_id": "deviceEventClassId",
        "pri": "deviceSeverity",
    }
    times = "eventtime rt"
    alert = Paths(
        id="msg_id+device_id+log_id",
        title="main_type subcat sub_type msg type",
        description="msg",
        severity="severity severity_level pri",
        score="deviceSeverity",
        scale=of_cef,
        words=_WORDS,
        category="Exploit",
        vendor_category="main_type subcat subtype type",
        detector="sigid signature_id subcat log_id",
        first="eventtime date rt",
        cves="signature_cve_id",
        fold="src dhost subcat",
    )

    def named(self, data: Any) -> Fields:
        fields = super().named(data)
        day, clock = fields.text("date"), fields.text("time")
        if day is not None and clock is not None:
            fields.put(eventtime=f"{day}T{clock}")
        kind, colon, what = (fields.text("name") or "").partition(":")  # of CEF: "attack:Signature Detection"
        if colon and not fields.has("type"):
            fields.put(type=kind, main_type=what, log_id=fields.text("deviceEventClassId"))
        return fields

    def is_alert(self, fields: Fields) -> bool:
        """All that the firewall sends about requests; those that it lets pass are informational."""
        return fields.has("type", "log_id") and fields.has("src", "srcip")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        super().entities(fields, evidence)
        if fields.text("ui") is not None:  # an administrator: the message says from where
            for text in addresses_in(fields.text("msg")):
                evidence.ip(text, ("source",))
        host = fields.text("http_host")
        evidence.domain(host)
        evidence.observe("url", fields.text("http_url"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        super().finish(fields, alert)
        # Beside "sub_type" some versions have "subtype", another thing: as it is spelt, then.
        kind, what = fields.text("main_type"), as_text(fields.data.get("sub_type"))
        if kind is not None and what is not None:
            alert.title = f"{kind}: {what}"
        if (fields.text("type") or "").lower() != "attack":
            alert.severity, alert.category, alert.categories = "informational", "SuspiciousActivity", []
            alert.title = f"{fields.text('type')} {fields.text('subtype') or ''}".strip()
