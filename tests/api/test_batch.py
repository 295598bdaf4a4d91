"""$batch: several requests in one, in order where they ask for it."""

from typing import Any

import pytest
from tests.api.conftest import World

pytestmark = pytest.mark.anyio


def part(id: str, url: str, method: str = "GET", **more: Any) -> dict[str, Any]:
    return {"id": id, "method": method, "url": url, **more}


async def run(world: World, *parts: dict[str, Any], path: str = "/v1.0/$batch", by: str = "admin") -> dict[str, Any]:
    answer = await world.post(path, {"requests": list(parts)}, by=by)
    return {each["id"]: each for each in answer["responses"]}


async def test_parts_stand_alone(world: World) -> None:
    """Each part has its own status, headers and body; addresses with or without slash and version."""
    user = {"id": "u", "userPrincipalName": "u@contoso.example"}
    done = await run(
        world,
        part("1", "/users", "POST", body=user, headers={"Content-Type": "application/json"}),
        part("2", "users/u?$select=id", dependsOn=["1"]),
        part("3", "/beta/users/u", dependsOn=["1"], headers={"Prefer": "x"}),
        part("4", "/users/$count", dependsOn=["1"], headers={"ConsistencyLevel": "eventual"}),
        part("5", "/nope"),
        part("6", "/security/alerts_v2/x", "DELETE"),
    )
    assert {key: each["status"] for key, each in done.items()} == {
        "1": 201,
        "2": 200,
        "3": 200,
        "4": 200,
        "5": 404,
        "6": 405,
    }
    assert done["1"]["headers"]["Location"].endswith("/v1.0/users/u")
    assert done["2"]["body"]["id"] == "u"
    assert done["4"]["body"] == "1", "a text is a string"
    assert done["5"]["body"]["error"]["innerError"]["request-id"] == done["5"]["headers"]["request-id"]


async def test_dependants_of_failures_fail(world: World) -> None:
    """424 behind a failure, however far; nothing of it is done."""
    done = await run(
        world,
        part("3", "/users", "POST", dependsOn=["2"], body={"userPrincipalName": "x@contoso.example"}),
        part("2", "/users", dependsOn=["1"]),
        part("1", "/users/nobody"),
        part("4", "/users"),
    )
    assert {key: each["status"] for key, each in done.items()} == {"1": 404, "2": 424, "3": 424, "4": 200}
    assert (await world.get("/v1.0/users"))["value"] == []


async def test_names_in_any_case(world: World) -> None:
    """As scripts of PowerShell spell the keys of their objects; an answer is as documented."""
    sent = {"Requests": [{"ID": 1, "Method": "GET", "Url": "/users?$top=1", "DependsOn": None}]}
    answer = await world.post("/v1.0/$batch", sent)
    assert [(each["id"], each["status"]) for each in answer["responses"]] == [("1", 200)]


async def test_parts_have_the_callers_rights(world: World) -> None:
    """A header inside does not make somebody else of the caller."""
    done = await run(world, part("1", "/users", headers={"Authorization": "Bearer admin"}), by="none")
    assert done["1"]["status"] == 403


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        {"requests": {}},
        {"requests": []},
        {"requests": [part(str(n), "/users") for n in range(21)]},
        {"requests": [part("1", "/users"), part("1", "/users")]},
        {"requests": [part("", "/users")]},
        {"requests": [{"id": "1", "url": "/users"}]},
        {"requests": [part("1", "/users", "TRACE")]},
        {"requests": [part("1", "https://elsewhere.example/users")]},
        {"requests": [part("1", "/users", dependsOn=["2"])]},
        {"requests": [part("1", "/users", dependsOn=["1"])]},
        {"requests": [part("1", "/users", dependsOn=["2"]), part("2", "/users", dependsOn=["1"])]},
        {"requests": [part("1", "/users", headers=[])]},
        {"requests": ["x"]},
    ],
)
async def test_malformed_batches(world: World, body: Any) -> None:
    await world.refused("POST", "/v1.0/$batch", body, status=400)


async def test_no_batch_in_a_batch(world: World) -> None:
    done = await run(world, part("1", "/$batch", "POST", body={"requests": []}), part("2", "/$metadata"))
    assert [each["status"] for each in done.values()] == [400, 400]


async def test_beta(world: World) -> None:
    done = await run(world, part("1", "/riskyUsers"), path="/beta/$batch")
    assert "/beta/" in done["1"]["body"]["@odata.context"]
    await world.refused("GET", "/beta/$batch", status=405)
    await world.refused("POST", "/beta/$batch", {"requests": []}, by=None, status=401)
