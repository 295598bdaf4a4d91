"""What is known of one entity: when it was seen, where, in how much, and how bad that was. And which entities there
are."""

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from msgspec import Struct

from bartizan.correlate.incident import Node
from bartizan.correlate.known import COUNTED, Document, Observations
from bartizan.model.times import instant, parse, to_datetime

READ = 250  # observations of an entity that are read, the last stored ones; counts go beyond
LIST_CHUNK = 100  # values of the index that one step of a list looks at
QUIET = timedelta(days=30)  # older alerts than the last one by this say nothing of the risk of today

# How likely an alert of a severity is worth acting on, roughly; a risk score is the chance that one of them is.
WEIGHTS = {"high": 0.5, "medium": 0.25, "low": 0.1, "informational": 0.02, "unknown": 0.05}
_CLEARED = ("falsePositive", "informationalExpectedActivity")
_GONE = ("remediated", "dismissed", "confirmedSafe", "none")
_ORDER = ("high", "medium", "low", "informational", "unknown")


class Portrait(Struct):
    """Of what was read, and of what was counted. Instants on the wire."""

    node: Node
    names: tuple[Node, ...]  # that the index may know it by
    first: str
    last: str
    counts: dict[str, int]  # observations by collection; at least, where `more`
    documents: list[Document]  # the last stored, in order of time
    more: bool  # there are further ones: what follows from documents is of the last ones alone

    def beside(self, kind: str) -> list[Node]:
        """Entities of a kind that stand with it, in order of first appearance."""
        found = (node for seen in self.documents for node, _ in seen.named)
        return list(dict.fromkeys(node for node in found if node[0] == kind and node != self.node))

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    @property
    def incidents(self) -> list[str]:
        return list(dict.fromkeys(seen.incident for seen in self.documents if seen.incident))

    @property
    def severity(self) -> str | None:
        """The worst of its alerts."""
        found = {seen.severity for seen in self.documents if seen.key.collection == "alerts_v2"}
        return next((each for each in _ORDER if each in found), None)

    @property
    def risk(self) -> int:
        """0 to 100: that one of the alerts and detections of its last month is worth acting on; what an analyst cleared
        is not."""
        fresh = instant(to_datetime(parse(self.last)) - QUIET) if self.last else ""
        quiet = 1.0
        for seen in self.documents:
            if seen.key.collection != "signIns" and seen.at >= fresh and not _cleared(seen):
                quiet *= 1 - WEIGHTS.get(seen.severity, 0.0)
        return round(100 * (1 - quiet))


def _cleared(seen: Document) -> bool:
    return seen.verdict in _CLEARED or (seen.key.collection != "alerts_v2" and seen.status in _GONE)


async def portrait(reader: Observations, node: Node) -> Portrait:
    """Without observations where nothing that the reader sees names it."""
    mentions = await reader.mentions(node, READ + 1)
    more = len(mentions) > READ
    counts = dict.fromkeys(reader.collections, 0)
    keys = [key for key, _ in mentions[:READ]]
    if more:
        for collection in reader.collections:
            (counts[collection],) = await reader.counts([node], COUNTED, (collection,))
        keys += [key for key in await reader.oldest(node) if key not in set(keys)]
    else:
        for key in keys:
            counts[key.collection] += 1
    documents = sorted(await reader.observations(keys), key=lambda seen: (seen.at, seen.key))
    first, last = (documents[0].at, documents[-1].at) if documents else ("", "")
    return Portrait(node, reader.known.names(node), first, last, counts, documents, more)


async def entities(
    reader: Observations, kind: str, *, also: Sequence[str] = (), prefix: str = "", after: str = ""
) -> AsyncIterator[tuple[str, Node]]:
    """Each entity of a kind once, with the name that it stands under in the order of the list: the first of its names
    that the index has and that begins with `prefix`. `also`: further collections whose entities are listed."""
    kinds = (kind, "mailbox") if kind == "user" else (kind,)
    among = (*reader.collections, *also)
    while True:
        found: set[str] = set()
        end: str | None = None
        for each in kinds:
            values = await reader.store.values(each, collections=among, prefix=prefix, after=after, limit=LIST_CHUNK)
            found.update(values)
            if len(values) == LIST_CHUNK:
                end = values[-1] if end is None else min(end, values[-1], key=str.encode)
        for value in sorted(found, key=str.encode):
            if end is not None and value.encode() > end.encode():
                break
            for node in dict.fromkeys(reader.known.node(each, value) for each in kinds):
                if node[0] == kind and value == await _stands_under(reader, node, kinds, among, prefix):
                    yield value, node
        if end is None:
            return
        after = end


async def _stands_under(
    reader: Observations, node: Node, kinds: Sequence[str], among: Sequence[str], prefix: str
) -> str | None:
    names = [name for name in reader.known.names(node) if name[0] in kinds and name[1].startswith(prefix)]
    spans = await reader.store.spans(names, collections=among, most=1)
    there = [value for (_, value), span in zip(names, spans, strict=True) if span]
    return min(there, key=str.encode, default=None)
