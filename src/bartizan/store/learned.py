"""Orders that are learned: what has one value of a column, in the order of another, where the store is asked for it.

A column's index gives rows of one value in the default order, or all rows in the order of that column. Rows of one
value of A in the order of B lie in neither. For pairs that are asked for, and only for those, a table beside the
collection's holds (tenant, A, B, the rest of B's index) with an index of its own. Triggers keep it, so that every
process does, whether it knows of it or not; it is filled in small steps that any process can take up, and serves when
it is full. What there is stands in `meta`, so that an older program starts on the same database.

Source: SQLite "CREATE TRIGGER", "The SQLite Query Optimizer Overview" (IS as an index term); PostgreSQL 15, chapter 43
(trigger functions) and CREATE INDEX (NULLS NOT DISTINCT).
"""

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import structlog
from msgspec import Struct

from bartizan.errors import Conflict
from bartizan.store.sql import Db, Dialect, Scalar, Table, meta_value, set_meta

if TYPE_CHECKING:
    from bartizan.store.engine import SqlStore
    from bartizan.store.read import Set
    from bartizan.store.tx import Clock

WISHES = 3  # pages that would have been quick with it, before a pair is learned
MAX_LEARNED = 4  # pairs of a collection: each costs every put that touches its columns
REMEMBER_S = 30.0  # for how long the list of pairs is believed; one that serves is looked up each time
AGAIN_S = 600.0  # after an attempt that failed
MAX_WISHES = 1_000  # that are counted at once
MAX_BYTES = 200  # of a filtered text: with the longest that is indexed it must fit an index row of PostgreSQL

FIRST_ROWS, MOST_ROWS, LEAST_ROWS = 200, 20_000, 20  # of one step: as many as take about ...
STEP_S = 0.020  # ... this long, and as long again the writer's lock is left to others
PAUSE_S = 0.004  # at least
OTHERS_S = 0.5  # a pair that another process fills is looked at that often; one that has stood still is taken over

# PostgreSQL: for the table, while all writers wait. It outlasts autovacuum, which gives way after a second;
# where somebody vacuums by hand, it is tried another time.
LOCK_MS = 2_000

_PREFIX = "learned:"

log = structlog.get_logger(__name__)


class Part(NamedTuple):
    """A column of the side table: where it comes from, its type, how its index sorts it."""

    column: str  # of the collection's table, quoted
    type: str
    descending: bool
    nullable: bool


class Pair(Struct, frozen=True):
    """A learned pair as it is noted."""

    collection: str
    filtered: str  # paths of declared columns
    ordered: str
    parts: tuple[Part, ...]  # the filtered column, the ordered one, what follows it in its index
    made: str
    after: tuple[str, str] | None = None  # filled up to this row (tenant, id)
    full: bool = False

    @property
    def name(self) -> str:
        """Never the same twice, so that nobody takes one that is being filled for one that was full."""
        told = repr((self.filtered, self.ordered, self.parts, self.made))
        return f"l_{self.collection}_{hashlib.sha256(told.encode()).hexdigest()[:10]}"

    @property
    def key(self) -> str:
        return f"{_PREFIX}{self.collection}:{self.name}"

    @property
    def noted(self) -> str:
        return msgspec.json.encode(self).decode()

    @property
    def columns(self) -> tuple[str, ...]:
        """Of the side table, behind the tenant; none is called as one of the collection's."""
        return ("la", *(f"l{place}" for place in range(len(self.parts) - 1)))


def parts_of(table: Table, filtered: str, ordered: str) -> tuple[Part, ...] | None:
    """What a pair of these columns holds; None where it would be of no use, or there is no such column."""
    first, index = table.by_path.get(filtered), table.index_of(ordered)
    default = table.order[0].path if table.order else None  # the filtered column's own index has that order
    if first is None or not first.index or ordered not in table.by_path or index is None:
        return None
    if ordered in (filtered, default):
        return None
    collection, dialect = table.collection, table.dialect
    parts = [Part(table.quoted[filtered], dialect.type_of(first), False, True)]
    for key in index.keys:
        if any(part.column == key.column for part in parts[1:]):
            continue
        column = table.by_path.get(key.path)
        type = dialect.text if column is None else dialect.type_of(column)
        never_null = key.path in ("id", collection.created, collection.updated)
        parts.append(Part(key.column, type, key.descending, not never_null))
    return tuple(parts)


def fits(dialect: Dialect, value: Scalar) -> bool:
    """Whether rows of this value are kept."""
    bounded = dialect.name == "postgres" and isinstance(value, str)
    return not bounded or len(str(value).encode(errors="replace")) <= MAX_BYTES


def pairs(db: Db, collection: str = "") -> list[Pair]:
    """Those of one collection, or all."""
    prefix = f"{_PREFIX}{collection}:" if collection else _PREFIX
    rows = db.rows("SELECT value FROM meta WHERE key >= $? AND key < $? ORDER BY key", (prefix, prefix[:-1] + ";"))
    return [msgspec.json.decode(value, type=Pair) for (value,) in rows]


# ---------------------------------------------------------------- the side table and what keeps it


def _ddl(dialect: Dialect, pair: Pair) -> list[str]:
    declared = "".join(
        f", {name} {part.type}{'' if part.nullable and name != 'la' else ' NOT NULL'}"
        for name, part in zip(pair.columns, pair.parts, strict=True)
    )
    keys = ", ".join(
        f"{name} {dialect.direction(part.descending)}" for name, part in zip(pair.columns, pair.parts, strict=True)
    )
    # On SQLite a null equals none, so that it cannot be told to be unique.
    only, nulls = ("UNIQUE ", " NULLS NOT DISTINCT") if dialect.name == "postgres" else ("", "")
    return [
        f'CREATE TABLE "{pair.name}" (tenant {dialect.text} NOT NULL{declared})',
        f'CREATE {only}INDEX "{pair.name}_i" ON "{pair.name}" (tenant, {keys}){nulls}',
        *(_postgres(pair, dialect) if dialect.name == "postgres" else _sqlite(pair, dialect)),
    ]


def _kept(dialect: Dialect, pair: Pair, value: str) -> str:
    """On SQLite an index row may be of any size; and a function, which might fail, in a trigger has SQLite keep a copy
    of every page that the statement changes."""
    if dialect.name != "postgres" or pair.parts[0].type != dialect.text:
        return f"{value} IS NOT NULL"
    return f"octet_length({value}) <= {MAX_BYTES}"  # false of null too


def _values(pair: Pair) -> str:
    """A row of the collection's table as it is put into the side table."""
    return ", ".join(["NEW.tenant", *(f"NEW.{part.column}" for part in pair.parts)])


def _told(pair: Pair) -> str:
    return ", ".join(["tenant", *pair.columns])


def _when(pair: Pair, differs: str) -> tuple[str, str]:
    """An update that concerns the pair: what it sets, and what is other afterwards."""
    own = list(dict.fromkeys(part.column for part in pair.parts if part.column != "id"))
    return ", ".join(own), " OR ".join(f"OLD.{name} {differs} NEW.{name}" for name in own)


def _sqlite(pair: Pair, dialect: Dialect) -> list[str]:
    of, same = f'"c_{pair.collection}"', [f"{name} IS OLD.{part.column}" for name, part in _named(pair)]
    added = (
        f'INSERT INTO "{pair.name}" ({_told(pair)}) SELECT {_values(pair)} '
        f"WHERE {_kept(dialect, pair, f'NEW.{pair.parts[0].column}')}; "
    )
    removed = f'DELETE FROM "{pair.name}" WHERE tenant = OLD.tenant AND {" AND ".join(same)}; '
    sets, other = _when(pair, "IS NOT")
    trigger = f'CREATE TRIGGER "{pair.name}'
    return [
        f'{trigger}_a" AFTER INSERT ON {of} BEGIN {added}END',
        f'{trigger}_d" AFTER DELETE ON {of} BEGIN {removed}END',
        f'{trigger}_u" AFTER UPDATE OF {sets} ON {of} WHEN {other} BEGIN {removed}{added}END',
    ]


def _postgres(pair: Pair, dialect: Dialect) -> list[str]:
    """One function. Its statements have one plan each, made once by a connection."""
    of, first = f'"c_{pair.collection}"', pair.parts[0].column
    body = (
        f"BEGIN IF TG_OP <> 'INSERT' AND {_kept(dialect, pair, f'OLD.{first}')} THEN "
        f"{_removed(pair, ['tenant = OLD.tenant'], _named(pair))} END IF; "
        f"IF TG_OP <> 'DELETE' AND {_kept(dialect, pair, f'NEW.{first}')} THEN "
        f'INSERT INTO "{pair.name}" ({_told(pair)}) VALUES ({_values(pair)}); END IF; RETURN NULL; END'
    )
    sets, other = _when(pair, "IS DISTINCT FROM")
    trigger, each = f'CREATE TRIGGER "{pair.name}', f'FOR EACH ROW EXECUTE FUNCTION "{pair.name}_f"()'
    return [
        f'CREATE FUNCTION "{pair.name}_f"() RETURNS trigger LANGUAGE plpgsql '
        f"SET plan_cache_mode = force_generic_plan AS $body$ {body} $body$",
        f'{trigger}_a" AFTER INSERT ON {of} {each}',
        f'{trigger}_d" AFTER DELETE ON {of} {each}',
        f'{trigger}_u" AFTER UPDATE OF {sets} ON {of} FOR EACH ROW WHEN ({other}) EXECUTE FUNCTION "{pair.name}_f"()',
    ]


def _named(pair: Pair) -> list[tuple[str, Part]]:
    return list(zip(pair.columns, pair.parts, strict=True))


def _removed(pair: Pair, terms: list[str], rest: Sequence[tuple[str, Part]]) -> str:
    """PostgreSQL looks up no `IS NOT DISTINCT FROM` in an index: one statement for each way to be null."""
    if not rest:
        return f'DELETE FROM "{pair.name}" WHERE {" AND ".join(terms)};'
    (name, part), *more = rest
    given = _removed(pair, [*terms, f"{name} = OLD.{part.column}"], more)
    if not part.nullable or name == "la":
        return given
    null = _removed(pair, [*terms, f"{name} IS NULL"], more)
    return f"IF OLD.{part.column} IS NULL THEN {null} ELSE {given} END IF;"


def _drop(db: Db, dialect: Dialect, pair: Pair) -> None:
    if dialect.name == "postgres":
        for which in "adu":
            db.run(f'DROP TRIGGER IF EXISTS "{pair.name}_{which}" ON "c_{pair.collection}"')
        db.run(f'DROP FUNCTION IF EXISTS "{pair.name}_f"()')
    else:
        for which in "adu":
            db.run(f'DROP TRIGGER IF EXISTS "{pair.name}_{which}"')
    db.run(f'DROP TABLE IF EXISTS "{pair.name}"')
    db.run("DELETE FROM meta WHERE key = $?", (pair.key,))
    log.info("store.learned.dropped", collection=pair.collection, filtered=pair.filtered, ordered=pair.ordered)


def tidy(db: Db, tables: Mapping[str, Table]) -> None:
    """Drops the pairs of columns that are not declared as they were; those of other programs' collections stay."""
    for pair in pairs(db):
        table = tables.get(pair.collection)
        if table is not None and parts_of(table, pair.filtered, pair.ordered) != pair.parts:
            _drop(db, table.dialect, pair)


# ---------------------------------------------------------------- making and filling


def begin(db: Db, clock: "Clock", table: Table, filtered: str, ordered: str) -> Pair | None:
    """The pair, made unless it is there; None where the collection has as many as it may have.

    ValueError where it cannot be one.
    """
    parts = parts_of(table, filtered, ordered)
    if parts is None:
        raise ValueError(f"{table.collection.name}: '{ordered}' of one '{filtered}' is no order to be learned")
    there = pairs(db, table.collection.name)
    for pair in there:
        if (pair.filtered, pair.ordered, pair.parts) == (filtered, ordered, parts):
            return pair
    if len(there) >= MAX_LEARNED:
        return None
    pair = Pair(table.collection.name, filtered, ordered, parts, clock.tick())
    if table.dialect.name == "postgres":
        db.run(f"SET LOCAL lock_timeout = {LOCK_MS}")
    for statement in _ddl(table.dialect, pair):
        db.run(statement)
    set_meta(db, pair.key, pair.noted)
    return pair


class Step(NamedTuple):
    pair: Pair
    taken_s: float
    own: bool = True  # False: another process has filled meanwhile, and nothing was done


def fill(db: Db, clock: "Clock", table: Table, pair: Pair, rows: int) -> Step:
    """Fills the next rows of `pair`, as it was left. Conflict where it is there no more."""
    begun = time.monotonic()
    kept = meta_value(db, pair.key)
    if kept is None:
        raise Conflict(f"the order by {pair.ordered} of one {pair.filtered} was dropped: its columns are others now")
    if kept != pair.noted:
        return Step(msgspec.json.decode(kept, type=Pair), 0.0, own=False)
    if pair.full:
        return Step(pair, 0.0)
    dialect = table.dialect
    behind, params = ("", ()) if pair.after is None else (" WHERE (i.tenant, i.id) > ($?, $?)", pair.after)
    order = f"ORDER BY i.tenant, i.id {dialect.direction(False)}"  # as the index has it
    source = f"FROM {table.name} i{dialect.hint(table.pk.name)}{behind} {order}"
    last = db.rows(f"SELECT i.tenant, i.id {source} LIMIT 1 OFFSET $?", (*params, rows - 1))
    own = ", ".join(["i.tenant", *(f"i.{part.column} AS {name}" for name, part in _named(pair))])
    sql = (
        f'INSERT INTO "{pair.name}" ({_told(pair)}) SELECT {_told(pair)} FROM (SELECT {own} {source} LIMIT $?) t '
        f"WHERE {_kept(dialect, pair, 't.la')}"
    )
    if dialect.name == "postgres":
        sql += " ON CONFLICT DO NOTHING"  # a trigger has put it
    else:
        same = " AND ".join(f"s.{name} IS t.{name}" for name in ("tenant", *pair.columns))
        sql += f' AND NOT EXISTS (SELECT 1 FROM "{pair.name}" s WHERE {same})'
    db.run(sql, (*params, rows))
    after = (last[0][0], last[0][1]) if last else pair.after
    moved = msgspec.structs.replace(pair, after=after, full=not last)
    set_meta(db, pair.key, moved.noted)
    return Step(moved, time.monotonic() - begun)


class Learner:
    """Learns one wish after another, beside what its store does."""

    def __init__(self, store: "SqlStore") -> None:
        self._store = store
        self._wanted: dict[tuple[str, str, str], None] = {}
        self._task: asyncio.Task[None] | None = None
        self._told: set[str] = set()  # collections that have as many as they may have

    def resume(self, begun: Sequence[Pair]) -> None:
        """Goes on with what a process that has ended left half full."""
        ours = [pair for pair in begun if not pair.full and pair.collection in self._store.sets]
        self._want([(pair.collection, pair.filtered, pair.ordered) for pair in ours])

    def heed(self, of: "Set") -> None:
        """Begins what the planner was asked for often enough."""
        if of.planner.learned.due:
            self._want([(of.table.collection.name, *wish) for wish in of.planner.learned.take()])

    async def settled(self) -> None:
        """Returns when nothing more is wished for."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        task, self._task = self._task, None
        self._wanted.clear()
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task])

    def _want(self, wishes: Sequence[tuple[str, str, str]]) -> None:
        self._wanted.update(dict.fromkeys(wishes))
        if self._wanted and (self._task is None or self._task.done()):
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        while self._wanted:
            wish = next(iter(self._wanted))
            del self._wanted[wish]
            collection, filtered, ordered = wish
            of = self._store.sets[collection]
            try:
                if not await self._learn(of, filtered, ordered):
                    self._enough(collection)
                    of.planner.learned.refuse(filtered, ordered)
            except Exception:  # the edge: reads go on without it, and a later wish begins again
                log.warning(
                    "store.learned.failed", collection=collection, filtered=filtered, ordered=ordered, exc_info=True
                )
                of.planner.learned.refuse(filtered, ordered)

    def _enough(self, collection: str) -> None:
        if collection not in self._told:
            self._told.add(collection)
            log.warning("store.learned.enough", collection=collection, most=MAX_LEARNED)

    async def learn(self, of: "Set", filtered: str, ordered: str) -> None:
        if not await self._learn(of, filtered, ordered):
            raise Conflict(f"{of.table.collection.name} has learned {MAX_LEARNED} orders, which is the most")

    async def _learn(self, of: "Set", filtered: str, ordered: str) -> bool:
        """False where the collection has as many as it may have."""
        store, table = self._store, of.table
        pair = await store.write(partial(begin, table=table, filtered=filtered, ordered=ordered))
        if pair is None:
            return False
        told = {"collection": table.collection.name, "filtered": filtered, "ordered": ordered}
        if not pair.full:
            log.info("store.learned.begun", **told)
        rows, before = FIRST_ROWS, pair.full
        while not pair.full:
            step = await store.write(partial(fill, table=table, pair=pair, rows=rows), bulk=True)
            pair = step.pair
            if pair.full:
                break
            if step.own:
                most = max(LEAST_ROWS, min(MOST_ROWS, 2 * rows))
                rows = max(LEAST_ROWS, min(most, int(rows * STEP_S / max(step.taken_s, 1e-4))))
            await asyncio.sleep(max(PAUSE_S, step.taken_s) if step.own else OTHERS_S)
        of.planner.learned.forget()
        if not before:
            log.info("store.learned.full", **told)
        return True


# ---------------------------------------------------------------- what a planner knows


class Known:
    """What one table's planner knows of pairs, and what it would have liked to have."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._full: tuple[Pair, ...] = ()
        self._until = 0.0
        self._wishes: dict[tuple[str, tuple[str, ...]], int] = {}
        self._refused: dict[tuple[str, str], float] = {}
        self.due: list[tuple[str, str]] = []  # (filtered, ordered)

    def full(self, db: Db, ordered: str) -> Mapping[str, Pair]:
        """Those that give the order of a column, by the column that they filter."""
        now = time.monotonic()
        if self._until <= now:
            there = pairs(db, self._table.collection.name)
            self._full = tuple(pair for pair in there if pair.full and self._as_declared(pair))
            self._until = now + REMEMBER_S
        return {pair.filtered: pair for pair in self._full if pair.ordered == ordered}

    def _as_declared(self, pair: Pair) -> bool:
        return parts_of(self._table, pair.filtered, pair.ordered) == pair.parts

    def still(self, db: Db, pair: Pair) -> bool:
        """Whether it is there and full at this moment; another process may have dropped it."""
        if db.rows("SELECT 1 FROM meta WHERE key = $? AND value = $?", (pair.key, pair.noted)):
            return True
        self.forget()
        return False

    def forget(self) -> None:
        self._until = 0.0

    def wished(self, filtered: tuple[str, ...], ordered: str) -> bool:
        """Counts a page that took long for want of one of these pairs; whether it is time to learn."""
        wish = (ordered, filtered)
        if len(self._wishes) >= MAX_WISHES:
            self._wishes.clear()
        times = self._wishes.get(wish, 0) + 1
        if times < WISHES:
            self._wishes[wish] = times
            return False
        self._wishes.pop(wish, None)  # another thread may have
        return True

    def want(self, filtered: str, ordered: str) -> None:
        if self._refused.get((filtered, ordered), 0.0) <= time.monotonic():
            self.due.append((filtered, ordered))

    def take(self) -> list[tuple[str, str]]:
        due, self.due = self.due, []
        return due

    def refuse(self, filtered: str, ordered: str) -> None:
        self._refused[filtered, ordered] = time.monotonic() + AGAIN_S
