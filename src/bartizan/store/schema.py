"""The tables as this program needs them: made, migrated and back-filled when a store starts.

Base tables move by numbered migrations. A collection's columns follow its declaration, its wire bytes the program's
rendering: what is new is added and filled from the documents (`backfill`). What was learned of columns that are no
longer as they were is dropped (`learned`).
"""

import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from bartizan.errors import Unavailable
from bartizan.store import backfill, learned
from bartizan.store.sql import META, Db, Dialect, Table, meta_value, migrations, set_meta
from bartizan.store.writer import Busy, Pen

WAIT_S = 900.0  # for another process's migration
# Of the wire bytes that are stored. Raise it with any release in which `Edm.render`, `model.faces` or `store.draft`
# makes other bytes of the same inner form: the first start then renders every document anew.
RENDER = 1

log = structlog.get_logger(__name__)


class Release(Struct, frozen=True):
    """What a program makes of a database: its numbered migrations, and the version of its rendering."""

    migrations: Callable[[Dialect], list[list[str]]] = migrations
    render: int = RENDER


def prepare(pen: Pen, dialect: Dialect, tables: Iterable[Table], release: Release) -> None:
    """Unavailable if the database was made by a newer program."""
    ordered = list(tables)
    unfilled = _in_transaction(pen, lambda db: _migrate(db, dialect, ordered, release))
    by_name = {table.collection.name: table for table in ordered}
    for table in (each for each in ordered if each.collection.name in unfilled):
        while _in_transaction(pen, partial(_fill_batch, table=table, tables=by_name)):
            time.sleep(backfill.PAUSE_S)
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


def _migrate(db: Db, dialect: Dialect, tables: list[Table], release: Release) -> set[str]:
    """The collections that are to be filled from their documents."""
    db.run(META.format(text=dialect.text))
    steps = release.migrations(dialect)
    version = int(meta_value(db, "schema") or 0)
    if version > len(steps):
        raise Unavailable(
            f"the database was written by a newer Bartizan (schema {version}; this one knows {len(steps)}): "
            "upgrade Bartizan, or restore a backup made before the upgrade"
        )
    for number, step in enumerate(steps[version:], version + 1):
        log.info("store.migrate", schema=number)
        for statement in step:
            db.run(statement)
        set_meta(db, "schema", str(number))
    columns, noted = _grouped(db, _COLUMNS[dialect.name]), _metas(db)
    learned.tidy(db, {table.collection.name: table for table in tables})
    for table in tables:
        _declare(db, dialect, table, release, columns.get(table.name.strip('"'), set()), noted)
    return {key.partition(":")[2] for key in _metas(db) if key.startswith("backfill:")}


def _declare(
    db: Db, dialect: Dialect, table: Table, release: Release, present: set[str], noted: Mapping[str, str]
) -> None:
    """`present` are the columns that there are; `noted` is what the last program wrote down of its declaration."""
    name = table.collection.name
    declared, entities = table.declaration(), dict(table.collection.entities)
    if not present:
        for statement in table.ddl():
            db.run(statement)
        set_meta(db, f"columns:{name}", _json(declared))
        set_meta(db, f"entities:{name}", _json(entities))
        set_meta(db, f"render:{name}", str(release.render))
        return
    kept: dict[str, str] = msgspec.json.decode(noted.get(f"columns:{name}", "{}"))
    kept_entities: dict[str, str] = msgspec.json.decode(noted.get(f"entities:{name}", "{}"))
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
    rendered = int(noted.get(f"render:{name}", 0))
    stale = rendered < release.render and table.collection.type is not None
    if fresh or more or stale:
        _begin(db, table, fresh, more, stale)
    if rendered != release.render:  # an older program notes its own: what it puts is rendered by the next newer one
        set_meta(db, f"render:{name}", str(release.render))
    if declared != kept:
        set_meta(db, f"columns:{name}", _json(declared))
    if entities != kept_entities:
        set_meta(db, f"entities:{name}", _json(entities))


def _type_differs(kept: str | None, declared: str) -> bool:
    return kept is not None and kept.split(":")[1:2] != declared.split(":")[1:2]


def _drop_column(db: Db, dialect: Dialect, table: Table, quoted: str) -> None:
    for index in _grouped(db, _INDEXES[dialect.name]).get(table.name.strip('"'), set()):
        if index.startswith("ix_"):
            db.run(f'DROP INDEX "{index}"')
    db.run(f"ALTER TABLE {table.name} DROP COLUMN {quoted}")


def _begin(db: Db, table: Table, fresh: list[str], entities: bool, render: bool) -> None:
    """Notes what is to be filled; with what was under way already, from the beginning."""
    name = table.collection.name
    if render:  # other bytes may come of another inner form, which columns and entities follow
        fresh, entities = list(table.by_path), True
    old = _pending(db, name)
    if old is not None:
        fresh = sorted({*fresh, *old.columns} & table.by_path.keys())
        entities, render = entities or old.entities, render or old.render
    log.info("store.backfill", collection=name, columns=fresh, entities=entities, render=render)
    since = int(db.rows("SELECT seq FROM clock")[0][0])
    set_meta(db, f"backfill:{name}", _json(backfill.Pending(fresh, entities, render, since=since)))


def _fill_batch(db: Db, table: Table, tables: Mapping[str, Table]) -> bool:
    name = table.collection.name
    pending = _pending(db, name)
    if pending is None:
        return False
    if backfill.batch(db, table, pending, tables):
        set_meta(db, f"backfill:{name}", _json(pending))
        return True
    db.run("DELETE FROM meta WHERE key = $?", (f"backfill:{name}",))
    return False


def _indexes(db: Db, dialect: Dialect, tables: list[Table]) -> None:
    """Makes those that are missing; drops those of earlier declarations."""
    there, noted = _grouped(db, _INDEXES[dialect.name]), _metas(db)
    for table in tables:
        if f"backfill:{table.collection.name}" in noted:
            continue  # another process has changed the declaration meanwhile; it will make them
        present = there.get(table.name.strip('"'), set())
        wanted = {index.name: index for index in table.indexes}
        for name in sorted(present - wanted.keys()):
            if name.startswith("ix_"):
                db.run(f'DROP INDEX "{name}"')
        for name, index in wanted.items():
            if name not in present:
                db.run(index.ddl(dialect, table.name))


# Of all tables at once: a start has some hundred of them, and asks a database that may be far.
_COLUMNS = {
    "sqlite": "SELECT t.name, c.name FROM sqlite_schema t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'",
    "postgres": (
        "SELECT t.relname::text, c.attname::text FROM pg_attribute c JOIN pg_class t ON t.oid = c.attrelid "
        "WHERE t.relnamespace = current_schema()::regnamespace AND t.relkind = 'r' AND c.attnum > 0 "
        "AND NOT c.attisdropped"
    ),
}
_INDEXES = {
    "sqlite": "SELECT tbl_name, name FROM sqlite_schema WHERE type = 'index'",
    "postgres": "SELECT tablename::text, indexname::text FROM pg_indexes WHERE schemaname = current_schema()",
}


def _grouped(db: Db, sql: str) -> dict[str, set[str]]:
    """By table."""
    found: dict[str, set[str]] = {}
    for table, name in db.rows(sql):
        found.setdefault(table, set()).add(name)
    return found


def _metas(db: Db) -> dict[str, str]:
    return {str(key): str(value) for key, value in db.rows("SELECT key, value FROM meta")}


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


def _pending(db: Db, name: str) -> backfill.Pending | None:
    text = meta_value(db, f"backfill:{name}")
    return None if text is None else msgspec.json.decode(text, type=backfill.Pending)


def _json(value: Mapping[str, Any] | list[Any] | backfill.Pending) -> str:
    return msgspec.json.encode(value).decode()
