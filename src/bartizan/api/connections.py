"""Connections to systems outside, what connectors there are, and how the pull goes: this server's own sets, in Graph's
style.

Settings go in as an object or as its JSON text, secrets among them; what is shown is JSON text without the secrets.
"""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import structlog
from msgspec.structs import replace

from bartizan.api.wire.made import made, paged
from bartizan.api.wire.note import Operation, note
from bartizan.errors import BadRequest, Forbidden, NotFound
from bartizan.extend import Answer, Can, Context, Resource, collection, never, resource, scopes
from bartizan.extend.actions import undo_of
from bartizan.extend.connections import (
    CONNECTION_STREAMS,
    CONNECTIONS,
    Connection,
    Connections,
    kind_of,
    remote,
    secret_fields,
    settings_of,
)
from bartizan.extend.connectors import CONNECTORS, Connector, ConnectorError
from bartizan.store.interface import Page, Query, Stored, Tx

READ, WRITE = "Bartizan.Connection.Read.All", "Bartizan.Connection.ReadWrite.All"
MAX_SETTINGS_CHARS = 1_048_576

_FIELDS = {  # what PATCH takes, beside settings -> the field of a Connection
    "enabled": "enabled",
    "streams": "streams",
    "writeBack": "write_back",
    "act": "act",
    "federate": "federate",
}
_log = structlog.get_logger(__name__)

connections = resource(
    "security/connections",
    "microsoft.graph.security.connection",
    collection=CONNECTIONS,
    can=Can.READ | Can.CREATE | Can.PATCH | Can.DELETE,
    read=READ,
    write=scopes(WRITE, role="SecurityAdministrator"),  # who points a connection elsewhere decides who gets its secrets
    create=WRITE,
    filter="id connector enabled",
    patch="settings " + " ".join(_FIELDS),
    required="id connector",
    versions=("beta",),
)
connections.navigation("streams", CONNECTION_STREAMS, column="connection")

resource(
    "security/connectionStreams",
    "microsoft.graph.security.connectionStream",
    collection=CONNECTION_STREAMS,
    can=Can.READ,
    read=f"{READ} {WRITE}",
    filter="connection stream state lastSuccessDateTime",
    versions=("beta",),
    unserved={"DELETE": never("states of streams go with their connection")},
)


@connections.reshape
def with_text(item: Any) -> Any:
    """Settings that come as an object become the text that the type has."""
    if isinstance(item, dict) and isinstance(item.get("settings"), dict):
        return {**item, "settings": msgspec.json.encode(item["settings"]).decode()}
    return item


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    """BadRequest where they are no JSON object; what was sent is not shown."""
    text = given.get("settings")
    if text is None:
        return {}
    try:
        if len(text) > MAX_SETTINGS_CHARS:
            raise BadRequest(f"settings: at most {MAX_SETTINGS_CHARS} characters.")
        found: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    except (ValueError, RecursionError):
        raise BadRequest('settings: expected a JSON object, such as {"url": "https://..."}.') from None
    return found


def _noted(ctx: Context, operation: Operation, connector: str, settings: Mapping[str, Any]) -> Callable[..., None]:
    """The entry of the audit: what changed, and of secrets their names alone."""
    named = sorted(settings.keys() & secret_fields(kind_of(connector).settings))

    def also(tx: Tx, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
        old, new = before or {}, after or {}
        shown = ("connector", "settings", *_FIELDS)
        changed = {name: (old.get(name), new.get(name)) for name in shown if old.get(name) != new.get(name)}
        if named:
            changed["secrets"] = (None, ", ".join(named))
        id = str((after or old)["id"])
        note(ctx, tx, connections, [id], operation=operation, changed=changed)

    return also


def _allowed(ctx: Context, kind: type[Connector], settings: Mapping[str, Any], *, new: bool) -> Mapping[str, Any]:
    """Forbidden where only whoever runs the server says which addresses it asks; new secrets may come all the same."""
    pointed = new or not settings.keys() <= secret_fields(kind.settings)
    if pointed and not ctx.part(Connections).over_api:
        raise Forbidden(
            "Connections are made with `bartizan connection`, since the server asks the addresses that they name; the "
            "setting connections_over_api allows it here too."
        )
    return remote(kind, settings)


@connections.on_create
async def create(ctx: Context, given: list[dict[str, Any]]) -> list[Stored]:
    """All streams of the connector are pulled where none are named."""
    if len(given) != 1:
        raise BadRequest("POST takes one connection at a time.")
    (body,) = given
    try:
        kind = kind_of(body["connector"])
    except NotFound as error:
        raise BadRequest(f"connector: {error.message}") from None
    streams = body.get("streams")
    named = {field: body[name] for name, field in _FIELDS.items() if body.get(name) is not None and name != "streams"}
    connection = Connection(
        id=body["id"],
        connector=kind.name,
        streams=tuple(kind.streams if streams is None else streams),
        **named,
    )
    settings = _allowed(ctx, kind, _settings(body), new=True)
    stored = await ctx.part(Connections).set(
        ctx.caller.tenant,
        connection,
        settings,
        actor=ctx.caller.actor,
        new=True,
        also=_noted(ctx, "Add", kind.name, settings),
    )
    return [stored]


@connections.on_patch
async def change(ctx: Context, id: str, given: dict[str, Any], if_match: str | None) -> Stored:
    """Settings that are named replace theirs; null takes one back to its default. Secrets that are not named stay."""
    here = ctx.part(Connections)
    settings = _settings(given)
    named: dict[str, Any] = {}
    for name, field in _FIELDS.items():
        if name in given:
            if given[name] is None:
                raise BadRequest(f"{name}: expected a value; null means nothing here.")
            named[field] = tuple(given[name]) if name == "streams" else given[name]
    known = await here.get(ctx.caller.tenant, id)
    _allowed(ctx, kind_of(known.connector), settings, new=False)
    return await here.change(
        ctx.caller.tenant,
        id,
        lambda before: replace(before, **named),
        settings,
        actor=ctx.caller.actor,
        if_match=if_match,
        also=_noted(ctx, "Update", known.connector, settings),
    )


@connections.on_delete
async def remove(ctx: Context, id: str, if_match: str | None) -> bool:
    here = ctx.part(Connections)
    known = await here.get(ctx.caller.tenant, id)
    also = _noted(ctx, "Delete", known.connector, {}) if known.connector in CONNECTORS else None
    await here.remove(ctx.caller.tenant, id, actor=ctx.caller.actor, if_match=if_match, also=also)
    return True


@connections.action("check", parameters={}, returns="microsoft.graph.security.connectionCheck")
async def check(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """200, also where the system says no: `error` is Away, Denied, Rejected or Fault then."""
    assert id is not None
    here = ctx.part(Connections)
    known = await here.get(ctx.caller.tenant, id)
    try:
        return Answer(200, {"succeeded": True, "detail": await here.trial(ctx.caller.tenant, known)})
    except ConnectorError as error:
        return Answer(200, {"succeeded": False, "error": type(error).__name__, "detail": error.message})


# ---------------------------------------------------------------- what connectors there are

_CONNECTORS = collection("connectors", "microsoft.graph.security.connector", versions=("beta",))

connectors: Resource = resource(
    "security/connectors",
    "microsoft.graph.security.connector",
    collection=_CONNECTORS,
    can=Can.READ,
    read=f"{READ} {WRITE}",
    filter="",
    orderby="",
    versions=("beta",),
)


def described(kind: type[Connector]) -> dict[str, Any]:
    """A connector as the object that shows it."""
    return {
        "id": kind.name,
        "vendor": kind.vendor,
        "product": kind.product,
        "description": kind.doc,
        "settings": [msgspec.to_builtins(each) for each in settings_of(kind)],
        "streams": [
            {"name": name, "description": each.doc, "everySeconds": each.every_s} for name, each in kind.streams.items()
        ],
        "pushes": [{"subject": subject, "words": sorted(words)} for subject, words in kind.pushes.items()],
        "actions": [
            {
                "name": name,
                "target": offer.target,
                "description": offer.doc,
                "undo": undo_of(kind, name),
                "parameters": [f"{parameter}: {type}" for parameter, type in offer.parameters.items()],
            }
            for name, offer in kind.offers.items()
        ],
        "reads": kind.reads,
    }


def _shown(ctx: Context, kind: type[Connector]) -> Stored:
    return made(ctx, connectors.type, _CONNECTORS.name, kind.name, described(kind))


@connectors.on_list
async def every(ctx: Context, query: Query) -> Page:
    """By name: the declaration lets nobody filter or sort them."""
    return paged(query, (_shown(ctx, kind) for kind in CONNECTORS.values()))


@connectors.on_get
async def one(ctx: Context, id: str) -> Stored | None:
    kind = CONNECTORS.get(id)
    return None if kind is None else _shown(ctx, kind)
