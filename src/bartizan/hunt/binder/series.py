"""make-series: the aggregates of each bin of an axis, and their defaults where a bin is empty, as arrays.

Bins and groups are summarized, joined with all places of the axis of each group, and listed in the axis's order.

Source: Kusto Query Language, "make-series operator".
"""

from collections.abc import Sequence
from typing import NamedTuple

from msgspec.structs import replace

from bartizan.hunt import tree
from bartizan.hunt.binder.calls import aggregate_of
from bartizan.hunt.binder.columns import parts
from bartizan.hunt.binder.naming import Taken, bare, natural
from bartizan.hunt.binder.scope import Field, Names, Relation, Rows
from bartizan.hunt.binder.summarize import Summary
from bartizan.hunt.binder.work import Work, apply, convert, single
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import (
    Aggregate,
    Column,
    Expression,
    Filter,
    Join,
    Numbers,
    Out,
    Project,
    Ref,
    Sort,
    SortKey,
    Summarize,
    Value,
)

AXES = ("int", "long", "real", "datetime", "timespan")


class Axis(NamedTuple):
    """Places 0 to `last`, of which each begins at `start` and a number of steps."""

    on: Expression
    start: Expression
    step: Expression
    last: Expression


def make_series(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Series)
    return (
        _of_parts(work, op, op.body, names, relation)
        if relation.groups
        else _series(work, op, op.body, names, relation)
    )


def _of_parts(work: Work, op: tree.Operator, body: tree.Series, names: Names, relation: Relation) -> Relation:
    """The parts are groups as well, by names that no query gives."""
    if body.start is None or body.stop is None:
        why = "its ends, which are told by from and to, would be those of each part"
        raise KqlError("plan", f"make-series within mv-apply or partition is not supported without ends: {why}", op.at)
    count = len(relation.groups)
    parts_ = [Field(f"#{index}", each.id, each.type) for index, each in enumerate(relation.groups)]
    by = [tree.Named(tree.Name(each.name, at=op.at, end=op.at), at=op.at, end=op.at) for each in parts_]
    flat = Relation(relation.plan, (*relation.fields, *parts_), (), relation.source, relation.ordered)
    found = _series(work, op, replace(body, by=[*by, *body.by]), names, flat)
    own = zip(relation.groups, found.fields, strict=False)
    columns = [
        *(Column(group.id, field.ref) for group, field in own),
        *(Column(f.id, f.ref) for f in found.fields[count:]),
    ]
    return Relation(Project(found.plan, columns), found.fields[count:], relation.groups)


def _series(work: Work, op: tree.Operator, body: tree.Series, names: Names, relation: Relation) -> Relation:
    shared = work.share(relation)
    axis, rows = _axis(work, op, body, names, shared)
    place = work.field("place", "long")
    summary = Summary(work, names, rows)
    summary.by(body.by)
    keys = [field for field, _ in summary.keys]
    summary.keys.append((place, axis.on))
    for each in body.aggregates:
        summary.add(each)
    summed = summary.relation_of()
    values = summed.fields[len(keys) + 1 :]
    every = _places(work, names, body, shared, axis, keys)
    joined = Join(every.cut(), summed.cut(), "leftouter", _on(every, keys, place))
    told = _axis_name(body, [*keys, *values])
    return _listed(work, op, joined, every, values, body, axis, told)


def _axis_name(body: tree.Series, others: Sequence[Field]) -> str:
    """A name that comes from an expression is numbered; one that the query says twice is an error."""
    name = body.on.names[0] if body.on.names else natural(body.on.expr) or "Column1"
    said = {one for each in (*body.by, *body.aggregates) for one in _said(each)}
    if name in said and _said(body.on):
        raise KqlError("bind", f"there are two columns '{name}'", body.on.at)
    return Taken(each.name for each in others).free(name)


def _said(named: tree.Named) -> Sequence[str]:
    inner = bare(named.expr)
    return named.names or ([inner.name] if isinstance(inner, tree.Name) else [])


def _axis(work: Work, op: tree.Operator, body: tree.Series, names: Names, shared: Relation) -> tuple[Axis, Relation]:
    """The axis, and the rows that lie on it, their place ready to be a key."""
    rows = work.again(shared)
    seen = Rows.of(rows)
    on = work.bind(body.on.expr, names, seen)
    if on.type not in AXES:
        raise KqlError("bind", f"an axis is made of numbers, instants or spans, not {on.type}", body.on.at)
    step = work.bind(body.step, names, Rows())
    step = convert(step, "timespan" if on.type in ("datetime", "timespan") else on.type, body.step.at)
    start = None if body.start is None else convert(work.bind(body.start, names, Rows()), on.type, op.at)
    stop = None if body.stop is None else convert(work.bind(body.stop, names, Rows()), on.type, op.at)
    if start is None:
        start = apply("bin", [_end(work, body, names, shared, "min", op.at), step], op.at)
        start = convert(start, on.type, op.at)
    inclusive = stop is None or body.inclusive
    if stop is None:
        stop = _end(work, body, names, shared, "max", op.at)
    within = apply(
        "and", [apply(">=", [on, start], op.at), apply("<=" if inclusive else "<", [on, stop], op.at)], op.at
    )
    rows = rows.over(Filter(rows.plan, within))
    last = _steps(work, stop, start, step, op.at)
    if not inclusive:
        whole = apply("==", [apply("+", [start, _times(last, step, op.at)], op.at), stop], op.at)
        last = apply("iff", [whole, apply("-", [last, Value("long", 1)], op.at), last], op.at)
    return Axis(_steps(work, on, start, step, op.at), start, step, last), rows


def _end(work: Work, body: tree.Series, names: Names, shared: Relation, name: str, at: int) -> Expression:
    """The least or greatest value of the axis."""
    rows = work.again(shared)
    into: list[Aggregate] = []
    made = aggregate_of(work, name, [work.bind(body.on.expr, names, Rows.of(rows))], into, at)
    assert isinstance(made, Ref)
    return single(work, Relation(Summarize(rows.plan, [], into), (Field("end", made.id, made.type),)), at)


def _steps(work: Work, to: Expression, start: Expression, step: Expression, at: int) -> Expression:
    """How many whole steps lie between."""
    return apply("tolong", [apply("floor", [_ratio(apply("-", [to, start], at), step, at), Value("long", 1)], at)], at)


def _ratio(one: Expression, step: Expression, at: int) -> Expression:
    if one.type == "timespan":
        return apply("/", [one, step], at)
    return apply("/", [convert(one, "real", at), convert(step, "real", at)], at)


def _times(count: Expression, step: Expression, at: int) -> Expression:
    return apply("*", [count, step], at)


def _places(work: Work, names: Names, body: tree.Series, shared: Relation, axis: Axis, keys: list[Field]) -> Relation:
    """All places of the axis for each group."""
    number = work.field("place", "long")
    numbers = Numbers([Out(number.id, "long")], Value("long", 0), axis.last, Value("long", 1))
    if not keys:
        return Relation(numbers, (number,))
    rows = work.again(shared)
    seen, made = Rows.of(rows), list[tuple[Field, Expression]]()
    taken = Taken()
    for each in body.by:
        for part in parts(work, each, names, seen):
            made.append((work.field(taken.free(part.name or "Column1"), part.value.type), part.value))
    groups = Summarize(rows.plan, [Column(field.id, value) for field, value in made], [])
    fields = [Field(old.name, new.id, new.type) for old, (new, _) in zip(keys, made, strict=True)]
    one = Value("long", 1)
    return Relation(Join(groups, numbers, "inner", [(one, one)]), (*fields, number))


def _on(every: Relation, keys: list[Field], place: Field) -> list[tuple[Expression, Expression]]:
    return [(mine.ref, other.ref) for mine, other in zip(every.fields, (*keys, place), strict=True)]


def _listed(
    work: Work,
    op: tree.Operator,
    joined: Join,
    every: Relation,
    values: tuple[Field, ...],
    body: tree.Series,
    axis: Axis,
    told: str,
) -> Relation:
    number = every.fields[-1]
    found = joined.right.columns[-1 - len(values)]
    made: list[tuple[Field, Expression]] = [(each, each.ref) for each in every.fields]
    missing = apply("isnull", [Ref("long", found.id)], op.at)
    for index, each in enumerate(values):
        default = body.defaults.get(index)
        given: Expression = Value("long", 0) if default is None else work.bind(default, Names({}), Rows())
        value = apply("iff", [missing, _fitting(given, each, op.at), each.ref], op.at)
        made.append((work.field(each.name, value.type), value))
    at = apply("+", [axis.start, _times(number.ref, axis.step, op.at)], op.at)
    on = work.field(told, at.type)
    made.append((on, at))
    plan = Sort(Project(joined, [Column(field.id, value) for field, value in made]), [SortKey(number.ref, False, True)])
    lists: list[Aggregate] = []
    fields = []
    for field, _ in made[len(every.fields) :]:
        listed = aggregate_of(work, "make_list_with_nulls", [field.ref], lists, op.at)
        assert isinstance(listed, Ref)
        fields.append(Field(field.name, listed.id, "dynamic"))
    keys = [Column(each.id, each.ref) for each in every.fields[:-1]]
    return Relation(Summarize(plan, keys, lists), (*every.fields[:-1], *fields))


def _fitting(default: Expression, value: Field, at: int) -> Expression:
    """A default as a value of the series."""
    if isinstance(default, Value) and default.value is None:
        return Value(value.type, None)
    if value.type in ("string", "bool", "guid", "datetime", "dynamic") and default.type == "long":
        return Value(value.type, "" if value.type == "string" else None)
    return convert(default, value.type, at)
