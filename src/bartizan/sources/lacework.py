"""Lacework FortiCNAPP: alerts of its cloud and workload monitoring.

Source: Lacework API v2, "Alerts"; its alert channels write the same object.
"""

import re
from collections.abc import Iterable

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources import leftover
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.shape import Paths, Shape

_MAX_TEXT = 4_096
_USER = re.compile(r"\bby user\s+([^\s()]{2,256})|(\S{1,128}@[\w.-]{3,128})\s+logged in", re.IGNORECASE)
_MAX_EVENTS = 20  # of an export
_PLACEHOLDER = "{object}"
_MINUTES = re.compile(r"(\d{1,2} [A-Z][a-z]{2} \d{4} \d{1,2}:\d\d)( [A-Z]{3})", re.ASCII)  # 04 Mar 2024 10:00 GMT
_ADDRESS = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])", re.ASCII)
_HOSTS = re.compile(r"\b(?:on|from) host\(?s?\)?\s+([\w.-]{2,253})", re.IGNORECASE)
_ACCOUNT = re.compile(r"\bFor (?:account|project|subscription):\s+([\w-]{2,128})", re.IGNORECASE)


class Lacework(Shape):
    name = "lacework"
    vendor = "Lacework"
    product = "Cloud Security"
    marks = (
        "alertId+alertInfo alertName+alertType+alertInfo event_id+event_title+event_type+event_severity "
        "alertId+alertType+severity derivedFields+alertType EVENT_ID+EVENT_NAME+EVENT_TYPE+SUMMARY"
    )
    sourcetypes = ("lacework", "lacework:*")
    table = "LaceworkEvents"
    columns = {"AlertType": "alertType", "PolicyId": "policyId"}
    wrappers = ("data",)
    alert = Paths(
        id="alertId event_id",
        title="alertName event_title EVENT_NAME alertType",
        description="alertInfo.description alertInfo.subject event_description SUMMARY",
        severity="severity event_severity",
        words={"1": "high", "2": "high", "3": "medium", "4": "low", "5": "informational"},
        vendor_category="derivedFields.sub_category derivedFields.category alertType event_type",
        categories={"compliance": "Misconfiguration", "vulnerability": "Vulnerability"},
        detector="policyId alertType",
        first="startTime start_time event_timestamp minute START_TIME",
        last="endTime end_time EVENT_DETAILS.data.END_TIME",
        updated="lastUserUpdatedTime",
        status="status",
        url="alertInfo.url event_link LINK url",
        fold="alertInfo.subject",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        for fields in super().read(record):
            at = _MINUTES.fullmatch(fields.text("event_timestamp", "START_TIME") or "")
            yield fields if at is None else fields.also({"minute": f"{at[1]}:00{at[2]}"})

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        paths = ("alertInfo.description", "alertInfo.subject", "event_description", "SUMMARY")
        text = " ".join(part[:_MAX_TEXT] for path in paths for part in fields.texts(path))
        facts = " ".join(fields.texts("alertInfo.supportingFacts.subElements.supportingFactText"))[:_MAX_TEXT]
        for match in _USER.finditer(text):
            first, colon, second = (match[1] or match[2]).strip(".,;").partition(":")
            evidence.user(first)
            if colon:
                evidence.user(second)
        for match in _HOSTS.finditer(f"{text} {facts}"):
            evidence.host(match[1].strip(".,;"))
        for match in _ADDRESS.finditer(f"{text} {facts}"):
            evidence.ip(match[0])
        self._mapped(fields.object("entityMap"), evidence)
        # The API's map: {"Machine": [{"KEY": {"mid": 1}, "PROPS": {"hostname": "h"}}], ...}
        leftover.collect(fields.object("alertInfo.entityMap", "entityMap").data, evidence)
        for event in fields.objects("EVENT_DETAILS.data")[:_MAX_EVENTS]:
            named = event.object("ENTITY_MAP")
            self._mapped(named, evidence)
            leftover.collect(named.data, evidence)
        self._account(fields, text, evidence)

    def _mapped(self, named: Fields, evidence: Evidence) -> None:
        """The entity map, whose values some channels replace by a placeholder."""
        for path in ("SourceIpAddress", "IpAddress", "CT_SourceIp"):
            for each in [*named.texts(f"{path}.ip_addr"), *named.texts(f"{path}.ip_address"), *named.texts(path)]:
                evidence.ip(each, ("source",))
        for path in ("CT_User", "User", "GCP_User", "Azure_User"):
            for each in [*named.texts(f"{path}.username"), *named.texts(f"{path}.principal_id"), *named.texts(path)]:
                evidence.user(None if each == _PLACEHOLDER else each)
        for each in [*named.texts("Machine.hostname"), *named.texts("Machine.HOSTNAME")]:
            evidence.host(each)
        for path in ("FileDataHash.filedata_hash", "FileDataHash.KEY.filedata_hash"):
            for each in named.texts(path):
                evidence.file(None, None, [each])
        for each in [*named.texts("FileExePath.exe_path"), *named.texts("FileExePath.KEY.exe_path")]:
            evidence.file(None, each)
        for each in named.texts("Process.cmdline"):
            evidence.process(each)
        for each in named.texts("DnsName.hostname"):
            evidence.domain(each)
        for each in [*named.texts("Resource.value"), *named.texts("Resource.resource_id")]:
            evidence.amazon(each)

    def _account(self, fields: Fields, text: str, evidence: Evidence) -> None:
        """The account that it is about; without one, the cloud that was watched."""
        match = _ACCOUNT.search(text)
        cloud = (fields.text("derivedFields.source") or "").upper()
        if match is not None and cloud == "GCP":
            evidence.google(None, name=match[1], kind="project", project=match[1])
        elif match is not None and cloud == "AZURE":
            evidence.azure(None, name=match[1], kind="subscription")
        elif match is not None:
            evidence.amazon(None, name=match[1], kind="Account", account=match[1])
        elif not evidence.items:
            evidence.app(cloud or "Lacework")

    def finish(self, fields: Fields, alert: Alert) -> None:
        if fields.flag("alertInfo.isExpectedLWBehavior") is True:
            alert.classification = "informationalExpectedActivity"
