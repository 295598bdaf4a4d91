"""Functions of advanced hunting that tell more of the rows, by what the tenant's own tables know."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import pytest
from tests.hunt.harness import Harness

from bartizan.hunt.enrichments import ENRICHMENTS
from bartizan.hunt.fault import KqlError
from bartizan.lake.tables import TABLES

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
SHA1 = "a" * 40
SHA256 = "b" * 64
DROPPED = "c" * 40
PROFILE = [
    ("SHA1", "string"), ("SHA256", "string"), ("MD5", "string"), ("FileSize", "int"), ("GlobalPrevalence", "int"),
    ("GlobalFirstSeen", "datetime"), ("GlobalLastSeen", "datetime"), ("Signer", "string"), ("Issuer", "string"),
    ("SignerHash", "string"), ("IsCertificateValid", "bool"), ("IsRootSignerMicrosoft", "bool"),
    ("SignatureState", "string"), ("IsExecutable", "bool"), ("ThreatName", "string"), ("Publisher", "string"),
    ("SoftwareName", "string"), ("ProfileAvailability", "string"),
]  # fmt: skip


def network(device: str, day: int, *addresses: str, adapter: str = "Ethernet") -> dict[str, Any]:
    told = ", ".join(f'{{"IPAddress": "{each}", "SubnetPrefix": 24}}' for each in addresses)
    return {
        "Timestamp": f"2026-11-{day:02} 06:00",
        "DeviceId": device,
        "DeviceName": f"{device}.example.org",
        "NetworkAdapterName": "{1}",
        "MacAddress": f"mac of {device}",
        "NetworkAdapterType": adapter,
        "ConnectedNetworks": '[{"Name": "office"}]',
        "IPAddresses": f"[{told}]",
    }


ROWS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "DeviceProcessEvents": [
        {"SHA1": SHA1.upper(), "SHA256": SHA256, "MD5": "d" * 32, "FileSize": 70,
         "ProcessVersionInfoCompanyName": "Example Works", "ProcessVersionInfoProductName": "Tool",
         "InitiatingProcessSHA1": "e" * 40, "InitiatingProcessFileSize": 2**31},
    ],
    "DeviceFileEvents": [{"SHA1": DROPPED, "FileSize": 9}],
    "DeviceImageLoadEvents": [{"SHA1": "f" * 40, "SHA256": "f" * 64}],
    "DeviceEvents": [
        {"SHA1": DROPPED, "ActionType": "AntivirusDetection", "AdditionalFields": '{"ThreatName": "Trojan:Example"}'},
        {"SHA1": SHA1, "ActionType": "SmartScreenAppWarning", "AdditionalFields": '{"ThreatName": "no detection"}'},
    ],
    "DeviceFileCertificateInfo": [
        {"Timestamp": "2026-11-01", "SHA1": SHA1, "IsSigned": True, "IsTrusted": False, "Signer": "before"},
        {"Timestamp": "2026-11-02", "SHA1": SHA1, "IsSigned": True, "IsTrusted": True, "Signer": "Example",
         "Issuer": "CA", "SignerHash": "11", "IsRootSignerMicrosoft": False},
        {"Timestamp": "2026-11-02", "SHA1": DROPPED, "IsSigned": False},
        {"Timestamp": "2026-11-02", "SHA1": "9" * 40, "IsSigned": True, "IsTrusted": False},
    ],
    "DeviceNetworkInfo": [
        network("one", 1, "10.0.0.1", "203.0.113.9"),
        network("one", 2, "10.0.0.2", "fe80::1", "203.0.113.9", adapter="Wireless80211"),
        network("two", 1, "10.0.0.2"),
        network("two", 2, "10.0.0.3"),
    ],
    "DeviceNetworkEvents": [
        {"Timestamp": "2026-11-01 20:00", "DeviceId": "watcher", "RemoteIP": "10.0.0.1"},
        {"Timestamp": "2026-11-02 20:00", "DeviceId": "late", "RemoteIP": "10.0.0.1"},
        {"Timestamp": "2026-11-02 01:00", "DeviceId": "another", "RemoteIP": "10.0.0.2"},
        {"Timestamp": "2026-11-02 01:00", "DeviceId": "another", "RemoteIP": "10.0.0.2"},
        {"Timestamp": "2026-11-02 01:00", "DeviceId": "one", "RemoteIP": "10.0.0.2"},
        {"Timestamp": "2026-11-02 01:00", "DeviceId": "outside", "RemoteIP": "203.0.113.9"},
    ],
}  # fmt: skip


@cache
def harness() -> Harness:
    made = Harness({name: each.columns for name, each in TABLES.items()})
    made.fill(ROWS)
    return made


def run(query: str) -> list[dict[str, Any]]:
    columns, rows = harness().run(query, NOW)
    return [dict(zip((name for name, _ in columns), row, strict=True)) for row in rows]


def profile(hashes: str, call: str = "FileProfile(file)", column: str = "file") -> list[dict[str, Any]]:
    values = ", ".join(f"'{each}'" for each in hashes.split())
    return run(f"datatable({column}: string)[{values}] | invoke {call} | sort by {column} asc")


def test_a_file_that_the_tables_know_has_a_profile() -> None:
    [found] = profile(SHA1)
    assert found == {
        "file": SHA1, "SHA1": SHA1, "SHA256": SHA256, "MD5": "d" * 32, "FileSize": 70, "GlobalPrevalence": None,
        "GlobalFirstSeen": None, "GlobalLastSeen": None, "Signer": "Example", "Issuer": "CA", "SignerHash": "11",
        "IsCertificateValid": True, "IsRootSignerMicrosoft": False, "SignatureState": "SignedValid",
        "IsExecutable": None, "ThreatName": "", "Publisher": "Example Works", "SoftwareName": "Tool",
        "ProfileAvailability": "Available",
    }  # fmt: skip
    assert profile(SHA256)[0] == {**found, "file": SHA256}


def test_each_table_adds_what_it_knows() -> None:
    dropped, loaded, actor, signed = (profile(each)[0] for each in (DROPPED, "F" * 64, "e" * 40, "9" * 40))
    assert (dropped["ThreatName"], dropped["SignatureState"], dropped["FileSize"]) == ("Trojan:Example", "Unsigned", 9)
    assert (loaded["SHA1"], loaded["IsExecutable"], loaded["SignatureState"]) == ("f" * 40, True, "Unknown")
    assert (actor["ProfileAvailability"], actor["FileSize"]) == ("Available", None)  # an int does not hold it
    assert (signed["SHA1"], signed["SignatureState"]) == ("9" * 40, "SignedInvalid")


def test_what_nobody_knows_is_missing_and_what_is_no_hash_is_not_asked() -> None:
    """Rows stay, as often as they came."""
    found = profile(f"{'0' * 40} {'0' * 40} none {SHA1} {'1' * 41}")
    told = {each["file"]: (each["ProfileAvailability"], each["SignatureState"], each["SHA1"]) for each in found}
    assert len(found) == 5
    assert told == {
        "0" * 40: ("Missing", "Unknown", ""),
        "1" * 41: ("", "", ""),
        "none": ("", "", ""),
        SHA1: ("Available", "SignedValid", SHA1),
    }


def test_the_first_rows_are_told_of_and_a_hundred_if_no_number_is_said() -> None:
    rows = f"range n from 1 to 150 step 1 | extend SHA1 = '{SHA1}'"
    query = f"{rows} | invoke {{}} | summarize count() by ProfileAvailability"
    asked = {each["ProfileAvailability"]: each["count_"] for each in run(query.format("FileProfile()"))}
    assert asked == {"Available": 100, "": 50}
    assert run(query.format("FileProfile('SHA1', 1000)")) == [{"ProfileAvailability": "Available", "count_": 150}]


def test_columns_are_those_of_the_documentation_behind_those_of_the_rows() -> None:
    columns, _ = harness().run("print A = 1, SHA256 = '' | invoke FileProfile(SHA256)", NOW)
    numbered = [("SHA2561" if name == "SHA256" else name, type_) for name, type_ in PROFILE]
    assert columns == [("A", "long"), ("SHA256", "string"), *numbered]


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("FileProfile(SHA3)", "the rows have no column 'SHA3'"),
        ("FileProfile()", "the rows have no column 'SHA1'"),
        ("FileProfile(file, 1001)", "'y' is a number from 1 to 1,000"),
        ("FileProfile(file, 0)", "'y' is a number from 1 to 1,000"),
        ("FileProfile(strcat(file, ''))", "must be a constant"),
        ("fileprofile(file)", "did you mean FileProfile"),
        ("DeviceFromIP()", "must have a column 'IP'"),
    ],
)
def test_what_is_wrong_is_said(call: str, told: str) -> None:
    with pytest.raises(KqlError, match=told):
        profile(SHA1, call)


def test_a_column_may_be_a_constant_of_the_query() -> None:
    assert profile(SHA1, "FileProfile('file')") == profile(SHA1)
    assert run(f"let column = 'file'; print file = '{SHA1}' | invoke FileProfile(column)") == profile(SHA1)


def test_a_function_of_the_query_or_of_the_tenant_stands_in_place() -> None:
    assert run(f"FileProfile((print file = '{SHA1}'), file, 5)") == profile(SHA1)
    with pytest.raises(KqlError, match=r"it is a function: call FileProfile\(\)"):
        run("FileProfile | take 1")
    own = "let FileProfile = (T: (file: string)) { T | extend mine = 1 }; "
    assert run(f"{own} print file = 'x' | invoke FileProfile()") == [{"file": "x", "mine": 1}]
    saved = Harness({})
    catalogue = {"FileProfile": "(T: (*)) { T | extend saved = 1 }"}
    saved.catalogue = type(saved.catalogue)(tables={}, functions=catalogue)
    assert saved.run("print file = 'x' | invoke FileProfile()")[1] == [["x", 1]]


def test_the_addresses_that_a_device_had_last_and_at_an_instant() -> None:
    found = {each["IPAddress"]: each for each in run("AssignedIPAddresses('one')")}
    assert set(found) == {"10.0.0.2", "fe80::1", "203.0.113.9"}
    assert found["10.0.0.2"] == {
        "Timestamp": "2026-11-02T06:00:00Z", "IPAddress": "10.0.0.2", "IPType": "Private", "NetworkAdapterType": 71,
        "ConnectedNetworks": '[{"Name": "office"}]',
    }  # fmt: skip
    assert (found["fe80::1"]["IPType"], found["203.0.113.9"]["IPType"]) == ("Private", "Public")
    before = run("AssignedIPAddresses('ONE.example.org', ago(1d)) | project IPAddress, NetworkAdapterType")
    assert sorted(each["IPAddress"] for each in before) == ["10.0.0.1", "203.0.113.9"]
    assert {each["NetworkAdapterType"] for each in before} == {6}
    assert run("AssignedIPAddresses('nobody')") == []


def test_the_devices_that_had_an_address_last_and_at_an_instant() -> None:
    rows = "datatable(IP: string)['10.0.0.2', '10.0.0.2', '10.0.0.1', '203.0.113.9', 'x'] | invoke DeviceFromIP({})"
    assert run(rows.format("")) == [{"IP": "10.0.0.2", "DeviceId": "one"}]
    before = sorted((each["IP"], each["DeviceId"]) for each in run(rows.format("ago(1d)")))
    assert before == [("10.0.0.1", "one"), ("10.0.0.2", "two")]


def test_devices_that_saw_a_device_by_an_address_that_it_had_that_day() -> None:
    found = run("datatable(DeviceId: string, n: long)['one', 1, 'nobody', 2] | invoke SeenBy() | sort by n asc")
    assert found == [
        {"DeviceId": "one", "n": 1, "SeenBy": [{"DeviceId": "another"}, {"DeviceId": "watcher"}]},
        {"DeviceId": "nobody", "n": 2, "SeenBy": []},
    ]
    expanded = run(
        "print other = 'two' | invoke SeenBy(other) | mv-expand SeenBy | project seen = tostring(SeenBy.DeviceId)"
    )
    assert expanded == [{"seen": ""}]


def test_they_can_be_asked_again() -> None:
    [twice] = run(f"print file = '{SHA1}' | invoke FileProfile(file) | invoke FileProfile(SHA256)")
    assert [twice[name] for name in ("SHA1", "SHA11", "SignatureState1", "ProfileAvailability1")] == [
        SHA1, SHA1, "SignedValid", "Available",
    ]  # fmt: skip
    [again] = run("print DeviceId = 'one' | invoke SeenBy() | invoke SeenBy() | project-away DeviceId")
    assert again == {"SeenBy": [{"DeviceId": "another"}, {"DeviceId": "watcher"}]}


def test_they_can_be_asked_in_parts_of_a_query() -> None:
    query = (
        "let rare = DeviceProcessEvents | invoke FileProfile('SHA1', 1000) | where ProfileAvailability == 'Available' "
        "and coalesce(GlobalPrevalence, 0) < 100 | distinct SHA1; "
        "DeviceProcessEvents | where SHA1 in (rare) | join kind=inner (DeviceEvents | invoke FileProfile()) on SHA1 "
        "| summarize count()"
    )
    assert run(query) == [{"count_": 0}]  # hashes are compared by case


@pytest.mark.parametrize("name", ENRICHMENTS)
def test_each_says_what_it_does(name: str) -> None:
    assert name in ENRICHMENTS[name].says
