"""The tenant itself, as clients ask for it to learn where they are or whether they get in: its id, name and domain.

Source: Microsoft Graph, resources organization and domain.
"""

from datetime import UTC, datetime
from typing import Any

from bartizan.api.wire.made import made, paged
from bartizan.auth.accounts import Accounts, Tenant
from bartizan.extend import Can, Context, collection, not_yet, resource
from bartizan.model.times import instant
from bartizan.store.interface import Page, Query, Stored

organization = resource(
    "organization",
    "microsoft.graph.organization",
    collection=collection("organization", "microsoft.graph.organization"),
    can=Can.READ,
    read="Organization.Read.All Directory.Read.All Directory.ReadWrite.All",
    filter="",  # there is one
    throttle="directory",
    unserved={"PATCH": not_yet("name and domain of a tenant are set at the command line")},
)


async def told_tenant(ctx: Context) -> Stored:
    """The caller's tenant as an organization."""
    tenant = await Accounts(ctx.engine).get(Tenant, ctx.caller.tenant)
    said: dict[str, Any] = {"tenantType": "AAD"}
    if tenant is not None:
        said["displayName"] = tenant.name
        said["createdDateTime"] = instant(datetime.fromtimestamp(tenant.created, UTC))
        said["verifiedDomains"] = [{"name": tenant.domain, "type": "Managed", "isDefault": True, "isInitial": True}]
    return made(ctx, organization.type, organization.collection.name, ctx.caller.tenant, said)


@organization.on_list
async def every(ctx: Context, query: Query) -> Page:
    """The caller's own, and no other."""
    return paged(query, [await told_tenant(ctx)])


@organization.on_get
async def one(ctx: Context, id: str) -> Stored | None:
    return await told_tenant(ctx) if id.lower() == ctx.caller.tenant.lower() else None


domains = resource(
    "domains",
    "microsoft.graph.domain",
    collection=collection("domains", "microsoft.graph.domain"),
    can=Can.READ,
    read="Domain.Read.All Organization.Read.All Directory.Read.All Directory.ReadWrite.All",
    filter="",  # there is one
    throttle="directory",
    unserved={"PATCH": not_yet("name and domain of a tenant are set at the command line")},
)


async def _domain(ctx: Context) -> Stored | None:
    tenant = await Accounts(ctx.engine).get(Tenant, ctx.caller.tenant)
    if tenant is None:
        return None
    flags = ("isAdminManaged", "isDefault", "isInitial", "isRoot", "isVerified")
    said = {"authenticationType": "Managed", **dict.fromkeys(flags, True)}
    return made(ctx, domains.type, domains.collection.name, tenant.domain, said)


@domains.on_list
async def every_domain(ctx: Context, query: Query) -> Page:
    row = await _domain(ctx)
    return paged(query, [] if row is None else [row])


@domains.on_get
async def one_domain(ctx: Context, id: str) -> Stored | None:
    row = await _domain(ctx)
    return row if row is not None and row.id.lower() == id.lower() else None
