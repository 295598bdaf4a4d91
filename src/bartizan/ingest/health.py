"""How the records of each source arrive: counts, its own rhythm, and an alert when it falls silent or is flooded.

The rhythm of a source is how many records it sends in each hour of the week, as far as that is known; it is silent once
so many are missing that chance does not explain it.

Source: the probability of no arrival where n are expected is e^-n (Poisson).
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog
from msgspec import Struct

from bartizan.auth.accounts import Accounts, Tenant
from bartizan.errors import BartizanError
from bartizan.ingest.made import prepared
from bartizan.ingest.pipeline import Receipt
from bartizan.model.alert import Alert
from bartizan.model.times import instant, parse
from bartizan.store.alerts import store_alerts
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Collection, Column, Query, Store, Stored, Tx

SOURCES = Collection(
    "ingestionSources",
    type="microsoft.graph.security.ingestionSource",
    columns=(Column("source"), Column("state"), Column("lastReceivedDateTime", "instant")),
    order=(("source", False),),
    versions=("beta",),
    feed=False,
)
FLUSH_S = 5.0  # counts are written this often: a crash loses no more of them
LOOK_S = 60.0
HOURS = 168
LEARN = 0.3  # share of the newest hour in what is usual
MISSING = 12.0  # records that chance alone makes stay away once in 160,000 times
LEAST_SILENCE = timedelta(minutes=15)
LEAST_KNOWN = timedelta(hours=24)  # before that a rhythm is not known
MAX_SOURCES = 500  # of one tenant
ACTOR = "ingest.health"

_START = datetime(2024, 1, 1, tzinfo=UTC)  # a Monday
STEADY = 0.8  # share of the weeks, the newest counting most, in which an hour had records: then it is expected to
_USUAL, _SHARE, _HOUR, _COUNT = "@bartizan.usual", "@bartizan.share", "@bartizan.hour", "@bartizan.count"

_log = structlog.get_logger(__name__)


class Arrivals(Struct):
    """What has arrived since the last write."""

    accepted: int = 0
    repeats: int = 0
    events: int = 0
    unreadable: int = 0
    lost: int = 0


class Health:
    """Counts what a process takes in, and writes it every FLUSH_S."""

    def __init__(self, store: Store, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._store = store
        self._clock = clock
        self._since: dict[tuple[str, str], Arrivals] = {}
        self._task: asyncio.Task[None] | None = None

    def note(self, tenant: str, source: str, arrived: Arrivals) -> None:
        total = self._since.setdefault((tenant, source), Arrivals())
        for name in arrived.__struct_fields__:
            setattr(total, name, getattr(total, name) + getattr(arrived, name))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._later())

    def arrived(self, tenant: str, source: str, receipt: Receipt) -> None:
        """What a pipeline tells of each write."""
        self.note(tenant, source, Arrivals(receipt.accepted, receipt.repeats, receipt.events, receipt.warnings))

    async def _later(self) -> None:
        await asyncio.sleep(FLUSH_S)
        await self.flush()

    async def flush(self) -> None:
        """Counts that the store does not take stay for the next time."""
        taken, self._since = self._since, {}
        now = self._clock()
        for (tenant, source), arrived in taken.items():
            try:
                work = partial(_count, source=source, arrived=arrived, now=now)
                await self._store.tenant(tenant).write(work, actor=ACTOR)
            except BartizanError as error:
                _log.warning("ingest.health_waits", source=source, error=error.message)
                self._since.setdefault((tenant, source), arrived)

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self.flush()


def _count(tx: Tx, source: str, arrived: Arrivals, now: datetime) -> None:
    row = tx.get(SOURCES.name, source)
    state: dict[str, Any] = inner(row) if row is not None else {"source": source, "firstReceivedDateTime": instant(now)}
    records = arrived.accepted + arrived.repeats
    if records:
        if state.get("state") == "silent":
            tell(tx, _silence(source, state, tx.now, over=True))
        state["state"] = "active"
    counted(state, records, now)
    more: tuple[tuple[str, int], ...] = (
        ("recordsAccepted", arrived.accepted),
        ("recordsRepeated", arrived.repeats),
        ("recordsUnreadable", arrived.unreadable),
        ("recordsLost", arrived.lost),
        ("eventsStored", arrived.events),
    )
    for name, count in more:
        state[name] = int(state.get(name) or 0) + count
    state.setdefault("state", "active")
    if arrived.lost:
        tell(tx, _flood(source, state, now))
    tx.put(draft(SOURCES, state, source))


def counted(state: dict[str, Any], records: int, now: datetime) -> None:
    """Records that have come, in the hour that it is."""
    rolled(state, now)
    if records:
        state["lastReceivedDateTime"] = instant(now)
    state[_COUNT] = int(state.get(_COUNT) or 0) + records
    state["recordsInThisHour"] = state[_COUNT]


def hour_of(at: datetime) -> int:
    """Hours since a Monday at midnight."""
    return int((at - _START) // timedelta(hours=1))


def rolled(state: dict[str, Any], now: datetime) -> None:
    """Closes the hours that are over: what they brought becomes a part of what is usual in that hour of the week. Only
    when a record has come: while a source is silent, its silence must not become what is usual."""
    hour = hour_of(now)
    usual: list[float | None] = state.get(_USUAL) or [None] * HOURS
    share: list[float] = state.get(_SHARE) or [0.0] * HOURS
    then = int(state.get(_HOUR, hour))
    if hour > then:
        counts = {then: int(state.get(_COUNT) or 0)}
        for passed in range(max(then, hour - HOURS), hour):
            slot, count = passed % HOURS, counts.get(passed, 0)
            known = usual[slot]
            usual[slot] = float(count) if known is None else round((1 - LEARN) * known + LEARN * count, 3)
            seen = 1.0 if count else 0.0
            share[slot] = seen if known is None else round((1 - LEARN) * share[slot] + LEARN * seen, 3)
        state[_COUNT] = 0
    state[_USUAL], state[_SHARE], state[_HOUR] = usual, share, max(hour, then)
    state["recordsUsualInThisHour"] = expected_in(usual, hour)


def expected_in(usual: list[float | None], hour: int) -> float | None:
    """In one hour: what that hour of the week brought, else the least of that hour of other days; None: unknown."""
    exact = usual[hour % HOURS]
    if exact is not None:
        return exact
    alike = [known for day in range(7) if (known := usual[(hour + 24 * day) % HOURS]) is not None]
    return min(alike) if alike else None


def missing(state: dict[str, Any], now: datetime) -> float:
    """How many records should have come since the last one."""
    usual: list[float | None] = state.get(_USUAL) or [None] * HOURS
    share: list[float] = state.get(_SHARE) or [0.0] * HOURS
    sure = [0.0 if known is not None and part < STEADY else known for known, part in zip(usual, share, strict=True)]
    last = _at(state.get("lastReceivedDateTime"))
    if last is None:
        return 0.0
    total, at = 0.0, max(last, now - timedelta(hours=HOURS))
    while at < now:
        end = min(now, _START + timedelta(hours=hour_of(at) + 1))
        total += (expected_in(sure, hour_of(at)) or 0.0) * ((end - at) / timedelta(hours=1))
        at = end
    return total


def is_silent(state: dict[str, Any], now: datetime) -> bool:
    first, last = _at(state.get("firstReceivedDateTime")), _at(state.get("lastReceivedDateTime"))
    if first is None or last is None or last - first < LEAST_KNOWN or now - last < LEAST_SILENCE:
        return False
    return missing(state, now) >= MISSING


def _at(text: object) -> datetime | None:
    return datetime.fromisoformat(parse(str(text))[:26] + "+00:00") if text else None


# ---------------------------------------------------------------- the watch, and what it tells


async def watch(store: Store, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
    """A stage: looks at every source each minute."""
    while True:
        await look(store, clock())
        await asyncio.sleep(LOOK_S)


async def look(store: Store, now: datetime) -> list[str]:
    """One round; the sources that have fallen silent in it."""
    found: list[str] = []
    for tenant in await Accounts(store).every(Tenant):
        of = store.tenant(tenant.id)
        page = await of.page(SOURCES.name, Query(top=MAX_SOURCES, version="beta"))
        for id in [row.id for row in page.rows]:
            fell = await of.write(partial(_looked, id=id, now=now), actor=ACTOR)
            found += [id] if fell else []
    return found


def _looked(tx: Tx, id: str, now: datetime) -> bool:
    row: Stored | None = tx.get(SOURCES.name, id)
    state = inner(row) if row is not None else {}
    if state.get("state") == "silent" or not is_silent(state, now):
        return False
    state["state"] = "silent"
    tell(tx, _silence(id, state, tx.now, over=False))
    tx.put(draft(SOURCES, state, id))
    return True


def tell(tx: Tx, alert: Alert) -> None:
    """Stores an alert of this server's own; told again with another status it is the same alert."""
    raw = f"{alert.provider_alert_id} {alert.status}".encode()
    store_alerts(tx, [prepared(alert, tx.tenant, tx.now, raw, "")])


def own(kind: str, of: str, since: str, *, about: str = "source", **said: Any) -> Alert:
    """An alert of this server's about a source or a connection; `since` tells one occasion from the next."""
    return Alert(
        vendor="Bartizan",
        product="Ingestion",
        provider_alert_id=f"{kind}:{of}:{since}",
        severity="medium",
        detector_id=f"{about}-{kind}",
        **said,
    )


def _silence(source: str, state: dict[str, Any], now: str, *, over: bool) -> Alert:
    last = str(state["lastReceivedDateTime"])
    return own(
        "silent",
        source,
        last,
        title=f"Source {source} has fallen silent",
        description=f"No record of {source} has arrived since {last}, against what is usual at these hours.",
        category="DefenseEvasion",
        categories=["DefenseEvasion"],
        first_activity=last,
        last_activity=now,
        status="resolved" if over else "new",
        source_updated=now,
        recommended_actions="See whether the sender runs and can reach this server; an attacker may have stopped it.",
    )


def _flood(source: str, state: dict[str, Any], now: datetime) -> Alert:
    """One a day and source; its count grows."""
    at = instant(now)
    return own(
        "flood",
        source,
        at[:10],
        title=f"Records of source {source} were lost in a flood",
        description=f"{state['recordsLost']} records of {source} came faster than they could be kept and are lost.",
        category="SuspiciousActivity",
        categories=["SuspiciousActivity"],
        first_activity=at,
        last_activity=at,
        source_updated=at,
        recommended_actions="Send over TCP or HTTP, which make a sender wait, or send less.",
    )
