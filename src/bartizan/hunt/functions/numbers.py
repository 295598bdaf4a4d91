"""Functions of numbers: rounding and bins, powers and logarithms, trigonometry, bits, chance, sizes in bytes.

What mathematics does not define is NaN or an infinity, but for the logarithm of a negative number and the arc sine and
cosine outside of -1 to 1, which are null. A bin of no width, or of a negative one, is null.

Source: Kusto Query Language, "Scalar functions", groups "Mathematical functions", "Rounding functions", "Binary
functions".
"""

from collections.abc import Sequence
from functools import partial

from bartizan.hunt.duckdb.literal import text
from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import constant, function
from bartizan.hunt.plan import Apply, Value

# ------------------------------------------------------------------ rounding and bins

macro("kf_bin_long(x, n) := CASE WHEN n > 0 THEN kql_wrap(x::HUGEINT - ((x::HUGEINT % n) + n) % n) END")
macro("kf_bin_real(x, n) := CASE WHEN n > 0 THEN floor(x / n) * n END")
# Of decimals near the end of their range a sum would not fit.
macro(
    "kf_bin_decimal(x, n) := CASE WHEN n > 0 AND n < 1e19 AND abs(x) < 1e19 THEN x - (CASE WHEN x % n < 0 THEN x % "
    "n + n ELSE x % n END) END"
)


def positive(apply: Apply, index: int) -> int | None:
    """A constant argument that is a whole number from 1 to 2^62; otherwise None."""
    found = apply.args[index]
    if isinstance(found, Value) and isinstance(found.value, int) and 0 < found.value < 2**62:
        return found.value
    return None


def _bin(args: Sequence[str], apply: Apply) -> str:
    match apply.type:
        case "real":
            return f"kf_bin_real({args[0]}, {args[1]})"
        case "decimal":
            return f"kf_bin_decimal({args[0]}, {args[1]})::DECIMAL(38,18)"
    width = positive(apply, 1)
    native = "INTEGER" if apply.type == "int" else "BIGINT"
    if width is not None and width <= 2**31:
        return f"kql_wrap({args[0]}::HUGEINT - ({args[0]} % {width} + {width}) % {width})::{native}"
    return f"try_cast(kf_bin_long({args[0]}, {args[1]}) AS {native})"


def _bin_at(args: Sequence[str], apply: Apply) -> str:
    value, width, fixed = args
    match apply.type:
        case "real":
            return f"(kf_bin_real({value} - {fixed}, {width}) + {fixed})"
        case "decimal":
            return f"kf_bin_decimal_at({value}, {width}, {fixed})::DECIMAL(38,18)"
    native = "INTEGER" if apply.type == "int" else "BIGINT"
    return f"try_cast(kf_bin_long_at({value}, {width}, {fixed}) AS {native})"


macro(
    "kf_bin_long_at(x, n, f) := CASE WHEN n > 0 THEN kql_wrap(x::HUGEINT - (((x::HUGEINT - f) % n) + n) % n) END",
)
macro(
    "kf_bin_decimal_at(x, n, f) := CASE WHEN abs(x) < 1e19 AND abs(f) < 1e19 THEN kf_bin_decimal(x - f, n) "
    "+ CASE WHEN abs(x - f) < 1e19 THEN f END END"
)
macro("kf_bin_time(t, n) := kf_ticks_time(kf_time_ticks(t) - CASE WHEN n > 0 THEN (kf_time_ticks(t)) % n END)")
macro("kf_bin_time_at(t, n, f) := kf_clamp_ticks(kf_bin_long_at(kf_time_ticks(t), n, kf_time_ticks(f)))")
macro("kf_clamp_ticks(x) := kf_ticks_time(x)")


def _bin_time(args: Sequence[str], apply: Apply) -> str:
    width = positive(apply, 1)
    if width is not None and width % 10 == 0:  # whole microseconds, from the first instant of the year 1
        micros = f"epoch_us({args[0]})"
        return f"make_timestamp({micros} - ({micros} + 62135596800000000) % {width // 10})"
    return f"kf_bin_time({args[0]}, {args[1]})"


for _name in ("bin", "floor"):
    function(_name, "N N -> N", duckdb=_bin)
    function(_name, "timespan timespan -> timespan", duckdb="kf_bin_long({0}, {1})")
    function(_name, "datetime timespan -> datetime", duckdb=_bin_time)
    function(
        _name,
        "datetime number -> datetime",
        duckdb=lambda args, _: f"kf_bin_time({args[0]}, try_cast({args[1]} AS BIGINT))",
    )
function("floor", "number -> number", duckdb=lambda args, apply: _whole("floor", args, apply))
function("bin_at", "N N N -> N", duckdb=_bin_at)
function("bin_at", "timespan timespan timespan -> timespan", duckdb="kf_bin_long_at({0}, {1}, {2})")
function("bin_at", "datetime timespan datetime -> datetime", duckdb="kf_bin_time_at({0}, {1}, {2})")


def _whole(name: str, args: Sequence[str], apply: Apply) -> str:
    match apply.type:
        case "real":
            return f"{name}({args[0]})"
        case "decimal":
            return f"try_cast({name}({args[0]}) AS DECIMAL(38,18))"
    return args[0]


def _round(args: Sequence[str], apply: Apply) -> str:
    digits = args[1] if len(args) > 1 else "0"
    match apply.type:
        case "real":
            return f"round({args[0]}, least(greatest({digits}, -320), 320)::INTEGER)"
        case "decimal":
            places = 0 if len(args) == 1 else int(constant(apply, 1, "the precision of a decimal"))
            return f"try_cast(round({args[0]}, {max(min(places, 18), -19)}) AS DECIMAL(38,18))"
    if len(args) == 1:
        return args[0]
    native = "INTEGER" if apply.type == "int" else "BIGINT"
    return f"try_cast(round({args[0]}::HUGEINT, least(greatest({digits}, -30), 0)::INTEGER) AS {native})"


for _name in ("ceiling", "ceil"):
    function(_name, "number -> number", duckdb=partial(_whole, "ceil"))
function("round", "number -> number", duckdb=_round)
function("round", "number long! -> number", duckdb=_round)
function("abs", "long -> long", duckdb="kql_wrap(abs({0}::HUGEINT))")
function("abs", "real -> real", duckdb="abs({0})")
function("abs", "decimal -> decimal", duckdb="abs({0})")
function("abs", "timespan -> timespan", duckdb="kql_wrap(abs({0}::HUGEINT))")
function("sign", "real -> real", duckdb="sign({0})::DOUBLE")

# ------------------------------------------------------------------ of reals

for _name, _said in (
    ("sqrt", "sqrt({0})"),
    ("exp", "exp({0})"),
    ("exp2", "pow(2.0::DOUBLE, {0})"),
    ("exp10", "pow(10.0::DOUBLE, {0})"),
    ("log", "ln(CASE WHEN {0} >= 0 THEN {0} END)"),
    ("log2", "log2(CASE WHEN {0} >= 0 THEN {0} END)"),
    ("log10", "log10(CASE WHEN {0} >= 0 THEN {0} END)"),
    ("sin", "sin({0})"),
    ("cos", "cos({0})"),
    ("tan", "tan({0})"),
    ("cot", "(1 / tan({0}))"),
    ("asin", "asin(CASE WHEN {0} BETWEEN -1 AND 1 THEN {0} END)"),
    ("acos", "acos(CASE WHEN {0} BETWEEN -1 AND 1 THEN {0} END)"),
    ("atan", "atan({0})"),
    ("degrees", "degrees({0})"),
    ("radians", "radians({0})"),
    ("gamma", "gamma({0})"),
    ("loggamma", "lgamma({0})"),
):
    function(_name, "real -> real", duckdb=_said)
function("pow", "real real -> real", duckdb="pow({0}, {1})")
function("atan2", "real real -> real", duckdb="atan2({0}, {1})")
function("pi", "-> real", duckdb="pi()")
function("rand", "-> real", nondeterministic=True, duckdb="random()")
function("rand", "long -> real", nondeterministic=True, duckdb="(floor(random() * greatest({0}, 1))::DOUBLE)")
function("new_guid", "-> guid", nondeterministic=True, duckdb="gen_random_uuid()")

# ------------------------------------------------------------------ bits

function("binary_and", "long long -> long", duckdb="({0} & {1})")
function("binary_or", "long long -> long", duckdb="({0} | {1})")
function("binary_xor", "long long -> long", duckdb="xor({0}, {1})")
function("binary_not", "long -> long", duckdb="(~{0})")
# The distance counts modulo 64; a negative one gives null.
macro(
    "kf_shift_left(x, n) := CASE WHEN n >= 0 THEN kql_wrap(x::HUGEINT * (1::HUGEINT << (n % 64)::HUGEINT)) END",
)
macro("kf_shift_right(x, n) := CASE WHEN n >= 0 THEN x >> (n % 64) END")
function("binary_shift_left", "long long -> long", duckdb="kf_shift_left({0}, {1})")
function("binary_shift_right", "long long -> long", duckdb="kf_shift_right({0}, {1})")
function("bitset_count_ones", "long -> long", duckdb="bit_count({0})::BIGINT")
macro(
    "kf_hex(x, size) := coalesce(CASE WHEN length(to_hex(x)) < size THEN "
    "lpad(lower(to_hex(x)), least(size, 64)::INTEGER, '0') ELSE lower(to_hex(x)) END, '')"
)
function("tohex", "long -> string", duckdb="coalesce(lower(to_hex({0})), '')")
function("tohex", "long long -> string", duckdb="kf_hex({0}, {1})")

# ------------------------------------------------------------------ sizes

UNITS = ("Bytes", "KB", "MB", "GB", "TB", "PB", "EB")


def _format_bytes(args: Sequence[str], apply: Apply) -> str:
    places = int(constant(apply, 1, "the precision")) if len(args) > 1 else 0
    if not 0 <= places <= 20:
        raise KqlError("bind", "format_bytes(): the precision is a number from 0 to 20")
    if len(args) < 3:
        names = ", ".join(text(each) for each in UNITS)
        return f"kf_bytes_text({args[0]}, {places}, [{names}])"
    unit = next((each for each in UNITS if each.lower() == str(constant(apply, 2, "the unit")).lower()), None)
    if unit is None:
        raise KqlError("bind", f"format_bytes(): the unit is one of {', '.join(UNITS)}")
    scale = 1024 ** UNITS.index(unit)
    return f"coalesce(kf_short({args[0]} / {scale}::DOUBLE, {places}) || ' {unit}', '')"


macro(
    "kf_short(x, places) := CASE WHEN places = 0 THEN format('{:.0f}', round(x)) "
    r"ELSE regexp_replace(format('{:.' || places || 'f}', round(x, places)), '\.?0*$', '') END"
)
macro(
    "kf_unit(x) := CASE WHEN abs(x) < 1024 THEN 0 ELSE least(floor(log2(abs(x)) / 10), 6)::INTEGER END",
)
macro(
    "kf_bytes_text(x, places, names) := coalesce(kf_short(x / pow(1024::DOUBLE, kf_unit(x)), places) || ' ' || "
    "names[kf_unit(x) + 1], '')"
)
function("format_bytes", "real long?! string?! -> string", duckdb=_format_bytes)

# ------------------------------------------------------------------ energy

# In joules. The units of heat: the thermochemical calorie and the BTU of the International Table (therms: of their
# laws); the horsepower is of 550 foot-pounds a second; the electron volt is of the SI of 2019.
_FOOT_POUND = 1.3558179483314004
_PREFIXES = {"Milli": 1e-3, "": 1.0, "Kilo": 1e3, "Mega": 1e6, "Giga": 1e9, "Tera": 1e12}
_PREFIXED: dict[str, tuple[float, tuple[str, ...]]] = {
    "Joule": (1.0, ("Milli", "", "Kilo", "Mega", "Giga")),
    "WattHour": (3600.0, ("", "Kilo", "Mega", "Giga", "Tera")),
    "WattDay": (86_400.0, ("", "Kilo", "Mega", "Giga", "Tera")),
    "Calorie": (4.184, ("", "Kilo", "Mega")),
    "BritishThermalUnit": (1055.05585262, ("", "Kilo", "Mega", "Giga")),
    "ElectronVolt": (1.602176634e-19, ("", "Kilo", "Mega", "Giga", "Tera")),
}
_THERMS = {"Ec": 105_505_585.262, "Imperial": 105_505_585.257348, "Us": 105_480_400.0}
ENERGIES: dict[str, float] = {
    **{
        prefix + (unit[0].lower() + unit[1:] if prefix else unit): _PREFIXES[prefix] * joules
        for unit, (joules, prefixes) in _PREFIXED.items()
        for prefix in prefixes
    },
    **{f"Therm{name}": joules for name, joules in _THERMS.items()},
    **{f"Decatherm{name}": 10 * joules for name, joules in _THERMS.items()},
    "Erg": 1e-7,
    "FootPound": _FOOT_POUND,
    "HorsepowerHour": 550 * 3600 * _FOOT_POUND,
}
_JOULES = " ".join(f"WHEN {text(name)} THEN {joules!r}::DOUBLE" for name, joules in ENERGIES.items())
macro(f"kf_joules(unit) := CASE unit {_JOULES} END")
function(
    "convert_energy",
    "real string string -> real",
    duckdb="({0} * kf_joules({1}) / kf_joules({2}))",
)
