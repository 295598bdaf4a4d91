"""The tenant itself, as clients ask for it to learn where they are or whether they get in: its id, name and domain.

Source: Microsoft Graph, resource organization.
"""

from datetime import UTC, datetime
from typing import Any

from bartizan.api.wire.made import made
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
    orderby="",
    throttle="directory",
    unserved={"PATCH": not_yet("name and domain of a tenant are set at the command line")},
)


async def _told(ctx: Context) -> Stored:
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
    rows = [] if query.skip or query.after is not None else [await _told(ctx)][: query.top]
    return Page(rows, False, (rows[-1].id,) if rows else None, 1 if query.count else None)


@organization.on_get
async def one(ctx: Context, id: str) -> Stored | None:
    return await _told(ctx) if id.lower() == ctx.caller.tenant.lower() else None
