"""Watchlists over the API, in hunts and in rules."""

import json
from typing import Any

import pytest
from tests.api.conftest import A, World, on_both_engines

from bartizan.api import watchlists as module
from bartizan.hunt import watchlists as kept

pytestmark = pytest.mark.anyio
SET = "/beta/security/watchlists"
VIPS = {"watchlistAlias": "Vips", "displayName": "VIPs", "itemsSearchKey": "User"}
CSV = "User,Tier\na@x,1\nb@x,2\na@x,1\n"


async def hunted(world: World, query: str, by: str = "admin") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await world.post("/v1.0/security/runHuntingQuery", {"Query": query}, by=by))[
        "results"
    ]
    return found


@on_both_engines
async def test_a_list_from_its_making_to_its_end(world: World) -> None:
    made = await world.post(SET, {**VIPS, "rawContent": CSV, "contentType": "text/csv", "source": "people.csv"})
    assert (made["columns"], made["watchlistItemsCount"], made["rawContent"]) == (["User", "Tier"], 2, None)
    assert made["createdBy"] == "app-a" and made["source"] == "people.csv"
    assert (await world.get(f"{SET}/vips"))["id"] == made["id"] == (await world.get(SET))["value"][0]["id"]
    items = (await world.get(f"{SET}/Vips/items(top=1,skip=1)"))["value"]
    assert [json.loads(each["itemsKeyValue"]) for each in items] == [{"User": "b@x", "Tier": "2"}]
    query = "_GetWatchlist('vips') | project SearchKey, Tier | sort by SearchKey asc"
    assert await hunted(world, query) == [{"SearchKey": "a@x", "Tier": "1"}, {"SearchKey": "b@x", "Tier": "2"}]
    more = {"items": [{"User": "c@x", "Tier": 3, "Note": None}, {"User": "a@x", "Tier": "1"}]}
    after = await world.post(f"{SET}/Vips/uploadItems", more)
    assert (after["columns"], after["watchlistItemsCount"]) == (["User", "Tier", "Note"], 3)
    whole = {"rawContent": '[{"User": "z@x"}]', "contentType": "application/json", "replace": True}
    assert (await world.post(f"{SET}/{made['id']}/uploadItems", whole))["columns"] == ["User"]
    assert await hunted(world, query.replace(", Tier", "")) == [{"SearchKey": "z@x"}]
    named = await world.patch(f"{SET}/Vips", {"displayName": "Others"})
    assert (named["displayName"], named["watchlistItemsCount"]) == ("Others", 1)
    assert await hunted(world, "_GetWatchlist('vips') | count") == [{"Count": 1}]
    assert (await world.call("DELETE", f"{SET}/Vips")).status_code == 204
    await world.refused("POST", "/v1.0/security/runHuntingQuery", {"Query": query}, status=400, says="no watchlist")
    assert await world.store.tenant(A).attachment(kept.WATCHLISTS.name, made["id"], kept.CONTENT) is None
    told = (await world.get("/v1.0/auditLogs/directoryAudits"))["value"]
    assert {"Add watchlist", "Upload watchlist items", "Update watchlist", "Delete watchlist"} <= {
        each["activityDisplayName"] for each in told
    }


async def test_another_tenant_has_its_own(world: World) -> None:
    await world.post(SET, {**VIPS, "rawContent": CSV})
    await world.post(SET, {**VIPS, "rawContent": "User\nother@x\n"}, by="other")
    query = "_GetWatchlist('Vips') | project User | sort by User asc"
    assert await hunted(world, query, by="other") == [{"User": "other@x"}]
    assert [each["User"] for each in await hunted(world, query)] == ["a@x", "b@x"]
    await world.call("DELETE", f"{SET}/Vips", by="other")
    assert await hunted(world, "_GetWatchlistAlias", by="other") == []
    assert len(await hunted(world, query)) == 2
    id = (await world.get(f"{SET}/Vips"))["id"]
    for method, path in (("GET", ""), ("DELETE", ""), ("GET", "/items()"), ("POST", "/uploadItems")):
        body = {"items": [{"User": "q"}]} if method == "POST" else None
        await world.refused(method, f"{SET}/{id}{path}", body, status=404, by="other")


async def test_a_hunting_token_reads_and_does_not_write(world: World) -> None:
    await world.post(SET, {**VIPS, "rawContent": CSV})
    assert len(await hunted(world, "_GetWatchlist('Vips')", by="reader")) == 2
    await world.get(f"{SET}/Vips/items()", by="reader")
    for method, path, body in (
        ("POST", SET, {**VIPS, "watchlistAlias": "More"}),
        ("POST", f"{SET}/Vips/uploadItems", {"items": [{"User": "q"}]}),
        ("PATCH", f"{SET}/Vips", {"displayName": "q"}),
        ("DELETE", f"{SET}/Vips", None),
    ):
        await world.refused(method, path, body, status=403, by="reader")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"watchlistAlias": "no spaces"}, "watchlistAlias"),
        ({"watchlistAlias": "a" * 65}, "watchlistAlias"),
        ({"displayName": " "}, "displayName"),
        ({"itemsSearchKey": "Mail", "rawContent": CSV}, "no column of the items: they have User, Tier"),
        ({"rawContent": "User,User\n"}, "two columns are called User"),
        ({"rawContent": "User\na,b\n"}, "line 2 has 2 fields"),
        ({"rawContent": "x", "contentType": "text/html"}, "text/csv or application/json"),
        ({"rawContent": CSV, "numberOfLinesToSkip": 1_001}, "numberOfLinesToSkip"),
        ({"rawContent": "[{]", "contentType": "application/json"}, "no JSON"),
        ({"rawContent": "User,_DTItemId\n"}, "_DTItemId"),
    ],
)
async def test_what_is_no_list(world: World, given: dict[str, Any], says: str) -> None:
    await world.refused("POST", SET, {**VIPS, **given}, status=400, says=says)
    assert (await world.get(SET))["value"] == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "expected an object"),
        ({"rows": []}, "got rows"),
        ({}, "either items or rawContent"),
        ({"items": [{"User": "a"}], "rawContent": CSV}, "either items or rawContent"),
        ({"items": [{"Mail": "a"}], "replace": True}, "itemsSearchKey is 'User'"),
        ({"items": [{"User": "a"}], "replace": "yes"}, "true or false"),
        ({"rawContent": 7}, "expected a text"),
    ],
)
async def test_what_cannot_be_uploaded(world: World, body: Any, says: str) -> None:
    await world.post(SET, {**VIPS, "rawContent": CSV})
    await world.refused("POST", f"{SET}/Vips/uploadItems", body, status=400, says=says)
    assert (await world.get(f"{SET}/Vips"))["watchlistItemsCount"] == 2


@on_both_engines
async def test_an_alias_is_there_once_in_any_case(world: World) -> None:
    await world.post(SET, VIPS)
    await world.refused("POST", SET, {**VIPS, "watchlistAlias": "VIPS"}, status=409)


async def test_a_tenant_has_room_for_so_many(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "MAX_WATCHLISTS", 1)
    await world.post(SET, {**VIPS, "rawContent": CSV})
    await world.refused("POST", SET, {**VIPS, "watchlistAlias": "b"}, status=409, says="at most 1")
    monkeypatch.setattr(kept, "MAX_PACKED_BYTES", 10)
    await world.refused(
        "POST", f"{SET}/Vips/uploadItems", {"items": [{"User": "q"}]}, status=409, says="at most 10 bytes"
    )


async def test_uploads_at_once_lose_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was overtaken looks again; with If-Match it is refused."""
    made = await world.post(SET, VIPS)
    first = kept.items_of
    done: list[bool] = []

    async def overtaken(store: Any, id: str) -> Any:
        found = await first(store, id)
        if not done:
            done.append(True)
            await world.post(f"{SET}/Vips/uploadItems", {"items": [{"User": "first"}]})
        return found

    monkeypatch.setattr(module, "items_of", overtaken)
    await world.post(f"{SET}/Vips/uploadItems", {"items": [{"User": "second"}]})
    users = [row["User"] for row in await hunted(world, "_GetWatchlist('Vips') | sort by User asc")]
    assert users == ["first", "second"]
    stale = {"if_match": made["@odata.etag"]}
    await world.refused("POST", f"{SET}/Vips/uploadItems", {"items": [{"User": "q"}]}, status=412, **stale)


async def test_a_rule_may_name_one(world: World) -> None:
    """Its query is checked against the lists of its tenant."""
    rule: dict[str, Any] = {
        "displayName": "VIP", "isEnabled": True, "schedule": {"period": "0"},
        "queryCondition": {"queryText": "SigninLogs | join (_GetWatchlist('Vips')) on $left.Identity == $right.User"},
        "detectionAction": {"alertTemplate": {"title": "VIP", "description": "d", "severity": "low",
                                              "category": "InitialAccess", "mitreTechniques": ["T1078"]}},
    }  # fmt: skip
    await world.refused("POST", "/beta/security/rules/detectionRules", rule, status=400, says="no watchlist 'Vips'")
    await world.post(SET, {**VIPS, "rawContent": CSV})
    await world.post("/beta/security/rules/detectionRules", rule)
