"""Products as an operator has them: pulled by the stage, and read from the store with what a push needs."""

from pathlib import Path

import pytest
from tests.connectors.double_server import serving
from tests.connectors.test_crowdstrike_falcon import filled as falcon_with
from tests.connectors.test_microsoft_defender_endpoint import at
from tests.connectors.test_microsoft_defender_endpoint import filled as defender_with
from tests.connectors.test_okta import Org, entry, user
from tests.connectors.test_sentinelone import filled as console_with
from tests.connectors.test_through_the_stage import a_site

from bartizan.store.alerts import ALERTS_V2


@pytest.mark.asyncio
async def test_alerts(tmp_path: Path) -> None:
    """Alerts are there once, under the ids of their systems; what is decided there comes with the next look."""
    falcon = falcon_with(*(f"2026-03-01T10:0{n}:00Z" for n in range(3)))
    console = console_with("2026-03-01T10:00:00Z")
    defender = defender_with(at(1), at(2))
    async with (
        a_site(tmp_path) as site,
        serving(falcon.answer) as first,
        serving(console.answer) as second,
        serving(defender.answer) as third,
    ):
        far = {"since_days": 3_650}
        await site.connect(
            "falcon", "crowdstrike_falcon", "alerts", address=first, client_id="c", client_secret="s3cret", **far
        )
        await site.connect("s1", "sentinelone", "threats", url=second, token="t0ken", **far)
        mde = {"address": third, "authority": third, "tenant": "contoso", "client_id": "c", "client_secret": "s3cret"}
        await site.connect("mde", "microsoft_defender_endpoint", "alerts", **mde)
        streams = (("falcon", "alerts"), ("s1", "threats"), ("mde", "alerts"))
        wanted = {*falcon.alerts, *console.threats, *defender.alerts}
        for _ in range(2):
            for id, stream in streams:
                state = await site.look(id, stream)
                assert state.get("lastError") is None, state
            found = {one["providerAlertId"]: one["status"] for one in await site.rows(ALERTS_V2.name)}
            assert found == dict.fromkeys(wanted, "new")
        closed = next(iter(falcon.alerts.values()))
        closed |= {"status": "closed", "tags": ["true_positive"], "updated_timestamp": "2026-03-01T12:00:00Z"}
        threat = next(iter(console.threats.values()))["threatInfo"]
        threat |= {
            "incidentStatus": "resolved",
            "analystVerdict": "false_positive",
            "updatedAt": "2026-03-01T12:00:00Z",
        }
        decided = next(iter(defender.alerts.values()))
        decided |= {"status": "InProgress", "assignedTo": "ada@corp.example", "lastUpdateTime": at(60)}
        for id, stream in streams:
            await site.look(id, stream)
        rows = {one["providerAlertId"]: one for one in await site.rows(ALERTS_V2.name)}
        assert rows.keys() == wanted
        assert [rows[closed["composite_id"]][word] for word in ("status", "classification")] == [
            "resolved",
            "truePositive",
        ]
        assert rows[threat["threatId"]]["classification"] == "falsePositive"
        assert [rows[decided["id"]][word] for word in ("status", "assignedTo")] == ["inProgress", "ada@corp.example"]


@pytest.mark.asyncio
async def test_okta(tmp_path: Path) -> None:
    """The directory is there after a round of each stream; what Okta no longer names is gone after the next; a sign-in
    names the same user."""
    org = Org()
    org.users = {id: user(id, f"{id}@corp.example") for id in ("00u1", "00u2")}
    org.groups = {"00g1": ["00u1", "00u2"]}
    org.apps = [{"id": "0oa1", "name": "crm", "label": "CRM", "status": "ACTIVE"}]
    org.factors = {"00u1": [{"factorType": "webauthn", "status": "ACTIVE"}]}
    org.roles = {"00u1": [{"id": "ra1", "type": "SUPER_ADMIN", "label": "Super Administrator", "status": "ACTIVE"}]}
    org.log = [entry(1, "2099-03-01T10:00:00.000Z")]
    streams = ("users", "groups", "servicePrincipals", "directoryRoles", "userRegistrationDetails", "logs")
    async with a_site(tmp_path) as site, serving(org.answer) as url:
        for stream in streams:
            await site.connect(f"okta-{stream.lower()}", "okta", stream, url=url, token="t0ken")
        for stream in streams:
            state = await site.look(f"okta-{stream.lower()}", stream)
            assert state.get("lastError") is None, state
        assert {one["id"] for one in await site.rows("users")} == {"00u1", "00u2"}
        assert await site.members("00g1") == {("users", "00u1"), ("users", "00u2")}
        (role,) = await site.rows("directoryRoles")
        assert await site.members(role["id"]) == {("users", "00u1")}
        (app,) = await site.rows("servicePrincipals")
        assert app["appId"] == "0oa1"
        registered = {one["id"]: one["isMfaRegistered"] for one in await site.rows("userRegistrationDetails")}
        assert registered == {"00u1": True, "00u2": False}
        (sign_in,) = await site.rows("signIns")
        assert sign_in["userId"] == "00u1"
        org.groups["00g1"].remove("00u2")
        del org.users["00u2"]
        for stream in ("groups", "users"):
            await site.look(f"okta-{stream}", stream)
        assert await site.members("00g1") == {("users", "00u1")}
        assert [one["id"] for one in await site.rows("users")] == ["00u1"]
