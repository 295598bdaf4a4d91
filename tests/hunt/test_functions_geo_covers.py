"""Cells that cover lines and polygons: the documentation's examples, and what follows from what a cover is."""

import json
import random
from functools import cache
from typing import Any

import pytest
from tests.hunt.harness import Harness

BIG = [[0, 0], [0, 50], [100, 50], [0, 0]]
RING = [[-3, -2], [4, -3], [5, 6], [-1, 3], [-3, -2]]  # over the corner of nothing: the middle of a face
HOLE = [[0, 0], [0, 2], [2, 2], [2, 0], [0, 0]]
CORNER = [[40, 30], [50, 30], [50, 40], [40, 40], [40, 30]]  # three faces meet in it
ANTIMERIDIAN = [[178, -5], [-178, -5], [-177, 4], [178, 3], [178, -5]]
POLE = [[0, 80], [90, 82], [180, 79], [-90, 81], [0, 80]]
FIGURES = [[BIG], [RING], [RING, HOLE], [CORNER], [ANTIMERIDIAN], [POLE]]
STREETS = """datatable(street_name: string, line: dynamic)[
    "Buckingham Palace", dynamic({"type": "LineString", "coordinates": [
        [-0.1399656708283601, 51.50190802248855], [-0.14088438832752104, 51.50012082761452]]}),
    "London Bridge", dynamic({"type": "LineString", "coordinates": [[-0.087152, 51.509596], [-0.088340, 51.506110]]})
]"""
STATIONS = """datatable(station: string, lng: real, lat: real)[
    "St. James' Park", -0.13451078568013486, 51.49919145858172,
    "London Bridge station", -0.08492752160134387, 51.504876316440914
]"""


@cache
def harness() -> Harness:
    return Harness({})


def value(name: str, figure: dict[str, Any], *args: Any) -> Any:
    told = ", ".join([f"dynamic({json.dumps(figure)})", *map(str, args)])
    return harness().run(f"print x = {name}({told})")[1][0][0]


def polygon(*rings: Any) -> dict[str, Any]:
    return {"type": "Polygon", "coordinates": list(rings)}


def line(*spots: Any) -> dict[str, Any]:
    return {"type": "LineString", "coordinates": list(spots)}


def parent(token: str, level: int) -> str:
    bits = int(token.ljust(16, "0"), 16)
    last = 1 << (60 - 2 * level)
    return f"{bits & -last | last:016x}".rstrip("0") if bits else ""


def test_the_examples_of_the_documentation() -> None:
    assert len(value("geo_polygon_to_s2cells", polygon(BIG), 5)) == 286
    assert value("geo_polygon_to_s2cells", polygon(BIG), 30) is None
    assert value("geo_line_to_s2cells", line([[0, 0], [0, 0]])) is None
    query = (
        f"let R = 500; let P = {STATIONS}; {STREETS} | extend c = geo_line_to_s2cells(line, 14, R) "
        "| mv-expand c to typeof(string) | join kind=inner (P | extend c = geo_point_to_s2cell(lng, lat, 14)) on c "
        "| extend distance = geo_distance_point_to_line(lng, lat, line) | where distance <= R "
        "| project station, street_name, round(distance, 6) | sort by station desc"
    )
    assert harness().run(query)[1] == [
        ["St. James' Park", "Buckingham Palace", 451.692474],
        ["London Bridge station", "London Bridge", 273.133134],
    ]


@pytest.mark.parametrize("rings", FIGURES)
def test_a_cell_covers_where_one_of_its_parts_does(rings: Any) -> None:
    fine = value("geo_polygon_to_s2cells", polygon(*rings), 7)
    assert fine == sorted(set(fine))
    for level in (0, 3, 6):
        assert value("geo_polygon_to_s2cells", polygon(*rings), level) == sorted({parent(each, level) for each in fine})


@pytest.mark.parametrize("rings", FIGURES)
def test_whatever_is_inside_is_covered(rings: Any) -> None:
    """And cells whose middle is inside are in the cover; far from the edge no other."""
    chance = random.Random(7)
    around = rings[0] if rings[0] is not POLE else [[-180, 75], [180, 90]]
    lons, lats = [each[0] % 360 if rings[0] is ANTIMERIDIAN else each[0] for each in around], [y for _, y in around]
    spots = ", ".join(
        f"{(chance.uniform(min(lons), max(lons)) + 180) % 360 - 180!r}, {chance.uniform(min(lats), max(lats))!r}"
        for _ in range(400)
    )
    told = json.dumps(polygon(*rings))
    rows = harness().run(
        f"let F = dynamic({told}); let C = geo_polygon_to_s2cells(F, 6); datatable(x: real, y: real)[{spots}] "
        "| project covered = set_has_element(C, geo_point_to_s2cell(x, y, 6)), inside = geo_point_in_polygon(x, y, F), "
        "far = geo_distance_point_to_polygon(x, y, F) > 250000"
    )[1]
    assert any(inside for _, inside, _ in rows)
    assert all(covered for covered, inside, _ in rows if inside)
    assert not any(covered for covered, _, far in rows if far)


@pytest.mark.parametrize("metres", [0, 1, 3_000, 90_000])
def test_whatever_is_near_is_covered_and_nothing_else(metres: float) -> None:
    way = line([9.9, 50], [10.2, 50.1], [10, 50.3])
    found = value("geo_line_to_s2cells", way, 10, f"real({metres})")
    chance = random.Random(3)
    spots = ", ".join(f"{chance.uniform(8, 12)!r}, {chance.uniform(49, 51.5)!r}" for _ in range(600))
    rows = harness().run(
        f"let F = dynamic({json.dumps(way)}); let C = dynamic({json.dumps(found)}); "
        f"datatable(x: real, y: real)[{spots}, 9.9, 50.0, 10.2, 50.1] | project covered = set_has_element(C, "
        "geo_point_to_s2cell(x, y, 10)), far = geo_distance_point_to_line(x, y, F)"
    )[1]
    assert all(covered for covered, far in rows if far <= metres)
    assert not any(covered for covered, far in rows if far > metres + 15_000)  # a cell is some 14 km across


@pytest.mark.parametrize(
    ("name", "figure", "args"),
    [
        ("geo_polygon_to_s2cells", polygon([[0, 0], [1, 1]]), ()),
        ("geo_polygon_to_s2cells", polygon(RING), (31,)),
        ("geo_polygon_to_s2cells", polygon(RING), (-1,)),
        ("geo_polygon_to_s2cells", polygon(RING), (3, "real(-1)")),
        ("geo_polygon_to_s2cells", polygon(RING), (3, "real(nan)")),
        ("geo_polygon_to_s2cells", polygon(RING), (16,)),  # more than 65,536
        ("geo_polygon_to_s2cells", line([0, 0], [1, 1]), ()),
        ("geo_line_to_s2cells", line([0, 0]), (5,)),
        ("geo_line_to_s2cells", line([0, 0], [90, 0]), (24,)),
        ("geo_line_to_s2cells", polygon(RING), ()),
    ],
)
def test_what_is_no_figure_or_has_too_many_cells_is_null(name: str, figure: dict[str, Any], args: Any) -> None:
    assert value(name, figure, *args) is None
