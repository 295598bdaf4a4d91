"""Cells of H3 by their tokens: the resolution of a cell, the cell that it lies in, those that lie in it; and what
needs the grid itself, which the library h3 has: the cell of a place, the centre and the corners of a cell, the cells
around it.

A token is the cell's 64 bits in hexadecimal: a zero, four bits that say 1, three zeros, four of the resolution, seven
of the base cell, and three for each of 15 resolutions: which of the seven children it is, 7 behind its own. Of a
pentagon there is no child 1 in the middle line.

Source: Kusto Query Language, "geo_h3cell_level()", "geo_h3cell_parent()", "geo_h3cell_children()",
"geo_point_to_h3cell()", "geo_h3cell_to_central_point()", "geo_h3cell_to_polygon()", "geo_h3cell_neighbors()",
"geo_h3cell_rings()"; H3, "H3Index bit layout", "Indexing".
"""

from importlib import import_module
from re import compile as pattern
from types import ModuleType
from typing import Any

from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.functions import function, worked

FINEST = 15
PENTAGONS = (4, 14, 24, 38, 49, 58, 63, 72, 83, 97, 107, 117)  # base cells
DEFAULT_LEVEL = 6
MOST_RINGS = 142  # around a cell
MOST_LEVELS = 5  # between a cell and its children
BASES = 122

_TOKEN = pattern(r"[0-9a-fA-F]{15}")

_ALL = f"range(1::BIGINT, {FINEST + 1})"
macro("kf_h3_bits(t) := CASE WHEN regexp_full_match(t, '[0-9a-fA-F]{15}') THEN ('0x' || t)::BIGINT END")
macro("kf_h3_level(c) := c >> 52 & 15")
macro(f"kf_h3_digit(c, r) := c >> (3 * ({FINEST} - r)) & 7")
# The first digit that is not 0, of those down to a resolution; null where all are.
macro(
    f"kf_h3_first(c, last) := list_filter(list_transform({_ALL}, lambda hr: CASE WHEN hr <= last THEN "
    "kf_h3_digit(c, hr) ELSE 0 END), lambda hd: hd > 0)[1]"
)
macro(f"kf_h3_is_pentagon(c) := (c >> 45 & 127) IN {PENTAGONS}")
macro(
    f"kf_h3_valid(c) := c >> 56 = 8 AND (c >> 45 & 127) < {BASES} AND list_bool_and(list_transform({_ALL}, lambda hv: "
    "(kf_h3_digit(c, hv) = 7) = (hv > kf_h3_level(c)))) "
    "AND NOT (kf_h3_is_pentagon(c) AND coalesce(kf_h3_first(c, kf_h3_level(c)), 0) = 1)"
)
# Null of what is no cell.
macro("kf_h3_cell(t) := list_transform([kf_h3_bits(t)], lambda hc: CASE WHEN kf_h3_valid(hc) THEN hc END)[1]")
macro("kf_h3_token(c) := lower(to_hex(c))")
macro("kf_h3_at(c, r) := c - (kf_h3_level(c) << 52) + (r << 52)")
macro(
    "kf_h3_parent(t, told) := list_transform([kf_h3_cell(t)], lambda hp: list_transform([coalesce(told, "
    "kf_h3_level(hp) - 1)], lambda ha: CASE WHEN ha >= 0 AND ha <= kf_h3_level(hp) AND ha < "
    f"{FINEST} THEN kf_h3_token(kf_h3_at(hp, ha) | ((1::BIGINT << (3 * ({FINEST} - ha))) - 1)) END)[1])[1]"
)
# Of `n` resolutions below a cell: the number i in the digits of base 7, each in three bits.
macro(
    "kf_h3_octal(i, n) := coalesce(list_sum(list_transform(range(0, n), lambda ho: "
    "(i // pow(7, ho)::BIGINT % 7) << (3 * ho))), 0)::BIGINT"
)
macro(
    "kf_h3_below(c, r, n) := list_transform(range(0, pow(7, n)::BIGINT), lambda hi: kf_h3_at(c, r) "
    f"- (((1::BIGINT << (3 * n)) - 1) << (3 * ({FINEST} - r))) + (kf_h3_octal(hi, n) << (3 * ({FINEST} - r))))"
)
macro(
    "kf_h3_children(t, told) := list_transform([kf_h3_cell(t)], lambda hq: list_transform([coalesce(told, "
    f"kf_h3_level(hq) + 1)], lambda hb: CASE WHEN hb BETWEEN greatest(1, kf_h3_level(hq)) AND least({FINEST}, "
    f"kf_h3_level(hq) + {MOST_LEVELS}) THEN to_json(list_transform(list_filter(kf_h3_below(hq, hb, hb - "
    "kf_h3_level(hq)), lambda hk: NOT (kf_h3_is_pentagon(hk) AND coalesce(kf_h3_first(hk, hb), 0) = 1)), "
    "lambda hj: kf_h3_token(hj)))::VARCHAR END)[1])[1]"
)
function("geo_h3cell_level", "string -> int", duckdb="kf_h3_level(kf_h3_cell({0}))::INTEGER")
function("geo_h3cell_parent", "string -> string", duckdb="coalesce(kf_h3_parent({0}, NULL::BIGINT), '')")
function("geo_h3cell_parent", "string long -> string", duckdb="coalesce(kf_h3_parent({0}, coalesce({1}, -1)), '')")
function("geo_h3cell_children", "string -> dynamic", duckdb="kf_h3_children({0}, NULL::BIGINT)")
function("geo_h3cell_children", "string long -> dynamic", duckdb="kf_h3_children({0}, coalesce({1}, -1))")

# ------------------------------------------------------------------ the grid


def _library() -> ModuleType:
    """Of a valid cell it takes and gives tokens in lower case; imported when a query first asks for the grid."""
    return import_module("h3.api.basic_str")


def _read(told: str) -> str | None:
    return told.lower() if _TOKEN.fullmatch(told) and _library().is_valid_cell(told) else None


def _of_place(longitude: float, latitude: float, level: int = DEFAULT_LEVEL) -> str | None:
    if not (-180 <= longitude <= 180 and -90 <= latitude <= 90 and 0 <= level <= FINEST):
        return None
    token: str = _library().latlng_to_cell(latitude, longitude, level)
    return token


def _centre(told: str) -> dict[str, Any] | None:
    if (cell := _read(told)) is None:
        return None
    latitude, longitude = _library().cell_to_latlng(cell)
    return {"type": "Point", "coordinates": [longitude, latitude]}


def _polygon(told: str) -> dict[str, Any] | None:
    if (cell := _read(told)) is None:
        return None
    corners = [[longitude, latitude] for latitude, longitude in _library().cell_to_boundary(cell)]
    return {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}


def _neighbours(told: str) -> list[str] | None:
    rings = _rings(told, 1)
    return None if rings is None else rings[1]


def _rings(told: str, furthest: int) -> list[list[str]] | None:
    """The cells by how far they are, in the order in which the library goes around; where a pentagon is among them, as
    they are met."""
    cell = _read(told)
    if cell is None or not 0 <= furthest <= MOST_RINGS:
        return None
    grid = _library()
    disk: list[str] = grid.grid_disk(cell, furthest)
    if not any(map(grid.is_pentagon, disk)):  # ring behind ring
        ends = [1 + 3 * each * (each + 1) for each in range(furthest + 1)]
        return [disk[end - 6 * each if each else 0 : end] for each, end in enumerate(ends)]
    rings, met = [[cell]], {cell}
    for _ in range(furthest):
        near = dict.fromkeys(near for each in rings[-1] for near in grid.grid_disk(each, 1))
        rings.append([each for each in near if each not in met])
        met.update(near)
    return rings


worked("geo_point_to_h3cell", "real real long? -> string", _of_place)
worked("geo_h3cell_to_central_point", "string -> dynamic", _centre)
worked("geo_h3cell_to_polygon", "string -> dynamic", _polygon)
worked("geo_h3cell_neighbors", "string -> dynamic", _neighbours)
worked("geo_h3cell_rings", "string long -> dynamic", _rings)
