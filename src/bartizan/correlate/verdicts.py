"""What analysts' classifications say of each detector here: a factor on what it adds to a priority, never more.

Beta-binomial: a detector's share of true positives is drawn towards that of the whole tenant, and its share on one kind
of entity towards its own, each with the weight of PRIOR verdicts. So one verdict moves little, and a detector that
nobody has judged counts as it did.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

LEAST = 200  # verdicts of a tenant before any of them counts: fewer say more of who classifies than of detectors
PRIOR = 10.0  # verdicts that a prior weighs as much as

_TRUE = "truePositive"
_NOT = frozenset({"falsePositive", "informationalExpectedActivity"})


class Weight(Struct, frozen=True):
    """Of one detector on one kind of entity. Between a half and twice; 1 until there are LEAST verdicts."""

    factor: float = 1.0
    true: int = 0  # verdicts of the detector, on whatever
    other: int = 0


class Verdicts:
    """Counts by detector, and by detector and kind of entity. Beyond `entries`, those counted first are forgotten."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._counts: dict[tuple[str, str], list[int]] = {}  # (detector, kind or "") -> [true, other]
        self._all = [0, 0]

    @property
    def total(self) -> int:
        return sum(self._all)

    @property
    def enough(self) -> bool:
        return self.total >= LEAST

    def note(self, detector: str, kind: str, before: str | None, after: str | None) -> None:
        """An alert of this detector was `before`, and is `after`; words that are no verdict count nothing."""
        for word, by in ((before, -1), (after, 1)):
            which = 0 if word == _TRUE else 1 if word in _NOT else None
            if which is None:
                continue
            known = self._count(detector, "")
            if by < 0 and known[which] == 0:
                continue  # it was given before anybody counted
            for each in (known, self._all, *([self._count(detector, kind)] if kind else [])):
                each[which] = max(0, each[which] + by)

    def weight(self, detector: str, kind: str) -> Weight:
        """factor = 2 ** (p - m): p the share of true positives of this detector here, m of the tenant."""
        true, other = self._counts.get((detector, ""), (0, 0))
        if not self.enough:
            return Weight()
        mean = (self._all[0] + 1) / (self.total + 2)
        own = _drawn(true, other, mean)
        at, not_at = self._counts.get((detector, kind), (0, 0)) if kind else (0, 0)
        here = _drawn(at, not_at, own)
        return Weight(2 ** (here - mean), true, other)

    def _count(self, detector: str, kind: str) -> list[int]:
        known = self._counts.get((detector, kind))
        if known is None:
            if len(self._counts) >= self._entries:
                del self._counts[next(iter(self._counts))]
            known = self._counts[detector, kind] = [0, 0]
        return known

    def dump(self) -> list[tuple[str, str, int, int]]:
        counts = [(detector, kind, true, other) for (detector, kind), (true, other) in self._counts.items()]
        return [("", "", self._all[0], self._all[1]), *counts]

    def load(self, kept: Iterable[Sequence[Any]]) -> None:
        for detector, kind, true, other in kept:
            if detector or kind:
                self._counts[detector, kind] = [true, other]
            else:
                self._all = [true, other]


def _drawn(true: int, other: int, prior: float) -> float:
    return (true + PRIOR * prior) / (true + other + PRIOR)
