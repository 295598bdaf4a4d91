"""Many writers at once, in one process and in several: pollers miss nothing, increments are not lost."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.store.conftest import COLLECTIONS, Opener, alert, note, putting
from tests.store.writer_process import JOBS, TENANT

from bartizan.odata.tree import And, Compare, Literal, Order
from bartizan.odata.tree import Path as Property
from bartizan.store import Change, Query, Store, TenantStore, Tx, open_store
from bartizan.store.writer import Bounds, Writer

pytestmark = pytest.mark.anyio

PROCESSES = 4
LANES = 2  # of each process: 8 writers
POLL_FOR_S = 4.0


@contextlib.contextmanager
def writers(target: str, folder: Path) -> Iterator[None]:
    """Processes that write until the block ends; then they are killed."""
    script = Path(__file__).with_name("writer_process.py")
    started: list[tuple[subprocess.Popen[str], int]] = []
    try:
        for number in range(PROCESSES):
            process = subprocess.Popen(
                [sys.executable, str(script), target, str(folder / f"acks{number}")],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env={**os.environ, "LANES": str(LANES), "PYTHONWARNINGS": "ignore"},
            )
            assert process.stdin is not None and process.stdout is not None
            print(f"w{number}", file=process.stdin, flush=True)
            started.append((process, int(process.stdout.readline())))
        yield
    finally:
        for process, pid in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            process.communicate()


async def newer(tenant: TenantStore, collection: str, property: str, last: str) -> list[tuple[str, str]]:
    """What a client asks: all that is newer than its last answer, oldest first, page by page."""
    found: list[tuple[str, str]] = []
    name, after = Property((property,), kind="instant"), None
    while True:
        query = Query(50, Compare("gt", name, Literal(last, "instant")), (Order(name),), after)
        page = await tenant.page(collection, query)
        found += [(row.id, json.loads(row.doc)[property]) for row in page.rows]
        if not page.more:
            return found
        after = page.last


@pytest.mark.slow
async def test_a_poller_misses_nothing_of_eight_writers(target: str, tmp_path: Path) -> None:
    """A client that asks for `gt` its last answer gets every document once, while 8 writers in 4 processes write,
    whose clocks differ and are set back and forth."""
    store = open_store(target, (JOBS,))
    await store.start()
    tenant, last, polls = store.tenant(TENANT), "2000-01-01T00:00:00.0000000Z", 0
    seen: list[str] = []
    with writers(target, tmp_path):
        loop = asyncio.get_running_loop()
        end = loop.time() + POLL_FOR_S
        while loop.time() < end or len(seen) < 500:
            found = await newer(tenant, "jobs", "createdDateTime", last)
            assert all(at > last for _, at in found) and [at for _, at in found] == sorted({at for _, at in found})
            seen += [id for id, _ in found]
            last = found[-1][1] if found else last
            polls += 1
            await asyncio.sleep(0.001)
            assert loop.time() < end + 30
    seen += [id for id, _ in await newer(tenant, "jobs", "createdDateTime", last)]
    everything = [change.id for change in await all_changes(store)]
    assert seen == everything and len(set(seen)) == len(seen) == await tenant.count("jobs")
    assert {id.split("-")[0] for id in seen} == {f"w{n}" for n in range(PROCESSES)} and polls > 10
    acknowledged = "".join((tmp_path / f"acks{n}").read_text() for n in range(PROCESSES)).splitlines()
    assert set(acknowledged) <= set(seen)
    await store.close()


async def all_changes(store: Store) -> list[Change]:
    found: list[Change] = []
    position = 0
    while changes := await store.changes(position, limit=5_000):
        found += changes
        position = changes[-1].seq
    return found


async def test_a_poller_sees_every_update(opened: Opener) -> None:
    """By the stamp of the last change: each document's newest state is seen, while it changes again and again."""
    stores = [await opened() for _ in range(2)]
    tenants = [store.tenant("t1") for store in stores]
    await tenants[0].write(putting(*(alert(f"a{i}", title="0") for i in range(20))), actor="me")
    running = True

    async def change(lane: int) -> int:
        rounds = 0
        while rounds < 60:
            rounds += 1
            await tenants[lane % 2].write(putting(alert(f"a{lane}", title=str(rounds))), actor="me")
        return rounds

    async def poll() -> dict[str, str]:
        known: dict[str, str] = {}
        last = "2000-01-01T00:00:00.0000000Z"
        while True:
            final = not running
            name = Property(("lastUpdateDateTime",), kind="instant")
            page = await tenants[0].page(
                "alerts", Query(7, Compare("gt", name, Literal(last, "instant")), (Order(name),))
            )
            for row in page.rows:
                known[row.id] = json.loads(row.doc)["title"]
                last = row.updated
            if final and not page.more:
                return known
            await asyncio.sleep(0)

    poller = asyncio.create_task(poll())
    await asyncio.gather(*(change(lane) for lane in range(8)))
    running = False
    assert await poller == {f"a{i}": "60" if i < 8 else "0" for i in range(20)}


async def test_increments_are_not_lost(opened: Opener) -> None:
    """A write reads and changes alone: 4 stores add to one document, each change counts."""
    stores = [await opened() for _ in range(4)]
    await stores[0].tenant("t").write(putting(note("n", count=0)), actor="me")

    def add(tx: Tx) -> None:
        old = tx.get("notes", "n")
        assert old is not None
        tx.put(note("n", count=json.loads(old.doc)["count"] + 1))

    await asyncio.gather(*(store.tenant("t").write(add, actor="me") for store in stores for _ in range(50)))
    got = await stores[1].tenant("t").get("notes", "n")
    assert got is not None and json.loads(got.doc) == {"count": 200}


async def test_unless_exists_stores_once(opened: Opener) -> None:
    """However many bring the same id at once, one of them has stored it."""
    stores = [await opened() for _ in range(3)]
    how = [
        store.tenant("t").write(putting(note("n", by=i), unless_exists=True), actor="me")
        for i, store in enumerate(stores * 10)
    ]
    answers = await asyncio.gather(*how)
    assert sum(answer is not None for [answer] in answers) == 1
    assert len(await stores[0].changes(0, limit=99)) == 1


async def test_a_range_of_stamps_is_stable(opened: Opener) -> None:
    """A window of time that has been read in full reads the same later, whatever is written."""
    store, other = await opened(), await opened()
    tenant = store.tenant("t1")
    await tenant.write(putting(*(alert(f"a{i}") for i in range(30))), actor="me")
    name = Property(("createdDateTime",), kind="instant")
    newest = (await tenant.page("alerts", Query(1))).rows[0].created
    window = And((Compare("le", name, Literal(newest, "instant")), Compare("gt", name, Literal("2000", "instant"))))
    before = [row.id for row in (await tenant.page("alerts", Query(100, window))).rows]
    await other.tenant("t1").write(putting(*(alert(f"b{i}") for i in range(30))), actor="me")
    assert [row.id for row in (await tenant.page("alerts", Query(100, window))).rows] == before


async def test_lanes_take_turns(store: Store) -> None:
    """A tenant that floods the queue does not hold up another, whose request is among the next to be committed."""
    gate = threading.Event()  # opened when all of them wait, however slow the machine is
    held = asyncio.create_task(store.tenant("loud").write(lambda tx: gate.wait(), actor="me"))
    flood = [asyncio.create_task(store.tenant("loud").write(putting(note(f"n{i}")), actor="me")) for i in range(2_000)]
    await asyncio.sleep(0)
    quiet = asyncio.create_task(store.tenant("quiet").write(putting(note("n")), actor="me"))
    await asyncio.sleep(0)
    gate.set()
    answer = (await quiet)[0]
    await asyncio.gather(held, *flood)
    before = [change for change in await all_changes(store) if answer is not None and change.seq < answer.seq]
    assert len(before) < 10


async def test_what_is_quick_does_not_wait_behind_bulk_work(store: Store) -> None:
    """Of the same tenant: an analyst's change comes after one group of the bulk at most, and the bulk goes on."""
    tenant = store.tenant("t")

    async def bulk(number: int) -> None:
        notes = [note(f"n{number}.{i}") for i in range(40)]
        await tenant.write(putting(*notes), actor="source", bulk=True)

    flood = [asyncio.create_task(bulk(number)) for number in range(100)]
    await asyncio.sleep(0)
    quick = (await tenant.write(putting(note("q")), actor="analyst"))[0]
    assert not all(task.done() for task in flood)
    await asyncio.gather(*flood)
    assert quick is not None
    assert len([change for change in await all_changes(store) if change.seq < quick.seq]) < 3_000
    assert await tenant.count("notes") == 4_001


async def test_several_processes_make_a_store(target: str, tmp_path: Path) -> None:
    """All that start at once on nothing find one database, made once."""
    stores = [open_store(target, COLLECTIONS) for _ in range(6)]
    await asyncio.gather(*(store.start() for store in stores))
    await asyncio.gather(
        *(store.tenant("t").write(putting(note(f"n{i}")), actor="x") for i, store in enumerate(stores))
    )
    assert await stores[0].tenant("t").count("notes") == 6
    for store in stores:
        await store.close()


class CountingPen:
    """No database behind it."""

    db: Any = None
    commits = 0

    def begin(self) -> Any:
        return SimpleNamespace(feed=0)

    def commit(self, clock: Any) -> bool:
        self.commits += 1
        return False

    def _nothing(self) -> None: ...

    lock = savepoint = release = undo = abort = close = _nothing

    def explain(self, error: BaseException) -> tuple[None, bool]:
        return None, False


async def test_what_comes_while_bulk_work_runs_is_committed_with_it() -> None:
    """And comes before the bulk work that waits: it waits for no commit but one."""
    pen, began, go = CountingPen(), threading.Event(), threading.Event()
    writer, done = Writer(pen, Bounds(), lambda: None), list[str]()

    def bulk(db: Any, clock: Any) -> None:
        began.set()
        assert go.wait(30)
        done.append("bulk")

    first, second = (asyncio.create_task(writer.run(bulk, "t", bulk=True)) for _ in range(2))
    assert await asyncio.to_thread(began.wait, 30)
    quick = asyncio.create_task(writer.run(lambda db, clock: done.append("quick"), "t"))
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(first, quick)
    assert done[:2] == ["bulk", "quick"] and pen.commits >= 1
    await second
    assert done == ["bulk", "quick", "bulk"] and pen.commits == 2
    writer.close()
