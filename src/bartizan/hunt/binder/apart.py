"""partition as its legacy strategy does it: the sub-pipe bound for each part by itself, and all of them united. So it
may read other tables, the part by a name of `as`, and the value of the part's key.

How many parts there are is asked of the data.

Source: Kusto Query Language, "partition operator" (legacy strategy).
"""

from bartizan.hunt import tree
from bartizan.hunt.binder.calls import aggregate_of
from bartizan.hunt.binder.plugins import looked_at
from bartizan.hunt.binder.scope import Field, Names, Relation, Rows, ScalarOf
from bartizan.hunt.binder.unions import united
from bartizan.hunt.binder.work import Work, apply, project, single
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import Aggregate, Filter, Number, Sort, SortKey, Summarize, Value, Windowed

MOST_PARTS = 64  # as the engine has it


def each(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    """KqlError, run: there are more than `MOST_PARTS` parts."""
    assert isinstance(op.body, tree.Branch)
    by, pipe = op.body.by[0], op.body.pipes[0]
    key = work.bind(by, names, Rows.of(relation))
    told = work.field("#key", key.type)
    keyed = project(relation, [(told, key), *((field, field.ref) for field in relation.fields)])
    rank = Windowed(work.id(), "long", "row_rank_dense", [told.ref])
    place = Field("#part", rank.id, "long")
    numbered = keyed.over(Number(Sort(keyed.plan, [SortKey(told.ref, False, True)]), [rank]), (place, *keyed.fields))
    shared = work.share(numbered, once=True)
    many = _many(work, work.again(shared), op.at)
    legs = []
    for number in range(1, max(1, many) + 1):
        rows = work.again(shared)
        mine = Filter(rows.plan, apply("==", [rows.fields[0].ref, Value("long", number)], op.at))
        if pipe.bracketed:
            legs.append(work.pipe(pipe, names, rows.over(mine, rows.fields[2:])))
            continue
        known = names
        if isinstance(by, tree.Name):
            known = names.with_(by.name, ScalarOf(single(work, Relation(mine, (rows.fields[1],)), op.at)))
        legs.append(work.pipe(pipe, known, None))
    if not many:  # the one that tells the columns
        legs = [each.over(Filter(each.plan, Value("bool", False))) for each in legs]
    return united(work, legs, False, "")


def _many(work: Work, numbered: Relation, at: int) -> int:
    place = numbered.fields[0]
    into: list[Aggregate] = []
    aggregate_of(work, "max", [place.ref], into, at)
    counted = Summarize(numbered.plan, [], into)
    [[found]] = looked_at(work, Relation(counted, (Field("", into[0].id, "long"),)), at)
    if (found or 0) > MOST_PARTS:
        told = f"partition of this sub-query has at most {MOST_PARTS} parts, and the data has {found:,}"
        raise KqlError("run", told, at)
    return found or 0
