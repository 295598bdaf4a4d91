"""Zscaler Internet Access: NSS feeds of web, firewall, DNS, tunnel, CASB and audit logs.

Source: Zscaler, "NSS feed output format": web, firewall, DNS, tunnel, SaaS security and admin audit logs.
"""

import re
from collections.abc import Iterable
from typing import Any

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.model.entities import url_host
from bartizan.sources import cef, common_security_log, leef, pairs
from bartizan.sources.entities import address
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of, opened
from bartizan.sources.shape import Paths, Shape

_NOTHING = frozenset({"none", "na", "n/a", "unknown", "not supported", "-"})


class Zscaler(Shape):
    name = "zscaler"
    vendor = "Zscaler"
    product = "Internet Access"
    marks = (
        "sourcetype=zscaler*+event event.vendor=zscaler event.product=nss+event "
        "event.datetime+event.department Recordid+Cloudname sourcetype=zscalernss*+sourcesubtype+record_id "
        "LogTimestamp+Customer+SessionID LogTimestamp+Customer+ConnectionID"
    )
    pattern = re.compile(r"\|Zscaler\|| vendor=Zscaler |\bproduct=NSS\b|\bZscalerNSS: ")
    sourcetypes = ("zscalernss*", "zscaler:*", "zscalerlss*", "zscaler")
    table = "ZscalerEvents"
    columns = {"Feed": "sourcetype", "Action": "action", "ThreatName": "threatname", "Category": "urlcategory category"}
    wrappers = ("events",)
    alert = Paths(
        id="recordid event_id record_id",
        title="threatname malwareclass threatcategory rulelabel rulename rule.label",
        description="reason rulelabel",
        score="threatseverity_id pagerisk riskscore",
        severity="threatseverity severity",
        words={f"{word} severity": word for word in ("low", "medium", "high")},
        vendor_category="threatcategory malwarecategory threatclass",
        category="Malware",
        detector="threatname rulelabel rulename rule.label",
        first="datetime time epochtime rt",
        threat="threatname",
        fold="user login clientip hostname threatname",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        """The event with the feed's name; unset fields, which the feed fills with "None", are left out."""
        record = opened(record)
        if record.data is None:
            events = [event.fields for event in cef.records(record)]
            events = events or [event.fields for event in leef.records(record)]
            if events:
                return events
            found: list[dict[str, Any]] = [pairs.read(record.text)] if "=" in record.text else []
        else:
            found = [
                {**(one.object("event").data or one.data), "sourcetype": one.raw("sourcetype")}
                for one in self._events(record)
            ]
        return [Fields(_told(one)) for one in found if len(one) > 1]

    def _events(self, record: Record) -> list[Fields]:
        """With the feed's name beside them, where they are in the feed's own wrapping."""
        found = objects_of(record, *self.wrappers, taken=False)
        found = [inner if (inner := one.object("event")).object("event") else one for one in found]  # another HEC's
        return (
            found
            if any(one.object("event") and one.has("sourcetype") for one in found)
            else objects_of(record, *self.wrappers)
        )

    def is_alert(self, fields: Fields) -> bool:
        """Also where data left against a rule: an incident of a device, or in an application of the cloud."""
        if fields.has("auditlogtype"):
            return False
        return fields.has("threatname", "malwareclass") or _leaks(fields) or _said(fields.raw("threat.malware"))

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        if fields.has("deviceVendor"):
            common_security_log.entities(fields, evidence)
        for paths in (("login", "user", "adminid", "username"), ("deviceowner",), ("file.owner",)):
            name = fields.text(*paths)
            evidence.user(name if address(name) is None else None)  # a tunnel's user is where it begins
        for path in ("clientip", "ClientIP", "cip", "sourceip", "csip", "clientpublicIP", "clt_sip", "srcip"):
            evidence.ip(fields.text(path), ("source",))
        source = fields.text("clientip", "ClientIP", "sourceip", "csip", "clt_sip", "srcip")
        target = fields.text("serverip", "destinationip", "sdip", "srv_dip", "dstip", "cdip")
        evidence.flow(
            source,
            fields.integer("sourceport", "csport", "clt_sport"),
            target,
            fields.integer("destinationport", "sdport", "srv_dport"),
            fields.text("proto", "protocol"),
        )
        evidence.ip(target, ("destination",))
        evidence.host(fields.text("devicehostname"))
        url = fields.text("url", "eurl", "fullurl", "file.full_url")
        evidence.observe("url", url)
        if url is not None:
            evidence.url(url if "://" in url else f"http://{url}")
            evidence.domain(url_host(url))
        evidence.domain(fields.text("hostname", "ehost", "req", "dnsreq", "dns_req", "domain"))
        for text in fields.texts("res", "dnsresp", "dns_resp"):
            evidence.ip(text)
        evidence.file(
            fields.text("filename", "file.name"),
            fields.text("filesrcpath"),
            [
                fields.text("sha256", "filesha", "file.hash.sha256"),
                fields.text("bamd5", "md5", "filemd5", "file.hash.md5"),
            ],
        )
        evidence.malware(fields.text("threatname"), fields.text("threatcategory"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        if (fields.text("action", "act") or "").lower() == "blocked":
            alert.tags = [*alert.tags, "blocked"]
        if _leaks(fields):
            alert.category, alert.categories = "Exfiltration", ["Exfiltration"]
        if alert.severity == "unknown":
            alert.severity = "low" if "blocked" in alert.tags else "high"


def _told(one: dict[str, Any]) -> dict[str, Any]:
    """What is said; the time under one name, whatever the product calls it."""
    said = {name: value for name, value in one.items() if _said(value)}
    at = said.get("LogTimestamp")
    return {**said, "datetime": at} if at is not None else said


def _leaks(fields: Fields) -> bool:
    return fields.text("logtype") == "dlp_incident" or (fields.has("dlp") and _said(fields.raw("rule.label")))


def _said(value: Any) -> bool:
    return value is not None and not (isinstance(value, str) and value.strip().lower() in _NOTHING)
