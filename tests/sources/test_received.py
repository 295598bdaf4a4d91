"""A record whose header has no year, as that of RFC 3164, or no time at all: when it was taken up is when it was."""

import json
from typing import Any

import pytest

from bartizan.extend import SOURCES, Record
from bartizan.extend.sources import Said
from bartizan.ingest.made import complete, make, normalised

RECEIVED = "2027-01-01T00:00:03.0000000Z"
TAKEN_UP = "2027-01-01T00:00:01.5000000Z"
SNORT = (
    "[1:2000001:1] CASE probe [Classification: Attempted Information Leak] [Priority: 2] {TCP} 192.0.2.7 -> 10.0.0.5"
)
DEVIANCE = '"0" "1" "forest" "corp.example" "C-PASSWORD-POLICY" "high" "CN=Ann,CN=Users,DC=corp" "77" "p" "R-WEAK" "8"'
RISK = (
    "Virus found,IP Address: 10.0.0.5,Computer name: pc-5,Source: Real Time Scan,Risk name: EICAR,Occurrences: 1,"
    "File path: C:\\t\\e.com,Description: ,Actual action: Quarantined,Requested action: Cleaned"
)
FILTER = "filter_instance1[12]: rprt s=1abc mod=session cmd=disconnect module= rule= ip=203.0.113.9 rcpts=1"
SHELL = "falco: 23:59:58.123456789: Error Shell opened (user=root command=bash container_id=host)"
HEADER = "Dec 31 23:59:58"
# Source -> a line of it without a time of its own.
LINES = {
    "suricata_eve": f"<33>{HEADER} ids1 snort[7]: {SNORT}",
    "tenable_ad": f"<36>{HEADER} ad1 Tenable.ad[4]: {DEVIANCE}",
    "symantec_sep": f"<51>{HEADER} sepm1 SymantecServer: {RISK}",
    "proofpoint": f"<22>{HEADER} mx1 {FILTER}",
    "falco": f"<13>{HEADER} n1 {SHELL}",
    "generic": f"<86>{HEADER} web1 sshd[9]: Failed password for ann from 203.0.113.9 port 22 ssh2",
    "fortinet_fortigate": f'<185>{HEADER} gw1 devid=FG1 type=utm subtype=ips level=alert attack="A" srcip=192.0.2.7',
    "cef_generic": f"<14>{HEADER} gw1 CEF:0|Acme|Box|1|7|Scan|8|src=192.0.2.7",
    "leef_generic": f"<14>{HEADER} gw1 LEEF:1.0|Acme|Box|1|Scan|src=192.0.2.7",
}


def _times(source: str, text: str, data: Any, said: Said | None = None) -> list[str | None]:
    """When each thing that a record becomes was, after what its way says of it."""
    items = normalised(SOURCES[source], Record(text.encode(), text, data, said))
    if said is not None:
        complete(items, said)
    return [alert.first_activity for alert in items.alerts] + [
        event.row.get("Timestamp", event.row.get("TimeGenerated")) for event in items.events
    ]


@pytest.mark.parametrize("source", LINES)
def test_new_year(source: str) -> None:
    """A line of the last seconds of a year, received in the first of the next, is of that instant: no year is guessed,
    so that none can be wrong by one."""
    assert _times(source, LINES[source], None, Said(at=RECEIVED)) == [RECEIVED]


@pytest.mark.parametrize("source", LINES)
def test_without_a_header(source: str) -> None:
    """Nor does it need a header."""
    line = LINES[source].partition(f"{HEADER} ")[2].partition(" ")[2]
    assert _times(source, line, None, Said(at=RECEIVED)) == [RECEIVED]


@pytest.mark.parametrize("source", LINES)
def test_taken_up(source: str) -> None:
    """What a collector says of when it took the line up is nearer than when that came here."""
    data = {"@timestamp": TAKEN_UP, "message": LINES[source], "agent": {"type": "filebeat"}, "host": {"name": "relay"}}
    assert _times(source, json.dumps(data), data, Said(at=RECEIVED)) == [TAKEN_UP]


@pytest.mark.parametrize("source", ["suricata_eve", "symantec_sep"])
def test_marked(source: str) -> None:
    """An alert without any time has that of its receipt, and says so."""
    (made,) = make(SOURCES[source], [(LINES[source].encode(), None)], "t", RECEIVED, {})
    face = made.alerts[0].state().v2
    assert face["firstActivityDateTime"].startswith("2027-01-01T00:00:03")
    assert face["additionalData"]["timeSource"] == "received"
