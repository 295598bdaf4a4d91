"""The stage that pulls: cursors, crashes, failures that hold up nobody, changes that are noticed, and a directory."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from msgspec import Meta, Struct
from msgspec.structs import replace
from tests.ingest.conftest import PLAIN, Lake

from bartizan.app.assembly import declared, fed
from bartizan.auth import audit
from bartizan.auth.accounts import Accounts
from bartizan.auth.keys import Vault
from bartizan.errors import StorageFull
from bartizan.extend import GraphObject, relations
from bartizan.extend.connections import (
    CONNECTION_STREAMS,
    CONNECTIONS,
    Connection,
    Connections,
    cursor_place,
    owner_of,
)
from bartizan.extend.connectors import (
    CONNECTORS,
    Away,
    Batch,
    Connector,
    Denied,
    Edge,
    Outside,
    Pulled,
    Rejected,
    Secret,
    Stream,
)
from bartizan.ingest.directory import Directory
from bartizan.ingest.pipeline import Pipeline
from bartizan.ingest.pull import PullStage, Times
from bartizan.store import Store, open_store
from bartizan.store.alerts import ALERTS_V2, state_of
from bartizan.store.interface import Query

pytestmark = pytest.mark.anyio
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
        page = await self.of.page(ALERTS_V2.name, Query(top=100))
        return {body["title"]: body["status"] for body in (json.loads(row.doc) for row in page.rows)}

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
    async def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def systems() -> Iterator[None]:
    CONNECTORS["site_test"] = SiteConnector
    SYSTEMS.clear()
    yield
    del CONNECTORS["site_test"]


@asynccontextmanager
async def opened(target: str) -> AsyncIterator[Site]:
    store = open_store(target, declared())
    await store.start()
    tenant = await Accounts(store).add_tenant("one", "one.example", actor=audit.OPERATOR)
    yield Site(store, tenant.id)
    await store.close()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with opened(str(tmp_path / "data")) as site:
        yield site


@pytest.fixture
async def any_site(target: str) -> AsyncIterator[Site]:
    """On each engine."""
    async with opened(target) as site:
        yield site


def done(site: Site, id: str, pages: int) -> Callable[[], Awaitable[bool]]:
    async def true() -> bool:
        state = await site.state(id)
        return state.get("state") == "waiting" and await site.cursor(id) == str(pages)

    return true


async def test_records_go_the_way_of_all_records(site: Site) -> None:
    system = await site.add("one")
    system.gives({"id": "1", "title": "First"}, {"event": "x"})
    system.gives({"id": "2", "title": "Second"})
    async with site.pulling():
        await site.until(done(site, "one", 2))
        state = await site.state("one")
        system.gives({"id": "3", "title": "Third"})
        await site.until(done(site, "one", 3))
    assert await site.alerts() == {"First": "new", "Second": "new", "Third": "new"}
    assert [row["Kind"] for _, _, row in site.lake.rows] == ["x"]
    assert (state["connection"], state["stream"], state["recordsPulled"]) == ("one", "alerts", 3)
    assert state["lastSuccessDateTime"] and state["nextPullDateTime"] and state["lastError"] is None
    page = await site.of.page(ALERTS_V2.name, Query(top=10))
    changes = await site.store.changes(0, limit=100, collections=[ALERTS_V2.name])
    assert {change.actor for change in changes} == {"connection:one"}
    for row in page.rows:
        whole = await site.of.get(ALERTS_V2.name, row.id)
        assert whole is not None and await owner_of(site.of, state_of(whole)) == "one"


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

            async def write(self, work: Any, *, actor: str) -> Any:
                if kills(actor):
                    raise StorageFull("killed here")
                return await of.write(work, actor=actor)

        return OfTenant()


async def test_nothing_is_lost_or_doubled_between_batch_and_cursor(site: Site) -> None:
    """The page is durable and its cursor is not: after a restart it comes again, and changes nothing."""
    system = await site.add("one")
    user = GraphObject("users", "microsoft.graph.user", {"id": "u1", "userPrincipalName": "u1@one.example"})
    system.gives({"id": "1", "title": "First"}, {"event": "x"}, objects=[user])
    async with site.pulling(Dying(site.store, lambda actor: actor == "ingest.pull")):
        await site.until(site.alerts)
        await asyncio.sleep(0.1)
    assert await site.cursor("one") is None
    changed = await site.store.head()
    async with site.pulling():
        await site.until(done(site, "one", 1))
    assert await site.alerts() == {"First": "new"}
    assert len(site.lake.rows) == 1
    assert await site.ids("users") == {"u1"}
    assert await site.store.changes(changed, limit=10, collections=[ALERTS_V2.name, "users"]) == []
    assert (await site.state("one"))["recordsPulled"] == 2


async def test_a_failing_connection_holds_up_nobody(site: Site) -> None:
    """Some fail, one hangs, one breaks: the others go on, and each says how it stands."""

    async def hang() -> None:
        await asyncio.sleep(3_600)

    for id, page in (
        ("away", Away("GET https://a.example/x: 503", retry_after_s=0.05)),
        ("denied", Denied("GET https://a.example/x: 401")),
        ("rejected", Rejected("GET https://a.example/x: 404")),
        ("broken", KeyError("very-secret")),
        ("hangs", hang),
    ):
        (await site.add(id)).pages.append(page)
    for number in range(10):
        (await site.add(f"hangs-{number}")).pages.append(hang)
    good = await site.add("good")
    good.gives({"id": "1", "title": "First"})
    async with site.pulling():
        await site.until(done(site, "good", 1))

        async def told() -> bool:
            states = [await site.state(id) for id in ("away", "denied", "rejected", "broken", "hangs")]
            return all(state.get("lastError") for state in states) and len(SYSTEMS["away"].asked) > 2

        await site.until(told)
        good.gives({"id": "2", "title": "Second"})
        await site.until(done(site, "good", 2))
    found = {id: await site.state(id) for id in ("away", "denied", "rejected", "broken", "hangs")}
    assert {id: state["state"] for id, state in found.items()} == {
        "away": "failing",
        "denied": "denied",
        "rejected": "failing",
        "broken": "failing",
        "hangs": "failing",
    }
    assert found["away"]["lastError"] == "GET https://a.example/x: 503"
    assert "no page of alerts within" in found["hangs"]["lastError"]
    assert "KeyError" in found["broken"]["lastError"] and "very-secret" not in found["broken"]["lastError"]


async def test_alerts_tell_of_trouble_and_of_its_end(site: Site) -> None:
    """Denied at once; other failures once they last."""
    denied, away = await site.add("denied"), await site.add("away")
    denied.pages.append(Denied("401"))
    away.pages.append(Away("503"))

    async def failing() -> bool:
        return bool((await site.state("away")).get("lastError")) and bool((await site.state("denied")).get("lastError"))

    async with site.pulling():
        await site.until(failing)
        assert await site.alerts() == {"Connection denied cannot be pulled": "new"}
        site.now = NOW + timedelta(minutes=20)

        async def two() -> bool:
            return len(await site.alerts()) == 2

        await site.until(two)
        denied.pages.clear()
        away.pages.clear()

        async def over() -> bool:
            return set((await site.alerts()).values()) == {"resolved"}

        await site.until(over)


async def test_what_changes_while_it_runs_is_noticed(site: Site) -> None:
    """Added, switched off and on, given another stream and other secrets, removed, made anew."""
    async with site.pulling():
        system = await site.add("one")
        system.gives({"id": "1", "title": "First"})
        await site.until(done(site, "one", 1))
        await site.add("one", new=False, enabled=False)

        async def off() -> bool:
            return (await site.state("one"))["nextPullDateTime"] is None

        await site.until(off)
        system.gives({"id": "2", "title": "Second"})
        asked = len(system.asked)
        await asyncio.sleep(0.2)
        assert len(system.asked) == asked
        await site.connections.change(
            site.tenant,
            "one",
            lambda before: replace(before, enabled=True, streams=("alerts", "more")),
            {"token": "other"},
            actor="test",
        )
        await site.until(done(site, "one", 2))
        assert system.tokens[-1] == "other" and system.closed

        async def both() -> bool:
            return await site.cursor("one", "more") == "2"

        await site.until(both)
        await site.connections.remove(site.tenant, "one", actor="test")
        assert await site.cursor("one") is None
        asked = len(system.asked)
        await asyncio.sleep(0.3)
        assert len(system.asked) <= asked + 2  # what was on its way
        assert await site.state("one") == await site.state("one", "more") == {}
        system.asked.clear()
        await site.add("one")
        await site.until(done(site, "one", 2))
        assert system.asked[0] is None, "it begins anew"
    assert len(await site.alerts()) == 2


async def test_a_removed_connections_alerts_are_nobodys_or_the_one_owners(site: Site) -> None:
    system = await site.add("one")
    system.gives({"id": "1", "title": "First"})
    async with site.pulling():
        await site.until(done(site, "one", 1))
    (row,) = (await site.of.page(ALERTS_V2.name, Query(top=10))).rows
    whole = await site.of.get(ALERTS_V2.name, row.id)
    assert whole is not None
    alert = state_of(whole)
    await site.add("two")
    assert await owner_of(site.of, alert) == "one"
    await site.add("one", new=False, enabled=False)
    assert await owner_of(site.of, alert) == "one"
    await site.connections.remove(site.tenant, "one", actor="test")
    assert await owner_of(site.of, alert) == "two", "its connector owns Acme, Plain"
    await site.add("one")
    assert await owner_of(site.of, alert) is None, "two might own it, and one is not the one that pulled it"
    await site.add("two", new=False, enabled=False)
    assert await owner_of(site.of, alert) == "one"
    assert await owner_of(site.store.tenant("other"), alert) is None


async def test_each_tenant_is_its_own(site: Site) -> None:
    other = await Accounts(site.store).add_tenant("two", "two.example", actor=audit.OPERATOR)
    (await site.add("one")).gives({"id": "1", "title": "First"})
    await site.add("one", tenant=other.id)
    async with site.pulling():
        await site.until(done(site, "one", 1))

        async def there() -> bool:
            return await site.store.tenant(other.id).value(cursor_place("one", "alerts")) is not None

        await site.until(there)
    assert await site.store.tenant(other.id).count(ALERTS_V2.name) == await site.of.count(ALERTS_V2.name) == 1
    assert await site.store.tenant(other.id).count(CONNECTIONS.name) == 1


# ---------------------------------------------------------------- directories


def user(id: str, upn: str = "", **more: Any) -> GraphObject:
    body = {"id": id, "userPrincipalName": upn or f"{id}@one.example", **more}
    return GraphObject("users", "microsoft.graph.user", body)


def group(id: str, **more: Any) -> GraphObject:
    return GraphObject("groups", "microsoft.graph.group", {"id": id, "displayName": id, **more})


def member(of: str, *ids: str) -> list[Edge]:
    return [Edge("members", of, "users", id) for id in ids]


async def take(site: Site, *batches: Batch, id: str = "one") -> None:
    """One look that gives these, by a stage that ends then."""
    system = SYSTEMS[id]
    system.pages += [replace(batch, cursor=str(len(system.pages) + n + 1)) for n, batch in enumerate(batches)]
    async with site.pulling():
        await site.until(done(site, id, len(system.pages)))


async def members(site: Site, group: str) -> list[str]:
    return [id for _, id in await site.of.related("members", group, limit=100)]


def batch(objects: Sequence[GraphObject] = (), edges: Sequence[Edge] = (), **more: Any) -> Batch:
    return Batch(cursor="", objects=objects, edges=edges, **more)


async def test_a_directory_is_put_where_it_differs(site: Site) -> None:
    await site.add("one")
    await take(site, batch([user("u1", displayName="Ann"), user("u2")]))
    before = await site.store.head()
    await take(site, batch([user("u1", displayName="Ann"), user("u2", jobTitle="Clerk")]))
    changes = await site.store.changes(before, limit=10, collections=["users"])
    assert [(change.id, change.changed) for change in changes] == [("u2", {"jobTitle": (None, "Clerk")})]
    assert changes[0].actor == "connection:one"


async def test_what_is_gone_and_what_was_not_named_is_removed(any_site: Site) -> None:
    """With its edges; what another connection brings too stays until that one no longer does."""
    await any_site.add("one")
    await any_site.add("two")
    await take(any_site, batch([user("u3"), user("shared")], whole=["users"]), id="two")
    everyone = [user("u1"), user("u2"), user("u3"), user("shared")]
    await take(
        any_site,
        batch([*everyone, group("g1"), group("g2")], [*member("g1", "u1", "u2", "u3"), *member("g2", "u1")]),
        batch(whole=["users", "groups"]),
    )
    assert await members(any_site, "g1") == ["u1", "u2", "u3"]
    await take(any_site, batch(gone=[("users", "u1"), ("users", "shared")]))
    assert await any_site.ids("users") == {"u2", "u3", "shared"}
    assert (await members(any_site, "g1"), await members(any_site, "g2")) == (["u2", "u3"], [])
    await take(any_site, batch([user("u2"), group("g1")], member("g1", "u2")), batch(whole=["users", "groups"]))
    assert await any_site.ids("users") == {"u2", "u3", "shared"}, "two brings u3"
    assert await any_site.ids("groups") == {"g1"}
    assert await members(any_site, "g1") == ["u2"]
    await take(any_site, batch([user("u3")]), batch(whole=["users"]), id="two")
    assert await any_site.ids("users") == {"u2", "u3"}
    await any_site.connections.remove(any_site.tenant, "two", actor="test")
    await take(any_site, batch([user("u3")]), batch(gone=[("users", "u3")]))
    assert await any_site.ids("users") == {"u2"}


async def test_a_sweep_that_was_cut_off_goes_on(site: Site) -> None:
    """Killed after each write of it in turn: the next stage comes to the same end."""
    await site.add("one")
    system = SYSTEMS["one"]
    many = [user(f"u{number}") for number in range(250)]
    edges = member("g1", *(each.body["id"] for each in many))
    await take(site, batch([*many, group("g1")], edges, whole=["users", "groups"]))
    rest = batch([user("u7"), group("g1")], member("g1", "u7"), whole=["users", "groups"])
    system.pages.append(replace(rest, cursor="2"))
    for allowed in range(1, 9):
        writes = itertools.count()

        def kills(actor: str, writes: Iterator[int] = writes, most: int = allowed) -> bool:
            return actor != "ingest.pull" and next(writes) >= most

        dying = Dying(site.store, kills)
        stage = asyncio.create_task(site.stage(dying).run())
        asked = len(system.asked)

        async def tried(asked: int = asked) -> bool:
            return len(system.asked) > asked + 1 or await site.cursor("one") == "2"

        await site.until(tried)
        stage.cancel()
        await asyncio.gather(stage, return_exceptions=True)
    async with site.pulling():
        await site.until(done(site, "one", 2))
    assert await site.ids("users") == {"u7"}
    assert await members(site, "g1") == ["u7"]


async def test_edges_that_the_system_cuts_and_that_replace(site: Site) -> None:
    await site.add("one")
    objects = [user("u1"), user("boss"), user("new"), group("g1")]
    await take(site, batch(objects, [*member("g1", "u1", "boss"), Edge("manager", "u1", "users", "boss")]))
    before = await site.store.head()
    await take(site, batch(edges=[Edge("manager", "u1", "users", "new")], cut=member("g1", "boss")))
    assert await site.of.related("manager", "u1", limit=5) == [("users", "new")]
    assert await members(site, "g1") == ["u1"]
    changes = await site.store.changes(before, limit=10, collections=["groups"])
    assert [change.changed for change in changes] == [{"members@delta": ("boss", None)}], "delta queries are told"


async def test_a_name_that_moves_from_one_user_to_another(site: Site) -> None:
    """Exchanged in one page, taken over by a new account, and one that somebody else has brought."""
    await site.add("one")
    await take(site, batch([user("a", "x@one.example"), user("b", "y@one.example")]))
    await take(site, batch([user("a", "y@one.example"), user("b", "x@one.example")]))
    names = {
        row.id: json.loads(row.doc)["userPrincipalName"] for row in (await site.of.page("users", Query(top=9))).rows
    }
    assert names == {"a": "y@one.example", "b": "x@one.example"}
    await take(site, batch([user("c", "x@one.example")]))
    assert await site.ids("users") == {"a", "b", "c"}
    assert (await site.state("one"))["objectsRefused"] == 0
    await site.add("two")
    await take(site, batch([user("d", "y@one.example"), user("e")]), id="two")
    assert await site.ids("users") == {"a", "b", "c", "e"}, "one object at fault does not stop the others"
    state = await site.state("two")
    assert state["objectsRefused"] == 1 and "'d'" in state["lastError"], state


async def test_what_this_server_does_not_have_is_refused_whole(site: Site) -> None:
    await site.add("one")
    SYSTEMS["one"].pages.append(batch([user("u1"), GraphObject("printers", "microsoft.graph.user", {"id": "p"})]))

    async def told() -> bool:
        return "printers" in str((await site.state("one")).get("lastError"))

    async with site.pulling():
        await site.until(told)
    assert await site.ids("users") == set()
