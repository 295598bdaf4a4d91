"""Subscriptions to change notifications: declared here, carried out by `respond`.

Source: Microsoft Graph, resource subscription.
"""

from typing import Any

from bartizan.extend import Access, Answer, Can, Context, never, not_yet, resource, unserved
from bartizan.odata.tree import Expr
from bartizan.respond.subscriptions import SUBSCRIPTIONS, Subscriptions
from bartizan.respond.watched import WATCHABLE
from bartizan.store.interface import Stored

# Whoever may read something that can be watched; the right to what a subscription watches is checked at each call.
_SCOPES = tuple(dict.fromkeys(scope for each in WATCHABLE for scope in each.read.application))
_ACCESS = Access(_SCOPES, _SCOPES, "SecurityReader")


def _own(ctx: Context) -> Expr:
    return ctx.part(Subscriptions).rows(ctx)


subscriptions = resource(
    "subscriptions",
    "microsoft.graph.subscription",
    collection=SUBSCRIPTIONS,
    can=Can.READ | Can.CREATE | Can.PATCH | Can.DELETE,
    read=_ACCESS,
    write=_ACCESS,
    create=_ACCESS,
    delete=_ACCESS,
    patch="expirationDateTime notificationUrl clientState changeType resource lifecycleNotificationUrl",
    required="changeType notificationUrl resource expirationDateTime",
    rows=_own,
    throttle="subscriptions",
)


@subscriptions.on_create
async def create(ctx: Context, given: list[dict[str, Any]]) -> list[Stored]:
    return await ctx.part(Subscriptions).create(ctx, given)


@subscriptions.on_patch
async def renew(ctx: Context, id: str, given: dict[str, Any], if_match: str | None) -> Stored:
    return await ctx.part(Subscriptions).renew(ctx, id, given, if_match)


@subscriptions.on_delete
async def remove(ctx: Context, id: str, if_match: str | None) -> bool:
    return await ctx.part(Subscriptions).remove(ctx, id, if_match)


@subscriptions.action("reauthorize", parameters={}, access=_ACCESS)
async def reauthorize(ctx: Context, id: str | None, given: Any) -> Answer:
    return await ctx.part(Subscriptions).reauthorize(ctx, id, given)


unserved("subscriptions/getVapidPublicKey", not_yet("notifications go to https endpoints; web push is not served"))
unserved("subscriptions", never("a subscription is created by POST"), verbs="PUT PATCH DELETE")
