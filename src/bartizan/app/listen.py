"""The process that listens for syslog: one inbox for each listener, all over one store."""

import contextlib
import os

import structlog

from bartizan.app.assembly import fed
from bartizan.app.work import at_work
from bartizan.auth import tls
from bartizan.auth.accounts import Accounts
from bartizan.ingest.health import Arrivals, Health
from bartizan.ingest.listeners import Inbox, Listener, listener, listening
from bartizan.ingest.pipeline import Pipeline, find_source
from bartizan.settings import Settings
from bartizan.store.interface import Store

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    import uvloop

    uvloop.run(_main(settings))


async def _main(settings: Settings) -> None:
    async with at_work(settings) as (store, lake, stop):
        health = Health(store)
        pipeline = Pipeline(store, lake, collections=fed(), arrived=health.arrived)
        try:
            async with contextlib.AsyncExitStack() as stack:
                for text in settings.listeners:
                    await _listen(stack, settings, store, pipeline, health, listener(text))
                await stop.wait()
        finally:
            await health.close()


async def _listen(
    stack: contextlib.AsyncExitStack,
    settings: Settings,
    store: Store,
    pipeline: Pipeline,
    health: Health,
    where: Listener,
) -> None:
    """A listener that cannot listen is logged; the others go on."""
    accounts = Accounts(store)
    tenant = await accounts.first_tenant() if where.tenant is None else await accounts.tenant(where.tenant)
    if tenant is None:
        _log.error("listener.no_tenant", listener=where.label, tenant=where.tenant)
        return
    source = find_source(where.source)

    def lost(count: int, tenant: str = tenant.id) -> None:
        health.note(tenant, where.source, Arrivals(lost=count))

    inbox = Inbox(pipeline, tenant.id, source, where.label, lost=lost)
    try:
        context = tls.server_context(settings) if where.protocol == "tls" else None
        port = await stack.enter_async_context(listening(where, inbox, context))
        _log.info("listener.started", listener=where.label, port=port, source=source.name, pid=os.getpid())
    except OSError as error:
        _log.error("listener.failed", listener=where.label, error=str(error))
