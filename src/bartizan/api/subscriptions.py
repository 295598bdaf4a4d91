"""Subscriptions to change notifications: declared here, carried out by `respond`.

Source: Microsoft Graph, resource subscription.
"""

from bartizan.auth.caller import Access
from bartizan.extend import Can, never, not_yet, resource, unserved
from bartizan.respond.subscriptions import SUBSCRIPTIONS, Subscriptions
from bartizan.respond.watched import WATCHABLE

# Whoever may read something that can be watched; the right to what a subscription watches is checked at each call.
_SCOPES = tuple(dict.fromkeys(scope for each in WATCHABLE for scope in each.read.application))
_ACCESS = Access(_SCOPES, _SCOPES, "SecurityReader")

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
    throttle="subscriptions",
)

unserved("subscriptions/getVapidPublicKey", not_yet("notifications go to https endpoints; web push is not served"))
unserved("subscriptions/getVapidPublicKey()", not_yet("notifications go to https endpoints; web push is not served"))
unserved("subscriptions", never("a subscription is created by POST"), verbs="PUT PATCH DELETE")


def carried_out_by(engine: Subscriptions) -> None:
    """Called once, when the program is assembled: the engine knows which endpoints the operator allows."""
    subscriptions.rows = engine.rows
    subscriptions.on_create(engine.create)
    subscriptions.on_patch(engine.renew)
    subscriptions.on_delete(engine.remove)
    subscriptions.action("reauthorize", parameters={}, access=_ACCESS)(engine.reauthorize)
