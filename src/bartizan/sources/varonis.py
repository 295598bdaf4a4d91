"""Varonis DatAdvantage and DatAlert: alerts about files, mailboxes and directories, as CEF, LEEF and the API have them.

Source: Varonis, "DatAlert: CEF template for syslog"; "Data Security Platform: alerts of the API".
"""

import re
from collections.abc import Iterable
from typing import Any

from bartizan.model.alert import Alert
from bartizan.sources.entities import address
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.firewall import Firewall
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths

_MAX = 50  # names of one list


class Varonis(Firewall):
    name = "varonis"
    vendor = "Varonis"
    product = "DatAdvantage"
    pattern = re.compile(r"(?:CEF|LEEF):[\d.]+\|Varonis")
    marks = (
        "NumOfAlertedEvents+SamAccountName NumOfAlertedEvents+FileServerOrDomain NumOfAlertedEvents+AbnormalLocation "
        "EventsCount+SamAccountName+Severity EventsCount+FileServerOrDomain+Severity"
    )
    sourcetypes = ("varonis", "varonis:*", "dataadvantage*")
    times = "end start rt deviceCustomDate1 syslogTime"
    alert = Paths(
        id="externalId ID",
        title="RuleName name",
        description="msg RuleDescription",
        severity="deviceSeverity",
        score="deviceSeverity",
        scale=of_cef,
        vendor_category="cat Category act",
        category="Collection",
        detector="RuleID deviceEventClassId RuleName",
        first="start end rt deviceCustomDate1 syslogTime",
        last="end start rt",
        status="Status",
        verdict="CloseReason",
        fold="suser duser dhost filePath",
    )

    def lines(self, text: str) -> Iterable[dict[str, Any]]:
        """A label such as "cs1Label" names what "cs1" holds."""
        found = list(super().lines(text))
        return [{**{str(one[key]): one.get(key.removesuffix("Label")) for key in one if key.endswith("Label")}, **one}
                for one in found]  # fmt: skip

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("name", "deviceEventClassId")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        super().entities(fields, evidence)
        evidence.mailbox(fields.text("MailRecipient"))
        for name in fields.texts("Device", "DeviceName")[:_MAX]:  # lists, of the API
            evidence.host(name)
        for name in fields.texts("FileServerOrDomain")[:_MAX]:
            if evidence.domain(name) is None:
                evidence.host(name)
        for name in fields.texts("SamAccountName")[:_MAX]:
            evidence.user(name)
        for path in ("dhost", "dvchost"):
            evidence.ip(address(fields.text(path)))

    def finish(self, fields: Fields, alert: Alert) -> None:
        super().finish(fields, alert)
        alert.categories = [alert.category] if alert.category else []
