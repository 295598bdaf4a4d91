"""Fortinet FortiMail: its history, virus and spam logs; what its scanners find is an alert, deliveries are events.

Source: Fortinet, "FortiMail Log Message Reference".
"""

import re
from typing import Any

from bartizan.model.alert import Alert
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.firewall import Firewall, came_from
from bartizan.sources.severity import SYSLOG_WORDS
from bartizan.sources.shape import Paths

_URL = re.compile(r"https?://[^\s\"'<>,]{3,2048}")
_ADDRESS = re.compile(r"\[(\d{1,3}(?:\.\d{1,3}){3}|[0-9a-f:]{3,45})\]", re.IGNORECASE)
_MAIL = re.compile(r"(?<![\w.])(from|to)=<?([^\s<>,]{1,320})>?", re.IGNORECASE)
_INFECTED = re.compile(r"\bfile (\S{1,255}) is infected with (\S{1,255}?)\.?(?:\s|$)", re.IGNORECASE)
_LOGIN = re.compile(r"\bLogin for '([^'\s]{1,320})' from ([0-9A-Fa-f:.]{2,45})")
_CORRESPONDENT = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}", re.ASCII)
_SURE = ("MALICIOUS", "INFECTED WITH", "HIGH_RISK")
_MAX_TEXT = 16_384
_MAX_FOUND = 50


class FortiMail(Firewall):
    name = "fortinet_fortimail"
    vendor = "Fortinet"
    product = "FortiMail"
    pattern = re.compile(
        r"\bdevice_id=[^\s,]{1,60}[ ,]log_id=\d{3,12}[ ,]type=(?:statistics|virus|spam|k?event|encrypt)\b.{0,80}?\bpri="
        r"|FortiMail"
    )
    sourcetypes = ("fml:log", "fortimail*", "fml_log", "fortinet:fortimail*")
    keys = {
        "client_ip": "src",
        "client_name": "shost",
        "dst_ip": "dst",
        "device_id": "deviceExternalId",
        "session_id": "externalId",
        "user": "suser",
        "log_id": "deviceEventClassId",
        "pri": "deviceSeverity",
        "virus": "name",
        "action": "act",
        "disposition": "act",
    }
    times = "eventtime date rt"
    alert = Paths(
        title="virus msg subtype type",
        description="msg",
        severity="severity pri",
        words=SYSLOG_WORDS,
        vendor_category="type",
        categories={"virus": "Malware", "spam": "Phishing"},
        detector="virus subtype log_id",
        first="eventtime date",
        threat="virus",
        fold="from to src",
    )

    def named(self, data: Any) -> Fields:
        """Without the user that stands for the mail system itself."""
        if data.get("user") == data.get("ui"):
            data = {name: value for name, value in data.items() if name != "user"}
        fields = super().named(data)
        day, clock = fields.text("date"), fields.text("time")
        if day is not None and clock is not None:
            fields.put(eventtime=f"{day}T{clock}")
        return fields

    def is_alert(self, fields: Fields) -> bool:
        return (fields.text("type") or "").lower() == "virus" or fields.has("virus")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        # The name of whoever connects is a server of the world, or a dialler's; no machine of one's own.
        super().entities(fields.without("shost"), evidence)
        evidence.domain(fields.text("client_name"), roles=("source",))
        text = (fields.text("msg") or "")[:_MAX_TEXT]
        sent = {key.lower(): value for key, value in _MAIL.findall(text)}
        sender, recipient = fields.text("from") or sent.get("from"), fields.text("to") or sent.get("to")
        if any("@" in (each or "") for each in (sender, recipient)):
            evidence.message(
                None,
                internet_id=fields.text("message_id"),
                sender=sender,
                recipient=recipient,
                sender_ip=fields.text("client_ip"),
                subject=fields.text("subject"),
            )
        evidence.user(recipient)
        _told(fields, text, evidence)
        for match in list(_URL.finditer(text))[:_MAX_FOUND]:
            evidence.url(match[0].rstrip("."))
        evidence.ip(came_from(fields.text("ui")), ("source",))
        for match in list(_ADDRESS.finditer(text))[:_MAX_FOUND]:
            evidence.ip(match[1])
        evidence.file(fields.text("attachment", "file"))
        evidence.malware(fields.text("virus"))
        if (found := _INFECTED.search(text)) is not None:
            evidence.file(found[1])
            evidence.malware(found[2])

    def finish(self, fields: Fields, alert: Alert) -> None:
        super().finish(fields, alert)
        if fields.has("virus"):  # also where the history says it
            alert.category, alert.categories = "Malware", ["Malware"]
        if (found := _INFECTED.search(fields.text("msg") or "")) is not None:
            alert.threat_name = alert.threat_name or found[2]
        text = (fields.text("msg") or "").upper()
        if alert.severity == "unknown" or "CLEAN" in text:
            alert.severity = "informational"
        elif fields.has("virus") or any(word in text for word in _SURE):
            alert.severity = "high"


def _told(fields: Fields, text: str, evidence: Evidence) -> None:
    """Who logged in at the web mail, or read and sent an encrypted mail, as the message says it."""
    if (login := _LOGIN.search(text)) is not None:
        evidence.user(login[1])
        evidence.ip(login[2], ("source",))
    if (fields.text("type") or "").lower() == "encrypt":
        for name in list(_CORRESPONDENT.findall(text))[:_MAX_FOUND]:
            evidence.mailbox(name)
