"""IDMEF, the Intrusion Detection Message Exchange Format: version 2 as JSON, version 1 as XML.

Source: draft-lehmann-idmefv2; RFC 4765 (version 1).
"""

import re
from collections.abc import Iterable
from typing import Any

from bartizan.extend import Record
from bartizan.model.alert import Alert
from bartizan.sources import xml_records
from bartizan.sources.evidence import Evidence, Place
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

_CVE = re.compile(r"CVE-\d{4}-\d{4,}", re.ASCII | re.IGNORECASE)
_POINT = re.compile(r"\s*([+-]?\d{1,3}(?:\.\d{1,12})?),\s*([+-]?\d{1,3}(?:\.\d{1,12})?)", re.ASCII)


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
        cves="reference Ref",
        fold="Analyzer.Name Target.IP Target.Hostname Target.Location",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        texts = [text for text in lines_of(record) if "IDMEF-Message" in text]
        found = [_as_second(alert) for text in texts for alert in _alerts(text)]
        return found or super().read(record)

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("Analyzer") and fields.has("ID", "CreateTime")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        sources, targets = fields.objects("Source"), fields.objects("Target")
        if len(sources) == len(targets) == 1:  # of several nothing says who spoke to whom
            _flow(sources[0], targets[0], evidence)
        for source in sources:
            evidence.ip(source.text("IP"), ("source",), _place(source))
            self._end(source, evidence)
        for target in targets:
            evidence.ip(target.text("IP"), ("destination",), _place(target))
            self._end(target, evidence)
        for file in fields.objects("Attachment"):
            hashes = [text.rpartition(":")[2] for text in file.texts("Hash")]
            name = file.text("FileName")
            called = file.text("Name") if hashes and name is None else None
            evidence.file(called, name, hashes, size=file.integer("Size"))
            for text in file.texts("ExternalURI"):
                evidence.url(text)
        if not evidence.items:
            for sensor in fields.objects("Sensor", "Analyzer"):
                evidence.host(sensor.text("Hostname", "Name"), addresses=[sensor.text("IP")])

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
        alert.vulnerabilities = [name for name in alert.vulnerabilities if _CVE.fullmatch(name) is not None]
        confidence = fields.number("Confidence")
        if confidence is not None and 0 <= confidence <= 1:
            alert.confidence = round(confidence * 100)


def _flow(source: Fields, target: Fields, evidence: Evidence) -> None:
    """Where each end is one address; several ports are none."""
    ends: list[tuple[str | None, int | None]] = []
    for end in (source, target):
        ports = end.texts("Port")
        ends.append((end.text("IP"), end.integer("Port") if len(ports) == 1 else None))
    if ends[0][1] is not None or ends[1][1] is not None:
        protocol = target.text("Protocol") or source.text("Protocol")
        evidence.flow(*ends[0], *ends[1], protocol, places=(_place(source), _place(target)))


def _place(end: Fields) -> Place | None:
    """Latitude and longitude, after which an altitude may stand."""
    found = _POINT.match(end.text("GeoLocation") or "")
    return Place(latitude=float(found[1]), longitude=float(found[2])) if found is not None else None


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
        "Protocol": service.texts("protocol", "iana_protocol_name"),
        "URL": service.text("WebService.url"),
        "Process": side.text("Process.path", "Process.name"),
    }
