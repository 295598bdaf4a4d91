"""What operators see and do at the command line: subscriptions, what could not be delivered, and write-backs."""

from collections.abc import Callable
from typing import Any, TypeVar, get_args

import click
import msgspec

from bartizan.auth import audit
from bartizan.auth.audit import OPERATOR
from bartizan.auth.desk import Desk, command, tenant_option
from bartizan.respond import queue
from bartizan.respond.outbound import without_query
from bartizan.respond.queue import WRITE_BACKS, WriteBack
from bartizan.respond.subscriptions import DEAD_LETTERS, SUBSCRIPTIONS
from bartizan.store import Query, Tx, inner

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


@click.group()
def writeback() -> None:
    """Changes on their way to the systems that own what was changed."""


@command(writeback, "list")
@tenant_option
@click.option("--state", type=click.Choice(get_args(queue.State)), help="Only those that stand so.")
@click.option("--connection", help="Only those to this connection.")
@_top(100)
async def writeback_list(
    desk: Desk, tenant_reference: str | None, state: str | None, connection: str | None, top: int
) -> Any:
    """List write-backs, the newest change first: what was changed by whom, how it stands, and why."""
    where = await desk.tenant(tenant_reference)
    query = Query(top=top, filter=queue.narrowed(state=state, connection=connection), version="beta")
    page = await desk.authority.store.tenant(where.id).page(WRITE_BACKS.name, query)
    return [
        {name: value for name, value in msgspec.json.decode(row.wire("beta")).items() if not name.startswith("@")}
        for row in page.rows
    ]


@command(writeback, "retry")
@tenant_option
@click.argument("id")
async def writeback_retry(desk: Desk, tenant_reference: str | None, id: str) -> Any:
    """Try one at once that has failed, is denied or waits; what later changes have said is not said again."""
    return await _did(desk, tenant_reference, id, queue.repeat, "Retry write-back")


@command(writeback, "drop")
@tenant_option
@click.argument("id")
async def writeback_drop(desk: Desk, tenant_reference: str | None, id: str) -> Any:
    """Give one up that has failed, is denied or waits; later changes of the same object go on."""
    return await _did(desk, tenant_reference, id, queue.drop, "Drop write-back")


async def _did(
    desk: Desk, tenant_reference: str | None, id: str, step: Callable[[Tx, str, str], WriteBack], activity: str
) -> Any:
    where = await desk.tenant(tenant_reference)

    def work(tx: Tx) -> WriteBack:
        done = step(tx, id, tx.now)
        target = audit.Target("writeBack", id, name=f"{done.subject} {done.subject_id} to {done.connection}")
        audit.record(tx, actor=OPERATOR, activity=activity, category="Security", targets=[target])
        return done

    done = await desk.authority.store.tenant(where.id).write(work, actor=OPERATOR.actor)
    return {"id": done.id, "state": done.state}
