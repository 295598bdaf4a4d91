"""Cells of S2 by their tokens: the cell of a place, the centre and the corners of a cell.

A place is projected on one of the six faces of a cube, and there, by a quadratic that evens out the sizes of cells, on
a square that a Hilbert curve divides 30 times. A token is the cell's 64 bits in hexadecimal without zeros at the end:
three bits of the face, two for each division, a one.

Source: Kusto Query Language, "geo_point_to_s2cell()", "geo_s2cell_to_central_point()", "geo_s2cell_to_polygon()",
"geo_s2cell_neighbors()";
S2 Geometry, "S2 Cells", "S2CellId".
"""

from collections.abc import Callable, Sequence
from math import floor, sqrt
from re import compile as pattern
from typing import NamedTuple

from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.functions import function, worked
from bartizan.hunt.plan import Apply

DEFAULT_LEVEL = 11
# The curve within a square depends on how it lies there, one of four: the place on it of each quarter (x * 2 + y), and
# back; how it then lies in the quarter of each place is the way it lay, with these bits turned over.
_PLACES = "0132031223102130"
_QUARTERS = "0132023132013102"
_TURNS = "1003"

# ------------------------------------------------------------------ from places to cells

macro("kf_s2_face(x, y, z) := CASE WHEN abs(x) > abs(y) AND abs(x) > abs(z) THEN CASE WHEN x < 0 THEN 3 ELSE 0 END "
      "WHEN abs(y) > abs(x) AND abs(y) > abs(z) THEN CASE WHEN y < 0 THEN 4 ELSE 1 END "
      "ELSE CASE WHEN z < 0 THEN 5 ELSE 2 END END")  # fmt: skip
macro("kf_s2_uv(f, x, y, z) := CASE f WHEN 0 THEN {'u': y / x, 'v': z / x} WHEN 1 THEN {'u': -x / y, 'v': z / y} "
      "WHEN 2 THEN {'u': -x / z, 'v': -y / z} WHEN 3 THEN {'u': z / x, 'v': y / x} "
      "WHEN 4 THEN {'u': z / y, 'v': -x / y} ELSE {'u': -y / z, 'v': -x / z} END")  # fmt: skip
macro("kf_s2_st(u) := CASE WHEN u >= 0 THEN 0.5 * sqrt(1 + 3 * u) ELSE 1 - 0.5 * sqrt(1 - 3 * u) END")
macro(f"kf_s2_ij(u) := greatest(0, least({2**30 - 1}, floor(kf_s2_st(u) * {2**30})))::BIGINT")
# The state of the way down: the place on the curve so far, and in the last two bits how the curve lies.
macro(
    "kf_s2_step(s, pos) := (((s >> 2::UHUGEINT) * 4 + pos) * 4 + xor(s & 3::UHUGEINT, "
    f"substring('{_TURNS}', pos::INTEGER + 1, 1)::UHUGEINT))"
)
macro(
    "kf_s2_down(s, quarter) := kf_s2_step(s, "
    f"substring('{_PLACES}', ((s & 3::UHUGEINT) * 4 + quarter)::INTEGER + 1, 1)::UHUGEINT)"
)
macro(
    "kf_s2_curve(f, i, j, level) := list_reduce(list_concat([(f & 1)::UHUGEINT], list_transform(range(0, level), "
    "lambda k: ((i >> (29 - k) & 1) * 2 + (j >> (29 - k) & 1))::UHUGEINT)), lambda s, q: kf_s2_down(s, q)) "
    ">> 2::UHUGEINT"
)
macro(
    "kf_s2_token(f, curve, level) := rtrim(lpad(lower(to_hex(((((f::UHUGEINT << (2 * level)::UHUGEINT) | curve) * 2 + "
    "1) << (60 - 2 * level)::UHUGEINT)::UBIGINT)), 16, '0'), '0')"
)
macro("kf_s2_vector(lon, lat) := {'x': kf_vector_x(lon, lat), 'y': kf_vector_y(lon, lat), 'z': sin(radians(lat))}")
macro(
    "kf_s2_cell(lon, lat, level) := CASE WHEN kf_is_place(lon, lat) AND level BETWEEN 0 AND 30 THEN "
    "list_transform(list_transform(list_transform([kf_s2_vector(lon, lat)], lambda p: {'p': p, "
    "'f': kf_s2_face(p.x, p.y, p.z)}), lambda q: {'f': q.f, 'uv': kf_s2_uv(q.f, q.p.x, q.p.y, q.p.z)}), "
    "lambda r: kf_s2_token(r.f, kf_s2_curve(r.f, kf_s2_ij(r.uv.u), kf_s2_ij(r.uv.v), level), level))[1] END"
)


def _cell(args: Sequence[str], _: Apply) -> str:
    return f"coalesce(kf_s2_cell({args[0]}, {args[1]}, {args[2] if len(args) > 2 else DEFAULT_LEVEL}), '')"


function("geo_point_to_s2cell", "real real long? -> string", duckdb=_cell)

# ------------------------------------------------------------------ from cells to places

macro("kf_s2_bits(t) := CASE WHEN regexp_full_match(t, '[0-9a-fA-F]{1,16}') THEN "
      "('0x' || rpad(t, 16, '0'))::UBIGINT::UHUGEINT END")  # fmt: skip
# The level of a cell: of the one that ends its bits an even number of zeros stands behind; -1: it is none.
macro(
    "kf_s2_level(b) := coalesce(list_filter(range(0, 31), lambda n: (b >> (60 - 2 * n)::UHUGEINT) & 1::UHUGEINT = "
    "1::UHUGEINT AND b & ((1::UHUGEINT << (60 - 2 * n)::UHUGEINT) - 1::UHUGEINT) = 0::UHUGEINT)[1], -1)"
)
# The state of the way up: x and y so far, each of 31 bits, and how the curve lies.
macro(
    "kf_s2_with(s, pos, q) := ((((s >> 34::UHUGEINT) * 2 + (q >> 1::UHUGEINT)) << 34::UHUGEINT) | "
    f"((((s >> 2::UHUGEINT) & {2**32 - 1}::UHUGEINT) * 2 + (q & 1::UHUGEINT)) << 2::UHUGEINT) | xor(s & 3::UHUGEINT, "
    f"substring('{_TURNS}', pos::INTEGER + 1, 1)::UHUGEINT))"
)
macro(
    f"kf_s2_up(s, pos) := kf_s2_with(s, pos, substring('{_QUARTERS}', ((s & 3::UHUGEINT) * 4 + pos)::INTEGER + 1, 1)"
    "::UHUGEINT)"
)
macro(
    "kf_s2_square(b, level) := list_reduce(list_concat([(b >> 61::UHUGEINT) & 1::UHUGEINT], list_transform(range(0, "
    "level), lambda k: (b >> (59 - 2 * k)::UHUGEINT) & 3::UHUGEINT)), lambda s, q: kf_s2_up(s, q))"
)
# Face, level, and x and y in units of the cell.
macro(
    "kf_s2_read(t) := list_transform(list_transform(list_filter(list_transform([kf_s2_bits(t)], lambda b: {'b': b, "
    "'n': kf_s2_level(b)}), lambda c: c.n >= 0 AND c.b >> 61::UHUGEINT < 6::UHUGEINT), lambda c: {'f': "
    "(c.b >> 61::UHUGEINT)::INTEGER, 'n': c.n, 's': kf_s2_square(c.b, c.n)}), lambda d: {'f': d.f, 'n': d.n, "
    f"'i': (d.s >> 34::UHUGEINT)::BIGINT, 'j': ((d.s >> 2::UHUGEINT) & {2**32 - 1}::UHUGEINT)::BIGINT}})[1]"
)
macro("kf_s2_of_st(s) := CASE WHEN s >= 0.5 THEN (4 * s * s - 1) / 3.0 ELSE (1 - 4 * (1 - s) * (1 - s)) / 3.0 END")
macro("kf_s2_xyz(f, u, v) := CASE f WHEN 0 THEN {'x': 1.0::DOUBLE, 'y': u, 'z': v} "
      "WHEN 1 THEN {'x': -u, 'y': 1.0::DOUBLE, 'z': v} WHEN 2 THEN {'x': -u, 'y': -v, 'z': 1.0::DOUBLE} "
      "WHEN 3 THEN {'x': -1.0::DOUBLE, 'y': -v, 'z': -u} WHEN 4 THEN {'x': v, 'y': -1.0::DOUBLE, 'z': -u} "
      "ELSE {'x': v, 'y': u, 'z': -1.0::DOUBLE} END")  # fmt: skip
# A place on the square of a cell, (0, 0) its first corner, (1, 1) the opposite one.
macro(
    "kf_s2_at(c, x, y) := kf_s2_xyz(c.f, kf_s2_of_st((c.i + x) / (1::BIGINT << c.n)::DOUBLE), "
    "kf_s2_of_st((c.j + y) / (1::BIGINT << c.n)::DOUBLE))"
)
function(
    "geo_s2cell_to_central_point",
    "string -> dynamic",
    duckdb="list_transform(list_transform(list_filter([kf_s2_read({0})], lambda c: c IS NOT NULL), lambda c: "
    "kf_s2_at(c, 0.5, 0.5)), lambda v: kf_point_of(v))[1]::JSON",
)
macro("kf_s2_corner(v) := kf_place_json(degrees(atan2(v.y, v.x)), degrees(atan2(v.z, sqrt(v.x * v.x + v.y * v.y))))")
macro(
    """kf_s2_polygon(t) := '{"type":"Polygon","coordinates":[[' || array_to_string(list_transform(list_filter("""
    "[kf_s2_read(t)], lambda c: c IS NOT NULL), lambda c: array_to_string(list_transform([kf_s2_at(c, 0, 0), "
    "kf_s2_at(c, 1, 0), kf_s2_at(c, 1, 1), kf_s2_at(c, 0, 1), kf_s2_at(c, 0, 0)], lambda v: kf_s2_corner(v)), ',')), "
    "'') || ']]}'"
)
function(
    "geo_s2cell_to_polygon",
    "string -> dynamic",
    duckdb="(CASE WHEN kf_s2_read({0}) IS NOT NULL THEN kf_s2_polygon({0}) END)::JSON",
)

# ------------------------------------------------------------------ neighbours

FINEST = 30
_TOKEN = pattern("[0-9a-fA-F]{1,16}")
# How far away the neighbours of a cell are on its square, in the order in which the documentation lists those of one.
AROUND = ((1, 1), (-1, -1), (1, -1), (0, -1), (0, 1), (1, 0), (-1, 0), (-1, 1))


class S2Cell(NamedTuple):
    face: int
    level: int
    i: int  # in units of the cell
    j: int


def _read(told: str) -> S2Cell | None:
    if not _TOKEN.fullmatch(told):
        return None
    bits = int(told.ljust(16, "0"), 16)
    zeros = (bits & -bits).bit_length() - 1
    if zeros % 2 or zeros > 2 * FINEST or bits >> 61 > 5:
        return None
    level, face = FINEST - zeros // 2, bits >> 61
    i = j = 0
    lies = face & 1
    for step in range(level):
        quarter = int(_QUARTERS[lies * 4 + (place := bits >> (59 - 2 * step) & 3)])
        i, j, lies = i * 2 + (quarter >> 1), j * 2 + (quarter & 1), lies ^ int(_TURNS[place])
    return S2Cell(face, level, i, j)


def token(cell: S2Cell) -> str:
    bits, lies = cell.face, cell.face & 1
    for step in range(cell.level - 1, -1, -1):
        place = int(_PLACES[lies * 4 + (cell.i >> step & 1) * 2 + (cell.j >> step & 1)])
        bits, lies = bits << 2 | place, lies ^ int(_TURNS[place])
    return f"{(bits << 1 | 1) << (60 - 2 * cell.level):016x}".rstrip("0")


def _beyond(cell: S2Cell) -> S2Cell:
    """The cell itself, or where its square lies beyond its face the one that is there."""
    size = 1 << cell.level
    if 0 <= cell.i < size and 0 <= cell.j < size:
        return cell
    u, v = (spread((each + 0.5) / size) for each in (cell.i, cell.j))
    x, y, z = on_side(cell.face, u, v)
    axis = max(range(3), key=lambda each: abs((x, y, z)[each]))
    face = axis + 3 * ((x, y, z)[axis] < 0)
    u, v = _FLAT[face](x, y, z)
    i, j = (min(size - 1, max(0, floor(_square(each) * size))) for each in (u, v))
    return S2Cell(face, cell.level, i, j)


def spread(s: float) -> float:
    return (4 * s * s - 1) / 3 if s >= 0.5 else (1 - 4 * (1 - s) * (1 - s)) / 3


def _square(u: float) -> float:
    return 0.5 * sqrt(1 + 3 * u) if u >= 0 else 1 - 0.5 * sqrt(1 - 3 * u)


def on_side(face: int, u: float, v: float) -> tuple[float, float, float]:
    """Where a place of a face, -1 to 1 both ways, is on the cube."""
    return _SIDES[face](u, v)


_SIDES: tuple[Callable[[float, float], tuple[float, float, float]], ...] = (
    lambda u, v: (1, u, v), lambda u, v: (-u, 1, v), lambda u, v: (-u, -v, 1),
    lambda u, v: (-1, -v, -u), lambda u, v: (v, -1, -u), lambda u, v: (v, u, -1),
)  # fmt: skip
_FLAT: tuple[Callable[[float, float, float], tuple[float, float]], ...] = (
    lambda x, y, z: (y / x, z / x), lambda x, y, z: (-x / y, z / y), lambda x, y, z: (-x / z, -y / z),
    lambda x, y, z: (z / x, y / x), lambda x, y, z: (z / y, -x / y), lambda x, y, z: (-y / z, -x / z),
)  # fmt: skip


def _neighbours(told: str) -> list[str] | None:
    """Eight; at the corners of a face fewer. Of a whole face the four beside it."""
    cell = _read(told)
    if cell is None:
        return None
    found = [_beyond(cell._replace(i=cell.i + di, j=cell.j + dj)) for di, dj in AROUND]
    return list(dict.fromkeys(token(each) for each in found if each != cell))


worked("geo_s2cell_neighbors", "string -> dynamic", _neighbours)
