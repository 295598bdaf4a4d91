"""Alerts that their source has put into an incident of its own, and that incident's record, in any order."""

import json
from itertools import permutations
from typing import Any

import pytest
from tests.api.conftest import A, World
from tests.api.test_correlated import correlated, incident_of
from tests.connectors.second import Sink

from bartizan.app.assembly import fed
from bartizan.correlate.stage import CorrelateStage
from bartizan.extend import Said
from bartizan.ingest.pipeline import Pipeline, find_source

pytestmark = pytest.mark.anyio
INCIDENTS, ALERTS = "/v1.0/security/incidents", "/v1.0/security/alerts_v2"
RECORD = {
    "@odata.type": "#microsoft.graph.security.incident",
    "id": "2972395",
    "displayName": "Multi-stage incident on one endpoint",
    "status": "inProgress",
    "severity": "medium",
    "classification": "truePositive",
    "determination": "multiStagedAttack",
    "assignedTo": "ann@contoso.example",
    "incidentWebUrl": "https://security.example/incidents/2972395",
    "createdDateTime": "2026-11-20T10:00:00Z",
    "lastUpdateDateTime": "2026-11-20T11:00:00Z",
    "comments": [{"comment": "Seen", "createdByDisplayName": "Ann", "createdDateTime": "2026-11-20T10:30:00Z"}],
}


def record(id: str, host: str, incident: str | None = "2972395", **more: Any) -> dict[str, Any]:
    return {
        "@odata.type": "#microsoft.graph.security.alert",
        "id": id,
        "providerAlertId": id,
        "incidentId": incident,
        "title": f"Alert {id}",
        "status": "new",
        "severity": "low",
        "serviceSource": "microsoftDefenderForEndpoint",
        "productName": "Microsoft Defender for Endpoint",
        "detectorId": f"detector {id}",
        "createdDateTime": "2026-11-20T10:00:00Z",
        "lastUpdateDateTime": "2026-11-20T10:00:00Z",
        "firstActivityDateTime": "2026-11-20T10:00:00Z",
        "lastActivityDateTime": "2026-11-20T10:00:00Z",
        "evidence": [{"@odata.type": "#microsoft.graph.security.deviceEvidence", "deviceDnsName": host}],
        **more,
    }


async def arrive(world: World, *records: dict[str, Any]) -> list[str]:
    """As a connection brings them; ids of the alerts."""
    pipeline, ids = Pipeline(world.store, Sink(), collections=fed()), []
    for one in records:
        is_alert = one["@odata.type"].endswith("alert")
        source = find_source("graph_security_alert_v2" if is_alert else "graph_security_incident")
        said = [Said(apart=True)]
        receipt = await pipeline.take(A, source, [json.dumps(one).encode()], actor="connection:xdr", said=said)
        ids += receipt.ids
    return ids


@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_alerts_and_record_end_in_one_incident(world: World, order: tuple[int, ...]) -> None:
    """Two hosts that share nothing, one closed already, and the record: one incident, with what the record says of
    itself, whichever comes first."""
    given = [record("a1", "pc1.example"), record("a2", "pc2.example", status="resolved"), RECORD]
    ids: list[str] = []
    stage: CorrelateStage | None = None
    for each in order:
        ids += await arrive(world, given[each])
        stage = await correlated(world.store, stage)
    await stage.silence(2e9) if stage else None
    found = await world.every(INCIDENTS)
    assert [(each["id"], each["displayName"]) for each in found] == [("2972395", RECORD["displayName"])]
    for word in ("status", "severity", "classification", "determination", "assignedTo"):
        assert found[0][word] == RECORD[word]
    assert [each["comment"] for each in found[0]["comments"]] == ["Seen"]
    assert {await incident_of(world, id) for id in ids} == {"2972395"}
    links = (await world.get("/beta/security/incidents/2972395/correlationLinks"))["value"]
    assert {each["createdBy"] for each in links} == {"source"} and len(links) == 2
    assert {(each["entity"]["kind"], each["entity"]["value"]) for each in links} == {("sourceIncident", "2972395")}
    assert {(each["bits"], each["correlationReason"]) for each in links} == {(0.0, None)}


async def test_without_a_record_the_incident_is_there_and_says_what_is_known(world: World) -> None:
    ids = await arrive(world, record("a1", "pc1.example"), record("a2", "pc2.example"))
    await correlated(world.store)
    (found,) = await world.every(INCIDENTS)
    assert (found["id"], found["severity"], found["status"]) == ("2972395", "low", "active")
    assert found["displayName"] and {await incident_of(world, id) for id in ids} == {"2972395"}


async def test_what_its_source_says_later_moves_an_alert_that_nobody_arranged(world: World) -> None:
    """Another Bartizan links an alert after it has made it: here it had an incident of its own until then."""
    (id,) = await arrive(world, record("a1", "pc1.example", None, severity="high"))
    stage = await correlated(world.store)
    first = await incident_of(world, id)
    assert first is not None
    later = record("a1", "pc1.example", severity="high", lastUpdateDateTime="2026-11-20T10:05:00Z")
    await arrive(world, later)
    await correlated(world.store, stage)
    assert await incident_of(world, id) == "2972395"
    emptied = await world.get(f"{INCIDENTS}/{first}")
    assert (emptied["status"], emptied["redirectIncidentId"]) == ("redirected", "2972395")
    moved = {**later, "incidentId": "2972400", "lastUpdateDateTime": "2026-11-20T10:06:00Z"}
    await arrive(world, moved)
    await correlated(world.store, stage)
    assert await incident_of(world, id) == "2972400"


async def test_what_an_analyst_arranged_stays(world: World) -> None:
    ids = await arrive(world, record("a1", "pc1.example"), record("a2", "pc2.example"))
    stage = await correlated(world.store)
    split = (await world.post("/beta/security/alerts_v2/moveAlerts", {"alertIds": ids[:1]}))["targetIncidentId"]
    await correlated(world.store, stage)
    moved = record("a1", "pc1.example", "2972400", lastUpdateDateTime="2026-11-20T10:06:00Z")
    await arrive(world, moved, record("a3", "pc3.example"), RECORD)
    await correlated(world.store, stage)
    assert (await incident_of(world, ids[0]), await incident_of(world, ids[1])) == (split, "2972395")


async def test_comments_of_both_sides_stand_beside_each_other(world: World) -> None:
    """What is written back comes again with its author before it, and is not shown twice; nothing of ours is lost."""
    await arrive(world, RECORD)
    await world.post(f"{INCIDENTS}/2972395/comments",
                     {"@odata.type": "microsoft.graph.security.alertComment", "comment": "Mine"})  # fmt: skip
    (mine,) = [each for each in (await world.get(f"{INCIDENTS}/2972395"))["comments"] if each["comment"] == "Mine"]
    echo = {"comment": f"{mine['createdByDisplayName']}: Mine", "createdByDisplayName": "app"}
    comments = [*RECORD["comments"], echo, {"comment": "Third", "createdByDisplayName": "Bob"}]
    await arrive(world, {**RECORD, "lastUpdateDateTime": "2026-11-20T12:00:00Z", "comments": comments})
    shown = (await world.get(f"{INCIDENTS}/2972395"))["comments"]
    assert [each["comment"] for each in shown] == ["Seen", "Mine", "Third"]
