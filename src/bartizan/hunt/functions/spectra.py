"""Functions of a whole series that no engine has: the discrete Fourier transform and back, the polynomial of least
squares.

A series in which a point is missing, or is no number, gives null.

Source: Kusto Query Language, "series_fft()", "series_ifft()", "series_fit_poly()"; Cooley and Tukey, "An algorithm for
the machine calculation of complex Fourier series"; Bluestein, "A linear filtering approach to the computation of
discrete Fourier transform"; Forsythe, "Generation and use of orthogonal polynomials for data-fitting".
"""

from cmath import exp, isfinite
from collections.abc import Sequence
from functools import partial
from math import pi
from typing import Any

from bartizan.hunt.fault import KqlError
from bartizan.hunt.functions import worked

MOST_POINTS = 32_768
MOST_DEGREE = 20
NOISE = 1e-12  # of the greatest value: what points differ by through rounding


def _numbers(given: Any) -> list[float] | None:
    if not isinstance(given, list) or not given:
        return None
    if any(isinstance(each, bool) or not isinstance(each, int | float) or not isfinite(each) for each in given):
        return None
    if len(given) > MOST_POINTS:
        raise KqlError("run", f"this is supported of series of at most {MOST_POINTS:,} points")
    return [float(each) for each in given]


# ------------------------------------------------------------------ Fourier


def _transformed(of: Sequence[complex], sign: int) -> list[complex]:
    """The sum of the points, each turned by its place times the frequency; -1: forwards."""
    size = len(of)
    if size & (size - 1):
        return _of_any_size(of, sign)
    if size == 1:
        return list(of)
    even, odd = _transformed(of[::2], sign), _transformed(of[1::2], sign)
    turned = [exp(sign * 2j * pi * each / size) * odd[each] for each in range(size // 2)]
    return [a + b for a, b in zip(even, turned, strict=True)] + [a - b for a, b in zip(even, turned, strict=True)]


def _of_any_size(of: Sequence[complex], sign: int) -> list[complex]:
    """As a convolution, which a size that is a power of two does."""
    size = len(of)
    whole = 1 << (2 * size - 1).bit_length()
    turns = [exp(sign * 1j * pi * (each * each % (2 * size)) / size) for each in range(size)]
    first = [a * b for a, b in zip(of, turns, strict=True)] + [0j] * (whole - size)
    back = [each.conjugate() for each in turns]
    second = back + [0j] * (whole - 2 * size + 1) + back[:0:-1]
    both = [a * b for a, b in zip(_transformed(first, -1), _transformed(second, -1), strict=True)]
    found = _transformed(both, 1)
    return [found[each] / whole * turns[each] for each in range(size)]


def _fourier(sign: int, real: Any, imaginary: Any = None) -> list[list[float]] | None:
    ones = _numbers(real)
    others = [0.0] * len(ones or ()) if imaginary is None else _numbers(imaginary)
    if ones is None or others is None or len(ones) != len(others):
        return None
    scale = 1 if sign < 0 else len(ones)
    found = _transformed([complex(a, b) for a, b in zip(ones, others, strict=True)], sign)
    return [[each.real / scale for each in found], [each.imag / scale for each in found]]


worked("series_fft", "dynamic dynamic? -> dynamic", partial(_fourier, -1))
worked("series_ifft", "dynamic dynamic? -> dynamic", partial(_fourier, 1))

# ------------------------------------------------------------------ a polynomial of least squares


def _fitted(y: Any, x: Any = None, degree: int = 1) -> list[Any] | None:
    """rsquare, the coefficients from the highest power down, variance, variance of the rest, the polynomial's values.
    As for a line, the variances are of the points less one."""
    values = _numbers(y)
    places = [float(each) for each in range(1, len(values or ()) + 1)] if x is None else _numbers(x)
    if values is None or places is None or len(values) != len(places):
        return None
    if not 0 <= degree <= MOST_DEGREE or degree >= len(set(places)):
        return None
    middle, half = (min(places) + max(places)) / 2, (max(places) - min(places)) / 2 or 1.0
    fit, powers = _least_squares([(each - middle) / half for each in places], values, degree)
    mean = sum(values) / len(values)
    whole = sum((each - mean) ** 2 for each in values)
    rest = sum((one - other) ** 2 for one, other in zip(values, fit, strict=True))
    less = max(len(values) - 1, 1)
    differ = whole > len(values) * (NOISE * max(abs(each) for each in values)) ** 2
    return [1 - rest / whole if differ else 1.0, _of_x(powers, middle, half)[::-1], whole / less, rest / less, fit]


def _least_squares(t: Sequence[float], values: Sequence[float], degree: int) -> tuple[list[float], list[float]]:
    """The values of the polynomial, and its coefficients from the lowest power up. The polynomials that it is made of
    are orthogonal over the places, so that no system of equations loses digits."""
    fit, powers = [0.0] * len(t), [0.0]
    before, now = [0.0] * len(t), [1.0] * len(t)
    powers_before, powers_now = [0.0], [1.0]
    norm_before = 1.0
    for step in range(degree + 1):
        norm = sum(each * each for each in now)
        share = sum(a * b for a, b in zip(values, now, strict=True)) / norm
        fit = [a + share * b for a, b in zip(fit, now, strict=True)]
        powers = _sum(powers, [share * each for each in powers_now])
        shift = sum(place * each * each for place, each in zip(t, now, strict=True)) / norm
        back = norm / norm_before if step else 0.0
        after = [(place - shift) * each - back * old for place, each, old in zip(t, now, before, strict=True)]
        scaled = _sum([0.0, *powers_now], [-shift * each for each in powers_now])
        powers_before, powers_now = powers_now, _sum(scaled, [-back * each for each in powers_before])
        before, now, norm_before = now, after, norm
    return fit, powers


def _sum(one: Sequence[float], other: Sequence[float]) -> list[float]:
    size = max(len(one), len(other))
    return [sum(each[place] for each in (one, other) if place < len(each)) for place in range(size)]


def _of_x(powers: Sequence[float], middle: float, half: float) -> list[float]:
    """The coefficients of a polynomial in (x - middle) / half as those in x."""
    found = [0.0]
    for each in reversed(powers):
        found = _sum([0.0, *(part / half for part in found)], [part * -middle / half for part in found])
        found[0] += each
    return found[: len(powers)]


worked("series_fit_poly", "dynamic dynamic? long? -> dynamic", _fitted)
