"""The six sets of security profiles and the providers' switches."""

from typing import Any

import pytest
from tests.api.conftest import A, World

pytestmark = pytest.mark.anyio
PROFILES: dict[str, dict[str, Any]] = {
    "fileSecurityProfiles": {"fileType": "exe", "riskScore": "90", "malwareStates": [{"name": "EICAR"}]},
    "hostSecurityProfiles": {"fqdn": "pc.contoso.example", "os": "Windows", "logonUsers": [{"accountName": "ada"}]},
    "ipSecurityProfiles": {"address": "203.0.113.9", "riskScore": "10", "tags": ["tor"]},
    "userSecurityProfiles": {"userPrincipalName": "ada@contoso.example", "accounts": [{"displayName": "ada"}]},
    "domainSecurityProfiles": {"name": "contoso.example", "domainCategories": [{"name": "x"}]},
    "cloudAppSecurityProfiles": {"name": "Mail", "permissionsRequired": "administrator"},
}
SETTINGS = "/beta/security/providerTenantSettings"


@pytest.mark.parametrize(("name", "body"), PROFILES.items())
async def test_each_set(world: World, name: str, body: dict[str, Any]) -> None:
    """What a provider brings is listed, read by id and filtered; v1.0 does not have the sets."""
    made = await world.post(f"/beta/security/{name}", body)
    key, value = next(iter(body.items()))
    (found,) = (await world.get(f"/beta/security/{name}?$filter={key} eq '{value}'"))["value"]
    assert (found["id"], found[key], found["azureTenantId"]) == (made["id"], value, A)
    read = await world.get(f"/beta/security/{name}/{made['id']}", by="reader")
    assert {**read, "@odata.context": ""} == {**made, "@odata.context": ""}
    await world.refused("POST", f"/beta/security/{name}", {"nope": 1}, status=400, says="nope")
    await world.refused("GET", f"/v1.0/security/{name}", status=404)
    await world.refused("PATCH", f"/beta/security/{name}/{made['id']}", {key: value}, status=405)


async def test_switches(world: World) -> None:
    """PATCH switches a provider on and off; saying so again changes nothing."""
    made = await world.post(SETTINGS, {"provider": "ASC", "vendor": "Microsoft"})
    assert made["enabled"] is True
    path = f"{SETTINGS}/{made['id']}"
    off = await world.patch(path, {"enabled": False}, prefer="return=representation")
    assert (off["enabled"], off["provider"]) == (False, "ASC")
    assert await world.patch(path, {"enabled": False}, prefer="return=representation") == off
    await world.refused("PATCH", path, {"provider": "x"}, status=400, says="enabled")
