"""Sets cast to a type that is derived from theirs: `namedLocations/microsoft.graph.ipNamedLocation`.

Source: OData 4.01 Part 2 (URL Conventions), section 4.11 (Addressing Derived Types).
"""

from typing import Any

import pytest
from tests.api.conftest import World

pytestmark = pytest.mark.anyio
LOCATIONS = "/v1.0/identity/conditionalAccess/namedLocations"
EVENTUAL = {"consistencylevel": "eventual"}


@pytest.fixture
async def places(world: World) -> World:
    addresses = {"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": "198.51.100.0/24"}
    for name in ("Office", "Branch"):
        body: dict[str, Any] = {"displayName": name, "isTrusted": name == "Office", "ipRanges": [addresses]}
        await world.post(LOCATIONS, {"@odata.type": "#microsoft.graph.ipNamedLocation", **body})
    body = {"displayName": "Abroad", "countriesAndRegions": ["NO"]}
    await world.post(LOCATIONS, {"@odata.type": "#microsoft.graph.countryNamedLocation", **body})
    return world


@pytest.mark.parametrize(
    ("cast", "found"),
    [
        ("microsoft.graph.ipNamedLocation", "Branch Office"),
        ("graph.ipNamedLocation", "Branch Office"),
        ("Microsoft.Graph.CountryNamedLocation", "Abroad"),
        ("microsoft.graph.ipNamedLocation?$filter=displayName eq 'Office'", "Office"),
        ("microsoft.graph.ipNamedLocation?$top=1&$orderby=displayName", "Branch Office"),
    ],
)
async def test_locations(places: World, cast: str, found: str) -> None:
    """Those of the type alone, behind the link as well."""
    rows = await places.every(f"{LOCATIONS}/{cast}")
    assert sorted(row["displayName"] for row in rows) == found.split()
    type = cast.lower().partition("?")[0].rpartition(".")[2]
    assert {row["@odata.type"].lower() for row in rows} == {f"#microsoft.graph.{type}"}


async def test_numbers(places: World) -> None:
    for cast, number in (("ipNamedLocation", "2"), ("countryNamedLocation", "1")):
        assert (await places.call("GET", f"{LOCATIONS}/microsoft.graph.{cast}/$count")).text == number
        listed = await places.get(f"{LOCATIONS}/microsoft.graph.{cast}?$count=true&$top=1")
        assert str(listed["@odata.count"]) == number
        assert listed["@odata.context"].endswith(f"/microsoft.graph.{cast}")


async def test_sets_that_hold_none(world: World) -> None:
    """Of the agents that may be there as users and service principals nothing is kept: none."""
    await world.post("/v1.0/users", {"userPrincipalName": "gil@contoso.example", "displayName": "Gil"})
    for path in ("users/graph.agentUser", "servicePrincipals/microsoft.graph.agentIdentity"):
        assert (await world.get(f"/beta/{path}"))["value"] == []
        assert (await world.call("GET", f"/beta/{path}/$count", **EVENTUAL)).text == "0"


async def test_one_object(world: World) -> None:
    """Cast to the type that it is of, by either name."""
    made = await world.post("/v1.0/users", {"userPrincipalName": "gil@contoso.example", "displayName": "Gil"})
    for cast in ("microsoft.graph.user", "graph.user", "Graph.User"):
        assert (await world.get(f"/v1.0/users/{made['id']}/{cast}"))["id"] == made["id"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"{LOCATIONS}/microsoft.graph.user", 404),
        ("GET", f"{LOCATIONS}/microsoft.graph.ipNamedLocation/x", 404),
        ("GET", f"{LOCATIONS}/microsoft.graph.ipNamedLocation/$count/x", 404),
        ("POST", f"{LOCATIONS}/microsoft.graph.ipNamedLocation", 405),
        ("GET", "/v1.0/users/x/user", 404),
    ],
)
async def test_what_is_refused(places: World, method: str, path: str, status: int) -> None:
    await places.refused(method, path, {} if method == "POST" else None, status=status)
