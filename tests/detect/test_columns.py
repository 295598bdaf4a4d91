"""What columns name becomes evidence; what they do not name becomes none."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from tests.detect.conftest import Lake

from bartizan.detect.columns import MAX_EVIDENCE, evidence_of, instants
from bartizan.detect.stage import columns_by
from bartizan.model import entities


def found(row: dict[str, Any], *assets: tuple[str, str]) -> list[dict[str, Any]]:
    items, left_out = evidence_of([row], assets)
    assert left_out == 0
    return [dict(msgspec.to_builtins(each)) for each in items]


def kinds(row: dict[str, Any]) -> list[str]:
    return [each["@odata.type"].rpartition(".")[2].removesuffix("Evidence") for each in found(row)]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"DeviceName": "pc7.contoso.example", "DeviceId": "d7"}, ["device"]),
        ({"Computer": "pc7"}, ["device"]),
        ({"UserPrincipalName": "ada@contoso.example", "UserId": "u1"}, ["user"]),
        ({"Account": "CONTOSO\\ada"}, ["user"]),
        ({"InitiatingProcessAccountSid": "S-1-5-21-7"}, ["user"]),
        ({"ServicePrincipalId": "sp1", "AppId": "a1"}, ["servicePrincipal"]),
        ({"RemoteIP": "203.0.113.7", "ClientIP": "not one", "DestinationIP": "::"}, ["ip"]),
        ({"RemoteUrl": "https://bad.example/x"}, ["url"]),
        ({"RemoteUrl": "bad.example"}, ["dns"]),
        ({"RecipientEmailAddress": "a@b.example", "NetworkMessageId": "m1"}, ["analyzedMessage", "mailbox"]),
        ({"FileName": "a.exe", "SHA1": "1" * 40}, ["file"]),
        ({"FileName": "a.exe", "ProcessId": 7, "InitiatingProcessFileName": "b.exe"}, ["process", "process"]),
        ({"FileHash": "ab" * 32}, ["fileHash"]),
        ({"RegistryKey": "HKLM\\Software\\X", "RegistryValueName": "y"}, ["registryValue"]),
        ({"AppDisplayName": "Mail", "ResourceId": "/subscriptions/1/x"}, ["cloudApplication", "azureResource"]),
        ({"DeviceName": "", "AccountUpn": None, "Count": 3, "Things": ["x"], "SHA256": {}}, []),
    ],
)
def test_by_name(row: dict[str, Any], expected: list[str]) -> None:
    assert kinds(row) == expected


def test_impacted_assets_come_first() -> None:
    """With their role, whatever column names them, and not a second time."""
    row = {"RemoteDeviceName": "srv.contoso.example", "TargetAccountUpn": "bob@contoso.example", "DeviceName": "pc7"}
    first, second, third = found(row, ("device", "remoteDeviceName"), ("user", "targetAccountUpn"))
    assert (first["deviceDnsName"], first["detailedRoles"]) == ("srv.contoso.example", ["impactedAsset"])
    assert second["userAccount"]["userPrincipalName"] == "bob@contoso.example"
    assert (third["hostName"], third.get("detailedRoles")) == ("pc7", None)
    sender = found({"SenderFromAddress": "x@bad.example"}, ("mailbox", "senderFromAddress"))
    assert sender[0]["primaryAddress"] == "x@bad.example"


def test_what_they_name_is_in_the_index() -> None:
    """Domain and name of an account are taken apart."""
    (user,) = found({"Account": "CONTOSO\\ada"})
    assert user["userAccount"] == {"accountName": "ada", "domainName": "CONTOSO"}
    named = entities.of_alert(found({"AccountName": "ada", "AccountDomain": "contoso", "SHA256": "AB" * 32}))
    assert {(each.kind, each.value) for each in named} == {("user", "ada"), ("hash", "ab" * 32)}


def test_bounds() -> None:
    rows = [{"DeviceName": f"pc{number}"} for number in range(MAX_EVIDENCE + 5)]
    items, left_out = evidence_of(rows, [])
    assert (len(items), left_out) == (MAX_EVIDENCE, 5)


def test_times() -> None:
    """The first and the last of all rows; what is no time counts not."""
    rows = [{"Timestamp": "2026-02-03T04:05:06Z"}, {"TimeGenerated": "2026-02-01T00:00:00.1234567Z", "EndTime": "soon"}]
    assert instants(rows) == ("2026-02-01T00:00:00.1234567Z", "2026-02-03T04:05:06.0000000Z")
    assert instants([{"Timestamp": None}, {}]) is None


@pytest.mark.anyio
async def test_columns_of_a_query() -> None:
    """They are found by running it over an empty span."""
    lake = Lake(columns=("Timestamp", "DeviceId"))
    columns = columns_by(lake, lambda: datetime.now(UTC))
    assert await columns("t", "T | take 1") == ["Timestamp", "DeviceId"]
    ((tenant, query, since, until),) = lake.asked
    assert (tenant, query) == ("t", "T | take 1")
    assert since == until is not None
