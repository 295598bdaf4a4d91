"""evaluate: rows together with those of another table that hold their address, or the place where they are.

Source: Kusto Query Language, "ipv4_lookup plugin", "ipv6_lookup plugin", "geo_polygon_lookup plugin",
"geo_line_lookup plugin".
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from msgspec import Struct

from bartizan.hunt import tree
from bartizan.hunt.binder import calls
from bartizan.hunt.binder.naming import Taken
from bartizan.hunt.binder.scope import Field, Names, Relation, Rows
from bartizan.hunt.binder.work import Work, apply, constant, convert
from bartizan.hunt.fault import KqlError
from bartizan.hunt.plan import Expression, Filter, Join, Number, Plan, Value, Windowed

ALWAYS = Value("long", 1)
Pair: TypeAlias = tuple[Expression, Expression]
OPTIONS = ("return_unmatched", "return_lookup_key", "lookup_area_radius", "radius", "join_hint")


class Asked(Struct):
    """A call: the table, the arguments behind it, and what is told by name."""

    table: Relation
    args: list["tree.Expr | tree.Pipe"]
    options: dict[str, Value]


def _asked(work: Work, call: tree.Call, names: Names) -> Asked:
    options: dict[str, Value] = {}
    args: list[tree.Expr | tree.Pipe] = []
    for index, each in enumerate(call.args):
        name = call.named.get(index, "")
        if not name:
            args.append(each)
            continue
        if name not in OPTIONS:
            raise KqlError("bind", f"{call.name}() has no argument '{name}'", each.at)
        options[name] = constant(calls.scalar_any(work, each, names, Rows()), f"{name} of {call.name}()", each.at)
    if not args:
        raise KqlError("bind", f"{call.name}() needs a table", call.at)
    table = work.whole(args[0], names, Rows())
    if not isinstance(table, Relation):
        raise KqlError("bind", f"the first argument of {call.name}() is no table", args[0].at)
    return Asked(table, args[1:], options)


def _true(asked: Asked, name: str) -> bool:
    return name in asked.options and bool(asked.options[name].value)


def _column(call: tree.Call, of: Relation, args: Sequence["tree.Expr | tree.Pipe"], index: int, what: str) -> Field:
    node = args[index] if index < len(args) else None
    found = of.by_name().get(node.name) if isinstance(node, tree.Name) else None
    if found is None:
        raise KqlError("bind", f"{call.name}() needs the name of a column of {what}", (node or call).at)
    return found


def _together(work: Work, relation: Relation, asked: Asked, fits: Callable[[], Expression],
              pairs: Sequence[Pair] = (), hidden: Sequence[Field] = ()) -> Relation:  # fmt: skip
    """Each row with every row of the table that fits it; where it is asked, rows without any too."""
    taken = Taken(relation.names())
    kept = [each for each in asked.table.fields if each not in hidden]
    shown = [Field(taken.free(each.name), each.id, each.type) for each in kept]
    more = relation.open or asked.table.open
    joined: Plan = Filter(Join(relation.cut(), asked.table.cut(), "inner", list(pairs) or [(ALWAYS, ALWAYS)]), fits())
    if not _true(asked, "return_unmatched"):
        return Relation(joined, (*relation.fields, *shown), open=more)
    place = Windowed(work.id(), "long", "row_number", [ALWAYS])
    number = Field("", place.id, "long")
    numbered = Number(relation.cut(), [place])
    shared = work.share(Relation(numbered, (number, *relation.fields)), once=True)
    again = work.again(shared)
    plan = Join(shared.plan, asked.table.cut(), "inner", list(pairs) or [(ALWAYS, ALWAYS)])
    matched = Relation(Filter(plan, fits()), (number, *shown))
    every = Join(again.cut(), matched.cut(), "leftouter", [(again.fields[0].ref, number.ref)])
    return Relation(every, (*again.fields[1:], *shown), open=more)


def _ip(function: str) -> Callable[[Work, tree.Plugin, Names, Relation], Relation]:
    def lookup(work: Work, plugin: tree.Plugin, names: Names, relation: Relation) -> Relation:
        call = plugin.call
        asked = _asked(work, call, names)
        address = _column(call, relation, asked.args, 0, "addresses")
        network = _column(call, asked.table, asked.args, 1, "networks")
        rest = asked.args[2:]
        if rest and isinstance(rest[-1], tree.Constant):
            asked.options["return_unmatched"] = constant(work.bind(rest[-1], names, Rows()), "a flag", call.at)
            rest = rest[:-1]
        sides = (relation, asked.table)
        keys = [[_column(call, side, rest, index, "both tables") for side in sides] for index in range(len(rest))]
        pairs: list[Pair] = [(one.ref, other.ref) for one, other in keys]

        def fits() -> Expression:
            return apply(function, [convert(address.ref, "string", call.at), network.ref], call.at)

        return _together(work, relation, asked, fits, pairs, [other for _, other in keys])

    return lookup


def _geo(inside: str, distance: str) -> Callable[[Work, tree.Plugin, Names, Relation], Relation]:
    """`inside` '': only what is near counts. The shape is told before the place, or (earlier) behind it."""

    def lookup(work: Work, plugin: tree.Plugin, names: Names, relation: Relation) -> Relation:
        call = plugin.call
        asked = _asked(work, call, names)
        first = asked.args[0] if asked.args else None
        before = isinstance(first, tree.Name) and first.name in asked.table.by_name()
        places = (1, 2, 0) if before else (0, 1, 2)
        longitude, latitude = (_column(call, relation, asked.args, each, "places") for each in places[:2])
        shape = _column(call, asked.table, asked.args, places[2], "shapes")
        radius = asked.options.get("radius") or asked.options.get("lookup_area_radius")
        if len(asked.args) > 4 or "join_hint" in asked.options:
            raise KqlError("plan", f"{call.name}() is supported with its options by name, without a hint", call.at)
        if len(asked.args) == 4:
            radius = constant(calls.scalar_any(work, asked.args[3], names, Rows()), "the radius", call.at)
        if radius is None and not inside:
            raise KqlError("bind", f"{call.name}() needs a radius", call.at)

        def fits() -> Expression:
            where: list[Expression] = [longitude.ref, latitude.ref, shape.ref]
            if radius is None:
                return apply(inside, where, call.at)
            return apply("<=", [apply(distance, where, call.at), radius], call.at)

        hidden = [shape] if before and not _true(asked, "return_lookup_key") else []
        return _together(work, relation, asked, fits, (), hidden)

    return lookup


PLUGINS: dict[str, Callable[[Work, tree.Plugin, Names, Relation], Relation]] = {
    "ipv4_lookup": _ip("ipv4_is_in_range"),
    "ipv6_lookup": _ip("ipv6_is_in_range"),
    "geo_polygon_lookup": _geo("geo_point_in_polygon", "geo_distance_point_to_polygon"),
    "geo_line_lookup": _geo("", "geo_distance_point_to_line"),
}
