"""Where clients find everything: discovery, instance discovery, cloud metadata."""

import pytest
from tests.auth.conftest import World, answer_of

from bartizan.auth import audit

pytestmark = pytest.mark.anyio


async def test_discovery(world: World) -> None:
    """The issuer names the tenant by its id, however it was asked for; every address is one that answers."""
    for name in (world.tenant.id, "default.internal", "DEFAULT"):
        for version, tail in (("/v2.0", "v2.0"), ("", "")):
            found = (await world.http.get(f"/{name}{version}/.well-known/openid-configuration")).json()
            assert found["issuer"] == f"https://localhost:8443/{world.tenant.id}/{tail}"
            for key in ("authorization_endpoint", "token_endpoint", "device_authorization_endpoint", "jwks_uri",
                        "userinfo_endpoint", "end_session_endpoint"):  # fmt: skip
                assert (await world.http.get(found[key])).status_code != 404, key


async def test_common(world: World) -> None:
    for name in ("common", "organizations"):
        found = (await world.http.get(f"/{name}/v2.0/.well-known/openid-configuration")).json()
        assert found["issuer"] == "https://localhost:8443/{tenantid}/v2.0"
        assert found["token_endpoint"] == f"https://localhost:8443/{name}/oauth2/v2.0/token"
    for name in ("consumers", "nowhere", "00000000-0000-0000-0000-000000000000", "x" * 300):
        answer = await world.http.get(f"/{name}/v2.0/.well-known/openid-configuration")
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_tenant")


async def test_instance(world: World) -> None:
    query = {
        "api-version": "1.1",
        "authorization_endpoint": f"https://localhost:8443/{world.tenant.id}/oauth2/v2.0/authorize",
    }
    found = (await world.http.get("/common/discovery/instance", params=query)).json()
    where = f"https://localhost:8443/{world.tenant.id}/v2.0/.well-known/openid-configuration"
    assert found["tenant_discovery_endpoint"] == where and found["metadata"][0]["aliases"] == ["localhost:8443"]
    query["authorization_endpoint"] = "https://evil.example/x/oauth2/authorize"
    answer = await world.http.get("/common/discovery/instance", params=query)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_instance")


@pytest.mark.parametrize("version", ["latest", "2022-09-01", "2019-05-01"])
async def test_metadata(world: World, version: str) -> None:
    found = (await world.http.get("/metadata/endpoints", params={"api-version": version})).json()
    assert found["authentication"]["loginEndpoint"] == "https://localhost:8443" and found["authentication"]["audiences"]
    assert found["microsoftGraphResourceId"] == found["resourceManager"] == "https://localhost:8443/"
    assert found["name"] and found["suffixes"]
    # What msticpy makes of it is a scope that is understood.
    assert await world.app_token(scope=found["microsoftGraphResourceId"] + "/.default")


async def test_signed_in_for_another_tenant(world: World) -> None:
    """Whoever is signed in but unknown in a tenant is asked to sign in as somebody else."""
    other = await world.authority.accounts.add_tenant("Other", "other.internal", actor=audit.OPERATOR)
    await world.authority.accounts.grant(other.id, world.app.id, "*", ["SecurityAlert.Read.All"], actor=audit.OPERATOR)
    await world.add_user("far@other.internal", "SecurityReader", tenant=other.id)
    await world.code()
    page = await world.authorize(tenant="other.internal")
    assert page.status_code == 400 and "AADSTS50020" in page.text
    assert answer_of(await world.sign_in(page, "far@other.internal"))["code"]
    silent = answer_of(await world.authorize(tenant="default", prompt="none"))
    assert silent["error"] == "invalid_grant"
