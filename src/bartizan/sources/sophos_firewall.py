"""Sophos Firewall (SFOS) and UTM: key=value logs; what intrusion prevention, antivirus and ATP report is an alert.

Source: Sophos Firewall, "Log file guide", "Syslog: device standard format".
"""

import re
from typing import Any

from bartizan.model.alert import Alert
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.firewall import Firewall
from bartizan.sources.severity import SYSLOG_WORDS
from bartizan.sources.shape import Paths

_ALERTS = frozenset({"ips", "idp", "anti-virus", "atp", "anti virus", "advanced threat protection"})
_CATEGORIES = {
    "anti-virus": "Malware",
    "anti virus": "Malware",
    "sandbox": "Malware",
    "idp": "Exploit",
    "ips": "Exploit",
    "atp": "CommandAndControl",
}
_UTM_TIME = re.compile(r"\b(\d{4}:\d\d:\d\d-\d\d:\d\d:\d\d)\b")


class SophosFirewall(Firewall):
    name = "sophos_firewall"
    vendor = "Sophos"
    product = "Firewall"
    pattern = re.compile(
        r"\bdevice_name=.{0,120}?\blog_component=|\blog_type=\"?\w[\w ]{0,30}\"? log_component="
        r"|\bid=\"\d{4}\" .{0,160}?\b(?:severity|sys|srcip)=|\bsys=\"Secure(?:Net|Web|Mail)\""
    )
    sourcetypes = ("sophos:xg:*", "sophos:utm:*", "sophos:firewall*", "sophos_firewall*")
    keys = {
        "src_ip": "src",
        "srcip": "src",
        "sourceip": "src",
        "src_port": "spt",
        "srcport": "spt",
        "dst_ip": "dst",
        "dstip": "dst",
        "destinationip": "dst",
        "localip": "dst",
        "dst_port": "dpt",
        "dstport": "dpt",
        "port": "dpt",
        "src_mac": "smac",
        "protocol": "proto",
        "user_name": "suser",
        "user": "suser",
        "url": "request",
        "domain": "destinationDnsDomain",
        "server": "dhost",
        "method": "requestMethod",
        "log_subtype": "act",
        "action": "act",
        "ad_domain": "sntdom",
        "reported_ip": "src",
        "reported_host": "shost",
        "status": "outcome",
        "device_name": "dvchost",
        "device_id": "deviceExternalId",
        "device_serial_id": "deviceExternalId",
        "log_id": "deviceEventClassId",
        "id": "deviceEventClassId",
        "priority": "deviceSeverity",
        "severity": "deviceSeverity",
        "message": "msg",
        "file_name": "fname",
        "filename": "fname",
        "sent_bytes": "out",
        "recv_bytes": "in",
        "tran_src_ip": "sourceTranslatedAddress",
        "con_id": "externalId",
    }
    times = "timestamp eventtime utmtime date"
    alert = Paths(
        title="signature_msg signature_name virus malware threatname threat ips_message reason log_component msg name",
        description="message classification",
        severity="priority severity",
        words=SYSLOG_WORDS,
        vendor_category="log_type log_component sub",
        categories=_CATEGORIES,
        detector="signature_id sid threatname threat virus log_id",
        first="timestamp eventtime utmtime",
        threat="virus malware threatname threat",
        fold="src dst act",
    )

    def lines(self, text: str) -> Any:
        found = list(super().lines(text))
        when = _UTM_TIME.search(text[:200])
        return [{"utmtime": when[1], **one} if when is not None else one for one in found]

    def named(self, data: Any) -> Fields:
        if str(data.get("request", "")).startswith("0x"):  # UTM's number of a request, where CEF has its URL
            data = {"requestNumber" if name == "request" else name: value for name, value in data.items()}
        fields = super().named(data)
        day, clock = fields.text("date"), fields.text("time")
        if day is not None and clock is not None:
            fields.put(eventtime=f"{day}T{clock}")
        return fields

    def is_alert(self, fields: Fields) -> bool:
        """Also what the sandbox refuses; what a scan lets pass or still waits for is no finding."""
        kinds = [(fields.text(name) or "").lower() for name in ("log_type", "log_component", "sub")]
        done = (fields.text("act") or "").lower()
        if "sandbox" in kinds:
            return done == "denied"
        if done in ("allowed", "clean") and not fields.has("virus", "malware", "threatname"):
            return False
        return fields.has("virus", "malware", "signature_msg", "threatname") or any(each in _ALERTS for each in kinds)

    def finish(self, fields: Fields, alert: Alert) -> None:
        super().finish(fields, alert)
        file = fields.text("filename", "file_name")
        if alert.vendor_category == "Sandbox" and file is not None:
            alert.title = f"Sandbox: {file} is {alert.title}"

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        super().entities(fields, evidence)
        evidence.observe("url", fields.text("url"))
        evidence.domain(fields.text("domain", "domainname", "server"))
        evidence.message(
            None,
            internet_id=fields.text("mailid", "message_id"),
            sender=fields.text("from_email_address", "sender"),
            recipient=fields.text("to_email_address", "recepient", "recipient"),
            sender_ip=fields.text("src"),
            subject=fields.text("email_subject", "subject"),
            action=fields.text("spamaction"),
        )
        for path in ("login_user", "process_user"):  # of an endpoint that reports to the firewall
            evidence.user(fields.text(path))
        evidence.process(path=fields.text("execution_path"))
        evidence.domain(fields.text("source"))  # where the sandbox's file came from
        evidence.malware(fields.text("virus", "malware", "threatname"))
        evidence.file(None, fields.text("file_path"), [fields.text("sha1sum", "sha256")])
