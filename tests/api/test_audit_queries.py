"""Audit queries: made, read back, and their records, from directory audits, sign-ins and OfficeActivity."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
from tests.api.conftest import A, World, on_both_engines, person

from bartizan.api import audit_queries as module
from bartizan.auth.caller import Caller
from bartizan.lake import open_lake
from bartizan.lake.duck import Duck
from bartizan.lake.flush import Flusher
from bartizan.lake.manifest import Manifest
from bartizan.settings import Settings

pytestmark = pytest.mark.anyio
SET = "/v1.0/security/auditLog/queries"
MONTH = {"filterStartDateTime": "2026-11-01T00:00:00Z", "filterEndDateTime": "2026-12-01T00:00:00Z"}


def sign_in(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"sign-in-{number:03}",
        "createdDateTime": f"2026-11-10T00:{number:02}:00Z",
        "userPrincipalName": "ada@contoso.example",
        "userId": "id-of-ada",
        "ipAddress": "198.51.100.7",
        "appId": "an-app",
        "status": {"errorCode": 0},
        **more,
    }


async def made(world: World, **asked: Any) -> str:
    answer = await world.post(SET, {**MONTH, **asked})
    return f"{SET}/{answer['id']}"


async def ids(world: World, query: str, by: str = "admin", options: str = "") -> list[str]:
    return [each["id"] for each in await world.every(f"{query}/records{options}", by=by)]


@on_both_engines
async def test_a_query_from_its_making_to_its_records(world: World) -> None:
    """As clients go about it: made, polled until it has succeeded, its records read page by page."""
    await world.post("/v1.0/auditLogs/signIns", [sign_in(number) for number in range(7)])
    body = {
        "@odata.type": "#microsoft.graph.security.auditLogQuery",
        "displayName": "Audit search",
        **MONTH,
        "recordTypeFilters": ["azureActiveDirectoryStsLogon"],
        "keywordFilter": "",
        "serviceFilter": None,
        "operationFilters": [],
        "userPrincipalNameFilters": ["Ada@contoso.example"],
        "ipAddressFilters": [],
        "objectIdFilters": [],
        "administrativeUnitIdFilters": [],
        "status": "",
    }
    query = await world.post(SET, body)
    assert query["displayName"] == "Audit search" and query["recordTypeFilters"] == ["AzureActiveDirectoryStsLogon"]
    path = f"{SET}/{query['id']}"
    assert (await world.get(path))["status"] == "succeeded"
    assert [each["id"] for each in (await world.get(f"/beta{SET[5:]}?$filter=status eq 'succeeded'"))["value"]] == [
        query["id"]
    ]
    first = await world.get(f"{path}/records?$top=3&$count=true")
    assert first["@odata.count"] == 7 and "$skiptoken=" in first["@odata.nextLink"]
    assert await ids(world, path, options="?$top=3") == [f"sign-in-{number:03}" for number in reversed(range(7))]
    record = first["value"][0]
    assert (record["operation"], record["service"]) == ("UserLoggedIn", "AzureActiveDirectory")
    assert (record["auditLogRecordType"], record["userType"]) == ("AzureActiveDirectoryStsLogon", "Regular")
    assert record["auditData"]["CreationTime"] == "2026-11-10T00:06:00"
    assert record["auditData"]["Workload"] == "AzureActiveDirectory" and record["auditData"]["RecordType"] == 15
    assert await world.get(f"{path}/records/{record['id']}") == {
        **record,
        "@odata.context": "https://graph.test:8443/v1.0/$metadata#auditLogRecords/$entity",
    }
    assert (await world.call("GET", f"{path}/records/$count")).text == "7"
    await world.refused("GET", f"{path}/records/none", status=404)


async def test_what_a_query_asks_for(world: World) -> None:
    await world.post(
        "/v1.0/auditLogs/signIns",
        [
            sign_in(1),
            sign_in(2, status={"errorCode": 50126, "failureReason": "Invalid username or password."}),
            sign_in(3, userPrincipalName="bob@contoso.example", ipAddress="2001:db8::5", userAgent="curl/8"),
            sign_in(4, resourceId="Mail", isInteractive=False),
            sign_in(5, createdDateTime="2026-10-10T00:00:00Z"),
        ],
    )
    signed = {"recordTypeFilters": ["AzureActiveDirectoryStsLogon"]}
    for asked, found in (
        ({}, [4, 3, 2, 1]),
        ({"operationFilters": ["userloginfailed"]}, [2]),
        ({"userPrincipalNameFilters": ["bob@contoso.example"]}, [3]),
        ({"ipAddressFilters": ["[2001:DB8::5]:443", "203.0.113.9"]}, [3]),
        ({"objectIdFilters": ["mail"]}, [4]),
        ({"keywordFilter": "CURL"}, [3]),
        ({"keywordFilter": "invalid username"}, [2]),
        ({"serviceFilters": ["Exchange"]}, []),
        ({"serviceFilters": ["azureactivedirectory"]}, [4, 3, 2, 1]),
        ({"filterEndDateTime": "2026-11-10T00:02:00Z"}, [1]),
    ):
        query = await made(world, **{**signed, **asked})
        assert await ids(world, query) == [f"sign-in-{number:03}" for number in found], asked
    query = await made(world, **signed)
    filtered = await ids(world, query, options="?$filter=operation eq 'UserLoggedIn' and clientIp eq '2001:db8::5'")
    assert filtered == ["sign-in-003"]
    assert len(await ids(world, query, options="?$orderby=createdDateTime desc&$top=1")) == 4
    for options in ("$orderby=id", "$orderby=createdDateTime", "$skip=1"):
        await world.refused("GET", f"{query}/records?{options}", status=400, says="newest first")


async def test_directory_audits_are_records(world: World) -> None:
    """This server's own audit among them: that the query was made."""
    await made(world, displayName="first")
    now = datetime.now(UTC)
    span = {"filterStartDateTime": now - timedelta(days=1), "filterEndDateTime": now + timedelta(days=1)}
    asked = {name: f"{at:%Y-%m-%dT%H:%M:%SZ}" for name, at in span.items()}
    kinds = {"recordTypeFilters": ["AzureActiveDirectory"], "serviceFilters": ["AzureActiveDirectory"]}
    query = await made(world, **asked, **kinds)
    found = await world.every(f"{query}/records?$top=1")
    assert {each["operation"] for each in found} == {"Add auditLogQuery"} and len(found) == 2
    assert found[0]["auditData"]["ResultStatus"] == "Success" and found[0]["userType"] == "ServicePrincipal"


async def test_a_page_leads_on_where_most_of_a_log_is_something_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_READ", 4)
    monkeypatch.setattr(module, "EVERY_ROWS", 2)
    others = [sign_in(number, userPrincipalName="bob@contoso.example") for number in range(1, 20)]
    await world.post("/v1.0/auditLogs/signIns", [sign_in(0), *others, sign_in(30)])
    query = await made(world, userPrincipalNameFilters=["ada@contoso.example"])
    assert await ids(world, query) == ["sign-in-030", "sign-in-000"]
    assert (await world.call("GET", f"{query}/records/$count")).text == "2"
    assert (await world.get(f"{query}/records/sign-in-000"))["userPrincipalName"] == "ada@contoso.example"


async def test_a_count_is_of_the_first_page_and_bounded_by_what_it_looks_at(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where nothing of a long log is meant."""
    await world.post("/v1.0/auditLogs/signIns", [sign_in(number) for number in range(30)])
    every = await made(world, operationFilters=["UserLoggedIn"])
    first = await world.get(f"{every}/records?$top=10&$count=true")
    assert first["@odata.count"] == 30
    assert "@odata.count" not in await world.get(first["@odata.nextLink"])
    monkeypatch.setattr(module, "EVERY_ROWS", 5)
    monkeypatch.setattr(module, "MAX_READ", 5)
    monkeypatch.setattr(module, "MAX_COUNTED", 20)
    none = await made(world, keywordFilter="that-nobody-said")
    said = await world.refused("GET", f"{none}/records/$count", status=400)
    assert "not counted" in said["message"]
    assert await ids(world, none) == []


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({**MONTH, "filterEndDateTime": "2026-10-01T00:00:00Z"}, "before filterEndDateTime"),
        ({"filterStartDateTime": "yesterday"}, "filterStartDateTime"),
        ({"recordTypeFilters": ["NoSuchType"]}, "recordTypeFilters"),
        ({"administrativeUnitIdFilters": ["x"]}, "do not tell units"),
        ({"operationFilters": ["x"] * 201}, "at most 200"),
        ({"operationFilters": "x"}, "operationFilters"),
        ({"nope": 1}, "nope"),
    ],
)
async def test_what_is_no_query(world: World, body: dict[str, Any], says: str) -> None:
    await world.refused("POST", SET, body, status=400, says=says)
    assert (await world.get(SET))["value"] == []


async def test_without_a_start_it_goes_back_half_a_year(world: World) -> None:
    query = await world.post(SET, {})
    assert query["filterEndDateTime"] == "2026-11-23T04:50:30.1234560Z"
    assert query["filterStartDateTime"] == "2026-05-27T04:50:30.1234560Z"


async def test_hostile_words_are_words(world: World) -> None:
    """They reach the query of the lake as texts, whatever stands in them; the server alone says id and status."""
    for words in ('x" | take 1 //', "a\\", "\n\t\u2028", "it's", "{{}}", "\U0001f600", "%", 'RESOURCE\\"'):
        names = ("operationFilters", "userPrincipalNameFilters", "objectIdFilters", "ipAddressFilters")
        query = await made(world, **{name: [words] for name in names}, keywordFilter=words, serviceFilters=[words])
        assert await ids(world, query) == []
        await world.refused("GET", f"{query}/records/{quote(words, safe='')}", status=404)
    for end in ("0001-01-01T00:00:00Z", "0001-01-01T00:00:01Z"):
        answer = await world.call("POST", SET, {"filterEndDateTime": end})
        assert answer.status_code == (201 if end.endswith("1Z") else 400), answer.text
    twice = [await world.post(SET, {"id": "mine", "status": "failed"}) for _ in range(2)]
    assert twice[0]["id"] != twice[1]["id"] and {each["status"] for each in twice} == {"succeeded"}


async def test_a_keyword_is_found_in_values(world: World) -> None:
    await world.post("/v1.0/auditLogs/signIns", [sign_in(1, userAgent='a "quoted" agent')])
    signed = {"recordTypeFilters": ["AzureActiveDirectoryStsLogon"]}
    assert await ids(world, await made(world, keywordFilter='"Quoted"', **signed)) == ["sign-in-001"]
    assert await ids(world, await made(world, keywordFilter="ExtendedProperties", **signed)) == []


async def test_a_query_stays_until_it_is_deleted(world: World) -> None:
    query = await made(world)
    await world.refused("PATCH", query, {}, status=405, says="stays as it was made")
    assert (await world.call("DELETE", query)).status_code == 204
    await world.refused("GET", query, status=404)
    await world.refused("GET", f"{query}/records", status=404)


async def test_who_only_reads_deletes_nobodys_query(world: World) -> None:
    query = await made(world)
    await world.refused("DELETE", query, status=403, by="reader")
    assert (await world.call("DELETE", query, by="operator")).status_code == 204


async def test_who_may_read_the_audit_of_one_service_reads_that_one(world: World) -> None:
    world.known["entra"] = Caller(A, "app-e", "E", permissions=frozenset({"AuditLogsQuery-Entra.Read.All"}))
    world.known["mail"] = Caller(A, "app-m", "M", permissions=frozenset({"AuditLogsQuery-Exchange.Read.All"}))
    world.known["person"] = person("p", "SecurityReader", frozenset({"AuditLogsQuery.Read.All"}))
    await world.post("/v1.0/auditLogs/signIns", [sign_in(1)])
    query = await made(world, recordTypeFilters=["AzureActiveDirectoryStsLogon"])
    assert (await world.post(SET, MONTH, by="person"))["status"] == "succeeded"  # a reader of the security data asks
    assert await ids(world, query, by="entra") == await ids(world, query, by="person") == ["sign-in-001"]
    assert await ids(world, query, by="mail") == []
    asked = await made(world, serviceFilters=["AzureActiveDirectory"])
    assert await ids(world, asked, by="mail") == []
    await world.refused("GET", f"{query}/records/sign-in-001", status=404, by="mail")
    body = {"serviceFilters": ["AzureActiveDirectory"]}
    await world.refused("POST", SET, body, status=403, says="may read the audit of: Exchange", by="mail")
    await world.refused("GET", SET, status=403, by="none")
    await world.refused("GET", f"{query}/records", status=404, by="other")


def office_rows() -> Iterator[dict[str, Any]]:
    for number, client in enumerate(("[2001:db8::5]:4411", "198.51.100.7")):
        yield {
            "TimeGenerated": f"2026-11-12T10:0{number}:00.0000000Z",
            "Operation": "New-InboxRule",
            "RecordType": "1",
            "OfficeWorkload": "Exchange",
            "UserId": "dov@contoso.example",
            "UserType": "2",
            "ClientIP": client,
            "OfficeObjectId": "x\\rule",
            "Parameters": '[{"Name":"ForwardTo","Value":"out@evil.example"}]',
            "OfficeId": f"office-{number}" if number else "",
        }


async def arrive(kept_at: str) -> None:
    """The rows in files of the lake."""
    lake = open_lake(kept_at)
    await lake.start()
    await lake.append(A, [("OfficeActivity", row) for row in office_rows()])
    folder = Settings(data=kept_at).lake_path
    duck = Duck(folder, threads=1, memory_mb=256)
    try:
        while await Flusher(lake, Manifest(lake, folder), duck).step():
            pass
    finally:
        duck.close()
        await lake.close()


async def test_rows_of_office_activity_are_records(world: World, kept_at: str) -> None:
    """As they arrived, in the record's own words; a row that brought no id has one that stays."""
    await arrive(kept_at)
    await world.post("/v1.0/auditLogs/signIns", [sign_in(1)])
    query = await made(world, recordTypeFilters=["ExchangeAdmin", "AzureActiveDirectoryStsLogon"])
    records = await world.every(f"{query}/records?$top=1")
    assert [each["createdDateTime"][:16] for each in records] == [
        "2026-11-12T10:01", "2026-11-12T10:00", "2026-11-10T00:01",
    ]  # fmt: skip
    named, unnamed, _ = records
    assert named["id"] == "office-1" and len(unnamed["id"]) == 64
    assert (named["auditLogRecordType"], named["userType"], named["service"]) == ("ExchangeAdmin", "Admin", "Exchange")
    data = named["auditData"]
    assert data["Parameters"] == [{"Name": "ForwardTo", "Value": "out@evil.example"}]
    assert (data["Id"], data["RecordType"], data["ObjectId"], data["Workload"]) == (
        "office-1", 1, "x\\rule", "Exchange",
    )  # fmt: skip
    assert (await world.get(f"{query}/records/{unnamed['id']}"))["clientIp"] == "[2001:db8::5]:4411"
    asked = await made(
        world,
        operationFilters=["new-inboxRULE"],
        objectIdFilters=["X\\Rule"],
        userPrincipalNameFilters=["DOV@contoso.example"],
        ipAddressFilters=["2001:db8::5"],
        keywordFilter="EVIL.example",
        serviceFilters=["Exchange"],
    )
    assert await ids(world, asked) == [unnamed["id"]]
    assert await ids(world, await made(world, keywordFilter="none of them")) == []
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({"recordTypeFilters": ["SharePoint"]}, []),
        ({"serviceFilters": ["exchange"], "keywordFilter": '"'}, []),
        ({"keywordFilter": unnamed["id"][10:40]}, [unnamed["id"]]),
        ({"serviceFilters": ["exchange"], "keywordFilter": "x\\rule"}, ["office-1", unnamed["id"]]),
        ({"serviceFilters": ["exchange"], "keywordFilter": "2026-11-12t10:01:00"}, ["office-1"]),
        ({"ipAddressFilters": ["198.51.100.7"], "serviceFilters": ["Exchange"]}, ["office-1"]),
        ({"ipAddressFilters": ["198.51.100"], "serviceFilters": ["Exchange"]}, []),
        ({"keywordFilter": "New-InboxRule", "filterEndDateTime": "2026-11-12T10:01:00Z"}, [unnamed["id"]]),
    ]
    for asked_for, found in cases:
        assert await ids(world, await made(world, **asked_for)) == found, asked_for
