"""Public hunting queries on made-up rows of every table: none may end with an error of the values, whatever they are.

Kusto raises no error for a value: what cannot be converted is null. So an error of the engine is always a fault of
ours. What is wrong with a query itself (bind), or not supported (plan), is no error here: `test_suites.py` keeps count
of that. Neither is the refusal of a function that is known for no rows only; how many queries meet one is bounded.

Each query runs twice: as it stands, and with all of its filters left out, so that what follows them meets every row.
(Of the queries as they stand, a third find something, for all that constants of the queries are among the rows.)

More rows, other seeds, and single queries with the time that each took and the rows that it gave:
`python -m tests.hunt.test_generated_rows [rows] [seed] [id ...]`, from the repository's folder with `src` on the path.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest
from msgspec import Struct
from msgspec.structs import replace
from tests.conftest import SHARED
from tests.hunt.harness import Harness
from tests.hunt.rows import hints, rows

from bartizan.hunt import plan as p
from bartizan.hunt.binder import Binder
from bartizan.hunt.binder.work import Work
from bartizan.hunt.duckdb.emit import emit
from bartizan.hunt.duckdb.literal import NATIVE, identifier
from bartizan.hunt.duckdb.values import rows_as_json
from bartizan.hunt.fault import KqlError
from bartizan.hunt.parser import parse
from bartizan.hunt.tree import Scalar

ROWS = 80  # of a table
MOST_FOUND = 3_000  # rows of a query without its filters: its joins may give any number
REFUSED = "() is not supported: "  # as functions say that are known for no rows
MOST_REFUSED = 1  # query; none where the rules of user agents are installed
SECONDS = 60  # a guard against what does not end
NOW = datetime(2026, 6, 15, 12, 30, tzinfo=UTC)  # a Monday

pytestmark = [pytest.mark.slow, pytest.mark.shared]


class Filled(Harness):
    """A storage of its own tables, with rows."""

    def __init__(self, tables: Mapping[str, Mapping[str, Scalar]], queries: list[str], count: int, seed: int) -> None:
        super().__init__(tables)
        hinted = hints(queries)
        for table, columns in tables.items():
            made = rows(table, columns, count, NOW, hinted, seed)
            told = [f"unnest(?::VARCHAR[])::{NATIVE[type_]} AS {self.column(table, name)}"
                    for name, type_ in columns.items()]  # fmt: skip
            sql = f"CREATE TABLE {identifier(table)} AS SELECT {', '.join(told)}, ?::TIMESTAMP AS ingested"
            self.connection.execute(sql, [*made, NOW.replace(tzinfo=None)])

    def source(self, table: str) -> str:
        return f"{identifier(table)} AS t"

    def found(self, query: str, *, filtered: bool) -> int:
        """How many rows it gives, each of which could be shown."""
        timer = threading.Timer(SECONDS, self.connection.interrupt)
        timer.start()
        try:
            work = Work(self.catalogue, NOW, ask=lambda plan: self.ask(emit(plan, self)), empty=True)
            answer = Binder(work).bind(parse(query))
            plan = answer.plan if filtered else p.Limit(unfiltered(answer.plan), p.Value("long", MOST_FOUND))
            return len(rows_as_json(answer.columns, self.ask(emit(plan, self))))
        finally:
            timer.cancel()


def unfiltered(node: Any, done: dict[int, Any] | None = None) -> Any:
    """A plan, or a part of one, without its filters."""
    done = {} if done is None else done
    if isinstance(node, p.Filter):
        return unfiltered(node.input, done)
    if isinstance(node, list | tuple):
        return type(node)(unfiltered(each, done) for each in node)
    if not isinstance(node, Struct):
        return node
    if id(node) not in done:
        parts = {field: unfiltered(getattr(node, field), done) for field in node.__struct_fields__}
        done[id(node)] = replace(node, **parts)
    return done[id(node)]


def suite(folder: Path) -> tuple[dict[str, dict[str, Scalar]], dict[str, str]]:
    """The tables, and by their ids the queries that need nothing from outside."""
    tables = json.loads((folder / "tables.json").read_text("utf-8"))["tables"]
    lines = (folder / "hunting-examples.jsonl").read_text("utf-8").splitlines()
    examples = [each for each in map(json.loads, lines) if each["class"] == "run" and not each.get("needs")]
    return {name: each["columns"] for name, each in tables.items()}, {each["id"]: each["query"] for each in examples}


def told(filled: Filled, queries: Mapping[str, str], *, filtered: bool) -> Iterator[tuple[str, str, float, int]]:
    """Each query's id, its error or '', its seconds and its rows."""
    for id_, query in queries.items():
        error, found = "", 0
        begun = time.perf_counter()
        try:
            found = filled.found(query, filtered=filtered)
        except KqlError as fault:
            error = f"{fault.phase}: {fault}" if fault.phase == "run" else ""
        except (duckdb.Error, ValueError, RuntimeError) as fault:
            error = f"{type(fault).__name__}: {fault}"
        yield id_, error, time.perf_counter() - begun, found


@pytest.fixture(scope="module")
def filled(shared: Path) -> Filled:
    tables, queries = suite(shared / "hunting")
    return Filled(tables, list(queries.values()), ROWS, 0)


@pytest.mark.parametrize("filtered", [True, False], ids=["as they stand", "without their filters"])
def test_no_query_fails_at_a_value(filled: Filled, shared: Path, filtered: bool) -> None:
    _, queries = suite(shared / "hunting")
    errors = {id_: error[:300] for id_, error, *_ in told(filled, queries, filtered=filtered) if error}
    failed = {id_: error for id_, error in errors.items() if REFUSED not in error}
    assert len(errors) - len(failed) <= MOST_REFUSED
    assert not failed, f"{len(failed)} of {len(queries)} fail: {json.dumps(failed, indent=1)}"


def main() -> None:
    count, seed = [*map(int, sys.argv[1:3]), *[ROWS, 0][len(sys.argv[1:3]) :]]
    tables, queries = suite(SHARED / "hunting")
    chosen = {id_: query for id_, query in queries.items() if id_ in sys.argv[3:] or not sys.argv[3:]}
    made = Filled(tables, list(queries.values()), count, seed)
    for filtered in (True, False):
        for id_, error, seconds, found in told(made, chosen, filtered=filtered):
            print(json.dumps([id_, error, round(seconds, 3), found, filtered]), flush=True)


if __name__ == "__main__":
    main()
