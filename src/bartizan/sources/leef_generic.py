"""Any device that speaks LEEF: an event of CommonSecurityLog, an alert where the record itself says that it is one.

Source: IBM, "QRadar Log Event Extended Format (LEEF) Version 2"; `leef.py`, `common_security_log.py`.
"""

from collections.abc import Iterable, Iterator

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import common_security_log, leef
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape

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
_HOSTS = ("sender", "identHostName", "identNetBios", "devname", "hostname", "vSrcName", "DstHost", "SrcHost")
_DOMAINS = ("dstname", "dst_host", "domainName", "rcptDomain", "host")


class LeefGeneric(Shape):
    name = "leef_generic"
    vendor = "Unknown"
    product = "LEEF device"
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

    def is_alert(self, fields: Fields) -> bool:
        return common_security_log.is_detection(fields)

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        common_security_log.entities(fields, evidence)
        for key in _USERS:
            evidence.user(fields.text(key))
        for key in _HOSTS:
            evidence.host(fields.text(key))
            evidence.ip(fields.text(key))
        for key in _DOMAINS:
            evidence.domain(fields.text(key))

    def finish(self, fields: Fields, alert: Alert) -> None:
        alert.vendor = fields.text("deviceVendor") or self.vendor
        alert.product = fields.text("deviceProduct") or self.product
        common_security_log.acted(alert, fields.text("act"))

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        yield from common_security_log.told(fields, self.entities)
