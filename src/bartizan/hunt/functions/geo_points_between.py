"""More corners and fewer: edges of a flat map as arcs of great circles, nearly straight chains as one edge.

An edge that is straight on a map (longitude, latitude) is halved until no half is farther from its arc than the
tolerance. How far they are apart is estimated from two of their places, as S2 does it.

Simplifying leaves out corners nearer than the tolerance to the one before, then those nearer than it to the edge that
stands for their chain (Douglas and Peucker). Kusto promises no more than this tolerance either; which corners it leaves
may differ.

Source: Kusto Query Language, "geo_line_densify()", "geo_polygon_densify()", "geo_line_simplify()",
"geo_polygon_simplify()"; S2 Geometry, "S2EdgeTessellator"; Wikipedia, "Ramer-Douglas-Peucker algorithm".
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from math import asin, atan2, cos, degrees, isfinite, sin, sqrt
from typing import Any

from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import worked
from bartizan.hunt.functions.geo import EARTH_RADIUS_M
from bartizan.hunt.functions.geo_plane import Polygon, Ring, Spot, Vector, cross, dot, unit, vector
from bartizan.hunt.functions.geo_together import angle, polygon_json, read_lines, read_polygons, united

TOLERANCE_M = 10.0
LEAST_M, MOST_M = 0.1, 10_000.0
ASIDE = 0.31215691082248312  # where along an edge its distance from the arc is looked at
SHARE = 0.83829992569888509  # of the greatest distance, which it is at least there
MOST_SPOTS = 200_000  # of a figure

# ------------------------------------------------------------------ more


def _between(one: Spot, other: Spot, share: float) -> Spot:
    """On the map, the short way around."""
    return one[0] + _turn(one[0], other[0]) * share, one[1] + (other[1] - one[1]) * share


def _turn(one: float, other: float) -> float:
    return (other - one + 540) % 360 - 180


def _on_arc(one: Spot, other: Spot, share: float) -> Vector:
    first, second = vector(one), vector(other)
    whole = angle(one, other) * share
    side = unit(cross(cross(first, second), first))
    a, b = cos(whole), sin(whole)
    return unit((first[0] * a + side[0] * b, first[1] * a + side[1] * b, first[2] * a + side[2] * b))


def _spot(at: Vector) -> Spot:
    return degrees(atan2(at[1], at[0])), degrees(asin(max(-1.0, min(1.0, at[2]))))


def _off(one: Spot, other: Spot) -> float:
    """How far an edge of the map is from its arc, in metres."""
    if one == other or angle(one, other) == 0:
        return 0.0
    ways = [angle(_spot(_on_arc(one, other, share)), _between(one, other, share)) for share in (ASIDE, 1 - ASIDE)]
    return max(ways) / SHARE * EARTH_RADIUS_M


def _densified(spots: Sequence[Spot], tolerance: float) -> list[Spot]:
    found = [spots[0]]
    for one, other in pairwise(spots):
        _halved(one, other, tolerance, found)
    return found


def _halved(one: Spot, other: Spot, tolerance: float, found: list[Spot]) -> None:
    if len(found) > MOST_SPOTS:
        raise KqlError("run", f"a densified figure has more than {MOST_SPOTS:,} places")
    if _off(one, other) <= tolerance:
        found.append(other)
        return
    middle = _between(one, other, 0.5)
    _halved(one, middle, tolerance, found)
    _halved(middle, other, tolerance, found)


def _around(spot: Spot) -> Spot:
    """Its longitude from -180 to 180."""
    return (spot[0] if -180 <= spot[0] <= 180 else _turn(0, spot[0])), spot[1]


# ------------------------------------------------------------------ fewer


def _simplified(spots: Sequence[Spot], tolerance: float) -> list[Spot]:
    """The first and the last stay."""
    kept = [spots[0]]
    for each in spots[1:-1]:
        if angle(kept[-1], each) * EARTH_RADIUS_M >= tolerance:
            kept.append(each)
    kept.append(spots[-1])
    stays = {0, len(kept) - 1}
    waiting = [(0, len(kept) - 1)]
    while waiting:
        start, stop = waiting.pop()
        away = [(_from_edge(kept[start], kept[stop], kept[each]), each) for each in range(start + 1, stop)]
        most, where = max(away, default=(0.0, 0))
        if most > tolerance:
            stays.add(where)
            waiting += [(start, where), (where, stop)]
    return [kept[each] for each in sorted(stays)]


def _from_edge(one: Spot, other: Spot, at: Spot) -> float:
    """In metres."""
    first, second, third = vector(one), vector(other), vector(at)
    normal = cross(first, second)
    size = sqrt(dot(normal, normal))
    if size and dot(cross(normal, first), third) >= 0 >= dot(cross(normal, second), third):
        return abs(asin(max(-1.0, min(1.0, dot(normal, third) / size)))) * EARTH_RADIUS_M
    return min(angle(one, at), angle(other, at)) * EARTH_RADIUS_M


def _simplified_ring(ring: Ring, tolerance: float) -> Ring:
    found = _simplified([*ring, ring[0]], tolerance)[:-1]
    if len(found) > 2 and angle(found[-1], found[0]) * EARTH_RADIUS_M < tolerance:
        found.pop()
    return found


def _simple(one: Polygon, tolerance: float) -> Polygon | None:
    """None: it has disappeared. A hole that does is left out."""
    rings = [_simplified_ring(ring, tolerance) for ring in one]
    return None if len(rings[0]) < 3 else [each for each in rings if len(each) >= 3]


# ------------------------------------------------------------------ the functions


def _fits(tolerance: float) -> bool:
    return isfinite(tolerance) and LEAST_M <= tolerance <= MOST_M


def _of_line(
    change: Callable[[Sequence[Spot], float], list[Spot]], given: Any, tolerance: float = TOLERANCE_M, *_: bool
) -> dict[str, Any] | None:
    lines = read_lines(given)
    if lines is None or not _fits(tolerance):
        return None
    made = [[list(_around(spot)) for spot in change(line, tolerance)] for line in lines]
    several = given["type"] == "MultiLineString"
    return {"type": given["type"], "coordinates": made if several else made[0]}


def _densified_polygon(given: Any, tolerance: float = TOLERANCE_M, *_: bool) -> dict[str, Any] | None:
    polygons = read_polygons(given)
    if polygons is None or not _fits(tolerance):
        return None
    made = [
        [[_around(spot) for spot in _densified([*ring, ring[0]], tolerance)[:-1]] for ring in each] for each in polygons
    ]
    told = [polygon_json(each) for each in made]
    return {"type": given["type"], "coordinates": told if given["type"] == "MultiPolygon" else told[0]}


def _simplified_polygon(given: Any, tolerance: float = TOLERANCE_M) -> dict[str, Any] | None:
    polygons = read_polygons(given)
    if polygons is None or not _fits(tolerance):
        return None
    whole = united(polygons) if len(polygons) > 1 else polygons
    made = [each for each in (_simple(one, tolerance) for one in whole) if each is not None]
    told = [polygon_json(each) for each in made]
    if not told:
        return None
    return {"type": "MultiPolygon" if len(told) > 1 else "Polygon", "coordinates": told if len(told) > 1 else told[0]}


for _signature in ("dynamic real? -> dynamic", "dynamic real bool! -> dynamic"):
    worked("geo_line_densify", _signature, partial(_of_line, _densified))
    worked("geo_polygon_densify", _signature, _densified_polygon)
worked("geo_line_simplify", "dynamic real? -> dynamic", partial(_of_line, _simplified))
worked("geo_polygon_simplify", "dynamic real? -> dynamic", _simplified_polygon)
