"""graph-mark-components: which nodes of a graph hang together.

The engine is asked for the ends of all edges and for all nodes; which belong together is worked out here, and the
numbers are joined to the nodes. They count from 0, in the order of the edges, nodes without any last.

Source: Kusto Query Language, "graph-mark-components operator"; Tarjan, "Depth-first search and linear graph
algorithms".
"""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

from bartizan.hunt import tree
from bartizan.hunt.binder.joins import option
from bartizan.hunt.binder.prune import prune
from bartizan.hunt.binder.scope import Graph, Names, Relation
from bartizan.hunt.binder.work import Work, apply, convert, project
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import Expression, Filter, Join, Limit, Out, Ref, Value
from bartizan.hunt.plan import Rows as Values

MOST_ELEMENTS = 100_000  # nodes, and edges; their numbers are written into the statement, which has a limit too
KEY = 1  # hidden fields in front of the properties of nodes
Key = Hashable


def mark_components(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    graph = relation.graph
    assert graph is not None
    kind = option(op, "kind", "weak").lower()
    if kind not in ("weak", "strong"):
        raise KqlError("bind", f"components are weak or strong, not {kind}", op.at)
    told = option(op, "with_component_id", "ComponentId")
    nodes, edges = work.again(graph.nodes), work.again(graph.edges)
    if told in {each.name for each in nodes.fields[KEY:]}:
        raise KqlError("bind", f"the nodes have a property '{told}' already", op.at)
    pairs = sorted(_looked_at(work, edges, (0, 1, 2), op.at), key=lambda row: int(row[2]))
    keys = [row[0] for row in _looked_at(work, nodes, (0,), op.at)]
    find = weak if kind == "weak" else strong
    numbers = find(keys, [(row[0], row[1]) for row in pairs])
    marked = _marked(work, nodes, [(key, numbers[key]) for key in keys if key in numbers], told, op.at)
    return Relation(graph.edges.plan, (), graph=Graph(work.share(marked, once=True), graph.edges, graph.directed))


def _looked_at(work: Work, relation: Relation, wanted: Sequence[int], at: int) -> Sequence[Sequence[Any]]:
    """These columns of all rows, the keys of nodes as texts."""
    if work.ask is None:
        raise KqlError("plan", "components follow from the data, which cannot be looked at here", at)
    made = [(work.field("", "string"), convert(relation.fields[index].ref, "string", at)) for index in wanted]
    found = project(Relation(relation.plan, relation.fields), made)
    plan = Limit(found.plan, Value("long", MOST_ELEMENTS + 1))
    rows = work.ask(prune(plan, [field for field, _ in made], work.deadline))
    if len(rows) > MOST_ELEMENTS:
        raise KqlError("run", f"components are worked out of at most {MOST_ELEMENTS:,} nodes or edges", at)
    return rows


def _marked(work: Work, nodes: Relation, found: Iterable[tuple[Any, int]], told: str, at: int) -> Relation:
    own, number = Out(work.id(), "string"), work.field(told, "long")
    rows: list[list[Expression]] = [[Value("string", key), Value("long", each)] for key, each in found]
    table = Values([own, Out(number.id, "long")], rows)
    text = convert(nodes.fields[0].ref, "string", at)
    plan = Join(nodes.cut(), table, "leftouter", [(text, Ref("string", own.id))])
    why = "the graph came out otherwise when it was read again; sort its rows, or materialize them"
    known = apply("isnotnull", [number.ref], at)
    return Relation(Filter(plan, apply("assert", [known, Value("string", why)], at)), (*nodes.fields, number))


# ------------------------------------------------------------------ the components


def _numbered(order: Iterable[Key], component: dict[Key, Key]) -> dict[Key, int]:
    numbers: dict[Key, int] = {}
    return {key: numbers.setdefault(component[key], len(numbers)) for key in order}


def weak(keys: Sequence[Key], edges: Sequence[tuple[Key, Key]]) -> dict[Key, int]:
    """Connected whichever way the edges go."""
    above: dict[Key, Key] = {key: key for key in keys}

    def root(key: Key) -> Key:
        while above[key] != key:
            above[key] = above[above[key]]
            key = above[key]
        return key

    known = [edge for edge in edges if edge[0] in above and edge[1] in above]
    for one, other in known:
        above[root(one)] = root(other)
    order = dict.fromkeys([key for edge in known for key in edge] + list(keys))
    return _numbered(order, {key: root(key) for key in keys})


def strong(keys: Sequence[Key], edges: Sequence[tuple[Key, Key]]) -> dict[Key, int]:
    """Connected both ways: Tarjan's way, without recursion."""
    out: dict[Key, list[Key]] = {key: [] for key in keys}
    for one, other in edges:
        if one in out and other in out:
            out[one].append(other)
    seen: dict[Key, int] = {}
    low: dict[Key, int] = {}
    component: dict[Key, Key] = {}
    waiting: list[Key] = []
    for start in keys:
        path = [] if start in seen else [(start, iter(out[start]))]
        while path:
            key, rest = path[-1]
            if key not in seen:
                seen[key] = low[key] = len(seen)
                waiting.append(key)
            following = next((each for each in rest if each not in component), None)
            if following is not None:
                if following in seen:
                    low[key] = min(low[key], seen[following])
                else:
                    path.append((following, iter(out[following])))
                continue
            path.pop()
            if path:
                low[path[-1][0]] = min(low[path[-1][0]], low[key])
            while low[key] == seen[key] and key not in component:
                component[waiting.pop()] = key
    known = [key for edge in edges for key in edge if key in out]
    return _numbered(dict.fromkeys([*known, *keys]), component)
