"""Where addresses are, as the engine asks it: the imported tables of a tenant as tables in memory, looked up for each
row by the beginning of the range that may hold its address.

Of several tables the one with the smallest range counts, the first among equals, as everywhere else (`intel.networks`).

Source: Kusto Query Language, "geo_info_from_ip_address()"; ISO 3166-1.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import duckdb
import msgspec

from bartizan.hunt.fault import KqlError
from bartizan.intel.tables import Places as Table
from bartizan.intel.tables import unpack
from bartizan.model.countries import country_name

MACRO = "kf_places"  # what the function says in SQL
AT_ONCE = 50_000  # ranges that are handed to the engine in one statement
MOST_TABLES = 8  # of places: each is a look-up more for every row
# Of connections whose queries ask: the engine would compare row by row where it believes that rows are few, as it does
# of those that a function makes.
SETUP = ("SET asof_loop_join_threshold = 0",)
_TEXTS = tuple(f"unnest(j[{n}])" for n in range(1, 7))
# Columns of `Ranges.parts` as lo, hi, size and place, all of them numbers of IPv6, which maps IPv4 to ::ffff:0:0/96.
_NARROW = (
    f"unnest(j[1])::UHUGEINT + {0xFFFF << 32}::UHUGEINT",
    f"unnest(j[2])::UHUGEINT + {0xFFFF << 32}::UHUGEINT",
    "unnest(j[4])",
    "unnest(j[3])",
)
_WIDE = (
    f"unnest(j[1])::UHUGEINT * {2**64}::UHUGEINT + unnest(j[2])::UHUGEINT",
    f"unnest(j[3])::UHUGEINT * {2**64}::UHUGEINT + unnest(j[4])::UHUGEINT",
    "unnest(j[6])",
    "unnest(j[5])",
)
NONE = (
    "geo_info_from_ip_address() needs a database of where addresses are, and none was imported: "
    "see bartizan intel import"
)


class Places:
    """Of one connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, macro_ready: Callable[[str], None]) -> None:
        self._connection = connection
        self._macro_ready = macro_ready  # makes the macro as it stands where nothing is known
        self._held: tuple[str, ...] = ()

    def ready(self, ids: Sequence[str], content: Callable[[str], bytes]) -> None:
        """Makes the macro answer from these tables, the first in rank first. What it has already it does not ask for.
        KqlError, plan: there are none, or too many."""
        if not ids:
            raise KqlError("plan", NONE)
        if len(ids) > MOST_TABLES:
            raise KqlError("plan", f"geo_info_from_ip_address() looks into at most {MOST_TABLES} imported tables")
        if tuple(ids) == self._held:
            return
        for id in ids:
            if id not in self._held:
                self._load(id, content(id))
        made = _macro([_name(id) for id in ids])
        self._macro_ready(made)  # what it uses, too
        self._connection.execute(made)
        for id in set(self._held) - set(ids):
            self._drop(id)
        self._held = tuple(ids)

    def _drop(self, id: str) -> None:
        for kind in ("ranges", "texts"):
            self._connection.execute(f'DROP TABLE IF EXISTS "{kind} {_name(id)}"')

    def _load(self, id: str, packed: bytes) -> None:
        try:
            table = unpack(packed)
        except ValueError as problem:
            raise KqlError("run", f"a table of where addresses are cannot be read: {problem}") from None
        if not isinstance(table, Table):
            raise KqlError("run", "a table of where addresses are holds something else")
        name = _name(id)
        self._drop(id)
        self._connection.execute(
            f'CREATE TABLE "texts {name}" '
            "(place UINTEGER, country VARCHAR, state VARCHAR, city VARCHAR, latitude DOUBLE, longitude DOUBLE)"
        )
        self._connection.execute(
            f'CREATE TABLE "ranges {name}" (lo UHUGEINT, hi UHUGEINT, size UTINYINT, place UINTEGER)'
        )
        for rows in _some(_texts(table)):
            self._insert(f"texts {name}", list(zip(*rows, strict=True)), "VARCHAR", _TEXTS)
        for wide, columns in table.parts(AT_ONCE):
            self._insert(f"ranges {name}", columns, "UBIGINT", _WIDE if wide else _NARROW)

    def _insert(self, table: str, columns: Sequence[Sequence[Any]], type_: str, said: Sequence[str]) -> None:
        """Columns of one type, the lists of a j in what is `said` of the table's."""
        lists = f"""(SELECT from_json(?, '[["{type_}"]]') AS j)"""
        self._connection.execute(f'INSERT INTO "{table}" SELECT {", ".join(said)} FROM {lists}', [_json(columns)])


def _json(columns: Sequence[Sequence[Any]]) -> str:
    return msgspec.json.encode(columns).decode()


def _name(id: str) -> str:
    """As it may stand in a name of the engine's: ids are hexadecimal."""
    if not (id.isascii() and id.isalnum()):
        raise KqlError("run", "a table of where addresses are has no proper id")
    return id


def _texts(table: Table) -> Iterator[tuple[int, str, str, str, float | None, float | None]]:
    """What is said of places, of those alone that have a country or lie somewhere."""
    for number, place in enumerate(table.said()):
        if place.country or place.city or place.latitude is not None:
            yield number, country_name(place.country), place.state, place.city, place.latitude, place.longitude


def _some(rows: Iterator[Any]) -> Iterator[list[Any]]:
    while part := list(islice(rows, AT_ONCE)):
        yield part


def _macro(names: Sequence[str]) -> str:
    """One subquery for each row's address, so that the engine joins instead of asking row by row and works each step
    out once."""
    joins = "".join(
        f' ASOF LEFT JOIN "ranges {name}" AS r{n} ON q.ip >= r{n}.lo '
        f'LEFT JOIN "texts {name}" AS t{n} ON t{n}.place = r{n}.place AND q.ip <= r{n}.hi'
        for n, name in enumerate(names)
    )
    found = ", ".join(
        f"CASE WHEN t{n}.place IS NOT NULL THEN {{'size': r{n}.size, 'rank': {n}, 'country': t{n}.country, "
        f"'state': t{n}.state, 'city': t{n}.city, 'latitude': t{n}.latitude, 'longitude': t{n}.longitude}} END"
        for n in range(len(names))
    )
    return (
        f"CREATE OR REPLACE MACRO {MACRO}(x) AS (SELECT kf_where_json(w.place, w.land) FROM "
        "(SELECT kf_where_place(k.known) AS place, kf_where_land(k.known) AS land FROM "
        f"(SELECT kf_where_known([{found}]) AS known FROM "
        f"(SELECT ('0x' || kf_ipv6(o.said))::UHUGEINT AS ip FROM (SELECT x AS said) AS o) AS q{joins}) AS k) AS w)"
    )
