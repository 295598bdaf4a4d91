"""Reading what vendors write: fields, times, scales, techniques, accounts, evidence."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bartizan.extend import Record
from bartizan.model.alert import Severity
from bartizan.model.countries import country_code
from bartizan.sources import attack, severity
from bartizan.sources.collector import MAX_EVIDENCE
from bartizan.sources.entities import Account, account, addresses, file_name, full_path, hashes_in
from bartizan.sources.evidence import Evidence, Place
from bartizan.sources.fields import REST_NODES, Fields, content_id, lines_of, objects_of
from bartizan.sources.tables import TABLES, columns, row_event, unmade
from bartizan.sources.times import first_time, when

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


def test_fields_read_any_spelling() -> None:
    """Keys in any case, dotted keys and nested objects, JSON in strings; what is no value counts as absent."""
    fields = Fields(
        {
            "Agent": {"Name": "a1"},
            "k8s.pod.name": "p1",
            "more": '{"inner":{"list":["x",null,"-",7]}}',
            "n": "N/A",
            "port": "0x1F",
            "yes": "TRUE",
        }
    )
    assert fields.text("agent.name") == "a1"
    assert fields.text("k8s.pod.name") == "p1"
    assert fields.texts("more.inner.list") == ["x", "7"]
    assert fields.text("n", "agent.name") == "a1"
    assert fields.integer("port") == 31
    assert fields.flag("yes") is True
    assert fields.text("agent") is None


def test_a_path_leads_through_lists_at_any_step() -> None:
    """Each object of a list gives its value, wherever the list stands; a dotted key is one key."""
    fields = Fields({"a": {"b": [{"c": "1"}, {"c": ["2", "3"]}, {"d": "4"}]}, "x.y": "5", "x": {"z": "6"}})
    assert fields.texts("a.b.c") == ["1", "2", "3"]
    assert fields.texts("x.y") == ["5"]
    assert fields.texts("a.none", "x.z") == ["6"]
    assert [item.text("c") for item in fields.each("a.b")] == ["1", "2", None]


def test_columns_hold_whole_values_or_none() -> None:
    """A column of JSON keeps a value as it came, and what a column shows whole stands there alone."""
    spec = {
        "Text": "json inner",
        "Whole": "dynamic inner",
        "Plain": "json said",
        "Deep": "in.side",
        "None": "dynamic none",
    }
    fields = Fields({"inner": {"k": [1, None, ""]}, "said": "as it is", "in": {"side": "s"}, "none": {}})
    made = row_event("GenericEvents", None, fields, spec, Evidence(), More=1)
    assert made.row == {
        "Text": '{"k":[1,null,""]}',
        "Whole": {"k": [1, None, ""]},
        "Plain": "as it is",
        "Deep": "s",
        "More": 1,
        "AdditionalFields": {"in": {"side": "s"}},
    }


def test_a_path_may_be_called_like_a_reader() -> None:
    """Only the first word of a column says how to read it, when a row is made and when the object is made of it."""
    spec = {"Title": "text name", "Began": "time time", "Flag": "flag in.flag"}
    fields = Fields({"name": "n", "time": "2026-03-04T10:00:00Z", "in": {"flag": True}})
    row = columns(fields, spec)
    assert row == {"Title": "n", "Began": "2026-03-04T10:00:00.0000000Z", "Flag": True}
    assert unmade(Fields(row), spec) == {"name": "n", "time": "2026-03-04T10:00:00.0000000Z", "in": {"flag": True}}


def test_the_exact_spelling_wins() -> None:
    """Of keys that differ only in case the one asked for is read."""
    assert Fields({"eventtype": "a", "eventType": "b"}).text("eventType") == "b"
    assert Fields({"eventtype": "a", "EVENTTYPE": "b"}).text("eventType") == "a"


def test_how_words_are_parted_says_little() -> None:
    """A key is found however its words are parted, but only where none of the paths is there as it is spelt."""
    fields = Fields({"src_ip": "192.0.2.1", "detectionName": "d", "file-hash": {"sha_256": "h"}, "_id": "x"})
    assert fields.text("srcIp") == "192.0.2.1"
    assert fields.text("detection_name") == "d"
    assert fields.text("fileHash.sha256") == "h"
    assert fields.has("SrcIP") and not fields.has("id")
    assert Fields({"sub_type": "a", "name": "b"}).text("subtype", "name") == "b"


def test_keys_of_several_steps_are_objects() -> None:
    """What a pipeline has flattened reads as what it was, at any step."""
    fields = Fields({"rule.id": "7", "rule.mitre.id": ["T1059"], "host": "h", "rule.mitre.tactic": "x"})
    assert fields.object("rule").text("id") == "7"
    assert fields.object("rule.mitre").texts("id") == ["T1059"]
    assert fields.has("rule") and not fields.has("ru")
    assert [item.text("tactic") for item in fields.objects("rule.mitre")] == ["x"]
    assert not fields.object("host")


def test_a_list_of_one_is_its_value() -> None:
    """As search engines give every field; several values are no number and no time."""
    fields = Fields({"score": [7], "at": ["2026-03-02T12:00:00Z"], "yes": ["true"], "many": [1, 2]})
    assert (fields.number("score"), fields.integer("score"), fields.flag("yes")) == (7, 7, True)
    assert when(fields.raw("at")) == "2026-03-02T12:00:00.0000000Z"
    assert fields.number("many") is None and when([1772452800, 1772452801]) is None


VENDORS = {"id": "a-1", "kind": "alert"}


@pytest.mark.parametrize(
    "wrapped",
    [
        {"message": json.dumps(VENDORS), "@timestamp": "2026-03-02T12:00:00Z", "agent": {"name": "shipper"}},
        {"_raw": json.dumps(VENDORS), "sourcetype": "x"},
        {"event": {"original": json.dumps(VENDORS), "module": "m"}, "tags": ["a"]},
        {"event": VENDORS, "host": "h", "sourcetype": "x"},
        {"value": [VENDORS], "@odata.context": "c"},
        {"message": json.dumps({"data": [VENDORS], "meta": {"next": None}})},
        [VENDORS],
        "<134>1 2026-03-02T12:00:00Z relay app - - - " + json.dumps(VENDORS),
        {"message": "Mar  2 12:00:00 relay app: " + json.dumps(VENDORS), "host": "relay"},
    ],
)
def test_a_record_is_found_in_what_is_around_it(wrapped: Any) -> None:
    """A collector's wrapping, a page of an API, a header of syslog."""
    text = wrapped if isinstance(wrapped, str) else json.dumps(wrapped)
    record = Record(raw=b"", text=text, data=None if isinstance(wrapped, str) else wrapped)
    assert [fields.data for fields in objects_of(record)] == [VENDORS]


@pytest.mark.parametrize(
    "record",
    [
        {"message": '{"a": 1}', "severity": 3, "rule": "r"},
        {"event": {"a": 1, "b": 2}},
        {"alerts": [{"a": 1}], "receiver": "r", "status": "firing"},
        {"data": [{"a": 1}, 2]},
        {"message": "plain"},
    ],
)
def test_a_record_of_its_own_is_no_wrapping(record: dict[str, Any]) -> None:
    """Where a vendor's keys stand beside, or nothing says that a collector was there, the record is the whole."""
    assert [fields.data for fields in objects_of(Record(raw=b"", text="", data=record))] == [record]


def test_lines_are_texts_alone_or_taken_by_a_collector() -> None:
    """An object of a vendor holds no line."""
    assert lines_of(Record(raw=b"", text="a=1 b=2", data=None)) == ["a=1 b=2"]
    assert lines_of(Record(raw=b"", text="", data={"message": "a=1 b=2", "host": "h"})) == ["a=1 b=2"]
    assert lines_of(Record(raw=b"", text="", data={"message": "a=1", "policy": "p"})) == []


@given(data=st.dictionaries(st.text(max_size=8), VALUES, max_size=6), path=st.text(alphabet="ab.AB", max_size=8))
def test_reading_never_raises(data: dict[str, Any], path: str) -> None:
    """Every reader answers its type or nothing, whatever stands there."""
    fields = Fields(data)
    assert fields.text(path) is None or isinstance(fields.text(path), str)
    assert fields.integer(path) is None or -(2**63) <= (fields.integer(path) or 0) < 2**63
    assert all(isinstance(item, Fields) for item in fields.objects(path))
    assert all(isinstance(text, str) for text in fields.texts(path))
    msgspec.json.encode(fields.rest())
    assert len(content_id(data)) == 64


def test_rest_says_what_it_cut() -> None:
    """Beyond its bounds a record's rest is cut, and names the keys that were."""
    rest = Fields({"small": 1, "long": "x" * 10_000, "wide": list(range(10_000)), "empty": {}, "none": None}).rest()
    assert rest["small"] == 1 and len(rest["long"]) < 10_000 and len(rest["wide"]) <= REST_NODES
    assert set(rest["cutFields"]) == {"long", "wide"}
    assert "empty" not in rest and "none" not in rest


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1772452800, "2026-03-02T12:00:00.0000000Z"),
        (1772452800123, "2026-03-02T12:00:00.1230000Z"),
        (1772452800123456, "2026-03-02T12:00:00.1234560Z"),
        (1772452800123456789, "2026-03-02T12:00:00.1234567Z"),
        ("1772452800.5", "2026-03-02T12:00:00.5000000Z"),
        (134168400000000000, "2026-03-01T12:00:00.0000000Z"),
        ("2026-03-01 10:15:30.123456+0100", "2026-03-01T09:15:30.1234560Z"),
        ("2025-02-25 20:40:06.765", "2025-02-25T20:40:06.7650000Z"),
        ("3/24/2022 2:42:35 PM", "2022-03-24T14:42:35.0000000Z"),
        ("2016 Dec 13 12:00:00", "2016-12-13T12:00:00.0000000Z"),
        ("Mon, 02 Mar 2026 12:00:00 +0000", "2026-03-02T12:00:00.0000000Z"),
        ("2026-03-02 12:00:00 UTC", "2026-03-02T12:00:00.0000000Z"),
        ("20260302T120000.5Z", "2026-03-02T12:00:00.5000000Z"),
        ("20260302120000", "2026-03-02T12:00:00.0000000Z"),
        ("2026-03-02T13:00:00+01:00[Europe/Paris]", "2026-03-02T12:00:00.0000000Z"),
        ("2026-03-02 12:00:00+00", "2026-03-02T12:00:00.0000000Z"),
        ("Mon Mar 02 13:00:00 CET 2026", "2026-03-02T12:00:00.0000000Z"),
        ("Mar 2, 2026 @ 12:00:00.250", "2026-03-02T12:00:00.2500000Z"),
        ("3/2/2026, 12:00:00 PM", "2026-03-02T12:00:00.0000000Z"),
        ("31/03/2026 12:00:00", "2026-03-31T12:00:00.0000000Z"),
        ("02.03.2026 12:00:00", "2026-03-02T12:00:00.0000000Z"),
        ("/Date(1772452800000)/", "2026-03-02T12:00:00.0000000Z"),
        ({"seconds": 1772452800, "nanos": 5}, "2026-03-02T12:00:00.0000000Z"),
        ({"$date": "2026-03-02T12:00:00Z"}, "2026-03-02T12:00:00.0000000Z"),
        ("2026-03-02", None),
        ("1970-01-01 00:00:00Z", None),
        ("1601-01-01T00:00:00.000Z", None),
        (0, None),
        (-5, None),
        ("redacted", None),
        ("9999-12-31T23:59:59Z", None),
        (True, None),
        (10**40, None),
    ],
)
def test_times(value: Any, expected: str | None) -> None:
    """Epochs in any unit, Windows ticks, ISO and older forms; "never" is no time."""
    assert when(value) == expected


def test_a_day_stands_where_no_time_is() -> None:
    """A path that holds a time comes first, wherever it stands."""
    fields = Fields({"date": "2026-03-02", "at": "2026-03-02T12:00:00Z"})
    assert first_time(fields, "date", "at") == "2026-03-02T12:00:00.0000000Z"
    assert first_time(fields, "date", "none") == "2026-03-02T00:00:00.0000000Z"


@pytest.mark.parametrize(
    ("word", "level"),
    [
        ("E_MEDIUM", "medium"),
        ("3 - High", "high"),
        ("High (8.1)", "high"),
        ("Very Low", "informational"),
        ("Important", "high"),
        ("notice", "low"),
        ("higher than usual", "unknown"),
        ("7", "unknown"),
    ],
)
def test_words_of_severity(word: str, level: Severity) -> None:
    """Words alone, with a prefix or a number; others are unknown."""
    assert severity.of_word(word) == level


@given(VALUES)
def test_times_never_raise(value: Any) -> None:
    """A time is of the wire's width, or none."""
    assert when(value) is None or len(when(value) or "") == 28


@pytest.mark.parametrize(
    ("scale", "values"),
    [
        (severity.of_hundred, [0, 19, 20, 39, 40, 69, 70, 100]),
        (severity.of_five, [1, 2, 3, 4, 5]),
        (severity.of_guardduty, [1, 3.9, 4, 6.9, 7, 9.5]),
        (severity.of_cef, [0, 1, 3, 4, 6, 7, 10]),
        (severity.of_syslog, [7, 6, 5, 4, 3, 0]),
        (severity.of_suricata, [4, 3, 2, 1]),
        (severity.of_wazuh, [0, 3, 4, 6, 7, 11, 12, 15]),
        (severity.of_ocsf, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_scales_rise(scale: Any, values: list[float]) -> None:
    """Each scale, given in rising order, never falls, and ends high; what is off it is unknown."""
    order: list[Severity] = ["unknown", "informational", "low", "medium", "high"]
    ranks = [order.index(scale(value)) for value in values]
    assert ranks == sorted(ranks) and 0 < ranks[0] < ranks[-1] == 4
    assert scale(None) == "unknown" and scale(-1) == "unknown"


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Phishing (T1566), Link (T1566.002)", ["T1566", "T1566.002"]),
        ("https://attack.mitre.org/techniques/T1055/012/", ["T1055", "T1055.012"]),
        ("attack.t1003.001", ["T1003.001"]),
        ("TA0006:T1528", ["T1528"]),
        ("LAPTOP-T1234 XT1059 T10591 T9999 t1059", []),
        ("t1059.001", ["T1059.001"]),
        ("mitre_t1059", ["T1059"]),
        ("seen\nT1098 - x", ["T1098"]),
        ("T0855", ["T0855"]),
    ],
)
def test_techniques(text: str, ids: list[str]) -> None:
    """Ids in text, links and tags; no names of hosts and no numbers that are none."""
    data = {"a": [{"b": text}]}
    assert attack.techniques(Record(raw=b"", text=json.dumps(data), data=data), data) == ids


def test_tactics() -> None:
    """By name in any spelling, by id, from a tag; other words name none."""
    found = attack.tactics(
        "Defense Evasion", "TA0011", "mitre_lateral_movement", "defense-evasion", "Machine Learning", None
    )
    assert found == ["DefenseEvasion", "CommandAndControl", "LateralMovement"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("CORP\\ann", Account(name="ann", domain="CORP")),
        ("ann@corp.example", Account(name="ann", domain="corp.example", upn="ann@corp.example")),
        ("<bob>", Account(name="bob")),
        ("Ann Lee <ann@corp.example>", Account(name="ann", domain="corp.example", upn="ann@corp.example")),
        ("smtp:ann@corp.example", Account(name="ann", domain="corp.example", upn="ann@corp.example")),
        ("ann@corp.example;bob@corp.example", Account(name="ann", domain="corp.example", upn="ann@corp.example")),
        ("S-1-5-21-1-2-3-500", Account(sid="S-1-5-21-1-2-3-500")),
        ("unknown", Account()),
        ("10.1.1.7", Account()),
        ("${Alert.username}", Account()),
        ("", Account()),
        (None, Account()),
    ],
)
def test_accounts(text: str | None, expected: Account) -> None:
    """An account in each of its spellings."""
    assert account(text) == expected


def test_small_readers() -> None:
    """Several addresses in a text, hashes by kind, paths of both kinds, countries by name."""
    assert addresses(["10.0.0.1, 10.0.0.2:80", "::ffff:1.2.3.4 0.0.0.0", None]) == ["10.0.0.1", "10.0.0.2", "1.2.3.4"]
    assert hashes_in(["SHA1=" + "AB" * 20 + ",IMPHASH=" + "cd" * 16, "0" * 64, "zz"]) == {"sha1": "ab" * 20}
    assert file_name("C:\\a\\b.exe") == "b.exe" and file_name("/usr/bin/") == "bin"
    assert full_path("C:\\a", "b.exe") == "C:\\a\\b.exe" and full_path("/bin/", "sh") == "/bin/sh"
    assert full_path("/bin/sh", "sh") == "/bin/sh"
    assert [country_code(name) for name in ("United States", "fr", "The Netherlands", "Côte d'Ivoire", "Atlantis")] == [
        "US",
        "FR",
        "NL",
        "CI",
        None,
    ]


def test_one_object_per_entity() -> None:
    """The same host, account or address mentioned twice is one object with what both say."""
    evidence = Evidence("2026-03-02T12:00:00.0000000Z")
    evidence.host("web1.corp.example", addresses=["10.0.0.1"])
    evidence.host("WEB1", os="linux", roles=("attacked",))
    evidence.user("ann@corp.example")
    evidence.user(upn="ANN@corp.example", sid="S-1-5-21-1-2-3-500")
    evidence.ip("198.51.100.1", ("source",))
    evidence.ip("198.51.100.1", ("attacker",), Place(country="France"))
    built = msgspec.to_builtins(evidence.items)
    assert len(built) == 3
    assert built[0]["deviceDnsName"] == "web1.corp.example" and built[0]["osPlatform"] == "linux"
    assert built[1]["userAccount"]["userSid"] == "S-1-5-21-1-2-3-500"
    assert built[2]["roles"] == ["source", "attacker"] and built[2]["countryLetterCode"] == "FR"


def test_evidence_is_bounded() -> None:
    """More than MAX_EVIDENCE objects are counted, not kept."""
    evidence = Evidence()
    for number in range(MAX_EVIDENCE + 7):
        evidence.ip(f"10.0.{number // 250}.{number % 250 + 1}")
    assert len(evidence.items) == MAX_EVIDENCE and evidence.omitted == 7


def test_columns_are_declared() -> None:
    """A table of columns reads with its types."""
    fields = Fields({"a": "5", "b": {"c": "x/y.exe"}, "t": 1772452800})
    spec = {"A": "int a", "B": "name b.c", "C": "b.c", "T": "time t", "D": "missing"}
    expected = {"A": 5, "B": "y.exe", "C": "x/y.exe", "T": "2026-03-02T12:00:00.0000000Z", "D": None}
    assert columns(fields, spec) == expected
    assert all("Timestamp" in table and "AdditionalFields" in table for table in TABLES.values())


def test_what_stands_for_no_host_is_none(normalise: Callable[[str, Any], list[Any]]) -> None:
    """A notable event of Splunk names no host where it says that it knows none."""
    said = {"rule_title": "t", "urgency": "high", "security_domain": "access", "search_name": "s", "src": ["unknown"]}
    (alert,) = normalise("splunk_es", said | {"dest": "localhost", "dvc": "fw-1", "risk_object": "Undefined"})
    assert [(entry.kind, entry.value) for entry in alert.entities] == [("host", "fw-1")]
