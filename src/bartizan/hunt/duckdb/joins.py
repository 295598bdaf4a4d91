"""Joins and unions.

Two nulls are equal as keys of a join, as Kusto's own engine has it (its documentation says nothing of them).

Source: Kusto Query Language, "join operator" and the page of each flavor, "union operator".
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bartizan.hunt import plan as p
from bartizan.hunt.duckdb.literal import NATIVE
from bartizan.hunt.duckdb.select import Select, name
from bartizan.hunt.plan import Expression, Id, Plan

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
    if sum(_nothing(sql) for leg in legs for sql in leg.columns.values()) > MOST_NOTHING:
        return _by_name(node, legs, alias)
    texts = [_text(each) for each in legs]
    if not names:
        return Select(f"({' UNION ALL '.join(texts)}) AS {alias}", {})
    return Select(f"({' UNION ALL '.join(texts)}) AS {alias}({', '.join(names.values())})", names)


def _text(leg: Select) -> str:
    return f"({leg.text()})" if leg.limit else leg.text()


def _nothing(sql: str) -> bool:
    """Whether it is what stands for a column that a table has not."""
    return sql == "''" or sql.startswith("NULL::")


def _by_name(node: p.Union, legs: Sequence[Select], alias: str) -> Select:
    """Of many tables with few columns in common: each leg tells its own alone, so that the text does not become the
    product of both."""
    told: set[int] = set()
    texts = []
    for index, (leg, given) in enumerate(zip(legs, node.inputs, strict=True)):
        pairs = list(zip(node.columns, given.columns, strict=True))
        own = {out.id: leg.columns[inner.id] for out, inner in pairs if not _nothing(leg.columns[inner.id])}
        told |= set(own)
        if index == len(legs) - 1:
            own |= {out.id: leg.columns[inner.id] for out, inner in pairs if out.id not in told}
        texts.append(_text(Select(leg.source, own, leg.where, leg.order, leg.limit)))
    columns = {
        out.id: f"coalesce({name(out.id)}, '')" if out.type == "string" else name(out.id) for out in node.columns
    }
    return Select(f"({' UNION ALL BY NAME '.join(texts)}) AS {alias}", columns)
