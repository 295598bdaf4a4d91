"""Any device that speaks LEEF: an event of CommonSecurityLog, an alert where the record itself says that it is one.

Source: IBM, "QRadar Log Event Extended Format (LEEF) Version 2"; `leef.py`, `common_security_log.py`.
"""

import re
from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources import leef
from bartizan.sources.common_security_log import Device
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths

# What vendors name beside the predefined attributes.
_USERS = (
    "SourceUser",
    "TargetUser",
    "OSUser",
    "user",
    "userName",
    "login",
    "srcUser",
    "dstUser",
    "src_user",
    "dst_user",
)
_SPOKEN = re.compile(r"[A-Za-z]{3,}(?:::?| )[A-Za-z]{2,}")  # an id in words
_HOSTS = (
    "sender",
    "identHostName",
    "identNetBios",
    "devname",
    "hostname",
    "vSrcName",
    "DstHost",
    "SrcHost",
    "sourceHostname",
    "targetHostname",
)
_DOMAINS = ("dstname", "dst_host", "domainName", "rcptDomain", "host")


class LeefGeneric(Device):
    name = "leef_generic"
    vendor = "Unknown"
    product = "LEEF device"
    pattern = re.compile(r"LEEF:\s?[012](?:\.\d)?\|")
    sourcetypes = ("leef", "leef:*")
    alert = Paths(
        title="name eventName EventMessage Action cat eventId",
        description="msg reason",
        severity="sev severity",
        score="sev severity",
        scale=of_cef,
        vendor_category="cat",
        tactics="cat",
        detector="eventId",
        first="rt syslogTime",
        version="deviceVersion",
        fold="src dst usrName",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        return [event.fields for event in leef.records(record)]

    def finish(self, fields: Fields, alert: Alert) -> None:
        super().finish(fields, alert)
        event = fields.text("eventId") or ""
        if alert.title == fields.text("cat") and _SPOKEN.search(event) is not None:  # says more than its category
            alert.title = event

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        super().entities(fields, evidence)
        for key in _USERS:
            evidence.user(fields.text(key))
        for key in _HOSTS:
            evidence.host(fields.text(key))
            evidence.ip(fields.text(key))
        for key in _DOMAINS:
            evidence.domain(fields.text(key))
