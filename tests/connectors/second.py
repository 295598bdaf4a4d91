"""A second Bartizan behind plain HTTP on a free port, with real tokens: the other end of a connection."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from bartizan.app.assembly import App
from bartizan.app.assembly import store_of as opened
from bartizan.auth import audit
from bartizan.auth.accounts import App as Application
from bartizan.auth.accounts import new_app_secret, new_id
from bartizan.auth.clients import read_certificate
from bartizan.extend import permissions
from bartizan.settings import Settings


class Sink:
    """Takes events and remembers them."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, dict[str, Any]]] = []

    async def append(self, tenant: str, rows: Sequence[tuple[str, dict[str, Any]]], *, once: str) -> None:
        self.rows += [(tenant, table, row) for table, row in rows]

    async def forget(self, tenant: str, stage: str) -> None: ...


@dataclass
class Second:
    """`http` speaks to it with every permission; `settings` are those of a connection to it."""

    app: App
    root: str
    tenant: str
    client: str
    secret: str
    http: httpx.AsyncClient

    @property
    def settings(self) -> dict[str, Any]:
        named = {"tenant": self.tenant, "client_id": self.client, "client_secret": self.secret}
        return {**named, "address": self.root, "authority": self.root, "late_s": 0}

    async def post(self, path: str, body: Any) -> Any:
        return await self._ok(await self.http.post(path, json=body))

    async def patch(self, path: str, body: Any, **headers: str) -> Any:
        return await self._ok(await self.http.patch(path, json=body, headers=headers))

    async def get(self, path: str) -> Any:
        return await self._ok(await self.http.get(path))

    async def _ok(self, answer: httpx.Response) -> Any:
        assert answer.is_success, f"{answer.request.method} {answer.request.url}\n{answer.status_code} {answer.text}"
        return answer.json() if answer.content else None


@asynccontextmanager
async def second(folder: Path, *, certificate: bytes | None = None) -> AsyncIterator[Second]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    root = f"http://127.0.0.1:{port}"
    settings = Settings(data=str(folder), tls="off", address=root, host="127.0.0.1", port=port, rate_limits="off")
    app = App(settings, opened(settings), sink=Sink())
    config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    while not server.started and not serving.done():  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.01)
    try:
        tenant = await app.authority.accounts.first_tenant()
        made, text = new_app_secret(time.time(), days=30)
        certificates = [] if certificate is None else [read_certificate(certificate, time.time())]
        client = Application(
            id=new_id(),
            name="first",
            secrets=[made],
            certificates=certificates,
            application=sorted(permissions()[0]),
        )
        await app.authority.accounts.add_app(client, actor=audit.OPERATOR, tenant=tenant.id)
        async with httpx.AsyncClient(base_url=root) as http:
            form = {"grant_type": "client_credentials", "client_id": client.id, "client_secret": text}
            scope = {"scope": "https://graph.microsoft.com/.default"}
            answer = await http.post(f"/{tenant.id}/oauth2/v2.0/token", data={**form, **scope})
            assert answer.status_code == 200, answer.text
            http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
            yield Second(app, root, tenant.id, client.id, text, http)
    finally:
        server.should_exit = True
        await serving
