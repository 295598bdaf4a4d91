"""Whether lines and polygons meet, the middle of polygons. Where edges only touch, or come too near
to tell, it is an error: which side of it the engine is on cannot be known.

Two edges, AB and CD, cross where C and D are on different sides of AB, A and B on different sides of CD, and not on the
far side of the earth.

Source: Kusto Query Language, "geo_intersects_2lines()", "geo_intersects_line_with_polygon()",
"geo_polygon_centroid()"; S2 Geometry, "S2 edge crossings".
"""

from bartizan.hunt.duckdb.macros import macro
from bartizan.hunt.functions import function

NEAR = 1e-15  # a product of three vectors of length 1 that may be of either sign
_TOUCH = "edges that touch are not supported: whether they cross cannot be told"

macro(
    "kf_ends(e) := {'ax': kf_vector_x(e.x, e.y), 'ay': kf_vector_y(e.x, e.y), 'az': sin(radians(e.y)), "
    "'bx': kf_vector_x(e.x2, e.y2), 'by': kf_vector_y(e.x2, e.y2), 'bz': sin(radians(e.y2))}"
)
# With the normal of the plane of the edge.
macro(
    "kf_arc(v) := {'ax': v.ax, 'ay': v.ay, 'az': v.az, 'bx': v.bx, 'by': v.by, 'bz': v.bz, "
    "'nx': v.ay * v.bz - v.az * v.by, 'ny': v.az * v.bx - v.ax * v.bz, 'nz': v.ax * v.by - v.ay * v.bx}"
)
macro("kf_arcs(es) := list_transform(list_transform(es, lambda e: kf_ends(e)), lambda v: kf_arc(v))")
macro(
    "kf_arc_sides(p, q) := {'a': q.nx * p.ax + q.ny * p.ay + q.nz * p.az, "
    "'b': q.nx * p.bx + q.ny * p.by + q.nz * p.bz, 'c': p.nx * q.ax + p.ny * q.ay + p.nz * q.az, "
    "'d': p.nx * q.bx + p.ny * q.by + p.nz * q.bz}"
)
# 1: they cross, 0: they do not, null: they touch.
macro(f"kf_apart_by(s, t) := s * t > 0 AND abs(s) > {NEAR} AND abs(t) > {NEAR}")
macro(
    "kf_meet(s) := CASE WHEN kf_apart_by(s.a, s.b) OR kf_apart_by(s.c, s.d) THEN 0 "
    f"WHEN least(abs(s.a), abs(s.b), abs(s.c), abs(s.d)) > {NEAR} THEN CASE WHEN s.b * s.c > 0 THEN 1 ELSE 0 END END"
)
macro(
    "kf_met(ps, qs) := flatten(list_transform(ps, lambda p: list_transform(qs, lambda q: kf_meet(kf_arc_sides(p, q)))))"
)
macro(
    "kf_any_met(met) := list_transform([met], lambda ms: CASE WHEN list_contains(ms, 1) THEN TRUE "
    f"WHEN len(ms) > list_count(ms) THEN error('{_TOUCH}')::BOOLEAN ELSE FALSE END)[1]"
)
macro("kf_are_lines_of(p) := kf_lines_edges(p) IS NOT NULL")
function(
    "geo_intersects_2lines",
    "dynamic dynamic -> bool",
    duckdb="(CASE WHEN kf_are_lines_of({0}) AND kf_are_lines_of({1}) THEN "
    "kf_any_met(kf_met(kf_arcs(kf_lines_edges({0})), kf_arcs(kf_lines_edges({1})))) END)",
)

# ------------------------------------------------------------------ polygons

macro("kf_region(p) := list_filter([kf_geo_polygons(p)], lambda ps: kf_are_polygons(ps))[1]")
macro("kf_region_arcs(ps) := kf_arcs(kf_edges(flatten(ps)))")
# The first place of each line or ring decides where there is no crossing. `w.l`: lines, `w.p`: polygons.
macro(
    "kf_any_within(lines, polygons) := list_transform([{'l': lines, 'p': polygons}], lambda w: "
    "len(list_filter(w.l, lambda l: kf_in_polygons(w.p, l[1][1], l[1][2]))) > 0)[1]"
)
macro(
    "kf_line_meets(l, p) := kf_any_within(kf_geo_lines(l), kf_region(p)) OR "
    "kf_any_met(kf_met(kf_arcs(kf_lines_edges(l)), kf_region_arcs(kf_region(p))))"
)
function(
    "geo_intersects_line_with_polygon",
    "dynamic dynamic -> bool",
    duckdb="(CASE WHEN kf_are_lines_of({0}) AND kf_region({1}) IS NOT NULL THEN kf_line_meets({0}, {1}) END)",
)

# ------------------------------------------------------------------ the middle of a polygon

# The integral of the place over what a ring encloses is half the sum of its edges' normals, each as long as its edge.
# Of that only what differs from the flat area is small; it is worked out apart, so that small polygons lose no digits.
macro(
    "kf_arc_angle(p) := atan2(sqrt(p.nx * p.nx + p.ny * p.ny + p.nz * p.nz), p.ax * p.bx + p.ay * p.by + p.az * p.bz)"
)
macro("kf_bulge(a) := CASE WHEN a < 0.01 THEN a * a / 6 + 7 * a * a * a * a / 360 ELSE a / sin(a) - 1 END")
macro("kf_flat(y, z, y2, z2, oy, oz) := (y - oy) * (z2 - oz) - (z - oz) * (y2 - oy)")
macro(
    "kf_ring_moments(ps, o) := list_transform(ps, lambda p: {'x': kf_flat(p.ay, p.az, p.by, p.bz, o.y, o.z) + "
    "kf_bulge(kf_arc_angle(p)) * p.nx, 'y': kf_flat(p.az, p.ax, p.bz, p.bx, o.z, o.x) + kf_bulge(kf_arc_angle(p)) * "
    "p.ny, 'z': kf_flat(p.ax, p.ay, p.bx, p.by, o.x, o.y) + kf_bulge(kf_arc_angle(p)) * p.nz})"
)
macro(
    "kf_ring_origin(ps) := {'ps': ps, 'x': list_avg(list_transform(ps, lambda p: p.ax)), "
    "'y': list_avg(list_transform(ps, lambda p: p.ay)), 'z': list_avg(list_transform(ps, lambda p: p.az))}"
)
# One step after another over all rings of a polygon, as lambdas within lambdas take long to be bound.
macro(
    "kf_rings_sums(rs) := list_transform(list_transform(list_transform(list_transform(rs, lambda r: kf_arcs(kf_edges("
    "[r]))), lambda ps: kf_ring_origin(ps)), lambda o: {'px': o.x, 'py': o.y, 'pz': o.z, 'm': kf_ring_moments(o.ps, "
    "o)}), lambda r: {'px': r.px, 'py': r.py, 'pz': r.pz, 'x': list_sum(list_transform(r.m, lambda v: v.x)), "
    "'y': list_sum(list_transform(r.m, lambda v: v.y)), 'z': list_sum(list_transform(r.m, lambda v: v.z))})"
)
# Whichever way round it is told, it points to the side that is meant; a hole counts against.
macro(
    "kf_rings_signed(sums) := list_transform(sums, lambda m, i: {'m': m, 's': CASE WHEN i = 1 THEN 1 ELSE -1 END * "
    "CASE WHEN m.x * m.px + m.y * m.py + m.z * m.pz < 0 THEN -1 ELSE 1 END})"
)
macro(
    "kf_middle(signed) := list_transform([signed], lambda ts: kf_point_of({"
    "'x': list_sum(list_transform(ts, lambda t: t.s * t.m.x)), 'y': list_sum(list_transform(ts, lambda t: "
    "t.s * t.m.y)), 'z': list_sum(list_transform(ts, lambda t: t.s * t.m.z))}))[1]"
)
_UNION = "several polygons, which may overlap, are not supported here"
macro(
    f"kf_one_region(shape) := list_transform([shape], lambda ps: CASE WHEN len(ps) > 1 THEN error('{_UNION}')::VARCHAR "
    "IS NULL ELSE ps IS NOT NULL END)[1]"
)
function("geo_polygon_centroid", "dynamic -> dynamic",
         duckdb="(CASE WHEN kf_one_region(kf_region({0})) THEN kf_middle(kf_rings_signed(kf_rings_sums("
         "kf_region({0})[1]))) END)::JSON")  # fmt: skip
