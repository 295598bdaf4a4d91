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
    await roles.refused("GET", f"{ASSIGNMENTS}?$expand=appScope", status=400, says="principal, roleDefinition")
    await roles.refused("GET", f"{ASSIGNMENTS}?$orderby=nope", status=400, says="nope")
    await roles.refused("POST", ASSIGNMENTS, {"principalId": "bo"}, status=501, says="nothing performs it")


async def test_assignments_with_what_they_name(roles: World) -> None:
    """The principal, of whatever type, and the definition, as $expand and as paths; of nobody known, null."""
    for text in ("principal,roleDefinition", "*", "roleDefinition($select=displayName),principal($select=id)"):
        found = (await roles.get(f"{ASSIGNMENTS}?$expand={text}&$filter=roleDefinitionId eq '{ADMINISTRATOR}'"))[
            "value"
        ]
        assert {each["principal"]["id"]: each["principal"]["@odata.type"] for each in found} == {
            "ada": "#microsoft.graph.user",
            "admins": "#microsoft.graph.group",
        }, text
        assert {each["roleDefinition"]["displayName"] for each in found} == {"Global Administrator"}
    one = f"{ASSIGNMENTS}/{found[0]['id']}"
    assert (await roles.get(f"{one}?$expand=principal"))["principal"]["id"] == found[0]["principalId"]
    assert (await roles.get(f"{one}/principal"))["id"] == found[0]["principalId"]
    assert (await roles.get(f"{one}/roleDefinition"))["displayName"] == "Global Administrator"
    assert (await roles.get(f"{one}/roleDefinition?$select=id"))["id"] == ADMINISTRATOR
    await roles.refused("GET", f"{ASSIGNMENTS}?$expand=principal($top=x)", status=400, says="$top")


async def test_what_a_role_is_held_over(roles: World) -> None:
    """The tenant, a unit or an application; the id of a definition in another case is the same definition."""
    await roles.post("/v1.0/directory/administrativeUnits", {"id": "oslo", "displayName": "Oslo"})
    await roles.post("/v1.0/servicePrincipals", {"id": "sp", "appId": "app", "displayName": "Backup"})
    for id, scope in (("s1", "/administrativeUnits/oslo"), ("s2", "/sp"), ("s3", "/gone")):
        told = {"id": id, "principalId": "bo", "roleDefinitionId": READER.upper(), "directoryScopeId": scope}
        await roles.post(ACTIVE, told)
    found = (await roles.get(f"{ASSIGNMENTS}?$expand=*"))["value"]
    assert {each["directoryScopeId"]: (each["directoryScope"] or {}).get("@odata.type") for each in found} == {
        "/": "#microsoft.graph.organization",
        "/administrativeUnits/oslo": "#microsoft.graph.administrativeUnit",
        "/sp": "#microsoft.graph.servicePrincipal",
        "/gone": None,
    }
    assert {each["roleDefinition"]["displayName"] for each in found} == {"Global Administrator", "Security Reader"}
    assert (await roles.get(f"{ACTIVE}/s1/directoryScope"))["displayName"] == "Oslo"


ELIGIBLE = "/v1.0/roleManagement/directory/roleEligibilityScheduleInstances"
ACTIVE = "/v1.0/roleManagement/directory/roleAssignmentScheduleInstances"


def _instance(id: str, principal: str, **more: str) -> dict[str, str]:
    return {"id": id, "principalId": principal, "roleDefinitionId": READER, "directoryScopeId": "/", **more}


async def test_who_is_eligible(roles: World) -> None:
    """Told by a directory; nobody is before. Both the schedule and its instance, with what they name."""
    assert (await roles.get(ELIGIBLE))["value"] == []
    sent = _instance("e1", "bo", memberType="Direct", startDateTime="2026-01-01T00:00:00Z")
    await roles.post(ELIGIBLE, sent)
    await roles.post(
        ELIGIBLE.replace("Instances", "s"), {**_instance("e1", "bo", memberType="Direct"), "status": "Provisioned"}
    )
    for path in (ELIGIBLE, ELIGIBLE.replace("Instances", "s"), ELIGIBLE.replace("v1.0", "beta")):
        (found,) = (await roles.get(f"{path}?$expand=roleDefinition,principal"))["value"]
        assert found["principal"]["userPrincipalName"] == "bo@contoso.example"
        assert (found["roleDefinition"]["displayName"], found["memberType"]) == ("Security Reader", "Direct")
        assert "@odata.type" not in found
        of_bo = await roles.get(f"{path}?$filter=principalId eq 'bo' and roleDefinitionId eq '{READER}'")
        assert [each["id"] for each in of_bo["value"]] == ["e1"]
    await roles.post(ELIGIBLE, _instance("e2", "gone"))
    lost = await roles.get(f"{ELIGIBLE}/e2?$expand=*")
    assert (lost["principal"], lost["roleDefinition"]["id"]) == (None, READER)
    await roles.refused("GET", f"{ELIGIBLE}/e2/principal", status=404)
    await roles.refused("POST", ELIGIBLE, {"principalId": "bo"}, status=400, says="roleDefinitionId")
    await roles.refused("PATCH", f"{ELIGIBLE}/e1", {"memberType": "Group"}, status=501, says="nothing performs")
    assert (await roles.get(ELIGIBLE, by="other"))["value"] == []


async def test_who_is_active(roles: World) -> None:
    """Members of roles, whose times nobody told, and who holds a role for a time; what has ended is no assignment."""
    held = (await roles.get(ACTIVE))["value"]
    assert {(each["principalId"], each["assignmentType"]) for each in held} == {("ada", None), ("admins", None)}
    for id, principal, scope, ends in (
        ("a1", "bo", "/administrativeUnits/oslo", "2026-12-01T00:00:00Z"),
        ("a2", "ada", "/", "2026-12-01T00:00:00Z"),
        ("a3", "bo", "/", "2026-11-01T00:00:00Z"),
    ):
        told = _instance(id, principal, directoryScopeId=scope, endDateTime=ends, assignmentType="Activated")
        await roles.post(ACTIVE, told)
    found = (await roles.get(f"{ACTIVE}?$filter=assignmentType eq 'Activated'&$expand=principal"))["value"]
    assert [(each["id"], each["principal"]["id"]) for each in found] == [("a1", "bo"), ("a2", "ada"), ("a3", "bo")]
    assert (await roles.get(f"{ACTIVE}/a1"))["endDateTime"].startswith("2026-12-01")
    readers = (await roles.get(f"{ACTIVE}?$filter=roleDefinitionId eq '{READER}' and principalId eq 'ada'"))["value"]
    assert [each["id"] for each in readers] == ["a2"]  # in the place of what the role's members say
    assigned = (await roles.get(f"{ASSIGNMENTS}?$filter=roleDefinitionId eq '{READER}'"))["value"]
    assert sorted((each["principalId"], each["directoryScopeId"]) for each in assigned) == [
        ("ada", "/"),
        ("bo", "/administrativeUnits/oslo"),
    ]


async def test_told_definitions(roles: World) -> None:
    """With their permissions, in the place of what directoryRoles say of the same role; custom ones beside them."""
    permissions = [{"allowedResourceActions": ["microsoft.directory/users/basic/read"]}]
    for id, name, built_in in ((READER, "Security Reader", True), ("own", "Desk", False)):
        body = {"id": id, "displayName": name, "isBuiltIn": built_in, "rolePermissions": permissions}
        made = await roles.post(DEFINITIONS, body)
        assert made["rolePermissions"][0]["allowedResourceActions"] == permissions[0]["allowedResourceActions"]
    found = (await roles.get(DEFINITIONS))["value"]
    assert [(each["id"], bool(each["rolePermissions"])) for each in found] == [
        (READER, True),
        (ADMINISTRATOR, False),
        ("own", True),
    ]
    named = (await roles.get("/v1.0/directoryRoleTemplates"))["value"]
    assert {each["id"] for each in named} == {ADMINISTRATOR, READER}
    assert (await roles.get(f"/beta/directoryRoleTemplates/{READER}"))["displayName"] == "Security Reader"


async def test_rules_of_roles(roles: World) -> None:
    """A policy with its rules, found by the role that it is of; one rule by its id."""
    rule = {
        "@odata.type": "#microsoft.graph.unifiedRoleManagementPolicyEnablementRule",
        "id": "Enablement_EndUser_Assignment",
        "enabledRules": ["MultiFactorAuthentication", "Justification"],
        "target": {"caller": "EndUser", "operations": ["all"], "level": "Assignment"},
    }
    policies, of_roles = "/v1.0/policies/roleManagementPolicies", "/v1.0/policies/roleManagementPolicyAssignments"
    scope = {"scopeId": "/", "scopeType": "DirectoryRole"}
    await roles.post(policies, {"id": "p1", **scope, "rules": [rule], "effectiveRules": [rule]})
    await roles.post(of_roles, {"id": "p1_r", **scope, "policyId": "p1", "roleDefinitionId": ADMINISTRATOR})
    wanted = f"$filter=scopeId eq '/' and scopeType eq 'DirectoryRole' and roleDefinitionId eq '{ADMINISTRATOR}'"
    for text in ("policy($expand=rules)", "policy($expand=effectiveRules,rules)", "policy($select=id;$expand=rules)"):
        (found,) = (await roles.get(f"{of_roles}?{wanted}&$expand={text}"))["value"]
        assert found["policy"]["rules"][0]["enabledRules"] == rule["enabledRules"], text
    (found,) = (await roles.get(f"{policies}?$filter=scopeId eq '/' and scopeType eq 'DirectoryRole'&$expand=rules"))[
        "value"
    ]
    assert found["rules"][0]["@odata.type"] == rule["@odata.type"]
    assert (await roles.get(f"{policies}/p1/rules"))["value"] == found["rules"]
    one = await roles.get(f"{policies}/p1/rules/enablement_EndUser_Assignment")
    assert one["@odata.context"].endswith("#policies/roleManagementPolicies('p1')/rules/$entity")
    assert one["enabledRules"] == rule["enabledRules"]
    chosen = await roles.get(f"{policies}/p1?$select=id&$expand=rules")
    assert {"id", "rules"} <= chosen.keys() and "effectiveRules" not in chosen
    await roles.refused("GET", f"{policies}/p1/rules/none", status=404)
    await roles.refused("GET", f"{policies}/p1/rules/{one['id']}/target", status=501)
    await roles.refused("GET", f"{policies}?$expand=rules($top=1)", status=400, says="whole")
    await roles.refused("GET", f"{of_roles}?$expand=policy($expand=users)", status=400, says="rules")


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("policies/federatedTokenValidationPolicy", 501, "security clients read"),
        ("contacts?$top=1", 501, "directory connectors"),
        ("directory/deletedItems", 501, "name a type"),
        ("directory/deletedItems/x/restore", 501, "directory connectors"),
        ("roleManagement/entitlementManagement/roleDefinitions", 501, "roles of the directory"),
        ("deviceManagement/deviceConfigurations", 501, "device inventory"),
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
