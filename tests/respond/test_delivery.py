"""Changes become notifications: in order, filtered, at least once, whatever endpoints do."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.respond.conftest import (
    APP,
    EVERY,
    GROUPS,
    LAB,
    OTHER,
    QUICK,
    TENANT,
    USERS,
    Receiver,
    caller,
    context,
    delete,
    delivering,
    put,
    put_alert,
    soon,
    subscribe,
    until,
)

from bartizan.respond.delivery import BASE_S, CURSOR, LEASE
from bartizan.respond.lines import MAX_QUEUE
from bartizan.respond.subscriptions import DEAD_LETTERS, LIFECYCLE, SUBSCRIPTIONS, Subscriptions
from bartizan.respond.tally import last_told, metrics
from bartizan.respond.watched import WATCHABLE
from bartizan.store import FEED_PLACE, Query, Store, open_store

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(target: str) -> AsyncIterator[Store]:
    """On both engines."""
    store = open_store(target, EVERY)
    await store.start()
    yield store
    await store.close()


def ids(items: list[dict[str, Any]]) -> list[str]:
    return [each["resourceData"]["id"] for each in items]


async def test_the_shape(store: Store, receiver: Receiver) -> None:
    """A notification has exactly the documented members, and the subscriber's own query string is kept."""
    made = await subscribe(store, f"{receiver.root}/hook?code=a%2Fb&x=1", "/security/alerts", changeType="created")
    async with delivering(store):
        stored = await put_alert(store, "a1", severity="high")
        await receiver.wait(lambda: len(receiver.sent()) == 1)
    (where, items) = receiver.posts[0]
    assert where == "/hook?code=a%2Fb&x=1"
    (one,) = items
    assert one == {
        "id": one["id"],
        "subscriptionId": made["id"],
        "subscriptionExpirationDateTime": made["expirationDateTime"],
        "clientState": "secret",
        "changeType": "created",
        "resource": "security/alerts/a1",
        "tenantId": TENANT,
        "resourceData": {
            "@odata.type": "#microsoft.graph.alert",
            "@odata.id": "security/alerts/a1",
            "@odata.etag": stored.etag,
            "id": "a1",
        },
    }
    assert receiver.asked[-1].content_type == "application/json"


async def test_change_types(store: Store, receiver: Receiver) -> None:
    """Only the changes that were asked for come; a deletion is told by id alone."""
    await subscribe(store, f"{receiver.root}/all", changeType="deleted,updated,created")
    await subscribe(store, f"{receiver.root}/gone", changeType="deleted")
    async with delivering(store):
        await put_alert(store, "a1")
        await put_alert(store, "a1", status="resolved")
        await delete(store, "alerts", "a1")
        await receiver.wait(lambda: len(receiver.sent("/all")) == 3 and len(receiver.sent("/gone")) == 1)
    assert [each["changeType"] for each in receiver.sent("/all")] == ["created", "updated", "deleted"]
    (gone,) = receiver.sent("/gone")
    assert gone["resourceData"] == {
        "@odata.type": "#microsoft.graph.alert",
        "@odata.id": "security/alerts/a1",
        "id": "a1",
    }


async def test_filters_are_asked_of_the_object_at_the_change(store: Store, receiver: Receiver) -> None:
    """An alert that is new for a moment only still matches `is new`, though it has changed before anybody reads it."""
    await subscribe(store, f"{receiver.root}/new", "security/alerts?$filter=status eq 'newAlert'")
    await subscribe(store, f"{receiver.root}/asc", "security/alerts?$filter=vendorInformation/provider%20eq%20'ASC'")
    await put_alert(store, "a1", status="newAlert", vendorInformation={"provider": "IPC", "vendor": "x"})
    await put_alert(store, "a1", status="inProgress")
    await put_alert(store, "a1", status="resolved", severity="low")
    await put_alert(store, "a2", status="resolved", vendorInformation={"provider": "ASC", "vendor": "x"})
    await put_alert(store, "a2", status="newAlert")
    await put_alert(store, "a3", status="newAlert")
    async with delivering(store):
        await receiver.wait(lambda: len(receiver.sent("/new")) >= 3 and len(receiver.sent("/asc")) >= 2)
        await put_alert(store, "end", status="newAlert", vendorInformation={"provider": "ASC", "vendor": "x"})
        await receiver.wait(lambda: "end" in ids(receiver.sent("/new")) and "end" in ids(receiver.sent("/asc")))
    told = [(each["resourceData"]["id"], each["changeType"]) for each in receiver.sent("/new")]
    assert told == [("a1", "created"), ("a2", "updated"), ("a3", "created"), ("end", "created")]
    assert ids(receiver.sent("/asc")) == ["a2", "a2", "end"]


async def test_live_filters(store: Store, receiver: Receiver) -> None:
    """The same while the engine runs."""
    await subscribe(store, f"{receiver.root}/high", "/v1.0/Security/Alerts?$filter=Severity eq 'high'")
    async with delivering(store):
        for n in range(40):
            await put_alert(store, f"a{n}", severity="high" if n % 4 == 0 else "low")
        await receiver.wait(lambda: len(receiver.sent("/high")) == 10)
    assert ids(receiver.sent("/high")) == [f"a{n}" for n in range(0, 40, 4)]


async def test_one_object(store: Store, receiver: Receiver) -> None:
    """A subscription to one object hears of no other."""
    await put_alert(store, "a1")
    await put_alert(store, "a2")
    await subscribe(store, f"{receiver.root}/one", "security/alerts('a2')")
    async with delivering(store):
        await put_alert(store, "a1", status="resolved")
        await put_alert(store, "a2", status="resolved")
        await put_alert(store, "a2", status="newAlert")
        await receiver.wait(lambda: len(receiver.sent("/one")) == 2)
    assert ids(receiver.sent("/one")) == ["a2", "a2"]


async def test_users_by_name_and_groups_by_members(store: Store, receiver: Receiver) -> None:
    """A user may be named; `members` hears of changes of the members only."""
    await put(store, USERS, "u1", {"userPrincipalName": "Ann@Example.org"})
    await put(store, GROUPS, "g1", {"displayName": "one"})
    await subscribe(store, f"{receiver.root}/user", "users/ann@example.org", changeType="updated")
    await subscribe(store, f"{receiver.root}/members", "groups/g1/members", changeType="updated,deleted")
    async with delivering(store):
        await put(
            store, USERS, "u1", {"userPrincipalName": "ann.other@example.org"}, changed={"userPrincipalName": (1, 2)}
        )
        await put(store, GROUPS, "g1", {"displayName": "two"}, changed={"displayName": ("one", "two")})
        changed = await put(store, GROUPS, "g1", {"displayName": "two"}, changed={"members@delta": (None, ["u1"])})
        await receiver.wait(lambda: bool(receiver.sent("/user") and receiver.sent("/members")))
        await delete(store, "groups", "g1")
        await put_alert(store, "later")
        await asyncio.sleep(0.1)
    assert ids(receiver.sent("/user")) == ["u1"]
    assert [each["resourceData"]["@odata.etag"] for each in receiver.sent("/members")] == [changed.etag]


async def test_tenants_and_later_creation(store: Store, receiver: Receiver) -> None:
    """What happened before a subscription, or in another tenant, is not told."""
    await put_alert(store, "before")
    async with delivering(store):
        await put_alert(store, "before too")
        await subscribe(store, f"{receiver.root}/mine")
        await put_alert(store, "theirs", OTHER)
        await put_alert(store, "mine")
        await receiver.wait(lambda: bool(receiver.sent("/mine")))
        await subscribe(store, f"{receiver.root}/theirs", who=caller(OTHER))
        await put_alert(store, "theirs too", OTHER)
        await receiver.wait(lambda: bool(receiver.sent("/theirs")))
    assert ids(receiver.sent("/mine")) == ["mine"]
    assert ids(receiver.sent("/theirs")) == ["theirs too"]


async def test_many_changes_share_a_post(store: Store, receiver: Receiver) -> None:
    """What has gathered for one address goes together, of all its subscriptions; each comes once, in order."""
    first = await subscribe(store, f"{receiver.root}/hook")
    second = await subscribe(store, f"{receiver.root}/hook", "security/alerts?$filter=severity eq 'high'")
    await asyncio.gather(*(put_alert(store, f"a{n:03}", severity="high" if n % 2 else "low") for n in range(200)))
    async with delivering(store):
        await receiver.wait(lambda: len(receiver.sent("/hook")) == 300)
    sent = receiver.sent("/hook")
    assert [len(items) for _, items in receiver.posts] == [100, 100, 100]
    for made, count in ((first, 200), (second, 100)):
        own = [each for each in sent if each["subscriptionId"] == made["id"]]
        etags = [each["resourceData"]["@odata.etag"] for each in own]
        assert etags == sorted(etags) and len({each["id"] for each in own}) == count


async def test_a_failing_endpoint_gets_it_later_in_order(store: Store, receiver: Receiver) -> None:
    """Refusals and redirects are tried again; nothing is lost or reordered, and others do not wait."""
    await subscribe(store, f"{receiver.root}/sick")
    await subscribe(store, f"{receiver.root}/well")
    receiver.status["/sick"] = 503
    async with delivering(store) as engine:
        for n in range(30):
            await put_alert(store, f"a{n:02}")
        await receiver.wait(lambda: len(receiver.sent("/well")) == 30)
        assert engine.stats()["failing"] == 1 and not receiver.sent("/sick")
        receiver.status["/sick"] = 307
        await asyncio.sleep(0.3)
        del receiver.status["/sick"]
        await receiver.wait(lambda: len(receiver.sent("/sick")) == 30)
    assert ids(receiver.sent("/sick")) == [f"a{n:02}" for n in range(30)]


async def test_a_lagging_subscription_reads_the_feed_again(store: Store, receiver: Receiver) -> None:
    """More changes than a queue holds: the rest is read from the feed once the endpoint answers."""
    await subscribe(store, f"{receiver.root}/sick", "security/alerts?$filter=severity ne 'low'")
    receiver.status["/sick"] = 500
    many = MAX_QUEUE + 400
    async with delivering(store) as engine:
        await until(lambda: _is(engine.stats()["subscriptions"] == 1 and engine.stats()["lagging"] == 0))
        await asyncio.gather(*(put_alert(store, f"a{n:04}", severity="high") for n in range(many)))
        await asyncio.gather(*(put_alert(store, f"low{n:04}", severity="low") for n in range(600)))
        await until(lambda: _is(engine.stats()["lagging"] == 1 and engine.stats()["waiting"] == MAX_QUEUE))
        del receiver.status["/sick"]
        await receiver.wait(lambda: len(receiver.sent("/sick")) >= many)
        await put_alert(store, "end", severity="high")
        await receiver.wait(lambda: "end" in ids(receiver.sent("/sick")))
        await until(lambda: _is(engine.stats()["lagging"] == 0))
    assert len(ids(receiver.sent("/sick"))) == many + 1 == len(set(ids(receiver.sent("/sick"))))


async def test_stopping_and_starting_loses_nothing(store: Store, receiver: Receiver) -> None:
    """Each subscription goes on from its saved place."""
    await subscribe(store, f"{receiver.root}/one")
    await subscribe(store, f"{receiver.root}/two", "security/alerts?$filter=severity eq 'high'")
    for round in range(4):
        for n in range(5):
            await put_alert(store, f"r{round}a{n}", severity="high")
        async with delivering(store):
            await receiver.wait(lambda: all(len(receiver.sent(p)) >= 5 * (round + 1) for p in ("/one", "/two")))  # noqa: B023
    expected = [f"r{round}a{n}" for round in range(4) for n in range(5)]
    assert ids(receiver.sent("/one")) == expected == ids(receiver.sent("/two"))


async def test_one_process_delivers(store: Store, receiver: Receiver) -> None:
    """Two engines: the lease is with one, and goes to the other when that one stops."""
    await subscribe(store, f"{receiver.root}/hook")
    async with delivering(store) as second:
        async with delivering(store) as first:
            await until(lambda: _is(first.stats()["subscriptions"] + second.stats()["subscriptions"] == 1))
            for n in range(10):
                await put_alert(store, f"a{n}")
            await receiver.wait(lambda: len(receiver.sent()) == 10)
        for n in range(10, 20):
            await put_alert(store, f"a{n}")
        await receiver.wait(lambda: len(receiver.sent()) == 20)
    assert ids(receiver.sent()) == [f"a{n}" for n in range(20)]


class Clock:
    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


async def test_dead_letters(store: Store, receiver: Receiver) -> None:
    """What cannot be delivered within the horizon becomes a dead letter, `missed` says so once, retention goes on."""
    clock = Clock()
    made = await subscribe(
        store,
        f"{receiver.root}/sick?key=hidden",
        lifecycleNotificationUrl=f"{receiver.root}/life",
        expirationDateTime=soon(days=20),
    )
    receiver.status["/sick"] = 500
    async with delivering(store, clock=clock) as engine:
        await until(lambda: _is(bool(engine.watches)))  # it begins at the feed's head
        for n in range(5):
            await put_alert(store, f"a{n}")
        last = await store.head()
        await until(lambda: _is(engine.stats()["waiting"] == 5 and engine.stats()["failing"] == 1))
        assert (await store.cursor(CURSOR) or 0) < last
        clock.ahead = timedelta(hours=4, minutes=1)
        await receiver.wait(lambda: bool(receiver.sent("/life")))
        (event,) = receiver.sent("/life")
        assert event["lifecycleEvent"] == "missed" and event["subscriptionId"] == made["id"]
        assert event["clientState"] == "secret" and "resourceData" not in event
        page = await store.tenant(TENANT).page(DEAD_LETTERS.name, Query(10))
        (letter,) = [json.loads(row.doc) for row in page.rows]
        assert letter["count"] == 5 and letter["objectIds"] == [f"a{n}" for n in range(5)]
        assert letter["reason"] == "status 500" and letter["endpoint"] == f"{receiver.root}/sick"
        assert letter["applicationId"] == APP and letter["lastChange"] == last

        async def passed() -> bool:
            return (await store.cursor(CURSOR) or 0) >= last

        await until(passed)
        clock.ahead = timedelta()
        del receiver.status["/sick"]
        await put_alert(store, "again")
        await receiver.wait(lambda: bool(receiver.sent("/sick")))
        assert ids(receiver.sent("/sick")) == ["again"]
        assert not (await store.tenant(TENANT).page(LIFECYCLE.name, Query(10))).rows


async def test_what_waits_is_kept_before_any_place_is_saved(store: Store, receiver: Receiver) -> None:
    """Of a subscription whose place was never saved, retention passes nothing that has only been read."""
    await subscribe(store, f"{receiver.root}/sick")
    receiver.status["/sick"] = 500
    async with delivering(store, msgspec.structs.replace(QUICK, save_s=3_600.0)) as engine:
        await until(lambda: _is(bool(engine.watches)))
        for n in range(3):
            await put_alert(store, f"a{n}")
        last = await store.head()
        await until(lambda: _is(engine.stats()["waiting"] == 3 and engine.stats()["failing"] == 1))
        await asyncio.sleep(1.5 * BASE_S)
        assert (await store.cursor(CURSOR) or 0) < last


async def test_expiry(store: Store, receiver: Receiver) -> None:
    """Shortly before its end reauthorization is asked for, once; at its end the subscription goes, and that is said."""
    life = f"{receiver.root}/life"
    made = await subscribe(
        store, f"{receiver.root}/hook", lifecycleNotificationUrl=life, expirationDateTime=soon(seconds=2.5)
    )
    async with delivering(store):
        await put_alert(store, "a1")
        await receiver.wait(lambda: len(receiver.sent("/life")) == 2)
        await put_alert(store, "too late")
        await asyncio.sleep(0.2)
        assert await store.tenant(TENANT).get(SUBSCRIPTIONS.name, made["id"]) is None
    assert [e["lifecycleEvent"] for e in receiver.sent("/life")] == ["reauthorizationRequired", "subscriptionRemoved"]
    assert ids(receiver.sent("/hook")) == ["a1"]


async def test_lifecycle_survives_a_restart(store: Store, receiver: Receiver) -> None:
    """A lifecycle notification is stored until it has arrived."""
    receiver.status["/life"] = 202
    await subscribe(
        store,
        f"{receiver.root}/hook",
        lifecycleNotificationUrl=f"{receiver.root}/life",
        expirationDateTime=soon(seconds=0.6),
    )
    receiver.status["/life"] = 500
    async with delivering(store):

        async def gone() -> bool:
            return not (await store.tenant(TENANT).page(SUBSCRIPTIONS.name, Query(10))).rows

        await until(gone)
    del receiver.status["/life"]
    async with delivering(store):
        await receiver.wait(lambda: any(e["lifecycleEvent"] == "subscriptionRemoved" for e in receiver.sent("/life")))


async def test_renewal_reauthorization_and_removal(store: Store, receiver: Receiver) -> None:
    """The engine follows the subscription's own changes."""
    made = await subscribe(store, f"{receiver.root}/hook", expirationDateTime=soon(seconds=1.5))
    hooks, ctx = Subscriptions(LAB), context(store)
    async with delivering(store) as engine:
        until_text = soon(hours=3)
        await hooks.renew(ctx, made["id"], {"expirationDateTime": until_text}, None)
        await asyncio.sleep(1.6)
        await put_alert(store, "a1")
        await receiver.wait(lambda: bool(receiver.sent("/hook")))
        assert receiver.sent("/hook")[0]["subscriptionExpirationDateTime"] == until_text
        assert await hooks.remove(ctx, made["id"], None)
        await until(lambda: _is(engine.stats()["subscriptions"] == 0))
        await put_alert(store, "a2")
        await asyncio.sleep(0.2)
    assert ids(receiver.sent("/hook")) == ["a1"]


async def test_withdrawn_consent_pauses(store: Store, receiver: Receiver) -> None:
    """Who may not read is told nothing until that is granted again; then what came in between follows."""
    granted = {"now": True}

    async def may_read(tenant: str, app: str, user: str | None, resource: str) -> bool:
        assert (tenant, app, user, resource) == (TENANT, APP, None, "security/alerts")
        return granted["now"]

    await subscribe(store, f"{receiver.root}/hook", lifecycleNotificationUrl=f"{receiver.root}/life")
    async with delivering(store, may_read=may_read):
        await put_alert(store, "a1")
        await receiver.wait(lambda: len(receiver.sent("/hook")) == 1)
        granted["now"] = False
        await receiver.wait(lambda: len(receiver.sent("/life")) == 1)
        assert receiver.sent("/life")[0]["lifecycleEvent"] == "reauthorizationRequired"
        await put_alert(store, "a2")
        await asyncio.sleep(0.3)
        assert ids(receiver.sent("/hook")) == ["a1"]
        granted["now"] = True
        await receiver.wait(lambda: len(receiver.sent("/hook")) == 2)
    assert ids(receiver.sent("/hook")) == ["a1", "a2"]


async def test_a_hanging_endpoint_is_alone(store: Store, receiver: Receiver) -> None:
    """One that takes longer than the limit delays nobody else."""
    await subscribe(store, f"{receiver.root}/slow")
    await subscribe(store, f"{receiver.root}/well")
    receiver.delay_s["/slow"] = 5
    async with delivering(store, msgspec.structs.replace(QUICK, post_s=0.3)):
        loop = asyncio.get_running_loop()
        started = loop.time()
        for n in range(20):
            await put_alert(store, f"a{n}")
        await receiver.wait(lambda: len(receiver.sent("/well")) == 20)
        assert loop.time() - started < 3
        receiver.delay_s.clear()
        await receiver.wait(lambda: len(receiver.sent("/slow")) >= 20)
    assert set(ids(receiver.sent("/slow"))) == {f"a{n}" for n in range(20)}


async def test_every_watchable_set_has_a_type(store: Store) -> None:
    """What can be subscribed to is served by the schema."""
    for each in WATCHABLE:
        assert context(store).edm.structured(each.type)


async def _is(value: bool) -> bool:
    return value


class Asleep:
    """A store in which an engine takes the lease once, for a moment, and then believes that it has it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.asked = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def lease(self, name: str, owner: str, *, seconds: float) -> bool:
        self.asked += 1
        return self.asked > 1 or await self._store.lease(name, owner, seconds=0.0)


async def test_who_lost_the_lease_stores_nothing(store: Store, receiver: Receiver) -> None:
    """An engine that slept while another took over gives up at its next write: its place is where the other left it."""
    made = await subscribe(store, f"{receiver.root}/hook")
    key, asleep = f"{FEED_PLACE}{CURSOR}:{made['id']}", Asleep(store)

    async def saved(after: bytes | None) -> bool:
        return await store.tenant(TENANT).value(key) != after

    async with delivering(asleep, msgspec.structs.replace(QUICK, lease_s=30.0)):
        await until(lambda: saved(None))
        before = await store.tenant(TENANT).value(key)
        await put_alert(store, "a0")
        await receiver.wait(lambda: len(receiver.sent()) == 1)
        await until(lambda: saved(before))
        place = await store.tenant(TENANT).value(key)
        assert await store.lease(LEASE, "another", seconds=60)
        await put_alert(store, "a1")
        await receiver.wait(lambda: len(receiver.sent()) > 1)
        await asyncio.sleep(5 * QUICK.save_s)  # in which it would have saved its place several times
    assert await store.tenant(TENANT).value(key) == place


async def test_metrics(store: Store, receiver: Receiver) -> None:
    """What arrived, what failed and waits, what was given up: kept by resource, with nothing that names a tenant."""
    assert metrics(await last_told(store), "2026-01-01T00:00:00.0000000Z") == b""
    receiver.status["/sick"] = 500
    async with delivering(store):
        await subscribe(store, f"{receiver.root}/well")
        receiver.status["/sick"] = 202
        await subscribe(store, f"{receiver.root}/sick")
        receiver.status["/sick"] = 500
        await put_alert(store, "a1")

        async def shown() -> bool:
            found = await last_told(store)
            tally = None if found is None else found.resources.get("alerts")
            return tally is not None and tally.delivered == 1 and tally.failed > 0 and tally.waiting == 1

        await until(shown)
    found = await last_told(store)
    assert found is not None
    later = (datetime.now(UTC) + timedelta(minutes=10)).strftime("%Y-%m-%dT%H:%M:%S.0000000Z")
    text = metrics(found, later).decode()
    assert 'bartizan_notifications_delivered_total{resource="alerts"} 1.0' in text
    assert 'bartizan_notifications_waiting{resource="alerts"} 1.0' in text
    assert 'bartizan_notifications_subscriptions{resource="alerts"} 2.0' in text
    (age,) = [line for line in text.splitlines() if line.startswith("bartizan_notifications_oldest_seconds{")]
    assert float(age.rpartition(" ")[2]) > 500
    assert TENANT not in text and receiver.root not in text
    async with delivering(store):  # counts go on where they were, and waiting ones are found again
        async with asyncio.timeout(20):
            receiver.status["/sick"] = 202
            await receiver.wait(lambda: bool(receiver.sent("/sick")))

        async def both() -> bool:
            found = await last_told(store)
            return found is not None and found.resources["alerts"].delivered >= 2

        await until(both)


async def test_what_is_given_up_is_counted(store: Store, receiver: Receiver) -> None:
    await subscribe(store, f"{receiver.root}/sick")
    receiver.status["/sick"] = 500
    await put_alert(store, "a1")
    ahead = timedelta(days=1)
    async with delivering(store, clock=lambda: datetime.now(UTC) + ahead):

        async def lost() -> bool:
            found = await last_told(store)
            return found is not None and found.resources["alerts"].lost == 1

        await until(lost)
