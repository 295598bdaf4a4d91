"""msal and azure-identity, unchanged, against a started authority behind TLS with its own CA."""

import datetime as dt
import re
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msal
import pytest
import requests
from azure.identity import (
    AuthorizationCodeCredential,
    CertificateCredential,
    ClientSecretCredential,
    DeviceCodeCredential,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from msgspec.structs import replace
from tests.auth.conftest import LOOPBACK, PASSWORD, Served, answer_of, claims_of, form_of, key_pair

from bartizan.auth import audit
from bartizan.auth.accounts import EVERYONE, App
from bartizan.auth.clients import read_certificate

SCOPE = "https://graph.microsoft.com/.default"


_SESSIONS: list[requests.Session] = []


@pytest.fixture(autouse=True)
def close_sessions() -> Iterator[None]:
    yield
    while _SESSIONS:
        _SESSIONS.pop().close()


def _msal(served: Served, kind: type = msal.ConfidentialClientApplication, **options: Any) -> Any:
    session = requests.Session()
    _SESSIONS.append(session)
    session.verify = str(served.ca)
    session.trust_env = False  # or REQUESTS_CA_BUNDLE would win over verify
    fields = {"authority": f"{served.base}/{served.tenant.id}", "instance_discovery": False, **options}
    if kind is msal.ConfidentialClientApplication:
        fields.setdefault("client_credential", served.secret)
    return kind(served.app.id, http_client=session, **fields)


def _browser(served: Served) -> httpx.Client:
    return httpx.Client(base_url=served.base, verify=ssl.create_default_context(cafile=str(served.ca)))


@pytest.fixture(scope="module")
def pair(served: Served) -> tuple[bytes, bytes]:
    """A key and a certificate that the sample app has registered (PEM)."""
    key, certificate = key_pair()
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    known = read_certificate(pem, 0)
    served.run(
        served.world.authority.accounts.update(
            App,
            served.app.id,
            lambda app: replace(app, certificates=[known]),
            actor=audit.OPERATOR,
            activity="Update application",
        )
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, pem


@pytest.mark.parametrize("tenant", ["id", "default.internal", "default"])
def test_msal_client_credentials(served: Served, tenant: str) -> None:
    reference = served.tenant.id if tenant == "id" else tenant
    app = _msal(served, authority=f"{served.base}/{reference}")
    result = app.acquire_token_for_client([SCOPE])
    assert "access_token" in result, result
    assert app.acquire_token_for_client([SCOPE])["token_source"] == "cache"


class _Port(requests.adapters.HTTPAdapter):  # type: ignore[misc]  # requests brings no types
    """Sends what is for port 443 to the server's own."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self.base = base

    def send(self, request: Any, *args: Any, **options: Any) -> Any:
        request.url = request.url.replace("https://localhost", self.base)
        return super().send(request, *args, **options)


def test_msal_password(served: Served) -> None:
    """msal asks for the realm of the name first (without the port, which is 443 where it works), and keeps what it
    gets."""
    served.run(
        served.world.authority.accounts.grant(
            served.tenant.id, served.app.id, EVERYONE, ["SecurityAlert.Read.All"], actor=audit.OPERATOR
        )
    )
    app = _msal(served)  # of public clients msal discourages it by a warning
    _SESSIONS[-1].mount("https://localhost/", _Port(served.base))
    result = app.acquire_token_by_username_password("ann@default.internal", PASSWORD, ["SecurityAlert.Read.All"])
    assert result.get("scope") == "SecurityAlert.Read.All openid profile", result
    assert claims_of(result["access_token"])["upn"] == "ann@default.internal"
    (account,) = app.get_accounts("ann@default.internal")
    assert app.acquire_token_silent(["SecurityAlert.Read.All"], account)["access_token"] == result["access_token"]
    wrong = app.acquire_token_by_username_password("ann@default.internal", "wrong", ["SecurityAlert.Read.All"])
    assert (wrong["error"], wrong["error_codes"]) == ("invalid_grant", [50126])


@pytest.mark.parametrize("tenant", ["id", "default.internal"])
def test_msal_oidc_authority(served: Served, tenant: str) -> None:
    """With oidc_authority msal compares the issuer with the authority."""
    reference = served.tenant.id if tenant == "id" else tenant
    app = _msal(served, authority=None, oidc_authority=f"{served.base}/{reference}/v2.0", instance_discovery=None)
    assert "access_token" in app.acquire_token_for_client([SCOPE])


def test_msal_instance_discovery(served: Served) -> None:
    """A client that asks our own host whether it may trust it is told so."""
    app = _msal(served, instance_discovery=f"{served.base}/common/discovery/instance")
    assert "access_token" in app.acquire_token_for_client([SCOPE])


def test_msal_bad_secret(served: Served) -> None:
    result = _msal(served, client_credential="wrong").acquire_token_for_client([SCOPE])
    assert result["error"] == "invalid_client" and result["error_codes"] == [7000215]


@pytest.mark.parametrize("print_", ["sha1", "sha256"])
def test_msal_certificate(served: Served, pair: tuple[bytes, bytes], print_: str) -> None:
    """The same assertion comes several times: msal keeps it for minutes."""
    private, pem = pair
    found = x509.load_pem_x509_certificate(pem)
    credential: dict[str, Any] = {"private_key": private.decode(), "public_certificate": pem.decode()}
    if print_ == "sha1":
        credential["thumbprint"] = found.fingerprint(hashes.SHA1()).hex()
    app = _msal(served, client_credential=credential)
    for scope in (SCOPE, f"{served.base}/.default"):
        result = app.acquire_token_for_client([scope])
        assert "access_token" in result, result
        assert claims_of(result["access_token"])["azpacr"] == "2"


def _sign_in(served: Served, address: str, upn: str) -> dict[str, str]:
    """What a person does in a browser; the answer that goes to the app."""
    with _browser(served) as browser:
        page = browser.get(address)
        assert page.status_code == 200, page.text
        action, hidden = form_of(page.text)
        answer = browser.post(action, data={**hidden, "username": upn, "password": PASSWORD})
        # With form_post the browser is given a form that leads to the app.
        return form_of(answer.text)[1] if answer.status_code == 200 else answer_of(answer)


@pytest.mark.parametrize("kind", [msal.ConfidentialClientApplication, msal.PublicClientApplication])
def test_msal_authorization_code(served: Served, kind: type) -> None:
    """With PKCE, as confidential and as public client; the id token is checked by msal; refresh goes on."""
    app = _msal(served, kind)
    flow = app.initiate_auth_code_flow(["SecurityAlert.Read.All"], redirect_uri=LOOPBACK, response_mode="form_post")
    answer = _sign_in(served, flow["auth_uri"], "ann@default.internal")
    result = app.acquire_token_by_auth_code_flow(flow, answer)
    assert "access_token" in result, result
    assert result["id_token_claims"]["preferred_username"] == "ann@default.internal"
    assert "SecurityAlert.Read.All" in result["scope"].split()
    account = app.get_accounts()[0]
    assert account["username"] == "ann@default.internal"
    fresh = app.acquire_token_silent_with_error(["SecurityAlert.Read.All"], account, force_refresh=True)
    assert fresh["access_token"] != result["access_token"], fresh
    again = app.acquire_token_silent_with_error(["SecurityEvents.Read.All"], account, force_refresh=True)
    assert claims_of(again["access_token"])["scp"].split()[0] == "SecurityEvents.Read.All", again


def _approve(served: Served, page: str, code: str) -> None:
    with _browser(served) as browser:
        assert browser.get(page).status_code == 200
        login = browser.post(page, data={"user_code": code})
        action, hidden = form_of(login.text)
        approval = browser.post(action, data={**hidden, "username": "ann@default.internal", "password": PASSWORD})
        action, hidden = form_of(approval.text)
        done = browser.post(action, data={**hidden, "decision": "accept"})
        assert "Approved" in done.text, done.text


@pytest.mark.parametrize("tenant", ["id", "organizations"])
def test_msal_device_flow(served: Served, tenant: str) -> None:
    app = _msal(
        served,
        msal.PublicClientApplication,
        authority=f"{served.base}/{served.tenant.id if tenant == 'id' else tenant}",
    )
    flow = app.initiate_device_flow(["SecurityAlert.Read.All"])
    assert re.fullmatch(r"[A-Z]{4}-[A-Z]{4}", flow["user_code"]) and flow["message"]
    _approve(served, flow["verification_uri"], flow["user_code"])
    result = app.acquire_token_by_device_flow(flow)
    assert result["id_token_claims"]["name"] == "Ann", result


def test_azure_identity(served: Served, pair: tuple[bytes, bytes]) -> None:
    """ClientSecretCredential, CertificateCredential and DeviceCodeCredential, by the authority's own options."""
    options: dict[str, Any] = {
        "authority": served.base,
        "disable_instance_discovery": True,
        "connection_verify": str(served.ca),
    }
    one = ClientSecretCredential(served.tenant.id, served.app.id, served.secret, **options)
    with one:
        assert one.get_token(SCOPE).token
        assert one.get_token(SCOPE, enable_cae=True).token
    two = CertificateCredential(served.tenant.id, served.app.id, certificate_data=pair[0] + pair[1], **options)
    with two:
        assert two.get_token(f"{served.base}/.default").token

    person: list[threading.Thread] = []

    def prompt(page: str, code: str, _until: dt.datetime) -> None:
        person.append(threading.Thread(target=_approve, args=(served, page, code)))
        person[0].start()

    three = DeviceCodeCredential(served.app.id, tenant_id=served.tenant.id, prompt_callback=prompt, **options)
    with three:
        token = three.get_token("https://graph.microsoft.com/SecurityAlert.Read.All")
    person[0].join()
    assert claims_of(token.token)["upn"] == "ann@default.internal"


def test_azure_identity_authorization_code(served: Served) -> None:
    query = httpx.QueryParams(
        client_id=served.app.id, response_type="code", redirect_uri=LOOPBACK, scope=f"{SCOPE} offline_access"
    )
    code = _sign_in(served, f"/{served.tenant.id}/oauth2/v2.0/authorize?{query}", "ann@default.internal")["code"]
    credential = AuthorizationCodeCredential(
        served.tenant.id, served.app.id, code, LOOPBACK, client_secret=served.secret, authority=served.base,
        disable_instance_discovery=True, connection_verify=str(served.ca),
    )  # fmt: skip
    with credential:
        token = credential.get_token(SCOPE)
    assert claims_of(token.token)["scp"].split()[0] == "SecurityAlert.Read.All"


def test_tls_is_taken_by_openssl_rules(served: Served) -> None:
    """X.509 strict checks pass, for each name that the certificate holds."""
    context = ssl.create_default_context(cafile=str(served.ca))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    for host in ("localhost", "127.0.0.1"):
        where = served.base.replace("localhost", host)
        assert httpx.get(f"{where}/common/v2.0/.well-known/openid-configuration", verify=context).status_code == 200
    assert Path(served.ca).read_bytes().count(b"PRIVATE") == 0
