"""Results as the wire has them: what DuckDB gives for a column becomes the JSON value of its Kusto type.

datetime `2020-01-01T00:00:00.5Z` with as many places as it needs, timespan `[-][d.]hh:mm:ss[.fffffff]`, guid and
decimal as text, dynamic as the JSON value that it is, a real that is no number as "NaN", "Infinity", "-Infinity".

Texts are made by DuckDB, in columns (`shown`); Python only touches what DuckDB cannot say (`rows_as_json`).

Source: Microsoft Graph, huntingQueryResults; Kusto, "Query V2 HTTP response".
"""

from collections.abc import Callable, Iterable, Sequence
from math import isfinite
from typing import Any

from msgspec import json

from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.tree import Scalar

macro("kql_wire_time(x) := rtrim(rtrim(strftime(x, '%Y-%m-%dT%H:%M:%S.%f'), '0'), '.') || 'Z'")
macro("kql_wire_decimal(x) := rtrim(rtrim(x::VARCHAR, '0'), '.')")


def shown(sql: str, type_: Scalar) -> str:
    """The SQL of a column, given the name of a column of this type, that `rows_as_json` understands."""
    match type_:
        case "datetime":
            return f"kql_wire_time({sql})"
        case "timespan":
            return f"kql_span_text({sql})"
        case "guid" | "dynamic":
            return f"{sql}::VARCHAR"
        case "decimal":
            return f"kql_wire_decimal({sql})"
        case _:
            return sql


def _real(number: float | None) -> Any:
    if number is None or isfinite(number):
        return number
    return "NaN" if number != number else "Infinity" if number > 0 else "-Infinity"


def _dynamic(content: str | None) -> Any:
    return None if content is None else json.decode(content)


_CONVERTERS: dict[Scalar, Callable[[Any], Any]] = {"real": _real, "dynamic": _dynamic}


def rows_as_json(columns: Sequence[tuple[str, Scalar]], rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    """JSON values, row by row, of what a statement gave whose columns (name and type) were made by `shown`."""
    made = [list(row) for row in rows]
    for index, (_, type_) in enumerate(columns):
        convert = _CONVERTERS.get(type_)
        if convert is not None:
            for row in made:
                row[index] = convert(row[index])
    return made
