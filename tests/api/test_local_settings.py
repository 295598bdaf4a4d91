"""What is about the server itself, its files and its identity, no tenant can set over the API."""

from typing import Any

import pytest
from tests.api.conftest import World

from bartizan import connectors

pytestmark = pytest.mark.anyio
PATH = "/beta/security/connections"
connectors.load()


async def test_refused_over_the_api(world: World) -> None:
    """Neither new nor by a change; the rest of such a connector is free."""
    description = {"url": "https://sensor.example", "records": {"path": "/"}}
    refused: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("csv_directory", {"folder": "/srv/other"}, "folder is about files"),
        ("http_json", {"file": "/srv/other.toml"}, "file is about files"),
        ("aws", {"regions": ["eu-central-1"], "own_identity": True}, "own_identity is about files or the identity"),
    )
    for connector, settings, says in refused:
        body = {"id": "one", "connector": connector, "settings": settings}
        await world.refused("POST", PATH, body, status=400, says=says)
    await world.post(PATH, {"id": "two", "connector": "http_json", "settings": {"description": description}})
    await world.refused("PATCH", f"{PATH}/two", {"settings": {"file": "/srv/other.toml"}}, status=400, says="file is")
    assert len((await world.get(PATH))["value"]) == 1
