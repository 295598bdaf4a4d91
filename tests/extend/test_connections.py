"""Connections by themselves: sealed secrets, live connectors, bounds."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, cast

import pytest
from msgspec import Meta, Struct
from msgspec.structs import replace
from tests.api.conftest import Around

from bartizan.auth.keys import Vault
from bartizan.errors import BadRequest, Conflict, NotFound
from bartizan.extend import connections
from bartizan.extend.connections import (
    CONNECTION_STREAMS,
    CONNECTIONS,
    Connection,
    Connections,
    secret_fields,
    settings_of,
)
from bartizan.extend.connectors import (
    CONNECTORS,
    Away,
    Connector,
    Fault,
    Order,
    Outside,
    Push,
    Read,
    Rejected,
    Reply,
    Secret,
    Stream,
    backed_off,
    fault,
)
from bartizan.store import Store, Tx, open_store

pytestmark = pytest.mark.anyio
TENANT, OTHER = "tenant-1", "tenant-2"


class Inner(Struct, frozen=True):
    key: Annotated[Secret, Meta(description="inside")]


class DoorSettings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    url: Annotated[str, Meta(description="address")]
    token: Annotated[Secret, Meta(description="lets one in")]
    plain: Secret = "x"
    maybe: Annotated[Secret | None, Meta(description="or none")] = None
    many: Annotated[list[Secret], Meta(description="several")] = []
    named: Annotated[dict[str, Secret], Meta(description="by name")] = {}
    deep: Annotated[Inner | None, Meta(description="in an object")] = None
    words: Annotated[list[str], Meta(description="no secrets")] = []


class Door(Connector):
    name: ClassVar[str] = "door_test"
    vendor: ClassVar[str] = "Acme"
    product: ClassVar[str] = "Door"
    doc: ClassVar[str] = "A system of these tests."
    settings: ClassVar[type[Struct]] = DoorSettings
    streams: ClassVar[dict[str, Stream]] = {"alerts": Stream("All alerts.")}

    def __init__(self, settings: Any, outside: Outside) -> None:
        super().__init__(settings, outside)
        self.closed = False

    async def check(self) -> str:
        if self.set.words == ["broken"]:
            raise KeyError(self.set.token)
        await asyncio.sleep(60)
        return "never"

    async def close(self) -> None:
        self.closed = True


class Nowhere(Outside):
    closed = 0

    async def ask(self, *args: object, **named: object) -> Reply:
        raise AssertionError("these connectors ask nobody")

    async def close(self) -> None:
        Nowhere.closed += 1


class Bare(Connector):
    name: ClassVar[str] = "bare_test"


for each in (Door, Bare):
    CONNECTORS.pop(each.name)  # of these tests only


@pytest.fixture(autouse=True)
def door() -> Iterator[None]:
    CONNECTORS["door_test"] = Door
    yield
    del CONNECTORS["door_test"]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    store = open_store(tmp_path / "data", (CONNECTIONS, CONNECTION_STREAMS))
    await store.start()
    yield store
    await store.close()


def over(store: Store, key: bytes = b"k" * 32) -> Connections:
    return Connections(store, Vault(key), lambda settings: Nowhere())


def is_closed(connector: Connector) -> bool:
    assert isinstance(connector, Door)
    return connector.closed


DOOR = Connection(id="door", connector="door_test", streams=("alerts",))
GIVEN = {"url": "https://door.example", "token": "very-secret", "many": ["also-secret"], "deep": {"key": "deep-secret"}}


def placed(place: str, value: bytes | None, tx: Tx) -> None:
    tx.set_value(place, value)


def test_whatever_holds_a_secret_is_secret() -> None:
    assert secret_fields(DoorSettings) == {"token", "plain", "maybe", "many", "named", "deep"}
    assert all(each.default is None for each in settings_of(Door) if each.secret)


async def test_sealed_under_tenant_and_name(store: Store, tmp_path: Path) -> None:
    """What lies in the store holds no secret; what was sealed for one connection opens no other."""
    here = over(store)
    for tenant, id in ((TENANT, "door"), (TENANT, "back-door"), (OTHER, "door")):
        await here.set(tenant, replace(DOOR, id=id), GIVEN, actor="test", new=True)
    on_disk = b"".join(file.read_bytes() for file in (tmp_path / "data").glob("state.db*"))
    assert b"door.example" in on_disk
    for secret in (b"very-secret", b"also-secret", b"deep-secret"):
        assert secret not in on_disk
    assert "token" not in json.dumps((await here.get(TENANT, "door")).settings)
    mine = await store.tenant(TENANT).value("connection/door/secrets")
    for tenant, id in ((TENANT, "back-door"), (OTHER, "door")):
        await store.tenant(tenant).write(partial(placed, f"connection/{id}/secrets", mine), actor="thief")
        with pytest.raises(BadRequest, match="set them anew"):
            await here.live(tenant, await here.get(tenant, id))
    live = await here.live(TENANT, await here.get(TENANT, "door"))
    assert live.set.token == "very-secret" and live.set.deep.key == "deep-secret"
    with pytest.raises(BadRequest, match="set them anew"):
        await over(store, b"x" * 32).live(TENANT, await here.get(TENANT, "door"))
    await here.close()


async def test_one_live_connector_until_it_changes(store: Store) -> None:
    here = over(store)
    await here.set(TENANT, DOOR, GIVEN, actor="test", new=True)
    first = await here.get(TENANT, "door")
    lives = await asyncio.gather(*(here.live(TENANT, first) for _ in range(5)))
    assert len(set(map(id, lives))) == 1
    await here.change(TENANT, "door", lambda before: before, {"token": "other"}, actor="test")
    second = await here.get(TENANT, "door")
    live = await here.live(TENANT, second)
    assert live.set.token == "other" and (is_closed(lives[0]), is_closed(live)) == (True, False)
    assert await here.live(TENANT, first) is live, "who comes with the older one gets the newer"
    await here.remove(TENANT, "door", actor="test")
    assert is_closed(live)
    elsewhere = over(store)  # another process, that has not seen it removed
    await elsewhere.set(TENANT, DOOR, GIVEN, actor="test", new=True)
    old = await elsewhere.live(TENANT, await elsewhere.get(TENANT, "door"))
    await here.remove(TENANT, "door", actor="test")
    await here.set(TENANT, DOOR, {**GIVEN, "url": "https://new.example"}, actor="test", new=True)
    again = await elsewhere.live(TENANT, await elsewhere.get(TENANT, "door"))
    assert again is not old and again.set.url == "https://new.example", "a name that is used again is another"
    await elsewhere.close()


async def test_a_tenant_whose_store_is_slow_holds_up_no_other(store: Store) -> None:
    """Of one connection five at once open one connector; meanwhile another tenant's opens."""
    here, other = over(store), "22222222-2222-2222-2222-222222222222"
    await here.set(TENANT, DOOR, GIVEN, actor="test", new=True)
    await here.set(other, replace(DOOR, id="gate"), GIVEN, actor="test", new=True)
    mine, theirs = await here.get(TENANT, "door"), await here.get(other, "gate")
    held = asyncio.Event()

    async def value(real: Any, place: str) -> Any:
        if "/gate/" not in place:
            await held.wait()
        return await real(place)

    slow = over(cast("Store", Around(store, value=value)))
    waiting = [asyncio.create_task(slow.live(TENANT, mine)) for _ in range(5)]
    async with asyncio.timeout(10):
        live = await slow.live(other, theirs)
        assert not any(each.done() for each in waiting)
        held.set()
        assert len({id(each) for each in await asyncio.gather(*waiting)} | {id(live)}) == 2
    await slow.close()


async def test_secrets_do_not_follow_an_address_that_moves(store: Store) -> None:
    """Who may change a connection need not know its secrets, and must not get them sent."""
    here = over(store)
    await here.set(TENANT, DOOR, GIVEN, actor="test", new=True)

    async def change(**settings: Any) -> None:
        await here.change(TENANT, "door", lambda before: before, settings, actor="test")

    for url in ("https://thief.example", "http://door.example", "https://door.example:444", "https://door.example@x.y"):
        with pytest.raises(BadRequest, match="url leads elsewhere now: give deep, many, token too"):
            await change(url=url)
    await change(url="https://DOOR.example/v2?x=1")
    with pytest.raises(BadRequest, match="give deep, many too"):
        await change(url="https://new.example", token="other")
    await change(url="https://new.example", token="other", many=[], deep=None)
    live = await here.live(TENANT, await here.get(TENANT, "door"))
    assert (live.set.url, live.set.token, live.set.many, live.set.deep) == ("https://new.example", "other", [], None)
    await here.close()


async def test_bounds_and_conflicts(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 2)
    here = over(store)
    added = [here.set(TENANT, DOOR, GIVEN, actor="test", new=True) for _ in range(3)]
    outcomes = await asyncio.gather(*added, return_exceptions=True)
    assert sorted(type(each).__name__ for each in outcomes) == ["Conflict", "Conflict", "Stored"]
    await here.set(TENANT, replace(DOOR, id="two"), GIVEN, actor="test", new=True)
    with pytest.raises(BadRequest, match="at most 2"):
        await here.set(TENANT, replace(DOOR, id="three"), GIVEN, actor="test", new=True)
    await here.set(OTHER, replace(DOOR, id="three"), GIVEN, actor="test", new=True)
    for id in ("", "Door", "a b", "-a", "a" * 64, "ä", "a/b", "a@b"):
        with pytest.raises(BadRequest, match="lower-case"):
            await here.set(OTHER, replace(DOOR, id=id), GIVEN, actor="test", new=True)
    for missing in (here.get(TENANT, "none"), here.remove(TENANT, "none", actor="test"), here.get(OTHER, "door")):
        with pytest.raises(NotFound):
            await missing
    with pytest.raises(NotFound):
        await here.change(OTHER, "door", lambda before: before, {}, actor="test")
    with pytest.raises(Conflict):
        await here.set(OTHER, replace(DOOR, id="three"), GIVEN, actor="test", new=True)


async def test_a_check_that_hangs_is_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "CHECK_S", 0.05)
    here = over(store)
    await here.set(TENANT, DOOR, GIVEN, actor="test", new=True)
    closed = Nowhere.closed
    with pytest.raises(Away, match=r"no answer within 0.05 s"):
        await here.trial(TENANT, await here.get(TENANT, "door"))
    assert Nowhere.closed == closed + 1


async def test_a_fault_in_a_check(store: Store) -> None:
    """It is an error like the others, without what the fault says."""
    here = over(store)
    await here.set(TENANT, DOOR, {**GIVEN, "words": ["broken"]}, actor="test", new=True)
    with pytest.raises(Fault) as told:
        await here.trial(TENANT, await here.get(TENANT, "door"))
    assert told.value.message == "the connector door_test failed with KeyError"


async def test_what_a_connector_leaves_out_is_rejected() -> None:
    """As an error that every stage knows, in words for analysts."""
    order = Order(name="blockUrl", target="x", parameters={}, by="ann", reason=None, key="1")
    push = Push(subject="alert", id="1", words={}, now={}, by="ann", at="", key="1")
    bare = Bare(None, Nowhere())
    asked: list[Callable[[], Any]] = [
        bare.check,
        lambda: anext(bare.pull("alerts", None)),
        lambda: bare.push(push),
        lambda: bare.act(order),
        lambda: bare.follow("1"),
        lambda: bare.cancel("1"),
        lambda: bare.read(Read()),
    ]
    for ask in asked:
        with pytest.raises(Rejected, match=r"^bare_test "):
            await ask()


def test_longer_after_each_failure() -> None:
    """Twice as long each time up to the most, and never longer."""
    for failures, most in ((0, 2.0), (1, 4.0), (3, 16.0), (9, 300.0), (10_000, 300.0)):
        waits = [backed_off(failures, 2.0, 300.0) for _ in range(100)]
        assert most / 2 <= min(waits) < max(waits) <= most


def test_what_a_log_says_of_a_fault() -> None:
    """Its kind and where it was, and nothing of its text."""
    hidden = "-".join(("very", "secret"))
    try:
        raise KeyError(hidden)
    except KeyError as error:
        told = fault(error)
    assert told["kind"] == "KeyError" and "raise KeyError(hidden)" in told["at"] and hidden not in str(told)
