"""Posture by the API: facts go in by the sets that directories fill, the stage is run as a worker runs it."""

from datetime import datetime, timedelta
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import pytest
from tests.api.conftest import NOW, A, B, World, on_both_engines
from tests.api.test_scores import score as brought_score

from bartizan.app.assembly import fed
from bartizan.identity.posture import CONTROLS, PostureStage
from bartizan.identity.posture.gather import PAGE_ROWS

pytestmark = pytest.mark.anyio
SCORES, PROFILES = "/v1.0/security/secureScores", "/v1.0/security/secureScoreControlProfiles"
BETA = "/beta/security/secureScoreControlProfiles"
TODAY = "/v1.0/reports/authenticationMethods/userRegistrationDetails"
OLD = "/beta/reports/credentialUserRegistrationDetails"
GLOBAL = "62e90394-69f5-4237-9190-012177145e10"
OURS = "$filter=vendorInformation/provider eq 'Bartizan Identity Posture'"


def stage(world: World, *, later: timedelta = timedelta(0), changes: tuple[str, ...] = ()) -> PostureStage:
    return PostureStage(world.store, fed(), clock=lambda: NOW + later, changes=changes)


def user(name: str, **more: Any) -> dict[str, Any]:
    return {"id": f"id-{name}", "displayName": name, "userPrincipalName": f"{name}@contoso.example", **more}


def sign_in(name: str, at: datetime, **more: Any) -> dict[str, Any]:
    return {
        "id": f"{name}-{at:%d%H%M}-{more.get('clientAppUsed', '')}",
        "createdDateTime": at.isoformat().replace("+00:00", "Z"),
        "userId": f"id-{name}",
        "userPrincipalName": f"{name}@contoso.example",
        "status": {"errorCode": 0},
        **more,
    }


async def directory(world: World, *, by: str = "admin") -> None:
    """Three people: ann administers through a group and has no second factor; bob signs in by IMAP; eve is a guest."""
    await world.post("/v1.0/users", [user("ann"), user("bob"), user("eve", userType="Guest")], by=by)
    await world.post("/v1.0/groups", {"id": "g1", "displayName": "Admins"}, by=by)
    await world.post("/v1.0/directoryRoles", {"id": "r1", "displayName": "Global", "roleTemplateId": GLOBAL}, by=by)
    for path, target in (("groups/g1", "users/id-ann"), ("directoryRoles/r1", "groups/g1")):
        await world.post(f"/v1.0/{path}/members/$ref", {"@odata.id": f"https://graph.test/v1.0/{target}"}, by=by)
    registered = [("ann", False), ("bob", True)]
    rows = [
        {"id": f"id-{name}", "userPrincipalName": f"{name}@contoso.example", "isMfaRegistered": is_so}
        for name, is_so in registered
    ]
    await world.post(TODAY, rows, by=by)
    await world.post(
        "/v1.0/auditLogs/signIns",
        [
            sign_in("bob", NOW - timedelta(days=2), clientAppUsed="IMAP4"),
            sign_in("ann", NOW - timedelta(days=1), clientAppUsed="Browser"),
            sign_in("ann", NOW - timedelta(days=1, hours=1), clientAppUsed="POP3", status={"errorCode": 50126}),
        ],
        by=by,
    )


async def evidence(world: World, control: str, *, by: str = "admin") -> list[tuple[str, str]]:
    rows = await world.every(f"{BETA}/{control}/evidence", by=by)
    return [(row["displayName"], row["reason"]) for row in rows]


def of(score: dict[str, Any], control: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in score["controlScores"] if each["controlName"] == control)
    return found


@on_both_engines
async def test_from_facts_to_score(world: World) -> None:
    """Each control names who is affected and why; the score is the sum of what was assessed."""
    await directory(world)
    assert await stage(world).look(A)
    score = (await world.get(SCORES))["value"][0]
    assert score["createdDateTime"] == "2026-11-23T00:00:00.0000000Z"
    assert score["vendorInformation"] == {
        "provider": "Bartizan Identity Posture",
        "providerVersion": None,
        "subProvider": None,
        "vendor": "Bartizan",
    }
    assert await evidence(world, "BartizanAdminMFA") == [
        ("ann@contoso.example", "is not registered for multifactor authentication; holds Global")
    ]
    legacy = await evidence(world, "BartizanLegacyAuthentication")
    assert legacy == [("bob@contoso.example", "signed in by IMAP4, last on 2026-11-21")]
    mfa = of(score, "BartizanUserMFA")
    assert (mfa["score"], mfa["count"], mfa["total"]) == (4.5, "1", "2")  # of eve nothing is known
    assert of(score, "BartizanAdminMFA")["score"] == 0
    assert (of(score, "BartizanGuestRoles")["score"], of(score, "BartizanGlobalAdmins")["score"]) == (5, 0)
    assert score["currentScore"] == round(sum(each["score"] for each in score["controlScores"]), 2)
    assert score["maxScore"] == sum(CONTROLS[each["controlName"]].max_score for each in score["controlScores"])
    profile = await world.get(f"{BETA}/BartizanAdminMFA")
    assert (profile["controlCategory"], profile["maxScore"], profile["rank"]) == ("Identity", 10, 1)
    assert profile["assessmentDetail"] == "1 of 1 users that it is about are affected."


async def test_what_was_never_told_does_not_count(world: World) -> None:
    """Neither as met nor as missed: the control is in neither sum, and says so."""
    await world.post("/v1.0/users", user("ann"))
    await directory_roles_only(world)
    await stage(world).look(A)
    score = (await world.get(SCORES))["value"][0]
    named = {each["controlName"] for each in score["controlScores"]}
    assert "BartizanGlobalAdmins" in named
    assert not named & {"BartizanUserMFA", "BartizanSignInRiskPolicy", "BartizanStaleUsers", "BartizanAppPrivileges"}
    assert score["maxScore"] == sum(CONTROLS[name].max_score for name in named)
    profile = await world.get(f"{BETA}/BartizanUserMFA")
    assert (profile["assessmentState"], await evidence(world, "BartizanUserMFA")) == ("notAssessed", [])


async def directory_roles_only(world: World) -> None:
    await world.post("/v1.0/directoryRoles", {"id": "r1", "displayName": "Global", "roleTemplateId": GLOBAL})


async def test_an_empty_tenant_has_no_score(world: World) -> None:
    assert await stage(world).look(A)
    assert (await world.get(SCORES))["value"] == []
    assert len((await world.get(PROFILES))["value"]) == len(CONTROLS)


@on_both_engines
async def test_twice_changes_nothing(world: World) -> None:
    """Neither another look, nor another assessment of the same facts, nor a worker that starts again."""
    await directory(world)
    first = stage(world)
    await first.look(A)
    paths = (SCORES, PROFILES, TODAY, OLD)
    before = [await world.get(path) for path in paths]
    assert not await first.look(A) and not await stage(world).look(A)
    await stage(world).assess(A)
    assert [await world.get(path) for path in paths] == before


async def test_each_day_has_a_score(world: World) -> None:
    """History stays; a change of facts on the same day renews the day's."""
    await directory(world)
    await stage(world).look(A)
    yesterday = (await world.get(f"{SCORES}?$top=1"))["value"][0]
    await world.post(
        f"{TODAY}",
        {"id": "id-ann", "userPrincipalName": "ann@contoso.example", "isMfaRegistered": True},
        prefer="resolution=merge-duplicates",
    )
    assert await stage(world, later=timedelta(days=1)).look(A)
    scores = (await world.get(SCORES))["value"]
    assert [each["createdDateTime"][:10] for each in scores] == ["2026-11-24", "2026-11-23"]
    assert scores[1] == yesterday and scores[0]["currentScore"] > yesterday["currentScore"]
    assert await evidence(world, "BartizanAdminMFA") == []
    await world.post("/v1.0/users", user("ida", accountEnabled=True))
    assert await stage(world, later=timedelta(days=1, hours=2)).look(A)
    assert len((await world.get(SCORES))["value"]) == 2


async def test_scores_of_others_stay(world: World) -> None:
    """A score and a profile of another provider are there beside ours, as they came."""
    await directory(world)
    await world.post(SCORES, brought_score(23, 120.5))
    await world.post(
        PROFILES, {"id": "AdminMFAV2", "title": "Theirs", "vendorInformation": {"provider": "SecureScore"}}
    )
    theirs = await world.get(f"{SCORES}?$filter=vendorInformation/provider eq 'SecureScore'")
    await stage(world).look(A)
    assert await world.get(f"{SCORES}?$filter=vendorInformation/provider eq 'SecureScore'") == theirs
    assert len((await world.get(f"{SCORES}?{OURS}"))["value"]) == 1
    assert (await world.get(f"{PROFILES}/AdminMFAV2"))["title"] == "Theirs"


async def test_what_people_say_of_a_control(world: World) -> None:
    """It stays through assessments; solved by a third party it has its points, ignored none."""
    await directory(world)
    await stage(world).look(A)
    ours = {"vendor": "Bartizan", "provider": "Bartizan Identity Posture"}
    for control, state in (
        ("BartizanAdminMFA", "ThirdParty"),
        ("BartizanGuestRoles", "Ignored"),
        ("BartizanSignInRiskPolicy", "ThirdParty"),
    ):
        update = {"state": state, "comment": "known", "assignedTo": "ann"}
        await world.patch(f"{PROFILES}/{control}", {"vendorInformation": ours, "controlStateUpdates": [update]})
    assert await stage(world).look(A)
    score = (await world.get(SCORES))["value"][0]
    assert (of(score, "BartizanAdminMFA")["score"], of(score, "BartizanGuestRoles")["score"]) == (10, 0)
    assert of(score, "BartizanSignInRiskPolicy")["score"] == 7  # never assessed, and somebody vouches for it
    kept = (await world.get(f"{PROFILES}/BartizanAdminMFA"))["controlStateUpdates"]
    assert [(each["state"], each["comment"]) for each in kept] == [("ThirdParty", "known")]


async def test_projection(world: World) -> None:
    """What chosen controls would add, or all of them; of a score that was brought in as well, by its profiles."""
    await directory(world)
    await stage(world).look(A)
    score = (await world.get(SCORES))["value"][0]
    path = f"/beta/security/secureScores/{score['id']}/projection"
    found = await world.get(f'{path}(controlNames=@n)?@n=["BartizanUserMFA","BartizanAdminMFA"]')
    assert found["projectedScore"] == round(score["currentScore"] + 4.5 + 10, 2)
    assert [(each["controlName"], each["gain"]) for each in found["gains"]] == [
        ("BartizanUserMFA", 4.5),
        ("BartizanAdminMFA", 10),
    ]
    everything = await world.get(f"{path}(controlNames=null)")
    assert everything["projectedScore"] == score["maxScore"]
    await world.refused("GET", f'{path}(controlNames=@n)?@n=["Nope"]', status=400, says="BartizanUserMFA")
    await world.post(SCORES, brought_score(22, 100))
    theirs = (await world.get(f"{SCORES}?$filter=vendorInformation/provider eq 'SecureScore'"))["value"][0]["id"]
    other = f"/beta/security/secureScores/{theirs}/projection(controlNames=null)"
    await world.refused("GET", other, status=400, says="maxScore of control 'AdminMFAV2'")
    await world.post(PROFILES, {"id": "AdminMFAV2", "title": "Theirs", "maxScore": 10})
    assert (await world.get(other))["projectedScore"] == 100.5
    await world.refused("GET", path, status=401, by=None)


async def test_reports_are_filled_and_give_way(world: World) -> None:
    """A row that nobody brought is made from the other report or from sign-ins; what is brought in replaces it."""
    await directory(world)
    strong = sign_in("eve", NOW - timedelta(days=3), authenticationRequirement="multiFactorAuthentication")
    await world.post("/beta/auditLogs/signIns", strong)
    brought = await world.get(TODAY)
    await stage(world).look(A)
    assert [(each["id"], each["isMfaRegistered"]) for each in (await world.get(OLD))["value"]] == [
        ("id-ann", False),
        ("id-bob", True),
        ("id-eve", True),
    ]
    now = (await world.get(TODAY))["value"]
    assert now[:2] == brought["value"] and (now[2]["userType"], now[2]["isMfaRegistered"]) == ("guest", True)
    row = {"id": "id-eve", "userPrincipalName": "eve@contoso.example", "isMfaRegistered": False}
    assert (await world.call("POST", TODAY, row)).status_code == 201
    await world.refused("POST", TODAY, {**row, "isMfaRegistered": True}, status=409)
    await stage(world).look(A)
    assert (await world.get(f"{TODAY}/id-eve"))["isMfaRegistered"] is False
    assert (await world.get(f"{OLD}/id-eve"))["isMfaRegistered"] is False
    assert [name for name, _ in await evidence(world, "BartizanUserMFA")] == [
        "ann@contoso.example",
        "eve@contoso.example",
    ]


def guid(name: str) -> str:
    return str(uuid5(NAMESPACE_DNS, name))


async def test_applications_and_policies(world: World) -> None:
    """Permissions by the resource's own words or by their ids; a policy that only reports is named."""
    graph = {
        "id": guid("graph"),
        "appId": "a-graph",
        "displayName": "Graph",
        "appRoles": [{"id": "7" * 8 + "-7777-7777-7777-777777777777", "value": "Mail.ReadWrite"}],
    }
    apps = [
        graph,
        *({"id": guid(name), "appId": f"a-{name}", "displayName": name} for name in ("sync", "mail", "reader")),
    ]
    await world.post("/v1.0/servicePrincipals", apps)
    granted = (
        ("sync", "9e3f62cf-ca93-4989-b6ce-bf83c28f9fe8"),
        ("mail", "7" * 8 + "-7777-7777-7777-777777777777"),
        ("reader", "8" * 8 + "-8888-8888-8888-888888888888"),
    )
    await world.post(
        "/v1.0/appRoleAssignments",
        [
            {"id": f"as-{app}", "principalId": guid(app), "resourceId": guid("graph"), "appRoleId": id}
            for app, id in granted
        ],
    )
    policy = {
        "displayName": "Risk",
        "state": "enabledForReportingButNotEnforced",
        "conditions": {
            "signInRiskLevels": ["high"],
            "users": {"includeUsers": ["All"]},
            "applications": {"includeApplications": ["All"]},
        },
        "grantControls": {"operator": "OR", "builtInControls": ["mfa"]},
    }
    await world.post("/v1.0/identity/conditionalAccess/policies", policy)
    await stage(world).look(A)
    assert await evidence(world, "BartizanAppPrivileges") == [
        ("mail", "may Mail.ReadWrite as an application"),
        ("sync", "may RoleManagement.ReadWrite.Directory as an application"),
    ]
    assert [name for name, _ in await evidence(world, "BartizanSignInRiskPolicy")] == ["Risk"]
    assert (await world.get(f"{BETA}/BartizanUnusedApps"))["assessmentState"] == "notAssessed"


@on_both_engines
async def test_more_users_than_a_page(world: World) -> None:
    """Every one is judged once, and their evidence comes in pages."""
    many = 2 * PAGE_ROWS + 7
    for start in range(0, many, 200):
        part = range(start, min(start + 200, many))
        await world.post("/v1.0/users", [user(f"u{n:04}") for n in part])
        rows = [{"id": f"id-u{n:04}", "userPrincipalName": f"u{n:04}@c", "isMfaRegistered": n % 2 == 0} for n in part]
        await world.post(TODAY, rows)
    await stage(world).look(A)
    mfa = of((await world.get(SCORES))["value"][0], "BartizanUserMFA")
    assert (mfa["count"], mfa["total"]) == (str((many + 1) // 2), str(many))
    found = await evidence(world, "BartizanUserMFA")
    assert len(found) == len(set(found)) == many // 2


async def test_a_tenant_sees_only_itself(world: World) -> None:
    await directory(world)
    await stage(world).look(A)
    await stage(world).look(B)
    assert (await world.get(SCORES, by="other"))["value"] == []
    assert await evidence(world, "BartizanAdminMFA", by="other") == []
    assert (await world.get(OLD, by="other"))["value"] == []


async def test_another_limit(world: World) -> None:
    await directory(world)
    await stage(world, changes=("BartizanLegacyAuthentication.days=1",)).look(A)
    assert await evidence(world, "BartizanLegacyAuthentication") == []


async def test_evidence_needs_the_right_to_read(world: World) -> None:
    await directory(world)
    await stage(world).look(A)
    await world.refused("GET", f"{BETA}/BartizanUserMFA/evidence", status=403, by="none")
    await world.refused("GET", f"{PROFILES}/BartizanUserMFA/evidence", status=404, says="evidence")
