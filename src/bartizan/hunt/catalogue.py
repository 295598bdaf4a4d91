"""What a query may name: tables, saved functions, watchlists and views.

A catalogue is made for one tenant by whoever runs its queries, and that is the isolation: what is not in it is unknown
to the binder, so no query can reach it.

Source: Kusto Query Language, "Entity names", "Stored functions"; Microsoft Sentinel, "Watchlists".
"""

from collections.abc import Mapping
from difflib import get_close_matches

from msgspec import Struct, field

from bartizan.hunt.enrichments import ENRICHMENTS
from bartizan.hunt.tree import Scalar
from bartizan.lake.tables import INGESTED, TABLES

ITEM_COLUMNS: Mapping[str, Scalar] = {
    "_DTItemId": "string",
    "LastUpdatedTimeUTC": "datetime",
    "SearchKey": "string",
    "WatchlistItem": "dynamic",
}  # that every watchlist has before those of its items
MAX_ITEMS_BYTES = 32 * 2**20  # of the items of a watchlist, as JSON
TIMES = ("Timestamp", "TimeGenerated")  # names of a table's time column, preferred first


class Stored(Struct, frozen=True):
    """What can be read: `table` is the storage's name for it, `columns` its columns in order. Two of them may differ
    only in case."""

    table: str
    columns: Mapping[str, Scalar]
    ingested: str = INGESTED  # the storage's column of the instant at which a row came in

    @property
    def time(self) -> str | None:
        """The column that the time span of a query is about."""
        return next((each for each in TIMES if self.columns.get(each) == "datetime"), None)


class Catalogue(Struct, frozen=True, kw_only=True):
    """Names are exact, as in Kusto. `functions`: a saved function's text, `(x: string) { ... }` or a query without
    parameters; `views`: a query that stands for a table; `watchlists` by alias."""

    tables: Mapping[str, Stored]
    functions: Mapping[str, str] = field(default_factory=dict)
    views: Mapping[str, str] = field(default_factory=dict)
    watchlists: Mapping[str, Stored] = field(default_factory=dict)
    # Tables that hold rows: those alone are meant by `*` and by patterns. None: it is not known, and all are.
    filled: frozenset[str] | None = None
    databases: frozenset[str] = frozenset({"", "default"})  # names that `database('x')` may say: the tenant's own

    def every(self) -> list[str]:
        """The names that `*` means: tables with rows (or, where none has any, one), and views."""
        tables = sorted(self.tables if self.filled is None else self.filled.intersection(self.tables))
        return sorted({*(tables or sorted(self.tables)[:1]), *self.views})

    def named(self) -> list[str]:
        """The names that a pattern may mean."""
        return sorted({*self.tables, *self.views})

    def like(self, name: str) -> str:
        """The table, view or function of which `name` may be a misspelling, or ''."""
        known = {each.lower(): each for each in (*self.tables, *self.views, *self.functions, *ENRICHMENTS)}
        found = known.get(name.lower()) or next(
            (known[each] for each in get_close_matches(name.lower(), known, n=1, cutoff=0.8)), ""
        )
        return found


def of_columns(tables: Mapping[str, Mapping[str, Scalar]], **functions: str) -> Catalogue:
    """A catalogue of tables by their columns, each stored under its own name."""
    return Catalogue(tables={name: Stored(name, columns) for name, columns in tables.items()}, functions=functions)


def catalogue(filled: frozenset[str] | None = None) -> Catalogue:
    """Of all tables of the lake, of which some are `filled`."""
    return Catalogue(tables={name: Stored(name, each.columns) for name, each in TABLES.items()}, filled=filled)
