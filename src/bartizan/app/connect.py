"""What operators do at the command line to connections: JSON out, also while a server runs, which notices at once.

Secrets come over standard input alone: what stands on a command line is seen by every process of the machine.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click
import msgspec
from msgspec.structs import replace

from bartizan import connectors as systems
from bartizan.auth import audit as chain
from bartizan.auth.desk import Desk, command, tenant_option
from bartizan.connectors.http import http_of
from bartizan.errors import BadRequest
from bartizan.extend.connections import (
    CONNECTION_STREAMS,
    MAX_CONNECTIONS,
    MAX_STREAMS,
    Connection,
    Connections,
    kind_of,
    secret_fields,
    settings_of,
)
from bartizan.extend.connectors import CONNECTORS, Connector, ConnectorError
from bartizan.store.draft import inner
from bartizan.store.interface import Query, Tx

MAX_STDIN_BYTES = 1_048_576
_SHOWN = ("state", "lastSuccessDateTime", "lastErrorDateTime", "lastError", "recordsPulled", "nextPullDateTime")

F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def connection() -> None:
    """Connections to systems that this server pulls from, writes back to and lets act."""


def _desk(desk: Desk) -> Connections:
    systems.load()
    return Connections(desk.authority.store, desk.authority.vault, http_of)


def _kind(name: str) -> type[Connector]:
    systems.load()
    return kind_of(name)


# ---------------------------------------------------------------- settings


def _given(kind: type[Connector], pairs: tuple[str, ...], from_stdin: bool) -> dict[str, Any]:
    """Settings from --set and, secret ones, from standard input. BadRequest for a secret among the arguments."""
    secrets = secret_fields(kind.settings)
    types = {each.name: each.type for each in settings_of(kind)}
    found: dict[str, Any] = {}
    for pair in pairs:
        name, is_pair, value = pair.partition("=")
        if name in secrets:
            raise BadRequest(f"{name} is secret, and a command line is seen by others: give it with --secrets-stdin")
        if not is_pair:
            raise BadRequest("--set takes key=value")
        if name not in types:
            raise BadRequest(f"{kind.name} has no setting '{name[:100]}'; it has: {', '.join(types)}")
        found[name] = _value(types[name], value)
    if from_stdin:
        found |= _from_stdin(types)
    return found


def _value(type: str, text: str) -> Any:
    """Lists and objects are JSON; a list may also be words between commas."""
    if "list" not in type and "object" not in type:
        return text
    try:
        return msgspec.json.decode(text)
    except ValueError:
        if "object" in type:
            raise BadRequest(f'expected JSON, such as {{"key": "value"}}; got {text[:100]!r}') from None
        return [each.strip() for each in text.split(",") if each.strip()]


def _from_stdin(types: Mapping[str, str]) -> dict[str, Any]:
    """A JSON object, or lines key=value. What is wrong is told without what was read."""
    if sys.stdin.isatty():
        click.echo("Settings as key=value lines or JSON, then Ctrl-D:", err=True)
    raw = sys.stdin.buffer.read(MAX_STDIN_BYTES + 1)
    if len(raw) > MAX_STDIN_BYTES:
        raise BadRequest(f"standard input has more than {MAX_STDIN_BYTES} bytes")
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise BadRequest("standard input holds no text; expected a JSON object or lines key=value")
    if text.startswith("{"):
        try:
            found: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
        except (ValueError, RecursionError):
            raise BadRequest("standard input is not a JSON object") from None
    else:
        found = {}
        for number, line in enumerate(text.splitlines(), 1):
            name, is_pair, value = line.partition("=")
            if line.strip() and not line.lstrip().startswith("#"):
                if not is_pair:
                    raise BadRequest(f"line {number} of standard input is not key=value")
                found[name.strip()] = _value(types.get(name.strip(), "text"), value.strip())
    unknown = sum(name not in types for name in found)
    if unknown:
        raise BadRequest(f"standard input names {unknown} settings that there are not; there are: {', '.join(types)}")
    return found


def _noted(operation: str, settings: Mapping[str, Any], kind: type[Connector] | None) -> Callable[..., None]:
    """The entry of the audit, with the names of secrets alone."""
    secrets = frozenset() if kind is None else secret_fields(kind.settings)

    def also(tx: Tx, before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> None:
        old, new = before or {}, after or {}
        names = ("connector", "settings", "enabled", "streams", "writeBack", "act", "federate")
        modified = {
            name: (_text(old.get(name)), _text(new.get(name))) for name in names if old.get(name) != new.get(name)
        }
        if settings.keys() & secrets:
            modified["secrets"] = (None, ", ".join(sorted(settings.keys() & secrets)))
        chain.record(
            tx,
            actor=chain.OPERATOR,
            activity=f"{operation} connection",
            category="Security",
            operation=operation,
            targets=[chain.Target("connection", str((after or old)["id"]), modified=modified)],
        )

    return also


def _text(value: Any) -> str | None:
    return None if value is None else msgspec.json.encode(value).decode()


# ---------------------------------------------------------------- commands


def _settings_options(work: F) -> F:
    for option in (
        click.option(
            "--secrets-stdin", is_flag=True, help="Read secrets from standard input: JSON, or key=value lines."
        ),
        click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="A setting that is no secret."),
        click.option("--stream", "streams", multiple=True, metavar="S", help="Pull this stream; may be repeated."),
        click.option("--write-back/--no-write-back", default=None, help="Write changes of status back to the system."),
        click.option("--act/--no-act", default=None, help="Let it carry out actions."),
        click.option("--federate/--no-federate", default=None, help="Ask it live when alerts are read."),
        tenant_option,
    ):
        work = option(work)
    return work


def _flags(**given: bool | None) -> dict[str, Any]:
    return {name: value for name, value in given.items() if value is not None}


@command(connection, "add")
@click.argument("name")
@click.argument("connector")
@_settings_options
async def connection_add(
    desk: Desk,
    name: str,
    connector: str,
    secrets_stdin: bool,
    pairs: tuple[str, ...],
    streams: tuple[str, ...],
    write_back: bool | None,
    act: bool | None,
    federate: bool | None,
    tenant_reference: str | None,
) -> Any:
    """Connect a system under NAME, by a CONNECTOR that `bartizan connectors` lists.

    Every stream of it is pulled where no --stream is named.
    """
    where = await desk.tenant(tenant_reference)
    kind = _kind(connector)
    settings = _given(kind, pairs, secrets_stdin)
    flags = _flags(write_back=write_back, act=act, federate=federate)
    made = Connection(id=name, connector=kind.name, streams=streams or tuple(kind.streams), **flags)
    here = _desk(desk)
    also = _noted("Add", settings, kind)
    await here.set(where.id, made, settings, actor=chain.OPERATOR.actor, new=True, also=also)
    return _view(await here.get(where.id, name))


@command(connection, "change")
@click.argument("name")
@click.option("--enable/--disable", default=None, help="Switch the connection on or off.")
@_settings_options
async def connection_change(
    desk: Desk,
    name: str,
    enable: bool | None,
    secrets_stdin: bool,
    pairs: tuple[str, ...],
    streams: tuple[str, ...],
    write_back: bool | None,
    act: bool | None,
    federate: bool | None,
    tenant_reference: str | None,
) -> Any:
    """Change a connection; what is not named stays."""
    where = await desk.tenant(tenant_reference)
    here = _desk(desk)
    kind = kind_of((await here.get(where.id, name)).connector)
    settings = _given(kind, pairs, secrets_stdin)
    flags = _flags(enabled=enable, write_back=write_back, act=act, federate=federate)
    if streams:
        flags["streams"] = streams
    await _changed(here, where.id, name, flags, settings, kind)
    return _view(await here.get(where.id, name))


@command(connection, "rotate")
@click.argument("name")
@tenant_option
async def connection_rotate(desk: Desk, name: str, tenant_reference: str | None) -> Any:
    """Replace secrets by those on standard input, a JSON object or key=value lines; others stay."""
    where = await desk.tenant(tenant_reference)
    here = _desk(desk)
    kind = kind_of((await here.get(where.id, name)).connector)
    settings = _given(kind, (), from_stdin=True)
    open_ones = sorted(settings.keys() - secret_fields(kind.settings))
    if open_ones:
        raise BadRequest(f"{', '.join(open_ones)}: no secret; change it with: bartizan connection change")
    await _changed(here, where.id, name, {}, settings, kind)
    return {"connection": name, "rotated": sorted(settings)}


async def _changed(
    here: Connections, tenant: str, name: str, fields: dict[str, Any], settings: dict[str, Any], kind: type[Connector]
) -> None:
    also = _noted("Update", settings, kind)
    actor = chain.OPERATOR.actor
    await here.change(tenant, name, lambda before: replace(before, **fields), settings, actor=actor, also=also)


@command(connection, "list")
@tenant_option
async def connection_list(desk: Desk, tenant_reference: str | None) -> Any:
    """List the connections, with how each of their streams stands; never their secrets."""
    where = await desk.tenant(tenant_reference)
    query = Query(top=MAX_CONNECTIONS * MAX_STREAMS, version="beta")
    page = await desk.authority.store.tenant(where.id).page(CONNECTION_STREAMS.name, query)
    states: dict[str, dict[str, Any]] = {}
    for row in page.rows:
        body = inner(row)
        shown = {each: body[each] for each in _SHOWN if body.get(each) is not None}
        states.setdefault(body["connection"], {})[body["stream"]] = shown
    return [
        {**_view(each), "streams": {name: states.get(each.id, {}).get(name, {}) for name in each.streams}}
        for each in await _desk(desk).every(where.id)
    ]


@command(connection, "check")
@click.argument("name")
@tenant_option
async def connection_check(desk: Desk, name: str, tenant_reference: str | None) -> Any:
    """Ask the system something harmless with the credentials of the connection."""
    where = await desk.tenant(tenant_reference)
    here = _desk(desk)
    try:
        return {"connection": name, "found": await here.trial(where.id, await here.get(where.id, name))}
    except ConnectorError as error:
        raise BadRequest(f"{type(error).__name__}: {error.message}") from None


@command(connection, "remove")
@click.argument("name")
@tenant_option
async def connection_remove(desk: Desk, name: str, tenant_reference: str | None) -> Any:
    """Remove a connection with its secrets and cursors. What it has brought stays."""
    where = await desk.tenant(tenant_reference)
    also = _noted("Delete", {}, None)
    await _desk(desk).remove(where.id, name, actor=chain.OPERATOR.actor, also=also)
    return {"connection": name, "removed": True}


def _view(found: Connection) -> dict[str, Any]:
    return {
        "connection": found.id,
        "connector": found.connector,
        "enabled": found.enabled,
        "settings": found.settings,
        "streams": list(found.streams),
        "writeBack": found.write_back,
        "act": found.act,
        "federate": found.federate,
    }


@click.command()
@click.argument("name", required=False)
def connectors(name: str | None) -> None:
    """List the connectors, or what there is to know of one: settings, streams, actions."""
    systems.load()
    if name is None:
        for each in sorted(CONNECTORS):
            click.echo(f"{each:24} {CONNECTORS[each].doc}")
        return
    if name not in CONNECTORS:
        raise click.BadParameter(f"there is no connector {name!r}; see: bartizan connectors", param_hint="NAME")
    kind = CONNECTORS[name]
    click.echo(f"{kind.name}: {kind.doc}\n\nSettings:")
    for setting in settings_of(kind):
        notes = ["secret"] if setting.secret else []
        notes.append("required" if setting.required else "optional" if setting.secret else f"default {setting.default}")
        click.echo(f"  {setting.name:20} {setting.type}; {', '.join(notes)}. {setting.description}")
    for title, rows in (
        ("Streams", {stream: f"{each.doc} Every {each.every_s:g} s." for stream, each in kind.streams.items()}),
        ("Written back", {subject: ", ".join(sorted(words)) for subject, words in kind.pushes.items()}),
        ("Actions", {action: f"on a {each.target}. {each.doc}" for action, each in kind.offers.items()}),
    ):
        if rows:
            click.echo(f"\n{title}:")
        for key, text in rows.items():
            click.echo(f"  {key:20} {text}")
