"""Systems that a test makes up, a connector to them, and a tenant whose connections are pulled."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, ClassVar

from msgspec import Meta, Struct
from msgspec.structs import replace
from tests.databases import lay
from tests.ingest.conftest import PLAIN, Lake

from bartizan.app.assembly import declared, fed
from bartizan.auth import audit
from bartizan.auth.accounts import Accounts
from bartizan.auth.keys import Vault
from bartizan.errors import StorageFull
from bartizan.extend import relations
from bartizan.extend.connections import (
    CONNECTION_STREAMS,
    Connection,
    Connections,
    cursor_place,
)
from bartizan.extend.connectors import (
    CONNECTORS,
    Batch,
    Connector,
    Outside,
    Pulled,
    Reply,
    Secret,
    Stream,
)
from bartizan.ingest.directory import Directory
from bartizan.ingest.pipeline import Pipeline
from bartizan.ingest.pull import PullStage, Times
from bartizan.store import Store, open_store
from bartizan.store.alerts import ALERTS_V2
from bartizan.store.interface import Query

NOW = datetime(2026, 3, 2, tzinfo=UTC)
FAST = Times(look=0.02, all=30.0, least=0.02, page=0.3, first=0.02, most=0.1, slow=0.05, slowest=0.1)
WITHIN_S = 10.0

Page = Batch | Exception | Callable[[], Awaitable[None]]


class SiteSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    site: Annotated[str, Meta(description="which of the systems below")]
    token: Annotated[Secret, Meta(description="lets one in")] = "none"


class System:
    """A system outside: pages in order, the cursor being the number of those read."""

    def __init__(self) -> None:
        self.pages: list[Page] = []
        self.asked: list[str | None] = []
        self.closed = 0
        self.tokens: list[str] = []

    def gives(self, *records: dict[str, Any], **more: Any) -> None:
        pulled = [Pulled("plain_test", json.dumps(one).encode()) for one in records]
        self.pages.append(Batch(cursor=str(len(self.pages) + 1), records=pulled, **more))


SYSTEMS: dict[str, System] = {}


class SiteConnector(Connector):
    name: ClassVar[str] = "site_test"
    vendor: ClassVar[str] = "Acme"
    product: ClassVar[str] = "Site"
    doc: ClassVar[str] = "A system of these tests."
    settings: ClassVar[type[Struct]] = SiteSettings
    streams: ClassVar[dict[str, Stream]] = {
        "alerts": Stream("All of them.", every_s=0.02),
        "more": Stream("Others.", every_s=0.02),
    }
    owns: ClassVar[tuple[tuple[str, str], ...]] = (("acme", "plain"),)

    async def close(self) -> None:
        SYSTEMS[self.set.site].closed += 1

    async def pull(self, stream: str, cursor: str | None) -> AsyncIterator[Batch]:
        system = SYSTEMS[self.set.site]
        system.asked.append(cursor)
        system.tokens.append(self.set.token)
        at = int(cursor or 0)
        while at < len(system.pages):
            page = system.pages[at]
            if isinstance(page, Exception):
                raise page
            if not isinstance(page, Batch):
                await page()
                return
            yield page
            at += 1


CONNECTORS.pop("site_test")  # of these tests only


class Site:
    """A tenant with connections, and the stage."""

    def __init__(self, store: Store, tenant: str) -> None:
        self.store, self.tenant, self.now = store, tenant, NOW
        self.lake = Lake()
        self.connections = Connections(store, Vault(b"k" * 32), lambda settings: Nowhere())
        self.of = store.tenant(tenant)

    def stage(self, store: Any = None) -> PullStage:
        over = store or self.store
        pipeline = Pipeline(over, self.lake, collections=fed(), sources={"plain_test": PLAIN}, clock=lambda: self.now)
        directory = Directory(over, fed(), relations())
        return PullStage(over, self.connections, pipeline, directory, clock=lambda: self.now, times=FAST)

    async def add(self, id: str, *, tenant: str | None = None, new: bool = True, **more: Any) -> System:
        SYSTEMS.setdefault(id, System())
        made = replace(Connection(id=id, connector="site_test", streams=("alerts",)), **more)
        await self.connections.set(tenant or self.tenant, made, {"site": id}, actor="test", new=new)
        return SYSTEMS[id]

    async def state(self, id: str, stream: str = "alerts") -> dict[str, Any]:
        row = await self.of.get(CONNECTION_STREAMS.name, f"{id}:{stream}")
        return {} if row is None else json.loads(row.wire("beta"))

    async def alerts(self) -> dict[str, str]:
        """Title -> status; of several with one title the newest."""
        page = await self.of.page(ALERTS_V2.name, Query(top=100))
        return {body["title"]: body["status"] for body in (json.loads(row.doc) for row in reversed(page.rows))}

    async def ids(self, collection: str) -> set[str]:
        return {row.id for row in (await self.of.page(collection, Query(top=100))).rows}

    async def cursor(self, id: str, stream: str = "alerts") -> str | None:
        value = await self.of.value(cursor_place(id, stream))
        return None if value is None else json.loads(value).get("cursor")

    @asynccontextmanager
    async def pulling(self, store: Any = None) -> AsyncIterator[None]:
        task = asyncio.create_task(self.stage(store).run())
        try:
            yield
            assert not task.done(), task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def until(self, true: Callable[[], Awaitable[object]]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not await true():  # noqa: ASYNC110 - what it waits for is in the store
                await asyncio.sleep(0.02)


class Nowhere(Outside):
    async def ask(self, *args: object, **named: object) -> Reply:
        raise AssertionError("these connectors ask nobody")

    async def close(self) -> None:
        pass


@asynccontextmanager
async def opened(target: str) -> AsyncIterator[Site]:
    """A new tenant in a store that is there for one test, as are the systems and their connector."""
    SYSTEMS.clear()
    CONNECTORS[SiteConnector.name] = SiteConnector
    if not target.startswith("postgresql://"):
        lay(Path(target))
    store = open_store(target, declared())
    await store.start()
    tenant = await Accounts(store).add_tenant("one", "one.example", actor=audit.OPERATOR)
    yield Site(store, tenant.id)
    await store.close()
    CONNECTORS.pop(SiteConnector.name, None)  # a test may have taken it away


def done(site: Site, id: str, pages: int) -> Callable[[], Awaitable[bool]]:
    async def true() -> bool:
        state = await site.state(id)
        return state.get("state") == "waiting" and await site.cursor(id) == str(pages)

    return true


class Dying:
    """A store that takes no more writes of one kind once `dead`: what a process that was killed has not done."""

    def __init__(self, store: Store, kills: Callable[[str], bool]) -> None:
        self._store, self._kills = store, kills

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def tenant(self, tenant: str) -> Any:
        of, kills = self._store.tenant(tenant), self._kills

        class OfTenant:
            def __getattr__(self, name: str) -> Any:
                return getattr(of, name)

            async def write(self, work: Any, *, actor: str, bulk: bool = False) -> Any:
                if kills(actor):
                    raise StorageFull("killed here")
                return await of.write(work, actor=actor)

        return OfTenant()
