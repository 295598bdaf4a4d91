"""CEF: ArcSight's Common Event Format, taken apart; what stands before it is read as syslog.

Source: ArcSight Common Event Format Implementation Standard, versions 0 and 1 (header, extension dictionary).
"""

import re
from typing import Any, NamedTuple

from bartizan.extend import Record
from bartizan.sources import pairs, syslog
from bartizan.sources.fields import MAX_ITEMS, Fields, texts_of
from bartizan.sources.syslog import Syslog

MAX_PREFIX_CHARS = 2_048

_HEADER = ("deviceVendor", "deviceProduct", "deviceVersion", "deviceEventClassId", "name", "deviceSeverity")
_START = re.compile(r"CEF:\s?(\d{1,2})\|", re.ASCII)
_BARE_START = re.compile(
    r"([01])\|(?=[^|\n]{1,255}\|[^|\n]{1,255}\|[^|\n]{0,255}\|[^|\n]{0,511}\|[^|\n]{0,511}\|)", re.ASCII
)
_RECORD = re.compile(r"\n(?=[^\n]{0,512}CEF:\s?\d{1,2}\|)", re.ASCII)
_BAR = re.compile(r"(?<!\\)(?:\\\\)*\|")
_ESCAPE = re.compile(r"\\([\\|=nr\"])")
_PATH = re.compile(r"\"?(?:[A-Za-z]:\\[^\\=|]|\\\\[^\\]{1,255}\\[^\\=|])")
_CUSTOM = re.compile(r"(?:c(?:s|n|fp|6a)|flexString|flexNumber|flexDate|deviceCustom[A-Z]\w{3,15})\d{1,2}", re.ASCII)
_LETTER = re.compile(r"[^\W\d_]")
_WHITE = {"n": "\n", "r": "\n"}

# Short keys -> their full names.
_FULL = {
    "act": "deviceAction",
    "app": "applicationProtocol",
    "cat": "deviceEventCategory",
    "cnt": "baseEventCount",
    "dhost": "destinationHostName",
    "dlat": "destinationGeoLatitude",
    "dlong": "destinationGeoLongitude",
    "dmac": "destinationMacAddress",
    "dntdom": "destinationNtDomain",
    "dpid": "destinationProcessId",
    "dpriv": "destinationUserPrivileges",
    "dproc": "destinationProcessName",
    "dpt": "destinationPort",
    "dst": "destinationAddress",
    "dtz": "deviceTimeZone",
    "duid": "destinationUserId",
    "duser": "destinationUserName",
    "dvc": "deviceAddress",
    "dvchost": "deviceHostName",
    "dvcmac": "deviceMacAddress",
    "dvcpid": "deviceProcessId",
    "end": "endTime",
    "fname": "fileName",
    "fsize": "fileSize",
    "in": "bytesIn",
    "msg": "message",
    "out": "bytesOut",
    "outcome": "eventOutcome",
    "proto": "transportProtocol",
    "request": "requestUrl",
    "rt": "deviceReceiptTime",
    "shost": "sourceHostName",
    "slat": "sourceGeoLatitude",
    "slong": "sourceGeoLongitude",
    "smac": "sourceMacAddress",
    "sntdom": "sourceNtDomain",
    "spid": "sourceProcessId",
    "spriv": "sourceUserPrivileges",
    "sproc": "sourceProcessName",
    "spt": "sourcePort",
    "src": "sourceAddress",
    "start": "startTime",
    "suid": "sourceUserId",
    "suser": "sourceUserName",
    **{f"{short}{number}": f"deviceCustom{long}{number}"
       for short, long in (("cs", "String"), ("cn", "Number"), ("cfp", "FloatingPoint"), ("c6a", "IPv6Address"))
       for number in range(1, 7)},
}  # fmt: skip
_SHORT = (
    {long.lower(): short for short, long in _FULL.items()}
    | {f"{long.lower()}label": f"{short}Label" for short, long in _FULL.items() if _CUSTOM.fullmatch(short)}
    | {"filehash": "fileHash", "filepath": "filePath"}
)


class Cef(NamedTuple):
    """One event. `fields` has the header's parts (deviceVendor, deviceProduct, deviceVersion, deviceEventClassId, name,
    deviceSeverity) and the extension, by short and full names. A custom field with a label stands under the label, and
    can be read by its own key as well; host and time of the syslog header can as syslogHost and syslogTime.
    """

    vendor: str
    product: str
    version: str
    signature: str
    name: str
    severity: str
    fields: Fields
    syslog: Syslog


def read(text: str) -> Cef | None:
    """The event in a line; None where there is none. A header that ends early has empty parts."""
    head = _START.search(text, 0, MAX_PREFIX_CHARS)
    before = text[: head.start()] if head is not None else ""
    head = head or _BARE_START.match(text.lstrip())
    if head is None:
        return None
    rest = (text if head.re is _START else text.lstrip())[head.end() :]
    parts: list[str] = []
    at = 0
    while len(parts) < len(_HEADER) and (bar := _BAR.search(rest, at)) is not None:
        parts.append(_plain(rest[at : bar.end() - 1]).strip())
        at = bar.end()
    if len(parts) < len(_HEADER):
        parts.append(_plain(rest[at:]).strip())
        at = len(rest)
    parts += [""] * (len(_HEADER) - len(parts))
    data: dict[str, Any] = dict(zip(_HEADER, parts, strict=True))
    beside = {"severity": parts[-1]} | _extension(rest[at:], data)
    header = syslog.read(before)
    beside |= {"syslogHost": header.host, "syslogTime": header.time}
    vendor, product, version, signature, name, severity = parts
    return Cef(vendor, product, version, signature, name, severity, Fields(data, beside), header)


def records(record: Record, *keys: str) -> list[Cef]:
    """The events of a record's lines; of JSON those of the text under one of the keys, or where collectors put it."""
    parts = (part for text in texts_of(record, *keys) for part in _RECORD.split(text)[:MAX_ITEMS])
    return [event for part in parts if (event := read(part)) is not None]


def _plain(text: str) -> str:
    """Without escapes. A Windows path whose backslashes were not escaped stays as it is."""
    if "\\" not in text:
        return text
    if _PATH.match(text):
        return text.replace("\\=", "=")
    return _ESCAPE.sub(lambda match: _WHITE.get(match[1], match[1]), text)


def _extension(text: str, data: dict[str, Any]) -> dict[str, Any]:
    """Adds what it says to `data`, each thing once; the answer are the other names under which that can be read."""
    said: dict[str, Any] = {}
    for key, value in pairs.bare(text):
        value = _plain(value)
        if len(value) > 1 and value[0] == value[-1] == '"' and '"' not in value[1:-1]:
            value = value[1:-1]
        pairs.put(said, key if key in _FULL else _SHORT.get(key.lower(), key), value)
    beside: dict[str, Any] = {_FULL[key]: value for key, value in said.items() if key in _FULL}
    for key, value in said.items():
        label = said.get(f"{key}Label") if _CUSTOM.fullmatch(key) else None
        if label is not None:
            beside |= {key: value, f"{key}Label": label}
            for name, one in _paired(label, value):
                named = _names(name, said)
                pairs.put(data, name if named else key, one)
                if not named:
                    pairs.put(data, f"{key}Label", name)
        elif not (key.endswith("Label") and _labels(key, said)):
            for one in value if isinstance(value, list) else [value]:
                pairs.put(data, key, one)
    return beside


def _names(label: Any, said: dict[str, Any]) -> bool:
    """Whether a label can be a name: some vendors put a second value there."""
    return _LETTER.search(label) is not None and label not in said and label not in _HEADER


def _labels(key: str, said: dict[str, Any]) -> bool:
    own = key.removesuffix("Label")
    return own in said and _CUSTOM.fullmatch(own) is not None


def _paired(label: Any, value: Any) -> list[tuple[str, Any]]:
    """Labels with values; those of keys that came several times in their order."""
    labels = label if isinstance(label, list) else [label]
    values = value if isinstance(value, list) else [value]
    if len(labels) != len(values):
        return [(labels[0], value)]
    return list(zip(labels, values, strict=True))
