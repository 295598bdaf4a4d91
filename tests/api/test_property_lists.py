"""What a property holds, asked for by its own path: the query options apply to it, or are refused.

Source: OData 4.01 Part 1 (Protocol), section 11.2.4.1 (Requesting Individual Properties).
"""

import pytest
from tests.api.conftest import World

pytestmark = pytest.mark.anyio
ALERT = "/v1.0/security/alerts_v2/a1"


@pytest.fixture
async def alert(world: World) -> World:
    user = {"@odata.type": "#microsoft.graph.security.userEvidence", "userAccount": {"accountName": "hal"}}
    address = {"@odata.type": "#microsoft.graph.security.ipEvidence", "ipAddress": "198.51.100.9"}
    body = {"id": "a1", "title": "Beacon", "evidence": [user, address], "mitreTechniques": ["T1071", "T1059", "T1105"]}
    await world.post("/v1.0/security/alerts_v2", body)
    await world.post(f"{ALERT}/comments", [{"comment": "seen"}, {"comment": "called them"}, {"comment": "closed"}])
    return world


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("comments?$filter=contains(comment,'e') and comment ne 'closed'", ["seen", "called them"]),
        ("comments?$orderby=comment desc", ["seen", "closed", "called them"]),
        ("comments?$skip=1&$top=1", ["called them"]),
        ("comments", ["seen", "called them", "closed"]),
    ],
)
async def test_objects(alert: World, path: str, found: list[str]) -> None:
    assert [each["comment"] for each in (await alert.get(f"{ALERT}/{path}"))["value"]] == found


async def test_selected(alert: World) -> None:
    """The type stays; the number is of all that match, however many are shown."""
    asked = "$filter=isof('microsoft.graph.security.ipEvidence')&$select=ipAddress&$count=true"
    body = await alert.get(f"{ALERT}/evidence?{asked}")
    address = {"@odata.type": "#microsoft.graph.security.ipEvidence", "ipAddress": "198.51.100.9"}
    assert (body["value"], body["@odata.count"]) == ([address], 1)
    paged = await alert.get(f"{ALERT}/comments?$top=2&$count=true&$select=comment")
    assert paged["@odata.count"] == 3
    rest = await alert.get(paged["@odata.nextLink"])
    assert [*paged["value"], *rest["value"]] == [{"comment": each} for each in ("seen", "called them", "closed")]


async def test_texts(alert: World) -> None:
    """They can be counted and passed over; there is nothing in them to filter by."""
    body = await alert.get(f"{ALERT}/mitreTechniques?$top=2&$count=true")
    assert (len(body["value"]), body["@odata.count"]) == (2, 3)
    for option in ("$filter=x eq 'T1071'", "$select=x", "$orderby=x"):
        await alert.refused("GET", f"{ALERT}/mitreTechniques?{option}", status=400, says="no meaning here")


@pytest.mark.parametrize(
    ("option", "says"),
    [("$filter=nothing eq 1", "nothing"), ("$select=nothing", "nothing"), ("$search=x", "$search"), ("$top=x", "$top")],
)
async def test_what_is_refused(alert: World, option: str, says: str) -> None:
    await alert.refused("GET", f"{ALERT}/comments?{option}", status=400, says=says)
