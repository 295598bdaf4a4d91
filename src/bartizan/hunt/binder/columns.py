"""Steps that make, drop, rename and reorder columns, and where.

Source: Kusto Query Language: "project operator" and its kin, "extend operator", "where operator", "serialize operator",
"distinct operator", "getschema operator".
"""

from collections.abc import Sequence
from re import findall
from typing import NamedTuple

from msgspec.structs import replace

from bartizan.hunt import tree
from bartizan.hunt.binder.calls import is_tuple, tuple_of
from bartizan.hunt.binder.expressions import condition
from bartizan.hunt.binder.naming import Taken, bare, chosen, natural
from bartizan.hunt.binder.scope import Field, Names, Relation, Rows, Worked
from bartizan.hunt.binder.work import Work, project
from bartizan.hunt.binder.worked import joined
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import Apply, Column, Expression, Filter, Number, Out, Ref, Summarize, Value, Windowed
from bartizan.hunt.plan import Rows as Values


class Part(NamedTuple):
    """A column of a list. `told`: the text itself says the name, as an alias or as the name of a column."""

    name: str
    told: bool
    value: Expression


def parts(work: Work, named: tree.Named, names: Names, rows: Rows) -> list[Part]:
    """The columns of an item of a list: one, or those of a function of several results."""
    call = bare(named.expr)
    if isinstance(call, tree.Call) and is_tuple(call, names):
        return _several(work, named, call, names, rows)
    if len(named.names) > 1:
        raise KqlError("bind", "there are several names for one value", named.at)
    value = work.bind(named.expr, names, rows)
    if named.names:
        return [Part(named.names[0], True, value)]
    name = natural(named.expr)
    if isinstance(call, tree.Call) and call.name.lower() in ("column_ifexists", "columnifexists"):
        name = name if name in rows.fields else ""
    return [Part(name, isinstance(named.expr, tree.Name), value)]


def _several(work: Work, named: tree.Named, call: tree.Call, names: Names, rows: Rows) -> list[Part]:
    """One name alone is that of the first result, which then is the only one."""
    found = tuple_of(work, call, names, rows)
    if len(named.names) > len(found):
        raise KqlError("bind", f"{call.name}() gives {len(found)} values", named.at)
    if len(named.names) == 1:
        found = found[:1]
    told = len(named.names)
    return [
        Part(named.names[index] if index < told else name, index < told, value)
        for index, (name, value) in enumerate(found)
    ]


def numbered(work: Work, relation: Relation, rows: Rows) -> Relation:
    """With the functions of a row's place, and those that no engine works out, that its expressions read; one that
    reads another is worked out after it."""
    waiting: list[Windowed | Worked] = [*(rows.windows or []), *(rows.worked or [])]
    while waiting:
        open_ids = {each.id for each in waiting}
        ready = [each for each in waiting if not open_ids & ids(_read_by(each))]
        windows = [each for each in ready if isinstance(each, Windowed)]
        if windows:
            relation = relation.over(Number(relation.plan, windows))
        calls = [each for each in ready if isinstance(each, Worked)]
        if calls:
            relation = joined(work, relation, calls)
        waiting = [each for each in waiting if each not in ready]
    return relation


def _read_by(one: Windowed | Worked) -> list[Expression]:
    return [*one.args, *([one.restart] if isinstance(one, Windowed) and one.restart else [])]


def ids(expressions: Sequence[Expression]) -> set[int]:
    """The columns that expressions read."""
    found: set[int] = set()
    stack: list[object] = list(expressions)
    while stack:
        each = stack.pop()
        if isinstance(each, Ref):
            found.add(each.id)
        elif isinstance(each, Apply):
            stack += each.args
        elif isinstance(each, list | tuple):
            stack += each
        elif isinstance(each, Value | str | int):
            continue
        elif hasattr(each, "__struct_fields__") and not hasattr(each, "columns"):
            stack += [getattr(each, name) for name in each.__struct_fields__]
    return found


def where(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Condition)
    rows = Rows.collecting(relation)
    found = condition(work, op.body.expr, names, rows)
    relation = numbered(work, relation, rows)
    return relation.over(Filter(relation.plan, found))


def project_(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Columns)
    rows = Rows.collecting(relation)
    taken, told, made = Taken(before=relation.names()), set[str](), list[tuple[Field, Expression]]()
    for each in op.body.columns:
        for part in parts(work, each, names, rows):
            if part.told and part.name in told:
                raise KqlError("bind", f"there are two columns '{part.name}'", each.at)
            if part.told:
                told.add(part.name)
            name = taken.free(part.name) if part.name else taken.column()
            made.append((work.field(name, part.value.type), part.value))
    return replace(project(numbered(work, relation, rows), made), open=False)


def extend(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    """extend and serialize: a name that is there already gets the new value, in its place. Of several results extend
    takes those that it names, where it names any (and project all of them)."""
    if not isinstance(op.body, tree.Columns):
        return relation.over(relation.plan, ordered=True)
    rows = Rows.collecting(relation)
    made: dict[str, tuple[Field, Expression]] = {each.name: (each, each.ref) for each in relation.fields}
    taken, told = Taken(made, relation.names()), set[str]()
    for each in op.body.columns:
        for part in parts(work, each, names, rows)[: len(each.names) or None]:
            if part.told and part.name in told:
                raise KqlError("bind", f"there are two columns '{part.name}'", each.at)
            if part.told:
                told.add(part.name)
            name = part.name or taken.column()
            taken.names.add(name)
            made[name] = (work.field(name, part.value.type), part.value)
    return project(numbered(work, relation, rows), list(made.values()))


def _names_of(op: tree.Operator, relation: Relation) -> list[str]:
    """The columns that names and patterns say, in the order of the rows; unknown names are errors."""
    assert isinstance(op.body, tree.Columns)
    known = relation.names()
    wanted: set[str] = set()
    for each in op.body.columns:
        wanted |= set(_matching(each.expr, known))
    return [each for each in known if each in wanted]


def _matching(node: tree.Expr, known: Sequence[str]) -> list[str]:
    node = bare(node)  # type: ignore[assignment]
    if isinstance(node, tree.Star):
        return list(known)
    if isinstance(node, tree.Wildcard):
        return chosen(node.pattern, known)
    if isinstance(node, tree.Name) and node.name in known:
        return [node.name]
    name = node.name if isinstance(node, tree.Name) else ""
    raise KqlError("bind", f"there is no column '{name}' here" if name else "the name of a column is expected", node.at)


def _only(relation: Relation, kept: Sequence[str]) -> Relation:
    by_name = relation.by_name()
    return project(relation, [(by_name[each], by_name[each].ref) for each in kept])


def project_away(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    dropped = set(_names_of(op, relation))
    return _only(relation, [each for each in relation.names() if each not in dropped])


def project_keep(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    return _only(relation, _names_of(op, relation))


def project_rename(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Columns)
    new: dict[str, str] = {}
    for each in op.body.columns:
        old = bare(each.expr)
        if not isinstance(old, tree.Name) or not each.names:
            raise KqlError("bind", "project-rename takes new = old, each the name of a column", each.at)
        if old.name not in relation.by_name():
            raise KqlError("bind", f"there is no column '{old.name}' here", each.at)
        new[old.name] = each.names[0]
    fields = [Field(new.get(each.name, each.name), each.id, each.type) for each in relation.fields]
    seen: set[str] = set()
    for field in fields:
        if field.name in seen:
            raise KqlError("bind", f"there are two columns '{field.name}'", op.at)
        seen.add(field.name)
    return relation.over(relation.plan, fields)


def project_reorder(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Columns)
    rest, placed = relation.names(), list[str]()
    for index, each in enumerate(op.body.columns):
        node = bare(each.expr)
        if isinstance(node, tree.Name) and node.name in placed:
            continue
        found = _matching(each.expr, rest)
        order = op.body.orders.get(index, "")
        if order:
            found.sort(key=_granny if order.startswith("granny") else str.upper, reverse=order.endswith("desc"))
        placed += found
        rest = [name for name in rest if name not in found]
    by_name = relation.by_name()
    return relation.over(relation.plan, [by_name[each] for each in (*placed, *rest)])


def _granny(name: str) -> list[tuple[int, int]]:
    """Numbers in names by their value, among other characters where digits are."""
    found = findall(r"(\d+)|(\D)", name.upper())
    return [(ord("0"), int(digits)) if digits else (ord(other[0]), 0) for digits, other in found]


def distinct(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Columns)
    rows = Rows.collecting(relation)
    taken, made = Taken(before=relation.names()), list[tuple[Field, Expression]]()
    for each in op.body.columns:
        if isinstance(each.expr, tree.Star | tree.Wildcard):
            found = [Part(field.name, True, field.ref) for field in relation.fields
                     if field.name in _matching(each.expr, relation.names())]  # fmt: skip
        else:
            found = parts(work, each, names, rows)
        for part in found:
            if part.name in taken.names and part.told:
                raise KqlError("bind", f"there are two columns '{part.name}'", each.at)
            name = taken.free(part.name) if part.name else taken.column()
            made.append((work.field(name, part.value.type), part.value))
    keys = [Column(field.id, value) for field, value in made]
    groups = [Column(each.id, each) for each in relation.groups]
    plan = Summarize(numbered(work, relation, rows).plan, [*groups, *keys], [])
    more = relation.open and any(isinstance(each.expr, tree.Star | tree.Wildcard) for each in op.body.columns)
    return Relation(plan, tuple(field for field, _ in made), relation.groups, relation.source, open=more)


_NET = {
    "bool": "System.SByte", "int": "System.Int32", "long": "System.Int64", "real": "System.Double",
    "decimal": "System.Data.SqlTypes.SqlDecimal", "string": "System.String", "datetime": "System.DateTime",
    "timespan": "System.TimeSpan", "guid": "System.Guid", "dynamic": "System.Object",
}  # fmt: skip


def _bracketed(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace("'", "\\'")
    return name if name.isidentifier() else f"['{escaped}']"


def getschema(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    kind = op.options.get("kind")
    if isinstance(kind, tree.Name) and kind.name == "csl":
        schema = work.field("Schema", "string")
        told = ",".join(f"{_bracketed(each.name)}:{each.type}" for each in relation.fields)
        return Relation(Values([Out(schema.id, schema.type)], [[Value("string", told)]]), (schema,))
    fields = (
        work.field("ColumnName", "string"),
        work.field("ColumnOrdinal", "long"),
        work.field("DataType", "string"),
        work.field("ColumnType", "string"),
    )
    rows: list[list[Expression]] = [
        [Value("string", each.name), Value("long", index), Value("string", _NET[each.type]), Value("string", each.type)]
        for index, each in enumerate(relation.fields)
    ]
    return Relation(Values([Out(each.id, each.type) for each in fields], rows), fields)
