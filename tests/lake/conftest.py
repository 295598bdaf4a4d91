"""Lakes on both engines."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bartizan.lake.buffer import Lake, open_lake

Opener = Callable[..., Awaitable[Lake]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the lake of this test is."""
    if request.param == "postgres":
        dsn: str = request.getfixturevalue("postgres_dsn")
        return dsn
    return str(tmp_path / "data")


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
