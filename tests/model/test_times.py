"""Instants as others write them, made wire text: the quick way for what is plain, and the one for all forms, agree."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.model.times import instant, parse

ZONES = st.integers(-(23 * 60 + 59), 23 * 60 + 59).map(lambda minutes: timezone(timedelta(minutes=minutes)))
INSTANTS = st.datetimes(timezones=ZONES).filter(lambda at: 2 < at.year < 9_998)


@given(INSTANTS, st.sampled_from(["seconds", "milliseconds", "microseconds"]))
def test_it_is_the_instant_that_was_written(at: datetime, spec: str) -> None:
    text = at.isoformat(timespec=spec)
    assert parse(text) == parse(text.replace("T", " ")) == instant(datetime.fromisoformat(text))
    assert parse(at.astimezone(UTC).isoformat(timespec=spec).replace("+00:00", "Z")) == parse(text)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05.0000000Z"),
        ("2026-01-02T03:04:05.5+05:30", "2026-01-01T21:34:05.5000000Z"),
        ("2026-01-02T03:04:05.1234567Z", "2026-01-02T03:04:05.1234567Z"),
        ("2026-01-02T03:04:05.123456789Z", "2026-01-02T03:04:05.1234567Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.0000000Z"),
        ("2026-01-02 03:04", "2026-01-02T03:04:00.0000000Z"),
    ],
)
def test_forms(text: str, read: str) -> None:
    assert parse(text) == read


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:61:00Z",
        "0001-01-01T00:00:00+05:00", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+01:75", "0000-01-01T00:00:00Z",
        "today", "",
    ],
)  # fmt: skip
def test_what_is_no_instant_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="date and time"):
        parse(text)
