"""Neighbours and paths on random graphs against a plain reference, within limits and at them."""

import asyncio
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.correlate.context import (
    HUB,
    Graph,
    Key,
    Limits,
    Observation,
    graph_of,
    neighbours,
    shortest_path,
)
from bartizan.correlate.incident import Node

KINDS = ("host", "user", "address")


def node(number: int) -> Node:
    return KINDS[number % 3], f"n{number}"


class Told:
    """A reader over observations in memory; `crowded` entities count as hubs."""

    def __init__(self, observations: Sequence[Sequence[int]], crowded: frozenset[Node] = frozenset()) -> None:
        self.seen = {
            Key("alerts_v2", f"a{at:04}"): Observation(
                Key("alerts_v2", f"a{at:04}"),
                f"2026-11-{1 + at % 28:02}T00:00:00.0000000Z",
                tuple((node(each), ("source", "target", "")[each % 3]) for each in named),
            )
            for at, named in enumerate(observations)
        }
        self.crowded = crowded
        self.read = 0

    async def touching(self, node: Node, limit: int) -> list[Key]:
        return [key for key, seen in reversed(self.seen.items()) if any(node == each for each, _ in seen.named)][:limit]

    async def observations(self, keys: Sequence[Key]) -> Sequence[Observation]:
        self.read += len(keys)
        return [self.seen[key] for key in keys]

    async def sizes(self, nodes: Sequence[Node]) -> list[int]:
        return [HUB if each in self.crowded else len(await self.touching(each, HUB)) for each in nodes]

    def beside(self, one: Node) -> set[Node]:
        """The reference: all that stand with it somewhere."""
        return {
            other
            for seen in self.seen.values()
            if any(one == each for each, _ in seen.named)
            for other, _ in seen.named
            if other != one
        }

    def distances(self, start: Node, depth: int, end: Node | None = None) -> dict[Node, int]:
        """The reference: breadth first, not through hubs."""
        found, level = {start: 0}, [start]
        for step in range(1, depth + 1):
            through = [each for each in level if each == start or each not in self.crowded]
            level = sorted({other for each in through for other in self.beside(each)} - found.keys())
            found.update(dict.fromkeys(level, step))
        return found


graphs = st.lists(st.lists(st.integers(0, 14), min_size=1, max_size=4), min_size=1, max_size=25)
hubs = st.frozensets(st.integers(0, 14).map(node), max_size=3)


def check(told: Told, graph: Graph, limits: Limits) -> None:
    """What holds of every answer: nothing invented, nothing beyond the limits, each edge as it was observed."""
    assert len(graph.distance) <= limits.nodes and len(graph.edges) <= limits.edges
    assert graph.observations == told.read <= limits.observations
    for edge in graph.edges:
        both = [seen for seen in told.seen.values() if {edge.source, edge.target} <= {each for each, _ in seen.named}]
        assert edge.source < edge.target and {edge.source, edge.target} <= graph.distance.keys()
        assert edge.count <= len(both) and set(edge.samples) <= {seen.key for seen in both}
        if not graph.cut:
            assert edge.count == len(both)
            assert (edge.first, edge.last) == (min(seen.at for seen in both), max(seen.at for seen in both))


@settings(max_examples=120, deadline=None)
@given(graphs, hubs, st.integers(0, 14), st.integers(1, 3))
def test_neighbours_are_those_of_the_reference(
    observations: list[list[int]], crowded: frozenset[Node], start: int, depth: int
) -> None:
    told = Told(observations, crowded)
    graph = asyncio.run(neighbours(told, node(start), depth=depth))
    assert graph.distance == told.distances(node(start), depth) and not graph.cut
    assert set(graph.hubs) <= crowded
    pairs = {(edge.source, edge.target) for edge in graph.edges}
    through = [each for each, steps in graph.distance.items() if steps < depth and each not in graph.hubs]
    assert pairs == {(min(one, other), max(one, other)) for one in through for other in told.beside(one)}
    check(told, graph, Limits())


@settings(max_examples=120, deadline=None)
@given(graphs, st.integers(0, 14), st.integers(1, 6), st.integers(0, 6), st.integers(0, 12))
def test_neighbours_within_narrow_limits(
    observations: list[list[int]], start: int, nodes: int, edges: int, budget: int
) -> None:
    """What is missing is said: an answer that is not cut is the whole one."""
    told, limits = Told(observations), Limits(nodes=nodes, edges=edges, observations=budget)
    graph = asyncio.run(neighbours(told, node(start), depth=3, limits=limits))
    whole = told.distances(node(start), 3)
    assert all(steps >= whole[each] for each, steps in graph.distance.items())
    assert graph.cut or graph.distance == whole
    check(told, graph, limits)


@settings(max_examples=200, deadline=None)
@given(graphs, hubs, st.integers(0, 14), st.integers(0, 14), st.integers(1, 6))
def test_paths_are_as_short_as_the_reference_has_them(
    observations: list[list[int]], crowded: frozenset[Node], start: int, end: int, longest: int
) -> None:
    one, other = node(start), node(end)
    told = Told(observations, crowded - {other})
    graph = asyncio.run(shortest_path(told, one, other, longest=longest))
    steps = told.distances(one, longest).get(other)
    assert graph.found == (steps is not None) and not graph.cut
    if steps is None:
        return
    way = list(graph.distance)
    assert way[0] == one and way[-1] == other and len(graph.edges) == len(way) - 1 == steps
    assert not told.crowded.intersection(way[1:-1])
    for edge, here, there in zip(graph.edges, way, way[1:], strict=False):
        assert {edge.source, edge.target} == {here, there} and edge.samples
    check(told, graph, Limits())


@settings(max_examples=80, deadline=None)
@given(graphs, st.integers(0, 14), st.integers(0, 14), st.integers(0, 8))
def test_a_path_that_is_not_found_in_time_is_not_denied(
    observations: list[list[int]], start: int, end: int, budget: int
) -> None:
    told, limits = Told(observations), Limits(observations=budget)
    graph = asyncio.run(shortest_path(told, node(start), node(end), limits=limits))
    exists = node(end) in told.distances(node(start), 6)
    assert not graph.found or exists
    assert graph.found or not exists or graph.cut
    check(told, graph, limits)


@settings(max_examples=80, deadline=None)
@given(graphs, st.integers(1, 20), st.integers(0, 30))
def test_the_graph_of_observations(observations: list[list[int]], nodes: int, edges: int) -> None:
    told, limits = Told(observations), Limits(nodes=nodes, edges=edges)
    graph = graph_of(asyncio.run(told.observations(list(told.seen))), limits)
    counts = {each: sum(each in dict(seen.named) for seen in told.seen.values()) for each in map(node, range(15))}
    kept = sorted((each for each in counts if counts[each]), key=lambda each: (-counts[each], each))
    assert list(graph.distance) == kept[:nodes] and ("nodes" in graph.cut) == (len(kept) > nodes)
    check(told, graph, limits)


def test_a_hub_is_gone_through_when_asked() -> None:
    told = Told([[0, 1], [1, 2]], frozenset({node(1)}))
    near = asyncio.run(neighbours(told, node(0), depth=2))
    assert node(2) not in near.distance and near.hubs == [node(1)]
    far = asyncio.run(neighbours(told, node(0), depth=2, limits=Limits(hubs=True)))
    assert far.distance[node(2)] == 2 and not far.hubs
    assert not asyncio.run(shortest_path(told, node(0), node(2))).found
    assert asyncio.run(shortest_path(told, node(0), node(2), limits=Limits(hubs=True))).found


def test_of_a_hub_itself_the_last_observations_are_read() -> None:
    told = Told([[0, 1 + at] for at in range(HUB + 9)])
    graph = asyncio.run(neighbours(told, node(0), limits=Limits(nodes=10_000)))
    assert len(graph.distance) == HUB + 1 and graph.cut == ["observations"] and node(1) not in graph.distance


def test_time_is_bounded() -> None:
    told, ticking = Told([[0, 1], [1, 2], [2, 3]]), iter(range(100))
    graph = asyncio.run(
        neighbours(told, node(0), depth=3, limits=Limits(seconds=1.5), clock=lambda: float(next(ticking)))
    )
    assert graph.cut == ["time"] and node(1) in graph.distance and node(3) not in graph.distance


def test_kinds_are_what_is_shown_and_gone_through() -> None:
    told = Told([[0, 1], [1, 3], [0, 6], [6, 9]])  # 0, 3, 6 and 9 are hosts, 1 is a user
    graph = asyncio.run(neighbours(told, node(0), depth=3, kinds=frozenset({"host"})))
    assert graph.distance == {node(0): 0, node(6): 1, node(9): 2}
