"""What published clients of Graph and of the services before it rely on beyond the documentation's main forms.

Where a client is known for it, it is named: Terraform's azuread provider up to version 2 and InsightConnect write the
tenant into the path, the Azure CLI `myorganization`; SDKs on Java's HttpURLConnection cannot send PATCH.
"""

from typing import Any

import pytest
from tests.api.conftest import A, B, World

pytestmark = pytest.mark.anyio
EVENTUAL = {"consistencylevel": "eventual"}
ROLE = "62e90394-69f5-4237-9190-012177145e10"


@pytest.fixture
async def known(world: World) -> World:
    """Two users, a group that holds one of them, a role with its template, an application."""
    for id in ("u1", "u2"):
        await world.post("/v1.0/users", {"id": id, "userPrincipalName": f"{id}@contoso.example", "displayName": id})
    await world.post("/v1.0/groups", {"id": "g1", "displayName": "Admins"})
    await world.post("/v1.0/directoryRoles", {"id": "r1", "displayName": "Global", "roleTemplateId": ROLE})
    await world.post("/v1.0/servicePrincipals", {"id": "s1", "displayName": "App", "appId": "a-1"})
    body = {"@odata.id": "https://graph.microsoft.com/v1.0/directoryObjects/u1"}
    assert (await world.call("POST", "/v1.0/groups/g1/members/$ref", body)).status_code == 204
    return world


@pytest.mark.parametrize("tenant", [A, A.upper(), "myorganization", "myOrganization"])
async def test_the_own_tenant_in_the_path(known: World, tenant: str) -> None:
    """Lists, objects, actions, counts and links are the same with the tenant before them; links keep it."""
    assert (await known.get(f"/v1.0/{tenant}/users/u1"))["id"] == "u1"
    page = await known.get(f"/v1.0/{tenant}/users?$top=1")
    assert f"/{tenant}/users?$skiptoken=" in page["@odata.nextLink"]
    assert [each["id"] for each in (await known.get(page["@odata.nextLink"]))["value"]] == ["u2"]
    assert (await known.call("GET", f"/v1.0/{tenant}/users/$count", **EVENTUAL)).text == "2"
    answer = await known.call("POST", f"/beta/{tenant}/riskyUsers/dismiss", {"userIds": ["u1"]})
    assert answer.status_code == 204


async def test_a_foreign_tenant_in_the_path(known: World) -> None:
    """It is an unknown segment, whatever there is behind it; the token alone decides whose data are asked for."""
    await known.refused("GET", f"/v1.0/{B}/users", status=404, says=B)
    await known.refused("GET", f"/v1.0/{B}", status=404, says=B)
    assert (await known.get("/v1.0/myorganization/users", by="other"))["value"] == []
    await known.refused("GET", f"/v1.0/{A}/users", by="other", status=404, says=A)


@pytest.mark.parametrize(
    ("path", "id"),
    [
        (f"directoryRoles/roleTemplateId={ROLE}", "r1"),
        (f"directoryRoles/roletemplateid='{ROLE}'", "r1"),
        ("servicePrincipals/appId=a-1", "s1"),
        ("users/userPrincipalName=u2@contoso.example", "u2"),
    ],
)
async def test_keys_that_name_themselves(known: World, path: str, id: str) -> None:
    """`name=value` as a segment stands for the key in brackets; what is no key is an id."""
    assert (await known.get(f"/v1.0/{path}"))["id"] == id
    assert (await known.get(f"/v1.0/{path}/id"))["value"] == id
    await known.refused("GET", "/v1.0/users/mail=x", status=404, says="mail=x")


async def test_dollar_signs_may_be_escaped(known: World) -> None:
    part = {"id": "1", "method": "GET", "url": "/users/u1"}
    answer = await known.post("/v1.0/%24batch", {"requests": [part]})
    assert answer["responses"][0]["body"]["id"] == "u1"
    assert (await known.call("GET", "/v1.0/%24metadata")).status_code == 200
    assert (await known.call("GET", "/v1.0/users/%24count", **EVENTUAL)).text == "2"


async def test_batches_count_with_numbers(known: World) -> None:
    """Ids that are numbers are answered as texts, and dependsOn may name them."""
    parts = [
        {"id": 1, "method": "GET", "url": "/users/nobody"},
        {"id": 2, "method": "GET", "url": f"/{A}/users/u1", "dependsOn": [1]},
        {"id": 3, "method": "GET", "url": "myorganization/users/u1"},
    ]
    answers = (await known.post("/v1.0/$batch", {"requests": parts}))["responses"]
    assert {each["id"]: each["status"] for each in answers} == {"1": 404, "2": 424, "3": 200}
    wrong: Any
    for wrong in (True, None, 1.5, []):
        await known.refused("POST", "/v1.0/$batch", {"requests": [{**parts[0], "id": wrong}]}, status=400, says="id")


async def test_verbs_that_are_sent_as_post(known: World) -> None:
    """POST that says PATCH or DELETE is that, with its permissions; no other verb is taken from a header."""
    made = await known.post("/v1.0/security/alerts_v2", {"title": "t"})
    path = f"/v1.0/security/alerts_v2/{made['id']}"
    for name in ("x_http_method_override", "x_http_method"):
        for status in ("resolved", "new"):
            answer = await known.call("POST", path, {"status": status}, **{name: "patch"})
            assert (answer.status_code, answer.json()["status"]) == (200, status), answer.text
    await known.refused("POST", path, {"status": "new"}, by="reader", status=403, x_http_method="PATCH")
    await known.refused("POST", path, {"status": "new"}, status=405, x_http_method="GET")
    await known.refused("GET", f"{path}/x", status=404, x_http_method="PATCH")


async def test_browsers_may_ask_from_anywhere(known: World) -> None:
    """The preflight needs no token; what it leads to does, and says to the browser that it may be read."""
    asked = {"origin": "https://app.example", "access_control_request_method": "PATCH"}
    wanted = "authorization,consistencylevel,x-client-sku"
    answer = await known.call("OPTIONS", "/v1.0/users", by=None, access_control_request_headers=wanted, **asked)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-headers"] == wanted
    assert "PATCH" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers
    odd = await known.call("OPTIONS", "/v1.0/users", by=None, access_control_request_headers="a\tb", **asked)
    assert odd.headers["access-control-allow-headers"] == "authorization, content-type"
    for by, status in (("admin", 200), (None, 401)):
        read = await known.call("GET", "/v1.0/users", by=by, origin="https://app.example")
        assert read.status_code == status
        assert read.headers["access-control-allow-origin"] == "*"
        assert "request-id" in read.headers["access-control-expose-headers"]
    assert "access-control-allow-origin" not in (await known.call("GET", "/v1.0/users")).headers
    await known.refused("OPTIONS", "/v1.0/users", by=None, status=401)


@pytest.mark.parametrize(
    ("path", "by", "status", "code"),
    [
        ("users/nobody", "admin", 404, "Request_ResourceNotFound"),
        ("users/nobody/memberOf", "admin", 404, "Request_ResourceNotFound"),
        ("groups/g1/members/u2", "admin", 404, "Request_ResourceNotFound"),
        ("directoryObjects/nobody", "admin", 404, "Request_ResourceNotFound"),
        ("users", "none", 403, "Authorization_RequestDenied"),
        ("groups/g1/members", "none", 403, "Authorization_RequestDenied"),
        ("security/alerts_v2/nothing", "admin", 404, "ResourceNotFound"),
        ("security/alerts_v2", "none", 403, "Forbidden"),
        ("auditLogs/signIns", "guest", 403, "Forbidden"),
    ],
)
async def test_codes_of_the_directory(known: World, path: str, by: str, status: int, code: str) -> None:
    """Its clients compare with its own codes; a refusal begins with the words that scripts look for."""
    problem = await known.refused("GET", f"/v1.0/{path}", by=by, status=status)
    assert problem["code"] == code
    words = "Insufficient privileges to complete the operation." if status == 403 else "does not exist"
    assert words in problem["message"] or status == 404


async def test_names_of_beta_in_select(known: World) -> None:
    """v1.0 takes them where its type is open, as Elastic's entity analytics sends it; misspelt ones stay errors."""
    await known.post("/v1.0/devices", {"id": "d1", "deviceId": "dev-1", "displayName": "PC"})
    chosen = "accountEnabled,deviceId,displayName,operatingSystem,physicalIds,extensionAttributes"
    page = await known.get(f"/v1.0/devices/delta?$select={chosen}")
    assert page["value"][0]["deviceId"] == "dev-1"
    assert (await known.get("/v1.0/devices?$select=id,extensionAttributes"))["value"][0]["id"] == "d1"
    await known.refused("GET", "/v1.0/devices?$select=extensionAttribute", status=400, says="extensionAttribute")
    await known.refused("GET", "/v1.0/identityProtection/riskDetections?$select=riskType", status=400, says="riskType")


async def test_the_organization(known: World) -> None:
    """Of each tenant itself alone, with the permission to read it."""
    (here,) = (await known.get("/v1.0/organization?$count=true"))["value"]
    assert here["id"] == A
    assert isinstance(here["verifiedDomains"], list)
    assert (await known.get(f"/v1.0/organization/{A}?$select=id"))["id"] == A
    assert (await known.call("GET", "/beta/organization/$count")).text == "1"
    assert [each["id"] for each in (await known.get("/v1.0/organization", by="other"))["value"]] == [B]
    await known.refused("GET", f"/v1.0/organization/{B}", status=404)
    await known.refused("GET", "/v1.0/organization", by="none", status=403)
    await known.refused("PATCH", f"/v1.0/organization/{A}", {"displayName": "x"}, status=501)


async def test_objects_by_their_id_alone(known: World) -> None:
    """The addresses of references lead somewhere; each object says what it is."""
    refs = (await known.get("/v1.0/groups/g1/members/$ref"))["value"]
    found = await known.get(refs[0]["@odata.id"])
    assert (found["id"], found["@odata.type"]) == ("u1", "#microsoft.graph.user")
    assert (await known.get("/beta/directoryObjects/r1?$select=displayName"))["displayName"] == "Global"
    await known.refused("GET", "/v1.0/directoryObjects/u1", by="other", status=404)
    await known.refused("GET", "/v1.0/directoryObjects", status=405)


async def test_objects_by_their_ids(known: World) -> None:
    """In the order asked for, of the types asked for; ids that nobody has are left out."""
    path = "/v1.0/directoryObjects/getByIds"

    async def asked(**body: Any) -> list[tuple[str, str]]:
        found = (await known.post(path, body))["value"]
        return [(each["id"], each["@odata.type"].rpartition(".")[2]) for each in found]

    every = [("g1", "group"), ("u2", "user"), ("s1", "servicePrincipal")]
    assert await asked(ids=["g1", "u2", "nobody", "s1", "u2"]) == every
    assert await asked(ids=["g1", "u2", "s1"], types=["user", "Group"]) == every[:2]
    assert await asked(ids=["g1", "u2", "s1"], types=["microsoft.graph.directoryObject"]) == every
    await known.refused("POST", path, {"ids": ["u1"], "types": ["printer"]}, status=400, says="printer")
    await known.refused("POST", path, {"ids": []}, status=400, says="1 to 1000")
    await known.refused("POST", path, {"ids": ["u1"]}, by="none", status=403)
    assert (await known.post(path, {"ids": ["u1"]}, by="other"))["value"] == []


@pytest.mark.parametrize("path", ["v1.0/policies/conditionalAccessPolicies", "beta/conditionalAccess/policies"])
async def test_other_names_of_conditional_access(known: World, path: str) -> None:
    body = {
        "displayName": "p",
        "state": "disabled",
        "conditions": {"users": {"includeUsers": ["All"]}, "applications": {"includeApplications": ["All"]}},
        "grantControls": {"operator": "OR", "builtInControls": ["mfa"]},
    }
    made = await known.post(f"/{path}", body)
    assert (await known.get(f"/{path}/{made['id']}"))["displayName"] == "p"
    assert (await known.get(f"/v1.0/identity/conditionalAccess/policies/{made['id']}"))["id"] == made["id"]


async def test_consistency_as_a_parameter(known: World) -> None:
    """Where the header cannot be set, in lists of batches and by clients that write it into every address: a count, a
    search and its next page, one object."""
    assert (await known.call("GET", "/v1.0/users/$count?ConsistencyLevel=eventual")).text == "2"
    page = await known.get('/v1.0/users?$search="displayName:u"&consistencyLevel=eventual&$count=true&$top=1')
    assert page["@odata.count"] == 2
    assert len((await known.get(page["@odata.nextLink"]))["value"]) == 1
    assert (await known.get("/v1.0/users/u1?consistencyLevel=eventual"))["id"] == "u1"
    await known.refused("GET", "/v1.0/users/$count?ConsistencyLevel=session", status=400, says="eventual")
    counted = {"id": "1", "method": "GET", "url": "/groups/g1/transitivemembers/microsoft.graph.user/$count?"}
    counted["url"] += "ConsistencyLevel=eventual"
    (answer,) = (await known.post("/beta/$batch", {"requests": [counted]}))["responses"]
    assert (answer["status"], answer["body"]) == (200, "1")


@pytest.mark.parametrize(
    ("path", "code", "words"),
    [
        (
            "security/incidents?$top=4000",
            "BadRequest",
            "The limit of '1000' for Top query has been exceeded. The value",
        ),
        ("identityProtection/riskyUsers?$top=999", "BadRequest", "'999'. Must be between 1 and 500 inclusive."),
        (
            "users?$top=1000",
            "Request_UnsupportedQuery",
            "Invalid page size specified: '1000'. Must be between 1 and 999",
        ),
        ("users/delta?$top=1000", "Request_UnsupportedQuery", "Invalid page size specified: '1000'. Must be"),
        ("groups/g1/members?$top=1000", "Request_UnsupportedQuery", "Invalid page size specified: '1000'. Must be"),
    ],
)
async def test_pages_that_are_too_large(known: World, path: str, code: str, words: str) -> None:
    """Clients read the bound out of the message and ask again: in the words of the service that Graph has there."""
    problem = await known.refused("GET", f"/v1.0/{path}", status=400, says=words)
    assert problem["code"] == code


async def test_rows_of_one_object(known: World) -> None:
    """How many rows to give says nothing of one object; of a list an unknown option stays an error."""
    assert (await known.get("/v1.0/users/u1?%24top=1&%24limit=1"))["id"] == "u1"
    assert "displayName" not in await known.get("/v1.0/users/u1?$top=1&$select=id&$limit=1")
    await known.refused("GET", "/v1.0/users/u1?$top=x", status=400, says="$top")
    await known.refused("GET", "/v1.0/users/u1?$filter=id eq 'u2'&$top=1", status=400, says="$filter")
    await known.refused("GET", "/v1.0/users?$limit=1", status=400, says="$limit")
