"""The attack that unfolds in the sample organisation: a password spray, a session from far away, a foothold, theft.

Each step is a record in the form of the product that would see it, at an offset from the start of the story.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from bartizan.demo import posture
from bartizan.demo.organisation import FAR, LOADER_SHA256, Organisation, Person, sample_id
from bartizan.demo.telemetry import Item, sign_in, stamp

_SECONDS_A_STEP = 40


def _falcon(
    at: datetime, victim: Person, *, name: str, tactic: str, technique: str, severity: int, command: str
) -> Item:
    body: dict[str, Any] = {
        "metadata": {
            "customerIDString": "0" * 32,
            "offset": int(at.timestamp()),
            "eventType": "EppDetectionSummaryEvent",
            "eventCreationTime": int(at.timestamp() * 1000),
            "version": "1.0",
        },
        "event": {
            "CompositeId": f"northwall:ind:{sample_id('falcon', name, stamp(at))}",
            "Name": name,
            "Description": f"{name} on {victim.machine.name}",
            "Severity": severity,
            "SeverityName": "Critical" if severity >= 90 else "High",
            "Tactic": tactic,
            "Technique": technique,
            "Hostname": victim.machine.name,
            "AgentId": victim.machine.id.replace("-", ""),
            "LocalIP": victim.machine.address,
            "UserName": victim.account,
            "LogonDomain": "NORTHWALL",
            "FileName": "rundll32.exe",
            "FilePath": "\\Device\\HarddiskVolume3\\Windows\\System32\\rundll32.exe",
            "CommandLine": command,
            "SHA256String": LOADER_SHA256,
            "ProcessId": 4711,
            "ProcessStartTime": int(at.timestamp()),
            "PatternId": 10197,
            "FalconHostLink": "https://falcon.example/activity-v2/detections/sample",
        },
    }
    return Item(at, "/ingest/crowdstrike_falcon", body)


def _okta_threat(at: datetime, victim: Person) -> Item:
    body: dict[str, Any] = {
        "uuid": sample_id("okta", victim.id, stamp(at)),
        "published": stamp(at),
        "eventType": "user.account.report_suspicious_activity_by_enduser",
        "displayMessage": "User report suspicious activity",
        "severity": "WARN",
        "version": "0",
        "actor": {"id": victim.id, "type": "User", "alternateId": victim.upn, "displayName": victim.name},
        "client": {
            "ipAddress": FAR.address,
            "device": "Computer",
            "userAgent": {"rawUserAgent": "python-requests/2.32", "os": "Unknown", "browser": "UNKNOWN"},
            "geographicalContext": {
                "city": FAR.city,
                "state": FAR.state,
                "country": "Brazil",
                "geolocation": {"lat": FAR.latitude, "lon": FAR.longitude},
            },
        },
        "outcome": {"result": "SUCCESS", "reason": None},
        "securityContext": {"asNumber": 64511, "asOrg": "Sample Hosting", "isProxy": True},
        "target": [],
        "debugContext": {
            "debugData": {"suspiciousActivityEventType": "system.email.new_device_notification.sent_message"}
        },
    }
    return Item(at, "/ingest/okta", body)


def _beacon(at: datetime, victim: Person) -> Item:
    body: dict[str, Any] = {
        "timestamp": stamp(at)[:-1] + "+0000",
        "flow_id": int(at.timestamp() * 1000),
        "event_type": "alert",
        "src_ip": victim.machine.address,
        "src_port": 50111,
        "dest_ip": "203.0.113.99",
        "dest_port": 443,
        "proto": "TCP",
        "app_proto": "tls",
        "host": "nw-sensor-1",
        "tls": {"sni": "cdn-sync.sample-c2.example", "version": "TLS 1.3"},
        "alert": {
            "action": "allowed",
            "gid": 1,
            "signature_id": 9000666,
            "rev": 3,
            "signature": "SAMPLE MALWARE beacon to a command and control host",
            "category": "Malware Command and Control Activity Detected",
            "severity": 1,
            "metadata": {"mitre_technique_id": ["T1071.001"], "mitre_tactic_id": ["TA0011"]},
        },
    }
    return Item(at, "/ingest/suricata_eve", body)


def _exfiltration(at: datetime, victim: Person) -> Item:
    body: dict[str, Any] = {
        "schemaVersion": "2.0",
        "accountId": "111122223333",
        "region": "eu-central-1",
        "partition": "aws",
        "id": sample_id("guardduty", victim.id, stamp(at)).replace("-", ""),
        "arn": f"arn:aws:guardduty:eu-central-1:111122223333:detector/sample/finding/{at.timestamp():.0f}",
        "type": "Exfiltration:S3/AnomalousBehavior",
        "title": f"User {victim.account} read objects of an S3 bucket in an anomalous way.",
        "description": f"The principal {victim.account} called GetObject in a way that differs from its past.",
        "severity": 8.0,
        "createdAt": stamp(at),
        "updatedAt": stamp(at),
        "resource": {
            "resourceType": "AccessKey",
            "accessKeyDetails": {
                "accessKeyId": "ASIAIOSFODNN7EXAMPLE",
                "userName": victim.account,
                "userType": "IAMUser",
            },
            "s3BucketDetails": [
                {"name": "northwall-finance", "arn": "arn:aws:s3:::northwall-finance", "type": "Destination"}
            ],
        },
        "service": {
            "serviceName": "guardduty",
            "detectorId": "sample",
            "eventFirstSeen": stamp(at - timedelta(minutes=3)),
            "eventLastSeen": stamp(at),
            "count": 1,
            "archived": False,
            "action": {
                "actionType": "AWS_API_CALL",
                "awsApiCallAction": {
                    "api": "GetObject",
                    "serviceName": "s3.amazonaws.com",
                    "remoteIpDetails": {"ipAddressV4": FAR.address, "country": {"countryName": "Brazil"}},
                },
            },
        },
    }
    return Item(at, "/ingest/aws_guardduty", body)


_WRONG = "Error validating credentials due to invalid username or password."


def _far_sign_in(org: Organisation, who: Person, at: datetime, *, error: int = 0) -> Item:
    return sign_in(
        org,
        who,
        at,
        address=FAR.address,
        place=FAR,
        error=error,
        reason=_WRONG if error else "",
        browser="Python Requests 2.32",
        system="Linux",
        trusted=False,
    )


def attack(org: Organisation, start: datetime, number: int = 0) -> Iterator[Item]:
    """The steps in order of time; `number` picks another victim."""
    people = org.people
    victim = people[(number * 13 + 4) % len(people)]
    at = start
    for i in range(12):
        at += timedelta(seconds=4)
        yield _far_sign_in(org, people[(number * 13 + i) % len(people)], at, error=50126)
    step = timedelta(seconds=_SECONDS_A_STEP)
    at += step
    yield _far_sign_in(org, victim, at)
    risk = ("unlikelyTravel", "high", "offline")
    yield Item(at, posture.DETECTIONS, posture.detection(victim, at, risk, place=FAR))
    yield Item(at, posture.RISKY_USERS, posture.risky_user(victim, at, risk))
    yield _okta_threat(at := at + step, victim)
    yield _falcon(
        at := at + step,
        victim,
        name="Suspicious script host child process",
        tactic="Execution",
        technique="Command and Scripting Interpreter",
        severity=70,
        command="rundll32.exe C:\\Users\\Public\\sync.dll,Start",
    )
    yield _beacon(at := at + step, victim)
    yield _falcon(
        at := at + step,
        victim,
        name="Credential dumping from LSASS memory",
        tactic="Credential Access",
        technique="OS Credential Dumping",
        severity=95,
        command="rundll32.exe comsvcs.dll, MiniDump 640 C:\\Windows\\Temp\\l.dmp full",
    )
    yield _exfiltration(at + step, victim)
