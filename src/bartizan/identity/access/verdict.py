"""Conditional access: what a tenant's policies say of one sign-in. Pure.

Every policy that applies and is enabled must be satisfied; one that blocks wins over all others; of several that
demand something all is demanded together, and of their session controls the strictest. Policies for reporting only say
what they would have done and change nothing. A policy with a condition that this server cannot tell of counts as
applying where all its other conditions hold: what it demands is demanded, and it is named as not evaluated.

Source: Microsoft Entra, "Building a Conditional Access policy", "Conditional Access: Grant", "Conditional Access:
Session"; Microsoft Graph, appliedConditionalAccessPolicyResult and whatIfAnalysisResult.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from bartizan.identity.access.conditions import Check, Facts, Inner, Locations, Missed, compile_conditions

ENABLED, REPORTED = "enabled", "enabledForReportingButNotEnforced"

# What a user can do at once, easiest first; then what he cannot. Where one of several suffices, the first is asked for.
_INTERACTIVE: Mapping[str, str] = {
    "mfa": "requireMultifactorAuthentication",
    "authenticationStrength": "requireAuthenticationStrength",
    "customAuthenticationFactor": "requireCustomAuthenticationFactor",
    "passwordChange": "requirePasswordChange",
    "riskRemediation": "requireRiskRemediation",
    "termsOfUse": "requireTermsOfUse",
}
_FIXED: Mapping[str, str] = {
    "compliantDevice": "requireCompliantDevice",
    "domainJoinedDevice": "requireDomainJoinedDevice",
    "approvedApplication": "requireApprovedApplication",
    "compliantApplication": "requireCompliantApplication",
}
_EASE = (*_INTERACTIVE, *_FIXED)
_STEPS = (*_FIXED, *_INTERACTIVE)  # what cannot be done now is said first: all else would be in vain
DECISIONS: Mapping[str, str] = {**_FIXED, **_INTERACTIVE}
BUILT_IN = frozenset(
    "block mfa compliantDevice domainJoinedDevice approvedApplication compliantApplication passwordChange "
    "riskRemediation".split()
)
NAMED = ("authenticationStrength", "customAuthenticationFactor", "termsOfUse")  # controls with an id: termsOfUse:ID


class Risk(Struct, frozen=True):
    """Levels of riskLevel (`none`, `low`, `medium`, `high`): of this sign-in, and of who signs in."""

    sign_in_level: str = "none"
    user_level: str = "none"
    reasons: tuple[str, ...] = ()


# ---------------------------------------------------------------- a policy


class Policy(Struct, frozen=True):
    """A policy, compiled."""

    id: str
    name: str | None
    state: str
    checks: tuple[Check, ...]
    unreadable: tuple[str, ...]
    any_control: bool  # one of `controls` suffices
    controls: tuple[str, ...]  # such as mfa, termsOfUse:ID
    session: Mapping[str, Any]  # enabled conditionalAccessSessionControls, inner form

    @property
    def blocks(self) -> bool:
        return "block" in self.controls


def policy_of(row: Inner, locations: Locations) -> Policy:
    checks, unreadable = compile_conditions(row.get("conditions") or {}, locations)
    grant = row.get("grantControls") or {}
    return Policy(
        str(row["id"]),
        row.get("displayName"),
        str(row.get("state")),
        tuple(checks),
        tuple(unreadable),
        str(grant.get("operator") or "OR").upper() == "OR",
        controls_of(grant),
        session_of(row.get("sessionControls") or {}),
    )


def controls_of(grant: Inner) -> tuple[str, ...]:
    found = [str(each) for each in grant.get("builtInControls") or ()]
    found += [f"customAuthenticationFactor:{each}" for each in grant.get("customAuthenticationFactors") or ()]
    found += [f"termsOfUse:{each}" for each in grant.get("termsOfUse") or ()]
    strength = grant.get("authenticationStrength")
    if strength:
        found.append(f"authenticationStrength:{strength.get('id') or strength.get('displayName')}")
    return tuple(found)


def session_of(session: Inner) -> dict[str, Any]:
    return {name: value for name, value in session.items() if _on(name, value)}


def _on(name: str, value: Any) -> bool:
    if not isinstance(value, Mapping):
        return value is True
    if name == "continuousAccessEvaluation":  # has no isEnabled
        return value.get("mode") is not None
    return value.get("isEnabled") is True


# ---------------------------------------------------------------- one policy, one sign-in


class Outcome(Struct, frozen=True):
    """What one policy says. `missed` is why it does not apply: empty where it does."""

    policy: Policy
    result: str  # a member of appliedConditionalAccessPolicyResult
    missed: tuple[Missed, ...]

    @property
    def applies(self) -> bool:
        return not self.missed

    @property
    def enforced(self) -> bool:
        return self.applies and self.policy.state == ENABLED


def outcome_of(policy: Policy, facts: Facts, satisfied: frozenset[str]) -> Outcome:
    reported = policy.state == REPORTED
    if policy.state not in (ENABLED, REPORTED):
        return Outcome(policy, "notEnabled", (Missed("policyNotEnabled", "the policy is not enabled"),))
    missed = tuple([found for check in policy.checks if (found := check(facts)) is not None])
    if missed:
        return Outcome(policy, "reportOnlyNotApplied" if reported else "notApplied", missed)
    if policy.unreadable:
        return Outcome(policy, "unknown", ())
    left = unsatisfied(policy, satisfied)
    if not left:
        return Outcome(policy, "reportOnlySuccess" if reported else "success", ())
    if not reported:
        return Outcome(policy, "failure", ())
    can = any if policy.any_control else all
    possible = can(kind_of(each) in _INTERACTIVE for each in left)
    return Outcome(policy, "reportOnlyInterrupted" if possible else "reportOnlyFailure", ())


def kind_of(control: str) -> str:
    return control.partition(":")[0]


def unsatisfied(policy: Policy, satisfied: frozenset[str]) -> list[str]:
    """What the policy still demands: of `any_control` one of these. A block is never satisfied."""
    left = [each for each in policy.controls if each == "block" or each not in satisfied]
    if "block" in policy.controls:
        return left
    return [] if policy.any_control and len(left) < len(policy.controls) else left


# ---------------------------------------------------------------- all policies together


class Demand(Struct, frozen=True):
    """Controls that policies demand: all of them, or with `OR` one."""

    operator: str
    controls: tuple[str, ...]
    policies: tuple[str, ...]  # ids


class Verdict(Struct, frozen=True):
    decision: str  # allow, block or one of DECISIONS: the next step
    demands: tuple[Demand, ...]  # what is not satisfied yet
    session: Mapping[str, Any]  # conditionalAccessSessionControls, the strictest of each
    outcomes: tuple[Outcome, ...]

    @property
    def complete(self) -> bool:
        """Every policy that has a say could be evaluated."""
        return not any(each.applies and each.policy.unreadable for each in self.outcomes)


def evaluate(policies: Iterable[Policy], facts: Facts, satisfied: frozenset[str] = frozenset()) -> list[Outcome]:
    return [outcome_of(policy, facts, satisfied) for policy in policies]


def verdict(policies: Iterable[Policy], facts: Facts, satisfied: frozenset[str] = frozenset()) -> Verdict:
    """The decision; order of the policies does not matter to it."""
    outcomes = tuple(evaluate(policies, facts, satisfied))
    enforced = [each.policy for each in outcomes if each.enforced]
    session = strictest([policy.session for policy in enforced])
    blocking = tuple(policy.id for policy in enforced if policy.blocks)
    if blocking:
        return Verdict("block", (Demand("OR", ("block",), blocking),), session, outcomes)
    demands = _demands(enforced, satisfied)
    steps = [_step(each) for each in demands]
    decision = DECISIONS.get(min(steps, key=_rank(_STEPS, last=-1)), "block") if steps else "allow"
    return Verdict(decision, demands, session, outcomes)


def _demands(enforced: Sequence[Policy], satisfied: frozenset[str]) -> tuple[Demand, ...]:
    """What is demanded without a choice together, each choice on its own; the same demand of several policies once."""
    found: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for policy in enforced:
        left = unsatisfied(policy, satisfied)
        if policy.any_control and len(left) > 1:
            found.setdefault(("OR", tuple(sorted(left))), []).append(policy.id)
        else:
            for each in left:
                found.setdefault(("AND", (each,)), []).append(policy.id)
    alone = {controls[0] for operator, controls in found if operator == "AND"}
    choices = [
        Demand(operator, controls, tuple(ids))
        for (operator, controls), ids in found.items()
        if operator == "OR" and alone.isdisjoint(controls)  # otherwise it is met with what is demanded anyway
    ]
    if not alone:
        return tuple(choices)
    ids = dict.fromkeys(id for (operator, _), several in found.items() if operator == "AND" for id in several)
    return Demand("AND", tuple(sorted(alone)), tuple(sorted(ids))), *choices


def _step(demand: Demand) -> str:
    kinds = [kind_of(each) for each in demand.controls]
    return min(kinds, key=_rank(_EASE)) if demand.operator == "OR" else min(kinds, key=_rank(_STEPS, last=-1))


def _rank(order: Sequence[str], last: int = len(_STEPS)) -> Callable[[str], int]:
    """A control that nobody here knows cannot be met: of a choice it is the last, of what is all demanded the first."""
    return lambda kind: order.index(kind) if kind in order else last


# ---------------------------------------------------------------- session controls

_ORDER: Mapping[str, tuple[str, tuple[str, ...]]] = {  # control -> (property, its members from strict to lenient)
    "persistentBrowser": ("mode", ("never", "always")),
    "cloudAppSecurity": ("cloudAppSecurityType", ("blockDownloads", "monitorOnly", "mcasConfigured")),
    "continuousAccessEvaluation": ("mode", ("strictLocation", "strictEnforcement", "disabled")),
}


def strictest(several: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One set of session controls out of several."""
    found: dict[str, list[Any]] = {}
    for each in several:
        for name, value in each.items():
            found.setdefault(name, []).append(value)
    return {name: _strictest(name, values) for name, values in sorted(found.items())}


def _strictest(name: str, values: list[Any]) -> Any:
    if name == "signInFrequency":
        return min(values, key=_seconds)
    if name in _ORDER:
        property, members = _ORDER[name]
        rank = {member: at for at, member in enumerate(members)}
        return min(values, key=lambda each: rank.get(str(each.get(property)), len(members)))
    return values[0]


_HOUR_S = 3_600


def _seconds(frequency: Inner) -> float:
    if frequency.get("frequencyInterval") == "everyTime":
        return 0
    value = frequency.get("value")
    if not isinstance(value, int):
        return float("inf")
    return value * (_HOUR_S if frequency.get("type") == "hours" else 24 * _HOUR_S)
