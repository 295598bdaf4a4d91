"""Functions of places: cases of the Kusto documentation."""

import json
import math
import random
from typing import Any

import pytest
from tests.hunt.calls import call, dynamic, long, real, string
from tests.hunt.duck import connection

from bartizan.hunt.functions import choose

CASES: list[tuple[str, list[float], Any]] = [
    ("geo_distance_2points", [-122.407628, 47.578557, -118.275287, 34.019056], 1546754.35197381),
    ("geo_distance_2points", [300.0, 1.0, 1.0, 1.0], None),
    ("geo_point_in_circle", [-122.317404, 47.609119, -122.3518, 47.6068, 3000.0], True),
    ("geo_point_in_circle", [-122.317404, 47.609119, -122.3518, 47.6068, 2000.0], False),
]


@pytest.mark.parametrize(("name", "args", "expected"), CASES)
def test_a_distance(name: str, args: list[float], expected: Any) -> None:
    found = call(name, *map(real, args))
    assert found == (pytest.approx(expected) if isinstance(expected, float) else expected)


@pytest.mark.parametrize(
    ("lon", "lat", "size", "expected"),
    [
        (139.806115, 35.554128, 12, "xn76m27ty9g4"),
        (-80.195829, 25.802215, 8, "dhwfz15h"),
        (-5.6, 42.6, 5, "ezs42"),
        (200.0, 0.0, 5, ""),
    ],
)
def test_a_geohash(lon: float, lat: float, size: int, expected: str) -> None:
    assert call("geo_point_to_geohash", real(lon), real(lat), long(size)) == expected


# ------------------------------------------------------------------ directions, geohashes


@pytest.mark.parametrize(
    ("name", "args", "expected"),
    [
        ("geo_angle", [0.0, 10.0, 0.0, 5.0, 3.0, -10.0], 2.94493843406882),
        ("geo_angle", [0.0, 10.0, 0.0, 10.0, 3.0, -10.0], None),
        ("geo_azimuth", [0.0, 0.0, 90.0, 0.0], math.pi / 2),
        ("geo_azimuth", [0.0, 0.0, 0.0, -10.0], math.pi),
        ("geo_azimuth", [0.0, 0.0, -10.0, 0.0], 3 * math.pi / 2),
        ("geo_azimuth", [5.0, 10.0, 5.0, 10.0], None),
        ("geo_azimuth", [5.0, 100.0, 5.0, 10.0], None),
    ],
)
def test_a_direction(name: str, args: list[float], expected: float | None) -> None:
    found = call(name, *map(real, args))
    assert found == (expected if expected is None else pytest.approx(expected, rel=1e-13))


def test_a_geohash_is_a_cell() -> None:
    corners = [[-74.00390625, 40.7373046875], [-73.9599609375, 40.7373046875]]
    corners += [[-73.9599609375, 40.78125], [-74.00390625, 40.78125], [-74.00390625, 40.7373046875]]
    assert call("geo_geohash_to_polygon", string("dr5ru")) == {"type": "Polygon", "coordinates": [corners]}
    center = call("geo_geohash_to_central_point", string("sunny"))
    assert center == {"type": "Point", "coordinates": [42.47314453125, 23.70849609375]}
    for wrong in ("a", "", "SUNNY", "0" * 19):
        assert call("geo_geohash_to_polygon", string(wrong)) is None
        assert call("geo_geohash_to_central_point", string(wrong)) is None
        assert call("geo_geohash_neighbors", string(wrong)) is None


def test_a_geohash_has_neighbors() -> None:
    around = ["sunnt", "sunpj", "sunnx", "sunpn", "sunnv", "sunpp", "sunnz", "sunnw"]
    assert call("geo_geohash_neighbors", string("sunny")) == around
    assert set(call("geo_geohash_neighbors", string("8"))) >= {"x", "2", "b"}, "round the antimeridian"
    assert call("geo_geohash_neighbors", string("b")) is None, "at the pole there are no eight"


# ------------------------------------------------------------------ lines

ROUTE = [
    [-73.95807266235352, 40.800426144169315],
    [-73.94966125488281, 40.79691751000055],
    [-73.97317886352539, 40.764486356930334],
    [-73.98210525512695, 40.76786669510221],
    [-73.96004676818848, 40.7980870753293],
]
STREETS = [
    [[-73.95798683166502, 40.800556090021466], [-73.98193359375, 40.76819171855746]],
    [[-73.94940376281738, 40.79691751000055], [-73.97317886352539, 40.76435634049001]],
]
STRAIGHT = [[-73.95796, 40.80042], [-73.97317, 40.764486]]


def line(coordinates: Any) -> Any:
    return dynamic({"type": "LineString", "coordinates": coordinates})


def test_the_length_of_a_line() -> None:
    several = dynamic({"type": "MultiLineString", "coordinates": STREETS})
    assert call("geo_line_length", several) == pytest.approx(8262.24339753741, rel=1e-12)
    assert call("geo_line_length", line([[0, 0], [90, 0], [90, 90]])) == pytest.approx(math.pi * 6_371_010)


def test_places_on_a_line() -> None:
    middle = call("geo_line_centroid", line(STRAIGHT))
    assert middle["coordinates"] == pytest.approx([-73.965567057230942, 40.782453249627416], rel=1e-14)
    assert call("geo_line_centroid", line(ROUTE))["coordinates"][0] == pytest.approx(-73.9660675626837, rel=1e-14)
    quarter = call("geo_line_interpolate_point", line(STRAIGHT), real(0.25))
    assert quarter["coordinates"] == pytest.approx([-73.961764043218281, 40.791436687257232], rel=1e-14)
    part = call("geo_line_interpolate_point", line(ROUTE), real(0.9))["coordinates"]
    assert part[0] == pytest.approx(-73.96556545832799, rel=1e-14)
    assert call("geo_line_locate_point", line(ROUTE), *map(real, part)) == pytest.approx(0.9, rel=1e-9)
    for end, at in ((0.0, ROUTE[0]), (1.0, ROUTE[-1])):
        found = call("geo_line_interpolate_point", line(ROUTE), real(end))["coordinates"]
        assert found == pytest.approx(at, rel=1e-13)
        assert call("geo_line_locate_point", line(ROUTE), *map(real, at)) == pytest.approx(end, abs=1e-9)
    assert call("geo_line_interpolate_point", line(ROUTE), real(1.1)) is None


def test_how_far_a_line_is() -> None:
    def far(x: float, y: float) -> Any:
        return call("geo_distance_point_to_line", real(x), real(y), line([[0, 0], [10, 0]]))

    degree = math.radians(1) * 6_371_010
    assert far(5.0, 3.0) == pytest.approx(3 * degree)
    assert far(-4.0, 0.0) == pytest.approx(4 * degree)
    assert far(170.0, 0.0) == pytest.approx(160 * degree)
    assert far(10.0, 90.0) == pytest.approx(90 * degree)
    assert far(3.0, 0.0) == pytest.approx(0, abs=1e-6)
    assert far(300.0, 3.0) is None


@pytest.mark.parametrize(
    "wrong",
    [
        line([[1, 1]]),
        line([]),
        line([[1, 1], [300, 1]]),
        line([[1, 1], ["x", 1]]),
        line([[1, 1], 5]),
        line({"a": 1}),
        dynamic({"type": "LineString"}),
        dynamic({"type": "MultiLineString", "coordinates": [[[1, 1], [2, 2]], [[1, 1]]]}),
        dynamic({"type": "Point", "coordinates": [1, 1]}),
        dynamic("x"),
        dynamic(None),
    ],
)
def test_no_line(wrong: Any) -> None:
    assert call("geo_line_length", wrong) is None
    assert call("geo_line_centroid", wrong) is None
    assert call("geo_line_interpolate_point", wrong, real(0.5)) is None
    assert call("geo_line_locate_point", wrong, real(1.0), real(1.0)) is None
    assert call("geo_distance_point_to_line", real(1.0), real(1.0), wrong) is None
    assert call("geo_closest_point_on_line", real(1.0), real(1.0), wrong) is None


# ------------------------------------------------------------------ polygons

PARK = [
    [-73.9495, 40.7969],
    [-73.95807266235352, 40.80068603561921],
    [-73.98201942443848, 40.76825672305777],
    [-73.97317886352539, 40.76455136505513],
    [-73.9495, 40.7969],
]
BOX = [[0, 0], [10, 0], [10, 10], [0, 10], [0, 0]]
HOLE = [[4, 4], [4, 6], [6, 6], [6, 4], [4, 4]]


def polygon(*rings: Any) -> Any:
    return dynamic({"type": "Polygon", "coordinates": list(rings)})


def inside(x: float, y: float, shape: Any) -> Any:
    return call("geo_point_in_polygon", real(x), real(y), shape)


def test_a_point_in_a_polygon() -> None:
    assert inside(1.0, 1.0, polygon(BOX)) and inside(1.0, 1.0, polygon(BOX[::-1]))
    assert not inside(11.0, 1.0, polygon(BOX)) and not inside(5.0, -1.0, polygon(BOX))
    assert inside(1.0, 1.0, polygon(BOX, HOLE)) and not inside(5.0, 5.0, polygon(BOX, HOLE))
    assert inside(5.0, 10.03, polygon(BOX)), "edges are great circles: north of the parallel"
    both = dynamic({"type": "MultiPolygon", "coordinates": [[BOX, HOLE], [HOLE[::-1]]]})
    assert inside(5.0, 5.0, both) and inside(1.0, 1.0, both) and not inside(20.0, 1.0, both)
    far = [[179, -1], [-179, -1], [-179, 1], [179, 1], [179, -1]]
    assert inside(179.5, 0.0, polygon(far)) and inside(-179.5, 0.0, polygon(far)) and not inside(0.0, 0.0, polygon(far))
    for south in (1, -1):
        cap = [[0, 80 * south], [120, 80 * south], [-120, 80 * south], [0, 80 * south]]
        assert inside(50.0, 90.0 * south, polygon(cap)) and not inside(0.0, 79.0 * south, polygon(cap))
        assert not inside(50.0, -90.0 * south, polygon(cap))


def test_how_far_a_polygon_is() -> None:
    park = polygon(PARK)
    found = call("geo_distance_point_to_polygon", real(-73.9839), real(40.7705), park)
    assert found == pytest.approx(259.940756070596, rel=1e-10)
    assert call("geo_distance_point_to_polygon", real(-73.965), real(40.782), park) == 0


def test_the_closest_place() -> None:
    def on_line(x: float, y: float) -> Any:
        return call("geo_closest_point_on_line", real(x), real(y), line([[0, 0], [10, 0], [10, 10]]))["coordinates"]

    assert on_line(4.0, -7.0) == pytest.approx([4, 0], abs=1e-12)
    assert on_line(-4.0, 3.0) == pytest.approx([0, 0], abs=1e-12)
    assert on_line(20.0, 0.0) == pytest.approx([10, 0], abs=1e-12)
    assert call("geo_closest_point_on_line", real(200.0), real(0.0), line(STRAIGHT)) is None

    def on_box(x: float, y: float) -> Any:
        return call("geo_closest_point_on_polygon", real(x), real(y), polygon(BOX, HOLE))["coordinates"]

    assert on_box(1.5, 2.5) == [1.5, 2.5], "inside it is the place itself"
    assert on_box(5.0, -3.0) == pytest.approx([5, 0], abs=1e-12)
    assert on_box(4.5, 5.0)[0] == pytest.approx(4, abs=1e-9), "from a hole it is its edge"
    assert call("geo_closest_point_on_polygon", real(500.0), real(1.0), polygon(BOX)) is None


def _vector(lon: float, lat: float) -> list[float]:
    a, b = math.radians(lon), math.radians(lat)
    return [math.cos(b) * math.cos(a), math.cos(b) * math.sin(a), math.sin(b)]


def _volume(a: list[float], b: list[float], c: list[float]) -> float:
    return sum(
        a[i] * (b[(i + 1) % 3] * c[(i + 2) % 3] - b[(i + 2) % 3] * c[(i + 1) % 3]) for i in range(3)
    )  # fmt: skip


def test_a_point_is_in_a_triangle_where_it_is_on_one_side_of_its_edges() -> None:
    """Anywhere on the sphere, with poles and the antimeridian: by vectors and by longitudes it is the same."""
    dice = random.Random(7)

    def place() -> list[float]:
        return [dice.uniform(-180, 180), math.degrees(math.asin(dice.uniform(-1, 1)))]

    rows, expected = [], []
    for _ in range(400):
        corners = [place() for _ in range(3)]
        point = place()
        a, b, c = (_vector(*each) for each in corners)
        p = _vector(*point)
        sides = {_volume(x, y, p) > 0 for x, y in ((a, b), (b, c), (c, a))}
        expected.append(len(sides) == 1 and sides == {_volume(a, b, c) > 0})
        shape = json.dumps({"type": "Polygon", "coordinates": [[*corners, corners[0]]]})
        rows.append(f"({point[0]!r}::DOUBLE, {point[1]!r}::DOUBLE, '{shape}'::JSON)")
    say = choose("scalar", "geo_point_in_polygon", ["real", "real", "dynamic"])
    assert say is not None
    sql = str(say.function.say["duckdb"]).format("x", "y", "p")
    found = connection().cursor().execute(f"SELECT {sql} FROM (VALUES {', '.join(rows)}) t(x, y, p)").fetchall()
    assert [each[0] for each in found] == expected
    assert 20 < sum(expected) < 200


@pytest.mark.parametrize(
    "wrong",
    [
        polygon([[0, 0], [10, 10], [10, 10], [0, 0]]),
        polygon([[0, 0], [10, 0], [10, 10], [0, 10]]),
        polygon([[0, 0], [10, 0], [0, 0]]),
        polygon([[0, 0], [10, 0], [10, 100], [0, 0]]),
        polygon(),
        dynamic({"type": "MultiPolygon", "coordinates": [[BOX], []]}),
        dynamic({"type": "MultiPolygon", "coordinates": []}),
        dynamic({"type": "LineString", "coordinates": BOX}),
        dynamic(3),
        dynamic(None),
    ],
)
def test_no_polygon(wrong: Any) -> None:
    assert inside(1.0, 1.0, wrong) is None
    assert call("geo_distance_point_to_polygon", real(1.0), real(1.0), wrong) is None
    assert call("geo_closest_point_on_polygon", real(1.0), real(1.0), wrong) is None


# ------------------------------------------------------------------ well-known text

R1, R2 = "(0 0, 2 0, 2 2, 0 0)", "(10 10, 12 10, 12 12, 10 10)"
J1, J2 = [[0, 0], [2, 0], [2, 2], [0, 0]], [[10, 10], [12, 10], [12, 12], [10, 10]]


@pytest.mark.parametrize(
    ("text", "type_", "coordinates"),
    [
        ("POINT (1 2)", "Point", [1, 2]),
        (" point( -1.50  +.5 )", "Point", [-1.5, 0.5]),
        ("POINT(007 5.)", "Point", [7, 5]),
        ("POINT(1e1 1.05E+01)", "Point", [10, 10.5]),
        ("POINT(100.001 0.0)", "Point", [100.001, 0]),
        ("LINESTRING (1 2, 3 4)", "LineString", [[1, 2], [3, 4]]),
        (f"POLYGON ({R1})", "Polygon", [J1]),
        (f"POLYGON ({R2},{R1})", "Polygon", [J2, J1]),
        ("MULTIPOINT (1 1, 2 2, 3 3)", "MultiPoint", [[1, 1], [2, 2], [3, 3]]),
        ("MULTIPOINT ((1 1), (2 2))", "MultiPoint", [[1, 1], [2, 2]]),
        ("MULTIPOINT (1 1)", "MultiPoint", [[1, 1]]),
        ("MULTIPOINT ((1 1))", "MultiPoint", [[1, 1]]),
        ("MULTILINESTRING ((1 1, 2 2), (4 4, 5 5))", "MultiLineString", [[[1, 1], [2, 2]], [[4, 4], [5, 5]]]),
        (f"MULTIPOLYGON (({R1}),({R2}, {R1}))", "MultiPolygon", [[J1], [J2, J1]]),
    ],
)  # fmt: skip
def test_well_known_text(text: str, type_: str, coordinates: Any) -> None:
    assert call("geo_from_wkt", string(text)) == {"type": type_, "coordinates": coordinates}


def test_a_collection_in_well_known_text() -> None:
    shapes = f"POINT (1 1),MULTIPOINT(2 2),LINESTRING (2 2, 3 3, 4 4),MULTIPOLYGON(({R2})), POLYGON ({R1})"
    assert call("geo_from_wkt", string(f"GEOMETRYCOLLECTION ({shapes})")) == {
        "type": "GeometryCollection",
        "geometries": [
            {"type": "Point", "coordinates": [1, 1]},
            {"type": "MultiPoint", "coordinates": [[2, 2]]},
            {"type": "LineString", "coordinates": [[2, 2], [3, 3], [4, 4]]},
            {"type": "MultiPolygon", "coordinates": [[J2]]},
            {"type": "Polygon", "coordinates": [J1]},
        ],
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "POINT",
        "POINT EMPTY",
        "POINT (1)",
        "POINT (1 2, 3 4)",
        "POINT (1 2 3)",
        "POINT (1 2) x",
        "POINT (1 x)",
        "LINESTRING (1 2)",
        "LINESTRING (1 2,)",
        "POLYGON ((0 0, 1 1, 0 0))",
        "POLYGON (0 0, 2 0, 2 2, 0 0)",
        "CIRCLE (1 2)",
        "POINT (1 2",
    ],
)
def test_no_well_known_text(text: str) -> None:
    assert call("geo_from_wkt", string(text)) is None
