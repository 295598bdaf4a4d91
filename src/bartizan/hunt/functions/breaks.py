"""Two lines of least squares: a series is cut in two where that explains the most of its variance.

`split_idx` is the first point of the right part, and each part has two points at least, as one point or none makes no
line; of cuts that are as good the first is taken. Each line counts x from the first point of its own part, as
series_fit_line() of that part does. The page says that every index is tried and a line fitted to either part; the rest
of this is how it is read here.

Source: Kusto Query Language, "series_fit_2lines()", "series_fit_2lines_dynamic()", "series_fit_line()".
"""

from itertools import accumulate
from typing import Any, NamedTuple

from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import worked

MOST_POINTS = 100_000
LEAST = 2  # points of a part
NOISE = 1e-12  # of what the points differ by: what is smaller is rounding


class _Line(NamedTuple):
    """`around`: the squares of the differences to the mean; `rest`: to the line."""

    points: int
    slope: float
    start: float
    around: float
    rest: float

    def values(self) -> list[float]:
        return [self.start + self.slope * place for place in range(self.points)]

    def rsquare(self) -> float:
        return 1 - self.rest / self.around if self.around > 0 else 1.0

    def of_points(self, squares: float) -> float:
        return squares / max(self.points - 1, 1)


class _Sums:
    """Of a series less its mean, so that parts of it are told without adding them up anew."""

    def __init__(self, y: list[float]) -> None:
        self.mean = sum(y) / len(y)
        less = [each - self.mean for each in y]
        self.y = list(accumulate(less, initial=0.0))
        self.xy = list(accumulate((place * each for place, each in enumerate(less)), initial=0.0))
        self.yy = list(accumulate((each * each for each in less), initial=0.0))

    def line(self, begin: int, end: int) -> _Line:
        points = end - begin
        y, yy = self.y[end] - self.y[begin], self.yy[end] - self.yy[begin]
        xy = self.xy[end] - self.xy[begin] - begin * y
        middle, mean = (points - 1) / 2, y / points
        width = points * (points * points - 1) / 12
        slope = (xy - middle * y) / width if width else 0.0
        floor = NOISE * self.yy[-1]
        around = max(yy - points * mean * mean, 0.0)
        around = around if around > floor else 0.0
        rest = max(around - slope * slope * width, 0.0)
        return _Line(points, slope, mean - slope * middle + self.mean, around, rest if rest > floor else 0.0)


def _numbers(given: Any) -> list[float] | None:
    if not isinstance(given, list) or not given:
        return None
    if len(given) > MOST_POINTS:
        raise KqlError("run", f"this is supported of series of at most {MOST_POINTS:,} points")
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in given):
        return None
    return [float(each) for each in given]


def _broken(series: Any) -> tuple[int, _Line, _Line, _Line] | None:
    """Where the right part begins, the line of all, that of the left, that of the right part."""
    y = _numbers(series)
    if y is None or len(y) < 2 * LEAST:
        return None
    sums = _Sums(y)
    parts = [(cut, sums.line(0, cut), sums.line(cut, len(y))) for cut in range(LEAST, len(y) - LEAST + 1)]
    cut, left, right = min(parts, key=lambda each: each[1].rest + each[2].rest)
    return cut, sums.line(0, len(y)), left, right


def _told(line: _Line) -> list[float]:
    return [line.rsquare(), line.slope, line.start, line.of_points(line.around), line.of_points(line.rest)]


def _in_order(series: Any) -> list[Any] | None:
    found = _broken(series)
    if found is None:
        return None
    cut, whole, left, right = found
    rest = left.rest + right.rest
    rsquare = 1 - rest / whole.around if whole.around > 0 else 1.0
    fit = left.values() + right.values()
    return [rsquare, cut, whole.of_points(whole.around), whole.of_points(rest), fit, *_told(right), *_told(left)]


def _named(series: Any) -> dict[str, Any] | None:
    found = _in_order(series)
    if found is None:
        return None
    part = ("rsquare", "slope", "interception", "variance", "rvariance")
    return {
        **dict(zip(("rsquare", "split_idx", "variance", "rvariance", "line_fit"), found[:5], strict=True)),
        "right": dict(zip(part, found[5:10], strict=True)),
        "left": dict(zip(part, found[10:], strict=True)),
    }


worked("series_fit_2lines", "dynamic -> dynamic", _in_order)
worked("series_fit_2lines_dynamic", "dynamic -> dynamic", _named)
