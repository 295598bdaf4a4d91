"""The life of risk: what each event does to a sign-in, to its detections and to its user or workload.

Pure: states in, changes out. Who writes them is `identity.outcome`.

Source: Microsoft Entra ID Protection, "What are risk detections?", "Give risk feedback", "Remediate risks and unblock
users"; Microsoft Graph, riskState and riskDetail.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from msgspec import Struct

from bartizan.identity.events import DAY

Level = Literal["none", "low", "medium", "high"]
LEVELS: tuple[Level, ...] = ("none", "low", "medium", "high")
RANK: Mapping[str, int] = {level: at for at, level in enumerate(LEVELS)}
STANDING = ("atRisk", "confirmedCompromised")  # states of what counts

AI_SAFE = "aiConfirmedSigninSafe"
LOW_ENDS_S = 180 * DAY  # low risk ages out
LOW_HALF_LIFE_S = 30 * DAY
# Chance that a detection of the level tells of an attack, as it adds up with others of the principal; by judgement:
# four low ones within days are medium, three medium ones high.
_ODDS: Mapping[str, float] = {"low": 0.15, "medium": 0.45, "high": 0.85}
_BARS: tuple[tuple[Level, float], ...] = (("high", 0.8), ("medium", 0.4))


class Active(Struct, frozen=True):
    """A detection that stands."""

    level: str
    at: float  # seconds since 1970
    sign_in: str = ""


class Decision(Struct, frozen=True):
    """What an event does. Of the user: `user` is (state, level), or None where it is what the detections that stand add
    up to, and (left, none) once none does."""

    name: str
    sign_in: str | None  # state of the sign-in
    level: Level | None  # of the sign-in from now on; None: as it is
    detections: str  # state of detections that stood
    user: tuple[str, Level] | None
    detail: str
    left: str = "none"
    adds: str = ""  # type of a detection that is added, high
    trains: str = ""  # what the engine is told: safe, compromised, remediated


ACTIONS: Mapping[str, Decision] = {
    each.name: each
    for each in (
        Decision("confirmSignInSafe", "confirmedSafe", "none", "confirmedSafe", None, "adminConfirmedSigninSafe",
                 trains="safe"),
        Decision("confirmSignInCompromised", "confirmedCompromised", "high", "confirmedCompromised", None,
                 "adminConfirmedSigninCompromised", adds="adminConfirmedUserCompromised", trains="compromised"),
        Decision("dismissSignIn", "dismissed", "none", "dismissed", None, "adminDismissedRiskForSignIn",
                 left="dismissed"),
        Decision("confirmUserCompromised", None, None, "atRisk", ("confirmedCompromised", "high"),
                 "adminConfirmedUserCompromised", adds="adminConfirmedUserCompromised", trains="compromised"),
        Decision("confirmUserSafe", "confirmedSafe", "none", "confirmedSafe", ("confirmedSafe", "none"),
                 "adminConfirmedAccountSafe", trains="safe"),
        Decision("dismissUser", "dismissed", "none", "dismissed", ("dismissed", "none"),
                 "adminDismissedAllRiskForUser"),
        Decision("passedMultifactor", "remediated", None, "remediated", None, "userPassedMFADrivenByRiskBasedPolicy",
                 left="remediated", trains="remediated"),
        Decision("securePasswordChange", "remediated", None, "remediated", ("remediated", "none"),
                 "userPerformedSecuredPasswordChange", trains="remediated"),
        Decision("securePasswordReset", "remediated", None, "remediated", ("remediated", "none"),
                 "userPerformedSecuredPasswordReset", trains="remediated"),
        Decision("temporaryPassword", "remediated", None, "remediated", ("remediated", "none"),
                 "adminGeneratedTemporaryPassword", trains="remediated"),
        Decision("onPremisesPasswordChange", "remediated", None, "remediated", ("remediated", "none"),
                 "userChangedPasswordOnPremises", trains="remediated"),
        Decision("withdrawn", "dismissed", "none", "dismissed", None, AI_SAFE),
        Decision("aged", None, None, "none", None, "none"),
        Decision("confirmWorkloadCompromised", None, None, "atRisk", ("confirmedCompromised", "high"),
                 "adminConfirmedServicePrincipalCompromised", adds="adminConfirmedServicePrincipalCompromised",
                 trains="compromised"),
        Decision("dismissWorkload", "dismissed", "none", "dismissed", ("dismissed", "none"),
                 "adminDismissedAllRiskForServicePrincipal"),
    )
}  # fmt: skip
_BY_DETAIL = {each.detail: each for each in ACTIONS.values() if each.detail != "none"}


def decision_of(detail: str | None) -> Decision | None:
    """The event that a riskDetail tells of."""
    return _BY_DETAIL.get(detail or "")


def decided(risk: Mapping[str, Any]) -> bool:
    """By a person, or by what the user did: the engine changes nothing of it. What the engine has taken back it may
    bring again."""
    if risk.get("riskState") in (None, "none", "atRisk"):
        return False
    return risk.get("riskDetail") != AI_SAFE


def sign_in_after(action: Decision, before: Mapping[str, Any]) -> dict[str, Any]:
    """What changes of a sign-in; {} where the event is nothing to it."""
    if action.sign_in is None:
        return {}
    by_name = action.name in ("confirmSignInSafe", "confirmSignInCompromised", "dismissSignIn")
    if not by_name and before.get("riskState") not in STANDING:
        return {}  # of all of a user only what stands
    after: dict[str, Any] = {"riskState": action.sign_in, "riskDetail": action.detail}
    if action.level is not None:
        after["riskLevelAggregated"] = action.level
    return _changes(before, after)


def detection_after(action: Decision, before: Mapping[str, Any]) -> dict[str, Any]:
    state = before.get("riskState")
    if action.name == "aged" and before.get("riskLevel") != "low":
        return {}
    undone = action.name.startswith("confirmSignIn") and state in ("confirmedSafe", "confirmedCompromised")
    if state not in STANDING and not undone:
        return {}
    if action.detections == "atRisk":
        return {}
    return _changes(before, {"riskState": action.detections, "riskDetail": action.detail})


def user_after(action: Decision | None, before: Mapping[str, Any], standing: Level) -> dict[str, Any]:
    """Of a risky user or service principal, where its standing detections add up to `standing`. Without an action they
    have changed by the engine alone."""
    if action is not None and action.user is not None:
        state, level = action.user
        return _changes(before, {"riskLevel": level, "riskState": state, "riskDetail": action.detail})
    if standing != "none":
        if before.get("riskState") == "confirmedCompromised":
            return {}  # until somebody says otherwise
        return _changes(before, {"riskLevel": standing, "riskState": "atRisk", "riskDetail": "none"})
    if before.get("riskState") not in STANDING:
        return {}
    if before.get("riskState") == "confirmedCompromised" and action is None:
        return {}
    state, detail = ("none", "none") if action is None else (action.left, action.detail)
    return _changes(before, {"riskLevel": "none", "riskState": state, "riskDetail": detail})


def aggregate(active: Iterable[Active], at: float) -> Level:
    """Noisy-or over the detections that stand; those of one sign-in count once. Never below the highest of them."""
    best: dict[str, tuple[int, float]] = {}
    for number, each in enumerate(active):
        odds = _ODDS.get(each.level, 0.0)
        if each.level == "low":
            age = at - each.at
            if age >= LOW_ENDS_S:
                continue
            odds *= 0.5 ** (max(0.0, age) / LOW_HALF_LIFE_S)
        key = each.sign_in or f"\0{number}"
        rank = RANK.get(each.level, 0)
        before = best.get(key, (0, 0.0))
        best[key] = (max(rank, before[0]), max(odds, before[1]))
    if not best:
        return "none"
    none = 1.0
    for _, odds in best.values():
        none *= 1.0 - odds
    floor = max(rank for rank, _ in best.values())
    reached = next((level for level, bar in _BARS if 1.0 - none >= bar), "none")
    return LEVELS[max(floor, RANK[reached])]


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in after.items() if before.get(name) != value}
