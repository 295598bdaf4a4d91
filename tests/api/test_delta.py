"""Delta queries of the directory: what is there, then what changed, round by round."""

from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.api.conftest import NOW, A, World

from bartizan.store.interface import Tx

pytestmark = pytest.mark.anyio


async def _people(world: World, count: int) -> list[str]:
    made = [{"id": f"u{n}", "userPrincipalName": f"u{n}@contoso.example", "displayName": f"U{n}"} for n in range(count)]
    await world.post("/v1.0/users", made)
    return [str(each["id"]) for each in made]


async def _round(world: World, link: str, **headers: str) -> tuple[list[dict[str, Any]], str]:
    """All pages of a round, and the link of the next."""
    found: list[dict[str, Any]] = []
    for _ in range(1000):
        page = await world.get(link, **headers)
        assert ("@odata.nextLink" in page) != ("@odata.deltaLink" in page)
        found += page["value"]
        if "@odata.deltaLink" in page:
            assert parse_qs(urlsplit(page["@odata.deltaLink"]).query).keys() == {"$deltatoken"}
            return found, str(page["@odata.deltaLink"])
        assert parse_qs(urlsplit(page["@odata.nextLink"]).query).keys() == {"$skiptoken"}
        link = str(page["@odata.nextLink"])
    raise AssertionError("the round does not end")


async def _change(world: World, id: str, **values: Any) -> None:
    await world.post(
        "/v1.0/users",
        {"id": id, "userPrincipalName": f"{id}@contoso.example", **values},
        Prefer="resolution=merge-duplicates",
    )


async def _remove(world: World, collection: str, id: str) -> None:
    def work(tx: Tx) -> bool:
        return tx.delete(collection, id)

    assert await world.store.tenant(A).write(work, actor="connector")


@pytest.mark.parametrize("name", ["delta", "delta()", "Delta", "microsoft.graph.delta", "microsoft.graph.delta()"])
async def test_first_round(world: World, name: str) -> None:
    """The first round gives every object once, whole, in pages; nothing has changed behind it."""
    ids = await _people(world, 5)
    found, link = await _round(world, f"/v1.0/users/{name}?$top=2")
    assert [each["id"] for each in found] == ids
    whole = await world.get("/v1.0/users/u0")
    assert found[0] == {name: value for name, value in whole.items() if name != "@odata.context"}
    assert (await _round(world, link))[0] == []


async def test_expanded(world: World) -> None:
    """What is related stands in each object of each round, as Elastic's entity analytics can be told to ask."""
    await world.post("/v1.0/users", [
        {"id": "m1", "userPrincipalName": "m1@contoso.example", "displayName": "Boss"},
        {"id": "u1", "userPrincipalName": "u1@contoso.example", "displayName": "One", "manager@odata.bind": "users/m1"},
    ])  # fmt: skip
    path = "/v1.0/users/delta?$expand=manager($select=displayName)&$select=displayName"
    found, link = await _round(world, path)
    one = next(each for each in found if each["id"] == "u1")
    assert one["manager"]["displayName"] == "Boss"
    assert "userPrincipalName" not in one["manager"]
    await _change(world, "u1", displayName="Uno")
    await world.post("/v1.0/users", {"id": "new", "userPrincipalName": "new@contoso.example"})
    again, _ = await _round(world, link)
    assert {each["id"]: (each["manager"] or {}).get("displayName") for each in again} == {"u1": "Boss", "new": None}
    await world.refused(
        "GET", "/v1.0/users/delta?$expand=nobody", status=400, says="named 'nobody' on type 'microsoft.graph.user'"
    )


async def test_what_changed(world: World) -> None:
    """A later round gives what is new, what is different (once, as it is now) and what is gone."""
    await _people(world, 3)
    _, link = await _round(world, "/v1.0/users/delta")
    await _change(world, "u1", displayName="First")
    await _change(world, "u1", displayName="Second")
    await world.post("/v1.0/users", {"id": "new", "userPrincipalName": "new@contoso.example"})
    await _remove(world, "users", "u2")
    found, again = await _round(world, link)
    assert [each["id"] for each in found] == ["u1", "new", "u2"]
    assert found[0]["displayName"] == "Second" and "userPrincipalName" in found[0]
    assert found[2] == {"id": "u2", "@removed": {"reason": "deleted"}}
    assert (await _round(world, again))[0] == []
    assert [each["id"] for each in (await _round(world, link))[0]] == ["u1", "new", "u2"], "a link may be asked twice"


async def test_changes_come_in_pages(world: World) -> None:
    """A later round has pages too; no object is left out."""
    ids = await _people(world, 7)
    _, link = await _round(world, "/v1.0/users/delta?$top=3")
    for id in ids:
        await _change(world, id, jobTitle="x")
    page = await world.get(link)
    assert len(page["value"]) == 3 and "@odata.nextLink" in page
    assert [each["id"] for each in (await _round(world, link))[0]] == ids


async def test_change_during_the_first_round(world: World) -> None:
    """What changes between two pages of the first round comes with the second round."""
    await _people(world, 4)
    page = await world.get("/v1.0/users/delta?$top=2")
    await _change(world, "u0", displayName="Late")
    _, link = await _round(world, page["@odata.nextLink"])
    found, _ = await _round(world, link)
    assert [(each["id"], each["displayName"]) for each in found] == [("u0", "Late")]


async def test_select(world: World) -> None:
    """$select goes through all rounds: only its properties and the id, only objects in which they changed."""
    await _people(world, 2)
    found, link = await _round(world, "/v1.0/users/delta?$select=displayName,jobTitle")
    assert {"id", "displayName", "jobTitle"} >= {name for name in found[0] if not name.startswith("@")}
    await _change(world, "u0", city="Nowhere")
    await _change(world, "u1", jobTitle="Boss")
    found, link = await _round(world, link)
    assert [{name: value for name, value in each.items() if name[0] != "@"} for each in found] == [
        {"id": "u1", "displayName": "U1", "jobTitle": "Boss"}
    ]


async def test_minimal(world: World) -> None:
    """Under Prefer: return=minimal an object has only what changed, and the answer says so."""
    await _people(world, 1)
    _, link = await _round(world, "/v1.0/users/delta")
    await _change(world, "u0", jobTitle="Boss")
    answer = await world.call("GET", link, Prefer="return=minimal")
    assert answer.headers["preference-applied"] == "return=minimal"
    (found,) = answer.json()["value"]
    assert {name: value for name, value in found.items() if name[0] != "@"} == {"id": "u0", "jobTitle": "Boss"}


async def test_members(world: World) -> None:
    """Who came into a group and who left it, as members@delta."""
    await _people(world, 2)
    root = "https://graph.test:8443/v1.0/directoryObjects"
    await world.post("/v1.0/groups", {"id": "g", "displayName": "G", "members@odata.bind": [f"{root}/u0"]})
    (group,), link = await _round(world, "/v1.0/groups/delta")
    assert group["members@delta"] == [{"@odata.type": "#microsoft.graph.user", "id": "u0"}]
    await world.post("/v1.0/groups/g/members/$ref", {"@odata.id": f"{root}/u1"})
    assert (await world.call("DELETE", "/v1.0/groups/g/members/u0/$ref")).status_code == 204
    (group,), link = await _round(world, link)
    assert {each["id"]: each.get("@removed") for each in group["members@delta"]} == {
        "u1": None,
        "u0": {"reason": "deleted"},
    }
    (group,), _ = await _round(world, "/v1.0/groups/delta?$select=displayName")
    assert "members@delta" not in group
    (group,), _ = await _round(world, "/v1.0/groups/delta?$select=displayName,members")
    assert [each["id"] for each in group["members@delta"]] == ["u1"]


async def test_some_objects(world: World) -> None:
    """$filter by ids follows those alone; any other filter is refused."""
    await _people(world, 4)
    found, link = await _round(world, "/v1.0/users/delta?$filter=id eq 'u1' or id eq 'u3'")
    assert [each["id"] for each in found] == ["u1", "u3"]
    for id in ("u0", "u3"):
        await _change(world, id, jobTitle="x")
    assert [each["id"] for each in (await _round(world, link))[0]] == ["u3"]
    await world.refused("GET", "/v1.0/users/delta?$filter=displayName eq 'x'", status=400, says="ids only")
    await world.refused("GET", "/v1.0/users/delta?$orderby=displayName", status=400, says="$orderby")


async def test_from_now_on(world: World) -> None:
    """$deltatoken=latest gives no objects, only the link from which to follow."""
    await _people(world, 2)
    found, link = await _round(world, "/v1.0/users/delta?$deltatoken=latest")
    assert found == []
    await _change(world, "u0", jobTitle="x")
    assert [each["id"] for each in (await _round(world, link))[0]] == ["u0"]


async def test_page_size(world: World) -> None:
    """Prefer: odata.maxpagesize is a page size; $top has the set's bounds."""
    await _people(world, 3)
    answer = await world.call("GET", "/v1.0/users/delta", Prefer="odata.maxpagesize=1")
    assert len(answer.json()["value"]) == 1
    assert answer.headers["preference-applied"] == "odata.maxpagesize=1"
    await world.refused("GET", "/v1.0/users/delta?$top=1000", status=400, says="between 1 and 999")


async def test_tokens_are_bound(world: World) -> None:
    """A token is good for its tenant, version, set and parameter only; a changed one for nothing."""
    await _people(world, 2)
    _, link = await _round(world, "/v1.0/users/delta")
    token = parse_qs(urlsplit(link).query)["$deltatoken"][0]
    for path, by in (
        (f"/v1.0/users/delta?$deltatoken={token}", "other"),
        (f"/beta/users/delta?$deltatoken={token}", "admin"),
        (f"/v1.0/groups/delta?$deltatoken={token}", "admin"),
        (f"/v1.0/users/delta?$skiptoken={token}", "admin"),
        (f"/v1.0/users/delta?$deltatoken={token[:-2]}xx", "admin"),
        (f"/v1.0/users?$deltatoken={token}", "admin"),
    ):
        await world.refused("GET", path, status=400, by=by)


async def test_tenants(world: World) -> None:
    """A round never holds another tenant's changes."""
    await _people(world, 1)
    _, link = await _round(world, "/v1.0/users/delta")
    await world.post("/v1.0/users", {"id": "foreign", "userPrincipalName": "f@fabrikam.example"}, by="other")
    assert (await _round(world, link))[0] == []


async def test_expired(world: World) -> None:
    """Where the feed no longer reaches back, 410 says where to begin again, with the same selection."""
    await _people(world, 1)
    _, link = await _round(world, "/v1.0/users/delta?$select=displayName")
    await _change(world, "u0", displayName="x")
    await world.store.retain(NOW + timedelta(days=400))
    answer = await world.call("GET", link)
    assert answer.status_code == 410, answer.text
    assert answer.json()["error"]["code"] == "resyncRequired"
    where = answer.headers["location"]
    assert parse_qs(urlsplit(where).query, keep_blank_values=True) == {"$select": ["displayName"], "$deltatoken": [""]}
    found, _ = await _round(world, where)
    assert [each["displayName"] for each in found] == ["x"]


async def test_who_may(world: World) -> None:
    """A delta query needs what reading the set needs, and is read only."""
    await world.refused("GET", "/v1.0/users/delta", status=403, by="none")
    await world.refused("POST", "/v1.0/users/delta", {}, status=405)
    for name in ("groups", "devices", "servicePrincipals"):
        assert (await _round(world, f"/beta/{name}/delta"))[0] == []
    await world.refused("GET", "/v1.0/subscribedSkus/delta", status=404)


@pytest.mark.parametrize(
    ("path", "new", "relation"),
    [
        ("applications", {"appId": "a", "displayName": "A"}, "owners"),
        ("directory/administrativeUnits", {"displayName": "Oslo"}, "members"),
        ("directoryRoles", {"displayName": "Security Reader"}, "members"),
    ],
)
async def test_rounds_of_applications_units_and_roles(
    world: World, path: str, new: dict[str, str], relation: str
) -> None:
    """What is there with whom it refers to; then whom was added, and nothing else."""
    ids = await _people(world, 2)
    await world.post(f"/v1.0/{path}", {"id": "one", **new})
    link = {"@odata.id": f"https://graph.microsoft.com/v1.0/users/{ids[0]}"}
    assert (await world.call("POST", f"/v1.0/{path}/one/{relation}/$ref", link)).status_code == 204
    found, following = await _round(world, f"/v1.0/{path}/delta")
    assert [(each["id"], [to["id"] for to in each[f"{relation}@delta"]]) for each in found] == [("one", [ids[0]])]
    link = {"@odata.id": f"https://graph.microsoft.com/v1.0/users/{ids[1]}"}
    assert (await world.call("POST", f"/v1.0/{path}/one/{relation}/$ref", link)).status_code == 204
    found, following = await _round(world, following)
    assert [(each["id"], [to["id"] for to in each[f"{relation}@delta"]]) for each in found] == [("one", [ids[1]])]
    assert (await _round(world, following))[0] == []
