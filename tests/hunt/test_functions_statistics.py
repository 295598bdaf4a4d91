"""Distributions, digests, schemas and ranges: the examples of their pages, and what follows from definitions."""

import math
from functools import cache
from typing import Any

import pytest
from tests.hunt.harness import Harness

from bartizan.hunt.fault import KqlError


@cache
def harness() -> Harness:
    return Harness({"T": {"d": "dynamic", "x": "real"}})


def rows(query: str) -> list[list[Any]]:
    return harness().run(query)[1]


def value(expression: str) -> Any:
    return rows(f"print x = {expression}")[0][0]


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("beta_cdf(0.9, 10.0, 20.0)", 0.999999999999959),
        ("beta_cdf(0.5, 1, 1)", 0.5),
        ("beta_cdf(0.25, 2, 1)", 0.0625),
        ("beta_cdf(0, 3, 4) + beta_cdf(1, 3, 4)", 1.0),
        ("beta_pdf(0.5, 10.0, 20.0)", 0.746176019310951),
        ("beta_inv(0.1, 10.0, 20.0)", 0.226415022388749),
        ("beta_cdf(beta_inv(0.37, 5000.0, 9000.0), 5000.0, 9000.0)", 0.37),
        ("erf(1.0)", math.erf(1)),
        ("erfc(-0.5)", math.erfc(-0.5)),
        ("welch_test(1, 2, 10, 1, 3, 12)", 1.0),
    ],
)
def test_distributions(expression: str, wanted: float) -> None:
    assert value(expression) == pytest.approx(wanted, rel=1e-10)


@pytest.mark.parametrize(
    "expression",
    ["beta_cdf(1.5, 10.0, 20.0)", "beta_cdf(-10.0, 10.0, 20.0)", "beta_cdf(0.1, -1.0, 20.0)", "beta_pdf(0.0, 1.0, 2.0)",
     "beta_pdf(0.1, -1.0, 20.0)", "beta_inv(0.1, -1.0, 20.0)", "welch_test(1, 2, 1, 1, 2, 5)"],
)  # fmt: skip
def test_what_has_no_value_is_nan(expression: str) -> None:
    assert value(f"isnan({expression})") is True


def test_of_no_share_there_is_no_inverse() -> None:
    assert value("beta_inv(1.5, 10.0, 20.0)") is None


def test_two_series_of_different_means() -> None:
    found = rows(
        "print s1 = dynamic([27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4"
        "]), s2 = dynamic([27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 20.5, 24.4]) "
        "| mv-expand s1 to typeof(double), s2 to typeof(double) | summarize m1 = avg(s1), v1 = variance(s1), "
        "c1 = count(), m2 = avg(s2), v2 = variance(s2), c2 = count() | project welch_test(m1, v1, c1, m2, v2, c2)"
    )
    assert found == [[pytest.approx(0.021, abs=5e-4)]]


NUMBERS = "range x from 1 to 1000 step 1"


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ("summarize t = tdigest(x) | project rank_tdigest(t, 685)", [685]),
        ("summarize t = tdigest(x) | project percentrank_tdigest(t, 685)", [68.5]),
        ("summarize t = tdigest(x) | project percentile_tdigest(t, 95, typeof(long))", [950]),
        ("summarize t = tdigest(x) | project percentiles_array_tdigest(t, 50, 100)", [[500, 1000]]),
        ("summarize t = tdigest(x) | project percentiles_array_tdigest(t, dynamic([1, 99]))", [[10, 990]]),
        ("summarize a = tdigest(x), b = tdigest(x + 1000) | project m = merge_tdigest(a, b) "
         "| project percentile_tdigest(m, 75, typeof(long))", [1500]),
        ("summarize t = tdigest(x) by k = x % 7 | summarize m = tdigest_merge(t) "
         "| project rank_tdigest(m, 10), percentile_tdigest(m, 100, typeof(long))", [10, 1000]),
        ("summarize t = tdigest(datetime(2020-01-01) + x * 1d) | project percentile_tdigest(t, 1, typeof(datetime))",
         ["2020-01-11T00:00:00Z"]),
        ("where x < 0 | summarize t = tdigest(x) | project rank_tdigest(t, 1), percentile_tdigest(t, 5)", [0, None]),
    ],
)  # fmt: skip
def test_digests(steps: str, wanted: list[Any]) -> None:
    assert rows(f"{NUMBERS} | {steps}") == [wanted]


def test_the_schema_of_values() -> None:
    bags = ("datatable(value: dynamic)[dynamic({'x': 1, 'y': 3.5}), dynamic({'x': 'somevalue', 'z': [1, 2, 3]}), "
            "dynamic({'y': {'w': 'zzz'}, 't': ['aa', 'bb'], 'z': ['foo']})]")  # fmt: skip
    wanted = {"x": ["long", "string"], "y": ["double", {"w": "string"}], "z": {"`indexer`": ["long", "string"]},
              "t": {"`indexer`": "string"}}  # fmt: skip
    columns, found = harness().run(f"{bags} | summarize buildschema(value)")
    assert (columns, found) == ([("schema_value", "dynamic")], [[wanted]])
    assert rows(f"{bags} | summarize s = buildschema(value.x) by isnull(value.x) | project s") == [
        [["long", "string"]],
        [None],
    ]
    assert rows("T | summarize buildschema(d)") == [[None]]
    with pytest.raises(KqlError, match="is an aggregate"):
        rows(f"{bags} | extend s = buildschema(value)")


def test_the_paths_of_a_value() -> None:
    assert value('treepath(parse_json(\'{"a":"b", "c":123}\'))') == ["['a']", "['c']"]
    listed = value('treepath(dynamic({"listProperty":[100, 200, "abcde", {"x":"y"}]}))')
    assert listed == ["['listProperty']", "['listProperty'][0]", "['listProperty'][0]['x']"]
    assert value("treepath(dynamic(5))") == []


def test_the_blocks_of_a_range() -> None:
    blocks = value("ipv4_range_to_cidr_list('1.1.128.0', '1.1.140.255')")
    assert blocks == ["1.1.128.0/21", "1.1.136.0/22", "1.1.140.0/24"]
    assert value("ipv4_range_to_cidr_list('1.1.1.1', '1.1.1.0')") is None
    assert value("ipv4_range_to_cidr_list('1.1.1.1', 'x')") is None


def test_what_is_worked_out_of_aggregates() -> None:
    found = rows(f"{NUMBERS} | extend k = x % 2 | summarize m = erf(max(x) / 1000.0), n = erf(k) by k | sort by k asc")
    assert found == [[0, math.erf(1), 0.0], [1, math.erf(0.999), math.erf(1)]]
