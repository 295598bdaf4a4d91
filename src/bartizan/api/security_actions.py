"""Actions against a threat. Containment never lies: what nobody performs goes to Failed at once and says so.

Beside what Graph has there are `approve`, `reject` and `undo`, and what an action shows of each target.

Source: Microsoft Graph beta, resource securityAction.
"""

from typing import Any

from bartizan.auth.caller import Access
from bartizan.extend import Answer, Can, Context, resource
from bartizan.respond.dispatch import Dispatch
from bartizan.respond.orders import SECURITY_ACTIONS
from bartizan.store.interface import Stored

# Whoever may order is not thereby one who may approve: an application needs the permission, a person the role.
_APPROVE = Access(
    ("Bartizan.Action.Approve.All",),
    ("Bartizan.Action.Approve.All", "SecurityActions.ReadWrite.All"),
    "SecurityAdministrator",
)

actions = resource(
    "security/securityActions",
    "microsoft.graph.securityAction",
    collection=SECURITY_ACTIONS,
    can=Can.READ | Can.CREATE,
    read="SecurityActions.Read.All",
    write="SecurityActions.ReadWrite.All",
    create="SecurityActions.ReadWrite.All",
    required="parameters",
    versions=("beta",),
    throttle="securityAction",
)


@actions.on_create
async def create(ctx: Context, given: list[dict[str, Any]]) -> list[Stored]:
    return await ctx.part(Dispatch).create(ctx, given)


@actions.action("cancelSecurityAction", parameters={})
async def cancel(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """200 without a body. What has ended stays as it ended."""
    await ctx.part(Dispatch).cancel(ctx, id or "")
    return Answer(200, b"")


@actions.action("approve", parameters={}, access=_APPROVE)
async def approve(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    await ctx.part(Dispatch).approve(ctx, id or "")
    return Answer(204)


@actions.action("reject", parameters={"reason": "Edm.String"}, access=_APPROVE)
async def reject(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    await ctx.part(Dispatch).reject(ctx, id or "", given["reason"])
    return Answer(204)


@actions.action("undo", parameters={"actionReason": "Edm.String"}, returns="microsoft.graph.securityAction")
async def undo(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """201 with the action that takes this one back."""
    return Answer(201, await ctx.part(Dispatch).undo(ctx, id or "", given["actionReason"]))
