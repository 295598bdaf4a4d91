"""Users who are acted on: what the answer says is what happened."""

import pytest
from tests.acting.conftest import ACTIONS, Desk

pytestmark = pytest.mark.anyio


async def test_containment_does_not_lie(desk: Desk) -> None:
    """What nothing performs is 501 with a reason, and the account is as it was."""
    await desk.world.post("/v1.0/users", {"id": "u", "userPrincipalName": "u@contoso.example"})
    await desk.world.post("/v1.0/users", {"id": "id-of-analyst", "userPrincipalName": "analyst@contoso.example"})
    before = await desk.world.get("/v1.0/users/u")
    for method, path, body in (
        ("PATCH", "/v1.0/users/u", {"accountEnabled": False}),
        ("PATCH", "/v1.0/users/u@contoso.example", {"passwordProfile": {"forceChangePasswordNextSignIn": True}}),
        ("PATCH", "/v1.0/users/u", {"passwordProfile": {"password": "a new one"}}),
        ("POST", "/v1.0/users/u/revokeSignInSessions", None),
        ("POST", "/v1.0/users/u/microsoft.graph.revokeSignInSessions", None),
        ("POST", "/beta/users/u/invalidateAllRefreshTokens", None),
        ("POST", "/v1.0/users/u/invalidateAllRefreshTokens", None),
        ("POST", "/v1.0/me/revokeSignInSessions", None),
        ("DELETE", "/v1.0/users/u", None),
        ("PATCH", "/v1.0/groups/g", {"displayName": "x"}),
        ("PUT", "/v1.0/users/u/manager/$ref", {"@odata.id": "https://graph.test/v1.0/users/u"}),
        ("POST", "/v1.0/users/u/appRoleAssignments", {"principalId": "u"}),
    ):
        await desk.world.refused(method, path, body, status=501, says="nothing performs it", by="analyst")
    problem = await desk.world.refused("PATCH", "/v1.0/users/u", {"accountEnabled": False}, status=501)
    assert "Connectors that offer it: " in problem["message"] and "test-people" in problem["message"]
    assert await desk.world.get("/v1.0/users/u") == before
    assert (await desk.world.get(ACTIONS))["value"] == []


async def test_users_are_acted_on(desk: Desk) -> None:
    """The answer comes once the directory has done it, and the user here is as it is there."""
    await desk.connect("people", "test-people")
    await desk.world.post("/v1.0/users", {"id": "u", "userPrincipalName": "U@x.example"})
    async with desk.carrying():
        for version in ("v1.0", "beta"):
            answer = await desk.world.call("POST", f"/{version}/users/u/revokeSignInSessions", by="operator")
            assert (answer.status_code, answer.json()["value"]) == (200, True)
        answer = await desk.world.call("PATCH", "/v1.0/users/u@x.example", {"accountEnabled": False}, by="operator")
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await desk.world.get("/v1.0/users/u?$select=accountEnabled"))["accountEnabled"] is False
        shown = await desk.world.patch("/beta/users/u", {"accountEnabled": True}, Prefer="return=representation")
        assert shown["accountEnabled"] is True
    assert [each["name"] for each in desk.system.asked] == [
        "revokeSignInSessions", "revokeSignInSessions", "disableUser", "enableUser"
    ]  # fmt: skip
    assert {each["target"] for each in desk.system.asked} == {"U@x.example"}
    names = [each["name"] for each in (await desk.world.get(f"{ACTIONS}?$orderby=name"))["value"]]
    assert names == ["disableUser", "enableUser", "revokeSignInSessions", "revokeSignInSessions"]


async def test_a_user_of_another_directory_stays_as_it_is(desk: Desk) -> None:
    """The same name elsewhere is somebody else: what was done there is not said of the user here."""
    await desk.connect("people", "test-people")
    await desk.connect("north", "test-wall")
    await desk.bring("north", "users", {"id": "u", "userPrincipalName": "u@x.example", "accountEnabled": True})
    await desk.bring("people", "users", {"id": "p", "userPrincipalName": "p@x.example", "accountEnabled": True})
    made = await desk.order("disableUser", "u@x.example", "p@x.example", parameter="upn")
    async with desk.carrying():
        assert (await desk.ended(made["id"]))["status"] == "Completed"
    assert (await desk.world.get("/v1.0/users/u"))["accountEnabled"] is True
    assert (await desk.world.get("/v1.0/users/p"))["accountEnabled"] is False


async def test_what_came_of_it_is_said(desk: Desk) -> None:
    """502 where the system refuses, 504 where it has not ended yet, 409 where it awaits approval: never a success that
    is none."""
    await desk.connect("people", "test-people")
    for name in ("denied", "never", "away-9999"):
        await desk.world.post("/v1.0/users", {"id": name, "userPrincipalName": f"{name}@x.example"})
    async with desk.carrying():
        problem = await desk.world.refused("POST", "/v1.0/users/denied/revokeSignInSessions", status=502)
        assert "denied it is" in problem["message"] and problem["code"] == "BadGateway"
        desk.rule(wait_s=0.3)
        for name in ("never", "away-9999"):
            problem = await desk.world.refused("PATCH", f"/v1.0/users/{name}", {"accountEnabled": False}, status=504)
            id = problem["message"].rpartition("/")[2].rstrip(".")
            assert (await desk.read(id))["status"] == "Running"
        again = await desk.world.refused("PATCH", "/v1.0/users/never", {"accountEnabled": False}, status=504)
        assert len((await desk.world.get(f"{ACTIONS}?$filter=name eq 'disableUser'"))["value"]) == 2, again
        desk.rule(approve=["disableUser"])
        await desk.world.post("/v1.0/users", {"id": "fine", "userPrincipalName": "fine@x.example"})
        await desk.world.refused(
            "PATCH", "/v1.0/users/fine", {"accountEnabled": False}, status=409, says="awaits approval"
        )
    assert (await desk.world.get("/v1.0/users/fine"))["accountEnabled"] is True
    assert (await desk.world.get("/v1.0/users/never"))["accountEnabled"] is True


async def test_users_are_refused(desk: Desk) -> None:
    await desk.connect("people", "test-people")
    await desk.world.post("/v1.0/users", {"id": "u", "userPrincipalName": "u@x.example"})
    for body, status, says in (
        ({"accountEnabled": None}, 400, "true or false"),
        ({}, 400, "takes one of"),
        ({"displayName": "x"}, 501, "PATCH of displayName of users: nothing performs it"),
        ({"accountEnabled": False, "passwordProfile": {"forceChangePasswordNextSignIn": True}}, 400, "one of"),
        ({"passwordProfile": {"password": "x", "forceChangePasswordNextSignIn": True}}, 501, "never handed on"),
    ):
        await desk.world.refused("PATCH", "/v1.0/users/u", body, status=status, says=says)
    await desk.world.refused("PATCH", "/v1.0/users/u", {"accountEnabled": False}, status=412, If_Match='W/"0"')
    await desk.world.refused("PATCH", "/v1.0/users/u", {"accountEnabled": False}, status=403, by="reader")
    await desk.world.refused("POST", "/v1.0/users/u/revokeSignInSessions", status=403, by="reader")
    await desk.world.refused("POST", "/v1.0/users/nobody/revokeSignInSessions", status=404)
    await desk.connect("second", "test-people")
    problem = await desk.world.refused("POST", "/v1.0/users/u/revokeSignInSessions", status=409, says="several")
    assert "'people'" in problem["message"] and "'second'" in problem["message"]
    assert (await desk.world.get(ACTIONS))["value"] == []
