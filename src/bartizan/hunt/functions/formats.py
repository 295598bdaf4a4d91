"""format_datetime and format_timespan: a constant format of specifiers and of the characters between them.

The longest specifier that fits is taken at each place. `f` gives digits of a second, `F` the same without zeros at the
end. A timespan below zero has a minus in front.

Source: Kusto Query Language, "format_datetime()", "format_timespan()".
"""

from collections.abc import Sequence

from bartizan.hunt.duckdb.literal import text
from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import constant, function
from bartizan.hunt.plan import Apply, Expression, Value

BETWEEN = " /-:,._[]"
DATETIME = {
    "yyyy": "%Y",
    "yy": "%y",
    "y": "%-y",
    "MM": "%m",
    "M": "%-m",
    "dd": "%d",
    "d": "%-d",
    "HH": "%H",
    "H": "%-H",
    "hh": "%I",
    "h": "%-I",
    "mm": "%M",
    "m": "%-M",
    "ss": "%S",
    "s": "%-S",
    "tt": "%p",
}
FRACTIONS = tuple(letter * count for letter in "fF" for count in range(7, 0, -1))
DAYS = tuple("d" * count for count in range(8, 0, -1))
TIMESPAN = ("hh", "h", "HH", "H", "mm", "m", "ss", "s")

macro("kf_digits(digits, n) := left(digits, n)")
macro("kf_digits_short(digits, n) := rtrim(left(digits, n), '0')")
macro("kf_span_part(x, ticks, most) := (abs(x::HUGEINT) // ticks % most)::BIGINT")


def _pieces(format_: str, known: Sequence[str]) -> list[tuple[str, bool]]:
    """The format in order: a specifier (True) or characters between (False)."""
    made: list[tuple[str, bool]] = []
    at = 0
    while at < len(format_):
        found = next((each for each in known if format_.startswith(each, at)), None)
        if found is None and format_[at] not in BETWEEN:
            raise KqlError(
                "bind",
                f"the format {format_!r} holds {format_[at]!r}; it may hold {' '.join(known)} and the characters "
                f"{BETWEEN}",
            )
        made.append((found or format_[at], found is not None))
        at += len(found or " ")
    return made


def _fraction(specifier: str, digits: str) -> str:
    name = "kf_digits" if specifier[0] == "f" else "kf_digits_short"
    return f"{name}({digits}, {len(specifier)})"


def _digits(sql: str, instant: Expression) -> str:
    """The seven digits behind the second: of a constant all, of what is stored six."""
    if isinstance(instant, Value) and instant.value is not None:
        return text(f"{instant.value % 10_000_000:07d}")
    return f"(strftime({sql}, '%f') || '0')"


def _format(args: Sequence[str], apply: Apply) -> str:
    parts: list[str] = []
    run = ""
    known = sorted((*DATETIME, *FRACTIONS), key=len, reverse=True)
    for piece, specifier in _pieces(str(constant(apply, 1, "the format")), known):
        if specifier and piece in FRACTIONS:
            if run:
                parts.append(f"strftime({args[0]}, {text(run)})")
            run = ""
            parts.append(_fraction(piece, _digits(args[0], apply.args[0])))
        else:
            run += DATETIME[piece] if specifier else piece
    if run:
        parts.append(f"strftime({args[0]}, {text(run)})")
    return f"coalesce({' || '.join(parts)}, '')" if parts else "''"


_SPANS = {
    "d": (864_000_000_000, 100_000_000),
    "h": (36_000_000_000, 24),
    "H": (36_000_000_000, 24),
    "m": (600_000_000, 60),
    "s": (10_000_000, 60),
}


def _format_span(args: Sequence[str], apply: Apply) -> str:
    span = args[0]
    parts = [f"CASE WHEN {span} < 0 THEN '-' ELSE '' END"]
    known = sorted((*DAYS, *TIMESPAN, *FRACTIONS), key=len, reverse=True)
    for piece, specifier in _pieces(str(constant(apply, 1, "the format")), known):
        if not specifier:
            parts.append(text(piece))
        elif piece in FRACTIONS:
            parts.append(_fraction(piece, f"lpad((abs({span}::HUGEINT) % 10000000)::VARCHAR, 7, '0')"))
        else:
            number = f"kf_span_part({span}, {_SPANS[piece[0]][0]}, {_SPANS[piece[0]][1]})"
            parts.append(f"format('{{:0{len(piece)}d}}', {number})")
    return f"coalesce({' || '.join(parts)}, '')"


function("format_datetime", "datetime string! -> string", duckdb=_format)
function("format_timespan", "timespan string! -> string", duckdb=_format_span)
