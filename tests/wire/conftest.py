"""A started server with the sample organisation in it: the real command, real TLS, real tokens."""

import asyncio
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import httpx
import pytest
import pytest_asyncio

from bartizan.demo.feed import Server as FeedServer
from bartizan.demo.feed import fill
from bartizan.demo.organisation import Organisation

if TYPE_CHECKING:
    from azure.identity.aio import ClientSecretCredential
    from msgraph import GraphServiceClient

START_S = 60
SCOPE = ["https://graph.microsoft.com/.default"]


@dataclass(frozen=True)
class Running:
    """A server that answers, and an application that may do everything in its first tenant."""

    root: str
    port: int
    data: Path
    ca: Path
    tenant: str
    client_id: str
    secret: str

    def command(self, *args: str, stdin: str | None = None) -> str:
        """`bartizan ARGS --data DIR`; what it printed."""
        return run(*args, data=self.data, stdin=stdin)

    def http(self, **headers: str) -> httpx.Client:
        return httpx.Client(base_url=self.root, verify=ssl.create_default_context(cafile=str(self.ca)), headers=headers)

    def credential(self) -> "ClientSecretCredential":
        """For Microsoft's SDKs; close it, or use it as a context."""
        from azure.identity.aio import ClientSecretCredential  # of two test modules in ten

        return ClientSecretCredential(
            self.tenant,
            self.client_id,
            self.secret,
            authority=self.root,
            disable_instance_discovery=True,
            connection_verify=str(self.ca),
        )

    def token(self, client_id: str | None = None, secret: str | None = None) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id or self.client_id,
            "client_secret": secret or self.secret,
            "scope": "https://graph.microsoft.com/.default",
        }
        with self.http() as client:
            answer = client.post(f"/{self.tenant}/oauth2/v2.0/token", data=form)
        assert answer.status_code == 200, answer.text + (self.data / "server.log").read_text(errors="replace")[-6000:]
        return str(answer.json()["access_token"])

    def api(self) -> httpx.Client:
        return self.http(Authorization=f"Bearer {self.token()}")


def says_why(answer: httpx.Response, client: str, status: int, says: str) -> None:
    """A refusal in Graph's envelope."""
    assert answer.status_code == status, f"{client}: {answer.text}"
    problem = answer.json()["error"]
    assert says.lower() in problem["message"].lower(), problem
    assert problem["code"] and problem["innerError"]["request-id"]


def run(*args: str, data: Path, stdin: str | None = None) -> str:
    command = [sys.executable, "-m", "bartizan", *args, "--data", str(data)]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(data: Path, port: int, *extra: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "bartizan", "serve", "--data", str(data), "--port", str(port), *extra]
    with (data / "server.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)


def wait_ready(process: subprocess.Popen[bytes], data: Path, port: int) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            break
        try:
            # not verified: the authority is made at this start
            if httpx.get(f"https://localhost:{port}/healthz", verify=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the server did not start:\n" + (data / "server.log").read_text(errors="replace")[-4000:])


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise AssertionError("the server did not stop within 20 s of SIGTERM") from None


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with seeded(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture(scope="module")
def api(server: Running) -> Iterator[httpx.Client]:
    """A client of the module's server that may do everything."""
    with server.api() as client:
        yield client


@contextmanager
def seeded(data: Path, *store: str) -> Iterator[Running]:
    """A server with the sample organisation in it; `store` is such as ("--store", DSN)."""
    port = free_port()
    process = start(data, port, "--allow-private-notifications", *store)
    try:
        wait_ready(process, data, port)
        app = json.loads(run("app", "add", "wire tests", "--all", *store, data=data))
        ca = data / "wire-ca.pem"
        ca.write_text(run("ca", "export", data=data))
        running = Running(
            f"https://localhost:{port}", port, data, ca, app["tenantId"], app["clientId"], app["clientSecret"]
        )
        asyncio.run(_fill(running))
        _wait_correlated(running)
        yield running
    finally:
        stop(process)


def _wait_correlated(running: Running) -> None:
    """The worker makes incidents of the sample's alerts; its attack is one of them."""
    end = time.monotonic() + 120
    with running.api() as api:
        while True:
            incidents = api.get("/v1.0/security/incidents?$top=500").json()["value"]
            if any(each["displayName"].startswith("Attack on ") for each in incidents):
                return
            assert time.monotonic() < end, [each["displayName"] for each in incidents]
            time.sleep(0.2)


async def _fill(running: Running) -> None:
    context = ssl.create_default_context(cafile=str(running.ca))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context)) as session:
        feed = FeedServer(session, running.root, running.tenant, running.client_id, running.secret)
        await fill(feed, Organisation(people=24), datetime.now(UTC), days=2)


@pytest.fixture(scope="module")
def trust(server: Running) -> Iterator[None]:
    """The SDK's own client takes the authority from the environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(server.ca))
        yield


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def credential(server: Running) -> AsyncIterator["ClientSecretCredential"]:
    made = server.credential()
    async with made:
        yield made


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def graph(
    server: Running, trust: None, credential: "ClientSecretCredential"
) -> AsyncIterator["GraphServiceClient"]:
    """Microsoft's SDK, which is imported where it is asked for: that takes a second."""
    from msgraph import GraphServiceClient

    client = GraphServiceClient(credential, SCOPE)
    client.request_adapter.base_url = f"{server.root}/v1.0"
    yield client
    await client.request_adapter._http_client.aclose()  # the SDK leaves it open
