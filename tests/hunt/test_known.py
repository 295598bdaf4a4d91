"""Public queries for known attacks, on planted rows: what must be found is found, what is nearly so is not.

A case is `known/*.yaml`: the `query` (its id in the shared hunting suite), the `attack`, `now`, `rows` by table and the
`result`, which was worked out by hand from what Kusto documents, not taken from an engine.

A row is a `hit` (the attack; without it the result is another), a `miss` (without it the result is the same) or an
`aid` (what a hit or a miss needs beside it), with the reason why. The first row of a table is written out; the others
say in what they differ from it. An instant is ISO 8601 or, such as `-1d2h`, before `now`. With `count`, a row stands
that often, with the number of each for `{n}`; `{each: text, count: 3}` is such a list in a result.
What a row of the result does not name is null or ''. Columns in `sets` are compared without order, and rows too unless
the case says `ordered`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.conftest import SHARED
from tests.hunt.harness import Harness

from bartizan.hunt.duckdb.literal import identifier
from bartizan.hunt.duckdb.open import connect
from bartizan.hunt.duckdb.values import rows_as_json
from bartizan.hunt.tree import Scalar

CASES = sorted(Path(__file__).with_name("known").glob("*.yaml"))
KINDS = ("hit", "miss", "aid")
UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds"}
Row = dict[str, Any]

pytestmark = pytest.mark.shared


@cache
def harness() -> Harness:
    """With all macros: one that is made while rows are taken away would go when they come back."""
    tables = json.loads((SHARED / "hunting" / "tables.json").read_text("utf-8"))["tables"]
    return Harness({name: each["columns"] for name, each in tables.items()}, connect())


@cache
def queries() -> dict[str, str]:
    lines = (SHARED / "hunting" / "hunting-examples.jsonl").read_text("utf-8").splitlines()
    return {each["id"]: each["query"] for each in map(json.loads, lines)}


def instant(written: Any, now: datetime) -> datetime:
    """As DuckDB's TIMESTAMP has it: without a zone, UTC."""
    if isinstance(written, datetime):
        return written.astimezone(UTC).replace(tzinfo=None) if written.tzinfo else written
    if not re.fullmatch(r"-(\d+[dhms])+", written):
        return datetime.fromisoformat(written).replace(tzinfo=None)
    steps = {UNITS[unit]: int(number) for number, unit in re.findall(r"(\d+)([dhms])", written)}
    return now.replace(tzinfo=None) - timedelta(**steps)


def numbered(value: Any, number: int) -> Any:
    """`{n}` in each text of a value becomes the number."""
    if isinstance(value, str):
        return value.replace("{n}", str(number))
    if isinstance(value, list):
        return [numbered(each, number) for each in value]
    return {key: numbered(each, number) for key, each in value.items()} if isinstance(value, dict) else value


class Case:
    def __init__(self, path: Path) -> None:
        case = yaml.load(path.read_text("utf-8"), yaml.CSafeLoader)
        self.now: datetime = case["now"].astimezone(UTC)
        self.query = queries()[case["query"]]
        self.rows = {table: list(self.planted(table, rows)) for table, rows in case["rows"].items()}
        self.result: list[Row] = case["result"]
        self.sets: list[str] = case.get("sets", [])
        self.ordered: bool = case.get("ordered", False)
        self.attack: str = case["attack"]

    def planted(self, table: str, rows: list[Row]) -> Iterator[tuple[str, Row]]:
        """The kind of each row, and it; of a `count`, the kind of those in the middle is "more hit" and so on."""
        columns: Mapping[str, str] = {**harness().tables[table], "ingested": "datetime"}
        for row in rows:
            (kind,) = (each for each in KINDS if each in row)
            written = {name: value for name, value in {**rows[0], **row}.items() if value is not None}
            filled = {name: value for name, value in written.items() if name not in (*KINDS, "count")}
            assert set(filled) <= set(columns), f"{table} has no {set(filled) - set(columns)}"
            count = row.get("count", 1)
            for number in range(1, count + 1):
                each = numbered(filled, number)
                times = {name: instant(each[name], self.now) for name in each if columns[name] == "datetime"}
                yield kind if number in (1, count) else f"more {kind}", {**each, **times}

    def fill(self) -> None:
        harness().fill({table: [row for _, row in content] for table, content in self.rows.items()})
        self.made = harness().translate(self.query, self.now)
        self.columns = self.made.columns

    def run(self, without: Mapping[str, list[int]] | None = None) -> list[list[Any]]:
        """The rows as `expected` has them, of all that was planted but for some rows of some tables."""
        on = harness().connection
        on.begin()
        try:
            for table, gone in (without or {}).items():
                on.execute(f"DELETE FROM {identifier(table)} WHERE list_contains(?, planted)", [gone])
            # what a query looks up first, such as the names of a bag, depends on the rows
            again = without is not None and "evaluate" in self.query
            made = harness().translate(self.query, self.now) if again else self.made
            found = rows_as_json(made.columns, harness().ask(made.sql))
        finally:
            on.rollback()
        shown = [[self.shown(name, value) for (name, _), value in zip(made.columns, row, strict=True)] for row in found]
        return shown if self.ordered else sorted(shown, key=repr)

    @cached_property
    def whole(self) -> list[list[Any]]:
        """The rows of all that was planted."""
        return self.run()

    def shown(self, name: str, value: Any) -> Any:
        if name in self.sets:
            return sorted(value, key=repr)
        return float(f"{value:.12g}") if isinstance(value, float) else value

    def expected(self) -> list[list[Any]]:
        named = {name for name, _ in self.columns}
        for row in self.result:
            assert set(row) <= named, f"no such columns: {set(row) - named}"
        shown = [[self.value(row.get(name), name, type_) for name, type_ in self.columns] for row in self.result]
        return shown if self.ordered else sorted(shown, key=repr)

    def value(self, written: Any, name: str, type_: Scalar) -> Any:
        if isinstance(written, dict) and set(written) == {"each", "count"}:
            written = [numbered(written["each"], number) for number in range(1, written["count"] + 1)]
        if written is None:
            return "" if type_ == "string" else None
        if type_ == "datetime":
            text = instant(written, self.now).isoformat()
            return (text.rstrip("0") if "." in text else text) + "Z"
        return self.shown(name, float(written) if type_ == "real" else written)


@pytest.fixture(params=CASES, ids=lambda path: path.stem, scope="module")
def case(request: pytest.FixtureRequest, shared: Path) -> Case:
    """Planted once for its tests: what they take away comes back."""
    case = Case(request.param)
    case.fill()
    return case


def test_exactly_the_planted_rows(case: Case) -> None:
    """The query finds the attack that was planted, and nothing else."""
    assert case.whole == case.expected(), f"{case.attack}\n{case.query}"


def test_what_counts_and_what_does_not(case: Case) -> None:
    """Each hit is in the result: without it there is another one. No miss is: without it there is the same."""
    kinds = {kind for content in case.rows.values() for kind, _ in content}
    assert {"hit", "miss"} <= kinds, "an attack and a near miss"
    for table, content in case.rows.items():
        for index, (kind, row) in enumerate(content):
            if kind in ("hit", "miss"):
                same = case.run({table: [index]}) == case.whole
                assert same == (kind == "miss"), f"{kind} of {table}: {row}"


def test_nothing_without_an_attack(case: Case) -> None:
    """Once all hits are gone, nothing of the result is left."""
    hits = {table: [n for n, (kind, _) in enumerate(rows) if kind.endswith("hit")] for table, rows in case.rows.items()}
    assert not [row for row in case.run(hits) if row in case.whole]


def test_there_are_enough() -> None:
    """Sixty queries, each once."""
    ids = [re.search(r"^query: (\S+)$", path.read_text("utf-8"), re.M) for path in CASES]
    assert len({each[1] for each in ids if each}) == len(CASES) >= 60
