"""The directory in the lake: users as they are each day, and the graph of objects and of what alerts name."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.api.conftest import NOW, A, B, World, served
from tests.api.test_indicators import indicator
from tests.detect.test_indicators import alert

from bartizan.api.wire.graph import Bounds
from bartizan.app.assembly import fed, hunting_of
from bartizan.correlate.stage import CorrelateStage
from bartizan.hunt.service import Hunting
from bartizan.ingest.copy import CopyStage
from bartizan.ingest.snapshots import EVERY, SnapshotStage
from bartizan.lake import graph_rows
from bartizan.lake.buffer import Lake, open_lake
from bartizan.lake.compact import Upkeep
from bartizan.lake.duck import Duck
from bartizan.lake.flush import Flusher
from bartizan.lake.manifest import Manifest
from bartizan.model import security as graph
from bartizan.model.times import instant
from bartizan.settings import Settings
from bartizan.store import draft
from bartizan.store.interface import Tx

pytestmark = pytest.mark.anyio
ADA = "ada@contoso.example"


@dataclass
class Place:
    world: World
    lake: Lake
    manifest: Manifest
    duck: Duck
    queries: Hunting
    now: datetime = NOW

    async def put(self, collection: str, *bodies: dict[str, Any], tenant: str = A) -> None:
        def work(tx: Tx) -> None:
            for each in bodies:
                tx.put(draft(fed()[collection], each, each["id"]))

        await self.world.store.tenant(tenant).write(work, actor="test")

    async def relate(self, relation: str, source: str, collection: str, target: str) -> None:
        await self.world.store.tenant(A).write(lambda tx: tx.relate(relation, source, collection, target), actor="test")

    async def round(self, *, after: timedelta = timedelta(0)) -> list[str]:
        async def tenants() -> list[str]:
            return [A, B]

        self.now += after
        made = await SnapshotStage(self.world.store, self.lake, tenants, clock=lambda: self.now).round(A)
        await self.flush()
        return made

    async def flush(self) -> None:
        while await Flusher(self.lake, self.manifest, self.duck).step():
            pass

    async def ask(self, query: str, tenant: str = A) -> list[list[Any]]:
        return (await self.queries.table(tenant, query, self.now)).results


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with served(tmp_path, Bounds(), {}, hunts=False) as world:
        lake = open_lake(tmp_path)
        await lake.start()
        settings = Settings(data=str(tmp_path))
        manifest = Manifest(lake, settings.lake_path)
        duck = Duck(settings.lake_path, threads=1, memory_mb=256)
        queries = hunting_of(settings, world.store, lake)
        made = Place(world, lake, manifest, duck, queries)
        await made.put(
            "users",
            {"id": "u1", "displayName": "Ada", "userPrincipalName": ADA, "mail": ADA},
            {"id": "u2", "displayName": "Bob", "userPrincipalName": "bob@contoso.example", "accountEnabled": False},
        )
        await made.put("groups", {"id": "g1", "displayName": "Admins"})
        await made.put("directoryRoles", {"id": "r1", "displayName": "Global Administrator"})
        await made.put("devices", {"id": "d1", "displayName": "PC7", "deviceId": "x1", "operatingSystem": "Windows"})
        await made.put("servicePrincipals", {"id": "s1", "displayName": "Mailer", "appId": "app"}, {"id": "s2"})
        await made.put("appRoleAssignments", {"id": "a1", "principalId": "s1", "resourceId": "s2", "appRoleId": "role"})
        for relation, source, target in (
            ("members", "g1", "u1"), ("members", "r1", "u1"), ("manager", "u2", "u1"), ("registeredOwners", "d1", "u2"),
        ):  # fmt: skip
            await made.relate(relation, source, "users", target)
        yield made
        await queries.close()
        duck.close()
        await lake.close()


async def test_what_is_posted_is_a_row(place: Place) -> None:
    """Each of the tables that show documents of the store, from the API to a hunt."""
    world = place.world
    await world.post("/beta/security/tiIndicators", indicator(domainName="bad.example", networkIPv6="2001:db8::1"))
    body = {"id": "s1", "createdDateTime": instant(NOW), "ipAddress": "203.0.113.7", "userPrincipalName": ADA}
    await world.post("/v1.0/auditLogs/signIns", body)
    await place.put("servicePrincipalRiskDetections", {"id": "w1", "servicePrincipalId": "s1", "riskLevel": "high"})
    await place.put("riskyServicePrincipals", {"id": "s1", "displayName": "Mailer", "riskState": "atRisk"})
    await place.put("riskDetections", {"id": "r1", "riskEventType": "unlikelyTravel", "userPrincipalName": ADA})
    await place.put("riskyUsers", {"id": "u1", "riskLevel": "high"})
    evidence = graph.IpEvidence(ipAddress="203.0.113.7")
    await alert(world, "one", evidence)
    correlate, copy = CorrelateStage(world.store), CopyStage(world.store, place.lake)
    while await correlate.step():
        pass
    while await copy.step():
        pass
    await place.round()
    for name in (
        "SigninLogs EntraIdSignInEvents AADSignInEventsBeta IdentityLogonEvents AuditLogs AlertInfo AlertEvidence "
        "SecurityAlert SecurityIncident AADUserRiskEvents AADRiskyUsers AADServicePrincipalRiskEvents "
        "AADRiskyServicePrincipals IdentityInfo ThreatIntelligenceIndicator ThreatIntelIndicators ExposureGraphNodes "
        "ExposureGraphEdges"
    ).split():
        assert (await place.ask(f"{name} | count"))[0][0] > 0, name
    rows = await place.ask(
        "ThreatIntelIndicators | sort by ObservableKey asc | project ObservableKey, ObservableValue, Pattern, "
        "IsActive, IsDeleted, tostring(Data.pattern_type), Confidence, Valid = ValidUntil > datetime(2026-01-01)"
    )
    assert [row[:3] for row in rows] == [
        ["domain-name:value", "bad.example", "[domain-name:value = 'bad.example']"],
        ["ipv6-addr:value", "2001:db8::1", "[ipv6-addr:value = '2001:db8::1']"],
    ]
    assert all((row[3], row[4], row[5], row[7]) == (True, False, "stix", True) for row in rows)
    assert await place.ask("AADRiskyServicePrincipals | project Id, DisplayName, RiskState") == [
        ["s1", "Mailer", "atRisk"]
    ]


EDGES = "ExposureGraphEdges | project SourceNodeName, EdgeLabel, TargetNodeName"


async def test_the_directory_as_a_graph(place: Place) -> None:
    """Objects, what connects them, alerts and what they name: an object of the directory is one node."""
    await alert(
        place.world,
        "one",
        graph.UserEvidence(userAccount=graph.UserAccount(userPrincipalName="Ada@contoso.example")),
        graph.DeviceEvidence(hostName="pc7"),
        graph.IpEvidence(ipAddress="203.0.113.7"),
    )
    assert await place.round() == list(EVERY)
    edges = {tuple(row) for row in await place.ask(EDGES)}
    assert edges == {
        ("Ada", "member of", "Admins"),
        ("Ada", "member of", "Global Administrator"),
        ("Bob", "reports to", "Ada"),
        ("Bob", "owns", "PC7"),
        ("Mailer", "has role on", "s2"),
        ("Alert one", "affecting", "Ada"),
        ("Alert one", "affecting", "PC7"),
        ("Alert one", "involves", "203.0.113.7"),
    }
    nodes = await place.ask(
        "ExposureGraphNodes | where Categories has 'identity' and NodeLabel == 'user' "
        "| mv-expand EntityIds | where EntityIds.type == 'AccountUpn' "
        "| project NodeName, Upn = tostring(EntityIds.id), Enabled = tostring(NodeProperties.rawData.accountEnabled)"
    )
    assert sorted(nodes) == [["Ada", "ada@contoso.example", ""], ["Bob", "bob@contoso.example", "false"]]
    joined = await place.ask(
        "ExposureGraphEdges | where EdgeLabel == 'has role on' | join kind=inner ExposureGraphNodes on "
        "$left.SourceNodeId == $right.NodeId | project NodeName, tostring(EdgeProperties.rawData.appRoleId)"
    )
    assert joined == [["Mailer", "role"]]
    assert await place.ask(EDGES, tenant=B) == []


async def test_the_last_whole_snapshot_is_shown(place: Place) -> None:
    """Neither one before nor one that was cut off; what came from elsewhere stays, also when files are put together."""
    await place.lake.append(A, [("ExposureGraphNodes", {"NodeId": "other", "NodeName": "Other", "NodeLabel": "lb"})])
    await place.round()
    names = "ExposureGraphNodes | where NodeLabel in ('user', 'lb') | project NodeName"
    assert sorted(await place.ask(names)) == [["Ada"], ["Bob"], ["Other"]]
    await place.world.store.tenant(A).write(lambda tx: tx.delete("users", "u2"), actor="test")
    assert await place.round() == [], "nothing is due"
    assert await place.round(after=EVERY["ExposureGraph"]) == list(EVERY)
    assert sorted(await place.ask(names)) == [["Ada"], ["Other"]]
    number = int(place.now.timestamp() * 1_000) + 1
    cut_off = graph_rows.of_snapshot(
        [graph_rows.object_node("users", {"id": "u9", "displayName": "Eve"}, A)[1]], number
    )
    await place.lake.append(A, cut_off)
    await place.flush()
    assert sorted(await place.ask(names)) == [["Ada"], ["Other"]]
    upkeep = Upkeep(place.manifest, place.duck, default_days=180, days={})
    while await upkeep.step(datetime.now(UTC) + timedelta(days=1)):
        pass
    assert sorted(await place.ask(names)) == [["Ada"], ["Other"]]
    _, files = await place.manifest.files(A, "ExposureGraphNodes")
    assert len(files) == 1 and files[0].rows == 1 + 6 + 1 + 1, "other, the snapshot, its end, the one that was cut off"
    await place.lake.append(A, graph_rows.last_rows(number))
    await place.flush()
    assert sorted(await place.ask(names)) == [["Eve"], ["Other"]], "whole after all"


async def test_identities_each_day(place: Place) -> None:
    """Every user anew, with groups, roles, manager, risk and second factor."""
    await place.put("riskyUsers", {"id": "u1", "riskLevel": "high", "riskState": "atRisk", "riskDetail": "none"})
    await place.put("userRegistrationDetails", {"id": "u1", "isMfaRegistered": True})
    await place.round()
    query = (
        "IdentityInfo | summarize arg_max(Timestamp, *) by AccountObjectId | sort by AccountObjectId asc | project "
        "AccountUpn, GroupMembership, AssignedRoles, Manager, RiskLevel, RiskState, IsMFARegistered"
    )
    assert await place.ask(query) == [
        ["ada@contoso.example", ["Admins"], ["Global Administrator"], "", "high", "atRisk", True],
        ["bob@contoso.example", None, None, "ada@contoso.example", "", "", None],
    ]
    assert await place.round(after=timedelta(hours=12)) == list(EVERY)
    assert await place.round(after=timedelta(hours=11)) == ["ExposureGraph"]
    assert await place.ask("IdentityInfo | count") == [[4]]
    assert "IdentityInfo" in await place.round(after=timedelta(hours=13))
    assert await place.ask("IdentityInfo | where Timestamp > ago(1h) | count") == [[2]]
    assert await place.round(after=timedelta(hours=23)) == ["ExposureGraph"]
    assert await place.round(after=timedelta(hours=1)) == ["IdentityInfo"], "each day"


async def test_a_directory_that_comes_bit_by_bit(place: Place) -> None:
    """Soon after the first snapshot there is another, then half as often each time."""
    assert await place.round() == list(EVERY)
    due = [minute for minute in range(1, 100) if await place.round(after=timedelta(minutes=1))]
    assert due == [5, 10, 20, 40, 80]


async def test_a_tenant_without_anything(place: Place) -> None:
    """Writes nothing, also where the clock goes on; what it has then is there in the next round."""
    stage = SnapshotStage(place.world.store, place.lake, _nobody, clock=lambda: place.now)
    before = await place.lake.head()
    assert await stage.round(B) == [] and await place.lake.head() == before
    place.now += timedelta(minutes=1)
    assert await stage.round(B) == [] and await place.lake.head() == before


async def _nobody() -> list[str]:
    return []
