"""A rule's own beat, span, threshold, grouping and severity, where it was brought from a system that says these more
finely than Graph's periods: kept beside the rule, and in force while its period is the one that it came with.

Source: Microsoft Sentinel, "Scheduled analytics rules" (queryFrequency, queryPeriod, triggerThreshold,
eventGroupingSettings); "Customize alert details" (alertSeverityColumnName).
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import Struct

from bartizan.detect.words import CONTINUOUS, LOOKBACK, PERIODS
from bartizan.odata.functions import duration

SCHEDULED = "@bartizan.scheduled"


class Scheduled(Struct, frozen=True, kw_only=True):
    period: str  # Graph's word, with which it was brought
    every_s: int  # from run to run
    back_s: int  # that a run looks back
    more_than: int = 0  # rows that there have to be for it to raise anything
    each: bool = False  # an alert for each row
    severity: str | None = None  # the column that says how severe an alert is, where it says a severity


def scheduled_of(rule: Mapping[str, Any]) -> Scheduled | None:
    """None where the rule follows its period."""
    kept = rule.get(SCHEDULED)
    found = None if kept is None else msgspec.convert(kept, Scheduled)
    return found if found is not None and found.period == _period(rule) else None


def every(rule: Mapping[str, Any]) -> timedelta:
    own = scheduled_of(rule)
    return PERIODS[_period(rule)] if own is None else timedelta(seconds=own.every_s)


def back(rule: Mapping[str, Any]) -> timedelta:
    """How far a run looks back; of a continuous rule, how far before the end of its last run."""
    said = (rule.get("schedule") or {}).get("lookback")
    if said is not None:
        return span_of(str(said))
    own = scheduled_of(rule)
    return LOOKBACK[_period(rule)] if own is None else timedelta(seconds=own.back_s)


def overlap(rule: Mapping[str, Any]) -> timedelta:
    """What a run looks at that the one before has looked at."""
    if scheduled_of(rule) is None and _period(rule) == CONTINUOUS:
        return back(rule)
    return max(timedelta(0), back(rule) - every(rule))


def span_of(text: str) -> timedelta:
    """Of a duration of ISO 8601 that the schema has accepted; digits beyond microseconds are cut."""
    return timedelta(microseconds=(duration(text) or 0) // 10)


def frequency(span: timedelta) -> str:
    """As a duration of ISO 8601, in hours, minutes and seconds."""
    hours, rest = divmod(round(span.total_seconds()), 3_600)
    minutes, seconds = divmod(rest, 60)
    parts = "".join(f"{count}{unit}" for count, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if count)
    return f"PT{parts or '0S'}"


def _period(rule: Mapping[str, Any]) -> str:
    return str((rule.get("schedule") or {}).get("period"))
