"""Text that says key and value: `key=value` of firewalls, `key:"value"` of Check Point, `Key: value` line by line.

Where a key comes again, its values make a list. Values are text; nothing is converted.
Source: Fortinet, "FortiOS Log Message Reference"; Sophos, "Log file guide"; Check Point, "Log Exporter", formats.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

MAX_PAIRS = 1_000  # of one text; the longest real record had 320
MAX_CHARS = 262_144  # of one text that are read; the longest real record had 30,000

_KEY = r"[A-Za-z_@$][\w.@$-]{0,63}(?:\[\w{0,16}\])?"
_MARK = re.compile(rf"(?:^|(?<=[\s,;|(\[{{]))({_KEY}):?=", re.ASCII)
_BARE_MARK = re.compile(rf"(?:^|(?<=\s))({_KEY}):?=", re.ASCII)
_QUOTED_KEY = re.compile(r'(?:^|(?<=[\s,;|(\[{]))"([^"=\s]{1,128})"=', re.ASCII)
_NEXT = re.compile(rf'\s{{0,8}}[;,|]?\s{{0,8}}(?:$|"?{_KEY}"?=)', re.ASCII)
_PATH = re.compile(r"[A-Za-z]:\\|\\\\")
_COLON = re.compile(r'(?<![\w.-])([A-Za-z_][\w.-]{0,63}):\s?"((?:[^"\\]|\\.)*+)"', re.ASCII | re.DOTALL)
_COLON_ESCAPED = re.compile(r'\\(["\\\[\];:=])')
_LINES = re.compile(r"\r\n|\n|\r|\\r\\n|\\n(?=[A-Z])")
_LABEL = re.compile(r"\s*([^:\s][^:]{0,79}?)\s*:(?:\s+|$)(.*)", re.DOTALL)


def put(data: dict[str, Any], key: str, value: Any) -> None:
    """A key that comes again makes a list."""
    if key not in data:
        data[key] = value
    elif isinstance(old := data[key], list):
        old.append(value)
    else:
        data[key] = [old, value]


def bare(text: str) -> Iterator[tuple[str, str]]:
    """Keys with values that may hold spaces: each reaches to the next ` key=`. Quotes mean nothing here."""
    marks = []
    for mark in _BARE_MARK.finditer(text[:MAX_CHARS]):
        marks.append(mark)
        if len(marks) == MAX_PAIRS:
            break
    for number, mark in enumerate(marks):
        end = marks[number + 1].start() if number + 1 < len(marks) else min(len(text), MAX_CHARS)
        yield mark[1], text[mark.end() : end].strip()


def read(text: str) -> dict[str, Any]:
    """`key=value` where a value may stand in double quotes, or reach bare to the next key."""
    data: dict[str, Any] = {}
    text = text[:MAX_CHARS]
    quotes_close, quoted_keys = True, '"=' in text
    mark = _mark(text, 0, quoted_keys)
    for _ in range(MAX_PAIRS):
        if mark is None:
            break
        at = mark.end()
        end = _closing(text, at + 1) if quotes_close and text[at : at + 1] == '"' else None
        if end is not None and end >= 0:
            put(data, mark[1], _unquoted(text[at + 1 : end]))
            mark = _mark(text, end + 1, quoted_keys)
            continue
        quotes_close = quotes_close and end is None  # one that never closes: nothing after it does
        after = _mark(text, at, quoted_keys)
        value = text[at : after.start() if after is not None else len(text)].strip()
        if after is not None and value[-1:] in (",", ";", "|"):
            value = value[:-1].rstrip()
        put(data, mark[1], value)
        mark = after
    return data


def _mark(text: str, at: int, quoted_keys: bool) -> re.Match[str] | None:
    """The next key."""
    plain = _MARK.search(text, at)
    if not quoted_keys:
        return plain
    return _QUOTED_KEY.search(text, at, plain.start() if plain is not None else len(text)) or plain


def _closing(text: str, start: int) -> int:
    """Where a value's closing quote is, -1 if nowhere. Quotes inside are escaped, or doubled in pairs.

    A path that ends in a backslash, which vendors write without escaping it, ends at the quote after that.
    """
    path = _PATH.match(text, start) is not None
    at, doubled = start, False
    while (at := text.find('"', at)) >= 0:
        slashes = at
        while slashes > start and text[slashes - 1] == "\\":
            slashes -= 1
        if (at - slashes) % 2 and not (path and _NEXT.match(text, at + 1)):
            at += 1
        elif text[at + 1 : at + 2] == '"' and (doubled or not _NEXT.match(text, at + 1)):
            doubled = not doubled
            at += 2
        else:
            return at
    return -1


def _unquoted(value: str) -> str:
    value = value.replace('""', '"')
    if "\\" not in value:
        return value
    # Backslashes that all come in pairs are escaped; single ones are those of a path.
    if not re.search(r'(?<!\\)(?:\\\\)*\\(?![\\"])', value):
        value = value.replace("\\\\", "\\")
    return value.replace('\\"', '"')


def separated(text: str, delimiter: str) -> Iterator[tuple[str, str]]:
    """`key=value` between delimiters that no value holds."""
    for part in text[:MAX_CHARS].split(delimiter, MAX_PAIRS)[:MAX_PAIRS]:
        key, equals, value = part.partition("=")
        if equals and key.strip():
            yield key.strip()[:128], value.strip()


def colons(text: str) -> dict[str, Any]:
    """`key:"value"; ` with escapes inside the quotes."""
    data: dict[str, Any] = {}
    for number, match in enumerate(_COLON.finditer(text[:MAX_CHARS])):
        if number == MAX_PAIRS:
            break
        put(data, match[1].strip(), _COLON_ESCAPED.sub(r"\1", match[2]))
    return data


def labelled(parts: str | Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """`Key: value` of each line (or of each part given), and the parts without a key."""
    if isinstance(parts, str):
        parts = _LINES.split(parts[:MAX_CHARS])
    data: dict[str, Any] = {}
    others: list[str] = []
    for number, part in enumerate(parts):
        if number == MAX_PAIRS:
            break
        if (match := _LABEL.match(part)) is not None:
            put(data, match[1], match[2].strip())
        elif part.strip():
            others.append(part.strip())
    return data, others
