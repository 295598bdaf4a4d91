"""Trend Micro Apex One and Apex Central: CEF of detections and of the console's own events.

Source: Trend Micro Apex Central, "Syslog content mapping: CEF".
"""

import re

from bartizan.model.alert import Alert
from bartizan.sources.entities import domain, is_outside
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.firewall import Firewall
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths

# The word before ":" in an event's class, or the first of its name -> what was found.
_CATEGORIES = {
    "av": "Malware",
    "pml": "Malware",
    "fh": "Malware",
    "spyware": "UnwantedSoftware",
    "ncie": "CommandAndControl",
    "cnc": "CommandAndControl",
    "attack": "Exploit",
    "data": "Exfiltration",
}
_OWN = ("logon", "logoff", "update", "product auditing", "command tracking", "status")


class TrendApexOne(Firewall):
    name = "trend_apex_one"
    vendor = "Trend Micro"
    product = "Apex One"
    pattern = re.compile(r"CEF:\d\|Trend Micro\|(?:Apex (?:Central|One)|Control Manager|OfficeScan)")
    sourcetypes = ("trendmicro:apex*", "trend_micro:apex*", "tmcm*", "apexcentral*")
    keys = {
        "DetectionName": "threat",
        "VirusName": "threat",
        "NCIE_ThreatName": "threat",
        "SLF_ThreatName": "threat",
        "CnCList": "request",
    }
    times = "rt start deviceCustomDate1 syslogTime"
    alert = Paths(
        title="threat name deviceEventClassId",
        description="msg",
        score="deviceSeverity",
        scale=of_cef,
        vendor_category="name deviceEventClassId",
        detector="deviceEventClassId",
        first=times,
        threat="threat",
        sub_provider="deviceFacility",
        fold="dvchost shost dhost src",
    )

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("deviceEventClassId", "name")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        far = fields.text("dhost")
        called = domain(far) is not None and is_outside(fields.text("dst"))  # a name of the net, of no machine here
        super().entities(fields.without("dhost") if called else fields, evidence)
        evidence.domain(far if called else None)
        command, image = fields.text("ProcessCommandLine"), fields.text("sproc", "deviceProcessName")
        if command or image:
            evidence.process(command, path=image, hashes=[fields.text("fileHash", "SHA1", "FileHash")])
        evidence.url(fields.text("InfectionLocation"))
        target = fields.text("Target") or ""
        evidence.registry(target if target.upper().startswith(("HKCU", "HKLM", "HKCR", "HKU")) else None)
        evidence.malware(_threat(fields))

    def finish(self, fields: Fields, alert: Alert) -> None:
        super().finish(fields, alert)
        kind = f"{fields.text('name')} {fields.text('deviceEventClassId')}".lower()
        if any(word in kind for word in _OWN):
            alert.severity = "informational"
            return
        prefix = (fields.text("deviceEventClassId") or "").partition(":")[0].partition(" ")[0].lower()
        found = _CATEGORIES.get(prefix) or _CATEGORIES.get(kind.partition(" ")[0])
        if found or fields.has("threat"):
            alert.category = found or "Malware"
            alert.categories = [alert.category]
        name, what = fields.text("name"), fields.text("threat")
        alert.threat_name = alert.threat_name or _threat(fields)
        if prefix == "wb" and (name or "").isdigit():
            name = alert.title = "Web violation"
        alert.title = f"{name}: {what}" if name and what and what not in name else alert.title


def _threat(fields: Fields) -> str | None:
    """The virus scan writes what it found as the event's name."""
    scan = (fields.text("deviceEventClassId") or "").startswith("AV:")
    return fields.text("threat", "name") if scan else fields.text("threat")
