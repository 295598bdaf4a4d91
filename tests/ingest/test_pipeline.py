"""The path of a bulk: what is stored, what is a repeat, what happens when something fails."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.ingest.conftest import NOW, PLAIN, SIGN_INS, TENANT, Lake

from bartizan.errors import BadRequest, NotFound, StorageFull, TooLarge, Unavailable
from bartizan.ingest.pipeline import CROWDED_RECORDS, MADE_AHEAD, TURN_RECORDS, WRITE_RECORDS, Pipeline, Receipt
from bartizan.model.workflow import Who
from bartizan.store import Query, Store, Tx
from bartizan.store.alerts import ALERTS, ALERTS_V2, change_alert

pytestmark = pytest.mark.anyio


def body(*records: Any) -> bytes:
    return b"\n".join(one if isinstance(one, bytes) else json.dumps(one).encode() for one in records)


async def send(pipeline: Pipeline, *records: Any, tenant: str = TENANT) -> Receipt:
    return await pipeline.receive(tenant, "plain_test", body(*records), actor="tester")


async def wire(store: Store, id: str, collection: str = ALERTS_V2.name, tenant: str = TENANT) -> dict[str, Any]:
    row = await store.tenant(tenant).get(collection, id)
    assert row is not None
    found: dict[str, Any] = json.loads(row.doc)
    return found


async def test_a_new_alert_is_readable_in_both_faces_with_its_raw_bytes(any_store: Store, lake: Lake) -> None:
    pipeline = Pipeline(any_store, lake, sources={"plain_test": PLAIN}, clock=lambda: NOW)
    raw = b'{"id": 1,  "title": "T", "hosts": ["pc1"]}'
    receipt = await send(pipeline, raw)
    assert (receipt.accepted, receipt.repeats, receipt.events, len(receipt.ids)) == (1, 0, 0, 1)
    (id,) = receipt.ids
    today, old = await wire(any_store, id), await wire(any_store, id, ALERTS.name)
    assert (today["title"], today["tenantId"], today["productName"]) == ("T", TENANT, "Acme Plain")
    assert old["hostStates"][0]["netBiosName"] == "pc1"
    assert old["vendorInformation"] == {
        "provider": "Plain",
        "providerVersion": None,
        "subProvider": None,
        "vendor": "Acme",
    }
    assert today["createdDateTime"] > "2020"
    assert old["createdDateTime"] > "2020"
    assert await any_store.tenant(TENANT).attachment(ALERTS_V2.name, id, "raw") == raw
    found = await any_store.tenant(TENANT).entity("host", "PC1", collection=ALERTS_V2.name)
    assert [one[1] for one in found] == [id]


async def test_the_same_bulk_again_is_all_repeats_and_changes_nothing(
    pipeline: Pipeline, store: Store, lake: Lake
) -> None:
    records = [{"id": 1, "title": "a"}, {"event": "x", "user": "ann"}, {"signin": "s1"}, b"plain text"]
    first = await send(pipeline, *records)
    assert (first.accepted, first.repeats, first.events, len(first.ids)) == (4, 0, 2, 1)
    head, rows = await store.head(), list(lake.rows)
    second = await send(pipeline, *records)
    assert (second.accepted, second.repeats, second.events, second.ids) == (0, 4, 0, first.ids)
    assert await store.head() == head
    assert lake.rows == rows


async def test_a_repeat_inside_a_bulk_is_one(pipeline: Pipeline, lake: Lake) -> None:
    receipt = await send(pipeline, {"id": 1, "title": "a"}, {"id": 1, "title": "a"}, {"event": "x"}, {"event": "x"})
    assert (receipt.accepted, receipt.repeats, receipt.events) == (2, 2, 1)
    assert receipt.ids == [receipt.ids[0]] * 2
    assert len(lake.rows) == 1


async def test_other_bytes_with_the_same_content_are_a_repeat(pipeline: Pipeline) -> None:
    await send(pipeline, b'{"id":1,"title":"a"}')
    receipt = await send(pipeline, b'{ "title": "a", "id": 1 }')
    assert (receipt.accepted, receipt.repeats) == (0, 1)


async def test_a_known_id_with_new_content_is_the_next_version(pipeline: Pipeline, store: Store) -> None:
    first = await send(pipeline, {"id": 1, "title": "a", "hosts": ["pc1"]})
    later = await send(pipeline, {"id": 1, "title": "b", "hosts": ["pc2"]})
    assert (later.accepted, later.repeats, later.ids) == (1, 0, first.ids)
    today = await wire(store, first.ids[0])
    assert today["title"] == "b"
    assert [one["hostName"] for one in today["evidence"]] == ["pc1", "pc2"]
    again = await send(pipeline, {"id": 1, "title": "a", "hosts": ["pc1"]}, {"id": 1, "title": "b", "hosts": ["pc2"]})
    assert (again.accepted, again.repeats) == (0, 2)
    assert (await wire(store, first.ids[0]))["title"] == "b"


async def test_what_an_analyst_said_outlives_repeats_and_yields_to_a_change(pipeline: Pipeline, store: Store) -> None:
    (id,) = (await send(pipeline, {"id": 1, "title": "a"})).ids
    who = Who("app", "ann@example.org", "Ann")
    await store.tenant(TENANT).write(
        lambda tx: change_alert(tx, id, {"status": "inProgress"}, "v2", who), actor="ann@example.org"
    )
    await send(pipeline, {"id": 1, "title": "a"})
    assert (await wire(store, id))["status"] == "inProgress"
    await send(pipeline, {"id": 1, "title": "a2"})
    assert (await wire(store, id))["status"] == "inProgress"
    await send(pipeline, {"id": 1, "title": "a2", "status": "resolved"})
    assert (await wire(store, id, ALERTS.name))["status"] == "resolved"


async def test_a_record_that_its_source_cannot_read_is_kept_as_text(pipeline: Pipeline, lake: Lake) -> None:
    receipt = await send(
        pipeline, {"id": 1, "title": "a"}, {"bad": "x", "n": 1}, {"nothing": 1}, {"id": 2, "title": "b"}
    )
    assert (receipt.accepted, receipt.events, len(receipt.ids), receipt.warnings) == (4, 2, 2, 2)
    assert [row["AdditionalFields"]["raw"] for _, table, row in lake.rows] == ['{"bad": "x", "n": 1}', '{"nothing": 1}']
    assert {table for _, table, _ in lake.rows} == {"GenericEvents"}
    assert "KeyError" in lake.rows[0][2]["AdditionalFields"]["error"]
    again = await send(pipeline, {"bad": "x", "n": 1})
    assert (again.accepted, again.repeats, again.events) == (0, 1, 0)


async def test_a_record_that_the_store_cannot_keep_hinders_no_other(
    pipeline: Pipeline, store: Store, lake: Lake
) -> None:
    receipt = await send(pipeline, {"id": 1, "title": "a"}, {"id": 2, "title": "b", "category": "x" * 5_000})
    assert (receipt.accepted, len(receipt.ids), receipt.events) == (2, 1, 1)
    assert '"id": 2' in lake.rows[0][2]["AdditionalFields"]["raw"]
    assert await store.tenant(TENANT).count(ALERTS_V2.name) == 1


async def test_text_that_postgres_cannot_hold_is_kept(any_store: Store, lake: Lake) -> None:
    pipeline = Pipeline(any_store, lake, sources={"plain_test": PLAIN}, clock=lambda: NOW)
    (id,) = (await send(pipeline, {"id": 1, "title": "a\0b", "hosts": ["pc\0"]})).ids
    assert (await wire(any_store, id))["title"] == "a\ufffdb"
    again = await send(pipeline, {"id": 1, "title": "a\0b", "hosts": ["pc\0"]})
    assert again.repeats == 1


async def test_several_alerts_of_one_record_are_counted_as_one_record(pipeline: Pipeline) -> None:
    receipt = await send(pipeline, {"id": 1, "titles": ["a", "b", "c"], "event": "x"})
    assert (receipt.accepted, receipt.events, len(set(receipt.ids))) == (1, 1, 3)
    partly = await send(pipeline, {"id": 1, "titles": ["a", "b", "c", "d"], "event": "x"})
    assert (partly.accepted, len(set(partly.ids))) == (1, 4)


async def test_graph_objects_become_documents(pipeline: Pipeline, store: Store) -> None:
    receipt = await send(pipeline, {"signin": "s1"})
    assert (receipt.accepted, receipt.ids) == (1, [])
    assert (await wire(store, "s1", SIGN_INS.name))["userPrincipalName"] == "ann@example.org"
    assert [one[1] for one in await store.tenant(TENANT).entity("user", "ann@example.org")] == ["s1"]


async def test_rows_of_a_table_that_nobody_declared_are_generic(pipeline: Pipeline, lake: Lake) -> None:
    receipt = await send(pipeline, {"event": "x", "table": "Strange-Table", "at": "2026-01-01T00:00:00.0000000Z"})
    assert receipt.events == 1
    row = {"Kind": "x", "Timestamp": "2026-01-01T00:00:00.0000000Z"}
    generic = {"EventType": "Strange-Table", "Timestamp": "2026-01-01T00:00:00.0000000Z", "AdditionalFields": row}
    assert lake.rows == [(TENANT, "GenericEvents", generic)]


async def test_records_without_time_get_that_of_receipt(pipeline: Pipeline, store: Store) -> None:
    (id,) = (await send(pipeline, {"id": 1, "title": "a"})).ids
    today = await wire(store, id)
    assert today["firstActivityDateTime"] == "2026-11-23T05:00:00.0000000Z"
    assert today["additionalData"]["timeSource"] == "received"


async def test_tenants_are_apart(pipeline: Pipeline, store: Store, lake: Lake) -> None:
    (one,) = (await send(pipeline, {"id": 1, "title": "a"}, {"event": "x"})).ids
    other = await send(pipeline, {"id": 1, "title": "a"}, {"event": "x"}, tenant="tenant-2")
    assert (other.accepted, other.repeats) == (2, 0)
    assert other.ids != [one]
    assert await store.tenant("tenant-2").get(ALERTS_V2.name, one) is None
    assert {tenant for tenant, _, _ in lake.rows} == {TENANT, "tenant-2"}


async def test_a_large_bulk_is_several_writes_and_counts_exactly(pipeline: Pipeline, store: Store) -> None:
    count = 2 * WRITE_RECORDS + 7
    records = [{"id": number, "title": f"t{number}"} for number in range(count)] + [{"id": 0, "title": "t0"}]
    receipt = await send(pipeline, *records)
    assert (receipt.accepted, receipt.repeats, len(receipt.ids)) == (count, 1, count + 1)
    assert await store.tenant(TENANT).count(ALERTS_V2.name) == count
    assert await store.tenant(TENANT).count(ALERTS.name) == count


async def test_a_repeat_in_a_later_turn_of_the_writer_is_one(pipeline: Pipeline, lake: Lake) -> None:
    between = [{"id": number, "title": "t"} for number in range(TURN_RECORDS)]
    receipt = await send(pipeline, {"event": "x"}, *between, {"event": "x"}, {"id": 0, "title": "t"})
    assert (receipt.accepted, receipt.repeats, receipt.events) == (TURN_RECORDS + 1, 2, 1)
    assert len(lake.rows) == 1


class Pace:
    """Others ask from the second part on, for two parts."""

    def __init__(self) -> None:
        self.pauses = 0

    def crowded(self) -> bool:
        return self.pauses < 2

    async def pause(self) -> None:
        self.pauses += 1


async def test_while_others_ask_a_bulk_goes_in_small_parts_with_rests(pipeline: Pipeline, store: Store) -> None:
    pace = Pace()
    count = WRITE_RECORDS + 3 * CROWDED_RECORDS
    content = body(*({"id": n, "title": f"T{n}"} for n in range(count)))
    receipt = await pipeline.receive(TENANT, "plain_test", content, actor="tester", pace=pace)
    assert (receipt.accepted, len(set(receipt.ids)), pace.pauses) == (count, count, 2)
    assert await store.tenant(TENANT).count(ALERTS_V2.name) == count


async def test_an_unknown_source_is_named_with_the_known_ones(pipeline: Pipeline) -> None:
    with pytest.raises(NotFound, match="plain_test"):
        await pipeline.receive(TENANT, "nothing", b"{}", actor="x")


async def test_a_body_that_cannot_be_read_stores_nothing(pipeline: Pipeline, store: Store, lake: Lake) -> None:
    with pytest.raises(BadRequest):
        await pipeline.receive(TENANT, "plain_test", b'[{"id":1,"title":"a"},{"id":', actor="x")
    with pytest.raises(TooLarge):
        await pipeline.receive(TENANT, "plain_test", b'{"id":1,"title":"a"}\n"' + b"x" * 2**21 + b'"', actor="x")
    assert await store.tenant(TENANT).count(ALERTS_V2.name) == 0
    assert lake.rows == []


async def test_a_lake_that_is_away_refuses_the_bulk_and_a_second_try_completes_it(
    pipeline: Pipeline, store: Store, lake: Lake
) -> None:
    lake.down = Unavailable("away")
    with pytest.raises(Unavailable):
        await send(pipeline, {"id": 1, "title": "a"}, {"event": "x"})
    assert await store.tenant(TENANT).count(ALERTS_V2.name) == 0
    lake.down = None
    receipt = await send(pipeline, {"id": 1, "title": "a"}, {"event": "x"})
    assert (receipt.accepted, receipt.events) == (2, 1)


class Failing:
    """A store whose next writes fail as told."""

    def __init__(self, store: Store, error: Exception) -> None:
        self._store = store
        self.error: Exception | None = error

    def tenant(self, tenant: str) -> Any:
        outer, inner = self, self._store.tenant(tenant)

        class Tenant:
            page = staticmethod(inner.page)

            async def write(self, work: Callable[[Tx], Any], *, actor: str, bulk: bool = False) -> Any:
                if outer.error is not None:
                    raise outer.error
                return await inner.write(work, actor=actor)

        return Tenant()


async def test_a_full_disk_passes_and_a_second_try_completes_the_bulk(store: Store, lake: Lake) -> None:
    failing: Any = Failing(store, StorageFull("full"))
    pipeline = Pipeline(failing, lake, sources={"plain_test": PLAIN}, clock=lambda: NOW)
    with pytest.raises(StorageFull):
        await send(pipeline, {"id": 1, "title": "a"}, {"event": "x"})
    failing.error = None
    receipt = await send(pipeline, {"id": 1, "title": "a"}, {"event": "x"})
    assert receipt.accepted == 2
    assert [row[2]["Kind"] for row in lake.rows] == ["x"]  # it was durable before the disk was full
    assert not lake.named  # nothing is kept of a bulk that is complete


async def test_bulks_that_fail_or_are_given_up_leave_room(
    store: Store, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bartizan.ingest.pipeline.WRITE_RECORDS", 2)
    failing: Any = Failing(store, StorageFull("full"))
    pipeline = Pipeline(failing, lake, sources={"plain_test": PLAIN}, clock=lambda: NOW)
    records = [{"id": number, "title": "t"} for number in range(9)]
    for steps in range(3 * MADE_AHEAD):
        with pytest.raises(StorageFull):
            await send(pipeline, *records)
        given_up = asyncio.create_task(send(pipeline, *records))
        for _ in range(steps):
            await asyncio.sleep(0.001)
        given_up.cancel()
        with pytest.raises((asyncio.CancelledError, StorageFull)):
            await given_up
    failing.error = None
    async with asyncio.timeout(60):
        receipts = await asyncio.gather(*(send(pipeline, *records) for _ in range(2 * MADE_AHEAD)))
    assert sum(one.accepted for one in receipts) == len(records)


@pytest.mark.parametrize("most", [1, 7])
async def test_more_rows_than_the_lake_takes_at_once_go_in_parts(pipeline: Pipeline, lake: Lake, most: int) -> None:
    lake.most = most
    receipt = await send(pipeline, *({"event": f"e{number}"} for number in range(20)))
    assert (receipt.accepted, receipt.events) == (20, 20)
    assert [row[2]["Kind"] for row in lake.rows] == [f"e{number}" for number in range(20)]


async def test_bulks_at_once_lose_and_double_nothing(pipeline: Pipeline, store: Store) -> None:
    bulks = [[{"id": f"{k % 3}-{n}", "title": "t"} for n in range(20)] for k in range(9)]
    receipts = await asyncio.gather(*(send(pipeline, *bulk) for bulk in bulks))
    assert sum(one.accepted for one in receipts) == 60
    assert sum(one.repeats for one in receipts) == 120
    page = await store.tenant(TENANT).page(ALERTS_V2.name, Query(top=100, count=True))
    assert page.count == 60


async def test_the_clock_is_asked_for_each_write(store: Store, lake: Lake) -> None:
    times = iter([NOW, datetime(2026, 11, 23, 6, tzinfo=UTC)])
    pipeline = Pipeline(store, lake, sources={"plain_test": PLAIN}, clock=lambda: next(times))
    receipt = await send(pipeline, *({"id": number, "title": "t"} for number in range(WRITE_RECORDS + 1)))
    last = await wire(store, receipt.ids[-1])
    assert last["firstActivityDateTime"] == "2026-11-23T06:00:00.0000000Z"
