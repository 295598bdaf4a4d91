"""Conditional access: policies and named locations as clients write them."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import World

pytestmark = pytest.mark.anyio
ROOT = "/v1.0/identity/conditionalAccess"
POLICY: dict[str, Any] = {
    "displayName": "Access to EXO requires MFA",
    "state": "enabledForReportingButNotEnforced",
    "conditions": {
        "signInRiskLevels": ["high"],
        "clientAppTypes": ["mobileAppsAndDesktopClients", "browser"],
        "applications": {"includeApplications": ["00000002-0000-0ff1-ce00-000000000000"]},
        "users": {"includeGroups": ["ba8e7ded-8b0f-4836-ba06-8ff1ecc5c8ba"]},
        "locations": {"includeLocations": ["All"], "excludeLocations": ["AllTrusted"]},
    },
    "grantControls": {"operator": "OR", "builtInControls": ["mfa"]},
    "sessionControls": {"signInFrequency": {"isEnabled": True, "type": "hours", "value": 4}},
}
RANGES: dict[str, Any] = {
    "@odata.type": "#microsoft.graph.ipNamedLocation",
    "displayName": "Untrusted IP ranges",
    "isTrusted": False,
    "ipRanges": [
        {"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": "12.34.221.11/22"},
        {"@odata.type": "#microsoft.graph.iPv6CidrRange", "cidrAddress": "2001:0:9d38:90d6:0:0:0:0/63"},
    ],
}
COUNTRIES: dict[str, Any] = {
    "@odata.type": "#microsoft.graph.countryNamedLocation",
    "displayName": "Countries that are unknown",
    "countriesAndRegions": ["US", "GB"],
    "includeUnknownCountriesAndRegions": True,
}


async def test_policy(world: World) -> None:
    """201 with stamps and every key; PATCH 204 merges complex values; DELETE 204, then 404."""
    answer = await world.call("POST", f"{ROOT}/policies", POLICY, by="analyst")
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["createdDateTime"], made["modifiedDateTime"]) == ("2026-11-23T04:50:30.1234560Z", None)
    assert made["conditions"]["userRiskLevels"] == []
    assert made["conditions"]["users"]["excludeUsers"] == []
    assert made["conditions"]["platforms"] is None
    assert made["sessionControls"]["signInFrequency"]["value"] == 4
    path = f"{ROOT}/policies/{made['id']}"
    change = {"conditions": {"signInRiskLevels": ["high", "medium", "low"]}, "grantControls": {"operator": "AND"}}
    answer = await world.call("PATCH", path, change)
    assert (answer.status_code, answer.content) == (204, b"")
    read = await world.get(path)
    assert read["conditions"] == {**made["conditions"], "signInRiskLevels": ["high", "medium", "low"]}
    assert (read["grantControls"]["operator"], read["grantControls"]["builtInControls"]) == ("AND", ["mfa"])
    assert read["modifiedDateTime"] is not None
    await world.call("PATCH", path, change)
    assert await world.get(path) == read
    assert (await world.call("DELETE", path)).status_code == 204
    await world.refused("GET", path, status=404)
    await world.refused("PATCH", path, change, status=404)


async def test_policy_lists(world: World) -> None:
    await world.post(f"{ROOT}/policies", [POLICY, {**POLICY, "displayName": "Second", "state": "disabled"}])
    for wanted, count in (
        ("state eq 'enabledForReportingButNotEnforced'", 1),
        ("displayName eq 'Second'", 1),
        ("conditions/users/includeGroups/any(g: g eq 'ba8e7ded-8b0f-4836-ba06-8ff1ecc5c8ba')", 2),
        ("grantControls/operator eq 'OR'", 2),
    ):
        page = await world.get(f"{ROOT}/policies?$filter={wanted}&$count=true&$select=id,state")
        assert page["@odata.count"] == count, wanted
    assert (await world.call("GET", f"{ROOT}/policies/$count")).text == "2"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({**POLICY, "state": "on"}, "enabledForReportingButNotEnforced"),
        ({**POLICY, "conditions": {"users": {"includeUsers": ["All"]}}}, "applications"),
        ({**POLICY, "grantControls": None, "sessionControls": None}, "grantControls"),
        ({"displayName": "x"}, "conditions, state"),
        ({**POLICY, "nope": 1}, "nope"),
        ({**POLICY, "conditions": {"nope": 1}}, "conditions.nope"),
    ],
)
async def test_policy_refusals(world: World, body: dict[str, Any], says: str) -> None:
    await world.refused("POST", f"{ROOT}/policies", body, status=400, says=says)


async def test_ip_location(world: World) -> None:
    made = await world.post(f"{ROOT}/namedLocations", RANGES)
    assert made["@odata.type"] == "#microsoft.graph.ipNamedLocation"
    assert (made["ipRanges"], made["isTrusted"]) == (RANGES["ipRanges"], False)
    assert "countriesAndRegions" not in made
    path = f"{ROOT}/namedLocations/{made['id']}"
    answer = await world.call("PATCH", path, {"@odata.type": RANGES["@odata.type"], "isTrusted": True})
    assert answer.status_code == 204
    assert (await world.get(path))["isTrusted"] is True
    wrong = {"@odata.type": RANGES["@odata.type"], "ipRanges": [{**RANGES["ipRanges"][0], "cidrAddress": "12.34/99"}]}
    await world.refused("PATCH", path, wrong, status=400, says="ipRanges[0]")
    await world.refused("PATCH", path, {"@odata.type": COUNTRIES["@odata.type"]}, status=400, says="kind")
    assert (await world.call("DELETE", path)).status_code == 204


async def test_a_location_is_replaced(world: World) -> None:
    """PUT, as older clients change a location: what it does not name is as in a new one."""
    path = "/v1.0/identity/conditionalAccess/namedLocations"
    kind = {"@odata.type": "#microsoft.graph.ipNamedLocation"}
    ranges = [{"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": "192.0.2.0/24"}]
    made = await world.post(path, {**kind, "displayName": "Old", "isTrusted": True, "ipRanges": ranges})
    one = f"{path}/{made['id']}"
    body = {**kind, "displayName": "New", "ipRanges": ranges}
    assert (await world.call("PUT", one, body)).status_code == 204
    found = await world.get(one)
    assert (found["displayName"], found["isTrusted"], len(found["ipRanges"])) == ("New", False, 1)
    assert found["createdDateTime"] == made["createdDateTime"]
    etag = found["@odata.etag"]
    assert (await world.call("PUT", one, body)).headers["etag"] == etag, "twice changes nothing"
    await world.refused("PUT", one, {**kind, "displayName": "New"}, status=400, says="ipRanges")
    await world.refused("PUT", one, {**kind, "ipRanges": ranges}, status=400, says="displayName")
    await world.refused("PUT", one, body, status=412, if_match='W/"0"')
    await world.refused("PUT", one, body, by="reader", status=403)
    await world.refused("PUT", "/v1.0/identity/conditionalAccess/policies/x", {}, status=405)


async def test_country_location(world: World) -> None:
    made = await world.post(f"{ROOT}/namedLocations", COUNTRIES)
    assert (made["countriesAndRegions"], made["countryLookupMethod"]) == (["US", "GB"], "clientIpAddress")
    assert "ipRanges" not in made
    await world.refused(
        "POST", f"{ROOT}/namedLocations", {**COUNTRIES, "countriesAndRegions": ["USA"]}, status=400, says="ISO 3166"
    )


async def test_locations_of_one_kind(world: World) -> None:
    """isof picks one kind; properties of derived types are filtered behind a cast."""
    tolerated = {"@odata.type": "#microsoft.graph.compliantNetworkNamedLocation", "displayName": "All networks"}
    await world.post("/beta/identity/conditionalAccess/namedLocations", tolerated)
    await world.post(f"{ROOT}/namedLocations", RANGES)
    await world.post(f"{ROOT}/namedLocations", COUNTRIES)
    for wanted, names in (
        ("isof('microsoft.graph.ipNamedLocation')", [RANGES["displayName"]]),
        ("isof('microsoft.graph.countryNamedLocation')", [COUNTRIES["displayName"]]),
        ("microsoft.graph.ipNamedLocation/isTrusted eq false", [RANGES["displayName"]]),
        ("microsoft.graph.countryNamedLocation/includeUnknownCountriesAndRegions eq true", [COUNTRIES["displayName"]]),
        (
            "microsoft.graph.countryNamedLocation/countriesAndRegions/any(c: c eq 'US')",
            [COUNTRIES["displayName"]],
        ),
    ):
        found = (await world.get(f"{ROOT}/namedLocations?$filter={wanted}"))["value"]
        assert [each["displayName"] for each in found] == names, wanted
    assert len((await world.get(f"{ROOT}/namedLocations"))["value"]) == 3
    await world.refused("POST", f"{ROOT}/namedLocations", {"displayName": "x"}, status=400, says="@odata.type")


async def test_who_may_write(world: World) -> None:
    """Reading is for readers, writing for administrators."""
    await world.post(f"{ROOT}/policies", POLICY, by="analyst")
    assert len((await world.get(f"{ROOT}/policies", by="reader"))["value"]) == 1
    for by in ("reader", "operator", "none"):
        await world.refused("POST", f"{ROOT}/policies", POLICY, by=by, status=403)


@pytest.mark.shared
async def test_documented_policies(world: World, shared: Path) -> None:
    """Every request body of the documentation is taken, and comes back as it was sent."""
    tried = 0
    for line in (shared / "graph" / "examples.jsonl").open(encoding="utf-8"):
        example = json.loads(line)
        asked = example.get("request") or {}
        if (asked.get("method"), asked.get("path")) != ("POST", "/identity/conditionalAccess/policies"):
            continue
        made = await world.post(f"/{example['version']}/identity/conditionalAccess/policies", asked["body"])
        assert made["displayName"] == asked["body"]["displayName"]
        for name, value in asked["body"]["conditions"].items():
            if isinstance(value, list):
                assert made["conditions"][name] == value
        tried += 1
    assert tried > 5
