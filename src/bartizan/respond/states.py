"""Objects as they were right after each of their changes: the current document, with later changes taken back.

A filter is asked about the object at the change, not about what has become of it since; otherwise an alert that is
created and closed at once would never match "is new".
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import structlog

from bartizan.model.edm import Version
from bartizan.respond.lines import Watch
from bartizan.store import Change, Store, Stored

_AHEAD_ROWS = 1000  # of one read of what came later
_AHEAD_READS = 5  # beyond these the object is taken as it is now
_READS_AT_ONCE = 64

log = structlog.get_logger(__name__)
_decode = msgspec.json.Decoder(dict[str, Any]).decode

Key: TypeAlias = tuple[str, str, str]  # tenant, collection, id
State: TypeAlias = Mapping[str, Any] | None  # None: not known any more, since the object is gone


async def states(
    store: Store, changes: Sequence[Change], versions: Mapping[tuple[str, str], frozenset[Version]]
) -> dict[tuple[int, Version], State]:
    """By change number and version, for the changes of the (tenant, collection) named in `versions`."""
    wanted = [c for c in changes if c.op != "deleted" and (c.tenant, c.collection) in versions]
    if not wanted:
        return {}
    keys = list(dict.fromkeys((c.tenant, c.collection, c.id) for c in wanted))
    rows: dict[Key, Stored | None] = {}
    for start in range(0, len(keys), _READS_AT_ONCE):
        part = keys[start : start + _READS_AT_ONCE]
        found = await asyncio.gather(*(store.tenant(tenant).get(name, id) for tenant, name, id in part))
        rows.update(zip(part, found, strict=True))
    lives: defaultdict[Key, list[Change]] = defaultdict(list)
    for change in [*changes, *await _later(store, changes[-1].seq, rows)]:
        lives[change.tenant, change.collection, change.id].append(change)
    asked = {c.seq for c in wanted}
    made: dict[tuple[int, Version], State] = {}
    for key, row in rows.items():
        for version in versions[key[:2]]:
            for seq, state in _walk(row, lives[key], version):
                if seq in asked:
                    made[seq, version] = state
    return made


async def _later(store: Store, last: int, rows: Mapping[Key, Stored | None]) -> list[Change]:
    """The changes between the batch and the documents that were read."""
    until = max((row.seq for row in rows.values() if row is not None), default=0)
    collections = sorted({name for _, name, _ in rows})
    found: list[Change] = []
    for _ in range(_AHEAD_READS):
        if until <= last:
            break
        more = await store.changes(last, limit=_AHEAD_ROWS, collections=collections)
        found += [c for c in more if (c.tenant, c.collection, c.id) in rows]
        last = more[-1].seq if more else until
    return found


def _walk(row: Stored | None, life: Sequence[Change], version: Version) -> list[tuple[int, State]]:
    state: State = None if row is None else _decode(row.wire(version))
    made: list[tuple[int, State]] = []
    for change in reversed(life):
        if row is not None and change.seq > row.seq:
            continue  # came after the document was read
        made.append((change.seq, state))
        if change.op != "updated":
            state = None
        elif state is not None and change.changed:
            state = {**state, **{name: before for name, (before, _) in change.changed.items()}}
    return made


def filters(watch: Watch) -> bool:
    return watch.of.predicate is not None and watch.of.what.relation is None


def matches(watch: Watch, change: Change, found: Mapping[tuple[int, Version], State]) -> bool:
    """A deletion is told to all: what was deleted cannot be asked any more. So is what cannot be evaluated."""
    predicate = watch.of.predicate
    if predicate is None or change.op == "deleted":
        return True
    state = found.get((change.seq, watch.of.version))
    if state is None:
        return False
    try:
        return predicate(state)
    except Exception:  # one odd document shall not stop the feed
        log.exception("filter failed", subscription=watch.of.id, object=change.id)
        return True
