"""The stage that keeps posture: profiles, evidence, the score of each day and the rows of reports.

A day's score is made once it is missing, and again while the directory, the policies or what people say of controls
change; assessing takes at most SHARE of a processor, and half of one while it lasts. It reads in pages and writes in
short transactions; the score comes last, so that a crash leaves the day to be assessed again. The same facts write
nothing.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from bartizan.auth.accounts import Accounts
from bartizan.auth.accounts import Tenant as Named
from bartizan.errors import Gone
from bartizan.identity.posture.control import CONTROLS, Affected, Control, Limits, Plain, Tally, limits_of
from bartizan.identity.posture.facts import Tenant
from bartizan.identity.posture.gather import REPORTS, Gather, Row
from bartizan.identity.posture.score import (
    EVIDENCE,
    Counts,
    evidence,
    evidence_id,
    profile,
    report_rows,
    score,
    state_of,
)
from bartizan.model.times import instant
from bartizan.odata.tree import Compare, Literal, Path
from bartizan.store.draft import DERIVED, covers, draft, inner
from bartizan.store.interface import FEED_PLACE, Collection, Draft, Store, Tx

ACTOR = "identity.posture"
LOOK_S = 10.0  # a look at a tenant where nothing has changed is three short reads
SHARE = 0.05  # of one processor, while facts keep changing
WRITE_ROWS = 50  # documents of one transaction: others wait a few milliseconds
MAX_CHANGES = 500
WATCHED = (
    "users",
    "groups",
    "directoryRoles",
    "servicePrincipals",
    "appRoleAssignments",
    "policies",
    "secureScoreControlProfiles",
    *REPORTS,
)
_PLACE = f"{FEED_PLACE}posture"
_SCORES, _PROFILES = "secureScores", "secureScoreControlProfiles"

_log = structlog.get_logger(__name__)


class _Place(Struct, frozen=True):
    """Up to where of the feed, and on which day, a tenant was assessed last."""

    seq: int
    day: str


class _Run(Struct):
    """One assessment of one tenant."""

    id: str
    now: datetime
    seen: str
    tenant: Tenant
    tallies: dict[str, Tally]
    states: dict[str, str]
    users: Counts
    waiting: list[tuple[str, Affected]] = []


class _Pace:
    """Of an assessment: after each page it rests as long as the page took, since nobody waits for it, and others share
    its processor."""

    def __init__(self) -> None:
        self._since = time.monotonic()

    async def rest(self) -> None:
        await asyncio.sleep(time.monotonic() - self._since)
        self._since = time.monotonic()


class PostureStage:
    """`collections` are the sets of Graph objects by name; `changes` to limits such as `BartizanStaleUsers.days=60`."""

    def __init__(
        self,
        store: Store,
        collections: Mapping[str, Collection],
        *,
        changes: Sequence[str] = (),
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._collections = collections
        self._limits: Mapping[str, Limits] = limits_of(changes)
        self._clock = clock
        self._rest: dict[str, float] = {}  # tenant -> not before, on the monotonic clock

    async def run(self) -> None:
        while True:
            for tenant in await Accounts(self._store).every(Named):
                await self.look(tenant.id)
            await asyncio.sleep(LOOK_S)

    async def look(self, tenant: str) -> bool:
        """Assesses a tenant if its day has no score or facts have changed since; whether it did."""
        began = time.monotonic()
        if began < self._rest.get(tenant, 0.0):
            return False
        head = await self._store.head()
        of = self._store.tenant(tenant)
        day = f"{self._clock():%Y-%m-%d}"
        kept = await of.value(_PLACE)
        place = None if kept is None else msgspec.json.decode(kept, type=_Place)
        if place is not None and place.day == day and not await self._changed(tenant, place.seq):
            return False
        await self.assess(tenant)
        now = msgspec.json.encode(_Place(head, day))
        await of.write(lambda tx: tx.set_value(_PLACE, now), actor=ACTOR)
        self._rest[tenant] = time.monotonic() + (time.monotonic() - began) / SHARE
        return True

    async def _changed(self, tenant: str, after: int) -> bool:
        """Whether others than this stage have changed what it reads."""
        try:
            while found := await self._store.changes(after, limit=MAX_CHANGES, collections=WATCHED, tenant=tenant):
                if any(each.actor != ACTOR for each in found):
                    return True
                after = found[-1].seq
        except Gone:
            return True
        return False

    async def assess(self, tenant: str) -> str | None:
        """One assessment; the id of the day's score, None where nothing could be assessed."""
        now, of = self._clock(), self._store.tenant(tenant)
        facts = Gather(of, now)
        await facts.open()
        run = _Run(
            tenant,
            now,
            instant(now),
            facts.tenant,
            {name: Tally() for name in CONTROLS},
            await self._states(tenant),
            Counts(services=set()),
        )
        self._whole(run)
        pace = _Pace()
        async for users in facts.users():
            for each in users:
                run.users.add(each.user, each.doc, each.active)
                self._judge(run, "user", "user", each.user.id, each.user.name, each.user)
            await self._report(run, users)
            await self._flush(run)
            await pace.rest()
        async for apps in facts.workloads():
            for app in apps:
                self._judge(run, "workload", "servicePrincipal", app.id, app.name, app)
            await self._flush(run)
            await pace.rest()
        await self._flush(run, all=True)
        await self._sweep(run)
        return await self._finish(run)

    async def _states(self, tenant: str) -> dict[str, str]:
        found = {}
        for name in CONTROLS:
            row = await self._store.tenant(tenant).get(_PROFILES, name)
            found[name] = "Default" if row is None else state_of(inner(row))
        return found

    # ------------------------------------------------------------ verdicts

    def _whole(self, run: _Run) -> None:
        for control in _of("tenant"):
            found = control.judge(run.tenant, run.tenant, self._limits[control.id])
            if isinstance(found, Plain):
                run.tallies[control.id].add(found)
            elif not isinstance(found, str):
                run.tallies[control.id].add("not met")
                run.waiting += [(control.id, each) for each in found]

    def _judge(self, run: _Run, of: str, kind: str, id: str, name: str, subject: object) -> None:
        for control in _of(of):
            verdict = control.judge(subject, run.tenant, self._limits[control.id])
            if not isinstance(verdict, Plain | str):
                raise TypeError(f"control {control.id}: expected a word or a reason; got {verdict!r}")
            run.tallies[control.id].add(verdict)
            if isinstance(verdict, str):
                run.waiting.append((control.id, Affected(kind, id, name, verdict)))

    # ------------------------------------------------------------ writes

    async def _flush(self, run: _Run, *, all: bool = False) -> None:
        while run.waiting and (all or len(run.waiting) >= WRITE_ROWS):
            part, run.waiting = run.waiting[:WRITE_ROWS], run.waiting[WRITE_ROWS:]
            await self._store.tenant(run.id).write(partial(_found, part=part, seen=run.seen), actor=ACTOR)

    async def _sweep(self, run: _Run) -> None:
        """Evidence that this assessment has not found again."""
        swept = WRITE_ROWS
        while swept == WRITE_ROWS:
            swept = await self._store.tenant(run.id).write(partial(_swept, seen=run.seen), actor=ACTOR)

    async def _report(self, run: _Run, rows: Sequence[Row]) -> None:
        """Rows of reports that nobody brought in; one of ours whose facts are gone is taken away."""
        made: list[Draft] = []
        gone: list[tuple[str, str]] = []
        for row in rows:
            for at, body in enumerate(report_rows(row.user, row.doc, row.reports)):
                if body is not None:
                    made.append(draft(self._collections[REPORTS[at]], body, row.user.id))
                elif row.derived[at]:
                    gone.append((REPORTS[at], row.user.id))
        for start in range(0, len(made), WRITE_ROWS):
            work = partial(_reported, made=made[start : start + WRITE_ROWS])
            await self._store.tenant(run.id).write(work, actor=ACTOR)
        if gone:
            await self._store.tenant(run.id).write(partial(_removed, gone=gone), actor=ACTOR)

    async def _finish(self, run: _Run) -> str | None:
        """Profiles and the score, together."""
        assessed = [(each, run.tallies[each.id], run.states[each.id]) for each in CONTROLS.values()]
        made = score(run.id, run.now, assessed, run.users)
        work = partial(self._finished, run=run, made=made)
        await self._store.tenant(run.id).write(work, actor=ACTOR)
        if made is None:
            return None
        _log.info("posture.assessed", users=run.users.users, score=made["currentScore"], of=made["maxScore"])
        return str(made["id"])

    def _finished(self, tx: Tx, run: _Run, made: dict[str, Any] | None) -> None:
        ranked = sorted(CONTROLS.values(), key=lambda each: (-each.max_score, each.id))
        for rank, control in enumerate(ranked, start=1):
            row = tx.get(_PROFILES, control.id)
            before = {} if row is None else inner(row)
            body = profile(control, rank, run.tallies[control.id], run.id, before)
            kept = {name: value for name, value in before.items() if name != "lastModifiedDateTime"}
            if row is None or not covers(kept, body):
                stamped = {**body, "lastModifiedDateTime": run.seen}
                tx.put(draft(self._collections[_PROFILES], stamped, control.id))
        row = None if made is None else tx.get(_SCORES, str(made["id"]))
        if made is not None and (row is None or not covers(inner(row), made)):
            tx.put(draft(self._collections[_SCORES], made, str(made["id"])))


def _of(kind: str) -> list[Control]:
    return [each for each in CONTROLS.values() if each.of == kind]


def _found(tx: Tx, part: Sequence[tuple[str, Affected]], seen: str) -> None:
    for control, each in part:
        id = evidence_id(control, each)
        row = tx.get(EVIDENCE.name, id)
        tx.put(draft(EVIDENCE, evidence(control, each, seen, {} if row is None else inner(row)), id))


def _swept(tx: Tx, seen: str) -> int:
    old = Compare("lt", Path(("lastSeenDateTime",), kind="instant"), Literal(seen, "instant"))
    rows = tx.find(EVIDENCE.name, old, limit=WRITE_ROWS)
    for row in rows:
        tx.delete(EVIDENCE.name, row.id)
    return len(rows)


def _reported(tx: Tx, made: Sequence[Draft]) -> None:
    for each in made:
        row = tx.get(each.collection, each.id)
        before = {} if row is None else inner(row)
        if row is not None and not before.get(DERIVED):
            continue  # brought in meanwhile
        if row is None or not covers(before, _body(each)):
            tx.put(each)


def _body(made: Draft) -> dict[str, Any]:
    body: dict[str, Any] = msgspec.json.decode(made.state or made.beta or made.doc)
    body.pop("@odata.etag", None)
    return body


def _removed(tx: Tx, gone: Sequence[tuple[str, str]]) -> None:
    for collection, id in gone:
        row = tx.get(collection, id)
        if row is not None and inner(row).get(DERIVED):
            tx.delete(collection, id)
