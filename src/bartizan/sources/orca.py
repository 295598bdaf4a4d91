"""Orca Security: alerts about cloud assets, and the activity on them.

Source: Orca API, "Alerts" and "Serving layer query" (whose properties are objects with a value); its SIEM integrations
and webhooks write the same objects.
"""

import re
from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model.alert import Severity
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import MAX_ITEMS, Fields
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape

_WORDS: dict[str, Severity] = {
    "hazardous": "medium",
    "imminent compromise": "high",
    "compromised": "high",
    "informational": "informational",
}
_CATEGORIES = {
    "vulnerabilities": "Vulnerability",
    "authentication": "CredentialAccess",
    "suspicious activity": "SuspiciousActivity",
    "malware": "Malware",
    "lateral movement": "LateralMovement",
    "data at risk": "Misconfiguration",
    "neglected assets": "Misconfiguration",
    "network misconfigurations": "Misconfiguration",
    "iam misconfigurations": "Misconfiguration",
    "workload misconfigurations": "Misconfiguration",
    "best practices": "Misconfiguration",
    "logging and monitoring": "Misconfiguration",
    "system integrity": "Misconfiguration",
}


_FINDINGS = 100


class Orca(Shape):
    name = "orca"
    vendor = "Orca Security"
    product = "Cloud Security"
    marks = (
        "asset_unique_id+alert_id state.orca_score+asset_unique_id asset_unique_id+type+details "
        "state.alert_id+type_key orca_score+alert_id asset_unique_id+cloud_provider+category "
        "cloud_provider+alert_id+type_string asset_unique_id+asset_vendor_id "
        "asset_unique_id+data.AlertId+data.OrcaScore "
        "data.AlertId+data.OrcaScore+data.AlertType alert.alert_id+alert.state alert_id+orca_score+asset"
    )
    sourcetypes = ("orca", "orca:*", "orca_security*")
    table = "OrcaEvents"
    columns = {"AssetId": "asset_unique_id", "AccountName": "account_name", "CloudProvider": "cloud_provider"}
    wrappers = ("data",)
    alert = Paths(
        id="state.alert_id alert_id unique_id",
        title="data.title description title details.description type_string alert_type type",
        description="details data.details details.description",
        severity="state.severity severity details.severity state.risk_level risk_level",
        words=_WORDS,
        score="state.orca_score orca_score",
        scale=of_cef,
        vendor_category="category type_string type",
        categories=_CATEGORIES,
        tactics="data.mitre_category mitre_category",
        detector="rule_id type_key alert_type type",
        first="state.created_at create_time created_at",
        last="state.last_seen last_seen state.last_updated create_time",
        created="state.created_at create_time",
        updated="state.last_updated last_updated",
        status="state.status status",
        statuses={"snoozed": "inProgress"},
        verdict="state.verification_status state.closed_reason closed_reason",
        actions="data.recommendation recommendation",
        url="state.alert_url alert_url console_url_link url",
        tags="alert_labels",
        cves="cve_list cve_ids",
        fold="asset_unique_id",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        return [_whole(fields) for fields in super().read(record)]

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("alert_id", "state.alert_id", "asset_unique_id")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        cloud = (fields.text("cloud_provider") or "").lower()
        asset, name = fields.text("asset_vendor_id", "asset_unique_id"), fields.text("asset_name")
        kind, account = (
            fields.text("asset_type_string", "asset_type"),
            fields.text("cloud_vendor_id", "cloud_provider_id", "account_name"),
        )
        if cloud == "gcp":
            evidence.google(asset, name=name, kind=kind, project=account)
        elif cloud == "azure":
            evidence.azure(asset, name=name, kind=kind)
        else:
            evidence.amazon(asset, name=name, kind=kind, account=account)
        private = [*fields.texts("asset_first_private_ips"), *fields.texts("private_ips", "asset_private_ips")]
        public = [*fields.texts("asset_first_public_ips"), *fields.texts("public_ips", "asset_public_ips")]
        evidence.host(
            fields.text("asset_hostname") or (name if fields.text("asset_type") == "vm" else None),
            addresses=private,
            external=next(iter(public), None),
            os=fields.text("asset_distribution_name"),
            version=fields.text("asset_distribution_version"),
        )
        for text in [*private, *public]:
            evidence.ip(text)
        for path in ("asset_first_public_dnss", "asset_first_private_dnss", "public_dnss", "private_dnss"):
            for text in fields.texts(path):
                evidence.domain(text)
        evidence.user(fields.text("user_email"), display=fields.text("user_name"))
        container = fields.text("container_id")
        evidence.container(None if container == "main" else container, fields.text("container_name"))
        evidence.image(fields.text("asset_image_id") if fields.text("asset_type") == "container_image" else None)
        for path in ("findings", "findings.malware", "data.findings", "data"):
            for found in fields.objects(path)[:_FINDINGS]:
                digests = [found.text("sha256", "sha1", "md5")]
                evidence.file(None, found.text("file_path", "path", "file" if any(digests) else "path"), digests)
                evidence.malware(found.text("malware_name", "virus_name", "virus_names"))


_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_OWN = ("asset", "cloud", "account")  # how a key of an asset begins that says so itself


def _whole(fields: Fields) -> Fields:
    """The alert of a change of one, with what the query API says and what is said of its asset readable beside it."""
    alert = fields.object("alert")
    fields = alert if alert.has("alert_id") else fields
    values = {
        _WORD.sub("_", key).lower(): item["value"]
        for key, item in list(fields.object("data").data.items())[:MAX_ITEMS]
        if isinstance(key, str) and isinstance(item, dict) and "value" in item
    }
    asset = fields.object("asset") or Fields(values.get("asset_data"))
    named = {
        key if key.startswith(_OWN) else f"asset_{key}": value
        for key, value in list(asset.data.items())[:MAX_ITEMS]
        if isinstance(key, str)
    }
    if not values and not named:
        return fields
    own = {**named, **values}
    return fields.also({key: value for key, value in own.items() if key not in fields.data})
