"""Which source a record is of, by its content or by the name that a sender gives its format."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.sources.test_real_records import UNRECORDED, record_of, records

from bartizan.extend import SOURCES, Record
from bartizan.sources.detect import MAX_LOOKED_AT, detect, of_sourcetype

HERE = Path(__file__).parent
NAMES = sorted(set(SOURCES) - {"auto", "generic"})
# Records of these are an operating system's own events, picked by a rule that they do not name.
NOT_TOLD = frozenset({"sigma_hits"})
# What one source reads of another's form: the other may be found as well, and gives the same.
SHARED_FORMS: dict[str, set[str]] = {
    "aws_securityhub": {"aws_findings", "ocsf"},
    "azure_activity": {"microsoft_sentinel", "monitoring_misc"},  # alerts of Defender for Cloud come both ways
    "entra_id_logs": {"entra_id_protection"},
    "gcp_audit": {"k8s_audit"},  # of a cluster, pushed
    "graph_security_incident": {"microsoft_defender_xdr"},
    "microsoft_defender_xdr": {"graph_security_alert_v2", "graph_security_incident", "microsoft_365_audit"},
    "paloalto_ngfw": {"paloalto_prisma_access"},
    "paloalto_prisma_access": {"paloalto_ngfw"},
    "sigma_hits": {"sysmon", "windows_event"},  # an event that a rule has picked
    "windows_event": {"sysmon"},
}
CASES = sorted(
    path for path in HERE.glob("*/*.json") if path.parent.name != "generic" and not path.stem.startswith("odd")
)


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_case_is_recognised(path: Path) -> None:
    """A record as its vendor writes it shows whose it is."""
    case = json.loads(path.read_text(encoding="utf-8"))
    name = path.parent.name
    assert detect(record_of(case.get("text", case.get("payload")))) in {name} | SHARED_FORMS.get(name, set())


@pytest.mark.parametrize("name", NAMES)
def test_every_source_says_what_marks_its_records(name: str) -> None:
    """Each can be recognised and has a name that a forwarder may give it."""
    source = SOURCES[name]
    assert source.marks or source.pattern
    assert source.sourcetypes
    assert all(word == word.lower() for word in source.sourcetypes)
    assert of_sourcetype(name) == name


@pytest.mark.shared
def test_real_records_are_recognised(shared: Path) -> None:
    """At least 95 % of all records are found to be of their source; of each at least three in four."""
    wrong: dict[str, Counter[str | None]] = {}
    total = 0
    for name in sorted(set(NAMES) - NOT_TOLD - UNRECORDED):
        found = Counter(detect(record_of(item["raw"])) for item in records(shared, name))
        total += found.total()
        wrong[name] = Counter({other: count for other, count in found.items() if other != name})
        alike = SHARED_FORMS.get(name, set())
        strange = sum(count for other, count in wrong[name].items() if other not in alike)
        assert strange <= found.total() / 4 or name.endswith("_generic"), (name, wrong[name])
    assert sum(others.total() for others in wrong.values()) <= 0.05 * total, {k: v for k, v in wrong.items() if v}


@pytest.mark.parametrize(
    "raw",
    [
        {"hello": "world", "count": 3},
        {"message": "nothing to see", "event": {"kind": "x"}},
        [],
        [[]],
        {},
        7,
        None,
        "a line of nobody's",
        "{",
        "<13>Mar  1 10:00:00 web app: started",
        {"data": [], "events": {}, "records": "x"},
    ],
    ids=repr,
)
def test_a_record_of_nobody(raw: Any) -> None:
    """What no source marks is nobody's, and the generic source reads it."""
    record = record_of(raw)
    assert detect(record) is None
    assert SOURCES["auto"].chosen(record) is SOURCES["generic"]


CEF = "CEF:0|Cybereason|Cybereason|1.0|1|Malop Created|5|rt=1"
CLOUDTRAIL = {
    "eventVersion": "1.08",
    "userIdentity": {"type": "Root"},
    "eventSource": "iam.amazonaws.com",
    "eventName": "CreateUser",
}


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (CEF, "cybereason"),
        (f"<13>Mar  1 10:00:00 gw {CEF}", "cybereason"),
        ({"message": CEF, "@timestamp": "2026-03-01T10:00:00Z", "host": {"name": "gw"}}, "cybereason"),
        ("CEF:0|Nobody|Box|1|1|x|5|rt=1", "cef_generic"),
        ({"Records": [CLOUDTRAIL]}, "aws_cloudtrail"),
        ([CLOUDTRAIL, {"other": 1}], "aws_cloudtrail"),
        ({"_source": CLOUDTRAIL}, "aws_cloudtrail"),
        ({"message": json.dumps(CLOUDTRAIL)}, "aws_cloudtrail"),
        ("<13>Mar  1 10:00:00 gw " + json.dumps(CLOUDTRAIL), "aws_cloudtrail"),
        ({"logEvents": [{"id": "1", "message": json.dumps(CLOUDTRAIL)}]}, "aws_cloudtrail"),
    ],
)
def test_what_is_wrapped(raw: Any, name: str) -> None:
    """A record is found in the envelopes of collectors, and a vendor's own form beats that which it is made of."""
    assert detect(record_of(raw)) == name


def test_large_records() -> None:
    """Of a line the beginning is looked at, of a list the first record, of texts within texts a few."""
    far = "x" * MAX_LOOKED_AT
    assert detect(record_of(f"{far} {CEF}")) is None
    assert detect(record_of([{"unknown": 1}] + [CLOUDTRAIL] * 100_000)) is None
    assert detect(record_of({"Records": [CLOUDTRAIL] * 100_000})) == "aws_cloudtrail"
    assert detect(record_of({f"key{number}": {} for number in range(100_000)} | CLOUDTRAIL)) == "aws_cloudtrail"
    inside: Any = CLOUDTRAIL
    for _ in range(12):
        inside = {"message": json.dumps(inside)}
    assert detect(record_of(inside)) is None
    deep: Any = {}
    for _ in range(900):
        deep = {"data": deep, "event": deep}
    assert detect(Record(raw=b"", text="", data=deep)) is None


@pytest.mark.parametrize(
    ("word", "source"),
    [
        ("XmlWinEventLog:Microsoft-Windows-Sysmon/Operational", "sysmon"),
        ("WinEventLog:Security", "windows_event"),
        ("cp_log", "checkpoint"),
        ("cef", "cef_generic"),
        ("bitdefender:gz", "bitdefender"),
        ("aws:cloudtrail", "aws_cloudtrail"),
        ("OktaIM2:log", "okta"),
        ("suricata", "suricata_eve"),
        ("o365:management:activity", "microsoft_365_audit"),
        ("azure:monitor:aad", "entra_id_logs"),
        ("google:gcp:pubsub:message", "gcp_audit"),
        ("CrowdStrike:Event:Streams:JSON", "crowdstrike_falcon"),
        ("bro:notice:json", "zeek_notice"),
        ("auto", None),
        ("access_combined", None),
    ],
)
def test_a_name_of_splunk(word: str, source: str | None) -> None:
    """What Splunk's add-ons call a format is the source that reads it."""
    assert of_sourcetype(word) == source
