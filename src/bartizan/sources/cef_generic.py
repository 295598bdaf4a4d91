"""Any device that speaks CEF: an event of CommonSecurityLog, an alert where the record itself says that it is one.

Source: ArcSight Common Event Format Implementation Standard; `cef.py`, `common_security_log.py`.
"""

from collections.abc import Iterable, Iterator

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert
from bartizan.sources import cef, common_security_log
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape


class CefGeneric(Shape):
    name = "cef_generic"
    vendor = "Unknown"
    product = "CEF device"
    alert = Paths(
        id="externalId+deviceEventClassId+rt externalId+deviceEventClassId+start",
        title="name deviceEventClassId",
        description="msg reason",
        severity="deviceSeverity",
        score="deviceSeverity",
        scale=of_cef,
        vendor_category="cat",
        tactics="cat",
        detector="deviceEventClassId name",
        first="start rt end deviceCustomDate1 syslogTime",
        last="end rt start deviceCustomDate1 syslogTime",
        version="deviceVersion",
        fold="src dst suser",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        return [event.fields for event in cef.records(record)]

    def is_alert(self, fields: Fields) -> bool:
        return common_security_log.is_detection(fields)

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        common_security_log.entities(fields, evidence)

    def finish(self, fields: Fields, alert: Alert) -> None:
        alert.vendor = fields.text("deviceVendor") or self.vendor
        alert.product = fields.text("deviceProduct") or self.product
        common_security_log.acted(alert, fields.text("act"))

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        yield from common_security_log.told(fields, self.entities)
