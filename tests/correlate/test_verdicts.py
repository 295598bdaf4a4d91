"""What classifications make of a detector's weight, case by case and for any counts."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.correlate.streams import attack, noise, tell

from bartizan.correlate.incident import Judged
from bartizan.correlate.memory import Memory
from bartizan.correlate.rank import priority
from bartizan.correlate.verdicts import LEAST, Verdicts, Weight

VERDICTS = st.sampled_from(["truePositive", "falsePositive", "informationalExpectedActivity", "unknown", None])


def noted(**counts: tuple[int, int]) -> Verdicts:
    verdicts = Verdicts(100)
    for detector, (true, other) in counts.items():
        for number in range(true + other):
            verdicts.note(detector, "host", None, "truePositive" if number < true else "falsePositive")
    return verdicts


def test_nothing_counts_below_the_least() -> None:
    verdicts = noted(good=(LEAST - 1, 0))
    assert verdicts.weight("good", "host") == Weight()
    verdicts.note("bad", "host", None, "falsePositive")
    assert verdicts.weight("good", "host").factor > 1 > verdicts.weight("bad", "host").factor


def test_one_verdict_moves_little_and_none_nothing() -> None:
    verdicts = noted(good=(100, 0), bad=(0, 100), once=(0, 1))
    assert verdicts.weight("never", "host").factor == pytest.approx(1)
    assert 0.9 < verdicts.weight("once", "host").factor < 1
    assert verdicts.weight("bad", "host").factor < 0.75


def test_a_kind_of_entity_has_its_own_share_once_it_is_known() -> None:
    """What is true of hosts may be false of users; a kind that nobody judged has the detector's."""
    verdicts = noted(mixed=(100, 0), other=(0, 100))
    for _ in range(100):
        verdicts.note("mixed", "user", None, "falsePositive")
    assert verdicts.weight("mixed", "host").factor > 1 > verdicts.weight("mixed", "user").factor
    whole = verdicts.weight("mixed", "mailbox")
    assert verdicts.weight("mixed", "user").factor < whole.factor < verdicts.weight("mixed", "host").factor
    assert (whole.true, whole.other) == (100, 100)


def test_a_verdict_that_is_changed_counts_as_the_new_one() -> None:
    verdicts = noted(d=(0, LEAST))
    for _ in range(LEAST):
        verdicts.note("d", "host", "falsePositive", "truePositive")
    assert (verdicts.weight("d", "host").true, verdicts.total) == (LEAST, LEAST)
    verdicts.note("d", "host", "truePositive", None)
    assert not verdicts.enough and verdicts.weight("d", "host") == Weight()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(["user", "host", ""]), VERDICTS, VERDICTS,
                          st.integers(1, 300)), max_size=12))  # fmt: skip
def test_a_factor_is_bounded_and_survives_being_written_down(
    rows: list[tuple[str, str, str | None, str | None, int]],
) -> None:
    verdicts = Verdicts(8)
    for detector, kind, before, after, times in rows:
        for _ in range(times):
            verdicts.note(detector, kind, before, after)
    again = Verdicts(8)
    again.load(verdicts.dump())
    for detector in "abcde":
        for kind in ("user", "host", ""):
            weight = verdicts.weight(detector, kind)
            assert 0.5 <= weight.factor <= 2 and min(weight.true, weight.other) >= 0
            assert weight == again.weight(detector, kind)


def test_verdicts_change_ranks_and_nothing_else() -> None:
    """The same incidents with the same alerts and links; all of it is in the engine's memory."""
    streams = noise(48, 6), attack("a", 40.2, "h3")
    plain, judged = tell(*streams), tell(*streams)
    incident = judged.incidents["a-0"]
    before = priority(incident, 0.0, judged.engine.memory.verdicts)
    assert before == priority(plain.incidents["a-0"], 0.0)
    for number in range(LEAST):
        detector = "a step 0" if number < LEAST // 2 else "else"
        steps = judged.engine.tell(Judged(detector, "host", None, "falsePositive" if number % 2 else "truePositive"))
        assert not steps or judged.engine.memory.verdicts.enough
    for _ in range(LEAST):
        judged.engine.tell(Judged("a step 0", "host", None, "falsePositive"))
    kept = Memory.load(judged.engine.memory.dump())
    score, parts = priority(incident, 0.0, kept.verdicts)
    assert parts["bits"] < before[1]["bits"] and 0 < score <= before[0]
    assert [each["bits"] for each in parts["detectors"]] == [each["bits"] for each in before[1]["detectors"]]
    more = attack("a", 40.5, "h3", 8)
    for each in more:
        plain.engine.take(each)
        judged.engine.take(each)
    ours, theirs = plain.engine.memory, judged.engine.memory
    assert {k: (i.state, i.folds, i.bits) for k, i in ours.incidents.items()} == {
        k: (i.state, i.folds, i.bits) for k, i in theirs.incidents.items()
    }
