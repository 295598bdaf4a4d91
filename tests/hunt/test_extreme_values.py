"""Values at the ends of their ranges, and texts that are not what a function takes, make no query fail."""

from typing import Any

import pytest
from tests.hunt.harness import Harness

MOST = 2**63 - 1
DECIMALS = """datatable(n: int, x: decimal)[
    1, decimal(99999999999999999999.5), 2, decimal(5), 3, decimal(-6.25), 4, decimal(null)
]"""
TERMS = r"""datatable(a: string, b: string)[
    "xa-a-a", "a-a", "xa-a", "a-a", "foo.exe", ".EXE", "foo.exefoo", ".exe", "FooBar", "foo", "a\nb", "b",
    "été x", "ÉTÉ", "été", "té", "any", "", "x_y", "_"
]"""


@pytest.fixture(scope="module")
def harness() -> Harness:
    return Harness({})


CASES: list[tuple[str, list[list[Any]]]] = [
    # decimals: 20 digits before the point, null beyond them
    (f"{DECIMALS} | summarize sum(x), sumif(x, n > 1), sumif(x, n > 9), avgif(x, n > 1)",
     [[None, "-1.25", "0", "-0.625"]]),
    (f"{DECIMALS} | where n < 3 | project x + x, x - decimal(0.5) - x", [[None, None], ["10", "-0.5"]]),
    (f"{DECIMALS} | where n > 1 | sort by n asc | project row_cumsum(x)", [["5"], ["-1.25"], ["-1.25"]]),
    (f"{DECIMALS} | project around(x, x, x)", [[True], [True], [False], [None]]),
    # places and counts
    (f"print array_slice(dynamic(null), 0, {MOST}), array_slice(dynamic([1, 2]), 1, {MOST})", [[None, [2]]]),
    (f"print array_split(dynamic(null), {MOST}), array_split(dynamic([1, 2]), {MOST})", [[None, [[1, 2], []]]]),
    (f"print array_index_of(dynamic([1, 2]), 2, 1, {MOST}), split('a,b', ',', {MOST})", [[1, []]]),
    (f"print indexof('abc', 'c', {MOST}), indexof('abc', 'c', 1, {MOST}), indexof('abc', 'c', 0, -1, {MOST})",
     [[-1, 2, -1]]),
    (f"print indexof_regex('abc', 'c', {MOST}), indexof_regex('abc', 'c', 1, {MOST})", [[-1, 2]]),
    (f"print around({MOST}, {MOST}, {MOST}), around(1, 5, {MOST}), around(1.5, 2.0, 0.5)", [[True, True, True]]),
    (f"range i from 1 to 2 step 1 | serialize n = row_number({MOST}) | project n", [[MOST], [-MOST - 1]]),
    (f"range i from 1 to 2 step 1 | extend t = totimespan({MOST}) | summarize tolong(avg(t))", [[MOST]]),
    ("datatable(r: real)[real(nan), real(1e300), real(+inf)] | project bin(datetime(2020-01-01), r)", [[None]] * 3),
    ("print series_fill_linear(dynamic(null))", [[None]]),
    # regular expressions and words that come with the row
    ("datatable(a: string, b: string)['abc', 'b.', 'x', '(', 'y', 'a{9999}'] | project a matches regex b",
     [[True], [False], [False]]),
    ("datatable(a: string)['b'] | where tolower(a) matches regex toscalar(print '(')", []),
    (f"{TERMS} | project a has b",
     [[True], [False], [True], [False], [False], [True], [True], [False], [True], [True]]),
    (f"{TERMS} | project a hasprefix b",
     [[True], [False], [True], [True], [True], [True], [True], [False], [True], [True]]),
    (f"{TERMS} | project a hassuffix b",
     [[True], [True], [True], [False], [False], [True], [True], [True], [True], [True]]),
    (f"{TERMS} | project a has_any (pack_array(b, 'none'))",
     [[True], [False], [True], [False], [False], [True], [True], [False], [True], [True]]),
    ("print 5 in~ (4, 5), true !in~ (dynamic([false])), 1h in~ (dynamic(['01:00:00']))", [[True, True, True]]),
]  # fmt: skip


@pytest.mark.parametrize(("query", "rows"), CASES, ids=[query[-60:] for query, _ in CASES])
def test_it_gives_a_value_or_null(harness: Harness, query: str, rows: list[list[Any]]) -> None:
    assert harness.run(query)[1] == rows


@pytest.mark.parametrize("operator", ["has", "has_cs", "hasprefix", "hassuffix", "hasprefix_cs", "hassuffix_cs"])
def test_words_of_the_row_are_found_as_constants_are(harness: Harness, operator: str) -> None:
    """One test of terms for a word that is known, another for a word that comes with the row."""
    moving = [row for (row,) in harness.run(f"{TERMS} | project a {operator} b")[1]]
    words = [row for (row,) in harness.run(f"{TERMS} | project b")[1]]
    for index, word in enumerate(words):
        constant = harness.run(f"{TERMS} | project a {operator} '{word}'")[1][index]
        assert constant == [moving[index]], f"{operator} {word!r}"
