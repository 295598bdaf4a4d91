"""Polygons and lines on a sphere as figures of a plane: what they have in common and what they are together.

The gnomonic projection about the middle of all figures makes straight lines of arcs of great circles, so that what is
done on its plane holds on the sphere. All edges are cut where they meet. A piece then bounds the result where it holds
on the one side and not on the other; such pieces make up the rings, the inside at the left. A ring begins behind the
piece of the edge that was given last, as Kusto's does; where edges of both figures lie in one, the first counts.

Source: Wikipedia, "Gnomonic projection", "Even-odd rule"; S2 Geometry, "S2BooleanOperation".
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import atan2, cos, degrees, hypot, radians, sin, sqrt
from typing import TypeAlias

from msgspec import Struct

from bartizan.hunt.fault import KqlError

Spot: TypeAlias = tuple[float, float]  # longitude and latitude in degrees, or x and y of the plane
Ring: TypeAlias = list[Spot]  # the first is not repeated
Polygon: TypeAlias = list[Ring]  # the shell, against the clock, and its holes
Vector: TypeAlias = tuple[float, float, float]

MOST_EDGES = 2_000  # that are cut by one another
SAME = 1e-13  # of two spots of the plane, whose unit is the radius of the earth
BESIDE = 1e-6  # how far beside a piece is looked, of its length
FURTHEST = 0.17  # the least cosine of the way from the middle: 80 degrees


def vector(spot: Spot) -> Vector:
    lon, lat = radians(spot[0]), radians(spot[1])
    return cos(lat) * cos(lon), cos(lat) * sin(lon), sin(lat)


def dot(one: Vector, other: Vector) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def cross(one: Vector, other: Vector) -> Vector:
    (a, b, c), (d, e, f) = one, other
    return b * f - c * e, c * d - a * f, a * e - b * d


def unit(one: Vector) -> Vector:
    size = sqrt(dot(one, one))
    return one[0] / size, one[1] / size, one[2] / size


class Plane:
    """Touches the earth in the middle of these spots. KqlError: they are too far from one another."""

    def __init__(self, spots: Sequence[Spot]) -> None:
        vectors = [vector(each) for each in spots]
        total = (sum(each[0] for each in vectors), sum(each[1] for each in vectors), sum(each[2] for each in vectors))
        self._up = unit(total) if dot(total, total) > SAME else (0.0, 0.0, 1.0)
        if min(dot(each, self._up) for each in vectors) < FURTHEST:
            raise KqlError("run", "this is supported of figures that lie within 80 degrees of their middle")
        pole: Vector = (0.0, 0.0, 1.0) if abs(self._up[2]) < 0.9 else (1.0, 0.0, 0.0)
        self._east = unit(cross(pole, self._up))
        self._north = cross(self._up, self._east)
        self._known: dict[Spot, Spot] = {}

    def to(self, spot: Spot) -> Spot:
        at = vector(spot)
        far = dot(at, self._up)
        found = (dot(at, self._east) / far, dot(at, self._north) / far)
        self._known.setdefault(found, spot)
        return found

    def back(self, at: Spot) -> Spot:
        """A spot that was given comes back as it was."""
        known = self._known.get(at)
        if known is not None:
            return known
        x, y, z = (u + at[0] * e + at[1] * n for u, e, n in zip(self._up, self._east, self._north, strict=True))
        return degrees(atan2(y, x)), degrees(atan2(z, hypot(x, y)))


class Edge(Struct, frozen=True):
    """From one node to another. `id`: the order in which edges were given."""

    start: int
    stop: int
    id: int


class Cut:
    """Figures on one plane, their edges cut where they meet. `figures`: of each its polygons; `lines`: what is cut
    beside them."""

    def __init__(
        self, plane: Plane, figures: Sequence[Sequence[Polygon]], lines: Sequence[Sequence[Spot]] = ()
    ) -> None:
        self.plane = plane
        self.nodes: list[Spot] = []
        self._near: dict[tuple[int, int], list[int]] = {}
        self.figures = [[[[plane.to(spot) for spot in ring] for ring in one] for one in figure] for figure in figures]
        given: list[tuple[Spot, Spot]] = []
        self.starts = []  # the id of each figure's first edge
        for figure in self.figures:
            self.starts.append(len(given))
            given += [edge for one in figure for ring in one for edge in pairwise([*ring, ring[0]])]
        self.first_of_lines = len(given)
        for line in lines:
            given += pairwise([plane.to(spot) for spot in line])
        if len(given) > MOST_EDGES:
            raise KqlError("run", f"this is supported of figures of at most {MOST_EDGES:,} edges together")
        self.pieces = [piece for number, cuts in enumerate(self._cuts(given)) for piece in self._pieces(number, cuts)]

    def node(self, at: Spot) -> int:
        """The number of a spot; of one that is as good as there, that one's."""
        x, y = round(at[0] / SAME / 4), round(at[1] / SAME / 4)
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                for each in self._near.get((x + dx, y + dy), ()):
                    if hypot(self.nodes[each][0] - at[0], self.nodes[each][1] - at[1]) <= SAME:
                        return each
        self.nodes.append(at)
        self._near.setdefault((x, y), []).append(len(self.nodes) - 1)
        return len(self.nodes) - 1

    def _cuts(self, given: Sequence[tuple[Spot, Spot]]) -> list[list[int]]:
        """The nodes on each edge, its ends first."""
        found = [[self.node(start), self.node(stop)] for start, stop in given]
        order = sorted(range(len(given)), key=lambda each: min(given[each][0][0], given[each][1][0]))
        for index, one in enumerate(order):
            right = max(given[one][0][0], given[one][1][0]) + SAME
            for other in order[index + 1 :]:
                if min(given[other][0][0], given[other][1][0]) > right:
                    break
                self._meet(given[one], given[other], found[one], found[other])
        return found

    def _meet(self, one: tuple[Spot, Spot], other: tuple[Spot, Spot], first: list[int], second: list[int]) -> None:
        for edge, ends, on in ((one, other, first), (other, one, second)):
            on += [self.node(end) for end in ends if _apart(edge, end) <= SAME]
        (a, b), (c, d) = one, other
        whole = (b[0] - a[0]) * (d[1] - c[1]) - (b[1] - a[1]) * (d[0] - c[0])
        if whole == 0:
            return
        along = ((c[0] - a[0]) * (d[1] - c[1]) - (c[1] - a[1]) * (d[0] - c[0])) / whole
        beside = ((c[0] - a[0]) * (b[1] - a[1]) - (c[1] - a[1]) * (b[0] - a[0])) / whole
        if 0 <= along <= 1 and 0 <= beside <= 1:
            made = self.node((a[0] + along * (b[0] - a[0]), a[1] + along * (b[1] - a[1])))
            first.append(made)
            second.append(made)

    def _pieces(self, number: int, on: Sequence[int]) -> list[Edge]:
        start = self.nodes[on[0]]
        placed = sorted(set(on), key=lambda each: hypot(self.nodes[each][0] - start[0], self.nodes[each][1] - start[1]))
        return [Edge(one, other, number) for one, other in pairwise(placed)]

    # ------------------------------------------------------------ what holds where

    def within(self, figure: int, at: Spot) -> bool:
        return any(_in_polygon(one, at) for one in self.figures[figure])

    def beside(self, piece: Edge, left: bool) -> Spot:
        """A spot at the side of the middle of a piece."""
        (a, b), (c, d) = self.nodes[piece.start], self.nodes[piece.stop]
        by = BESIDE if left else -BESIDE
        return (a + c) / 2 - (d - b) * by, (b + d) / 2 + (c - a) * by

    def rings(self, holds: Callable[[list[bool]], bool]) -> list[list[Edge]]:
        """The bounds of where it holds, given in which figures a spot lies."""
        kept: dict[int, list[Edge]] = {}
        seen: set[tuple[int, int]] = set()
        for piece in self.pieces:
            if piece.id >= self.first_of_lines or (min(piece.start, piece.stop), max(piece.start, piece.stop)) in seen:
                continue
            seen.add((min(piece.start, piece.stop), max(piece.start, piece.stop)))
            left, right = (
                holds([self.within(each, self.beside(piece, side)) for each in range(len(self.figures))])
                for side in (True, False)
            )
            if left != right:
                made = piece if left else Edge(piece.stop, piece.start, piece.id)
                kept.setdefault(made.start, []).append(made)
        return [_begun(each) for each in self._rings(kept)]

    def _rings(self, kept: dict[int, list[Edge]]) -> list[list[Edge]]:
        found = []
        while kept:
            first = min((each for edges in kept.values() for each in edges), key=lambda each: each.id)
            ring = [self._taken(kept, first)]
            while ring[-1].stop != first.start:
                if ring[-1].stop not in kept:
                    raise KqlError("run", "these figures lie too close to one another to be told apart")
                ring.append(self._taken(kept, self._next(ring[-1], kept[ring[-1].stop])))
            found.append(ring)
        return found

    def _taken(self, kept: dict[int, list[Edge]], edge: Edge) -> Edge:
        kept[edge.start].remove(edge)
        if not kept[edge.start]:
            del kept[edge.start]
        return edge

    def _next(self, edge: Edge, choices: Sequence[Edge]) -> Edge:
        """The sharpest turn to the left: rings that touch in a spot stay apart."""
        (a, b), (c, d) = self.nodes[edge.start], self.nodes[edge.stop]

        def turn(other: Edge) -> float:
            e, f = self.nodes[other.stop]
            return atan2((c - a) * (f - d) - (d - b) * (e - c), (c - a) * (e - c) + (d - b) * (f - d))

        return max(choices, key=turn)

    def polygons(self, rings: Sequence[Sequence[Edge]]) -> list[Polygon]:
        """Shells with the holes that lie in them, as places of the earth."""
        plain = [[self.nodes[each.start] for each in ring] for ring in rings]
        shells = [each for each in plain if _area(each) > 0]
        holes: list[list[Ring]] = [[] for _ in shells]
        for each in plain:
            if _area(each) <= 0:
                around = [n for n, shell in enumerate(shells) if _in_ring(shell, _inner(each))]
                holes[min(around, key=lambda n: _area(shells[n]))].append(each)
        return [
            [[self.plane.back(at) for at in ring] for ring in (shell, *own)]
            for shell, own in zip(shells, holes, strict=True)
        ]


def _begun(ring: list[Edge]) -> list[Edge]:
    """Behind the piece of the edge that was given last; of its pieces that follow one another behind the last."""
    most = max(each.id for each in ring)
    for index, each in enumerate(ring):
        if each.id == most and ring[(index + 1) % len(ring)].id != most:
            return ring[index + 1 :] + ring[: index + 1]
    return ring


def _inner(ring: Ring) -> Spot:
    """A spot beside the first edge of a hole, in the polygon."""
    (a, b), (c, d) = ring[0], ring[1]
    return (a + c) / 2 - (d - b) * BESIDE, (b + d) / 2 + (c - a) * BESIDE


def _area(ring: Ring) -> float:
    return sum(a * d - b * c for (a, b), (c, d) in pairwise([*ring, ring[0]])) / 2


def _in_ring(ring: Ring, at: Spot) -> bool:
    inside = False
    for (a, b), (c, d) in pairwise([*ring, ring[0]]):
        if (b > at[1]) != (d > at[1]) and at[0] < a + (at[1] - b) / (d - b) * (c - a):
            inside = not inside
    return inside


def _in_polygon(one: Polygon, at: Spot) -> bool:
    return sum(_in_ring(ring, at) for ring in one) % 2 == 1


def _apart(edge: tuple[Spot, Spot], at: Spot) -> float:
    """How far a spot is from an edge."""
    (a, b), (c, d) = edge
    size = (c - a) ** 2 + (d - b) ** 2
    along = max(0.0, min(1.0, ((at[0] - a) * (c - a) + (at[1] - b) * (d - b)) / size)) if size else 0.0
    return hypot(a + along * (c - a) - at[0], b + along * (d - b) - at[1])
