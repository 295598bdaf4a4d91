"""Notifications as a stage of a worker process."""

from bartizan.auth.accounts import Accounts
from bartizan.respond.delivery import Delivery
from bartizan.respond.lines import Times
from bartizan.respond.outbound import Outbound, Policy
from bartizan.respond.standing import Standing
from bartizan.store import Store


async def deliver(store: Store, policy: Policy, times: Times | None = None) -> None:
    """Delivers until cancelled. Any number of processes may run it: one at a time works."""
    standing = Standing(Accounts(store))
    async with Outbound(policy) as outbound:
        await Delivery(store, outbound, standing.tenants, standing.may_read, times=times).run()
