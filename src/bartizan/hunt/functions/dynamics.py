"""Functions of dynamic values: arrays and property bags. A dynamic is JSON text; what is no array (or no bag) where one
is asked for makes the result null.

`kf_list` gives the elements of an array, each JSON text, a null as NULL; `kf_entries` the members of a bag.

Source: Kusto Query Language, "Scalar functions", group "Dynamic/array functions".
"""

from collections.abc import Sequence
from functools import partial

from bartizan.hunt.duckdb.literal import as_json, once, pointer, text
from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import constant, function
from bartizan.hunt.functions.conversions import json_of
from bartizan.hunt.functions.parsing import member_path
from bartizan.hunt.plan import Apply, Value

MOST_ELEMENTS = 1_048_576  # of range()

macro("""kf_list(x) := from_json(x::VARCHAR, '["JSON"]')""")
macro("kf_of_list(l) := to_json(l)::VARCHAR")
macro(
    "kf_entries(x) := CASE WHEN json_type(x) = 'OBJECT' THEN list_transform(json_keys(x), lambda k: {'k': k, "
    "'v': json_extract(x, '/' || replace(replace(k, '~', '~0'), '/', '~1'))}) END"
)
macro(
    "kf_of_entries(l) := '{' || array_to_string(list_transform(l, lambda e: to_json(e.k)::VARCHAR || ':' || "
    "coalesce(e.v::VARCHAR, 'null')), ',') || '}'"
)
# Only the first of equal keys stays.
macro("kf_first_keys(l) := list_filter(l, lambda e, i: list_position(list_transform(l, lambda f: f.k), e.k) = i)")

# ------------------------------------------------------------------ arrays

for _name in ("array_length", "arraylength"):
    function(_name, "dynamic -> long",
             duckdb="(CASE WHEN json_type({0}) = 'ARRAY' THEN json_array_length({0})::BIGINT END)")  # fmt: skip


def _lists(args: Sequence[str]) -> str:
    return ", ".join(f"kf_list({each})" for each in args)


function(
    "array_concat", "dynamic dynamic* -> dynamic", duckdb=lambda args, _: f"kf_of_list(list_concat({_lists(args)}))"
)
function("array_reverse", "dynamic -> dynamic", duckdb="kf_of_list(list_reverse(kf_list({0})))")
# A place counted from the end (negative), or beyond an end, as one from 0.
macro(
    "kf_place(i, n) := CASE WHEN n IS NOT NULL THEN least(CASE WHEN i >= 0 THEN i ELSE greatest(n + i, 0) END, n) END"
)
macro(
    "kf_slice(l, first, last) := CASE WHEN last < -len(l) THEN list_slice(l, 1, 0) "
    "ELSE list_slice(l, kf_place(first, len(l)) + 1, kf_place(last, len(l)) + 1) END"
)
function("array_slice", "dynamic long long -> dynamic", duckdb="kf_of_list(kf_slice(kf_list({0}), {1}, {2}))")
macro(
    "kf_chunks(l, cuts) := CASE WHEN l IS NOT NULL THEN list_transform(range(0, len(cuts) + 1), lambda i: "
    "list_slice(l, CASE WHEN i = 0 THEN 1 ELSE kf_place(cuts[i], len(l)) + 1 END, "
    "CASE WHEN i = len(cuts) THEN len(l) ELSE kf_place(cuts[i + 1], len(l)) END)) END"
)
macro("kf_longs(x) := list_transform(kf_list(x), lambda e: kf_json_long(e))")
function("array_split", "dynamic long -> dynamic", duckdb="kf_of_list(kf_chunks(kf_list({0}), [{1}]))")
function("array_split", "dynamic dynamic -> dynamic", duckdb="kf_of_list(kf_chunks(kf_list({0}), kf_longs({1})))")
macro(
    "kf_index_of(l, v, start, size, n) := CASE WHEN l IS NOT NULL AND n > 0 THEN coalesce(list_filter(range("
    "kf_place(start, len(l)), CASE WHEN size < 0 THEN len(l) ELSE kf_place(start, len(l)) + least(size, len(l)) END), "
    "lambda i: coalesce(l[i + 1]::VARCHAR, 'null') = v)[n], -1) END"
)


def _index_of(args: Sequence[str], apply: Apply) -> str:
    start, size, nth = (
        args[index] if index < len(args) else default for index, default in ((2, "0"), (3, "-1"), (4, "1"))
    )
    return f"kf_index_of(kf_list({args[0]}), {json_of(args, apply, 1)}, {start}, {size}, {nth})"


function("array_index_of", "dynamic any long? long? long? -> long", duckdb=_index_of)
macro(
    "kf_sum(l) := CASE WHEN list_bool_and(list_transform(l, lambda e: coalesce(json_type(e), 'NULL') IN "
    "('BIGINT', 'UBIGINT', 'DOUBLE', 'NULL'))) THEN list_sum(list_transform(l, lambda e: try_cast(e::VARCHAR AS "
    "DOUBLE))) END"
)
for _name in ("array_sum", "series_sum"):
    function(_name, "dynamic -> real", duckdb="kf_sum(kf_list({0}))")

macro(
    "kf_truth(e) := CASE json_type(e) WHEN 'BOOLEAN' THEN e::VARCHAR = 'true' WHEN 'BIGINT' THEN e::VARCHAR <> '0' "
    "WHEN 'UBIGINT' THEN e::VARCHAR <> '0' WHEN 'DOUBLE' THEN try_cast(e::VARCHAR AS DOUBLE) <> 0 END"
)


def _chosen(args: Sequence[str], apply: Apply, index: int) -> str:
    """The i-th of an array, or the one value for all."""
    if apply.args[index].type == "dynamic":
        sql = args[index]
        return f"CASE WHEN json_type({sql}) = 'ARRAY' THEN kf_list({sql})[i] ELSE {sql}::JSON END"
    return f"CAST({as_json(args[index], apply.args[index].type)} AS JSON)"


def _array_iff(args: Sequence[str], apply: Apply) -> str:
    return (
        f"kf_of_list(list_transform(kf_list({args[0]}), lambda c, i: CASE kf_truth(c) "
        f"WHEN TRUE THEN {_chosen(args, apply, 1)} WHEN FALSE THEN {_chosen(args, apply, 2)} END))"
    )


for _name in ("array_iff", "array_iif"):
    function(_name, "dynamic any any -> dynamic", duckdb=_array_iff)

macro("kf_around(i, size) := ((i % size) + size) % size")
macro(
    "kf_rotate(l, n) := list_concat(list_slice(l, kf_around(n, nullif(len(l), 0)) + 1, len(l)), "
    "list_slice(l, 1, kf_around(n, nullif(len(l), 0))))"
)
macro(
    "kf_shift_array(l, n, filler) := list_transform(range(1, len(l) + 1), lambda i: "
    "CASE WHEN i + n BETWEEN 1 AND len(l) THEN l[i + n] ELSE filler END)"
)
for _name, _sign in (("left", ""), ("right", "-")):
    function(
        f"array_rotate_{_name}",
        "dynamic long -> dynamic",
        duckdb=f"kf_of_list(kf_rotate(kf_list({{0}}), {_sign}({{1}} % 1000000007)))",
    )
    for _filled in (False, True):

        def _shift(args: Sequence[str], apply: Apply, sign: str = _sign, filled: bool = _filled) -> str:
            filler = f"CAST({as_json(args[2], apply.args[2].type)} AS JSON)" if filled else "NULL::JSON"
            bounded = f"least(greatest({args[1]}, -4294967296), 4294967296)"
            return f"kf_of_list(kf_shift_array(kf_list({args[0]}), {sign}{bounded}, {filler}))"

        function(f"array_shift_{_name}", f"dynamic long{' any' if _filled else ''} -> dynamic", duckdb=_shift)


def _zip(args: Sequence[str], _: Apply) -> str:
    lists = [f"coalesce(kf_list({each}), [{each}::JSON])" for each in args]
    size = f"greatest({', '.join(f'len({each})' for each in lists)})" if len(lists) > 1 else f"len({lists[0]})"
    row = ", ".join(f"{each}[i]" for each in lists)
    return f"kf_of_list(list_transform(range(1, {size} + 1), lambda i: [{row}]))"


function("zip", "dynamic dynamic* -> dynamic", duckdb=_zip)


def _pack_array(args: Sequence[str], apply: Apply) -> str:
    inner = " || ',' || ".join(json_of(args, apply, index) for index in range(len(args)))
    return f"('[' || {inner} || ']')" if args else "'[]'"


function("pack_array", "any any* -> dynamic", duckdb=_pack_array)
function("pack_array", "-> dynamic", duckdb=_pack_array)


def _repeat(args: Sequence[str], apply: Apply) -> str:
    return f"kf_repeat({json_of(args, apply, 0)}, {args[1]})"


macro(
    f"kf_repeat(v, n) := CASE WHEN n >= 0 AND n <= {MOST_ELEMENTS} THEN "
    "'[' || array_to_string(list_resize([]::VARCHAR[], n, v), ',') || ']' END"
)
function("repeat", "any long -> dynamic", duckdb=_repeat)

# ------------------------------------------------------------------ range

macro(
    f"kf_range_long(a, b, s) := CASE WHEN s <> 0 AND (b::HUGEINT - a) // s < {MOST_ELEMENTS} THEN list_transform("
    "range(0, CASE WHEN (b::HUGEINT - a) * sign(s) < 0 THEN 0 ELSE (b::HUGEINT - a) // s + 1 END::BIGINT), "
    "lambda i: (a + i * s::HUGEINT)::BIGINT) END"
)
macro(
    f"kf_range_real(a, b, s) := CASE WHEN s <> 0 AND (b - a) / s < {MOST_ELEMENTS} THEN list_transform("
    "range(0, greatest(floor((b - a) / s) + 1, 0.0)::BIGINT), lambda i: a + i * s) END"
)


def _range(args: Sequence[str], apply: Apply) -> str:
    type_ = apply.args[0].type
    match type_:
        case "datetime":
            step = args[2] if len(args) > 2 else "36000000000"
            first, last = (f"(kf_time_ticks({each}))" for each in args[:2])
            made = f"list_transform(kf_range_long({first}, {last}, {step}), lambda i: kql_time_text(kf_ticks_time(i)))"
        case "timespan":
            step = args[2] if len(args) > 2 else "36000000000"
            made = f"list_transform(kf_range_long({args[0]}, {args[1]}, {step}), lambda i: kql_span_text(i))"
        case "int" | "long":
            step = args[2] if len(args) > 2 else "1"
            made = f"kf_range_long({args[0]}::BIGINT, {args[1]}::BIGINT, {step}::BIGINT)"
        case _:
            reals = [f"({each})::DOUBLE" for each in [*args, "1"][:3]]
            made = f"kf_range_real({', '.join(reals)})"
    return f"to_json({made})::VARCHAR"


function("range", "N N -> dynamic", duckdb=_range)
function("range", "N N N -> dynamic", duckdb=_range)
function("range", "timespan timespan timespan? -> dynamic", duckdb=_range)
function("range", "datetime datetime timespan? -> dynamic", duckdb=_range)

# ------------------------------------------------------------------ bags


def _bag(args: Sequence[str], apply: Apply) -> str:
    """Keys and values in turn; of a constant key that comes again the first counts."""
    parts: list[str] = []
    seen: set[str] = set()
    for index in range(0, len(args), 2):
        key = apply.args[index]
        if isinstance(key, Value):
            if str(key.value) in seen:
                continue
            seen.add(str(key.value))
        parts.append(f"to_json({args[index]})::VARCHAR || ':' || {json_of(args, apply, index + 1)}")
    return "('{' || " + " || ',' || ".join(parts) + " || '}')"


def _bag_filled(args: Sequence[str], apply: Apply) -> str:
    """As `_bag`, without what is null or an empty string: pack_all(true)."""
    parts = []
    for index in range(0, len(args), 2):
        value = as_json(args[index + 1], apply.args[index + 1].type)
        parts.append(f"""to_json({args[index]})::VARCHAR || ':' || nullif({value}, '""')""")
    return "('{' || concat_ws(',', " + ", ".join(parts) + ") || '}')"


for _name in ("bag_pack", "pack", "pack_dictionary", "pack_all"):
    function(_name, "(string any)* -> dynamic", duckdb=_bag)
function("bag_pack", "-> dynamic", duckdb="'{{}}'")
function("pack_all_filled", "(string any)* -> dynamic", duckdb=_bag_filled)
function("bag_keys", "dynamic -> dynamic",
         duckdb="(CASE WHEN json_type({0}) = 'OBJECT' THEN to_json(json_keys({0}))::VARCHAR END)")  # fmt: skip


def _entries(args: Sequence[str]) -> str:
    return ", ".join(f"kf_entries({each})" for each in args)


function(
    "bag_merge",
    "dynamic dynamic* -> dynamic",
    duckdb=lambda args, _: f"kf_of_entries(kf_first_keys(list_concat({_entries(args)})))",
)


def _names(key: str) -> list[str]:
    """A key of the bag itself, or those of the bags within it, told by a JSON path."""
    return member_path(key) if key.startswith("$") else [key]


def _has(bag: str, key: str) -> str:
    return f"coalesce(json_type({bag}) = 'OBJECT' AND list_contains(json_keys({bag}), {key}), FALSE)"


def _has_key(args: Sequence[str], apply: Apply) -> str:
    key = apply.args[1]
    if not isinstance(key, Value):
        return _has(args[0], args[1])
    *outer, last = _names(str(key.value))
    inner = args[0]
    for each in outer:
        inner = f"json_extract({inner}, {text(pointer(each))})"
    return _has(inner, text(last))


function("bag_has_key", "dynamic string -> bool", duckdb=_has_key)


def _without(bag: str, names: Sequence[str]) -> str:
    """The bag without one key, or one of a bag within it."""
    entry = f"e{len(names)}"
    if len(names) == 1:
        return f"kf_of_entries(list_filter(kf_entries({bag}), lambda {entry}: {entry}.k <> {text(names[0])}))"
    rest = f"CAST({_without(f'{entry}.v', names[1:])} AS JSON)"
    inner = f"CASE WHEN json_type({entry}.v) = 'OBJECT' THEN {rest} ELSE {entry}.v END"
    value = f"CASE WHEN {entry}.k = {text(names[0])} THEN {inner} ELSE {entry}.v END"
    return f"kf_of_entries(list_transform(kf_entries({bag}), lambda {entry}: {{'k': {entry}.k, 'v': {value}}}))"


def _remove_keys(args: Sequence[str], apply: Apply) -> str:
    keys = apply.args[1]
    told = [str(each) for each in keys.value] if isinstance(keys, Value) and isinstance(keys.value, list) else []
    if not any(each.startswith("$") for each in told):
        plain = f"list_filter(kf_entries({args[0]}), lambda e: NOT list_contains(kf_texts({args[1]}), e.k))"
        return f"kf_of_entries({plain})"
    found = args[0]
    for each in told:
        found = once([found], partial(_without, names=_names(each)))
    return found


function("bag_remove_keys", "dynamic dynamic -> dynamic", duckdb=_remove_keys)


def _simple_key(key: str) -> str:
    if key.startswith("$"):
        raise KqlError("plan", f"bag_set_key() with a JSON path ({key!r}) is not supported")
    return key


def _set_key(args: Sequence[str], apply: Apply) -> str:
    key = text(_simple_key(str(constant(apply, 1, "the key"))))
    value = f"CAST({json_of(args, apply, 2)} AS JSON)"
    return f"kf_set_key(kf_entries({args[0]}), {key}, {value})"


macro(
    "kf_set_key(l, key, value) := kf_of_entries(CASE WHEN list_contains(list_transform(l, lambda e: e.k), key) "
    "THEN list_transform(l, lambda e: {'k': e.k, 'v': CASE WHEN e.k = key THEN value ELSE e.v END}) "
    "ELSE list_append(l, {'k': key, 'v': value}) END)"
)
function("bag_set_key", "dynamic string! any -> dynamic", duckdb=_set_key)
macro(
    "kf_bag_zip(keys, vals) := kf_of_entries(kf_first_keys(list_transform(list_filter(range(1, len(keys) + 1), "
    "lambda i: json_type(keys[i]) = 'VARCHAR'), lambda i: {'k': json_extract_string(keys[i], '$'), 'v': vals[i]})))"
)
function("bag_zip", "dynamic dynamic -> dynamic", duckdb="kf_bag_zip(kf_list({0}), kf_list({1}))")


def _size(args: Sequence[str], apply: Apply) -> str:
    """Bytes of each value: fixed for the types of fixed size, else those of its text."""
    fixed = {"bool": 1, "int": 4, "long": 8, "real": 8, "datetime": 8, "timespan": 8, "guid": 16, "decimal": 34}
    sizes = [
        str(fixed[one.type]) if one.type in fixed else f"strlen(coalesce({sql}::VARCHAR, ''))"
        for sql, one in zip(args, apply.args, strict=True)
    ]
    return f"({' + '.join(sizes)})::BIGINT"


function("estimate_data_size", "any any* -> long", duckdb=_size)

# ------------------------------------------------------------------ one text for equal values

DEEPEST = 5  # arrays and bags within one another; binding takes twice the time with each
macro(
    "kf_canonical_0(x) := CASE WHEN json_type(x) IN ('OBJECT', 'ARRAY') THEN error('dynamic_to_json() of a value "
    f"that is nested deeper than {DEEPEST} levels is not supported') ELSE x::VARCHAR END"
)
for _level in range(1, DEEPEST + 1):
    # Members in the order of their names; `p` stands before the value.
    macro(
        f"kf_canonical_{_level}(x) := CASE json_type(x) WHEN 'OBJECT' THEN '{{' WHEN 'ARRAY' THEN '[' ELSE x::VARCHAR "
        "END || coalesce(array_to_string(list_transform(CASE json_type(x) "
        f"WHEN 'OBJECT' THEN list_transform(list_sort(kf_entries(x)), lambda e{_level}: {{'p': "
        f"to_json(e{_level}.k)::VARCHAR || ':', 'v': e{_level}.v}}) "
        f"WHEN 'ARRAY' THEN list_transform(kf_list(x), lambda e{_level}: {{'p': '', 'v': e{_level}}}) END, "
        f"lambda m{_level}: m{_level}.p || coalesce(kf_canonical_{_level - 1}(m{_level}.v), 'null')), ','), '') "
        "|| CASE json_type(x) WHEN 'OBJECT' THEN '}' WHEN 'ARRAY' THEN ']' ELSE '' END"
    )
function("dynamic_to_json", "dynamic -> string", duckdb=lambda args, _: (
    f"coalesce({once(args, lambda x: f'kf_canonical_{DEEPEST}({x})')}, '')"))  # fmt: skip
