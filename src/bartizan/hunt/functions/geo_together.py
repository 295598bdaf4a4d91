"""Functions of several polygons and lines in GeoJSON: what they have in common, and what they are together.

Of polygons in an array, or of several polygons in one figure, the two with the fewest corners are united first, and so
on, what is united being counted with the corners of both; the result lists corners in the order that follows from that,
as Kusto's does.

Source: Kusto Query Language, "geo_union_polygons_array()", "geo_union_lines_array()", "geo_intersection_2polygons()",
"geo_intersection_line_with_polygon()", "geo_intersection_2lines()", "geo_intersects_2polygons()",
"geo_polygon_area()", "geo_polygon_perimeter()"; S2 Geometry, "S2Polygon::DestructiveUnion".
"""

from collections.abc import Sequence
from itertools import pairwise
from math import atan2, sqrt
from typing import Any

from bartizan.hunt.functions import worked
from bartizan.hunt.functions.geo import EARTH_RADIUS_M
from bartizan.hunt.functions.geo_plane import Cut, Edge, Plane, Polygon, Ring, Spot, Vector, cross, dot, vector

# ------------------------------------------------------------------ from and to GeoJSON


def _spots(given: Any, least: int) -> list[Spot] | None:
    if not isinstance(given, list) or len(given) < least:
        return None
    found: list[Spot] = []
    for each in given:
        fits = isinstance(each, list) and len(each) >= 2
        if not fits or any(isinstance(part, bool) or not isinstance(part, int | float) for part in each[:2]):
            return None
        if not (-180 <= each[0] <= 180 and -90 <= each[1] <= 90):
            return None
        found.append((each[0], each[1]))
    return found


def read_ring(given: Any) -> Ring | None:
    """At least three different places, and the first again."""
    found = _spots(given, 4)
    if found is None or found[0] != found[-1] or len(set(found)) != len(found) - 1:
        return None
    return found[:-1]


def read_polygons(given: Any) -> list[Polygon] | None:
    """Of a polygon or several in GeoJSON; None: it is not valid."""
    kind = given.get("type") if isinstance(given, dict) else None
    content = given.get("coordinates") if kind in ("Polygon", "MultiPolygon") else None
    listed = [content] if kind == "Polygon" else content
    if not isinstance(listed, list) or not listed:
        return None
    found: list[Polygon] = []
    for each in listed:
        rings = [read_ring(ring) for ring in each] if isinstance(each, list) and each else [None]
        whole = [ring for ring in rings if ring is not None]
        if len(whole) != len(rings):
            return None
        found.append([_wound(ring, hole=index > 0) for index, ring in enumerate(whole)])
    return found


def read_lines(given: Any) -> list[list[Spot]] | None:
    kind = given.get("type") if isinstance(given, dict) else None
    content = given.get("coordinates") if kind in ("LineString", "MultiLineString") else None
    listed = [content] if kind == "LineString" else content
    if not isinstance(listed, list) or not listed:
        return None
    found = [_spots(each, 2) for each in listed]
    whole = [each for each in found if each is not None and all(one != other for one, other in pairwise(each))]
    return whole if len(whole) == len(found) else None


def _wound(ring: Ring, *, hole: bool) -> Ring:
    """The smaller of the two parts at the left; of a hole at the right."""
    return ring if (excess(ring) > 0) != hole else [ring[0], *ring[:0:-1]]


def excess(ring: Ring) -> float:
    """What a ring encloses, in steradians; below zero with the clock."""
    first, *rest = [vector(each) for each in ring]
    total = 0.0
    for one, other in pairwise(rest):
        whole = 1 + dot(first, one) + dot(one, other) + dot(other, first)
        # Of differences, so that small rings lose no digits.
        total += 2 * atan2(dot(first, cross(_less(one, first), _less(other, first))), whole)
    return total


def _less(one: Vector, other: Vector) -> Vector:
    return one[0] - other[0], one[1] - other[1], one[2] - other[2]


def angle(one: Spot, other: Spot) -> float:
    """Between two places, in radians."""
    normal = cross(vector(one), vector(other))
    return atan2(sqrt(dot(normal, normal)), dot(vector(one), vector(other)))


def polygon_json(one: Polygon) -> list[list[list[float]]]:
    return [[list(spot) for spot in (*ring, ring[0])] for ring in one]


def _polygons(found: Sequence[Polygon]) -> list[dict[str, Any]]:
    if len(found) > 1:
        return [{"type": "MultiPolygon", "coordinates": [polygon_json(each) for each in found]}]
    return [{"type": "Polygon", "coordinates": polygon_json(each)} for each in found]


def _lines(found: Sequence[Sequence[Spot]]) -> list[dict[str, Any]]:
    listed = [[list(spot) for spot in each] for each in found]
    if len(listed) > 1:
        return [{"type": "MultiLineString", "coordinates": listed}]
    return [{"type": "LineString", "coordinates": each} for each in listed]


def _points(found: Sequence[Spot]) -> list[dict[str, Any]]:
    listed = [list(spot) for spot in found]
    if len(listed) > 1:
        return [{"type": "MultiPoint", "coordinates": listed}]
    return [{"type": "Point", "coordinates": each} for each in listed]


def _collected(parts: list[dict[str, Any]]) -> dict[str, Any]:
    return parts[0] if len(parts) == 1 else {"type": "GeometryCollection", "geometries": parts}


# ------------------------------------------------------------------ unions


def united(given: Sequence[Polygon]) -> list[Polygon]:
    """What polygons are together."""
    waiting = [(sum(len(ring) for ring in each), [each]) for each in given]
    while len(waiting) > 1:
        waiting.sort(key=lambda each: each[0])
        (size, one), (size_of_other, other), *rest = waiting
        plane = Plane([spot for figure in (one, other) for each in figure for ring in each for spot in ring])
        cut = Cut(plane, [one, other])
        waiting = [*rest, (size + size_of_other, cut.polygons(cut.rings(any)))]
    return waiting[0][1]


def _union(array: Any) -> dict[str, Any] | None:
    read = [read_polygons(each) for each in array] if isinstance(array, list) and array else [None]
    whole = [each for each in read if each is not None]
    if len(whole) != len(read):
        return None
    [found] = _polygons(united([polygon for each in whole for polygon in each]))
    return found


def _area(given: Any) -> float | None:
    polygons = read_polygons(given)
    if polygons is None:
        return None
    whole = united(polygons) if len(polygons) > 1 else polygons
    return EARTH_RADIUS_M**2 * sum(excess(ring) for each in whole for ring in each)


def _perimeter(given: Any) -> float | None:
    polygons = read_polygons(given)
    if polygons is None:
        return None
    whole = united(polygons) if len(polygons) > 1 else polygons
    edges = [edge for each in whole for ring in each for edge in pairwise([*ring, ring[0]])]
    return EARTH_RADIUS_M * sum(angle(*edge) for edge in edges)


worked("geo_polygon_perimeter", "dynamic -> real", _perimeter)
worked("geo_union_polygons_array", "dynamic -> dynamic", _union)
worked("geo_polygon_area", "dynamic -> real", _area)

# ------------------------------------------------------------------ intersections


def _common(one: Any, other: Any) -> dict[str, Any] | None:
    """Of polygons; where they only touch, spots and lines."""
    first, second = read_polygons(one), read_polygons(other)
    if first is None or second is None:
        return None
    plane = Plane([spot for figure in (first, second) for each in figure for ring in each for spot in ring])
    cut = Cut(plane, [first, second])
    rings = cut.rings(all)
    kept = {node for ring in rings for each in ring for node in (each.start, each.stop)}
    lines = _touching(cut, rings)
    kept |= {node for line in lines for node in line}
    of_first, of_second = (
        {node for each in cut.pieces if (each.id >= cut.starts[1]) is later for node in (each.start, each.stop)}
        for later in (False, True)
    )
    points = [plane.back(cut.nodes[each]) for each in sorted((of_first & of_second) - kept)]
    told = [[plane.back(cut.nodes[each]) for each in line] for line in lines]
    return _collected([*_points(points), *_lines(told), *_polygons(cut.polygons(rings))])


def _meet(one: Any, other: Any) -> bool | None:
    found = _common(one, other)
    return None if found is None else found.get("geometries") != []


def _touching(cut: Cut, rings: Sequence[Sequence[Edge]]) -> list[list[int]]:
    """Edges that both have, outside of what the rings enclose."""
    bounds = {frozenset((each.start, each.stop)) for ring in rings for each in ring}
    first = {frozenset((each.start, each.stop)) for each in cut.pieces if each.id < cut.starts[1]}
    both = [each for each in cut.pieces if each.id >= cut.starts[1] and frozenset((each.start, each.stop)) in first]
    outer = [each for each in both if frozenset((each.start, each.stop)) not in bounds]
    kept = [each for each in outer if not all(cut.within(n, cut.beside(each, True)) for n in (0, 1))]
    return _chained(kept)


def _chained(pieces: Sequence[Edge]) -> list[list[int]]:
    """As few lines as pieces in their order make."""
    found: list[list[int]] = []
    for each in pieces:
        if found and found[-1][-1] == each.start:
            found[-1].append(each.stop)
        else:
            found.append([each.start, each.stop])
    return found


def _line_in_polygon(line: Any, polygon: Any) -> dict[str, Any] | None:
    lines, polygons = read_lines(line), read_polygons(polygon)
    if lines is None or polygons is None:
        return None
    given = [spot for each in lines for spot in each]
    plane = Plane([*given, *(spot for each in polygons for ring in each for spot in ring)])
    cut = Cut(plane, [polygons], lines)
    own = [each for each in cut.pieces if each.id >= cut.first_of_lines]
    bounds = {frozenset((each.start, each.stop)) for each in cut.pieces if each.id < cut.first_of_lines}
    inside = [each for each in own if frozenset((each.start, each.stop)) in bounds or cut.within(0, _middle(cut, each))]
    kept = {node for each in inside for node in (each.start, each.stop)}
    on_bounds = {node for each in bounds for node in each}
    touched = dict.fromkeys(node for each in own for node in (each.start, each.stop) if node in on_bounds - kept)
    told = [[plane.back(cut.nodes[node]) for node in each] for each in _chained(inside)]
    return _collected([*_points([plane.back(cut.nodes[each]) for each in touched]), *_lines(told)])


def _middle(cut: Cut, piece: Edge) -> Spot:
    (a, b), (c, d) = cut.nodes[piece.start], cut.nodes[piece.stop]
    return (a + c) / 2, (b + d) / 2


def _of_lines(one: Any, other: Any) -> dict[str, Any] | None:
    first, second = read_lines(one), read_lines(other)
    if first is None or second is None:
        return None
    plane = Plane([spot for figure in (first, second) for each in figure for spot in each])
    cut = Cut(plane, [], [*first, *second])
    limit = sum(len(each) - 1 for each in first)
    of_first, of_second = ([each for each in cut.pieces if (each.id >= limit) is later] for later in (False, True))
    both = {frozenset((each.start, each.stop)) for each in of_second}
    shared = [each for each in of_first if frozenset((each.start, each.stop)) in both]
    kept = {node for each in shared for node in (each.start, each.stop)}
    there = {node for each in of_second for node in (each.start, each.stop)}
    met = dict.fromkeys(node for each in of_first for node in (each.start, each.stop) if node in there - kept)
    told = [[plane.back(cut.nodes[node]) for node in each] for each in _chained(shared)]
    return _collected([*_points([plane.back(cut.nodes[each]) for each in met]), *_lines(told)])


def _lines_together(array: Any) -> dict[str, Any] | None:
    read = [read_lines(each) for each in array] if isinstance(array, list) and array else [None]
    whole = [line for each in read if each is not None for line in each]
    if any(each is None for each in read):
        return None
    plane = Plane([spot for each in whole for spot in each])
    cut = Cut(plane, [], whole)
    once = {frozenset((each.start, each.stop)): each for each in reversed(cut.pieces)}
    chains = _chained(sorted(once.values(), key=cut.pieces.index))
    [found] = _lines([[plane.back(cut.nodes[node]) for node in each] for each in chains])
    return found


worked("geo_union_lines_array", "dynamic -> dynamic", _lines_together)
worked("geo_intersects_2polygons", "dynamic dynamic -> bool", _meet)
worked("geo_intersection_2polygons", "dynamic dynamic -> dynamic", _common)
worked("geo_intersection_line_with_polygon", "dynamic dynamic -> dynamic", _line_in_polygon)
worked("geo_intersection_2lines", "dynamic dynamic -> dynamic", _of_lines)
