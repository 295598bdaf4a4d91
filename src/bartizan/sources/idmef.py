"""IDMEF, the Intrusion Detection Message Exchange Format: version 2 as JSON, version 1 as XML.

Source: draft-lehmann-idmefv2; RFC 4765 (version 1).
"""

import re

from bartizan.model.alert import Alert
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
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
        fold="Analyzer.Name Target.IP Target.Hostname Target.Location",
    )

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
            evidence.file(file.text("Name") if hashes else None, file.text("FileName"), hashes)
        if not evidence.items:
            analyzer = fields.object("Analyzer")
            evidence.host(analyzer.text("Hostname", "Name"), addresses=[analyzer.text("IP")])

    def _end(self, end: Fields, evidence: Evidence) -> None:
        evidence.host(end.text("Hostname"), addresses=[end.text("IP")])
        evidence.user(end.text("User", "Email"))
        evidence.url(end.text("URL"))
        for text in end.texts("Service", "ServiceName"):
            evidence.app(text)

    def finish(self, fields: Fields, alert: Alert) -> None:
        words = [text.partition(".")[0].lower() for text in fields.texts("Category")]
        found = [_CATEGORIES[word] for word in words if word in _CATEGORIES]
        if found:
            alert.category, alert.categories = found[0], list(dict.fromkeys(found))
        confidence = fields.number("Confidence")
        if confidence is not None and 0 <= confidence <= 1:
            alert.confidence = round(confidence * 100)
