"""A resource: a set of Graph objects, declared once, from which all else follows. How to: see `bartizan.extend`."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Flag, auto
from typing import Any, Literal, TypeAlias, TypeVar

from msgspec import Struct

from bartizan.auth.caller import Access, Caller, Role
from bartizan.errors import NotServed
from bartizan.model.edm import Edm, Version, edm
from bartizan.odata.tree import Expr, Kind
from bartizan.store.interface import Collection, Column, Page, Query, Store, Stored, TenantStore

BOTH: tuple[Version, ...] = ("v1.0", "beta")

Part = TypeVar("Part")
Verb: TypeAlias = Literal["GET", "POST", "PATCH", "PUT", "DELETE"]


class Can(Flag):
    """The verbs that a resource serves."""

    LIST = auto()
    GET = auto()
    CREATE = auto()  # POST of one object, or of an array (our bulk form, atomic)
    PATCH = auto()
    DELETE = auto()
    PUT = auto()  # as PATCH, but what it does not name becomes unset
    READ = LIST | GET


class Unserved(Struct, frozen=True):
    """A known operation that is not served. `later` answers 501, otherwise 405."""

    later: bool
    why: str


def not_yet(why: str) -> Unserved:
    return Unserved(True, why)


def never(why: str) -> Unserved:
    return Unserved(False, why)


@dataclass(slots=True)
class Context:
    """One request inside Graph: who asks, which tenant's store, which version."""

    caller: Caller
    store: TenantStore
    engine: Store  # feed and leases; not for documents
    version: Version
    edm: Edm
    root: str  # service root for links, such as https://host:8443/v1.0
    request_id: str
    headers: Mapping[bytes, bytes]  # of the request, names in lower case
    clock: Callable[[], datetime]
    token_key: bytes = b""  # of $skiptoken
    ip: str | None = None  # address of the client
    parts: Mapping[type, Any] = field(default_factory=dict)  # what other rooms lend to areas, by its class
    gone: Callable[[], Awaitable[None]] | None = None  # returns when the client has closed its connection

    def header(self, name: str) -> str | None:
        value = self.headers.get(name.lower().encode("latin-1"))
        return None if value is None else value.decode("latin-1")

    def part(self, kind: type[Part]) -> Part:
        """What another room lends to this area: the one object of that class that `app.build` was given."""
        found = self.parts.get(kind)
        if not isinstance(found, kind):
            raise NotServed(f"{kind.__name__} does not run here.")
        return found


@dataclass(slots=True)
class Answer:
    """What an operation answers.

    `value` is inner form of the declared return type (a dict, a list, a scalar), a `Stored`, a list of `Stored`, bytes
    (wire JSON of an object, without @odata.context), or what rows of the set a function that is `mine` picks; None with
    204.
    """

    status: int = 200
    value: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


ActionCode = Callable[
    [Context, str | None, Any], Awaitable[Answer]
]  # (context, id or None if bound to the set, parameters or body)
Prepare = Callable[[Context, dict[str, Any]], dict[str, Any]]
Complete = Callable[[Context, list[dict[str, Any]]], Awaitable[list[dict[str, Any]]]]
Merge = Callable[[Context, dict[str, Any], dict[str, Any]], dict[str, Any]]
OnCreate = Callable[[Context, list[dict[str, Any]]], Awaitable[list[Stored]]]
OnPatch = Callable[[Context, str, dict[str, Any], str | None], Awaitable[Stored]]
OnDelete = Callable[[Context, str, str | None], Awaitable[bool]]
OnGet = Callable[[Context, str], Awaitable[Stored | None]]
Reshape = Callable[[Any], Any]
OnList = Callable[[Context, Query], Awaitable[Page]]
Fetch = Callable[[Context, list[str]], Awaitable[dict[str, Stored]]]  # ids -> of those that are known the objects
OnRelated = Callable[[Context, Stored, Query], Awaitable[Page]]  # (context, the object, what is asked of a list)
OnRelatedOne = Callable[[Context, Stored, str], Awaitable[Stored | None]]
Rows: TypeAlias = Expr | Callable[[Context], Expr | None] | None

Code = TypeVar("Code", bound=Callable[..., Any])


@dataclass(frozen=True, eq=False)
class Action:
    """A bound action (POST) or function (GET). Qualified and bare names route alike.

    `parameters` maps names (read in any case) to types as in schema/: `Edm.String`, `Collection(Edm.String)!`; `!`
    means required. None: the body is handed over as it is (any JSON).
    """

    name: str
    code: ActionCode
    access: Access
    on_set: bool
    parameters: Mapping[str, str] | None
    returns: str | None  # such as "Collection(microsoft.graph.security.alertComment)"; None for 204
    versions: tuple[Version, ...] = BOTH
    function: bool = False
    qualified: str = ""  # the name with the namespace of the resource's type
    mine: bool = False  # a function that picks the caller's own objects out of the set, a list; no role is needed
    makes: "Resource | None" = None  # a function that makes a list of such a set: its answer's value is an OnList


@dataclass(frozen=True, eq=False)
class Navigation:
    """A path behind one object: `riskyUsers/{id}/history`, `users/{id}/memberOf`, `incidents/{id}/alerts`."""

    name: str
    of: tuple[
        str, ...
    ]  # names of the collections that the object may be in: the resource's own; more where groups nest in roles
    type: str  # of the targets; microsoft.graph.directoryObject where they are mixed
    to: tuple[Collection, ...]
    many: bool
    relation: str | None  # by edges of the store, from this object...
    reverse: bool  # ...or towards it
    transitive: bool
    column: str | None  # or by a property of the target that holds this object's id ("incidentId")
    expand: bool  # may be named in $expand
    access: Access
    link: Access | None  # for POST and DELETE of $ref, by relations only; None: they are not served
    versions: tuple[Version, ...] = BOTH
    key: str | None = None  # or by a property of this object that holds the target's id ("principalId")
    fetch: Fetch | None = None  # how targets by key are found where they are not just rows of `to`
    inline: tuple[str, ...] = ()  # of the target: see Resource.inline
    made: tuple[OnRelated, OnRelatedOne] | None = None  # or by code that makes a page of them, or the one of an id
    parent: OnGet | None = None  # how the object is found for this path alone, where its set may not have it

    def cast(self, name: str) -> str | None:
        """The type of targets that `microsoft.graph.user` or `graph.user` names, in any case."""
        wanted = name.lower()
        wanted = f"microsoft.{wanted}" if wanted.startswith("graph.") else wanted  # the alias that the metadata names
        return next((to.type for to in self.to if to.type is not None and to.type.lower() == wanted), None)

    @property
    def recursive(self) -> bool:
        """To one object of the same set, so that it can be followed again from there: $levels."""
        return not self.many and self.relation is not None and self.of == tuple(to.name for to in self.to)


@dataclass(eq=False)
class Resource:
    """A set of Graph objects, declared once. Made by `resource`."""

    path: str
    type: str
    collection: Collection
    can: Can
    versions: tuple[Version, ...]
    aliases: Mapping[str, tuple[Version, ...]]  # further paths and their versions
    filter: frozenset[str] | None  # property paths; None: every property
    orderby: frozenset[str] | None
    any_case: frozenset[str]  # paths that are compared without regard to case, beside columns with fold
    search: tuple[str, ...]  # properties that $search looks into without a name; empty: no $search
    select: bool
    extra: bool  # keys that clients invent are kept, and may be selected
    patch: frozenset[str]
    patch_else: Unserved | None  # why PATCH does not take the type's other properties; None: they are fixed
    required: frozenset[str]  # of a POST
    read: Access
    write: Access
    create: Access
    delete: Access
    default_top: int
    max_top: int
    max_skip: int | None
    advanced: bool  # $count, $search, ne, not, endsWith need ConsistencyLevel: eventual and $count=true
    patch_status: int  # 200 with the object, or 204 (200 under Prefer: return=representation)
    keys: tuple[str, ...]  # alternate keys: users(userPrincipalName='x')
    bare_keys: tuple[str, ...]  # those that also stand as a segment: users/x
    singleton: bool
    own: str  # the path that means the caller's own object ("me")
    own_scopes: tuple[str, ...]  # delegated scopes that suffice there, without a directory role
    rows: Rows
    throttle: str  # area of rate limits
    delta: tuple[str, ...] | None  # navigations whose references come with a delta query; None: it has none
    unserved: Mapping[str, Unserved]  # verb of set or object ("DELETE"), or "POST name" of an action
    actions: dict[str, Action] = field(default_factory=dict)  # by name in lower case
    navigations: dict[str, Navigation] = field(default_factory=dict)
    prepares: Prepare | None = None
    completes: Complete | None = None
    merges: Merge | None = None
    creates: OnCreate | None = None
    patches: OnPatch | None = None
    deletes: OnDelete | None = None
    gets: OnGet | None = None
    lists: OnList | None = None
    reshapes: Reshape | None = None
    # properties that Graph has as contained objects: named in $expand, a path leads to each
    inline: tuple[str, ...] = ()
    federated: Literal["v2", "legacy"] | None = None  # the face of alerts that connections may be asked for live

    @property
    def name(self) -> str:
        """The set's name in @odata.context."""
        return self.path

    @property
    def longer(self) -> list[tuple[tuple[str, ...], "Action"]]:
        """Functions whose name is a path, with its segments in lower case."""
        return [(tuple(name.split("/")), action) for name, action in self.actions.items() if "/" in name]

    def action(
        self,
        name: str,
        *,
        on: Literal["set", "object"] = "object",
        parameters: Mapping[str, str] | None = None,
        returns: str | None = None,
        access: "str | Access | None" = None,
        versions: tuple[Version, ...] | None = None,
        function: bool = False,
        namespace: str | None = None,
        mine: bool = False,
        makes: "Resource | None" = None,
    ) -> Callable[[Code], Code]:
        """Declares an action (POST) or, with `function`, a function (GET). Access: the resource's `write`, of a
        function `read`. Its qualified name has the `namespace` of the resource's type unless another is said.

        A function of an object may have a path as its name, such as `photos/{}/$value`: what Graph calls contained and
        nothing is stored for; `{}` is its parameter `key`.
        """
        needs = self.read if function else self.write
        if access is not None:
            needs = access if isinstance(access, Access) else scopes(access, role=needs.role)
        space = namespace or self.type.rpartition(".")[0]

        def declare(code: Code) -> Code:
            self.actions[name.lower()] = Action(
                name,
                code,
                needs,
                on == "set",
                parameters,
                returns,
                versions or self.versions,
                function,
                f"{space}.{name}",
                mine,
                makes,
            )
            return code

        return declare

    def navigation(
        self,
        name: str,
        *to: "Collection | Resource",
        type: str | None = None,
        many: bool = True,
        relation: str | None = None,
        reverse: bool = False,
        transitive: bool = False,
        column: str | None = None,
        key: str | None = None,
        fetch: Fetch | None = None,
        made: tuple[OnRelated, OnRelatedOne] | None = None,
        parent: OnGet | None = None,
        inside: str = "",
        expand: bool = False,
        access: "str | Access | None" = None,
        link: str | None = None,
        versions: tuple[Version, ...] | None = None,
    ) -> None:
        """Declares a path behind one object: by a `column` of the target, by a `relation` of the store, to the one
        object whose id a property of this one holds (`key`), or to what code finds (`made`; one object by the id "").

        A transitive walk names in `inside` the further collections that it passes through: groups, of memberships.
        """
        ways = sum(way is not None for way in (column, relation, key, made))
        if ways != 1 or (link is not None and (relation is None or reverse or transitive)):
            raise ValueError(f"{self.path}/{name}: say one of column, relation, key and made")
        targets = tuple(t.collection if isinstance(t, Resource) else t for t in to)
        of = type or (targets[0].type if len(targets) == 1 and targets[0].type else "microsoft.graph.directoryObject")
        self.navigations[name.lower()] = Navigation(
            name,
            (self.collection.name, *inside.split()),
            of,
            targets,
            many and key is None,
            relation,
            reverse,
            transitive,
            column,
            expand,
            access if isinstance(access, Access) else self.read if access is None else scopes(access),
            scopes(link, role="SecurityAdministrator") if link else None,
            versions or self.versions,
            key,
            fetch,
            tuple(one for each in to if isinstance(each, Resource) for one in each.inline),
            made,
            parent,
        )

    def prepare(self, code: Prepare) -> Prepare:
        self.prepares = code
        return code

    def complete(self, code: Complete) -> Complete:
        self.completes = code
        return code

    def merge(self, code: Merge) -> Merge:
        self.merges = code
        return code

    def on_create(self, code: OnCreate) -> OnCreate:
        self.creates = code
        return code

    def on_patch(self, code: OnPatch) -> OnPatch:
        self.patches = code
        return code

    def on_delete(self, code: OnDelete) -> OnDelete:
        self.deletes = code
        return code

    def on_get(self, code: OnGet) -> OnGet:
        self.gets = code
        return code

    def on_list(self, code: OnList) -> OnList:
        self.lists = code
        return code

    def reshape(self, code: Reshape) -> Reshape:
        self.reshapes = code
        return code


RESOURCES: list[Resource] = []
UNSERVED: list[tuple[str, tuple[str, ...], tuple[Version, ...], Unserved]] = []  # (path pattern, verbs, versions, why)


def scopes(names: str, *, role: Role = "SecurityReader") -> Access:
    """One of these scopes, as application permission or delegated; least privileged first."""
    each = tuple(names.split())
    if not each:
        raise ValueError("a route without a scope")
    return Access(each, each, role)


def unserved(
    pattern: str, why: Unserved, *, verbs: str = "GET POST PATCH PUT DELETE", versions: tuple[Version, ...] = BOTH
) -> None:
    """Declares known paths that are not served. `{}` stands for one segment, a final `**` for all that follow (none
    included).
    """
    UNSERVED.append((pattern.strip("/").lower(), tuple(verbs.split()), versions, why))


_KINDS: dict[str, Kind] = {
    "Edm.Boolean": "bool",
    "Edm.Date": "date",
    "Edm.DateTimeOffset": "instant",
    "Edm.Decimal": "real",
    "Edm.Double": "real",
    "Edm.Duration": "duration",
    "Edm.Guid": "guid",
    "Edm.Int16": "int",
    "Edm.Int32": "int",
    "Edm.Int64": "int",
    "Edm.Single": "real",
    "Edm.TimeOfDay": "time",
}


def _kind(type: str, path: str) -> Kind:
    """The kind of a property path in the schema (beta, which has nearly all; else v1.0)."""
    for version in ("beta", "v1.0"):
        here: str = type
        try:
            for name in path.split("/"):
                found = edm(version).structured(here).find(name)
                if found is None:
                    raise KeyError(name)
                here = found.type
        except KeyError:
            continue
        return _KINDS.get(here, "enum" if edm(version).enum(here) is not None else "text")
    raise ValueError(f"{type} has no property {path}")


def collection(
    name: str,
    type: str,
    *,
    columns: str = "",
    unique: str = "",
    fold: str = "",
    order: str = "",
    entities: Mapping[str, str] | None = None,
    versions: tuple[Version, ...] = BOTH,
    created: str | None = None,
    updated: str | None = None,
    keep: timedelta | None = None,
) -> Collection:
    """A `Collection` from words: `columns`, `unique` and `fold` are property paths, `order` is such as
    `createdDateTime desc`.
    """
    alone, folded = set(unique.split()), set(fold.split())
    keys = tuple((key.split()[0], key.split()[-1] == "desc") for key in order.split(",") if key.strip())
    paths = dict.fromkeys([*columns.split(), *unique.split(), *fold.split(), *(path for path, _ in keys)])
    return Collection(
        name,
        type,
        tuple(Column(path, _kind(type, path), path in folded, path in alone) for path in paths),
        keys,
        entities or {},
        versions,
        created,
        updated,
        keep=keep,
    )


def _words(text: str | None) -> frozenset[str] | None:
    return None if text is None else frozenset(text.split())


def resource(
    path: str,
    type: str,
    *,
    can: Can,
    read: str | Access,
    write: str | Access | None = None,
    create: str | Access | None = None,
    delete: str | Access | None = None,
    collection: Collection | None = None,
    columns: str = "",
    unique: str = "",
    fold: str = "",
    order: str = "",
    entities: Mapping[str, str] | None = None,
    created: str | None = None,
    updated: str | None = None,
    keep: timedelta | None = None,
    versions: tuple[Version, ...] = BOTH,
    aliases: Mapping[str, tuple[Version, ...]] | None = None,
    filter: str | None = None,
    orderby: str | None = None,
    any_case: str = "",
    search: str = "",
    select: bool = True,
    extra: bool = False,
    patch: str = "",
    patch_else: Unserved | None = None,
    required: str = "",
    default_top: int = 100,
    max_top: int = 999,
    max_skip: int | None = None,
    advanced: bool = False,
    patch_status: Literal[200, 204] = 200,
    keys: str = "",
    bare_keys: str = "",
    singleton: bool = False,
    own: str = "",
    own_scopes: str = "",
    rows: Rows = None,
    throttle: str = "any",
    delta: str | None = None,
    inline: str = "",
    federated: Literal["v2", "legacy"] | None = None,
    unserved: Mapping[str, Unserved] | None = None,
) -> Resource:
    """Declares a set of Graph objects (see the module's text); registers and returns it.

    A resource has a `read` scope and, for the verbs that change, theirs; without, the declaration itself fails.
    Roles: reading SecurityReader, PATCH and actions SecurityOperator, POST and DELETE SecurityAdministrator.
    """
    reading = read if isinstance(read, Access) else scopes(read)
    writing = (
        write
        if isinstance(write, Access)
        else scopes(write, role="SecurityOperator")
        if write
        else Access((), (), "SecurityOperator")
    )
    if isinstance(read, str):
        reading = Access(
            _union(reading.application, writing.application), _union(reading.delegated, writing.delegated), reading.role
        )
    making = create if isinstance(create, Access) else scopes(create, role="SecurityAdministrator") if create else None
    wiping = delete if isinstance(delete, Access) else scopes(delete, role="SecurityAdministrator") if delete else None
    strict = Access(writing.application, writing.delegated, "SecurityAdministrator")
    for verb, has in ((Can.CREATE, making or write), (Can.PATCH | Can.PUT, write), (Can.DELETE, wiping or write)):
        if verb & can and not has:
            raise ValueError(f"{path} can {verb.name} and names no scope for it")
    made = Resource(
        path=path.strip("/"),
        type=type,
        collection=collection
        or _collection(
            path.rpartition("/")[2],
            type,
            columns=columns,
            unique=unique,
            fold=fold,
            order=order,
            entities=entities,
            versions=versions,
            created=created,
            updated=updated,
            keep=keep,
        ),
        can=can,
        versions=versions,
        aliases=aliases or {},
        filter=_words(filter),
        orderby=_words(orderby),
        any_case=frozenset(any_case.split()),
        search=tuple(search.split()),
        select=select,
        extra=extra,
        patch=frozenset(patch.split()),
        patch_else=patch_else,
        required=frozenset(required.split()),
        read=reading,
        write=writing,
        create=making or strict,
        delete=wiping or strict,
        default_top=default_top,
        max_top=max_top,
        max_skip=max_skip,
        advanced=advanced,
        patch_status=patch_status,
        keys=tuple(dict.fromkeys([*keys.split(), *bare_keys.split()])),
        bare_keys=tuple(bare_keys.split()),
        singleton=singleton,
        own=own,
        own_scopes=tuple(own_scopes.split()),
        rows=rows,
        throttle=throttle,
        delta=None if delta is None else tuple(delta.lower().split()),
        unserved=unserved or {},
        inline=tuple(inline.split()),
        federated=federated,
    )
    RESOURCES.append(made)
    return made


_collection = collection


def _union(*each: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for names in each for name in names))
