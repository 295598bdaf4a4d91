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


def test_many_tables_without_a_common_column() -> None:
    """What a row's table has not is null, a string empty, whether or not other rows have it."""
    types: tuple[Scalar, ...] = ("string", "long", "dynamic", "datetime")
    tables: dict[str, dict[str, Scalar]] = {
        f"T{table}": {"Same": "string", **{f"C{table}_{number}": types[number % 4] for number in range(60)}}
        for table in range(70)
    }
    harness = Harness(tables)
    harness.fill({"T1": [{"Same": "fox", "C1_1": 5, "C1_2": {"a": 1}}, {"Same": "hen"}], "T9": [{"C9_0": "a fox"}]})
    columns, rows = harness.run("search 'fox' | sort by $table asc")
    assert len(columns) == 2 + 70 * 60
    empty = {"string": "", "long": None, "dynamic": None, "datetime": None}
    told: list[dict[str, object]] = [
        {"$table": "T1", "Same": "fox", "C1_1": 5, "C1_2": {"a": 1}}, {"$table": "T9", "C9_0": "a fox"}
    ]  # fmt: skip
    assert rows == [[row.get(name, empty[type_]) for name, type_ in columns] for row in told]
    made = harness.translate("search 'fox'", datetime(2026, 1, 1, tzinfo=UTC))
    assert len(made.sql) < 1_500_000
    assert harness.run("union * | where isempty(C5_0) | summarize count(), countif(C1_1 == 5)")[1] == [[3, 1]]
