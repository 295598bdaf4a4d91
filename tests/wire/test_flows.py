"""Real clients sign in and use the whole program: who may do what, in which tenant, with which token."""

import json
import ssl
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import msal
import pytest
import requests
from azure.identity import CertificateCredential
from cryptography.hazmat.primitives import serialization
from tests.auth.conftest import LOOPBACK, PASSWORD, claims_of, form_of, key_pair
from tests.wire.conftest import Running, run

SCOPE = "https://graph.microsoft.com/.default"
DELEGATED = ["SecurityAlert.ReadWrite.All", "SecurityIncident.Read.All", "AuditLog.Read.All", "User.Read"]
ALERTS = "/v1.0/security/alerts_v2"
ROLES = {"rita": "SecurityReader", "olga": "SecurityOperator", "nora": None}


@dataclass(frozen=True)
class Console:
    """An application whose users sign in, and its people."""

    server: Running
    client_id: str
    domain: str

    def upn(self, name: str) -> str:
        return f"{name}@{self.domain}"

    def msal(self, kind: Any = msal.PublicClientApplication, client_id: str = "", tenant: str = "", **more: Any) -> Any:
        session = requests.Session()
        session.verify, session.trust_env = str(self.server.ca), False
        authority = f"{self.server.root}/{tenant or self.server.tenant}"
        return kind(
            client_id or self.client_id, authority=authority, instance_discovery=False, http_client=session, **more
        )

    def sign_in(self, address: str, name: str) -> dict[str, str]:
        """What a person does in a browser; what the application gets."""
        with self.server.http() as browser:
            action, hidden = form_of(browser.get(address).text)
            done = browser.post(action, data={**hidden, "username": self.upn(name), "password": PASSWORD})
            assert done.status_code == 200, done.text
            return form_of(done.text)[1]  # form_post: the page carries the code to the application

    def token_of(self, name: str) -> dict[str, Any]:
        """By authorization code with PKCE."""
        app = self.msal()
        flow = app.initiate_auth_code_flow(DELEGATED, redirect_uri=LOOPBACK, response_mode="form_post")
        result = app.acquire_token_by_auth_code_flow(flow, self.sign_in(flow["auth_uri"], name))
        app.http_client.close()
        assert "access_token" in result, result
        return dict(result)

    def api(self, token: str) -> httpx.Client:
        return self.server.http(Authorization=f"Bearer {token}")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """msal leaves the sockets of its sessions to the garbage collector."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield


@pytest.fixture(scope="module")
def console(server: Running) -> Console:
    scopes = [word for scope in DELEGATED for word in ("--delegated", scope)]
    app = json.loads(server.command("app", "add", "console", *scopes, "--redirect-uri", LOOPBACK))
    made = Console(server, app["clientId"], "flows.example")
    for name, role in ROLES.items():
        asked = ["--role", role] if role else []
        server.command("user", "add", made.upn(name), *asked, "--password-stdin", stdin=PASSWORD)
    return made


@pytest.fixture(scope="module")
def second(server: Running) -> str:
    """Another tenant, in which the first one's application is granted too."""
    made = json.loads(server.command("tenant", "add", "second"))
    granted = ["--permission", "SecurityAlert.Read.All", "--permission", "Bartizan.Ingest.All"]
    server.command("consent", "add", server.client_id, "--tenant", "second", *granted)
    return str(made["tenantId"] if "tenantId" in made else made["id"])


@pytest.fixture(scope="module")
def alert(server: Running) -> str:
    with server.api() as api:
        answer = api.post(ALERTS, json={"title": "of the first tenant", "severity": "high"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def refused(answer: httpx.Response, status: int, code: str) -> None:
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), answer.text


def test_roles_of_signed_in_users(console: Console, alert: str) -> None:
    """A reader reads, an operator changes, who has no role sees itself only; the change is on the record."""
    one = f"{ALERTS}/{alert}"
    with console.api(console.token_of("rita")["access_token"]) as rita:
        assert rita.get(one).json()["id"] == alert
        refused(rita.patch(one, json={"status": "resolved"}), 403, "Forbidden")
        assert rita.get(one).json()["status"] != "resolved"
    with console.api(console.token_of("olga")["access_token"]) as olga:
        changed = olga.patch(one, json={"status": "resolved", "assignedTo": console.upn("olga")})
        assert changed.status_code == 200 and changed.json()["status"] == "resolved", changed.text
        refused(olga.post(ALERTS, json={"title": "t"}), 403, "Forbidden")
        audits = olga.get("/v1.0/auditLogs/directoryAudits?$top=50").json()["value"]
    mine = [each for each in audits if any(target["id"] == alert for target in each["targetResources"])]
    assert mine and mine[0]["initiatedBy"]["user"]["userPrincipalName"] == console.upn("olga"), audits[:3]
    with console.api(console.token_of("nora")["access_token"]) as nora:
        refused(nora.get(ALERTS), 403, "Forbidden")
        refused(nora.get(one), 403, "Forbidden")
        refused(nora.get(f"/v1.0/users/{console.upn('rita')}"), 403, "Authorization_RequestDenied")


def test_device_code(console: Console) -> None:
    """The person approves on a page of its own while the client waits."""
    app = console.msal()
    flow = app.initiate_device_flow(DELEGATED)
    with console.server.http() as browser:
        page = flow["verification_uri"]
        action, hidden = form_of(browser.post(page, data={"user_code": flow["user_code"]}).text)
        approval = browser.post(action, data={**hidden, "username": console.upn("rita"), "password": PASSWORD})
        action, hidden = form_of(approval.text)
        assert "Approved" in browser.post(action, data={**hidden, "decision": "accept"}).text
    result = app.acquire_token_by_device_flow(flow)
    app.http_client.close()
    with console.api(result["access_token"]) as rita:
        assert rita.get("/v1.0/security/incidents").status_code == 200


def test_refresh_rotates_and_a_reused_token_ends_the_session(console: Console) -> None:
    first = console.token_of("rita")["refresh_token"]
    with console.server.http() as http:

        def refresh(token: str) -> httpx.Response:
            form = {"grant_type": "refresh_token", "client_id": console.client_id, "refresh_token": token}
            return http.post(f"/{console.server.tenant}/oauth2/v2.0/token", data=form)

        fresh = refresh(first)
        assert fresh.status_code == 200 and fresh.json()["refresh_token"] != first, fresh.text
        with console.api(fresh.json()["access_token"]) as rita:
            assert rita.get(ALERTS).status_code == 200
        second = refresh(fresh.json()["refresh_token"])
        assert second.status_code == 200, second.text
        for stolen in (first, second.json()["refresh_token"]):
            answer = refresh(stolen)
            assert answer.status_code == 400 and answer.json()["error"] == "invalid_grant", answer.text


def test_certificate(server: Running, console: Console, tmp_path: Path) -> None:
    """A client that has a key and no secret, by msal and by azure-identity."""
    key, certificate = key_pair()
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    (tmp_path / "app.pem").write_bytes(pem)
    made = json.loads(
        server.command(
            "app", "add", "by key", "--permission", "SecurityAlert.Read.All", "--certificate", str(tmp_path / "app.pem")
        )
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    credential = {"private_key": private.decode(), "public_certificate": pem.decode()}
    app = console.msal(msal.ConfidentialClientApplication, made["clientId"], client_credential=credential)
    tokens = [app.acquire_token_for_client([SCOPE])["access_token"]]
    app.http_client.close()
    azure = CertificateCredential(
        server.tenant,
        made["clientId"],
        certificate_data=private + pem,
        authority=server.root,
        disable_instance_discovery=True,
        connection_verify=str(server.ca),
    )
    with azure:
        tokens.append(azure.get_token(SCOPE).token)
    for token in tokens:
        with console.api(token) as api:
            assert api.get(ALERTS).status_code == 200
            refused(api.get("/v1.0/security/incidents"), 403, "Forbidden")
            refused(api.patch(f"{ALERTS}/x", json={"status": "new"}), 403, "Forbidden")


def test_one_app_in_two_tenants(server: Running, console: Console, second: str, alert: str) -> None:
    """One token each; what one tenant has, the other never sees, and permissions are those of the tenant."""
    app = console.msal(msal.ConfidentialClientApplication, server.client_id, second, client_credential=server.secret)
    there = app.acquire_token_for_client([SCOPE])["access_token"]
    app.http_client.close()
    assert claims_of(there)["tid"] == second != server.tenant
    with console.api(there) as api:
        assert api.get(ALERTS).json()["value"] == []
        refused(api.get(f"{ALERTS}/{alert}"), 404, "ResourceNotFound")
        refused(api.get("/v1.0/users"), 403, "Authorization_RequestDenied")
        made = api.post(ALERTS, json={"title": "of the second tenant"})
        assert made.status_code == 201, made.text
        assert [each["id"] for each in api.get(ALERTS).json()["value"]] == [made.json()["id"]]
    with server.api() as api:
        refused(api.get(f"{ALERTS}/{made.json()['id']}"), 404, "ResourceNotFound")


def test_an_app_without_consent_gets_no_token(server: Running, second: str) -> None:
    made = json.loads(server.command("app", "add", "first only", "--permission", "SecurityAlert.Read.All"))
    form = {"grant_type": "client_credentials", "client_id": made["clientId"], "client_secret": made["clientSecret"]}
    with server.http() as http:
        answer = http.post(f"/{second}/oauth2/v2.0/token", data={**form, "scope": SCOPE})
    assert answer.status_code in (400, 401) and "AADSTS" in answer.json()["error_description"], answer.text


@pytest.mark.parametrize(
    ("path", "ask"),
    [
        ("/oauth2/v2.0/token", lambda root: {"scope": f"{root}/.default"}),
        ("/oauth2/v2.0/token", lambda root: {"scope": SCOPE}),
        ("/oauth2/token", lambda root: {"resource": "https://graph.microsoft.com"}),
        ("/oauth2/token", lambda root: {"resource": f"{root}/"}),
    ],
)
def test_ways_to_ask_for_an_app_token(server: Running, path: str, ask: Callable[[str], dict[str, str]]) -> None:
    """`.default` of Graph's address and of our own, and the v1 endpoint: each token opens the API."""
    form = {"grant_type": "client_credentials", "client_id": server.client_id, "client_secret": server.secret}
    with server.http() as http:
        answer = http.post(f"/{server.tenant}{path}", data={**form, **ask(server.root)})
        assert answer.status_code == 200, answer.text
        listed = http.get(ALERTS, headers={"Authorization": f"Bearer {answer.json()['access_token']}"})
        assert listed.status_code == 200, listed.text
        for wrong in ({"scope": "https://other.example/.default"}, {"resource": "https://other.example"}):
            assert http.post(f"/{server.tenant}{path}", data={**form, **wrong}).status_code == 400


def test_no_token_no_answer(server: Running) -> None:
    """401 for none, for one that was changed, and for one of nobody; and nothing goes out in the clear."""
    token = server.token()
    head, body, signature = token.split(".")
    for sent in (
        None,
        "Bearer",
        "Bearer nonsense",
        f"Bearer {head}.{body}.{signature[::-1]}",
        f"Bearer {head}.{body}.",
    ):
        with server.http(**({} if sent is None else {"Authorization": sent})) as http:
            refused(http.get(ALERTS), 401, "InvalidAuthenticationToken")
    with pytest.raises(httpx.TransportError):
        httpx.get(server.root.replace("https:", "http:") + ALERTS)
    context = ssl.create_default_context()
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(server.root + ALERTS, verify=context)


def test_a_source_token_delivers_its_source_only(server: Running) -> None:
    """What `bartizan token add` prints delivers records of its source, and nothing else."""
    made = json.loads(run("token", "add", "--source", "suricata_eve", data=server.data))
    record = {
        "timestamp": "2026-03-01T10:15:00.000000+0000",
        "event_type": "alert",
        "src_ip": "203.0.113.7",
        "dest_ip": "10.0.0.5",
        "proto": "TCP",
        "alert": {"signature_id": 2019401, "signature": "ET POLICY Vulnerable Java", "severity": 2},
    }
    with server.http(Authorization=f"Bearer {made['token']}") as sender:
        taken = sender.post("/ingest/suricata_eve", json=record)
        assert (taken.status_code, taken.json()["accepted"]) == (200, 1), taken.text
        refused(sender.post("/ingest/falco", json=record), 403, "Forbidden")
        refused(sender.get(ALERTS), 401, "InvalidAuthenticationToken")
