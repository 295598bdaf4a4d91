"""The options of an $expand: what of the related objects comes, in which order, and how many there are.

Source: OData 4.01 Part 2 (URL Conventions), section 5.1.3; "Use query parameters to customize responses" of Microsoft
Graph.
"""

from typing import Any

import pytest
from tests.api.conftest import BASE, World

pytestmark = pytest.mark.anyio
V1 = "/v1.0"
INCIDENTS = f"{V1}/security/incidents"
EVENTUAL = {"consistencylevel": "eventual"}


@pytest.fixture
async def team(world: World) -> World:
    """A group of four people, a machine and a group; the people have one manager."""
    people = [("lead", "Lena", "Sales"), ("p1", "Zoe", "Sales"), ("p2", "Ann", "R&D"), ("p3", "Max", "R&D")]
    made = [
        {"id": id, "userPrincipalName": f"{id}@contoso.example", "displayName": name, "department": department}
        for id, name, department in (*people, ("p4", "Bob", "Sales"))
    ]
    await world.post(f"{V1}/users", made)
    await world.post(f"{V1}/groups", [{"id": id, "displayName": id.title()} for id in ("team", "guests", "none")])
    await world.post(f"{V1}/devices", {"id": "pc", "deviceId": "guid-pc", "displayName": "PC-9"})
    links = [("groups/team/members", f"users/p{at}") for at in range(1, 5)]
    links += [(f"users/p{at}/manager", "users/lead") for at in range(1, 5)]
    links += [("groups/team/members", "devices/pc"), ("groups/team/members", "groups/guests")]
    for path, target in links:
        at = {"@odata.id": f"https://graph.microsoft.com/v1.0/{target}"}
        assert (await world.call("POST", f"{V1}/{path}/$ref", at)).status_code == 204
    return world


async def expanded(world: World, path: str, wanted: str) -> tuple[list[str], dict[str, Any]]:
    """The ids that are shown and those behind the links, in their order; and the object."""
    name = wanted.partition("(")[0].partition("/")[0]
    one: dict[str, Any] = await world.get(f"{V1}/{path}?$expand={wanted}")
    rows = one[name]
    if f"{name}@odata.nextLink" in one:
        rows = [*rows, *await world.every(one[f"{name}@odata.nextLink"].removeprefix(BASE))]
    return [each["id"] for each in rows], one


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("members($filter=displayName eq 'ZOE')", "p1"),
        ("members($filter=id eq 'p4' or displayName eq 'PC-9';$select=id)", "p4 pc"),
        ("members($filter=startswith(displayName,'P');$select=id)", "pc"),
        ("members($filter=department eq 'none')", ""),
        ("members/microsoft.graph.user($filter=department ne 'Sales')", "p2 p3"),
        ("members/microsoft.graph.device($filter=startswith(displayName,'PC'))", "pc"),
        ("members($orderby=displayName desc;$select=id)", "p1 pc p3 guests p4 p2"),
        ("members($orderby=displayName;$top=2;$select=id)", "p2 p4 guests p3 pc p1"),
        ("members($filter=department eq 'Sales';$orderby=displayName desc;$top=1;$select=id)", "p1 p4"),
        ("members/graph.user($orderby=displayName;$top=3;$select=id)", "p2 p4 p3 p1"),
        ("members/graph.user($filter=department eq 'Sales';$orderby=displayName;$top=1;$select=id)", "p4 p1"),
        ("transitiveMembers($filter=startswith(displayName,'g'))", "guests"),
    ],
)
async def test_members(team: World, wanted: str, found: str) -> None:
    """Of members of several types, those that match, in the order that is asked for, and behind the link as well."""
    assert (await expanded(team, "groups/team", wanted))[0] == found.split()
    listed = (await team.get(f"{V1}/groups?$expand={wanted}&$select=id"))["value"]
    name = wanted.partition("(")[0].partition("/")[0]
    assert {each["id"]: bool(each[name]) for each in listed} == {"team": bool(found), "guests": False, "none": False}


@pytest.mark.parametrize(
    ("path", "wanted", "shown", "number"),
    [
        ("groups/team", "members($count=true)", 6, 6),
        ("groups/team", "members($count=true;$top=2)", 2, 6),
        ("groups/team", "members($count=true;$top=1;$filter=department eq 'Sales')", 1, 2),
        ("groups/team", "members/microsoft.graph.user($count=true;$top=1)", 1, 4),
        ("groups/team", "members/microsoft.graph.user($count=TRUE;$filter=department eq 'R%26D')", 2, 2),
        ("groups/none", "members($count=true)", 0, 0),
        ("users/lead", "directReports($count=true;$top=3)", 3, 4),
        ("groups/team", "members($count=false;$top=3)", 3, None),
        ("groups/team", "members($top=3)", 3, None),
    ],
)
async def test_numbers(team: World, path: str, wanted: str, shown: int, number: int | None) -> None:
    """`x@odata.count` says how many match, however many of them are shown."""
    one = await team.get(f"{V1}/{path}?$expand={wanted}")
    name = wanted.partition("(")[0].partition("/")[0]
    assert (len(one[name]), one.get(f"{name}@odata.count")) == (shown, number)


async def test_reports_in_order(team: World) -> None:
    """Of one set; the link says again what the directory wants beside a filter with an order."""
    wanted = "directReports($filter=department ne 'R%26D';$orderby=displayName;$top=1;$select=id)"
    assert (await expanded(team, "users/lead", wanted))[0] == ["p4", "p1"]


async def test_alerts_of_incidents(world: World) -> None:
    made = [await world.post(INCIDENTS, {"displayName": name}) for name in ("one", "two", "empty")]
    for at in range(7):
        alert = {"title": f"alert {at}", "severity": ("low", "high")[at % 2], "incidentId": made[at // 5]["id"]}
        await world.post(f"{V1}/security/alerts_v2", alert)
    for options, numbers in (
        ("", [5, 2, 0]),
        (";$top=1", [5, 2, 0]),
        (";$filter=severity eq 'high'", [2, 1, 0]),
        (";$filter=severity eq 'low';$top=2;$orderby=title desc", [3, 1, 0]),
    ):
        for each, number in zip(made, numbers, strict=True):
            one = await world.get(f"{INCIDENTS}/{each['id']}?$expand=alerts($count=true{options})")
            assert one["alerts@odata.count"] == number
        listed = (await world.get(f"{INCIDENTS}?$expand=alerts($count=true{options})"))["value"]
        found = {each["id"]: each["alerts@odata.count"] for each in listed}
        assert [found[each["id"]] for each in made] == numbers


@pytest.mark.parametrize(
    ("path", "wanted", "says"),
    [
        ("groups", "members($filter=nothing eq 'x')", "nothing"),
        ("groups", "members($orderby=nothing)", "nothing"),
        ("groups", "members($count=maybe)", "true or false"),
        ("groups", "members($skip=1)", "not skip"),
        ("groups", "members/microsoft.graph.user($filter=deviceId eq 'x')", "deviceId"),
        ("users", "manager($filter=displayName eq 'Lena')", "not filter"),
        ("users", "manager($count=true)", "not count"),
        ("security/incidents", "alerts($filter=severity eq 'loud')", "loud"),
    ],
)
async def test_what_is_refused(team: World, path: str, wanted: str, says: str) -> None:
    await team.refused("GET", f"{V1}/{path}?$expand={wanted}", status=400, says=says)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("groups/team/members/microsoft.graph.orgContact", ""),
        ("groups/team/members/graph.application", ""),
        ("groups/team/owners/microsoft.graph.device", ""),
        ("users/lead/directReports/microsoft.graph.orgContact", ""),
        ("users/lead/directReports/microsoft.graph.user", "p1 p2 p3 p4"),
        ("groups/team/members/Microsoft.Graph.Device", "pc"),
    ],
)
async def test_casts_of_lists(team: World, path: str, found: str) -> None:
    """To a type that a directory object may be of: those that are, and none where nothing of it is kept."""
    body = await team.get(f"{V1}/{path}?$count=true", **EVENTUAL)
    assert sorted(each["id"] for each in body["value"]) == found.split()
    assert body["@odata.count"] == len(found.split())
    count = await team.call("GET", f"{V1}/{path}/$count", **EVENTUAL)
    assert count.text == str(len(found.split()))
    refs = await team.get(f"{V1}/{path}/$ref")
    assert sorted(each["@odata.id"].rpartition("/")[2] for each in refs["value"]) == found.split()


@pytest.mark.parametrize(
    ("path", "id"),
    [
        ("groups/team/members/p1/graph.user", "p1"),
        ("groups/team/members/p1/microsoft.graph.user?$select=id,displayName", "p1"),
        ("groups/team/members/p1/microsoft.graph.user/manager", "lead"),
        ("groups/team/members/pc/microsoft.graph.device", "pc"),
        ("groups/team/members/microsoft.graph.user/p2", "p2"),
        ("users/p1/manager/microsoft.graph.user", "lead"),
        ("directoryObjects/p3/microsoft.graph.user", "p3"),
        ("directoryObjects/team/microsoft.graph.group", "team"),
        ("directoryObjects/team/graph.group/members/pc", "pc"),
    ],
)
async def test_casts_of_one(team: World, path: str, id: str) -> None:
    """As the SDKs ask for what one knows the type of."""
    assert (await team.get(f"{V1}/{path}"))["id"] == id


@pytest.mark.parametrize(
    "path",
    [
        "groups/team/members/p1/graph.device",
        "groups/team/members/lead/graph.user",
        "groups/team/members/p1/graph.orgContact",
        "groups/team/members/microsoft.graph.orgContact/p1",
        "groups/team/members/microsoft.graph.device/p1",
        "groups/team/members/microsoft.graph.alert",
        "directoryObjects/p1/microsoft.graph.group",
        "directoryObjects/p1/microsoft.graph.authorizationPolicy",
        "directoryObjects/p1/nothing",
    ],
)
async def test_casts_to_what_it_is_not(team: World, path: str) -> None:
    await team.refused("GET", f"{V1}/{path}", status=404)


async def test_references(team: World) -> None:
    """Of those that match, in pages and with their number, as of the objects themselves."""
    refs = f"{V1}/groups/team/members/$ref"
    for options, found in (
        ("", "guests p1 p2 p3 p4 pc"),
        ("$filter=department eq 'Sales'", "p1 p4"),
        ("$top=4", "guests p1 p2 p3 p4 pc"),
        ("$skip=4&$select=id", "p4 pc"),
        ("$top=1&$filter=startswith(displayName,'Z')", "p1"),
    ):
        rows = await team.every(f"{refs}?{options}", **EVENTUAL)
        assert [each["@odata.id"].rpartition("/")[2] for each in rows] == found.split(), options
    assert (await team.get(f"{refs}?$count=true&$top=1"))["@odata.count"] == 6
    for option in ("$orderby=id", "$filter=nothing eq 1", "$expand=members"):
        await team.refused("GET", f"{refs}?{option}", status=400)
