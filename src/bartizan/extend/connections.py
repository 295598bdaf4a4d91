"""Connections: connectors that an operator has set up for a tenant, with their secrets sealed.

A connection is a document of the tenant; its secrets are sealed under the master key and stand in a value beside it,
which no read of the document shows. Stages ask `Connections` for the live connector of one.
"""

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec
import structlog
from msgspec import Struct
from msgspec.structs import replace

from bartizan.auth.accounts import equals
from bartizan.auth.keys import Vault
from bartizan.errors import BadRequest, BartizanError, Conflict, NotFound
from bartizan.extend.connectors import CONNECTORS, Away, Connector, ConnectorError, Fault, Outside, fault
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Collection, Column, Query, Store, Stored, TenantStore, Tx

CONNECTIONS = Collection(
    "connections",
    type="microsoft.graph.security.connection",
    columns=(Column("connector"), Column("enabled", "bool")),
    order=(("id", False),),
    versions=("beta",),
)
# How the pull of each stream of a connection goes: kept by the stage that pulls.
CONNECTION_STREAMS = Collection(
    "connectionStreams",
    type="microsoft.graph.security.connectionStream",
    columns=(Column("connection"), Column("stream"), Column("state"), Column("lastSuccessDateTime", "instant")),
    order=(("connection", False), ("stream", False)),
    versions=("beta",),
    feed=False,
)
# Marks beside what streams have brought of a directory: kept by the stage that pulls.
BROUGHT = Collection("brought", columns=(Column("place"), Column("what")), order=(("id", False),), feed=False)

MAX_CONNECTIONS = 200  # of one tenant
MAX_STREAMS = 100  # of one connection
CHECK_S = 60.0  # a check takes no longer

_log = structlog.get_logger(__name__)
_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class Connection(Struct, frozen=True, kw_only=True, rename="camel"):
    """What an operator has set up. `id` is its name within the tenant ("okta-emea")."""

    id: str
    connector: str
    enabled: bool = True
    settings: dict[str, Any] = {}  # without secrets
    streams: tuple[str, ...] = ()  # that are pulled
    write_back: bool = True  # changes of status go back to the system
    act: bool = True  # it may be given actions
    federate: bool = False  # reads of alerts ask it live
    version: int = 0  # grows with every change; a live connector of an older one is closed
    created_date_time: str = ""

    @property
    def actor(self) -> str:
        """Who makes the changes that are pulled over this connection: by it they are kept from going back."""
        return f"connection:{self.id}"

    @property
    def origin(self) -> str:
        """Names this connection for good: one that is made later under the same id has another."""
        return f"{self.id}@{self.created_date_time}"


def secret_fields(settings: type[Struct]) -> frozenset[str]:
    """Names of the fields that are declared as `Secret`."""
    return _fields(settings, "secret")


def remote(connector: type[Connector], settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings as a tenant's API may give them. BadRequest for one that is `LOCAL`."""
    for name in sorted(settings.keys() & _fields(connector.settings, "local")):
        raise BadRequest(
            f"{name} is about files or the identity of the server: only whoever runs it sets it, with "
            "`bartizan connection`"
        )
    return settings


def _fields(settings: type[Struct], mark: str) -> frozenset[str]:
    info: Any = msgspec.inspect.type_info(settings)
    return frozenset(each.encode_name for each in info.fields if _marked(each.type, mark))


def _marked(kind: Any, mark: str) -> bool:
    """Also where it is only a part of what the field holds."""
    if (getattr(kind, "extra", None) or {}).get(mark):
        return True
    fields = (field.type for field in getattr(kind, "fields", ()))
    items = (*getattr(kind, "types", ()), *getattr(kind, "item_types", ()))
    single = (getattr(kind, name) for name in ("type", "item_type", "key_type", "value_type") if hasattr(kind, name))
    return any(_marked(each, mark) for each in (*fields, *items, *single))


class Setting(Struct, frozen=True):
    """One setting of a connector, as it declares it."""

    name: str
    type: str  # text, number, true or false, list, object
    description: str
    required: bool
    secret: bool
    default: str | None  # as JSON


def settings_of(connector: type[Connector]) -> list[Setting]:
    """In the order of the declaration."""
    info: Any = msgspec.inspect.type_info(connector.settings)
    secrets = secret_fields(connector.settings)
    found = []
    for each in info.fields:
        default = each.default_factory() if each.default_factory is not msgspec.NODEFAULT else each.default
        name = each.encode_name
        shown = None if each.required or name in secrets else msgspec.json.encode(default).decode()
        description = _described(each.type)
        found.append(Setting(name, _kind(each.type), description, each.required, name in secrets, shown))
    return found


def _described(kind: Any) -> str:
    """The description of a Meta, wherever in the type it stands."""
    schema = getattr(kind, "extra_json_schema", None) or {}
    if schema.get("description"):
        return str(schema["description"])
    inside = (getattr(kind, "type", None), *getattr(kind, "types", ()))
    return next((found for each in inside if each is not None and (found := _described(each))), "")


_KINDS = {
    "StrType": "text",
    "IntType": "number",
    "FloatType": "number",
    "BoolType": "true or false",
    "ListType": "list",
    "VarTupleType": "list",
    "SetType": "list",
    "FrozenSetType": "list",
    "DictType": "object",
    "StructType": "object",
}


def _kind(kind: Any) -> str:
    """In the words of JSON."""
    name = type(kind).__name__
    if name == "Metadata":
        return _kind(kind.type)
    if name == "UnionType":
        return " or ".join(dict.fromkeys(_kind(each) for each in kind.types if type(each).__name__ != "NoneType"))
    if name == "LiteralType":
        return "one of " + ", ".join(str(each) for each in kind.values)
    return _KINDS.get(name, "text")


def checked(connector: type[Connector], settings: Mapping[str, Any]) -> Any:
    """Settings as the connector declares them. BadRequest says which one is wrong, and shows no secret."""
    try:
        return msgspec.convert(dict(settings), connector.settings, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(f"settings of {connector.name}: {error}") from None


def holds(tx: Tx, connection: Connection, stream: str | None = None) -> bool:
    """Whether a connection, and the stream of it, is still there and on, as it was: not removed, changed or made
    anew."""
    row = tx.get(CONNECTIONS.name, connection.id)
    now = None if row is None else _read(row.wire("beta"))
    if now is None or not now.enabled or (now.origin, now.version) != (connection.origin, connection.version):
        return False
    return stream is None or stream in now.streams


def pulls(tx: Tx, origin: str, stream: str) -> bool:
    """Whether there is a connection of this origin, also a disabled one, that has this stream."""
    row = tx.get(CONNECTIONS.name, origin.partition("@")[0])
    now = None if row is None else _read(row.wire("beta"))
    return now is not None and now.origin == origin and stream in now.streams


async def every_of(store: TenantStore) -> list[Connection]:
    page = await store.page(CONNECTIONS.name, Query(top=MAX_CONNECTIONS, version="beta"))
    return [found for row in page.rows if (found := _readable(row)) is not None]


def _readable(row: Stored) -> Connection | None:
    """One that cannot be read keeps nobody from the others; asking for it alone says what is wrong."""
    try:
        return _read(row.wire("beta"))
    except msgspec.DecodeError as error:
        _log.error("connection.unreadable", id=row.id, error=str(error))
        return None


Also: TypeAlias = Callable[[Tx, Mapping[str, Any] | None, Mapping[str, Any] | None], None]
"""What else is done in the write that changes a connection (an entry of the audit): its object before and after."""


class Connections:
    """`outside` makes the HTTP client of one connection."""

    def __init__(
        self, store: Store, vault: Vault, outside: Callable[[Any], Outside], *, over_api: bool = False
    ) -> None:
        self.over_api = over_api  # whether a tenant's administrators may make and point them
        self._store = store
        self._vault = vault
        self._outside = outside
        self._live: dict[tuple[str, str], tuple[tuple[str, int], Connector]] = {}
        self._opening: dict[tuple[str, str], asyncio.Lock] = {}  # one that opens slowly holds up no other

    async def every(self, tenant: str) -> list[Connection]:
        return await every_of(self._store.tenant(tenant))

    async def get(self, tenant: str, id: str) -> Connection:
        row = await self._store.tenant(tenant).get(CONNECTIONS.name, id)
        if row is None:
            raise NotFound(f"there is no connection '{id[:100]}'")
        return _read(row.wire("beta"))

    async def set(
        self,
        tenant: str,
        made: Connection,
        settings: Mapping[str, Any],
        *,
        actor: str,
        new: bool,
        also: Also | None = None,
    ) -> Stored:
        """Adds or replaces one. Secrets that are not given stay as they were."""
        kind_of(made.connector)

        def work(tx: Tx) -> Stored:
            row = tx.get(CONNECTIONS.name, made.id)
            if new and row is not None:
                raise Conflict(f"there is a connection '{made.id}' already")
            if row is None and len(tx.find(CONNECTIONS.name, None, limit=MAX_CONNECTIONS)) >= MAX_CONNECTIONS:
                raise BadRequest(f"a tenant has at most {MAX_CONNECTIONS} connections")
            kept = {} if row is None else self._unsealed(tx.value(_place(made.id)), tenant, made.id)
            return self._put(tx, row, made, {**kept, **settings}, also)

        return await self._store.tenant(tenant).write(work, actor=actor)

    async def change(
        self,
        tenant: str,
        id: str,
        how: Callable[[Connection], Connection],
        settings: Mapping[str, Any],
        *,
        actor: str,
        if_match: str | None = None,
        also: Also | None = None,
    ) -> Stored:
        """Changes one as it then is. The settings that are given replace theirs; None takes one back to its default.
        Secrets are to be given where the system that gets them is another, and where they cannot be read any more."""

        def work(tx: Tx) -> Stored:
            row = tx.get(CONNECTIONS.name, id)
            if row is None:
                raise NotFound(f"there is no connection '{id[:100]}'")
            before = _read(row.wire("beta"))
            made = how(before)
            secrets = secret_fields(kind_of(made.connector).settings)
            sealed = tx.value(_place(id))
            try:
                kept = self._unsealed(sealed, tenant, id)
            except BadRequest:
                if not settings.keys() & secrets:
                    raise
                kept = {}
            whole = {**before.settings, **kept, **settings}
            given = {name: value for name, value in whole.items() if value is not None}
            moved = _moved(before.settings, given)
            left = sorted(kept.keys() & given.keys() - settings.keys())
            if moved and left:
                raise BadRequest(f"{moved} leads elsewhere now: give {', '.join(left)} too, which would be sent there")
            return self._put(tx, row, made, given, also, if_match=if_match)

        return await self._store.tenant(tenant).write(work, actor=actor)

    def _put(
        self,
        tx: Tx,
        row: Stored | None,
        made: Connection,
        whole: Mapping[str, Any],
        also: Also | None,
        *,
        if_match: str | None = None,
    ) -> Stored:
        """Checks, seals and stores one with all of its settings."""
        connector = kind_of(made.connector)
        if _ID.fullmatch(made.id) is None:
            raise BadRequest("the name of a connection has lower-case letters, digits and hyphens, at most 63")
        settings = checked(connector, whole)
        there = connector.streams_of(settings)
        unknown = [name for name in made.streams if name not in there]
        if unknown:
            has = ", ".join(there) or "none"
            raise BadRequest(f"{connector.name} has no stream '{unknown[0][:100]}'; it has: {has}")
        if row is None and made.streams and made.streams == tuple(connector.streams):
            made = replace(made, streams=tuple(there))  # all that every such connection has: all that this one has
        read = msgspec.to_builtins(settings)  # "7" of a number is 7
        secrets = secret_fields(connector.settings)
        open_ones = {name: read[name] for name in whole if name not in secrets}
        hidden = {name: read[name] for name in whole if name in secrets}
        before = {} if row is None else inner(row)
        body = {
            **before,
            **msgspec.to_builtins(made),
            "streams": list(dict.fromkeys(made.streams)),
            "settings": msgspec.json.encode(open_ones).decode(),
            "version": int(before.get("version") or 0) + 1,
            "createdDateTime": before.get("createdDateTime") or tx.now,
            "lastModifiedDateTime": tx.now,
        }
        stored = tx.put(draft(CONNECTIONS, body, made.id), if_match=if_match)
        assert stored is not None  # only with unless_exists
        tx.set_value(_place(made.id), self._vault.seal(msgspec.json.encode(hidden), _purpose(tx.tenant, made.id)))
        if also is not None:
            also(tx, before or None, body)
        return stored

    async def remove(
        self, tenant: str, id: str, *, actor: str, if_match: str | None = None, also: Also | None = None
    ) -> None:
        """With its secrets, cursors and the states of its streams. What it has brought stays."""

        def work(tx: Tx) -> None:
            row = tx.get(CONNECTIONS.name, id)
            if row is None:
                raise NotFound(f"there is no connection '{id[:100]}'")
            tx.delete(CONNECTIONS.name, id, if_match=if_match)
            tx.set_value(_place(id), None)
            for stream in tx.find(CONNECTION_STREAMS.name, equals(connection=id), limit=MAX_STREAMS):
                tx.set_value(cursor_place(id, str(inner(stream)["stream"])), None)
                tx.delete(CONNECTION_STREAMS.name, stream.id)
            if also is not None:
                also(tx, inner(row), None)

        await self._store.tenant(tenant).write(work, actor=actor)
        await self.release(tenant, id)
        lock = self._opening.get((tenant, id))
        if lock is not None and not lock.locked():
            del self._opening[tenant, id]

    async def live(self, tenant: str, connection: Connection) -> Connector:
        """The connector, open; the same one until its settings change. BadRequest where settings or secrets cannot be
        read, NotFound where this program has no such connector."""
        key, wanted = (tenant, connection.id), (connection.created_date_time, connection.version)
        async with self._opening.setdefault(key, asyncio.Lock()):
            known = self._live.get(key)
            if known is not None and known[0] >= wanted:
                return known[1]
            kind = kind_of(connection.connector)
            sealed = await self._store.tenant(tenant).value(_place(connection.id))
            secrets = self._unsealed(sealed, tenant, connection.id)
            settings = checked(kind, {**connection.settings, **secrets})
            await self.release(tenant, connection.id)
            made = kind(settings, self._outside(settings))
            self._live[key] = (wanted, made)
            return made

    async def trial(self, tenant: str, connection: Connection) -> str:
        """What the system says when it is asked with these settings, as they are now; the connector is closed again.
        Errors of `live`, and ConnectorError."""
        kind = kind_of(connection.connector)
        sealed = await self._store.tenant(tenant).value(_place(connection.id))
        settings = checked(kind, {**connection.settings, **self._unsealed(sealed, tenant, connection.id)})
        made = kind(settings, self._outside(settings))
        try:
            async with asyncio.timeout(CHECK_S):
                return await made.check()
        except TimeoutError:
            raise Away(f"{kind.name}: no answer within {CHECK_S:g} s") from None
        except (ConnectorError, BartizanError):
            raise
        except Exception as problem:  # noqa: BLE001 - the edge of connectors; their text may hold anything
            _log.error("connection.check_failed", connection=connection.id, connector=kind.name, **fault(problem))
            raise Fault(f"the connector {kind.name} failed with {type(problem).__name__}") from None
        finally:
            await made.close()
            await made.outside.close()

    async def release(self, tenant: str, id: str) -> None:
        """Closes the connector that is open for this connection, if one is."""
        known = self._live.pop((tenant, id), None)
        if known is not None:
            await known[1].close()
            await known[1].outside.close()

    async def close(self) -> None:
        for tenant, id in list(self._live):
            await self.release(tenant, id)

    def _unsealed(self, sealed: bytes | None, tenant: str, id: str) -> dict[str, Any]:
        if sealed is None:
            return {}
        try:
            found: dict[str, Any] = msgspec.json.decode(self._vault.unseal(sealed, _purpose(tenant, id)))
        except ValueError:
            raise BadRequest(
                f"the secrets of connection '{id}' were sealed under another master key: set them anew"
            ) from None
        return found


def _moved(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The name of a setting that names a system, and now another one."""
    for name in sorted(before.keys() | after.keys()):
        old, new = _system(name, before.get(name)), _system(name, after.get(name))
        if old != new:
            return name
    return ""


def _system(name: str, value: Any) -> str | None:
    """Who is reached by a setting: the scheme and host of an address, or a host by the setting's name."""
    if isinstance(value, list):
        return ",".join(filter(None, (_system(name, each) for each in value))) or None
    if not isinstance(value, str):
        return None
    scheme, is_url, rest = value.partition("://")
    if is_url:
        return f"{scheme}://{re.split('[/?#]', rest, maxsplit=1)[0]}".casefold()
    return (
        value.casefold()
        if name.rpartition("_")[2] in ("host", "hosts", "server", "servers", "domain", "endpoint")
        else None
    )


def kind_of(name: str) -> type[Connector]:
    found = CONNECTORS.get(name)
    if found is None:
        raise NotFound(f"there is no connector '{name[:100]}'; there are: {', '.join(sorted(CONNECTORS))}")
    return found


def _read(wire: bytes) -> Connection:
    body = {name: value for name, value in msgspec.json.decode(wire).items() if value is not None}
    settings = msgspec.json.decode(body.get("settings") or "{}")
    return msgspec.convert({**body, "settings": settings}, Connection)


def _place(id: str) -> str:
    return f"connection/{id}/secrets"


def cursor_place(id: str, stream: str) -> str:
    """Key of the tenant's value that holds how far a stream has been read."""
    return f"connection/{id}/cursor/{stream}"


def _purpose(tenant: str, id: str) -> str:
    return f"connection/{tenant}/{id}"
