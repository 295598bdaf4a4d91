"""A runner of queries over no tables, which is lent what a test gives it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bartizan.hunt.catalogue import of_columns
from bartizan.hunt.command import EmptyTables
from bartizan.hunt.duckdb.open import connect
from bartizan.hunt.fault import KqlError
from bartizan.hunt.line import Bounds, Known, Want
from bartizan.hunt.places import SETUP
from bartizan.hunt.run import Runner
from bartizan.hunt.tree import Scalar
from bartizan.hunt.watchlists import Items, Rows, joined, packed

NOW = datetime(2026, 11, 23, 5, tzinfo=UTC)
TABLES: Mapping[str, Mapping[str, Scalar]] = {"Events": {"TimeGenerated": "datetime", "User": "string"}}


class Bench:
    """`lent`: content by its kind and name; `asked` counts what queries wanted."""

    def __init__(self, lent: Mapping[tuple[str, str], bytes], known: Known) -> None:
        self.asked: list[Want] = []
        self._lent = lent
        self.known = known
        self._runner = Runner(connect(setup=SETUP, macros=False), of_columns(TABLES), self._give)

    def _give(self, want: Want) -> bytes:
        self.asked.append(want)
        if (want.kind, want.name) not in self._lent:
            raise KqlError("plan", f"{want.name} is not to be had")
        return self._lent[want.kind, want.name]

    def rows(self, query: str, known: Known | None = None) -> list[list[Any]]:
        return self.run(query, known)[1]

    def run(self, query: str, known: Known | None = None) -> tuple[list[tuple[str, Scalar]], list[list[Any]]]:
        found = self._runner.run(query, EmptyTables(TABLES), NOW, Bounds(20.0), known=known or self.known)
        return found.columns, found.rows


def watchlist(columns: tuple[str, ...], *rows: list[str], key: str = "") -> bytes:
    return packed(joined(Items(), Rows(columns, list(rows)), NOW, replace=True), key or columns[0])
