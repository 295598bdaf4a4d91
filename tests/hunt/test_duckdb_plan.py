"""Plans become SQL that gives Kusto's rows."""

import math
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.hunt.duck import Nowhere, aggregate, apply, ref, run, table, value

from bartizan.hunt import plan as p
from bartizan.hunt.duckdb.emit import emit
from bartizan.hunt.duckdb.open import connect
from bartizan.hunt.fault import KqlError
from bartizan.hunt.tree import Scalar

PEOPLE = table(["long", "string", "real"], [[1, "a", 1.5], [2, "b", 2.5], [3, "a", 3.5], [4, "c", None]])


def where(of: p.Plan, index: int, name: str, type_: Scalar, content: Any) -> p.Filter:
    return p.Filter(of, apply(name, ref(of, index), value(type_, content)))


def project(of: p.Plan, first: int, *indexes: int) -> p.Project:
    return p.Project(of, [p.Column(first + place, ref(of, index)) for place, index in enumerate(indexes)])


def by(of: p.Plan, index: int, *, descending: bool = False, nulls_first: bool | None = None) -> p.Sort:
    first = (not descending) if nulls_first is None else nulls_first
    return p.Sort(of, [p.SortKey(ref(of, index), descending, first)])


def test_filters_keep_what_is_true() -> None:
    """A null in a condition is no match, but a null is not equal to a value."""
    assert run(where(PEOPLE, 2, ">", "real", 2.0)) == [[2, "b", 2.5], [3, "a", 3.5]]
    assert run(where(PEOPLE, 2, "!=", "real", 1.5)) == [[2, "b", 2.5], [3, "a", 3.5], [4, "c", None]]


def test_columns_build_on_columns() -> None:
    """extend over extend over where over extend, each seeing what was before it."""
    twice = p.Project(
        PEOPLE, [p.Column(10, apply("*", ref(PEOPLE, 0), value("long", 2))), p.Column(11, ref(PEOPLE, 1))]
    )
    kept = p.Filter(twice, apply(">", ref(twice, 0), value("long", 2)))
    squared = p.Project(kept, [p.Column(20, apply("*", ref(kept, 0), ref(kept, 0))), p.Column(21, ref(kept, 1))])
    assert run(squared) == [[16, "b"], [36, "a"], [64, "c"]]


def test_long_chains_stay_small() -> None:
    """A column that is used twice at each step does not double the statement each time."""
    plan: p.Plan = PEOPLE
    for step in range(40):
        plan = p.Project(plan, [p.Column(100 + step, apply("+", ref(plan, 0), ref(plan, 0)))])
    assert len(emit(plan, Nowhere())) < 10_000
    assert run(plan)[0] == [2**40]
    sums: p.Expression = ref(PEOPLE, 0)
    for _ in range(60):
        sums = apply("+", sums, ref(PEOPLE, 0))
    assert run(p.Project(PEOPLE, [p.Column(9, sums)]))[1] == [122]


def test_groups() -> None:
    plan = p.Summarize(
        PEOPLE,
        [p.Column(10, ref(PEOPLE, 1))],
        [
            aggregate("count", 11),
            aggregate("sum", 12, ref(PEOPLE, 2)),
            aggregate("avg", 13, ref(PEOPLE, 2)),
            aggregate("max", 14, ref(PEOPLE, 2)),
            aggregate("count", 15, where=apply(">", ref(PEOPLE, 0), value("long", 1))),
            aggregate("make_list", 16, ref(PEOPLE, 2)),
        ],
    )
    assert run(by(plan, 0)) == [
        ["a", 2, 5.0, 2.5, 3.5, 1, [1.5, 3.5]],
        ["b", 1, 2.5, 2.5, 2.5, 1, [2.5]],
        ["c", 1, 0.0, "NaN", None, 1, []],
    ]


def test_no_rows_make_one_row_without_keys() -> None:
    none = where(PEOPLE, 0, ">", "long", 100)
    names = ("count", "sum", "avg", "min", "make_list", "make_set", "dcount", "take_any")
    made = [aggregate(each, 10 + index, *([] if each == "count" else [ref(none, 0)]))
            for index, each in enumerate(names)]  # fmt: skip
    made += [aggregate(each, 30 + index, ref(none, 2)) for index, each in enumerate(("stdev", "variance"))]
    made += [aggregate("max", 40, ref(none, 1)), aggregate("arg_max", 41, ref(none, 1), ref(none, 0))]
    assert run(p.Summarize(none, [], made)) == [[0, 0, "NaN", None, [], [], 0, None, 0.0, 0.0, "", ""]]
    assert run(p.Summarize(none, [p.Column(50, ref(none, 1))], made)) == []


def test_no_number_wins() -> None:
    """NaN is the greatest and the least, also where a row is chosen by it."""
    rows = table(["real", "long"], [[1.5, 1], [math.nan, 2], [2.5, 3]])
    made = [
        aggregate("max", 10, ref(rows, 0)),
        aggregate("min", 11, ref(rows, 0)),
        aggregate("arg_max", 12, ref(rows, 1), ref(rows, 0)),
        aggregate("arg_min", 13, ref(rows, 1), ref(rows, 0)),
        aggregate("sum", 14, ref(rows, 0)),
        aggregate("stdev", 15, ref(rows, 0)),
    ]
    assert run(p.Summarize(rows, [], made)) == [["NaN", "NaN", 2, 2, "NaN", "NaN"]]


def test_lists_of_dynamic_values_are_taken_apart() -> None:
    rows = table(["dynamic"], [[{"a": 1}], [[1, 2]], [None], ["x"]])
    made = [aggregate(each, 10 + index, ref(rows, 0)) for index, each in enumerate(("make_list", "make_set"))]
    assert run(p.Summarize(rows, [], made)) == [[[{"a": 1}, 1, 2, None, "x"], ["x", 1, 2, {"a": 1}]]]


def test_bags_keep_the_first_of_a_name() -> None:
    rows = table(["dynamic"], [[{"a": 1, 'q"': "x"}], [{"a": 2, "b": {"c": None}}], [[1]], [None]])
    assert run(p.Summarize(rows, [], [aggregate("make_bag", 10, ref(rows, 0))])) == [
        [{"a": 1, 'q"': "x", "b": {"c": None}}]
    ]


def test_percentiles() -> None:
    rows = table(["long", "long"], [[10, 8], [20, 6], [30, 3], [40, 1]])
    hundred = [value("real", each) for each in (50.0, 75.0, 99.9)]
    made = [
        aggregate("percentile", 10, ref(rows, 0), hundred[0]),
        aggregate("percentiles_array", 11, ref(rows, 0), *hundred),
        aggregate("percentilew", 12, ref(rows, 0), ref(rows, 1), hundred[1]),
        aggregate("percentilesw_array", 13, ref(rows, 0), ref(rows, 1), *hundred),
    ]
    assert run(p.Summarize(rows, [], made)) == [[20, [20, 30, 40], 20, [20, 20, 40]]]


def test_counts_of_distinct_values_that_are_put_together() -> None:
    rows = table(["long", "string"], [[1, "a"], [2, "a"], [2, "b"], [None, "c"]])
    made = p.Summarize(rows, [], [aggregate("hll", 10, ref(rows, 0)), aggregate("hll", 11, ref(rows, 1))])
    counted: list[p.Expression] = [ref(made, 0), ref(made, 1), apply("hll_merge", ref(made, 0), ref(made, 1))]
    plan = p.Project(made, [p.Column(20 + index, apply("dcount_hll", each)) for index, each in enumerate(counted)])
    assert run(plan) == [[2, 3, 5]]


def test_how_two_values_go_together() -> None:
    rows = table(["real", "real"], [[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])
    made = [aggregate(each, 10 + index, ref(rows, 0), ref(rows, 1)) for index, each in
            enumerate(("covariance", "covariancep"))]  # fmt: skip
    assert run(p.Summarize(rows, [], made)) == [[2.0, pytest.approx(4 / 3)]]


def test_best_row() -> None:
    """The whole row of the greatest; nulls lose; a group of nulls gives one of its rows."""
    rows = table(["string", "long", "string"], [["a", 1, "x"], ["a", 3, "y"], ["b", None, "z"], ["a", None, "w"]])
    for least, wanted in ((False, ["a", 3, "y"]), (True, ["a", 1, "x"])):
        best = p.Best(rows, [p.Column(10, ref(rows, 0))], ref(rows, 1), least, p.Column(11, ref(rows, 1)),
                      [p.Column(12, ref(rows, 2))])  # fmt: skip
        assert run(by(best, 0)) == [wanted, ["b", None, "z"]]
    none = where(rows, 1, ">", "long", 9)
    best = p.Best(none, [], ref(none, 1), False, p.Column(11, ref(none, 1)), [p.Column(12, ref(none, 2))])
    assert run(best) == [[None, ""]]


@pytest.mark.parametrize(
    ("descending", "nulls_first", "wanted"),
    [
        (False, True, [None, "NaN", "-Infinity", 1.0, 2.0]),
        (False, False, ["-Infinity", 1.0, 2.0, "NaN", None]),
        (True, False, [2.0, 1.0, "-Infinity", "NaN", None]),
        (True, True, [None, "NaN", 2.0, 1.0, "-Infinity"]),
    ],
)
def test_orders(descending: bool, nulls_first: bool, wanted: list[Any]) -> None:
    """What is no number stands beside the nulls."""
    rows = table(["real"], [[2.0], [None], [math.nan], [-math.inf], [1.0]])
    assert [row[0] for row in run(by(rows, 0, descending=descending, nulls_first=nulls_first))] == wanted


def test_an_order_goes_on() -> None:
    """Through a limit, a filter and columns that are made after it."""
    top = p.Limit(by(PEOPLE, 0, descending=True), value("long", 3))
    kept = p.Filter(top, apply("!=", ref(top, 1), value("string", "b")))
    twice = p.Project(kept, [p.Column(20, apply("+", ref(kept, 0), ref(kept, 0)))])
    assert run(twice) == [[8], [6]]
    listed = p.Summarize(twice, [], [aggregate("make_list", 30, ref(twice, 0))])
    assert run(listed) == [[[8, 6]]]


LEFT = table(["long", "string"], [[1, "a"], [1, "b"], [2, "c"], [None, "n"]])
RIGHT = table(["long", "string"], [[1, "x"], [1, "y"], [3, "z"], [None, "m"]], first=11)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("inner", [[None, "n", None, "m"], [1, "a", 1, "x"], [1, "a", 1, "y"], [1, "b", 1, "x"], [1, "b", 1, "y"]]),
        ("innerunique", [[None, "n", None, "m"], [1, "a", 1, "x"], [1, "a", 1, "y"]]),
        ("leftouter", [[None, "n", None, "m"], [1, "a", 1, "x"], [1, "a", 1, "y"], [1, "b", 1, "x"], [1, "b", 1, "y"],
                       [2, "c", None, ""]]),
        ("rightouter", [[None, "", 3, "z"], [None, "n", None, "m"], [1, "a", 1, "x"], [1, "a", 1, "y"],
                        [1, "b", 1, "x"], [1, "b", 1, "y"]]),
        ("fullouter", [[None, "", 3, "z"], [None, "n", None, "m"], [1, "a", 1, "x"], [1, "a", 1, "y"],
                       [1, "b", 1, "x"], [1, "b", 1, "y"], [2, "c", None, ""]]),
        ("leftsemi", [[None, "n"], [1, "a"], [1, "b"]]),
        ("leftanti", [[2, "c"]]),
        ("rightsemi", [[None, "m"], [1, "x"], [1, "y"]]),
        ("rightanti", [[3, "z"]]),
    ],
)  # fmt: skip
def test_joins(kind: p.JoinKind, wanted: list[list[Any]]) -> None:
    """Nulls match nulls; the missing side is '' for strings, else null."""
    joined = p.Join(LEFT, RIGHT, kind, [(ref(LEFT, 0), ref(RIGHT, 0))])
    assert sorted(run(joined), key=lambda row: [(each is not None, each) for each in row]) == wanted


def test_unions_and_shared_plans() -> None:
    """A plan that is read twice is written once, under ids of each reader, and keeps its order."""
    sorted_ = by(PEOPLE, 0, descending=True)
    shared = [p.Shared("T", sorted_, [p.Out(first, "long"), p.Out(first + 1, "string"), p.Out(first + 2, "real")])
              for first in (20, 30)]  # fmt: skip
    both = p.Union(
        [p.Out(40, "long"), p.Out(41, "string")], [project(shared[0], 50, 0, 1), project(shared[1], 60, 0, 1)]
    )
    assert sorted(row[0] for row in run(both)) == [1, 1, 2, 2, 3, 3, 4, 4]
    assert emit(both, Nowhere()).count("VALUES") == 1
    assert run(p.Project(shared[0], [p.Column(70, ref(shared[0], 0))])) == [[4], [3], [2], [1]]
    joined = p.Join(shared[0], shared[1], "inner", [(ref(shared[0], 0), ref(shared[1], 0))])
    assert len(run(joined)) == 4


def test_expanding_arrays() -> None:
    """Side by side, the shorter filled up; a bag in parts; an empty array and a null give one row; numbered from 0."""
    rows = table(["long", "dynamic", "dynamic"],
                 [[1, [1, None, {"x": [2]}], ["p"]], [2, [], None], [3, {"k": 1, "l": "v"}, 7]])  # fmt: skip
    plan = p.Expand(rows, [p.Unnested(10, "dynamic", ref(rows, 1)), p.Unnested(11, "dynamic", ref(rows, 2))], index=12)
    assert run(project(plan, 20, 0, 3, 4, 5)) == [
        [1, 1, "p", 0],
        [1, None, None, 1],
        [1, {"x": [2]}, None, 2],
        [2, None, None, 0],
        [3, {"k": 1}, 7, 0],
        [3, {"l": "v"}, None, 1],
    ]
    pairs = p.Expand(rows, [p.Unnested(10, "dynamic", ref(rows, 1), pairs=True)], drop=True, limit=value("long", 2))
    assert run(project(pairs, 20, 0, 3)) == [[1, 1], [1, None], [3, ["k", 1]], [3, ["l", "v"]]]


def test_paths() -> None:
    rows = table(["dynamic", "string", "long"], [[{"a": {"b c": [1, None, {"d\"'": True}]}}, "a", -1], [None, "x", 0]])
    of = ref(rows, 0)
    paths: list[list[Any]] = [
        ["a", "b c", 0],
        ["a", "b c", -1, "d\"'"],
        ["a", "b c", 1],
        [ref(rows, 1), "b c", ref(rows, 2)],
        ["*"],
        ["0"],
    ]
    plan = p.Project(rows, [p.Column(10 + index, p.Path("dynamic", of, steps)) for index, steps in enumerate(paths)])
    assert run(plan) == [[1, True, None, {"d\"'": True}, None, None], [None] * 6]


def test_ranges() -> None:
    """Up to the end if a step lands there, downwards with a negative step, nothing for a step of 0."""
    day = 864_000_000_000
    cases: list[tuple[Scalar, Any, Any, Any, list[Any]]] = [
        ("long", 1, 7, 3, [1, 4, 7]),
        ("long", 3, 1, -1, [3, 2, 1]),
        ("long", 3, 1, 1, []),
        ("long", 3, 1, 0, []),
        ("long", 5, 5, 1, [5]),
        ("real", 0.0, 0.3, 0.1, [0.0, 0.1, 0.2, 0.30000000000000004]),
        ("timespan", 0, 2 * day, day, ["00:00:00", "1.00:00:00", "2.00:00:00"]),
    ]
    for type_, start, stop, step, wanted in cases:
        plan = p.Numbers([p.Out(1, type_)], value(type_, start), value(type_, stop), value(type_, step))
        got = [row[0] for row in run(plan)]
        assert got == wanted[: len(got)] and len(wanted) - len(got) <= (type_ == "real"), (type_, start, stop)
    first = 637_134_336_000_000_000
    days = p.Numbers(
        [p.Out(1, "datetime")], value("datetime", first), value("datetime", first + day), value("timespan", day)
    )
    assert run(days) == [["2020-01-01T00:00:00Z"], ["2020-01-02T00:00:00Z"]]
    last = p.Single("long", p.Summarize(PEOPLE, [], [aggregate("max", 30, ref(PEOPLE, 0))]))
    moving = p.Numbers([p.Out(40, "long")], value("long", 1), last, value("long", 1))
    assert run(moving) == [[1], [2], [3], [4]]


def test_looking_up_and_single_values() -> None:
    """`in (T)` is never null; toscalar takes the first row, '' or null where there is none."""
    inner = project(RIGHT, 60, 0)
    found = p.Lookup("bool", ref(LEFT, 0), inner)
    assert run(project(p.Filter(LEFT, found), 70, 1)) == [["a"], ["b"]]
    assert run(project(p.Filter(LEFT, apply("not", found)), 70, 1)) == [["c"], ["n"]]
    names = p.Lookup("bool", value("string", "X"), project(RIGHT, 60, 1), fold=True)
    none = p.Single("string", project(where(RIGHT, 0, ">", "long", 9), 80, 1))
    least = p.Single("long", project(by(RIGHT, 0, nulls_first=False), 85, 0))
    single = p.Project(p.Rows([], [[]]), [p.Column(90, names), p.Column(91, none), p.Column(92, least)])
    assert run(single) == [[True, "", 1]]


def windowed(of: p.Plan, id_: int, function: str, *args: p.Expression, restart: "p.Expression | None" = None,
             type_: Scalar = "long") -> p.Number:  # fmt: skip
    return p.Number(of, [p.Windowed(id_, type_, function, list(args), restart)])


def test_windows() -> None:
    rows = table(["string", "long"], [["b", 30], ["a", 10], ["a", 20], ["b", 30], ["b", 40]])
    order = p.Sort(rows, [p.SortKey(ref(rows, 0), False, True), p.SortKey(ref(rows, 1), False, True)])
    before = windowed(order, 10, "prev", ref(rows, 0), type_="string")
    other = apply("!=", ref(rows, 0), p.Ref("string", 10))
    numbered = windowed(before, 11, "row_number", value("long", 0), restart=other)
    summed = windowed(numbered, 12, "row_cumsum", ref(rows, 1), restart=other)
    dense = windowed(summed, 13, "row_rank_dense", ref(rows, 1), restart=other)
    least = windowed(dense, 14, "row_rank_min", ref(rows, 1), restart=other)
    after = windowed(least, 15, "next", ref(rows, 1), value("long", 2), value("long", -1))
    assert run(after) == [
        ["a", 10, "", 0, 10, 1, 1, 20 + 10],
        ["a", 20, "a", 1, 30, 2, 2, 30],
        ["b", 30, "a", 0, 30, 1, 1, 40],
        ["b", 30, "b", 1, 60, 1, 1, -1],
        ["b", 40, "b", 2, 100, 2, 3, -1],
    ]


def test_sessions() -> None:
    """A gap, a greatest length from the first row and a condition end a session."""
    minute = 600_000_000
    minutes = [0, 4, 8, 12, 16, 40, 41, 42]
    rows = table(["datetime", "string"], [[637_134_336_000_000_000 + each * minute, "u"] for each in minutes]
                 + [[637_134_336_000_000_000, "v"]])  # fmt: skip
    order = p.Sort(rows, [p.SortKey(ref(rows, 1), False, True), p.SortKey(ref(rows, 0), False, True)])
    before = windowed(order, 10, "prev", ref(rows, 1), type_="string")
    other = apply("!=", ref(rows, 1), p.Ref("string", 10))
    spans = [value("timespan", 10 * minute), value("timespan", 5 * minute)]
    plan = windowed(before, 11, "row_window_session", ref(rows, 0), *spans, restart=other, type_="datetime")
    got = [row[3][11:16] for row in run(plan)]
    assert got == ["00:00", "00:00", "00:00", "00:12", "00:12", "00:40", "00:40", "00:40", "00:00"]


def test_samples_and_rows_of_nothing() -> None:
    assert len(run(p.Limit(PEOPLE, value("long", 2), random=True))) == 2
    assert run(p.Limit(PEOPLE, value("long", 0))) == []
    assert run(table(["long", "string"], [])) == []


def test_what_is_not_said_is_an_error() -> None:
    rows = table(["dynamic"], [[1]])
    with pytest.raises(KqlError) as caught:
        run(p.Summarize(rows, [], [aggregate("max", 10, ref(rows, 0))]))
    assert caught.value.phase == "plan"


def test_an_order_is_of_values_not_of_their_texts() -> None:
    rows = table(["timespan"], [[10**13], [5 * 10**12], [-1]])
    assert run(by(rows, 0)) == [["-00:00:00.0000001"], ["5.18:53:20"], ["11.13:46:40"]]


def test_filters_reach_the_file(tmp_path: Path) -> None:
    """A condition on a stored column skips parts of a Parquet file, through columns made in between."""
    with duckdb.connect() as made:
        made.execute(f"COPY (SELECT make_timestamp(i * 1000000) AS t, 'x' || i AS s FROM range(9) AS r(i)) "
                     f"TO '{tmp_path}/t.parquet'")  # fmt: skip
    held = connect(folders=[tmp_path], setup=[f"CREATE VIEW stored AS FROM '{tmp_path}/t.parquet'"])
    stored = p.Table([p.Out(1, "datetime"), p.Out(2, "string")], "stored", ["t", "s"])
    upper = p.Project(
        stored, [p.Column(3, ref(stored, 0)), p.Column(4, apply("=~", ref(stored, 1), value("string", "X5")))]
    )
    since = apply("-", value("datetime", 621_355_968_060_000_000), value("timespan", 10_000_000))
    found = p.Filter(
        upper, apply("and", apply(">=", ref(upper, 0), since), apply("==", ref(upper, 1), value("bool", True)))
    )
    explained = held.execute(f"EXPLAIN {emit(found, Nowhere())}").fetchall()[0][1]
    assert "Filters" in explained.split("Parquet")[-1], explained
    assert run(found, held) == [["1970-01-01T00:00:05Z", True]]


def test_stored_columns_of_awkward_names() -> None:
    """Columns that differ in nothing but case, or are called as those of a statement, are no trouble."""
    with connect(
        setup=['CREATE TABLE odd AS SELECT 2 AS c2, \'b\' AS c1, \'B\' AS "o1_0", 5 AS "select"";--"']
    ) as held:
        odd = p.Table([p.Out(1, "int"), p.Out(2, "string"), p.Out(3, "string"), p.Out(4, "int")], "odd",
                      ["c2", "c1", "o1_0", 'select";--'])  # fmt: skip
        assert run(p.Limit(by(odd, 1), value("long", 1)), held) == [[2, "b", "B", 5]]


def test_very_long_pipes() -> None:
    """Many steps work; more than the machine can nest are refused, not crashed on."""
    plan: p.Plan = PEOPLE
    for step in range(120):
        plan = p.Limit(plan, value("long", 3 + step % 2))
    assert len(run(plan)) == 3
    for _ in range(2000):
        plan = p.Limit(plan, value("long", 3))
    with pytest.raises(KqlError, match="too many steps"):
        emit(plan, Nowhere())
