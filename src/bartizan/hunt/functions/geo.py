"""Functions of places: distances, circles, geohashes. Longitude comes first; what is no place on earth is null.

The earth is a sphere of S2's radius. Regions, cells of S2 and H3 and the ellipsoid are not here: what they give
depends on the geometry library.

Source: Kusto Query Language, "geo_distance_2points()", "geo_point_in_circle()", "geo_point_to_geohash()"; S2 Geometry,
"Earth dimensions"; Niemeyer, "Geohash".
"""

from collections.abc import Sequence

from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.functions import function
from bartizan.hunt.plan import Apply

EARTH_RADIUS_M = 6_371_010.0

macro("kf_is_place(lon, lat) := lon BETWEEN -180 AND 180 AND lat BETWEEN -90 AND 90")
macro("kf_haversine(lon, lat, lon2, lat2) := pow(sin(radians(lat2 - lat) / 2), 2) "
      "+ cos(radians(lat)) * cos(radians(lat2)) * pow(sin(radians(lon2 - lon) / 2), 2)")  # fmt: skip
macro(
    "kf_distance(lon, lat, lon2, lat2) := CASE WHEN kf_is_place(lon, lat) AND kf_is_place(lon2, lat2) THEN "
    f"{2 * EARTH_RADIUS_M} * asin(least(sqrt(kf_haversine(lon, lat, lon2, lat2)), 1.0)) END"
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
