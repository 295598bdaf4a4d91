"""Where tables come from, and what several operators share: schemas, parameters, names of columns.

Source: Kusto Query Language, "datatable", "externaldata", "Entity references", "union", "find".
"""

from __future__ import annotations

from typing import TypeAlias, cast

from bartizan.hunt import tree
from bartizan.hunt.lexer import NAME, NAMING, PLAIN, STRING
from bartizan.hunt.parser.cursor import CLOSERS
from bartizan.hunt.parser.expressions import MORE_TYPES, TYPES, Expressions
from bartizan.hunt.parser.literals import VALUES
from bartizan.hunt.tree import Expr

# Parameters that any operator may be given before its arguments, whatever becomes of them.
_KNOWN = frozenset(
    """bagexpansion bin_legacy cycles decodeblocks expandoutput force_remote hint.concurrency hint.distribution
    hint.materialized hint.num_partitions hint.pass_filters hint.pass_filters_column hint.progressive_top hint.remote
    hint.shufflekey hint.spread hint.strategy isfuzzy kind with_itemindex with_match_id with_source with_step_name
    withsource __crossCluster __crossDB __id __isFuzzy __noWithSource __packedColumn __sourceColumnIndex""".split()
)
# Calls that tell where a table is.
_SCOPES = frozenset(["adx", "app", "arg", "cluster", "database", "external_table", "resource", "workspace"])

Options: TypeAlias = "dict[str, Expr]"


class Tables(Expressions):
    # ------------------------------------------------------------------ schemas

    def column(self) -> tree.Column:
        """`name: type`"""
        at = self.token.at
        name = self.take_name(True, "the name of a column")
        self.expect(":", f"after the column '{name}'")
        return tree.Column(name=name, type=self.take_type(), at=at, end=self.previous_end)

    def take_type(self) -> tree.Scalar:
        kind = self.kind
        if kind == "(":
            self.wrong("the type of a column is scalar", self.token.at)
            self.step()
            if not self.accept("*"):
                self.items(self.column, trailing=True, what="a column")
            self.expect(")", "after the columns")
            return "dynamic"
        scalar = TYPES.get(kind)
        if scalar is None:
            known = kind in MORE_TYPES or kind == NAME
            self.fail(f"{self.sight()} is no type" if known else f"expected a type, found {self.sight()}")
        self.step()
        return scalar

    def schema(self) -> list[tree.Column]:
        self.expect("(", "before the columns")
        self.accept(",")
        columns = self.items(self.column, trailing=True, what="a column")
        self.expect(")", "after the columns")
        return columns

    def open_schema(self) -> tuple[list[tree.Column], bool]:
        """`(*, a: int)` of evaluate."""
        self.expect("(", "before the columns")
        self.accept(",")
        opened = self.accept("*")
        self.accept(",")
        columns = self.items(self.column, trailing=True, what="a column")
        self.expect(")", "after the columns")
        return columns, opened

    def inline_table(self) -> tree.Datatable | tree.Externaldata:
        keyword = self.step()
        if self.options():
            self.unsupported(f"a parameter of {keyword.kind}", keyword.at)
        columns = self.schema()
        self.expect("[", "after the columns")
        if keyword.kind == "datatable":
            self.accept(",")
            values: list[Expr] = list(self.items(self.signed, trailing=True, what="a literal"))
            self.expect("]", "after the values")
            return tree.Datatable(columns=columns, values=values, at=keyword.at, end=self.previous_end)
        uris = self.items(self.expression, trailing=True)
        self.expect("]", "after the addresses")
        options = self.properties() if self.accept("with") else {}
        return tree.Externaldata(columns=columns, uris=uris, options=options, at=keyword.at, end=self.previous_end)

    def properties(self) -> Options:
        """`(name = value, ...)` where values are literals or words."""
        self.expect("(", "after 'with'")
        options: Options = {}
        for name, value in self.items(self._property, what="a property"):
            options[name] = value
        self.expect(")", "after the properties")
        return options

    def _property(self) -> tuple[str, Expr]:
        name = self.take_name(True, "the name of a property")
        self.expect("=", f"after '{name}'")
        if self.kind in (STRING, "LONG", "REAL", "BOOL", "DATETIME", "GUID"):
            return name, self.constant()
        return name, self.word(True)

    def word(self, naming: bool = False) -> tree.Name:
        at = self.token.at
        return tree.Name(name=self.take_name(naming, "a value"), at=at, end=self.previous_end)

    # ------------------------------------------------------------------ parameters

    def options(self, own: frozenset[str] = frozenset(), assigned: bool = False) -> Options:
        """`name = value` pairs before the arguments of an operator. `assigned`: a name counts only before `=`."""
        options: Options = {}
        while True:
            length = self._option_name(own, assigned)
            if not length:
                return options
            at = self.token.at
            name = "".join(self.step().text for _ in range(length))
            self.expect("=", f"after '{name}'")
            value = self.option_value()
            if name not in options:
                options[name] = value
            elif not name.startswith("hint."):
                self.wrong(f"'{name}' is given twice", at)

    def _option_name(self, own: frozenset[str], assigned: bool) -> int:
        text = self.token.text
        if text == "hint":  # a hint that is no keyword of its own
            rest = self.peek(2)
            length = 3 if self.peek(1).kind == "." and f"hint.{rest.text}" in _KNOWN else 0
        else:
            length = 1 if self.kind != STRING and (text in own or text in _KNOWN) else 0
        return length if length and (not assigned or self.peek(length).kind == "=") else 0

    def own_property(self, own: frozenset[str]) -> tuple[str, Expr]:
        """`name = value` in a list, where no other names can be."""
        name = self.token.text
        if name not in own or self.kind == STRING:
            self.fail(f"expected one of {', '.join(sorted(own))}, found {self.sight()}")
        self.step()
        self.expect("=", f"after '{name}'")
        return name, self.option_value()

    def option_value(self) -> Expr:
        """A literal, or a word."""
        kind = self.kind
        if kind in (STRING, "-", "+", *VALUES) or (kind == "dynamic" and self.peek(1).kind == "("):
            return self.signed()
        if kind == "typeof":
            return self.typeof() if self.peek(1).kind == "(" else self.word()
        if kind == NAME or kind in PLAIN or kind == "[":
            return self.word()
        # Words that are keywords elsewhere: `kind=relaxed`, `output=last`.
        if kind in ("simple", "relaxed", "last"):
            token = self.step()
            return tree.Name(name=token.text, at=token.at, end=token.end)
        self.fail(f"expected a value after '=', found {self.sight()}")

    # ------------------------------------------------------------------ columns

    def named(self) -> tree.Named:
        """`name = expression`, `(a, b) = expression`, or an expression alone."""
        at = self.token.at
        length = self.name_length(0, True)
        if length and self.peek(length).kind == "=":
            names = [self.take_name(True)]
        else:
            length = self._names_length()
            if not length:
                expr = self.expression()
                return tree.Named(expr=expr, at=at, end=expr.end)
            self.step()
            names = self.items(lambda: self.take_name(True), 1, what="a name")
            self.expect(")")
        self.expect("=")
        expr = self.expression()
        return tree.Named(expr=expr, names=names, at=at, end=expr.end)

    def _names_length(self) -> int:
        """The length of `(a, b)` if `=` follows it, else 0."""
        if self.kind != "(":
            return 0
        ahead = 1
        while True:
            length = self.name_length(ahead, True)
            if not length:
                break
            ahead += length
            if self.peek(ahead).kind != ",":
                break
            ahead += 1
        return ahead + 1 if self.peek(ahead).kind == ")" and self.peek(ahead + 1).kind == "=" else 0

    def unnamed(self) -> Expr:
        """An expression where a name for it is well formed, but means nothing: `where a = 1`."""
        found = self.named()
        if found.names:
            self.wrong(f"'{found.names[0]} =' names a column, and none is made here; '==' compares", found.at)
        return found.expr

    def pattern_length(self, ahead: int = 0) -> int:
        """How many tokens the name with `*` in it takes that begins here, nothing between them; 0: there is none."""
        first = self.peek(ahead)
        if first.kind == "*":
            length = 1
        else:
            star = self.peek(ahead + 1)
            if star.kind != "*" or star.at != first.end or not (first.kind == NAME or first.kind in NAMING):
                return 0
            length = 2
        while True:
            token, before = self.peek(ahead + length), self.peek(ahead + length - 1)
            if token.at != before.end or not (token.kind in (NAME, "LONG", "*") or token.kind in NAMING):
                return length
            length += 1

    def pattern(self, length: int) -> tree.Wildcard:
        at = self.token.at
        for _ in range(length):
            self.step()
        return tree.Wildcard(pattern=self.text[at : self.previous_end], at=at, end=self.previous_end)

    def column_or_pattern(self) -> tree.Named:
        """What project-away and its kin take."""
        at = self.token.at
        length = self.pattern_length()
        expr: Expr = self.pattern(length) if length else self.word()
        return tree.Named(expr=expr, at=at, end=self.previous_end)

    def path(self) -> Expr:
        """`a.b[0]`, without calls."""
        expr: Expr = self.word()
        while self.kind in (".", "["):
            if self.kind == "." and self.peek(1).kind != "[":
                self.step()
                expr = tree.Member(of=expr, name=self.take_name(), at=expr.at, end=self.previous_end)
            else:
                self.accept(".")
                expr = self._element(expr)
        return expr

    # ------------------------------------------------------------------ tables

    def operand(self) -> tree.Source | tree.Invocation | tree.Pipe:
        """A table of union: a name, a pattern, a call, a pipe in brackets; of another database if it says so."""
        if self.kind == "(":
            pipe = self.tabular(self._brackets())
            if pipe is None:
                self.wrong("expected a table", self.tokens[self.index - 1].at)
            return pipe or tree.Pipe(source=None)
        return self.entity()

    def entity(self) -> tree.Source | tree.Invocation:
        at = self.token.at
        within: list[tree.Call] = []
        while True:
            length = self.pattern_length()
            if length:
                return tree.Source(name=self.pattern(length), within=within, at=at, end=self.previous_end)
            if self.kind == "[" and self.pattern_length(1) and not self.name_length():
                self.step()
                pattern = self.pattern(self.pattern_length())
                self.expect("]")
                return tree.Source(name=pattern, within=within, at=at, end=self.previous_end)
            if not self._calls():
                break
            call = self.call()
            if not self.accept("."):
                return tree.Invocation(call=call, within=within, at=at, end=call.end)
            within.append(call)
        name = self._reference()
        if self.kind in (".", "["):
            self.wrong("a table of another database is named by database('...').table", at)
            self._selectors(name)
        return tree.Source(name=cast(tree.Name, name), within=within, at=at, end=self.previous_end)

    def tabular(self, expr: Expr, piped: bool = False) -> tree.Pipe | None:
        """The expression as a table, where it can be one; names and calls are taken for tables here. `piped`: `|`
        follows, so that `f().name` is no member of a value."""
        if isinstance(expr, tree.Sub):
            return expr.pipe
        if isinstance(expr, tree.Bracketed):
            inside = self.tabular(expr.of, piped)
            if inside is None:
                return None
            if inside.bracketed:
                inside = tree.Pipe(source=inside)
            inside.bracketed, inside.at, inside.end = True, expr.at, expr.end
            return inside
        source: tree.Source | tree.Invocation
        if isinstance(expr, tree.Name):
            source = tree.Source(name=expr, at=expr.at, end=expr.end)
        elif isinstance(expr, tree.Call):
            within = self._scopes(expr.of, piped)
            if within is None:
                return None
            source = tree.Invocation(call=self._alone(expr), within=within, at=expr.at, end=expr.end)
        elif isinstance(expr, tree.Member):
            within = self._scopes(expr.of, piped)
            if not within:
                return None
            name = tree.Name(name=expr.name, at=self.after_dot[expr.of.end], end=expr.end)
            source = tree.Source(name=name, within=within, at=expr.at, end=expr.end)
        else:
            return None
        return tree.Pipe(source=source, at=expr.at, end=expr.end)

    def _alone(self, call: tree.Call) -> tree.Call:
        """The call without what stands before its dot."""
        if call.of is None:
            return call
        at = self.after_dot[call.of.end]
        return tree.Call(name=call.name, args=call.args, named=call.named, at=at, end=call.end)

    def _scopes(self, expr: Expr | None, piped: bool) -> list[tree.Call] | None:
        """`cluster('c').database('d')` as its calls from the outside in; None: it is something else."""
        calls: list[tree.Call] = []
        while expr is not None:
            if not isinstance(expr, tree.Call) or not (piped or expr.name in _SCOPES):
                return None
            calls.append(self._alone(expr))
            expr = expr.of
        return calls[::-1]

    def table(self) -> tree.Pipe:
        """The right side of a join, a table of a graph."""
        at = self.token.at
        pipe = self.tabular(self.expression())
        if pipe is None:
            self.wrong("expected a table: a name, or a query in brackets", at)
        return pipe or tree.Pipe(source=None)

    def keys(self, stops: frozenset[str] = CLOSERS) -> list[tree.Key]:
        return self.items(self.key, 1, stops)

    def key(self) -> tree.Key:
        """`expression [asc|desc] [nulls first|last]`"""
        at = self.token.at
        key = tree.Key(expr=self.unnamed(), at=at)
        if self.kind in ("asc", "desc", "granny-asc", "granny-desc"):
            order = self.step()
            if order.kind.startswith("granny"):
                self.wrong(f"'{order.kind}' is for project-reorder", order.at)
            key.descending = order.kind == "desc"
        key.nulls_first = self.nulls_first()
        key.end = self.previous_end
        return key

    def nulls_first(self) -> bool | None:
        """`[nulls first|last]`"""
        if not self.accept("nulls"):
            return None
        if self.kind not in ("first", "last"):
            self.fail(f"expected 'first' or 'last' after 'nulls', found {self.sight()}")
        return self.step().kind == "first"
