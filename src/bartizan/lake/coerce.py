"""A row as a source gave it, made a row of its table; nothing is dropped.

What has no column, or does not fit the type of its column, goes to the table's dynamic AdditionalFields or, where it
has none, to `_Extra`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bartizan.errors import BadRequest
from bartizan.lake import tables
from bartizan.lake.plain import plain, put
from bartizan.lake.scalars import MISFIT, OF
from bartizan.lake.tables import TIMES, KustoType, Table
from bartizan.model.times import instant

TIME_SOURCE = "timeSource"  # in the rest of a row: "received" where the row had no time of its own

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
    made: dict[str, Any] = {}
    rest: list[tuple[str, Any]] = []
    strays: list[tuple[str, Any]] = []
    for name, value in row.items():
        kind = of.columns.get(name)
        if kind is None:
            strays.append((name, value))
        else:
            _place(made, rest, name, kind, name, value)
    for name, value in strays:
        column = _column(of, name)
        if column is None or made.get(column) is not None:
            rest.append((name, value))
        else:
            _place(made, rest, column, of.columns.get(column, "dynamic"), name, value)
    if of.time is not None and _fill_time(of, of.time, made, received):
        rest.append((TIME_SOURCE, "received"))
    if rest:
        made[of.rest] = _with(made.get(of.rest), rest)
    return made


def _place(
    made: dict[str, Any], rest: list[tuple[str, Any]], column: str, kind: KustoType, name: str, value: Any
) -> None:
    if value is None:
        made[column] = None
        return
    fitting = OF[kind](value)
    if fitting is MISFIT:
        rest.append((name, value))
    else:
        made[column] = fitting


def _column(of: Table, name: str) -> str | None:
    if name == of.rest:
        return name
    column = of.column(name)
    return of.time if column is None and name.lower() in _FOLDED_TIMES else column


def _fill_time(of: Table, time: str, made: dict[str, Any], received: str | None) -> bool:
    """Whether the time had to be that of receipt."""
    other = next((each for each in TIMES if each != time and of.columns.get(each) == "datetime"), None)
    if made.get(time) is None and other is not None and made.get(other) is not None:
        made[time] = made[other]
    missing = made.get(time) is None
    if missing:
        made[time] = received or instant(datetime.now(UTC))
    if other is not None and made.get(other) is None:
        made[other] = made[time]
    return missing


def _with(held: Any, rest: list[tuple[str, Any]]) -> Any:
    """What the rest column holds already, and the rest; two of one name stand beside each other."""
    bucket = dict(held) if isinstance(held, dict) else {} if held is None else {"value": held}
    for name, value in rest:
        put(bucket, name, value)
    return plain(bucket)
