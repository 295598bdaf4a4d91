"""A tenant on its way out of a server and into another: what it holds, and who was let into it."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bartizan.auth import audit
from bartizan.auth.accounts import (
    App,
    Consent,
    Tenant,
    User,
    drafted,
    equals,
    fetch,
    raise_generation,
)
from bartizan.auth.authority import Authority
from bartizan.errors import BadRequest, Conflict
from bartizan.lake import Lake, open_lake
from bartizan.lake.manifest import Manifest
from bartizan.lake.moving import export_events, restore_events
from bartizan.store import TenantStore, Tx

_FORMAT = "bartizan-tenant-2"
_WITHOUT_EVENTS = "bartizan-tenant-1"
_END = b'{"kind":"end"'  # the store's last line


class _Header(Struct, forbid_unknown_fields=True):
    """The first line. Secrets and passwords are hashes."""

    format: str
    tenant: Tenant
    consents: list[Consent]
    apps: list[App]
    users: list[User]


async def export_tenant(authority: Authority, tenant: Tenant) -> AsyncIterator[bytes]:
    """The header, then the store's own lines, consistent as of one moment, then the lake's."""
    accounts = authority.accounts
    consents = await accounts.every(Consent, equals(tenant=tenant.id))
    apps = [app for app in [await accounts.get(App, id) for id in sorted({c.app for c in consents})] if app is not None]
    users = [
        replace(user, roles={tenant.id: user.roles[tenant.id]})
        for user in await accounts.every(User)
        if tenant.id in user.roles
    ]
    yield msgspec.json.encode(_Header(_FORMAT, replace(tenant, first=False), consents, apps, users))
    async for line in authority.store.export(tenant.id):
        yield line
    async with _lake(authority) as (lake, manifest):
        async for line in export_events(lake, manifest, tenant.id):
            yield line


async def erase_tenant(authority: Authority, id: str) -> dict[str, Any]:
    """Every document and event of the tenant, its history, its audit entries and consents, and the accounts and apps
    that no other tenant knows. What the system's own chain says of them stays. A second time erases nothing more."""
    if await authority.accounts.get(Tenant, id) is not None:
        await authority.accounts.remove(Tenant, id, actor=audit.OPERATOR)
    users, apps = await authority.accounts.remove_strays(actor=audit.OPERATOR)
    documents = await authority.store.erase(id)
    async with _lake(authority) as (_, manifest):
        events = await manifest.erase(id)
    return {
        "tenantId": id, "documents": documents, "events": events, "users": users, "apps": apps, "erased": True,
    }  # fmt: skip


async def restore_tenant(authority: Authority, lines: Iterable[bytes]) -> dict[str, Any]:
    """Documents and events first, then the way in, so that nobody sees half a tenant. Apps and accounts that are here
    already stay as they are.

    Conflict where the tenant holds anything, or its name or domain is taken.
    """
    rest: Iterator[bytes] = iter(lines)
    try:
        header = msgspec.json.decode(next(rest, b""), type=_Header)
    except msgspec.DecodeError as error:
        raise BadRequest(f"not a file of `tenant export`: {error}") from None
    if header.format not in (_FORMAT, _WITHOUT_EVENTS):
        raise BadRequest(f"the format {header.format!r} is not known; expected {_FORMAT}")
    tenant = header.tenant
    if await authority.accounts.tenant(tenant.id) is not None:
        raise Conflict(f"the tenant {tenant.id} is here already; erase it first")
    documents = await authority.store.restore(tenant.id, _of_store(rest))
    async with _lake(authority) as (lake, _):
        events = await restore_events(lake, tenant.id, (line for line in rest if line.strip()))
    target = audit.Target("Tenant", tenant.id, tenant.name)
    skipped = await authority.accounts.change(
        lambda tx: _let_in(tx, header),
        actor=audit.OPERATOR,
        activity="Restore tenant",
        category="DirectoryManagement",
        operation="Add",
        targets=[target],
        tenants=[tenant.id],
    )
    told = {"tenantId": tenant.id, "documents": documents, "events": events, "skippedUsers": skipped}
    return told | await _sealed(authority.store.tenant(tenant.id))


def _of_store(lines: Iterator[bytes]) -> Iterator[bytes]:
    """Up to and with the store's last line; the lake's are left."""
    for line in lines:
        if line.strip():
            yield line
        if line.startswith(_END):
            return


@contextlib.asynccontextmanager
async def _lake(authority: Authority) -> AsyncIterator[tuple[Lake, Manifest]]:
    settings = authority.settings
    lake = open_lake(settings.store or settings.folder)
    await lake.start()
    try:
        yield lake, Manifest(lake, settings.lake_path)
    finally:
        await lake.close()


async def _sealed(store: TenantStore) -> dict[str, str]:
    """A chain that another installation signed counts here by the seal of who restores it; one that is broken by
    itself is told of, and stays so."""
    if not (await audit.verify(store)).ok:
        try:
            await audit.seal(store)
        except Conflict as problem:
            return {"audit": problem.message}
    return {}


def _let_in(tx: Tx, header: _Header) -> list[str]:
    """The UPNs of accounts that were not taken over, since another account has their name."""
    tx.put(drafted(header.tenant), unless_exists=True)
    for app in header.apps:
        tx.put(drafted(app), unless_exists=True)
    for consent in header.consents:
        tx.put(drafted(consent))
    skipped = []
    for user in header.users:
        known = fetch(tx, User, user.id)
        if known is not None:
            tx.put(drafted(replace(known, roles={**known.roles, **user.roles})))
        elif tx.find("authUsers", equals(upn=user.upn.lower()), limit=1):
            skipped.append(user.upn)
        else:
            tx.put(drafted(user))
    raise_generation(tx)
    return skipped
