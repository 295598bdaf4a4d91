"""The stage that copies sign-ins and audits, which are documents of the store, to the lake's tables.

A document is copied when it is created, as it is at that moment; decisions on its risk that come later change the
document alone. At least once from the feed, and the lake knows which part of it has been appended: effectively once.

Source: design of events in ARCHITECTURE.md.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from bartizan.errors import BadRequest, TooLarge
from bartizan.lake.buffer import Lake
from bartizan.lake.rows import TableRow, audit_rows, sign_in_rows
from bartizan.store.draft import inner
from bartizan.store.follow import Follower
from bartizan.store.interface import Change, Store

Rows = list[TableRow]
COPIED: Mapping[str, Callable[[Mapping[str, Any], str], Rows]] = {
    "signIns": sign_in_rows,
    "directoryAudits": audit_rows,
}
STEP_CHANGES = 500  # of one step

log = structlog.get_logger(__name__)


class CopyStage:
    """One at a time for each `name`, under a lease; a second one does no harm."""

    def __init__(self, store: Store, lake: Lake, *, name: str = "copy") -> None:
        self._store = store
        self._lake = lake
        self._name = name
        self._feed = Follower(store, name, list(COPIED), limit=STEP_CHANGES)

    async def run(self) -> None:
        """Until cancelled."""
        await self._feed.run(self.step)

    async def register(self) -> int:
        """Before retention runs: it waits for this stage then."""
        return await self._feed.register()

    async def step(self) -> int:
        """Takes one bounded batch of changes; returns how many, 0 if there were none."""
        part = await self._feed.read()
        by_tenant: dict[str, list[Change]] = {}
        for change in part.changes:
            if change.op == "created":
                by_tenant.setdefault(change.tenant, []).append(change)
        for tenant, created in by_tenant.items():
            position = await self._position(tenant, created, part.after, part.head)
            parts = [(change.seq, await self._rows(change)) for change in created if change.seq > position]
            await self._append(tenant, [each for each in parts if each[1]])
        return await self._feed.taken(part)

    async def _position(self, tenant: str, created: Sequence[Change], cursor: int, head: int) -> int:
        """Up to where this tenant's changes were appended before a crash kept the cursor from following.

        A position that is no change of the tenant's was made from another feed: the store was set back (restored from
        a backup) and its numbers are given anew. It is forgotten then: better a row twice than none.
        """
        position = await self._lake.appended(tenant, self._name)
        if position <= cursor:
            return cursor
        known = any(change.seq == position for change in created) or created[-1].seq < position <= head
        if known:
            return position
        log.warning("copy.store_was_set_back", stage=self._name, tenant=tenant, position=position, head=head)
        await self._lake.forget(tenant, self._name)
        return cursor

    async def _rows(self, change: Change) -> Rows:
        stored = await self._store.tenant(change.tenant).get(change.collection, change.id)
        if stored is None:
            return []  # deleted since
        return COPIED[change.collection](inner(stored), change.tenant)

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
