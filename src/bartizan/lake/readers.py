"""Who still reads the buffer: what is in files is dropped from it only when every reader has passed it.

Source: cursors, in ARCHITECTURE.md.
"""

from bartizan.lake.buffer import Lake
from bartizan.lake.writer import Clock, Db

_MOVE = (
    "INSERT INTO lake_cursors (name, position) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET position = excluded.position WHERE lake_cursors.position < excluded.position"
)


async def passed(lake: Lake, reader: str, seq: int) -> None:
    """The reader needs nothing up to `seq` any more; never backwards. Call it with 0 before the first read."""

    def work(db: Db, clock: Clock) -> None:
        db.run(_MOVE, (reader, seq))

    await lake.write(work)


async def passed_by_all(lake: Lake, flush: str) -> int:
    """Up to where the flush, by the name of its cursor, and every reader has read; 0 where the flush has not begun."""
    found = await lake.read(lambda db: db.rows("SELECT name, position FROM lake_cursors"))
    places = {str(name): int(position) for name, position in found}
    return min(places.values()) if flush in places else 0
