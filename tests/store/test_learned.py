"""Orders that are learned: the same pages as before, whoever writes and whatever ends; they come by themselves."""

import asyncio
import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from msgspec.structs import replace
from tests.store.conftest import Opener
from tests.store.test_plans import Watched

from bartizan.errors import Conflict
from bartizan.odata.tree import And, Compare, Expr, Literal, Order, Path
from bartizan.odata.tree import Any as AnyOf
from bartizan.store import Collection, Column, Query, Store, Stored, Tx, draft, learned, read
from bartizan.store.engine import SqlStore
from bartizan.store.learned import MAX_BYTES, MAX_LEARNED, WISHES, Pair
from bartizan.store.sql import Db, Params

pytestmark = pytest.mark.anyio

CASES = Collection(
    "cases",
    columns=(
        Column("createdDateTime", "instant"),
        Column("state", "enum"),
        Column("owner", fold=True),
        Column("size", "int"),
        Column("score", "real"),
        Column("open", "bool"),
        Column("note", index=False),
    ),
    order=(("createdDateTime", True),),
    entities={"hosts/name": "host"},
    created="createdDateTime",
    keep=timedelta(days=30),
)
ROOMS = Collection(  # another order: by a column that may be null
    "rooms", columns=(Column("floor", "int"), Column("kind"), Column("name")), order=(("floor", False),), feed=False
)
BOTH = (CASES, ROOMS)
PAIRS = (("state", "owner"), ("owner", "size"), ("open", "score"), ("size", "open"))
VALUES: dict[str, Sequence[Any]] = {
    "state": ("new", "new", "new", "done", None),
    "owner": ("Ann", "bob", "\u00e4", "", None),
    "size": (0, 1, -(2**40), None),
    "score": (0.5, -1.5, 3.0, None),
    "open": (True, False, None),
    "floor": (0, 1, 2, None),
    "kind": ("a", "b", None),
    "name": ("x", "y", "z", None),
}
KINDS = {column.path: column for each in BOTH for column in each.columns}


def engine(store: Store) -> SqlStore:
    """What the interface does not show."""
    assert isinstance(store, SqlStore)
    return store


def eq(name: str, value: Any) -> Expr:
    column = KINDS[name]
    return Compare("eq", Path((name,), fold=column.fold), Literal(value, column.kind))


def by(*keys: tuple[str, bool]) -> tuple[Order, ...]:
    return tuple(Order(Path((name,)), down) for name, down in keys)


def body(chance: random.Random, collection: Collection) -> dict[str, Any]:
    made: dict[str, Any] = {
        each.path: chance.choice(VALUES[each.path]) for each in collection.columns if each.index and each.path in VALUES
    }
    return {**made, "hosts": [{"name": "shared"}]}


def some_writes(chance: random.Random, collection: Collection, most: int) -> list[tuple[str, dict[str, Any] | None]]:
    """Puts and deletes of few ids, so that they meet."""
    return [
        (f"i{chance.randrange(60)}", body(chance, collection) if chance.random() < 0.8 else None)
        for _ in range(chance.randint(1, most))
    ]


def written(collection: Collection, writes: Iterable[tuple[str, dict[str, Any] | None]], tx: Tx) -> None:
    for id, inner in writes:
        if inner is None:
            tx.delete(collection.name, id)
        else:
            tx.put(draft(collection, inner, id))


async def change(store: Store, chance: random.Random, collection: Collection, most: int = 12) -> None:
    for tenant in ("t", "u"):
        writes = some_writes(chance, collection, most)
        await store.tenant(tenant).write(partial(written, collection, writes), actor="me")


def sets(store: Any, collection: Collection) -> read.Set:
    of: read.Set = store.sets[collection.name]
    of.planner.small = 0  # few rows are enough here
    return of


async def rows_of(store: Any, sql: str) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = await store.read(lambda db: db.rows(sql))
    return found


async def noted(store: Any) -> list[Pair]:
    found: list[Pair] = await store.read(learned.pairs)
    return found


async def settled(store: Any) -> None:
    """Until it learns nothing more."""
    await store.learner.settled()


async def same(store: Any) -> int:
    """Each full pair holds what the collection holds and nothing else; how many rows that is."""
    total = 0
    for pair in await noted(store):
        assert pair.full
        own = ", ".join(f"t.{part.column}" for part in pair.parts)
        there = await rows_of(store, f'SELECT tenant, {", ".join(pair.columns)} FROM "{pair.name}"')
        right = await rows_of(
            store, f'SELECT t.tenant, {own} FROM "c_{pair.collection}" t WHERE t.{pair.parts[0].column} IS NOT NULL'
        )
        assert sorted(map(repr, there)) == sorted(map(repr, right))
        total += len(there)
    return total


async def begun(store: Any, of: read.Set, filtered: str, ordered: str) -> Pair:
    pair: Pair | None = await store.write(partial(learned.begin, table=of.table, filtered=filtered, ordered=ordered))
    assert pair is not None
    return pair


async def step(store: Any, of: read.Set, pair: Pair, rows: int) -> learned.Step:
    made: learned.Step = await store.write(partial(learned.fill, table=of.table, pair=pair, rows=rows))
    return made


async def walked(store: Store, collection: str, query: Query) -> list[Stored]:
    rows: list[Stored] = []
    while True:
        page = await store.tenant("t").page(collection, query)
        rows += page.rows
        if not page.more:
            return rows
        query = replace(query, after=page.last)


def told(rows: Sequence[Stored]) -> list[tuple[str, int]]:
    return [(row.id, row.seq) for row in rows]


def driven(store: Any, of: read.Set, query: Query) -> Any:
    """What stands behind FROM."""
    keys = of.planner.keys(query.order)
    return store.read(lambda db: of.planner.plan(db, "t", query.filter, keys).source)


def queries(chance: random.Random, filtered: str, ordered: str) -> list[Query]:
    """Of each value, both ways, with a range and an entity beside it."""
    values = sorted({value for value in VALUES[filtered] if value is not None}, key=repr)
    given = [value for value in VALUES[ordered] if value is not None]
    found = []
    for value in values:
        column = KINDS[filtered]
        one = eq(filtered, value.lower() if column.fold else value)
        least = Compare("ge", Path((ordered,), fold=KINDS[ordered].fold), Literal(given[-1], KINDS[ordered].kind))
        on = AnyOf(Path(("hosts",)), "h", Compare("eq", Path(("name",), "h", fold=True), Literal("shared", "text")))
        down = chance.random() < 0.5
        for filter in (one, And((one, least)), And((on, one))):
            found += [Query(chance.randint(1, 9), filter, by((ordered, way))) for way in (down, not down)]
        found.append(Query(chance.randint(1, 9), one, by((ordered, down)), skip=3))
    return found


@pytest.mark.parametrize("seed", range(8))
async def test_pages_are_the_same(opened: Opener, seed: int) -> None:
    """Whatever was written before, amid the filling and after it, both ways, with nulls and pages of any size."""
    chance = random.Random(seed)
    store = await opened(BOTH)
    collection, (filtered, ordered) = (ROOMS, ("kind", "name")) if seed % 4 == 3 else (CASES, PAIRS[seed % 4])
    of = sets(store, collection)
    for _ in range(6):
        await change(store, chance, collection, 30)
    pair = await begun(store, of, filtered, ordered)
    while not pair.full:
        if chance.random() < 0.7:
            await change(store, chance, collection)
        pair = (await step(store, of, pair, chance.randint(1, 8))).pair
    for _ in range(5):
        await change(store, chance, collection)
    assert await same(store) > 0
    plain = await opened(BOTH, learns=False)
    plain_set = sets(plain, collection)
    for query in queries(chance, filtered, ordered):
        assert pair.name in await driven(store, of, query), query
        assert pair.name not in await driven(plain, plain_set, query)
        right = told(await walked(plain, collection.name, replace(query, top=1_000)))
        if not query.skip:
            assert told(await walked(store, collection.name, query)) == right
        first = await store.tenant("t").page(collection.name, query)
        assert told(first.rows) == right[: query.top]


async def test_as_sorted_by_hand(opened: Opener) -> None:
    """Nulls first when ascending and last when descending; of equal ones the newest first, and the other way round."""
    chance, store = random.Random(5), await opened(BOTH)
    of = sets(store, CASES)
    for _ in range(9):
        await change(store, chance, CASES, 30)
    await store.learn("cases", "state", "size")
    every = await store.tenant("t").page("cases", Query(1_000, eq("state", "new")))
    values: dict[str, Any] = {
        row[0]: row[1] for row in await rows_of(store, "SELECT id, x_size FROM c_cases WHERE tenant = 't'")
    }
    right = sorted(every.rows, key=lambda row: row.created, reverse=True)
    right.sort(key=lambda row: (values[row.id] is not None, values[row.id] or 0))
    query = Query(4, eq("state", "new"), by(("size", False)))
    assert "l_cases" in await driven(store, of, query)
    assert told(await walked(store, "cases", query)) == told(right) and len(right) > 8
    backwards = replace(query, order=by(("size", True)))
    assert "l_cases" in await driven(store, of, backwards)
    assert told(await walked(store, "cases", backwards)) == told(right[::-1])


async def test_another_process_goes_on(opened: Opener) -> None:
    """One that is closed amid the filling leaves the rest to the next that starts; what others wrote is right."""
    chance, store = random.Random(1), await opened(BOTH)
    other = await opened(BOTH)
    of = sets(store, CASES)
    for _ in range(6):
        await change(store, chance, CASES, 30)
    pair = await begun(store, of, "state", "owner")
    half = (await step(store, of, pair, 20)).pair
    assert half.after is not None and not half.full
    assert not (await step(other, of, pair, 20)).own  # as this process left it, it is no more
    assert "l_cases" not in await driven(other, sets(other, CASES), Query(5, eq("state", "new"), by(("owner", False))))
    await store.close()
    await change(other, chance, CASES)
    new = await opened(BOTH)
    await new.learn("cases", "state", "owner")
    await change(other, chance, CASES)
    assert await same(new) > 0


async def test_a_start_resumes_by_itself(opened: Opener) -> None:
    """Nobody has to wish again."""
    store = await opened(BOTH)
    for seed in range(6):
        await change(store, random.Random(seed), CASES, 30)
    pair = await begun(store, sets(store, CASES), "state", "owner")
    await step(store, sets(store, CASES), pair, 3)
    await store.close()
    new = await opened(BOTH)
    await settled(new)
    assert await same(new) > 0


async def test_several_fill_at_once(opened: Opener) -> None:
    """Processes that learn the same make one pair, and none does harm."""
    first = await opened(BOTH)
    for seed in range(6):
        await change(first, random.Random(seed), CASES, 30)
    stores = [first, await opened(BOTH), await opened(BOTH)]
    await asyncio.gather(*(store.learn("cases", "state", "owner") for store in stores))
    assert len(await noted(first)) == 1 and await same(first) > 0
    for store in stores:
        query = Query(5, eq("state", "new"), by(("owner", False)))
        assert "l_cases" in await driven(store, sets(store, CASES), query)


async def test_one_learns_and_all_keep_it(opened: Opener) -> None:
    """A process that knows of no pair, or has started before there was one, writes into it all the same."""
    older = await opened(BOTH)
    chance = random.Random(2)
    await change(older, chance, CASES, 30)
    store = await opened(BOTH)
    await store.learn("cases", "state", "owner")
    for _ in range(5):
        await change(older, chance, CASES, 30)
    assert await same(store) > 0
    query = Query(5, eq("state", "new"), by(("owner", False)))
    of = sets(older, CASES)
    of.planner.learned.forget()  # or half a minute later
    assert "l_cases" in await driven(older, of, query)
    assert told(await walked(older, "cases", query)) == told(await walked(store, "cases", query))


async def test_nothing_of_an_erased_tenant_stays(opened: Opener) -> None:
    """Nor does what retention, a delete or a new value takes away; what is restored is there."""
    chance, store = random.Random(3), await opened(BOTH)
    for _ in range(5):
        await change(store, chance, CASES, 30)
    for filtered, ordered in PAIRS:
        await store.learn("cases", filtered, ordered)
    kept = [line async for line in store.export("t")]
    before = await same(store)
    assert await store.erase("t") > 0
    for pair in await noted(store):
        tenants = await rows_of(store, f'SELECT DISTINCT tenant FROM "{pair.name}"')
        assert tenants == [("u",)]
    assert 0 < await same(store) < before
    await store.restore("t", kept)
    assert await same(store) == before
    assert await store.retain(datetime.now(UTC) + timedelta(days=60)) > 0
    assert await same(store) == 0


async def test_columns_that_are_filled_anew(opened: Opener) -> None:
    """A pair follows what a start finds in the documents, where a column holds something else from now on."""
    store = await opened(BOTH)
    for seed in range(4):
        await change(store, random.Random(seed), CASES, 30)
    await store.learn("cases", "state", "owner")
    [pair] = await noted(store)
    before = await rows_of(store, f'SELECT DISTINCT l0 FROM "{pair.name}"')
    await store.close()
    unfolded = replace(CASES, columns=tuple(replace(each, fold=False) for each in CASES.columns))
    new = await opened((unfolded, ROOMS))
    assert await noted(new) == [pair] and await same(new) > 0
    after = await rows_of(new, f'SELECT DISTINCT l0 FROM "{pair.name}"')
    assert ("ann",) in before and ("Ann",) in after and ("ann",) not in after


async def test_columns_that_change(opened: Opener) -> None:
    """A pair goes with its column: where that has another type or is declared no more."""
    store = await opened(BOTH)
    for seed in range(4):
        await change(store, random.Random(seed), CASES, 30)
    for filtered, ordered in PAIRS[:3]:
        await store.learn("cases", filtered, ordered)
    await store.close()
    retyped = [replace(each, kind="text") if each.path == "size" else each for each in CASES.columns]
    other = replace(CASES, columns=tuple(each for each in retyped if each.path != "score"))
    new = await opened((other, ROOMS))
    assert [(pair.filtered, pair.ordered) for pair in await noted(new)] == [("state", "owner")]
    assert await same(new) > 0
    await change(new, random.Random(9), replace(other, columns=other.columns[:3]))
    await new.learn("cases", "owner", "size")
    await change(new, random.Random(9), replace(other, columns=other.columns[:3]))
    assert len(await noted(new)) == 2 and await same(new) > 0
    await new.close()
    back = await opened(BOTH)
    assert [(pair.filtered, pair.ordered) for pair in await noted(back)] == [("state", "owner")]
    assert await same(back) > 0
    left = {"sqlite": "sqlite_schema WHERE name LIKE 'l!_%' ESCAPE '!' AND type = 'table'"}.get(
        engine(back).dialect.name,
        "pg_proc WHERE proname LIKE 'l!_%' ESCAPE '!'",
    )
    assert await rows_of(back, f"SELECT count(*) FROM {left}") == [(1,)]


async def test_one_that_was_dropped_serves_nobody(opened: Opener) -> None:
    """A process that believes that there is one finds out before it reads."""
    store = await opened(BOTH)
    for seed in range(4):
        await change(store, random.Random(seed), CASES, 30)
    await store.learn("cases", "state", "owner")
    query, of = Query(5, eq("state", "new"), by(("owner", False))), sets(store, CASES)
    right = told(await walked(store, "cases", query))
    assert "l_cases" in await driven(store, of, query)
    fewer = await opened((replace(CASES, columns=CASES.columns[:2]), ROOMS))
    assert await noted(fewer) == []
    assert told(await walked(store, "cases", query)) == right


async def test_long_values_are_left_out(opened: Opener) -> None:
    """What would not fit an index row can be put, found and sorted, without a pair; texts of any kind are kept."""
    store = await opened(BOTH)
    await store.learn("cases", "owner", "state")
    long, states = "x" * (MAX_BYTES + 1), "\u00e4" * 900
    inner = [{"owner": owner, "state": states} for owner in (long, long[1:], "\u00fc" * (MAX_BYTES // 2), None, "a")]
    await store.tenant("t").write(
        lambda tx: [tx.put(draft(CASES, each, f"c{i}" * 100)) for i, each in enumerate(inner)], actor="me"
    )
    [pair] = await noted(store)
    bounded = engine(store).dialect.name == "postgres"
    assert await rows_of(store, f'SELECT count(*) FROM "{pair.name}"') == [(3 if bounded else 4,)]
    of = sets(store, CASES)
    for owner, by_pair in ((long, not bounded), (long[1:], True)):
        query = Query(5, eq("owner", owner), by(("state", False)))
        assert (pair.name in await driven(store, of, query)) == by_pair
        assert len(await walked(store, "cases", query)) == 1
    await store.tenant("t").write(lambda tx: tx.put(draft(CASES, {"owner": long}, "c1" * 100)), actor="me")
    await store.tenant("t").write(lambda tx: tx.delete("cases", "c0" * 100), actor="me")
    assert await rows_of(store, f'SELECT count(*) FROM "{pair.name}"') == [(2 if bounded else 3,)]


# ---------------------------------------------------------------- wishes


class Impatient:
    """No statement with a bound of its own comes to an end."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def rows_within(self, sql: str, params: Params, seconds: float) -> list[tuple[Any, ...]] | None:
        return None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._db, name)


async def hasty(store: Any, collection: str, query: Query) -> None:
    """A page that took too long, and the next request after it."""
    of = store.sets[collection]
    await store.read(lambda db: read.page(Impatient(db), of, "t", query))
    await store.tenant("t").page(collection, Query(1))


async def test_wishes_are_learned(opened: Opener) -> None:
    """What is asked for again and again and takes long: the rarest equality with the first sort key."""
    chance, store = random.Random(4), await opened(BOTH)
    for _ in range(6):
        await change(store, chance, CASES, 30)
    of = sets(store, CASES)
    both = And((eq("state", "new"), eq("owner", "bob")))
    for number in range(WISHES):
        assert await noted(store) == []
        await hasty(store, "cases", Query(5, both, by(("size", number % 2 == 0))))
    await settled(store)
    [pair] = await noted(store)
    assert (pair.filtered, pair.ordered, pair.full) == ("owner", "size", True)
    query = Query(5, both, by(("size", False)))
    assert pair.name in await driven(store, of, query)
    assert await same(store) > 0
    for _ in range(2 * WISHES):  # it is there: nothing is wished for
        await hasty(store, "cases", query)
    await settled(store)
    assert await noted(store) == [pair]


async def test_what_has_no_pair_is_not_learned(opened: Opener) -> None:
    """An entity alone, a column that is not declared, the default order, the column itself."""
    chance, store = random.Random(4), await opened(BOTH)
    for _ in range(6):
        await change(store, chance, CASES, 30)
    sets(store, CASES)
    on = AnyOf(Path(("hosts",)), "h", Compare("eq", Path(("name",), "h", fold=True), Literal("shared", "text")))
    wishes = (
        Query(5, on, by(("size", False))),
        Query(5, eq("state", "new"), by(("note", False))),
        Query(5, And((on, eq("state", "new")))),
        Query(5, And((on, eq("state", "new"))), by(("state", False))),
        Query(5, And((on, eq("state", "new"))), by(("size", False), ("owner", False))),
    )
    for query in wishes:
        for _ in range(WISHES + 1):
            await hasty(store, "cases", query)
    await settled(store)
    assert await noted(store) == []
    for collection, filtered, ordered in (
        ("cases", "state", "note"),
        ("cases", "note", "state"),
        ("cases", "state", "createdDateTime"),
        ("cases", "state", "state"),
        ("cases", "state", "nothing"),
        ("cases", "nothing", "state"),
        ("nothing", "state", "size"),
    ):
        with pytest.raises(ValueError, match=r"no order to be learned|no collection"):
            await store.learn(collection, filtered, ordered)


async def test_a_store_that_learns_nothing(opened: Opener) -> None:
    """By its limits: neither does it begin anything, nor use what there is."""
    chance, store = random.Random(4), await opened(BOTH, learns=False)
    for _ in range(4):
        await change(store, chance, CASES, 30)
    of, query = sets(store, CASES), Query(5, eq("state", "new"), by(("size", False)))
    for _ in range(2 * WISHES):
        await hasty(store, "cases", query)
    await settled(store)
    assert await noted(store) == []
    await store.learn("cases", "state", "size")
    assert await same(store) > 0 and "l_cases" not in await driven(store, of, query)


async def test_along_the_index(opened: Opener) -> None:
    """A page sorts nothing and reads the pair's index alone; the next one begins where it ended, a range where it
    begins."""
    chance, store = random.Random(6), await opened(BOTH)
    for _ in range(8):
        await change(store, chance, CASES, 30)
    await store.learn("cases", "state", "size")
    of = sets(store, CASES)
    least = Compare("ge", Path(("size",)), Literal(0, "int"))
    plain = Query(3, eq("state", "new"), by(("size", True)))

    def work(db: Db, query: Query) -> list[str]:
        watched = Watched(db, engine(store).dialect.name == "postgres")
        first = read.page(watched, of, "t", query)
        assert first.more
        read.page(watched, of, "t", replace(query, after=first.last))
        return [plan for plan in watched.plans if "_i on l_cases" in plan or "COVERING INDEX l_cases" in plan]

    for query in (plain, replace(plain, filter=And((eq("state", "new"), least))), replace(plain, skip=2)):
        plans = await engine(store).read(partial(work, query=query))
        assert len(plans) == 2
        for plan in plans:
            assert "Sort" not in plan and "Seq Scan" not in plan and "SCAN t" not in plan, plan
            assert "TEMP B-TREE" not in plan or query.skip, plan  # the few rows of a page that skips are put in order
        found = [plan.replace(" ", "") for plan in plans]
        assert query.skip or "l0<" in found[1]
        assert ("l0>" in found[0]) == (query.filter != plain.filter)


async def test_no_more_than_so_many(opened: Opener) -> None:
    """Each costs every write: a collection has a few, and pages come as before where there would be one more."""
    chance, store = random.Random(4), await opened(BOTH)
    for _ in range(4):
        await change(store, chance, CASES, 30)
    sets(store, CASES)
    for filtered, ordered in PAIRS:
        await store.learn("cases", filtered, ordered)
    with pytest.raises(Conflict, match=f"{MAX_LEARNED} orders"):
        await store.learn("cases", "state", "size")
    query = Query(500, eq("state", "new"), by(("size", False)))
    right = told(await walked(store, "cases", query))
    for _ in range(2 * WISHES):
        await hasty(store, "cases", query)
    await settled(store)
    assert len(await noted(store)) == MAX_LEARNED == len(PAIRS) and told(await walked(store, "cases", query)) == right
    await store.learn("cases", *PAIRS[0])  # it is there
    await store.learn("rooms", "kind", "name")  # another collection has its own


async def test_learning_that_fails_ends_the_attempt(opened: Opener) -> None:
    """Where the engine refuses, pages are served as before and the store closes as ever."""
    chance, store = random.Random(4), await opened(BOTH)
    await change(store, chance, CASES, 30)
    of = sets(store, CASES)

    def occupied(db: Db, _: Any) -> None:
        pair = Pair("cases", "state", "size", (), "x")
        db.run("INSERT INTO meta (key, value) VALUES ($?, $?)", (pair.key, "no pair"))

    await engine(store).write(occupied)
    of.planner.learned._until = float("inf")
    of.planner.learned.want("state", "size")
    query = Query(5, eq("state", "new"), by(("size", False)))
    right = told(await walked(store, "cases", query))
    await settled(store)
    assert told(await walked(store, "cases", query)) == right
    of.planner.learned.want("state", "size")
    assert of.planner.learned.due == []  # not again at once
