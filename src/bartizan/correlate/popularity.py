"""How common something is in a tenant: the share of hours in which it was seen, learned as alerts come."""

import math
from collections.abc import Hashable, Iterable
from typing import Any

from bartizan.correlate.rules import HALF_LIFE_HOURS, MAX_INCIDENT_DETECTORS, PRIOR_SPAN_HOURS

_FORGET = math.log(2) / HALF_LIFE_HOURS


class Popularity:
    """Counts hours, not alerts: a burst of thousands in one hour is one hour. Older hours count less.

    Bounded: beyond `entries`, those not seen for longest are forgotten, which makes them rare again.
    """

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._hours: dict[Hashable, tuple[float, int]] = {}  # decayed hours up to and with the last, the last

    def hours(self, key: Hashable, hour: int) -> float:
        """In how many hours before this one it was seen."""
        known = self._hours.get(key)
        if known is None:
            return 0.0
        weight, last = known
        return max(0.0, weight - 1.0) if last >= hour else weight * math.exp(-_FORGET * (hour - last))

    def last(self, key: Hashable) -> int:
        """The last hour in which it was seen; -1 if it was not."""
        return self._hours.get(key, (0.0, -1))[1]

    def note(self, key: Hashable, hour: int) -> None:
        """Seen in this hour; a second time, or late, changes nothing."""
        known = self._hours.get(key)
        if known is not None and known[1] >= hour:
            return
        seen = self.hours(key, hour)
        if known is not None:
            del self._hours[key]  # so that the order is that of the last hours
        elif len(self._hours) >= self._entries:
            del self._hours[next(iter(self._hours))]
        self._hours[key] = (seen + 1.0, hour)

    def dump(self) -> list[Any]:
        return [(key, weight, last) for key, (weight, last) in self._hours.items()]

    def load(self, kept: Iterable[Any]) -> None:
        self._hours = {_hashable(key): (float(weight), int(last)) for key, weight, last in kept}


def _hashable(key: Any) -> Hashable:
    """What is written down knows no tuples."""
    return tuple(_hashable(each) for each in key) if isinstance(key, list) else key


def observed(hours: float) -> float:
    """How many hours of watching count, of so many."""
    return -math.expm1(-_FORGET * max(0.0, hours)) / _FORGET


def share(seen: float, watched: float, prior_hours: float) -> float:
    """The share of hours, drawn towards the prior while little was watched; above 0 and below 1."""
    return min(0.999, (seen + prior_hours) / (watched + PRIOR_SPAN_HOURS))


def chance(popularity: float, gap_hours: float) -> float:
    """That something seen in this share of hours is seen within the gap by chance."""
    return -math.expm1(gap_hours * math.log1p(-popularity))


class Habits:
    """Which detectors fire together, learned from incidents that have ended.

    The first of three reports of one event carries news, the others hardly any.
    """

    _HALVE_AT = 64.0  # past incidents: the newer count more, and the table is bounded

    def __init__(self, detectors: int) -> None:
        self._detectors = detectors
        self._past: dict[str, tuple[float, dict[str, float]]] = {}

    def learn(self, detectors: list[str]) -> None:
        for each in detectors:
            count, others = self._past.pop(each, (0.0, {}))
            count += 1.0
            for other in detectors:
                if other != each:
                    others[other] = others.get(other, 0.0) + 1.0
            if count >= self._HALVE_AT:
                count, others = count / 2, {key: value / 2 for key, value in others.items() if value >= 1.0}
            if len(others) > 4 * MAX_INCIDENT_DETECTORS:
                strongest = sorted(others, key=others.__getitem__, reverse=True)[: 2 * MAX_INCIDENT_DETECTORS]
                others = {key: others[key] for key in strongest}
            if len(self._past) >= self._detectors:
                del self._past[next(iter(self._past))]
            self._past[each] = (count, others)

    def together(self, given: str, detector: str) -> tuple[float, float]:
        """(past incidents with `given`, those of them that had `detector` too)."""
        count, others = self._past.get(given, (0.0, {}))
        return count, others.get(detector, 0.0)

    def dump(self) -> dict[str, tuple[float, dict[str, float]]]:
        return self._past

    def load(self, kept: dict[str, tuple[float, dict[str, float]]]) -> None:
        self._past = kept
