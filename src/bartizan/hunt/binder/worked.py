"""Functions that no engine works out: the data's distinct arguments are looked at, each is worked out here, and the
results are joined to the rows.

So such a function costs another reading of what stands before it, and its arguments have to fit into memory. Rows that
come out otherwise when they are read again are an error, never a wrong value.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Any

import msgspec

from bartizan.hunt.binder.scope import Field, Relation, Rows, Worked
from bartizan.hunt.binder.work import Work, apply, convert, unfit
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import choose, known, of_key
from bartizan.hunt.plan import (
    Column,
    Expression,
    Filter,
    Join,
    Limit,
    Number,
    Out,
    Project,
    Ref,
    Sort,
    SortKey,
    Summarize,
    Value,
    Windowed,
    size,
)
from bartizan.hunt.plan import Rows as Values
from bartizan.hunt.tree import Scalar

MOST_CALLS = 50_000  # combinations of arguments of one call
MOST_BYTES = 16 * 2**20  # of the results of one call


def is_worked(name: str) -> bool:
    return any(each.work is not None for each in known("scalar", name))


def of(work: Work, name: str, args: Sequence[Expression], rows: Rows, at: int) -> Expression:
    """The value of constants, or a column that stands for it."""
    from bartizan.hunt.binder.columns import ids

    chosen = choose("scalar", name, [each.type for each in args])
    if chosen is None:
        raise unfit("scalar", name, args, at)
    given = [convert(each, type_, at) for each, type_ in zip(args, chosen.types, strict=True)]
    work.spend(at, size(*given))
    if all(isinstance(each, Value) for each in given):
        values = [each.value for each in given if isinstance(each, Value)]
        return Value(chosen.type, _result(chosen.function.key, chosen.type, values, at))
    if rows.worked is None and not ids(given) and work.ask is not None:
        return Value(chosen.type, _result(chosen.function.key, chosen.type, _fixed(work, given, at), at))
    if rows.worked is None:
        raise KqlError("plan", f"{name}() is supported of constants here; extend a column by it before", at)
    made = Worked(work.id(), chosen.type, chosen.function.key, given, at)
    rows.worked.append(made)
    return Ref(made.type, made.id)


def _fixed(work: Work, given: Sequence[Expression], at: int) -> list[Any]:
    """The values of expressions that read no column: the engine is asked."""
    from bartizan.hunt.binder.prune import prune

    assert work.ask is not None
    fields = [Field("", work.id(), key.type) for key in (_key(each, at) for each in given)]
    made = [Column(field.id, _key(each, at)) for field, each in zip(fields, given, strict=True)]
    one = Values([Out(work.id(), "long")], [[Value("long", 0)]])
    [row] = work.ask(prune(Project(one, made), fields, work.deadline))
    return [_read(value, each.type) for value, each in zip(row, given, strict=True)]


def _result(key: str, type_: Scalar, values: Sequence[Any], at: int) -> Any:
    function = of_key(key)
    assert function.work is not None
    found = None if any(each is None for each in values) else function.work(*values)
    if found is None and type_ == "string":
        return ""
    if isinstance(found, float) and type_ == "dynamic" and not isfinite(found):
        return None
    return found


def joined(work: Work, relation: Relation, calls: Sequence[Worked]) -> Relation:
    """With the values of these calls, which do not read one another, as hidden columns."""
    number = Windowed(work.id(), "long", "row_number", [Value("long", 0)])
    plan = Number(relation.plan, [number]) if relation.ordered else relation.plan
    for each in calls:
        keys = [_key(arg, each.at) for arg in each.args]
        outs = [Out(work.id(), key.type) for key in keys]
        found = Out(work.id(), "bool")
        table = Values([*outs, found, Out(each.id, each.type)], _rows(work, relation, each, keys))
        pairs: list[tuple[Expression, Expression]] = [
            (key, Ref(out.type, out.id)) for key, out in zip(keys, outs, strict=True)
        ]
        plan = Join(plan, table, "leftouter", pairs)
        why = "the rows before a function came out otherwise when they were read again; sort them, or materialize less"
        there = apply("isnotnull", [Ref("bool", found.id)], each.at)
        plan = Filter(plan, apply("assert", [there, Value("string", why)], each.at))
    if relation.ordered:
        plan = Sort(plan, [SortKey(Ref("long", number.id), False, True)])
    return relation.over(plan)


def _key(arg: Expression, at: int) -> Expression:
    """What is equal where the argument is."""
    return convert(arg, "string", at) if arg.type == "dynamic" else arg


def _rows(work: Work, relation: Relation, call: Worked, keys: Sequence[Expression]) -> list[list[Expression]]:
    """The combinations of arguments, whether they are there (always), the value."""
    from bartizan.hunt.binder.prune import prune

    if work.ask is None:
        raise KqlError("plan", "such a function needs to look at the data, which cannot be looked at here", call.at)
    fields = [Field("", work.id(), key.type) for key in keys]
    distinct = Summarize(relation.plan, [Column(field.id, key) for field, key in zip(fields, keys, strict=True)], [])
    whole = Project(distinct, [Column(each.id, each.ref) for each in fields])
    found = work.ask(prune(Limit(whole, Value("long", MOST_CALLS + 1)), fields, work.deadline))
    if len(found) > MOST_CALLS:
        raise KqlError("run", f"a function is worked out for at most {MOST_CALLS:,} different values", call.at)
    rows: list[list[Expression]] = []
    left = MOST_BYTES
    for row in found:
        work.deadline.check(call.at)
        values = [_read(value, arg.type) for value, arg in zip(row, call.args, strict=True)]
        result = _result(call.function, call.type, values, call.at)
        left -= len(result) if isinstance(result, str) else len(msgspec.json.encode(result))
        if left < 0:
            raise KqlError("run", f"the results of a function have more than {MOST_BYTES:,} bytes", call.at)
        told: list[Expression] = [Value(key.type, value) for key, value in zip(keys, row, strict=True)]
        rows.append([*told, Value("bool", True), Value(call.type, result)])
    return rows


def _read(value: Any, type_: Scalar) -> Any:
    """A value of the engine; a dynamic one came as its text."""
    if type_ != "dynamic":
        return value
    if not value:
        return None
    try:
        return msgspec.json.decode(value)
    except msgspec.DecodeError:
        return value
