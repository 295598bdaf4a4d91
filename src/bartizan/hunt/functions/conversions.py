"""Conversions: the to... functions, parse_json and its kin, gettype. `convert` is what every implicit conversion uses.

What is no value of the wanted type is null (a string ''); nothing fails. Whole numbers of more bits are cut to the
lower ones, reals to the nearest end of the range. A timespan is its ticks, a datetime its ticks since the year 1.

Source: Kusto Query Language, "Scalar functions": tostring() ... todynamic(), parse_json(), gettype().
"""

from collections.abc import Callable, Sequence
from re import compile as pattern

from bartizan.hunt.duckdb.literal import as_json
from bartizan.hunt.duckdb.macros import FIRST_MICROSECOND, LAST_MICROSECOND, macro
from bartizan.hunt.functions import function
from bartizan.hunt.plan import Apply, Path
from bartizan.hunt.tree import Scalar

Conversion = dict[Scalar, str]
TICKS_TO_1970 = -10 * FIRST_MICROSECOND
LAST_TICK = 10 * (LAST_MICROSECOND - FIRST_MICROSECOND) + 9
_SPLIT_PART = pattern(r"kql_get\(kf_split\((.*)\), '\$\[(\d{1,9})\]'\)", 16)  # 16: a point is any character

# ------------------------------------------------------------------ from text

_NUMBER = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
macro(
    r"kf_text_long(t) := coalesce(try_cast(regexp_extract(t, '^\s*([+-]?[0-9]+)\s*$', 1) AS BIGINT), "
    r"CASE WHEN t ILIKE '%0x%' THEN kql_wrap(try_cast(regexp_extract(t, '^\s*(0[xX][0-9a-fA-F]{1,16})\s*$', 1) "
    "AS HUGEINT)) END)"
)
macro(
    r"kf_text_int(t) := coalesce(try_cast(regexp_extract(t, '^\s*([+-]?[0-9]+)\s*$', 1) AS INTEGER), "
    r"CASE WHEN t ILIKE '%0x%' THEN kf_low(try_cast(regexp_extract(t, '^\s*(0[xX][0-9a-fA-F]{1,8})\s*$', 1) "
    "AS BIGINT)) END)"
)
macro(rf"kf_text_real(t) := try_cast(regexp_extract(t, '^\s*({_NUMBER}|[+-]?(?i:nan|inf|infinity))\s*$', 1) AS DOUBLE)")
macro(rf"kf_text_decimal(t) := try_cast(regexp_extract(t, '^\s*({_NUMBER})\s*$', 1) AS DECIMAL(38,18))")
macro(
    "kf_text_bool(t) := CASE lower(trim(t)) WHEN 'true' THEN TRUE WHEN 'false' THEN FALSE ELSE kf_text_long(t) <> 0 END"
)
macro("kf_text_guid(t) := try_cast(nullif(t, '') AS UUID)")
# An instant: the ISO forms (a zone is taken into account), those of RFC 822 and 850, and month/day/year.
_DATE = r"\s*\d{4}-\d{1,2}-\d{1,2}"
_CLOCK = r"(?:[T ]\s*\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?\s*"
macro(
    rf"kf_text_time(t) := CASE WHEN regexp_full_match(t, '{_DATE}{_CLOCK}[Zz]?\s*') "
    r"THEN try_cast(regexp_replace(t, '[Zz]\s*$', '') AS TIMESTAMP) "
    rf"WHEN regexp_full_match(t, '{_DATE}{_CLOCK}[+-]\d{{2}}:?\d{{2}}\s*') "
    r"THEN timezone('UTC', try_cast(regexp_replace(trim(t), '\s*([+-]\d{2}):?(\d{2})$', '\1:\2') AS TIMESTAMPTZ)) "
    "ELSE kf_text_time_odd(trim(t)) END"
)
_ODD = (
    "%Y-%m-%dT%H",
    "%Y-%m",
    "%Y",
    "%Y%m%d",
    "%m/%d/%Y %I:%M:%S %p",
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y %H:%M:%S.%f",
    "%m/%d/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M",
    "%m/%d/%Y",
    "%m-%d-%Y %H:%M:%S",
    "%m-%d-%Y",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d",
    "%a, %d %b %Y %H:%M:%S",
    "%d %b %Y %H:%M:%S",
    "%d %b %Y",
    "%a %b %d %H:%M:%S %Y",
    "%b %d %Y",
    "%b %d, %Y",
)
# A year of two digits is one of this century or of the end of the last; the engine's %Y would take it as it stands.
_ODD_SHORT = (
    "%m/%d/%y %I:%M:%S %p",
    "%m/%d/%y %I:%M %p",
    "%m/%d/%y %H:%M:%S",
    "%m/%d/%y %H:%M",
    "%m/%d/%y",
    "%a, %d %b %y %H:%M:%S",
    "%a, %d %b %y %H:%M",
    "%d %b %y %H:%M:%S",
    "%d %b %y %H:%M",
    "%d %b %y",
    "%A, %d-%b-%y %H:%M:%S",
    "%A, %d-%b-%y %H:%M",
    "%a, %d-%b-%y %H:%M:%S",
)
_LONG_YEAR = r"(?:^|[^\d:.])\d{4}(?:\D|$)|^\d{8}$"


def _formats(told: Sequence[str]) -> str:
    return f"[{', '.join(repr(each) for each in told)}]"


macro(r"kf_text_time_bare(t) := regexp_replace(t, '\s*(?:GMT|UTC|Z)$', '')")
macro(
    rf"kf_text_time_odd(t) := CASE WHEN regexp_matches(t, '{_LONG_YEAR}') "
    f"THEN try_strptime(kf_text_time_bare(t), {_formats(_ODD)}) "
    rf"WHEN regexp_matches(t, '\d') THEN try_strptime(kf_text_time_bare(t), {_formats(_ODD_SHORT)}) END"
)
# A timespan: [-][d.]hh:mm[:ss[.fffffff]], or a number and its unit.
_SPAN = r"^\s*(-?)(?:(\d{1,8})\.)?(\d{1,2}):(\d{1,2})(?::(\d{1,2})(?:\.(\d{1,7})\d*)?)?\s*$"
_SPAN_UNIT = (
    r"^\s*(-?\d+(?:\.\d+)?)\s*(d|days?|h|hrs?|hours?|m|min|minutes?|s|sec|seconds?|ms|milli|millis|milliseconds?"
    r"|micro|micros|microseconds?|nano|nanos|nanoseconds?|ticks?)\s*$"
)
_UNITS = (
    "CASE WHEN u IN ('d', 'day', 'days') THEN 864000000000 WHEN u IN ('m', 'min', 'minute', 'minutes') THEN 600000000 "
    "WHEN u LIKE 'h%' THEN 36000000000 WHEN u LIKE 'micro%' THEN 10 WHEN u LIKE 'm%' THEN 10000 "
    "WHEN u LIKE 's%' THEN 10000000 WHEN u LIKE 'tick%' THEN 1 WHEN u LIKE 'nano%' THEN 0.01 END"
)
macro(f"kf_unit_ticks(u) := {_UNITS}")
macro(
    "kf_span_ticks(p) := CASE WHEN p[4]::INTEGER < 24 AND p[5]::INTEGER < 60 AND coalesce(try_cast(p[6] AS INTEGER), 0)"
    " < 60 THEN (CASE p[2] WHEN '-' THEN -1 ELSE 1 END) * (coalesce(try_cast(p[3] AS BIGINT), 0) * 864000000000 "
    "+ p[4]::BIGINT * 36000000000 + p[5]::BIGINT * 600000000 + coalesce(try_cast(p[6] AS BIGINT), 0) * 10000000 "
    "+ coalesce(try_cast(rpad(p[7], 7, '0') AS BIGINT), 0)) END"
)
_PARTS = ", ".join(f"regexp_extract(t, '{_SPAN}', {group})" for group in range(7))
macro(
    f"kf_text_span(t) := CASE WHEN regexp_matches(t, '{_SPAN}') THEN try_cast(kf_span_ticks([{_PARTS}]) AS BIGINT) "
    f"WHEN regexp_matches(t, '{_SPAN_UNIT}') THEN try_cast(try_cast(regexp_extract(t, '{_SPAN_UNIT}', 1) AS DOUBLE) "
    f"* kf_unit_ticks(regexp_extract(t, '{_SPAN_UNIT}', 2)) AS BIGINT) END"
)

# ------------------------------------------------------------------ from numbers and instants

macro("kf_low(x) := ((x & 4294967295) - CASE WHEN (x & 2147483648) <> 0 THEN 4294967296 ELSE 0 END)::INTEGER")
macro(
    "kf_real_long(r) := coalesce(try_cast(trunc(r) AS BIGINT), CASE WHEN isnan(r) THEN NULL "
    "WHEN r > 0 THEN 9223372036854775807 WHEN r < 0 THEN (-9223372036854775807 - 1) END)"
)
macro(
    "kf_real_int(r) := coalesce(try_cast(trunc(r) AS INTEGER), CASE WHEN isnan(r) THEN NULL "
    "WHEN r > 0 THEN 2147483647 WHEN r < 0 THEN -2147483648 END)::INTEGER"
)
# As few digits as tell the number, and of several such the greatest, as Kusto writes it: with 16 digits and more there
# are several, which differ in the last.
macro(
    "kf_real_greatest(p, r) := p.a || coalesce(list_max(list_filter(range(p.z::INTEGER, 10), lambda rd: "
    "try_cast(p.a || rd || p.e AS DOUBLE) = r)), p.z::INTEGER) || p.e"
)
macro(
    "kf_real_digits(t, r) := CASE WHEN length(t) > 16 AND "
    "length(regexp_replace(t, '^-?[0.]*|[.]|e.*$', '', 'g')) >= 16 THEN "
    "kf_real_greatest(regexp_extract(t, '^(.*)([0-9])((?:e.*)?)$', ['a', 'z', 'e']), r) ELSE t END"
)
macro("kf_real_text(r) := coalesce(CASE WHEN isnan(r) THEN 'NaN' ELSE kf_real_digits(r::VARCHAR, r) END, '')")
macro(
    r"kf_decimal_text(d) := coalesce(regexp_replace(d::VARCHAR, '\.?0*$', ''), '')",
)
macro(
    f"kf_ticks_time(x) := CASE WHEN x BETWEEN 0 AND {LAST_TICK} THEN make_timestamp(x // 10 - {-FIRST_MICROSECOND}) END"
)
macro(f"kf_time_ticks(t) := epoch_us(t) * 10 + {TICKS_TO_1970}")

# ------------------------------------------------------------------ from dynamic (JSON text); x is a valid document

macro(
    r"""kf_json_long(x) := coalesce(try_cast(regexp_extract(x::VARCHAR, '^\s*"?\s*([+-]?[0-9]+)\s*"?\s*$', 1) AS """
    r"""BIGINT), """
    "CASE json_type(x) WHEN 'DOUBLE' THEN kf_real_long(try_cast(x::VARCHAR AS DOUBLE)) "
    "WHEN 'UBIGINT' THEN 9223372036854775807 WHEN 'BOOLEAN' THEN (x::VARCHAR = 'true')::BIGINT "
    "WHEN 'VARCHAR' THEN kf_text_long(json_extract_string(x, '$')) END)"
)
macro(
    r"""kf_json_int(x) := CASE WHEN x::VARCHAR LIKE '%"%' THEN kf_text_int(json_extract_string(x, '$')) """
    "WHEN json_type(x) = 'DOUBLE' THEN kf_real_int(try_cast(x::VARCHAR AS DOUBLE)) ELSE kf_low(kf_json_long(x)) END"
)
macro(
    rf"""kf_json_real(x) := coalesce(try_cast(regexp_extract(x::VARCHAR, """
    rf"""'^\s*"?\s*({_NUMBER}|[+-]?(?i:nan|inf|infinity))\s*"?\s*$', 1) AS DOUBLE), """
    "CASE trim(x::VARCHAR) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END)"
)
macro(
    rf"""kf_json_decimal(x) := coalesce(try_cast(regexp_extract(x::VARCHAR, '^\s*"?\s*({_NUMBER})\s*"?\s*$', 1) """
    "AS DECIMAL(38,18)), CASE trim(x::VARCHAR) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END)"
)
macro(
    "kf_json_bool(x) := CASE json_type(x) WHEN 'BOOLEAN' THEN json_extract_string(x, '$') = 'true' "
    "WHEN 'VARCHAR' THEN kf_text_bool(json_extract_string(x, '$')) "
    "WHEN 'DOUBLE' THEN try_cast(x::VARCHAR AS DOUBLE) <> 0 "
    "WHEN 'BIGINT' THEN kf_json_long(x) <> 0 WHEN 'UBIGINT' THEN kf_json_long(x) <> 0 END"
)
macro(
    "kf_json_time(x) := CASE json_type(x) WHEN 'VARCHAR' THEN kf_text_time(json_extract_string(x, '$')) "
    "WHEN 'BIGINT' THEN kf_ticks_time(kf_json_long(x)) WHEN 'UBIGINT' THEN kf_ticks_time(kf_json_long(x)) END"
)
macro(
    "kf_json_span(x) := CASE json_type(x) WHEN 'VARCHAR' THEN kf_text_span(json_extract_string(x, '$')) "
    "WHEN 'BIGINT' THEN kf_json_long(x) WHEN 'UBIGINT' THEN kf_json_long(x) END"
)
macro("kf_json_text(x) := coalesce(json_extract_string(x, '$'), '')")
macro("kf_json_guid(x) := kf_text_guid(json_extract_string(x, '$'))")
# JSON has no NaN, no infinity and no number beyond them, all of which DuckDB's reader takes: a text that has one
# outside of its strings is no JSON.
_NO_NUMBER = r"(?i)nan|inf|[0-9]e\+?[0-9]{3}|[0-9]{300}"
macro(
    f"kf_is_json(t) := json_valid(t) AND (NOT regexp_matches(t, '{_NO_NUMBER}') OR NOT "
    rf"""regexp_matches(regexp_replace(t, '"(?:[^"\\]|\\.)*"', '""', 'g'), '{_NO_NUMBER}'))"""
)
macro(
    r"kf_parse_json(t) := CASE WHEN t = '' THEN NULL WHEN kf_is_json(t) THEN nullif(trim(t, e' \t\r\n'), 'null') "
    "ELSE to_json(t::VARCHAR)::VARCHAR END"
)
macro("kf_parsed_text(t, path) := CASE WHEN json_valid(t) THEN json_extract_string(t, path) END")

# ------------------------------------------------------------------ which conversion for which type

TO_STRING: Conversion = {
    "bool": "coalesce({0}::VARCHAR, '')",
    "int": "coalesce({0}::VARCHAR, '')",
    "long": "coalesce({0}::VARCHAR, '')",
    "real": "kf_real_text({0})",
    "decimal": "kf_decimal_text({0})",
    "string": "{0}",
    "datetime": "coalesce(kql_time_text({0}), '')",
    "timespan": "coalesce(kql_span_text({0}), '')",
    "guid": "coalesce({0}::VARCHAR, '')",
    "dynamic": "kf_json_text({0})",
}
TO_LONG: Conversion = {
    "bool": "{0}::BIGINT",
    "int": "{0}::BIGINT",
    "long": "{0}",
    "real": "kf_real_long({0})",
    "decimal": "kf_real_long({0})",
    "string": "kf_text_long({0})",
    "datetime": "kf_time_ticks({0})",
    "timespan": "{0}",
    "dynamic": "kf_json_long({0})",
}
TO_INT: Conversion = {
    "bool": "{0}::INTEGER",
    "int": "{0}",
    "long": "kf_low({0})",
    "real": "kf_real_int({0})",
    "decimal": "kf_real_int({0})",
    "string": "kf_text_int({0})",
    "datetime": "kf_low(kf_time_ticks({0}))",
    "timespan": "kf_low({0})",
    "dynamic": "kf_json_int({0})",
}
TO_REAL: Conversion = {
    "bool": "{0}::INTEGER::DOUBLE",
    "int": "{0}::DOUBLE",
    "long": "{0}::DOUBLE",
    "real": "{0}",
    "decimal": "{0}::DOUBLE",
    "string": "kf_text_real({0})",
    "datetime": "(kf_time_ticks({0}))::DOUBLE",
    "timespan": "{0}::DOUBLE",
    "dynamic": "kf_json_real({0})",
}
TO_DECIMAL: Conversion = {
    "bool": "{0}::INTEGER::DECIMAL(38,18)",
    "int": "{0}::DECIMAL(38,18)",
    "long": "{0}::DECIMAL(38,18)",
    "real": "try_cast({0}::VARCHAR AS DECIMAL(38,18))",  # its digits, not those of its binary fraction
    "decimal": "{0}",
    "string": "kf_text_decimal({0})",
    "datetime": "(kf_time_ticks({0}))::DECIMAL(38,18)",
    "timespan": "{0}::DECIMAL(38,18)",
    "dynamic": "kf_json_decimal({0})",
}
TO_BOOL: Conversion = {
    "bool": "{0}",
    "int": "({0} <> 0)",
    "long": "({0} <> 0)",
    "real": "({0} <> 0)",
    "decimal": "({0} <> 0)",
    "string": "kf_text_bool({0})",
    "dynamic": "kf_json_bool({0})",
}
TO_DATETIME: Conversion = {
    "int": "kf_ticks_time({0}::BIGINT)",
    "long": "kf_ticks_time({0})",
    "real": "kf_ticks_time(kf_real_long({0}))",
    "decimal": "kf_ticks_time(kf_real_long({0}))",
    "string": "kf_text_time({0})",
    "datetime": "{0}",
    "timespan": "kf_ticks_time({0})",
    "dynamic": "kf_json_time({0})",
}
TO_TIMESPAN: Conversion = {
    "int": "{0}::BIGINT",
    "long": "{0}",
    "real": "kf_real_long({0})",
    "decimal": "kf_real_long({0})",
    "string": "kf_text_span({0})",
    "timespan": "{0}",
    "dynamic": "kf_json_span({0})",
}
TO_GUID: Conversion = {"string": "kf_text_guid({0})", "guid": "{0}", "dynamic": "kf_json_guid({0})"}
CONVERSIONS: dict[Scalar, Conversion] = {
    "string": TO_STRING,
    "long": TO_LONG,
    "int": TO_INT,
    "real": TO_REAL,
    "decimal": TO_DECIMAL,
    "bool": TO_BOOL,
    "datetime": TO_DATETIME,
    "timespan": TO_TIMESPAN,
    "guid": TO_GUID,
}


def convert(sql: str, given: Scalar, wanted: Scalar) -> str:
    """SQL of a value as another type. KeyError: there is no such conversion."""
    if wanted == "dynamic":
        return sql if given == "dynamic" else as_json(sql, given)
    return CONVERSIONS[wanted][given].replace("{0}", sql)


def text_of(args: Sequence[str], apply: Apply, index: int) -> str:
    """An argument, whatever its type is, as text: SQL that is never NULL."""
    given = apply.args[index]
    sql = args[index]
    if isinstance(given, Path):
        return _path_text(sql)
    return convert(sql, given.type, "string")


def json_of(args: Sequence[str], apply: Apply, index: int) -> str:
    """An argument as JSON text, where a null is JSON's."""
    return f"coalesce({as_json(args[index], apply.args[index].type)}, 'null')"


def _path_text(sql: str) -> str:
    """The text of a path into a dynamic: taken out directly, without the JSON between."""
    part = _SPLIT_PART.fullmatch(sql)
    if part is not None:
        return f"coalesce(kf_pieces({part[1]})[{int(part[2]) + 1}], '')"
    if sql.startswith("kql_get(kf_parse_json("):
        inner, _, path = sql.removeprefix("kql_get(kf_parse_json(").rpartition("), ")
        if inner and "kql_get(" not in path:
            return f"coalesce(kf_parsed_text({inner}, {path}, '')" if path.endswith(")") else f"kf_json_text({sql})"
    if sql.startswith("kql_get("):
        return f"coalesce(json_extract_string({sql.removeprefix('kql_get(')}, '')"
    return f"kf_json_text({sql})"


def _to(wanted: Scalar) -> Callable[[Sequence[str], Apply], str]:
    def say(args: Sequence[str], apply: Apply) -> str:
        return text_of(args, apply, 0) if wanted == "string" else convert(args[0], apply.args[0].type, wanted)

    return say


def _declare(name: str, wanted: Scalar) -> None:
    """One overload for each type that it takes, so that what it does not take is refused by the binder."""
    for given in CONVERSIONS[wanted]:
        function(name, f"{given} -> {wanted}", duckdb=_to(wanted))


for _name, _wanted in (
    ("tostring", "string"),
    ("tolong", "long"),
    ("toint", "int"),
    ("toreal", "real"),
    ("todouble", "real"),
    ("todecimal", "decimal"),
    ("tobool", "bool"),
    ("toboolean", "bool"),
    ("todatetime", "datetime"),
    ("make_datetime", "datetime"),
    ("totimespan", "timespan"),
    ("totime", "timespan"),
    ("make_timespan", "timespan"),
    ("toguid", "guid"),
):
    _declare(_name, _wanted)  # type: ignore[arg-type]

# ------------------------------------------------------------------ dynamic

JSON_NAMES = ("parse_json", "parsejson", "todynamic", "toobject")
for _name in JSON_NAMES:
    function(_name, "string -> dynamic", duckdb="kf_parse_json({0})")
    # A dynamic that holds a text is parsed once more; what is no text stays.
    function(_name, "dynamic -> dynamic", duckdb="kf_reparse_json({0})")
    function(_name, "any -> dynamic", duckdb=lambda args, apply: as_json(args[0], apply.args[0].type))
macro(
    "kf_reparse_json(x) := CASE WHEN json_type(x) = 'VARCHAR' THEN kf_parse_json(json_extract_string(x, '$')) "
    "ELSE x::VARCHAR END"
)
macro(
    "kf_json_kind(x) := CASE json_type(x) WHEN 'ARRAY' THEN 'array' WHEN 'OBJECT' THEN 'dictionary' "
    "WHEN 'VARCHAR' THEN 'string' WHEN 'DOUBLE' THEN 'double' WHEN 'BOOLEAN' THEN 'bool' WHEN 'BIGINT' THEN 'long' "
    "WHEN 'UBIGINT' THEN 'long' ELSE 'null' END"
)


def _kind(args: Sequence[str], apply: Apply) -> str:
    type_ = apply.args[0].type
    return f"kf_json_kind({args[0]})" if type_ == "dynamic" else f"'{type_}'"


function("gettype", "any -> string", duckdb=_kind)


# As it stands, without reading a text as JSON: what a dynamic is made of where one is asked for.
function("as_dynamic", "any -> dynamic", duckdb=lambda args, apply: convert(args[0], apply.args[0].type, "dynamic"))
