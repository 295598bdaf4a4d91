"""Tenants take turns: alone without bounds, together each its share, and no place is ever lost."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.auth import turns
from bartizan.auth.turns import Kind, Turns
from bartizan.errors import TooManyRequests


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Crowd:
    """Requests that run until they are let go."""

    def __init__(self, max_waiting: int = turns.MAX_WAITING) -> None:
        self.clock = Clock()
        self.turns = Turns(self.clock, max_waiting=max_waiting)
        self.running: list[str] = []

    @asynccontextmanager
    async def request(self, tenant: str, kind: Kind = "read") -> AsyncIterator[asyncio.Event]:
        gate = asyncio.Event()

        async def run() -> None:
            async with self.turns.of(tenant, kind):
                self.running.append(tenant)
                try:
                    await gate.wait()
                finally:
                    self.running.remove(tenant)

        task = asyncio.create_task(run())
        await settled()
        try:
            yield gate
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_a_tenant_alone_is_not_held_up() -> None:
    crowd = Crowd()
    async with crowd.request("a"), crowd.request("a"), crowd.request("a"):
        assert crowd.running == ["a", "a", "a"]


@pytest.mark.asyncio
async def test_who_comes_is_heard_between_two_reads_of_a_tenant_that_was_alone() -> None:
    """Long reads begin one in each step of the loop, though all were there before; one that is cancelled takes none."""
    crowd, begun = Crowd(), list[str]()

    async def read(tenant: str, name: str) -> None:
        async with crowd.turns.of(tenant, "read"):
            begun.append(name)
            crowd.clock.now += 2 * turns.STEP_S

    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(read("a", f"a{n}")) for n in range(20)]
        await asyncio.sleep(0)
        assert begun == ["a0"]
        asked[1].cancel()
        group.create_task(read("b", "b"))
    assert sorted(begun) == sorted([*(f"a{n}" for n in range(20) if n != 1), "b"])
    assert begun.index("b") < 4
    async with asyncio.timeout(10), crowd.turns.of("a", "read"):
        pass  # no place was lost


@pytest.mark.asyncio
async def test_who_comes_counts_at_once() -> None:
    crowd = Crowd()
    async with crowd.request("a"), crowd.request("b"), crowd.request("a"):
        assert crowd.running == ["a", "b"]


@pytest.mark.asyncio
async def test_together_one_waits_behind_itself_alone() -> None:
    """With a second tenant asking, reads of the first run one at a time; the second's runs at once."""
    crowd = Crowd()
    async with crowd.request("b") as first:
        first.set()
    crowd.clock.now += turns.LOOK_S
    async with crowd.request("a") as one, crowd.request("a"), crowd.request("a"), crowd.request("b"):
        assert crowd.running == ["a", "b"]
        one.set()  # it took no time by the clock, so the next does not rest
        await settled()
        assert crowd.running == ["b", "a"]
    assert crowd.running == []


async def asked_lately(crowd: Crowd, tenant: str) -> None:
    async with crowd.request(tenant) as first:
        first.set()
    crowd.clock.now += turns.LOOK_S


async def worked(crowd: Crowd, tenant: str, seconds: float) -> None:
    """One request that never waits for anything, as reads of the store are."""
    async with crowd.turns.of(tenant, "read"):
        crowd.clock.now += seconds


@pytest.mark.asyncio
async def test_who_asks_much_rests_though_its_requests_never_wait() -> None:
    """Each ends before the next comes, so nothing of the tenant stands in a queue when it ends."""
    crowd = Crowd()
    await asked_lately(crowd, "b")
    await worked(crowd, "a", 4 * turns.CREDIT_S)
    after = asyncio.create_task(worked(crowd, "a", 0))
    await settled()
    assert not after.done()
    await asyncio.wait_for(worked(crowd, "b", 0), 10)
    assert not after.done()
    await asyncio.wait_for(after, 10)


@pytest.mark.parametrize("part_of_a_bulk", [False, True])
@pytest.mark.asyncio
async def test_who_asks_much_begins_when_the_requests_of_others_have_ended(
    monkeypatch: pytest.MonkeyPatch, part_of_a_bulk: bool
) -> None:
    monkeypatch.setattr(turns, "CALM_S", 3_600.0)
    crowd = Crowd()
    await asked_lately(crowd, "b")
    async with crowd.turns.of("a", "ingest") as bulk:
        await worked(crowd, "a", 4 * turns.CREDIT_S)
        async with crowd.request("b", "write") as other:
            after = asyncio.create_task(bulk.pause() if part_of_a_bulk else worked(crowd, "a", 0))
            await asyncio.sleep(2 * turns.MAX_REST_S)
            assert not after.done()
            other.set()
            await asyncio.wait_for(after, 10)


@pytest.mark.parametrize("kind", ["write", "live"])
@pytest.mark.asyncio
async def test_it_does_not_wait_for_one_that_takes_long(kind: Kind) -> None:
    crowd = Crowd()
    await asked_lately(crowd, "b")
    await worked(crowd, "a", 4 * turns.CREDIT_S)
    async with crowd.request("b", kind):
        await asyncio.wait_for(worked(crowd, "a", 0), 10)
        crowd.clock.now += 2 * turns.CALM_S
        await worked(crowd, "a", 4 * turns.CREDIT_S)
        await asyncio.wait_for(worked(crowd, "a", 0), 10)


@pytest.mark.asyncio
async def test_who_asks_little_never_rests() -> None:
    crowd = Crowd()
    await asked_lately(crowd, "b")
    for _ in range(50):
        task = asyncio.create_task(worked(crowd, "a", 0.001))
        await settled()
        assert task.done()
        crowd.clock.now += 2 * (0.001 + turns.AROUND_S) / turns.SHARE


@pytest.mark.asyncio
async def test_where_all_ask_much_they_share_all_of_the_time() -> None:
    crowd = Crowd()
    await asked_lately(crowd, "c")
    began, work = crowd.clock.now, 1.2 * turns.CREDIT_S  # so little that no rest is cut
    rests = {}
    for at in (0.0, 2 * turns.RECENT_S):  # first while c asks little, then without it
        crowd.clock.now = began + at
        for tenant in ("a", "b", "a", "b"):
            crowd.clock.now += work
            rests[tenant, at] = crowd.turns.rest((tenant, "read"), crowd.clock.now - work)
    assert rests["b", 2 * turns.RECENT_S] < rests["b", 0.0] * 2 * turns.SHARE


@pytest.mark.asyncio
async def test_long_work_rests_between_its_parts() -> None:
    crowd = Crowd()
    async with crowd.turns.of("a", "ingest") as turn:
        assert not turn.crowded()
        await asyncio.wait_for(turn.pause(), 10)
        await asked_lately(crowd, "b")
        assert turn.crowded()
        crowd.clock.now += 4 * turns.CREDIT_S
        pause = asyncio.create_task(turn.pause())
        await settled()
        assert not pause.done()
        await asyncio.wait_for(pause, 10)


@pytest.mark.asyncio
async def test_after_the_others_have_gone_nobody_waits() -> None:
    crowd = Crowd()
    async with crowd.request("b") as first:
        first.set()
    crowd.clock.now += turns.RECENT_S + turns.LOOK_S
    async with crowd.request("a"), crowd.request("a"):
        assert crowd.running == ["a", "a"]


@pytest.mark.asyncio
async def test_too_many_waiting_are_told_to_come_back() -> None:
    crowd = Crowd(max_waiting=2)
    async with crowd.request("b") as first:
        first.set()
    crowd.clock.now += turns.LOOK_S
    async with crowd.request("a"), crowd.request("a"), crowd.request("a"):
        with pytest.raises(TooManyRequests):
            async with crowd.turns.of("a", "read"):
                raise AssertionError("it must not run")


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["read", "write"]), st.booleans()), max_size=40))
def test_no_place_is_lost(steps: list[tuple[str, Kind, bool]]) -> None:
    """However requests end, done or cancelled while waiting, all that follow run."""

    async def run() -> None:
        crowd = Crowd()
        tasks = []

        async def one(tenant: str, kind: Kind) -> None:
            async with crowd.turns.of(tenant, kind):
                await asyncio.sleep(0)

        for tenant, kind, cancelled in steps:
            tasks.append(asyncio.create_task(one(tenant, kind)))
            crowd.clock.now += 0.02
            await asyncio.sleep(0)
            if cancelled:
                tasks[len(tasks) // 2].cancel()
        await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10)
        for tenant in "ab":
            await asyncio.wait_for(asyncio.gather(*(one(tenant, "read") for _ in range(3))), 10)

    asyncio.run(run())
