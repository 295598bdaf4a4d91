"""Arrays as sets, and sorting arrays. Elements are equal where their JSON is; the order is that of the first array.

Sorted are numbers before strings before all else, nulls at the end unless asked otherwise; texts by their code points.

Source: Kusto Query Language, "set_union()", "set_intersect()", "set_difference()", "set_has_element()",
"array_sort_asc()", "array_sort_desc()", "jaccard_index()".
"""

from collections.abc import Sequence
from functools import partial

from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.functions import constant, function
from bartizan.hunt.functions.conversions import json_of
from bartizan.hunt.plan import Apply

macro("kf_items(x) := list_transform(kf_list(x), lambda e: coalesce(e::VARCHAR, 'null'))")
macro("kf_distinct(l) := list_filter(l, lambda e, i: list_position(l, e) = i)")
macro("kf_json_array(l) := '[' || array_to_string(l, ',') || ']'")


def _union(args: Sequence[str], _: Apply) -> str:
    return f"kf_json_array(kf_distinct(list_concat({', '.join(f'kf_items({each})' for each in args)})))"


def _among(args: Sequence[str], kept: bool) -> str:
    found = f"kf_distinct(kf_items({args[0]}))"
    for each in args[1:]:
        found = f"kf_{'common' if kept else 'without'}({found}, kf_items({each}))"
    return found


macro("kf_common(l, m) := list_filter(l, lambda e: list_contains(m, e))")
macro("kf_without(l, m) := list_filter(l, lambda e: NOT list_contains(coalesce(m, []), e))")
function("set_union", "dynamic dynamic* -> dynamic", duckdb=_union)
function("set_intersect", "dynamic dynamic* -> dynamic", duckdb=lambda args, _: f"kf_json_array({_among(args, True)})")
function(
    "set_difference", "dynamic dynamic* -> dynamic", duckdb=lambda args, _: f"kf_json_array({_among(args, False)})"
)
function(
    "set_has_element",
    "dynamic any -> bool",
    duckdb=lambda args, apply: f"coalesce(list_contains(kf_items({args[0]}), {json_of(args, apply, 1)}), FALSE)",
)
macro("kf_same_set(l, m) := len(kf_without(l, m)) = 0 AND len(kf_without(m, l)) = 0")
function("set_equals", "dynamic dynamic -> bool", duckdb="kf_same_set(kf_items({0}), kf_items({1}))")


def _jaccard(args: Sequence[str], _: Apply) -> str:
    whole = f"len(kf_distinct(list_concat({', '.join(f'kf_items({each})' for each in args)})))"
    return f"(len({_among(args, True)})::DOUBLE / nullif({whole}, 0))"


function("jaccard_index", "dynamic dynamic dynamic* -> real", duckdb=_jaccard)

# What an element is sorted by: its kind, its number, its text.
macro(
    "kf_sort_keys(l, sign) := list_transform(l, lambda e, i: {'missing': (e IS NULL)::INTEGER, "
    "'kind': sign * CASE coalesce(json_type(e), 'NULL') WHEN 'BIGINT' THEN 0 WHEN 'UBIGINT' THEN 0 WHEN 'DOUBLE' "
    "THEN 0 "
    "WHEN 'VARCHAR' THEN 1 ELSE 2 END, 'number': sign * CASE WHEN json_type(e) IN ('BIGINT', 'UBIGINT', 'DOUBLE') "
    "THEN coalesce(try_cast(e::VARCHAR AS DOUBLE), 0) ELSE 0 END, "
    "'text': CASE WHEN json_type(e) = 'VARCHAR' THEN json_extract_string(e, '$') ELSE '' END, 'at': i})"
)
macro("kf_order_asc(l) := list_transform(list_sort(kf_sort_keys(l, 1)), lambda s: s.at)")
# From the greatest: all keys turned round; equal ones keep their order.
macro(
    "kf_order_desc(l) := list_transform(list_reverse_sort(list_transform(kf_sort_keys(l, 1), lambda s: "
    "{'missing': -s.missing, 'kind': -s.kind, 'number': s.number, 'text': s.text, 'at': -s.at})), lambda s: -s.at)"
)
macro(
    "kf_nulls_first(l, order_) := list_concat(list_filter(order_, lambda i: l[i] IS NULL), list_filter(order_, "
    "lambda i: l[i] IS NOT NULL))"
)
macro("kf_picked(l, order_) := list_transform(order_, lambda i: l[i])")


def _sort(direction: str, args: Sequence[str], apply: Apply) -> str:
    """An array of the arrays, each in the order of the first."""
    last = True
    if apply.args[-1].type == "bool":
        last = bool(constant(apply, len(args) - 1, "where nulls go"))
        args = args[:-1]
    first = f"kf_list({args[0]})"
    order = f"kf_order_{direction}({first})"
    if not last:
        order = f"kf_nulls_first({first}, {order})"
    made = [f"kf_of_list(kf_picked(kf_list({each}), {order}))" for each in args]
    return "('[' || " + " || ',' || ".join(f"coalesce({each}, 'null')" for each in made) + " || ']')"


for _direction in ("asc", "desc"):
    for _count in range(1, 9):
        _arrays = " ".join(["dynamic"] * _count)
        function(f"array_sort_{_direction}", f"{_arrays} -> dynamic", duckdb=partial(_sort, _direction))
        function(f"array_sort_{_direction}", f"{_arrays} bool! -> dynamic", duckdb=partial(_sort, _direction))
