"""Steps that do their work part by part: partition, top-nested; and invoke.

Source: Kusto Query Language, "partition operator", "top-nested operator", "invoke operator".
"""

from collections.abc import Sequence

from bartizan.hunt import tree
from bartizan.hunt.binder import inline
from bartizan.hunt.binder.columns import parts
from bartizan.hunt.binder.order import counted, first, sorted_
from bartizan.hunt.binder.scope import Field, Names, Relation, Rows
from bartizan.hunt.binder.summarize import Summary
from bartizan.hunt.binder.work import Work
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import Column, Join, Project, SortKey


def partition(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    """The sub-pipe for the rows of each value of a column."""
    assert isinstance(op.body, tree.Branch)
    if len(op.body.pipes) != 1 or not op.body.pipes[0].bracketed:
        raise KqlError("plan", "partition { ... } is not supported; write the sub-query in round brackets", op.at)
    [by] = op.body.by
    value = work.bind(by, names, Rows.of(relation))
    key = work.field("", value.type)
    columns = {each.id: Column(each.id, each) for each in (*relation.hidden(), *(each.ref for each in relation.fields))}
    plan = Project(relation.plan, [*columns.values(), Column(key.id, value)])
    grouped = Relation(plan, relation.fields, (*relation.groups, key.ref), relation.source, relation.ordered,
                       relation.ingested)  # fmt: skip
    found = work.pipe(op.body.pipes[0], names, grouped)
    return Relation(found.plan, found.fields, relation.groups, "", False, found.ingested)


def invoke(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    """A function whose first argument are the rows."""
    assert isinstance(op.body, tree.Plugin)
    found = inline.invoked(work, op.body.call, names, Rows(), relation)
    if not isinstance(found, Relation):
        raise KqlError("bind", f"{op.body.call.name}() gives no table", op.at)
    return found


def top_nested(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    """Level by level: the best values of a column within each of those chosen before."""
    assert isinstance(op.body, tree.Levels)
    if relation.groups:
        raise KqlError("plan", "top-nested within mv-apply or partition is not supported", op.at)
    shared = work.share(relation)
    keys: list[tree.Named] = []
    so_far: Relation | None = None
    shown: list[Field] = []
    for level in op.body.levels:
        if level.others is not None:
            raise KqlError("plan", "top-nested with others is not supported", level.at)
        keys.append(level.of)
        best, value, total = _level(work, level, keys, names, work.again(shared))
        shown = [*shown, value, total]
        if so_far is None:
            so_far = best
        else:
            before = [each for each in shown[:-2] if each.id in {out.id for out in so_far.plan.columns}]
            pairs = [(mine.ref, other.ref) for mine, other in zip(before[::2], best.fields, strict=False)]
            so_far = Relation(Join(so_far.cut(), best.cut(), "inner", list(pairs)), (*so_far.fields, *best.fields))
    assert so_far is not None
    return Relation(so_far.plan, tuple(shown))


def _level(
    work: Work, level: tree.Nested, keys: Sequence[tree.Named], names: Names, rows: Relation
) -> tuple[Relation, Field, Field]:
    """The values of a level with what they are measured by; the last key and the measure are its own."""
    summary = Summary(work, names, rows)
    summary.by(keys)
    summary.add(level.by)
    found = summary.relation_of()
    key, total = found.fields[len(keys) - 1], found.fields[len(keys)]
    [named] = parts(work, level.of, names, Rows.of(rows))
    own = named.name or "Column1"
    value = Field(own, key.id, key.type)
    measure = Field(level.by.names[0] if level.by.names else f"aggregated_{own}", total.id, total.type)
    if level.count is not None:
        outer = tuple(each.ref for each in found.fields[: len(keys) - 1])
        descending = level.descending is not False
        grouped = Relation(found.plan, found.fields, outer)
        grouped = sorted_(grouped, [SortKey(total.ref, descending, not descending)])
        found = first(work, grouped, counted(work, level.count, names, level.at))
    return Relation(found.plan, found.fields), value, measure
