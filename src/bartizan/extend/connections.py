"""Connections: connectors that an operator has set up for a tenant, with their secrets sealed.

A connection is a document of the tenant; its secrets are sealed under the master key and stand in a value beside it,
which no read of the document shows. Stages ask `Connections` for the live connector of one.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from bartizan.auth.keys import Vault
from bartizan.errors import BadRequest, Conflict, NotFound
from bartizan.extend.connectors import CONNECTORS, Connector, Outside
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Collection, Column, Query, Store, Tx

CONNECTIONS = Collection(
    "connections",
    type="microsoft.graph.security.connection",
    columns=(Column("connector"), Column("enabled", "bool")),
    order=(("id", False),),
    versions=("beta",),
)
MAX_CONNECTIONS = 200  # of one tenant

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

    @property
    def actor(self) -> str:
        """Who makes the changes that are pulled over this connection: by it they are kept from going back."""
        return f"connection:{self.id}"


def secret_fields(settings: type[Struct]) -> frozenset[str]:
    """Names of the fields that are declared as `Secret`."""
    info: Any = msgspec.inspect.type_info(settings)
    return frozenset(each.encode_name for each in info.fields if _secret(each.type))


def _secret(kind: Any) -> bool:
    """Also where it is optional, has a description, or is the value of a dict of secrets by name."""
    if (getattr(kind, "extra", None) or {}).get("secret"):
        return True
    if isinstance(kind, msgspec.inspect.Metadata):
        return _secret(kind.type)
    if isinstance(kind, msgspec.inspect.DictType):
        return _secret(kind.value_type)
    return isinstance(kind, msgspec.inspect.UnionType) and any(_secret(each) for each in kind.types)


def checked(connector: type[Connector], settings: Mapping[str, Any]) -> Any:
    """Settings as the connector declares them. BadRequest says which one is wrong, and never shows a value."""
    try:
        return msgspec.convert(dict(settings), connector.settings, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(f"settings of {connector.name}: {error}") from None


class Connections:
    """`outside` makes the HTTP client of one connection."""

    def __init__(self, store: Store, vault: Vault, outside: Callable[[Any], Outside]) -> None:
        self._store = store
        self._vault = vault
        self._outside = outside
        self._live: dict[tuple[str, str], tuple[int, Connector]] = {}

    async def every(self, tenant: str) -> list[Connection]:
        page = await self._store.tenant(tenant).page(CONNECTIONS.name, Query(top=MAX_CONNECTIONS, version="beta"))
        return [_read(row.wire("beta")) for row in page.rows]

    async def get(self, tenant: str, id: str) -> Connection:
        row = await self._store.tenant(tenant).get(CONNECTIONS.name, id)
        if row is None:
            raise NotFound(f"there is no connection '{id[:100]}'")
        return _read(row.wire("beta"))

    async def set(self, tenant: str, made: Connection, settings: Mapping[str, Any], *, actor: str, new: bool) -> None:
        """Adds or replaces one. Secrets that are not given stay as they were."""
        if _ID.fullmatch(made.id) is None:
            raise BadRequest("the name of a connection has lower-case letters, digits and hyphens, at most 63")
        connector = kind_of(made.connector)
        secrets = secret_fields(connector.settings)
        unknown = [name for name in made.streams if name not in connector.streams]
        if unknown:
            raise BadRequest(f"{connector.name} has no stream '{unknown[0]}'; it has: {', '.join(connector.streams)}")
        kept = {} if new else await self._secrets(tenant, made.id)
        whole = {**kept, **settings}
        checked(connector, whole)
        open_ones = {name: value for name, value in whole.items() if name not in secrets}
        sealed = self._vault.seal(
            msgspec.json.encode({name: value for name, value in whole.items() if name in secrets}),
            _purpose(tenant, made.id),
        )

        def work(tx: Tx) -> None:
            row = tx.get(CONNECTIONS.name, made.id)
            if new and row is not None:
                raise Conflict(f"there is a connection '{made.id}' already")
            if row is None and len(tx.find(CONNECTIONS.name, None, limit=MAX_CONNECTIONS)) >= MAX_CONNECTIONS:
                raise BadRequest(f"a tenant has at most {MAX_CONNECTIONS} connections")
            before = {} if row is None else inner(row)
            body = {
                **before,
                **msgspec.to_builtins(made),
                "settings": msgspec.json.encode(open_ones).decode(),
                "version": int(before.get("version") or 0) + 1,
                "createdDateTime": before.get("createdDateTime") or tx.now,
                "lastModifiedDateTime": tx.now,
            }
            tx.put(draft(CONNECTIONS, body, made.id))
            tx.set_value(_place(made.id), sealed)

        await self._store.tenant(tenant).write(work, actor=actor)

    async def remove(self, tenant: str, id: str, *, actor: str) -> None:
        """With its secrets and cursors. What it has brought stays."""

        def work(tx: Tx) -> None:
            if not tx.delete(CONNECTIONS.name, id):
                raise NotFound(f"there is no connection '{id[:100]}'")
            tx.set_value(_place(id), None)

        await self._store.tenant(tenant).write(work, actor=actor)
        await self._close((tenant, id))

    async def live(self, tenant: str, connection: Connection) -> Connector:
        """The connector, open; the same one until its settings change. BadRequest where settings or secrets cannot be
        read."""
        key = (tenant, connection.id)
        known = self._live.get(key)
        if known is not None and known[0] == connection.version:
            return known[1]
        await self._close(key)
        kind = kind_of(connection.connector)
        settings = checked(kind, {**connection.settings, **await self._secrets(tenant, connection.id)})
        made = kind(settings, self._outside(settings))
        self._live[key] = (connection.version, made)
        return made

    async def close(self) -> None:
        for key in list(self._live):
            await self._close(key)

    async def _close(self, key: tuple[str, str]) -> None:
        known = self._live.pop(key, None)
        if known is not None:
            await known[1].close()
            await known[1].outside.close()

    async def _secrets(self, tenant: str, id: str) -> dict[str, Any]:
        sealed = await self._store.tenant(tenant).value(_place(id))
        if sealed is None:
            return {}
        try:
            found: dict[str, Any] = msgspec.json.decode(self._vault.unseal(sealed, _purpose(tenant, id)))
        except ValueError:
            raise BadRequest(
                f"the secrets of connection '{id}' were sealed under another master key: set them anew"
            ) from None
        return found


def kind_of(name: str) -> type[Connector]:
    found = CONNECTORS.get(name)
    if found is None:
        raise NotFound(f"there is no connector '{name[:100]}'; there are: {', '.join(sorted(CONNECTORS))}")
    return found


def _read(wire: bytes) -> Connection:
    body = msgspec.json.decode(wire)
    settings = msgspec.json.decode(body.get("settings") or "{}")
    return msgspec.convert({**body, "settings": settings}, Connection)


def _place(id: str) -> str:
    return f"connection/{id}/secrets"


def _purpose(tenant: str, id: str) -> str:
    return f"connection/{tenant}/{id}"
