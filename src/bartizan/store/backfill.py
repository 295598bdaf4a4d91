"""Documents brought up to what this program declares and renders, in batches that any process can take up.

A back-fill fills columns and entity rows from the documents; one that renders also makes their wire bytes anew from
the inner form. It is no change: number, stamps and ETag stay, and nothing goes to the feed.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog

from bartizan.model import faces
from bartizan.store import read
from bartizan.store.draft import column_values, draft, found_entities
from bartizan.store.draft import inner as inner_of
from bartizan.store.interface import Draft, Stored
from bartizan.store.sql import Db, Table, entity_key
from bartizan.store.tx import Fill

BATCH = 200  # documents of one transaction at most ...
BATCH_S = 0.040  # ... and about how long it holds the lock
PAUSE_S = 0.004  # between two transactions: those who wait for the lock ask for it every 2 ms

log = structlog.get_logger(__name__)


class Pending(msgspec.Struct):
    """A back-fill under way: what it fills, and behind which row it goes on."""

    columns: list[str]  # paths
    entities: bool = False
    render: bool = False
    after: tuple[str, str] | None = None
    since: int = 0  # the change number at its beginning: what other processes put later is filled again at the end
    last: bool = False  # all rows have been filled; those that were put meanwhile remain


def batch(db: Db, table: Table, pending: Pending, tables: Mapping[str, Table]) -> bool:
    """Fills the next documents and moves `pending` behind them; False when there is nothing left to fill."""
    pending.columns = [path for path in pending.columns if path in table.by_path]
    end = time.monotonic() + BATCH_S
    rows = _changed(db, table, pending) if pending.last else _next(db, table, pending)
    done = 0
    for row in rows:
        _fill(db, table, pending, row, tables)
        done += 1
        if time.monotonic() > end:
            break
    if done:
        pending.after = (rows[done - 1][8], rows[done - 1][0])
        pending.since = rows[done - 1][1] if pending.last else pending.since
    if done < len(rows) or len(rows) == BATCH:
        return True
    if pending.last or not table.collection.feed:
        return False
    pending.last = True
    return time.monotonic() > end or batch(db, table, pending, tables)


def _select(table: Table) -> str:
    out, own = table.dialect.doc_out, "".join(f", t.{name}" for name in table.names)
    texts = f"{out('t.doc')}, {out('t.beta')}, {out('t.state')}"
    return f"SELECT t.id, t.seq, t.created, t.updated, t.evolvable, {texts}, t.tenant, t.entities{own}"


def _next(db: Db, table: Table, pending: Pending) -> list[tuple[Any, ...]]:
    behind = "WHERE (t.tenant, t.id) > ($?, $?)" if pending.after is not None else ""
    order = f"t.tenant, t.id {table.dialect.direction(False)}"  # as the index has it
    sql = f"{_select(table)} FROM {table.name} t {behind} ORDER BY {order} LIMIT $?"
    return db.rows(sql, (*(pending.after or ()), BATCH))


def _changed(db: Db, table: Table, pending: Pending) -> list[tuple[Any, ...]]:
    """Documents whose last change came after the beginning, in that order."""
    join = "CROSS JOIN" if table.dialect.hints else "JOIN"
    sql = (
        f"{_select(table)} FROM changes f {join} {table.name} t ON t.tenant = f.tenant AND t.id = f.id "
        "AND t.seq = f.seq WHERE f.collection = $? AND f.seq > $? ORDER BY f.seq LIMIT $?"
    )
    return db.rows(sql, (table.collection.name, pending.since, BATCH))


def _fill(db: Db, table: Table, pending: Pending, row: Sequence[Any], tables: Mapping[str, Table]) -> None:
    collection = table.collection
    stored = read.stored(collection.name, row)
    tenant, listed, old = row[8], row[9], dict(zip(table.by_path, row[10:], strict=True))
    try:
        whole, state = _inner(db, stored, tenant, table, tables)
        sets = _rendered(table, stored, draft(collection, whole, stored.id, state=state)) if pending.render else []
        values = column_values(collection, whole)
        found = {(entity.kind, entity_key(entity.value), entity.role) for entity in found_entities(collection, whole)}
    except Exception:  # the edge: one document that cannot be read must not keep the server from starting
        log.warning("store.backfill.unreadable", collection=collection.name, id=stored.id, exc_info=True)
        return
    for path, stamp in ((collection.created, stored.created), (collection.updated, stored.updated)):
        if path in values:
            values[path] = stamp
    wanted = {path: _plain(values[path], table) for path in pending.columns}
    sets += [(f"{table.quoted[path]} = $?", value) for path, value in wanted.items() if _differs(value, old[path])]
    had = {tuple(each) for each in msgspec.json.decode(listed or "[]")}
    new = sorted(each for each in found - had if each[1]) if pending.entities else []
    if new:
        sets.append(("entities = $?", msgspec.json.encode(sorted(had | set(new))).decode()))
        db.many(
            "INSERT INTO entities (tenant, collection, kind, value, created, id, role) "
            "VALUES ($?, $?, $?, $?, $?, $?, $?) ON CONFLICT DO NOTHING",
            [(tenant, collection.name, kind, value, stored.created, stored.id, role) for kind, value, role in new],
        )
    if sets:
        sql = f"UPDATE {table.name} SET {', '.join(part for part, _ in sets)} WHERE tenant = $? AND id = $?"
        db.post(sql, (*(value for _, value in sets), tenant, stored.id))


def _inner(
    db: Db, stored: Stored, tenant: str, table: Table, tables: Mapping[str, Table]
) -> tuple[dict[str, Any], bytes | None]:
    """The inner object as this program makes it, and the state to keep beside it (None: it is kept elsewhere).

    Both faces of an alert come from the one state that is kept beside today's.
    """
    if table.collection.type == faces.TODAY and stored.state:
        alert = _alert(stored.state)
        if alert is not None:
            return faces.today(alert), stored.state
    today = next((other for other in tables.values() if other.collection.type == faces.TODAY), None)
    if table.collection.type == faces.LEGACY and today is not None:
        out = table.dialect.doc_out("state")
        rows = db.rows(f"SELECT {out} FROM {today.name} WHERE tenant = $? AND id = $?", (tenant, stored.id))
        alert = _alert(rows[0][0]) if rows else None
        if alert is not None:
            return faces.of_old(alert, linked=False), None
    return inner_of(stored), b""


def _alert(state: bytes | None) -> faces.AlertState | None:
    try:
        return None if state is None else faces.decode(state)
    except (ValueError, KeyError):
        return None


def _rendered(table: Table, stored: Stored, made: Draft) -> list[tuple[str, Any]]:
    """What of a document's texts the program would write otherwise."""
    fill, text = Fill(stored.created, stored.updated, stored.seq), table.dialect.doc_in
    doc = fill.text(made.doc)
    beta = None if made.beta is None or made.beta == made.doc else fill.text(made.beta)
    state = fill.text(made.state)
    sets: list[tuple[str, Any]] = []
    for name, new, old in (("doc", doc, stored.doc), ("beta", beta, stored.beta), ("state", state, stored.state)):
        if (new or b"") != (old or b""):
            sets.append((f"{name} = {text}", new or None))
    if made.evolvable != stored.evolvable:
        sets.append(("evolvable = $?", int(made.evolvable)))
    return sets


def _plain(value: Any, table: Table) -> Any:
    return int(value) if isinstance(value, bool) and table.dialect.truth == table.dialect.whole else value


def _differs(new: Any, old: Any) -> bool:
    return bool(new != old or type(new) is not type(old))
