"""Levels by a budget of alerts: fixed for a day, within bounds, and never a cap."""

import random

from bartizan.extend.detections import Finding
from bartizan.identity.engine import Result
from bartizan.identity.levels import BUDGETS, Day, Levels

DAY = 86_400.0


def result(id: int, day: float, score: float, kind: str = "unfamiliarFeatures", *, proven: bool = False) -> Result:
    return Result(str(id), day * DAY, "u", score, [Finding(kind, score, {}, proven=proven)], day * DAY)


def counted(scores: list[float], days: int = 10) -> Levels:
    levels = Levels()
    for n, score in enumerate(scores):
        levels.count(result(n, 100 + n * days // len(scores), score))
    return levels


def test_without_a_history_the_usual_thresholds_hold() -> None:
    usual = tuple(BUDGETS[level].usual for level in ("low", "medium", "high"))
    assert Levels().thresholds(100) == usual


def test_quiet_days_keep_within_the_budget() -> None:
    chance = random.Random(2)
    scores = [chance.gauss(0, 1.2) for _ in range(60_000)]
    levels = counted(scores)
    low, medium, high = levels.thresholds(120)
    assert sum(score >= high for score in scores) <= 0.0002 * len(scores)
    assert sum(score >= medium for score in scores) <= 0.001 * len(scores)
    assert sum(score >= low for score in scores) <= 0.005 * len(scores)
    assert low <= medium <= high


def test_the_bounds_hold_in_a_noisy_tenant() -> None:
    levels = counted([9.0] * 5_000)
    assert levels.thresholds(120) == tuple(BUDGETS[level].most for level in ("low", "medium", "high"))


def test_a_day_does_not_move_its_own_thresholds() -> None:
    levels = counted([0.0] * 5_000)
    before = levels.thresholds(110)
    for n in range(3_000):
        levels.count(result(n, 110.5, 6.0))
    assert levels.thresholds(110) == before
    assert levels.of(result(1, 110.6, 6.0)) == "high"


def test_evidence_is_no_history() -> None:
    levels = counted([0.0] * 5_000)
    for n in range(3_000):
        levels.count(result(n, 108, 8.0, "passwordSpray"))
    assert levels.thresholds(110) == counted([0.0] * 5_000).thresholds(110)


def test_a_proven_fact_is_high() -> None:
    assert Levels().of(result(1, 100, -2.0, "nationStateIP", proven=True)) == "high"


def test_they_come_back_as_they_were() -> None:
    chance = random.Random(4)
    levels = counted([chance.gauss(0, 2) for _ in range(9_000)])
    levels.thresholds(105)
    again = Levels()
    for day, of in levels.changed().items():
        again.take(day, of)
    assert [again.thresholds(day) for day in range(100, 115)] == [levels.thresholds(day) for day in range(100, 115)]


def test_only_days_with_something_new_are_kept_anew() -> None:
    levels = counted([0.0] * 5_000)
    assert list(levels.changed()) == list(range(100, 110))
    levels.of(result(1, 109.5, 1.0))
    levels.count(result(2, 110.5, 1.0))
    assert list(levels.changed()) == [109, 110]
    levels.of(result(3, 109.6, 1.0))
    assert not levels.changed()


def test_a_short_history_lowers_no_threshold() -> None:
    """While a tenant is learned, what is new counts less than it will."""
    chance = random.Random(3)
    levels = counted([chance.gauss(-3, 1) for _ in range(60_000)])
    usual = tuple(BUDGETS[level].usual for level in ("low", "medium", "high"))
    assert levels.thresholds(110) == usual
    assert levels.thresholds(114) < usual
    loud = counted([chance.gauss(0, 2) for _ in range(60_000)])
    assert loud.thresholds(110) > usual


def test_what_is_kept_of_years_comes_back_as_it_was() -> None:
    """Days that are too old are dropped where they are kept, too."""
    levels, kept = Levels(), dict[int, Day]()
    for day in (*range(100, 200), 90, 150, *range(200, 210)):
        for score in (-1.0, 1.0, 2.0):
            levels.count(result(day, day, score))
        levels.of(result(day, day, 0.0))
        kept |= levels.changed()
    again = Levels()
    for each in levels.days():
        again.take(each, kept[each])
    assert len(levels.days()) <= 62
    assert again.days() == levels.days()
    for day in range(90, 215):
        assert again.thresholds(day) == levels.thresholds(day)
        again.count(result(day, day, 1.0))
        levels.count(result(day, day, 1.0))
    assert again.changed() == levels.changed()
