"""An authority on a temporary store, spoken to in process; and one behind TLS for the official clients."""

import asyncio
import datetime as dt
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
import uvicorn
from argon2 import PasswordHasher
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette

from bartizan.auth import audit, tls
from bartizan.auth.accounts import App, Tenant, User, new_app_secret, new_id
from bartizan.auth.authority import COLLECTIONS, Authority
from bartizan.auth.caller import Role
from bartizan.auth.keys import unb64
from bartizan.auth.web import routes
from bartizan.settings import Settings
from bartizan.store import open_store

PASSWORD = "a long enough password"
HASH = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(PASSWORD)  # the least work; tests sign in often
REDIRECT = "https://app.example.org/callback"
LOOPBACK = "http://localhost:5000/login/authorized"
APPLICATION = frozenset({"SecurityEvents.Read.All", "SecurityAlert.Read.All", "SecurityAlert.ReadWrite.All"})
DELEGATED = frozenset(
    {"SecurityEvents.Read.All", "SecurityEvents.ReadWrite.All", "SecurityAlert.Read.All", "User.Read"}
)


class Clock:
    """The time that the authority sees; `skip` moves it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead

    def skip(self, seconds: float) -> None:
        self.ahead += seconds


@dataclass
class World:
    """An authority with a tenant, an app that was consented to, and accounts; and a browser or client that speaks to
    it."""

    authority: Authority
    clock: Clock
    http: httpx.AsyncClient
    tenant: Tenant
    app: App
    secret: str
    users: dict[str, User] = field(default_factory=dict)

    async def add_app(self, name: str = "other", **fields: Any) -> tuple[App, str]:
        made, text = new_app_secret(self.clock(), days=fields.pop("secret_days", 30))
        tenant = fields.pop("tenant", self.tenant.id)
        app = App(id=new_id(), name=name, created=int(self.clock()), secrets=[made], **fields)
        await self.authority.accounts.add_app(app, actor=audit.OPERATOR, tenant=tenant)
        return app, text

    async def add_user(self, upn: str, *roles: Role, tenant: str | None = None, **fields: Any) -> User:
        user = User(
            id=new_id(),
            upn=upn,
            name=upn.split("@")[0].title(),
            password=HASH,
            roles={tenant or self.tenant.id: list(roles)},
            **fields,
        )
        self.users[upn] = await self.authority.accounts.add_user(user, actor=audit.OPERATOR)
        return user

    async def token(self, version: str = "/v2.0", *, tenant: str | None = None, **form: str) -> httpx.Response:
        fields = {"client_id": self.app.id, **form}
        return await self.http.post(
            f"/{tenant or self.tenant.id}/oauth2{version}/token", data={k: v for k, v in fields.items() if v}
        )

    async def app_token(self, **form: str) -> str:
        fields = {
            "grant_type": "client_credentials",
            "scope": "https://graph.microsoft.com/.default",
            "client_secret": self.secret,
        }
        answer = await self.token(**(fields | form))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def authorize(self, **query: str) -> httpx.Response:
        tenant, version = query.pop("tenant", self.tenant.id), query.pop("version", "/v2.0")
        fields = {
            "client_id": self.app.id,
            "response_type": "code",
            "redirect_uri": REDIRECT,
            "state": "a b&c",
            "scope": "openid profile offline_access SecurityAlert.Read.All",
        } | query
        return await self.http.get(
            f"/{tenant}/oauth2{version}/authorize", params={k: v for k, v in fields.items() if v}
        )

    async def submit(self, page: httpx.Response, **fields: str) -> httpx.Response:
        """Sends the form of a page as a browser would."""
        action, hidden = form_of(page.text)
        return await self.http.post(action, data={**hidden, **fields})

    async def sign_in(
        self, page: httpx.Response, upn: str = "ann@default.internal", password: str = PASSWORD
    ) -> httpx.Response:
        return await self.submit(page, username=upn, password=password)

    async def code(self, upn: str = "ann@default.internal", **query: str) -> str:
        answer = await self.authorize(**query)
        if answer.status_code == 200:
            answer = await self.sign_in(answer, upn)
        return answer_of(answer)["code"]

    async def user_tokens(self, **query: str) -> dict[str, Any]:
        code = await self.code(**query)
        answer = await self.token(
            grant_type="authorization_code", code=code, redirect_uri=REDIRECT, client_secret=self.secret
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


def form_of(html: str) -> tuple[str, dict[str, str]]:
    """Where a page's form goes, and its hidden fields."""

    class Reader(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.action = ""
            self.hidden: dict[str, str] = {}

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found = {k: v or "" for k, v in attrs}
            if tag == "form":
                self.action = found["action"]
            if tag == "input" and found.get("type") == "hidden":
                self.hidden[found["name"]] = found["value"]

    reader = Reader()
    reader.feed(html)
    assert reader.action, html
    return reader.action, reader.hidden


def answer_of(response: httpx.Response) -> dict[str, str]:
    """What a redirect hands to the client, in query or fragment."""
    assert response.status_code in (302, 303), f"{response.status_code} {response.text}"
    parts = urlsplit(response.headers["location"])
    return dict(parse_qsl(parts.fragment or parts.query))


def claims_of(token: str) -> dict[str, Any]:
    return dict(json.loads(unb64(token.split(".")[1])))


def key_pair() -> tuple[rsa.RSAPrivateKey, x509.Certificate]:
    """An app's key and its certificate of its own."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sample app")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - dt.timedelta(days=1)).not_valid_after(now + dt.timedelta(days=9))
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    return key, certificate


async def make_world(tmp_path: Path, **settings: Any) -> World:
    clock = Clock()
    chosen = Settings(data=str(tmp_path), **{"revocation_check_ms": 0, **settings})
    store = open_store(chosen.store or tmp_path, (*COLLECTIONS, audit.declared()))
    await store.start()
    authority = Authority(chosen, store, permissions=lambda: (APPLICATION, DELEGATED), clock=clock)
    await authority.start()
    tenant = await authority.accounts.first_tenant()
    http = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=Starlette(routes=list(routes(authority))), client=("192.0.2.7", 4711)),
        base_url=chosen.root,
    )
    world = World(authority, clock, http, tenant, App(id="", name=""), "")
    world.app, world.secret = await world.add_app(
        "sample",
        redirect_uris=[REDIRECT, LOOPBACK],
        application=["SecurityAlert.Read.All"],
        delegated=["SecurityAlert.Read.All", "SecurityEvents.Read.All"],
    )
    await world.add_user("ann@default.internal", "SecurityReader")
    await world.add_user("root@default.internal", "SecurityAdministrator")
    return world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = await make_world(tmp_path)
    yield made
    await made.http.aclose()
    await made.authority.store.close()


@dataclass
class Served:
    """A started server behind TLS with the own CA, in a thread of this process."""

    base: str
    ca: Path
    tenant: Tenant
    app: App
    secret: str
    world: World
    loop: asyncio.AbstractEventLoop

    def run(self, work: Any) -> Any:
        """Something that the server's own loop must do."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("authority")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ready: list[Any] = []
    started = threading.Event()

    async def main() -> None:
        world = await make_world(folder, port=port, device_interval_s=1, key_lead_s=0, password_grant=True)
        config = uvicorn.Config(
            Starlette(routes=list(routes(world.authority))), host="127.0.0.1", port=port, log_level="critical",
            timeout_graceful_shutdown=1, lifespan="off",
            ssl_context_factory=lambda config, default: tls.server_context(world.authority.settings),
        )  # fmt: skip
        server = uvicorn.Server(config)
        ready.extend([server, world, asyncio.get_running_loop()])
        task = asyncio.create_task(server.serve())
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        started.set()
        await task
        for connection in list(server.server_state.connections):  # clients that never say goodbye
            connection.transport.abort()
        await asyncio.sleep(0)
        await world.http.aclose()
        await world.authority.store.close()

    thread = threading.Thread(target=lambda: asyncio.run(main()), name="authority")
    thread.start()
    assert started.wait(30)
    server, world, loop = ready
    ca = folder / "ca-export.pem"
    ca.write_bytes(tls.ca_pem(world.authority.settings))
    yield Served(f"https://localhost:{port}", ca, world.tenant, world.app, world.secret, world, loop)
    server.should_exit = True
    thread.join(15)
    assert not thread.is_alive()
