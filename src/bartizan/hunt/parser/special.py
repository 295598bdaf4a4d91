"""The operators whose grammar is their own: parse, mv-expand, make-series, scan and those of graphs.

Source: Kusto Query Language, "parse operator", "mv-expand operator", "mv-apply operator", "make-series operator",
"scan operator", "Graph operators".
"""

from __future__ import annotations

from typing import Literal

from bartizan.hunt import tree
from bartizan.hunt.lexer import STRING
from bartizan.hunt.parser.cursor import CLOSERS
from bartizan.hunt.parser.operators import Operators
from bartizan.hunt.parser.tables import Options
from bartizan.hunt.tree import Expr

_SCAN_ENDS = CLOSERS | {"partition", "order", "by", "declare", "with"}
_KV = frozenset("pair_delimiter kv_delimiter regex quote escape greedy".split())


class Special(Operators):
    # ------------------------------------------------------------------ parse

    def parse_body(self, options: Options) -> tree.Parse:
        options.update(self.options(frozenset(["kind", "flags"]), True))
        given = options.pop("flags", None)
        flags: str | None = None
        if isinstance(given, tree.Name):
            flags = given.name
        elif isinstance(given, tree.Constant) and given.type == "string":
            flags = given.value
        elif given is not None:
            self.wrong("the flags of parse are letters", given.at)
        of = self.expression()
        self.expect("with", "after what is parsed")
        pieces: list[tree.Piece] = []
        while self.kind == "*" or self.kind == STRING or self.name_length(0, True):
            pieces.append(self._piece())
        return tree.Parse(of=of, pieces=pieces, flags=flags)

    def _piece(self) -> tree.Piece:
        at = self.token.at
        piece = tree.Piece(at=at)
        if self.accept("*"):
            piece.star = True
        elif self.kind == STRING:
            piece.text = self.take_string()
        else:
            column = tree.Column(name=self.take_name(True), type=None, at=at)
            if self.accept(":"):
                column.type = self.take_type()
            column.end = self.previous_end
            piece.column = column
        piece.end = self.previous_end
        return piece

    def pairs_body(self, options: Options) -> tree.Pairs:
        of = self.expression()
        self.expect("as", "after what is parsed")
        columns = self.schema()
        again: list[tuple[str, tree.Expr]] = []
        if self.accept("with"):
            self.expect("(", "after 'with'")
            for name, value in self.items(lambda: self.own_property(_KV), what="a property of parse-kv"):
                if name not in options:
                    options[name] = value
                elif name in ("quote", "escape"):
                    again.append((name, value))
                else:
                    self.wrong(f"'{name}' is told twice", value.at)
            self.expect(")", "after the properties")
        return tree.Pairs(of=of, columns=columns, again=again)

    # ------------------------------------------------------------------ mv-expand, mv-apply

    def expand_body(self, options: Options) -> tree.Expand:
        options.update(self.options(frozenset(["kind", "bagexpansion", "with_itemindex"]), True))
        columns = self.items(self._expansion, 1, CLOSERS | {"limit"}, what="a column")
        limit = self.expression() if self.accept("limit") else None
        return tree.Expand(columns=columns, limit=limit)

    def _expansion(self) -> tree.Expansion:
        at = self.token.at
        column = self.named()
        kind = self._to_type()
        return tree.Expansion(column=column, type=kind, at=at, end=self.previous_end)

    def _to_type(self) -> tree.Scalar | None:
        if not self.accept("to"):
            return None
        typed = self.typeof()
        if typed.type is None:
            self.wrong("a type of one column is expected", typed.at)
        return typed.type

    def apply_body(self, options: Options) -> tree.Expand:
        options.update(self.options(frozenset(["with_itemindex"]), True))
        if self.kind == "to":
            self.unsupported("mv-apply without a column")
        columns: list[tree.Expansion] = []
        while True:
            if self._apply_ends():
                self.fail(f"expected a column of mv-apply, found {self.sight()}")
            columns.append(self._expansion())
            if not self.accept(","):
                break
        limit = self.expression() if self.accept("limit") else None
        if self.kind == "id":
            self.unsupported("'id' of mv-apply")
        self.expect("on", "before the query of mv-apply")
        return tree.Expand(columns=columns, limit=limit, pipe=self._sub_pipe("the query of mv-apply"))

    def _apply_ends(self) -> bool:
        if self.kind in ("limit", "id", "on"):
            return self.peek(1).kind not in (",", "to", "=")
        return self.kind in CLOSERS

    # ------------------------------------------------------------------ make-series

    def series_body(self, options: Options) -> tree.Series:
        options.update(self.options(frozenset(["kind", "hint.shufflekey"]), True))
        defaults: dict[int, Expr] = {}
        position = 0

        def read() -> tree.Named:
            nonlocal position
            aggregate = self.named()
            if self.accept("default"):
                self.expect("=", "after 'default'")
                defaults[position] = self.unnamed()
            position += 1
            return aggregate

        aggregates = self.items(read, 1, CLOSERS | {"on", "from", "in"}, what="an aggregate")
        self.expect("on", "after the aggregates")
        on = self.named()
        if self.kind in ("from", "to", "step"):
            start = self.expression() if self.accept("from") else None
            stop = self.expression() if self.accept("to") else None
            self.expect("step", "in make-series")
            step, inclusive = self.expression(), False
        else:
            start, stop, step = self._in_range()
            inclusive = True
        by = self.items(self.named, 1, what="a column to group by") if self.accept("by") else []
        return tree.Series(
            aggregates=aggregates,
            defaults=defaults,
            on=on,
            start=start,
            stop=stop,
            step=step,
            by=by,
            inclusive=inclusive,
        )

    def _in_range(self) -> tuple[Expr, Expr, Expr]:
        at = self.expect("in", "(or 'from', 'to', 'step') after the axis").at
        self.expect("range", "after 'in'")
        self.expect("(", "after 'range'")
        bounds = self.items(self.unnamed)
        self.expect(")", "after the range")
        if len(bounds) != 3:
            self.wrong("a range has a start, a stop and a step", at)
            bounds = [tree.Star()] * 3
        return bounds[0], bounds[1], bounds[2]

    # ------------------------------------------------------------------ scan

    def scan_body(self, options: Options) -> tree.Scan:
        options.update(self.options(frozenset(["kind", "with_match_id"])))
        keys: list[tree.Key] = []
        parts: list[Expr] = []
        declared: list[tuple[tree.Column, Expr | None]] = []
        if self.accept("order"):
            self.expect("by", "after 'order'")
            keys = self.keys(_SCAN_ENDS)
        if self.accept("partition"):
            self.expect("by", "after 'partition'")
            parts = self.items(self.expression, 1, _SCAN_ENDS)
        if self.accept("declare"):
            self.expect("(", "after 'declare'")
            declared = self.items(self._declared, what="a column")
            self.expect(")", "after the columns")
        self.expect("with", "before the steps of scan")
        self.expect("(", "before the steps of scan")
        steps: list[tree.Step] = []
        while self.kind == "step":
            steps.append(self._step())
        self.expect(")", "after the steps of scan")
        return tree.Scan(steps=steps, declared=declared, keys=keys, partition=parts)

    def _declared(self) -> tuple[tree.Column, Expr | None]:
        column = self.column()
        return column, self.signed() if self.accept("=") else None

    def _step(self) -> tree.Step:
        start = self.step()
        name = self.take_name(True, "the name of the step")
        optional = self.accept("optional")
        output: str | None = None
        if self.accept("output"):
            self.expect("=", "after 'output'")
            if self.token.text not in ("all", "last", "none"):
                self.fail(f"expected 'all', 'last' or 'none', found {self.sight()}")
            output = self.step().text
        self.expect(":", "after the name of the step")
        condition = self.expression()
        assignments = self.items(self._assignment, 1, what="a column") if self.accept("=>") else []
        end = self.expect(";", "at the end of the step").end
        return tree.Step(
            name=name,
            condition=condition,
            assignments=assignments,
            optional=optional,
            output=output,
            at=start.at,
            end=end,
        )

    def _assignment(self) -> tree.Named:
        at = self.token.at
        name = self.take_name(True, "the name of a column")
        self.expect("=", f"after '{name}'")
        expr = self.expression()
        return tree.Named(expr=expr, names=[name], at=at, end=expr.end)

    # ------------------------------------------------------------------ graphs

    def make_graph_body(self, options: Options) -> tree.Graph:
        options.update(self.options(frozenset(["hint.strategy"]), True))
        graph = tree.Graph(source=self.word())
        if not self.adjacent("-->"):
            if not self.adjacent("--"):
                self.fail(f"expected '-->' or '--', found {self.sight()}")
            graph.directed = False
        graph.target = self.word()
        if self.accept("with_node_id"):
            self.expect("=", "after 'with_node_id'")
            graph.node_id = self.take_name()
        elif self.accept("with"):
            graph.nodes = self.items(self._nodes, 1, CLOSERS | {"partitioned-by"}, what="a table of nodes")
        if self.accept("partitioned-by"):
            graph.partition = (self.path(), self._sub_pipe("the query of each part"))
        return graph

    def _nodes(self) -> tuple[tree.Pipe, Expr]:
        at = self.token.at
        table = self.tabular(self.invocation())
        if table is None:
            self.wrong("expected a table of nodes", at)
            table = tree.Pipe(source=None)
        self.expect("on", "after the table of nodes")
        return table, self.word()

    def match_body(self, options: Options) -> tree.Graph:
        options.update(self.options(frozenset(["cycles", "output"]), True))
        graph = tree.Graph(patterns=self.items(self._pattern, 1, what="a pattern"))
        if self.accept("where"):
            graph.where = self.expression()
        if self.accept("project"):
            graph.project = self.items(self.named, 1)
        return graph

    def _pattern(self) -> list[tree.Edge]:
        elements: list[tree.Edge] = []
        while True:
            at = self.token.at
            edge = self._node() if self.kind == "(" else self._edge()
            if edge is None:
                break
            edge.at, edge.end = at, self.previous_end
            elements.append(edge)
        if not elements:
            self.fail(f"expected a node in brackets, found {self.sight()}")
        return elements

    def _node(self) -> tree.Edge:
        self.step()
        name = self.take_name() if self.kind != ")" else None
        self.expect(")", "after the name of a node")
        return tree.Edge(name=name, kind="node")

    def _edge(self) -> tree.Edge | None:
        if self.adjacent("-->"):
            return tree.Edge(name=None, kind="out")
        if self.adjacent("<--"):
            return tree.Edge(name=None, kind="in")
        if self.adjacent("--"):
            return tree.Edge(name=None, kind="any")
        at = self.token.at
        inward = self.adjacent("<-[")
        if not inward and not self.adjacent("-["):
            return None
        name = self.take_name() if self.kind not in ("]", "*") else None
        least, most = self._lengths() if self.accept("*") else (None, None)
        outward = self.adjacent("]->")
        if not outward and not self.adjacent("]-"):
            self.fail(f"expected ']->' or ']-', found {self.sight()}")
        if inward and outward:
            self.wrong("an edge has one direction", at)
        kind: Literal["in", "out", "any"] = "in" if inward else "out" if outward else "any"
        return tree.Edge(name=name, kind=kind, least=least, most=most)

    def _lengths(self) -> tuple[int, int]:
        least = self._length()
        self.expect("..", "between the lengths of a path")
        return least, self._length()

    def _length(self) -> int:
        length = self.invocation()
        if not isinstance(length, tree.Constant) or length.type != "long" or not isinstance(length.value, int):
            self.wrong("the length of a path is a number", length.at)
            return 0
        return length.value

    def to_table_body(self, options: Options) -> tree.Graph:
        outputs: list[tuple[str, str | None]] = []
        while True:
            if self.kind not in ("nodes", "edges"):
                self.fail(f"expected 'nodes' or 'edges', found {self.sight()}")
            what = self.step().kind
            name = self.take_name() if self.accept("as") else None
            own = ["with_node_id"] if what == "nodes" else ["with_source_id", "with_target_id"]
            options.update(self.options(frozenset(own), True))
            outputs.append((what, name))
            if not self.accept(","):
                return tree.Graph(outputs=outputs)

    def components_body(self, options: Options) -> tree.Graph:
        options.update(self.options(frozenset(["kind", "with_component_id"]), True))
        return tree.Graph()

    def graph_where_body(self, options: Options) -> tree.Condition:
        return tree.Condition(expr=self.expression())
