"""What somebody has written and recorded of the sample's attacker: an article, a profile, a vulnerability, and the
hosts that the attack came from."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from bartizan.demo.organisation import FAR, sample_id
from bartizan.demo.posture import Batch
from bartizan.demo.telemetry import stamp

_SETS = "/v1.0/security/threatIntelligence"
_C2, _PHISH, _CDN = "cdn-sync.sample-c2.example", "login-northwall.sample-phish.example", "static.sample-cdn.example"
_CERTIFICATE = sample_id("certificate", _C2)


def _text(content: str) -> dict[str, str]:
    return {"content": content, "format": "text"}


def intelligence(now: datetime) -> Iterator[Batch]:
    """Sets as they are told, each with something in it."""
    article, profile = sample_id("article", "loader"), sample_id("actor", "Sample Gale")
    told = {"createdDateTime": stamp(now - timedelta(days=20)), "lastUpdatedDateTime": stamp(now - timedelta(days=2))}
    yield (
        f"{_SETS}/articles",
        [
            {
                "id": article,
                "title": "A loader that hides behind a synchronisation service",
                "summary": _text("Sample: a loader asks a server under sample-c2.example for orders."),
                "body": _text("Sample: the loader comes by mail, and signs in with what it finds."),
                "tags": ["sample", "loader"],
                "isFeatured": True,
                **told,
            }
        ],
    )
    yield (
        f"{_SETS}/intelProfiles",
        [
            {
                "id": profile,
                "kind": "actor",
                "title": "Sample Gale",
                "aliases": ["SG-1"],
                "summary": _text("Sample: steals accounts of small companies."),
                "targets": ["Manufacturing"],
                "firstActiveDateTime": stamp(now - timedelta(days=400)),
            }
        ],
    )
    yield (
        f"{_SETS}/vulnerabilities",
        [
            {
                "id": "CVE-2000-99999",
                "severity": "high",
                "priorityScore": 70,
                "articleIds": [article],
                "components": [{"id": "sample-viewer", "name": "Sample Viewer"}],
                "publishedDateTime": stamp(now - timedelta(days=60)),
            }
        ],
    )
    yield f"{_SETS}/articleIndicators", [_artifact("article", _C2, articleId=article, source="osint")]
    of_actor = _artifact("actor", FAR.address, intelligenceProfileId=profile, source="osint", **_seen(now))
    yield f"{_SETS}/intelligenceProfileIndicators", [of_actor]
    yield from _records(now)


def _artifact(of: str, host: str, **more: Any) -> dict[str, Any]:
    return {"id": sample_id("indicator", of, host), "artifact": {"id": host}, **more}


def _seen(now: datetime) -> dict[str, str]:
    return {"firstSeenDateTime": stamp(now - timedelta(days=30)), "lastSeenDateTime": stamp(now - timedelta(hours=5))}


def _records(now: datetime) -> Iterator[Batch]:
    seen, host = _seen(now), {"host": {"id": _C2}}
    first = {"firstSeenDateTime": seen["firstSeenDateTime"]}
    certificate = {"id": _CERTIFICATE, "serialNumber": "7", "subject": {"commonName": _C2}, **seen}
    pair = {"linkKind": "redirect", "parentHost": {"id": _PHISH}, "childHost": {"id": _CDN}}
    answer = {"recordType": "A", "parentHost": {"id": _C2}, "artifact": {"id": FAR.address}}
    port = {"port": 443, "protocol": "tcp", "status": "open", "mostRecentSslCertificate": {"id": _CERTIFICATE}}
    owner = {"registrar": {"name": "Sample Registrar"}, "domainStatus": "ok"}
    rows: dict[str, dict[str, Any]] = {
        "hosts": {"id": _C2, "registrar": "Sample Registrar", **seen},
        "hostComponents": {"name": "nginx", "category": "Server", "version": "1.27", **host, **seen},
        "hostCookies": {"name": "sid", "domain": _C2, **host, **seen},
        "hostPairs": {**pair, **seen},
        "hostPorts": {**port, **host, **seen},
        "hostSslCertificates": {"sslCertificate": certificate, "ports": [{"port": 443, **seen}], **host, **seen},
        "hostTrackers": {"kind": "SampleAnalytics", "value": "SA-1", **host, **seen},
        "passiveDnsRecords": {**answer, "collectedDateTime": seen["lastSeenDateTime"], **seen},
        "sslCertificates": certificate,
        "subdomains": {**host, **first},
        "whoisRecords": {**owner, **host, **seen},
        "whoisHistoryRecords": {"registrar": {"name": "Another Sample Registrar"}, **host, **seen},
    }
    for name, row in rows.items():
        yield f"{_SETS}/{name}", [{"id": sample_id(name, _C2), **row}]
