"""What operators see of notifications at the command line: subscriptions, and what could not be delivered."""

from collections.abc import Callable
from typing import Any, TypeVar

import click
import msgspec

from bartizan.auth.desk import Desk, command, tenant_option
from bartizan.respond.outbound import without_query
from bartizan.respond.subscriptions import DEAD_LETTERS, SUBSCRIPTIONS
from bartizan.store import Query, inner

MOST = 1000
F = TypeVar("F", bound=Callable[..., Any])


@click.group()
def subscription() -> None:
    """Subscriptions to change notifications, and what could not be delivered."""


def _top(default: int) -> Callable[[F], F]:
    return click.option(
        "--top", type=click.IntRange(1, MOST), default=default, show_default=True, help="The most to print."
    )


@command(subscription, "list")
@tenant_option
@_top(MOST)
async def subscription_list(desk: Desk, tenant_reference: str | None, top: int) -> Any:
    """List the subscriptions of a tenant, the next to expire first; without query strings and client states."""
    where = await desk.tenant(tenant_reference)
    page = await desk.authority.store.tenant(where.id).page(SUBSCRIPTIONS.name, Query(top=top))
    return [_view(inner(row)) for row in page.rows]


def _view(body: dict[str, Any]) -> dict[str, Any]:
    lifecycle = body.get("lifecycleNotificationUrl")
    shown = ("id", "applicationId", "creatorId", "resource", "changeType", "expirationDateTime")
    return {
        **{name: body[name] for name in shown},
        "endpoint": without_query(body["notificationUrl"]),
        "lifecycleEndpoint": lifecycle and without_query(lifecycle),
    }


@command(subscription, "dead-letters")
@tenant_option
@_top(100)
async def dead_letters(desk: Desk, tenant_reference: str | None, top: int) -> Any:
    """List what was given up, newest first: an entry for each outage of a subscription, kept for 30 days.

    Each says how many notifications were lost, of which objects (the first hundred) and changes, and why.
    """
    where = await desk.tenant(tenant_reference)
    page = await desk.authority.store.tenant(where.id).page(DEAD_LETTERS.name, Query(top=top))
    return [msgspec.json.decode(row.doc) for row in page.rows]
