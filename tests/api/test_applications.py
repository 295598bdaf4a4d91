"""Applications, administrative units and subscribed licences: kept as they are told, by operators and connectors."""

import pytest
from tests.api.conftest import World

pytestmark = pytest.mark.anyio
APPLICATION = {
    "id": "backup",
    "appId": "5b2c0c1e-0000-4000-8000-000000000001",
    "displayName": "Backup",
    "signInAudience": "AzureADMyOrg",
    "passwordCredentials": [
        {"keyId": "00000000-0000-4000-8000-000000000002", "endDateTime": "2027-01-01T00:00:00Z", "secretText": "s3cret"}
    ],
    "requiredResourceAccess": [
        {
            "resourceAppId": "00000003-0000-0000-c000-000000000000",
            "resourceAccess": [{"id": "df021288-bdef-4463-88db-98f22de89214", "type": "Role"}],
        }
    ],
    "web": {"redirectUris": ["https://backup.contoso.example/"]},
    "tags": ["WindowsAzureActiveDirectoryIntegratedApp"],
    "federatedIdentityCredentials": [
        {
            "id": "f1",
            "name": "pipeline",
            "issuer": "https://token.actions.githubusercontent.com",
            "subject": "repo:contoso/backup:ref:refs/heads/main",
            "audiences": ["api://AzureADTokenExchange"],
        }
    ],
}


async def test_applications(world: World) -> None:
    """Found by either id, by what they hold, with their owners; nobody reads a secret, not even one that was sent."""
    await world.post("/v1.0/users", {"id": "ada", "userPrincipalName": "ada@contoso.example"})
    made = await world.post("/v1.0/applications", APPLICATION)
    assert made["passwordCredentials"][0]["secretText"] is None
    link = {"@odata.id": "https://graph.microsoft.com/v1.0/directoryObjects/ada"}
    answer = await world.call("POST", "/v1.0/applications/backup/owners/$ref", link)
    assert answer.status_code == 204, answer.text
    for path in (
        "applications/backup",
        f"applications(appId='{APPLICATION['appId']}')",
        f"applications/appId={APPLICATION['appId']}",
        "directoryObjects/backup",
    ):
        answer = await world.call("GET", f"/beta/{path}")
        assert (answer.status_code, answer.json()["displayName"]) == (200, "Backup"), answer.text
        assert "s3cret" not in answer.text
    for wanted in (
        "tags/any(t:t eq 'WindowsAzureActiveDirectoryIntegratedApp')",
        "web/redirectUris/any(u:startswith(u,'https://backup.'))",
        "passwordCredentials/any(c:c/endDateTime le 2027-02-01T00:00:00Z)",
        "requiredResourceAccess/any(r:r/resourceAppId eq '00000003-0000-0000-c000-000000000000')",
    ):
        (found,) = (await world.get(f"/v1.0/applications?$filter={wanted}&$expand=owners"))["value"]
        assert [each["id"] for each in found["owners"]] == ["ada"]
    federated = (await world.get("/v1.0/applications/backup/federatedIdentityCredentials"))["value"]
    assert [(each["name"], each["audiences"]) for each in federated] == [("pipeline", ["api://AzureADTokenExchange"])]
    one = await world.get("/beta/applications(appId='5b2c0c1e-0000-4000-8000-000000000001')?$expand=*&$select=id")
    assert one["federatedIdentityCredentials"][0]["issuer"].startswith("https://token.actions.")
    owned = (await world.get("/v1.0/users/ada/ownedObjects"))["value"]
    assert [(each["id"], each["@odata.type"]) for each in owned] == [("backup", "#microsoft.graph.application")]
    assert (await world.get("/v1.0/applications", by="other"))["value"] == []
    await world.refused("PATCH", "/v1.0/applications/backup", {"displayName": "x"}, status=501, says="nothing performs")
    await world.refused("POST", "/v1.0/applications/backup/addPassword", {}, status=501, says="nothing performs")
    await world.refused("POST", "/v1.0/applications", {**APPLICATION, "id": "x"}, status=409)


async def test_a_secret_of_a_service_principal_is_not_kept(world: World) -> None:
    body = {"appId": "a", "passwordCredentials": [{"displayName": "d", "secretText": "s3cret"}]}
    made = await world.post("/v1.0/servicePrincipals", body)
    assert made["passwordCredentials"][0] == {**made["passwordCredentials"][0], "displayName": "d", "secretText": None}
    assert "s3cret" not in (await world.call("GET", "/v1.0/servicePrincipals")).text


async def test_administrative_units(world: World) -> None:
    """Their members are in them, beside the groups and roles that they are in."""
    await world.post("/v1.0/users", {"id": "ada", "userPrincipalName": "ada@contoso.example"})
    await world.post("/v1.0/directory/administrativeUnits", {"id": "oslo", "displayName": "Oslo"})
    link = {"@odata.id": "https://graph.microsoft.com/v1.0/users/ada"}
    answer = await world.call("POST", "/v1.0/directory/administrativeUnits/oslo/members/$ref", link)
    assert answer.status_code == 204, answer.text
    members = (await world.get("/v1.0/directory/administrativeUnits/oslo/members"))["value"]
    assert [each["id"] for each in members] == ["ada"]
    for path in ("memberOf", "transitiveMemberOf", "memberOf/microsoft.graph.administrativeUnit"):
        assert [each["id"] for each in (await world.get(f"/v1.0/users/ada/{path}"))["value"]] == ["oslo"]
    answer = await world.call("POST", "/v1.0/users/ada/getMemberGroups", {"securityEnabledOnly": False})
    assert answer.json()["value"] == []


async def test_licences(world: World) -> None:
    sku = {
        "skuId": "06ebc4ee-1bb5-47dd-8120-11324bc54e06",
        "skuPartNumber": "SPE_E5",
        "capabilityStatus": "Enabled",
        "consumedUnits": 7,
        "prepaidUnits": {"enabled": 10},
        "servicePlans": [{"servicePlanName": "AAD_PREMIUM_P2", "provisioningStatus": "Success"}],
    }
    await world.post("/v1.0/subscribedSkus", sku)
    (found,) = (await world.get("/v1.0/subscribedSkus"))["value"]
    assert (found["prepaidUnits"]["enabled"], found["servicePlans"][0]["servicePlanName"]) == (10, "AAD_PREMIUM_P2")
