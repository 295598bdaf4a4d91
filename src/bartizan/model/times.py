"""Instants on the wire: UTC, seven fraction digits, one width, so that text order is time order.

Source: Edm.DateTimeOffset in OData 4.01 ABNF; the width is what Microsoft Graph's identity sets show, and clients
compare such texts.
"""

import contextlib
import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

TICKS_A_SECOND = 10_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PATTERN = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,12}))?)?\s*(Z|z|[+-]\d\d:?\d\d)?", re.ASCII
)
_MOST_OFFSET_HOURS = 23  # the clocks of places reach 14; RFC 3339 allows as much as an hour of a day has
_PLAIN = re.compile(  # what most write, which Python reads as it is
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:[0-5]\d(?:\.\d{1,6})?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)", re.ASCII
)
_WIRE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z", re.ASCII)


def ticks(at: datetime) -> int:
    """100 ns steps since 1970; a naive datetime is an error."""
    if at.tzinfo is None:
        raise ValueError("a naive datetime has no place here")
    delta = at - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * TICKS_A_SECOND + delta.microseconds * 10


def from_ticks(value: int) -> str:
    seconds, fraction = divmod(value, TICKS_A_SECOND)
    return f"{_second(seconds)}.{fraction:07d}Z"


@lru_cache(maxsize=256)  # what is stamped one after another is of one second
def _second(seconds: int) -> str:
    return (_EPOCH + timedelta(seconds=seconds)).isoformat()[:19]


def instant(at: datetime) -> str:
    """The wire form of an aware datetime."""
    return from_ticks(ticks(at))


def parse(text: str) -> str:
    """The wire form of an ISO 8601 date and time; no offset means UTC. ValueError where it is none.

    Digits beyond the seventh are cut. Second 60 (a leap second) becomes the next minute's first.
    """
    if _WIRE.fullmatch(text) is not None and text[17] != "6":
        datetime.fromisoformat(text[:19])  # a ValueError for what no calendar has
        return text
    if _PLAIN.fullmatch(text) is not None:
        with contextlib.suppress(ValueError, OverflowError):  # what no calendar has is described below
            return instant(datetime.fromisoformat(text))
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a date and time: {text[:40]!r}; expected such as 2026-11-23T04:50:30Z")
    year, month, day, hour, minute = (int(match[i]) for i in range(1, 6))
    second = int(match[6] or 0)
    leap = second == 60
    try:
        at = datetime(year, month, day, hour, minute, 59 if leap else second, tzinfo=UTC)
    except ValueError as problem:
        raise ValueError(f"not a date and time: {text[:40]!r}: {problem}") from None
    value = ticks(at) + (TICKS_A_SECOND if leap else int((match[7] or "0")[:7].ljust(7, "0")))
    zone = match[8]
    if zone and zone not in "Zz":
        hours, minutes = int(zone[1:3]), int(zone[-2:])
        if hours > _MOST_OFFSET_HOURS or minutes > 59:
            raise ValueError(f"not a date and time: {text[:40]!r}: no zone is {zone} from UTC")
        offset_minutes = hours * 60 + minutes
        value -= (1 if zone[0] == "+" else -1) * offset_minutes * 60 * TICKS_A_SECOND
    try:
        return from_ticks(value)
    except OverflowError:
        raise ValueError(f"a date and time out of range: {text[:40]!r}") from None


def to_datetime(text: str) -> datetime:
    """Back from the wire form; the seventh digit is lost, since Python counts microseconds."""
    return datetime.fromisoformat(text[:26] + "+00:00")
