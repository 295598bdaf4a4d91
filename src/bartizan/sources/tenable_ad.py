"""Tenable Identity Exposure (Tenable.ad, Alsid): deviances and attacks of a directory, as quoted words in syslog.

Source: Tenable Identity Exposure, "Syslog and email alert details: log entry structure".
"""

import re
from collections.abc import Iterable
from typing import Any

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources import syslog
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, lines_of, objects_of
from bartizan.sources.shape import Paths, Shape

_NAMES = "alertType alertId forest domain code severity adObject eventId profileId reasonCode deviantId".split()
# Of an attack, which is between two machines.
_ATTACK_NAMES = (
    "alertType alertId forest domain code severity source_hostname source_ip destination_hostname destination_ip"
).split()
_CHANGE_NAMES = "alertType alertId forest domain adObject eventId eventType".split()
_WORD = re.compile(r'"((?:[^"\\]|\\.){0,4096})"(?!=)(?=\s|$)')
_PAIR = re.compile(r'"(\w{1,80})"="((?:[^"]|"(?!(?:\s+"\w{1,80}"=|\s*$))){0,16384})"', re.DOTALL)
_CN = re.compile(r"^CN=((?:[^,\\]|\\.){1,256})", re.IGNORECASE)
_NOTE = re.compile(r"\s*\([^)]{0,200}\)\s*$")
_PEOPLE = ("AccountCn", "UserCn", "UserName", "source_username", "user", "username", "AccountName", "target_username")
_MAX_PEOPLE = 50


def _read(text: str) -> list[Fields]:
    """The exposure or attack in a line; none where it is neither."""
    begin = text.find('"')
    first = _PAIR.search(text)
    words = [match[1] for match in _WORD.finditer(text[: first.start() if first else len(text)])]
    if begin < 0 or len(words) < 6:
        return []
    data: dict[str, Any] = {"time": syslog.read(text).time}
    data |= dict(zip({"1": _CHANGE_NAMES, "2": _ATTACK_NAMES}.get(words[0], _NAMES), words, strict=False))
    data.update((match[1], match[2]) for match in list(_PAIR.finditer(text))[:100])
    return [Fields(data)]


def _object(fields: Fields, evidence: Evidence) -> None:
    """The object of the directory that deviates, of which nothing but its place and the code tell the type."""
    dn, code = fields.text("adObject") or "", fields.text("code") or ""
    place = dn.upper()
    named = _CN.match(dn)
    if named is None or ",CN=CONFIGURATION," in place:  # the domain, a unit, a template of certificates
        evidence.observe("resource", dn)
    elif "OU=" in place and "COMPUTER" in place:
        evidence.host(named[1])
    elif "GROUP" in code:
        evidence.group(named[1])
    elif ",CN=USERS," in place or "PASSWORD" in code:
        evidence.user(named[1])
    elif named[1] not in fields.texts(*_PEOPLE):
        evidence.group(named[1])


class TenableAd(Shape):
    name = "tenable_ad"
    vendor = "Tenable"
    product = "Identity Exposure"
    pattern = re.compile(
        r"\"\d+\" \"\d+\" \"[^\"]{1,200}\" \"[^\"]{1,200}\" \"[CRQ]-[A-Z0-9-]{2,80}\""
        r"|\"\d+\" \"\d+\" \"[^\"]{1,200}\" \"[^\"]{1,200}\" \"[\w -]{2,80}\" \"(?:low|medium|high|critical)\""
        r"|\b(?:Tenable\.ad|Alsid(?:ForAD)?)\[\d+\]: "
    )
    sourcetypes = ("tenable:ad:*", "tenable:ad", "tenable:ie:*", "alsid*")
    table = "TenableAdEvents"
    columns = {"Code": "code", "ReasonCode": "reasonCode", "Forest": "forest"}
    alert = Paths(
        id="domain+code+deviantId+reasonCode domain+code+eventId domain+code+alertId+source_ip+destination_ip",
        title="code",
        description="reasonCode",
        severity="severity",
        vendor_category="code",
        category="Misconfiguration",
        detector="code reasonCode",
        first="time",
        fold="domain adObject",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        lines = lines_of(record)
        return [found for text in lines for found in _read(text)] if lines else objects_of(record)

    def is_alert(self, fields: Fields) -> bool:
        """Not a change of the directory, which its trail of events says."""
        return fields.has("code", "attackTypeName") and fields.has("severity")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        domain = fields.text("domain")
        evidence.domain(domain)
        for path in _PEOPLE:
            name = fields.text(path)
            evidence.user(_NOTE.sub("", name) if name else None)
        for name in (fields.text("impacted_users") or "").split(",")[:_MAX_PEOPLE]:
            evidence.user(name.strip() or None)
        who = _CN.match(fields.text("resolved_SID") or "")
        evidence.user(who[1] if who is not None else None, sid=fields.text("SID"))
        evidence.group(fields.text("GroupCn"))
        _object(fields, evidence)
        for path in ("source_ip", "destination_ip", "AadConnectDbServer", "SourceIp"):
            evidence.ip(fields.text(path))
        for path in ("source_hostname", "destination_hostname", "dc_name", "ComputerCn"):
            evidence.host(fields.text(path))

    def finish(self, fields: Fields, alert: Alert) -> None:
        code = (fields.text("code") or "").removeprefix("C-").replace("-", " ").lower()
        alert.title = f"Exposure in {fields.text('domain') or 'the directory'}: {code}"
        if fields.text("alertType") == "2":  # an indicator of attack
            alert.category, alert.categories = "CredentialAccess", ["CredentialAccess"]
            alert.title = f"Attack on {fields.text('domain') or 'the directory'}: {code}"
