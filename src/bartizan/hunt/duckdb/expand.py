"""Rows out of values: mv-expand, range.

Source: Kusto Query Language, "mv-expand operator", "mv-apply operator", "range operator".
"""

from typing import TYPE_CHECKING

from bartizan.hunt import plan as p
from bartizan.hunt.duckdb.literal import NATIVE, TICKS_A_MICROSECOND, once
from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.duckdb.select import OrderKey, Select, name
from bartizan.hunt.plan import Id

if TYPE_CHECKING:
    from bartizan.hunt.duckdb.emit import Emitter

# The elements of an array, the members of a bag each as a bag (or a pair), anything else as it is; null: no list.
macro(
    "kql_elements(x) := CASE json_type(x) WHEN 'ARRAY' THEN json_extract(x, '$[*]')::VARCHAR[] "
    "WHEN 'OBJECT' THEN list_transform(list_zip(json_keys(x), json_extract(x, '$.*')), "
    "lambda m: json_object(m[1], m[2])::VARCHAR) WHEN 'NULL' THEN NULL ELSE [x::VARCHAR] END"
)
macro(
    "kql_pairs(x) := CASE json_type(x) WHEN 'ARRAY' THEN json_extract(x, '$[*]')::VARCHAR[] "
    "WHEN 'OBJECT' THEN list_transform(list_zip(json_keys(x), json_extract(x, '$.*')), "
    "lambda m: json_array(m[1], m[2])::VARCHAR) WHEN 'NULL' THEN NULL ELSE [x::VARCHAR] END"
)


def expand(emitter: "Emitter", node: p.Expand) -> Select:
    """The lists are made first, then unnested side by side: DuckDB fills up the shorter ones with nulls."""
    inner = emitter.plan(node.input)
    inner = emitter.ready(inner, [each.source for each in node.made])
    number = emitter.number()
    lists = {f"l{number}_{index}": _elements(emitter, each, inner) for index, each in enumerate(node.made)}
    columns = dict(inner.columns)
    order = {f"o{number}_{index}": key.sql for index, key in enumerate(inner.order)}
    listed = Select(inner.source, columns, inner.where, inner.order, inner.limit).text({**lists, **order})
    names = {id_: name(id_) for id_ in columns}
    parts, longest = _parts(emitter, node, list(lists))
    place = f"i{number}"
    kept = [*names.values(), *order, *(f"unnest({sql}) AS {name(id_)}" for id_, sql in parts.items())]
    kept.append(f"unnest(range({longest})) AS {place}")
    text = f"SELECT {', '.join(kept)} FROM ({listed}) AS s{emitter.number()}"
    for each in node.made:
        names[each.id] = emitter.convert(f"nullif({name(each.id)}, 'null')", each.type)
    if node.index is not None:
        names[node.index] = place
    keys = [OrderKey(each, key.descending, key.nulls_first) for each, key in zip(order, inner.order, strict=True)]
    made = Select(f"({text}) AS s{emitter.number()}", names, order=[*keys, OrderKey(place)] if keys else [])
    return emitter.nested(made)


def _elements(emitter: "Emitter", one: p.Unnested, inner: Select) -> str:
    function = "kql_pairs" if one.pairs else "kql_elements"
    return once([emitter.expr(one.source, inner.columns)], lambda x: f"{function}({x})")


def _parts(emitter: "Emitter", node: p.Expand, lists: list[str]) -> tuple[dict[Id, str], str]:
    """Each list as it is unnested, and how many rows come of a row."""
    lengths = ", ".join(f"coalesce(len({each}), 0)" for each in lists)
    longest = f"greatest({lengths})" if len(lists) > 1 else lengths
    if not node.drop:
        longest = f"greatest({longest}, 1)"
    limit = "" if node.limit is None else emitter.expr(node.limit, {})
    if limit:
        longest = f"least({longest}, {limit})"
    parts = {}
    for each, listed in zip(node.made, lists, strict=True):
        parts[each.id] = f"{listed}[1:{limit}]" if limit else listed
    return parts, longest


def numbers(emitter: "Emitter", node: p.Numbers) -> Select:
    """As many steps as fit, each worked out from the start, so that no error adds up."""
    out = node.columns[0]
    start, stop, step = (emitter.expr(each, {}) for each in (node.start, node.stop, node.step))
    alias = f"s{emitter.number()}"
    given = f"(SELECT {start} AS a, {stop} AS b, {step} AS d) AS {alias}"
    first, last, by = f"{alias}.a", f"{alias}.b", f"{alias}.d"
    if out.type == "datetime":
        first, last, by = f"epoch_us({first})", f"epoch_us({last})", f"({by} // {TICKS_A_MICROSECOND})"
    if out.type in ("real", "decimal"):
        steps = f"floor(({last} - {first}) / nullif({by}, 0))"
        places = f"CASE WHEN isfinite(({steps})::DOUBLE) THEN try_cast({steps} AS BIGINT) END"
    else:
        places = f"CASE WHEN ({last} >= {first}) = ({by} > 0) OR {last} = {first} " \
                 f"THEN try_cast(({last}::HUGEINT - {first}) // nullif({by}, 0) AS BIGINT) END"  # fmt: skip
    place = f"i{emitter.number()}"
    listed = f"SELECT {first} AS a, {by} AS d, unnest(range(coalesce({places} + 1, 0))) AS {place} FROM {given}"
    if all(isinstance(each, p.Value) for each in (node.start, node.stop, node.step)):
        count = f"coalesce((SELECT {places} + 1 FROM {given}), 0)"
        listed = f"SELECT {first} AS a, {by} AS d, {place} FROM {given}, range({count}) AS r({place})"
    value = f"a + {place} * d"
    if out.type == "datetime":
        value = f"kql_clamp_time((a + {place} * d)::HUGEINT)"
    made = f"SELECT ({value})::{NATIVE[out.type]} AS {name(out.id)}, {place} FROM ({listed}) AS {alias}n"
    return Select(f"({made}) AS s{emitter.number()}", {out.id: name(out.id)})
