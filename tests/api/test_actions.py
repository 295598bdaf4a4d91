"""Actions against a threat: from the request over connectors to what the systems have done, and what nobody does."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import NOW, A, B, World
from tests.respond.system import System, system

from bartizan.app.assembly import fed
from bartizan.extend.connections import Connection, Connections
from bartizan.respond.carry import Carry, Pace
from bartizan.respond.dispatch import Dispatch, Rules

pytestmark = pytest.mark.anyio
ACTIONS = "/beta/security/securityActions"
BLOCK = {
    "name": "BlockIp",
    "actionReason": "Test",
    "parameters": [{"name": "IP", "value": "1.2.3.4"}],
    "vendorInformation": {"provider": "Windows Defender ATP", "vendor": "Microsoft"},
}
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

    def rule(self, **rules: Any) -> None:
        rules = {"limit_s": 600.0, "approval_s": 600.0, "wait_s": LIMIT_S, **rules}
        self.world.graph.parts = {
            **self.world.graph.parts,
            Dispatch: Dispatch(self.connections, Rules.of(rules.pop("approve", ()), **rules)),
        }

    @contextlib.asynccontextmanager
    async def carrying(self, pace: Pace = QUICK) -> AsyncIterator[Carry]:
        async def tenants() -> list[str]:
            return [A, B]

        began = time.monotonic()
        stage = Carry(
            self.world.store,
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


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    if getattr(request, "param", "") == "postgresql":
        dsn: str = request.getfixturevalue("postgres_dsn")
        return dsn
    return tmp_path


@pytest.fixture
async def desk(world: World) -> AsyncIterator[Desk]:
    connections = world.graph.parts[Dispatch].connections
    async with system() as outside:
        made = Desk(world, outside, connections)
        made.rule()
        yield made
        await connections.close()


def of_targets(action: dict[str, Any]) -> dict[str, str]:
    return {each["target"]: each["status"] for each in action["states"] if each.get("target")}


both = pytest.mark.parametrize(
    "database", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)], indirect=True
)


# ---------------------------------------------------------------- carried out


@both
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


@both
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


# ---------------------------------------------------------------- which connection


async def test_vendor_information_picks(desk: Desk) -> None:
    """By the name of a connection, its connector or product; by its vendor."""
    await desk.connect("north", "test-wall")
    await desk.connect("south", "test-wall")
    for vendor, where in (
        ({"provider": "south"}, {"south"}),
        ({"provider": "Test Wall"}, {"north", "south"}),
        ({"provider": "wall", "vendor": "NORTHWALL"}, {"north", "south"}),
        ({"vendor": "Northwall", "provider": "north"}, {"north"}),
    ):
        made = await desk.order("blockAddress", "198.51.100.7", vendorInformation=vendor)
        assert {each["connectionId"] for each in made["states"] if each.get("target")} == where, vendor
    other = await desk.order("blockAddress", "198.51.100.7", vendorInformation={"vendor": "Acme"})
    assert other["status"] == "Failed" and other["errorInfo"]["code"] == 501
    assert "no connection is 'Acme'" in other["errorInfo"]["message"] and "'north'" in other["errorInfo"]["message"]


async def test_a_user_belongs_to_one(desk: Desk) -> None:
    """Where several directories could be meant, none is asked; the answer lists them."""
    await desk.connect("emea", "test-people")
    await desk.connect("apac", "test-people")
    body = {"name": "disableUser", "parameters": [{"name": "upn", "value": "u@x.example"}]}
    problem = await desk.world.refused("POST", ACTIONS, body, status=400, says="several connections")
    assert "'emea' (Northwall People)" in problem["message"] and "'apac'" in problem["message"]
    assert (await desk.world.get(ACTIONS))["value"] == []
    made = await desk.world.post(ACTIONS, {**body, "vendorInformation": {"provider": "apac"}})
    assert {each["connectionId"] for each in made["states"] if each.get("target")} == {"apac"}


async def test_what_nobody_performs_fails_at_once(world: World) -> None:
    """201; who and when are stamped; Failed with errorInfo, and the states tell how it got there."""
    answer = await world.call("POST", ACTIONS, {**BLOCK, "status": "Completed", "user": "mallory"}, by="analyst")
    assert answer.status_code == 201
    made = answer.json()
    assert (made["status"], made["user"], made["appId"], made["azureTenantId"]) == (
        "Failed",
        "analyst@contoso.example",
        "console",
        A,
    )
    assert "no connection of Microsoft Windows Defender ATP offers it" in made["errorInfo"]["message"]
    assert "test-wall" in made["errorInfo"]["message"], "who would offer it"
    assert made["errorInfo"]["code"] == 501
    assert [each["status"] for each in made["states"]] == ["NotStarted", "Failed"]
    assert made["createdDateTime"] == made["completedDateTime"] == made["lastActionDateTime"]
    assert made["parameters"] == BLOCK["parameters"]
    read = await world.get(f"{ACTIONS}/{made['id']}")
    assert {**made, "@odata.context": ""} == {**read, "@odata.context": ""}


async def test_lists(world: World) -> None:
    await world.post(ACTIONS, BLOCK)
    await world.post(ACTIONS, {**BLOCK, "name": "Isolate"})
    for wanted in (
        "name eq 'Isolate'",
        "status eq 'failed' and name eq 'Isolate'",
        "parameters/any(p: p/name eq 'IP')",
    ):
        found = (await world.get(f"{ACTIONS}?$filter={wanted}"))["value"]
        assert "Isolate" in [each["name"] for each in found], wanted
    await world.refused("GET", "/v1.0/security/securityActions", status=404)


# ---------------------------------------------------------------- refused before anything is stored


def _with(*parameters: tuple[str, Any], name: str = "blockAddress") -> dict[str, Any]:
    return {"name": name, "parameters": [{"name": each, "value": value} for each, value in parameters]}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"name": "x"}, "parameters"),
        ({"name": "x", "parameters": []}, "at least one"),
        ({"name": "x", "parameters": [{"value": "x"}]}, "at least one"),
        ({"parameters": [{"name": "ip", "value": "198.51.100.7"}]}, "name: expected that of an action"),
        ({**BLOCK, "nope": 1}, "nope"),
        (_with(("ip", "198.51.100.7"), ("until", "later")), "has no 'until'; it takes: ip, ipAddress"),
        (_with(("ip", "198.51.100.7"), ("hours", "many")), "hours is 'many'; expected Int32"),
        (_with(("ip", "198.51.100.7"), ("hours", "99999999999")), "hours"),
        (_with(("ip", "198.51.100.7"), ("hours", "1"), ("HOURS", "2")), "there twice"),
        (_with(("ip", "198.51.100.7"), ("log", "maybe")), "expected Boolean"),
        (_with(("hours", "1")), "needs its target"),
        (_with(("host", "srv1")), "needs its target"),
        (_with(("ip", "bad.example")), "expected an IPv4 or IPv6 address"),
        (_with(("ip", "127.0.0.1")), "expected an IPv4 or IPv6 address"),
        (_with(("ip", "::ffff:0.0.0.0")), "expected an IPv4 or IPv6 address"),
        (_with(("ip", "224.0.0.1")), "expected an IPv4 or IPv6 address"),
        (_with(("ip", "198.51.100.0/24")), "expected an IPv4 or IPv6 address"),
        (_with(("ip", "")), "is empty"),
        (_with(("ip", None)), "is empty"),
        (_with(("url", "https://bad.example/x"), name="blockUrl"), "needs zone"),
        (_with(("url", "bad.example"), ("zone", "out"), name="blockUrl"), "expected a whole URL"),
        (_with(("url", "javascript:alert(1)"), ("zone", "out"), name="blockUrl"), "expected a whole URL"),
        (_with(("sha256", "ab"), name="blockFile"), "expected a hash"),  # which nobody offers
        (_with(("sha256", "a" * 32), name="blockFile"), "expected a hash"),
        (_with(("domain", "localhost"), name="blockDomain"), "expected a domain"),
        (_with(*((("ip", f"198.51.{n // 250}.{n % 250 + 1}")) for n in range(201))), "at most 200"),
    ],
)
async def test_refusals(desk: Desk, body: Any, says: str) -> None:
    """What is wrong and what would be right; nothing is stored, nobody is asked. Of several none is begun."""
    await desk.connect("north", "test-wall")
    await desk.world.refused("POST", ACTIONS, body, status=400, says=says)
    await desk.world.refused("POST", ACTIONS, [_with(("ip", "198.51.100.7")), body], status=400, says="[1]: ")
    assert (await desk.world.get(ACTIONS))["value"] == []


async def test_who_may(desk: Desk) -> None:
    await desk.connect("north", "test-wall")
    made = await desk.order("blockAddress", "198.51.100.7")
    for name in ("cancelSecurityAction", "undo", "approve", "reject"):
        for who in ("reader", "none", *(["operator"] if name in ("approve", "reject") else [])):
            await desk.world.refused("POST", f"{ACTIONS}/{made['id']}/{name}", {}, status=403, by=who)
        await desk.world.refused("POST", f"{ACTIONS}/nothing/{name}", {}, status=404)
        await desk.world.refused("POST", f"{ACTIONS}/{made['id']}/{name}", {}, status=404, by="other")
    await desk.world.refused("POST", ACTIONS, _with(("ip", "198.51.100.8")), status=403, by="operator")


# ---------------------------------------------------------------- the same request again


async def test_idempotency_key(desk: Desk) -> None:
    """The same key is the same action, whenever it comes; another request under it is a conflict; another caller's key
    is another key."""
    await desk.connect("north", "test-wall")
    headers = {"Idempotency_Key": "ticket 4711"}
    body = _with(("ip", "198.51.100.7"))
    first = await desk.world.post(ACTIONS, body, **headers)
    async with desk.carrying():
        await desk.ended(first["id"])
    assert (await desk.world.post(ACTIONS, body, **headers))["id"] == first["id"]
    await desk.world.refused("POST", ACTIONS, _with(("ip", "198.51.100.8")), status=409, says="another", **headers)
    assert (await desk.world.post(ACTIONS, body, by="second", **headers))["id"] != first["id"]
    await desk.world.refused("POST", ACTIONS, body, status=400, says="Idempotency-Key", Idempotency_Key="k" * 300)
    assert len(desk.system.asked) == 1


@both
async def test_the_same_request_soon_after(desk: Desk) -> None:
    """Without a key: the same while it has not ended, for the same caller. Once it has, it is a new wish."""
    await desk.connect("north", "test-wall")
    body = _with(("ip", "198.51.100.7"), ("hours", "2"))
    first = await desk.world.post(ACTIONS, body)
    again = _with(("HOURS", "2"), ("ip", "198.51.100.7"), name="blockIp")
    both_at_once = await asyncio.gather(*(desk.world.post(ACTIONS, again) for _ in range(5)))
    assert {each["id"] for each in both_at_once} == {first["id"]}
    assert (await desk.world.post(ACTIONS, body, by="second"))["id"] != first["id"]
    assert (await desk.world.post(ACTIONS, _with(("ip", "198.51.100.7"))))["id"] != first["id"]
    async with desk.carrying():
        await desk.ended(first["id"])
    assert (await desk.world.post(ACTIONS, body))["id"] != first["id"]


# ---------------------------------------------------------------- cancel


async def test_cancel_before_it_begins(desk: Desk) -> None:
    await desk.connect("north", "test-wall")
    made = await desk.order("blockAddress", "198.51.100.7", "198.51.100.8")
    for name in ("cancelSecurityAction", "microsoft.graph.cancelSecurityAction"):
        answer = await desk.world.call("POST", f"{ACTIONS}/{made['id']}/{name}", by="analyst")
        assert (answer.status_code, answer.content) == (200, b"")
    action = await desk.read(made["id"])
    assert action["status"] == "Failed" and action["errorInfo"]["code"] == 0
    assert "cancelled by analyst@contoso.example" in action["errorInfo"]["message"]
    async with desk.carrying():
        fine = await desk.order("blockAddress", "198.51.100.9")
        await desk.ended(fine["id"])
    assert [each["target"] for each in desk.system.asked] == ["198.51.100.9"]
    assert await desk.read(made["id"]) == action


async def test_cancel_what_runs(desk: Desk) -> None:
    """The system is asked; where it cannot, the order goes on and says so."""
    await desk.connect("people", "test-people")
    made = await desk.order("isolateDevice", "never", "stubborn", parameter="deviceName")
    async with desk.carrying():
        await desk.once(made["id"], lambda action: str(action["states"]).count("runs in its system") == 2)
        await desk.world.call("POST", f"{ACTIONS}/{made['id']}/cancelSecurityAction")
        action = await desk.once(made["id"], lambda action: "it cannot be cancelled" in str(action["states"]))
        action = await desk.once(made["id"], lambda action: of_targets(action)["never"] == "Failed")
    assert of_targets(action) == {"never": "Failed", "stubborn": "Running"} and action["status"] == "Running"
    said = {each["target"]: each["message"] for each in action["states"] if each.get("target")}
    assert said["never"] == "cancelled by app-a: cancelled there"


async def test_cancel_while_its_system_is_away(desk: Desk) -> None:
    """Nobody is asked again; that an attempt may have arrived is not hidden."""
    await desk.connect("people", "test-people")
    made = await desk.order("disableUser", "away-9999@x.example", parameter="upn")
    async with desk.carrying(Pace(backoff_s=600.0, backoff_max_s=600.0)):
        await desk.once(made["id"], lambda action: "tea time" in str(action["states"]))
        await desk.world.call("POST", f"{ACTIONS}/{made['id']}/cancelSecurityAction")
    action = await desk.read(made["id"])
    assert action["status"] == "Failed" and "it may have been carried out" in action["errorInfo"]["message"]
    assert len(desk.system.asked) == 1


async def test_cancel_what_has_ended(desk: Desk) -> None:
    await desk.connect("north", "test-wall")
    for made in (await desk.order("blockAddress", "198.51.100.7"), await desk.world.post(ACTIONS, BLOCK)):
        async with desk.carrying():
            action = await desk.ended(made["id"])
        answer = await desk.world.call("POST", f"{ACTIONS}/{made['id']}/cancelSecurityAction")
        assert (answer.status_code, answer.content) == (200, b"")
        assert await desk.read(made["id"]) == action


# ---------------------------------------------------------------- approval


@both
async def test_approval(desk: Desk) -> None:
    """Nothing begins before a second person has said yes: not the one who asked, nor a mere operator."""
    await desk.connect("people", "test-people")
    desk.rule(approve=["suspendUser"])
    body = _with(("upn", "u@x.example"), name="disableUser")
    made = await desk.world.post(ACTIONS, body, by="analyst")
    assert (made["status"], made["approvalState"]) == ("NotStarted", "required")
    assert "awaits approval" in str(made["states"])
    free = await desk.order("revokeSignInSessions", "u@x.example", parameter="upn")
    approve = f"{ACTIONS}/{made['id']}/approve"
    async with desk.carrying():
        await desk.ended(free["id"])
        await desk.world.refused("POST", approve, {}, status=403, says="second person", by="analyst")
        await desk.world.refused("POST", approve, {}, status=403, by="operator")
        await desk.world.refused("POST", f"{ACTIONS}/{free['id']}/approve", {}, status=409, says="no approval")
        assert (await desk.read(made["id"]))["status"] == "NotStarted"
        assert (await desk.world.call("POST", approve, {}, by="admin")).status_code == 204
        action = await desk.ended(made["id"])
        await desk.world.refused("POST", approve, {}, status=409, says="no approval")
    assert (action["status"], action["approvalState"]) == ("Completed", "approved")
    assert [each["target"] for each in desk.system.asked] == ["u@x.example"] * 2


async def test_an_app_cannot_approve_for_those_who_use_it(desk: Desk) -> None:
    """What a person asks for through an application, that application alone does not approve; and what it asks for
    itself a person may."""
    await desk.connect("people", "test-people")
    desk.rule(approve=["*"])
    caller = desk.world.known["admin"]
    desk.world.known["console itself"] = type(caller)(A, "console", "Console", permissions=caller.permissions)
    body = _with(("upn", "u@x.example"), name="disableUser")
    made = await desk.world.post(ACTIONS, body, by="analyst")
    await desk.world.refused("POST", f"{ACTIONS}/{made['id']}/approve", {}, status=403, by="console itself")
    made = await desk.world.post(ACTIONS, body, by="console itself")
    await desk.world.refused("POST", f"{ACTIONS}/{made['id']}/approve", {}, status=403, by="console itself")
    assert (await desk.world.call("POST", f"{ACTIONS}/{made['id']}/approve", {}, by="analyst")).status_code == 204


async def test_rejected(desk: Desk) -> None:
    await desk.connect("people", "test-people")
    desk.rule(approve=[f"{A}/*", f"{B}/isolateDevice"])
    made = await desk.order("isolateDevice", "srv1", parameter="host")
    reject = f"{ACTIONS}/{made['id']}/reject"
    assert (await desk.world.call("POST", reject, {"reason": "It is the till"}, by="analyst")).status_code == 204
    action = await desk.read(made["id"])
    assert (action["status"], action["approvalState"], action["errorInfo"]["code"]) == ("Failed", "rejected", 403)
    assert action["errorInfo"]["message"] == "rejected by analyst@contoso.example: It is the till"
    await desk.world.refused("POST", reject, {}, status=409, by="analyst")


async def test_not_approved_in_time(desk: Desk) -> None:
    await desk.connect("people", "test-people")
    desk.rule(approve=["isolateDevice"], approval_s=60.0)
    made = await desk.order("isolateDevice", "srv1", parameter="host")
    desk.later_s = 61.0
    async with desk.carrying():
        action = await desk.ended(made["id"])
    assert action["errorInfo"]["message"] == "not approved in time" and desk.system.asked == []


# ---------------------------------------------------------------- undo


@both
async def test_undo(desk: Desk) -> None:
    """A new action with the reverse, over the same connections, for what has completed alone; twice is once."""
    await desk.connect("people", "test-people")
    await desk.connect("other", "test-people", enabled=False)
    made = await desk.order("disableUser", "fine@x.example", "rejected@x.example", parameter="upn")
    await desk.world.refused("POST", f"{ACTIONS}/{made['id']}/undo", {}, status=409, says="cancel it first")
    async with desk.carrying():
        await desk.ended(made["id"])
        answer = await desk.world.call("POST", f"{ACTIONS}/{made['id']}/undo", {"actionReason": "It was a test"})
        assert answer.status_code == 201, answer.text
        back = answer.json()
        assert (back["name"], back["undoesActionId"], back["undoAction"]) == ("enableUser", made["id"], "disableUser")
        assert back["actionReason"] == "It was a test" and list(of_targets(back)) == ["fine@x.example"]
        again = await desk.world.call("POST", f"{ACTIONS}/{made['id']}/undo", {}, by="second")
        assert again.json()["id"] == back["id"]
        assert (await desk.ended(back["id"]))["status"] == "Completed"
    assert [each["name"] for each in desk.system.asked].count("enableUser") == 1


async def test_what_cannot_be_taken_back(desk: Desk) -> None:
    await desk.connect("people", "test-people")
    made = await desk.order("revokeSignInSessions", "u@x.example", parameter="upn")
    lost = await desk.order("disableUser", "denied@x.example", parameter="upn")
    done = await desk.order("isolateDevice", "srv1", parameter="host")
    async with desk.carrying():
        for each in (made, lost, done):
            await desk.ended(each["id"])
    assert made["undoAction"] is None
    await desk.connections.remove(A, "people", actor="test")
    for each, says in ((made, "no undo is offered"), (lost, "nothing of the action"), (done, "over people")):
        await desk.world.refused("POST", f"{ACTIONS}/{each['id']}/undo", {}, status=409, says=says)


# ---------------------------------------------------------------- users


async def test_containment_does_not_lie(world: World) -> None:
    """What nothing performs is 501 with a reason, and the account is as it was."""
    await world.post("/v1.0/users", {"id": "u", "userPrincipalName": "u@contoso.example"})
    await world.post("/v1.0/users", {"id": "id-of-analyst", "userPrincipalName": "analyst@contoso.example"})
    before = await world.get("/v1.0/users/u")
    for method, path, body in (
        ("PATCH", "/v1.0/users/u", {"accountEnabled": False}),
        ("PATCH", "/v1.0/users/u@contoso.example", {"passwordProfile": {"forceChangePasswordNextSignIn": True}}),
        ("PATCH", "/v1.0/users/u", {"passwordProfile": {"password": "a new one"}}),
        ("POST", "/v1.0/users/u/revokeSignInSessions", None),
        ("POST", "/v1.0/users/u/microsoft.graph.revokeSignInSessions", None),
        ("POST", "/beta/users/u/invalidateAllRefreshTokens", None),
        ("POST", "/v1.0/users/u/invalidateAllRefreshTokens", None),
        ("POST", "/v1.0/me/revokeSignInSessions", None),
        ("DELETE", "/v1.0/users/u", None),
        ("PATCH", "/v1.0/groups/g", {"displayName": "x"}),
        ("PUT", "/v1.0/users/u/manager/$ref", {"@odata.id": "https://graph.test/v1.0/users/u"}),
        ("POST", "/v1.0/users/u/appRoleAssignments", {"principalId": "u"}),
    ):
        await world.refused(method, path, body, status=501, says="nothing performs it", by="analyst")
    problem = await world.refused("PATCH", "/v1.0/users/u", {"accountEnabled": False}, status=501)
    assert "Connectors that offer it: " in problem["message"] and "test-people" in problem["message"]
    assert await world.get("/v1.0/users/u") == before
    assert (await world.get(ACTIONS))["value"] == []


@both
async def test_users_are_acted_on(desk: Desk) -> None:
    """The answer comes once the directory has done it, and the user here is as it is there."""
    await desk.connect("people", "test-people")
    await desk.world.post("/v1.0/users", {"id": "u", "userPrincipalName": "U@x.example"})
    async with desk.carrying():
        for version in ("v1.0", "beta"):
            answer = await desk.world.call("POST", f"/{version}/users/u/revokeSignInSessions", by="operator")
            assert (answer.status_code, answer.json()["value"]) == (200, True)
        answer = await desk.world.call("PATCH", "/v1.0/users/u@x.example", {"accountEnabled": False}, by="operator")
        assert (answer.status_code, answer.content) == (204, b"")
        assert (await desk.world.get("/v1.0/users/u?$select=accountEnabled"))["accountEnabled"] is False
        shown = await desk.world.patch("/beta/users/u", {"accountEnabled": True}, Prefer="return=representation")
        assert shown["accountEnabled"] is True
    assert [each["name"] for each in desk.system.asked] == [
        "revokeSignInSessions", "revokeSignInSessions", "disableUser", "enableUser"
    ]  # fmt: skip
    assert {each["target"] for each in desk.system.asked} == {"U@x.example"}
    names = [each["name"] for each in (await desk.world.get(f"{ACTIONS}?$orderby=name"))["value"]]
    assert names == ["disableUser", "enableUser", "revokeSignInSessions", "revokeSignInSessions"]


async def test_what_came_of_it_is_said(desk: Desk) -> None:
    """502 where the system refuses, 504 where it has not ended yet, 409 where it awaits approval: never a success that
    is none."""
    await desk.connect("people", "test-people")
    for name in ("denied", "never", "away-9999"):
        await desk.world.post("/v1.0/users", {"id": name, "userPrincipalName": f"{name}@x.example"})
    async with desk.carrying():
        problem = await desk.world.refused("POST", "/v1.0/users/denied/revokeSignInSessions", status=502)
        assert "denied it is" in problem["message"] and problem["code"] == "BadGateway"
        desk.rule(wait_s=0.3)
        for name in ("never", "away-9999"):
            problem = await desk.world.refused("PATCH", f"/v1.0/users/{name}", {"accountEnabled": False}, status=504)
            id = problem["message"].rpartition("/")[2].rstrip(".")
            assert (await desk.read(id))["status"] == "Running"
        again = await desk.world.refused("PATCH", "/v1.0/users/never", {"accountEnabled": False}, status=504)
        assert len((await desk.world.get(f"{ACTIONS}?$filter=name eq 'disableUser'"))["value"]) == 2, again
        desk.rule(approve=["disableUser"])
        await desk.world.post("/v1.0/users", {"id": "fine", "userPrincipalName": "fine@x.example"})
        await desk.world.refused(
            "PATCH", "/v1.0/users/fine", {"accountEnabled": False}, status=409, says="awaits approval"
        )
    assert (await desk.world.get("/v1.0/users/fine"))["accountEnabled"] is True
    assert (await desk.world.get("/v1.0/users/never"))["accountEnabled"] is True


async def test_users_are_refused(desk: Desk) -> None:
    await desk.connect("people", "test-people")
    await desk.world.post("/v1.0/users", {"id": "u", "userPrincipalName": "u@x.example"})
    for body, status, says in (
        ({"accountEnabled": None}, 400, "true or false"),
        ({}, 400, "takes one of"),
        ({"displayName": "x"}, 400, "PATCH takes: accountEnabled, passwordProfile"),
        ({"accountEnabled": False, "passwordProfile": {"forceChangePasswordNextSignIn": True}}, 400, "one of"),
        ({"passwordProfile": {"password": "x", "forceChangePasswordNextSignIn": True}}, 501, "never handed on"),
    ):
        await desk.world.refused("PATCH", "/v1.0/users/u", body, status=status, says=says)
    await desk.world.refused("PATCH", "/v1.0/users/u", {"accountEnabled": False}, status=412, If_Match='W/"0"')
    await desk.world.refused("PATCH", "/v1.0/users/u", {"accountEnabled": False}, status=403, by="reader")
    await desk.world.refused("POST", "/v1.0/users/u/revokeSignInSessions", status=403, by="reader")
    await desk.world.refused("POST", "/v1.0/users/nobody/revokeSignInSessions", status=404)
    await desk.connect("second", "test-people")
    problem = await desk.world.refused("POST", "/v1.0/users/u/revokeSignInSessions", status=409, says="several")
    assert "'people'" in problem["message"] and "'second'" in problem["message"]
    assert (await desk.world.get(ACTIONS))["value"] == []


# ---------------------------------------------------------------- what is written down


async def test_audited(desk: Desk) -> None:
    """Who asked, who approved, and what each system did of it; no secret anywhere."""
    await desk.connect("people", "test-people")
    desk.rule(approve=["*"])
    body = {**_with(("upn", "u@x.example"), ("upn", "denied@x.example"), name="disableUser"), "actionReason": "Phished"}
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
