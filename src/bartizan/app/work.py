"""The processes that work on the feed: stages, each under a lease, each started again when it fails. Most run in one
process; correlation has its own, so that what costs most an alert has a processor to itself where there are two.

Source: design of processes in ARCHITECTURE.md.
"""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime

import structlog

from bartizan.app import NICENESS, NICENESS_OF_INCIDENTS, settle
from bartizan.app.assembly import connections_of, fed, hunting_of, lake_of, policy_of, store_of
from bartizan.app.detect import Detecting
from bartizan.app.lake import files
from bartizan.auth.accounts import Accounts
from bartizan.auth.authority import Authority
from bartizan.correlate.stage import CorrelateStage
from bartizan.detect.events import READER as INDICATORS_READER
from bartizan.extend import relations
from bartizan.identity.posture import PostureStage
from bartizan.identity.shards import name_of
from bartizan.identity.stage import IdentityStage
from bartizan.identity.traffic import READER, TrafficStage
from bartizan.ingest.copy import CopyStage
from bartizan.ingest.directory import Directory
from bartizan.ingest.health import Health, watch
from bartizan.ingest.pipeline import Pipeline
from bartizan.ingest.pull import PullStage
from bartizan.ingest.snapshots import SnapshotStage, Tenants
from bartizan.lake import Lake
from bartizan.lake.readers import expected
from bartizan.respond.carry import Carry
from bartizan.respond.lines import Times
from bartizan.respond.stage import deliver
from bartizan.respond.standing import Standing
from bartizan.respond.writeback import Pace, Writeback
from bartizan.settings import Settings
from bartizan.store import LeaseLost, Store

Stage = Callable[[], Awaitable[None]]  # runs until it is cancelled

LEASE_S = 30.0  # how long another process waits before it takes over from one of which it cannot tell whether it lives
RENEW_S = 10.0
STAND_BY_S = 1.0  # between two looks of one that waits, which are reads
PAUSES_S = (0.5, 2.0, 10.0, 30.0)  # before a stage that failed starts again
RETAIN_S = 60.0
KEYS_S = 3_600.0

_log = structlog.get_logger(__name__)


def run(settings: Settings) -> None:
    import uvloop

    uvloop.run(_main(settings))


async def _main(settings: Settings) -> None:
    async with at_work(settings) as (store, lake, stop):
        _stand_back(NICENESS)
        copy = CopyStage(store, lake)
        tenants = Standing(Accounts(store)).tenants
        identity = identity_of(settings, store, tenants)
        for each in (copy, CorrelateStage(store), identity):
            await each.register()
        await expected(lake, [READER, INDICATORS_READER])
        connections, health = connections_of(settings, store), Health(store)
        pipeline = Pipeline(store, lake, collections=fed(), arrived=health.arrived)
        pull = PullStage(store, connections, pipeline, Directory(store, fed(), relations()))
        carry = Carry(store, connections, tenants, fed())
        pace = Pace(limit_s=float(settings.write_back_limit_s))
        writeback = Writeback(store, connections, tenants, pace=pace)
        await writeback.register()
        traffic, hunting = TrafficStage(store, lake), hunting_of(settings, store, lake)
        detecting = Detecting(settings, store, lake, connections, tenants, hunting)
        await detecting.register()
        every = stages(settings, store, lake, copy, identity, traffic, pull, carry, writeback, tenants)
        owner = store.owner()
        tasks = [
            asyncio.create_task(_kept(store, name, owner, stage), name=name)
            for name, stage in {**every, **detecting.stages()}.items()
        ]
        tasks.append(asyncio.create_task(_delivered(settings, store), name="delivery"))
        settle()
        await stop.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await hunting.close()
        await health.close()
        await connections.close()


def correlate(settings: Settings) -> None:
    """The process of correlation. All that it writes follows from what is stored, its place in the feed included: what
    a power cut took it makes again, so that nobody has to wait for its disk."""
    _run_alone(
        settings,
        "correlate",
        lambda store: CorrelateStage(store).run,
        synced=False,
        niceness=NICENESS_OF_INCIDENTS,
    )


def share(settings: Settings, shard: int) -> None:
    """A process that evaluates the risk of one part of the principals; `run` has the first part."""

    def stage(store: Store) -> Stage:
        return identity_of(settings, store, Standing(Accounts(store)).tenants, shard).run

    _run_alone(settings, name_of(shard), stage)


def _run_alone(
    settings: Settings,
    name: str,
    stage: Callable[[Store], Stage],
    *,
    synced: bool = True,
    niceness: int = NICENESS,
) -> None:
    """A process with one stage."""
    import uvloop

    async def main() -> None:
        async with at_work(settings, synced=synced) as (store, _, stop):
            _stand_back(niceness)
            task = asyncio.create_task(_kept(store, name, store.owner(), stage(store)))
            settle()
            await stop.wait()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    uvloop.run(main())


def identity_of(settings: Settings, store: Store, tenants: Tenants, shard: int = 0) -> IdentityStage:
    return IdentityStage(
        store,
        fed(),
        shard=shard,
        shards=settings.identity_shards,
        tenants=tenants,
        on_premises=settings.on_premises_password_ends_risk,
        learns=settings.learn_from_verdicts,
    )


def _stand_back(niceness: int) -> None:
    """Of this thread and those to come. The writer is there already: it holds the store's lock, and goes on as
    before."""
    os.nice(niceness)


@contextlib.asynccontextmanager
async def at_work(settings: Settings, *, synced: bool = True) -> AsyncIterator[tuple[Store, Lake, asyncio.Event]]:
    """Store and lake of a process that answers no requests, open, and what is set when it is told to stop."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, stop.set)
    store, lake = store_of(settings, synced=synced), lake_of(settings)
    await store.start()
    try:
        await lake.start()
        try:
            yield store, lake, stop
        finally:
            await lake.close()
    finally:
        await store.close()


def stages(
    settings: Settings,
    store: Store,
    lake: Lake,
    copy: CopyStage,
    identity: IdentityStage,
    traffic: TrafficStage,
    pull: PullStage,
    carry: Carry,
    writeback: Writeback,
    tenants: Tenants,
) -> Mapping[str, Stage]:
    """What most of the work is done by, by name; a new room's stage is a line here."""
    authority = Authority(settings, store)
    return {
        "retention": lambda: _retain(store),
        "keys": lambda: _keys(authority),
        "copy": copy.run,
        "lake": lambda: files(settings, lake),
        "snapshots": SnapshotStage(store, lake, tenants).run,
        "health": lambda: watch(store),
        "identity": identity.run,
        "traffic": traffic.run,
        "pull": pull.run,
        "actions": carry.run,
        "writeback": writeback.run,
        "posture": PostureStage(store, fed(), changes=settings.posture_limits).run,
    }


async def _delivered(settings: Settings, store: Store) -> None:
    """Delivery takes a lease of its own, a shorter one. The stage's edge, as in `_kept`."""
    while True:
        try:
            await deliver(store, policy_of(settings), Times(horizon_s=float(settings.notification_retry_s)))
        except Exception:
            _log.exception("stage.failed", stage="delivery")
        await asyncio.sleep(PAUSES_S[0])


async def _kept(store: Store, name: str, owner: str, stage: Stage) -> None:
    """Runs a stage while this process holds its lease. The stage's edge: what it raises is logged, and it starts
    again.
    """
    tries = 0
    while True:
        try:
            if not await store.lease(name, owner, seconds=LEASE_S):
                await asyncio.sleep(STAND_BY_S)
                continue
            async with asyncio.TaskGroup() as group:
                group.create_task(_renewed(store, name, owner))
                group.create_task(_run(stage))
        except asyncio.CancelledError:
            await asyncio.shield(store.release(name, owner))
            raise
        except Exception as problem:
            _log.error("stage.failed", stage=name, exc_info=problem)
        pause_s = PAUSES_S[min(tries, len(PAUSES_S) - 1)]
        tries += 1
        await asyncio.sleep(pause_s)


async def _run(stage: Stage) -> None:
    await stage()


async def _renewed(store: Store, name: str, owner: str) -> None:
    while True:
        await asyncio.sleep(RENEW_S)
        if not await store.lease(name, owner, seconds=LEASE_S):
            raise LeaseLost(name)


async def _retain(store: Store) -> None:
    while True:
        removed = await store.retain(datetime.now(UTC))
        if removed:
            _log.info("retention", removed=removed)
        await asyncio.sleep(RETAIN_S)


async def _keys(authority: Authority) -> None:
    while True:
        await authority.keys.upkeep()
        await asyncio.sleep(KEYS_S)
