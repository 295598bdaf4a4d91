"""What is read, in SQL that both engines understand; one tenant in every statement."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import msgspec

from bartizan.errors import Gone
from bartizan.store.interface import Ahead, Change, Page, Query, Stored
from bartizan.store.plan import PATIENCE_S, Plan, Planner, SortKey
from bartizan.store.sql import Db, Scalar, Table
from bartizan.store.tail import Tail

PAGE_COLUMNS = 6  # of a page's row, before sort values that are not among them

_NOTHING = "''"
_ABSENT = Ahead(None, None)
_CHANGE = "seq, tenant, collection, id, op, at, actor, changed"
_CHANGED = msgspec.json.Decoder(dict[str, tuple[Any, Any]])


class Set(NamedTuple):
    """A collection as one engine reads it."""

    table: Table
    planner: Planner
    kept: str  # result columns with every text of a document as it is stored
    whole: str  # the same as it is read
    known: str  # result columns of a document with what a put of the same one has to know
    v1: str  # those of a page, by version
    beta: str
    bare: str  # a page's without the document
    places: Mapping[str | None, int]  # sort values that each row has: where they stand


def read_set(table: Table, *, learns: bool = True) -> Set:
    out = table.dialect.doc_out
    places = (("id", 0), (table.collection.created, 2), (table.collection.updated, 3))
    head = "t.id, t.seq, t.created, t.updated, t.evolvable"
    whole = f"{head}, {out(table.filled('t.doc'))}, {out(table.filled('t.beta'))}, {out('t.state')}"
    columns = "".join(f", t.{name}" for name in table.names)
    return Set(
        table,
        Planner(table, learns=learns),
        f"{head}, {out('t.doc')}, {out('t.beta')}, {out('t.state')}",
        whole,
        f"{whole}, t.entities{columns}",
        f"{head}, {out(table.filled('t.doc'))}",
        f"{head}, {out(table.filled('coalesce(t.beta, t.doc)'))}",
        f"{head}, {out(_NOTHING)}",
        {path: place for path, place in places if path is not None},
    )


def stored(collection: str, row: Sequence[Any]) -> Stored:
    return Stored(collection, row[0], row[1], row[2], row[3], row[5], row[6], row[7] or b"", bool(row[4]))


def get(db: Db, of: Set, tenant: str, id: str) -> Stored | None:
    rows = db.rows(f"SELECT {of.whole} FROM {of.table.name} t WHERE t.tenant = $? AND t.id = $?", (tenant, id))
    return stored(of.table.collection.name, rows[0]) if rows else None


def known(db: Db, of: Set, tenant: str, id: str) -> Ahead:
    """A document with what a put of it has to know, so that a change asks once."""
    rows = db.rows(f"SELECT {of.known} FROM {of.table.name} t WHERE t.tenant = $? AND t.id = $?", (tenant, id))
    return _ahead(of, rows[0]) if rows else _ABSENT


def ahead(db: Db, of: Set, tenant: str, ids: Sequence[str]) -> dict[str, Ahead]:
    """The same of many, each by the primary key."""
    found = dict.fromkeys(ids, _ABSENT)
    if ids:
        found.update((row[0], _ahead(of, row)) for row in db.rows(_each(of, of.known, len(found)), (*found, tenant)))
    return found


def versions(db: Db, of: Set, tenant: str, ids: Sequence[str]) -> dict[str, int]:
    """The change numbers of those that there are."""
    return dict(db.rows(_each(of, "t.id, t.seq", len(ids)), (*ids, tenant))) if ids else {}


def _each(of: Set, columns: str, number: int) -> str:
    marks = ", ".join(["($?)"] * number)
    return f"WITH w(id) AS (VALUES {marks}) SELECT {columns} FROM w {of.table.each('w.id')}"


def _ahead(of: Set, row: Sequence[Any]) -> Ahead:
    return Ahead(stored(of.table.collection.name, row), (row[1], row[2], row[4], *row[9:], row[8]))


def lookup(db: Db, of: Set, tenant: str, path: str, value: str) -> Stored | None:
    column = of.table.by_path.get(path)
    if column is None or not column.unique:
        raise ValueError(f"{of.table.collection.name} has no unique column '{path}'")
    if "\0" in value:
        return None
    name = of.table.quoted[path]
    sql = f"SELECT {of.whole} FROM {of.table.name} t WHERE t.tenant = $? AND {name} = $?"
    rows = db.rows(sql, (tenant, value.lower() if column.fold else value))
    return stored(of.table.collection.name, rows[0]) if rows else None


def page(db: Db, of: Set, tenant: str, query: Query) -> Page:
    columns = of.bare if query.bare else of.beta if query.version == "beta" else of.v1
    rows, keys = _select(db, of, tenant, query, columns)
    more = len(rows) > query.top
    del rows[query.top :]
    name = of.table.collection.name
    last = tuple(rows[-1][place] for place in _places(of, keys, PAGE_COLUMNS)) if rows else None
    total = count(db, of, tenant, query) if query.count else None
    found = [Stored(name, row[0], row[1], row[2], row[3], row[5], None, b"", row[4] != 0) for row in rows]
    return Page(found, more, last, total)


def _places(of: Set, keys: Sequence[SortKey], width: int) -> Iterator[int]:
    """Where in a row the sort values stand: what every row has is not read twice."""
    for key in keys:
        if key.path in of.places:
            yield of.places[key.path]
        else:
            yield width
            width += 1


def find(db: Db, of: Set, tenant: str, query: Query) -> list[Stored]:
    """With all texts of each document; no more than `query.top`."""
    rows, _ = _select(db, of, tenant, query, of.whole)
    return [stored(of.table.collection.name, row) for row in rows[: query.top]]


def count(db: Db, of: Set, tenant: str, query: Query) -> int:
    plan = of.planner.plan(db, tenant, query.filter, None, query.ids)
    sql = f"SELECT count(*) FROM {plan.source} WHERE {plan.where}"
    return int(db.rows(sql, (*plan.source_params, *plan.params))[0][0])


def _select(
    db: Db, of: Set, tenant: str, query: Query, columns: str
) -> tuple[list[tuple[Any, ...]], Sequence[SortKey]]:
    """Up to top + 1 rows, each followed by those sort values that are not among its columns."""
    keys = of.planner.keys(query.order)
    if query.after is not None and len(query.after) != len(keys):
        raise ValueError("`after` does not belong to this order")
    plan = of.planner.plan(db, tenant, query.filter, keys, query.ids)
    if plan.other:
        found = _walk(db, of, tenant, plan, query, columns, PATIENCE_S)
        if found is not None:
            return found, plan.keys
        plan = of.planner.gather(db, tenant, query.filter, keys, plan, query.ids) or plan
    return _walk(db, of, tenant, plan, query, columns) or [], plan.keys


def _walk(
    db: Db, of: Set, tenant: str, plan: Plan, query: Query, columns: str, seconds: float | None = None
) -> list[tuple[Any, ...]] | None:
    """None if it takes longer than that."""
    rows: list[tuple[Any, ...]] = []
    for after, params in _segments(plan.keys, query):
        sql, values = _statement(of, tenant, plan, columns, after, params, query.top + 1 - len(rows), query.skip)
        found = db.rows(sql, values) if seconds is None else db.rows_within(sql, values, seconds)
        if found is None:
            return None
        rows += found
        if len(rows) > query.top:
            break
    return rows


def _statement(
    of: Set,
    tenant: str,
    plan: Plan,
    columns: str,
    after: str,
    after_params: Sequence[Any],
    limit: int,
    skip: int,
) -> tuple[str, tuple[Any, ...]]:
    keys, direction = plan.keys, of.table.dialect.direction
    where = f"{plan.where}{after}"
    where_params = [*plan.source_params, *plan.params, *after_params]
    if plan.ordered and not skip:
        extra = [key for key in keys if key.path not in of.places]
        more = "".join(f", {key.sql}" for key in extra)
        params = [value for key in extra for value in key.params]
        order = ", ".join(f"{key.sql} {direction(key.descending)}" for key in keys)
        sql = f"SELECT {columns}{more} FROM {plan.source} WHERE {where} ORDER BY {order} LIMIT $?"
        return sql, (*params, *where_params, limit)
    # sorted or skipped over without dragging the documents along
    values = ", ".join(f"{key.sql} AS k{i}" for i, key in enumerate(keys))
    value_params = [value for key in keys for value in key.params]
    order = ", ".join(f"k{i} {direction(key.descending)}" for i, key in enumerate(keys))
    outer = ", ".join(f"o.k{i} {direction(key.descending)}" for i, key in enumerate(keys))
    more = "".join(f", o.k{i}" for i, key in enumerate(keys) if key.path not in of.places)
    found = f"SELECT t.id AS found, {values} FROM {plan.source} WHERE {where}"
    if not plan.ordered and not of.table.dialect.hints:
        found = f"SELECT * FROM ({found} OFFSET 0) a"  # a fence: the drivers' index, not one that gives the order
    sql = (
        f"SELECT {columns}{more} FROM ({found} ORDER BY {order} LIMIT $? OFFSET $?) o "
        f"{of.table.each('o.found')} ORDER BY {outer}"
    )
    return sql, (*value_params, *where_params, limit, skip, tenant)


def _segments(keys: Sequence[SortKey], query: Query) -> list[tuple[str, list[Any]]]:
    """Conditions that continue behind `after`, in turn: each begins with a range that an index can start from."""
    if query.after is None or not keys:
        return [("", [])]
    beyond, params = _beyond(list(zip(keys, query.after, strict=True)))
    first, value = keys[0], query.after[0]
    if query.skip:
        return [(f" AND {beyond}", params)]
    parts: list[tuple[str, list[Any]]]
    if value is None:
        parts = [(f"{first.sql} IS NULL", [*first.params])]
        if not first.descending:
            parts.append((f"{first.sql} IS NOT NULL", [*first.params]))
    else:
        parts = [(f"{first.sql} {'<=' if first.descending else '>='} $?", [*first.params, value])]
        if first.descending and first.nullable:
            parts.append((f"{first.sql} IS NULL", [*first.params]))
    return [(f" AND {sql} AND {beyond}", [*more, *params]) for sql, more in parts]


def _beyond(pairs: list[tuple[SortKey, Scalar]]) -> tuple[str, list[Any]]:
    """Behind a row in the order of the keys; nulls are first when ascending, last when descending."""
    key, value = pairs[0]
    if value is None:
        after, params = ("1 = 0", []) if key.descending else (f"{key.sql} IS NOT NULL", [*key.params])
        same, same_params = f"{key.sql} IS NULL", [*key.params]
    else:
        after, params = f"{key.sql} {'<' if key.descending else '>'} $?", [*key.params, value]
        if key.descending and key.nullable:
            after, params = f"({after} OR {key.sql} IS NULL)", [*params, *key.params]
        same, same_params = f"{key.sql} = $?", [*key.params, value]
    if len(pairs) == 1:
        return after, params
    rest, rest_params = _beyond(pairs[1:])
    return f"({after} OR ({same} AND {rest}))", [*params, *same_params, *rest_params]


def related(
    db: Db, tenant: str, relation: str, source: str, limit: int, after: tuple[str, str] | None
) -> list[tuple[str, str]]:
    sql = "SELECT target_collection, target FROM relations WHERE tenant = $? AND relation = $? AND source = $?"
    params: list[Any] = [tenant, relation, source]
    if after is not None:
        sql += " AND (target_collection, target) > ($?, $?)"
        params += after
    rows = db.rows(f"{sql} ORDER BY target_collection, target LIMIT $?", (*params, limit))
    return [(row[0], row[1]) for row in rows]


def relating(
    db: Db, tenant: str, relation: str, target_collection: str, target: str, limit: int, after: str | None
) -> list[str]:
    sql = (
        "SELECT source FROM relations WHERE tenant = $? AND target_collection = $? AND target = $? AND relation = $? "
        "AND source > $? ORDER BY source LIMIT $?"
    )
    return [row[0] for row in db.rows(sql, (tenant, target_collection, target, relation, after or "", limit))]


def attachment(db: Db, tenant: str, collection: str, id: str, name: str) -> bytes | None:
    sql = "SELECT content FROM attachments WHERE tenant = $? AND collection = $? AND id = $? AND name = $?"
    rows = db.rows(sql, (tenant, collection, id, name))
    return bytes(rows[0][0]) if rows else None


def value(db: Db, tenant: str, key: str) -> bytes | None:
    rows = db.rows("SELECT value FROM tenant_values WHERE tenant = $? AND key = $?", (tenant, key))
    return bytes(rows[0][0]) if rows else None


def changes(
    db: Db,
    after: int,
    limit: int,
    collections: Sequence[str] | None,
    tenant: str | None = None,
    tail: Tail | None = None,
) -> list[Change]:
    """In order, and none that is left out here appears later. Gone if retention has passed `after`.

    One collection's changes are found by an index, so that a consumer of few does not walk over all; `tail` has the
    newest ones of all tenants already.
    """
    top, gone = db.rows("SELECT feed, floor FROM clock")[0]  # the statements below may see more: not given
    if after >= max(top, gone):
        return []
    if tail is not None and collections is not None and tenant is None and after >= gone:
        found = tail.read(after, top, limit, collections, partial(_between, db))
        if found is not None:
            return found
    whose, of = ("", ()) if tenant is None else ("tenant = $? AND ", (tenant,))
    rest = f"{whose}seq > $? AND seq <= $? ORDER BY seq LIMIT $?"
    if collections is None:
        rows = db.rows(f"SELECT {_CHANGE} FROM changes WHERE {rest}", (*of, after, top, limit))
    else:
        one = f"SELECT {_CHANGE} FROM changes WHERE collection = $? AND {rest}"
        rows = [row for name in sorted(set(collections)) for row in db.rows(one, (name, *of, after, top, limit))]
        rows.sort(key=lambda row: int(row[0]))
    gone = floor(db)  # after the rows: retention may have run meanwhile
    if after < gone:
        raise Gone(f"changes up to {gone} are no longer kept; the reader stands at {after}: read the documents again")
    return [_change(row) for row in rows[:limit]]


def _between(db: Db, after: int, top: int) -> list[Change]:
    rows = db.rows(f"SELECT {_CHANGE} FROM changes WHERE seq > $? AND seq <= $? ORDER BY seq", (after, top))
    return [_change(row) for row in rows]


def head(db: Db) -> int:
    return int(db.rows("SELECT feed FROM clock")[0][0])


def floor(db: Db) -> int:
    return int(db.rows("SELECT floor FROM clock")[0][0])


def place(db: Db, cursor: str) -> tuple[int | None, int]:
    """Where a cursor stands, None if there is none, and the feed's head."""
    seq, top = db.rows("SELECT (SELECT seq FROM cursors WHERE name = $?), feed FROM clock", (cursor,))[0]
    return None if seq is None else int(seq), int(top)


def _change(row: Sequence[Any]) -> Change:
    changed = None if row[7] is None else _CHANGED.decode(row[7])
    return Change(row[0], row[1], row[2], row[3], row[4], row[5], row[6], changed)
