"""The stage that pulls: cursors, crashes, failures that hold up nobody, changes that are noticed."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.ingest.pulling import NOW, SYSTEMS, Dying, Site, SiteConnector, done, opened

from bartizan.auth import audit
from bartizan.auth.accounts import Accounts
from bartizan.extend import GraphObject
from bartizan.extend.connections import CONNECTIONS, cursor_place
from bartizan.extend.connectors import CONNECTORS, Away, Denied, Rejected
from bartizan.extend.ownership import owner_of
from bartizan.store.alerts import ALERTS_V2, state_of
from bartizan.store.interface import Query

pytestmark = pytest.mark.anyio


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with opened(str(tmp_path / "data")) as site:
        yield site


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


async def test_nothing_is_lost_or_doubled_between_batch_and_cursor(site: Site) -> None:
    """The page is durable and its cursor is not: after a restart it comes again, and changes nothing."""
    system = await site.add("one")
    user = GraphObject("users", "microsoft.graph.user", {"id": "u1", "userPrincipalName": "u1@one.example"})
    system.gives({"id": "1", "title": "First"}, {"event": "x"}, objects=[user])
    writes = itertools.count()  # of the stage itself: its plan, then the cursor
    async with site.pulling(Dying(site.store, lambda actor: actor == "ingest.pull" and next(writes) > 0)):
        await site.until(site.alerts)
        await asyncio.sleep(0.1)
        assert (await site.state("one"))["state"] == "waiting"
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
        denied.pages.append(Denied("401"))

        async def again() -> bool:
            return "new" in (await site.alerts()).values()

        await site.until(again)
        await site.add("denied", new=False, enabled=False)
        await site.until(over)  # who switched it off knows


async def test_silence_is_against_the_own_rhythm(site: Site) -> None:
    """A system that answers, and holds nothing new where each hour had its records; until it has some again."""
    system = await site.add("one")
    system.gives()
    async with site.pulling():
        for hour in range(27):
            site.now = NOW + timedelta(hours=hour)
            system.gives(*({"event": f"{hour}.{number}"} for number in range(15)))
            await site.until(done(site, "one", len(system.pages)))
        state = await site.state("one")
        assert (state["silent"], state["recordsPulled"]) == (False, 27 * 15) and not await site.alerts()
        site.now += timedelta(hours=3)

        async def silent() -> bool:
            return bool((await site.state("one"))["silent"])

        await site.until(silent)
        assert await site.alerts() == {"Connection one has fallen silent": "new"}
        system.gives({"event": "again"})
        await site.until(done(site, "one", len(system.pages)))
    assert await site.alerts() == {"Connection one has fallen silent": "resolved"}
    assert not (await site.state("one"))["silent"]


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


async def test_connectors_and_streams_that_are_no_more(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an upgrade: it is told, and the others go on."""
    await site.add("one", streams=("alerts", "more"))
    SYSTEMS["one"].gives({"id": "1", "title": "First"})
    monkeypatch.setattr(SiteConnector, "streams", {"alerts": SiteConnector.streams["alerts"]})

    async def told() -> bool:
        return "has no stream 'more'; it has: alerts" in str((await site.state("one", "more")).get("lastError"))

    async def gone() -> bool:
        return "there is no connector 'site_test'" in str((await site.state("one")).get("lastError"))

    async with site.pulling():
        await site.until(done(site, "one", 1))
        await site.until(told)
    monkeypatch.delitem(CONNECTORS, "site_test")
    async with site.pulling():
        await site.connections.close()
        await site.until(gone)


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
