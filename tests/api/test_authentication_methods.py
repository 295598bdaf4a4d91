"""What is known of how users sign in, and photos that nobody keeps."""

from typing import Any

import pytest
from tests.api.conftest import World

pytestmark = pytest.mark.anyio
MFA = "/v1.0/reports/authenticationMethods/userRegistrationDetails"


async def user(world: World, name: str, **registered: Any) -> str:
    made = await world.post("/v1.0/users", {"userPrincipalName": f"{name}@contoso.example", "displayName": name})
    if registered:
        report = {"id": made["id"], "userPrincipalName": made["userPrincipalName"], "isMfaRegistered": True}
        await world.post(MFA, {**report, **registered})
    return f"/v1.0/users/{made['id']}"


async def test_methods_come_from_the_report(world: World) -> None:
    """Each method once, with its type and Graph's fixed ids; sets hold those of their type."""
    words = ["mobilePhone", "microsoftAuthenticatorPush", "microsoftAuthenticatorPasswordless", "securityQuestion"]
    ann = await user(world, "ann", methodsRegistered=[*words, "fido2SecurityKey", "hardwareOneTimePasscode"])
    found = (await world.get(f"{ann}/authentication/methods"))["value"]
    kinds = [each["@odata.type"].removeprefix("#microsoft.graph.") for each in found]
    assert kinds == [
        "passwordAuthenticationMethod",
        "phoneAuthenticationMethod",
        "microsoftAuthenticatorAuthenticationMethod",
        "fido2AuthenticationMethod",
    ]
    assert len((await world.get(f"{ann.replace('v1.0', 'beta')}/authentication/methods"))["value"]) == 5
    (phone,) = (await world.get(f"{ann}/authentication/phoneMethods"))["value"]
    assert (phone["id"], phone["phoneType"], phone["phoneNumber"]) == (found[1]["id"], "mobile", None)
    assert found[1]["id"] == "3179e48a-750b-4051-897c-87b9720928f7"
    assert (await world.get(f"{ann}/authentication/methods/{phone['id']}"))["id"] == phone["id"]
    assert (await world.get(f"{ann}/authentication/phoneMethods/{phone['id']}"))["phoneType"] == "mobile"
    assert (await world.get(f"{ann}/authentication/softwareOathMethods"))["value"] == []
    await world.refused("GET", f"{ann}/authentication/phoneMethods/x", status=404)
    by_upn = await world.get("/v1.0/users/ann@contoso.example/authentication/methods")
    assert by_upn["value"] == found


async def test_the_report_of_2019_is_asked_second(world: World) -> None:
    """It names users by UPN alone."""
    bob = await user(world, "bob")
    row = {"id": "row-1", "userPrincipalName": "BOB@contoso.example", "isMfaRegistered": True}
    await world.post("/beta/reports/credentialUserRegistrationDetails", {**row, "authMethods": ["appCode", "email"]})
    found = (await world.get(f"{bob}/authentication/methods"))["value"]
    assert {each["@odata.type"].rpartition(".")[2] for each in found} == {
        "passwordAuthenticationMethod", "softwareOathAuthenticationMethod", "emailAuthenticationMethod",
    }  # fmt: skip


async def test_what_is_not_known_is_no_empty_list(world: World) -> None:
    """A list without a second factor would say that there is none."""
    cid, dan = await user(world, "cid"), await user(world, "dan", methodsRegistered=[])
    for one in (cid, dan):
        await world.refused("GET", f"{one}/authentication/methods", status=404, says="not known")
    eve = await user(world, "eve", isMfaRegistered=False, methodsRegistered=[])
    (only,) = (await world.get(f"{eve}/authentication/methods"))["value"]
    assert only["@odata.type"] == "#microsoft.graph.passwordAuthenticationMethod"
    await world.refused("GET", "/v1.0/users/nobody/authentication/methods", status=404)
    await world.refused("POST", f"{eve}/authentication/phoneMethods", {}, status=501, says="reports say")
    await world.refused("GET", f"{eve}/authentication/methods", by="none", status=403)
    await world.refused("GET", f"{eve}/authentication/methods", by="other", status=404)


async def test_photos(world: World) -> None:
    """Graph's code for a user without one; a user that is not there is told as such."""
    ann = await user(world, "ann")
    for path in ("photo", "photo/$value", "photos/48x48", "photos/48x48/$value"):
        assert (await world.refused("GET", f"{ann}/{path}", status=404))["code"] == "ImageNotFound"
    problem = await world.refused("GET", "/v1.0/users/nobody/photo/$value", status=404)
    assert problem["code"] == "Request_ResourceNotFound"


async def test_provisioning(world: World) -> None:
    """Empty until records come in; then filtered and sorted as sign-ins are."""
    logs = "/v1.0/auditLogs/provisioning"
    assert (await world.get(logs))["value"] == []
    entry = {"jobId": "AzureADIdentityProvisioner", "tenantId": "t", "provisioningAction": "create"}
    made = await world.post(
        logs,
        [
            {**entry, "activityDateTime": "2026-11-20T01:00:00Z", "sourceIdentity": {"displayName": "Ann"}},
            {**entry, "activityDateTime": "2026-11-21T01:00:00Z", "provisioningAction": "delete"},
        ],
    )
    assert len(made["value"]) == 2
    later = await world.get(f"{logs}?$filter=activityDateTime gt 2026-11-20T12:00:00Z and jobId eq '{entry['jobId']}'")
    assert [each["provisioningAction"] for each in later["value"]] == ["delete"]
    assert (await world.get(logs))["value"][0]["provisioningAction"] == "delete"
    await world.refused("POST", logs, {**entry, "activityDateTime": "2026-11-20T01:00:00Z"}, by="reader", status=403)
    await world.refused("DELETE", f"{logs}/{made['value'][0]['id']}", status=405)


async def test_query_options(world: World) -> None:
    """Clients choose the phone that is a mobile one, names alone, or the first few; nothing is passed over."""
    fay = await user(world, "fay", methodsRegistered=["officePhone", "mobilePhone", "microsoftAuthenticatorPush"])
    methods, phones = f"{fay}/authentication/methods", f"{fay}/authentication/phoneMethods"
    whole = (await world.get(methods))["value"]
    (mobile,) = (await world.get(f"{phones}?$filter=phoneType eq 'mobile'"))["value"]
    assert mobile["phoneType"] == "mobile"
    assert (await world.get(f"{phones}?$filter=PhoneType eq 'alternateMobile'"))["value"] == []
    named = await world.get(f"{methods}?$select=id&$count=true")
    assert named["value"] == [{"@odata.type": each["@odata.type"], "id": each["id"]} for each in whole]
    assert named["@odata.count"] == 4 and named["@odata.context"].endswith("(id)")
    assert (await world.get(f"{methods}?$top=99"))["value"] == whole
    first = await world.get(f"{methods}?$top=3&$orderby=id desc&$select=id")
    rest = await world.get(first["@odata.nextLink"])
    ids = [each["id"] for each in (*first["value"], *rest["value"])]
    assert ids == sorted((each["id"] for each in whole), reverse=True) and "@odata.nextLink" not in rest
    assert len((await world.get(f"{methods}?$skip=3"))["value"]) == 1
    assert (await world.get(f"{methods}?$filter=isof('microsoft.graph.passwordAuthenticationMethod')"))["value"]
    for wrong, says in (("$filter=nothing eq 1", "nothing"), ("$select=nothing", "nothing"), ("$search=x", "$search")):
        await world.refused("GET", f"{methods}?{wrong}", status=400, says=says)
