"""LEEF: IBM QRadar's Log Event Extended Format, taken apart; what stands before it is read as syslog.

Source: IBM, "QRadar Log Event Extended Format (LEEF) Version 2" (header, delimiter, predefined attributes).
"""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from bartizan.extend import Record
from bartizan.model.times import instant
from bartizan.sources import pairs, syslog
from bartizan.sources.fields import MAX_ITEMS, Fields, as_text, texts_of
from bartizan.sources.syslog import Syslog
from bartizan.sources.times import when

MAX_PREFIX_CHARS = 2_048
_MAX_FORMAT_CHARS = 80

_HEADER = ("deviceVendor", "deviceProduct", "deviceVersion", "eventId")
_START = re.compile(r"LEEF:\s?([012])(?:\.\d)?\|", re.ASCII)
_BARS = re.compile(r"[A-Za-z]\w{0,63}=[^|]{0,4096}\|[A-Za-z]\w{0,63}=[^|]{0,4096}\|[A-Za-z]\w{0,63}=", re.ASCII)
_RECORD = re.compile(r"\n(?=[^\n]{0,512}LEEF:\s?[012](?:\.\d)?\|)", re.ASCII)
# Predefined attributes -> the keys of CEF that say the same, by which they can be read as well.
_CEF = {
    "srcPort": "spt", "dstPort": "dpt", "usrName": "suser", "srcMAC": "smac", "dstMAC": "dmac", "domain": "sntdom",
    "srcPreNAT": "sourceAddress", "srcPostNAT": "sourceTranslatedAddress", "dstPostNAT": "destinationTranslatedAddress",
    "dstPreNAT": "destinationAddress", "srcPostNATPort": "sourceTranslatedPort", "url": "request", "resource": "dhost",
    "dstPostNATPort": "destinationTranslatedPort", "identHostName": "shost", "identSrc": "dvc", "srcBytes": "out",
    "dstBytes": "in", "policy": "cs1", "action": "act", "eventId": "deviceEventClassId", "sev": "deviceSeverity",
    "accountName": "suid", "msg": "message",
}  # fmt: skip
_CODE = re.compile(r"(?:0x|\\x|x)([0-9A-Fa-f]{2,4})", re.ASCII)
_WORDS = {"\\t": "\t", "tab": "\t", "<tab>": "\t", "\\s": " "}

# Letters of Java's SimpleDateFormat -> strptime's, and what is written in their place.
_JAVA = {
    "yyyy": ("Y", r"\d{4}"), "yy": ("y", r"\d\d"), "y": ("Y", r"\d{4}"), "MMMM": ("B", r"[A-Za-z]{3,9}"),
    "MMM": ("b", r"[A-Za-z]{3}"), "MM": ("m", r"\d\d"), "M": ("m", r"\d{1,2}"), "dd": ("d", r"\d{1,2}"),
    "d": ("d", r"\d{1,2}"), "HH": ("H", r"\d\d"), "H": ("H", r"\d{1,2}"), "hh": ("I", r"\d\d"),
    "h": ("I", r"\d{1,2}"), "mm": ("M", r"\d\d"), "m": ("M", r"\d{1,2}"), "ss": ("S", r"\d\d"),
    "s": ("S", r"\d{1,2}"), "a": ("p", r"[AaPp][Mm]"), "EEEE": ("A", r"[A-Za-z]{3,9}"), "EEE": ("a", r"[A-Za-z]{3}"),
    "E": ("a", r"[A-Za-z]{3}"),
}  # fmt: skip
_TOKEN = re.compile(r"'((?:[^']|'')*)'|([A-Za-z])\2*|[^A-Za-z']", re.ASCII)
_ZONE_LETTERS = frozenset("zZX")


class Leef(NamedTuple):
    """One event. `fields` has the header's parts (deviceVendor, deviceProduct, deviceVersion, eventId) and the
    attributes, predefined ones also by CEF's keys; `time` (also under "rt") is devTime in its own format, as wire text.
    """

    vendor: str
    product: str
    version: str
    event_id: str
    time: str | None
    fields: Fields
    syslog: Syslog

    def named(self) -> dict[str, Any]:
        """The attributes, and under CEF's keys what these say."""
        return {**_as_cef(self.fields.data, self.time, self.syslog), **self.fields.data}


def read(text: str) -> Leef | None:
    """The event in a line; None where there is none. A header that ends early has empty parts."""
    head = _START.search(text, 0, MAX_PREFIX_CHARS)
    if head is None:
        return None
    parts = text[head.end() :].split("|", len(_HEADER))
    rest = parts.pop() if len(parts) > len(_HEADER) else ""
    parts = [part.strip() for part in parts] + [""] * (len(_HEADER) - len(parts))
    delimiter = "\t"
    if head[1] == "2":
        said, bar, tail = rest.partition("|")
        # Some leave the delimiter out, bar and all: then an attribute stands in its place.
        if bar and (not said or (known := _delimiter(said)) is not None):
            delimiter, rest = (known if said else delimiter) or delimiter, tail
    elif "\t" not in rest and _BARS.match(rest):  # some part them so in 1.0 too
        delimiter = "|"
    data: dict[str, Any] = dict(zip(_HEADER, parts, strict=True))
    for key, value in _attributes(rest, delimiter):
        pairs.put(data, key, value.replace("\\=", "="))
    time = dev_time(as_text(data.get("devTime")), as_text(data.get("devTimeFormat")))
    header = syslog.read(text[: head.start()])
    vendor, product, version, event_id = parts
    return Leef(vendor, product, version, event_id, time, Fields(data, _as_cef(data, time, header)), header)


def _as_cef(data: Mapping[str, Any], time: str | None, header: Syslog) -> dict[str, Any]:
    found = {name: data[key] for key, name in _CEF.items() if key in data}
    return found | {"rt": time, "syslogHost": header.host, "syslogTime": header.time}


def records(record: Record, *keys: str) -> list[Leef]:
    """The events of a record's lines; of JSON those of the text under one of the keys, or where collectors put it."""
    parts = (part for text in texts_of(record, *keys) for part in _RECORD.split(text)[:MAX_ITEMS])
    return [event for part in parts if (event := read(part)) is not None]


def _delimiter(said: str) -> str | None:
    """A character, or one by its code: "^", "x5E", "0x09", "\\t"; None where it is none of these."""
    if len(said) == 1:
        return said
    word = _WORDS.get(said.strip().lower())
    code = _CODE.fullmatch(said.strip())
    return word or (chr(int(code[1], 16)) if code is not None else said.strip() if len(said.strip()) == 1 else None)


def _attributes(text: str, delimiter: str) -> Iterable[tuple[str, str]]:
    """Where tabs were lost on the way, or spaces stand for them, each value reaches to the next key."""
    if delimiter.isspace() and "\t" not in text:
        return pairs.bare(text)
    if delimiter.isspace():
        delimiter = "\t"
    return pairs.separated(text.strip("\r\n"), delimiter)


def dev_time(text: str | None, form: str | None) -> str | None:
    """Wire text of a time, by a format in the letters of Java's SimpleDateFormat where one is given."""
    if text is None or form is None or len(form) > _MAX_FORMAT_CHARS:
        return when(text)
    pattern = ""
    seen: set[str] = set()
    for token in _TOKEN.finditer(form.strip()):
        run, letter = token[0], token[2]
        if letter is None:
            plain = run if token[1] is None else token[1].replace("''", "'") or "'"
            pattern += r"\s+" if plain.isspace() else re.escape(plain)
            continue
        name, within = _JAVA.get(run, (letter, ""))
        if letter == "S":
            name, within = "fraction", r"\d{1,9}"
        elif letter in _ZONE_LETTERS:
            name, within = "zone", r"Z|[A-Za-z]{0,5}\s?(?:[+-]\d\d:?\d\d)?"
        if not within or name in seen:
            return when(text)
        seen.add(name)
        pattern += f"(?P<{name}>{within})"
    return _by_pattern(text, pattern) or when(text)


def _by_pattern(text: str, pattern: str) -> str | None:
    match = re.fullmatch(pattern, text.strip()[:_MAX_FORMAT_CHARS], re.ASCII)
    if match is None:
        return None
    found = match.groupdict()
    letters = [name for name in found if len(name) == 1]
    try:
        at = datetime.strptime(
            " ".join(found[name] for name in letters), " ".join(f"%{name}" for name in letters)
        ).replace(tzinfo=UTC)
        at += timedelta(microseconds=int((found.get("fraction") or "0").ljust(6, "0")[:6]))
        # The zone is read as `when` reads it: by writing the time anew.
        return when(f"{instant(at)[:-1]} {found.get('zone') or ''}".strip())
    except (ValueError, OverflowError):
        return None
