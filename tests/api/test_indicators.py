"""Threat indicators: what connectors send, one by one and in bulk, and who sees them."""

from typing import Any

import pytest
from tests.api.conftest import A, World

from bartizan.auth.caller import Caller
from bartizan.extend import permissions

pytestmark = pytest.mark.anyio
SET = "/beta/security/tiIndicators"


def indicator(**more: Any) -> dict[str, Any]:
    return {
        "action": "alert",
        "description": "a bad domain",
        "domainName": "bad.example",
        "expirationDateTime": "2027-01-01T00:00:00+01:00",
        "targetProduct": "Azure Sentinel",
        "threatType": "watchlist",
        "tlpLevel": "white",
        **more,
    }


async def test_one(world: World) -> None:
    """201 with defaults and stamps; unknown properties are echoed; every documented key is there."""
    answer = await world.call(
        "POST", SET, indicator(indicatorRequestHash="abc", nested={"x": [1, None]}, id="mine", passiveOnly="true")
    )
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert answer.headers["location"].endswith(f"/beta/security/tiIndicators/{made['id']}")
    assert (made["threatType"], made["severity"], made["isActive"], made["passiveOnly"]) == ("WatchList", 3, True, True)
    assert (made["azureTenantId"], made["ingestedDateTime"]) == (A, "2026-11-23T04:50:30.1234560Z")
    assert made["expirationDateTime"] == "2026-12-31T23:00:00.0000000Z"
    assert (made["indicatorRequestHash"], made["nested"]) == ("abc", {"x": [1, None]})
    assert (made["url"], made["killChain"], made["fileHashType"]) == (None, [], None)
    assert made["id"] != "mine"
    read = await world.get(f"{SET}/{made['id']}")
    assert {**read, "@odata.context": ""} == {**made, "@odata.context": ""}


async def test_the_owner_is_nobodys_business(world: World) -> None:
    """The mark of the application that submitted it stays in the store, whatever is done with the indicator."""
    made = await world.post(SET, indicator(**{"@bartizan.owner": "app-b"}))
    await world.patch(f"{SET}/{made['id']}", {"confidence": 7})
    await world.post(f"{SET}/updateTiIndicators", {"value": [update(made["id"])]})
    for path in (SET, f"{SET}/{made['id']}", f"{SET}?$select=id", f"{SET}?$filter=contains(domainName,'bad')"):
        text = (await world.call("GET", path)).text
        assert made["id"] in text
        assert "bartizan" not in text
        assert "app-a" not in text


def update(id: str, **more: Any) -> dict[str, Any]:
    known = {"expirationDateTime": "2027-02-01T00:00:00Z", "targetProduct": "Azure Sentinel"}
    return {"id": id, **known, "severity": 5, **more}


async def test_each_application_sees_its_own(world: World) -> None:
    """Lists, counts, GET, PATCH, DELETE and the bulk calls alike; delegated by the application that asks."""
    _, delegated = permissions()
    world.known["on-behalf"] = Caller(
        A, "app-a", "App A", "id-of-ada", "ada@contoso.example", "Ada", delegated, frozenset({"SecurityOperator"})
    )
    made = await world.post(SET, indicator(externalId="x"))
    other = await world.post(SET, indicator(externalId="x"), by="second")
    path = f"{SET}/{made['id']}"
    for by, mine in (("admin", made), ("on-behalf", made), ("second", other)):
        assert [each["id"] for each in (await world.get(f"{SET}?$filter=externalId eq 'x'", by=by))["value"]] == [
            mine["id"]
        ]
        assert (await world.get(f"{SET}?$count=true", by=by))["@odata.count"] == 1
        assert (await world.call("GET", f"{SET}/$count", by=by)).text == "1"
    assert (await world.get(path, by="on-behalf"))["id"] == made["id"]
    await world.refused("GET", path, by="second", status=404)
    await world.refused("GET", f"{path}/domainName", by="second", status=404)
    await world.refused("PATCH", path, {"severity": 1}, by="second", status=404)
    await world.refused("DELETE", path, by="second", status=404)
    answer = await world.call("POST", f"{SET}/updateTiIndicators", {"value": [update(made["id"])]}, by="second")
    assert (answer.status_code, answer.json()["value"][0]["code"]) == (206, 404)
    answer = await world.call("POST", f"{SET}/deleteTiIndicators", {"value": [made["id"]]}, by="second")
    assert answer.status_code == 206
    await world.post(f"{SET}/deleteTiIndicatorsByExternalId", {"value": ["x"]}, by="second")
    assert (await world.get(path))["severity"] == 3
    assert (await world.get(SET, by="second"))["value"] == []


async def test_change_and_delete(world: World) -> None:
    """204, or 200 with the indicator if preferred; DELETE 204; what cannot change is named."""
    made = await world.post(SET, indicator(tool="kept"))
    path = f"{SET}/{made['id']}"
    assert (await world.call("PATCH", path, {"severity": 4})).status_code == 204
    changed = await world.patch(path, {"tags": ["a"], "isActive": False}, prefer="return=representation")
    assert (changed["severity"], changed["tags"], changed["isActive"], changed["tool"]) == (4, ["a"], False, "kept")
    problem = await world.refused("PATCH", path, {"domainName": "other.example"}, status=400, says="domainName")
    assert problem["code"] == "propertyNotUpdateable"
    await world.refused("PATCH", path, {"severity": 6}, status=400, says="0 to 5")
    assert (await world.call("DELETE", path)).status_code == 204
    await world.refused("DELETE", path, status=404)


async def test_submit(world: World) -> None:
    """All good: 200 and the indicators in order. Some bad: 206 and for each of them a resultInfo with its marks."""
    path = "/beta/security/tiindicators/submitTiIndicators"
    answer = await world.call("POST", path, {"value": [indicator(indicatorRequestHash=str(n)) for n in range(100)]})
    assert answer.status_code == 200
    assert [each["indicatorRequestHash"] for each in answer.json()["value"]] == [str(n) for n in range(100)]
    bad = indicator(domainName=None, externalId="bad-one")
    answer = await world.call("POST", path, {"value": [indicator(), bad, indicator(severity=9)]})
    assert answer.status_code == 206
    first, second, third = answer.json()["value"]
    assert first["domainName"] == "bad.example"
    assert (second["code"], second["externalId"], second["subcode"]) == (400, "bad-one", 0)
    assert "observable" in second["message"]
    assert second["Error"] == second["message"]
    assert "severity" in third["message"]
    assert (await world.call("GET", f"{SET}/$count")).text == "101"
    await world.refused("POST", path, {"value": [indicator()] * 101}, status=400, says="1 to 100")
    await world.refused("POST", path, {"value": []}, status=400, says="1 to 100")
    await world.refused("POST", path, {"value": [indicator(action="explode")]}, status=400, says="action")


async def test_update_and_delete_many(world: World) -> None:
    ids = [(await world.post(SET, indicator(externalId=f"e{n}")))["id"] for n in range(4)]
    done = await world.post(f"{SET}/microsoft.graph.updateTiIndicators", {"value": [update(ids[0], tags=["t"])]})
    assert (done["value"][0]["severity"], done["value"][0]["tags"]) == (5, ["t"])
    again = await world.post(f"{SET}/updateTiIndicators", {"value": [update(ids[0], tags=["t"])]})
    assert again["value"] == done["value"]
    answer = await world.call(
        "POST", f"{SET}/updateTiIndicators", {"value": [update(ids[1]), {"id": ids[2]}, update(ids[3], url="x")]}
    )
    codes = [each.get("code") for each in answer.json()["value"]]
    assert (answer.status_code, codes) == (206, [None, 400, 400])
    answer = await world.call("POST", f"{SET}/deleteTiIndicators", {"value": [ids[0], "nothing"]})
    assert answer.status_code == 206
    assert [(each["code"], each.get("id")) for each in answer.json()["value"]] == [(0, None), (404, "nothing")]
    gone = await world.post(f"{SET}/deleteTiIndicatorsByExternalId", {"value": ["e1", "e2"]})
    assert [each["message"] for each in gone["value"]] == ["success", "success"]
    assert [each["id"] for each in (await world.get(SET))["value"]] == [ids[3]]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"expirationDateTime": None}, "expirationDateTime"),
        ({"threatType": "Weather"}, "Botnet"),
        ({"description": "x" * 1001}, "1000 characters"),
        ({"confidence": 101}, "0 to 100"),
        ({"networkIPv4": "1.2.3"}, "networkIPv4"),
        ({"fileHashValue": "abc"}, "fileHashType"),
        ({"tlpLevel": None}, "tlpLevel"),
        ({"tlpLevel": "blue"}, "tlpLevel"),
        ({"domainName": ""}, "observable"),
    ],
)
async def test_what_an_indicator_needs(world: World, more: dict[str, Any], says: str) -> None:
    await world.refused("POST", SET, indicator(**more), status=400, says=says)


async def test_endpoint_product_needs_less(world: World) -> None:
    made = await world.post(
        SET,
        {
            "action": "block",
            "fileHashType": "SHA256",
            "fileHashValue": "a" * 64,
            "expirationDateTime": "2027-01-01T00:00:00Z",
            "targetProduct": "Microsoft Defender ATP",
        },
    )
    assert (made["fileHashType"], made["tlpLevel"]) == ("sha256", None)


async def test_filters_of_connectors(world: World) -> None:
    """As OpenCTI and the MISP sample ask."""
    await world.post(SET, indicator(externalId="o'ne", fileHashType="md5", fileHashValue="d41d8"))
    await world.post(SET, indicator(emailSenderAddress="a@bad.example"))
    for wanted, count in (
        ("externalId eq 'o''ne'", 1),
        ("fileHashValue eq 'd41d8'", 1),
        ("domainName eq 'bad.example'", 2),
        ("emailSenderAddress eq 'a@bad.example'", 1),
        ("threatType eq 'WatchList' and expirationDateTime gt 2026-11-23T00:00:00Z", 2),
    ):
        assert len((await world.get(f"{SET}?$filter={wanted}"))["value"]) == count, wanted
