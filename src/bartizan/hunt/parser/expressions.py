"""Scalar expressions: literals, names, paths, calls and operators by precedence.

From loose to tight: or; and; == != <> in between has_any ... (one, no chain); < <= > >= (one); + -; * / %; the
string operators (one); the sign; paths. A tabular expression in brackets stands where a scalar may: as `Sub`, and
without it among the arguments of a call.

Source: Kusto Query Language, "Scalar operators", "String operators", "The dynamic data type".
"""

from __future__ import annotations

from typing import Any, Literal, cast

from bartizan.hunt import tree
from bartizan.hunt.fault import KqlError
from bartizan.hunt.lexer import END, NAME, NAMING, PLAIN, STRING, string_value
from bartizan.hunt.parser import literals
from bartizan.hunt.parser.cursor import CLOSERS, Cursor
from bartizan.hunt.tree import Expr

_OR, _AND, _EQUAL, _ORDER, _ADD, _MULTIPLY, _STRING = range(1, 8)
_CHAINS = frozenset([_ADD, _MULTIPLY])

# What is written: how tightly it binds, and its name of today.
_OPERATORS: dict[str, tuple[int, str]] = {
    "or": (_OR, "or"),
    "and": (_AND, "and"),
    "==": (_EQUAL, "=="),
    "!=": (_EQUAL, "!="),
    "<>": (_EQUAL, "!="),
    "<": (_ORDER, "<"),
    "<=": (_ORDER, "<="),
    ">": (_ORDER, ">"),
    ">=": (_ORDER, ">="),
    "+": (_ADD, "+"),
    "-": (_ADD, "-"),
    "*": (_MULTIPLY, "*"),
    "/": (_MULTIPLY, "/"),
    "%": (_MULTIPLY, "%"),
    "containscs": (_STRING, "contains_cs"),
    "notcontains": (_STRING, "!contains"),
    "notcontainscs": (_STRING, "!contains_cs"),
}
for _name in """=~ !~ : has hasprefix hassuffix contains startswith endswith has_cs hasprefix_cs hassuffix_cs
    contains_cs startswith_cs endswith_cs""".split():
    _OPERATORS[_name] = (_STRING, _name)
    if _name[0].isalpha():
        _OPERATORS["!" + _name] = (_STRING, "!" + _name)
for _name in ("matches regex", "like", "likecs", "notlike", "notlikecs"):
    _OPERATORS[_name] = (_STRING, _name)
_LISTS = frozenset(["in", "in~", "!in", "!in~", "has_any", "has_all"])
_RANGES = frozenset(["between", "!between"])
for _name in (*_LISTS, *_RANGES):
    _OPERATORS[_name] = (_EQUAL, _name)

_NONE = (0, "")
# Keywords that are columns too, though not among the plain ones.
_COLUMNS = frozenset(["kind", "withsource", "with_source"])
# What can only follow a name: a keyword before one of these was meant as one.
_AFTER_NAME = frozenset(_OPERATORS) - {"+", "-"} | {")", "]", "}", ".", ",", "|", "=", END}

TYPES: dict[str, tree.Scalar] = {
    "bool": "bool",
    "boolean": "bool",
    "date": "datetime",
    "datetime": "datetime",
    "decimal": "decimal",
    "double": "real",
    "dynamic": "dynamic",
    "guid": "guid",
    "int": "int",
    "int64": "long",
    "int8": "int",
    "long": "long",
    "real": "real",
    "string": "string",
    "time": "timespan",
    "timespan": "timespan",
    "uniqueid": "guid",
}
# `typeof` takes these too.
MORE_TYPES: dict[str, tree.Scalar] = {
    "float": "real",
    "int16": "int",
    "int32": "int",
    "uint": "int",
    "uint8": "int",
    "uint16": "int",
    "uint32": "long",
    "uint64": "long",
    "ulong": "long",
}


class Expressions(Cursor):
    def expression(self, floor: int = _OR) -> Expr:
        """The longest expression whose operators bind at least as tightly as `floor`."""
        self.enter()
        left = self._operand(floor)
        height, ceiling = self.height, _STRING
        while True:
            level, op = _OPERATORS.get(self.kind, _NONE)
            if level < floor or level > ceiling or not level:
                break
            if level <= _AND:
                left = self._junction(left, op, level, height)
                height = self.height
                ceiling = level
                continue
            if op == "in" and self.peek(1).kind == "range":
                break
            self.step()
            if op in _LISTS:
                left = self._in(left, op)
            elif op in _RANGES:
                left = self._between(left, op)
            else:
                right = self.expression(level + 1) if level != _STRING else self._operand(_STRING + 1)
                left = tree.Binary(op=op, left=left, right=right, at=left.at, end=right.end)
            height = max(height, self.height) + 1
            self.rise(height)
            ceiling = level if level in _CHAINS else level - 1
        self.height = height
        self.nesting -= 1
        if floor == _OR and height > self.tallest:
            self.tallest = height
        return left

    def _operand(self, floor: int) -> Expr:
        kind = self.kind
        if kind == "-" or kind == "+":
            sign = self.step()
            of = self._path()
            self.rise(self.height + 1)
            return tree.Unary(op=cast(Literal["-", "+"], sign.kind), of=of, at=sign.at, end=of.end)
        if kind == "*":
            level, op = _OPERATORS.get(self.peek(1).kind, _NONE)
            if (level == _STRING and floor <= _STRING) or (op == "==" and floor <= _EQUAL):
                star = self.step()
                self.height = 1
                return tree.Star(at=star.at, end=star.end)
        return self._path()

    def _junction(self, first: Expr, op: str, level: int, height: int) -> Expr:
        """`a and b and c`: as flat a tree as can be, as either order of joining means the same."""
        terms, tall = [first], height
        while self.kind == op:
            self.step()
            terms.append(self.expression(level + 1))
            tall = max(tall, self.height)
        self.rise(tall + (len(terms) - 1).bit_length())
        return junction(op, terms)

    def _in(self, of: Expr, op: str) -> Expr:
        self.expect("(", f"after '{op}'")
        height = 0
        items: list[Expr | tree.Pipe] = []
        if self.begins_pipe():
            items.append(self.pipe_argument())
            height = self.height
        else:
            while True:
                item = self.expression()
                height = max(height, self.height)
                items.append(item.pipe if isinstance(item, tree.Sub) else item)
                if not self.accept(","):
                    break
        close = self.expect(")", f"at the end of the list of '{op}'")
        self.height = height
        return tree.In(op=op, of=of, items=items, at=of.at, end=close.end)

    def _between(self, of: Expr, op: str) -> Expr:
        self.expect("(", f"after '{op}'")
        low = self.expression()
        height = self.height
        self.expect("..", f"between the bounds of '{op}'")
        high = self.expression()
        self.height = max(height, self.height)
        close = self.expect(")", f"after the bounds of '{op}'")
        return tree.Between(of=of, low=low, high=high, negated=op == "!between", at=of.at, end=close.end)

    def begins_pipe(self) -> bool:
        """Whether a tabular expression stands in the brackets just opened: a `|` comes before their first comma."""
        if self.begins_operator():
            return True
        level, index = 0, self.index
        while True:
            kind = self.tokens[index].kind
            if kind in ("END", ";"):
                return False
            if kind == "(":
                level += 1
            elif kind == ")":
                if not level:
                    return False
                level -= 1
            elif not level and kind in (",", "|"):
                return kind == "|"
            index += 1

    # ------------------------------------------------------------------ paths

    def invocation(self) -> Expr:
        """A call, a path or a literal, with a sign or without."""
        return self._operand(_STRING + 1)

    def _path(self) -> Expr:
        if self.kind == "totable":
            return self._tabular_call()
        return self._selectors(self._primary())

    def _selectors(self, of: Expr) -> Expr:
        while True:
            if self.kind == ".":
                self.step()
                of = self._selector(of)
            elif self.kind == "[":
                of = self._element(of)
            else:
                return of

    def _selector(self, of: Expr) -> Expr:
        height = self.height
        if self.kind == "[" and not self.name_length():
            return self._element(of)
        self.after_dot[of.end] = self.token.at
        if self._calls():
            call = self.call()
            call.of, call.at = of, of.at
            self.rise(max(height, self.height) + 1)
            return call
        special = self.kind in _COLUMNS
        name = self.step().text if special else self.take_name(what="a name after '.'")
        self.rise(height + 1)
        return tree.Member(of=of, name=name, at=of.at, end=self.previous_end)

    def _element(self, of: Expr) -> Expr:
        height = self.height
        self.expect("[")
        key = self.expression()
        close = self.expect("]")
        self.rise(max(height, self.height) + 1)
        return tree.Index(of=of, key=key, at=of.at, end=close.end)

    def _primary(self) -> Expr:
        kind = self.kind
        if kind == NAME and self.peek(1).kind != "(":
            token = self.step()
            self.height = 1
            return tree.Name(name=token.text, at=token.at, end=token.end)
        if kind == STRING or kind in literals.VALUES or (kind == "dynamic" and self.peek(1).kind == "("):
            return self.constant()
        if kind == "(":
            return self._brackets()
        if kind == "toscalar":
            return self._tabular_call()
        if kind == "typeof" and self.peek(1).kind == "(":
            return self.typeof()
        if kind in ("datatable", "externaldata", "external_data"):
            source = self.inline_table()
            self.height = 1
            return tree.Sub(pipe=tree.Pipe(source=source, at=source.at, end=source.end), at=source.at, end=source.end)
        if self._calls():
            return self.call()
        return self._reference()

    def _reference(self) -> Expr:
        """A name that is a keyword or stands in brackets."""
        at, kind = self.token.at, self.kind
        if kind in _COLUMNS:
            name = self.step().text
        elif self.name_length():
            name = self.take_name()
        elif kind == "[":
            self.wrong("brackets that begin an expression hold a name in quotes", at)
            self._element(tree.Name(name=""))
            name = ""
        elif kind[:1].isalpha() and self.peek(1).kind in _AFTER_NAME and not kind.isupper():
            self.fail(f"'{self.token.text}' is a keyword; as a name it is written ['{self.token.text}']")
        elif kind in ("materialized-view-combine", "__contextual_datatable"):
            self.unsupported(f"'{kind}'")
        else:
            self.fail(f"expected an expression, found {self.sight()}")
        if self.kind == "datascope":
            self.unsupported("'datascope'")
        self.height = 1
        return tree.Name(name=name, at=at, end=self.previous_end)

    def _brackets(self) -> Expr:
        """`(expression)`, be it scalar or tabular."""
        opening = self.step()
        of = self.argument()
        close = self.expect(")")
        height = self.height + 1
        self.rise(height)
        if isinstance(of, tree.Pipe):
            pipe = of
            if pipe.bracketed:
                pipe = tree.Pipe(source=pipe)
            pipe.bracketed, pipe.at, pipe.end = True, opening.at, close.end
            return tree.Sub(pipe=pipe, at=opening.at, end=close.end)
        return tree.Bracketed(of=of, at=opening.at, end=close.end)

    # ------------------------------------------------------------------ calls

    def _calls(self) -> bool:
        """Whether a call begins here: a name and `(`."""
        length = self.name_length()
        return length > 0 and self.peek(length).kind == "("

    def call(self) -> tree.Call:
        at = self.token.at
        name = self.take_name(what="the name of a function")
        self.expect("(")
        args: list[Expr | tree.Pipe] = []
        named: dict[int, str] = {}
        height = 0
        if self.kind != ")":
            while True:
                label = self._label()
                if label:
                    named[len(args)] = label
                arg = self._star() if self.kind == "*" and self.peek(1).kind in (")", ",") else self.expression()
                height = max(height, self.height)
                args.append(arg.pipe if isinstance(arg, tree.Sub) else arg)
                if not self.accept(","):
                    break
        close = self.expect(")", f"after the arguments of {name}()")
        self.rise(height + 1)
        return tree.Call(name=name, args=args, named=named, at=at, end=close.end)

    def _label(self) -> str:
        """`name =` before an argument, or nothing."""
        length = self.name_length(0, True)
        if length and self.peek(length).kind == "=":
            label = self.take_name(True)
            self.step()
            return label
        return ""

    def _star(self) -> Expr:
        star = self.step()
        self.height = 1
        return tree.Star(at=star.at, end=star.end)

    def _tabular_call(self) -> Expr:
        """toscalar, totable, materialize: their argument is a whole tabular expression."""
        keyword = self.step()
        if self.kind == "kind":
            self.unsupported(f"'kind' of {keyword.text}")
        self.expect("(", f"after '{keyword.text}'")
        arg = self.argument()
        close = self.expect(")", f"after the argument of {keyword.text}()")
        self.rise(self.height + 1)
        pipe = arg if isinstance(arg, tree.Pipe) else self.tabular(arg)
        return tree.Call(name=keyword.text, args=[pipe or cast("Expr", arg)], at=keyword.at, end=close.end)

    def typeof(self) -> tree.Typed:
        start = self.expect("typeof")
        self.expect("(")
        kind = self.kind
        scalar: tree.Scalar | None = TYPES.get(kind) or MORE_TYPES.get(kind)
        columns: list[tree.Column] = []
        opened = False
        if scalar and self.peek(1).kind != ":":
            self.step()
        elif (kind == NAME or kind in PLAIN) and self.peek(1).kind == ")":
            self.wrong(f"'{self.token.text}' is no type", self.token.at)
            self.step()
        else:
            scalar = None
            for column in self.items(self._typed_column, what="a column"):
                if column is None:
                    opened = True
                else:
                    columns.append(column)
        close = self.expect(")", "after typeof(")
        self.height = 1
        return tree.Typed(type=scalar, columns=columns, open=opened, at=start.at, end=close.end)

    def _typed_column(self) -> tree.Column | None:
        return None if self.accept("*") else self.column()

    def column(self) -> tree.Column:
        raise NotImplementedError

    # ------------------------------------------------------------------ literals

    def take_string(self) -> str:
        token = self.expect(STRING)
        value = self._string(token.text, token.at)
        while self.kind == STRING:
            token = self.step()
            value += self._string(token.text, token.at)
        return value

    def _string(self, text: str, at: int) -> str:
        try:
            return string_value(text)
        except ValueError:
            self.wrong("an escape of the string is beyond Unicode", at)
            return ""

    def constant(self) -> tree.Constant:
        """A literal without a sign before it."""
        token, self.height = self.token, 1
        if token.kind == STRING:
            text = self.take_string()
            return tree.Constant(type="string", value=text, at=token.at, end=self.previous_end)
        if token.kind == "dynamic":
            return self._dynamic()
        self.step()
        return self._valued(token.kind, token.text, token.at, token.end)

    def _valued(self, kind: str, text: str, at: int, end: int) -> tree.Constant:
        scalar, value_of = literals.VALUES[kind]
        value: object = None
        try:
            value = value_of(text)
        except ValueError as error:
            self.wrong(str(error), at)
        return tree.Constant(type=cast(tree.Scalar, scalar), value=value, at=at, end=end)

    def signed(self) -> tree.Constant:
        """A literal where no expression can be: its sign is part of it."""
        sign, number = self.token, self.peek(1)
        if sign.kind in ("-", "+"):
            if number.kind not in ("LONG", "REAL", "TIMESPAN") or number.at != sign.end or not number.text[0].isdigit():
                self.fail(f"expected a literal, found {self.sight()}")
            self.step()
            self.step()
            text = f"{number.kind.lower()}({sign.kind}{number.text})"
            return self._valued(number.kind, text, sign.at, number.end)
        if sign.kind == STRING or sign.kind in literals.VALUES or (sign.kind == "dynamic" and number.kind == "("):
            return self.constant()
        self.fail(f"expected a literal, found {self.sight()}")

    def _dynamic(self) -> tree.Constant:
        start = self.step()
        self.expect("(")
        value = self._json()
        close = self.expect(")", "after the value of dynamic(")
        self.height = 1
        return tree.Constant(type="dynamic", value=value, at=start.at, end=close.end)

    def _json(self) -> Any:
        """A value of JSON, in which Kusto's literals may stand; those that JSON has not become its strings."""
        self.enter()
        kind = self.kind
        if kind == "[":
            self.step()
            value: Any = self.items(self._json, what="a value")
            self.expect("]", "after the elements")
        elif kind == "{":
            self.step()
            value = dict(self.items(self._pair, what="a property"))
            self.expect("}", "after the properties")
        elif kind == "null":
            self.step()
            value = None
        elif kind == "-":
            value = self._negative()
        elif kind in (STRING, "dynamic", *literals.VALUES) and kind != "INT":
            value = _plain(self.constant())
        else:
            self.fail(f"expected a value of dynamic, found {self.sight()}")
        self.nesting -= 1
        return value

    def _negative(self) -> Any:
        sign = self.step()
        if self.kind not in ("LONG", "REAL"):
            self.fail(f"expected a number after '-', found {self.sight()}")
        number = self.step()
        return _plain(self._valued(number.kind, f"{number.kind.lower()}(-{number.text})", sign.at, number.end))

    def _pair(self) -> tuple[str, Any]:
        if self.kind != STRING:
            self.fail(f"expected the name of a property in quotes, found {self.sight()}")
        name = self.step()
        self.expect(":", "after the name of a property")
        return self._string(name.text, name.at), self._json()

    # ------------------------------------------------------------------ of tabular expressions, in the classes below

    def argument(self) -> Expr | tree.Pipe:
        raise NotImplementedError

    def pipe_argument(self) -> tree.Pipe:
        raise NotImplementedError

    def tabular(self, expr: Expr, piped: bool = False) -> tree.Pipe | None:
        raise NotImplementedError

    def begins_operator(self) -> bool:
        raise NotImplementedError

    def inline_table(self) -> tree.Datatable | tree.Externaldata:
        raise NotImplementedError


def junction(op: str, terms: list[Expr]) -> Expr:
    """A balanced tree over the terms in their order."""
    if len(terms) == 1:
        return terms[0]
    middle = (len(terms) + 1) // 2
    left, right = junction(op, terms[:middle]), junction(op, terms[middle:])
    return tree.Binary(op=op, left=left, right=right, at=left.at, end=right.end)


def _plain(constant: tree.Constant) -> Any:
    """The value of a literal as JSON holds it."""
    value = constant.value
    if value is None or constant.type in ("bool", "string", "guid", "long", "dynamic"):
        return value
    if constant.type == "datetime":
        return literals.iso(value)
    if constant.type == "timespan":
        return literals.span(value)
    if constant.type == "decimal":
        return float(value)
    return value if value - value == 0 else {"inf": "Infinity", "-inf": "-Infinity"}.get(str(value), "NaN")


__all__ = ["CLOSERS", "NAMING", "TYPES", "Expressions", "KqlError", "junction"]
