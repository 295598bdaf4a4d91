"""Sign-ins and audits on their way from the store to the lake."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bartizan.errors import StorageFull, TooLarge, Unavailable
from bartizan.ingest import copy
from bartizan.ingest.copy import CopyStage
from bartizan.lake.buffer import Lake, open_lake
from bartizan.store import Collection, Column, Draft, Store, Tx, draft, follow, inner, open_store

pytestmark = pytest.mark.anyio

SIGN_INS = Collection("signIns", "microsoft.graph.signIn")
AUDITS = Collection("directoryAudits", "microsoft.graph.directoryAudit")
NOTES = Collection("notes")
AT = "2026-11-23T04:50:30.0000000Z"
TABLES_OF_ONE = 3  # SigninLogs, EntraIdSignInEvents, IdentityLogonEvents


class Crash(BaseException):
    """As if the process had died here."""


@pytest.fixture
async def lake(target: str) -> AsyncIterator[Lake]:
    lake = open_lake(target)
    await lake.start()
    yield lake
    await lake.close()


@pytest.fixture
async def store(target: str) -> AsyncIterator[Store]:
    store = open_store(target, (SIGN_INS, AUDITS, NOTES))
    await store.start()
    yield store
    await store.close()


def sign_in(id: str, **more: Any) -> Draft:
    return draft(SIGN_INS, {"createdDateTime": AT, "userPrincipalName": "ann@example.org", **more}, id)


def audit(id: str) -> Draft:
    return draft(AUDITS, {"activityDateTime": AT, "activityDisplayName": "Do"}, id)


async def put(store: Store, tenant: str, *drafts: Draft) -> None:
    def work(tx: Tx) -> None:
        for each in drafts:
            tx.put(each)

    await store.tenant(tenant).write(work, actor="test")


async def copied(lake: Lake, tenant: str, table: str = "SigninLogs") -> list[str]:
    batches = await lake.read_after(0, limit_rows=10**6, limit_bytes=2**30, tenant=tenant, table=table)
    return [row["Id"] for batch in batches for row in batch.rows()]


async def all_steps(stage: CopyStage) -> int:
    taken = 0
    while count := await stage.step():
        taken += count
    return taken


async def test_what_is_created_is_copied_to_its_tenants_tables(store: Store, lake: Lake) -> None:
    await put(store, "t1", sign_in("s1"), audit("a1"))
    await put(store, "t2", sign_in("s2", riskState="atRisk"))
    await put(store, "t1", sign_in("s3"), draft(NOTES, {"x": 1}, "n1"))
    assert await all_steps(CopyStage(store, lake)) == 4
    assert await copied(lake, "t1") == ["s1", "s3"] and await copied(lake, "t2") == ["s2"]
    assert await copied(lake, "t1", "AuditLogs") == ["a1"]
    (batch,) = await lake.read_after(0, limit_rows=9, limit_bytes=2**20, tenant="t2", table="SigninLogs")
    (row,) = batch.rows()
    assert (row["TimeGenerated"], row["RiskState"], row["AADTenantId"]) == (AT, "atRisk", "t2")
    assert await CopyStage(store, lake).step() == 0


async def test_only_creation_is_copied(store: Store, lake: Lake) -> None:
    stage = CopyStage(store, lake)
    await put(store, "t1", sign_in("s1"), sign_in("gone"))
    await put(store, "t1", sign_in("s1", riskState="dismissed"))
    await store.tenant("t1").write(lambda tx: tx.delete("signIns", "gone"), actor="test")
    await all_steps(stage)
    await put(store, "t1", sign_in("s1", riskState="confirmedSafe"))
    assert await all_steps(stage) > 0
    assert await copied(lake, "t1") == ["s1"]


ALERTS = Collection("alerts_v2", "microsoft.graph.security.alert", columns=(Column("incidentId"),))
INCIDENTS = Collection("incidents", "microsoft.graph.security.incident")
INDICATORS = Collection("tiIndicators", "microsoft.graph.tiIndicator", versions=("beta",))


async def rows_of(lake: Lake, table: str) -> list[dict[str, Any]]:
    batches = await lake.read_after(0, limit_rows=10**6, limit_bytes=2**30)
    return [row for batch in batches if batch.table == table for row in batch.rows()]


@pytest.fixture
async def alerts(target: str) -> AsyncIterator[Store]:
    store = open_store(target, (ALERTS, INCIDENTS, INDICATORS))
    await store.start()
    yield store
    await store.close()


async def test_what_has_states_is_copied_with_each_change(alerts: Store, lake: Lake) -> None:
    """An alert once in AlertInfo, each of its states in SecurityAlert; an incident with its alerts; what was deleted
    is told."""
    stage = CopyStage(alerts, lake)
    await put(alerts, "t1", draft(ALERTS, {"status": "new", "severity": "low"}, "a1"))
    await all_steps(stage)
    for status in ("inProgress", "resolved"):  # read together: the last one counts
        await put(alerts, "t1", draft(ALERTS, {"status": status, "severity": "high", "incidentId": "i1"}, "a1"))
    await put(alerts, "t1", draft(INCIDENTS, {"status": "active"}, "i1"), draft(INDICATORS, {"action": "alert"}, "x"))
    await put(alerts, "t2", draft(INCIDENTS, {"status": "active"}, "i1"))
    await all_steps(stage)
    await alerts.tenant("t1").write(lambda tx: tx.delete("tiIndicators", "x"), actor="test")
    await all_steps(stage)
    batches = await lake.read_after(0, limit_rows=10**6, limit_bytes=2**30)
    found = [(batch.tenant, batch.table, row) for batch in batches for row in batch.rows()]
    tables = [(tenant, table) for tenant, table, _ in found]
    assert tables.count(("t1", "AlertInfo")) == 1
    states = [row["Status"] for _, table, row in found if table == "SecurityAlert"]
    assert states == ["New", "Resolved"]
    named = [(tenant, row["AlertIds"]) for tenant, table, row in found if table == "SecurityIncident"]
    assert sorted(named) == [("t1", ["a1"]), ("t2", [])]
    active = [row.get("Active") for _, table, row in found if table == "ThreatIntelligenceIndicator"]
    assert active == [None, False]


def moving(made: Draft, changed: dict[str, tuple[Any, Any]] | None, tx: Tx) -> None:
    tx.put(made, changed=changed)


async def test_an_alert_that_moves_to_an_incident_has_no_further_row(alerts: Store, lake: Lake) -> None:
    """No column shows the incident; whatever else changes with it is shown."""
    stage = CopyStage(alerts, lake)
    moved: dict[str, tuple[Any, Any]] = {"incidentId": (None, "i1")}
    for body, changed in (
        ({"status": "new"}, None),
        ({"status": "new", "incidentId": "i1"}, moved),
        ({"status": "resolved", "incidentId": "i1"}, moved | {"status": ("new", "resolved")}),
    ):
        await alerts.tenant("t1").write(partial(moving, draft(ALERTS, body, "a1"), changed), actor="test")
        await all_steps(stage)
    batches = await lake.read_after(0, limit_rows=10**6, limit_bytes=2**30)
    rows = [row for batch in batches if batch.table == "SecurityAlert" for row in batch.rows()]
    assert [row["Status"] for row in rows] == ["New", "Resolved"]


async def test_a_new_alert_waits_for_correlation_and_is_copied_once(alerts: Store, lake: Lake) -> None:
    """What correlation says of it is in the copy, and no second copy says it again; later changes have theirs."""
    await alerts.advance("correlate", 0)
    stage = CopyStage(alerts, lake)
    await put(alerts, "t1", draft(ALERTS, {"status": "new"}, "a1"))
    made = await alerts.head()
    step = asyncio.create_task(stage.step())
    await asyncio.sleep(3 * copy.LOOK_S)
    assert not step.done()
    assert await rows_of(lake, "AlertInfo") == []
    await put(alerts, "t1", draft(ALERTS, {"status": "new", "additionalData": {"foldedIntoAlertId": "a0"}}, "a1"))
    await alerts.advance("correlate", made)
    await step
    await all_steps(stage)
    (row,) = await rows_of(lake, "SecurityAlert")
    assert "a0" in row["ExtendedProperties"]
    await put(alerts, "t1", draft(ALERTS, {"status": "resolved"}, "a1"))
    await all_steps(stage)
    assert [row["Status"] for row in await rows_of(lake, "SecurityAlert")] == ["New", "Resolved"]


async def test_alerts_are_copied_while_correlation_stands_still(
    alerts: Store, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copy, "SETTLE_S", 0.1)
    await alerts.advance("correlate", 0)
    stage = CopyStage(alerts, lake)
    for id in ("a1", "a2"):
        await put(alerts, "t1", draft(ALERTS, {"status": "new"}, id))
        await all_steps(stage)
        monkeypatch.setattr(copy, "SETTLE_S", 1_000.0)  # no second alert waits
    assert len(await rows_of(lake, "AlertInfo")) == 2


async def test_an_incident_that_keeps_changing_is_copied_now_and_then(
    alerts: Store, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of changes that come quickly some have no row of their own; the last one always has."""
    monkeypatch.setattr(copy, "STEP_CHANGES", 1)
    monkeypatch.setattr(copy, "INCIDENT_S", 1_000.0)
    stage = CopyStage(alerts, lake)

    async def renamed(name: str) -> None:
        await put(alerts, "t1", draft(INCIDENTS, {"status": "active", "displayName": name}, "i1"))

    async def told() -> list[str]:
        await all_steps(stage)
        return [row["Title"] for row in await rows_of(lake, "SecurityIncident")]

    await renamed("a")
    assert await told() == ["a"]
    for name in "bcd":
        await renamed(name)
    assert await told() == ["a", "d"]
    monkeypatch.setattr(copy, "INCIDENT_S", 0.0)
    for name in "ef":
        await renamed(name)
        assert (await told())[-1] == name


async def test_what_was_not_appended_is_copied_again(
    alerts: Store, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step that fails leaves nothing behind that says otherwise."""
    stage = CopyStage(alerts, lake)
    await put(alerts, "t1", draft(ALERTS, {"status": "new"}, "a1"))
    await all_steps(stage)
    await put(alerts, "t1", draft(ALERTS, {"status": "resolved"}, "a1"))
    append = lake.append

    async def full(*args: Any, **more: Any) -> Any:
        raise StorageFull("no room")

    monkeypatch.setattr(lake, "append", full)
    with pytest.raises(StorageFull):
        await stage.step()
    monkeypatch.setattr(lake, "append", append)
    await all_steps(stage)
    assert [row["Status"] for row in await rows_of(lake, "SecurityAlert")] == ["New", "Resolved"]


class Dies:
    """A store in which the stage dies before its cursor moves."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def advance(self, name: str, seq: int) -> None:
        if seq:
            raise Crash


async def test_a_crash_between_append_and_advance(store: Store, lake: Lake) -> None:
    """What was appended is not appended again, though more has come and the next batch has other bounds."""
    await put(store, "t1", sign_in("s1"), sign_in("s2"))
    await put(store, "t2", sign_in("s3"))
    with pytest.raises(Crash):
        await CopyStage(Dies(store), lake).step()
    assert await copied(lake, "t1") == ["s1", "s2"]
    await put(store, "t1", sign_in("s4"))
    await put(store, "t3", sign_in("s5"))
    with pytest.raises(Crash):
        await CopyStage(Dies(store), lake).step()
    await all_steps(CopyStage(store, lake))
    assert [await copied(lake, tenant) for tenant in ("t1", "t2", "t3")] == [["s1", "s2", "s4"], ["s3"], ["s5"]]


class DiesAtSecond:
    """A lake at whose second append the process dies: one tenant's rows are there, the other's are not."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._appends = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lake, name)

    async def append(self, *args: Any, **more: Any) -> int:
        self._appends += 1
        if self._appends == 2:
            raise Crash
        return await self._lake.append(*args, **more)


async def test_a_crash_between_two_tenants(store: Store, lake: Lake) -> None:
    await put(store, "t1", sign_in("s1"))
    await put(store, "t2", sign_in("s2"))
    await put(store, "t1", sign_in("s3"))
    with pytest.raises(Crash):
        await CopyStage(store, DiesAtSecond(lake)).step()
    assert (await copied(lake, "t1"), await copied(lake, "t2")) == (["s1", "s3"], [])
    await all_steps(CopyStage(store, lake))
    assert (await copied(lake, "t1"), await copied(lake, "t2")) == (["s1", "s3"], ["s2"])


async def test_two_stages_at_once_copy_once(store: Store, lake: Lake) -> None:
    for number in range(30):
        await put(store, "t1", sign_in(f"s{number:02}"))
    first, second = CopyStage(store, lake), CopyStage(store, lake)
    await asyncio.gather(first.step(), second.step(), return_exceptions=True)
    await all_steps(first)
    assert sorted(await copied(lake, "t1")) == [f"s{number:02}" for number in range(30)]


async def test_many_are_taken_in_bounded_steps(store: Store, lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copy, "STEP_CHANGES", 7)
    await put(store, "t1", *(sign_in(f"s{number:02}") for number in range(20)))
    stage = CopyStage(store, lake)
    assert [await stage.step() for _ in range(4)] == [7, 7, 6, 0]
    assert await copied(lake, "t1") == [f"s{number:02}" for number in range(20)]


async def test_the_cursor_follows_others_changes_so_that_retention_can(
    store: Store, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "IDLE_CHANGES", 10)
    stage = CopyStage(store, lake)
    assert await stage.step() == 0 and await store.cursor("copy") == 0
    await put(store, "t1", *(draft(NOTES, {"x": n}, f"n{n}") for n in range(9)))
    assert await stage.step() == 0 and await store.cursor("copy") == 0
    await put(store, "t1", draft(NOTES, {"x": 1}, "n9"))
    assert await stage.step() == 0 and await store.cursor("copy") == await store.head()


async def test_a_store_that_was_set_back_is_copied_anew(tmp_path: Path, lake: Lake) -> None:
    """Restored from a backup, its numbers are given again: its documents are copied all the same."""
    old = open_store(tmp_path / "old", (SIGN_INS,))
    await old.start()
    for number in range(8):
        await put(old, "t1", sign_in(f"old{number}"))
    await all_steps(CopyStage(old, lake))
    await old.close()
    new = open_store(tmp_path / "new", (SIGN_INS,))
    await new.start()
    for number in range(3):
        await put(new, "t1", sign_in(f"new{number}"))
    await all_steps(CopyStage(new, lake))
    await new.close()
    assert (await copied(lake, "t1"))[8:] == ["new0", "new1", "new2"]


class Refuses:
    """A lake that refuses one document."""

    def __init__(self, lake: Lake, bad: str) -> None:
        self._lake = lake
        self._bad = bad

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lake, name)

    async def append(self, tenant: str, rows: Sequence[tuple[str, Any]], **more: Any) -> int:
        if any(row.get("Id") == self._bad for _, row in rows):
            raise TooLarge("a row is too large")
        return await self._lake.append(tenant, rows, **more)


async def test_one_that_the_lake_refuses_holds_up_no_other(store: Store, lake: Lake) -> None:
    await put(store, "t1", *(sign_in(f"s{number}") for number in range(7)))
    await all_steps(CopyStage(store, Refuses(lake, "s4")))
    assert await copied(lake, "t1") == ["s0", "s1", "s2", "s3", "s5", "s6"]


class Fails:
    """A lake that is full, then away, then well."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self.errors: list[Exception] = [StorageFull("the disk is full"), Unavailable("away")]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lake, name)

    async def append(self, *args: Any, **more: Any) -> int:
        if self.errors:
            raise self.errors.pop(0)
        return await self._lake.append(*args, **more)


async def test_it_runs_until_it_is_cancelled_and_waits_out_what_passes(
    store: Store, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow, "PAUSE_S", 0.01)
    monkeypatch.setattr(follow, "MAX_PAUSE_S", 0.01)
    failing = Fails(lake)
    running = asyncio.create_task(CopyStage(store, failing).run())
    for number in range(3):
        await put(store, "t1", sign_in(f"s{number}"))
        async with asyncio.timeout(10):
            while await lake.head() < TABLES_OF_ONE * (number + 1):
                await store.changed()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not failing.errors and await copied(lake, "t1") == ["s0", "s1", "s2"]


async def test_what_the_store_keeps_beyond_its_wire_is_there_too(store: Store, lake: Lake) -> None:
    """The inner form is copied, as the store gives it."""
    await put(store, "t1", sign_in("s1", status={"errorCode": 0}, deviceDetail={"browser": "Edge"}))
    row = await store.tenant("t1").get("signIns", "s1")
    assert row is not None and inner(row)["deviceDetail"]["browser"] == "Edge"
    await all_steps(CopyStage(store, lake))
    (batch,) = await lake.read_after(0, limit_rows=9, limit_bytes=2**20, table="SigninLogs")
    (made,) = batch.rows()
    assert made["DeviceDetail"]["browser"] == "Edge" and made["ResultType"] == "0"


async def test_a_feed_that_was_cut_is_a_gap_not_a_standstill(store: Store, lake: Lake) -> None:
    """Where retention has passed the cursor, the stage goes on with the first change that is still kept."""
    later = datetime.now(UTC) + timedelta(days=30)
    await put(store, "t1", sign_in("lost1"), sign_in("lost2"))
    assert await store.retain(later) == 2
    await put(store, "t1", sign_in("s3"))
    await all_steps(CopyStage(store, lake))
    await put(store, "t1", sign_in("s4"))
    await all_steps(CopyStage(store, lake))
    assert await copied(lake, "t1") == ["s3", "s4"]


async def test_retention_waits_for_a_stage_that_has_not_begun(store: Store, lake: Lake) -> None:
    """Its cursor stands before anything is removed: what was stored before the first start is copied."""
    stage = CopyStage(store, lake)
    await put(store, "t1", sign_in("s1"))
    assert await stage.register() == 0
    assert await store.retain(datetime.now(UTC) + timedelta(days=30)) == 0
    await all_steps(stage)
    assert await copied(lake, "t1") == ["s1"] and await stage.register() == await store.head()
