"""Alerts in the store: two documents that change together, and the incidents that move with them."""

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from tests.ingest.conftest import TENANT

from bartizan.errors import BadRequest, NotFound, PreconditionFailed
from bartizan.model import faces, posted
from bartizan.model import security as graph
from bartizan.model.alert import Alert, Observed
from bartizan.model.faces import AlertState
from bartizan.model.workflow import Who
from bartizan.odata.tree import Any as AnyOf
from bartizan.odata.tree import Compare, Literal, Path
from bartizan.store import Query, Store, Stored, TenantStore, Tx, draft, inner
from bartizan.store.alerts import (
    ALERTS,
    ALERTS_V2,
    INCIDENTS,
    Kept,
    change_alert,
    move_alert,
    place_alert,
    placing,
    prepare,
    state_of,
    store_alert,
    store_alerts,
    touch_incident,
)

pytestmark = pytest.mark.anyio
WHO = Who("app-1", "ann@example.org", "Ann")
T0 = "2026-11-23T00:00:00.0000000Z"


def state(number: int = 1, incident: str | None = None, **more: Any) -> AlertState:
    given: dict[str, Any] = {
        "vendor": "V",
        "product": "P",
        "provider_alert_id": str(number),
        "title": "T",
        "severity": "low",
        "evidence": [graph.DeviceEvidence(hostName="pc1", lastIpAddress="10.0.0.1")],
        "entities": [Observed("domain", "c2.example", "commandAndControl")],
    }
    return faces.move(faces.provider_faces(Alert(**{**given, **more}), TENANT, T0), incident)


async def put(store: TenantStore, *states: AlertState, raw: bytes | None = None) -> list[Kept]:
    ready = [prepare(one, raw=raw, raw_sha256="ab" * 32) for one in states]
    return await store.write(lambda tx: store_alerts(tx, ready), actor="t")


async def incident(store: TenantStore, id: str) -> Stored:
    made = draft(INCIDENTS, {"displayName": id, "status": "active", "severity": "low"}, id)
    stored = await store.write(lambda tx: tx.put(made), actor="t")
    assert stored is not None
    return stored


async def doc(store: TenantStore, id: str, collection: str = ALERTS_V2.name) -> dict[str, Any]:
    row = await store.get(collection, id)
    assert row is not None
    found: dict[str, Any] = json.loads(row.doc)
    return found


async def test_a_place_made_ready_counts_only_of_what_is_still_so(any_store: Store) -> None:
    """An analyst who changes an alert, or moves it, after it was read is not overwritten by what was made of it."""
    store = any_store.tenant(TENANT)
    ids = [one.v2.id for one in await put(store, state(1), state(2), state(3))]
    today = await store.ahead(ALERTS_V2.name, ids)
    ready = {id: placing(today[id], "i1") for id in ids}
    assert all(ready.values())
    await store.write(lambda tx: change_alert(tx, ids[1], {"assignedTo": "ann"}, "v2", WHO), actor="t")
    await store.write(lambda tx: move_alert(tx, ids[2], "i2"), actor="t")

    def work(tx: Tx) -> list[bool]:
        tx.recall(ALERTS_V2.name, today)
        return [place_alert(tx, id, "i1", ready=ready[id]) for id in ids]

    assert await store.write(work, actor="t") == [True, True, False]
    bodies = [await doc(store, id) for id in ids]
    assert [each["incidentId"] for each in bodies] == ["i1", "i1", "i2"]
    assert [each["assignedTo"] for each in bodies] == [None, "ann", None]
    assert (await doc(store, ids[0], ALERTS.name))["incidentIds"] == ["i1"]


async def test_both_documents_are_put_with_stamps_columns_and_entities(any_store: Store) -> None:
    store = any_store.tenant(TENANT)
    (kept,) = await put(store, state(), raw=b"raw")
    assert kept.changed is None
    today, old = await doc(store, kept.v2.id), await doc(store, kept.v2.id, ALERTS.name)
    assert today["createdDateTime"] == kept.v2.created == today["lastUpdateDateTime"]
    assert old["createdDateTime"] == kept.legacy.created == old["lastModifiedDateTime"]
    assert inner(kept.v2)["createdDateTime"] == kept.v2.created
    assert inner(kept.v2)["title"] == inner(kept.legacy)["title"] == "T"
    page = await store.page(
        ALERTS.name,
        Query(top=5, filter=Compare("eq", Path(("vendorInformation", "provider"), kind="text"), Literal("P", "text"))),
    )
    assert [row.id for row in page.rows] == [kept.v2.id]
    found = await store.entity("domain", "C2.example")
    assert [(one[0], one[1], one[2]) for one in found] == [("alerts_v2", kept.v2.id, "commandAndControl")]
    hosts = await store.entity("host", "pc1")
    assert {one[0] for one in hosts} == {"alerts_v2", "alerts"}


async def test_a_change_through_one_face_shows_in_both_and_in_the_feed(any_store: Store) -> None:
    store = any_store.tenant(TENANT)
    (kept,) = await put(store, state())
    head = await any_store.head()
    after = await store.write(
        lambda tx: change_alert(tx, kept.v2.id, {"status": "dismissed", "comments": ["no"]}, "legacy", WHO), actor="ann"
    )
    today, old = await doc(store, kept.v2.id), await doc(store, kept.v2.id, ALERTS.name)
    assert (today["status"], today["classification"]) == ("resolved", "falsePositive")
    assert (old["status"], old["feedback"], old["comments"]) == ("dismissed", None, ["no"])
    assert old["historyStates"][0]["user"] == "ann@example.org"
    assert today["lastUpdateDateTime"] > kept.v2.updated
    assert old["lastModifiedDateTime"] > kept.legacy.updated
    assert today["createdDateTime"] == kept.v2.created
    changes = {change.collection: change for change in await any_store.changes(head, limit=10)}
    assert changes["alerts_v2"].changed is not None
    assert tuple(changes["alerts_v2"].changed["status"]) == ("new", "resolved")
    assert changes["alerts"].changed is not None
    assert tuple(changes["alerts"].changed["status"]) == ("newAlert", "dismissed")
    assert "historyStates" not in changes["alerts"].changed
    assert changes["alerts"].actor == "ann"
    assert after.face("v2").id == after.face("legacy").id
    again = await store.write(
        lambda tx: change_alert(tx, kept.v2.id, {"status": "dismissed"}, "legacy", WHO), actor="ann"
    )
    assert again.changed == {}
    assert again.v2.seq == after.v2.seq


async def test_if_match_names_the_version_of_the_face(store: Store) -> None:
    tenant = store.tenant(TENANT)
    (kept,) = await put(tenant, state())

    async def change(etag: str, value: str) -> Kept:
        return await tenant.write(
            lambda tx: change_alert(tx, kept.v2.id, {"assignedTo": value}, "legacy", WHO, if_match=etag), actor="t"
        )

    await change(kept.legacy.etag, "a")
    for stale in (kept.legacy.etag, kept.v2.etag):
        with pytest.raises(PreconditionFailed):
            await change(stale, "b")
    assert (await doc(tenant, kept.v2.id))["assignedTo"] == "a"
    await change("*", "c")
    assert (await doc(tenant, kept.v2.id))["assignedTo"] == "c"


async def test_a_refused_change_leaves_nothing_half_done(store: Store) -> None:
    tenant = store.tenant(TENANT)
    (kept,) = await put(tenant, state())
    with pytest.raises(BadRequest):
        await tenant.write(lambda tx: change_alert(tx, kept.v2.id, {"title": "x"}, "v2", WHO), actor="t")
    with pytest.raises(NotFound):
        await tenant.write(lambda tx: change_alert(tx, "nothing", {"status": "new"}, "v2", WHO), actor="t")
    with pytest.raises(NotFound):
        await tenant.write(lambda tx: move_alert(tx, "nothing", "i"), actor="t")


async def test_an_incident_moves_when_one_of_its_alerts_changes(any_store: Store) -> None:
    store = any_store.tenant(TENANT)
    one, other = await incident(store, "i1"), await incident(store, "i2")
    (kept,) = await put(store, state(incident="i1"))

    async def updated(id: str) -> str:
        return str((await doc(store, id, INCIDENTS.name))["lastUpdateDateTime"])

    stored = await updated("i1")
    assert stored > one.updated
    await store.write(lambda tx: change_alert(tx, kept.v2.id, {"status": "inProgress"}, "v2", WHO), actor="t")
    changed = await updated("i1")
    assert changed > stored
    assert await updated("i2") == other.updated
    await store.write(lambda tx: move_alert(tx, kept.v2.id, "i2"), actor="t")
    assert await updated("i1") > changed
    assert await updated("i2") > other.updated
    assert (await doc(store, kept.v2.id))["incidentId"] == "i2"
    assert (await doc(store, kept.v2.id, ALERTS.name))["incidentIds"] == ["i2"]
    moved = await updated("i2")
    await put(store, state(title="new", incident=None))
    assert await updated("i2") > moved
    assert (await doc(store, kept.v2.id))["incidentId"] == "i2"
    again = await updated("i2")
    await put(store, state(title="new"))
    assert await updated("i2") == again
    assert (await doc(store, "i2", INCIDENTS.name))["displayName"] == "i2"


async def test_an_incident_of_many_alerts_of_a_bulk_is_touched_once(store: Store) -> None:
    tenant = store.tenant(TENANT)
    await incident(tenant, "i1")
    head = await store.head()
    await put(tenant, *(state(number, incident="i1") for number in range(20)))
    changes = await store.changes(head, limit=100, collections=["incidents"])
    assert len(changes) == 1


async def test_an_alert_that_is_placed_is_the_alert_that_is_moved(any_store: Store) -> None:
    """The one takes the stored bytes over, the other renders all anew: what is read must be the same."""
    made = [
        state(1),
        state(
            2,
            techniques=["T1110"],
            category="CredentialAccess",
            status="inProgress",
            description='"incidentId":null,"incidentIds":[]',
        ),
        state(3, evidence=[], title='quoted "\\ and \u2028', first_activity=T0, detection_source="antivirus"),
    ]
    shown = []
    ways: dict[str, Callable[[Tx, str, str], object]] = {"a": place_alert, "b": move_alert}
    for tenant, put_into in ways.items():
        store = any_store.tenant(tenant)
        await incident(store, "i1")
        kept = await put(store, *made)
        for one in kept:
            await store.write(partial(_in_incident, put_into, one.v2.id), actor="t")
        shown.append(
            [_steady(await store.get(name, one.v2.id)) for one in kept for name in (ALERTS_V2.name, ALERTS.name)]
        )
        matching = Query(10, Compare("eq", Path(("incidentId",), kind="text"), Literal("i1", "text")))
        assert len((await store.page(ALERTS_V2.name, matching)).rows) == len(made)
        in_it = AnyOf(Path(("incidentIds",)), "i", Compare("eq", Path((), "i", kind="text"), Literal("i1", "text")))
        assert await store.count(ALERTS.name, in_it) == len(made)
        assert len(await store.entity("host", "pc1", collection=ALERTS_V2.name)) == 2
    assert shown[0] == shown[1]


async def test_a_legacy_face_is_no_other_version_for_its_incident(any_store: Store) -> None:
    """Also where the alert is put into one incident and then into another within a write."""
    store = any_store.tenant(TENANT)
    (kept,) = await put(store, state())
    before = kept.legacy.etag
    head = await any_store.head()

    def work(tx: Tx) -> list[Any]:
        place_alert(tx, kept.v2.id, "i1")
        seen = [tx.get(ALERTS.name, kept.v2.id)]
        place_alert(tx, kept.v2.id, "i2", instead_of="i1")
        seen.append(tx.get(ALERTS.name, kept.v2.id))
        return [None if each is None else (each.etag, inner(each)["incidentIds"]) for each in seen]

    assert await store.write(work, actor="t") == [(before, ["i1"]), (before, ["i2"])]
    told = await any_store.changes(head, limit=9)
    assert [each.collection for each in told] == [ALERTS_V2.name, ALERTS_V2.name]


async def test_a_legacy_document_that_names_its_incident_itself_follows(any_store: Store) -> None:
    """As programs wrote it before they read it with that of today's face."""
    store = any_store.tenant(TENANT)
    for id in ("i1", "i2"):
        await incident(store, id)
    (kept,) = await put(store, state(incident="i1"))
    id = kept.v2.id

    def as_before(tx: Tx) -> None:
        today = tx.get(ALERTS_V2.name, id)
        assert today is not None
        tx.put(draft(ALERTS, faces.of_old(state_of(today)), id, state=None))

    await store.write(as_before, actor="t")
    assert (await doc(store, id, ALERTS.name))["incidentIds"] == ["i1"]
    assert await store.write(lambda tx: place_alert(tx, id, "i2", instead_of="i1"), actor="t")
    assert (await doc(store, id, ALERTS.name))["incidentIds"] == ["i2"]
    assert await store.write(lambda tx: place_alert(tx, id, "i1", instead_of="i2"), actor="t")
    assert (await doc(store, id, ALERTS.name))["incidentIds"] == ["i1"]


def _in_incident(put_into: Callable[[Tx, str, str], object], id: str, tx: Tx) -> None:
    put_into(tx, id, "i1")


def _steady(row: Stored | None) -> list[Any]:
    """All but what every write gives anew."""
    assert row is not None
    texts = [json.loads(text) for text in (row.doc, row.wire("beta"), row.state or b"{}")]
    for text in texts:
        assert text.get("@odata.etag", row.etag) == row.etag
        assert text.get("lastUpdateDateTime", row.updated) == row.updated
        assert text.get("createdDateTime", row.created) == row.created
        for name in ("@odata.etag", "createdDateTime", "lastUpdateDateTime", "lastModifiedDateTime"):
            text.pop(name, None)
    return [*texts, row.evolvable]


async def test_an_incident_that_is_not_there_is_no_error(store: Store) -> None:
    tenant = store.tenant(TENANT)
    (kept,) = await put(tenant, state(incident="elsewhere"))
    assert (await doc(tenant, kept.v2.id))["incidentId"] == "elsewhere"
    assert await tenant.write(lambda tx: touch_incident(tx, "elsewhere"), actor="t") is None


async def test_raw_records_of_each_version_are_kept(store: Store) -> None:
    tenant = store.tenant(TENANT)
    (kept,) = await put(tenant, state(), raw=b"first")
    second = prepare(state(title="second"), raw=b"second", raw_sha256="cd" * 32)
    await tenant.write(lambda tx: store_alert(tx, second), actor="t")
    await put(tenant, state(title="second"), raw=b"repeat")
    assert await tenant.attachment(ALERTS_V2.name, kept.v2.id, "raw") == b"first"
    assert await tenant.attachment(ALERTS_V2.name, kept.v2.id, f"raw:{'cd' * 8}") == b"second"


async def test_state_is_read_back_from_the_document(any_store: Store) -> None:
    store = any_store.tenant(TENANT)
    given = posted.from_old({"title": "T", "hostStates": [{"fqdn": "pc1.example.org"}], "comments": ["a"]}, TENANT, T0)
    (kept,) = await put(store, given)
    assert state_of(kept.v2) == given
    row = await store.get(ALERTS_V2.name, given.id)
    assert row is not None
    assert state_of(row) == given


async def test_an_unknown_type_of_evidence_is_kept_as_it_came(store: Store) -> None:
    tenant = store.tenant(TENANT)
    item = {"@odata.type": "#microsoft.graph.security.quantumEvidence", "spin": [1, {"x": None}]}
    (kept,) = await put(tenant, posted.from_today({"title": "T", "evidence": [item]}, TENANT, T0))
    shown = (await doc(tenant, kept.v2.id))["evidence"][0]
    assert item.items() <= shown.items()
