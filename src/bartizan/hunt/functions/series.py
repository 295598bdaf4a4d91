"""Functions of series: arrays of numbers. What is no number counts as null.

Functions that give several columns give an array, in whose order `MANY` names the columns and their types. Elements
of a result are whole numbers where all that made them were (sums, differences, products, absolute values, fillings).

Source: Kusto Query Language, "Scalar functions", group "Series processing functions".
"""

from collections.abc import Sequence
from functools import partial

from bartizan.hunt.duckdb.literal import as_json
from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.functions import constant, function
from bartizan.hunt.plan import Apply
from bartizan.hunt.tree import Scalar

# What the columns of a result are called behind the name of the function (and of the argument); their types.
MANY: dict[str, tuple[tuple[str, Scalar], ...]] = {
    "series_stats": (
        ("min", "real"),
        ("min_idx", "long"),
        ("max", "real"),
        ("max_idx", "long"),
        ("avg", "real"),
        ("stdev", "real"),
        ("variance", "real"),
    ),
    "series_fit_line": (
        ("rsquare", "real"),
        ("slope", "real"),
        ("variance", "real"),
        ("rvariance", "real"),
        ("interception", "real"),
        ("line_fit", "dynamic"),
    ),
}

# ------------------------------------------------------------------ numbers of an array, and back

macro("""kf_reals(x) := from_json(x::VARCHAR, '["DOUBLE"]')""")
macro(
    "kf_real_json(r) := CASE WHEN r IS NULL THEN 'null' WHEN isnan(r) THEN '\"NaN\"' WHEN isinf(r) THEN "
    "CASE WHEN r > 0 THEN '\"Infinity\"' ELSE '\"-Infinity\"' END ELSE to_json(r)::VARCHAR END"
)
macro("kf_of_reals(l) := '[' || array_to_string(list_transform(l, lambda r: kf_real_json(r)), ',') || ']'")
# Whole where no element has a point.
macro("kf_is_whole(x) := NOT regexp_matches(x::VARCHAR, '[.eE]')")
macro(
    "kf_of_numbers(l, is_whole) := CASE WHEN is_whole THEN '[' || array_to_string(list_transform(l, lambda r: "
    "coalesce(try_cast(r AS BIGINT)::VARCHAR, 'null')), ',') || ']' ELSE kf_of_reals(l) END"
)


def _reals(args: Sequence[str], apply: Apply, index: int) -> str:
    """A list of reals: of an array its elements, of a number it alone."""
    if apply.args[index].type == "dynamic":
        return f"coalesce(kf_reals({args[index]}), [try_cast({args[index]}::VARCHAR AS DOUBLE)])"
    return f"[{args[index]}::DOUBLE]"


def _whole(args: Sequence[str], apply: Apply, index: int) -> str:
    type_ = apply.args[index].type
    return f"kf_is_whole({args[index]})" if type_ == "dynamic" else "TRUE" if type_ in ("int", "long") else "FALSE"


# One number stands for as many as the other array has; the longer array's rest is null.
macro("kf_at(l, i, other) := CASE WHEN len(l) = 1 AND other > 1 THEN l[1] ELSE l[i] END")


def _pairs(args: Sequence[str], apply: Apply, body: str) -> str:
    """`body` for each pair {a} {b} of elements."""
    one, other = _reals(args, apply, 0), _reals(args, apply, 1)
    said = body.format(a="kf_at(s.a, i, len(s.b))", b="kf_at(s.b, i, len(s.a))")
    return (
        f"list_transform([{{'a': {one}, 'b': {other}}}], lambda s: "
        f"list_transform(range(1, greatest(len(s.a), len(s.b)) + 1), lambda i: {said}))[1]"
    )


def _arithmetic(body: str, keeps: bool, args: Sequence[str], apply: Apply) -> str:
    made = _pairs(args, apply, body)
    if not keeps:
        return f"kf_of_reals({made})"
    return f"kf_of_numbers({made}, {_whole(args, apply, 0)} AND {_whole(args, apply, 1)})"


def _compare(body: str, args: Sequence[str], apply: Apply) -> str:
    return f"to_json({_pairs(args, apply, body)})::VARCHAR"


_SIGNATURES = ("dynamic dynamic -> dynamic", "dynamic number -> dynamic", "number dynamic -> dynamic")
for _signature in _SIGNATURES:
    for _name, _body, _keeps in (
        ("add", "{a} + {b}", True),
        ("subtract", "{a} - {b}", True),
        ("multiply", "{a} * {b}", True),
        ("divide", "{a} / {b}", False),
        ("pow", "pow({a}, {b})", False),
    ):
        function(f"series_{_name}", _signature, duckdb=partial(_arithmetic, _body, _keeps))
    for _name, _sign in (
        ("greater", ">"),
        ("greater_equals", ">="),
        ("less", "<"),
        ("less_equals", "<="),
        ("equals", "="),
        ("not_equals", "<>"),
    ):
        function(f"series_{_name}", _signature, duckdb=partial(_compare, f"{{a}} {_sign} {{b}}"))
    function(
        "series_dot_product",
        _signature.replace("-> dynamic", "-> real"),
        duckdb=lambda args, apply: f"list_sum({_pairs(args, apply, '{a} * {b}')})",
    )

for _name, _body in (
    ("exp", "exp(r)"),
    ("sign", "sign(r)::DOUBLE"),
    ("sin", "sin(r)"),
    ("cos", "cos(r)"),
    ("tan", "tan(r)"),
    ("asin", "asin(CASE WHEN r BETWEEN -1 AND 1 THEN r END)"),
    ("acos", "acos(CASE WHEN r BETWEEN -1 AND 1 THEN r END)"),
    ("atan", "atan(r)"),
    ("log", "ln(CASE WHEN r >= 0 THEN r END)"),
    ("floor", "floor(r)"),
):
    function(
        f"series_{_name}",
        "dynamic -> dynamic",
        duckdb=f"kf_of_reals(list_transform(kf_reals({{0}}), lambda r: {_body}))",
    )
for _name, _body in (("abs", "abs(r)"), ("ceiling", "ceil(r)")):
    function(
        f"series_{_name}",
        "dynamic -> dynamic",
        duckdb=f"kf_of_numbers(list_transform(kf_reals({{0}}), lambda r: {_body}), kf_is_whole({{0}}))",
    )
function("series_product", "dynamic -> real",
         duckdb="list_product(list_filter(kf_reals({0}), lambda r: r IS NOT NULL))")  # fmt: skip
function("series_magnitude", "dynamic -> real",
         duckdb="sqrt(list_sum(list_transform(kf_reals({0}), lambda r: r * r)))")  # fmt: skip

# ------------------------------------------------------------------ statistics

# Squares of the distances from the mean, as the divisor asks: n - 1 for a sample.
macro("kf_mean(l) := list_sum(l) / len(l)")
macro("kf_squares(l, mean) := list_sum(list_transform(l, lambda r: (r - mean) * (r - mean)))")
macro(
    "kf_finite(l, skip) := CASE WHEN skip THEN list_filter(l, lambda r: isfinite(r)) "
    "WHEN list_bool_and(list_transform(l, lambda r: coalesce(isfinite(r), FALSE))) THEN l END"
)
macro(
    "kf_spread(l) := list_transform([kf_mean(l)], lambda mean: CASE WHEN len(l) > 1 "
    "THEN kf_squares(l, mean) / (len(l) - 1) WHEN len(l) = 1 THEN 0.0 END)[1]"
)
macro(
    "kf_stats(l, f) := list_transform([{'least': list_min(f), 'most': list_max(f), 'mean': kf_mean(f), 'spread': "
    "kf_spread(f)}], "
    "lambda s: {'min': s.least, 'min_idx': CASE WHEN s.least IS NOT NULL THEN list_position(l, s.least) - 1 END, "
    "'max': s.most, "
    "'max_idx': CASE WHEN s.most IS NOT NULL THEN list_position(l, s.most) - 1 END, 'avg': s.mean, 'stdev': "
    "sqrt(s.spread), 'variance': s.spread, "
    "'sum': list_sum(f), 'len': len(f)})[1]"
)


def _stats(args: Sequence[str], apply: Apply) -> str:
    skip = bool(constant(apply, 1, "ignore_nonfinite")) if len(args) > 1 else False
    series = f"kf_reals({args[0]})"
    return f"kf_stats({series}, kf_finite({series}, {str(skip).upper()}))"


def _stats_array(args: Sequence[str], apply: Apply) -> str:
    names = ("min", "min_idx", "max", "max_idx", "avg", "stdev", "variance")
    parts = " || ',' || ".join(f"coalesce(to_json(s.{name})::VARCHAR, 'null')" for name in names)
    return f"list_transform([{_stats(args, apply)}], lambda s: '[' || {parts} || ']')[1]"


function("series_stats", "dynamic bool?! -> dynamic", duckdb=_stats_array)
function("series_stats_dynamic", "dynamic bool?! -> dynamic",
         duckdb=lambda args, apply: f"to_json({_stats(args, apply)})::VARCHAR")  # fmt: skip
macro(
    "kf_pearson(a, b) := list_transform([{'a': kf_mean(a), 'b': kf_mean(b)}], lambda m: "
    "list_sum(list_transform(range(1, len(a) + 1), lambda i: (a[i] - m.a) * (b[i] - m.b))) "
    "/ sqrt(kf_squares(a, m.a) * kf_squares(b, m.b)))[1]"
)
function(
    "series_pearson_correlation",
    "dynamic dynamic -> real",
    duckdb="(CASE WHEN json_array_length({0}) = json_array_length({1}) "
    "THEN kf_pearson(kf_reals({0}), kf_reals({1})) END)",
)
macro("kf_cosine(a, b) := list_cosine_similarity(a, b)")
function(
    "series_cosine_similarity",
    "dynamic dynamic -> real",
    duckdb="(CASE WHEN json_array_length({0}) = json_array_length({1}) AND json_array_length({0}) > 0 "
    "AND list_bool_and(list_transform(list_concat(kf_reals({0}), kf_reals({1})), lambda r: coalesce(isfinite(r), "
    "FALSE))) "
    "THEN kf_cosine(kf_reals({0}), kf_reals({1})) END)",
)

# ------------------------------------------------------------------ a line of least squares

# x counts from 0. rsquare: what of the variance the line explains; rvariance: that of the rest.
macro(
    "kf_line(y) := list_transform([{'n': len(y), 'x': (len(y) - 1) / 2, 'y': kf_mean(y)}], lambda m: "
    "list_transform([{'s': list_sum(list_transform(y, lambda r, i: (i - 1 - m.x) * (r - m.y))) "
    "/ nullif(m.n * (m.n * m.n - 1) / 12, 0)}], lambda k: {'slope': coalesce(k.s, 0.0), 'start': m.y - "
    "coalesce(k.s, 0.0) * m.x, "
    "'mean': m.y})[1])[1]"
)
macro(
    "kf_fit(l) := list_transform([l], lambda fy: list_transform([kf_line(fy)], lambda ff: list_transform([{'v': "
    "kf_squares(fy, ff.mean), 'r': list_sum(list_transform(fy, lambda fr, fi: pow(fr - ff.start - ff.slope * (fi - 1), "
    "2)))}], lambda fq: '[' || kf_real_json(CASE WHEN fq.v > 0 THEN 1 - fq.r / fq.v ELSE 1 END) || ',' "
    "|| kf_real_json(ff.slope) || ',' || kf_real_json(fq.v / greatest(len(fy) - 1, 1)) || ',' "
    "|| kf_real_json(fq.r / greatest(len(fy) - 1, 1)) || ',' || kf_real_json(ff.start) || ',' "
    "|| kf_of_reals(list_transform(fy, lambda fs, fj: ff.start + ff.slope * (fj - 1))) || ']')[1])[1])[1]"
)
function("series_fit_line", "dynamic -> dynamic",
         duckdb="(CASE WHEN json_array_length({0}) > 0 THEN kf_fit(kf_finite(kf_reals({0}), FALSE)) END)")  # fmt: skip
macro(
    "kf_named_fit(a) := list_transform([a], lambda na: '{\"rsquare\":' || json_extract(na, '$[0]') || ',\"slope\":' "
    "|| json_extract(na, '$[1]') || ',\"variance\":' || json_extract(na, '$[2]') || ',\"rvariance\":' "
    "|| json_extract(na, '$[3]') || ',\"interception\":' || json_extract(na, '$[4]') || ',\"line_fit\":' "
    "|| json_extract(na, '$[5]') || '}')[1]"
)
function(
    "series_fit_line_dynamic",
    "dynamic -> dynamic",
    duckdb="(CASE WHEN json_array_length({0}) > 0 "
    "THEN kf_named_fit(kf_fit(kf_finite(kf_reals({0}), FALSE))::JSON) END)",
)

# ------------------------------------------------------------------ filters

macro(
    "kf_fir(l, w, center) := list_transform(range(1, len(l) + 1), lambda i: list_sum(list_transform(w, lambda c, k: "
    "c * coalesce(CASE WHEN i - k + 1 + center BETWEEN 1 AND len(l) THEN l[i - k + 1 + center] END, 0))))"
)
macro("kf_weights(w, normal) := CASE WHEN normal THEN list_transform(w, lambda c: c / list_sum(w)) ELSE w END")


def _fir(args: Sequence[str], _: Apply) -> str:
    """Without `normalize` the coefficients are divided by their sum, where none is negative."""
    weights = f"kf_reals({args[1]})"
    normal = args[2] if len(args) > 2 else f"(list_min({weights}) >= 0 AND list_sum({weights}) <> 0)"
    center = f"CASE WHEN {args[3]} THEN (len({weights}) - 1) // 2 ELSE 0 END" if len(args) > 3 else "0"
    return f"kf_of_reals(kf_fir(kf_reals({args[0]}), kf_weights({weights}, {normal}), {center}))"


function("series_fir", "dynamic dynamic bool? bool? -> dynamic", duckdb=_fir)
# y[i] = (sum of b[k] x[i-k] - sum over k > 0 of a[k] y[i-k]) / a[0]
macro(
    "kf_iir(x, b, a) := CASE WHEN len(x) = 0 THEN x WHEN a[1] <> 0 THEN list_reduce(range(1, len(x) + 1), lambda y, i: "
    "list_append(y, (list_sum(list_transform(b, lambda c, k: c * coalesce(CASE WHEN i - k + 1 >= 1 THEN x[i - k + "
    "1] END, 0))) "
    "- coalesce(list_sum(list_transform(a[2:], lambda c, k: c * coalesce(CASE WHEN i - k >= 1 THEN y[i - k] END, "
    "0))), 0)) "
    "/ a[1]), []::DOUBLE[]) END"
)
function(
    "series_iir",
    "dynamic dynamic dynamic -> dynamic",
    duckdb="kf_of_reals(kf_iir(kf_reals({0}), kf_reals({1}), kf_reals({2})))",
)

# ------------------------------------------------------------------ fillings of what is missing

# Whether an element is missing: null, no number, or the placeholder.
macro("kf_known(l, hole) := list_transform(l, lambda r: CASE WHEN r IS DISTINCT FROM hole AND isfinite(r) THEN r END)")
macro("kf_last_known(l, i) := list_filter(l[1:i], lambda r: r IS NOT NULL)[-1]")
macro("kf_next_known(l, i) := list_filter(l[i:], lambda r: r IS NOT NULL)[1]")
macro("kf_place_before(l, i) := list_last(list_filter(range(1, i + 1), lambda j: l[j] IS NOT NULL))")
macro("kf_place_after(l, i) := list_first(list_filter(range(i, len(l) + 1), lambda j: l[j] IS NOT NULL))")
macro(
    "kf_between(l, i, b, a) := CASE WHEN b IS NULL OR a IS NULL THEN NULL WHEN a = b THEN l[i] "
    "ELSE l[b] + (l[a] - l[b]) * (i - b) / (a - b) END"
)


def _hole(args: Sequence[str], index: int) -> str:
    return f"({args[index]})::DOUBLE" if index < len(args) else "NULL::DOUBLE"


def _filled(body: str, args: Sequence[str], _: Apply) -> str:
    known = f"kf_known(kf_reals({args[0]}), {_hole(args, 1)})"
    made = f"list_transform([{known}], lambda k: list_transform(range(1, len(k) + 1), lambda i: {body}))[1]"
    return f"kf_of_numbers({made}, kf_is_whole({args[0]}))"


function("series_fill_forward", "dynamic number? -> dynamic", duckdb=partial(_filled, "kf_last_known(k, i)"))
function("series_fill_backward", "dynamic number? -> dynamic", duckdb=partial(_filled, "kf_next_known(k, i)"))


def _const(args: Sequence[str], apply: Apply) -> str:
    """Each element as it stands, or the constant as it stands."""
    constant_ = as_json(args[1], apply.args[1].type) if len(args) > 1 else "'0'"
    known = f"kf_known(kf_reals({args[0]}), {_hole(args, 2)})"
    return (
        f"list_transform([{known}], lambda k: '[' || array_to_string(list_transform(kf_list({args[0]}), lambda e, i: "
        f"CASE WHEN k[i] IS NULL THEN coalesce({constant_}, 'null') ELSE e::VARCHAR END), ',') || ']')[1]"
    )


function("series_fill_const", "dynamic number? number? -> dynamic", duckdb=_const)


def _linear(args: Sequence[str], _: Apply) -> str:
    """Between two known neighbours the line; at the ends the nearest (unless not wanted); of nothing the constant."""
    known = f"kf_known(kf_reals({args[0]}), {_hole(args, 1)})"
    edges = args[2] if len(args) > 2 else "TRUE"
    nothing = f"({args[3]})::DOUBLE" if len(args) > 3 else "0.0"
    line = "kf_between(k, i, kf_place_before(k, i), kf_place_after(k, i))"
    body = f"coalesce({line}, CASE WHEN {edges} THEN coalesce(kf_last_known(k, i), kf_next_known(k, i)) END)"
    each = f"CASE WHEN kf_last_known(k, len(k)) IS NULL THEN {nothing} ELSE {body} END"
    made = f"list_transform([{known}::DOUBLE[]], lambda k: list_transform(range(1, len(k) + 1), lambda i: {each}))[1]"
    is_whole = f"(kf_is_whole({args[0]}) AND kf_last_known({known}, 4294967295) IS NOT NULL)"
    return f"kf_of_numbers(list_transform({made}, lambda r: CASE WHEN {is_whole} THEN trunc(r) ELSE r END), {is_whole})"


function("series_fill_linear", "dynamic number? bool? number? -> dynamic", duckdb=_linear)
