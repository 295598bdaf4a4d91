"""IDMEF, the Intrusion Detection Message Exchange Format: version 2 as JSON, version 1 as XML.

Source: draft-lehmann-idmefv2; RFC 4765 (version 1).
"""

import re
from collections.abc import Iterable
from typing import Any

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources import xml_records
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields, lines_of
from bartizan.sources.shape import Paths, Shape

_CATEGORIES = {
    "abusive": "SuspiciousActivity",
    "malicious": "Malware",
    "recon": "Reconnaissance",
    "attempt": "InitialAccess",
    "intrusion": "InitialAccess",
    "availability": "Impact",
    "information": "Exfiltration",
    "fraud": "Phishing",
    "vulnerable": "Vulnerability",
}


class Idmef(Shape):
    name = "idmef"
    vendor = "IDMEF"
    product = "Analyzer"
    marks = "Analyzer+CreateTime+ID Analyzer+ID+Version Analyzer+Category+Priority"
    pattern = re.compile(r"<(?:\w+:)?IDMEF-Message|\bIDMEF-Message\b")
    sourcetypes = ("idmef", "idmef:*", "prelude:idmef")
    table = "IdmefEvents"
    columns = {"Analyzer": "Analyzer.Name", "Category": "Category"}
    alert = Paths(
        id="ID",
        title="Description Category Name Analyzer.Name",
        description="Description Cause",
        severity="Priority Severity",
        vendor_category="Category",
        detector="Category Name",
        first="StartTime CreateTime",
        last="EndTime StartTime CreateTime",
        created="CreateTime",
        status="Status",
        statuses={"incident": "new", "event": "new"},
        confidence="Confidence",
        sub_provider="Analyzer.Name",
        cves="reference",
        fold="Analyzer.Name Target.IP Target.Hostname Target.Location",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        texts = [text for text in lines_of(record) if "IDMEF-Message" in text]
        found = [_as_second(alert) for text in texts for alert in _alerts(text)]
        return found or super().read(record)

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("Analyzer") and fields.has("ID", "CreateTime")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        for source in fields.objects("Source"):
            evidence.ip(source.text("IP"), ("source",))
            self._end(source, evidence)
        for target in fields.objects("Target"):
            evidence.ip(target.text("IP"), ("destination",))
            self._end(target, evidence)
        for file in fields.objects("Attachment"):
            hashes = [text.rpartition(":")[2] for text in file.texts("Hash")]
            name = file.text("FileName")
            evidence.file(file.text("Name") if hashes and name is None else None, name, hashes)
        if not evidence.items:
            analyzer = fields.object("Analyzer")
            evidence.host(analyzer.text("Hostname", "Name"), addresses=[analyzer.text("IP")])

    def _end(self, end: Fields, evidence: Evidence) -> None:
        evidence.host(end.text("Hostname"), addresses=[end.text("IP")])
        evidence.user(end.text("User", "Email"))
        evidence.mailbox(end.text("Email") if end.has("User") else None)
        evidence.url(end.text("URL"))
        evidence.process(None, path=end.text("Process"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        alert.product = fields.text("Analyzer.Model", "Analyzer.Name") or self.product
        words = [text.partition(".")[0].lower() for text in fields.texts("Category")]
        found = [_CATEGORIES[word] for word in words if word in _CATEGORIES]
        if found:
            alert.category, alert.categories = found[0], list(dict.fromkeys(found))
        alert.vulnerabilities = [name for name in alert.vulnerabilities if name.upper().startswith("CVE-")]
        confidence = fields.number("Confidence")
        if confidence is not None and 0 <= confidence <= 1:
            alert.confidence = round(confidence * 100)


# ---------------------------------------------------------------- version 1


def _alerts(text: str) -> list[Fields]:
    message = Fields(xml_records.read(text)).object("IDMEF-Message")
    return message.objects("Alert") + message.objects("CorrelationAlert")


def _as_second(alert: Fields) -> Fields:
    """An alert of version 1 by the names of version 2."""
    kind = alert.object("Classification")
    data: dict[str, Any] = {
        "ID": alert.text("messageid", "ident"),
        "CreateTime": _said(alert, "CreateTime"),
        "StartTime": _said(alert, "DetectTime") or _said(alert, "CreateTime"),
        "Description": kind.text("text", "name"),
        "Cause": _said(alert.object("Assessment"), "Impact"),
        "Severity": alert.text("Assessment.Impact.severity"),
        "Analyzer": {
            "Name": alert.text("Analyzer.name", "Analyzer.model", "Analyzer.analyzerid"),
            "Hostname": alert.text("Analyzer.Node.name"),
            "IP": alert.text("Analyzer.Node.Address.address"),
        },
        "Source": [_side(side) for side in alert.objects("Source")],
        "Target": [_side(side) for side in alert.objects("Target")],
        "Attachment": [
            {"FileName": file.text("path", "name"), "Hash": file.texts("Checksum.value")}
            for side in alert.objects("Target")
            for file in side.objects("FileList.File", "File")
        ],
        "reference": kind.texts("Reference.name"),
        "additionalData": [each.data for each in alert.objects("AdditionalData")],
    }
    return Fields({name: value for name, value in data.items() if value})


def _said(fields: Fields, name: str) -> str | None:
    """The text of an element, with attributes or without."""
    return fields.text(f"{name}.#text", name)


def _side(side: Fields) -> dict[str, Any]:
    service = side.object("Service")
    return {
        "IP": side.text("Node.Address.address"),
        "Hostname": side.text("Node.name"),
        "User": side.text("User.UserId.name", "User.UserId.number"),
        "Port": [service.integer("port")] if service.has("port") else [],
        "URL": service.text("WebService.url"),
        "Process": side.text("Process.path", "Process.name"),
    }
