"""Lakes on both engines."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from bartizan.lake.buffer import Lake, open_lake

Opener = Callable[..., Awaitable[Lake]]


@pytest.fixture
async def opened(target: str) -> AsyncIterator[Opener]:
    """Opens lakes on the same buffer, as many processes would; closes them at the end."""
    lakes: list[Lake] = []

    async def opener(**limits: Any) -> Lake:
        lake = open_lake(target, **limits)
        await lake.start()
        lakes.append(lake)
        return lake

    yield opener
    for lake in lakes:
        await lake.close()


@pytest.fixture
async def lake(opened: Opener) -> Lake:
    return await opened()
