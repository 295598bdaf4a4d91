"""The tree as SQL, for both engines, always with parameters (`$?`; each engine puts its own mark there).

Declared paths read their column, every other path reads the JSON of the beta document (of the v1.0 one where there is
no other, or where only v1.0 has the property). The table is called `t`. A comparison is two-valued: in a positive place
SQL's null does for false, below a `not` it is made false. No value in a document makes a statement fail.

Source: meaning in `odata.tree`; SQLite JSON functions; PostgreSQL 15, chapters 9.4, 9.7.3 and 9.16.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any

from bartizan.errors import InvalidQuery
from bartizan.model.edm import edm
from bartizan.odata import tree
from bartizan.odata.functions import (
    CALLS,
    SPACES,
    WORD_EDGE,
    arithmetic,
    duration,
    part,
    shifted,
    span,
    utc_now,
    word_starts,
)
from bartizan.odata.shape import assumed, folds, kind_of, sides
from bartizan.odata.tree import Expr, Kind, Literal, Path
from bartizan.store.sql import Table

Sql = tuple[str, list[Any]]

# What an SQLite connection must be given before it runs compiled SQL: name -> (function, number of arguments).
SQLITE_FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {
    "o_lower": (CALLS["tolower"], 1),
    "o_upper": (CALLS["toupper"], 1),
    "o_endswith": (CALLS["endswith"], 2),
    "o_substring": (CALLS["substring"], 2),
    "o_substring3": (CALLS["substring"], 3),
    "o_round": (CALLS["round"], 1),
    "o_floor": (CALLS["floor"], 1),
    "o_ceiling": (CALLS["ceiling"], 1),
    "o_part": (part, 2),
    "o_arithmetic": (arithmetic, 4),
    "o_duration": (duration, 1),
    "o_shifted": (shifted, 2),
    "o_span": (span, 2),
    "o_search": (word_starts, 2),
}

_OPERATORS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">="}
_WORD_EDGES = (  # of odata.functions.word_starts, as PostgreSQL says them
    "(?<=[[:lower:]])(?=[[:upper:]])|(?<=[[:alpha:]])(?=[[:digit:]])|(?<=[[:digit:]])(?=[[:alpha:]])"
)
_SAFE = re.compile(r"[@\w.]+")
_NUMBERS: tuple[Kind | None, ...] = ("int", "real")
_COMPARE_TEXTS = ("contains", "startswith", "endswith", "indexof", "concat")
_PASSES_CASE = ("trim", "substring", "concat")


class _Compiler:
    def __init__(self, table: Table) -> None:
        self.table = table
        self.sqlite = table.dialect.name == "sqlite"
        self.sources: dict[str, str] = {}  # lambda variable -> name of what yields its element
        self.made = 0
        self.shared = ""  # SQL of the document where it was read once for several uses
        self.reads = 0  # uses of the document

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
                return f"(NOT {sql})", params
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
        sql, params = self.scalar(assumed(expr, "bool"), False)
        return f"({sql})", params

    def _two_valued(self, sql: str, positive: bool) -> str:
        return f"({sql})" if positive else f"coalesce({sql}, {'0' if self.sqlite else 'false'})"

    def _compare(self, op: str, left: Expr, right: Expr, positive: bool) -> Sql:
        left, right = sides(left, right)
        if isinstance(left, Literal) and left.value is None:
            left, right = right, left
        if isinstance(right, Literal) and right.value is None:
            if op not in ("eq", "ne"):
                return "(1 = 0)", []
            sql, params = self.scalar(left, False)
            return f"({sql} IS {'NOT ' if op == 'ne' else ''}NULL)", params
        fold = folds(left, right)
        constant = isinstance(left, Literal) or isinstance(right, Literal)
        (a, p), (b, q) = [self.scalar(side, fold) if constant else self._exact(side, fold) for side in (left, right)]
        if op == "has":
            return self._has(a, p, right, positive)
        if op == "ne":
            return f"({a} {'IS NOT' if self.sqlite else 'IS DISTINCT FROM'} {b})", p + q
        if op == "eq" and not constant:
            return f"({a} {'IS' if self.sqlite else 'IS NOT DISTINCT FROM'} {b})", p + q
        return self._two_valued(f"{a} {_OPERATORS.get(op, '=')} {b}", positive), p + q

    def _has(self, a: str, p: list[Any], members: Expr, positive: bool) -> Sql:
        """Members are a comma list: each one that is asked for stands in it."""
        assert isinstance(members, Literal)
        find = "instr" if self.sqlite else "strpos"
        wanted = [f",{each.strip()}," for each in str(members.value).split(",")]
        sql, params = _joined(" AND ", [(f"{find}(',' || {a} || ',', $?) > 0", [*p, each]) for each in wanted])
        return self._two_valued(sql, positive), params

    def _in(self, left: Expr, values: Sequence[Literal], positive: bool) -> Sql:
        for value in values:
            left = assumed(left, value.kind)
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
        source, sql, params = self._over(path, variable, body)
        return f"EXISTS (SELECT 1 FROM {source} AND {sql})", params

    def _all(self, path: Path, variable: str, body: Expr) -> Sql:
        source, sql, params = self._over(path, variable, body)
        false = "0" if self.sqlite else "false"
        return f"(NOT EXISTS (SELECT 1 FROM {source} AND NOT coalesce({sql}, {false})))", params

    def _over(self, path: Path, variable: str, body: Expr) -> tuple[str, str, list[Any]]:
        """`json_each(...) j1 WHERE ...`, the elements of an array, none where there is no array; and the body."""
        found = self._found(path)
        self.made += 1
        name = f"j{self.made}"
        if self.sqlite:
            source = f"json_each({found}) {name} WHERE typeof({name}.key) = 'integer'"
        else:
            array = f"CASE jsonb_typeof({found}) WHEN 'array' THEN {found} END"
            source = f"jsonb_array_elements({array}) {name}(value) WHERE true"
        before = self.sources.get(variable)
        self.sources[variable] = name
        sql, params = self.condition(body)
        if before is None:
            del self.sources[variable]
        else:
            self.sources[variable] = before
        return source, sql, params

    def _search(self, path: Path, prefix: str) -> Sql:
        sql, params = self.scalar(assumed(path, "text"), False)
        if self.sqlite:
            return f"(o_search({sql}, $?) = 1)", [*params, prefix]
        if WORD_EDGE in prefix:
            return "false", []
        letters = (re.sub(r"([^\w\s])", r"\\\1", char) for char in prefix)
        pattern = "(^|[^[:alnum:]])" + f"{WORD_EDGE}?".join(letters)
        marked = f"regexp_replace(({sql}) COLLATE \"und-x-icu\", '{_WORD_EDGES}', $?::text, 'g')"
        return f"coalesce(lower({marked}) ~ $?::text, false)", [*params, WORD_EDGE, pattern]

    # ------------------------------------------------------------ values in documents

    def _body(self, path: Path) -> str:
        """The JSON in which a path's names are looked up."""
        if path.variable is not None:
            name = self.sources[path.variable]
            return f"CASE {name}.type WHEN 'object' THEN {name}.value END" if self.sqlite else f"{name}.value"
        if path.names and path.names[0] in only_v1(self.table.collection.type):
            return "t.doc" if self.sqlite else "t.doc::jsonb"
        joined = self.table.collection.joined
        if joined is not None and path.names and path.names[0] == joined.property:
            text = self.table.filled("coalesce(t.beta, t.doc)")
            return text if self.sqlite else f"({text})::jsonb"
        self.reads += 1
        return self.shared or ("coalesce(t.beta, t.doc)" if self.sqlite else "coalesce(t.beta, t.doc)::jsonb")

    def _found(self, path: Path) -> str:
        """SQLite: the arguments of a JSON function; PostgreSQL: a jsonb value."""
        for name in path.names:
            if not _SAFE.fullmatch(name):
                raise InvalidQuery(f"Invalid filter clause: '{name[:60]}' cannot be asked for.")
        if self.sqlite:
            return f"{self._body(path)}, '${''.join(f'.{chr(34)}{name}{chr(34)}' for name in path.names)}'"
        if not path.names:
            return self._body(path)
        return f"({self._body(path)} #> '{{{','.join(f'{chr(34)}{name}{chr(34)}' for name in path.names)}}}'::text[])"

    def _json(self, path: Path) -> str:
        """The value where it is of the path's kind, null otherwise."""
        found = self._found(path)
        if not self.sqlite:
            text = f"({found} #>> '{{}}'::text[])"
            if path.kind is None:
                return text
            if path.kind in _NUMBERS:
                return f"(CASE jsonb_typeof({found}) WHEN 'number' THEN {text}::numeric END)"
            if path.kind == "bool":
                return f"(CASE jsonb_typeof({found}) WHEN 'boolean' THEN {text}::boolean END)"
            return f"(CASE jsonb_typeof({found}) WHEN 'string' THEN {text} END COLLATE \"C\")"
        name = "" if path.names or path.variable is None else self.sources[path.variable]
        kind, value = (f"{name}.type", f"{name}.value") if name else (f"json_type({found})", f"json_extract({found})")
        if path.kind is None:
            return value
        if path.kind in _NUMBERS:
            return f"(CASE WHEN {kind} IN ('integer', 'real') THEN {value} END)"
        if path.kind == "bool":
            return f"(CASE {kind} WHEN 'true' THEN 1 WHEN 'false' THEN 0 END)"
        return f"(CASE {kind} WHEN 'text' THEN {value} END)"

    def _path(self, path: Path, fold: bool) -> str:
        text = "/".join(path.names)
        column = self.table.by_path.get(text)
        stored = path.variable is None and text in self.table.quoted and (column is None or fold or not column.fold)
        sql = _qualified(self.table.quoted[text]) if stored else self._json(path)
        if path.kind == "duration":
            return f"o_duration({sql})" if self.sqlite else _PG_DURATION.format(sql)
        if not fold or (stored and column is not None and column.fold) or kind_of(path) not in _TEXTS:
            return sql
        return self._lower(sql)

    def _lower(self, sql: str) -> str:
        return f"o_lower({sql})" if self.sqlite else f'(lower({sql} COLLATE "und-x-icu") COLLATE "C")'

    # ------------------------------------------------------------ scalars

    def scalar(self, expr: Expr, fold: bool) -> Sql:
        """`fold`: texts in lower case, since what they are compared with ignores case."""
        match expr:
            case Literal():
                return self._constant(expr, fold)
            case Path():
                return self._path(expr, fold or expr.fold), []
            case tree.Size(path):
                found = self._found(path)
                if self.sqlite:
                    return f"coalesce(json_array_length({found}), 0)", []
                return f"(CASE jsonb_typeof({found}) WHEN 'array' THEN jsonb_array_length({found}) ELSE 0 END)", []
            case tree.Call(name, args):
                return self._call(name, args, fold)
            case tree.Arithmetic(op, left, right):
                return self._arithmetic(op, left, right)
            case tree.Negative(operand):
                sql, params = self.scalar(operand, False)
                return f"(- {sql})", params
        return self.condition(expr, False)

    def _exact(self, expr: Expr, fold: bool = False) -> Sql:
        """Doubles as the decimal numbers that they are written as, so that PostgreSQL compares all numbers alike."""
        sql, params = self.scalar(expr, fold)
        if self.sqlite or kind_of(expr) not in _NUMBERS:
            return sql, params
        return f"({sql})::text::numeric", params

    def _constant(self, literal: Literal, fold: bool) -> Sql:
        value = literal.value
        if isinstance(value, str):
            return ("$?" if self.sqlite else '($?::text COLLATE "C")'), [value.lower() if fold else value]
        if value is None:
            return "NULL", []
        if isinstance(value, bool):
            return ("1" if value else "0") if self.sqlite else str(value).lower(), []
        if self.sqlite:
            return "$?", [value if -(2**63) <= value < 2**63 else float(value)]
        return "$?::numeric", [Decimal(repr(value))]

    def _arithmetic(self, op: tree.ArithmeticOp, left: Expr, right: Expr) -> Sql:
        (a, p), (b, q) = self.scalar(left, False), self.scalar(right, False)
        kinds = kind_of(left), kind_of(right)
        if "instant" in kinds:
            return self._instants(op, kinds, (a, p), (b, q))
        if kinds[0] == "duration":
            return f"({a} {'-' if op == 'sub' else '+'} {b})", p + q
        whole = kinds == ("int", "int")
        if self.sqlite:
            return f"o_arithmetic('{op}', {int(whole)}, {a}, {b})", p + q
        made = _PG_ARITHMETIC["whole" if op == "div" and whole else op]
        zero = " AND m <> 0" if op in ("div", "divby", "mod") else ""
        bearable = " AND ".join(f"({x} = 0 OR abs({x}) BETWEEN 1e-150 AND 1e150)" for x in "nm")
        given = f"(SELECT {a} AS n, {b} AS m OFFSET 0) s"
        return f"(SELECT CASE WHEN {bearable}{zero} THEN {made} END FROM {given})", p + q

    def _instants(self, op: str, kinds: tuple[Kind | None, Kind | None], left: Sql, right: Sql) -> Sql:
        (a, p), (b, q) = left, right
        if kinds == ("instant", "instant"):
            return f"o_span({a}, {b})" if self.sqlite else f"({_pg_ticks(a)} - {_pg_ticks(b)})", p + q
        if kinds[1] == "instant":  # a duration plus an instant: their sum, whichever stands first
            (a, p), (b, q) = right, left
        by = f"(- {b})" if op == "sub" else b
        if self.sqlite:
            return f"o_shifted({a}, {by})", p + q
        return _PG_INSTANT.format(f"{_pg_ticks(a)} + {by}"), p + q

    def _call(self, name: str, args: Sequence[Expr], fold: bool) -> Sql:
        if name == "now":
            return self._constant(Literal(utc_now(), "instant"), False)
        within = (fold and name in _PASSES_CASE) or (name in _COMPARE_TEXTS and folds(*args))
        within = within or (name in _PASSES_CASE and folds(*args))
        numbers = name in ("round", "floor", "ceiling", "substring")
        parts = [self._exact(arg, within) if numbers else self.scalar(arg, within) for arg in args]
        made = self._sqlite_call(name, parts) if self.sqlite else self._postgres_call(name, parts, args)
        return (self._lower(made[0]), made[1]) if fold and name in ("tolower", "toupper") else made

    def _sqlite_call(self, name: str, parts: Sequence[Sql]) -> Sql:
        template = _SQLITE.get(name)
        if template is None:
            template = f"o_part('{name}', {{0}})"
        elif name == "substring" and len(parts) == 3:
            template = "o_substring3({0}, {1}, {2})"
        return _filled(template, parts)

    def _postgres_call(self, name: str, parts: Sequence[Sql], args: Sequence[Expr]) -> Sql:
        if name == "substring" and len(parts) == 3:
            return _filled(_POSTGRES["substring3"], parts)
        template = _POSTGRES.get(name)
        if template is not None:
            return _filled(template, parts)
        kind = kind_of(args[0])
        form = _PG_FORMS["instant" if kind not in _PG_FORMS else str(kind)]
        piece = _PG_PARTS[name].format(0 if kind != "time" else -11)
        return _filled(f"(CASE WHEN {{0}} ~ '{form}' THEN {piece} END)", parts)


_TEXTS = ("text", "guid", "enum", None)

_PG_ARITHMETIC = {
    "add": "n::float8 + m::float8",
    "sub": "n::float8 - m::float8",
    "mul": "n::float8 * m::float8",
    "div": "n::float8 / m::float8",
    "divby": "n::float8 / m::float8",
    "whole": "trunc(n::float8 / m::float8)",
    "mod": "mod(n::float8::text::numeric, m::float8::text::numeric)::float8",
}
_DAY, _TIME = "[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}", "[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}\\.[0-9]{{7}}"
_PG_FORMS = {"instant": f"^{_DAY}T{_TIME}Z$", "date": f"^{_DAY}$", "time": f"^{_TIME}$"}
# {0} is replaced twice: by what a time of day lacks before it, then by the text itself.
_PG_PARTS = {
    "year": "substr({{0}}, 1, 4)::int",
    "month": "substr({{0}}, 6, 2)::int",
    "day": "substr({{0}}, 9, 2)::int",
    "hour": "substr({{0}}, 12 + {0}, 2)::int",
    "minute": "substr({{0}}, 15 + {0}, 2)::int",
    "second": "substr({{0}}, 18 + {0}, 2)::int",
    "fractionalseconds": "('0.' || substr({{0}}, 21 + {0}, 7))::numeric",
    "date": "substr({{0}}, 1, 10)",
    "time": "substr({{0}}, 12, 16)",
    "totaloffsetminutes": "0",
}
_PG_DURATION = (
    "(SELECT CASE m[1] WHEN '-' THEN -1 ELSE 1 END * ((((coalesce(m[2], '0')::numeric * 24 + "
    "coalesce(m[3], '0')::numeric) * 60 + coalesce(m[4], '0')::numeric) * 60 + coalesce(m[5], '0')::numeric) "
    "* 10000000 + rpad(left(coalesce(m[6], ''), 7), 7, '0')::numeric) FROM regexp_match({0}, "
    "'^(-?)P(?=.)(?:([0-9]{{1,9}})D)?(?:T(?=.)(?:([0-9]{{1,9}})H)?(?:([0-9]{{1,9}})M)?"
    "(?:([0-9]{{1,9}})(?:\\.([0-9]{{1,12}}))?S)?)?$') m WHERE m IS NOT NULL)"
)
_PG_INSTANT = (
    "(SELECT CASE WHEN n BETWEEN -621355968000000000 AND 2534023007999999999 THEN "
    "to_char(to_timestamp(floor(n / 10000000)::float8) AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS') || '.' || "
    "lpad((n - floor(n / 10000000) * 10000000)::bigint::text, 7, '0') || 'Z' END FROM (SELECT {0} AS n OFFSET 0) s)"
)


# A real date and time of the years 1 to 9999: anything else would make the cast fail.
_PG_REAL = (
    "^(?!0000)([0-9]{4}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|"
    "02-(0[1-9]|1[0-9]|2[0-8]))|([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)"
    "T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\\.[0-9]{7}Z$"
)


def _pg_ticks(sql: str) -> str:
    """Of an instant, 100 ns steps since 1970; null where it is none. `sql` stands in it once."""
    return (
        f"(SELECT CASE WHEN x ~ '{_PG_REAL}' THEN extract(epoch FROM (substr(x, 1, 19) || 'Z')::timestamptz)::bigint "
        f"::numeric * 10000000 + substr(x, 21, 7)::numeric END FROM (SELECT {sql} AS x OFFSET 0) u)"
    )


_SQLITE = {
    "contains": "(instr({0}, {1}) > 0)",
    "startswith": "(substr({0}, 1, length({1})) = {1})",
    "endswith": "o_endswith({0}, {1})",
    "indexof": "(instr({0}, {1}) - 1)",
    "length": "length({0})",
    "substring": "o_substring({0}, {1})",
    "tolower": "o_lower({0})",
    "toupper": "o_upper({0})",
    "trim": f"trim({{0}}, '{SPACES}')",
    "concat": "({0} || {1})",
    "round": "o_round({0})",
    "floor": "o_floor({0})",
    "ceiling": "o_ceiling({0})",
}
_CLAMP = "CASE WHEN {1} IS NOT NULL THEN least(greatest({1}, 0), 1000000000)::int END"
_POSTGRES = {
    "contains": "(strpos({0}, {1}) > 0)",
    "startswith": "starts_with({0}, {1})",
    "endswith": "(right({0}, char_length({1})) = {1})",
    "indexof": "(strpos({0}, {1}) - 1)",
    "length": "char_length({0})",
    "substring": f"substr({{0}}, {_CLAMP} + 1)",
    "substring3": f"substr({{0}}, {_CLAMP} + 1, {_CLAMP.replace('{1}', '{2}')})",
    "tolower": '(lower({0} COLLATE "und-x-icu") COLLATE "C")',
    "toupper": '(upper({0} COLLATE "und-x-icu") COLLATE "C")',
    "trim": f"btrim({{0}}, E'{SPACES.encode('unicode_escape').decode()}')",
    "concat": "({0} || {1})",
    "round": "round({0})",
    "floor": "floor({0})",
    "ceiling": "ceil({0})",
}


def _filled(template: str, parts: Sequence[Sql]) -> Sql:
    """A template's places filled, parameters in the order in which they then stand."""
    order = [int(number) for number in re.findall(r"(?<!\{)\{(\d)\}(?!\})", template)]
    sql = template.format(*(sql for sql, _ in parts))
    return sql, [value for number in order for value in parts[number][1]]


def _qualified(column: str) -> str:
    """The elements of a lambda have columns of their own, `id` among them."""
    return column if column.startswith("t.") else f"t.{column}"


def _joined(word: str, parts: Sequence[Sql]) -> Sql:
    return f"({word.join(sql for sql, _ in parts)})", [value for _, params in parts for value in params]


@lru_cache(256)
def only_v1(type_name: str | None) -> frozenset[str]:
    """Properties that the beta document of a type does not hold."""
    if type_name is None:
        return frozenset()
    try:
        first, second = edm("v1.0").structured(type_name), edm("beta").structured(type_name)
    except KeyError:  # one version alone has the type: there is only one document
        return frozenset()
    return frozenset(first.properties) - frozenset(second.properties)


def compile_where(filter: Expr, table: Table) -> Sql:
    """A bound filter as a condition on the rows of the table `t` (true for those that it selects).

    PostgreSQL reads a document once for all conditions on it, after those on columns.
    """
    compiler = _Compiler(table)
    if compiler.sqlite:
        return compiler.condition(filter)
    plain: list[Sql] = []
    within: list[Sql] = []
    compiler.shared = "b.doc"
    for each in filter.operands if isinstance(filter, tree.And) else (filter,):
        compiler.reads = 0
        made = compiler.condition(each)
        (within if compiler.reads else plain).append(made)
    if within:
        sql, params = _joined(" AND ", within)
        document = "(SELECT coalesce(t.beta, t.doc)::jsonb AS doc OFFSET 0) b"
        plain.append((f"EXISTS (SELECT 1 FROM {document} WHERE {sql})", params))
    return _joined(" AND ", plain)


def compile_scalar(path: Path, table: Table) -> Sql:
    """A bound path as a value to sort by."""
    compiler = _Compiler(table)
    sql = compiler._path(path, path.fold)
    if compiler.sqlite or path.kind not in _NUMBERS:
        return sql, []
    most, kind = ("9223372036854775807", "bigint") if path.kind == "int" else ("1.7e308", "float8")
    return f"(CASE WHEN abs({sql}) <= {most} THEN ({sql})::{kind} END)", []


# ------------------------------------------------------------ entity index


def candidates(filter: Expr | None, table: Table) -> list[Sequence[tuple[str, str]]]:
    """What the entity index knows of a filter: for each of its conditions that asks for entities, the (kind, value) of
    which a document must have one. Only positive ones count; the filter is checked again on what the index gives."""
    return [] if filter is None else _needed(filter, {}, table)


def _needed(expr: Expr, scopes: Mapping[str, tuple[str, ...]], table: Table) -> list[Sequence[tuple[str, str]]]:
    """`scopes`: variable -> path of its collection."""
    match expr:
        case tree.And(operands):
            return [pairs for part in operands for pairs in _needed(part, scopes, table)]
        case tree.Or(operands):
            each = [min(_needed(part, scopes, table), key=len, default=()) for part in operands]
            return [list(dict.fromkeys(pair for pairs in each for pair in pairs))] if all(each) else []
        case tree.Any(path, str() as variable, body) if body is not None:
            return _needed(body, {**scopes, variable: _whole_path(path, scopes)}, table)
        case tree.Compare("eq", left, right):
            one, other = (right, left) if isinstance(left, Literal) else (left, right)
            return _entities(one, [other], scopes, table)
        case tree.In(left, values):
            return _entities(left, values, scopes, table)
    return []


def _whole_path(path: Path, scopes: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return path.names if path.variable is None else (*scopes[path.variable], *path.names)


def _entities(
    expr: Expr, values: Sequence[Expr], scopes: Mapping[str, tuple[str, ...]], table: Table
) -> list[Sequence[tuple[str, str]]]:
    """Of `x eq 'v'`, `x in ('v', ...)` or `tolower(x) eq 'v'`; empty where `x` is in no index."""
    path = expr.args[0] if isinstance(expr, tree.Call) and expr.name == "tolower" else expr
    if not isinstance(path, Path):
        return []
    kind = table.collection.entities.get("/".join(_whole_path(path, scopes)))
    texts = [value.value for value in values if isinstance(value, Literal)]
    if kind is None or len(texts) < len(values) or not texts:
        return []
    pairs: list[tuple[str, str]] = []
    for text in texts:
        if not isinstance(text, str) or not text.strip():  # blank texts are in no index
            return []
        pairs.append((kind, text.lower()))
    return [pairs]
