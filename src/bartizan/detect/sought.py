"""The query that finds the events of a table which bear marks. Pure.

It is coarse where KQL has no word for what is meant: what it finds is looked up once more.

Source: Kusto Query Language reference (extract, parse_ipv6, ipv4_is_in_any_range,
ipv6_is_in_any_range, has_any).
"""

import re
from collections.abc import Iterator, Sequence
from ipaddress import ip_address

from bartizan.detect.marks import Pair
from bartizan.detect.named import Column, columns_of
from bartizan.lake.tables import Table

MAX_CHARS = 40_000  # of the marks of one query
MAX_MARKS = 1_000
MAX_QUERY_CHARS = 90_000  # hunting takes 100,000
MAX_FOUND = 1_000  # rows of one query; of more the marks are asked for by halves, and of one mark the newest count
_V4 = r"(\d{1,3}(?:\.\d{1,3}){3})(?::\d{1,5}|/32)?$"
_V6 = r"^\[?([0-9a-f:.]+)"
_HOST = r"^(?:[a-z][a-z0-9+.-]*:)?(?://)?(?:[^/?#@]*@)?([^/:?#]+)"
_PLACE = r"^(?:[a-z][a-z0-9+.-]*://)?([^#]*?)/?(?:#.*)?$"
_SENDER = r"@([^@>]+)>?$"


def parts_of(pairs: Sequence[Pair]) -> Iterator[list[Pair]]:
    """In parts that one query can ask for. A mark with a control character is in no event."""
    part: list[Pair] = []
    size = 0
    for pair in pairs:
        if not pair[1].isprintable():
            continue
        if part and (size + len(pair[1]) > MAX_CHARS or len(part) >= MAX_MARKS):
            yield part
            part, size = [], 0
        part.append(pair)
        size += len(pair[1])
    if part:
        yield part


def query_of(of: Table, pairs: Sequence[Pair]) -> str | None:
    """None where the table has no column for marks of these kinds."""
    by_kind: dict[str, list[str]] = {}
    for kind, value in pairs:
        by_kind.setdefault(kind, []).append(value)
    found = [test for column in columns_of(of) for test in _tests(column, by_kind)]
    if not found:
        return None
    newest = f"top {MAX_FOUND + 1} by {of.time} desc" if of.time is not None else f"take {MAX_FOUND + 1}"
    return f"{of.name}\n| where {' or '.join(found)}\n| {newest}"


def _tests(column: Column, marks: dict[str, list[str]]) -> Iterator[str]:
    if column.several:
        wanted = [value for kind in _ASKED[column.kind] if kind != "network" for value in marks.get(kind, ())]
        if wanted:
            yield f"tostring(['{column.name}']) has_any ({_list(wanted)})"
        return
    for kind in _ASKED[column.kind]:
        if values := marks.get(kind):
            yield from _TESTS[kind](f"tolower(['{column.name}'])", column, values)


def _address(text: str, column: Column, values: Sequence[str]) -> Iterator[str]:
    """Most are written plainly, and those with a port or in brackets have a colon: what is dear is asked of these."""
    fourth, sixth = _by_version(values)
    if fourth:
        yield f"{text} in ({_list(fourth)})"
        yield f"({_odd(text)} and {_extract(_V4, text)} in ({_list(fourth)}))"
    if sixth:
        whole = [ip_address(each).exploded for each in sixth]
        yield f"({text} contains ':' and parse_ipv6({_extract(_V6, text)}) in ({_list(whole)}))"


def _network(text: str, column: Column, values: Sequence[str]) -> Iterator[str]:
    fourth, sixth = _by_version(values)
    if fourth:
        yield f"ipv4_is_in_any_range({text}, dynamic([{_list(fourth)}]))"
        yield f"({_odd(text)} and ipv4_is_in_any_range({_extract(_V4, text)}, dynamic([{_list(fourth)}])))"
    if sixth:
        within = f"ipv6_is_in_any_range({_extract(_V6, text)}, dynamic([{_list(sixth)}]))"
        yield f"({text} contains ':' and {within})"


def _odd(text: str) -> str:
    return f"({text} contains ':' or {text} contains '/')"


def _domain(text: str, column: Column, values: Sequence[str]) -> Iterator[str]:
    """The name itself and those below it: as many last labels of a name as the marks have."""
    host = _extract(_HOST, text) if column.kind == "url" else text
    by_labels: dict[int, list[str]] = {}
    for value in values:
        by_labels.setdefault(value.count(".") + 1, []).append(value)
    for labels, its in sorted(by_labels.items()):
        last = rf"((?:[^.]+\.){{{labels - 1}}}[^.]+)\.?$"
        yield f"{_extract(last, host)} in ({_list(its)})"


def _url(text: str, column: Column, values: Sequence[str]) -> Iterator[str]:
    """Without scheme, fragment and last slash; also without the port of a scheme, and with a slash before the query."""
    found = dict.fromkeys(values)
    for value in values:
        if "?" in value:
            found[value.replace("?", "/?", 1)] = None
    place = _extract(_PLACE, text)
    yield f"{place} in ({_list(list(found))})"
    plain = rf'replace_regex({place}, @"^([^/?:]+):(?:80|443|21)([/?].*)?$", @"\1\2")'
    yield f"({text} matches regex @':(?:80|443|21)(?:[/?#]|$)' and {plain} in ({_list(list(found))}))"


def _exact(text: str, column: Column, values: Sequence[str]) -> Iterator[str]:
    yield f"{text} in ({_list(values)})"


def _mailbox(text: str, column: Column, values: Sequence[str]) -> Iterator[str]:
    yield f"trim('[<>]', {text}) in ({_list(values)})"


def _sender(text: str, column: Column, values: Sequence[str]) -> Iterator[str]:
    if column.role == "sender":
        yield f"{_extract(_SENDER, text)} in ({_list(values)})"


_ASKED = {
    "address": ("address", "network"),
    "domain": ("domain",),
    "url": ("url", "domain"),
    "hash": ("hash",),
    "mailbox": ("mailbox", "sender"),
}
_TESTS = {
    "address": _address,
    "network": _network,
    "domain": _domain,
    "url": _url,
    "hash": _exact,
    "mailbox": _mailbox,
    "sender": _sender,
}


def _by_version(values: Sequence[str]) -> tuple[list[str], list[str]]:
    return [each for each in values if ":" not in each], [each for each in values if ":" in each]


def _extract(pattern: str, text: str) -> str:
    return f'extract(@"{pattern}", 1, {text})'


def _list(values: Sequence[str]) -> str:
    """Literals without escapes, a quotation mark doubled."""
    return ", ".join('@"' + re.sub('"', '""', value) + '"' for value in values)
