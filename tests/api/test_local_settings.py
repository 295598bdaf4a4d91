"""What is about the server itself, its files and its identity, no tenant can set over the API."""

from typing import Any

import pytest
from tests.api.conftest import World

from bartizan import connectors
from bartizan.extend.connections import Connections

pytestmark = pytest.mark.anyio
PATH = "/beta/security/connections"
connectors.load()


async def test_refused_over_the_api(world: World) -> None:
    """Neither new nor by a change; the rest of such a connector is free."""
    description = {"url": "https://sensor.example", "records": {"path": "/"}}
    refused: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("csv_directory", {"folder": "/srv/other"}, "folder is about files"),
        ("http_json", {"file": "/srv/other.toml"}, "file is about files"),
        (
            "okta",
            {"url": "https://okta.example", "token": "t" * 20, "ca_file": "/etc/passwd"},
            "ca_file is about files",
        ),
        ("aws", {"regions": ["eu-central-1"], "own_identity": True}, "own_identity is about files or the identity"),
    )
    for connector, settings, says in refused:
        body = {"id": "one", "connector": connector, "settings": settings}
        await world.refused("POST", PATH, body, status=400, says=says)
    await world.post(PATH, {"id": "two", "connector": "http_json", "settings": {"description": description}})
    await world.refused("PATCH", f"{PATH}/two", {"settings": {"file": "/srv/other.toml"}}, status=400, says="file is")
    assert len((await world.get(PATH))["value"]) == 1


async def test_unless_allowed_only_an_operator_says_which_addresses_are_asked(world: World) -> None:
    here = world.graph.parts[Connections]
    settings = {"url": "https://okta.example", "token": "t" * 20}
    body = {"id": "one", "connector": "okta", "settings": settings, "streams": ["logs"]}
    await world.post(PATH, body)
    here.over_api = False
    await world.refused("POST", PATH, {**body, "id": "two"}, status=403, says="bartizan connection")
    elsewhere = {"settings": {**settings, "url": "http://169.254.169.254"}}
    await world.refused("PATCH", f"{PATH}/one", elsewhere, status=403, says="connections_over_api")
    for fine in ({"settings": {"token": "n" * 20}}, {"enabled": False}):
        await world.patch(f"{PATH}/one", fine)
    assert "okta.example" in (await world.get(f"{PATH}/one"))["settings"]
