"""Has orders carried out: a lane for each connection, in which a few orders at a time are with their system.

An order is written as `sent` before its system is asked, and what the system said in one transaction with what the
securityAction shows. Whoever dies in between leaves it `sent`: the next worker asks again, with the same key. So an
order is never lost, and a system that knows the key never does it twice.

A system that is away is asked again, less and less often, until the order's time is over; what it has taken is
followed until it says how it ended.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import structlog
from msgspec import Struct
from msgspec.structs import replace

from bartizan.errors import BartizanError, Gone, NotFound
from bartizan.extend.actions import offered
from bartizan.extend.connections import Connection, Connections
from bartizan.extend.connectors import (
    CONNECTORS,
    Away,
    Connector,
    Denied,
    Done,
    Order,
    Rejected,
    backed_off,
    fault,
)
from bartizan.model.times import instant, to_datetime
from bartizan.respond import orders
from bartizan.respond.lane import PASSING, Lane, kept_trying
from bartizan.respond.orders import EVERY_OPEN, ORDERS, Kept, connection_of, open_of
from bartizan.store.interface import Collection, Query, Store, Tx

ACTOR = "actions"
READ_CHANGES = 1_000
SCAN_ROWS = 500
MAX_DETAIL_CHARS = 1_000  # of what a system says
_NOT_TAKEN = (425, 429)  # answers that say that nothing was done

log = structlog.get_logger(__name__)

Tenants = Callable[[], Awaitable[Iterable[str]]]
T = TypeVar("T")


class Pace(Struct, frozen=True):
    """How often and how many; seconds."""

    at_once: int = 4  # orders of one connection that are with its system
    everywhere: int = 64  # of all connections together
    ask_s: float = 60.0  # for which one question to a system may last
    backoff_s: float = 2.0  # after the first attempt without an answer; twice as long after each further one ...
    backoff_max_s: float = 300.0  # ... up to this
    follow_s: float = 3.0  # before a running order is asked about; then more slowly ...
    follow_max_s: float = 60.0  # ... up to this
    look_s: float = 30.0  # a lane looks this often, whatever it was told


class Carry:
    """`run` is the stage; one process at a time, under a lease. `directory` are the sets of the directory, by name."""

    def __init__(
        self,
        store: Store,
        connections: Connections,
        tenants: Tenants,
        directory: Mapping[str, Collection],
        *,
        pace: Pace | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._connections = connections
        self._tenants = tenants
        self._directory = directory
        self.pace = pace or Pace()
        self._clock = clock
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._turns = asyncio.Semaphore(self.pace.everywhere)

    async def run(self) -> None:
        """Until cancelled. What is with a system then stays `sent`."""
        self._lanes.clear()
        async with asyncio.TaskGroup() as group:
            after: int | None = None
            while True:
                try:
                    after = await self._heard(group, after)
                except PASSING as error:  # what is with a system meanwhile stays with it
                    log.warning("stage.waits", stage=ACTOR, error=error.message)
                    await asyncio.sleep(self.pace.backoff_s)

    async def _scan(self, group: asyncio.TaskGroup) -> None:
        """Opens a lane for every connection that has orders; what comes later is told by the feed."""
        for tenant in await self._tenants():
            query = Query(top=SCAN_ROWS, filter=EVERY_OPEN)
            while True:
                page = await self._store.tenant(tenant).page(ORDERS.name, query)
                for connection in {connection_of(row.id) for row in page.rows}:
                    self._wake(group, tenant, connection)
                if not page.more:
                    break
                query = replace(query, after=page.last)

    async def _heard(self, group: asyncio.TaskGroup, after: int | None) -> int:
        """Wakes those who have something to do, by what the feed has told since, at first by what there is."""
        head = await self._store.head()
        if after is None:
            await self._scan(group)
            return head
        try:
            changes = await self._store.changes(after, limit=READ_CHANGES, collections=[ORDERS.name])
        except Gone:  # retention has passed us: the orders themselves say what is to be done
            await self._scan(group)
            return head
        for place in dict.fromkeys((change.tenant, connection_of(change.id)) for change in changes):
            self._wake(group, *place)
        if not changes:
            await self._store.changed()
            return max(after, head)
        return changes[-1].seq

    def _wake(self, group: asyncio.TaskGroup, tenant: str, connection: str) -> None:
        lane = self._lanes.get((tenant, connection))
        if lane is not None:
            lane.woken.set()
            return
        self._lanes[tenant, connection] = lane = Lane(ACTOR, tenant, connection)
        group.create_task(self._work(lane), name=f"actions {tenant} {connection}")

    # ------------------------------------------------------------ one connection

    async def _work(self, lane: Lane) -> None:
        """Ends when the connection has no orders left."""
        try:
            pace = self.pace
            await lane.run(self._look, look_s=pace.look_s, passing_s=pace.backoff_s, fault_s=pace.look_s)
        finally:
            self._lanes.pop((lane.tenant, lane.connection), None)

    async def _look(self, lane: Lane) -> float | None:
        """Begins what is due; seconds until something else is, None where there is nothing else."""
        query = Query(top=self.pace.at_once + len(lane.busy) + 1, filter=open_of(lane.connection))
        page = await self._store.tenant(lane.tenant).page(ORDERS.name, query)
        now = self._clock()
        for row in page.rows:
            order = orders.read(row)
            if order.id in lane.busy:
                continue
            wait_s = (to_datetime(order.due) - now).total_seconds()
            if wait_s > 0:
                return wait_s
            if len(lane.busy) >= self.pace.at_once:
                return self.pace.look_s  # one that ends makes room
            lane.begin(order.id, self._step(lane.tenant, order.id))
        return None

    async def _step(self, tenant: str, id: str) -> None:
        """The edge of the stage, for one order: what a connector raises against its contract ends that order alone."""
        async with self._turns:
            order = await self._claimed(tenant, id)
            if order is None:
                return
            try:
                after = await self._asked(tenant, order)
            except PASSING as error:  # of the store: nobody was asked
                after = self._again(order, error.message, None, arrived=False)
            except BartizanError as error:  # the connection is gone, or its secrets cannot be read
                after = self._failed(order, 424, error.message, unsure=order.state == "running")
            except Exception as problem:  # noqa: BLE001 - the edge of connectors; their text may hold anything
                log.error("actions.connector_failed", connection=order.connection, action=order.name, **fault(problem))
                why = f"the connector failed with {type(problem).__name__}"
                after = self._failed(order, 500, why, unsure=True)
            await self._written(tenant, order, after)

    async def _claimed(self, tenant: str, id: str) -> Kept | None:
        """The order, `sent` or `running`; None where it has ended, or ends now without its system."""
        now = self._clock()

        def work(tx: Tx) -> Kept | None:
            row = tx.get(ORDERS.name, id)
            order = None if row is None else orders.read(row)
            if order is None or not order.open or to_datetime(order.due) > now:
                return None
            if to_datetime(order.until) <= now:
                self._end(tx, self._late(order))
                return None
            if order.state == "running":
                return order
            if order.stop and order.state == "sent":  # cancelled while nobody knew whether it had arrived
                self._end(tx, self._failed(order, 0, _cancelled(order), unsure=True))
                return None
            # One that is `sent` already was with its system when its worker died.
            unsure = order.unsure or order.state == "sent"
            sent = replace(order, state="sent", tries=order.tries + 1, unsure=unsure)
            orders.show(tx, order.action, [sent], instant(now))
            return sent

        return await self._kept_trying(tenant, work)

    async def _asked(self, tenant: str, order: Kept) -> Kept:
        connection, connector = await self._connector(tenant, order)
        try:
            async with asyncio.timeout(self.pace.ask_s):
                return self._after(order, await self._question(connection, connector, order))
        except TimeoutError:
            return self._again(order, f"no answer within {self.pace.ask_s:g} s", None)
        except Away as away:
            return self._again(order, away.message, away.retry_after_s, arrived=away.status not in _NOT_TAKEN)
        except Denied as denied:
            return self._refused(order, denied.status or 403, denied.message)
        except Rejected as rejected:
            return self._refused(order, rejected.status or 400, rejected.message)

    async def _connector(self, tenant: str, order: Kept) -> tuple[Connection, Connector]:
        connection = await self._connections.get(tenant, order.connection)
        kind = CONNECTORS.get(connection.connector)
        may = connection.enabled and (connection.act or order.state == "running")  # what runs is followed all the same
        if not may or kind is None or offered(kind, order.name) is None:
            raise NotFound(f"the connection '{order.connection}' may not act any more")
        return connection, await self._connections.live(tenant, connection)

    async def _question(self, connection: Connection, connector: Connector, order: Kept) -> Done:
        if order.state == "running":
            assert order.handle is not None
            return await (connector.cancel(order.handle) if order.stop else connector.follow(order.handle))
        return await connector.act(
            Order(
                name=order.name,
                target=order.target,
                parameters=order.parameters,
                by=order.by,
                reason=order.reason,
                key=order.id,
            )
        )

    # ------------------------------------------------------------ where an order stands then

    def _after(self, order: Kept, done: Done) -> Kept:
        detail = done.detail[:MAX_DETAIL_CHARS]
        if done.state == "completed":
            return replace(order, state="completed", open=False, due=instant(self._clock()), detail=detail)
        stopping = order.state == "running" and (order.stop or order.stopping)
        if done.state == "failed":
            said = f"{_cancelled(order)}: {detail}" if stopping and detail else detail
            code = 0 if stopping else 502
            return self._failed(order, code, said or "the system says that it has failed", sure=True)
        handle = done.handle or order.handle
        if handle is None:
            return self._failed(order, 502, "the system has taken it and gives no way to follow it", unsure=True)
        said = order.detail if order.state == "running" else "runs in its system"
        return replace(
            order,
            state="running",
            handle=handle,
            looks=order.looks + 1,
            due=self._due(order, self._slower(order.looks)),
            stop=False,
            stopping=stopping,
            unsure=False,
            detail=detail if detail and not stopping else said,
        )

    def _again(self, order: Kept, why: str, retry_after_s: float | None, *, arrived: bool = True) -> Kept:
        """Later. `arrived`: it may have, so that nobody knows whether it was done."""
        why = why[:MAX_DETAIL_CHARS]
        if order.state == "running":
            due = self._due(order, max(self._slower(order.looks), retry_after_s or 0))
            detail = order.detail if order.stop or order.stopping else why
            return replace(order, looks=order.looks + 1, due=due, detail=detail)
        wait_s = backed_off(order.tries - 1, self.pace.backoff_s, self.pace.backoff_max_s)
        due = self._due(order, max(wait_s, retry_after_s or 0))
        return replace(order, state="waiting", due=due, detail=why, unsure=order.unsure or arrived)

    def _refused(self, order: Kept, code: int, why: str) -> Kept:
        if order.state == "running" and order.stop:  # it cannot be cancelled, so it goes on
            said = f"not cancelled: {why}"[:MAX_DETAIL_CHARS]
            return replace(
                order, stop=False, looks=order.looks + 1, due=self._due(order, self.pace.follow_s), detail=said
            )
        return self._failed(order, code, why, unsure=order.state == "running")

    def _failed(self, order: Kept, code: int, why: str, *, unsure: bool = False, sure: bool = False) -> Kept:
        """`unsure`: it may have been done all the same, as after an attempt without an answer; unless the system itself
        says (`sure`) that it was not."""
        why = why[:MAX_DETAIL_CHARS]
        said = f"{why}; it may have been carried out" if unsure or (order.unsure and not sure) else why
        return replace(order, state="failed", open=False, due=instant(self._clock()), detail=said, code=code)

    def _late(self, order: Kept) -> Kept:
        """Its time is over."""
        if order.state == "held":
            return self._failed(order, 504, "not approved in time")
        said = f"not done in time: {order.detail}" if order.detail else "not done in time"
        return self._failed(order, 504, said, unsure=order.state in ("sent", "running"))

    def _slower(self, looks: int) -> float:
        return min(self.pace.follow_max_s, self.pace.follow_s * 1.5 ** min(looks, 20))

    def _due(self, order: Kept, seconds: float) -> str:
        """Then, or when the order's time is over."""
        return min(instant(self._clock() + timedelta(seconds=seconds)), order.until)

    # ------------------------------------------------------------ writing

    def _end(self, tx: Tx, order: Kept) -> None:
        orders.show(tx, order.action, [order], instant(self._clock()))
        orders.effect(tx, order, self._directory)
        orders.record(tx, order)

    async def _written(self, tenant: str, before: Kept, after: Kept) -> None:
        """What came of asking; somebody may have cancelled meanwhile, and another process may have been at work."""

        def work(tx: Tx) -> None:
            row = tx.get(ORDERS.name, before.id)
            known = None if row is None else orders.read(row)
            if known is None or not known.open:
                return
            if after.ended:
                self._end(tx, after)
                return
            if (known.state, known.tries, known.looks) != (before.state, before.tries, before.looks):
                return
            cancelled = known.stop and not before.stop
            if cancelled and after.state == "waiting":
                said = f"{_cancelled(known)} after an attempt without an answer"
                self._end(tx, self._failed(after, 0, said, unsure=True))
            elif cancelled:
                still = replace(after, stop=True, due=known.due, detail=known.detail)
                orders.show(tx, after.action, [still], instant(self._clock()))
            elif after.state == known.state and after.detail == known.detail:
                orders.put(tx, after)  # nothing new to show
            else:
                orders.show(tx, after.action, [after], instant(self._clock()))

        await self._kept_trying(tenant, work)

    async def _kept_trying(self, tenant: str, work: Callable[[Tx], T]) -> T:
        return await kept_trying(self._store.tenant(tenant), work, actor=ACTOR, pause_s=self.pace.backoff_s)


def _cancelled(order: Kept) -> str:
    """By whom, as `dispatch` has written it."""
    return order.detail.partition(";")[0]
