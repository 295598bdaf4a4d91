"""Distributions: beta, error function, Welch's test; and digests, from which percentiles are told.

A digest is not a sketch but the numbers themselves: its percentiles are exact, and it grows with what it holds.

Source: Kusto Query Language, "beta_cdf()", "beta_inv()", "beta_pdf()", "erf()", "erfc()", "welch_test()", "tdigest()",
"tdigest_merge()", "merge_tdigest()", "percentile_tdigest()", "percentiles_array_tdigest()", "percentrank_tdigest()",
"rank_tdigest()"; NIST Digital Library of Mathematical Functions, 8.17 (its continued fraction 8.17.22).
"""

from math import ceil, erf, erfc, exp, inf, isfinite, isinf, lgamma, log, nan, sqrt
from typing import Any

from bartizan.hunt.functions import function, worked

MOST = 10_000.0  # of the parameters of a beta distribution
TERMS = 10_000  # of the continued fraction; a few times the root of the parameters is enough
TINY = 1e-300
MOST_EXPONENT = 709.0  # of what is a double


def _fits(alpha: float, beta: float) -> bool:
    return 0 < alpha <= MOST and 0 < beta <= MOST


def _share(x: float, alpha: float, beta: float) -> float:
    """The regularised incomplete beta function."""
    if x in (0, 1):
        return float(x)
    if x > (alpha + 1) / (alpha + beta + 2):
        return 1 - _share(1 - x, beta, alpha)
    front = exp(alpha * log(x) + beta * log(1 - x) + lgamma(alpha + beta) - lgamma(alpha) - lgamma(beta)) / alpha
    upper, lower, found = 1.0, 0.0, 1.0  # of the fraction, from its start on
    for index in range(TERMS):
        half, odd = divmod(index, 2)
        if index == 0:
            term = 1.0
        elif odd:
            term = -(alpha + half) * (alpha + beta + half) * x / ((alpha + 2 * half) * (alpha + 2 * half + 1))
        else:
            term = half * (beta - half) * x / ((alpha + 2 * half - 1) * (alpha + 2 * half))
        lower = 1 / ((1 + term * lower) or TINY)
        upper = (1 + term / upper) or TINY
        change = upper * lower
        found *= change
        if index and abs(change - 1) < 1e-15:
            break
    return front * (found - 1)


def _beta_cdf(x: float, alpha: float, beta: float) -> float:
    return _share(x, alpha, beta) if 0 <= x <= 1 and _fits(alpha, beta) else nan


def _beta_pdf(x: float, alpha: float, beta: float) -> float:
    if not (0 < x < 1 and 0 < alpha < inf and 0 < beta < inf):
        return nan
    found = (alpha - 1) * log(x) + (beta - 1) * log(1 - x) + lgamma(alpha + beta) - lgamma(alpha) - lgamma(beta)
    return exp(found) if found < MOST_EXPONENT else inf


def _beta_inv(share: float, alpha: float, beta: float) -> float | None:
    if not 0 <= share <= 1:
        return None
    if not _fits(alpha, beta):
        return nan
    low, high = 0.0, 1.0
    while (middle := (low + high) / 2) not in (low, high):
        if _share(middle, alpha, beta) < share:
            low = middle
        else:
            high = middle
    return high


def _welch(mean: float, variance: float, count: float, mean2: float, variance2: float, count2: float) -> float:
    """Two-sided; of so many values that Student's distribution is the normal one, that."""
    if not (count > 1 and count2 > 1 and variance >= 0 and variance2 >= 0 and isfinite(mean) and isfinite(mean2)):
        return nan
    first, second = variance / count, variance2 / count2
    if not 0 < first + second < inf:
        return nan
    apart = (mean - mean2) / sqrt(first + second)
    one, other = first / (first + second), second / (first + second)
    freedom = 1 / (one * one / (count - 1) + other * other / (count2 - 1))
    share = 0.0 if isinf(apart * apart) else freedom / (freedom + apart * apart)
    return _share(share, freedom / 2, 0.5) if freedom < 2 * MOST else erfc(abs(apart) / sqrt(2))


worked("beta_cdf", "real real real -> real", _beta_cdf)
worked("beta_pdf", "real real real -> real", _beta_pdf)
worked("beta_inv", "real real real -> real", _beta_inv)
worked("welch_test", "real real real real real real -> real", _welch)
worked("erf", "real -> real", erf)
worked("erfc", "real -> real", erfc)

# ------------------------------------------------------------------ digests


def _held(digest: Any) -> list[Any]:
    """What a digest holds, the least first: numbers, or instants as Kusto writes them."""
    given = digest if isinstance(digest, list) else []
    numbers = [each for each in given if isinstance(each, int | float) and not isinstance(each, bool)]
    return sorted(numbers) or sorted(each for each in given if isinstance(each, str))


def _percentile(digest: Any, percent: float) -> Any:
    held = _held(digest)
    if not held or not 0 <= percent <= 100:
        return None
    return held[max(ceil(len(held) * percent / 100), 1) - 1]


def _percentiles(digest: Any, *percents: Any) -> list[Any] | None:
    wanted = percents[0] if len(percents) == 1 and isinstance(percents[0], list) else list(percents)
    if any(isinstance(each, bool) or not isinstance(each, int | float) for each in wanted):
        return None
    return [_percentile(digest, each) for each in wanted]


def _rank(digest: Any, value: Any) -> int:
    """How many are no greater."""
    held = _held(digest)
    alike = bool(held) and isinstance(value, str) == isinstance(held[0], str)
    return sum(each <= value for each in held) if alike and isinstance(value, str | int | float) else 0


def _percent_rank(digest: Any, value: Any) -> float | None:
    held = _held(digest)
    return 100 * _rank(digest, value) / len(held) if held else None


worked("percentile_tdigest", "dynamic real -> dynamic", _percentile)
for _name in ("percentiles_array_tdigest", "percentile_array_tdigest"):
    worked(_name, "dynamic real real* -> dynamic", _percentiles)
    worked(_name, "dynamic dynamic -> dynamic", _percentiles)
worked("rank_tdigest", "dynamic dynamic -> long", _rank)
worked("percentrank_tdigest", "dynamic dynamic -> real", _percent_rank)
for _type in ("real", "datetime"):
    worked("rank_tdigest", f"dynamic {_type} -> long", _rank)
    worked("percentrank_tdigest", f"dynamic {_type} -> real", _percent_rank)
for _name in ("merge_tdigest", "tdigest_merge"):
    function(_name, "dynamic dynamic dynamic* -> dynamic", duckdb=lambda args, _: (
        f"kql_list_text(flatten([{', '.join(f'kql_list_parts({each})' for each in args)}]))"))  # fmt: skip
