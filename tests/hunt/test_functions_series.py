"""Functions of series: cases of the Kusto documentation and of its engine."""

from statistics import correlation, linear_regression, variance
from typing import Any

import pytest
from tests.hunt.calls import Given, boolean, call, dynamic, long, real

HOLES = [None, 111.0, None, 36.0, 41.0, None, None, 16.0, 61.0, 33.0, None, None]
LINE = [2, 5, 6, 8, 11, 15, 17, 18, 25, 26, 30, 30]
CASES: list[tuple[str, list[Given], Any]] = [
    ("series_add", [dynamic([1, 2, 4]), dynamic([4, 2, 1])], [5, 4, 5]),
    ("series_subtract", [dynamic([1, 2, 4]), long(1)], [0, 1, 3]),
    ("series_multiply", [real(2.0), dynamic([1, 2])], [2.0, 4.0]),
    ("series_divide", [dynamic([1, 2]), dynamic([2, 0])], [0.5, "Infinity"]),
    ("series_pow", [dynamic([1, 2, 3, 4]), dynamic([1, 2, 3, 0.5])], [1.0, 4.0, 27.0, 2.0]),
    ("series_greater", [dynamic([1, 2, 4]), dynamic([4, 2, 1])], [False, False, True]),
    ("series_greater", [dynamic([60, 0, 0]), long(15)], [True, False, False]),
    ("series_less_equals", [dynamic([1, 2, 4]), dynamic([4, 2, 1])], [True, True, False]),
    ("series_dot_product", [dynamic([1, 2, 4]), dynamic([4, 2, 1])], 12.0),
    ("series_sign", [dynamic([-6, 0, 8])], [-1, 0, 1]),
    ("series_abs", [dynamic([-6.5, 0, 8.2])], [6.5, 0, 8.2]),
    ("series_abs", [dynamic([-6, None])], [6, None]),
    ("series_floor", [dynamic([-1.5, 1, 2.5])], [-2.0, 1.0, 2.0]),
    ("series_stats", [dynamic([10, 0, 0, 0, 50])], [0.0, 1, 50.0, 4, 12.0, 21.6794833886788, 470.0]),
    ("series_stats", [dynamic([1, None, 3]), boolean(True)], [1.0, 0, 3.0, 2, 2.0, 1.4142135623730951, 2.0]),
    ("series_stats", [dynamic([1, None, 3])], [None] * 7),
    ("series_pearson_correlation", [dynamic([1, 2, 3]), dynamic([2, 4, 7])], 0.9933992677987828),
    ("series_pearson_correlation", [dynamic([1, 2, 3]), dynamic([2])], None),
    ("series_iir", [dynamic([10, 30, 0]), dynamic([1]), dynamic([1, -1])], [10.0, 40.0, 40.0]),
    ("series_fir", [dynamic([1, 2, 3]), dynamic([1, 1])], [0.5, 1.5, 2.5]),
    ("series_fir", [dynamic([1, 2, 3]), dynamic([1, -1]), boolean(False), boolean(False)], [1.0, 1.0, 1.0]),
    ("series_fill_const", [dynamic([111, None, 36]), real(0.0)], [111, 0.0, 36]),
    ("series_fill_const", [dynamic([111, None, 36]), long(-1)], [111, -1, 36]),
    ("series_fill_forward", [dynamic([None, 1, None])], [None, 1, 1]),
    ("series_fill_backward", [dynamic([None, 1, 0, 2]), long(0)], [1, 1, 2, 2]),
    ("series_fill_linear", [dynamic([1.0, None, 2.0, None])], [1.0, 1.5, 2.0, 2.0]),
    ("series_fill_linear", [dynamic([None, 111, None, 36, None, None, 16, None])], [111, 111, 73, 36, 29, 22, 16, 16]),
    ("series_fill_linear", [dynamic([None, 1.5, None, 2.5]), real(None), boolean(False)], [None, 1.5, 2.0, 2.5]),
    ("series_fill_linear", [dynamic([None, None]), real(None), boolean(True), real(3.14)], [3.14, 3.14]),
    ("series_fill_linear", [dynamic([None, None])], [0.0, 0.0]),
]


@pytest.mark.parametrize(("name", "args", "expected"), CASES)
def test_a_function_of_series(name: str, args: list[Given], expected: Any) -> None:
    assert call(name, *args) == (pytest.approx(expected) if isinstance(expected, float) else expected)


def test_a_line_is_fitted() -> None:
    """The line of least squares: of what lies on a line the line itself, and all of its variance."""
    exact = call("series_fit_line", dynamic([1.0, 3.0, 5.0, 7.0]))
    assert exact == [1.0, 2.0, pytest.approx(20 / 3), 0.0, 1.0, [1.0, 3.0, 5.0, 7.0]]
    found = call("series_fit_line_dynamic", dynamic(LINE))
    line = linear_regression(range(len(LINE)), LINE)
    assert (found["slope"], found["interception"]) == pytest.approx((line.slope, line.intercept))
    assert found["rsquare"] == pytest.approx(correlation(range(len(LINE)), LINE) ** 2)
    assert found["variance"] == pytest.approx(variance(LINE))
