"""The one narrow store: what state is, and what every engine promises.

State is documents: the wire JSON as bytes, once per version where v1.0 and beta differ, beside declared columns, an
entity index and an ordered change feed. Whoever holds a `TenantStore` sees one tenant; nothing reads or writes
a tenant's documents but through one.

Promises, the same on SQLite and PostgreSQL (`tests/store` runs one suite on both):

- A write returns after it is durable. What one `write` does becomes visible all at once or not at all.
- Changes are numbered in commit order, in the writing transaction: a reader who has read up to `seq` n never finds a
  change numbered n or lower later.
- Each put gets stamps of its own (100 ns steps): nothing becomes visible at or below a stamp that was already
  readable in its tenant and collection.
- Doing it twice changes nothing where the caller derives ids from input and uses `put(..., unless_exists=True)`.

Source: design of state in ARCHITECTURE.md.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol, TypeVar

from msgspec import Struct

from bartizan.model.edm import Version
from bartizan.odata.tree import Expr, Kind, Order

T = TypeVar("T")

Op = Literal["created", "updated", "deleted"]


# A tenant's value whose key begins so is a place in this store's feed: it means nothing in another, and stays here
# when the tenant is exported.
FEED_PLACE = "@feed/"


class Column(Struct, frozen=True):
    """A declared column: what is filtered and sorted fast. `path` is the property's path, names joined by `/`."""

    path: str
    kind: Kind = "text"
    fold: bool = False  # stored and compared in lower case (directory names)
    unique: bool = False  # within a tenant; a second document with the value is a Conflict
    index: bool = True  # an index (tenant, this, the default order); False where a column only saves decoding


class Joined(Struct, frozen=True):
    """A list that is stored empty and read with what the object of the same id in another set has in a column; one that
    is stored with something in it is read as it is."""

    property: str  # of the object itself, in every version that has it
    collection: str
    column: str


class Collection(Struct, frozen=True):
    """What the store must know of one set of documents."""

    name: str  # such as "alerts_v2"; [a-z][A-Za-z0-9_]*
    type: str | None = None  # Graph type that `store.draft` renders; None: an inner set whose documents are plain JSON
    columns: tuple[Column, ...] = ()
    order: tuple[tuple[str, bool], ...] = ()  # default order: (column path, descending), then id ascending
    entities: Mapping[
        str, str
    ] = {}  # path of a text property -> entity kind ("hostStates/fqdn": "host"): indexed on every put
    versions: tuple[Version, ...] = ("v1.0", "beta")
    created: str | None = None  # property that holds the first stamp ("createdDateTime" of alerts); None: not stamped
    updated: str | None = None  # property that holds the stamp of the last change ("lastUpdateDateTime")
    feed: bool = True  # False: changes are not recorded (tokens, sessions)
    keep: timedelta | None = None  # retention by age of the last change; None: for ever
    spare: tuple[str, tuple[str, ...]] | None = None  # a column, and values with which a document stays
    spare_newest: str | None = None  # a column: of each of its values the last put stays
    joined: Joined | None = None


class Entity(Struct, frozen=True):
    """One row of the entity index: an edge from an entity to a document. The store folds `value` to lower case."""

    kind: str  # host, user, address, hash, domain, url, mailbox, process, resource
    value: str
    role: str = ""


class Span(Struct, frozen=True):
    """In how many documents of a collection an entity is, and the stamps of the first and the last of them."""

    documents: int
    first: str
    last: str
    more: bool = False  # no more index rows were counted: there may be further documents


class Draft(Struct):
    """A document on its way in, rendered before the lock is taken (CREATED, UPDATED, ETAG stand where stamps go)."""

    collection: str
    id: str
    doc: bytes  # v1.0 wire JSON, without anything that depends on the host
    beta: bytes | None = (
        None  # where it differs from v1.0 (or the only one, for sets that v1.0 lacks: then doc == beta)
    )
    state: bytes = (
        b""  # the canonical inner JSON that the next change starts from; empty: the beta (else v1.0) wire JSON is it
    )
    columns: Mapping[str, str | int | float | bool | None] = {}  # by Column.path; may hold CREATED and UPDATED
    entities: tuple[Entity, ...] = ()  # beyond those that Collection.entities finds
    evolvable: bool = False  # holds enum members after unknownFutureValue, to be masked for most readers
    rest: bool = False  # the entities, and the columns that are not named, stay as they are: the document was there


class Stored(Struct, frozen=True, gc=False):
    """A document as the store holds it."""

    collection: str
    id: str
    seq: int  # number of its last change; also its ETag: W/"<16 hex digits>"
    created: str  # stamps, wire form
    updated: str
    doc: bytes
    beta: bytes | None
    state: bytes
    evolvable: bool

    def wire(self, version: Version) -> bytes:
        return self.beta if version == "beta" and self.beta is not None else self.doc

    def inner(self) -> bytes:
        return self.state or self.wire("beta")

    @property
    def etag(self) -> str:
        return f'W/"{self.seq:016x}"'


class Ahead(Struct, frozen=True):
    """A document that was read before a write; None: there was none."""

    stored: Stored | None
    old: tuple[Any, ...] | None  # what a put of the same document has to know


class Query(Struct, frozen=True):
    """A page to read. `after` is the `last` of the page before, with the same order."""

    top: int
    filter: Expr | None = None
    order: tuple[Order, ...] = ()  # empty: the collection's own; the store adds keys that make it total
    after: tuple[str | int | float | bool | None, ...] | None = None
    skip: int = 0
    count: bool = False
    version: Version = "v1.0"
    ids: tuple[str, ...] | None = None  # only these (navigation)
    bare: bool = False  # rows without their documents, which are not read then


class Page(Struct, frozen=True):
    rows: list[Stored]  # `state` is empty here: a page reads only what it serves
    more: bool  # at least one further row matches
    last: tuple[str | int | float | bool | None, ...] | None = None  # sort values of the last row, for `after`
    count: int | None = None  # of all that match the filter, whatever skip and after say


class Change(Struct, frozen=True):
    """One step of an object's life. `changed` names the properties that an update changed: (before, after)."""

    seq: int
    tenant: str
    collection: str
    id: str
    op: Op
    at: str
    actor: str
    changed: dict[str, tuple[Any, Any]] | None = None


class LeaseLost(Exception):
    """Another owner has taken the lease over."""


class Tx(Protocol):
    """What a write may do, inside one atomic step. It runs in the writer: keep it short (the lock: under 50 ms)."""

    tenant: str
    now: str  # an instant no earlier than any stamp given before; put() stamps are later than it

    def get(self, collection: str, id: str) -> Stored | None: ...

    def recall(self, collection: str, ahead: Mapping[str, Ahead]) -> None:
        """What was read before this write and is still so need not be read again: `get` gives the very same objects."""
        ...

    def expect(self, collection: str, ids: Sequence[str]) -> None:
        """Looks once which of many documents there are, most of which are new, so that `get` and `put` of those need
        not."""
        ...

    def find(self, collection: str, filter: Expr | None, *, limit: int, order: tuple[Order, ...] = ()) -> list[Stored]:
        """Documents with their `state`, seeing what this write has put."""
        ...

    def lookup(self, collection: str, column: str, value: str) -> Stored | None: ...

    def related(
        self, relation: str, source: str, *, limit: int, after: tuple[str, str] | None = None
    ) -> list[tuple[str, str]]: ...

    def relating(
        self, relation: str, target_collection: str, target: str, *, limit: int, after: str | None = None
    ) -> list[str]: ...

    def put(
        self,
        draft: Draft,
        *,
        if_match: str | None = None,
        unless_exists: bool = False,
        changed: Mapping[str, tuple[Any, Any]] | None = None,
    ) -> Stored | None:
        """Insert or replace. PreconditionFailed if `if_match` names another version (`*`: must exist).

        Conflict on a unique column. With `unless_exists` an existing id changes nothing and None is returned.
        `changed` goes to the feed.
        """
        ...

    def delete(self, collection: str, id: str, *, if_match: str | None = None) -> bool:
        """With its attachments and the edges that lead to it. Edges from it stay: sets may share an id."""
        ...

    def relate(self, relation: str, source: str, target_collection: str, target: str) -> bool:
        """An edge such as ("members", group id, "users", user id); False if it was there."""
        ...

    def unrelate(self, relation: str, source: str, target_collection: str, target: str) -> bool: ...

    def attach(self, collection: str, id: str, name: str, content: bytes) -> None:
        """Bytes kept as they came (a raw record), removed with the document."""
        ...

    def value(self, key: str) -> bytes | None:
        """A small durable value of this tenant (a cursor, a checkpoint, the head of the audit chain)."""
        ...

    def set_value(self, key: str, value: bytes | None) -> None: ...

    def advance(self, cursor: str, seq: int) -> None:
        """Moves a feed cursor in the same transaction as what was made of the changes; never backwards."""
        ...

    def hold(self, lease: str, owner: str) -> None:
        """LeaseLost if another owner has taken the lease: nothing of this write is stored then."""
        ...


class TenantStore(Protocol):
    """One tenant's state."""

    tenant: str

    async def get(self, collection: str, id: str) -> Stored | None: ...

    async def ahead(self, collection: str, ids: Sequence[str]) -> dict[str, Ahead]:
        """Documents, or that there are none, for a write to `recall`: it holds the lock for so much less."""
        ...

    async def lookup(self, collection: str, column: str, value: str) -> Stored | None:
        """By a unique column (userPrincipalName)."""
        ...

    async def page(self, collection: str, query: Query) -> Page:
        """Timeout if it takes longer than the setting allows."""
        ...

    async def count(self, collection: str, filter: Expr | None = None) -> int: ...

    async def related(
        self, relation: str, source: str, *, limit: int, after: tuple[str, str] | None = None
    ) -> list[tuple[str, str]]:
        """Targets (collection, id) of an edge, in that order."""
        ...

    async def relating(
        self, relation: str, target_collection: str, target: str, *, limit: int, after: str | None = None
    ) -> list[str]:
        """Sources of an edge, ordered."""
        ...

    async def attachment(self, collection: str, id: str, name: str) -> bytes | None: ...

    async def entity(
        self,
        kind: str,
        value: str,
        *,
        collection: str | None = None,
        limit: int = 1000,
        since: str | None = None,
        before: str | None = None,
    ) -> list[tuple[str, str, str, str]]:
        """Documents that touch an entity, newest first: (collection, id, role, created); of those stored at or after
        `since` and before `before`, instants on the wire."""
        ...

    async def entities_of(self, collection: str, ids: Sequence[str]) -> dict[str, list[tuple[str, str, str]]]:
        """What these documents touch, by id: (kind, value, role). At most 1,000 documents at a time."""
        ...

    async def spans(
        self, asked: Sequence[tuple[str, str]], *, collections: Sequence[str], most: int
    ) -> list[Mapping[str, Span]]:
        """How often each of these (kind, value) is there, by collection; in each, `most` index rows are counted."""
        ...

    async def there(self, asked: Sequence[tuple[str, str]], *, collections: Sequence[str]) -> set[tuple[str, str]]:
        """Which of these (kind, value) some document of the collections names. At most 1,000 at a time."""
        ...

    async def values(
        self, kind: str, *, collections: Sequence[str], prefix: str = "", after: str = "", limit: int = 100
    ) -> list[str]:
        """Which entities of a kind there are, in order of their bytes: values behind `after` with this beginning."""
        ...

    async def value(self, key: str) -> bytes | None: ...

    async def write(self, work: Callable[[Tx], T], *, actor: str, bulk: bool = False) -> T:
        """Runs `work` in the writer, alone, and returns once it is durable. What it raises undoes it and comes here.
        `bulk` says that it puts many documents: what is quick does not wait behind several of these.

        `work` may run more than once (a retry after a lost connection): it must not have effects of its own.
        Unavailable where the engine is read-only or away, StorageFull where the disk is full; nothing is half there.
        """
        ...


class Store(Protocol):
    """The engine, for the processes that serve all tenants: registry, feed, cursors, leases, upkeep."""

    def tenant(self, tenant: str) -> TenantStore: ...

    async def start(self) -> None:
        """Creates or migrates the schema (one process does, others wait); refuses a schema newer than this program."""
        ...

    async def close(self) -> None: ...

    async def ready(self) -> bool: ...

    async def changes(
        self, after: int, *, limit: int, collections: Sequence[str] | None = None, tenant: str | None = None
    ) -> list[Change]:
        """The feed of all tenants (or of one) behind `after`, in order. Gone if retention has passed `after`.

        A stage that reads few collections and finds nothing moves its cursor to the `head()` that it asked for before:
        otherwise it holds back retention.
        """
        ...

    async def place(self, cursor: str) -> tuple[int | None, int]:
        """Where a cursor stands (None: it is not there), and the head."""
        ...

    async def head(self) -> int:
        """The highest change number that is visible."""
        ...

    async def floor(self) -> int:
        """Up to here retention has removed changes."""
        ...

    def changed(self) -> Awaitable[None]:
        """Resolves when this process has committed a change, or after a poll interval (other processes commit too)."""
        ...

    async def cursor(self, name: str) -> int | None: ...

    async def advance(self, name: str, seq: int) -> None: ...

    async def drop_cursor(self, name: str) -> None:
        """A cursor that lives holds back the feed's retention."""
        ...

    def owner(self) -> str:
        """Of a started store: a new name for who takes leases. Of who has one it is known that he has ended, if
        anybody can tell, and not waited for: on SQLite wherever it was, on PostgreSQL under the same kernel."""
        ...

    async def lease(self, name: str, owner: str, *, seconds: float) -> bool:
        """Takes or renews a named lease; False while another owner holds it that may be alive."""
        ...

    async def release(self, name: str, owner: str) -> None: ...

    async def learn(self, collection: str, filtered: str, ordered: str) -> None:
        """Has pages of one value of the declared column `filtered`, in the order of the column `ordered`, come along an
        index of their own from then on; returns when it is full, which takes time as a start that fills a new column
        does. A store begins by itself what it is asked for repeatedly; a second call changes nothing.

        ValueError where there are no such columns, or the order is that of an index already; Conflict where the
        collection has learned as many as it may.
        """
        ...

    async def retain(self, now: datetime) -> int:
        """Removes what is past its collection's `keep` and feed rows that every cursor has passed; returns how many."""
        ...

    def export(self, tenant: str) -> AsyncIterator[bytes]:
        """One tenant as JSON lines, consistent as of one moment: documents, edges, attachments, values."""
        ...

    async def restore(self, tenant: str, lines: Iterable[bytes]) -> int:
        """Into an empty tenant (Conflict otherwise); all or nothing. Returns the number of documents."""
        ...

    async def erase(self, tenant: str) -> int:
        """Removes every row of a tenant, feed included. Returns the number of documents."""
        ...

    async def backup(self, path: str) -> None:
        """A consistent copy while serving (SQLite: online backup to `path`; PostgreSQL: NotServed, use pg_dump)."""
        ...
