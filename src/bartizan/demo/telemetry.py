"""What happens in the sample organisation on an ordinary day: sign-ins, and alerts in the vendors' own form."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bartizan.demo.organisation import Office, Organisation, Person, sample_id

SIGN_INS = "/v1.0/auditLogs/signIns"


@dataclass(frozen=True)
class Item:
    """One thing to send: when, to which path of the server, with which body."""

    at: datetime
    path: str
    body: dict[str, Any]


def stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def sign_in(
    org: Organisation,
    person: Person,
    at: datetime,
    *,
    address: str,
    place: Office,
    application: int = 0,
    error: int = 0,
    reason: str = "",
    browser: str = "Edge 142.0",
    system: str | None = None,
    trusted: bool = True,
) -> Item:
    """A sign-in as Entra records it."""
    app_id, app_name = org.applications[application % len(org.applications)]
    body = {
        "id": sample_id("signIn", person.id, stamp(at), address, str(error)),
        "createdDateTime": stamp(at),
        "userDisplayName": person.name,
        "userPrincipalName": person.upn,
        "userId": person.id,
        "appId": app_id,
        "appDisplayName": app_name,
        "ipAddress": address,
        "clientAppUsed": "Browser",
        "correlationId": sample_id("correlation", person.id, stamp(at)),
        "conditionalAccessStatus": "success" if error == 0 else "notApplied",
        "isInteractive": True,
        "resourceDisplayName": app_name,
        "resourceId": app_id,
        "status": {"errorCode": error, "failureReason": reason or None},
        "deviceDetail": {
            "deviceId": person.machine.id if trusted else "",
            "displayName": person.machine.name if trusted else "",
            "operatingSystem": system or person.machine.system,
            "browser": browser,
            "isCompliant": trusted,
            "isManaged": trusted,
            "trustType": "Azure AD joined" if trusted else "",
        },
        "location": {
            "city": place.city,
            "state": place.state,
            "countryOrRegion": place.country,
            "geoCoordinates": {"latitude": place.latitude, "longitude": place.longitude},
        },
    }
    return Item(at, SIGN_INS, body)


def _suricata(at: datetime, person: Person, draw: random.Random) -> Item:
    signature, number, category, severity, technique = draw.choice(
        (
            ("SAMPLE POLICY Dropbox client traffic", 9000001, "Potential Corporate Privacy Violation", 3, None),
            ("SAMPLE SCAN repeated SSH attempts outbound", 9000002, "Attempted Information Leak", 2, "T1046"),
            ("SAMPLE INFO DNS query for a dynamic DNS domain", 9000003, "Potentially Bad Traffic", 2, "T1568"),
        )
    )
    alert: dict[str, Any] = {
        "action": "allowed",
        "gid": 1,
        "signature_id": number,
        "rev": 1,
        "signature": signature,
        "category": category,
        "severity": severity,
    }
    if technique:
        alert["metadata"] = {"mitre_technique_id": [technique]}
    body = {
        "timestamp": stamp(at)[:-1] + "+0000",
        "flow_id": draw.getrandbits(48),
        "event_type": "alert",
        "src_ip": person.machine.address,
        "src_port": draw.randint(49152, 65000),
        "dest_ip": f"203.0.113.{draw.randint(1, 200)}",
        "dest_port": draw.choice((22, 53, 443)),
        "proto": "TCP",
        "host": "nw-sensor-1",
        "alert": alert,
    }
    return Item(at, "/ingest/suricata_eve", body)


def _wazuh(at: datetime, org: Organisation, draw: random.Random) -> Item:
    server = draw.choice(org.servers)
    level, rule, text, technique = draw.choice(
        (
            (5, "5716", "sshd: authentication failed.", "T1110"),
            (3, "5501", "PAM: Login session opened.", "T1078"),
            (7, "550", "Integrity checksum changed.", "T1565.001"),
        )
    )
    body = {
        "id": f"{at.timestamp():.6f}",
        "timestamp": stamp(at)[:-1] + "+0000",
        "agent": {"id": server.id[:3], "name": server.name, "ip": server.address},
        "manager": {"name": "nw-wazuh"},
        "rule": {
            "id": rule,
            "level": level,
            "description": text,
            "groups": ["syslog"],
            "mitre": {"id": [technique], "tactic": ["Credential Access"], "technique": ["Brute Force"]},
        },
        "data": {"srcip": f"203.0.113.{draw.randint(1, 200)}", "dstuser": draw.choice(("root", "backup", "deploy"))},
        "location": "/var/log/auth.log",
        "decoder": {"name": "sshd"},
    }
    return Item(at, "/ingest/wazuh", body)


def _falco(at: datetime, draw: random.Random) -> Item:
    pod = f"checkout-{draw.randint(1, 4)}"
    body = {
        "time": at.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z",
        "rule": "Terminal shell in container",
        "priority": "Notice",
        "output": f"A shell was spawned in a container with an attached terminal (pod={pod})",
        "source": "syscall",
        "tags": ["container", "shell", "mitre_execution", "T1059"],
        "hostname": "nw-k8s01",
        "uuid": sample_id("falco", stamp(at), pod),
        "output_fields": {
            "k8s.ns.name": "shop",
            "k8s.pod.name": pod,
            "container.id": f"{draw.getrandbits(48):012x}",
            "proc.cmdline": "bash",
            "proc.name": "bash",
            "user.name": "root",
        },
    }
    return Item(at, "/ingest/falco", body)


def ordinary(
    org: Organisation, start: datetime, end: datetime, *, pause_min: tuple[float, float] = (5, 25)
) -> Iterator[Item]:
    """A quiet stream between two instants, in order of time. `pause_min`: mean minutes to the next, day and night."""
    draw = random.Random(f"{start.isoformat()}")  # noqa: S311 - a sample, not a secret
    at = start
    while True:
        at += timedelta(minutes=draw.expovariate(1 / pause_min[0 if 6 <= at.hour < 18 else 1]))
        if at >= end:
            return
        kind = draw.random()
        person = draw.choice(org.people)
        if kind < 0.78:
            home = draw.random() < 0.3
            failed = draw.random() < 0.04
            yield sign_in(
                org,
                person,
                at,
                address=person.home_address if home else person.office.address,
                place=person.office,
                application=draw.randrange(5),
                error=50126 if failed else 0,
                reason="Error validating credentials due to invalid username or password." if failed else "",
            )
        elif kind < 0.88:
            yield _suricata(at, person, draw)
        elif kind < 0.97:
            yield _wazuh(at, org, draw)
        else:
            yield _falco(at, draw)
