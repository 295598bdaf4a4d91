"""The tables as this program needs them: made, migrated and back-filled when a store starts.

Base tables move by numbered migrations. A collection's columns follow its declaration: what is new is added and filled
from the documents, in batches that any process can take up where another stopped.
"""

import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import msgspec
import structlog

from bartizan.errors import Unavailable
from bartizan.store import read
from bartizan.store.draft import column_values, found_entities
from bartizan.store.draft import inner as inner_of
from bartizan.store.interface import Stored
from bartizan.store.sql import META, Db, Dialect, Table, entity_key, migrations
from bartizan.store.writer import Busy, Pen

WAIT_S = 900.0  # for another process's migration
BATCH = 200  # documents of one back-fill transaction

log = structlog.get_logger(__name__)


class _Pending(msgspec.Struct):
    """A back-fill under way: which columns, whether entities too, and behind which row it goes on."""

    columns: list[str]  # paths
    entities: bool = False
    after: tuple[str, str] | None = None


def prepare(pen: Pen, dialect: Dialect, tables: Iterable[Table]) -> None:
    """Unavailable if the database was made by a newer program."""
    ordered = list(tables)
    _in_transaction(pen, lambda db: _migrate(db, dialect, ordered))
    for table in ordered:
        while _in_transaction(pen, partial(_fill_batch, table=table)):
            pass
    _in_transaction(pen, lambda db: _indexes(db, dialect, ordered))


def _in_transaction(pen: Pen, work: Any) -> Any:
    _lock(pen)
    pen.db.unhurried()
    try:
        result = work(pen.db)
        pen.db.run("COMMIT")
    except BaseException:
        pen.abort()
        raise
    return result


def _lock(pen: Pen) -> None:
    """Waits while another process migrates, which may take minutes."""
    end = time.monotonic() + WAIT_S
    while True:
        try:
            pen.lock()
        except Exception as error:
            ours, _ = pen.explain(error)
            pen.abort()
            if not isinstance(ours, Busy) or time.monotonic() > end:
                raise
            log.info("store.start.waiting", reason=ours.message)
        else:
            return


def _migrate(db: Db, dialect: Dialect, tables: list[Table]) -> None:
    db.run(META.format(text=dialect.text))
    steps = migrations(dialect)
    version = int(_meta(db, "schema") or 0)
    if version > len(steps):
        raise Unavailable(
            f"the database was written by a newer Bartizan (schema {version}; this one knows {len(steps)}): "
            "upgrade Bartizan, or restore a backup made before the upgrade"
        )
    for number, step in enumerate(steps[version:], version + 1):
        log.info("store.migrate", schema=number)
        for statement in step:
            db.run(statement)
        _set_meta(db, "schema", str(number))
    for table in tables:
        _declare(db, dialect, table)


def _declare(db: Db, dialect: Dialect, table: Table) -> None:
    name = table.collection.name
    declared, entities = table.declaration(), dict(table.collection.entities)
    present = _columns(db, dialect, table)
    if not present:
        for statement in table.ddl():
            db.run(statement)
        _set_meta(db, f"columns:{name}", _json(declared))
        _set_meta(db, f"entities:{name}", _json(entities))
        return
    kept: dict[str, str] = msgspec.json.decode(_meta(db, f"columns:{name}") or "{}")
    kept_entities: dict[str, str] = msgspec.json.decode(_meta(db, f"entities:{name}") or "{}")
    fresh = []
    for column in table.columns:
        quoted = table.quoted[column.path]
        if kept.get(quoted) == declared[quoted]:
            continue
        fresh.append(column.path)
        if quoted.strip('"') in present and _type_differs(kept.get(quoted), declared[quoted]):
            _drop_column(db, dialect, table, quoted)
            present.discard(quoted.strip('"'))
        if quoted.strip('"') not in present:
            db.run(table.add_column(column))
    more = any(kept_entities.get(path) != kind for path, kind in entities.items())
    if fresh or more:
        old = _pending(db, name)
        if old is not None:  # one was under way: begin again with both
            fresh, more = sorted({*fresh, *old.columns} & table.by_path.keys()), more or old.entities
        log.info("store.backfill", collection=name, columns=fresh, entities=more)
        _set_meta(db, f"backfill:{name}", _json(_Pending(fresh, more)))
    if declared != kept:
        _set_meta(db, f"columns:{name}", _json(declared))
    if entities != kept_entities:
        _set_meta(db, f"entities:{name}", _json(entities))


def _type_differs(kept: str | None, declared: str) -> bool:
    return kept is not None and kept.split(":")[1:2] != declared.split(":")[1:2]


def _drop_column(db: Db, dialect: Dialect, table: Table, quoted: str) -> None:
    for index in _present_indexes(db, dialect, table):
        if index.startswith("ix_"):
            db.run(f'DROP INDEX "{index}"')
    db.run(f"ALTER TABLE {table.name} DROP COLUMN {quoted}")


def _fill_batch(db: Db, table: Table) -> bool:
    """Fills the columns of the next documents; False when there is nothing left to fill."""
    name = table.collection.name
    pending = _pending(db, name)
    if pending is None:
        return False
    out = table.dialect.doc_out
    behind = "WHERE (tenant, id) > ($?, $?)" if pending.after is not None else ""
    sql = (
        f"SELECT id, seq, created, updated, evolvable, {out('doc')}, {out('beta')}, {out('state')}, tenant, entities "
        f"FROM {table.name} {behind} ORDER BY tenant, id LIMIT $?"
    )
    rows = db.rows(sql, (*(pending.after or ()), BATCH))
    for row in rows:
        _fill(db, table, pending, read.stored(name, row), row[8], row[9])
    if len(rows) < BATCH:
        db.run("DELETE FROM meta WHERE key = $?", (f"backfill:{name}",))
        return False
    pending.after = (rows[-1][8], rows[-1][0])
    _set_meta(db, f"backfill:{name}", _json(pending))
    return True


def _fill(db: Db, table: Table, pending: _Pending, stored: Stored, tenant: str, listed: str | None) -> None:
    try:
        whole = inner_of(stored)
    except msgspec.DecodeError:
        log.warning("store.backfill.unreadable", collection=stored.collection, id=stored.id)
        return
    collection = table.collection
    values = column_values(collection, whole)
    for path, stamp in ((collection.created, stored.created), (collection.updated, stored.updated)):
        if path in values:
            values[path] = stamp
    if pending.columns:
        sets = ", ".join(f"{table.quoted[path]} = $?" for path in pending.columns)
        wanted = [_plain(values[path], table) for path in pending.columns]
        db.post(f"UPDATE {table.name} SET {sets} WHERE tenant = $? AND id = $?", (*wanted, tenant, stored.id))
    if not pending.entities:
        return
    had = {tuple(row) for row in msgspec.json.decode(listed or "[]")}
    found = {(entity.kind, entity_key(entity.value), entity.role) for entity in found_entities(collection, whole)}
    new = sorted(row for row in found - had if row[1])
    if new:
        everything = _json(sorted(had | found))
        db.post(f"UPDATE {table.name} SET entities = $? WHERE tenant = $? AND id = $?", (everything, tenant, stored.id))
        db.many(
            "INSERT INTO entities (tenant, collection, kind, value, created, id, role) "
            "VALUES ($?, $?, $?, $?, $?, $?, $?) ON CONFLICT DO NOTHING",
            [(tenant, collection.name, kind, value, stored.created, stored.id, role) for kind, value, role in new],
        )


def _plain(value: Any, table: Table) -> Any:
    return int(value) if isinstance(value, bool) and table.dialect.truth == table.dialect.whole else value


def _indexes(db: Db, dialect: Dialect, tables: list[Table]) -> None:
    """Makes those that are missing; drops those of earlier declarations."""
    for table in tables:
        if _pending(db, table.collection.name) is not None:
            continue  # another process has changed the declaration meanwhile; it will make them
        present = _present_indexes(db, dialect, table)
        wanted = {index.name: index for index in table.indexes}
        for name in sorted(present - wanted.keys()):
            if name.startswith("ix_"):
                db.run(f'DROP INDEX "{name}"')
        for name, index in wanted.items():
            if name not in present:
                db.run(index.ddl(dialect, table.name))


def _columns(db: Db, dialect: Dialect, table: Table) -> set[str]:
    if dialect.name == "sqlite":
        rows = db.rows("SELECT name FROM pragma_table_info($?)", (table.name.strip('"'),))
    else:
        sql = (
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_schema = current_schema() AND table_name = $?"
        )
        rows = db.rows(sql, (table.name.strip('"'),))
    return {row[0] for row in rows}


def _present_indexes(db: Db, dialect: Dialect, table: Table) -> set[str]:
    if dialect.name == "sqlite":
        rows = db.rows(
            "SELECT name FROM sqlite_schema WHERE type = 'index' AND tbl_name = $?", (table.name.strip('"'),)
        )
    else:
        sql = "SELECT indexname FROM pg_indexes WHERE schemaname = current_schema() AND tablename = $?"
        rows = db.rows(sql, (table.name.strip('"'),))
    return {row[0] for row in rows}


def collection_tables(db: Db, dialect: Dialect) -> list[str]:
    """The tables of all collections that the database has ever had."""
    if dialect.name == "sqlite":
        rows = db.rows("SELECT name FROM sqlite_schema WHERE type = 'table' AND name GLOB 'c_*'")
    else:
        sql = (
            "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() AND starts_with(tablename, 'c_')"
        )
        rows = db.rows(sql)
    return sorted(str(row[0]) for row in rows)


def _pending(db: Db, name: str) -> _Pending | None:
    text = _meta(db, f"backfill:{name}")
    return None if text is None else msgspec.json.decode(text, type=_Pending)


def _meta(db: Db, key: str) -> str | None:
    rows = db.rows("SELECT value FROM meta WHERE key = $?", (key,))
    return str(rows[0][0]) if rows else None


def _set_meta(db: Db, key: str, value: str) -> None:
    db.run(
        "INSERT INTO meta (key, value) VALUES ($?, $?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )


def _json(value: Mapping[str, Any] | list[Any] | _Pending) -> str:
    return msgspec.json.encode(value).decode()
