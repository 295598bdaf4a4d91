"""Risk of service principals."""

from typing import Any

import pytest
from tests.api.conftest import World

pytestmark = pytest.mark.anyio
RISKY = "/v1.0/identityProtection/riskyServicePrincipals"
DETECTIONS = "/v1.0/identityProtection/servicePrincipalRiskDetections"


@pytest.fixture
async def workloads(world: World) -> World:
    await world.post(
        "/v1.0/servicePrincipals",
        [{"id": f"sp{n}", "appId": f"app{n}", "displayName": f"Job {n}"} for n in range(3)],
    )
    await world.post(
        DETECTIONS,
        [
            {
                "id": f"d{n}",
                "riskEventType": "suspiciousSignins",
                "riskState": "atRisk",
                "riskLevel": "medium",
                "servicePrincipalId": f"sp{n}",
                "activityDateTime": f"2026-11-22T0{n}:00:00Z",
            }
            for n in range(3)
        ],
    )
    return world


async def test_confirm(workloads: World) -> None:
    """204 twice; one item of history and one detection; the principal's own facts stand beside its risk."""
    for _ in range(2):
        answer = await workloads.call("POST", f"{RISKY}/confirmCompromised", {"servicePrincipalIds": ["sp1"]})
        assert (answer.status_code, answer.content) == (204, b"")
    late = {"prefer": "include-unknown-enum-members"}
    found = await workloads.get(f"{RISKY}/sp1", **late)
    assert (found["appId"], found["displayName"], found["isEnabled"]) == ("app1", "Job 1", True)
    assert (await workloads.get(f"{RISKY}/sp1".replace("v1.0", "beta")))["accountEnabled"] is True
    assert (found["riskLevel"], found["riskState"], found["riskDetail"]) == (
        "high",
        "confirmedCompromised",
        "adminConfirmedServicePrincipalCompromised",
    )
    (item,) = (await workloads.get(f"{RISKY}/sp1/history".replace("v1.0", "beta")))["value"]
    assert (item["servicePrincipalId"], item["initiatedBy"]) == ("sp1", "app-a")
    assert (await workloads.get(f"{RISKY}/sp1/history/{item['id']}"))["riskLevel"] == "high"
    wanted = "riskEventType eq 'adminConfirmedServicePrincipalCompromised'"
    (added,) = (await workloads.get(f"{DETECTIONS}?$filter={wanted}", **late))["value"]
    assert (added["servicePrincipalId"], added["activity"], added["appId"]) == ("sp1", "servicePrincipal", "app1")


async def test_dismiss(workloads: World) -> None:
    """The standing detections of the principal are dismissed with it, those of others are not."""
    await workloads.call("POST", f"{RISKY}/dismiss", {"servicePrincipalIds": ["sp1", "sp2"]})
    assert [each["riskState"] for each in await workloads.every(f"{DETECTIONS}?$orderby=id")] == [
        "atRisk",
        "dismissed",
        "dismissed",
    ]
    found = await workloads.get(f"{RISKY}?$filter=riskLevel eq 'none' and riskState eq 'dismissed'")
    assert {each["id"] for each in found["value"]} == {"sp1", "sp2"}


async def test_all_or_nothing(workloads: World) -> None:
    bad: list[Any] = [{}, {"servicePrincipalIds": []}, {"servicePrincipalIds": "sp1"}, {"userIds": ["sp1"]}]
    for body in bad:
        await workloads.refused("POST", f"{RISKY}/dismiss", body, status=400)
    await workloads.refused(
        "POST", f"{RISKY}/dismiss", {"servicePrincipalIds": ["sp1", "gone"]}, status=404, says="'gone'"
    )
    assert (await workloads.get(RISKY))["value"] == []
    assert (await workloads.get(f"{DETECTIONS}/d1"))["riskState"] == "atRisk"
    body = {"servicePrincipalIds": ["sp1"]}
    await workloads.refused("POST", f"{RISKY}/dismiss", body, status=403, by="reader")


async def test_as_connectors_ask(workloads: World) -> None:
    found = await workloads.get(
        f"{DETECTIONS}?$top=50&$filter=activityDateTime+ge+2026-11-22T01:00:00Z+and+activityDateTime+lt+2026-11-23"
        "T00:00:00Z"
    )
    assert {each["id"] for each in found["value"]} == {"d1", "d2"}
    assert found["value"][0]["keyIds"] == []
    await workloads.refused("GET", f"{DETECTIONS}?$top=501", status=400)
    await workloads.refused("POST", DETECTIONS, {"riskEventType": "x"}, status=400, says="servicePrincipalId")


async def test_agents_are_told(world: World) -> None:
    """What a directory says of agents is read and filtered; nobody decides of it here."""
    path = "/beta/identityProtection"
    await world.post(f"{path}/riskyAgents", {"id": "a1", "agentDisplayName": "Helper", "riskLevel": "high"})
    detection = {"id": "d1", "agentId": "a1", "riskEventType": "unfamiliarResourceAccess", "riskLevel": "high"}
    await world.post(f"{path}/agentRiskDetections", detection)
    for found in ("riskyAgents?$filter=riskLevel eq 'high'", "agentRiskDetections?$filter=agentId eq 'a1'"):
        assert len((await world.get(f"{path}/{found}"))["value"]) == 1
    await world.refused(
        "POST", f"{path}/riskyAgents/dismiss", {"agentIds": ["a1"]}, status=501, says="scores no agents"
    )
    await world.refused("GET", "/v1.0/identityProtection/riskyAgents", status=404)
