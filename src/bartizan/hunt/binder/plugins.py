"""evaluate: plugins. Where the columns rest on the data, it is looked at first; a schema behind the call spares that.

Source: Kusto Query Language, "evaluate plugin operator", "bag_unpack plugin", "pivot plugin", "narrow plugin",
"rows_near plugin".
"""

from collections.abc import Callable, Sequence
from typing import Any

from msgspec.structs import replace

from bartizan.hunt import tree
from bartizan.hunt.binder import activity, calls, lookups
from bartizan.hunt.binder.columns import ids
from bartizan.hunt.binder.expressions import condition
from bartizan.hunt.binder.joins import option
from bartizan.hunt.binder.naming import Taken
from bartizan.hunt.binder.prune import prune
from bartizan.hunt.binder.scope import UNKNOWN, Field, Names, Relation, Rows
from bartizan.hunt.binder.unions import united
from bartizan.hunt.binder.work import Work, apply, constant, convert, project
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import (
    Aggregate,
    Column,
    Expand,
    Expression,
    Filter,
    Join,
    Number,
    Path,
    Project,
    Ref,
    Sort,
    SortKey,
    Summarize,
    Unnested,
    Value,
    Windowed,
    size,
)
from bartizan.hunt.tree import Scalar

SEVERAL = ": it gives several tables, and an answer is one"
MOST_COLUMNS = 1_000  # that a plugin may make of the data
MOST_NEAR = 500_000  # rows before or after one that rows_near finds: an array of their numbers has to hold both


def evaluate(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Plugin)
    name = op.body.call.name.lower()
    plugin = PLUGINS.get(name)
    if plugin is None:
        why = SEVERAL if name in ("preview", "funnel_sequence") else ""
        raise KqlError("plan", f"the plugin {op.body.call.name}() is not supported{why}", op.body.call.at)
    if relation.groups:
        raise KqlError("plan", "evaluate within mv-apply or partition is not supported", op.at)
    return plugin(work, op.body, names, relation)


def looked_at(work: Work, relation: Relation, at: int) -> Sequence[Sequence[Any]]:
    """The rows that decide over columns."""
    if work.ask is None:
        raise KqlError("plan", "its columns depend on the data, which cannot be looked at here; tell a schema", at)
    rows = work.ask(prune(relation.plan, relation.fields, work.deadline))
    if len(rows) > MOST_COLUMNS:
        raise KqlError("run", f"the data asks for more than {MOST_COLUMNS:,} columns", at)
    return rows


def _argument(plugin: tree.Plugin, index: int) -> tree.Expr:
    call = plugin.call
    given = call.args[index] if index < len(call.args) else None
    if given is None or isinstance(given, tree.Pipe):
        raise KqlError("bind", f"{call.name}() needs its argument {index + 1}", call.at)
    return given


def _column(plugin: tree.Plugin, index: int, relation: Relation) -> Field:
    given = _argument(plugin, index)
    found = relation.by_name().get(given.name) if isinstance(given, tree.Name) else None
    if found is None:
        raise KqlError("bind", f"{plugin.call.name}() needs the name of a column", given.at)
    return found


# ------------------------------------------------------------------ bag_unpack


UNPACKING = ("outputcolumnprefix", "columnsconflict", "ignoredproperties")


def _bag_unpack(work: Work, plugin: tree.Plugin, names: Names, relation: Relation) -> Relation:
    """A column for each member; the prefix stands before their names."""
    bag = _column(plugin, 0, relation)
    if bag.type != "dynamic":
        raise KqlError("bind", f"bag_unpack() takes a dynamic column, not {bag.type}", plugin.at)
    told: dict[str, Any] = {}
    for index, given in enumerate(plugin.call.args[1:]):
        name = plugin.call.named.get(index + 1, "").lower() or (*UNPACKING, "")[min(index, len(UNPACKING))]
        if name not in UNPACKING or name in told:
            raise KqlError(
                "bind", "bag_unpack() takes a column, a prefix, columnsConflict, ignoredProperties", given.at
            )
        told[name] = constant(
            calls.scalar_any(work, given, names, Rows()), "an argument of bag_unpack()", given.at
        ).value
    prefix, conflict, ignored = (told.get(each) for each in UNPACKING)
    prefix, conflict = str(prefix or ""), str(conflict or "error")
    if ignored is not None and not isinstance(ignored, list):
        raise KqlError("bind", "bag_unpack(): ignoredProperties is an array of names", plugin.at)
    ignored = set(ignored or [])
    kept = [each for each in relation.fields if each.id != bag.id]
    if plugin.schema is not None:
        return _as_told(work, plugin, relation, bag, kept, prefix, conflict, ignored)
    made: dict[str, tuple[Field, Expression]] = {each.name: (each, each.ref) for each in kept}
    members = _members(work, bag, relation, plugin.at)
    for name, type_ in members:
        called = prefix + name
        if name in ignored or (called in made and conflict == "keep_source"):
            continue
        if called in made and conflict != "replace_source":
            raise KqlError("run", f"bag_unpack(): there is a column '{called}' already", plugin.at)
        made[called] = (work.field(called, type_), convert(Path("dynamic", bag.ref, [name]), type_, plugin.at))
    found = project(relation, list(made.values()))
    return found if members else replace(found, open=True)


def _as_told(
    work: Work, plugin: tree.Plugin, relation: Relation, bag: Field, kept: Sequence[Field], prefix: str, conflict: str,
    ignored: set[str],
) -> Relation:  # fmt: skip
    """The columns of the schema in its order, behind those of the rows where it is open. What the rows have already is
    theirs, unless it is to be replaced."""
    schema = {each.name: each.type or "string" for each in plugin.schema or []}
    own = {each.name: each for each in kept}
    made: list[tuple[Field, Expression]] = []
    made += [(each, each.ref) for each in kept if plugin.open and each.name not in schema]
    for name, type_ in schema.items():
        member = name.removeprefix(prefix)
        value: Expression = Path("dynamic", bag.ref, [member])
        if name in own and conflict != "replace_source":
            value = own[name].ref
        elif member in ignored:
            value = Value("dynamic", None)
        made.append((work.field(name, type_), convert(value, type_, plugin.at)))
    return project(relation, made)


_TYPES: dict[str, Scalar] = {
    "long": "long", "int": "long", "real": "real", "double": "real", "bool": "bool", "string": "string",
    "datetime": "datetime", "timespan": "timespan", "guid": "guid",
}  # fmt: skip


def _members(work: Work, bag: Field, relation: Relation, at: int) -> list[tuple[str, Scalar]]:
    """Names in alphabetical order with the type that all values of the name have; of several types: dynamic."""
    part = Unnested(work.id(), "dynamic", bag.ref, True)
    pair = Ref("dynamic", part.id)
    expanded = Expand(Project(relation.plan, [Column(bag.id, bag.ref)]), [part], None, None, True)
    is_pair = apply("==", [apply("gettype", [bag.ref], at), Value("string", "dictionary")], at)
    name = convert(Path("dynamic", pair, [0]), "string", at)
    kind = apply("gettype", [Path("dynamic", pair, [1])], at)
    fields = (work.field("name", "string"), work.field("kind", "string"))
    plan = Summarize(Filter(expanded, is_pair), [Column(fields[0].id, name), Column(fields[1].id, kind)], [])
    found: dict[str, set[str]] = {}
    for member, type_ in looked_at(work, Relation(plan, fields), at):
        found.setdefault(str(member), set()).add(str(type_))
    return [(each, _common({kind for kind in found[each] if kind != "null"})) for each in sorted(found)]


def _common(kinds: set[str]) -> Scalar:
    types = {_TYPES.get(each, "dynamic") for each in kinds}
    if types == {"long", "real"}:
        return "real"
    return next(iter(types)) if len(types) == 1 else "dynamic"


# ------------------------------------------------------------------ pivot


def _pivot(work: Work, plugin: tree.Plugin, names: Names, relation: Relation) -> Relation:
    """A column for each value of the first, with the aggregate of its rows."""
    relation = _completed(work, plugin, relation)
    pivot = _column(plugin, 0, relation)
    into: list[Aggregate] = []
    if len(plugin.call.args) > 1:
        call = _argument(plugin, 1)
        counted = Rows(relation.by_name(), {}, into, None, (), relation.fields, open=relation.open)
        found = work.bind(call, names, counted)
    else:
        found = calls.aggregate_of(work, "count", [], into, plugin.at)
    if len(into) != 1 or found != Ref(into[0].type, into[0].id):
        raise KqlError("bind", "pivot() takes one aggregate", plugin.at)
    [one] = into
    used = {pivot.id, *ids(one.args)}
    told = [_column(plugin, index, relation) for index in range(2, len(plugin.call.args))]
    by = told or [each for each in relation.fields if each.id not in used]
    values = _values(work, plugin, pivot, relation, {each.name for each in by})
    keys = [(work.field(each.name, each.type), each.ref) for each in by]
    text = convert(pivot.ref, "string", plugin.at)
    taken = Taken(field.name for field, _ in keys)
    fields, aggregates = [field for field, _ in keys], []
    for value in values:
        where: Expression = apply("==", [text, Value("string", value)], plugin.at)
        if one.where is not None:
            where = apply("and", [one.where, where], plugin.at)
        work.spend(plugin.at, size(where, *one.args))
        made = Aggregate(work.id(), one.type, one.function, one.args, where)
        aggregates.append(made)
        fields.append(Field(taken.free(value), made.id, made.type))
    plan = Summarize(relation.plan, [Column(field.id, value) for field, value in keys], aggregates)
    shown = fields if plugin.schema is None else _as_schema(plugin, fields, len(keys))
    return Relation(plan, tuple(shown), open=plugin.schema is None and not values)


def _as_schema(plugin: tree.Plugin, fields: Sequence[Field], keys: int) -> list[Field]:
    """In the order of the schema, which must be what the plugin gives; behind the columns of the rows where it is
    open."""
    told = {each.name: each for each in plugin.schema or []}
    found = {each.name: each for each in fields}
    for each in fields:
        wanted = told.get(each.name)
        if wanted is None and not plugin.open:
            raise KqlError("bind", f"pivot() gives the column '{each.name}', which its schema does not tell", plugin.at)
        if wanted is not None and (wanted.type or "string") != each.type:
            message = (
                f"pivot() gives the column '{each.name}' as {each.type}; its schema says {wanted.type or 'string'}"
            )
            raise KqlError("bind", message, wanted.at)
    return [*(each for each in fields[:keys] if each.name not in told), *(found[name] for name in told)]


def _completed(work: Work, plugin: tree.Plugin, relation: Relation) -> Relation:
    """With the columns that it names, where any may be there."""
    known = relation.by_name()
    named = [each.name for each in plugin.call.args if isinstance(each, tree.Name) and each.name not in known]
    if not (relation.open and named):
        return relation
    made: list[tuple[Field, Expression]] = [(each, each.ref) for each in relation.fields]
    work.guessed = True
    made += [(work.field(name, "dynamic"), UNKNOWN) for name in dict.fromkeys(named)]
    return project(relation, made)


def _values(work: Work, plugin: tree.Plugin, pivot: Field, relation: Relation, keys: set[str]) -> list[str]:
    if plugin.schema is not None:
        return [each.name for each in plugin.schema if each.name not in keys]
    field = work.field("value", "string")
    plan = Summarize(relation.plan, [Column(field.id, convert(pivot.ref, "string", plugin.at))], [])
    return sorted(str(row[0]) for row in looked_at(work, Relation(plan, (field,)), plugin.at))


# ------------------------------------------------------------------ narrow, rows_near


def _narrow(work: Work, plugin: tree.Plugin, names: Names, relation: Relation) -> Relation:
    """A row for each cell."""
    place = Windowed(work.id(), "long", "row_number", [Value("long", 0)])
    number = Field("Row", place.id, "long")
    shared = work.share(Relation(Number(relation.plan, [place]), (number, *relation.fields)), once=True)
    legs = []
    for index in range(len(relation.fields)):
        rows = work.again(shared)
        own = rows.fields[index + 1]
        value = convert(own.ref, "string", plugin.at)
        legs.append(project(rows, [
            (work.field("Row", "long"), rows.fields[0].ref),
            (work.field("Column", "string"), Value("string", own.name)),
            (work.field("Value", "string"), value),
        ]))  # fmt: skip
    found = united(work, legs, False, "")
    return found.over(Sort(found.plan, [SortKey(found.fields[0].ref, False, True)]), ordered=True)


def _rows_near(work: Work, plugin: tree.Plugin, names: Names, relation: Relation) -> Relation:
    """Rows that fit, and so many before and after each of them."""
    told = [constant(calls.scalar_any(work, each, names, Rows()), "a number of rows", plugin.at).value
            for each in plugin.call.args[1:]]  # fmt: skip
    if not 1 <= len(told) <= 2 or any(not isinstance(each, int) or each < 0 for each in told):
        raise KqlError("bind", "rows_near() takes a condition and one or two numbers of rows", plugin.at)
    if max(told) > MOST_NEAR:
        raise KqlError("plan", f"rows_near() is supported for at most {MOST_NEAR:,} rows on each side", plugin.at)
    before, after = Value("long", told[0]), Value("long", told[-1])
    place = Windowed(work.id(), "long", "row_number", [Value("long", 0)])
    number = Field("", place.id, "long")
    shared = work.share(Relation(Number(relation.cut(), [place]), (number, *relation.fields)), once=True)
    rows, near = work.again(shared), work.again(shared)
    seen = Relation(near.plan, near.fields[1:])
    found = Filter(near.plan, condition(work, _argument(plugin, 0), names, Rows(seen.by_name(), all=seen.fields)))
    ends = [apply(sign, [near.fields[0].ref, by], plugin.at) for sign, by in (("-", before), ("+", after))]
    around = apply("range", [*ends, Value("long", 1)], plugin.at)
    part = Unnested(work.id(), "long", around)
    chosen = Join(rows.cut(), Expand(found, [part]), "leftsemi", [(rows.fields[0].ref, Ref("long", part.id))])
    return Relation(Sort(chosen, [SortKey(rows.fields[0].ref, False, True)]), rows.fields[1:], ordered=True)


_PART: tuple[tuple[str, Scalar], ...] = (("SegmentId", "long"), ("Count", "long"), ("Percent", "real"))
SEGMENTS: dict[str, tuple[tuple[str, Scalar], ...]] = {
    "basket": _PART,
    "autocluster": _PART,
    "diffpatterns": (
        ("SegmentId", "long"), ("CountA", "long"), ("CountB", "long"), ("PercentA", "real"), ("PercentB", "real"),
        ("PercentDiffAB", "real"),
    ),
}  # fmt: skip


def _segments(work: Work, plugin: tree.Plugin, names: Names, relation: Relation) -> Relation:
    call = plugin.call
    return _unpublished(work, relation, f"{call.name}()", SEGMENTS[call.name.lower()], relation.fields, call.at)


def reduce(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    """`kind=source` puts the pattern behind the columns of the rows."""
    assert isinstance(op.body, tree.Columns)
    for each in op.body.columns:
        work.bind(each.expr, names, Rows.of(relation))
    if option(op, "kind", "").lower() == "source":
        found = _unpublished(work, relation, "reduce", (("Pattern", "string"),), relation.fields, op.at)
        return found.over(found.plan, [*found.fields[1:], found.fields[0]])
    shown: tuple[tuple[str, Scalar], ...] = (("Pattern", "string"), ("Count", "long"), ("Representative", "string"))
    return _unpublished(work, relation, "reduce", shown, (), op.at)


def _unpublished(
    work: Work, relation: Relation, what: str, shown: Sequence[tuple[str, Scalar]], kept: Sequence[Field], at: int
) -> Relation:
    """Its columns are known, how the engine chooses patterns is not published: it is refused, and where columns alone
    are asked for it is an error as soon as there is a row."""
    why = f"{what} is not supported: how the engine works it out is not published"
    if not work.empty:
        raise KqlError("plan", why, at)
    number = Windowed(work.id(), "long", "row_number", [Value("long", 0)])
    place = Ref("long", number.id)
    never = apply("assert", [apply("<", [place, Value("long", 0)], at), Value("string", why)], at)
    none = Relation(Filter(Number(relation.cut(), [number]), never), relation.fields)
    taken = Taken(each.name for each in kept)
    made: list[tuple[Field, Expression]] = [
        (work.field(taken.free(name), type_), convert(place, type_, at)) for name, type_ in shown
    ]
    return project(none, [*made, *((each, each.ref) for each in kept)])


PLUGINS: dict[str, Callable[[Work, tree.Plugin, Names, Relation], Relation]] = {
    "bag_unpack": _bag_unpack,
    "pivot": _pivot,
    "narrow": _narrow,
    "rows_near": _rows_near,
    **dict.fromkeys(SEGMENTS, _segments),
    **lookups.PLUGINS,
    **activity.PLUGINS,
}
