"""What is known of a tenant's entities: which names are one person or host, and the observations that name them.

Names come from correlation, which learns them from directory objects and from evidence that states several of one
account or device (`correlate.aliases`). What may mean two is never joined: such a name stands for itself.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import NamedTuple

from msgspec import Struct
from msgspec.json import Decoder

from bartizan.correlate.aliases import Aliases, Token, readable
from bartizan.correlate.context import HUB, Key, Observation
from bartizan.correlate.facts import Names
from bartizan.correlate.incident import Node
from bartizan.correlate.stage import POSITION, names_of
from bartizan.model.times import instant, to_datetime
from bartizan.odata.tree import Compare, Literal, Path
from bartizan.store.interface import Page, Query, TenantStore

MAX_TENANTS = 16  # whose names are in memory; up to some ten MB each
MAX_NAMES = 16  # of one thing, as they are looked up in the index
CHUNK = 500  # documents of one read
COUNTED = 10_000  # index rows that a count reads, of each name and collection
CLOCKS = timedelta(hours=1)  # how far ahead of ours the clock of a source may be
REST = 20.0  # times what it took to read the names, before they are read again

KINDS = ("host", "user", "address", "hash", "domain", "url", "mailbox", "process", "resource")
# What connects entities. The legacy face of an alert, directory objects and indicators name entities too: they are no
# observations of them together.
OBSERVED = ("alerts_v2", "signIns", "riskDetections", "servicePrincipalRiskDetections")


class Known:
    """Names of one tenant, both ways: from a name in the index to the node, and back to all of its names."""

    def __init__(self, names: Names | None = None) -> None:
        self._node: dict[Node, Node] = {}
        self._names: dict[Node, tuple[Node, ...]] = {}
        if names is not None:
            self._take("user", names.people)
            self._take("host", names.hosts)

    def _take(self, kind: str, aliases: Aliases) -> None:
        for root, tokens in aliases.groups().items():
            ordered = sorted(tokens, key=lambda token: (readable(token), token))
            shown = (kind, aliases.shown(root))
            named = list(dict.fromkeys(node for token in ordered for node in _indexed(kind, token)))[:MAX_NAMES]
            if len(named) < 2:
                continue
            node = shown if shown in named else named[0]
            self._names[node] = (node, *(each for each in named if each != node))
            self._node.update(dict.fromkeys(named, node))

    def node(self, kind: str, value: str) -> Node:
        """The one that a name in the index means."""
        return self._node.get((kind, value), (kind, value))

    def names(self, node: Node) -> tuple[Node, ...]:
        """What the index may call it, the name that people use first."""
        return self._names.get(node, (node,))


def _indexed(kind: str, token: Token) -> list[Node]:
    """As the entity index has it: a mail address is that of a mailbox too."""
    what, _, value = token.partition(":")
    return [(kind, value), ("mailbox", value)] if what == "addr" else [(kind, value)]


class _Held(NamedTuple):
    position: bytes | None
    known: Known
    until: float  # until when it may be behind


class Acquaintance:
    """`Known` of each tenant, kept in memory and read again as correlation goes on."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, _Held] = OrderedDict()

    async def of(self, store: TenantStore) -> Known:
        """As of now, or of a moment ago where reading takes long."""
        held, position = self._held.get(store.tenant), await store.value(POSITION)
        if held is not None and (held.position == position or time.monotonic() < held.until):
            self._held.move_to_end(store.tenant)
            return held.known
        begun = time.monotonic()
        known = await asyncio.to_thread(Known, await names_of(store)) if position is not None else Known()
        took = time.monotonic() - begun
        self._held[store.tenant] = _Held(position, known, time.monotonic() + REST * took)
        self._held.move_to_end(store.tenant)
        if len(self._held) > MAX_TENANTS:
            self._held.popitem(last=False)
        return known


# ---------------------------------------------------------------- observations


class Document(Observation, frozen=True):
    """An observation with what a timeline, a score and a comparison look at."""

    stored: str = ""  # stamp of its creation in the store
    title: str = ""
    severity: str = ""  # of alerts as Graph has it, of risk detections low to high; sign-ins have none
    status: str = ""
    verdict: str = ""  # the classification of an alert, once somebody has given one
    incident: str = ""
    detector: str = ""  # product and rule
    techniques: tuple[str, ...] = ()  # of ATT&CK
    source: str = ""  # the product, or what was signed in to


class _Alert(Struct):
    createdDateTime: str | None = None
    firstActivityDateTime: str | None = None
    title: str | None = None
    severity: str | None = None
    status: str | None = None
    classification: str | None = None
    incidentId: str | None = None
    productName: str | None = None
    detectorId: str | None = None
    mitreTechniques: list[str] | None = None


class _Outcome(Struct):
    errorCode: int | None = None
    failureReason: str | None = None


class _SignIn(Struct):
    createdDateTime: str | None = None
    appDisplayName: str | None = None
    status: _Outcome | None = None


class _Risk(Struct):
    activityDateTime: str | None = None
    detectedDateTime: str | None = None
    riskEventType: str | None = None
    riskLevel: str | None = None
    riskState: str | None = None
    source: str | None = None


_alert, _sign_in, _risk = Decoder(_Alert).decode, Decoder(_SignIn).decode, Decoder(_Risk).decode
Named = tuple[tuple[Node, str], ...]


def _of_alert(key: Key, stored: str, body: bytes, named: Named) -> Document:
    told = _alert(body)
    product = told.productName or ""
    return Document(
        key,
        told.firstActivityDateTime or told.createdDateTime or stored,
        named,
        stored,
        told.title or "",
        told.severity or "unknown",
        told.status or "unknown",
        "" if told.classification in (None, "unknown") else str(told.classification),
        told.incidentId or "",
        f"{product}/{told.detectorId or told.title}".lower(),
        tuple(told.mitreTechniques or ()),
        product,
    )


def _of_sign_in(key: Key, stored: str, body: bytes, named: Named) -> Document:
    told = _sign_in(body)
    code = told.status.errorCode if told.status is not None else None
    status = "success" if code == 0 else "unknown" if code is None else "failure"
    reason = told.status.failureReason if told.status is not None and status == "failure" else None
    app = told.appDisplayName or ""
    title = f"Sign-in to {app or 'an application'}" + (f" failed: {reason or code}" if status == "failure" else "")
    return Document(key, told.createdDateTime or stored, named, stored, title, status=status, source=app)


def _of_risk(key: Key, stored: str, body: bytes, named: Named) -> Document:
    told = _risk(body)
    return Document(
        key,
        told.activityDateTime or told.detectedDateTime or stored,
        named,
        stored,
        told.riskEventType or "",
        told.riskLevel or "",
        told.riskState or "",
        source=told.source or "",
    )


_READ = {
    "alerts_v2": _of_alert,
    "signIns": _of_sign_in,
    "riskDetections": _of_risk,
    "servicePrincipalRiskDetections": _of_risk,
}


class Observations:
    """A `Reader` over one tenant's store: those of `OBSERVED` that the caller may see, of what happened at `since` or
    later."""

    def __init__(
        self, store: TenantStore, known: Known, collections: Sequence[str] = OBSERVED, since: str | None = None
    ) -> None:
        self.store = store
        self.known = known
        self.collections = tuple(collections)
        self._since = since
        # what has happened is stored afterwards, by a clock that may be behind that of the source
        self.stored = None if since is None else instant(to_datetime(since) - CLOCKS)

    async def touching(self, node: Node, limit: int) -> list[Key]:
        return [key for key, _ in await self.mentions(node, limit, since=self.stored)]

    async def mentions(
        self, node: Node, limit: int, *, since: str | None = None, before: str | None = None
    ) -> list[tuple[Key, str]]:
        """Observations by their stamps in the store, the newest first, each once, at most `limit`."""
        found: dict[Key, str] = {}
        for kind, value in self.known.names(node):
            for collection in self.collections:
                found.update(await self._listed(kind, value, collection, limit, since, before))
        return sorted(found.items(), key=lambda each: (each[1], each[0]), reverse=True)[:limit]

    async def _listed(
        self, kind: str, value: str, collection: str, limit: int, since: str | None, before: str | None
    ) -> dict[Key, str]:
        """Documents have several rows where an entity has several roles: as many as it takes are read."""
        found: dict[Key, str] = {}
        while True:
            rows = await self.store.entity(kind, value, collection=collection, limit=limit, since=since, before=before)
            found.update((Key(collection, id), created) for _, id, _, created in rows)
            if len(rows) < limit or len(found) >= limit:
                return found
            before = rows[-1][3]  # of its document one role is enough

    async def oldest(self, node: Node) -> list[Key]:
        """The first stored one, of each of its names and of each collection."""
        found: list[Key] = []
        names = self.known.names(node)
        spans = await self.store.spans(names, collections=self.collections, most=1)
        for (kind, value), by_collection in zip(names, spans, strict=True):
            for collection, span in by_collection.items():
                rows = await self.store.entity(
                    kind, value, collection=collection, limit=1, since=span.first, before=f"{span.first}~"
                )
                found += [Key(collection, id) for _, id, _, _ in rows]
        return list(dict.fromkeys(found))

    async def of_incident(self, incident: str, most: int) -> tuple[list[Document], bool]:
        """Its alerts, the last stored first, and whether there are more than `most`."""
        of = Compare("eq", Path(("incidentId",), kind="text"), Literal(incident, "text"))
        page = await self.store.page("alerts_v2", Query(most, of, version="beta"))
        return await self._made("alerts_v2", page), page.more

    async def sizes(self, nodes: Sequence[Node]) -> list[int]:
        return await self.counts(nodes, 2 * HUB)

    async def counts(self, nodes: Sequence[Node], most: int, collections: Sequence[str] | None = None) -> list[int]:
        """Observations of each; of a thing with several names those of its most frequent one, which is the least that
        there are. Counted to `most` rows of the index."""
        among = self.collections if collections is None else collections
        asked = [(at, name) for at, node in enumerate(nodes) for name in self.known.names(node)]
        best = [dict.fromkeys(among, 0) for _ in nodes]
        for start in range(0, len(asked), CHUNK):
            some = asked[start : start + CHUNK]
            spans = await self.store.spans([name for _, name in some], collections=among, most=most)
            for (at, _), found in zip(some, spans, strict=True):
                for collection, span in found.items():
                    number = max(span.documents, HUB) if span.more else span.documents
                    best[at][collection] = max(best[at][collection], number)
        return [sum(each.values()) for each in best]

    async def observations(self, keys: Sequence[Key]) -> list[Document]:
        found: list[Document] = []
        for collection in dict.fromkeys(key.collection for key in keys):
            ids = [key.id for key in keys if key.collection == collection]
            for start in range(0, len(ids), CHUNK):
                found += await self._read(collection, ids[start : start + CHUNK])
        return found if self._since is None else [seen for seen in found if seen.at >= self._since]

    async def _read(self, collection: str, ids: Sequence[str]) -> list[Document]:
        return await self._made(
            collection, await self.store.page(collection, Query(len(ids), ids=tuple(ids), version="beta"))
        )

    async def _made(self, collection: str, page: Page) -> list[Document]:
        listed: dict[str, list[tuple[str, str, str]]] = {}
        for start in range(0, len(page.rows), CHUNK):
            ids = [row.id for row in page.rows[start : start + CHUNK]]
            listed.update(await self.store.entities_of(collection, ids))
        read = _READ[collection]
        return [
            read(Key(collection, row.id), row.created, row.wire("beta"), self._named(listed.get(row.id, ())))
            for row in page.rows
        ]

    def _named(self, listed: Iterable[tuple[str, str, str]]) -> Named:
        return tuple(dict.fromkeys((self.known.node(kind, value), role) for kind, value, role in listed))
