"""Analytics rules of Microsoft Sentinel become detection rules that run as they say; what would not is listed."""

import importlib.util
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.api.conftest import NOW, A
from tests.api.test_detection_rules import SET, acting, template
from tests.conftest import absent
from tests.detect.conftest import Hunt
from tests.detect.test_sigma import stored

from bartizan.cli import bartizan
from bartizan.detect.rule import RULES
from bartizan.detect.scheduled import SCHEDULED
from bartizan.model.times import instant
from bartizan.store.draft import draft, inner
from bartizan.store.interface import Tx

MINUTE = timedelta(minutes=1)
RULE = """
id: 9f0e1c1e-0f4b-4c6e-9a55-0f6e1d5a1c21
name: Many failed sign-ins of {{nobody}}
version: 1.2.0
kind: Scheduled
description: |
  'Somebody tries passwords.'
severity: High
status: Available
queryFrequency: 30m
queryPeriod: 2h
triggerOperator: gt
triggerThreshold: 1
tactics: [CredentialAccess, InitialAccess]
relevantTechniques: [T1110, T1110.003]
query: |
  SigninLogs | where ResultType == "50126" | summarize count() by UserPrincipalName, IPAddress
entityMappings:
  - entityType: Account
    fieldMappings:
      - {identifier: FullName, columnName: UserPrincipalName}
      - {identifier: AadTenantId, columnName: TenantId}
  - entityType: IP
    fieldMappings: [{identifier: Address, columnName: IPAddress}]
  - entityType: Malware
    fieldMappings: [{identifier: Name, columnName: Threat}]
customDetails: {Failures: count_}
alertDetailsOverride:
  alertDisplayNameFormat: "Failed sign-ins of {{UserPrincipalName}}"
  alertSeverityColumnName: Level
eventGroupingSettings: {aggregationKind: AlertPerResult}
incidentConfiguration: {createIncident: false}
metadata: {author: {name: Ada Example}}
""".replace("of {{nobody}}", "of somebody")
NRT = """
id: 9f0e1c1e-0f4b-4c6e-9a55-0f6e1d5a1c22
name: At once
kind: NRT
severity: low
query: SecurityEvent | where EventID == 1102
"""


def changed(**more: Any) -> str:
    """The rule with other fields."""
    import yaml

    return str(yaml.safe_dump({**yaml.safe_load(RULE), "id": "x", **more}))


REFUSED = [
    (changed(kind="Fusion"), "kind is Fusion"),
    (changed(queryFrequency=None), "hunting"),
    (changed(queryFrequency="soon"), "queryFrequency is 'soon'; expected such as 1h"),
    (changed(queryFrequency="1m"), "5 minutes to 14 days"),
    (changed(queryPeriod="10m"), "no shorter than the frequency"),
    (changed(triggerOperator="lt"), "triggerOperator lt 1"),
    (changed(triggerThreshold="many"), "triggerThreshold is many"),
    (changed(suppressionEnabled=True), "suppressionEnabled"),
    (changed(severity="grave"), "severity is 'grave'"),
    (changed(alertDetailsOverride={"alertTacticsColumnName": "Level"}), "alertTacticsColumnName"),
    (changed(kind="NRT", alertDetailsOverride={"alertSeverityColumnName": "Level"}), "of scheduled rules alone"),
    (changed(eventGroupingSettings={"aggregationKind": "Some"}), "aggregationKind is Some"),
    (changed(query=""), "no query"),
    (changed(name="{{A}}{{B}}{{C}}{{D}}", alertDetailsOverride=None), "title names 4 columns"),
    ("- a\n- b\n", "no query"),
    ("a: [\n", "ParserError"),
] if importlib.util.find_spec("yaml") else []  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if importlib.util.find_spec("yaml") is None:
        absent("no reader of YAML is installed: the extra `sigma`")
    made = tmp_path / "rules"
    made.mkdir()
    (made / "LICENSE").write_text("MIT License\n\nCopyright ...\n")
    return made


def run(folder: Path, data: Path, *more: str, exit_code: int = 0) -> Any:
    answer = CliRunner().invoke(bartizan, ["rules", "import", "--sentinel", str(folder), "--data", str(data), *more])
    assert answer.exit_code == exit_code, answer.output
    return json.loads(answer.stdout) if not exit_code else answer.output


def test_import(folder: Path, tmp_path: Path) -> None:
    """All that a rule says is kept: beat, span, threshold, words, entities, details, author and licence."""
    (folder / "a.yaml").write_text(RULE)
    (folder / "b.yml").write_text(NRT)
    data = tmp_path / "data"
    told = run(folder, data)
    assert (told["added"], told["leftOut"]) == (2, [])
    rules = stored(data, told["tenantId"])
    rule, near = rules["Many failed sign-ins of somebody"], rules["At once"]
    words = rule["detectionAction"]["alertTemplate"]
    assert (words["title"], words["description"]) == (
        "Failed sign-ins of {{UserPrincipalName}}",
        "Somebody tries passwords.",
    )
    assert (words["severity"], words["category"], words["mitreTechniques"]) == (
        "high", "CredentialAccess", ["T1110", "T1110.003"],
    )  # fmt: skip
    assert [each["tactic"] for each in words["tactics"]] == ["InitialAccess"]
    assert words["customDetails"] == {"Failures": "count_"}
    assert words["entityMappings"] == {
        "accounts": [{"nameColumn": "UserPrincipalName"}], "ips": [{"addressColumn": "IPAddress"}],
    }  # fmt: skip
    assert rule["detectionAction"]["incidentConfiguration"] == {"isExcludedFromIncidentCorrelation": True}
    assert (rule["schedule"]["period"], rule["schedule"]["frequency"]) == ("0", "PT30M")
    assert rule[SCHEDULED] == {
        "period": "0", "every_s": 1_800, "back_s": 7_200, "more_than": 1, "each": True, "severity": "Level",
    }  # fmt: skip
    kept = rule["@bartizan.kept"]
    assert (kept["author"], kept["licence"], kept["version"]) == ("Ada Example", "MIT License", "1.2.0")
    assert kept["notMapped"] == ["Account.AadTenantId (TenantId)", "Malware.Name (Threat)"]
    assert "Malware.Name (Threat)" in rule["description"] and rule["isEnabled"] is False
    assert (near["schedule"]["period"], near.get(SCHEDULED)) == ("0", None)
    assert run(folder, data)["unchanged"] == 2
    (folder / "a.yaml").write_text(RULE.replace("queryPeriod: 2h", "queryPeriod: 3h"))
    assert run(folder, data, "--enable")["changed"] == 1


@pytest.mark.parametrize(("text", "says"), REFUSED)
def test_refused(folder: Path, tmp_path: Path, text: str, says: str) -> None:
    """With the reason, and the others come in."""
    (folder / "a.yaml").write_text(text)
    (folder / "b.yaml").write_text(NRT)
    told = run(folder, tmp_path / "data")
    assert told["added"] == 1
    assert all(each["file"] == "a.yaml" for each in told["leftOut"])
    assert any(says in each["reason"] for each in told["leftOut"])


def test_what_is_asked_of_the_command(folder: Path, tmp_path: Path) -> None:
    assert "--period is for rules of Sigma" in run(folder, tmp_path / "data", "--period", "1H", exit_code=1)
    answer = CliRunner().invoke(bartizan, ["rules", "import", "--data", str(tmp_path / "data")])
    assert answer.exit_code and "say one of --sigma and --sentinel" in answer.output


@pytest.mark.anyio
async def test_it_runs_as_it_says(hunt: Hunt) -> None:
    """Each half hour over two hours, where there are more rows than its threshold, an alert for each; a change of its
    period ends that."""
    id = await hunt.make(**{**acting(alertTemplate=template(), responseActions=[]), "schedule": {"period": "0"}})
    own = {"period": "0", "every_s": 1_800, "back_s": 7_200, "more_than": 1, "each": True, "severity": "FileName"}
    hunt.lake.columns = ("Timestamp", "DeviceId", "DeviceName", "AccountUpn", "FileName")

    def scheduled(tx: Tx) -> None:
        row = tx.get(RULES.name, id)
        assert row is not None
        tx.put(draft(RULES, {**inner(row), SCHEDULED: own}, id))

    await hunt.world.store.tenant(A).write(scheduled, actor="test")
    hunt.lake.add(NOW - MINUTE, "a")
    await hunt.run()
    assert hunt.lake.asked[-1][2:] == (NOW - 120 * MINUTE, NOW)
    assert await hunt.alerts() == [], "one row is not more than one"
    hunt.lake.add(NOW + MINUTE, "a", user="bob@contoso.example")
    assert await hunt.run(after=29 * MINUTE) == 0
    assert await hunt.run(after=MINUTE) == 1
    assert hunt.lake.asked[-1][2:] == (hunt.now - 120 * MINUTE, hunt.now)
    assert [each["severity"] for each in await hunt.alerts()] == ["medium"] * 2, "each row; evil.exe is no severity"
    row = (instant(hunt.now), "id-b", "b.contoso.example", "eve@contoso.example", "High")
    hunt.lake.events.append((hunt.now, hunt.now, row))
    assert await hunt.run(after=30 * MINUTE) == 1
    assert sorted(each["severity"] for each in await hunt.alerts()) == ["high", "medium", "medium"]
    await hunt.world.patch(f"{SET}/{id}", {"schedule": {"period": "1H"}})
    after = await hunt.rule(id)
    assert after["schedule"]["frequency"] == "PT1H"
    await hunt.run(after=MINUTE)
    assert hunt.lake.asked[-1][2] == hunt.now - 240 * MINUTE
