"""What a write promises: documents, stamps, versions, unique values, edges and attachments; all or nothing."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from tests.store.conftest import ALERTS, PEOPLE, Opener, alert, note, person, putting

from bartizan.errors import BadRequest, BartizanError, Conflict, PreconditionFailed, TooLarge, Unavailable
from bartizan.model.stamps import ETAG
from bartizan.model.times import from_ticks
from bartizan.store import (
    CREATED,
    UPDATED,
    Collection,
    Column,
    Draft,
    Entity,
    Query,
    Store,
    Tx,
    draft,
    inner,
    open_store,
)

pytestmark = pytest.mark.anyio


async def test_a_written_document_is_read_back(store: Store) -> None:
    """What was put is there for the next read, byte for byte but for its stamps and ETag."""
    tenant = store.tenant("t1")
    [put] = await tenant.write(putting(alert("a1", severity="high")), actor="me")
    got = await tenant.get("alerts", "a1")
    assert got == put and got is not None
    body = json.loads(got.doc)
    assert next(iter(body)) == "@odata.etag" and body["@odata.etag"] == got.etag == f'W/"{got.seq:016x}"'
    assert body["createdDateTime"] == body["lastUpdateDateTime"] == got.created == got.updated
    assert (body["id"], body["severity"], body["classification"]) == ("a1", "high", None)
    assert inner(got)["title"] == "alert a1" and "@odata.etag" not in inner(got)


async def test_a_replaced_document_keeps_its_creation(store: Store) -> None:
    """A second put replaces: created stays, updated and ETag move on."""
    tenant = store.tenant("t1")
    [first] = await tenant.write(putting(alert("a1")), actor="me")
    [second] = await tenant.write(putting(alert("a1", status="resolved")), actor="me")
    assert first is not None and second is not None
    assert second.created == first.created and second.updated > first.updated and second.seq > first.seq
    assert inner(second)["createdDateTime"] == first.created
    page = await tenant.page("alerts", Query(10))
    assert [row.id for row in page.rows] == ["a1"] and json.loads(page.rows[0].doc)["status"] == "resolved"


async def test_a_write_sees_all_that_it_has_put(store: Store) -> None:
    """However it asks, and whatever it does with it next; nothing of it twice, and nothing that it took back."""
    tenant, host = store.tenant("t1"), Entity("host", "pc1")

    def work(tx: Tx) -> None:
        for name in ("a1", "a2", "a3"):
            tx.put(draft(ALERTS, {"title": name, "tenantId": "x"}, name, entities=[host]))
            tx.attach("alerts", name, "raw", name.encode())
        got = tx.get("alerts", "a1")
        assert got is not None and inner(got)["title"] == "a1"
        tx.put(draft(PEOPLE, {"upn": "Ann@x.org", "age": 1}, "p1", state=None))
        found = tx.lookup("people", "upn", "ann@x.org")
        assert found is not None and found.id == "p1"
        with pytest.raises(Conflict):
            tx.put(draft(PEOPLE, {"upn": "ANN@x.org", "age": 2}, "p2", state=None))
        tx.put(draft(ALERTS, {"title": "again", "tenantId": "y"}, "a2"))  # another put, without the host
        tx.put(alert("a4", severity="high"))
        assert tx.put(alert("a4", severity="low"), unless_exists=True) is None
        assert tx.delete("alerts", "a3")
        assert [row.id for row in tx.find("alerts", None, limit=9)] == ["a4", "a2", "a1"]

    await tenant.write(work, actor="me")
    assert [row.id for row in (await tenant.page("alerts", Query(9))).rows] == ["a4", "a2", "a1"]
    assert [row[1] for row in await tenant.entity("host", "pc1")] == ["a1"]
    assert [row[1] for row in await tenant.entity("resource", "y")] == ["a2"]
    raws = [await tenant.attachment("alerts", each, "raw") for each in ("a1", "a2", "a3")]
    assert raws == [b"a1", b"a2", None]
    told = [(change.id, change.op) for change in await store.changes(0, limit=20)]
    made = [(each, "created") for each in ("a1", "a2", "a3", "p1")]
    assert told == [*made, ("a2", "updated"), ("a4", "created"), ("a3", "deleted")]


async def test_documents_that_are_expected_to_be_new(store: Store) -> None:
    """Those that are there already are replaced as ever, and one that comes twice is itself the second time."""
    tenant, many = store.tenant("t1"), [f"a{n}" for n in range(1_200)]
    await tenant.write(putting(alert("a7", severity="high")), actor="me")

    def work(tx: Tx) -> list[int]:
        tx.expect("alerts", many)
        before = [each for each in many if tx.get("alerts", each) is not None]
        assert before == ["a7"]
        for each in ("a7", "a8", "a8"):
            tx.put(alert(each, severity="low"))
        assert tx.get("alerts", "a8") is not None and tx.get("alerts", "a9") is None
        return [row.seq for row in tx.find("alerts", None, limit=9)]

    assert len(await tenant.write(work, actor="me")) == 2
    ops = [(change.id, change.op) for change in await store.changes(0, limit=9)]
    assert ops == [("a7", "created"), ("a7", "updated"), ("a8", "created"), ("a8", "updated")]


async def test_what_was_read_ahead_counts_while_it_is_so(store: Store) -> None:
    """A write takes what was read before it where nothing has changed since, and reads anew where something has."""
    tenant = store.tenant("t1")
    await tenant.write(putting(alert("a1"), alert("a2"), alert("a3")), actor="me")
    ahead = await tenant.ahead("alerts", ["a1", "a2", "a3", "new", "none"])
    assert [id for id, one in ahead.items() if one.stored is None] == ["new", "none"]
    [changed, _] = await tenant.write(putting(alert("a2", status="resolved"), alert("new")), actor="me")
    await tenant.write(lambda tx: tx.delete("alerts", "a3"), actor="me")

    def work(tx: Tx) -> None:
        tx.recall("alerts", ahead)
        assert tx.get("alerts", "a1") is ahead["a1"].stored
        assert tx.get("alerts", "a2") == changed and tx.get("alerts", "a3") is None
        assert tx.get("alerts", "none") is None and tx.get("alerts", "new") is not None
        put = tx.put(alert("a1", status="inProgress"))
        made = tx.put(alert("none"))
        assert put is not None and made is not None and tx.get("alerts", "a1") == put
        assert ahead["a1"].stored is not None and put.created == ahead["a1"].stored.created

    await tenant.write(work, actor="me")
    other = await store.tenant("t2").ahead("alerts", ["a1"])
    assert other["a1"].stored is None


async def test_a_bare_page_has_no_documents(store: Store) -> None:
    """Ids, stamps and versions alone, in the same order."""
    tenant = store.tenant("t1")
    await tenant.write(putting(alert("a1"), alert("a2")), actor="me")
    whole, bare = await tenant.page("alerts", Query(1)), await tenant.page("alerts", Query(1, bare=True))
    assert [(row.id, row.seq, row.doc) for row in bare.rows] == [(row.id, row.seq, b"") for row in whole.rows]
    assert (bare.last, bare.more) == (whole.last, True)


async def test_placeholders_are_whole_texts(store: Store) -> None:
    """Text that merely contains a placeholder's characters stays as it came."""
    tenant = store.tenant("t1")
    odd = {"zeros": ETAG, "talk": f'at {CREATED} and {UPDATED} by W/"{ETAG}"', "at": UPDATED, "from": CREATED}
    [put] = await tenant.write(putting(note("n1", **odd)), actor="me")
    assert put is not None
    body = json.loads(put.doc)
    assert (body["zeros"], body["talk"]) == (odd["zeros"], odd["talk"])
    assert (body["at"], body["from"]) == (put.updated, put.created)


def test_nobody_knows_a_placeholder() -> None:
    """Each process makes its own, so that no client can send one."""
    ask = [sys.executable, "-c", "from bartizan.store import *; print(CREATED, UPDATED, ETAG)"]
    one, other = ({*subprocess.check_output(ask, text=True).split()} for _ in range(2))
    assert len(one | other | {CREATED, UPDATED, ETAG}) == 9
    assert {len(each) for each in one} == {len(CREATED), len(ETAG)} == {28, 16}


async def test_unless_exists_changes_nothing(store: Store) -> None:
    """Doing it twice changes nothing: no new version, no change in the feed."""
    tenant = store.tenant("t1")
    await tenant.write(putting(note("n1", x=1), unless_exists=True), actor="me")
    before = await tenant.get("notes", "n1"), await store.head()
    assert await tenant.write(putting(note("n1", x=2), unless_exists=True), actor="me") == [None]
    assert (await tenant.get("notes", "n1"), await store.head()) == before


async def test_if_match(store: Store) -> None:
    """A stale version is 412 and changes nothing; the current one, a list with it, or * succeed."""
    tenant = store.tenant("t1")
    [one] = await tenant.write(putting(note("n1", x=1)), actor="me")
    [two] = await tenant.write(putting(note("n1", x=2)), actor="me")
    assert one is not None and two is not None
    with pytest.raises(PreconditionFailed, match=f"{two.seq:016x}"):
        await tenant.write(putting(note("n1", x=3), if_match=one.etag), actor="me")
    with pytest.raises(PreconditionFailed):
        await tenant.write(putting(note("n2"), if_match="*"), actor="me")
    with pytest.raises(PreconditionFailed):
        await tenant.write(lambda tx: tx.delete("notes", "n1", if_match=one.etag), actor="me")
    assert await tenant.get("notes", "n1") == two and await tenant.get("notes", "n2") is None
    [three] = await tenant.write(putting(note("n1", x=3), if_match=f"{one.etag}, {two.etag}"), actor="me")
    assert three is not None
    await tenant.write(putting(note("n1", x=4), if_match="*"), actor="me")
    assert await tenant.write(lambda tx: tx.delete("notes", "n1", if_match="*"), actor="me")


@pytest.mark.parametrize("before", [0, 5])
async def test_a_failing_write_leaves_nothing(store: Store, before: int) -> None:
    """What `work` raises comes back and undoes documents, edges, values and changes, and nothing of others, whether it
    is the first of those that are committed together or stands among them."""
    tenant = store.tenant("t1")
    began, go = threading.Event(), threading.Event()

    def holds(tx: Tx) -> None:
        began.set()
        assert go.wait(30)
        time.sleep(0.1)  # longer than a group takes others in

    def fails(tx: Tx) -> None:
        tx.put(note("bad", x=1))
        tx.put(alert("bad"))
        tx.relate("r", "bad", "notes", "bad")
        tx.attach("notes", "bad", "raw", b"1")
        tx.set_value("bad", b"1")
        tx.advance("bad", 7)
        raise LookupError("no")

    first = asyncio.create_task(tenant.write(holds, actor="me"))
    assert await asyncio.to_thread(began.wait, 30)
    waiting = asyncio.gather(
        *(tenant.write(putting(note(f"n{i}")), actor="me") for i in range(before)),
        tenant.write(fails, actor="me"),
        *(tenant.write(putting(note(f"m{i}")), actor="me") for i in range(5)),
        return_exceptions=True,
    )
    await asyncio.sleep(0)
    go.set()
    await first
    results = await waiting
    assert [isinstance(result, LookupError) for result in results] == [False] * before + [True] + [False] * 5
    assert await tenant.get("notes", "bad") is None and await tenant.get("alerts", "bad") is None
    assert await tenant.related("r", "bad", limit=5) == [] and await tenant.value("bad") is None
    assert await tenant.attachment("notes", "bad", "raw") is None and await store.cursor("bad") is None
    changes = await store.changes(0, limit=100)
    assert len(changes) == before + 5 and all(change.id != "bad" for change in changes)
    assert await store.head() == changes[-1].seq


async def test_unique_columns(store: Store) -> None:
    """A value is unique within a tenant, whatever its case where the column folds; nulls are not values."""
    one, other = store.tenant("t1"), store.tenant("t2")
    await one.write(putting(person("1", "Ann@x.org")), actor="me")
    with pytest.raises(Conflict, match="upn"):
        await one.write(putting(person("2", "ann@X.org")), actor="me")
    with pytest.raises(Conflict):
        await one.write(putting(person("3", "bob@x.org"), person("4", "bob@x.org")), actor="me")
    await other.write(putting(person("2", "ann@x.org")), actor="me")
    await one.write(putting(person("1", "ann@x.org", age=3)), actor="me")
    nameless = [Draft("people", id, b"{}") for id in ("5", "6")]
    await one.write(putting(*nameless), actor="me")
    assert await one.count("people") == 3
    found = await one.lookup("people", "upn", "ANN@x.org")
    assert found is not None and found.id == "1"
    assert await one.lookup("people", "upn", "nobody") is None
    with pytest.raises(ValueError, match="unique"):
        await one.lookup("people", "age", "3")


async def test_a_freed_unique_value_can_be_taken(store: Store) -> None:
    """Within one write, too."""
    tenant = store.tenant("t1")
    await tenant.write(putting(person("1", "a@x.org")), actor="me")
    await tenant.write(putting(person("1", "b@x.org"), person("2", "a@x.org")), actor="me")
    await tenant.write(lambda tx: (tx.delete("people", "2"), tx.put(person("3", "a@x.org"))), actor="me")
    found = await tenant.lookup("people", "upn", "a@x.org")
    assert found is not None and found.id == "3"


async def test_a_write_sees_itself(store: Store) -> None:
    """Reads inside a write see what it has put."""
    tenant = store.tenant("t1")

    def work(tx: Tx) -> tuple[Any, ...]:
        assert tx.get("notes", "n1") is None and tx.value("k") is None
        tx.put(note("n1", x=1))
        tx.put(person("p1", "a@x.org"))
        tx.set_value("k", b"v")
        tx.relate("r", "n1", "people", "p1")
        found = tx.lookup("people", "upn", "a@x.org")
        return (
            tx.get("notes", "n1") is not None,
            [row.id for row in tx.find("people", None, limit=5)],
            tx.value("k"),
            found is not None and found.id,
            tx.related("r", "n1", limit=5),
            tx.relating("r", "people", "p1", limit=5),
        )

    assert await tenant.write(work, actor="me") == (True, ["p1"], b"v", "p1", [("people", "p1")], ["n1"])


async def test_a_tenant_sees_only_itself(store: Store) -> None:
    """No method of one tenant finds, counts or changes what another holds under the same names."""
    one, other = store.tenant("t1"), store.tenant("t2")

    def fill(tx: Tx) -> None:
        tx.put(person("p", "a@x.org"))
        tx.put(Draft("notes", "n", b'{"of":"t1"}', entities=(Entity("host", "h", "r"),)))
        tx.relate("r", "n", "people", "p")
        tx.attach("notes", "n", "raw", b"1")
        tx.set_value("k", b"v")

    await one.write(fill, actor="me")
    assert await other.get("notes", "n") is None and await other.lookup("people", "upn", "a@x.org") is None
    assert (await other.page("notes", Query(5, count=True, ids=("n",)))).rows == []
    assert await other.count("notes") == 0 and await other.count("people") == 0
    assert await other.related("r", "n", limit=5) == [] and await other.relating("r", "people", "p", limit=5) == []
    assert await other.attachment("notes", "n", "raw") is None and await other.value("k") is None
    assert await other.entity("host", "h") == [] and await other.entity("host", "h", collection="notes") == []

    def meddle(tx: Tx) -> None:
        assert not tx.delete("notes", "n") and not tx.unrelate("r", "n", "people", "p")
        assert tx.find("notes", None, limit=5) == [] and tx.get("notes", "n") is None
        tx.set_value("k", None)
        tx.put(note("n", of="t2"))
        tx.attach("notes", "n", "raw", b"2")
        tx.delete("notes", "n")

    await other.write(meddle, actor="me")
    assert json.loads((await one.page("notes", Query(5))).rows[0].doc) == {"of": "t1"}
    assert await one.attachment("notes", "n", "raw") == b"1" and await one.value("k") == b"v"
    assert await one.related("r", "n", limit=5) == [("people", "p")]
    assert await one.entity("host", "H ") == [("notes", "n", "r", (await store.changes(0, limit=9))[1].at)]
    with pytest.raises(ValueError, match="tenant"):
        store.tenant("")


async def test_the_entity_index_follows_the_document(store: Store) -> None:
    """Values are folded; a put replaces a document's rows, a delete removes them; newest documents come first."""
    tenant = store.tenant("t1")
    seen = (Entity("host", "SRV-1 ", "source"), Entity("host", "srv-1", "target"), Entity("user", "", "x"))
    for id in ("n1", "n2", "n3"):
        await tenant.write(putting(draft(ALERTS, {"tenantId": "Alpha"}, id, entities=seen)), actor="me")
    rows = await tenant.entity("host", "srv-1")
    assert [(row[0], row[1], row[2]) for row in rows[:3]] == [
        ("alerts", "n3", "source"),
        ("alerts", "n3", "target"),
        ("alerts", "n2", "source"),
    ]
    assert len(rows) == 6 and len(await tenant.entity("host", "SRV-1", limit=2)) == 2
    assert [row[1] for row in await tenant.entity("resource", "ALPHA", collection="alerts")] == ["n3", "n2", "n1"]
    await tenant.write(putting(draft(ALERTS, {}, "n2", entities=(Entity("host", "other"),))), actor="me")
    await tenant.write(lambda tx: tx.delete("alerts", "n3"), actor="me")
    assert {row[1] for row in await tenant.entity("host", "srv-1")} == {"n1"}
    assert [row[1] for row in await tenant.entity("resource", "alpha")] == ["n1"]
    assert [row[1] for row in await tenant.entity("host", "other")] == ["n2"]
    assert await tenant.entity("user", "") == []


async def test_long_entity_values(store: Store) -> None:
    """A value longer than an index row is still found, and told apart from others with the same beginning."""
    tenant = store.tenant("t1")
    url = "https://x.org/" + "a" * 5_000
    await tenant.write(putting(draft(ALERTS, {}, "n1", entities=(Entity("url", url),))), actor="me")
    await tenant.write(putting(draft(ALERTS, {}, "n2", entities=(Entity("url", url + "b"),))), actor="me")
    assert [row[1] for row in await tenant.entity("url", url.upper())] == ["n1"]
    assert [row[1] for row in await tenant.entity("url", url + "b")] == ["n2"]


async def test_relations(store: Store) -> None:
    """Edges are sets, read from both ends in order, in pages; deleting the target removes them."""
    tenant = store.tenant("t1")

    def relate(tx: Tx) -> list[bool]:
        made = [tx.relate("members", "g1", "people", f"p{i}") for i in range(5)]
        return [*made, tx.relate("members", "g1", "people", "p0"), tx.relate("members", "g2", "people", "p0")]

    assert await tenant.write(relate, actor="me") == [True] * 5 + [False, True]
    first = await tenant.related("members", "g1", limit=3)
    assert first == [("people", "p0"), ("people", "p1"), ("people", "p2")]
    assert await tenant.related("members", "g1", limit=3, after=first[-1]) == [("people", "p3"), ("people", "p4")]
    assert await tenant.related("owners", "g1", limit=3) == []
    assert await tenant.relating("members", "people", "p0", limit=5) == ["g1", "g2"]
    assert await tenant.relating("members", "people", "p0", limit=5, after="g1") == ["g2"]
    await tenant.write(lambda tx: (tx.put(person("p0", "a@x")), tx.delete("people", "p0")), actor="me")
    assert await tenant.relating("members", "people", "p0", limit=5) == []
    assert await tenant.write(lambda tx: tx.unrelate("members", "g1", "people", "p1"), actor="me")
    assert not await tenant.write(lambda tx: tx.unrelate("members", "g1", "people", "p1"), actor="me")


async def test_attachments_and_values(store: Store) -> None:
    """Bytes come back as they were; an attachment goes with its document."""
    tenant, raw = store.tenant("t1"), bytes(range(256)) * 100

    def fill(tx: Tx) -> None:
        tx.put(note("n1"))
        tx.attach("notes", "n1", "raw", b"old")
        tx.set_value("k", raw)
        tx.set_value("gone", b"1")

    await tenant.write(fill, actor="me")
    await tenant.write(lambda tx: tx.attach("notes", "n1", "raw", raw), actor="me")
    assert await tenant.attachment("notes", "n1", "raw") == raw
    assert await tenant.attachment("notes", "n1", "other") is None
    await tenant.write(lambda tx: tx.delete("notes", "n1"), actor="me")
    assert await tenant.attachment("notes", "n1", "raw") is None
    await tenant.write(lambda tx: tx.set_value("gone", None), actor="me")
    assert await tenant.value("k") == raw and await tenant.value("gone") is None


async def test_stamps_grow_whatever_the_clock_does(opened: Opener) -> None:
    """A clock that stands still or goes back gives no stamp twice, not even after a restart."""
    times = iter([0, 17_900_000_000_000_000, 17_900_000_000_000_000, 17_800_000_000_000_000] + [1] * 50)
    first = await opened(now=lambda: next(times))
    stamps = [(await first.tenant("t").write(putting(note(f"n{i}")), actor="me"))[0] for i in range(8)]
    second = await opened(now=lambda: 5)
    stamps += [(await second.tenant("t").write(putting(note(f"m{i}")), actor="me"))[0] for i in range(3)]
    texts = [one.updated for one in stamps if one is not None]
    assert len(texts) == 11 and texts == sorted(set(texts)) and texts[1] > from_ticks(17_900_000_000_000_000)


async def test_what_cannot_be_stored_is_refused(store: Store) -> None:
    """Too long, too large, without an id, with undeclared columns: refused with a reason, and nothing is stored."""
    tenant = store.tenant("t1")
    refused: list[tuple[Draft, type[Exception]]] = [
        (note(""), BadRequest),
        (note("a\0b"), BadRequest),
        (note("x" * 2_000), BadRequest),
        (alert("a1", title="x" * 3_000), BadRequest),
        (Draft("notes", "n", b'"' + b"x" * (17 * 2**20) + b'"'), TooLarge),
        (Draft("notes", "n", b"{}", columns={"y": 1}), ValueError),
    ]
    for one, kind in refused:
        with pytest.raises(kind):
            await tenant.write(putting(one), actor="me")
    with pytest.raises(KeyError):
        await tenant.get("nowhere", "1")
    assert await tenant.count("notes") == 0 and await store.head() == 0


async def test_a_nul_character_is_stored_alike_on_both(store: Store) -> None:
    """PostgreSQL's text cannot hold it: it becomes U+FFFD in documents, columns and entity values."""
    tenant = store.tenant("t1")
    made = draft(ALERTS, {"title": "a\0b", "tenantId": "c\0d"}, "n1", entities=(Entity("host", "x\0y"),))
    [put] = await tenant.write(putting(made), actor="me")
    assert put is not None and inner(put)["title"] == "a\ufffdb"
    assert len(await tenant.entity("host", "x\0y")) == 1 and len(await tenant.entity("resource", "c\0d")) == 1
    assert await tenant.get("alerts", "a\0") is None


async def test_versions_and_evolvable_members(store: Store) -> None:
    """beta is kept where it differs; a page of a version serves that version's bytes."""
    tenant = store.tenant("t1")
    both = Draft("notes", "n1", b'{"v":1}', beta=b'{"v":2}', state=b'{"v":3}', evolvable=True)
    same = Draft("notes", "n2", b'{"v":1}', beta=b'{"v":1}')
    [one, two] = await tenant.write(putting(both, same), actor="me")
    assert one is not None and two is not None and two.beta is None
    assert (one.wire("v1.0"), one.wire("beta"), one.inner()) == (both.doc, both.beta, both.state)
    old = (await tenant.page("notes", Query(5))).rows
    new = (await tenant.page("notes", Query(5, version="beta"))).rows
    assert [row.wire("v1.0") for row in old] == [b'{"v":1}', b'{"v":1}']
    assert [row.wire("beta") for row in new] == [b'{"v":2}', b'{"v":1}']
    assert [row.evolvable for row in old] == [True, False] and old[0].state == b""
    assert await tenant.get("notes", "n1") == one


async def test_many_writers_share_commits(store: Store) -> None:
    """Requests that come together are committed together, and each gets its own answer."""
    tenant = store.tenant("t1")
    answers = await asyncio.gather(*(tenant.write(putting(note(f"n{i}")), actor="me") for i in range(400)))
    assert [one.id for [one] in answers if one is not None] == [f"n{i}" for i in range(400)]
    assert len({one.seq for [one] in answers if one is not None}) == 400


async def test_a_caller_that_gives_up_harms_nobody(store: Store) -> None:
    """A cancelled write is done or not done; the writer goes on."""
    tenant = store.tenant("t1")
    tasks = [asyncio.create_task(tenant.write(putting(note(f"n{i}")), actor="me")) for i in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert await tenant.write(lambda tx: len(tx.find("notes", None, limit=100)), actor="me") >= 25


async def test_a_full_queue_is_refused(opened: Opener) -> None:
    """More waiting writes than the bound: 503 with Retry-After, at once."""
    store = await opened(queue=10)
    tenant = store.tenant("t1")
    begun, go_on = threading.Event(), threading.Event()

    def busy(tx: Tx) -> bool:
        begun.set()
        return go_on.wait(60)

    first = asyncio.create_task(tenant.write(busy, actor="me"))
    assert await asyncio.to_thread(begun.wait, 60)
    tasks = [asyncio.create_task(tenant.write(putting(note(f"n{i}")), actor="me")) for i in range(500)]
    await asyncio.sleep(0)  # all of them have asked
    go_on.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    refused = [result for result in results if isinstance(result, BartizanError)]
    assert len(refused) >= 490 and all(isinstance(one, Unavailable) and one.headers["Retry-After"] for one in refused)
    assert await tenant.count("notes") == 500 - len(refused) and await first


async def test_a_closed_store_refuses(opened: Opener) -> None:
    """Writes before start and after close are errors, not hangs."""
    store = await opened()
    assert await store.ready()
    await store.close()
    assert not await store.ready()
    with pytest.raises(RuntimeError):
        await store.tenant("t").write(putting(note("n")), actor="me")


def test_declarations_are_checked() -> None:
    """A name that cannot be a table, a default order without its column: an error when the store is made."""
    bad = [
        (Collection("Bad-name"),),
        (Collection("a", order=(("x", False),)),),
        (Collection("a"), Collection("a")),
    ]
    for collections in bad:
        with pytest.raises(ValueError):
            open_store("/nowhere", collections)
    assert Column("a").index


async def test_a_write_that_changes_one_document_again_and_again(store: Store) -> None:
    """What was read before counts only until the next change: entities, stamps and feed follow each step."""
    tenant = store.tenant("t1")

    def on(host: str) -> Draft:
        return draft(ALERTS, {}, "a1", entities=(Entity("host", host),))

    await tenant.write(putting(on("h0")), actor="me")

    def work(tx: Tx) -> list[Any]:
        first = tx.get("alerts", "a1")
        one, two = tx.put(on("h1")), tx.put(on("h2"))
        again = tx.get("alerts", "a1")
        gone = tx.delete("alerts", "a1"), tx.delete("alerts", "a1"), tx.get("alerts", "a1")
        new = tx.put(on("h3"))
        assert first is not None and one is not None and two is not None and new is not None
        assert (again, gone) == (two, (True, False, None))
        assert first.created == one.created == two.created < new.created
        return [first.seq, one.seq, two.seq, new.seq]

    numbers = await tenant.write(work, actor="me")
    assert numbers == sorted(set(numbers))
    assert [await tenant.entity("host", f"h{i}") != [] for i in range(4)] == [False, False, False, True]
    told = [change.op for change in await store.changes(0, limit=9)]
    assert told == ["created", "updated", "updated", "deleted", "created"]
