"""One object: keys, ETags, properties; creating, changing and deleting."""

import pytest
from tests.api.conftest import BASE, NOW, World

from bartizan.model.times import instant

pytestmark = pytest.mark.anyio
USERS = "/v1.0/users"
POLICIES = "/v1.0/identity/conditionalAccess/policies"
POLICY = {
    "displayName": "Block",
    "state": "enabled",
    "conditions": {"applications": {"includeApplications": ["All"]}, "users": {"includeUsers": ["All"]}},
    "grantControls": {"operator": "OR", "builtInControls": ["block"]},
}


@pytest.fixture
async def people(world: World) -> World:
    await world.post(
        USERS,
        [
            {"id": "u1", "userPrincipalName": "Ada@contoso.example", "displayName": "Ada"},
            {"id": "u/2", "userPrincipalName": "o'brien@contoso.example", "displayName": "O'Brien"},
        ],
    )
    return world


async def test_keys(people: World) -> None:
    """As segment and in parentheses, by id and by alternate key, percent-encoded slashes included."""
    for path in (
        "/users/u1",
        "/users('u1')",
        "/USERS(id='u1')",
        "/users/ada@CONTOSO.example",
        "/users(userPrincipalName='ada%40contoso.example')",
        "/users('Ada@contoso.example')",
    ):
        assert (await people.get(f"/v1.0{path}"))["displayName"] == "Ada", path
    for path in ("/users/u%2F2", "/users('u%2F2')", "/users('o''brien@contoso.example')", "/users(%27u%2f2%27)"):
        assert (await people.get(f"/v1.0{path}"))["displayName"] == "O'Brien", path
    await people.refused("GET", "/v1.0/users(nope='x')", status=400, says="userPrincipalName")
    await people.refused("GET", "/v1.0/users/nobody", status=404, says="'nobody'")


async def test_etag(people: World) -> None:
    """If-None-Match answers 304 for the version at hand and 200 for another."""
    first = await people.call("GET", f"{USERS}/u1")
    etag = first.headers["etag"]
    assert first.json()["@odata.etag"] == etag
    same = await people.call("GET", f"{USERS}/u1", if_none_match=etag)
    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert (await people.call("GET", f"{USERS}/u1", if_none_match='W/"0"')).status_code == 200


async def test_properties(people: World) -> None:
    """A property by its path: value with context, text with $value, 204 for null."""
    assert await people.get(f"{USERS}/u1/DisplayName") == {
        "@odata.context": f"{BASE}/v1.0/$metadata#users('u1')/displayName",
        "value": "Ada",
    }
    assert (await people.call("GET", f"{USERS}/u1/displayName/$value")).text == "Ada"
    assert (await people.call("GET", f"{USERS}/u1/accountEnabled/$value")).text == "true"
    assert (await people.call("GET", f"{USERS}/u1/jobTitle")).status_code == 204
    assert (await people.get(f"{USERS}/u1/businessPhones"))["value"] == []
    await people.refused("GET", f"{USERS}/u1/nope", status=404, says="'nope'")
    await people.refused("GET", f"{USERS}/u1/businessPhones/$value", status=404)


async def test_size_of_a_collection(world: World) -> None:
    """/$count behind a collection of a document."""
    await world.post("/v1.0/users", {"id": "x", "userPrincipalName": "x@y.z", "businessPhones": ["1", "2"]})
    for path, size in (("businessPhones", "2"), ("otherMails", "0")):
        answer = await world.call("GET", f"/v1.0/users/x/{path}/$count")
        assert (answer.status_code, answer.text) == (200, size)
        assert answer.headers["content-type"].startswith("text/plain")
    await world.refused("GET", "/v1.0/users/x/displayName/$count", status=404)
    await world.refused("GET", "/v1.0/users/x/businessPhones/$count/x", status=404)


async def test_one_object_takes_select_only(people: World) -> None:
    assert set(await people.get(f"{USERS}/u1?$select=mail")) == {"@odata.context", "@odata.etag", "mail"}
    await people.refused("GET", f"{USERS}/u1?$orderby=mail", status=400, says="$orderby")


async def test_create_answers_the_object(world: World) -> None:
    """201, Location, ETag and every documented property."""
    answer = await world.call("POST", POLICIES, POLICY)
    body = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"{BASE}{POLICIES}/{body['id']}"
    assert answer.headers["etag"] == body["@odata.etag"]
    assert body["createdDateTime"] == instant(NOW)
    assert body["sessionControls"] is None
    assert (await world.get(f"{POLICIES}/{body['id']}"))["conditions"] == body["conditions"]


async def test_bulk_is_all_or_nothing(world: World) -> None:
    """One bad object of an array refuses all, and says which it was."""
    good = {"id": "g", "userPrincipalName": "g@contoso.example"}
    await world.refused("POST", USERS, [good, {"displayName": "x"}], status=400, says="[1]: missing: userPrincipalName")
    await world.refused("POST", USERS, [good, {**good, "nope": 1, "accountEnabled": "yes"}], status=400, says="[1]")
    await world.refused("POST", USERS, [good, {**good, "displayName": "other"}], status=400, says="same id")
    assert (await world.get(USERS))["value"] == []
    await world.post(USERS, good)
    clash = [{"id": "h", "userPrincipalName": "h@contoso.example"}, {**good, "displayName": "somebody else"}]
    await world.refused("POST", USERS, clash, status=409, says="'g'")
    assert [each["id"] for each in (await world.get(USERS))["value"]] == ["g"]
    await world.refused("POST", USERS, [], status=400)


async def test_create_twice_changes_nothing(world: World) -> None:
    """The same object again is 200 with what is stored; other values under its id are 409."""
    body = {"id": "u1", "userPrincipalName": "a@contoso.example", "displayName": "Ada"}
    first = await world.call("POST", USERS, body)
    again = await world.call("POST", USERS, body)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    problem = await world.refused("POST", USERS, {**body, "displayName": "Bob"}, status=409)
    assert problem["code"] == "nameAlreadyExists"


async def test_patch_merges_named_fields(world: World) -> None:
    made = await world.post(POLICIES, POLICY)
    path = f"{POLICIES}/{made['id']}"
    answer = await world.call("PATCH", path, {"State": "DISABLED", "id": made["id"]})
    assert (answer.status_code, answer.content) == (204, b"")
    after = await world.get(path)
    assert (after["state"], after["displayName"]) == ("disabled", "Block")
    assert after["@odata.etag"] == answer.headers["etag"] != made["@odata.etag"]


async def test_patch_of_the_whole_object(world: World) -> None:
    """Who reads an object, changes one property and sends it back changes that one, whatever else is fixed."""
    made = await world.post(POLICIES, POLICY)
    path = f"{POLICIES}/{made['id']}"
    assert (await world.call("PATCH", path, {**(await world.get(path)), "state": "disabled"})).status_code == 204
    whole = await world.get(path)
    shorter = {**whole, "createdDateTime": whole["createdDateTime"].replace("0Z", "+00:00")}  # as Python's dates come
    assert (await world.call("PATCH", path, {**shorter, "displayName": "Other"})).status_code == 204
    after = await world.get(path)
    assert (after["state"], after["displayName"], after["createdDateTime"]) == (
        "disabled",
        "Other",
        whole["createdDateTime"],
    )
    later = whole["createdDateTime"].replace("2026", "2027")
    for other in (later, None):
        body = {**after, "createdDateTime": other}
        problem = await world.refused("PATCH", path, body, status=400, says="Cannot change createdDateTime of")
        assert problem["code"] == "propertyNotUpdateable"


@pytest.mark.parametrize("version", ["v1.0", "beta"])
@pytest.mark.parametrize("set", ["alerts_v2", "alerts", "incidents"])
async def test_patch_of_a_whole_alert(world: World, version: str, set: str) -> None:
    """With its evidence, late members masked or not, and dates of milliseconds, as SDKs send back what they read."""
    evidence = {
        "@odata.type": "#microsoft.graph.security.ipEvidence",
        "ipAddress": "203.0.113.5",
        "verdict": "malicious",
    }
    body = {"title": "t", "severity": "high", "serviceSource": "microsoftSentinel", "evidence": [evidence]}
    made = await world.post("/v1.0/security/alerts_v2", body)
    if set == "incidents":
        made = await world.post("/v1.0/security/incidents", {"displayName": "i", "severity": "high"})
    path = f"/{version}/security/{set}/{made['id']}"
    for prefer, status in (("x", "inProgress"), ("include-unknown-enum-members", "resolved")):
        whole = await world.get(path, prefer=prefer)
        for name, value in whole.items():
            if name.endswith("DateTime") and value is not None:
                whole[name] = f"{value[:23]}Z"
        answer = await world.call("PATCH", path, {**whole, "status": status})
        assert answer.is_success, answer.text
        assert (await world.get(path))["status"] == status
    fixed = {**(await world.get(path)), "createdDateTime": "2020-01-01T00:00:00Z"}
    await world.refused("PATCH", path, fixed, status=400, says="Cannot change createdDateTime of")


async def test_patch_with_nothing_said_of_what_is_fixed(world: World) -> None:
    """Some send an empty customDetails, as an example of the documentation has it: it is null there, so no change."""
    made = await world.post("/v1.0/security/alerts_v2", {"title": "t"})
    path = f"/v1.0/security/alerts_v2/{made['id']}"
    after = await world.patch(path, {"status": "resolved", "customDetails": {}, "comments": []})
    assert (after["status"], after["customDetails"]) == ("resolved", None)
    await world.refused("PATCH", path, {"customDetails": {"a": "b"}}, status=400, says="Cannot change customDetails")


async def test_patch_names_what_may_be_written(world: World) -> None:
    made = await world.post(POLICIES, POLICY)
    path = f"{POLICIES}/{made['id']}"
    problem = await world.refused("PATCH", path, {"createdDateTime": None}, status=400, says="grantControls")
    assert problem["code"] == "propertyNotUpdateable"
    await world.refused("PATCH", path, {"nope": 1}, status=400, says="nope")
    await world.refused("PATCH", path, {"id": "other"}, status=400, says="id")
    await world.refused("PATCH", path, ["x"], status=400)
    await world.refused("PATCH", f"{POLICIES}/nope", {"state": "disabled"}, status=404)


async def test_patch_answers_as_preferred(world: World) -> None:
    """204 by declaration, 200 with the object under return=representation; the other way round too."""
    made = await world.post(POLICIES, POLICY)
    answer = await world.call(
        "PATCH", f"{POLICIES}/{made['id']}", {"state": "disabled"}, prefer="return=representation"
    )
    assert (answer.status_code, answer.json()["state"]) == (200, "disabled")
    assert answer.headers["preference-applied"] == "return=representation"
    await world.post("/v1.0/security/incidents", {"id": "i", "displayName": "x"})
    answer = await world.call("PATCH", "/v1.0/security/incidents/i", {"status": "resolved"})
    assert (answer.status_code, answer.json()["status"]) == (200, "resolved")
    answer = await world.call("PATCH", "/v1.0/security/incidents/i", {"status": "active"}, prefer="return=minimal")
    assert answer.status_code == 204


async def test_if_match(world: World) -> None:
    """Only If-Match gives 412; without it the last one wins field by field."""
    made = await world.post(POLICIES, POLICY)
    path, etag = f"{POLICIES}/{made['id']}", made["@odata.etag"]
    assert (await world.call("PATCH", path, {"state": "disabled"}, if_match=etag)).status_code == 204
    await world.refused("PATCH", path, {"state": "enabled"}, status=412, if_match=etag)
    await world.refused("DELETE", path, status=412, if_match=etag)
    assert (await world.call("PATCH", path, {"state": "enabled"}, if_match="*")).status_code == 204
    assert (await world.call("DELETE", path)).status_code == 204
    await world.refused("GET", path, status=404)
    await world.refused("DELETE", path, status=404)


async def test_patch_twice_changes_nothing(world: World) -> None:
    """A change that says what is so already leaves version and audit alone."""
    await world.post("/v1.0/security/incidents", {"id": "i", "displayName": "x"})
    one = await world.patch("/v1.0/security/incidents/i", {"status": "resolved"})
    entries = len((await world.get("/v1.0/auditLogs/directoryAudits"))["value"])
    two = await world.patch("/v1.0/security/incidents/i", {"status": "resolved"})
    assert one == two
    assert len((await world.get("/v1.0/auditLogs/directoryAudits"))["value"]) == entries


async def test_writes_are_audited(world: World) -> None:
    """Who did what to which object, with old and new values, in the chained audit log."""
    await world.post("/v1.0/security/incidents", {"id": "i", "displayName": "x"})
    await world.patch("/v1.0/security/incidents/i", {"status": "resolved"}, by="analyst")
    entry = (await world.get("/v1.0/auditLogs/directoryAudits"))["value"][0]
    assert (entry["activityDisplayName"], entry["initiatedBy"]["user"]["userPrincipalName"]) == (
        "Update incident",
        "analyst@contoso.example",
    )
    target = entry["targetResources"][0]
    assert target["id"] == "i"
    status = next(each for each in target["modifiedProperties"] if each["displayName"] == "status")
    assert (status["oldValue"], status["newValue"]) == ('"active"', '"resolved"')


async def test_unserved_operations_say_why(world: World) -> None:
    """Known and not served: 501 with the reason, or 405 with what is allowed."""
    await world.refused("DELETE", f"{USERS}/x", status=501, says="nothing performs it")
    await world.refused("POST", f"{USERS}/x/assignLicense", {}, status=501)
    answer = await world.call("DELETE", "/v1.0/security/alerts_v2/x")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, PATCH, HEAD, OPTIONS")
    assert "evidence" in answer.json()["error"]["message"]
