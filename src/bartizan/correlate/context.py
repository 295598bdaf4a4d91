"""The graph around an entity: neighbours, shortest paths, the graph of some observations. Pure, over a narrow reader.

Entities are nodes. An observation (an alert, a sign-in, a risk detection) connects the entities that it names: an edge
says in how many observations two entities stand together, in which roles, and when first and last. A hub, an entity of
very many observations, is shown where it is met and nobody goes through it unless asked to: by way of the mail gateway
everybody knows everybody.

Every answer is bounded, and says what it left out.

Source: breadth-first search from both ends (I. Pohl, "Bi-directional search", 1971).
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

from msgspec import Struct, field

from bartizan.correlate.incident import Node

HUB = 500  # observations from which on an entity is a hub; of no entity more are read
SAMPLES = 5  # observations that an edge names
MAX_PAIRED = 30  # entities of one observation that are all connected with each other, in the graph of an incident

Cut = Literal["nodes", "edges", "observations", "time"]


class Key(NamedTuple):
    """Where an observation is kept."""

    collection: str
    id: str


class Observation(Struct, frozen=True):
    """One document, as far as the graph looks at it. Instants on the wire."""

    key: Key
    at: str  # when it happened, as its source says
    named: tuple[tuple[Node, str], ...]  # entities and their roles; one may have several


class Reader(Protocol):
    """What is read of a tenant."""

    async def touching(self, node: Node, limit: int) -> list[Key]:
        """Observations that name an entity, the last stored first; of more than `limit` these."""
        ...

    async def observations(self, keys: Sequence[Key]) -> Sequence[Observation]:
        """In any order; what is gone is left out."""
        ...

    async def sizes(self, nodes: Sequence[Node]) -> list[int]:
        """In how many observations each is, counted to `HUB` at least."""
        ...


class Limits(Struct, frozen=True):
    """What one answer may take."""

    nodes: int = 100
    edges: int = 2_000
    observations: int = 5_000
    seconds: float = 5.0
    hubs: bool = False  # go through hubs, along the last `HUB` of their observations


class Edge(Struct):
    """Two entities, in order of kind and value, and the observations that name both."""

    source: Node
    target: Node
    count: int = 0
    first: str = ""
    last: str = ""
    source_roles: set[str] = field(default_factory=set)
    target_roles: set[str] = field(default_factory=set)
    samples: list[Key] = field(default_factory=list)  # the last stored ones that were read

    def add(self, seen: Observation, source_roles: Iterable[str], target_roles: Iterable[str]) -> None:
        self.count += 1
        self.first = min(self.first or seen.at, seen.at)
        self.last = max(self.last, seen.at)
        self.source_roles.update(filter(None, source_roles))
        self.target_roles.update(filter(None, target_roles))
        if len(self.samples) < SAMPLES:
            self.samples.append(seen.key)


class Graph(Struct):
    """An answer. `cut` says by which limits something is missing, `hubs` which entities were not gone through."""

    distance: dict[Node, int] = field(default_factory=dict)  # of each node from the start, in order of admission
    edges: list[Edge] = field(default_factory=list)
    hubs: list[Node] = field(default_factory=list)
    cut: list[Cut] = field(default_factory=list)
    observations: int = 0  # that were read
    found: bool = True  # of a path: whether there is one within the limits


class _Walk:
    """What all ways of reading share: the budget, each observation read once, and the hubs."""

    def __init__(self, reader: Reader, limits: Limits, clock: Callable[[], float]) -> None:
        self.reader = reader
        self.limits = limits
        self.clock = clock
        self.end = clock() + limits.seconds
        self.cut: dict[Cut, None] = {}
        self.hubs: dict[Node, None] = {}
        self.spent = False  # nothing more may be read
        self._read: dict[Key, Observation | None] = {}
        self._sizes: dict[Node, int] = {}

    def full(self) -> bool:
        if not self.spent and self.clock() > self.end:
            self.spent = True
            self.cut["time"] = None
        return self.spent

    async def sizes(self, nodes: Iterable[Node]) -> list[int]:
        """Asks for all of them at once, and for each once."""
        wanted = list(nodes)
        unknown = [node for node in dict.fromkeys(wanted) if node not in self._sizes]
        if unknown:
            self._sizes.update(zip(unknown, await self.reader.sizes(unknown), strict=True))
        return [self._sizes[node] for node in wanted]

    async def closed(self, nodes: Sequence[Node]) -> set[Node]:
        """Hubs among them, which nobody goes through."""
        if self.limits.hubs:
            return set()
        found = [node for node, size in zip(nodes, await self.sizes(nodes), strict=True) if size >= HUB]
        self.hubs.update(dict.fromkeys(found))
        return set(found)

    async def around(self, node: Node) -> list[Observation]:
        """The observations of an entity, the last stored first, as many as the budget allows."""
        keys = await self.reader.touching(node, HUB + 1)
        if len(keys) > HUB:
            keys = keys[:HUB]
            self.cut["observations"] = None
        return await self.observations(keys)

    async def observations(self, keys: Sequence[Key]) -> list[Observation]:
        room = self.limits.observations - len(self._read)
        fresh = [key for key in keys if key not in self._read]
        if len(fresh) > room:
            fresh = fresh[:room]
            self.spent = True
            self.cut["observations"] = None
        if fresh:
            self._read.update(dict.fromkeys(fresh))
            self._read.update((seen.key, seen) for seen in await self.reader.observations(fresh))
        return [seen for key in keys if (seen := self._read.get(key)) is not None]

    def graph(self, distance: dict[Node, int], edges: list[Edge], found: bool = True) -> Graph:
        return Graph(distance, edges, list(self.hubs), sorted(self.cut), len(self._read), found)


def _roles(seen: Observation) -> dict[Node, set[str]]:
    """The entities of an observation, each with all of its roles."""
    roles: dict[Node, set[str]] = {}
    for node, role in seen.named:
        roles.setdefault(node, set()).add(role)
    return roles


def _edge(edges: dict[tuple[Node, Node], Edge], one: Node, other: Node) -> Edge:
    pair = (one, other) if one < other else (other, one)
    found = edges.get(pair)
    if found is None:
        found = edges[pair] = Edge(*pair)
    return found


async def neighbours(
    reader: Reader,
    start: Node,
    *,
    depth: int = 1,
    kinds: frozenset[str] | None = None,
    through: frozenset[str] | None = None,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Graph:
    """Entities at most `depth` steps away, nearest first, of one step those with most observations in common first.

    `kinds`: only these are shown, and only by way of these; `through`: only these are gone through, besides the start.
    Edges are those of entities that were gone through.
    """
    limits = limits or Limits()
    walk = _Walk(reader, limits, clock)
    distance: dict[Node, int] = {start: 0}
    edges: dict[tuple[Node, Node], Edge] = {}
    frontier = [start]
    for step in range(1, depth + 1):
        if through is not None:
            frontier = [node for node in frontier if node == start or node[0] in through]
        closed = await walk.closed([node for node in frontier if node != start])
        new: dict[Node, int] = {}
        for node in frontier:
            if node in closed:
                continue
            if walk.full():
                break
            for other, edge in (await _star(walk, node, kinds)).items():
                edges.setdefault((edge.source, edge.target), edge)
                if other not in distance:
                    new[other] = new.get(other, 0) + edge.count
        frontier = sorted(new, key=lambda node: (-new[node], node))
        room = limits.nodes - len(distance)
        if len(frontier) > room:
            frontier = frontier[:room]
            walk.cut["nodes"] = None
        distance.update(dict.fromkeys(frontier, step))
        if not frontier:
            break
    kept = [edge for edge in edges.values() if edge.source in distance and edge.target in distance]
    return walk.graph(distance, _most(kept, limits, walk.cut))


async def _star(walk: _Walk, node: Node, kinds: frozenset[str] | None) -> dict[Node, Edge]:
    """The edges of one entity, by the other end."""
    edges: dict[tuple[Node, Node], Edge] = {}
    for seen in await walk.around(node):
        roles = _roles(seen)
        for other in roles:
            if other != node and node in roles and (kinds is None or other[0] in kinds):
                edge = _edge(edges, node, other)
                edge.add(seen, roles[edge.source], roles[edge.target])
    return {edge.target if edge.source == node else edge.source: edge for edge in edges.values()}


def _most(edges: list[Edge], limits: Limits, cut: dict[Cut, None]) -> list[Edge]:
    """Those of most observations."""
    edges.sort(key=lambda edge: (-edge.count, edge.source, edge.target))
    if len(edges) > limits.edges:
        del edges[limits.edges :]
        cut["edges"] = None
    return edges


async def shortest_path(
    reader: Reader,
    start: Node,
    end: Node,
    *,
    longest: int = 6,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Graph:
    """One of the shortest ways from entity to entity through common observations, no longer than `longest` steps.

    Where `found` is false and nothing is cut, there is none that long, but for ways through `hubs`.
    """
    limits = limits or Limits()
    walk = _Walk(reader, limits, clock)
    sides = _Side(start), _Side(end)
    if start == end:
        return walk.graph({start: 0}, [])
    for _ in range(longest):
        side, other = sorted(sides, key=lambda one: len(one.frontier))
        if not side.frontier or not await _grow(walk, side, {start, end}):
            break
        met = [node for node in side.frontier if node in other.steps]
        closed = await walk.closed([node for node in met if node not in (start, end)])
        if open_ones := [node for node in met if node not in closed]:
            best = min(open_ones, key=lambda node: (side.steps[node] + other.steps[node], node))
            return _path(walk, sides, best)
    return walk.graph({start: 0}, [], found=False)


class _Side:
    """What one end of a path has reached."""

    def __init__(self, root: Node) -> None:
        self.steps: dict[Node, int] = {root: 0}
        self.back: dict[Node, Edge] = {}  # the edge by which each was reached
        self.frontier = [root]


async def _grow(walk: _Walk, side: _Side, ends: set[Node]) -> bool:
    """One step on from the whole frontier; False where the limits do not allow that."""
    closed = await walk.closed([node for node in side.frontier if node not in ends])
    reached: list[Node] = []
    for node in side.frontier:
        if node in closed:
            continue
        if walk.full():
            break
        for other, edge in sorted((await _star(walk, node, None)).items()):
            if other in side.steps:
                continue
            side.steps[other] = side.steps[node] + 1
            side.back[other] = edge
            reached.append(other)
    side.frontier = reached
    return not walk.spent or bool(reached)


def _path(walk: _Walk, sides: tuple[_Side, _Side], meeting: Node) -> Graph:
    """From the start to the meeting point and on to the end."""
    halves: list[list[Edge]] = []
    for side in sides:
        edges: list[Edge] = []
        node = meeting
        while side.steps[node]:
            edge = side.back[node]
            edges.append(edge)
            node = edge.source if edge.target == node else edge.target
        halves.append(edges)
    edges = [*reversed(halves[0]), *halves[1]]
    (node,) = (root for root, steps in sides[0].steps.items() if not steps)
    distance = {node: 0}
    for at, edge in enumerate(edges, 1):
        node = edge.source if edge.target == node else edge.target
        distance[node] = at
    return walk.graph(distance, edges)


def graph_of(found: Sequence[Observation], limits: Limits | None = None) -> Graph:
    """The entities of these observations, those of most first, and which of them stand together. No distances: all
    are 0."""
    limits = limits or Limits()
    cut: dict[Cut, None] = {}
    counts: dict[Node, int] = {}
    for seen in found:
        for node in _roles(seen):
            counts[node] = counts.get(node, 0) + 1
    ranked = sorted(counts, key=lambda node: (-counts[node], node))
    if len(ranked) > limits.nodes:
        cut["nodes"] = None
    place = {node: at for at, node in enumerate(ranked[: limits.nodes])}
    edges: dict[tuple[Node, Node], Edge] = {}
    for seen in found:
        roles = _roles(seen)
        here = sorted((node for node in roles if node in place), key=place.__getitem__)
        if len(here) > MAX_PAIRED:
            del here[MAX_PAIRED:]
            cut["edges"] = None
        for at, one in enumerate(here):
            for other in here[at + 1 :]:
                edge = _edge(edges, one, other)
                edge.add(seen, roles[edge.source], roles[edge.target])
    kept = _most(list(edges.values()), limits, cut)
    return Graph(dict.fromkeys(place, 0), kept, [], sorted(cut), len(found))
