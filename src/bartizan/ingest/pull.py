"""The stage that pulls: every stream of every enabled connection of every tenant, each behind a cursor of its own.

A page's records go the way of all records (`ingest.pipeline`), its objects to the directory; when all of it is durable
the cursor moves, in one write with the state of the stream. After a crash the last page comes again, and changes
nothing. A stream that fails waits longer each time and holds up no other: it has a few turns of its own.

Source: design of connections in ARCHITECTURE.md; RFC 9110, section 10.2.3 (Retry-After).
"""

import asyncio
import contextlib
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import groupby
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from bartizan.auth.accounts import Accounts, Tenant
from bartizan.errors import BadRequest, Gone, NotFound, StorageFull, Timeout, TooLarge, Unavailable
from bartizan.extend.connections import CONNECTION_STREAMS, CONNECTIONS, Connection, Connections, cursor_place, holds
from bartizan.extend.connectors import (
    Away,
    Batch,
    ConnectorError,
    Denied,
    Pulled,
    Rejected,
    backed_off,
    fault,
)
from bartizan.extend.ownership import note_pulled
from bartizan.ingest.directory import Directory, Place, Refused
from bartizan.ingest.health import counted, is_silent, own, tell
from bartizan.ingest.pipeline import Pipeline, find_source
from bartizan.model.alert import Alert
from bartizan.model.times import instant, to_datetime
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Store, Tx

ACTOR = "ingest.pull"
TURNS = 64  # pages that are fetched and stored at the same time
TENANT_TURNS = 8
DOUBTFUL_TURNS = 3  # of a tenant's: for streams whose last look failed
MAX_CURSOR_CHARS = 65_536
MAX_ERROR_CHARS = 1_000
CHANGES = 1_000  # of connections, looked at together
_PASSING = (Unavailable, StorageFull, Timeout)
_JITTER = 0.1  # share of a wait by which it is longer or shorter, so that streams do not march in step

# What the state of a stream knows and does not show.
_ORIGIN, _VERSION, _TRIES = "@bartizan.origin", "@bartizan.version", "@bartizan.tries"
_FAILING, _TOLD, _SILENT = "@bartizan.failingSince", "@bartizan.toldOf", "@bartizan.silentSince"

_log = structlog.get_logger(__name__)


class Times(Struct, frozen=True):
    """In seconds."""

    look: float = 1.0  # least time between two looks for changed connections
    all: float = 60.0  # between two looks at every connection: tenants come and go
    least: float = 1.0  # between two looks at a stream, whatever it says
    page: float = 120.0  # to get one page
    first: float = 5.0  # wait after the first failure; doubled up to ...
    most: float = 900.0
    slow: float = 900.0  # after a refusal, doubled up to ...
    slowest: float = 3_600.0  # ... which is also the most that a system may ask for
    patience: float = 900.0  # of failures before an alert tells of them


class _Ended(Exception):
    """The connection is not what it was when this look began."""


class _Failure(Struct, frozen=True):
    """How a look failed."""

    state: str
    message: str
    wait: float


class PullStage:
    """One at a time, under a lease; a second one does no harm."""

    def __init__(
        self,
        store: Store,
        connections: Connections,
        pipeline: Pipeline,
        directory: Directory,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        times: Times | None = None,
    ) -> None:
        self._store = store
        self._connections = connections
        self._pipeline = pipeline
        self._directory = directory
        self._clock = clock
        self._times = times or Times()
        self._tasks: dict[tuple[str, str, str], tuple[tuple[str, int], asyncio.Task[None]]] = {}
        self._turns = asyncio.Semaphore(TURNS)
        self._tenant_turns: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(TENANT_TURNS))
        self._doubtful: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(DOUBTFUL_TURNS))

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                try:
                    await self._watch()
                except _PASSING as error:
                    _log.warning("stage.waits", stage="pull", error=error.message)
                    await asyncio.sleep(self._times.look)
        finally:
            await self._stop(list(self._tasks))

    # ------------------------------------------------------------ which connections there are

    async def _watch(self) -> None:
        """Looks at every connection, then follows those that change, for a time."""
        after = await self._store.head()
        tenants = {each.id for each in await Accounts(self._store).every(Tenant) if not each.disabled}
        await self._stop([key for key in self._tasks if key[0] not in tenants])
        for tenant in tenants:
            await self._arrange(tenant, await self._connections.every(tenant))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._times.all):
                while True:
                    await self._store.changed()
                    await asyncio.sleep(self._times.look)
                    head = await self._store.head()
                    try:
                        changes = await self._store.changes(after, limit=CHANGES, collections=[CONNECTIONS.name])
                    except Gone:
                        return
                    changed = {change.tenant for change in changes}
                    if changed - tenants:  # a new one, or one that is disabled
                        return
                    for tenant in changed:
                        await self._arrange(tenant, await self._connections.every(tenant))
                    after = changes[-1].seq if len(changes) == CHANGES else max(head, after)

    async def _arrange(self, tenant: str, connections: Sequence[Connection]) -> None:
        """One task for each stream of the tenant's enabled connections; those of older versions end."""
        wanted = {(tenant, each.id, name): each for each in connections if each.enabled for name in each.streams}
        over = [
            key
            for key, (version, task) in self._tasks.items()
            if key[0] == tenant and (key not in wanted or _version(wanted[key]) != version or task.done())
        ]
        await self._stop(over)
        here = {each.id: each for each in connections}
        for key in over:
            if key not in wanted:
                await self._store.tenant(tenant).write(partial(_rest, here=here.get(key[1]), key=key), actor=ACTOR)
        for id in {key[1] for key in over} - here.keys():
            await self._connections.release(tenant, id)
        for key, connection in wanted.items():
            if key not in self._tasks:
                task = asyncio.create_task(self._keep(tenant, connection, key[2]), name="/".join(key))
                self._tasks[key] = (_version(connection), task)

    async def _stop(self, keys: Sequence[tuple[str, str, str]]) -> None:
        tasks = [self._tasks.pop(key)[1] for key in keys]
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):  # of the store: connectors' never come here
                _log.error("pull.stream_ended", exc_info=outcome)

    # ------------------------------------------------------------ one stream

    async def _keep(self, tenant: str, connection: Connection, stream: str) -> None:
        """Until it is cancelled, or the connection has changed."""
        wait, tries, begun = 0.0, 0, False
        while True:
            await asyncio.sleep(wait)
            try:
                if not begun:
                    wait, tries = await self._resumed(tenant, connection, stream)
                    begun = True
                    continue
                asked = self._clock()
                failure = await self._look(tenant, connection, stream, tries)
                tries = 0 if failure is None else tries + 1
                wait = await self._pause(tenant, connection, stream) if failure is None else failure.wait
                work = partial(
                    self._ended, connection=connection, stream=stream, asked=asked, failure=failure, wait_s=wait
                )
                await self._store.tenant(tenant).write(work, actor=ACTOR)
            except _Ended:
                return  # a new task begins when the change has been seen
            except _PASSING as error:
                _log.warning("stage.waits", stage="pull", connection=connection.id, stream=stream, error=error.message)
                wait = backed_off(tries, self._times.first, self._times.most)
                tries += 1

    async def _resumed(self, tenant: str, connection: Connection, stream: str) -> tuple[float, int]:
        """How long to wait, and failures so far, where another process had begun: a system that asked for patience gets
        it."""
        row = await self._store.tenant(tenant).get(CONNECTION_STREAMS.name, stream_id(connection.id, stream))
        state = {} if row is None else inner(row)
        if not _same(state, connection):
            work = partial(self._planned, connection=connection, stream=stream)
            await self._store.tenant(tenant).write(work, actor=ACTOR)
            return 0.0, 0
        if not state.get("nextPullDateTime"):
            return 0.0, 0
        until = to_datetime(str(state["nextPullDateTime"])) - self._clock()
        return min(max(until.total_seconds(), 0.0), self._times.slowest), int(state.get(_TRIES) or 0)

    async def _look(self, tenant: str, connection: Connection, stream: str, tries: int) -> _Failure | None:
        """Reads everything there is. The edge of connectors: what they raise becomes the state of the stream."""
        try:
            await self._read(tenant, connection, stream, doubtful=tries > 0)
        except Denied as error:
            return _Failure("denied", error.message, backed_off(tries, self._times.slow, self._times.slowest))
        except Away as error:
            wait = backed_off(tries, self._times.first, self._times.most)
            asked = min(error.retry_after_s or 0.0, self._times.slowest)
            return _Failure("failing", error.message, max(wait, asked * _about(1, 1 + _JITTER)))
        except (ConnectorError, BadRequest, NotFound, TooLarge) as error:  # or settings, secrets, a source that is not
            return _Failure("failing", error.message, backed_off(tries, self._times.slow, self._times.slowest))
        except (_Ended, *_PASSING):
            raise
        except Exception as error:  # noqa: BLE001 - its text may hold anything, so the log gets the places alone
            _log.error("pull.failed", tenant=tenant, connection=connection.id, stream=stream, **fault(error))
            message = f"the connector {connection.connector} failed with {type(error).__name__}; the log says where"
            return _Failure("failing", message, backed_off(tries, self._times.first, self._times.most))
        return None

    async def _read(self, tenant: str, connection: Connection, stream: str, *, doubtful: bool) -> None:
        async with self._turn(tenant, doubtful):
            connector = await self._connections.live(tenant, connection)
            place = await self._place(tenant, connection, stream)
        streams = connector.streams_of(connector.set)
        if stream not in streams:  # of an older version of the program
            raise Rejected(f"{connection.connector} has no stream '{stream}'; it has: {', '.join(streams)}")
        caught_up = place.cursor is not None
        pages = connector.pull(stream, place.cursor)
        try:
            while True:
                async with self._turn(tenant, doubtful):
                    batch = await self._page(pages, connection, stream)
                    if batch is None:
                        return
                    place = await self._take(tenant, connection, stream, batch, place, caught_up=caught_up)
        finally:
            if hasattr(pages, "aclose"):
                await pages.aclose()

    async def _page(self, pages: AsyncIterator[Batch], connection: Connection, stream: str) -> Batch | None:
        try:
            async with asyncio.timeout(self._times.page):
                batch = await anext(pages, None)
        except TimeoutError:
            raise Away(f"{connection.connector}: no page of {stream} within {self._times.page:g} s") from None
        if batch is not None and len(batch.cursor) > MAX_CURSOR_CHARS:
            raise Rejected(f"{connection.connector}: a cursor of {stream} has more than {MAX_CURSOR_CHARS} characters")
        return batch

    async def _place(self, tenant: str, connection: Connection, stream: str) -> Place:
        kept = await self._store.tenant(tenant).value(cursor_place(connection.id, stream))
        return Place() if kept is None else msgspec.json.decode(kept, type=Place)

    async def _take(
        self, tenant: str, connection: Connection, stream: str, batch: Batch, place: Place, *, caught_up: bool
    ) -> Place:
        """All of a page, then the cursor behind it."""
        now, refused = Place(batch.cursor, place.round, place.since), Refused()
        if batch.objects or batch.edges or batch.cut or batch.gone or batch.whole:
            now, refused = await self._directory.take(
                tenant, connection.origin, stream, batch, place, actor=connection.actor
            )
        for name, group in groupby(batch.records, key=_source):
            some = list(group)
            await self._pipeline.take(
                tenant,
                find_source(name, self._pipeline.sources),
                [one.raw for one in some],
                actor=connection.actor,
                said=[one.said for one in some],
                also=partial(_noted, connection),
            )
        if refused.objects:
            _log.warning("pull.refused", tenant=tenant, connection=connection.id, stream=stream, error=str(refused))
        work = partial(
            self._moved, connection=connection, stream=stream, place=now, batch=batch, refused=refused, usual=caught_up
        )
        await self._store.tenant(tenant).write(work, actor=ACTOR)
        return now

    @contextlib.asynccontextmanager
    async def _turn(self, tenant: str, doubtful: bool) -> AsyncIterator[None]:
        """For one page: in between, others have theirs."""
        async with contextlib.AsyncExitStack() as held:
            if doubtful:
                await held.enter_async_context(self._doubtful[tenant])
            await held.enter_async_context(self._tenant_turns[tenant])
            await held.enter_async_context(self._turns)
            yield

    async def _pause(self, tenant: str, connection: Connection, stream: str) -> float:
        connector = await self._connections.live(tenant, connection)
        every_s = connector.streams_of(connector.set)[stream].every_s
        return max(every_s, self._times.least) * _about(1 - _JITTER, 1 + _JITTER)

    # ------------------------------------------------------------ its state

    def _planned(self, tx: Tx, connection: Connection, stream: str) -> None:
        """A stream that is new, or whose connection has changed, is there to be seen before its first look ends."""
        state = {**_begun(tx, connection, stream), "nextPullDateTime": instant(self._clock()), _TRIES: 0}
        tx.put(draft(CONNECTION_STREAMS, state, stream_id(connection.id, stream)))

    def _moved(
        self,
        tx: Tx,
        connection: Connection,
        stream: str,
        place: Place,
        batch: Batch,
        refused: Refused,
        usual: bool,
    ) -> None:
        """The cursor, and what the page held. Records of a first look, which are many, say nothing of what is usual."""
        state = _begun(tx, connection, stream)
        now = self._clock()
        records, objects = len(batch.records), len(batch.objects)
        if records:
            if state.get("silent"):
                tell(tx, _silence(connection, stream, str(state[_SILENT]), tx.now, over=True))
            state["silent"] = False
            state.setdefault("firstReceivedDateTime", instant(now))
            state["lastReceivedDateTime"] = instant(now)
        counted(state, records if usual else 0, now)
        state |= {
            "state": "running",
            "recordsPulled": int(state.get("recordsPulled") or 0) + records,
            "objectsPulled": int(state.get("objectsPulled") or 0) + objects,
            "nextPullDateTime": None,
        }
        if refused.objects:
            state |= {
                "objectsRefused": int(state.get("objectsRefused") or 0) + refused.objects,
                "lastErrorDateTime": instant(now),
                "lastError": str(refused)[:MAX_ERROR_CHARS],
            }
        tx.set_value(cursor_place(connection.id, stream), msgspec.json.encode(place))
        tx.put(draft(CONNECTION_STREAMS, state, stream_id(connection.id, stream)))

    def _ended(
        self, tx: Tx, connection: Connection, stream: str, asked: datetime, failure: _Failure | None, wait_s: float
    ) -> None:
        """How a look that began when it was `asked` ended; alerts say what an operator should know of, and when it is
        over. Of silence it knows up to its beginning: what came since then is the next look's to find."""
        state = _begun(tx, connection, stream)
        now = self._clock()
        at = instant(now)
        state["nextPullDateTime"] = instant(now + timedelta(seconds=wait_s))
        if failure is None:
            if state.get(_TOLD):
                tell(tx, _trouble(connection, stream, state, tx.now, over=True))
            state |= {"state": "waiting", "lastSuccessDateTime": at, _TRIES: 0, _FAILING: None, _TOLD: None}
            counted(state, 0, now)
            if not state.get("silent") and is_silent(state, asked):
                state |= {"silent": True, _SILENT: state["lastReceivedDateTime"]}
                tell(tx, _silence(connection, stream, str(state[_SILENT]), tx.now, over=False))
        else:
            error = failure.message[:MAX_ERROR_CHARS]
            state |= {"state": failure.state, "lastErrorDateTime": at, "lastError": error}
            state[_TRIES] = int(state.get(_TRIES) or 0) + 1
            since = state[_FAILING] = state.get(_FAILING) or at
            lasting = now - to_datetime(str(since)) >= timedelta(seconds=self._times.patience)
            if not state.get(_TOLD) and (lasting or failure.state == "denied"):
                state[_TOLD] = since
                tell(tx, _trouble(connection, stream, state, tx.now, over=False))
        tx.put(draft(CONNECTION_STREAMS, state, stream_id(connection.id, stream)))


def _about(least: float, most: float) -> float:
    return random.uniform(least, most)  # noqa: S311 - only so that streams do not march in step


def stream_id(connection: str, stream: str) -> str:
    return f"{connection}:{stream}"


def _version(connection: Connection) -> tuple[str, int]:
    return connection.created_date_time, connection.version


def _source(one: Pulled) -> str:
    return one.source


def _noted(connection: Connection, tx: Tx, alerts: Sequence[str]) -> None:
    note_pulled(tx, connection, alerts)


def _same(state: dict[str, Any], connection: Connection) -> bool:
    return (state.get(_ORIGIN), state.get(_VERSION)) == (connection.origin, connection.version)


def _begun(tx: Tx, connection: Connection, stream: str) -> dict[str, Any]:
    """The state of a stream, to be changed. `_Ended` where the connection is not what it was."""
    if not holds(tx, connection, stream):
        raise _Ended
    row = tx.get(CONNECTION_STREAMS.name, stream_id(connection.id, stream))
    state = {} if row is None else inner(row)
    if state.get(_ORIGIN) != connection.origin:
        state = {"recordsPulled": 0, "objectsPulled": 0, "objectsRefused": 0, "silent": False, "state": "waiting"}
    named = {"connection": connection.id, "stream": stream}
    return {**state, **named, _ORIGIN: connection.origin, _VERSION: connection.version}


def _rest(tx: Tx, here: Connection | None, key: tuple[str, str, str]) -> None:
    """A stream that is no longer pulled: its state stays while its connection is only off, and troubles nobody."""
    id = stream_id(key[1], key[2])
    row = tx.get(CONNECTION_STREAMS.name, id)
    if row is None:
        return
    if here is None or key[2] not in here.streams:
        tx.delete(CONNECTION_STREAMS.name, id)
        return
    state = {**inner(row), "nextPullDateTime": None}
    if state.get(_TOLD):
        tell(tx, _trouble(here, key[2], state, tx.now, over=True))
    tx.put(draft(CONNECTION_STREAMS, {**state, _TOLD: None, _FAILING: None}, id))


# ---------------------------------------------------------------- alerts of this server's own


def _trouble(connection: Connection, stream: str, state: dict[str, Any], now: str, *, over: bool) -> Alert:
    since = str(state[_TOLD])
    denied = state.get("state") == "denied"
    return own(
        "failing",
        f"{connection.id}/{stream}",
        since,
        about="connection",
        title=f"Connection {connection.id} cannot be pulled",
        description=f"Stream {stream} of {connection.connector} fails since {since}: {state.get('lastError')}",
        category="DefenseEvasion",
        categories=["DefenseEvasion"],
        first_activity=since,
        last_activity=now,
        status="resolved" if over else "new",
        source_updated=now,
        recommended_actions="Set credentials that suffice: bartizan connection rotate."
        if denied
        else "See whether the system answers: bartizan connection check.",
    )


def _silence(connection: Connection, stream: str, since: str, now: str, *, over: bool) -> Alert:
    return own(
        "silent",
        f"{connection.id}/{stream}",
        since,
        about="connection",
        title=f"Connection {connection.id} has fallen silent",
        description=f"Stream {stream} of {connection.connector} answers, and has held nothing new since {since}, "
        "against what is usual at these hours.",
        category="DefenseEvasion",
        categories=["DefenseEvasion"],
        first_activity=since,
        last_activity=now,
        status="resolved" if over else "new",
        source_updated=now,
        recommended_actions="See whether the system still records; an attacker may have turned that off.",
    )
