"""Security actions, and the containment that nothing here performs."""

from typing import Any

import pytest
from tests.api.conftest import A, World

pytestmark = pytest.mark.anyio
ACTIONS = "/beta/security/securityActions"
BLOCK = {
    "name": "BlockIp",
    "actionReason": "Test",
    "parameters": [{"name": "IP", "value": "1.2.3.4"}],
    "vendorInformation": {"provider": "Windows Defender ATP", "vendor": "Microsoft"},
}


async def test_what_nobody_performs_fails_at_once(world: World) -> None:
    """201; who and when are stamped; Failed with errorInfo, and the states tell how it got there."""
    answer = await world.call("POST", ACTIONS, {**BLOCK, "status": "Completed", "user": "mallory"}, by="analyst")
    assert answer.status_code == 201
    made = answer.json()
    assert (made["status"], made["user"], made["appId"], made["azureTenantId"]) == (
        "Failed",
        "analyst@contoso.example",
        "console",
        A,
    )
    assert "no connector" in made["errorInfo"]["message"]
    assert made["errorInfo"]["code"] == 501
    assert [each["status"] for each in made["states"]] == ["NotStarted", "Failed"]
    assert made["createdDateTime"] == made["completedDateTime"] == made["lastActionDateTime"]
    assert made["parameters"] == BLOCK["parameters"]
    read = await world.get(f"{ACTIONS}/{made['id']}")
    assert {**made, "@odata.context": ""} == {**read, "@odata.context": ""}


async def test_cancel(world: World) -> None:
    """200 with an empty body; what has ended stays as it ended."""
    made = await world.post(ACTIONS, BLOCK)
    for name in ("cancelSecurityAction", "microsoft.graph.cancelSecurityAction"):
        answer = await world.call("POST", f"{ACTIONS}/{made['id']}/{name}")
        assert (answer.status_code, answer.content) == (200, b"")
    assert await world.get(f"{ACTIONS}/{made['id']}") == made | {
        "@odata.context": (await world.get(f"{ACTIONS}/{made['id']}"))["@odata.context"]
    }
    await world.refused("POST", f"{ACTIONS}/nothing/cancelSecurityAction", status=404)
    await world.refused("POST", f"{ACTIONS}/{made['id']}/cancelSecurityAction", status=403, by="reader")


async def test_lists(world: World) -> None:
    await world.post(ACTIONS, BLOCK)
    await world.post(ACTIONS, {**BLOCK, "name": "Isolate"})
    for wanted in (
        "name eq 'Isolate'",
        "status eq 'failed' and name eq 'Isolate'",
        "parameters/any(p: p/name eq 'IP')",
    ):
        found = (await world.get(f"{ACTIONS}?$filter={wanted}"))["value"]
        assert "Isolate" in [each["name"] for each in found], wanted
    await world.refused("GET", "/v1.0/security/securityActions", status=404)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"name": "x"}, "parameters"),
        ({"parameters": []}, "at least one"),
        ({"parameters": [{"value": "x"}]}, "at least one"),
        ({**BLOCK, "nope": 1}, "nope"),
    ],
)
async def test_refusals(world: World, body: Any, says: str) -> None:
    await world.refused("POST", ACTIONS, body, status=400, says=says)
    assert (await world.get(ACTIONS))["value"] == []


async def test_containment_does_not_lie(world: World) -> None:
    """What nothing performs is 501 with a reason, and the account is as it was."""
    await world.post("/v1.0/users", {"id": "u", "userPrincipalName": "u@contoso.example"})
    before = await world.get("/v1.0/users/u")
    for method, path, body in (
        ("PATCH", "/v1.0/users/u", {"accountEnabled": False}),
        ("PATCH", "/v1.0/users/u@contoso.example", {"passwordProfile": {"forceChangePasswordNextSignIn": True}}),
        ("POST", "/v1.0/users/u/revokeSignInSessions", None),
        ("POST", "/v1.0/users/u/microsoft.graph.revokeSignInSessions", None),
        ("POST", "/beta/users/u/invalidateAllRefreshTokens", None),
        ("POST", "/v1.0/me/revokeSignInSessions", None),
        ("DELETE", "/v1.0/users/u", None),
        ("PATCH", "/v1.0/groups/g", {"displayName": "x"}),
        ("PUT", "/v1.0/users/u/manager/$ref", {"@odata.id": "https://graph.test/v1.0/users/u"}),
        ("POST", "/v1.0/users/u/appRoleAssignments", {"principalId": "u"}),
    ):
        await world.refused(method, path, body, status=501, says="nothing performs it")
    assert await world.get("/v1.0/users/u") == before
