"""Connections over the API: made, changed, checked, removed; secrets go in and never come out."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar

import pytest
from msgspec import Meta, Struct
from tests.api.conftest import A, World

from bartizan.app.assembly import connections_of
from bartizan.extend.connections import Connections
from bartizan.extend.connectors import CONNECTORS, Away, Batch, Connector, Denied, Offer, Rejected, Secret, Stream
from bartizan.settings import Settings

pytestmark = pytest.mark.anyio
PATH = "/beta/security/connections"
TOKEN = "very-secret-token"


class DeskSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    url: Annotated[str, Meta(description="address", pattern="^https?://")]
    token: Annotated[Secret, Meta(description="lets one in")]
    spare: Annotated[Secret | None, Meta(description="lets one in too")] = None
    days: Annotated[int, Meta(description="how far back", ge=1, le=365)] = 30


class DeskConnector(Connector):
    name: ClassVar[str] = "desk_test"
    vendor: ClassVar[str] = "Acme"
    product: ClassVar[str] = "Desk"
    doc: ClassVar[str] = "A system of these tests."
    settings: ClassVar[type[Struct]] = DeskSettings
    streams: ClassVar[dict[str, Stream]] = {"alerts": Stream("All alerts.", every_s=30), "users": Stream("All users.")}
    pushes: ClassVar[Any] = {"alert": frozenset({"status", "comments"})}
    offers: ClassVar[dict[str, Offer]] = {"blockAddress": Offer("address", "Blocks it.", undo="unblockAddress")}
    says: ClassVar[str | Exception] = "fine"

    async def check(self) -> str:
        if isinstance(self.says, Exception):
            raise self.says
        if self.says == "token":
            return f"let in with {len(self.set.token)} characters"
        return self.says

    async def pull(self, stream: str, cursor: str | None) -> AsyncIterator[Batch]:
        return
        yield


CONNECTORS.pop("desk_test")  # of these tests only


@pytest.fixture(autouse=True)
def desk() -> Iterator[None]:
    CONNECTORS["desk_test"] = DeskConnector
    DeskConnector.says = "fine"
    yield
    del CONNECTORS["desk_test"]


def new(**more: Any) -> dict[str, Any]:
    settings = {"url": "https://desk.example", "token": TOKEN}
    return {"id": "desk-1", "connector": "desk_test", "settings": settings, **more}


async def test_a_connection_is_made_and_shows_no_secret(world: World) -> None:
    made = await world.post(PATH, new())
    assert {name: made[name] for name in ("id", "connector", "enabled", "writeBack", "act", "federate", "streams")} == {
        "id": "desk-1",
        "connector": "desk_test",
        "enabled": True,
        "writeBack": True,
        "act": True,
        "federate": False,
        "streams": ["alerts", "users"],
    }
    assert json.loads(made["settings"]) == {"url": "https://desk.example"}
    as_text = new(id="desk-2", settings=json.dumps(new()["settings"]), streams=["users"], federate=True)
    await world.post(PATH, as_text)
    listed = await world.get(PATH)
    assert [each["id"] for each in listed["value"]] == ["desk-1", "desk-2"]
    assert TOKEN not in json.dumps(listed) + json.dumps(await world.get(f"{PATH}/desk-1"))
    assert (await world.get(f"{PATH}?$filter=enabled eq true and id eq 'desk-2'"))["value"][0]["streams"] == ["users"]
    await world.get(f"{PATH}/desk-1", by="reader")
    await world.refused("GET", f"{PATH}/desk-1", status=404, by="other")


async def test_a_change_keeps_what_it_does_not_name(world: World) -> None:
    here: Connections = world.graph.parts[Connections]
    await world.post(PATH, new())
    changed = await world.patch(f"{PATH}/desk-1", {"settings": {"days": 7}, "writeBack": False, "streams": ["alerts"]})
    assert json.loads(changed["settings"]) == {"url": "https://desk.example", "days": 7}
    assert (changed["writeBack"], changed["streams"], changed["act"], changed["version"]) == (
        False,
        ["alerts"],
        True,
        2,
    )
    live = await here.live(A, await here.get(A, "desk-1"))
    assert (live.set.token, live.set.days) == (TOKEN, 7)
    await world.patch(f"{PATH}/desk-1", {"settings": {"token": "another-token", "spare": "spare-token", "days": None}})
    live = await here.live(A, await here.get(A, "desk-1"))
    assert (live.set.token, live.set.spare, live.set.days) == ("another-token", "spare-token", 30)
    row = await world.get(f"{PATH}/desk-1")
    assert "spare" not in row["settings"], "an optional secret is one too"
    both = [
        world.patch(f"{PATH}/desk-1", {"settings": {"token": "t-1"}}),
        world.patch(f"{PATH}/desk-1", {"act": False}),
    ]
    await asyncio.gather(*both)
    live = await here.live(A, await here.get(A, "desk-1"))
    assert live.set.token == "t-1" and not (await here.get(A, "desk-1")).act


async def test_what_is_refused_and_why(world: World) -> None:
    await world.post(PATH, new())
    for body, says in (
        (new(), "already"),
        (new(id="Desk 3"), "lower-case"),
        (new(id="desk-3", connector="none"), "there are: "),
        (new(id="desk-3", streams=["mail"]), "it has: alerts, users"),
        (new(id="desk-3", settings={"url": "https://x.example"}), "token"),
        (new(id="desk-3", settings={"url": "https://x.example", "token": TOKEN, "tokne": "x"}), "tokne"),
        (new(id="desk-3", settings={"url": "ftp://x", "token": TOKEN}), "$.url"),
        (new(id="desk-3", settings={"url": "https://x.example", "token": TOKEN, "days": 0}), "days"),
        (new(id="desk-3", settings={"url": "https://x.example", "token": [TOKEN]}), "$.token"),
        (new(id="desk-3", settings=f'{{"token": {TOKEN}'), "expected a JSON object"),
        (new(id="desk-3", settings="[1]"), "expected a JSON object"),
        ({"connector": "desk_test"}, "missing: id"),
    ):
        status = 409 if says == "already" else 400
        problem = await world.refused("POST", PATH, body, status=status, says=says)
        assert TOKEN not in problem["message"]
    await world.refused("PATCH", f"{PATH}/desk-1", {"connector": "x"}, status=400, says="PATCH takes")
    await world.refused("PATCH", f"{PATH}/desk-1", {"streams": ["mail"]}, status=400, says="it has")
    await world.refused("PATCH", f"{PATH}/desk-1", {"enabled": None}, status=400, says="enabled")
    await world.refused("PATCH", f"{PATH}/none", {"enabled": False}, status=404)
    await world.refused("PATCH", f"{PATH}/desk-1", {"act": False}, status=412, if_match='W/"00000000000000ff"')
    await world.refused("DELETE", f"{PATH}/desk-1", status=412, if_match='W/"00000000000000ff"')
    assert len((await world.get(PATH))["value"]) == 1
    for by, status in (("reader", 403), ("operator", 403), ("none", 403)):
        await world.refused("POST", PATH, new(id="desk-3"), status=status, by=by)
        await world.refused("PATCH", f"{PATH}/desk-1", {"enabled": False}, status=status, by=by)
        await world.refused("DELETE", f"{PATH}/desk-1", status=status, by=by)


async def test_a_check_says_what_the_system_says(world: World) -> None:
    await world.post(PATH, new())
    check = f"{PATH}/desk-1/check"
    DeskConnector.says = "token"
    done = await world.post(check, {})
    assert (done["succeeded"], done["detail"]) == (True, f"let in with {len(TOKEN)} characters")
    for says, kind in (
        (Denied("GET https://desk.example/me: 401"), "Denied"),
        (Away("GET https://desk.example/me: 503"), "Away"),
        (Rejected("GET https://desk.example/me: 404"), "Rejected"),
    ):
        DeskConnector.says = says
        done = await world.post(check, {})
        assert (done["succeeded"], done["error"], done["detail"]) == (False, kind, says.message)
    DeskConnector.says = KeyError(TOKEN)
    done = await world.post(check, {})
    assert done["error"] == "Fault" and "KeyError" in done["detail"] and TOKEN not in json.dumps(done)
    await world.refused("POST", f"{PATH}/none/check", {}, status=404)
    await world.refused("POST", check, {}, status=403, by="reader")


async def test_removed_with_its_secrets(world: World) -> None:
    await world.post(PATH, new())
    assert (await world.call("DELETE", f"{PATH}/desk-1")).status_code == 204
    await world.refused("GET", f"{PATH}/desk-1", status=404)
    here: Connections = world.graph.parts[Connections]
    assert await world.store.tenant(A).value("connection/desk-1/secrets") is None
    bare = new(settings={"url": "https://desk.example"})
    await world.refused("POST", PATH, bare, status=400, says="token")
    assert await here.every(A) == []


async def test_every_change_is_in_the_audit_without_secrets(world: World) -> None:
    await world.post(PATH, new())
    await world.patch(f"{PATH}/desk-1", {"settings": {"token": "another-token", "days": 3}, "enabled": False})
    await world.call("DELETE", f"{PATH}/desk-1")
    found = await world.every("/beta/auditLogs/directoryAudits")
    told = [each for each in found if each["targetResources"][0]["id"] == "desk-1"]
    assert sorted(each["activityDisplayName"] for each in told) == [
        "Add connection",
        "Delete connection",
        "Update connection",
    ]
    text = json.dumps(told)
    assert TOKEN not in text and "another-token" not in text
    (update,) = (each for each in told if each["activityDisplayName"] == "Update connection")
    modified = {each["displayName"]: each["newValue"] for each in update["targetResources"][0]["modifiedProperties"]}
    assert modified["secrets"] == '"token"' and modified["enabled"] == "false" and "days" in modified["settings"]


async def test_secrets_sealed_under_another_key_are_set_anew(world: World, tmp_path: Path) -> None:
    await world.post(PATH, new())
    (tmp_path / "master.key").unlink()
    settings = Settings(data=str(tmp_path))
    world.graph.parts = {**world.graph.parts, Connections: connections_of(settings, world.store)}
    await world.refused("POST", f"{PATH}/desk-1/check", {}, status=400, says="another master key")
    await world.refused("PATCH", f"{PATH}/desk-1", {"enabled": False}, status=400, says="another master key")
    await world.patch(f"{PATH}/desk-1", {"settings": {"token": "another-token"}})
    assert (await world.post(f"{PATH}/desk-1/check", {}))["succeeded"]


async def test_connectors_say_what_they_need(world: World) -> None:
    listed = await world.get("/beta/security/connectors")
    assert "desk_test" in [each["id"] for each in listed["value"]]
    one = await world.get("/beta/security/connectors/desk_test")
    settings = {each["name"]: each for each in one["settings"]}
    assert list(settings) == ["url", "token", "spare", "days"]
    assert settings["token"]["secret"] and settings["token"]["required"] and settings["spare"]["secret"]
    assert (settings["days"]["default"], settings["days"]["description"]) == ("30", "how far back")
    assert one["streams"][0] == {"name": "alerts", "description": "All alerts.", "everySeconds": 30}
    assert one["pushes"] == [{"subject": "alert", "words": ["comments", "status"]}]
    assert one["actions"][0]["name"] == "blockAddress"
    chosen = await world.get("/beta/security/connectors?$select=id,vendor")
    assert {"id": "desk_test", "vendor": "Acme"}.items() <= next(
        each for each in chosen["value"] if each["id"] == "desk_test"
    ).items()
    assert (await world.call("GET", "/beta/security/connectors/$count")).text == str(len(CONNECTORS))
    await world.refused("GET", "/beta/security/connectors?$filter=id eq 'x'", status=400, says="filterable")
    await world.refused("GET", "/beta/security/connectors/none", status=404)
    await world.refused("GET", "/beta/security/connectors", status=403, by="none")


async def test_streams_of_a_connection(world: World) -> None:
    await world.post(PATH, new())
    assert (await world.get(f"{PATH}/desk-1/streams"))["value"] == []
    assert (await world.get("/beta/security/connectionStreams?$filter=state eq 'failing'"))["value"] == []
    await world.refused("GET", f"{PATH}/none/streams", status=404)
