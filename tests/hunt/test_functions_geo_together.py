"""What polygons and lines have in common and are together, with more corners and with fewer: the documentation's
examples, and what follows from what such figures are."""

import json
import math
from functools import cache
from typing import Any

import pytest
from tests.hunt.harness import Harness

from bartizan.hunt.fault import KqlError

Spots = list[list[float]]
PARK = [[-73.9495, 40.7969], [-73.95807266235352, 40.80068603561921], [-73.98201942443848, 40.76825672305777],
        [-73.97317886352539, 40.76455136505513], [-73.9495, 40.7969]]  # fmt: skip
SIDE = [[-73.94262313842773, 40.775991804565585], [-73.98107528686523, 40.791849155467695],
        [-73.99600982666016, 40.77092185281977], [-73.96150588989258, 40.75609977566361],
        [-73.94262313842773, 40.775991804565585]]  # fmt: skip
A = [[-73.9495, 40.7969], [-73.95807, 40.80068], [-73.98201, 40.76825], [-73.97317, 40.76455], [-73.9495, 40.7969]]
B = [[-73.94622, 40.79249], [-73.96888, 40.79282], [-73.9577, 40.7789], [-73.94622, 40.79249]]
C = [[-73.97335, 40.77274], [-73.9936, 40.76630], [-73.97171, 40.75655], [-73.97335, 40.77274]]
ROOF = [[2, 45], [0, 45], [1, 44], [2, 45]]
BOX: Spots = [[0, 0], [4, 0], [4, 4], [0, 4], [0, 0]]
HOLE: Spots = [[1, 1], [1, 3], [3, 3], [3, 1], [1, 1]]
RIGHT: Spots = [[4, 0], [8, 0], [8, 4], [4, 4], [4, 0]]
EMPTY = {"type": "GeometryCollection", "geometries": []}


@cache
def harness() -> Harness:
    return Harness({})


def value(name: str, *args: Any) -> Any:
    told = ", ".join(f"dynamic({json.dumps(each)})" if isinstance(each, dict | list) else str(each) for each in args)
    return harness().run(f"print x = {name}({told})")[1][0][0]


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def polygons(*each: Any) -> dict[str, Any]:
    return {"type": "MultiPolygon", "coordinates": list(each)}


def line(spots: Any) -> dict[str, Any]:
    return {"type": "LineString", "coordinates": spots}


def near(wanted: Any) -> Any:
    return [[pytest.approx(each, rel=1e-12) for each in spot] for spot in wanted]


def ring_of(found: Any) -> Any:
    assert found["type"] == "Polygon"
    [ring] = found["coordinates"]
    return ring


# ------------------------------------------------------------------ areas


def test_the_area_of_polygons() -> None:
    square = 6_371_010.0**2
    assert value("geo_polygon_area", polygon(PARK)) == pytest.approx(3475207.28346606, rel=1e-11)
    assert value("geo_polygon_area", polygons([PARK], [SIDE])) == pytest.approx(10889971.5343487, rel=1e-11)
    octant = [[0, 0], [90, 0], [0, 90], [0, 0]]
    for each in (octant, octant[::-1]):
        assert value("geo_polygon_area", polygon(each)) == pytest.approx(square * math.pi / 2)
    whole, hole = (value("geo_polygon_area", polygon(each)) for each in (BOX, HOLE))
    for told in (HOLE, HOLE[::-1]):
        assert value("geo_polygon_area", polygon(BOX, told)) == pytest.approx(whole - hole)
    assert value("geo_polygon_area", polygons([BOX], [HOLE])) == pytest.approx(whole), (
        "what lies in another counts once"
    )
    polar = [[0, 60], [120, 60], [-120, 60], [0, 60]]
    third = value("geo_polygon_area", polygon([[0, 60], [120, 60], [0, 90], [0, 60]]))
    assert value("geo_polygon_area", polygon(polar)) == pytest.approx(3 * third)
    assert value("geo_polygon_area", polygon(BOX[:-1])) is None


def test_the_way_around_polygons() -> None:
    octant = [[0, 0], [90, 0], [0, 90], [0, 0]]
    assert value("geo_polygon_perimeter", polygon(octant)) == pytest.approx(6_371_010 * 1.5 * math.pi)
    outer, right = (value("geo_polygon_perimeter", polygon(each)) for each in (BOX, RIGHT))
    between = value("geo_line_length", line([[4, 0], [4, 4]]))
    assert value("geo_polygon_perimeter", polygons([BOX], [RIGHT])) == pytest.approx(outer + right - 2 * between)


# ------------------------------------------------------------------ unions


def test_a_union_lists_corners_as_documented() -> None:
    two = ring_of(value("geo_union_polygons_array", [polygon(A), polygon(B)]))
    assert two == near([
        [-73.9495, 40.7969], [-73.95807, 40.80068], [-73.9639277517478, 40.792748258673875], [-73.96888, 40.79282],
        [-73.9662719791645, 40.7895734224338], [-73.98201, 40.76825], [-73.97317, 40.76455],
        [-73.960302383706178, 40.782140794645024], [-73.9577, 40.7789], [-73.94622, 40.79249],
        [-73.9526593223173, 40.792584227716468], [-73.9495, 40.7969],
    ])  # fmt: skip
    three = ring_of(value("geo_union_polygons_array", [polygon(A), polygon(B), polygon(C)]))
    assert three[:3] == near([[-73.972599326729608, 40.765330371902991], [-73.960302383706178, 40.782140794645024],
                              [-73.9577, 40.7789]])  # fmt: skip
    assert len(three) == 14


def test_unions_of_neighbours_of_holes_and_of_what_lies_apart() -> None:
    both = value("geo_union_polygons_array", [polygon(BOX), polygon(RIGHT)])
    assert sorted(ring_of(both)[:-1]) == sorted([[0, 0], [4, 0], [8, 0], [8, 4], [4, 4], [0, 4]])
    assert value("geo_union_polygons_array", [polygon(BOX, HOLE), polygon(HOLE)])["coordinates"][0][0] in BOX
    holed = value("geo_union_polygons_array", [polygon(BOX, HOLE), polygon(RIGHT)])
    assert [len(each) for each in holed["coordinates"]] == [7, 5]
    far = [[x + 20, y] for x, y in BOX]
    assert value("geo_union_polygons_array", [polygon(BOX), polygon(far)])["type"] == "MultiPolygon"
    assert value("geo_union_polygons_array", [polygon(BOX)])["coordinates"] == [BOX]
    for wrong in ([], [polygon(BOX), polygon(BOX[:2])], {"a": 1}, [5]):
        assert value("geo_union_polygons_array", wrong) is None


def test_unions_of_lines() -> None:
    a, b, c, d = ([-73.956838, 40.805028], [-73.956337, 40.805717], [-73.954891, 40.805102], [-73.955374, 40.804413])
    found = value("geo_union_lines_array", [line([a, b]), line([b, c, d]), line([b, c])])
    assert found == {"type": "LineString", "coordinates": [a, b, c, d]}
    assert value("geo_union_lines_array", [line([a, b]), line([c, d])])["type"] == "MultiLineString"
    assert value("geo_union_lines_array", [line([a, b]), line([a])]) is None


# ------------------------------------------------------------------ intersections


def test_what_polygons_have_in_common() -> None:
    small = [[1.192, 45.265], [1.005, 44.943], [1.356, 44.937], [1.192, 45.265]]
    low = [[3, 44], [2, 45], [2, 43], [3, 44]]
    assert value("geo_intersection_2polygons", polygon(ROOF), polygon(low)) == {"type": "Point", "coordinates": [2, 45]}
    found = value("geo_intersection_2polygons", polygon(ROOF), polygons([low], [small]))
    point, part = found["geometries"]
    assert (found["type"], point) == ("GeometryCollection", {"type": "Point", "coordinates": [2, 45]})
    first, last = [1.3227075526410679, 45.003909145068739], [1.356, 44.937]
    assert ring_of(part) == near([first, [1.0404565374899824, 45.004356403066552], [1.005, 44.943], last, first])
    apart = [[3, 44], [3, 45], [2, 43], [3, 44]]
    assert value("geo_intersection_2polygons", polygon(ROOF), polygon(apart)) == EMPTY
    edge = value("geo_intersection_2polygons", polygon(BOX), polygon(RIGHT))
    assert edge["type"] == "LineString"
    assert sorted(edge["coordinates"]) == [[4, 0], [4, 4]]
    assert sorted(ring_of(value("geo_intersection_2polygons", polygon(BOX), polygon(HOLE)))) == sorted(HOLE)
    assert value("geo_intersection_2polygons", polygon(BOX), {"type": "Polygon"}) is None


def test_whether_polygons_meet() -> None:
    for other, wanted in ((HOLE, True), (RIGHT, True), ([[x + 20, y] for x, y in BOX], False)):
        assert value("geo_intersects_2polygons", polygon(BOX), polygon(other)) is wanted
    assert value("geo_intersects_2polygons", polygon(BOX), {"type": "Polygon"}) is None


def test_what_of_a_line_lies_in_a_polygon() -> None:
    corner = [[-73.9712905883789, 40.78580561168767], [-73.98004531860352, 40.775276834803655],
              [-73.97000312805176, 40.77852663535664], [-73.9712905883789, 40.78580561168767]]  # fmt: skip
    way = line([[-73.985195, 40.788275], [-73.974552, 40.779761]])
    found = value("geo_intersection_line_with_polygon", way, polygon(corner))
    assert found["type"] == "LineString"
    assert found["coordinates"] == near([[-73.975611956578192, 40.78060906714618], [-73.974552, 40.779761]])
    holed = polygon([[-90.263, 36.738], [-102.041, 45.274], [-109.335, 36.527], [-90.263, 36.738]],
                    [[-100.393, 41.705], [-103.139, 38.925], [-97.558, 39.113], [-100.393, 41.705]])  # fmt: skip
    found = value("geo_intersection_line_with_polygon", line([[-110.522, 39.198], [-91.428, 40.880]]), holed)
    assert found["type"] == "MultiLineString"
    assert found["coordinates"][1] == near([[-99.136499431328858, 40.589336512699994],
                                            [-95.284527737311791, 40.799060242246348]])  # fmt: skip
    assert value("geo_intersection_line_with_polygon", line([[5, 5], [6, 6]]), polygon(BOX)) == EMPTY
    touched = value("geo_intersection_line_with_polygon", line([[4, 4], [6, 6]]), polygon(BOX))
    assert touched == {"type": "Point", "coordinates": [4, 4]}


def test_where_lines_cross() -> None:
    one = line([[-73.978929, 40.785155], [-73.980903, 40.782621]])
    other = line([[-73.985195, 40.788275], [-73.974552, 40.779761]])
    found = value("geo_intersection_2lines", one, other)
    assert (found["type"], [found["coordinates"]]) == ("Point", near([[-73.979837116670978, 40.783989289772165]]))
    assert value("geo_intersection_2lines", one, one) == one
    assert value("geo_intersection_2lines", line([[1, 1], [2, 2]]), line([[3, 3], [4, 4]])) == EMPTY
    twice = value("geo_intersection_2lines", line([[0, 0], [4, 0]]), line([[1, -1], [1, 1], [3, 1], [3, -1]]))
    assert twice["type"] == "MultiPoint"


def test_figures_too_far_apart_for_one_plane_are_refused() -> None:
    with pytest.raises(KqlError, match="80 degrees"):
        value("geo_union_polygons_array", [polygon(BOX), polygon([[x + 170, y] for x, y in BOX])])


# ------------------------------------------------------------------ more corners, and fewer


def test_densified() -> None:
    found = value("geo_line_densify", line([[50, 50], [51, 51]]))
    assert found["coordinates"] == [[50 + each / 8, 50 + each / 8] for each in range(9)]
    ring = ring_of(value("geo_polygon_densify", polygon([[10, 10], [11, 10], [11, 11], [10, 11], [10, 10]])))
    assert ring == [[10, 10], [10.25, 10], [10.5, 10], [10.75, 10], [11, 10], [11, 11], [10.75, 11], [10.5, 11],
                    [10.25, 11], [10, 11], [10, 10]]  # fmt: skip
    short = line([[-73.949247, 40.796860], [-73.973017, 40.764323]])
    assert value("geo_line_densify", short) == short
    assert len(value("geo_line_densify", line([[50, 50], [51, 51]]), 1000)["coordinates"]) == 2
    assert value("geo_line_densify", line([[1, 1], [2, 2]]), 0) is None
    assert value("geo_line_densify", line([[300, 1], [1, 1]])) is None
    over = value("geo_line_densify", line([[179, 50], [-179, 51]]))["coordinates"]
    assert all(179 <= abs(x) <= 180 for x, _ in over)


def test_simplified() -> None:
    shape = [[-73.94885122776031, 40.79673476355657], [-73.94885927438736, 40.79692258628347],
             [-73.94887939095497, 40.79692055577034], [-73.9488673210144, 40.79693476936093],
             [-73.94888743758202, 40.79693476936093], [-73.9488834142685, 40.796959135509105],
             [-73.94890084862709, 40.79695304397289], [-73.94906312227248, 40.79710736271788],
             [-73.94923612475395, 40.7968708081794], [-73.94885122776031, 40.79673476355657]]  # fmt: skip
    found = ring_of(value("geo_polygon_simplify", polygon(shape)))
    assert found == [shape[0], shape[7], shape[8], shape[0]]
    assert value("geo_polygon_simplify", polygon(shape), 1000) is None
    assert value("geo_polygon_simplify", polygon(BOX), -0.1) is None
    assert value("geo_polygon_simplify", polygon([[5, 48], [5, 48]])) is None
    bent = line([[0, 0], [1, 0.00001], [2, 0], [2, 1]])
    assert value("geo_line_simplify", bent)["coordinates"] == [[0, 0], [2, 0], [2, 1]]
    assert value("geo_line_simplify", bent, 0.5) == bent
