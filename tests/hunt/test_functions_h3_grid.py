"""The grid of H3: what the documentation prints, a few cells as they are known, what holds of all."""

import random
from functools import cache
from typing import Any

import h3.api.basic_str as h3
import pytest
from tests.hunt.harness import Harness

CELL = "862a1072fffffff"
NEAR = 1e-6  # degrees
# Of a cell its centre, how many corners it has, the first and the last of them.
KNOWN: list[tuple[str, tuple[float, float], int, tuple[float, float], tuple[float, float]]] = [
    ("81083ffffffffff", (10.5361991, 64.7000001), 10, (4.0126209, 63.3270613), (3.6999333, 64.5256084)),
    ("8009fffffffffff", (10.5361991, 64.7000001), 5, (-10.4449775, 63.0950541), (0.3256104, 73.3102237)),
    ("8109bffffffffff", (4.8369433, 59.6041448), 7, (4.0126209, 63.3270613), (8.6442212, 61.8908385)),
    ("82098ffffffffff", (8.1484775, 61.0529632), 6, (6.1590959, 62.2050054), (8.8991704, 62.3039347)),
    ("830988fffffffff", (8.1484775, 61.0529632), 8, (7.2121553, 61.3686282), (8.0825498, 61.5800568)),
    ("851d9c83fffffff", (-152.2500558, 52.8504560), 8, (-152.1851566, 52.7789753), (-152.3015351, 52.7818003)),
    ("862a1072fffffff", (-74.0160085, 40.7041679), 6, (-74.0022745, 40.7353760), (-73.9713938, 40.7115439)),
    ("8f2a1072b59d3a4", (-74.0437868, 40.6893549), 6, (-74.0437870, 40.6893600), (-74.0437807, 40.6893576)),
]


@cache
def harness() -> Harness:
    return Harness({})


def value(expression: str) -> Any:
    return harness().run(f"print x = {expression}")[1][0][0]


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("geo_point_to_h3cell(-74.04450446039874, 40.689250859314974, 6)", CELL),
        ("geo_point_to_h3cell(-74.04450446039874, 40.689250859314974)", CELL),
        ("geo_point_to_h3cell(0, 90, 3)", "830326fffffffff"),
        ("geo_point_to_h3cell(0, -90, 3)", "83f293fffffffff"),
        ("geo_point_to_h3cell(180, 0, 4)", "847eb57ffffffff"),
        ("geo_point_to_h3cell(10.536, 64.7, 5)", "85080003fffffff"),
        *((f"geo_point_to_h3cell({each})", "") for each in ("300, 1, 8", "1, 100, 8", "1, 1, 16", "1, 1, int(null)")),
        ("isnull(geo_h3cell_to_central_point('1'))", True),
        ("isnull(geo_h3cell_to_polygon('@'))", True),
        ("isnull(geo_h3cell_neighbors('abc'))", True),
        (f"isnull(geo_h3cell_rings('{CELL}', 150))", True),
        (f"geo_h3cell_neighbors('{CELL}')", ["862a10727ffffff", "862a10707ffffff", "862a1070fffffff", "862a10777ffffff",
                                             "862a100dfffffff", "862a100d7ffffff"]),
        ("geo_h3cell_rings('861f8894fffffff', 1)", [["861f8894fffffff"], [
            "861f88947ffffff", "861f8895fffffff", "861f88867ffffff", "861f8d497ffffff", "861f8d4b7ffffff",
            "861f8896fffffff"]]),
        (f"geo_h3cell_rings('{CELL}', 0)", [[CELL]]),
        ("array_length(geo_h3cell_neighbors('8009fffffffffff'))", 5),
        ("array_length(geo_h3cell_rings('81083ffffffffff', 2)[2])", 10),
    ],
)  # fmt: skip
def test_what_is_published(expression: str, wanted: Any) -> None:
    assert value(expression) == wanted


@pytest.mark.parametrize("known", KNOWN, ids=lambda known: known[0])
def test_centres_and_corners(known: tuple[str, tuple[float, float], int, tuple[float, float], Any]) -> None:
    token, middle, count, first, last = known
    assert value(f"geo_h3cell_to_central_point('{token}')")["coordinates"] == pytest.approx(middle, abs=NEAR)
    [ring] = value(f"geo_h3cell_to_polygon('{token}')")["coordinates"]
    assert len(ring) == count + 1
    assert ring[0] == ring[-1] == pytest.approx(first, abs=NEAR)
    assert ring[-2] == pytest.approx(last, abs=NEAR)


TOKENS = [
    h3.latlng_to_cell(draw.uniform(-90, 90), draw.uniform(-180, 180), number % 16)
    for draw in [random.Random(4)]
    for number in range(160)
]
NEAR_PENTAGONS = sorted({near for at in (0, 1, 2) for each in h3.get_pentagons(at) for near in h3.grid_disk(each, 2)})


def rows(expressions: str, tokens: list[str]) -> list[list[Any]]:
    told = ", ".join(f"'{each}'" for each in tokens)
    rows: list[list[Any]] = harness().run(f"datatable(c: string) [{told}] | project c, {expressions}")[1]
    return rows


@pytest.mark.parametrize("tokens", [TOKENS, NEAR_PENTAGONS[::3]], ids=["anywhere", "near pentagons"])
def test_what_follows_from_tokens_is_what_the_library_says(tokens: list[str]) -> None:
    """Levels, parents and children are worked out of the bits."""
    asked = "l = geo_h3cell_level(c), p = geo_h3cell_parent(c), k = geo_h3cell_children(c)"
    for cell, level, parent, children in rows(asked, tokens):
        assert level == h3.get_resolution(cell)
        assert parent == (h3.cell_to_parent(cell) if level else "")
        assert (children is None) if level == 15 else (sorted(children) == sorted(h3.cell_to_children(cell)))


@pytest.mark.parametrize("tokens", [TOKENS, NEAR_PENTAGONS], ids=["anywhere", "near pentagons"])
def test_a_cell_holds_its_centre_and_is_its_neighbours_neighbour(tokens: list[str]) -> None:
    place = "todouble(m.coordinates[0]), todouble(m.coordinates[1])"
    asked = (
        "m = geo_h3cell_to_central_point(c), n = geo_h3cell_neighbors(c), r = geo_h3cell_rings(c, 3) "
        f"| project c, n, r, again = geo_point_to_h3cell({place}, geo_h3cell_level(c))"
    )
    for cell, near, rings, again in rows(asked, tokens):
        assert again == cell
        assert len(near) == (5 if h3.is_pentagon(cell) else 6)
        assert rings[0] == [cell]
        assert set(rings[1]) == set(near)
        for at, ring in enumerate(rings):
            assert len(ring) == len(set(ring))
            assert set(ring) == set(h3.grid_ring(cell, at))
    around = rows("n = geo_h3cell_neighbors(c)", [each for _, near, _, _ in rows(asked, tokens[:9]) for each in near])
    assert all(any(cell in near for _, near in around) for cell in tokens[:9])


def test_as_many_rings_as_there_may_be() -> None:
    """Around a pentagon as well as anywhere."""
    for cell in (CELL, "8609a0007ffffff", "860800007ffffff"):
        rings = value(f"geo_h3cell_rings('{cell}', 142)")
        assert len(rings) == 143
        assert len({each for ring in rings for each in ring}) == len(h3.grid_disk(cell, 142))
