"""Tenants take turns in a process: while several ask, whoever asks much waits behind itself, and nobody else does.

A tenant alone is never held up. As soon as a second one asks, each runs a few requests at a time, and one that keeps
others waiting rests between two of its own, so that each has its share of the processor.

Source: fair queueing, as in Demers, Keshav and Shenker, "Analysis and Simulation of a Fair Queueing Algorithm" (1989).
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from time import monotonic
from types import TracebackType
from typing import Literal

from bartizan.errors import TooManyRequests

Kind = Literal["read", "write", "ingest"]

RECENT_S = 1.0  # a tenant that asked within this time counts as asking
LOOK_S = 0.1  # between two counts of those
# Requests of one tenant that run at once while others ask. Reads run to their end without waiting for anything, so a
# second one would only lengthen the step in which nobody else is heard.
SLOTS: Mapping[Kind, int] = {"read": 1, "write": 8, "ingest": 1}
MAX_WAITING = 2_000  # requests of one tenant; more are told to come back
MAX_REST_S = 0.25
MAX_SHARE = 4  # of so many tenants at most is the share counted

_Lane = tuple[str, Kind]


class Turns:
    """Of one event loop."""

    def __init__(self, clock: Callable[[], float] = monotonic, *, max_waiting: int = MAX_WAITING) -> None:
        self._clock = clock
        self._max_waiting = max_waiting
        self._seen: dict[str, float] = {}
        self._running: dict[_Lane, int] = {}
        self._waiting: dict[_Lane, deque[asyncio.Future[None]]] = {}
        self._asking = 1
        self._look = 0.0

    def of(self, tenant: str, kind: Kind) -> "Turn":
        """`async with` it runs a request. TooManyRequests where too many of the tenant wait already."""
        return Turn(self, (tenant, kind))

    def asking(self, tenant: str, now: float) -> int:
        """How many tenants have asked lately, this one among them."""
        self._seen[tenant] = now
        if now >= self._look:
            self._look = now + LOOK_S
            self._seen = {name: at for name, at in self._seen.items() if now - at < RECENT_S}
            self._asking = len(self._seen)
        return self._asking

    async def begin(self, lane: _Lane) -> float:
        """When the request began to run."""
        now = self._clock()
        crowded = self.asking(lane[0], now) > 1
        queue = self._waiting.get(lane)
        if queue or (crowded and self._running.get(lane, 0) >= SLOTS[lane[1]]):
            await self._wait(lane)  # who wakes us has handed its place over
            return self._clock()
        self._running[lane] = self._running.get(lane, 0) + 1
        return now

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
        """Frees the place, or hands it to the next of the lane, after a rest where others ask."""
        queue = self._waiting.get(lane)
        if not queue:
            self._free(lane)
            return
        now = self._clock()
        others = min(self.asking(lane[0], now), MAX_SHARE) - 1
        rest_s = min((now - began) * others, MAX_REST_S)
        if rest_s > 0:
            asyncio.get_running_loop().call_later(rest_s, self._next, lane)
        else:
            self._next(lane)

    def _next(self, lane: _Lane) -> None:
        queue = self._waiting.get(lane)
        while queue:
            turn = queue.popleft()
            if not turn.done():
                turn.set_result(None)
                break
        else:
            self._free(lane)
        if queue is not None and not queue:
            self._waiting.pop(lane, None)

    def _free(self, lane: _Lane) -> None:
        left = self._running.get(lane, 0) - 1
        if left > 0:
            self._running[lane] = left
        else:
            self._running.pop(lane, None)


class Turn:
    """One request's, as an asynchronous context."""

    __slots__ = ("_began", "_lane", "_turns")

    def __init__(self, turns: Turns, lane: _Lane) -> None:
        self._turns = turns
        self._lane = lane
        self._began = 0.0

    async def __aenter__(self) -> None:
        self._began = await self._turns.begin(self._lane)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._turns.end(self._lane, self._began)
