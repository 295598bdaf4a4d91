"""Graphs: made of a table of edges and tables of nodes, narrowed, and given back as tables.

Every end of an edge is a node; one that no table of nodes has is there without properties.

Source: Kusto Query Language, "make-graph operator", "graph-to-table operator", "graph-where-nodes operator",
"graph-where-edges operator".
"""

from collections.abc import Sequence

from bartizan.hunt import tree
from bartizan.hunt.binder.expressions import condition
from bartizan.hunt.binder.order import first
from bartizan.hunt.binder.scope import Field, Graph, Names, Relation, Rows
from bartizan.hunt.binder.unions import united
from bartizan.hunt.binder.work import Work, apply, convert, project
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import Column, Expression, Filter, Join, Number, Summarize, Value, Windowed

KEY, ENDS = 1, 3  # hidden fields in front of the properties of nodes, of edges
APART = "\x1f\x1e"  # between the part and the key of a node; both are looked for at their first place
PARTED = frozenset("graph-match graph-shortest-paths graph-to-table graph-where-nodes graph-where-edges".split())


def make_graph(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    body = op.body
    assert isinstance(body, tree.Graph) and body.source is not None and body.target is not None
    if relation.groups:
        raise KqlError("plan", "make-graph within partition is not supported", op.at)
    rows = Rows.of(relation)
    ends = [work.bind(each, names, rows) for each in (body.source, body.target)]
    if ends[0].type != ends[1].type:
        raise KqlError("bind", f"an edge goes from {ends[0].type} to {ends[1].type}; both must be of one type", op.at)
    if body.partition is not None:
        part = work.bind(body.partition[0], names, rows)
        ends = [_within(part, each, op.at) for each in ends]
    number = Windowed(work.id(), "long", "row_number", [Value("long", 0)])
    numbered = Relation(Number(relation.cut(), [number]), relation.fields)
    own = [(work.field("", end.type), end) for end in ends]
    place = work.field("", "long")
    made = [*own, (place, Field("", number.id, "long").ref), *((each, each.ref) for each in relation.fields)]
    edges = work.share(project(numbered, made), once=True)
    nodes = _nodes(work, op, body, names, edges)
    made_graph = _relation(Graph(nodes, edges, body.directed))
    return made_graph if body.partition is None else _of_each(work, body.partition[1], names, made_graph)


def _within(part: Expression, key: Expression, at: int) -> Expression:
    """The key of a node in the graph of a part: those of several parts are graphs apart in one."""
    return apply("strcat", [convert(part, "string", at), Value("string", APART), convert(key, "string", at)], at)


def _of_each(work: Work, pipe: tree.Pipe, names: Names, graph: Relation) -> Relation:
    """What an operator gives of the graphs of all parts. None of those that are taken looks at two parts at once."""
    for each in pipe.operators:
        if each.name not in PARTED:
            raise KqlError("plan", f"{each.name} within partitioned-by is not supported", each.at)
    found = work.pipe(pipe, names, graph)
    if found.graph is not None:
        raise KqlError("bind", "partitioned-by needs an operator that gives a table", pipe.at)
    return found


def _relation(graph: Graph) -> Relation:
    return Relation(graph.edges.plan, (), graph=graph)


def _nodes(work: Work, op: tree.Operator, body: tree.Graph, names: Names, edges: Relation) -> Relation:
    part = None if body.partition is None else body.partition[0]
    if part is not None and (body.node_id or not isinstance(part, tree.Name)):
        raise KqlError("plan", "partitioned-by is supported with a column of edges and tables of nodes", op.at)
    told = [_table(work, table, key, names, part) for table, key in body.nodes]
    ends = [work.again(edges), work.again(edges)]
    legs = [(rows, rows.fields[index].ref) for index, rows in enumerate(ends)] + [(rows, key) for rows, key, _ in told]
    if len({key.type for _, key in legs}) > 1:
        raise KqlError("bind", "the keys of nodes are of another type than the ends of edges", op.at)
    keys = united(work, [project(_plain(rows), [(work.field("key", key.type), key)]) for rows, key in legs], False, "")
    key = work.field(body.node_id or "", keys.fields[0].type)
    distinct = Relation(Summarize(keys.plan, [Column(key.id, keys.fields[0].ref)], []), (key,))
    shown = [(work.field(key.name, key.type), key.ref)] if body.node_id else []
    if not told:
        return work.share(project(distinct, [(work.field("", key.type), key.ref), *shown]), once=True)
    props, own, same = _properties(work, told)
    joined = Relation(Join(distinct.plan, props.cut(), "leftouter", [(key.ref, own.ref)]), (key, *props.fields))
    given = [(each, _key_of(key, each, part, op.at) if each.name == same else each.ref) for each in props.fields[KEY:]]
    made = [(work.field(each.name, each.type), value) for each, value in given]
    return work.share(project(joined, [(work.field("", key.type), key.ref), *made]), once=True)


def _key_of(key: Field, shown: Field, part: "tree.Expr | None", at: int) -> Expression:
    """The property that is the key of a node, also of one that no table has."""
    if part is None:
        return key.ref
    text = apply("substring", [key.ref, apply("+", [apply("indexof", [key.ref, Value("string", APART)], at),
                                                    Value("long", len(APART))], at)], at)  # fmt: skip
    return convert(text, shown.type, at)


def _table(
    work: Work, table: tree.Pipe, key: tree.Expr, names: Names, part: "tree.Expr | None"
) -> tuple[Relation, Expression, str]:
    """A table of nodes, to be read twice; its key, and the key's name."""
    found = work.whole(table, names, Rows())
    if not isinstance(found, Relation) or found.graph is not None:
        raise KqlError("bind", "make-graph needs a table of nodes", table.at)
    value = work.bind(key, names, Rows.of(found))
    if part is not None:
        value = _within(work.bind(part, names, Rows.of(found)), value, key.at)
    hidden = work.field("", value.type)
    shared = work.share(project(_plain(found), [(hidden, value), *((each, each.ref) for each in found.fields)]))
    again = work.again(shared)
    return again, again.fields[0].ref, key.name if isinstance(key, tree.Name) else ""


def _plain(relation: Relation) -> Relation:
    """The same without the time at which rows came in."""
    return Relation(relation.plan, relation.fields)


def _properties(work: Work, told: Sequence[tuple[Relation, Expression, str]]) -> tuple[Relation, Field, str]:
    """One row for each key, which is the first field, with the columns of all tables; the name of the key's column."""
    legs = [work.again(rows) for rows, _, _ in told]
    if len(legs) == 1:
        found = legs[0]
    else:
        named = [Relation(leg.plan, (Field("$key", leg.fields[0].id, leg.fields[0].type), *leg.fields[1:]))
                 for leg in legs]  # fmt: skip
        found = united(work, named, False, "")
    own = found.fields[0]
    grouped = Relation(found.plan, found.fields, (own.ref,))
    single = first(work, grouped, Value("long", 1))
    called = {name for _, _, name in told}
    return Relation(single.plan, single.fields), own, called.pop() if len(called) == 1 else ""


# ------------------------------------------------------------------ a graph as tables, and a part of it


def graph_to_table(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    body, graph = op.body, relation.graph
    assert isinstance(body, tree.Graph) and graph is not None
    if len(body.outputs) != 1 or op.options:
        raise KqlError("plan", "graph-to-table is supported for nodes, or edges, alone and without ids", op.at)
    [(what, _)] = body.outputs
    found = work.again(graph.nodes if what == "nodes" else graph.edges)
    return Relation(found.plan, found.fields[KEY if what == "nodes" else ENDS :])


def graph_where(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    """Nodes that fit, with the edges between them; or all nodes, with the edges that fit."""
    body, graph = op.body, relation.graph
    assert isinstance(body, tree.Condition) and graph is not None
    nodes, edges = work.again(graph.nodes), work.again(graph.edges)
    chosen, skip = (nodes, KEY) if op.name == "graph-where-nodes" else (edges, ENDS)
    visible = Relation(chosen.plan, chosen.fields[skip:])
    fits = condition(work, body.expr, names, Rows(visible.by_name(), all=visible.fields))
    kept = work.share(chosen.over(Filter(chosen.plan, fits)), once=True)
    if chosen is edges:
        return _relation(Graph(graph.nodes, kept, graph.directed))
    for index in (0, 1):
        ends = work.again(kept)
        edges = edges.over(Join(edges.cut(), ends.cut(), "leftsemi", [(edges.fields[index].ref, ends.fields[0].ref)]))
    return _relation(Graph(kept, work.share(edges, once=True), graph.directed))
