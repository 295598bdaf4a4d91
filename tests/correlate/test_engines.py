"""The stage on both engines of the store: the same alerts make the same incidents, repeats and suppressions alike."""

from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.correlate.test_kill import TENANT, alerts

from bartizan.auth.audit import AUDITS
from bartizan.correlate.stage import ATTENDED_HOLD_S, CHANGE_S, HOLD_S, CorrelateStage
from bartizan.correlate.suppress import SUPPRESSIONS
from bartizan.correlate.write import ACTOR
from bartizan.errors import Conflict
from bartizan.model import faces
from bartizan.model.faces import provider_faces
from bartizan.model.workflow import Who
from bartizan.store import Collection, Query, Store, Tx, draft, open_store
from bartizan.store.alerts import (
    ALERTS_V2,
    COLLECTIONS,
    INCIDENTS,
    change_alert,
    move_alert,
    prepare,
    state_of,
    store_alerts,
    suppress_alert,
)

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def opened(target: Path | str) -> Store:
    store = open_store(target, (*COLLECTIONS, SUPPRESSIONS))
    await store.start()
    return store


async def lived(store: Store) -> dict[str, Any]:
    """A life: alerts of which one detector is suppressed and which repeat, a head resolved, an alert moved, a new stage
    each time; what is in the store at its end, without stamps.
    """
    tenant = store.tenant(TENANT)
    rule = {"displayName": "Chatty", "filter": "detectorId eq 'chatty'", "reason": "known", "isEnabled": True,
            "expirationDateTime": "2999-01-01T00:00:00.0000000Z", "suppressedAlerts": 0}  # fmt: skip
    await tenant.write(lambda tx: tx.put(draft(SUPPRESSIONS, rule, "rule")), actor="test")
    ready = [prepare(provider_faces(each, TENANT, None)) for each in alerts()]
    for start in range(0, len(ready), 40):
        part = ready[start : start + 40]
        await tenant.write(partial(store_alerts, prepared=part), actor="test")
        await run(store)
    found = await bodies(store)
    head = next(one for one in found.values() if faces.FOLDED in (one["additionalData"] or {}))["id"]
    hidden = [one["id"] for one in found.values() if faces.SUPPRESSION in (one["additionalData"] or {})]
    moved = next(one for one in found.values() if one["incidentId"] and one["id"] != head)["id"]
    here = next(one["incidentId"] for one in found.values() if one["id"] == moved)
    target = next(one["incidentId"] for one in found.values() if one["incidentId"] not in (None, here))

    def work(tx: Tx) -> None:
        change_alert(tx, head, {"status": "resolved", "classification": "falsePositive"}, "v2", Who("app"))
        move_alert(tx, moved, target)
        suppress_alert(tx, hidden[0], None)

    await tenant.write(work, actor="analyst")
    await run(store)
    rows = (await tenant.page(INCIDENTS.name, Query(top=1_000, version="beta"))).rows
    what = {row.id: msgspec.json.decode(row.doc)["summary"] for row in rows}
    whole = await tenant.ahead(ALERTS_V2.name, [one["id"] for one in (await bodies(store)).values()])
    states = {id: state_of(one.stored) for id, one in whole.items() if one.stored is not None}
    links = {id: {**each.link, "createdDateTime": None} for id, each in states.items() if each.link is not None}
    kept = await tenant.get(SUPPRESSIONS.name, "rule")
    assert kept is not None and hidden
    told = {id: (one["incidentId"], one["status"], one["additionalData"]) for id, one in (await bodies(store)).items()}
    return {
        "alerts": told,
        "incidents": what,
        "links": links,
        "hidden": msgspec.json.decode(kept.doc)["suppressedAlerts"],
    }


async def bodies(store: Store) -> dict[str, Any]:
    rows = (await store.tenant(TENANT).page(ALERTS_V2.name, Query(top=1_000))).rows
    return {body["providerAlertId"]: body for row in rows for body in [msgspec.json.decode(row.doc)]}


async def run(store: Store) -> None:
    stage = CorrelateStage(store, step_changes=20)
    while await stage.step():
        pass


async def test_both_engines_end_in_the_same_state(tmp_path: Path, postgres_dsn: str) -> None:
    ends = []
    for target in (tmp_path, postgres_dsn):
        store = await opened(target)
        try:
            ends.append(await lived(store))
        finally:
            await store.close()
    assert ends[0] == ends[1]
    assert ends[0]["hidden"] > 1 and len(ends[0]["incidents"]) > 1 and ends[0]["links"]


async def test_a_second_stage_takes_over_without_doing_anything_twice(postgres_dsn: str) -> None:
    """Of two processes that hold the same position, the second finds that it has moved, and reads anew."""
    first, second = await opened(postgres_dsn), await opened(postgres_dsn)
    try:
        made = [prepare(provider_faces(each, TENANT, None)) for each in alerts()]
        await first.tenant(TENANT).write(lambda tx: store_alerts(tx, made[:60]), actor="test")
        one, other = CorrelateStage(first, name="one"), CorrelateStage(second, name="other")
        for stage in (one, other):
            while await stage.step():
                pass
        await first.tenant(TENANT).write(lambda tx: store_alerts(tx, made[60:]), actor="test")
        while await one.step():
            pass
        with pytest.raises(Conflict):
            await other.step()
        while await other.step():
            pass
        changes = await first.changes(0, limit=5_000, collections=[INCIDENTS.name])
        born = [change.id for change in changes if change.actor == ACTOR and change.op == "created"]
        assert len(born) == len(set(born)) > 0
    finally:
        await first.close()
        await second.close()


async def test_a_stage_that_is_behind_sees_who_writes_now(postgres_dsn: str, tmp_path: Path) -> None:
    """Its steps are short as soon as a second tenant has written, not when it has come to what that one wrote."""
    for target in (tmp_path, postgres_dsn):
        store = await opened(target)
        try:
            made = [prepare(provider_faces(each, TENANT, None)) for each in alerts()]
            await store.tenant(TENANT).write(partial(store_alerts, prepared=made), actor="test")
            stage = CorrelateStage(store)
            assert await stage.step(10) == 10 and not stage._crowded()
            late = [prepare(provider_faces(alerts()[0], "late", None))]
            await store.tenant("late").write(partial(store_alerts, prepared=late), actor="test")
            assert await stage.step(10) == 10 and stage._crowded()
        finally:
            await store.close()


async def test_steps_are_short_while_somebody_works_and_not_for_sign_ins(tmp_path: Path) -> None:
    store = open_store(tmp_path, (*COLLECTIONS, SUPPRESSIONS, Collection(AUDITS)))
    await store.start()
    tenant, stage = store.tenant(TENANT), CorrelateStage(store)
    made = [prepare(provider_faces(each, TENANT, None)) for each in alerts()]

    async def size_after(operation: str, at: int) -> int:
        audit = {"id": f"audit{at}", "operationType": operation}
        await tenant.write(lambda tx: tx.put(draft(Collection(AUDITS), audit, f"audit{at}")), actor="app")
        await tenant.write(partial(store_alerts, prepared=made[at : at + 1]), actor="test")
        assert await stage.step()
        stage._change_s = CHANGE_S  # whatever it took here
        return stage._size()

    try:
        await tenant.write(partial(store_alerts, prepared=made[:1]), actor="test")
        assert await stage.step()
        assert await size_after("Sign-in", 1) == round(HOLD_S / CHANGE_S)
        assert await size_after("Update", 2) == round(ATTENDED_HOLD_S / CHANGE_S)
    finally:
        await store.close()


async def test_what_the_stage_wrote_itself_makes_no_step_shorter(tmp_path: Path) -> None:
    """Its own changes lie between those of others and are passed over: a step has as many of others as it may."""
    store = await opened(tmp_path)
    try:
        made = [prepare(provider_faces(each, TENANT, None)) for each in alerts()]
        stage = CorrelateStage(store)
        for start in (0, 40):
            await store.tenant(TENANT).write(partial(store_alerts, prepared=made[start : start + 40]), actor="test")
            taken = await stage.step(40)
        own = [change for change in await store.changes(0, limit=5_000) if change.actor == ACTOR]
        assert own and taken > 40
        while await stage.step(40):
            pass
        assert len(own) == len([each for each in await store.changes(0, limit=5_000) if each.actor == ACTOR])
    finally:
        await store.close()
