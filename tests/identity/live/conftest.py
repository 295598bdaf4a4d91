"""A store with all that the program declares, and the stage on it."""

from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Any

import msgspec
import pytest

from bartizan.app.assembly import declared, fed
from bartizan.identity.memory import MEMORY
from bartizan.identity.shards import PLACE, Place
from bartizan.identity.stage import IdentityStage
from bartizan.store import Query, Store, Tx, draft, open_store

TENANT = "contoso"


@pytest.fixture
def target(declared_target: str) -> str:
    return declared_target


@pytest.fixture
async def store(target: str) -> AsyncIterator[Store]:
    opened = open_store(target, declared())
    await opened.start()
    yield opened
    await opened.close()


async def bring(
    store: Store, documents: Iterable[dict[str, Any]], *, tenant: str = TENANT, of: str = "signIns"
) -> None:
    """Stores documents as a source would, one transaction for all."""
    made = [draft(fed()[of], each, each["id"]) for each in documents]

    def work(tx: Tx) -> None:
        for each in made:
            tx.put(each, unless_exists=True)

    await store.tenant(tenant).write(work, actor="test")


async def evaluate(store: Store, documents: list[dict[str, Any]], *, at_once: int = 60, tenant: str = TENANT) -> None:
    """Brings sign-ins in parts, and runs a stage after each; a new one each time, as after a restart."""
    for begin in range(0, len(documents), at_once):
        await bring(store, documents[begin : begin + at_once], tenant=tenant)
        await run(IdentityStage(store, fed()))


async def run(stage: IdentityStage) -> None:
    while await stage.step():
        pass


async def rows(store: Store, of: str, tenant: str = TENANT) -> dict[str, dict[str, Any]]:
    """All documents of a set in beta's form, by id."""
    found: dict[str, dict[str, Any]] = {}
    after: Any = None
    read = partial(store.tenant(tenant).page, of)
    while True:
        page = await read(Query(500, after=after, version="beta"))
        found.update((row.id, msgspec.json.decode(row.wire("beta"))) for row in page.rows)
        if not page.more:
            return found
        after = page.last


async def shown(store: Store) -> dict[str, Any]:
    """What is said of everybody, without stamps."""
    found: dict[str, Any] = {}
    for of, names in (
        ("signIns", ("riskLevelDuringSignIn", "riskLevelAggregated", "riskState", "riskDetail", "riskEventTypes_v2")),
        ("riskDetections", ("riskEventType", "riskLevel", "riskState", "requestId", "additionalInfo")),
        ("riskyUsers", ("riskLevel", "riskState", "riskDetail")),
        ("alerts_v2", ("title", "severity", "status", "classification")),
    ):
        found[of] = {id: [body[name] for name in names] for id, body in (await rows(store, of)).items()}
    return found


async def ended(store: Store) -> dict[str, Any]:
    """What is said of everybody, and what is remembered; without stamps."""
    found = await shown(store)
    after: Any = None
    memory = found["memory"] = {}
    while True:
        page = await store.tenant(TENANT).page(MEMORY.name, Query(500, after=after))
        memory.update((row.id, row.doc) for row in page.rows)
        if not page.more:
            break
        after = page.last
    place = msgspec.json.decode(await store.tenant(TENANT).value(PLACE) or b"", type=Place)
    found["place"] = (place.newest, place.settled, place.pending, place.behind)
    return found
