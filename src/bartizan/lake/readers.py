"""Cursors in the buffer: how far the flush is, and who else still reads it. What is in files is dropped from the buffer
only when every reader has passed it.

Cursors are kept in the database of the buffer: they are set back together with it, and belong to no tenant.

Source: cursors, in ARCHITECTURE.md.
"""

import time
from collections.abc import Collection

from bartizan.lake.buffer import Lake
from bartizan.lake.writer import Clock, Db

FLUSHER = "parquet"  # the cursor of the flush
SAVE_S = 0.5  # between two moves of a reader's cursor: each is a commit, for which who appends has to wait


def move(db: Db, name: str, seq: int) -> None:
    """Never backwards; a cursor that is not there begins."""
    db.run(
        "INSERT INTO lake_cursors (name, position) VALUES (?, ?) "
        "ON CONFLICT (name) DO UPDATE SET position = excluded.position WHERE lake_cursors.position < excluded.position",
        (name, seq),
    )


def position(db: Db, name: str) -> int:
    """Up to where it has read; 0 where it has not begun."""
    found = db.rows("SELECT position FROM lake_cursors WHERE name = ?", (name,))
    return int(found[0][0]) if found else 0


async def expected(lake: Lake, readers: Collection[str]) -> None:
    """From here on the buffer waits for these readers, before their first read too, and for no others: one that the
    program has no more would hold it for ever."""

    def work(db: Db, clock: Clock) -> None:
        known = [str(name) for (name,) in db.rows("SELECT name FROM lake_cursors")]
        gone = [(name,) for name in known if name not in (FLUSHER, *readers)]
        db.many("DELETE FROM lake_cursors WHERE name = ?", gone)
        for each in readers:
            move(db, each, 0)

    await lake.write(work)


class Reader:
    """The place of one reader, which may read what it read last once more after a crash."""

    def __init__(self, lake: Lake, name: str) -> None:
        self._lake = lake
        self._name = name
        self._done = 0  # up to here all has been read; the cursor may be behind
        self._saved = float("-inf")  # when it was moved

    async def before(self) -> tuple[int, int, list[str]]:
        """Where it stands, the number of the last batch there is, and the tenants of the batches between the two."""

        def work(db: Db) -> tuple[int, int, list[str]]:
            kept = position(db, self._name)
            after = max(kept, self._done if self._done <= head else 0)  # a buffer that was set back has lower numbers
            sql = "SELECT DISTINCT tenant FROM lake_batches WHERE seq > ? AND seq <= ?"
            return kept, after, [str(tenant) for (tenant,) in db.rows(sql, (after, head))]

        head = await self._lake.head()
        kept, after, tenants = await self._lake.read(work)
        if kept < after >= head:
            await self._save(after)
        return after, head, tenants

    async def passed(self, seq: int) -> None:
        """It needs nothing up to `seq` any more. The cursor follows now, soon, or when there is nothing more."""
        self._done = seq
        if time.monotonic() - self._saved >= SAVE_S:
            await self._save(seq)

    async def _save(self, seq: int) -> None:
        await passed(self._lake, self._name, seq)
        self._saved = time.monotonic()


async def passed(lake: Lake, reader: str, seq: int) -> None:
    """The reader needs nothing up to `seq` any more."""
    await lake.write(lambda db, clock: move(db, reader, seq))


async def passed_by_all(lake: Lake) -> int:
    """Up to where the flush and every reader have read; 0 where the flush has not begun."""
    found = await lake.read(lambda db: db.rows("SELECT name, position FROM lake_cursors"))
    places = {str(name): int(position) for name, position in found}
    return min(places.values()) if FLUSHER in places else 0
