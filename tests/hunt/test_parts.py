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
        rows(f"{ROWS} | partition hint.strategy=native by g ({steps})")


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ("(join kind=rightanti (datatable(k: long)[1, 2, 7]) on k)", [[2], [7], [7]]),
        ("(make-series c = count() on k step 1 | project c)", [[[1] + [0] * 7 + [1]], [[2, 1]]]),
        ("(union (datatable(v: long)[100]) | summarize take_any(g), sum(v))", [["a", 118], ["b", 117]]),
        ("(as P | where 2 * v > toscalar(P | summarize max(v) + min(v)) | project v)", [[7], [9]]),
        ("(project d = bag_pack(g, k) | evaluate bag_unpack(d) | summarize take_any(*))", [[1, None], [None, 1]]),
        ("{ datatable(h: string)['a', 'c'] | where h == toscalar(g) | count }", [[0], [1]]),
        ("{ datatable(h: string)['a', 'c'] | where h == g }", [["a"]]),
        ("{ print g }", [["a"], ["b"]]),
    ],
)
def test_part_by_part(steps: str, wanted: list[list[Any]]) -> None:
    """What cannot be done at once is done for each part, as the legacy strategy does."""
    assert sorted(rows(f"{ROWS} | partition by g {steps}"), key=str) == sorted(wanted, key=str)
    columns, none = harness().run(f"{ROWS} | where v < 0 | partition hint.strategy=legacy by g {steps}")
    assert none == []
    if "bag_unpack" not in steps:
        assert columns == harness().run(f"{ROWS} | partition by g {steps}")[0]


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("range x from 1 to 65 step 1 | partition by x { print x }", "at most 64 parts, and the data has 65"),
        (f"{ROWS} | partition hint.strategy=native by g {{ print 1 }}", "legacy strategy"),
        (f"{ROWS} | partition by g (where nothing == 1)", "no column or variable 'nothing'"),
        (f"{ROWS} | fork (count) (take 1)", "gives several tables"),
        (f"{ROWS} | facet by g", "gives several tables"),
        (f"{ROWS} | evaluate preview(1)", "gives several tables"),
    ],
)
def test_what_has_no_parts_is_refused(query: str, why: str) -> None:
    with pytest.raises(KqlError, match=why):
        rows(query)
    assert len(rows("range x from 1 to 64 step 1 | partition by x { print x }")) == 64


def test_a_part_of_which_nothing_is_left() -> None:
    """The legacy strategy asks each part for itself, and gets an answer from each."""
    query = f"{ROWS} | partition hint.strategy={{}} by g (where v > 7 | summarize c = count(), s = sum(v))"
    assert sorted(rows(query.format("legacy"))) == [[0, 0], [2, 17]]
    assert rows(query.format("native")) == [[2, 17]]


def test_functions_are_asked_for_each_part() -> None:
    lets = "let f = (T: (*)) { T | summarize s = sum(v) }; let five = (T: (*)) { print 5 };"
    for strategy in ("native", "legacy"):
        assert sorted(rows(f"{lets} {ROWS} | partition hint.strategy={strategy} by g (invoke f())")) == [[17], [18]]
    assert rows(f"{lets} {ROWS} | partition by g (invoke five())") == [[5], [5]]
    assert rows(f"{lets} {ARRAYS} | mv-apply v = d to typeof(long) on (invoke f()) | project s") == [[6], [2]]
    assert len(rows(f"{ROWS} | partition by g (getschema)")) == 6
    for steps in ("mv-apply v = d on (invoke five())", "mv-apply v = d on (getschema)"):
        with pytest.raises(KqlError, match="do not come from those of a part"):
            rows(f"{lets} {ARRAYS} | {steps}")


def test_the_best_of_each_part() -> None:
    steps = "top-nested 1 of k with others = -1 by sum(v), top-nested 1 of v with others = -2 by max(v)"
    wanted = [[-1, 7, -2, 7], [-1, 8, -2, 8], [1, 11, -2, 5], [1, 11, 6, 6], [9, 9, 9, 9]]
    for strategy in ("native", "legacy"):
        assert sorted(rows(f"{ROWS} | partition hint.strategy={strategy} by g ({steps})")) == wanted
    elements = "print d = dynamic([3, 4, 4]) | mv-apply k = d on (top-nested 1 of k by count())"
    assert rows(f"{elements} | project k, aggregated_k") == [[4, 2]]


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
