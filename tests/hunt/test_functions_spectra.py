"""Fourier's transform and polynomials of series: what follows from their definitions."""

import json
from cmath import exp
from functools import cache
from math import pi
from random import Random
from typing import Any

import pytest
from tests.hunt.harness import Harness


@cache
def harness() -> Harness:
    return Harness({})


def answer(steps: str, **given: Any) -> dict[str, Any]:
    told = ", ".join(f"{name} = dynamic({json.dumps(each)})" for name, each in given.items())
    columns, [row] = harness().run(f"print {told} | {steps}")
    return dict(zip((name for name, _ in columns), row, strict=True))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 30, 64, 101])
def test_a_transform_is_the_sum_by_which_it_is_defined_and_comes_back(size: int) -> None:
    chance = Random(size)
    real, imag = ([chance.uniform(-5, 5) for _ in range(size)] for _ in range(2))
    found = answer("extend (a, b) = series_fft(x, y) | extend (c, d) = series_ifft(a, b)", x=real, y=imag)
    for place in range(size):
        wanted = sum(
            complex(u, v) * exp(-2j * pi * place * each / size)
            for each, (u, v) in enumerate(zip(real, imag, strict=True))
        )
        assert complex(found["a"][place], found["b"][place]) == pytest.approx(wanted, abs=1e-9)
    assert found["c"] == pytest.approx(real, abs=1e-9)
    assert found["d"] == pytest.approx(imag, abs=1e-9)


def test_columns_have_their_names() -> None:
    found = answer("extend series_fft(x) | extend series_fit_poly(x, x, 1)", x=[1, 2, 4, 8])
    assert [each for each in found if each != "x"] == [
        "series_fft_x_real", "series_fft_x_imag", "series_fit_poly_x_rsquare", "series_fit_poly_x_coefficients",
        "series_fit_poly_x_variance", "series_fit_poly_x_rvariance", "series_fit_poly_x_poly_fit",
    ]  # fmt: skip
    assert found["series_fft_x_real"] == pytest.approx([15, -3, -5, -3])


@pytest.mark.parametrize("degree", [0, 1, 2, 5, 8])
def test_points_of_a_polynomial_give_it(degree: int) -> None:
    chance = Random(degree)
    wanted = [chance.uniform(-3, 3) for _ in range(degree + 1)]
    x = [chance.uniform(-2, 2) for _ in range(60)]
    y = [sum(each * place ** (degree - power) for power, each in enumerate(wanted)) for place in x]
    found = answer(f"extend (r, c, v, rest, f) = series_fit_poly(y, x, {degree})", x=x, y=y)
    assert found["c"] == pytest.approx(wanted, abs=1e-6)
    assert found["f"] == pytest.approx(y, abs=1e-9)
    assert found["r"] == pytest.approx(1)
    assert found["rest"] == pytest.approx(0, abs=1e-12)


def test_of_degree_one_it_is_the_line() -> None:
    """Of places that are not told, which count from 1."""
    y = [2, 5, 6, 8, 11, 15, 17, 18, 25, 26, 30, 30]
    found = answer("extend (r, s, v, w, i, l) = series_fit_line(y) | extend (a, c, b, d, f) = series_fit_poly(y)", y=y)
    assert found["f"] == pytest.approx(found["l"])
    assert found["c"] == pytest.approx([found["s"], found["i"] - found["s"]])
    assert [found[each] for each in "abd"] == pytest.approx([found[each] for each in "rvw"])


@pytest.mark.parametrize(
    "call",
    [
        "series_fft(dynamic([1, null]))", "series_fft(dynamic([]))", "series_fft(dynamic(5))",
        "series_fft(dynamic([1, 2]), dynamic([1]))", "series_ifft(dynamic(['a']))",
        "series_fit_poly(dynamic([1, 2, 3]), dynamic([1, 2, 3]), 3)",
        "series_fit_poly(dynamic([1, 2, 3]), dynamic([1, 1, 1]), 1)", "series_fit_poly(dynamic([1, null, 3]))",
        "series_fit_poly(dynamic([1, 2, 3]), dynamic([1, 2, 3]), -1)",
        "series_fit_poly(dynamic([1]), dynamic([1, 2]), 0)",
    ],
)  # fmt: skip
def test_what_is_no_series_or_has_no_fit_gives_nulls(call: str) -> None:
    _, [row] = harness().run(f"print x = 1 | project {call}")
    assert set(row) == {None}
