"""Steps that do their work part by part: partition, top-nested; and invoke.

partition does all its parts at once where its steps can; where they cannot, the legacy strategy does one by one
(`binder/apart.py`).

Source: Kusto Query Language, "partition operator", "top-nested operator", "invoke operator".
"""

from collections.abc import Sequence

from msgspec.structs import replace

from bartizan.hunt import tree
from bartizan.hunt.binder import inline
from bartizan.hunt.binder.columns import parts
from bartizan.hunt.binder.expand import of_parts
from bartizan.hunt.binder.joins import option
from bartizan.hunt.binder.order import counted, first, sorted_
from bartizan.hunt.binder.scope import Field, Names, Relation, Rows
from bartizan.hunt.binder.summarize import Summary
from bartizan.hunt.binder.unions import united
from bartizan.hunt.binder.work import UnknownTable, Work, apply, convert, parted, project
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import Expression, Filter, Join, SortKey, Value

_REMOVING = frozenset("where parse-where search join lookup mv-apply scan invoke".split())


def partition(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    """The sub-pipe for the rows of each value of a column."""
    assert isinstance(op.body, tree.Branch)
    legacy = option(op, "hint.strategy", "legacy").lower() == "legacy" and not relation.groups
    if not op.body.pipes[0].bracketed:
        if not legacy:
            raise KqlError("plan", "partition { ... } is supported with the legacy strategy, and not in parts", op.at)
        return _part_by_part(work, op, names, relation)
    if legacy and _counts_nothing(op.body.pipes[0]):
        return _part_by_part(work, op, names, relation)
    try:
        found = of_parts(work, op.body.pipes[0], names, parted_by(work, op.body.by, names, relation))
    except KqlError as fault:
        if legacy and (fault.phase == "plan" or isinstance(fault, UnknownTable)):
            return _part_by_part(work, op, names, relation)
        raise
    return replace(found, groups=relation.groups, source="", ordered=False)


def _counts_nothing(pipe: tree.Pipe) -> bool:
    """Whether the rows of a part may all be gone before a step that gives a row even then: done at once, such a part is
    not seen any more."""
    for index, op in enumerate(pipe.operators):
        keyless = op.name == "count" or (isinstance(op.body, tree.Summary) and op.body.by is None)
        if keyless and any(each.name in _REMOVING for each in pipe.operators[:index]):
            return True
    return False


def _part_by_part(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    """Read when a query needs it."""
    from bartizan.hunt.binder.apart import each

    return each(work, op, names, relation)


def parted_by(work: Work, by: Sequence[tree.Expr], names: Names, relation: Relation) -> Relation:
    return parted(work, relation, [work.bind(each, names, Rows.of(relation)) for each in by])


def invoke(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    """A function whose first argument are the rows."""
    assert isinstance(op.body, tree.Plugin)
    found = inline.invoked(work, op.body.call, names, Rows(), relation)
    if not isinstance(found, Relation):
        raise KqlError("bind", f"{op.body.call.name}() gives no table", op.at)
    return found


def top_nested(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    """Level by level: the best values of a column within each of those chosen before; where a level tells a name for
    the others, a row for them as well."""
    assert isinstance(op.body, tree.Levels)
    shared = work.share(relation)
    levels, keys = op.body.levels, list[tree.Named]()
    bests: list[Relation] = []  # of each level
    chains: list[Relation] = []  # of what is chosen up to each level, a value and its measure for each
    for level in levels:
        keys.append(level.of)
        best, own, measured = _level(work, level, keys, names, work.again(shared))
        bests.append(work.share(best))
        best = work.again(bests[-1])
        value, total = best.fields[len(keys) - 1 :]
        mine = (Field(own, value.id, value.type), Field(measured, total.id, total.type))
        if not chains:
            chains.append(work.share(Relation(best.plan, mine, best.groups)))
            continue
        before = work.again(chains[-1])
        joined = Join(before.cut(), best.cut(), "inner", _pairs(before, best))
        chains.append(work.share(Relation(joined, (*before.fields, *mine), before.groups)))
    rest = [_others(work, levels, place, names, shared, bests, chains)
            for place, level in enumerate(levels) if level.others is not None]  # fmt: skip
    whole = work.again(chains[-1])
    if not rest:
        return whole
    numbered = [_by_place(each) for each in (whole, *rest)]
    found = united(work, numbered, False, "")
    groups = tuple(each.ref for each in found.fields[len(whole.fields) :])
    fields = tuple(Field(old.name, new.id, new.type) for old, new in zip(whole.fields, found.fields, strict=False))
    return Relation(found.plan, fields, groups)


def _pairs(chosen: Relation, best: Relation) -> list[tuple[Expression, Expression]]:
    """Of the same part, and of the same values on all levels that both have."""
    values = [(one.ref, other.ref) for one, other in zip(chosen.fields[::2], best.fields, strict=False)]
    return [*zip(chosen.groups, best.groups, strict=True), *values]


def _by_place(relation: Relation) -> Relation:
    """Called by their places, so that columns of one name are not taken for one another; the parts behind."""
    columns = [*(each.ref for each in relation.fields), *relation.groups]
    return Relation(relation.plan, tuple(Field(f"#{index}", each.id, each.type) for index, each in enumerate(columns)))


def _others(
    work: Work,
    levels: Sequence[tree.Nested],
    place: int,
    names: Names,
    shared: Relation,
    bests: Sequence[Relation],
    chains: Sequence[Relation],
) -> Relation:
    """For what is chosen before a level a row of all that the level does not choose. It is measured on that level, and
    on later ones that tell a name as well; on the rest of them it has nothing."""
    keys = [each.of for each in levels[: place + 1]]
    rows, best = work.again(shared), work.again(bests[place])
    pairs = [(work.bind(each.expr, names, Rows.of(rows)), other.ref)
             for each, other in zip(keys, best.fields, strict=False)]  # fmt: skip
    pairs += list(zip(rows.groups, best.groups, strict=True))
    rest = rows.over(Join(rows.cut(), best.cut(), "leftanti", list(pairs)))
    summary = Summary(work, names, rest)
    summary.by(keys[:-1])
    named = [index for index in range(place, len(levels)) if levels[index].others is not None]
    at = levels[place].at
    summary.add(tree.Named(tree.Call("count", [], at=at, end=at), at=at, end=at))
    for index in named:
        summary.add(tree.Named(levels[index].by.expr, at=at, end=at))
    found = summary.relation_of()
    count, *totals = found.fields[place:]
    found = found.over(Filter(found.plan, apply(">", [count.ref, Value("long", 0)], at)))
    made: list[tuple[Field, Expression]] = []
    if place:
        before = work.again(chains[place - 1])
        joined = Join(before.cut(), found.cut(), "inner", _pairs(before, found))
        found = Relation(joined, (*before.fields, *found.fields), before.groups)
        made += [(each, each.ref) for each in before.fields]
    shown = chains[-1].fields
    for index in range(place, len(levels)):
        told = levels[index].others
        value, total = shown[2 * index : 2 * index + 2]
        label: Expression = Value(value.type, "" if value.type == "string" else None)
        measure: Expression = Value(total.type, None)
        if told is not None:
            label = convert(work.bind(told, names, Rows()), value.type, told.at)
            measure = convert(totals[named.index(index)].ref, total.type, told.at)
        made += [(work.field(value.name, value.type), label), (work.field(total.name, total.type), measure)]
    return project(found, made)


def _level(
    work: Work, level: tree.Nested, keys: Sequence[tree.Named], names: Names, rows: Relation
) -> tuple[Relation, str, str]:
    """The values of a level within those of the levels before, with what they are measured by; how the last key and the
    measure are called."""
    summary = Summary(work, names, rows)
    summary.by(keys)
    summary.add(level.by)
    found = summary.relation_of()
    [named] = parts(work, level.of, names, Rows.of(rows))
    own = named.name or "Column1"
    measured = level.by.names[0] if level.by.names else f"aggregated_{own}"
    if level.count is not None:
        total = found.fields[len(keys)]
        outer = tuple(each.ref for each in found.fields[: len(keys) - 1])
        descending = level.descending is not False
        grouped = Relation(found.plan, found.fields, (*rows.groups, *outer))
        nulls_first = not descending if level.nulls_first is None else level.nulls_first
        grouped = sorted_(grouped, [SortKey(total.ref, descending, nulls_first)])
        found = first(work, grouped, counted(work, level.count, names, level.at))
    return Relation(found.plan, found.fields[: len(keys) + 1], rows.groups), own, measured
