"""Graph objects that come again: later versions are taken, and what was done here outlives what was said before."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.ingest.conftest import NOW, SIGN_INS, TENANT, Lake

from bartizan.extend import SOURCES, Said
from bartizan.ingest.pipeline import Pipeline, Receipt
from bartizan.store import Store, Tx, draft, inner
from bartizan.store.alerts import INCIDENTS
from bartizan.store.interface import Collection
from bartizan.store.said import done_here

pytestmark = pytest.mark.anyio
FED = {each.name: each for each in (SIGN_INS, INCIDENTS)}


async def take(
    store: Store, *records: Mapping[str, Any], source: str = "graph_security_incident", said: Said | None = None
) -> Receipt:
    pipeline = Pipeline(store, Lake(), collections=FED, clock=lambda: NOW)
    raws = [json.dumps(record).encode() for record in records]
    return await pipeline.take(TENANT, SOURCES[source], raws, actor="connection:x", said=[said] * len(raws))


def incident(updated: str, **more: Any) -> dict[str, Any]:
    return {
        "@odata.type": "#microsoft.graph.security.incident",
        "id": "9",
        "displayName": "Intrusion",
        "severity": "high",
        "status": "active",
        "assignedTo": "bob",
        "createdDateTime": "2026-11-01T00:00:00Z",
        "lastUpdateDateTime": f"2026-11-0{updated}T00:00:00Z",
        "incidentWebUrl": "https://x.example",
        **more,
    }


async def body(store: Store, collection: Collection = INCIDENTS, id: str = "9") -> dict[str, Any]:
    row = await store.tenant(TENANT).get(collection.name, id)
    assert row is not None
    assert b"@bartizan" not in row.doc + (row.beta or b"")
    return dict(json.loads(row.beta or row.doc))


async def change(store: Store, collection: Collection, id: str, **words: Any) -> None:
    def work(tx: Tx) -> None:
        row = tx.get(collection.name, id)
        assert row is not None
        tx.put(draft(collection, done_here(inner(row), words), id))

    await store.tenant(TENANT).write(work, actor="ann")


APART = Said(apart=True)


async def test_a_later_version_is_taken_and_an_older_or_equal_one_is_not(any_store: Store) -> None:
    first = await take(any_store, incident("1"), said=APART)
    assert (first.accepted, first.repeats, first.ids) == (1, 0, [])
    later = await take(any_store, incident("3", status="resolved", assignedTo=None), said=APART)
    assert (later.accepted, later.repeats) == (1, 0)
    now = await body(any_store)
    assert (now["status"], now["assignedTo"], now["severity"]) == ("resolved", None, "high")
    head = await any_store.head()
    again = await take(
        any_store, incident("1"), incident("3", status="resolved"), incident("2", severity="low"), said=APART
    )
    assert (again.accepted, again.repeats) == (0, 3)
    assert (await any_store.head(), await body(any_store)) == (head, now)


async def test_the_feed_names_what_changed(any_store: Store) -> None:
    await take(any_store, incident("1"), said=APART)
    head = await any_store.head()
    await take(any_store, incident("2", status="resolved"), said=APART)
    (told,) = await any_store.changes(head, limit=10)
    assert (told.actor, told.changed) == ("connection:x", {"status": ("active", "resolved")})


async def test_what_was_done_here_stays_until_the_provider_says_something_new(store: Store) -> None:
    await take(store, incident("1"), said=APART)
    await change(store, INCIDENTS, "9", status="inProgress", customTags=["ours"])
    await take(store, incident("2", severity="low"), said=APART)
    now = await body(store)
    assert (now["status"], now["customTags"], now["severity"]) == ("inProgress", ["ours"], "low")
    await take(store, incident("3", severity="low", status="resolved"), said=APART)
    now = await body(store)
    assert (now["status"], now["customTags"]) == ("resolved", ["ours"])
    await take(store, incident("4", severity="low", status="active"), said=APART)
    assert (await body(store))["status"] == "active"


async def test_an_incident_that_was_merged_here_stays_so(store: Store) -> None:
    await take(store, incident("1"), said=APART)
    await change(store, INCIDENTS, "9", status="redirected", redirectIncidentId="other")
    await take(store, incident("2", status="resolved", severity="low"), said=APART)
    now = await body(store)
    assert (now["status"], now["redirectIncidentId"], now["severity"]) == ("redirected", "other", "low")


async def test_an_incident_that_came_by_another_hand_is_only_filled_in(store: Store) -> None:
    made = draft(INCIDENTS, {"displayName": "Ours", "status": "inProgress"}, "9")
    await store.tenant(TENANT).write(lambda tx: tx.put(made), actor="ann")
    await take(store, incident("1"), said=APART)
    now = await body(store)
    assert (now["displayName"], now["status"], now["severity"]) == ("Ours", "inProgress", "high")
    await take(store, incident("2"), said=APART)
    assert (await body(store))["displayName"] == "Ours"
    await take(store, incident("3", displayName="Theirs, renamed"), said=APART)
    assert (await body(store))["displayName"] == "Theirs, renamed"


async def test_an_incident_stands_for_its_alerts_where_they_do_not_come_beside_it(store: Store) -> None:
    alone = await take(store, incident("1"))
    assert len(alone.ids) == 1
    apart = await take(store, incident("1", id="10"), said=APART)
    assert apart.ids == []


def sign_in(**more: Any) -> dict[str, Any]:
    return {
        "id": "s1",
        "createdDateTime": "2026-11-01T00:00:00Z",
        "userPrincipalName": "ann@example.org",
        "userId": "u",
        "appDisplayName": "Portal",
        "ipAddress": "192.0.2.1",
        "location": {"city": "Oslo", "geoCoordinates": {"latitude": 59.9}},
        "riskState": "none",
        **more,
    }


async def test_a_sign_in_has_no_time_of_its_versions_and_is_taken_again_only_where_the_way_says_when(
    any_store: Store,
) -> None:
    at = [Said(at=f"2026-11-0{day}T00:00:00.0000000Z") for day in range(1, 6)]
    await take(any_store, sign_in(), source="entra_id_logs")
    lone = await any_store.tenant(TENANT).get(SIGN_INS.name, "s1")
    assert lone is not None and lone.state == b""
    silent = await take(any_store, sign_in(riskState="atRisk"), source="entra_id_logs")
    assert silent.repeats == 1
    same = await take(any_store, sign_in(), source="entra_id_logs", said=at[0])
    assert same.repeats == 1
    for said, state in ((at[2], "atRisk"), (at[1], "none")):
        await take(any_store, sign_in(riskState=state), source="entra_id_logs", said=said)
    assert (await body(any_store, SIGN_INS, "s1"))["riskState"] == "atRisk"
    await change(any_store, SIGN_INS, "s1", riskState="confirmedSafe")
    await take(any_store, sign_in(riskState="atRisk", ipAddress="192.0.2.2"), source="entra_id_logs", said=at[3])
    now = await body(any_store, SIGN_INS, "s1")
    assert (now["riskState"], now["ipAddress"]) == ("confirmedSafe", "192.0.2.2")
    found = await any_store.tenant(TENANT).entity("address", "192.0.2.2", collection=SIGN_INS.name)
    assert [one[1] for one in found] == ["s1"]
