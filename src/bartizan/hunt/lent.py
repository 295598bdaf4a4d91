"""What a hunt is lent beside the tenant's files: watchlists, external data and places of addresses, each made a table
of the engine's memory when a query first names it.

A watchlist's content is columns of texts as compressed JSON, as `watchlists.packed` makes it.

Source: Microsoft Sentinel, "Build queries or detection rules with watchlists"; Kusto Query Language, "externaldata
operator".
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import duckdb
import msgspec
from msgspec import Struct

from bartizan.hunt.catalogue import ITEM_COLUMNS, MAX_ITEMS_BYTES, Stored
from bartizan.hunt.duckdb.emit import Storage
from bartizan.hunt.duckdb.literal import identifier, text
from bartizan.hunt.external import Options, dynamics, opened, records
from bartizan.hunt.fault import KqlError
from bartizan.hunt.line import Known, Want
from bartizan.hunt.places import Places
from bartizan.hunt.tree import Scalar

INGESTED = "\x01ingested"  # no column of a user's is called so
MAX_EXTERNAL_BYTES = 64 * 2**20  # of all external data of a query, unpacked
MAX_EXTERNAL_ROWS = 500_000  # of all external data of a query

Give: TypeAlias = Callable[[Want], bytes]  # KqlError: it is not given
_NONE = Known()


class Loading(Struct, frozen=True):
    """Records of files on their way into a table, whose columns are texts: they are called 0, 1 ..."""

    add: Callable[
        [str], None
    ]  # what stands at an address; KqlError where it cannot be had, or is not what it should be
    stored: Stored


class Lent:
    """Of one query on one connection: a `Storage` of what it was lent and, beneath, of the tenant's tables. `close` it
    when the query has ended."""

    def __init__(
        self, connection: duckdb.DuckDBPyConnection, below: Storage, give: Give | None, known: Known, places: Places
    ) -> None:
        self._connection = connection
        self._below = below
        self._give = give
        self._places = places
        self._tables: dict[str, list[str]] = {}  # name -> its columns' names, in the order of k0, k1 ...
        self._rows = self._bytes = 0  # of external data
        self.known = known
        self.watchlists: Mapping[str, Stored] = _Watchlists(self)

    def source(self, table: str) -> str:
        return identifier(table) if table in self._tables else self._below.source(table)

    def column(self, table: str, name: str) -> str:
        if table not in self._tables:
            return self._below.column(table, name)
        return "ingested" if name == INGESTED else f"k{self._tables[table].index(name)}"

    def close(self) -> None:
        """Where the engine was interrupted in the middle, the next query that makes such a table replaces it."""
        for table in self._tables:
            self._connection.execute(f"DROP TABLE IF EXISTS {identifier(table)}")
        self._tables.clear()

    def _given(self, want: Want) -> bytes:
        if self._give is None:
            raise KqlError("plan", "there is nothing beside the tables here")
        return self._give(want)

    # ------------------------------------------------------------ watchlists

    def watchlist(self, alias: str) -> Stored:
        """Its rows as a table of this query. KqlError where it cannot be had, or is gone meanwhile."""
        table = f"watchlist {alias}"
        if table not in self._tables:
            content = _unpacked(self._given(Want("watchlist", alias)))
            own = msgspec.json.decode(msgspec.json.decode(content, type=list[msgspec.Raw])[0], type=list[str])
            self._connection.execute(_watchlist_table(table, own), [content.decode()])
            self._tables[table] = [*ITEM_COLUMNS, *own]
        names = self._tables[table]
        own_columns: dict[str, Scalar] = dict.fromkeys(names[len(ITEM_COLUMNS) :], "string")
        return Stored(table, {**ITEM_COLUMNS, **own_columns}, INGESTED)

    # ------------------------------------------------------------ external data

    def external(self, columns: Sequence[tuple[str, Scalar]], options: Mapping[str, Any]) -> "Loading":
        """For files whose records have these columns. KqlError where the options are wrong or not supported."""
        told = Options.of(options)
        table = f"external {len(self._tables)}"
        names = [str(index) for index in range(len(columns))]
        create = ", ".join(f"k{name} VARCHAR" for name in names)
        self._connection.execute(f"CREATE OR REPLACE TEMP TABLE {identifier(table)} ({create}, ingested TIMESTAMP)")
        self._tables[table] = names
        return Loading(
            partial(self._load, table, columns, told), Stored(table, dict.fromkeys(names, "string"), INGESTED)
        )

    def _load(self, table: str, columns: Sequence[tuple[str, Scalar]], told: Options, uri: str) -> None:
        text_ = opened(uri, self._given(Want("external", uri)), MAX_EXTERNAL_BYTES - self._bytes)
        self._bytes += len(text_)
        for rows in records(text_, [name for name, _ in columns], told.of_file(uri), wanted=dynamics(columns)):
            self._rows += len(rows)
            if self._rows > MAX_EXTERNAL_ROWS:
                raise KqlError("run", f"external data has more than {MAX_EXTERNAL_ROWS:,} rows")
            self._insert(table, rows, len(columns))

    def _insert(self, table: str, rows: Sequence[Sequence[str]], width: int) -> None:
        columns = msgspec.json.encode(list(zip(*rows, strict=True)))
        values = ", ".join(f"unnest(j[{n + 1}])" for n in range(width))
        texts = """(SELECT from_json(?, '[["VARCHAR"]]') AS j)"""
        sql = f"INSERT INTO {identifier(table)} SELECT {values}, NULL FROM {texts}"
        self._connection.execute(sql, [columns.decode()])

    # ------------------------------------------------------------ places of addresses

    def places(self) -> None:
        """From here on the engine knows where addresses are. KqlError where nothing of it was imported."""
        self._places.ready(self.known.places, lambda id: self._given(Want("places", id)))


class _Watchlists(Mapping[str, Stored]):
    """By alias, in any case: as they are asked for."""

    def __init__(self, lent: Lent) -> None:
        self._lent = lent
        self._names = {each.lower(): each for each in lent.known.watchlists}

    def __getitem__(self, alias: str) -> Stored:
        return self._lent.watchlist(self._names[alias.lower()])

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._lent.known.watchlists))

    def __len__(self) -> int:
        return len(self._names)


def _unpacked(content: bytes) -> bytes:
    """KqlError above MAX_ITEMS_BYTES, which no watchlist has."""
    reader = zlib.decompressobj()
    found = reader.decompress(content, MAX_ITEMS_BYTES)
    if reader.unconsumed_tail or not reader.eof:
        raise KqlError("run", "a watchlist's content is too large or broken")
    return found


def _watchlist_table(table: str, columns: Sequence[str]) -> str:
    """What makes the table of a watchlist, given its content."""
    own = [f"unnest(j[{n + 5}])" for n in range(len(columns))]
    names = [f"v{n}" for n in range(len(columns))]
    parts = ", ".join([*(f"{sql} AS {name}" for sql, name in zip(own, names, strict=True))])
    item = ", ".join(f"{text(column)}, {name}" for column, name in zip(columns, names, strict=True))
    shown = ", ".join(f"{name} AS k{4 + n}" for n, name in enumerate(names))
    at = "make_timestamp(came::BIGINT)"
    return (
        f"CREATE OR REPLACE TEMP TABLE {identifier(table)} AS SELECT id AS k0, {at} AS k1, "
        f"key AS k2, json_object({item})::VARCHAR AS k3, {shown}, {at} AS ingested "
        f"FROM (SELECT unnest(j[2]) AS id, unnest(j[3]) AS came, unnest(j[4]) AS key, {parts} "
        """FROM (SELECT from_json(?, '[["VARCHAR"]]') AS j))"""
    )
