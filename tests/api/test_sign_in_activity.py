"""users: signInActivity, which follows from the stored sign-ins and from what a directory told."""

from typing import Any

import pytest
from tests.api.conftest import A, World, on_both_engines

from bartizan.auth.caller import Caller

pytestmark = pytest.mark.anyio
USERS = "/v1.0/users"
SIGN_INS = "/beta/auditLogs/signIns"
EVENTUAL = {"consistencylevel": "eventual"}


def sign_in(id: str, user: str, at: str, kind: str = "interactiveUser", error: int = 0, **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "userId": user,
        "createdDateTime": at,
        "signInEventTypes": [kind],
        "status": {"errorCode": error},
        **more,
    }


def user(id: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "userPrincipalName": f"{id}@contoso.example", "displayName": id.title(), **more}


@pytest.fixture
async def people(world: World) -> World:
    """ada and bo sign in, cy is known under another id, di was told by a directory, eve never came."""
    told = {"lastSignInDateTime": "2026-06-01T00:00:00Z", "lastSignInRequestId": "told"}
    made = [user("ada"), user("bo", userType="Guest"), user("cy"), user("di", signInActivity=told), user("eve")]
    await world.post(USERS, made)
    await world.post(
        SIGN_INS,
        [
            sign_in("a1", "ada", "2026-10-01T08:00:00Z"),
            sign_in("a2", "ada", "2026-11-01T08:00:00Z", error=50126),
            sign_in("a3", "ada", "2026-11-20T08:00:00Z", "nonInteractiveUser"),
            sign_in("b1", "bo", "2026-03-01T08:00:00Z"),
            sign_in("c1", "00u-other", "2026-09-01T08:00:00Z", userPrincipalName="CY@contoso.example"),
            sign_in("d1", "di", "2026-05-01T08:00:00Z"),
        ],
    )
    return world


def at(day: str) -> str:
    return f"2026-{day}T08:00:00.0000000Z"


async def test_the_last_sign_ins(people: World) -> None:
    """Interactive ones whether or not they succeeded, the others, and the last that succeeded, each with its id."""
    ada = await people.get(f"{USERS}/ada?$select=id,signInActivity")
    assert ada["signInActivity"] == {
        "lastSignInDateTime": at("11-01"),
        "lastSignInRequestId": "a2",
        "lastNonInteractiveSignInDateTime": at("11-20"),
        "lastNonInteractiveSignInRequestId": "a3",
        "lastSuccessfulSignInDateTime": at("11-20"),
        "lastSuccessfulSignInRequestId": "a3",
    }
    alone = await people.get(f"{USERS}/ada@contoso.example/signInActivity")
    assert alone["lastSignInRequestId"] == "a2"
    page = await people.get(f"{USERS}?$select=displayName,SignInActivity&$orderby=displayName")
    found = {row["displayName"]: row["signInActivity"] for row in page["value"]}
    assert (found["Cy"]["lastSuccessfulSignInRequestId"], found["Eve"]) == ("c1", None)
    assert (found["Di"]["lastSignInRequestId"], found["Di"]["lastSuccessfulSignInRequestId"]) == ("told", "d1")


async def test_far_behind_many_others(people: World) -> None:
    """One that lies behind more sign-ins of another kind than are looked at first is found as well."""
    many = [
        sign_in(f"n{n}", "bo", f"2026-11-{1 + n // 24:02}T{n % 24:02}:00:00Z", "nonInteractiveUser", error=50058)
        for n in range(60)
    ]
    await people.post(SIGN_INS, many)
    bo = (await people.get(f"{USERS}/bo?$select=signInActivity"))["signInActivity"]
    assert (bo["lastSignInRequestId"], bo["lastSuccessfulSignInRequestId"]) == ("b1", "b1")
    assert bo["lastNonInteractiveSignInRequestId"] == "n59"


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        ("signInActivity/lastSignInDateTime le 2026-10-15T00:00:00Z", "bo cy di"),
        ("(signInActivity/lastSignInDateTime ge 2026-10-15T00:00:00Z)", "ada"),
        ("signInActivity/lastSuccessfulSignInDateTime le 2026-06-01T00:00:00.0000000Z", "bo di"),
        ("signInActivity/lastNonInteractiveSignInDateTime ne null", "ada"),
        ("signInActivity eq null", "eve"),
        ("signInActivity/lastSignInDateTime le 2026-10-15T00:00:00Z and userType eq 'Guest'", "bo"),
        ("startswith(displayName,'D') or signInActivity/lastSignInDateTime ge 2026-10-15T00:00:00Z", "ada di"),
        ("accountEnabled eq false and signInActivity/lastSignInDateTime le 2026-10-15T00:00:00Z", ""),
    ],
)
@on_both_engines
async def test_filters(people: World, wanted: str, ids: str) -> None:
    """Alone as Graph documents it, and with conditions on what is stored."""
    found = await people.get(f"{USERS}?$filter={wanted}&$count=true&$select=id,signInActivity", **EVENTUAL)
    assert " ".join(sorted(each["id"] for each in found["value"])) == ids
    assert found["@odata.count"] == len(ids.split())
    counted = await people.call("GET", f"{USERS}/$count?$filter={wanted}", **EVENTUAL)
    assert counted.text == str(len(ids.split()))


async def test_pages(people: World) -> None:
    """A filter that is checked one by one has pages like any other: all of it, nothing twice."""
    await people.post(USERS, [user(f"u{n}") for n in range(230)])
    await people.post(SIGN_INS, [sign_in(f"s{n}", f"u{n}", f"2026-01-01T{n % 24:02}:00:00Z") for n in range(0, 230, 3)])
    link = f"{USERS}?$filter=signInActivity/lastSignInDateTime le 2026-02-01T00:00:00Z&$top=20&$select=id"
    seen: list[str] = []
    while link:
        page = await people.get(link)
        assert len(page["value"]) <= 20
        seen += [row["id"] for row in page["value"]]
        link = page.get("@odata.nextLink", "")
    assert sorted(seen) == sorted(f"u{n}" for n in range(0, 230, 3))
    rest = await people.get(
        f"{USERS}?$filter=signInActivity/lastSignInDateTime le 2026-02-01T00:00:00Z&$skip=70&$top=20&$select=id"
    )
    assert [row["id"] for row in rest["value"]] == seen[70:]


async def test_members_of_a_role(people: World) -> None:
    """Where objects of several types stand side by side, the users among them tell it."""
    role = await people.post("/v1.0/directoryRoles", {"displayName": "Global Administrator"})
    link = {"@odata.id": f"https://graph.microsoft.com/v1.0/directoryObjects/{'ada'}"}
    answer = await people.call("POST", f"/v1.0/directoryRoles/{role['id']}/members/$ref", link)
    assert answer.status_code == 204, answer.text
    for path in ("members", "members/microsoft.graph.user"):
        (member,) = (await people.get(f"/v1.0/directoryRoles/{role['id']}/{path}?$select=id,signInActivity"))["value"]
        assert member["signInActivity"]["lastSignInRequestId"] == "a2"


async def test_who_may_read_users_alone_is_told_no_sign_ins(people: World) -> None:
    """Graph asks for AuditLog.Read.All beside what reads users; without, nothing is told by a filter either."""
    people.known["hr"] = Caller(A, "hr", "HR", permissions=frozenset({"User.Read.All"}))
    assert (await people.get(f"{USERS}/ada?$select=id", by="hr"))["id"] == "ada"
    for path in (
        f"{USERS}/ada?$select=signInActivity",
        f"{USERS}/ada/signInActivity",
        f"{USERS}?$select=signInActivity",
        f"{USERS}?$filter=signInActivity/lastSignInDateTime le 2026-10-15T00:00:00Z",
    ):
        await people.refused("GET", path, status=403, by="hr", says="AuditLog.Read.All")


async def test_it_is_no_order(people: World) -> None:
    await people.refused("GET", f"{USERS}?$orderby=signInActivity/lastSignInDateTime", status=400, says="sorted")
