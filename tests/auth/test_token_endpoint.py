"""Client credentials, errors and shapes of the token endpoint."""

from typing import Any

import httpx
import pytest
from msgspec.structs import replace
from tests.auth.conftest import PASSWORD, World, claims_of

from bartizan.auth import audit
from bartizan.auth.accounts import App

pytestmark = pytest.mark.anyio

CREDENTIALS = {"grant_type": "client_credentials", "scope": "https://graph.microsoft.com/.default"}


async def test_client_credentials(world: World) -> None:
    """The answer has the shape of v2, the token the claims that clients read, and it opens the door."""
    answer = await world.token(**CREDENTIALS, client_secret=world.secret)
    body = answer.json()
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    assert body.keys() == {"token_type", "expires_in", "ext_expires_in", "access_token"}
    assert (body["token_type"], body["expires_in"], body["ext_expires_in"]) == ("Bearer", 3600, 3600)
    claims = claims_of(body["access_token"])
    discovery = (await world.http.get(f"/{world.tenant.id}/v2.0/.well-known/openid-configuration")).json()
    assert claims["iss"] == discovery["issuer"] == f"https://localhost:8443/{world.tenant.id}/v2.0"
    assert claims["aud"] == "https://graph.microsoft.com"
    assert claims["roles"] == ["SecurityAlert.Read.All"] and "scp" not in claims
    assert claims["tid"] == world.tenant.id and claims["appid"] == claims["azp"] == world.app.id
    caller = await world.authority.verifier.authenticate(f"Bearer {body['access_token']}")
    assert caller.tenant == world.tenant.id and caller.app_name == "sample" and caller.user is None
    assert caller.permissions == {"SecurityAlert.Read.All"}


async def test_v1_shape(world: World) -> None:
    """v1 takes resource= and writes its numbers as text."""
    form = {
        "grant_type": "client_credentials",
        "resource": "https://graph.microsoft.com/",
        "client_secret": world.secret,
    }
    body = (await world.token("", **form)).json()
    assert body["expires_in"] == "3600" and body["resource"] == "https://graph.microsoft.com"
    assert int(body["expires_on"]) > int(body["not_before"])
    claims = claims_of(body["access_token"])
    assert claims["ver"] == "1.0" and claims["iss"] == f"https://localhost:8443/{world.tenant.id}/"
    assert (await world.authority.verifier.authenticate(body["access_token"])).app == world.app.id


@pytest.mark.parametrize(
    ("scope", "audience"),
    [
        ("https://graph.microsoft.com/.default", "https://graph.microsoft.com"),
        ("https://graph.microsoft.com//.default", "https://graph.microsoft.com"),
        (".default", "https://graph.microsoft.com"),
        ("00000003-0000-0000-c000-000000000000/.default", "00000003-0000-0000-c000-000000000000"),
        ("https://localhost:8443/.default", "https://localhost:8443"),
        ("HTTPS://LOCALHOST:8443//.default", "https://localhost:8443"),
    ],
)
async def test_resources(world: World, scope: str, audience: str) -> None:
    """Graph and the own address are resources, and a token for either is taken; Graph is meant where none is named."""
    token = await world.app_token(scope=scope)
    assert claims_of(token)["aud"] == audience
    assert await world.authority.verifier.authenticate(token)


async def test_tenant_by_any_name(world: World) -> None:
    for name in (world.tenant.id, world.tenant.id.upper(), "default.internal", "Default", "common", "organizations"):
        assert (await world.token(tenant=name, **CREDENTIALS, client_secret=world.secret)).status_code == 200, name


async def test_bodies_that_clients_send(world: World) -> None:
    """Unescaped (Wazuh), GET with a form body (Cisco), Basic, no content type, and in parts (curl -F, PHP)."""
    where = f"/{world.tenant.id}/oauth2/v2.0/token"
    raw = f"scope=https://graph.microsoft.com/.default&client_id={world.app.id}&client_secret={world.secret}&grant_type=client_credentials"
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert (await world.http.post(where, content=raw, headers=form)).status_code == 200
    assert (await world.http.post(where, content=raw + "\r\n")).status_code == 200
    assert (await world.http.request("GET", where, content=raw, headers=form)).status_code == 200
    basic = await world.http.post(where, data=CREDENTIALS, auth=(world.app.id, world.secret))
    assert basic.status_code == 200
    whole = {**CREDENTIALS, "client_id": world.app.id, "client_secret": world.secret}
    parts = await world.http.post(where, files={name: (None, value) for name, value in whole.items()})
    assert parts.status_code == 200, parts.text
    claims = {"claims": '{"access_token":{"xms_cc":{"values":["CP1"]}}}', "client_info": "1"}
    assert (await world.token(**CREDENTIALS, client_secret=world.secret, **claims)).status_code == 200


async def test_names_in_any_case(world: World) -> None:
    """Scripts of PowerShell write Grant_Type and Client_Id, in the forms of both versions; a name that comes twice with
    different values is refused however it is spelt."""
    given = {"Client_Id": world.app.id, "Client_Secret": world.secret, "Grant_Type": "client_credentials"}
    scoped = {**given, "Scope": "https://graph.microsoft.com/.default"}
    where = f"/{world.tenant.id}/oauth2"
    assert (await world.http.post(f"{where}/v2.0/token", data=scoped)).json()["token_type"] == "Bearer"
    resource = {**given, "Resource": "https://graph.microsoft.com"}
    assert (await world.http.post(f"{where}/token", data=resource)).json()["resource"] == "https://graph.microsoft.com"
    await _refused(
        await world.http.post(f"{where}/v2.0/token", data={**scoped, "scope": "x"}), "invalid_request", 9002313
    )


async def test_paths_that_clients_send(world: World) -> None:
    """Joined with a slash too many, ending with one, with an API version behind them, or in capitals."""
    form = {**CREDENTIALS, "client_id": world.app.id, "client_secret": world.secret}
    tenant = world.tenant.id
    for path in (
        f"//{tenant}/oauth2/v2.0/token",
        f"/{tenant}//oauth2/v2.0/token/",
        f"/{tenant}/OAuth2/V2.0/Token",
        f"/{tenant.upper()}/oauth2/Token?api-version=1.0",
    ):
        answer = await world.http.post(f"{world.http.base_url}".rstrip("/") + path, data=form)
        assert answer.status_code == 200 and answer.json()["access_token"], (path, answer.text)
    known = await world.http.get(f"/{tenant}/V2.0/.well-known/OpenId-Configuration/")
    assert known.status_code == 200 and known.json()["token_endpoint"].endswith(f"/{tenant}/oauth2/v2.0/token")
    for path in (f"/{tenant}/oauth2/v2.0/tokens", f"/{tenant}/oauth2/v20/token", f"/{tenant}/x/oauth2/token"):
        assert (await world.http.post(path, data=form)).status_code == 404, path


async def test_secret_in_the_address_is_not_read(world: World) -> None:
    where = f"/{world.tenant.id}/oauth2/v2.0/token"
    answer = await world.http.get(
        where, params={**CREDENTIALS, "client_id": world.app.id, "client_secret": world.secret}
    )
    assert answer.status_code == 400 and answer.json()["error_codes"] == [900144]


async def _refused(answer: httpx.Response, error: str, code: int, status: int = 400) -> dict[str, Any]:
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["error"], body["error_codes"]) == (status, error, [code]), body
    assert body["error_description"].startswith(f"AADSTS{code}: ")
    assert body.keys() == {
        "error",
        "error_description",
        "error_codes",
        "timestamp",
        "trace_id",
        "correlation_id",
        "error_uri",
    }
    assert "access_token" not in answer.text
    return body


async def test_refusals(world: World) -> None:
    """Each failure has OAuth's word and Entra's number."""
    secret = {"client_secret": world.secret}
    wrong = await world.token(**CREDENTIALS, client_secret="wrong")
    await _refused(wrong, "invalid_client", 7000215, 401)
    assert wrong.headers["www-authenticate"].startswith("Basic")
    await _refused(await world.token(**CREDENTIALS), "invalid_client", 7000218, 401)
    await _refused(await world.token(tenant="nowhere", **CREDENTIALS, **secret), "invalid_tenant", 90002)
    await _refused(await world.token(tenant="consumers", **CREDENTIALS, **secret), "invalid_tenant", 90002)
    unknown = {"client_id": "11111111-1111-1111-1111-111111111111"}
    await _refused(await world.token(**CREDENTIALS, **secret, **unknown), "unauthorized_client", 700016)
    await _refused(await world.token(**CREDENTIALS, client_id="", **secret), "invalid_request", 900144)
    await _refused(await world.token(grant_type="client_credentials", **secret), "invalid_request", 900144)
    await _refused(await world.token(scope="x"), "invalid_request", 900144)
    for grant in ("password", "implicit", "urn:ietf:params:oauth:grant-type:jwt-bearer"):
        answer = await world.token(grant_type=grant, username="ann@default.internal", password=PASSWORD, **secret)
        await _refused(answer, "unsupported_grant_type", 70003)
    named = {"grant_type": "client_credentials", **secret}
    await _refused(await world.token(scope="SecurityAlert.Read.All", **named), "invalid_scope", 1002012)
    await _refused(await world.token(scope="https://elsewhere.example/.default", **named), "invalid_resource", 500011)
    await _refused(await world.token(scope="a/.default b/.default", **named), "invalid_scope", 70011)
    await _refused(await world.token(scope="https://graph.microsoft.com/<x>", **named), "invalid_scope", 70011)


async def test_correlation(world: World) -> None:
    answer = await world.http.post(
        f"/{world.tenant.id}/oauth2/v2.0/token", data=CREDENTIALS, headers={"client-request-id": "abc-1"}
    )
    assert answer.json()["correlation_id"] == answer.headers["client-request-id"] == "abc-1"


async def test_bad_bodies(world: World, caplog: pytest.LogCaptureFixture) -> None:
    where = f"/{world.tenant.id}/oauth2/v2.0/token"
    for content in (
        b"\xff\xfe",
        b"a=%ff",
        b"a=1&a=2",
        b"a=%00",
        b"x" * 70_000,
        b"&".join([b"a%d=1" % i for i in range(200)]),
    ):
        answer = await world.http.post(where, content=content)
        assert answer.status_code == 400 and answer.json()["error"] == "invalid_request", content[:20]
    answer = await world.http.post(where, json={"grant_type": "client_credentials"})
    assert answer.json()["error_codes"] == [900144]
    assert "not application/json" in answer.json()["error_description"]
    for files, code in (
        ({"grant_type": ("a.txt", b"client_credentials")}, 900144),
        ({"grant_type": (None, b"\xff")}, 9002313),
        ({"x": (None, b"x" * 70_000)}, 9002313),
        ({f"a{at}": (None, b"1") for at in range(200)}, 9002313),
    ):
        answer = await world.http.post(where, files=files)
        assert answer.json()["error_codes"] == [code], answer.text
    for kind in ("multipart/form-data", "multipart/form-data; boundary=a"):
        answer = await world.http.post(where, content=b"grant_type=x", headers={"Content-Type": kind})
        assert answer.json()["error_codes"] == [9002313], answer.text
    assert not caplog.records  # nobody writes in the log without a token
    answer = await world.http.post(where, data=CREDENTIALS, headers={"Authorization": "Basic !!!"})
    assert answer.json()["error_codes"] == [9002313]


async def test_expired_and_disabled(world: World) -> None:
    app, secret = await world.add_app("short", secret_days=1)
    assert (await world.token(**CREDENTIALS, client_id=app.id, client_secret=secret)).status_code == 200
    world.clock.skip(86_401)
    await _refused(
        await world.token(**CREDENTIALS, client_id=app.id, client_secret=secret), "invalid_client", 7000222, 401
    )
    await world.authority.accounts.update(
        App, world.app.id, lambda a: replace(a, disabled=True), actor=audit.OPERATOR, activity="Disable application"
    )
    await _refused(await world.token(**CREDENTIALS, client_secret=world.secret), "unauthorized_client", 7000112)


async def test_app_of_another_tenant(world: World) -> None:
    """An app gets a token only where somebody consented to it; in two tenants it gets one for each."""
    other = await world.authority.accounts.add_tenant("Other", "other.internal", actor=audit.OPERATOR)
    await _refused(
        await world.token(tenant=other.id, **CREDENTIALS, client_secret=world.secret), "unauthorized_client", 700016
    )
    await world.authority.accounts.grant(other.id, world.app.id, "", ["SecurityEvents.Read.All"], actor=audit.OPERATOR)
    answer = await world.token(tenant="other.internal", **CREDENTIALS, client_secret=world.secret)
    caller = await world.authority.verifier.authenticate(answer.json()["access_token"])
    assert caller.tenant == other.id and caller.permissions == {"SecurityEvents.Read.All"}
    home = await world.authority.verifier.authenticate(await world.app_token())
    assert home.tenant == world.tenant.id and home.permissions == {"SecurityAlert.Read.All"}
    await _refused(
        await world.token(tenant="common", **CREDENTIALS, client_secret=world.secret), "invalid_request", 50059
    )


async def test_host_of_issuer(world: World) -> None:
    """Issuer and discovery follow the Host header only where it is allowed."""
    for host, base in (("127.0.0.1:8443", "https://127.0.0.1:8443"), ("evil.example", "https://localhost:8443")):
        headers = {"host": host}
        found = (await world.http.get("/default/v2.0/.well-known/openid-configuration", headers=headers)).json()
        assert found["issuer"] == f"{base}/{world.tenant.id}/v2.0"
        assert all(v.startswith(base) for k, v in found.items() if k.endswith(("endpoint", "uri")))
        form = {**CREDENTIALS, "client_id": world.app.id, "client_secret": world.secret}
        answer = await world.http.post(f"/{world.tenant.id}/oauth2/v2.0/token", data=form, headers=headers)
        token = answer.json()["access_token"]
        assert claims_of(token)["iss"] == found["issuer"]
        assert await world.authority.verifier.authenticate(token)
