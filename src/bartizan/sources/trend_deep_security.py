"""Trend Micro Deep Security and Workload Security: CEF and LEEF of the agents' protection modules.

Source: Trend Micro Deep Security, "Syslog message formats".
"""

import re

from bartizan.model.alert import Alert
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.firewall import Firewall
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths

# Ranges of event ids -> what the module guards against. Source: "Syslog message formats", event ids.
_MODULES = (
    (20, 99, "SuspiciousActivity"),  # firewall
    (100, 299, "SuspiciousActivity"),
    (1_000_000, 1_999_999, "Exploit"),  # intrusion prevention
    (2_000_000, 2_999_999, "DefenseEvasion"),  # integrity monitoring
    (3_000_000, 3_999_999, "SuspiciousActivity"),  # log inspection
    (4_000_000, 4_000_999, "Malware"),
    (5_000_000, 5_999_999, "SuspiciousActivity"),  # web reputation
    (6_001_100, 6_001_200, "Execution"),  # application control
    (7_000_000, 7_000_999, "SuspiciousActivity"),  # device control
)
_INSPECTED = range(3_000_000, 4_000_000)  # whose file is the log that was inspected
_NOBODY = "(no user)"
_HASHES = ("FileMD5", "FileSHA1", "FileSHA256", "fileHash")

_TARGET = re.compile(r"([\w.-]{1,253}) \(([0-9A-Fa-f:.]{2,45})\)")  # "srv-1 (10.0.0.7)"
_ALERT = re.compile(r"Alert: ([^\r\n\\]{1,200})")


class TrendDeepSecurity(Firewall):
    name = "trend_deep_security"
    vendor = "Trend Micro"
    product = "Deep Security"
    pattern = re.compile(r"(?:CEF|LEEF):[\d.]+\|Trend Micro\|Deep Security (?:Agent|Manager)")
    sourcetypes = ("deepsecurity*", "trendmicro:deepsecurity*", "trend:deepsecurity*")
    prefix = "TrendMicroDs"
    keys = {
        "FileMD5": "fileHash",
        "FileSHA1": "fileHash",
        "FileSHA256": "fileHash",
        "fileName": "filePath",
        "processName": "sproc",
        "computerName": "dvchost",
    }
    times = "rt start syslogTime"
    alert = Paths(
        title="name",
        description="msg",
        score="deviceSeverity",
        scale=of_cef,
        vendor_category="name",
        detector="deviceEventClassId",
        first=times,
        version="deviceVersion",
        threat="MalwareName",
        fold="dvchost dvc src dst",
    )

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("deviceEventClassId", "name")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        of_log = ["fname"] if _number(fields) in _INSPECTED else []
        nobody = [key for key in ("suser", "duser") if fields.text(key) == _NOBODY]
        super().entities(fields.without(*of_log, *nobody), evidence)
        if not fields.has("dvchost"):
            evidence.host(fields.text("dvc"))
        named = _TARGET.fullmatch(fields.text("target") or "")
        if named is not None:  # an event of the manager: the machine that it is about
            evidence.host(named[1], addresses=[named[2]])
            evidence.ip(named[2])
        evidence.process(None, path=fields.text("ProcessName"), hashes=[fields.text("ProcessSHA256")])
        evidence.file(None, fields.text("filePath"), [fields.text(name) for name in _HASHES])
        if _module(fields) == "Malware":
            evidence.malware(fields.text("MalwareName", "name"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        super().finish(fields, alert)
        found = _module(fields)
        if _number(fields) in _INSPECTED:
            alert.title = fields.text("LI Description") or alert.title
        if (told := _ALERT.match(fields.text("msg") or "")) is not None:  # that one began or ended, and which
            alert.title = f"{alert.title}: {told[1].strip()}"
            alert.status = "resolved" if "ended" in (fields.text("name") or "").lower() else alert.status
        alert.category, alert.categories = found, [found]
        if found == "Malware":
            alert.threat_name = alert.threat_name or fields.text("name")


def _number(fields: Fields) -> int:
    return fields.integer("deviceEventClassId") or -1


def _module(fields: Fields) -> str:
    number = _number(fields)
    return next((ours for first, last, ours in _MODULES if first <= number <= last), "SuspiciousActivity")
