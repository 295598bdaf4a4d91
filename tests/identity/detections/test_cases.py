"""Each detection fires, just does not, bears a missing field and does not take what looks alike for an attack."""

from typing import Any

import pytest
import yaml
from tests.identity.detections.scene import CASES, KINDS, TYPES, findings_of, run

from bartizan.extend.detections import DETECTIONS

FILES: dict[str, dict[str, Any]] = {
    path.stem: yaml.load(path.read_text(), yaml.CSafeLoader)
    for path in sorted(CASES.glob("*.yaml"))
    if path.stem != "words"
}
EVERY = [(name, case) for name, file in FILES.items() for case in file["cases"]]
_MEMBERS = frozenset(
    """case kind alone history intel leaks listed_by accounts event fires log_odds reasons also not score proven type
    raises of""".split()
)  # fmt: skip


def test_every_detection_has_cases() -> None:
    """A file for each, with at least one case of each kind, and no file of something else."""
    assert (
        set(FILES)
        == set(TYPES)
        == {each.name for each in DETECTIONS}
        | {
            "unfamiliar_features",
            "suspicious_sign_ins",
        }
    )
    for name, file in FILES.items():
        assert file["detection"] == name
        assert {case["kind"] for case in file["cases"]} == set(KINDS), f"{name}: a case of each kind"
        named = {kind for case in file["cases"] if case["kind"] == "fires" for kind in [case.get("type")] if kind}
        assert len(TYPES[name]) == 1 or named == TYPES[name], f"{name}: a case that fires with each type"
        for case in file["cases"]:
            assert not case.keys() - _MEMBERS, f"{name}: {case.keys() - _MEMBERS}"


@pytest.mark.parametrize(("name", "case"), EVERY, ids=[f"{name}: {case['case']}" for name, case in EVERY])
def test_case(name: str, case: dict[str, Any]) -> None:
    """The event of the case, after its history, does what the case says."""
    file = FILES[name]
    now, _ = run(file, case)
    own = next(result for result in now if result.kind != "raised")
    found = findings_of(file, now)
    told = f"score {own.score:.2f}, parts {own.parts}, {[(f.type, f.log_odds, f.reasons) for f in own.findings]}"
    fires = case.get("fires", case["kind"] == "fires")
    assert bool(found) == fires, told
    if fires:
        low, high = case.get("log_odds", (0.0, 10.0))
        assert low <= found[0].log_odds <= high, told
        for key, value in case.get("reasons", {}).items():
            assert found[0].reasons[key] == value, told
        assert found[0].type == case.get("type", found[0].type), told
        assert found[0].proven == case.get("proven", False), told
        assert found[0].principal == case.get("of", ""), told
    types = {each.type for result in now for each in result.findings}
    assert set(case.get("also", ())) <= types, told
    assert not set(case.get("not", ())) & types, told
    low, high = case.get("score", (-100.0, 100.0))
    assert low <= own.score <= high, told
    assert case.get("raises") in (None, *(each.id for each in now if each.kind == "raised")), told
