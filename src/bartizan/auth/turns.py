"""Tenants take turns in a process: while several ask, whoever asks much waits behind itself, and nobody else does.

A tenant alone is never held up; its reads only begin a few in each step of the loop, so that whoever comes is heard. As
soon as a second one asks, each runs a few requests at a time, and those that ask much rest, so that together they have
no more than a share of the process's time, and let short requests of those that ask little end before they begin, for
CALM_S at most: what the others notice of them is small then. Where all ask much, they share all of it. Whoever asks
little never rests.

Source: fair queueing, as in Demers, Keshav and Shenker, "Analysis and Simulation of a Fair Queueing Algorithm" (1989);
the leaky bucket as a meter, as in ITU-T I.371.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Literal

from msgspec import Struct, field

from bartizan.errors import TooManyRequests

Kind = Literal["read", "live", "write", "ingest"]

RECENT_S = 1.0  # a tenant that asked within this time counts as asking
LOOK_S = 0.1  # between two counts of those
# Requests of one tenant that run at once while others ask. Reads run to their end without waiting for anything, so a
# second one would only lengthen the step in which nobody else is heard.
# Those that ask other systems wait for them.
SLOTS: Mapping[Kind, int] = {"read": 1, "live": 8, "write": 8, "ingest": 1}
MAX_WAITING = 2_000  # requests of one tenant; more are told to come back
MAX_REST_S = 0.5
SHARE = 0.1  # of the process's time, for those together that ask much, while others ask little; by setting
CREDIT_S = 0.01  # of work that a tenant may have ahead of its share, so that a few requests at once do not wait
STEP_S = 0.001  # of work, after which further reads of a tenant that is alone begin in a later step of the loop
AROUND_S = 0.0002  # that a request takes before and after its turn: reading and writing HTTP
WRITE_S = 0.0005  # at most, of a write or a federated read: most of its time it waits for the disk, or for others
CALM_S = 0.05  # how long whoever asks much lets requests of those that ask little end before it begins all the same
SHORT: frozenset[Kind] = frozenset({"read", "write"})  # those that are waited for so; the others take longer

_Lane = tuple[str, Kind]
_Queue = deque["asyncio.Future[None]"]


class _Step(Struct):
    """Of the loop, in which reads of a lane begin for STEP_S; those that come later wait, and begin one in each of the
    next ones. Where none waits, it lasts until the next read that comes after STEP_S."""

    began: float
    waiting: _Queue = field(default_factory=deque)


class Turns:
    """Of one event loop."""

    def __init__(
        self, clock: Callable[[], float] = monotonic, *, share: float = SHARE, max_waiting: int = MAX_WAITING
    ) -> None:
        self._share = share
        self.clock = clock
        self._max_waiting = max_waiting
        self._seen: dict[str, float] = {}
        self._debts: dict[str, tuple[float, float]] = {}  # tenant -> seconds of work ahead of its share, as of when
        self._running: dict[_Lane, int] = {}
        self._waiting: dict[_Lane, _Queue] = {}
        self._steps: dict[_Lane, _Step] = {}
        self._asking = 1
        self._look = 0.0
        self._light: dict[Turn, float] = {}  # requests of tenants that ask little, and when they began
        self._held: dict[int, Callable[[], None]] = {}  # what begins when there are none
        self._holds = 0

    def of(self, tenant: str, kind: Kind) -> "Turn":
        """`async with` it runs a request. TooManyRequests where too many of the tenant wait already."""
        return Turn(self, (tenant, kind))

    def asking(self, tenant: str, now: float) -> int:
        """How many tenants have asked lately, this one among them."""
        comes = tenant not in self._seen
        self._seen[tenant] = now
        if comes or now >= self._look:
            self._look = now + LOOK_S
            self._seen = {name: at for name, at in self._seen.items() if now - at < RECENT_S}
            self._asking = len(self._seen)
            self._debts = {name: debt for name, debt in self._debts.items() if name in self._seen}
            self._steps = {lane: step for lane, step in self._steps.items() if step.waiting or lane[0] in self._seen}
        return self._asking

    def rest(self, lane: _Lane, began: float) -> float:
        """Seconds until the lane may go on after work since `began`: 0 within its credit, or while nobody else asks."""
        tenant, kind = lane
        now = self.clock()
        if self.asking(tenant, now) < 2:
            self._debts.pop(tenant, None)
            return 0.0
        debt, at = self._debts.get(tenant, (0.0, now))
        others = sum(owed > CREDIT_S for name, (owed, _) in self._debts.items() if name != tenant)
        little = self._asking > others + 1  # somebody asks little, who is to notice little
        share = (self._share if little else 1.0) / (others + 1)
        took = AROUND_S + (min(now - began, WRITE_S) if kind in ("write", "live") else now - began)
        debt = max(0.0, debt - (now - at) * share) + took
        self._debts[tenant] = debt, now
        return min(max(0.0, debt - CREDIT_S) / share, MAX_REST_S)

    def at_once(self, lane: _Lane, now: float) -> bool:
        """Begins a request, unless it has to wait (`begin`)."""
        running = self._running.get(lane, 0)
        crowded = self.asking(lane[0], now) > 1
        if self._waiting.get(lane) or (crowded and running >= SLOTS[lane[1]]):
            return False
        if lane[1] == "read" and not crowded:
            step = self._steps.get(lane)
            if step is None:
                self._steps[lane] = _Step(now)
            elif step.waiting or now - step.began > STEP_S:
                return False
        self._running[lane] = running + 1
        return True

    async def begin(self, lane: _Lane) -> float:
        """When the request that does not begin at once began to run."""
        running = self._running.get(lane, 0)
        if self._waiting.get(lane) or (self._asking > 1 and running >= SLOTS[lane[1]]):
            await self._wait(lane)  # who wakes us has handed its place over
            return self.clock()
        self._running[lane] = running + 1
        try:
            await self._step(lane)
        except asyncio.CancelledError:
            self._next(lane)
            raise
        return self.clock()

    async def _step(self, lane: _Lane) -> None:
        """Reads of a tenant begin in one step of the loop for STEP_S: whoever comes is heard between two of them."""
        loop = asyncio.get_running_loop()
        step = self._steps[lane]
        turn: asyncio.Future[None] = loop.create_future()
        if not step.waiting:
            loop.call_soon(self._stepped, step)
        step.waiting.append(turn)
        await turn

    def _stepped(self, step: _Step) -> None:
        step.began = self.clock()
        _woken(step.waiting)
        if step.waiting:
            asyncio.get_running_loop().call_soon(self._stepped, step)

    async def _wait(self, lane: _Lane) -> None:
        queue = self._waiting.setdefault(lane, deque())
        if len(queue) >= self._max_waiting:
            raise TooManyRequests(f"{len(queue)} requests of this tenant wait already.", retry_after_s=1)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free(lane)  # the place was ours already
            raise

    def end(self, lane: _Lane, began: float) -> None:
        """Frees the place, or hands it to the next of the lane; where others ask, after a rest."""
        rest_s = self.rest(lane, began)
        if self._asking > 1 and self._running.get(lane, 0) > SLOTS[lane[1]]:
            self._free(lane)  # a place from when it was alone; those that stay wake the queue
        elif rest_s > 0:  # nobody of the lane runs until then
            asyncio.get_running_loop().call_later(rest_s, self.when_calm, partial(self._next, lane))
        else:
            self._next(lane)

    def enter(self, turn: "Turn", lane: _Lane, began: float) -> None:
        """A request begins to run."""
        if lane[1] in SHORT and self._debts.get(lane[0], (0.0, 0.0))[0] <= CREDIT_S:
            self._light[turn] = began

    def leave(self, turn: "Turn") -> None:
        if self._light.pop(turn, None) is not None and not self._light:
            held, self._held = self._held, {}
            for go in held.values():
                go()

    def when_calm(self, go: Callable[[], None]) -> None:
        """Calls it when no short request of a tenant that asks little runs, after CALM_S at the latest. One that has
        run for so long counts no more."""
        now = self.clock()
        if all(now - began >= CALM_S for began in self._light.values()):
            go()
            return
        self._holds += 1
        self._held[self._holds] = go
        asyncio.get_running_loop().call_later(CALM_S, self._go, self._holds)

    def _go(self, hold: int) -> None:
        go = self._held.pop(hold, None)
        if go is not None:
            go()

    def _next(self, lane: _Lane) -> None:
        queue = self._waiting.get(lane)
        if not queue or not _woken(queue):
            self._free(lane)
        if queue is not None and not queue:
            self._waiting.pop(lane, None)

    def _free(self, lane: _Lane) -> None:
        left = self._running.get(lane, 0) - 1
        if left > 0:
            self._running[lane] = left
        else:
            self._running.pop(lane, None)


def _woken(queue: _Queue) -> bool:
    """Whether somebody still waited there; the first who did goes on."""
    while queue:
        turn = queue.popleft()
        if not turn.done():
            turn.set_result(None)
            return True
    return False


class Turn:
    """One request's, as an asynchronous context."""

    __slots__ = ("_began", "_lane", "_turns")

    def __init__(self, turns: Turns, lane: _Lane) -> None:
        self._turns = turns
        self._lane = lane
        self._began = 0.0

    def crowded(self) -> bool:
        """Whether others ask too, so that long work is better done in small parts."""
        return self._turns.asking(self._lane[0], self._turns.clock()) > 1

    async def pause(self) -> None:
        """Between two parts of one request: rests as between two requests."""
        rest_s = self._turns.rest(self._lane, self._began)
        if rest_s > 0:
            await asyncio.sleep(rest_s)
            calm: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._turns.when_calm(lambda: None if calm.done() else calm.set_result(None))
            await calm
        self._began = self._turns.clock()

    async def __aenter__(self) -> "Turn":
        turns, lane = self._turns, self._lane
        now = turns.clock()
        self._began = now if turns.at_once(lane, now) else await turns.begin(lane)
        turns.enter(self, lane, self._began)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turns.end(self._lane, self._began)
        self._turns.leave(self)
