"""Handling of an alert through two faces: status, verdict, assignee, comments, tags."""

from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bartizan.errors import BadRequest
from bartizan.model import faces, workflow
from bartizan.model.alert import Alert
from bartizan.model.faces import AlertState
from bartizan.model.graph import AlertFeedback
from bartizan.model.graph import AlertStatus as LegacyStatus
from bartizan.model.security import AlertClassification, AlertDetermination, AlertStatus
from bartizan.model.workflow import Who, Words

ANN = Who("app-1", "ann@example.org", "Ann")
BOB = Who("app-2")
T0, T1, T2, T3 = (f"2026-11-23T0{hour}:00:00.0000000Z" for hour in range(4))
STATUSES = get_args(AlertStatus)
CLASSIFICATIONS = (None, *get_args(AlertClassification))
LEGACY_STATUSES = get_args(LegacyStatus)
FEEDBACKS = (None, *get_args(AlertFeedback))


def alert(**more: Any) -> Alert:
    given: dict[str, Any] = {"vendor": "V", "product": "P", "provider_alert_id": "1", "title": "T", "severity": "low"}
    return Alert(**{**given, **more})


def state(**more: Any) -> AlertState:
    return faces.provider_faces(alert(**more), "tenant", T0)


def today(of: AlertState) -> dict[str, Any]:
    return faces.today(of)


def old(of: AlertState) -> dict[str, Any]:
    return faces.of_old(of)


TABLE = [
    # legacy status, feedback, status, classification: what one face shows when the other says so
    ("newAlert", None, "new", None),
    ("newAlert", "truePositive", "new", "truePositive"),
    ("newAlert", "unknown", "new", "unknown"),
    ("inProgress", None, "inProgress", None),
    ("inProgress", "benignPositive", "inProgress", "informationalExpectedActivity"),
    ("resolved", None, "resolved", None),
    ("resolved", "truePositive", "resolved", "truePositive"),
    ("dismissed", "falsePositive", "resolved", "falsePositive"),
    ("dismissed", "benignPositive", "resolved", "informationalExpectedActivity"),
    ("unknown", None, "unknown", None),
    ("unknownFutureValue", "unknownFutureValue", "unknownFutureValue", "unknownFutureValue"),
]


@pytest.mark.parametrize(("legacy_status", "feedback", "status", "classification"), TABLE)
def test_pairs_of_the_table_mean_each_other(
    legacy_status: str, feedback: str | None, status: str, classification: str | None
) -> None:
    assert workflow.to_today(legacy_status, feedback) == (status, classification)
    assert workflow.to_legacy(status, classification) == (legacy_status, feedback)


@pytest.mark.parametrize(("status", "classification"), list(product(STATUSES, CLASSIFICATIONS)))
def test_every_pair_of_today_survives_to_legacy_and_back(status: str, classification: str | None) -> None:
    assert workflow.to_today(*workflow.to_legacy(status, classification)) == (status, classification)


@pytest.mark.parametrize(("status", "feedback"), list(product(LEGACY_STATUSES, FEEDBACKS)))
def test_every_legacy_pair_survives_to_today_and_back(status: str, feedback: str | None) -> None:
    """What a legacy client says, it reads again, although today's face has fewer words."""
    after = faces.apply_legacy(state(), {"status": status, "feedback": feedback}, ANN, T1)
    assert (old(after)["status"], old(after)["feedback"]) == (status, feedback)
    shown = {"status": today(after)["status"], "classification": today(after)["classification"]}
    again = faces.apply_v2(after, shown, BOB, T2)
    assert (old(again)["status"], old(again)["feedback"]) == (status, feedback)


def test_dismissed_stays_while_todays_alert_stays_resolved() -> None:
    after = faces.apply_legacy(state(), {"status": "dismissed"}, ANN, T1)
    assert today(after)["status"] == "resolved"
    assert today(after)["classification"] == "falsePositive"
    after = faces.apply_v2(after, {"assignedTo": "bob@example.org", "determination": "other"}, BOB, T2)
    assert old(after)["status"] == "dismissed"
    assert old(after)["feedback"] is None
    after = faces.apply_v2(after, {"classification": "truePositive"}, BOB, T3)
    assert (old(after)["status"], old(after)["feedback"]) == ("resolved", "truePositive")


def test_resolved_as_a_false_positive_through_the_legacy_face_stays_resolved_there() -> None:
    after = faces.apply_legacy(state(), {"status": "resolved", "feedback": "falsePositive"}, ANN, T1)
    after = faces.apply_v2(after, {"determination": "notMalicious"}, BOB, T2)
    assert (old(after)["status"], old(after)["feedback"]) == ("resolved", "falsePositive")
    assert (today(after)["status"], today(after)["classification"]) == ("resolved", "falsePositive")


def test_reopening_undoes_a_dismissal_and_its_closing_time() -> None:
    after = faces.apply_legacy(state(), {"status": "dismissed"}, ANN, T1)
    assert old(after)["closedDateTime"] == today(after)["resolvedDateTime"] == T1
    after = faces.apply_legacy(after, {"status": "newAlert"}, ANN, T2)
    assert (today(after)["status"], today(after)["classification"]) == ("new", None)
    assert old(after)["closedDateTime"] is None
    assert today(after)["resolvedDateTime"] is None


def test_a_closing_time_that_a_client_names_is_kept() -> None:
    after = faces.apply_legacy(state(), {"status": "resolved", "closedDateTime": T3}, ANN, T1)
    assert today(after)["resolvedDateTime"] == T3


def test_comments_of_both_faces_are_one_conversation() -> None:
    after = faces.apply_v2(state(), {"comments": {"comment": "one"}}, ANN, T1)
    after = faces.apply_legacy(after, {"comments": ["one", "two"]}, BOB, T2)
    after = faces.apply_legacy(after, {"comments": ["three"]}, BOB, T3)
    assert old(after)["comments"] == ["one", "two", "three"]
    assert today(after)["comments"] == [
        {"comment": "one", "createdByDisplayName": "Ann", "createdDateTime": T1},
        {"comment": "two", "createdByDisplayName": "app-2", "createdDateTime": T2},
        {"comment": "three", "createdByDisplayName": "app-2", "createdDateTime": T3},
    ]


def test_the_same_text_twice_is_two_comments() -> None:
    after = faces.apply_legacy(state(), {"comments": ["x", "x"]}, ANN, T1)
    assert faces.apply_legacy(after, {"comments": ["x", "x"]}, ANN, T2) is after
    assert old(faces.apply_legacy(after, {"comments": ["x", "x", "x"]}, ANN, T2))["comments"] == ["x", "x", "x"]


def test_too_many_comments_are_refused() -> None:
    with pytest.raises(BadRequest, match="at most"):
        faces.apply_legacy(state(), {"comments": ["x"] * (workflow.MAX_COMMENTS + 1)}, ANN, T1)


def test_tags_of_the_legacy_face_are_systemTags_without_techniques() -> None:
    given = state(tags=["a"], techniques=["T1059"], vendor_severity="Critical")
    assert old(given)["tags"] == ["a", "vendorSeverity:critical", "T1059"]
    assert today(given)["systemTags"] == ["a", "vendorSeverity:critical"]
    after = faces.apply_legacy(given, {"tags": ["mine"]}, ANN, T1)
    assert old(after)["tags"] == today(after)["systemTags"] == ["mine"]
    assert today(after)["mitreTechniques"] == ["T1059"]


@pytest.mark.parametrize(
    "patch", [{"title": "x"}, {"status": None}, {"severity": "high"}, {"feedback": "truePositive"}]
)
def test_what_cannot_be_changed_through_todays_face_is_named(patch: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match="|".join(patch)):
        faces.apply_v2(state(), patch, ANN, T1)


def test_legacy_clients_name_id_and_vendor_and_change_neither() -> None:
    given = state()
    patch = {"id": "other", "vendorInformation": {"vendor": "x", "provider": "y"}, "@odata.type": "#x"}
    assert faces.apply_legacy(given, patch, ANN, T1) is given


def test_each_change_of_an_analyst_is_an_entry_of_historyStates() -> None:
    after = faces.apply_v2(state(), {"status": "inProgress", "assignedTo": "bob@example.org"}, ANN, T1)
    after = faces.apply_legacy(after, {"status": "dismissed", "comments": ["why"]}, BOB, T2)
    nothing: dict[str, Any] = {"assignedTo": None, "comments": [], "feedback": None, "status": None}
    assert old(after)["historyStates"] == [
        {"appId": "app-1", **nothing, "assignedTo": "bob@example.org", "status": "inProgress"}
        | {"updatedDateTime": T1, "user": "ann@example.org"},
        {"appId": "app-2", **nothing, "comments": ["why"], "status": "dismissed", "updatedDateTime": T2, "user": None},
    ]


def test_history_is_bounded_and_counted() -> None:
    after = state()
    for number in range(workflow.MAX_HISTORY + 5):
        after = faces.apply_v2(after, {"assignedTo": f"a{number}"}, ANN, T1)
    assert len(old(after)["historyStates"]) == workflow.MAX_HISTORY
    assert old(after)["historyStates"][-1]["assignedTo"] == f"a{workflow.MAX_HISTORY + 4}"
    assert after.changes == workflow.MAX_HISTORY + 5


def test_a_repeat_of_a_change_changes_nothing() -> None:
    after = faces.apply_v2(state(), {"status": "resolved", "classification": "truePositive"}, ANN, T1)
    assert faces.apply_v2(after, {"status": "resolved"}, BOB, T2) is after
    assert faces.apply_legacy(after, {"feedback": "truePositive"}, BOB, T2) is after


# ---------------------------------------------------------------- providers


def later(before: AlertState, **more: Any) -> AlertState:
    return faces.revise(before, faces.provider_faces(alert(**more), "tenant", T2), T2)


def test_an_analysts_word_stays_when_the_provider_repeats_itself() -> None:
    before = faces.apply_v2(state(), {"status": "inProgress", "assignedTo": "ann@example.org"}, ANN, T1)
    after = later(before, description="more is known")
    assert today(after)["status"] == "inProgress"
    assert today(after)["assignedTo"] == "ann@example.org"
    assert today(after)["description"] == "more is known"


def test_a_provider_that_closes_wins_over_an_earlier_word_and_both_are_kept() -> None:
    before = faces.apply_v2(state(), {"status": "inProgress"}, ANN, T1)
    after = later(before, status="resolved", classification="falsePositive")
    assert (today(after)["status"], today(after)["classification"]) == ("resolved", "falsePositive")
    assert (old(after)["status"], old(after)["feedback"]) == ("dismissed", "falsePositive")
    assert today(after)["resolvedDateTime"] == T2
    assert after.analyst["status"] == "inProgress"
    assert after.provider.status == "resolved"


def test_the_analyst_wins_over_an_earlier_word_of_the_provider() -> None:
    before = later(state(), status="resolved")
    after = faces.apply_v2(before, {"status": "new"}, ANN, T3)
    assert today(after)["status"] == "new"
    assert faces.revise(after, state(status="resolved"), T3) is after
    reopened = later(after, status="resolved", description="said again")
    assert today(reopened)["status"] == "new"


@pytest.mark.parametrize("form", ["{text}", "Ann: {text}", "[Ann] {text}", "Ann via Bartizan: {text}"])
def test_a_comment_that_was_written_back_does_not_double(form: str) -> None:
    """It comes back from the provider as its text, or with its author before it, in every later record."""
    before = faces.apply_legacy(state(), {"comments": ["it was Bob", "it was Bob"]}, ANN, T1)
    theirs = [form.format(text="it was Bob")] * 2
    after = later(before, legacy={"comments": theirs})
    assert old(after)["comments"] == ["it was Bob"] * 2
    more = later(after, legacy={"comments": [*theirs, form.format(text="it was Bob"), "so: it was Bob"]}, title="t2")
    assert old(more)["comments"] == ["it was Bob"] * 2 + [form.format(text="it was Bob"), "so: it was Bob"]
    assert (
        old(later(more, legacy={"comments": [*theirs, "so: it was Bob"]}, title="t3"))["comments"]
        == (old(more)["comments"])
    )


def test_tags_and_comments_of_both_sides_stay() -> None:
    before = faces.apply_legacy(state(tags=["a", "b"]), {"tags": ["a", "mine"], "comments": ["x"]}, ANN, T1)
    after = later(before, tags=["b", "c"], legacy={"comments": ["theirs"]})
    assert old(after)["tags"] == ["mine", "c"]
    assert old(after)["comments"] == ["x", "theirs"]


def test_a_legacy_provider_may_dismiss() -> None:
    given = state(legacy={"status": "dismissed", "feedback": "benignPositive", "closedDateTime": T1})
    assert (today(given)["status"], today(given)["classification"]) == ("resolved", "informationalExpectedActivity")
    assert (old(given)["status"], old(given)["closedDateTime"]) == ("dismissed", T1)
    after = later(given, legacy={"status": "resolved", "feedback": "benignPositive"})
    assert old(after)["status"] == "resolved"


TEXT = st.text(alphabet="abä☃ ", max_size=4)
V2_PATCH = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(STATUSES),
        "classification": st.sampled_from(CLASSIFICATIONS),
        "determination": st.sampled_from((None, *get_args(AlertDetermination))),
        "assignedTo": st.none() | TEXT,
        "comments": st.lists(st.fixed_dictionaries({"comment": TEXT}), max_size=3),
        "systemTags": st.lists(TEXT, max_size=3, unique=True),
    },
)
LEGACY_PATCH = st.fixed_dictionaries(
    {},
    optional={
        "status": st.sampled_from(LEGACY_STATUSES),
        "feedback": st.sampled_from(FEEDBACKS),
        "assignedTo": st.none() | TEXT,
        "comments": st.lists(TEXT, max_size=3),
        "tags": st.lists(TEXT, max_size=3, unique=True),
    },
)
PROVIDER = st.fixed_dictionaries(
    {"description": TEXT},
    optional={
        "status": st.sampled_from(["new", "inProgress", "resolved"]),
        "classification": st.sampled_from(CLASSIFICATIONS),
        "assigned_to": st.none() | TEXT,
        "tags": st.lists(TEXT, max_size=3, unique=True),
    },
)
STEPS = st.lists(
    st.tuples(st.just("v2"), V2_PATCH)
    | st.tuples(st.just("legacy"), LEGACY_PATCH)
    | st.tuples(st.just("provider"), PROVIDER),
    max_size=8,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_both_faces_always_mean_the_same_and_show_the_latest_word(steps: list[tuple[str, dict[str, Any]]]) -> None:
    current = state()
    for kind, patch in steps:
        before = current
        if kind == "provider":
            current = later(current, **patch)
        elif kind == "v2":
            current = faces.apply_v2(current, patch, ANN, T1)
            for name in ("status", "classification", "determination", "assignedTo"):
                assert today(current)[name] == patch.get(name, today(before)[name])
        else:
            current = faces.apply_legacy(current, patch, ANN, T1)
            for name in ("status", "feedback", "assignedTo"):
                assert old(current)[name] == patch.get(name, old(before)[name])
        assert workflow.agree(current.now)
        assert old(current)["assignedTo"] == today(current)["assignedTo"]
        assert old(current)["comments"] == [one["comment"] for one in today(current)["comments"]]
        assert old(current)["comments"][: len(old(before)["comments"])] == old(before)["comments"]
        assert (old(current)["closedDateTime"] is not None) == (today(current)["status"] == "resolved")
        assert faces.decode(faces.encode(current)) == current


def test_words_of_both_faces_are_reachable_from_each_other() -> None:
    """No pair of either face is a dead end: a change back always works."""
    for status, classification in product(STATUSES, CLASSIFICATIONS):
        words = workflow.settled(Words(status=status, classification=classification), by_legacy=False)
        assert workflow.agree(words)
