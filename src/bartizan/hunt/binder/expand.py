"""mv-expand and mv-apply.

mv-apply numbers the rows, expands them, and does its sub-pipe group by group; the columns of the row come back by its
number where the sub-pipe has dropped them.

Source: Kusto Query Language, "mv-expand operator", "mv-apply operator".
"""

from msgspec.structs import replace

from bartizan.hunt import tree
from bartizan.hunt.binder.columns import numbered
from bartizan.hunt.binder.joins import option
from bartizan.hunt.binder.naming import Taken, bare, natural
from bartizan.hunt.binder.order import counted
from bartizan.hunt.binder.scope import Field, Names, Relation, Rows
from bartizan.hunt.binder.work import Work, convert
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import Column, Expand, Expression, Join, Number, Project, Ref, Unnested, Windowed
from bartizan.hunt.tree import Scalar


def mv_expand(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Expand)
    return _expanded(work, op, names, relation, drop=False)


def _index(op: tree.Operator) -> str:
    return option(op, "with_itemindex", "")


def _expanded(work: Work, op: tree.Operator, names: Names, relation: Relation, *, drop: bool) -> Relation:
    assert isinstance(op.body, tree.Expand)
    rows = Rows.collecting(relation)
    kind = option(op, "kind", option(op, "bagexpansion", "bag")).lower()
    if kind not in ("bag", "array"):
        raise KqlError("bind", f"there is no kind '{kind}' of mv-expand", op.at)
    fields = {each.name: each for each in relation.fields}
    taken, made = Taken(fields, fields), list[Unnested]()
    for each in op.body.columns:
        named = each.column
        value = work.bind(named.expr, names, rows)
        name = named.names[0] if named.names else natural(named.expr) or taken.column()
        type_: Scalar = each.type or "dynamic"
        part = Unnested(work.id(), type_, _dynamic(value, named.at), kind == "array")
        fields[name] = Field(name, part.id, type_)
        made.append(part)
    limit = None if op.body.limit is None else counted(work, op.body.limit, names, op.at)
    told = _index(op)
    index = work.field(told, "long") if told else None
    plan = Expand(numbered(work, relation, rows).plan, made, index.id if index else None, limit, drop)
    if index is not None:
        fields[told] = index
    return relation.over(plan, fields.values())


def _dynamic(value: Expression, at: int) -> Expression:
    """mv-expand of a string looks at it as one value."""
    return convert(value, "dynamic", at)


def mv_apply(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    """The row's columns, but for those that are expanded under their own name, then what the sub-pipe gives."""
    assert isinstance(op.body, tree.Expand)
    assert op.body.pipe is not None
    number = Windowed(work.id(), "long", "row_number", [])
    # The number must be among the columns that are shared.
    plan = Number(relation.cut(), [number])
    every = replace(relation, plan=plan, fields=(*relation.fields, Field("", number.id, "long")))
    shared = work.share(every, once=True)
    outer, inner = work.again(shared), work.again(shared)
    inner_id, outer_id = inner.fields[-1].ref, outer.fields[-1].ref
    begun = replace(inner, fields=inner.fields[:-1], groups=(*inner.groups, inner_id), ingested=None)
    expanded = _expanded(work, op, names, begun, drop=True)
    result = of_parts(work, op.body.pipe, names, expanded)
    expressions = [(each.column, bare(each.column.expr)) for each in op.body.columns]
    replaced = {inner.name for each, inner in expressions
                if isinstance(inner, tree.Name) and inner.name == (*each.names, inner.name)[0]}  # fmt: skip
    kept = [each for each in outer.fields[:-1] if each.name not in replaced]
    same = {field.name: field.id for field in begun.fields}
    new = [each for each in result.fields if same.get(each.name) != each.id]
    # A column that the sub-pipe has made anew stands in the place of the row's.
    anew = {each.name: each for each in new}
    shown = {each.name: anew.get(each.name, each) for each in kept} | anew
    kept = [each for each in kept if each.name not in anew]
    hidden = [*outer.groups, *([] if outer.ingested is None else [outer.ingested])]
    left = Project(outer.plan, [Column(each.id, each) for each in _unique([*hidden, outer_id, *(f.ref for f in kept)])])
    given = [*(f.ref for f in new), result.groups[-1]]
    right = Project(result.plan, [Column(each.id, each) for each in _unique(given)])
    plan_ = Join(left, right, "inner", [(outer_id, result.groups[-1])])
    return replace(outer, plan=plan_, fields=tuple(shown.values()), source=relation.source, ordered=False)


def of_parts(work: Work, pipe: tree.Pipe, names: Names, parts_: Relation) -> Relation:
    """What a sub-pipe gives of all parts at once. KqlError, plan: rows that belong to none."""
    found = work.pipe(pipe, names, parts_)
    if len(found.groups) < len(parts_.groups):
        told = "rows that do not come from those of a part are not supported within mv-apply or partition"
        raise KqlError("plan", told, pipe.at)
    return found


def _unique(refs: list[Ref]) -> list[Ref]:
    return list({each.id: each for each in refs}.values())
