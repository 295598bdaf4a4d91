"""Stores on both engines with the sets that intelligence meets, and files as operators have them."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bartizan.app.assembly import declared
from bartizan.auth import audit
from bartizan.store import Store, open_store

SETS = ("tiIndicators", "namedLocations", audit.declared().name)  # all that this room reads and writes
Opener = Callable[[], Awaitable[Store]]


@pytest.fixture
async def opened(target: str) -> AsyncIterator[Opener]:
    """Opens stores on one database, as many processes would."""
    stores: list[Store] = []

    async def opener() -> Store:
        store = open_store(target, [each for each in declared() if each.name in SETS])
        await store.start()
        stores.append(store)
        return store

    yield opener
    for store in stores:
        await store.close()


@pytest.fixture
async def store(opened: Opener) -> Store:
    return await opened()


Writer = Callable[[str, Any], Path]


@pytest.fixture
def written(tmp_path: Path) -> Writer:
    """Puts a text into a file of this name."""

    def write(name: str, content: Any) -> Path:
        path = tmp_path / "files" / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
