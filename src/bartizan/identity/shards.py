"""Several stages that share the principals of every tenant: their names and places, what they tell one another, and how
a tenant changes from one number of them to another.

Each reads all events and keeps its own rows of what is of addresses and of the tenant; it scores, keeps and tells of
its own principals alone. Two things cannot be known from the events: how many sign-ins of others had which score, from
which a day's thresholds follow, and what a person's word on somebody else's principal says. Each writes its part of
them when it comes there, and goes on once the others have come there too. That place is the same for all, so whoever is
furthest behind never waits; the live and the settled state wait by themselves.

The first stage decides how many there are. `LAYOUT` of a tenant says how many it was made for, and every write asks
whether that still holds.

Source: barriers of a bulk-synchronous computation, Valiant, "A bridging model for parallel computation" (1990).
"""

from collections.abc import AsyncIterator, Iterable, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bartizan.errors import Conflict
from bartizan.identity.engine import Feedback, Heard, shard_of
from bartizan.identity.events import DAY
from bartizan.identity.levels import Day, Part
from bartizan.identity.memory import FORMAT, MEMORY, Memory, decode_day, decode_whole, kept_rows, row_id, row_of
from bartizan.identity.reading import ACTOR
from bartizan.identity.verdicts import TEACHING
from bartizan.identity.waiting import Position, Step
from bartizan.store.interface import FEED_PLACE, Draft, Query, TenantStore, Tx

MAX_SHARDS = 16
NAME = "identity"
PLACE = "identity/place"
POSITION = f"{FEED_PLACE}identity/position"
LAYOUT = "identity/shards"  # number of stages; absent: one. With a sign behind it, on the way to another
LEVELLING, LEVEL = b">", b"="  # to the same place, and there: all that was counted apart is the first's
ROWS = 500  # that one write copies or removes
STATES = ("l", "s")

_part = msgspec.json.Decoder(Part).decode
_heard = msgspec.json.Decoder(Heard).decode


class Place(Struct):
    """How far one tenant is. `stamp` is that of the last document taken, `settled` the time and id of the last event
    that was settled; `feedback` are people's words between the two. `behind`: more was due."""

    stamp: str = ""
    newest: float = 0.0
    settled: Position = (0.0, "")
    feedback: list[Feedback] = []
    pending: dict[str, float] = {}
    behind: bool = False


def name_of(shard: int) -> str:
    """Of its lease and of its cursor. That of the first is the same however many there are."""
    return f"{NAME}-{shard}" if shard else NAME


def place_key(shard: int) -> str:
    return f"{PLACE}/{shard}" if shard else PLACE


def position_key(shard: int) -> str:
    return f"{POSITION}/{shard}" if shard else POSITION


class Layout(Struct, frozen=True):
    """`raw` is the stored value; `moving` says where a change to another number is."""

    raw: bytes | None
    shards: int
    moving: bytes = b""


def layout_of(raw: bytes | None) -> Layout:
    if raw is None:
        return Layout(None, 1)
    moving = raw[-1:] if raw[-1:] in (LEVELLING, LEVEL) else b""
    return Layout(raw, int(raw.removesuffix(moving)), moving)


def value_of(shards: int, moving: bytes = b"") -> bytes | None:
    return None if shards == 1 and not moving else str(shards).encode() + moving


# ---------------------------------------------------------------- what they tell one another


def shared_word(event: Step) -> bool:
    """Whether others have to know what it says."""
    return isinstance(event, Feedback) and event.verdict in TEACHING


def heard_row(memory: Memory, word: str, heard: Heard) -> Draft:
    return row_of(row_id(memory.which, ("f", word), memory.shard), heard)


async def free(
    store: TenantStore, layout: Layout, memory: Memory, events: Sequence[Step], heard: dict[str, Heard]
) -> int:
    """How many of these events may be stepped now: up to one that begins a day, whose thresholds need what comes before
    it, here and elsewhere, and up to a word on somebody else's principal that its own stage has not heard yet. `heard`
    takes what such words say. Nothing of `memory` is unwritten."""
    state = memory.state
    for number, event in enumerate(events):
        day = int(event.at // DAY)
        if not isinstance(event, Feedback) and not memory.levels.settled(day):
            if number:
                return number
            parts = await _parts(store, layout, memory, day)
            if parts is None:
                return 0
            memory.levels.begin(day, parts)
        if shared_word(event) and not state.mine(event.principal) and event.id not in heard:
            id = row_id(memory.which, ("f", event.id), shard_of(event.principal, state.shards))
            row = await store.get(MEMORY.name, id)
            if row is None:
                return number
            heard[event.id] = _heard(row.doc)
    return len(events)


async def _parts(store: TenantStore, layout: Layout, memory: Memory, day: int) -> list[Part] | None:
    """Of the others for a day, None while one has not come there. Writes our own."""
    shards = memory.state.shards
    ids = [row_id(memory.which, ("g", str(day)), shard) for shard in range(shards)]
    rows = await kept_rows(store, ids)
    if ids[memory.shard] not in rows:
        await _written(store, layout, [row_of(ids[memory.shard], memory.levels.part(day))], [])
    others = [rows.get(id) for shard, id in enumerate(ids) if shard != memory.shard]
    found = [_part(row.doc) for row in others if row is not None]
    return found if len(found) == len(others) else None


async def counted_elsewhere(store: TenantStore, memory: Memory, days: Iterable[int]) -> None:
    """Adds what the other stages have counted to the first one's levels."""
    shards = layout_of(await store.value(LAYOUT)).shards
    ids = {row_id(memory.which, ("l", str(day)), shard): day for shard in range(1, shards) for day in days}
    for id, row in (await kept_rows(store, list(ids))).items():
        memory.levels.add(ids[id], decode_day(row.doc))


# ---------------------------------------------------------------- from one number to another


async def level(store: TenantStore, layout: Layout) -> None:
    """All are at one place: what they counted apart is from here on the first's."""
    shards = range(1, layout.shards)

    def work(tx: Tx) -> None:
        _same(tx, layout.raw)
        for which in STATES:
            for draft in _counted(tx, which, layout.shards):
                tx.put(draft)
        first = _place(tx, 0)
        if first is not None:
            others = [_place(tx, shard) or Place() for shard in shards]
            places = [first, *others]
            words = [{each.id for each in place.feedback} for place in places]
            kept = [each for each in first.feedback if each.id in words[shard_of(each.principal, layout.shards)]]
            pending = {id: at for place in places for id, at in place.pending.items()}
            tx.set_value(PLACE, msgspec.json.encode(replace(first, feedback=kept, pending=pending)))
        tx.set_value(LAYOUT, value_of(layout.shards, LEVEL))

    await store.write(work, actor=ACTOR)


def _counted(tx: Tx, which: str, shards: int) -> Iterable[Draft]:
    """The first's days with what all have counted, and the others' without."""
    whole = tx.get(MEMORY.name, row_id(which, ("t", "")))
    if whole is None:
        return []
    days: dict[int, Day] = {}
    emptied: list[Draft] = []
    for shard in range(shards):
        row = tx.get(MEMORY.name, row_id(which, ("t", ""), shard))
        for day in decode_whole(row.doc).days if row is not None else ():
            id = row_id(which, ("l", str(day)), shard)
            kept = tx.get(MEMORY.name, id)
            if kept is None:
                continue
            its, of = decode_day(kept.doc), days.setdefault(day, Day())
            of.thresholds = of.thresholds or its.thresholds
            for index, count in its.counts.items():
                of.counts[index] = of.counts.get(index, 0) + count
            if shard:
                emptied.append(row_of(id, Day({}, its.thresholds)))
    summed = [row_of(row_id(which, ("l", str(day))), of) for day, of in days.items()]
    every = row_of(row_id(which, ("t", "")), replace(decode_whole(whole.doc), days=sorted(days)))
    return [*summed, *emptied, every]


async def spread(store: TenantStore, layout: Layout, shards: int) -> None:
    """From one place to so many: each has a copy of the first's rows that are not of its principals alone."""
    for shard in range(1, MAX_SHARDS):
        for which in (*STATES, "-"):
            await _remove(store, layout, f"{FORMAT}/{which}{shard}/")
    for which in STATES:
        for kind in ("g", "f"):  # what was told is heard
            await _remove(store, layout, f"{FORMAT}/{which}/{kind}/")
    for which in (*STATES, "-") if shards > 1 else ():
        await _copy(store, layout, which, shards)

    def work(tx: Tx) -> None:
        _same(tx, layout.raw)
        first, at = _place(tx, 0), tx.value(POSITION)
        copy = None if first is None else msgspec.json.encode(replace(first, pending={}))
        for shard in range(1, MAX_SHARDS):
            tx.set_value(place_key(shard), copy if shard < shards else None)
            tx.set_value(position_key(shard), at if shard < shards else None)
        tx.set_value(LAYOUT, value_of(shards))

    await store.write(work, actor=ACTOR)


async def _copy(store: TenantStore, layout: Layout, which: str, shards: int) -> None:
    begins = f"{FORMAT}/{which}/"
    async for ids in _ids(store, begins):
        of = [id for id in ids if not id.startswith(f"{begins}p/")]
        rows = await kept_rows(store, of)
        drafts: list[Draft] = []
        for id, row in rows.items():
            doc = row.doc
            if id.startswith(f"{begins}l/"):
                doc = msgspec.json.encode(Day({}, decode_day(doc).thresholds))
            for shard in range(1, shards):
                there = f"{FORMAT}/{which}{shard}/{id.removeprefix(begins)}"
                drafts.append(Draft(collection=MEMORY.name, id=there, doc=doc))
        for begin in range(0, len(drafts), ROWS):
            await _written(store, layout, drafts[begin : begin + ROWS], [])


async def _remove(store: TenantStore, layout: Layout, begins: str) -> None:
    async for ids in _ids(store, begins):
        await _written(store, layout, [], ids)


async def _written(store: TenantStore, layout: Layout, drafts: Sequence[Draft], gone: Sequence[str]) -> None:
    def work(tx: Tx) -> None:
        _same(tx, layout.raw)
        for draft in drafts:
            tx.put(draft)
        for id in gone:
            tx.delete(MEMORY.name, id)

    await store.write(work, actor=ACTOR, bulk=True)


async def _ids(store: TenantStore, begins: str) -> AsyncIterator[list[str]]:
    """Ids of rows that begin so, in parts."""
    after: str = begins
    while True:
        page = await store.page(MEMORY.name, Query(ROWS, after=(after,), bare=True))
        ids = [row.id for row in page.rows if row.id.startswith(begins)]
        if ids:
            yield ids
        if not page.more or len(ids) < len(page.rows):
            return
        after = ids[-1]


def _place(tx: Tx, shard: int) -> Place | None:
    kept = tx.value(place_key(shard))
    return None if kept is None else msgspec.json.decode(kept, type=Place)


def _same(tx: Tx, raw: bytes | None) -> None:
    if tx.value(LAYOUT) != raw:
        raise Conflict("the number of stages of identity protection is being changed by another process")
