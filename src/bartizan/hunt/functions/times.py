"""Functions of datetimes and timespans: their parts, the starts and ends of calendar units, differences, epochs, zones.

A datetime is a TIMESTAMP of microseconds in UTC, a timespan a BIGINT of ticks of 100 ns. What leaves the years 1 to
9999 is null. A week begins on Sunday; weeks are numbered as ISO 8601 does. The end of a unit is its last microsecond.

Source: Kusto Query Language, "Scalar functions", group "DateTime/timespan functions".
"""

from collections.abc import Sequence
from functools import partial

from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import constant, function
from bartizan.hunt.plan import Apply

TO_1970 = 62_135_596_800_000_000  # microseconds from the year 1
MICROS = {
    "nanosecond": 0,
    "microsecond": 1,
    "millisecond": 1000,
    "second": 1_000_000,
    "minute": 60_000_000,
    "hour": 3_600_000_000,
    "day": 86_400_000_000,
    "week": 604_800_000_000,
}
MONTHS = {"month": 1, "quarter": 3, "year": 12}

# ------------------------------------------------------------------ parts

PARTS = {
    "year": "year({0})",
    "quarter": "quarter({0})",
    "month": "month({0})",
    "week_of_year": "weekofyear({0})",
    "weekofyear": "weekofyear({0})",
    "day": "day({0})",
    "dayofyear": "dayofyear({0})",
    "hour": "hour({0})",
    "minute": "minute({0})",
    "second": "date_part('second', {0})",
    "millisecond": "(date_part('microseconds', {0}) % 1000000 // 1000)",
    "microsecond": "(date_part('microseconds', {0}) % 1000000)",
    "nanosecond": "(date_part('microseconds', {0}) % 1000000 * 1000)",
}
for _name, _part in (
    ("getyear", "year"),
    ("getmonth", "month"),
    ("monthofyear", "month"),
    ("dayofmonth", "day"),
    ("dayofyear", "dayofyear"),
    ("hourofday", "hour"),
    ("week_of_year", "week_of_year"),
    ("weekofyear", "week_of_year"),
):
    function(_name, "datetime -> int", duckdb=PARTS[_part] + "::INTEGER")
function("dayofweek", "datetime -> timespan", duckdb="(dayofweek({0}) * 864000000000)")


def _named(name: str, apply: Apply, known: Sequence[str]) -> str:
    part = str(constant(apply, 0, "the part")).lower()
    if part not in known:
        raise KqlError("bind", f"{name}() knows the parts {', '.join(known)}; {part!r} is none of them")
    return part


def _datetime_part(args: Sequence[str], apply: Apply) -> str:
    return PARTS[_named("datetime_part", apply, tuple(PARTS))].replace("{0}", args[1]) + "::INTEGER"


function("datetime_part", "string! datetime -> int", duckdb=_datetime_part)
function("datepart", "string! datetime -> int", duckdb=_datetime_part)

# ------------------------------------------------------------------ moving and comparing

macro("kf_move(t, micros) := kql_clamp_time(epoch_us(t)::HUGEINT + micros)")
# Months: the day stays, or is the month's last. m: months since the year 0.
macro("kf_months(t) := year(t) * 12 + month(t) - 1")
macro(
    "kf_move_months(t, n) := CASE WHEN kf_months(t)::HUGEINT + n BETWEEN 12 AND 119999 THEN t + "
    "to_months(n::INTEGER) END"
)


def _add(args: Sequence[str], apply: Apply) -> str:
    part = _named("datetime_add", apply, (*MICROS, *MONTHS))
    _, count, at = args
    if part in MONTHS:
        factor = MONTHS[part]
        return f"kf_move_months({at}, {count} * {factor}::HUGEINT)"
    if part == "nanosecond":
        return f"kf_move({at}, {count} // 1000)"
    return f"kf_move({at}, {count} * {MICROS[part]}::HUGEINT)"


function("datetime_add", "string! long datetime -> datetime", duckdb=_add)


def _difference(args: Sequence[str], apply: Apply) -> str:
    """How many borders of the unit lie between the two."""
    part = _named("datetime_diff", apply, (*MICROS, *MONTHS))
    _, later, earlier = args
    if part in MONTHS:
        size = MONTHS[part]
        return f"(kf_months({later}) // {size} - kf_months({earlier}) // {size})"
    if part == "nanosecond":
        return f"kql_wrap((epoch_us({later})::HUGEINT - epoch_us({earlier})) * 1000)"
    # The first day of the year 1 was a Monday: weeks that begin on Sunday are one day ahead.
    shift = TO_1970 + (MICROS["day"] if part == "week" else 0)
    return f"((epoch_us({later}) + {shift}) // {MICROS[part]} - (epoch_us({earlier}) + {shift}) // {MICROS[part]})"


function("datetime_diff", "string! datetime datetime -> long", duckdb=_difference)

# ------------------------------------------------------------------ starts and ends of units

_DAY = MICROS["day"]
macro(f"kf_day_start(t, n) := kql_clamp_time(((epoch_us(t) + {TO_1970}) // {_DAY} + n::HUGEINT) * {_DAY} - {TO_1970})")
macro(
    f"kf_week_start(t, n) := kql_clamp_time((((epoch_us(t) + {TO_1970 + _DAY}) // {7 * _DAY} + n::HUGEINT) * "
    f"{7 * _DAY}) "
    f"- {TO_1970 + _DAY})"
)
macro(
    "kf_month_of(m) := CASE WHEN m BETWEEN 12 AND 119999 THEN make_timestamp((m // 12)::BIGINT, (m % 12 + 1)::BIGINT, "
    "1::BIGINT, 0::BIGINT, 0::BIGINT, 0.0::DOUBLE) END"
)
macro("kf_month_start(t, n) := kf_month_of(kf_months(t)::HUGEINT + n)")
macro("kf_year_start(t, n) := kf_month_of((year(t)::HUGEINT + n) * 12)")
# What begins with the year 10000 ends with the last instant that there is.
macro(
    "kf_before(next, begins) := CASE WHEN begins IS NOT NULL THEN "
    "coalesce(kql_clamp_time(epoch_us(next)::HUGEINT - 1), make_timestamp(253402300799999999)) END"
)
for _unit in ("day", "week", "month", "year"):
    _start = f"kf_{_unit}_start"
    function(f"startof{_unit}", "datetime -> datetime", duckdb=f"{_start}({{0}}, 0)")
    function(f"startof{_unit}", "datetime long -> datetime", duckdb=f"{_start}({{0}}, {{1}})")
    _end = f"kf_before({_start}({{0}}, {{1}}::HUGEINT + 1), {_start}({{0}}, {{1}}))"
    function(f"endof{_unit}", "datetime -> datetime", duckdb=_end.replace("{1}", "0"))
    function(f"endof{_unit}", "datetime long -> datetime", duckdb=_end)

# ------------------------------------------------------------------ making

macro(
    "kf_make_time(y, mo, d, h, mi, s) := CASE WHEN y BETWEEN 1 AND 9999 AND mo BETWEEN 1 AND 12 AND d >= 1 "
    "AND h BETWEEN 0 AND 23 AND mi BETWEEN 0 AND 59 AND s >= 0 AND s < 60 THEN "
    "kf_make_day(kf_month_of(y * 12::HUGEINT + mo - 1), d, (h * 3600 + mi * 60) * 1000000::HUGEINT "
    "+ round(s * 1000000)::BIGINT) END"
)
macro(
    "kf_make_day(month, d, micros) := CASE WHEN d <= day(last_day(month)) THEN "
    f"kql_clamp_time(epoch_us(month)::HUGEINT + (d - 1) * {_DAY}::HUGEINT + micros) END"
)


def _make_datetime(args: Sequence[str], _: Apply) -> str:
    whole, seconds = [*args, "0", "0"][:5], args[5] if len(args) > 5 else "0.0::DOUBLE"
    return f"kf_make_time({', '.join(whole)}, {seconds})"


function("make_datetime", "long long long -> datetime", duckdb=_make_datetime)
function("make_datetime", "long long long long -> datetime", duckdb=_make_datetime)
function("make_datetime", "long long long long long -> datetime", duckdb=_make_datetime)
function("make_datetime", "long long long long long real -> datetime", duckdb=_make_datetime)
macro(
    "kf_make_span(d, h, mi, s) := CASE WHEN d BETWEEN 0 AND 10675198 AND h BETWEEN 0 AND 23 AND mi BETWEEN 0 AND 59 "
    "AND s >= 0 AND s < 60 THEN d * 864000000000 + h * 36000000000 + mi * 600000000 + round(s * 10000000)::BIGINT END"
)
function("make_timespan", "long long -> timespan", duckdb="kf_make_span(0, {0}, {1}, 0)")
function("make_timespan", "long long real -> timespan", duckdb="kf_make_span(0, {0}, {1}, {2})")
function("make_timespan", "long long long real -> timespan", duckdb="kf_make_span({0}, {1}, {2}, {3})")

macro("kf_of_epoch(x, micros) := kql_clamp_time(try_cast(round(x * micros) AS HUGEINT))")
for _unit, _factor in (("seconds", "1000000"), ("milliseconds", "1000"), ("microseconds", "1")):
    function(f"unixtime_{_unit}_todatetime", "long -> datetime", duckdb=f"kql_clamp_time({{0}}::HUGEINT * {_factor})")
    function(f"unixtime_{_unit}_todatetime", "real -> datetime", duckdb=f"kf_of_epoch({{0}}, {_factor})")
    function(f"unixtime_{_unit}_todatetime", "decimal -> datetime", duckdb=f"kf_of_epoch({{0}}::DOUBLE, {_factor})")
function("unixtime_nanoseconds_todatetime", "long -> datetime", duckdb="kql_clamp_time(({0} // 1000)::HUGEINT)")
function("unixtime_nanoseconds_todatetime", "real -> datetime", duckdb="kf_of_epoch({0}, 0.001)")

# ------------------------------------------------------------------ zones


macro("kf_zone(z) := CASE WHEN z IN (SELECT name FROM pg_timezone_names()) THEN z END")


def _zone(name: str, args: Sequence[str], apply: Apply) -> str:
    at, zone = args
    known = f"kf_zone({zone})"
    if name == "to_utc":
        return f"timezone('UTC', timezone({known}, {at}))"
    return f"timezone({known}, timezone('UTC', {at}))"


function("datetime_local_to_utc", "datetime string -> datetime", duckdb=partial(_zone, "to_utc"))
function("datetime_utc_to_local", "datetime string -> datetime", duckdb=partial(_zone, "to_local"))
function(
    "datetime_list_timezones",
    "-> dynamic",
    duckdb="(SELECT to_json(list(name ORDER BY name))::VARCHAR FROM pg_timezone_names())",
)
