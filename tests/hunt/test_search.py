"""search and `*` look at each column of a row by itself, however many there are."""

from datetime import UTC, datetime

import pytest
from tests.hunt.harness import Harness

from bartizan.hunt import translate
from bartizan.hunt.catalogue import of_columns
from bartizan.hunt.duckdb.open import connect
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


EACH: dict[Scalar, tuple[object, object]] = {  # as stored, as shown
    "bool": (True, True),
    "datetime": ("9999-12-31 23:59:59.999999", "9999-12-31T23:59:59.999999Z"),
    "decimal": ("-12345678901234567890.000000000000000001", -12345678901234567890.000000000000000001),
    "dynamic": ({"a": ["\x00", None, 1e300]}, {"a": ["\x00", None, 1e300]}),
    "guid": ("74be27de-1e4e-49d9-b579-fe0b331d3642", "74be27de-1e4e-49d9-b579-fe0b331d3642"),
    "int": (-(2**31), -(2**31)),
    "long": (2**63 - 1, 2**63 - 1),
    "real": (5e-324, 5e-324),
    "string": ("a\x00b'\n\u202e", "a\x00b'\n\u202e"),
    "timespan": (-1, "-00:00:00.0000001"),
}


@pytest.fixture(scope="module")
def many() -> Harness:
    """Sixteen tables with a row each, two columns of all and thirty of their own, and little memory."""
    types = list(EACH) * 3
    tables: dict[str, dict[str, Scalar]] = {
        f"T{table}": {"Same": "string", "At": "datetime", **{f"C{table}_{n}": type_ for n, type_ in enumerate(types)}}
        for table in range(16)
    }
    harness = Harness(tables, connect(memory_mb=120))
    harness.fill({
        table: [{"Same": "fox", "At": f"2026-01-{1 + number % 28:02}", **{
            name: EACH[type_][0] for name, type_ in columns.items() if name.startswith("C")
        }}] for number, (table, columns) in enumerate(tables.items())
    })  # fmt: skip
    return harness


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("search 'fox' | take 7", 7),
        ("search 'fox' | sort by At desc, $table asc | take 3", 3),
        ("union * | where Same == 'fox' and C3_0 == true | sort by At asc", 1),
        ("union * | where C3_0 == true or C4_6 > 5 | top 5 by C4_6 | extend n = C4_6 - 1", 2),
        ("union * | where Same in (T1 | project Same) | take 70", 16),
        ("union * | where * has 'fox' and * !has 'hen' | take 9", 9),
        ("union * | where * == 'fox' | take 2", 2),
        ("union * | where isnull(C1_5) | take 100 | where At > datetime(2026-01-02)", 14),
    ],
)
def test_a_wide_answer_fits_into_the_memory(many: Harness, query: str, count: int) -> None:
    """Rows are chosen before thousands of columns are spread out, and hold what their table holds."""
    columns, rows = many.run(query)
    assert len(rows) == count
    assert len(columns) >= 16 * 30 + 2
    own = {name: index for index, (name, _) in enumerate(columns)}
    for row in rows:
        held = {name for name, index in own.items() if name.startswith("C") and row[index] not in (None, "")}
        assert len(held) == 30
        [table] = {name.split("_")[0][1:] for name in held}
        for number, type_ in enumerate(list(EACH) * 3):
            shown = row[own[f"C{table}_{number}"]]
            assert float(shown) == EACH[type_][1] if type_ == "decimal" else shown == EACH[type_][1]
