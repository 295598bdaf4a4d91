"""Any device that speaks CEF: an event of CommonSecurityLog, an alert where the record itself says that it is one.

Source: ArcSight Common Event Format Implementation Standard; `cef.py`, `common_security_log.py`.
"""

import re
from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.sources import cef
from bartizan.sources.common_security_log import Device
from bartizan.sources.fields import Fields
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths


class CefGeneric(Device):
    name = "cef_generic"
    vendor = "Unknown"
    product = "CEF device"
    pattern = re.compile(r"CEF:\s?\d{1,2}\|")
    sourcetypes = ("cef", "cef:*")
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
