"""The whole extension surface: source, resource (connector, detection and action join with their rooms).

Each extension is one file plus its cases; it registers by subclass or by calling `resource(...)`, and nothing else is edited.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Flag, auto
from typing import Any, ClassVar

from msgspec import Struct

from bartizan.auth.caller import Access, Caller, Role
from bartizan.model.alert import Alert, Observed
from bartizan.model.edm import Edm, Version
from bartizan.store import Collection, Column, Store, Stored, TenantStore, Tx

# ---------------------------------------------------------------- sources


class Record(Struct, frozen=True):
    """One raw record of a source: its bytes, its text, and its JSON where it is JSON (None otherwise)."""

    raw: bytes
    text: str
    data: Any


class Event(Struct, frozen=True):
    """What happened, as a source said: a row of a lake table, with the entities that it names."""

    table: str
    row: dict[str, Any]  # column -> value; unknown columns go to AdditionalFields
    entities: tuple[Observed, ...] = ()


class GraphObject(Struct, frozen=True):
    """A record that is a Graph document of its own (an Okta sign-in becomes a signIn): inner form, with its id."""

    collection: str  # "signIns"
    type: str  # "microsoft.graph.signIn"
    body: dict[str, Any]
    entities: tuple[Observed, ...] = ()


class Source:
    """A format. Subclass it in a file of `sources/`; `normalise` is pure and never raises on odd input that it can describe.

    A record that the source does not know becomes an Event of the table `name` guesses best, never nothing.
    """

    name: ClassVar[str]
    vendor: ClassVar[str]
    product: ClassVar[str]

    def __init_subclass__(cls) -> None:
        SOURCES[cls.name] = cls()

    def normalise(self, record: Record) -> Iterator[Alert | Event | GraphObject]:
        raise NotImplementedError


SOURCES: dict[str, Source] = {}


# ---------------------------------------------------------------- resources


class Can(Flag):
    """The verbs that a resource serves."""

    LIST = auto()
    GET = auto()
    CREATE = auto()  # POST of one object, or of an array (our bulk form, atomic)
    PATCH = auto()
    DELETE = auto()
    READ = LIST | GET


@dataclass(frozen=True)
class Context:
    """One request inside Graph: who asks, which tenant's store, which version."""

    caller: Caller
    store: TenantStore
    engine: Store  # feed and leases; not for documents
    version: Version
    edm: Edm
    root: str  # service root for links, such as https://host:8443/v1.0
    headers: Mapping[str, str]  # of the request, names in lower case
    request_id: str


@dataclass(frozen=True)
class Answer:
    """What an operation answers. `value` is inner form: a dict of `type`, or a list of them; None with 204."""

    status: int = 200
    type: str | None = None
    value: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


ActionCode = Callable[[Context, str | None, dict[str, Any]], Awaitable[Answer]]  # (context, id or None if bound to the set, parameters)


@dataclass(frozen=True)
class Parameter:
    """Of an action or function: an Edm or Graph type name; names are read in any case."""

    type: str
    collection: bool = False
    required: bool = True


@dataclass(frozen=True)
class Action:
    """A bound action (POST) or function (GET). Qualified and bare names route alike."""

    name: str  # "comments", "confirmCompromised"; without namespace
    code: ActionCode
    access: Access
    on: str  # "set" or "entity"
    parameters: Mapping[str, Parameter]  # empty: the body is handed over as it is (any JSON)
    returns: str | None  # type name; None for 204
    returns_collection: bool = False
    versions: tuple[Version, ...] = ("v1.0", "beta")
    function: bool = False


@dataclass(frozen=True)
class Navigation:
    """A path behind one object: `riskyUsers/{id}/history`, `users/{id}/memberOf`, `incidents/{id}/alerts`."""

    name: str
    type: str  # of the targets; microsoft.graph.directoryObject where they are mixed
    many: bool = True
    to: tuple[str, ...] = ()  # collections of the targets
    relation: str | None = None  # by edges of the store, from this object...
    reverse: bool = False  # ...or towards it
    transitive: bool = False
    column: str | None = None  # or by a column of the target that holds this object's id ("incidentId")
    expand: bool = False  # may be named in $expand
    access: Access | None = None  # None: the resource's read access
    versions: tuple[Version, ...] = ("v1.0", "beta")


@dataclass
class Resource:
    """A set of Graph objects, declared once. See `resource`."""

    path: str
    type: str
    collection: Collection
    can: Can
    versions: tuple[Version, ...]
    filter: frozenset[str] | None  # property paths; None: every property
    orderby: frozenset[str] | None
    search: frozenset[str]
    select: bool
    patch: frozenset[str]
    create_required: frozenset[str]
    read: Access
    write: Access
    create: Access
    default_top: int
    max_top: int
    max_skip: int | None
    advanced: bool  # $count, $search, ne, not, endswith need ConsistencyLevel: eventual (directory)
    patch_status: int  # 200 with the object, or 204 (200 under Prefer: return=representation)
    owned: bool  # an app sees and changes only what it made (OwnedBy)
    singleton: bool
    fold: bool
    actions: dict[str, Action] = field(default_factory=dict)
    navigation: dict[str, Navigation] = field(default_factory=dict)
    on_create: Callable[[Context, dict[str, Any]], Awaitable[Any]] | None = None
    on_patch: Callable[[Context, str, dict[str, Any], str | None], Awaitable[Any]] | None = None
    on_get: Callable[[Context, str], Awaitable[Stored]] | None = None
    not_served: dict[str, str] = field(default_factory=dict)  # "POST security/x" -> why
