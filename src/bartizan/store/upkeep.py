"""Retention, and one tenant taken out, put back or removed."""

import asyncio
import base64
from collections.abc import AsyncIterator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from bartizan.errors import BadRequest, Conflict
from bartizan.model.times import TICKS_A_SECOND, instant, ticks, to_datetime
from bartizan.store import read
from bartizan.store.draft import column_values
from bartizan.store.draft import inner as inner_of
from bartizan.store.interface import FEED_PLACE, Stored
from bartizan.store.schema import collection_tables
from bartizan.store.sql import Db, Dialect, Table
from bartizan.store.tx import Clock, SqlTx

if TYPE_CHECKING:
    from bartizan.store.engine import SqlStore

EXPORT_FORMAT = 1
BATCH = 500  # rows of one transaction: the lock is held for some milliseconds
MAX_AHEAD_S = 86_400  # restored stamps may not be further ahead of the clock: later ones would have to be above them

_encode = msgspec.json.Encoder().encode
_KEYS = {  # tables with a tenant beside the collections' own, and what tells their rows apart
    "entities": ("tenant", "collection", "kind", "value", "created", "id", "role"),
    "relations": ("tenant", "relation", "source", "target_collection", "target"),
    "attachments": ("tenant", "collection", "id", "name"),
    "tenant_values": ("tenant", "key"),
}


# ---------------------------------------------------------------- retention


async def retain(store: "SqlStore", now: datetime) -> int:
    """In small transactions; what is removed goes to the feed as deleted, by the actor "retention"."""
    removed = 0
    for of in store.sets.values():
        if of.table.collection.keep is None:
            continue
        before = instant(now - of.table.collection.keep)
        while count := await store.write(partial(_expire, store=store, of=of, before=before)):
            removed += count
    oldest = instant(now - store.limits.feed_keep)
    while count := await store.write(lambda db, clock: _forget(db, oldest)):
        removed += count
    await store.write(lambda db, clock: db.run(f"DELETE FROM writers WHERE at < {store.dialect.clock_s} - 86400"))
    return removed


def _expire(db: Db, clock: Clock, store: "SqlStore", of: read.Set, before: str) -> int:
    collection, name, quoted = of.table.collection, of.table.name, of.table.quoted
    where, values = "t.updated < $?", [before]
    if collection.spare is not None:
        column, spared = collection.spare
        where += f" AND t.{quoted[column]} NOT IN ({', '.join(['$?'] * len(spared))})"
        values += spared
    if collection.spare_newest is not None:
        same = f"n.tenant = t.tenant AND n.{quoted[collection.spare_newest]} = t.{quoted[collection.spare_newest]}"
        where += f" AND EXISTS (SELECT 1 FROM {name} n WHERE {same} AND n.seq > t.seq)"
    rows = db.rows(f"SELECT t.tenant, t.id FROM {name} t WHERE {where} ORDER BY t.updated LIMIT $?", (*values, BATCH))
    steps: dict[str, SqlTx] = {}
    for tenant, id in rows:
        if tenant not in steps:
            steps[tenant] = SqlTx(db, clock, store.sets, tenant, "retention")
        steps[tenant].delete(of.table.collection.name, id)
    for tx in steps.values():
        tx.finish()
    return len(rows)


def _forget(db: Db, before: str) -> int:
    """Removes the oldest changes, as far as they are old enough and every cursor has passed them."""
    passed = db.rows("SELECT min(seq) FROM cursors")[0][0]
    rows = db.rows("SELECT seq, at FROM changes ORDER BY seq LIMIT $?", (BATCH,))
    last, count = 0, 0
    for seq, at in rows:
        if at >= before or (passed is not None and seq > passed):
            break
        last, count = seq, count + 1
    if count:
        db.run("DELETE FROM changes WHERE seq <= $?", (last,))
        db.run("UPDATE clock SET floor = $?", (last,))
    return count


# ---------------------------------------------------------------- export


async def export(store: "SqlStore", tenant: str) -> AsyncIterator[bytes]:
    """The last line says how many documents there are, so that a cut-off export is recognised."""
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1, "bartizan-export") as thread:  # a connection belongs to one thread
        lines = _snapshot_lines(store, tenant)
        try:
            while chunk := await loop.run_in_executor(thread, lambda: list(islice(lines, BATCH))):
                for line in chunk:
                    yield line
        finally:
            await loop.run_in_executor(thread, lines.close)  # type: ignore[attr-defined]


def _snapshot_lines(store: "SqlStore", tenant: str) -> Iterator[bytes]:
    with store.snapshot() as db:
        yield _line({"kind": "bartizan-tenant", "format": EXPORT_FORMAT, "tenant": tenant})
        documents = 0
        for of in store.sets.values():
            for document in _documents(db, of, tenant):
                documents += 1
                yield _line(document)
        for row in _all(db, "relations", tenant, ""):
            yield _line(dict(zip(("kind", *_KEYS["relations"][1:]), ("relation", *row[1:]), strict=True)))
        for row in _all(db, "attachments", tenant, ", content"):
            named = dict(zip(("kind", *_KEYS["attachments"][1:]), ("attachment", *row[1:-1]), strict=True))
            yield _line({**named, "content": base64.b64encode(row[-1]).decode()})
        for row in _all(db, "tenant_values", tenant, ", value"):
            if not row[1].startswith(FEED_PLACE):
                yield _line({"kind": "value", "key": row[1], "value": base64.b64encode(row[-1]).decode()})
        yield _line({"kind": "end", "documents": documents})


def _line(value: dict[str, Any]) -> bytes:
    return _encode(value) + b"\n"


def _documents(db: Db, of: read.Set, tenant: str) -> Iterator[dict[str, Any]]:
    table = of.table
    names = "".join(f", {name}" for name in table.names)
    where = "t.tenant = $? AND t.id > $? ORDER BY t.id LIMIT $?"
    sql = f"SELECT {of.kept}, t.entities{names} FROM {table.name} t WHERE {where}"
    after = ""
    while rows := db.rows(sql, (tenant, after, BATCH)):
        for row in rows:
            texts = [None if text is None else bytes(text).decode() for text in row[5:8]]
            yield {
                "kind": "document",
                "collection": table.collection.name,
                "id": row[0],
                "seq": row[1],
                "created": row[2],
                "updated": row[3],
                "evolvable": bool(row[4]),
                "doc": texts[0],
                "beta": texts[1],
                "state": texts[2],
                "entities": msgspec.json.decode(row[8] or "[]"),
                "columns": dict(zip(table.by_path, row[9:], strict=True)),
            }
        after = rows[-1][0]


def _all(db: Db, name: str, tenant: str, more: str) -> Iterator[tuple[Any, ...]]:
    keys = _KEYS[name]
    columns, behind = ", ".join(keys), ", ".join(keys[1:])
    marks = ", ".join(["$?"] * (len(keys) - 1))
    sql = f"SELECT {columns}{more} FROM {name} WHERE tenant = $? AND ({behind}) > ({marks}) ORDER BY {behind} LIMIT $?"
    after: tuple[Any, ...] = ("",) * (len(keys) - 1)
    while rows := db.rows(sql, (tenant, *after, BATCH)):
        yield from rows
        after = rows[-1][1 : len(keys)]


# ---------------------------------------------------------------- restore


class _Document(Struct):
    collection: str
    id: str
    seq: int
    created: str
    updated: str
    evolvable: bool
    doc: str
    beta: str | None
    state: str | None
    entities: list[tuple[str, str, str]]
    columns: dict[str, str | int | float | bool | None]


class _Relation(Struct):
    relation: str
    source: str
    target_collection: str
    target: str


class _Attachment(Struct):
    collection: str
    id: str
    name: str
    content: str


class _Value(Struct):
    key: str
    value: str


class _Kind(Struct):
    kind: str
    format: int = EXPORT_FORMAT
    documents: int = -1


async def restore(store: "SqlStore", tenant: str, lines: Iterable[bytes]) -> int:
    """In one transaction: other writers wait meanwhile. Documents keep their stamps and get new ETags.

    Nothing goes to the feed: what stages made of the changes is in the export itself.
    """
    return await store.write(lambda db, clock: _restore(store, db, clock, tenant, lines))


def _restore(store: "SqlStore", db: Db, clock: Clock, tenant: str, lines: Iterable[bytes]) -> int:
    db.unhurried()
    for name in (*(of.table.name for of in store.sets.values()), *_KEYS):
        if db.rows(f"SELECT 1 FROM {name} WHERE tenant = $? LIMIT 1", (tenant,)):
            raise Conflict(f"the tenant {tenant} is not empty; erase it first, or restore under another id")
    newest, documents, expected = "", 0, -1
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            head = msgspec.json.decode(line, type=_Kind)
            if head.kind == "document":
                document = msgspec.json.decode(line, type=_Document)
                _put_document(store, db, clock, tenant, document)
                documents, newest = documents + 1, max(newest, document.updated)
            elif head.kind == "end":
                expected = head.documents
            else:
                _put_other(store, db, clock, tenant, head, line)
        except (msgspec.DecodeError, ValueError) as error:
            raise BadRequest(f"line {number} is not a line of an export: {error}") from error
    if documents != expected:
        raise BadRequest(f"the export is cut off: it holds {documents} documents and should end by saying so")
    if newest:
        stamp = ticks(to_datetime(newest)) + int(newest[26])
        if stamp > store.now() + MAX_AHEAD_S * TICKS_A_SECOND:
            raise BadRequest(f"the export holds a stamp in the future: {newest}")
        clock.stamp = max(clock.stamp, stamp)
    return documents


def _put_document(store: "SqlStore", db: Db, clock: Clock, tenant: str, document: _Document) -> None:
    of = store.sets.get(document.collection)
    if of is None:
        raise ValueError(f"no collection is named '{document.collection}'")
    table, seq = of.table, clock.number()
    texts = [_renumbered(text, document.seq, seq) for text in (document.doc, document.beta, document.state)]
    columns = _columns_of(table, document)
    entities = sorted(set(document.entities))
    db.post(
        table.insert,
        (
            *(tenant, document.id, seq, document.created, document.updated, int(document.evolvable)),
            *columns,
            *texts,
            _encode(entities).decode() if entities else None,
        ),
    )
    db.many(
        "INSERT INTO entities (tenant, collection, kind, value, created, id, role) VALUES ($?, $?, $?, $?, $?, $?, $?)",
        [
            (tenant, document.collection, kind, value, document.created, document.id, role)
            for kind, value, role in entities
        ],
    )


def _renumbered(text: str | None, old: int, new: int) -> bytes | None:
    if text is None:
        return None
    return text.replace(f'"W/\\"{old:016x}\\""', f'"W/\\"{new:016x}\\""').encode()


def _columns_of(table: Table, document: _Document) -> list[Any]:
    """Kept values; what this program declares and the export lacks is found in the document."""
    missing = table.by_path.keys() - document.columns.keys()
    values: dict[str, Any] = dict(document.columns)
    if missing:
        beta = None if document.beta is None else document.beta.encode()
        stored = Stored(
            *(document.collection, document.id, 0, document.created, document.updated, document.doc.encode(), beta),
            (document.state or "").encode(),
            document.evolvable,
        )
        found = column_values(table.collection, inner_of(stored))
        values |= {path: found[path] for path in missing}
    whole = table.dialect.truth == table.dialect.whole
    plain = []
    for path, column in table.by_path.items():
        value = values[path]
        if column.kind == "bool" and value is not None:
            value = int(value) if whole else bool(value)
        plain.append(value)
    return plain


def _put_other(store: "SqlStore", db: Db, clock: Clock, tenant: str, head: _Kind, line: bytes) -> None:
    tx = SqlTx(db, clock, store.sets, tenant, "restore")
    if head.kind == "relation":
        edge = msgspec.json.decode(line, type=_Relation)
        tx.relate(edge.relation, edge.source, edge.target_collection, edge.target)
    elif head.kind == "attachment":
        kept = msgspec.json.decode(line, type=_Attachment)
        tx.attach(kept.collection, kept.id, kept.name, base64.b64decode(kept.content, validate=True))
    elif head.kind == "value":
        value = msgspec.json.decode(line, type=_Value)
        tx.set_value(value.key, base64.b64decode(value.value, validate=True))
    elif head.kind != "bartizan-tenant":
        raise ValueError(f"unknown kind '{head.kind}'")
    elif head.format != EXPORT_FORMAT:
        raise ValueError(f"format {head.format} is not {EXPORT_FORMAT}: this export was made by another version")
    tx.finish()


# ---------------------------------------------------------------- erase


async def erase(store: "SqlStore", tenant: str) -> int:
    """In small transactions; a second call finishes what a crash cut short."""
    documents = 0
    own = await store.read(partial(collection_tables, dialect=store.dialect))  # those of other programs too
    for name, keys in {**{f'"{name}"': ("tenant", "id") for name in own}, **_KEYS}.items():
        remove = partial(_remove, dialect=store.dialect, name=name, keys=keys, tenant=tenant)
        while count := await store.write(remove):
            documents += count if name not in _KEYS else 0
    after = 0
    while (step := await store.write(partial(_remove_changes, tenant=tenant, after=after))) is not None:
        after = step
    return documents


def _remove(db: Db, _: Clock, dialect: Dialect, name: str, keys: tuple[str, ...], tenant: str) -> int:
    if dialect.name == "postgres":  # left to choose, it compares each row of the tenant with each of the batch
        some = f"SELECT ctid FROM {name} WHERE tenant = $? LIMIT $?"
        return db.run(f"DELETE FROM {name} WHERE ctid = ANY(ARRAY({some}))", (tenant, BATCH))
    columns = ", ".join(keys)
    some = f"SELECT {columns} FROM {name} WHERE tenant = $? LIMIT $?"
    return db.run(f"DELETE FROM {name} WHERE tenant = $? AND ({columns}) IN ({some})", (tenant, tenant, BATCH))


def _remove_changes(db: Db, _: Clock, tenant: str, after: int) -> int | None:
    """Goes over the feed by number; returns where to go on."""
    rows = db.rows("SELECT seq FROM changes WHERE seq > $? ORDER BY seq LIMIT 1 OFFSET $?", (after, 10 * BATCH - 1))
    if rows:
        db.run("DELETE FROM changes WHERE tenant = $? AND seq > $? AND seq <= $?", (tenant, after, rows[0][0]))
        return int(rows[0][0])
    db.run("DELETE FROM changes WHERE tenant = $? AND seq > $?", (tenant, after))
    return None
