"""What a record names under telling keys, where its source does not read them."""

from typing import Any

import pytest

from bartizan.model.alert import Alert
from bartizan.sources.evidence import Evidence
from bartizan.sources.leftover import found, observe, proven

SHA256 = "ab" * 32


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"peer": {"remote_ip": "192.0.2.1"}}, [("address", "192.0.2.1")]),
        ({"sourceIPs": ["2001:db8::1", "none"]}, [("address", "2001:db8::1")]),
        ({"more": '{"user_email":"ann@example.com"}'}, [("user", "ann@example.com")]),
        ({"a": [{"FileSHA256": SHA256}, {"md5": "none"}]}, [("hash", SHA256)]),
        ({"dtHash": SHA256, "mac": "02:00:00:00:00:00:00:01"}, []),
        (
            {"tx_hosts": ["192.0.2.7"], "server": "none", "agentVersion": "7.1.0.2", "engineVer": "1.2.3.4"},
            [("address", "192.0.2.7")],
        ),
        ({"computer_name": "ws-1", "deviceName": "ws-2"}, [("host", "ws-1"), ("host", "ws-2")]),
        ({"http": {"hostname": "www.example.com"}}, []),
        ({"version": "10.0.0.1", "link": "https://example.com/", "user": "Ann of Sales", "login": "42"}, []),
        ({"user": {"user": {"user": {"a": {"b": {"c": {"d": {"e": {"f": {"user": "deep"}}}}}}}}}}, []),
    ],
)
def test_keys_say_the_kind(data: dict[str, Any], expected: list[tuple[str, str]]) -> None:
    """Addresses and hashes must look like such, names like names; links and what lies too deep are left out."""
    assert list(found(data)) == expected


def test_only_what_is_new_joins_the_index() -> None:
    """No object of evidence, and nothing that was said before."""
    evidence = Evidence()
    evidence.ip("192.0.2.1", ("source",))
    observe({"client_ip": "192.0.2.1", "server_ip": "192.0.2.2"}, evidence)
    assert [(entry.value, entry.role) for entry in evidence.observed] == [("192.0.2.1", "source"), ("192.0.2.2", "")]
    assert len(evidence.items) == 1


def test_an_alert_without_evidence_gets_it_from_keys() -> None:
    """One that has evidence stays as it is."""
    alert = Alert(vendor="v", product="p", provider_alert_id="1", title="t", severity="low")
    made = proven(alert, {"host": {"hostname": "ws-1"}, "client_ip": "192.0.2.1"})
    kinds = [type(item).__name__ for item in made.evidence]
    assert kinds == ["IpEvidence", "DeviceEvidence"]  # what lies deeper comes later
    assert proven(made, {"server_ip": "192.0.2.2"}).evidence == made.evidence
