"""OData text to the tree of `odata.tree`, by precedence climbing. Names are as written; `odata.bind` knows them.

Bounded: the text by `lex.MAX_CHARACTERS`, nesting by MAX_DEPTH and MAX_HEIGHT, lists by MAX_LIST.

Source: OData 4.01 Part 2 (URL Conventions), sections 5.1.1 (filter) to 5.1.7 (search).
"""

import math
import re
from typing import NamedTuple

from bartizan.errors import InvalidQuery
from bartizan.odata.functions import SIGNATURES
from bartizan.odata.lex import Token, checked, tokens
from bartizan.odata.shape import height
from bartizan.odata.tree import (
    All,
    And,
    Any,
    Arithmetic,
    Call,
    Compare,
    Expr,
    In,
    Literal,
    Negative,
    Not,
    Or,
    Order,
    Path,
    Search,
    Size,
)

MAX_DEPTH = 64  # of brackets, lambdas and arguments
MAX_HEIGHT = 100  # of the tree: `1 add 1 add 1 ...` nests without brackets
MAX_LIST = 1_000
MAX_KEYS = 20  # of $orderby and of $expand

_PRECEDENCE = {"or": 1, "and": 2}
_COMPARE = frozenset(("eq", "ne", "lt", "le", "gt", "ge", "has", "in"))
_SUM = {"add": 5, "sub": 5, "mul": 6, "div": 6, "divby": 6, "mod": 6}
_MAX_INT = 2**63 - 1
_PREFIXED = {
    **dict.fromkeys(("datetime", "datetimeoffset"), "instant"),
    **dict.fromkeys(("time", "timeofday"), "time"),
    **dict.fromkeys(("binary", "x"), "text"),
    **{kind: kind for kind in ("guid", "duration", "date")},
}
_WORDS = {"null": Literal(None, "null"), "true": Literal(True, "bool"), "false": Literal(False, "bool")}


class _Parser:
    def __init__(self, text: str, what: str) -> None:
        self.text, self.what = text, what
        self.tokens = tokens(text, what)
        self.here = 0
        self.depth = 0
        self.variables: list[str] = []

    # ------------------------------------------------------------ tokens

    @property
    def token(self) -> Token:
        return self.tokens[self.here]

    def take(self) -> Token:
        token = self.tokens[self.here]
        if token.kind != "end":
            self.here += 1
        return token

    def mark(self, value: str) -> bool:
        """Takes a punctuation mark if it is next."""
        if self.token.kind == "mark" and self.token.value == value:
            self.here += 1
            return True
        return False

    def word(self) -> str:
        """The next token as an operator's name in lower case; empty where it is none."""
        return self.token.value.lower() if self.token.kind == "name" else ""

    def error(self, expected: str, token: Token | None = None) -> InvalidQuery:
        token = token or self.token
        got = "the end" if token.kind == "end" else f"'{self.text[token.at : token.at + 24]}'"
        return InvalidQuery(f"{self.what}: expected {expected} at position {token.at}, found {got}.")

    def expect(self, value: str) -> None:
        if not self.mark(value):
            raise self.error(f"'{value}'")

    def finish(self) -> None:
        if self.token.kind != "end":
            raise self.error("an operator (and, or, eq, ne, gt, ge, lt, le, in, has, ...) or the end")

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise InvalidQuery(f"{self.what}: nested more than {MAX_DEPTH} deep at position {self.token.at}.")

    # ------------------------------------------------------------ expressions

    def expression(self, lowest: int = 1) -> Expr:
        """Everything that binds at least as tightly as `lowest`: 1 or, 2 and, 3 not, 4 comparison, 5 sum, 6 product."""
        self.deeper()
        left = self.unary(lowest)
        while True:
            word = self.word()
            if word in _PRECEDENCE and _PRECEDENCE[word] >= lowest:
                left = self.chain(word, left)
            elif word in _COMPARE and lowest <= 4:
                self.take()
                left = self.members(left) if word == "in" else Compare(word, left, self.expression(5))  # type: ignore[arg-type]
            elif word in _SUM and _SUM[word] >= lowest:
                self.take()
                left = Arithmetic(word, left, self.expression(_SUM[word] + 1))  # type: ignore[arg-type]
            else:
                self.depth -= 1
                return left

    def chain(self, word: str, left: Expr) -> Expr:
        """`a and b and c` as one node, so that long chains are not deep trees."""
        parts = [left]
        while self.word() == word:
            self.take()
            parts.append(self.expression(_PRECEDENCE[word] + 1))
        return And(tuple(parts)) if word == "and" else Or(tuple(parts))

    def unary(self, lowest: int) -> Expr:
        if self.word() == "not" and self.tokens[self.here + 1].value != "/":
            self.take()
            return Not(self.expression(3 if lowest <= 3 else lowest))
        if self.mark("-"):
            operand = self.expression(7)
            if isinstance(operand, Literal) and isinstance(operand.value, int | float) and operand.kind != "bool":
                return Literal(-operand.value, operand.kind)
            return Negative(operand)
        return self.primary()

    def members(self, left: Expr) -> Expr:
        self.expect("(")
        values: list[Literal] = []
        while not self.mark(")"):
            if values:
                self.expect(",")
            item = self.expression(5)
            if not isinstance(item, Literal):
                raise self.error("a literal before this in the list of 'in'")
            values.append(item)
            if len(values) > MAX_LIST:
                raise InvalidQuery(f"{self.what}: a list of more than {MAX_LIST} values.")
        return In(left, tuple(values))

    def primary(self) -> Expr:
        token = self.token
        if self.mark("("):
            inside = self.expression()
            self.expect(")")
            return inside
        if token.kind == "name":
            return self.named()
        if token.kind in ("end", "mark"):
            raise self.error("a property, a function or a literal")
        self.take()
        return self.literal(token)

    def literal(self, token: Token) -> Literal:
        if token.kind == "int":
            digits = token.value.rstrip("lL")
            if len(digits) <= 19 and int(digits) <= _MAX_INT:
                return Literal(int(digits), "int")
        if token.kind in ("int", "real"):
            value = float(token.value.rstrip("lLdDfFmM"))
            if math.isinf(value):
                raise self.error("a number up to 1.7e308", token)
            return Literal(value, "real")
        return Literal(token.value, token.kind)  # type: ignore[arg-type]  # the rest are kinds of literals too

    def named(self) -> Expr:
        token = self.take()
        following = self.token
        if following.kind == "text" and following.at == token.end:
            self.take()
            kind = _PREFIXED.get(token.value.lower().removeprefix("edm."), "enum" if "." in token.value else None)
            if kind is None:
                raise self.error("a qualified enum (namespace.type'member') or a prefix such as guid", token)
            return Literal(following.value, kind)  # type: ignore[arg-type]
        lower = token.value.lower()
        if following.kind == "mark" and following.value == "(":
            return self.call(token)
        if lower in _WORDS and not (following.kind == "mark" and following.value == "/"):
            return _WORDS[lower]
        return self.path(token)

    def call(self, token: Token) -> Expr:
        name = token.value.lower()
        self.expect("(")
        args: list[Expr] = []
        while not self.mark(")"):
            if args:
                self.expect(",")
            args.append(self.type_or_expression(name))
            if len(args) > 3:
                raise self.error("')'")
        if name == "isof":
            return self.is_of(token, args)
        if name == "substringof" and len(args) == 2:  # OData 2: the other way round
            return Call("contains", (args[1], args[0]))
        known = SIGNATURES.get(name)
        if known is None:
            raise InvalidQuery(
                f"{self.what}: unknown function '{token.value[:60]}' at position {token.at}; "
                f"known: {', '.join(SIGNATURES)}, isof, any, all."
            )
        if not known.required <= len(args) <= len(known.arguments):
            wanted = " or ".join(map(str, sorted({known.required, len(known.arguments)})))
            raise InvalidQuery(
                f"{self.what}: {token.value} at position {token.at} takes {wanted} arguments, not {len(args)}."
            )
        return Call(name, tuple(args))

    def type_or_expression(self, function: str) -> Expr:
        token = self.token
        if function == "isof" and token.kind == "name" and "." in token.value:
            self.take()
            return Literal(token.value, "text")
        return self.expression()

    def is_of(self, token: Token, args: list[Expr]) -> Expr:
        """`isof('microsoft.graph.x')`, `isof(e, microsoft.graph.x)`; the binder makes a comparison of @odata.type."""
        at: Expr = Path(()) if len(args) == 1 else args[0] if len(args) == 2 else Literal(None, "null")
        name = args[-1] if args else at
        if not isinstance(at, Path) or not isinstance(name, Literal) or not isinstance(name.value, str):
            raise self.error("isof('namespace.type') or isof(path, 'namespace.type')", token)
        return Call("isof", (at, name))

    def path(self, token: Token) -> Expr:
        names: list[str] = [] if token.value == "$it" else [token.value]
        variable = None
        if names and token.value in self.variables:
            names, variable = [], token.value
        while self.mark("/"):
            step = self.take()
            if step.kind != "name":
                raise self.error("a property name after '/'", step)
            lower = step.value.lower()
            if lower == "$count":
                return Size(Path(tuple(names), variable))
            if lower in ("any", "all") and self.token.value == "(":
                return self.quantified(lower, Path(tuple(names), variable))
            names.append(step.value)
        return Path(tuple(names), variable)

    def quantified(self, word: str, path: Path) -> Expr:
        self.expect("(")
        if self.mark(")"):
            if word == "all":
                raise self.error("a condition: all(x: ...)")
            return Any(path)
        name = self.take()
        if name.kind != "name" or not self.mark(":"):
            raise self.error("a variable and ':' such as any(x: x/name eq 'y')", name)
        self.variables.append(name.value)
        body = self.expression()
        self.variables.pop()
        self.expect(")")
        return Any(path, name.value, body) if word == "any" else All(path, name.value, body)


def parse_filter(text: str) -> Expr:
    """InvalidQuery says where, what was found and what would be right."""
    parser = _Parser(text, "Invalid filter clause")
    made = parser.expression()
    parser.finish()
    if height(made) > MAX_HEIGHT:
        raise InvalidQuery(
            f"Invalid filter clause: operators nest more than {MAX_HEIGHT} deep; use brackets and fewer."
        )
    return made


def parse_orderby(text: str) -> tuple[Order, ...]:
    parser = _Parser(text, "Invalid $orderby")
    keys: list[Order] = []
    while True:
        token = parser.token
        item = parser.primary()
        if not isinstance(item, Path) or item.variable is not None:
            raise parser.error("a property", token)
        word = parser.word()
        if word in ("asc", "desc"):
            parser.take()
        keys.append(Order(item, word == "desc"))
        if len(keys) > MAX_KEYS:
            raise InvalidQuery(f"Invalid $orderby: more than {MAX_KEYS} keys.")
        if not parser.mark(","):
            break
    parser.finish()
    return tuple(keys)


def parse_select(text: str) -> tuple[str, ...]:
    """Property paths as written, each once; `*` stands for all."""
    parser = _Parser(text, "Invalid $select")
    found: dict[str, None] = {}
    while True:
        if parser.mark("*"):
            found["*"] = None
        else:
            found["/".join(_names(parser))] = None
        if len(found) > MAX_LIST:
            raise InvalidQuery(f"Invalid $select: more than {MAX_LIST} properties.")
        if not parser.mark(","):
            break
    parser.finish()
    return tuple(found)


def _names(parser: _Parser) -> list[str]:
    names: list[str] = []
    while True:
        token = parser.take()
        if token.kind != "name":
            raise parser.error("a property name", token)
        names.append(token.value)
        if not parser.mark("/"):
            return names


class Expand(NamedTuple):
    """One entry of $expand: a navigation property, and the text of its own options by name (lower case, no `$`)."""

    name: str
    options: dict[str, str]


def parse_expand(text: str) -> tuple[Expand, ...]:
    """`alerts`, `alerts($select=id,title;$top=5)`; options are handed on as text."""
    parser = _Parser(text, "Invalid $expand")
    found: list[Expand] = []
    while True:
        if parser.mark("*"):
            found.append(Expand("*", {}))
        else:
            name = "/".join(_names(parser))
            found.append(Expand(name, _nested(parser) if parser.mark("(") else {}))
        if len(found) > MAX_KEYS:
            raise InvalidQuery(f"Invalid $expand: more than {MAX_KEYS} entries.")
        if not parser.mark(","):
            break
    parser.finish()
    return tuple(found)


def _nested(parser: _Parser) -> dict[str, str]:
    options: dict[str, str] = {}
    while True:
        token = parser.take()
        if token.kind != "name":
            raise parser.error("an option such as $select", token)
        name = token.value.lower().removeprefix("$")
        if name in options:
            raise InvalidQuery(f"Invalid $expand: ${name} is given twice.")
        parser.expect("=")
        options[name] = _option_text(parser)
        if parser.mark(")"):
            return options
        parser.expect(";")


def _option_text(parser: _Parser) -> str:
    """Up to the `;` or `)` that ends the option at its own depth."""
    begin, level = parser.token.at, 0
    while True:
        token = parser.token
        if token.kind == "end":
            raise parser.error("')'")
        if token.kind == "mark":
            if token.value == "(":
                level += 1
            elif token.value == ")" and level:
                level -= 1
            elif token.value in ");" and not level:
                return parser.text[begin : token.at].strip()
        parser.take()


_SEARCH = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([()])|([^\s()"]+)|\Z)')


def parse_search(text: str) -> Expr:
    """`"displayName:wa" OR ("mail:x" AND y)`: a tree of Search nodes whose path is empty where no property is named.

    A term of several words asks for each of them. AND stands between terms where nothing does.
    """
    checked(text, "Invalid $search")
    words: list[_Word] = []
    at = 0
    while at < len(text):
        match = _SEARCH.match(text, at)
        if match is None:
            raise InvalidQuery(f"Invalid $search: cannot read '{text[at : at + 20]}' at position {at}; quote the term.")
        quoted, bracket, bare = match.groups()
        at = match.end()
        if quoted is not None:
            words.append(("term", re.sub(r"\\(.)", r"\1", quoted)))
        elif bracket:
            words.append((bracket, bracket))
        elif bare:
            words.append((bare if bare in ("AND", "OR", "NOT") else "term", bare))
    if len(words) > MAX_DEPTH:
        raise InvalidQuery(f"Invalid $search: more than {MAX_DEPTH} terms and operators.")
    made, rest = _any_of(words)
    if rest:
        raise InvalidQuery("Invalid $search: the brackets do not balance.")
    return made


_Word = tuple[str, str]  # what it is: term, AND, OR, NOT, a bracket; and its text


def _any_of(words: list[_Word]) -> tuple[Expr, list[_Word]]:
    first, rest = _all_of(words)
    parts = [first]
    while rest and rest[0][0] == "OR":
        part, rest = _all_of(rest[1:])
        parts.append(part)
    return (Or(tuple(parts)) if len(parts) > 1 else first), rest


def _all_of(words: list[_Word]) -> tuple[Expr, list[_Word]]:
    first, rest = _one(words)
    parts = [first]
    while rest and rest[0][0] not in ("OR", ")"):
        part, rest = _one(rest[1:] if rest[0][0] == "AND" else rest)
        parts.append(part)
    return (And(tuple(parts)) if len(parts) > 1 else first), rest


def _one(words: list[_Word]) -> tuple[Expr, list[_Word]]:
    if not words:
        raise InvalidQuery("Invalid $search: a term is missing at the end.")
    (kind, value), rest = words[0], words[1:]
    if kind == "NOT":
        operand, rest = _one(rest)
        return Not(operand), rest
    if kind == "(":
        made, rest = _any_of(rest)
        if not rest or rest[0][0] != ")":
            raise InvalidQuery("Invalid $search: the brackets do not balance.")
        return made, rest[1:]
    if kind != "term":
        raise InvalidQuery(f"Invalid $search: a term is missing before '{value}'.")
    return _term(value), rest


def _term(value: str) -> Expr:
    name, colon, wanted = value.partition(":")
    if not colon or not name.replace("/", "").isidentifier():
        name, wanted = "", value
    path = Path(tuple(name.strip().split("/")) if name else ())
    prefixes = wanted.split()
    if not prefixes:
        raise InvalidQuery("Invalid $search: a term is empty.")
    terms = tuple(Search(path, prefix) for prefix in prefixes)
    return And(terms) if len(terms) > 1 else terms[0]
