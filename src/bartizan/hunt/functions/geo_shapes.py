"""Functions of lines and polygons in GeoJSON, and of well-known text. Edges are arcs of great circles on a sphere.

A line has two positions and more; a ring four and more, the last of which is the first, all others different; of the
two regions that a ring divides the earth into, the smaller is meant. What breaks these rules is null. That rings do
not cross is not checked. The edges of several lines are taken one by one: what two lines share counts twice.

Source: Kusto Query Language, "geo_point_in_polygon()", "geo_line_length()", "geo_line_centroid()",
"geo_line_interpolate_point()", "geo_line_locate_point()", "geo_distance_point_to_line()",
"geo_closest_point_on_line()", "geo_from_wkt()"; OGC,
"Simple Feature Access", part 1, chapter 7; Wikipedia, "Great-circle navigation", "Spherical trigonometry".
"""

from bartizan.hunt.duckdb.literal import text
from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.functions import function
from bartizan.hunt.functions.geo import EARTH_RADIUS_M

# ------------------------------------------------------------------ from GeoJSON: lists of lists of [lon, lat]

macro("kf_geo_type(p) := json_extract_string(p::VARCHAR, '$.type')")
macro("kf_geo_coordinates(p) := json_extract(p::VARCHAR, '$.coordinates')")
macro("""kf_geo_line(p) := CASE kf_geo_type(p) WHEN 'LineString' THEN
[from_json(kf_geo_coordinates(p), '[["DOUBLE"]]')::DOUBLE[][]] END""")
macro("""kf_geo_lines(p) := CASE kf_geo_type(p) WHEN 'LineString' THEN
[from_json(kf_geo_coordinates(p), '[["DOUBLE"]]')::DOUBLE[][]] WHEN 'MultiLineString' THEN
from_json(kf_geo_coordinates(p), '[[["DOUBLE"]]]')::DOUBLE[][][] END""")
macro("""kf_geo_polygons(p) := CASE kf_geo_type(p) WHEN 'Polygon' THEN
[from_json(kf_geo_coordinates(p), '[[["DOUBLE"]]]')::DOUBLE[][][]] WHEN 'MultiPolygon' THEN
from_json(kf_geo_coordinates(p), '[[[["DOUBLE"]]]]')::DOUBLE[][][][] END""")
# That a condition holds for all items of a list; for one that is null it does not.
macro(
    "kf_are_lines(ls) := len(ls) > 0 AND len(list_filter(ls, lambda l: len(l) >= 2)) = len(ls) AND len(list_filter("
    "flatten(ls), lambda p: len(p) >= 2 AND kf_is_place(p[1], p[2]))) = len(flatten(ls))"
)
macro(
    "kf_are_rings(rs) := kf_are_lines(rs) AND len(list_filter(rs, lambda r: len(r) >= 4 AND r[1] = r[-1] AND "
    "len(list_distinct(r)) = len(r) - 1)) = len(rs)"
)
macro(
    "kf_are_polygons(ps) := len(ps) > 0 AND len(list_filter(ps, lambda p: len(p) >= 1)) = len(ps) AND "
    "kf_are_rings(flatten(ps))"
)
macro(
    "kf_edges(ls) := flatten(list_transform(ls, lambda l: list_transform(range(1, len(l)), lambda i: "
    "{'x': l[i][1], 'y': l[i][2], 'x2': l[i + 1][1], 'y2': l[i + 1][2]})))"
)
macro("kf_line_edges(p) := list_transform([kf_geo_line(p)], lambda s: CASE WHEN kf_are_lines(s) THEN "
      "kf_edges(s) END)[1]")  # fmt: skip
macro("kf_lines_edges(p) := list_transform([kf_geo_lines(p)], lambda s: CASE WHEN kf_are_lines(s) THEN "
      "kf_edges(s) END)[1]")  # fmt: skip

# ------------------------------------------------------------------ lines

macro("kf_edge_angle(e) := kf_angle(e.x, e.y, e.x2, e.y2)")
macro(f"kf_edges_length(es) := {EARTH_RADIUS_M} * list_sum(list_transform(es, lambda e: kf_edge_angle(e)))")
function("geo_line_length", "dynamic -> real", duckdb="kf_edges_length(kf_lines_edges({0}))")

macro("kf_vector_x(lon, lat) := cos(radians(lat)) * cos(radians(lon))")
macro("kf_vector_y(lon, lat) := cos(radians(lat)) * sin(radians(lon))")
# The place under a vector of any length; null for that of length 0.
macro("kf_point_of(v) := CASE WHEN v.x <> 0 OR v.y <> 0 OR v.z <> 0 THEN "
      "kf_point_json(degrees(atan2(v.y, v.x)), degrees(atan2(v.z, sqrt(v.x * v.x + v.y * v.y)))) END")  # fmt: skip

# The integral of the place along an arc is the sum of its ends, times the tangent of half its angle.
macro(
    "kf_edge_moment(e) := {'x': (kf_vector_x(e.x, e.y) + kf_vector_x(e.x2, e.y2)) * tan(kf_edge_angle(e) / 2), "
    "'y': (kf_vector_y(e.x, e.y) + kf_vector_y(e.x2, e.y2)) * tan(kf_edge_angle(e) / 2), "
    "'z': (sin(radians(e.y)) + sin(radians(e.y2))) * tan(kf_edge_angle(e) / 2)}"
)
macro(
    "kf_centroid(es) := list_transform([list_transform(es, lambda e: kf_edge_moment(e))], lambda m: list_transform([{"
    "'x': list_sum(list_transform(m, lambda v: v.x)), 'y': list_sum(list_transform(m, lambda v: v.y)), "
    "'z': list_sum(list_transform(m, lambda v: v.z))}], lambda s: kf_point_of(s))[1])[1]"
)
function("geo_line_centroid", "dynamic -> dynamic", duckdb="kf_centroid(kf_lines_edges({0}))::JSON")

# The place that is the angle `u` along an edge of the angle `a`.
macro("kf_part(p, q, m) := CASE WHEN m.a > 0 THEN (sin(m.a - m.u) * p + sin(m.u) * q) / sin(m.a) ELSE p END")
macro(
    "kf_along(m) := {'x': kf_part(kf_vector_x(m.e.x, m.e.y), kf_vector_x(m.e.x2, m.e.y2), m), "
    "'y': kf_part(kf_vector_y(m.e.x, m.e.y), kf_vector_y(m.e.x2, m.e.y2), m), "
    "'z': kf_part(sin(radians(m.e.y)), sin(radians(m.e.y2)), m)}"
)
# Edges `e` with their angles `a`, and the angle of the line up to the end of each: `c`.
macro(
    "kf_measured(edges) := list_transform(list_transform([edges], lambda es: {'e': es, "
    "'a': list_transform(es, lambda e: kf_edge_angle(e))}), lambda m: {'e': m.e, 'a': m.a, "
    "'c': list_transform(range(1, len(m.a) + 1), lambda i: list_sum(m.a[1:i]))})[1]"
)
macro(
    "kf_at_part(m, i, part) := {'e': m.e[i], 'a': m.a[i], 'u': m.a[i] - (m.c[i] - part * m.c[-1])}",
)
macro(
    "kf_interpolate(edges, part) := list_transform(list_transform(list_transform([kf_measured(edges)], lambda m: "
    "kf_at_part(m, 1 + len(list_filter(m.c, lambda c: c < part * m.c[-1])), part)), lambda m: kf_along(m)), "
    "lambda v: kf_point_of(v))[1]"
)
function(
    "geo_line_interpolate_point",
    "dynamic real -> dynamic",
    duckdb="(CASE WHEN {1} BETWEEN 0 AND 1 THEN kf_interpolate(kf_line_edges({0}), {1}) END)::JSON",
)

# Of a place and an edge: how far the place is from the edge's start, in which direction from that of the edge, and the
# place nearest to it along the edge.
macro(
    "kf_beside(e, lon, lat) := {'a': kf_edge_angle(e), 'd': kf_angle(e.x, e.y, lon, lat), "
    "'d2': kf_angle(e.x2, e.y2, lon, lat), "
    "'t': kf_bearing(e.x, e.y, lon, lat) - kf_bearing(e.x, e.y, e.x2, e.y2)}"
)
macro("kf_foot(b) := atan2(sin(b.d) * cos(b.t), cos(b.d))")
macro(
    "kf_nearest(b) := CASE WHEN kf_foot(b) BETWEEN 0 AND b.a THEN {'d': asin(abs(sin(b.d) * sin(b.t))), 's': "
    "kf_foot(b)} WHEN b.d <= b.d2 THEN {'d': b.d, 's': 0.0::DOUBLE} ELSE {'d': b.d2, 's': b.a} END"
)
macro(
    "kf_beside_all(es, lon, lat) := list_transform(list_transform(es, lambda e: kf_beside(e, lon, lat)), "
    "lambda b: kf_nearest(b))"
)
macro(
    "kf_edges_distance(es, lon, lat) := CASE WHEN kf_is_place(lon, lat) THEN "
    f"{EARTH_RADIUS_M} * list_min(list_transform(kf_beside_all(es, lon, lat), lambda n: n.d)) END"
)
function(
    "geo_distance_point_to_line",
    "real real dynamic -> real",
    duckdb="kf_edges_distance(kf_lines_edges({2}), {0}, {1})",
)
macro(
    "kf_locate(m, ns) := list_transform([list_position(list_transform(ns, lambda n: n.d), list_min(list_transform(ns, "
    "lambda n: n.d)))], lambda i: CASE WHEN m.c[-1] > 0 THEN (m.c[i] - m.a[i] + ns[i].s) / m.c[-1] END)[1]"
)
function(
    "geo_line_locate_point",
    "dynamic real real -> real",
    duckdb="CASE WHEN kf_is_place({1}, {2}) THEN list_transform([kf_line_edges({0})], lambda es: "
    "kf_locate(kf_measured(es), kf_beside_all(es, {1}, {2})))[1] END",
)

# The place of the edges that is the nearest.
macro(
    "kf_closest_of(es, ns) := list_transform(list_transform(list_transform([list_position(list_transform(ns, lambda n: "
    "n.d), list_min(list_transform(ns, lambda n: n.d)))], lambda i: {'e': es[i], 'a': kf_edge_angle(es[i]), "
    "'u': ns[i].s}), lambda m: kf_along(m)), lambda v: kf_point_of(v))[1]"
)
macro("kf_closest(es, lon, lat) := kf_closest_of(es, kf_beside_all(es, lon, lat))")
function(
    "geo_closest_point_on_line",
    "real real dynamic -> dynamic",
    duckdb="list_transform([kf_lines_edges({2})], lambda es: CASE WHEN kf_is_place({0}, {1}) THEN "
    "kf_closest(es, {0}, {1}) END)[1]::JSON",
)

# ------------------------------------------------------------------ polygons

# From one longitude to another, the short way.
macro("kf_turn(a, b) := b - a - CASE WHEN b - a > 180 THEN 360 WHEN b - a < -180 THEN -360 ELSE 0 END")
# Between an edge and the equator, in steradians; negative where it runs west or lies south.
macro(
    "kf_edge_area(x, y, x2, y2) := 2 * atan2(tan(radians(kf_turn(x, x2)) / 2) * (tan(radians(y) / 2) + "
    "tan(radians(y2) / 2)), 1 + tan(radians(y) / 2) * tan(radians(y2) / 2))"
)
# Whether an edge that passes longitude 0, from u to u2 degrees, passes it north of a latitude.
macro(
    "kf_passes(u, y, u2, y2, lat) := (u <= 0) <> (u2 <= 0) AND abs(u - u2) < 180 AND tan(radians(lat)) < "
    "(tan(radians(y)) * sin(radians(u2)) - tan(radians(y2)) * sin(radians(u))) / sin(radians(u2 - u))"
)
# Of a ring: how often it goes round the poles, the area between it and the equator, how many of its edges are north of
# a place.
macro(
    "kf_round(r, lon, lat) := {"
    "'w': round(list_sum(list_transform(range(1, len(r)), lambda i: kf_turn(r[i][1], r[i + 1][1]))) / 360), "
    "'s': list_sum(list_transform(range(1, len(r)), lambda i: kf_edge_area(r[i][1], r[i][2], r[i + 1][1], "
    "r[i + 1][2]))), "
    "'n': len(list_filter(range(1, len(r)), lambda i: kf_passes(kf_turn(lon, r[i][1]), r[i][2], "
    "kf_turn(lon, r[i + 1][1]), r[i + 1][2], lat)))}"
)
# The place is on the north pole's side where that number is even; the pole is inside where its side is the smaller.
macro("kf_pole_inside(o) := CASE WHEN o.w = 0 THEN abs(o.s) > 2 * pi() ELSE o.s * o.w > 0 END")
macro(
    "kf_in_rings(rs, lon, lat) := len(list_filter(list_transform(rs, lambda r: kf_round(r, lon, lat)), lambda o: "
    "(o.n % 2 = 1) <> kf_pole_inside(o))) % 2 = 1"
)
macro("kf_in_polygons(ps, lon, lat) := len(list_filter(ps, lambda p: kf_in_rings(p, lon, lat))) > 0")
function(
    "geo_point_in_polygon",
    "real real dynamic -> bool",
    duckdb="list_transform([kf_geo_polygons({2})], lambda ps: CASE WHEN kf_is_place({0}, {1}) AND kf_are_polygons(ps) "
    "THEN kf_in_polygons(ps, {0}, {1}) END)[1]",
)
function(
    "geo_distance_point_to_polygon",
    "real real dynamic -> real",
    duckdb="list_transform([kf_geo_polygons({2})], lambda ps: CASE WHEN kf_is_place({0}, {1}) AND kf_are_polygons(ps) "
    "THEN CASE WHEN kf_in_polygons(ps, {0}, {1}) THEN 0 ELSE kf_edges_distance(kf_edges(flatten(ps)), {0}, {1}) END "
    "END)[1]",
)
function(
    "geo_closest_point_on_polygon",
    "real real dynamic -> dynamic",
    duckdb="list_transform([kf_geo_polygons({2})], lambda ps: CASE WHEN kf_is_place({0}, {1}) AND kf_are_polygons(ps) "
    "THEN CASE WHEN kf_in_polygons(ps, {0}, {1}) THEN kf_point_json({0}, {1}) ELSE "
    "kf_closest(kf_edges(flatten(ps)), {0}, {1}) END END)[1]::JSON",
)

# ------------------------------------------------------------------ well-known text

_NUMBER = r"[+-]?(?:[0-9]+[.]?[0-9]*|[.][0-9]+)(?:E[+-]?[0-9]+)?"
_PAIR = rf"\s*{_NUMBER}\s+{_NUMBER}\s*"


def _some(item: str, least: int = 1) -> str:
    return rf"\s*\({item}(?:,{item}){{{least - 1},}}\)\s*"


_ALONE = rf"\s*\({_PAIR}\)\s*"
_RINGS = _some(_some(_PAIR, 4))
_SIMPLE = (
    rf"\s*(?:POINT{_ALONE}|LINESTRING{_some(_PAIR, 2)}|POLYGON{_RINGS}|MULTIPOINT(?:{_some(_PAIR)}|{_some(_ALONE)})"
    rf"|MULTILINESTRING{_some(_some(_PAIR, 2))}|MULTIPOLYGON{_some(_RINGS)})\s*"
)
_WKT = rf"(?:{_SIMPLE}|\s*GEOMETRYCOLLECTION{_some(_SIMPLE)})"
_POSITION = r"(\[[^\]\[]*\])"
_NESTED = r"(\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))"
# What makes GeoJSON of it, one after another.
_STEPS = (
    (r"[+]", ""),  # numbers as JSON has them
    (r"(^|[^0-9.])[.]", r"\10."),
    (r"[.]($|[^0-9])", r"\1"),
    (r"(^|[^0-9.])0+([0-9])", r"\1\2"),
    (r"(-?[0-9.]+(?:E-?[0-9]+)?)\s+(-?[0-9.]+(?:E-?[0-9]+)?)", r"[\1,\2]"),  # positions
    (r"\s+", ""),
    (rf"\({_POSITION}\)", r"\1"),
    (rf"MULTIPOINT{_POSITION}", r"MULTIPOINT(\1)"),  # the one that lost its list in the step before
    (rf"POINT{_POSITION}", r'{"type":"Point","coordinates":\1}'),
    *(
        (name.upper() + _NESTED, rf'{{"type":"{name}","coordinates":\1}}')
        for name in ("MultiPoint", "MultiLineString", "MultiPolygon", "LineString", "Polygon")
    ),
    (r"GEOMETRYCOLLECTION\((.*)\)$", r'{"type":"GeometryCollection","geometries":[\1]}'),
)


def _replaced(sql: str) -> str:
    for found, by in _STEPS:
        sql = f"regexp_replace({sql}, {text(found)}, {text(by)}, 'g')"
    return f"translate({sql}, '()', '[]')"


macro(
    f"kf_geo_from_wkt(t) := CASE WHEN regexp_full_match(upper(t), {text(_WKT)}) THEN "
    f"try_cast({_replaced('upper(t)')} AS JSON) END"
)
function("geo_from_wkt", "string -> dynamic", duckdb="kf_geo_from_wkt({0})")
