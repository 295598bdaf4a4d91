"""What literals are worth: token texts to the values that `tree.Constant` holds.

Timespans and datetimes are counted in ticks of 100 ns, datetimes since 0001-01-01. Each function raises ValueError
with a reason when the text is no such value; None is the null of the type.

Source: Kusto Query Language, "Scalar data types" (bool, datetime, decimal, guid, int, long, real, timespan).
"""

import re
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal, InvalidOperation
from functools import cache

from bartizan.hunt.lexer import string_value

TICKS_S = 10_000_000
TICKS_DAY = 86_400 * TICKS_S
_LONG_END = 2**63
_INT_END = 2**31

_UNIT_TICKS: dict[str, int | Decimal] = {
    "d": TICKS_DAY,
    "h": 3600 * TICKS_S,
    "m": 60 * TICKS_S,
    "s": TICKS_S,
    "ms": TICKS_S // 1000,
    "micro": 10,
    "nano": Decimal("0.01"),
    "tick": 1,
}
_NUMBER_UNIT = re.compile(r"([0-9]+(?:\.[0-9]*)?)\s*([a-z]+)", re.ASCII)
_CLOCK = re.compile(
    r"(?:([0-9]+)\.)?([0-9]{1,2}):([0-9]{1,2})(?::([0-9]{1,2})(?:\.([0-9]{1,7})[0-9]*)?)?|([0-9]+(?:\.[0-9]+)?)",
    re.ASCII,
)


def inner(text: str) -> str:
    """The part in brackets of `type(part)`, its quotes taken off."""
    part = text[text.index("(") + 1 : -1].strip()
    if len(part) >= 2 and part[0] in "\"'" and part[-1] == part[0]:
        return string_value(part).strip()
    return part


def _cut(text: str) -> str:
    """As much of it as a message holds."""
    return text if len(text) <= 40 else f"{text[:37]}..."


def long_value(text: str) -> int | None:
    return _whole(text, _LONG_END, "long")


def int_value(text: str) -> int | None:
    return _whole(text, _INT_END, "int")


def _whole(text: str, end: int, kind: str) -> int | None:
    part = inner(text) if text[-1] == ")" else text
    if part == "null":
        return None
    sign = -1 if part.startswith("-") else 1
    digits = part[1:].lstrip() if part[:1] in ("-", "+") else part
    if re.fullmatch(r"0[xX][0-9a-fA-F]+", digits):
        value = sign * int(digits, 16)
    elif re.fullmatch(r"[0-9]{1,30}", digits):
        value = sign * int(digits)
    else:
        raise ValueError(f"'{_cut(part)}' is no {kind}")
    if not -end <= value < end:
        raise ValueError(f"{_cut(part)} does not fit in a {kind}")
    return value


def real_value(text: str) -> float | None:
    part = inner(text) if text[-1] == ")" else text
    if part == "null":
        return None
    special = {"nan": "nan", "inf": "inf", "+inf": "inf", "-inf": "-inf"}.get(part.lower())
    if special is None and not re.fullmatch(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?", part):
        raise ValueError(f"'{_cut(part)}' is no real")
    return float(special or part)


def decimal_value(text: str) -> str | None:
    """Digits, as a decimal has more of them than a float keeps."""
    part = inner(text)
    if part == "null":
        return None
    try:
        value = Decimal(part)
    except InvalidOperation:
        raise ValueError(f"'{_cut(part)}' is no decimal") from None
    if not value.is_finite() or not -400 < value.adjusted() < 400:
        raise ValueError(f"'{_cut(part)}' is no decimal")
    return format(value, "f")


def bool_value(text: str) -> bool | None:
    part = (inner(text) if text[-1] == ")" else text).lower()
    if part not in ("true", "false", "null", "1", "0"):
        raise ValueError(f"'{_cut(part)}' is no bool")
    return None if part == "null" else part in ("true", "1")


def guid_value(text: str) -> str | None:
    part = inner(text)
    if part.lower() == "null":
        return None
    digits = part.strip("{}()").replace("-", "").lower()
    if not re.fullmatch(r"[0-9a-f]{32}", digits):
        raise ValueError(f"'{_cut(part)}' is no guid")
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def _unit(word: str) -> int | Decimal | None:
    if word in ("m", "min", "minute", "minutes"):
        return _UNIT_TICKS["m"]
    for start in ("tick", "nano", "micro", "milli"):
        if word.startswith(start):
            return _UNIT_TICKS["ms" if start == "milli" else start]
    return _UNIT_TICKS.get(word) or _UNIT_TICKS.get(word[0])


def timespan_value(text: str) -> int | None:
    """Ticks of `1.5h`, `timespan(1.02:03:04.5)`, `time(2 days)`, `timespan(3)` (days)."""
    part = inner(text) if text[-1] == ")" else text
    if part == "null":
        return None
    sign = -1 if part.startswith("-") else 1
    rest = part[1:].lstrip() if part[:1] in ("-", "+") else part
    ticks = _ticks(rest)
    if ticks is None:
        raise ValueError(f"'{_cut(part)}' is no timespan")
    if not -_LONG_END <= sign * ticks < _LONG_END:
        raise ValueError(f"{_cut(part)} does not fit in a timespan")
    return sign * ticks


def _ticks(text: str) -> int | None:
    named = _NUMBER_UNIT.fullmatch(text)
    if named:
        unit = _unit(named[2])
        return None if unit is None else int(Decimal(named[1]) * unit)
    clock = _CLOCK.fullmatch(text)
    if clock is None:
        return None
    days, hours, minutes, seconds, fraction, whole = clock.groups()
    if whole is not None:
        return int(Decimal(whole) * TICKS_DAY)
    if int(hours) > 23 or int(minutes) > 59 or int(seconds or 0) > 59:
        return None
    clock_s = int(hours) * 3600 + int(minutes) * 60 + int(seconds or 0)
    return int(days or 0) * TICKS_DAY + clock_s * TICKS_S + int((fraction or "0").ljust(7, "0"))


_MONTHS = {name: index for index, name in enumerate("jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}
_ZONE = r"\s*(?P<zone>Z|UTC|GMT|[+-][0-9]{1,2}(?::?[0-9]{2})?)?"
_TIME = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{1,2})(?::(?P<second>[0-9]{1,2})(?:[.,:](?P<fraction>[0-9]+))?)?"
    r"\s*(?P<half>AM|PM)?" + _ZONE
)
_DATES = [
    r"(?P<year>[0-9]{4})(?:[-/.](?P<month>[0-9]{1,2})(?:[-/.](?P<day>[0-9]{1,2}))?)?",
    r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})",
    r"(?P<month>[0-9]{1,2})[-/.](?P<day>[0-9]{1,2})[-/.](?P<year>[0-9]{4})",
    r"(?:[a-z]{3,9},?\s*)?(?P<day>[0-9]{1,2})[-\s](?P<word>[a-z]{3,9})[-\s](?P<year>[0-9]{4}|[0-9]{2})",
    r"(?:[a-z]{3,9},?\s*)?(?P<word>[a-z]{3,9})\s(?P<day>[0-9]{1,2}),?\s(?P<year>[0-9]{4})(?:\s+at)?",
]


@cache
def _datetimes() -> list[re.Pattern[str]]:
    """Compiled when the first datetime comes: imports stay quick."""
    return [re.compile(rf"{form}(?:(?:T|[\s,]+){_TIME})?Z?", re.IGNORECASE | re.ASCII) for form in _DATES]


def datetime_value(text: str) -> int | None:
    """Ticks since 0001-01-01 in UTC of a date, with or without time and zone, in ISO 8601, RFC 822, RFC 850 or
    American order."""
    part = inner(text)
    if part == "null":
        return None
    if part in ("min", "max"):
        raise ValueError(f"'{_cut(part)}' is no datetime")
    for form in _datetimes():
        found = form.fullmatch(part)
        if found:
            return _instant(found.groupdict(), part)
    raise ValueError(f"'{_cut(part)}' is no datetime")


def _instant(parts: "dict[str, str | None]", text: str) -> int:
    year = int(parts["year"] or 0)
    if len(parts["year"] or "") == 2:
        year += 2000 if year < 50 else 1900
    word = parts.get("word")
    month = _MONTHS.get(word[:3].lower(), 0) if word else int(parts.get("month") or 1)
    try:
        days = date(year, month, int(parts.get("day") or 1)).toordinal() - 1
    except ValueError as error:
        raise ValueError(f"'{_cut(text)}' is no datetime: {error}") from None
    hour, minute, second = (int(parts[name] or 0) for name in ("hour", "minute", "second"))
    half = (parts["half"] or "").upper()
    if half:
        hour = hour % 12 + (12 if half == "PM" else 0)
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"'{_cut(text)}' is no datetime: {hour}:{minute}:{second} is no time of a day")
    ticks = days * TICKS_DAY + (hour * 3600 + minute * 60 + second) * TICKS_S
    ticks += int((parts["fraction"] or "0")[:7].ljust(7, "0")) - _offset(parts["zone"] or "")
    if not 0 <= ticks < (date.max.toordinal()) * TICKS_DAY:
        raise ValueError(f"'{_cut(text)}' is no datetime: out of range")
    return ticks


def _offset(zone: str) -> int:
    if zone[:1] not in ("+", "-"):
        return 0
    digits = zone[1:].replace(":", "")
    minutes = int(digits[:2]) * 60 + int(digits[2:] or 0) if len(digits) != 3 else int(digits[0]) * 60 + int(digits[1:])
    return (-1 if zone[0] == "-" else 1) * minutes * 60 * TICKS_S


def iso(ticks: int) -> str:
    """A datetime as Kusto writes it in a dynamic value: `2020-01-01T10:00:00.0000000Z`."""
    days, rest = divmod(ticks, TICKS_DAY)
    clock, fraction = divmod(rest, TICKS_S)
    return f"{(date.min + timedelta(days=days)).isoformat()}T{_clock(clock)}.{fraction:07d}Z"


def span(ticks: int) -> str:
    """A timespan as Kusto writes it: `1.02:03:04.5000000`."""
    days, rest = divmod(abs(ticks), TICKS_DAY)
    clock, fraction = divmod(rest, TICKS_S)
    sign, day = "-" if ticks < 0 else "", f"{days}." if days else ""
    return f"{sign}{day}{_clock(clock)}{f'.{fraction:07d}' if fraction else ''}"


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


VALUES: "dict[str, tuple[str, Callable[[str], object]]]" = {
    "BOOL": ("bool", bool_value),
    "DATETIME": ("datetime", datetime_value),
    "DECIMAL": ("decimal", decimal_value),
    "GUID": ("guid", guid_value),
    "INT": ("int", int_value),
    "LONG": ("long", long_value),
    "REAL": ("real", real_value),
    "TIMESPAN": ("timespan", timespan_value),
}
