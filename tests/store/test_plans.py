"""How rows are reached: a page of many comes along an index, without a sort, on both engines."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import pytest
from tests.store.conftest import putting

from bartizan.odata.tree import And, Compare, Expr, Literal, Order, Path
from bartizan.odata.tree import Any as AnyOf
from bartizan.store import Collection, Column, Query, Store, draft, open_store, read
from bartizan.store.engine import SqlStore
from bartizan.store.plan import SMALL
from bartizan.store.sql import Db, Params

pytestmark = pytest.mark.anyio

CASES = Collection(
    "cases",
    columns=(Column("at", "instant"), Column("severity", "enum"), Column("owner"), Column("size", "int")),
    order=(("at", True),),
    entities={"hosts/name": "host"},
    created="at",
)
ROWS = SMALL + 700  # so that what all share is not few


class Watched:
    """Passes statements on, and keeps how the engine would run each."""

    def __init__(self, db: Db, postgres: bool) -> None:
        self._db = db
        self._explain = "EXPLAIN " if postgres else "EXPLAIN QUERY PLAN "
        self._told = 0 if postgres else 3
        self.plans: list[str] = []

    def rows(self, sql: str, params: Params = ()) -> list[tuple[Any, ...]]:
        self.plans.append("\n".join(str(row[self._told]) for row in self._db.rows(self._explain + sql, params)))
        return self._db.rows(sql, params)

    def rows_within(self, sql: str, params: Params, seconds: float) -> list[tuple[Any, ...]] | None:
        return self.rows(sql, params)

    def run(self, sql: str, params: Params = ()) -> int:
        return self._db.run(sql, params)

    def post(self, sql: str, params: Params = ()) -> None:
        self._db.post(sql, params)

    def unhurried(self) -> None:
        self._db.unhurried()

    def many(self, sql: str, params: Iterable[Params]) -> None:
        self._db.many(sql, params)


def eq(name: str, value: Any, kind: Any = "text") -> Expr:
    return Compare("eq", Path((name,)), Literal(value, kind))


def on(host: str) -> Expr:
    return AnyOf(Path(("hosts",)), "h", Compare("eq", Path(("name",), "h", fold=True), Literal(host, "text")))


def by(*keys: tuple[str, bool]) -> tuple[Order, ...]:
    return tuple(Order(Path((name,)), down) for name, down in keys)


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def filled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the cases are; the tests only read them."""
    with contextlib.ExitStack() as until:
        if request.param == "postgres":
            where: str = until.enter_context(request.getfixturevalue("databases").empty())
        else:
            where = str(tmp_path_factory.mktemp("cases"))
        asyncio.run(fill(where))
        yield where


async def fill(target: str) -> None:
    store = open_store(target, (CASES,))
    await store.start()
    bodies: list[dict[str, Any]] = [
        {
            "severity": "high",
            "owner": f"o{i % 3}",
            "size": i % 9,
            "hosts": [{"name": "shared"}, *([{"name": "rare"}] if i % 800 == 1 else [])],
        }
        for i in range(ROWS)
    ]
    for first in range(0, ROWS, 500):
        some = [draft(CASES, body, f"c{first + i}") for i, body in enumerate(bodies[first : first + 500])]
        await store.tenant("t").write(putting(*some), actor="me")
    await store.close()


@pytest.fixture
async def store(filled: str) -> AsyncIterator[Store]:
    """Of its own for each test: a store remembers which ways were poor."""
    store = open_store(filled, (CASES,))
    await store.start()
    yield store
    await store.close()


QUERIES: dict[str, Query] = {
    "default": Query(20),
    "default, backwards": Query(20, order=by(("at", False))),
    "equality": Query(20, eq("severity", "high", "enum")),
    "equality, backwards": Query(20, eq("severity", "high", "enum"), by(("at", False))),
    "two equalities": Query(20, And((eq("severity", "high", "enum"), eq("owner", "o1")))),
    "by a column": Query(20, order=by(("owner", False))),
    "by a column, backwards": Query(20, order=by(("owner", True))),
    "by a column and the default": Query(20, order=by(("size", False), ("at", True))),
    "a range on the order": Query(20, Compare("gt", Path(("at",)), Literal("2000", "instant"))),
    "by a column, another filtered": Query(20, eq("severity", "high", "enum"), by(("owner", True))),
    "by id": Query(20, order=by(("id", False))),
    "shared entity": Query(20, on("shared")),
    "shared entity, backwards": Query(20, on("shared"), by(("at", False))),
    "shared entity by a column": Query(20, on("shared"), by(("owner", False))),
    "shared entity, filtered": Query(20, And((on("shared"), eq("severity", "high", "enum")))),
}


async def pages(store: SqlStore, query: Query) -> list[str]:
    """The plans of the first page and of the one behind it."""
    postgres = store.dialect.name == "postgres"

    def work(db: Db) -> list[str]:
        watched, of = Watched(db, postgres), store.sets["cases"]
        first = read.page(watched, of, "t", query)
        assert len(first.rows) == query.top and first.more
        behind = Query(query.top, query.filter, query.order, first.last)
        assert len(read.page(watched, of, "t", behind).rows) == query.top
        return [
            plan
            for plan in watched.plans
            if "convert_to" in plan or "Limit" in plan or "SEARCH" in plan or "SCAN" in plan
        ]

    return await store.read(work)


@pytest.mark.parametrize("name", list(QUERIES))
async def test_no_sort_and_no_scan(store: SqlStore, name: str) -> None:
    """Neither the first page nor the next one sorts or reads the table as a whole."""
    for plan in await pages(store, QUERIES[name]):
        assert "TEMP B-TREE" not in plan and "Sort" not in plan, plan
        assert "SCAN t" not in plan and "Seq Scan" not in plan and "Hash" not in plan, plan


async def test_few_candidates_are_read_and_sorted(store: SqlStore) -> None:
    """A rare entity in an order that it does not give: its documents alone are read."""
    query = Query(2, on("rare"), by(("owner", True)))
    plans = await store.read(lambda db: few(store, db, query))
    assert any("entities" in plan for plan in plans) and not any(
        "SCAN t" in plan or "Seq Scan" in plan for plan in plans
    )


def few(store: SqlStore, db: Db, query: Query) -> list[str]:
    watched = Watched(db, store.dialect.name == "postgres")
    page = read.page(watched, store.sets["cases"], "t", query)
    assert len(page.rows) == 2 and page.more
    return watched.plans


async def test_counting_reads_no_documents(store: SqlStore) -> None:
    """Without a filter, or with one that an index holds, only the index is read."""

    def work(db: Db) -> list[str]:
        watched, of = Watched(db, store.dialect.name == "postgres"), store.sets["cases"]
        assert read.count(watched, of, "t", Query(0)) == ROWS
        assert read.count(watched, of, "t", Query(0, eq("severity", "high", "enum"))) == ROWS
        return watched.plans

    for plan in await store.read(work):
        assert "COVERING INDEX" in plan or "Index Only Scan" in plan, plan


# ---------------------------------------------------------------- where the order's index does not come to a full page


class Impatient(Watched):
    """No statement with a bound of its own comes to an end."""

    def rows_within(self, sql: str, params: Params, seconds: float) -> list[tuple[Any, ...]] | None:
        self.plans.append("given up")
        return None


COMBINED: dict[str, Query] = {
    "shared entity by a column": Query(20, And((on("shared"), eq("severity", "high", "enum"))), by(("owner", False))),
    "backwards": Query(20, And((on("shared"), eq("owner", "o1"))), by(("size", True))),
    "a column": Query(20, eq("owner", "o2"), by(("size", False), ("at", False))),
    "in the order of creation": Query(20, And((on("shared"), eq("owner", "o0")))),
    "skipping": Query(20, And((on("shared"), eq("owner", "o0"))), by(("size", False)), skip=7),
    "none": Query(20, And((on("shared"), eq("owner", "o1"), eq("size", 99, "int"))), by(("severity", False))),
}


@pytest.mark.parametrize("name", list(COMBINED))
async def test_candidates_give_the_same_rows(store: SqlStore, name: str) -> None:
    """Read and sorted, the candidates of another conjunct make the same pages as the order's index."""

    def work(db: Db) -> None:
        of, query = store.sets["cases"], COMBINED[name]
        for _ in range(3):
            right = read.page(db, of, "t", query)
            hasty = Impatient(db, store.dialect.name == "postgres")
            found = read.page(hasty, read.read_set(of.table), "t", query)
            assert [row.id for row in found.rows] == [row.id for row in right.rows]
            assert (found.more, found.last) == (right.more, right.last)
            if right.last is None or not right.more:
                break
            query = Query(query.top, query.filter, query.order, right.last)

    await store.read(work)


async def test_a_poor_way_is_not_tried_again_at_once(store: SqlStore) -> None:
    """What gave no full page in time is remembered, for this filter, these values and this order."""

    def work(db: Db) -> None:
        of, query = read.read_set(store.sets["cases"].table), COMBINED["shared entity by a column"]
        hasty = Impatient(db, store.dialect.name == "postgres")
        for _ in range(3):
            read.page(hasty, of, "t", query)
        assert hasty.plans.count("given up") == 1
        read.page(hasty, of, "t", Query(20, query.filter, by(("owner", True))))
        assert hasty.plans.count("given up") == 2

    await store.read(work)


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n WHERE i < 0"


async def test_a_bounded_statement_gives_up(store: SqlStore) -> None:
    """In time, and the connection goes on."""

    def work(db: Db) -> None:
        assert db.rows_within(ENDLESS, (), 0.05) is None
        assert db.rows_within("SELECT $?", ("a",), 5.0) == [("a",)] and db.rows("SELECT 1") == [(1,)]

    try:
        await store.read(work)
    finally:
        assert await store.tenant("t").count("cases") == ROWS


async def test_rows_of_ids_are_joined_by_the_key(store: SqlStore) -> None:
    """Also where the engine has no statistics yet, and takes the tenant for small."""

    def work(db: Db) -> list[str]:
        watched = Watched(db, store.dialect.name == "postgres")
        ids = tuple(f"c{number}" for number in range(300))
        assert len(read.page(watched, store.sets["cases"], "t", Query(300, ids=ids)).rows) == 300
        return watched.plans

    for plan in await store.read(work):
        assert "Join Filter" not in plan and "Hash" not in plan and "SCAN t" not in plan, plan
