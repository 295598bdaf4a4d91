"""Lists of any set: paging, filters, order, selection, counts."""

import base64
from typing import Any

import pytest
from tests.api.conftest import BASE, World

pytestmark = pytest.mark.anyio
ALERTS = "/v1.0/security/alerts_v2"


def alert(n: int, **more: Any) -> dict[str, Any]:
    return {"id": f"a{n:03}", "title": f"alert {n}", "severity": ("low", "medium", "high")[n % 3], **more}


@pytest.fixture
async def many(world: World) -> World:
    """25 alerts, stored one after another."""
    await world.post(ALERTS, [alert(n) for n in range(25)])
    return world


async def test_pages_hold_each_object_once(many: World) -> None:
    """Following nextLink gives every object exactly once, in one order."""
    whole = [each["id"] for each in (await many.get(ALERTS))["value"]]
    assert [each["id"] for each in await many.every(f"{ALERTS}?$top=4")] == whole
    assert sorted(whole) == [f"a{n:03}" for n in range(25)]


async def test_next_link_ends_with_the_set(many: World) -> None:
    """No nextLink where the page ends the set, exactly full or not."""
    assert "@odata.nextLink" not in await many.get(f"{ALERTS}?$top=25")
    assert "@odata.nextLink" in await many.get(f"{ALERTS}?$top=24")


async def test_token_alone_carries_the_query(many: World) -> None:
    """$skiptoken without anything else continues filter, order, selection and page size."""
    page = await many.get(f"{ALERTS}?$top=2&$filter=severity eq 'high'&$orderby=title desc&$select=id&$count=true")
    token = page["@odata.nextLink"].partition("$skiptoken=")[2]
    second = await many.get(f"{ALERTS}?$skiptoken={token}")
    assert [each["id"] for each in page["value"] + second["value"]] == ["a008", "a005", "a023", "a020"]
    assert second["@odata.count"] == page["@odata.count"] == 8
    assert set(second["value"][0]) == {"@odata.etag", "@odata.type", "id"}


async def test_token_takes_no_other_query(many: World) -> None:
    """A filter beside the token must be the token's own; the page size may change."""
    link = (await many.get(f"{ALERTS}?$top=2&$filter=severity eq 'high'"))["@odata.nextLink"]
    assert len((await many.get(f"{link}&$top=1&$filter=severity eq 'high'"))["value"]) == 1
    await many.refused("GET", f"{link}&$filter=severity eq 'low'", status=400, says="$filter differs")


async def test_token_is_bound(many: World) -> None:
    """A token is good for its own tenant, path and version, and not after a change."""
    link = (await many.get(f"{ALERTS}?$top=2"))["@odata.nextLink"]
    token = link.partition("$skiptoken=")[2]
    says = "$skiptoken is not valid"
    await many.refused("GET", link, by="other", status=400, says=says)
    await many.refused("GET", f"/beta/security/alerts_v2?$skiptoken={token}", status=400, says=says)
    await many.refused("GET", f"/v1.0/security/alerts?$skiptoken={token}", status=400, says=says)
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[20] ^= 1
    await many.refused("GET", f"{ALERTS}?$skiptoken={base64.urlsafe_b64encode(raw).decode()}", status=400, says=says)


async def test_top_is_honoured_or_refused(many: World) -> None:
    """$top up to the maximum is the page size; above it 400."""
    assert len((await many.get(f"{ALERTS}?$top=2000"))["value"]) == 25
    await many.refused("GET", f"{ALERTS}?$top=2001", status=400, says="The limit of '2000'")
    await many.refused("GET", "/v1.0/security/incidents?$top=1001", status=400, says="The limit of '1000'")
    assert (await many.get(f"{ALERTS}?$top=0&$count=true"))["@odata.count"] == 25
    for wrong in ("-1", "x", "1.5", ""):
        await many.refused("GET", f"{ALERTS}?$top={wrong}", status=400)


async def test_skip(many: World) -> None:
    """$skip passes over; legacy alerts refuse more than 500."""
    assert len((await many.get(f"{ALERTS}?$skip=20"))["value"]) == 5
    assert len(await many.every(f"{ALERTS}?$skip=20&$top=2")) == 5
    await many.refused("GET", "/v1.0/security/alerts?$skip=501", status=400, says="at most 500")
    assert (await many.get("/v1.0/security/alerts?$skip=500"))["value"] == []


async def test_max_page_size(many: World) -> None:
    """Prefer: odata.maxpagesize makes pages smaller, never larger, and is said to be applied."""
    answer = await many.call("GET", f"{ALERTS}?$top=10", prefer="odata.maxpagesize=3")
    assert len(answer.json()["value"]) == 3
    assert answer.headers["preference-applied"] == "odata.maxpagesize=3"
    assert len((await many.get(f"{ALERTS}?$top=2", prefer="odata.maxpagesize=9"))["value"]) == 2


async def test_counts(many: World) -> None:
    """$count=true and /$count say how many match, whatever the page is."""
    assert (await many.get(f"{ALERTS}?$count=true&$top=1&$filter=severity eq 'high'"))["@odata.count"] == 8
    assert "@odata.count" not in await many.get(ALERTS)
    answer = await many.call("GET", f"{ALERTS}/$count?$filter=severity eq 'high'")
    assert (answer.text, answer.headers["content-type"]) == ("8", "text/plain;charset=utf-8")
    assert (await many.call("GET", f"{ALERTS}/$count")).text == "25"


async def test_filter_refusals_name_what_is_right(many: World) -> None:
    """An unknown property, member or function is 400 and says what there is."""
    says = {"nope eq 'x'": "nope", "severity eq 'purple'": "informational", "title": "", "startswith(title)": ""}
    for text, part in says.items():
        await many.refused("GET", f"{ALERTS}?$filter={text}", status=400, says=part)
    await many.refused("GET", f"{ALERTS}?$nope=1", status=400, says="$nope")
    await many.refused("GET", f"{ALERTS}?$orderby=evidence", status=400)
    await many.refused("GET", f"{ALERTS}?$expand=incident", status=400, says="expand")
    await many.refused("GET", f"{ALERTS}?$select=nope", status=400, says="nope")


async def test_names_are_read_in_any_case(many: World) -> None:
    """Paths, options and properties in any case; a slash at the end, two in a row, a bare & are fine."""
    for path in (
        "/V1.0/Security/ALERTS_v2?$Filter=Severity eq 'HIGH'",
        "/v1.0//security/alerts_v2/?$filter=severity+eq+'high'&",
        '/v1.0/security/alerts_v2?filter=severity eq "high"',
    ):
        assert len((await many.get(path))["value"]) == 8


async def test_search(many: World) -> None:
    assert len((await many.get(f'{ALERTS}?$search="alert 7"'))["value"]) == 1
    await many.refused(
        "GET", '/v1.0/identityProtection/riskDetections?$search="x"', status=400, says="cannot be searched"
    )


async def test_select_keeps_annotations(many: World) -> None:
    page = await many.get(f"{ALERTS}?$top=1&$select=Title,severity")
    assert set(page["value"][0]) == {"@odata.etag", "@odata.type", "title", "severity"}
    assert page["@odata.context"] == f"{BASE}/v1.0/$metadata#security/alerts_v2(title,severity)"


@pytest.mark.parametrize(
    "path",
    ["v1.0/security/alerts_v2", "v1.0/security/alerts", "v1.0/users", "beta/devices", "v1.0/security/secureScores"],
)
async def test_select_of_nothing_is_refused(world: World, path: str) -> None:
    """A name that no object has is a 400 that says what there is, also where the metadata calls the type open. It
    begins with Graph's own sentence."""
    says = "Parsing OData Select and Expand failed: Could not find a property named 'titel' on type 'microsoft.graph."
    for name in ("select", "expand"):
        await world.refused("GET", f"/{path}?${name}=titel", status=400, says=says)
    await world.refused("GET", f"/{path}?$select=id,titel", status=400, says="it has: ")
    await world.refused("GET", f"/{path}?$select=vendorInformation/nope", status=400)


async def test_select_of_extensions(world: World) -> None:
    """Extensions of directory objects and keys that a client invented for its indicators can be selected."""
    await world.get("/v1.0/users?$select=extension_0a1b_badge,ext4abc_codes")
    await world.get("/beta/security/tiIndicators?$select=id,indicatorRequestHash")


async def test_select_below_a_property(many: World) -> None:
    page = await many.get("/v1.0/security/alerts?$top=1&$select=vendorInformation/provider")
    assert set(page["value"][0]["vendorInformation"]) == {"provider"}


async def test_links_carry_the_allowed_host(many: World) -> None:
    page = await many.get(f"{ALERTS}?$top=1", host="evil.example")
    assert page["@odata.nextLink"].startswith(f"{BASE}/v1.0/security/alerts_v2?$skiptoken=")


async def test_tenants_do_not_meet(many: World) -> None:
    """Another tenant's lists are empty, its counts 0, and ids are not found."""
    assert (await many.get(ALERTS, by="other"))["value"] == []
    assert (await many.call("GET", f"{ALERTS}/$count", by="other")).text == "0"
    await many.refused("GET", f"{ALERTS}/a001", by="other", status=404)
    await many.refused("PATCH", f"{ALERTS}/a001", {"status": "resolved"}, by="other", status=404)


async def test_the_plan_is_kept_per_query(many: World) -> None:
    """Equal query texts of two tenants and versions do not mix."""
    for _ in range(2):
        assert len((await many.get(f"{ALERTS}?$filter=severity eq 'low'"))["value"]) == 9
        assert (await many.get(f"{ALERTS}?$filter=severity eq 'low'", by="other"))["value"] == []
        assert len((await many.get("/beta/security/alerts_v2?$filter=severity eq 'low'"))["value"]) == 9
