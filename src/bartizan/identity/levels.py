"""From scores to levels, by a budget of alerts: so many in a thousand sign-ins of quiet days, and no cap in others.

The thresholds of a day follow from the scores of up to 30 days before it, and stay for the day: whatever happens in it
cannot raise them. Sign-ins with evidence beyond behaviour are left out of that history, and the thresholds stay within
bounds, so that neither a noisy tenant nor a long attack hides what is strong. Proven facts are high at least.

Source: budgets as in Wiefling et al., "Pump up password security!" (ACM TOPS 2022), who report by the share of sign-ins
that are asked again; the levels' meaning from Microsoft Entra ID Protection.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct, field

from bartizan.identity.engine import Result
from bartizan.identity.events import DAY
from bartizan.identity.risk import Level
from bartizan.identity.verdicts import EVEN

HISTORY_DAYS = 30
YOUNG_DAYS = 14  # of history until it may lower a threshold: while we learn, what is new counts less than it will
LEAST = 2_000  # quiet sign-ins before the history counts
WIDTH = 0.1  # of a bin of scores
LOWEST, BINS = -12.0, 400
BEHAVIOUR = frozenset(
    {
        "unfamiliarFeatures",
        "suspiciousSignins",
        "newCountry",
        "unlikelyTravel",
        "mcasImpossibleTravel",
        "anomalousToken",
    }
)


class Budget(Struct, frozen=True):
    """At most `share` of quiet sign-ins reach the level; its threshold is never below `least` nor above `most`."""

    share: float
    least: float
    usual: float  # without a history
    most: float


# Nothing is high that is less likely an attack than not, however quiet the days before were.
BUDGETS: dict[Level, Budget] = {
    "low": Budget(0.005, 1.5, 2.5, 3.5),
    "medium": Budget(0.001, 3.0, 4.0, 5.0),
    "high": Budget(0.0002, EVEN, 5.5, 7.0),
}


def usual(score: float) -> Level:
    """Of a score by itself, without a history."""
    return next((level for level in ("high", "medium", "low") if score >= BUDGETS[level].usual), "none")


Thresholds = tuple[float, float, float]  # log-odds for low, medium and high


class Day(Struct):
    """What is kept of one day: how many quiet sign-ins had which score (by bin), and its thresholds when set."""

    counts: dict[int, int] = field(default_factory=dict)
    thresholds: Thresholds | None = None


class Part(Struct):
    """What one of several that share a tenant has counted in the days before one day: quiet sign-ins by bin, and the
    first of all days of which it knows."""

    counts: dict[int, int] = {}
    oldest: int | None = None


class Levels:
    """Of one tenant. `count` is told of every valid sign-in once, in the order in which they are scored."""

    def __init__(self) -> None:
        self._counts: dict[int, dict[int, int]] = {}  # day -> bin -> sign-ins
        self._thresholds: dict[int, Thresholds] = {}
        self._changed: set[int] = set()

    def count(self, result: Result) -> None:
        if any(each.type not in BEHAVIOUR for each in result.findings):
            return
        day = int(result.at // DAY)
        of = self._counts.get(day)
        if of is None:
            if len(self._counts) > HISTORY_DAYS and day < min(self._counts):
                return
            of = self._counts[day] = {}
            while len(self._counts) > HISTORY_DAYS + 2:
                self._drop(self._counts)
        index = min(BINS - 1, max(0, int((result.score - LOWEST) / WIDTH)))
        of[index] = of.get(index, 0) + 1
        self._changed.add(day)

    def of(self, result: Result) -> Level:
        """By the thresholds of the day on which it happened."""
        if any(each.proven for each in result.findings):
            return "high"
        return self.level(result.score, int(result.at // DAY))

    def level(self, score: float, day: int) -> Level:
        low, medium, high = self.thresholds(day)
        return "high" if score >= high else "medium" if score >= medium else "low" if score >= low else "none"

    def thresholds(self, day: int) -> Thresholds:
        self.begin(day)
        return self._thresholds[day]

    def begin(self, day: int, others: Iterable[Part] = ()) -> None:
        """Sets the thresholds of a day by what was counted until now, here and by others."""
        if day not in self._thresholds:
            self._thresholds[day] = self._computed(day, others)
            self._changed.add(day)
            if len(self._thresholds) > 2 * HISTORY_DAYS:
                self._drop(self._thresholds, but=day)

    def part(self, day: int) -> Part:
        """For `begin` elsewhere."""
        bins: dict[int, int] = {}
        for each, counts in self._counts.items():
            if day - HISTORY_DAYS <= each < day:
                for index, count in counts.items():
                    bins[index] = bins.get(index, 0) + count
        return Part(bins, min(self._counts, default=None))

    def _computed(self, day: int, others: Iterable[Part]) -> Thresholds:
        bins, oldest = [0] * BINS, day
        for part in (self.part(day), *others):
            oldest = min(oldest, day if part.oldest is None else part.oldest)
            for index, count in part.counts.items():
                bins[index] += count
        young = day - oldest < YOUNG_DAYS
        low, medium, high = (self._bound(bins, BUDGETS[level], young) for level in ("low", "medium", "high"))
        return low, max(low, medium), max(low, medium, high)

    @staticmethod
    def _bound(bins: Sequence[int], budget: Budget, young: bool) -> float:
        total, least = sum(bins), budget.usual if young else budget.least
        if total < LEAST:
            return budget.usual
        left = total * budget.share
        for index in range(BINS - 1, -1, -1):
            left -= bins[index]
            if left < 0:
                bound = LOWEST + (index + 1) * WIDTH
                return min(budget.most, max(least, bound))
        return least

    def _drop(self, of: dict[int, Any], but: int | None = None) -> None:
        """The oldest day, or the oldest but one."""
        oldest = min(each for each in of if each != but)
        del of[oldest]
        self._changed.add(oldest)

    # ------------------------------------------------------------ kept by day

    def days(self) -> list[int]:
        """Of which something is kept."""
        return sorted(self._counts.keys() | self._thresholds.keys())

    def changed(self) -> dict[int, Day]:
        """The days of which something is new since the last call."""
        new = {day: Day(self._counts.get(day, {}), self._thresholds.get(day)) for day in sorted(self._changed)}
        self._changed.clear()
        return new

    def take(self, day: int, of: Day) -> None:
        """What `changed` gave."""
        if of.counts:
            self._counts[day] = of.counts
        if of.thresholds is not None:
            self._thresholds[day] = of.thresholds

    def add(self, day: int, of: Day) -> None:
        """What another has counted on that day beside what is here."""
        counts = self._counts.setdefault(day, {})
        for index, count in of.counts.items():
            counts[index] = counts.get(index, 0) + count

    def settled(self, day: int) -> bool:
        """Whether its thresholds are set, so that they need no history."""
        return day in self._thresholds
