"""One value made one of a Kusto type, leniently: MISFIT where that would lose something.

Source: Kusto scalar data types (literals and conversions of bool, datetime, guid, int, long, real, timespan).
"""

import json
import math
import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from bartizan.lake.plain import encode, json_text, plain, text
from bartizan.lake.tables import KustoType
from bartizan.model.times import TICKS_A_SECOND, from_ticks, parse


class _Misfit:
    def __repr__(self) -> str:
        return "MISFIT"


MISFIT: Final = _Misfit()
EXACT_DIGITS = 17  # that a double keeps

_INT = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_HEX = re.compile(r"0[xX][0-9a-fA-F]{1,16}", re.ASCII)
_REAL = re.compile(r"[+-]?(\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,3})?", re.ASCII)
_GUID = re.compile(r"\{?([0-9a-fA-F]{8})-?([0-9a-fA-F]{4})-?([0-9a-fA-F]{4})-?([0-9a-fA-F]{4})-?([0-9a-fA-F]{12})\}?")
_WIRE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EPOCH = re.compile(r"\d{9,19}(?:\.\d{1,9})?", re.ASCII)
_CLOCK = re.compile(r"(-?)(?:(\d{1,8})\.)?(\d{1,2}):(\d\d)(?::(\d\d)(?:\.(\d{1,7}))?)?", re.ASCII)
_LITERAL = re.compile(r"(-?)(\d{1,12}(?:\.\d{1,9})?)\s*(d|h|m|s|ms|microseconds?|ticks?)", re.ASCII)
_ISO = re.compile(
    r"(-?)P(?:(\d{1,8})D)?(?:T(?:(\d{1,9})H)?(?:(\d{1,9})M)?(?:(\d{1,12}(?:\.\d{1,7})?)S)?)?(?<![PT])", re.ASCII
)
_TICKS = {
    "d": 86_400 * TICKS_A_SECOND,
    "h": 3_600 * TICKS_A_SECOND,
    "m": 60 * TICKS_A_SECOND,
    "s": TICKS_A_SECOND,
    "ms": 10_000,
    "microsecond": 10,
    "tick": 1,
}
_MAX_TICKS = 2**63 - 1
_TRUTH = {"true": True, "1": True, "false": False, "0": False}
# A number in a datetime column counts from 1970; its size tells the unit, from 1973 on.
_UNITS = ((10**8, 10**11, 10**7), (10**11, 10**14, 10**4), (10**14, 10**17, 10))
_NANOSECONDS = (10**17, 10**19)


def _string(value: Any) -> Any:
    if isinstance(value, str):
        return value if value.isascii() else text(value)
    return json_text(value)


def _int(value: Any) -> Any:
    if type(value) is int and -(2**31) <= value < 2**31:
        return value
    return _whole(value, 32)


def _long(value: Any) -> Any:
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    return _whole(value, 64)


def _whole(value: Any, bits: int) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= 2**53:
        value = int(value)
    elif isinstance(value, str):
        stripped = value.strip()
        if _INT.fullmatch(stripped):
            value = int(stripped)
        elif _HEX.fullmatch(stripped):
            value = int(stripped, 16)
    if not isinstance(value, int) or not -(2 ** (bits - 1)) <= value < 2 ** (bits - 1):
        return MISFIT
    return int(value)


def _real(value: Any) -> Any:
    if isinstance(value, bool):
        return MISFIT
    if isinstance(value, int):
        return float(value) if abs(value) <= 2**53 else MISFIT
    if isinstance(value, float):
        return value if math.isfinite(value) else MISFIT
    if not isinstance(value, str) or not (match := _REAL.fullmatch(value.strip())):
        return MISFIT
    made = float(match[0])
    digits = match[1].replace(".", "").strip("0")
    if not math.isfinite(made) or len(digits) > EXACT_DIGITS or (made == 0.0) != (not digits):
        return MISFIT
    return made


def _bool(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return bool(value) if value in (0, 1) else MISFIT
    return _TRUTH.get(value.strip().lower(), MISFIT) if isinstance(value, str) else MISFIT


def _guid(value: Any) -> Any:
    match = _GUID.fullmatch(value.strip()) if isinstance(value, str) else None
    return "-".join(match.groups()).lower() if match else MISFIT


def _datetime(value: Any) -> Any:
    if isinstance(value, str):
        if _WIRE.fullmatch(value):
            try:
                datetime.fromisoformat(value)
            except ValueError:
                pass  # no such day; or second 60, which the parser knows
            else:
                return value
        stripped = value.strip()
        if _EPOCH.fullmatch(stripped):
            return _since_1970(Decimal(stripped))
        try:
            return parse(stripped + "T00:00:00Z" if _DATE.fullmatch(stripped) else stripped)
        except ValueError:
            return MISFIT
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _NANOSECONDS[1]:
        return _since_1970(Decimal(str(value)))
    return MISFIT


def _since_1970(number: Decimal) -> Any:
    """Digits below 100 ns are cut, as everywhere on the wire."""
    for low, high, ticks in _UNITS:
        if low <= number < high:
            return from_ticks(int(number * ticks))
    return from_ticks(int(number) // 100) if _NANOSECONDS[0] <= number < _NANOSECONDS[1] else MISFIT


def _timespan(value: Any) -> Any:
    """Kusto's own form, [-][d.]hh:mm:ss[.fffffff], from that, from a literal such as 1.5h, and from ISO 8601."""
    if not isinstance(value, str):
        return MISFIT
    stripped = value.strip()
    if match := _CLOCK.fullmatch(stripped):
        sign, days, hours, minutes, seconds, fraction = match.groups(default="0")
        if int(hours) > 23 or int(minutes) > 59 or int(seconds) > 59:
            return MISFIT
        parts = [(days, "d"), (hours, "h"), (minutes, "m"), (f"{seconds}.{fraction}", "s")]
    elif match := _LITERAL.fullmatch(stripped):
        sign, parts = match[1], [(match[2], match[3].rstrip("s") if len(match[3]) > 2 else match[3])]
    elif match := _ISO.fullmatch(stripped):
        sign, *amounts = match.groups(default="0")
        parts = list(zip(amounts, "dhms", strict=True))
    else:
        return MISFIT
    ticks = sum(Decimal(amount) * _TICKS[unit] for amount, unit in parts)
    if ticks != int(ticks) or ticks > _MAX_TICKS:
        return MISFIT
    return span_text(int(ticks), negative=sign == "-")


def span_text(ticks: int, *, negative: bool) -> str:
    """Kusto's own form, [-][d.]hh:mm:ss[.fffffff], of a number of 100 ns that is not negative."""
    seconds, fraction = divmod(ticks, TICKS_A_SECOND)
    days, seconds = divmod(seconds, 86_400)
    clock = f"{seconds // 3_600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    sign = "-" if negative and ticks else ""
    return f"{sign}{f'{days}.' if days else ''}{clock}{f'.{fraction:07}' if fraction else ''}"


def _dynamic(value: Any) -> Any:
    """JSON in a text becomes what it says, as at Kusto's ingestion, unless that would lose something."""
    if isinstance(value, str) and value[:1] in ("{", "[") and value[-1:] in ("}", "]"):
        parsed = _parsed(value)
        return plain(value if parsed is MISFIT else parsed)
    return plain(value)


def _parsed(value: str) -> Any:
    try:
        made = msgspec.json.decode(value)
        if encode(made) == value.encode():
            return made
        return json.loads(value, object_pairs_hook=_object, parse_float=_number, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # no JSON, or JSON that only its text holds whole
        return MISFIT


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a name twice")
    return made


def _number(digits: str) -> float:
    made = _real(digits)
    if made is MISFIT:
        raise ValueError("more digits than a double keeps")
    return float(made)


def _no_constant(name: str) -> Any:
    raise ValueError(name)


OF: dict[KustoType, Callable[[Any], Any]] = {
    "bool": _bool,
    "datetime": _datetime,
    "dynamic": _dynamic,
    "guid": _guid,
    "int": _int,
    "long": _long,
    "real": _real,
    "string": _string,
    "timespan": _timespan,
}
