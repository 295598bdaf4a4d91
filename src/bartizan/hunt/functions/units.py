"""Units of angle, force, length, mass and speed, each by its definition. What is no unit gives null.

Units whose size is measured, not defined, or is defined in several ways, are an error: which one the engine takes is
not published. Temperatures and volumes are not here for the same reason.

Source: Kusto Query Language, "convert_angle()", "convert_force()", "convert_length()", "convert_mass()",
"convert_speed()"; BIPM, "The International System of Units"; NIST, Special Publication 811, appendix B.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from math import pi

from bartizan.hunt.duckdb.literal import text
from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import function
from bartizan.hunt.plan import Apply, Value

GRAVITY, POUND, FOOT = 9.80665, 0.45359237, 0.3048
PREFIXES = {
    "Nano": 1e-9, "Micro": 1e-6, "Milli": 1e-3, "Centi": 1e-2, "Deci": 1e-1, "Deca": 1e1, "Hecto": 1e2, "Kilo": 1e3,
    "Mega": 1e6,
}  # fmt: skip


def _with(unit: str, size: float, prefixes: str) -> dict[str, float]:
    """A unit and those with a prefix: `Meter`, `Centimeter`."""
    prefixed = {f"{each}{unit[0].lower()}{unit[1:]}": PREFIXES[each] * size for each in prefixes.split()}
    return {unit: size, **prefixed}


ANGLES = {
    **_with("Radian", 1.0, "Nano Micro Milli Centi Deci"),
    **_with("Degree", pi / 180, "Nano Micro Milli"),
    "Arcminute": pi / 10_800,
    "Arcsecond": pi / 648_000,
    "Gradian": pi / 200,
    "NatoMil": pi / 3_200,
    "Revolution": 2 * pi,
}
FORCES = {
    **_with("Newton", 1.0, "Micro Milli Deca Kilo Mega"),
    "Dyn": 1e-5,
    "KilogramForce": GRAVITY,
    "KiloPond": GRAVITY,
    "PoundForce": POUND * GRAVITY,
    "KilopoundForce": 1_000 * POUND * GRAVITY,
    "OunceForce": POUND * GRAVITY / 16,
    "Poundal": POUND * FOOT,
    "ShortTonForce": 2_000 * POUND * GRAVITY,
    "TonneForce": 1_000 * GRAVITY,
}
LENGTHS = {
    **_with("Meter", 1.0, "Nano Micro Milli Centi Deci Deca Hecto Kilo"),
    "Angstrom": 1e-10,
    "AstronomicalUnit": 149_597_870_700.0,
    "Chain": 66 * FOOT,
    "DtpPica": FOOT / 72,
    "DtpPoint": FOOT / 864,
    "Fathom": 6 * FOOT,
    "Foot": FOOT,
    "Hand": FOOT / 3,
    "Inch": FOOT / 12,
    **_with("LightYear", 9_460_730_472_580_800.0, "Kilo Mega"),
    "Microinch": FOOT / 12e6,
    "Mil": FOOT / 12_000,
    "Mile": 5_280 * FOOT,
    "NauticalMile": 1_852.0,
    "Twip": FOOT / 17_280,
    "UsSurveyFoot": 1_200 / 3_937,
    "Yard": 3 * FOOT,
}
MASSES = {
    **_with("Gram", 1e-3, "Nano Micro Milli Centi Deci Deca Hecto Kilo"),
    **_with("Tonne", 1_000.0, "Kilo Mega"),
    **_with("Pound", POUND, "Kilo Mega"),
    "Grain": POUND / 7_000,
    "LongHundredweight": 112 * POUND,
    "LongTon": 2_240 * POUND,
    "Ounce": POUND / 16,
    "ShortHundredweight": 100 * POUND,
    "ShortTon": 2_000 * POUND,
    "Slug": POUND * GRAVITY / FOOT,
    "Stone": 14 * POUND,
}
_PER = {"PerSecond": 1.0, "PerMinute": 60.0, "PerHour": 3_600.0}
SPEEDS = {
    **{
        f"{unit}{per}": LENGTHS[unit] / seconds
        for unit in ("Centimeter", "Foot", "Inch", "Kilometer", "Meter", "Millimeter", "UsSurveyFoot", "Yard")
        for per, seconds in _PER.items()
    },
    **{
        f"{unit}{per}": LENGTHS[unit] / _PER[per]
        for unit in ("Decimeter", "Micrometer", "Nanometer")
        for per in ("PerSecond", "PerMinute")
    },
    "Knot": 1_852 / 3_600,
    "MilePerHour": LENGTHS["Mile"] / 3_600,
}
# Known units that are not here.
UNSURE = {
    "angle": ("Tilt",),
    "force": (),
    "length": ("DataMile", "Kiloparsec", "Megaparsec", "Parsec", "PrinterPica", "PrinterPoint", "Shackle",
               "SolarRadius"),
    "mass": ("EarthMass", "SolarMass"),
    "speed": (),
}  # fmt: skip


def _refused(kind: str, unit: str) -> str:
    return f"convert_{kind}() of the unit {unit} is not supported"


def _convert(kind: str, args: Sequence[str], apply: Apply) -> str:
    for each in apply.args[1:]:
        if isinstance(each, Value) and each.value in UNSURE[kind]:
            raise KqlError("plan", _refused(kind, each.value))
    return f"({args[0]} * kf_{kind}_unit({args[1]}) / kf_{kind}_unit({args[2]}))"


def _declare(kind: str, units: Mapping[str, float]) -> None:
    known = " ".join(f"WHEN {text(name)} THEN {size!r}::DOUBLE" for name, size in units.items())
    unsure = " ".join(f"WHEN {text(name)} THEN error({text(_refused(kind, name))})::DOUBLE" for name in UNSURE[kind])
    macro(f"kf_{kind}_unit(unit) := CASE unit {known} {unsure} END")
    function(f"convert_{kind}", "real string string -> real", duckdb=partial(_convert, kind))


for _kind, _units in (
    ("angle", ANGLES),
    ("force", FORCES),
    ("length", LENGTHS),
    ("mass", MASSES),
    ("speed", SPEEDS),
):
    _declare(_kind, _units)
