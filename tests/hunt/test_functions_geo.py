"""Functions of places: cases of the Kusto documentation."""

from typing import Any

import pytest
from tests.hunt.calls import call, long, real

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
