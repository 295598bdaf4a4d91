"""Pipes, statements and whole queries.

A fault ends the operator or the statement it is in: the rest is read on from the next `|` or `;`, so that one reading
tells several faults.

Source: Kusto Query Language, "Query statements", "Tabular expression statements", "let statement", "set statement".
"""

from __future__ import annotations

from bartizan.hunt import tree
from bartizan.hunt.fault import KqlError
from bartizan.hunt.lexer import END, PLAIN
from bartizan.hunt.parser.operators import Reader
from bartizan.hunt.parser.special import Special
from bartizan.hunt.parser.tables import Options
from bartizan.hunt.tree import Expr

# What is written -> its name of today and the method that reads it.
_OPERATORS: dict[str, tuple[str, str]] = {
    "as": ("as", "as_body"),
    "assert-schema": ("assert-schema", "assert_schema_body"),
    "consume": ("consume", "consume_body"),
    "count": ("count", "count_body"),
    "distinct": ("distinct", "distinct_body"),
    "evaluate": ("evaluate", "evaluate_body"),
    "extend": ("extend", "some_columns_body"),
    "facet": ("facet", "facet_body"),
    "filter": ("where", "where_body"),
    "find": ("find", "find_body"),
    "fork": ("fork", "fork_body"),
    "getschema": ("getschema", "getschema_body"),
    "graph-mark-components": ("graph-mark-components", "components_body"),
    "graph-match": ("graph-match", "match_body"),
    "graph-shortest-paths": ("graph-shortest-paths", "match_body"),
    "graph-to-table": ("graph-to-table", "to_table_body"),
    "graph-where-edges": ("graph-where-edges", "graph_where_body"),
    "graph-where-nodes": ("graph-where-nodes", "graph_where_body"),
    "invoke": ("invoke", "invoke_body"),
    "join": ("join", "join_body"),
    "limit": ("take", "take_body"),
    "lookup": ("lookup", "lookup_body"),
    "macro-expand": ("macro-expand", "macro_body"),
    "make-graph": ("make-graph", "make_graph_body"),
    "make-series": ("make-series", "series_body"),
    "mv-apply": ("mv-apply", "apply_body"),
    "mv-expand": ("mv-expand", "expand_body"),
    "mvapply": ("mv-apply", "apply_body"),
    "mvexpand": ("mv-expand", "expand_body"),
    "order": ("sort", "sort_body"),
    "parse": ("parse", "parse_body"),
    "parse-kv": ("parse-kv", "pairs_body"),
    "parse-where": ("parse-where", "parse_body"),
    "partition": ("partition", "partition_body"),
    "project": ("project", "columns_body"),
    "project-away": ("project-away", "patterns_body"),
    "project-by-names": ("project-by-names", "by_names_body"),
    "project-keep": ("project-keep", "patterns_body"),
    "project-rename": ("project-rename", "columns_body"),
    "project-reorder": ("project-reorder", "reorder_body"),
    "reduce": ("reduce", "reduce_body"),
    "render": ("render", "render_body"),
    "sample": ("sample", "take_body"),
    "sample-distinct": ("sample-distinct", "sample_distinct_body"),
    "scan": ("scan", "scan_body"),
    "search": ("search", "search_body"),
    "serialize": ("serialize", "serialize_body"),
    "sort": ("sort", "sort_body"),
    "summarize": ("summarize", "summarize_body"),
    "take": ("take", "take_body"),
    "top": ("top", "top_body"),
    "top-hitters": ("top-hitters", "top_hitters_body"),
    "top-nested": ("top-nested", "top_nested_body"),
    "union": ("union", "union_body"),
    "where": ("where", "where_body"),
}
# Operators that need no table before them, and keywords that make one.
_BEGINNERS = frozenset(["evaluate", "macro-expand", "search", "union"])
_MAKERS = frozenset(["find", "print", "range"])
_INTERNAL = frozenset(["__executeAndCache", "__partitionby", "inline_external_table"])


class Statements(Special):
    # ------------------------------------------------------------------ pipes

    def begins_operator(self) -> bool:
        """Whether an operator stands here rather than an expression, though its keyword may be a name."""
        kind, following = self.kind, self.peek(1)
        if kind == "evaluate":
            return self.name_length(1) > 0 or following.text in ("hint.distribution", "hint.remote")
        if kind in ("facet", "reduce", "partition"):
            return following.kind == "by" or following.text.startswith("hint.") or following.kind == "kind"
        if kind == "range":
            length = self.name_length(1)
            return length > 0 and self.peek(1 + length).kind == "from"
        if kind == "inline_external_table" and following.kind in ("(", "kind"):
            self.unsupported(f"'{kind}'")
        if kind == "render":
            return following.kind == "NAME" or following.kind in PLAIN or following.kind.endswith("chart")
        return (kind in _OPERATORS or kind in _MAKERS or kind in _INTERNAL) and kind not in PLAIN

    def argument(self) -> Expr | tree.Pipe:
        """An expression, scalar or tabular: a pipe if it has operators or begins with one."""
        at, outer = self.token.at, self.tallest
        self.tallest = 0
        if self.begins_operator():
            return self._rest(self._head(), at, outer)
        expr = self.expression()
        if self.kind == "|":
            return self._rest(self._source(expr), at, outer)
        self.tallest = max(outer, self.tallest)
        return expr.pipe if isinstance(expr, tree.Sub) else expr

    def pipe_argument(self) -> tree.Pipe:
        """A tabular expression."""
        at = self.token.at
        found = self.argument()
        pipe = found if isinstance(found, tree.Pipe) else self.tabular(found)
        if pipe is None:
            self.wrong("expected a table: this is a value", at)
        return pipe or tree.Pipe(source=None)

    def _source(self, expr: Expr) -> tree.Pipe:
        pipe = self.tabular(expr, True)
        if pipe is None:
            self.wrong("expected a table before '|': this is a value", expr.at)
            pipe = tree.Pipe(source=None)
        return tree.Pipe(source=pipe) if pipe.bracketed or pipe.operators else pipe

    def _head(self) -> tree.Pipe:
        """A pipe that begins with an operator."""
        kind, at = self.kind, self.token.at
        if kind == "print":
            self.step()
            columns = self.items(self.named, 1)
            return tree.Pipe(source=tree.Print(columns=columns, at=at, end=self.previous_end))
        if kind == "range":
            return tree.Pipe(source=self._range())
        if kind == "find":
            self.step()
            return tree.Pipe(source=self.find_body({}))
        if kind not in _BEGINNERS and kind in _OPERATORS:
            self.wrong(f"'{kind}' needs a table before it", at)
        return tree.Pipe(source=None, operators=[self.operator()])

    def _range(self) -> tree.Range:
        start = self.step()
        name = self.take_name(what="the name of the column")
        bounds: list[Expr] = []
        for word in ("from", "to", "step"):
            self.expect(word, "in range")
            bounds.append(self.expression())
        return tree.Range(
            name=name, start=bounds[0], stop=bounds[1], step=bounds[2], at=start.at, end=self.previous_end
        )

    def _rest(self, pipe: tree.Pipe, at: int, outer: int) -> tree.Pipe:
        """The operators behind the source, each with its own recovery. `outer`: how tall the pipe around this one is
        so far."""
        self.enter()
        while self.kind == "|":
            self.step()
            start, nesting = self.index, self.nesting
            try:
                pipe.operators.append(self.operator())
            except KqlError as fault:
                self.recover(fault, start, nesting)
        pipe.at, pipe.end = at, self.previous_end
        self.rise(self.tallest + 1)
        self.tallest = max(outer, self.height)
        self.nesting -= 1
        return pipe

    def pipe_of_current(self, lenient: bool = False) -> tree.Pipe:
        """A pipe that begins with the rows at hand: operators alone. `lenient`: the grammar takes others, which mean
        nothing."""
        if lenient and self.kind not in _OPERATORS and self.kind not in _MAKERS:
            self.wrong("a sub-query begins with an operator", self.token.at)
            return self.pipe_argument()
        at, outer = self.token.at, self.tallest
        self.tallest = 0
        if self.kind == "__contextual_datatable":
            self.unsupported(f"'{self.kind}'")
        return self._rest(tree.Pipe(source=None, operators=[self.operator()]), at, outer)

    def operator(self) -> tree.Operator:
        if self.kind == "range" and self.peek(1).kind != "(":
            self.wrong("'range' begins a query", self.token.at)
            self._range()
            return tree.Operator(name="range")
        known = _OPERATORS.get(self.kind)
        if known is None or (self.kind == "count" and self.peek(1).kind == "("):
            if self.kind in _MAKERS or self.kind in _INTERNAL:
                self.unsupported(f"'{self.kind}' here")
            self.fail(f"expected an operator, found {self.sight()}")
        start = self.step()
        operator = tree.Operator(name=known[0], at=start.at)
        read: Reader = getattr(self, known[1])
        operator.body = read(operator.options)
        operator.end = self.previous_end
        if operator.body is not None and operator.body.at < 0:
            operator.body.at, operator.body.end = operator.at, operator.end
        return operator

    def macro_body(self, options: Options) -> tree.Macro:
        options.update(self.options(frozenset(["kind", "isfuzzy", "withsource", "with_source"]), True))
        if self.kind == "entity_group" and self.peek(1).kind == "[":
            self.step()
            self.step()
            groups, listed = self.items(self.expression, 1, what="a database"), True
            self.expect("]", "after the databases")
        else:
            if not self.name_length():
                self.fail(f"expected a group of databases, found {self.sight()}")
            groups, listed = [self.invocation()], False
        scope = self.take_name() if self.accept("as") else None
        self.expect("(", "before the query of macro-expand")
        self.enter()
        query = self._query(")")
        self.nesting -= 1
        self.expect(")", "after the query of macro-expand")
        return tree.Macro(groups=groups, listed=listed, scope=scope, query=query)

    # ------------------------------------------------------------------ statements

    def query(self) -> tree.Query:
        query = self._query(END)
        if self.kind != END:
            self.found.append(KqlError("parse", f"expected '|' or ';', found {self.sight()}", self.token.at))
        return query

    def _query(self, close: str) -> tree.Query:
        query = tree.Query(statements=[], results=[], at=self.token.at)
        while self.kind != close:
            start, nesting = self.index, self.nesting
            try:
                self._statement(query)
                if self.kind not in (";", close):
                    self.fail(f"expected '|' or ';', found {self.sight()}")
            except KqlError as fault:
                self.recover(fault, start, nesting)
                while self.kind == "|":  # the rest of a pipe whose source is wrong
                    self.step()
                    self.recover_operator()
            if not self.accept(";"):
                break
        query.end = self.previous_end
        return query

    def recover_operator(self) -> None:
        start, nesting = self.index, self.nesting
        try:
            self.operator()
        except KqlError as fault:
            self.recover(fault, start, nesting)

    def _statement(self, query: tree.Query) -> None:
        kind, following = self.kind, self.peek(1).kind
        self.tallest = 0
        if kind == "let" and self.name_length(1):
            query.statements.append(self.let())
        elif kind == "set":
            query.statements.append(self._set())
        elif kind == "declare" and following == "query_parameters":
            query.statements.append(self._declare())
        elif kind == "declare" and following == "pattern":
            query.statements.append(self._pattern_statement())
        elif kind == "restrict" and following == "access":
            query.statements.append(self._restrict())
        elif kind == "alias" and following == "database":
            query.statements.append(self._alias())
        else:
            query.results.append(self.pipe_argument())

    def let(self) -> tree.Let:
        start = self.step()
        name = self.take_name()
        self.expect("=", f"after 'let {name}'")
        value: Expr | tree.Pipe | tree.Function
        if self.kind == "materialize":
            call = self._tabular_call()
            value = self.tabular(call) or call
        elif self.kind == "entity_group":
            self.unsupported("'entity_group'")
        elif self._begins_function():
            value = self._function()
        else:
            value = self._value()
        return tree.Let(name=name, value=value, at=start.at, end=self.previous_end)

    def _value(self) -> Expr | tree.Pipe:
        """What let names or a function gives: a name alone and a call may be tables, and are told as such."""
        found = self.argument()
        return found if isinstance(found, tree.Pipe) else self.tabular(found) or found

    def _begins_function(self) -> bool:
        ahead = 1 if self.kind == "view" else 0
        if self.peek(ahead).kind != "(":
            return False
        if self.peek(ahead + 1).kind in (")", "*"):
            return True
        length = self.name_length(ahead + 1, True)
        return length > 0 and self.peek(ahead + 1 + length).kind == ":"

    def _function(self) -> tree.Function:
        at, view = self.token.at, self.accept("view")
        self.expect("(", "before the parameters")
        parameters = self.items(self._parameter, what="a parameter")
        self.expect(")", "after the parameters")
        statements, body = self._body(True)
        return tree.Function(
            parameters=parameters, statements=statements, body=body, view=view, at=at, end=self.previous_end
        )

    def _body(self, declaring: bool) -> tuple[list[tree.Let], Expr | tree.Pipe]:
        """`{ let ...; expression }`"""
        self.enter()
        opening = self.expect("{", "before the body of the function")
        statements: list[tree.Let] = []
        while (self.kind == "let" and self.name_length(1)) or (declaring and self.kind == "declare"):
            if self.kind == "declare":
                self.unsupported("'declare' in a function")
            statements.append(self.let())
            self.expect(";", "after 'let'")
        body: Expr | tree.Pipe = tree.Pipe(source=None)
        if self.kind == "}":
            self.wrong("the function gives nothing", opening.at)
        else:
            body = self._value()
            self.accept(";")
        self.expect("}", "after the body of the function")
        self.nesting -= 1
        return statements, body

    def _parameter(self) -> tree.Parameter:
        at = self.token.at
        name = self.take_name(True, "the name of a parameter")
        self.expect(":", f"after the parameter '{name}'")
        parameter = tree.Parameter(name=name, at=at)
        if self.kind == "(":
            self.step()
            parameter.columns = []
            if self.accept("*"):
                parameter.open = True
            else:
                parameter.columns = self.items(self.column, trailing=True, what="a column")
            self.expect(")", "after the columns")
        else:
            parameter.type = self.take_type()
        if self.accept("="):
            if self.name_length():
                self.wrong("the default of a parameter is a literal", self.token.at)
                self.step()
            else:
                parameter.default = self.signed()
        parameter.end = self.previous_end
        return parameter

    def _set(self) -> tree.Setting:
        start = self.step()
        name = self.take_name(what="the name of an option")
        value = self.expression() if self.accept("=") else None
        return tree.Setting(kind="set", name=name, value=value, at=start.at, end=self.previous_end)

    def _declare(self) -> tree.Declare:
        start = self.step()
        self.step()
        self.expect("(", "before the parameters")
        parameters = self.items(self._parameter, 1, what="a parameter")
        self.expect(")", "after the parameters")
        return tree.Declare(parameters=parameters, at=start.at, end=self.previous_end)

    def _pattern_statement(self) -> tree.Setting:
        start = self.step()
        self.step()
        name = self.take_name(what="the name of the pattern")
        setting = tree.Setting(kind="pattern", name=name, at=start.at)
        if self.accept("="):
            setting.pattern = self._pattern_body()
        setting.end = self.previous_end
        return setting

    def _pattern_body(self) -> tree.Pattern:
        at = self.expect("(", "before the parameters").at
        parameters = self.items(self.column, what="a parameter")
        self.expect(")", "after the parameters")
        path = None
        if self.accept("["):
            path = self.column()
            self.expect("]", "after the parameter of the path")
        self.expect("{", "before the matches")
        matches = [self._match()]
        while self.kind == "(":
            matches.append(self._match())
        self.expect("}", "after the matches")
        return tree.Pattern(parameters=parameters, path=path, matches=matches, at=at, end=self.previous_end)

    def _match(self) -> tree.Match:
        at = self.expect("(", "before the values of a match").at
        values = self.items(self.expression, 1, what="a value")
        self.expect(")", "after the values")
        path = None
        if self.accept("."):
            self.expect("[", "before the value of the path")
            path = self.signed()
            self.expect("]", "after the value of the path")
        self.expect("=", "before the body of a match")
        statements, body = self._body(False)
        self.expect(";", "after the body of a match")
        return tree.Match(values=values, path=path, statements=statements, body=body, at=at, end=self.previous_end)

    def _restrict(self) -> tree.Setting:
        start = self.step()
        self.step()
        self.expect("to", "after 'restrict access'")
        self.expect("(", "after 'restrict access to'")
        tables = self.items(self.entity, 1, what="a table")
        self.expect(")", "after the tables")
        if self.kind == "with":
            self.unsupported("'with' of 'restrict access'")
        return tree.Setting(kind="restrict", name="access", tables=list(tables), at=start.at, end=self.previous_end)

    def _alias(self) -> tree.Setting:
        start = self.step()
        self.step()
        name = self.take_name(what="the name of the database")
        self.expect("=", "after the name of the database")
        value = self.expression()
        return tree.Setting(kind="alias", name=name, value=value, at=start.at, end=self.previous_end)
