"""The Graph API in process, over a temporary SQLite store, with callers that need no tokens of an authority."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from tests.databases import lay

from bartizan.api.documents.service import Documents
from bartizan.api.wire.graph import Bounds, Graph
from bartizan.api.wire.limits import Limit, Limits
from bartizan.api.wire.route import Router
from bartizan.app.assembly import connections_of, declared, hunting_of, parts_of
from bartizan.auth.caller import Caller, Role
from bartizan.errors import Unauthenticated
from bartizan.extend import RESOURCES, permissions
from bartizan.lake import open_lake
from bartizan.settings import Settings
from bartizan.store import Store, open_store

BASE = "https://graph.test:8443"
NOW = datetime(2026, 11, 23, 4, 50, 30, 123456, tzinfo=UTC)
A, B = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))  # errors come back in answers


def person(name: str, role: Role, scopes: frozenset[str], tenant: str = A) -> Caller:
    upn = f"{name}@contoso.example"
    return Caller(tenant, "console", "Console", f"id-of-{name}", upn, name.title(), scopes, frozenset({role}))


def callers() -> dict[str, Caller]:
    application, delegated = permissions()
    return {
        "admin": Caller(A, "app-a", "App A", permissions=application),
        "second": Caller(A, "app-b", "App B", permissions=application),
        "other": Caller(B, "app-a", "App A", permissions=application),
        "none": Caller(A, "app-n", "App N"),
        "analyst": person("analyst", "SecurityAdministrator", delegated),
        "operator": person("operator", "SecurityOperator", delegated),
        "reader": person("reader", "SecurityReader", delegated),
        "guest": Caller(
            A, "console", "Console", "id-of-guest", "guest@contoso.example", "Guest", frozenset({"User.Read"})
        ),
    }


class Around:
    """A store whose tenants do some things otherwise: each in `calls` is given the method and its arguments."""

    def __init__(self, store: Any, **calls: Callable[..., Awaitable[Any]]) -> None:
        self._store, self._calls = store, calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        return partial(self._calls[name], found) if name in self._calls else found

    def tenant(self, tenant: str) -> Any:
        return Around(self._store.tenant(tenant), **self._calls)


@dataclass
class World:
    """One server and those who call it. `call` answers whatever comes; `get`, `post`, `patch` insist on success."""

    graph: Graph
    store: Store
    http: httpx.AsyncClient
    known: dict[str, Caller]

    async def call(
        self, method: str, path: str, body: Any = None, *, by: str | None = "admin", **headers: str
    ) -> httpx.Response:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if by is not None:
            sent["authorization"] = f"Bearer {by}"
        content = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        if content is not None:
            sent.setdefault("content-type", "application/json")
        return await self.http.request(method, path, content=content, headers=sent)

    async def _ok(self, method: str, path: str, body: Any, by: str, **headers: str) -> Any:
        answer = await self.call(method, path, body, by=by, **headers)
        assert answer.is_success, f"{method} {path}\n{body}\n{answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def get(self, path: str, *, by: str = "admin", **headers: str) -> Any:
        return await self._ok("GET", path, None, by, **headers)

    async def post(self, path: str, body: Any, *, by: str = "admin", **headers: str) -> Any:
        return await self._ok("POST", path, body, by, **headers)

    async def patch(self, path: str, body: Any, *, by: str = "admin", **headers: str) -> Any:
        return await self._ok("PATCH", path, body, by, **headers)

    async def refused(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        status: int,
        says: str = "",
        by: str | None = "admin",
        **headers: str,
    ) -> dict[str, Any]:
        """The error of an answer that has this status and says this."""
        answer = await self.call(method, path, body, by=by, **headers)
        assert answer.status_code == status, f"{method} {path}\n{body}\n{answer.status_code} {answer.text}"
        problem: dict[str, Any] = answer.json()["error"]
        assert says in problem["message"], problem["message"]
        return problem

    async def every(self, path: str, *, by: str = "admin", **headers: str) -> list[dict[str, Any]]:
        """All pages."""
        found: list[dict[str, Any]] = []
        link: str | None = path
        for _ in range(10_000):
            if link is None:
                return found
            page = await self.get(link, by=by, **headers)
            found += page["value"]
            link = page.get("@odata.nextLink")
        raise AssertionError("the pages do not end")


@pytest.fixture
def bounds() -> Bounds:
    return Bounds()


@pytest.fixture
def limits() -> dict[str, Limit]:
    return {}


@pytest.fixture
def kept_at(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the store is: SQLite; by `on_both_engines` PostgreSQL as well."""
    postgres = getattr(request, "param", "") == "postgres"
    return str(request.getfixturevalue("declared_dsn")) if postgres else str(tmp_path)


on_both_engines = pytest.mark.parametrize(
    "kept_at", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)], indirect=True
)


@contextlib.asynccontextmanager
async def served(
    folder: Path,
    bounds: Bounds,
    limits: dict[str, Limit],
    database: Path | str | None = None,
    *,
    hunts: bool = True,
) -> AsyncIterator[World]:
    """`database` is a DSN of PostgreSQL where the store is not in the folder. Without `hunts` nothing answers queries,
    nor checks those of rules."""
    if database is None or not str(database).startswith("postgresql://"):
        lay(Path(database or folder))
    store = open_store(database or folder, declared())
    await store.start()
    known = callers()

    async def authenticate(headers: Any) -> Caller:
        name = headers.get(b"authorization", b"").decode().removeprefix("Bearer ")
        if name not in known:
            raise Unauthenticated("Access token is empty.", headers={"WWW-Authenticate": "Bearer"})
        return known[name]

    router = Router(RESOURCES)
    documents = Documents(router)
    seconds = iter(range(10**9))
    settings = Settings(data=str(folder), allow_private_notifications=True, connections_over_api=True)
    connections = connections_of(settings, store)
    lake = open_lake(database or folder)
    await lake.start()
    hunting = hunting_of(settings, store, lake)
    graph = Graph(
        router,
        store,
        authenticate,
        lambda host: BASE,
        clock=lambda: NOW,
        limits=Limits(limits, lambda: next(seconds) / 1000) if limits else None,
        bounds=bounds,
        token_key=b"k" * 32,
        documents=lambda graph, target, request: documents.answer(target, request),
        parts=parts_of(settings, connections, hunting if hunts else None, lambda: NOW),
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=graph), base_url=BASE) as http:
        yield World(graph, store, http, known)
    await hunting.close()
    await lake.close()
    await connections.close()
    await store.close()


@pytest.fixture
async def world(tmp_path: Path, kept_at: str, bounds: Bounds, limits: dict[str, Limit]) -> AsyncIterator[World]:
    async with served(tmp_path, bounds, limits, kept_at) as made:
        yield made
