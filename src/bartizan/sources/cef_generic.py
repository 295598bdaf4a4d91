"""Any device that speaks CEF: an event of CommonSecurityLog, an alert where the record itself says that it is one.

So are lines of devices that say the same in words of their own (`device_lines`).
Source: ArcSight Common Event Format Implementation Standard; `cef.py`, `common_security_log.py`.
"""

import re
from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.sources import cef, device_lines
from bartizan.sources.common_security_log import MAX_NAMES, Device, people
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, lines_of, objects_of
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths

_USERS = ("loginName",)  # what vendors name beside the dictionary
_HOSTS = ("sourceHost", "sourceHostname")
_PART = re.compile(r"'([^']{1,255})': \{'AMP': (\{[^{}]{0,512}\})")  # a file, and what was found of it
_DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
_LINK = re.compile(r"(?<=')https?://[^\s']{3,2048}(?=': \{)")


class CefGeneric(Device):
    name = "cef_generic"
    vendor = "Unknown"
    product = "CEF device"
    marks = "telemetryEventCategory=ASM unit_hostname+support_id+violations"
    pattern = re.compile(rf"CEF:\s?\d{{1,2}}\||{device_lines.PATTERN.pattern}", device_lines.PATTERN.flags)
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
        if events := cef.records(record):
            return [event.fields for event in events]
        if found := [Fields(row) for text in lines_of(record) for row in device_lines.read(text)]:
            return found
        objects = objects_of(record)
        entries = all(fields.has("support_id") and fields.has("unit_hostname") for fields in objects)
        return [Fields(device_lines.asm(dict(fields.data))) for fields in objects] if entries else []

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        if fields.has("ESAMID", "ESAICID"):
            _mail(fields, evidence)
            fields = fields.without("suser", "duser")
            evidence.domain(fields.text("sourceHostName", "shost"))  # who sends mail has a name in the net
        super().entities(fields, evidence)
        for key in _USERS:
            evidence.user(fields.text(key))
        for key in _HOSTS:
            evidence.host(fields.text(key))


def _mail(fields: Fields, evidence: Evidence) -> None:
    """Of a gateway of Cisco's, what it tells of a mail as a whole: its parts stand in texts that look like Python."""
    parts = fields.text("ESAAttachmentDetails") or ""
    links = [link[0] for link in list(_LINK.finditer(fields.text("ESAURLDetails") or ""))[:MAX_NAMES]]
    for to in people(fields.texts("duser")) or [""]:
        evidence.message(
            None,
            internet_id=(fields.text("ExternalMsgID", "cs4") or "").strip("'") or None,
            sender=fields.text("suser"),
            recipient=to or None,
            sender_ip=fields.text("src", "sourceAddress"),
            subject=(fields.text("msg") or "").strip("'") or None,
            urls=links,
        )
    evidence.mailbox(fields.text("ESAReplyTo"))
    for name, inside in _PART.findall(parts)[:MAX_NAMES]:
        found = _DIGEST.search(inside)
        evidence.file(name, hashes=[found[0]] if found else [])
