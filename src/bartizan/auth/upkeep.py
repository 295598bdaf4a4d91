"""What operators do at the command line to consents, source tokens, keys, the audit chain and the database."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from bartizan.auth import audit as chain
from bartizan.auth import private, tls
from bartizan.auth.accounts import EVERYONE, PROVIDERS, Consent, SourceToken, Tenant
from bartizan.auth.desk import Desk, command, say, shown_time, tenant_option
from bartizan.auth.keys import SYSTEM
from bartizan.errors import BadRequest, Conflict, NotFound
from bartizan.lake import open_lake
from bartizan.lake.moving import copy_files
from bartizan.settings import BadSettings, load

_OWN = ("state.db", "buffer.db", "master.key", "bartizan.toml")
_SQLITE = b"SQLite format 3\0"

# ---------------------------------------------------------------- consents


@click.group()
def consent() -> None:
    """What an app may do in a tenant."""


def _consent_view(found: Consent) -> dict[str, Any]:
    kind = "providers" if found.user == PROVIDERS else "delegated" if found.user else "application"
    who = {"": None, PROVIDERS: None, EVERYONE: "everyone"}.get(found.user, found.user)
    return {
        "tenantId": found.tenant,
        "clientId": found.app,
        "kind": kind,
        "user": who,
        "permissions": found.permissions,
    }


def _consent_options(work: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--user", "upn", metavar="UPN", help="Delegated scopes for this account only."),
        click.option("--delegated", multiple=True, metavar="S", help="Delegated scope."),
        click.option(
            "--provider", "providers", multiple=True, metavar="C", help="Connection that alerts may be read from live."
        ),
        click.option("--permission", "permissions", multiple=True, metavar="P", help="Application permission."),
        tenant_option,
        click.argument("reference", metavar="APP"),
    ):
        work = option(work)
    return work


async def _consent_change(
    desk: Desk,
    reference: str,
    tenant_reference: str | None,
    permissions: tuple[str, ...],
    delegated: tuple[str, ...],
    providers: tuple[str, ...],
    upn: str | None,
    how: Literal["add", "withdraw", "replace"],
) -> Any:
    where, found = await desk.tenant(tenant_reference), await desk.app(reference)
    who = (await desk.user(upn)).id if upn else EVERYONE
    changed = []
    for subject, names, kind in (("", permissions, 0), (who, delegated, 1), (PROVIDERS, providers, None)):
        if names:
            checked = list(names) if how == "withdraw" or kind is None else desk.checked(names, kind)
            changed.append(
                await desk.accounts.grant(where.id, found.id, subject, checked, actor=chain.OPERATOR, how=how)
            )
    if not changed:
        raise BadRequest("nothing to do: say --permission, --delegated or --provider")
    return [_consent_view(c) for c in changed]


@command(consent, "add")
@_consent_options
async def consent_add(desk: Desk, **options: Any) -> Any:
    """Grant an app permissions in a tenant."""
    return await _consent_change(desk, **options, how="add")


@command(consent, "remove")
@_consent_options
async def consent_remove(desk: Desk, **options: Any) -> Any:
    """Withdraw permissions; tokens lose them at once."""
    return await _consent_change(desk, **options, how="withdraw")


@command(consent, "rotate")
@_consent_options
async def consent_rotate(desk: Desk, **options: Any) -> Any:
    """Grant an app these permissions in place of all that it had of the kind; tokens lose the others at once."""
    return await _consent_change(desk, **options, how="replace")


@command(consent, "list")
@click.option("--tenant", "tenant_reference", metavar="TENANT", help="Of this tenant only.")
async def consent_list(desk: Desk, tenant_reference: str | None) -> Any:
    """List what was granted."""
    only = (await desk.tenant(tenant_reference)).id if tenant_reference else None
    return [_consent_view(c) for c in await desk.accounts.every(Consent) if only in (None, c.tenant)]


# ---------------------------------------------------------------- source tokens


@click.group()
def token() -> None:
    """Tokens that deliver records of named sources into one tenant."""


@command(token, "add")
@click.option(
    "--source", "sources", multiple=True, required=True, metavar="X", help="Source that it may deliver; * for any."
)
@click.option("--name", default="", help="What it is for.")
@click.option("--days", type=click.IntRange(0, 36_500), default=0, help="Lifetime; 0 is for ever.")
@tenant_option
async def token_add(desk: Desk, sources: tuple[str, ...], name: str, days: int, tenant_reference: str | None) -> Any:
    """Make a token; it is shown once."""
    where = await desk.tenant(tenant_reference)
    made, text = await desk.accounts.add_source_token(where.id, sources, name, days, actor=chain.OPERATOR)
    return _token_view(made) | {"token": text}


def _token_view(found: SourceToken) -> dict[str, Any]:
    return {
        "tokenId": found.id,
        "tenantId": found.tenant,
        "sources": found.sources,
        "name": found.name,
        "created": shown_time(found.created),
        "expires": shown_time(found.expires),
    }


@command(token, "list")
async def token_list(desk: Desk) -> Any:
    """List the tokens; their text is not kept."""
    return [_token_view(t) for t in await desk.accounts.every(SourceToken)]


async def _source_token(desk: Desk, id: str) -> SourceToken:
    found = await desk.accounts.get(SourceToken, id)
    if found is None:
        raise NotFound(f"there is no token {id}; see: bartizan token list")
    return found


@command(token, "remove")
@click.argument("id", metavar="TOKENID")
async def token_remove(desk: Desk, id: str) -> Any:
    """Remove a token; it ends now."""
    found = await _source_token(desk, id)
    await desk.accounts.remove(SourceToken, id, actor=chain.OPERATOR, tenants=[found.tenant])
    return {"tokenId": id, "removed": True}


@command(token, "rotate")
@click.argument("id", metavar="TOKENID")
async def token_rotate(desk: Desk, id: str) -> Any:
    """Make a new token for the same sources and end this one."""
    old = await _source_token(desk, id)
    days = max(1, (old.expires - old.created) // 86_400) if old.expires else 0
    made, text = await desk.accounts.add_source_token(old.tenant, old.sources, old.name, days, actor=chain.OPERATOR)
    await desk.accounts.remove(SourceToken, id, actor=chain.OPERATOR, tenants=[old.tenant])
    return _token_view(made) | {"token": text}


# ---------------------------------------------------------------- keys, certificates, audit, backup


@click.group()
def key() -> None:
    """Keys that sign tokens."""


@command(key, "list")
async def key_list(desk: Desk) -> Any:
    """List the public keys."""
    return [{name: k[name] for name in ("kid", "alg", "use")} for k in (await desk.authority.keys.jwks())["keys"]]


@command(key, "rotate")
@click.option("--now", "at_once", is_flag=True, help="Sign with it at once instead of after key_lead_s.")
@click.option(
    "--withdraw", is_flag=True, help="A key was stolen: end all others now, with every token that they signed."
)
async def key_rotate(desk: Desk, at_once: bool, withdraw: bool) -> Any:
    """Publish the next signing key."""
    kid = await desk.authority.keys.rotate(at_once=at_once, withdraw=withdraw)
    await desk.accounts.change(
        lambda tx: None,
        actor=chain.OPERATOR,
        activity="Rotate signing key",
        category="KeyManagement",
        operation="Update",
        targets=[chain.Target("Key", kid)],
    )
    return {"kid": kid, "withdrawn": withdraw}


@click.group()
def ca() -> None:
    """The own certificate authority."""


@ca.command("export")
@click.option("--data", metavar="DIR", help="Folder of the server's own files.")
@click.option("--store", metavar="DSN", hidden=True)
def ca_export(data: str | None, store: str | None) -> None:
    """Print the authority's certificate (PEM), for clients to trust."""
    try:
        settings = load(data, store=store)
    except BadSettings as error:
        raise click.UsageError(str(error)) from None
    try:
        pem = tls.ca_pem(settings)
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from None
    click.echo(pem.decode(), nl=False)


@click.group()
def audit() -> None:
    """The chain of audit entries."""


@command(audit, "verify", existing=True)
@click.option("--tenant", "tenant_reference", metavar="TENANT", help="This one only; all and the system's if not said.")
@click.option(
    "--since",
    type=click.File("rb"),
    metavar="FILE",
    help="What this command printed earlier and you kept elsewhere: finds a chain that was made anew since.",
)
async def audit_verify(desk: Desk, tenant_reference: str | None, since: Any) -> Any:
    """Check that no entry was changed, removed, inserted or moved. Exit code 1 if one was.

    Entries are signed with a key that comes from the master key, so that who can write the database alone cannot make
    a chain anew. A database that was put back as it had been earlier is found by --since only.
    """
    known = chain.anchors(since.read()) if since else {}
    ids = await _chains(desk, tenant_reference)
    reports = [await chain.verify(desk.authority.store.tenant(id), known.get(id)) for id in ids]
    gone = sorted(known.keys() - ids) if tenant_reference is None else []
    say({"ok": all(r.ok for r in reports), "tenants": reports} | ({"erased": gone} if gone else {}))
    if not all(r.ok for r in reports):
        raise click.exceptions.Exit(1)


async def _chains(desk: Desk, reference: str | None) -> list[str]:
    if reference is not None:
        return [(await desk.tenant(reference)).id]
    return [SYSTEM, *(t.id for t in await desk.accounts.every(Tenant))]


@command(audit, "seal", existing=True)
@click.option("--tenant", "tenant_reference", metavar="TENANT", help="This one only; all and the system's if not said.")
@click.option(
    "--since", type=click.File("rb"), metavar="FILE", help="What `audit verify` printed earlier: checked first."
)
async def audit_seal(desk: Desk, tenant_reference: str | None, since: Any) -> Any:
    """Vouch for entries that this installation's key did not sign: from before there was one, or restored from
    elsewhere, or after another master key was set.

    The chain is checked first, all but the signatures; refused where it is not whole. From then on no sealed entry can
    be changed unseen.
    """
    known = chain.anchors(since.read()) if since else {}
    ids = await _chains(desk, tenant_reference)
    say({"tenants": [await chain.seal(desk.authority.store.tenant(id), known.get(id)) for id in ids]})


@command(None, "backup", existing=True)
@click.argument("file", type=click.Path(dir_okay=False))
async def backup(desk: Desk, file: str) -> Any:
    """Copy the state while serving: the SQLite databases to FILE and FILE.events, the files of events to FILE.lake.

    On one file system files of events are linked, not copied: they never change. With PostgreSQL use pg_dump, and copy
    the folder of the lake after it.
    """
    settings, state, events = desk.authority.settings, Path(file), Path(f"{file}.events")
    if state.parent.resolve() == settings.folder.resolve() and state.name.startswith(_OWN):
        raise BadRequest(f"{file} is a name of the server's own files: choose another, better outside its folder")
    made = state.with_name(state.name + ".made")
    lake = open_lake(settings.store or settings.folder)
    try:
        # The state first: what it says of events that were taken in is then true of the copy of the events.
        await desk.authority.store.backup(str(made))
        await lake.start()
        await lake.backup(str(events))
        files = Path(f"{file}.lake")
        size = await asyncio.to_thread(copy_files, events, settings.lake_path, files)
        made.replace(state)
    finally:
        made.unlink(missing_ok=True)
        await lake.close()
    needed = [] if settings.master_key else [str(settings.folder / "master.key")]
    return {
        "file": file,
        "copied": [
            _copied("state.db", state),
            _copied("buffer.db", events),
            {"file": str(files), "restoreAs": "lake", "bytes": size},
        ],
        "keepWithIt": [*needed, str(settings.folder / "tls")],
        "note": "Without the master key nobody can open the secrets in the copy."
        if needed
        else "Keep the setting master_key too: without it nobody can open the secrets in the copy.",
    }


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--data", metavar="DIR", required=True, help="Folder for a server that has none of its databases yet.")
def restore(file: str, data: str) -> None:
    """Put the copy that `backup` made as FILE, FILE.events and FILE.lake into a folder, for a server that starts there.

    Nothing is replaced: a folder with a database, of a running server too, is refused.
    """
    folder, copies = Path(data), {"state.db": Path(file), "buffer.db": Path(f"{file}.events")}
    files = Path(f"{file}.lake")
    taken = [each.name for each in folder.glob("*") if each.name.startswith(tuple(copies)) or each.name == "lake"]
    if taken:
        raise click.ClickException(f"{folder} holds {', '.join(sorted(taken))}: restore into another folder")
    for copy in copies.values():
        try:
            with copy.open("rb") as opened:
                whole = opened.read(len(_SQLITE)) == _SQLITE
        except OSError as error:
            raise click.ClickException(f"{copy}: {error.strerror}; both halves of a backup are needed") from None
        if not whole:
            raise click.ClickException(f"{copy} is not a database that `backup` made")
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        copy_files(copies["buffer.db"], files, folder / "lake")
        for name in reversed(copies):  # the state last: it is what makes the folder a server's
            private.copy_once(copies[name], folder / name)
    except (OSError, Conflict) as error:
        raise click.ClickException(f"nothing to start from was made: {error}") from None
    missing = [name for name in ("master.key", "tls") if not (folder / name).exists()]
    say({"restored": [str(folder / name) for name in copies], "putBeside": missing})


def _copied(name: str, path: Path) -> dict[str, Any]:
    """`restoreAs`: its name in the data folder."""
    return {"file": str(path), "restoreAs": name, "bytes": path.stat().st_size}
