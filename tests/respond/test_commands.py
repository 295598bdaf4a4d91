"""What operators see of notifications: subscriptions, and what could not be delivered."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.respond.conftest import APP, TENANT, Receiver, delivering, put_alert, soon, subscribe, until

from bartizan.app.assembly import declared
from bartizan.auth import audit
from bartizan.cli import bartizan
from bartizan.respond import queue
from bartizan.respond.subscriptions import DEAD_LETTERS
from bartizan.store import Query, open_store
from bartizan.store.interface import Tx

pytestmark = pytest.mark.anyio


def run(data: Path, *arguments: str) -> Any:
    done = CliRunner().invoke(bartizan, [*arguments, "--data", str(data)], prog_name="bartizan")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_nothing_yet(tmp_path: Path) -> None:
    assert run(tmp_path, "subscription", "list") == []
    assert run(tmp_path, "subscription", "dead-letters") == []


@pytest.fixture
async def outage(tmp_path: Path, receiver: Receiver) -> dict[str, Any]:
    """The subscription whose endpoint was away for too long."""
    ahead = timedelta()
    store = open_store(tmp_path, declared())
    await store.start()
    made = await subscribe(
        store,
        f"{receiver.root}/sick?key=hidden",
        lifecycleNotificationUrl=f"{receiver.root}/life?key=hidden",
        expirationDateTime=soon(days=2),
    )
    receiver.status["/sick"] = 503
    async with delivering(store, clock=lambda: datetime.now(UTC) + ahead) as engine:
        for number in range(3):
            await put_alert(store, f"a{number}")

        async def failing() -> bool:
            return engine.stats()["waiting"] == 3 and engine.stats()["failing"] == 1

        async def given_up() -> bool:
            return await store.tenant(TENANT).count(DEAD_LETTERS.name) == 1

        await until(failing)
        ahead = timedelta(hours=5)
        await until(given_up)
    await store.close()
    return {**made, "root": receiver.root}


async def test_an_outage_is_seen(tmp_path: Path, outage: dict[str, Any]) -> None:
    """Of which subscription, how much, why; nothing that only subscriber and server should know."""
    await asyncio.to_thread(run, tmp_path, "tenant", "add", "Lab", "--id", TENANT)
    (listed,) = await asyncio.to_thread(run, tmp_path, "subscription", "list", "--tenant", TENANT)
    (letter,) = await asyncio.to_thread(run, tmp_path, "subscription", "dead-letters", "--tenant", TENANT)
    assert listed["id"] == letter["subscriptionId"] == outage["id"]
    assert listed["endpoint"] == letter["endpoint"] == f"{outage['root']}/sick"
    assert listed["lifecycleEndpoint"] == f"{outage['root']}/life"
    assert (letter["applicationId"], letter["resource"]) == (APP, "security/alerts")
    assert (letter["count"], letter["objectIds"], letter["reason"]) == (3, ["a0", "a1", "a2"], "status 503")
    assert "hidden" not in str((listed, letter)) and "secret" not in str((listed, letter))
    assert await asyncio.to_thread(run, tmp_path, "subscription", "list") == [], "the first tenant has none"


def test_no_write_backs_yet(tmp_path: Path) -> None:
    assert run(tmp_path, "writeback", "list") == []
    done = CliRunner().invoke(bartizan, ["writeback", "retry", "x", "--data", str(tmp_path)])
    assert done.exit_code == 1 and "there is no write-back 'x'" in done.output


def failing(tenant: str, number: int) -> queue.WriteBack:
    return queue.write_back(
        *(tenant, "edr", "alert", "a1", "s1"),
        number=number,
        at="2026-11-23T05:00:00.0000000Z",
        by="Ann",
        known=None,
        values={"status": "resolved", "assignedTo": f"p{number}"},
        base={},
        told={},
        takes=frozenset({"status"}),
    )


async def test_write_backs_retried_and_dropped(tmp_path: Path) -> None:
    """An operator lists what has failed, has one tried again and gives one up; both are in the audit."""
    tenant = (await asyncio.to_thread(run, tmp_path, "tenant", "list"))[0]["tenantId"]
    store = open_store(tmp_path, declared())
    await store.start()
    first, second = made = [failing(tenant, number) for number in (1, 2)]

    def work(tx: Tx) -> None:
        for each in made:
            queue.enter(tx, each, tx.now)
            claimed = queue.claim(tx, each.id, "me", tx.now, tx.now)
            assert claimed is not None
            queue.fail(tx, claimed, "it is archived", tx.now)

    await store.tenant(tenant).write(work, actor="test")
    await store.close()
    listed = await asyncio.to_thread(run, tmp_path, "writeback", "list", "--state", "failed", "--connection", "edr")
    assert [each["id"] for each in listed] == [second.id, first.id]
    assert listed[0]["lastError"] == "it is archived" and listed[0]["leftOut"] == ["assignedTo"]
    assert await asyncio.to_thread(run, tmp_path, "writeback", "list", "--connection", "else") == []
    again = await asyncio.to_thread(run, tmp_path, "writeback", "retry", second.id)
    assert again == {"id": second.id, "state": "waiting"}
    gone = await asyncio.to_thread(run, tmp_path, "writeback", "drop", first.id)
    assert gone == {"id": first.id, "state": "dropped"}
    store = open_store(tmp_path, declared())
    await store.start()
    page = await store.tenant(tenant).page(audit.declared().name, Query(top=2))
    said = [json.loads(row.doc) for row in page.rows]
    assert {(each["activityDisplayName"], each["targetResources"][0]["id"]) for each in said} == {
        ("Drop write-back", first.id),
        ("Retry write-back", second.id),
    }
    standing = await queue.standing(store, tenant, "2026-11-23T06:00:00.0000000Z")
    assert standing == queue.Standing(waiting=1, denied=0, failed=0, oldest_s=3_600.0)
    shown = queue.metrics({tenant: standing}).decode()
    assert f'bartizan_write_backs{{state="waiting",tenant="{tenant}"}} 1.0' in shown
    assert f'bartizan_write_back_oldest_seconds{{tenant="{tenant}"}} 3600.0' in shown
    await store.close()
