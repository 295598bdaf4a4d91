"""What is learned of verdicts: bounded, monotone, each tenant's own, and never against a proven fact."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.identity.streams import DAY, MAC, START, quiet, sign_in

from bartizan.extend.detections import Finding
from bartizan.identity.engine import Feedback, Result, State
from bartizan.identity.events import sign_in as read
from bartizan.identity.verdicts import KEPT, LEAST, LEAST_OF, MOST, MOST_OF, Learned, correct
from bartizan.identity.view import View
from bartizan.intel import Intel

KINDS = ("newCountry", "unlikelyTravel", "anomalousToken", "place", "device")
words = st.lists(
    st.tuples(st.sets(st.sampled_from(KINDS), min_size=1), st.floats(0, 9), st.booleans()), min_size=LEAST, max_size=80
)
evidences = st.dictionaries(st.sampled_from(KINDS), st.floats(0.01, 4))


def learned_of(verdicts: list[tuple[set[str], float, bool]]) -> Learned:
    made = Learned()
    for kinds, score, compromised in verdicts:
        made.train(sorted(kinds), score, compromised)
    return made


@given(words, evidences)
def test_a_correction_is_bounded(verdicts: list[Any], evidence: dict[str, float]) -> None:
    learned = learned_of(verdicts)
    total, parts = learned.correction(evidence, False)
    assert -MOST <= total <= MOST
    assert all(-(1 - KEPT) * evidence[kind] - 0.001 <= part <= MOST_OF for kind, part in parts.items())
    assert learned.correction(evidence, True)[0] >= 0, "a proven fact is not lowered"


@given(words, evidences, st.sampled_from(KINDS), st.floats(0.01, 4))
def test_more_evidence_is_more_risk(verdicts: list[Any], evidence: dict[str, float], kind: str, odds: float) -> None:
    """Whatever has been said of that kind of evidence."""
    learned = learned_of(verdicts)
    less = {name: value for name, value in evidence.items() if name != kind}
    more = {**less, kind: odds}
    before, after = (sum(each.values()) + learned.correction(each, False)[0] for each in (less, more))
    assert after >= before - 0.002  # parts are rounded


@given(words, evidences, st.sets(st.sampled_from(KINDS), min_size=1), st.floats(0, 9))
def test_a_verdict_moves_its_like_to_its_side_only(
    verdicts: list[Any], evidence: dict[str, float], kinds: set[str], score: float
) -> None:
    def after(*more: tuple[set[str], float, bool]) -> float:
        learned = learned_of([*verdicts, *more])
        for each in learned.of.values():  # whether there are enough verdicts is another question
            each.safe = max(each.safe, LEAST_OF)
        return learned.correction(evidence, False)[0]

    # Kinds of which nothing was said before are in none of the three.
    for kind in [kind for kind in evidence if all(kind not in each[0] for each in verdicts)]:
        del evidence[kind]
    now = after()
    assert after((kinds, score, False)) <= now + 0.002
    assert after((kinds, score, True)) >= now - 0.002


def test_nothing_is_corrected_before_there_are_enough_verdicts() -> None:
    learned = Learned()
    for _ in range(LEAST - 1):
        learned.train(["newCountry"], 4.0, False)
    assert learned.correction({"newCountry": 1.5}, False) == (0.0, {})
    learned.train(["newCountry"], 4.0, False)
    total, parts = learned.correction({"newCountry": 1.5}, False)
    assert total == parts["newCountry"] < 0
    assert learned.correction({"unlikelyTravel": 1.5}, False) == (0.0, {}), "of that nobody has said anything"


def test_the_findings_say_what_was_learned() -> None:
    learned = learned_of([({"newCountry", "place"}, 4.0, False)] * 30)
    view = View()
    view.place, view.device = 2.8, 0.0
    findings = [
        Finding("unfamiliarFeatures", 4.6, {}, parts={"place": 2.8}),
        Finding("newCountry", 1.0, {"country": "BR"}),
    ]
    total = correct(learned, view, findings)
    said = findings[0].reasons["learned"]["place"]
    assert (said["confirmedSafe"], said["confirmedCompromised"]) == (30, 0)
    other = findings[1].reasons["learned"]["newCountry"]
    assert findings[1].reasons["country"] == "BR"
    assert total == said["logOdds"] + other["logOdds"] < 0


# ------------------------------------------------------------ in the engine

AWAY = {"asn": 65551, "country": "BR", "city": "Recife", "place": (-8.05, -34.9), "agent": MAC}


def state_after(verdict: str, people: int = 30) -> State:
    """Thirty people of whom most have been to Brazil, each with a person's word on it."""
    state = State(Intel(), {})
    for each in quiet(people + 1, 12):
        state.step(read(each))
    for n in range(people):
        at = START + 12 * DAY + n * 60
        state.step(read(sign_in(f"away-{n}", at, f"u{n}", address=f"203.0.{n}.66", session=f"b{n}", **AWAY)))
        if verdict:
            state.step(Feedback(f"w{n}", at + 1, f"u{n}", verdict, f"away-{n}"))
            state.step(Feedback(f"v{n}", at + 2, f"u{n}", verdict, f"away-{n}"))  # the same word once more
    return state


def last(state: State) -> Result:
    at = START + 12.5 * DAY
    event = read(sign_in("last", at, "u30", address="203.0.200.9", session="x", **AWAY))
    return state.step(event)[0]


def test_a_tenant_whose_people_travel_is_alerted_less_and_one_under_attack_more() -> None:
    plain, safe, compromised = (last(state_after(verdict)) for verdict in ("", "safe", "compromised"))
    assert plain.score - MOST <= safe.score < plain.score < compromised.score <= plain.score + MOST
    assert safe.parts["learned"] < 0 < compromised.parts["learned"]
    assert "learned" not in plain.parts
    learned = state_after("safe").learned
    assert learned is not None and learned.verdicts == 30, "one for each sign-in, however often it is said"
    assert all("learned" in each.reasons for each in safe.findings if each.type == "unfamiliarFeatures")


def test_what_one_tenant_says_changes_nothing_for_another_nor_where_it_is_off() -> None:
    state_after("safe")
    assert last(state_after("")).score == last(state_after("dismissed")).score
    off = State(Intel(), {})
    off.learned = None
    for each in quiet(4, 12):
        off.step(read(each))
    off.step(Feedback("w", START + 12 * DAY, "u1", "safe", "q-1-1-1"))
    assert off.learned is None
