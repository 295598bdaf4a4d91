"""What a connector does again and again: the same object, the same object changed, one manager after another."""

import itertools
from datetime import timedelta

import pytest
from tests.api.conftest import NOW, World

pytestmark = pytest.mark.anyio


async def test_a_repeat_is_no_conflict_when_time_has_passed(world: World) -> None:
    """What the server stamps is not compared."""
    step = itertools.count()
    world.graph.clock = lambda: NOW + timedelta(seconds=next(step))
    for path, body in (
        ("/v1.0/identityProtection/riskyUsers", {"id": "u"}),
        ("/v1.0/security/secureScoreControlProfiles", {"id": "c", "title": "x"}),
        ("/v1.0/users", {"id": "u", "userPrincipalName": "u@x.example"}),
    ):
        assert (await world.call("POST", path, body)).status_code == 201
        assert (await world.call("POST", path, body)).status_code == 200, path


async def test_merge_duplicates(world: World) -> None:
    """With Prefer: resolution=merge-duplicates an object takes the values that are sent, and keeps the others."""
    merge = "resolution=merge-duplicates"
    await world.post("/v1.0/users", {"id": "u", "userPrincipalName": "u@x.example"})
    change = {"id": "u", "userPrincipalName": "u@x.example", "displayName": "U", "accountEnabled": False}
    await world.refused("POST", "/v1.0/users", change, status=409)
    other = {"id": "w", "userPrincipalName": "w@x.example"}
    answer = await world.call("POST", "/v1.0/users", [change, other], prefer=merge)
    assert (answer.status_code, answer.headers["preference-applied"]) == (201, merge)
    user = await world.get("/v1.0/users/u")
    assert (user["displayName"], user["accountEnabled"], user["userType"]) == ("U", False, "Member")
    answer = await world.call("POST", "/v1.0/users", {**other, "jobTitle": "x"}, prefer=merge)
    assert answer.status_code == 200 and answer.json()["accountEnabled"] is True
    await world.refused("POST", "/v1.0/users", change, status=403, by="reader", prefer=merge)


async def test_the_second_manager_replaces_the_first(world: World) -> None:
    """A link to one object holds one."""
    for name in ("u", "v", "w"):
        await world.post("/v1.0/users", {"id": name, "userPrincipalName": f"{name}@x.example"})
    for manager in ("w", "v"):
        link = {"@odata.id": f"https://x/users/{manager}"}
        assert (await world.call("POST", "/v1.0/users/u/manager/$ref", link)).status_code == 204
        assert (await world.get("/v1.0/users/u/manager"))["id"] == manager


async def test_a_membership_is_a_change_of_the_group(world: World) -> None:
    """Whoever watches groups/{id}/members hears of it."""
    await world.post("/v1.0/users", {"id": "u", "userPrincipalName": "u@x.example"})
    await world.post("/v1.0/groups", {"id": "g", "displayName": "G"})
    await world.call("POST", "/v1.0/groups/g/members/$ref", {"@odata.id": "https://x/users/u"})
    changes = await world.store.changes(0, limit=1000, collections=["groups"])
    assert changes[-1].changed == {"members@delta": (None, "u")}
