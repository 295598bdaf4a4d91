"""Calls of scalar functions on DuckDB, without the binder: arguments are converted as a signature asks."""

from typing import Any

from tests.hunt.duck import connection

from bartizan.hunt.duckdb.literal import value
from bartizan.hunt.duckdb.values import rows_as_json, shown
from bartizan.hunt.functions import Chosen, choose
from bartizan.hunt.functions.conversions import convert
from bartizan.hunt.plan import Apply, Expression, Ref, Value
from bartizan.hunt.tree import Scalar

Given = tuple[Scalar, Any]
TICKS_1970 = 621_355_968_000_000_000


def long(number: int | None) -> Given:
    return ("long", number)


def whole(number: int | None) -> Given:
    return ("int", number)


def real(number: float | None) -> Given:
    return ("real", number)


def decimal(digits: str | None) -> Given:
    return ("decimal", digits)


def string(content: str) -> Given:
    return ("string", content)


def boolean(flag: bool | None) -> Given:
    return ("bool", flag)


def guid(digits: str | None) -> Given:
    return ("guid", digits)


def dynamic(content: Any) -> Given:
    return ("dynamic", content)


def instant(text: str | None) -> Given:
    """Of `2020-01-01` or `2020-01-01 10:00:00.5`."""
    if text is None:
        return ("datetime", None)
    from datetime import UTC, datetime, timedelta

    day = datetime.fromisoformat(text).replace(tzinfo=UTC)
    return ("datetime", (day - datetime(1, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10)


def span(ticks: int | None) -> Given:
    return ("timespan", ticks)


def said(name: str, given: tuple[Given, ...], columns: bool = False) -> tuple[str, Scalar]:
    """The SQL of a call and the type of its result. `columns`: what need not be a constant is a column."""
    chosen = choose("scalar", name, [type_ for type_, _ in given])
    assert chosen is not None, f"{name} of {[type_ for type_, _ in given]}"
    fixed = _fixed(chosen, len(given))
    args: list[Expression] = []
    texts, held = [], []
    for index, ((type_, content), wanted, is_fixed) in enumerate(zip(given, chosen.types, fixed, strict=True)):
        literal = value(Value(type_, content))
        column = columns and not is_fixed
        if column:
            held.append(f"{literal} AS a{index}")
        texts.append(
            convert(f"a{index}" if column else literal, type_, wanted)
            if type_ != wanted
            else f"a{index}"
            if column
            else literal
        )
        args.append(
            Ref(wanted, index)
            if column
            else Value(wanted, content)
            if type_ == wanted or is_fixed
            else Ref(wanted, index)
        )
    say = chosen.function.say["duckdb"]
    apply = Apply(chosen.type, chosen.function.key, args)
    sql = say(texts, apply) if callable(say) else say.format(*texts, args=", ".join(texts))
    source = f" FROM (SELECT {', '.join(held)} FROM range(3))" if held else ""
    return f"SELECT r FROM (SELECT {sql} AS r{source})", chosen.type


def _fixed(chosen: Chosen, count: int) -> list[bool]:
    takes = list(chosen.function.takes)
    if chosen.function.group[1]:
        return [False] * count
    return [takes[min(index, len(takes) - 1)].constant for index in range(count)]


def call(name: str, *given: Given) -> Any:
    """The result as a JSON value; constants and columns must agree."""
    results = []
    for columns in (False, True):
        sql, type_ = said(name, given, columns)
        outer = sql.replace("SELECT r FROM", f"SELECT {shown('r', type_)} FROM", 1)
        rows = connection().cursor().execute(outer).fetchall()
        results.append(rows_as_json([("r", type_)], rows[:1])[0][0])
    one, other = results
    assert repr(one) == repr(other), f"{name}: constants give {one!r}, columns {other!r}"
    return one
