"""What analysts change arrives at the systems that own it: once, in order, through absence, and without echo."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.respond.ticketing import (
    BOB,
    EVERY,
    QUICK,
    RISK_DETECTIONS,
    RISKY_USERS,
    TENANT,
    USERS,
    Clock,
    Desk,
    System,
    answering,
    working,
)

from bartizan.connectors.microsoft_defender_endpoint import MicrosoftDefenderEndpoint
from bartizan.connectors.microsoft_graph import MicrosoftGraph
from bartizan.errors import BadRequest
from bartizan.model.times import to_datetime
from bartizan.respond import queue
from bartizan.store import Store, open_store
from bartizan.store.alerts import ANALYST, INCIDENTS

pytestmark = pytest.mark.anyio
V1, V2 = "2026-11-23T05:00:00.0000000Z", "2026-11-23T05:30:00.0000000Z"


@pytest.fixture
async def store(target: str) -> AsyncIterator[Store]:
    store = open_store(target, EVERY)
    await store.start()
    yield store
    await store.close()


@pytest.fixture
async def sqlite(tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(tmp_path, EVERY)
    await store.start()
    yield store
    await store.close()


@pytest.fixture
async def system() -> AsyncIterator[System]:
    async with answering() as made:
        yield made


async def test_each_word_arrives_once_and_in_order(store: Store, system: System) -> None:
    """Resolve, reopen, assign, classify, comment and tag go to the system that the alert came from, as they were made;
    what it has no place for is not sent, and said."""
    desk = Desk(store)
    tickets = await desk.connect(system.url)
    alert = await desk.pull(tickets, "a1", V1)
    async with working(store):
        await desk.change(alert, status="resolved", classification="truePositive", determination="malware")
        await desk.change(alert, status="inProgress")
        await desk.change(alert, assignedTo="ann@contoso.example")
        await desk.change(alert, BOB, comments=[{"comment": "one"}, {"comment": "two"}])
        await desk.change(alert, BOB, comments=[{"comment": "three"}], systemTags=["vip"])
        await desk.change(alert, BOB, determination="phishing")
        found = await desk.settled(6)
    assert [{k: v for k, v in each.items() if k != "comments"} for each in system.words("a1")] == [
        {"status": "resolved", "classification": "truePositive"},
        {"status": "inProgress"},
        {"assignedTo": "ann@contoso.example"},
        {},
        {"tags": ["vip"]},
    ]
    texts = [[one["comment"] for one in each.get("comments", [])] for each in system.words("a1")]
    assert texts == [[], [], [], ["one", "two"], ["three"]]
    assert [body["by"] for _, body in system.sent] == ["Ann", "Ann", "Ann", "Bob", "Bob"]
    assert set(system.keys.values()) == {1}
    assert [each.state for each in found] == ["done"] * 5 + ["leftOut"]
    assert [each.left_out for each in found] == [["determination"], [], [], [], [], ["determination"]]
    assert all(each.source_id == "a1" and each.subject_id == alert and each.connection == "tickets" for each in found)


async def test_what_a_system_says_is_not_written_back_to_it(store: Store, system: System) -> None:
    """A record of the provider shows here and stays here, whichever way it came; so does our own change that comes back
    with the next poll, and comments do not double."""
    desk = Desk(store)
    tickets = await desk.connect(system.url)
    alert = await desk.pull(tickets, "a1", V1)
    async with working(store) as stage:
        await desk.change(alert, status="resolved", comments=[{"comment": "it was Bob"}], systemTags=["vip"])
        await desk.settled(1)
        system.write("a1", {"comments": [*system.objects["a1"]["comments"], "seen"]}, "mallory")
        for _ in range(3):
            await desk.come_back(tickets, system, "a1")
        shown = await desk.alert(alert)
        assert [each["comment"] for each in shown["comments"]] == ["it was Bob", "seen"]
        assert (shown["status"], shown["systemTags"]) == ("resolved", ["vip"])
        system.write("a1", {"status": "new"}, "mallory")
        await desk.come_back(tickets, system, "a1")
        await desk.pull(None, "a1", V2.replace("05:", "06:"), status="inProgress")  # by a webhook
        while await stage.step():
            pass
        await desk.change(alert, comments=[{"comment": "still here"}])  # a later one, so that all before it was seen
        found = await desk.settled(2)
    assert (await desk.alert(alert))["status"] == "inProgress"
    assert [sorted(each.words) for each in found] == [["comments", "status", "tags"], ["comments"]]
    assert len(system.sent) == 2


async def test_the_owner_of_what_came_by_another_way(store: Store, system: System) -> None:
    """An alert that no connection pulled goes to the one connection whose connector owns its product; one of nobody,
    or of a connection that does not write back, goes nowhere."""
    desk = Desk(store)
    await desk.connect(system.url)
    owned = await desk.pull(None, "a1")
    foreign = await desk.pull(None, "b1", product="Else")
    reader = await desk.connect(system.url, "reader", "test-read-only")
    silent = await desk.connect(system.url, "silent", write_back=False, enabled=False)
    read_only, unwritten = await desk.pull(reader, "c1", product="R"), await desk.pull(silent, "d1", product="S")
    async with working(store):
        for alert in (foreign, read_only, unwritten, owned):
            await desk.change(alert, status="resolved")
        (one,) = await desk.settled(1)
    assert (one.subject_id, one.state) == (owned, "done")
    assert [id for id, _ in system.sent] == ["a1"]


async def test_an_hour_without_the_system(store: Store, system: System) -> None:
    """While it is away changes wait, shown with why; it is asked less and less often; then all arrive in order."""
    clock, desk = Clock(), Desk(store)
    tickets = await desk.connect(system.url)
    alerts = [await desk.pull(tickets, f"a{n}", V1) for n in range(5)]
    pace = replace(QUICK, backoff_s=2.0, backoff_max_s=300.0, lane_max_s=60.0, claim_s=75.0, denied_s=600.0)
    async with working(store, pace=pace, clock=clock):
        system.answer = 503
        for alert in alerts:
            await desk.change(alert, status="resolved")
            await desk.change(alert, status="new")
            await desk.change(alert, comments=[{"comment": "x"}])
        await desk.until(lambda found: len(found) == 15)
        for _ in range(60):
            clock.forward(minutes=1)
            await desk.queue()
        await desk.until(lambda found: _forwarded(clock, sum(each.tries for each in found) >= 10))
        assert system.asked < 60 + 10  # a try a minute at the most, whatever waits
        waiting = await desk.queue()
        assert {each.state for each in waiting} == {"waiting"}
        assert all("503" in (each.last_error or "") for each in waiting if each.tries)
        assert all(each.tries == 0 for each in waiting if each.next_try_date_time is None)
        system.answer = 200
        found = await desk.until(lambda found: _forwarded(clock, not any(each.open for each in found)))
    assert {each.state for each in found} == {"done"}
    for n in range(5):
        first, second, third = system.words(f"a{n}")
        assert (first, second) == ({"status": "resolved"}, {"status": "new"})
        assert [each["comment"] for each in third["comments"]] == ["x"]
    assert set(system.keys.values()) == {1}


def _forwarded(clock: Clock, ready: bool) -> bool:
    """Time passes while one looks."""
    clock.forward(seconds=30)
    return ready


async def test_a_dead_system_holds_up_nobody(sqlite: Store, system: System) -> None:
    """One that never answers, and one that is not there, cost the others nothing; objects of one system are tried side
    by side, within the bound."""
    desk = Desk(sqlite)
    async with answering() as dead:
        dead.delay_s = 3_600.0
        well = await desk.connect(system.url)
        hanging = await desk.connect(dead.url, "hanging")
        gone = await desk.connect("http://127.0.0.1:9", "gone")
        system.delay_s = 0.1
        for n in range(12):
            for of in (hanging, gone, well):
                alert = await desk.pull(of, f"{of.id}-{n}", V1, product=of.id)
                await desk.change(alert, status="resolved")
        async with working(sqlite):
            found = await desk.until(lambda found: sum(each.state == "done" for each in found) >= 12)
    assert {each.connection for each in found if each.state == "done"} == {"tickets"}
    assert {each.state for each in found if each.connection != "tickets"} == {"waiting"}
    assert 1 < system.most_at_once <= QUICK.at_once


async def test_throttled(sqlite: Store, system: System) -> None:
    """A system that says when to come back is not asked before."""
    clock, desk = Clock(), Desk(sqlite)
    tickets = await desk.connect(system.url)
    system.answer, system.headers = 429, {"Retry-After": "120"}
    alerts = [await desk.pull(tickets, f"a{n}", V1) for n in range(3)]
    async with working(sqlite, pace=replace(QUICK, at_once=1, claim_s=75.0), clock=clock):
        for alert in alerts:
            await desk.change(alert, status="resolved")
        await desk.until(lambda found: any(each.tries and each.last_error for each in found))
        system.answer = 200
        clock.forward(seconds=100)
        await desk.pull(tickets, "b", V1)
        await desk.until(lambda found: len(found) == 3)
        assert system.asked == 1
        clock.forward(seconds=30)
        await desk.settled(3)
    assert system.asked == 4


async def test_denied_until_an_operator_sees_to_it(sqlite: Store, system: System) -> None:
    """Credentials that do not suffice are shown, tried again now and then, and nothing is lost meanwhile."""
    desk = Desk(sqlite)
    tickets = await desk.connect(system.url, token="wrong")
    alert = await desk.pull(tickets, "a1", V1)
    async with working(sqlite):
        await desk.change(alert, status="resolved")
        await desk.change(alert, status="new")
        found = await desk.until(lambda found: [each.state for each in found] == ["denied", "waiting"])
        assert "wrong" not in str(found) and "401" in (found[0].last_error or "")
        await desk.connect(system.url, token="right", new=False)
        assert [each.state for each in await desk.settled(2)] == ["done", "done"]
    assert [each["status"] for each in system.words("a1")] == ["resolved", "new"]


async def test_refused_ones_fail_alone(sqlite: Store, system: System) -> None:
    """What the system refuses, and what a connector fails at, is shown as failed, without what the fault says;
    later changes go on."""
    desk = Desk(sqlite)
    tickets = await desk.connect(system.url)
    system.archived.add("a1")
    refused, broken = await desk.pull(tickets, "a1", V1), await desk.pull(tickets, "broken", V1)
    async with working(sqlite):
        await desk.change(refused, status="resolved")
        await desk.change(broken, status="resolved")
        await desk.until(lambda found: [each.state for each in found] == ["failed", "failed"])
        system.archived.clear()
        await desk.change(refused, assignedTo="ann@contoso.example")
        found = await desk.settled(3)
    assert [each.state for each in found] == ["failed", "failed", "done"]
    assert "archived" in (found[0].last_error or "") and "ZeroDivisionError" in (found[1].last_error or "")
    assert "Bearer" not in str(found)
    assert system.words("a1") == [{"assignedTo": "ann@contoso.example"}]


async def test_given_up_after_its_time(sqlite: Store, system: System) -> None:
    """What has not arrived within the limit has failed, and says how often it was tried."""
    clock, desk = Clock(), Desk(sqlite)
    tickets = await desk.connect(system.url)
    alert = await desk.pull(tickets, "a1", V1)
    system.answer = 503
    async with working(sqlite, pace=replace(QUICK, limit_s=3_600.0, claim_s=75.0), clock=clock):
        await desk.change(alert, status="resolved")
        await desk.until(lambda found: bool(found) and found[0].last_error is not None)
        clock.forward(hours=2)
        (one,) = await desk.settled(1)
    assert one.state == "failed" and "given up after" in (one.last_error or "")


async def test_conflicts_are_shown(store: Store, system: System) -> None:
    """Who changed the alert there meanwhile, and to what, stands beside what was written over it; what we wrote
    ourselves, or had seen, is no conflict."""
    desk = Desk(store)
    tickets = await desk.connect(system.url)
    alert = await desk.pull(tickets, "a1", system.stamp("a1"))
    async with working(store):
        await desk.change(alert, status="inProgress")
        await desk.change(alert, status="new")  # before a poll has told us the version that the first one made
        await desk.change(alert, classification="truePositive")
        assert [each.state for each in await desk.settled(3)] == ["done", "done", "done"]
        system.write("a1", {"status": "resolved"}, "mallory")
        await desk.change(alert, status="inProgress")
        found = await desk.settled(4)
        assert (found[3].state, found[3].overwrote, found[3].last_writer) == (
            "conflict",
            '{"status":"resolved"}',
            "mallory",
        )
        assert system.objects["a1"]["status"] == "inProgress"
        await desk.come_back(tickets, system, "a1")
        await desk.change(alert, status="resolved")
        assert (await desk.settled(5))[4].state == "done"


async def test_a_conflict_that_a_poll_told_of_first(sqlite: Store, system: System) -> None:
    """What somebody said there while our change waited is shown here within one poll, and as a conflict once ours has
    replaced it; what both said alike is none."""
    desk = Desk(sqlite)
    tickets = await desk.connect(system.url)
    alert = await desk.pull(tickets, "a1", system.stamp("a1"), assigned_to="zoe")
    system.answer = 503
    async with working(sqlite):
        await desk.change(alert, status="resolved", classification="truePositive", assignedTo="ann")
        await desk.until(lambda found: bool(found) and found[0].last_error is not None)
        there = {"status": "inProgress", "classification": "truePositive", "assignedTo": "zoe"}
        system.write("a1", there, "mallory")
        await desk.come_back(tickets, system, "a1")
        assert (await desk.alert(alert))["status"] == "inProgress"
        system.answer = 200
        (one,) = await desk.settled(1)
        await desk.come_back(tickets, system, "a1")
    assert (one.state, one.overwrote, one.last_writer) == ("conflict", '{"status":"inProgress"}', "mallory")
    assert (await desk.alert(alert))["status"] == "resolved"


async def test_an_older_word_that_comes_back(store: Store, system: System) -> None:
    """What we wrote before comes back with a poll while a newer word of ours waits: the newer one stays shown, and
    nothing more is written. What somebody else says there meanwhile is shown."""
    desk = Desk(store)
    tickets = await desk.connect(system.url)
    alert = await desk.pull(tickets, "a1", V1)
    async with working(store) as stage:
        await desk.change(alert, status="resolved", classification="truePositive")
        await desk.settled(1)
        system.answer = 503
        await desk.change(alert, status="inProgress")
        await desk.until(lambda found: len(found) == 2 and found[1].last_error is not None)
        await desk.come_back(tickets, system, "a1")
        while await stage.step():
            pass
        await desk.come_back(tickets, system, "a1")
        shown = await desk.alert(alert)
        assert (shown["status"], shown["classification"], shown["resolvedDateTime"]) == (
            "inProgress",
            "truePositive",
            None,
        )
        system.write("a1", {"status": "new"}, "mallory")
        await desk.come_back(tickets, system, "a1")
        while await stage.step():
            pass
        assert (await desk.alert(alert))["status"] == "new"
        system.answer = 200
        found = await desk.settled(2)
        await desk.come_back(tickets, system, "a1")
    assert [each.state for each in found] == ["done", "conflict"]
    assert (await desk.alert(alert))["status"] == "inProgress"
    assert len(system.sent) == 2


async def test_a_connection_that_is_off_or_gone(sqlite: Store, system: System) -> None:
    """While it is disabled its changes wait; when it is removed they have failed."""
    desk = Desk(sqlite)
    tickets = await desk.connect(system.url)
    alert = await desk.pull(tickets, "a1", V1)
    other = await desk.pull(tickets, "a2", V1)
    await desk.connect(system.url, new=False, enabled=False)
    async with working(sqlite):
        await desk.change(alert, status="resolved")
        (held,) = await desk.until(lambda found: bool(found) and found[0].last_error is not None)
        assert (held.state, held.last_error) == ("waiting", "the connection 'tickets' is disabled")
        assert system.asked == 0
        await desk.connect(system.url, new=False)
        assert [each.state for each in await desk.settled(1)] == ["done"]
        await desk.connect(system.url, new=False, enabled=False)
        await desk.change(other, status="resolved")
        await desk.until(lambda found: len(found) == 2 and found[1].last_error is not None)
        await desk.connections.remove(TENANT, "tickets", actor="operator")
        assert (await desk.settled(2))[1].state == "failed"


async def test_decisions_on_risky_users_go_back(store: Store, system: System) -> None:
    """Confirm and dismiss of a user that came over a connection go to its system; of one that did not they stay; what
    the system itself says of a user's risk stays too."""
    desk = Desk(store)
    tickets = await desk.connect(system.url)
    risk = {"riskLevel": "medium", "riskState": "atRisk", "riskDetail": "none"}
    confirmed = {
        "riskLevel": "high",
        "riskState": "confirmedCompromised",
        "riskDetail": "adminConfirmedUserCompromised",
    }
    told = {"riskState": ("atRisk", "confirmedCompromised"), "riskDetail": ("none", "adminConfirmedUserCompromised")}
    await desk.put(RISKY_USERS, "u1", risk, tickets.actor)
    await desk.put(USERS, "u2", {"displayName": "Two"}, tickets.actor)
    await desk.put(RISK_DETECTIONS, "d3", {"userId": "u3", **risk}, tickets.actor)
    await desk.put(RISKY_USERS, "own", risk, "sender")
    async with working(store):
        for user in ("u1", "u2", "u3", "own"):
            await desk.put(RISKY_USERS, user, confirmed, "ann@contoso.example", **told)
        await desk.put(RISKY_USERS, "u1", {**risk, "riskLevel": "high"}, "identity", riskState=("none", "atRisk"))
        await desk.put(RISKY_USERS, "u1", confirmed, tickets.actor, **told)
        found = await desk.settled(3)
        await desk.put(RISK_DETECTIONS, "d3", confirmed, "ann@contoso.example", **told)  # the connector takes none
        await desk.put(RISKY_USERS, "u1", confirmed, "ann@contoso.example", riskState=("atRisk", "dismissed"))
        found = await desk.settled(4)
    assert [(each.subject, each.subject_id, each.state) for each in found] == [
        ("riskyUser", "u1", "done"),
        ("riskyUser", "u2", "done"),
        ("riskyUser", "u3", "done"),
        ("riskyUser", "u1", "done"),
    ]
    assert [words.get("riskState") for words in system.words("u1")] == ["confirmedCompromised", "dismissed"]


async def test_two_workers(store: Store, system: System) -> None:
    """Two at once write each change once, in order."""
    desk = Desk(store)
    tickets = await desk.connect(system.url)
    system.delay_s = 0.005
    alerts = [await desk.pull(tickets, f"a{n}", V1) for n in range(6)]
    async with working(store, pace=replace(QUICK, claim_s=20.0)), working(store, pace=replace(QUICK, claim_s=20.0)):
        for n in range(6):
            for alert in alerts:
                await desk.change(alert, assignedTo=f"p{n}")
        await desk.settled(36)
    for n in range(6):
        assert [each["assignedTo"] for each in system.words(f"a{n}")] == [f"p{n}" for n in range(6)]
    assert set(system.keys.values()) == {1}


async def test_taking_the_feed_again_changes_nothing(sqlite: Store, system: System) -> None:
    """A stage that died after it had queued changes, and before its cursor had moved, queues none of them twice."""
    desk = Desk(sqlite)
    tickets = await desk.connect(system.url)
    alert = await desk.pull(tickets, "a1", V1)
    async with working(sqlite):
        await desk.change(alert, status="resolved")
        before = await desk.settled(1)
    await sqlite.drop_cursor("writeback")
    async with working(sqlite):
        await desk.change(alert, status="new")
        found = await desk.settled(2)
    assert found[0] == before[0] and len(found) == 2 and len(system.sent) == 2


async def test_an_operator_repeats_and_drops(sqlite: Store, system: System) -> None:
    """A failed change is tried again without undoing what later ones said; a dropped one lets the next go on."""
    desk = Desk(sqlite)
    tickets = await desk.connect(system.url)
    alert = await desk.pull(tickets, "a1", V1)
    system.archived.add("a1")
    slow = replace(QUICK, backoff_s=1.0, backoff_max_s=1.0, lane_max_s=1.0)  # none is under way when it is dropped
    async with working(sqlite, pace=slow):
        await desk.change(alert, status="resolved", assignedTo="ann@contoso.example")
        await desk.change(alert, status="resolved", comments=[{"comment": "first"}])
        await desk.until(lambda found: [each.state for each in found] == ["failed", "failed"])
        system.archived.clear()
        await desk.change(alert, status="new")
        found = await desk.settled(3)
        one = await desk.here.write(lambda tx: queue.repeat(tx, found[0].id, tx.now), actor="operator")
        assert (list(one.own.values), one.left_out) == (["assignedTo"], ["status"])
        found = await desk.settled(3)
        assert [each.state for each in found] == ["done", "failed", "done"]
        assert system.objects["a1"]["status"] == "new"
        assert system.objects["a1"]["assignedTo"] == "ann@contoso.example"
        with pytest.raises(BadRequest, match="only one that waits"):
            await desk.here.write(lambda tx: queue.repeat(tx, found[0].id, tx.now), actor="operator")
        system.answer = 503
        await desk.change(alert, status="inProgress")
        await desk.change(alert, BOB, status="resolved")
        found = await desk.until(lambda found: len(found) == 5 and found[3].last_error is not None)
        await desk.here.write(lambda tx: queue.drop(tx, found[3].id, tx.now), actor="operator")
        system.answer = 200
        found = await desk.settled(5)
    assert [each.state for each in found] == ["done", "failed", "done", "dropped", "done"]
    assert [each.get("status") for each in system.words("a1")] == ["new", None, "resolved"]


async def test_settled_ones_are_kept_for_a_time_and_the_newest_of_each_object_for_good(
    store: Store, system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By age retention removes what has settled, but the last of each object and what is open; by count the oldest of
    one object go as further ones settle."""
    monkeypatch.setattr(queue, "MOST_SETTLED", 3)
    desk = Desk(store)
    tickets = await desk.connect(system.url)
    one, other = await desk.pull(tickets, "a1", V1), await desk.pull(tickets, "a2", V1)
    async with working(store):
        for number in range(5):
            await desk.change(one, assignedTo=f"u{number}")
        await desk.settled(3)
        await desk.until(lambda found: [each.state for each in found] == ["done"] * 3)
        await desk.change(other, assignedTo="ann")
        await desk.settled(4)
        system.answer = 503
        await desk.change(other, assignedTo="bob")
        await desk.until(lambda found: len(found) == 5 and found[-1].last_error is not None)
    assert len(system.words("a1")) == 5 and system.words("a1")[-1] == {"assignedTo": "u4"}
    at = (await desk.queue())[0].changed_date_time
    soon, late = (to_datetime(at) + queue.KEEP + timedelta(days=days) for days in (-1, 1))
    await store.retain(soon)
    assert await desk.states() == ["done"] * 4 + ["waiting"]
    await store.retain(late)
    left = [(each.subject_id, each.state, each.own.values["assignedTo"]) for each in await desk.queue()]
    assert left == [(one, "done", "u4"), (other, "waiting", "bob")]


async def test_conflicts_on_incidents_are_shown(store: Store, system: System) -> None:
    """As of alerts: what somebody said there since the version that was known here, and who; not what we wrote."""
    desk = Desk(store)
    tickets = await desk.connect(system.url)
    await desk.put(INCIDENTS, "i1", {"status": "active", "displayName": "x"}, tickets.actor)
    async with working(store) as stage:
        await stage.step()
        system.write("i1", {"status": "new"}, "system")
        known = system.stamp("i1")
        first = {"status": ("active", "inProgress"), ANALYST: (known, "Ann")}
        await desk.put(INCIDENTS, "i1", {"status": "inProgress", "displayName": "x"}, "ann", **first)
        (one,) = await desk.settled(1)
        assert (one.state, one.own.known) == ("done", known)
        system.write("i1", {"status": "resolved"}, "mallory")
        second = {"status": ("inProgress", "active"), ANALYST: (known, "Ann")}
        await desk.put(INCIDENTS, "i1", {"status": "active", "displayName": "x"}, "ann", **second)
        found = await desk.settled(2)
    assert [(each.subject, each.state) for each in found] == [("incident", "done"), ("incident", "conflict")]
    assert (found[1].overwrote, found[1].last_writer) == ('{"status":"resolved"}', "mallory")


async def test_of_two_connections_the_narrowest_owner_writes_back_once(store: Store, system: System) -> None:
    """Microsoft Graph and Defender for Endpoint both own alerts of Defender for Endpoint: whether both pulled one or
    neither did, the product's own connection writes it back, and where that does not write back, the other."""
    desk = Desk(store)
    graph = await desk.connect(system.url, "a-graph", "test-wide")
    own = await desk.connect(system.url, "b-endpoint", "test-tickets")
    pulled = await desk.pull(graph, "a1", V1)
    await desk.pull(own, "a1", V1)
    sent, elsewhere = await desk.pull(None, "a2", V1), await desk.pull(None, "a3", V1, product="Mail")
    async with working(store):
        for alert in (pulled, sent, elsewhere):
            await desk.change(alert, status="resolved")
        found = await desk.settled(3)
        assert [each.connection for each in found] == ["b-endpoint", "b-endpoint", "a-graph"]
        await desk.connect(system.url, "b-endpoint", "test-tickets", new=False, write_back=False)
        await desk.change(pulled, status="new")
        found = await desk.settled(4)
    assert found[-1].connection == "a-graph"
    assert sorted(id for id, _ in system.sent) == ["a1", "a1", "a2", "a3"]


def test_the_rule_of_the_narrowest_owner_decides_between_microsofts_two() -> None:
    shared = set(MicrosoftGraph.owns) & set(MicrosoftDefenderEndpoint.owns)
    assert shared and len(MicrosoftDefenderEndpoint.owns) < len(MicrosoftGraph.owns)
