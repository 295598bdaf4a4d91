"""What a connection says of a directory: its objects put where they differ, edges, and what is gone removed.

Beside each object and edge that a stream has named stands a mark with the round in which it was named last. A round
ends when the system says that all of a set has been named (`Batch.whole`): what was brought by the same stream and not
named since the last such moment is removed then, a part at a time. What another stream there is has brought too stays.
Everything may be done again after a crash: the marks are written with what they mark.

Source: Microsoft Graph, "Use delta query to track changes" (what a full synchronisation and a deletion mean).
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

import msgspec
import structlog
from msgspec import Struct, field

from bartizan.auth.accounts import equals
from bartizan.errors import BadRequest, BartizanError, Conflict, TooLarge
from bartizan.extend import GraphObject, Relation
from bartizan.extend.connections import BROUGHT, pulls
from bartizan.extend.connectors import Batch, Edge, Rejected
from bartizan.extend.ownership import MAX_STREAMS_OF_ONE, item_key
from bartizan.ingest.made import described, object_draft
from bartizan.odata.tree import And, Compare, Expr, Literal, Or, Order, Path
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Collection, Draft, Store, Stored, TenantStore, Tx

WRITE_OBJECTS = 100  # of one write
WRITE_EDGES = 200
TELL_EACH = 3  # new edges of one object in one write that its set's delta query is told one by one, not as the whole
_REASONS = 5  # why objects were refused, told in one message
_UNKNOWN = "?"  # the set that an edge leads from, where no object there is has the id

T = TypeVar("T")
_log = structlog.get_logger(__name__)
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Place(Struct, rename="camel", omit_defaults=True):
    """How far a stream has been read. Round `since[set]` is the one in which the set was whole for the last time."""

    cursor: str | None = None
    round: int = 0
    since: dict[str, int] = field(default_factory=dict)


class Refused(Struct):
    """Objects that could not be stored, and some of the reasons."""

    objects: int = 0
    reasons: list[str] = field(default_factory=list)

    def add(self, what: str, error: Exception) -> None:
        self.objects += 1
        if len(self.reasons) < _REASONS:
            self.reasons.append(f"{what}: {described(error)}")

    def __str__(self) -> str:
        more = f"; and {self.objects - len(self.reasons)} more" if self.objects > len(self.reasons) else ""
        return f"{self.objects} objects were refused: {'; '.join(self.reasons)}{more}" if self.objects else ""


class Directory:
    """`collections` are the sets that connections may fill, `relations` the edges among them."""

    def __init__(self, store: Store, collections: Mapping[str, Collection], relations: Mapping[str, Relation]) -> None:
        self._store = store
        self._collections = collections
        self._relations = relations

    async def take(
        self, tenant: str, origin: str, stream: str, batch: Batch, place: Place, *, actor: str
    ) -> tuple[Place, Refused]:
        """Applies a batch; where the stream stands then, to be stored with its cursor. Rejected where it names a set or
        a relation that this server does not have: nothing of the batch is stored then."""
        self._check(batch)
        of = _Of(self._store.tenant(tenant), f"{origin}/{stream}", place.round, actor)
        refused = Refused()
        await self._remove(of, batch.gone)
        await self._put(of, batch.objects, refused)
        at_hand = {(each.collection, str(each.body["id"])) for each in batch.objects}
        for start in range(0, len(batch.edges), WRITE_EDGES):
            part = batch.edges[start : start + WRITE_EDGES]
            await of.write(partial(self._relate, of=of, edges=part, at_hand=at_hand))
        for start in range(0, len(batch.cut), WRITE_EDGES):
            part = batch.cut[start : start + WRITE_EDGES]
            await of.write(partial(self._cut_each, of=of, edges=part))
        since = dict(place.since)
        for collection in batch.whole:
            if collection in since:
                await self._sweep(of, collection, since[collection])
            since[collection] = place.round
        return Place(batch.cursor, place.round + bool(batch.whole), since), refused

    def _check(self, batch: Batch) -> None:
        named = {*(each.collection for each in batch.objects), *(name for name, _ in batch.gone), *batch.whole}
        edges = [*batch.edges, *batch.cut]
        unknown = sorted({*named, *(each.target_collection for each in edges)} - self._collections.keys())
        if unknown:
            raise Rejected(f"the connector names a set '{unknown[0]}' that this server does not have")
        unknown = sorted({each.relation for each in edges} - self._relations.keys())
        if unknown:
            raise Rejected(f"the connector names a relation '{unknown[0]}' that this server does not have")
        if not all(each.body.get("id") for each in batch.objects):
            raise Rejected("the connector gave an object without an id")

    # ------------------------------------------------------------ objects

    async def _put(self, of: "_Of", objects: Sequence[GraphObject], refused: Refused) -> None:
        """In parts; if the store refuses one, object by object. Who clashes with another object is tried again when all
        the others have been put: they may have exchanged a name."""
        clashing: list[Draft] = []
        for start in range(0, len(objects), WRITE_OBJECTS):
            drafts = await asyncio.to_thread(self._drafts, objects[start : start + WRITE_OBJECTS], refused)
            try:
                await of.write(partial(self._name_each, of=of, drafts=drafts))
            except (BadRequest, Conflict, TooLarge):
                for each in drafts:
                    try:
                        await of.write(partial(self._name, of=of, made=each))
                    except Conflict:
                        clashing.append(each)
                    except (BadRequest, TooLarge) as error:
                        refused.add(f"{each.collection} '{each.id}'", error)
        for each in clashing:
            try:
                await of.write(partial(self._name, of=of, made=each, free=True))
            except (BadRequest, Conflict) as error:
                refused.add(f"{each.collection} '{each.id}'", error)

    def _drafts(self, objects: Sequence[GraphObject], refused: Refused) -> list[Draft]:
        found: list[Draft] = []
        for each in objects:
            try:
                found.append(object_draft(each, self._collections))
            except BartizanError as error:
                refused.add(f"{each.collection} '{str(each.body['id'])[:100]}'", error)
        return found

    def _name_each(self, tx: Tx, of: "_Of", drafts: Sequence[Draft]) -> None:
        for each in drafts:
            self._name(tx, of, each)

    def _name(self, tx: Tx, of: "_Of", made: Draft, *, free: bool = False) -> None:
        collection = self._collections[made.collection]
        if free:
            self._free(tx, of, made)
        row = tx.get(made.collection, made.id)
        changed = None if row is None else _differences(row, made, collection)
        if row is None or changed:
            tx.put(made, changed=changed)
        of.mark(tx, made.collection, [made.collection, made.id])

    def _free(self, tx: Tx, of: "_Of", made: Draft) -> None:
        """What the system now says of this object cannot be so of another any more: where this stream alone brought
        that one, it loses the value until the system tells what has become of it."""
        collection = self._collections[made.collection]
        for column in collection.columns:
            value = made.columns.get(column.path)
            if not column.unique or not isinstance(value, str):
                continue
            holder = tx.lookup(made.collection, column.path, value.lower() if column.fold else value)
            if holder is None or holder.id == made.id:
                continue
            what = [made.collection, holder.id]
            if of.marked(tx, what) and not of.others(tx, what):
                body = {**inner(holder), column.path: None}
                tx.put(draft(collection, body, holder.id), changed={column.path: (value, None)})

    async def _remove(self, of: "_Of", gone: Sequence[tuple[str, str]]) -> None:
        """With the edges that lead from and to them, so many in a write that it stays short."""
        done = 0
        while done < len(gone):
            part = gone[done : done + WRITE_OBJECTS]
            done += await of.write(partial(self._removed, of=of, gone=part))

    def _removed(self, tx: Tx, of: "_Of", gone: Sequence[tuple[str, str]]) -> int:
        """How many of them are done with; the next one has more edges than this write had room for."""
        room = WRITE_EDGES
        for number, (collection, id) in enumerate(gone):
            if not of.others(tx, [collection, id]):
                room -= self._cut_from(tx, of, collection, id, room)
                if room <= 0:
                    return number
                tx.delete(collection, id)
            of.unmark(tx, [collection, id])
        return len(gone)

    def _cut_from(self, tx: Tx, of: "_Of", collection: str, id: str, most: int) -> int:
        """Edges from an object, at most so many. Sets may share an id: where another set has it too, they stay."""
        cut = 0
        for name, relation in self._relations.items():
            if collection not in relation.sets:
                continue
            if any(each != collection and tx.get(each, id) is not None for each in relation.sets):
                continue
            for target_collection, target in tx.related(name, id, limit=most - cut):
                tx.unrelate(name, id, target_collection, target)
                of.unmark(tx, _edge_key(Edge(name, id, target_collection, target)))
                cut += 1
            if cut >= most:
                break
        return cut

    # ------------------------------------------------------------ edges

    def _relate(self, tx: Tx, of: "_Of", edges: Sequence[Edge], at_hand: set[tuple[str, str]]) -> None:
        new: dict[tuple[str, str], list[Edge]] = {}
        for edge in edges:
            relation = self._relations[edge.relation]
            known = self._source(tx, edge, at_hand)
            if not relation.many:
                for target in tx.related(edge.relation, edge.source, limit=WRITE_EDGES):
                    if target != (edge.target_collection, edge.target):
                        self._cut(tx, of, Edge(edge.relation, edge.source, *target))
            if tx.relate(edge.relation, edge.source, edge.target_collection, edge.target):
                new.setdefault((known, edge.source), []).append(edge)
            of.mark(tx, f"edge.{known}", _edge_key(edge))
        for (collection, id), added in new.items():
            self._tell(tx, collection, id, added)

    def _source(self, tx: Tx, edge: Edge, at_hand: set[tuple[str, str]]) -> str:
        """The set of the object that the edge leads from."""
        sets = self._relations[edge.relation].sets
        if len(sets) == 1:
            return sets[0]
        for name in sets:
            if (name, edge.source) in at_hand or tx.get(name, edge.source) is not None:
                return name
        return _UNKNOWN

    def _tell(self, tx: Tx, collection: str, id: str, added: Sequence[Edge]) -> None:
        """The delta query of the object's set."""
        followed = [each for each in added if collection in self._relations[each.relation].followed]
        row = tx.get(collection, id) if followed else None
        if row is None:
            return
        again = draft(self._collections[collection], inner(row), id)
        if len(followed) > TELL_EACH:
            tx.put(again)
            return
        for each in followed:
            tx.put(again, changed={f"{each.relation}@delta": (None, each.target)})

    def _cut_each(self, tx: Tx, of: "_Of", edges: Sequence[Edge]) -> None:
        for each in edges:
            self._cut(tx, of, each)

    def _cut(self, tx: Tx, of: "_Of", edge: Edge) -> None:
        key = _edge_key(edge)
        of.unmark(tx, key)
        if of.others(tx, key) or not tx.unrelate(edge.relation, edge.source, edge.target_collection, edge.target):
            return
        for name in self._relations[edge.relation].followed:
            row = tx.get(name, edge.source)
            if row is not None:
                again = draft(self._collections[name], inner(row), edge.source)
                tx.put(again, changed={f"{edge.relation}@delta": (edge.target, None)})

    # ------------------------------------------------------------ what was not named

    async def _sweep(self, of: "_Of", collection: str, since: int) -> None:
        """Objects of the set, and edges from it, that this stream named last in round `since` or before."""
        while edges := await of.write(partial(self._swept_edges, of=of, kind=f"edge.{collection}", since=since)):
            _log.debug("directory.swept", of=of.owner, set=collection, edges=edges)
        after = ""
        unknown = partial(self._swept_unknown, of=of, collection=collection, since=since)
        while found := await of.write(partial(unknown, after=after)):
            after = found
        while stale := await of.write(partial(of.stale, kind=collection, since=since, limit=WRITE_OBJECTS)):
            await self._remove(of, [(mark.item[0], mark.item[1]) for mark in stale])

    def _swept_edges(self, tx: Tx, of: "_Of", kind: str, since: int) -> int:
        stale = of.stale(tx, kind, since, limit=WRITE_EDGES)
        for mark in stale:
            self._cut(tx, of, Edge(*mark.item))
        return len(stale)

    def _swept_unknown(self, tx: Tx, of: "_Of", collection: str, since: int, after: str) -> str:
        """Edges that led from an object that was not there when they were named, and is one of this set now. Up to
        where has been looked; empty at the end."""
        stale = of.stale(tx, f"edge.{_UNKNOWN}", since, limit=WRITE_EDGES, after=after)
        for mark in stale:
            edge = Edge(*mark.item)
            if tx.get(collection, edge.source) is not None:
                self._cut(tx, of, edge)
        return f"{stale[-1].place}\0{stale[-1].what}" if stale else ""


# ---------------------------------------------------------------- marks


class _Mark(Struct, frozen=True):
    """That a stream (`owner`) has named an item; `place` is `owner/kind/round`, so that old ones are found in order."""

    owner: str
    place: str
    what: str
    item: tuple[str, ...]


class _Of:
    """The marks of one stream, in its round."""

    def __init__(self, store: TenantStore, owner: str, round: int, actor: str) -> None:
        self.owner = owner
        self._store = store
        self._round = round
        self._actor = actor

    async def write(self, work: Callable[[Tx], T]) -> T:
        return await self._store.write(work, actor=self._actor)

    def mark(self, tx: Tx, kind: str, item: Sequence[str]) -> None:
        mark = _Mark(self.owner, f"{self.owner}/{kind}/{self._round:012d}", item_key(item), tuple(item))
        id = self._id(item)
        row = tx.get(BROUGHT.name, id)
        if row is None or _mark(row).place != mark.place:
            tx.put(draft(BROUGHT, msgspec.to_builtins(mark), id))

    def unmark(self, tx: Tx, item: Sequence[str]) -> None:
        tx.delete(BROUGHT.name, self._id(item))

    def marked(self, tx: Tx, item: Sequence[str]) -> bool:
        return tx.get(BROUGHT.name, self._id(item)) is not None

    def others(self, tx: Tx, item: Sequence[str]) -> bool:
        """Whether another stream that there still is names it. Marks of streams that are no more are forgotten."""
        same = equals(what=item_key(item))
        found = False
        for row in tx.find(BROUGHT.name, same, limit=MAX_STREAMS_OF_ONE):
            mark = _mark(row)
            if mark.owner == self.owner:
                continue
            if pulls(tx, *mark.owner.split("/", 1)):
                found = True
            else:
                tx.delete(BROUGHT.name, row.id)
        return found

    def stale(self, tx: Tx, kind: str, since: int, *, limit: int, after: str = "") -> list[_Mark]:
        """In order of place and item, behind `after`."""
        first, last = f"{self.owner}/{kind}/", f"{self.owner}/{kind}/{since:012d}"
        place, _, what = after.partition("\0")
        within: list[Expr] = [
            Compare("ge", _path("place"), Literal(place or first, "text")),
            Compare("le", _path("place"), Literal(last, "text")),
        ]
        if after:
            beyond = Compare("gt", _path("what"), Literal(what, "text"))
            within.append(Or((Compare("gt", _path("place"), Literal(place, "text")), beyond)))
        order = (Order(_path("place")), Order(_path("what")))
        return [_mark(row) for row in tx.find(BROUGHT.name, And(tuple(within)), limit=limit, order=order)]

    def _id(self, item: Sequence[str]) -> str:
        return item_key((self.owner, *item))


def _path(name: str) -> Path:
    return Path((name,), kind="text")


def _mark(row: Stored) -> _Mark:
    return msgspec.json.decode(row.doc, type=_Mark)


def _edge_key(edge: Edge) -> list[str]:
    return [edge.relation, edge.source, edge.target_collection, edge.target]


def _differences(row: Stored, made: Draft, collection: Collection) -> dict[str, tuple[Any, Any]]:
    """Property -> (before, after), by what is stored and what would be; stamps and ETag aside."""
    before, after = _decode(row.inner()), _decode(made.state or made.beta or made.doc)
    stamps = {collection.created, collection.updated, "@odata.etag"}
    return {
        name: (before.get(name), after.get(name))
        for name in before.keys() | after.keys()
        if name not in stamps and _said(before.get(name)) != _said(after.get(name))
    }


def _said(value: Any) -> Any:
    return None if value == [] else value
