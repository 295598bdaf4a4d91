"""Who has registered for multifactor authentication: today's report and that of 2019."""

from typing import Any

import pytest
from tests.api.conftest import World

from bartizan.api import reports

pytestmark = pytest.mark.anyio
TODAY = "/v1.0/reports/authenticationMethods/userRegistrationDetails"
OLD = "/beta/reports/credentialUserRegistrationDetails"


def row(n: int, **more: Any) -> dict[str, Any]:
    return {"id": f"u{n}", "userPrincipalName": f"User{n}@contoso.example", "isMfaRegistered": n % 2 == 0, **more}


async def test_today(world: World) -> None:
    methods = ["mobilePhone", "microsoftAuthenticatorPush"]
    await world.post(TODAY, [row(n, isAdmin=n == 2, methodsRegistered=methods[:n]) for n in range(3)])
    first = (await world.get(f"{TODAY}?$filter=userPrincipalName eq 'user2@CONTOSO.example'"))["value"][0]
    assert (first["isAdmin"], first["methodsRegistered"], first["isSsprCapable"]) == (True, methods, None)
    for wanted, ids in (
        ("isMfaRegistered eq false", ["u1"]),
        ("isAdmin eq true and isMfaRegistered eq true", ["u2"]),
        ("methodsRegistered/any(m: m eq 'mobilePhone')", ["u1", "u2"]),
    ):
        assert [each["id"] for each in (await world.get(f"{TODAY}?$filter={wanted}"))["value"]] == ids, wanted
    assert (await world.get("/beta/reports/authenticationMethods/userRegistrationDetails/u1"))["id"] == "u1"


async def test_old(world: World) -> None:
    """Read whole by old connectors; beta only."""
    await world.post(OLD, [row(n, authMethods=["email"]) for n in range(3)])
    found = (await world.get(OLD))["value"]
    assert [(each["userPrincipalName"], each["isMfaRegistered"]) for each in found] == [
        (f"User{n}@contoso.example", n % 2 == 0) for n in range(3)
    ]
    await world.refused("GET", OLD.replace("beta", "v1.0"), status=501)
    await world.refused("POST", OLD, {"id": "u"}, status=400, says="userPrincipalName")


async def test_a_sum_reads_so_many_rows_and_no_more(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where few of them count."""
    monkeypatch.setattr(reports, "MAX_SUMMED", 3)
    root = TODAY.rpartition("/")[0]
    asked = f"{root}/usersRegisteredByFeature(includedUserTypes='member',includedUserRoles='all')"
    await world.post(TODAY, [row(n, userType="guest") for n in range(3)])
    assert (await world.get(asked))["totalUserCount"] == 0
    await world.post(TODAY, [row(3, userType="guest")])
    await world.refused("GET", asked, status=400)


async def test_when_applications_were_used_last(world: World) -> None:
    """As auditors of unused applications ask for it; told, never reckoned."""
    last = {"lastSignInDateTime": "2026-11-01T00:00:00Z", "lastSignInRequestId": "r"}
    path = "/beta/reports/servicePrincipalSignInActivities"
    await world.post(path, {"id": "s1", "appId": "an-app", "lastSignInActivity": last})
    wanted = "$filter=appId eq 'an-app' and lastSignInActivity/lastSignInDateTime le 2026-11-02T00:00:00Z"
    (found,) = (await world.get(f"{path}?{wanted}"))["value"]
    assert found["lastSignInActivity"]["lastSignInDateTime"] == "2026-11-01T00:00:00.0000000Z"
    path = "/beta/reports/appCredentialSignInActivities"
    key = {"keyId": "k", "keyType": "clientSecret", "credentialOrigin": "application"}
    await world.post(path, {"id": "c1", "appId": "an-app", **key, "signInActivity": last})
    (found,) = (await world.get(f"{path}?$filter=keyType eq 'clientSecret'&$select=appId,keyId"))["value"]
    assert (found["appId"], found["keyId"]) == ("an-app", "k")
