"""How a stage follows the change feed: from its cursor on, in bounded parts, holding retention back no longer than need
be.

Source: design of the feed and of cursors in ARCHITECTURE.md.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog
from msgspec import Struct

from bartizan.errors import BartizanError, Conflict, Gone, StorageFull, Timeout, Unavailable
from bartizan.store.interface import Change, Store

IDLE_CHANGES = 1_000  # changes of other sets after which the cursor follows, so that retention can too ...
IDLE_S = 60.0  # ... or this time
SAVE_S = 0.5  # between two moves of a cursor by itself: after a crash so much is read, and worked on, again
PAUSE_S = 1.0  # after an error that passes
MAX_PAUSE_S = 30.0

PASSING = (StorageFull, Unavailable, Timeout, Conflict)

log = structlog.get_logger(__name__)


class Part(Struct, frozen=True):
    """The changes behind `after`, in order; none where the stage has seen all. `head` is the feed's, before they were
    read."""

    after: int
    head: int
    changes: list[Change]

    @property
    def end(self) -> int:
        return self.changes[-1].seq


class Follower:
    """The place of the stage `name` in the feed, of which it reads some sets."""

    def __init__(self, store: Store, name: str, collections: Sequence[str], *, limit: int) -> None:
        self._store = store
        self.name = name
        self._collections = list(collections)
        self._limit = limit
        self._moved = time.monotonic()
        self._done = 0  # up to here all has been worked on; the cursor in the store may be behind
        self._saved = float("-inf")  # when it was moved there

    async def run(self, step: Callable[[], Awaitable[int]], *, gather_s: float = 0.0) -> None:
        """Until cancelled, `step` again and again; where it took nothing, when something has changed. A stage that has
        caught up lets changes gather for `gather_s`: what comes in the meantime is one step, one reading and one
        commit. Waits out what passes (a full disk, a database that is away); other errors are raised."""
        while True:
            try:
                taken = await step()
            except PASSING as error:
                log.warning("stage.waits", stage=self.name, error=error.message)
                await asyncio.sleep(_pause(error))
                continue
            if not taken:
                await self._store.changed()
            elif taken < self._limit:
                await asyncio.sleep(gather_s)

    async def register(self) -> int:
        """Before retention runs: from here on it waits for this stage. Returns where the stage begins."""
        await self._store.advance(self.name, 0)
        return await self._store.cursor(self.name) or 0

    async def read(self, limit: int | None = None) -> Part:
        """What comes next, at most `limit` changes (its own if none is said). What retention has removed meanwhile is
        logged and passed over."""
        while True:
            after, head = await self._store.place(self.name)
            if after is None:
                after = await self.register()
            kept, after = after, max(after, self._done if self._done <= head else 0)
            if after >= head:
                await self._save(kept)
                return Part(after, head, [])
            try:
                changes = await self._store.changes(after, limit=limit or self._limit, collections=self._collections)
            except Gone:
                floor = await self._store.floor()
                log.error("stage.gap", stage=self.name, after=after, up_to=floor)  # what lies between is stored alone
                await self._store.advance(self.name, floor)
                self._done = 0
                continue
            if not changes:
                await self._save(kept)
                await self._follow(after, head)
            return Part(after, head, changes)

    async def taken(self, part: Part) -> int:
        """All of it has been worked on; returns how many changes that were. The cursor follows now, soon, or when there
        is nothing more."""
        if part.changes:
            self._done = part.end
            if time.monotonic() - self._saved >= SAVE_S:
                await self._save(part.after)
        return self.noted(part)

    async def _save(self, kept: int) -> None:
        """`kept` is where the cursor stands."""
        if self._done > kept:
            await self._store.advance(self.name, self._done)
            self._saved = time.monotonic()

    def noted(self, part: Part) -> int:
        """The same, where the cursor was moved by the transaction that wrote what was made of it."""
        if part.changes:
            self._done = part.end
            self._moved = time.monotonic()
        return len(part.changes)

    async def _follow(self, after: int, head: int) -> None:
        now = time.monotonic()
        if head > after and (head - after >= IDLE_CHANGES or now - self._moved >= IDLE_S):
            await self._store.advance(self.name, head)
            self._moved = now


def _pause(error: BartizanError) -> float:
    """Before the next try."""
    return min(MAX_PAUSE_S, max(PAUSE_S, getattr(error, "retry_after_s", PAUSE_S)))
