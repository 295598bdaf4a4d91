"""A directory over a connection: put where it differs, removed when it is gone or was not named, on each engine."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from tests.ingest.pulling import SYSTEMS, Dying, Site, done, opened

from bartizan.extend import GraphObject
from bartizan.extend.connectors import Batch, Edge
from bartizan.store.interface import Query

pytestmark = pytest.mark.anyio


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with opened(str(tmp_path / "data")) as site:
        yield site


@pytest.fixture
async def any_site(declared_target: str) -> AsyncIterator[Site]:
    """On each engine."""
    async with opened(declared_target) as site:
        yield site


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
