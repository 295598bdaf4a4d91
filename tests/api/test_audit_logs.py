"""Sign-ins and the audit of what is done here."""

from typing import Any

import pytest
from tests.api.conftest import A, World, on_both_engines

from bartizan.auth import audit

pytestmark = pytest.mark.anyio
SIGN_INS = "/v1.0/auditLogs/signIns"
BETA = "/beta/auditLogs/signIns"
AUDITS = "/v1.0/auditLogs/directoryAudits"


def sign_in(n: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"s{n}",
        "createdDateTime": f"2026-11-22T0{n}:00:00Z",
        "userId": f"u{n}",
        "userDisplayName": f"User {n}",
        "userPrincipalName": f"User{n}@contoso.example",
        "appId": "app-1",
        "appDisplayName": "Graph Explorer",
        "ipAddress": f"203.0.113.{n}",
        "clientAppUsed": "Browser",
        "conditionalAccessStatus": "notApplied",
        "correlationId": f"c{n}",
        "resourceDisplayName": "Microsoft Graph",
        "resourceId": "r1",
        "isInteractive": True,
        "status": {"errorCode": 50126 if n == 2 else 0, "failureReason": "bad password" if n == 2 else None},
        "deviceDetail": {"browser": "Edge 120.0", "operatingSystem": "Windows 11", "displayName": f"pc{n}"},
        "location": {"city": "Oslo", "state": "Oslo", "countryOrRegion": "NO", "geoCoordinates": {"latitude": 59.9}},
        "riskLevelAggregated": "none",
        "riskEventTypes_v2": ["unfamiliarFeatures"] if n == 3 else [],
        **more,
    }


@pytest.fixture
async def signed(world: World) -> World:
    """Four of v1.0, of which the third was risky, and one of beta by a workload."""
    await world.post(SIGN_INS, [sign_in(n) for n in range(1, 5)])
    workload = {
        "userAgent": "curl/8",
        "servicePrincipalId": "sp1",
        "servicePrincipalName": "Nightly job",
        "signInEventTypes": ["servicePrincipal"],
        "authenticationRequirement": "singleFactorAuthentication",
        "originalRequestId": "o5",
        "tokenIssuerName": "adfs",
        "appOwnerTenantId": A,
    }
    await world.post(BETA, {**sign_in(5, isInteractive=None), **workload})
    return world


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ("appId eq 'app-1' and userId eq 'u1'", "1"),
        ("startswith(appDisplayName,'Graph')", "4321"),
        ("clientAppUsed eq 'Browser' and correlationId eq 'c2'", "2"),
        ("conditionalAccessStatus eq 'notApplied'", "4321"),
        ("createdDateTime ge 2026-11-22T03:00:00Z and createdDateTime le 2026-11-22T04:00:00Z", "43"),
        ("createdDateTime eq 2026-11-22T03:00:00Z", "3"),
        ("deviceDetail/browser eq 'Edge 120.0' and startswith(deviceDetail/operatingSystem,'Win')", "4321"),
        ("ipAddress eq '203.0.113.4'", "4"),
        ("startswith(ipAddress,'203.0.113.1')", "1"),
        ("location/city eq 'Oslo' and location/countryOrRegion eq 'NO' and location/state ne 'x'", "4321"),
        ("startswith(location/city,'Ber')", ""),
        ("resourceDisplayName eq 'Microsoft Graph' and resourceId eq 'r1'", "4321"),
        ("riskLevelAggregated eq 'none' and riskLevelDuringSignIn eq 'none' and riskState eq 'none'", "4321"),
        ("riskDetail eq 'none'", "4321"),
        ("riskEventTypes_v2/any(t: t eq 'unfamiliarFeatures')", "3"),
        ("riskEventTypes_v2/any(t: startswith(t,'unf'))", "3"),
        ("status/errorCode eq 50126", "2"),
        ("status/errorCode ne 0", "2"),
        ("userDisplayName eq 'User 2' or startswith(userDisplayName,'User 4')", "42"),
        ("userPrincipalName eq 'user3@contoso.example'", "3"),
        ("startswith(userPrincipalName,'USER3')", "3"),
        ("isInteractive eq false", "5"),
        ("id eq 's5'", "5"),
        ("Status/ErrorCode eq 0 and USERID eq 'u1'", "1"),
    ],
)
async def test_documented_filters(signed: World, wanted: str, ids: str) -> None:
    """Each property that the documentation lists, newest first."""
    for root in (SIGN_INS, BETA):
        found = (await signed.get(f"{root}?$filter={wanted}"))["value"]
        assert "".join(each["id"][1:] for each in found) == ids


_OTHERS = "signInEventTypes/any(t: t ne 'interactiveUser')"


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ("signInEventTypes/any(t: t eq 'interactiveUser')", "4321"),
        ("signInEventTypes/any(t: t ne 'interactiveUser')", "5"),
        ("signInEventTypes/any(t: t eq 'INTERACTIVEuser')", "4321"),  # as some scripts spell it
        ("signInEventTypes/any(t: t in ('serviceprincipal', 'x'))", "5"),
        ("riskEventTypes_v2/any(t: t eq 'UnfamiliarFeatures')", "3"),
        ("servicePrincipalId eq 'sp1' and startswith(servicePrincipalName,'Night')", "5"),
        (f"authenticationRequirement eq 'singleFactorAuthentication' and {_OTHERS}", "5"),
        (f"originalRequestId eq 'o5' and appOwnerTenantId eq '{A}' and {_OTHERS}", "5"),
        (f"tokenIssuerName eq 'adfs' and {_OTHERS}", "5"),
        (f"startswith(userAgent,'curl') and {_OTHERS}", "5"),
        ("startswith(userAgent,'curl')", ""),
    ],
)
@on_both_engines
async def test_beta_filters(signed: World, wanted: str, ids: str) -> None:
    found = (await signed.get(f"{BETA}?$filter={wanted}"))["value"]
    assert "".join(each["id"][1:] for each in found) == ids


async def test_sign_ins_of_agents(signed: World) -> None:
    """What is said of an agent is kept, filtered by and shown in beta, where Graph has it."""
    agent = {"agentType": "agenticAppInstance", "parentAppId": "a0", "agentSubjectType": "notAgentic"}
    kinds = {"signInEventTypes": ["servicePrincipal"], "servicePrincipalId": "sp6", "isInteractive": None}
    await signed.post(BETA, {**sign_in(6, **kinds), "agent": agent})
    wanted = "signInEventTypes/any(t: t eq 'servicePrincipal') and agent/agentType eq 'agenticAppInstance'"
    (found,) = (await signed.get(f"{BETA}?$filter={wanted}"))["value"]
    assert found["agent"] == {**agent, "agentSubjectParentId": None}
    assert "agent" not in await signed.get(f"{SIGN_INS}/s6")
    metadata = (await signed.call("GET", "/beta/$metadata")).text
    assert '<Schema Namespace="microsoft.graph.agentic"' in metadata
    assert '<Property Name="agent" Type="microsoft.graph.agentic.agentSignIn"/>' in metadata
    assert "agentic" not in (await signed.call("GET", "/v1.0/$metadata")).text


@on_both_engines
async def test_a_list_is_of_interactive_sign_ins(signed: World) -> None:
    """As in Graph, where the filter does not say which kinds are meant; each can be read by its id."""
    for root in (SIGN_INS, BETA):
        page = await signed.get(f"{root}?$count=true&$top=3")
        assert (page["@odata.count"], [each["id"] for each in page["value"]]) == (4, ["s4", "s3", "s2"])
        assert [each["id"] for each in (await signed.get(page["@odata.nextLink"]))["value"]] == ["s1"]
        assert (await signed.call("GET", f"{root}/$count")).text == "4"
        assert (await signed.get(f"{root}?$count=true&$top=0"))["@odata.count"] == 4
        assert (await signed.get(f"{root}/s5"))["servicePrincipalId"] == "sp1"
    assert (await signed.call("GET", f"{BETA}/$count?$filter={_OTHERS}")).text == "1"


async def test_a_sign_in_has_every_key(signed: World) -> None:
    one = await signed.get(f"{SIGN_INS}/s2")
    assert one["status"] == {"additionalDetails": None, "errorCode": 50126, "failureReason": "bad password"}
    assert (one["appliedConditionalAccessPolicies"], one["riskEventTypes_v2"]) == ([], [])
    assert (one["deviceDetail"]["isCompliant"], one["location"]["geoCoordinates"]["latitude"]) == (None, 59.9)
    assert one["createdDateTime"] == "2026-11-22T02:00:00.0000000Z"
    assert "signInEventTypes" not in one


async def test_bulk_is_atomic(world: World) -> None:
    await world.refused("POST", SIGN_INS, [sign_in(1), sign_in(2, nope=1)], status=400, says="[1]: nope")
    await world.refused("POST", SIGN_INS, [sign_in(1), {"id": "x"}], status=400, says="createdDateTime")
    assert (await world.call("GET", f"{SIGN_INS}/$count")).text == "0"
    await world.refused("POST", SIGN_INS, sign_in(1), status=403, by="reader")


@pytest.mark.parametrize(
    ("decision", "state", "level", "detail"),
    [
        ("confirmCompromised", "confirmedCompromised", "high", "adminConfirmedSigninCompromised"),
        ("confirmSafe", "confirmedSafe", "none", "adminConfirmedSigninSafe"),
        ("dismiss", "dismissed", "none", "adminDismissedRiskForSignIn"),
    ],
)
async def test_decisions(signed: World, decision: str, state: str, level: str, detail: str) -> None:
    """204 twice, all of them or none; state, aggregated level and detail follow."""
    await signed.refused("POST", f"{SIGN_INS}/{decision}", {"requestIds": ["s1", "gone"]}, status=404, says="'gone'")
    await signed.refused("POST", f"{SIGN_INS}/{decision}", {"requestIds": []}, status=400)
    await signed.refused("POST", f"{SIGN_INS}/{decision}", {"requestIds": ["s1"]}, status=403, by="reader")
    for _ in range(2):
        answer = await signed.call("POST", f"{SIGN_INS}/{decision}", {"RequestIds": ["s1", "s2"]}, by="operator")
        assert (answer.status_code, answer.content) == (204, b"")
    late = {"prefer": "include-unknown-enum-members"}
    found = (await signed.get(f"{SIGN_INS}?$filter=riskState eq '{state}'", **late))["value"]
    assert [each["id"] for each in found] == ["s2", "s1"]
    assert (found[0]["riskLevelAggregated"], found[0]["riskDetail"]) == (level, detail)
    entries = (await signed.get(f"{AUDITS}?$filter=startswith(activityDisplayName,'{decision}')"))["value"]
    assert len(entries) == 1
    assert [each["id"] for each in entries[0]["targetResources"]] == ["s1", "s2"]


# ---------------------------------------------------------------- directoryAudits


@pytest.fixture
async def audited(world: World) -> World:
    await world.post("/v1.0/security/incidents", {"id": "i", "displayName": "x"})
    await world.patch("/v1.0/security/incidents/i", {"status": "resolved"}, by="analyst")
    return world


async def test_own_entries(audited: World) -> None:
    """Each change is an entry, newest first, and the chain that holds them is whole."""
    first, second = (await audited.get(AUDITS))["value"]
    assert (first["activityDisplayName"], second["activityDisplayName"]) == ("Update incident", "Add incident")
    assert first["initiatedBy"]["user"]["id"] == "id-of-analyst"
    assert second["initiatedBy"]["app"]["appId"] == "app-a"
    assert (first["result"], first["operationType"], first["loggedByService"]) == ("success", "Update", "Bartizan")
    assert first["activityDateTime"] > second["activityDateTime"]
    assert (await audited.get(f"{AUDITS}/{first['id']}"))["correlationId"] == first["correlationId"]
    report = await audit.verify(audited.store.tenant(A))
    assert report.ok, report


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ("activityDisplayName eq 'Update incident'", 1),
        ("startswith(activityDisplayName,'Add')", 1),
        ("activityDateTime ge 2026-01-01T00:00:00Z and activityDateTime le 2099-01-01T00:00:00Z", 2),
        ("activityDateTime eq 2026-01-01T00:00:00Z", 0),
        ("loggedByService eq 'Bartizan'", 2),
        ("correlationId eq 'none'", 0),
        ("initiatedBy/user/id eq 'id-of-analyst'", 1),
        ("initiatedBy/user/displayName eq 'Analyst'", 1),
        ("initiatedBy/user/userPrincipalName eq 'analyst@contoso.example'", 1),
        ("startswith(initiatedBy/user/userPrincipalName,'analyst')", 1),
        ("initiatedBy/app/appId eq 'app-a'", 1),
        ("initiatedBy/app/displayName eq 'App A'", 1),
        ("targetResources/any(t: t/id eq 'i')", 2),
        ("targetResources/any(t: t/displayName eq 'nothing')", 0),
        ("targetResources/any(t:startswith(t/id,'i'))", 2),
        ("category eq 'Security'", 2),
    ],
)
async def test_audit_filters(audited: World, wanted: str, count: int) -> None:
    """As documented, with the header that a connector sends as well."""
    found = (await audited.get(f"{AUDITS}?$filter={wanted}&$top=50", consistencylevel="eventual"))["value"]
    assert len(found) == count


async def test_nobody_writes_the_audit(audited: World) -> None:
    """The log takes entries from what is done only."""
    (entry, _) = (await audited.get(AUDITS))["value"]
    await audited.refused("POST", AUDITS, {"activityDisplayName": "x"}, status=405)
    await audited.refused("PATCH", f"{AUDITS}/{entry['id']}", {"result": "failure"}, status=405)
    await audited.refused("DELETE", f"{AUDITS}/{entry['id']}", status=405)
    assert (await audited.get(AUDITS, by="other"))["value"] == []
