"""Working out what is constant, where Kusto needs a constant or an engine is helped by one.

Only what loses nothing: whole numbers wrap around at 64 bits; what leaves the calendar, or becomes a very long text, is
not folded.

Source: Kusto Query Language, "Numerical operators", "Datetime / timespan arithmetic".
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from operator import add, mul, sub
from typing import Any

from bartizan.hunt.plan import Expression, Value

_ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {"+": add, "-": sub, "*": mul}
_WHOLE = ("int", "long")
_LAST_TICK = 3_155_378_975_999_999_999  # of the year 9999
MOST_TEXT = 10_000  # characters of a text that is put together


def fold(name: str, args: Sequence[Expression]) -> Value | None:
    """The constant that a function of constants is; None where it is left to the engine."""
    values = [each for each in args if isinstance(each, Value)]
    if len(values) != len(args) or any(each.value is None for each in values):
        return None
    if name in ("+", "-", "*", "/", "%") and len(values) == 2:
        return _arithmetic(name, values[0], values[1])
    if name == "-" and len(values) == 1:
        return _negative(values[0])
    if name == "strcat" and values and all(each.type == "string" for each in values):
        fits = sum(len(each.value) for each in values) <= MOST_TEXT
        return Value("string", "".join(each.value for each in values)) if fits else None
    if len(values) != 1:
        return None
    if name in ("tolower", "toupper") and values[0].type == "string" and values[0].value.isascii():
        return Value("string", values[0].value.lower() if name == "tolower" else values[0].value.upper())
    if name == "tostring" and values[0].type == "datetime":
        return Value("string", _instant(values[0].value))
    if name in ("todynamic", "parse_json") and values[0].type == "dynamic":
        return values[0] if not isinstance(values[0].value, str) else None
    if name in ("totimespan", "todatetime", "tostring", "tolong", "toreal", "todouble"):
        wanted = {"totimespan": "timespan", "todatetime": "datetime", "tostring": "string", "tolong": "long"}
        return values[0] if values[0].type == wanted.get(name, "real") else None
    return None


def _instant(ticks: int) -> str:
    """An instant as Kusto writes it: with all of its seven digits, which engines need not hold."""
    moment = datetime(1, 1, 1, tzinfo=UTC) + timedelta(microseconds=ticks // 10)
    return f"{moment.replace(tzinfo=None).isoformat(timespec='microseconds')}{ticks % 10}Z"


def wrapped(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63


def _negative(one: Value) -> Value | None:
    if one.type == "int":
        return Value("int", -one.value) if one.value > -(2**31) else None
    if one.type in ("long", "timespan"):
        return Value(one.type, wrapped(-one.value))
    return Value("real", -one.value) if one.type == "real" else None


def _arithmetic(name: str, one: Value, other: Value) -> Value | None:
    types = (one.type, other.type)
    if one.type in _WHOLE and other.type in _WHOLE:
        return _whole(name, one.value, other.value)
    if "real" in types and all(each in (*_WHOLE, "real") for each in types):
        found = _ARITHMETIC.get(name)
        return None if found is None else Value("real", found(float(one.value), float(other.value)))
    if types == ("timespan", "timespan") and name in ("+", "-"):
        return Value("timespan", wrapped(_ARITHMETIC[name](one.value, other.value)))
    if name == "*" and "timespan" in types and any(each in _WHOLE for each in types):
        return Value("timespan", wrapped(one.value * other.value))
    if name == "/" and one.type == "timespan" and other.type in _WHOLE and other.value > 0 <= one.value:
        return Value("timespan", one.value // other.value)
    if types == ("datetime", "timespan") and name in ("+", "-"):
        moved = _ARITHMETIC[name](one.value, other.value)
        return Value("datetime", moved) if 0 <= moved <= _LAST_TICK else None
    if types == ("datetime", "datetime") and name == "-":
        return Value("timespan", one.value - other.value)
    return None


def _whole(name: str, one: int, other: int) -> Value | None:
    if name in _ARITHMETIC:
        return Value("long", wrapped(_ARITHMETIC[name](one, other)))
    if name == "/" and other > 0:
        return Value("long", one // other if one >= 0 else -(-one // other))
    return None
