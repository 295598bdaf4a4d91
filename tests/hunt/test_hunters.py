"""Hunts in processes of their own: what they answer, what ends them, and that nobody waits for nobody's."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bartizan.app.hunt import COMMAND
from bartizan.errors import TooManyRequests, Unavailable
from bartizan.hunt import hunters as module
from bartizan.hunt.fault import KqlError
from bartizan.hunt.hunters import Hunt, Hunters, Limits
from bartizan.hunt.line import Bounds
from bartizan.lake.storage import Storage

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 11, 23, 5, tzinfo=UTC)
PAIRS = "range x from 1 to 100000 step 1 | extend k = 1"
SLOW = f"{PAIRS} | join kind=inner ({PAIRS}) on k | where hash_sha256(strcat(x, x1)) startswith 'zz' | count"
Asked = Callable[..., Hunt]


@pytest.fixture
def hunt(tmp_path: Path) -> Asked:
    def made(query: str, tenant: str = "a") -> Hunt:
        files = Storage(tenant, tmp_path / tenant, tmp_path, 0, 0.0, {})
        return Hunt(tenant=tenant, query=query, now=NOW, files=files)

    return made


@pytest.fixture
async def hunters() -> AsyncIterator[Hunters]:
    made = Hunters(COMMAND, Limits(Bounds(seconds=20.0, rows=1_000, bytes=100_000), memory_mb=256))
    yield made
    await made.close()


async def test_a_hunt_answers_as_graph_does(hunters: Hunters, hunt: Asked) -> None:
    query = (
        "print n = 1, t = datetime(2020-01-02 03:04:05.5), d = dynamic({'a': [1]}), s = 1h, b = true, r = 1.5, g = 'x'"
    )
    answer = json.loads(await hunters.run(hunt(query)))
    assert answer["results"] == [
        {"n": 1, "t": "2020-01-02T03:04:05.5Z", "d": {"a": [1]}, "s": "01:00:00", "b": True, "r": 1.5, "g": "x"}
    ]
    assert [each["type"] for each in answer["schema"]] == [
        "Int64", "DateTime", "Object", "TimeSpan", "SByte", "Double", "String",
    ]  # fmt: skip


async def test_a_process_stays_warm_and_is_its_tenant_s(hunters: Hunters, hunt: Asked) -> None:
    await hunters.run(hunt("print 1"))
    first = hunters._idle[0]
    await hunters.run(hunt("print 2"))
    assert hunters._idle == [first]
    await hunters.run(hunt("print 3", "b"))
    assert {each.tenant for each in hunters._idle} == {"a", "b"}


async def test_what_is_wrong_is_told_with_its_place(hunters: Hunters, hunt: Asked) -> None:
    with pytest.raises(KqlError) as caught:
        await hunters.run(hunt("print x = 1\n| where nope == 2"))
    assert (caught.value.phase, caught.value.line, caught.value.column) == ("bind", 2, 9)
    assert "nope" in caught.value.message


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ("range x from 1 to 1001 step 1", "more than 1,000 rows"),
        ("range x from 1 to 1000 step 1 | extend s = strrep('a', 500)", "more than 100,000 bytes"),
        ("range x from 1 to 200000000 step 1 | summarize make_list(x, 200000000)", "memory"),
    ],
)
async def test_a_bound_is_told(hunters: Hunters, hunt: Asked, query: str, why: str) -> None:
    with pytest.raises(KqlError, match=why):
        await hunters.run(hunt(query))
    assert json.loads(await hunters.run(hunt("print 1")))["results"] == [{"print_0": 1}]


async def test_time_ends_a_hunt(hunt: Asked) -> None:
    hunters = Hunters(COMMAND, Limits(Bounds(seconds=1.0)))
    await hunters.run(hunt("print 1"))
    with pytest.raises(KqlError, match="longer than 1 s"):
        await hunters.run(hunt(SLOW))
    await hunters.close()


async def test_a_process_that_does_not_end_in_time_is_ended(hunt: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    hunters = Hunters(COMMAND, Limits(Bounds(seconds=1.0)))
    await hunters.run(hunt("print 1"))
    (process,) = hunters._idle
    assert process._process is not None
    os.kill(process._process.pid, signal.SIGSTOP)  # as one that no longer hears its own clock
    monkeypatch.setattr(module, "GRACE_S", 0.5)
    with pytest.raises(KqlError, match="longer than 1 s"):
        await hunters.run(hunt("print 2"))
    assert process._process.poll() is not None and not hunters._idle
    await hunters.close()


async def test_a_caller_that_leaves_ends_its_hunt(hunters: Hunters, hunt: Asked) -> None:
    await hunters.run(hunt("print 1"))
    (process,) = hunters._idle
    assert process._process is not None
    task = asyncio.create_task(hunters.run(hunt(SLOW)))
    await asyncio.sleep(0.5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert process._process.poll() is not None
    assert json.loads(await hunters.run(hunt("print 1")))["results"]


async def test_a_process_that_dies_is_told_and_replaced(hunters: Hunters, hunt: Asked) -> None:
    await hunters.run(hunt("print 1"))
    (process,) = hunters._idle
    assert process._process is not None
    task = asyncio.create_task(hunters.run(hunt(SLOW)))
    await asyncio.sleep(0.5)
    process._process.kill()
    with pytest.raises(Unavailable):
        await task
    assert json.loads(await hunters.run(hunt("print 1")))["results"]


async def test_a_tenant_waits_behind_itself_alone(hunt: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_S", 0.5)
    hunters = Hunters(COMMAND, Limits(Bounds(seconds=20.0), per_tenant=1, most=3))
    await hunters.run(hunt("print 1"))
    slow = asyncio.create_task(hunters.run(hunt(SLOW)))
    await asyncio.sleep(0.2)
    with pytest.raises(TooManyRequests) as caught:
        await hunters.run(hunt("print 2"))
    assert caught.value.headers["Retry-After"] == "10"
    assert json.loads(await hunters.run(hunt("print 3", "b")))["results"] == [{"print_0": 3}]
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    assert json.loads(await hunters.run(hunt("print 4")))["results"] == [{"print_0": 4}]
    await hunters.close()


async def test_idle_processes_of_others_make_way(hunt: Asked) -> None:
    hunters = Hunters(COMMAND, Limits(most=2))
    for tenant in ("a", "b", "c"):
        await hunters.run(hunt("print 1", tenant))
    assert [each.tenant for each in hunters._idle] == ["b", "c"]
    await hunters.close()
