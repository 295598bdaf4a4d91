"""Conditional access evaluated: the what-if of Graph, and the decision about a sign-in under way."""

import asyncio
import time
from typing import Any

import pytest
from tests.api.conftest import Around, World, on_both_engines

from bartizan.errors import Unavailable

pytestmark = pytest.mark.anyio
ROOT = "/v1.0/identity/conditionalAccess"
DECIDE = "/beta/identity/conditionalAccess/decide"
ANA, BEN = "aaaaaaaa-0000-4000-8000-000000000001", "bbbbbbbb-0000-4000-8000-000000000002"
INNER_GROUP, OUTER_GROUP = "cccccccc-0000-4000-8000-000000000003", "dddddddd-0000-4000-8000-000000000004"
ADMIN_ROLE, ADMIN_TEMPLATE = "eeeeeeee-0000-4000-8000-000000000005", "62e90394-69f5-4237-9190-012177145e10"
APP = "11111111-2222-4333-8444-555555555555"
MFA: dict[str, Any] = {"operator": "OR", "builtInControls": ["mfa"]}


def policy(name: str, grant: dict[str, Any] | None = MFA, **more: Any) -> dict[str, Any]:
    conditions = more.pop("conditions", {})
    base: dict[str, Any] = {"users": {"includeUsers": ["All"]}, "applications": {"includeApplications": ["All"]}}
    return {
        "displayName": name,
        "state": "enabled",
        "conditions": {**base, **conditions},
        "grantControls": grant,
        **more,
    }


async def directory(world: World) -> None:
    """Ana in a group in a group, and administrator."""
    await world.post(
        "/v1.0/users",
        [
            {"id": ANA, "userPrincipalName": "ana@contoso.example", "displayName": "Ana"},
            {"id": BEN, "userPrincipalName": "ben_partner.example#EXT#@contoso.example", "userType": "Guest"},
        ],
    )
    await world.post(
        "/v1.0/groups", [{"id": INNER_GROUP, "displayName": "Inner"}, {"id": OUTER_GROUP, "displayName": "Outer"}]
    )
    await world.post(
        "/v1.0/directoryRoles", {"id": ADMIN_ROLE, "displayName": "Admin", "roleTemplateId": ADMIN_TEMPLATE}
    )
    await member(world, f"groups/{INNER_GROUP}", ANA)
    await member(world, f"groups/{OUTER_GROUP}", INNER_GROUP)
    await member(world, f"directoryRoles/{ADMIN_ROLE}", ANA)


async def member(world: World, of: str, id: str) -> None:
    body = {"@odata.id": f"https://graph.test:8443/v1.0/directoryObjects/{id}"}
    answer = await world.call("POST", f"/v1.0/{of}/members/$ref", body)
    assert answer.status_code == 204, answer.text


async def decide(world: World, sign_in: dict[str, Any], *, by: str = "admin", **more: Any) -> Any:
    return await world.post(DECIDE, {"signIn": {"appId": APP, **sign_in}, **more}, by=by)


async def soon(world: World, sign_in: dict[str, Any], decision: str) -> Any:
    """What was changed counts soon: within a second, where the machine has one to spare."""
    until = time.monotonic() + 20
    while (answer := await decide(world, sign_in))["decision"] != decision:
        assert time.monotonic() < until, answer
        await asyncio.sleep(0.02)
    return answer


@on_both_engines
async def test_decision(world: World) -> None:
    """Groups through groups, roles by template, the name for the id; what was done counts; nothing is stored."""
    await directory(world)
    made = await world.post(
        f"{ROOT}/policies",
        [
            policy("Outer", conditions={"users": {"includeGroups": [OUTER_GROUP]}}),
            policy(
                "Admins",
                {"operator": "OR", "builtInControls": ["compliantDevice"]},
                conditions={"users": {"includeRoles": [ADMIN_TEMPLATE]}},
            ),
            policy("Guests", {"operator": "OR", "builtInControls": ["block"]},
                   conditions={"users": {"includeUsers": ["GuestsOrExternalUsers"]}}),
            policy("Reported", {"operator": "OR", "builtInControls": ["block"]},
                   state="enabledForReportingButNotEnforced"),
        ],
    )  # fmt: skip
    ids = {each["displayName"]: each["id"] for each in made["value"]}
    head = await world.store.head()
    for who in ({"userId": ANA}, {"userPrincipalName": "ANA@contoso.example"}):
        found = await decide(world, who)
        assert (found["decision"], found["principalId"], found["isPrincipalKnown"]) == (
            "requireCompliantDevice",
            ANA,
            True,
        )
        assert found["grantControls"] == [
            {
                "operator": "AND",
                "controls": ["compliantDevice", "mfa"],
                "policyIds": sorted([ids["Outer"], ids["Admins"]]),
            }
        ]
        assert {each["displayName"]: each["result"] for each in found["policies"]} == {
            "Outer": "failure",
            "Admins": "failure",
            "Guests": "notApplied",
            "Reported": "reportOnlyFailure",
        }
    found = await decide(world, {"userId": BEN})
    assert (found["decision"], found["grantControls"][0]["policyIds"]) == ("block", [ids["Guests"]])
    assert await world.store.head() == head


async def test_what_was_done_counts(world: World) -> None:
    """By the caller's word, by steps of the sign-in, by the device."""
    both = {"operator": "AND", "builtInControls": ["mfa", "compliantDevice"]}
    await world.post(f"{ROOT}/policies", policy("All", both))
    assert (await decide(world, {"userId": ANA}))["decision"] == "requireCompliantDevice"
    on = {"userId": ANA, "deviceDetail": {"isCompliant": True}}
    assert (await decide(world, on))["decision"] == "requireMultifactorAuthentication"
    found = await decide(world, on, satisfiedControls=["mfa"], appliedPoliciesOnly=True)
    assert (found["decision"], found["grantControls"], found["isComplete"]) == ("allow", [], True)
    assert [each["result"] for each in found["policies"]] == ["success"]
    steps = [{"authenticationMethod": each, "succeeded": True} for each in ("Password", "Mobile app notification")]
    assert (await decide(world, {**on, "authenticationDetails": steps}))["decision"] == "allow"
    twice = [steps[0], steps[0]]
    assert (await decide(world, {**on, "authenticationDetails": twice}))["decision"] != "allow"


async def test_unknown_users(world: World) -> None:
    """Policies for all decide; the answer says that nobody knows the user."""
    who = {"userPrincipalName": "nobody@contoso.example"}
    found = await decide(world, who)
    assert (found["decision"], found["isPrincipalKnown"], found["principalId"]) == ("allow", False, None)
    await world.post(f"{ROOT}/policies", policy("All"))
    assert (await soon(world, who, "requireMultifactorAuthentication"))["isPrincipalKnown"] is False
    await world.post("/v1.0/users", {"id": ANA, "userPrincipalName": "nobody@contoso.example"})
    found = await decide(world, who)
    assert (found["isPrincipalKnown"], found["principalId"]) == (True, ANA)


async def test_changes_count(world: World) -> None:
    """A policy, a location, a group that changes: counted within a second, in either direction."""
    await directory(world)
    who = {"userId": ANA, "ipAddress": "203.0.113.9"}
    assert (await decide(world, who))["decision"] == "allow"
    only = {"users": {"includeGroups": [OUTER_GROUP]}}
    made = await world.post(f"{ROOT}/policies", policy("Group", conditions=only))
    await soon(world, who, "requireMultifactorAuthentication")
    answer = await world.call("DELETE", f"/v1.0/groups/{OUTER_GROUP}/members/{INNER_GROUP}/$ref")
    assert answer.status_code == 204
    await soon(world, who, "allow")
    await member(world, f"groups/{OUTER_GROUP}", INNER_GROUP)
    await soon(world, who, "requireMultifactorAuthentication")
    office = {
        "@odata.type": "#microsoft.graph.ipNamedLocation",
        "displayName": "Office",
        "isTrusted": True,
        "ipRanges": [{"@odata.type": "#microsoft.graph.iPv4CidrRange", "cidrAddress": "203.0.113.0/24"}],
    }
    place = await world.post(f"{ROOT}/namedLocations", office)
    path = f"{ROOT}/policies/{made['id']}"
    change = {"conditions": {"locations": {"includeLocations": ["All"], "excludeLocations": ["AllTrusted"]}}}
    assert (await world.call("PATCH", path, change)).status_code == 204
    await soon(world, who, "allow")
    assert (await world.call("DELETE", f"{ROOT}/namedLocations/{place['id']}")).status_code == 204
    await soon(world, who, "requireMultifactorAuthentication")
    assert (await world.call("DELETE", path)).status_code == 204
    await soon(world, who, "allow")


async def test_a_trusted_span_of_addresses_counts(world: World) -> None:
    await directory(world)
    span = {"@odata.type": "#microsoft.graph.iPv4Range", "lowerAddress": "198.51.100.3", "upperAddress": "198.51.100.9"}
    kind = "#microsoft.graph.ipNamedLocation"
    office = {"@odata.type": kind, "displayName": "Office", "isTrusted": True, "ipRanges": [span]}
    path = f"{ROOT}/namedLocations"
    await world.post(path, office)
    swapped = {**span, "lowerAddress": span["upperAddress"], "upperAddress": span["lowerAddress"]}
    for wrong in (swapped, {**span, "upperAddress": "nowhere"}, {**span, "upperAddress": None}):
        await world.refused("POST", path, {**office, "ipRanges": [wrong]}, status=400, says="ipRanges[0]")
    outside = {"locations": {"includeLocations": ["All"], "excludeLocations": ["AllTrusted"]}}
    await world.post(f"{ROOT}/policies", policy("Outside", conditions=outside))
    for address, decision in (
        ("198.51.100.2", "requireMultifactorAuthentication"),
        ("198.51.100.3", "allow"),
        ("198.51.100.9", "allow"),
        ("198.51.100.10", "requireMultifactorAuthentication"),
    ):
        assert (await decide(world, {"userId": ANA, "ipAddress": address}))["decision"] == decision, address


async def test_risk(world: World) -> None:
    """The stored level of a user and of a workload, as it is now."""
    levels = {"userRiskLevels": ["high"]}
    demanded = {"operator": "AND", "builtInControls": ["mfa", "passwordChange"]}
    await world.post(f"{ROOT}/policies", policy("Risky", demanded, conditions=levels))
    assert (await decide(world, {"userId": ANA}))["decision"] == "allow"
    await world.post("/v1.0/identityProtection/riskyUsers", {"id": ANA, "riskLevel": "high", "riskState": "atRisk"})
    found = await decide(world, {"userId": ANA}, satisfiedControls=["mfa"])
    assert (found["decision"], found["userRiskLevel"], found["signInRiskLevel"]) == (
        "requirePasswordChange",
        "high",
        "none",
    )
    assert found["riskReasons"] == ["riskyUsers: riskLevel high, riskState atRisk"]
    workloads = {
        "users": {"includeUsers": ["None"]},
        "clientApplications": {"includeServicePrincipals": ["ServicePrincipalsInMyTenant"]},
        "servicePrincipalRiskLevels": ["medium"],
    }
    block = {"operator": "OR", "builtInControls": ["block"]}
    await world.post(f"{ROOT}/policies", policy("Workloads", block, conditions=workloads))
    await world.post("/v1.0/identityProtection/riskyServicePrincipals", {"id": "sp-1", "riskLevel": "medium"})
    assert (await soon(world, {"servicePrincipalId": "sp-1"}, "block"))["userRiskLevel"] == "medium"
    assert (await decide(world, {"servicePrincipalId": "sp-2"}))["decision"] == "allow"


async def test_devices_of_the_directory(world: World) -> None:
    """What the sign-in does not say of its device, the directory may know."""
    device = {"deviceId": "device-1", "displayName": "PC", "isCompliant": True, "trustType": "AzureAd"}
    await world.post("/v1.0/devices", device)
    control = {"operator": "OR", "builtInControls": ["compliantDevice"]}
    await world.post(f"{ROOT}/policies", policy("Compliant", control))
    assert (await decide(world, {"userId": ANA}))["decision"] == "requireCompliantDevice"
    assert (await decide(world, {"userId": ANA, "deviceDetail": {"deviceId": "device-1"}}))["decision"] == "allow"
    said = {"deviceId": "device-1", "isCompliant": False}
    assert (await decide(world, {"userId": ANA, "deviceDetail": said}))["decision"] == "requireCompliantDevice"


async def test_what_is_not_evaluated_is_demanded(world: World) -> None:
    """A rule that is not read counts as matching, and the answer says so."""
    rule = {"deviceFilter": {"mode": "include", "rule": 'device.colour -eq "red"'}}
    await world.post(f"{ROOT}/policies", policy("Rule", conditions={"devices": rule}))
    found = await decide(world, {"userId": ANA})
    assert (found["decision"], found["isComplete"]) == ("requireMultifactorAuthentication", False)
    assert found["policies"][0]["result"] == "unknown"
    assert "device.colour" in found["policies"][0]["reasons"][0]


async def test_refusals(world: World) -> None:
    """What is asked must be clear; who asks must be allowed to; tenants are apart."""
    for body, says in (
        ({}, "signIn"),
        ({"signIn": {"appId": APP}}, "userPrincipalName"),
        ({"signIn": {"userId": ANA, "ipAddress": "300.1.1.1"}}, "ipAddress"),
        ({"signIn": {"userId": ANA, "location": {"countryOrRegion": "Norway"}}}, "countryOrRegion"),
        ({"signIn": {"userId": ANA}, "satisfiedControls": ["MFA!"]}, "satisfiedControls"),
        ({"signIn": {"userId": ANA}, "satisfiedControls": ["block"]}, "satisfiedControls"),
        ({"signIn": {"userId": ANA, "nope": 1}}, "nope"),
        ({"signIn": {"userId": ANA}, "userAction": "dance"}, "userAction"),
    ):
        await world.refused("POST", DECIDE, body, status=400, says=says)
    for by in ("none", "reader"):
        await world.refused("POST", DECIDE, {"signIn": {"userId": ANA}}, status=403, by=by)
    await world.refused("POST", DECIDE.replace("beta", "v1.0"), {"signIn": {"userId": ANA}}, status=404)
    await world.post(f"{ROOT}/policies", policy("All"))
    await soon(world, {"userId": ANA}, "requireMultifactorAuthentication")
    assert (await decide(world, {"userId": ANA}, by="other"))["decision"] == "allow"


async def test_no_store_no_decision(world: World) -> None:
    """A failure is an error, whatever was known before: never an answer that allows."""
    assert (await decide(world, {"userId": ANA}))["decision"] == "allow"
    healthy = world.graph.store

    async def away(*_: Any, **__: Any) -> Any:
        raise Unavailable("the database is away")

    async def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("nobody expected this")

    for fault, status in ((away, 503), (broken, 500)):
        world.graph.store = Around(healthy, head=fault, get=fault)
        world.graph._tenants.clear()
        await asyncio.sleep(0.3)
        for _ in range(2):
            answer = await world.call("POST", DECIDE, {"signIn": {"userId": ANA}})
            assert answer.status_code == status and "decision" not in answer.text
    world.graph.store = healthy
    world.graph._tenants.clear()
    assert (await decide(world, {"userId": ANA}))["decision"] == "allow"


# ---------------------------------------------------------------- what-if

USER = {"@odata.type": "#microsoft.graph.userSignIn", "userId": ANA}
IN_APP = {"@odata.type": "#microsoft.graph.applicationContext", "includeApplications": [APP]}


async def test_what_if(world: World) -> None:
    """Each policy with its own properties, whether it applies, and why not."""
    await directory(world)
    await world.post(
        f"{ROOT}/policies",
        [
            policy("All"),
            policy("Others", conditions={"users": {"includeUsers": [BEN]}}),
            policy("Risky", conditions={"signInRiskLevels": ["high"], "clientAppTypes": ["browser"]}),
            policy("Off", state="disabled"),
            policy("Reported", state="enabledForReportingButNotEnforced"),
            policy("Rule", conditions={"devices": {"deviceFilter": {"mode": "include", "rule": "?"}}}),
        ],
    )
    body = {"signInIdentity": USER, "signInContext": IN_APP, "signInConditions": {"signInRiskLevel": "low"}}
    for version in ("v1.0", "beta"):
        answer = await world.post(f"/{version}/identity/conditionalAccess/evaluate", body)
        assert answer["@odata.context"].endswith("$metadata#Collection(microsoft.graph.whatIfAnalysisResult)")
        shown = {each["displayName"]: (each["policyApplies"], each["analysisReasons"]) for each in answer["value"]}
        assert shown == {
            "All": (True, "notSet"),
            "Others": (False, "users"),
            "Risky": (False, "notEnoughInformation,clientApps,signInRisk"),
            "Off": (False, "policyNotEnabled"),
            "Reported": (True, "notSet"),
            "Rule": (True, "invalidCondition"),
        }
        assert answer["value"][0]["grantControls"]["builtInControls"] == ["mfa"]
    body["appliedPoliciesOnly"] = True
    body["signInConditions"] = {"signInRiskLevel": "high", "clientAppType": "browser"}
    applied = await world.post(f"{ROOT}/evaluate", body, by="reader")
    assert sorted(each["displayName"] for each in applied["value"]) == ["All", "Reported", "Risky", "Rule"]
    for wrong, says in (
        ({}, "signInIdentity"),
        ({"signInIdentity": USER}, "signInContext"),
        ({"signInIdentity": {}, "signInContext": IN_APP}, "signInIdentity"),
        ({"signInIdentity": USER, "signInContext": {}}, "signInContext"),
    ):
        await world.refused("POST", f"{ROOT}/evaluate", wrong, status=400, says=says)
    await world.refused("POST", f"{ROOT}/evaluate", body, status=403, by="none")


# ---------------------------------------------------------------- what is refused when it is written

HIGH = {"userRiskLevels": ["high"]}
WORKLOAD = {"users": {"includeUsers": ["None"]}, "clientApplications": {"includeServicePrincipals": ["s"]}}


@pytest.mark.parametrize(
    ("says", "more"),
    [
        ("includeUsers: All", {"conditions": {"users": {"includeUsers": ["All", ANA]}}}),
        ("conditions.users", {"conditions": {"users": {"excludeUsers": [ANA]}}}),
        ("excludeUsers", {"conditions": {"users": {"includeUsers": ["All"], "excludeUsers": ["All"]}}}),
        ("conditions.applications", {"conditions": {"applications": {"excludeApplications": [APP]}}}),
        (
            "conditions.applications",
            {"conditions": {"applications": {"includeApplications": ["All"], "includeUserActions": ["x"]}}},
        ),
        ("includeApplications: All", {"conditions": {"applications": {"includeApplications": ["All", APP]}}}),
        ("includeUserActions", {"conditions": {"applications": {"includeUserActions": ["urn:user:dance"]}}}),
        ("clientAppTypes", {"conditions": {"clientAppTypes": ["all", "browser"]}}),
        ("includePlatforms", {"conditions": {"platforms": {"includePlatforms": ["all", "iOS"]}}}),
        ("conditions.locations", {"conditions": {"locations": {"excludeLocations": ["AllTrusted"]}}}),
        ("deviceFilter", {"conditions": {"devices": {"deviceFilter": {"mode": "include"}}}}),
        ("deviceFilter.rule", {"conditions": {"devices": {"deviceFilter": {"mode": "include", "rule": "a" * 4000}}}}),
        ("servicePrincipalRiskLevels", {"conditions": {"servicePrincipalRiskLevels": ["high"]}}),
        ("signInRiskLevels", {"conditions": {**WORKLOAD, "signInRiskLevels": ["high"]}}),
        ("block", {"conditions": WORKLOAD}),
        ("builtInControls: block", {"grant": {"operator": "OR", "builtInControls": ["block", "mfa"]}}),
        ("operator", {"grant": {"operator": "XOR", "builtInControls": ["mfa"]}}),
        ("operator", {"grant": {"builtInControls": ["mfa", "compliantDevice"]}}),
        ("grantControls", {"grant": {"operator": "OR", "builtInControls": []}}),
        ("passwordChange", {"grant": {"operator": "AND", "builtInControls": ["passwordChange"]}, "conditions": HIGH}),
        ("userRiskLevels", {"grant": {"operator": "AND", "builtInControls": ["mfa", "passwordChange"]}}),
        ("signInFrequency", {"sessionControls": {"signInFrequency": {"isEnabled": True, "type": "days"}}}),
        (
            "everyTime",
            {
                "sessionControls": {
                    "signInFrequency": {
                        "isEnabled": True,
                        "frequencyInterval": "everyTime",
                        "type": "days",
                        "value": 1,
                    }
                }
            },
        ),
        ("persistentBrowser", {"sessionControls": {"persistentBrowser": {"isEnabled": True}}}),
        ("cloudAppSecurityType", {"sessionControls": {"cloudAppSecurity": {"isEnabled": True}}}),
    ],
)
async def test_bad_policies(world: World, says: str, more: dict[str, Any]) -> None:
    """400 with the property, when it is made and when it is changed; nothing is stored."""
    given = dict(more)
    body = policy("Bad", given.pop("grant", MFA), **given)
    await world.refused("POST", f"{ROOT}/policies", body, status=400, says=says)
    made = await world.post(f"{ROOT}/policies", policy("Good"))
    change = {name: body[name] for name in ("conditions", "grantControls", "sessionControls") if name in body}
    if "conditions" in change:  # PATCH merges: what is there already may make up for what is missing
        change["conditions"] = {**change["conditions"]}
    else:
        await world.refused("PATCH", f"{ROOT}/policies/{made['id']}", change, status=400, says=says)
    assert (await world.get(f"{ROOT}/policies/{made['id']}"))["displayName"] == "Good"
    assert len((await world.get(f"{ROOT}/policies"))["value"]) == 1
