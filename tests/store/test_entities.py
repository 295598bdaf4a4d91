"""The entity index as a graph is read from it: spans, entities of documents, values in order, on both engines."""

from typing import Any

import msgspec
import pytest
from tests.store.conftest import ALERTS, NOTES, putting
from tests.store.test_plans import Watched

from bartizan.errors import BadRequest
from bartizan.odata.tree import And, Compare, Literal, Path
from bartizan.store import Entity, Store, draft, entities
from bartizan.store.draft import spliced
from bartizan.store.engine import SqlStore
from bartizan.store.interface import Draft, Query, Span

pytestmark = pytest.mark.anyio
MANY = 1_200


def touching(id: str, *found: Entity, of: Any = ALERTS) -> Draft:
    return draft(of, {"title": id} if of is ALERTS else {}, id, entities=found)


async def put(store: Store, *drafts: Draft, tenant: str = "t") -> None:
    await store.tenant(tenant).write(putting(*drafts), actor="me")


async def test_spans(store: Store) -> None:
    """Documents are counted once whatever roles an entity has in them; the count is bounded, and says so."""
    both = (Entity("host", "pc1", "source"), Entity("host", "PC1", "target"))
    await put(store, *(touching(f"a{i}", *both) for i in range(3)), touching("n0", Entity("host", "pc1"), of=NOTES))
    await put(store, touching("x", Entity("host", "pc1")), tenant="other")
    rows = await store.tenant("t").entity("host", "pc1", collection="alerts")
    asked = [("host", "PC1"), ("host", "none"), ("user", "pc1")]
    found, nothing, other = await store.tenant("t").spans(asked, collections=("alerts", "notes"), most=100)
    assert found["alerts"] == Span(3, rows[-1][3], rows[0][3])
    assert found["notes"].documents == 1 and found["notes"].first == found["notes"].last
    assert nothing == {} and other == {}
    (bounded,) = await store.tenant("t").spans(asked[:1], collections=("alerts",), most=4)
    assert bounded["alerts"] == Span(2, rows[-1][3], rows[0][3], True)
    many = [("host", f"pc{i}") for i in range(150)]
    spread = await store.tenant("t").spans(many, collections=("alerts", "notes", "tokens"), most=100)
    assert [at for at, each in enumerate(spread) if each] == [1]
    with pytest.raises(BadRequest, match="1001 entities"):
        await store.tenant("t").spans([("host", "x")] * 1001, collections=("alerts",), most=1)


async def test_there(store: Store) -> None:
    """Of many, those that a document of the tenant and the collections names, in any case."""
    await put(store, touching("a", Entity("host", "pc1")), touching("n", Entity("user", "ada"), of=NOTES))
    await put(store, touching("x", Entity("host", "pc9")), tenant="other")
    of, asked = store.tenant("t"), [("host", "PC1"), ("host", "pc9"), ("user", "ada"), ("user", "pc1")]
    assert await of.there(asked, collections=("alerts", "notes")) == {("host", "PC1"), ("user", "ada")}
    assert await of.there(asked, collections=("alerts",)) == {("host", "PC1")}
    assert await of.there([], collections=("alerts",)) == await of.there(asked, collections=()) == set()
    many = [("host", f"pc{n}") for n in range(1_000)]
    assert await of.there(many, collections=("alerts", "notes")) == {("host", "pc1")}
    with pytest.raises(BadRequest, match="1001 entities"):
        await of.there([("host", "x")] * 1_001, collections=("alerts",))


async def test_entities_of_documents(store: Store) -> None:
    """By id, as they stand in the index; what is not there is left out."""
    await put(store, touching("a", Entity("host", "B", "r"), Entity("host", "a")), touching("b"))
    await put(store, touching("c", Entity("host", "c")), tenant="other")
    tenant = store.tenant("t")
    assert await tenant.entities_of("alerts", ["a", "b", "c", "d"]) == {"a": [("host", "a", ""), ("host", "b", "r")]}
    assert await tenant.entities_of("alerts", []) == {}
    with pytest.raises(BadRequest, match="1001 documents"):
        await tenant.entities_of("alerts", ["x"] * 1001)


async def test_values_in_pages(store: Store) -> None:
    """Each value once over all collections, in order of bytes, by beginning and behind the last."""
    names = ["b", "a", "ab", "é", "Z", "abc"]
    await put(store, *(touching(name, Entity("host", name), Entity("user", "u")) for name in names))
    await put(store, touching("a", Entity("host", "a"), Entity("host", "aa"), of=NOTES))
    await put(store, touching("o", Entity("host", "other")), tenant="other")
    tenant, both = store.tenant("t"), ("alerts", "notes")
    every = ["a", "aa", "ab", "abc", "b", "z", "é"]
    assert await tenant.values("host", collections=both) == every
    assert await tenant.values("host", collections=both, prefix="A", limit=3) == every[:3]
    assert await tenant.values("host", collections=both, prefix="a", after="aa", limit=9) == ["ab", "abc"]
    assert await tenant.values("host", collections=both, prefix="b", after="abc") == ["b"]
    assert await tenant.values("host", collections=both, after="é") == []
    assert await tenant.values("host", collections=("notes",)) == ["a", "aa"]
    assert await tenant.values("url", collections=both) == []
    with pytest.raises(BadRequest, match="1 to 1000"):
        await tenant.values("host", collections=both, limit=1001)


async def test_a_window_of_documents(store: Store) -> None:
    """`since` is in it, `before` is not."""
    await put(store, *(touching(f"a{i}", Entity("host", "h")) for i in range(4)))
    tenant = store.tenant("t")
    stamps = {row[1]: row[3] for row in await tenant.entity("host", "h")}
    found = await tenant.entity("host", "h", since=stamps["a1"], before=stamps["a3"])
    assert [row[1] for row in found] == ["a2", "a1"]


async def test_reads_go_along_the_index(store: Store) -> None:
    """Of an entity in very many documents nothing is sorted, and no more rows are read than asked for."""
    for start in range(0, MANY, 400):
        await put(store, *(touching(f"a{start + i}", Entity("host", "hub")) for i in range(400)))
    assert isinstance(store, SqlStore)
    dialect, postgres = store.dialect, store.dialect.name == "postgres"

    def work(db: Any) -> list[str]:
        watched = Watched(db, postgres)
        assert len(entities.entity(watched, dialect, "t", "host", "hub", ["alerts"], 5)) == 5
        (found,) = entities.spans(watched, dialect, "t", [("host", "hub")], ["alerts"], 10)
        assert found["alerts"].documents == 10 and found["alerts"].more
        assert entities.values(watched, "t", "host", ["alerts"], "", "", 5) == ["hub"]
        return watched.plans

    plans = await store.read(work)
    assert len(plans) == 3
    for plan in plans:
        told = plan.lower()
        assert "sort" not in told and "temp b-tree for order" not in told, plan
        assert "seq scan on entities" not in told and "scan entities" not in told, plan


async def test_spliced_keeps_the_rest(store: Store) -> None:
    """A draft of some properties changes these and leaves columns and entities of the others; a new document needs a
    whole one."""
    await put(store, touching("a1", Entity("host", "pc1")))
    tenant = store.tenant("t")

    def work(tx: Any) -> None:
        stored = tx.get("alerts", "a1")
        made = spliced(ALERTS, stored, {"severity": "high"})
        assert made is not None
        tx.put(made)

    await tenant.write(work, actor="me")
    high = Compare("eq", Path(("severity",), kind="enum"), Literal("high", "enum"))
    titled = Compare("eq", Path(("title",), kind="text"), Literal("a1", "text"))
    (row,) = (await tenant.page("alerts", Query(top=5, filter=And((high, titled))))).rows
    assert msgspec.json.decode(row.wire("beta"))["severity"] == "high"
    assert len(await tenant.entity("host", "pc1", collection="alerts")) == 1
    with pytest.raises(ValueError, match="is not there"):
        await tenant.write(lambda tx: tx.put(Draft(collection="alerts", id="new", doc=b"{}", rest=True)), actor="me")
