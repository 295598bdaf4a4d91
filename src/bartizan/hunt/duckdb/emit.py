"""The SQL of a plan for DuckDB: one method a node, one an expression.

`emit(plan, storage)` gives a SELECT whose columns are named c1, c2 ... by their ids, in the plan's order, so that names
which differ only in case are no trouble; whoever shows them names them again. The values are as `values.shown` makes
them, for `values.rows_as_json`.

Source: DuckDB manual, "SQL introduction"; Kusto Query Language, the page of each operator.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from re import IGNORECASE
from re import compile as pattern
from typing import Any, Protocol

from msgspec.structs import replace

from bartizan.hunt import plan as p
from bartizan.hunt.deadline import Deadline
from bartizan.hunt.duckdb import expand, joins, literal, scans, windows
from bartizan.hunt.duckdb.literal import atomic
from bartizan.hunt.duckdb.macros import writes_lambda
from bartizan.hunt.duckdb.select import OrderKey, Select, name, plain, subquery
from bartizan.hunt.duckdb.values import shown
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import CONVERT, Say, choose, of_key
from bartizan.hunt.functions.aggregates import Arguments, rank
from bartizan.hunt.plan import Expression, Id, Plan
from bartizan.hunt.tree import Scalar

ENGINE = "duckdb"
_BRACKET = pattern(r"[()]")
_LIKE_AN_ID = pattern(r'"?[a-z]\d+(?:_\d+)?"?', IGNORECASE)
MOST_TEXT = 4_000_000  # characters of a statement
HELD = 10**9  # from here on: ids of columns that no plan has
MOST_WRITTEN = 4 * MOST_TEXT  # of all expressions in it, those within others counted in each


class Storage(Protocol):
    """Where the stored tables are."""

    def source(self, table: str) -> str:
        """What stands after FROM."""
        ...

    def column(self, table: str, name: str) -> str:
        """The SQL of a column of that source, of the type that stands for its Kusto type; strings are not null."""
        ...


def emit(plan: Plan, storage: Storage, deadline: Deadline | None = None) -> str:
    """One statement. KqlError: the plan asks for what DuckDB is not told to do, or the time is over."""
    try:
        return Emitter(storage, deadline or Deadline()).statement(plan)
    except RecursionError:
        raise KqlError("plan", "the query has too many steps, or goes too deep") from None


class Emitter:
    def __init__(self, storage: Storage, deadline: Deadline) -> None:
        self.storage = storage
        self._deadline = deadline
        self._left = MOST_WRITTEN
        self._names_of_shared: dict[str, tuple[str, list[OrderKey]]] = {}  # of a shared plan -> of its table, order
        self._with: list[str] = []
        self._uses: Counter[str] = Counter()
        self._stored = True
        self._count = 0
        self.wide: dict[str, str] = {}  # sources that are unions of many columns -> their names

    def statement(self, plan: Plan) -> str:
        self._uses, self._stored = survey(plan)
        body = self.plan(plan)
        body = self.restricted(body, plan.columns)
        # Its order must not be that of the texts which are shown under the same names.
        body = subquery(body, self.number()) if body.order else self.nested(body)
        texts = {each.id: shown(body.columns[each.id], each.type) for each in plan.columns}
        text = Select(body.source, texts, body.where, body.order).text(ordered=True)
        made = f"WITH RECURSIVE {', '.join(self._with)} {text}" if self._with else text
        return self._bounded(made)

    # -------------------------------------------------------------- tools of all nodes

    def _bounded(self, sql: str) -> str:
        """A part of the statement, or all of it. KqlError: it is too long, or the time is over."""
        self._deadline.check()
        if len(sql) > MOST_TEXT or self._left < 0:
            raise KqlError("plan", f"the query becomes too much SQL: at most {MOST_TEXT:,} characters are taken")
        return sql

    def _written(self, sql: str) -> str:
        """An expression, which may become a part of others."""
        self._left -= len(sql)
        return self._bounded(sql)

    def add_table(self, definition: str) -> None:
        """A common table expression, which may name those before it and itself."""
        self._with.append(definition)

    def number(self) -> int:
        self._count += 1
        return self._count

    def restricted(self, select: Select, columns: Sequence[p.Out]) -> Select:
        """Just these columns, in this order."""
        chosen = {each.id: select.columns[each.id] for each in columns}
        return Select(select.source, chosen, select.where, select.order, select.limit)

    def nested(self, select: Select) -> Select:
        """The same as a subquery, so that every column is a name."""
        if not select.limit and not select.where and all(sql == name(id_) for id_, sql in select.columns.items()):
            return select
        return subquery(select, self.number())

    def ready(self, select: Select, expressions: Sequence[Expression]) -> Select:
        """A select whose columns these expressions may read in place of their names."""
        uses: Counter[Id] = Counter()
        for each in expressions:
            count_refs(each, uses)
        return select if select.may_inline(uses) else self.nested(select)

    def table(self, plan: Plan) -> str:
        """A plan as what stands after FROM, its columns by their names."""
        made = self.restricted(self.plan(plan), plan.columns)
        return f"({made.text()}) AS s{self.number()}"

    # -------------------------------------------------------------- nodes

    def plan(self, plan: Plan) -> Select:
        method: Callable[[Any], Select] | None = getattr(self, f"_{type(plan).__name__.lower()}", None)
        if method is None:
            raise KqlError("plan", f"{type(plan).__name__.lower()} is not supported")
        made = method(plan)
        self._bounded(made.source)
        return made

    def _rows(self, node: p.Rows) -> Select:
        none: dict[Id, str] = {}
        if len(node.rows) == 1:
            made = {out.id: self.expr(each, none) for out, each in zip(node.columns, node.rows[0], strict=True)}
            return Select("", made)
        names = {each.id: name(each.id) for each in node.columns}
        if not node.rows or not node.columns:
            typed = {each.id: f"NULL::{literal.NATIVE[each.type]}" for each in node.columns}
            rows = f"(SELECT {', '.join(f'{sql} AS {name(id_)}' for id_, sql in typed.items()) or '1'}"
            return Select(f"{rows} FROM range({len(node.rows)})) AS s{self.number()}", names)
        rows = ", ".join(f"({', '.join(self.expr(each, none) for each in row)})" for row in node.rows)
        return Select(f"(VALUES {rows}) AS s{self.number()}({', '.join(names.values())})", names)

    def _table(self, node: p.Table) -> Select:
        columns = {
            out.id: self.storage.column(node.table, stored)
            for out, stored in zip(node.columns, node.names, strict=True)
        }
        made = Select(self.storage.source(node.table), columns)
        # An ORDER BY would take a stored column called c5 for the one that is made here.
        alike = any(_LIKE_AN_ID.fullmatch(each) for each in columns.values())
        return subquery(made, self.number()) if alike else made

    def _numbers(self, node: p.Numbers) -> Select:
        return expand.numbers(self, node)

    def _filter(self, node: p.Filter) -> Select:
        moved = joins.before(node)
        if moved is not node:
            return self.plan(moved)
        inner = self.plan(node.input)
        used: Counter[Id] = Counter()
        count_refs(node.condition, used)
        if not inner.all_plain(used):
            inner = self.nested(inner)
        where = [*inner.where, self.true(node.condition, inner.columns)]
        return Select(inner.source, inner.columns, where, inner.order)

    def _project(self, node: p.Project) -> Select:
        inner = self.plan(node.input)
        inner = self.ready(inner, [each.expression for each in node.made])
        calls = [several_of(each.expression) for each in node.made]
        inner, held = self._apart(inner, [each for each in calls if each is not None])
        made = {each.id: self.expr(taken_from(each.expression, held), inner.columns) for each in node.made}
        return Select(inner.source, made, inner.where, inner.order)

    def _apart(self, inner: Select, calls: Sequence[p.Apply]) -> tuple[Select, dict[int, p.Ref]]:
        """Functions of several results of which more than one is read, each as a column of its own, so that it is
        worked out once; the columns by the identity of the call."""
        uses = Counter(id(each) for each in calls)
        often = {id(each): each for each in calls if uses[id(each)] > 1}
        if not often:
            return inner, {}
        held = {key: p.Ref(each.type, HELD + self.number()) for key, each in often.items()}
        columns = {**inner.columns, **{held[key].id: self.expr(each, inner.columns) for key, each in often.items()}}
        return self.nested(Select(inner.source, columns, inner.where, inner.order)), held

    def _summarize(self, node: p.Summarize) -> Select:
        inner = self.plan(node.input)
        needed = [each.expression for each in node.keys]
        for one in node.aggregates:
            needed += [*one.args, *([] if one.where is None else [one.where])]
        place = ""
        if node.keys and not self._stored:  # of rows that stand in the query: groups in the order in which they begin
            inner, place = windows.numbered(self, inner)
        inner = self.ready(inner, needed)
        keys = {each.id: self.expr(each.expression, inner.columns) for each in node.keys}
        made = {**keys, **{each.id: self.aggregate(each, inner) for each in node.aggregates}}
        began = {f"o{self.number()}": f"min({place})"} if place else {}
        grouped = self.grouped(Select(inner.source, made, inner.where), len(keys), began)
        names = {id_: name(id_) for id_ in made}
        return Select(f"({grouped}) AS s{self.number()}", names, order=[OrderKey(each) for each in began])

    def grouped(self, select: Select, keys: int, hidden: Mapping[str, str]) -> str:
        """The statement, grouped by its first columns."""
        text = select.text(hidden)
        if not keys:
            return text
        return f"{text} GROUP BY {', '.join(str(index + 1) for index in range(keys))}"

    def aggregate(self, one: p.Aggregate, inner: Select) -> str:
        args = [self.expr(each, inner.columns) for each in one.args]
        where = "" if one.where is None else self.true(one.where, inner.columns)
        say = _say(one.function)
        if isinstance(say, str):
            raise TypeError(f"the aggregate {one.function} must be a function for {ENGINE}")
        return say(Arguments(args, where, inner.order_text()), one)

    def _best(self, node: p.Best) -> Select:
        inner = self.plan(node.input)
        carried = [node.value, *node.keep]
        inner = self.ready(inner, [node.by, *(each.expression for each in (*node.keys, *carried))])
        keys = {each.id: self.expr(each.expression, inner.columns) for each in node.keys}
        by = self.expr(node.by, inner.columns)
        compared, never_null = rank(by, node.by.type, least=node.least)
        row = ", ".join(f"{name(each.id)} := {self.expr(each.expression, inner.columns)}" for each in carried)
        function = "arg_min" if node.least else "arg_max"
        best = f"{function}(struct_pack({row}), {compared})"
        if not never_null:
            best = f"coalesce({best}, first(struct_pack({row})))"
        given = [f"{sql} AS {name(id_)}" for id_, sql in keys.items()]
        where = f" WHERE {' AND '.join(inner.where)}" if inner.where else ""
        groups = f" GROUP BY {', '.join(str(index + 1) for index in range(len(keys)))}" if keys else ""
        text = f"SELECT {', '.join([*given, f'{best} AS best'])} FROM {inner.source or '(SELECT 1)'}{where}{groups}"
        number = self.number()
        columns = {each.id: name(each.id) for each in node.keys}
        for each in carried:
            field = f"s{number}.best.{name(each.id)}"
            columns[each.id] = f"coalesce({field}, '')" if each.type == "string" and not keys else field
        return self.nested(Select(f"({text}) AS s{number}", columns))

    def _sort(self, node: p.Sort) -> Select:
        inner = self.plan(node.input)
        if inner.source not in self.wide or inner.limit:
            inner = self.ready(inner, [each.expression for each in node.keys])
        order = []
        for key in node.keys:
            sql = self.expr(key.expression, inner.columns)
            if isinstance(key.expression, p.Value) or (sql.startswith("'") and atomic(sql)):
                continue  # what is the same in all rows orders none; DuckDB refuses it
            order += self.order_keys(key, sql)
        return Select(inner.source, inner.columns, inner.where, order)

    def order_keys(self, key: p.SortKey, sql: str) -> list[OrderKey]:
        """NaN stands between the nulls and the numbers, on whichever side the nulls are."""
        main = OrderKey(sql, key.descending, key.nulls_first)
        if key.expression.type == "dynamic":
            return [OrderKey(f"{sql}::VARCHAR", key.descending, key.nulls_first)]
        if key.expression.type != "real" or key.descending == key.nulls_first:
            return [main]
        places = (0, 1, 2) if key.nulls_first else (2, 1, 0)
        place = f"CASE WHEN {sql} IS NULL THEN {places[0]} WHEN isnan({sql}) THEN 1 ELSE {places[2]} END"
        return [OrderKey(place), main]

    def _limit(self, node: p.Limit) -> Select:
        inner = self.plan(node.input)
        if inner.limit:
            inner = self.nested(inner)
        count = self.expr(node.count, {})
        if not isinstance(node.count, p.Value):
            count = f"({count})"
        first = None if node.random else joins.limited(self, inner, count)
        if first is not None:
            return first
        order = [OrderKey("random()")] if node.random else inner.order
        limited = Select(inner.source, inner.columns, inner.where, order, count)
        if not node.random:
            return limited
        limited = self.nested(limited)
        limited.order = []
        return limited

    def _join(self, node: p.Join) -> Select:
        return joins.join(self, node)

    def _union(self, node: p.Union) -> Select:
        return joins.union(self, node)

    def _expand(self, node: p.Expand) -> Select:
        return expand.expand(self, node)

    def _number(self, node: p.Number) -> Select:
        return windows.windows(self, node)

    def _scan(self, node: p.Scan) -> Select:
        return scans.scan(self, node)

    def _shared(self, node: p.Shared) -> Select:
        inner = node.plan.columns
        if self._uses[node.name] == 1:
            made = self.plan(node.plan)
            columns = {out.id: made.columns[old.id] for out, old in zip(node.columns, inner, strict=True)}
            return Select(made.source, columns, made.where, made.order, made.limit)
        if node.name not in self._names_of_shared:
            made = self.restricted(self.plan(node.plan), inner)
            keys = {f"o{index}": key.sql for index, key in enumerate(made.order)}
            order = [
                OrderKey(each, key.descending, key.nulls_first) for each, key in zip(keys, made.order, strict=True)
            ]
            self._names_of_shared[node.name] = (f"w{len(self._names_of_shared) + 1}", order)
            how = "AS MATERIALIZED" if node.once else "AS"
            self._with.append(f"{self._names_of_shared[node.name][0]} {how} ({made.text(keys)})")
        table, order = self._names_of_shared[node.name]
        alias = f"s{self.number()}"
        columns = {out.id: f"{alias}.{name(old.id)}" for out, old in zip(node.columns, inner, strict=True)}
        kept = [OrderKey(f"{alias}.{key.sql}", key.descending, key.nulls_first) for key in order]
        return Select(f"{table} AS {alias}", columns, order=kept)

    # -------------------------------------------------------------- expressions

    def expr(self, one: Expression, columns: Mapping[Id, str]) -> str:
        """The exact value, as a text that may be an operand."""
        match one:
            case p.Value():
                return self._written(literal.value(one))
            case p.Ref():
                return columns[one.id]
            case p.Apply():
                return operand(self._written(called(_say(one.function), self._args(one, columns), one)))
            case p.Path():
                return self._path(one, columns)
            case p.Lookup():
                return f"coalesce({self._lookup(one, columns)}, FALSE)"
            case p.Single():
                return self._single(one)
        raise KqlError("plan", f"{type(one).__name__.lower()} is not supported")

    def true(self, one: Expression, columns: Mapping[Id, str]) -> str:
        """A condition that holds where the expression is true; elsewhere it is false or null."""
        if isinstance(one, p.Lookup):
            return self._lookup(one, columns)
        if not isinstance(one, p.Apply):
            return self.expr(one, columns)
        declared = of_key(one.function)
        if declared.name in ("and", "or"):
            return f"({f' {declared.name.upper()} '.join(self.true(each, columns) for each in one.args)})"
        say = declared.say.get(f"{ENGINE}_true") or _say(one.function)
        return operand(self._written(called(say, self._args(one, columns), one)))

    def _args(self, one: p.Apply, columns: Mapping[Id, str]) -> list[str]:
        return [self.expr(each, columns) for each in one.args]

    def _lookup(self, one: p.Lookup, columns: Mapping[Id, str]) -> str:
        inner = self.plan(one.plan)
        first = one.plan.columns[0]
        of = self.expr(one.of, columns)
        sql = inner.columns[first.id]
        if one.fold:
            of, sql = f"lower({of})", f"lower({sql})"
        listed = Select(inner.source, {first.id: sql}, inner.where, inner.order, inner.limit)
        return f"({of} IN ({listed.text()}))"

    def _single(self, one: p.Single) -> str:
        inner = self.plan(one.plan)
        first = one.plan.columns[0]
        single = Select(inner.source, {first.id: inner.columns[first.id]}, inner.where, inner.order, inner.limit)
        text = single.text(ordered=True)
        sql = f"({text})" if single.limit else f"({text} LIMIT 1)"
        return f"coalesce({sql}, '')" if one.type == "string" else sql

    def _path(self, one: p.Path, columns: Mapping[Id, str]) -> str:
        """`kql_get(of, path)`; steps that are constants make one path."""
        sql, path = self.expr(one.of, columns), ""
        for step in one.steps:
            constant = literal.path_step(step) if isinstance(step, str | int) else None
            if constant is not None:
                path += constant
                continue
            if path:
                sql, path = f"kql_get({sql}, {literal.text('$' + path)})", ""
            sql = f"kql_get({sql}, {self._moving_step(step, columns)})"
        return f"kql_get({sql}, {literal.text('$' + path)})" if path or not one.steps else sql

    def _moving_step(self, step: "str | int | Expression", columns: Mapping[Id, str]) -> str:
        if isinstance(step, str | int):
            return literal.text(literal.pointer(str(step)))
        key = self.expr(step, columns)
        if step.type in ("int", "long"):
            return literal.once([key], lambda k: f"('$[' || CASE WHEN {k} < 0 THEN '#' ELSE '' END || {k} || ']')")
        text = f"json_extract_string({key}, '$')" if step.type == "dynamic" else key
        return f"('/' || replace(replace({text}, '~', '~0'), '/', '~1'))"

    def convert(self, sql: str, type_: Scalar) -> str:
        """A dynamic value, the text of a plain column, as a value of another type."""
        if type_ == "dynamic":
            return sql
        chosen = choose("scalar", CONVERT[type_], ["dynamic"])
        if chosen is None:
            raise KqlError("plan", f"there is no conversion of dynamic to {type_}")
        made = p.Apply(type_, chosen.function.key, [p.Ref("dynamic", -1)])
        return operand(said(_say(chosen.function.key), [sql], made))


def _say(key: str) -> Say:
    declared = of_key(key)
    say = declared.say.get(ENGINE)
    if say is None:
        raise KqlError("plan", f"{declared.name}() is not supported")
    return say


def said(say: Say, args: Sequence[str], one: p.Apply) -> str:
    return say.format(*args, args=", ".join(args)) if isinstance(say, str) else say(args, one)


def called(say: Say, args: Sequence[str], one: p.Apply) -> str:
    """As `said`. DuckDB takes no subquery within a lambda: it becomes the argument of one around the whole."""
    sql = said(say, args, one)
    if any("(SELECT " in each for each in args) and writes_lambda(sql):
        return literal.once(args, lambda *names: said(say, names, one))
    return sql


def operand(sql: str) -> str:
    """In brackets, unless it is plainly one operand already."""
    if plain(sql) or (sql[0] == "(" and _closes(sql)) or (sql[-1] == ")" and _one_call(sql)):
        return sql
    return f"({sql})"


def _one_call(sql: str) -> bool:
    opens = sql.find("(")
    return opens > 0 and sql[:opens].replace("_", "a").isalnum() and not sql[0].isdigit() and _closes(sql[opens:])


def _closes(sql: str) -> bool:
    """Whether the bracket that begins a text is closed by its last character."""
    if "'" in sql or '"' in sql:  # brackets in literals would have to be told apart
        return False
    depth = 0
    for each in _BRACKET.finditer(sql):
        depth += 1 if each[0] == "(" else -1
        if not depth:
            return each.end() == len(sql)
    return False


def count_refs(one: Expression, found: Counter[Id]) -> None:
    """How often each column is read."""
    match one:
        case p.Ref():
            found[one.id] += 1
        case p.Apply():
            for each in one.args:
                count_refs(each, found)
        case p.Path():
            count_refs(one.of, found)
            for step in one.steps:
                if not isinstance(step, str | int):
                    count_refs(step, found)
        case p.Lookup():
            count_refs(one.of, found)


def survey(plan: Any) -> tuple[Counter[str], bool]:
    """How often each shared plan is read, also within others (which are emitted once); whether a stored table is."""
    found: Counter[str] = Counter()
    seen: set[str] = set()
    stored = False
    stack: list[Any] = [plan]
    while stack:
        each = stack.pop()
        stored = stored or isinstance(each, p.Table)
        if isinstance(each, p.Shared):
            found[each.name] += 1
            if each.name in seen:
                continue
            seen.add(each.name)
        if isinstance(each, list | tuple):
            stack += [one for one in each if type(one) not in _LEAVES and not _leaf(one)]
            continue
        for field in _inner_fields(type(each)):
            inner = getattr(each, field)
            if type(inner) not in _LEAVES:
                stack.append(inner)
    return found, stored


def _leaf(one: Any) -> bool:
    return isinstance(one, p.Column) and type(one.expression) in _LEAVES


_LEAVES = frozenset((str, int, bool, type(None), p.Ref, p.Value, p.Out))
_FLAT = {
    "columns",
    "type",
    "id",
    "names",
    "table",
    "kind",
    "function",
    "name",
    "least",
    "once",
    "drop",
    "random",
    "fold",
}


_inner: dict[type, list[str]] = {}


def _inner_fields(node: type) -> list[str]:
    """The fields of a node that may hold plans or expressions."""
    if node not in _inner:
        _inner[node] = [each for each in getattr(node, "__struct_fields__", ()) if each not in _FLAT]
    return _inner[node]


def several_of(one: Expression) -> p.Apply | None:
    """The function of several results of which this is one, converted or not."""
    if isinstance(one, p.Apply) and len(one.args) == 1:
        one = one.args[0]
    return one.of if isinstance(one, p.Path) and isinstance(one.of, p.Apply) else None


def taken_from(one: Expression, held: Mapping[int, p.Ref]) -> Expression:
    """The same with its function of several results as the column that holds it."""
    of = several_of(one)
    if of is None or id(of) not in held:
        return one
    if isinstance(one, p.Apply):
        return replace(one, args=[taken_from(one.args[0], held)])
    return replace(one, of=held[id(of)])
