"""Aggregation functions.

No rows: counts and sums are 0, an average is NaN, a deviation 0, a list `[]`, a bag `{}`, the rest null. Nulls are left
out but for `count` and the lists that say so. NaN is greater and less than any number: it wins `max` and `min`.
Percentiles and distinct counts are exact. A function of a predicate (`sumif`) is the plain one where it holds.

Source: Kusto Query Language, "Aggregation functions" and the page of each.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from bartizan.hunt.duckdb.literal import as_json, once
from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import aggregate, function
from bartizan.hunt.plan import Aggregate, Value
from bartizan.hunt.tree import Scalar

NUMERIC: tuple[Scalar, ...] = ("long", "real", "decimal")
ORDERED: tuple[Scalar, ...] = ("long", "real", "decimal", "int", "datetime", "timespan", "string", "bool", "guid")


class Arguments(list[str]):
    """The texts of an aggregate's arguments; `where`: the condition of its rows ('': all); `order`: their order, as
    what stands behind ORDER BY ('': any)."""

    def __init__(self, args: Sequence[str], where: str = "", order: str = "") -> None:
        super().__init__(args)
        self.where = where
        self.order = order

    def only(self, *conditions: str) -> str:
        """The FILTER of the rows that meet these conditions too."""
        joined = " AND ".join(f"({each})" for each in (*conditions, self.where) if each)
        return f" FILTER (WHERE {joined})" if joined else ""

    def ordered(self) -> str:
        return f" ORDER BY {self.order}" if self.order else ""


Body: TypeAlias = Callable[[Arguments, Aggregate], str]


def _both(name: str, signature: str, body: Body, *, also: str = "", predicate: int = 1) -> None:
    """Declares a function and its form with a predicate, which stands at this position of its arguments."""
    aggregate(name, signature, duckdb=_plain(body))
    takes, _, gives = signature.partition("->")
    types = takes.split()
    types.insert(predicate, "bool")
    form = also or f"{name}if"
    aggregate(form, f"{' '.join(types)} ->{gives}", duckdb=_conditional(body, predicate))


def _plain(body: Body) -> Callable[[Sequence[str], Any], str]:
    return lambda args, one: body(args if isinstance(args, Arguments) else Arguments(args), one)


def _conditional(body: Body, predicate: int) -> Callable[[Sequence[str], Any], str]:
    def say(args: Sequence[str], one: Aggregate) -> str:
        given = args if isinstance(args, Arguments) else Arguments(args)
        rest = [each for index, each in enumerate(given) if index != predicate]
        where = f"({given[predicate]})" + (f" AND ({given.where})" if given.where else "")
        kept = [each for index, each in enumerate(one.args) if index != predicate]
        return body(Arguments(rest, where, given.order), Aggregate(one.id, one.type, one.function, kept, one.where))

    return say


# ------------------------------------------------------------------ counts, sums


def _count(args: Arguments, one: Aggregate) -> str:
    return f"count(*){args.only()}"


def _sum(args: Arguments, one: Aggregate) -> str:
    if one.type in ("long", "timespan"):
        return f"kql_wrap(coalesce(sum({args[0]}){args.only()}, 0::HUGEINT)::HUGEINT)"
    if one.type == "decimal":
        return decimal_sum(args[0], args.only())
    return f"coalesce(sum({args[0]}){args.only()}, 0)"


def decimal_sum(sql: str, scope: str) -> str:
    """Of no rows 0; null where it is no decimal any more. DuckDB's own sum fails there, even at a sum on the way."""
    return f"kf_decimal_sum(sum(trunc({sql})){scope}, sum({sql} - trunc({sql})){scope})"


macro(
    "kf_decimal_sum(whole, rest) := CASE WHEN whole IS NULL THEN 0::DECIMAL(38,18) "
    "WHEN abs(whole::DOUBLE + rest::DOUBLE) < 1e20 THEN try_cast(whole AS DECIMAL(38,18)) + rest END"
)


def _average(args: Arguments, one: Aggregate) -> str:
    match one.type:
        case "datetime":
            return f"make_timestamp(avg(epoch_us({args[0]})){args.only()}::BIGINT)"
        case "timespan":
            return f"kf_real_long(avg({args[0]}){args.only()})"
        case "decimal":
            whole = f"trunc({args[0]})"
            parts = f"avg({whole}){args.only()} + avg({args[0]} - {whole}){args.only()}"
            return f"try_cast({parts} AS DECIMAL(38,18))"
        case _:
            return f"coalesce(avg({args[0]}){args.only()}, 'nan'::DOUBLE)"


def _distinct(args: Arguments, one: Aggregate) -> str:
    return f"count(DISTINCT {args[0]}){args.only()}"


def _spread(function: str) -> Body:
    return lambda args, one: f"coalesce({function}({args[0]}){args.only()}, 0::DOUBLE)"


def _bitwise(function: str) -> Body:
    return lambda args, one: f"{function}({args[0]}){args.only()}"


aggregate("count", "any? -> long", duckdb=_plain(_count))
aggregate("countif", "bool -> long", duckdb=lambda args, one: _conditional(_count, 0)(args, one))
for _type in (*NUMERIC, "timespan"):
    _both("sum", f"{_type} -> {_type}", _sum)
for _type, _gives in (("long", "real"), ("real", "real"), ("decimal", "decimal"), ("timespan", "timespan"),
                      ("datetime", "datetime")):  # fmt: skip
    _both("avg", f"{_type} -> {_gives}", _average)
_both("dcount", "any long? -> long", _distinct)
_both("count_distinct", "any -> long", _distinct)
for _name, _function in (("stdev", "stddev_samp"), ("stdevp", "stddev_pop"), ("variance", "var_samp"),
                         ("variancep", "var_pop")):  # fmt: skip
    _both(_name, "real -> real", _spread(_function))
for _name, _function in (("and", "bit_and"), ("or", "bit_or"), ("xor", "bit_xor")):
    for _type in ("int", "long"):
        aggregate(f"binary_all_{_name}", f"{_type} -> {_type}", duckdb=_plain(_bitwise(_function)))


def _together(function: str) -> Body:
    return lambda args, one: f"coalesce({function}({args[0]}, {args[1]}){args.only()}, 0::DOUBLE)"


for _name, _function in (("covariance", "covar_samp"), ("covariancep", "covar_pop")):
    _both(_name, "real real -> real", _together(_function), predicate=2)


# ------------------------------------------------------------------ greatest, least, any


def _extreme(least: bool) -> Body:
    def body(args: Arguments, one: Aggregate) -> str:
        greatest = f"max({args[0]}){args.only()}"
        found = f"min({args[0]}){args.only()}" if least else greatest
        if one.type == "string":
            return f"coalesce({found}, '')"
        if one.type == "real" and least:
            return f"CASE WHEN isnan({greatest}) THEN 'nan'::DOUBLE ELSE {found} END"
        return found

    return body


NOT_OF_DYNAMIC = {  # why
    **dict.fromkeys(("min", "minif", "max", "maxif"), "dynamic values have no one order"),
    **dict.fromkeys(("sum", "sumif"), "dynamic values are of no one type"),
}


def _unsaid(args: Arguments, one: Aggregate) -> str:
    """The binder refuses it, with its place."""
    raise KqlError("plan", f"{one.function} is not supported")


def _any(args: Arguments, one: Aggregate) -> str:
    found = f"any_value({args[0]}){args.only()}"
    return f"coalesce({found}, '')" if one.type == "string" else found


def _first(args: Arguments, one: Aggregate) -> str:
    found = f"first({args[0]}{args.ordered()}){args.only()}"
    return f"coalesce({found}, '')" if one.type == "string" else found


_LOSES: dict[Scalar, tuple[str, str]] = {  # to every value: of the greatest, of the least
    "datetime": ("'-infinity'::TIMESTAMP", "'infinity'::TIMESTAMP"),
    "int": ("-2147483649", "2147483648"),
}


def rank(by: str, type_: Scalar, *, least: bool) -> tuple[str, bool]:
    """What is compared for arg_max and arg_min, where NaN wins both; and whether it is never null: a null is then a
    value that loses."""
    if least and type_ == "real":
        by = f"CASE WHEN isnan({by}) THEN '-inf'::DOUBLE ELSE {by} END"
    lost = _LOSES.get(type_)
    return (by, type_ == "string") if lost is None else (f"coalesce({by}, {lost[least]})", True)


def _of_extreme(least: bool) -> Body:
    """`args`: what is given, what is compared. Where all compared values are null, any row's."""

    def body(args: Arguments, one: Aggregate) -> str:
        compared, never_null = rank(args[1], one.args[1].type, least=least)
        found = f"{'arg_min' if least else 'arg_max'}_null({args[0]}, {compared}){args.only()}"
        if not never_null:
            found = f"CASE WHEN count({args[1]}){args.only()} > 0 THEN {found} ELSE first({args[0]}){args.only()} END"
        return f"coalesce({found}, '')" if one.type == "string" else found

    return body


for _type in ORDERED:
    _both("min", f"{_type} -> {_type}", _extreme(True))
    _both("max", f"{_type} -> {_type}", _extreme(False))
for _name in ("min", "max", "sum"):
    _both(_name, "dynamic -> dynamic", _unsaid)
_both("take_any", "any -> any", _any)
_both("any", "any -> any", _any)
aggregate("first_row", "any -> any", duckdb=_plain(_first))  # of take_any with many columns: all of one row
aggregate("arg_max", "any any -> any", duckdb=_plain(_of_extreme(False)))  # in the order: what is given, compared
aggregate("arg_min", "any any -> any", duckdb=_plain(_of_extreme(True)))


# ------------------------------------------------------------------ lists, sets, bags

# The elements of a dynamic value in a list: arrays are taken apart.
macro(
    "kql_list_parts(x) := CASE WHEN json_type(x) = 'ARRAY' THEN json_extract(x, '$[*]')::VARCHAR[] "
    "ELSE [x::VARCHAR] END"
)
macro(
    "kql_list_text(parts) := '[' || array_to_string(list_transform(parts, lambda p: coalesce(p, 'null')), ',') || ']'"
)
# The members of the bags of a list; the first of a name stays.
macro(
    "kql_bag_members(bags) := flatten(list_transform(bags, lambda b: list_zip(json_keys(b), "
    "json_extract(b, '$.*')::VARCHAR[])))"
)
macro(
    "kql_bag_of(bags) := '{' || array_to_string(list_transform(list_filter(kql_bag_members(bags), "
    "lambda m, i: list_position(list_transform(kql_bag_members(bags), lambda o: o[1]), m[1]) = i), "
    "lambda m: to_json(m[1])::VARCHAR || ':' || m[2]), ',') || '}'"
)


def _most(args: Arguments, one: Aggregate) -> str:
    """The slice of a list that has a most."""
    return f"[1:{args[1]}]" if len(args) > 1 else ""


def _array(listed: str, type_: Scalar) -> str:
    """A list of values as JSON; no list: `[]`."""
    if type_ in ("bool", "int", "long", "string"):
        return f"coalesce(to_json({listed})::VARCHAR, '[]')"
    if type_ == "dynamic":
        return f"coalesce(kql_list_text({listed}), '[]')"
    return f"coalesce(kql_list_text(list_transform({listed}, lambda e: {as_json('e', type_)})), '[]')"


def _list(args: Arguments, one: Aggregate) -> str:
    type_ = one.args[0].type
    if type_ == "dynamic":
        return _array(f"flatten(list(kql_list_parts({args[0]}){args.ordered()}){args.only()}){_most(args, one)}", type_)
    kept = args.only() if type_ == "string" else args.only(f"{args[0]} IS NOT NULL")
    return _array(f"list({args[0]}{args.ordered()}){kept}{_most(args, one)}", type_)


def _list_with_nulls(args: Arguments, one: Aggregate) -> str:
    type_ = one.args[0].type
    if type_ == "dynamic":
        return _list(args, one)
    return _array(f"list({args[0]}{args.ordered()}){args.only()}", type_)


def _set(args: Arguments, one: Aggregate) -> str:
    """Sorted, so that the same rows give the same set."""
    type_ = one.args[0].type
    if type_ == "dynamic":
        parts = f"flatten(list(DISTINCT kql_list_parts({args[0]})){args.only()})"
        return _array(f"list_sort(list_distinct({parts})){_most(args, one)}", type_)
    kept = args.only() if type_ == "string" else args.only(f"{args[0]} IS NOT NULL")
    return _array(f"list_sort(list(DISTINCT {args[0]}){kept}){_most(args, one)}", type_)


def _bag(args: Arguments, one: Aggregate) -> str:
    kept = args.only(f"json_type({args[0]}) = 'OBJECT'")
    return f"coalesce({once([f'list({args[0]}{args.ordered()}){kept}'], 'kql_bag_of({0})'.format)}, '{{}}')"


for _name in ("make_list", "makelist"):
    _both(_name, "any long!? -> dynamic", _list, also=f"{_name}_if")
for _name in ("make_set", "makeset"):
    _both(_name, "any long!? -> dynamic", _set, also=f"{_name}_if")
aggregate("make_list_with_nulls", "any -> dynamic", duckdb=_plain(_list_with_nulls))
_both("make_bag", "dynamic long!? -> dynamic", _bag, also="make_bag_if")
aggregate("make_dictionary", "dynamic long!? -> dynamic", duckdb=_plain(_bag))


# ------------------------------------------------------------------ percentiles


def _share(one: Aggregate, position: int) -> list[float]:
    """The percentages as parts of 1: constants from this argument on, or one array of them."""
    shares: list[float] = []
    for each in one.args[position:]:
        content = each.value if isinstance(each, Value) else None
        for number in content if isinstance(content, list) else [content]:
            if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 100:
                raise KqlError("bind", "a percentile must be a constant number from 0 to 100")
            shares.append(number / 100)
    return shares


def _percentile(args: Arguments, one: Aggregate) -> str:
    return f"quantile_disc({args[0]}, {_share(one, 1)[0]!r}){args.only()}"


def _percentiles(args: Arguments, one: Aggregate) -> str:
    listed = f"quantile_disc({args[0]}, {_share(one, 1)!r}){args.only()}"
    return _array(listed, one.args[0].type)


macro(
    "kql_number_text(x) := CASE WHEN x = trunc(x) AND abs(x) < 9e15 THEN x::BIGINT::VARCHAR "
    "ELSE to_json(x)::VARCHAR END"
)


def _percentile_dynamic(args: Arguments, one: Aggregate) -> str:
    """Of the numbers among dynamic values."""
    return f"kql_number_text(quantile_disc(kql_number({args[0]}), {_share(one, 1)[0]!r}){args.only()})"


def _weighted(share: float, args: Arguments) -> str:
    """The value at which the weights, added up from the least value on, reach the share of their sum."""
    kept = args.only(f"{args[0]} IS NOT NULL", f"{args[1]} > 0")
    listed = f"list(struct_pack(x := {args[0]}, w := {args[1]}::DOUBLE) ORDER BY {args[0]}){kept}"
    wanted = f"sum({args[1]}::DOUBLE){kept} * {share!r}"
    step = f"CASE WHEN a.w >= {wanted} THEN a ELSE struct_pack(x := e.x, w := a.w + e.w) END"
    return f"struct_extract(list_reduce({listed}, lambda a, e: {step}), 'x')"


def _weighted_list(args: Arguments, one: Aggregate) -> str:
    return _array(f"[{', '.join(_weighted(each, args) for each in _share(one, 2))}]", one.args[0].type)


aggregate("percentile", "dynamic real! -> dynamic", duckdb=_plain(_percentile_dynamic))
for _type in ("long", "real", "datetime", "timespan"):  # of a decimal it is a real
    aggregate("percentile", f"{_type} real! -> {_type}", duckdb=_plain(_percentile))
    aggregate("percentilew", f"{_type} long real! -> {_type}",
              duckdb=_plain(lambda args, one: _weighted(_share(one, 2)[0], args)))  # fmt: skip
    for _more in ("real! real!*", "dynamic!"):
        aggregate("percentiles_array", f"{_type} {_more} -> dynamic", duckdb=_plain(_percentiles))
        aggregate("percentilesw_array", f"{_type} long {_more} -> dynamic", duckdb=_plain(_weighted_list))


# A digest is the list of its numbers: see `statistics`. Lists of lists are taken apart.
for _type in ("int", "long", "real", "decimal", "datetime"):
    aggregate("tdigest", f"{_type} -> dynamic", duckdb=_plain(_list))
for _name in ("tdigest_merge", "merge_tdigest"):
    aggregate(_name, "dynamic -> dynamic", duckdb=_plain(_list))
aggregate("buildschema", "dynamic -> dynamic", duckdb=_plain(_unsaid))  # the binder makes it of a list

# ------------------------------------------------------------------ sketches of distinct values

# Not a sketch but the values themselves, as hashes of 64 bits: it counts exactly, and grows with what it counts.
macro("kql_hashes(sketches) := '[' || array_to_string(list_sort(list_distinct(sketches)), ',') || ']'")


def _sketch(args: Arguments, one: Aggregate) -> str:
    hashes = f"list(DISTINCT hash({args[0]})::VARCHAR){args.only(f'{args[0]} IS NOT NULL')}"
    return f"coalesce(kql_hashes({hashes}), '[]')"


def _merged(args: Arguments, one: Aggregate) -> str:
    return f"coalesce(kql_hashes(flatten(list(kql_list_parts({args[0]})){args.only(f'{args[0]} IS NOT NULL')})), '[]')"


_both("hll", "any long? -> dynamic", _sketch, also="hll_if")
aggregate("hll_merge", "dynamic -> dynamic", duckdb=_plain(_merged))
function("hll_merge", "dynamic dynamic dynamic* -> dynamic", duckdb=lambda args, _: (
    f"kql_hashes(flatten([{', '.join(f'kql_list_parts({each})' for each in args)}]))"))  # fmt: skip
function("dcount_hll", "dynamic -> long", duckdb="json_array_length({0})::BIGINT")
