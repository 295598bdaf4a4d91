"""Times as vendors write them, made wire text: epochs in any unit, Windows ticks, ISO forms, and a few older ones.

Source: MS-DTYP 2.3.3 (FILETIME counts 100 ns since 1601); RFC 5322, section 3.3.
"""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

from bartizan.extend import Record
from bartizan.model.times import TICKS_A_SECOND, from_ticks, instant, parse, to_datetime
from bartizan.sources.fields import Fields, as_number, single

_FILETIME_1970 = 116_444_736_000_000_000  # FILETIME of 1970
_EARLIEST = "1971"  # "1970-01-01" and "1601-01-01" are how vendors write "never"
_LATEST = "9999"
# (below this value, how many 100 ns steps one unit is): seconds reach the year 5138, milliseconds begin in 1973.
_UNITS = ((1e11, TICKS_A_SECOND), (1e14, 10_000), (1.1e17, 10))
_FILETIME_BELOW = 2e17  # the year 2234; nanoseconds begin here, in 1976
_LONGEST_CHARS = 64
_TAKEN_UP = "@timestamp _time timestamp time TimeGenerated publishTime message.publishTime Timestamp".split()
MAX_REMEMBERED = 2_048  # texts: a record says the same time under several names
_FORMS = (
    "%m/%d/%Y %I:%M:%S %p",  # 3/24/2022 2:42:35 PM
    "%m/%d/%Y-%H:%M:%S",  # 03/04/2020-18:25:29.258113
    "%Y %b %d %H:%M:%S",  # 2016 Dec 13 12:00:00
    "%m/%d/%Y %H:%M:%S",
    "%d/%b/%Y:%H:%M:%S",  # 10/Oct/2000:13:55:36 -0700
    "%b %d %Y %H:%M:%S",
    "%b %d %H:%M:%S %Y",
    "%b %d %Y %I:%M:%S %p",
    "%a %b %d %H:%M:%S %Y",
    "%a %b %d %Y %H:%M:%S",
    "%a %b %d %H:%M:%S UTC %Y",
    "%Y/%m/%d %H:%M:%S",
    "%Y.%m.%d %H:%M:%S",  # Zabbix
    "%Y:%m:%d-%H:%M:%S",  # Sophos UTM
    "%d %b %Y %H:%M:%S",
    "%d-%b-%Y %H:%M:%S",  # ESET: 06-May-2024 14:39:17
    "%d/%b/%Y %H:%M:%S",
    "%d %B %Y %H:%M:%S",
    "%d.%m.%Y %H:%M:%S",
    "%Y-%m-%d-%H:%M:%S",
    "%d%b%Y %H:%M:%S",  # Check Point
    "%Y%m%d %H:%M:%S",
    "%m/%d/%y %H:%M",  # 9/16/19 10:00
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%y %I:%M:%S %p",
    "%d/%m/%Y %H:%M:%S",  # a day that can be no month; before the 13th the month is read first
)
# "UTC", "GMT+01:00", "-0700", "+0000 UTC" as Go prints it
_ZONE = re.compile(
    r"\s*(?:\(?(UTC|GMT|Z|CES?T|[ECMP][SD]T)\)?)?\s?(?:([+-])(\d\d):?(\d\d)(?: \(?[A-Z]{1,5}\)?)?)?$", re.ASCII
)
_ONE_DIGIT_HOUR = re.compile(r"(?<=\d[T ])(\d)(?=:\d\d)", re.ASCII)  # 2023-10-26T5:32:08Z
_ZONE_HOURS = {  # RFC 5322, section 4.3, and Central Europe's
    "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "CET": 1, "CEST": 2,
}  # fmt: skip
_DB2 = re.compile(r"(\d{4}-\d\d-\d\d)-(\d\d)\.(\d\d)\.(\d\d)((?:\.\d{1,9})?)", re.ASCII)  # IBM's TIMESTAMP
_ISO = re.compile(  # as most write it: nothing is to be put right before it is read
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,12})?(?:Z|[+-]\d\d:\d\d)?", re.ASCII
)
_COMPACT = re.compile(  # 20260102T030405.678Z, 20260102030405
    r"((?:19|20)\d\d)(0[1-9]|1[0-2])([0-3]\d)T?([01]\d|2[0-3])([0-5]\d)([0-6]\d)(\.\d{1,9})?(Z?)", re.ASCII
)
_WHOLE_HOURS = re.compile(r"(?<=UTC|GMT)([+-])(\d{1,2})$", re.ASCII)  # "UTC+1"
_REGION = re.compile(r"\[[\w/+-]{1,40}\]$", re.ASCII)  # "+01:00[Europe/Paris]", as Java prints it
_HOURS_ALONE = re.compile(r"(?<=\d)([+-]\d\d)$", re.ASCII)  # "03:04:05+00", as PostgreSQL prints it
_ZONE_INSIDE = re.compile(r"(:\d\d) ([A-Z]{3,4}) (\d{4})$", re.ASCII)  # "Fri Jan 02 03:04:05 CET 2026", as date(1) does
_DATE_OF_JSON = re.compile(r"/Date\((-?\d{1,16})(?:[+-]\d{4})?\)/", re.ASCII)  # milliseconds
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_GAP = re.compile(r"(?<=T\d\d:) (?=\d\d:\d\d)", re.ASCII)  # Bitdefender's Exchange events: "2026-03-01T14: 20:37.000Z"
_FRACTION = re.compile(r"(?<=:\d\d)[.,](\d{1,9})(?!\d)", re.ASCII)


# Months as French, Spanish, Italian and German systems shorten them, where English does otherwise.
_MONTHS = {
    "janv": "Jan", "fevr": "Feb", "mars": "Mar", "avr": "Apr", "mai": "May", "juin": "Jun", "juil": "Jul",
    "aout": "Aug", "sept": "Sep", "ene": "Jan", "abr": "Apr", "ago": "Aug", "set": "Sep", "dic": "Dec", "gen": "Jan",
    "mag": "May", "giu": "Jun", "lug": "Jul", "ott": "Oct", "mrz": "Mar", "marz": "Mar", "okt": "Oct", "dez": "Dec",
    "oct": "Oct", "nov": "Nov", "dec": "Dec", "fev": "Feb", "mar": "Mar",
}  # fmt: skip
_MONTH = re.compile(r"(?<![^\W\d_])([^\W\d_]{3,5})\.?(?= )")
_PLAIN = str.maketrans("éèûúäÄ", "eeuuaa")


def when(value: Any) -> str | None:
    """Wire text of a vendor's time; None where it is none, or says "never"."""
    value = single(value)
    if isinstance(value, dict):  # as Protocol Buffers and MongoDB write it in JSON
        value = value.get("seconds", value.get("$date"))
    if isinstance(value, str):
        return _when(value) if 0 < len(value) <= _LONGEST_CHARS else None
    number = as_number(value)
    return None if number is None else _of_number(number, value)


@lru_cache(maxsize=MAX_REMEMBERED)
def _when(value: str) -> str | None:
    text = _parsed(value) if _ISO.fullmatch(value) is not None else None
    if text is not None:
        return text if _EARLIEST < text < _LATEST else None
    compact = _COMPACT.fullmatch(value.strip())
    if compact is not None:
        value = "{}-{}-{}T{}:{}:{}".format(*compact.groups()[:6]) + (compact[7] or "")
    number = as_number(value)
    if number is not None:
        return _of_number(number, value)
    if (said := _DATE_OF_JSON.fullmatch(value.strip())) is not None:
        return when(int(said[1]))
    text = _of_text(value.strip())
    return text if text is not None and _EARLIEST < text < _LATEST else None


def first_time(fields: Fields, *paths: str) -> str | None:
    """Of the first path that holds a time; where none does, of the first that holds a day."""
    days: list[str] = []
    for path in fields.leading(paths):
        value = fields.raw(path)
        text = when(value)
        if text is not None:
            return text
        if isinstance(value, str) and _DAY.fullmatch(value):
            days.append(value)
    return next((text for day in days if (text := when(f"{day}T00:00:00Z")) is not None), None)


def carried(record: Record) -> str | None:
    """When a collector took up a record, as the JSON says that it put around; None of a record that came bare.

    A line's own header may have no year, as that of RFC 3164, or no time at all. Then this is nearest to when it was.
    """
    return first_time(Fields(record.data), *_TAKEN_UP) if isinstance(record.data, dict) else None


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


def _parsed(text: str) -> str | None:
    try:
        return parse(text)
    except (ValueError, OverflowError):
        return None


def _of_text(text: str) -> str | None:
    text = _GAP.sub("", text)
    text = _DB2.sub(r"\1 \2:\3:\4\5", _ONE_DIGIT_HOUR.sub(r"0\1", text, count=1))
    text = _WHOLE_HOURS.sub(lambda zone: f"{zone[1]}{zone[2]:0>2}:00", text)
    text = _ZONE_INSIDE.sub(r"\1 \3 \2", _HOURS_ALONE.sub(r"\1:00", _REGION.sub("", text)))
    if (read := _parsed(text)) is not None:
        return read
    plain, offset = _without_zone(" ".join(text.split()))
    fraction = _FRACTION.search(plain)
    if fraction is not None:
        plain = plain[: fraction.start()] + plain[fraction.end() :]
    try:
        return _moved(parse(plain), fraction, offset)
    except (ValueError, OverflowError):
        pass
    bare = _MONTH.sub(_in_english, plain.replace(" @ ", " ").replace(",", ""), count=2)
    for form in _FORMS:
        try:
            at = datetime.strptime(bare, form).replace(tzinfo=UTC)
        except ValueError:
            continue
        try:
            return _moved(instant(at), fraction, offset)
        except (ValueError, OverflowError):
            return None
    if "," not in plain:
        return None
    try:
        at = parsedate_to_datetime(" ".join(text.split()))
        return instant(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _in_english(month: re.Match[str]) -> str:
    return _MONTHS.get(month[1].lower().translate(_PLAIN), month[0])


def _without_zone(text: str) -> tuple[str, timedelta]:
    """The text before a zone at its end, and how far that is east of UTC; no zone means UTC."""
    match = _ZONE.search(text)
    if match is None:
        return text, timedelta()
    offset = timedelta(hours=_ZONE_HOURS.get(match[1] or "", 0))
    if match[2]:
        offset += (1 if match[2] == "+" else -1) * timedelta(hours=int(match[3]), minutes=int(match[4]))
    return text[: match.start()], offset


def _moved(text: str, fraction: re.Match[str] | None, offset: timedelta) -> str:
    """A wire text with its fraction, from local time to UTC."""
    if fraction is not None:
        text = f"{text[:20]}{fraction[1][:7].ljust(7, '0')}Z"
    if not offset:
        return text
    at = to_datetime(text) - offset
    return f"{instant(at)[:20]}{text[20:]}"
