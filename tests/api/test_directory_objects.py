"""The directory: users, groups, devices, roles and service principals, and how they hang together."""

import itertools
from typing import Any

import pytest
from tests.api.conftest import BASE, A, World

from bartizan.auth.caller import Caller

pytestmark = pytest.mark.anyio
V1 = "/v1.0"
EVENTUAL = {"consistencylevel": "eventual"}


def at(path: str) -> dict[str, str]:
    return {"@odata.id": f"https://graph.microsoft.com/v1.0/{path}"}


@pytest.fixture
async def staff(world: World) -> World:
    """ada is in dev, dev in all; ben manages ada and owns dev; pc is ada's; the job owns itself."""
    people = [
        {"id": name, "userPrincipalName": f"{name.title()}@contoso.example", "displayName": name.title(), **more}
        for name, more in (
            ("ada", {"mail": "Ada@mail.example", "department": "R&D", "employeeId": "7"}),
            ("ben", {"accountEnabled": False, "userType": "Guest", "businessPhones": ["1"]}),
            ("eve", {"proxyAddresses": ["SMTP:eve@contoso.example"], "jobTitle": "Analyst"}),
        )
    ]
    await world.post(f"{V1}/users", people)
    named = [{"id": name, "displayName": name.title(), "mailNickname": name} for name in ("dev", "all")]
    await world.post(f"{V1}/groups", [*named, {"id": "list", "displayName": "Post", "securityEnabled": False}])
    await world.post(f"{V1}/devices", {"id": "pc", "deviceId": "guid-pc", "displayName": "PC-1", "isCompliant": True})
    await world.post(f"{V1}/servicePrincipals", {"id": "job", "appId": "app-job", "displayName": "Nightly job"})
    await world.post(f"{V1}/directoryRoles", {"id": "ga", "displayName": "Global Administrator", "roleTemplateId": "t"})
    for path, target in (
        ("groups/dev/members", "users/ada"),
        ("groups/all/members", "groups/dev"),
        ("groups/list/members", "users/ada"),
        ("groups/dev/members", "devices/pc"),
        ("groups/dev/owners", "users/ben"),
        ("directoryRoles/ga/members", "users/ben"),
        ("directoryRoles/ga/members", "groups/all"),
        ("users/ada/manager", "users/ben"),
        ("devices/pc/registeredOwners", "users/ada"),
        ("devices/pc/registeredUsers", "users/ada"),
        ("servicePrincipals/job/owners", "users/eve"),
    ):
        answer = await world.call("POST", f"{V1}/{path}/$ref", at(target))
        assert answer.status_code == 204, (path, answer.text)
    return world


async def ids(world: World, path: str, **headers: str) -> list[str]:
    return sorted(each["id"] for each in (await world.get(path, **headers))["value"])


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("users/ada/memberOf", "dev list"),
        ("users/ada@contoso.example/memberOf", "dev list"),
        ("users/ada/transitiveMemberOf", "all dev ga list"),
        ("users/ada/transitiveMemberOf/microsoft.graph.group", "all dev list"),
        ("users/ada/transitiveMemberOf/microsoft.graph.directoryRole", "ga"),
        ("users/ben/memberOf", "ga"),
        ("groups/dev/memberOf", "all"),
        ("groups/dev/members", "ada pc"),
        ("groups/dev/members/microsoft.graph.user", "ada"),
        ("groups/all/members", "dev"),
        ("groups/all/transitiveMembers", "ada dev pc"),
        ("groups/dev/owners", "ben"),
        ("devices/pc/memberOf", "dev"),
        ("devices/pc/transitiveMemberOf", "all dev ga"),
        ("devices/pc/registeredOwners", "ada"),
        ("devices/pc/registeredUsers", "ada"),
        ("devices(deviceId='guid-pc')/registeredOwners", "ada"),
        ("users/ada/ownedDevices", "pc"),
        ("users/ada/registeredDevices", "pc"),
        ("users/ben/directReports", "ada"),
        ("users/ben/ownedObjects", "dev"),
        ("users/eve/ownedObjects", "job"),
        ("servicePrincipals(appId='app-job')/owners", "eve"),
        ("directoryRoles/ga/members", "all ben"),
        ("directoryRoles(roleTemplateId='t')/members", "all ben"),
        ("users/eve/memberOf", ""),
    ],
)
async def test_navigation(staff: World, path: str, found: str) -> None:
    """What an investigation walks, each target with its type."""
    assert await ids(staff, f"{V1}/{path}") == found.split()


async def test_mixed_targets_say_their_type(staff: World) -> None:
    body = await staff.get(f"{V1}/groups/dev/members?$select=id,displayName")
    assert body["@odata.context"] == f"{BASE}/v1.0/$metadata#directoryObjects(id,displayName)"
    kinds = {each["id"]: each["@odata.type"] for each in body["value"]}
    assert kinds == {"ada": "#microsoft.graph.user", "pc": "#microsoft.graph.device"}


async def test_manager(staff: World) -> None:
    """One object; 404 where there is none; in $expand too."""
    found = await staff.get(f"{V1}/users/ada/manager")
    assert (found["id"], found["accountEnabled"]) == ("ben", False)
    await staff.refused("GET", f"{V1}/users/eve/manager", status=404)
    expanded = await staff.get(f"{V1}/users/ada?$expand=manager($select=id,displayName)")
    assert (expanded["manager"]["id"], "mail" in expanded["manager"]) == ("ben", False)
    await staff.refused("GET", f"{V1}/users?$expand=nothing", status=400, says="manager")


@pytest.mark.parametrize(
    ("path", "name", "found"),
    [
        ("users/ada", "memberOf($select=id,displayName)", "dev list"),
        ("users/ada", "transitiveMemberOf", "all dev ga list"),
        ("users/ben", "directReports", "ada"),
        ("users/ben", "ownedObjects($select=id)", "dev"),
        ("users/ada", "ownedDevices", "pc"),
        ("users/ada", "registeredDevices", "pc"),
        ("groups/dev", "memberOf", "all"),
        ("groups/dev", "members", "ada pc"),
        ("devices/pc", "memberOf", "dev"),
        ("servicePrincipals/job", "owners", "eve"),
        ("users/eve", "appRoleAssignments", ""),
        ("groups/all", "transitiveMembers($select=id)", "ada dev pc"),
        ("groups/dev", "transitiveMemberOf", "all ga"),
        ("devices/pc", "transitiveMemberOf", "all dev ga"),
        ("servicePrincipals/job", "transitiveMemberOf", ""),
        ("users/ada", "transitiveMemberOf/microsoft.graph.group", "all dev list"),
        ("users/ada", "transitiveMemberOf/graph.directoryRole($select=roleTemplateId,id)", "ga"),
        ("groups/dev", "members/Microsoft.Graph.User($top=1;$select=id,userPrincipalName)", "ada"),
        ("groups/all", "members/microsoft.graph.device", ""),
    ],
)
async def test_expanded(staff: World, path: str, name: str, found: str) -> None:
    """What Graph documents as expandable comes inside the object; with a cast, what is of that type."""
    body = await staff.get(f"{V1}/{path}?$expand={name}")
    assert sorted(each["id"] for each in body[name.partition("(")[0].partition("/")[0]]) == found.split()
    everyone = await staff.get(f"{V1}/{path.partition('/')[0]}?$expand={name}&$select=id")
    assert [each for each in everyone["value"] if each["id"] == body["id"]]


@pytest.mark.parametrize(
    "name",
    ["members/microsoft.graph.application", "members/id", "manager/microsoft.graph.user", "members/$ref", "members/"],
)
async def test_casts_that_lead_nowhere(staff: World, name: str) -> None:
    """A type that nothing there is of."""
    await staff.refused("GET", f"{V1}/groups?$expand={name}", status=400)


@pytest.mark.parametrize(
    ("path", "asked"),
    [
        ("groups/big", "members($top=3;$select=id)"),
        ("groups/big", "members/microsoft.graph.user($top=2;$select=id)"),
        ("users/boss", "directReports($top=2;$select=id)"),
        ("users/u1", "memberOf($top=1;$select=id)"),
    ],
)
async def test_links_to_the_rest_of_what_is_expanded(world: World, path: str, asked: str) -> None:
    """They lead on from what is shown, in the same order, where the targets are of several sets too."""
    people = [("boss", "Boss"), ("u1", "Zoe"), ("u2", "Ann"), ("u3", "Max"), ("u4", "Bob"), ("u5", "Yan")]
    made = [{"id": id, "userPrincipalName": f"{id}@contoso.example", "displayName": name} for id, name in people]
    await world.post(f"{V1}/users", made)
    groups = [{"id": id, "displayName": name} for id, name in (("big", "Z"), ("other", "A"), ("third", "M"))]
    await world.post(f"{V1}/groups", groups)
    links = [("groups/big/members", f"users/u{at}") for at in range(1, 6)]
    links += [(f"users/u{at}/manager", "users/boss") for at in range(1, 6)]
    links += [("groups/big/members", "groups/other"), ("groups/other/members", "users/u1")]
    for relation, target in (*links, ("groups/third/members", "users/u1")):
        await world.call("POST", f"{V1}/{relation}/$ref", at(target))
    name = asked.partition("(")[0]
    key = name.partition("/")[0]
    one = await world.get(f"{V1}/{path}?$expand={asked}")
    seen = [each["id"] for each in one[key]]
    following = one[f"{key}@odata.nextLink"]
    while following:
        page = await world.get(following.removeprefix(BASE))
        seen += [each["id"] for each in page["value"]]
        following = page.get("@odata.nextLink")
    assert len(seen) == len(set(seen))
    assert sorted(seen) == await ids(world, f"{V1}/{path}/{name}")


async def test_devices_by_their_extension_attributes(staff: World) -> None:
    """Documented for both versions, though the metadata of v1.0 does not have them."""
    device = {"id": "own", "deviceId": "guid-own", "displayName": "PC-2"}
    await staff.post(f"{V1}/devices", {**device, "extensionAttributes": {"extensionAttribute1": "BYOD-Device"}})
    for version in ("/v1.0", "/beta"):
        asked = "$filter=extensionAttributes/extensionAttribute1 eq 'BYOD-Device'&$count=true"
        found = await staff.get(f"{version}/devices?{asked}", **EVENTUAL)
        assert [each["id"] for each in found["value"]] == ["own"]
        assert found["value"][0]["extensionAttributes"]["extensionAttribute1"] == "BYOD-Device"


@pytest.mark.parametrize(
    ("set", "filter", "found"),
    [
        ("groups", "owners/$count eq 0", "all list"),
        ("groups", "owners/$count eq 0 or owners/$count eq 1", "all dev list"),
        ("groups", "owners/$count ge 1 and securityEnabled eq true", "dev"),
        ("groups", "not(owners/$count eq 0)", "dev"),
        ("groups", "Owners/$count gt 1", ""),
        ("servicePrincipals", "owners/$count eq 1", "job"),
        ("applications", "owners/$count eq 0", ""),
    ],
)
async def test_numbers_of_owners(staff: World, set: str, filter: str, found: str) -> None:
    """What nobody owns, or one person alone: the advanced query of Graph's tutorials."""
    asked = f"{V1}/{set}?$filter={filter}&$count=true"
    body = await staff.get(f"{asked}&$select=id,displayName", **EVENTUAL)
    assert sorted(each["id"] for each in body["value"]) == found.split()
    assert body["@odata.count"] == len(found.split())
    assert all("owners" not in each for each in body["value"])
    owned = await staff.get(f"{asked}&$expand=owners($select=id)", **EVENTUAL)
    assert sorted(each["id"] for each in owned["value"]) == found.split()
    count = await staff.call("GET", f"{V1}/{set}/$count?$filter={filter}", **EVENTUAL)
    assert count.text == str(len(found.split()))


@pytest.mark.parametrize(
    "filter", ["members/$count eq 0", "owners/any(o: o/id eq 'ben')", "owners eq null", "owners/id eq 'ben'"]
)
async def test_relationships_that_are_no_filter(staff: World, filter: str) -> None:
    await staff.refused("GET", f"{V1}/groups?$filter={filter}&$count=true", status=400, says="relation", **EVENTUAL)
    await staff.refused("GET", f"{V1}/users/ben/ownedObjects?$filter=owners/$count eq 1", status=400)


async def test_names_are_folded(staff: World) -> None:
    """The directory compares names without regard to case."""
    for text in (
        "displayName eq 'ADA'",
        "startswith(displayName,'aD')",
        "department eq 'r%26d'",
        "mail eq 'ADA@mail.example'",
    ):
        assert await ids(staff, f"{V1}/users?$filter={text}") == ["ada"], text


async def test_references(staff: World) -> None:
    """$ref lists, adds (409 the second time) and removes; with the ingestion scope only."""
    path = f"{V1}/groups/all/members"
    assert [each["@odata.id"] for each in (await staff.get(f"{path}/$ref"))["value"]] == [
        f"{BASE}/v1.0/directoryObjects/dev"
    ]
    await staff.refused("POST", f"{path}/$ref", at("directoryObjects/eve"), by="reader", status=403)
    assert (await staff.call("POST", f"{path}/$ref", at("directoryObjects/eve"))).status_code == 204
    await staff.refused("POST", f"{path}/$ref", at("users/eve"), status=409, says="already exist")
    await staff.refused("POST", f"{path}/$ref", at("users/nobody"), status=404)
    await staff.refused("POST", f"{path}/$ref", {"id": "eve"}, status=400, says="@odata.id")
    assert await ids(staff, path) == ["dev", "eve"]
    await staff.refused("DELETE", f"{path}/eve/$ref", by="reader", status=403)
    assert (await staff.call("DELETE", f"{path}/eve/$ref")).status_code == 204
    await staff.refused("DELETE", f"{path}/eve/$ref", status=404)
    assert await ids(staff, path) == ["dev"]
    assert (await staff.get(f"{V1}/users/eve"))["id"] == "eve"


async def test_counts(staff: World) -> None:
    assert (await staff.call("GET", f"{V1}/groups/dev/members/$count", **EVENTUAL)).text == "2"
    assert (await staff.call("GET", f"{V1}/users/$count", **EVENTUAL)).text == "3"
    await staff.refused("GET", f"{V1}/users/$count", status=400, says="ConsistencyLevel")
    page = await staff.get(f"{V1}/users/ada/transitiveMemberOf/microsoft.graph.group?$count=true", **EVENTUAL)
    assert page["@odata.count"] == 3


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("users?$filter=(userPrincipalName eq 'ADA@contoso.example') or (mail eq 'x') or (employeeId eq '9')", "ada"),
        ("users?$filter=mail eq 'ada@mail.example'", "ada"),
        ("users?$filter=startswith(displayName,'b') or startswith(displayName,'B')", "ben"),
        ("users?$filter=accountEnabled eq false", "ben"),
        ("users?$filter=userType eq 'Guest'", "ben"),
        ("users?$filter=id in ('ada','eve')", "ada eve"),
        ("users?$filter=proxyAddresses/any(p:startswith(p,'SMTP:eve'))", "eve"),
        ("users?$filter=department eq 'R%26D'", "ada"),
        ("groups?$filter=displayName eq 'DEV'", "dev"),
        ("groups?$filter=securityEnabled eq false", "list"),
        ("devices?$filter=isCompliant eq true", "pc"),
        ("devices?$filter=deviceId eq 'guid-pc'", "pc"),
        ("servicePrincipals?$filter=appId eq 'app-job'", "job"),
    ],
)
async def test_filters(staff: World, path: str, found: str) -> None:
    """What connectors ask, without the header that only advanced queries need."""
    assert await ids(staff, f"{V1}/{path}") == found.split()


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ('users?$search="displayName:Ad"', "ada"),
        ('users?$search="displayName:Ad" OR "mail:nobody"', "ada"),
        ('groups?$search="displayName:po"', "list"),
        ('devices?$search="displayName:PC"', "pc"),
        ("users?$filter=displayName ne 'Ada'&$count=true", "ben eve"),
        ("users?$filter=endswith(mail,'@mail.example')&$count=true", "ada"),
        ("users?$filter=jobTitle eq 'Analyst'&$orderby=displayName&$count=true", "eve"),
        ("groups?$filter=not(startswith(displayName,'D'))&$count=true", "all list"),
        ("servicePrincipals?$count=true&$filter=endswith(displayName,'job')", "job"),
    ],
)
async def test_advanced_queries(staff: World, path: str, found: str) -> None:
    """Refused without the header, answered with it."""
    problem = await staff.refused("GET", f"{V1}/{path}", status=400, says="ConsistencyLevel")
    assert problem["code"] == "Request_UnsupportedQuery"
    assert await ids(staff, f"{V1}/{path}", **EVENTUAL) == found.split()


@pytest.mark.parametrize(
    ("path", "body", "found"),
    [
        ("users/ada/getMemberGroups", {"securityEnabledOnly": False}, "all dev list"),
        ("users/ada/getMemberGroups", {"securityEnabledOnly": True}, "all dev"),
        ("users/ada/microsoft.graph.getMemberGroups", {}, "all dev list"),
        ("users/ada/getMemberObjects", {"securityEnabledOnly": False}, "all dev ga list"),
        ("users/ada/checkMemberGroups", {"groupIds": ["all", "nothing", "ga"]}, "all"),
        ("users/ada/checkMemberObjects", {"ids": ["all", "nothing", "ga"]}, "all ga"),
        ("groups/dev/checkMemberGroups", {"groupIds": ["all", "list"]}, "all"),
        ("devices/pc/getMemberGroups", {"securityEnabledOnly": False}, "all dev"),
    ],
)
async def test_memberships_by_action(staff: World, path: str, body: dict[str, Any], found: str) -> None:
    answer = await staff.post(f"{V1}/{path}", body, by="reader")
    assert sorted(answer["value"]) == found.split()
    assert answer["@odata.context"].endswith("#Collection(Edm.String)")


async def test_memberships_are_bounded(staff: World) -> None:
    body = {"groupIds": [str(n) for n in range(21)]}
    await staff.refused("POST", f"{V1}/users/ada/checkMemberGroups", body, status=400, says="1 to 20")
    await staff.refused("POST", f"{V1}/users/nobody/getMemberGroups", {}, status=404)
    await staff.refused("POST", f"{V1}/users/ada/getMemberGroups", {}, status=403, by="none")


async def test_circles_end(staff: World) -> None:
    """Groups that contain each other are walked once."""
    assert (await staff.call("POST", f"{V1}/groups/dev/members/$ref", at("groups/all"))).status_code == 204
    assert await ids(staff, f"{V1}/groups/all/transitiveMembers") == ["ada", "dev", "pc"]
    assert await ids(staff, f"{V1}/users/ada/transitiveMemberOf") == ["all", "dev", "ga", "list"]


async def test_what_is_contained_comes_in_by_its_own_set(staff: World) -> None:
    """Role assignments, grants and licences: POST to a set of their own, read behind their principal."""
    role = "00000000-0000-0000-0000-000000000001"
    ada, job = "6b8c2f0e-0000-4000-8000-00000000000a", "6b8c2f0e-0000-4000-8000-00000000000b"
    await staff.post(f"{V1}/users", {"id": ada, "userPrincipalName": "a2@contoso.example"})
    await staff.post(f"{V1}/servicePrincipals", {"id": job, "appId": "app-2"})
    await staff.post(f"{V1}/appRoleAssignments", {"id": "ra", "principalId": ada, "resourceId": job, "appRoleId": role})
    await staff.post(
        f"{V1}/oauth2PermissionGrants",
        {"id": "gr", "clientId": job, "principalId": ada, "resourceId": "x", "consentType": "Principal", "scope": "a"},
    )
    await staff.post(f"{V1}/licenseDetails", {"id": "li", "skuId": role, "skuPartNumber": "ENTERPRISE"})
    answer = await staff.call("POST", f"{V1}/users/{ada}/licenseDetails/$ref", at("licenseDetails/li"))
    assert answer.status_code == 204, answer.text
    for path, found in (
        (f"users/{ada}/appRoleAssignments", "ra"),
        (f"servicePrincipals/{job}/appRoleAssignedTo", "ra"),
        (f"users/{ada}/oauth2PermissionGrants", "gr"),
        (f"servicePrincipals/{job}/oauth2PermissionGrants", "gr"),
        (f"users/{ada}/licenseDetails", "li"),
        (f"users/{ada}/appRoleAssignments?$filter=resourceId eq {job}", "ra"),
    ):
        assert await ids(staff, f"{V1}/{path}") == [found], path


async def test_me(staff: World) -> None:
    """The signed-in user's own memberships; an application has no me."""
    await staff.post(f"{V1}/users", {"id": "id-of-analyst", "userPrincipalName": "analyst@contoso.example"})
    await staff.call("POST", f"{V1}/groups/dev/members/$ref", at("users/id-of-analyst"))
    me = await staff.get(f"{V1}/me?$select=id,userPrincipalName", by="analyst")
    assert (me["id"], me["userPrincipalName"]) == ("id-of-analyst", "analyst@contoso.example")
    assert await ids(staff, f"{V1}/me/memberOf", by="analyst") == ["dev"]
    assert sorted((await staff.post(f"{V1}/me/getMemberGroups", {}, by="analyst"))["value"]) == ["all", "dev"]
    await staff.refused("GET", f"{V1}/me/memberOf", status=400, says="delegated")


async def test_every_key_is_there(staff: World) -> None:
    user = await staff.get(f"{V1}/users/eve")
    assert (user["mail"], user["businessPhones"], user["proxyAddresses"]) == (None, [], ["SMTP:eve@contoso.example"])
    group = await staff.get(f"{V1}/groups/dev")
    assert (group["groupTypes"], group["mailEnabled"], group["securityEnabled"]) == ([], False, True)
    kept = await staff.post(f"{V1}/users", {"userPrincipalName": "x@contoso.example", "extension_a_badge": 7})
    assert (await staff.get(f"{V1}/users/{kept['id']}"))[
        "extension_a_badge"
    ] == 7  # an open type keeps what it is given
    grant = {"clientId": "a", "resourceId": "b", "consentType": "AllPrincipals", "nope": 1}
    await staff.refused("POST", f"{V1}/oauth2PermissionGrants", grant, status=400, says="nope")
    await staff.refused("POST", f"{V1}/users", {"userPrincipalName": "ADA@contoso.example"}, status=409)


async def test_who_may_see_memberships(staff: World) -> None:
    """A scope for memberships alone opens memberships alone; one's own need only User.Read."""
    staff.known["basic"] = Caller(A, "app", "App", permissions=frozenset({"GroupMember.ReadBasic.All"}))
    for path in ("members", "memberOf", "transitiveMembers", "transitiveMemberOf"):
        await staff.get(f"{V1}/groups/dev/{path}", by="basic")
    await staff.refused("GET", f"{V1}/groups/dev", by="basic", status=403)
    await staff.refused("GET", f"{V1}/users/ada/memberOf", by="basic", status=403)
    await staff.post(f"{V1}/users", {"id": "id-of-guest", "userPrincipalName": "guest@contoso.example"})
    await staff.call("POST", f"{V1}/groups/dev/members/$ref", at("users/id-of-guest"))
    assert await ids(staff, f"{V1}/me/memberOf", by="guest") == ["dev"]
    await staff.refused("GET", f"{V1}/users/id-of-guest/memberOf", by="guest", status=403)


class TestLevels:
    """`$expand=manager($levels=...)`: the line upwards, each within the one before."""

    async def line(self, world: World, *names: str, ring: bool = False) -> list[str]:
        """Users of whom each is managed by the next."""
        made = [
            (await world.post("/v1.0/users", {"userPrincipalName": f"{name}@contoso.example", "displayName": name}))[
                "id"
            ]
            for name in names
        ]
        pairs = list(itertools.pairwise(made)) + ([(made[-1], made[0])] if ring else [])
        for one, above in pairs:
            body = {"@odata.id": f"https://graph.test/v1.0/users/{above}"}
            answer = await world.call("POST", f"/v1.0/users/{one}/manager/$ref", body)
            assert answer.status_code == 204, answer.text
        return made

    @staticmethod
    def names(user: dict[str, Any] | None) -> list[str]:
        found = []
        while user is not None:
            found.append(user["displayName"])
            user = user.get("manager")
        return found

    async def test_the_whole_line(self, world: World) -> None:
        await self.line(world, "ann", "bob", "cid", "dan")
        ask = "$expand=manager($levels=max;$select=id,displayName)&$select=id,displayName&$count=true"
        page = await world.get(f"/v1.0/users?{ask}", **EVENTUAL)
        by_name = {user["displayName"]: user for user in page["value"]}
        assert page["@odata.count"] == 4
        assert self.names(by_name["ann"]) == ["ann", "bob", "cid", "dan"]
        assert by_name["dan"]["manager"] is None
        above = by_name["ann"]["manager"]
        assert set(above) == {"@odata.type", "@odata.etag", "id", "displayName", "manager"}
        assert above["@odata.type"] == "#microsoft.graph.user"
        one = await world.get(f"/v1.0/users/ann@contoso.example?{ask}", **EVENTUAL)
        assert self.names(one) == ["ann", "bob", "cid", "dan"]

    async def test_some_levels(self, world: World) -> None:
        await self.line(world, "ann", "bob", "cid", "dan")
        for levels, wanted in (
            ("1", ["ann", "bob"]),
            ("2", ["ann", "bob", "cid"]),
            ("9", ["ann", "bob", "cid", "dan"]),
        ):
            path = f"/v1.0/users/ann@contoso.example?$expand=manager($levels={levels})&$count=true"
            assert self.names(await world.get(path, **EVENTUAL)) == wanted

    async def test_a_ring_ends(self, world: World) -> None:
        """Where it would repeat."""
        await self.line(world, "ann", "bob", "cid", ring=True)
        path = "/v1.0/users?$expand=manager($levels=max)&$count=true"
        page = await world.get(path, **EVENTUAL)
        assert {tuple(self.names(user)) for user in page["value"]} == {
            ("ann", "bob", "cid"), ("bob", "cid", "ann"), ("cid", "ann", "bob"),
        }  # fmt: skip

    async def test_too_long_a_line_is_refused(self, world: World) -> None:
        ids = await self.line(world, *(f"u{n:03}" for n in range(103)))
        path = f"/v1.0/users/{ids[0]}?$expand=manager($levels=max)&$count=true"
        await world.refused("GET", path, status=400, says="longer than 100", **EVENTUAL)
        path = f"/v1.0/users/{ids[0]}?$expand=manager($levels=100)&$count=true"
        assert len(self.names(await world.get(path, **EVENTUAL))) == 101

    async def test_what_is_refused(self, world: World) -> None:
        await self.line(world, "ann", "bob")
        for levels in ("0", "-1", "1001", "many", ""):
            path = f"/v1.0/users?$expand=manager($levels={levels})&$count=true"
            await world.refused("GET", path, status=400, **EVENTUAL)
        for where in ("users", "users/ann@contoso.example"):
            path = f"/v1.0/{where}?$expand=manager($levels=max)"
            await world.refused("GET", f"{path}&$count=true", status=400, says="ConsistencyLevel")
        path = "/v1.0/users?$expand=manager($levels=max)"
        await world.refused("GET", path, status=400, says="$count=true", **EVENTUAL)
        await world.get("/v1.0/users/ann@contoso.example?$expand=manager($levels=max)", **EVENTUAL)
        path = "/v1.0/users?$expand=directReports($levels=max)&$count=true"
        await world.refused("GET", path, status=400, says="count; not levels", **EVENTUAL)


async def test_a_cast_by_the_alias_of_the_metadata(world: World) -> None:
    """`graph.group` is `microsoft.graph.group`."""
    user = (await world.post("/v1.0/users", {"userPrincipalName": "z@contoso.example"}))["id"]
    group = (await world.post("/v1.0/groups", {"displayName": "g"}))["id"]
    await world.call("POST", f"/v1.0/groups/{group}/members/$ref", {"@odata.id": f"https://x/v1.0/users/{user}"})
    page = await world.get(f"/v1.0/users/{user}/memberOf/graph.group?$select=id")
    assert [each["id"] for each in page["value"]] == [group]


async def test_objects_say_what_they_are_where_the_schema_does_not(staff: World) -> None:
    """Graph's schema has managers, devices and the like as directoryObjects; SDKs build a user or a device of one only
    by its @odata.type."""
    for path, kind in (
        ("manager", "user"),
        ("ownedDevices", "device"),
        ("registeredDevices?$select=id", "device"),
        ("memberOf", "group"),
    ):
        found = await staff.get(f"{V1}/users/ada/{path}")
        for each in found.get("value", [found]):
            assert each["@odata.type"] == f"#microsoft.graph.{kind}", path
    found = await staff.get(f"{V1}/users/ben?$expand=directReports($select=id)")
    assert [each["@odata.type"] for each in found["directReports"]] == ["#microsoft.graph.user"]
    cast = await staff.get(f"{V1}/users/ada/memberOf/microsoft.graph.group?$select=id")
    assert all("@odata.type" not in each for each in cast["value"])


async def test_members_of_several_types_are_filtered(world: World) -> None:
    """By what any of the types has: objects of the others do not match. Counted, paged, searched."""
    await world.post("/v1.0/groups", {"id": "all", "displayName": "All"})
    for at, name in enumerate(("Ann", "Anton", "Bo", "Anders")):
        await world.post("/v1.0/users", {"id": f"u{at}", "userPrincipalName": f"{name}@x", "displayName": name})
    await world.post("/v1.0/groups", {"id": "g1", "displayName": "Analysts"})
    for member in ("u0", "u1", "u2", "g1"):
        link = {"@odata.id": f"https://graph.microsoft.com/v1.0/directoryObjects/{member}"}
        answer = await world.call("POST", "/v1.0/groups/all/members/$ref", link)
        assert answer.status_code == 204, answer.text
    path = "/v1.0/groups/all/members"

    async def ids(query: str) -> list[str]:
        return [each["id"] for each in await world.every(f"{path}?{query}", consistencylevel="eventual")]

    assert await ids("$filter=startswith(displayName,'An')") == ["g1", "u0", "u1"]
    assert await ids("$filter=startswith(displayName,'An')&$top=1") == ["g1", "u0", "u1"]
    assert await ids("$filter=userPrincipalName eq 'bo@x'") == ["u2"]
    assert await ids("$filter=accountEnabled eq true and displayName ne 'Bo'") == ["u0", "u1"]
    assert await ids('$search="displayName:ana"') == ["g1"]
    page = await world.get(f"{path}?$filter=startswith(displayName,'An')&$count=true&$top=1&$select=id")
    assert (page["@odata.count"], len(page["value"])) == (3, 1)
    count = await world.call("GET", f"{path}/$count?$filter=startswith(displayName,'An')", consistencylevel="eventual")
    assert count.text == "3"
    assert [
        each["id"] for each in (await world.get("/v1.0/users/u0/memberOf?$filter=displayName eq 'All'"))["value"]
    ] == ["all"]
    await world.refused("GET", f"{path}?$filter=nope eq 'x'", status=400, says="nope")


async def test_members_of_several_types_in_order(world: World) -> None:
    """By what one, some or all of the types have; what has no value comes first, and last when descending."""
    for number, name in enumerate(("ben", "Ann", "Cid")):
        user = {"id": f"u{number}", "userPrincipalName": f"{name}@x", "displayName": name}
        await world.post("/v1.0/users", {**user, "department": ("IT", None, "IT")[number]})
    await world.post("/v1.0/groups", {"id": "all", "displayName": "All"})
    await world.post("/v1.0/groups", {"id": "g1", "displayName": "Bee"})
    await world.post("/v1.0/devices", {"id": "d1", "deviceId": "d1", "displayName": "ben"})
    for member in ("u0", "u1", "u2", "g1", "d1"):
        link = {"@odata.id": f"https://graph.microsoft.com/v1.0/directoryObjects/{member}"}
        await world.post("/v1.0/groups/all/members/$ref", link)
    path = "/v1.0/groups/all/members"
    for order, found in (
        ("displayName", ["u1", "g1", "d1", "u0", "u2"]),
        ("displayName desc", ["u2", "d1", "u0", "g1", "u1"]),
        ("department,displayName desc", ["d1", "g1", "u1", "u2", "u0"]),
        ("department desc,id desc", ["u2", "u0", "u1", "g1", "d1"]),
        ("deviceId desc", ["d1", "g1", "u0", "u1", "u2"]),
    ):
        for top in (1, 2, 99):
            shown = await world.every(f"{path}?$orderby={order}&$top={top}&$select=id")
            assert [each["id"] for each in shown] == found, (order, top)
    shown = await world.every(f"{path}?$orderby=displayName&$filter=startswith(displayName,'be')&$top=1&$count=true")
    assert [each["id"] for each in shown] == ["g1", "d1", "u0"]
    await world.refused("GET", f"{path}?$orderby=nope", status=400, says="nope")
    await world.refused("GET", f"{path}?$skip=1", status=400, says="one type")
