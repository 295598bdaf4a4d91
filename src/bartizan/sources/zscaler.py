"""Zscaler Internet Access: NSS feeds of web, firewall, DNS, tunnel, CASB and audit logs.

Source: Zscaler, "NSS feed output format": web, firewall, DNS, tunnel, SaaS security, endpoint and email DLP and admin
audit logs.
"""

import re
from collections.abc import Iterable
from typing import Any

from bartizan.extend import Record
from bartizan.model.alert import Alert, Severity
from bartizan.model.entities import url_host
from bartizan.sources import cef, common_security_log, leef, pairs
from bartizan.sources.entities import address, domain
from bartizan.sources.evidence import Evidence
from bartizan.sources.fields import MAX_ITEMS, Fields, lines_of, objects_of, opened
from bartizan.sources.severity import of_word
from bartizan.sources.shape import Paths, Shape

_WORDS: dict[str, Severity] = {"low severity": "low", "medium severity": "medium", "high severity": "high"}
_LEVELS: tuple[Severity, ...] = ("high", "medium", "low")
_STOPPED = ("block", "drop", "reset", "deny")  # how the word for what was done about it begins
_BEGIN = re.compile(r"\s*(?:<\d{1,3}>)?(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\t")  # of the feed for Splunk
# Of an application of the cloud: who has what was found, and to whom it went.
_PEOPLE = (
    "external_collab_names", "internal_collab_names", "collab_names", "collaboration.sender", "file.last_share_user",
    "collaboration.external_recipients", "collaboration.internal_recipients", "email.external_recipients",
    "email.internal_recipients",
)  # fmt: skip
_MAX_PEOPLE = 20
_JUDGED = frozenset({"MALICIOUS", "SUSPICIOUS"})  # of the sandbox
_NOTHING = frozenset({"none", "na", "n/a", "unknown", "not supported", "-"})


class Zscaler(Shape):
    name = "zscaler"
    vendor = "Zscaler"
    product = "Internet Access"
    marks = (
        "sourcetype=zscaler*+event event.vendor=zscaler event.product=nss+event "
        "event.datetime+event.department Recordid+Cloudname sourcetype=zscalernss*+sourcesubtype+record_id "
        "sourcetype=zscalernss*+record_id sourcetype=zscalernss*+log_type "
        "LogTimestamp+Customer+SessionID LogTimestamp+Customer+ConnectionID "
        "AuditOperationType+ObjectType+AuditNewValue Classification.DetectedMalware+FileProperties.MD5 "
        "Full_Details.Classification.Type+Full_Details.FileProperties"
    )
    pattern = re.compile(r"\|Zscaler\|| vendor=Zscaler |\bproduct=NSS\b|\bZscalerNSS: ")
    sourcetypes = ("zscalernss*", "zscaler:*", "zscalerlss*", "zscaler")
    table = "ZscalerEvents"
    columns = {
        "HostName": "devicehostname",  # `hostname` is whom was asked
        "Feed": "sourcetype",
        "Action": "action",
        "ThreatName": "threatname",
        "Category": "urlcategory category",
    }
    wrappers = ("events",)
    alert = Paths(
        id="recordid event_id record_id",
        title="threatname malwareclass threatcategory dlprulename rulelabel rulename rule.label dlpengine",
        description="reason rulelabel",
        score="threatseverity_id pagerisk riskscore",
        severity="threatseverity severity",
        words=_WORDS,
        vendor_category="threatcategory malwarecategory threatclass",
        category="Malware",
        detector="threatname dlprulename rulelabel rulename rule.label dlpengine",
        first="datetime time epochtime rt",
        threat="threatname",
        fold="user login clientip hostname threatname",
    )

    def read(self, record: Record) -> Iterable[Fields]:
        """The event with the feed's name; unset fields, which the feed fills with "None", are left out."""
        record = opened(record)
        lines = lines_of(record)
        if lines:
            events = [event.fields.also({"datetime": event.fields.raw("rt")}) for event in cef.records(record)]
            events = events or [event.fields for event in leef.records(record)]
            if events:
                return events
            found: list[dict[str, Any]] = [_line(text) for text in lines if "=" in text]
        else:
            found = [
                {**(one.object("event").data or one.data), "sourcetype": one.raw("sourcetype")}
                for one in map(_report, self._events(record))
            ]
        return [Fields(_told(one)) for one in found if len(one) > 1]

    def made(self, record: Record, fields: Fields) -> Alert:
        return _SANDBOX.made(record, fields) if _is_report(fields) else super().made(record, fields)

    def _events(self, record: Record) -> list[Fields]:
        """With the feed's name beside them, where they are in the feed's own wrapping."""
        found = objects_of(record, *self.wrappers, taken=False)
        found = [inner if (inner := one.object("event")).object("event") else one for one in found]  # another HEC's
        return (
            found
            if any(one.object("event") and one.has("sourcetype") for one in found)
            else objects_of(record, *self.wrappers)
        )

    def is_alert(self, fields: Fields) -> bool:
        """Also where data left against a rule: an incident of a device, or in an application of the cloud."""
        if fields.has("auditlogtype"):
            return False
        if _is_report(fields):
            return (fields.text("Classification.Type") or "").upper() in _JUDGED
        found = (fields.text(name) for name in ("threatname", "malwareclass", "threat.malware"))
        return any(map(_said, found)) or _leaks(fields)

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        if fields.has("deviceVendor"):
            web = fields.has("request") and domain(fields.text("dhost")) is not None
            asked = Fields({key: value for key, value in fields.data.items() if key != "dhost"}) if web else fields
            common_security_log.entities(asked, evidence)  # what a browser asked for is no device
            evidence.domain(fields.text("dhost"))
        for paths in (("login", "user", "adminid", "username", "user_name"), ("deviceowner",), ("file.owner",)):
            name = fields.text(*paths)
            evidence.user(name if address(name) is None else None)  # a tunnel's user is where it begins
        for path in (
            "clientip",
            "ClientIP",
            "cip",
            "sourceip",
            "csip",
            "clientpublicIP",
            "clt_sip",
            "srcip",
            "ClientPrivateIP",
        ):
            evidence.ip(fields.text(path), ("source",))
        source = fields.text("clientip", "ClientIP", "sourceip", "csip", "clt_sip", "srcip")
        target = fields.text("serverip", "destinationip", "sdip", "srv_dip", "dstip", "cdip")
        evidence.flow(
            source,
            fields.integer("sourceport", "csport", "clt_sport"),
            target,
            fields.integer("destinationport", "sdport", "srv_dport"),
            fields.text("proto", "protocol"),
        )
        evidence.ip(target, ("destination",))
        evidence.host(fields.text("devicehostname"))
        _asked(fields, evidence)
        evidence.file(
            fields.text("filename", "file.name"),
            fields.text("filesrcpath"),
            [
                fields.text("sha256", "filesha", "file.hash.sha256"),
                fields.text("bamd5", "md5", "filemd5", "file.hash.md5"),
            ],
        )
        _application(fields, evidence)
        _mail(fields, evidence)
        evidence.malware(fields.text("threatname"), fields.text("threatcategory", "threatcat"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        if (fields.text("action", "act", "actiontaken", "actions") or "").lower().startswith(_STOPPED):
            alert.tags = [*alert.tags, "blocked"]
            common_security_log.acted(alert, "blocked")
        if _leaks(fields):
            alert.category, alert.categories = "Exfiltration", ["Exfiltration"]
            if rules := _each(fields.text("rule.labels")):
                alert.title, alert.detector_id = " | ".join(rules), rules[0]
            levels = {_WORDS.get(word.lower()) or of_word(word) for word in _each(fields.text("severity"))}
            blocked: Severity = "low" if "blocked" in alert.tags else "medium"
            alert.severity = next((word for word in _LEVELS if word in levels), blocked)
        if alert.severity == "unknown":
            alert.severity = "low" if "blocked" in alert.tags else "high"


class _Sandbox(Shape):
    """The report of its sandbox about a file."""

    vendor = "Zscaler"
    product = "Internet Access"
    table = "ZscalerEvents"
    alert = Paths(
        id="FileProperties.MD5",
        title="Classification.DetectedMalware Classification.Category",
        score="Classification.Score",
        vendor_category="Classification.Category",
        category="Malware",
        detector="Classification.DetectedMalware Classification.Category",
        first="Summary.StartTime",
        sub_provider="Summary.Category",
        threat="Classification.DetectedMalware",
        fold="FileProperties.MD5",
    )

    def entities(self, fields: Fields, evidence: Evidence) -> None:
        about = fields.object("FileProperties")
        evidence.file(
            None, None, [about.text("Sha256"), about.text("SHA1"), about.text("MD5")], size=about.integer("FileSize")
        )
        for part in fields.objects("Networking")[:MAX_ITEMS]:  # what it asked for while it ran
            for text in part.texts("SignatureSources")[:_MAX_PEOPLE]:
                if evidence.ip(text) is None and evidence.url(text) is None:
                    evidence.domain(text)
        evidence.malware(fields.text("Classification.DetectedMalware"), fields.text("Classification.Category"))

    def finish(self, fields: Fields, alert: Alert) -> None:
        alert.title = f"Sandbox: {alert.title}"
        if (fields.text("Classification.Type") or "").upper() == "SUSPICIOUS" and alert.severity == "high":
            alert.severity = "medium"


_SANDBOX = _Sandbox()


def _report(one: Fields) -> Fields:
    """What the API wraps the report in is taken off."""
    return one.object("Full Details", "Full_Details") or one


def _is_report(fields: Fields) -> bool:
    return fields.has("Classification.Type") and fields.has("FileProperties.MD5")


def _told(one: dict[str, Any]) -> dict[str, Any]:
    """What is said; the time under one name, whatever the product calls it."""
    said = {name: value for name, value in one.items() if _said(value)}
    at = said.get("LogTimestamp")
    return {**said, "datetime": at} if at is not None else said


def _line(text: str) -> dict[str, Any]:
    """Of the feed for Splunk, which begins with the time."""
    begin = _BEGIN.match(text)
    return {**({"datetime": begin[1]} if begin else {}), **pairs.read(text)}


def _leaks(fields: Fields) -> bool:
    """By the kind of the log; of a page that was asked for, where an engine found data in what was sent."""
    kind = (fields.text("logtype", "log_type") or "").lower().replace(" ", "_")
    if kind == "dlp_incident" or (fields.has("dlp") and _said(fields.raw("rule.label"))):
        return True
    stopped = (fields.text("action", "act") or "").lower().startswith(_STOPPED)
    return _said(fields.text("dlpengine", "dlpeng")) and (stopped or _said(fields.text("dlprulename")))


def _each(text: str | None) -> list[str]:
    """What the feed of mail joins with "|", one for each rule, recipient or file; each once."""
    return list(
        dict.fromkeys(part.strip() for part in (text or "").split("|")[:MAX_ITEMS] if part.strip() and _said(part))
    )


def _asked(fields: Fields, evidence: Evidence) -> None:
    """The page or the name that was asked for, and the addresses that answered."""
    url = fields.text("url", "eurl", "fullurl", "file.full_url")
    evidence.observe("url", url)
    if url is not None:
        secure = (fields.text("protocol", "proto") or "").lower().startswith(("https", "ssl"))
        evidence.url(url if "://" in url else f"{'https' if secure else 'http'}://{url}")
        evidence.domain(url_host(url))
    evidence.domain(fields.text("hostname", "ehost", "req", "dnsreq", "dns_req", "domain"))
    for text in fields.texts("res", "dnsresp", "dns_resp"):
        evidence.ip(text)


def _application(fields: Fields, evidence: Evidence) -> None:
    """What a finding in an application of the cloud names."""
    for path in _PEOPLE:
        for name in _each(fields.text(path))[:_MAX_PEOPLE]:
            evidence.mailbox(name)
    for path, role in (("bucket.name", "bucket"), ("repository.name", "repository")):
        evidence.observe("resource", fields.text(path), role)
    evidence.app(fields.text("application.name"))


def _mail(fields: Fields, evidence: Evidence) -> None:
    mail = fields.object("email")
    if not mail:
        return
    for name in [*_each(mail.text("triggered_recipients")), *_each(mail.text("other_recipients"))]:
        evidence.message(
            internet_id=mail.text("message_id"),
            sender=fields.text("sender"),
            recipient=name,
            subject=mail.text("subject"),
        )
    files = mail.object("attachments")
    names, digests = ((files.text(key) or "").split("|")[:MAX_ITEMS] for key in ("file_names", "md5s"))
    for name, digest in zip(names, digests, strict=False):
        evidence.file(name if _said(name) else None, None, [digest])


def _said(value: Any) -> bool:
    return value is not None and not (isinstance(value, str) and value.strip().lower() in _NOTHING)
