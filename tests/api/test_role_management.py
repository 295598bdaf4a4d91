"""Directory roles as definitions and assignments, the domain of a tenant, and what is known but not served."""

import pytest
from tests.api.conftest import B, World

pytestmark = pytest.mark.anyio
ADMINISTRATOR = "62e90394-69f5-4237-9190-012177145e10"
READER = "5d6b6bb7-de71-4623-b4af-96380a352509"
DEFINITIONS = "/v1.0/roleManagement/directory/roleDefinitions"
ASSIGNMENTS = "/v1.0/roleManagement/directory/roleAssignments"


@pytest.fixture
async def roles(world: World) -> World:
    """ada and a group administer, ada also reads."""
    for id in ("ada", "bo"):
        await world.post("/v1.0/users", {"id": id, "userPrincipalName": f"{id}@contoso.example"})
    await world.post("/v1.0/groups", {"id": "admins", "displayName": "Admins"})
    for template, name, members in (
        (ADMINISTRATOR, "Global Administrator", ("ada", "admins")),
        (READER, "Security Reader", ("ada",)),
    ):
        body = {"displayName": name, "roleTemplateId": template, "description": f"A {name}."}
        role = await world.post("/v1.0/directoryRoles", body)
        for member in members:
            link = {"@odata.id": f"https://graph.microsoft.com/v1.0/directoryObjects/{member}"}
            answer = await world.call("POST", f"/v1.0/directoryRoles/{role['id']}/members/$ref", link)
            assert answer.status_code == 204, answer.text
    return world


async def test_definitions(roles: World) -> None:
    """One for each directory role, under the id of its template."""
    found = (await roles.get(DEFINITIONS))["value"]
    assert [(each["id"], each["displayName"], each["isBuiltIn"]) for each in found] == [
        (READER, "Security Reader", True),
        (ADMINISTRATOR, "Global Administrator", True),
    ]
    one = await roles.get(f"{DEFINITIONS}/{ADMINISTRATOR}")
    assert (one["templateId"], one["description"]) == (ADMINISTRATOR, "A Global Administrator.")
    assert await roles.get(f"{DEFINITIONS}/{ADMINISTRATOR.upper()}") == one
    named = await roles.get(f"{DEFINITIONS}?$filter=displayName eq 'Security Reader' and isBuiltIn eq true&$select=id")
    assert [each["id"] for each in named["value"]] == [READER]
    await roles.refused("GET", f"{DEFINITIONS}/none", status=404)


async def test_assignments(roles: World) -> None:
    """Each direct member of each role; by role, by principal, page by page."""
    found = await roles.get(f"{ASSIGNMENTS}?$count=true")
    assert found["@odata.count"] == len(found["value"]) == 3
    assert {each["directoryScopeId"] for each in found["value"]} == {"/"}
    of_role = await roles.get(f"{ASSIGNMENTS}?$filter=roleDefinitionId eq '{ADMINISTRATOR}'")
    assert {each["principalId"] for each in of_role["value"]} == {"ada", "admins"}
    of_ada = await roles.get(f"{ASSIGNMENTS}?$filter=principalId eq 'ada'&$select=roleDefinitionId")
    assert {each["roleDefinitionId"] for each in of_ada["value"]} == {ADMINISTRATOR, READER}
    link, seen = f"{ASSIGNMENTS}?$top=1", []
    while link:
        page = await roles.get(link)
        seen += page["value"]
        link = page.get("@odata.nextLink", "")
    assert seen == found["value"]
    assert (await roles.get(f"{ASSIGNMENTS}?$skip=1&$top=1"))["value"] == found["value"][1:2]
    assert (await roles.get(f"{ASSIGNMENTS}/{seen[0]['id']}"))["principalId"] == seen[0]["principalId"]
    assert (await roles.call("GET", f"{ASSIGNMENTS}/$count")).text == "3"
    counted = await roles.get(f"{ASSIGNMENTS}?$top=0&$count=true")
    assert (counted["@odata.count"], counted["value"]) == (3, [])
    assert (await roles.get(ASSIGNMENTS, by="other"))["value"] == []
    await roles.refused("GET", f"{ASSIGNMENTS}/{seen[0]['id']}", status=404, by="other")
    await roles.refused("GET", f"{ASSIGNMENTS}?$expand=principal", status=400, says="principal")
    await roles.refused("GET", f"{ASSIGNMENTS}?$orderby=principalId", status=400)
    await roles.refused("POST", ASSIGNMENTS, {"principalId": "bo"}, status=501, says="nothing performs it")


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("policies/authorizationPolicy", 501, "conditional access"),
        ("policies/identitySecurityDefaultsEnforcementPolicy", 501, "conditional access"),
        ("contacts?$top=1", 501, "directory connectors"),
        ("directory/deletedItems/microsoft.graph.user", 501, "directory connectors"),
        ("roleManagement/directory/roleEligibilityScheduleInstances", 501, "eligible|activate"),
        ("roleManagement/entitlementManagement/roleDefinitions", 501, "roles of the directory"),
        ("deviceManagement/managedDevices", 501, "device inventory"),
        ("reports/getOffice365ActiveUserDetail(period='D7')", 501, "registration"),
        ("users/ada/messages", 405, "mail"),
        ("nothing/at/all", 404, "nothing"),
    ],
)
async def test_what_is_known_and_not_served_says_why(roles: World, path: str, status: int, says: str) -> None:
    """Clients that read whole directories learn that it is not kept, not that it does not exist."""
    for version in ("v1.0", "beta"):
        answer = await roles.call("GET", f"/{version}/{path}")
        assert answer.status_code == status, answer.text
        assert any(word in answer.json()["error"]["message"] for word in says.split("|")), answer.text


async def test_the_domain_of_nobody_known(world: World) -> None:
    """The tenants of this suite have no account: there is no domain to tell, of one's own or of another's."""
    assert (await world.get("/v1.0/domains"))["value"] == []
    await world.refused("GET", f"/v1.0/domains/{B}", status=404)
