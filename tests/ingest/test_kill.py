"""`bartizan ingest` that is killed, or whose store fails: run again, everything is there exactly once."""

import asyncio
import contextlib
import json
import random
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.ingest.conftest import NOW, PLAIN, SIGN_INS, TENANT
from tests.ingest.test_pipeline import Failing, send

from bartizan.auth import authority
from bartizan.auth.accounts import Accounts
from bartizan.errors import StorageFull
from bartizan.ingest.pipeline import MARKS, Pipeline
from bartizan.lake.buffer import Lake, open_lake
from bartizan.store import open_store
from bartizan.store.alerts import ALERTS, ALERTS_V2, COLLECTIONS

pytestmark = pytest.mark.anyio

RECORDS = 3_000
KILLS = 6
LONGEST_S = 120.0


async def rows_of(lake: Lake) -> Counter[str]:
    """How often each row is in the buffer, by what tells it apart."""
    found: Counter[str] = Counter()
    after = 0
    while batches := await lake.read_after(after, limit_rows=5_000, limit_bytes=2**24):
        after = batches[-1].seq
        found.update(row.get("Kind") or row["Timestamp"] for each in batches for row in each.rows())
    return found


async def test_a_bulk_that_failed_between_lake_and_store_doubles_nothing(target: str) -> None:
    """The rows were durable, their marks were not: the same bulk again adds neither rows nor a trace."""
    lake, store = open_lake(target), open_store(target, (*COLLECTIONS, MARKS, SIGN_INS))
    await lake.start()
    await store.start()
    failing: Any = Failing(store, StorageFull("full"))
    pipeline = Pipeline(failing, lake, sources={"plain_test": PLAIN}, clock=lambda: NOW)
    bulk = [{"event": f"e{number}"} for number in range(400)]
    with pytest.raises(StorageFull):
        await send(pipeline, *bulk)
    assert await rows_of(lake)
    failing.error = None
    receipt = await send(pipeline, *bulk)
    assert (receipt.accepted, receipt.events) == (400, 400)
    assert await rows_of(lake) == Counter(f"e{number}" for number in range(400))
    other = await send(pipeline, *bulk, tenant="tenant-2")
    assert other.events == 400, "another tenant's are its own"
    assert (await send(pipeline, *bulk)).repeats == 400
    assert await store.tenant(TENANT).count(MARKS.name) == 400
    await store.close()
    await lake.close()


def stamp(number: int) -> str:
    return f"2026-03-01T10:{number // 60:02}:{number % 60:02}.000000"


def records(file: Path) -> None:
    with file.open("w") as out:
        for number in range(RECORDS):
            record: dict[str, Any] = {
                "timestamp": f"{stamp(number)}+0000",
                "flow_id": number,
                "event_type": "dns",
                "src_ip": "10.0.0.5",
                "dest_ip": "203.0.113.7",
                "dns": {"rrname": f"n{number}.example"},
            }
            if number % 3 == 0:
                record |= {"event_type": "alert", "alert": {"signature_id": number, "signature": "S", "severity": 2}}
            out.write(json.dumps(record) + "\n")


@pytest.mark.slow
async def test_killed_again_and_again(tmp_path: Path) -> None:
    """Whenever it dies, the next run goes on; at the end each alert and each event is there once."""
    file, data = tmp_path / "eve.json", tmp_path / "data"
    records(file)
    chance = random.Random(5)
    command = [sys.executable, "-m", "bartizan", "ingest", "suricata_eve", str(file), "--data", str(data)]
    for _ in range(KILLS):
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.DEVNULL)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), chance.uniform(0.6, 2.4))
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    last = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    out, _ = await asyncio.wait_for(last.communicate(), LONGEST_S)
    told = json.loads(out)
    assert told["accepted"] + told["repeats"] == RECORDS
    assert len(set(told["ids"])) == RECORDS // 3

    store, lake = open_store(data, (*COLLECTIONS, MARKS, SIGN_INS, *authority.COLLECTIONS)), open_lake(data)
    await store.start()
    await lake.start()
    owner = await Accounts(store).first_tenant()
    tenant = store.tenant(owner.id)
    assert await tenant.count(ALERTS.name) == await tenant.count(ALERTS_V2.name) == RECORDS // 3
    assert await rows_of(lake) == Counter(f"{stamp(number)}0Z" for number in range(RECORDS) if number % 3)
    await lake.close()
    await store.close()
