"""The life of risk as a table: what each event does to a sign-in, its detections, and its user."""

import pytest

from bartizan.identity.risk import (
    ACTIONS,
    Active,
    aggregate,
    decided,
    decision_of,
    detection_after,
    sign_in_after,
    user_after,
)

DAY = 86_400.0
AT_RISK = {"riskState": "atRisk", "riskLevel": "medium", "riskLevelAggregated": "medium", "riskDetail": "none"}


@pytest.mark.parametrize(
    ("name", "sign_in", "detection", "user", "detail"),
    [
        ("confirmSignInSafe", ("confirmedSafe", "none"), "confirmedSafe", ("none", "none"), "adminConfirmedSigninSafe"),
        ("confirmSignInCompromised", ("confirmedCompromised", "high"), "confirmedCompromised", None,
         "adminConfirmedSigninCompromised"),
        ("dismissSignIn", ("dismissed", "none"), "dismissed", ("dismissed", "none"), "adminDismissedRiskForSignIn"),
        ("confirmUserCompromised", None, None, ("confirmedCompromised", "high"), "adminConfirmedUserCompromised"),
        ("confirmUserSafe", ("confirmedSafe", "none"), "confirmedSafe", ("confirmedSafe", "none"),
         "adminConfirmedAccountSafe"),
        ("dismissUser", ("dismissed", "none"), "dismissed", ("dismissed", "none"), "adminDismissedAllRiskForUser"),
        ("passedMultifactor", ("remediated", None), "remediated", ("remediated", "none"),
         "userPassedMFADrivenByRiskBasedPolicy"),
        ("securePasswordChange", ("remediated", None), "remediated", ("remediated", "none"),
         "userPerformedSecuredPasswordChange"),
        ("securePasswordReset", ("remediated", None), "remediated", ("remediated", "none"),
         "userPerformedSecuredPasswordReset"),
        ("onPremisesPasswordChange", ("remediated", None), "remediated", ("remediated", "none"),
         "userChangedPasswordOnPremises"),
        ("withdrawn", ("dismissed", "none"), "dismissed", ("none", "none"), "aiConfirmedSigninSafe"),
    ],
)  # fmt: skip
def test_what_stood_follows_the_table(
    name: str,
    sign_in: tuple[str, str | None] | None,
    detection: str | None,
    user: tuple[str, str] | None,
    detail: str,
) -> None:
    action = ACTIONS[name]
    assert decision_of(detail) is action
    after = sign_in_after(action, AT_RISK)
    if sign_in is None:
        assert after == {}
    else:
        state, level = sign_in
        assert after["riskState"] == state
        assert after.get("riskLevelAggregated") == level
        assert after["riskDetail"] == detail
    changed = detection_after(action, AT_RISK)
    assert changed.get("riskState") == detection
    if user is not None:  # none of the user's detections stands any more
        moved = {**AT_RISK, **user_after(action, AT_RISK, "none")}
        assert (moved["riskState"], moved["riskLevel"]) == user


def test_safe_trains_and_dismissal_does_not() -> None:
    assert ACTIONS["confirmUserSafe"].trains == ACTIONS["confirmSignInSafe"].trains == "safe"
    assert not ACTIONS["dismissUser"].trains
    assert not ACTIONS["dismissSignIn"].trains


@pytest.mark.parametrize("state", ["confirmedSafe", "dismissed", "remediated", "confirmedCompromised"])
def test_what_was_decided_stays(state: str) -> None:
    risk = {"riskState": state, "riskDetail": "adminDismissedAllRiskForUser"}
    assert decided(risk)
    assert not decided({**risk, "riskDetail": "aiConfirmedSigninSafe"})
    assert not decided(AT_RISK)


def test_new_risk_after_a_dismissal_counts() -> None:
    dismissed = {"riskState": "dismissed", "riskLevel": "none", "riskDetail": "adminDismissedAllRiskForUser"}
    after = user_after(None, dismissed, "medium")
    assert (after["riskState"], after["riskLevel"], after["riskDetail"]) == ("atRisk", "medium", "none")


def test_a_confirmed_compromise_stays_until_somebody_says_otherwise() -> None:
    compromised = {"riskState": "confirmedCompromised", "riskLevel": "high", "riskDetail": "x"}
    assert user_after(None, compromised, "low") == {}
    assert user_after(None, compromised, "none") == {}


def test_detections_add_up() -> None:
    def low(n: int, age: float = 0.0) -> Active:
        return Active("low", 1e9 - age, str(n))

    assert aggregate([], 1e9) == "none"
    assert aggregate([low(1)], 1e9) == "low"
    assert aggregate([low(n) for n in range(4)], 1e9) == "medium"
    assert aggregate([low(1), low(1), low(1), low(1)], 1e9) == "low"  # of one sign-in they count once
    assert aggregate([Active("medium", 0.0, str(n)) for n in range(3)], 1e9) == "high"
    assert aggregate([low(1, 179 * DAY)], 1e9) == "low"
    assert aggregate([low(1, 181 * DAY)], 1e9) == "none"
    assert aggregate([Active("medium", 0.0, "old")], 1e9) == "medium"  # medium does not age
