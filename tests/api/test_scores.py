"""Secure scores and their control profiles."""

from typing import Any

import pytest
from tests.api.conftest import A, World

pytestmark = pytest.mark.anyio
SCORES = "/v1.0/security/secureScores"
CONTROLS = "/v1.0/security/secureScoreControlProfiles"
VENDOR = {"provider": "SecureScore", "vendor": "Microsoft"}


def score(day: int, current: float, **more: Any) -> dict[str, Any]:
    return {
        "createdDateTime": f"2026-11-{day:02}T00:00:00Z",
        "currentScore": current,
        "maxScore": 500,
        "activeUserCount": 217,
        "licensedUserCount": 300,
        "enabledServices": ["HasExchange"],
        "averageComparativeScores": [{"basis": "AllTenants", "averageScore": 119.5, "identityScore": 12.5}],
        "controlScores": [{"controlName": "AdminMFAV2", "controlCategory": "Identity", "score": 9.5, "count": "3"}],
        "vendorInformation": VENDOR,
        **more,
    }


CONTROL = {
    "id": "AdminMFAV2",
    "title": "Require MFA for administrators",
    "actionType": "Config",
    "controlCategory": "Identity",
    "maxScore": 10,
    "rank": 1,
    "tier": "Core",
    "threats": ["Password Cracking"],
    "vendorInformation": VENDOR,
}


async def test_newest_first_one_a_day(world: World) -> None:
    """The newest day comes first; a day that is sent again changes nothing, with other values it is refused."""
    for _ in range(2):
        await world.post(SCORES, [score(21, 100), score(23, 120.5), score(22, 110)])
    found = (await world.get(f"{SCORES}?$top=2&$count=true"))["value"]
    assert [each["currentScore"] for each in found] == [120.5, 110]
    assert [each["createdDateTime"] for each in await world.every(f"{SCORES}?$top=2")] == [
        f"2026-11-{day}T00:00:00.0000000Z" for day in (23, 22, 21)
    ]
    await world.refused("POST", SCORES, score(23, 1), status=409)
    assert (await world.get("/beta/security/secureScores?$top=1"))["value"][0]["azureTenantId"] == A


async def test_documented_content(world: World) -> None:
    """Control scores and comparisons keep what the type does not name: both are open."""
    made = await world.post(SCORES, score(23, 120.5))
    read = await world.get(f"{SCORES}/{made['id']}")
    assert (read["maxScore"], read["activeUserCount"], read["enabledServices"]) == (500, 217, ["HasExchange"])
    assert read["averageComparativeScores"][0]["identityScore"] == 12.5
    assert read["controlScores"][0]["count"] == "3"
    assert read["vendorInformation"]["vendor"] == "Microsoft"
    assert read["vendorInformation"]["subProvider"] is None


async def test_scores_filter(world: World) -> None:
    await world.post(SCORES, [score(21, 100), score(23, 120.5)])
    for wanted, count in (
        ("vendorInformation/provider eq 'SecureScore'", 2),
        ("currentScore gt 110", 1),
        ("createdDateTime ge 2026-11-22T00:00:00Z", 1),
        ("controlScores/any(c: c/controlCategory eq 'Identity')", 2),
    ):
        assert len((await world.get(f"{SCORES}?$filter={wanted}"))["value"]) == count, wanted
    await world.refused("POST", SCORES, {"currentScore": 1}, status=400, says="createdDateTime, maxScore")


@pytest.mark.parametrize("version", ["v1.0", "beta"])
async def test_control_patch(world: World, version: str) -> None:
    """204, or 200 with the profile if preferred; today's body and that of 2018 become an entry of the updates."""
    await world.post(CONTROLS, CONTROL)
    path = f"/{version}/security/secureScoreControlProfiles/AdminMFAV2"
    today: dict[str, Any] = {
        "vendorInformation": VENDOR,
        "controlStateUpdates": [{"state": "Ignored", "comment": "later"}],
    }
    answer = await world.call("PATCH", path, today, by="operator")
    assert (answer.status_code, answer.content) == (204, b"")
    flat: dict[str, Any] = {
        "vendorInformation": VENDOR,
        "assignedTo": "",
        "comment": "ours",
        "state": "Reviewed",
        "tenantNote": "n",
    }
    flat = flat if version == "beta" else {**today, "controlStateUpdates": [{"state": "Reviewed", "comment": "ours"}]}
    changed = await world.patch(path, flat, prefer="return=representation")
    assert [each["state"] for each in changed["controlStateUpdates"]] == ["Ignored", "Reviewed"]
    first = changed["controlStateUpdates"][0]
    assert (first["comment"], first["updatedBy"]) == ("later", "operator@contoso.example")
    assert first["updatedDateTime"].startswith("2026-11-23T")
    assert (changed["title"], changed["vendorInformation"]["provider"]) == (CONTROL["title"], "SecureScore")


async def test_control_patch_twice_changes_nothing(world: World) -> None:
    await world.post(CONTROLS, CONTROL)
    path = f"{CONTROLS}/AdminMFAV2"
    body = {"vendorInformation": VENDOR, "controlStateUpdates": [{"state": "Ignored", "comment": "later"}]}
    one = await world.patch(path, body, prefer="return=representation")
    assert await world.patch(path, body, prefer="return=representation") == one
    whole = {"vendorInformation": VENDOR, "controlStateUpdates": one["controlStateUpdates"]}
    assert await world.patch(path, whole, prefer="return=representation") == one


async def test_control_patch_refusals(world: World) -> None:
    await world.post(CONTROLS, CONTROL)
    path = f"{CONTROLS}/AdminMFAV2"
    update = {"controlStateUpdates": [{"state": "Ignored"}]}
    await world.refused("PATCH", path, update, status=400, says="vendorInformation")
    wrong = {"vendorInformation": VENDOR, "controlStateUpdates": [{"state": "Gone"}]}
    await world.refused("PATCH", path, wrong, status=400, says="Default, Ignored, ThirdParty, Reviewed")
    await world.refused("PATCH", path, {"vendorInformation": VENDOR, "maxScore": 1}, status=400, says="maxScore")
    await world.refused("PATCH", path, {"vendorInformation": VENDOR, "nope": 1}, status=400, says="nope")
    await world.refused("PATCH", path, {"vendorInformation": VENDOR}, status=403, by="reader")
