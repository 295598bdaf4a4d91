"""join, lookup.

Of two columns of one name the right one gets a number.

Source: Kusto Query Language, "join operator", "lookup operator".
"""

from collections.abc import Sequence
from typing import get_args

from bartizan.hunt import tree
from bartizan.hunt.binder.expressions import alike
from bartizan.hunt.binder.naming import Taken, bare
from bartizan.hunt.binder.order import first
from bartizan.hunt.binder.scope import Field, Names, Relation, Rows
from bartizan.hunt.binder.work import Work, convert, parted, unfit
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import choose
from bartizan.hunt.plan import Expression, Join, JoinKind, Value
from bartizan.hunt.types import NUMBERS

KINDS = {"anti": "leftanti", "leftantisemi": "leftanti", "rightantisemi": "rightanti", "semi": "leftsemi"}
_DEFAULT = "innerunique"
_OF_PARTS = ("inner", _DEFAULT, "leftouter", "leftsemi", "leftanti")  # what a join within partition may be


def option(op: tree.Operator, name: str, default: str) -> str:
    """A word after `name=`."""
    given = op.options.get(name)
    if given is None:
        return default
    given = bare(given)  # type: ignore[assignment]
    if isinstance(given, tree.Name):
        return given.name
    if isinstance(given, tree.Constant):
        return str(given.value)
    raise KqlError("bind", f"{name}= takes a word", op.at)


def join(work: Work, op: tree.Operator, names: Names, relation: Relation) -> Relation:
    assert isinstance(op.body, tree.Join)
    lookup = op.name == "lookup"
    told = option(op, "kind", "leftouter" if lookup else _DEFAULT).lower()
    kind = KINDS.get(told, told)
    if kind not in get_args(JoinKind) or (lookup and kind not in ("leftouter", "inner")):
        raise KqlError("bind", f"there is no kind '{told}' of {op.name}", op.at)
    right = work.whole(op.body.right, names, Rows())
    if not isinstance(right, Relation):
        raise KqlError("bind", f"{op.name} needs a table", op.body.right.at)
    if relation.groups and kind not in _OF_PARTS:
        told = f"a join of kind {kind} within mv-apply or partition is not supported"
        raise KqlError("plan", f"{told}: rows of the right side alone belong to no part", op.at)
    on, same = _conditions(work, op.body.on, names, relation, right, op.at)
    if relation.groups and kind == _DEFAULT:
        relation, kind = _one_each(work, relation, [one for one, _ in on]), "inner"
    plan = Join(relation.cut(), right.cut(), kind, [(one, other) for one, other in on])  # type: ignore[arg-type]
    return _joined(relation, right, plan, same if lookup else set())


def _joined(left: Relation, right: Relation, plan: Join, dropped: set[str]) -> Relation:
    """Names of both sides. A key of lookup comes from the left alone."""
    if plan.kind in ("leftsemi", "leftanti"):
        return left.over(plan, ordered=False)
    if plan.kind in ("rightsemi", "rightanti"):
        return right.over(plan, ordered=False)
    others = [each for each in right.fields if each.name not in dropped]
    mine = {each.name for each in left.fields}
    taken = Taken(mine)
    taken.names |= {each.name for each in others}
    named = [(taken.free(each.name) if each.name in mine else each.name, each) for each in others]
    fields = (*left.fields, *(Field(name, each.id, each.type) for name, each in named))
    return Relation(plan, fields, left.groups, left.source, False, left.ingested, open=left.open or right.open)


def _one_each(work: Work, relation: Relation, keys: Sequence[Expression]) -> Relation:
    """Of each part one row for each value of the keys."""
    return relation.over(first(work, parted(work, relation, keys), Value("long", 1)).plan)


def _conditions(
    work: Work, on: Sequence[tree.Expr], names: Names, left: Relation, right: Relation, at: int
) -> tuple[list[tuple[Expression, Expression]], set[str]]:
    """Pairs of equal values, and the right columns that are keys themselves."""
    if not on:
        raise KqlError("bind", "a join needs on, and what is equal on both sides", at)
    pairs: list[tuple[Expression, Expression]] = []
    keys: set[str] = set()
    sides = Rows(sides={"$left": left.by_name(), "$right": right.by_name()})
    waiting = list(on)
    while waiting:
        node = bare(waiting.pop(0))
        if isinstance(node, tree.Binary) and node.op == "and":
            waiting = [node.left, node.right, *waiting]
            continue
        if isinstance(node, tree.Name):
            one, other = left.by_name().get(node.name), right.by_name().get(node.name)
            if one is None or other is None:
                side = "left" if one is None else "right"
                raise KqlError("bind", f"the {side} side has no column '{node.name}'", node.at)
            keys.add(other.name)
            pairs.append(_pair(one.ref, other.ref, node.at))
            continue
        if not isinstance(node, tree.Binary) or node.op != "==":
            raise KqlError("bind", "a condition of a join is a name or $left.a == $right.b", node.at)
        first, second = work.bind(node.left, names, sides), work.bind(node.right, names, sides)
        if _of(first, right) or _of(second, left):
            first, second = second, first
        keys |= {each.name for each in right.fields if each.ref == second}
        pairs.append(_pair(first, second, node.at))
    return pairs, keys


def _of(one: Expression, side: Relation) -> bool:
    from bartizan.hunt.binder.columns import ids

    return bool(ids([one]) & {each.id for each in side.fields})


def _pair(one: Expression, other: Expression, at: int) -> tuple[Expression, Expression]:
    types = {one.type, other.type}
    if len(types) > 1 and not types <= set(NUMBERS) and "dynamic" not in types:
        told = f"a join of a {one.type} with a {other.type} finds nothing in common"
        raise KqlError("bind", f"{told}; convert one of them first", at)
    one, other = alike(one, other)
    if one.type == other.type == "dynamic":
        return convert(one, "string", at), convert(other, "string", at)
    chosen = choose("scalar", "==", [one.type, other.type])
    if chosen is None:
        raise unfit("scalar", "==", [one, other], at, "a condition of a join")
    return convert(one, chosen.types[0], at), convert(other, chosen.types[1], at)
