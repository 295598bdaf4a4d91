"""Steps within partition and mv-apply, which do of each part what they do of all rows; and names that stand for several
tables."""

from functools import cache
from typing import Any

import pytest
from tests.hunt.harness import Harness

from bartizan.hunt.fault import KqlError

ROWS = 'datatable(g: string, k: long, v: long)["a", 1, 5, "a", 1, 6, "a", 2, 7, "b", 1, 8, "b", 9, 9]'
NAMES = '(datatable(k: long, n: string)[1, "x", 2, "y"])'
ARRAYS = 'datatable(g: string, d: dynamic)["a", dynamic([1, 2, 3]), "b", dynamic([2])]'


@cache
def harness() -> Harness:
    return Harness({})


def rows(query: str) -> list[list[Any]]:
    return harness().run(query)[1]


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        (f"join kind=inner {NAMES} on k | top 1 by v", [["a", 2, 7, 2, "y"], ["b", 1, 8, 1, "x"]]),
        # One row of the left side for each key, in each part.
        (f"join {NAMES} on k | summarize c = count(), n = make_set(n) by g", [["a", 2, ["x", "y"]], ["b", 1, ["x"]]]),
        (
            f"lookup {NAMES} on k | sort by v asc | project g, v, n, p = prev(n)",
            [["a", 5, "x", ""], ["a", 6, "x", "x"], ["a", 7, "y", "x"], ["b", 8, "x", ""], ["b", 9, "", "x"]],
        ),
        (f"join kind=leftanti {NAMES} on k", [["b", 9, 9]]),
        (f"join kind=leftsemi {NAMES} on k | summarize s = sum(v) by g", [["a", 18], ["b", 8]]),
        (
            "make-series s = sum(v) on k from 1 to 4 step 1 by g",
            [["a", [11, 7, 0], [1, 2, 3]], ["b", [8, 0, 0], [1, 2, 3]]],
        ),
        (
            "make-series c = count() on k from 1 to 3 step 1 | extend t = array_sum(c) | project t, c",
            [[3, [2, 1]], [1, [1, 0]]],
        ),
    ],
)
def test_in_parts(steps: str, wanted: list[list[Any]]) -> None:
    assert sorted(rows(f"{ROWS} | partition hint.strategy=native by g ({steps})"), key=str) == sorted(wanted, key=str)


def test_of_elements() -> None:
    """mv-apply does the same for the elements of each row."""
    joined = f"{ARRAYS} | mv-apply k = d to typeof(long) on (join kind=inner {NAMES} on k | summarize make_set(n))"
    assert sorted(rows(joined)) == [["a", [1, 2, 3], ["x", "y"]], ["b", [2], ["y"]]]
    series = f"{ARRAYS} | mv-apply k = d to typeof(long) on (make-series c = count() on k from 1 to 4 step 1)"
    assert sorted(rows(series)) == [["a", [1, 2, 3], [1, 1, 1], [1, 2, 3]], ["b", [2], [0, 1, 0], [1, 2, 3]]]


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        (f"join kind=fullouter {NAMES} on k", "belong to no part"),
        (f"join kind=rightsemi {NAMES} on k", "belong to no part"),
        ("make-series c = count() on k step 1", "without ends"),
    ],
)
def test_refused(steps: str, why: str) -> None:
    with pytest.raises(KqlError, match=why):
        rows(f"{ROWS} | partition by g ({steps})")


def test_views_of_the_query_are_meant_by_a_pattern_of_names() -> None:
    """Those without parameters; other functions are not, and a view hides the table of its name."""
    lets = (
        "let v1 = view () { print a = 1 }; let v2 = view () { print a = 2 }; let w = view () { print a = 3 }; "
        "let v3 = () { print a = 4 }; let v4 = view (x: long) { print a = x };"
    )
    assert rows(f"{lets} union withsource=T v* | sort by a asc") == [["v1", 1], ["v2", 2]]
    own = Harness({"Events": {"x": "long"}, "Events2": {"x": "long"}})
    assert own.run("let Events = view () { print a = 1 }; union Ev*")[0] == [("x", "long"), ("a", "long")]
    with pytest.raises(KqlError, match="called like"):
        rows(f"{lets} union q*")
