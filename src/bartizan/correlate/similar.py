"""Incidents that look like one: by the rare entities, the detectors and the techniques that both have.

What both have counts by its rarity among the tenant's own incidents, in bits: something that one of 64 incidents has
tells 6 bits, what every other one has 1. An alert outside of all incidents counts as one for itself, so that an
entity of daily noise is not rare because the noise became no incident. Whatever is in very many observations tells
nothing and is not looked at.

Source: K. Spärck Jones, "A statistical interpretation of term specificity and its application in retrieval" (1972).
"""

import time
from collections.abc import Callable, Iterable, Sequence
from math import log2
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from bartizan.correlate.context import HUB, Cut
from bartizan.correlate.incident import Node
from bartizan.correlate.known import Document, Observations
from bartizan.store.alerts import ALERTS_V2, INCIDENTS
from bartizan.store.interface import Query

MAX_OWN = 500  # alerts of the incident that are looked at, the last stored ones
MAX_TRAITS = 60  # entities that are followed, the rarest; as many detectors
MAX_READ = 5_000  # alerts that are read along them
MAX_COMPARED = 40  # incidents whose own alerts are read, those that have most in common
MAX_THEIRS = 100  # alerts of each
MAX_SECONDS = 5.0
LEAST_INCIDENTS = 64  # fewer say little of what is rare
TECHNIQUE_BITS = 1.0  # techniques are few and every attack has some: they confirm, and never find
MAX_TECHNIQUE_BITS = 3.0
LEAST_BITS = 5.0  # that two incidents have in common; below it, chance brings more of them than attackers do

Kind = Literal["entity", "detector", "technique"]
DETECTOR = "detector"  # kind under which the entity index has the detectors of incidents


class Reason(Struct, frozen=True):
    """Something that both have."""

    kind: Kind
    value: str  # of an entity kind:value
    incidents: int | None  # that have it, with alerts outside of incidents; None where that is not counted
    bits: float


class Similar(Struct):
    """An incident with what it has in common with the one that was asked about."""

    incident: dict[str, Any]  # as it is served
    reasons: list[Reason]
    share: float  # of the bits that the other one has at all, 0 to 1

    @property
    def bits(self) -> float:
        return sum(each.bits for each in self.reasons)


class Found(Struct):
    similar: list[Similar]
    cut: list[Cut]
    observations: int  # that were read
    compared: int  # incidents that have something in common


class _Search(Struct):
    id: str
    reader: Observations
    total: int  # incidents of the tenant, at least LEAST_INCIDENTS
    late: Callable[[], bool]
    read: int = 0
    cut: dict[Cut, None] = field(default_factory=dict)
    reasons: dict[str, dict[tuple[Kind, str], Reason]] = field(default_factory=dict)  # by incident
    own: float = 0.0  # bits of everything that this one has

    def bits(self, number: int) -> float:
        return max(0.0, log2(self.total / max(1, number)))

    def note(self, incidents: Iterable[str], reason: Reason) -> None:
        self.own += reason.bits
        for each in incidents:
            if each != self.id and reason.bits > 0:
                self.reasons.setdefault(each, {})[reason.kind, reason.value] = reason


async def similar_incidents(
    reader: Observations, incident: str, *, top: int = 10, clock: Callable[[], float] = time.monotonic
) -> Found:
    """Those with most bits in common first. The incident exists; the reader is one of alerts alone."""
    end = clock() + MAX_SECONDS
    total = max(LEAST_INCIDENTS, await reader.store.count(INCIDENTS.name))
    search = _Search(incident, reader, total, lambda: clock() > end)
    own, more = await reader.of_incident(incident, MAX_OWN)
    search.read += len(own)
    if more:
        search.cut["observations"] = None
    await _by_entities(search, own)
    await _by_detectors(search, own)
    return await _compared(search, own, top)


async def _by_entities(search: _Search, own: Sequence[Document]) -> None:
    counts: dict[Node, int] = {}
    for seen in own:
        for node in {node for node, _ in seen.named}:
            counts[node] = counts.get(node, 0) + 1
    nodes = sorted(counts)
    sizes = dict(zip(nodes, await search.reader.counts(nodes, 2 * HUB, (ALERTS_V2.name,)), strict=True))
    rare = sorted((node for node in nodes if sizes[node] < HUB), key=lambda node: (sizes[node], node))
    known_elsewhere = [node for node in rare if sizes[node] > counts[node] or len(search.reader.known.names(node)) > 1]
    for node in rare:
        if node not in known_elsewhere:
            search.own += search.bits(1)
    if len(known_elsewhere) > MAX_TRAITS:
        search.cut["nodes"] = None
    for node in known_elsewhere[:MAX_TRAITS]:
        if search.late():
            search.cut["time"] = None
            return
        room = MAX_READ - search.read
        if room <= 0:
            search.cut["observations"] = None
            return
        await _follow(search, node, min(HUB, room))


async def _follow(search: _Search, node: Node, most: int) -> None:
    """Where else an entity was."""
    keys = [key for key in await search.reader.touching(node, most) if key.collection == ALERTS_V2.name]
    search.read += len(keys)
    stories = {
        seen.incident or f"alert {seen.key.id}": seen.incident for seen in await search.reader.observations(keys)
    }
    number = len(stories)
    reason = Reason("entity", f"{node[0]}:{node[1]}", number, search.bits(number))
    search.note((incident for incident in stories.values() if incident), reason)


async def _by_detectors(search: _Search, own: Sequence[Document]) -> None:
    """Those of correlation are in the index of incidents."""
    detectors = list(dict.fromkeys(seen.detector for seen in own))
    if len(detectors) > MAX_TRAITS:
        search.cut["nodes"] = None
    for detector in detectors[:MAX_TRAITS]:
        rows = await search.reader.store.entity(DETECTOR, detector, collection=INCIDENTS.name, limit=HUB)
        ids = {id for _, id, _, _ in rows} | {search.id}
        if len(rows) < HUB:
            search.note(sorted(ids), Reason("detector", detector, len(ids), search.bits(len(ids))))


async def _compared(search: _Search, own: Sequence[Document], top: int) -> Found:
    """The most promising ones by their own alerts: those tell techniques, and detectors that correlation did not."""
    by_bits = {id: sum(each.bits for each in reasons.values()) for id, reasons in search.reasons.items()}
    best = sorted(by_bits, key=lambda id: (-by_bits[id], id))
    bodies = await _incidents(search.reader, best[: 2 * MAX_COMPARED])
    techniques = {each for seen in own for each in seen.techniques}
    found: list[Similar] = []
    for id in [id for id in best if id in bodies][:MAX_COMPARED]:
        theirs, _ = await search.reader.of_incident(id, MAX_THEIRS)
        search.read += len(theirs)
        reasons = list(search.reasons[id].values())
        both = sorted(techniques & {each for seen in theirs for each in seen.techniques})
        bits = min(TECHNIQUE_BITS, MAX_TECHNIQUE_BITS / max(1, len(both)))
        reasons += [Reason("technique", each, None, bits) for each in both]
        reasons.sort(key=lambda each: (-each.bits, each.kind, each.value))
        whole = search.own + min(MAX_TECHNIQUE_BITS, TECHNIQUE_BITS * len(techniques))
        one = Similar(bodies[id], reasons, 0.0)
        one.share = min(1.0, one.bits / whole) if whole > 0 else 0.0
        if one.bits >= LEAST_BITS:
            found.append(one)
    found.sort(key=lambda each: (-each.bits, each.incident["id"]))
    return Found(found[:top], sorted(search.cut), search.read, len(best))


async def _incidents(reader: Observations, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """As served; those that were merged into others stand there, with all of their alerts."""
    page = await reader.store.page(INCIDENTS.name, Query(len(ids), ids=tuple(ids), version="beta")) if ids else None
    bodies = [msgspec.json.decode(row.wire("beta"), type=dict[str, Any]) for row in page.rows] if page else []
    return {body["id"]: body for body in bodies if not body.get("redirectIncidentId")}
