"""Series taken apart: what the documentation prints, what the author of the engine's function says, and series whose
parts are known because they were put together from them."""

from datetime import UTC, datetime
from math import sin
from statistics import fmean, median
from typing import Any

import pytest
from tests.hunt.calls import Given, call, dynamic, long, real, string
from tests.hunt.harness import Harness

TRAFFIC = [80, 139, 87, 110, 68, 54, 50, 51, 53, 133, 86, 141, 97, 156, 94, 149, 95, 140, 77, 61, 50, 54, 47, 133, 72,
           152, 94, 148, 105, 162, 101, 160, 87, 63, 53, 55, 54, 151, 103, 189, 108, 183, 113, 175, 113, 178, 90, 71,
           62, 62, 65, 165, 109, 181, 115, 182, 121, 178, 114, 170]  # fmt: skip
SIXES = [2, 5, 3, 4, 3, 2, 1, 2, 3, 4, 3, 2, 1, 2, 3, 4, 3, 2, 1, 2, 3, 4, 3, 2, 1]
FIVES = [8, 12, 14, 12, 10, 10, 12, 14, 12, 10, 10, 12, 14, 12, 10, 10, 12, 14, 12, 10]
SHORT = [1, 3, 5, 2, 4, 6, 1, 3, 5, 2, 4, 6]
POINTS = [-3, 2.4, 15, 3.9, 5, 6, 4.5, 5.2, 3, 4, 5, 16, 7, 5, 5, 4]
SCORES = [-1.9040785483608571, -0.10021466044004519, 1.3361954725339347, *[0.0] * 8, 1.6702443406674186, *[0.0] * 4]
LEVEL = [1.0] * 29
WEEK = [10.0, 12.0, 15.0, 11.0, 14.0, 3.0, 2.0]


def close(wanted: list[Any]) -> Any:
    """Lists of numbers, of which some are lists."""
    return [close(each) if isinstance(each, list) else pytest.approx(each) for each in wanted]


def test_periods_are_those_of_the_documentation() -> None:
    periods, scores = call("series_periods_detect", dynamic(TRAFFIC), real(0.0), real(50.0), long(2))
    assert (periods, [round(each, 2) for each in scores]) == ([14.0, 0.0], [0.84, 0.0])
    periods, scores = call("series_periods_validate", dynamic(TRAFFIC), real(14.0), real(10.0))
    assert (periods, [round(each, 2) for each in scores]) == ([14.0, 10.0], [0.84, 0.0])


@pytest.mark.parametrize(
    ("low", "high", "found"), [(4, 13, 0), (15, 30, 0), (14, 14, 14), (-5, 1e300, 14), (20, 4, 0), (None, None, 0)]
)
def test_a_period_lies_between_its_bounds(low: float | None, high: float | None, found: int) -> None:
    assert call("series_periods_detect", dynamic(TRAFFIC), real(low), real(high), long(1))[0] == [found]


@pytest.mark.parametrize("period", [0, 3, 7, 28, 31, -14, float("nan"), 1e300, None])
def test_what_is_no_period_scores_nothing(period: float | None) -> None:
    """What is shorter than four points, longer than half of the series, or no peak."""
    assert call("series_periods_validate", dynamic(TRAFFIC), real(period))[1] == [0.0]


def test_two_periods_are_told_apart() -> None:
    """Best first; a multiple of a period is none."""
    both = [sin(i * 0.2617993877991494) + 3 * WEEK[i // 24 % 7] for i in range(24 * 7 * 8)]
    periods, scores = call("series_periods_detect", dynamic(both), real(4), real(500), long(4))
    assert periods[0] == 168.0
    assert scores == sorted(scores, reverse=True)
    assert 336.0 not in periods


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ([dynamic(SIXES)], [1.0, 2.0, 3.0, 4.0, 3.0, 2.0] * 4 + [1.0]),
        ([dynamic(FIVES)], [10.0, 12.0, 14.0, 12.0, 10.0] * 4),
        ([dynamic(SHORT)], [0.0] * 12),
        ([dynamic(SHORT), long(0)], [0.0] * 12),
        ([dynamic(SHORT), long(-2)], [0.0] * 12),
        ([dynamic([1, 3, 5, 1, 3, 5, 2, 4, 6]), long(3)], [1.0, 3.0, 5.0] * 3),
        ([dynamic(SHORT), long(3)], [1.5, 3.5, 5.5] * 4),
        ([dynamic([1, 2]), long(2**62)], [1.0, 2.0]),
        ([dynamic([1, None]), long(1)], None),
        ([dynamic([]), long(1)], []),
        ([dynamic({"a": 1})], None),
    ],
)
def test_a_season_is_the_median_of_each_phase(given: list[Given], wanted: Any) -> None:
    assert call("series_seasonal", *given) == wanted


def test_a_series_is_season_trend_and_what_is_left() -> None:
    """The season is taken out first, then the trend."""
    series = [WEEK[i % 7] + 0.1 * i for i in range(70)]
    baseline, seasonal, trend, left = call("series_decompose", dynamic(series), long(-1), string("linefit"))
    phases = [median(series[phase::7]) for phase in range(7)]
    assert seasonal == close([phases[i % 7] for i in range(70)])
    assert baseline == close([one + other for one, other in zip(seasonal, trend, strict=True)])
    assert left == close([one - other for one, other in zip(series, baseline, strict=True)])
    assert trend[1] - trend[0] == pytest.approx(0.1, abs=0.01)
    _, _, level, _ = call("series_decompose", dynamic(series), long(7), string("avg"))
    mean = fmean(one - other for one, other in zip(series, seasonal, strict=True))
    assert level == close([mean] * 70)


def test_points_that_are_tested_teach_nothing() -> None:
    baseline, seasonal, trend, left = call(
        "series_decompose", dynamic([1, 2, 3, 4, 50, 60]), long(0), string("linefit"), long(2)
    )
    assert [baseline, seasonal, trend] == close([[1, 2, 3, 4, 5, 6], [0.0] * 6, [1, 2, 3, 4, 5, 6]])
    assert left == close([0, 0, 0, 0, 45, 54])
    assert call("series_decompose", dynamic([1, 2]), long(0), string("avg"), long(7)) == [
        [None, None], [0.0, 0.0], [None, None], [0.0, 0.0],
    ]  # fmt: skip


def test_neither_season_nor_trend_leaves_the_series() -> None:
    found = call("series_decompose", dynamic([1, 5]), long(0), string("none"))
    assert found == [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 5.0]]


def test_a_forecast_goes_on_as_the_series_did() -> None:
    series = [WEEK[i % 7] for i in range(56)]
    found = call("series_decompose_forecast", dynamic([*series, *[0] * 7]), long(7), long(-1), string("avg"))
    assert found == close(series + WEEK)


def test_outliers_score_as_the_engine_says() -> None:
    assert call("series_outliers", dynamic(POINTS)) == close(SCORES)
    found = call("series_outliers", dynamic([1, 2, 3, 4, 20]), string("tukey"))
    assert found == close([-0.5, 0, 0, 0, 8])  # beyond 2 and 4


def test_what_is_missing_scores_nothing() -> None:
    holed = [None, *POINTS, 99, "x"]
    assert call("series_outliers", dynamic(holed), string("ctukey"), long(99)) == close([0.0, *SCORES, 0.0, 0.0])
    assert call("series_outliers", dynamic([])) == []
    assert call("series_outliers", dynamic(None)) is None


def test_what_differs_where_all_else_is_the_same_is_infinitely_far_off() -> None:
    flags, scores, baseline = call("series_decompose_anomalies", dynamic([*LEVEL, 31]))
    assert (flags, scores, baseline) == ([0] * 29 + [1], [0.0] * 29 + ["Infinity"], close([2.0] * 30))
    flags, scores, _ = call("series_decompose_anomalies", dynamic([-29, *LEVEL]))
    assert (flags, scores) == ([-1] + [0] * 29, ["-Infinity"] + [0.0] * 29)


def test_an_anomaly_is_beyond_the_threshold() -> None:
    """Residuals are those of the mean, so that scores are those of the series."""
    flags, scores, baseline = call("series_decompose_anomalies", dynamic(POINTS), real(1.5), long(0))
    assert scores == close(SCORES)
    assert flags == [-1] + [0] * 10 + [1] + [0] * 4
    assert baseline == close([fmean(POINTS)] * 16)
    flags, _, _ = call("series_decompose_anomalies", dynamic(POINTS), real(1.7), long(0), string("avg"))
    assert flags == [-1] + [0] * 15
    _, scores, _ = call(
        "series_decompose_anomalies", dynamic([1, 2, 3, 4, 20]), real(1.5), long(0), string("avg"), long(0),
        string("tukey"),
    )  # fmt: skip
    assert scores == close([-0.5, 0, 0, 0, 8])


@pytest.mark.parametrize("operator", ["extend", "project"])
def test_results_of_one_call_are_worked_out_together(operator: str) -> None:
    """However many columns it gives, converted or not."""
    harness = Harness({})
    for function, count in (("series_decompose_anomalies(l)", 3), ("series_stats(l)", 7)):
        query = f"range x from 1 to 2 step 1 | extend l = pack_array(x, 2, x * 9.0) | {operator} l, {function}"
        sql = harness.translate(query, datetime.now(UTC)).sql
        assert sql.count("kf_outliers(") + sql.count("kf_stats(") == 1
        columns, rows = harness.run(query)
        assert len(columns) >= count
        alone = [harness.run(f"{query} | take 1 | project {name}")[1][0][0] for name, _ in columns]
        assert rows[0] == alone


def test_what_rounding_leaves_is_no_anomaly() -> None:
    line = [0.1 * i for i in range(40)]
    flags, scores, _ = call("series_decompose_anomalies", dynamic(line), real(1.5), long(-1), string("linefit"))
    assert (flags, scores) == ([0] * 40, [0.0] * 40)


def test_spikes_in_a_season_stand_out() -> None:
    """The documentation's weekly series, without its noise; two of its points are moved."""
    series = [(10 if t / 24 % 7 >= 5 else 15) - (t % 24 / 10) ** 2 + 0.3 * sin(7 * t) for t in range(1, 841)]
    series[150] -= 8
    series[300] += 8
    flags, _, _ = call("series_decompose_anomalies", dynamic(series))
    assert {i: flag for i, flag in enumerate(flags) if flag} == {150: -1, 300: 1}
    assert call("series_periods_detect", dynamic(series), real(0), real(420), long(1))[0] == [168.0]


@pytest.mark.parametrize("series", [None, [1, None], [1, "x"], {"a": 1}, "x", 5, [1, "NaN"], [float("inf")]])
def test_a_series_with_holes_has_no_parts(series: Any) -> None:
    assert call("series_decompose_anomalies", dynamic(series)) is None
    assert call("series_periods_detect", dynamic(series), real(4), real(9), long(1)) is None
