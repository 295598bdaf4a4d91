"""Stores on both engines, with collections made for the tests."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from bartizan.store import Collection, Column, Draft, Store, Stored, Tx, draft, open_store

ALERTS = Collection(
    "alerts",
    "microsoft.graph.security.alert",
    columns=(
        Column("severity", "enum"),
        Column("status", "enum"),
        Column("title"),
        Column("assignedTo", fold=True),
        Column("createdDateTime", "instant"),
        Column("lastUpdateDateTime", "instant"),
    ),
    order=(("createdDateTime", True),),
    entities={"tenantId": "resource"},
    created="createdDateTime",
    updated="lastUpdateDateTime",
)
PEOPLE = Collection(
    "people",
    columns=(
        Column("upn", unique=True, fold=True),
        Column("age", "int"),
        Column("score", "real"),
        Column("on", "bool"),
    ),
    order=(("upn", False),),
)
NOTES = Collection("notes")
TOKENS = Collection("tokens", feed=False)
COLLECTIONS = (ALERTS, PEOPLE, NOTES, TOKENS)

Opener = Callable[..., Awaitable[Store]]


@pytest.fixture
async def opened(target: str) -> AsyncIterator[Opener]:
    """Opens stores on the same database, as many processes would; closes them at the end."""
    stores: list[Store] = []

    async def opener(collections: tuple[Collection, ...] = COLLECTIONS, **limits: Any) -> Store:
        store = open_store(target, collections, **limits)
        await store.start()
        stores.append(store)
        return store

    yield opener
    for store in stores:
        await store.close()


@pytest.fixture
async def store(opened: Opener) -> Store:
    return await opened()


def alert(id: str, **inner: Any) -> Draft:
    return draft(ALERTS, {"title": f"alert {id}", "severity": "low", "status": "new", **inner}, id)


def note(id: str, **inner: Any) -> Draft:
    return draft(NOTES, inner, id)


def person(id: str, upn: str, **inner: Any) -> Draft:
    return draft(PEOPLE, {"upn": upn, **inner}, id)


def putting(*drafts: Draft, **how: Any) -> Callable[[Tx], list[Stored | None]]:
    """A write that puts them all."""
    return lambda tx: [tx.put(one, **how) for one in drafts]
