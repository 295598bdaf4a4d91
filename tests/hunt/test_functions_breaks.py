"""Series of two lines: what follows from the definition of the best cut."""

import json
from functools import cache
from random import Random
from typing import Any

import pytest
from tests.hunt.harness import Harness


@cache
def harness() -> Harness:
    return Harness({})


def fitted(y: Any, steps: str = "extend series_fit_2lines(y), series_fit_2lines_dynamic(y)") -> dict[str, Any]:
    columns, [row] = harness().run(f"print y = dynamic({json.dumps(y)}) | {steps}")
    return {name.removeprefix("series_fit_2lines_y_"): each for (name, _), each in zip(columns, row, strict=True)}


def squares(y: list[float]) -> float:
    """The squares of the differences to the line of least squares."""
    middle, mean = (len(y) - 1) / 2, sum(y) / len(y)
    width = sum((place - middle) ** 2 for place in range(len(y)))
    slope = sum((place - middle) * (each - mean) for place, each in enumerate(y)) / width
    return sum((each - mean - slope * (place - middle)) ** 2 for place, each in enumerate(y))


def test_a_series_of_two_lines_gives_them() -> None:
    """The right part begins at the index of the break, and counts from there."""
    found = fitted([5, 5, 5, 5, 0, 2, 4, 6, 8])
    assert found["split_idx"] == 4
    assert found["line_fit"] == pytest.approx([5, 5, 5, 5, 0, 2, 4, 6, 8])
    assert (found["rsquare"], found["rvariance"]) == pytest.approx((1, 0))
    assert (found["left_slope"], found["left_interception"]) == pytest.approx((0, 5))
    assert (found["right_slope"], found["right_interception"]) == pytest.approx((2, 0))
    assert (found["left_variance"], found["right_variance"]) == pytest.approx((0, 10))


@pytest.mark.parametrize("seed", range(5))
def test_no_other_cut_leaves_less(seed: int) -> None:
    chance = Random(seed)
    y = [1e6 + chance.uniform(-5, 5) + (20 if place > 17 else 0) * place for place in range(30)]
    found = fitted(y)
    best = min(range(2, 29), key=lambda cut: squares(y[:cut]) + squares(y[cut:]))
    rest = squares(y[:best]) + squares(y[best:])
    assert found["split_idx"] == best
    assert found["rvariance"] == pytest.approx(rest / 29)
    assert found["rsquare"] == pytest.approx(1 - found["rvariance"] / found["variance"])
    assert sum((a - b) ** 2 for a, b in zip(found["line_fit"], y, strict=True)) == pytest.approx(rest)


def test_each_line_is_that_of_its_part() -> None:
    y = [1, 2.2, 2.5, 4.7, 5.0, 12, 10.3, 10.3, 9, 8.3, 6.2]
    found = fitted(y)
    assert found["split_idx"] == 5
    for side, part in (("left", y[:5]), ("right", y[5:])):
        alone = fitted(part, "extend series_fit_line(y)")
        for each in ("rsquare", "slope", "interception", "variance", "rvariance"):
            assert found[f"{side}_{each}"] == pytest.approx(alone[f"series_fit_line_y_{each}"])


def test_the_object_has_the_same_by_name() -> None:
    found = fitted([1, 5, 2, 9, 3, 3, 8])
    named = found["series_fit_2lines_dynamic_y"] if "series_fit_2lines_dynamic_y" in found else found["Column1"]
    assert list(named) == ["rsquare", "split_idx", "variance", "rvariance", "line_fit", "right", "left"]
    assert named["split_idx"] == found["split_idx"]
    assert named["line_fit"] == found["line_fit"]
    assert named["right"]["slope"] == found["right_slope"]
    assert named["left"]["rvariance"] == found["left_rvariance"]


@pytest.mark.parametrize("y", [None, [], [1, 2, 3], [1, 2, None, 4, 5], [1, "x", 2, 3], "text", {"a": 1}])
def test_of_fewer_than_four_numbers_there_is_nothing(y: Any) -> None:
    found = fitted(y)
    assert [found[each] for each in ("rsquare", "split_idx", "line_fit", "left_slope")] == [None] * 4


def test_points_that_are_all_the_same_lie_on_the_line() -> None:
    found = fitted([0.1] * 50)
    assert (found["rsquare"], found["rvariance"], found["right_slope"]) == (1, 0, 0)
    assert found["line_fit"] == pytest.approx([0.1] * 50)
