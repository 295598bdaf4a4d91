"""Tables without time that are written whole, again and again: what is shown is the last whole snapshot.

Each row says in its rest which snapshot it is of, and a last row that all of it is there; rows that say nothing of a
snapshot came from elsewhere and stay. What a whole snapshot has replaced goes when files are put together.

Source: design of events in ARCHITECTURE.md.
"""

from bartizan.lake.columns import quoted
from bartizan.lake.tables import EXTRA

SNAPSHOTS = frozenset({"ExposureGraphNodes", "ExposureGraphEdges"})
SNAPSHOT, LAST = "snapshot", "last"  # in the rest of a row

_NUMBER = f"try_cast(json_extract_string({quoted(EXTRA)}, '$.{SNAPSHOT}') AS BIGINT)"
_IS_LAST = f"coalesce(json_extract_string({quoted(EXTRA)}, '$.{LAST}') = 'true', false)"


def _whole(source: str) -> str:
    """The number of the last whole snapshot; null where there is none."""
    return f"(SELECT max({_NUMBER}) FROM {source} WHERE {_IS_LAST})"


def shown(source: str) -> str:
    """What stands behind FROM for a reader."""
    return f"(SELECT * FROM {source} WHERE {_NUMBER} IS NULL OR ({_NUMBER} = {_whole(source)} AND NOT {_IS_LAST}))"


def kept(source: str) -> str:
    """Behind WHERE: what is not replaced yet."""
    return f"({_NUMBER} IS NULL OR {_NUMBER} >= coalesce({_whole(source)}, 0))"
