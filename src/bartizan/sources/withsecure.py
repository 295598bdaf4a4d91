"""WithSecure Elements: security events of endpoint, collaboration and detection products, and BCDs of its EDR.

Security events come as JSON of the API, or as CEF of the Elements Connector.
Source: WithSecure Elements API, "Security events", "Incidents (Broad Context Detections)"; Elements Connector,
"Forwarding security events to SIEM".
"""

import re
from collections.abc import Iterable
from typing import Any

from bartizan.extend import Record
from bartizan.model.alert import Alert, Severity
from bartizan.sources import cef, common_security_log
from bartizan.sources.entities import file_name
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import Fields
from bartizan.sources.severity import of_cef
from bartizan.sources.shape import Paths, Shape

_WORDS: dict[str, Severity] = {
    "info": "informational",
    "warning": "medium",
    "critical": "high",
    "fatalerror": "high",
    "severe": "high",
}
_CATEGORIES = {
    "deepguard": "Malware",
    "filescanning": "Malware",
    "realtimescanning": "Malware",
    "manualscanning": "Malware",
    "scheduledscanning": "Malware",
    "amsi": "Malware",
    "browsingprotection": "SuspiciousActivity",
    "webtrafficscanning": "Malware",
    "firewall": "SuspiciousActivity",
    "applicationcontrol": "UnwantedSoftware",
    "dataguard": "Ransomware",
    "malware": "Malware",
    "ransomware": "Ransomware",
    "edr": "SuspiciousActivity",
    "collaborationprotectionemailscan": "Phishing",
    "emailscan": "Phishing",
    "emailbreach": "CredentialAccess",
}
_VERDICTS = {
    "autofalsepositive": "falsePositive",
    "acceptedbehavior": "informationalExpectedActivity",
    "acceptedrisk": "informationalExpectedActivity",
    "securitytest": "informationalExpectedActivity",
}
_DETAIL = "details_"  # before the names that CEF has of what JSON holds under `details`
_MAX_XML = 65_536
_DATA = re.compile(r"<Data Name='(\w{1,60})'>([^<]{1,500})</Data>")
_BLOCKED = frozenset({"blocked", "quarantined", "deleted", "removed", "disinfected", "renamed"})

_SCANS = frozenset({"filescanning", "amsi", "setting_filescanning", "manualscanning"})  # engines whose path is a file's


class WithSecure(Shape):
    name = "withsecure"
    vendor = "WithSecure"
    product = "Elements"
    marks = (
        "engine+persistenceTimestamp+severity engine+device+details engine+clientTimestamp+action "
        "incidentId+riskLevel+categories engine+serverTimestamp engine+details+action "
        "details.alertType+engine items.engine detectionId+incidentId+detectionClass"
    )
    pattern = re.compile(r"CEF:\d\|(?:F-Secure|WithSecure)\|")
    sourcetypes = ("withsecure", "withsecure:*", "fsecure:*")
    table = "WithSecureEvents"
    columns = {"Engine": "engine", "AlertType": "details.alertType", "Action": "action"}
    wrappers = ("items",)
    alert = Paths(
        id="id detectionId incidentId details.incidentPublicId",
        title=(
            "details.name details.infectionName message name details.description details.alertType "
            "details.categories engine"
        ),
        description="details.description message description details.reason",
        severity="severity details.severity riskLevel",
        words=_WORDS,
        score="deviceSeverity",
        scale=of_cef,
        vendor_category="engine categories",
        categories=_CATEGORIES,
        tactics="categories details.categories",
        detector="details.alertType engine categories",
        first="clientTimestamp details.clientTimestamp details.created serverTimestamp createdTimestamp",
        last="serverTimestamp clientTimestamp updatedTimestamp",
        created="persistenceTimestamp createdTimestamp",
        updated="updatedTimestamp",
        status="status",
        verdict="resolution",
        verdicts=_VERDICTS,
        threat="details.infectionName",
        fold="device.id device.name details.sha1 details.process",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        return [_named(event) for event in cef.records(record)] or super().read(record)

    def is_alert(self, fields: Fields) -> bool:
        return fields.has("engine", "incidentId", "details") and fields.has("severity", "riskLevel", "action")

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        if fields.has("deviceVendor"):
            common_security_log.entities(fields, evidence)
        seen, device = fields.object("details"), fields.object("device", "target")
        seen = fields if fields.has("detectionId") else seen  # one of an incident's, which is flat
        own = (seen.text("hostIpAddress", "ipAddress") or "").partition("/")[0] or None
        name = seen.text("systemDataComputer") or (device.text("name") if fields.has("device") else None)
        evidence.host(name, addresses=[own], device_id=device.text("agentId"))
        evidence.ip(own)
        user = evidence.user(
            seen.text("userName", "userPrincipalName", "systemDataTargetUserName", "userSam") or fields.text("userName")
        )
        for path in ("TargetUserName", "eventUser"):
            evidence.user(seen.text(f"systemData{path}", path))
        program = seen.text("process", "processName")
        whole = program if program is not None and file_name(program) != program else None
        hashes = [seen.text("sha256"), seen.text("sha1"), seen.text("md5")]
        scanned = (fields.text("engine") or "").lower() in _SCANS and not seen.has("filePath", "processPath")
        evidence.process(
            seen.text("commandLine", "cmdl", "command"),
            name=program if whole is None else None,
            path=whole
            or seen.text("processPath", *([] if scanned else ["path"]), "exePath", "initiator", "accessorPath"),
            pid=seen.integer("processId", "pid"),
            hashes=[seen.text("exeHash")] if scanned or seen.has("filePath", "exeHash") else hashes,
            user=user,
            parent_name=seen.text("parentProcess"),
        )
        evidence.file(
            None,
            seen.text("filePath", *(["path"] if scanned else []), "contentName"),
            hashes,
            size=seen.integer("size"),
        )
        evidence.file(None, seen.text("targetPath", "targetData"), [seen.text("targetSha1")])
        if seen.has("processPath"):
            evidence.file(None, seen.text("path"))  # what that process touched
        evidence.malware(seen.text("infectionName"))
        if evidence.url(seen.text("url", "webUrl", "websiteUrl")) is None:
            evidence.domain(seen.text("url"))
        evidence.flow(own, seen.integer("localPort"), seen.text("remoteAddress"), seen.integer("remotePort"))
        evidence.ip(seen.text("remoteAddress", "remoteIp", "ip"), ("destination",))
        _windows(seen.text("eventXml"), evidence)
        _mail(seen, evidence)

    def finish(self, fields: Fields, alert: Alert) -> None:
        seen = fields.object("details")
        if alert.title == fields.text("engine") and seen.has("itemSubject", "itemSender"):
            alert.title = f"Harmful mail: {seen.text('itemSubject') or 'without a subject'}"
        if fields.flag("acknowledged") is True:
            alert.status = "resolved"
        if (fields.text("action") or "").lower() in _BLOCKED:
            alert.tags = [*alert.tags, "blocked"]
        common_security_log.acted(alert, fields.text("action"))
        origin = fields.text("source")
        if origin is not None and origin not in alert.title:
            alert.title = f"{alert.title}: {origin}"


def _named(event: cef.Cef) -> Fields:
    """By the names of the JSON: engine and action are the event's class, what is under `details` has it as prefix."""
    said = event.fields.data
    engine, _, action = event.signature.partition(".")
    details: dict[str, Any] = {
        key.removeprefix(_DETAIL): value for key, value in said.items() if key.startswith(_DETAIL)
    }
    name = event.fields.text("details_computerName", "shost", "dhost")
    whole = {key: value for key, value in said.items() if not key.startswith(_DETAIL)}
    whole |= {"engine": engine, "action": action, "details": details, "message": event.fields.text("msg")}
    return Fields(whole | {"device": {"name": name}})


def _mail(seen: Fields, evidence: Evidence) -> None:
    if not seen.has("itemSender", "internetMessageId"):
        return
    evidence.message(
        None,
        internet_id=seen.text("internetMessageId"),
        sender=seen.text("itemSender"),
        recipient=seen.text("userPrincipalName"),
        sender_ip=seen.text("sendingServerIP"),
        subject=seen.text("itemSubject"),
        urls=[item.text("url") for item in seen.objects("urls")],
    )
    evidence.ip(seen.text("sendingServerIP"), ("source",))
    for item in seen.objects("attachments"):
        evidence.file(item.text("filename"), None, [item.text("sha256"), item.text("sha1")])
    for item in seen.objects("urls"):
        if evidence.url(item.text("url")) is None:
            evidence.domain(item.text("url"))


def _windows(text: str | None, evidence: Evidence) -> None:
    """The account and the address of a Windows event that stands in the alert as XML."""
    if not text or len(text) > _MAX_XML:
        return
    for name, value in _DATA.findall(text):
        if name in ("TargetUserName", "SubjectUserName") and value != "-":
            evidence.user(value)
        elif name == "IpAddress":
            evidence.ip(value, ("source",))
