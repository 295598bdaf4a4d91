"""The catalogue of event tables: Microsoft's hunting tables, and those that are declared here.

`tables.json` is written by `schema/tables.py`; it is read when a table is first asked for.

Source: Microsoft Defender XDR advanced hunting schema; Azure Monitor table reference; Kusto scalar data types.
"""

import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, get_args

import msgspec
from msgspec import Struct

KustoType = Literal["bool", "datetime", "dynamic", "guid", "int", "long", "real", "string", "timespan"]

KUSTO_TYPES: tuple[KustoType, ...] = get_args(KustoType)
TIMES = ("Timestamp", "TimeGenerated")  # names of a time column, preferred first
ADDITIONAL = "AdditionalFields"
EXTRA = "_Extra"  # reserved, dynamic, in no catalogue: what a row holds beyond its table's columns
# Of the files alone: the number of the flush that wrote a row, which orders rows by arrival, and when that was.
FLUSH, INGESTED = "_Flush", "_Ingested"
MAX_COLUMNS = 1_000

_FILE = Path(__file__).with_name("tables.json")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)


class Table(Struct, frozen=True):
    """A table as its rows are stored: its columns, and `rest` beside them where that is EXTRA."""

    name: str
    columns: Mapping[str, KustoType]  # in the order of a query's result
    folded: Mapping[str, str]  # columns by name in lower case; of two that differ only in case the first
    time: str | None  # "Timestamp" or "TimeGenerated"; None: a table of states, without time
    other_time: str | None  # the other of the two, where a table has both
    rest: str  # the dynamic column that takes what has no column: AdditionalFields, or EXTRA
    names: Mapping[str, str]  # column, and rest -> its name in files, where case tells no names apart

    def column(self, name: str) -> str | None:
        """A column's own spelling, by its name in any case."""
        return name if name in self.columns else self.folded.get(name.lower())

    def stored(self, column: str) -> str:
        """The name in Parquet of a column (its own spelling) or of the rest. KeyError for any other."""
        return self.names[column]

    @property
    def kinds(self) -> dict[str, KustoType]:
        """Every column of a file but those that the flush adds, by its stored name."""
        kinds = {self.names[column]: kind for column, kind in self.columns.items()}
        return kinds if self.rest in self.columns else {**kinds, self.names[self.rest]: "dynamic"}


def _table(name: str, columns: Mapping[str, KustoType]) -> Table:
    folded: dict[str, str] = {}
    for column in columns:
        folded.setdefault(column.lower(), column)
    times = [each for each in TIMES if columns.get(each) == "datetime"]
    time, other = (*times, None, None)[:2]
    rest = ADDITIONAL if columns.get(ADDITIONAL) == "dynamic" else EXTRA
    return Table(name, columns, folded, time, other, rest, _stored_names(columns, rest))


def _stored_names(columns: Mapping[str, KustoType], rest: str) -> dict[str, str]:
    """Of columns that differ only in case, the first keeps its name; a further one gets a number behind it."""
    names: dict[str, str] = {} if rest in columns else {rest: rest}
    taken = {each.lower() for each in (FLUSH, INGESTED, EXTRA, *columns)}
    seen = {each.lower() for each in (FLUSH, INGESTED, EXTRA)}
    for column in columns:
        stored, number = column, 1
        while stored.lower() in seen or (number > 1 and stored.lower() in taken):
            number += 1
            stored = f"{column}_{number}"
        names[column] = stored
        seen.add(stored.lower())
    return names


class _Catalogue(Mapping[str, Table]):
    """By exact name. Microsoft's tables are read from the file at the first look."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: dict[str, Table] | None = None
        self._folded: dict[str, Table] = {}

    def _all(self) -> dict[str, Table]:
        if self._tables is None:
            with self._lock:
                if self._tables is None:
                    read = msgspec.json.decode(_FILE.read_bytes(), type=dict[str, dict[str, KustoType]])
                    tables = {name: _table(name, columns) for name, columns in read.items()}
                    self._folded = {name.lower(): table for name, table in tables.items()}
                    self._tables = tables
        return self._tables

    def __getitem__(self, name: str) -> Table:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._all()))

    def __len__(self) -> int:
        return len(self._all())

    def find(self, name: str) -> Table | None:
        return self._all().get(name) or self._folded.get(name.lower())

    def add(self, table: Table) -> Table:
        tables = self._all()
        with self._lock:
            known = self._folded.get(table.name.lower())
            if known is None:
                self._folded[table.name.lower()] = tables[table.name] = known = table
        if known.name != table.name or list(known.columns.items()) != list(table.columns.items()):
            raise ValueError(f"there is a table {known.name} with other columns")
        return known


_CATALOGUE = _Catalogue()
TABLES: Mapping[str, Table] = _CATALOGUE


def table(name: str) -> Table | None:
    """By its name in any case; None if there is none."""
    return _CATALOGUE.find(name)


def declare(name: str, columns: Mapping[str, str]) -> Table:
    """Adds a table to this process's catalogue; the same declaration again changes nothing.

    ValueError for a name or type that cannot be, or a table of that name (in any case) with other columns.
    """
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name[:200]!r} cannot be a table; expected letters, digits and _, such as OktaSystemLog")
    if not 0 < len(columns) <= MAX_COLUMNS:
        raise ValueError(f"{name} has {len(columns)} columns; expected 1 to {MAX_COLUMNS}")
    checked: dict[str, KustoType] = {}
    for column, kind in columns.items():
        if not _NAME.fullmatch(column) or column == EXTRA:
            raise ValueError(f"{name} cannot have a column {column[:200]!r}")
        known = next((each for each in KUSTO_TYPES if each == kind), None)
        if known is None:
            raise ValueError(f"{name}.{column} has type {kind!r}; known: {', '.join(KUSTO_TYPES)}")
        checked[column] = known
    return _CATALOGUE.add(_table(name, checked))
