"""Expressions: names become columns and constants, operators and calls become declared functions with typed arguments.

Source: Kusto Query Language, "Scalar operators", "String operators", "Dynamic data type", "in operator".
"""

from collections.abc import Callable
from typing import Any

from bartizan.hunt import tree
from bartizan.hunt.binder import calls
from bartizan.hunt.binder.naming import bare
from bartizan.hunt.binder.scope import UNKNOWN, Field, FunctionOf, Later, Names, Relation, Rows, ScalarOf
from bartizan.hunt.binder.work import Work, apply, convert, single
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import APART, TOGETHER, WITHIN, choose
from bartizan.hunt.plan import (
    Aggregate,
    Column,
    Expand,
    Expression,
    Lookup,
    Path,
    Project,
    Ref,
    Summarize,
    Unnested,
    Value,
    size,
)
from bartizan.hunt.tree import Scalar
from bartizan.hunt.types import NUMBERS

Binding = Callable[[Work, Any, Names, Rows], Expression]
# What may be tested for equality with another type: as what.
_AS: tuple[tuple[Scalar, Scalar, tuple[Scalar, ...]], ...] = (
    ("bool", "long", ("int", "long")),
    ("string", "guid", ("guid",)),
    ("int", "string", ("string",)),
    ("long", "string", ("string",)),
    ("real", "string", ("string",)),
    ("decimal", "string", ("string",)),
    ("bool", "string", ("string",)),
    ("datetime", "string", ("string",)),
    ("timespan", "string", ("string",)),
)


def bind(work: Work, node: tree.Expr, names: Names, rows: Rows) -> Expression:
    """A scalar. KqlError, bind, for what is not known or has the wrong type."""
    work.spend(node.at)
    method = _BINDINGS.get(type(node))
    if method is None:
        raise KqlError("bind", f"a {type(node).__name__.lower()} cannot stand here; expected a value", node.at)
    return method(work, node, names, rows)


def typed(work: Work, node: tree.Expr, names: Names, rows: Rows, wanted: Scalar) -> Expression:
    """A scalar of this type; dynamics are converted."""
    found = bind(work, node, names, rows)
    if found.type not in (wanted, "dynamic", "int" if wanted in ("long", "real") else wanted):
        numbers = found.type in ("int", "long", "real", "decimal") and wanted in ("real", "decimal")
        if not numbers and not (isinstance(found, Value) and found.value is None):
            raise KqlError("bind", f"expected a value of type {wanted}, not {found.type}", node.at)
    return convert(found, wanted, node.at)


def condition(work: Work, node: tree.Expr, names: Names, rows: Rows) -> Expression:
    """A predicate."""
    found = bind(work, node, names, rows)
    if found.type not in ("bool", "dynamic", "int", "long"):
        raise KqlError("bind", f"a condition must be a bool, not {found.type}", node.at)
    return convert(found, "bool", node.at)


# ------------------------------------------------------------------ constants, names, paths


def _constant(work: Work, node: tree.Constant, names: Names, rows: Rows) -> Expression:
    return Value(node.type, node.value if node.value is not None or node.type != "string" else "")


def _name(work: Work, node: tree.Name, names: Names, rows: Rows) -> Expression:
    column = rows.fields.get(node.name)
    if column is not None:
        return column.ref
    variable = names.find(node.name)
    if variable is None:
        if rows.open:
            work.guessed = True
            return UNKNOWN
        raise unknown(node.name, rows, node.at)
    if isinstance(variable, Later | FunctionOf):
        found = work.whole(tree.Pipe(tree.Source(node), at=node.at, end=node.end), names, rows)
        if not isinstance(found, Relation):
            return found
    if isinstance(variable, ScalarOf):
        work.spend(node.at, size(variable.expression))
        return variable.expression
    what = "a function" if isinstance(variable, FunctionOf) else "a table"
    raise KqlError("bind", f"'{node.name}' is {what}; a value is expected here", node.at)


def unknown(name: str, rows: Rows, at: int) -> KqlError:
    """No column or variable is called so."""
    same = next((each for each in rows.fields if each.lower() == name.lower()), "")
    hint = f"; did you mean '{same}'?" if same else ""
    return KqlError("bind", f"there is no column or variable '{name}' here{hint}", at)


def _path(work: Work, node: "tree.Member | tree.Index", names: Names, rows: Rows) -> Expression:
    steps: list[str | int | Expression] = []
    at: tree.Expr = node
    while True:
        if isinstance(at, tree.Member):
            steps.append(at.name)
            at = at.of
        elif isinstance(at, tree.Index):
            steps.append(_step(bind(work, at.key, names, rows), at.key.at))
            at = at.of
        elif isinstance(at, tree.Bracketed) and isinstance(bare(at), tree.Member | tree.Index):
            at = at.of
        else:
            break
    steps.reverse()
    if isinstance(at, tree.Name) and at.name in rows.sides:
        side = rows.sides[at.name]
        first = steps.pop(0)
        column = side.get(first) if isinstance(first, str) else None
        if column is None:
            raise KqlError("bind", f"the {at.name[1:]} side has no column '{first}'", node.at)
        of: Expression = column.ref
    elif isinstance(at, tree.Call) and calls.is_tuple(at, names) and isinstance(steps[0], int):
        parts, which = calls.tuple_of(work, at, names, rows), steps.pop(0)
        if not isinstance(which, int) or not 0 <= which < len(parts):
            raise KqlError("bind", f"{at.name}() gives {len(parts)} values, counted from 0", node.at)
        of = parts[which][1]
    else:
        of = bind(work, at, names, rows)
    if not steps:
        return of
    if of.type != "dynamic":
        raise KqlError("bind", f"a value of type {of.type} has no members; only a dynamic has", node.at)
    if isinstance(of, Path):
        steps, of = [*of.steps, *steps], of.of
    return Path("dynamic", of, steps, 1 + size(of, *(each for each in steps if not isinstance(each, str | int))))


def _step(key: Expression, at: int) -> "str | int | Expression":
    if isinstance(key, Value) and key.type in ("string", "int", "long") and key.value is not None:
        return key.value  # type: ignore[no-any-return]
    if key.type not in ("string", "int", "long", "dynamic"):
        raise KqlError("bind", f"a key must be a string or a whole number, not {key.type}", at)
    return key


# ------------------------------------------------------------------ operators


def _unary(work: Work, node: tree.Unary, names: Names, rows: Rows) -> Expression:
    of = bind(work, node.of, names, rows)
    return of if node.op == "+" and of.type != "dynamic" else apply(node.op, [of], node.at, f"'{node.op}'")


def _binary(work: Work, node: tree.Binary, names: Names, rows: Rows) -> Expression:
    if node.op in ("and", "or"):
        return _logic(work, node, names, rows)
    if isinstance(node.left, tree.Star):
        return _any_column(work, node, names, rows)
    left, right = bind(work, node.left, names, rows), bind(work, node.right, names, rows)
    if node.op in ("==", "!="):
        left, right = alike(left, right)
    return apply(node.op, [left, right], node.at, f"'{node.op}'")


def _any_column(work: Work, node: tree.Binary, names: Names, rows: Rows) -> Expression:
    """`* has "x"`: in any column that may be compared so. What lies within one term or text is looked for once a row,
    in all texts together: hundreds of columns would each have a search of their own to be made and run."""
    right = bind(work, node.right, names, rows)
    within = node.op in WITHIN and isinstance(right, Value) and APART not in str(right.value)
    parts: list[Expression] = []
    for each in rows.all:
        left, other = alike(each.ref, right) if node.op in ("==", "!=") else (each.ref, right)
        if choose("scalar", node.op, [left.type, other.type]) is not None:
            work.spend(node.at, size(left, other))
            parts.append(left if within else apply(node.op, [left, other], node.at))
    if not parts:
        return Value("bool", False)
    if within:
        return apply(node.op, [apply(TOGETHER, parts, node.at), right], node.at)
    return parts[0] if len(parts) == 1 else apply("or", parts, node.at)


def alike(left: Expression, right: Expression) -> tuple[Expression, Expression]:
    """Sides of a comparison: bool and numbers compare as numbers, a null takes the other's type."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Value) and one.value is None and one.type != other.type and other.type != "string":
            empty = Value(other.type, None)
            return (empty, other) if one is left else (other, empty)
    for given, wanted, others in _AS:
        if left.type == given and right.type in others:
            return convert(left, wanted, -1), right
        if right.type == given and left.type in others:
            return left, convert(right, wanted, -1)
    return left, right


def _logic(work: Work, node: tree.Binary, names: Names, rows: Rows) -> Expression:
    """A chain of one operator becomes one call."""
    parts: list[tree.Expr] = []
    stack: list[tree.Expr] = [node]
    while stack:
        each = stack.pop()
        if isinstance(each, tree.Binary) and each.op == node.op:
            stack += [each.right, each.left]
        else:
            parts.append(each)
    return apply(node.op, [condition(work, each, names, rows) for each in parts], node.at, f"'{node.op}'")


def _between(work: Work, node: tree.Between, names: Names, rows: Rows) -> Expression:
    args = [bind(work, each, names, rows) for each in (node.of, node.low, node.high)]
    return apply("!between" if node.negated else "between", args, node.at, "'between'")


def _in(work: Work, node: tree.In, names: Names, rows: Rows) -> Expression:
    of = bind(work, node.of, names, rows)
    if len(node.items) == 1:
        found = calls.bound_any(work, node.items[0], names, rows)
        if isinstance(found, Relation):
            return _in_table(work, node, of, found)
        items = [found]
    else:
        items = [calls.scalar_any(work, each, names, rows) for each in node.items]
    if node.op in ("has_any", "has_all"):
        return apply(node.op, [of, *items], node.at, f"'{node.op}'")
    lists: list[list[Expression]] = [[each] for each in items if each.type == "dynamic"]
    plain: dict[str, list[Expression]] = {}
    for each in items:
        if each.type != "dynamic":
            plain.setdefault("number" if each.type in NUMBERS else each.type, []).append(each)
    return _in_any(work, node, of, [*plain.values(), *lists])


def _in_any(work: Work, node: tree.In, of: Expression, lists: list[list[Expression]]) -> Expression:
    """In any of the lists: those that are dynamic, and of the other items those of each type."""
    if len(lists) < 2:
        return _in_list(node.op, of, lists[0] if lists else [], node.at)
    work.spend(node.at, size(of) * (len(lists) - 1))
    found = apply("or", [_in_list(node.op.lstrip("!"), of, each, node.at) for each in lists], node.at)
    return apply("not", [found], node.at) if node.op.startswith("!") else found


def _in_list(name: str, of: Expression, items: list[Expression], at: int) -> Expression:
    if items and items[0].type != "dynamic":
        items = [alike(of, each)[1] for each in items]
        of = alike(of, items[0])[0]
        if of.type == "dynamic":
            of = convert(of, items[0].type, at)
    return apply(name, [of, *items], at, f"'{name}'")


def _in_table(work: Work, node: tree.In, of: Expression, found: Relation) -> Expression:
    """The first column of a table is the list; arrays in it are taken apart."""
    if not found.fields:
        raise KqlError("bind", f"'{node.op}' of a table without columns", node.at)
    first, plan = found.fields[0], found.plan
    if node.op in ("has_any", "has_all"):
        chosen = choose("aggregate", "make_list", [first.type])
        assert chosen is not None
        listed = Aggregate(work.id(), "dynamic", chosen.function.key, [first.ref])
        table = Relation(Summarize(plan, [], [listed]), (Field(first.name, listed.id, "dynamic"),))
        return apply(node.op, [of, single(work, table, node.at)], node.at)
    fold = node.op.endswith("~")
    if first.type == "dynamic":
        wanted = "string" if of.type == "dynamic" or fold else of.type
        part = Unnested(work.id(), wanted, first.ref)
        plan = Expand(plan, [part])
        first = Field(first.name, part.id, wanted)
    if of.type == "dynamic":
        of = convert(of, first.type, node.at)
    one, other = alike(of, Ref(first.type, first.id))
    chosen = choose("scalar", "==", [one.type, other.type])
    if chosen is None:
        raise KqlError("bind", f"'{node.op}': a {of.type} is not comparable with {first.type}", node.at)
    of, other = convert(one, chosen.types[0], node.at), convert(other, chosen.types[1], node.at)
    key = work.field(first.name, other.type)
    shared = work.share(Relation(Project(plan, [Column(key.id, other)]), (key,)))
    looked: Expression = Lookup("bool", of, shared.plan, fold, 1 + size(of))
    return apply("not", [looked], node.at) if node.op.startswith("!") else looked


# ------------------------------------------------------------------ the rest


def _bracketed(work: Work, node: tree.Bracketed, names: Names, rows: Rows) -> Expression:
    return bind(work, node.of, names, rows)


def _sub(work: Work, node: tree.Sub, names: Names, rows: Rows) -> Expression:
    """A table where a value stands: its one cell."""
    found = work.whole(node.pipe, names, rows)
    return single(work, found, node.at) if isinstance(found, Relation) else found


_BINDINGS: dict[type, Binding] = {
    tree.Constant: _constant,
    tree.Name: _name,
    tree.Member: _path,
    tree.Index: _path,
    tree.Unary: _unary,
    tree.Binary: _binary,
    tree.Between: _between,
    tree.In: _in,
    tree.Bracketed: _bracketed,
    tree.Sub: _sub,
    tree.Call: calls.call,
}
