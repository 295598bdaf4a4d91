"""State: documents, entity index, change feed, leases; one interface, two engines."""

from bartizan.store.interface import (
    CREATED,
    ETAG,
    UPDATED,
    Change,
    Collection,
    Column,
    Draft,
    Entity,
    Page,
    Query,
    Store,
    Stored,
    TenantStore,
    Tx,
    Version,
)

__all__ = [
    "CREATED",
    "ETAG",
    "UPDATED",
    "Change",
    "Collection",
    "Column",
    "Draft",
    "Entity",
    "Page",
    "Query",
    "Store",
    "Stored",
    "TenantStore",
    "Tx",
    "Version",
]
