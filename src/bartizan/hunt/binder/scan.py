"""scan: steps that rows match one after another, each with a memory of the rows before.

Source: Kusto Query Language, "scan operator".
"""

from typing import Literal, cast

from bartizan.hunt import tree
from bartizan.hunt.binder.columns import ids
from bartizan.hunt.binder.expressions import condition, typed
from bartizan.hunt.binder.groups import parted_by
from bartizan.hunt.binder.joins import option
from bartizan.hunt.binder.order import keys, sorted_
from bartizan.hunt.binder.scope import Field, Names, Relation, Rows
from bartizan.hunt.binder.work import Work, convert, project
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import Expression, Held, Out, Scan, Stage, Value

MOST_STEPS = 32  # each is a level of the statement


def scan(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    """The source's columns, the declared ones, and the number of the match where a name for it is told. A step may
    assign to a column of the source as well."""
    body = op.body
    assert isinstance(body, tree.Scan)
    if any(each.optional for each in body.steps):
        raise KqlError("plan", "scan with optional steps is not supported", op.at)
    if not 1 <= len(body.steps) <= MOST_STEPS:
        raise KqlError("bind", f"scan has 1 to {MOST_STEPS} steps", op.at)
    told = option(op, "with_match_id", "")
    outer = relation.groups
    if body.partition:
        relation = parted_by(work, body.partition, names, relation)
    if body.keys:
        relation = sorted_(relation, keys(work, body.keys, names, Rows.of(relation)))
    extended, defaults = _declared(work, body, names, relation)
    memory, held = _memory(work, op, body, extended, defaults)
    rows = Rows(extended.by_name(), memory, all=extended.fields, groups=extended.groups, ingested=extended.ingested)
    assigned = {name for step in body.steps for each in step.assignments for name in each.names}
    outs = {each.name: work.field(each.name, each.type) for each in extended.fields
            if each.name in defaults or each.name in assigned}  # fmt: skip
    stages = [_stage(work, each, names, rows, extended, list(outs)) for each in body.steps]
    used = ids([part for each in stages for part in (each.condition, *each.made)])
    own = {field.id: outs[field.name].id for field in extended.fields if field.name in outs}
    kept = [Held(each.id, each.type, each.step, own.get(each.column, each.column), each.empty) for each in held
            if each.id in used]  # fmt: skip
    match = work.field(told, "long")
    declared = [Out(each.id, each.type) for each in outs.values()]
    plan = Scan(extended.plan, stages, kept, declared, match.id, list(relation.groups))
    fields = [*(outs.get(each.name, each) for each in extended.fields), *([match] if told else [])]
    if len({each.name for each in fields}) < len(fields):
        raise KqlError("bind", f"there are two columns '{told}'", op.at)
    return Relation(plan, tuple(fields), outer, relation.source, True, relation.ingested, open=relation.open)


def _declared(work: Work, body: tree.Scan, names: Names, relation: Relation) -> tuple[Relation, dict[str, Expression]]:
    """The rows with the declared columns as they begin; what each begins with."""
    defaults: dict[str, Expression] = {}
    for column, default in body.declared:
        type_ = column.type or "string"
        if column.name in defaults or column.name in relation.by_name():
            raise KqlError("bind", f"there are two columns '{column.name}'", column.at)
        begins = (
            Value(type_, "" if type_ == "string" else None) if default is None else work.bind(default, names, Rows())
        )
        defaults[column.name] = convert(begins, type_, column.at)
    made = [(each, each.ref) for each in relation.fields]
    own: list[tuple[Field, Expression]] = [(work.field(name, value.type), value) for name, value in defaults.items()]
    return project(relation, [*made, *own]), defaults


def _memory(
    work: Work, op: tree.Operator, body: tree.Scan, extended: Relation, defaults: dict[str, Expression]
) -> tuple[dict[str, dict[str, Field]], list[Held]]:
    """The columns that each step remembers, as expressions may call them."""
    memory: dict[str, dict[str, Field]] = {}
    held: list[Held] = []
    for index, step in enumerate(body.steps):
        if step.name in memory:
            raise KqlError("bind", f"there are two steps '{step.name}'", step.at)
        memory[step.name] = {}
        work.spend(step.at, len(extended.fields))
        for each in extended.fields:
            field = work.field(each.name, each.type)
            empty = defaults.get(each.name) or Value(each.type, "" if each.type == "string" else None)
            memory[step.name][each.name] = field
            held.append(Held(field.id, each.type, index, each.id, empty))
    return memory, held


def _stage(work: Work, step: tree.Step, names: Names, rows: Rows, extended: Relation, declared: list[str]) -> Stage:
    fields = extended.by_name()
    made: dict[str, Expression] = {name: fields[name].ref for name in declared}
    assigned: set[str] = set()
    for each in step.assignments:
        name = each.names[0]
        if name not in made or name in assigned:
            what = "is assigned twice" if name in assigned else "is no column here"
            raise KqlError("bind", f"'{name}' {what}", each.at)
        assigned.add(name)
        made[name] = typed(work, each.expr, names, rows, fields[name].type)
    output = cast(Literal["all", "last", "none"], step.output or "all")
    return Stage(condition(work, step.condition, names, rows), list(made.values()), output)
