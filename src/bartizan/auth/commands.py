"""What operators do at the command line to tenants, apps and users; JSON out, also while a server runs."""

import asyncio
import contextlib
import secrets
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec.structs import replace

from bartizan.auth import accounts
from bartizan.auth import audit as chain
from bartizan.auth.accounts import App, Consent, Tenant, User
from bartizan.auth.caller import Role
from bartizan.auth.clients import read_certificate
from bartizan.auth.desk import Desk, command, shown_time, tenant_option
from bartizan.auth.flow import usable_redirect
from bartizan.auth.passwords import hash_password
from bartizan.auth.transfer import erase_tenant, export_tenant, restore_tenant
from bartizan.errors import BadRequest, Conflict

D = TypeVar("D", bound=accounts.Document)
ROLES: tuple[Role, ...] = ("SecurityReader", "SecurityOperator", "SecurityAdministrator")

# ---------------------------------------------------------------- tenants


@click.group()
def tenant() -> None:
    """Tenants: each sees only itself."""


def _tenant_view(found: Tenant) -> dict[str, Any]:
    return {
        "tenantId": found.id,
        "name": found.name,
        "domain": found.domain,
        "first": found.first,
        "created": shown_time(found.created),
    }


@command(tenant, "add")
@click.argument("name")
@click.option("--domain", help="Such as example.org; NAME.internal if not said.")
@click.option("--id", help="A GUID, to keep the id of a tenant elsewhere.")
async def tenant_add(desk: Desk, name: str, domain: str | None, id: str | None) -> Any:
    """Add a tenant."""
    made = await desk.accounts.add_tenant(name, domain or f"{name.lower()}.internal", id=id, actor=chain.OPERATOR)
    return _tenant_view(made)


@command(tenant, "list")
async def tenant_list(desk: Desk) -> Any:
    """List the tenants."""
    return [_tenant_view(t) for t in await desk.accounts.every(Tenant)]


@command(tenant, "remove")
@click.argument("reference", metavar="TENANT")
async def tenant_remove(desk: Desk, reference: str) -> Any:
    """Remove a tenant with its consents: nobody gets in any more. Its documents stay until `tenant erase ID`."""
    found = await desk.tenant(reference)
    await desk.accounts.remove(Tenant, found.id, actor=chain.OPERATOR)
    return {"tenantId": found.id, "removed": True}


@command(tenant, "rotate")
@click.argument("reference", metavar="TENANT")
async def tenant_rotate(desk: Desk, reference: str) -> Any:
    """End every token that was issued for a tenant, so that each app and account asks for new ones."""
    found = await desk.tenant(reference)
    await _raise_epoch(desk, Tenant, found.id, [found.id])
    return {"tenantId": found.id, "rotated": True}


@command(tenant, "erase", existing=True)
@click.argument("reference", metavar="TENANT")
@click.option("--yes", is_flag=True, help="Needed: there is no way back.")
async def tenant_erase(desk: Desk, reference: str, yes: bool) -> Any:
    """Erase a tenant: every document, event, its history and audit entries, its consents, and the accounts and apps
    that no other tenant knows."""
    found = await desk.accounts.tenant(reference)
    id = found.id if found else accounts.new_id(reference)
    if not yes:
        raise BadRequest(f"this erases everything of the tenant {id}; say --yes")
    return await erase_tenant(desk.authority, id)


@command(tenant, "export", existing=True)
@click.argument("reference", metavar="TENANT")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True), default="-")
async def tenant_export(desk: Desk, reference: str, file: str) -> Any:
    """Write a tenant as JSON lines to FILE (0600) or standard output: documents, consents, apps and accounts with
    hashed secrets."""
    found = await desk.tenant(reference)
    if file == "-":
        async for line in export_tenant(desk.authority, found):
            sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
        return None
    lines = 0
    path = Path(file)
    part = path.with_name(path.name + ".part")
    part.touch(mode=0o600)
    with part.open("wb") as out:
        async for line in export_tenant(desk.authority, found):
            out.write(line + b"\n")
            lines += 1
    part.replace(path)
    return {"tenantId": found.id, "file": file, "lines": lines}


@command(tenant, "restore")
@click.argument("file", type=click.File("rb"))
async def tenant_restore(desk: Desk, file: Any) -> Any:
    """Bring back what `tenant export` wrote; the tenant must be empty here."""
    return await restore_tenant(desk.authority, (line.rstrip(b"\r\n") for line in file))


# ---------------------------------------------------------------- apps


@click.group()
def app() -> None:
    """Applications that get tokens."""


def _app_view(found: App) -> dict[str, Any]:
    return {
        "clientId": found.id,
        "name": found.name,
        "redirectUris": found.redirect_uris,
        "publicClient": found.public,
        "disabled": found.disabled,
        "secrets": [{"secretId": s.id, "hint": s.hint, "expires": shown_time(s.expires)} for s in found.secrets],
        "certificates": [{"thumbprint": c.id, "expires": shown_time(c.expires)} for c in found.certificates],
    }


@command(app, "add")
@click.argument("name")
@click.option(
    "--permission", "permissions", multiple=True, metavar="P", help="Granted to the app, and as scope to its users."
)
@click.option("--all", "everything", is_flag=True, help="Every permission that any operation asks for.")
@click.option("--delegated", multiple=True, metavar="S", help="Scope granted to the app's signed-in users only.")
@click.option("--redirect-uri", "redirect_uris", multiple=True, metavar="U", help="Where sign-ins lead back to.")
@tenant_option
@click.option(
    "--certificate", "certificates", multiple=True, type=click.File("rb"), help="For assertions (PEM or DER)."
)
@click.option("--client-id", metavar="GUID", help="To keep a client id that is in use elsewhere.")
@click.option("--secret-stdin", is_flag=True, help="Read a secret that is in use elsewhere instead of making one.")
@click.option("--secret-days", type=click.IntRange(1, 36_500), default=730, help="Lifetime of the secret.")
@click.option("--confidential", is_flag=True, help="Refuse public clients: every token request must prove the app.")
async def app_add(
    desk: Desk,
    name: str,
    permissions: tuple[str, ...],
    everything: bool,
    delegated: tuple[str, ...],
    redirect_uris: tuple[str, ...],
    tenant_reference: str | None,
    certificates: tuple[Any, ...],
    client_id: str | None,
    secret_stdin: bool,
    secret_days: int,
    confidential: bool,
) -> Any:
    """Register an app and grant it permissions in a tenant. The secret is shown once."""
    where = await desk.tenant(tenant_reference)
    alone, shared = _split(desk, permissions, delegated, everything)
    secret, text = accounts.new_app_secret(
        desk.now, text=_from_stdin("secret", 16) if secret_stdin else None, days=secret_days
    )
    made = App(
        id=accounts.new_id(client_id),
        name=name,
        created=desk.now,
        redirect_uris=[usable_redirect(uri) for uri in redirect_uris],
        secrets=[secret],
        certificates=[read_certificate(file.read(), desk.now) for file in certificates],
        public=not confidential,
        application=alone,
        delegated=shared,
    )
    await desk.accounts.add_app(made, actor=chain.OPERATOR, tenant=where.id)
    return {
        "clientId": made.id,
        "clientSecret": None if secret_stdin else text,
        "tenantId": where.id,
        "name": name,
        "secretId": secret.id,
        "expires": shown_time(secret.expires),
        "permissions": alone,
        "delegated": shared,
        "redirectUris": made.redirect_uris,
        "certificates": [c.id for c in made.certificates],
        "authority": f"{await desk.authority.root()}/{where.id}",
    }


def _split(
    desk: Desk, permissions: Iterable[str], delegated: Iterable[str], everything: bool
) -> tuple[list[str], list[str]]:
    """Application permissions and delegated scopes. A --permission counts as both, where it is declared as both."""
    alone, shared = set(), set(desk.checked(delegated, 1))
    if everything:
        if desk.permissions is None:
            raise BadRequest("--all cannot be used: no resources are declared")
        alone, shared = set(desk.permissions[0]), shared | desk.permissions[1]
    for name in permissions:
        found = [set(), set()] if desk.permissions else [{name}, {name}]
        for kind in (0, 1):
            with contextlib.suppress(BadRequest):
                found[kind].update(desk.checked([name], kind))
        if not any(found):
            desk.checked([name], 0)  # says what is wrong
        alone |= found[0]
        shared |= found[1]
    return sorted(alone), sorted(shared)


@command(app, "list")
async def app_list(desk: Desk) -> Any:
    """List the apps; secrets are not kept and cannot be shown."""
    granted = await desk.accounts.every(Consent)
    return [
        _app_view(a) | {"tenants": sorted({c.tenant for c in granted if c.app == a.id})}
        for a in await desk.accounts.every(App)
    ]


@command(app, "remove")
@click.argument("reference", metavar="APP")
async def app_remove(desk: Desk, reference: str) -> Any:
    """Remove an app with its consents; its tokens end now."""
    found = await desk.app(reference)
    await desk.accounts.remove(App, found.id, actor=chain.OPERATOR, tenants=await desk.accounts.app_tenants(found.id))
    return {"clientId": found.id, "removed": True}


@command(app, "rotate")
@click.argument("reference", metavar="APP")
@click.option(
    "--overlap-hours", type=click.IntRange(0, 24 * 365), default=0, help="How long the secrets of before still work."
)
@click.option("--secret-days", type=click.IntRange(1, 36_500), default=730, help="Lifetime of the new secret.")
@click.option("--certificate", type=click.File("rb"), help="Add this certificate instead of a secret.")
async def app_rotate(desk: Desk, reference: str, overlap_hours: int, secret_days: int, certificate: Any) -> Any:
    """Give an app a new secret, shown once; those of before end (at once, or after the overlap)."""
    found = await desk.app(reference)
    end = desk.now + overlap_hours * 3600
    secret, text = accounts.new_app_secret(desk.now, days=secret_days)
    known = read_certificate(certificate.read(), desk.now) if certificate else None

    def step(old: App) -> App:
        if known is not None:
            kept = [c for c in old.certificates if c.id != known.id]
            return replace(old, certificates=[*(replace(c, expires=min(c.expires, end)) for c in kept), known])
        kept_secrets = [replace(s, expires=min(s.expires, end)) for s in old.secrets if min(s.expires, end) > desk.now]
        return replace(old, secrets=[*kept_secrets, secret])

    tenants = await desk.accounts.app_tenants(found.id)
    await desk.accounts.update(
        App, found.id, step, actor=chain.OPERATOR, activity="Update application credentials", tenants=tenants
    )
    view: dict[str, Any] = {"clientId": found.id, "tenantIds": tenants}
    if known is not None:
        return view | {"thumbprint": known.id, "expires": shown_time(known.expires)}
    return view | {"clientSecret": text, "secretId": secret.id, "expires": shown_time(secret.expires)}


@command(app, "revoke")
@click.argument("reference", metavar="APP")
async def app_revoke(desk: Desk, reference: str) -> Any:
    """End every token that the app holds now; it can get new ones."""
    found = await desk.app(reference)
    tenants = await desk.accounts.app_tenants(found.id)
    await _raise_epoch(desk, App, found.id, tenants)
    return {"clientId": found.id, "revoked": True}


async def _raise_epoch(desk: Desk, kind: type[D], id: str, tenants: Iterable[str]) -> None:
    await desk.accounts.update(
        kind,
        id,
        lambda doc: replace(doc, epoch=doc.epoch + 1),
        actor=chain.OPERATOR,
        activity="Revoke tokens",
        tenants=tenants,
    )


# ---------------------------------------------------------------- users


@click.group()
def user() -> None:
    """Accounts of people who sign in."""


def _user_view(found: User) -> dict[str, Any]:
    return {
        "id": found.id,
        "userPrincipalName": found.upn,
        "displayName": found.name,
        "disabled": found.disabled,
        "roles": found.roles,
        "created": shown_time(found.created),
    }


def _from_stdin(what: str, least: int) -> str:
    """One line; what ends it is not part of it."""
    text = sys.stdin.readline().rstrip("\r\n")
    if len(text) < least:
        raise BadRequest(f"the {what} on standard input has {len(text)} characters; at least {least} are needed")
    return text


def _password(desk: Desk, from_stdin: bool) -> tuple[str, str | None]:
    """The hash and, where it was made here, the password to show once."""
    text = (
        _from_stdin("password", desk.authority.settings.password_min_chars) if from_stdin else secrets.token_urlsafe(15)
    )
    return hash_password(text), None if from_stdin else text


def _roles(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> tuple[Role, ...]:
    known = {role.lower(): role for role in ROLES}
    for value in values:
        if value.lower() not in known:
            raise click.BadParameter(f"{value!r} is not one of {', '.join(ROLES)}")
    return tuple(dict.fromkeys(known[value.lower()] for value in values))


@command(user, "add")
@click.argument("upn", metavar="UPN")
@click.option(
    "--role",
    "roles",
    multiple=True,
    metavar="R",
    callback=_roles,
    help=f"Directory role in the tenant: {', '.join(ROLES)}. May be repeated.",
)
@click.option("--name", help="Display name; the part before @ if not said.")
@click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input; else one is made and shown once."
)
@tenant_option
async def user_add(
    desk: Desk, upn: str, roles: tuple[Role, ...], name: str | None, password_stdin: bool, tenant_reference: str | None
) -> Any:
    """Add an account, or let one that exists into a further tenant."""
    where = await desk.tenant(tenant_reference)
    if upn.count("@") != 1 or any(c.isspace() for c in upn) or not all(upn.split("@")) or len(upn) > 256:
        raise BadRequest(f"{upn!r} is not a user principal name such as ann@example.org")
    given = list(roles)
    known = await desk.accounts.user_by_upn(upn)
    if known is not None:
        if where.id in known.roles:
            raise Conflict(f"there is already a user {known.upn} in the tenant {where.name}")
        changed = await desk.accounts.update(
            User,
            known.id,
            lambda u: replace(u, roles=u.roles | {where.id: given}),
            actor=chain.OPERATOR,
            activity="Add user to tenant",
            tenants=[where.id],
        )
        return _user_view(changed) | {"tenantId": where.id}
    hash, shown = await asyncio.to_thread(_password, desk, password_stdin)
    made = User(
        id=accounts.new_id(),
        upn=upn,
        name=name or upn.split("@")[0],
        password=hash,
        roles={where.id: given},
        created=desk.now,
    )
    await desk.accounts.add_user(made, actor=chain.OPERATOR)
    return _user_view(made) | {"tenantId": where.id} | ({"password": shown} if shown else {})


@command(user, "list")
async def user_list(desk: Desk) -> Any:
    """List the accounts."""
    return [_user_view(u) for u in await desk.accounts.every(User)]


@command(user, "remove")
@click.argument("upn", metavar="UPN")
@click.option("--tenant", "tenant_reference", metavar="TENANT", help="Leave this tenant only.")
async def user_remove(desk: Desk, upn: str, tenant_reference: str | None) -> Any:
    """Remove an account; its tokens end now."""
    found = await desk.user(upn)
    if tenant_reference is None:
        await desk.accounts.remove(User, found.id, actor=chain.OPERATOR, tenants=found.roles)
        return {"id": found.id, "userPrincipalName": found.upn, "removed": True}
    where = await desk.tenant(tenant_reference)
    changed = await desk.accounts.update(
        User,
        found.id,
        lambda u: replace(u, roles={t: r for t, r in u.roles.items() if t != where.id}),
        actor=chain.OPERATOR,
        activity="Remove user from tenant",
        tenants=[where.id],
    )
    return _user_view(changed)


@command(user, "rotate")
@click.argument("upn", metavar="UPN")
@click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input; else one is made and shown once."
)
async def user_rotate(desk: Desk, upn: str, password_stdin: bool) -> Any:
    """Give an account a new password; everything that was signed in with the old one ends."""
    found = await desk.user(upn)
    hash, shown = await asyncio.to_thread(_password, desk, password_stdin)
    await desk.accounts.update(
        User,
        found.id,
        lambda u: replace(u, password=hash, epoch=u.epoch + 1),
        actor=chain.OPERATOR,
        activity="Reset password",
        tenants=found.roles,
    )
    return {"id": found.id, "userPrincipalName": found.upn} | ({"password": shown} if shown else {})


@command(user, "revoke")
@click.argument("upn", metavar="UPN")
async def user_revoke(desk: Desk, upn: str) -> Any:
    """End every token and browser session of an account."""
    found = await desk.user(upn)
    await _raise_epoch(desk, User, found.id, found.roles)
    return {"id": found.id, "userPrincipalName": found.upn, "revoked": True}
