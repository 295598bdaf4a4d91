"""Cells of H3: what the documentation prints, and what follows from how a token is made."""

from typing import Any

import pytest
from tests.hunt.calls import Given, call, long, string

CELL = "862a1072fffffff"  # resolution 6
PENTAGON = "8009fffffffffff"  # base cell 4
CHILDREN = [f"872a1072{digit}ffffff" for digit in "89abcde"]
MIDDLE = ("83", "8b", "8f", "93", "97", "9b")  # no 87
CASES: list[tuple[str, list[Given], Any]] = [
    ("geo_h3cell_level", [string(CELL)], 6),
    ("geo_h3cell_level", [string(CELL.upper())], 6),
    ("geo_h3cell_level", [string(PENTAGON)], 0),
    ("geo_h3cell_level", [string("8f2a1072b59d3a4")], 15),
    *(("geo_h3cell_level", [string(each)], None) for each in (
        "", "123", "abc", "0x2a1072fffffff", "162a1072fffffff", "8" + "f" * 14, "862a1072ffffff", CELL + "f",
        "872a1072fffffff",  # the seventh digit is missing
        "862a10728ffffff",  # a digit too many
        "80f5fffffffffff",  # there is no base cell 122
        "81087ffffffffff",  # no child of a pentagon
        "862a1072fffffffé",
    )),
    ("geo_h3cell_parent", [string(CELL)], "852a1073fffffff"),
    ("geo_h3cell_parent", [string(CELL), long(1)], "812a3ffffffffff"),
    ("geo_h3cell_parent", [string(CELL), long(6)], CELL),
    ("geo_h3cell_parent", [string("81083ffffffffff")], PENTAGON),
    *(("geo_h3cell_parent", [string(CELL), long(each)], "") for each in (7, 15, 100, -1, 2**62, None)),
    ("geo_h3cell_parent", [string(PENTAGON)], ""),
    ("geo_h3cell_parent", [string("123")], ""),
    ("geo_h3cell_children", [string(CELL)], CHILDREN),
    ("geo_h3cell_children", [string(CELL), long(6)], [CELL]),
    ("geo_h3cell_children", [string(PENTAGON)], [f"810{each}ffffffffff" for each in MIDDLE]),
    *(("geo_h3cell_children", [string(CELL), long(each)], None) for each in (5, 12, 0, -1, 2**62, None)),
    ("geo_h3cell_children", [string("abc")], None),
    ("geo_h3cell_children", [string("8f2a1072b59d3a4")], None),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "expected"), CASES)
def test_a_function_of_cells(name: str, args: list[Given], expected: Any) -> None:
    assert call(name, *args) == expected


@pytest.mark.parametrize(("cell", "count"), [(CELL, 16_807), (PENTAGON, 1 + 5 * (7**5 - 1) // 6)])
def test_each_child_has_its_parent(cell: str, count: int) -> None:
    """Five resolutions down; a pentagon has five sixths of them, and itself in the middle."""
    level = call("geo_h3cell_level", string(cell))
    children = call("geo_h3cell_children", string(cell), long(level + 5))
    assert len(set(children)) == count
    assert children == sorted(children)
    for child in children[::2_000]:
        assert call("geo_h3cell_level", string(child)) == level + 5
        assert call("geo_h3cell_parent", string(child), long(level)) == cell
