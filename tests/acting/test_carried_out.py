"""Orders that are carried out: by whom, how often, and what their action shows."""

import asyncio
import random
from typing import Any, cast

import pytest
from tests.acting.conftest import ACTIONS, LIMIT_S, QUICK, Desk, asking, both, of_targets
from tests.api.conftest import A, B

from bartizan.errors import Unavailable
from bartizan.extend.connections import Connection
from bartizan.respond.orders import ORDERS
from bartizan.store import Store
from bartizan.store.draft import draft

pytestmark = pytest.mark.anyio


# ---------------------------------------------------------------- carried out


async def test_carried_out(desk: Desk) -> None:
    """201 NotStarted; then every target is done over every connection that offers it, once, and the action shows it."""
    await desk.connect("north", "test-wall")
    await desk.connect("south", "test-wall")
    await desk.connect("idle", "test-wall", act=False)
    await desk.connect("off", "test-wall", enabled=False)
    await desk.connect("elsewhere", "test-wall", tenant=B)
    made = await desk.order("blockIp", "198.51.100.7", "2001:DB8::1", "198.51.100.7", actionReason="Beacon")
    assert (made["status"], made["undoAction"], made["approvalState"]) == ("NotStarted", "unblockAddress", None)
    assert made["name"] == "blockIp" and made["errorInfo"] is None and made["completedDateTime"] is None
    assert set(of_targets(made).values()) == {"NotStarted"}
    async with desk.carrying():
        action = await desk.ended(made["id"])
    assert action["status"] == "Completed" and action["errorInfo"] is None
    assert [each["status"] for each in action["states"] if not each.get("target")] == [
        "NotStarted", "Running", "Completed"
    ]  # fmt: skip
    places = {(each["connectionId"], each["target"]) for each in action["states"] if each.get("target")}
    assert places == {(where, what) for where in ("north", "south") for what in ("198.51.100.7", "2001:db8::1")}
    assert {each["message"] for each in action["states"] if each.get("target")} == {"as you wish"}
    assert action["completedDateTime"] == action["lastActionDateTime"] > action["createdDateTime"]
    assert sorted(desk.system.done.values()) == ["198.51.100.7"] * 2 + ["2001:db8::1"] * 2
    assert len(desk.system.asked) == 4 and {each["name"] for each in desk.system.asked} == {"blockAddress"}
    assert desk.system.tokens == {"Bearer secret of north", "Bearer secret of south"}


async def test_parameters_beside_the_target(desk: Desk) -> None:
    """Values are text on the wire; the system gets the types that the connector declares."""
    await desk.connect("north", "test-wall")
    parameters = [
        {"name": "IP", "value": "198.51.100.7"}, {"name": "Hours", "value": "12"}, {"name": "log", "value": "True"}
    ]  # fmt: skip
    made = await desk.world.post(ACTIONS, {"name": "blockAddress", "parameters": parameters})
    async with desk.carrying():
        assert (await desk.ended(made["id"]))["status"] == "Completed"
    assert desk.system.asked[0]["parameters"] == {"hours": 12, "log": True}


async def test_what_is_away_is_asked_again(desk: Desk) -> None:
    """With the same key, until it answers; the state says meanwhile why it waits."""
    await desk.connect("people", "test-people")
    made = await desk.order("disableUser", "away-4@x.example", "lost@x.example", parameter="upn")
    async with desk.carrying():
        action = await desk.ended(made["id"])
    assert action["status"] == "Completed"
    keys = {each["target"]: each["key"] for each in desk.system.asked}
    tries = [each["target"] for each in desk.system.asked]
    assert (tries.count("away-4@x.example"), tries.count("lost@x.example")) == (5, 2)
    assert {(each["target"], each["key"]) for each in desk.system.asked} == set(keys.items())
    assert len(desk.system.done) == 2


async def test_what_stays_away_fails_in_time(desk: Desk) -> None:
    await desk.connect("people", "test-people")
    desk.rule(limit_s=1.0)
    made = await desk.order("disableUser", "away-9999@x.example", parameter="upn")
    async with desk.carrying():
        await desk.once(made["id"], lambda action: "tea time" in str(action["states"]))
        action = await desk.ended(made["id"])
    assert action["status"] == "Failed" and action["errorInfo"]["code"] == 504
    said = action["errorInfo"]["message"]
    assert "not done in time" in said and "tea time" in said and "it may have been carried out" in said


async def test_refused(desk: Desk) -> None:
    """What the system refuses has failed at once, with its reason; what else was asked for is done."""
    await desk.connect("people", "test-people")
    names = ("denied@x.example", "rejected@x.example", "fine@x.example")
    made = await desk.order("disableUser", *names, parameter="userPrincipalName")
    async with desk.carrying():
        action = await desk.ended(made["id"])
    assert action["status"] == "Failed"
    assert of_targets(action) == dict(zip(names, ("Failed", "Failed", "Completed"), strict=True))
    error = action["errorInfo"]
    assert error["code"] in (403, 422) and error["subcode"] == 2
    assert error["message"].startswith("2 of 3 failed: ")
    assert "denied it is" in error["message"] and "rejected it is" in error["message"]
    assert "secret of" not in str(action) and len(desk.system.asked) == 3


async def test_a_fault_of_a_connector(desk: Desk) -> None:
    """It ends the order that it befell, and no other; what the fault says stays inside. An action may be a connector's
    own."""
    await desk.connect("people", "test-people")
    made = await desk.order("ASKNICELY", "broken", "fine", parameter="user")
    async with desk.carrying():
        action = await desk.ended(made["id"])
    assert of_targets(action) == {"broken": "Failed", "fine": "Completed"} and action["errorInfo"]["code"] == 500
    assert "ValueError; it may have been carried out" in action["errorInfo"]["message"]
    assert "secret of" not in str(action) and made["undoAction"] is None


async def test_followed(desk: Desk) -> None:
    """What runs in its system is asked about until it has ended."""
    await desk.connect("people", "test-people")
    made = await desk.order("isolateDevice", "slow-3", parameter="deviceId")
    async with desk.carrying():
        action = await desk.ended(made["id"])
    assert action["status"] == "Completed" and len(desk.system.asked) == 1
    assert [each["message"] for each in action["states"] if each.get("target")] == ["took a while"]


async def test_runs_beyond_its_time(desk: Desk) -> None:
    """It is not said that it was not done: nobody knows."""
    await desk.connect("people", "test-people")
    desk.rule(limit_s=1.0)
    made = await desk.order("isolateDevice", "never", parameter="deviceId")
    async with desk.carrying():
        action = await desk.ended(made["id"])
    assert action["errorInfo"]["code"] == 504 and "it may have been carried out" in action["errorInfo"]["message"]


async def test_a_connection_takes_few_at_once(desk: Desk) -> None:
    await desk.connect("north", "test-wall")
    desk.system.delay_s = 0.02
    made = await desk.order("blockAddress", *(f"198.51.100.{n}" for n in range(1, 41)))
    async with desk.carrying():
        assert (await desk.ended(made["id"]))["status"] == "Completed"
    assert 1 < desk.system.most_at_once <= QUICK.at_once and len(desk.system.asked) == 40


async def test_one_dead_system_holds_up_no_other(desk: Desk) -> None:
    await desk.connect("people", "test-people")
    await desk.connect("north", "test-wall")
    dead = await desk.order("disableUser", *(f"away-9999@{n}.example" for n in range(20)), parameter="upn")
    async with desk.carrying():
        await desk.once(dead["id"], lambda action: action["status"] == "Running")
        fine = await desk.order("blockAddress", "198.51.100.7")
        assert (await desk.ended(fine["id"]))["status"] == "Completed"
        assert (await desk.read(dead["id"]))["status"] == "Running"


class Faint:
    """A store whose feed is away now and then."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.away = 2

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def head(self) -> int:
        if self.away:
            self.away -= 1
            raise Unavailable("the database is away")
        return await self._store.head()


async def test_a_store_that_is_away_for_a_moment(desk: Desk) -> None:
    """It is waited for; what is with a system meanwhile is not asked for a second time."""
    await desk.connect("north", "test-wall")
    desk.system.delay_s = 0.2
    faint = Faint(desk.world.store)
    first = await desk.order("blockAddress", "198.51.100.7")
    async with desk.carrying(store=cast("Store", faint)):
        await desk.once(first["id"], lambda action: action["status"] == "Running")
        faint.away = 3
        second = await desk.order("blockAddress", "198.51.100.8")
        for made in (first, second):
            assert (await desk.ended(made["id"]))["status"] == "Completed"
    assert [each["target"] for each in desk.system.asked] == ["198.51.100.7", "198.51.100.8"] and not faint.away


async def test_an_order_that_cannot_be_read(desk: Desk) -> None:
    """It holds up its own connection, and no other."""
    await desk.connect("people", "test-people")
    await desk.connect("north", "test-wall")
    odd = {"id": "people.odd", "connection": "people", "open": True, "due": "2026-01-01T00:00:00.0000000Z"}
    await desk.world.store.tenant(A).write(lambda tx: tx.put(draft(ORDERS, odd, "people.odd")), actor="test")
    async with desk.carrying():
        for _ in range(2):
            made = await desk.order("blockAddress", "198.51.100.7")
            assert (await desk.ended(made["id"]))["status"] == "Completed"


async def test_a_connection_that_may_act_no_more(desk: Desk) -> None:
    """What was ordered before has failed and says why."""
    await desk.connect("north", "test-wall")
    await desk.connect("south", "test-wall")
    made = await desk.order("blockAddress", "198.51.100.7")
    await desk.connections.remove(A, "north", actor="test")
    stopped = Connection(id="south", connector="test-wall", act=False)
    await desk.connections.set(A, stopped, {"url": desk.system.url}, actor="test", new=False)
    async with desk.carrying():
        action = await desk.ended(made["id"])
    assert action["status"] == "Failed" and desk.system.asked == []
    said = action["errorInfo"]["message"]
    assert "there is no connection 'north'" in said and "'south' may not act any more" in said


@both
async def test_two_workers(desk: Desk) -> None:
    """Also where a second one works that should not: every order is done, and a system is given one key for each."""
    await desk.connect("people", "test-people")
    names = [f"away-{n % 3}@{n}.example" for n in range(30)]
    async with desk.carrying(), desk.carrying():
        made = await desk.order("disableUser", *names, parameter="upn")
        action = await desk.ended(made["id"])
    assert action["status"] == "Completed" and sorted(desk.system.done.values()) == sorted(names)
    assert len({each["key"] for each in desk.system.asked}) == len(names)


async def test_orders_from_before_the_worker(desk: Desk) -> None:
    """A worker that begins takes up what is there: not begun, and sent by one that died."""
    await desk.connect("north", "test-wall")
    desk.system.delay_s = LIMIT_S
    first = await desk.order("blockAddress", "198.51.100.7")
    async with desk.carrying():
        await desk.once(first["id"], lambda action: action["status"] == "Running")
        async with asyncio.timeout(LIMIT_S):
            while not desk.system.at_once:  # noqa: ASYNC110 - the system is what changes
                await asyncio.sleep(0.01)
    desk.system.delay_s = 0.0
    second = await desk.order("blockAddress", "198.51.100.8")
    async with desk.carrying():
        assert (await desk.ended(first["id"]))["status"] == "Completed"
        assert (await desk.ended(second["id"]))["status"] == "Completed"
    assert len({each["key"] for each in desk.system.asked}) == 2


# ---------------------------------------------------------------- what is written down


async def test_a_worker_can_be_stopped_at_any_time(desk: Desk) -> None:
    """It ends at once, whatever it is doing, and what it had begun is taken up by the next."""
    await desk.connect("people", "test-people")
    made = await desk.order("disableUser", *(f"slow-4@{n}.example" for n in range(30)), parameter="upn")
    chance = random.Random(5)
    for _ in range(25):
        async with asyncio.timeout(LIMIT_S), desk.carrying():
            await asyncio.sleep(chance.uniform(0.0, 0.03))
    async with desk.carrying():
        assert (await desk.ended(made["id"]))["status"] == "Completed"
    assert len({each["key"] for each in desk.system.asked}) == len(desk.system.done) == 30


async def test_audited(desk: Desk) -> None:
    """Who asked, who approved, and what each system did of it; no secret anywhere."""
    await desk.connect("people", "test-people")
    desk.rule(approve=["*"])
    body = {
        **asking(("upn", "u@x.example"), ("upn", "denied@x.example"), name="disableUser"),
        "actionReason": "Phished",
    }
    made = await desk.world.post(ACTIONS, body, by="analyst")
    await desk.world.call("POST", f"{ACTIONS}/{made['id']}/approve", {}, by="admin")
    async with desk.carrying():
        await desk.ended(made["id"])
    await desk.world.call("POST", f"{ACTIONS}/{made['id']}/undo", {}, by="analyst")
    entries = [
        each for each in await desk.world.every("/v1.0/auditLogs/directoryAudits")
        if any(target["id"] == made["id"] for target in each["targetResources"])
    ]  # fmt: skip
    told = {(each["activityDisplayName"], each["result"], each["resultReason"]) for each in entries}
    assert told == {
        ("Add securityAction", "success", "Phished"),
        ("Approve securityAction", "success", None),
        ("Carry out disableUser", "success", "as you wish"),
        ("Carry out disableUser", "failure", next(r for a, s, r in told if s == "failure")),
    }
    assert "secret of people" not in str(entries)
