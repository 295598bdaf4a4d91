"""What a device says, in fields of its own, of an event that it holds to be an attack."""

from msgspec import Struct

from bartizan.model.alert import Alert, Severity


class Verdict(Struct, frozen=True, kw_only=True):
    """What is None, or unknown, stays as the alert has it."""

    category: str
    vendor_category: str | None = None
    title: str | None = None
    severity: Severity = "unknown"
    word: str | None = None  # the vendor's own, of the severity
    detector: str | None = None
    threat: str | None = None

    def onto(self, alert: Alert) -> None:
        alert.category, alert.categories = self.category, [self.category]
        alert.vendor_category = self.vendor_category or alert.vendor_category
        alert.title = self.title or alert.title
        if self.severity != "unknown":
            alert.severity, alert.vendor_severity = self.severity, self.word or alert.vendor_severity
        if self.detector is not None and self.detector != alert.detector_id:
            alert.detector_id = self.detector
            alert.fingerprint = (self.detector, *alert.fingerprint[1:]) if alert.fingerprint else ()
        alert.threat_name = self.threat or alert.threat_name
