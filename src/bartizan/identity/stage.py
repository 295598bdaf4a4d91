"""Identity protection as a stage on the change feed: sign-ins, audits, accounts and people's decisions go in; risk
comes out.

One transaction holds all of a step: what the engine made of it, the rows of its memory that it touched, and the
position in the feed. A crash at any moment leaves all of a step or none of it.

Several stages may share the principals of all tenants (`identity.shards`); what is done once for a tenant the first
of them does.

Two states are kept. The live one takes events as they arrive and answers at once. The settled one takes them in the
order of their own times, two days behind the newest, and has the last word. What lies between waits in memory, and is
read again from the stored documents after a start.

Source: design of the feed and of cursors in ARCHITECTURE.md.
"""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import structlog
from msgspec import Struct

from bartizan.auth.audit import AUDITS
from bartizan.errors import Conflict
from bartizan.identity.engine import RISKY, Feedback, Heard, Result
from bartizan.identity.events import DAY, Audit, Event, activity, sign_in
from bartizan.identity.intake import (
    directory_audit,
    newer,
    passed_multifactor,
)
from bartizan.identity.levels import usual
from bartizan.identity.memory import Memory, account_row, read_rows
from bartizan.identity.outcome import Outcome, close_detections, finish, reckon, remediate_sign_in, remediate_user
from bartizan.identity.reading import ACTOR, BY_CHANGE, Read, Reading
from bartizan.identity.risk import ACTIONS, LOW_ENDS_S, Level
from bartizan.identity.shapes import OURS, SIGN_INS, USERS, WORKLOADS, Said, Side, Told
from bartizan.identity.shards import (
    LAYOUT,
    LEVEL,
    LEVELLING,
    MAX_SHARDS,
    PLACE,
    Layout,
    Place,
    free,
    heard_row,
    layout_of,
    level,
    name_of,
    place_key,
    position_key,
    shared_word,
    spread,
    value_of,
)
from bartizan.identity.traffic import REQUESTS
from bartizan.identity.waiting import SETTLED_S, Step, Waiting
from bartizan.intel import Intel, intel_of
from bartizan.model.times import instant
from bartizan.odata.tree import And, Compare, Expr, Literal, Path
from bartizan.store.follow import Follower
from bartizan.store.interface import Change, Collection, Draft, Store, TenantStore, Tx

WATCHED = (
    SIGN_INS, AUDITS, "users", USERS.risky, WORKLOADS.risky, USERS.detections, WORKLOADS.detections,
)  # fmt: skip
STEP_CHANGES = 50  # of one step: up to some ten rows each are put inside the writer, whose lock stays short
STEP_SETTLED = 100  # events that one step settles
GATHER_S = 0.05  # once it has caught up: what comes in the meantime is one commit
MAX_TENANTS = 64  # whose memories are here
MAX_WAITING = 300_000  # events of one tenant between the two states; beyond it the oldest are settled early
MAX_PENDING = 10_000  # sign-ins of a tenant that something raised after they were settled
AHEAD_S = 3_600.0  # how far a source's clock may be ahead of ours: what is later moves nothing forward
AGE_EVERY_S = 3_600.0

log = structlog.get_logger(__name__)


# What waits is in these sets, with the time of its event.
_WAITING: tuple[tuple[str, str, Callable[[Mapping[str, Any]], Event | None]], ...] = (
    (SIGN_INS, "createdDateTime", sign_in),
    (AUDITS, "activityDateTime", directory_audit),
    (REQUESTS.name, "timeGenerated", activity),
)

IntelOf = Callable[[Store, str], Awaitable[Intel]]


class _Tenant:
    def __init__(self, name: str, intel: Intel, learns: bool, shard: int, layout: Layout) -> None:
        self.name = name
        self.shard, self.layout = shard, layout
        self.live = Memory("l", intel, learns=learns, shard=shard, shards=layout.shards)
        self.settled = Memory("s", intel, learns=learns, shard=shard, shards=layout.shards)
        self.heard: tuple[dict[str, Heard], dict[str, Heard]] = ({}, {})  # live and settled: word -> what it says
        self.position = 0
        self.place = Place()
        self.waiting = Waiting(MAX_WAITING)
        self.dropped: set[str] = set()
        self.noted: set[str] = set()  # sign-ins of `waiting` of which something is shown

    def drop(self, ids: set[str]) -> None:
        """Words that turn out to be nobody's whom we believe."""
        self.dropped |= ids
        self.waiting.drop(ids)
        self.place.feedback = [each for each in self.place.feedback if each.id not in ids]

    async def due(self, store: TenantStore, limit: int) -> list[Step]:
        """What is to be settled next, taken out."""
        place = self.place
        found = self.waiting.due(place.newest - SETTLED_S, limit, place.settled)
        if self.shared:
            may = await free(store, self.layout, self.settled, found, self.heard[1])
            for each in found[may:]:
                self.waiting.push(each)
            found = found[:may]
        place.settled = max([place.settled, *((each.at, each.id) for each in found)])
        return found

    @property
    def shared(self) -> bool:
        return self.layout.shards > 1

    def mine(self, read: Read) -> Read:
        """What is one's own to do of what all read."""
        mine = self.live.state.mine
        read.moved = [each for each in read.moved if mine(each[1])]
        read.unfinished = [each for each in read.unfinished if mine(each[1])]
        read.remediated = [each for each in read.remediated if mine(each[0])]
        return read

    def more(self) -> bool:
        return self.waiting.more(self.place.newest - SETTLED_S)


class _Made(Struct):
    """What a step is to write."""

    told: dict[str, list[Told]] = {}
    found: list[tuple[Side, str, str, str, Any, Level, float]] = []
    remediated: list[tuple[str, str]] = []  # user, action
    passed: list[str] = []  # sign-ins whose risk a second factor has taken away
    keep: set[str] = set()  # sign-ins that were new in this step
    heard: list[Draft] = []  # of words, for the others


class IdentityStage:
    """One at a time for each `shard`, under a lease; a second one finds that the position has moved, and reads anew.

    `sets` are the declared collections. `tenants` lists all that there are, for the ageing of low risk. `shards` is how
    many share the work: what the first (0) is given holds for all.
    """

    def __init__(
        self,
        store: Store,
        sets: Mapping[str, Collection],
        *,
        shard: int = 0,
        shards: int = 1,
        step_changes: int = STEP_CHANGES,
        intel: IntelOf = intel_of,
        tenants: Callable[[], Awaitable[Iterable[str]]] | None = None,
        on_premises: bool = False,
        learns: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._sets = sets
        self._shard, self._shards = shard, shards
        self._laid = False  # whether the others have been given their places
        self._names = [REQUESTS.name, *(each for each in WATCHED if each in sets)]
        self._limit = step_changes
        self._feed = Follower(store, name_of(shard), self._names, limit=step_changes)
        self._tenants: OrderedDict[str, _Tenant] = OrderedDict()
        self._intel, self._all, self._learns = intel, tenants, learns
        self._on_premises = on_premises
        self._reading = Reading(sets, on_premises)
        self._clock = clock
        self._aged = -AGE_EVERY_S  # the clock of a machine that has just started says little

    async def run(self) -> None:
        """Until cancelled."""
        await self._feed.run(self._step_or_age, gather_s=GATHER_S)

    async def register(self) -> int:
        """Before retention runs: it waits for this stage then."""
        return await self._feed.register()

    async def _step_or_age(self) -> int:
        taken = await self.step()
        if self._all is not None and time.monotonic() - self._aged >= AGE_EVERY_S:
            self._aged = time.monotonic()
            for tenant in await self._all():
                await self._settle(tenant)
                if not self._shard:
                    await self.age(tenant)
        return taken

    async def step(self) -> int:
        """Takes one bounded batch of changes, and settles a bounded part of what waits; how many of both, 0 if there
        was nothing to do, or nothing that need not wait for another stage."""
        if not self._shard:
            await self._lay()
        elif await self._store.cursor(self._feed.name) is None:
            return 0  # the first one has not given us a place, or no more
        part = await self._feed.read()
        by_tenant: dict[str, list[Change]] = {}
        for change in part.changes:
            by_tenant.setdefault(change.tenant, []).append(change)
        worked, left = 0, 0
        for tenant, its in by_tenant.items():
            done, rest = await self._take(tenant, its)
            worked, left = worked + done, left + rest
        for tenant, of in list(self._tenants.items()):
            if of.more() and (tenant not in by_tenant or left):
                worked += await self._write(tenant, of, of.position, Read())
        if left:
            return worked
        return await self._feed.taken(part) or worked

    async def _lay(self) -> None:
        """The first one gives the others their places, and takes them from those that are no more."""
        if self._laid:
            return
        after = await self._feed.register()
        for shard in range(1, self._shards):
            if await self._store.cursor(name_of(shard)) is None:
                await self._store.advance(name_of(shard), after)
        for tenant in await self._all() if self._all is not None else ():
            if await self._store.tenant(tenant).value(PLACE) is not None:
                await self._layout(tenant)
        for shard in range(self._shards, MAX_SHARDS) if self._all is not None else ():
            if await self._store.cursor(name_of(shard)) is not None:
                await self._store.drop_cursor(name_of(shard))
        self._laid = True

    # ------------------------------------------------------------ one tenant

    async def _settle(self, tenant: str) -> None:
        """What was due when this process, or another, left off: nothing new of the tenant need come for it."""
        kept = await self._store.tenant(tenant).value(place_key(self._shard))
        if kept is None or not msgspec.json.decode(kept, type=Place).behind:
            return
        of = await self._of(tenant)
        while of is not None and of.more() and await self._write(tenant, of, of.position, Read()):
            pass

    async def _take(self, tenant: str, changes: Sequence[Change]) -> tuple[int, int]:
        """How many of the changes it took, and how many are left until another stage has come so far."""
        of = await self._of(tenant)
        if of is None:
            return 0, len(changes)
        ahead = [change for change in changes if change.seq > of.position]
        if not ahead:
            return 0, 0
        store, place, every = self._store.tenant(tenant), of.place, len(ahead)
        read = await self._reading.read(store, ahead, place.newest, of.live.accounts)
        if of.shared:
            may = await free(store, of.layout, of.live, read.events, of.heard[0])
            if may < len(read.events):
                ahead = [change for change in ahead if change.seq < read.seqs[may]]
                read = await self._reading.read(store, ahead, place.newest, of.live.accounts)
            read = of.mine(read)
        if not ahead:
            return 0, every
        place.stamp = max(place.stamp, ahead[-1].at)
        if not read.says_nothing() or of.more():  # most audits of this server itself: the feed's cursor goes on
            await self._write(tenant, of, ahead[-1].seq, read)
            for workload, principal in read.unfinished:
                await finish(store, self._sets, WORKLOADS if workload else USERS, principal, ACTOR)
        return len(ahead), every - len(ahead)

    async def _of(self, tenant: str) -> _Tenant | None:
        """None while the first stage has not made a place for this one."""
        of = self._tenants.get(tenant)
        if of is None:
            layout = await self._layout(tenant)
            if layout is None:
                return None
            of = self._tenants[tenant] = await self._restored(tenant, layout)
        self._tenants.move_to_end(tenant)
        if len(self._tenants) > MAX_TENANTS:
            self._tenants.popitem(last=False)
        return of

    async def _layout(self, tenant: str) -> Layout | None:
        store = self._store.tenant(tenant)
        layout = layout_of(await store.value(LAYOUT))
        if self._shard:
            return None if layout.moving or layout.shards <= self._shard else layout
        if layout.moving or layout.shards != self._shards:
            await self._move(tenant, layout)
        return Layout(value_of(self._shards), self._shards)

    async def _move(self, tenant: str, layout: Layout) -> None:
        """From one number of stages to another: all that there were come to one place first, and write no more."""
        store = self._store.tenant(tenant)
        log.info("identity.shards", tenant=tenant, before=layout.shards, after=self._shards)
        if layout.moving != LEVEL:
            if layout.shards > 1:
                layout = await self._marked(store, layout, LEVELLING)
                await self._levelled(tenant, layout)
            await level(store, layout)
            layout = layout_of(value_of(layout.shards, LEVEL))
        await spread(store, layout, self._shards)

    @staticmethod
    async def _marked(store: TenantStore, layout: Layout, moving: bytes) -> Layout:
        raw = value_of(layout.shards, moving)

        def work(tx: Tx) -> None:
            if tx.value(LAYOUT) != layout.raw:
                raise Conflict("another process changes the number of stages of identity protection")
            tx.set_value(LAYOUT, raw)

        await store.write(work, actor=ACTOR)
        return layout_of(raw)

    async def _levelled(self, tenant: str, layout: Layout) -> None:
        stages = [self._like(shard, layout.shards) for shard in range(layout.shards)]
        tenants = [await each._restored(tenant, layout) for each in stages]
        end, floor = max(of.position for of in tenants), await self._store.floor()
        at = [max(floor, of.position) for of in tenants]
        behind = True
        while behind:
            behind, worked = False, 0
            for number, (each, of) in enumerate(zip(stages, tenants, strict=True)):
                each._tenants[tenant] = of
                if at[number] < end:
                    behind = True
                    changes = await self._store.changes(
                        at[number], limit=self._limit, collections=self._names, tenant=tenant
                    )
                    its = [change for change in changes if change.seq <= end]
                    done, left = await each._take(tenant, its) if its else (0, 0)
                    worked += done + (not left)
                    at[number] = of.position if left else its[-1].seq if its else end
                elif of.more():
                    behind = True
                if of.more():
                    worked += await each._write(tenant, of, of.position, Read())
            if behind and not worked:
                raise Conflict("stages of identity protection wait for one another")

    def _like(self, shard: int, shards: int) -> "IdentityStage":
        return IdentityStage(
            self._store,
            self._sets,
            shard=shard,
            shards=shards,
            step_changes=self._limit,
            intel=self._intel,
            on_premises=self._on_premises,
            learns=self._learns,
            clock=self._clock,
        )

    async def _restored(self, tenant: str, layout: Layout) -> _Tenant:
        """As it was after the last write: the rows are read when they are asked for, what waits from the documents."""
        store = self._store.tenant(tenant)
        of = _Tenant(tenant, await self._intel(self._store, tenant), self._learns, self._shard, layout)
        await of.live.open(store)
        await of.settled.open(store)
        of.position = int(await store.value(position_key(self._shard)) or b"0")
        kept = await store.value(place_key(self._shard))
        if kept is None:
            return of
        of.place = msgspec.json.decode(kept, type=Place)
        for word in of.place.feedback:
            of.waiting.push(word)
        since = instant(datetime.fromtimestamp(max(0.0, of.place.settled[0]), UTC) - timedelta(milliseconds=1))
        for name, at, make in _WAITING:
            if name not in self._sets and name != REQUESTS.name:
                continue
            async for row in newer(store, name, at, since):
                if row.created > of.place.stamp:
                    continue  # not taken yet: a stamp is one document's own, and they grow as change numbers do
                body = {"id": row.id, **msgspec.json.decode(row.wire("beta"))}
                try:
                    event = make(body)
                except (ValueError, KeyError, TypeError):
                    continue  # it was told of when it came
                if event is not None and (event.at, event.id) > of.place.settled:
                    of.waiting.push(event)
                    if name == SIGN_INS and body.get("riskState") not in (None, "none"):
                        of.noted.add(event.id)
        return of

    async def _write(self, tenant: str, of: _Tenant, seq: int, read: Read) -> int:
        """All that follows from this, at once. Whatever goes wrong, memory is made anew from what is stored."""
        store, before = self._store.tenant(tenant), of.position
        try:
            made, settled = await self._step(store, of, read)
            if seq == before and not settled:
                return 0  # what is due waits for others
            drafts = [*of.live.drafts(), *of.settled.drafts(), *made.heard]
            drafts += [account_row(principal, account, of.shard) for principal, account in read.accounts.items()]
            of.place.behind = of.more()
            place = msgspec.json.encode(of.place)
            settled_to = of.place.settled[0]

            def work(tx: Tx) -> bool:
                if int(tx.value(position_key(of.shard)) or b"0") != before or tx.value(LAYOUT) != of.layout.raw:
                    return False  # another process has taken over
                outcome = Outcome(tx, self._sets, usual)
                self._tell(outcome, made, read, settled_to)
                for each in drafts:
                    tx.put(each)
                tx.set_value(place_key(of.shard), place)
                tx.set_value(position_key(of.shard), str(seq).encode())
                return True

            if not await store.write(work, actor=ACTOR, bulk=True):
                raise Conflict("the position of identity protection has moved: another process is at work")
        except BaseException:
            self._tenants.pop(tenant, None)
            raise
        of.position = seq
        of.live.trim()
        of.settled.trim()
        return settled

    async def _step(self, store: TenantStore, of: _Tenant, read: Read) -> tuple[_Made, int]:
        """Both states go on. What they need is read first."""
        place, made, now = of.place, _Made(), self._clock()
        for event in read.events:
            of.waiting.push(event)
            if isinstance(event, Feedback):
                place.feedback.append(event)
            elif event.at <= now + AHEAD_S:
                place.newest = max(place.newest, event.at)
        due = await of.due(store, STEP_SETTLED + len(read.events))
        for principal, account in read.accounts.items():
            of.live.accounts[principal] = of.settled.accounts[principal] = account
        await read_rows(store, [(of.live, of.live.wanted(read.events)), (of.settled, of.settled.wanted(due))])
        await read_rows(store, [(of.live, of.live.strangers(read.events)), (of.settled, of.settled.strangers(due))])
        intel = await self._intel(self._store, of.name)
        of.live.state.use(intel)
        of.settled.state.use(intel)
        of.live.accounts.update(read.accounts)
        of.settled.accounts.update(read.accounts)
        # Who has the account may change its password, too: from an address under suspicion it ends nothing.
        suspect = {each[0] for each in read.remediated if _suspect(of.live, *each)}
        made.remediated = [(user, name) for user, name, _ in read.remediated if user not in suspect]
        if suspect:
            of.drop({each.id for each in read.events if each.id.startswith(BY_CHANGE) and each.principal in suspect})
        for event in read.events:
            if event.id not in of.dropped:
                self._run(of, False, event, made, read)
        of.dropped.clear()
        for event in due:
            self._run(of, True, event, made, read)
        settled = {event.id for event in due if isinstance(event, Feedback)}
        if settled:
            place.feedback = [each for each in place.feedback if each.id not in settled]
        self._catch_up(of, made)
        of.noted.difference_update(event.id for event in due)
        return made, len(due)

    def _run(self, of: _Tenant, settled: bool, event: Step, made: _Made, read: Read) -> None:
        memory = of.settled if settled else of.live
        memory.changed(event)
        if not isinstance(event, Feedback):
            memory.levels.begin(int(event.at // DAY))  # by what comes before it
        if of.shared and shared_word(event):
            if not memory.state.mine(event.principal):
                memory.state.hear(of.heard[settled].pop(event.id))
                return
            memory.state.heard = Heard()
        results = stepped(memory, event)
        if memory.state.heard is not None:
            made.heard.append(heard_row(memory, event.id, memory.state.heard))
            memory.state.heard = None
        for result in results:
            if result.kind == "signIn":
                memory.levels.count(result)
            elif result.kind == "raised":
                memory.raised(result.principal)
            level = memory.levels.of(result)
            said = Said(round(result.score, 4), level, result.findings, result.parts)
            raised = result.kind == "raised"
            if result.kind in ("audit", "activity"):
                if not settled:
                    self._found(event, result, level, made)
                continue
            if result.kind == "attempt":
                continue
            id = result.id
            shown = id in of.noted or said.telling() or bool(said.findings)
            body = read.bodies.get(id) if not settled and not raised else None
            if body is not None and (body.get("riskState") not in (None, "none") or body.get("riskDetail") == "hidden"):
                shown = True
            if not shown:
                continue
            if not settled:
                of.noted.add(id)
                if raised and (result.at, id) <= of.place.settled and len(of.place.pending) < MAX_PENDING:
                    of.place.pending[id] = event.at
            told = Told(settled, raised, event.at, said)
            made.told.setdefault(id, []).append(told)
            if body is not None:
                made.keep.add(id)
                if level != "none" and passed_multifactor(body):
                    made.passed.append(id)

    @staticmethod
    def _found(event: Step, result: Result, level: Level, made: _Made) -> None:
        """Of a principal, and no sign-in: once a day for each kind of change."""
        side = WORKLOADS if result.workload else USERS
        own = isinstance(event, Audit) and event.principal == result.principal
        name, kind = (event.name, event.activity) if own and isinstance(event, Audit) else ("", "")
        key = f"{result.principal}/{int(event.at // DAY)}/{kind}"
        for finding in result.findings:
            if not finding.subject:
                made.found.append((side, result.principal, name, key, finding, level, event.at))

    @staticmethod
    def _catch_up(of: _Tenant, made: _Made) -> None:
        """Sign-ins that were raised after they had been settled: what raised them is settled now too."""
        to = of.place.settled[0]
        for id in [id for id, at in of.place.pending.items() if at <= to]:
            del of.place.pending[id]
            made.told.setdefault(id, [])

    def _tell(self, outcome: Outcome, made: _Made, read: Read, settled_to: float) -> None:
        tx = outcome.tx
        for id, told in made.told.items():
            outcome.tell(id, told, settled_to, keep=id in made.keep)
        for found in made.found:
            outcome.found(*found)
        for workload, principal, kind in read.moved:
            outcome.moved(WORKLOADS if workload else USERS, principal, kind)
        outcome.reckon()
        for id in made.passed:
            remediate_sign_in(tx, self._sets, id, ACTIONS["passedMultifactor"])
        for user, name in made.remediated:
            remediate_user(tx, self._sets, user, ACTIONS[name])

    # ------------------------------------------------------------ time

    async def age(self, tenant: str) -> int:
        """Low risk of half a year ago ends. How many detections."""
        store, done = self._store.tenant(tenant), 0
        until = instant(datetime.fromtimestamp(self._clock() - LOW_ENDS_S, UTC))
        old: Expr = And(
            (
                Compare("eq", Path(("riskLevel",), kind="enum"), Literal("low", "enum")),
                Compare("lt", Path(("activityDateTime",), kind="instant"), Literal(until, "instant")),
                Compare("eq", Path(("riskState",), kind="enum"), Literal("atRisk", "enum")),
            )
        )
        for side in (USERS, WORKLOADS):
            if side.detections not in self._sets:
                continue

            def work(tx: Tx, side: Side = side) -> int:
                moved = close_detections(tx, self._sets, side, old, ACTIONS["aged"])
                for principal in moved:
                    reckon(tx, self._sets, side, principal, ACTIONS["aged"], by=OURS)
                return len(moved)

            while count := await store.write(work, actor=ACTOR):
                done += count
        return done


# ---------------------------------------------------------------- what several use


def _suspect(live: Memory, user: str, name: str, address: str) -> bool:
    """Whether the user's own change came from where his account is under suspicion."""
    principal = live.state.principals.get(user)
    return name != "temporaryPassword" and principal is not None and f"a{address}" in principal.hot


def stepped(memory: Memory, event: Step) -> list[Result]:
    """A word that somebody is compromised is one on each of his sign-ins that were risky."""
    if isinstance(event, Feedback) and event.verdict == "compromised" and not event.sign_in:
        principal = memory.state.principals.get(event.principal)
        risky = [each.id for each in principal.recent if each.score >= RISKY] if principal is not None else []
        for id in risky:
            memory.state.step(Feedback(event.id, event.at, event.principal, event.verdict, id))
        return []
    return memory.state.step(event)
