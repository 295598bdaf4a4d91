"""Calls: functions of the user's, those that the binder works out itself, aggregates, functions of a row's place, and
all others, which are declared.

Source: Kusto Query Language, "Function types", "User-defined functions", "now()", "ago()", "toscalar()",
"column_ifexists()", "ingestion_time()", "Window functions overview".
"""

from collections.abc import Callable
from typing import Any

from bartizan.hunt import tree
from bartizan.hunt.binder import worked
from bartizan.hunt.binder.naming import bare, natural
from bartizan.hunt.binder.scope import FunctionOf, Later, Names, Relation, Rows, TableOf
from bartizan.hunt.binder.tuples import TUPLES
from bartizan.hunt.binder.work import Bound, Work, apply, constant, convert, of_asim, single, unfit
from bartizan.hunt.fault import KqlError, placed
from bartizan.hunt.functions import REFUSED, SCHEMA_OF, choose, known
from bartizan.hunt.functions.aggregates import NOT_OF_DYNAMIC
from bartizan.hunt.plan import Aggregate, Expression, Path, Ref, Value, Windowed, size

Special = Callable[[Work, tree.Call, Names, Rows], Expression]
BRANCHES = ("iff", "iif", "case")


def bound_any(work: Work, node: "tree.Expr | tree.Pipe", names: Names, rows: Rows) -> "Bound":
    """A table or a scalar, whichever stands there."""
    node = bare(node)
    if isinstance(node, tree.Sub):
        node = node.pipe
    if isinstance(node, tree.Pipe):
        return work.whole(node, names, rows)
    if isinstance(node, tree.Name) and node.name not in rows.fields:
        variable = names.find(node.name)
        if isinstance(variable, Later | TableOf | FunctionOf) or (
            variable is None and (node.name in work.catalogue.tables or node.name in work.catalogue.views)
        ):
            return work.whole(
                tree.Pipe(source=tree.Source(name=node, at=node.at), at=node.at, end=node.end), names, rows
            )
    if isinstance(node, tree.Call) and is_own(work, node, names):
        source = tree.Invocation(call=node, at=node.at, end=node.end)
        return work.whole(tree.Pipe(source=source, at=node.at, end=node.end), names, rows)
    return work.bind(node, names, rows)


def scalar_any(work: Work, node: "tree.Expr | tree.Pipe", names: Names, rows: Rows) -> Expression:
    found = bound_any(work, node, names, rows)
    return single(work, found, node.at) if isinstance(found, Relation) else found


def is_own(work: Work, node: tree.Call, names: Names) -> bool:
    """Whether a function of the user's or of the catalogue is called, or one that gives a table."""
    found = names.find(node.name)
    return isinstance(found, FunctionOf | Later) or (found is None and work.function(node.name) is not None)


def call(work: Work, node: tree.Call, names: Names, rows: Rows) -> Expression:
    if is_own(work, node, names):
        found = bound_any(work, node, names, rows)
        return single(work, found, node.at) if isinstance(found, Relation) else found
    name = node.name.lower()
    special = _SPECIAL.get(name)
    if special is not None:
        return special(work, node, names, rows)
    if rows.aggregates is not None and known("aggregate", name):
        return aggregate(work, node, names, rows)
    if known("window", name):
        return _window(work, node, names, rows)
    if known("aggregate", name) and not known("scalar", name):
        raise KqlError("bind", f"{node.name}() is an aggregate: it can only stand in summarize and its kin", node.at)
    if not known("scalar", name):
        hint = of_asim(node.name) or ", or it is not supported"
        raise KqlError("bind", f"there is no function '{node.name}'{hint}", node.at)
    if name in TUPLES:
        parts = tuple_of(work, node, names, rows)
        return parts[0][1]
    _refuse(work, node)
    args = [scalar_any(work, each, names, rows) for each in node.args]
    if name in BRANCHES:
        args = _one_type(name, args, node.at)
    return _applied(work, node, args, rows)


def _applied(work: Work, node: tree.Call, args: list[Expression], rows: Rows) -> Expression:
    if worked.is_worked(node.name):
        return worked.of(work, node.name.lower(), args, rows, node.at)
    return apply(node.name.lower(), args, node.at)


def _refuse(work: Work, node: tree.Call) -> None:
    """KqlError: a function whose values are not known, unless columns are all that is asked for."""
    why = REFUSED.get(node.name.lower())
    if why is not None and not work.empty:
        raise KqlError("plan", f"{node.name}() is not supported: {why}", node.at)


def is_tuple(node: tree.Call, names: Names) -> bool:
    """Whether a function of several results is called."""
    return node.name.lower() in TUPLES and names.find(node.name) is None


def tuple_of(work: Work, node: tree.Call, names: Names, rows: Rows) -> list[tuple[str, Expression]]:
    """The results of a function of several, by their names."""
    _refuse(work, node)
    name = node.name.lower()
    whole = _applied(work, node, [scalar_any(work, each, names, rows) for each in node.args], rows)
    given = natural(node.args[0]) if node.args else ""
    parts = TUPLES[name](name, given, node.args)
    return [
        (told, convert(Path("dynamic", whole, [index]), type_, node.at)) for index, (told, type_) in enumerate(parts)
    ]


def _positional(node: tree.Call) -> "list[tree.Expr | tree.Pipe]":
    if node.named:
        raise KqlError("bind", f"{node.name}() takes no named arguments", node.at)
    return node.args


def _one_type(name: str, args: list[Expression], at: int) -> list[Expression]:
    """Results of different types become dynamic."""
    if choose("scalar", name, [each.type for each in args]) is not None:
        return args
    made = list(args)
    for index, each in enumerate(args):
        if (index % 2 == 1 or index == len(args) - 1) if name == "case" else index > 0:
            made[index] = convert(each, "dynamic", at)
    return made


# ------------------------------------------------------------------ aggregates and functions of a row's place


def inside(rows: Rows) -> Rows:
    """What the arguments of an aggregate may read: no aggregates."""
    inner = rows.worked if rows.aggregates is None else rows.inner
    return Rows(rows.fields, rows.sides, None, None, rows.groups, rows.all, rows.ingested, rows.open, inner)


def aggregate(work: Work, node: tree.Call, names: Names, rows: Rows) -> Expression:
    """An aggregate as a column that summarize works out."""
    assert rows.aggregates is not None
    name = node.name.lower()
    given = [each for each in _positional(node) if not isinstance(bare(each), tree.Star)]
    args = [scalar_any(work, each, names, inside(rows)) for each in given]
    if name in ("arg_max", "arg_min"):
        args = [args[1] if len(args) > 1 else args[0], args[0]]
    if name == "buildschema":
        return _schema(work, node, args, rows)
    return aggregate_of(work, name, args, rows.aggregates, node.at)


def _schema(work: Work, node: tree.Call, args: list[Expression], rows: Rows) -> Expression:
    """Of the list of the values, each in an array of its own, as lists take arrays apart."""
    if rows.aggregates is None or rows.worked is None or len(args) != 1:
        raise KqlError("plan", "buildschema() is supported in summarize, of one dynamic value", node.at)
    held = apply("pack_array", [convert(args[0], "dynamic", node.at)], node.at)
    listed = aggregate_of(work, "make_list", [held], rows.aggregates, node.at)
    return worked.of(work, SCHEMA_OF, [listed], rows, node.at)


def aggregate_of(work: Work, name: str, args: list[Expression], into: list[Aggregate], at: int) -> Expression:
    chosen = choose("aggregate", name, [each.type for each in args])
    if chosen is None:
        raise unfit("aggregate", name, args, at)
    if chosen.type == "dynamic" and name in NOT_OF_DYNAMIC:
        why = NOT_OF_DYNAMIC[name]
        raise KqlError("plan", f"{name}() is not supported here: {why}; convert them first, as by tolong()", at)
    given = [convert(each, type_, at) for each, type_ in zip(args, chosen.types, strict=True)]
    work.spend(at, size(*given))
    from bartizan.hunt.binder.columns import ids

    takes = chosen.function.takes
    for index, each in enumerate(given):
        if takes[min(index, len(takes) - 1)].constant and ids([each]):
            raise KqlError("bind", f"argument {index + 1} of {name}() must be the same for all rows", at)
    made = Aggregate(work.id(), chosen.type, chosen.function.key, given)
    into.append(made)
    return Ref(made.type, made.id)


def _window(work: Work, node: tree.Call, names: Names, rows: Rows) -> Expression:
    if rows.windows is None:
        raise KqlError("bind", f"{node.name}() depends on the order of rows; it cannot stand here", node.at)
    name = node.name.lower()
    args = [scalar_any(work, each, names, rows) for each in _positional(node)]
    restart: Expression | None = None
    if name not in ("prev", "next") and len(args) > 1 - (name == "row_number") and args[-1].type == "bool":
        restart = args.pop()
    if name in ("prev", "next") and len(args) == 3:
        args[2] = convert(args[2], args[0].type, node.at)
    chosen = choose("window", name, [each.type for each in args])
    if chosen is None:
        raise unfit("window", name, args, node.at)
    given = [convert(each, type_, node.at) for each, type_ in zip(args, chosen.types, strict=True)]
    made = Windowed(work.id(), chosen.type, name, given, restart, list(rows.groups))
    rows.windows.append(made)
    return Ref(made.type, made.id)


# ------------------------------------------------------------------ what the binder knows itself


def _now(work: Work, node: tree.Call, names: Names, rows: Rows) -> Expression:
    if not node.args:
        return work.now
    return apply("+", [work.now, scalar_any(work, node.args[0], names, rows)], node.at, "now()")


def _ago(work: Work, node: tree.Call, names: Names, rows: Rows) -> Expression:
    if len(node.args) != 1:
        raise KqlError("bind", "ago() takes one timespan", node.at)
    back = scalar_any(work, node.args[0], names, rows)
    if back.type not in ("timespan", "dynamic"):
        raise KqlError("bind", f"ago() takes a timespan, not {back.type}", node.at)
    return apply("-", [work.now, convert(back, "timespan", node.at)], node.at, "ago()")


def _ingestion_time(work: Work, node: tree.Call, names: Names, rows: Rows) -> Expression:
    return rows.ingested if rows.ingested is not None else Value("datetime", None)


def _toscalar(work: Work, node: tree.Call, names: Names, rows: Rows) -> Expression:
    if len(node.args) != 1:
        raise KqlError("bind", "toscalar() takes one table", node.at)
    return scalar_any(work, node.args[0], names, Rows())


def _column_ifexists(work: Work, node: tree.Call, names: Names, rows: Rows) -> Expression:
    if len(node.args) != 2:
        raise KqlError("bind", "column_ifexists() takes a name and a value", node.at)
    name = constant(scalar_any(work, node.args[0], names, rows), "the name of column_ifexists()", node.at)
    found = rows.fields.get(str(name.value))
    return scalar_any(work, node.args[1], names, rows) if found is None else found.ref


def _column_names_of(work: Work, node: tree.Call, names: Names, rows: Rows) -> Expression:
    found = bound_any(work, node.args[0], names, Rows()) if len(node.args) == 1 else None
    if not isinstance(found, Relation):
        raise KqlError("bind", "column_names_of() takes one table", node.at)
    return Value("dynamic", found.names())


def _pack_all(work: Work, node: tree.Call, names: Names, rows: Rows) -> Expression:
    """A bag of all columns; with `true` without what is null or empty."""
    filled = bool(node.args) and constant(
        scalar_any(work, node.args[0], names, rows), "the argument of pack_all()", node.at
    ).value is True  # fmt: skip
    args: list[Expression] = []
    work.spend(node.at, 2 * len(rows.all))
    for each in rows.all:
        args += [Value("string", each.name), each.ref]
    if not args:
        return Value("dynamic", {})
    return apply("pack_all_filled" if filled else "pack_all", args, node.at)


def _pack_columns(work: Work, node: tree.Call, names: Names, rows: Rows) -> Expression:
    """A bag of columns by their names."""
    args: list[Expression] = []
    for each in _positional(node):
        column = bare(each)
        if not isinstance(column, tree.Name) or column.name not in rows.fields:
            raise KqlError("bind", "bag_pack_columns() takes names of columns", each.at)
        args += [Value("string", column.name), rows.fields[column.name].ref]
    return apply("bag_pack", args, node.at)


def _extract(work: Work, node: tree.Call, names: Names, rows: Rows) -> Expression:
    """A last argument may be the type of the result."""
    args = node.args
    last = bare(args[-1]) if args else None
    if not isinstance(last, tree.Typed):
        return _applied(work, node, [scalar_any(work, each, names, rows) for each in args], rows)
    if last.type is None:
        raise KqlError("bind", f"{node.name}() takes a type such as typeof(long)", last.at)
    found = _applied(work, node, [scalar_any(work, each, names, rows) for each in args[:-1]], rows)
    return convert(found, last.type, node.at)


def _bin_auto(work: Work, node: tree.Call, names: Names, rows: Rows) -> Expression:
    """bin_at of what `set` has told."""
    size, at = (work.settings.get(f"query_bin_auto_{each}") for each in ("size", "at"))
    if len(node.args) != 1 or size is None:
        raise KqlError("bind", "bin_auto() takes one value, and needs: set query_bin_auto_size = ...;", node.at)
    value = scalar_any(work, node.args[0], names, rows)
    if value.type == "datetime" and at is None:
        return apply("bin", [value, work.bind(size, names, Rows())], node.at)
    start = Value("long", 0) if at is None else work.bind(at, names, Rows())
    given = [value, work.bind(size, names, Rows()), convert(start, value.type, node.at)]
    return apply("bin_at", given, node.at)


def _place(work: Work, node: tree.Call, names: Names, rows: Rows) -> Expression:
    args = [scalar_any(work, each, names, rows) for each in _positional(node)]
    made = apply(node.name.lower(), args, node.at)
    if not work.empty:
        if work.places is None:
            raise KqlError("plan", f"{node.name}() is not supported here: there is nothing that says it", node.at)
        with placed(node.at):
            work.places()
    return made


def _no_table(work: Work, node: tree.Call, names: Names, rows: Rows) -> Expression:
    raise KqlError("bind", f"{node.name}() gives a table; a value is expected here", node.at)


def _unsupported(work: Work, node: tree.Call, names: Names, rows: Rows) -> Expression:
    raise KqlError("plan", f"{node.name}() is not supported", node.at)


_SPECIAL: dict[str, Special] = {
    "now": _now,
    "ago": _ago,
    "ingestion_time": _ingestion_time,
    "toscalar": _toscalar,
    "column_ifexists": _column_ifexists,
    "columnifexists": _column_ifexists,
    "column_names_of": _column_names_of,
    "bin_auto": _bin_auto,
    "pack_all": _pack_all,
    "bag_pack_columns": _pack_columns,
    "geo_info_from_ip_address": _place,
    **dict.fromkeys(("extract", "extractjson", "extract_json", "percentile_tdigest"), _extract),
    **dict.fromkeys(("materialize", "table", "database", "cluster", "workspace", "app", "view"), _no_table),
    **dict.fromkeys(("cursor_after", "cursor_current", "cursor_before_or_at"), _unsupported),
}


def as_text(one: Any, what: str, at: int) -> str:
    """A constant text."""
    if not isinstance(one, Value) or not isinstance(one.value, str):
        raise KqlError("bind", f"{what} must be a constant string", at)
    return one.value
