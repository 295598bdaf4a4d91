"""Pages: order, continuation, filters by index, entities; the same rows on every engine."""

import asyncio
import itertools
import json
import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from tests.store.conftest import COLLECTIONS, Opener, alert, person, putting

from bartizan.errors import Timeout
from bartizan.odata.tree import And, Call, Compare, Expr, In, Literal, Not, Or, Order, Path
from bartizan.odata.tree import Any as AnyOf
from bartizan.store import Collection, Column, Entity, Page, Query, Store, Stored, TenantStore, Tx, draft

pytestmark = pytest.mark.anyio

HOSTS = Collection(
    "hosts",
    columns=(Column("createdDateTime", "instant"), Column("severity", "enum"), Column("title")),
    order=(("createdDateTime", True),),
    entities={"hostStates/fqdn": "host", "hostStates/ip": "address"},
    created="createdDateTime",
)


def path(text: str, **more: Any) -> Path:
    return Path(tuple(text.split("/")), **more)


def eq(text: str, value: Any, kind: Any = "text", **more: Any) -> Compare:
    return Compare("eq", path(text, **more), Literal(value, kind))


def bodies(rows: Sequence[Stored]) -> list[dict[str, Any]]:
    return [json.loads(row.doc) for row in rows]


async def walk(tenant: TenantStore, collection: str, query: Query) -> list[Stored]:
    """All pages, each continued from the last; never more pages than rows."""
    rows: list[Stored] = []
    after = query.after
    for _ in range(10_000):
        page: Page = await tenant.page(
            collection, Query(query.top, query.filter, query.order, after, count=True, version=query.version)
        )
        rows += page.rows
        assert len(page.rows) == query.top or not page.more
        if not page.more:
            assert page.count == len(rows)
            return rows
        after = page.last
    raise AssertionError("paging does not end")


PEOPLE_ROWS: list[dict[str, Any]] = [
    {"upn": f"{name}@x.org", "age": age, "score": score, "on": on, "nick": nick}
    for name, (age, score, on, nick) in zip(
        (f"p{i:02}" for i in itertools.count()),
        itertools.product((None, 5, 40), (None, 0.5, -1.5), (None, True, False), (None, "a", "B")),
        strict=False,
    )
]


async def people(store: Store) -> TenantStore:
    tenant = store.tenant("t1")
    shuffled = list(enumerate(PEOPLE_ROWS))
    random.Random(7).shuffle(shuffled)
    await tenant.write(putting(*(person(f"id{i:02}", **row) for i, row in shuffled)), actor="me")
    await store.tenant("t2").write(putting(*(person(f"id{i:02}", **row) for i, row in shuffled[:9])), actor="me")
    return tenant


def in_order(rows: list[dict[str, Any]], keys: Sequence[tuple[str, bool]]) -> list[tuple[Any, ...]]:
    """Values of the keys as they should come: nulls first ascending, last descending."""
    ordered = list(rows)
    for name, descending in reversed(keys):
        ordered.sort(key=lambda row: (row[name] is not None, row[name]) if row[name] is not None else (False, 0))
        if descending:
            ordered.sort(key=lambda row: row[name] is None)
            known = [row for row in ordered if row[name] is not None]
            known.sort(key=lambda row: row[name], reverse=True)
            ordered = known + [row for row in ordered if row[name] is None]
    return [tuple(row[name] for name, _ in keys) for row in ordered]


@pytest.mark.parametrize("top", [1, 7, 200])
async def test_every_order_is_walked_without_loss(store: Store, top: int) -> None:
    """By any column, computed property or several, up or down, with nulls: each row once, in order."""
    tenant = await people(store)
    orders: list[list[tuple[str, bool]]] = [
        *([(name, down)] for name in ("upn", "age", "score", "on", "nick") for down in (False, True)),
        [("age", True), ("upn", False)],
        [("age", False), ("upn", False)],
        [("score", True), ("age", False), ("nick", True)],
        [("nick", False), ("upn", True)],
    ]
    if top == 1:
        orders = orders[::4]
    for keys in orders:
        order = tuple(Order(path(name), down) for name, down in keys)
        rows = await walk(tenant, "people", Query(top, order=order))
        assert len({row.id for row in rows}) == len(rows) == len(PEOPLE_ROWS), keys
        found = [tuple(body.get(name) for name, _ in keys) for body in bodies(rows)]
        assert found == in_order(PEOPLE_ROWS, keys), keys


Check = Callable[[dict[str, Any]], bool]
FILTERS: list[tuple[Expr | None, Check]] = [
    (None, lambda row: True),
    (eq("age", 5, "int"), lambda row: row["age"] == 5),
    (eq("upn", "P03@X.ORG", fold=True), lambda row: row["upn"] == "p03@x.org"),
    (eq("on", True, "bool"), lambda row: row["on"] is True),
    (eq("age", None, "null"), lambda row: row["age"] is None),
    (Compare("ne", path("age"), Literal(5, "int")), lambda row: row["age"] != 5),
    (Compare("ge", path("age"), Literal(5, "int")), lambda row: row["age"] is not None and row["age"] >= 5),
    (Compare("gt", Literal(6, "int"), path("age")), lambda row: row["age"] is not None and row["age"] < 6),
    (In(path("age"), (Literal(5, "int"), Literal(40, "int"))), lambda row: row["age"] in (5, 40)),
    (In(path("age"), (Literal(5, "int"), Literal(None, "null"))), lambda row: row["age"] in (5, None)),
    (eq("nick", "a"), lambda row: row["nick"] == "a"),
    (And((eq("age", 40, "int"), eq("on", False, "bool"))), lambda row: row["age"] == 40 and row["on"] is False),
    (Or((eq("age", 40, "int"), eq("nick", "B"))), lambda row: row["age"] == 40 or row["nick"] == "B"),
    (Not(eq("nick", "a")), lambda row: row["nick"] != "a"),
    (
        And(
            (
                Compare("lt", path("score"), Literal(0.0, "real")),
                Call("startswith", (path("upn"), Literal("p0", "text"))),
            )
        ),
        lambda row: row["score"] is not None and row["score"] < 0 and row["upn"].startswith("p0"),
    ),
    (eq("id", "id07"), lambda row: row["upn"] == "p07@x.org"),
    (
        In(path("id"), (Literal("id01", "text"), Literal("id02", "text"))),
        lambda row: row["upn"] in ("p01@x.org", "p02@x.org"),
    ),
    (eq("nick", "a\0"), lambda row: False),
]


@pytest.mark.parametrize("number", range(len(FILTERS)))
async def test_a_filter_selects_the_same_in_every_order(store: Store, number: int) -> None:
    """Whichever index drives it, and with what page size: the rows that match, and their count."""
    tenant = await people(store)
    filter, check = FILTERS[number]
    wanted = [row for row in PEOPLE_ROWS if check(row)]
    for keys in ([], [("age", False)], [("upn", True)], [("nick", True), ("age", False)]):
        order = tuple(Order(path(name), down) for name, down in keys)
        rows = await walk(tenant, "people", Query(4, filter, order))
        assert sorted(body["upn"] for body in bodies(rows)) == [row["upn"] for row in wanted]
        found = [tuple(body.get(name) for name, _ in keys) for body in bodies(rows)]
        assert found == in_order(wanted, keys)
    assert await tenant.count("people", filter) == len(wanted)
    inside = await tenant.write(lambda tx: tx.find("people", filter, limit=500), actor="me")
    assert sorted(row.id for row in inside) == sorted(row.id for row in rows)


async def test_skip_ids_and_top(store: Store) -> None:
    """Rows that are skipped are counted; ids restrict; the default order is the collection's."""
    tenant = await people(store)
    page = await tenant.page("people", Query(3, skip=4, count=True))
    assert [body["upn"] for body in bodies(page.rows)] == [f"p0{i}@x.org" for i in (4, 5, 6)]
    assert page.more and page.count == len(PEOPLE_ROWS)
    chosen = await tenant.page(
        "people", Query(9, ids=("id05", "none", "id02", "a\0"), order=(Order(path("upn"), True),))
    )
    assert [row.id for row in chosen.rows] == ["id05", "id02"] and not chosen.more
    assert (await tenant.page("people", Query(9, ids=()))).rows == []
    assert (await tenant.page("people", Query(9, skip=1_000))).rows == []
    with pytest.raises(ValueError, match="after"):
        await tenant.page("people", Query(9, after=("x",), order=(Order(path("age")),)))


def deleted(tx: Tx, id: str) -> bool:
    return tx.delete("alerts", id)


async def test_paging_while_documents_change(opened: Opener) -> None:
    """No document whose sort key stays is skipped or repeated, whatever is put, changed or removed meanwhile."""
    store, other = await opened(), await opened()
    tenant, writer = store.tenant("t1"), other.tenant("t1")
    await tenant.write(putting(*(alert(f"a{i:03}") for i in range(200))), actor="me")
    running, turned = True, asyncio.Event()

    async def change() -> None:
        rounds = 0
        chance = random.Random(3)
        while running:
            rounds += 1
            await writer.write(
                putting(alert(f"new{rounds}"), alert(f"a{chance.randrange(200):03}", status="resolved")), actor="x"
            )
            gone = f"a{chance.randrange(150, 200):03}"
            await writer.write(partial(deleted, id=gone), actor="x")
            turned.set()

    task = asyncio.create_task(change())
    for order in ((), (Order(path("createdDateTime")),), (Order(path("title"), True),)):
        rows, after = [], None
        while True:
            page = await tenant.page("alerts", Query(7, order=order, after=after))
            rows += [row.id for row in page.rows]
            assert len(rows) < 2_000
            if not page.more:
                break
            turned.clear()
            await turned.wait()
            after = page.last
        stayed = [f"a{i:03}" for i in range(150)]
        assert len(set(rows)) == len(rows) and set(stayed) <= set(rows)
    running = False
    await task


async def hosts(store: Store) -> tuple[TenantStore, list[dict[str, Any]]]:
    """3,000 documents: one host in all but some, one in 40, one in three."""
    tenant = store.tenant("t1")
    made: list[dict[str, Any]] = []
    for i in range(3_000):
        states: list[dict[str, Any]] = [{"fqdn": "Shared.x" if i % 10 else "other.x", "ip": f"10.0.0.{i % 7}"}]
        if i % 75 == 0:
            states.append({"fqdn": "middle.x", "ip": "10.1.1.1"})
        if i in (3, 700, 2_900):
            states += [{"fqdn": "RARE.x", "ip": "10.2.2.2"}, {"fqdn": "rare.x", "ip": None}]
        made.append({"n": i, "hostStates": states, "severity": "high" if i % 3 else "low", "title": f"t{i % 50}"})
    drafts = [
        draft(
            HOSTS, body, f"h{body['n']:04}", entities=(Entity("host", "shared.x", "again"),) if body["n"] % 10 else ()
        )
        for body in made
    ]
    for start in range(0, 3_000, 500):
        await tenant.write(putting(*drafts[start : start + 500]), actor="me")
    return tenant, made


def host_is(*values: str) -> Expr:
    name = Path(("fqdn",), "h", fold=True)
    parts = tuple(Compare("eq", name, Literal(value, "text")) for value in values)
    return AnyOf(path("hostStates"), "h", parts[0] if len(parts) == 1 else Or(parts))


async def test_lambdas_over_entities(opened: Opener) -> None:
    """A rare, a middling and a shared value, alternatives and further conditions: what the index finds is what a scan
    would find, in every order, over all pages."""
    store = await opened((*COLLECTIONS, HOSTS))
    tenant, made = await hosts(store)
    both = And((host_is("shared.x"), eq("severity", "low", "enum")))
    cases: list[tuple[Expr, Check]] = [
        (host_is("rare.x"), lambda row: any(s["fqdn"].lower() == "rare.x" for s in row["hostStates"])),
        (host_is("middle.x"), lambda row: any(s["fqdn"].lower() == "middle.x" for s in row["hostStates"])),
        (host_is("shared.x"), lambda row: row["n"] % 10 != 0),
        (host_is("nobody.x"), lambda row: False),
        (host_is("rare.x", "middle.x"), lambda row: row["n"] in (3, 700, 2_900) or row["n"] % 75 == 0),
        (host_is("shared.x", "other.x"), lambda row: True),
        (both, lambda row: row["n"] % 10 != 0 and row["severity"] == "low"),
        (And((host_is("shared.x"), eq("title", "t7"))), lambda row: row["n"] % 10 != 0 and row["title"] == "t7"),
        (And((host_is("shared.x"), host_is("middle.x"))), lambda row: row["n"] % 10 != 0 and row["n"] % 75 == 0),
        (
            AnyOf(path("hostStates"), "h", And((eq_h("fqdn", "rare.x"), eq_h("ip", "10.2.2.2")))),
            lambda row: row["n"] in (3, 700, 2_900),
        ),
        (Not(host_is("shared.x")), lambda row: row["n"] % 10 == 0),
    ]
    for number, (filter, check) in enumerate(cases):
        wanted = [row["n"] for row in made if check(row)]
        for order in ((), (Order(path("createdDateTime")),), (Order(path("title")),)):
            rows = await walk(tenant, "hosts", Query(331, filter, order))
            assert sorted(body["n"] for body in bodies(rows)) == wanted, number
            if not order:
                assert [body["n"] for body in bodies(rows)] == wanted[::-1], number
        assert await tenant.count("hosts", filter) == len(wanted), number


def eq_h(name: str, value: str) -> Compare:
    return Compare("eq", Path((name,), "h", fold=name == "fqdn"), Literal(value, "text"))


async def test_long_reads_move_to_a_thread(opened: Opener) -> None:
    """With no time at all on the event loop the answers are the same."""
    store = await opened(inline_ms=0.0)
    tenant = await people(store)
    rows = await walk(tenant, "people", Query(50, FILTERS[14][0]))
    assert sorted(body["upn"] for body in bodies(rows)) == [row["upn"] for row in PEOPLE_ROWS if FILTERS[14][1](row)]


async def test_a_read_that_takes_too_long_is_refused(opened: Opener) -> None:
    """Timeout that says how to narrow, and the store goes on."""
    writer = await opened((*COLLECTIONS, HOSTS))
    await hosts(writer)
    # The bound leaves a single read ample time; the page, which compares 3,000 documents in 900 ways, takes seconds.
    store = await opened((*COLLECTIONS, HOSTS), read_s=0.3, inline_ms=0.0)
    words = [Compare("eq", Call("concat", (path(f"x{i}"), path("n"))), Literal("no", "text")) for i in range(900)]
    with pytest.raises(Timeout, match="createdDateTime"):
        await store.tenant("t1").page("hosts", Query(5, Or(tuple(words))))
    assert await store.tenant("t1").get("hosts", "h0001") is not None


SHORT_LIVED = Collection("shortLived", columns=(Column("owner"),), keep=timedelta(days=1))


async def test_a_set_without_an_order_comes_by_id(opened: Opener) -> None:
    """Also where its rows expire: neither the index for their age nor that of a column gives the order."""
    store = await opened((SHORT_LIVED,))
    tenant = store.tenant("t")
    bodies = {"b": "x", "c": "y", "a": "z", "d": "x"}
    await tenant.write(putting(*(draft(SHORT_LIVED, {"owner": owner}, id) for id, owner in bodies.items())), actor="me")
    first = await tenant.page("shortLived", Query(2, count=True))
    assert [row.id for row in first.rows] == ["a", "b"] and first.more and first.last == ("b",) and first.count == 4
    assert [row.id for row in (await tenant.page("shortLived", Query(5, after=first.last))).rows] == ["c", "d"]
    of_x = Compare("eq", Path(("owner",)), Literal("x", "text"))
    assert [row.id for row in (await tenant.page("shortLived", Query(5, of_x))).rows] == ["b", "d"]
    assert [row.id for row in (await tenant.page("shortLived", Query(5, skip=1))).rows] == ["b", "c", "d"]
    found = await tenant.write(lambda tx: tx.find("shortLived", None, limit=3), actor="me")
    assert [row.id for row in found] == ["a", "b", "c"]
