"""The tree as SQL, for both engines, always with parameters (`$?`; each engine puts its own mark there).

Declared paths read their column, every other path reads the JSON of the beta document (v1.0 where there is none). A
comparison is two-valued: in a positive place SQL's null does for false, below a `not` it is made false.

Source: meaning in `odata.tree`; SQLite JSON functions; PostgreSQL 15, chapter 9.16.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from bartizan.errors import InvalidQuery
from bartizan.model.times import instant
from bartizan.odata import tree
from bartizan.odata.evaluate import (
    MAX_INSTANT,
    MIN_INSTANT,
    SPACES,
    divided,
    folds,
    remainder,
    rounded,
    substring,
    word_starts,
)
from bartizan.odata.tree import Expr, Kind, Literal, Path
from bartizan.store.sql import Table

Sql = tuple[str, list[Any]]


def _strict(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: None if None in args else function(*args)


# What an SQLite connection must be given before it runs compiled SQL: name -> (function, number of arguments).
SQLITE_FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {
    "o_lower": (_strict(lambda text: str(text).lower()), 1),
    "o_upper": (_strict(lambda text: str(text).upper()), 1),
    "o_substring": (_strict(substring), 2),
    "o_substring3": (_strict(substring), 3),
    "o_round": (_strict(rounded), 1),
    "o_div": (_strict(divided), 2),
    "o_divby": (_strict(lambda one, other: divided(one, other, whole=False)), 2),
    "o_mod": (_strict(remainder), 2),
    "o_search": (lambda text, prefix: text is not None and word_starts(str(text).lower(), prefix), 2),
}

_OPERATORS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_SAFE = re.compile(r"[@\w.]+")
_NUMERIC: tuple[Kind, ...] = ("int", "real")


class _Compiler:
    def __init__(self, table: Table) -> None:
        self.table = table
        self.sqlite = table.dialect.name == "sqlite"
        self.sources: dict[str, str] = {}  # lambda variable -> SQL of its element
        self.made = 0

    # ------------------------------------------------------------ conditions

    def condition(self, expr: Expr, positive: bool = True) -> Sql:
        """`positive`: null does for false here."""
        match expr:
            case tree.And(operands):
                return _joined(" AND ", [self.condition(part, positive) for part in operands])
            case tree.Or(operands):
                return _joined(" OR ", [self.condition(part, positive) for part in operands])
            case tree.Not(operand):
                sql, params = self.condition(operand, False)
                return f"NOT {sql}", params
            case tree.Compare(op, left, right):
                return self._compare(op, left, right, positive)
            case tree.In(left, values):
                return self._in(left, values, positive)
            case tree.Any(path, variable, body):
                return self._any(path, variable, body)
            case tree.All(path, variable, body):
                return self._all(path, variable, body)
            case tree.Search(path, prefix):
                return self._search(path, prefix)
            case Literal(None):
                return "(NULL)" if self.sqlite else "(NULL::boolean)", []
            case Literal(bool() as value):
                return ("(1 = 1)" if value else "(1 = 0)"), []
        sql, params = self.scalar(expr, folds(expr))
        return f"({sql})", params

    def _two_valued(self, sql: str, positive: bool) -> str:
        return f"({sql})" if positive else f"coalesce({sql}, {'0' if self.sqlite else 'false'})"

    def _compare(self, op: str, left: Expr, right: Expr, positive: bool) -> Sql:
        fold = folds(left, right)
        (a, p), (b, q) = self.scalar(left, fold), self.scalar(right, fold)
        null = next(
            (x for x, side in ((b, left), (a, right)) if isinstance(side, Literal) and side.value is None), None
        )
        if op == "has":
            return self._has(a, p, b, q, positive)
        if op in ("eq", "ne"):
            if null is not None:
                other = q if null is b else p
                return f"({null} IS {'NOT ' if op == 'ne' else ''}NULL)", other
            if op == "ne":
                return f"({a} {'IS NOT' if self.sqlite else 'IS DISTINCT FROM'} {b})", p + q
            if isinstance(left, Literal) or isinstance(right, Literal):
                return self._two_valued(f"{a} = {b}", positive), p + q
            return f"({a} {'IS' if self.sqlite else 'IS NOT DISTINCT FROM'} {b})", p + q
        return self._two_valued(f"{a} {_OPERATORS[op]} {b}", positive), p + q

    def _has(self, a: str, p: list[Any], b: str, q: list[Any], positive: bool) -> Sql:
        """Members are a comma list: each one that is asked for stands in it."""
        parts = [(self._contains(f"(',' || {a} || ',')"), [*p, f",{part.strip()},"]) for part in str(q[0]).split(",")]
        sql, params = _joined(" AND ", parts)
        return self._two_valued(sql, positive), params

    def _contains(self, haystack: str) -> str:
        return f"instr({haystack}, $?) > 0" if self.sqlite else f"strpos({haystack}, $?) > 0"

    def _in(self, left: Expr, values: Sequence[Literal], positive: bool) -> Sql:
        fold = folds(left)
        sql, params = self.scalar(left, fold)
        wanted = [self._constant(value, fold) for value in values if value.value is not None]
        marks = ", ".join(mark for mark, _ in wanted)
        made: Sql = self._two_valued(f"{sql} IN ({marks})", positive), params + [x for _, each in wanted for x in each]
        if not wanted:
            made = "(1 = 0)", []
        if len(wanted) == len(values):
            return made
        return _joined(" OR ", [made, (f"({sql} IS NULL)", params)])

    def _any(self, path: Path, variable: str | None, body: Expr | None) -> Sql:
        if variable is None or body is None:
            sql, params = self.scalar(tree.Size(path), False)
            return f"({sql} > 0)", params
        source, params = self._elements(path, variable)
        sql, inside = self.condition(body)
        del self.sources[variable]
        return f"EXISTS (SELECT 1 FROM {source} AND {sql})", params + inside

    def _all(self, path: Path, variable: str, body: Expr) -> Sql:
        source, params = self._elements(path, variable)
        sql, inside = self.condition(body, False)
        del self.sources[variable]
        false = "0" if self.sqlite else "false"
        return f"NOT EXISTS (SELECT 1 FROM {source} AND NOT coalesce({sql}, {false}))", params + inside

    def _elements(self, path: Path, variable: str) -> Sql:
        """`json_each(...) j WHERE ...`: the elements of an array; nothing where there is no array."""
        body, params = self._body(path.variable)
        self.made += 1
        name = f"j{self.made}"
        self.sources[variable] = f"{name}.value"
        if self.sqlite:
            return f"json_each({body}, $?) {name} WHERE {name}.key IS NOT NULL", [*params, _json_path(path.names)]
        found = f"({body} #> $?::text[])"
        array = f"CASE WHEN jsonb_typeof({found}) = 'array' THEN {found} ELSE '[]'::jsonb END"
        names = list(path.names)
        return f"jsonb_array_elements({array}) {name}(value) WHERE true", [*params, names, *params, names]

    def _search(self, path: Path, prefix: str) -> Sql:
        sql, params = self.scalar(path, False)
        if self.sqlite:
            return f"(o_search({sql}, $?) = 1)", [*params, prefix]
        pattern = "(^|[^[:alnum:]])" + re.sub(r"([^\w\s])", r"\\\1", prefix)
        return f'coalesce(lower({sql} COLLATE "und-x-icu") ~ $?, false)', [*params, pattern]

    # ------------------------------------------------------------ scalars

    def scalar(self, expr: Expr, fold: bool) -> Sql:
        match expr:
            case Literal():
                return self._constant(expr, fold)
            case Path():
                return self._path(expr, fold)
            case tree.Size(path):
                return self._size(path)
            case tree.Call(name, args):
                return self._call(name, args, fold or folds(*args))
            case tree.Arithmetic(op, left, right):
                return self._arithmetic(op, left, right)
            case tree.Negative(operand):
                sql, params = self.scalar(operand, False)
                return f"(- {sql})", params
        return self.condition(expr, False)

    def _constant(self, literal: Literal, fold: bool) -> Sql:
        value = literal.value
        if isinstance(value, str):
            return ("$?" if self.sqlite else '($?::text COLLATE "C")'), [value.lower() if fold else value]
        if value is None:
            return "NULL", []
        if isinstance(value, bool):
            return ("1" if value else "0") if self.sqlite else str(value).lower(), []
        if isinstance(value, int) and not -(2**63) < value < 2**63:
            value = float(value)
        kind = "float8" if isinstance(value, float) else "numeric"
        return ("$?" if self.sqlite else f"$?::{kind}"), [value]

    def _path(self, path: Path, fold: bool) -> Sql:
        text = "/".join(path.names)
        if path.variable is None and text in self.table.quoted:
            column = self.table.by_path.get(text)
            sql = self.table.quoted[text]
            return (self._lower(sql) if fold and not (column is not None and column.fold) else sql), []
        sql, params = self._json(path)
        return (self._lower(sql), params) if fold else (sql, params)

    def _lower(self, sql: str) -> str:
        return f"o_lower({sql})" if self.sqlite else f'(lower({sql} COLLATE "und-x-icu") COLLATE "C")'

    def _body(self, variable: str | None) -> Sql:
        if variable is not None:
            return self.sources[variable], []
        return ("coalesce(beta, doc)" if self.sqlite else "coalesce(beta, doc)::jsonb"), []

    def _json(self, path: Path) -> Sql:
        body, params = self._body(path.variable)
        if self.sqlite:
            if not path.names:
                return body, params
            return f"json_extract({body}, $?)", [*params, _json_path(path.names)]
        sql = f"({body} #>> $?::text[])"
        params = [*params, list(path.names)]
        if path.kind == "bool":
            return f"({sql})::boolean", params
        if path.kind in _NUMERIC:
            return f"({sql})::{'numeric' if path.kind == 'int' else 'float8'}", params
        return f'({sql} COLLATE "C")', params

    def _size(self, path: Path) -> Sql:
        body, params = self._body(path.variable)
        if self.sqlite:
            return f"coalesce(json_array_length({body}, $?), 0)", [*params, _json_path(path.names)]
        found = f"({body} #> $?::text[])"
        names = list(path.names)
        sql = f"(CASE WHEN jsonb_typeof({found}) = 'array' THEN jsonb_array_length({found}) ELSE 0 END)"
        return sql, [*params, names, *params, names]

    def _arithmetic(self, op: str, left: Expr, right: Expr) -> Sql:
        (a, p), (b, q) = self.scalar(left, False), self.scalar(right, False)
        if op in ("add", "sub", "mul"):
            return f"({a} {'+-*'[('add', 'sub', 'mul').index(op)]} {b})", p + q
        if self.sqlite:
            return f"o_{op}({a}, {b})", p + q
        if op == "mod":
            return f"mod(({a})::numeric, nullif(({b})::numeric, 0))", p + q
        if op == "div" and _whole(left) and _whole(right):
            return f"trunc(({a})::numeric / nullif(({b})::numeric, 0))", p + q
        return f"(({a})::float8 / nullif(({b})::float8, 0))", p + q

    def _call(self, name: str, args: Sequence[Expr], fold: bool) -> Sql:
        if name in ("now", "mindatetime", "maxdatetime"):
            return self._constant(Literal(_instant_of(name), "instant"), False)
        parts = [self.scalar(arg, fold) for arg in args]
        sqls = [sql for sql, _ in parts]
        if name in ("startswith", "endswith"):
            return self._edge(name, sqls, parts)
        template = (_SQLITE if self.sqlite else _POSTGRES).get(name)
        if name == "substring" and len(args) == 3:
            template = _SQLITE["substring3"] if self.sqlite else _POSTGRES["substring3"]
        if template is None:
            raise InvalidQuery(f"Invalid filter clause: {name} cannot be asked of a set.")
        order = [int(number) for number in re.findall(r"\{(\d)\}", template)]
        return template.format(*sqls), [value for number in order for value in parts[number][1]]

    def _edge(self, name: str, sqls: list[str], parts: list[Sql]) -> Sql:
        a, b = sqls
        first, second = parts[0][1], parts[1][1]
        if not self.sqlite and name == "startswith":
            return f"starts_with({a}, {b})", first + second
        if name == "startswith":
            return f"(substr({a}, 1, length({b})) = {b})", first + second + second
        end = f"substr({a}, -length({b}))" if self.sqlite else f"right({a}, char_length({b}))"
        size = f"length({b})" if self.sqlite else f"char_length({b})"
        whole = f"(({size} = 0 AND {a} IS NOT NULL) OR {end} = {b})"
        return whole, second + first + first + second + second


def _digits(offset: int, size: int) -> str:
    return f"CAST(substr({{0}}, {offset}, {size}) AS INTEGER)"


def _clock(offset: int) -> str:
    """Two digits of an instant or of a time of day alike."""
    return (
        f"CASE WHEN substr({{0}}, 11, 1) = 'T' THEN CAST(substr({{0}}, {offset}, 2) AS INTEGER) "
        f"ELSE CAST(substr({{0}}, {offset - 11}, 2) AS INTEGER) END"
    )


_BOTH = {
    "year": _digits(1, 4),
    "month": _digits(6, 2),
    "day": _digits(9, 2),
    "hour": _clock(12),
    "minute": _clock(15),
    "second": _clock(18),
    "date": "substr({0}, 1, 10)",
    "time": "substr({0}, 12, 16)",
    "fractionalseconds": "CAST('0.' || substr({0}, 21, 7) AS DOUBLE PRECISION)",
    "totaloffsetminutes": "(length({0}) * 0)",
}


_SQLITE = {
    **_BOTH,
    "contains": "(instr({0}, {1}) > 0)",
    "indexof": "(instr({0}, {1}) - 1)",
    "length": "length({0})",
    "substring": "o_substring({0}, {1})",
    "substring3": "o_substring3({0}, {1}, {2})",
    "tolower": "o_lower({0})",
    "toupper": "o_upper({0})",
    "trim": f"trim({{0}}, '{SPACES}')",
    "concat": "({0} || {1})",
    "round": "o_round({0})",
    "floor": "floor({0})",
    "ceiling": "ceil({0})",
}
_POSTGRES = {
    **_BOTH,
    "contains": "(strpos({0}, {1}) > 0)",
    "indexof": "(strpos({0}, {1}) - 1)",
    "length": "char_length({0})",
    "substring": "substr({0}, greatest({1}::int, 0) + 1)",
    "substring3": "substr({0}, greatest({1}::int, 0) + 1, greatest({2}::int, 0))",
    "tolower": '(lower({0} COLLATE "und-x-icu") COLLATE "C")',
    "toupper": '(upper({0} COLLATE "und-x-icu") COLLATE "C")',
    "trim": f"btrim({{0}}, E'{SPACES.encode('unicode_escape').decode()}')",
    "concat": "({0} || {1})",
    "round": "round(({0})::numeric)",
    "floor": "floor({0})",
    "ceiling": "ceil({0})",
}


def _joined(word: str, parts: Sequence[Sql]) -> Sql:
    return f"({word.join(sql for sql, _ in parts)})", [value for _, params in parts for value in params]


def _json_path(names: Sequence[str]) -> str:
    """An SQLite JSON path; names come from the schema and are quoted all the same."""
    for name in names:
        if not _SAFE.fullmatch(name):
            raise InvalidQuery(f"'{name}' cannot be asked for.")
    return "$" + "".join(f".{json.dumps(name, ensure_ascii=False)}" for name in names)


def _whole(expr: Expr) -> bool:
    match expr:
        case Path(kind="int") | Literal(kind="int") | tree.Size():
            return True
        case tree.Call(name):
            return name in (
                "length",
                "indexof",
                "year",
                "month",
                "day",
                "hour",
                "minute",
                "second",
                "totaloffsetminutes",
            )
        case tree.Arithmetic(op, left, right):
            return op != "divby" and _whole(left) and _whole(right)
        case tree.Negative(operand):
            return _whole(operand)
    return False


def _instant_of(name: str) -> str:
    return {"mindatetime": MIN_INSTANT, "maxdatetime": MAX_INSTANT}.get(name) or instant(datetime.now(UTC))


def compile_where(filter: Expr, table: Table) -> Sql:
    """A bound filter as a condition on the table's rows (true for those that it selects)."""
    return _Compiler(table).condition(filter)


def compile_scalar(path: Path, table: Table) -> Sql:
    """A bound path as a value to sort by."""
    return _Compiler(table).scalar(path, path.fold)


# ------------------------------------------------------------ entity index


def candidates(filter: Expr | None, table: Table) -> list[Sequence[tuple[str, str]]]:
    """What the entity index knows of a filter: of each conjunct that asks for entities, the (kind, value) of which a
    document must have one. Only positive conjuncts count; the filter is checked again on what the index gives."""
    found: list[Sequence[tuple[str, str]]] = []
    for part in _conjuncts(filter):
        if isinstance(part, tree.Any) and part.body is not None and part.variable is not None:
            found += _lambda(part, (), table)
        else:
            pairs = _pairs(part, None, (), table)
            if pairs:
                found.append(pairs)
    return found


def _conjuncts(expr: Expr | None) -> Iterator[Expr]:
    if isinstance(expr, tree.And):
        for part in expr.operands:
            yield from _conjuncts(part)
    elif expr is not None:
        yield expr


def _lambda(part: tree.Any, outer: tuple[str, ...], table: Table) -> list[Sequence[tuple[str, str]]]:
    names = (*outer, *part.path.names)
    found: list[Sequence[tuple[str, str]]] = []
    for inside in _conjuncts(part.body):
        if isinstance(inside, tree.Any) and inside.body is not None and inside.path.variable == part.variable:
            found += _lambda(inside, names, table)
        else:
            pairs = _pairs(inside, part.variable, names, table)
            if pairs:
                found.append(pairs)
    return found


def _pairs(expr: Expr, variable: str | None, outer: tuple[str, ...], table: Table) -> list[tuple[str, str]]:
    """Of `x eq 'v'`, `x in (...)`, `tolower(x) eq ...` or an `or` of such, the entities; empty where there are none."""
    match expr:
        case tree.Or(operands):
            each = [_pairs(part, variable, outer, table) for part in operands]
            return [pair for pairs in each for pair in pairs] if all(each) else []
        case tree.Compare("eq", left, right):
            path, literal = (left, right) if isinstance(_bare(left), Path) else (right, left)
            return _entity(_bare(path), [_bare(literal)], variable, outer, table)
        case tree.In(left, values):
            return _entity(_bare(left), list(values), variable, outer, table)
    return []


def _bare(expr: Expr) -> Expr:
    """Without tolower and toupper: the index ignores case."""
    while isinstance(expr, tree.Call) and expr.name in ("tolower", "toupper"):
        expr = expr.args[0]
    return expr


def _entity(
    path: Expr, values: list[Expr], variable: str | None, outer: tuple[str, ...], table: Table
) -> list[tuple[str, str]]:
    if not isinstance(path, Path) or path.variable != variable:
        return []
    kind = table.collection.entities.get("/".join((*outer, *path.names)))
    texts = [value.value for value in values if isinstance(value, Literal)]
    if kind is None or len(texts) < len(values):
        return []
    # Blank texts are in no index, and some letters change when they go up and down again ("ß" to "SS").
    if not all(isinstance(text, str) and text.strip() and text.upper().lower() == text.lower() for text in texts):
        return []
    return [(kind, str(text).lower()) for text in texts]
