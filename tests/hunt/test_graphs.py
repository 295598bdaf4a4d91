"""What matches ask of nodes beside their properties, and which of the shortest paths they give."""

from functools import cache
from typing import Any

import pytest
from tests.hunt.harness import Harness

from bartizan.hunt.fault import KqlError

NODES = '(datatable(id: string, what: string)["a", "user", "b", "host", "c", "host", "d", "vault", "e", "user"])'
# From a to d over b or c, and the long way round over e; d is the end of three edges.
EDGES = (
    'datatable(s: string, t: string, n: long)["a", "b", 1, "a", "c", 2, "b", "d", 3, "c", "d", 4, "a", "e", 5, '
    '"e", "b", 6, "e", "d", 7, "b", "c", 8]'
)
GRAPH = f"{EDGES} | make-graph s --> t with {NODES} on id"


@cache
def harness() -> Harness:
    return Harness({})


def rows(query: str) -> list[list[Any]]:
    return sorted(harness().run(query)[1], key=str)


def test_all_shortest_paths_or_any_of_them() -> None:
    pattern = '(x)-[e*1..4]->(y) where x.id == "a" and y.id == "d" project x.id, p = map(e, n), y.id'
    assert rows(f"{GRAPH} | graph-shortest-paths output=all {pattern}") == [
        ["a", [1, 3], "d"],
        ["a", [2, 4], "d"],
        ["a", [5, 7], "d"],
    ]
    assert rows(f"{GRAPH} | graph-shortest-paths {pattern}") == [["a", [1, 3], "d"]]
    assert rows(f"{GRAPH} | graph-shortest-paths output=any {pattern}") == [["a", [1, 3], "d"]]
    every = rows(f"{GRAPH} | graph-shortest-paths output=all (x)-[e*1..4]->(y) project x.id, y.id, n = array_length(e)")
    assert [each for each in every if each[0] == "e"] == [["e", "b", 1], ["e", "c", 2], ["e", "d", 1]]


def test_how_many_edges_a_node_has() -> None:
    columns, _ = harness().run(f"{GRAPH} | graph-match (x)-->(y) project x.id, node_degree_in(y), node_degree_out(y)")
    assert columns == [("x_id", "string"), ("Column1", "long"), ("Column2", "long")]
    found = f"{GRAPH} | graph-match (x)-[e]->(y) where node_degree_in(y) == 3 project x.id, y.id, i = node_degree_in(x)"
    assert rows(found) == [["b", "d", 2], ["c", "d", 2], ["e", "d", 1]]
    none = f"{GRAPH} | graph-match (x) where node_degree_in(x) == 0 or node_degree_out(x) == 0 project x.id, b = x"
    assert rows(none) == [["a", {"id": "a", "what": "user"}], ["d", {"id": "d", "what": "vault"}]]
    narrowed = f'{GRAPH} | graph-where-edges n < 4 | graph-match (x) where x.id == "d" project node_degree_in(x)'
    assert rows(narrowed) == [[1]]


def test_how_many_edges_the_nodes_within_a_path_have() -> None:
    path = '(x)-[e*2..3]->(y) where x.id == "a" and y.id == "d"'
    inner = "map(inner_nodes(e), strcat(id, node_degree_in(), node_degree_out()))"
    assert rows(f"{GRAPH} | graph-match {path} project {inner}") == [
        [["b22", "c21"]],
        [["b22"]],
        [["c21"]],
        [["e12", "b22"]],
        [["e12"]],
    ]
    both = f"{GRAPH} | graph-match {path} and all(inner_nodes(e), node_degree_in() == 1) project {inner}"
    assert rows(both) == [[["e12"]]]


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ("graph-match (x)-[e]->(y) project node_degree_in(e)", "of a node of the pattern"),
        ("graph-match (x)-[e]->(y) project node_degree_out()", "of a node of the pattern"),
        ("graph-shortest-paths output=some (x)-[e*1..2]->(y) project x.id", "gives any or all"),
        ("graph-shortest-paths (x)-[e]->(y) project x.id", "an edge of several lengths"),
    ],
)
def test_what_is_refused(steps: str, why: str) -> None:
    with pytest.raises(KqlError, match=why):
        rows(f"{GRAPH} | {steps}")
    with pytest.raises(KqlError, match="have a direction"):
        rows(f"{EDGES} | make-graph s -- t with {NODES} on id | graph-match (x) project node_degree_in(x)")
