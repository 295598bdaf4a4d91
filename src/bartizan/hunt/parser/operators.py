"""The operators of a pipe but those of graphs, series and patterns.

Source: Kusto Query Language, "Tabular operators".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from bartizan.hunt import tree
from bartizan.hunt.parser.cursor import CLOSERS
from bartizan.hunt.parser.tables import Options, Tables
from bartizan.hunt.tree import Expr

_SHUFFLE = frozenset(["hint.shufflekey", "hint.strategy", "hint.num_partitions"])
_NO_OPTIONS: frozenset[str] = frozenset()
_CHARTS = frozenset(
    """table list barchart piechart ladderchart timechart linechart anomalychart pivotchart areachart stackedareachart
    scatterchart timepivot columnchart timeline 3Dchart card treemap plotly graph sankey""".split()
)
_CHART_TEXTS = frozenset(["title", "xtitle", "ytitle"])
_CHART_LISTS = frozenset(["ycolumns", "anomalycolumns", "series"])
_CHART_WORDS = frozenset("kind accumulate xcolumn xaxis yaxis legend ysplit ymin ymax xmin xmax".split())
_CHART_OPTIONS = _CHART_TEXTS | _CHART_LISTS | _CHART_WORDS


class Operators(Tables):
    """One method for each operator: it stands behind the keyword, fills `options` in and gives the body."""

    def columns_body(self, options: Options, least: int = 0) -> tree.Columns:
        return tree.Columns(columns=self.items(self.named, least))

    def some_columns_body(self, options: Options) -> tree.Columns:
        return self.columns_body(options, 1)

    def patterns_body(self, options: Options) -> tree.Columns:
        return tree.Columns(columns=self.items(self.column_or_pattern, what="a column"))

    def reorder_body(self, options: Options) -> tree.Columns:
        orders: dict[int, str] = {}
        position = 0

        def read() -> tree.Named:
            nonlocal position
            column = self.column_or_pattern()
            if self.kind in ("asc", "desc", "granny-asc", "granny-desc"):
                orders[position] = self.step().kind
            position += 1
            return column

        return tree.Columns(columns=self.items(read, what="a column"), orders=orders)

    def by_names_body(self, options: Options) -> tree.Columns:
        return tree.Columns(columns=self.items(lambda: _bare(self.expression())))

    def where_body(self, options: Options) -> tree.Condition:
        options.update(self.options(assigned=True))
        return tree.Condition(expr=self.unnamed())

    def distinct_body(self, options: Options) -> tree.Columns:
        options.update(self.options(_SHUFFLE, True))

        def read() -> tree.Named:
            return _bare(self._star()) if self.kind == "*" else self.named()

        return tree.Columns(columns=self.items(read, 1, what="a column"))

    def serialize_body(self, options: Options) -> tree.Columns:
        options.update(self.options(assigned=True))
        return self.columns_body(options)

    def summarize_body(self, options: Options) -> tree.Summary:
        options.update(self.options(_SHUFFLE, True))
        aggregates = self.items(self.named, stops=CLOSERS | {"by"}, what="an aggregate")
        by: list[tree.Named] | None = None
        if self.accept("by"):
            by = self.items(self.named, 1, what="a column to group by")
            if self.kind == "bin" and self.peek(1).kind == "=":
                self.unsupported("'bin =' after the columns")
        return tree.Summary(aggregates=aggregates, by=by)

    def count_body(self, options: Options) -> None:
        if self.accept("as"):
            at = self.token.at
            options["as"] = tree.Name(name=self.expect("NAME", "after 'as'").text, at=at, end=self.previous_end)

    def consume_body(self, options: Options) -> None:
        options.update(self.options(frozenset(["decodeblocks"])))

    def getschema_body(self, options: Options) -> None:
        if self.kind == "kind" and self.peek(1).kind == "=":
            options.update(self.options())

    def as_body(self, options: Options) -> tree.Label:
        options.update(self.options(frozenset(["hint.materialized"]), True))
        return tree.Label(name=self.take_name())

    def invoke_body(self, options: Options) -> tree.Plugin:
        call = self.call()
        while self.kind == ".":
            self.step()
            following = self.call()
            following.of, following.at = call, call.at
            call = following
        return tree.Plugin(call=call)

    def evaluate_body(self, options: Options) -> tree.Plugin:
        options.update(self.options(frozenset(["hint.distribution", "hint.remote"])))
        call = self.call()
        if not self.accept(":"):
            return tree.Plugin(call=call)
        columns, opened = self.open_schema()
        return tree.Plugin(call=call, schema=columns, open=opened)

    def assert_schema_body(self, options: Options) -> tree.Schema:
        return tree.Schema(columns=self.schema())

    # ------------------------------------------------------------------ order and number of rows

    def sort_body(self, options: Options) -> tree.Order:
        options.update(self.options(frozenset(["hint.strategy"])))
        self.expect("by")
        return tree.Order(keys=self.keys())

    def top_body(self, options: Options) -> tree.Order:
        options.update(self.options(frozenset(["hint.progressive_top"]), True))
        count = self.unnamed()
        self.expect("by", "after the number of rows")
        return tree.Order(count=count, keys=[self.key()])

    def take_body(self, options: Options) -> tree.Order:
        options.update(self.options(assigned=True))
        return tree.Order(count=self.unnamed())

    def sample_distinct_body(self, options: Options) -> tree.Order:
        options.update(self.options(assigned=True))
        count = self.unnamed()
        self.expect("of", "after the number of values")
        return tree.Order(count=count, of=[self.named()])

    def top_hitters_body(self, options: Options) -> tree.Order:
        count = self.unnamed()
        self.expect("of", "after the number of values")
        of = [self.named()]
        keys: list[tree.Key] = []
        if self.accept("by"):
            at = self.token.at
            keys.append(tree.Key(expr=self.unnamed(), at=at, end=self.previous_end))
        return tree.Order(count=count, of=of, keys=keys)

    def top_nested_body(self, options: Options) -> tree.Levels:
        levels = [self._nested(self.tokens[self.index - 1].at)]
        while self.accept(","):
            at = self.token.at
            self.expect("top-nested", "after ','")
            levels.append(self._nested(at))
        return tree.Levels(levels=levels)

    def _nested(self, at: int) -> tree.Nested:
        count = None if self.kind == "of" else self.unnamed()
        self.expect("of", "in top-nested")
        of = self.named()
        others: Expr | None = None
        if self.accept("with"):
            self.expect("others", "after 'with'")
            self.expect("=")
            others = self.signed() if self.kind == "-" else self.expression()
        self.expect("by", "in top-nested")
        by, descending = self.named(), None
        if self.kind in ("asc", "desc"):
            descending = self.step().kind == "desc"
        nulls_first = self.nulls_first()
        return tree.Nested(count=count, of=of, others=others, by=by, descending=descending, nulls_first=nulls_first,
                           at=at, end=self.previous_end)  # fmt: skip

    # ------------------------------------------------------------------ several tables

    def join_body(self, options: Options) -> tree.Join:
        options.update(self.options(_SHUFFLE | {"kind", "hint.remote"}, True))
        right = self.table()
        if self.kind == "where":
            self.unsupported("'where' of a join")
        on = self.items(self.expression, 1, what="a condition") if self.accept("on") else []
        return tree.Join(right=right, on=on)

    def lookup_body(self, options: Options) -> tree.Join:
        options.update(self.options(frozenset(["kind"]), True))
        right = self.table()
        self.expect("on", "after the table of lookup")
        return tree.Join(right=right, on=self.items(self.expression, 1, what="a condition"))

    def union_body(self, options: Options) -> tree.Union:
        own = frozenset(["kind", "withsource", "with_source", "isfuzzy", "__isFuzzy", "best_effort"])
        options.update(self.options(own, True))
        _respell(options)
        return tree.Union(tables=self.items(self.operand, 1, what="a table"))

    def search_body(self, options: Options) -> tree.Condition:
        options.update(self.options(frozenset(["kind"]), True))
        if self.kind == "datascope":
            self.unsupported("'datascope'")
        tables = self._in_tables()
        if self.kind == "*" and self.peek(1).kind in ("and", *CLOSERS):
            expr = self._star()
            if self.kind == "and":
                self.step()
                rest = self.expression()
                expr = tree.Binary(op="and", left=expr, right=rest, at=expr.at, end=rest.end)
        else:
            expr = self.expression()
        return tree.Condition(expr=expr, tables=tables)

    def _in_tables(self) -> list[tree.Source | tree.Invocation | tree.Pipe]:
        if not self.accept("in"):
            return []
        self.expect("(", "after 'in'")
        tables = self.items(self._found_table, 1, what="a table")
        self.expect(")", "after the tables")
        return tables

    def _found_table(self) -> tree.Source | tree.Invocation | tree.Pipe:
        """A table of search or find: a name, a pattern, a call; `T | as N`."""
        at = self.token.at
        source = self.entity()
        if not self.accept("|"):
            return source
        step = self.expect("as", "after '|'")
        name = tree.Operator(name="as", at=step.at)
        name.body = self.as_body(name.options)
        name.end = self.previous_end
        return tree.Pipe(source=source, operators=[name], at=at, end=self.previous_end)

    def find_body(self, options: Options) -> tree.Find:
        at = self.tokens[self.index - 1].at
        if self.kind == "datascope":
            self.unsupported("'datascope'")
        own = self.options(frozenset(["withsource", "with_source"]))
        _respell(own)
        tables = self._in_tables()
        if own or tables:
            self.expect("where", "after the tables")
        else:
            self.accept("where")
        where = self.expression()
        find = tree.Find(options=own, tables=tables, where=where, at=at)
        if self.accept("project"):
            find.project = []
            for column in self.items(self._found_column, 1, (), what="a column"):
                if column is None:
                    find.pack = True
                else:
                    find.project.append(column)
        elif self.accept("project-smart"):
            find.project = None
        elif self.kind == "__projectAway":
            self.unsupported("'__projectAway'")
        find.end = self.previous_end
        return find

    def _found_column(self) -> tree.Named | None:
        """A column of find's project, with its type if told; None: `pack_all()`, or `pack(*)` as it was spelt."""
        if self.kind == "pack" or (self.token.text == "pack_all" and self.peek(1).kind == "("):
            spelt = ("(", "*", ")") if self.kind == "pack" else ("(", ")")
            self.step()
            for kind in spelt:
                self.expect(kind, "of pack_all()")
            return None
        if self.kind == "*":
            return _bare(self._star())
        expr: Expr = self.word()
        if self.accept(":"):
            typed = tree.Typed(type=self.take_type(), at=self.tokens[self.index - 1].at, end=self.previous_end)
            expr = tree.Call(name="typeof", args=[expr, typed], at=expr.at, end=self.previous_end)
        return _bare(expr)

    # ------------------------------------------------------------------ sub-pipes

    def fork_body(self, options: Options) -> tree.Branch:
        pipes: list[tree.Pipe] = []
        names: dict[int, str] = {}
        while True:
            length = self.name_length()
            if length and self.peek(length).kind == "=":
                names[len(pipes)] = self.take_name()
                self.step()
            elif self.kind != "(":
                break
            pipes.append(self._sub_pipe("the branch", True))
        if not pipes:
            self.fail(f"expected a branch in brackets, found {self.sight()}")
        return tree.Branch(by=[], pipes=pipes, names=names)

    def _sub_pipe(self, where: str, lenient: bool = False) -> tree.Pipe:
        opening = self.expect("(", f"before {where}")
        self.enter()
        pipe = self.pipe_of_current(lenient)
        self.nesting -= 1
        close = self.expect(")", f"after {where}")
        pipe.bracketed, pipe.at, pipe.end = True, opening.at, close.end
        return pipe

    def facet_body(self, options: Options) -> tree.Branch:
        self.expect("by")
        by = self.items(self.path, 1, CLOSERS | {"with"}, what="a column")
        pipes: list[tree.Pipe] = []
        if self.accept("with"):
            if self.kind == "(":
                pipes.append(self._sub_pipe("what is done with the rows"))
            else:
                at = self.token.at
                self.enter()
                pipes.append(tree.Pipe(source=None, operators=[self.operator()], at=at, end=self.previous_end))
                self.nesting -= 1
        return tree.Branch(by=by, pipes=pipes)

    def partition_body(self, options: Options) -> tree.Branch:
        options.update(self.options())
        self.expect("by")
        by = self.path()
        if self.kind == "in":
            self.unsupported("'in' of partition")
        if self.kind == "{":
            opening = self.step()
            pipe = self.pipe_argument()
            close = self.expect("}", "after the query of partition")
            pipe.at, pipe.end = opening.at, close.end
        else:
            pipe = self._sub_pipe("the query of partition")
        return tree.Branch(by=[by], pipes=[pipe])

    # ------------------------------------------------------------------ presentation

    def reduce_body(self, options: Options) -> tree.Columns:
        own = frozenset(["threshold", "characters"])
        options.update(self.options(own))
        self.expect("by")
        column = self.named()
        if self.accept("with"):
            for name, value in self.items(lambda: self.own_property(own), what="a property of reduce"):
                options[name] = value
        return tree.Columns(columns=[column])

    def render_body(self, options: Options) -> tree.Label:
        if self.token.text not in _CHARTS and self.kind != "NAME":
            self.fail(f"expected the kind of a chart, found {self.sight()}")
        label = tree.Label(name=self.step().text)
        while self.kind in ("kind", "accumulate", "title") and self.peek(1).kind == "=":
            name = self.step().kind
            self.step()
            options[name] = self._chart_value(name)
        if self.accept("by"):
            options["by"] = self._chart_names()
        if self.kind == "with" and self.peek(1).kind != "(":
            self.step()
            options["with"] = self.option_value()
        if self.accept("with"):
            self.expect("(", "after 'with'")
            self.accept(",")
            for name, value in self.items(self._chart_option, what="a property of the chart"):
                options[name] = value
            self.expect(")", "after the properties of the chart")
        return label

    def _chart_option(self) -> tuple[str, Expr]:
        name = self.token.text
        if name not in _CHART_OPTIONS:
            self.fail(f"expected a property of the chart, found {self.sight()}")
        self.step()
        self.expect("=", f"after '{name}'")
        return name, self._chart_value(name)

    def _chart_value(self, name: str) -> Expr:
        if name in _CHART_TEXTS:
            return self.invocation()
        return self._chart_names() if name in _CHART_LISTS else self.option_value()

    def _chart_names(self) -> tree.Constant:
        """`a, b` up to the next property: its commas are the list's own."""
        at, names = self.token.at, [self.take_name(True)]
        while self.kind == ",":
            following = self.peek(1)
            if following.kind in CLOSERS or (following.text in _CHART_OPTIONS and self.peek(2).kind == "="):
                break
            self.step()
            names.append(self.take_name(True))
        return tree.Constant(type="dynamic", value=names, at=at, end=self.previous_end)

    # ------------------------------------------------------------------ in the classes below

    def operator(self) -> tree.Operator:
        raise NotImplementedError

    def pipe_of_current(self, lenient: bool) -> tree.Pipe:
        raise NotImplementedError


def _bare(expr: Expr) -> tree.Named:
    return tree.Named(expr=expr, at=expr.at, end=expr.end)


def _respell(options: Options) -> None:
    for old, new in (("with_source", "withsource"), ("__isFuzzy", "isfuzzy")):
        if old in options:
            options[new] = options.pop(old)


Reader: TypeAlias = "Callable[[Options], tree.Body | None]"
