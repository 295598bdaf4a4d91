"""Device codes: the device's side, the page's side, and what may not happen between them."""

from typing import Any

import httpx
import pytest
from tests.auth.conftest import World, claims_of

pytestmark = pytest.mark.anyio
GRANT = "urn:ietf:params:oauth:grant-type:device_code"


async def _start(world: World, version: str = "/v2.0", **form: str) -> dict[str, Any]:
    fields = {"client_id": world.app.id, "scope": "openid offline_access SecurityAlert.Read.All", **form}
    tenant = fields.pop("tenant", world.tenant.id)
    answer = await world.http.post(f"/{tenant}/oauth2{version}/devicecode", data=fields)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def _poll(world: World, device: dict[str, Any], *, wait_s: float = 5, **form: str) -> httpx.Response:
    world.clock.skip(wait_s)
    return await world.token(grant_type=GRANT, device_code=device["device_code"], **form)


async def _answer(
    world: World, device: dict[str, Any], decision: str, upn: str = "ann@default.internal"
) -> httpx.Response:
    page = await world.http.post("/devicelogin", data={"user_code": device["user_code"].lower().replace("-", " ")})
    if "password" in page.text:
        page = await world.sign_in(page, upn)
    assert device["user_code"] in page.text and "sample" in page.text, page.text
    return await world.submit(page, decision=decision)


async def test_approved(world: World) -> None:
    device = await _start(world)
    assert device["interval"] == 5 and device["expires_in"] == 900
    assert (
        device["verification_uri"] == "https://localhost:8443/devicelogin" and device["user_code"] in device["message"]
    )
    pending = await _poll(world, device)
    assert (pending.status_code, pending.json()["error"]) == (400, "authorization_pending")
    assert "Approved" in (await _answer(world, device, "accept")).text
    body = (await _poll(world, device)).json()
    assert body["scope"].split()[0] == "SecurityAlert.Read.All" and body["refresh_token"]
    assert claims_of(body["id_token"])["preferred_username"] == "ann@default.internal"
    assert (await world.authority.verifier.authenticate(body["access_token"])).upn == "ann@default.internal"
    again = await _poll(world, device)
    assert again.json()["error"] == "bad_verification_code"
    refreshed = await world.token(grant_type="refresh_token", refresh_token=body["refresh_token"])
    assert refreshed.status_code == 200


async def test_v1(world: World) -> None:
    device = await _start(world, "", scope="", resource="https://graph.microsoft.com")
    assert device["verification_url"] and device["expires_in"] == "900"
    await _answer(world, device, "accept")
    world.clock.skip(5)
    answer = await world.token("", grant_type="device_code", code=device["device_code"])
    assert answer.json()["expires_in"] == "3600"


async def test_declined_and_expired(world: World) -> None:
    device = await _start(world)
    assert "Declined" in (await _answer(world, device, "deny")).text
    assert (await _poll(world, device)).json()["error"] == "authorization_declined"
    device = await _start(world)
    world.clock.skip(901)
    page = await world.http.post("/devicelogin", data={"user_code": device["user_code"]})
    assert "AADSTS70018" in page.text
    assert (await _poll(world, device)).json()["error"] == "expired_token"


async def test_asking_too_often(world: World) -> None:
    device = await _start(world)
    assert (await _poll(world, device)).json()["error"] == "authorization_pending"
    assert (await _poll(world, device, wait_s=1)).json()["error"] == "slow_down"
    assert (await _poll(world, device, wait_s=6)).json()["error"] == "slow_down"
    assert (await _poll(world, device, wait_s=15)).json()["error"] == "authorization_pending"


async def test_organizations(world: World) -> None:
    """Without a tenant the account's own is taken."""
    device = await _start(world, tenant="organizations")
    await _answer(world, device, "accept")
    body = (await _poll(world, device, tenant="organizations")).json()
    assert claims_of(body["access_token"])["tid"] == world.tenant.id


async def test_another_client_cannot_take_the_code(world: World) -> None:
    device = await _start(world)
    await _answer(world, device, "accept")
    other, secret = await world.add_app("other")
    stolen = await _poll(world, device, client_id=other.id, client_secret=secret)
    assert stolen.json()["error"] == "bad_verification_code"


async def test_ungranted_scopes_need_an_administrator(world: World) -> None:
    device = await _start(world, scope="SecurityEvents.ReadWrite.All")
    page = await world.http.post("/devicelogin", data={"user_code": device["user_code"]})
    assert "AADSTS90094" in (await world.sign_in(page)).text
    await world.http.get("/common/oauth2/v2.0/logout")
    page = await world.http.post("/devicelogin", data={"user_code": device["user_code"]})
    page = await world.sign_in(page, "root@default.internal")
    assert "SecurityEvents.ReadWrite.All (not granted before)" in page.text
    await world.submit(page, decision="accept")
    body = (await _poll(world, device)).json()
    assert body["scope"] == "SecurityEvents.ReadWrite.All"


async def test_guessing_codes_is_throttled(world: World) -> None:
    seen = [(await world.http.post("/devicelogin", data={"user_code": f"BBBB-BBB{i}"})).status_code for i in range(15)]
    assert seen[:10] == [400] * 10 and seen[10:] == [429] * 5
    page = await world.http.post("/devicelogin", data={"user_code": "BBBBBBBB"})
    assert int(page.headers["retry-after"]) > 0 and "AADSTS50053" in page.text


async def test_refusals(world: World) -> None:
    where = f"/{world.tenant.id}/oauth2/v2.0/devicecode"
    closed, _ = await world.add_app("closed", public=False)
    for form, code in (
        ({"scope": "openid"}, 900144),
        ({"client_id": "33333333-3333-3333-3333-333333333333"}, 700016),
        ({"client_id": closed.id}, 7000218),
        ({"client_id": world.app.id, "scope": "No.Such"}, 650053),
    ):
        answer = await world.http.post(where, data=form)
        assert answer.json()["error_codes"] == [code]
