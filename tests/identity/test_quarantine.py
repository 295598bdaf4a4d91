"""What is not learned of a risky sign-in, and until when."""

from typing import Any

from tests.identity.streams import DAY, MAC, START, WINDOWS, sign_in

from bartizan.identity.engine import RISKY, Feedback, State
from bartizan.identity.events import sign_in as read
from bartizan.intel import Intel

ABROAD = {
    "address": "203.0.113.5",
    "asn": 65551,
    "country": "BR",
    "city": "Recife",
    "place": (-8.05, -34.9),
    "agent": MAC,
}
AWAY = START + 20 * DAY


def at_home() -> State:
    """Twenty days of one person."""
    state = State(Intel(), {})
    for day in range(20):
        state.step(read(sign_in(f"h{day}", START + day * DAY + 9 * 3_600, "u1", session=f"s{day}")))
    return state


def score(state: State, id: str, at: float, **more: Any) -> float:
    return state.step(read(sign_in(id, at, "u1", **{**ABROAD, **more})))[0].score


def test_a_way_that_comes_all_week_is_known_in_the_end() -> None:
    """However often it comes on a day."""
    state = at_home()
    scores = [score(state, f"a{n}", AWAY + n * DAY / 6, session=f"a{n}") for n in range(6 * 9)]
    assert min(scores[: 6 * 7]) >= RISKY
    assert max(scores[-6:]) < 0


def test_a_way_that_came_once_is_known_after_a_quiet_week() -> None:
    state = at_home()
    assert score(state, "a", AWAY) >= RISKY
    assert score(state, "b", AWAY + 8 * DAY) < 0


def test_a_word_on_one_sign_in_is_a_word_on_its_session() -> None:
    """The first of the session is held; somebody confirms a later one."""
    state = at_home()
    for n in range(3):
        assert score(state, f"a{n}", AWAY + n * 600, session="theirs") >= RISKY
    state.step(Feedback("word", AWAY + 3_600, "u1", "safe", "a2"))
    assert score(state, "later", AWAY + 2 * DAY, session="theirs") < 0


def test_a_word_on_one_sign_in_says_nothing_of_another() -> None:
    state = at_home()
    assert score(state, "a", AWAY, session="one") >= RISKY
    assert score(state, "b", AWAY + 600, session="two", address="192.0.2.5", asn=65540, country="NG") >= RISKY
    state.step(Feedback("word", AWAY + 3_600, "u1", "safe", "b"))
    assert score(state, "later", AWAY + 2 * DAY, session="one") >= RISKY


def test_what_goes_on_with_a_moved_session_is_told_as_such() -> None:
    """A day later, when the way could have been travelled."""
    state, stolen = at_home(), START + 19 * DAY + 10 * 3_600
    there = {**ABROAD, "agent": WINDOWS, "session": "s19", "interactive": False}
    (first,) = state.step(read(sign_in("first", stolen, "u1", **there)))
    assert first.score >= RISKY
    assert {"anomalousToken", "unlikelyTravel"} <= {each.type for each in first.findings}
    (later,) = state.step(read(sign_in("later", stolen + DAY, "u1", **there)))
    told = next(each for each in later.findings if each.reasons.get("continues") == "first")
    assert (told.type, told.reasons["by"]) == ("anomalousToken", "session")


def test_its_owner_goes_on_with_a_session_where_it_was_before() -> None:
    """At a place that is not yet known for long, on the day on which somebody uses the session elsewhere."""
    state = at_home()
    trip = {"address": "198.51.100.9", "asn": 65552, "country": "SE", "city": "Lund", "place": (55.7, 13.2)}
    there = {**trip, "agent": WINDOWS, "session": "s19"}
    (before,) = state.step(read(sign_in("before", AWAY, "u1", **there)))
    assert before.score < RISKY
    (stolen,) = state.step(read(sign_in("stolen", AWAY + 3_600, "u1", **{**ABROAD, "session": "s19"})))
    assert stolen.score >= RISKY
    (owner,) = state.step(read(sign_in("owner", AWAY + 7_200, "u1", **there)))
    assert owner.score < RISKY
    (thief,) = state.step(read(sign_in("thief", AWAY + 9_000, "u1", **{**ABROAD, "session": "s19"})))
    assert thief.score >= RISKY


def test_what_a_session_inherits_fades_with_the_days() -> None:
    state = at_home()
    first = score(state, "first", AWAY, session="one", agent=WINDOWS)
    elsewhere = {"address": "198.51.100.9", "asn": 65552, "country": "SE", "city": "Lund", "place": (55.7, 13.2)}
    later = [score(state, f"l{n}", AWAY + n * DAY, session="one", **elsewhere, agent=WINDOWS) for n in (1, 6)]
    assert first > later[0] > later[1]
