"""Runs queries on an in-memory DuckDB: with empty tables, what `score.py` of the hunting suites calls, or with rows."""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import duckdb

from bartizan.hunt import Translation, translate
from bartizan.hunt.catalogue import Catalogue, of_columns
from bartizan.hunt.duckdb.literal import NATIVE, identifier
from bartizan.hunt.duckdb.macros import Macros
from bartizan.hunt.duckdb.open import connect
from bartizan.hunt.duckdb.values import rows_as_json
from bartizan.hunt.tree import Scalar


class Harness:
    """A storage of its own tables, empty until `fill`; columns that differ only in case are stored by their place.

    Macros are made when a query needs them, as a hunting process does: all of them take most of a second."""

    def __init__(
        self, tables: Mapping[str, Mapping[str, Scalar]], connection: duckdb.DuckDBPyConnection | None = None
    ) -> None:
        self.tables = tables
        self.catalogue: Catalogue = of_columns(tables)
        self.connection = connect(macros=False) if connection is None else connection
        self._macros = Macros(self.connection)
        self.filled: set[str] = set()

    def fill(self, rows: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
        """Tables with these rows, in place of what was there; the others are empty. A value is what DuckDB takes for
        the column, of a dynamic one the JSON value; `ingested` is when the row came. What is not given is null or ''.
        `planted` counts the rows of a table from 0, for who takes some away again."""
        for table in self.filled:
            self.connection.execute(f"DROP TABLE {identifier(table)}")
        self.filled.clear()
        for table, content in rows.items():
            columns = self.tables[table]
            types = ", ".join(
                f"{self.column(table, name)} {NATIVE[type_]}" + (" DEFAULT ''" if type_ == "string" else "")
                for name, type_ in columns.items()
            )
            self.connection.execute(f"CREATE TABLE {identifier(table)} ({types}, ingested TIMESTAMP, planted INTEGER)")
            self.filled.add(table)
            for number, row in enumerate(content):
                values = [json.dumps(each) if columns.get(name) == "dynamic" else each for name, each in row.items()]
                names = ", ".join([*(self.column(table, name) for name in row), "planted"])
                marks = ", ".join("?" * (len(row) + 1))
                insert = f"INSERT INTO {identifier(table)} ({names}) VALUES ({marks})"
                self.connection.execute(insert, [*values, number])

    def source(self, table: str) -> str:
        if table in self.filled:
            return f"{identifier(table)} AS t"
        columns = ", ".join(
            f"NULL::{NATIVE[type_]} AS {identifier(f'{index}_{name}')}"
            for index, (name, type_) in enumerate(self.tables[table].items())
        )
        return f"(SELECT {columns}, NULL::TIMESTAMP AS ingested WHERE FALSE) AS t"

    def column(self, table: str, name: str) -> str:
        if name not in self.tables[table]:
            return "ingested"
        return identifier(f"{list(self.tables[table]).index(name)}_{name}")

    def run(self, query: str, now: datetime | None = None) -> tuple[list[tuple[str, Scalar]], list[list[Any]]]:
        made = self.translate(query, now or datetime.now(UTC))
        return made.columns, rows_as_json(made.columns, self.ask(made.sql))

    def translate(self, query: str, now: datetime) -> Translation:
        return translate(query, self.catalogue, storage=self, now=now, ask=self.ask, empty=True)

    def ask(self, sql: str) -> list[Any]:
        self._macros.ready(sql)
        return self.connection.execute(sql).fetchall()


_harness: list[Harness] = []


def load_empty_tables(tables: Mapping[str, Mapping[str, Scalar]]) -> None:
    _harness[:] = [Harness(tables)]


def run(query: str) -> tuple[list[tuple[str, Scalar]], list[list[Any]]]:
    """The columns (name, type) and the rows as JSON values."""
    if not _harness:
        load_empty_tables({})
    return _harness[0].run(query)
