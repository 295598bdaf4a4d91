"""A lane: what is being done over one connection, several things at once, and the loop that begins more of it.

It looks for what is due when it is woken, when something in it has ended, and now and then; it ends when nothing is
left. Whatever goes wrong in it holds up no other lane.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import TypeVar

import structlog

from bartizan.errors import StorageFull, Timeout, Unavailable
from bartizan.extend.connectors import fault
from bartizan.store.interface import TenantStore, Tx

PASSING = (StorageFull, Unavailable, Timeout)  # of the store

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Lane:
    """Of one stage and one connection."""

    def __init__(self, stage: str, tenant: str, connection: str) -> None:
        self.stage = stage
        self.tenant = tenant
        self.connection = connection
        self.woken = asyncio.Event()
        self.busy: dict[str, asyncio.Task[None]] = {}
        self.failures = 0  # in a row
        self.quiet_until: datetime | None = None

    async def run(
        self, look: Callable[["Lane"], Awaitable[float | None]], *, look_s: float, passing_s: float, fault_s: float
    ) -> None:
        """`look` begins what is due; seconds until something else may be, None where there is nothing else. It is asked
        again after `look_s` at the latest, after `passing_s` where the store was away, and after `fault_s` where it
        failed."""
        try:
            while True:
                self.woken.clear()
                try:
                    await self._reap()
                    next_s = await look(self)
                except PASSING as error:
                    log.warning("lane.waits", stage=self.stage, connection=self.connection, error=error.message)
                    next_s = passing_s
                except Exception as error:  # noqa: BLE001 - the edge of a lane: the others go on
                    log.error("lane.failed", stage=self.stage, connection=self.connection, **fault(error))
                    next_s = fault_s
                if next_s is None and not self.busy and not self.woken.is_set():
                    return
                await self._rest(look_s if next_s is None else min(next_s, look_s))
        finally:
            await self._stop()

    def begin(self, id: str, work: Awaitable[None]) -> None:
        self.busy[id] = asyncio.ensure_future(work)

    def answered(self) -> None:
        self.failures, self.quiet_until = 0, None

    def unanswered(self, now: datetime, wait_s: Callable[[int], float]) -> None:
        """`wait_s` by how many times it has failed before, in a row. What was asked at the same time counts once."""
        if self.quiet_until is None or self.quiet_until <= now:
            self.quiet_until = now + timedelta(seconds=wait_s(self.failures))
            self.failures += 1

    async def _rest(self, seconds: float) -> None:
        """Until it is woken, something has ended, or the time is over."""
        woken = asyncio.create_task(self.woken.wait())
        try:
            await asyncio.wait([woken, *self.busy.values()], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()
            await asyncio.gather(woken, return_exceptions=True)

    async def _reap(self) -> None:
        for id in [id for id, task in self.busy.items() if task.done()]:
            await self.busy.pop(id)

    async def _stop(self) -> None:
        for task in self.busy.values():
            task.cancel()
        await asyncio.gather(*self.busy.values(), return_exceptions=True)


async def kept_trying(here: TenantStore, work: Callable[[Tx], T], *, actor: str, pause_s: float) -> T:
    """Writes; a store that is away for the moment is waited for, since what a system has said must not be forgotten."""
    while True:
        try:
            return await here.write(work, actor=actor)
        except PASSING as error:
            log.warning("stage.waits", stage=actor, error=error.message)
            await asyncio.sleep(pause_s)
