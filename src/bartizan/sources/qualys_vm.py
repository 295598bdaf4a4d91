"""Qualys VMDR: detections of vulnerabilities on hosts, one alert for each host, QID and port.

What a QID only gathers ("Info") is an event. Detections come as the API's XML or as JSON with the same names, with
their host around them or beside them.
Source: Qualys API (VM, PC), "Host List Detection" (host_list_vm_detection_output.dtd), "KnowledgeBase".
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from bartizan.extend import Event, GraphObject, Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources import xml_records
from bartizan.sources.entities import addresses
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, lines_of, objects_of
from bartizan.sources.shape import Paths, Shape

_LEVELS: dict[str, Severity] = {"1": "informational", "2": "low", "3": "medium", "4": "high", "5": "high"}
_ANSWER = "<HOST_LIST_VM_DETECTION_OUTPUT"
_TOLD = ("DETECTION", "DETECTION_LIST")
_MAX_CVES = 100


class QualysVm(Shape):
    name = "qualys_vm"
    vendor = "Qualys"
    product = "VMDR"
    marks = (
        "DETECTION_LIST+IP DETECTION_LIST+ID DETECTION.QID QID+FIRST_FOUND_DATETIME QID+LAST_FOUND_DATETIME "
        "HOST_LIST_VM_DETECTION_OUTPUT HOST.ID+DETECTION.QID"
    )
    pattern = re.compile(_ANSWER)
    sourcetypes = ("qualys:hostdetection", "qualys_vm*", "qualys:vm*")
    table = "QualysDetections"
    columns = {
        "Qid": "detection.QID",
        "DetectionType": "detection.TYPE",
        "Status": "detection.STATUS",
        "Port": "int detection.PORT",
        "Results": "detection.RESULTS",
    }
    alert = Paths(
        title="knowledge.TITLE detection.TITLE detection.QID",
        description="knowledge.DIAGNOSIS knowledge.THREAT",
        severity="detection.SEVERITY knowledge.SEVERITY_LEVEL",
        words=_LEVELS,
        vendor_category="knowledge.CATEGORY detection.TYPE",
        category="Vulnerability",
        detector="detection.QID",
        first="detection.FIRST_FOUND_DATETIME",
        last="detection.LAST_FOUND_DATETIME",
        updated="detection.LAST_UPDATE_DATETIME detection.LAST_PROCESSED_DATETIME",
        status="detection.STATUS",
        statuses={"fixed": "resolved"},
        actions="knowledge.SOLUTION",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        texts = [text[text.find(_ANSWER) :] for text in lines_of(record) if _ANSWER in text]  # behind its document type
        told = [xml_records.read(text) for text in texts]
        return [one for outer in [*map(Fields, told), *objects_of(record)] for one in _detections(outer)]

    def is_alert(self, fields: Fields) -> bool:
        kind = (fields.text("detection.TYPE") or "").lower()
        return fields.has("detection.QID") and kind not in ("info", "information gathered")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        host = fields.object("host")
        own = addresses([host.text("IP"), host.text("IPV6")])
        evidence.host(
            host.text("DNS", "DNS_DATA.FQDN", "DNS_DATA.HOSTNAME", "NETBIOS"),
            addresses=own,
            os=host.text("OS"),
            device_id=host.text("ID"),
            roles=("attacked",),
        )
        for text in own:
            evidence.ip(text, ("attacked",))

    def finish(self, fields: Fields, alert: Alert) -> None:
        host, found = fields.object("host"), fields.object("detection")
        parts = (host.text("ID", "IP") or "", alert.detector_id or "", found.text("PORT") or "0")
        alert.provider_alert_id = found.text("UNIQUE_VULN_ID") or ":".join(parts)
        if alert.title == alert.detector_id:
            alert.title = f"QID {alert.title}"
        known = [*fields.texts("knowledge.CVE_LIST.CVE.ID"), *fields.texts("knowledge.CVE_LIST")]
        alert.vulnerabilities = [name for name in known if name.startswith("CVE-")][:_MAX_CVES]
        if "1" in (found.text("IS_IGNORED"), found.text("IS_DISABLED")) and alert.status != "resolved":
            alert.status, alert.classification = "resolved", "informationalExpectedActivity"

    def event(self, fields: Fields) -> Iterator[Event | GraphObject]:
        yield from super().event(fields.also({"timestamp": fields.raw("detection.LAST_FOUND_DATETIME")}))


def _detections(outer: Fields) -> Iterator[Fields]:
    """Each with its host and what the knowledge base says of it."""
    output = outer.object("HOST_LIST_VM_DETECTION_OUTPUT")
    hosts = output.objects("RESPONSE.HOST_LIST.HOST") or output.objects("HOST_LIST.HOST")
    for host in hosts or [outer.object("HOST") or outer]:
        around: dict[str, Any] = {key: value for key, value in host.data.items() if key not in _TOLD}
        knowledge = outer.object("KNOWLEDGE_BASE", "VULN")
        listed = host.object("DETECTION_LIST").objects("DETECTION") or host.objects("DETECTION_LIST")
        for one in listed or outer.objects("DETECTION") or [outer]:
            if one.has("QID"):
                yield Fields({"host": around, "detection": one.data, "knowledge": knowledge.data})
