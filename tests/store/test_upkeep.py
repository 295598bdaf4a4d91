"""Export, restore, erase, backup and migration."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.store.conftest import COLLECTIONS, Opener, alert, note, person, putting

from bartizan.errors import BadRequest, Conflict, NotServed, Unavailable
from bartizan.odata.tree import Compare, Literal, Order
from bartizan.odata.tree import Path as Property
from bartizan.store import FEED_PLACE, Collection, Column, Draft, Entity, Query, Store, Tx, draft, open_store
from bartizan.store.sql import Db

pytestmark = pytest.mark.anyio


async def fill(store: Store, tenant: str) -> None:
    def work(tx: Tx) -> None:
        for i in range(12):
            tx.put(alert(f"a{i:02}", tenantId=f"r{i % 3}"))
        tx.put(person("p1", "ann@x.org", age=3, score=0.5, on=True))
        tx.put(Draft("notes", "n1", b'{"a": "\xc3\xa4\\n"}', beta=b'{"b":1}', state=b'{"c":1}', evolvable=True))
        tx.put(Draft("notes", "n2", b"{}", entities=(Entity("host", "h1", "src"),)))
        tx.relate("members", "g1", "people", "p1")
        tx.attach("notes", "n1", "raw", bytes(range(256)))
        tx.set_value("k", b"\0\xff")

    await store.tenant(tenant).write(work, actor="me")


async def contents(store: Store, tenant: str) -> dict[str, Any]:
    """All that a tenant holds, without version numbers."""
    of, found = store.tenant(tenant), {}
    for collection in COLLECTIONS:
        for row in (await of.page(collection.name, Query(100))).rows:
            got = await of.get(collection.name, row.id)
            assert got is not None
            texts = [
                text and text.replace(f"{got.seq:016x}".encode(), b"etag") for text in (got.doc, got.beta, got.state)
            ]
            found[f"{collection.name}/{row.id}"] = (got.created, got.updated, got.evolvable, texts)
    edges = await of.related("members", "g1", limit=5), await of.relating("members", "people", "p1", limit=5)
    kept = await of.attachment("notes", "n1", "raw"), await of.value("k"), await of.lookup("people", "upn", "ANN@x.org")
    index = await of.entity("host", "h1"), await of.entity("resource", "r1")
    return {**found, "edges": edges, "raw": kept[:2], "lookup": kept[2] and kept[2].id, "index": index}


async def test_a_tenant_goes_out_and_comes_back(store: Store) -> None:
    """Export, erase and restore give the same tenant, byte for byte but for its ETags; others are not touched."""
    await fill(store, "t1")
    await fill(store, "t2")
    before, other = await contents(store, "t1"), await contents(store, "t2")
    lines = [line async for line in store.export("t1")]
    assert all(line.endswith(b"\n") and b"\n" not in line[:-1] for line in lines)
    assert json.loads(lines[-1]) == {"kind": "end", "documents": 15}
    assert await store.erase("t1") == 15
    empty = await contents(store, "t1")
    assert empty == {"edges": ([], []), "raw": (None, None), "lookup": None, "index": ([], [])}
    assert all(change.tenant == "t2" for change in await store.changes(0, limit=100))
    assert await store.restore("t1", lines) == 15
    assert await contents(store, "t1") == before and await contents(store, "t2") == other
    again = [line async for line in store.export("t1")]
    assert [json.loads(line) | {"seq": 0, "doc": ""} for line in again] == [
        json.loads(line) | {"seq": 0, "doc": ""} for line in lines
    ]
    assert await store.erase("nobody") == 0


async def test_places_in_the_feed_stay_behind(store: Store) -> None:
    """Where a stage stood in this store's feed means nothing in another's, or in this one later."""
    tenant = store.tenant("t1")

    def work(tx: Tx) -> None:
        tx.put(note("n1"))
        tx.set_value("kept", b"1")
        tx.set_value(f"{FEED_PLACE}stage", b"50000")

    await tenant.write(work, actor="me")
    lines = [line async for line in store.export("t1")]
    await store.erase("t1")
    assert await store.restore("t1", lines) == 1
    assert await tenant.value("kept") == b"1" and await tenant.value(f"{FEED_PLACE}stage") is None


async def test_restored_documents_have_current_etags(store: Store) -> None:
    """The ETag in the document is the one that If-Match takes; later stamps are above all restored ones."""
    await fill(store, "t1")
    lines = [line async for line in store.export("t1")]
    await store.restore("t9", lines)
    got = await store.tenant("t9").get("alerts", "a03")
    assert got is not None and json.loads(got.doc)["@odata.etag"] == got.etag
    [put] = await store.tenant("t9").write(putting(alert("a03"), if_match=got.etag), actor="me")
    assert put is not None and put.created == got.created and put.updated > got.updated


async def test_a_restore_is_all_or_nothing(store: Store) -> None:
    """A tenant that holds something: Conflict. A line that is none, an unknown set, a missing end: nothing stays."""
    await fill(store, "t1")
    lines = [line async for line in store.export("t1")]
    with pytest.raises(Conflict):
        await store.restore("t1", lines)
    document = json.loads(lines[1])
    broken: list[list[bytes]] = [
        lines[:-1],
        [*lines[:5], lines[-1]],
        [*lines[:-1], b"nonsense\n", lines[-1]],
        [*lines[:-1], b'{"kind":"else"}\n', lines[-1]],
        [json.dumps({**document, "collection": "nowhere"}).encode(), lines[-1]],
        [json.dumps({**document, "updated": "2999-01-01T00:00:00.0000000Z"}).encode(), b'{"kind":"end","documents":1}'],
        [b'{"kind":"bartizan-tenant","format":99}', b'{"kind":"end","documents":0}'],
    ]
    for wrong in broken:
        with pytest.raises(BadRequest):
            await store.restore("t3", wrong)
    assert await store.restore("t3", lines) == 15


async def test_an_export_is_of_one_moment(opened: Opener) -> None:
    """What is written while it is read does not show in it."""
    store = await opened()
    tenant = store.tenant("t1")
    await tenant.write(putting(*(note(f"n{i:04}", state="old") for i in range(1_500))), actor="me")
    export, lines = store.export("t1"), []
    async for line in export:
        lines.append(line)
        if len(lines) == 3:
            await tenant.write(putting(*(note(f"n{i:04}", state="new") for i in range(1_600))), actor="me")
    documents = [json.loads(json.loads(line)["doc"]) for line in lines if b'"kind":"document"' in line]
    assert documents == [{"state": "old"}] * 1_500


async def test_an_export_may_be_left(store: Store) -> None:
    """A reader that goes away closes what it held."""
    await fill(store, "t1")
    export = store.export("t1")
    async for _ in export:
        break
    await export.aclose()  # type: ignore[attr-defined]
    assert await store.erase("t1") == 15


async def test_backup_while_writing(opened: Opener, target: str, tmp_path: Path) -> None:
    """A copy taken while others write opens as a store of its own, with whole transactions only."""
    store = await opened()
    tenant = store.tenant("t1")
    if target.startswith("postgresql://"):
        with pytest.raises(NotServed, match="pg_dump"):
            await store.backup(str(tmp_path / "copy.db"))
        return
    running, rounds, begun = True, 0, asyncio.Event()

    async def write() -> None:
        nonlocal rounds
        while running:
            await tenant.write(putting(note(f"n{rounds}"), alert(f"a{rounds}")), actor="me")
            rounds += 1
            if rounds == 50:
                begun.set()

    task = asyncio.create_task(write())
    await begun.wait()
    for _ in range(3):
        await store.backup(str(tmp_path / "copy.db"))
    running = False
    await task
    copy = open_store(tmp_path / "copy.db", COLLECTIONS)
    await copy.start()
    notes, alerts = await copy.tenant("t1").count("notes"), await copy.tenant("t1").count("alerts")
    assert notes == alerts and 50 <= notes <= rounds
    assert await copy.head() == (await copy.changes(0, limit=10_000))[-1].seq
    await copy.tenant("t1").write(putting(note("more")), actor="me")
    await copy.close()
    with pytest.raises(Unavailable):
        await store.backup("/nowhere/at/all.db")


async def test_a_newer_schema_is_refused(opened: Opener, target: str) -> None:
    """A database that a newer program has migrated is not touched."""
    store = await opened()

    def newer(db: Db, _: Any) -> None:
        db.run("UPDATE meta SET value = '99' WHERE key = 'schema'")

    await store.write(newer)  # type: ignore[attr-defined]
    with pytest.raises(Unavailable, match="newer Bartizan"):
        await open_store(target, COLLECTIONS).start()


OLD = Collection("notes", columns=(Column("a"), Column("n", "int")), order=(("a", False),))
NEW = Collection(
    "notes",
    columns=(
        Column("n", "real"),
        Column("b", fold=True, unique=True),
        Column("at", "instant"),
        Column("seen", "instant"),
    ),
    order=(("at", True),),
    entities={"hosts/name": "host"},
    created="at",
)


async def test_a_changed_declaration_migrates(opened: Opener) -> None:
    """New columns are filled from the documents, changed kinds anew; entities are indexed, indexes follow."""
    old = await opened((OLD,))
    bodies = [{"a": f"v{i}", "b": f"B{i}", "n": i, "seen": None, "hosts": [{"name": f"H{i % 2}"}]} for i in range(450)]
    await old.tenant("t1").write(putting(*(draft(OLD, body, f"n{i:03}") for i, body in enumerate(bodies))), actor="me")
    await old.tenant("t2").write(putting(draft(OLD, {"b": "B1"}, "n1")), actor="me")
    await old.close()
    new = await opened((NEW,))
    tenant = new.tenant("t1")
    half = Compare("lt", Property(("n",)), Literal(2.5, "real"))
    assert [row.id for row in (await tenant.page("notes", Query(9, half))).rows] == ["n002", "n001", "n000"]
    found = await tenant.lookup("notes", "b", "b17")
    assert found is not None and found.id == "n017"
    assert len(await tenant.entity("host", "h1", collection="notes")) == 225
    last = await tenant.page("notes", Query(1, order=(Order(Property(("at",)), True),)))
    assert last.last == ((await tenant.get("notes", "n449")).created, "n449")  # type: ignore[union-attr]
    with pytest.raises(Conflict):
        await tenant.write(putting(draft(NEW, {"b": "b17"}, "x")), actor="me")
    await tenant.write(putting(draft(NEW, {"b": "b999", "n": 7}, "x")), actor="me")
    await new.close()
    back = await opened((OLD,))
    page = await back.tenant("t1").page("notes", Query(2, Compare("eq", Property(("a",)), Literal("v3", "text"))))
    assert [row.id for row in page.rows] == ["n003"]
    after = Compare("eq", Property(("n",)), Literal(7, "int"))
    assert sorted(row.id for row in (await back.tenant("t1").page("notes", Query(5, after))).rows) == ["n007", "x"]


async def test_a_migration_goes_on_where_it_stopped(opened: Opener) -> None:
    """Several processes start at once on an old database: all are ready, all columns are filled."""
    old = await opened((OLD,))
    bodies = [{"b": f"b{i}", "n": i} for i in range(1_000)]
    await old.tenant("t1").write(putting(*(draft(OLD, body, f"n{i}") for i, body in enumerate(bodies))), actor="me")
    await old.close()
    stores = await asyncio.gather(*(opened((NEW,)) for _ in range(3)))
    for store in stores:
        assert await store.tenant("t1").count("notes", Compare("ge", Property(("n",)), Literal(0.0, "real"))) == 1_000


async def test_a_start_waits_for_a_migration(opened: Opener) -> None:
    """One that starts while another holds the lock beyond its bound waits for it; a long restore is not cut."""
    store = await opened(work_s=0.2)
    await store.tenant("t1").write(putting(*(note(f"n{i}") for i in range(300))), actor="me")
    lines = [line async for line in store.export("t1")]
    begun = threading.Event()

    def slowly() -> Iterator[bytes]:
        for number, line in enumerate(lines):
            begun.set()
            if number % 100 == 0:
                time.sleep(0.2)
            yield line

    restoring = asyncio.create_task(store.restore("t2", slowly()))
    await asyncio.to_thread(begun.wait, 10)
    late = await opened(lock_s=0.1)
    assert await restoring == 300 and await late.tenant("t2").count("notes") == 300


async def test_starting_twice_changes_nothing(opened: Opener) -> None:
    """The second start finds all as it should be."""
    first = await opened()
    await fill(first, "t1")
    before = await contents(first, "t1")
    second = await opened()
    assert await contents(second, "t1") == before and await second.head() == await first.head()
