"""Constants of a query: their one spelling, what they are compared with, and how errors call them.

Source: OData 4.01 ABNF Construction Rules, section "literal"; the leniency is what real clients need.
"""

import re
from collections.abc import Iterable

from bartizan.errors import InvalidQuery
from bartizan.model import times
from bartizan.odata import tree
from bartizan.odata.functions import SIGNATURES, duration
from bartizan.odata.shape import kind_of
from bartizan.odata.tree import Expr, Kind, Literal, Path

MAX_LISTED = 40  # names in an error
NUMBERS: tuple[Kind, ...] = ("int", "real")
TEXTS: tuple[Kind, ...] = ("text", "enum", "guid")
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_CLOCK = re.compile(r"((?:[01]\d|2[0-3]):[0-5]\d)(?::([0-5]\d)(?:\.(\d+))?)?", re.ASCII)
_LONG_FRACTION = re.compile(r"([.,]\d{12})\d+", re.ASCII)
_MAX_TICKS = 2**62  # 146,000 years; sums of some stay within 64 bits on every engine


def comparable(one: Kind | None, other: Kind | None) -> bool:
    if "null" in (one, other) or one == other:
        return True
    return any(one in group and other in group for group in (NUMBERS, TEXTS))


def literal_of(kind: Kind, value: str) -> Literal:
    """A literal by itself, in its one spelling."""
    if kind in ("instant", "date", "time", "duration"):
        return Literal(checked(value, kind), kind)
    if kind == "guid":
        checked(value, kind)  # and kept as it is: a text that it is compared with may be in capitals
    return Literal(value, "text" if kind == "enum" else kind)


def converted(literal: Literal, kind: Kind | None, other: Expr) -> Literal:
    """A literal of text or of a date as the kind that stands on the other side."""
    value = literal.value
    if not isinstance(value, str) or kind in (None, "null", literal.kind):
        return Literal(value.lower(), "guid") if isinstance(value, str) and kind == "guid" else literal
    if kind == "instant" and literal.kind in ("text", "date"):
        return Literal(checked(value, "instant"), "instant")
    if literal.kind == "text" and kind in ("guid", "date", "time", "duration"):
        return Literal(checked(value, kind), kind)
    if literal.kind == "guid" and kind in ("text", "enum"):
        return Literal(value, "text")
    if kind in TEXTS and literal.kind in ("date", "time", "instant"):
        raise InvalidQuery(f"{named(other)} is a text; write its value in quotes: '{value}'.")
    return literal


def hint(one: Expr, other: Expr) -> str:
    if isinstance(other, Literal) and kind_of(one) in TEXTS and other.kind in NUMBERS:
        return f"; write it in quotes: '{other.value}'"
    if isinstance(other, Literal) and kind_of(one) in (*NUMBERS, "bool") and other.kind == "text":
        return "; write it without quotes"
    return ""


def checked(text: str, kind: Kind) -> str | int:
    """The one spelling of a constant of a kind; durations are ticks."""
    try:
        if kind == "instant":
            return times.parse(whole_instant(text.strip()))
        if kind == "date" and _DATE.fullmatch(text):
            return times.parse(f"{text}T00:00")[:10]
    except ValueError as error:
        raise InvalidQuery(f"{error}.") from None
    if kind == "guid" and _GUID.fullmatch(text.lower()):
        return text.lower()
    ticks = duration(text.strip().upper()) if kind == "duration" else None
    if ticks is not None and abs(ticks) < _MAX_TICKS:
        return ticks
    clock = _CLOCK.fullmatch(text) if kind == "time" else None
    if clock is not None:
        return f"{clock[1]}:{clock[2] or '00'}.{(clock[3] or '')[:7].ljust(7, '0')}"
    raise InvalidQuery(f"'{short(text)}' is not a {kind}.")


def whole_instant(text: str) -> str:
    """A date is its first instant; before an offset, a space was a `+` that a client did not escape."""
    if _DATE.fullmatch(text):
        return text + "T00:00:00Z"
    text = text[:10] + text[10:].upper()
    if text[-6:-5] == " " and text[-3:-2] == ":" and len(text) > len("2026-11-23 04:50"):
        text = f"{text[:-6]}+{text[-5:]}"
    return _LONG_FRACTION.sub(r"\1", text)


def short(text: str) -> str:
    return text if len(text) <= 80 else text[:80] + "..."


def named(expr: Expr) -> str:
    """How errors call a part of a query."""
    match expr:
        case Path():
            kind = expr.edm.rpartition(".")[2] if expr.edm else "of no declared type"
            return f"'{short('/'.join(expr.names) or expr.variable or '')}' ({kind})"
        case Literal(str() as value, kind):
            return f"'{short(value)}' ({kind})"
        case Literal(None):
            return "null"
        case Literal(value, kind):
            return f"{str(value).lower() if kind == 'bool' else value} ({kind})"
        case tree.Call(name):
            return f"{name}(...) ({SIGNATURES[name].result})"
        case tree.Arithmetic() | tree.Negative() | tree.Size():
            return f"the value ({kind_of(expr)})"
    return "a condition"


def listed(names: Iterable[str]) -> str:
    each = sorted(names)
    more = f" and {len(each) - MAX_LISTED} more" if len(each) > MAX_LISTED else ""
    return ", ".join(each[:MAX_LISTED]) + more
