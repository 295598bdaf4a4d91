"""Functions that take a series apart: its periods, its season and trend, and the points that stand out from them.

Season: of each phase of a period the median. Trend: the mean, or the line, of what the season leaves. The points at the
end that are only tested are left out of both. A point stands out by its distance from the percentiles of what is left.

How the engine scores a period is not published. Here the score of p is the correlation of the series with itself, p
points later, tapered towards its ends by Hann's window; p is a period where no lag from p/2 to 3p/2 scores more. That
gives what the documentation prints: of its examples the periods, the one score, and what is too short to have one.

A series in which a point is missing has no season or trend: the result is null. `series_outliers` alone passes over it.

Source: Kusto Query Language, "series_periods_detect()", "series_periods_validate()", "series_seasonal()",
"series_decompose()", "series_decompose_anomalies()", "series_decompose_forecast()", "series_outliers()"; of the score
of an outlier "How does Kusto series_outliers() calculate anomaly scores?", answered by its author; Blackman and Tukey,
"The Measurement of Power Spectra" (Hann's window); Boersma, "Accurate short-term analysis of the fundamental
frequency" (its own correlation).
"""

from collections.abc import Sequence

from bartizan.hunt.duckdb.literal import text
from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import constant, function
from bartizan.hunt.plan import Apply

LEAST_PERIOD = 4  # points; the most is half of the series
SEASON_SCORE = 0.6  # what a period must score more than to be taken for one, unless told
SEASONAL_SCORE = 0.7  # the same, of series_seasonal
ANOMALY = 1.5
# The score of an outlier is as if between the quartiles; this is how far off that lies from the percentiles 10 and 90
# of what is distributed normally, as the engine has it: 3 z / (4 * 0.675 - z) with z = 1.29682082.
TENTHS = 2.772605605507915
KINDS = {"ctukey": (0.1, 0.9, TENTHS), "tukey": (0.25, 0.75, 1.0)}  # by kind: the percentiles, and that factor
MOST_PERIODS = 1_000  # that may be asked for or about at once
NOISE = 1e-12  # of the greatest value: what is left of a point by rounding

# The names of lambdas' arguments are a macro's own: an argument of the same name would be taken for them. What a lambda
# uses is worked out before, as a name (`_let`): else it is worked out for each element.

# ------------------------------------------------------------------ periods

macro(
    "kf_tapered(l) := list_transform([l], lambda tl: list_transform([list_avg(tl)], lambda tm: list_transform(tl, "
    "lambda tr, ti: (tr - tm) * (0.5 - 0.5 * cos(2 * pi() * (ti - 1) / (len(tl) - 1)))))[1])[1]"
)
macro(
    "kf_lags(w) := list_transform([w], lambda gw: list_transform(range(1, len(gw) // 2 + 1), lambda gk: "
    "list_inner_product(gw[1:len(gw) - gk], gw[gk + 1:len(gw)]) / nullif(list_inner_product(gw, gw), 0) "
    "* len(gw) / (len(gw) - gk)))[1]"
)
macro("kf_scores(l) := kf_lags(kf_tapered(l))")
macro("kf_is_peak(c, p) := coalesce(c[p] > 0 AND c[p] >= list_max(c[(p + 1) // 2:least(3 * p // 2, len(c))]), FALSE)")
# The window makes later lags score less, so that a broad peak seems to be a little before its place: without the window
# (x: the part of the series that a lag is) it is where it belongs.
macro("kf_untapered(s, x) := s * (1 - x) / ((1 - x) * (2 + cos(2 * pi() * x)) / 3 + sin(2 * pi() * x) / (2 * pi()))")
macro(
    "kf_true_place(c, p) := list_max(list_transform(range(greatest(1, p - p // 20 - 1), least(len(c), p + p // 20 + 1) "
    "+ 1), lambda pi: {'u': kf_untapered(c[pi], pi / (2 * len(c))), 'p': -pi})).p"
)
# Best first: a score below zero, and the period.
macro(
    "kf_periods(c) := list_transform([c], lambda pc: list_sort(list_transform(list_transform(list_filter(range("
    f"{LEAST_PERIOD}, coalesce(len(pc), 0) + 1), lambda pp: kf_is_peak(pc, pp)), lambda pq: -kf_true_place(pc, pq)), "
    "lambda pr: {'s': -least(1.0, pc[pr]), 'p': pr})))[1]"
)
macro("kf_within(l, low, high) := list_filter(l, lambda wp: wp.p >= low AND wp.p <= high)")
macro("kf_score_of(l, p) := coalesce(-list_filter(l, lambda yp: yp.p = p)[1].s, 0.0)")
macro(
    "kf_season_length(l, least_score) := list_transform([kf_periods(kf_scores(l))], lambda sp: "
    "CASE WHEN -sp[1].s > least_score THEN sp[1].p ELSE 0 END)[1]"
)
macro(
    "kf_so_many(l, n) := kf_of_reals(list_transform(range(1, n + 1), lambda di: coalesce(l[di], 0.0)))",
)


macro(
    "kf_complete(l) := list_transform([l], lambda cl: CASE WHEN coalesce(list_bool_and(list_transform(cl, "
    "lambda cr: coalesce(isfinite(cr), FALSE))), TRUE) THEN cl END)[1]"
)


def _series(arg: str) -> str:
    """A list of reals; null where a point is missing or no number."""
    return f"kf_complete(kf_reals({arg})::DOUBLE[])"


def _let(name: str, sql: str, body: str) -> str:
    """`body`, in which `name` stands for what is worked out once."""
    return f"list_transform([{sql}], lambda {name}: {body})[1]"


def _detect(args: Sequence[str], apply: Apply) -> str:
    count = constant(apply, 3, "the number of periods")
    if not isinstance(count, int) or not 1 <= count <= MOST_PERIODS:
        raise KqlError("bind", f"series_periods_detect() gives 1 to {MOST_PERIODS:,} periods")
    found = f"kf_within(kf_periods(kf_scores(xl)), {args[1]}, {args[2]})"
    periods, scores = (
        f"kf_so_many(list_transform(xp, lambda xe: {each}), {count})" for each in ("xe.p::DOUBLE", "-xe.s")
    )
    body = _let("xp", found, f"'[' || {periods} || ',' || {scores} || ']'")
    return _let("xl", _series(args[0]), f"CASE WHEN xl IS NOT NULL THEN {body} END")


def _validate(args: Sequence[str], _: Apply) -> str:
    told = args[1:]
    if len(told) > MOST_PERIODS:
        raise KqlError("bind", f"series_periods_validate() takes at most {MOST_PERIODS:,} periods")
    scores = ", ".join(f"kf_score_of(xp, {each})" for each in told)
    body = f"'[' || kf_of_reals([{', '.join(told)}]) || ',' || kf_of_reals([{scores}]) || ']'"
    found = _let("xp", "kf_periods(kf_scores(xl))", body)
    return _let("xl", _series(args[0]), f"CASE WHEN xl IS NOT NULL THEN {found} END")


function("series_periods_detect", "dynamic real real long! -> dynamic", duckdb=_detect)
function("series_periods_validate", "dynamic real real* -> dynamic", duckdb=_validate)

# ------------------------------------------------------------------ season and trend

macro(
    "kf_phases(l, p) := list_transform([l], lambda fl: list_transform(range(1, least(p, coalesce(len(fl), 0)) + 1), "
    "lambda fj: list_aggregate(fl[fj:len(fl):p], 'median')))[1]"
)
# Of `n` points, the first of which are `l`; of a season of no length: nothing.
macro(
    "kf_seasonal(l, n, p) := CASE WHEN p > 0 THEN list_transform([kf_phases(l, p)], lambda hp: list_transform("
    "range(0, n), lambda hi: hp[hi % len(hp) + 1]))[1] ELSE kf_level(0.0::DOUBLE, n) END"
)
macro("kf_level(v, n) := list_transform([v], lambda vv: list_transform(range(0, n), lambda vi: vv))[1]")
macro(
    "kf_straight(l, n) := list_transform([l], lambda el: list_transform([kf_line(el)], lambda ef: list_transform("
    "range(0, n), lambda ei: ef.start + ef.slope * ei))[1])[1]"
)
TRENDS = {
    "avg": "kf_level(list_avg({l}), {n})",
    "linefit": "kf_straight({l}, {n})",
    "none": "kf_level(0.0::DOUBLE, {n})",
}
macro("kf_less(l, m) := list_transform(l, lambda mr, mi: mr - m[mi])")
macro("kf_plus(l, m) := list_transform(l, lambda ar, ai: ar + m[ai])")
macro(
    "kf_residual(l, b) := list_transform([list_max(list_transform(l, lambda ur: abs(ur)))], lambda um: "
    f"list_transform(l, lambda us, ui: CASE WHEN abs(us - b[ui]) > {NOISE} * um THEN us - b[ui] ELSE 0.0 END))[1]"
)


class _Model:
    """What is told of a decomposition; `first` is the argument after which it begins."""

    def __init__(
        self, args: Sequence[str], apply: Apply, first: int, tested: str | None = None, trend: str = "avg"
    ) -> None:
        def given(index: int, default: str) -> str:
            return args[index] if index < len(args) else default

        self.season = given(first, "-1")
        self.tested = given(first + 2, "0") if tested is None else tested
        trend = constant(apply, first + 1, "the trend") if first + 1 < len(args) else trend
        if trend not in TRENDS:
            raise KqlError("bind", f"a trend is one of {', '.join(TRENDS)}; not {trend!r}")
        self.trend = TRENDS[trend]

    def parts(self, series: str, empty: str, least_score: str, body: str) -> str:
        """`body`, in which xl stands for the series, xs for its season, xt for its trend; `empty` of no points."""
        known = f"xl[1:greatest(0, len(xl) - greatest(0, {self.tested}))]"  # a negative end would count from behind
        length = (
            f"CASE WHEN {self.season} = -1 THEN coalesce(kf_season_length(xk, {least_score}), 0) "
            f"ELSE greatest(0, {self.season}) END"
        )
        trend = self.trend.format(l="kf_less(xk, xs)", n="len(xl)")
        made = _let("xt", trend, body)
        made = _let("xs", "kf_seasonal(xk, len(xl), xn)", made)
        made = _let("xn", length, made)
        made = _let("xk", known, made)
        return _let("xl", _series(series), f"CASE WHEN len(xl) = 0 THEN {text(empty)} WHEN len(xl) > 0 THEN {made} END")


def _score(args: Sequence[str], index: int) -> str:
    return args[index] if index < len(args) else f"{SEASON_SCORE}::DOUBLE"


def _decompose(args: Sequence[str], apply: Apply) -> str:
    shown = " || ',' || ".join(f"kf_of_reals({each})" for each in ("xb", "xs", "xt", "kf_residual(xl, xb)"))
    body = _let("xb", "kf_plus(xs, xt)", f"'[' || {shown} || ']'")
    return _Model(args, apply, 1).parts(args[0], "[[],[],[],[]]", _score(args, 4), body)


function("series_decompose", "dynamic long? string?! long? real? -> dynamic", duckdb=_decompose)


def _forecast(args: Sequence[str], apply: Apply) -> str:
    """Without a trend a line is fitted: the page says so in its versions up to 2022 and forecasts a series that rises;
    the later ones say the average, beside the same example."""
    model = _Model(args, apply, 2, args[1], trend="linefit")
    return model.parts(args[0], "[]", _score(args, 4), "kf_of_reals(kf_plus(xs, xt))")


function("series_decompose_forecast", "dynamic long long? string?! real? -> dynamic", duckdb=_forecast)


def _seasonal(args: Sequence[str], _: Apply) -> str:
    told = args[1] if len(args) > 1 else "-1"
    length = f"CASE WHEN {told} = -1 THEN coalesce(kf_season_length(xl, {SEASONAL_SCORE}), 0) ELSE {told} END"
    made = _let("xn", length, "kf_of_reals(kf_seasonal(xl, len(xl), xn))")
    return _let("xl", _series(args[0]), f"CASE WHEN xl IS NOT NULL THEN {made} END")


function("series_seasonal", "dynamic long? -> dynamic", duckdb=_seasonal)

# ------------------------------------------------------------------ what stands out

# A null scores 0. Where the percentiles are the same, what differs from them is infinitely far off.
macro("kf_beyond(l, low, high, f) := list_transform(l, lambda br: coalesce(CASE WHEN br > high THEN (br - high) "
      "/ (high - low) * f WHEN br < low THEN (br - low) / (high - low) * f ELSE 0.0 END, 0.0))")  # fmt: skip
macro(
    "kf_outliers(l, low, high, f) := list_transform([l], lambda ol: list_transform([list_filter(ol, lambda oz: oz IS "
    "NOT NULL)], lambda ok: list_transform([list_aggregate(ok, 'quantile_cont', low)], lambda ox: list_transform("
    "[list_aggregate(ok, 'quantile_cont', high)], lambda oy: kf_beyond(ol, ox, oy, f))[1])[1])[1])[1]"
)


def _kind(apply: Apply, index: int) -> tuple[float, float, float]:
    kind = constant(apply, index, "the kind of test") if index < len(apply.args) else "ctukey"
    if kind not in KINDS:
        raise KqlError("bind", f"a test of outliers is one of {', '.join(KINDS)}; not {kind!r}")
    return KINDS[kind]


def _outliers(args: Sequence[str], apply: Apply) -> str:
    low, high, factor = _kind(apply, 1)
    told = [float(constant(apply, index, "a percentile")) for index in range(3, len(args))]
    if factor != 1 and any(each != wanted for each, wanted in zip(told, (10, 90), strict=False)):
        why = "how the engine weighs others is not published"
        raise KqlError("plan", f"series_outliers() of percentiles other than 10 and 90 is not supported: {why}")
    hole = f"{args[2]}::DOUBLE" if len(args) > 2 else "NULL::DOUBLE"
    known = f"kf_known(kf_reals({args[0]}), {hole})"
    return f"kf_of_reals(kf_outliers({known}, {low}, {high}, {factor}))"


function("series_outliers", "dynamic string?! number? real?! real?! -> dynamic", duckdb=_outliers)


def _flags(threshold: str, scores: str) -> str:
    flag = f"CASE WHEN xe > {threshold} THEN 1 WHEN xe < -({threshold}) THEN -1 ELSE 0 END"
    return f"to_json(list_transform({scores}, lambda xe: {flag}))::VARCHAR"


def _anomalies(args: Sequence[str], apply: Apply) -> str:
    low, high, factor = _kind(apply, 5)
    threshold = args[1] if len(args) > 1 else f"{ANOMALY}::DOUBLE"
    body = f"'[' || {_flags(threshold, 'xo')} || ',' || kf_of_reals(xo) || ',' || kf_of_reals(xb) || ']'"
    body = _let("xo", f"kf_outliers(kf_residual(xl, xb), {low}, {high}, {factor})", body)
    body = _let("xb", "kf_plus(xs, xt)", body)
    return _Model(args, apply, 2).parts(args[0], "[[],[],[]]", _score(args, 6), body)


function(
    "series_decompose_anomalies", "dynamic real? long? string?! long? string?! real? -> dynamic", duckdb=_anomalies
)
