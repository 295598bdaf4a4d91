"""A pipe: its source and its steps, each by its own function. What few queries use is read when one does.

Source: Kusto Query Language, "Tabular operators".
"""

from collections.abc import Callable
from importlib import import_module
from typing import cast

from msgspec.structs import replace

from bartizan.hunt import tree
from bartizan.hunt.binder import columns, expand, joins, order, sources, summarize, unions
from bartizan.hunt.binder.scope import Names, Relation, TableOf
from bartizan.hunt.binder.work import Work
from bartizan.hunt.fault import KqlError

Step = Callable[[Work, tree.Operator, Names, Relation], Relation]
Beginning = Callable[[Work, tree.Operator, Names, "Relation | None"], Relation]
_HERE = "bartizan.hunt.binder"
_ON_GRAPHS = frozenset(
    "graph-mark-components graph-match graph-shortest-paths graph-to-table graph-where-nodes graph-where-edges".split()
)
_SEVERAL = {
    name: f"{name} is not supported: it gives several tables, and an answer is one; ask for each in a query of its own"
    for name in ("fork", "facet")
}


def pipe(work: Work, node: tree.Pipe, names: Names, current: Relation | None) -> Relation:
    """The rows that a pipe gives. `current`: those with which a sub-pipe begins."""
    if isinstance(node.source, tree.Find):
        relation: Relation | None = import_module(f"{_HERE}.search").found(work, node.source, names)
    else:
        relation = current if node.source is None else sources.source(work, node.source, names)
    for op in node.operators:
        work.spend(op.at, 5 if relation is None else 5 + len(relation.fields))
        if relation is None:
            begin = _BEGINNINGS.get(op.name)
            if begin is None:
                raise KqlError("bind", f"{op.name} needs rows before it", op.at)
            relation = begin(work, op, names, None)
            continue
        if op.name == "as":
            names, relation = _as(work, op, names, relation)
            continue
        step = STEPS.get(op.name)
        if step is None:
            raise KqlError("plan", _SEVERAL.get(op.name, f"the operator {op.name} is not supported"), op.at)
        if (relation.graph is None) == (op.name in _ON_GRAPHS):
            what = "works on a graph, of make-graph" if relation.graph is None else "does not work on a graph"
            raise KqlError("bind", f"{op.name} {what}", op.at)
        relation = step(work, op, names, relation)
        if relation.source:
            relation = relation.unnamed()
    if relation is None:
        raise KqlError("bind", "there are no rows to begin with", node.at)
    return relation


def _as(work: Work, op: tree.Operator, names: Names, relation: Relation) -> tuple[Names, Relation]:
    """A name for the rows so far, in what follows. Rows of parts get none: a query that reads them by it is refused,
    as it names no table."""
    assert isinstance(op.body, tree.Label)
    if relation.groups:
        return names, relation
    shared = work.share(relation)
    found = work.again(shared)
    named = replace(found, groups=(), source=op.body.name)
    return names.with_(op.body.name, TableOf(shared)), named


def _same(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    return relation


def _consume(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    """Nothing is given back."""
    return relation.over(relation.plan, [])


def _later(module: str, name: str) -> Beginning:
    """A step of a module that is read when it is first taken."""

    def step(work: Work, op: tree.Operator, names: Names, relation: Relation | None) -> Relation:
        taken = cast(Beginning, getattr(import_module(f"{_HERE}.{module}"), name))
        return taken(work, op, names, relation)

    return step


STEPS: dict[str, Step] = {
    "where": columns.where,
    "project": columns.project_,
    "project-away": columns.project_away,
    "project-keep": columns.project_keep,
    "project-rename": columns.project_rename,
    "project-reorder": columns.project_reorder,
    "project-smart": _same,
    "extend": columns.extend,
    "serialize": columns.extend,
    "distinct": columns.distinct,
    "getschema": columns.getschema,
    "summarize": summarize.summarize,
    "sort": order.sort,
    "take": order.take,
    "top": order.top,
    "count": order.count,
    "sample": order.sample,
    "sample-distinct": order.sample_distinct,
    "top-hitters": order.top_hitters,
    "join": joins.join,
    "lookup": joins.join,
    "union": unions.union,
    "mv-expand": expand.mv_expand,
    "mv-apply": expand.mv_apply,
    "parse": _later("parse", "parse"),
    "parse-where": _later("parse", "parse"),
    "parse-kv": _later("parse", "parse_kv"),
    "make-series": _later("series", "make_series"),
    "search": _later("search", "search"),
    "find": _later("search", "find"),
    "partition": _later("groups", "partition"),
    "top-nested": _later("groups", "top_nested"),
    "invoke": _later("groups", "invoke"),
    "scan": _later("scan", "scan"),
    "make-graph": _later("graphs", "make_graph"),
    "graph-match": _later("matches", "graph_match"),
    "graph-shortest-paths": _later("matches", "graph_match"),
    "graph-to-table": _later("graphs", "graph_to_table"),
    "graph-mark-components": _later("components", "mark_components"),
    "graph-where-nodes": _later("graphs", "graph_where"),
    "graph-where-edges": _later("graphs", "graph_where"),
    "evaluate": _later("plugins", "evaluate"),
    "reduce": _later("plugins", "reduce"),
    "render": _same,
    "consume": _consume,
}
_BEGINNINGS: dict[str, Beginning] = {
    "union": unions.union,
    "search": _later("search", "search"),
    "find": _later("search", "find"),
}
