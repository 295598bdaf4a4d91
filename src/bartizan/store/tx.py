"""One atomic step in the writer: documents, entity rows, edges and changes, put together or not at all."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from bartizan.errors import BadRequest, Conflict, PreconditionFailed, TooLarge
from bartizan.model.stamps import CREATED, ETAG, UPDATED
from bartizan.model.times import from_ticks
from bartizan.odata.tree import Expr, Order
from bartizan.store import read
from bartizan.store.interface import Ahead, Column, Draft, Entity, LeaseLost, Op, Query, Stored
from bartizan.store.sql import MAX_INDEXED_BYTES, Db, Scalar, Table, checked_id, entity_key

MAX_DOCUMENT_BYTES = 16 * 2**20  # one text of a document
MAX_ATTACHMENT_BYTES = 64 * 2**20
EXPECTED = 500  # documents of one look

_encode = msgspec.json.Encoder().encode
_TAGGED = b'{"@odata.etag":' + json.dumps(f'W/"{ETAG}"').encode()  # how a document with an ETag begins
_INSTANT = f'"{CREATED[:-2]}'.encode()  # how both stamps begin; they end so:
_CREATED, _UPDATED = f'{CREATED[-2:]}"'.encode(), f'{UPDATED[-2:]}"'.encode()
_INDEX = (
    "INSERT INTO entities (tenant, collection, kind, value, created, id, role) "
    "VALUES ($?, $?, $?, $?, $?, $?, $?) ON CONFLICT DO NOTHING"
)
_ATTACH = (
    "INSERT INTO attachments (tenant, collection, id, name, content) VALUES ($?, $?, $?, $?, $?) "
    "ON CONFLICT (tenant, collection, id, name) DO UPDATE SET content = excluded.content"
)
_TELL = (
    "INSERT INTO changes (seq, tenant, collection, id, op, at, actor, changed) VALUES ($?, $?, $?, $?, $?, $?, $?, $?)"
)


def wall() -> int:
    """Now, in steps of 100 ns since 1970."""
    return time.time_ns() // 100


class Clock:
    """The engine's counters, held by the writing transaction: change number and stamp only ever grow."""

    def __init__(self, db: Db, now: Callable[[], int]) -> None:
        self.seq, self.stamp, self.feed = (int(v) for v in db.rows("SELECT seq, stamp, feed FROM clock")[0])
        self._now = now
        self._kept = (self.seq, self.stamp, self.feed)

    def tick(self) -> str:
        """A stamp above every one before, whatever the wall clock does."""
        self.stamp = max(self.stamp + 1, self._now())
        return from_ticks(self.stamp)

    def number(self) -> int:
        self.seq += 1
        return self.seq

    def save(self, db: Db) -> bool:
        """Whether the feed has grown. What put nothing leaves nothing to write."""
        if self.seq != self._kept[0]:
            db.post("UPDATE clock SET seq = $?, stamp = $?, feed = $?", (self.seq, self.stamp, self.feed))
        return self.feed != self._kept[2]


class SqlTx:
    """A `Tx` of one tenant. `sets` are the declared collections."""

    def __init__(self, db: Db, clock: Clock, sets: Mapping[str, read.Set], tenant: str, actor: str) -> None:
        self.tenant = tenant
        self.now = clock.tick()
        self._db = db
        self._clock = clock
        self._sets = sets
        self._actor = actor
        self._known: dict[tuple[str, str], tuple[Any, ...] | None] = {}  # what get() has seen and nobody has changed
        self._recalled: dict[tuple[str, str], Stored | None] = {}  # as it was read before, and still is
        self._later: dict[str, list[tuple[Any, ...]]] = {}  # rows that `finish` writes, by statement
        self._waiting: set[tuple[str, str]] = set()  # the documents among them

    def get(self, collection: str, id: str) -> Stored | None:
        key = (collection, id)
        if key in self._recalled:
            return self._recalled[key]
        joined = self._sets[collection].table.collection.joined
        if key in self._waiting or (joined is not None and (joined.collection, id) in self._waiting):
            self.finish()
        known = read.known(self._db, self._sets[collection], self.tenant, id)
        self._known[key] = known.old
        return known.stored

    def recall(self, collection: str, ahead: Mapping[str, Ahead]) -> None:
        self.finish()
        now = read.versions(self._db, self._sets[collection], self.tenant, list(ahead))
        for id, one in ahead.items():
            if now.get(id) == (None if one.stored is None else one.stored.seq):
                self._recalled[collection, id], self._known[collection, id] = one.stored, one.old

    def expect(self, collection: str, ids: Sequence[str]) -> None:
        self.finish()
        for start in range(0, len(ids), EXPECTED):
            some = ids[start : start + EXPECTED]
            there = read.versions(self._db, self._sets[collection], self.tenant, some)
            absent = dict.fromkeys((collection, id) for id in some if id not in there)
            self._recalled |= absent
            self._known |= absent

    def find(self, collection: str, filter: Expr | None, *, limit: int, order: tuple[Order, ...] = ()) -> list[Stored]:
        self.finish()
        return read.find(self._db, self._sets[collection], self.tenant, Query(limit, filter, order))

    def lookup(self, collection: str, column: str, value: str) -> Stored | None:
        self.finish()
        return read.lookup(self._db, self._sets[collection], self.tenant, column, value)

    def related(
        self, relation: str, source: str, *, limit: int, after: tuple[str, str] | None = None
    ) -> list[tuple[str, str]]:
        return read.related(self._db, self.tenant, relation, source, limit, after)

    def relating(
        self, relation: str, target_collection: str, target: str, *, limit: int, after: str | None = None
    ) -> list[str]:
        return read.relating(self._db, self.tenant, relation, target_collection, target, limit, after)

    # ------------------------------------------------------------ documents

    def put(
        self,
        draft: Draft,
        *,
        if_match: str | None = None,
        unless_exists: bool = False,
        changed: Mapping[str, tuple[Any, Any]] | None = None,
    ) -> Stored | None:
        table = self._sets[draft.collection].table
        id = checked_id(draft.id)
        old = self._old(table, id)
        if unless_exists and old is not None:
            return None
        _check_match(draft.collection, id, None if old is None else old[0], if_match)
        at, seq = self._clock.tick(), self._clock.number()
        created = at if old is None else str(old[1])
        fill = Fill(created, at, seq)
        doc = fill.text(draft.doc)
        beta = None if draft.beta is None or draft.beta == draft.doc else fill.text(draft.beta)
        state = fill.text(draft.state)
        columns = self._columns(table, draft, fill, old)
        self._check_unique(table, id, columns, old)
        entities = [] if draft.rest else _entity_rows(draft.entities)
        listed = old[-1] if draft.rest and old is not None else _encode(entities).decode() if entities else None
        row = (seq, created, at, int(draft.evolvable), *columns, doc, beta, state or None, listed)
        if old is None:
            self._wait(table.insert, (self.tenant, id, *row))
        else:
            self._update(table, id, row, old)
        self._waiting.add((draft.collection, id))
        if not draft.rest:
            self._index_entities(table, id, created, entities, None if old is None else old[-1])
        self._record(table, id, seq, "created" if old is None else "updated", at, changed)
        return Stored(draft.collection, id, seq, created, at, doc, beta, state, draft.evolvable)

    def _old(self, table: Table, id: str) -> tuple[Any, ...] | None:
        """seq, created, evolvable, the columns, entities."""
        key = (table.collection.name, id)
        self._recalled.pop(key, None)
        if key in self._known:
            return self._known.pop(key)
        if key in self._waiting:
            self.finish()
        rows = self._db.rows(table.select_old, (self.tenant, id))
        return rows[0] if rows else None

    def _columns(self, table: Table, draft: Draft, fill: "Fill", old: tuple[Any, ...] | None) -> list[Scalar]:
        given = draft.columns
        if draft.rest and old is None:
            raise ValueError(f"{draft.collection} '{draft.id}' is not there: all of it is to be given")
        if not given.keys() <= table.by_path.keys():
            unknown = ", ".join(sorted(given.keys() - table.by_path.keys()))
            raise ValueError(f"{draft.collection} declares no column {unknown}")
        if not draft.rest or old is None:
            return [_column_value(table, column, given.get(column.path), fill) for column in table.columns]
        values = list(old[3:-1])
        for path, value in given.items():
            values[table.places[path]] = _column_value(table, table.by_path[path], value, fill)
        return values

    def _check_unique(self, table: Table, id: str, columns: Sequence[Scalar], old: tuple[Any, ...] | None) -> None:
        for i, column in table.unique:
            value = columns[i]
            if value is None or (old is not None and old[3 + i] == value):
                continue
            self.finish()
            sql = f"SELECT id FROM {table.name} WHERE tenant = $? AND {table.names[i]} = $?"
            if any(row[0] != id for row in self._db.rows(sql, (self.tenant, value))):
                name = table.collection.name
                raise Conflict(f"another object of {name} has the same value for '{column.path}': {value}")

    def _update(self, table: Table, id: str, row: tuple[Any, ...], old: tuple[Any, ...]) -> None:
        """Only what differs is set, since each column that is set costs its indexes two writes."""
        text = table.dialect.doc_in
        sets = ["seq = $?", "updated = $?", f"doc = {text}", f"beta = {text}", f"state = {text}"]
        values = [row[0], row[2], *row[-4:-1]]
        names = ("evolvable", *table.names, "entities")
        for name, new, before in zip(names, (*row[3:-4], row[-1]), old[2:], strict=True):
            if new != before or type(new) is not type(before):
                sets.append(f"{name} = $?")
                values.append(new)
        sql = f"UPDATE{table.dialect.failing} {table.name} SET {', '.join(sets)} WHERE tenant = $? AND id = $?"
        self._wait(sql, (*values, self.tenant, id))

    def delete(self, collection: str, id: str, *, if_match: str | None = None) -> bool:
        table = self._sets[collection].table
        old = self._old(table, id)
        if if_match is not None:
            _check_match(collection, id, None if old is None else old[0], if_match)
        if old is None:
            return False
        self.finish()
        self._db.post(f"DELETE FROM {table.name} WHERE tenant = $? AND id = $?", (self.tenant, id))
        self._index_entities(table, id, old[1], [], old[-1])
        self._db.post(
            "DELETE FROM attachments WHERE tenant = $? AND collection = $? AND id = $?", (self.tenant, collection, id)
        )
        self._db.post(
            "DELETE FROM relations WHERE tenant = $? AND target_collection = $? AND target = $?",
            (self.tenant, collection, id),
        )
        at, seq = self._clock.tick(), self._clock.number()
        self._record(table, id, seq, "deleted", at, None)
        return True

    def _index_entities(
        self, table: Table, id: str, created: str, new: Sequence[tuple[str, str, str]], listed: str | None
    ) -> None:
        old = [] if listed is None else [(kind, value, role) for kind, value, role in msgspec.json.decode(listed)]
        if old == new:
            return
        name, before, after = table.collection.name, set(old), set(new)
        if before - after:
            self.finish()
            self._db.many(
                "DELETE FROM entities WHERE tenant = $? AND collection = $? AND kind = $? AND value = $? "
                "AND created = $? AND id = $? AND role = $?",
                [(self.tenant, name, kind, value, created, id, role) for kind, value, role in sorted(before - after)],
            )
        rows = after - before if before else new
        wait = self._later.setdefault(_INDEX, [])
        wait += [(self.tenant, name, kind, value, created, id, role) for kind, value, role in rows]

    def _record(
        self, table: Table, id: str, seq: int, op: Op, at: str, changed: Mapping[str, tuple[Any, Any]] | None
    ) -> None:
        if not table.collection.feed:
            return
        told = None if changed is None else _encode(changed).decode()
        self._wait(_TELL, (seq, self.tenant, table.collection.name, id, op, at, self._actor, told))
        self._clock.feed = seq

    def _wait(self, sql: str, row: tuple[Any, ...]) -> None:
        self._later.setdefault(sql, []).append(row)

    def finish(self) -> None:
        """Writes the rows that wait for the end of the work, table by table: the same statement again costs less, and
        rows that lie all over an index least in its order, where neighbours share a page."""
        if not self._later:
            return
        for sql, rows in self._later.items():
            if sql is _INDEX:
                rows.sort()
            self._db.many(sql, rows)
        self._later = {}
        self._waiting.clear()

    # ------------------------------------------------------------ beside the documents

    def relate(self, relation: str, source: str, target_collection: str, target: str) -> bool:
        count = self._db.run(
            "INSERT INTO relations (tenant, relation, source, target_collection, target) "
            "VALUES ($?, $?, $?, $?, $?) ON CONFLICT DO NOTHING",
            (self.tenant, relation, checked_id(source), target_collection, checked_id(target)),
        )
        return count > 0

    def unrelate(self, relation: str, source: str, target_collection: str, target: str) -> bool:
        count = self._db.run(
            "DELETE FROM relations WHERE tenant = $? AND relation = $? AND source = $? AND target_collection = $? "
            "AND target = $?",
            (self.tenant, relation, source, target_collection, target),
        )
        return count > 0

    def attach(self, collection: str, id: str, name: str, content: bytes) -> None:
        if len(content) > MAX_ATTACHMENT_BYTES:
            raise TooLarge(f"'{name}' has {len(content)} bytes; the most is {MAX_ATTACHMENT_BYTES}")
        self._wait(_ATTACH, (self.tenant, collection, checked_id(id), checked_id(name, "name"), content))

    def value(self, key: str) -> bytes | None:
        return read.value(self._db, self.tenant, key)

    def set_value(self, key: str, value: bytes | None) -> None:
        if value is None:
            self._db.post("DELETE FROM tenant_values WHERE tenant = $? AND key = $?", (self.tenant, key))
            return
        if len(value) > MAX_DOCUMENT_BYTES:
            raise TooLarge(f"the value '{key}' has {len(value)} bytes; the most is {MAX_DOCUMENT_BYTES}")
        self._db.post(
            "INSERT INTO tenant_values (tenant, key, value) VALUES ($?, $?, $?) "
            "ON CONFLICT (tenant, key) DO UPDATE SET value = excluded.value",
            (self.tenant, checked_id(key, "key"), value),
        )

    def advance(self, cursor: str, seq: int) -> None:
        advance(self._db, cursor, seq)

    def hold(self, lease: str, owner: str) -> None:
        """A lease that has run out is held until somebody takes it, which waits for this write to end."""
        rows = self._db.rows("SELECT owner FROM leases WHERE name = $?", (lease,))
        if not rows or rows[0][0] != owner:
            raise LeaseLost(lease)


def advance(db: Db, cursor: str, seq: int) -> None:
    """Never backwards."""
    db.post(
        "INSERT INTO cursors (name, seq) VALUES ($?, $?) "
        "ON CONFLICT (name) DO UPDATE SET seq = excluded.seq WHERE cursors.seq < excluded.seq",
        (checked_id(cursor, "cursor"), seq),
    )


class Fill:
    """Puts stamps and change number where a renderer left their places: whole JSON texts, never parts of one."""

    def __init__(self, created: str, updated: str, seq: int) -> None:
        self._stamps = {CREATED: created, UPDATED: updated}
        self._tagged = b'{"@odata.etag":"W/\\"%016x\\""' % seq
        self._filled = {_CREATED: f'"{created}"'.encode(), _UPDATED: f'"{updated}"'.encode()}

    def text(self, raw: bytes) -> bytes:
        if len(raw) > MAX_DOCUMENT_BYTES:
            raise TooLarge(f"the object has {len(raw)} bytes; the most is {MAX_DOCUMENT_BYTES}")
        if raw.startswith(_TAGGED):
            raw = self._tagged + raw[len(_TAGGED) :]
        first, *rest = raw.split(_INSTANT)
        if not rest:
            return raw
        made = [first]
        for each in rest:
            filled = self._filled.get(each[: len(_CREATED)])
            made += (_INSTANT, each) if filled is None else (filled, each[len(_CREATED) :])
        return b"".join(made)

    def value(self, text: str) -> str:
        return self._stamps.get(text, text)


def _column_value(table: Table, column: Column, value: Scalar, fill: Fill) -> Scalar:
    if isinstance(value, str):
        value = fill.value(value)
        if column.fold or len(value) > MAX_INDEXED_BYTES // 4 or "\0" in value:
            return _stored_text(column, value)
    elif isinstance(value, bool) and table.dialect.truth == table.dialect.whole:
        return int(value)
    return value


def _stored_text(column: Column, text: str) -> str:
    if column.fold:
        text = text.lower()
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    if len(text) > MAX_INDEXED_BYTES // 4 and (column.index or column.unique):
        size = len(text.encode())
        if size > MAX_INDEXED_BYTES:
            raise BadRequest(f"'{column.path}' has {size} bytes; the most is {MAX_INDEXED_BYTES}")
    return text


def _check_match(collection: str, id: str, seq: int | None, if_match: str | None) -> None:
    """If-Match: `*`, or one of a comma list of ETags; Graph's are weak, so W/ does not count."""
    if if_match is None:
        return
    wanted = {tag.strip().removeprefix("W/") for tag in if_match.split(",")}
    if seq is None or ("*" not in wanted and f'"{seq:016x}"' not in wanted):
        now = "it does not exist" if seq is None else f'its ETag is W/"{seq:016x}"'
        raise PreconditionFailed(f"{collection} '{id}' is not the version that If-Match names: {now}")


def _entity_rows(entities: Sequence[Entity]) -> list[tuple[str, str, str]]:
    rows = {(entity.kind, entity_key(entity.value), entity.role) for entity in entities}
    return sorted(row for row in rows if row[1])
