"""State: documents, entity index, change feed, leases; one interface, two engines."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from bartizan.model.edm import Version
from bartizan.model.stamps import CREATED, ETAG, UPDATED
from bartizan.store.draft import draft, inner
from bartizan.store.engine import Limits
from bartizan.store.interface import (
    FEED_PLACE,
    Change,
    Collection,
    Column,
    Draft,
    Entity,
    LeaseLost,
    Page,
    Query,
    Span,
    Store,
    Stored,
    TenantStore,
    Tx,
)
from bartizan.store.schema import RENDER, Release
from bartizan.store.tx import wall

__all__ = [
    "CREATED",
    "ETAG",
    "FEED_PLACE",
    "RENDER",
    "UPDATED",
    "Change",
    "Collection",
    "Column",
    "Draft",
    "Entity",
    "LeaseLost",
    "Limits",
    "Page",
    "Query",
    "Release",
    "Span",
    "Store",
    "Stored",
    "TenantStore",
    "Tx",
    "Version",
    "draft",
    "inner",
    "open_store",
]


def open_store(
    target: str | Path,
    collections: Sequence[Collection],
    *,
    now: Callable[[], int] = wall,
    release: Release | None = None,
    **limits: Any,
) -> Store:
    """A store that has not been started. `target`: a PostgreSQL DSN, a folder (its state.db) or a SQLite file.

    `limits` are the fields of `Limits`; `now` gives the clock in steps of 100 ns since 1970; `release` is this
    program's unless another is played.
    """
    bounds = Limits(**limits)
    if str(target).startswith(("postgresql://", "postgres://")):
        from bartizan.store.postgres import PostgresStore

        return PostgresStore(str(target), collections, bounds, now, release)
    from bartizan.store.sqlite import FILE, SqliteStore

    path = Path(target)
    file = path if path.suffix in (".db", ".sqlite") and not path.is_dir() else path / FILE
    return SqliteStore(file, collections, bounds, now, release)
