"""The functions of `$filter` on scalars, and their signatures: the evaluator runs them, and SQLite calls them.

Given None they return None, and they never raise on scalars of the declared kinds.

Source: OData 4.01 Part 2 (URL Conventions), sections 5.1.1.2 to 5.1.1.11.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from functools import partial
from itertools import accumulate, pairwise
from typing import Any
from unicodedata import category

from msgspec import Struct

from bartizan.model import times
from bartizan.odata.tree import ArithmeticOp, Kind

WORD_EDGE = "\x01"  # marks where a word begins inside letters and digits
SPACES = " \t\n\r\f\v"
FIRST_INSTANT = "0001-01-01T00:00:00.0000000Z"
LAST_INSTANT = "9999-12-31T23:59:59.9999999Z"
LARGEST = 1e150  # operands of arithmetic: no product or quotient of two such leaves the doubles
SMALLEST = 1e-150

TEXTS: frozenset[Kind] = frozenset({"text", "guid", "enum"})
NUMBERS: frozenset[Kind] = frozenset({"int", "real"})
_INSTANTS: frozenset[Kind] = frozenset({"instant"})
_DATES: frozenset[Kind] = frozenset({"instant", "date"})
_TIMES: frozenset[Kind] = frozenset({"instant", "time"})
_INTS: frozenset[Kind] = frozenset({"int"})

_FIRST_TICKS = -621_355_968_000_000_000  # of FIRST_INSTANT
_LAST_TICKS = 2_534_023_007_999_999_999
_WIRE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(r"\d\d:\d\d:\d\d\.\d{7}", re.ASCII)
_DURATION = re.compile(
    r"(-?)P(?=.)(?:(\d{1,9})D)?(?:T(?=.)(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,9})(?:\.(\d{1,12}))?S)?)?", re.ASCII
)


class Signature(Struct, frozen=True):
    """Kinds that each argument may have; the first `required` must be there. `result` is the kind that comes out."""

    arguments: tuple[frozenset[Kind], ...]
    required: int
    result: Kind


def _signature(result: Kind, *arguments: frozenset[Kind], optional: int = 0) -> Signature:
    return Signature(arguments, len(arguments) - optional, result)


SIGNATURES: Mapping[str, Signature] = {
    "contains": _signature("bool", TEXTS, TEXTS),
    "startswith": _signature("bool", TEXTS, TEXTS),
    "endswith": _signature("bool", TEXTS, TEXTS),
    "indexof": _signature("int", TEXTS, TEXTS),
    "length": _signature("int", TEXTS),
    "substring": _signature("text", TEXTS, _INTS, _INTS, optional=1),
    "tolower": _signature("text", TEXTS),
    "toupper": _signature("text", TEXTS),
    "trim": _signature("text", TEXTS),
    "concat": _signature("text", TEXTS, TEXTS),
    "year": _signature("int", _DATES),
    "month": _signature("int", _DATES),
    "day": _signature("int", _DATES),
    "hour": _signature("int", _TIMES),
    "minute": _signature("int", _TIMES),
    "second": _signature("int", _TIMES),
    "fractionalseconds": _signature("real", _TIMES),
    "date": _signature("date", _INSTANTS),
    "time": _signature("time", _INSTANTS),
    "totaloffsetminutes": _signature("int", _INSTANTS),
    "now": _signature("instant"),
    "mindatetime": _signature("instant"),
    "maxdatetime": _signature("instant"),
    "round": _signature("real", NUMBERS),
    "floor": _signature("real", NUMBERS),
    "ceiling": _signature("real", NUMBERS),
}

Scalar = str | int | float | bool | None


def utc_now() -> str:
    return times.instant(datetime.now(UTC))


# ---------------------------------------------------------------- text


def lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def upper(text: str | None) -> str | None:
    return None if text is None else text.upper()


def ends(text: str | None, end: str | None) -> bool | None:
    return None if text is None or end is None else text.endswith(end)


def cut(text: str | None, start: float | None, length: float | None) -> str | None:
    if text is None or start is None or length is None:
        return None
    first = _clamped(start)
    return text[first : first + _clamped(length)]


def _clamped(number: float) -> int:
    return int(min(max(number, 0), 10**9))


def word_starts(text: str | None, prefix: str) -> bool:
    """Whether `prefix`, which is in lower case, stands where a word begins."""
    if text is None or WORD_EDGE in prefix:
        return False
    pieces = _marked(text).lower().split(WORD_EDGE)
    low, edges = "".join(pieces), set(accumulate(map(len, pieces)))
    at = low.find(prefix)
    while at > 0:
        if at in edges or not _wordly(low[at - 1]):
            return True
        at = low.find(prefix, at + 1)
    return at == 0


def _marked(text: str) -> str:
    """With WORD_EDGE where the case rises (contosoAdmin) and between letters and digits (admin1)."""
    parts = [text[:1]]
    for before, char in pairwise(text):
        rises = category(before) == "Ll" and category(char) == "Lu"
        if rises or (before.isalpha() and char.isdecimal()) or (before.isdecimal() and char.isalpha()):
            parts.append(WORD_EDGE)
        parts.append(char)
    return "".join(parts)


def _wordly(char: str) -> bool:
    """Letters and decimal digits: [[:alnum:]] as PostgreSQL with ICU has it."""
    return char.isalpha() or char.isdecimal()


# ---------------------------------------------------------------- numbers


def arithmetic(op: ArithmeticOp, whole: bool, left: float | None, right: float | None) -> float | None:
    """`whole`: both operands are of whole kinds, so that div is cut to a whole number."""
    if left is None or right is None or not _bearable(left) or not _bearable(right):
        return None
    a, b = float(left), float(right)
    if op == "add":
        return a + b
    if op == "sub":
        return a - b
    if op == "mul":
        return a * b
    if b == 0:
        return None
    if op == "mod":
        with localcontext() as context:
            context.prec = 400
            return float(Decimal(repr(a)) % Decimal(repr(b)))
    quotient = a / b
    return float(math.trunc(quotient)) if whole and op == "div" else quotient


def _bearable(number: float) -> bool:
    return number == 0 or SMALLEST <= abs(number) <= LARGEST


def rounded(name: str, number: float | None) -> float | None:
    if number is None or isinstance(number, int):
        return number
    if abs(number) >= 2**53:
        return number
    if name == "floor":
        return float(math.floor(number))
    if name == "ceiling":
        return float(math.ceil(number))
    return float(Decimal(repr(number)).to_integral_value(ROUND_HALF_UP))


# ---------------------------------------------------------------- time


def part(name: str, text: str | None) -> float | str | None:
    """year, month, day, hour, minute, second, fractionalseconds, date, time, totaloffsetminutes of a wire form."""
    if text is None:
        return None
    if _WIRE.fullmatch(text):
        day, clock = text[:10], text[11:27]
    elif _DATE.fullmatch(text):
        day, clock = text, None
    elif _TIME.fullmatch(text):
        day, clock = None, text
    else:
        return None
    if name in _DAY_PARTS:
        return None if day is None else int(day[_DAY_PARTS[name]])
    if name in _CLOCK_PARTS:
        return None if clock is None else int(clock[_CLOCK_PARTS[name]])
    if name == "fractionalseconds":
        return None if clock is None else int(clock[9:]) / 10**7
    if day is None or clock is None:
        return None
    return day if name == "date" else clock if name == "time" else 0


_DAY_PARTS = {"year": slice(0, 4), "month": slice(5, 7), "day": slice(8, 10)}
_CLOCK_PARTS = {"hour": slice(0, 2), "minute": slice(3, 5), "second": slice(6, 8)}


def ticks(text: str | None) -> int | None:
    """100 ns steps since 1970 of a wire instant; None where it is none."""
    if text is None or _WIRE.fullmatch(text) is None:
        return None
    try:
        whole = datetime.fromisoformat(text[:19] + "+00:00")
    except ValueError:
        return None
    return times.ticks(whole) + int(text[20:27])


def shifted(text: str | None, by: int | None) -> str | None:
    """An instant plus a duration; None outside the years 1 to 9999."""
    at = ticks(text)
    if at is None or by is None or not _FIRST_TICKS <= at + by <= _LAST_TICKS:
        return None
    return times.from_ticks(at + by)


def span(later: str | None, earlier: str | None) -> int | None:
    """A duration between two instants, in ticks."""
    a, b = ticks(later), ticks(earlier)
    return None if a is None or b is None else a - b


def duration(text: str | None) -> int | None:
    """Ticks of an ISO 8601 duration of days and less; None where it is none. Digits beyond the seventh are cut."""
    match = None if text is None else _DURATION.fullmatch(text)
    if match is None:
        return None
    days, hours, minutes, seconds = (int(match[i] or 0) for i in range(2, 6))
    whole = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    value = whole * times.TICKS_A_SECOND + int((match[6] or "0")[:7].ljust(7, "0"))
    return -value if match[1] else value


# ---------------------------------------------------------------- calls

CALLS: Mapping[str, Callable[..., Any]] = {
    "contains": lambda text, piece: None if text is None or piece is None else piece in text,
    "startswith": lambda text, start: None if text is None or start is None else text.startswith(start),
    "endswith": ends,
    "indexof": lambda text, piece: None if text is None or piece is None else text.find(piece),
    "length": lambda text: None if text is None else len(text),
    "substring": lambda text, start, length=10**9: cut(text, start, length),
    "tolower": lower,
    "toupper": upper,
    "trim": lambda text: None if text is None else text.strip(SPACES),
    "concat": lambda left, right: None if left is None or right is None else left + right,
    "mindatetime": lambda: FIRST_INSTANT,
    "maxdatetime": lambda: LAST_INSTANT,
    "round": lambda number: rounded("round", number),
    "floor": lambda number: rounded("floor", number),
    "ceiling": lambda number: rounded("ceiling", number),
    **{name: partial(part, name) for name in (*_DAY_PARTS, *_CLOCK_PARTS, "fractionalseconds", "date", "time")},
    "totaloffsetminutes": partial(part, "totaloffsetminutes"),
}
