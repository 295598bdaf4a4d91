"""Risky users and the directory."""

from typing import Any

import pytest
from tests.api.conftest import World

pytestmark = pytest.mark.anyio
RISKY = "/v1.0/identityProtection/riskyUsers"


@pytest.fixture
async def people(world: World) -> World:
    await world.post(
        "/v1.0/users",
        [
            {
                "id": f"u{n}",
                "userPrincipalName": f"User{n}@contoso.example",
                "displayName": f"User {n}",
                "employeeId": str(n),
            }
            for n in range(5)
        ],
    )
    return world


@pytest.mark.parametrize(
    ("action", "level", "state", "detail"),
    [
        ("confirmCompromised", "high", "confirmedCompromised", "adminConfirmedUserCompromised"),
        ("dismiss", "none", "dismissed", "adminDismissedAllRiskForUser"),
        ("confirmSafe", "none", "confirmedSafe", None),
    ],
)
async def test_decisions(people: World, action: str, level: str, state: str, detail: str | None) -> None:
    """204; level, state and detail follow the decision; the history has it once, whoever repeats it."""
    for _ in range(2):
        answer = await people.call("POST", f"{RISKY}/{action}", {"UserIds": ["u1", "u2"]}, by="operator")
        assert (answer.status_code, answer.content) == (204, b"")
    for key in ("u1", "u2"):
        user = await people.get(f"{RISKY}/{key}", prefer="include-unknown-enum-members")
        assert (user["riskLevel"], user["riskState"]) == (level, state)
        if detail:
            assert user["riskDetail"] == detail
        history = (await people.get(f"{RISKY}/{key}/history"))["value"]
        assert len(history) == 1
        assert (history[0]["userId"], history[0]["initiatedBy"]) == (key, "id-of-operator")
    assert (await people.get(f"{RISKY}/u1/history/{history[0]['id']}".replace("u1", "u2")))["riskState"] == state


async def test_decisions_are_all_or_nothing(people: World) -> None:
    await people.refused("POST", f"{RISKY}/dismiss", {"userIds": ["u1", "nobody"]}, status=404, says="'nobody'")
    assert (await people.get(RISKY))["value"] == []
    bad: list[Any] = [{}, {"userIds": []}, {"userIds": "u1"}, {"userIds": [1]}, {"users": ["u1"]}, []]
    for wrong in bad:
        await people.refused("POST", f"{RISKY}/dismiss", wrong, status=400)


async def test_confirming_adds_a_detection(people: World) -> None:
    await people.call("POST", "/beta/riskyUsers/confirmCompromised", {"userIds": ["u1"]})
    (found,) = (await people.get("/v1.0/identityProtection/riskDetections"))["value"]
    assert (found["riskEventType"], found["userId"]) == ("adminConfirmedUserCompromised", "u1")


async def test_late_members_are_masked(people: World) -> None:
    """Enum members after unknownFutureValue go out only to whom asks for them."""
    await people.call("POST", f"{RISKY}/confirmSafe", {"userIds": ["u1"]})
    assert (await people.get(f"{RISKY}/u1"))["riskDetail"] == "unknownFutureValue"
    assert (await people.get(RISKY))["value"][0]["riskDetail"] == "unknownFutureValue"
    answer = await people.call("GET", RISKY, prefer="include-unknown-enum-members")
    assert answer.json()["value"][0]["riskDetail"] == "adminConfirmedAccountSafe"
    assert answer.headers["preference-applied"] == "include-unknown-enum-members"


async def test_me(people: World) -> None:
    """The signed-in user's own object, with User.Read and no role; an application has none."""
    await people.post(
        "/v1.0/users", {"id": "id-of-guest", "userPrincipalName": "guest@contoso.example", "displayName": "G"}
    )
    await people.post(
        "/v1.0/users", {"id": "elsewhere", "userPrincipalName": "analyst@contoso.example", "displayName": "An"}
    )
    assert (await people.get("/v1.0/me", by="guest"))["displayName"] == "G"
    assert (await people.get("/v1.0/me/userPrincipalName", by="guest"))["value"] == "guest@contoso.example"
    assert (await people.get("/v1.0/me?$select=displayName", by="analyst"))["displayName"] == "An"
    await people.refused("GET", "/v1.0/users/id-of-guest", by="guest", status=403)
    await people.refused("GET", "/v1.0/me", status=400, says="delegated")


async def test_advanced_queries(people: World) -> None:
    """$search, ne, not, endsWith and filter with order need the header, and most $count=true."""
    for query in (
        "$filter=not(employeeId eq '1')",
        "$filter=employeeId ne '1'&$count=true",
        "$filter=endswith(userPrincipalName,'example')",
        "$filter=employeeId eq '1'&$orderby=displayName",
        '$search="displayName:User"',
    ):
        problem = await people.refused("GET", f"/v1.0/users?{query}", status=400, says="ConsistencyLevel")
        assert problem["code"] == "Request_UnsupportedQuery"
        joined = query if "$count" in query else f"{query}&$count=true"
        assert (await people.get(f"/v1.0/users?{joined}", consistencylevel="eventual"))["value"]
    await people.refused(
        "GET", "/v1.0/users?$filter=employeeId ne '1'", status=400, says="$count=true", consistencylevel="eventual"
    )
    assert (await people.get("/v1.0/users?$count=true", consistencylevel="eventual"))["@odata.count"] == 5
    uncounted = await people.get("/v1.0/users?$count=true")  # as Graph answers it
    assert len(uncounted["value"]) == 5
    assert "@odata.count" not in uncounted
    await people.refused("GET", "/v1.0/users/$count", status=400)
    assert (await people.call("GET", "/v1.0/users/$count", consistencylevel="eventual")).text == "5"
    three = "(userPrincipalName eq 'USER1@contoso.example') or (mail eq 'x') or (employeeId eq '2')"
    found = await people.get(f"/v1.0/users?$filter={three}&$select=id")
    assert {each["id"] for each in found["value"]} == {"u1", "u2"}


async def test_passwords_are_not_kept(people: World) -> None:
    await people.post(
        "/v1.0/users", {"id": "p", "userPrincipalName": "p@contoso.example", "passwordProfile": {"password": "geheim"}}
    )
    assert "geheim" not in (await people.call("GET", "/beta/users/p")).text
