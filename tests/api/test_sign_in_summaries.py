"""Sums of sign-ins: by who, from where and to what in windows of time, by day, by application."""

from typing import Any

import pytest
from tests.api.conftest import A, World, on_both_engines

from bartizan.api import sign_in_summaries

pytestmark = pytest.mark.anyio
ROOT = "/beta/auditLogs"
USERS = f"{ROOT}/getSummarizedNonInteractiveSignIns(aggregationWindow='d1')"
AZURE, CLI = "c44b4083-3bb0-49c1-b47d-974e53cbdf3c", "04b07795-8ddb-461a-bbee-02f9e1bf7b46"


def sign_in(at: str, app: str = AZURE, kind: str = "nonInteractiveUser", code: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "createdDateTime": at,
        "appId": app,
        "appDisplayName": "Azure Portal" if app == AZURE else "Microsoft Azure CLI",
        "ipAddress": "203.0.113.45",
        "conditionalAccessStatus": "success",
        "signInEventTypes": [kind],
        "status": {"errorCode": code},
        "userPrincipalName": "Automation@contoso.example",
        **more,
    }


async def seen(world: World) -> None:
    """Of two days: three of one sum, one that failed, one of another application, one of each other kind."""
    await world.post(
        f"{ROOT}/signIns",
        [
            sign_in("2026-11-20T06:15:32Z"),
            sign_in("2026-11-20T06:45:00Z"),
            sign_in("2026-11-20T13:00:00Z", userPrincipalName="automation@contoso.example"),
            sign_in("2026-11-20T13:30:00Z", code=50126),
            sign_in("2026-11-21T06:22:18Z", CLI),
            sign_in("2026-11-21T07:00:00Z", CLI, "servicePrincipal", servicePrincipalId="sp-1", userPrincipalName=None),
            sign_in("2026-11-21T08:00:00Z", CLI, "managedIdentity", servicePrincipalId="sp-2", userPrincipalName=None),
            sign_in("2026-11-21T09:00:00Z", kind="interactiveUser"),
            sign_in("2026-10-01T06:00:00Z"),
        ],
    )


@on_both_engines
async def test_windows(world: World) -> None:
    """A day, six hours or one: those that differ in nothing are one sum, the last first."""
    await seen(world)
    page = await world.get(USERS, by="reader")
    assert page["@odata.context"].endswith("#Collection(microsoft.graph.summarizedSignIn)")
    shown = [(each["firstSignInDateTime"], each["signInCount"], each["status"]["errorCode"]) for each in page["value"]]
    assert shown == [
        ("2026-11-21T06:22:18.0000000Z", 1, 0),
        ("2026-11-20T13:30:00.0000000Z", 1, 50126),
        ("2026-11-20T06:15:32.0000000Z", 3, 0),
    ]
    last = page["value"][-1]
    assert (last["aggregationDateTime"], last["tenantId"]) == ("2026-11-20T00:00:00.0000000Z", A)
    assert (last["userPrincipalName"], last["appDisplayName"]) == ("automation@contoso.example", "Azure Portal")
    for window, starts in (("h1", ["13:00", "06:00"]), ("h6", ["12:00", "06:00"])):
        found = await world.get(f"{USERS.replace('d1', window)}?$filter=appId eq '{AZURE}' and status/errorCode eq 0")
        assert [each["aggregationDateTime"][11:16] for each in found["value"]] == starts
    assert (await world.get(USERS, by="other"))["value"] == []


async def test_what_clients_ask(world: World) -> None:
    """A time, an order, a page size and some properties: by a script and by a check of agents."""
    await seen(world)
    asked = (
        f"{USERS}?$filter=(firstSignInDateTime ge 2026-11-20T07:00:00Z and firstSignInDateTime lt 2026-11-22T00:00:00Z)"
        "&$top=1&$orderby=firstSignInDateTime desc&$select=appId,appDisplayName"
    )
    found = await world.every(asked)
    assert [each["appId"] for each in found] == [CLI, AZURE]  # the sum that began before 7 is whole, and out
    assert "signInCount" not in found[0]
    assert [each["signInCount"] for each in await world.every(f"{USERS}?$orderby=signInCount&$top=2")] == [1, 1, 3]
    counted = await world.get(f"{USERS}?$count=true&$top=1&$filter=userPrincipalName eq 'AUTOMATION@contoso.example'")
    assert (counted["@odata.count"], len(counted["value"])) == (3, 1)
    agents = "$filter=agent/agentType eq 'agenticAppInstance' and agent/agentSubjectType ne 'agentIDuser'"
    assert (await world.get(f"{USERS}?{agents}", prefer="include-unknown-enum-members"))["value"] == []
    old = "$filter=aggregationDateTime eq 2026-10-01T00:00:00Z"
    assert [each["signInCount"] for each in (await world.get(f"{USERS}?{old}"))["value"]] == [1]


async def test_workloads(world: World) -> None:
    await seen(world)
    for name, id in (("getSummarizedServicePrincipalSignIns", "sp-1"), ("getSummarizedMSISignIns", "sp-2")):
        (found,) = (await world.get(f"{ROOT}/{name}(aggregationWindow='h1')"))["value"]
        assert (found["servicePrincipalId"], found["signInCount"], found["userPrincipalName"]) == (id, 1, None)


async def test_what_is_refused(world: World) -> None:
    await seen(world)
    for window, says in (("w1", "h1, h6, d1"), ("", "h1, h6, d1")):
        await world.refused("GET", USERS.replace("d1", window), status=400, says=says)
    await world.refused("GET", USERS.partition("(")[0], status=400, says="aggregationWindow")
    await world.refused("GET", f"{USERS}?$filter=nope eq 1", status=400, says="nope")
    await world.refused("GET", USERS, by="none", status=403, says="AuditLog.Read.All")
    await world.refused("GET", USERS.replace("beta", "v1.0"), status=404)
    await world.refused("GET", ROOT, status=405, says="a container")
    await world.refused("GET", f"{ROOT}/nope", status=404, says="nope")
    await world.refused("POST", f"{ROOT}/signInEventsSummary", {}, status=405, says="sign-ins")


@on_both_engines
async def test_by_day(world: World) -> None:
    """All kinds of sign-ins of the last 30 days."""
    await seen(world)
    page = await world.get(f"{ROOT}/signInEventsSummary", by="reader")
    assert [(each["id"], each["signInCount"]) for each in page["value"]] == [("2026-11-21", 4), ("2026-11-20", 4)]
    assert page["value"][0]["activityDateTime"] == "2026-11-21T00:00:00.0000000Z"
    few = await world.get(f"{ROOT}/signInEventsSummary?$filter=activityDateTime lt 2026-11-21T00:00:00Z&$top=5")
    assert [each["id"] for each in few["value"]] == ["2026-11-20"]
    assert (await world.get(f"{ROOT}/signInEventsSummary/2026-11-20"))["signInCount"] == 4
    await world.refused("GET", f"{ROOT}/signInEventsSummary/2026-10-01", status=404)


@on_both_engines
async def test_by_application(world: World) -> None:
    """Those of most sign-ins first; an application leads to its registration where that is known."""
    await seen(world)
    page = await world.get(f"{ROOT}/signInEventsAppSummary")
    assert [(each["appId"], each["signInCount"], each["tenantId"]) for each in page["value"]] == [
        (AZURE, 5, A),
        (CLI, 3, A),
    ]
    assert [each["appId"] for each in await world.every(f"{ROOT}/signInEventsAppSummary?$filter=signInCount gt 4")] == [
        AZURE
    ]
    one = f"{ROOT}/signInEventsAppSummary/{CLI}"
    assert (await world.get(one))["signInCount"] == 3
    await world.refused("GET", f"{one}/application", status=404)
    await world.post("/v1.0/applications", {"id": "app", "appId": CLI, "displayName": "CLI"})
    assert (await world.get(f"{one}/application"))["displayName"] == "CLI"
    await world.refused("GET", f"{ROOT}/signInEventsAppSummary/nope", status=404)


async def test_more_than_one_answer_is_made_of(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Read in parts; refused beyond a bound, rather than summed in part."""
    await seen(world)
    monkeypatch.setattr(sign_in_summaries, "CHUNK", 2)
    assert [each["signInCount"] for each in (await world.get(USERS))["value"]] == [1, 1, 3]
    monkeypatch.setattr(sign_in_summaries, "MAX_READ", 3)
    await world.refused("GET", USERS, status=400, says="firstSignInDateTime")
    assert (await world.get(f"{USERS}?$filter=appId eq '{CLI}'"))["value"]
