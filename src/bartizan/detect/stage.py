"""Rules as a stage: each is run when it is due, and what it has found, what it has seen and its position are written in
one transaction.

A run reads first and writes last, and its write counts only where no other run of the rule has ended meanwhile; so
after a crash, or where two workers run a rule at once, every window is looked at and nothing is raised twice.

Source: Microsoft Defender XDR, "Create and manage custom detections rules".
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import msgspec
import structlog
from msgspec import Struct

from bartizan.auth import audit
from bartizan.detect import results, seen
from bartizan.detect.orders import Ordering, Orders, kept
from bartizan.detect.rule import RULES, RUNS, Runs, check_columns, query_of, runs_of
from bartizan.detect.scheduled import back, every, overlap, scheduled_of
from bartizan.detect.words import CONTINUOUS, MAX_LOOKBACK
from bartizan.errors import BartizanError, Conflict, StorageFull, Timeout, TooLarge, TooManyRequests, Unavailable
from bartizan.model.faces import provider_faces
from bartizan.model.times import instant, to_datetime
from bartizan.odata.tree import And, Compare, Expr, Literal, Order, Path
from bartizan.store.alerts import Prepared, prepare, store_alerts
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Draft, Query, Store, Tx

ACTOR = "detect.rules"
MAX_ROWS = 10_000  # of one run
FAILURES = 5  # in a row, then a rule is disabled
FLOODS = 3  # runs in a row with more groups than MAX_ALERTS, then a rule is disabled
AGAIN = timedelta(seconds=60)  # after what passes: hunting is away, too many hunts
LOOK_S = 2.0  # between two looks at what is due
DUE = 100  # rules of a tenant that one look takes
PASSING = (TooManyRequests, Unavailable, StorageFull, Conflict)
MAX_REASON_CHARS = 1_000

log = structlog.get_logger(__name__)

Tenants = Callable[[], Awaitable[Iterable[str]]]


class Head(Protocol):
    @property
    def name(self) -> str: ...


class Table(Protocol):
    """Columns, and rows with values as JSON has them, in that order."""

    @property
    def schema(self) -> Sequence[Head]: ...

    @property
    def results(self) -> Sequence[Sequence[Any]]: ...


class Queries(Protocol):
    """What runs a tenant's query over what was seen from `since` to `until`, as of `now`.

    BartizanError where it fails; one with a `phase` other than `run` says that the query itself is wrong.
    """

    async def table(
        self, tenant: str, query: str, now: datetime, *, since: datetime | None = None, until: datetime | None = None
    ) -> Table: ...


def columns_by(queries: Queries, clock: Callable[[], datetime]) -> Callable[[str, str], Awaitable[list[str]]]:
    """For `QueryCheck`: the columns of a query, which is run over an empty span."""

    async def columns(tenant: str, query: str) -> list[str]:
        now = clock()
        table = await queries.table(tenant, query, now, since=now, until=now)
        return [head.name for head in table.schema]

    return columns


class Outcome(Struct, kw_only=True):
    """What one run has come to, ready to be written."""

    status: str = "completed"
    code: str | None = None
    reason: str | None = None
    alerts: Sequence[Prepared] = ()
    orders: Sequence[Draft] = ()
    seen: bytes | None = None  # None: as it was
    flood: bool = False
    passing: bool = False  # it is tried again soon, and counts as no failure
    fatal: bool = False  # the rule cannot run as it is

    @property
    def good(self) -> bool:
        return self.seen is not None


class RuleStage:
    """`run` is the stage: one process at a time, under a lease."""

    def __init__(
        self,
        store: Store,
        tenants: Tenants,
        queries: Queries,
        ordering: Ordering,
        *,
        at_once: int = 2,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._tenants = tenants
        self._queries = queries
        self._orders = Orders(store, ordering, clock)
        self._clock = clock
        self._turns = asyncio.Semaphore(at_once)
        self._busy: dict[str, asyncio.Task[int]] = {}

    async def run(self) -> None:
        """Until cancelled. A tenant whose rules take long holds up no other."""
        async with asyncio.TaskGroup() as group:
            while True:
                for tenant in await self._tenants():
                    task = self._busy.get(tenant)
                    if task is None or task.done():
                        self._busy[tenant] = group.create_task(self._patiently(tenant))
                await asyncio.sleep(LOOK_S)

    async def _patiently(self, tenant: str) -> int:
        try:
            return await self.round(tenant)
        except PASSING as error:
            log.warning("stage.waits", stage=ACTOR, tenant=tenant, error=error.message)
            return 0

    async def round(self, tenant: str) -> int:
        """Runs what is due of one tenant, and orders its actions; how many runs have ended."""
        done = 0
        for id in await self._due(tenant):
            async with self._turns:
                done += await self.run_rule(tenant, id)
        await self._orders.round(tenant)
        return done

    async def _due(self, tenant: str) -> list[str]:
        now = instant(self._clock())
        path = Path(("schedule", "nextRunDateTime"), kind="instant")
        enabled: Expr = Compare("eq", Path(("isEnabled",), kind="bool"), Literal(True, "bool"))
        due = And((enabled, Compare("le", path, Literal(now, "instant"))))
        query = Query(top=DUE, filter=due, order=(Order(path, descending=False),), version="beta")
        return [row.id for row in (await self._store.tenant(tenant).page(RULES.name, query)).rows]

    async def run_rule(self, tenant: str, id: str) -> bool:
        """One run, where it is due. False where it is not, or where another run has ended first."""
        row = await self._store.tenant(tenant).get(RULES.name, id)
        rule = {} if row is None else inner(row)
        now = self._clock()
        due = (rule.get("schedule") or {}).get("nextRunDateTime")
        if not rule.get("isEnabled") or due is None or to_datetime(due) > now:
            return False
        rule["id"] = id
        outcome = await self._outcome(tenant, rule, now)
        written = await self._write(tenant, rule, outcome, now)
        log.info("rule.run", tenant=tenant, rule=id, status=outcome.status, alerts=len(outcome.alerts), ended=written)
        return written

    # ------------------------------------------------------------ reading

    async def _outcome(self, tenant: str, rule: Mapping[str, Any], now: datetime) -> Outcome:
        since = since_of(rule, now)
        try:
            table = await self._queries.table(tenant, query_of(rule), now, since=since, until=now)
        except BartizanError as error:
            return failed(error)
        names = [head.name for head in table.schema]
        if len(table.results) > MAX_ROWS:
            reason = f"the query gave {len(table.results)} rows; a rule may give {MAX_ROWS}"
            return Outcome(status="failed", code="queryExceededResultSize", reason=reason)
        try:
            check_columns(rule, names)
        except BartizanError as error:
            return Outcome(status="failed", code="noImpactedEntity", reason=error.message, fatal=True)
        known = seen.Seen(await self._store.tenant(tenant).value(seen.place(str(rule["id"]))))
        try:
            rows = [dict(zip(names, each, strict=True)) for each in table.results]
            return await asyncio.to_thread(found, tenant, rule, rows, known, since, now)
        except Exception as problem:  # the edge of the stage: rows hold whatever the world writes
            log.exception("rule.alerts_failed", tenant=tenant, rule=rule["id"])
            reason = f"its rows could not be made into alerts: {type(problem).__name__}: {problem}"
            return Outcome(status="failed", code="alertCreationFailed", reason=reason)

    # ------------------------------------------------------------ writing

    async def _write(self, tenant: str, rule: Mapping[str, Any], outcome: Outcome, now: datetime) -> bool:
        id, number = str(rule["id"]), runs_of(rule).number

        def work(tx: Tx) -> bool:
            row = tx.get(RULES.name, id)
            here = {} if row is None else inner(row)
            changed = here.get("lastModifiedDateTime") != rule.get("lastModifiedDateTime")
            if not here or changed or runs_of(here).number != number:
                return False  # gone, another rule by now, or another worker's run has ended
            store_alerts(tx, outcome.alerts)
            for each in outcome.orders:
                tx.put(each, unless_exists=True)
            if outcome.seen is not None:
                tx.set_value(seen.place(id), outcome.seen)
            _ended(tx, {**here, "id": id}, outcome, now)
            return True

        return await self._store.tenant(tenant).write(work, actor=ACTOR, bulk=len(outcome.alerts) > 20)


def since_of(rule: Mapping[str, Any], now: datetime) -> datetime:
    """From where a run looks: as far back as its period asks, and without a gap to the last good run."""
    until = runs_of(rule).until
    since = now - back(rule)
    if until is not None:
        since = min(since, to_datetime(until) - overlap(rule))
    return max(since, now - MAX_LOOKBACK)


def next_run(rule: Mapping[str, Any], now: datetime) -> datetime:
    """The next beat of the rule's own grid that lies ahead; of a continuous rule a beat from now."""
    step, schedule = every(rule), rule.get("schedule") or {}
    due = schedule.get("nextRunDateTime")
    if schedule.get("period") == CONTINUOUS or due is None:
        return now + step
    at = to_datetime(due)
    return at + step * max(1, (now - at) // step + 1)


def failed(error: BartizanError) -> Outcome:
    phase = getattr(error, "phase", None)
    line, column = getattr(error, "line", 0), getattr(error, "column", 0)
    where = f" (line {line}, column {column})" if line else ""
    code = "queryExecutionFailed"
    for kind, name in (
        (TooManyRequests, "queryExecutionThrottling"),
        (Timeout, "queryTimeout"),
        (TooLarge, "queryExceededResultSize"),
    ):
        code = name if isinstance(error, kind) else code
    return Outcome(
        status="failed",
        code=code,
        reason=f"{phase}: {error.message}{where}" if phase else error.message,
        passing=isinstance(error, PASSING),
        fatal=phase is not None and phase != "run",
    )


def found(
    tenant: str,
    rule: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    known: seen.Seen,
    since: datetime,
    now: datetime,
) -> Outcome:
    """The alerts of what was not seen before. Of more groups than a run raises the others stay unseen: the next run
    has them again."""
    own, taken_in = scheduled_of(rule), results.in_scope(rule, rows)
    by_key = results.keys_of(taken_in if own is None or len(taken_in) > own.more_than else [])
    fresh = known.fresh(by_key)
    groups = results.grouped(rule, [by_key[key] for key in fresh], fresh)
    taken = groups[: results.MAX_ALERTS]
    waiting = {key for group in groups[results.MAX_ALERTS :] for key in group.keys}
    at = instant(now)
    raised = [results.raised(rule, group, at) for group in taken]
    alerts = [prepare(provider_faces(each.alert, tenant, at)) for each in raised]
    orders = [
        kept(rule, made.id, number, request, at)
        for each, made in zip(raised, alerts, strict=True)
        for number, request in enumerate(each.requests)
    ]
    try:
        known.see([key for key in by_key if key not in waiting], now, since)
    except ValueError as error:
        return Outcome(status="failed", code="queryExceededResultSize", reason=str(error))
    outcome = Outcome(alerts=alerts, orders=orders, seen=known.dump())
    if waiting:
        outcome.flood = True
        outcome.status, outcome.code = "partiallyFailed", "queryLimitsExceeded"
        outcome.reason = f"{len(groups)} groups were found; a run raises {results.MAX_ALERTS} alerts, the rest wait"
    return outcome


def _ended(tx: Tx, rule: dict[str, Any], outcome: Outcome, now: datetime) -> None:
    """The rule after a run; disabled, with an alert that says why, where it cannot go on."""
    at, runs = instant(now), runs_of(rule)
    failures = runs.failures if outcome.passing else 0 if outcome.good else runs.failures + 1
    after = Runs(
        number=runs.number + 1,
        until=at if outcome.good else runs.until,
        failures=failures,
        floods=runs.floods + 1 if outcome.flood else 0 if outcome.good else runs.floods,
    )
    due = now + AGAIN if outcome.passing else next_run(rule, now)
    why = _why(outcome, after)
    whole = {
        **rule,
        "schedule": {**rule["schedule"], "nextRunDateTime": None if why else instant(due)},
        "lastRunDetails": {
            "lastRunDateTime": at,
            "status": outcome.status,
            "errorCode": outcome.code,
            "failureReason": (outcome.reason or "")[:MAX_REASON_CHARS] or None,
        },
        RUNS: msgspec.to_builtins(after),
    }
    if why:
        whole |= {"isEnabled": False, "status": "autoDisabled"}
        alert = results.disabled(rule, after.number, why, at)
        store_alerts(tx, [prepare(provider_faces(alert, tx.tenant, at))])
        audit.record(
            tx,
            actor=audit.Actor(app=ACTOR, app_name="Detection rules"),
            activity="Disable detectionRule",
            category="Security",
            reason=why,
            targets=[audit.Target("detectionRule", rule["id"], name=rule.get("displayName"))],
        )
    shown = ("schedule", "lastRunDetails", "isEnabled", "status")
    changed = {name: (rule.get(name), whole[name]) for name in shown if rule.get(name) != whole[name]}
    tx.put(draft(RULES, whole, rule["id"]), changed=changed)


def _why(outcome: Outcome, runs: Runs) -> str | None:
    if outcome.fatal:
        return f"it cannot run as it is: {outcome.reason}"
    if runs.failures >= FAILURES:
        return f"{runs.failures} runs in a row have failed, the last one because: {outcome.reason}"
    if runs.floods >= FLOODS:
        return f"in {runs.floods} runs in a row it would have raised more than {results.MAX_ALERTS} alerts"
    return None
