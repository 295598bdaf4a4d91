"""A server with connections to a system outside, and a worker that has orders carried out, when a test wants one."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import NOW, A, B, World, served
from tests.respond.system import System, system

from bartizan.api.wire.graph import Bounds
from bartizan.app.assembly import fed
from bartizan.extend import GraphObject, relations
from bartizan.extend.connections import Connection, Connections
from bartizan.extend.connectors import Batch
from bartizan.ingest.directory import Directory, Place
from bartizan.respond.carry import Carry, Pace
from bartizan.respond.dispatch import Dispatch, Rules
from bartizan.store import Store

ACTIONS = "/beta/security/securityActions"
QUICK = Pace(backoff_s=0.02, backoff_max_s=0.1, follow_s=0.02, follow_max_s=0.05, look_s=1.0, ask_s=5.0)
LIMIT_S = 15.0


@dataclass
class Desk:
    """A server, a system outside, and connections to it."""

    world: World
    system: System
    connections: Connections
    later_s: float = 0.0  # by which the worker's clock is ahead of the server's

    async def connect(self, id: str, connector: str, *, tenant: str = A, **more: Any) -> None:
        made = Connection(id=id, connector=connector, **more)
        settings = {"url": self.system.url, "token": f"secret of {id}"}
        await self.connections.set(tenant, made, settings, actor="test", new=True)

    async def bring(self, id: str, collection: str, body: dict[str, Any]) -> None:
        """As if the connection had pulled this object of its directory."""
        origin = (await self.connections.get(A, id)).origin
        types = {"users": "microsoft.graph.user", "devices": "microsoft.graph.device"}
        batch = Batch(cursor="1", objects=[GraphObject(collection, types[collection], body)])
        directory = Directory(self.world.store, fed(), relations())
        await directory.take(A, origin, "directory", batch, Place(), actor=f"connection:{id}")

    def rule(self, **rules: Any) -> None:
        rules = {"limit_s": 600.0, "approval_s": 600.0, "wait_s": LIMIT_S, **rules}
        self.world.graph.parts = {
            **self.world.graph.parts,
            Dispatch: Dispatch(self.connections, Rules.of(rules.pop("approve", ()), **rules)),
        }

    @contextlib.asynccontextmanager
    async def carrying(self, pace: Pace = QUICK, *, store: Store | None = None) -> AsyncIterator[Carry]:
        async def tenants() -> list[str]:
            return [A, B]

        began = time.monotonic()
        stage = Carry(
            store or self.world.store,
            self.connections,
            tenants,
            fed(),
            pace=pace,
            clock=lambda: NOW + timedelta(seconds=self.later_s + time.monotonic() - began),
        )
        task = asyncio.create_task(stage.run())
        try:
            yield stage
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def order(self, name: str, *values: str, parameter: str = "ip", **more: Any) -> dict[str, Any]:
        parameters = [{"name": parameter, "value": value} for value in values]
        made: dict[str, Any] = await self.world.post(ACTIONS, {"name": name, "parameters": parameters, **more})
        return made

    async def read(self, id: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.world.get(f"{ACTIONS}/{id}")
        return found

    async def ended(self, id: str) -> dict[str, Any]:
        return await self.once(id, lambda action: action["status"] in ("Completed", "Failed"))

    async def once(self, id: str, ready: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(LIMIT_S):
            while not ready(action := await self.read(id)):
                await self.world.store.changed()
        return action


def of_targets(action: dict[str, Any]) -> dict[str, str]:
    return {each["target"]: each["status"] for each in action["states"] if each.get("target")}


def asking(*parameters: tuple[str, Any], name: str = "blockAddress") -> dict[str, Any]:
    return {"name": name, "parameters": [{"name": each, "value": value} for each, value in parameters]}


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    if getattr(request, "param", "") == "postgresql":
        dsn: str = request.getfixturevalue("declared_dsn")
        return dsn
    return tmp_path


@pytest.fixture
async def desk(tmp_path: Path, database: Path | str) -> AsyncIterator[Desk]:
    async with served(tmp_path, Bounds(), {}, database) as world, system() as outside:
        made = Desk(world, outside, world.graph.parts[Dispatch].connections)
        made.rule()
        yield made
        await made.connections.close()


both = pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)
