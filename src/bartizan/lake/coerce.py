"""A row as a source gave it, made a row of its table; nothing is dropped.

What has no column, or does not fit the type of its column, goes to the table's dynamic AdditionalFields or, where it
has none, to `_Extra`.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from bartizan.errors import BadRequest
from bartizan.lake import tables
from bartizan.lake.plain import plain, put
from bartizan.lake.scalars import MISFIT, OF
from bartizan.lake.tables import TIMES, Table
from bartizan.model.times import instant

TIME_SOURCE = "timeSource"  # in the rest of a row: "received" where the row had no time of its own

_PLAIN = (int, bool)
_string = OF["string"]
_FOLDED_TIMES = frozenset(name.lower() for name in TIMES)


def find(name: str) -> Table:
    """By its name in any case. BadRequest if there is no such table."""
    found = tables.table(name)
    if found is None:
        raise BadRequest(f"there is no event table '{name[:100]}'; tables of one's own are declared first")
    return found


def coerce(table: Table | str, row: Mapping[str, Any], *, received: str | None = None) -> dict[str, Any]:
    """The row with the types of its columns (see `scalars`), names as the table spells them, and a time.

    `received` (wire form; default now) is the time of a row that has none. Timestamp and TimeGenerated stand for each
    other where a table has only one, and where it has both, one fills the other. Never raises for what a row holds;
    coercing again changes nothing. BadRequest if there is no such table.
    """
    of = table if isinstance(table, Table) else find(table)
    to = _conversions(of)
    made = dict(row)  # nearly all of it stays
    rest: list[tuple[str, Any]] = []
    strays: list[tuple[str, str, Any]] = []  # under another name than their column's
    for name, value in row.items():
        convert = to.get(name)
        if convert is _string and type(value) is str and value.isascii():  # most of all values
            continue
        if convert is None:
            del made[name]
            column = _column(of, name)
            if column is None:
                rest.append((name, value))
            else:
                strays.append((column, name, value))
        elif value is None:
            continue
        elif (fitting := convert(value)) is MISFIT:
            del made[name]
            rest.append((name, value))
        else:
            made[name] = fitting
    for column, name, value in strays:
        if made.get(column) is not None or (fitting := _fitting(to[column], value)) is MISFIT:
            rest.append((name, value))
        else:
            made[column] = fitting
    if of.time is not None and _fill_time(of, of.time, made, received):
        rest.append((TIME_SOURCE, "received"))
    if rest:
        made[of.rest] = _with(made.get(of.rest), rest)
    return made


def _conversions(of: Table) -> Mapping[str, Callable[[Any], Any]]:
    """By column; the rest is one. Made once for each table."""
    known = _CONVERSIONS.get(of.name)
    if known is None or known[0] is not of:
        made = {name: OF[kind] for name, kind in of.columns.items()} | {of.rest: OF["dynamic"]}
        known = _CONVERSIONS[of.name] = (of, made)
    return known[1]


_CONVERSIONS: dict[str, tuple[Table, Mapping[str, Callable[[Any], Any]]]] = {}


def _fitting(to: Callable[[Any], Any], value: Any) -> Any:
    return None if value is None else to(value)


def _column(of: Table, name: str) -> str | None:
    column = of.column(name)
    return of.time if column is None and name.lower() in _FOLDED_TIMES else column


def _fill_time(of: Table, time: str, made: dict[str, Any], received: str | None) -> bool:
    """Whether the time had to be that of receipt."""
    at = made.get(time)
    other = of.other_time
    if other is not None:
        twin = made.get(other)
        at = twin if at is None else at
    missing = at is None
    if missing:
        at = received or instant(datetime.now(UTC))
    made[time] = at
    if other is not None and twin is None:
        made[other] = at
    return missing


def _with(held: Any, rest: list[tuple[str, Any]]) -> Any:
    """What the rest column holds already, and the rest; two of one name stand beside each other."""
    if held is None and len(rest) == 1 and type(rest[0][1]) in _PLAIN and rest[0][0].isascii():
        return dict(rest)
    bucket = dict(held) if isinstance(held, dict) else {} if held is None else {"value": held}
    for name, value in rest:
        put(bucket, name, value)
    return plain(bucket)
