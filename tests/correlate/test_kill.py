"""kill -9 while alerts are correlated: the incidents are those of a run that nobody disturbed, ids and all."""

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.correlate.streams import attack, noise

from bartizan.correlate.suppress import SUPPRESSIONS
from bartizan.model import security as graph
from bartizan.model.alert import Alert
from bartizan.model.faces import provider_faces
from bartizan.store import Query, Tx, draft, open_store
from bartizan.store.alerts import ALERTS_V2, COLLECTIONS, INCIDENTS, prepare, store_alerts

ROOT = Path(__file__).resolve().parents[2]
TENANT = "t1"


def alerts() -> list[Alert]:
    made = []
    for each in sorted(noise(40, 3) + attack("a", 30.2, "h1", 5), key=lambda one: one.at):
        at = msgspec.json.decode(msgspec.json.encode(each.at), type=float)
        stamp = f"2026-03-0{1 + int(at // 86_400) % 3}T{int(at // 3_600) % 24:02}:{int(at // 60) % 60:02}:00Z"
        for repeat in ("", " again") if each.key.startswith("a-") else ("",):
            made.append(
                Alert(vendor="Acme", product="Sensor", provider_alert_id=each.key + repeat, title=each.title,
                      detector_id=each.detector, first_activity=stamp, severity="low",
                      evidence=[graph.DeviceEvidence(deviceDnsName=f"{each.nodes[0][1]}.c.example")])
            )  # fmt: skip
    return made


async def fill(folder: Path) -> None:
    store = open_store(folder, (*COLLECTIONS, SUPPRESSIONS))
    await store.start()
    ready = [prepare(provider_faces(each, TENANT, None)) for each in alerts()]

    rule = {"displayName": "Chatty", "filter": "detectorId eq 'chatty'", "reason": "known", "isEnabled": True,
            "expirationDateTime": "2999-01-01T00:00:00.0000000Z", "suppressedAlerts": 0}  # fmt: skip

    def work(tx: Tx) -> None:
        tx.put(draft(SUPPRESSIONS, rule, "rule"))
        store_alerts(tx, ready)

    await store.tenant(TENANT).write(work, actor="test")
    await store.close()


Where = tuple[str | None, dict[str, Any]]  # an alert's incident, and what else the server says of it


async def placed(folder: Path) -> tuple[dict[str, Where], dict[str, tuple[str, int, str]], int]:
    store = open_store(folder, (*COLLECTIONS, SUPPRESSIONS))
    await store.start()
    rows = (await store.tenant(TENANT).page(ALERTS_V2.name, Query(top=1_000))).rows
    bodies = (msgspec.json.decode(row.doc) for row in rows)
    where = {body["providerAlertId"]: (body["incidentId"], body["additionalData"]) for body in bodies}
    rows = (await store.tenant(TENANT).page(INCIDENTS.name, Query(top=1_000))).rows
    what = {}
    for row in rows:
        body = msgspec.json.decode(row.doc)
        what[row.id] = (body["displayName"], body["priorityScore"], body["summary"])
    rule = await store.tenant(TENANT).get(SUPPRESSIONS.name, "rule")
    assert rule is not None
    await store.close()
    return where, what, msgspec.json.decode(rule.doc)["suppressedAlerts"]


def run(folder: Path, kill_after: int | None) -> bool:
    """Whether it came to the end; it is killed once it has said so many steps."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.correlate.stage_process", str(folder)],
        stdout=subprocess.PIPE, text=True, cwd=ROOT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for number, line in enumerate(process.stdout, 1):
            if line.strip() == "done":
                return True
            if number == kill_after:
                process.kill()
        return False


@pytest.mark.slow
def test_killed_again_and_again(tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path / "calm"))
    shutil.copytree(tmp_path / "calm", tmp_path / "killed")
    assert run(tmp_path / "calm", None)
    kills = 0
    while not run(tmp_path / "killed", 3 + kills):
        kills += 1
    assert kills >= 3
    calm, killed = asyncio.run(placed(tmp_path / "calm")), asyncio.run(placed(tmp_path / "killed"))
    assert killed == calm
    assert len({calm[0][f"a-{step}{repeat}"][0] for step in range(5) for repeat in ("", " again")}) == 1
    assert calm[0]["a-0"][0] in calm[1] and calm[0]["a-0"][1]["foldedAlertCount"] == 1
    assert calm[2] == sum("suppressionId" in (more or {}) for _, more in calm[0].values()) > 0
