"""The front door: a query as SQL."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct

from bartizan.hunt.binder import Binder
from bartizan.hunt.binder.work import Fetch, Work
from bartizan.hunt.catalogue import Catalogue
from bartizan.hunt.deadline import Deadline
from bartizan.hunt.duckdb.emit import Storage, emit
from bartizan.hunt.fault import KqlError
from bartizan.hunt.parser import parse
from bartizan.hunt.plan import Plan
from bartizan.hunt.tree import Scalar

__all__ = ["KqlError", "Translation", "translate"]


class Translation(Struct, frozen=True):
    """A statement whose columns are these, in order, by their names and Kusto's types; `tables`: what it reads;
    `notes`: what a reader must know of the values."""

    sql: str
    columns: list[tuple[str, Scalar]]
    tables: list[str]
    notes: list[str] = []


def translate(
    text: str,
    catalogue: Catalogue,
    *,
    storage: Storage,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
    ask: Callable[[str], Sequence[Sequence[Any]]] | None = None,
    fetch: Fetch | None = None,
    places: Callable[[], None] | None = None,
    empty: bool = False,
    seconds: float | None = None,
) -> Translation:
    """The SQL of a query. KqlError, located: what is wrong with it, or that this took longer than `seconds`.

    `now` is the one instant of the whole query; `since` (inclusive) and `until` (exclusive) bound the time of every
    stored table. `ask` runs a statement to look at data that decides over columns (bag_unpack, pivot). `fetch` gets
    external data, `places` is called where a query asks where addresses are; without them such a query is refused, or,
    with `empty`, the data has no rows and no address a place.
    """
    deadline = Deadline(seconds)
    query = parse(text)
    try:
        looked = None if ask is None else _looker(storage, ask, deadline)
        work = Work(
            catalogue, now, since=since, until=until, ask=looked, fetch=fetch, places=places, empty=empty,
            deadline=deadline,
        )  # fmt: skip
        binder = Binder(work)
        answer = binder.bind(query)
        return Translation(emit(answer.plan, storage, deadline), answer.columns, binder.tables, answer.notes)
    except KqlError as fault:
        raise fault.locate(text) from None
    except RecursionError:
        raise KqlError("plan", "the query is nested too deeply", 0).locate(text) from None


def _looker(
    storage: Storage, ask: Callable[[str], Sequence[Sequence[Any]]], deadline: Deadline
) -> Callable[[Plan], Sequence[Sequence[Any]]]:
    return lambda plan: ask(emit(plan, storage, deadline))
