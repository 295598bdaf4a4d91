"""Barracuda Web Application Firewall: its logs by syslog, by position or as CSV, and what it found to be an attack.

Source: Barracuda Campus, Web Application Firewall, "Exporting Log Formats", "Attacks Description - Action Policy".
"""

import re
from itertools import islice
from typing import Any

from bartizan.sources import csv_records
from bartizan.sources.fields import Fields
from bartizan.sources.severity import of_word
from bartizan.sources.verdict import Verdict

_TIME = r"(\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?)[\"']?[\s,;|]{1,4}[\"']?([+-]\d\d:?\d\d)"
_GAP = r"[\"']?[\s,;|]{1,4}[\"']?"
_LEVELS = r"(?:EMER|ALER|CRIT|ERRO|WARN|NOTI|INFO|DEBU)[A-Z]{0,8}"
_UNIT = r"([^\s,;|\"']{1,128})"
_OF_KIND = (
    rf"(?:(?:WF|NF){_GAP}{_LEVELS}|SYS{_GAP}\w{{1,32}}{_GAP}{_LEVELS}"
    rf"|TR{_GAP}[0-9A-Fa-f:.]{{2,45}}{_GAP}\d{{1,5}}|AUDIT)\b"
)
PATTERN = re.compile(
    rf"(?:\d\d[.,]\d{{1,6}}|:\d\d)[\"']?[\s,;|]{{1,4}}[\"']?[+-]\d\d:?\d\d{_GAP}[^\s,;|\"']{{1,128}}{_GAP}{_OF_KIND}"
    r"|^[^\n]{0,200}\bAttack (?:Name|Type|Description)\b[^\n]{0,400}\bService (?:IP|Port)\b",
    re.ASCII | re.IGNORECASE,
)
_HEAD = re.compile(rf"{_TIME}{_GAP}{_UNIT}{_GAP}(WF|TR|AUDIT|NF|SYS)\b[\"']?\s?([\s,;|])\s{{0,4}}", re.ASCII)
_PART = re.compile(r'"((?:[^"\\]|\\.)*)"|\[(.*?)\](?=\s+[A-Z]{3,12}\s|\s*$)|(\S+)', re.DOTALL)
_MAX_PARTS = 64
_WORDY = frozenset({"NF", "SYS"})  # end in a sentence
# The letters of each log's format, in their order...
_FORMATS = {
    "WF": "sl ad ci cp ai ap ri rt at fa adl m u p sid ua px pp au r",
    "NF": "sl p ci cp ai ap at ri adl",
    "TR": "ai ap ci cp id cu m p h v s bs br ch tt si sp st sid rtf pmf pf wmf u q r c ua px pp au",
    "AUDIT": "an ct li lp trt tri cn cht ot on var ov nv add",
    "SYS": "md sl ei ms",
}
# ...and the keys of CEF that say the same, or a name where it has none.
_KEYS = {
    "sl": "deviceSeverity",
    "ad": "attack",
    "ci": "src",
    "cp": "spt",
    "ai": "dst",
    "ap": "dpt",
    "ri": "rule",
    "rt": "ruleType",
    "at": "act",
    "fa": "followUp",
    "adl": "details",
    "m": "requestMethod",
    "u": "request",
    "p": "app",
    "sid": "session",
    "ua": "requestClientApplication",
    "px": "proxyIp",
    "au": "suser",
    "r": "requestContext",
    "h": "host",
    "s": "outcome",
    "si": "serverIp",
    "id": "suser",
    "q": "query",
    "an": "suser",
    "li": "src",
    "lp": "spt",
    "trt": "act",
    "on": "object",
    "ei": "deviceEventClassId",
    "ms": "msg",
    "md": "module",
}
# Names above a table that is exported -> the letters.
_NAMES = {
    "time": "t",
    "date": "t",
    "timestamp": "t",
    "unitname": "un",
    "severity": "sl",
    "loglevel": "sl",
    "attack": "ad",
    "attackname": "ad",
    "attacktype": "ad",
    "attackdescription": "ad",
    "clientip": "ci",
    "clientport": "cp",
    "serviceip": "ai",
    "applicationip": "ai",
    "serviceport": "ap",
    "applicationport": "ap",
    "rule": "ri",
    "ruleid": "ri",
    "ruletype": "rt",
    "action": "at",
    "actiontaken": "at",
    "followupaction": "fa",
    "attackdetails": "adl",
    "details": "adl",
    "method": "m",
    "url": "u",
    "protocol": "p",
    "sessionid": "sid",
    "useragent": "ua",
    "proxyip": "px",
    "authenticateduser": "au",
    "username": "au",
    "referer": "r",
    "referrer": "r",
}
_EMPTY = frozenset({"", "-", "N/A"})


def read(text: str) -> list[dict[str, Any]]:
    if PATTERN.search(text) is None:
        return []
    head = _HEAD.search(text)
    if head is None:
        return [_named(row, "WF") for row in map(_by_letters, csv_records.table(text)) if "ad" in row]
    kind = head[4]
    letters = _FORMATS[kind].split()
    parts = _parts(text[head.end() :], head[5], len(letters) if kind in _WORDY else 0)
    said = dict(zip(letters, parts, strict=False))
    return [_named({**said, "t": f"{head[1]} {head[2]}", "un": head[3]}, kind)]


def _parts(text: str, gap: str, most: int) -> list[str]:
    """The values; of so many the last is the rest of the text, spaces and all."""
    if not gap.isspace():
        return [cell.strip("[]") for cell in csv_records.cells(text, gap)]
    found = list(islice(_PART.finditer(text), _MAX_PARTS))
    values = [match[1] or match[2] or match[3] or "" for match in found]
    if most and len(found) > most:
        values[most - 1 :] = [text[found[most - 1].start() :].strip()]
    return values


def _by_letters(row: dict[str, Any]) -> dict[str, str]:
    found = {"".join(filter(str.isalnum, name.lower())): value for name, value in row.items()}
    return {_NAMES[name]: value for name, value in found.items() if name in _NAMES and isinstance(value, str)}


def _named(said: dict[str, str], kind: str) -> dict[str, Any]:
    given = {letter: value for letter, value in said.items() if value.strip('"') not in _EMPTY}
    named: dict[str, Any] = {_KEYS[letter]: value for letter, value in given.items() if letter in _KEYS}
    site, slash, path = named.get("request", "").partition("/")
    if kind == "WF" and site and slash and "://" not in named["request"]:  # the host stands before the path
        named |= {"host": site.rpartition(":")[0] or site, "request": f"{slash}{path}"}
    if kind == "NF":
        named["proto"] = named.pop("app", None)
    attack = named.get("attack")
    return {
        **named,
        "rt": said.get("t"),
        "dvchost": said.get("un"),
        "logType": kind,
        "deviceVendor": "Barracuda",
        "deviceProduct": "WAF",
        "deviceEventClassId": attack or named.get("deviceEventClassId"),
        "name": (attack or "").replace("_", " ").capitalize() or named.get("msg") or f"{kind} log",
    }


def verdict(fields: Fields) -> Verdict | None:
    """Of the log of the firewall what it denied, or holds for more than low; the rest is watched alone."""
    if (fields.text("logType", "deviceEventClassId", "cat") or "").upper() != "WF":
        return None
    word = fields.text("deviceSeverity", "severity", "sev")
    level = of_word(word)
    if level not in ("medium", "high") and (fields.text("act") or "").upper() != "DENY":
        return None
    attack = fields.text("attack", "name")
    return Verdict(category="Exploit", vendor_category=attack, severity=level, word=word, detector=attack)
