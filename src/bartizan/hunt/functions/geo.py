"""Functions of places: distances, directions, circles, geohashes. Longitude comes first; what is no place on earth is
null.

The earth is a sphere of S2's radius. Lines and polygons are in `geo_shapes`, cells in `s2` and `h3`. What combines,
simplifies or widens regions is not here: what it gives depends on the geometry library.

Source: Kusto Query Language, "geo_distance_2points()", "geo_azimuth()", "geo_angle()", "geo_point_in_circle()",
"geo_point_to_geohash()", "geo_geohash_to_polygon()", "geo_geohash_neighbors()"; S2 Geometry, "Earth dimensions";
Niemeyer, "Geohash"; Wikipedia, "Great-circle navigation".
"""

from collections.abc import Sequence

from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.functions import function
from bartizan.hunt.plan import Apply

EARTH_RADIUS_M = 6_371_010.0

macro("kf_is_place(lon, lat) := lon BETWEEN -180 AND 180 AND lat BETWEEN -90 AND 90")
macro("kf_haversine(lon, lat, lon2, lat2) := pow(sin(radians(lat2 - lat) / 2), 2) "
      "+ cos(radians(lat)) * cos(radians(lat2)) * pow(sin(radians(lon2 - lon) / 2), 2)")  # fmt: skip
macro("kf_angle(lon, lat, lon2, lat2) := 2 * asin(least(sqrt(kf_haversine(lon, lat, lon2, lat2)), 1.0))")
macro(
    "kf_distance(lon, lat, lon2, lat2) := CASE WHEN kf_is_place(lon, lat) AND kf_is_place(lon2, lat2) THEN "
    f"{EARTH_RADIUS_M} * kf_angle(lon, lat, lon2, lat2) END"
)
# Clockwise from north, in radians, from -pi to pi.
macro(
    "kf_bearing(lon, lat, lon2, lat2) := atan2(sin(radians(lon2 - lon)) * cos(radians(lat2)), cos(radians(lat)) * "
    "sin(radians(lat2)) - sin(radians(lat)) * cos(radians(lat2)) * cos(radians(lon2 - lon)))"
)
macro("kf_positive(a) := CASE WHEN a < 0 THEN a + 2 * pi() ELSE a END")
macro(
    "kf_apart(lon, lat, lon2, lat2) := kf_is_place(lon, lat) AND kf_is_place(lon2, lat2) AND (lon <> lon2 OR "
    "lat <> lat2)"
)
function(
    "geo_azimuth",
    "real real real real -> real",
    duckdb="(CASE WHEN kf_apart({0}, {1}, {2}, {3}) THEN kf_positive(kf_bearing({0}, {1}, {2}, {3})) END)",
)
function(
    "geo_angle",
    "real real real real real real -> real",
    duckdb="(CASE WHEN kf_apart({0}, {1}, {2}, {3}) AND kf_apart({2}, {3}, {4}, {5}) THEN kf_positive("
    "kf_bearing({2}, {3}, {4}, {5}) - kf_bearing({2}, {3}, {0}, {1})) END)",
)
function("geo_distance_2points", "real real real real -> real", duckdb="kf_distance({0}, {1}, {2}, {3})")
function(
    "geo_point_in_circle",
    "real real real real real -> bool",
    duckdb="(CASE WHEN {4} >= 0 THEN kf_distance({0}, {1}, {2}, {3}) <= {4} END)",
)

# Bits of longitude and latitude in turn, from the first half of the earth down; five are one of 32 characters.
_BASE32 = "0123456789bcdefghjkmnpqrstuvwxyz"
macro(
    "kf_grid(x, least_, size, bits) := least(floor((x - least_) / size * (1::BIGINT << bits)), (1::BIGINT << bits) "
    "- 1)::BIGINT"
)
macro(
    "kf_geohash_digit(lon, lat, lonbits, latbits, i) := list_sum(list_transform(range(0, 5), lambda b: "
    "CASE WHEN (i * 5 + b) % 2 = 0 THEN (lon >> (lonbits - 1 - (i * 5 + b) // 2)) & 1 "
    "ELSE (lat >> (latbits - 1 - (i * 5 + b) // 2)) & 1 END << (4 - b)))::INTEGER"
)
macro(
    "kf_geohash(lon, lat, size) := CASE WHEN kf_is_place(lon, lat) AND size BETWEEN 1 AND 18 THEN list_transform([{"
    "'lonbits': (size * 5 + 1) // 2, 'latbits': size * 5 // 2}], lambda n: list_transform([{"
    "'lon': kf_grid(lon, -180, 360, n.lonbits), 'lat': kf_grid(lat, -90, 180, n.latbits)}], lambda g: "
    f"array_to_string(list_transform(range(0, size), lambda i: substring('{_BASE32}', "
    "1 + kf_geohash_digit(g.lon, g.lat, n.lonbits, n.latbits, i), 1)), ''))[1])[1] END"
)


def _geohash(args: Sequence[str], _: Apply) -> str:
    return f"coalesce(kf_geohash({args[0]}, {args[1]}, {args[2] if len(args) > 2 else '5'}), '')"


function("geo_point_to_geohash", "real real long? -> string", duckdb=_geohash)

macro(f"kf_is_geohash(h) := regexp_full_match(h, '[{_BASE32}]{{1,18}}')")
# Every second bit of a geohash, from the first on (0: of the longitude) or the next (1: of the latitude).
macro(
    "kf_geohash_bits(h, start) := list_sum(list_transform(range(start, 5 * length(h), 2), lambda b: "
    f"((strpos('{_BASE32}', substring(h, b // 5 + 1, 1)) - 1) >> (4 - b % 5) & 1)::BIGINT << "
    "((5 * length(h) - start - 1) // 2 - b // 2)))::BIGINT"
)
# The cell of a geohash: its size in degrees (w, h), its south-west corner (x, y).
macro(
    "kf_geohash_cell(text_) := list_transform(list_filter([text_], lambda g: kf_is_geohash(g)), lambda g: {"
    "'w': 360.0::DOUBLE / (1::BIGINT << (5 * length(g) + 1) // 2), "
    "'h': 180.0::DOUBLE / (1::BIGINT << 5 * length(g) // 2), "
    "'x': kf_geohash_bits(g, 0) * (360.0::DOUBLE / (1::BIGINT << (5 * length(g) + 1) // 2)) - 180, "
    "'y': kf_geohash_bits(g, 1) * (180.0::DOUBLE / (1::BIGINT << 5 * length(g) // 2)) - 90})[1]"
)
macro("kf_number_json(x) := regexp_replace(to_json(x)::VARCHAR, '[.]0$', '')")
macro("kf_place_json(lon, lat) := '[' || kf_number_json(lon) || ',' || kf_number_json(lat) || ']'")
macro("""kf_point_json(lon, lat) := '{"type":"Point","coordinates":' || kf_place_json(lon, lat) || '}'""")
macro(
    """kf_box_json(x, y, x2, y2) := '{"type":"Polygon","coordinates":[[' || array_to_string([kf_place_json(x, y), """
    """kf_place_json(x2, y), kf_place_json(x2, y2), kf_place_json(x, y2), kf_place_json(x, y)], ',') || ']]}'"""
)
function(
    "geo_geohash_to_central_point",
    "string -> dynamic",
    duckdb="list_transform([kf_geohash_cell({0})], lambda c: kf_point_json(c.x + c.w / 2, c.y + c.h / 2))[1]::JSON",
)
function(
    "geo_geohash_to_polygon",
    "string -> dynamic",
    duckdb="list_transform([kf_geohash_cell({0})], lambda c: kf_box_json(c.x, c.y, c.x + c.w, c.y + c.h))[1]::JSON",
)
# South-west, north-west, south-east, north, west, north-east, east, south. A cell at a pole has no eight: null.
_AROUND = "[[-1, -1], [-1, 1], [1, -1], [0, 1], [-1, 0], [1, 1], [1, 0], [0, -1]]"
macro(
    "kf_geohash_of(lon, lat, size) := array_to_string(list_transform(range(0, size), lambda i: "
    f"substring('{_BASE32}', 1 + kf_geohash_digit(lon, lat, (size * 5 + 1) // 2, size * 5 // 2, i), 1)), '')"
)
macro(
    "kf_geohash_around(text_) := list_transform(list_transform(list_filter([text_], lambda h: kf_is_geohash(h)), "
    "lambda h: {'lon': kf_geohash_bits(h, 0), 'lat': kf_geohash_bits(h, 1), 'size': length(h), "
    "'lons': 1::BIGINT << (5 * length(h) + 1) // 2, 'lats': 1::BIGINT << 5 * length(h) // 2}), lambda g: "
    "CASE WHEN g.lat > 0 AND g.lat < g.lats - 1 THEN "
    f"to_json(list_transform({_AROUND}, lambda d: kf_geohash_of((g.lon + d[1] + g.lons) % g.lons, g.lat + d[2], "
    "g.size))) END)[1]"
)
function("geo_geohash_neighbors", "string -> dynamic", duckdb="kf_geohash_around({0})")
