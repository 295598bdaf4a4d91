"""The durable, sequenced buffer: one suite on both engines."""

import asyncio
import json
from typing import Any

import pytest
from tests.lake.conftest import Opener

from bartizan.errors import BadRequest, Conflict, TooLarge, Unavailable
from bartizan.lake import readers
from bartizan.lake.buffer import BATCH_BYTES, MAX_APPEND_ROWS, MAX_ROW_BYTES, Batch, Lake, Sizes
from bartizan.lake.coerce import coerce

pytestmark = pytest.mark.anyio

T = "2026-11-23T04:50:30.1234567Z"
ALL = {"limit_rows": 1_000_000, "limit_bytes": 2**40}
Rows = list[tuple[str, dict[str, Any]]]


def event(number: int, table: str = "DeviceEvents", **columns: Any) -> tuple[str, dict[str, Any]]:
    return (table, {"Timestamp": f"2026-11-23T04:50:{number % 60:02}.0000000Z", "ReportId": number, **columns})


def numbers(batches: list[Batch]) -> list[int]:
    return [row["ReportId"] for batch in batches for row in batch.rows()]


async def everything(lake: Lake, **which: Any) -> list[Batch]:
    return await lake.read_after(0, **{**ALL, **which})


async def test_what_is_appended_is_read(lake: Lake) -> None:
    """One batch a tenant and table, in the order of the rows, coerced, with its times."""
    rows: Rows = [event(3), event(1, "SigninLogs"), event(2, "deviceevents", FileSize="7")]
    assert await lake.append("t1", rows) == 2
    devices, sign_ins = await everything(lake)
    assert (devices.seq, devices.tenant, devices.table, devices.count) == (1, "t1", "DeviceEvents", 2)
    assert (devices.first, devices.last) == ("2026-11-23T04:50:02.0000000Z", "2026-11-23T04:50:03.0000000Z")
    assert list(devices.rows()) == [coerce(*rows[0]), coerce(*rows[2])]
    assert devices.lines().count(b"\n") == 2 and len(devices.lines()) == devices.plain_bytes
    assert (sign_ins.seq, sign_ins.table, sign_ins.first) == (2, "SigninLogs", "2026-11-23T04:50:01.0000000Z")
    assert await lake.head() == 2


async def test_an_empty_lake(lake: Lake) -> None:
    assert await everything(lake) == [] and await lake.head() == 0
    assert await lake.append("t1", []) == 0 and await lake.drop_through(10) == 0
    assert await lake.sizes() == Sizes(0, 0, 0, 0)


async def test_a_table_without_time_has_batches_without(lake: Lake) -> None:
    await lake.append("t1", [("ExposureGraphNodes", {"NodeId": "n"})])
    (batch,) = await everything(lake)
    assert (batch.first, batch.last) == (None, None) and list(batch.rows()) == [{"NodeId": "n"}]


async def test_the_time_of_receipt(lake: Lake) -> None:
    await lake.append("t1", [("DeviceEvents", {"ReportId": 1})], received=T)
    (batch,) = await everything(lake)
    assert (batch.first, batch.last) == (T, T)
    assert next(batch.rows())["_Extra"] == {"timeSource": "received"}


async def test_a_tenant_sees_only_itself(lake: Lake) -> None:
    await lake.append("t1", [event(1)])
    await lake.append("t2", [event(2), event(3, "SigninLogs")])
    assert numbers(await everything(lake, tenant="t1")) == [1]
    assert {batch.tenant for batch in await everything(lake, tenant="t2")} == {"t2"}
    assert [batch.seq for batch in await everything(lake, tenant="t2", table="SigninLogs")] == [3]
    assert [batch.seq for batch in await everything(lake, table="DeviceEvents")] == [1, 2]
    assert await everything(lake, tenant="t3") == []
    for wrong in ("", "a\0b", "x" * 201):
        with pytest.raises(BadRequest, match="tenant"):
            await lake.append(wrong, [event(1)])


async def test_reading_goes_on_behind_the_last_number(lake: Lake) -> None:
    for number in range(10):
        await lake.append("t1", [event(number), event(number)])
    seen, position = [], 0
    while batches := await lake.read_after(position, limit_rows=5, limit_bytes=2**40):
        assert len(batches) <= 2  # whole batches within 5 rows
        position = batches[-1].seq
        seen += [batch.seq for batch in batches]
    assert seen == list(range(1, 11))
    size = (await everything(lake))[0].plain_bytes
    assert len(await lake.read_after(0, limit_rows=100, limit_bytes=3 * size)) == 3
    assert len(await lake.read_after(0, limit_rows=1, limit_bytes=1)) == 1  # one at least


async def test_what_is_dropped_is_gone_and_its_numbers_too(opened: Opener) -> None:
    lake = await opened()
    for number in range(5):
        await lake.append("t1", [event(number)])
    assert await lake.drop_through(3) == 3 and await lake.drop_through(3) == 0
    assert [batch.seq for batch in await everything(lake)] == [4, 5]
    assert await lake.drop_through(99) == 2 and await lake.head() == 5
    again = await opened()
    assert await again.append("t1", [event(9)]) == 6 and await again.head() == 6


async def test_many_batches_are_dropped_and_erased(lake: Lake) -> None:
    await asyncio.gather(*(lake.append(f"t{n % 2}", [event(n)]) for n in range(1_500)))
    assert await lake.erase("t1") == 750 and numbers(await everything(lake, tenant="t1")) == []
    assert await lake.drop_through(1_500) == 750 and await everything(lake) == []


async def test_erasing_a_tenant_leaves_the_others(lake: Lake) -> None:
    await lake.append("t1", [event(1), event(2)], once="s/1-2")
    await lake.append("t2", [event(3)], once="s/1-3")
    assert await lake.erase("t1") == 2
    assert numbers(await everything(lake)) == [3]
    assert await lake.appended("t1", "s") == 0 and await lake.appended("t2", "s") == 3
    assert await lake.erase("t1") == 0


async def test_a_stage_that_is_replayed_appends_once(opened: Opener) -> None:
    lake, other = await opened(), await opened()
    assert await lake.append("t1", [event(1)], once="copy/1-4") == 1
    assert await other.append("t1", [event(1)], once="copy/1-4") == 1
    assert await lake.append("t1", [event(2)], once="copy/5") == 2
    assert await lake.append("t1", [event(1)], once="copy/2-3") == 2  # within what is there
    assert await lake.append("t2", [event(3)], once="copy/1-4") == 3  # each tenant has its own
    assert await lake.append("t1", [event(4)], once="other/1-4") == 4  # and each stage
    assert await lake.append("t1", [], once="copy/6-9") == 4
    assert numbers(await everything(lake)) == [1, 2, 3, 4]
    assert await lake.appended("t1", "copy") == 9 and await lake.appended("t1", "nothing") == 0


async def test_a_part_that_overlaps_is_refused(lake: Lake) -> None:
    await lake.append("t1", [event(1)], once="copy/1-4")
    with pytest.raises(Conflict, match="up to 4"):
        await lake.append("t1", [event(2)], once="copy/3-6")
    assert numbers(await everything(lake)) == [1]
    await lake.forget("t1", "copy")
    assert await lake.append("t1", [event(2)], once="copy/3-6") == 2


@pytest.mark.parametrize("once", ["copy", "copy/", "copy/4-1", "/1", "copy/x", "co py/1", "copy/-1"])
async def test_what_names_no_part_of_an_input(lake: Lake, once: str) -> None:
    with pytest.raises(ValueError, match="expected such as copy/17-42"):
        await lake.append("t1", [event(1)], once=once)


async def test_all_or_nothing(lake: Lake) -> None:
    """One bad row, nothing of the append; what comes together with it is not touched."""
    results = await asyncio.gather(
        lake.append("t1", [event(1)]),
        lake.append("t1", [event(2), event(3, "NoSuchTable")]),
        lake.append("t1", [event(4), event(5, AdditionalFields="x" * MAX_ROW_BYTES)]),
        lake.append("t1", [event(6)] * (MAX_APPEND_ROWS + 1)),
        lake.append("t1", [event(7)]),
        return_exceptions=True,
    )
    assert [type(result) for result in results] == [int, BadRequest, TooLarge, TooLarge, int]
    assert sorted(numbers(await everything(lake))) == [1, 7]


async def test_one_in_a_group_that_fails_takes_no_other_with_it(lake: Lake) -> None:
    """Appends that are committed together: the one that overlaps is refused, all others are there."""
    await lake.append("t1", [event(0)], once="s/1-5")
    appends = [lake.append("t1", [event(n)], once="s/4-9" if n == 50 else None) for n in range(1, 100)]
    results = await asyncio.gather(*appends, return_exceptions=True)
    assert [n for n, result in enumerate(results, 1) if isinstance(result, Conflict)] == [50]
    batches = await everything(lake)
    assert sorted(numbers(batches)) == [n for n in range(100) if n != 50]
    assert [batch.seq for batch in batches] == list(range(1, 100))


async def test_large_appends_are_split_and_still_one(lake: Lake) -> None:
    text = "".join(chr(33 + n * 7919 % 90) for n in range(BATCH_BYTES // 5))
    last = await lake.append("t1", [event(n, ActionType=text) for n in range(12)], once="s/1")
    batches = await everything(lake)
    assert last == batches[-1].seq == 3 and numbers(batches) == list(range(12))
    assert all(batch.plain_bytes <= BATCH_BYTES for batch in batches)
    sizes = await lake.sizes()
    assert (sizes.batches, sizes.rows) == (3, 12)
    assert sizes.plain_bytes == sum(batch.plain_bytes for batch in batches)
    assert sizes.stored_bytes == sum(len(batch.data) for batch in batches) < sizes.plain_bytes


async def test_any_text_comes_back(lake: Lake) -> None:
    texts = ["\0", "\u2028\x85\r\n", "\U0001f600", "\ud800", '"\\', ""]
    await lake.append("t1", [event(n, ActionType=text) for n, text in enumerate(texts)])
    (batch,) = await everything(lake)
    assert [row["ActionType"] for row in batch.rows()] == [text.replace("\ud800", "\\ud800") for text in texts]
    assert [json.loads(line) for line in batch.lines().split(b"\n")[:-1]] == list(batch.rows())


async def test_no_reader_passes_what_commits_later(opened: Opener) -> None:
    """Writers of several processes: whoever follows the numbers sees every batch, once, in order."""
    lakes = [await opened() for _ in range(4)]
    each = 60
    follower = await opened()
    done = asyncio.Event()

    async def write(number: int) -> None:
        for n in range(each):
            last = await lakes[number].append(f"t{number}", [event(number * 1_000 + n)])
            assert last <= await lakes[(number + 1) % 4].head()

    async def follow() -> list[int]:
        seen: list[int] = []
        position = 0
        while True:
            finished = done.is_set()
            batches = await follower.read_after(position, limit_rows=7, limit_bytes=2**20)
            if not batches and finished:
                return seen
            assert [batch.seq for batch in batches] == list(range(position + 1, position + 1 + len(batches)))
            position = batches[-1].seq if batches else position
            seen += numbers(batches)

    following = asyncio.create_task(follow())
    await asyncio.gather(*(write(number) for number in range(4)))
    done.set()
    seen = await following
    assert sorted(seen) == [number * 1_000 + n for number in range(4) for n in range(each)]


async def test_several_start_at_once(opened: Opener) -> None:
    lakes = await asyncio.gather(*(opened() for _ in range(5)))
    await asyncio.gather(*(lake.append("t", [event(n)]) for n, lake in enumerate(lakes)))
    assert sorted(numbers(await everything(lakes[0]))) == list(range(5))


async def test_a_full_queue_is_refused(opened: Opener) -> None:
    lake = await opened(queue=5, queue_bytes=2_000)
    results = await asyncio.gather(*(lake.append("t", [event(n)]) for n in range(100)), return_exceptions=True)
    stored = [n for n, result in enumerate(results) if isinstance(result, int)]
    refused = [result for result in results if not isinstance(result, int)]
    assert all(isinstance(result, Unavailable) and "waiting" in str(result) for result in refused)
    assert sorted(numbers(await everything(lake))) == stored


async def test_closing_finishes_what_is_queued(opened: Opener) -> None:
    lake = await opened()
    appends = [asyncio.create_task(lake.append("t", [event(n)])) for n in range(50)]
    await asyncio.wait(appends, return_when=asyncio.FIRST_COMPLETED)
    await lake.close()
    results = await asyncio.gather(*appends, return_exceptions=True)
    stored = [n for n, result in enumerate(results) if isinstance(result, int)]
    assert sorted(numbers(await everything(await opened()))) == stored
    for call in (lake.append("t", [event(1)]), lake.head()):
        with pytest.raises(Unavailable, match="closed"):
            await call
    await lake.close()


async def test_a_caller_who_gives_up_harms_nobody(lake: Lake) -> None:
    appends = [asyncio.create_task(lake.append("t", [event(n)])) for n in range(40)]
    await asyncio.sleep(0)
    for append in appends[::2]:
        append.cancel()
    results = await asyncio.gather(*appends, return_exceptions=True)
    kept = {n for n, result in enumerate(results) if isinstance(result, int)}
    assert kept == set(range(1, 40, 2)) and kept <= set(numbers(await everything(lake)))


async def test_a_reader_goes_on_where_it_was(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its cursor follows at times, and when there is nothing more: after a crash a part is read once more."""
    monkeypatch.setattr(readers, "SAVE_S", 3_600.0)
    await readers.expected(lake, ["r"])
    reader = readers.Reader(lake, "r")
    await lake.append("t1", [event(1)])
    assert await reader.before() == (0, 1, ["t1"])
    await reader.passed(1)
    await lake.append("t2", [event(2)])
    assert await reader.before() == (1, 2, ["t2"])
    await reader.passed(2)
    assert await readers.Reader(lake, "r").before() == (1, 2, ["t2"])
    assert await reader.before() == (2, 2, [])
    assert await readers.Reader(lake, "r").before() == (2, 2, [])
