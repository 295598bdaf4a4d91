"""Joins and unions.

Two nulls are equal as keys of a join, as Kusto's own engine has it (its documentation says nothing of them).

Source: Kusto Query Language, "join operator" and the page of each flavor, "union operator".
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bartizan.hunt import plan as p
from bartizan.hunt.duckdb import literal
from bartizan.hunt.duckdb.literal import NATIVE
from bartizan.hunt.duckdb.select import Select, name
from bartizan.hunt.functions import TOGETHER
from bartizan.hunt.plan import Expression, Id, Plan
from bartizan.hunt.tree import Scalar

if TYPE_CHECKING:
    from bartizan.hunt.duckdb.emit import Emitter

WORDS: dict[p.JoinKind, str] = {
    "innerunique": "JOIN",
    "inner": "JOIN",
    "leftouter": "LEFT JOIN",
    "rightouter": "RIGHT JOIN",
    "fullouter": "FULL JOIN",
    "leftsemi": "SEMI JOIN",
    "leftanti": "ANTI JOIN",
    "rightsemi": "SEMI JOIN",
    "rightanti": "ANTI JOIN",
}


def join(emitter: "Emitter", node: p.Join) -> Select:
    left, right = _side(emitter, node.left), _side(emitter, node.right)
    pairs = [(emitter.expr(one, left.columns), emitter.expr(other, right.columns)) for one, other in node.on]
    if node.kind == "innerunique":
        left = _unique(emitter, left, [one for one, _ in pairs])
    condition = " AND ".join(_equal(one, other, keys) for (one, other), keys in zip(pairs, node.on, strict=True))
    first, second = (right, left) if node.kind in ("rightsemi", "rightanti") else (left, right)
    source = f"{first.source} {WORDS[node.kind]} {second.source} ON {condition or 'TRUE'}"
    if node.kind in ("leftsemi", "leftanti", "rightsemi", "rightanti"):
        return emitter.nested(Select(source, first.columns, first.where))
    columns: dict[Id, str] = {}
    for side, missing in ((node.left, ("rightouter", "fullouter")), (node.right, ("leftouter", "fullouter"))):
        for out in side.columns:
            absent = out.type == "string" and node.kind in missing
            columns[out.id] = f"coalesce({name(out.id)}, '')" if absent else name(out.id)
    return Select(source, columns)


MOST_NOTHING = 2_000  # places of a union that its tables do not fill
MOST_MOVED = 500_000  # expressions of a condition that is asked of each table of a union by itself


def _side(emitter: "Emitter", plan: Plan) -> Select:
    """A side as a table of its own, its columns by their names."""
    names = {out.id: name(out.id) for out in plan.columns}
    return Select(emitter.table(plan), names)


def _equal(one: str, other: str, keys: tuple[Expression, Expression]) -> str:
    if keys[0].type == "string":
        return f"{one} = {other}"
    return f"{one} IS NOT DISTINCT FROM {other}"


def _unique(emitter: "Emitter", left: Select, keys: list[str]) -> Select:
    """One row of each key."""
    if set(keys) == set(left.columns.values()):
        text = f"SELECT DISTINCT {', '.join(left.columns.values())} FROM {left.source}"
    else:
        text = f"SELECT DISTINCT ON ({', '.join(keys)}) {', '.join(left.columns.values())} FROM {left.source}"
    return Select(f"({text}) AS s{emitter.number()}", left.columns)


def union(emitter: "Emitter", node: p.Union) -> Select:
    legs = []
    for each in node.inputs:
        made = emitter.restricted(emitter.plan(each), each.columns)
        # All of a column are of one type of DuckDB: JSON beside VARCHAR would be checked row by row.
        for out in each.columns:
            if out.type == "dynamic":
                made.columns[out.id] = f"{made.columns[out.id]}::{NATIVE['dynamic']}"
        legs.append(made)
    names = {out.id: name(out.id) for out in node.columns}
    alias = f"s{emitter.number()}"
    if is_wide(node):
        return _packed(emitter, node, legs, alias)
    texts = [_text(each) for each in legs]
    if not names:
        return Select(f"({' UNION ALL '.join(texts)}) AS {alias}", {})
    return Select(f"({' UNION ALL '.join(texts)}) AS {alias}({', '.join(names.values())})", names)


def _text(leg: Select) -> str:
    return f"({leg.text()})" if leg.limit else leg.text()


# ------------------------------------------------------------------ of many tables with few columns in common


def is_wide(node: p.Union) -> bool:
    """Whether its rows are mostly columns that their table has not."""
    return sum(_absent(each) for leg in node.inputs for each in getattr(leg, "made", ())) > MOST_NOTHING


def _absent(one: p.Column) -> bool:
    return isinstance(one.expression, p.Value) and one.expression.value in (None, "")


def _packed(emitter: "Emitter", node: p.Union, legs: Sequence[Select], alias: str) -> Select:
    """Columns of at least half of the tables as they are; the others of a table as one array of their texts, from which
    a column is taken where it is read. DuckDB holds room for thousands of rows of each column in each leg: thousands
    of columns in a hundred legs are more than the memory of a hunt."""
    given = [
        {out.id: leg.columns[own.id] for out, own, made in zip(node.columns, each.columns, each.made, strict=True)
         if not _absent(made)}
        for leg, each in zip(legs, (each for each in node.inputs if isinstance(each, p.Project)), strict=True)
    ]  # fmt: skip
    holders: dict[Id, list[int]] = {out.id: [] for out in node.columns}
    for index, own in enumerate(given):
        for id_ in own:
            holders[id_].append(index)
    shared = [out for out in node.columns if 2 * len(holders[out.id]) >= len(legs)]
    alone = [out for out in node.columns if 2 * len(holders[out.id]) < len(legs)]
    places: dict[Id, list[str]] = {out.id: [] for out in alone}
    texts = []
    for index, (leg, own) in enumerate(zip(legs, given, strict=True)):
        values = [literal.value(p.Value(out.type, None)) if out.id not in own else own[out.id] for out in shared]
        packed = [out for out in alone if out.id in own]
        for place, out in enumerate(packed):
            places[out.id].append(f"WHEN {index} THEN {alias}.p[{place + 1}]")
        listed = ", ".join(f"{own[out.id]}::VARCHAR" for out in packed)
        columns = dict(zip((out.id for out in shared), values, strict=True))
        texts.append(_text_with(leg, columns, {"leg": f"{index}::SMALLINT", "p": f"[{listed}]::VARCHAR[]"}))
    columns = {out.id: f"{alias}.{name(out.id)}" for out in shared} | {
        out.id: _taken(f"CASE {alias}.leg {' '.join(places[out.id])} END" if places[out.id] else "NULL", out.type)
        for out in alone
    }
    source = f"({' UNION ALL '.join(texts)}) AS {alias}"
    emitter.wide[source] = alias
    return Select(source, {out.id: columns[out.id] for out in node.columns})


def _taken(text: str, type_: Scalar) -> str:
    return f"coalesce({text}, '')" if type_ == "string" else f"CAST({text} AS {NATIVE[type_]})"


def _text_with(leg: Select, columns: dict[Id, str], hidden: dict[str, str]) -> str:
    text = Select(leg.source, columns, leg.where, leg.order, leg.limit).text(hidden)
    return f"({text})" if leg.limit else text


def limited(emitter: "Emitter", inner: Select, count: str) -> Select | None:
    """The first rows of a wide union: they are chosen before columns are taken out of what is packed."""
    alias = emitter.wide.get(inner.source)
    if alias is None:
        return None
    where = f" WHERE {' AND '.join(inner.where)}" if inner.where else ""
    order = f" ORDER BY {inner.order_text()}" if inner.order else ""
    source = f"(SELECT {alias}.* FROM {inner.source}{where}{order} LIMIT {count}) AS {alias}"
    emitter.wide[source] = alias
    return Select(source, inner.columns, order=inner.order)


def before(node: p.Filter) -> p.Plan:
    """A filter of a wide union asks each table's own columns, not what is packed."""
    union = node.input
    if not isinstance(union, p.Union) or not is_wide(union):
        return node
    if p.size(node.condition) * len(union.inputs) > MOST_MOVED:
        return node
    legs: list[Plan] = []
    for leg in union.inputs:
        if not isinstance(leg, p.Project):
            return node
        own = {out.id: made.expression for out, made in zip(union.columns, leg.made, strict=True)}
        condition = _of(node.condition, own)
        if condition is None:
            return node
        legs.append(p.Project(p.Filter(leg.input, condition), leg.made))
    return p.Union(union.columns, legs)


def _is_nothing(one: "Expression | None") -> bool:
    """An absent column, or what it is as a text."""
    if isinstance(one, p.Apply):
        return one.type == "string" and len(one.args) == 1 and _is_nothing(one.args[0])
    return isinstance(one, p.Value) and one.value in (None, "")


def _of(one: Expression, own: Mapping[Id, Expression]) -> "Expression | None":
    """The expression over a table's own columns; None: it reads tables, which are not to be read once a leg."""
    match one:
        case p.Value():
            return one
        case p.Ref():
            return own[one.id]
        case p.Apply():
            args = [_of(each, own) for each in one.args]
            if one.function.startswith(TOGETHER):  # of texts that are searched together those that there are
                args = [each for each in args if not _is_nothing(each)] or args[:1]
            return None if None in args else replace(one, args=args)
        case p.Path():
            of = _of(one.of, own)
            steps = [each if isinstance(each, str | int) else _of(each, own) for each in one.steps]
            return None if of is None or None in steps else replace(one, of=of, steps=steps)
    return None
