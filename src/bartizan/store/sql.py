"""What both SQL engines share: tables and indexes from declarations, and the few words in which the engines differ.

In statements `$?` stands for a parameter; each engine puts its own mark there. Every index begins with the tenant.

Source: SQLite "The Query Planner" (index order, INDEXED BY); PostgreSQL 15, chapter 11 (indexes and ORDER BY).
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from msgspec import Struct

from bartizan.errors import BadRequest
from bartizan.store.interface import Collection, Column

MARK = "$?"
MAX_INDEXED_BYTES = (
    2_000  # of one indexed text: an index row of PostgreSQL holds 2,704 bytes, with tenant, stamp and id
)
MAX_ID_BYTES = 300
MAX_ENTITY_BYTES = 400  # longer values are indexed by their beginning and their hash
_NAME = re.compile(r"[a-z][A-Za-z0-9_]{0,39}", re.ASCII)

Scalar = str | int | float | bool | None
Params = Sequence[Any]


class Db(Protocol):
    """One connection, used by one thread at a time."""

    def rows(self, sql: str, params: Params = ()) -> list[tuple[Any, ...]]: ...

    def rows_within(self, sql: str, params: Params, seconds: float) -> list[tuple[Any, ...]] | None:
        """None if it takes longer: there may be a better way to ask."""
        ...

    def run(self, sql: str, params: Params = ()) -> int:
        """Returns how many rows were changed."""
        ...

    def post(self, sql: str, params: Params = ()) -> None:
        """A change whose outcome nobody waits for: it may go out with the next statement, and fail with it."""
        ...

    def many(self, sql: str, params: Iterable[Params]) -> None: ...

    def unhurried(self) -> None:
        """Lifts the bound on time from the transaction at hand: upkeep that takes as long as there are rows."""
        ...


class Dialect(Struct, frozen=True):
    """An engine's words."""

    name: str
    text: str
    whole: str
    real: str
    truth: str
    blob: str
    greatest: str
    clock_s: str  # seconds since 1970 by the clock that all processes of the engine share
    mark: str  # the engine's parameter mark
    hints: bool  # INDEXED BY

    def native(self, sql: str) -> str:
        return _native(sql, self.mark)

    def type_of(self, column: Column) -> str:
        kinds = {"int": self.whole, "real": self.real, "bool": self.truth}
        return kinds.get(column.kind, self.text)

    def doc_out(self, name: str) -> str:
        """A text column read as bytes, without decoding it."""
        return f"convert_to({name}, 'UTF8')" if self.name == "postgres" else f"CAST({name} AS BLOB)"

    @property
    def doc_in(self) -> str:
        return "convert_from($?, 'UTF8')" if self.name == "postgres" else "CAST($? AS TEXT)"

    def direction(self, descending: bool) -> str:
        if self.name == "postgres":
            return "DESC NULLS LAST" if descending else "ASC NULLS FIRST"
        return "DESC" if descending else "ASC"

    @property
    def failing(self) -> str:
        """Of a statement that writes one row: if it fails its request is undone, so that SQLite need not keep a copy of
        each page that it and its triggers change (some 20 us)."""
        return " OR FAIL" if self.name == "sqlite" else ""

    def hint(self, index: str | None) -> str:
        return f' INDEXED BY "{index}"' if self.hints and index else ""


SQLITE = Dialect("sqlite", "TEXT", "INTEGER", "REAL", "INTEGER", "BLOB", "max", "unixepoch('subsec')", "?", True)
POSTGRES = Dialect(
    "postgres",
    'text COLLATE "C"',
    "bigint",
    "double precision",
    "boolean",
    "bytea",
    "greatest",
    "extract(epoch from clock_timestamp())::float8",
    "%s",
    False,
)


def cleaned(params: Params) -> Params:
    """No text that is stored holds NUL, which PostgreSQL refuses: look for what was stored in its place."""
    for value in params:
        if isinstance(value, str) and "\0" in value:
            return [value.replace("\0", "\ufffd") if isinstance(value, str) else value for value in params]
    return params


@lru_cache(maxsize=4096)
def _native(sql: str, mark: str) -> str:
    return sql.replace(MARK, mark)


class Key(NamedTuple):
    """One column of an index."""

    path: str
    column: str  # quoted
    descending: bool


class Index(NamedTuple):
    name: str
    keys: tuple[Key, ...]  # behind the tenant
    unique: bool = False

    def ddl(self, dialect: Dialect, table: str) -> str:
        keys = ", ".join(f"{key.column} {dialect.direction(key.descending)}" for key in self.keys)
        only = "UNIQUE " if self.unique else ""
        return f'CREATE {only}INDEX "{self.name}" ON {table} (tenant, {keys})'


class Table:
    """A collection's table: small columns first, documents last, so that a scan does not drag them along. It never
    changes: the stores of a process share it."""

    def __init__(self, collection: Collection, dialect: Dialect) -> None:
        if not _NAME.fullmatch(collection.name):
            raise ValueError(f"not a collection name: {collection.name!r}")
        self.collection = collection
        self.dialect = dialect
        self.name = f'"c_{collection.name}"'
        self.columns = collection.columns
        self.names = tuple(physical_name(column.path) for column in self.columns)
        self.by_path: dict[str, Column] = {column.path: column for column in self.columns}
        self.quoted: dict[str, str] = dict(zip(self.by_path, self.names, strict=True))
        self.places: dict[str, int] = {path: place for place, path in enumerate(self.by_path)}
        self.unique = tuple((place, column) for place, column in enumerate(self.columns) if column.unique)
        self.quoted["id"] = "t.id"  # a lambda's elements have an id of their own in SQLite
        for path, system in ((collection.created, "created"), (collection.updated, "updated")):
            if path is not None:
                self.quoted.setdefault(path, system)
        self.order = tuple(Key(path, self._column(path), descending) for path, descending in collection.order)
        self.pk = Index(f"pk_{collection.name}", (self._id,), unique=True)
        self.indexes = self._declared_indexes()
        own, one = "".join(f", {name}" for name in self.names), f"{self.name} WHERE tenant = $? AND id = $?"
        self.select_old = f"SELECT seq, created, evolvable{own}, entities FROM {one}"
        marks, text = ", ".join(["$?"] * (6 + len(self.names))), dialect.doc_in
        self.insert = (
            f"INSERT{dialect.failing} INTO {self.name} "
            f"(tenant, id, seq, created, updated, evolvable{own}, doc, beta, state, entities) "
            f"VALUES ({marks}, {text}, {text}, {text}, $?)"
        )

    @property
    def _id(self) -> Key:
        return Key("id", "id", False)

    def _column(self, path: str) -> str:
        try:
            return "id" if path == "id" else self.quoted[path]
        except KeyError:
            raise ValueError(f"{self.collection.name}: the default order needs a declared column '{path}'") from None

    def _declared_indexes(self) -> tuple[Index, ...]:
        found: list[Index] = []
        tail = (*self.order, self._id)
        if self.order:
            found.append(self._index("order", tail))
        for column in self.columns:
            own = Key(column.path, self.quoted[column.path], False)
            if column.unique:
                found.append(self._index(column.path, (own,), unique=True))
            if column.index and (not self.order or self.order[0].path != column.path):
                found.append(self._index(column.path, (own, *(key for key in tail if key.path != column.path))))
        if self.collection.keep is not None:
            found.append(self._index("age", (Key("", "updated", False), self._id)))
        return tuple(found)

    def _index(self, label: str, keys: tuple[Key, ...], *, unique: bool = False) -> Index:
        """The name tells definitions apart, so that a changed declaration makes a new index."""
        told = repr((self.collection.name, [(key.column, key.descending) for key in keys], unique))
        digest = hashlib.sha256(told.encode()).hexdigest()[:10]
        short = re.sub(r"\W", "_", label)[-20:]
        return Index(f"ix_{self.collection.name[:24]}_{short}_{digest}", keys, unique)

    def index_of(self, path: str) -> Index | None:
        """The index that leads with a column."""
        if path == "id":
            return self.pk
        return next((index for index in self.indexes if index.keys[0].path == path and not index.unique), None)

    def filled(self, text: str) -> str:
        """A document of the row `t` as it is read: with what is joined."""
        joined = self.collection.joined
        if joined is None:
            return text
        column = f"j.{physical_name(joined.column)}"
        value = f"json_quote({column})" if self.dialect.hints else f"to_json({column})::text"
        begun = f'"{joined.property}":['
        with_value = f"replace({text}, '{begun}]', '{begun}' || {value} || ']')"
        return (
            f'coalesce((SELECT {with_value} FROM "c_{joined.collection}" j '
            f"WHERE j.tenant = t.tenant AND j.id = t.id AND {column} IS NOT NULL), {text})"
        )

    def each(self, id: str) -> str:
        """Joins the row `t` of each id, by the primary key; takes the tenant. Without statistics PostgreSQL would take
        the tenant for small, and compare all of its rows with every id."""
        if self.dialect.hints:
            return f"CROSS JOIN {self.name} t ON t.tenant = $? AND t.id = {id}"
        return f"CROSS JOIN LATERAL (SELECT * FROM {self.name} i WHERE i.tenant = $? AND i.id = {id} OFFSET 0) t"

    def ddl(self) -> list[str]:
        d = self.dialect
        own = "".join(f", {name} {d.type_of(column)}" for name, column in zip(self.names, self.columns, strict=True))
        table = (
            f"CREATE TABLE {self.name} (tenant {d.text} NOT NULL, id {d.text} NOT NULL, seq {d.whole} NOT NULL, "
            f"created {d.text} NOT NULL, updated {d.text} NOT NULL, evolvable {d.whole} NOT NULL{own}, "
            f"doc {d.text} NOT NULL, beta {d.text}, state {d.text}, entities {d.text})"
        )
        return [table, self.pk.ddl(d, self.name)]

    def add_column(self, column: Column) -> str:
        return f"ALTER TABLE {self.name} ADD COLUMN {self.quoted[column.path]} {self.dialect.type_of(column)}"

    def declaration(self) -> dict[str, str]:
        """What the stored columns hold, by physical name; a difference from what was kept calls for a back-fill."""
        return {
            name: f"{column.path}:{self.dialect.type_of(column)}:{column.kind}:{int(column.fold)}"
            for name, column in zip(self.names, self.columns, strict=True)
        }


class _Declared:
    """One declaration, equal to no other: what it maps has no hash."""

    __slots__ = ("collection",)

    def __init__(self, collection: Collection) -> None:
        self.collection = collection

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Declared) and self.collection is other.collection

    def __hash__(self) -> int:
        return id(self.collection)


@lru_cache(maxsize=1024)
def _table(declared: _Declared, dialect: Dialect) -> Table:
    return Table(declared.collection, dialect)


def physical_name(path: str) -> str:
    return '"' + "x_" + path.replace("/", "__") + '"'


def tables(collections: Sequence[Collection], dialect: Dialect) -> Mapping[str, Table]:
    made = {collection.name: _table(_Declared(collection), dialect) for collection in collections}
    if len(made) != len(collections):
        raise ValueError("two collections have one name")
    return made


def entity_key(value: str) -> str:
    """A value as the entity index holds it: folded, and never longer than an index row may be."""
    value = value.replace("\0", "\ufffd").strip().lower()
    if len(value) * 4 <= MAX_ENTITY_BYTES:  # a character has at most four bytes
        return value
    raw = value.encode()
    if len(raw) <= MAX_ENTITY_BYTES:
        return value
    return raw[: MAX_ENTITY_BYTES - 70].decode(errors="ignore") + "#" + hashlib.sha256(raw).hexdigest()


def checked_id(id: str, what: str = "id") -> str:
    if not id or "\0" in id or len(id.encode(errors="replace")) > MAX_ID_BYTES:
        raise BadRequest(f"not a usable {what}: it has 1 to {MAX_ID_BYTES} bytes and no NUL character")
    return id


# Numbered: each entry makes the next schema from the one before. Never change one that was released; add another.
def migrations(d: Dialect) -> list[list[str]]:
    rowless = " WITHOUT ROWID" if d.name == "sqlite" else ""
    serial = "INTEGER PRIMARY KEY" if d.name == "sqlite" else "bigint PRIMARY KEY"

    def keyed(name: str, key: str, columns: str) -> list[str]:
        if d.name == "sqlite":
            return [f"CREATE TABLE {name} ({columns}, PRIMARY KEY ({key})){rowless}"]
        key = key.replace("created DESC, id", f"created {d.direction(True)}, id {d.direction(False)}")
        return [f"CREATE TABLE {name} ({columns})", f"CREATE UNIQUE INDEX pk_{name} ON {name} ({key})"]

    def nn(kind: str, *names: str) -> str:
        return ", ".join(f"{name} {kind} NOT NULL" for name in names)

    first = [
        f"CREATE TABLE clock (one {serial}, {nn(d.whole, 'seq', 'stamp', 'feed', 'floor')})",
        "INSERT INTO clock (one, seq, stamp, feed, floor) VALUES (1, 0, 0, 0, 0)",
        f"CREATE TABLE changes (seq {serial}, {nn(d.text, 'tenant', 'collection', 'id', 'op', 'at', 'actor')}, "
        f"changed {d.text})",
        "CREATE INDEX changes_collection ON changes (collection, seq)",
        *keyed(
            "entities",
            "tenant, collection, kind, value, created DESC, id, role",
            nn(d.text, "tenant", "collection", "kind", "value", "created", "id", "role"),
        ),
        *keyed(
            "relations",
            "tenant, relation, source, target_collection, target",
            nn(d.text, "tenant", "relation", "source", "target_collection", "target"),
        ),
        "CREATE INDEX relations_back ON relations (tenant, target_collection, target, relation, source)",
        f"CREATE TABLE attachments ({nn(d.text, 'tenant', 'collection', 'id', 'name')}, content {d.blob} NOT NULL)",
        "CREATE UNIQUE INDEX pk_attachments ON attachments (tenant, collection, id, name)",
        *keyed("tenant_values", "tenant, key", f"{nn(d.text, 'tenant', 'key')}, value {d.blob} NOT NULL"),
        *keyed("cursors", "name", f"{nn(d.text, 'name')}, seq {d.whole} NOT NULL"),
        *keyed("leases", "name", f"{nn(d.text, 'name', 'owner')}, until {d.real} NOT NULL"),
        *keyed("writers", "owner", f"{nn(d.text, 'owner')}, last {d.whole} NOT NULL, at {d.real} NOT NULL"),
    ]
    return [first]


META = "CREATE TABLE IF NOT EXISTS meta (key {text} NOT NULL PRIMARY KEY, value {text} NOT NULL)"


def meta_value(db: Db, key: str) -> str | None:
    rows = db.rows("SELECT value FROM meta WHERE key = $?", (key,))
    return str(rows[0][0]) if rows else None


def set_meta(db: Db, key: str, value: str) -> None:
    db.run(
        "INSERT INTO meta (key, value) VALUES ($?, $?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )
