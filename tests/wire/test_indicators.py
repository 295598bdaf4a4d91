"""Indicators on a started server: an event that a source sends raises an alert, whichever of the two comes first."""

import json
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx
import pytest
from tests.api.test_indicators import indicator
from tests.wire.conftest import Running
from tests.wire.test_hunting import LIMIT_S, soon


def asked(api: httpx.Client, name: str) -> None:
    """A name server is asked, as Suricata tells it."""
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f+0000")
    record = {"timestamp": at, "event_type": "dns", "src_ip": "10.9.8.7", "dest_ip": "9.9.9.9", "flow_id": 1,
              "dns": {"type": "query", "rrname": name}}  # fmt: skip
    answer = api.post("/ingest/suricata_eve", content=json.dumps(record))
    assert answer.status_code == 200, answer.text


def told(api: httpx.Client, name: str) -> str:
    until = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    answer = api.post("/beta/security/tiIndicators", json=indicator(domainName=name, expirationDateTime=until))
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


@pytest.mark.parametrize("first", ["indicator", "event"])
def test_an_event_raises_an_alert(server: Running, first: str) -> None:
    name = f"{uuid4().hex}.example"
    with server.api() as api:
        api.timeout = httpx.Timeout(100.0)
        if first == "event":
            asked(api, f"www.{name}")
            soon(api, f"SuricataEvents | where DomainName == 'www.{name}' | take 1", bool)
        id = told(api, name)
        if first == "indicator":
            asked(api, f"www.{name}")
        end = time.monotonic() + LIMIT_S
        while True:
            page = api.get("/v1.0/security/alerts_v2?$top=50&$orderby=createdDateTime desc").json()["value"]
            found = [each for each in page if each["detectorId"] == id]
            if found or time.monotonic() > end:
                break
            time.sleep(0.5)
    (alert,) = found
    assert (alert["additionalData"]["matchedIn"], alert["detectionSource"]) == ("SuricataEvents", "customTi")
    assert alert["additionalData"]["row"]["DomainName"] == f"www.{name}"
