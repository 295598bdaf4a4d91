"""What is read of a user's sign-ins, on both engines of the store."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from tests.identity.live.conftest import TENANT, bring
from tests.identity.streams import DAY, START, sign_in

from bartizan.app.assembly import declared
from bartizan.identity.posture.gather import RECENT, Gather
from bartizan.store import Store, open_store

pytestmark = pytest.mark.anyio

NOW = datetime.fromtimestamp(START + 20 * DAY, UTC)


@pytest.fixture
async def store(declared_target: str) -> AsyncIterator[Store]:
    opened = open_store(declared_target, declared())
    await opened.start()
    yield opened
    await opened.close()


async def last_of(store: Store) -> dict[str, datetime | None]:
    facts = Gather(store.tenant(TENANT), NOW)
    await facts.open()
    return {row.user.id: row.user.last async for page in facts.users() for row in page}


async def test_many_failures_hide_no_success(store: Store) -> None:
    """Of one whose password somebody tries again and again, of one who mistypes now and then, by name and of nobody."""
    people = [{"id": id, "userPrincipalName": f"{id}@northwall.example"} for id in ("tried", "typo", "named", "quiet")]
    await bring(store, people, of="users")
    assert set((await last_of(store)).values()) == {None}, "nobody has signed in yet"
    signs = [sign_in("s-tried", START + DAY, "tried"), sign_in("s-typo", START + 3 * DAY, "typo")]
    signs += [sign_in(f"f-{n}", START + 2 * DAY + n, "tried", code=50126) for n in range(RECENT + 20)]
    signs += [sign_in("f-typo", START + 4 * DAY, "typo", code=50126)]
    signs += [
        {**sign_in("s-named", START + 5 * DAY, "of-another-provider"), "userPrincipalName": "Named@northwall.example"}
    ]
    await bring(store, signs)
    at = {"tried": 1, "typo": 3, "named": 5}
    expected = {id: datetime.fromtimestamp(START + days * DAY, UTC) for id, days in at.items()}
    assert await last_of(store) == {**expected, "quiet": None}
