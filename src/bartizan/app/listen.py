"""The process that listens for syslog: one inbox for each listener, all over one store."""

import asyncio
import contextlib
import os
import signal

import structlog

from bartizan.app.assembly import declared, lake_of, store_of
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
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    store, lake = store_of(settings), lake_of(settings)
    await store.start()
    await lake.start()
    health = Health(store)
    fed = {each.name: each for each in declared() if each.type is not None}
    pipeline = Pipeline(store, lake, collections=fed, arrived=health.arrived)
    try:
        async with contextlib.AsyncExitStack() as stack:
            for text in settings.listeners:
                where = listener(text)
                await _listen(stack, settings, store, pipeline, health, where)
            await stop.wait()
    finally:
        await health.close()
        await lake.close()
        await store.close()


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
