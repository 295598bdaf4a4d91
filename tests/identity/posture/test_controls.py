"""Each control by its cases: what it hits, what it just does not, a fact that is missing, what only looks alike."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bartizan.identity.posture import CONTROLS, limits_of
from bartizan.identity.posture.control import Affected, Plain, Tally
from bartizan.identity.posture.facts import Role, Tenant, at, policy_facts, user_facts, workload_facts
from bartizan.identity.posture.score import points, score_id

HERE = Path(__file__).parent
NOW = "2026-11-23T04:50:30.0000000Z"


def cases() -> Iterator[Any]:
    for path in sorted(HERE.glob("*.yaml")):
        for case in yaml.load(path.read_text(), yaml.CSafeLoader):
            yield pytest.param(path.stem, case, id=f"{path.stem}-{case['case']}")


def role(said: str) -> Role:
    """By name, which stands for the template where it is not one of those that the program knows."""
    known = {
        "Global Administrator": "62e90394-69f5-4237-9190-012177145e10",
        "Directory Readers": "88d8e3e3-8f55-4a1e-953a-9b9898b8876b",
        "Directory Synchronization Accounts": "d29b2b05-8046-44ba-8758-1e26182fcf32",
    }
    return Role(known.get(said, said), said)


def tenant(said: dict[str, Any]) -> Tenant:
    now = at(NOW)
    assert now is not None
    more = dict(said)
    if "seen_since" in more:
        more["seen_since"] = at(more["seen_since"])
    if "policies" in more:
        more["policies"] = tuple(policy_facts({"id": f"p{n}", **each}) for n, each in enumerate(more["policies"]))
    if "global_admins" in more:
        more["global_admins"] = tuple((f"id-{name}", name) for name in more["global_admins"])
    return Tenant(now, **more)


def subject(case: dict[str, Any], of: str, whole: Tenant) -> Any:
    if of == "tenant":
        return whole
    if of == "workload":
        granted = case.get("granted")
        given = None if granted is None else [(name, when) for name, when in granted.items()]
        return workload_facts({"id": "w", **case["app"]}, granted=given, last=at(case.get("last")))
    roles = case.get("roles")
    legacy = {name: found for name, when in case.get("legacy", {}).items() if (found := at(when)) is not None}
    return user_facts(
        {"id": "u", "accountEnabled": True, **case.get("user", {})},
        reports=[case.get("report"), case.get("old_report")],
        sign_ins=case.get("signIns", []),
        roles=None if roles is None else [role(each) for each in roles],
        legacy=legacy,
    )


@pytest.mark.parametrize("name, case", list(cases()))
def test_case(name: str, case: dict[str, Any]) -> None:
    control, whole = CONTROLS[name], tenant(case.get("tenant", {}))
    found = control.judge(subject(case, control.of, whole), whole, limits_of(case.get("limits", []))[name])
    if isinstance(found, Plain):
        assert found.value == case["expect"]
        return
    reasons = [found] if isinstance(found, str) else [each.reason for each in found]
    assert case["expect"] == "affected", reasons
    assert reasons and all(case["says"] in each for each in reasons), reasons
    if not isinstance(found, str):
        assert [each.name for each in _affected(found)] == case["names"]


def _affected(found: Sequence[Affected]) -> Sequence[Affected]:
    return found


def test_every_control_has_cases() -> None:
    """One that it hits, one that meets it, and one where a fact is missing."""
    for name in CONTROLS:
        wanted = {case["expect"] for case in yaml.load((HERE / f"{name}.yaml").read_text(), yaml.CSafeLoader)}
        assert {"affected", "met", "unknown"} <= wanted, name


def test_limits() -> None:
    changed = limits_of(["BartizanStaleUsers.days=60"])
    assert (changed["BartizanStaleUsers"]["days"], limits_of([])["BartizanStaleUsers"]["days"]) == (60, 90)
    for wrong, says in (("Nope.days=1", "BartizanStaleUsers.days"), ("BartizanStaleUsers.days=x", "whole number")):
        with pytest.raises(ValueError, match=says):
            limits_of([wrong])


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(0, 1000))
def test_points(met: int, affected: int, unknown: int) -> None:
    """Never below zero or above the most, never more with one more affected, whatever is not known."""
    control = CONTROLS["BartizanUserMFA"]
    one, worse = Tally(met, affected, unknown, 1), Tally(met, affected + 1, unknown, 1)
    assert 0 <= points(control, worse, "Default") <= points(control, one, "Default") <= control.max_score
    assert points(control, one, "Ignored") == 0
    assert points(control, one, "ThirdParty") == control.max_score
    assert Tally(0, 0, unknown, unknown).assessed is False or unknown == 0


def test_score_id_is_of_the_day() -> None:
    assert score_id("t", "2026-11-23") != score_id("t", "2026-11-24") != score_id("u", "2026-11-24")
