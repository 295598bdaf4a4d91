"""Functions of several results: how their columns are called, and of which types they are.

Their declaration gives one array of the results.

Source: Kusto Query Language, the page of each function.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from bartizan.hunt import tree
from bartizan.hunt.binder.naming import natural
from bartizan.hunt.tree import Scalar

Parts: TypeAlias = list[tuple[str, Scalar]]
Describe: TypeAlias = Callable[[str, str, Sequence["tree.Expr | tree.Pipe"]], Parts]


def _series(*described: tuple[str, Scalar]) -> Describe:
    return lambda name, given, args: [(f"{name}_{given}_{each}", type_) for each, type_ in described]


def _sorted(name: str, given: str, args: "Sequence[tree.Expr | tree.Pipe]") -> Parts:
    arrays = [each for each in args if not (isinstance(each, tree.Constant) and each.type in ("bool", "string"))]
    return [(f"{natural(each) or 'array'}_sorted", "dynamic") for each in arrays]


_FIT: tuple[tuple[str, Scalar], ...] = (
    ("rsquare", "real"),
    ("slope", "real"),
    ("variance", "real"),
    ("rvariance", "real"),
    ("interception", "real"),
    ("line_fit", "dynamic"),
)
_FIT_2: tuple[tuple[str, Scalar], ...] = (
    ("rsquare", "real"),
    ("split_idx", "long"),
    ("variance", "real"),
    ("rvariance", "real"),
    ("line_fit", "dynamic"),
    ("right_rsquare", "real"),
    ("right_slope", "real"),
    ("right_interception", "real"),
    ("right_variance", "real"),
    ("right_rvariance", "real"),
    ("left_rsquare", "real"),
    ("left_slope", "real"),
    ("left_interception", "real"),
    ("left_variance", "real"),
    ("left_rvariance", "real"),
)
_STATS: tuple[tuple[str, Scalar], ...] = (
    ("min", "real"),
    ("min_idx", "long"),
    ("max", "real"),
    ("max_idx", "long"),
    ("avg", "real"),
    ("stdev", "real"),
    ("variance", "real"),
)
TUPLES: dict[str, Describe] = {
    "series_stats": _series(*_STATS),
    "series_fit_line": _series(*_FIT),
    "series_fit_2lines": _series(*_FIT_2),
    "series_fit_poly": _series(
        ("rsquare", "real"),
        ("coefficients", "dynamic"),
        ("variance", "real"),
        ("rvariance", "real"),
        ("poly_fit", "dynamic"),
    ),
    "series_fft": _series(("real", "dynamic"), ("imag", "dynamic")),
    "series_ifft": _series(("real", "dynamic"), ("imag", "dynamic")),
    "series_decompose": _series(
        ("baseline", "dynamic"), ("seasonal", "dynamic"), ("trend", "dynamic"), ("residual", "dynamic")
    ),
    "series_decompose_anomalies": _series(("ad_flag", "dynamic"), ("ad_score", "dynamic"), ("baseline", "dynamic")),
    "series_periods_detect": _series(("periods", "dynamic"), ("scores", "dynamic")),
    "series_periods_validate": _series(("periods", "dynamic"), ("scores", "dynamic")),
    "array_sort_asc": _sorted,
    "array_sort_desc": _sorted,
}
