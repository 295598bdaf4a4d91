"""Steps about order and number of rows: sort, take, top, sample, count, top-hitters, top-nested.

Source: Kusto Query Language, the page of each operator.
"""

from collections.abc import Sequence

from bartizan.hunt import tree
from bartizan.hunt.binder.calls import aggregate_of
from bartizan.hunt.binder.columns import numbered, parts
from bartizan.hunt.binder.scope import Field, Names, Relation, Rows
from bartizan.hunt.binder.work import Work, apply, convert
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import (
    Aggregate,
    Column,
    Expression,
    Filter,
    Limit,
    Number,
    Ref,
    Sort,
    SortKey,
    Summarize,
    Value,
    Windowed,
)

ORDERED = ("bool", "int", "long", "real", "decimal", "string", "datetime", "timespan", "guid", "dynamic")


def keys(work: Work, given: Sequence[tree.Key], names: Names, rows: Rows) -> list[SortKey]:
    """Descending unless told; nulls are the least unless told."""
    made = []
    for each in given:
        descending = each.descending is not False
        nulls_first = not descending if each.nulls_first is None else each.nulls_first
        made.append(SortKey(work.bind(each.expr, names, rows), descending, nulls_first))
    return made


def sorted_(relation: Relation, by: Sequence[SortKey]) -> Relation:
    """Within each group."""
    outer = [SortKey(each, False, True) for each in relation.groups]
    return relation.over(Sort(relation.plan, [*outer, *by]), ordered=True)


def sort(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Order)
    rows = Rows.collecting(relation)
    by = keys(work, op.body.keys, names, rows)
    return sorted_(numbered(work, relation, rows), by)


def counted(work: Work, node: "tree.Expr | None", names: Names, at: int) -> Expression:
    """How many rows: a whole number that no row decides."""
    if node is None:
        raise KqlError("bind", "a number of rows is missing", at)
    found = work.bind(node, names, Rows())
    if found.type not in ("int", "long", "dynamic"):
        raise KqlError("bind", f"a number of rows must be a whole number, not {found.type}", node.at)
    count = convert(found, "long", node.at)
    if isinstance(count, Value) and (count.value is None or count.value < 0):
        raise KqlError("bind", "a number of rows must not be negative", node.at)
    return count


def first(work: Work, relation: Relation, count: Expression, *, random: bool = False) -> Relation:
    """So many rows, of each group where there are any."""
    if not relation.groups:
        return relation.over(Limit(relation.plan, count, random))
    place = Windowed(work.id(), "long", "row_number", [Value("long", 1)], None, list(relation.groups))
    numbered_ = Number(relation.plan, [place])
    return relation.over(Filter(numbered_, apply("<=", [Ref("long", place.id), count], -1)))


def take(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Order)
    return first(work, relation, counted(work, op.body.count, names, op.at))


def top(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Order)
    return first(work, sort(work, op, names, relation), counted(work, op.body.count, names, op.at))


def sample(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Order)
    count = counted(work, op.body.count, names, op.at)
    return first(work, relation, count, random=True)


def sample_distinct(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Order)
    [part] = parts(work, op.body.of[0], names, Rows.of(relation))
    field = work.field(part.name or "Column1", part.value.type)
    groups = [Column(each.id, each) for each in relation.groups]
    plan = Summarize(relation.plan, [*groups, Column(field.id, part.value)], [])
    found = Relation(plan, (field,), relation.groups, relation.source)
    return first(work, found, counted(work, op.body.count, names, op.at))


def count(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    told = op.options.get("as")
    name = told.name if isinstance(told, tree.Name) else "Count"
    into: list[Aggregate] = []
    made = aggregate_of(work, "count", [], into, op.at)
    assert isinstance(made, Ref)
    groups = [Column(each.id, each) for each in relation.groups]
    plan = Summarize(relation.plan, groups, into)
    return Relation(plan, (Field(name, made.id, "long"),), relation.groups, relation.source)


def top_hitters(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    """The commonest values, or those of the greatest sums."""
    assert isinstance(op.body, tree.Order)
    rows = Rows.of(relation)
    [part] = parts(work, op.body.of[0], names, rows)
    into: list[Aggregate] = []
    if op.body.keys:
        by = op.body.keys[0].expr
        weight = parts(work, tree.Named(by), names, rows)[0]
        made = aggregate_of(work, "sum", [weight.value], into, op.at)
        told = f"approximate_sum_{weight.name}"
    else:
        made = aggregate_of(work, "count", [], into, op.at)
        told = f"approximate_count_{part.name}"
    assert isinstance(made, Ref)
    field, total = work.field(part.name or "Column1", part.value.type), Field(told, made.id, made.type)
    groups = [Column(each.id, each) for each in relation.groups]
    plan = Summarize(relation.plan, [*groups, Column(field.id, part.value)], into)
    # Of equals that which began last, so that the answer is the same each time.
    place = Windowed(work.id(), "long", "row_number", [Value("long", 0)])
    found = Relation(Number(plan, [place]), (field, total), relation.groups, relation.source)
    found = sorted_(found, [SortKey(total.ref, True, False), SortKey(Ref("long", place.id), True, False)])
    return first(work, found, counted(work, op.body.count, names, op.at))
