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


async def passed_by_all(lake: Lake) -> int:
    """Up to where every reader, the flush among them, has read; 0 where none has begun."""
    found = await lake.read(lambda db: db.rows("SELECT min(position) FROM lake_cursors"))
    return int(found[0][0] or 0)
