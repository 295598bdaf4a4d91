"""Attempts under names that nobody has are audited, within bounds, and never with what may be a password."""

import asyncio
from typing import Any

import msgspec
import pytest
from tests.auth.conftest import World

from bartizan.auth import audit
from bartizan.auth.keys import SYSTEM
from bartizan.auth.strangers import MOST_ENTRIES, MOST_WINDOWS, Strangers, shown
from bartizan.errors import Unavailable
from bartizan.store import Query

pytestmark = pytest.mark.anyio
HOME = frozenset({"default.internal"})
GUID = "0c0c0c0c-0000-0000-0000-00000000000f"


class Book:
    """Takes entries as the audit would; `now` is its time in seconds."""

    def __init__(self, window_s: float = 60.0) -> None:
        self.now = 0.0
        self.entries: list[tuple[str, str, dict[str, Any]]] = []
        self.broken = False
        self.strangers = Strangers(self._write, lambda: self.now, window_s=window_s)

    async def _write(self, tenant: str, activity: str, fields: dict[str, Any]) -> None:
        if self.broken:
            raise Unavailable("no")
        self.entries.append((tenant, activity, fields))

    async def tried(self, name: str, address: str = "192.0.2.1", tenant: str = "t") -> None:
        await self.strangers.tried(tenant, "user", name, address, HOME)


async def test_one_address_is_told_once_and_then_counted() -> None:
    book = Book(window_s=0.05)
    for n in range(50):
        await book.tried(f"user{n}@default.internal")
    assert len(book.entries) == 1 and book.entries[0][2]["details"]["names"] == "user0@default.internal"
    async with asyncio.timeout(10):
        while len(book.entries) < 2:  # noqa: ASYNC110 - a timer of the loop is what comes
            await asyncio.sleep(0.01)
    details = book.entries[1][2]["details"]
    assert details["attempts"] == "49" and len(details["names"].split()) == 20
    assert book.entries[1][2]["address"] == "192.0.2.1" and book.entries[1][2]["result"] == "failure"


async def test_one_name_from_many_addresses_is_told_once() -> None:
    book = Book()
    for n in range(50):
        await book.tried("root@default.internal", f"192.0.2.{n}")
    assert len(book.entries) == 1


async def test_many_names_from_many_addresses_stay_within_the_hour() -> None:
    book = Book()
    for n in range(MOST_WINDOWS + 100):
        await book.tried("x", f"address {n}")
    assert len(book.entries) == MOST_ENTRIES
    await book.tried("x", tenant="another")
    assert len(book.entries) == MOST_ENTRIES + 1, "another tenant has its own"
    book.now = 3601.0
    await book.strangers.tried("t", "client", GUID, "address", HOME)
    assert int(book.entries[-1][2]["details"]["attemptsNotListed"]) > 1000


async def test_a_store_that_fails_does_not_fail_the_answer() -> None:
    book = Book()
    book.broken = True
    await book.tried("x")


@pytest.mark.parametrize(
    ("name", "kind", "told"),
    [
        ("Ann@default.internal", "user", "ann@default.internal"),
        ("ann@elsewhere.example", "user", None),
        ("correct horse battery staple", "user", None),
        ("hunter2", "user", None),
        ("P@ssw0rd", "user", None),
        ("s3cret phrase@default.internal", "user", None),
        ("!pass@default.internal", "user", None),
        ("", "user", None),
        (GUID.upper(), "client", GUID),
        ("my-app~secret", "client", None),
    ],
)
def test_what_is_shown_of_a_name(name: str, kind: Any, told: str | None) -> None:
    assert shown(name, kind, HOME) == told


async def entries(world: World, tenant: str) -> list[dict[str, Any]]:
    page = await world.authority.store.tenant(tenant).page("directoryAudits", Query(top=100))
    found = [msgspec.json.decode(row.doc) for row in page.rows]
    return [each for each in found if each["result"] == "failure"]


async def test_at_the_form(world: World) -> None:
    """A password in the wrong field is nowhere in the audit; the attempt and its address are."""
    page = await world.authorize()
    await world.submit(page, username="my Passw0rd!", password="whatever it is")
    (entry,) = await entries(world, world.tenant.id)
    assert entry["activityDisplayName"] == "Sign in" and entry["initiatedBy"]["user"]["ipAddress"]
    told = {each["key"]: each["value"] for each in entry["additionalDetails"]}
    assert (told["attempts"], told["namesWithheld"]) == ("1", "1")
    assert "Passw0rd" not in msgspec.json.encode(entry).decode()
    assert (await audit.verify(world.authority.store.tenant(world.tenant.id))).ok


async def test_at_the_token_endpoint(world: World) -> None:
    await world.token(client_id=GUID, grant_type="client_credentials", client_secret="x", scope="y/.default")
    (entry,) = await entries(world, world.tenant.id)
    told = {each["key"]: each["value"] for each in entry["additionalDetails"]}
    assert entry["activityDisplayName"] == "Issue token" and told["names"] == GUID
    await world.token(
        tenant="common", client_id="no guid", grant_type="client_credentials", client_secret="x", scope="y/.default"
    )
    (entry,) = await entries(world, SYSTEM)
    assert "no guid" not in msgspec.json.encode(entry).decode()
