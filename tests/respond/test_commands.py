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
from bartizan.cli import bartizan
from bartizan.respond.subscriptions import DEAD_LETTERS
from bartizan.store import open_store

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
