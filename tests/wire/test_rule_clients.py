"""Clients that keep detection rules as code or convert them: what each sends and reads, in v1.0 and in beta.

Source: the clients' own repositories, read in 2026: a detection pipeline that names its rules by id, a converter of
Sentinel's analytic rules, an authoring assistant, analysers of log costs that ask one version after the other.
"""

from typing import Any

import httpx
import pytest

SET = "/security/rules/detectionRules"
_DEVICE = {"@odata.type": "#microsoft.graph.security.impactedDeviceAsset", "identifier": "deviceId"}
_USER = {"@odata.type": "#microsoft.graph.security.impactedUserAsset", "identifier": "accountSid"}

PIPELINE: dict[str, Any] = {
    "displayName": "Suspicious service - 5f0c2a1e-aa01",
    "isEnabled": True,
    "queryCondition": {"queryText": 'DeviceProcessEvents\n| where FileName =~ "sc.exe"'},
    "schedule": {"period": "1H"},
    "detectionAction": {
        "alertTemplate": {
            "title": "Suspicious service",
            "description": "A service was made",
            "severity": "high",
            "category": "Execution",
            "recommendedActions": None,
            "mitreTechniques": ["T1569.002"],
            "impactedAssets": [_DEVICE],
        },
        "organizationalScope": None,
        "responseActions": [],
    },
}
CONVERTER = {
    "displayName": "Rare process by a service account",
    "isEnabled": True,
    "queryCondition": {
        "queryText": "DeviceProcessEvents\n| where Timestamp > ago(1d)\n| project Timestamp, ReportId, DeviceId",
        "lastModifiedDateTime": None,
    },
    "schedule": {"period": "24H"},
    "detectionAction": {
        "alertTemplate": {
            "title": "Rare process by a service account",
            "description": "Rare.\n\n[Converted from an analytic rule]",
            "severity": "medium",
            "category": "Execution",
            "mitreTechniques": ["T1059"],
            "recommendedActions": "Investigate the alert.",
            "impactedAssets": [_DEVICE],
        },
        "organizationalScope": None,
        "responseActions": [],
    },
}
ASSISTANT = {
    "displayName": "Administrators are enumerated",
    "isEnabled": True,
    "queryCondition": {
        "queryText": "DeviceProcessEvents\r\n| project\r\n    Timestamp = Timestamp,\r\n    DeviceName = DeviceName,"
        "\r\n    AccountName = AccountName,\r\n    AccountSid = AccountSid,\r\n    ReportId = ReportId"
    },
    "schedule": {"period": "0"},
    "detectionAction": {
        "alertTemplate": {
            "title": "Administrators are enumerated by {{AccountName}} on {{DeviceName}}",
            "description": "Who holds the group was asked",
            "severity": "medium",
            "category": "Discovery",
            "recommendedActions": None,
            "mitreTechniques": ["T1069.001"],
            "impactedAssets": [{**_DEVICE, "identifier": "deviceName"}, _USER],
        },
        "responseActions": [],
    },
}
CURRENT: dict[str, Any] = {
    "id": "ssh-from-outside",
    "displayName": "SSH from outside",
    "description": "By the properties of v1.0 alone",
    "status": "enabled",
    "queryCondition": {
        "queryText": "DeviceLogonEvents | project Timestamp, ReportId, DeviceId, DeviceName, AccountName, RemoteIP"
    },
    "schedule": {"frequency": "PT1H"},
    "detectionAction": {
        "alertTemplate": {
            "title": "SSH from {{RemoteIP}}",
            "description": "A logon from outside",
            "severity": "low",
            "recommendedActions": "Ask the person",
            "tactics": [{"tactic": "InitialAccess", "techniques": [{"technique": "T1078"}]}],
            "entityMappings": {
                "hosts": [{"deviceIdColumn": "DeviceId", "nameColumn": "DeviceName"}],
                "accounts": [{"nameColumn": "AccountName"}],
                "ips": [{"addressColumn": "RemoteIP"}],
            },
        }
    },
}


@pytest.mark.parametrize("version", ["v1.0", "beta"])
@pytest.mark.parametrize("body", [PIPELINE, CONVERTER, ASSISTANT, CURRENT], ids=lambda body: str(body["displayName"]))
def test_rule_comes_and_goes(api: httpx.Client, version: str, body: dict[str, Any]) -> None:
    """Made, listed, found by a part of its name, switched off, deleted; the other version shows the same rule."""
    made = api.post(f"/{version}{SET}", json=body)
    assert made.status_code == 201, made.text
    rule = made.json()
    assert {"id", "detectorId", "createdBy", "lastRunDetails", "schedule"} <= rule.keys()
    assert rule["isEnabled"] is True and rule["status"] == "enabled"
    try:
        found = api.get(f"/{version}{SET}?$filter=contains(displayName, '{body['displayName'][4:]}')")
        assert [each["id"] for each in found.json()["value"]] == [rule["id"]], found.text
        off = api.patch(f"/{version}{SET}/{rule['id']}", json={"isEnabled": False, "schedule": {"frequency": "PT12H"}})
        assert (off.status_code, off.json()["schedule"]["frequency"]) == (200, "PT12H"), off.text
        other = api.get(f"/{'beta' if version == 'v1.0' else 'v1.0'}{SET}/{rule['id']}").json()
        shown = off.json()
        assert f"/{version}/$metadata#" in shown.pop("@odata.context") != other.pop("@odata.context")
        assert other == shown
    finally:
        assert api.delete(f"/{version}{SET}/{rule['id']}").status_code == 204
    assert api.get(f"/{version}{SET}/{rule['id']}").status_code == 404


@pytest.mark.parametrize("version", ["v1.0", "beta"])
def test_list(api: httpx.Client, version: str) -> None:
    """What an analyser of costs asks, whichever version it tries first."""
    answer = api.get(f"/{version}{SET}?$orderby=displayName&$count=true&$top=100&$skip=0")
    assert answer.status_code == 200, answer.text
    assert answer.json()["@odata.count"] >= len(answer.json()["value"])


def test_what_is_refused_says_why(api: httpx.Client) -> None:
    """A column that the query does not give, a word that is no property, in v1.0 as in beta."""
    template = {**CURRENT["detectionAction"]["alertTemplate"], "mitreTactics": []}
    for version in ("v1.0", "beta"):
        answer = api.post(f"/{version}{SET}", json={**CURRENT, "detectionAction": {"alertTemplate": template}})
        assert answer.status_code == 400 and "did you mean tactics" in answer.json()["error"]["message"], answer.text
