"""Runs queries on an in-memory DuckDB with empty tables: what `score.py` of the hunting suites calls."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import duckdb

from bartizan.hunt import translate
from bartizan.hunt.catalogue import Catalogue, of_columns
from bartizan.hunt.duckdb.literal import NATIVE, identifier
from bartizan.hunt.duckdb.open import connect
from bartizan.hunt.duckdb.values import rows_as_json
from bartizan.hunt.tree import Scalar


class Harness:
    """A storage of its own tables, all empty; columns that differ only in case are stored by their place."""

    def __init__(self, tables: Mapping[str, Mapping[str, Scalar]]) -> None:
        self.tables = tables
        self.catalogue: Catalogue = of_columns(tables)
        self.connection: duckdb.DuckDBPyConnection = connect()

    def source(self, table: str) -> str:
        columns = ", ".join(
            f"NULL::{NATIVE[type_]} AS {identifier(f'{index}_{name}')}"
            for index, (name, type_) in enumerate(self.tables[table].items())
        )
        return f"(SELECT {columns}, NULL::TIMESTAMP AS ingested WHERE FALSE) AS t"

    def column(self, table: str, name: str) -> str:
        if name not in self.tables[table]:
            return "ingested"
        return identifier(f"{list(self.tables[table]).index(name)}_{name}")

    def run(self, query: str) -> tuple[list[tuple[str, Scalar]], list[list[Any]]]:
        made = translate(
            query, self.catalogue, storage=self, now=datetime.now(UTC), ask=self.ask, empty=True
        )  # fmt: skip
        return made.columns, rows_as_json(made.columns, self.ask(made.sql))

    def ask(self, sql: str) -> list[Any]:
        return self.connection.execute(sql).fetchall()


_harness: list[Harness] = []


def load_empty_tables(tables: Mapping[str, Mapping[str, Scalar]]) -> None:
    _harness[:] = [Harness(tables)]


def run(query: str) -> tuple[list[tuple[str, Scalar]], list[list[Any]]]:
    """The columns (name, type) and the rows as JSON values."""
    if not _harness:
        load_empty_tables({})
    return _harness[0].run(query)
