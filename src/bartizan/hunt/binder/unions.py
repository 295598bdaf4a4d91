"""union, and what joins the rows of several tables.

Columns of one name and one type are one. Of one name and several types each has its type behind its name, as
documented; but where the name comes with one type from the first two tables that have it, Microsoft's binder has that
column alone under the plain name (`ColumnMap.Add` of Kusto.Language keeps no other type behind a list). So it is here,
where this column can hold the values of the others and the query asks for none of them by its documented name.

Source: Kusto Query Language, "union operator"; microsoft/Kusto-Query-Language, Binder/ColumnMap.cs and
`UnifyColumnsWithSameNameAndType`.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

from bartizan.hunt import tree
from bartizan.hunt.binder.joins import option
from bartizan.hunt.binder.naming import Taken
from bartizan.hunt.binder.scope import UNKNOWN, Field, Names, Relation
from bartizan.hunt.binder.sources import sources
from bartizan.hunt.binder.work import UnknownTable, Work, convert
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import Column, Expression, Filter, Id, Limit, Out, Plan, Project, Ref, Sort, Union, Value
from bartizan.hunt.tree import Scalar

# `unknown`: of a column that follows from data of which there is none; all its values are null.
Kind: TypeAlias = "Scalar | Literal['unknown']"
# What holds every value of these too. A real has 53 bits, more than an int.
HOLDS: dict[str, frozenset[str]] = {
    "long": frozenset({"int"}),
    "real": frozenset({"int"}),
    "decimal": frozenset({"int", "long"}),
}
_ALL = frozenset({"string", "dynamic", "unknown"})  # hold the values of all types


class Key(NamedTuple):
    """A column of the result."""

    name: str
    kind: Kind

    @property
    def type(self) -> Scalar:
        return "dynamic" if self.kind == "unknown" else self.kind


def union(work: Work, op: tree.Operator, names: Names, relation: Relation | None) -> Relation:
    assert isinstance(op.body, tree.Union)
    if relation is not None and relation.groups:
        raise KqlError("plan", "union within mv-apply or partition is not supported", op.at)
    fuzzy = option(op, "isfuzzy", "false").lower() == "true"
    legs = [] if relation is None else [relation]
    failed: KqlError | None = None
    for each in op.body.tables:
        try:
            legs += sources(work, each, names)
        except UnknownTable as fault:
            if not fuzzy:
                raise
            failed = fault
    if not legs:
        raise failed or KqlError("bind", "union needs a table", op.at)
    kind = option(op, "kind", "outer").lower()
    if kind not in ("outer", "inner"):
        raise KqlError("bind", f"there is no kind '{kind}' of union", op.at)
    told = option(op, "withsource", "") or option(op, "with_source", "")
    return united(work, legs, kind == "inner", told)


def united(work: Work, legs: Sequence[Relation], inner: bool, told: str) -> Relation:
    """All rows of all. `told`: the column that says whose a row is."""
    kinds = [{each.name: _kind(work, leg, each) for each in leg.fields} for leg in legs]
    if inner:
        kept = set(kinds[0]).intersection(*kinds[1:])
        kinds = [{name: kind for name, kind in each.items() if name in kept} for each in kinds]
    goes = _columns(work, kinds)
    taken = Taken()
    made: dict[Key, Field] = {}
    for key, (name, into) in goes.items():
        if into == key:
            made[key] = work.field(taken.free(name), key.type)
    source = work.field(told, "string") if told else None
    ingested = Ref("datetime", work.id()) if all(leg.ingested is not None for leg in legs) else None
    inputs: list[Plan] = []
    places: list[dict[Id, Id]] = []
    for index, (leg, own) in enumerate(zip(legs, kinds, strict=True)):
        place, more = _place(work, leg, {name: made[goes[Key(name, kind)].into] for name, kind in own.items()})
        if source is not None:
            more.append(Column(work.id(), Value("string", leg.source or f"union_arg{index}")))
            place[source.id] = more[-1].id
        if ingested is not None and leg.ingested is not None:
            place[ingested.id] = leg.ingested.id
        inputs.append(Project(leg.plan, [*_unique(leg), *more]) if more else leg.plan)
        places.append(place)
    shown = [*([] if source is None else [source]), *made.values()]
    outs = [Out(each.id, each.type) for each in shown]
    if ingested is not None:
        outs.append(Out(ingested.id, "datetime"))
    unknown = any(leg.open for leg in legs)
    return Relation(Union(outs, inputs, places), tuple(shown), (), "", False, ingested, open=unknown)


class Goes(NamedTuple):
    """The name that a column has in the result, and whose values stand in it."""

    name: str
    into: Key


def _columns(work: Work, kinds: Sequence[dict[str, Kind]]) -> dict[Key, Goes]:
    """Where the columns of each name and kind go, in the order of the result."""
    given: dict[str, list[Kind]] = {}
    for leg in kinds:
        for name, kind in leg.items():
            given.setdefault(name, []).append(kind)
    goes: dict[Key, Goes] = {}
    for name, found in given.items():
        distinct = dict.fromkeys(found)
        alone = len(distinct) == 1 or (found[0] == found[1] and _holds(work, name, distinct))
        for kind in distinct:
            into = Key(name, found[0] if alone else kind)
            goes[Key(name, kind)] = Goes(name if alone else f"{name}_{kind}", into)
    return goes


def _holds(work: Work, name: str, kinds: dict[Kind, None]) -> bool:
    """Whether the first kind may stand for all, and nobody asks for one of them apart."""
    first, *others = kinds
    if any(work.says(f"{name}_{each}") for each in kinds):
        return False
    return first in _ALL or all(each == "unknown" or each in HOLDS.get(first, ()) for each in others)


def _place(work: Work, leg: Relation, into: dict[str, Field]) -> tuple[dict[Id, Id], list[Column]]:
    """Where the columns of a table go, result to table, and those that must be made because the type is another."""
    place: dict[Id, Id] = {}
    more: list[Column] = []
    for each in leg.fields:
        field = into.get(each.name)
        if field is None:
            continue
        if field.type != each.type:
            more.append(Column(work.id(), convert(each.ref, field.type, -1)))
        place[field.id] = each.id if field.type == each.type else more[-1].id
    return place, more


def _unique(leg: Relation) -> list[Column]:
    """What a relation gives, each once."""
    given = {each.id: each for each in (*leg.hidden(), *(field.ref for field in leg.fields))}
    return [Column(each.id, each) for each in given.values()]


def _kind(work: Work, leg: Relation, field: Field) -> Kind:
    if not work.guessed:
        return field.type
    plan: Plan = leg.plan
    seen: Expression = field.ref
    while field.type == "dynamic" and isinstance(seen, Ref) and isinstance(plan, Filter | Limit | Sort | Project):
        if isinstance(plan, Project):
            wanted = seen.id
            seen = next((each.expression for each in plan.made if each.id == wanted), Value("dynamic", None))
            if seen is UNKNOWN:
                return "unknown"
        plan = plan.input
    return field.type
