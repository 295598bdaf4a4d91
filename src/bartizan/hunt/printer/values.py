"""How names, literals, expressions, pipes and statements are written."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from bartizan.hunt import tree
from bartizan.hunt.lexer import KEYWORDS, PLAIN
from bartizan.hunt.parser import literals

_PLAIN_NAME = re.compile(r"[A-Za-z_$]\w*", re.ASCII)
_BOOLS = frozenset(["true", "True", "TRUE", "false", "False", "FALSE"])
# Keywords that may be functions, but begin something else where a call stands.
_NO_CALLS = frozenset(["view", "entity_group", "typeof", "inline_external_table"])
_TABULAR_CALLS = frozenset(["toscalar", "totable", "materialize"])
_CONTROL = re.compile(r'[\\"\x00-\x1f\x7f\u2028\u2029]')
_SHORT = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def quoted(text: str) -> str:
    return '"' + _CONTROL.sub(lambda found: _SHORT.get(found[0], f"\\u{ord(found[0]):04x}"), text) + '"'


def name(text: str) -> str:
    """The name as it stands, or in brackets where it would be read as something else."""
    if _PLAIN_NAME.fullmatch(text) and text not in KEYWORDS and text not in _BOOLS:
        return text
    return f"[{quoted(text)}]"


def constant(value: Any, kind: tree.Scalar) -> str:
    if kind == "dynamic":
        return f"dynamic({json.dumps(value, ensure_ascii=False)})"
    if value is None:
        return f"{kind}(null)"
    if kind == "string":
        return quoted(value)
    if kind == "bool":
        return "true" if value else "false"
    if kind == "datetime":
        return f"datetime({literals.iso(value)})"
    if kind == "timespan":
        return f"timespan({literals.span(value)})"
    text = repr(value) if kind == "real" else str(value)
    bare = kind in ("long", "real") and text[0].isdigit()
    return text if bare else f"{kind}({text})"


def column(of: tree.Column) -> str:
    return f"{name(of.name)}: {of.type}" if of.type else name(of.name)


def columns(of: Iterable[tree.Column]) -> str:
    return f"({', '.join(map(column, of))})"


class Printer:
    """`operator` and `setting` write those (see `steps`), with this printer for what stands in them."""

    def __init__(
        self,
        operator: Callable[[Printer, tree.Operator], str],
        setting: Callable[[Printer, tree.Let | tree.Declare | tree.Setting], str],
    ) -> None:
        self.operator_of = operator
        self.setting_of = setting

    # ------------------------------------------------------------------ expressions

    def expr(self, of: tree.Expr | tree.Pipe) -> str:
        match of:
            case tree.Pipe():
                return self.pipe(of)
            case tree.Sub():
                return self.pipe(of.pipe)
            case tree.Name():
                return name(of.name)
            case tree.Constant():
                return constant(of.value, of.type)
            case tree.Binary():
                return f"{self.expr(of.left)} {of.op} {self.expr(of.right)}"
            case tree.Call():
                return self.call(of)
            case tree.Member():
                return f"{self.before_dot(of.of)}.{name(of.name)}"
            case tree.Index():
                return f"{self.expr(of.of)}[{self.expr(of.key)}]"
            case tree.Bracketed():
                return f"({self.expr(of.of)})"
            case _:
                return self._other(of)

    def _other(self, of: tree.Expr) -> str:
        match of:
            case tree.Unary():
                return f"{of.op}{self.expr(of.of)}"
            case tree.In():
                return f"{self.expr(of.of)} {of.op} ({self.list(of.items)})"
            case tree.Between():
                op = "!between" if of.negated else "between"
                return f"{self.expr(of.of)} {op} ({self.expr(of.low)} .. {self.expr(of.high)})"
            case tree.Star():
                return "*"
            case tree.Wildcard():
                return of.pattern
            case tree.Typed():
                return f"typeof({of.type or ', '.join([*map(column, of.columns), *(['*'] if of.open else [])])})"
            case _:
                raise TypeError(f"{type(of).__name__} is no expression")

    def list(self, of: Iterable[tree.Expr | tree.Pipe]) -> str:
        return ", ".join(map(self.expr, of))

    def call(self, of: tree.Call, let: bool = False) -> str:
        """`let`: directly behind `let x =`, the only place where materialize is a keyword."""
        written = of.name if of.name in PLAIN - _NO_CALLS else name(of.name)
        if of.name in _TABULAR_CALLS and (let or of.name != "materialize") and _lone(of):
            written = of.name
        args = ", ".join(
            f"{name(of.named[index])} = {self.expr(arg)}" if index in of.named else self.expr(arg)
            for index, arg in enumerate(of.args)
        )
        before = "" if of.of is None else f"{self.before_dot(of.of)}."
        return f"{before}{written}({args})"

    def before_dot(self, of: tree.Expr) -> str:
        """A dot behind a whole number would be that of a real."""
        whole = isinstance(of, tree.Constant) and of.type == "long" and of.value is not None
        return f"long({of.value})" if whole and isinstance(of, tree.Constant) else self.expr(of)

    def named(self, of: tree.Named) -> str:
        if not of.names:
            return self.expr(of.expr)
        names = name(of.names[0]) if len(of.names) == 1 else f"({', '.join(map(name, of.names))})"
        return f"{names} = {self.expr(of.expr)}"

    def nameds(self, of: Iterable[tree.Named]) -> str:
        return ", ".join(map(self.named, of))

    def options(self, of: dict[str, tree.Expr], but: Iterable[str] = ()) -> str:
        """`a=1 b=c `, with a blank behind each."""
        return "".join(f"{key}={self.option(value)} " for key, value in of.items() if key not in but)

    def option(self, of: tree.Expr) -> str:
        return of.name if isinstance(of, tree.Name) and of.name in ("simple", "relaxed", "last") else self.expr(of)

    def properties(self, of: dict[str, tree.Expr], again: Iterable[tuple[str, tree.Expr]] = ()) -> str:
        told = [f"{name(key)}={self.option(value)}" for key, value in (*of.items(), *again)]
        return f" with ({', '.join(told)})" if told else ""

    # ------------------------------------------------------------------ pipes

    def pipe(self, of: tree.Pipe, between: str = " | ") -> str:
        parts = [] if of.source is None else [self.source(of.source)]
        parts += [self.operator_of(self, operator) for operator in of.operators]
        text = between.join(parts)
        return f"({text})" if of.bracketed else text

    def source(self, of: Any) -> str:
        match of:
            case tree.Pipe():
                return self.pipe(of)
            case tree.Source():
                written = self.expr(of.name)
                return ".".join([*map(self.call, of.within), written])
            case tree.Invocation():
                return ".".join([*map(self.call, of.within), self.call(of.call)])
            case tree.Datatable():
                return f"datatable{columns(of.columns)} [{self.list(of.values)}]"
            case tree.Externaldata():
                uris = self.list(of.uris)
                return f"externaldata{columns(of.columns)} [{uris}]{self.properties(of.options)}"
            case tree.Range():
                start, stop, step = self.expr(of.start), self.expr(of.stop), self.expr(of.step)
                return f"range {name(of.name)} from {start} to {stop} step {step}"
            case tree.Print():
                return f"print {self.nameds(of.columns)}"
            case tree.Find():
                return f"find {self.find(of)}"
            case _:
                raise TypeError(f"{type(of).__name__} is no source")

    def tables(self, of: Iterable[Any]) -> str:
        return ", ".join(map(self.source, of))

    def find(self, of: tree.Find) -> str:
        tables = f"in ({self.tables(of.tables)}) " if of.tables else ""
        text = f"{self.options(of.options)}{tables}where {self.expr(of.where)}"
        if of.project is None:
            return text
        found = [self._found(column.expr) for column in of.project]
        return f"{text} project {', '.join(found + ['pack(*)'] * of.pack)}"

    def _found(self, of: tree.Expr) -> str:
        """A column of find, which may tell its type."""
        match of:
            case tree.Call(name="typeof", args=[tree.Name() as named, tree.Typed() as typed]):
                return f"{name(named.name)}: {typed.type}"
            case _:
                return self.expr(of)

    # ------------------------------------------------------------------ statements

    def query(self, of: tree.Query, between: str = "\n| ", line: str = ";\n") -> str:
        statements = [self.setting_of(self, statement) for statement in of.statements]
        return line.join([*statements, *(self.pipe(result, between) for result in of.results)])

    def function(self, of: tree.Function) -> str:
        parameters = ", ".join(map(self.parameter, of.parameters))
        return f"{'view ' if of.view else ''}({parameters}) {self.body(of.statements, of.body)}"

    def body(self, statements: Iterable[tree.Let], body: tree.Expr | tree.Pipe) -> str:
        return f"{{ {''.join(f'{self.let(each)}; ' for each in statements)}{self.expr(body)} }}"

    def let(self, of: tree.Let) -> str:
        match of.value:
            case tree.Function():
                value = self.function(of.value)
            case tree.Pipe(source=tree.Invocation(call=call, within=[]), operators=[], bracketed=False):
                value = self.call(call, let=True)
            case tree.Call():
                value = self.call(of.value, let=True)
            case _:
                value = self.expr(of.value)
        return f"let {name(of.name)} = {value}"

    def parameter(self, of: tree.Parameter) -> str:
        if of.columns is not None:
            return f"{name(of.name)}: {'(*)' if of.open else columns(of.columns)}"
        default = f" = {self.expr(of.default)}" if of.default is not None else ""
        return f"{name(of.name)}: {of.type}{default}"


def _lone(of: tree.Call) -> bool:
    """Whether the call can be one of the keywords that take one tabular expression."""
    return len(of.args) == 1 and not of.named and of.of is None and not isinstance(of.args[0], tree.Name | tree.Call)
