"""Cells of S2 of one level that cover a line or a polygon, or what lies within a distance of it.

On a face of the cube arcs of great circles are straight lines and cells are rectangles, so that which cells an edge
meets is told there exactly. From the six faces down a cell is divided as long as an edge is near; where none is, it is
inside as a whole or outside as a whole. The cells come in the order of the curve, as those of a `S2CellUnion`.

Source: Kusto Query Language, "geo_line_to_s2cells()", "geo_polygon_to_s2cells()"; S2 Geometry, "S2RegionCoverer",
"S2ShapeIndexBufferedRegion".
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import pairwise
from math import asin, atan2, pi, sqrt
from typing import Any, NamedTuple

from bartizan.hunt.functions import worked
from bartizan.hunt.functions.geo import EARTH_RADIUS_M
from bartizan.hunt.functions.geo_plane import Polygon, Ring, Spot, Vector, cross, dot, unit, vector
from bartizan.hunt.functions.geo_together import read_lines, read_polygons
from bartizan.hunt.functions.s2 import DEFAULT_LEVEL, FINEST, S2Cell, on_side, spread, token

MOST_CELLS = 65_536  # of a figure: more is null, as documented
MOST_LOOKS = 4_000_000  # at an edge beside a cell; whether a cell that meets none lies inside is looked at besides
EDGE_OF_A_FACE = 1e-15  # that an edge may lie beyond a cell, by rounding


class Edge(NamedTuple):
    start: Vector
    stop: Vector


class Flat(NamedTuple):
    """An edge by the axes of a face."""

    edge: Edge
    start: Vector  # along u, along v, outwards
    stop: Vector


Inside = Callable[[Vector], bool]


class _Square(NamedTuple):
    """A cell on its face."""

    face: int
    left: float
    right: float
    low: float
    high: float

    def at(self, u: float, v: float) -> Vector:
        return unit(on_side(self.face, u, v))

    def corners(self) -> list[Vector]:
        return [self.at(u, v) for u, v in ((self.left, self.low), (self.right, self.low),
                                           (self.right, self.high), (self.left, self.high))]  # fmt: skip

    def middle(self) -> Vector:
        return self.at((self.left + self.right) / 2, (self.low + self.high) / 2)


def cover(edges: Sequence[Edge], inside: Inside | None, level: int, radius_m: float) -> list[str] | None:
    """The tokens; None: there are too many cells, or too many edges for so many. `inside` of a polygon."""
    angle = radius_m / EARTH_RADIUS_M
    cells: list[tuple[S2Cell, Sequence[Flat]]] = [(S2Cell(face, 0, 0, 0), _on_face(face, edges)) for face in range(6)]
    whole: list[S2Cell] = []
    looks = 0
    for depth in range(level + 1):
        near: list[tuple[S2Cell, Sequence[Flat]]] = []
        for cell, given in cells:
            square = _square_of(cell)
            looks += len(given)
            met = [each for each in given if _is_near(each, square, angle)]
            if met:
                near.append((cell, met))
            elif inside is not None and inside(square.middle()):
                whole.append(cell)
        if looks > MOST_LOOKS or _count(whole, level) + len(near) > MOST_CELLS:
            return None
        cells = near if depth == level else [(part, met) for cell, met in near for part in _parts(cell)]
    return sorted(token(each) for each in (*(cell for cell, _ in cells), *_all(whole, level)))


def _count(whole: Iterable[S2Cell], level: int) -> int:
    return sum(4 ** (level - each.level) for each in whole)


def _parts(cell: S2Cell) -> list[S2Cell]:
    return [S2Cell(cell.face, cell.level + 1, 2 * cell.i + i, 2 * cell.j + j) for i in (0, 1) for j in (0, 1)]


def _all(whole: Iterable[S2Cell], level: int) -> Iterable[S2Cell]:
    """Of cells those that they consist of."""
    for each in whole:
        size = 1 << (level - each.level)
        for i in range(each.i * size, (each.i + 1) * size):
            for j in range(each.j * size, (each.j + 1) * size):
                yield S2Cell(each.face, level, i, j)


def _square_of(cell: S2Cell) -> _Square:
    size = 1 << cell.level
    left, right = spread(cell.i / size), spread((cell.i + 1) / size)
    return _Square(cell.face, left, right, spread(cell.j / size), spread((cell.j + 1) / size))


def _is_near(flat: Flat, square: _Square, angle: float) -> bool:
    if _meets(flat, square):
        return True
    if angle <= 0:
        return False
    edge, corners = flat.edge, square.corners()
    sides = [Edge(one, other) for one, other in pairwise([*corners, corners[0]])]
    return any(_from_edge(each, edge) <= angle for each in corners) or any(
        _from_edge(end, side) <= angle for side in sides for end in edge
    )


def _meets(flat: Flat, square: _Square) -> bool:
    """Whether the part of the edge that is on the face comes to the square. The arc is the chord, each of whose points
    stands for the direction that it lies in: what is beyond a side of the square has one sign all along."""
    (u, v, w), (u2, v2, w2) = flat.start, flat.stop
    begin, end = 0.0, 1.0
    pad = EDGE_OF_A_FACE
    for one, other in (
        (u - (square.left - pad) * w, u2 - (square.left - pad) * w2),
        ((square.right + pad) * w - u, (square.right + pad) * w2 - u2),
        (v - (square.low - pad) * w, v2 - (square.low - pad) * w2),
        ((square.high + pad) * w - v, (square.high + pad) * w2 - v2),
        (w, w2),
    ):
        if one < 0 and other < 0:
            return False
        if (one < 0) != (other < 0):
            share = one / (one - other)
            begin, end = (max(begin, share), end) if one < 0 else (begin, min(end, share))
            if begin > end:
                return False
    return True


def _on_face(face: int, edges: Sequence[Edge]) -> list[Flat]:
    out = on_side(face, 0, 0)
    along = [
        tuple(one - other for one, other in zip(on_side(face, *each), out, strict=True)) for each in ((1, 0), (0, 1))
    ]
    (ax, ay, az), (bx, by, bz) = along

    def flat(at: Vector) -> Vector:
        return dot(at, (ax, ay, az)), dot(at, (bx, by, bz)), dot(at, out)

    return [Flat(each, flat(each.start), flat(each.stop)) for each in edges]


def _from_edge(at: Vector, edge: Edge) -> float:
    """The angle between a place and the nearest of an edge."""
    normal = cross(edge.start, edge.stop)
    size = sqrt(dot(normal, normal))
    if size > 0:
        beside = cross(normal, at)
        if dot(edge.start, beside) < 0 < dot(edge.stop, beside):
            return abs(asin(max(-1.0, min(1.0, dot(at, normal) / size))))
    return min(_angle(at, edge.start), _angle(at, edge.stop))


def _angle(one: Vector, other: Vector) -> float:
    normal = cross(one, other)
    return atan2(sqrt(dot(normal, normal)), dot(one, other))


# ------------------------------------------------------------------ lines and polygons


def _edges(spots: Sequence[Spot]) -> list[Edge]:
    return [Edge(one, other) for one, other in pairwise([vector(each) for each in spots])]


def _turns(ring: Sequence[Vector], at: Vector) -> int:
    """How often the ring goes round a place, against the clock; less once round the opposite of the place."""
    total = 0.0
    for one, other in pairwise([*ring, ring[0]]):
        total += atan2(dot(at, cross(one, other)), dot(one, other) - dot(at, one) * dot(at, other))
    return round(total / (2 * pi))


def _is_in(polygons: Sequence[Sequence[Sequence[Vector]]], at: Vector) -> bool:
    """A shell goes round what is inside against the clock, a hole with it."""
    return any(_turns(shell, at) == 1 and all(_turns(hole, at) != -1 for hole in holes) for shell, *holes in polygons)


def _closed(ring: Ring) -> list[Spot]:
    return [*ring, ring[0]]


def _fits(level: int, radius_m: float) -> bool:
    return 0 <= level <= FINEST and 0 <= radius_m <= pi * EARTH_RADIUS_M


def _of_polygon(given: Any, level: int = DEFAULT_LEVEL, radius_m: float = 0.0) -> list[str] | None:
    polygons: list[Polygon] | None = read_polygons(given)
    if polygons is None or not _fits(level, radius_m):
        return None
    edges = [edge for polygon in polygons for ring in polygon for edge in _edges(_closed(ring))]
    vectors = [[[vector(spot) for spot in ring] for ring in polygon] for polygon in polygons]
    return cover(edges, partial(_is_in, vectors), level, radius_m)


def _of_line(given: Any, level: int = DEFAULT_LEVEL, radius_m: float = 0.0) -> list[str] | None:
    lines = read_lines(given)
    if lines is None or not _fits(level, radius_m):
        return None
    return cover([edge for line in lines for edge in _edges(line)], None, level, radius_m)


worked("geo_polygon_to_s2cells", "dynamic long? real? -> dynamic", _of_polygon)
worked("geo_line_to_s2cells", "dynamic long? real? -> dynamic", _of_line)
