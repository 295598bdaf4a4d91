"""Two servers and the stage that pulls: everything that the connector brings is stored, and follows what changes."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from tests.connectors.second import Second, Sink, second

from bartizan.app.assembly import fed
from bartizan.connectors.microsoft_graph import MicrosoftGraph
from bartizan.extend import relations
from bartizan.extend.connections import Connection
from bartizan.ingest.directory import Directory
from bartizan.ingest.pipeline import Pipeline
from bartizan.ingest.pull import PullStage, Times
from bartizan.store import Query

pytestmark = pytest.mark.anyio
ALERTS, INCIDENTS, UPN = "/v1.0/security/alerts_v2", "/v1.0/security/incidents", "ann@contoso.example"
FAST = Times(look=0.02, all=0.5, least=0.05, first=0.05, most=0.2)


async def rows(here: Second, collection: str) -> dict[str, Any]:
    page = await here.app.store.tenant(here.tenant).page(collection, Query(top=100, version="beta"))
    return {row.id: json.loads(row.wire("beta")) for row in page.rows}


async def until(what: Any) -> None:
    async with asyncio.timeout(60):
        while not await what():  # noqa: ASYNC110 - the stage tells nobody
            await asyncio.sleep(0.02)


async def fill(there: Second) -> tuple[str, str]:
    """Something of every stream; the ids of an alert and an incident."""
    made = await there.post(ALERTS, {"title": "one", "severity": "high"})
    incident = await there.post(INCIDENTS, {"displayName": "Intrusion", "severity": "high"})
    await there.post(
        "/v1.0/identityProtection/riskDetections", {"riskEventType": "unlikelyTravel", "riskLevel": "high"}
    )
    at = "2026-11-28T00:00:00Z"
    await there.post("/v1.0/auditLogs/signIns", {"id": "s1", "createdDateTime": at, "userPrincipalName": UPN})
    for id, upn in (("u-ann", UPN), ("u-bob", "bob@contoso.example")):
        await there.post("/v1.0/users", {"id": id, "userPrincipalName": upn, "displayName": id})
    await there.post("/v1.0/groups", {"id": "g1", "displayName": "Admins"})
    await there.post("/v1.0/devices", {"id": "d1", "deviceId": "d1", "displayName": "pc1"})
    await there.post("/v1.0/servicePrincipals", {"id": "p1", "appId": "a1", "displayName": "App"})
    await there.post("/v1.0/directoryRoles", {"id": "r1", "displayName": "Reader", "roleTemplateId": "t1"})
    details = {"id": "u-ann", "userPrincipalName": UPN, "isMfaRegistered": True}
    await there.post("/v1.0/reports/authenticationMethods/userRegistrationDetails", details)
    for path in ("groups/g1", "directoryRoles/r1"):
        link = {"@odata.id": f"{there.root}/v1.0/directoryObjects/u-ann"}
        await there.post(f"/v1.0/{path}/members/$ref", link)
    return made["id"], incident["id"]


async def test_everything_arrives_and_follows(tmp_path: Path) -> None:
    async with second(tmp_path / "here") as here, second(tmp_path / "there") as there:
        alert, incident = await fill(there)
        made = Connection(id="branch", connector="microsoft_graph", streams=tuple(MicrosoftGraph.streams))
        settings = {**there.settings, "since_days": 3650}
        await here.app.connections.set(here.tenant, made, settings, actor="operator", new=True)
        pipeline = Pipeline(here.app.store, Sink(), collections=fed())
        directory = Directory(here.app.store, fed(), relations())

        async def pulling() -> None:
            await PullStage(here.app.store, here.app.connections, pipeline, directory, times=FAST).run()

        stage = asyncio.create_task(pulling())
        wanted = {"users": 2, "groups": 1, "devices": 1, "servicePrincipals": 1, "directoryRoles": 1}
        wanted |= {"signIns": 1, "incidents": 1, "alerts_v2": 2, "userRegistrationDetails": 1}

        async def all_there() -> bool:
            return all([len(await rows(here, name)) >= number for name, number in wanted.items()])

        await until(all_there)
        await until(lambda: _members(here, "groups/g1", ["u-ann"]))
        await until(lambda: _members(here, "directoryRoles/r1", ["u-ann"]))
        await until(lambda: _waiting(here))
        await _stopped(stage)
        # Meanwhile nobody looks; then the next look finds what changed.
        await there.patch(f"{ALERTS}/{alert}", {"status": "resolved"})
        await there.patch(f"{INCIDENTS}/{incident}", {"status": "resolved"})
        await there.app.store.tenant(there.tenant).write(lambda tx: tx.delete("users", "u-bob"), actor="test")
        assert (await there.http.delete("/v1.0/groups/g1/members/u-ann/$ref")).is_success
        await here.app.connections.set(here.tenant, made, {**settings, "page_rows": 100}, actor="operator", new=False)
        stage = asyncio.create_task(pulling())

        async def followed() -> bool:
            titles = {each["title"]: each["status"] for each in (await rows(here, "alerts_v2")).values()}
            return (
                titles["one"] == "resolved"
                and (await rows(here, "incidents"))[incident]["status"] == "resolved"
                and set(await rows(here, "users")) == {"u-ann"}
                and await _members(here, "groups/g1", [])
            )

        await until(followed)
        await _stopped(stage)


async def _members(here: Second, path: str, ids: list[str]) -> bool:
    return [each["id"] for each in (await here.get(f"/v1.0/{path}/members"))["value"]] == ids


async def _waiting(here: Second) -> bool:
    """Every stream has been read to its end."""
    states = (await rows(here, "connectionStreams")).values()
    return {each["stream"]: each["state"] for each in states} == dict.fromkeys(MicrosoftGraph.streams, "waiting")


async def _stopped(stage: asyncio.Task[None]) -> None:
    stage.cancel()
    await asyncio.gather(stage, return_exceptions=True)
