"""search and `*` look at each column of a row by itself, however many there are."""

from datetime import UTC, datetime

import pytest
from tests.hunt.harness import Harness

from bartizan.hunt import translate
from bartizan.hunt.catalogue import of_columns
from bartizan.hunt.tree import Scalar

ROWS = r"""datatable(n: int, a: string, b: string, d: dynamic)[
    1, "red fox", "jumps", dynamic(null),
    2, "", "foxes", dynamic({"k": ["Red", 7]}),
    3, "pre", "fix", dynamic("fox\u001ftrot"),
    4, "PRE-fix", "x_y%", dynamic([1, null])
]"""


@pytest.fixture(scope="module")
def harness() -> Harness:
    return Harness({})


def numbers(harness: Harness, steps: str) -> list[int]:
    columns, rows = harness.run(f"{ROWS} | {steps} | project n | sort by n asc")
    assert columns == [("n", "int")]
    return [number for (number,) in rows]


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ("search 'fox'", [1, 3]),
        ("search 'FOX' and not('trot')", [1]),
        ("search 'fox*'", [1, 2, 3]),
        ("search '*mps'", [1]),
        ("search '*oxe*'", [2]),
        ("search 'r*fox'", [1]),
        ("search 'red'", [1, 2]),
        ("search kind=case_sensitive 'red'", [1]),
        ("search '7'", [2]),
        ("search 'pre fix'", []),
        ("search 'fox jumps'", []),
        ("search 'prefix'", []),
        ("search 'pre-fix'", [4]),
        ("search 'x_y%'", [4]),
        ("search b: 'fox'", []),
        ("search ''", [1, 2, 3, 4]),
        ("where * has 'fox'", [1, 3]),
        ("where * !has 'fox'", [1, 2, 3, 4]),
        ("where * contains_cs 'RE'", [4]),
        ("where * hasprefix 'jump'", [1]),
        ("where * startswith 'fox'", [2, 3]),
        ("where * endswith 'fox'", [1]),
        ("where * == 'pre'", [3]),
        ("where * has 'e\\u001ff'", []),  # what stands between texts that are searched together
        ("where * contains 'x\\u001ft'", [3]),
    ],
)
def test_columns_are_searched_by_themselves(harness: Harness, steps: str, wanted: list[int]) -> None:
    assert numbers(harness, steps) == wanted


def test_a_row_is_searched_once() -> None:
    """The statement has a regular expression for each word and table, none for each column."""
    columns: dict[str, Scalar] = {f"Column{number}": "string" for number in range(300)}
    harness = Harness({"One": columns, "Other": columns})
    made = translate(
        "search 'a' or 'b' | count", of_columns(harness.tables), storage=harness, now=datetime(2026, 1, 1, tzinfo=UTC)
    )
    assert made.sql.count("regexp_matches") == 4
