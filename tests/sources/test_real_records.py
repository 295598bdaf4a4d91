"""How well the sources map real records, measured without their own helpers, and the bars that hold.

`python tests/sources/test_real_records.py FOLDER [SOURCE ...]` prints the figures and what is missing.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

import bartizan.sources  # noqa: F401 - fills SOURCES
from bartizan.extend import SOURCES, Event, GraphObject, Record
from bartizan.model import entities, evidence
from bartizan.model.alert import Alert, Observed

Out = Alert | Event | GraphObject
# Written from the vendor's schema: real records are not at hand.
UNRECORDED = frozenset({"aws_findings", "elastic_security", "qualys_vm", "splunk_es", "tenable_vm"})
NAMES = sorted(set(SOURCES) - {"auto", "generic"} - UNRECORDED)
# Sources of which records of kind event become alerts -> what in such a record is the source's own verdict.
VERDICTS: dict[str, tuple[str, ...]] = {
    "auth0": ("signup_pwd_leak", "pwd_leak", "limit_", "reused refresh token"),
    "aws_cloudtrail": ("AwsCloudTrailInsight",),
    "azure_activity": ('"Security"', '"Alert"'),
    "cloudflare": (
        "firewallmanaged",
        "firewallManaged",
        "WAFAttackScore",
        "CategoryNames",
        "BlockedFile",
        "alert_type",
    ),
    "github_audit": ("secret_scanning_alert.", "repository_vulnerability_alert.", "code_scanning."),
    "osquery": ("ossec-rootkit", "-attacks", '"matches"'),
    "gcp_audit": ("account_warning",),
    "google_workspace": ("account_warning", "attack_warning", "malware_family", "rule_name", "COMPROMISED"),
    "aws_waf": ('"XSS"', '"SQL_INJECTION"', "AWSManagedRulesCommonRuleSet", "AWSManagedRulesSQLiRuleSet"),
    "crowdstrike_falcon": ("DetectionSummaryEvent", "AutomatedLead", "IncidentSummary"),
    "duo": ("fraud", "FRAUD", "anomalous_push"),
    "mimecast": ("Rej", "virus", "internal_email_protect", "Malicious", "attachment protect", '"av"'),
    "ocsf": ("2004",),
    "zscaler": ("threatname", "malware"),
    "paloalto_ngfw": ("THREAT",),
    "paloalto_prisma_access": ("THREAT",),
    "okta": ("threat.detected", "phishing"),
    "push_security": ("PASSWORD_PHISHING", "FINDING"),
    "slack_audit": ("anomaly", "file_malicious_content_detected"),
    "suricata_eve": ("signature_id",),
    "windows_event": ("Microsoft-Windows-Windows Defender",),
}
# Records of these sources may hold no time that is the finding's own (it is masked, in the report around it, or a
# template): the time of receipt stands for it.
TIMELESS = frozenset(
    """
    alertmanager cef_generic checkpoint fortinet_fortimail fortinet_fortiweb gcp_scc kaspersky tenable_ad
    trellix trend_apex_one trend_deep_security trivy varonis zeek_notice
    """.split()
)
# Audit trails: some of their records are labelled as findings for the page that they were taken from (a sample of a
# mapping, a rule's test), while they say that somebody did something and nothing of a detection.
TRAILS = frozenset({"github_audit", "snyk"})
FINDINGS = range(2000, 3000)  # classes of OCSF; all others say what somebody did

# Products whose numbers of severity count from the highest.
FROM_HIGHEST = frozenset({"AIONIQ", "Suricata", "ePolicy Orchestrator"})

_ECS = {
    "host": ("host.name", "host.hostname"),
    "user": ("user.name", "user.email", "user.id"),
    "address": ("source.ip", "destination.ip", "related.ip"),
    "process": ("process.name", "process.command_line", "process.executable"),
    "hash": ("file.hash", "process.hash", "related.hash"),
    "url": ("url.full", "url.original"),
    "domain": ("dns.question.name", "url.domain"),
}
_EVIDENCE = {
    "host": ("hostName", "deviceDnsName"),
    "user": ("accountName", "userPrincipalName", "userSid", "azureAdUserId", "displayName"),
    "address": ("ipAddress", "lastIpAddress", "lastExternalIpAddress", "ipInterfaces", "senderIp"),
    "process": ("fileName", "filePath", "processCommandLine"),
    "hash": ("md5", "sha1", "sha256"),
    "url": ("url", "urls"),
    "domain": ("domainName",),
}
_PLACEHOLDER = re.compile(r"\{\w+\}")  # "{object}" where a channel left a value out
_HEX = re.compile(r"[0-9a-f]+")
_TECHNIQUE = re.compile(r"(?<![\w.%-])T(?:1[0-7]\d\d|08\d\d)(?:\.\d{3})?(?!\w)")


def records(shared: Path, source: str) -> list[dict[str, Any]]:
    lines = (shared / "alerts" / source / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines if line.strip()]


def record_of(raw: Any) -> Record:
    """As ingest hands it over: a vendor's object, or a line of text."""
    if isinstance(raw, str):
        text, data = raw, None
        if raw[:1] in "{[":
            try:
                data = json.loads(raw)
            except ValueError:
                data = None
    else:
        text, data = json.dumps(raw), raw
    return Record(raw=text.encode("utf-8", "surrogatepass"), text=text, data=data)


def run(source: str, raw: Any) -> list[Out]:
    return list(SOURCES[source].normalise(record_of(raw)))


def encoded(outs: list[Out]) -> bytes:
    return b"\n".join(msgspec.json.encode(out) for out in outs)


def walk(value: Any) -> Iterator[tuple[str, Any]]:
    """Every (key, scalar) of a JSON value, also of JSON in strings."""
    if isinstance(value, dict):
        for key, item in value.items():
            if isinstance(item, dict | list):
                if isinstance(item, list):
                    yield from ((key, part) for part in item if not isinstance(part, dict | list))
                yield from walk(item)
            else:
                yield key, item
                if isinstance(item, str) and item[:1] in "{[":
                    try:
                        yield from walk(json.loads(item))
                    except ValueError:
                        continue
    elif isinstance(value, list):
        for item in value:
            yield from walk(item)


def _dig(data: Any, path: str) -> Any:
    for step in path.split("."):
        data = data.get(step) if isinstance(data, dict) else None
    return data


def expected(ecs: dict[str, Any]) -> set[tuple[str, str]]:
    """(kind, value) pairs that the other parser found."""
    found = set()
    for kind, paths in _ECS.items():
        for path in paths:
            value = _dig(ecs, path)
            values = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
            found |= {(kind, str(item).lower()) for item in values if item not in (None, "")}
    return {(kind, value) for kind, value in found if not _says_nothing(kind, value)}


def _says_nothing(kind: str, value: str) -> bool:
    """What vendors write where they name nothing, words that the other parser took for a URL, addresses for a
    domain, and hashes of which whoever published the record has taken a part out."""
    if kind == "hash" and _HEX.fullmatch(value):
        return len(value) not in (32, 40, 64, 96, 128)
    word_alone = kind in ("url", "domain") and not re.search(r"[./]", value)
    no_domain = kind == "domain" and re.fullmatch(r"[\d.]+|[\da-f:]+", value) is not None
    nothing = value in ("-", "unknown", "0.0.0.0", "s-1-0-0") or _PLACEHOLDER.fullmatch(value) is not None
    return word_alone or no_domain or nothing


def _same(kind: str, value: str) -> str:
    value = value.strip().lower()
    if kind == "address":
        try:
            return str(ip_address(value))
        except ValueError:
            return value
    return value


def index(out: Out) -> list[Observed]:
    """The entries of the entity index that an output gives."""
    if isinstance(out, Alert):
        return entities.of_alert(evidence.inner(out.evidence), out.entities)
    return entities.distinct(out.entities)


def named(outs: list[Out]) -> set[tuple[str, str]]:
    """(kind, value) pairs in evidence of the right type or in the entity index."""
    found: set[tuple[str, str]] = set()
    for out in outs:
        found |= {(entry.kind, _same(entry.kind, entry.value)) for entry in [*out.entities, *index(out)]}
        found |= {("user", entry.value.lower()) for entry in index(out) if entry.kind == "mailbox"}
        if isinstance(out, Alert):
            for key, value in walk(msgspec.to_builtins(out.evidence)):
                found |= {(kind, _same(kind, str(value))) for kind, keys in _EVIDENCE.items() if key in keys}
                if key in ("hostName", "deviceDnsName", "displayName", "primaryAddress"):
                    found.add(("user", str(value).lower()))
    return found


def is_named(kind: str, value: str, have: set[tuple[str, str]]) -> bool:
    """A path alone names nothing: it is found in the URL that has it. A host may be an address, and the account of a
    machine ends in $."""
    if kind == "url" and value.startswith("/"):
        return any(other == "url" and urlsplit(text).path == urlsplit(value).path for other, text in have)
    if kind == "host" and ("address", _same("address", value)) in have:
        return True
    return (kind, _same(kind, value)) in have or (kind == "user" and (kind, f"{value}$") in have)


def wrong(entry: Observed, text: str) -> bool:
    """Whether an entry of the index is of a wrong kind or not in the record."""
    value = entry.value.lower()
    if entry.kind == "address":
        try:
            ip_address(value)
        except ValueError:
            return True
        return value not in text and ":" not in value
    if entry.kind == "hash" and not re.fullmatch(r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}", value):
        return True
    if entry.kind == "url":
        rest = value.partition("://")[2] or value
        host, _, path = rest.partition("/")
        return not all(part in text for part in (host, *path.split("?", 1)))  # which vendors give apart
    if entry.kind == "mailbox" and "@" not in value:
        return True
    if entry.kind == "process" and "\\" in value:  # a vendor may give the folder and the name apart
        return not all(part in text for part in value.rsplit("\\", 1))
    return value not in text


@dataclass
class Measure:
    """Counts over the records of one source."""

    source: str
    records: int = 0
    mapped: int = 0
    alert_records: int = 0
    alerts_made: int = 0
    complete: int = 0
    with_evidence: int = 0
    expected: int = 0
    found: int = 0
    index: int = 0
    index_wrong: int = 0
    techniques: int = 0
    techniques_found: int = 0
    events_as_alerts: int = 0
    unstable: int = 0
    missing: list[str] = field(default_factory=list)
    strange: list[str] = field(default_factory=list)
    levels: list[tuple[str, str, str]] = field(default_factory=list)  # product, its severity, ours

    def __str__(self) -> str:
        return (
            f"{self.source:24} records {self.mapped}/{self.records}  alerts {self.alerts_made}/{self.alert_records} "
            f"complete {self.complete} evidence {self.with_evidence}  entities {self.found}/{self.expected}  "
            f"index wrong {self.index_wrong}/{self.index}  techniques {self.techniques_found}/{self.techniques}  "
            f"event->alert {self.events_as_alerts}  unstable {self.unstable}"
        )


@cache
def measure(shared: Path, source: str) -> Measure:
    result = Measure(source)
    for number, item in enumerate(records(shared, source)):
        outs = run(source, item["raw"])
        result.records += 1
        result.mapped += bool(outs)
        result.unstable += encoded(outs) != encoded(run(source, item["raw"]))
        alerts = [out for out in outs if isinstance(out, Alert)]
        _count_alerts(result, number, item, alerts)
        have = named(outs)
        for kind, value in sorted(expected(item.get("expected_ecs", {}))):
            result.expected += 1
            if is_named(kind, value, have):
                result.found += 1
            else:
                result.missing.append(f"#{number} {kind} {value[:80]}")
        text = " ".join(f"{key} {value}" for key, value in walk(item["raw"])).lower() or str(item["raw"]).lower()
        if isinstance(item["raw"], str):  # as written, and without escapes
            text += text.replace("\\\\", "\\").replace("\\=", "=")
        for entry in dict.fromkeys(entry for out in outs for entry in index(out)):
            result.index += 1
            if wrong(entry, text):
                result.index_wrong += 1
                result.strange.append(f"#{number} {entry.kind} {entry.value[:80]}")
    return result


def _count_alerts(result: Measure, number: int, item: dict[str, Any], alerts: list[Alert]) -> None:
    trail = result.source in TRAILS or (result.source == "ocsf" and item["raw"]["class_uid"] not in FINDINGS)
    if item["kind"] == "event" or (trail and not alerts):
        result.events_as_alerts += bool(alerts)
        return
    result.alert_records += 1
    result.alerts_made += bool(alerts)
    said = item["raw"] if isinstance(item["raw"], str) else " ".join(str(value) for _, value in walk(item["raw"]))
    ids = set(_TECHNIQUE.findall(said))
    result.techniques += len(ids)
    result.techniques_found += len(ids & {name for alert in alerts for name in alert.techniques})
    for alert in alerts[:1]:
        timed = (alert.first_activity and alert.last_activity) or result.source in TIMELESS
        whole = alert.title and alert.severity and alert.vendor and timed
        result.complete += bool(whole)
        result.with_evidence += bool(alert.evidence)
        if not whole or not alert.evidence:
            result.missing.append(f"#{number} incomplete: {alert.title!r} {alert.first_activity} {len(alert.evidence)}")
        result.levels.append((alert.product, alert.vendor_severity or "", alert.severity))


@pytest.mark.shared
@pytest.mark.parametrize("source", NAMES)
def test_every_record_is_mapped(shared: Path, source: str) -> None:
    """Every record gives at least one alert, event or object, none raises, and mapping twice gives the same bytes."""
    result = measure(shared, source)
    assert result.mapped == result.records > 0
    assert result.unstable == 0


@pytest.mark.shared
@pytest.mark.parametrize("source", NAMES)
def test_alerts_are_complete(shared: Path, source: str) -> None:
    """Alerts and findings become alerts, at least 95 % of them with title, severity, times and vendor."""
    result = measure(shared, source)
    assert result.alerts_made == result.alert_records
    assert result.complete >= 0.95 * result.alert_records, result.missing
    assert result.techniques_found == result.techniques


@pytest.mark.shared
def test_alerts_have_evidence(shared: Path) -> None:
    """At least 95 % of all alerts and findings carry an evidence object; those that do not name no entity."""
    results = [measure(shared, source) for source in NAMES]
    made, proven = sum(result.alerts_made for result in results), sum(result.with_evidence for result in results)
    assert proven >= 0.95 * made, [result.missing for result in results]


@pytest.mark.shared
@pytest.mark.parametrize("source", NAMES)
def test_entities_are_found(shared: Path, source: str) -> None:
    """At least 90 % of the entities that another parser found (of few, all but one); at most 5 % of ours are wrong."""
    result = measure(shared, source)
    assert result.expected - result.found <= max(1, 0.1 * result.expected), result.missing
    assert result.index_wrong <= 0.05 * result.index, result.strange


@pytest.mark.shared
@pytest.mark.parametrize("source", NAMES)
def test_severity_keeps_the_order(shared: Path, source: str) -> None:
    """Where a product's severity is a number, a higher one (lower, of some) never gives a lower word."""
    order = {"unknown": 0, "informational": 1, "low": 2, "medium": 3, "high": 4}
    pairs = sorted(
        (product, -float(said) if product in FROM_HIGHEST else float(said), order[ours])
        for product, said, ours in measure(shared, source).levels
        if said.replace(".", "", 1).isdigit()
    )
    for one, other in pairwise(pairs):
        assert one[0] != other[0] or one[2] <= other[2], (one, other)


@pytest.mark.shared
@pytest.mark.parametrize("source", NAMES)
def test_events_stay_events(shared: Path, source: str) -> None:
    """A record of kind event becomes an alert only where the source itself calls it a detection."""
    for item in records(shared, source):
        made = [out for out in run(source, item["raw"]) if isinstance(out, Alert)]
        if item["kind"] == "event" and made:
            text = json.dumps(item["raw"])
            assert any(word in text for word in VERDICTS.get(source, ())), text[:500]


def main(folder: str, *sources: str) -> None:
    for source in sources or NAMES:
        result = measure(Path(folder), source)
        print(result)
        for line in [*result.missing, *result.strange]:
            print("   ", line)


if __name__ == "__main__":
    main(*sys.argv[1:])
