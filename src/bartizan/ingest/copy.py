"""The stage that copies documents of the store to the lake's tables.

A sign-in or an audit is copied when it is created, as it is at that moment; decisions on its risk that come later
change the document alone. What has states (alerts, incidents, risk, users, indicators) is copied with each change that
its table shows, as it is when the change is read: of several changes that are read together the last one counts, and
what was in the object already when it was copied is not copied again. So alerts wait a moment for correlation, which
changes each, and an incident that grows all the time is copied once in INCIDENT_S. At least once from the feed, and the
lake knows which part of it has been appended: effectively once.

Source: design of events in ARCHITECTURE.md.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

import structlog
from msgspec import Struct

from bartizan.auth.audit import AUDITS
from bartizan.errors import BadRequest, TooLarge
from bartizan.lake.alert_rows import alert_rows, alert_state_rows, incident_rows
from bartizan.lake.buffer import Lake
from bartizan.lake.identity_rows import (
    indicator_gone,
    indicator_rows,
    risk_detection_rows,
    risky_user_gone,
    risky_user_rows,
    risky_workload_rows,
    user_gone,
    user_rows,
    workload_detection_rows,
)
from bartizan.lake.rows import Inner, TableRow, audit_rows, sign_in_rows
from bartizan.odata.tree import Compare, Literal, Path
from bartizan.store.alerts import CORRELATE
from bartizan.store.draft import inner
from bartizan.store.follow import Follower
from bartizan.store.interface import Change, Query, Store, Stored, TenantStore

Rows = list[TableRow]
INCIDENT_ALERTS = 1_000  # ids that a row of an incident names


class Copied(Struct, frozen=True):
    """How a set is copied: rows of (object, tenant, when) that was made, and of one that was changed, and of (id,
    tenant, when) that was deleted; None: of that there are none. `unseen` are properties that no row shows."""

    made: Callable[[Inner, str, str], Rows]
    changed: Callable[[Inner, str, str], Rows] | None = None
    deleted: Callable[[str, str, str], Rows] | None = None
    unseen: frozenset[str] = frozenset()

    def shows(self, change: Change) -> bool:
        """Whether there are rows of it."""
        if change.op == "updated":
            return self.changed is not None and not (change.changed and change.changed.keys() <= self.unseen)
        return change.op == "created" or self.deleted is not None


COPIED: Mapping[str, Copied] = {
    "signIns": Copied(lambda inner, tenant, at: sign_in_rows(inner, tenant)),
    AUDITS: Copied(lambda inner, tenant, at: audit_rows(inner, tenant)),
    # every alert is put into its incident by correlation: a row that says the same again would be half of all
    "alerts_v2": Copied(alert_rows, alert_state_rows, unseen=frozenset({"incidentId"})),
    "incidents": Copied(incident_rows, incident_rows),
    "riskDetections": Copied(risk_detection_rows, risk_detection_rows),
    "riskyUsers": Copied(risky_user_rows, risky_user_rows, risky_user_gone),
    "servicePrincipalRiskDetections": Copied(workload_detection_rows, workload_detection_rows),
    "riskyServicePrincipals": Copied(risky_workload_rows, risky_workload_rows),
    "users": Copied(user_rows, user_rows, user_gone),
    "tiIndicators": Copied(indicator_rows, indicator_rows, indicator_gone),
}
STEP_CHANGES = 500  # of one step
READ_DOCUMENTS = 20  # at once
GATHER_S = 0.2  # once it has caught up: an incident that grows meanwhile is copied once
SETTLE_S = 5.0  # how long alerts wait for correlation at most ...
UNSETTLED_S = 30.0  # ... and how long nothing waits where it was later than that
LOOK_S = 0.05
INCIDENT_S = 2.0  # between two copies of an incident, while it changes
REMEMBERED = 4_096  # objects whose last copy is known

log = structlog.get_logger(__name__)


class CopyStage:
    """One at a time for each `name`, under a lease; a second one does no harm."""

    def __init__(self, store: Store, lake: Lake, *, name: str = "copy") -> None:
        self._store = store
        self._lake = lake
        self._name = name
        self._feed = Follower(store, name, list(COPIED), limit=STEP_CHANGES)
        self._copies: OrderedDict[tuple[str, str, str], tuple[int, float]] = OrderedDict()  # as of which change, when
        self._settles = 0.0  # alerts wait for correlation from then on

    async def run(self) -> None:
        """Until cancelled."""
        await self._feed.run(self.step, gather_s=GATHER_S)

    async def register(self) -> int:
        """Before retention runs: it waits for this stage then."""
        return await self._feed.register()

    async def step(self) -> int:
        """Takes one bounded batch of changes; returns how many, 0 if there were none."""
        part = await self._feed.read()
        await self._settled(part.changes)
        by_tenant: dict[str, list[Change]] = {}
        for change in part.changes:
            if COPIED[change.collection].shows(change):
                by_tenant.setdefault(change.tenant, []).append(change)
        for tenant, changes in by_tenant.items():
            position = await self._position(tenant, changes, part.after, part.head)
            lasts = _last_of_each([change for change in changes if change.seq > position])
            parts: list[tuple[int, Rows]] = []
            copies: dict[tuple[str, str, str], tuple[int, float]] = {}
            for start in range(0, len(lasts), READ_DOCUMENTS):
                some = lasts[start : start + READ_DOCUMENTS]
                now = await _documents(self._store.tenant(tenant), [last for last, _ in some])
                for last, made in some:
                    stored = now.get((last.collection, last.id))
                    if stored is not None and self._is_copied(last, stored):
                        continue
                    parts.append((last.seq, await self._rows(last, stored, made=made)))
                    if stored is not None:
                        copies[_key(last)] = stored.seq, time.monotonic()
            await self._append(tenant, [each for each in parts if each[1]])
            self._remember(copies)
        return await self._feed.taken(part)

    async def _settled(self, changes: Sequence[Change]) -> None:
        """Until correlation has seen the new alerts, or is too late."""
        news = [change.seq for change in changes if change.collection == "alerts_v2" and change.op == "created"]
        until = time.monotonic() + SETTLE_S
        while news and time.monotonic() >= self._settles:
            seen = await self._store.cursor(CORRELATE)
            if seen is None or seen >= news[-1]:
                return
            if time.monotonic() >= until:
                self._settles = until + UNSETTLED_S
            else:
                await asyncio.sleep(LOOK_S)

    async def _position(self, tenant: str, changes: Sequence[Change], cursor: int, head: int) -> int:
        """Up to where this tenant's changes were appended before a crash kept the cursor from following.

        A position that is no change of the tenant's was made from another feed: the store was set back (restored from
        a backup) and its numbers are given anew. It is forgotten then: better a row twice than none.
        """
        position = await self._lake.appended(tenant, self._name)
        if position <= cursor:
            return cursor
        known = any(change.seq == position for change in changes) or changes[-1].seq < position <= head
        if known:
            return position
        log.warning("copy.store_was_set_back", stage=self._name, tenant=tenant, position=position, head=head)
        await self._lake.forget(tenant, self._name)
        self._copies.clear()
        return cursor

    async def _rows(self, change: Change, stored: Stored | None, *, made: bool) -> Rows:
        of = COPIED[change.collection]
        if change.op == "deleted":
            return [] if of.deleted is None else of.deleted(change.id, change.tenant, change.at)
        if stored is None:
            return []  # deleted since
        whole = {**inner(stored), "id": change.id}
        if change.collection == "incidents":
            alerts = await _alerts_of(self._store.tenant(change.tenant), change.id)
            return incident_rows(whole, change.tenant, change.at, alerts)
        as_rows = of.made if made else of.changed
        return [] if as_rows is None else as_rows(whole, change.tenant, change.at)

    def _is_copied(self, change: Change, stored: Stored) -> bool:
        """Whether this change need not be copied: it was in the object when that was copied, or is of an incident that
        was copied a moment ago and has a later change, which comes yet."""
        seq, at = self._copies.get(_key(change), (0, float("-inf")))
        if change.seq <= seq and change.op == "updated":
            return True
        return change.collection == "incidents" and change.seq < stored.seq and time.monotonic() - at < INCIDENT_S

    def _remember(self, copies: Mapping[tuple[str, str, str], tuple[int, float]]) -> None:
        """What has been appended."""
        for key, copy in copies.items():
            self._copies[key] = copy
            self._copies.move_to_end(key)
        while len(self._copies) > REMEMBERED:
            self._copies.popitem(last=False)

    async def _append(self, tenant: str, parts: Sequence[tuple[int, Rows]]) -> None:
        """All at once. If the lake refuses what they hold, by halves, so that only the one at fault stays out."""
        if not parts:
            return
        rows = [row for _, its in parts for row in its]
        try:
            await self._lake.append(tenant, rows, once=f"{self._name}/{parts[0][0]}-{parts[-1][0]}")
        except (BadRequest, TooLarge) as error:
            if len(parts) == 1:
                log.error("copy.refused", stage=self._name, tenant=tenant, change=parts[0][0], error=error.message)
                return
            middle = len(parts) // 2
            await self._append(tenant, parts[:middle])
            await self._append(tenant, parts[middle:])


def _key(change: Change) -> tuple[str, str, str]:
    return change.tenant, change.collection, change.id


def _last_of_each(changes: Sequence[Change]) -> list[tuple[Change, bool]]:
    """The last change of each object, in order, and whether the object was made in these changes."""
    last = {(change.collection, change.id): change for change in changes}
    made = {(change.collection, change.id) for change in changes if change.op == "created"}
    ordered = sorted(last.values(), key=lambda change: change.seq)
    return [(change, (change.collection, change.id) in made) for change in ordered]


async def _documents(store: TenantStore, changes: Sequence[Change]) -> dict[tuple[str, str], Stored | None]:
    """What was made or changed, as it is now."""
    ids: dict[str, list[str]] = {}
    for change in changes:
        if change.op != "deleted":
            ids.setdefault(change.collection, []).append(change.id)
    return {
        (collection, id): each.stored
        for collection, its in ids.items()
        for id, each in (await store.ahead(collection, its)).items()
    }


async def _alerts_of(store: TenantStore, incident: str) -> list[str]:
    """The ids of an incident's alerts as they are now, INCIDENT_ALERTS at most."""
    of = Compare("eq", Path(("incidentId",), kind="text"), Literal(incident, "text"))
    page = await store.page("alerts_v2", Query(top=INCIDENT_ALERTS, filter=of, bare=True))
    return [row.id for row in page.rows]
