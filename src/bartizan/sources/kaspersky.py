"""Kaspersky: events of endpoint products, as lines "Label: value", in syslog of Security Center, or as CEF.

Source: Kaspersky Endpoint Security for Windows, "Event reference"; Kaspersky Security Center, "Exporting events to SIEM
systems" (CEF, RFC 5424 with `event@23668`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources import cef, common_security_log, leef, pairs, syslog
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, objects_of, texts_of
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape

# Security Center's own scale; other products write CEF's.
_LEVELS: Mapping[str, Severity] = {"1": "informational", "2": "medium", "3": "low", "4": "high"}
_FOUND = re.compile(
    r"detected|malicious|infected|virus|trojan|ransom|attack|exploit|threat|suspicious|phishing|intrusion",
    re.IGNORECASE,
)
_WHO = re.compile(r"\s*\((?:[^()]{0,60})\)\s*$")  # "CORP\\ann (Active user)"
_FIRST = "eventTime Time Date rt end start syslogTime"
_EVENT = re.compile(r"[A-Z]{3,5}_EV_([A-Z_]{3,100})")  # GNRL_EV_VIRUS_FOUND
# Parameters of `event@23668` -> labels.
_PARAMETERS = {
    "etdn": "Event type",
    "et": "eventId",
    "hdn": "Computer",
    "hip": "IP address",
    "tdn": "Application",
    "gn": "Group",
    "p1": "SHA256",
    "p2": "Object path",
    "p5": "Detected",
    "p7": "User",
    "p8": "Type",
}


class Kaspersky(Shape):
    name = "kaspersky"
    vendor = "Kaspersky"
    product = "Endpoint Security"
    pattern = re.compile(r"(?:CEF|LEEF):\s?[\d.]{1,3}\|Kaspersky[^|]{0,20}\||\A\s*Event type: |\[event@23668 ")
    sourcetypes = ("kaspersky:*",)
    alert = Paths(
        id="externalId",
        title="name etdn",
        description="msg",
        severity="level severity",
        words={"critical": "high", "functional": "low"},
        vendor_category="Component Type",
        detector="eventId deviceEventClassId",
        first=_FIRST,
        threat="Detected VName",
        fold="Computer dhost User",
        detection_source="antivirus",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        if lines := [line.fields for line in cef.records(record)]:
            return lines
        if lines := [line.fields for line in leef.records(record)]:
            return [line.also(_of_leef(line)) for line in lines]
        found = [fields for fields in map(_labelled, texts_of(record)) if fields is not None]
        return found or [fields for fields in objects_of(record) if fields.has("Event type", "etdn")]

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("Event type", "name", "etdn")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        common_security_log.entities(fields, evidence)
        evidence.host(
            fields.text("Computer", "Computer name", "Device", "Device name", "dhost", "hostName"),
            addresses=[fields.text("IP address", "dst")],
        )
        evidence.ip(fields.text("IP address"))
        evidence.ip(fields.text(*_ATTACKERS), ("source",))
        user = evidence.user(_WHO.sub("", fields.text("User", "User name", "Session user") or "") or None)
        hashes = [
            fields.text(path)
            for path in (
                "MD5 of an object",
                "MD5",
                "SHA256",
                "SHA256 of an object",
                "Hash",
                "Object MD5",
                "Object SHA256",
            )
        ]
        folder, name = fields.text("Path to object", "Object path"), fields.text("Object name", "Object", "File name")
        kind = (fields.text("Object type") or "").lower()
        if "web" in kind or "://" in (name or ""):
            evidence.url(f"{folder.rstrip('/')}/{name}" if folder and name and "://" in folder else name)
            evidence.url(fields.text("Web address", "URL", "Object"))
        elif folder is None and "\\" in (name or ""):
            evidence.file(None, name, hashes)
        else:
            evidence.file(name, folder, hashes)
        evidence.url(fields.text("Web address", "URL"))
        program, place = fields.text("Name"), fields.text("Application path", "Process path")
        if place is not None:
            whole = program is None or place.lower().endswith((".exe", f"\\{program.lower()}"))
            path = place if whole else f"{place.rstrip(chr(92))}\\{program}"
            evidence.process(path=path, pid=fields.integer("Process ID"), user=user)
        evidence.malware(_threat(fields), fields.text("Type"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        kind, threat = fields.text("Event type", "name", "etdn"), _threat(fields)
        alert.title = f"{kind}: {threat}" if threat else kind or alert.title
        alert.threat_name = threat
        alert.description = fields.text("Result description", "Error", "Reason", "Result", "msg", "Description")
        found = _FOUND.search(alert.title) is not None
        said = fields.text("deviceSeverity", "level") or ""
        word = fields.text("Threat level", "Danger level")
        guess: Severity = "high" if found and threat else "medium" if found else "low"
        own = "center" in (fields.text("deviceProduct") or "center").lower()
        number = _LEVELS.get(said, "unknown") if own else of_cef(fields.number("deviceSeverity"))
        alert.severity = (number if number != "unknown" else None) or _WORDS.get((word or "").lower()) or guess
        alert.vendor_severity = word or said or None
        alert.detector_id = fields.text("eventId", "deviceEventClassId") or kind
        attacked = "ATTACK" in (alert.detector_id or "")
        alert.category = "Exploit" if attacked else "Malware" if threat or found else "SuspiciousActivity"
        alert.categories = [alert.category]
        alert.product = fields.text("Application", "deviceProduct") or self.product
        alert.fingerprint = (kind or "", fields.text("Computer", "dhost") or "", fields.text("Object name") or "")
        common_security_log.acted(alert, fields.text("Result description", "Result", "act"), fields.text("Event type"))

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        yield from common_security_log.told(fields, self.entities, _FIRST.split())


def _of_leef(line: Fields) -> dict[str, Any]:
    """An event that has no name of its own, by its id in words: "GNRL_EV_VIRUS_FOUND" says "Virus found"."""
    event = line.text("eventId") or ""
    found = _EVENT.fullmatch(event)
    named = found is not None and not line.has("name", "etdn")
    return {"name": found[1].replace("_", " ").capitalize()} if named and found is not None else {}


_ATTACKERS = ("Attacker address", "AttackerIPv4", "attackerIp", "Remote address", "Source address")
_WORDS: Mapping[str, Severity] = {"high": "high", "medium": "medium", "low": "low", "informational": "informational"}


def _threat(fields: Fields) -> str | None:
    """Its name stands under "Name", where an event about a program has the program's."""
    if fields.has("Application path", "Process path"):
        return fields.text("Detected", "Threat name", "Virus name", "cs1")
    if fields.has("deviceVendor"):
        virus = "VIRUS" in (fields.text("deviceEventClassId") or "")
        return fields.text("VName", "VirusName", "Virus name", "attackName") or (fields.text("cs1") if virus else None)
    return fields.text("Detected", "Threat name", "Virus name", "Name")


def _labelled(text: str) -> Fields | None:
    line = syslog.read(text)
    data, others = pairs.labelled(line.message)
    said: dict[str, Any] = {}
    for element, parameters in line.structured.items():
        if element.startswith("event@"):
            said = {_PARAMETERS.get(key, key): value for key, value in parameters.items() if value}
    if not said and "Event type" not in data:
        return None
    if others and "Event type" not in data:
        said["Description"] = " ".join(others)[:4_096]
    return Fields(said | data, {"eventTime": line.time, "syslogHost": line.host, "syslogTime": line.time})
