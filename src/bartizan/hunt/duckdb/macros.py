"""Macros of DuckDB that the SQL of a query may use: declared beside what needs them, made when a connection is opened
or, as making all of them takes half a second, when a statement first names them (`Macros`).

    macro("kql_wrap(x) := ...")

A macro is written out by DuckDB where it is used, so that it costs nothing at run time but keeps the SQL short. An
argument that a macro uses twice is worked out once only where DuckDB sees that it is the same.
"""

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from re import compile as pattern
from typing import Protocol

MACROS: dict[str, str] = {}  # by name
TICKS_A_DAY = 864_000_000_000
FIRST_MICROSECOND = -62_135_596_800_000_000  # 0001-01-01, of 1970
LAST_MICROSECOND = 253_402_300_799_999_999  # the end of 9999


_CALLED = pattern(r"\w+(?=\()")
_OURS = pattern(r"\bk(?:f|ql)_\w+")  # how the name of every macro begins


class Runs(Protocol):
    def execute(self, query: str) -> object: ...


def macro(text: str) -> None:
    """Declares `name(arguments) := sql`; a second declaration of a name must be the same."""
    head, _, body = text.partition(":=")
    name = head.partition("(")[0].strip()
    if not _OURS.fullmatch(name):
        raise ValueError(f"the name of a macro begins with kql_ or kf_: {name}")
    if not body or MACROS.setdefault(name, text) != text:
        raise ValueError(f"macro without a text, or declared twice: {name}")


def writes_lambda(sql: str) -> bool:
    """Whether a lambda stands in SQL, or in a macro that it names."""
    return "lambda" in sql or any(_writes_lambda(each) for each in _OURS.findall(sql))


@cache
def _writes_lambda(name: str) -> bool:
    return name in MACROS and writes_lambda(MACROS[name].partition(":=")[2])


def statements() -> Iterator[str]:
    """What makes all macros, those of the functions too."""
    _declared()
    done: set[str] = set()
    for name in MACROS:
        yield from _with_what_it_uses(name, done)


def _declared() -> None:
    """Reads all that declares macros."""
    import_module("bartizan.hunt.functions").names("scalar")  # reads every family, which declare theirs
    for module in ("expand", "values"):
        import_module(f"bartizan.hunt.duckdb.{module}")


def _with_what_it_uses(name: str, done: set[str]) -> Iterator[str]:
    """A macro may only be made when those in its text are there."""
    if name in done:
        return
    done.add(name)
    head, _, body = MACROS[name].partition(":=")
    for used in _CALLED.findall(body):
        if used in MACROS:
            yield from _with_what_it_uses(used, done)
    yield f"CREATE OR REPLACE MACRO {head.strip()} AS ({body.strip()})"


def install(connection: Runs) -> None:
    connection.execute(";\n".join(statements()))


class Macros:
    """Those of one database. All modules that it needs are read when it is made, none later."""

    def __init__(self, connection: Runs) -> None:
        _declared()
        self._connection = connection
        self._made: set[str] = set()

    def ready(self, sql: str) -> None:
        """Makes what a statement names and is not there yet. DuckDB's errors, those of an interrupt too: nothing is
        taken for made then."""
        done = set(self._made)
        named = sorted(set(_OURS.findall(sql)).intersection(MACROS) - done)
        made = [each for name in named for each in _with_what_it_uses(name, done)]
        if made:
            self._connection.execute(";\n".join(made))
            self._made = done


# Long arithmetic wraps around as two's complement does; x is a HUGEINT of what two longs can make, their product too.
# A multiple of 2^64 makes it positive first. x stands once, so that nesting does not double the text.
macro(f"kql_wrap(x) := (((x + {2**126 - 2**64 + 2**63}::HUGEINT) & {2**64 - 1}::HUGEINT) - {2**63}::HUGEINT)::BIGINT")
# An instant outside of the years 1 to 9999 is null; x is microseconds since 1970, a HUGEINT. A cast that fails at the
# upper end of BIGINT, then one at the lower, for the same reason.
_ABOVE = 2**63 - 1 - LAST_MICROSECOND
_BELOW = 2**63 + FIRST_MICROSECOND
macro(
    f"kql_clamp_time(x) := make_timestamp((try_cast(try_cast(x + {_ABOVE}::HUGEINT AS BIGINT)::HUGEINT "
    f"- {_ABOVE + _BELOW}::HUGEINT AS BIGINT)::HUGEINT + {_BELOW}::HUGEINT)::BIGINT)"
)
macro("kql_get(x, path) := nullif(json_extract(x, path)::VARCHAR, 'null')")
macro("kql_time_text(x) := strftime(x, '%Y-%m-%dT%H:%M:%S.%f0Z')")
macro(
    "kql_span_text(x) := CASE WHEN x < 0 THEN '-' ELSE '' END "
    f"|| CASE WHEN abs(x::HUGEINT) >= {TICKS_A_DAY} "
    f"THEN (abs(x::HUGEINT) // {TICKS_A_DAY})::VARCHAR || '.' ELSE '' END "
    "|| lpad((abs(x::HUGEINT) // 36000000000 % 24)::VARCHAR, 2, '0') || ':' "
    "|| lpad((abs(x::HUGEINT) // 600000000 % 60)::VARCHAR, 2, '0') || ':' "
    "|| lpad((abs(x::HUGEINT) // 10000000 % 60)::VARCHAR, 2, '0') "
    "|| CASE WHEN x % 10000000 <> 0 THEN '.' || lpad((abs(x::HUGEINT) % 10000000)::VARCHAR, 7, '0') ELSE '' END"
)
