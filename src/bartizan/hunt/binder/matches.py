"""graph-match and graph-shortest-paths: a pattern becomes joins of nodes and edges.

A path of several lengths is made length by length, each from the one before; what `map`, `any` and `all` ask of its
edges, or of the nodes within it, is gathered on the way.

Source: Kusto Query Language, "graph-match operator", "graph-shortest-paths operator", "map()", "any()", "all()",
"inner_nodes()", "node_degree_in()", "node_degree_out()".
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from bartizan.hunt import tree
from bartizan.hunt.binder.calls import aggregate_of
from bartizan.hunt.binder.columns import parts
from bartizan.hunt.binder.expressions import condition
from bartizan.hunt.binder.graphs import ENDS, KEY
from bartizan.hunt.binder.joins import option
from bartizan.hunt.binder.naming import Taken, bare, names_in, natural
from bartizan.hunt.binder.order import first, sorted_
from bartizan.hunt.binder.scope import Field, Graph, Names, Relation, Rows
from bartizan.hunt.binder.unions import united
from bartizan.hunt.binder.work import Work, apply, convert, project
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import (
    Aggregate,
    Column,
    Expression,
    Filter,
    Join,
    Number,
    Plan,
    Ref,
    SortKey,
    Summarize,
    Value,
    Windowed,
)

MOST_HOPS = 16  # of a path
GATHERED = ("map", "any", "all")
DEGREES = ("node_degree_in", "node_degree_out")  # the end of an edge that counts is the second, or the first
HIDDEN = "#"  # in a name that no query gives
ALWAYS = Value("long", 1)


class Gathered(Struct):
    """What is asked of all edges of a path (or of the nodes within it): `field` holds it for a whole path."""

    how: str
    inner: bool
    edge: str
    of: tree.Expr
    field: Field

    def none(self) -> Expression:
        return Value("dynamic", []) if self.how == "map" else Value("bool", self.how == "all")

    def more(self, before: Expression, one: Expression) -> Expression:
        """With one edge, or node, more."""
        if self.how == "map":
            return apply("array_concat", [before, apply("pack_array", [one], self.of.at)], self.of.at)
        return apply("or" if self.how == "any" else "and", [before, one], self.of.at)


def graph_match(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    body, graph = op.body, relation.graph
    assert isinstance(body, tree.Graph) and graph is not None
    if not body.project:
        raise KqlError("plan", f"{op.name} without project is not supported", op.at)
    return _Match(work, op, names, graph, body).answer(body)


class _Match:
    """One match while it is bound."""

    def __init__(self, work: Work, op: tree.Operator, names: Names, graph: Graph, body: tree.Graph) -> None:
        self.work, self.op, self.names, self.graph = work, op, names, graph
        self.shortest = op.name == "graph-shortest-paths"
        self.cycles = option(op, "cycles", "unique_edges").lower()
        if self.cycles not in ("all", "none", "unique_edges"):
            raise KqlError("bind", f"there is no kind '{self.cycles}' of cycles", op.at)
        self.plan: Plan | None = None
        self.fields: list[Field] = []  # all that the plan gives
        self.nodes: dict[str, Field] = {}  # the key of each node of the pattern
        self.sides: dict[str, dict[str, Field]] = {}
        self.edges: list[Field] = []  # numbers of single edges
        self.paths: list[Field] = []  # arrays of the numbers of the edges of paths, with cycles=none of their nodes
        self.lengths = {each.name: each for one in body.patterns for each in one if each.kind != "node"
                        and each.name and each.least is not None}  # fmt: skip
        self.edge_names = {each.name for one in body.patterns for each in one if each.kind != "node"}
        self.whole = {each.name: graph.nodes.fields[KEY:] if each.kind == "node" else graph.edges.fields[ENDS:]
                      for one in body.patterns for each in one if each.name}  # fmt: skip
        self.gathered: list[Gathered] = []
        self.degrees: dict[str, set[str]] = {}  # that are asked of each node, and of those within paths
        self.fitting = _of_one_node(body)

    def answer(self, body: tree.Graph) -> Relation:
        where = None if body.where is None else self._lifted(body.where)
        columns: list[tree.Named] = [self._lifted(each) for each in body.project]
        for pattern in body.patterns:
            self._pattern(pattern)
        assert self.plan is not None
        found = Relation(self.plan, tuple(self.fields))
        rows = Rows({each.field.name: each.field for each in self.gathered}, self.sides)
        for each in self._no_edge_twice():
            found = found.over(Filter(found.plan, each))
        if where is not None:
            found = found.over(Filter(found.plan, condition(self.work, where, self.names, rows)))
        if self.shortest:
            found = self._shortest(body, found)
        taken, made = Taken(), list[tuple[Field, Expression]]()
        for written, column in zip(body.project, columns, strict=True):
            found_parts = parts(self.work, column, self.names, rows)
            for part in found_parts:
                own = part.name if written.names or len(found_parts) > 1 else natural(written.expr)
                name = taken.free(own) if own else taken.column()
                made.append((self.work.field(name, part.value.type), part.value))
        return project(found, made)

    def _lifted(self, node: Any) -> Any:
        """The same tree, where what is gathered along a path is a name."""
        if isinstance(node, list):
            return [self._lifted(each) for each in node]
        if not isinstance(node, tree.Node):
            return node
        if isinstance(node, tree.Call) and node.name.lower() in GATHERED and len(node.args) == 2:
            return self._gather(node)
        if isinstance(node, tree.Call) and node.name.lower() in DEGREES:
            return self._degree(node)
        if isinstance(node, tree.Call) and node.name.lower() == "array_length" and len(node.args) == 1:
            path = node.args[0]  # how many edges it has
            if isinstance(path, tree.Name) and path.name in self.lengths:
                one = tree.Constant("long", 1, at=path.at, end=path.end)
                return replace(node, args=[self._gather(tree.Call("map", [path, one], at=node.at, end=node.end))])
        if isinstance(node, tree.Member) and isinstance(node.of, tree.Name) and node.of.name in self.lengths:
            of = tree.Name(node.name, at=node.at, end=node.end)  # the property of each edge of a path
            return self._gather(tree.Call("map", [node.of, of], at=node.at, end=node.end))
        if isinstance(node, tree.Member) and isinstance(node.of, tree.Name):
            return node
        if isinstance(node, tree.Name) and node.name in self.whole:
            return self._properties(node)
        changes = {
            name: self._lifted(getattr(node, name)) for name in node.__struct_fields__ if name not in ("at", "end")
        }
        return replace(node, **changes)

    def _degree(self, node: tree.Call) -> tree.Member:
        """How many edges of the graph end, or begin, at a node: a property that is joined to it."""
        asked = bare(node.args[0]) if len(node.args) == 1 else None
        if not isinstance(asked, tree.Name) or asked.name not in self.whole or asked.name in self.edge_names:
            raise KqlError("plan", f"{node.name}() is supported of a node of the pattern", node.at)
        if not self.graph.directed:
            raise KqlError("bind", f"{node.name}() needs a graph whose edges have a direction", node.at)
        self.degrees.setdefault(asked.name, set()).add(node.name.lower())
        return tree.Member(asked, f"{HIDDEN}{node.name.lower()}", at=node.at, end=node.end)

    def _inner_degrees(self, node: Any) -> Any:
        """What is asked of inner nodes, where how many edges they have is a property of each."""
        if isinstance(node, list):
            return [self._inner_degrees(each) for each in node]
        if not isinstance(node, tree.Node):
            return node
        if isinstance(node, tree.Call) and node.name.lower() in DEGREES and not node.args:
            self.degrees.setdefault(HIDDEN, set()).add(node.name.lower())
            return tree.Name(f"{HIDDEN}{node.name.lower()}", at=node.at, end=node.end)
        fields = (name for name in node.__struct_fields__ if name not in ("at", "end"))
        return replace(node, **{name: self._inner_degrees(getattr(node, name)) for name in fields})

    def _properties(self, node: tree.Name) -> tree.Expr:
        """A node or an edge as a bag of all its properties; of a path an array of the bags of its edges."""
        of_path = node.name in self.lengths
        args: list[tree.Expr | tree.Pipe] = []
        for each in self.whole[node.name]:
            args.append(tree.Constant("string", each.name, at=node.at, end=node.end))
            own = tree.Name(each.name, at=node.at, end=node.end)
            args.append(own if of_path else tree.Member(node, each.name, at=node.at, end=node.end))
        bag: tree.Expr = tree.Constant("dynamic", {}, at=node.at, end=node.end)
        if args:
            bag = tree.Call("bag_pack", args, at=node.at, end=node.end)
        return self._gather(tree.Call("map", [node, bag], at=node.at, end=node.end)) if of_path else bag

    def _gather(self, node: tree.Call) -> tree.Name:
        target, of = node.args
        inner = isinstance(target, tree.Call) and target.name.lower() == "inner_nodes" and len(target.args) == 1
        path = target.args[0] if isinstance(target, tree.Call) and inner else target
        if not isinstance(path, tree.Name) or path.name not in self.lengths or isinstance(of, tree.Pipe):
            raise KqlError(
                "bind", f"{node.name}() takes an edge of several lengths, or the inner nodes of one", node.at
            )
        if inner and self.graph.directed:
            of = self._inner_degrees(of)
        how = node.name.lower()
        name = f"{node.name}{HIDDEN}{len(self.gathered)}"
        field = self.work.field(name, "dynamic" if how == "map" else "bool")
        self.gathered.append(Gathered(how, inner, path.name, of, field))
        return tree.Name(name, at=node.at, end=node.end)

    # -------------------------------------------------------------- the pattern

    def _pattern(self, pattern: Sequence[tree.Edge]) -> None:
        if len(pattern) % 2 == 0 or any(
            (each.kind == "node") != (place % 2 == 0) for place, each in enumerate(pattern)
        ):
            raise KqlError("bind", "a pattern is a node, or nodes with an edge between each two", pattern[0].at)
        if self.shortest and len(pattern) != 3:
            raise KqlError("plan", "a shortest path is supported between two nodes", pattern[0].at)
        at = self._node(pattern[0], None)
        for before, edge, node in zip(pattern[:-2:2], pattern[1::2], pattern[2::2], strict=True):
            hop = self._path(edge, before.name or "") if edge.least is not None else self._edge(edge)
            self._join(hop, at, hop.fields[0])
            at = self._node(node, hop.fields[1])

    def _node(self, node: tree.Edge, reached: Field | None) -> Field:
        """The key of a node: new, or known and met again."""
        known = self.nodes.get(node.name or "")
        if known is not None:
            if reached is not None:
                self._filter(apply("==", [known.ref, reached.ref], node.at))
            return known
        rows = self._fit(node.name or "")
        for each in sorted(self.degrees.get(node.name or "", ())):
            rows = self._counted(rows, each)
        key = rows.fields[0]
        self._join(rows, reached, key)
        self.nodes[node.name or f"#{len(self.nodes)}"] = key
        if node.name:
            self._side(node, rows.fields[KEY:])
        return key

    def _counted(self, rows: Relation, degree: str) -> Relation:
        """Nodes with how many edges they have of one direction."""
        edges = self.work.again(self.graph.edges)
        end, into = edges.fields[1 - DEGREES.index(degree)], list[Aggregate]()
        aggregate_of(self.work, "count", [], into, self.op.at)
        key = self.work.field("", end.type)
        counts = Summarize(edges.plan, [Column(key.id, end.ref)], into)
        joined = rows.over(Join(rows.cut(), counts, "leftouter", [(rows.fields[0].ref, key.ref)]))
        many = apply("coalesce", [Ref("long", into[0].id), Value("long", 0)], self.op.at)
        own: list[tuple[Field, Expression]] = [(each, each.ref) for each in rows.fields]
        return project(joined, [*own, (self.work.field(f"{HIDDEN}{degree}", "long"), many)])

    def _fit(self, name: str) -> Relation:
        """The nodes that what is asked of this one alone leaves."""
        rows = self.work.again(self.graph.nodes)
        seen = Rows(sides={name: {each.name: each for each in rows.fields[KEY:]}})
        for each in self.fitting.get(name, ()):
            rows = rows.over(Filter(rows.plan, condition(self.work, each, self.names, seen)))
        return rows

    def _join(self, rows: Relation, mine: Field | None, other: Field) -> None:
        self.work.spend(self.op.at, len(rows.fields))
        self.fields += rows.fields
        if self.plan is None:
            self.plan = rows.cut()
            return
        on: tuple[Expression, Expression] = (ALWAYS, ALWAYS) if mine is None else (mine.ref, other.ref)
        self.plan = Join(self.plan, rows.cut(), "inner", [on])

    def _filter(self, fits: Expression) -> None:
        assert self.plan is not None
        self.plan = Filter(self.plan, fits)

    def _side(self, one: tree.Edge, fields: Sequence[Field]) -> None:
        assert one.name is not None
        if one.name in self.sides:
            raise KqlError("bind", f"'{one.name}' is called so twice", one.at)
        self.sides[one.name] = {each.name: each for each in fields}

    def _edge(self, edge: tree.Edge) -> Relation:
        rows = self._directed(edge)
        self.edges.append(rows.fields[2])
        if edge.name:
            self._side(edge, rows.fields[ENDS:])
        return rows

    def _directed(self, edge: tree.Edge) -> Relation:
        """The edges as they are gone along."""
        rows = self.work.again(self.graph.edges)
        source, target, *rest = rows.fields
        if edge.kind == "out" and self.graph.directed:
            return rows
        if edge.kind == "in" and self.graph.directed:
            return Relation(rows.plan, (target, source, *rest))
        other = self.work.again(self.graph.edges)
        back = Relation(other.plan, (other.fields[1], other.fields[0], *other.fields[2:]))
        legs = [Relation(leg.plan, tuple(_renamed(leg.fields))) for leg in (rows, back)]
        both = united(self.work, legs, False, "")
        return Relation(both.plan, tuple(Field(old.name, new.id, new.type)
                                         for old, new in zip(rows.fields, both.fields, strict=True)))  # fmt: skip

    def _no_edge_twice(self) -> list[Expression]:
        at = self.op.at
        if self.cycles == "none":
            return self._no_node_twice(at)
        if self.cycles == "all":
            return []
        made = [apply("!=", [one.ref, other.ref], at) for one, other in combinations(self.edges, 2)]
        made += [_without(path.ref, edge.ref, at) for path in self.paths for edge in self.edges]
        for one, other in combinations(self.paths, 2):
            common = apply("array_length", [apply("set_intersect", [one.ref, other.ref], at)], at)
            made.append(apply("==", [common, Value("long", 0)], at))
        return made

    def _no_node_twice(self, at: int) -> list[Expression]:
        keys = list({each.id: each for each in self.nodes.values()}.values())
        made = [apply("!=", [one.ref, other.ref], at) for one, other in combinations(keys, 2)]
        inner = [apply("array_slice", [each.ref, Value("long", 1), Value("long", -2)], at) for each in self.paths]
        made += [_without(path, convert(key.ref, "string", at), at) for path in inner for key in keys]
        for one, other in combinations(inner, 2):
            common = apply("array_length", [apply("set_intersect", [one, other], at)], at)
            made.append(apply("==", [common, Value("long", 0)], at))
        return made

    # -------------------------------------------------------------- paths

    def _path(self, edge: tree.Edge, start: str) -> Relation:
        """Both ends, the array of its edges, and what is gathered; a row for each path of an allowed length. Paths that
        begin where the node called `start` cannot be are not gone."""
        least, most = edge.least or 0, edge.most or 0
        if not 0 <= least <= most or not 0 < most <= MOST_HOPS:
            raise KqlError("plan", f"a path of {least} to {most} edges is not supported; at most {MOST_HOPS}", edge.at)
        if self.cycles == "none" and not least:
            raise KqlError("plan", "cycles=none of paths that may have no edge is not supported", edge.at)
        wanted = [each for each in self.gathered if each.edge == (edge.name or "")]
        step = self.work.share(self._step(edge, wanted), once=True)
        levels = [] if least else [self._standing(wanted)]
        level = self.work.share(self._begun(step, wanted, start))
        for length in range(1, most + 1):
            if length > 1:
                level = self.work.share(self._longer(level, step, wanted, edge.at))
            if length >= least:
                levels.append(self.work.again(level))
        found = united(self.work, levels, False, "")
        fields = {each.name: each for each in found.fields}
        gathered = [Field(each.field.name, fields[each.field.name].id, each.field.type) for each in wanted]
        for each, field in zip(wanted, gathered, strict=True):
            each.field = field
        self.paths.append(fields["#path"])
        return Relation(found.plan, (fields["#from"], fields["#to"], fields["#path"], *gathered))

    def _named(self, ends: Sequence[Expression], wanted: Sequence[Gathered], values: Sequence[Expression],
               relation: Relation) -> Relation:  # fmt: skip
        names = ["#from", "#to", "#path", *(each.field.name for each in wanted)]
        made = [(self.work.field(name, value.type), value) for name, value in zip(names, (*ends, *values), strict=True)]
        return project(relation, made)

    def _step(self, edge: tree.Edge, wanted: Sequence[Gathered]) -> Relation:
        """An edge with what each gathered expression gives for it, and for the node that it starts from."""
        rows = self._directed(edge)
        inner = any(each.inner for each in wanted)
        nodes = self.work.again(self.graph.nodes)
        for each in sorted(self.degrees.get(HIDDEN, ())):
            nodes = self._counted(nodes, each)
        seen = {True: Rows({each.name: each for each in nodes.fields[KEY:]}),
                False: Rows({each.name: each for each in rows.fields[ENDS:]})}  # fmt: skip
        if inner:
            on = [(rows.fields[0].ref, nodes.fields[0].ref)]
            rows = Relation(Join(rows.cut(), nodes.cut(), "inner", list(on)), rows.fields)
        values = [self._value(each, seen[each.inner]) for each in wanted]
        return self._named([each.ref for each in rows.fields[:ENDS]], wanted, values, rows)

    def _value(self, one: Gathered, rows: Rows) -> Expression:
        if one.how == "map":
            return self.work.bind(one.of, self.names, rows)
        fits = condition(self.work, one.of, self.names, rows)
        return apply("coalesce", [fits, Value("bool", False)], one.of.at)

    def _begun(self, step: Relation, wanted: Sequence[Gathered], start: str) -> Relation:
        rows = self.work.again(step)
        if start in self.fitting:
            nodes = self._fit(start)
            on = [(rows.fields[0].ref, nodes.fields[0].ref)]
            rows = Relation(Join(rows.cut(), nodes.cut(), "leftsemi", list(on)), rows.fields)
        source, target, number, *given = (each.ref for each in rows.fields)
        values = [
            each.none() if each.inner else each.more(each.none(), one) for each, one in zip(wanted, given, strict=True)
        ]
        noted: list[Expression] = [number]
        if self.cycles == "none":
            rows = rows.over(Filter(rows.plan, apply("!=", [source, target], self.op.at)))
            noted = [*self._noted(source), *self._noted(target)]
        path = apply("pack_array", noted, self.op.at)
        return self._named([source, target, path], wanted, values, rows)

    def _noted(self, node: Expression) -> list[Expression]:
        """What a path notes of a node, where none may come twice: it then has nodes, not edges."""
        return [convert(node, "string", self.op.at)] if self.cycles == "none" else []

    def _standing(self, wanted: Sequence[Gathered]) -> Relation:
        """Paths of no edge."""
        rows = self.work.again(self.graph.nodes)
        key = rows.fields[0].ref
        return self._named([key, key, Value("dynamic", [])], wanted, [each.none() for each in wanted], rows)

    def _longer(self, level: Relation, step: Relation, wanted: Sequence[Gathered], at: int) -> Relation:
        before, rows = self.work.again(level), self.work.again(step)
        source, reached, path, *held = (each.ref for each in before.fields)
        start, target, number, *given = (each.ref for each in rows.fields)
        plan: Plan = Join(before.cut(), rows.cut(), "inner", [(reached, start)])
        [noted] = self._noted(target) or [number]
        if self.cycles != "all":
            plan = Filter(plan, _without(path, noted, at))
        values = [each.more(mine, one) for each, mine, one in zip(wanted, held, given, strict=True)]
        longer = apply("array_concat", [path, apply("pack_array", [noted], at)], at)
        return self._named([source, target, longer], wanted, values, Relation(plan, (*before.fields, *rows.fields)))

    def _shortest(self, body: tree.Graph, found: Relation) -> Relation:
        """Between each two nodes one path of the fewest edges, or all of them."""
        output = option(self.op, "output", "any").lower()
        if output not in ("any", "all"):
            raise KqlError("bind", f"{self.op.name} gives any or all paths, not output={output}", self.op.at)
        if len(body.patterns) != 1 or not self.paths:
            raise KqlError(
                "plan", "shortest paths are supported for one pattern, of an edge of several lengths", self.op.at
            )
        length = apply("array_length", [self.paths[0].ref], self.op.at)
        groups = tuple(each.ref for each in list(self.nodes.values())[:2])
        grouped = Relation(found.plan, found.fields, groups)
        # Of equals by their edges, so that the answer is the same each time.
        ordered = sorted_(grouped, [SortKey(length, False, True), SortKey(self.paths[0].ref, False, True)])
        if output == "all":
            rank = Windowed(self.work.id(), "long", "row_rank_min", [length], None, list(groups))
            numbered = Number(ordered.plan, [rank])
            fewest = apply("==", [Ref("long", rank.id), Value("long", 1)], self.op.at)
            return Relation(Filter(numbered, fewest), ordered.fields)
        single = first(self.work, ordered, Value("long", 1))
        return Relation(single.plan, single.fields)


def _of_one_node(body: tree.Graph) -> dict[str, list[tree.Expr]]:
    """What the condition asks of one node alone, by its name."""
    every = [each for pattern in body.patterns for each in pattern if each.name]
    nodes = {each.name for each in every if each.kind == "node"}
    found: dict[str, list[tree.Expr]] = {}
    waiting = [] if body.where is None else [body.where]
    while waiting:
        one = bare(waiting.pop())
        if isinstance(one, tree.Binary) and one.op == "and":
            waiting += [one.left, one.right]
            continue
        used = {each.name for each in every} & set(names_in(one))
        if len(used) == 1 and used <= nodes and not isinstance(one, tree.Pipe) and not _counts_edges(one):
            found.setdefault(str(used.pop()), []).append(one)
    return found


def _counts_edges(node: object) -> bool:
    if isinstance(node, list):
        return any(_counts_edges(each) for each in node)
    if not isinstance(node, tree.Node):
        return False
    if isinstance(node, tree.Call) and node.name.lower() in DEGREES:
        return True
    return any(_counts_edges(getattr(node, name)) for name in node.__struct_fields__)


def _renamed(fields: Sequence[Field]) -> list[Field]:
    """Ends and number of an edge by names of their own, so that they are not taken for one another."""
    hidden = [Field(f"#{index}", each.id, each.type) for index, each in enumerate(fields[:ENDS])]
    return [*hidden, *fields[ENDS:]]


def _without(path: Expression, number: Expression, at: int) -> Expression:
    return apply("==", [apply("array_index_of", [path, number], at), Value("long", -1)], at)
