"""The change feed: commit order, cursors, retention; leases."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from tests.store.conftest import COLLECTIONS, Opener, alert, note, person, putting

from bartizan.errors import Gone
from bartizan.store import Collection, Draft, LeaseLost, Store, Tx, draft

pytestmark = pytest.mark.anyio


async def test_each_change_is_told(store: Store) -> None:
    """Created, updated with what changed, deleted; with actor, tenant and stamp; not for sets without a feed."""
    one, other = store.tenant("t1"), store.tenant("t2")
    await one.write(putting(note("n1", x=1)), actor="ann")
    told = {"x": (1, 2), "tags": ([], ["a"]), "deep": (None, {"a": 1})}
    await one.write(putting(note("n1", x=2), changed=told), actor="bob")
    await other.write(putting(alert("a1")), actor="app")
    await one.write(lambda tx: tx.delete("notes", "n1"), actor="ann")
    await one.write(lambda tx: tx.put(Draft("tokens", "t", b"{}")), actor="ann")
    changes = await store.changes(0, limit=10)
    assert [(c.tenant, c.collection, c.id, c.op, c.actor) for c in changes] == [
        ("t1", "notes", "n1", "created", "ann"),
        ("t1", "notes", "n1", "updated", "bob"),
        ("t2", "alerts", "a1", "created", "app"),
        ("t1", "notes", "n1", "deleted", "ann"),
    ]
    assert changes[1].changed == told and changes[0].changed is None
    assert [c.seq for c in changes] == sorted({c.seq for c in changes}) and await store.head() == changes[-1].seq
    got = await other.get("alerts", "a1")
    assert got is not None and (got.seq, got.updated) == (changes[2].seq, changes[2].at)


async def test_the_feed_is_read_in_pieces(store: Store) -> None:
    """By position, bounded, for some collections only; each piece continues where the last one ended."""
    tenant = store.tenant("t1")
    for i in range(30):
        await tenant.write(putting(note(f"n{i}") if i % 3 else alert(f"a{i}")), actor="me")
    everything = await store.changes(0, limit=100)
    pieces, after = [], 0
    while piece := await store.changes(after, limit=7):
        pieces += piece
        after = piece[-1].seq
    assert pieces == everything and len(everything) == 30
    some = await store.changes(0, limit=100, collections=["alerts"])
    assert some == [c for c in everything if c.collection == "alerts"]
    both = await store.changes(some[0].seq, limit=5, collections=["alerts", "notes", "people"])
    assert both == everything[1:6]


async def test_the_feed_of_one_tenant(store: Store) -> None:
    """Of one tenant alone, with and without a choice of collections, still in order and bounded."""
    for i in range(8):
        await store.tenant(f"t{i % 2}").write(putting(note(f"n{i}") if i % 4 else alert(f"a{i}")), actor="me")
    everything = await store.changes(0, limit=100)
    mine = [c for c in everything if c.tenant == "t1"]
    assert await store.changes(0, limit=100, tenant="t1") == mine and len(mine) == 4
    assert await store.changes(mine[0].seq, limit=2, tenant="t1") == mine[1:3]
    assert await store.changes(0, limit=100, collections=["alerts"], tenant="t1") == []
    assert await store.changes(0, limit=100, collections=["notes", "alerts"], tenant="t1") == mine


async def test_an_open_write_holds_back_later_ones(opened: Opener) -> None:
    """While an earlier write is open, a later one of another process cannot become visible before it: no reader who
    goes by position loses either."""
    first, second = await opened(), await opened()
    begun, go_on = threading.Event(), threading.Event()

    def slow(tx: Tx) -> None:
        tx.put(note("early"))
        begun.set()
        assert go_on.wait(10)

    early = asyncio.create_task(first.tenant("t").write(slow, actor="a"))
    await asyncio.to_thread(begun.wait, 10)
    late = asyncio.create_task(second.tenant("t").write(putting(note("late")), actor="b"))
    position, seen = 0, []
    for _ in range(5):
        await asyncio.wait([late], timeout=0.05)
        for change in await second.changes(position, limit=10):
            seen.append(change.id)
            position = change.seq
    assert not late.done() and seen == []
    go_on.set()
    await asyncio.gather(early, late)
    seen += [change.id for change in await first.changes(position, limit=10)]
    assert seen == ["early", "late"]


HOLDER = """
import asyncio, sys
from tests.store.conftest import COLLECTIONS, note
from bartizan.store import Tx, open_store

def work(tx: Tx) -> None:
    tx.put(note(sys.argv[2]))
    print("begun", flush=True)
    sys.stdin.readline()

async def main() -> None:
    store = open_store(sys.argv[1], COLLECTIONS)
    await store.start()
    await store.tenant("t").write(work, actor="a")
    print("stored", flush=True)

asyncio.run(main())
"""


def holder(target: str, id: str) -> "subprocess.Popen[str]":
    """A process that holds its write open until it gets a line."""
    command = [sys.executable, "-c", HOLDER, target, id]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def told(process: "subprocess.Popen[str]", line: str) -> None:
    """Waits for what a process prints; the program's own log lines are passed over."""
    assert process.stdout is not None
    assert line in (each.strip() for each in iter(process.stdout.readline, ""))


def go_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    print(file=process.stdin, flush=True)
    told(process, "stored")


async def test_processes_that_hold_writes_open(opened: Opener, target: str) -> None:
    """The same with each writer in a process of its own. One that is killed while its write is open leaves nothing
    and holds nobody up."""
    reader = await opened()
    position, seen = 0, []

    async def read() -> list[str]:
        nonlocal position
        for change in await reader.changes(position, limit=10):
            seen.append(change.id)
            position = change.seq
        return seen

    with holder(target, "early") as early:
        await asyncio.to_thread(told, early, "begun")
        with holder(target, "killed") as killed:
            assert await read() == []
            await asyncio.to_thread(go_on, early)
            assert await read() == ["early"]
            await asyncio.to_thread(told, killed, "begun")
            with holder(target, "late") as late:
                assert await read() == ["early"]
                killed.kill()
                await asyncio.to_thread(told, late, "begun")
                await asyncio.to_thread(go_on, late)
    assert await read() == ["early", "late"] and await reader.tenant("t").count("notes") == 2


async def test_changed_wakes(opened: Opener) -> None:
    """A commit of this process wakes at once; one of another is noticed within a poll."""
    store, other = await opened(), await opened()
    for writer in (store, other):
        waiting = asyncio.ensure_future(store.changed())
        await asyncio.sleep(0)
        await writer.tenant("t").write(putting(note("n")), actor="me")
        await asyncio.wait_for(waiting, 5)
    await asyncio.wait_for(asyncio.ensure_future(store.changed()), 5)


async def test_cursors_never_go_back(store: Store) -> None:
    """Moved with what was made of the changes, or alone; a lower number changes nothing."""
    tenant = store.tenant("t1")
    assert await store.cursor("c") is None
    await store.advance("c", 5)

    def stage(tx: Tx) -> None:
        tx.put(note("n1"))
        tx.advance("c", 9)

    await tenant.write(stage, actor="stage")
    await store.advance("c", 7)
    assert await store.cursor("c") == 9
    await store.drop_cursor("c")
    assert await store.cursor("c") is None


async def test_retention_never_passes_a_cursor(opened: Opener) -> None:
    """Feed rows go when they are old and every cursor has passed them; who is behind that is told so."""
    store = await opened(feed_keep=timedelta(days=1))
    tenant = store.tenant("t1")
    for i in range(20):
        await tenant.write(putting(note(f"n{i}")), actor="me")
    changes = await store.changes(0, limit=50)
    later = datetime.now(UTC) + timedelta(days=2)
    await store.advance("slow", changes[4].seq)
    await store.advance("fast", changes[-1].seq)
    assert await store.retain(datetime.now(UTC)) == 0
    assert await store.floor() == 0
    assert await store.retain(later) == 5 and await store.floor() == changes[4].seq
    assert await store.changes(changes[4].seq, limit=50) == changes[5:]
    for collections in (None, ["notes"]):
        with pytest.raises(Gone, match=str(changes[4].seq)):
            await store.changes(changes[3].seq, limit=50, collections=collections)
    await store.drop_cursor("slow")
    assert await store.retain(later) == 15 and await store.head() == changes[-1].seq
    assert await store.changes(changes[-1].seq, limit=5) == []
    await tenant.write(putting(note("new")), actor="me")
    assert [c.id for c in await store.changes(changes[-1].seq, limit=5)] == ["new"]


async def test_old_documents_are_removed(opened: Opener) -> None:
    """By age of their last change, where the collection says so; the feed tells it."""
    old = Collection("signins", keep=timedelta(days=30), columns=(), entities={"ip": "address"})
    store = await opened((*COLLECTIONS, old))
    tenant = store.tenant("t1")
    for i in range(3):
        await tenant.write(putting(draft(old, {"ip": "10.0.0.1"}, f"s{i}"), note(f"n{i}")), actor="me")
    assert await store.retain(datetime.now(UTC) + timedelta(days=29)) == 6  # the feed's rows, none of the documents
    assert await store.retain(datetime.now(UTC) + timedelta(days=31)) >= 3
    assert await tenant.count("signins") == 0 and await tenant.count("notes") == 3
    assert await tenant.entity("address", "10.0.0.1") == []


async def test_leases(opened: Opener) -> None:
    """One owner at a time, renewed by itself, free again when released or run out."""
    one, other = await opened(), await opened()
    assert await one.lease("work", "a", seconds=60)
    assert not await other.lease("work", "b", seconds=60)
    assert await one.lease("work", "a", seconds=60) and await other.lease("else", "b", seconds=60)
    await other.release("work", "b")
    assert not await other.lease("work", "b", seconds=60)
    await one.release("work", "a")
    assert await other.lease("work", "b", seconds=-1)
    assert await one.lease("work", "a", seconds=60)


async def test_who_lost_a_lease_cannot_write(opened: Opener) -> None:
    """A stage that slept while another took over stores nothing; one whose lease has only run out still does."""
    one, other = await opened(), await opened()

    def stage(owner: str, id: str) -> Callable[[Tx], None]:
        def work(tx: Tx) -> None:
            tx.put(note(id))
            tx.advance("cursor", 5)
            tx.hold("work", owner)

        return work

    with pytest.raises(LeaseLost):
        await one.tenant("t").write(stage("a", "n0"), actor="a")
    assert await one.lease("work", "a", seconds=-1)
    await one.tenant("t").write(stage("a", "n1"), actor="a")
    assert await other.lease("work", "b", seconds=60)
    await one.drop_cursor("cursor")
    with pytest.raises(LeaseLost, match="work"):
        await one.tenant("t").write(stage("a", "n2"), actor="a")
    await other.tenant("t").write(putting(note("n3")), actor="b")
    assert await one.cursor("cursor") is None
    assert [change.id for change in await one.changes(0, limit=9)] == ["n1", "n3"]


async def test_only_one_of_many_gets_a_lease(opened: Opener) -> None:
    """However many ask at once."""
    stores = [await opened() for _ in range(3)]
    asked = [store.lease("work", f"{n}-{i}", seconds=60) for n, store in enumerate(stores) for i in range(5)]
    assert sum(await asyncio.gather(*asked)) == 1


async def test_people_are_in_the_feed(store: Store) -> None:
    """A write that touches several sets numbers its changes in the order in which it made them."""
    await store.tenant("t").write(putting(person("p", "a@x"), note("n"), alert("a")), actor="me")
    assert [c.collection for c in await store.changes(0, limit=9)] == ["people", "notes", "alerts"]
