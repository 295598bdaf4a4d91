"""Requests under Privileged Identity Management, and what was deleted from the directory: told and read, and nothing
is performed."""

from typing import Any

import pytest
from tests.api.conftest import A, World

from bartizan.auth.caller import Caller
from bartizan.extend import RESOURCES

pytestmark = pytest.mark.anyio
ROLES = "/v1.0/roleManagement/directory"
GROUPS = "/v1.0/identityGovernance/privilegedAccess/group"
ADMINISTRATOR = "62e90394-69f5-4237-9190-012177145e10"
ASKED: dict[str, Any] = {
    "action": "selfActivate",
    "principalId": "ada",
    "roleDefinitionId": ADMINISTRATOR,
    "directoryScopeId": "/",
    "justification": "An outage",
    "scheduleInfo": {
        "startDateTime": "2026-11-20T08:00:00Z",
        "expiration": {"type": "afterDuration", "duration": "PT5H"},
    },
    "ticketInfo": {"ticketNumber": "CONTOSO:Normal-67890", "ticketSystem": "MS Project"},
}
TOLD = {**ASKED, "id": "r1", "status": "Provisioned", "createdDateTime": "2026-11-20T07:59:00Z"}


@pytest.mark.parametrize("name", ["roleAssignmentScheduleRequests", "roleEligibilityScheduleRequests"])
async def test_requests_for_roles(world: World, name: str) -> None:
    await world.post("/v1.0/users", {"id": "ada", "userPrincipalName": "ada@x", "displayName": "Ada"})
    role = {"id": "r", "displayName": "Global Administrator", "roleTemplateId": ADMINISTRATOR}
    await world.post("/v1.0/directoryRoles", role)
    target = name.replace("ScheduleRequests", "Schedules")
    schedule = {"id": "s1", "principalId": "ada", "roleDefinitionId": ADMINISTRATOR, "directoryScopeId": "/"}
    await world.post(f"{ROLES}/{target}", schedule)
    made = await world.post(f"{ROLES}/{name}", {**TOLD, "targetScheduleId": "s1"})
    assert (made["id"], made["status"], made["action"]) == ("r1", "Provisioned", "selfActivate")
    assert made["ticketInfo"]["ticketNumber"] == "CONTOSO:Normal-67890"
    wanted = "$filter=principalId eq 'ada' and status eq 'Provisioned'&$expand=principal,roleDefinition,targetSchedule"
    for version in ("v1.0", "beta"):
        (found,) = (await world.get(f"{ROLES}/{name}?{wanted}".replace("v1.0", version)))["value"]
        assert found["principal"]["displayName"] == "Ada" and found["targetSchedule"]["id"] == "s1"
        assert found["roleDefinition"]["displayName"] == "Global Administrator"
    assert (await world.get(f"{ROLES}/{name}/r1"))["justification"] == "An outage"


@pytest.mark.parametrize("word", ["assignment", "eligibility"])
async def test_requests_for_groups(world: World, word: str) -> None:
    await world.post("/v1.0/groups", {"id": "g1", "displayName": "Operators"})
    given = {name: value for name, value in TOLD.items() if name not in ("roleDefinitionId", "directoryScopeId")}
    path = f"{GROUPS}/{word}ScheduleRequests"
    await world.post(path, {**given, "groupId": "g1", "accessId": "member"})
    (found,) = (await world.get(f"{path}?$filter=groupId eq 'g1' and action eq 'selfActivate'&$expand=group"))["value"]
    assert found["group"]["displayName"] == "Operators" and found["accessId"] == "member"


async def test_nobody_grants_what_is_asked_for(world: World) -> None:
    """Who asks for a role is told that nothing follows; nothing is stored."""
    path = f"{ROLES}/roleAssignmentScheduleRequests"
    for body in (ASKED, {}, {**ASKED, "id": "r1"}, {**ASKED, "status": "Granted"}):
        await world.refused("POST", path, body, status=400, says="nothing carries out a request")
    await world.refused("POST", path, TOLD, status=403, by="reader")
    assert (await world.get(path))["value"] == []
    await world.refused("POST", path, {"id": "r0", "status": "Granted"}, status=400, says="needs action, principalId")
    await world.post(path, TOLD)
    await world.refused("POST", f"{path}/r1/cancel", status=501, says="nothing carries out")
    await world.refused("PATCH", f"{path}/r1", {"status": "Revoked"}, status=405, says="stays as it was made")


DELETED = "/v1.0/directory/deletedItems"


async def test_what_was_deleted(world: World) -> None:
    for number, name in enumerate(("Ann", "Ben", "Cid")):
        gone = {"deletedDateTime": f"2026-11-0{number + 1}T00:00:00Z", "displayName": name}
        await world.post(f"{DELETED}/microsoft.graph.user", {"id": f"u{number}", **gone, "userPrincipalName": name})
    await world.post(
        f"{DELETED}/microsoft.graph.application",
        {"id": "a1", "appId": "an-app", "displayName": "App", "deletedDateTime": "2026-11-02T00:00:00Z"},
    )
    users = f"{DELETED}/microsoft.graph.user"
    assert [each["id"] for each in await world.every(f"{users}?$top=1")] == ["u2", "u1", "u0"]
    wanted = "$filter=deletedDateTime ge 2026-11-02T00:00:00Z&$orderby=deletedDateTime&$count=true&$select=id,mail"
    found = await world.get(f"{users}?{wanted}", consistencylevel="eventual")
    assert (found["@odata.count"], [each["id"] for each in found["value"]]) == (2, ["u1", "u2"])
    assert (await world.get(f"{DELETED}/graph.user?$filter=displayName eq 'ann'"))["value"][0]["id"] == "u0"
    one = await world.get(f"{DELETED}/a1")
    assert one["@odata.type"] == "#microsoft.graph.application" and one["displayName"] == "App"
    assert (await world.get("/v1.0/users"))["value"] == []
    await world.refused("GET", f"{DELETED}/none", status=404)
    await world.refused("GET", DELETED, status=501, says="name a type")
    await world.refused("DELETE", f"{DELETED}/a1", status=501, says="nothing performs it")
    await world.refused("POST", users, {"id": "u9", "displayName": "x"}, status=400, says="deletedDateTime")


async def test_roles_held_through_groups(world: World) -> None:
    """The assignments of a principal and of the groups that it is in, as they are assigned."""
    await world.post("/v1.0/users", {"id": "ada", "userPrincipalName": "ada@x", "displayName": "Ada"})
    for group in ("inner", "outer", "other"):
        await world.post("/v1.0/groups", {"id": group, "displayName": group})
    for role, template in (("r1", ADMINISTRATOR), ("r2", "a-template"), ("r3", "another")):
        await world.post("/v1.0/directoryRoles", {"id": role, "displayName": role, "roleTemplateId": template})
    members = (
        ("groups/inner", "ada"), ("groups/outer", "inner"),
        ("directoryRoles/r1", "ada"), ("directoryRoles/r2", "outer"), ("directoryRoles/r3", "other"),
    )  # fmt: skip
    for path, member in members:
        link = {"@odata.id": f"https://graph.microsoft.com/v1.0/directoryObjects/{member}"}
        assert (await world.call("POST", f"/v1.0/{path}/members/$ref", link)).status_code == 204

    async def held(filter: str) -> list[tuple[str, str]]:
        path = f"{ROLES}/transitiveRoleAssignments?$count=true&$filter={filter}&$expand=roleDefinition"
        found = await world.get(path, consistencylevel="eventual")
        assert found["@odata.count"] == len(found["value"])
        return sorted((each["principalId"], each["roleDefinition"]["displayName"]) for each in found["value"])

    assert await held("principalId eq 'ada'") == [("ada", "r1"), ("outer", "r2")]
    assert await held("principalId eq 'inner'") == [("outer", "r2")]
    assert await held(f"principalId eq 'ada' and roleDefinitionId eq '{ADMINISTRATOR}'") == [("ada", "r1")]
    assert await held("principalId in ('inner','other') and directoryScopeId eq '/'") == [
        ("other", "r3"), ("outer", "r2"),
    ]  # fmt: skip
    for filter in ("roleDefinitionId eq 'x'", "principalId eq 'ada' or principalId eq 'x'", "principalId ne 'ada'"):
        path = f"{ROLES}/transitiveRoleAssignments?$filter={filter}"
        await world.refused("GET", path, status=400, says="whose roles are meant")
    await world.refused("GET", f"{ROLES}/transitiveRoleAssignments", status=400, says="whose roles are meant")
    path = f"{ROLES}/transitiveRoleAssignments"
    (one,) = (await world.get(f"{path}?$filter=principalId eq 'inner'"))["value"]
    assert (await world.get(f"{path}/{one['id']}?$expand=principal"))["principal"]["displayName"] == "outer"
    assert (await world.get(f"{path}/{one['id']}/roleDefinition"))["displayName"] == "r2"
    await world.refused("GET", f"{path}/none/directoryScope", status=404)


async def test_sets_that_are_made_whole_are_sorted(world: World) -> None:
    """Definitions and schedules, page by page; what has no value comes first, and last when descending."""
    for id, name in (("r1", "b"), ("r2", "A"), ("r3", "b")):
        template = {"r1": "t1", "r2": "t2", "r3": "t3"}[id]
        await world.post("/v1.0/directoryRoles", {"id": id, "displayName": name, "roleTemplateId": template})
    schedule = {"roleDefinitionId": "t1", "directoryScopeId": "/"}
    for id, start in (("s1", "2026-11-02T00:00:00Z"), ("s2", None), ("s3", "2026-11-01T00:00:00Z")):
        body = {**schedule, "id": id, "principalId": f"p-{id}", "startDateTime": start}
        await world.post(f"{ROLES}/roleAssignmentScheduleInstances", body)
    for path, order, found in (
        ("roleDefinitions", "displayName", ["t2", "t1", "t3"]),
        ("roleDefinitions", "displayName desc,id desc", ["t3", "t1", "t2"]),
        ("roleAssignmentScheduleInstances", "startDateTime", ["s2", "s3", "s1"]),
        ("roleAssignmentScheduleInstances", "startDateTime desc", ["s1", "s3", "s2"]),
        ("roleAssignments", "principalId desc", None),
    ):
        pages = [await world.every(f"{ROLES}/{path}?$orderby={order}&$top={top}") for top in (1, 2, 99)]
        assert pages[0] == pages[1] == pages[2] != [], (path, order)
        ids = [each["id"] for each in pages[0]]
        assert found is None or ids == found, (path, order, ids)
    principals = [each["principalId"] for each in pages[0]]
    assert principals == sorted(principals, reverse=True)
    await world.refused("GET", f"{ROLES}/roleDefinitions?$orderby=rolePermissions", status=400, says="collection")
    assert len((await world.get("/v1.0/organization?$orderby=displayName"))["value"]) == 1


async def test_who_reads_the_directory_reads_no_requests_or_schedules(world: World) -> None:
    """They hold reasons and tickets, for which Graph wants permissions of their own."""
    world.known["all"] = Caller(A, "app-d", "D", permissions=frozenset({"Directory.Read.All"}))
    world.known["own"] = Caller(A, "app-s", "S", permissions=frozenset({"RoleAssignmentSchedule.Read.Directory"}))
    for name in ("roleAssignmentScheduleRequests", "roleAssignmentSchedules"):
        await world.refused("GET", f"/v1.0/roleManagement/directory/{name}", status=403, by="all")
        assert (await world.get(f"/v1.0/roleManagement/directory/{name}", by="own"))["value"] == []
    assert (await world.get("/v1.0/roleManagement/directory/roleAssignments", by="all"))["value"] == []


MINE = "filterByCurrentUser(on='principal')"
SETS = [
    *(
        f"{ROLES}/role{word}Schedule{end}"
        for word in ("Assignment", "Eligibility")
        for end in ("s", "Instances", "Requests")
    ),
    *(
        f"{GROUPS}/{word}Schedule{end}"
        for word in ("assignment", "eligibility")
        for end in ("s", "Instances", "Requests")
    ),
]


@pytest.mark.parametrize("path", SETS)
async def test_ones_own(world: World, path: str) -> None:
    """People see what they may activate and have asked for, with the options of a list and without a directory role:
    by the id of the account, and by that of the directory's user of the same name."""
    await world.post("/v1.0/users", {"id": "ada", "userPrincipalName": "guest@contoso.example", "displayName": "Ada"})
    for_role = {"roleDefinitionId": ADMINISTRATOR, "directoryScopeId": "/"}
    for_group = {"groupId": "g1", "accessId": "member"}
    given = {"action": "selfActivate", "status": "Provisioned"} if path.endswith("Requests") else {}
    given = {**given, **(for_group if "group" in path else for_role)}
    for id, principal in (("1", "ada"), ("2", "id-of-guest"), ("3", "ada"), ("4", "ben")):
        await world.post(path, {**given, "id": id, "principalId": principal})
    scopes = next(each for each in RESOURCES if each.path == path.removeprefix("/v1.0/")).read.delegated
    world.known["guest"] = Caller(
        A, "console", "Console", "id-of-guest", "guest@contoso.example", "Guest", frozenset(scopes[:1])
    )
    found = await world.every(f"{path}/{MINE}?$top=2&$orderby=id", by="guest")
    assert [each["id"] for each in found] == ["1", "2", "3"]
    page = await world.get(f"{path}/{MINE}?$select=principalId&$filter=id eq '3'&$expand=principal", by="guest")
    assert page["@odata.context"].partition("#")[2].startswith("Collection(microsoft.graph.")
    assert [(each["principalId"], each["principal"]["displayName"]) for each in page["value"]] == [("ada", "Ada")]
    assert (await world.get(f"{path}/{MINE.upper()}", by="analyst"))["value"] == []
    await world.refused("GET", path, by="guest", status=403)
    world.known["guest"] = Caller(A, "console", "Console", "id-of-guest", None, "Guest", frozenset({"User.Read"}))
    await world.refused("GET", f"{path}/{MINE}", by="guest", status=403)


async def test_ones_own_by_what_is_not_told(world: World) -> None:
    path = f"{ROLES}/roleAssignmentScheduleRequests/filterByCurrentUser"
    await world.refused("GET", f"{path}(on='approver')", by="analyst", status=501, says="for whom it is")
    await world.refused("GET", f"{path}(on='x')", by="analyst", status=400, says="principal")
    await world.refused("GET", f"{path}()", by="analyst", status=400, says="needs on")
    await world.refused("GET", f"{path}(on='principal')", status=400, says="delegated")
