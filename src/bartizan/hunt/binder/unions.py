"""union, and what joins the rows of several tables.

Columns of one name and one type are one. Of one name and several types each has its type behind its name, as
documented; but where the name comes with one type from the first two tables that have it, Microsoft's binder has that
column alone under the plain name (`ColumnMap.Add` of Kusto.Language keeps no other type behind a list). So it is here,
unless the query asks for one of them by its documented name. Values of the other types are shown where the type can
hold them; where it cannot hold all, the answer has a note that says so.

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
from bartizan.hunt.binder.work import UnknownTable, Work, apply, convert
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import (
    Column,
    Expression,
    Filter,
    Id,
    Limit,
    Out,
    Plan,
    Project,
    Ref,
    Sort,
    Union,
    Value,
)
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
_NUMBERS = frozenset({"bool", "int", "long", "real", "decimal"})
_READ = frozenset({"string", "dynamic"})  # whose values may be those of any type
MAX_NOTE_CHARS = 300
TABLES_TOLD = 3  # of a note


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
    for field_id, text in _notes(legs, kinds, goes, made):
        work.notes.append((field_id, text))
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
        alone = len(distinct) == 1 or (
            found[0] == found[1] and not any(work.says(f"{name}_{kind}") for kind in distinct)
        )
        for kind in distinct:
            into = Key(name, found[0] if alone else kind)
            goes[Key(name, kind)] = Goes(name if alone else f"{name}_{kind}", into)
    return goes


def _holds(wanted: Kind, kind: Kind) -> bool:
    """Whether a column of the type can hold every value of the other."""
    return wanted in _ALL or kind in (wanted, "unknown") or kind in HOLDS.get(wanted, ())


def _readable(wanted: Kind, kind: Kind) -> bool:
    """Whether a value of the other type may be one of this type. A datetime is no number, whatever its ticks are."""
    return kind in _READ or {wanted, kind} <= _NUMBERS


def _shown(value: Expression, wanted: Scalar) -> Expression:
    """The value as another type, null where that would be another value."""
    if _holds(wanted, value.type):
        return convert(value, wanted, -1)
    if not _readable(wanted, value.type):
        return Value(wanted, None)
    read = convert(value, wanted, -1)
    if value.type in _READ and wanted not in ("bool", "int", "long"):
        return read
    measure = "tostring" if value.type in _READ and wanted == "bool" else "todecimal"
    before, after = apply(measure, [value], -1), apply(measure, [read], -1)
    if measure == "tostring":
        before = apply("tolower", [before], -1)
    same = apply("==", [before, after], -1)
    if value.type == "string" and measure == "todecimal":  # hexadecimal digits, which no decimal has; below 0: wrapped
        same = apply("or", [apply(">=", [read, Value(wanted, 0)], -1), same], -1)
    return apply("iff", [same, read, Value(wanted, None)], -1)


def _notes(
    legs: Sequence[Relation], kinds: Sequence[dict[str, Kind]], goes: "dict[Key, Goes]", made: dict[Key, Field]
) -> list[tuple[Id, str]]:
    """Of each column in which values may be missing: its id, and what is to be said of it."""
    lost: dict[tuple[Key, bool], list[Key]] = {}
    for key, (_, into) in goes.items():
        if into != key and not _holds(into.kind, key.kind):
            lost.setdefault((into, _readable(into.kind, key.kind)), []).append(key)
    notes: list[tuple[Id, str]] = []
    for (into, readable), keys in lost.items():
        others = {each.kind for each in keys}
        tables = dict.fromkeys(leg.source for leg, own in zip(legs, kinds, strict=True) if own.get(into.name) in others)
        notes.append((made[into].id, _note(into, readable, keys, list(tables))))
    return notes


def _note(into: Key, readable: bool, lost: Sequence[Key], tables: Sequence[str]) -> str:
    types = f"type{'s' if len(lost) > 1 else ''} {', '.join(each.kind for each in lost)}"
    said = f"shown where they can be read as {into.kind}" if readable else f"not shown beside those of type {into.kind}"
    hint = f"name {into.name}_{lost[0].kind} in the query to see all of them."
    of = ""
    if all(tables):
        more = f" and {len(tables) - TABLES_TOLD} more" if len(tables) > TABLES_TOLD else ""
        of = f"of table{'s' if len(tables) > 1 else ''} {', '.join(tables[:TABLES_TOLD])}{more} "
    text = f"{into.name}: {of}the values of {types} are {said}; {hint}"
    if len(text) > MAX_NOTE_CHARS:
        text = text.replace(of, "", 1)
    return text if len(text) <= MAX_NOTE_CHARS else text[: MAX_NOTE_CHARS - 1] + "…"


def _place(work: Work, leg: Relation, into: dict[str, Field]) -> tuple[dict[Id, Id], list[Column]]:
    """Where the columns of a table go, result to table, and those that must be made because the type is another."""
    place: dict[Id, Id] = {}
    more: list[Column] = []
    for each in leg.fields:
        field = into.get(each.name)
        if field is None:
            continue
        if field.type != each.type:
            more.append(Column(work.id(), _shown(each.ref, field.type)))
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
