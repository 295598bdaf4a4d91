"""The time that a hunt is about, as `runHuntingQuery` takes it: since when, and until when.

An ISO 8601 duration back from now (`P30D`, `PT6H`), `start/end`, `start/duration`, `duration/end`, or a start alone.

Source: Microsoft Graph, "security: runHuntingQuery"; ISO 8601-1, time intervals.
"""

import re
from datetime import UTC, datetime, timedelta

from bartizan.errors import BadRequest
from bartizan.model.times import parse, to_datetime

_DURATION = re.compile(
    r"P(?:(\d{1,6})W)?(?:(\d{1,6})D)?(?:T(?:(\d{1,7})H)?(?:(\d{1,8})M)?(?:(\d{1,9})(?:[.,](\d{1,6}))?S)?)?", re.ASCII
)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_EXPECTED = "expected an ISO 8601 duration such as P30D or PT6H, start/end, start/duration, duration/end, or a start"


def between(text: str | None, now: datetime) -> tuple[datetime | None, datetime | None]:
    """(since, until); None where nothing bounds it. BadRequest where it is no such thing."""
    if not text:
        return None, None
    first, slash, second = (each.strip() for each in text.strip().partition("/"))
    try:
        if not slash:
            length = _duration(first)
            return (_instant(first), None) if length is None else (now - length, None)
        start, end = _duration(first), _duration(second)
        if start is not None and end is not None:
            raise ValueError
        if start is not None:
            until = _instant(second)
            return until - start, until
        since = _instant(first)
        until = _instant(second) if end is None else since + end
    except (ValueError, OverflowError):
        raise BadRequest(f"timespan '{text[:100]}': {_EXPECTED}.") from None
    if until < since:
        raise BadRequest(f"timespan '{text[:100]}' ends before it begins.")
    return since, until


def _duration(text: str) -> timedelta | None:
    match = _DURATION.fullmatch(text.upper())
    if match is None or not any(match.groups()):
        return None
    weeks, days, hours, minutes, seconds = (int(each or 0) for each in match.groups()[:5])
    micros = int((match[6] or "0").ljust(6, "0"))
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds, microseconds=micros)


def _instant(text: str) -> datetime:
    return to_datetime(parse(f"{text}T00:00:00Z" if _DAY.fullmatch(text) else text)).astimezone(UTC)
