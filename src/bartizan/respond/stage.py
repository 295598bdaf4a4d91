"""Notifications as a stage of a worker process, and what operators see of them."""

from typing import Any

import msgspec

from bartizan.auth.accounts import Accounts
from bartizan.respond.delivery import Delivery
from bartizan.respond.lines import Times
from bartizan.respond.outbound import Outbound, Policy
from bartizan.respond.standing import Standing
from bartizan.respond.subscriptions import DEAD_LETTERS
from bartizan.store import Query, Store, TenantStore


async def deliver(store: Store, policy: Policy, times: Times | None = None) -> None:
    """Delivers until cancelled. Any number of processes may run it: one at a time works."""
    standing = Standing(Accounts(store))
    async with Outbound(policy) as outbound:
        await Delivery(store, outbound, standing.tenants, standing.may_read, times=times).run()


async def dead_letters(store: TenantStore, *, top: int = 100) -> list[dict[str, Any]]:
    """What could not be delivered in time, newest first: one for each outage of a subscription."""
    page = await store.page(DEAD_LETTERS.name, Query(top=top))
    return [msgspec.json.decode(row.doc) for row in page.rows]
