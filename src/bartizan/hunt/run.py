"""One query on one connection: translated, run within its bounds, its result as JSON values."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime
from typing import Any

import duckdb
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bartizan.hunt import translate
from bartizan.hunt.catalogue import Catalogue
from bartizan.hunt.duckdb.emit import Storage
from bartizan.hunt.duckdb.macros import Macros
from bartizan.hunt.duckdb.values import rows_as_json
from bartizan.hunt.fault import KqlError
from bartizan.hunt.lent import Give, Lent
from bartizan.hunt.line import Bounds, Known
from bartizan.hunt.places import Places
from bartizan.hunt.tree import Scalar

FETCH_ROWS = 5_000  # at a time: the size of the result is looked at in between


class Result(Struct, frozen=True):
    columns: list[tuple[str, Scalar]]  # names may differ only in case
    rows: list[list[Any]]
    notes: list[str] = []  # what a reader must know of the values


class Runner:
    """Of one connection, which one thread uses."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        catalogue: Catalogue,
        give: Give | None = None,
        *,
        empty: bool = False,
    ) -> None:
        """`give` gets what queries are lent. `empty`: tables without rows, external data that has none either."""
        self._connection = connection
        self._catalogue = catalogue
        self._give = give
        self._empty = empty
        self._macros = Macros(connection)
        self._places = Places(connection, self._macros.ready)

    def run(
        self,
        query: str,
        storage: Storage,
        now: datetime,
        bounds: Bounds,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        filled: frozenset[str] | None = None,
        known: Known | None = None,
    ) -> Result:
        """KqlError, located, for whatever is wrong with the query or more than it may take. `filled`: as
        `Catalogue.filled`; `known`: what it may name beside the tables."""
        beside = known or Known()
        lent = Lent(self._connection, storage, self._give, beside, self._places)
        named = replace(
            self._catalogue, filled=filled, functions=beside.functions, views=beside.views, watchlists=lent.watchlists
        )
        try:
            with self._until(bounds.seconds), closing(lent):
                made = translate(
                    query, named, storage=lent, now=now, since=since, until=until, ask=self._ask,
                    fetch=lent.external if beside.external else None, places=None if self._empty else lent.places,
                    empty=self._empty, seconds=bounds.seconds,
                )  # fmt: skip
                return Result(made.columns, self._rows(made.sql, made.columns, bounds), made.notes)
        except duckdb.InterruptException:
            raise KqlError("run", f"the query took longer than {bounds.seconds:g} s") from None
        except (duckdb.OutOfMemoryException, MemoryError):
            raise KqlError("run", "the query needs more memory than a hunt may have") from None
        except duckdb.Error as error:
            raise KqlError("run", f"the query failed: {str(error).splitlines()[0][:500]}") from error

    def _ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self._execute(sql).fetchall()

    def _execute(self, sql: str) -> duckdb.DuckDBPyConnection:
        self._macros.ready(sql)
        return self._connection.execute(sql)

    def _rows(self, sql: str, columns: Sequence[tuple[str, Scalar]], bounds: Bounds) -> list[list[Any]]:
        found = self._execute(sql)
        rows: list[list[Any]] = []
        size = 0
        while part := found.fetchmany(FETCH_ROWS):
            more = rows_as_json(columns, part)
            rows += more
            size += len(msgspec.json.encode(more))
            if len(rows) > bounds.rows:
                raise KqlError("run", f"the result has more than {bounds.rows:,} rows: summarize, or take fewer")
            if size > bounds.bytes:
                raise KqlError("run", f"the result has more than {bounds.bytes:,} bytes: project fewer columns")
        return rows

    @contextmanager
    def _until(self, seconds: float) -> Iterator[None]:
        """The engine is interrupted then; what takes longer elsewhere is ended by whoever asked."""
        timer = threading.Timer(seconds, self._connection.interrupt)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
