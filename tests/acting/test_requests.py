"""Requests for actions: which connections are meant, what is refused, what is the same request."""

import asyncio
from typing import Any

import pytest
from tests.acting.conftest import ACTIONS, Desk, asking, both
from tests.api.conftest import A

pytestmark = pytest.mark.anyio
BLOCK = {
    "name": "BlockIp",
    "actionReason": "Test",
    "parameters": [{"name": "IP", "value": "1.2.3.4"}],
    "vendorInformation": {"provider": "Windows Defender ATP", "vendor": "Microsoft"},
}

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


async def test_without_a_name_nobody_knows_what_to_do(desk: Desk) -> None:
    """Graph takes it, whose providers knew: here it has failed at once, and says why."""
    await desk.connect("north", "test-wall")
    made = await desk.world.post(ACTIONS, {"parameters": [{"name": "ip", "value": "198.51.100.7"}]})
    assert made["status"] == "Failed" and made["errorInfo"]["code"] == 501
    assert "blockAddress" in made["errorInfo"]["message"]


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


@both
async def test_a_user_is_acted_on_where_it_came_from(desk: Desk) -> None:
    """By id or name of a user or device that a connection has brought; each of several by its own."""
    for id in ("emea", "apac", "wall"):
        await desk.connect(id, "test-people" if id != "wall" else "test-wall")
    await desk.bring("emea", "users", {"id": "e1", "userPrincipalName": "Ada@x.example"})
    await desk.bring("apac", "users", {"id": "a1", "userPrincipalName": "bo@x.example"})
    await desk.bring("apac", "devices", {"id": "d1", "deviceId": "D-1", "displayName": "Till7"})
    made = await desk.order("disableUser", "e1", "BO@x.example", parameter="userId")
    places = {each["target"]: each["connectionId"] for each in made["states"] if each.get("target")}
    assert places == {"e1": "emea", "BO@x.example": "apac"}
    for value in ("d1", "D-1", "till7"):
        made = await desk.order("isolateDevice", value, parameter="deviceId")
        assert {each["connectionId"] for each in made["states"] if each.get("target")} == {"apac"}
    await desk.bring("emea", "users", {"id": "a1", "userPrincipalName": "bo@x.example"})  # in both directories
    for target in ("a1", "nobody"):
        body = asking(("userId", target), name="disableUser")
        await desk.world.refused("POST", ACTIONS, body, status=400, says=f"of '{target}' could be meant for several")
    async with desk.carrying():
        await desk.world.patch("/v1.0/users/e1", {"accountEnabled": False})
    assert ("disableUser", "Ada@x.example") in {(each["name"], each["target"]) for each in desk.system.asked}
    await desk.connections.remove(A, "emea", actor="test")
    await desk.connect("emea", "test-people")  # another system, under the same name
    body = asking(("userId", "e1"), name="disableUser")
    await desk.world.refused("POST", ACTIONS, body, status=400, says="could be meant for several")


async def test_what_nobody_performs_fails_at_once(desk: Desk) -> None:
    """201; who and when are stamped; Failed with errorInfo, and the states tell how it got there."""
    answer = await desk.world.call("POST", ACTIONS, {**BLOCK, "status": "Completed", "user": "mallory"}, by="analyst")
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
    read = await desk.world.get(f"{ACTIONS}/{made['id']}")
    assert {**made, "@odata.context": ""} == {**read, "@odata.context": ""}


async def test_lists(desk: Desk) -> None:
    await desk.world.post(ACTIONS, BLOCK)
    await desk.world.post(ACTIONS, {**BLOCK, "name": "Isolate"})
    for wanted in (
        "name eq 'Isolate'",
        "status eq 'failed' and name eq 'Isolate'",
        "parameters/any(p: p/name eq 'IP')",
    ):
        found = (await desk.world.get(f"{ACTIONS}?$filter={wanted}"))["value"]
        assert "Isolate" in [each["name"] for each in found], wanted
    await desk.world.refused("GET", "/v1.0/security/securityActions", status=404)


# ---------------------------------------------------------------- refused before anything is stored


REFUSED: list[tuple[Any, str]] = [
    ({"name": "x"}, "parameters"),
    ({"name": "x", "parameters": []}, "at least one"),
    ({"name": "x", "parameters": [{"value": "x"}]}, "at least one"),
    ({**BLOCK, "nope": 1}, "nope"),
    (asking(("ip", "198.51.100.7"), ("until", "later")), "has no 'until'; it takes: ip, ipAddress"),
    (asking(("ip", "198.51.100.7"), ("hours", "many")), "hours is 'many'; expected Int32"),
    (asking(("ip", "198.51.100.7"), ("hours", "99999999999")), "hours"),
    (asking(("ip", "198.51.100.7"), ("hours", "1"), ("HOURS", "2")), "there twice"),
    (asking(("ip", "198.51.100.7"), ("log", "maybe")), "expected Boolean"),
    (asking(("hours", "1")), "needs its target"),
    (asking(("host", "srv1")), "needs its target"),
    (asking(("ip", "bad.example")), "expected an IPv4 or IPv6 address"),
    (asking(("ip", "127.0.0.1")), "expected an IPv4 or IPv6 address"),
    (asking(("ip", "::ffff:0.0.0.0")), "expected an IPv4 or IPv6 address"),
    (asking(("ip", "224.0.0.1")), "expected an IPv4 or IPv6 address"),
    (asking(("ip", "198.51.100.0/24")), "expected an IPv4 or IPv6 address"),
    (asking(("ip", "")), "is empty"),
    (asking(("ip", None)), "is empty"),
    (asking(("url", "https://bad.example/x"), name="blockUrl"), "needs zone"),
    (asking(("url", "bad.example"), ("zone", "out"), name="blockUrl"), "expected a whole URL"),
    (asking(("url", "javascript:alert(1)"), ("zone", "out"), name="blockUrl"), "expected a whole URL"),
    (asking(("sha256", "ab"), name="blockFile"), "expected a hash"),  # which nobody offers
    (asking(("sha256", "a" * 32), name="blockFile"), "expected a hash"),
    (asking(("domain", "localhost"), name="blockDomain"), "expected a domain"),
    (asking(*((("ip", f"198.51.{n // 250}.{n % 250 + 1}")) for n in range(201))), "at most 200"),
]


async def test_refusals(desk: Desk) -> None:
    """What is wrong and what would be right; nothing is stored, nobody is asked. Of several none is begun."""
    await desk.connect("north", "test-wall")
    for body, says in REFUSED:
        await desk.world.refused("POST", ACTIONS, body, status=400, says=says)
        both_ways = [asking(("ip", "198.51.100.7")), body]
        await desk.world.refused("POST", ACTIONS, both_ways, status=400, says="[1]: ")
    assert (await desk.world.get(ACTIONS))["value"] == []


async def test_who_may(desk: Desk) -> None:
    await desk.connect("north", "test-wall")
    made = await desk.order("blockAddress", "198.51.100.7")
    for name in ("cancelSecurityAction", "undo", "approve", "reject"):
        for who in ("reader", "none", *(["operator"] if name in ("approve", "reject") else [])):
            await desk.world.refused("POST", f"{ACTIONS}/{made['id']}/{name}", {}, status=403, by=who)
        await desk.world.refused("POST", f"{ACTIONS}/nothing/{name}", {}, status=404)
        await desk.world.refused("POST", f"{ACTIONS}/{made['id']}/{name}", {}, status=404, by="other")
    await desk.world.refused("POST", ACTIONS, asking(("ip", "198.51.100.8")), status=403, by="operator")


# ---------------------------------------------------------------- the same request again


async def test_idempotency_key(desk: Desk) -> None:
    """The same key is the same action, whenever it comes; another request under it is a conflict; another caller's key
    is another key."""
    await desk.connect("north", "test-wall")
    headers = {"Idempotency_Key": "ticket 4711"}
    body = asking(("ip", "198.51.100.7"))
    first = await desk.world.post(ACTIONS, body, **headers)
    async with desk.carrying():
        await desk.ended(first["id"])
    assert (await desk.world.post(ACTIONS, body, **headers))["id"] == first["id"]
    await desk.world.refused("POST", ACTIONS, asking(("ip", "198.51.100.8")), status=409, says="another", **headers)
    await desk.connections.remove(A, "north", actor="test")  # what it would become now plays no part
    assert (await desk.world.post(ACTIONS, body, **headers))["status"] == "Completed"
    await desk.world.refused("POST", ACTIONS, {"parameters": []}, status=400, says="parameters: ", **headers)
    assert (await desk.world.post(ACTIONS, body, by="second", **headers))["id"] != first["id"]
    await desk.world.refused("POST", ACTIONS, body, status=400, says="Idempotency-Key", Idempotency_Key="k" * 300)
    assert len(desk.system.asked) == 1


@both
async def test_the_same_request_soon_after(desk: Desk) -> None:
    """Without a key: the same while it has not ended, for the same caller. Once it has, it is a new wish."""
    await desk.connect("north", "test-wall")
    body = asking(("ip", "198.51.100.7"), ("hours", "2"))
    first = await desk.world.post(ACTIONS, body)
    again = asking(("HOURS", "2"), ("ip", "198.51.100.7"), name="blockIp")
    both_at_once = await asyncio.gather(*(desk.world.post(ACTIONS, again) for _ in range(5)))
    assert {each["id"] for each in both_at_once} == {first["id"]}
    assert (await desk.world.post(ACTIONS, body, by="second"))["id"] != first["id"]
    assert (await desk.world.post(ACTIONS, asking(("ip", "198.51.100.7"))))["id"] != first["id"]
    async with desk.carrying():
        await desk.ended(first["id"])
    assert (await desk.world.post(ACTIONS, body))["id"] != first["id"]
