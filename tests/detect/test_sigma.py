"""Rules of Sigma become detection rules, with author, licence and origin; what cannot is listed with its reason."""

import asyncio
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tests.conftest import absent

from bartizan.app.assembly import declared
from bartizan.cli import bartizan
from bartizan.store import Query, open_store
from bartizan.store.draft import inner

POWERSHELL = """
title: Encoded PowerShell
id: 4e1f1c1e-0f4b-4c6e-9a55-0f6e1d5a1c11
status: test
description: A command line that hides what it does.
author: Ada Example
references: [https://example.org/a]
date: 2026-02-03
tags: [attack.execution, attack.t1059.001, attack.defense-evasion, cve.2026-1]
logsource: {product: windows, category: process_creation}
detection:
  selection: {Image|endswith: '\\powershell.exe', CommandLine|contains: [' -enc ', ' -EncodedCommand ']}
  condition: selection
falsepositives: [Administrative scripts]
level: critical
"""
SIGN_IN = """
title: Sign-in that failed
id: 4e1f1c1e-0f4b-4c6e-9a55-0f6e1d5a1c12
license: MIT
logsource: {product: azure, service: signinlogs}
detection: {selection: {ResultType: 50126}, condition: selection}
"""
OTHERS = """
title: In the cloud of another
id: 4e1f1c1e-0f4b-4c6e-9a55-0f6e1d5a1c13
logsource: {product: aws, service: cloudtrail}
detection: {selection: {eventName: x}, condition: selection}
---
title: Same as the first
id: 4e1f1c1e-0f4b-4c6e-9a55-0f6e1d5a1c11
logsource: {product: windows, category: process_creation}
detection: {selection: {Image|endswith: 'x.exe'}, condition: selection}
---
title: Without detection
id: 4e1f1c1e-0f4b-4c6e-9a55-0f6e1d5a1c14
logsource: {product: windows, category: process_creation}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if importlib.util.find_spec("sigma") is None:
        absent("pySigma is not installed: the extra `sigma`")
    made = tmp_path / "sigma"
    (made / "windows").mkdir(parents=True)
    (made / "LICENSE.md").write_text("# Detection Rule License (DRL) 1.1\n\nPermission is ...\n")
    (made / "windows" / "powershell.yml").write_text(POWERSHELL)
    (made / "windows" / "sign_in.yaml").write_text(SIGN_IN)
    (made / "windows" / "y_others.yml").write_text(OTHERS)
    (made / "z_broken.yml").write_text("title: [\n")
    (made / "readme.txt").write_text("no rule")
    return made


def run(folder: Path, data: Path, *more: str) -> dict[str, Any]:
    answer = CliRunner().invoke(bartizan, ["rules", "import", "--sigma", str(folder), "--data", str(data), *more])
    assert answer.exit_code == 0, answer.output
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def stored(data: Path, tenant: str) -> dict[str, dict[str, Any]]:
    """Rules by their name, as the store has them."""

    async def read() -> dict[str, dict[str, Any]]:
        store = open_store(data, declared())
        await store.start()
        try:
            found: dict[str, dict[str, Any]] = {}
            of = store.tenant(tenant)
            for row in (await of.page("detectionRules", Query(top=100, version="beta"))).rows:
                whole = await of.get("detectionRules", row.id)
                assert whole is not None
                rule = inner(whole)
                found[rule["displayName"]] = rule
            return found
        finally:
            await store.close()

    return asyncio.run(read())


def test_import(folder: Path, tmp_path: Path) -> None:
    """Added disabled; levels, tags, author and licence are kept; a second import changes nothing."""
    data = tmp_path / "data"
    told = run(folder, data)
    tenant = told["tenantId"]
    assert (told["added"], told["changed"], told["unchanged"]) == (2, 0, 0)
    left = {(each["file"], each["rule"]): each["reason"] for each in told["leftOut"]}
    assert set(left) == {
        ("windows/y_others.yml", "In the cloud of another"),
        ("windows/y_others.yml", "Same as the first"),
        ("windows/y_others.yml", "Without detection"),
        ("z_broken.yml", None),
    }
    assert "table" in left["windows/y_others.yml", "In the cloud of another"]
    assert "same id" in left["windows/y_others.yml", "Same as the first"]
    rules = stored(data, tenant)
    first, second = rules["Encoded PowerShell"], rules["Sign-in that failed"]
    assert (first["isEnabled"], first["status"], first["schedule"]["nextRunDateTime"]) == (False, "disabled", None)
    assert first["queryCondition"]["queryText"].startswith("DeviceProcessEvents")
    template = first["detectionAction"]["alertTemplate"]
    assert (template["severity"], template["category"]) == ("high", "Execution")
    assert template["mitreTechniques"] == ["T1059.001"]
    assert template["recommendedActions"] == "Known false positives: Administrative scripts"
    assert template["impactedAssets"][0]["identifier"] == "deviceId"
    kept = first["@bartizan.kept"]
    assert (kept["author"], kept["licence"]) == ("Ada Example", "Detection Rule License (DRL) 1.1")
    assert "Author: Ada Example\nLicence: Detection Rule License (DRL) 1.1\nSigma rule: 4e1f" in first["description"]
    assert second["queryCondition"]["queryText"].startswith("SigninLogs")
    assert second["@bartizan.kept"]["licence"] == "MIT"
    assert second["detectionAction"]["alertTemplate"]["category"] == "SuspiciousActivity"
    assert run(folder, data)["unchanged"] == 2
    (folder / "windows" / "sign_in.yaml").write_text(SIGN_IN.replace("50126", "50053"))
    again = run(folder, data, "--enable")
    assert (again["added"], again["changed"], again["unchanged"]) == (0, 1, 1)
    after = stored(data, tenant)["Sign-in that failed"]
    assert "50053" in after["queryCondition"]["queryText"]
    assert after["isEnabled"] is False, "whether it is enabled is its owner's affair"
    assert after["detectorId"] == second["detectorId"]


def test_enabled(folder: Path, tmp_path: Path) -> None:
    """With --enable they run, one after the other."""
    data = tmp_path / "data"
    tenant = run(folder, data, "--enable", "--period", "1H")["tenantId"]
    rules = stored(data, tenant).values()
    assert all(each["isEnabled"] and each["schedule"]["period"] == "1H" for each in rules)
    assert len({each["schedule"]["nextRunDateTime"] for each in rules}) == 2
