"""Several stages that share the principals end as one does, whatever the order, the restarts and their number."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.identity.live.conftest import TENANT, bring, rows, shown
from tests.identity.streams import DAY, MAC, START, quiet, sign_in, spray

from bartizan.app.assembly import declared, fed
from bartizan.identity import outcome
from bartizan.identity.engine import shard_of
from bartizan.identity.evaluator import Evaluator
from bartizan.identity.events import seconds
from bartizan.identity.memory import MEMORY
from bartizan.identity.risk import ACTIONS
from bartizan.identity.shards import MAX_SHARDS, Place, name_of, place_key
from bartizan.identity.stage import IdentityStage
from bartizan.store import Store, Tx, open_store

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).resolve().parents[3]
PEOPLE, DAYS = 12, 9
AWAY: dict[str, Any] = {"asn": 65551, "country": "BR", "city": "Recife", "place": (-8.05, -34.9), "agent": MAC}


async def tenants() -> Iterable[str]:
    return [TENANT]


def stages(store: Store, shards: int) -> list[IdentityStage]:
    return [IdentityStage(store, fed(), shard=n, shards=shards, tenants=tenants) for n in range(shards)]


async def run_all(every: Sequence[IdentityStage]) -> None:
    """In turn, as in one process each, until none has anything to do."""
    while any([await each.step() for each in every]):
        pass


def stream() -> list[dict[str, Any]]:
    """Quiet people, a spray that finds one's password, strangers at one address, and a day when all is settled."""
    strangers = [
        sign_in(f"w-{n}", START + 8.2 * DAY + n * 900, f"u{n}", address="203.0.113.7", session=f"w{n}", **AWAY)
        for n in range(5)
    ]
    last = [sign_in(f"z-{n}", START + (DAYS + 3) * DAY + n, f"u{n}", address=f"198.51.{n}.7") for n in range(PEOPLE)]
    every = [*quiet(PEOPLE, DAYS), *spray(PEOPLE, 7.1), *strangers, *last]
    return sorted(every, key=lambda each: (str(each["createdDateTime"]), str(each["id"])))


def late(documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every eleventh comes 30 hours late."""

    def when(number: int) -> tuple[float, int]:
        return seconds(documents[number]["createdDateTime"]) + (30 * 3600 if number % 11 == 0 else 0), number

    return [documents[number] for number in sorted(range(len(documents)), key=when)]


async def judge(store: Store, id: str, action: str) -> None:
    def work(tx: Tx) -> None:
        row = tx.get("signIns", id)
        assert row is not None and outcome.decide(tx, fed(), row, ACTIONS[action])

    await store.tenant(TENANT).write(work, actor="admin")
    await outcome.follow(store.tenant(TENANT), fed(), [id], ACTIONS[action], by="admin", actor="admin")


async def lived(
    store: Store,
    documents: Sequence[dict[str, Any]],
    numbers: Sequence[int],
    *,
    at_once: int = 60,
    first: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Brings all in parts. Before each part the processes start anew, with the next number of stages (the last one
    stays), of which `first` is told; in the middle people say what they think."""
    numbers = list(numbers)
    for begin in range(0, len(documents), at_once):
        shards = numbers.pop(0) if len(numbers) > 1 else numbers[0]
        await bring(store, documents[begin : begin + at_once])
        if first is not None:
            await asyncio.to_thread(first, shards)
        every = stages(store, shards)
        await run_all(every)
        here = {each["id"] for each in documents[begin : begin + at_once]}
        for id, action in (("w-0", "confirmSignInCompromised"), ("w-1", "confirmSignInSafe")):
            if id in here:
                await judge(store, id, action)
        await run_all(every)
    return await shown(store)


async def alone(tmp_path: Any, documents: Sequence[dict[str, Any]], at_once: int = 60) -> dict[str, Any]:
    store = open_store(tmp_path / "alone", declared())
    await store.start()
    try:
        return await lived(store, documents, [1], at_once=at_once)
    finally:
        await store.close()


def test_the_principals_of_these_tests_are_of_all_stages() -> None:
    assert {shard_of(f"u{n}", 3) for n in range(PEOPLE)} == {0, 1, 2}


@pytest.mark.parametrize("shuffled", [False, True], ids=["in-order", "late"])
async def test_three_end_as_one(store: Store, tmp_path: Any, shuffled: bool) -> None:
    documents = late(stream()) if shuffled else stream()
    found, expected = await lived(store, documents, [3]), await alone(tmp_path, documents)
    assert expected["signIns"]["a-right"][1] == "high"
    assert expected["riskyUsers"] and expected["alerts_v2"]
    for name, value in expected.items():
        assert found[name] == value, name


async def test_their_number_may_change(store: Store, tmp_path: Any) -> None:
    """Nothing is lost of what waits between the two states, nothing is decided twice, and no rows are left behind."""
    documents = late(stream())
    found = await lived(store, documents, [1, 3, 2, 3, 1, 4, 1], at_once=40)
    expected = await alone(tmp_path, documents, at_once=40)
    for name, value in expected.items():
        assert found[name] == value, name
    left = {id.split("/")[1] for id in await rows(store, MEMORY.name)}
    assert {"l", "s"} <= left <= {"l", "s", "-"}
    assert [await store.cursor(name_of(shard)) for shard in range(1, MAX_SHARDS)] == [None] * (MAX_SHARDS - 1)


async def test_one_that_is_away_is_waited_for_and_nothing_is_lost(store: Store, tmp_path: Any) -> None:
    """Two go on to the day that they cannot begin alone; the third comes, and all end as one does."""
    documents = stream()
    await bring(store, documents)
    every = stages(store, 3)
    await run_all(every[:2])
    signs = await rows(store, "signIns")
    assert signs["a-right"]["riskLevelAggregated"] in (None, "none")
    await run_all(stages(store, 3)[2:])
    await run_all(stages(store, 3))
    found = await shown(store)
    other = open_store(tmp_path / "alone", declared())
    await other.start()
    try:
        await bring(other, documents)
        await run_all(stages(other, 1))
        assert found == await shown(other)
    finally:
        await other.close()


async def test_each_keeps_its_own(store: Store) -> None:
    """Of a principal there is one row, of an address one for each stage."""
    await bring(store, [*quiet(PEOPLE, 3)])
    await run_all(stages(store, 3))
    kept = await rows(store, MEMORY.name)
    for n in range(PEOPLE):
        assert sorted(id for id in kept if id.endswith(f"/p/u{n}") and "/l" in id) == [f"1/l/p/u{n}"]
        assert {f"1/l{shard}/a/198.51.{n}.7" for shard in ("", 1, 2)} <= kept.keys()


async def test_a_sign_in_under_way_is_seen_by_the_memory_of_whose_it_is(store: Store, tmp_path: Any) -> None:
    documents, at = stream()[:-PEOPLE], START + (DAYS + 0.4) * DAY
    asked = [
        sign_in(f"ask-{n}", at + n, f"u{n}", address=f"198.51.{n // 2}.7", **(AWAY if n % 4 else {}))
        for n in range(PEOPLE)
    ]
    said = []
    other = open_store(tmp_path / "alone", declared())
    await other.start()
    try:
        for each, shards in ((store, 3), (other, 1)):
            await bring(each, documents)
            await run_all(stages(each, shards))
            said.append([await Evaluator().look(each, TENANT, one) for one in asked])
    finally:
        await other.close()
    assert said[0] == said[1]
    assert len({one.score for one in said[0]}) == 3  # strange, half known, own


def process(target: str, shard: int, shards: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "tests.identity.live.stage_process", target, "20", str(shard), str(shards)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


async def places(store: Store, shards: int) -> list[Place]:
    kept = [await store.tenant(TENANT).value(place_key(shard)) for shard in range(shards)]
    return [Place() if each is None else msgspec.json.decode(each, type=Place) for each in kept]


async def until(store: Store, reached: Callable[[list[Place]], bool]) -> None:
    while not reached(await places(store, 3)):
        await store.changed()


@pytest.mark.slow
async def test_in_processes_of_which_one_is_killed(store: Store, target: str, tmp_path: Path) -> None:
    """They wait for the one that is gone, and go on with who takes over from it."""
    documents = late(stream())
    other = open_store(tmp_path / "alone", declared())
    await other.start()
    try:
        await bring(other, documents)
        await run_all(stages(other, 1))
        expected, (last,) = await shown(other), await places(other, 1)
    finally:
        await other.close()
    await bring(store, documents)
    running = [process(target, shard, 3) for shard in range(3)]
    try:
        async with asyncio.timeout(120):
            await until(store, lambda its: its[1].newest > 0)
            running[1].kill()
            await asyncio.sleep(0.5)
            assert (await places(store, 3))[1].settled < last.settled
            running.append(process(target, 1, 3))
            await until(store, lambda its: all(each.settled == last.settled for each in its))
        assert [each.poll() for each in (running[0], *running[2:])] == [None, None, None]
    finally:
        for each in running:
            each.kill()
            each.wait()
    found = await shown(store)
    for of in (found, expected):  # what was said last before it was withdrawn is a matter of who came first
        of["riskDetections"] = {
            id: said[:-1] if said[2] == "dismissed" else said for id, said in of["riskDetections"].items()
        }
    for name, value in expected.items():
        assert found[name] == value, name


def moved_again_and_again(target: str, shards: int) -> int:
    """All stages in a process that is killed after one transaction, then after three, nine and so on, until it has no
    more to do; how often it was killed."""
    command = [sys.executable, "-m", "tests.identity.live.moved_process", target, str(shards)]
    kills = 0
    while True:
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as running:
            assert running.stdin is not None and running.stdout is not None
            for number, line in enumerate(running.stdout, 1):
                if line.strip() == "done":
                    break
                if number == 3**kills:
                    running.kill()
                else:
                    print(file=running.stdin, flush=True)
        if running.returncode == 0:
            return kills
        assert running.returncode == -9
        kills += 1


@pytest.mark.slow
async def test_killed_while_their_number_changes(store: Store, target: str, tmp_path: Path) -> None:
    """After any of the transactions of the change, as of those after it: the next process goes on with the change,
    nothing is lost or counted twice, and no rows are left behind."""
    documents, killed = late(stream()), [0]

    def first(shards: int) -> None:
        killed[0] += moved_again_and_again(target, shards)

    found = await lived(store, documents, [3, 2, 1], at_once=70, first=first)
    assert killed[0] >= 6
    expected = await alone(tmp_path, documents, at_once=70)
    for name, value in expected.items():
        assert found[name] == value, name
    left = {id.split("/")[1] for id in await rows(store, MEMORY.name)}
    assert {"l", "s"} <= left <= {"l", "s", "-"}
