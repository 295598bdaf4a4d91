"""Actions that somebody cancels, approves, rejects or takes back."""

import pytest
from tests.acting.conftest import ACTIONS, Desk, asking, of_targets
from tests.api.conftest import A, B

from bartizan.app.assembly import parts_of
from bartizan.respond.carry import Pace
from bartizan.settings import Settings

pytestmark = pytest.mark.anyio


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
    for name in ("blockAddress", "nobodyDoes"):
        made = await desk.order(name, "198.51.100.7")
        async with desk.carrying():
            action = await desk.ended(made["id"])
        answer = await desk.world.call("POST", f"{ACTIONS}/{made['id']}/cancelSecurityAction")
        assert (answer.status_code, answer.content) == (200, b"")
        assert await desk.read(made["id"]) == action


# ---------------------------------------------------------------- approval


async def test_approval(desk: Desk) -> None:
    """Nothing begins before a second person has said yes: not the one who asked, nor a mere operator."""
    await desk.connect("people", "test-people")
    desk.rule(approve=["suspendUser"])
    body = asking(("upn", "u@x.example"), name="disableUser")
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
    body = asking(("upn", "u@x.example"), name="disableUser")
    made = await desk.world.post(ACTIONS, body, by="analyst")
    await desk.world.refused("POST", f"{ACTIONS}/{made['id']}/approve", {}, status=403, by="console itself")
    made = await desk.world.post(ACTIONS, body, by="console itself")
    await desk.world.refused("POST", f"{ACTIONS}/{made['id']}/approve", {}, status=403, by="console itself")
    assert (await desk.world.call("POST", f"{ACTIONS}/{made['id']}/approve", {}, by="analyst")).status_code == 204


async def test_settings_say_what_needs_approval(desk: Desk) -> None:
    await desk.connect("people", "test-people")
    settings = Settings(approve_actions=("unisolateDevice", f"{B}/*"), action_approval_s=60)
    desk.world.graph.parts = parts_of(settings, desk.connections)
    states = {
        name: (await desk.order(name, "srv1", parameter="host"))["approvalState"]
        for name in ("isolateDevice", "releaseDevice")
    }
    assert states == {"isolateDevice": None, "releaseDevice": "required"}


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
