"""What a vendor says later of an alert, with a record of another form, is a change of that alert."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.ingest.conftest import NOW, TENANT, Lake

from bartizan.extend import SOURCES
from bartizan.ingest.pipeline import Pipeline
from bartizan.store import Store
from bartizan.store.alerts import ALERTS_V2

pytestmark = pytest.mark.anyio

CASES = Path(__file__).parent.parent / "sources"


def payload(source: str, case: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CASES / source / f"{case}.json").read_text(encoding="utf-8"))["payload"]
    return found


async def sent(store: Store, lake: Lake, source: str, *records: dict[str, Any]) -> list[dict[str, Any]]:
    """The alerts after records that come one after the other."""
    pipeline = Pipeline(store, lake, sources={source: SOURCES[source]}, clock=lambda: NOW)
    ids: list[str] = []
    for record in records:
        receipt = await pipeline.receive(TENANT, source, json.dumps(record).encode(), actor="tester")
        ids += receipt.ids
    rows = [await store.tenant(TENANT).get(ALERTS_V2.name, one) for one in dict.fromkeys(ids)]
    return [json.loads(row.doc) for row in rows if row is not None]


async def test_feedback_of_okta_judges_the_detection(store: Store, lake: Lake) -> None:
    """A verdict of an administrator closes the alert that the detection became, which keeps its title."""
    detected = payload("okta", "threat")
    judged = payload("okta", "feedback")
    judged["debugContext"]["debugData"]["EventUuid"] = detected["uuid"]
    (alert,) = await sent(store, lake, "okta", detected, judged)
    assert alert["title"] == detected["displayMessage"]
    assert (alert["status"], alert["classification"]) == ("resolved", "falsePositive")
    assert alert["severity"] != "unknown"


async def test_a_solved_vulnerability_closes_its_alert(store: Store, lake: Lake) -> None:
    """Wazuh gives each record an id of its own; what it says of one vulnerability is one alert."""
    found, solved = payload("wazuh", "vulnerability_active"), payload("wazuh", "vulnerability_solved")
    (alert,) = await sent(store, lake, "wazuh", found, {**solved, "id": "1773.9"})
    assert alert["status"] == "resolved"


async def test_an_incident_that_is_closed_is_the_same_alert(store: Store, lake: Lake) -> None:
    """An incident of Endpoint Security comes again when its state changes."""
    closed = payload("symantec_sep", "incident_closed")
    opened = {**closed, "type": "INCIDENT_CREATION", "state_id": 1, "resolution_id": 1, "modified": closed["created"]}
    (alert,) = await sent(store, lake, "symantec_sep", opened, closed)
    assert (alert["status"], alert["classification"]) == ("resolved", "falsePositive")
