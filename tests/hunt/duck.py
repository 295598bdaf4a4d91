"""Runs plans on DuckDB: what the tests of the emitter and of the functions share."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import duckdb

from bartizan.hunt import plan as p
from bartizan.hunt.duckdb.emit import emit
from bartizan.hunt.duckdb.literal import identifier
from bartizan.hunt.duckdb.open import connect
from bartizan.hunt.duckdb.values import rows_as_json
from bartizan.hunt.functions import choose
from bartizan.hunt.tree import Scalar


class Nowhere:
    """A storage of tables of the connection, each column under its own name."""

    def source(self, table: str) -> str:
        return identifier(table)

    def column(self, table: str, name: str) -> str:
        return identifier(name)


@cache
def connection() -> duckdb.DuckDBPyConnection:
    return connect()


def run(plan: p.Plan, on: duckdb.DuckDBPyConnection | None = None) -> list[list[Any]]:
    """The rows of the plan as JSON values."""
    fetched = (on or connection()).cursor().execute(emit(plan, Nowhere())).fetchall()
    return rows_as_json([(f"c{each.id}", each.type) for each in plan.columns], fetched)


def table(types: Sequence[Scalar], content: Sequence[Sequence[Any]], first: int = 1) -> p.Rows:
    """Rows of constants; the ids of the columns count from `first`."""
    columns = [p.Out(first + index, type_) for index, type_ in enumerate(types)]
    return p.Rows(columns, [[p.Value(t, v) for t, v in zip(types, row, strict=True)] for row in content])


def ref(of: p.Plan, index: int) -> p.Ref:
    out = of.columns[index]
    return p.Ref(out.type, out.id)


def apply(name: str, *args: p.Expression) -> p.Apply:
    """A call whose arguments are of the types of a signature already."""
    chosen = choose("scalar", name, [each.type for each in args])
    assert chosen is not None, f"{name} of {[each.type for each in args]}"
    assert list(chosen.types) == [each.type for each in args], f"{name}: {chosen.types}"
    return p.Apply(chosen.type, chosen.function.key, list(args))


def value(type_: Scalar, content: Any) -> p.Value:
    return p.Value(type_, content)


def worked_out(name: str, *given: tuple[Scalar, Any]) -> Any:
    """The result of a function, of constants and of columns: both ways of saying it must agree."""
    constants = [value(type_, content) for type_, content in given]
    direct = p.Project(p.Rows([], [[]]), [p.Column(1, apply(name, *constants))])
    held = table([type_ for type_, _ in given], [[content for _, content in given]] * 2)
    refs = [ref(held, index) for index in range(len(given))]
    column = p.Project(held, [p.Column(90, apply(name, *refs))])
    one, other = run(direct)[0][0], run(column)[0][0]
    assert one == other, f"{name}: constants give {one!r}, columns {other!r}"
    return one


def aggregate(name: str, id_: int, *args: p.Expression, where: "p.Expression | None" = None) -> p.Aggregate:
    chosen = choose("aggregate", name, [each.type for each in args])
    assert chosen is not None, f"{name} of {[each.type for each in args]}"
    return p.Aggregate(id_, chosen.type, chosen.function.key, list(args), where)
