"""Devices that say in words of their own what CEF has keys for, and what of it they found to be an attack.

Their lines are read under CEF's keys, beside their own names; they speak CEF or LEEF too, where the same names come as
extensions. The verdict is said by them, and no word of their messages tells it as those of other devices do.
Source: F5, "BIG-IP ASM: Implementations", "Logging application security events", "Event logging fields"; F5, "Telemetry
Streaming", example output of ASM; WatchGuard's in `watchguard`, Barracuda's in `barracuda`.
"""

import re
from collections.abc import Callable
from typing import Any

from bartizan.sources import barracuda, pairs, syslog, watchguard
from bartizan.sources.fields import Fields
from bartizan.sources.severity import of_word
from bartizan.sources.verdict import Verdict

_ASM = re.compile(r"\bASM:\s?unit_hostname=|\bunit_hostname=\"[^\"]{0,255}\",.{0,600}?\bsupport_id=\"\d", re.DOTALL)
_ASM_KEYS = {
    "ip_client": "src",
    "src_port": "spt",
    "dest_ip": "dst",
    "dest_port": "dpt",
    "unit_hostname": "dvchost",
    "management_ip_address": "dvc",
    "protocol": "app",
    "method": "requestMethod",
    "uri": "request",
    "username": "suser",
    "support_id": "externalId",
    "request_status": "act",
    "date_time": "rt",
    "severity": "deviceSeverity",
    "sig_ids": "deviceEventClassId",
    "request": "full_request",
}
_FOUND = frozenset({"blocked", "alerted"})
PATTERN = re.compile("|".join(found.pattern for found in (_ASM, watchguard.PATTERN, barracuda.PATTERN)), re.DOTALL)


def read(text: str) -> list[dict[str, Any]]:
    """The line's fields under CEF's keys and its own, of a table one for each row; none of other devices' lines."""
    for reads in _READERS:
        if found := reads(text):
            return found
    return []


def _of_asm(text: str) -> list[dict[str, Any]]:
    if _ASM.search(text) is None:
        return []
    line = syslog.read(text)
    own = pairs.read(line.message.partition("ASM:")[2] or line.message)
    return [asm(own) | {"syslogHost": line.host}]


def asm(own: dict[str, Any]) -> dict[str, Any]:
    """An entry of ASM's log, from a line or from JSON. Its `request` is the whole of it, `uri` what CEF calls so."""
    named = {key: own[name] for name, key in _ASM_KEYS.items() if name in own}
    rest = {name: value for name, value in own.items() if name not in ("request", "uri", "severity")}
    said = [str(own.get(name) or "") for name in ("sig_names", "violations", "attack_type")]
    title = next((text for text in said if text and text != "N/A"), "HTTP request")
    return {**rest, **named, "deviceVendor": "F5", "deviceProduct": "ASM", "name": title}


def judged(fields: Fields) -> bool:
    """Whether the verdict is all that is to be said: of devices with logs of which some tell of their own business."""
    return fields.has("logType") and _judges(fields) is not None


def verdict(fields: Fields) -> Verdict | None:
    """What a device found, by its own words; None of what is no finding, and of other devices."""
    judges = _judges(fields)
    return judges(fields) if judges is not None else None


def _judges(fields: Fields) -> "Callable[[Fields], Verdict | None] | None":
    vendor = (fields.text("deviceVendor") or "").lower()
    return next((judges for name, judges in _JUDGES.items() if vendor.startswith(name)), None)


def _asm_verdict(fields: Fields) -> Verdict | None:
    kind = fields.text("attack_type")
    if kind is None or (fields.text("act", "request_status") or "").lower() not in _FOUND:
        return None
    word = fields.text("deviceSeverity")
    return Verdict(category="Exploit", vendor_category=kind, severity=of_word(word), word=word)


_READERS: tuple[Callable[[str], list[dict[str, Any]]], ...] = (_of_asm, watchguard.read, barracuda.read)
_JUDGES: dict[str, Callable[[Fields], Verdict | None]] = {
    "f5": _asm_verdict,
    "watchguard": watchguard.verdict,
    "barracuda": barracuda.verdict,
}
