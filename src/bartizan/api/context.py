"""The context of an investigation: entities, what stands beside them, the way from one to another, similar incidents.

This server's own set and functions in Graph's style, under beta. Whoever asks sees the graph of those observations
alone that the token may read on their own paths: alerts, sign-ins, risk detections.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from bartizan.api import workload_risk
from bartizan.api.alerts import alerts, alerts_v2, incidents
from bartizan.api.audit_logs import sign_ins
from bartizan.api.identity_protection import risk_detections
from bartizan.api.wire.made import listed, made, narrowed
from bartizan.auth.caller import Access
from bartizan.correlate import portrait as portraits
from bartizan.correlate.context import HUB, Edge, Graph, Key, Limits, graph_of, neighbours, shortest_path
from bartizan.correlate.incident import Node
from bartizan.correlate.known import KINDS, Acquaintance, Document, Observations
from bartizan.correlate.portrait import Portrait, portrait
from bartizan.correlate.similar import Similar, similar_incidents
from bartizan.errors import BadRequest, Forbidden
from bartizan.extend import Answer, Can, Context, resource
from bartizan.model.times import parse
from bartizan.store.interface import Page, Query, Stored

_OWN = "microsoft.graph.security"
ENTITY = f"{_OWN}.observedEntity"
MAX_PAGE = 20  # entities of a page: each is a look at up to 250 observations
MAX_DEPTH = 3
MAX_NODES = 500
MAX_ENTRIES = 500  # of a timeline
MAX_READ = 5_000  # observations behind one answer
MAX_IN_GRAPH = 2_000  # alerts in the graph of an incident
CHUNK = 500

# Who may read a set on its own path sees it in the graph.
_READ_BY: Mapping[str, tuple[Access, ...]] = {
    "alerts_v2": (alerts_v2.read, alerts.read),
    "signIns": (sign_ins.read,),
    "riskDetections": (risk_detections.read,),
    "servicePrincipalRiskDetections": (workload_risk.detections.read,),
}
_ANY = Access(
    tuple(dict.fromkeys(each for few in _READ_BY.values() for access in few for each in access.application)),
    tuple(dict.fromkeys(each for few in _READ_BY.values() for access in few for each in access.delegated)),
)
_PATHS = {
    "alerts_v2": "security/alerts_v2",
    "signIns": "auditLogs/signIns",
    "riskDetections": "identityProtection/riskDetections",
    "servicePrincipalRiskDetections": "identityProtection/servicePrincipalRiskDetections",
}

entities = resource(
    "security/entities",
    ENTITY,
    can=Can.READ,
    read=_ANY,
    fold="kind value",
    versions=("beta",),
    default_top=MAX_PAGE,
    max_top=MAX_PAGE,
    throttle="alert",
)


# ---------------------------------------------------------------- what the caller may see


def readable(ctx: Context) -> list[str]:
    """The sets of observations that this token may read."""
    found: list[str] = []
    for name, ways in _READ_BY.items():
        for access in ways:
            try:
                ctx.caller.require(access)
            except Forbidden:
                continue
            found.append(name)
            break
    return found


async def reader(ctx: Context, *, since: str | None = None) -> Observations:
    known = await ctx.part(Acquaintance).of(ctx.store)
    return Observations(ctx.store, known, readable(ctx), since)


def node_of(text: str) -> Node:
    """`host:pc1.example.org` as (kind, value). BadRequest where it is no such thing."""
    kind, colon, value = text.partition(":")
    value = value.strip().lower()
    if not colon or kind.lower() not in KINDS or not value:
        raise BadRequest(
            f"'{text[:100]}' names no entity; expected kind:value, such as host:pc1.example.org, "
            f"with one of the kinds {', '.join(KINDS)}."
        )
    return kind.lower(), value


def id_of(node: Node) -> str:
    return f"{node[0]}:{node[1]}"


# ---------------------------------------------------------------- lists


async def named(
    reader: Observations,
    kind: str,
    values: Iterable[str] | None,
    prefix: str,
    after: str,
    also: Sequence[str] = (),
) -> AsyncIterator[tuple[str, Node]]:
    """The entities of a kind, or of some values alone, in order of the names that they stand under; each once."""
    if values is None:
        async for found in portraits.entities(reader, kind, also=also, prefix=prefix, after=after):
            yield found
        return
    seen: set[Node] = set()
    for value in sorted(set(values), key=str.encode):
        node = reader.known.node(kind, value)
        if value.encode() > after.encode() and node[0] == kind and node not in seen:
            seen.add(node)
            yield value, node


# ---------------------------------------------------------------- the set


def _entity(found: Portrait) -> dict[str, Any]:
    risks = [number for name, number in found.counts.items() if name.lower().endswith("riskdetections")]
    return {
        "kind": found.node[0],
        "value": found.node[1],
        "names": [id_of(each) for each in found.names if each != found.node],
        "firstSeenDateTime": found.first,
        "lastSeenDateTime": found.last,
        "alertCount": found.counts.get("alerts_v2"),
        "signInCount": found.counts.get("signIns"),
        "riskDetectionCount": sum(risks) if risks else None,
        "incidentCount": len(found.incidents),
        "incidentIds": found.incidents,
        "hostCount": len(found.beside("host")),
        "userCount": len(found.beside("user")),
        "addressCount": len(found.beside("address")),
        "severity": found.severity,
        "riskScore": found.risk,
        "isHub": found.total >= HUB,
        "isTruncated": found.more,
        "observationsRead": len(found.documents),
    }


async def _made(ctx: Context, read: Observations, node: Node) -> Stored | None:
    found = await portrait(read, node)
    return made(ctx, ENTITY, "entities", id_of(node), _entity(found)) if found.documents else None


@entities.on_get
async def get_entity(ctx: Context, id: str) -> Stored | None:
    read = await reader(ctx)
    return await _made(ctx, read, read.known.node(*node_of(id)))


@entities.on_list
async def list_entities(ctx: Context, query: Query) -> Page:
    """Kind by kind, within a kind by value. `kind eq` and `value eq`, `in` or `startswith` lead there directly."""
    read = await reader(ctx)
    kinds, _ = narrowed(query.filter, ["kind"])
    values, prefix = narrowed(query.filter, ["value"])

    async def names(place: str) -> AsyncIterator[tuple[str, Node]]:
        kind, _, after = place.partition(":")
        for each in KINDS[KINDS.index(kind) if kind in KINDS else 0 :]:
            if kinds is None or each in kinds:
                found = named(read, each, values, prefix, after if each == kind else "")
                async for value, node in found:
                    yield f"{each}:{value}", node

    return await listed(query, "entities", names, lambda node: _made(ctx, read, node))


# ---------------------------------------------------------------- graphs


def _whole(given: Mapping[str, Any], name: str, default: int, most: int) -> int:
    value = given.get(name)
    if value is None:
        return default
    if not 0 < value <= most:
        raise BadRequest(f"{name}: expected 1 to {most}; got {value}.")
    return int(value)


def _kinds(given: Mapping[str, Any]) -> frozenset[str] | None:
    text = given.get("kinds")
    if text is None:
        return None
    kinds = frozenset(each.strip().lower() for each in text.split(","))
    if not kinds <= set(KINDS):
        raise BadRequest(f"kinds: expected some of {', '.join(KINDS)}, with commas; got '{text[:100]}'.")
    return kinds


def _when(given: Mapping[str, Any], name: str) -> str | None:
    """Edm.DateTimeOffset, checked and put in its wire form."""
    return None if given.get(name) is None else parse(given[name])


async def _nodes(read: Observations, graph: Graph) -> list[dict[str, Any]]:
    nodes = list(graph.distance)
    sizes = await read.sizes(nodes)
    return [
        {"id": id_of(node), "kind": node[0], "value": node[1], "distance": steps, "observationCount": size,
         "isHub": size >= HUB}
        for (node, steps), size in zip(graph.distance.items(), sizes, strict=True)
    ]  # fmt: skip


def _edge(edge: Edge) -> dict[str, Any]:
    return {
        "source": id_of(edge.source),
        "target": id_of(edge.target),
        "sourceRoles": sorted(edge.source_roles),
        "targetRoles": sorted(edge.target_roles),
        "observationCount": edge.count,
        "firstObservedDateTime": edge.first,
        "lastObservedDateTime": edge.last,
        "sampleObservations": [f"{_PATHS[key.collection]}/{key.id}" for key in edge.samples],
    }


def _limited(graph: Graph) -> dict[str, Any]:
    return {
        "isTruncated": bool(graph.cut),
        "truncatedBy": list(graph.cut),
        "hubsNotExpanded": [id_of(node) for node in graph.hubs],
        "observationsRead": graph.observations,
    }


async def _drawn(read: Observations, graph: Graph) -> dict[str, Any]:
    return {"nodes": await _nodes(read, graph), "edges": [_edge(each) for each in graph.edges], **_limited(graph)}


@entities.action(
    "neighbors",
    function=True,
    parameters={"kinds": "Edm.String", "depth": "Edm.Int32", "top": "Edm.Int32", "hubs": "Edm.Boolean"},
    returns=f"{_OWN}.entityGraph",
)
async def get_neighbours(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """What stands beside an entity, up to `depth` steps away."""
    depth, top = _whole(given, "depth", 1, MAX_DEPTH), _whole(given, "top", 100, MAX_NODES)
    limits = Limits(nodes=top + 1, observations=MAX_READ, hubs=bool(given["hubs"]))
    read = await reader(ctx)
    graph = await neighbours(read, node_of(id or ""), depth=depth, kinds=_kinds(given), limits=limits)
    return Answer(200, await _drawn(read, graph))


@entities.action(
    "shortestPath",
    function=True,
    parameters={"to": "Edm.String!", "longest": "Edm.Int32", "hubs": "Edm.Boolean"},
    returns=f"{_OWN}.entityPath",
)
async def get_path(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """One shortest way to another entity."""
    read = await reader(ctx)
    start, end = node_of(id or ""), read.known.node(*node_of(given["to"]))
    limits = Limits(observations=MAX_READ, hubs=bool(given["hubs"]))
    graph = await shortest_path(read, start, end, longest=_whole(given, "longest", 6, 6), limits=limits)
    length = len(graph.edges) if graph.found else None
    return Answer(200, {"isFound": graph.found, "length": length, **await _drawn(read, graph)})


@entities.action(
    "blastRadius",
    function=True,
    parameters={"since": "Edm.DateTimeOffset", "top": "Edm.Int32"},
    returns=f"{_OWN}.blastRadius",
)
async def get_blast_radius(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """What else a user, host or address touched, and what those users and hosts touched, from `since` on."""
    read, start = await reader(ctx, since=_when(given, "since")), node_of(id or "")
    if start[0] not in ("user", "host", "address"):
        raise BadRequest(f"blastRadius is that of a user, host or address; '{start[0]}' has neighbors.")
    limits = Limits(nodes=_whole(given, "top", 200, MAX_NODES) + 1, observations=MAX_READ)
    graph = await neighbours(read, start, depth=2, through=frozenset({"user", "host"}), limits=limits)
    mine = await read.observations(await read.touching(start, HUB))
    alerts_ = [seen for seen in mine if seen.key.collection == "alerts_v2"]
    return Answer(
        200,
        {
            "touched": await _touched(read, graph, start),
            "incidentIds": list(dict.fromkeys(seen.incident for seen in alerts_ if seen.incident)),
            "alertCount": len(alerts_),
            **_limited(graph),
        },
    )


async def _touched(read: Observations, graph: Graph, start: Node) -> list[dict[str, Any]]:
    """By kind; within a kind what was touched directly first, then the rarest."""
    nodes = [node for node in graph.distance if node != start]
    prevalence = dict(zip(nodes, await read.sizes(nodes), strict=True))
    reached: dict[Node, tuple[Edge, Node]] = {}
    for edge in graph.edges:  # those of most observations first
        for one, other in ((edge.source, edge.target), (edge.target, edge.source)):
            if graph.distance[one] + 1 == graph.distance[other]:
                reached.setdefault(other, (edge, one))
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for node in sorted(nodes, key=lambda node: (graph.distance[node], prevalence[node], node)):
        edge, via = reached[node]
        by_kind.setdefault(node[0], []).append(
            {
                "id": id_of(node),
                "distance": graph.distance[node],
                "via": None if via == start else id_of(via),
                "roles": sorted(edge.source_roles if edge.source == node else edge.target_roles),
                "observationCount": edge.count,
                "firstObservedDateTime": edge.first,
                "lastObservedDateTime": edge.last,
                "prevalence": prevalence[node],
                "isHub": prevalence[node] >= HUB,
            }
        )
    return [{"kind": kind, "count": len(by_kind[kind]), "entities": by_kind[kind]} for kind in KINDS if kind in by_kind]


# ---------------------------------------------------------------- timeline


@entities.action(
    "timeline",
    function=True,
    parameters={"since": "Edm.DateTimeOffset", "until": "Edm.DateTimeOffset", "top": "Edm.Int32"},
    returns=f"{_OWN}.entityTimeline",
)
async def get_timeline(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """The last observations first. Those from `continueUntilDateTime` back come with `until` set to it; the entries of
    that very instant come again. Where more was stored at once than is read for one answer (years of another system's
    alerts), the last of what was read are shown, and where that ends there is no way on. Events of the lake are hunted
    for, not listed here."""
    since, until, top = _when(given, "since"), _when(given, "until"), _whole(given, "top", 100, MAX_ENTRIES)
    read, node = await reader(ctx, since=since), node_of(id or "")
    found: list[Document] = []
    seen, before, whole = 0, None, False
    while seen < MAX_READ:
        mentions = await read.mentions(node, CHUNK, since=read.stored, before=before)
        documents = await read.observations([key for key, _ in mentions])
        found += [each for each in documents if until is None or each.at <= until]
        seen += len(mentions)
        if len(mentions) < CHUNK:
            whole = True
            break
        before = mentions[-1][1]
        # what was stored earlier had happened by then: later entries are all here
        if sum(each.at > before for each in found) >= top:
            break
    found.sort(key=lambda each: (each.at, each.key), reverse=True)
    sure = found if whole or before is None else [each for each in found if each.at > before]
    shown = (sure or found)[:top]
    more = not whole or len(sure) > top
    rest = shown[-1].at if shown and (until is None or shown[-1].at < until) else None
    return Answer(
        200,
        {
            "entries": [_entry(each, node) for each in shown],
            "isTruncated": more,
            "continueUntilDateTime": rest if more else None,
            "observationsRead": seen,
            "setsRead": [_PATHS[each] for each in read.collections],
        },
    )


def _entry(seen: Document, node: Node) -> dict[str, Any]:
    kinds = {"alerts_v2": "alert", "signIns": "signIn"}
    return {
        "activityDateTime": seen.at,
        "kind": kinds.get(seen.key.collection, "riskDetection"),
        "id": f"{_PATHS[seen.key.collection]}/{seen.key.id}",
        "title": seen.title,
        "severity": seen.severity or None,
        "status": seen.status or None,
        "classification": seen.verdict or None,
        "source": seen.source or None,
        "incidentId": seen.incident or None,
        "roles": sorted({role for each, role in seen.named if each == node and role}),
        "mitreTechniques": list(seen.techniques),
    }


# ---------------------------------------------------------------- incidents and alerts


async def _alerts_alone(ctx: Context) -> Observations:
    """Whoever may read an incident, may read its alerts."""
    return Observations(ctx.store, await ctx.part(Acquaintance).of(ctx.store), ("alerts_v2",))


@incidents.action(
    "graph",
    function=True,
    parameters={"alerts": "Edm.Int32", "top": "Edm.Int32"},
    returns=f"{_OWN}.entityGraph",
    versions=("beta",),
)
async def get_graph(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """The entities of its last `alerts` alerts, those of most alerts first, and which stand together."""
    read = await _alerts_alone(ctx)
    seen, more = await read.of_incident(id or "", _whole(given, "alerts", 500, MAX_IN_GRAPH))
    limits = Limits(nodes=_whole(given, "top", 100, MAX_NODES))
    graph = await asyncio.to_thread(graph_of, seen, limits)  # of many alerts with many entities, a second
    if more:
        graph.cut = sorted({*graph.cut, "observations"})
    return Answer(200, await _drawn(read, graph))


@incidents.action(
    "similar",
    function=True,
    parameters={"top": "Edm.Int32"},
    returns=f"{_OWN}.similarIncidents",
    versions=("beta",),
)
async def get_similar(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """Incidents that have rare entities, detectors and techniques in common with it, and how they ended."""
    found = await similar_incidents(await _alerts_alone(ctx), id or "", top=_whole(given, "top", 10, 40))
    return Answer(
        200,
        {
            "incidents": [_alike(each) for each in found.similar],
            "comparedCount": found.compared,
            "isTruncated": bool(found.cut),
            "truncatedBy": list(found.cut),
            "observationsRead": found.observations,
        },
    )


_OUTCOME = (
    "displayName severity createdDateTime lastUpdateDateTime assignedTo status classification determination "
    "resolvingComment"
).split()


def _alike(one: Similar) -> dict[str, Any]:
    return {
        "incidentId": one.incident["id"],
        **{name: one.incident.get(name) for name in _OUTCOME},
        "bits": round(one.bits, 2),
        "similarity": round(one.share, 3),
        "reasons": [
            {"kind": each.kind, "value": each.value, "incidentCount": each.incidents, "bits": round(each.bits, 2)}
            for each in one.reasons
        ],
    }


@alerts_v2.action(
    "context",
    function=True,
    parameters={"top": "Edm.Int32"},
    returns=f"Collection({ENTITY})",
    versions=("beta",),
)
async def get_context(ctx: Context, id: str | None, given: dict[str, Any]) -> Answer:
    """What is known of each entity of an alert, the rarest first."""
    alone, top = await _alerts_alone(ctx), _whole(given, "top", MAX_PAGE, MAX_PAGE)
    (seen,) = await alone.observations([Key("alerts_v2", id or "")])
    nodes = list(dict.fromkeys(node for node, _ in seen.named))
    sizes = dict(zip(nodes, await alone.sizes(nodes), strict=True))
    read = await reader(ctx)
    rows = [await _made(ctx, read, node) for node in sorted(nodes, key=lambda node: (sizes[node], node))[:top]]
    return Answer(200, [row for row in rows if row is not None])
