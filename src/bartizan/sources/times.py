"""Times as vendors write them, made wire text: epochs in any unit, Windows ticks, ISO forms, and a few older ones.

Source: MS-DTYP 2.3.3 (FILETIME counts 100 ns since 1601); RFC 5322, section 3.3.
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from bartizan.model.times import TICKS_A_SECOND, from_ticks, instant, parse
from bartizan.sources.fields import Fields, as_number

_FILETIME_1970 = 116_444_736_000_000_000  # FILETIME of 1970
_EARLIEST = "1971"  # "1970-01-01" and "1601-01-01" are how vendors write "never"
_LATEST = "9999"
# (below this value, how many 100 ns steps one unit is): seconds reach the year 5138, milliseconds begin in 1973.
_UNITS = ((1e11, TICKS_A_SECOND), (1e14, 10_000), (1.1e17, 10))
_FILETIME_BELOW = 2e17  # the year 2234; nanoseconds begin here, in 1976
_LONGEST_CHARS = 64
_FORMS = (
    "%m/%d/%Y %I:%M:%S %p",  # 3/24/2022 2:42:35 PM
    "%m/%d/%Y-%H:%M:%S.%f",  # 03/04/2020-18:25:29.258113
    "%Y %b %d %H:%M:%S",  # 2016 Dec 13 12:00:00
    "%m/%d/%Y %H:%M:%S",
    "%d/%b/%Y:%H:%M:%S %z",  # 10/Oct/2000:13:55:36 -0700
    "%b %d %Y %H:%M:%S",
    "%a %b %d %H:%M:%S %Y",
    "%a %b %d %H:%M:%S UTC %Y",
    "%d-%b-%Y %H:%M:%S",  # 06-May-2024 14:39:17
)
_ZONE_WORD = re.compile(r"\s*(?:\((?:UTC|GMT)\)|(?:UTC|GMT)(?:[+-]00:?00)?)$")


# 2025-02-15 14:59:03.2 +0000 UTC, as Go prints a time.
_GO = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d(?:\.\d{1,9})?) ([+-]\d\d)(\d\d) [A-Z]{1,5}")


def when(value: Any) -> str | None:
    """Wire text of a vendor's time; None where it is none, or says "never"."""
    number = as_number(value)
    if number is not None:
        return _of_number(number, value)
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_CHARS:
        text = _of_text(value.strip())
        return text if text is not None and _EARLIEST < text < _LATEST else None
    return None


def first_time(fields: Fields, *paths: str) -> str | None:
    """Of the first path that holds a time."""
    return next((text for path in paths if (text := when(fields.raw(path))) is not None), None)


def _of_number(number: float, value: Any) -> str | None:
    exact = value if isinstance(value, int) else None
    if exact is None and isinstance(value, str) and value.strip().isdecimal():
        exact = int(value)
    for below, ticks_a_unit in _UNITS:
        if number < below:
            ticks = exact * ticks_a_unit if exact is not None else round(number * ticks_a_unit)
            break
    else:
        whole = exact if exact is not None else int(number)
        ticks = whole - _FILETIME_1970 if number < _FILETIME_BELOW else whole // 100
    if ticks <= 365 * 86_400 * TICKS_A_SECOND:
        return None
    try:
        text = from_ticks(ticks)
    except (OverflowError, ValueError):
        return None
    return text if text < _LATEST else None


def _of_text(text: str) -> str | None:
    try:
        return parse(_ZONE_WORD.sub("Z", text))
    except (ValueError, OverflowError):
        pass
    plain = " ".join(text.split())
    if (go := _GO.fullmatch(plain)) is not None:
        return _of_text(f"{go[1]}T{go[2]}{go[3]}:{go[4]}")
    for form in _FORMS:
        try:
            at = datetime.strptime(plain, form)  # noqa: DTZ007 - the zone is set below
        except ValueError:
            continue
        try:
            return instant(at if at.tzinfo else at.replace(tzinfo=UTC))
        except (ValueError, OverflowError):
            return None
    if "," not in plain:
        return None
    try:
        at = parsedate_to_datetime(plain)
        return instant(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
