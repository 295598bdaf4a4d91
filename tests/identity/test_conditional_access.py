"""Conditions of conditional access by cases, and what holds of every set of policies."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bartizan.identity.access.conditions import Facts, locations_of
from bartizan.identity.access.device_filter import NotReadable, parse
from bartizan.identity.access.facts import Principal, device_of, facts_of, satisfied_by
from bartizan.identity.access.verdict import Risk, Verdict, policy_of, verdict

FOLDER = Path(__file__).parent / "conditional_access"
KIND = "#microsoft.graph.{}NamedLocation"
LOCATIONS = locations_of(
    [
        {
            "@odata.type": KIND.format("ip"),
            "id": "office",
            "isTrusted": True,
            "ipRanges": [
                {"cidrAddress": "203.0.113.7/24"},
                {"cidrAddress": "2001:db8::/64"},
                {"lowerAddress": "198.51.100.3", "upperAddress": "198.51.100.9"},
            ],
        },
        {"@odata.type": KIND.format("country"), "id": "north", "countriesAndRegions": ["NO", "se"]},
        {
            "@odata.type": KIND.format("country"),
            "id": "nowhere",
            "countriesAndRegions": ["AQ"],
            "includeUnknownCountriesAndRegions": True,
        },
        {
            "@odata.type": KIND.format("country"),
            "id": "byapp",
            "countriesAndRegions": ["SE"],
            "countryLookupMethod": "authenticatorAppGps",
        },
        {"@odata.type": KIND.format("compliantNetwork"), "id": "network"},
    ]
)
ALL: dict[str, Any] = {"users": {"includeUsers": ["All"]}, "applications": {"includeApplications": ["All"]}}


def cases() -> list[Any]:
    found = []
    for path in sorted(FOLDER.glob("*.yaml")):
        for case in yaml.load(path.read_text("utf-8"), yaml.CSafeLoader):
            found.append(pytest.param(case, id=f"{path.stem}: {case['case']}"))
    assert len(found) > 80
    return found


def policy(id: str = "p", **more: Any) -> dict[str, Any]:
    grant = {"operator": "OR", "builtInControls": ["mfa"]}
    return {"id": id, "displayName": id, "state": "enabled", "conditions": ALL, "grantControls": grant, **more}


def facts(case: dict[str, Any]) -> tuple[Facts, frozenset[str]]:
    told = case.get("who") or {"id": "u1"}
    sets = {name: frozenset(told.get(name, ())) for name in ("groups", "roles", "guest")}
    who = Principal(told["id"], bool(told["id"]), "", **sets)
    sign_in = case.get("signIn") or {}
    device = device_of(sign_in.get("deviceDetail") or {}, {})
    made = facts_of(
        sign_in, who, device, Risk(**(case.get("risk") or {})), action=case.get("action"), insider=case.get("insider")
    )
    return made, satisfied_by(sign_in, None, device)


@pytest.mark.parametrize("case", cases())
def test_case(case: dict[str, Any]) -> None:
    """The result of an enabled policy that demands MFA, and why it does not apply."""
    asked = policy(conditions={**ALL, **case["conditions"]})
    who, met = facts(case)
    (outcome,) = verdict([policy_of(asked, LOCATIONS)], who, met).outcomes
    assert outcome.result == case["result"], outcome
    if "reasons" in case:
        assert [each.reason for each in outcome.missed] == case["reasons"]
    if "unknown" in case:
        assert any(each.unknown for each in outcome.missed) is case["unknown"]
    assert outcome.applies == (case["result"] in ("failure", "unknown"))


# ---------------------------------------------------------------- several policies


def said(*rows: dict[str, Any], met: frozenset[str] = frozenset(), who: Facts | None = None) -> Verdict:
    return verdict([policy_of(row, LOCATIONS) for row in rows], who or Facts(user="u1"), met)


def grant(*controls: str, operator: str = "OR", **more: Any) -> dict[str, Any]:
    return {"grantControls": {"operator": operator, "builtInControls": list(controls), **more}}


def test_nothing_demanded() -> None:
    """No policy, or none that applies: allow."""
    assert said().decision == "allow"
    assert said(policy(state="disabled")).decision == "allow"
    assert said(policy(state="disabled")).outcomes[0].result == "notEnabled"
    assert said(policy(), met=frozenset({"mfa"})).decision == "allow"


def test_controls_are_demanded_together() -> None:
    """Of several policies all; of a choice that is met anyway, nothing more."""
    choice = policy("c", **grant("mfa", "domainJoinedDevice"))
    found = said(policy("a"), policy("b", **grant("compliantDevice")), choice)
    assert found.decision == "requireCompliantDevice"
    assert [(each.operator, each.controls, each.policies) for each in found.demands] == [
        ("AND", ("compliantDevice", "mfa"), ("a", "b"))
    ]
    assert said(choice).decision == "requireMultifactorAuthentication"
    both = policy("d", **grant("mfa", "passwordChange", operator="AND"))
    assert said(both).decision == "requireMultifactorAuthentication"
    assert said(both, met=frozenset({"mfa"})).decision == "requirePasswordChange"
    assert said(both, met=frozenset({"mfa", "passwordChange"})).decision == "allow"


def test_named_controls() -> None:
    """Terms, strengths and factors are met by their own id."""
    terms = policy("t", grantControls={"operator": "OR", "termsOfUse": ["t1"]})
    assert said(terms).decision == "requireTermsOfUse"
    assert said(terms, met=frozenset({"termsOfUse:t2"})).decision == "requireTermsOfUse"
    assert said(terms, met=frozenset({"termsOfUse:t1"})).decision == "allow"
    strong = policy("s", grantControls={"operator": "OR", "authenticationStrength": {"id": "s1"}})
    assert said(strong, met=frozenset({"mfa"})).decision == "requireAuthenticationStrength"
    assert said(strong, met=frozenset({"authenticationStrength:s1"})).decision == "allow"
    assert said(policy("n", **grant("unknownFutureValue"))).decision == "block"


def test_reported() -> None:
    """What a policy for reporting would have done."""
    state = {"state": "enabledForReportingButNotEnforced"}
    elsewhere = {**ALL, "users": {"includeUsers": ["u9"]}}
    for more, word in (
        ({}, "reportOnlyInterrupted"),
        (grant("block"), "reportOnlyFailure"),
        (grant("compliantDevice"), "reportOnlyFailure"),
        (grant("compliantDevice", "mfa"), "reportOnlyInterrupted"),
        (grant("compliantDevice", "mfa", operator="AND"), "reportOnlyFailure"),
        ({"grantControls": None, "sessionControls": {"signInFrequency": {"isEnabled": True}}}, "reportOnlySuccess"),
        ({"conditions": elsewhere}, "reportOnlyNotApplied"),
    ):
        found = said(policy(**state, **more))
        assert (found.decision, found.outcomes[0].result, found.session) == ("allow", word, {})


def test_session_controls() -> None:
    """Of each the strictest."""

    def session(id: str, **controls: Any) -> dict[str, Any]:
        return policy(id, grantControls=None, sessionControls=controls)

    found = said(
        session("a", signInFrequency={"isEnabled": True, "type": "days", "value": 1, "frequencyInterval": "timeBased"}),
        session("b", signInFrequency={"isEnabled": True, "type": "hours", "value": 23}),
        session("c", signInFrequency={"isEnabled": False, "type": "hours", "value": 1}),
        session("d", persistentBrowser={"isEnabled": True, "mode": "always"}),
        session("e", persistentBrowser={"isEnabled": True, "mode": "never"}, disableResilienceDefaults=True),
        session("f", cloudAppSecurity={"isEnabled": True, "cloudAppSecurityType": "monitorOnly"}),
        session("g", cloudAppSecurity={"isEnabled": True, "cloudAppSecurityType": "blockDownloads"}),
        session("h", continuousAccessEvaluation={"mode": "disabled"}),
        session("i", continuousAccessEvaluation={"mode": "strictLocation"}),
    )
    assert found.decision == "allow" and {each.result for each in found.outcomes} == {"success"}
    assert found.session["signInFrequency"]["value"] == 23
    assert found.session["persistentBrowser"]["mode"] == "never" and found.session["disableResilienceDefaults"] is True
    assert found.session["cloudAppSecurity"]["cloudAppSecurityType"] == "blockDownloads"
    assert found.session["continuousAccessEvaluation"]["mode"] == "strictLocation"
    every = session("z", signInFrequency={"isEnabled": True, "frequencyInterval": "everyTime"})
    assert said(session("y", signInFrequency={"isEnabled": True, "type": "hours", "value": 1}), every).session == {
        "signInFrequency": {"isEnabled": True, "frequencyInterval": "everyTime"}
    }


# ---------------------------------------------------------------- properties

CONTROLS = "block mfa compliantDevice domainJoinedDevice passwordChange riskRemediation".split()
USERS = ["u1", "u2", "All", "None"]
POLICIES = st.lists(
    st.builds(
        lambda n, state, operator, controls, include, exclude, levels, rule: {
            "id": f"p{n}",
            "state": state,
            "conditions": {
                "users": {"includeUsers": include, "excludeUsers": exclude, "includeGroups": ["g1"]},
                "applications": {"includeApplications": ["All"]},
                "signInRiskLevels": levels,
                "devices": {"deviceFilter": {"mode": "include", "rule": rule}} if rule else None,
            },
            "grantControls": {"operator": operator, "builtInControls": controls},
        },
        st.integers(0, 99),
        st.sampled_from(["enabled", "disabled", "enabledForReportingButNotEnforced"]),
        st.sampled_from(["AND", "OR"]),
        st.lists(st.sampled_from(CONTROLS), max_size=3, unique=True),
        st.lists(st.sampled_from(USERS), max_size=2),
        st.lists(st.sampled_from(["u1", "u2"]), max_size=1),
        st.lists(st.sampled_from(["none", "high"]), max_size=2),
        st.sampled_from(["", "", "device.isCompliant -eq True", "not read"]),
    ),
    max_size=6,
)
MET = st.frozensets(st.sampled_from(CONTROLS[1:]), max_size=3)
WHO = st.builds(
    lambda user, groups, risk: Facts(user=user, groups=groups, sign_in_risk=risk),
    st.sampled_from(["u1", "u2", None]),
    st.frozensets(st.sampled_from(["g1", "g2"])),
    st.sampled_from(["none", "high"]),
)


@given(POLICIES, MET, WHO, st.sampled_from(CONTROLS))
def test_more_policies_never_loosen(rows: list[dict[str, Any]], met: frozenset[str], who: Facts, control: str) -> None:
    """A block blocks whatever else there is; another demand is never met by less than was demanded before."""
    before = said(*rows, met=met, who=who)
    after = said(*rows, policy("new", **grant(control)), met=met, who=who)
    assert not (before.decision != "allow" and after.decision == "allow")
    assert before.decision != "block" or after.decision == "block"
    if control == "block":
        assert after.decision == "block"
    demanded = {each for demand in before.demands if demand.operator == "AND" for each in demand.controls}
    kept = {each for demand in after.demands for each in demand.controls}
    assert demanded <= kept or after.decision == "block"


@given(POLICIES, MET, WHO)
def test_reporting_changes_nothing(rows: list[dict[str, Any]], met: frozenset[str], who: Facts) -> None:
    """With and without the policies for reporting and the disabled ones, the decision is the same."""
    enforced = [row for row in rows if row["state"] == "enabled"]
    one, other = said(*rows, met=met, who=who), said(*enforced, met=met, who=who)
    assert (one.decision, one.session) == (other.decision, other.session)
    assert set(one.demands) == set(other.demands)


@given(POLICIES, MET, WHO)
def test_an_excluded_user_is_never_hit(rows: list[dict[str, Any]], met: frozenset[str], who: Facts) -> None:
    """Whatever includes it."""
    for outcome, row in zip(said(*rows, met=met, who=who).outcomes, rows, strict=True):
        if who.user in row["conditions"]["users"]["excludeUsers"]:
            assert not outcome.applies


@given(POLICIES, MET, WHO)
def test_order_is_no_matter(rows: list[dict[str, Any]], met: frozenset[str], who: Facts) -> None:
    """Policies have no order."""
    one, other = said(*rows, met=met, who=who), said(*rows[::-1], met=met, who=who)
    assert (one.decision, one.complete) == (other.decision, other.complete)


@given(POLICIES, MET, WHO)
def test_who_does_what_is_demanded_is_let_in(rows: list[dict[str, Any]], met: frozenset[str], who: Facts) -> None:
    """All of what is left, done: allow, unless it is a block."""
    found = said(*rows, met=met, who=who)
    if found.decision != "block":
        done = met.union(*(demand.controls for demand in found.demands))
        assert said(*rows, met=done, who=who).decision == "allow"


@given(
    st.text(max_size=80)
    | st.lists(st.sampled_from('device.model -eq "a" -and -or -not ( ) [ ] , True'.split())).map(" ".join)
)
def test_rules_are_read_or_refused(rule: str) -> None:
    """Nothing but NotReadable comes out of a rule."""
    try:
        test = parse(rule)
    except NotReadable as wrong:
        assert str(wrong)
        return
    assert test({}) in (True, False)


def test_deep_rules_are_refused() -> None:
    """Bounded in depth and terms."""
    for rule in ("(" * 5000 + ")" * 5000, "-not " * 600, " -or ".join(['device.model -eq "a"'] * 201)):
        with pytest.raises(NotReadable):
            parse(rule)
