"""How stages follow the feed: nothing is left out, and the cursor comes after."""

import pytest
from tests.store.conftest import note, putting

from bartizan.store import Store
from bartizan.store.follow import Follower

pytestmark = pytest.mark.anyio

SETS = ["notes"]


async def test_the_cursor_follows_what_has_been_worked_on(store: Store) -> None:
    """At once, or, of steps that come quickly after each other, as soon as there is nothing more. Until then whoever
    takes over reads the same again."""
    tenant, first = store.tenant("t"), Follower(store, "stage", SETS, limit=2)
    for number in range(6):
        await tenant.write(putting(note(f"n{number}")), actor="me")
    seen: list[str] = []
    places: list[int] = []
    while (part := await first.read()).changes:
        seen += [change.id for change in part.changes]
        places.append(await store.cursor("stage") or 0)
        again = (await Follower(store, "stage", SETS, limit=2).read()).changes
        assert places[-1] < again[0].seq <= part.changes[0].seq  # not before it has been worked on
        assert await first.taken(part) == len(part.changes)
    assert seen == [f"n{number}" for number in range(6)]
    assert places == sorted(places)
    assert await store.cursor("stage") == await store.head()
    assert (await Follower(store, "stage", SETS, limit=2).read()).changes == []
