"""Syslog: the header before a message, in the forms that devices write it.

Source: RFC 5424; RFC 3164; Cisco IOS and ASA, "System message format" (`%FACILITY-SEVERITY-MNEMONIC`).
"""

import re
from typing import NamedTuple

from bartizan.sources.times import when

MAX_HEADER_CHARS = 2_048
MAX_STRUCTURED_CHARS = 262_144
MAX_ELEMENTS = 100  # of structured data
MAX_PARAMETERS = 500  # of all elements together

FACILITIES = (
    "kern user mail daemon auth syslog lpr news uucp cron authpriv ftp ntp audit alert clock "
    "local0 local1 local2 local3 local4 local5 local6 local7"
).split()
LEVELS = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")

_OCTETS = re.compile(r"\d{1,7} (?=<\d{1,3}>)", re.ASCII)  # RFC 6587 counts them before the frame
_PRIORITY = re.compile(r"<(\d{1,3})>\s?", re.ASCII)
_NEW = re.compile(r"[1-9]\d? (-|\d{4}-\S{1,60}) (\S{1,255}) (\S{1,255}) (\S{1,128}) (\S{1,255})(?: |$)", re.ASCII)
_PARAMETER = re.compile(r'\s+([^\s=\]":]{1,255})\s?[=:]\s?"((?:[^"\\]|\\.)*+)"(?:\s?;)?', re.DOTALL)
_ELEMENT = re.compile(r"\[([^\s=\]\"\[]{1,255})(?=[\s\]])")
_CLOSE = re.compile(r"\s{0,8}\]")
_ESCAPED = re.compile(r'\\(["\\\]])')
_SEQUENCE = re.compile(r"(?:\d{1,10}: ){1,2}", re.ASCII)  # Cisco's own counters
_STAMP = re.compile(
    r"""
    [*.:]?\s{0,2}(
      (?:[A-Z][a-z]{2},?\s)?[A-Z][a-z]{2}\s{1,2}\d{1,2}\s(?:\d{4}\s)?\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:\s\d{4}(?=[\s:]))?
    | \d{4}\s[A-Z][a-z]{2}\s{1,2}\d{1,2}\s\d\d:\d\d:\d\d(?:\.\d{1,9})?
    | \d{4}[-/]\d\d[-/]\d\d[T\s]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?\s?(?:Z|[+-]\d\d:?\d\d)?
    | \d{4}:\d\d:\d\d-\d\d:\d\d:\d\d
    )
    (\s(?:UTC|GMT|CET|CEST|EST|EDT|CST|CDT|MST|MDT|PST|PDT))?(?::?\s{1,2}|:?$)
    """,
    re.ASCII | re.VERBOSE,
)
_HOST = re.compile(
    r"([^\s:\[\]{}()<>=,;|\"%]{1,255}|[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f.]{0,15}){2,8})(?:\s+:?\s?|$)", re.ASCII
)
_HOST_COLON = re.compile(r"([\w.-]{1,255})\s?: ?(?=%[A-Z]|[*.]?[A-Z][a-z]{2}\s{1,2}\d)", re.ASCII)
_TAG = re.compile(
    r"([^\s:\[\]{}\"'=<>,;|%]{1,128})(?:\[([^\]\s]{1,32})\])?:(?:\s|$)|([^\s:\[\]{}\"'=<>,;|%]{1,64})\[(\d{1,10})\]\s"
)
_CISCO = re.compile(r"%([A-Z][\w-]{0,60})-([0-7])-(\w{1,64})\s?:\s?", re.ASCII)


class Syslog(NamedTuple):
    """A line taken apart; without a header everything but `message` is None."""

    message: str
    priority: int | None = None
    time: str | None = None  # wire text; None where the header has no year
    host: str | None = None
    app: str | None = None  # program; of Cisco "%FACILITY-SEVERITY-MNEMONIC" the facility
    pid: str | None = None
    message_id: str | None = None  # MSGID of RFC 5424, or Cisco's mnemonic
    severity: int | None = None  # 0 emergency to 7 debug
    structured: dict[str, dict[str, str]] = {}  # element's id -> parameters

    @property
    def facility(self) -> str | None:
        return FACILITIES[self.priority // 8] if self.priority is not None else None

    @property
    def level(self) -> str | None:
        return LEVELS[self.severity] if self.severity is not None else None

    @property
    def headed(self) -> bool:
        return self.priority is not None or bool(self.time or self.host or self.app)


def read(text: str) -> Syslog:
    """Takes the header off, whatever of it is there."""
    text = text.lstrip("\ufeff\r\n\t ")
    if (count := _OCTETS.match(text)) is not None:
        text = text[count.end() :]
    head = _PRIORITY.match(text)
    priority = int(head[1]) if head is not None and int(head[1]) < len(FACILITIES) * 8 else None
    if head is None or priority is None:
        return _old(text, None)
    rest = text[head.end() :]
    new = _NEW.match(rest)
    return _new(new, rest, priority) if new is not None else _old(rest, priority)


def _new(match: re.Match[str], text: str, priority: int) -> Syslog:
    host, app, pid, message_id = (None if part == "-" else part for part in match.group(2, 3, 4, 5))
    structured, end = _structured(text, match.end())
    return Syslog(
        message=text[end:].removeprefix(" ").removeprefix("\ufeff"),
        priority=priority,
        time=when(match[1]),
        host=host,
        app=app,
        pid=pid,
        message_id=message_id,
        severity=priority % 8,
        structured=structured,
    )


def _structured(text: str, start: int) -> tuple[dict[str, dict[str, str]], int]:
    """The elements from `start`, and where they end; what is no well-formed element belongs to the message."""
    found: dict[str, dict[str, str]] = {}
    if text.startswith("-", start):
        return found, start + 1
    end, left = start, MAX_PARAMETERS
    while len(found) < MAX_ELEMENTS and (element := _ELEMENT.match(text, end)) is not None:
        at, inside = element.end(), {}
        while left and (one := _PARAMETER.match(text, at, at + MAX_STRUCTURED_CHARS)) is not None:
            inside[one[1]] = _ESCAPED.sub(r"\1", one[2])
            at, left = one.end(), left - 1
        if (close := _CLOSE.match(text, at)) is None:
            break
        found.setdefault(element[1], {}).update(inside)
        end = close.end()
    return found, end


def _old(text: str, priority: int | None) -> Syslog:
    """RFC 3164 as it is met: with or without year, zone, host, tag; Cisco's counters and mnemonics."""
    head = text[:MAX_HEADER_CHARS]
    at = counted.end() if priority is not None and (counted := _SEQUENCE.match(head)) else 0
    host = None
    if priority is not None and (early := _HOST_COLON.match(head, at)) is not None:
        host, at = early[1], early.end()
    stamp = _STAMP.match(head, at)
    if stamp is not None:
        at = stamp.end()
        if host is None and (early := _HOST_COLON.match(head, at)) is not None:
            host, at = early[1], early.end()
    app, pid, message_id, severity, end = _program(head, at)
    if stamp is not None and host is None and app is None and (named := _HOST.match(head, at)) is not None:
        app, pid, message_id, severity, end = _program(head, named.end())
        # A line of a program's own log begins with a time too; a word follows there, and no tag.
        if priority is not None or app or stamp[1][0].isalpha() or end == len(text):
            host = named[1]
        else:
            end = at
    if priority is None and stamp is None and message_id is None:
        return Syslog(text)
    return Syslog(
        message=text[end:].removeprefix("\ufeff"),
        priority=priority,
        time=when(f"{stamp[1]}{stamp[2] or ''}") if stamp is not None else None,
        host=None if host == "-" else host,
        app=app,
        pid=pid,
        message_id=message_id,
        severity=severity if severity is not None or priority is None else priority % 8,
    )


def _program(head: str, at: int) -> tuple[str | None, str | None, str | None, int | None, int]:
    """Program, its id, Cisco's mnemonic and severity, and where the message begins."""
    if (cisco := _CISCO.match(head, at)) is not None:
        return cisco[1], None, cisco[3], int(cisco[2]), cisco.end()
    if (tag := _TAG.match(head, at)) is not None:
        return tag[1] or tag[3], tag[2] or tag[4], None, None, tag.end()
    return None, None, None, None, at
